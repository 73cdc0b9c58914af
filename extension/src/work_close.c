/*
 * work_close.c
 *		The end of runs: closing steps are counted down, without failures among them.
 */
#include "postgres.h"

#include "work.h"

#include "arguments.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"

/* Answers whether somebody waits for the end of the run, and it has ended. */
static bool
close_run(Call *call, const Ended *ended)
{
	Leaf	   *leaf = millrace_table_leaf_for(&call->run, ended->run_id);
	RowOutcome	outcome;
	int32		left;
	int16		state = RUN_RUNNING;
	TimestampTz at = 0;

	if (!millrace_leaf_find_run(leaf, ended->run_id, call->shard))
		return false;
	do
	{
		left = found_int32(leaf, RUN_CLOSING_LEFT) - ended->closing;
		millrace_leaf_copy(leaf);
		row_set(leaf, RUN_CLOSING_LEFT, Int32GetDatum(left));
		if (left <= 0)
		{
			at = millrace_call_now(call);
			state = found_int32(leaf, RUN_STEPS_FAILED) > 0 ? RUN_FAILED : RUN_COMPLETED;
			row_set(leaf, RUN_STATE, Int16GetDatum(state));
			row_set(leaf, RUN_FINISHED_AT, TimestampTzGetDatum(at));
		}
		outcome = millrace_leaf_update(leaf, true);
	} while (outcome == ROW_CHANGED);
	if (outcome != ROW_WRITTEN || left > 0)
		return false;

	millrace_call_tell(call, state == RUN_COMPLETED ? EVENT_RUN_COMPLETED : EVENT_RUN_FAILED,
					   ended->run_id, 0, 0, 0, at);
	return !found_is_null(leaf, RUN_AWAITED);
}

static void
ring(int16 shard, const int64 *run_ids, int count)
{
	Oid			types[] = {INT2OID, INT8ARRAYOID};
	Datum		arguments[] = {Int16GetDatum(shard), millrace_arguments_bigint_array(run_ids, count)};

	if (SPI_connect() != SPI_OK_CONNECT
		|| SPI_execute_with_args("SELECT millrace_internal.runs_ring($1, $2)", 2, types, arguments, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "the ends of runs cannot be told to those who wait for them");
	SPI_finish();
}

/* Runs ascending, each once. */
void
millrace_close_runs(Call *call, const Ended *ended, int count)
{
	int64	   *awaited = NULL;
	int			awaited_count = 0;

	for (int i = 0; i < count; i++)
	{
		if (!close_run(call, &ended[i]))
			continue;
		if (awaited == NULL)
			awaited = palloc(sizeof(int64) * count);
		awaited[awaited_count++] = ended[i].run_id;
	}
	if (awaited_count > 0)
		ring(call->shard, awaited, awaited_count);
}
