/*
 * json.c
 *		JSON that may be none, without a subtransaction.
 *
 * Reports carry outputs as text, many to a call, and a bad one must not spoil
 * the others. A PL/pgSQL block that catches the error would cost a
 * subtransaction each.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "guc.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(millrace_json_try);

/* Errors that tell of the text. All others (no memory, a cancel) are the transaction's business. */
static bool
is_about_the_text(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_DATA_EXCEPTION || category == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

/*
 * The text as jsonb in `value`, or the reason why it is none.
 *
 * Catching without a subtransaction is safe here because jsonb_in is a pure
 * function of its argument: it takes no lock, pins no buffer, opens no
 * relation and runs no user's code. All it leaves behind on error is memory
 * of the current context, which ends with the row.
 */
static char *
parse(char *candidate, Datum *value)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *volatile problem = NULL;

	PG_TRY();
	{
		*value = DirectFunctionCall1(jsonb_in, CStringGetDatum(candidate));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (!is_about_the_text(error))
			PG_RE_THROW();
		FlushErrorState();
		problem = error->detail ? psprintf("%s: %s", error->message, error->detail) : error->message;
	}
	PG_END_TRY();

	return problem;
}

/* The row type, looked up once a query. */
static TupleDesc
result_type(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		MemoryContext previous = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		TupleDesc	type;

		if (get_call_result_type(fcinfo, NULL, &type) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		fcinfo->flinfo->fn_extra = BlessTupleDesc(type);
		MemoryContextSwitchTo(previous);
	}
	return fcinfo->flinfo->fn_extra;
}

Datum
millrace_json_try(PG_FUNCTION_ARGS)
{
	Datum		values[2] = {0, 0};
	bool		nulls[2] = {true, true};

	if (!PG_ARGISNULL(0))
	{
		text	   *candidate = PG_GETARG_TEXT_PP(0);
		Size		size = VARSIZE_ANY_EXHDR(candidate);
		char	   *problem;

		if (size > (Size) millrace_max_output_bytes)
			problem = psprintf("%zu bytes are more than millrace.max_output_bytes allows (%d)",
							   size, millrace_max_output_bytes);
		else
			problem = parse(text_to_cstring(candidate), &values[0]);

		if (problem)
			values[1] = CStringGetTextDatum(problem);
		nulls[0] = problem != NULL;
		nulls[1] = problem == NULL;
	}

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(result_type(fcinfo), values, nulls)));
}
