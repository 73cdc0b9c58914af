-- Purpose: all that may be wrong with a definition, at once. Each function looks at one kind of mistake and answers
-- rows (path, code, message, hint); validate_workflow puts them together. Tables changed: none.

-- The keys an object may have, by where it stands.
CREATE OR REPLACE FUNCTION millrace_internal.definition_keys(place text)
RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE place
        WHEN 'workflow' THEN ARRAY['workflow', 'description', 'on_failure', 'defaults', 'deadline', 'steps', 'finally', 'output']
        WHEN 'step' THEN ARRAY['key', 'needs', 'handler', 'with', 'input', 'required', 'rule', 'retry', 'timeout', 'queue', 'priority', 'delay', 'expected', 'description', 'when', 'wait_for', 'output', 'output_shape', 'cache', 'for_each', 'workflow', 'version', 'batch', 'window', 'on_error', 'deadline', 'compensate']
        WHEN 'for_each' THEN ARRAY['in', 'parallel', 'failures', 'chunk']
        WHEN 'defaults' THEN ARRAY['handler', 'rule', 'retry', 'timeout', 'queue', 'priority', 'delay', 'expected']
        WHEN 'condition' THEN ARRAY['sql', 'timeout', 'cache']
        WHEN 'batch' THEN ARRAY['max', 'delay', 'key', 'urgent']
        WHEN 'compensate' THEN ARRAY['handler', 'with', 'input', 'required', 'retry', 'timeout', 'queue']
        WHEN 'wait_for' THEN millrace_internal.wait_kinds() || ARRAY['on_timeout']
        WHEN 'person' THEN ARRAY['assignee', 'candidates', 'title', 'answer']
        WHEN 'retry' THEN ARRAY['limit', 'backoff', 'factor', 'max', 'jitter', 'on', 'never_on'] END
$$;
COMMENT ON FUNCTION millrace_internal.definition_keys(text) IS 'The keys that a workflow, a step, defaults or retry may have.';

CREATE OR REPLACE FUNCTION millrace_internal.unknown_keys(object jsonb, place text, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known text[] := millrace_internal.definition_keys(place);
BEGIN
    RETURN QUERY
    SELECT at_path || '.' || k, 'MR102', format('unknown key "%s" in %s', k, at_path),
           coalesce('Did you mean "' || millrace_internal.nearest(k, known) || '"?',
                    'Known keys: ' || array_to_string(known, ', ') || '.')
    FROM jsonb_object_keys(object) k
    WHERE k <> ALL (known);
END $$;
COMMENT ON FUNCTION millrace_internal.unknown_keys(jsonb, text, text) IS 'Keys that an object may not have, with the nearest known one.';

-- The policies that steps and defaults share: types and bounds.
CREATE OR REPLACE FUNCTION millrace_internal.policy_problems(step jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT at_path || p.suffix, p.code, format(p.message, at_path || p.suffix, left(coalesce(p.value #>> '{}', 'null'), 200)), p.hint
    FROM (
        SELECT '.' || k AS suffix, 'MR109' AS code, '%s: "%s" is not an interval' AS message, step -> k AS value,
               'Write seconds as a number, or text such as "500ms", "30s", "5m", "2h", "1 day".' AS hint
        FROM unnest(ARRAY['timeout', 'delay', 'expected']) k
        WHERE step ? k AND millrace_internal.seconds(step -> k) IS NULL
        UNION ALL
        SELECT '.timeout', 'MR112', '%s: "%s" is no time at all', step -> 'timeout', 'A timeout is longer than zero; leave it out for none.'
        WHERE millrace_internal.seconds(step -> 'timeout') = 0
        UNION ALL
        SELECT '.retry.' || k, 'MR109', '%s: "%s" is not an interval', step -> 'retry' -> k, 'Write seconds as a number, or text such as "500ms" or "30s".'
        FROM unnest(ARRAY['backoff', 'max']) k
        WHERE jsonb_typeof(step -> 'retry') = 'object' AND step -> 'retry' ? k AND millrace_internal.seconds(step -> 'retry' -> k) IS NULL
        UNION ALL
        SELECT '.retry', 'MR101', '%s: "%s" is not an object', step -> 'retry', 'Write for example {"limit": 5, "backoff": "1s"}.'
        WHERE jsonb_typeof(step -> 'retry') <> 'object'
        UNION ALL
        SELECT '.retry.' || k, 'MR112', '%s: "%s" is not a number from ' || b, step -> 'retry' -> k, NULL
        FROM (VALUES ('limit', 0, 10000, '0 to 10000'), ('factor', 1, 100, '1 to 100'), ('jitter', 0, 1, '0 to 1')) v (k, low, high, b)
        WHERE jsonb_typeof(step -> 'retry') = 'object' AND step -> 'retry' ? k
          AND NOT CASE WHEN jsonb_typeof(step -> 'retry' -> k) = 'number'
                       THEN (step -> 'retry' ->> k)::numeric BETWEEN low AND high AND (k <> 'limit' OR (step -> 'retry' ->> k)::numeric % 1 = 0)
                       ELSE false END
        UNION ALL
        SELECT '.priority', 'MR112', '%s: "%s" is not a whole number from -1000 to 1000', step -> 'priority', 'Lower numbers go first; 0 is the default.'
        WHERE step ? 'priority'
          AND NOT CASE WHEN jsonb_typeof(step -> 'priority') = 'number'
                       THEN (step ->> 'priority')::numeric BETWEEN -1000 AND 1000 AND (step ->> 'priority')::numeric % 1 = 0 ELSE false END
        UNION ALL
        SELECT '.rule', 'MR112', '%s: "%s" is not a rule' || replace(r.problem, '%', '%%'), step -> 'rule',
               'Rules: all_completed, all_done, none_failed, all_failed, any_completed, or an expression such as a.completed && (b.failed || c.skipped).'
        FROM (SELECT CASE WHEN jsonb_typeof(step -> 'rule') <> 'string' OR step ->> 'rule' !~ '[.&|!()]' THEN ''
                          ELSE ': ' || millrace_internal.rule_problem(step ->> 'rule', step -> 'needs') END) r (problem)
        WHERE step ? 'rule' AND coalesce(step ->> 'rule', '') NOT IN ('all_completed', 'all_done', 'none_failed', 'all_failed', 'any_completed')
          AND r.problem IS NOT NULL
        UNION ALL
        SELECT '.' || k, 'MR112', '%s: "%s" is not a name', step -> k, 'A name is text of 1 to 200 bytes without control characters.'
        FROM unnest(ARRAY['queue', 'handler']) k
        WHERE step ? k AND (jsonb_typeof(step -> k) <> 'string' OR step ->> k = '' OR octet_length(step ->> k) > 200 OR step ->> k ~ '[[:cntrl:]]')
    ) p;
    IF step ? 'retry' THEN
        RETURN QUERY SELECT r.path, r.code, r.message, r.hint FROM millrace_internal.retry_class_problems(step -> 'retry', at_path) r;
    END IF;
END $body$;
COMMENT ON FUNCTION millrace_internal.policy_problems(jsonb, text) IS 'Mistakes in timeout, delay, expected, retry, priority, rule, queue and handler.';

-- What is wrong with a step by itself.
CREATE OR REPLACE FUNCTION millrace_internal.step_problems(step jsonb, at_path text, defaults jsonb)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    IF jsonb_typeof(step) <> 'object' THEN
        RETURN QUERY SELECT at_path, 'MR101', format('%s is not an object', at_path), 'A step is an object with at least "key" and "handler".';
        RETURN;
    END IF;
    RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(step, 'step', at_path) u;
    IF jsonb_typeof(step -> 'retry') = 'object' THEN
        RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(step -> 'retry', 'retry', at_path || '.retry') u;
    END IF;
    RETURN QUERY SELECT p.path, p.code, p.message, p.hint FROM millrace_internal.policy_problems(step, at_path) p;
    -- each kind of mistake is looked for where its keys stand: a definition may have 100,000 steps
    IF step ? 'when' THEN
        RETURN QUERY SELECT c.path, c.code, c.message, c.hint FROM millrace_internal.condition_problems(step, at_path) c;
    END IF;
    RETURN QUERY SELECT w.path, w.code, w.message, w.hint FROM millrace_internal.wait_problems(step, at_path) w;
    RETURN QUERY SELECT f.path, f.code, f.message, f.hint FROM millrace_internal.fan_out_problems(step, at_path) f;
    IF step ?| '{workflow,version}' THEN
        RETURN QUERY SELECT r.path, r.code, r.message, r.hint FROM millrace_internal.sub_run_problems(step, at_path) r;
    END IF;
    IF step ?| '{on_error,deadline}' THEN
        RETURN QUERY SELECT p.path, p.code, p.message, p.hint FROM millrace_internal.failure_problems(step, at_path) p;
    END IF;
    RETURN QUERY SELECT b.path, b.code, b.message, b.hint FROM millrace_internal.batch_problems(step, at_path) b;
    IF step ? 'window' THEN
        RETURN QUERY SELECT w.path, w.code, w.message, w.hint FROM millrace_internal.window_problems(step, at_path) w;
    END IF;
    IF step ? 'compensate' OR starts_with(step ->> 'key', 'compensate:') THEN
        RETURN QUERY SELECT c.path, c.code, c.message, c.hint FROM millrace_internal.compensation_problems(step, at_path) c;
    END IF;
    RETURN QUERY
    SELECT at_path || p.suffix, p.code, format(p.message, at_path), p.hint
    FROM (VALUES
        ('.key', 'MR111', '%s has no key', 'Every step has a "key": a text that is unique in the workflow.',
         NOT step ? 'key'),
        ('.key', 'MR112', '%s.key is not a text of 1 to 200 bytes without control characters', NULL,
         step ? 'key' AND (jsonb_typeof(step -> 'key') <> 'string' OR step ->> 'key' = '' OR octet_length(step ->> 'key') > 200 OR step ->> 'key' ~ '[[:cntrl:]]')),
        ('.handler', 'MR111', '%s has no handler', 'Name a handler in the step or in the workflow''s defaults.',
         NOT step ?| '{handler,wait_for,workflow}' AND NOT coalesce(defaults ? 'handler', false)),
        ('.needs', 'MR101', '%s.needs is not an array of keys', 'Write for example "needs": ["validate"].',
         step ? 'needs' AND (jsonb_typeof(step -> 'needs') <> 'array' OR jsonb_path_exists(step -> 'needs', '$[*] ? (@.type() != "string")'))),
        ('.description', 'MR112', '%s.description is not a text', NULL,
         step ? 'description' AND jsonb_typeof(step -> 'description') <> 'string'),
        ('.with', 'MR101', '%s.with is not an object', 'The handler''s settings are an object.',
         step ? 'with' AND jsonb_typeof(step -> 'with') <> 'object'),
        ('.with', 'MR107', '%s.with is too large', 'The handler''s settings may have 1 MB.',
         step ? 'with' AND octet_length((step -> 'with')::text) > 1048576),
        ('.input', 'MR107', '%s.input is too large', 'An input may have 1 MB.',
         step ? 'input' AND octet_length((step -> 'input')::text) > 1048576),
        ('.required', 'MR112', '%s.required is neither true, false nor an array of names in input', NULL,
         step ? 'required' AND NOT (jsonb_typeof(step -> 'required') = 'boolean'
             OR (jsonb_typeof(step -> 'required') = 'array' AND coalesce(jsonb_typeof(step -> 'input'), '') = 'object'
                 AND NOT EXISTS (SELECT FROM jsonb_array_elements(step -> 'required') n WHERE jsonb_typeof(n) <> 'string' OR NOT step -> 'input' ? (n #>> '{}')))))
    ) p (suffix, code, message, hint, wrong)
    WHERE p.wrong;
    IF step ? 'input' THEN
        RETURN QUERY
        SELECT at_path || '.input', 'MR108', format('%s.input: "%s" is not a JSONPath: %s', at_path, l.leaf, l.problem),
               'A text that begins with $ is a JSONPath into "run" and "needs"; write $$ for a text that begins with a dollar sign.'
        FROM (SELECT leaf, millrace_internal.path_problem(leaf) AS problem FROM millrace_internal.input_paths(millrace_internal.fill_sources(step -> 'input')) leaf) l
        WHERE l.problem IS NOT NULL;
    END IF;
    IF step ?| '{output,output_shape,cache}' THEN
        RETURN QUERY SELECT o.path, o.code, o.message, o.hint FROM millrace_internal.output_problems(step, at_path) o;
    END IF;
    RETURN QUERY SELECT f.path, f.code, f.message, f.hint FROM millrace_internal.fill_problems(step, at_path, coalesce(step ->> 'handler', defaults ->> 'handler')) f;
END $body$;
COMMENT ON FUNCTION millrace_internal.step_problems(jsonb, text, jsonb) IS 'Mistakes within one step.';

-- What is wrong between steps: duplicate keys, unknown needs, cycles. The definition's parts have the right types by now.
CREATE OR REPLACE FUNCTION millrace_internal.graph_problems(definition jsonb)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET enable_mergejoin = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    keys   text[] := ARRAY(SELECT step ->> 'key' FROM jsonb_array_elements(millrace_internal.definition_nodes(definition)) WITH ORDINALITY e (step, ord) ORDER BY ord);
    main   integer := jsonb_array_length(definition -> 'steps');
    ring   integer[];
    froms  integer[];
    tos    integer[];
    unfit  boolean := false;
    lost_ordinals integer[];    -- needs that name no step
    lost_places   integer[];
    lost_keys     text[];
BEGIN
    RETURN QUERY
    SELECT millrace_internal.node_path(definition, ord) || '.key', 'MR103', format('the key "%s" is used by more than one step', key), 'Keys are unique in a workflow.'
    FROM (SELECT key, ord, row_number() OVER (PARTITION BY key ORDER BY ord) AS nth FROM unnest(keys) WITH ORDINALITY k (key, ord)) k
    WHERE nth > 1;
    IF FOUND THEN unfit := true; END IF;

    SELECT array_agg(k.ord::integer) FILTER (WHERE k.ord IS NOT NULL), array_agg(n.ordinal) FILTER (WHERE k.ord IS NOT NULL),
           (array_agg(n.ordinal) FILTER (WHERE k.ord IS NULL))[:1000], (array_agg(n.place) FILTER (WHERE k.ord IS NULL))[:1000],
           (array_agg(n.key) FILTER (WHERE k.ord IS NULL))[:1000]
    INTO froms, tos, lost_ordinals, lost_places, lost_keys
    FROM millrace_internal.definition_needs(definition) n
    LEFT JOIN unnest(keys) WITH ORDINALITY k (key, ord) USING (key);

    RETURN QUERY
    SELECT format('%s.needs[%s]', millrace_internal.node_path(definition, n.ordinal), n.place - 1), 'MR104',
           format('step "%s" needs "%s", which is not a step of this workflow', keys[n.ordinal], n.key),
           'Did you mean "' || millrace_internal.nearest(n.key, keys) || '"?'
    FROM unnest(lost_ordinals, lost_places, lost_keys) n (ordinal, place, key);
    IF FOUND THEN unfit := true; END IF;

    RETURN QUERY
    SELECT format('steps[%s].needs', t - 1), 'MR104', format('step "%s" needs "%s", which runs when all others have ended', keys[t], keys[f]), 'Only steps of finally can need steps of finally.'
    FROM unnest(froms, tos) e (f, t) WHERE f > main AND t <= main;
    IF FOUND THEN unfit := true; END IF;

    RETURN QUERY
    SELECT millrace_internal.node_path(definition, t) || '.needs', 'MR105', format('step "%s" needs itself', keys[t]), 'Remove its own key from its needs.'
    FROM unnest(froms, tos) e (f, t) WHERE f = t AND NOT EXISTS (SELECT FROM millrace_internal.definition_handled(definition) h WHERE h.on_error = h.key AND h.ordinal = f);
    IF FOUND THEN unfit := true; END IF;

    RETURN QUERY SELECT o.path, o.code, o.message, o.hint FROM millrace_internal.on_error_problems(definition, keys) o;
    IF FOUND OR unfit THEN RETURN; END IF;

    ring := (millrace_internal.graph_build(cardinality(keys), coalesce(froms, '{}'), coalesce(tos, '{}'),
             array_fill(0::smallint, ARRAY[cardinality(keys)]), array_fill(1::real, ARRAY[cardinality(keys)]), 0)).cycle;
    IF ring IS NOT NULL THEN
        RETURN QUERY
        SELECT 'steps', 'MR106',
               format('the steps need each other in a ring: %s', (SELECT string_agg(keys[o], ' -> ' ORDER BY ord) FROM unnest(ring || ring[1]) WITH ORDINALITY r (o, ord) WHERE ord <= 50)),
               'Each step is needed by the next; remove one of these needs.';
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.graph_problems(jsonb) IS 'Duplicate keys, unknown needs with the nearest key, steps that need themselves, a cycle with its keys in order.';

-- Arguments: definition  what define_workflow would take
-- Returns:   all mistakes; no row when there is none
CREATE OR REPLACE FUNCTION millrace.validate_workflow(definition jsonb)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT * FROM millrace_internal.definition_problems(definition, millrace_internal.caller(), '"$user", public');
END $$;
COMMENT ON FUNCTION millrace.validate_workflow(jsonb) IS 'All mistakes of a definition at once: where, code, what, what to do. Changes nothing.';

CREATE OR REPLACE FUNCTION millrace_internal.definition_problems(definition jsonb, definer name, path_of_definer text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    unfit boolean := false;
    s     record;
BEGIN
    -- unpacked once: a large value that comes from a table would be unpacked at every look
    definition := CASE WHEN jsonb_typeof(definition) = 'object' THEN definition || '{}' ELSE definition END;
    IF definition IS NULL OR jsonb_typeof(definition) <> 'object' THEN
        RETURN QUERY SELECT '', 'MR101', 'the definition is not a JSON object', 'A definition is {"workflow": name, "steps": [...]}.';
        RETURN;
    END IF;
    IF pg_column_size(definition) > 268435456 THEN
        RETURN QUERY SELECT '', 'MR107', 'the definition is too large', 'A definition may have 256 MB.';
        RETURN;
    END IF;
    RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(definition, 'workflow', 'definition') u;
    RETURN QUERY
    SELECT p.path, p.code, p.message, p.hint FROM (VALUES
        ('workflow', 'MR111', 'the definition has no name', 'Give it one: "workflow": "order".', NOT definition ? 'workflow'),
        ('workflow', 'MR112', 'the name of the workflow is not a text of 1 to 200 bytes without control characters', NULL,
         definition ? 'workflow' AND (jsonb_typeof(definition -> 'workflow') <> 'string' OR definition ->> 'workflow' = ''
            OR octet_length(definition ->> 'workflow') > 200 OR definition ->> 'workflow' ~ '[[:cntrl:]]')),
        ('description', 'MR112', 'the description is not a text', NULL,
         definition ? 'description' AND jsonb_typeof(definition -> 'description') <> 'string'),
        ('on_failure', 'MR112', format('on_failure: "%s" is neither continue nor cancel', definition ->> 'on_failure'), NULL,
         definition ? 'on_failure' AND coalesce(definition ->> 'on_failure', '') NOT IN ('continue', 'cancel')),
        ('defaults', 'MR101', 'defaults is not an object', NULL, definition ? 'defaults' AND jsonb_typeof(definition -> 'defaults') <> 'object'),
        ('output', 'MR108', format('output: %s', (SELECT format('"%s" is not a JSONPath: %s', left(leaf, 200), p) FROM millrace_internal.input_paths(definition -> 'output') leaf, millrace_internal.path_problem(leaf) p WHERE p IS NOT NULL LIMIT 1)),
         'The run''s output is filled in from "run" and "needs", which has the outputs of all steps.',
         definition ? 'output' AND EXISTS (SELECT FROM millrace_internal.input_paths(definition -> 'output') leaf WHERE millrace_internal.path_problem(leaf) IS NOT NULL))
    ) p (path, code, message, hint, wrong) WHERE p.wrong;
    RETURN QUERY SELECT d.path, d.code, d.message, d.hint FROM millrace_internal.deadline_problems(definition, '') d;
    IF jsonb_typeof(definition -> 'defaults') = 'object' THEN
        RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(definition -> 'defaults', 'defaults', 'defaults') u;
        RETURN QUERY SELECT p.path, p.code, p.message, p.hint FROM millrace_internal.policy_problems(definition -> 'defaults', 'defaults') p;
        IF jsonb_typeof(definition -> 'defaults' -> 'retry') = 'object' THEN
            RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(definition -> 'defaults' -> 'retry', 'retry', 'defaults.retry') u;
        END IF;
    END IF;
    IF NOT definition ? 'steps' OR jsonb_typeof(definition -> 'steps') <> 'array' THEN
        RETURN QUERY SELECT 'steps', 'MR111', 'the definition has no array of steps', 'Write "steps": [{"key": ..., "handler": ...}].';
        RETURN;
    END IF;
    IF definition ? 'finally' AND jsonb_typeof(definition -> 'finally') <> 'array' THEN
        RETURN QUERY SELECT 'finally', 'MR101', 'finally is not an array of steps', 'Write "finally": [{"key": ..., "handler": ...}].';
        RETURN;
    END IF;
    IF jsonb_array_length(definition -> 'steps') = 0 OR jsonb_array_length(millrace_internal.definition_nodes(definition)) > 100000 THEN
        RETURN QUERY SELECT 'steps', 'MR107', format('the workflow has %s steps', jsonb_array_length(millrace_internal.definition_nodes(definition))), 'A workflow has 1 to 100,000 steps.';
        RETURN;
    END IF;

    -- a step whose values are plainly of the right types is passed over at once: large definitions are made by programs
    FOR s IN
        SELECT p.* FROM jsonb_array_elements(millrace_internal.definition_nodes(definition)) WITH ORDINALITY e (step, ord)
        CROSS JOIN LATERAL millrace_internal.step_problems(step, millrace_internal.node_path(definition, ord), definition -> 'defaults') p
        WHERE NOT millrace_internal.step_is_plain(step, definition -> 'defaults') LIMIT 1000
    LOOP
        path := s.path; code := s.code; message := s.message; hint := s.hint;
        -- without these there is no telling what the steps are and how they hang together
        unfit := unfit OR s.code = 'MR101' OR s.path ~ '^(steps|finally)\[\d+\]\.(key$|needs)';
        RETURN NEXT;
    END LOOP;
    IF unfit THEN
        RETURN;
    END IF;
    IF (SELECT sum(jsonb_array_length(step -> 'needs')) FROM jsonb_array_elements(millrace_internal.definition_nodes(definition)) step WHERE step ? 'needs') > 1000000 THEN
        RETURN QUERY SELECT 'steps', 'MR107', 'the workflow has more than 1,000,000 needs', 'Join them through a step in between.';
        RETURN;
    END IF;
    RETURN QUERY SELECT g.path, g.code, g.message, g.hint FROM millrace_internal.graph_problems(definition) g;

    RETURN QUERY SELECT c.path, c.code, c.message, c.hint FROM millrace_internal.condition_statement_problems(definition, definer, path_of_definer) c;
    FOR s IN
        SELECT u.place, u.key, u.step
        FROM (SELECT millrace_internal.node_path(definition, e.ord) AS place, e.ord, e.step ->> 'key' AS key, e.step
              FROM jsonb_array_elements(millrace_internal.definition_nodes(definition)) WITH ORDINALITY e (step, ord)
              WHERE coalesce(e.step ->> 'handler', definition -> 'defaults' ->> 'handler') = 'sql' AND NOT e.step ?| '{wait_for,workflow}'
              UNION ALL
              SELECT format('steps[%s].compensate', e.ord - 1), e.ord, 'compensate:' || (e.step ->> 'key'), e.step -> 'compensate'
              FROM jsonb_array_elements(definition -> 'steps') WITH ORDINALITY e (step, ord) WHERE e.step -> 'compensate' ->> 'handler' = 'sql') u
        ORDER BY u.ord, u.place
    LOOP
        path := s.place || '.with.statement';
        BEGIN
            IF coalesce(jsonb_typeof(s.step -> 'with' -> 'statement'), '') <> 'string' THEN
                code := 'MR111'; message := format('%s has no statement', s.place);
                hint := 'A sql step has "with": {"statement": "select ..."}; $1 is its input.';
                RETURN NEXT;
            ELSE
                PERFORM millrace_internal.check_sql(definer::regrole, s.step -> 'with' ->> 'statement', path_of_definer);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            code := 'MR110'; message := format('the statement of step "%s" cannot be used: %s', s.key, SQLERRM);
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_DETAIL;
            hint := nullif(concat_ws(' ', nullif(hint, ''), format('It is checked with the rights of %s.', definer)), '');
            RETURN NEXT;
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.definition_problems(jsonb, name, text) IS 'All mistakes of a definition, its sql statements checked with the rights of its definer.';

-- A quick and strict look: true only for steps in which nothing can be wrong, whatever the others are.
CREATE OR REPLACE FUNCTION millrace_internal.step_is_plain(step jsonb, defaults jsonb)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(
        pg_catalog.jsonb_typeof(step) = 'object'
        AND step - ARRAY['key', 'needs', 'handler', 'with', 'expected'] = '{}'
        AND pg_catalog.jsonb_typeof(step -> 'key') = 'string' AND pg_catalog.octet_length(step ->> 'key') BETWEEN 1 AND 200 AND step ->> 'key' !~ '[[:cntrl:]]|^compensate:'
        AND CASE WHEN step ? 'handler' THEN step ->> 'handler' IN ('noop', 'sleep') ELSE defaults ? 'handler' END
        AND (NOT step ? 'with' OR (pg_catalog.jsonb_typeof(step -> 'with') = 'object' AND pg_catalog.pg_column_size(step -> 'with') < 1000
             AND NOT millrace_internal.may_fill(step -> 'with')))
        AND (NOT step ? 'expected' OR (pg_catalog.jsonb_typeof(step -> 'expected') = 'number' AND (step ->> 'expected')::numeric BETWEEN 0 AND 1000000000))
        AND (NOT step ? 'needs' OR (pg_catalog.jsonb_typeof(step -> 'needs') = 'array'
             AND NOT pg_catalog.jsonb_path_exists(step -> 'needs', '$[*] ? (@.type() != "string")'))), false)
$$;
COMMENT ON FUNCTION millrace_internal.step_is_plain(jsonb, jsonb) IS 'Whether a step is so plain that it needs no closer look.';
