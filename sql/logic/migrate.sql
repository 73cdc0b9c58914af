-- Purpose: a running run moves to another version of its workflow, if nothing that it has begun would mean something else there.

-- What may change in a step that is past pending: nothing of what it does, only how the engine goes about it from now on.
CREATE OR REPLACE FUNCTION millrace_internal.is_policy(part text)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT part IN ('description', 'expected', 'retry', 'timeout', 'delay', 'priority', 'queue', 'compensate')
$$;
COMMENT ON FUNCTION millrace_internal.is_policy(text) IS 'Parts of a step that do not say what it does.';

-- What a run has added to the definition that it began with, in the form of add_steps.
CREATE OR REPLACE FUNCTION millrace_internal.growth_between(base jsonb, grown jsonb)
RETURNS jsonb LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
    SELECT jsonb_build_object(
        'steps', coalesce(jsonb_agg(g.step ORDER BY g.ord) FILTER (WHERE b.step IS NULL), '[]'),
        'edges', coalesce(jsonb_object_agg(g.step ->> 'key', e.needs) FILTER (WHERE b.step IS NOT NULL AND e.needs IS NOT NULL), '{}'))
    FROM jsonb_array_elements(grown -> 'steps') WITH ORDINALITY g (step, ord)
    LEFT JOIN jsonb_array_elements(base -> 'steps') b (step) ON b.step ->> 'key' = g.step ->> 'key'
    LEFT JOIN LATERAL (SELECT jsonb_agg(need ORDER BY n.ord) AS needs FROM jsonb_array_elements(g.step -> 'needs') WITH ORDINALITY n (need, ord)
                       WHERE NOT coalesce(b.step -> 'needs', '[]') @> need) e ON true
$$;
COMMENT ON FUNCTION millrace_internal.growth_between(jsonb, jsonb) IS 'Steps and edges that one definition has and the other has not.';

-- The definition that a run of version v has in another version of its workflow: what the run has added to its own goes with it.
CREATE OR REPLACE FUNCTION millrace_internal.definition_in(v millrace_internal.version, target millrace_internal.version)
RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    growth jsonb;
BEGIN
    IF v.run_id IS NULL THEN
        RETURN target.definition;
    END IF;
    growth := millrace_internal.growth_between((SELECT b.definition FROM millrace_internal.version b WHERE b.version_id = v.base_id), v.definition);
    -- what the target has by now is no addition any more
    RETURN millrace_internal.grown_definition(target.definition, growth || jsonb_build_object('steps',
        (SELECT coalesce(jsonb_agg(step ORDER BY ord), '[]') FROM jsonb_array_elements(growth -> 'steps') WITH ORDINALITY s (step, ord)
         WHERE NOT jsonb_path_exists(target.definition, '$.steps[*] ? (@.key == $k)', jsonb_build_object('k', step -> 'key')))));
END $$;
COMMENT ON FUNCTION millrace_internal.definition_in(millrace_internal.version, millrace_internal.version) IS 'What a run''s definition becomes in another version.';

-- Arguments: version  of the run's workflow; null: the latest
--            dry_run  only answer what would change
-- Returns:   what changes, and whether it may; all of it has been done unless something may not (MR074) or it was asked for as a dry run
-- Locks: the run's step rows, then the run. Tables changed: version, step_definition, queue, handler, step, run, event, timer, ready (plain tier).
CREATE OR REPLACE FUNCTION millrace.migrate_run(run_id bigint, version integer DEFAULT NULL, dry_run boolean DEFAULT false)
RETURNS TABLE (key text, state text, change text, old jsonb, new jsonb, allowed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    r         millrace_internal.run := millrace_internal.run_get(migrate_run.run_id);
    v         millrace_internal.version;
    target    millrace_internal.version;
    becomes   jsonb;
    changes   jsonb;      -- once, as they were before the move
    refused   record;
    new_id    integer;
    dropped   integer[];
BEGIN
    PERFORM millrace_internal.require_read_committed();
    IF NOT dry_run THEN
        PERFORM millrace_internal.lock_run_steps(r.shard, r.run_id, false);
        SELECT n.* INTO r FROM millrace_internal.run n WHERE n.run_id = r.run_id AND n.shard = r.shard FOR NO KEY UPDATE;
    END IF;
    SELECT n.* INTO v FROM millrace_internal.version n WHERE n.version_id = r.version_id;
    SELECT n.* INTO target FROM millrace_internal.version n
    WHERE n.version_id = millrace_internal.version_for((SELECT w.name FROM millrace_internal.workflow w WHERE w.workflow_id = v.workflow_id), migrate_run.version);
    IF r.finished_at IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR071', format('run %s has ended: it is %s', r.run_id, millrace_internal.run_state_name(r.state)), NULL, 'Only a running or paused run can migrate.');
    ELSIF r.phase IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR071', format('run %s is about to end', r.run_id), 'Its main steps have ended; the steps that run afterwards are under way.');
    ELSIF v.run_id IS NOT NULL AND v.defined_by <> target.defined_by THEN
        PERFORM millrace_internal.fail('MR074', format('run %s has grown, and version %s was defined by another role', r.run_id, target.version), NULL,
            format('Its own steps may use only the rights of "%s".', pg_get_userbyid(v.defined_by)));
    END IF;
    becomes := millrace_internal.definition_in(v, target);
    changes := (SELECT jsonb_agg(to_jsonb(c)) FROM millrace_internal.migration_changes(r, v, becomes) c);
    SELECT count(*) AS n, string_agg(format('%s (%s): %s', c.key, c.state, c.change), E'\n') AS listed, min(c.key) AS key INTO refused
    FROM (SELECT c.key, c.state, c.change FROM jsonb_to_recordset(changes) c (key text, state text, change text, allowed boolean) WHERE NOT c.allowed LIMIT 20) c;
    IF refused.n > 0 AND NOT dry_run THEN
        PERFORM millrace_internal.fail('MR074', format('run %s cannot migrate to version %s of its workflow', r.run_id, target.version), refused.listed,
            'What has begun must mean the same there. Ask with dry_run => true for all that would change.');
    ELSIF refused.n = 0 AND NOT dry_run AND coalesce(v.base_id, v.version_id) <> target.version_id THEN
        dropped := ARRAY(SELECT d.def_no FROM jsonb_to_recordset(changes) c (key text, change text) JOIN millrace_internal.step_definition d ON d.key = c.key AND d.version_id = v.version_id
                         WHERE c.change = 'removed' ORDER BY 1);
        IF millrace_internal.numbers_agree(r, v, target, becomes) THEN
            new_id := target.version_id;
            dropped := NULL;
        ELSE
            new_id := millrace_internal.version_migrate(r, v, target, becomes, dropped);
        END IF;
        PERFORM millrace_internal.run_move(r, v, new_id, dropped);
        INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind, data)
        VALUES (r.run_id, millrace_internal.clock(), pg_current_xact_id()::text::bigint, r.shard, 31, jsonb_build_object('from_version', v.version, 'to_version', target.version));
        PERFORM millrace_internal.settle_anew(r.shard, r.run_id, new_id, ARRAY(SELECT d.def_no FROM millrace_internal.step_definition d WHERE d.version_id = new_id AND NOT d.finally AND NOT millrace_internal.is_gained(d.def_no)));
    END IF;
    RETURN QUERY
    SELECT c.key, c.state, c.change, c.old, c.new, c.allowed
    FROM jsonb_array_elements(changes) WITH ORDINALITY e (change, ord),
         jsonb_to_record(e.change) c (key text, state text, change text, old jsonb, new jsonb, allowed boolean)
    ORDER BY e.ord;
END $$;
COMMENT ON FUNCTION millrace.migrate_run(bigint, integer, boolean) IS
'Moves a run to another version of its workflow (the latest, if left out), and answers what changes. With dry_run it only answers, with what is not allowed.
Errors: MR012, MR013, MR043, MR071 the run has ended, MR074 something that has begun would mean something else.
Locks: the run''s step rows, then the run. Tables changed: version, step_definition, queue, handler, step, run, event, timer, ready (plain tier).';

-- What changes for a run. A pending step may change in any way, but must not go while another one that the run has added needs it;
-- one that is past pending may change in its policies only.
CREATE OR REPLACE FUNCTION millrace_internal.migration_changes(r millrace_internal.run, v millrace_internal.version, becomes jsonb)
RETURNS TABLE (key text, state text, change text, old jsonb, new jsonb, allowed boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.key, CASE WHEN c.key IS NOT NULL AND c.change <> 'added' THEN millrace_internal.step_state_name(coalesce(s.state, 0::smallint)) END,
           c.change, c.old, c.new,
           CASE WHEN c.key IS NULL THEN c.change IN ('description', 'on_failure', 'output')
                WHEN c.change = 'removed' THEN coalesce(s.state, 0) = 0 AND c.key <> ALL (ARRAY(SELECT n.key FROM millrace_internal.definition_needs(becomes) n))
                ELSE c.change = 'added' OR coalesce(s.state, 0) = 0 OR millrace_internal.is_policy(c.change) END
    FROM millrace_internal.definition_changes(v.definition, becomes) WITH ORDINALITY c (key, change, old, new, ord)
    LEFT JOIN millrace_internal.step_definition d ON d.key = c.key AND d.version_id = v.version_id
    LEFT JOIN millrace_internal.step s ON s.run_id = r.run_id AND s.step_no = d.def_no AND s.shard = r.shard
    ORDER BY c.ord
$$;
COMMENT ON FUNCTION millrace_internal.migration_changes(millrace_internal.run, millrace_internal.version, jsonb) IS 'What another definition changes for a run, and whether it may.';

-- Whether a run can take the version as it is: the run has added nothing, and each of its rows has the same number there.
CREATE OR REPLACE FUNCTION millrace_internal.numbers_agree(r millrace_internal.run, v millrace_internal.version, target millrace_internal.version, becomes jsonb)
RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT becomes = target.definition AND NOT EXISTS (
        SELECT FROM millrace_internal.step s
        LEFT JOIN millrace_internal.step_definition o ON o.version_id = v.version_id AND o.def_no = s.def_no
        LEFT JOIN millrace_internal.step_definition n ON n.version_id = target.version_id AND n.def_no = s.def_no
        WHERE s.run_id = r.run_id AND s.shard = r.shard AND o.key IS DISTINCT FROM n.key)
$$;
COMMENT ON FUNCTION millrace_internal.numbers_agree(millrace_internal.run, millrace_internal.version, millrace_internal.version, jsonb) IS 'Whether a version numbers the steps of a run as the run does.';

-- A version for one run: another definition with the run's numbers. What is not in it keeps its number without an edge.
-- Tables changed: version, step_definition, queue, handler.
CREATE OR REPLACE FUNCTION millrace_internal.version_migrate(r millrace_internal.run, v millrace_internal.version, target millrace_internal.version, becomes jsonb, dropped integer[])
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    new_id   integer := nextval('millrace_internal.version_id_seq');
    names    record;
    keys     text[];
    numbers  integer[];
    rules    smallint[];
    expected real[];
    froms    integer[];
    tos      integer[];
    main     integer;
    g        record;
BEGIN
    becomes := millrace_internal.grown_definition(becomes, jsonb_build_object('steps',
        (SELECT coalesce(jsonb_agg(jsonb_build_object('key', d.key, 'handler', d.handler) ORDER BY d.def_no), '[]')
         FROM millrace_internal.step_definition d WHERE d.version_id = v.version_id AND d.def_no = ANY (dropped))));
    main := jsonb_array_length(becomes -> 'steps');
    IF v.run_id IS NOT NULL THEN
        PERFORM millrace_internal.fail_problems(array_agg(p.path), array_agg(p.code), array_agg(p.message), array_agg(p.hint))
        FROM millrace_internal.definition_problems(becomes, pg_get_userbyid(target.defined_by), target.search_path) p;
    END IF;
    SELECT array_agg(s.key ORDER BY s.ordinal), array_agg(s.number ORDER BY s.ordinal), array_agg(s.rule ORDER BY s.number), array_agg(s.seconds ORDER BY s.ordinal)
    INTO keys, numbers, rules, expected
    FROM (SELECT s.key, s.ordinal, s.rule, coalesce(millrace_internal.seconds(s.expected), 1)::real AS seconds,
                 coalesce(d.def_no, v.steps + (row_number() OVER (PARTITION BY d.def_no IS NULL ORDER BY s.ordinal))::integer) AS number
          FROM millrace_internal.definition_steps(becomes) s
          LEFT JOIN millrace_internal.step_definition d ON d.version_id = v.version_id AND d.key = s.key) s;
    names := millrace_internal.definition_names(becomes);
    PERFORM millrace_internal.queue_ids(names.queues);
    PERFORM millrace_internal.handler_ids(names.handlers);

    SELECT coalesce(array_agg(numbers[k.ord]), '{}'), coalesce(array_agg(numbers[n.ordinal]), '{}') INTO froms, tos
    FROM millrace_internal.definition_needs(becomes) n JOIN unnest(keys) WITH ORDINALITY k (key, ord) USING (key)
    WHERE (n.ordinal > main) = (k.ord > main);
    g := millrace_internal.graph_build_numbered(cardinality(keys), froms, tos, rules,
                                                ARRAY(SELECT e FROM unnest(numbers, expected) u (n, e) ORDER BY n), 16 * 1024 * 1024);
    IF g.cycle IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR106', format('the steps would need each other in a ring: %s',
            (SELECT string_agg(keys[array_position(numbers, c.def_no)], ' -> ' ORDER BY c.ord)
             FROM unnest(g.cycle || g.cycle[1]) WITH ORDINALITY c (def_no, ord) WHERE c.ord <= 50)), NULL, 'The steps that the run has added do not fit that version.');
    END IF;
    -- what is the run's own comes from the target from now on
    target.base_id := target.version_id;
    target.finally_roots := (SELECT array_agg(n ORDER BY n) FROM unnest(numbers) WITH ORDINALITY u (n, ord) WHERE g.needs_count[n] = 0 AND ord > main);
    PERFORM millrace_internal.version_of_run(new_id, r.run_id, target, becomes, g.graph, g.needs_count, g.closing);
    PERFORM millrace_internal.definitions_write(new_id, becomes, expected, g.graph, numbers, g.level, g.rank, g.needs_count, g.closing, g.dependents_start, g.dependents);
    RETURN new_id;
END $$;
COMMENT ON FUNCTION millrace_internal.version_migrate(millrace_internal.run, millrace_internal.version, millrace_internal.version, jsonb, integer[]) IS 'Makes a version for one run out of another version of its workflow.';
