-- Purpose: deadlines of steps: how long one may take from when it is first ready, over all tries and the waits between. They stand in
-- the table of timers, that of step n under the number -(n + 1).

-- The mistakes in what a step says of its failure and its deadline.
CREATE OR REPLACE FUNCTION millrace_internal.failure_problems(step jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT at_path || '.on_error', 'MR112', format('%s.on_error is not the key of a step', at_path), 'Name the step that takes over when this one has failed.'
    WHERE step ? 'on_error' AND jsonb_typeof(step -> 'on_error') <> 'string'
    UNION ALL
    SELECT d.path, d.code, d.message, d.hint FROM millrace_internal.deadline_problems(step, at_path || '.') d
    UNION ALL
    SELECT at_path || '.deadline', 'MR112', format('%s has a deadline and for_each', at_path), 'Bound its elements by a timeout, or the run by a deadline.'
    WHERE step ? 'deadline' AND step ? 'for_each'
$$;
COMMENT ON FUNCTION millrace_internal.failure_problems(jsonb, text) IS 'Mistakes in on_error and deadline of a step.';

-- Of a step, or of a workflow. Arguments: place  what stands before the key
CREATE OR REPLACE FUNCTION millrace_internal.deadline_problems(object jsonb, place text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT place || 'deadline', 'MR109', format('%sdeadline: "%s" is not an interval', place, left(coalesce(object ->> 'deadline', 'null'), 200)),
           'Write seconds as a number, or text such as "500ms", "30s", "5m", "2h", "1 day".'
    WHERE object ? 'deadline' AND millrace_internal.seconds(object -> 'deadline') IS NULL
    UNION ALL
    SELECT place || 'deadline', 'MR112', format('%sdeadline: "%s" is no time at all', place, object ->> 'deadline'), 'A deadline is longer than zero; leave it out for none.'
    WHERE millrace_internal.seconds(object -> 'deadline') = 0
$$;
COMMENT ON FUNCTION millrace_internal.deadline_problems(jsonb, text) IS 'Mistakes in a deadline.';

-- Arguments: steps that have just been decided; those that have a deadline and may run get their timer.
-- Tables changed: timer.
CREATE OR REPLACE FUNCTION millrace_internal.deadlines_begin(in_shard smallint, run_ids bigint[], step_nos integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
BEGIN
    INSERT INTO millrace_internal.timer (shard, due_at, run_id, step_no, token)
    SELECT in_shard, CASE s.state WHEN 1 THEN s.ready_at ELSE now_at END + make_interval(secs => millrace_internal.seconds(d.traits -> 'deadline')), s.run_id, -s.step_no - 1, s.token
    FROM unnest(run_ids, step_nos) u (run_id, step_no)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state BETWEEN 1 AND 5
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no AND d.traits ? 'deadline'
    WHERE (u.run_id & 255) = in_shard
    ON CONFLICT (due_at, run_id, step_no, shard) DO NOTHING;
    IF FOUND THEN
        PERFORM millrace_internal.keeper_wake();
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.deadlines_begin(smallint, bigint[], integer[]) IS 'From now on the deadlines of these steps count.';

-- Steps past their deadline fail for good, wherever they are; those of one agent a call, for the lock order's sake.
-- Locks: timers, SKIP LOCKED; step rows, ascending, with all of a run that the failure cancels; then as decide.
-- Tables changed: timer, revocation; as decide.
CREATE OR REPLACE FUNCTION millrace_internal.keep_step_deadlines(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    head      record;
    late      record;
BEGIN
    SELECT array_agg(t.run_id ORDER BY t.run_id, t.step_no DESC) AS runs, array_agg(-t.step_no - 1 ORDER BY t.run_id, t.step_no DESC) AS steps,
           array_agg(t.due_at ORDER BY t.run_id, t.step_no DESC) AS due INTO head
    FROM (SELECT t.due_at, t.run_id, t.step_no FROM millrace_internal.timer t
          WHERE t.due_at <= now_at AND t.step_no < -1 ORDER BY t.due_at, t.run_id, t.step_no LIMIT 1000 FOR UPDATE SKIP LOCKED) t;
    IF head.runs IS NULL THEN
        RETURN false;
    END IF;
    PERFORM millrace_internal.lock_steps(0::smallint,
        ARRAY(SELECT DISTINCT r.run_id FROM unnest(head.runs) u (run_id) JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = 0
              JOIN millrace_internal.version v ON v.version_id = r.version_id AND v.on_failure = 1), head.runs, head.steps);
    -- a deadline that began before an operator's retry is over with what it was for
    WITH due AS MATERIALIZED (
        SELECT u.run_id, u.step_no, u.due_at, s.state, s.token, s.started_at, CASE WHEN s.state IN (4, 5) THEN s.agent_id ELSE 0 END AS agent_id,
               s.state BETWEEN 1 AND 5 AND NOT EXISTS (
                   SELECT FROM millrace_internal.event e
                   WHERE e.run_id = u.run_id AND e.step_no = u.step_no AND e.kind = 16
                     AND e.at > u.due_at - make_interval(secs => millrace_internal.seconds(d.traits -> 'deadline'))) AS is_late
        FROM unnest(head.runs, head.steps, head.due) u (run_id, step_no, due_at)
        LEFT JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = 0
        LEFT JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no),
    first AS (SELECT d.agent_id FROM due d WHERE d.is_late ORDER BY d.run_id, d.step_no LIMIT 1),
    gone AS (
        DELETE FROM millrace_internal.timer t USING due d
        WHERE t.due_at = d.due_at AND t.run_id = d.run_id AND t.step_no = -d.step_no - 1 AND t.shard = 0
          AND (d.is_late IS NOT TRUE OR d.agent_id = (SELECT f.agent_id FROM first f)))
    SELECT array_agg(d.run_id ORDER BY d.run_id, d.step_no) AS runs, array_agg(d.step_no ORDER BY d.run_id, d.step_no) AS steps,
           array_agg(d.token + (d.state < 4)::integer ORDER BY d.run_id, d.step_no) AS tokens, min(d.agent_id) AS agent_id,
           array_agg(d.state < 4 ORDER BY d.run_id, d.step_no) AS unheld, array_agg(d.state < 4 AND d.started_at IS NULL ORDER BY d.run_id, d.step_no) AS unstarted,
           count(*)::integer AS n
    INTO late FROM due d WHERE d.is_late AND d.agent_id = (SELECT f.agent_id FROM first f);
    IF late.n > 0 THEN
        -- what nobody holds is taken by the engine, so that it ends as everything does
        UPDATE millrace_internal.step s SET state = 4, agent_id = 0, receipt_no = 0, token = u.token, started_at = coalesce(s.started_at, now_at)
        FROM unnest(late.runs, late.steps, late.tokens, late.unheld) u (run_id, step_no, token, unheld)
        WHERE s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = 0 AND u.unheld;
        PERFORM millrace_internal.decide(0::smallint, late.agent_id, late.runs, late.steps, late.tokens, array_fill(8::smallint, ARRAY[late.n]), NULL,
                                         array_fill('past its deadline'::text, ARRAY[late.n]), NULL);
        UPDATE millrace_internal.step s SET started_at = NULL
        FROM unnest(late.runs, late.steps, late.unstarted) u (run_id, step_no, unstarted)
        WHERE s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = 0 AND u.unstarted;
        PERFORM millrace_internal.batch_leave(0::smallint, u.run_id) FROM (SELECT DISTINCT run_id FROM unnest(late.runs) run_id ORDER BY 1) u;
        IF late.agent_id > 0 THEN
            PERFORM millrace_internal.revoke(late.agent_id, late.runs, late.steps, late.tokens, 'timed_out');
        ELSE
            PERFORM millrace_internal.waits_forget(0::smallint, late.runs, late.steps, late.tokens);
            PERFORM millrace_internal.sub_runs_stop(0::smallint, late.runs, late.steps);
        END IF;
    END IF;
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_step_deadlines(timestamptz) IS 'Fails steps that are past their deadlines.';
