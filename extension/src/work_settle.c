/*
 * work_settle.c
 *		The second pass of a report: dependents are counted down, and those
 *		without a need left become ready or are handed over.
 *
 * Only what nearly always happens is decided here: completed needs, in a run
 * that is neither paused nor was retried, of steps that do not wait. Anything
 * else is left, untouched, to logic/settle.sql.
 */
#include "postgres.h"

#include "work.h"

#include "arguments.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "rank_cache.h"

/* Rules that hold when all needs have completed. */
#define RULE_ALL_DONE 1

static int
compare_hits(const void *left, const void *right)
{
	const Hit  *a = left;
	const Hit  *b = right;

	if (a->run_id != b->run_id)
		return a->run_id < b->run_id ? -1 : 1;
	if (a->def_no != b->def_no)
		return a->def_no < b->def_no ? -1 : 1;
	return (int) a->kind - (int) b->kind;
}

/* Into lock order, each dependent once. */
static void
fold(HitList *list)
{
	int			kept = 0;

	qsort(list->hits, list->count, sizeof(Hit), compare_hits);
	for (int i = 1; i < list->count; i++)
	{
		if (compare_hits(&list->hits[kept], &list->hits[i]) == 0)
			list->hits[kept].n += list->hits[i].n;
		else
			list->hits[++kept] = list->hits[i];
	}
	list->count = kept + 1;
}

/* What the run says of its dependents; false if SQL must decide. */
static bool
read_run(Call *call, Hit *hit)
{
	Leaf	   *leaf = millrace_table_leaf_for(&call->run, hit->run_id);

	if (!millrace_leaf_find_run(leaf, hit->run_id, call->shard) || found_int16(leaf, RUN_STATE) != RUN_RUNNING)
		return false;
	hit->tenant_id = found_int32(leaf, RUN_TENANT_ID);
	hit->run_priority = found_int16(leaf, RUN_PRIORITY);
	hit->trace = found_is_null(leaf, RUN_TRACE) ? NULL : DatumGetTextPCopy(found_datum(leaf, RUN_TRACE));
	return true;
}

static bool
read_step(Call *call, Hit *hit)
{
	Leaf	   *leaf = millrace_table_leaf_for(&call->step, hit->run_id);

	if (hit->kind != HIT_DEPENDENT)
		return false;
	hit->definition = millrace_definition(hit->version_id, hit->def_no);
	hit->priority = effective_priority(hit->run_priority, hit->definition->priority);
	hit->rank = millrace_rank(hit->version_id, hit->def_no, hit->definition->rank);
	hit->needs_left = hit->definition->needs_count;
	hit->handed_over = false;
	if (hit->definition->rule > RULE_ALL_DONE || hit->definition->has_delay || hit->definition->looked_at)
		return false;

	hit->exists = millrace_leaf_find_step(leaf, hit->run_id, hit->def_no, call->shard);
	if (!hit->exists)
		return true;
	hit->place = leaf->found->tts_tid;
	hit->needs_left = found_int32(leaf, STEP_NEEDS_LEFT);
	return found_int16(leaf, STEP_STATE) == STEP_PENDING
		&& (hit->definition->rule == RULE_ALL_DONE || found_int32(leaf, STEP_NEEDS_BAD) == 0);
}

/* Reads what decides about all hits; false if one of them is for SQL. */
static bool
read_all(Call *call, HitList *list)
{
	for (int i = 0; i < list->count; i++)
	{
		Hit		   *hit = &list->hits[i];

		if (i > 0 && hit->run_id == hit[-1].run_id)
		{
			/* one look at the run serves all its dependents */
			hit->tenant_id = hit[-1].tenant_id;
			hit->run_priority = hit[-1].run_priority;
			hit->trace = hit[-1].trace;
		}
		else if (!read_run(call, hit))
			return false;
		if (!read_step(call, hit))
			return false;
	}
	return true;
}

/*
 * Steps whose needs end in several calls get their row first, so that all
 * count down the same one. True if there were any.
 */
static bool
materialise_partial(Call *call, const HitList *list)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {INT2OID, INT8ARRAYOID, INT4ARRAYOID};
	int64	   *run_ids = palloc(sizeof(int64) * list->count);
	int32	   *def_nos = palloc(sizeof(int32) * list->count);
	int			count = 0;
	Datum		values[3];

	for (int i = 0; i < list->count; i++)
	{
		const Hit  *hit = &list->hits[i];

		if (hit->exists || hit->needs_left <= hit->n)
			continue;
		run_ids[count] = hit->run_id;
		def_nos[count++] = hit->def_no;
	}
	if (count == 0)
		return false;

	values[0] = Int16GetDatum(call->shard);
	values[1] = millrace_arguments_bigint_array(run_ids, count);
	values[2] = millrace_arguments_int_array(def_nos, count);
	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare("SELECT millrace_internal.materialise($1, $2, $3)", lengthof(types), types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "materialise cannot be called: %s", SPI_result_code_string(SPI_result));
	}
	SPI_execute_plan(plan, values, NULL, false, 0);
	SPI_finish();
	return true;
}

static void
set_started(Leaf *leaf, const Hit *hit, const Receiver *receiver, int32 attempt, int32 token, TimestampTz at)
{
	row_set(leaf, STEP_STATE, Int16GetDatum(STEP_RUNNING));
	row_set(leaf, STEP_ATTEMPTS, Int32GetDatum(attempt));
	row_set(leaf, STEP_TOKEN, Int32GetDatum(token));
	row_set(leaf, STEP_AGENT_ID, Int32GetDatum(receiver->agent_id));
	row_set(leaf, STEP_RECEIPT_NO, Int64GetDatum(receiver->receipt_no));
	row_set(leaf, STEP_READY_AT, TimestampTzGetDatum(at));
	row_set(leaf, STEP_STARTED_AT, TimestampTzGetDatum(at));
}

/* The first row of a step that nothing has touched, decided already. */
static void
insert_step(Call *call, const Hit *hit, const Receiver *receiver)
{
	Leaf	   *leaf = millrace_table_leaf_for(&call->step, hit->run_id);
	TimestampTz at = millrace_call_now(call);

	millrace_leaf_blank(leaf);
	row_set(leaf, STEP_RUN_ID, Int64GetDatum(hit->run_id));
	row_set(leaf, STEP_STEP_NO, Int32GetDatum(hit->def_no));
	row_set(leaf, STEP_VERSION_ID, Int32GetDatum(hit->version_id));
	row_set(leaf, STEP_DEF_NO, Int32GetDatum(hit->def_no));
	row_set(leaf, STEP_SHARD, Int16GetDatum(call->shard));
	row_set(leaf, STEP_STATE, Int16GetDatum(STEP_READY));
	row_set(leaf, STEP_ATTEMPTS, Int32GetDatum(0));
	row_set(leaf, STEP_TOKEN, Int32GetDatum(0));
	row_set(leaf, STEP_NEEDS_LEFT, Int32GetDatum(0));
	row_set(leaf, STEP_NEEDS_BAD, Int32GetDatum(0));
	row_set(leaf, STEP_READY_AT, TimestampTzGetDatum(at));
	if (hit->handed_over)
	{
		set_started(leaf, hit, receiver, 1, 1, at);
		millrace_call_tell(call, EVENT_STEP_STARTED, hit->run_id, hit->def_no, receiver->agent_id, 1, at);
	}
	millrace_leaf_insert(leaf);
}

typedef enum Decision
{
	STILL_PENDING,
	BECAME_READY,
	WAS_STARTED,
	NOT_PENDING,				/* it was decided without this need */
	FOR_SQL
} Decision;

/* Counts an existing row down. What another call has changed meanwhile is seen under the lock. */
static Decision
count_down(Call *call, const Hit *hit, const Receiver *receiver, Started *started)
{
	Leaf	   *leaf = millrace_table_leaf_for(&call->step, hit->run_id);
	int32		left;
	int32		attempt;
	int32		token;
	RowOutcome	outcome;
	TimestampTz at;

	if (!millrace_leaf_fetch(leaf, (ItemPointer) &hit->place))
		return NOT_PENDING;
	do
	{
		if (found_int16(leaf, STEP_STATE) != STEP_PENDING)
			return NOT_PENDING;
		left = found_int32(leaf, STEP_NEEDS_LEFT) - hit->n;
		if (left <= 0 && hit->definition->rule != RULE_ALL_DONE && found_int32(leaf, STEP_NEEDS_BAD) > 0)
			return FOR_SQL;
		at = millrace_call_now(call);
		attempt = found_int32(leaf, STEP_ATTEMPTS) + 1;
		token = found_int32(leaf, STEP_TOKEN) + 1;

		millrace_leaf_copy(leaf);
		row_set(leaf, STEP_NEEDS_LEFT, Int32GetDatum(left));
		if (left <= 0 && hit->handed_over)
			set_started(leaf, hit, receiver, attempt, token, at);
		else if (left <= 0)
		{
			row_set(leaf, STEP_STATE, Int16GetDatum(STEP_READY));
			row_set(leaf, STEP_READY_AT, TimestampTzGetDatum(at));
		}
		outcome = millrace_leaf_update(leaf, true);
	} while (outcome == ROW_CHANGED);

	if (outcome != ROW_WRITTEN)
		return NOT_PENDING;
	if (left > 0)
		return STILL_PENDING;
	if (!hit->handed_over)
		return BECAME_READY;
	millrace_call_tell(call, EVENT_STEP_STARTED, hit->run_id, hit->def_no, receiver->agent_id, attempt, at);
	started->attempt = attempt;
	started->token = token;
	return WAS_STARTED;
}

static Decision
decide(Call *call, const Hit *hit, const Receiver *receiver, Started *started)
{
	if (hit->exists)
		return count_down(call, hit, receiver, started);
	insert_step(call, hit, receiver);
	started->attempt = 1;
	started->token = 1;
	return hit->handed_over ? WAS_STARTED : BECAME_READY;
}

void
millrace_settle(Call *call, HitList *list, Receiver *receiver,
				Started *started, int *started_count, Hit *ready, int *ready_count)
{
	int			left = 0;

	*started_count = *ready_count = 0;
	if (list->count == 0)
		return;
	fold(list);
	millrace_call_look(call);
	if (!read_all(call, list))
		return;
	if (materialise_partial(call, list))
	{
		millrace_call_look(call);
		if (!read_all(call, list))
			return;
	}
	millrace_choose_handover(call, list, receiver);

	for (int i = 0; i < list->count; i++)
	{
		const Hit  *hit = &list->hits[i];
		Started    *next = &started[*started_count];

		switch (decide(call, hit, receiver, next))
		{
			case WAS_STARTED:
				next->run_id = hit->run_id;
				next->step_no = hit->def_no;
				next->version_id = hit->version_id;
				next->trace = hit->trace;
				(*started_count)++;
				break;
			case BECAME_READY:
				ready[(*ready_count)++] = *hit;
				break;
			case FOR_SQL:
				list->hits[left++] = *hit;
				break;
			case STILL_PENDING:
			case NOT_PENDING:
				break;
		}
	}
	list->count = left;
}
