/*
 * work_call.c
 *		The frame of a call: tables, events, clock, and what it sees.
 */
#include "postgres.h"

#include "work.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

void
millrace_call_begin(Call *call, int16 shard, bool frozen, TimestampTz frozen_at)
{
	PreventCommandIfReadOnly("a change of runs or steps");
	PreventCommandIfParallelMode("a change of runs or steps");
	millrace_definitions_begin();

	memset(call, 0, sizeof(Call));
	call->shard = shard;
	call->frozen = frozen;
	call->frozen_at = frozen_at;
	call->estate = CreateExecutorState();
	millrace_table_open(&call->step, &StepTable, call->estate);
	millrace_table_open(&call->run, &RunTable, call->estate);
	millrace_event_log_open(&call->events, shard, call->estate);
	millrace_call_look(call);
}

/* From here on the call sees what it has done itself, and what others have committed. */
void
millrace_call_look(Call *call)
{
	if (call->looking)
		PopActiveSnapshot();
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	call->looking = true;
}

void
millrace_call_end(Call *call)
{
	millrace_event_log_close(&call->events);
	millrace_table_close(&call->step);
	millrace_table_close(&call->run);
	PopActiveSnapshot();
	FreeExecutorState(call->estate);
	/* what the caller's next statement does sees it all */
	CommandCounterIncrement();
}

TimestampTz
millrace_call_now(const Call *call)
{
	return call->frozen ? call->frozen_at : GetCurrentTimestamp();
}

void
millrace_call_tell(Call *call, enum EventKind kind, int64 run_id, int32 step_no, int32 agent_id, int32 attempt,
				   TimestampTz at)
{
	Event		event = {
		.kind = kind, .run_id = run_id, .step_no = step_no, .agent_id = agent_id, .attempt = attempt, .at = at
	};

	millrace_event_log_append(&call->events, &event);
}
