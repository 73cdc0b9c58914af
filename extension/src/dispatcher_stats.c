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
PG_FUNCTION_INFO_V1(millrace_dispatcher_account);

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
			Int64GetDatum(key->dropped),
			Int32GetDatum(key->cuts),
			BoolGetDatum(key->low),
		};
		bool		nulls[lengthof(values)] = {[5] = copies[i].oldest_pushed_at == 0};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Of all keys of the database. */
typedef struct Totals
{
	int64		depth;
	int64		popped;
	int64		hits;
	int64		dropped;
	int64		watermarks;
} Totals;

static Totals
add_up(void)
{
	Totals		totals = {0};

	for (uint32 i = 0; i < KEYS->fresh; i++)
	{
		const Key  *key = key_at(i);

		if (key->database != MyDatabaseId)
			continue;
		totals.depth += key->depth;
		totals.popped += key->popped;
		totals.hits += key->pops;
		totals.dropped += key->dropped;
		totals.watermarks += key->cuts;
	}
	return totals;
}

static int64
memory_bytes(void)
{
	return sizeof(DispatcherShared) + millrace_pool_size(KEYS->capacity, sizeof(Key)) +
		millrace_pool_size(TENANTS->capacity, sizeof(Tenant)) + millrace_pool_size(ENTRIES->capacity, sizeof(Entry));
}

/* Those that have workers, or whose workers find no slot. */
static int
count_databases(void)
{
	int			count = 0;

	for (int i = 0; i < MAX_DATABASES; i++)
		count += OidIsValid(Dispatcher->databases[i].oid) &&
			(Dispatcher->databases[i].installed || Dispatcher->databases[i].attach_wanted);
	return count;
}

static Datum
pid_or_null(const WorkerSlot *worker, bool *is_null)
{
	*is_null = worker->pid == 0;
	return Int32GetDatum(worker->pid);
}

Datum
millrace_dispatcher_account(PG_FUNCTION_ARGS)
{
	TupleDesc	type;
	Datum		values[19] = {0};
	bool		nulls[19] = {false};
	Database	database = {0};
	Totals		totals;
	uint32		entries;
	int			databases;
	const Database *found;
	int			n = 0;

	if (get_call_result_type(fcinfo, NULL, &type) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	if (!millrace_dispatcher_usable())
	{
		memset(nulls, true, sizeof(nulls));
		values[0] = CStringGetTextDatum("absent");
		nulls[0] = false;
		PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(type), values, nulls)));
	}

	LWLockAcquire(Dispatcher->lock, LW_SHARED);
	found = millrace_database_known();
	if (found)
		database = *found;
	totals = add_up();
	entries = ENTRIES->used;
	databases = count_databases();
	LWLockRelease(Dispatcher->lock);

	values[n++] = CStringGetTextDatum(database.warm ? "warm" : "cold");
	values[n++] = Int64GetDatum(totals.depth);
	values[n++] = Int64GetDatum(totals.popped);
	values[n++] = Int64GetDatum(totals.watermarks);
	values[n++] = BoolGetDatum(database.overflowed);
	values[n++] = BoolGetDatum(database.needs_sweep);
	values[n++] = Int64GetDatum(totals.hits);
	values[n++] = Int64GetDatum(database.misses);
	values[n++] = Int64GetDatum(database.stale);
	values[n++] = Int64GetDatum(totals.dropped + database.dropped);
	values[n++] = Int64GetDatum(database.refills);
	values[n++] = Int64GetDatum(database.sweeps);
	values[n++] = Int64GetDatum(database.wakes);
	values[n++] = Int32GetDatum(entries);
	values[n++] = Int32GetDatum(ENTRIES->capacity);
	values[n++] = Int64GetDatum(memory_bytes());
	values[n++] = Int32GetDatum(databases);
	values[n] = pid_or_null(&database.waker, &nulls[n]);
	n++;
	values[n] = pid_or_null(&database.keeper, &nulls[n]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(type), values, nulls)));
}
