/*
 * work_start.c
 *		A claim: candidates of the sink that are ready still are handed to an agent.
 *
 * Waits for nothing. A row that another call holds is left, and told apart from
 * one that is ready no more: the sink must have it back.
 */
#include "postgres.h"

#include "work.h"

#include "access/htup_details.h"
#include "arguments.h"
#include "catalog/pg_type.h"
#include "dispatcher.h"
#include "fault.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "work_answer.h"

PG_FUNCTION_INFO_V1(millrace_work_start);

static text *
trace_of(Call *call, int64 run_id)
{
	Leaf	   *leaf = millrace_table_leaf_for(&call->run, run_id);

	if (!millrace_leaf_find_run(leaf, run_id, call->shard) || found_is_null(leaf, RUN_TRACE))
		return NULL;
	return DatumGetTextPCopy(found_datum(leaf, RUN_TRACE));
}

/* ROW_WRITTEN: the step is the agent's; ROW_HELD: another call has the row; else it is not ready any more. */
static RowOutcome
start_step(Call *call, Started *step, int32 agent_id, int64 receipt_no)
{
	Leaf	   *leaf = millrace_table_leaf(&call->step, step->run_id);
	RowOutcome	outcome;
	TimestampTz at;

	if (leaf == NULL || !millrace_leaf_find_step(leaf, step->run_id, step->step_no, call->shard))
		return ROW_GONE;
	do
	{
		if (found_int16(leaf, STEP_STATE) != STEP_READY)
			return ROW_GONE;
		at = millrace_call_now(call);
		step->token = found_int32(leaf, STEP_TOKEN) + 1;
		step->attempt = found_int32(leaf, STEP_ATTEMPTS) + 1;
		step->version_id = found_int32(leaf, STEP_VERSION_ID);

		millrace_leaf_copy(leaf);
		row_set(leaf, STEP_STATE, Int16GetDatum(STEP_RUNNING));
		row_set(leaf, STEP_ATTEMPTS, Int32GetDatum(step->attempt));
		row_set(leaf, STEP_TOKEN, Int32GetDatum(step->token));
		row_set(leaf, STEP_AGENT_ID, Int32GetDatum(agent_id));
		row_set(leaf, STEP_RECEIPT_NO, Int64GetDatum(receipt_no));
		row_set(leaf, STEP_STARTED_AT, TimestampTzGetDatum(at));
		outcome = millrace_leaf_update(leaf, false);
	} while (outcome == ROW_CHANGED);

	if (outcome == ROW_WRITTEN)
	{
		millrace_call_tell(call, EVENT_STEP_STARTED, step->run_id, step->step_no, agent_id, step->attempt, at);
		step->trace = trace_of(call, step->run_id);
	}
	return outcome;
}

/* What was started stays at the front of `steps`. */
void
millrace_start(Call *call, int32 agent_id, int64 receipt_no, Started *steps, int count,
			   int *started_count, Started *held, int *held_count)
{
	int			stale_count = 0;

	*started_count = *held_count = 0;
	for (int i = 0; i < count; i++)
	{
		Started		step = steps[i];

		CHECK_FOR_INTERRUPTS();
		switch (is_of_shard(call->shard, step.run_id) ? start_step(call, &step, agent_id, receipt_no) : ROW_GONE)
		{
			case ROW_WRITTEN:
				steps[(*started_count)++] = step;
				break;
			case ROW_HELD:
				held[(*held_count)++] = step;
				break;
			default:
				stale_count++;
				break;
		}
	}
	millrace_dispatcher_note_stale_steps(stale_count);
}

/* work_start(in_shard, in_agent_id, in_receipt_no, run_ids, step_nos, frozen) */
Datum
millrace_work_start(PG_FUNCTION_ARGS)
{
	Call		call;
	Answer		answer = {0};
	int			count;
	int			step_count;
	const int64 *run_ids = millrace_arguments_bigints(PG_GETARG_ARRAYTYPE_P(3), "run_ids", &count);
	const int32 *step_nos = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(4), "step_nos", &step_count);
	Started    *steps = palloc(sizeof(Started) * Max(count, 1));
	Started    *held = palloc(sizeof(Started) * Max(count, 1));
	int			started_count;
	int			held_count;

	millrace_arguments_require_same_length("run_ids", count, "step_nos", step_count);
	for (int i = 0; i < count; i++)
		steps[i] = (Started) {.run_id = run_ids[i], .step_no = step_nos[i]};
	millrace_call_begin(&call, PG_GETARG_INT16(0), !PG_ARGISNULL(5), PG_ARGISNULL(5) ? 0 : PG_GETARG_TIMESTAMPTZ(5));
	millrace_start(&call, PG_GETARG_INT32(1), PG_GETARG_INT64(2), steps, count, &started_count, held, &held_count);
	millrace_call_end(&call);
	MILLRACE_FAULT("started");

	millrace_answer_started(&answer, steps, started_count);
	GATHER(&answer, held_count, int64, millrace_arguments_bigint_array, held[i].run_id);
	GATHER(&answer, held_count, int32, millrace_arguments_int_array, held[i].step_no);
	return millrace_answer_row(&answer, fcinfo);
}
