/*
 * dispatcher_pop.c
 *		A claim's part of the dispatcher: the best steps of many keys.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "dispatcher.h"
#include "fault.h"
#include "lib/binaryheap.h"
#include "millrace.h"
#include "miscadmin.h"
#include "pending.h"
#include "storage/proc.h"

/* Queues, and handlers, that one call may name. */
#define MAX_NAMED 1000

typedef struct Candidate
{
	Key		   *key;
	int			handler;
} Candidate;

/* A request without what is named twice, or has no room. */
typedef struct Wish
{
	int			queue_count;
	int			handler_count;
	int32	   *queue_ids;
	int32	   *handler_ids;
	int32	   *room;			/* by handler */
	int			max_steps;
} Wish;

/* The later of two heads compares as less, for the heap has the greatest on top. */
static int
compare_heads(Datum left, Datum right, void *arg)
{
	const ReadyStep *a = &millrace_order_head(((Candidate *) DatumGetPointer(left))->key)->step;
	const ReadyStep *b = &millrace_order_head(((Candidate *) DatumGetPointer(right))->key)->step;

	return millrace_order_step_before(a, b) ? 1 : -1;
}

static bool
is_repeated(const int32 *ids, int count, int32 id)
{
	for (int i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* A key that stood among the candidates twice would be popped dry and be asked for its head again. */
static Wish
read_request(const PopRequest *request)
{
	Wish		wish = {0};
	int64		room = 0;

	if (request->queue_count > MAX_NAMED || request->handler_count > MAX_NAMED)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_TOO_LARGE),
				 errmsg("a claim may name at most %d queues and %d handlers", MAX_NAMED, MAX_NAMED),
				 errdetail("It names %d and %d.", request->queue_count, request->handler_count)));

	wish.queue_ids = palloc(sizeof(int32) * Max(request->queue_count, 1));
	for (int i = 0; i < request->queue_count; i++)
		if (!is_repeated(wish.queue_ids, wish.queue_count, request->queue_ids[i]))
			wish.queue_ids[wish.queue_count++] = request->queue_ids[i];

	wish.handler_ids = palloc(sizeof(int32) * Max(request->handler_count, 1));
	wish.room = palloc(sizeof(int32) * Max(request->handler_count, 1));
	for (int i = 0; i < request->handler_count; i++)
	{
		if (request->capacities[i] <= 0 || is_repeated(wish.handler_ids, wish.handler_count, request->handler_ids[i]))
			continue;
		wish.handler_ids[wish.handler_count] = request->handler_ids[i];
		wish.room[wish.handler_count++] = request->capacities[i];
		room += request->capacities[i];
	}

	/* more than that cannot be there; it is also what memory is reserved for */
	wish.max_steps = Min(Min(room, Max(request->max_steps, 0)), ENTRIES->capacity);
	return wish;
}

/* All keys of the request; those with waiting steps in the heap. */
static int
gather(Database *database, const Wish *wish, Candidate *candidates, binaryheap *heads)
{
	int			count = 0;

	for (int q = 0; q < wish->queue_count; q++)
		for (int h = 0; h < wish->handler_count; h++)
		{
			Key		   *key = millrace_index_obtain_key(database->oid, wish->queue_ids[q], wish->handler_ids[h]);

			if (key == NULL)
			{
				/* there is no place to note that the agent found nothing */
				database->always_wake = true;
				continue;
			}
			candidates[count] = (Candidate) {.key = key, .handler = h};
			if (millrace_order_head(key))
				binaryheap_add_unordered(heads, PointerGetDatum(&candidates[count]));
			count++;
		}
	binaryheap_build(heads);
	return count;
}

/* The best head, again and again. */
static int
pop_best(Wish *wish, binaryheap *heads, ReadyStep *popped)
{
	int			count = 0;

	while (count < wish->max_steps && !binaryheap_empty(heads))
	{
		Candidate  *best = (Candidate *) DatumGetPointer(binaryheap_first(heads));
		Entry	   *entry;

		if (wish->room[best->handler] == 0)
		{
			(void) binaryheap_remove_first(heads);
			continue;
		}
		wish->room[best->handler]--;
		entry = millrace_index_pop(best->key, MyProc->pgprocno);
		millrace_pending_note_pop(entry);
		popped[count++] = entry->step;

		if (millrace_order_head(best->key))
			binaryheap_replace_first(heads, PointerGetDatum(best));
		else
			(void) binaryheap_remove_first(heads);
	}
	return count;
}

/*
 * The agent has room for more: the next push of a key that it serves wakes it,
 * and all others that serve the queue. An agent that got all it asked for comes
 * back by itself: while all are busy, a push costs no notification.
 */
static void
note_hunger(const Wish *wish, const Candidate *candidates, int count, bool hears)
{
	for (int i = 0; i < count; i++)
		if (wish->room[candidates[i].handler] > 0)
			millrace_index_note_hunger(candidates[i].key, hears);
}

/* Whether the keeper is to refill one of the keys, and does not know it yet. */
static bool
is_low(const Candidate *candidates, int count)
{
	bool		low = false;

	for (int i = 0; i < count; i++)
		if (candidates[i].key->low && !candidates[i].key->low_told)
			low = candidates[i].key->low_told = true;
	return low;
}

/* Whether the tables may hold steps of these keys that are not here. */
static bool
is_incomplete(const Database *database, const Candidate *candidates, int count, int wanted)
{
	bool		cut = false;

	for (int i = 0; i < count && !cut; i++)
		cut = candidates[i].key->cuts > 0;
	return cut || !database->warm || database->overflowed || count < wanted;
}

int
millrace_dispatcher_pop_steps(const PopRequest *request, ReadyStep *popped, bool *incomplete)
{
	Wish		wish;
	Database   *database;
	Candidate  *candidates;
	binaryheap *heads;
	Latch	   *keeper = NULL;
	int			count = 0;

	*incomplete = false;
	if (!millrace_dispatcher_usable())
		return 0;
	PreventCommandIfParallelMode("a change of the dispatcher");

	wish = read_request(request);
	if (wish.max_steps == 0)
		return 0;
	candidates = palloc(sizeof(Candidate) * wish.queue_count * wish.handler_count);
	heads = binaryheap_allocate(wish.queue_count * wish.handler_count, compare_heads, NULL);
	millrace_pending_reserve_pops(wish.max_steps);

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	*incomplete = database == NULL || !database->warm;
	if (database)
	{
		int			keys = gather(database, &wish, candidates, heads);

		/* until it is warm, claims are served in the order that the tables have */
		if (database->warm)
			count = pop_best(&wish, heads, popped);
		if (count < wish.max_steps)
		{
			note_hunger(&wish, candidates, keys, request->hears);
			*incomplete = is_incomplete(database, candidates, keys, wish.queue_count * wish.handler_count);
			database->misses += *incomplete && count == 0;
		}
		if (is_low(candidates, keys))
			keeper = database->keeper.latch;
	}
	LWLockRelease(Dispatcher->lock);

	MILLRACE_FAULT("popped");
	if (keeper)
		SetLatch(keeper);
	binaryheap_free(heads);
	pfree(candidates);
	pfree(wish.queue_ids);
	pfree(wish.handler_ids);
	pfree(wish.room);
	return count;
}
