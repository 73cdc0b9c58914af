/*
 * nearest.c
 *		The word that a misspelt one most likely meant, for hints.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(millrace_nearest);

/* Distances take time in the product of both lengths, and keys are short. */
#define LONGEST_WORD 255

Datum
millrace_nearest(PG_FUNCTION_ARGS)
{
	text	   *word = PG_GETARG_TEXT_PP(0);
	const char *bytes = VARDATA_ANY(word);
	int			size = VARSIZE_ANY_EXHDR(word);
	int			length = pg_mbstrlen_with_len(bytes, size);
	int			bound = Min((length + 2) / 3, length - 1);
	Datum	   *candidates;
	bool	   *nulls;
	int			count;
	int			nearest = -1;

	if (length == 0 || size > LONGEST_WORD)
		PG_RETURN_NULL();

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &candidates, &nulls, &count);
	for (int i = 0; i < count && bound >= 0; i++)
	{
		text	   *candidate;
		int			distance;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			continue;
		candidate = DatumGetTextPP(candidates[i]);
		if (VARSIZE_ANY_EXHDR(candidate) > LONGEST_WORD)
			continue;

		distance = varstr_levenshtein_less_equal(bytes, size, VARDATA_ANY(candidate), VARSIZE_ANY_EXHDR(candidate),
												 1, 1, 1, bound, true);
		if (distance <= bound)
		{
			nearest = i;
			bound = distance - 1;
		}
	}

	if (nearest < 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(candidates[nearest]);
}
