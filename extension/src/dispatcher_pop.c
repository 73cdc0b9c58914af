/*
 * dispatcher_pop.c
 *		A claim's part of the dispatcher: the best steps of many keys.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "arguments.h"
#include "dispatcher.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/binaryheap.h"
#include "millrace.h"
#include "miscadmin.h"
#include "pending.h"
#include "storage/proc.h"

PG_FUNCTION_INFO_V1(millrace_dispatcher_pop);

/* Queues, and handlers, that one call may name. */
#define MAX_NAMED 1000

typedef struct Candidate
{
	Key		   *key;
	int			handler;
} Candidate;

typedef struct PopRequest
{
	int			queue_count;
	int			handler_count;
	int32	   *queue_ids;
	int32	   *handler_ids;
	int32	   *room;			/* by handler */
	int			max_steps;
} PopRequest;

typedef struct PoppedStep
{
	int64		run_id;
	int32		step_no;
} PoppedStep;

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
static PopRequest
read_request(FunctionCallInfo fcinfo)
{
	PopRequest	request = {0};
	int			queue_count;
	int			handler_count;
	int			capacity_count;
	const int32 *queue_ids = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(0), "queue_ids", &queue_count);
	const int32 *handler_ids = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(1), "handler_ids", &handler_count);
	const int32 *capacities = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(2), "capacities", &capacity_count);
	int64		room = 0;

	millrace_arguments_require_same_length("handler_ids", handler_count, "capacities", capacity_count);
	if (queue_count > MAX_NAMED || handler_count > MAX_NAMED)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_TOO_LARGE),
				 errmsg("a claim may name at most %d queues and %d handlers", MAX_NAMED, MAX_NAMED),
				 errdetail("It names %d and %d.", queue_count, handler_count)));

	request.queue_ids = palloc(sizeof(int32) * Max(queue_count, 1));
	for (int i = 0; i < queue_count; i++)
		if (!is_repeated(request.queue_ids, request.queue_count, queue_ids[i]))
			request.queue_ids[request.queue_count++] = queue_ids[i];

	request.handler_ids = palloc(sizeof(int32) * Max(handler_count, 1));
	request.room = palloc(sizeof(int32) * Max(handler_count, 1));
	for (int i = 0; i < handler_count; i++)
	{
		if (capacities[i] <= 0 || is_repeated(request.handler_ids, request.handler_count, handler_ids[i]))
			continue;
		request.handler_ids[request.handler_count] = handler_ids[i];
		request.room[request.handler_count++] = capacities[i];
		room += capacities[i];
	}

	/* more than that cannot be there; it is also what memory is reserved for */
	request.max_steps = Min(Min(room, Max(PG_GETARG_INT32(3), 0)), ENTRIES->capacity);
	return request;
}

/* All keys of the request; those with waiting steps in the heap. */
static int
gather(Database *database, const PopRequest *request, Candidate *candidates, binaryheap *heads)
{
	int			count = 0;

	for (int q = 0; q < request->queue_count; q++)
		for (int h = 0; h < request->handler_count; h++)
		{
			Key		   *key = millrace_index_obtain_key(database->oid, request->queue_ids[q], request->handler_ids[h]);

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
pop_best(PopRequest *request, binaryheap *heads, PoppedStep *popped)
{
	int			count = 0;

	while (count < request->max_steps && !binaryheap_empty(heads))
	{
		Candidate  *best = (Candidate *) DatumGetPointer(binaryheap_first(heads));
		Entry	   *entry;

		if (request->room[best->handler] == 0)
		{
			(void) binaryheap_remove_first(heads);
			continue;
		}
		request->room[best->handler]--;
		entry = millrace_index_pop(best->key, MyProc->pgprocno);
		millrace_pending_note_pop(entry);
		popped[count++] = (PoppedStep) {.run_id = entry->step.run_id, .step_no = entry->step.step_no};

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
static Latch *
note_hunger(Database *database, const PopRequest *request, const Candidate *candidates, int count)
{
	for (int i = 0; i < count; i++)
		if (request->room[candidates[i].handler] > 0)
			candidates[i].key->hungry = true;

	if (!database->overflowed || database->starving)
		return NULL;
	database->starving = true;
	return database->keeper.latch;
}

static void
return_rows(ReturnSetInfo *result, const PoppedStep *popped, int count)
{
	bool		nulls[2] = {false, false};

	for (int i = 0; i < count; i++)
	{
		Datum		values[2] = {Int64GetDatum(popped[i].run_id), Int32GetDatum(popped[i].step_no)};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

Datum
millrace_dispatcher_pop(PG_FUNCTION_ARGS)
{
	PopRequest	request;
	Database   *database;
	Candidate  *candidates;
	PoppedStep *popped;
	binaryheap *heads;
	Latch	   *keeper = NULL;
	int			count = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (!millrace_dispatcher_usable())
		return (Datum) 0;
	PreventCommandIfParallelMode("a change of the dispatcher");

	request = read_request(fcinfo);
	if (request.max_steps == 0)
		return (Datum) 0;
	candidates = palloc(sizeof(Candidate) * request.queue_count * request.handler_count);
	heads = binaryheap_allocate(request.queue_count * request.handler_count, compare_heads, NULL);
	popped = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(PoppedStep) * request.max_steps);
	millrace_pending_reserve_pops(request.max_steps);

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	database = millrace_database_mine();
	if (database)
	{
		int			keys = gather(database, &request, candidates, heads);

		count = pop_best(&request, heads, popped);
		if (count < request.max_steps)
			keeper = note_hunger(database, &request, candidates, keys);
	}
	LWLockRelease(Dispatcher->lock);

	if (keeper)
		SetLatch(keeper);
	return_rows((ReturnSetInfo *) fcinfo->resultinfo, popped, count);
	return (Datum) 0;
}
