-- Purpose: the first pass of every decision over running steps: their own rows (class 1 of docs/locking.md).
-- Completions alone never come here: work_complete (logic/work.sql) is the same for them, and faster.
-- Codes: 1 completed, 2 failed, 3 fatal, 4 timed out, 5 given back, 6 its agent was lost,
-- 7 skipped (by the engine itself, which holds steps as agent 0); 0 is passed over.

-- Back-off before the next try, in seconds, from the attempts on the step itself.
CREATE OR REPLACE FUNCTION millrace_internal.backoff(attempts integer, base double precision, factor double precision, longest double precision, jitter double precision)
RETURNS double precision LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN millrace_internal.setting('millrace.retry_immediately')::boolean THEN 0
                ELSE greatest(0, least(longest, base * factor ^ least(attempts - 1, 1000.0 / factor)) * (1 + jitter * (2 * random() - 1))) END
$$;
COMMENT ON FUNCTION millrace_internal.backoff(integer, double precision, double precision, double precision, double precision) IS
'min(max, backoff * factor ^ (attempts - 1)), give or take the jitter.';

-- Returns: what was applied, by place in the arguments; what the steps that ended are counted on (hit_*, as settle takes them); per
-- run the closing steps that ended and the steps that failed; per receipt how many of its steps were settled; steps that are ready
-- again and steps that wait.
-- Locks: own rows, ascending. Tables changed: step, event, dead_letter.
CREATE OR REPLACE FUNCTION millrace_internal.finish(
    in_shard smallint, in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], codes smallint[], errors text[], elapsed double precision[], classes text[],
    OUT applied integer[],
    OUT hit_runs bigint[], OUT hit_nos integer[], OUT hit_kinds smallint[], OUT hit_n integer[], OUT hit_bad integer[],
    OUT ended_runs bigint[], OUT ended_closing integer[], OUT ended_failed integer[],
    OUT settled_receipts bigint[], OUT settled_n integer[],
    OUT ready_runs bigint[], OUT ready_steps integer[],
    OUT waiting_runs bigint[], OUT waiting_steps integer[], OUT waiting_tokens integer[], OUT waiting_due timestamptz[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    frozen      timestamptz := (SELECT frozen_at FROM millrace_internal.frozen_clock);
    xact        bigint := pg_current_xact_id()::text::bigint;
    lost_limit  integer := millrace_internal.setting('millrace.lost_limit')::integer;
    over_runs   bigint[];       -- the steps that have ended
    over_steps  integer[];
    over_defs   integer[];
    over_states smallint[];
    rest        record;         -- what follows from them
BEGIN
    WITH mine AS MATERIALIZED (
        -- read without a lock: a row that is not running with this token is stale for ever, and is left alone
        SELECT u.ord, s.run_id, s.step_no, u.token, u.code, u.error, u.elapsed, millrace_internal.error_class(u.code, u.class) AS class, r.wait,
               d.on_error IS NOT NULL AS handled,
               CASE WHEN u.code = 1 THEN 10
                    WHEN u.code = 5 THEN 2
                    WHEN u.code = 7 THEN 12
                    WHEN millrace_internal.is_last_try(u.code, u.class, s.attempts, d.retry_limit, d.retry_classes, lost_limit) THEN 11
                    WHEN r.wait > 0 THEN 1 ELSE 2 END AS next
        FROM unnest(run_ids, step_nos, tokens, codes, errors, elapsed, classes) WITH ORDINALITY u (run_id, step_no, token, code, error, elapsed, class, ord)
        JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard
             AND s.state IN (4, 5) AND s.token = u.token AND s.agent_id = in_agent_id AND u.code > 0
        JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
        CROSS JOIN LATERAL (SELECT CASE WHEN u.code IN (2, 4)
                            THEN millrace_internal.backoff(s.attempts, d.retry_backoff, d.retry_factor, d.retry_max, d.retry_jitter) END AS wait OFFSET 0) r
        WHERE (u.run_id & 255) = in_shard
        ORDER BY s.run_id, s.step_no),
    own AS (
        UPDATE millrace_internal.step s
        SET state = m.next,
            attempts = CASE WHEN m.code = 5 THEN s.attempts - 1 ELSE s.attempts END,
            ready_at = CASE m.next WHEN 2 THEN coalesce(frozen, clock_timestamp())
                                   WHEN 1 THEN coalesce(frozen, clock_timestamp()) + make_interval(secs => m.wait) ELSE s.ready_at END,
            finished_at = CASE WHEN m.next >= 10 THEN coalesce(frozen, clock_timestamp()) END,
            elapsed = m.elapsed,
            error = CASE WHEN m.code IN (1, 7) THEN NULL ELSE coalesce(m.error, s.error) END,
            error_class = CASE WHEN m.code IN (1, 7) THEN NULL ELSE coalesce(m.class, s.error_class) END
        FROM mine m
        WHERE s.run_id = m.run_id AND s.step_no = m.step_no AND s.shard = in_shard AND s.state IN (4, 5) AND s.token = m.token
        RETURNING m.ord, s.run_id, s.step_no, s.def_no, s.token, s.attempts, s.receipt_no, m.next, m.code, m.error, m.class, m.handled,
                  coalesce(s.finished_at, frozen, clock_timestamp()) AS at, CASE m.next WHEN 1 THEN s.ready_at END AS due_at),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, agent_id, attempt, shard, kind, data)
        SELECT o.run_id, o.at, xact, o.step_no, nullif(in_agent_id, 0), CASE WHEN o.code = 5 THEN o.attempts + 1 ELSE o.attempts END, in_shard,
               CASE WHEN o.next = 10 THEN 11 WHEN o.next = 11 THEN 12 WHEN o.next = 12 THEN 13 WHEN o.code IN (5, 6) THEN 10 ELSE 9 END,
               -- only the engine tells why a step has completed
               CASE WHEN o.code = 1 AND (in_agent_id > 0 OR o.error IS NULL) THEN NULL
                    WHEN o.next = 11 THEN jsonb_build_object('error', o.error, 'outcome', (ARRAY['completed', 'failed', 'fatal', 'timed_out', 'released', 'lost', 'skipped', 'deadline'])[o.code], 'class', o.class)
                    WHEN o.code IN (1, 5, 7) THEN jsonb_build_object('reason', coalesce(o.error, 'given back'))
                    WHEN o.code = 6 THEN jsonb_build_object('reason', 'agent lost')
                    ELSE jsonb_build_object('error', o.error, 'outcome', CASE o.code WHEN 4 THEN 'timed_out' ELSE 'failed' END, 'class', o.class,
                                            'due_at', coalesce(o.due_at, o.at)) END
        FROM own o ORDER BY o.ord),
    dead AS (
        INSERT INTO millrace_internal.dead_letter (shard, run_id, step_no, failed_at)
        SELECT in_shard, o.run_id, o.step_no, o.at FROM own o WHERE o.next = 11 AND NOT o.handled AND (NOT millrace_internal.is_gained(o.step_no) OR millrace_internal.is_compensation(o.step_no)) ORDER BY o.run_id, o.step_no
        ON CONFLICT (run_id, step_no, shard) DO UPDATE SET failed_at = excluded.failed_at),
    receipts AS MATERIALIZED (SELECT o.receipt_no, count(*)::integer AS n FROM own o GROUP BY 1)
    SELECT o.applied, o.over_runs, o.over_steps, o.over_defs, o.over_states, r.receipts, r.n,
           o.ready_runs, o.ready_steps, o.waiting_runs, o.waiting_steps, o.waiting_tokens, o.waiting_due
    INTO applied, over_runs, over_steps, over_defs, over_states, settled_receipts, settled_n,
         ready_runs, ready_steps, waiting_runs, waiting_steps, waiting_tokens, waiting_due
    FROM (SELECT array_agg(o.ord::integer) AS applied,
                 array_agg(o.run_id) FILTER (WHERE o.next >= 10) AS over_runs, array_agg(o.step_no) FILTER (WHERE o.next >= 10) AS over_steps,
                 array_agg(o.def_no) FILTER (WHERE o.next >= 10) AS over_defs, array_agg(o.next::smallint) FILTER (WHERE o.next >= 10) AS over_states,
                 array_agg(o.run_id) FILTER (WHERE o.next = 2) AS ready_runs, array_agg(o.step_no) FILTER (WHERE o.next = 2) AS ready_steps,
                 array_agg(o.run_id) FILTER (WHERE o.next = 1) AS waiting_runs, array_agg(o.step_no) FILTER (WHERE o.next = 1) AS waiting_steps,
                 array_agg(o.token) FILTER (WHERE o.next = 1) AS waiting_tokens,
                 array_agg(o.due_at) FILTER (WHERE o.next = 1) AS waiting_due FROM own o) o,
         (SELECT array_agg(r.receipt_no) AS receipts, array_agg(r.n) AS n FROM receipts r) r;
    rest := millrace_internal.settle_ended(in_shard, over_runs, over_steps, over_defs, over_states);
    hit_runs := rest.hit_runs; hit_nos := rest.hit_nos; hit_kinds := rest.hit_kinds; hit_n := rest.hit_n; hit_bad := rest.hit_bad;
    ended_runs := rest.ended_runs; ended_closing := rest.ended_closing; ended_failed := rest.ended_failed;
END $$;
COMMENT ON FUNCTION millrace_internal.finish(smallint, integer, bigint[], integer[], integer[], smallint[], text[], double precision[], text[]) IS
'Moves running steps on by their outcome, where token and agent are still theirs.';
