/*
 * condition_memory.c
 *		What a session remembers of conditions in SQL: answers for as long as the
 *		definition allows, and what each condition costs and how often it is false.
 *
 * Nothing of it is shared: a session asks by itself, and learns by itself, so
 * that no row and no lock is fought for. It forgets all when it has too much.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/array.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(millrace_condition_recall);
PG_FUNCTION_INFO_V1(millrace_condition_remember);
PG_FUNCTION_INFO_V1(millrace_condition_learn);
PG_FUNCTION_INFO_V1(millrace_condition_order);

#define MAX_REMEMBERED 4096
#define KEY_BYTES 32

typedef struct Answer
{
	char		key[KEY_BYTES];	/* hash key: of the statement, who asks, its argument */
	bool		answer;
	TimestampTz until;
} Answer;

typedef struct Experience
{
	/* hash key */
	int32		version_id;
	int32		def_no;
	int32		place;

	float8		asked;
	float8		denied;
	float8		seconds;
} Experience;

static HTAB *answers;
static HTAB *experiences;

/* A table, made anew where it is missing or full. */
static void
make_room(HTAB **table, const char *name, Size key_size, Size entry_size)
{
	HASHCTL		control = {.keysize = key_size, .entrysize = entry_size, .hcxt = TopMemoryContext};

	if (*table != NULL && hash_get_num_entries(*table) >= MAX_REMEMBERED)
	{
		hash_destroy(*table);
		*table = NULL;
	}
	if (*table == NULL)
		*table = hash_create(name, 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static const char *
key_argument(FunctionCallInfo fcinfo)
{
	bytea	   *key = PG_GETARG_BYTEA_PP(0);

	if (VARSIZE_ANY_EXHDR(key) != KEY_BYTES)
		elog(ERROR, "the key of an answer has %d bytes", (int) VARSIZE_ANY_EXHDR(key));
	return VARDATA_ANY(key);
}

/* condition_recall(key, now_at): the answer, while it holds */
Datum
millrace_condition_recall(PG_FUNCTION_ARGS)
{
	const Answer *known = answers == NULL ? NULL : hash_search(answers, key_argument(fcinfo), HASH_FIND, NULL);

	if (known == NULL || known->until <= PG_GETARG_TIMESTAMPTZ(1))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(known->answer);
}

/* condition_remember(key, answer, until) */
Datum
millrace_condition_remember(PG_FUNCTION_ARGS)
{
	Answer	   *known;

	make_room(&answers, "millrace answers of conditions", KEY_BYTES, sizeof(Answer));
	known = hash_search(answers, key_argument(fcinfo), HASH_ENTER, NULL);
	known->answer = PG_GETARG_BOOL(1);
	known->until = PG_GETARG_TIMESTAMPTZ(2);
	PG_RETURN_VOID();
}

/* condition_learn(version_id, def_no, place, seconds, answer): the last hundred or so count */
Datum
millrace_condition_learn(PG_FUNCTION_ARGS)
{
	int32		key[] = {PG_GETARG_INT32(0), PG_GETARG_INT32(1), PG_GETARG_INT32(2)};
	Experience *known;
	bool		found;

	make_room(&experiences, "millrace experience with conditions", sizeof(key), sizeof(Experience));
	known = hash_search(experiences, key, HASH_ENTER, &found);
	if (!found)
		known->asked = known->denied = known->seconds = 0;
	if (known->asked >= 100)
	{
		known->asked /= 2;
		known->denied /= 2;
		known->seconds /= 2;
	}
	known->asked++;
	known->denied += PG_GETARG_BOOL(4) ? 0 : 1;
	known->seconds += Max(PG_GETARG_FLOAT8(3), 0);
	PG_RETURN_VOID();
}

/* What it costs on average until a condition is false, if there were only it; 0 for one that was never asked. */
static float8
cost_until_denied(int32 version_id, int32 def_no, int32 place)
{
	int32		key[] = {version_id, def_no, place};
	const Experience *known = experiences == NULL ? NULL : hash_search(experiences, key, HASH_FIND, NULL);

	if (known == NULL)
		return 0;
	return (known->seconds / known->asked) / ((known->denied + 1) / (known->asked + 2));
}

/* condition_order(version_id, def_no, places): the order that finds the first false one at the least expected cost */
Datum
millrace_condition_order(PG_FUNCTION_ARGS)
{
	ArrayType  *places = PG_GETARG_ARRAYTYPE_P_COPY(2);
	int			count = ArrayGetNItems(ARR_NDIM(places), ARR_DIMS(places));
	int32	   *place = (int32 *) ARR_DATA_PTR(places);
	float8	   *cost = palloc(sizeof(float8) * Max(count, 1));

	for (int i = 0; i < count; i++)
	{
		int32		moving = place[i];
		float8		its_cost = cost_until_denied(PG_GETARG_INT32(0), PG_GETARG_INT32(1), moving);
		int			j = i;

		for (; j > 0 && cost[j - 1] > its_cost; j--)
		{
			cost[j] = cost[j - 1];
			place[j] = place[j - 1];
		}
		cost[j] = its_cost;
		place[j] = moving;
	}
	PG_RETURN_ARRAYTYPE_P(places);
}
