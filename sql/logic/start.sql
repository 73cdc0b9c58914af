-- Purpose: what is handed to an agent: starting claimed steps, the receipt, and the rows that the agent reads.

-- Starts candidates of the sink that are ready still. Waits for nothing: rows that another call holds are left.
-- Locks: step rows, SKIP LOCKED. Tables changed: step, event.
CREATE OR REPLACE FUNCTION millrace_internal.start_candidates(
    in_shard smallint, in_agent_id integer, in_receipt_no bigint, run_ids bigint[], step_nos integer[], now_at timestamptz,
    OUT started_runs bigint[], OUT started_steps integer[], OUT tokens integer[], OUT attempts integer[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    WITH held AS MATERIALIZED (
        SELECT c.ord, s.run_id, s.step_no
        FROM unnest(run_ids, step_nos) WITH ORDINALITY c (run_id, step_no, ord)
        CROSS JOIN LATERAL (
            SELECT s.run_id, s.step_no FROM millrace_internal.step s
            WHERE s.run_id = c.run_id AND s.step_no = c.step_no AND s.shard = in_shard AND s.state = 2
            FOR NO KEY UPDATE SKIP LOCKED) s
        WHERE (c.run_id & 255) = in_shard),
    started AS (
        UPDATE millrace_internal.step s
        SET state = 4, attempts = s.attempts + 1, token = s.token + 1, agent_id = in_agent_id, receipt_no = in_receipt_no, started_at = now_at
        FROM held h WHERE s.run_id = h.run_id AND s.step_no = h.step_no AND s.shard = in_shard
        RETURNING h.ord, s.run_id, s.step_no, s.token, s.attempts),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, agent_id, attempt, shard, kind)
        SELECT s.run_id, now_at, pg_current_xact_id()::text::bigint, s.step_no, in_agent_id, s.attempts, in_shard, 8 FROM started s ORDER BY s.ord)
    SELECT array_agg(s.run_id ORDER BY s.ord), array_agg(s.step_no ORDER BY s.ord), array_agg(s.token ORDER BY s.ord), array_agg(s.attempts ORDER BY s.ord)
    INTO started_runs, started_steps, tokens, attempts
    FROM started s;
END $$;
COMMENT ON FUNCTION millrace_internal.start_candidates(smallint, integer, bigint, bigint[], integer[], timestamptz) IS 'Hands ready steps to an agent: ready to running, attempt and token grow.';

-- Of the candidates that could not be started: those that are ready still, for another call holds them.
CREATE OR REPLACE FUNCTION millrace_internal.candidates_locked(in_shard smallint, run_ids bigint[], step_nos integer[],
    started_runs bigint[], started_steps integer[], OUT locked_runs bigint[], OUT locked_steps integer[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
    SELECT array_agg(c.run_id), array_agg(c.step_no)
    FROM (SELECT * FROM unnest(run_ids, step_nos) c (run_id, step_no)
          EXCEPT SELECT * FROM unnest(started_runs, started_steps) d (run_id, step_no)) c
    WHERE EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = c.run_id AND s.step_no = c.step_no AND s.shard = in_shard AND s.state = 2)
$$;
COMMENT ON FUNCTION millrace_internal.candidates_locked(smallint, bigint[], integer[], bigint[], integer[]) IS 'Candidates that another call holds.';

-- Claims up to max_steps from the sink. Loops while candidates turn out stale, so that an empty answer means that nothing was claimable.
CREATE OR REPLACE FUNCTION millrace_internal.start_from_sink(
    in_shard smallint, in_agent_id integer, in_receipt_no bigint, in_queues integer[], in_handlers integer[], rooms integer[], max_steps integer,
    OUT run_ids bigint[], OUT step_nos integer[], OUT tokens integer[], OUT attempts integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found       record;
    got         record;
    held_runs   bigint[];       -- by other calls: not for this one
    held_steps  integer[];
BEGIN
    run_ids := '{}'; step_nos := '{}'; tokens := '{}'; attempts := '{}';
    IF max_steps <= 0 OR cardinality(in_handlers) = 0 THEN
        RETURN;
    END IF;
    FOR round IN 1..1000 LOOP
        found := millrace_internal.sink_pop(in_shard, in_queues, in_handlers, rooms, max_steps);
        EXIT WHEN found.run_ids IS NULL OR cardinality(found.run_ids) = 0;
        got := millrace_internal.start_candidates(in_shard, in_agent_id, in_receipt_no, found.run_ids, found.step_nos, millrace_internal.clock());
        held_runs := NULL;
        IF got.started_runs IS NULL OR cardinality(got.started_runs) < cardinality(found.run_ids) THEN
            SELECT l.locked_runs, l.locked_steps INTO held_runs, held_steps
            FROM millrace_internal.candidates_locked(in_shard, found.run_ids, found.step_nos, got.started_runs, got.started_steps) l;
        END IF;
        PERFORM millrace_internal.sink_settle(found.run_ids, found.step_nos, found.places, held_runs, held_steps);
        IF got.started_runs IS NOT NULL THEN
            run_ids := run_ids || got.started_runs; step_nos := step_nos || got.started_steps;
            tokens := tokens || got.tokens; attempts := attempts || got.attempts;
        END IF;
        -- again only where all that came out had gone stale
        EXIT WHEN cardinality(run_ids) > 0 OR held_runs IS NOT NULL;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.start_from_sink(smallint, integer, bigint, integer[], integer[], integer[], integer) IS
'Starts claimable steps for an agent. Tables changed: step, event, ready (plain tier).';

-- Agents time their handlers themselves, from the handler's start, and report it. What they do not report is timed out by
-- the keeper a little later: by what a claim needs to reach a handler, and a report to come back.
CREATE OR REPLACE FUNCTION millrace_internal.timeout_grace()
RETURNS interval LANGUAGE sql IMMUTABLE AS $$ SELECT interval '500 ms' $$;
COMMENT ON FUNCTION millrace_internal.timeout_grace() IS 'How long the keeper waits beyond a timeout for its agent''s report.';

-- Writes the receipt of one call.
CREATE OR REPLACE FUNCTION millrace_internal.receipt_write(in_shard smallint, in_agent_id integer, in_receipt_no bigint,
    in_run_ids bigint[], in_step_nos integer[], in_tokens integer[], shortest_timeout double precision)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO millrace_internal.receipt (shard, agent_id, receipt_no, open, deadline, run_ids, step_nos, tokens)
    SELECT in_shard, in_agent_id, in_receipt_no, cardinality(in_run_ids),
           CASE WHEN shortest_timeout IS NOT NULL THEN millrace_internal.clock() + make_interval(secs => shortest_timeout) + millrace_internal.timeout_grace() END,
           in_run_ids, in_step_nos, in_tokens;
END $$;
COMMENT ON FUNCTION millrace_internal.receipt_write(smallint, integer, bigint, bigint[], integer[], integer[], double precision) IS 'One row per call that hands out steps. Tables changed: receipt.';

-- The rows that an agent reads. Inputs are computed only where the handler takes one; a step whose input cannot be
-- computed comes with the problem, for the caller to fail it.
CREATE OR REPLACE FUNCTION millrace_internal.work_rows(in_shard smallint, run_ids bigint[], step_nos integer[], tokens integer[], attempts integer[])
RETURNS TABLE (run_id bigint, step_no integer, token integer, attempt integer, workflow text, key text, handler text,
               settings jsonb, input jsonb, timeout double precision, element integer, trace text, problem text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT u.run_id, u.step_no, u.token, u.attempt, d.workflow, d.key, d.handler, d.settings, i.input, d.timeout, NULL::integer, r.trace, i.problem
    FROM unnest(run_ids, step_nos, tokens, attempts) WITH ORDINALITY u (run_id, step_no, token, attempt, ord)
    JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard
    JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = u.step_no
    LEFT JOIN LATERAL (SELECT o.input, o.problem FROM millrace_internal.input_of(in_shard, u.run_id, d) o WHERE d.takes_input OFFSET 0) i ON true
    WHERE (u.run_id & 255) = in_shard
    ORDER BY u.ord;
END $$;
COMMENT ON FUNCTION millrace_internal.work_rows(smallint, bigint[], integer[], integer[], integer[]) IS 'What an agent needs to know to run these steps.';
