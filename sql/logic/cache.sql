-- Purpose: a step with a cache is not computed again: where another of the same tenant, with the same handler, settings and key,
-- has left its output, and it has not expired, the step completes with it as its rule holds. Steps with the same key that
-- run side by side are both computed; the last one's output stays.

-- Returns: what tells a computation from all others; null where that cannot be said
CREATE OR REPLACE FUNCTION millrace_internal.cache_key(in_shard smallint, in_run_id bigint, in_tenant_id integer, def millrace_internal.step_definition)
RETURNS bytea LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    context  jsonb := millrace_internal.context_of(in_shard, in_run_id, def);
    settings jsonb := CASE WHEN def.fills THEN (millrace_internal.settings_from(def, context)).settings ELSE def.settings END;
BEGIN
    RETURN sha256(convert_to(jsonb_build_array(in_tenant_id, def.handler, settings, millrace_internal.input_fill(def.traits -> 'cache' -> 'key', context),
        -- a step without a handler is known by the workflow that it runs
        CASE WHEN def.traits ? 'workflow' THEN jsonb_build_array(def.traits -> 'workflow', def.traits -> 'version', def.input) END,
        -- the same statement may mean another thing to another role
        (SELECT jsonb_build_array(v.defined_by::bigint, v.search_path) FROM millrace_internal.version v WHERE v.version_id = def.version_id AND def.handler = 'sql'))::text, 'UTF8'));
EXCEPTION WHEN data_exception OR program_limit_exceeded OR undefined_object OR feature_not_supported THEN
    RETURN NULL;
END $$;
COMMENT ON FUNCTION millrace_internal.cache_key(smallint, bigint, integer, millrace_internal.step_definition) IS 'The hash of what a step computes its output from.';

-- Arguments: steps with a cache that are ready, and whose rows this call holds
-- Returns:   those that have completed with an output of the cache; the others are left as they are
-- Tables changed: step, event, output, output_expiry.
CREATE OR REPLACE FUNCTION millrace_internal.cache_enter(in_shard smallint, run_ids bigint[], step_nos integer[], OUT runs bigint[], OUT steps integer[], OUT defs integer[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    now_at  timestamptz := millrace_internal.clock();
    outputs jsonb[];
BEGIN
    SELECT array_agg(s.run_id ORDER BY s.run_id, s.step_no), array_agg(s.step_no ORDER BY s.run_id, s.step_no), array_agg(s.def_no ORDER BY s.run_id, s.step_no),
           array_agg(c.output ORDER BY s.run_id, s.step_no)
    INTO runs, steps, defs, outputs
    FROM unnest(run_ids, step_nos) u (run_id, step_no)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2
    JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    JOIN millrace_internal.cache c ON c.key = millrace_internal.cache_key(in_shard, u.run_id, r.tenant_id, d) AND c.shard = in_shard AND c.expires_at > now_at
    WHERE (u.run_id & 255) = in_shard;
    IF runs IS NOT NULL THEN
        PERFORM millrace_internal.outputs_rule(in_shard, runs, steps, ARRAY(SELECT generate_series(1, cardinality(runs))));
        PERFORM millrace_internal.engine_end(in_shard, runs, steps, array_fill(10::smallint, ARRAY[cardinality(runs)]), outputs, array_fill(NULL::text, ARRAY[cardinality(runs)]));
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.cache_enter(smallint, bigint[], integer[]) IS 'Completes steps with outputs that the cache has.';

-- Comes last in a call: rows of the cache are waited for by nobody who holds other rows, but by such calls at their own end.
-- Arguments: as decide. Locks: cache rows, ascending. Tables changed: cache.
CREATE OR REPLACE FUNCTION millrace_internal.cache_store(in_shard smallint, run_ids bigint[], step_nos integer[], codes smallint[], outputs jsonb[], in_applied integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    now_at timestamptz;
BEGIN
    IF outputs IS NULL OR NOT millrace_internal.has_output_rules() THEN
        RETURN;
    END IF;
    now_at := millrace_internal.clock();
    INSERT INTO millrace_internal.cache (key, shard, output, expires_at, run_id, step_no)
    SELECT DISTINCT ON (k.key) k.key, in_shard, u.output, now_at + make_interval(secs => millrace_internal.seconds(d.traits -> 'cache' -> 'ttl')), u.run_id, u.step_no
    FROM unnest(run_ids, step_nos, codes, outputs) WITH ORDINALITY u (run_id, step_no, code, output, ord)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard
    JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no AND d.traits ? 'cache'
    CROSS JOIN LATERAL (SELECT millrace_internal.cache_key(in_shard, u.run_id, r.tenant_id, d) OFFSET 0) k (key)
    WHERE u.output IS NOT NULL AND u.code = 1 AND u.ord = ANY (in_applied) AND (u.run_id & 255) = in_shard AND k.key IS NOT NULL
    ORDER BY k.key, u.ord DESC
    ON CONFLICT (key, shard) DO UPDATE SET output = excluded.output, expires_at = excluded.expires_at, run_id = excluded.run_id, step_no = excluded.step_no;
END $$;
COMMENT ON FUNCTION millrace_internal.cache_store(smallint, bigint[], integer[], smallint[], jsonb[], integer[]) IS 'Leaves outputs to later steps with the same key.';
