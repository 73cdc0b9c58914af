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

#include "access/transam.h"
#include "access/xlog.h"
#include "arguments.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "dispatcher.h"
#include "fmgr.h"
#include "funcapi.h"
#include "pending.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(millrace_server_run);
PG_FUNCTION_INFO_V1(millrace_system_identifier);
PG_FUNCTION_INFO_V1(millrace_transactions_open);
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

/* The transaction before `next` that these 32 bits name. */
static int64
widen(TransactionId xact_id, FullTransactionId next)
{
	uint32		distance = XidFromFullTransactionId(next) - xact_id;

	return (int64) (U64FromFullTransactionId(next) - distance);
}

/*
 * A snapshot for queries will not do: it ends at the last transaction that has
 * completed, and cannot tell those behind it that are open from those that have
 * not begun. Prepared transactions are open, and so is the caller's own.
 */
Datum
millrace_transactions_open(PG_FUNCTION_ARGS)
{
	TupleDesc	type;
	RunningTransactions running = GetRunningTransactionData();
	FullTransactionId next = ShmemVariableCache->nextXid;
	int			count = running->xcnt;
	Datum		values[2];
	bool		nulls[2] = {false};
	int64	   *open;

	LWLockRelease(ProcArrayLock);
	LWLockRelease(XidGenLock);

	if (get_call_result_type(fcinfo, NULL, &type) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	/* the list is this process's own */
	open = palloc(sizeof(int64) * Max(count, 1));
	for (int i = 0; i < count; i++)
		open[i] = widen(running->xids[i], next);
	values[0] = Int64GetDatum((int64) U64FromFullTransactionId(next));
	values[1] = millrace_arguments_bigint_array(open, count);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(type), values, nulls)));
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
