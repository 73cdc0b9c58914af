/*
 * worker_sql.c
 *		How SQL reaches the background workers: at commit, and only then.
 *
 * Without the library preloaded there are none, and these do nothing.
 */
#include "postgres.h"

#include "dispatcher.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pending.h"

PG_FUNCTION_INFO_V1(millrace_workers_attach);
PG_FUNCTION_INFO_V1(millrace_keeper_wake);

Datum
millrace_workers_attach(PG_FUNCTION_ARGS)
{
	if (millrace_dispatcher_usable())
		millrace_pending_attach_workers(MyDatabaseId);
	PG_RETURN_VOID();
}

Datum
millrace_keeper_wake(PG_FUNCTION_ARGS)
{
	if (millrace_dispatcher_usable())
		millrace_pending_wake_keeper();
	PG_RETURN_VOID();
}
