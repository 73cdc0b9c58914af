/*
 * module.c
 *		The library's entry point.
 *
 * Loaded by shared_preload_libraries it brings the dispatcher and the
 * background workers; loaded by a call of one of its functions, the functions
 * and settings alone (the plain tier).
 */
#include "postgres.h"

#include "dispatcher.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "pending.h"
#include "worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	millrace_guc_define();

	if (process_shared_preload_libraries_in_progress)
	{
		millrace_dispatcher_request();
		millrace_pending_install();
		millrace_worker_register_launcher();
		millrace_worker_install_hold();
	}
}
