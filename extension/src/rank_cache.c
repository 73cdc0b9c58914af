/*
 * rank_cache.c
 *		Ranks from measured durations, as this backend knows them.
 *
 * Every step that becomes ready asks for its rank, and the ranks of a version
 * are one array, which may be large: it is read once and kept, and so is the
 * answer that there is none. The keeper, which alone writes the table, sends
 * a relcache invalidation of it with its commit; everything kept is dropped
 * then. That happens at most about once a second.
 */
#include "postgres.h"

#include "arguments.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "rank_cache.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Past it, all is dropped: most are versions that this backend will not meet again. */
#define CACHE_BYTES (Size) (16 * 1024 * 1024)

PG_FUNCTION_INFO_V1(millrace_rank_of);
PG_FUNCTION_INFO_V1(millrace_ranks_changed);

typedef struct CachedRanks
{
	int32		version_id;		/* hash key */
	int			count;
	float4	   *ranks;			/* null: none have been measured */
} CachedRanks;

static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static Size cached_bytes = 0;
static Oid	cached_relation = InvalidOid;
static uint64 invalidations = 0;	/* how many there have been */
static uint64 cached_invalidation = 0;	/* how many there had been when the cache was made */

static Oid
rank_relation(void)
{
	return get_relname_relid("rank", get_namespace_oid("millrace_internal", false));
}

static void
note_invalidation(Datum argument, Oid relation)
{
	if (relation == InvalidOid || relation == cached_relation)
		invalidations++;
}

static void
reset_cache(void)
{
	HASHCTL		control = {.keysize = sizeof(int32), .entrysize = sizeof(CachedRanks)};

	if (cache_context == NULL)
	{
		cache_context = AllocSetContextCreate(CacheMemoryContext, "millrace rank cache", ALLOCSET_DEFAULT_SIZES);
		CacheRegisterRelcacheCallback(note_invalidation, (Datum) 0);
	}
	cache = NULL;
	MemoryContextReset(cache_context);
	cached_bytes = 0;
	cached_invalidation = invalidations;
	cached_relation = rank_relation();
	control.hcxt = cache_context;
	cache = hash_create("millrace rank cache", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Copies the array into `context`; null without a row. */
static float4 *
read_ranks(int32 version_id, MemoryContext context, int *count)
{
	static SPIPlanPtr plan = NULL;
	Datum		arguments[] = {Int32GetDatum(version_id)};
	float4	   *ranks = NULL;

	*count = 0;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (plan == NULL)
	{
		Oid			types[] = {INT4OID};
		SPIPlanPtr	prepared = SPI_prepare("SELECT ranks FROM millrace_internal.rank WHERE version_id = $1", 1, types);

		if (prepared == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		SPI_keepplan(prepared);
		plan = prepared;
	}
	/* the latest: the caller's snapshot may be older than the last invalidation, and what is read is kept */
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_plan(plan, arguments, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "the ranks of version %d cannot be read", version_id);
	PopActiveSnapshot();
	if (SPI_processed == 1)
	{
		bool		is_null;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
		const float4 *stored = millrace_arguments_reals(DatumGetArrayTypeP(value), "ranks", count);

		ranks = MemoryContextAlloc(context, sizeof(float4) * Max(*count, 1));
		memcpy(ranks, stored, sizeof(float4) * *count);
	}
	SPI_finish();
	return ranks;
}

const float4 *
millrace_ranks_of(int32 version_id, int *count)
{
	CachedRanks *entry;

	if (cache == NULL || cached_invalidation != invalidations || cached_bytes > CACHE_BYTES)
		reset_cache();

	entry = hash_search(cache, &version_id, HASH_FIND, NULL);
	if (entry == NULL)
	{
		/* what is invalidated while it is read is dropped by the next call */
		int			length;
		float4	   *ranks = read_ranks(version_id, cache_context, &length);

		entry = hash_search(cache, &version_id, HASH_ENTER, NULL);
		entry->ranks = ranks;
		entry->count = length;
		cached_bytes += sizeof(CachedRanks) + sizeof(float4) * length;
	}
	*count = entry->count;
	return entry->ranks;
}

float4
millrace_rank(int32 version_id, int32 def_no, float4 defined)
{
	int			count;
	const float4 *ranks = millrace_ranks_of(version_id, &count);

	return def_no >= 1 && def_no <= count ? ranks[def_no - 1] : defined;
}

Datum
millrace_rank_of(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT4(millrace_rank(PG_GETARG_INT32(0), PG_GETARG_INT32(1), PG_GETARG_FLOAT4(2)));
}

Datum
millrace_ranks_changed(PG_FUNCTION_ARGS)
{
	CacheInvalidateRelcacheByRelid(rank_relation());
	PG_RETURN_VOID();
}
