/*
 * worker_launcher.c
 *		Starts a keeper and a waker in every database that has the extension.
 *
 * The launcher sees the shared catalogs only, so it cannot tell which database
 * has it. At its start it therefore sends a keeper into every one, a few at a
 * time; a keeper that finds no extension ends. Later a database announces
 * itself (workers_attach). The waker follows once the keeper has found the
 * extension. What ends without having been told to is started again, after a
 * while that grows.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker.h"

#define PROBES_AT_ONCE 2
#define FIRST_BACKOFF_MS 1000
#define LONGEST_BACKOFF_MS 60000

typedef struct Supervised
{
	BackgroundWorkerHandle *handle;
	TimestampTz started_at;
	TimestampTz not_before;
	int			failures;
} Supervised;

/* By slot in shared memory. */
static Supervised keepers[MAX_DATABASES];
static Supervised wakers[MAX_DATABASES];

static void
leave(int code, Datum argument)
{
	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	Dispatcher->launcher = NULL;
	LWLockRelease(Dispatcher->lock);
}

static void
want(Oid oid)
{
	Database   *database;

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_obtain(oid);
	if (database)
		database->attach_wanted = true;
	LWLockRelease(Dispatcher->lock);

	if (database == NULL)
		ereport(LOG,
				(errmsg("too many databases for the dispatcher, no worker is started for the one with OID %u", oid),
				 errdetail("It knows at most %d.", MAX_DATABASES)));
}

/* Templates are left alone: a worker in one would be in the way of CREATE DATABASE. */
static void
want_all_databases(void)
{
	Relation	databases;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	databases = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(databases, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datallowconn && !database->datistemplate)
			want(database->oid);
	}
	table_endscan(scan);
	table_close(databases, AccessShareLock);
	CommitTransactionCommand();
}

static bool
start(Supervised *worker, Oid oid, const char *type, const char *entry_point)
{
	static bool lack_reported = false;
	BackgroundWorker settings = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_main_arg = ObjectIdGetDatum(oid),
		.bgw_notify_pid = MyProcPid,
	};

	snprintf(settings.bgw_name, BGW_MAXLEN, "%s of database %u", type, oid);
	strlcpy(settings.bgw_type, type, BGW_MAXLEN);
	strlcpy(settings.bgw_library_name, "millrace", BGW_MAXLEN);
	strlcpy(settings.bgw_function_name, entry_point, BGW_MAXLEN);

	if (RegisterDynamicBackgroundWorker(&settings, &worker->handle))
	{
		worker->started_at = GetCurrentTimestamp();
		lack_reported = false;
		return true;
	}

	worker->handle = NULL;
	worker->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LONGEST_BACKOFF_MS / 6);
	if (!lack_reported)
		ereport(LOG,
				(errmsg("no %s could be started: all background worker slots are taken", type),
				 errhint("Raise max_worker_processes (%d): two for each database with the extension, and one.",
						 max_worker_processes)));
	lack_reported = true;
	return false;
}

/* A worker that has run for a while may start again at once; one that ends again and again waits longer each time. */
static void
note_end(Supervised *worker, bool expected)
{
	TimestampTz now = GetCurrentTimestamp();

	pfree(worker->handle);
	worker->handle = NULL;
	if (expected || TimestampDifferenceExceeds(worker->started_at, now, LONGEST_BACKOFF_MS))
		worker->failures = 0;
	else
		worker->failures++;
	worker->not_before = now;
	if (worker->failures > 0)
		worker->not_before = TimestampTzPlusMilliseconds(now,
			Min((long) FIRST_BACKOFF_MS << Min(worker->failures - 1, 16), LONGEST_BACKOFF_MS));
}

/* One may also be running since before this launcher was started. */
static bool
is_running(Supervised *worker, const WorkerSlot *slot, bool expected_to_end)
{
	pid_t		pid;

	if (worker->handle)
	{
		BgwHandleStatus status = GetBackgroundWorkerPid(worker->handle, &pid);

		if (status != BGWH_STOPPED)
			return true;
		note_end(worker, expected_to_end);
	}
	return slot->pid != 0;
}

/* The earlier of both. */
static void
look_again_at(TimestampTz *next, TimestampTz at)
{
	if (at < *next)
		*next = at;
}

/*
 * Starts what is missing in one database; `next` is when to look again. The
 * slot is read without the lock: whoever changes it sets the launcher's latch.
 */
static void
supervise(int place, int *probes, TimestampTz *next)
{
	Database   *database = &Dispatcher->databases[place];
	Supervised *keeper = &keepers[place];
	Supervised *waker = &wakers[place];
	Oid			oid = database->oid;
	bool		installed = database->installed;
	bool		held = database->holds > 0;
	bool		keeper_runs = is_running(keeper, &database->keeper, held || !installed);
	bool		waker_runs = is_running(waker, &database->waker, held || !installed);
	TimestampTz now = GetCurrentTimestamp();

	if (!OidIsValid(oid))
		*keeper = *waker = (Supervised) {0};
	if (!OidIsValid(oid) || held)
		return;

	if (keeper_runs)
		*probes += !installed;
	else if (database->attach_wanted ? *probes < PROBES_AT_ONCE : installed && keeper->not_before <= now)
	{
		database->attach_wanted = false;
		*probes += !installed;
		if (!start(keeper, oid, "millrace keeper", "millrace_keeper_main"))
		{
			database->attach_wanted = true;
			look_again_at(next, keeper->not_before);
		}
	}
	else if (installed)
		look_again_at(next, keeper->not_before);

	if (installed && !waker_runs)
	{
		if (waker->not_before > now || !start(waker, oid, "millrace waker", "millrace_waker_main"))
			look_again_at(next, waker->not_before);
	}
}

void
millrace_launcher_main(Datum argument)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	Dispatcher->launcher = MyLatch;
	LWLockRelease(Dispatcher->lock);
	before_shmem_exit(leave, (Datum) 0);

	want_all_databases();
	for (;;)
	{
		TimestampTz next = DT_NOEND;
		int			probes = 0;

		for (int i = 0; i < MAX_DATABASES; i++)
			supervise(i, &probes, &next);
		millrace_worker_sleep(next == DT_NOEND ? -1 :
							  TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next) + 1);
	}
}

void
millrace_worker_register_launcher(void)
{
	BackgroundWorker settings = {
		.bgw_name = "millrace launcher",
		.bgw_type = "millrace launcher",
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = 5,
		.bgw_library_name = "millrace",
		.bgw_function_name = "millrace_launcher_main",
	};

	RegisterBackgroundWorker(&settings);
}
