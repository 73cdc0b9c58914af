/*
 * work_rows.c
 *		What an agent reads of the steps it was given, as far as definitions and their inputs say it.
 */
#include "postgres.h"

#include "arguments.h"
#include "catalog/pg_type.h"
#include "definition_cache.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(millrace_work_measure);
PG_FUNCTION_INFO_V1(millrace_work_batched);
PG_FUNCTION_INFO_V1(millrace_work_rows);
PG_FUNCTION_INFO_V1(millrace_work_report_rows);

/*
 * work_measure(versions, step_nos, OUT takes_input, OUT bytes, OUT timeout):
 * whether a step takes an input or values of its run or is of a batch, the bytes of all settings, the shortest timeout.
 */
Datum
millrace_work_measure(PG_FUNCTION_ARGS)
{
	int			count;
	int			step_count;
	const int32 *versions = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(0), "versions", &count);
	const int32 *step_nos = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(1), "step_nos", &step_count);
	bool		takes_input = false;
	int64		bytes = 0;
	bool		has_timeout = false;
	float8		timeout = 0;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};
	TupleDesc	columns;

	millrace_arguments_require_same_length("versions", count, "step_nos", step_count);
	millrace_definitions_begin();
	for (int i = 0; i < count; i++)
	{
		const StepDefinition *definition = millrace_definition(versions[i], step_nos[i]);

		takes_input |= definition->takes_input || definition->fills || definition->batched;
		bytes += definition->settings_bytes;
		if (definition->has_timeout && (!has_timeout || definition->timeout < timeout))
			timeout = definition->timeout;
		has_timeout |= definition->has_timeout;
	}

	values[0] = BoolGetDatum(takes_input);
	values[1] = Int64GetDatum(bytes);
	values[2] = Float8GetDatum(timeout);
	nulls[2] = !has_timeout;
	if (get_call_result_type(fcinfo, NULL, &columns) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "work_measure returns a record");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), values, nulls));
}

/* work_batched(versions, step_nos): whether a step is of a batch */
Datum
millrace_work_batched(PG_FUNCTION_ARGS)
{
	int			count;
	int			step_count;
	const int32 *versions = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(0), "versions", &count);
	const int32 *step_nos = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(1), "step_nos", &step_count);

	millrace_arguments_require_same_length("versions", count, "step_nos", step_count);
	millrace_definitions_begin();
	for (int i = 0; i < count; i++)
		if (millrace_definition(versions[i], step_nos[i])->batched)
			PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(false);
}

/* Arrays of one length that describe steps, as arguments from `first` on. */
typedef struct StepArrays
{
	int			count;
	const int64 *run_ids;
	const int32 *columns[4];	/* step_nos, tokens, attempts, versions */
} StepArrays;

static StepArrays
read_arrays(FunctionCallInfo fcinfo, int first, int column_count)
{
	static const char *const names[4] = {"step_nos", "tokens", "attempts", "versions"};
	StepArrays	arrays = {0};

	if (PG_ARGISNULL(first))
		return arrays;
	arrays.run_ids = millrace_arguments_bigints(PG_GETARG_ARRAYTYPE_P(first), "run_ids", &arrays.count);
	for (int i = 0; i < column_count; i++)
	{
		int			length;

		arrays.columns[i] = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(first + 1 + i), names[i], &length);
		millrace_arguments_require_same_length("run_ids", arrays.count, names[i], length);
	}
	return arrays;
}

/*
 * A row per started step: the columns of millrace.claim, after `answer_columns`
 * of millrace.report.
 */
static void
put_started(FunctionCallInfo fcinfo, int first, int answer_columns)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	StepArrays	steps = read_arrays(fcinfo, first, 4);
	bool	   *no_trace;
	Datum	   *traces = millrace_arguments_nullable(fcinfo, first + 5, TEXTOID, steps.count, &no_trace);
	bool	   *no_input;
	Datum	   *inputs = millrace_arguments_nullable(fcinfo, first + 6, JSONBOID, steps.count, &no_input);
	Datum		values[16] = {answer_columns ? CStringGetTextDatum("started") : (Datum) 0};
	bool		nulls[16] = {false, true, true};
	Datum	   *value = values + answer_columns;
	bool	   *null = nulls + answer_columns;

	for (int i = 0; i < steps.count; i++)
	{
		int32		step_no = steps.columns[0][i];
		const StepDefinition *definition = millrace_definition(steps.columns[3][i], step_no);

		value[0] = Int64GetDatum(steps.run_ids[i]);
		value[1] = Int32GetDatum(step_no);
		value[2] = Int32GetDatum(steps.columns[1][i]);
		value[3] = Int32GetDatum(steps.columns[2][i]);
		value[4] = definition->workflow;
		value[5] = definition->key;
		value[6] = definition->handler;
		value[7] = definition->settings;
		value[8] = inputs[i];
		value[9] = Float8GetDatum(definition->timeout);
		value[11] = traces[i];
		memset(null, false, sizeof(bool) * 13);
		null[7] = definition->settings == (Datum) 0;
		null[8] = no_input[i];
		null[9] = !definition->has_timeout;
		null[10] = true;
		null[11] = no_trace[i];
		null[12] = true;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/* work_rows(run_ids, step_nos, tokens, attempts, versions, traces, inputs): the columns of millrace.claim */
Datum
millrace_work_rows(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	millrace_definitions_begin();
	put_started(fcinfo, 0, 0);
	return (Datum) 0;
}

/*
 * work_report_rows(applied_runs, applied_steps, applied_tokens, run_ids, step_nos, tokens, attempts, versions, traces,
 *					inputs): the columns of millrace.report
 */
Datum
millrace_work_report_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	StepArrays	applied = read_arrays(fcinfo, 0, 2);
	Datum		values[16] = {CStringGetTextDatum("applied")};
	bool		nulls[16];

	InitMaterializedSRF(fcinfo, 0);
	millrace_definitions_begin();
	memset(nulls, true, sizeof(nulls));
	nulls[0] = nulls[3] = nulls[4] = nulls[5] = false;
	for (int i = 0; i < applied.count; i++)
	{
		values[3] = Int64GetDatum(applied.run_ids[i]);
		values[4] = Int32GetDatum(applied.columns[0][i]);
		values[5] = Int32GetDatum(applied.columns[1][i]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	put_started(fcinfo, 3, 3);
	return (Datum) 0;
}
