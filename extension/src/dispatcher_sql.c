/*
 * dispatcher_sql.c
 *		The dispatcher's functions, as SQL sees them: arrays from and to dispatcher_calls.c.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "arguments.h"
#include "dispatcher_refill.h"
#include "fmgr.h"
#include "funcapi.h"
#include "millrace.h"
#include "miscadmin.h"
#include "pending.h"

PG_FUNCTION_INFO_V1(millrace_dispatcher_attached);
PG_FUNCTION_INFO_V1(millrace_dispatcher_missing_from);
PG_FUNCTION_INFO_V1(millrace_dispatcher_refill);
PG_FUNCTION_INFO_V1(millrace_dispatcher_sweep);
PG_FUNCTION_INFO_V1(millrace_dispatcher_push);
PG_FUNCTION_INFO_V1(millrace_dispatcher_pop);
PG_FUNCTION_INFO_V1(millrace_dispatcher_put_back);
PG_FUNCTION_INFO_V1(millrace_dispatcher_remove);
PG_FUNCTION_INFO_V1(millrace_dispatcher_sorts_first);
PG_FUNCTION_INFO_V1(millrace_dispatcher_sorts_first_many);
PG_FUNCTION_INFO_V1(millrace_dispatcher_charge);

/* Array arguments of as many elements as the first one, whose length is known. */
#define ARRAY_READER(reader, type, read) \
	static const type * \
	reader(FunctionCallInfo fcinfo, int place, const char *name, int count) \
	{ \
		int			length; \
		const type *values = read(PG_GETARG_ARRAYTYPE_P(place), name, &length); \
\
		millrace_arguments_require_same_length("the first array", count, name, length); \
		return values; \
	}

ARRAY_READER(smallints, int16, millrace_arguments_smallints)
ARRAY_READER(ints, int32, millrace_arguments_ints)
ARRAY_READER(bigints, int64, millrace_arguments_bigints)
ARRAY_READER(reals, float4, millrace_arguments_reals)

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
	const float4 *shares = weighted && !PG_ARGISNULL(4) ? weights(fcinfo, 4, *count) : NULL;
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
			.weight = shares ? shares[i] : 0,
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

/* The lowest of many keys. */
static int64
missing_from(const int32 *queue_ids, int queue_count, const int32 *handler_ids, int handler_count)
{
	const Database *database = millrace_database_known();
	int64		from = PG_INT64_MAX;

	if (database == NULL)
		return 0;
	for (int q = 0; q < queue_count; q++)
		for (int h = 0; h < handler_count; h++)
			from = Min(from, millrace_watermark_missing_from(database,
				millrace_index_find_key(MyDatabaseId, queue_ids[q], handler_ids[h])));
	return from;
}

Datum
millrace_dispatcher_missing_from(PG_FUNCTION_ARGS)
{
	int			queue_count;
	int			handler_count;
	const int32 *queue_ids = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(0), "queue_ids", &queue_count);
	const int32 *handler_ids = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(1), "handler_ids", &handler_count);
	int64		from;

	if (!millrace_dispatcher_usable())
		PG_RETURN_NULL();
	LWLockAcquire(Dispatcher->lock, LW_SHARED);
	from = missing_from(queue_ids, queue_count, handler_ids, handler_count);
	LWLockRelease(Dispatcher->lock);
	if (from == PG_INT64_MAX)
		PG_RETURN_NULL();
	PG_RETURN_INT64(from);
}

/* Those that a refill has read. */
Datum
millrace_dispatcher_refill(PG_FUNCTION_ARGS)
{
	int			count;
	ReadyStep  *steps = read_steps(fcinfo, false, &count);

	if (!millrace_dispatcher_usable())
		PG_RETURN_BOOL(false);
	for (int i = 0; i < count; i++)
		steps[i].weight = millrace_dispatcher_tenant_weight(steps[i].tenant_id);
	PG_RETURN_BOOL(millrace_refill_push(steps, count));
}

Datum
millrace_dispatcher_push(PG_FUNCTION_ARGS)
{
	int			count;
	ReadyStep  *steps;

	for (int i = 0; i < PG_NARGS(); i++)
		if (i != 4 && PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT), errmsg("an argument of dispatcher_push is null")));
	if (!millrace_dispatcher_usable())
		PG_RETURN_VOID();
	steps = read_steps(fcinfo, true, &count);
	millrace_dispatcher_push_steps(steps, count);
	pfree(steps);
	PG_RETURN_VOID();
}

Datum
millrace_dispatcher_pop(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	PopRequest	request = {.max_steps = PG_GETARG_INT32(3)};
	int			capacity_count;
	ReadyStep  *popped;
	bool		incomplete;
	int			count;

	InitMaterializedSRF(fcinfo, 0);
	if (!millrace_dispatcher_usable())
		return (Datum) 0;
	request.queue_ids = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(0), "queue_ids", &request.queue_count);
	request.handler_ids = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(1), "handler_ids", &request.handler_count);
	request.capacities = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(2), "capacities", &capacity_count);
	millrace_arguments_require_same_length("handler_ids", request.handler_count, "capacities", capacity_count);

	popped = MemoryContextAllocHuge(CurrentMemoryContext,
									sizeof(ReadyStep) * Min(Max(request.max_steps, 1), ENTRIES->capacity));
	count = millrace_dispatcher_pop_steps(&request, popped, &incomplete);
	for (int i = 0; i < count; i++)
	{
		Datum		values[2] = {Int64GetDatum(popped[i].run_id), Int32GetDatum(popped[i].step_no)};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

Datum
millrace_dispatcher_put_back(PG_FUNCTION_ARGS)
{
	int			count;
	const int64 *run_ids = millrace_arguments_bigints(PG_GETARG_ARRAYTYPE_P(0), "run_ids", &count);
	const int32 *step_nos = ints(fcinfo, 1, "step_nos", count);

	millrace_dispatcher_put_back_steps(run_ids, step_nos, count);
	PG_RETURN_VOID();
}

Datum
millrace_dispatcher_remove(PG_FUNCTION_ARGS)
{
	int			count;
	const int64 *run_ids = millrace_arguments_bigints(PG_GETARG_ARRAYTYPE_P(0), "run_ids", &count);
	const int32 *step_nos = ints(fcinfo, 1, "step_nos", count);

	millrace_dispatcher_remove_steps(run_ids, step_nos, count);
	PG_RETURN_VOID();
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
	bool		first;

	millrace_dispatcher_sorts_first_steps(&step, 1, &first);
	PG_RETURN_BOOL(first);
}

Datum
millrace_dispatcher_sorts_first_many(PG_FUNCTION_ARGS)
{
	int			count;
	ReadyStep  *steps = read_steps(fcinfo, false, &count);
	bool	   *first = palloc(Max(count, 1));

	millrace_dispatcher_sorts_first_steps(steps, count, first);
	return millrace_arguments_bool_array(first, count);
}

Datum
millrace_dispatcher_charge(PG_FUNCTION_ARGS)
{
	int			count;
	const int32 *queue_ids = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(0), "queue_ids", &count);
	const int32 *handler_ids = ints(fcinfo, 1, "handler_ids", count);
	const int32 *tenant_ids = ints(fcinfo, 2, "tenant_ids", count);
	const float4 *shares = weights(fcinfo, 3, count);
	ReadyStep  *steps = palloc0(sizeof(ReadyStep) * Max(count, 1));

	for (int i = 0; i < count; i++)
		steps[i] = (ReadyStep) {
			.queue_id = queue_ids[i],
			.handler_id = handler_ids[i],
			.tenant_id = tenant_ids[i],
			.weight = shares[i],
		};
	millrace_dispatcher_charge_steps(steps, count);
	PG_RETURN_VOID();
}

Datum
millrace_dispatcher_sweep(PG_FUNCTION_ARGS)
{
	if (!millrace_dispatcher_usable())
		PG_RETURN_VOID();
	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	if (millrace_database_mine())
		millrace_database_mine()->needs_sweep = true;
	LWLockRelease(Dispatcher->lock);
	millrace_pending_wake_keeper();
	PG_RETURN_VOID();
}
