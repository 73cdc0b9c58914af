/*
 * retired.c
 *		Entry points that earlier versions' scripts call.
 *
 * Between the installation of a library and ALTER EXTENSION ... UPDATE a
 * database still has the functions of before. They go on working, from the
 * tables: no refill by the old statements, and claims that look there.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(millrace_dispatcher_is_warm);
PG_FUNCTION_INFO_V1(millrace_dispatcher_overflowed);
PG_FUNCTION_INFO_V1(millrace_dispatcher_begin_refill);
PG_FUNCTION_INFO_V1(millrace_dispatcher_note_stale);
PG_FUNCTION_INFO_V1(millrace_dispatcher_end_refill);
PG_FUNCTION_INFO_V1(millrace_dispatcher_state);
PG_FUNCTION_INFO_V1(millrace_dispatcher_wake);

Datum
millrace_dispatcher_is_warm(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(false);
}

Datum
millrace_dispatcher_overflowed(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(true);
}

Datum
millrace_dispatcher_begin_refill(PG_FUNCTION_ARGS)
{
	PG_RETURN_VOID();
}

Datum
millrace_dispatcher_note_stale(PG_FUNCTION_ARGS)
{
	PG_RETURN_VOID();
}

Datum
millrace_dispatcher_end_refill(PG_FUNCTION_ARGS)
{
	PG_RETURN_VOID();
}

Datum
millrace_dispatcher_state(PG_FUNCTION_ARGS)
{
	TupleDesc	type;
	Datum	   *values;
	bool	   *nulls;

	if (get_call_result_type(fcinfo, NULL, &type) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values = palloc0(sizeof(Datum) * type->natts);
	nulls = palloc(sizeof(bool) * type->natts);
	memset(nulls, true, sizeof(bool) * type->natts);
	values[0] = CStringGetTextDatum("to be updated");
	nulls[0] = false;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(type), values, nulls)));
}

/* Which nothing called. */
Datum
millrace_dispatcher_wake(PG_FUNCTION_ARGS)
{
	PG_RETURN_VOID();
}
