-- Purpose: a definition becomes a version.

-- Arguments: definition  see docs/sql-reference.md
--            search_path of the definer, with which its sql steps run
-- Returns:   the workflow's name, its version, and whether that is new
-- Tables changed: workflow, version, step_definition, queue, handler. Locks: the workflow's row, so that versions are numbered one by one.
CREATE OR REPLACE FUNCTION millrace.define_workflow(definition jsonb, search_path text DEFAULT current_setting('search_path'))
RETURNS TABLE (workflow text, version integer, version_id integer, steps integer, edges integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    found_id integer := millrace_internal.define(definition, coalesce(define_workflow.search_path, '"$user", public'), false);
BEGIN
    RETURN QUERY
    SELECT w.name, v.version, v.version_id, v.steps, v.edges
    FROM millrace_internal.version v
    JOIN millrace_internal.workflow w USING (workflow_id)
    WHERE v.version_id = found_id;
END $$;
COMMENT ON FUNCTION millrace.define_workflow(jsonb, text) IS
'Defines a workflow: the same definition again answers the same version, a changed one makes the next. Runs keep the version they started with.
Errors: MR101-MR112, with all mistakes in the detail (see validate_workflow).';

CREATE OR REPLACE FUNCTION millrace_internal.define(definition jsonb, path_of_definer text, is_inline boolean)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    definer  name := millrace_internal.caller();
    hash     bytea := sha256(convert_to(coalesce(definition, 'null')::text || E'\n' || path_of_definer, 'UTF8'));
    owner_id integer;
    found_id integer;
    latest   record;
BEGIN
    -- unpacked once: a large value that comes from a table would be unpacked at every look
    definition := CASE WHEN jsonb_typeof(definition) = 'object' THEN definition || '{}' ELSE definition END;
    SELECT w.workflow_id, v.version_id, v.inline INTO latest
    FROM millrace_internal.workflow w JOIN millrace_internal.version v USING (workflow_id)
    WHERE w.name = definition ->> 'workflow' AND v.content_hash = hash AND v.defined_by = definer::regrole;
    IF latest.version_id IS NOT NULL AND (is_inline OR NOT latest.inline) THEN
        RETURN latest.version_id;
    END IF;

    PERFORM millrace_internal.fail_problems(array_agg(p.path), array_agg(p.code), array_agg(p.message), array_agg(p.hint))
    FROM millrace_internal.definition_problems(definition, definer, path_of_definer) p;

    INSERT INTO millrace_internal.workflow (name) VALUES (definition ->> 'workflow') ON CONFLICT DO NOTHING;
    SELECT w.workflow_id INTO owner_id FROM millrace_internal.workflow w WHERE w.name = definition ->> 'workflow' FOR NO KEY UPDATE;
    -- somebody may have defined the same while we waited
    SELECT v.version_id INTO found_id FROM millrace_internal.version v
    WHERE v.workflow_id = owner_id AND v.content_hash = hash AND v.defined_by = definer::regrole;
    IF found_id IS NULL THEN
        RETURN millrace_internal.version_create(owner_id, definition, hash, definer, path_of_definer, is_inline);
    ELSIF NOT is_inline THEN
        -- what came with a submit first is now the workflow's own
        UPDATE millrace_internal.version v SET inline = false WHERE v.version_id = found_id AND v.inline;
    END IF;
    RETURN found_id;
END $$;
COMMENT ON FUNCTION millrace_internal.define(jsonb, text, boolean) IS 'The version of a definition, made if it is new.';

CREATE OR REPLACE FUNCTION millrace_internal.version_create(owner_id integer, definition jsonb, hash bytea, definer name, path_of_definer text, is_inline boolean)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET enable_mergejoin = off SET jit = off AS $$
#variable_conflict use_variable
DECLARE
    new_id   integer := nextval('millrace_internal.version_id_seq');
    keys     text[];
    handlers text[];
    queues   text[];
    rules    smallint[];
    expected real[];
    froms    integer[];
    tos      integer[];
    main     integer := jsonb_array_length(definition -> 'steps');
    g        record;
BEGIN
    SELECT array_agg(s.key ORDER BY s.ordinal), array_agg(DISTINCT s.handler), array_agg(DISTINCT s.queue), array_agg(s.rule ORDER BY s.ordinal),
           array_agg(coalesce(millrace_internal.seconds(s.expected), 1)::real ORDER BY s.ordinal)
    INTO keys, handlers, queues, rules, expected
    FROM millrace_internal.definition_steps(definition) s;
    IF millrace_internal.compensates(definition) THEN
        SELECT n.queues, n.handlers INTO queues, handlers FROM millrace_internal.definition_names(definition) n;
    END IF;
    -- queues before handlers, as everywhere: two calls that bring the same new names wait for each other in one order
    PERFORM millrace_internal.queue_ids(queues);
    PERFORM millrace_internal.handler_ids(handlers);

    SELECT array_agg(k.ord::integer), array_agg(n.ordinal) INTO froms, tos
    FROM millrace_internal.definition_needs(definition) n JOIN unnest(keys) WITH ORDINALITY k (key, ord) USING (key)
    -- by the time a step of finally runs, all main ones have ended
    WHERE (n.ordinal > main) = (k.ord > main);
    SELECT * INTO g FROM millrace_internal.graph_build(cardinality(keys), coalesce(froms, '{}'), coalesce(tos, '{}'), rules, expected, 16 * 1024 * 1024);

    INSERT INTO millrace_internal.version (version_id, workflow_id, version, inline, content_hash, definition, on_failure, steps, edges, closing, roots, looked_at_roots, finally_roots, finally_closing, phased, deadline, graph, defined_by, search_path)
    SELECT new_id, owner_id, coalesce((SELECT max(v.version) FROM millrace_internal.version v WHERE v.workflow_id = owner_id), 0) + 1,
           is_inline, hash, definition, CASE definition ->> 'on_failure' WHEN 'cancel' THEN 1 ELSE 0 END, cardinality(keys),
           (SELECT sum(cardinality(millrace_internal.graph_needs(g.graph, n))) FROM generate_series(1, cardinality(keys)) n),
           (SELECT count(*) FROM unnest(g.def_no) WITH ORDINALITY n (def_no, ordinal) WHERE g.closing[n.def_no] AND n.ordinal <= main),
           ARRAY(SELECT n.def_no FROM unnest(g.def_no) WITH ORDINALITY n (def_no, ordinal) WHERE g.needs_count[n.def_no] = 0 AND n.ordinal <= main ORDER BY 1),
           (SELECT array_agg(n.def_no ORDER BY n.def_no) FROM millrace_internal.definition_steps(definition) s
            JOIN unnest(g.def_no) WITH ORDINALITY n (def_no, ordinal) USING (ordinal)
            WHERE g.needs_count[n.def_no] = 0 AND n.ordinal <= main AND millrace_internal.is_looked_at(s.traits)),
           (SELECT array_agg(n.def_no ORDER BY n.def_no) FROM unnest(g.def_no) WITH ORDINALITY n (def_no, ordinal) WHERE g.needs_count[n.def_no] = 0 AND n.ordinal > main),
           nullif((SELECT count(*) FROM unnest(g.def_no) WITH ORDINALITY n (def_no, ordinal) WHERE g.closing[n.def_no] AND n.ordinal > main), 0),
           millrace_internal.is_phased(definition),
           millrace_internal.seconds(definition -> 'deadline'),
           g.graph, definer::regrole, path_of_definer;

    PERFORM millrace_internal.definitions_write(new_id, definition, expected, g.graph, g.def_no, g.level, g.rank, g.needs_count, g.closing, g.dependents_start, g.dependents);
    RETURN new_id;
END $$;
COMMENT ON FUNCTION millrace_internal.version_create(integer, jsonb, bytea, name, text, boolean) IS
'Writes a checked definition as the next version of a workflow, its graph computed. Tables changed: version, step_definition, queue, handler.';

CREATE OR REPLACE FUNCTION millrace_internal.retry_policy(retry jsonb)
RETURNS TABLE (retry_limit integer, backoff double precision, factor double precision, longest double precision, jitter double precision, classes jsonb)
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce((retry ->> 'limit')::numeric::integer, 0), coalesce(millrace_internal.seconds(retry -> 'backoff'), 1),
           coalesce(round((retry ->> 'factor')::numeric, 9)::double precision, 2), coalesce(millrace_internal.seconds(retry -> 'max'), 300),
           coalesce(round((retry ->> 'jitter')::numeric, 9)::double precision, 0.1),
           nullif(jsonb_strip_nulls(jsonb_build_object('on', retry -> 'on', 'never_on', retry -> 'never_on')), '{}')
$$;
COMMENT ON FUNCTION millrace_internal.retry_policy(jsonb) IS 'The retry policy of a step, with its defaults.';

-- Arguments: definition  checked; expected, def_nos  by ordinal: of each of its steps
--            graph, levels ... dependents  by def_no, as logic/graph.sql answers them: of all steps of the version
CREATE OR REPLACE FUNCTION millrace_internal.definitions_write(
    new_id integer, definition jsonb, expected real[], graph bytea, def_nos integer[],
    levels integer[], ranks real[], needs_counts integer[], closings boolean[], dependents_start integer[], dependents integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET enable_mergejoin = off SET jit = off AS $$
#variable_conflict use_variable
DECLARE
    keys text[] := ARRAY(SELECT s.key FROM millrace_internal.definition_steps(definition) s ORDER BY s.ordinal);
    main integer := jsonb_array_length(definition -> 'steps');
BEGIN
    INSERT INTO millrace_internal.step_definition (version_id, def_no, key, workflow, handler_id, handler, queue_id, rule, rule_path, priority, takes_input,
        retry_limit, retry_backoff, retry_factor, retry_max, retry_jitter, retry_classes, timeout, delay, expected,
        settings, input, fills, required, level, rank, needs_count, closing, dependents, needs, traits, entered, finally, on_error)
    SELECT new_id, n.def_no, s.key, definition ->> 'workflow', h.handler_id, s.handler, q.queue_id,
           -- a step without needs has nothing to judge
           CASE WHEN b.needs_count = 0 THEN 0 ELSE s.rule END, s.rule_path, s.priority, h.takes_input OR s.input IS NOT NULL AND s.handler <> 'sql',
           r.retry_limit, r.backoff, r.factor, r.longest, r.jitter, r.classes,
           millrace_internal.seconds(s.timeout), nullif(millrace_internal.seconds(s.delay), 0), expected[s.ordinal],
           f.settings, f.input, f.fills, s.required, b.level, b.rank, b.needs_count, b.closing,
           nullif(dependents[b.first_dependent:b.past_dependents - 1], '{}'), nullif(millrace_internal.graph_needs(graph, n.def_no) || coalesce(looked_up.needs, '{}'), '{}'),
           s.traits, millrace_internal.is_entered(s.traits), s.ordinal > main, takes_over.def_no
    FROM millrace_internal.definition_steps(definition) s
    JOIN unnest(def_nos) WITH ORDINALITY n (def_no, ordinal) ON n.ordinal = s.ordinal
    JOIN unnest(levels, ranks, needs_counts, closings, dependents_start[1:cardinality(levels)], dependents_start[2:])
         WITH ORDINALITY b (level, rank, needs_count, closing, first_dependent, past_dependents, def_no) ON b.def_no = n.def_no
    LEFT JOIN (SELECT e.ordinal, array_agg(def_nos[k.ord] ORDER BY def_nos[k.ord]) AS needs
               FROM millrace_internal.definition_needs(definition) e JOIN unnest(keys) WITH ORDINALITY k (key, ord) USING (key)
               WHERE e.ordinal > main AND k.ord <= main GROUP BY 1) looked_up ON looked_up.ordinal = s.ordinal
    LEFT JOIN (SELECT k.key, def_nos[k.ord] AS def_no FROM unnest(keys) WITH ORDINALITY k (key, ord)) takes_over ON takes_over.key = s.on_error
    JOIN millrace_internal.handler h ON h.name = s.handler
    JOIN millrace_internal.queue q ON q.name = s.queue
    CROSS JOIN LATERAL millrace_internal.retry_policy(s.retry) r
    CROSS JOIN LATERAL millrace_internal.fill_prepare(s.settings, s.input) f;
    PERFORM millrace_internal.compensations_write(new_id, definition, def_nos);
END $$;
COMMENT ON FUNCTION millrace_internal.definitions_write(integer, jsonb, real[], bytea, integer[], integer[], real[], integer[], boolean[], integer[], integer[]) IS
'Writes the steps of a definition into a version. Tables changed: step_definition.';
