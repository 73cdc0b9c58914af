-- Purpose: what agents do to steps once per step, in C (extension/src/work_*.c): row by row through the table and index
-- access methods, because planned statements cost several times as much. The contract of each stands here. What does not
-- happen all the time (failures, retries, skips, pauses, delays) is decided by the SQL in finish.sql and settle.sql.

-- New runs of one version: run rows, first steps, an event each.
-- Arguments: roots: the steps without needs; due_at: before which nothing may start, null: at once
-- Returns:   ready_*    first steps that are ready, for the sink
--            waiting_*  those that wait for a time: timers and events are for the caller
-- Tables changed: run, step, event.
CREATE OR REPLACE FUNCTION millrace_internal.work_submit(
    in_shard smallint, in_version_id integer, run_ids bigint[], in_tenant_id integer, in_priority smallint, in_closing integer, roots integer[],
    created_at timestamptz, due_at timestamptz, not_before timestamptz, deadline timestamptz,
    parent_run_id bigint, parent_step_no integer, labels jsonb, trace text,
    OUT ready_runs bigint[], OUT ready_steps integer[], OUT ready_queues integer[], OUT ready_handlers integer[],
    OUT ready_priorities smallint[], OUT ready_tenants integer[], OUT ready_ranks real[],
    OUT waiting_runs bigint[], OUT waiting_steps integer[], OUT waiting_due timestamptz[])
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'millrace_work_submit';
COMMENT ON FUNCTION millrace_internal.work_submit(smallint, integer, bigint[], integer, smallint, integer, integer[], timestamptz, timestamptz, timestamptz, timestamptz, bigint, integer, jsonb, text) IS
'Writes new runs and their first steps.';

-- A report of nothing but completions: own rows, dependents counted down and handed over, ends of runs.
-- Arguments: as millrace_internal.decide; frozen: the stopped clock of a test, else null
-- Returns:   applied         places of what was applied
--            left_*          hits that SQL must settle: their run is paused, they were decided before, they wait, they are no dependents, …;
--                            then ended_* (closing steps by run) are for the caller to close, too
--            settled_*       receipts and how many of their steps were settled
--            started_*       what was handed over
--            ready_*         what became ready besides, for the sink
-- Locks: own rows, dependents, run rows, each ascending. Tables changed: step, event, run.
CREATE OR REPLACE FUNCTION millrace_internal.work_complete(
    in_shard smallint, in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], elapsed double precision[],
    in_receipt_no bigint, in_queues integer[], in_handlers integer[], rooms integer[], max_start integer, frozen timestamptz,
    OUT applied integer[], OUT left_runs bigint[], OUT left_nos integer[], OUT left_kinds smallint[], OUT left_n integer[],
    OUT ended_runs bigint[], OUT ended_closing integer[], OUT settled_receipts bigint[], OUT settled_n integer[],
    OUT started_runs bigint[], OUT started_steps integer[], OUT started_tokens integer[], OUT started_attempts integer[],
    OUT started_versions integer[], OUT started_traces text[],
    OUT ready_runs bigint[], OUT ready_steps integer[], OUT ready_queues integer[], OUT ready_handlers integer[],
    OUT ready_priorities smallint[], OUT ready_tenants integer[], OUT ready_ranks real[])
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'millrace_work_complete';
COMMENT ON FUNCTION millrace_internal.work_complete(smallint, integer, bigint[], integer[], integer[], double precision[], bigint, integer[], integer[], integer[], integer, timestamptz) IS
'Completes running steps, where token and agent are still theirs, and decides what follows.';

-- Candidates of the sink that are ready still are handed to an agent: ready to running, attempt and token grow.
-- Returns:   what was started, in the order of the candidates; held_*: what another call holds, for the sink to have back
-- Locks: step rows, those that are held are passed over. Tables changed: step, event.
CREATE OR REPLACE FUNCTION millrace_internal.work_start(
    in_shard smallint, in_agent_id integer, in_receipt_no bigint, run_ids bigint[], step_nos integer[], frozen timestamptz,
    OUT started_runs bigint[], OUT started_steps integer[], OUT tokens integer[], OUT attempts integer[],
    OUT versions integer[], OUT traces text[], OUT held_runs bigint[], OUT held_steps integer[])
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'millrace_work_start';
COMMENT ON FUNCTION millrace_internal.work_start(smallint, integer, bigint, bigint[], integer[], timestamptz) IS 'Hands ready steps to an agent.';

-- A claim as agents make it all the time: candidates of the dispatcher are started, and their receipt is written.
-- Returns:   looked   an empty answer means that nothing is claimable; false, with nothing done: SQL must look, or judge the call
--            plainly  work_rows can answer, and the receipt is written
--            inputs   with plainly, where steps take one
--            the rest as work_start; null: nothing
-- Locks and tables changed: as work_start; receipt.
CREATE OR REPLACE FUNCTION millrace_internal.work_claim(
    in_shard smallint, in_agent_id integer, max_steps integer, capacity jsonb, max_bytes integer,
    OUT receipt_no bigint, OUT looked boolean, OUT plainly boolean,
    OUT run_ids bigint[], OUT step_nos integer[], OUT tokens integer[], OUT attempts integer[], OUT versions integer[], OUT traces text[],
    OUT inputs jsonb[])
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'millrace_work_claim';
COMMENT ON FUNCTION millrace_internal.work_claim(smallint, integer, integer, jsonb, integer) IS 'A claim on the dispatcher tier, as far as it needs no SQL.';

-- A report of completions without outputs, and the claim that comes with it.
-- Returns:   receipt_no null: nothing has been done, SQL must judge the call
--            looked, plainly, run_ids … inputs  as work_claim, handed over or claimed
--            applied  places of what was applied
--            left_*, ended_*, settled_*  as work_complete; with left_*, SQL decides these, settles the receipts, and looks
-- Locks and tables changed: as work_complete, then receipts, ascending, then as work_claim.
CREATE OR REPLACE FUNCTION millrace_internal.work_report(
    in_shard smallint, in_agent_id integer, in_run_ids bigint[], in_step_nos integer[], in_tokens integer[], outcomes text[], outputs text[], errors text[],
    elapsed double precision[], max_steps integer, capacity jsonb, max_bytes integer,
    OUT receipt_no bigint, OUT looked boolean, OUT plainly boolean,
    OUT run_ids bigint[], OUT step_nos integer[], OUT tokens integer[], OUT attempts integer[], OUT versions integer[], OUT traces text[],
    OUT inputs jsonb[], OUT applied integer[], OUT left_runs bigint[], OUT left_nos integer[], OUT left_kinds smallint[], OUT left_n integer[],
    OUT ended_runs bigint[], OUT ended_closing integer[], OUT settled_receipts bigint[], OUT settled_n integer[])
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'millrace_work_report';
COMMENT ON FUNCTION millrace_internal.work_report(smallint, integer, bigint[], integer[], integer[], text[], text[], text[], double precision[], integer, jsonb, integer) IS
'A report on the dispatcher tier, as far as it needs no SQL.';

-- Returns: whether one of these steps takes an input, or settings with values of its run, or is of a batch; the bytes of all their settings; the shortest timeout in seconds
CREATE OR REPLACE FUNCTION millrace_internal.work_measure(versions integer[], step_nos integer[],
    OUT takes_input boolean, OUT bytes bigint, OUT timeout double precision)
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'millrace_work_measure';
COMMENT ON FUNCTION millrace_internal.work_measure(integer[], integer[]) IS 'What a hand-out must know of its steps before it answers.';

CREATE OR REPLACE FUNCTION millrace_internal.work_batched(versions integer[], step_nos integer[])
RETURNS boolean LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'millrace_work_batched';
COMMENT ON FUNCTION millrace_internal.work_batched(integer[], integer[]) IS 'Whether one of these steps is executed together with others (logic/batch.sql).';

-- The columns of millrace.claim. Arguments: inputs: null where no step takes one.
CREATE OR REPLACE FUNCTION millrace_internal.work_rows(run_ids bigint[], step_nos integer[], tokens integer[], attempts integer[], versions integer[], traces text[],
    inputs jsonb[])
RETURNS TABLE (run_id bigint, step_no integer, token integer, attempt integer, workflow text, key text, handler text,
               settings jsonb, input jsonb, timeout double precision, element integer, trace text, batch bigint)
LANGUAGE c STABLE PARALLEL SAFE ROWS 500 AS 'MODULE_PATHNAME', 'millrace_work_rows';
COMMENT ON FUNCTION millrace_internal.work_rows(bigint[], integer[], integer[], integer[], integer[], text[], jsonb[]) IS 'What an agent needs to know to run these steps.';

-- The columns of millrace.report, where all that was reported is applied. Null: nothing was started; no step takes an input.
CREATE OR REPLACE FUNCTION millrace_internal.work_report_rows(applied_runs bigint[], applied_steps integer[], applied_tokens integer[],
    run_ids bigint[], step_nos integer[], tokens integer[], attempts integer[], versions integer[], traces text[], inputs jsonb[])
RETURNS TABLE (answer text, code text, message text, run_id bigint, step_no integer, token integer, attempt integer, workflow text, key text, handler text,
               settings jsonb, input jsonb, timeout double precision, element integer, trace text, batch bigint)
LANGUAGE c STABLE PARALLEL SAFE ROWS 1000 AS 'MODULE_PATHNAME', 'millrace_work_report_rows';
COMMENT ON FUNCTION millrace_internal.work_report_rows(bigint[], integer[], integer[], bigint[], integer[], integer[], integer[], integer[], text[], jsonb[]) IS
'What an agent reads in answer to a report.';
