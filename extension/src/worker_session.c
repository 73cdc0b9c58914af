/*
 * worker_session.c
 *		What waker and keeper share: entering a database, transactions whose
 *		errors do not end the process, sleep.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "worker.h"

static Database *attached_to;
static WorkerSlot *slot;

/* At exit, whatever the reason: who waits for the database goes on, and the launcher looks. */
static void
detach(int code, Datum argument)
{
	Latch	   *launcher;

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	*slot = (WorkerSlot) {0};
	launcher = Dispatcher->launcher;
	LWLockRelease(Dispatcher->lock);

	ConditionVariableBroadcast(&attached_to->worker_gone);
	if (launcher)
		SetLatch(launcher);
}

/*
 * Enters the slot before connecting: a command that needs the database for
 * itself either finds the worker there, and waits for it, or keeps it out.
 */
static bool
enter(Oid oid, Size slot_offset)
{
	bool		entered = false;

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	attached_to = millrace_database_find(oid);
	if (attached_to)
	{
		slot = (WorkerSlot *) ((char *) attached_to + slot_offset);
		entered = attached_to->holds == 0 && slot->pid == 0;
		if (entered)
			*slot = (WorkerSlot) {.pid = MyProcPid, .latch = MyLatch};
	}
	LWLockRelease(Dispatcher->lock);
	return entered;
}

/* What a database or role may have set otherwise. */
static void
pin_settings(const char *name)
{
	static const char *const pins[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
	};

	for (int i = 0; i < lengthof(pins); i++)
		SetConfigOption(pins[i][0], pins[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("application_name", name, PGC_SUSET, PGC_S_OVERRIDE);
}

Database *
millrace_worker_attach(Datum argument, Size slot_offset, const char *name)
{
	Oid			oid = DatumGetObjectId(argument);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (!enter(oid, slot_offset))
		proc_exit(0);
	before_shmem_exit(detach, (Datum) 0);

	BackgroundWorkerInitializeConnectionByOid(oid, InvalidOid, 0);
	pin_settings(name);
	pgstat_report_activity(STATE_IDLE, NULL);
	return attached_to;
}

/* A fault that lasts would fill the log: only its first report is one. */
static void
report_error(const ErrorData *error)
{
	static char last_message[256];

	if (strncmp(last_message, error->message, sizeof(last_message) - 1) == 0)
		return;
	strlcpy(last_message, error->message, sizeof(last_message));
	EmitErrorReport();
}

static void
run_in_transaction(WorkerAction action, void *argument)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	action(argument);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

bool
millrace_worker_run(const char *activity, WorkerAction action, void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool succeeded = true;

	pgstat_report_activity(STATE_RUNNING, activity);
	PG_TRY();
	{
		run_in_transaction(action, argument);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		report_error(error);
		FreeErrorData(error);
		AbortCurrentTransaction();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		RESUME_INTERRUPTS();
		succeeded = false;
	}
	PG_END_TRY();

	MemoryContextSwitchTo(context);
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return succeeded;
}

void
millrace_worker_sleep(long milliseconds)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (milliseconds >= 0 ? WL_TIMEOUT : 0);

	(void) WaitLatch(MyLatch, events, milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

void
millrace_worker_leave_if_held(const Database *database)
{
	bool		held;

	LWLockAcquire(Dispatcher->lock, LW_SHARED);
	held = database->holds > 0;
	LWLockRelease(Dispatcher->lock);
	if (held)
		proc_exit(0);
}
