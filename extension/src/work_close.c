/*
 * work_close.c
 *		The end of runs: closing steps are counted down, without failures among them.
 */
#include "postgres.h"

#include "work.h"

static void
close_run(Call *call, const Ended *ended)
{
	Leaf	   *leaf = millrace_table_leaf_for(&call->run, ended->run_id);
	RowOutcome	outcome;
	int32		left;
	int16		state = RUN_RUNNING;
	TimestampTz at = 0;

	if (!millrace_leaf_find_run(leaf, ended->run_id, call->shard))
		return;
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

	if (outcome == ROW_WRITTEN && left <= 0)
		millrace_call_tell(call, state == RUN_COMPLETED ? EVENT_RUN_COMPLETED : EVENT_RUN_FAILED,
						   ended->run_id, 0, 0, 0, at);
}

/* Runs ascending, each once. */
void
millrace_close_runs(Call *call, const Ended *ended, int count)
{
	for (int i = 0; i < count; i++)
		close_run(call, &ended[i]);
}
