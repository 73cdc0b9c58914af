-- Purpose: runs that grow. A run that gets further steps leaves the version that it shares with others for one of its own: the
-- old steps with their numbers, and the new ones behind them. docs/growing.md says what may be added, and what that costs.

-- Arguments: run_id      of a run that has not ended
--            definition  {"steps": […], "edges": {"OLD": ["KEY", …]}}: steps as in a workflow, whose needs may name steps of the run;
--                        edges make steps of the run that have not been decided need others
--            by_step_no, by_token  of a running step that calls; it must still be the caller's
-- Returns:   the new steps, as they stand
-- Locks: the run's step rows, then the run. Tables changed: version, step_definition, queue, handler, step, run, event, timer, ready (plain tier).
CREATE OR REPLACE FUNCTION millrace.add_steps(run_id bigint, definition jsonb, by_step_no integer DEFAULT NULL, by_token integer DEFAULT NULL)
RETURNS TABLE (step_no integer, key text, state text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    r     millrace_internal.run := millrace_internal.run_get(add_steps.run_id);
    v     millrace_internal.version;
    grown record;
    again integer[];
BEGIN
    PERFORM millrace_internal.require_read_committed();
    PERFORM millrace_internal.lock_run_steps(r.shard, r.run_id, false);
    SELECT n.* INTO r FROM millrace_internal.run n WHERE n.run_id = r.run_id AND n.shard = r.shard FOR NO KEY UPDATE;
    SELECT n.* INTO v FROM millrace_internal.version n WHERE n.version_id = r.version_id;
    again := millrace_internal.growth_again(v, add_steps.definition);
    IF again IS NOT NULL THEN
        RETURN QUERY SELECT * FROM millrace_internal.growth_answer(r, again);
        RETURN;
    ELSIF r.finished_at IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR071', format('run %s has ended: it is %s', r.run_id, millrace_internal.run_state_name(r.state)), NULL, 'Only a running or paused run can grow.');
    ELSIF r.phase IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR071', format('run %s is about to end', r.run_id), 'Its main steps have ended; the steps that run afterwards are under way.', 'Submit another run.');
    ELSIF add_steps.by_step_no IS NOT NULL AND NOT EXISTS (
            SELECT FROM millrace_internal.step s
            WHERE s.run_id = r.run_id AND s.step_no = add_steps.by_step_no AND s.shard = r.shard AND s.state = 4 AND s.token = add_steps.by_token) THEN
        PERFORM millrace_internal.fail('MR041', format('step %s of run %s no longer runs with token %s', add_steps.by_step_no, r.run_id, coalesce(add_steps.by_token::text, 'null')));
    END IF;
    PERFORM millrace_internal.growth_check(r, v, add_steps.definition);
    grown := millrace_internal.version_grow(r, v, add_steps.definition);
    PERFORM millrace_internal.run_move(r, v, grown.version_id);
    INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind, data)
    VALUES (r.run_id, millrace_internal.clock(), pg_current_xact_id()::text::bigint, r.shard, 30,
            jsonb_strip_nulls(jsonb_build_object('first_step', v.steps + 1, 'steps', grown.steps - v.steps, 'by_step', add_steps.by_step_no)));
    PERFORM millrace_internal.settle_anew(r.shard, r.run_id, grown.version_id, grown.changed || ARRAY(SELECT generate_series(v.steps + 1, grown.steps)));
    r.version_id := grown.version_id;
    RETURN QUERY SELECT * FROM millrace_internal.growth_answer(r, ARRAY(SELECT generate_series(v.steps + 1, grown.steps)));
END $$;
COMMENT ON FUNCTION millrace.add_steps(bigint, jsonb, integer, integer) IS
'Adds steps and edges to a run, and answers the new steps. {"steps": [...], "edges": {"OLD": ["KEY"]}}: needs may name old and new steps.
What the run has been given before, word for word, is not added again: the call answers those steps, and changes nothing.
Errors: MR013, MR041 the calling step no longer runs, MR043, MR071 the run has ended, MR072 a step that would get a need is past pending,
MR073 a sql step by another role than the version''s definer, MR101-MR112 with all mistakes in the detail.
Locks: the run''s step rows, then the run. Tables changed: version, step_definition, queue, handler, step, run, event, timer, ready (plain tier).';

-- The steps that a growth asked for, as they stand.
CREATE OR REPLACE FUNCTION millrace_internal.growth_answer(r millrace_internal.run, def_nos integer[])
RETURNS TABLE (step_no integer, key text, state text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
    SELECT d.def_no, d.key, coalesce(millrace_internal.step_state_name(s.state), 'pending')
    FROM unnest(def_nos) u (def_no)
    JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = u.def_no
    LEFT JOIN millrace_internal.step s ON s.run_id = r.run_id AND s.step_no = d.def_no AND s.shard = r.shard
    ORDER BY d.def_no
$$;
COMMENT ON FUNCTION millrace_internal.growth_answer(millrace_internal.run, integer[]) IS 'Steps that were added to a run, with their states.';

-- A caller that was not told of its success asks again: a client whose connection broke, a step that is tried again.
-- Returns: the numbers of the steps, where the run has been given all of them and all of the edges; else null
CREATE OR REPLACE FUNCTION millrace_internal.growth_again(v millrace_internal.version, growth jsonb)
RETURNS integer[] LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    def_nos integer[];
    missing boolean;
BEGIN
    IF v.run_id IS NULL OR jsonb_typeof(growth) <> 'object' OR growth - '{steps,edges}'::text[] <> '{}' OR jsonb_typeof(coalesce(growth -> 'steps', '[]')) <> 'array'
       OR jsonb_path_exists(growth, '$.steps[*] ? (@.type() != "object")') OR jsonb_typeof(coalesce(growth -> 'edges', '{}')) <> 'object' THEN
        RETURN NULL;
    END IF;
    WITH node AS MATERIALIZED (
        SELECT ord::integer AS def_no, step ->> 'key' AS key, step - 'needs' AS step, coalesce(step -> 'needs', '[]') AS needs,
               ord > (SELECT b.steps FROM millrace_internal.version b WHERE b.version_id = v.base_id) AS added
        FROM jsonb_array_elements(v.definition -> 'steps') WITH ORDINALITY e (step, ord))
    SELECT array_agg(n.def_no) FILTER (WHERE g.is_step), bool_or(n.def_no IS NULL) INTO def_nos, missing
    FROM (SELECT step ->> 'key', step - 'needs', coalesce(step -> 'needs', '[]'), true FROM jsonb_array_elements(growth -> 'steps') step
          UNION ALL SELECT e.key, NULL, e.value, false FROM jsonb_each(growth -> 'edges') e) g (key, step, needs, is_step)
    -- an added step may have got further needs since then
    LEFT JOIN node n ON n.key = g.key AND n.needs @> g.needs AND (NOT g.is_step OR n.added AND n.step = g.step);
    RETURN CASE WHEN NOT missing THEN coalesce(def_nos, '{}') END;
END $$;
COMMENT ON FUNCTION millrace_internal.growth_again(millrace_internal.version, jsonb) IS 'The steps of a growth that the run has had already.';

-- The steps of a growth as a definition of their own.
CREATE OR REPLACE FUNCTION millrace_internal.growth_part(v millrace_internal.version, growth jsonb)
RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('workflow', v.definition -> 'workflow', 'defaults', coalesce(v.definition -> 'defaults', '{}'), 'steps', coalesce(growth -> 'steps', '[]'))
$$;
COMMENT ON FUNCTION millrace_internal.growth_part(millrace_internal.version, jsonb) IS 'The new steps with the workflow''s name and defaults.';

-- Returns: all mistakes of a growth by itself; paths as in its text. Steps of the run that are named stand in as empty ones.
CREATE OR REPLACE FUNCTION millrace_internal.growth_problems(v millrace_internal.version, growth jsonb)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
    part   jsonb;
    named  text[];
    known  text[];
    n      integer;
BEGIN
    IF jsonb_typeof(growth) IS DISTINCT FROM 'object' THEN
        RETURN QUERY SELECT '$', 'MR101', 'what is added is not an object', 'Write {"steps": [...], "edges": {"OLD": ["KEY"]}}.';
        RETURN;
    END IF;
    RETURN QUERY SELECT k, 'MR102', format('unknown key "%s"', k), 'Known keys: steps, edges.' FROM jsonb_object_keys(growth) k WHERE k NOT IN ('steps', 'edges');
    IF FOUND THEN
        RETURN;
    ELSIF growth ? 'steps' AND jsonb_typeof(growth -> 'steps') <> 'array' THEN
        RETURN QUERY SELECT 'steps', 'MR101', 'steps is not an array', 'Write "steps": [{"key": "a", "handler": "noop"}].';
        RETURN;
    ELSIF growth ? 'edges' AND (jsonb_typeof(growth -> 'edges') <> 'object' OR EXISTS (
            SELECT FROM jsonb_each(growth -> 'edges') e WHERE jsonb_typeof(e.value) <> 'array' OR jsonb_path_exists(e.value, '$[*] ? (@.type() != "string")'))) THEN
        RETURN QUERY SELECT 'edges', 'MR101', 'edges is not an object of arrays of keys', 'Write "edges": {"OLD": ["KEY"]}: OLD then needs KEY.';
        RETURN;
    ELSIF coalesce(jsonb_array_length(growth -> 'steps'), 0) = 0 AND NOT jsonb_path_exists(growth, '$.edges.*[*]') THEN
        RETURN QUERY SELECT '$', 'MR111', 'nothing is added', 'Give steps, edges, or both.';
        RETURN;
    ELSIF v.steps + jsonb_array_length(coalesce(growth -> 'steps', '[]')) > 100000 THEN
        RETURN QUERY SELECT 'steps', 'MR107', format('the run would have %s steps', v.steps + jsonb_array_length(growth -> 'steps')), 'A run has up to 100,000 steps.';
        RETURN;
    END IF;

    part := millrace_internal.growth_part(v, growth);
    named := ARRAY(SELECT DISTINCT k FROM (SELECT m.key FROM millrace_internal.definition_needs(part) m
                                           UNION ALL SELECT e.key FROM jsonb_each(growth -> 'edges') e
                                           UNION ALL SELECT need FROM jsonb_each(growth -> 'edges') e, jsonb_array_elements_text(e.value) need
                                           UNION ALL SELECT step ->> 'key' FROM jsonb_array_elements(part -> 'steps') step WHERE jsonb_typeof(step) = 'object') u (k) WHERE k IS NOT NULL);
    known := ARRAY(SELECT d.key FROM unnest(named) k CROSS JOIN LATERAL (
                       SELECT d.key FROM millrace_internal.step_definition d WHERE d.key = k AND d.version_id = v.version_id AND NOT millrace_internal.is_gained(d.def_no) OFFSET 0) d);
    RETURN QUERY
    SELECT format('steps[%s].key', ord - 1), 'MR103', format('the run has a step "%s" already', step ->> 'key'), 'Keys are unique in a run.'
    FROM jsonb_array_elements(part -> 'steps') WITH ORDINALITY s (step, ord) WHERE jsonb_typeof(step) = 'object' AND step ->> 'key' = ANY (known);
    IF FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT format('edges.%s', e.key), CASE WHEN fresh THEN 'MR112' ELSE 'MR104' END,
           CASE WHEN fresh THEN format('the step "%s" is a new one', e.key) ELSE format('the run has no step "%s"', e.key) END,
           CASE WHEN fresh THEN 'Write what it needs into the step.'
                ELSE 'Did you mean "' || millrace_internal.nearest(e.key, ARRAY(SELECT d.key FROM millrace_internal.step_definition d WHERE d.version_id = v.version_id ORDER BY d.def_no)) || '"?' END
    FROM (SELECT e.key, jsonb_path_exists(part, '$.steps[*] ? (@.key == $k)', jsonb_build_object('k', e.key)) AS fresh
          FROM jsonb_each(growth -> 'edges') e WHERE e.key <> ALL (known)) e;
    RETURN QUERY
    SELECT format('edges.%s', e.key), CASE WHEN e.need = e.key THEN 'MR105' ELSE 'MR104' END,
           CASE WHEN e.need = e.key THEN format('step "%s" would need itself', e.key)
                ELSE format('step "%s" would need "%s", which is no step', e.key, e.need) END,
           CASE WHEN e.need <> e.key THEN 'Did you mean "' || millrace_internal.nearest(e.need, ARRAY(SELECT d.key FROM millrace_internal.step_definition d WHERE d.version_id = v.version_id
                                                              UNION ALL SELECT step ->> 'key' FROM jsonb_array_elements(part -> 'steps') step)) || '"?' END
    FROM (SELECT e.key, need FROM jsonb_each(growth -> 'edges') e, jsonb_array_elements_text(e.value) need) e
    WHERE e.need = e.key OR e.need <> ALL (known) AND NOT jsonb_path_exists(part, '$.steps[*] ? (@.key == $k)', jsonb_build_object('k', e.need));

    RETURN QUERY
    SELECT 'edges.' || e.key, 'MR112', format('step "%s" would need "%s", and one of them is a step of finally', e.key, e.need), 'Steps of finally run when all others have ended, as they were defined.'
    FROM (SELECT step ->> 'key', need FROM jsonb_array_elements(part -> 'steps') step, jsonb_array_elements_text(CASE WHEN jsonb_typeof(step -> 'needs') = 'array' THEN step -> 'needs' ELSE '[]' END) need
          UNION ALL SELECT e.key, need FROM jsonb_each(growth -> 'edges') e, jsonb_array_elements_text(e.value) need) e (key, need)
    LEFT JOIN millrace_internal.step_definition k ON k.key = e.key AND k.version_id = v.version_id
    LEFT JOIN millrace_internal.step_definition n ON n.key = e.need AND n.version_id = v.version_id
    WHERE k.finally OR n.finally;
    n := jsonb_array_length(part -> 'steps');
    IF n > 0 THEN
        RETURN QUERY
        SELECT p.* FROM millrace_internal.definition_problems(
            part || jsonb_build_object('steps', (part -> 'steps') || coalesce((SELECT jsonb_agg(jsonb_build_object('key', k, 'handler', 'noop')) FROM unnest(known) k), '[]')),
            pg_get_userbyid(v.defined_by), v.search_path) p;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.growth_problems(millrace_internal.version, jsonb) IS 'All mistakes of steps and edges that are to be added to runs of a version.';

-- Refuses what must not be added. The caller holds the run's steps.
CREATE OR REPLACE FUNCTION millrace_internal.growth_check(r millrace_internal.run, v millrace_internal.version, growth jsonb)
RETURNS void LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    late record;
BEGIN
    PERFORM millrace_internal.fail_problems(array_agg(p.path), array_agg(p.code), array_agg(p.message), array_agg(p.hint))
    FROM millrace_internal.growth_problems(v, growth) p;
    -- whoever adds SQL uses the rights of the role that defined the version
    IF NOT pg_has_role(millrace_internal.caller(), v.defined_by, 'USAGE')
       AND (jsonb_path_exists(growth, '$.** ? (@ == "sql" || exists (@.sql))') OR v.definition -> 'defaults' ->> 'handler' = 'sql') THEN
        PERFORM millrace_internal.fail('MR073', format('role "%s" cannot add SQL to run %s', millrace_internal.caller(), r.run_id), NULL,
            format('It would be executed with the rights of "%s": add it as that role.', pg_get_userbyid(v.defined_by)));
    END IF;
    SELECT d.key, s.state INTO late
    FROM jsonb_object_keys(coalesce(growth -> 'edges', '{}')) e (key)
    JOIN millrace_internal.step_definition d ON d.key = e.key AND d.version_id = v.version_id
    JOIN millrace_internal.step s ON s.run_id = r.run_id AND s.step_no = d.def_no AND s.shard = r.shard AND s.state <> 0
    ORDER BY d.def_no LIMIT 1;
    IF FOUND THEN
        PERFORM millrace_internal.fail('MR072', format('step "%s" of run %s cannot wait for another step: it is %s', late.key, r.run_id, millrace_internal.step_state_name(late.state)), NULL,
            'Only a pending step can get further needs.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.growth_check(millrace_internal.run, millrace_internal.version, jsonb) IS 'Raises what is wrong with a growth.';

-- The definition with what is added to it: new steps last, edges as needs of old ones.
CREATE OR REPLACE FUNCTION millrace_internal.grown_definition(definition jsonb, growth jsonb)
RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_set(definition, '{steps}', CASE WHEN growth ? 'edges' THEN
        (SELECT jsonb_agg(CASE WHEN growth -> 'edges' ? (step ->> 'key')
                               THEN step || jsonb_build_object('needs', coalesce(step -> 'needs', '[]') || (growth -> 'edges' -> (step ->> 'key'))) ELSE step END ORDER BY ord)
         FROM jsonb_array_elements(definition -> 'steps') WITH ORDINALITY s (step, ord))
        ELSE definition -> 'steps' END || coalesce(growth -> 'steps', '[]'))
$$;
COMMENT ON FUNCTION millrace_internal.grown_definition(jsonb, jsonb) IS 'A definition and what a run has added to it, in one.';

-- Returns: the run's new version, how many steps it has, and which old steps count other needs than before
-- Tables changed: version, step_definition, queue, handler.
CREATE OR REPLACE FUNCTION millrace_internal.version_grow(r millrace_internal.run, v millrace_internal.version, growth jsonb, OUT version_id integer, OUT steps integer, OUT changed integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
    part     jsonb := millrace_internal.growth_part(v, growth);
    names    record;
    keys     text[];
    rules    smallint[];
    expected real[];
    froms    integer[];
    tos      integer[];
    g        record;
    ranks    real[];
BEGIN
    SELECT coalesce(array_agg(s.key ORDER BY s.ordinal), '{}'), coalesce(array_agg(s.rule ORDER BY s.ordinal), '{}'),
           coalesce(array_agg(coalesce(millrace_internal.seconds(s.expected), 1)::real ORDER BY s.ordinal), '{}')
    INTO keys, rules, expected
    FROM millrace_internal.definition_steps(part) s;
    names := millrace_internal.definition_names(part);
    PERFORM millrace_internal.queue_ids(names.queues);
    PERFORM millrace_internal.handler_ids(names.handlers);

    WITH edge (need, dependent) AS MATERIALIZED (
        SELECT n.key, keys[n.ordinal] FROM millrace_internal.definition_needs(part) n
        UNION SELECT need, e.key FROM jsonb_each(growth -> 'edges') e, jsonb_array_elements_text(e.value) need),
    number (key, def_no) AS MATERIALIZED (
        SELECT k, v.steps + ord::integer FROM unnest(keys) WITH ORDINALITY u (k, ord)
        UNION ALL
        SELECT k.key, d.def_no FROM (SELECT need AS key FROM edge UNION SELECT dependent FROM edge) k
        CROSS JOIN LATERAL (SELECT d.def_no FROM millrace_internal.step_definition d WHERE d.key = k.key AND d.version_id = v.version_id OFFSET 0) d)
    SELECT coalesce(array_agg(f.def_no), '{}'), coalesce(array_agg(t.def_no), '{}') INTO froms, tos
    FROM edge e JOIN number f ON f.key = e.need JOIN number t ON t.key = e.dependent;

    g := millrace_internal.graph_grow(v.graph, froms, tos, rules, expected, 16 * 1024 * 1024);
    IF g.cycle IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR106', format('the steps would need each other in a ring: %s',
            (SELECT string_agg(coalesce(keys[c.def_no - v.steps], d.key), ' -> ' ORDER BY c.ord)
             FROM unnest(g.cycle || g.cycle[1]) WITH ORDINALITY c (def_no, ord)
             LEFT JOIN millrace_internal.step_definition d ON d.version_id = v.version_id AND d.def_no = c.def_no WHERE c.ord <= 50)),
            NULL, 'Each step would be needed by the next; remove one of these needs.');
    END IF;

    version_id := nextval('millrace_internal.version_id_seq');
    steps := v.steps + cardinality(keys);
    changed := g.changed;
    ranks := g.rank;
    IF EXISTS (SELECT FROM millrace_internal.duration m WHERE m.version_id = coalesce(v.base_id, v.version_id)) THEN
        ranks := millrace_internal.graph_ranks(g.grown, ARRAY(SELECT e.seconds FROM millrace_internal.estimates(v.version_id) e ORDER BY e.def_no) || expected);
    END IF;
    PERFORM millrace_internal.version_of_run(version_id, r.run_id, v, millrace_internal.grown_definition(v.definition, growth), g.grown, g.needs_count, g.closing);
    PERFORM millrace_internal.definitions_copy(v.version_id, version_id, ARRAY(SELECT DISTINCT t FROM unnest(tos) t WHERE t <= v.steps ORDER BY t), g.grown,
                                               g.level, ranks, g.needs_count, g.closing, g.dependents_start, g.dependents);
    PERFORM millrace_internal.definitions_write(version_id, part, expected, g.grown, ARRAY(SELECT generate_series(v.steps + 1, steps)),
                                                g.level, ranks, g.needs_count, g.closing, g.dependents_start, g.dependents);
END $$;
COMMENT ON FUNCTION millrace_internal.version_grow(millrace_internal.run, millrace_internal.version, jsonb) IS 'Makes a version for one run, out of the one it has and what is added. MR106 for a ring.';

-- The row of a version that one run has for itself. Arguments: v  the one it is made from. Tables changed: version.
CREATE OR REPLACE FUNCTION millrace_internal.version_of_run(new_id integer, in_run_id bigint, v millrace_internal.version, definition jsonb, graph bytea, needs_counts integer[], closings boolean[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    v.base_id := coalesce(v.base_id, v.version_id);
    v.version_id := new_id;
    v.run_id := in_run_id;
    v.inline := true;
    v.content_hash := sha256(convert_to(format('%s of run %s', new_id, in_run_id), 'UTF8'));
    v.definition := definition;
    v.phased := v.phased OR millrace_internal.is_phased(definition);
    v.steps := cardinality(needs_counts);
    v.edges := (SELECT count(*) FROM millrace_internal.graph_edges(graph));
    v.closing := (SELECT count(*) FROM unnest(closings) c WHERE c);
    v.graph := graph;
    v.defined_at := clock_timestamp();
    INSERT INTO millrace_internal.version SELECT v.*;
END $$;
COMMENT ON FUNCTION millrace_internal.version_of_run(integer, bigint, millrace_internal.version, jsonb, bytea, integer[], boolean[]) IS 'Writes the row of a run''s own version.';

-- Steps of one version go into another with their numbers. Arguments: gained  those that have other needs now
-- Arrays by def_no, as logic/graph.sql answers them. Tables changed: step_definition.
CREATE OR REPLACE FUNCTION millrace_internal.definitions_copy(old_id integer, new_id integer, gained integer[], graph bytea,
    levels integer[], ranks real[], needs_counts integer[], closings boolean[], dependents_start integer[], dependents integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET enable_mergejoin = off SET jit = off AS $$
#variable_conflict use_variable
DECLARE
    compensation millrace_internal.step_definition;
BEGIN
    INSERT INTO millrace_internal.step_definition (version_id, def_no, key, workflow, handler_id, handler, queue_id, rule, rule_path, priority, takes_input,
        retry_limit, retry_backoff, retry_factor, retry_max, retry_jitter, retry_classes, timeout, delay, expected,
        settings, input, fills, required, level, rank, needs_count, closing, dependents, needs, traits, entered, finally, on_error)
    SELECT new_id, d.def_no, d.key, d.workflow, d.handler_id, d.handler, d.queue_id, d.rule, d.rule_path, d.priority, d.takes_input,
        d.retry_limit, d.retry_backoff, d.retry_factor, d.retry_max, d.retry_jitter, d.retry_classes, d.timeout, d.delay, d.expected,
        d.settings, d.input, d.fills, d.required, b.level, b.rank, b.needs_count, b.closing,
        nullif(dependents[b.first_dependent:b.past_dependents - 1], '{}'),
        CASE WHEN d.def_no = ANY (gained) THEN ARRAY(SELECT DISTINCT n FROM unnest(coalesce(d.needs, '{}') || millrace_internal.graph_needs(graph, d.def_no)) n ORDER BY n) ELSE d.needs END, d.traits, d.entered, d.finally, d.on_error
    FROM millrace_internal.step_definition d
    JOIN unnest(levels, ranks, needs_counts, closings, dependents_start[1:cardinality(levels)], dependents_start[2:])
         WITH ORDINALITY b (level, rank, needs_count, closing, first_dependent, past_dependents, def_no) ON b.def_no = d.def_no
    WHERE d.version_id = old_id;
    FOR compensation IN SELECT n.* FROM millrace_internal.step_definition n WHERE n.version_id = old_id AND millrace_internal.is_gained(n.def_no) LOOP
        compensation.version_id := new_id;
        INSERT INTO millrace_internal.step_definition SELECT compensation.*;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.definitions_copy(integer, integer, integer[], bytea, integer[], real[], integer[], boolean[], integer[], integer[]) IS
'Copies the steps of a version, with what a changed graph says of them.';

-- A run leaves one version for another in which all its steps have the same numbers. The caller holds its steps and its row.
-- Arguments: v  the version that it leaves, which goes if it was the run's own; dropped  pending steps that the new one is without
-- Tables changed: step, run, event, version, step_definition.
CREATE OR REPLACE FUNCTION millrace_internal.run_move(r millrace_internal.run, v millrace_internal.version, new_id integer, dropped integer[] DEFAULT NULL)
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
BEGIN
    -- what has ended may stay with a version that stays
    UPDATE millrace_internal.step s SET version_id = new_id
    WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.version_id = v.version_id AND (s.state < 10 OR v.run_id IS NOT NULL);
    UPDATE millrace_internal.run n SET version_id = new_id WHERE n.run_id = r.run_id AND n.shard = r.shard;
    IF v.run_id IS NOT NULL THEN
        DELETE FROM millrace_internal.step_definition d WHERE d.version_id = v.version_id;
        DELETE FROM millrace_internal.version n WHERE n.version_id = v.version_id;
    END IF;
    IF cardinality(dropped) > 0 THEN
        PERFORM millrace_internal.materialise(r.shard, array_fill(r.run_id, ARRAY[cardinality(dropped)]), dropped);
        UPDATE millrace_internal.step s SET state = 12, needs_left = 0, finished_at = now_at
        WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.step_no = ANY (dropped);
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind, data)
        SELECT r.run_id, now_at, pg_current_xact_id()::text::bigint, n, 0, r.shard, 13, '{"reason": "migrated"}' FROM unnest(dropped) n ORDER BY n;
    END IF;
    PERFORM millrace_internal.run_recount(r.shard, r.run_id);
END $$;
COMMENT ON FUNCTION millrace_internal.run_move(millrace_internal.run, millrace_internal.version, integer, integer[]) IS 'Moves a run to another version.';

-- Steps that are new in a run, or whose needs are others than before: needs that ended earlier count now; what has none left is decided.
-- What is past pending is passed over.
-- Locks and tables changed: as settle, then as close_runs.
CREATE OR REPLACE FUNCTION millrace_internal.settle_anew(in_shard smallint, in_run_id bigint, in_version_id integer, defs integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    graph bytea := (SELECT v.graph FROM millrace_internal.version v WHERE v.version_id = in_version_id);
    hits  record;
    next  record;
BEGIN
    SELECT array_agg(h.def_no ORDER BY h.def_no) AS defs, array_agg(h.needs ORDER BY h.def_no) AS needs,
           array_agg(in_run_id) FILTER (WHERE h.due) AS hit_runs, array_agg(h.def_no ORDER BY h.def_no) FILTER (WHERE h.due) AS hit_defs,
           array_agg(h.ended ORDER BY h.def_no) FILTER (WHERE h.due) AS hit_n, array_agg(h.bad ORDER BY h.def_no) FILTER (WHERE h.due) AS hit_bad INTO hits
    FROM (SELECT c.*, c.needs = 0 OR c.ended > 0 AS due
          FROM (SELECT u.def_no, count(need)::integer AS needs, count(s.state)::integer AS ended, (count(*) FILTER (WHERE s.state <> 10))::integer AS bad
                FROM unnest(defs) u (def_no)
                LEFT JOIN LATERAL unnest(millrace_internal.graph_counted(graph, u.def_no)) need ON true
                LEFT JOIN LATERAL (SELECT s.state FROM millrace_internal.step s
                                   WHERE s.run_id = in_run_id AND s.step_no = need AND s.shard = in_shard AND s.state >= 10 OFFSET 0) s ON true
                GROUP BY 1) c
          WHERE NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = in_run_id AND s.step_no = c.def_no AND s.shard = in_shard AND s.state <> 0)) h;
    -- rows that are there begin anew, too
    UPDATE millrace_internal.step s SET needs_left = h.needs, needs_bad = 0
    FROM unnest(hits.defs, hits.needs) h (def_no, needs)
    WHERE s.run_id = in_run_id AND s.step_no = h.def_no AND s.shard = in_shard AND s.state = 0;
    next := millrace_internal.settle(in_shard, hits.hit_runs, hits.hit_defs, NULL, hits.hit_n, hits.hit_bad, NULL, NULL, NULL, NULL, NULL, 0);
    IF next.ended_runs IS NOT NULL THEN
        PERFORM millrace_internal.close_runs(in_shard, next.ended_runs, next.ended_closing, next.ended_failed);
    END IF;
    IF next.moot_runs IS NOT NULL THEN
        PERFORM millrace_internal.runs_recount(in_shard, next.moot_runs);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_anew(smallint, bigint, integer, integer[]) IS 'Counts pending steps of a run that has another version, and decides those that have nothing left to wait for.';

-- The version for a new run that is to be like one of another run: the same, or a copy where it is a run's own.
CREATE OR REPLACE FUNCTION millrace_internal.version_for_run(in_version_id integer, in_run_id bigint)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v      millrace_internal.version;
    new_id integer;
    d      millrace_internal.step_definition;
BEGIN
    SELECT n.* INTO v FROM millrace_internal.version n WHERE n.version_id = in_version_id;
    IF v.run_id IS NULL THEN
        RETURN in_version_id;
    END IF;
    new_id := nextval('millrace_internal.version_id_seq');
    v.version_id := new_id;
    v.run_id := in_run_id;
    v.content_hash := sha256(convert_to(format('%s of run %s', new_id, in_run_id), 'UTF8'));
    INSERT INTO millrace_internal.version SELECT v.*;
    FOR d IN SELECT n.* FROM millrace_internal.step_definition n WHERE n.version_id = in_version_id LOOP
        d.version_id := new_id;
        INSERT INTO millrace_internal.step_definition SELECT d.*;
    END LOOP;
    RETURN new_id;
END $$;
COMMENT ON FUNCTION millrace_internal.version_for_run(integer, bigint) IS 'A version that a new run may have: one that is another run''s own is copied. Tables changed: version, step_definition.';
