/*
 * dispatcher_refill.c
 *		The frame of a refill from the tables, which SQL does between the two.
 *
 * Transactions go on pushing while the tables are read. Whatever becomes ready
 * by a transaction that commits after a statement of the refill has taken its
 * snapshot publishes itself; what was ready before is in the snapshot. A step
 * that is claimed meanwhile is pushed all the same, and found stale when popped.
 */
#include "postgres.h"

#include "dispatcher.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"

PG_FUNCTION_INFO_V1(millrace_dispatcher_begin_refill);
PG_FUNCTION_INFO_V1(millrace_dispatcher_end_refill);

static bool
has_prepared_transactions(void)
{
	bool		found;

	SPI_connect();
	if (SPI_execute("SELECT FROM pg_catalog.pg_prepared_xacts x WHERE x.database OPERATOR(pg_catalog.=) pg_catalog.current_database()",
					true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read pg_prepared_xacts");
	found = SPI_processed > 0;
	SPI_finish();
	return found;
}

/*
 * From here on a call for a refill asks for another one. Whether transactions
 * are still prepared is asked before the tables are read: one that commits in
 * between is seen there. One that is prepared in between changes `prepares`.
 */
Datum
millrace_dispatcher_begin_refill(PG_FUNCTION_ARGS)
{
	Database   *database;
	uint64		prepares = 0;

	if (!millrace_dispatcher_usable())
		PG_RETURN_VOID();

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	if (database)
	{
		database->refilling = true;
		database->needs_sweep = false;
		database->overflowed = false;
		database->starving = false;
		prepares = database->prepares;
	}
	LWLockRelease(Dispatcher->lock);

	if (database && !has_prepared_transactions())
	{
		LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
		if (database->prepares == prepares)
			database->prepared = false;
		LWLockRelease(Dispatcher->lock);
	}
	PG_RETURN_VOID();
}

Datum
millrace_dispatcher_end_refill(PG_FUNCTION_ARGS)
{
	Database   *database;

	if (!millrace_dispatcher_usable())
		PG_RETURN_VOID();
	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	if (database)
	{
		database->refilling = false;
		database->refills++;
		if (!database->warm)
			millrace_index_warm_up(database);
	}
	LWLockRelease(Dispatcher->lock);
	PG_RETURN_VOID();
}
