/*
 * artifact.c
 *		The checksum of an artifact, part by part.
 *
 * SQL can hash a value, but not a sequence of them, and an artifact may be
 * larger than what a value, or a backend's memory, can hold.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(millrace_artifact_digest);

static void
add(pg_cryptohash_ctx *hash, Datum part)
{
	bytea	   *bytes = DatumGetByteaPP(part);

	if (pg_cryptohash_update(hash, (const uint8 *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a SHA-256: %s", pg_cryptohash_error(hash))));
	if (bytes != (bytea *) DatumGetPointer(part))
		pfree(bytes);
}

/* Returns how many parts there were, without a gap from the first on. */
static int32
add_stored(pg_cryptohash_ctx *hash, Datum run_id, Datum step_no, Datum artifact_no, int32 parts)
{
	Oid			types[] = {INT8OID, INT4OID, INT4OID, INT4OID};
	Datum		values[] = {run_id, step_no, artifact_no, Int32GetDatum(parts)};
	int32		count = 0;
	Portal		portal;

	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL,
									   "SELECT p.part_no, p.part FROM millrace_internal.artifact_part p"
									   " WHERE p.run_id = $1 AND p.step_no = $2 AND p.artifact_no = $3 AND p.part_no <= $4"
									   " AND p.shard = ($1 & 255) ORDER BY p.part_no",
									   4, types, values, NULL, true, CURSOR_OPT_NO_SCROLL);
	for (;;)
	{
		bool		is_null;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, 1);
		if (SPI_processed == 0 ||
			DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null)) != count + 1)
			break;
		add(hash, SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &is_null));
		SPI_freetuptable(SPI_tuptable);
		count++;
	}
	SPI_cursor_close(portal);
	SPI_finish();
	return count;
}

/* artifact_digest(run_id, step_no, artifact_no, parts, last): null where one of the parts is missing. */
Datum
millrace_artifact_digest(PG_FUNCTION_ARGS)
{
	int32		parts = PG_GETARG_INT32(3);
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	bytea	   *digest = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);

	if (hash == NULL || pg_cryptohash_init(hash) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not begin a SHA-256")));
	/* an error from here on leaves the state to the resource owner, or to the memory context */
	if (add_stored(hash, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2), parts) < parts)
	{
		pg_cryptohash_free(hash);
		PG_RETURN_NULL();
	}
	add(hash, PG_GETARG_DATUM(4));
	SET_VARSIZE(digest, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	if (pg_cryptohash_final(hash, (uint8 *) VARDATA(digest), PG_SHA256_DIGEST_LENGTH) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a SHA-256: %s", pg_cryptohash_error(hash))));
	pg_cryptohash_free(hash);
	PG_RETURN_BYTEA_P(digest);
}
