/*
 * work_complete.c
 *		A report of nothing but completions: the steps, what hangs on them, the
 *		ends of runs.
 */
#include "postgres.h"

#include "work.h"

#include "access/htup_details.h"
#include "arguments.h"
#include "catalog/pg_type.h"
#include "fault.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "work_answer.h"

PG_FUNCTION_INFO_V1(millrace_work_complete);

static int
compare_completions(const void *left, const void *right)
{
	const Completion *a = left;
	const Completion *b = right;

	if (a->run_id != b->run_id)
		return a->run_id < b->run_id ? -1 : 1;
	if (a->step_no != b->step_no)
		return a->step_no < b->step_no ? -1 : 1;
	return a->place - b->place;
}

Completion *
millrace_completions_read(FunctionCallInfo fcinfo, int runs_place, int elapsed_place, int16 shard, int *count)
{
	int			length = ArrayGetNItems(ARR_NDIM(PG_GETARG_ARRAYTYPE_P(runs_place)), ARR_DIMS(PG_GETARG_ARRAYTYPE_P(runs_place)));
	bool	   *no_run;
	bool	   *no_step;
	bool	   *no_token;
	bool	   *no_elapsed;
	Datum	   *runs = millrace_arguments_nullable(fcinfo, runs_place, INT8OID, length, &no_run);
	Datum	   *steps = millrace_arguments_nullable(fcinfo, runs_place + 1, INT4OID, length, &no_step);
	Datum	   *tokens = millrace_arguments_nullable(fcinfo, runs_place + 2, INT4OID, length, &no_token);
	Datum	   *elapsed = millrace_arguments_nullable(fcinfo, elapsed_place, FLOAT8OID, length, &no_elapsed);
	Completion *completions = palloc(sizeof(Completion) * Max(length, 1));

	*count = 0;
	for (int i = 0; i < length; i++)
	{
		if (no_run[i] || no_step[i] || no_token[i] || !is_of_shard(shard, DatumGetInt64(runs[i])))
			continue;
		completions[(*count)++] = (Completion) {
			.run_id = DatumGetInt64(runs[i]),
			.step_no = DatumGetInt32(steps[i]),
			.token = DatumGetInt32(tokens[i]),
			.place = i + 1,
			.has_elapsed = !no_elapsed[i],
			.elapsed = no_elapsed[i] ? 0 : (float4) DatumGetFloat8(elapsed[i]),
		};
	}
	qsort(completions, *count, sizeof(Completion), compare_completions);
	return completions;
}

static void
add_hit(HitList *list, HitKind kind, int64 run_id, int32 version_id, int32 def_no)
{
	if (list->count == list->room)
	{
		list->room = list->room ? 2 * list->room : 256;
		list->hits = list->hits ? repalloc_huge(list->hits, sizeof(Hit) * list->room) : palloc(sizeof(Hit) * list->room);
	}
	list->hits[list->count++] = (Hit) {.run_id = run_id, .def_no = def_no, .kind = kind, .version_id = version_id, .n = 1};
}

static void
note(Outcome *outcome, const Completion *completion, int64 receipt_no, const StepDefinition *definition)
{
	outcome->receipts[outcome->applied_count] = receipt_no;
	outcome->applied[outcome->applied_count++] = completion->place;
	if (is_compensation(completion->step_no))
	{
		add_hit(&outcome->hits, HIT_COMPENSATION, completion->run_id, definition->version_id, completion->step_no);
		return;
	}
	if (is_gained(completion->step_no))
	{
		add_hit(&outcome->hits, HIT_ELEMENTS, completion->run_id, definition->version_id, definition->def_no);
		return;
	}
	for (int i = 0; i < definition->dependent_count; i++)
		add_hit(&outcome->hits, HIT_DEPENDENT, completion->run_id, definition->version_id, definition->dependents[i]);
	if (!definition->closing)
		return;
	outcome->phased |= definition->phased;
	if (outcome->ended_count > 0 && outcome->ended[outcome->ended_count - 1].run_id == completion->run_id)
		outcome->ended[outcome->ended_count - 1].closing++;
	else
		outcome->ended[outcome->ended_count++] = (Ended) {.run_id = completion->run_id, .closing = 1};
}

/* A step that is still running, with this token, at this agent, has completed. Anything else is stale, or lacks its output. */
static void
complete_step(Call *call, const Completion *completion, int32 agent_id, Outcome *outcome)
{
	Leaf	   *leaf = millrace_table_leaf(&call->step, completion->run_id);
	const StepDefinition *definition;
	RowOutcome	written;
	TimestampTz at;

	if (leaf == NULL || !millrace_leaf_find_step(leaf, completion->run_id, completion->step_no, call->shard))
		return;
	do
	{
		int16		state = found_int16(leaf, STEP_STATE);

		if ((state != STEP_RUNNING && state != STEP_AWAITING) || found_int32(leaf, STEP_TOKEN) != completion->token
			|| found_int32(leaf, STEP_AGENT_ID) != agent_id)
			return;
		definition = millrace_definition(found_int32(leaf, STEP_VERSION_ID), found_int32(leaf, STEP_DEF_NO));
		if (call->silent && definition->wants_output)
			return;
		at = millrace_call_now(call);
		millrace_leaf_copy(leaf);
		row_set(leaf, STEP_STATE, Int16GetDatum(STEP_COMPLETED));
		row_set(leaf, STEP_FINISHED_AT, TimestampTzGetDatum(at));
		row_set_null(leaf, STEP_ERROR);
		row_set_null(leaf, STEP_ERROR_CLASS);
		row_set_null(leaf, STEP_ELAPSED);
		if (completion->has_elapsed)
			row_set(leaf, STEP_ELAPSED, Float4GetDatum(completion->elapsed));
		written = millrace_leaf_update(leaf, true);
	} while (written == ROW_CHANGED);
	if (written != ROW_WRITTEN)
		return;

	millrace_call_tell(call, EVENT_STEP_COMPLETED, completion->run_id, completion->step_no, agent_id,
					   found_int32(leaf, STEP_ATTEMPTS), at);
	note(outcome, completion, found_int64(leaf, STEP_RECEIPT_NO), definition);
}

static int32 *
copy_ints(FunctionCallInfo fcinfo, int place, const char *name, int *count)
{
	const int32 *values = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(place), name, count);
	int32	   *copy = palloc(sizeof(int32) * Max(*count, 1));

	memcpy(copy, values, sizeof(int32) * *count);
	return copy;
}

static Receiver
read_receiver(FunctionCallInfo fcinfo)
{
	Receiver	receiver = {.agent_id = PG_GETARG_INT32(1), .accepts = !PG_ARGISNULL(6)};
	int			rooms;

	if (!receiver.accepts)
		return receiver;
	receiver.receipt_no = PG_GETARG_INT64(6);
	receiver.queues = copy_ints(fcinfo, 7, "in_queues", &receiver.queue_count);
	receiver.handlers = copy_ints(fcinfo, 8, "in_handlers", &receiver.handler_count);
	receiver.rooms = copy_ints(fcinfo, 9, "rooms", &rooms);
	receiver.max_steps = PG_GETARG_INT32(10);
	millrace_arguments_require_same_length("in_handlers", receiver.handler_count, "rooms", rooms);
	return receiver;
}

static int
compare_bigints(const void *left, const void *right)
{
	int64		a = *(const int64 *) left;
	int64		b = *(const int64 *) right;

	return a < b ? -1 : a > b;
}

/* Each receipt once, ascending, with how many of its steps were settled. */
static void
fold_receipts(Outcome *outcome)
{
	int			kept = -1;

	outcome->settled = palloc(sizeof(int32) * Max(outcome->applied_count, 1));
	qsort(outcome->receipts, outcome->applied_count, sizeof(int64), compare_bigints);
	for (int i = 0; i < outcome->applied_count; i++)
	{
		if (kept < 0 || outcome->receipts[kept] != outcome->receipts[i])
		{
			outcome->receipts[++kept] = outcome->receipts[i];
			outcome->settled[kept] = 0;
		}
		outcome->settled[kept]++;
	}
	outcome->receipt_count = kept + 1;
}

void
millrace_complete(Call *call, const Completion *completions, int count, Receiver *receiver, Outcome *outcome)
{
	memset(outcome, 0, sizeof(Outcome));
	outcome->applied = palloc(sizeof(int32) * Max(count, 1));
	outcome->receipts = palloc(sizeof(int64) * Max(count, 1));
	outcome->ended = palloc(sizeof(Ended) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		complete_step(call, &completions[i], receiver->agent_id, outcome);
	}
	MILLRACE_FAULT("completed");

	outcome->started = palloc(sizeof(Started) * Max(outcome->hits.count, 1));
	outcome->ready = palloc(sizeof(Hit) * Max(outcome->hits.count, 1));
	millrace_settle(call, &outcome->hits, receiver, outcome->started, &outcome->started_count,
					outcome->ready, &outcome->ready_count);
	if (outcome->hits.count == 0 && !outcome->phased)
	{
		/* runs come last in the lock order */
		millrace_call_look(call);
		millrace_close_runs(call, outcome->ended, outcome->ended_count);
		outcome->ended_count = 0;
	}
	fold_receipts(outcome);
}

void
millrace_answer_left(Answer *answer, const Outcome *outcome)
{
	GATHER(answer, outcome->applied_count, int32, millrace_arguments_int_array, outcome->applied[i]);
	GATHER(answer, outcome->hits.count, int64, millrace_arguments_bigint_array, outcome->hits.hits[i].run_id);
	GATHER(answer, outcome->hits.count, int32, millrace_arguments_int_array, outcome->hits.hits[i].def_no);
	GATHER(answer, outcome->hits.count, int16, millrace_arguments_smallint_array, outcome->hits.hits[i].kind);
	GATHER(answer, outcome->hits.count, int32, millrace_arguments_int_array, outcome->hits.hits[i].n);
	GATHER(answer, outcome->ended_count, int64, millrace_arguments_bigint_array, outcome->ended[i].run_id);
	GATHER(answer, outcome->ended_count, int32, millrace_arguments_int_array, outcome->ended[i].closing);
	GATHER(answer, outcome->receipt_count, int64, millrace_arguments_bigint_array, outcome->receipts[i]);
	GATHER(answer, outcome->receipt_count, int32, millrace_arguments_int_array, outcome->settled[i]);
}

/*
 * work_complete(in_shard, in_agent_id, run_ids, step_nos, tokens, elapsed,
 *				 in_receipt_no, in_queues, in_handlers, rooms, max_start, frozen)
 */
Datum
millrace_work_complete(PG_FUNCTION_ARGS)
{
	Call		call;
	Receiver	receiver = read_receiver(fcinfo);
	Outcome		outcome;
	Answer		answer = {0};
	Completion *completions;
	int			count;

	completions = millrace_completions_read(fcinfo, 2, 5, PG_GETARG_INT16(0), &count);
	millrace_call_begin(&call, PG_GETARG_INT16(0), !PG_ARGISNULL(11), PG_ARGISNULL(11) ? 0 : PG_GETARG_TIMESTAMPTZ(11));
	millrace_complete(&call, completions, count, &receiver, &outcome);
	millrace_call_end(&call);
	MILLRACE_FAULT("handed_over");

	millrace_answer_left(&answer, &outcome);
	millrace_answer_started(&answer, outcome.started, outcome.started_count);
	millrace_answer_ready(&answer, outcome.ready, outcome.ready_count);
	return millrace_answer_row(&answer, fcinfo);
}
