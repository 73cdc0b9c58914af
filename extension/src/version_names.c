/*
 * version_names.c
 *		Names that belong to versions and tenants, remembered by each backend.
 *
 * A reader of events wants names beside the numbers, for every event. What is
 * asked for never changes once it is written: versions are immutable while they
 * are there, and tenants keep their names. So an entry goes only when the tables themselves do
 * (the extension is dropped), or all of them when they have become too many.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "millrace.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(millrace_version_workflow);
PG_FUNCTION_INFO_V1(millrace_version_number);
PG_FUNCTION_INFO_V1(millrace_version_key);
PG_FUNCTION_INFO_V1(millrace_tenant_name);

#define CACHE_BYTES (Size) (64 * 1024 * 1024)

typedef struct Version
{
	int32		version_id;		/* hash key */
	int32		number;
	text	   *workflow;
	int			key_count;
	Datum	   *keys;			/* by def_no, from 1 */
} Version;

typedef struct Tenant
{
	int32		tenant_id;		/* hash key */
	text	   *name;
} Tenant;

static MemoryContext context = NULL;
static HTAB *versions = NULL;
static HTAB *tenants = NULL;
static Oid	version_table = InvalidOid;

static void
forget(Datum argument, Oid relation)
{
	if (context && (relation == version_table || !OidIsValid(relation)))
	{
		MemoryContextDelete(context);
		context = NULL;
	}
}

static HTAB *
create_table(const char *name, Size entry_size)
{
	HASHCTL		settings = {.keysize = sizeof(int32), .entrysize = entry_size, .hcxt = context};

	return hash_create(name, 64, &settings, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
begin(void)
{
	static bool registered = false;

	if (!registered)
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
	registered = true;
	version_table = get_relname_relid("version", get_namespace_oid("millrace_internal", false));
	context = AllocSetContextCreate(CacheMemoryContext, "millrace names", ALLOCSET_DEFAULT_SIZES);
	versions = create_table("millrace versions", sizeof(Version));
	tenants = create_table("millrace tenants", sizeof(Tenant));
}

/* The cache, ready for another entry. */
static void
make_room(void)
{
	if (context && MemoryContextMemAllocated(context, true) > CACHE_BYTES)
	{
		MemoryContextDelete(context);
		context = NULL;
	}
	if (context == NULL)
		begin();
}

/* One row by one number, or false. The caller finishes SPI. */
static bool
read_row(SPIPlanPtr *plan, const char *statement, int32 id)
{
	Datum		argument = Int32GetDatum(id);

	SPI_connect();
	if (*plan == NULL)
	{
		Oid			types[] = {INT4OID};
		SPIPlanPtr	prepared = SPI_prepare(statement, lengthof(types), types);

		SPI_keepplan(prepared);
		*plan = prepared;
	}
	/* with the caller's snapshot: a version that a run has left since is still in it */
	if (SPI_execute_plan(*plan, &argument, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the names of %d", id);
	return SPI_processed == 1;
}

static Datum
column(int number)
{
	bool		is_null;

	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, &is_null);
}

/* Copies are made before the entry is, so that no entry is left half filled. */
static Version *
keep_version(int32 version_id)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	Version		version = {.version_id = version_id, .number = DatumGetInt32(column(2))};
	Version    *entry;
	ArrayType  *keys;

	version.workflow = DatumGetTextPCopy(column(1));
	keys = DatumGetArrayTypePCopy(column(3));
	deconstruct_array(keys, TEXTOID, -1, false, TYPALIGN_INT, &version.keys, NULL, &version.key_count);
	MemoryContextSwitchTo(caller);
	entry = hash_search(versions, &version_id, HASH_ENTER, NULL);
	*entry = version;
	return entry;
}

static const Version *
version_of(int32 version_id)
{
	static SPIPlanPtr plan = NULL;
	const Version *found = context ? hash_search(versions, &version_id, HASH_FIND, NULL) : NULL;

	if (found)
		return found;
	if (read_row(&plan,
				 "SELECT w.name, v.version,"
				 " ARRAY(SELECT d.key FROM millrace_internal.step_definition d"
				 "       WHERE d.version_id OPERATOR(pg_catalog.=) v.version_id"
				 "       AND d.def_no OPERATOR(pg_catalog.<=) " CppAsString2(MILLRACE_MAX_STEPS) " ORDER BY d.def_no)"
				 " FROM millrace_internal.version v"
				 " JOIN millrace_internal.workflow w ON w.workflow_id OPERATOR(pg_catalog.=) v.workflow_id"
				 " WHERE v.version_id OPERATOR(pg_catalog.=) $1", version_id))
	{
		make_room();
		found = keep_version(version_id);
	}
	SPI_finish();
	return found;
}

static const Tenant *
tenant_of(int32 tenant_id)
{
	static SPIPlanPtr plan = NULL;
	Tenant	   *found = context ? hash_search(tenants, &tenant_id, HASH_FIND, NULL) : NULL;

	if (found)
		return found;
	if (read_row(&plan,
				 "SELECT t.name FROM millrace_internal.tenant t WHERE t.tenant_id OPERATOR(pg_catalog.=) $1",
				 tenant_id))
	{
		MemoryContext caller;
		text	   *name;

		make_room();
		caller = MemoryContextSwitchTo(context);
		name = DatumGetTextPCopy(column(1));
		MemoryContextSwitchTo(caller);
		found = hash_search(tenants, &tenant_id, HASH_ENTER, NULL);
		found->name = name;
	}
	SPI_finish();
	return found;
}

/* The caller's own copy: the next call may clear the cache. */
static Datum
copy(const void *name)
{
	text	   *result = palloc(VARSIZE_ANY(name));

	memcpy(result, name, VARSIZE_ANY(name));
	return PointerGetDatum(result);
}

Datum
millrace_version_workflow(PG_FUNCTION_ARGS)
{
	const Version *version = version_of(PG_GETARG_INT32(0));

	if (version == NULL)
		PG_RETURN_NULL();
	return copy(version->workflow);
}

Datum
millrace_version_number(PG_FUNCTION_ARGS)
{
	const Version *version = version_of(PG_GETARG_INT32(0));

	if (version == NULL)
		PG_RETURN_NULL();
	PG_RETURN_INT32(version->number);
}

Datum
millrace_version_key(PG_FUNCTION_ARGS)
{
	const Version *version = version_of(PG_GETARG_INT32(0));
	int32		def_no = PG_GETARG_INT32(1);

	if (version != NULL && def_no > MILLRACE_MAX_STEPS && def_no - MILLRACE_MAX_STEPS <= version->key_count)
	{
		/* the compensation of a step (logic/compensation_definition.sql) */
		const char *of = TextDatumGetCString(PointerGetDatum(version->keys[def_no - MILLRACE_MAX_STEPS - 1]));

		PG_RETURN_TEXT_P(cstring_to_text(psprintf("compensate:%s", of)));
	}
	if (version == NULL || def_no < 1 || def_no > version->key_count)
		PG_RETURN_NULL();
	return copy(DatumGetPointer(version->keys[def_no - 1]));
}

Datum
millrace_tenant_name(PG_FUNCTION_ARGS)
{
	const Tenant *tenant = tenant_of(PG_GETARG_INT32(0));

	if (tenant == NULL)
		PG_RETURN_NULL();
	return copy(tenant->name);
}
