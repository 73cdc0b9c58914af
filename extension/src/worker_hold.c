/*
 * worker_hold.c
 *		Lets go of a database for commands that need it for themselves, and
 *		notes commands that make pushes of a prepared transaction visible.
 *
 * DROP DATABASE, and others, fail while somebody is connected. Workers are
 * nobody a user could ask to leave, so they are told to before the command
 * runs, and start again after it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "fault.h"
#include "miscadmin.h"
#include "pending.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/timestamp.h"
#include "worker.h"

/* Longer than a worker's transactions; then the command says itself who is in the way. */
#define LONGEST_WAIT_MS 10000

static ProcessUtility_hook_type previous_hook;

static const char *
option(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *element = lfirst_node(DefElem, cell);

		if (strcmp(element->defname, name) == 0 && element->arg != NULL)
			return defGetString(element);
	}
	return NULL;
}

/* The database that this command needs for itself, or null. */
static const char *
needed_database(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return castNode(DropdbStmt, statement)->dbname;
		case T_CreatedbStmt:
			return option(castNode(CreatedbStmt, statement)->options, "template");
		case T_RenameStmt:
			if (castNode(RenameStmt, statement)->renameType == OBJECT_DATABASE)
				return castNode(RenameStmt, statement)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
			if (option(castNode(AlterDatabaseStmt, statement)->options, "tablespace"))
				return castNode(AlterDatabaseStmt, statement)->dbname;
			return NULL;
		default:
			return NULL;
	}
}

/* Whoever may not run the command on that database shall not trouble its workers either. */
static Oid
database_to_hold(Node *statement)
{
	const char *name = needed_database(statement);
	Oid			oid = name ? get_database_oid(name, true) : InvalidOid;

	if (OidIsValid(oid) && oid != MyDatabaseId && pg_database_ownercheck(oid, GetUserId()))
		return oid;
	return InvalidOid;
}

/* Keeps workers out. False when the dispatcher does not know the database. */
static bool
hold(Oid oid)
{
	Database   *database;
	Latch	   *waker = NULL;
	Latch	   *keeper = NULL;

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_find(oid);
	if (database)
	{
		database->holds++;
		waker = database->waker.latch;
		keeper = database->keeper.latch;
	}
	LWLockRelease(Dispatcher->lock);

	if (waker)
		SetLatch(waker);
	if (keeper)
		SetLatch(keeper);
	return database != NULL;
}

/* Lets workers in again, and tells whom to have them started. */
static Latch *
end_hold(Oid oid)
{
	Database   *database;
	Latch	   *launcher;

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_find(oid);
	if (database)
	{
		database->holds--;
		database->attach_wanted = true;
	}
	launcher = Dispatcher->launcher;
	LWLockRelease(Dispatcher->lock);
	return launcher;
}

/* When the command fails, or its session ends. */
static void
release(int code, Datum argument)
{
	Latch	   *launcher = end_hold(DatumGetObjectId(argument));

	if (launcher)
		SetLatch(launcher);
}

static bool
has_workers(Oid oid, ConditionVariable **worker_gone)
{
	Database   *database;
	bool		has;

	LWLockAcquire(Dispatcher->lock, LW_SHARED);
	database = millrace_database_find(oid);
	has = database && (database->waker.pid != 0 || database->keeper.pid != 0);
	if (has)
		*worker_gone = &database->worker_gone;
	LWLockRelease(Dispatcher->lock);
	return has;
}

static void
wait_for_workers(Oid oid)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LONGEST_WAIT_MS);
	ConditionVariable *worker_gone;

	while (has_workers(oid, &worker_gone))
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

		if (left <= 0)
			break;
		(void) ConditionVariableTimedSleep(worker_gone, left, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

static void
forget(Oid oid)
{
	Database   *database;

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_find(oid);
	if (database)
		millrace_database_forget(database);
	LWLockRelease(Dispatcher->lock);
}

/* What the transaction pushed is in the tables now, and nowhere else. */
static void
want_sweep(void)
{
	Database   *database;
	Latch	   *keeper = NULL;
	Latch	   *waker = NULL;
	bool		attach = false;

	MILLRACE_FAULT("commit_prepared");
	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	if (database && database->prepared)
	{
		database->needs_sweep = true;
		keeper = database->keeper.latch;
		attach = !database->installed;
	}
	/* its events, if it has any, can be read now */
	if (database && millrace_database_flag_readers(database))
		waker = database->waker.latch;
	LWLockRelease(Dispatcher->lock);

	if (keeper)
		SetLatch(keeper);
	if (waker)
		SetLatch(waker);
	if (attach)
		millrace_pending_attach_workers(MyDatabaseId);
}

static void
run(PlannedStmt *plan, const char *query, bool read_only_tree, ProcessUtilityContext context,
	ParamListInfo params, QueryEnvironment *environment, DestReceiver *destination, QueryCompletion *completion)
{
	(previous_hook ? previous_hook : standard_ProcessUtility)
		(plan, query, read_only_tree, context, params, environment, destination, completion);
}

/* Workers that started before the commit would still find the database by its old name. */
static void
end_successful_hold(Node *statement, Oid held)
{
	if (IsA(statement, DropdbStmt))
		forget(held);
	else
	{
		(void) end_hold(held);
		millrace_pending_attach_workers(held);
	}
}

static void
run_alone(Oid needed, PlannedStmt *plan, const char *query, bool read_only_tree, ProcessUtilityContext context,
		  ParamListInfo params, QueryEnvironment *environment, DestReceiver *destination, QueryCompletion *completion)
{
	PG_ENSURE_ERROR_CLEANUP(release, ObjectIdGetDatum(needed));
	{
		wait_for_workers(needed);
		run(plan, query, read_only_tree, context, params, environment, destination, completion);
	}
	PG_END_ENSURE_ERROR_CLEANUP(release, ObjectIdGetDatum(needed));
	end_successful_hold(plan->utilityStmt, needed);
}

/* What the command has brought about for the workers to do. */
static void
follow_up(Node *statement, bool commits_prepared)
{
	if (commits_prepared)
		want_sweep();
	else if (IsA(statement, CreatedbStmt))
	{
		/* it may be a copy of one that has the extension */
		millrace_pending_attach_workers(get_database_oid(castNode(CreatedbStmt, statement)->dbname, false));
	}
}

static void
utility(PlannedStmt *plan, const char *query, bool read_only_tree, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *destination, QueryCompletion *completion)
{
	Node	   *statement = plan->utilityStmt;
	bool		usable = millrace_dispatcher_usable();
	/* asked before, for the statement may end with its transaction */
	bool		is_transaction = IsA(statement, TransactionStmt);
	bool		commits_prepared = is_transaction &&
		castNode(TransactionStmt, statement)->kind == TRANS_STMT_COMMIT_PREPARED;
	Oid			needed = usable && !is_transaction ? database_to_hold(statement) : InvalidOid;

	if (OidIsValid(needed) && hold(needed))
		run_alone(needed, plan, query, read_only_tree, context, params, environment, destination, completion);
	else
		run(plan, query, read_only_tree, context, params, environment, destination, completion);

	if (usable && (commits_prepared || !is_transaction))
		follow_up(statement, commits_prepared);
}

void
millrace_worker_install_hold(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
