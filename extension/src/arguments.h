/*
 * arguments.h
 *		Arrays from and to SQL as plain C arrays.
 */
#ifndef MILLRACE_ARGUMENTS_H
#define MILLRACE_ARGUMENTS_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/array.h"

/*
 * The elements of an array argument, in place. `name` is what the argument is
 * called in messages. One dimension and no nulls, or an error.
 */
extern const int32 *millrace_arguments_ints(ArrayType *array, const char *name, int *count);
extern const int16 *millrace_arguments_smallints(ArrayType *array, const char *name, int *count);
extern const bool *millrace_arguments_bools(ArrayType *array, const char *name, int *count);
extern const int64 *millrace_arguments_bigints(ArrayType *array, const char *name, int *count);

/* Also without infinities and NaN. */
extern const float4 *millrace_arguments_reals(ArrayType *array, const char *name, int *count);

/*
 * The elements of an array of seconds, copied. A null element becomes the
 * element of `defaults` at its place, or 1 without defaults.
 */
extern float4 *millrace_arguments_seconds(ArrayType *array, const char *name, int expected_count,
										  const float4 *defaults);

/* Both arrays describe the same things, one element each. */
extern void millrace_arguments_require_same_length(const char *first, int first_count,
												   const char *second, int second_count);

/*
 * The elements of an array in which nulls, and a null array itself, are
 * allowed: *nulls tells them. Every array of a call has `count` elements.
 */
extern Datum *millrace_arguments_nullable(FunctionCallInfo fcinfo, int place, Oid type, int count, bool **nulls);

/* SQL arrays made of plain C arrays. */
extern Datum millrace_arguments_smallint_array(const int16 *values, int count);
extern Datum millrace_arguments_int_array(const int32 *values, int count);
extern Datum millrace_arguments_bigint_array(const int64 *values, int count);
extern Datum millrace_arguments_timestamptz_array(const TimestampTz *values, int count);
extern Datum millrace_arguments_real_array(const float4 *values, int count);
extern Datum millrace_arguments_bool_array(const bool *values, int count);

#endif							/* MILLRACE_ARGUMENTS_H */
