-- Purpose: what a definition says about a step's output: its shape, how long it is kept, whether other steps may take it over.

CREATE OR REPLACE FUNCTION millrace_internal.output_problems(step jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.* FROM millrace_internal.shape_problems(step -> 'output_shape', at_path || '.output_shape') s WHERE step ? 'output_shape'
    UNION ALL
    SELECT at_path || p.suffix, p.code, format('%s%s %s', at_path, p.suffix, p.what), p.hint
    FROM (VALUES
        ('.output', 'MR112', 'is neither "keep", "none" nor {"ttl": an interval}', 'Write for example "output": {"ttl": "7d"}.',
         step ? 'output' AND NOT (step -> 'output' IN ('"keep"', '"none"')
             OR jsonb_typeof(step -> 'output') = 'object' AND (step -> 'output') - 'ttl' = '{}' AND coalesce(millrace_internal.seconds(step -> 'output' -> 'ttl') > 0, false))),
        ('.cache', 'MR112', 'is not {"key": JSON, "ttl": an interval}', 'Write for example "cache": {"key": {"page": "$.run.page"}, "ttl": "1h"}.',
         step ? 'cache' AND NOT (jsonb_typeof(step -> 'cache') = 'object' AND (step -> 'cache') - '{key,ttl}'::text[] = '{}' AND step -> 'cache' ? 'key'
             AND coalesce(millrace_internal.seconds(step -> 'cache' -> 'ttl') > 0, false))),
        ('.cache', 'MR112', 'needs an output that is kept', 'Leave "output" out, or give it a time to live.', step ? 'cache' AND step -> 'output' = '"none"'),
        ('.cache', 'MR112', 'does not go with wait_for', NULL, step ? 'cache' AND step ? 'wait_for'),
        ('.cache.key', 'MR112', 'has a template', 'A key is made of paths: the values themselves tell what was computed.',
         EXISTS (SELECT FROM millrace_internal.fill_places(step -> 'cache' -> 'key') f WHERE f.kind = 'template'))
    ) p (suffix, code, what, hint, wrong) WHERE p.wrong
    UNION ALL
    SELECT at_path || '.cache.key', 'MR108', format('%s.cache.key: "%s" is not a JSONPath: %s', at_path, leaf, millrace_internal.path_problem(leaf)),
           'A text that begins with $ is a JSONPath into "run" and "needs".'
    FROM millrace_internal.input_paths(step -> 'cache' -> 'key') leaf WHERE millrace_internal.path_problem(leaf) IS NOT NULL
$$;
COMMENT ON FUNCTION millrace_internal.output_problems(jsonb, text) IS 'Mistakes in output, output_shape and cache.';

-- Asked where outputs are stored: most installations have none, and their reports look no further.
CREATE OR REPLACE FUNCTION millrace_internal.has_output_rules()
RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off AS $$
BEGIN
    RETURN EXISTS (SELECT FROM millrace_internal.step_definition d WHERE d.traits ?| '{output,output_shape,cache}');
END $$;
COMMENT ON FUNCTION millrace_internal.has_output_rules() IS 'Whether a definition says something about outputs.';

-- Arguments: steps of a report; codes as in logic/finish.sql; outputs, null: there are none
-- Returns:   for each, why its output is refused; null when none is
CREATE OR REPLACE FUNCTION millrace_internal.shape_refusals(in_shard smallint, run_ids bigint[], step_nos integer[], codes smallint[], outputs jsonb[])
RETURNS text[] LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    refusals text[];
BEGIN
    IF NOT millrace_internal.has_output_rules() THEN
        RETURN NULL;
    END IF;
    SELECT array_agg('MR045 output: ' || r.problem ORDER BY u.ord) INTO refusals
    FROM unnest(run_ids, step_nos, codes, outputs) WITH ORDINALITY u (run_id, step_no, code, output, ord)
    LEFT JOIN LATERAL (
        SELECT millrace_internal.shape_problem(d.traits -> 'output_shape', u.output) AS problem
        FROM millrace_internal.step s
        JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no AND d.traits ? 'output_shape'
        WHERE u.code = 1 AND s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND (u.run_id & 255) = in_shard OFFSET 0) r ON true;
    RETURN CASE WHEN array_remove(refusals, NULL) <> '{}' THEN refusals END;
END $$;
COMMENT ON FUNCTION millrace_internal.shape_refusals(smallint, bigint[], integer[], smallint[], jsonb[]) IS 'Which outputs do not have the shape that their steps declare.';

-- work_report leaves alone what completes without an output where one is declared (extension/src/work_complete.c).
CREATE OR REPLACE FUNCTION millrace_internal.silent_refusals(in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[])
RETURNS text[] LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN millrace_internal.shape_refusals(0::smallint, run_ids, step_nos,
        ARRAY(SELECT (s.run_id IS NOT NULL)::integer::smallint
              FROM unnest(run_ids, step_nos, tokens) WITH ORDINALITY u (run_id, step_no, token, ord)
              LEFT JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = (u.run_id & 255)
                   AND s.state = 4 AND s.token = u.token AND s.agent_id = in_agent_id
              ORDER BY u.ord), NULL);
END $$;
COMMENT ON FUNCTION millrace_internal.silent_refusals(integer, bigint[], integer[], integer[]) IS 'Why completions without outputs were not applied.';

-- Before outputs are stored: whose are never kept, and until when others are.
-- Arguments: places  of those that have an output
-- Returns: places of those that are not to be stored. Tables changed: output_expiry.
CREATE OR REPLACE FUNCTION millrace_internal.outputs_rule(in_shard smallint, run_ids bigint[], step_nos integer[], places integer[])
RETURNS integer[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    lives  record;
    now_at timestamptz;
BEGIN
    IF NOT millrace_internal.has_output_rules() THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(u.ord::integer) FILTER (WHERE d.traits ->> 'output' = 'none') AS unkept,
           array_agg(u.run_id) FILTER (WHERE t.seconds IS NOT NULL) AS runs, array_agg(u.step_no) FILTER (WHERE t.seconds IS NOT NULL) AS steps,
           array_agg(t.seconds) FILTER (WHERE t.seconds IS NOT NULL) AS seconds
    INTO lives
    FROM unnest(run_ids, step_nos) WITH ORDINALITY u (run_id, step_no, ord)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no AND d.traits ? 'output'
    CROSS JOIN LATERAL (SELECT millrace_internal.seconds(d.traits -> 'output' -> 'ttl')) t (seconds)
    WHERE (u.run_id & 255) = in_shard AND u.ord = ANY (places);
    IF lives.runs IS NOT NULL THEN
        now_at := millrace_internal.clock();
        INSERT INTO millrace_internal.output_expiry (shard, due_at, run_id, step_no, seconds)
        SELECT in_shard, now_at + make_interval(secs => u.seconds), u.run_id, u.step_no, u.seconds
        FROM unnest(lives.runs, lives.steps, lives.seconds) u (run_id, step_no, seconds)
        ON CONFLICT DO NOTHING;
        PERFORM millrace_internal.keeper_wake();
    END IF;
    RETURN lives.unkept;
END $$;
COMMENT ON FUNCTION millrace_internal.outputs_rule(smallint, bigint[], integer[], integer[]) IS 'Which outputs are not kept; notes when others go.';

-- Outputs whose time is over. As long as its run goes on, or may, a step may still be asked for its output: then it stays that long again.
-- Tables changed: output_expiry, output. Locks: SKIP LOCKED.
CREATE OR REPLACE FUNCTION millrace_internal.keep_outputs(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    WITH head AS MATERIALIZED (
        SELECT e.* FROM millrace_internal.output_expiry e WHERE e.due_at <= now_at
        ORDER BY e.due_at, e.run_id, e.step_no LIMIT 1000 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM millrace_internal.output_expiry e USING head h
        WHERE e.due_at = h.due_at AND e.run_id = h.run_id AND e.step_no = h.step_no AND e.shard = h.shard),
    judged AS MATERIALIZED (
        SELECT h.*, r.finished_at IS NULL AS alive, s.finished_at
        FROM head h
        JOIN millrace_internal.run r ON r.run_id = h.run_id AND r.shard = h.shard
        JOIN millrace_internal.step s ON s.run_id = h.run_id AND s.step_no = h.step_no AND s.shard = h.shard),
    again AS (
        INSERT INTO millrace_internal.output_expiry (shard, due_at, run_id, step_no, seconds)
        SELECT j.shard, now_at + make_interval(secs => greatest(j.seconds, 1)), j.run_id, j.step_no, j.seconds FROM judged j WHERE j.alive
        ON CONFLICT DO NOTHING)
    DELETE FROM millrace_internal.output o USING judged j
    -- a step that was run again meanwhile has a note of its own
    WHERE NOT j.alive AND j.finished_at + make_interval(secs => j.seconds) <= now_at
      AND o.run_id = j.run_id AND o.step_no = j.step_no AND o.shard = j.shard;
    IF EXISTS (SELECT FROM millrace_internal.output_expiry e WHERE e.due_at <= now_at) THEN
        RETURN true;
    END IF;
    DELETE FROM millrace_internal.cache c
    WHERE (c.key, c.shard) IN (SELECT e.key, e.shard FROM millrace_internal.cache e WHERE e.expires_at <= now_at ORDER BY e.expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED);
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_outputs(timestamptz) IS 'Removes up to 1,000 outputs that are past their time, and as many of the cache.';
