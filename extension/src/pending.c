/*
 * pending.c
 *		What a transaction owes the dispatcher when it ends.
 *
 * Pushes are remembered here and published once the transaction has committed;
 * pops have happened already, and are forgotten at commit or given back on
 * rollback. Both carry the nesting level of the subtransaction they belong to.
 *
 * Nothing may fail after the commit, and nothing can: memory is allocated when
 * a push or pop is noted, and a lack of room in shared memory only sets a flag
 * (see dispatcher.h), so there is nothing to reserve before.
 *
 * A prepared transaction is committed by somebody else, or never. Its pushes
 * are dropped; whoever commits it asks the keeper for a sweep.
 */
#include "postgres.h"

#include "access/xact.h"
#include "dispatcher.h"
#include "fault.h"
#include "miscadmin.h"
#include "pending.h"
#include "storage/proc.h"
#include "utils/memutils.h"

/* How many steps are published in one go, before others get the lock. */
#define PUBLISH_BATCH 512

typedef struct PendingPush
{
	int			level;
	ReadyStep	step;
} PendingPush;

typedef struct PendingPop
{
	int			level;
	uint32		entry;
	int32		step_no;
	int64		run_id;
} PendingPop;

/* Lists live in TopTransactionContext; a later item never has a lower level than an earlier one. */
static struct
{
	PendingPush *pushes;
	int			push_count;
	int			push_room;
	PendingPop *pops;
	int			pop_count;
	int			pop_room;
	bool		events;			/* events were written */
	bool		wake_keeper;
	Oid			attach_to;		/* a database */
} pending;

/* Whose latches to set once the lock is released. */
typedef struct Signals
{
	Latch	   *waker;
	Latch	   *keeper;
	Latch	   *launcher;
} Signals;

static void *
with_room(void *list, int *room, int wanted, Size size)
{
	if (wanted <= *room)
		return list;
	*room = Max(wanted, Max(*room * 2, 64));
	if (list == NULL)
		return MemoryContextAllocHuge(TopTransactionContext, *room * size);
	return repalloc_huge(list, *room * size);
}

void
millrace_pending_push(const ReadyStep *steps, int count)
{
	int			level = GetCurrentTransactionNestLevel();

	pending.pushes = with_room(pending.pushes, &pending.push_room, pending.push_count + count, sizeof(PendingPush));
	for (int i = 0; i < count; i++)
	{
		PendingPush *push = &pending.pushes[pending.push_count];

		*push = (PendingPush) {.level = level, .step = steps[i]};
		if (push->step.weight <= 0)
			push->step.weight = millrace_dispatcher_tenant_weight(push->step.tenant_id);
		pending.push_count++;
	}
}

void
millrace_pending_reserve_pops(int count)
{
	pending.pops = with_room(pending.pops, &pending.pop_room, pending.pop_count + count, sizeof(PendingPop));
}

void
millrace_pending_note_pop(const Entry *entry)
{
	Assert(pending.pop_count < pending.pop_room);
	pending.pops[pending.pop_count++] = (PendingPop) {
		.level = GetCurrentTransactionNestLevel(),
		.entry = pool_index(ENTRIES, entry),
		.run_id = entry->step.run_id,
		.step_no = entry->step.step_no,
	};
}

void
millrace_pending_note_events(void)
{
	pending.events = true;
}

void
millrace_pending_wake_keeper(void)
{
	pending.wake_keeper = true;
}

void
millrace_pending_attach_workers(Oid database)
{
	pending.attach_to = database;
}

/* The popped entry, unless it was put back since: then it may be anybody's, or another step's. */
static Entry *
still_mine(const PendingPop *pop)
{
	Entry	   *entry = entry_at(pop->entry);

	if (entry->owner == MyProc->pgprocno && entry->database == MyDatabaseId &&
		entry->step.run_id == pop->run_id && entry->step.step_no == pop->step_no)
		return entry;
	return NULL;
}

static void
give_back_pops(Database *database, int level)
{
	while (pending.pop_count > 0 && pending.pops[pending.pop_count - 1].level >= level)
	{
		Entry	   *entry = still_mine(&pending.pops[--pending.pop_count]);

		if (entry)
			millrace_index_give_back(database, entry, true);
	}
}

static void
forget_pops(Database *database)
{
	for (int i = 0; i < pending.pop_count; i++)
	{
		Entry	   *entry = still_mine(&pending.pops[i]);

		if (entry)
			millrace_index_forget(database, entry);
	}
}

static void
publish_pushes(Database *database)
{
	TimestampTz now = GetCurrentTransactionStopTimestamp();

	for (int i = 0; i < pending.push_count; i++)
	{
		if (i > 0 && i % PUBLISH_BATCH == 0)
		{
			LWLockRelease(Dispatcher->lock);
			LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
		}
		millrace_index_push(database, &pending.pushes[i].step, now, 0);
	}
}

/* Whom to tell. */
static Latch *
attach_workers(Oid oid)
{
	Database   *database = millrace_database_obtain(oid);

	if (database == NULL)
		return NULL;
	database->attach_wanted = true;
	return Dispatcher->launcher;
}

static void
send(const Signals *signals)
{
	if (signals->waker)
		SetLatch(signals->waker);
	if (signals->keeper)
		SetLatch(signals->keeper);
	if (signals->launcher)
		SetLatch(signals->launcher);
}

/* Agents that wait are told by the transaction itself, where it is its turn. */
static void
before_commit(void)
{
	TimestampTz now = GetCurrentTimestamp();
	const ReadyStep *last = NULL;
	Database   *database;

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	if (database && millrace_tell_may(database, now))
	{
		for (int i = 0; i < Min(pending.push_count, PUBLISH_BATCH); i++)
		{
			const ReadyStep *step = &pending.pushes[i].step;

			if (last == NULL || last->queue_id != step->queue_id || last->handler_id != step->handler_id)
				millrace_tell_note(step);
			last = step;
		}
		millrace_tell_begin(database, now);
	}
	LWLockRelease(Dispatcher->lock);
	millrace_tell_send();
}

static void
at_commit(void)
{
	Signals		signals = {0};
	Database   *database;

	MILLRACE_FAULT("publish");
	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	if (database)
	{
		/* pops first: a step that was claimed and released in one transaction waits again */
		forget_pops(database);
		millrace_tell_end(database, true);
		publish_pushes(database);
		if (pending.events)
			(void) millrace_database_flag_readers(database);
		signals.waker = millrace_database_collect_waker(database);

		if (pending.wake_keeper)
			signals.keeper = database->keeper.latch;
	}
	if (OidIsValid(pending.attach_to))
		signals.launcher = attach_workers(pending.attach_to);
	LWLockRelease(Dispatcher->lock);
	send(&signals);
}

static void
at_rollback(int level)
{
	Signals		signals = {0};
	Database   *database;

	MILLRACE_FAULT("rollback");
	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	if (database)
	{
		give_back_pops(database, level);
		if (level == 0)
			millrace_tell_end(database, false);
		signals.waker = millrace_database_collect_waker(database);
	}
	LWLockRelease(Dispatcher->lock);
	send(&signals);
}

static void
at_prepare(void)
{
	Signals		signals = {0};
	Database   *database;

	MILLRACE_FAULT("prepared");
	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	if (database)
	{
		give_back_pops(database, 0);
		database->prepared = true;
		database->prepares++;
		signals.waker = millrace_database_collect_waker(database);
	}
	LWLockRelease(Dispatcher->lock);
	send(&signals);
}

static bool
is_empty(void)
{
	return pending.push_count == 0 && pending.pop_count == 0 &&
		!pending.wake_keeper && !OidIsValid(pending.attach_to);
}

static void
transaction_ends(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (pending.push_count > 0)
				before_commit();
			return;
		case XACT_EVENT_COMMIT:
			if (!is_empty() || (pending.events && millrace_database_may_want_events()))
				at_commit();
			break;
		case XACT_EVENT_ABORT:
			if (pending.pop_count > 0 || millrace_tell_is_begun())
				at_rollback(0);
			break;
		case XACT_EVENT_PREPARE:
			if (!is_empty())
				at_prepare();
			break;
		default:
			return;
	}
	/* the lists go with the transaction's memory */
	memset(&pending, 0, sizeof(pending));
}

static void
subtransaction_ends(SubXactEvent event, SubTransactionId self, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = pending.push_count - 1; i >= 0 && pending.pushes[i].level >= level; i--)
			pending.pushes[i].level = level - 1;
		for (int i = pending.pop_count - 1; i >= 0 && pending.pops[i].level >= level; i--)
			pending.pops[i].level = level - 1;
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		while (pending.push_count > 0 && pending.pushes[pending.push_count - 1].level >= level)
			pending.push_count--;
		if (pending.pop_count > 0 && pending.pops[pending.pop_count - 1].level >= level)
			at_rollback(level);
	}
}

void
millrace_pending_install(void)
{
	RegisterXactCallback(transaction_ends, NULL);
	RegisterSubXactCallback(subtransaction_ends, NULL);
}
