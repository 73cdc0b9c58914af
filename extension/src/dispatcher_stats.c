/*
 * dispatcher_stats.c
 *		What waits in the dispatcher, for views and metrics: this database's part only.
 */
#include "postgres.h"

#include "dispatcher.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(millrace_dispatcher_stats);
PG_FUNCTION_INFO_V1(millrace_dispatcher_state);

typedef struct KeyStats
{
	Key			key;
	TimestampTz oldest_pushed_at;	/* 0: nothing waits */
} KeyStats;

/* The list is in the order of pushes; popped entries stay in their places. */
static TimestampTz
oldest_waiting(const Key *key)
{
	for (uint32 index = key->oldest; index != POOL_NONE; index = entry_at(index)->newer)
		if (entry_at(index)->owner == NO_OWNER)
			return entry_at(index)->pushed_at;
	return 0;
}

static int
copy_keys(KeyStats *copies, int room)
{
	int			count = 0;

	for (uint32 i = 0; i < KEYS->fresh && count < room; i++)
		if (key_at(i)->database == MyDatabaseId)
			copies[count++] = (KeyStats) {.key = *key_at(i), .oldest_pushed_at = oldest_waiting(key_at(i))};
	return count;
}

Datum
millrace_dispatcher_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	KeyStats   *copies;
	int			count;

	InitMaterializedSRF(fcinfo, 0);
	if (!millrace_dispatcher_usable())
		return (Datum) 0;

	copies = palloc(sizeof(KeyStats) * KEYS->capacity);
	LWLockAcquire(Dispatcher->lock, LW_SHARED);
	count = copy_keys(copies, KEYS->capacity);
	LWLockRelease(Dispatcher->lock);

	for (int i = 0; i < count; i++)
	{
		const Key  *key = &copies[i].key;
		Datum		values[] = {
			Int32GetDatum(key->queue_id),
			Int32GetDatum(key->handler_id),
			Int32GetDatum(key->tenant_count),
			Int64GetDatum(key->depth),
			Int64GetDatum(key->popped),
			TimestampTzGetDatum(copies[i].oldest_pushed_at),
			Int64GetDatum(key->pushes),
			Int64GetDatum(key->pops),
			Int64GetDatum(key->put_backs),
		};
		bool		nulls[lengthof(values)] = {[5] = copies[i].oldest_pushed_at == 0};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static Datum
pid_or_null(const WorkerSlot *worker, bool *is_null)
{
	*is_null = worker->pid == 0;
	return Int32GetDatum(worker->pid);
}

Datum
millrace_dispatcher_state(PG_FUNCTION_ARGS)
{
	TupleDesc	type;
	Datum		values[11] = {0};
	bool		nulls[11] = {false};

	if (get_call_result_type(fcinfo, NULL, &type) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	if (!millrace_dispatcher_usable())
	{
		memset(nulls, true, sizeof(nulls));
		values[0] = CStringGetTextDatum("absent");
		nulls[0] = false;
	}
	else
	{
		Database	database = {0};
		const Database *found;

		LWLockAcquire(Dispatcher->lock, LW_SHARED);
		found = millrace_database_known();
		if (found)
			database = *found;
		values[4] = Int32GetDatum(ENTRIES->used);
		LWLockRelease(Dispatcher->lock);

		values[0] = CStringGetTextDatum(database.warm ? "warm" : "cold");
		values[1] = BoolGetDatum(database.overflowed);
		values[2] = BoolGetDatum(database.needs_sweep);
		values[3] = values[4];
		values[4] = Int32GetDatum(ENTRIES->capacity);
		values[5] = Int64GetDatum(database.stale);
		values[6] = Int64GetDatum(database.dropped);
		values[7] = Int64GetDatum(database.refills);
		values[8] = Int64GetDatum(database.wakes);
		values[9] = pid_or_null(&database.waker, &nulls[9]);
		values[10] = pid_or_null(&database.keeper, &nulls[10]);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(type), values, nulls)));
}
