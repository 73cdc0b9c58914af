/*
 * events.c
 *		Who writes events, and who waits for them.
 *
 * A reader that is about to look says so; the next transaction that commits
 * events takes note of that and has the waker notify the readers (pending.c,
 * worker_waker.c). The reader says it before it takes its snapshot, the writer
 * looks after its commit can be seen, and both have held ProcArrayLock in
 * between: either the reader sees the events or the writer sees the reader.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "dispatcher.h"
#include "fmgr.h"
#include "pending.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(millrace_server_run);
PG_FUNCTION_INFO_V1(millrace_system_identifier);
PG_FUNCTION_INFO_V1(millrace_events_wanted);
PG_FUNCTION_INFO_V1(millrace_note_events);

/* What changes at each restart, and with the checkpointer also when the server restarts itself after a crash. */
Datum
millrace_server_run(PG_FUNCTION_ARGS)
{
	Latch	   *checkpointer = ProcGlobal->checkpointerLatch;
	uint64		run = hash_combine64(GetSystemIdentifier(), (uint64) PgStartTime);

	run = hash_combine64(run, checkpointer ? checkpointer->owner_pid : 0);
	PG_RETURN_INT64((int64) (run & PG_INT64_MAX));
}

/* As pg_control_system() has it, without reading the file. */
Datum
millrace_system_identifier(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64((int64) GetSystemIdentifier());
}

Datum
millrace_events_wanted(PG_FUNCTION_ARGS)
{
	Database   *database;

	if (!millrace_dispatcher_usable())
		PG_RETURN_VOID();
	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	if (database)
		database->events_wanted = true;
	LWLockRelease(Dispatcher->lock);
	PG_RETURN_VOID();
}

void
millrace_dispatcher_note_events(void)
{
	if (millrace_dispatcher_usable())
		millrace_pending_note_events();
}

Datum
millrace_note_events(PG_FUNCTION_ARGS)
{
	millrace_dispatcher_note_events();
	PG_RETURN_POINTER(NULL);
}
