/*
 * work_submit.c
 *		New runs of one version: their rows, their first steps, an event each.
 */
#include "postgres.h"

#include <math.h>

#include "work.h"

#include "arguments.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rank_cache.h"
#include "utils/timestamp.h"
#include "work_answer.h"

PG_FUNCTION_INFO_V1(millrace_work_submit);

/* What all runs of a call have in common. */
typedef struct Submission
{
	int32		version_id;
	int32		tenant_id;
	int16		priority;
	TimestampTz created_at;
	bool		is_later;		/* nothing starts before due_at */
	TimestampTz due_at;
	int			root_count;
	const int32 *roots;
	int			column_count;	/* the run's, besides its id */
	struct
	{
		int			column;
		Datum		value;
	}			columns[16];
} Submission;

/* A first step that waits for a time. */
typedef struct Waiting
{
	int64		run_id;
	int32		step_no;
	TimestampTz due_at;
} Waiting;

static void
add_column(Submission *submission, int column, Datum value)
{
	submission->columns[submission->column_count].column = column;
	submission->columns[submission->column_count++].value = value;
}

static void
read_submission(FunctionCallInfo fcinfo, Submission *submission)
{
	static const int optional[] = {RUN_NOT_BEFORE, RUN_DEADLINE, RUN_PARENT_RUN_ID, RUN_PARENT_STEP_NO, RUN_LABELS, RUN_TRACE};

	memset(submission, 0, sizeof(Submission));
	submission->version_id = PG_GETARG_INT32(1);
	submission->tenant_id = PG_GETARG_INT32(3);
	submission->priority = PG_GETARG_INT16(4);
	submission->roots = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(6), "roots", &submission->root_count);
	submission->created_at = PG_GETARG_TIMESTAMPTZ(7);
	submission->is_later = !PG_ARGISNULL(8);
	if (submission->is_later)
		submission->due_at = PG_GETARG_TIMESTAMPTZ(8);

	add_column(submission, RUN_VERSION_ID, PG_GETARG_DATUM(1));
	add_column(submission, RUN_TENANT_ID, PG_GETARG_DATUM(3));
	add_column(submission, RUN_SHARD, PG_GETARG_DATUM(0));
	add_column(submission, RUN_PRIORITY, PG_GETARG_DATUM(4));
	add_column(submission, RUN_STATE, Int16GetDatum(RUN_RUNNING));
	add_column(submission, RUN_STEPS_FAILED, Int32GetDatum(0));
	add_column(submission, RUN_CLOSING_LEFT, PG_GETARG_DATUM(5));
	add_column(submission, RUN_CREATED_AT, PG_GETARG_DATUM(7));
	for (int i = 0; i < lengthof(optional); i++)
		if (!PG_ARGISNULL(9 + i))
			add_column(submission, optional[i], PG_GETARG_DATUM(9 + i));
}

/* When a first step may start: its own delay begins where the run's ends. */
static bool
starts_later(const Submission *submission, const StepDefinition *definition, TimestampTz *at)
{
	*at = submission->is_later ? submission->due_at : submission->created_at;
	if (definition->has_delay)
		*at += (TimestampTz) rint(definition->delay * USECS_PER_SEC);
	return submission->is_later || definition->has_delay;
}

static void
write_run(Call *call, RowBatch *runs, const Submission *submission, int64 run_id)
{
	TupleTableSlot *row = millrace_batch_add(runs, run_id);

	slot_set(row, RUN_RUN_ID, Int64GetDatum(run_id));
	for (int i = 0; i < submission->column_count; i++)
		slot_set(row, submission->columns[i].column, submission->columns[i].value);
	millrace_call_tell(call, EVENT_RUN_SUBMITTED, run_id, 0, 0, 0, submission->created_at);
}

static void
write_step(Call *call, RowBatch *steps, const StepDefinition *definition, int64 run_id, bool is_later, TimestampTz at)
{
	TupleTableSlot *row = millrace_batch_add(steps, run_id);

	slot_set(row, STEP_RUN_ID, Int64GetDatum(run_id));
	slot_set(row, STEP_STEP_NO, Int32GetDatum(definition->def_no));
	slot_set(row, STEP_VERSION_ID, Int32GetDatum(definition->version_id));
	slot_set(row, STEP_DEF_NO, Int32GetDatum(definition->def_no));
	slot_set(row, STEP_SHARD, Int16GetDatum(call->shard));
	slot_set(row, STEP_STATE, Int16GetDatum(is_later ? STEP_WAITING : STEP_READY));
	slot_set(row, STEP_ATTEMPTS, Int32GetDatum(0));
	slot_set(row, STEP_TOKEN, Int32GetDatum(0));
	slot_set(row, STEP_NEEDS_LEFT, Int32GetDatum(0));
	slot_set(row, STEP_NEEDS_BAD, Int32GetDatum(0));
	slot_set(row, STEP_READY_AT, TimestampTzGetDatum(at));
}

/*
 * work_submit(in_shard, in_version_id, run_ids, in_tenant_id, in_priority, in_closing, roots, created_at, due_at,
 *			   not_before, deadline, parent_run_id, parent_step_no, labels, trace)
 */
Datum
millrace_work_submit(PG_FUNCTION_ARGS)
{
	Call		call;
	Answer		answer = {0};
	Submission	submission;
	RowBatch	runs;
	RowBatch	steps;
	int			run_count;
	const int64 *run_ids = millrace_arguments_bigints(PG_GETARG_ARRAYTYPE_P(2), "run_ids", &run_count);
	const StepDefinition **roots;
	float4	   *ranks;
	Hit		   *ready;
	Waiting    *waiting;
	int			ready_count = 0;
	int			waiting_count = 0;

	read_submission(fcinfo, &submission);
	millrace_call_begin(&call, PG_GETARG_INT16(0), false, 0);
	millrace_batch_open(&runs, &call.run);
	millrace_batch_open(&steps, &call.step);
	roots = palloc(sizeof(StepDefinition *) * Max(submission.root_count, 1));
	ranks = palloc(sizeof(float4) * Max(submission.root_count, 1));
	for (int i = 0; i < submission.root_count; i++)
	{
		roots[i] = millrace_definition(submission.version_id, submission.roots[i]);
		ranks[i] = millrace_rank(submission.version_id, submission.roots[i], roots[i]->rank);
	}
	ready = palloc_extended(sizeof(Hit) * Max((Size) run_count * submission.root_count, 1), MCXT_ALLOC_HUGE);
	waiting = palloc_extended(sizeof(Waiting) * Max((Size) run_count * submission.root_count, 1), MCXT_ALLOC_HUGE);

	for (int i = 0; i < run_count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		write_run(&call, &runs, &submission, run_ids[i]);
		for (int j = 0; j < submission.root_count; j++)
		{
			TimestampTz at;
			bool		is_later = starts_later(&submission, roots[j], &at);

			write_step(&call, &steps, roots[j], run_ids[i], is_later, at);
			if (is_later)
				waiting[waiting_count++] = (Waiting) {
					.run_id = run_ids[i], .step_no = roots[j]->def_no, .due_at = at
				};
			else
				ready[ready_count++] = (Hit) {
					.run_id = run_ids[i], .def_no = roots[j]->def_no, .version_id = submission.version_id,
					.definition = roots[j], .tenant_id = submission.tenant_id, .rank = ranks[j],
					.priority = effective_priority(submission.priority, roots[j]->priority)
				};
		}
	}
	millrace_batch_close(&runs);
	millrace_batch_close(&steps);
	millrace_call_end(&call);

	millrace_answer_ready(&answer, ready, ready_count);
	GATHER(&answer, waiting_count, int64, millrace_arguments_bigint_array, waiting[i].run_id);
	GATHER(&answer, waiting_count, int32, millrace_arguments_int_array, waiting[i].step_no);
	GATHER(&answer, waiting_count, TimestampTz, millrace_arguments_timestamptz_array, waiting[i].due_at);
	return millrace_answer_row(&answer, fcinfo);
}
