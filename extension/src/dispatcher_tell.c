/*
 * dispatcher_tell.c
 *		Steps that a transaction makes ready while an agent waits for some: it
 *		tells by itself, in its own commit, and the waker's turn is saved.
 *
 * A NOTIFY holds a lock of the whole server until its transaction is on disk,
 * so a database has one transaction at a time do this, and that not often, and
 * none that waits for standbys; the waker tells of all else.
 *
 * Agents stay hungry until the commit: when the transaction fails, nothing has
 * happened. Hunger that has been noted since it was looked at is not stilled
 * either, for that agent may have read the notification before the steps were
 * published, and found nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "dispatcher.h"
#include "fault.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "utils/builtins.h"

#define TELL_INTERVAL_MS 5

/* Where nobody reads them, notifications come to fill their queue, and then fail; none of ours is worth that. */
#define LARGEST_BACKLOG 0.5

/* Keys that one transaction tells of. */
#define MAX_TOLD 16

typedef struct Told
{
	uint32		key;
	int32		queue_id;
	uint64		hunger;
} Told;

static Told told[MAX_TOLD];
static int	told_count = 0;
static bool begun = false;

void
millrace_notify_queue(int32 queue_id)
{
	char		channel[NAMEDATALEN];

	/* as queue_channel() has it */
	snprintf(channel, sizeof(channel), "millrace_queue_%d", queue_id);
	Async_Notify(channel, "");
}

/* A commit that waits for other servers, and the lock with it, is not the one to do it. */
static bool
waits_for_standbys(void)
{
	return SyncRepRequested() && SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0';
}

/* Whether this transaction may do it: one at a time. */
bool
millrace_tell_may(const Database *database, TimestampTz now)
{
	if (!database->warm || database->telling || waits_for_standbys())
		return false;
	return now < database->told_at || now - database->told_at >= TELL_INTERVAL_MS * INT64CONST(1000);
}

/* The step's agents are to be told where they wait and listen. */
void
millrace_tell_note(const ReadyStep *step)
{
	Key		   *key = millrace_index_find_key(MyDatabaseId, step->queue_id, step->handler_id);

	if (key == NULL || !key->hungry || !key->hears || told_count == MAX_TOLD)
		return;
	for (int i = 0; i < told_count; i++)
		if (told[i].hunger == key->hunger)
			return;
	told[told_count++] = (Told) {.key = pool_index(KEYS, key), .queue_id = step->queue_id, .hunger = key->hunger};
}

/* Where there is somebody to be told, no other transaction tells until this one has ended. */
void
millrace_tell_begin(Database *database, TimestampTz now)
{
	if (told_count == 0)
		return;
	begun = true;
	database->telling = true;
	database->told_at = now;
	database->wakes++;
}

bool
millrace_tell_is_begun(void)
{
	return begun;
}

/* Before the commit. An error rolls the transaction back. */
void
millrace_tell_send(void)
{
	if (told_count == 0)
		return;
	if (DatumGetFloat8(DirectFunctionCall1(pg_notification_queue_usage, (Datum) 0)) > LARGEST_BACKLOG)
		told_count = 0;
	/* of one queue once: equal ones of a transaction are one */
	for (int i = 0; i < told_count; i++)
		millrace_notify_queue(told[i].queue_id);
	MILLRACE_FAULT("told");
}

/* Nobody else need tell those who have been told by a commit. */
void
millrace_tell_end(Database *database, bool committed)
{
	for (int i = 0; committed && i < told_count; i++)
	{
		Key		   *key = key_at(told[i].key);

		if (key->hunger == told[i].hunger)
			key->hungry = false;
	}
	if (begun)
		database->telling = false;
	begun = false;
	told_count = 0;
}
