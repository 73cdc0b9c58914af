-- Purpose: steps that the engine looks at when they would become ready (step_definition.entered). Each kind has a file of its own with
-- a function that says what becomes of such steps; what they share is here. The engine holds what it carries out itself as agent 0:
-- as running (4), or as waiting for something outside (5). Both end like any running step, through millrace_internal.decide.

-- An element of a step with for_each is entered only for what else the step is.
CREATE OR REPLACE FUNCTION millrace_internal.enters(d millrace_internal.step_definition, element integer)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT d.entered AND (element IS NULL OR millrace_internal.is_entered(d.traits - 'for_each'))
$$;
COMMENT ON FUNCTION millrace_internal.enters(millrace_internal.step_definition, integer) IS 'Whether the engine looks at a step, or an element of it, when it would become ready.';

-- Arguments: steps that are ready, and whose rows this call holds
-- Returns:   those that have ended at once, by their definitions' numbers, and their states
-- Tables changed: step, event, output, timer, ready (plain tier), and what the kinds write.
CREATE OR REPLACE FUNCTION millrace_internal.enter(in_shard smallint, run_ids bigint[], step_nos integer[], OUT runs bigint[], OUT defs integer[], OUT states smallint[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rest   record;      -- those about which nothing has been decided yet
    cached record;
BEGIN
    IF run_ids IS NULL THEN
        RETURN;
    END IF;
    rest := millrace_internal.condition_judge(in_shard, run_ids, step_nos);
    cached := millrace_internal.cache_enter(in_shard, rest.runs, rest.steps);
    runs := rest.over_runs || cached.runs; defs := rest.over_defs || cached.defs;
    states := rest.over_states || array_fill(10::smallint, ARRAY[coalesce(cardinality(cached.runs), 0)]);
    PERFORM millrace_internal.waits_enter(in_shard, rest.runs, rest.steps);
    PERFORM millrace_internal.fan_outs_enter(in_shard, rest.runs, rest.steps);
    PERFORM millrace_internal.sub_runs_enter(in_shard, rest.runs, rest.steps);
    rest := millrace_internal.window_wait(in_shard, rest.runs, rest.steps);
    rest := millrace_internal.batch_join(in_shard, rest.runs, rest.steps);
    PERFORM millrace_internal.enter_agents(in_shard, rest.runs, rest.steps);
END $$;
COMMENT ON FUNCTION millrace_internal.enter(smallint, bigint[], integer[]) IS 'Carries out steps that the engine looks at when they would become ready.';

-- Those of the steps that are for an agent after all: they are ready still.
-- Tables changed: ready (plain tier).
CREATE OR REPLACE FUNCTION millrace_internal.enter_agents(in_shard smallint, run_ids bigint[], step_nos integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    r record;
BEGIN
    SELECT array_agg(s.run_id) AS runs, array_agg(s.step_no) AS steps, array_agg(d.queue_id) AS queues, array_agg(d.handler_id) AS handlers,
           array_agg(millrace_internal.effective_priority(n.priority, d.priority)) AS priorities, array_agg(n.tenant_id) AS tenants,
           array_agg(millrace_internal.rank_of(d.version_id, d.def_no, d.rank)) AS ranks
    INTO r
    FROM unnest(run_ids, step_nos) u (run_id, step_no)
    JOIN millrace_internal.run n ON n.run_id = u.run_id AND n.shard = in_shard
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    WHERE (u.run_id & 255) = in_shard;
    PERFORM millrace_internal.sink_push(in_shard, r.runs, r.steps, r.queues, r.handlers, r.priorities, r.tenants, r.ranks);
END $$;
COMMENT ON FUNCTION millrace_internal.enter_agents(smallint, bigint[], integer[]) IS 'What the engine leaves to agents goes to the sink.';

-- Arguments: steps that are ready; in_state 4 or 5; what the event of each tells
-- Returns:   their tokens, in the order of the arguments
-- Tables changed: step, event.
CREATE OR REPLACE FUNCTION millrace_internal.engine_hold(in_shard smallint, run_ids bigint[], step_nos integer[], in_state smallint, data jsonb[])
RETURNS integer[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
    tokens integer[];
BEGIN
    WITH held AS (
        UPDATE millrace_internal.step s
        SET state = in_state, agent_id = 0, receipt_no = 0, attempts = s.attempts + 1, token = s.token + 1, started_at = now_at
        FROM unnest(run_ids, step_nos, data) WITH ORDINALITY u (run_id, step_no, data, ord)
        WHERE (u.run_id & 255) = in_shard AND s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2
        RETURNING u.ord, s.run_id, s.step_no, s.attempts, s.token, u.data),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind, data)
        SELECT h.run_id, now_at, pg_current_xact_id()::text::bigint, h.step_no, h.attempts, in_shard, CASE in_state WHEN 4 THEN 8 ELSE 9 END, h.data FROM held h ORDER BY h.ord)
    SELECT array_agg(h.token ORDER BY h.ord) INTO tokens FROM held h;
    RETURN tokens;
END $$;
COMMENT ON FUNCTION millrace_internal.engine_hold(smallint, bigint[], integer[], smallint, jsonb[]) IS 'The engine takes steps into its own hands.';

-- Arguments: steps that are ready; their last states (10, 11, 12), outputs of the completed, what the others say
-- Tables changed: step, event, output, dead_letter.
CREATE OR REPLACE FUNCTION millrace_internal.engine_end(in_shard smallint, run_ids bigint[], step_nos integer[], in_states smallint[], outputs jsonb[], errors text[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
BEGIN
    WITH ended AS (
        UPDATE millrace_internal.step s
        SET state = u.state, attempts = s.attempts + 1, token = s.token + 1, finished_at = now_at, error = CASE u.state WHEN 11 THEN u.error END, error_class = CASE u.state WHEN 11 THEN 'fatal' END
        FROM unnest(run_ids, step_nos, in_states, outputs, errors) WITH ORDINALITY u (run_id, step_no, state, output, error, ord)
        WHERE (u.run_id & 255) = in_shard AND s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2
        RETURNING u.ord, s.run_id, s.step_no, s.version_id, s.def_no, s.attempts, u.state, u.output, u.error),
    dead AS (
        INSERT INTO millrace_internal.dead_letter (shard, run_id, step_no, failed_at)
        SELECT in_shard, e.run_id, e.step_no, now_at FROM ended e
        WHERE e.state = 11 AND (SELECT d.on_error FROM millrace_internal.step_definition d WHERE d.version_id = e.version_id AND d.def_no = e.def_no) IS NULL
        ORDER BY e.run_id, e.step_no
        ON CONFLICT (run_id, step_no, shard) DO UPDATE SET failed_at = excluded.failed_at),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind, data)
        SELECT e.run_id, now_at, pg_current_xact_id()::text::bigint, e.step_no, e.attempts, in_shard, CASE e.state WHEN 10 THEN 11 WHEN 11 THEN 12 ELSE 13 END,
               CASE e.state WHEN 11 THEN jsonb_build_object('error', e.error, 'outcome', 'fatal', 'class', 'fatal') WHEN 12 THEN jsonb_build_object('reason', e.error) END
        FROM ended e ORDER BY e.ord)
    INSERT INTO millrace_internal.output (shard, run_id, step_no, output)
    SELECT in_shard, e.run_id, e.step_no, e.output FROM ended e WHERE e.state = 10 AND e.output IS NOT NULL;
END $$;
COMMENT ON FUNCTION millrace_internal.engine_end(smallint, bigint[], integer[], smallint[], jsonb[], text[]) IS 'Ready steps end at once, by the engine''s own judgement.';
