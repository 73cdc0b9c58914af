/*
 * work_handover.c
 *		Which of the steps that become ready the agent that reports gets at once.
 *
 * Those that it serves and has room for, best first, and only where nothing
 * that waits for the same queue and handler goes before.
 */
#include "postgres.h"

#include "work.h"

#include "arguments.h"
#include "catalog/pg_type.h"
#include "dispatcher.h"
#include "executor/spi.h"
#include "utils/array.h"

static int
compare_claim_order(const void *left, const void *right)
{
	const Hit  *a = *(Hit *const *) left;
	const Hit  *b = *(Hit *const *) right;

	if (a->priority != b->priority)
		return a->priority - b->priority;
	if (a->run_id != b->run_id)
		return a->run_id < b->run_id ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank > b->rank ? -1 : 1;
	return a->def_no - b->def_no;
}

static int
place_of(const int32 *ids, int count, int32 id)
{
	for (int i = 0; i < count; i++)
		if (ids[i] == id)
			return i;
	return -1;
}

/* Does each go before all that waits for its queue and handler? */
static void
ask_dispatcher(Hit **hits, int count, bool *first)
{
	ReadyStep  *steps = palloc0(sizeof(ReadyStep) * count);

	for (int i = 0; i < count; i++)
	{
		steps[i].run_id = hits[i]->run_id;
		steps[i].step_no = hits[i]->def_no;
		steps[i].queue_id = hits[i]->definition->queue_id;
		steps[i].handler_id = hits[i]->definition->handler_id;
		steps[i].tenant_id = hits[i]->tenant_id;
		steps[i].rank = hits[i]->rank;
		steps[i].priority = hits[i]->priority;
	}
	millrace_dispatcher_sorts_first_steps(steps, count, first);
}

/* The same from the table of the plain tier. */
static void
ask_table(const Call *call, Hit **hits, int count, bool *first)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {
		INT2OID, INT4ARRAYOID, INT4ARRAYOID, INT2ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, FLOAT4ARRAYOID, INT4ARRAYOID
	};
	int32	   *queues = palloc(sizeof(int32) * count);
	int32	   *handlers = palloc(sizeof(int32) * count);
	int16	   *priorities = palloc(sizeof(int16) * count);
	int32	   *tenants = palloc(sizeof(int32) * count);
	int64	   *runs = palloc(sizeof(int64) * count);
	float4	   *ranks = palloc(sizeof(float4) * count);
	int32	   *steps = palloc(sizeof(int32) * count);
	Datum		values[8];
	bool		is_null;
	int			answers;

	for (int i = 0; i < count; i++)
	{
		queues[i] = hits[i]->definition->queue_id;
		handlers[i] = hits[i]->definition->handler_id;
		priorities[i] = hits[i]->priority;
		tenants[i] = hits[i]->tenant_id;
		runs[i] = hits[i]->run_id;
		ranks[i] = hits[i]->rank;
		steps[i] = hits[i]->def_no;
	}
	values[0] = Int16GetDatum(call->shard);
	values[1] = millrace_arguments_int_array(queues, count);
	values[2] = millrace_arguments_int_array(handlers, count);
	values[3] = millrace_arguments_smallint_array(priorities, count);
	values[4] = millrace_arguments_int_array(tenants, count);
	values[5] = millrace_arguments_bigint_array(runs, count);
	values[6] = millrace_arguments_real_array(ranks, count);
	values[7] = millrace_arguments_int_array(steps, count);

	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare("SELECT millrace_internal.sink_sort_first($1, $2, $3, $4, $5, $6, $7, $8)",
						   lengthof(types), types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "sink_sort_first cannot be called: %s", SPI_result_code_string(SPI_result));
	}
	if (SPI_execute_plan(plan, values, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "sink_sort_first gave no answer");
	memcpy(first, millrace_arguments_bools(
			   DatumGetArrayTypeP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null)),
			   "first", &answers), sizeof(bool) * count);
	Assert(answers == count);
	SPI_finish();
}

void
millrace_choose_handover(const Call *call, HitList *list, Receiver *receiver)
{
	Hit		  **hits;
	bool	   *first;
	int			count = 0;

	if (!receiver->accepts || receiver->max_steps <= 0)
		return;
	hits = palloc(sizeof(Hit *) * list->count);
	for (int i = 0; i < list->count; i++)
	{
		Hit		   *hit = &list->hits[i];

		if (hit->needs_left == hit->n
			&& place_of(receiver->queues, receiver->queue_count, hit->definition->queue_id) >= 0
			&& place_of(receiver->handlers, receiver->handler_count, hit->definition->handler_id) >= 0)
			hits[count++] = hit;
	}
	if (count == 0)
		return;
	qsort(hits, count, sizeof(Hit *), compare_claim_order);
	first = palloc(sizeof(bool) * count);
	if (millrace_dispatcher_usable())
		ask_dispatcher(hits, count, first);
	else
		ask_table(call, hits, count, first);

	for (int i = 0; i < count && receiver->max_steps > 0; i++)
	{
		int32	   *room = &receiver->rooms[place_of(receiver->handlers, receiver->handler_count,
													 hits[i]->definition->handler_id)];

		if (!first[i] || *room <= 0)
			continue;
		hits[i]->handed_over = true;
		(*room)--;
		receiver->max_steps--;
	}
}
