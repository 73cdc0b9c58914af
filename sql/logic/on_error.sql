-- Purpose: on_error: a step names another one that takes over when it has failed. That one needs it without saying so, and starts
-- only if it failed. The failure then counts as handled: the run has not failed by it, and what it keeps from running is a branch
-- that was not taken, as if a condition had said so. So a join of both branches says none_failed or any_completed.

-- Returns: the steps of a definition that name another one, and its key.
CREATE OR REPLACE FUNCTION millrace_internal.definition_handled(definition jsonb)
RETURNS TABLE (ordinal integer, key text, on_error text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.ord::integer, e.step ->> 'key', e.step ->> 'on_error'
    FROM jsonb_array_elements(CASE WHEN jsonb_path_exists(definition, 'lax $.steps[*].on_error') OR jsonb_path_exists(definition, 'lax $.finally[*].on_error')
                                    THEN millrace_internal.definition_nodes(definition) ELSE '[]' END)
         WITH ORDINALITY e (step, ord)
    WHERE jsonb_typeof(e.step -> 'on_error') = 'string'
$$;
COMMENT ON FUNCTION millrace_internal.definition_handled(jsonb) IS 'Steps whose failure another step handles.';

-- The rule of a step that handles failures: its own, and that one of those it stands in for has failed.
-- Arguments: failures  their keys
CREATE OR REPLACE FUNCTION millrace_internal.handler_rule_path(step jsonb, failures text[])
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT concat_ws(' && ',
        CASE millrace_internal.rule_code(step ->> 'rule') WHEN 4 THEN '(' || millrace_internal.rule_path(step ->> 'rule') || ')'
             WHEN 0 THEN (SELECT string_agg(format('$.%s == "completed"', n), ' && ') FROM jsonb_array_elements(step -> 'needs') n) END,
        (SELECT '(' || string_agg(format('$.%s == "failed"', to_json(f)), ' || ') || ')' FROM unnest(failures) f))
$$;
COMMENT ON FUNCTION millrace_internal.handler_rule_path(jsonb, text[]) IS 'The rule of a step that handles failures, as a JSONPath predicate.';

-- What is wrong with what steps say of each other. Arguments: keys  of the steps, in order
CREATE OR REPLACE FUNCTION millrace_internal.on_error_problems(definition jsonb, keys text[])
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT millrace_internal.node_path(definition, h.ordinal) || '.on_error', p.code, format(p.message, h.key, h.on_error), p.hint
    FROM millrace_internal.definition_handled(definition) h
    LEFT JOIN LATERAL (SELECT e.step, e.ord FROM jsonb_array_elements(millrace_internal.definition_nodes(definition)) WITH ORDINALITY e (step, ord)
                       WHERE e.step ->> 'key' = h.on_error LIMIT 1) t ON true
    CROSS JOIN LATERAL (VALUES
        ('MR105', 'step "%1$s" is to handle its own failure', 'Name another step in on_error.', h.on_error = h.key),
        ('MR104', 'on_error of step "%1$s" names "%2$s", which is not a step of this workflow',
         'Did you mean "' || millrace_internal.nearest(h.on_error, keys) || '"?', t.step IS NULL),
        ('MR112', 'step "%2$s" cannot take over for "%1$s": one of them runs when all others have ended', 'A step of finally can only take over for a step of finally.',
         (h.ordinal <= jsonb_array_length(definition -> 'steps')) <> (t.ord <= jsonb_array_length(definition -> 'steps'))),
        ('MR112', 'step "%2$s" needs "%1$s" already, whose failure it is to handle', 'Leave that out of its needs: on_error says it.', t.step -> 'needs' ? h.key),
        ('MR112', 'step "%2$s" is to handle a failure, and has a rule that cannot be joined with that', 'Leave its rule out, or write all_done or an expression over its needs.',
         millrace_internal.rule_code(t.step ->> 'rule') NOT IN (0, 1, 4))
    ) p (code, message, hint, wrong)
    WHERE p.wrong
$$;
COMMENT ON FUNCTION millrace_internal.on_error_problems(jsonb, text[]) IS 'on_error that names no step, the step itself, or one that cannot take over.';

-- The failure of a step that another one handles. Arguments: in_on_error  as of its definition
CREATE OR REPLACE FUNCTION millrace_internal.is_handled(in_state smallint, in_on_error integer)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT in_state = 11 AND in_on_error IS NOT NULL
$$;
COMMENT ON FUNCTION millrace_internal.is_handled(smallint, integer) IS 'Whether a step has failed and another one handles that.';
