-- Purpose: `compensate` in a definition: what undoes a step once it has completed. It becomes a definition of its own, numbered last_defined_no()
-- behind that of its step, under the key "compensate:KEY": beyond the numbers of the graph, so that nothing but its own phase meets it.

CREATE OR REPLACE FUNCTION millrace_internal.compensates(definition jsonb)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_path_exists(definition, 'lax $.steps[*].compensate')
$$;
COMMENT ON FUNCTION millrace_internal.compensates(jsonb) IS 'Whether a definition has steps with compensations.';

-- Whether the end of the main steps may not be the end of the run (logic/phase.sql).
CREATE OR REPLACE FUNCTION millrace_internal.is_phased(definition jsonb)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT definition ? 'finally' AND jsonb_array_length(definition -> 'finally') > 0 OR millrace_internal.compensates(definition)
$$;
COMMENT ON FUNCTION millrace_internal.is_phased(jsonb) IS 'Whether something may follow the main steps of a definition.';

-- What is wrong with a step's `compensate`: all that may be wrong with a step, and where it stands.
CREATE OR REPLACE FUNCTION millrace_internal.compensation_problems(step jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    part  jsonb := step -> 'compensate';
    place text := at_path || '.compensate';
BEGIN
    RETURN QUERY
    SELECT at_path || '.key', 'MR112', format('%s.key begins with "compensate:"', at_path), 'Such keys are those of compensations.'
    WHERE starts_with(step ->> 'key', 'compensate:');
    IF part IS NULL THEN
        RETURN;
    ELSIF jsonb_typeof(part) <> 'object' THEN
        RETURN QUERY SELECT place, 'MR101', format('%s is not an object', place), 'Write for example {"handler": "http", "with": {...}, "input": {"id": "$.output.id"}}.';
        RETURN;
    END IF;
    RETURN QUERY
    SELECT place, 'MR112', format(p.message, at_path), p.hint
    FROM (VALUES
        ('%s runs when all others have ended, and has a compensation', 'By then the run has been compensated. Give one to main steps.', at_path LIKE 'finally[%'),
        ('%s has both wait_for and compensate', 'A wait has done nothing that could be undone.', step ? 'wait_for'),
        ('%s has both cache and compensate', 'What a cached step has done may belong to another run.', step ? 'cache')
    ) p (message, hint, wrong) WHERE p.wrong;
    RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(part, 'compensate', place) u;
    RETURN QUERY
    SELECT place || '.handler', 'MR111', format('%s has no handler', place), 'Name the handler that undoes the step; the workflow''s default is for its steps.'
    WHERE NOT part ? 'handler';
    RETURN QUERY
    SELECT p.path, p.code, p.message, p.hint
    FROM millrace_internal.step_problems('{"key": "compensation", "handler": "noop"}'
        || (SELECT coalesce(jsonb_object_agg(m.key, m.value), '{}') FROM jsonb_each(part) m WHERE m.key = ANY (millrace_internal.definition_keys('compensate'))), place, '{}') p;
END $$;
COMMENT ON FUNCTION millrace_internal.compensation_problems(jsonb, text) IS 'Mistakes in the compensation of a step.';

-- The compensations of a definition as one of their own, in the order of their steps. Queue and priority are those of the step where they
-- say nothing else; of the workflow's defaults, those about how often and how long a handler may try.
CREATE OR REPLACE FUNCTION millrace_internal.compensations_as_steps(definition jsonb, OUT compensations jsonb, OUT ordinals integer[])
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('workflow', definition -> 'workflow', 'steps', coalesce(jsonb_agg(c.step ORDER BY c.ord), '[]'),
               'defaults', coalesce((SELECT jsonb_object_agg(m.key, m.value) FROM jsonb_each(definition -> 'defaults') m WHERE m.key IN ('retry', 'timeout')), '{}')),
           array_agg(c.ord::integer ORDER BY c.ord)
    FROM (SELECT e.ord, jsonb_strip_nulls(jsonb_build_object('queue', coalesce(e.step, '{}') -> 'queue', 'priority', e.step -> 'priority'))
                        || (e.step -> 'compensate') || jsonb_build_object('key', 'compensate:' || (e.step ->> 'key')) AS step
          FROM (SELECT e.ord, CASE WHEN definition ? 'defaults' THEN (definition -> 'defaults') || e.step ELSE e.step END AS step
                FROM jsonb_array_elements(CASE WHEN millrace_internal.compensates(definition) THEN definition -> 'steps' ELSE '[]' END) WITH ORDINALITY e (step, ord)
                WHERE e.step ? 'compensate') e) c
$$;
COMMENT ON FUNCTION millrace_internal.compensations_as_steps(jsonb) IS 'The compensations of a definition as steps, and the places of what they undo.';

-- Returns: each name once that a definition's steps and compensations have.
CREATE OR REPLACE FUNCTION millrace_internal.definition_names(definition jsonb, OUT queues text[], OUT handlers text[])
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(DISTINCT s.queue), array_agg(DISTINCT s.handler)
    FROM (SELECT s.queue, s.handler FROM millrace_internal.definition_steps(definition) s
          UNION ALL
          SELECT s.queue, s.handler FROM millrace_internal.definition_steps((millrace_internal.compensations_as_steps(definition)).compensations) s) s
$$;
COMMENT ON FUNCTION millrace_internal.definition_names(jsonb) IS 'The queues and handlers of a definition.';

-- Arguments: definition  checked, its steps written; def_nos  of these, by their places
-- Tables changed: step_definition.
CREATE OR REPLACE FUNCTION millrace_internal.compensations_write(in_version_id integer, definition jsonb, def_nos integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    part record;
BEGIN
    IF NOT millrace_internal.compensates(definition) THEN
        RETURN;
    END IF;
    part := millrace_internal.compensations_as_steps(definition);
    INSERT INTO millrace_internal.step_definition (version_id, def_no, key, workflow, handler_id, handler, queue_id, rule, priority, takes_input,
        retry_limit, retry_backoff, retry_factor, retry_max, retry_jitter, retry_classes, timeout, expected, settings, input, fills, required, level, rank, needs_count, closing, needs)
    SELECT in_version_id, d.def_no + millrace_internal.last_defined_no(), s.key, d.workflow, h.handler_id, s.handler, q.queue_id, 0, s.priority, h.takes_input OR s.input IS NOT NULL AND s.handler <> 'sql',
           r.retry_limit, r.backoff, r.factor, r.longest, r.jitter, r.classes, millrace_internal.seconds(s.timeout), 1, f.settings, f.input, f.fills, s.required, d.level, 1, 0, false, ARRAY[d.def_no]
    FROM millrace_internal.definition_steps(part.compensations) s
    JOIN millrace_internal.step_definition d ON d.version_id = in_version_id AND d.def_no = def_nos[part.ordinals[s.ordinal]]
    JOIN millrace_internal.handler h ON h.name = s.handler
    JOIN millrace_internal.queue q ON q.name = s.queue
    CROSS JOIN LATERAL millrace_internal.retry_policy(s.retry) r
    CROSS JOIN LATERAL millrace_internal.fill_prepare(s.settings, s.input) f;
END $$;
COMMENT ON FUNCTION millrace_internal.compensations_write(integer, jsonb, integer[]) IS 'Writes the compensations of a definition into a version.';
