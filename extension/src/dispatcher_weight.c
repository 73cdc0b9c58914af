/*
 * dispatcher_weight.c
 *		Tenants' weights, remembered by each backend.
 *
 * They change when somebody says so (millrace.set_tenant_weight), and are
 * needed for every step. Whoever changes one invalidates the table tenant, and
 * with its commit all that backends remember of it.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "dispatcher.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(millrace_dispatcher_weights_changed);

typedef struct TenantWeight
{
	int32		tenant_id;
	float4		weight;
} TenantWeight;

static HTAB *known = NULL;
static Oid	tenant_table = InvalidOid;

static void
forget(Datum argument, Oid relation)
{
	if (known && (relation == tenant_table || !OidIsValid(relation)))
	{
		hash_destroy(known);
		known = NULL;
	}
}

/* Remembered from here on; what is invalidated meanwhile is read again. */
static void
begin(void)
{
	static bool registered = false;
	HASHCTL		settings = {
		.keysize = sizeof(int32),
		.entrysize = sizeof(TenantWeight),
		.hcxt = TopMemoryContext,
	};

	if (!registered)
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
	registered = true;
	tenant_table = get_relname_relid("tenant", get_namespace_oid("millrace_internal", false));
	known = hash_create("millrace tenant weights", 64, &settings, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* A tenant that is not there has no steps; whatever its weight, nobody is treated unfairly. */
static float4
read_weight(int32 tenant_id)
{
	static SPIPlanPtr plan = NULL;
	Datum		argument = Int32GetDatum(tenant_id);
	float4		weight = 1;
	bool		is_null;

	SPI_connect();
	if (plan == NULL)
	{
		Oid			types[] = {INT4OID};
		SPIPlanPtr	prepared = SPI_prepare("SELECT t.weight FROM millrace_internal.tenant t "
										   "WHERE t.tenant_id OPERATOR(pg_catalog.=) $1",
										   lengthof(types), types);

		SPI_keepplan(prepared);
		plan = prepared;
	}
	if (SPI_execute_plan(plan, &argument, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the weight of tenant %d", tenant_id);
	if (SPI_processed == 1)
		weight = DatumGetFloat4(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	SPI_finish();
	return weight;
}

float4
millrace_dispatcher_tenant_weight(int32 tenant_id)
{
	TenantWeight *entry = known ? hash_search(known, &tenant_id, HASH_FIND, NULL) : NULL;
	float4		weight;

	if (entry)
		return entry->weight;
	if (known == NULL)
		begin();
	weight = read_weight(tenant_id);
	if (known)
	{
		entry = hash_search(known, &tenant_id, HASH_ENTER, NULL);
		entry->weight = weight;
	}
	return weight;
}

Datum
millrace_dispatcher_weights_changed(PG_FUNCTION_ARGS)
{
	CacheInvalidateRelcacheByRelid(get_relname_relid("tenant", get_namespace_oid("millrace_internal", false)));
	PG_RETURN_VOID();
}
