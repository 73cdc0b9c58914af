/*
 * dispatcher_index.c
 *		Steps by identity: each is in the dispatcher at most once, waiting or popped.
 */
#include "postgres.h"

#include "dispatcher.h"

/* Keys */

static uint32
key_hash(Oid database, int32 queue_id, int32 handler_id)
{
	return dispatcher_hash(database, queue_id, handler_id, 0);
}

Key *
millrace_index_find_key(Oid database, int32 queue_id, int32 handler_id)
{
	pool_foreach(KEYS, key_hash(database, queue_id, handler_id), index)
	{
		Key		   *key = key_at(index);

		if (key->database == database && key->queue_id == queue_id && key->handler_id == handler_id)
			return key;
	}
	return NULL;
}

Key *
millrace_index_obtain_key(Oid database, int32 queue_id, int32 handler_id)
{
	Key		   *key = millrace_index_find_key(database, queue_id, handler_id);
	uint32		index;

	if (key)
		return key;
	index = millrace_pool_allocate(KEYS, key_hash(database, queue_id, handler_id));
	if (index == POOL_NONE)
		return NULL;

	key = key_at(index);
	key->database = database;
	key->queue_id = queue_id;
	key->handler_id = handler_id;
	key->tenants = POOL_NONE;
	key->oldest = POOL_NONE;
	key->newest = POOL_NONE;
	/* who looked here before, looked into the tables */
	key->hungry = true;
	return key;
}

static void
enlist(Key *key, uint32 index)
{
	Entry	   *entry = entry_at(index);

	entry->key = pool_index(KEYS, key);
	entry->older = key->newest;
	entry->newer = POOL_NONE;
	if (key->newest != POOL_NONE)
		entry_at(key->newest)->newer = index;
	else
		key->oldest = index;
	key->newest = index;
}

static void
delist(Key *key, const Entry *entry)
{
	if (entry->older != POOL_NONE)
		entry_at(entry->older)->newer = entry->newer;
	else
		key->oldest = entry->newer;
	if (entry->newer != POOL_NONE)
		entry_at(entry->newer)->older = entry->older;
	else
		key->newest = entry->older;
}

/* An agent has found less here than it had room for. */
void
millrace_index_note_hunger(Key *key, bool hears)
{
	key->hears = hears || (key->hungry && key->hears);
	key->hungry = true;
	key->hunger = ++Dispatcher->hungers;
}

/* Agents that found nothing here are told, once. */
static void
wake_if_hungry(Database *database, Key *key)
{
	if (key->hungry || database->always_wake || !database->warm)
	{
		key->hungry = false;
		millrace_database_flag_wake(database, key->queue_id);
	}
}

static uint32
entry_hash(Oid database, int64 run_id, int32 step_no)
{
	return dispatcher_hash(database, (uint32) run_id, (uint32) (run_id >> 32), step_no);
}

Entry *
millrace_index_find(Oid database, int64 run_id, int32 step_no)
{
	pool_foreach(ENTRIES, entry_hash(database, run_id, step_no), index)
	{
		Entry	   *entry = entry_at(index);

		if (entry->step.run_id == run_id && entry->step.step_no == step_no && entry->database == database)
			return entry;
	}
	return NULL;
}

/* There is no place even for a watermark. */
static void
leave_unmarked(Database *database)
{
	database->overflowed = true;
	database->dropped++;
}

/* An entry that has no part in any heap goes. */
static void
discard(Entry *entry)
{
	delist(key_at(entry->key), entry);
	millrace_pool_free(ENTRIES, pool_index(ENTRIES, entry));
}

/* Lets an entry wait that is here already. */
static void
queue(Database *database, Key *key, Entry *entry)
{
	uint32		place = millrace_order_obtain_tenant(key, &entry->step);

	if (place != POOL_NONE)
		millrace_order_queue(key, place, entry);
	else
	{
		discard(entry);
		leave_unmarked(database);
	}
}

static bool
same_place(const ReadyStep *a, const ReadyStep *b)
{
	return a->queue_id == b->queue_id && a->handler_id == b->handler_id &&
		a->tenant_id == b->tenant_id && a->weight == b->weight &&
		a->priority == b->priority && a->rank == b->rank;
}

/* A step that is known moves to its new place; in somebody's hands, it waits anew when they have committed. */
static void
push_known(Database *database, Key *key, Entry *entry, const ReadyStep *step, TimestampTz now)
{
	Key		   *old_key = key_at(entry->key);
	bool		waits = entry->owner == NO_OWNER;

	if (waits && same_place(&entry->step, step))
		return;

	if (waits)
		millrace_order_unqueue(old_key, entry);
	else
	{
		entry->pushed_again = true;
		old_key->popped--;
		key->popped++;
	}
	delist(old_key, entry);
	entry->step = *step;
	entry->pushed_at = now;
	enlist(key, pool_index(ENTRIES, entry));
	if (waits)
		queue(database, key, entry);
}

/* A step that is not here yet, for which there is room, waits in its tenant's line. */
static void
add(Database *database, Key *key, uint32 place, const ReadyStep *step, TimestampTz now)
{
	uint32		index = millrace_pool_allocate(ENTRIES, entry_hash(database->oid, step->run_id, step->step_no));
	Entry	   *entry = entry_at(index);

	entry->database = database->oid;
	entry->step = *step;
	entry->pushed_at = now;
	entry->owner = NO_OWNER;
	enlist(key, index);
	millrace_order_queue(key, place, entry);
	key->pushes++;
}

/* A waiting entry makes room for others; its step is in the tables. */
void
millrace_index_evict(Entry *entry)
{
	millrace_order_unqueue(key_at(entry->key), entry);
	discard(entry);
}

/* A push of a refill leaves a part of the room in reserve. */
static void
push_new(Database *database, Key *key, const ReadyStep *step, TimestampTz now, uint32 reserve)
{
	uint32		place = millrace_order_obtain_tenant(key, step);
	Tenant	   *tenant;

	if (place == POOL_NONE)
	{
		leave_unmarked(database);
		return;
	}
	tenant = tenant_at(place);
	if (millrace_watermark_is_past(tenant, step) ||
		(ENTRIES->capacity - ENTRIES->used <= reserve && !millrace_watermark_make_room(tenant, step)))
	{
		millrace_watermark_cut(key, tenant, step);
		key->dropped++;
	}
	else
		add(database, key, place, step, now);
}

void
millrace_index_push(Database *database, const ReadyStep *step, TimestampTz now, uint32 reserve)
{
	Key		   *key = millrace_index_obtain_key(database->oid, step->queue_id, step->handler_id);
	Entry	   *entry = key ? millrace_index_find(database->oid, step->run_id, step->step_no) : NULL;

	if (key == NULL)
	{
		leave_unmarked(database);
		millrace_database_flag_wake(database, step->queue_id);
		return;
	}
	if (entry)
		push_known(database, key, entry, step, now);
	else
	{
		push_new(database, key, step, now, reserve);
		wake_if_hungry(database, key);
	}
}

/* Popped entries */

/* Takes a waiting entry out of the heaps, into somebody's hands. */
void
millrace_index_take(Entry *entry, int owner)
{
	Key		   *key = key_at(entry->key);

	millrace_order_unqueue(key, entry);
	entry->owner = owner;
	key->popped++;
}

Entry *
millrace_index_pop(Key *key, int owner)
{
	Entry	   *entry = millrace_order_serve(key);

	entry->owner = owner;
	key->popped++;
	key->pops++;
	return entry;
}

static void
requeue(Database *database, Key *key, Entry *entry)
{
	entry->owner = NO_OWNER;
	entry->pushed_again = false;
	key->popped--;
	queue(database, key, entry);
}

/*
 * The owner lets go of an entry that is still ready. After a rollback agents
 * are woken for it; while another call has its row locked, they would only
 * find it locked again.
 */
void
millrace_index_give_back(Database *database, Entry *entry, bool wake)
{
	Key		   *key = key_at(entry->key);

	key->put_backs++;
	requeue(database, key, entry);
	if (wake)
		wake_if_hungry(database, key);
}

/* The owner has committed. */
void
millrace_index_forget(Database *database, Entry *entry)
{
	Key		   *key = key_at(entry->key);

	if (entry->pushed_again)
	{
		key->pushes++;
		requeue(database, key, entry);
		wake_if_hungry(database, key);
	}
	else
	{
		key->popped--;
		discard(entry);
	}
}

/* Filled from the tables: from here on claims look here, and not there. */
void
millrace_index_warm_up(Database *database)
{
	for (uint32 i = 0; i < KEYS->fresh; i++)
		if (key_at(i)->database == database->oid)
			millrace_index_note_hunger(key_at(i), false);
	database->warm = true;
}

static void
forget_cuts(Oid database)
{
	for (uint32 i = 0; i < TENANTS->fresh; i++)
	{
		Tenant	   *tenant = tenant_at(i);

		if ((tenant->cut.is || tenant->refill.is) && key_at(tenant->key)->database == database)
		{
			tenant->cut.is = false;
			millrace_watermark_end_refill(key_at(tenant->key), i);
		}
	}
}

/* The extension, or the whole database, is gone. What is in somebody's hands ends with their transaction. */
void
millrace_index_clear(Database *database)
{
	forget_cuts(database->oid);
	for (uint32 i = 0; i < KEYS->fresh; i++)
	{
		Key		   *key = key_at(i);
		uint32		index;

		if (key->database != database->oid)
			continue;
		index = key->oldest;
		while (index != POOL_NONE)
		{
			Entry	   *entry = entry_at(index);
			uint32		newer = entry->newer;

			if (entry->owner == NO_OWNER)
				millrace_index_evict(entry);
			index = newer;
		}
		if (key->popped == 0)
			millrace_pool_free(KEYS, i);
	}
	database->warm = false;
	database->overflowed = false;
	database->sweeping = false;
}
