/*
 * definition_cache.c
 *		Step definitions that this backend has read.
 *
 * A version is immutable, so what was read stays true, unless the extension
 * itself is dropped and created anew; that is told by a relcache invalidation.
 * A miss reads a block of neighbours, for steps are numbered in the order in
 * which they will be asked for.
 */
#include "postgres.h"

#include "definition_cache.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define CACHE_BYTES ((Size) 64 * 1024 * 1024)
#define BLOCK_STEPS 64

static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static bool outdated = false;
static Oid	watched = InvalidOid;
static SPIPlanPtr read_block = NULL;

static void
note_invalidation(Datum argument, Oid relation)
{
	if (relation == watched || !OidIsValid(relation))
		outdated = true;
}

void
millrace_definitions_begin(void)
{
	HASHCTL		control = {.keysize = 2 * sizeof(int32), .entrysize = sizeof(StepDefinition)};
	Oid			relation = get_relname_relid("step_definition", get_namespace_oid("millrace_internal", false));

	if (cache_context == NULL)
		CacheRegisterRelcacheCallback(note_invalidation, (Datum) 0);
	else if (outdated || relation != watched || MemoryContextMemAllocated(cache_context, true) > CACHE_BYTES)
	{
		MemoryContextDelete(cache_context);
		cache_context = NULL;
	}
	else
		return;

	cache_context = AllocSetContextCreate(CacheMemoryContext, "millrace step definitions", ALLOCSET_DEFAULT_SIZES);
	control.hcxt = cache_context;
	cache = hash_create("millrace step definitions", 1024, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	watched = relation;
	outdated = false;
}

static int32 *
copy_ints(Datum array, int *count)
{
	ArrayType  *ints = DatumGetArrayTypeP(array);
	int32	   *copy;

	*count = ArrayGetNItems(ARR_NDIM(ints), ARR_DIMS(ints));
	copy = MemoryContextAlloc(cache_context, sizeof(int32) * Max(*count, 1));
	memcpy(copy, ARR_DATA_PTR(ints), sizeof(int32) * *count);
	return copy;
}

static Datum
copy_varlena(Datum value)
{
	MemoryContext caller = MemoryContextSwitchTo(cache_context);
	Datum		copy = datumCopy(PointerGetDatum(PG_DETOAST_DATUM(value)), false, -1);

	MemoryContextSwitchTo(caller);
	return copy;
}

static void
keep(int32 version_id, HeapTuple row, TupleDesc columns)
{
	Datum		values[23];
	bool		nulls[23];
	int32		key[2] = {version_id};
	StepDefinition *definition;
	bool		known;

	heap_deform_tuple(row, columns, values, nulls);
	key[1] = DatumGetInt32(values[0]);
	definition = hash_search(cache, key, HASH_ENTER, &known);
	if (known)
		return;

	definition->handler_id = DatumGetInt32(values[1]);
	definition->queue_id = DatumGetInt32(values[2]);
	definition->needs_count = DatumGetInt32(values[3]);
	definition->rank = DatumGetFloat4(values[4]);
	definition->rule = DatumGetInt16(values[5]);
	definition->priority = DatumGetInt16(values[6]);
	definition->closing = DatumGetBool(values[7]);
	definition->takes_input = DatumGetBool(values[8]);
	definition->has_timeout = !nulls[9];
	definition->timeout = nulls[9] ? 0 : DatumGetFloat8(values[9]);
	definition->has_delay = !nulls[10];
	definition->delay = nulls[10] ? 0 : DatumGetFloat8(values[10]);
	definition->key = copy_varlena(values[11]);
	definition->workflow = copy_varlena(values[12]);
	definition->handler = copy_varlena(values[13]);
	definition->dependents = NULL;
	definition->dependent_count = 0;
	if (!nulls[14])
		definition->dependents = copy_ints(values[14], &definition->dependent_count);
	definition->declared = NULL;
	definition->declared_count = 0;
	if (!nulls[16])
		definition->declared = copy_ints(values[16], &definition->declared_count);
	definition->has_template = DatumGetBool(values[17]);
	definition->looked_at = DatumGetBool(values[18]);
	definition->fills = DatumGetBool(values[19]);
	definition->phased = DatumGetBool(values[20]);
	definition->wants_output = DatumGetBool(values[21]);
	definition->batched = DatumGetBool(values[22]);
	definition->settings = (Datum) 0;
	definition->settings_bytes = 0;
	if (!nulls[15])
	{
		Jsonb	   *settings;

		definition->settings = copy_varlena(values[15]);
		settings = DatumGetJsonbP(definition->settings);
		definition->settings_bytes = strlen(JsonbToCString(NULL, &settings->root, VARSIZE(settings)));
	}
}

static void
load_block(int32 version_id, int32 def_no)
{
	Oid			types[] = {INT4OID, INT4OID};
	int32		first = (def_no - 1) / BLOCK_STEPS * BLOCK_STEPS + 1;
	Datum		values[] = {Int32GetDatum(version_id), Int32GetDatum(first)};

	SPI_connect();
	if (read_block == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(
			"SELECT d.def_no, d.handler_id, d.queue_id, d.needs_count, "
			"d.rank, d.rule, d.priority, d.closing, "
			"d.takes_input, d.timeout, d.delay, d.key, d.workflow, d.handler, d.dependents, d.settings, d.needs, d.input IS NOT NULL OR d.finally, "
			"millrace_internal.is_looked_at(d.traits), "
			"d.fills, "
			"(SELECT v.phased FROM millrace_internal.version v WHERE v.version_id = $1), "
			"d.traits OPERATOR(pg_catalog.?) 'output_shape' IS TRUE "
			"AND millrace_internal.shape_problem(d.traits OPERATOR(pg_catalog.->) 'output_shape', NULL) IS NOT NULL, coalesce(d.traits OPERATOR(pg_catalog.?) 'batch', false) "
			"FROM millrace_internal.step_definition d "
			"WHERE d.version_id = $1 AND d.def_no BETWEEN $2 AND $2 + 63", lengthof(types), types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "step definitions cannot be read: %s", SPI_result_code_string(SPI_result));
		read_block = plan;
	}
	/*
	 * The latest: the version may be younger than the caller's snapshot, where the caller has waited for a row of a run
	 * that has grown meanwhile. And without ending the caller's command.
	 */
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_plan(read_block, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "step definitions cannot be read");
	PopActiveSnapshot();
	for (uint64 i = 0; i < SPI_processed; i++)
		keep(version_id, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	SPI_finish();
}

const StepDefinition *
millrace_definition(int32 version_id, int32 def_no)
{
	int32		key[2] = {version_id, def_no};
	StepDefinition *definition = hash_search(cache, key, HASH_FIND, NULL);

	if (definition == NULL)
	{
		load_block(version_id, def_no);
		definition = hash_search(cache, key, HASH_FIND, NULL);
		if (definition == NULL)
			elog(ERROR, "version %d has no step definition %d", version_id, def_no);
	}
	return definition;
}
