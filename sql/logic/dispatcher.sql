-- Purpose: the dispatcher's memory, the background workers, and the statements of `sql` steps, all of them in C.
-- The dispatcher is an index of ready steps in shared memory. It is a cache: a hand-out counts only by changing
-- the step's row. Without shared_preload_libraries = 'millrace' every function here is there and does no harm.
-- Tables changed: none. Locks taken: none that another statement could wait for.
-- How an entry lives and dies is drawn in docs/dispatcher.md.

-- ---------------------------------------------------------------- the readiness sink of the dispatcher tier

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_attached()
RETURNS boolean LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_attached';
COMMENT ON FUNCTION millrace_internal.dispatcher_attached() IS
'Whether this server has the dispatcher: the library is preloaded and the server is not a standby.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_missing_from(queue_ids int[], handler_ids int[])
RETURNS bigint LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'millrace_dispatcher_missing_from';
COMMENT ON FUNCTION millrace_internal.dispatcher_missing_from(int[], int[]) IS
'From which run on the tables may hold ready steps of these queues and handlers that are not here: 0 until the dispatcher is filled; null: none. A pop that came up short is then no proof that nothing is left.';

-- Purpose:   announce ready steps. Remembered in the transaction, published when it has committed, forgotten when it
--            or the subtransaction is rolled back. A step that is there already is moved to its new place.
-- Arguments: one element a step in each array, no nulls; weights: the tenant's share of its queue and handler; null: the
--            tenants' own, remembered by the session.
CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_push(
    queue_ids int[], handler_ids int[], priorities smallint[], tenant_ids int[], weights real[],
    run_ids bigint[], ranks real[], step_nos int[])
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_push';
COMMENT ON FUNCTION millrace_internal.dispatcher_push(int[], int[], smallint[], int[], real[], bigint[], real[], int[]) IS
'Announces ready steps; they can be popped once the transaction has committed.';

-- Purpose:   take the steps to claim next: the best head of all these queues and handlers, again and again.
-- Arguments: capacities  free slots by handler, aligned with handler_ids
-- Returns:   at most max_steps steps in claim order. They are this transaction's until it ends: a commit forgets
--            them, a rollback (of the subtransaction too) puts them back.
-- The rows are read by a later statement than this one: a snapshot from before the pop may not see them yet.
CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_pop(
    queue_ids int[], handler_ids int[], capacities int[], max_steps int)
RETURNS TABLE (run_id bigint, step_no int) LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'millrace_dispatcher_pop';
COMMENT ON FUNCTION millrace_internal.dispatcher_pop(int[], int[], int[], int) IS
'Takes the steps to claim next. Give back those whose row another call has locked, with dispatcher_put_back.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_put_back(run_ids bigint[], step_nos int[])
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_put_back';
COMMENT ON FUNCTION millrace_internal.dispatcher_put_back(bigint[], int[]) IS
'Puts steps that this transaction has popped back at once, for others to pop. Others are ignored.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_remove(run_ids bigint[], step_nos int[])
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_remove';
COMMENT ON FUNCTION millrace_internal.dispatcher_remove(bigint[], int[]) IS
'Takes steps out, whoever would claim them; a rollback puts them back. Call it with their rows locked.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_sorts_first(
    queue_id int, handler_id int, priority smallint, tenant_id int, run_id bigint, rank real, step_no int)
RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_sorts_first';
COMMENT ON FUNCTION millrace_internal.dispatcher_sorts_first(int, int, smallint, int, bigint, real, int) IS
'Whether this step would be claimed before all that wait for its queue and handler.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_sorts_first(
    queue_ids int[], handler_ids int[], priorities smallint[], tenant_ids int[],
    run_ids bigint[], ranks real[], step_nos int[])
RETURNS boolean[] LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_sorts_first_many';
COMMENT ON FUNCTION millrace_internal.dispatcher_sorts_first(int[], int[], smallint[], int[], bigint[], real[], int[]) IS
'The same for many steps in one go, each against the present heads.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_charge(
    queue_ids int[], handler_ids int[], tenant_ids int[], weights real[])
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_charge';
COMMENT ON FUNCTION millrace_internal.dispatcher_charge(int[], int[], int[], real[]) IS
'Counts steps that were started without a pop as service of their tenants, one element a step.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_weights_changed()
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_weights_changed';
COMMENT ON FUNCTION millrace_internal.dispatcher_weights_changed() IS
'Has all sessions forget the tenants'' weights that they remember, once the transaction has committed.';

-- Purpose: publish ready steps that a refill has read, older runs first. At once, not at commit: they were committed when
--          they were read. Returns: whether there is a use in reading on.
CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_refill(
    queue_ids int[], handler_ids int[], priorities smallint[], tenant_ids int[],
    run_ids bigint[], ranks real[], step_nos int[])
RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_refill';
COMMENT ON FUNCTION millrace_internal.dispatcher_refill(int[], int[], smallint[], int[], bigint[], real[], int[]) IS
'What the keeper has read from the tables. Does nothing but between the beginning and the end of a refill.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_sweep()
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_sweep';
COMMENT ON FUNCTION millrace_internal.dispatcher_sweep() IS
'Has the keeper compare the dispatcher with the tables, and add what is missing, once the transaction has committed.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_stats()
RETURNS TABLE (
    queue_id int, handler_id int, tenants int, depth bigint, popped bigint, oldest_pushed_at timestamptz,
    pushes bigint, pops bigint, put_backs bigint, dropped bigint, watermarks int, low boolean)
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 50
AS 'MODULE_PATHNAME', 'millrace_dispatcher_stats';
COMMENT ON FUNCTION millrace_internal.dispatcher_stats() IS
'What waits in the dispatcher in this database, by queue and handler. Counters since the server started.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_state(
    OUT state text, OUT depth bigint, OUT popped bigint, OUT watermarks bigint, OUT overflowed boolean, OUT needs_sweep boolean,
    OUT hits bigint, OUT misses bigint, OUT stale bigint, OUT dropped bigint, OUT refills bigint, OUT sweeps bigint, OUT wakes bigint,
    OUT entries_used int, OUT entries_max int, OUT memory_bytes bigint, OUT databases int, OUT waker_pid int, OUT keeper_pid int)
RETURNS record LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'millrace_dispatcher_account';
COMMENT ON FUNCTION millrace_internal.dispatcher_state() IS
'The dispatcher of this database as a whole. state: absent (no dispatcher here), cold or warm; entries_*, memory_bytes and databases (that have workers, or should have) are the server''s.';

-- ---------------------------------------------------------------- the background workers

CREATE OR REPLACE FUNCTION millrace_internal.workers_attach()
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_workers_attach';
COMMENT ON FUNCTION millrace_internal.workers_attach() IS
'Has the launcher start this database''s waker and keeper, once the transaction has committed.';

CREATE OR REPLACE FUNCTION millrace_internal.keeper_wake()
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_keeper_wake';
COMMENT ON FUNCTION millrace_internal.keeper_wake() IS
'Has the keeper look at once when the transaction has committed: something is due earlier than it knows.';

-- A database that has just got the extension announces itself.
SELECT millrace_internal.workers_attach();

-- ---------------------------------------------------------------- statements of `sql` steps, and JSON that may be none

-- Purpose:   run one statement with the rights of a role; $1 is the input, timeout is in seconds.
-- Returns:   null without rows; the row when there is one, else an array of rows. A row is its value when it has one
--            column, else an object. At most millrace.max_output_bytes.
-- Settings that the statement changes last until it ends. Deferred constraints are checked at its end.
CREATE OR REPLACE FUNCTION millrace_internal.execute_as(role_id oid, statement text, input jsonb, search_path text, timeout double precision DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_statement_execute_as';
COMMENT ON FUNCTION millrace_internal.execute_as(oid, text, jsonb, text, double precision) IS
'Runs one SQL statement with the rights of a role and answers its rows as JSON.';

CREATE OR REPLACE FUNCTION millrace_internal.check_sql(role_id oid, statement text, search_path text)
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_statement_check';
COMMENT ON FUNCTION millrace_internal.check_sql(oid, text, text) IS
'Raises MR051 unless execute_as would accept this statement from that role: parsed and analysed, not run.';

CREATE OR REPLACE FUNCTION millrace_internal.try_jsonb(candidate text, OUT value jsonb, OUT problem text)
RETURNS record LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_json_try';
COMMENT ON FUNCTION millrace_internal.try_jsonb(text) IS
'The text as JSON, or why it is none, or too large (millrace.max_output_bytes). Both null for null.';
