-- Purpose: what is handed to an agent: starting claimed steps, the receipt, and the rows that the agent reads.

-- Claims up to max_steps from the sink. Loops while candidates turn out stale, or held by another call, so that an empty
-- answer means that nothing was claimable.
CREATE OR REPLACE FUNCTION millrace_internal.start_from_sink(
    in_shard smallint, in_agent_id integer, in_receipt_no bigint, in_queues integer[], in_handlers integer[], rooms integer[], max_steps integer,
    OUT run_ids bigint[], OUT step_nos integer[], OUT tokens integer[], OUT attempts integer[], OUT versions integer[], OUT traces text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found      record;
    got        record;
    held_runs  bigint[];
    held_steps integer[];
    frozen     timestamptz := (SELECT frozen_at FROM millrace_internal.frozen_clock);
BEGIN
    run_ids := '{}'; step_nos := '{}'; tokens := '{}'; attempts := '{}'; versions := '{}'; traces := '{}';
    IF max_steps <= 0 OR cardinality(in_handlers) = 0 THEN
        RETURN;
    END IF;
    FOR round IN 1..1000 LOOP
        found := millrace_internal.sink_pop(in_shard, in_queues, in_handlers, rooms, max_steps);
        EXIT WHEN found.run_ids IS NULL OR cardinality(found.run_ids) = 0;
        got := millrace_internal.work_start(in_shard, in_agent_id, in_receipt_no, found.run_ids, found.step_nos, frozen);
        IF found.places IS NULL THEN
            -- they go back at the end: at once, they would come out again
            held_runs := held_runs || got.held_runs; held_steps := held_steps || got.held_steps;
        ELSE
            PERFORM millrace_internal.sink_settle(found.run_ids, found.step_nos, found.places, got.held_runs, got.held_steps);
        END IF;
        IF got.started_runs IS NOT NULL THEN
            run_ids := run_ids || got.started_runs; step_nos := step_nos || got.started_steps;
            tokens := tokens || got.tokens; attempts := attempts || got.attempts;
            versions := versions || got.versions; traces := traces || got.traces;
        END IF;
        -- on the plain tier, what is held would come out again
        EXIT WHEN cardinality(run_ids) > 0 OR (found.places IS NOT NULL AND got.held_runs IS NOT NULL);
    END LOOP;
    IF held_runs IS NOT NULL THEN
        PERFORM millrace_internal.sink_settle(NULL, NULL, NULL, held_runs, held_steps);
    END IF;
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

-- The rows that an agent reads, where some step takes an input, settings with values of its run, or is of a batch; else work_rows answers. Inputs
-- are computed only where the handler takes one; a step whose values cannot be computed comes with the problem, for the caller to fail it.
CREATE OR REPLACE FUNCTION millrace_internal.work_rows_with_input(in_shard smallint, run_ids bigint[], step_nos integer[], tokens integer[], attempts integer[], batches bigint[])
RETURNS TABLE (run_id bigint, step_no integer, token integer, attempt integer, workflow text, key text, handler text,
               settings jsonb, input jsonb, timeout double precision, element integer, trace text, batch bigint, problem text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT u.run_id, u.step_no, u.token, u.attempt, d.workflow, d.key, d.handler,
           CASE WHEN d.fills THEN i.settings ELSE d.settings END, i.input, d.timeout, g.element, r.trace, u.batch, i.problem
    FROM unnest(run_ids, step_nos, tokens, attempts, batches) WITH ORDINALITY u (run_id, step_no, token, attempt, batch, ord)
    JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard
    -- beyond the numbers of definitions, the step itself says which one is its own
    LEFT JOIN LATERAL (SELECT s.def_no, s.element FROM millrace_internal.step s
                       WHERE millrace_internal.is_gained(u.step_no) AND s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard OFFSET 0) g ON true
    JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = coalesce(g.def_no, u.step_no)
    LEFT JOIN LATERAL (SELECT o.* FROM millrace_internal.values_of(in_shard, u.run_id, d, g.element) o WHERE d.takes_input OR d.fills OFFSET 0) i ON true
    WHERE (u.run_id & 255) = in_shard
    ORDER BY u.ord;
END $$;
COMMENT ON FUNCTION millrace_internal.work_rows_with_input(smallint, bigint[], integer[], integer[], integer[], bigint[]) IS 'What an agent needs to know to run these steps.';
