/*
 * dispatcher_calls.c
 *		What a transaction asks of the dispatcher, apart from pops.
 *
 * Without the library preloaded, and on a standby, nothing happens.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "dispatcher.h"
#include "fault.h"
#include "miscadmin.h"
#include "pending.h"
#include "storage/proc.h"

/* Whether to do anything at all. What a parallel worker noted, nobody would publish. */
static bool
may_change(void)
{
	if (!millrace_dispatcher_usable())
		return false;
	PreventCommandIfParallelMode("a change of the dispatcher");
	return true;
}

void
millrace_dispatcher_push_steps(const ReadyStep *steps, int count)
{
	if (!may_change())
		return;
	millrace_pending_push(steps, count);
	MILLRACE_FAULT("pushed");
}

void
millrace_dispatcher_put_back_steps(const int64 *run_ids, const int32 *step_nos, int count)
{
	Database   *database;

	if (!may_change())
		return;
	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	for (int i = 0; i < count; i++)
	{
		Entry	   *entry = millrace_index_find(MyDatabaseId, run_ids[i], step_nos[i]);

		if (entry && entry->owner == MyProc->pgprocno)
			millrace_index_give_back(database, entry, false);
	}
	LWLockRelease(Dispatcher->lock);
	MILLRACE_FAULT("put_back");
}

/*
 * A removal is a pop by name. Done at once and not at commit, because then a
 * push by the next one to lock the row could come first, and be lost.
 */
void
millrace_dispatcher_remove_steps(const int64 *run_ids, const int32 *step_nos, int count)
{
	if (!may_change())
		return;
	millrace_pending_reserve_pops(count);

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	for (int i = 0; i < count; i++)
	{
		Entry	   *entry = millrace_index_find(MyDatabaseId, run_ids[i], step_nos[i]);

		/* in another's hands it will be found stale */
		if (entry && entry->owner == NO_OWNER)
		{
			millrace_index_take(entry, MyProc->pgprocno);
			millrace_pending_note_pop(entry);
		}
	}
	LWLockRelease(Dispatcher->lock);
	MILLRACE_FAULT("removed");
}

void
millrace_dispatcher_sorts_first_steps(const ReadyStep *steps, int count, bool *first)
{
	memset(first, true, count);
	if (!millrace_dispatcher_usable())
		return;
	LWLockAcquire(Dispatcher->lock, LW_SHARED);
	for (int i = 0; i < count; i++)
		first[i] = millrace_order_sorts_first(millrace_index_find_key(MyDatabaseId, steps[i].queue_id, steps[i].handler_id),
											  &steps[i]);
	LWLockRelease(Dispatcher->lock);
}

/* Weights are looked up before the lock is taken. */
void
millrace_dispatcher_charge_steps(const ReadyStep *steps, int count)
{
	float4	   *weights;

	if (!may_change() || count == 0)
		return;
	weights = palloc(sizeof(float4) * count);
	for (int i = 0; i < count; i++)
		weights[i] = steps[i].weight > 0 ? steps[i].weight : millrace_dispatcher_tenant_weight(steps[i].tenant_id);

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	for (int i = 0; i < count; i++)
	{
		Key		   *key = millrace_index_find_key(MyDatabaseId, steps[i].queue_id, steps[i].handler_id);

		if (key)
			millrace_order_charge(key, steps[i].tenant_id, weights[i]);
	}
	LWLockRelease(Dispatcher->lock);
	pfree(weights);
}

void
millrace_dispatcher_note_stale_steps(int count)
{
	Database   *database;

	if (!may_change() || count == 0)
		return;
	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	if (database)
		database->stale += count;
	LWLockRelease(Dispatcher->lock);
}
