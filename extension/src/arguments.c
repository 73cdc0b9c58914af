/*
 * arguments.c
 *		Arrays from and to SQL as plain C arrays.
 *
 * Graphs travel as arrays of a million elements. Their types are of fixed
 * length and passed by value, so that an array without nulls is a C array
 * already: it is read where it lies, and written without a Datum in between.
 */
#include "postgres.h"

#include <math.h>

#include "arguments.h"
#include "catalog/pg_type.h"
#include "millrace.h"
#include "utils/lsyscache.h"

static const void *
elements(ArrayType *array, Oid type, const char *name, int *count)
{
	if (ARR_ELEMTYPE(array) != type || ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
				 errmsg("%s must be an array of one dimension", name)));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
				 errmsg("%s must not contain nulls", name)));

	*count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	return ARR_DATA_PTR(array);
}

const int32 *
millrace_arguments_ints(ArrayType *array, const char *name, int *count)
{
	return elements(array, INT4OID, name, count);
}

const int16 *
millrace_arguments_smallints(ArrayType *array, const char *name, int *count)
{
	return elements(array, INT2OID, name, count);
}

const bool *
millrace_arguments_bools(ArrayType *array, const char *name, int *count)
{
	return elements(array, BOOLOID, name, count);
}

const int64 *
millrace_arguments_bigints(ArrayType *array, const char *name, int *count)
{
	return elements(array, INT8OID, name, count);
}

const float4 *
millrace_arguments_reals(ArrayType *array, const char *name, int *count)
{
	const float4 *reals = elements(array, FLOAT4OID, name, count);

	for (int i = 0; i < *count; i++)
		if (!isfinite(reals[i]))
			ereport(ERROR,
					(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
					 errmsg("%s must be finite numbers", name),
					 errdetail("Element %d is %g.", i + 1, reals[i])));
	return reals;
}

float4 *
millrace_arguments_seconds(ArrayType *array, const char *name, int expected_count,
						   const float4 *defaults)
{
	Datum	   *values;
	bool	   *nulls;
	int			count;
	float4	   *seconds;

	if (ARR_ELEMTYPE(array) != FLOAT4OID || ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
				 errmsg("%s must be an array of one dimension", name)));

	deconstruct_array(array, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT, &values, &nulls, &count);
	if (count != expected_count)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
				 errmsg("%s must have one element for each step", name),
				 errdetail("There are %d elements for %d steps.", count, expected_count)));

	seconds = palloc(sizeof(float4) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			seconds[i] = defaults ? defaults[i] : 1;
		else
			seconds[i] = DatumGetFloat4(values[i]);
		if (!isfinite(seconds[i]) || seconds[i] < 0)
			ereport(ERROR,
					(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
					 errmsg("%s must be finite numbers of seconds, not negative", name),
					 errdetail("Element %d is %g.", i + 1, seconds[i])));
	}
	pfree(values);
	pfree(nulls);
	return seconds;
}

void
millrace_arguments_require_same_length(const char *first, int first_count,
									   const char *second, int second_count)
{
	if (first_count != second_count)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
				 errmsg("%s and %s must have the same number of elements", first, second),
				 errdetail("They have %d and %d.", first_count, second_count)));
}

Datum *
millrace_arguments_nullable(FunctionCallInfo fcinfo, int place, Oid type, int count, bool **nulls)
{
	int16		length;
	bool		by_value;
	char		alignment;
	int			found;
	Datum	   *values;

	if (PG_ARGISNULL(place))
	{
		*nulls = palloc(sizeof(bool) * Max(count, 1));
		memset(*nulls, true, count);
		return palloc0(sizeof(Datum) * Max(count, 1));
	}
	get_typlenbyvalalign(type, &length, &by_value, &alignment);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(place), type, length, by_value, alignment, &values, nulls, &found);
	millrace_arguments_require_same_length("the first array", count, "another one", found);
	return values;
}

static Datum
make_array(const void *values, int count, Oid type, int width)
{
	ArrayType  *array;
	Size		size = ARR_OVERHEAD_NONULLS(1) + (Size) count * width;

	if (count == 0)
		return PointerGetDatum(construct_empty_array(type));

	array = palloc0(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->elemtype = type;
	ARR_DIMS(array)[0] = count;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), values, (Size) count * width);
	return PointerGetDatum(array);
}

Datum
millrace_arguments_bigint_array(const int64 *values, int count)
{
	return make_array(values, count, INT8OID, sizeof(int64));
}

Datum
millrace_arguments_timestamptz_array(const TimestampTz *values, int count)
{
	return make_array(values, count, TIMESTAMPTZOID, sizeof(TimestampTz));
}

Datum
millrace_arguments_smallint_array(const int16 *values, int count)
{
	return make_array(values, count, INT2OID, sizeof(int16));
}

Datum
millrace_arguments_int_array(const int32 *values, int count)
{
	return make_array(values, count, INT4OID, sizeof(int32));
}

Datum
millrace_arguments_real_array(const float4 *values, int count)
{
	return make_array(values, count, FLOAT4OID, sizeof(float4));
}

Datum
millrace_arguments_bool_array(const bool *values, int count)
{
	return make_array(values, count, BOOLOID, sizeof(bool));
}
