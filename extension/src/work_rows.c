/*
 * work_rows.c
 *		What an agent reads of the steps it was given, where no step takes an input.
 */
#include "postgres.h"

#include "arguments.h"
#include "catalog/pg_type.h"
#include "definition_cache.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(millrace_work_measure);
PG_FUNCTION_INFO_V1(millrace_work_rows);

/*
 * work_measure(versions, step_nos, OUT takes_input, OUT bytes, OUT timeout):
 * whether a step takes an input, the bytes of all settings, the shortest timeout.
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

		takes_input |= definition->takes_input;
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

/* work_rows(run_ids, step_nos, tokens, attempts, versions, traces): the columns of millrace.claim */
Datum
millrace_work_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			count;
	const int64 *run_ids = millrace_arguments_bigints(PG_GETARG_ARRAYTYPE_P(0), "run_ids", &count);
	const int32 *columns[4];
	static const char *const names[4] = {"step_nos", "tokens", "attempts", "versions"};
	bool	   *no_trace;
	Datum	   *traces = millrace_arguments_nullable(fcinfo, 5, TEXTOID, count, &no_trace);

	for (int i = 0; i < lengthof(columns); i++)
	{
		int			length;

		columns[i] = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(i + 1), names[i], &length);
		millrace_arguments_require_same_length("run_ids", count, names[i], length);
	}
	InitMaterializedSRF(fcinfo, 0);
	millrace_definitions_begin();

	for (int i = 0; i < count; i++)
	{
		const StepDefinition *definition = millrace_definition(columns[3][i], columns[0][i]);
		Datum		values[12] = {
			Int64GetDatum(run_ids[i]), Int32GetDatum(columns[0][i]), Int32GetDatum(columns[1][i]),
			Int32GetDatum(columns[2][i]), definition->workflow, definition->key, definition->handler,
			definition->settings, (Datum) 0, Float8GetDatum(definition->timeout), (Datum) 0, traces[i]
		};
		bool		nulls[12] = {
			[7] = definition->settings == (Datum) 0, [8] = true, [9] = !definition->has_timeout, [10] = true,
			[11] = no_trace[i]
		};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
