/*
 * work_answer.c
 *		The answer of a call: a row of arrays.
 */
#include "postgres.h"

#include "work_answer.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"

void
millrace_answer_add(Answer *answer, int count, Datum array)
{
	Assert(answer->count < ANSWER_COLUMNS);
	answer->nulls[answer->count] = count == 0;
	answer->values[answer->count++] = array;
}

static void
add_traces(Answer *answer, const Started *started, int count)
{
	Datum	   *traces = palloc(sizeof(Datum) * Max(count, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(count, 1));
	int			lower_bound = 1;

	for (int i = 0; i < count; i++)
	{
		nulls[i] = started[i].trace == NULL;
		traces[i] = PointerGetDatum(started[i].trace);
	}
	millrace_answer_add(answer, count, PointerGetDatum(construct_md_array(traces, nulls, 1, &count, &lower_bound,
																		  TEXTOID, -1, false, TYPALIGN_INT)));
}

void
millrace_answer_started(Answer *answer, const Started *started, int count)
{
	GATHER(answer, count, int64, millrace_arguments_bigint_array, started[i].run_id);
	GATHER(answer, count, int32, millrace_arguments_int_array, started[i].step_no);
	GATHER(answer, count, int32, millrace_arguments_int_array, started[i].token);
	GATHER(answer, count, int32, millrace_arguments_int_array, started[i].attempt);
	GATHER(answer, count, int32, millrace_arguments_int_array, started[i].version_id);
	add_traces(answer, started, count);
}

void
millrace_answer_ready(Answer *answer, const Hit *ready, int count)
{
	GATHER(answer, count, int64, millrace_arguments_bigint_array, ready[i].run_id);
	GATHER(answer, count, int32, millrace_arguments_int_array, ready[i].def_no);
	GATHER(answer, count, int32, millrace_arguments_int_array, ready[i].definition->queue_id);
	GATHER(answer, count, int32, millrace_arguments_int_array, ready[i].definition->handler_id);
	GATHER(answer, count, int16, millrace_arguments_smallint_array, ready[i].priority);
	GATHER(answer, count, int32, millrace_arguments_int_array, ready[i].tenant_id);
	GATHER(answer, count, float4, millrace_arguments_real_array, ready[i].rank);
}

Datum
millrace_answer_row(const Answer *answer, FunctionCallInfo fcinfo)
{
	TupleDesc	columns;

	if (get_call_result_type(fcinfo, NULL, &columns) != TYPEFUNC_COMPOSITE || columns->natts != answer->count)
		elog(ERROR, "the function returns a row of %d arrays", answer->count);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(columns), (Datum *) answer->values, (bool *) answer->nulls));
}
