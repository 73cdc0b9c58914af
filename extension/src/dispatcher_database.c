/*
 * dispatcher_database.c
 *		What the dispatcher knows of each database: its state, and whom to wake.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "dispatcher.h"
#include "miscadmin.h"

Database *
millrace_database_find(Oid oid)
{
	for (int i = 0; i < MAX_DATABASES; i++)
		if (Dispatcher->databases[i].oid == oid)
			return &Dispatcher->databases[i];
	return NULL;
}

/* The database's slot, a new one if it has none yet; null when there are too many databases. */
Database *
millrace_database_obtain(Oid oid)
{
	Database   *database = millrace_database_find(oid);

	if (database)
		return database;
	database = millrace_database_find(InvalidOid);
	if (database == NULL)
		return NULL;

	memset(database, 0, sizeof(Database));
	database->oid = oid;
	/* transactions that were prepared before the server started may hold pushes */
	database->prepared = max_prepared_xacts > 0;
	ConditionVariableInit(&database->worker_gone);
	return database;
}

/* This session's database. A slot lives as long as its database, and so longer than any session in it. */
static Database *mine = NULL;

Database *
millrace_database_mine(void)
{
	if (mine == NULL)
		mine = millrace_database_obtain(MyDatabaseId);
	return mine;
}

/* The same, null while nothing has been noted of it. */
const Database *
millrace_database_known(void)
{
	if (mine == NULL)
		mine = millrace_database_find(MyDatabaseId);
	return mine;
}

/* The database has been dropped. */
void
millrace_database_forget(Database *database)
{
	millrace_index_clear(database);
	memset(database, 0, sizeof(Database));
}

/*
 * Whether it is worth taking the lock to wake readers. Asked after a commit: a
 * reader that has not said yet that it waits will see what was committed.
 */
bool
millrace_database_may_want_events(void)
{
	return mine == NULL || mine->events_wanted;
}

/* There are events; true when somebody waits for them. */
bool
millrace_database_flag_readers(Database *database)
{
	if (!database->events_wanted)
		return false;
	database->events_wanted = false;
	database->wake_readers = true;
	return true;
}

void
millrace_database_flag_wake(Database *database, int32 queue_id)
{
	for (int i = 0; i < database->wake_count; i++)
		if (database->wake_queues[i] == queue_id)
			return;
	if (database->wake_count < MAX_WAKE_QUEUES)
		database->wake_queues[database->wake_count++] = queue_id;
	else
		database->wake_all = true;
}

static int
append_distinct(int32 *queue_ids, int count, int32 queue_id)
{
	for (int i = 0; i < count; i++)
		if (queue_ids[i] == queue_id)
			return count;
	queue_ids[count] = queue_id;
	return count + 1;
}

/* The queues to wake now, no longer flagged. There is room for one a key, and MAX_WAKE_QUEUES. */
int
millrace_database_take_wakes(Database *database, int32 *queue_ids)
{
	int			count = 0;

	for (int i = 0; i < database->wake_count; i++)
		queue_ids[count++] = database->wake_queues[i];
	if (database->wake_all)
		for (uint32 i = 0; i < KEYS->fresh; i++)
		{
			Key		   *key = key_at(i);

			if (key->database == database->oid)
				count = append_distinct(queue_ids, count, key->queue_id);
		}
	database->wake_count = 0;
	database->wake_all = false;
	database->wake_signalled = false;
	return count;
}

/* The waker's latch where there is something to wake and it has not been told: to be set when the lock is released. */
Latch *
millrace_database_collect_waker(Database *database)
{
	if (database->wake_signalled || !(database->wake_count > 0 || database->wake_all || database->wake_readers))
		return NULL;
	database->wake_signalled = true;
	return database->waker.latch;
}
