/*
 * worker_waker.c
 *		Wakes agents and readers of events, so that hardly any writing transaction has to.
 *
 * A NOTIFY takes a lock of the whole server until its transaction has reached
 * the disk. Writers therefore only flag a queue in shared memory when they have
 * committed, or that there are events; this process sends at most one
 * notification of each kind per interval, in a transaction that does not wait for the disk: a notification
 * lost in a crash is one that nobody was left to hear.
 */
#include "postgres.h"

#include "arguments.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "fault.h"
#include "guc.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"
#include "worker.h"

/* As docs/events.md has it. */
#define EVENTS_CHANNEL "millrace_events"

typedef struct Wakes
{
	int			count;
	int32	   *queue_ids;
	bool		readers;
} Wakes;

/* What lives in a copy of the database wakes nobody, until it is adopted. What is at home stays so. */
static bool
is_home(void)
{
	static bool home = false;
	bool		is_null;

	if (home)
		return true;
	if (SPI_execute("SELECT millrace_internal.is_home()", true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not tell whether the database is at home");
	home = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	return home;
}

/*
 * A queue that somebody listened to. A notification that nobody hears costs
 * every listener of the database a little, and looking for who hears it costs
 * each agent that waits for it: so that a queue has listeners is believed for
 * a while. That it has none is never believed.
 */
typedef struct HeardQueue
{
	int32		queue_id;		/* hash key */
	TimestampTz until;
} HeardQueue;

#define HEARD_FOR_MS 1000

static HTAB *heard_queues = NULL;

static bool
is_heard(int32 queue_id)
{
	const HeardQueue *queue = hash_search(heard_queues, &queue_id, HASH_FIND, NULL);

	return queue && queue->until > GetCurrentTimestamp();
}

/* Those that a registered listener serves. What the SQL function wake() does on the plain tier. */
static void
notify_who_listens(const int32 *queue_ids, int count)
{
	static SPIPlanPtr plan = NULL;
	Datum		argument = millrace_arguments_int_array(queue_ids, count);
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), HEARD_FOR_MS);

	if (plan == NULL)
	{
		Oid			types[] = {INT4ARRAYOID};
		SPIPlanPtr	prepared = SPI_prepare("SELECT q FROM unnest($1) q WHERE EXISTS ("
										   "SELECT FROM millrace_internal.agent a WHERE a.listening AND q = ANY (a.queues) AND a.lease_expires_at >"
										   " coalesce((SELECT f.frozen_at FROM millrace_internal.frozen_clock f), clock_timestamp()))",
										   lengthof(types), types);

		SPI_keepplan(prepared);
		plan = prepared;
	}
	if (SPI_execute_plan(plan, &argument, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not find the agents to wake");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		is_null;
		int32		queue_id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &is_null));
		HeardQueue *queue = hash_search(heard_queues, &queue_id, HASH_ENTER, NULL);

		queue->until = until;
		millrace_notify_queue(queue_id);
	}
}

static void
notify_agents(const Wakes *wakes)
{
	int32	   *unknown;
	int			unknown_count = 0;

	if (!is_home())
		return;
	unknown = palloc(sizeof(int32) * wakes->count);
	for (int i = 0; i < wakes->count; i++)
		if (is_heard(wakes->queue_ids[i]))
			millrace_notify_queue(wakes->queue_ids[i]);
		else
			unknown[unknown_count++] = wakes->queue_ids[i];
	if (unknown_count > 0)
		notify_who_listens(unknown, unknown_count);
}

/* Unconditionally: somebody has asked for it. */
static void
notify(void *argument)
{
	const Wakes *wakes = argument;

	if (wakes->count > 0)
		notify_agents(wakes);
	if (wakes->readers)
		Async_Notify(EVENTS_CHANNEL, "");
}

/* False when the extension has gone: then so does the waker. */
static bool
take_wakes(Database *database, Wakes *wakes)
{
	bool		installed;

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	wakes->count = millrace_database_take_wakes(database, wakes->queue_ids);
	wakes->readers = database->wake_readers;
	database->wake_readers = false;
	installed = database->installed;
	if (wakes->count > 0)
		database->wakes++;
	LWLockRelease(Dispatcher->lock);
	return installed;
}

/* Flags that are set meanwhile wait; a command that needs the database does not. */
static void
rest(const Database *database)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), millrace_wake_interval);
	long		left;

	while ((left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end)) > 0)
	{
		millrace_worker_sleep(left);
		millrace_worker_leave_if_held(database);
	}
}

/* One that ended before may have taken flags and told nobody. */
static void
take_over(Database *database)
{
	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database->wake_all = true;
	database->wake_readers = true;
	LWLockRelease(Dispatcher->lock);
}

void
millrace_waker_main(Datum argument)
{
	Database   *database = millrace_worker_attach(argument, offsetof(Database, waker), "millrace waker");
	HASHCTL		heard = {.keysize = sizeof(int32), .entrysize = sizeof(HeardQueue)};
	Wakes		wakes = {.queue_ids = palloc(sizeof(int32) * (KEYS->capacity + MAX_WAKE_QUEUES))};

	heard_queues = hash_create("millrace heard queues", 64, &heard, HASH_ELEM | HASH_BLOBS);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	take_over(database);
	for (;;)
	{
		millrace_worker_leave_if_held(database);
		if (!take_wakes(database, &wakes))
			proc_exit(0);

		if (wakes.count == 0 && !wakes.readers)
			millrace_worker_sleep(-1);
		else
		{
			MILLRACE_FAULT("wake");
			(void) millrace_worker_run("waking", notify, &wakes);
			rest(database);
		}
	}
}
