/*
 * worker_keeper.c
 *		Keeps time for a database, and its part of the dispatcher filled.
 *
 * What is due, and what to do about it, is SQL (millrace_internal.keep); this
 * process decides when. It is also the one that finds out whether a database
 * has the extension at all: in one that has not, it ends.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "dispatcher_refill.h"
#include "executor/spi.h"
#include "fault.h"
#include "guc.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"
#include "worker.h"

/* A clock that stands still, or a backlog, would otherwise make the keeper spin. */
#define SHORTEST_SLEEP_MS 10
#define LONGEST_BACKOFF_MS 60000

typedef struct Situation
{
	bool		installed;
	bool		home;
} Situation;

static Datum
answer(const char *statement, bool *is_null)
{
	if (SPI_execute(statement, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "\"%s\" answered no row", statement);
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, is_null);
}

static void
look(void *argument)
{
	Situation  *situation = argument;
	bool		is_null;

	situation->installed = OidIsValid(get_extension_oid("millrace", true));
	situation->home = situation->installed &&
		DatumGetBool(answer("SELECT millrace_internal.is_home()", &is_null));
}

static void
keep(void *argument)
{
	TimestampTz *next_due = argument;
	bool		is_null;
	Datum		due = answer("SELECT millrace_internal.keep()", &is_null);

	*next_due = is_null ? DT_NOEND : DatumGetTimestampTz(due);
}

/* Where a refill stands: the last run whose steps have been read. */
typedef struct Reading
{
	Database   *database;
	int64		after_run;
	bool		ended;
} Reading;

static void
begin_refill(void *argument)
{
	Reading    *reading = argument;
	bool		is_null;

	(void) answer("SELECT millrace_internal.sink_enter()", &is_null);
	reading->after_run = millrace_refill_begin(reading->database) - 1;
}

/* A transaction a batch: a long one would hold back vacuum. */
static void
read_batch(void *argument)
{
	static SPIPlanPtr plan = NULL;
	Reading    *reading = argument;
	Datum		after_run = Int64GetDatum(reading->after_run);
	Datum		last_run;

	if (plan == NULL)
	{
		Oid			types[] = {INT8OID};
		SPIPlanPtr	prepared = SPI_prepare("SELECT millrace_internal.dispatcher_fill($1)", lengthof(types), types);

		SPI_keepplan(prepared);
		plan = prepared;
	}
	if (SPI_execute_plan(plan, &after_run, NULL, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read ready steps");
	last_run = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &reading->ended);
	if (!reading->ended)
		reading->after_run = DatumGetInt64(last_run);
}

static bool
refill(Database *database)
{
	Reading		reading = {.database = database};

	if (!millrace_worker_run("refilling the dispatcher", begin_refill, &reading))
		return false;
	while (!reading.ended)
	{
		millrace_worker_leave_if_held(database);
		if (!millrace_worker_run("refilling the dispatcher", read_batch, &reading))
			return false;
	}
	MILLRACE_FAULT("refilled");
	millrace_refill_end(database);
	return true;
}

static void
report_overflow(const Database *database)
{
	static bool reported = false;

	if (!database->overflowed)
		reported = false;
	else if (!reported)
	{
		ereport(LOG,
				(errmsg("the dispatcher has no place for more queues, handlers or tenants: their ready steps are read from the tables"),
				 errhint("Consider raising millrace.dispatcher_entries (%d) or millrace.dispatcher_keys (%d).",
						 millrace_dispatcher_entries, millrace_dispatcher_keys)));
		reported = true;
	}
}

/*
 * After one that took long the next one waits as long, so that the keeper has
 * time for its other work; one of everything for want of places waits for an
 * interval, for it may end as the last one did.
 */
static bool
refill_if_wanted(Database *database)
{
	static TimestampTz not_before = 0;
	RefillNeed	need = millrace_refill_need(database);
	TimestampTz now = GetCurrentTimestamp();
	bool		succeeded;

	report_overflow(database);
	if (need == REFILL_NONE || (need != REFILL_EVERYTHING && now < not_before))
		return true;
	succeeded = refill(database);
	not_before = GetCurrentTimestamp();
	not_before += need == REFILL_OVERFLOW ? millrace_keeper_interval * INT64CONST(1000) : not_before - now;
	return succeeded;
}

static void
set_installed(Database *database, bool installed)
{
	Latch	   *latch;

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	if (!installed)
		millrace_index_clear(database);
	database->installed = installed;
	latch = installed ? Dispatcher->launcher : database->waker.latch;
	LWLockRelease(Dispatcher->lock);

	/* the launcher starts a waker now, or the waker ends */
	if (latch)
		SetLatch(latch);
}

static bool
work(Database *database, TimestampTz *next_due)
{
	Situation	situation = {false, false};

	*next_due = DT_NOEND;
	if (!millrace_worker_run("looking for the extension", look, &situation))
		return false;
	if (!situation.installed)
	{
		set_installed(database, false);
		proc_exit(0);
	}
	if (!database->installed)
		set_installed(database, true);
	if (!situation.home)
		return true;
	return refill_if_wanted(database) && millrace_worker_run("keeping time", keep, next_due);
}

static long
time_to_sleep(TimestampTz next_due, int failures)
{
	long		interval = millrace_keeper_interval;

	if (failures > 0)
		return Min(interval << Min(failures - 1, 16), LONGEST_BACKOFF_MS);
	if (next_due == DT_NOEND)
		return interval;
	return Max(Min(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next_due), interval), SHORTEST_SLEEP_MS);
}

void
millrace_keeper_main(Datum argument)
{
	Database   *database = millrace_worker_attach(argument, offsetof(Database, keeper), "millrace keeper");
	int			failures = 0;

	for (;;)
	{
		TimestampTz next_due;

		millrace_worker_leave_if_held(database);
		failures = work(database, &next_due) ? 0 : failures + 1;
		millrace_worker_sleep(time_to_sleep(next_due, failures));
	}
}
