/*
 * dispatcher_sql.c
 *		The dispatcher's functions, as SQL sees them: pushes, removals, order, wakes.
 *
 * Without the library preloaded, and on a standby, they do nothing.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "arguments.h"
#include "dispatcher.h"
#include "fmgr.h"
#include "millrace.h"
#include "miscadmin.h"
#include "pending.h"
#include "storage/proc.h"

PG_FUNCTION_INFO_V1(millrace_dispatcher_attached);
PG_FUNCTION_INFO_V1(millrace_dispatcher_is_warm);
PG_FUNCTION_INFO_V1(millrace_dispatcher_overflowed);
PG_FUNCTION_INFO_V1(millrace_dispatcher_push);
PG_FUNCTION_INFO_V1(millrace_dispatcher_put_back);
PG_FUNCTION_INFO_V1(millrace_dispatcher_note_stale);
PG_FUNCTION_INFO_V1(millrace_dispatcher_remove);
PG_FUNCTION_INFO_V1(millrace_dispatcher_sorts_first);
PG_FUNCTION_INFO_V1(millrace_dispatcher_sorts_first_many);
PG_FUNCTION_INFO_V1(millrace_dispatcher_charge);
PG_FUNCTION_INFO_V1(millrace_dispatcher_wake);

/* Whether to do anything at all. What a parallel worker noted, nobody would publish. */
static bool
may_change(void)
{
	if (!millrace_dispatcher_usable())
		return false;
	PreventCommandIfParallelMode("a change of the dispatcher");
	return true;
}

/* Array arguments of as many elements as the first one, whose length is known. */

static const int16 *
smallints(FunctionCallInfo fcinfo, int place, const char *name, int count)
{
	int			length;
	const int16 *values = millrace_arguments_smallints(PG_GETARG_ARRAYTYPE_P(place), name, &length);

	millrace_arguments_require_same_length("the first array", count, name, length);
	return values;
}

static const int32 *
ints(FunctionCallInfo fcinfo, int place, const char *name, int count)
{
	int			length;
	const int32 *values = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(place), name, &length);

	millrace_arguments_require_same_length("the first array", count, name, length);
	return values;
}

static const int64 *
bigints(FunctionCallInfo fcinfo, int place, const char *name, int count)
{
	int			length;
	const int64 *values = millrace_arguments_bigints(PG_GETARG_ARRAYTYPE_P(place), name, &length);

	millrace_arguments_require_same_length("the first array", count, name, length);
	return values;
}

static const float4 *
reals(FunctionCallInfo fcinfo, int place, const char *name, int count)
{
	int			length;
	const float4 *values = millrace_arguments_reals(PG_GETARG_ARRAYTYPE_P(place), name, &length);

	millrace_arguments_require_same_length("the first array", count, name, length);
	return values;
}

static const float4 *
weights(FunctionCallInfo fcinfo, int place, int count)
{
	const float4 *values = reals(fcinfo, place, "weights", count);

	for (int i = 0; i < count; i++)
		if (values[i] <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
					 errmsg("weights must be greater than zero"),
					 errdetail("Element %d is %g.", i + 1, values[i])));
	return values;
}

/* Steps from the arrays of dispatcher_push, or of dispatcher_sorts_first, which has no weights. */
static ReadyStep *
read_steps(FunctionCallInfo fcinfo, bool weighted, int *count)
{
	const int32 *queue_ids = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(0), "queue_ids", count);
	const int32 *handler_ids = ints(fcinfo, 1, "handler_ids", *count);
	const int16 *priorities = smallints(fcinfo, 2, "priorities", *count);
	const int32 *tenant_ids = ints(fcinfo, 3, "tenant_ids", *count);
	const float4 *shares = weighted ? weights(fcinfo, 4, *count) : NULL;
	int			place = weighted ? 5 : 4;
	const int64 *run_ids = bigints(fcinfo, place, "run_ids", *count);
	const float4 *ranks = reals(fcinfo, place + 1, "ranks", *count);
	const int32 *step_nos = ints(fcinfo, place + 2, "step_nos", *count);
	ReadyStep  *steps = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(ReadyStep) * Max(*count, 1));

	for (int i = 0; i < *count; i++)
		steps[i] = (ReadyStep) {
			.run_id = run_ids[i],
			.step_no = step_nos[i],
			.queue_id = queue_ids[i],
			.handler_id = handler_ids[i],
			.tenant_id = tenant_ids[i],
			.weight = shares ? shares[i] : 1,
			.rank = ranks[i],
			.priority = priorities[i],
		};
	return steps;
}

Datum
millrace_dispatcher_attached(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(millrace_dispatcher_usable());
}

Datum
millrace_dispatcher_is_warm(PG_FUNCTION_ARGS)
{
	const Database *database;
	bool		warm;

	if (!millrace_dispatcher_usable())
		PG_RETURN_BOOL(false);
	LWLockAcquire(Dispatcher->lock, LW_SHARED);
	database = millrace_database_known();
	warm = database && database->warm;
	LWLockRelease(Dispatcher->lock);
	PG_RETURN_BOOL(warm);
}

Datum
millrace_dispatcher_overflowed(PG_FUNCTION_ARGS)
{
	const Database *database;
	bool		overflowed;

	if (!millrace_dispatcher_usable())
		PG_RETURN_BOOL(false);
	LWLockAcquire(Dispatcher->lock, LW_SHARED);
	database = millrace_database_known();
	overflowed = database && database->overflowed;
	LWLockRelease(Dispatcher->lock);
	PG_RETURN_BOOL(overflowed);
}

Datum
millrace_dispatcher_push(PG_FUNCTION_ARGS)
{
	int			count;
	ReadyStep  *steps;

	if (!may_change())
		PG_RETURN_VOID();
	steps = read_steps(fcinfo, true, &count);
	millrace_pending_push(steps, count);
	pfree(steps);
	PG_RETURN_VOID();
}

Datum
millrace_dispatcher_put_back(PG_FUNCTION_ARGS)
{
	int			count;
	const int64 *run_ids;
	const int32 *step_nos;
	Database   *database;

	if (!may_change())
		PG_RETURN_VOID();
	run_ids = millrace_arguments_bigints(PG_GETARG_ARRAYTYPE_P(0), "run_ids", &count);
	step_nos = ints(fcinfo, 1, "step_nos", count);

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	for (int i = 0; i < count; i++)
	{
		Entry	   *entry = millrace_index_find(MyDatabaseId, run_ids[i], step_nos[i]);

		if (entry && entry->owner == MyProc->pgprocno)
			millrace_index_give_back(database, entry, false);
	}
	LWLockRelease(Dispatcher->lock);
	PG_RETURN_VOID();
}

Datum
millrace_dispatcher_note_stale(PG_FUNCTION_ARGS)
{
	Database   *database;

	if (!may_change())
		PG_RETURN_VOID();
	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	if (database)
		database->stale += PG_GETARG_INT32(0);
	LWLockRelease(Dispatcher->lock);
	PG_RETURN_VOID();
}

/*
 * A removal is a pop by name. Done at once and not at commit, because then a
 * push by the next one to lock the row could come first, and be lost.
 */
Datum
millrace_dispatcher_remove(PG_FUNCTION_ARGS)
{
	int			count;
	const int64 *run_ids;
	const int32 *step_nos;

	if (!may_change())
		PG_RETURN_VOID();
	run_ids = millrace_arguments_bigints(PG_GETARG_ARRAYTYPE_P(0), "run_ids", &count);
	step_nos = ints(fcinfo, 1, "step_nos", count);
	millrace_pending_reserve_pops(count);

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	for (int i = 0; i < count; i++)
	{
		Entry	   *entry = millrace_index_find(MyDatabaseId, run_ids[i], step_nos[i]);

		/* in another's hands it will be found stale */
		if (entry && entry->owner == NO_OWNER)
		{
			millrace_index_take(entry, MyProc->pgprocno);
			millrace_pending_note_pop(entry);
		}
	}
	LWLockRelease(Dispatcher->lock);
	PG_RETURN_VOID();
}

static bool
sorts_first(const ReadyStep *step)
{
	return millrace_order_sorts_first(millrace_index_find_key(MyDatabaseId, step->queue_id, step->handler_id), step);
}

Datum
millrace_dispatcher_sorts_first(PG_FUNCTION_ARGS)
{
	ReadyStep	step = {
		.queue_id = PG_GETARG_INT32(0),
		.handler_id = PG_GETARG_INT32(1),
		.priority = PG_GETARG_INT16(2),
		.tenant_id = PG_GETARG_INT32(3),
		.run_id = PG_GETARG_INT64(4),
		.rank = PG_GETARG_FLOAT4(5),
		.step_no = PG_GETARG_INT32(6),
	};
	bool		first = true;

	if (millrace_dispatcher_usable())
	{
		LWLockAcquire(Dispatcher->lock, LW_SHARED);
		first = sorts_first(&step);
		LWLockRelease(Dispatcher->lock);
	}
	PG_RETURN_BOOL(first);
}

Datum
millrace_dispatcher_sorts_first_many(PG_FUNCTION_ARGS)
{
	int			count;
	ReadyStep  *steps = read_steps(fcinfo, false, &count);
	bool	   *first = palloc(Max(count, 1));

	memset(first, true, count);
	if (millrace_dispatcher_usable())
	{
		LWLockAcquire(Dispatcher->lock, LW_SHARED);
		for (int i = 0; i < count; i++)
			first[i] = sorts_first(&steps[i]);
		LWLockRelease(Dispatcher->lock);
	}
	return millrace_arguments_bool_array(first, count);
}

Datum
millrace_dispatcher_charge(PG_FUNCTION_ARGS)
{
	int			count;
	const int32 *queue_ids;
	const int32 *handler_ids;
	const int32 *tenant_ids;
	const float4 *shares;

	if (!may_change())
		PG_RETURN_VOID();
	queue_ids = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(0), "queue_ids", &count);
	handler_ids = ints(fcinfo, 1, "handler_ids", count);
	tenant_ids = ints(fcinfo, 2, "tenant_ids", count);
	shares = weights(fcinfo, 3, count);

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	for (int i = 0; i < count; i++)
	{
		Key		   *key = millrace_index_find_key(MyDatabaseId, queue_ids[i], handler_ids[i]);

		if (key)
			millrace_order_charge(key, tenant_ids[i], shares[i]);
	}
	LWLockRelease(Dispatcher->lock);
	PG_RETURN_VOID();
}

Datum
millrace_dispatcher_wake(PG_FUNCTION_ARGS)
{
	int			count;
	const int32 *queue_ids;

	if (!may_change())
		PG_RETURN_VOID();
	queue_ids = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(0), "queue_ids", &count);
	millrace_pending_wake_queues(queue_ids, count);
	PG_RETURN_VOID();
}
