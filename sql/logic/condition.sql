-- Purpose: `when`: conditions over the run's input and the outputs of needs, under which a step runs. They are looked at once,
-- when the step's rule holds; a step whose condition is not true is skipped.

-- What is wrong with a step's `when`.
CREATE OR REPLACE FUNCTION millrace_internal.condition_problems(step jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.path, CASE WHEN c.problem IS NULL THEN 'MR112' ELSE 'MR108' END,
           CASE WHEN c.problem IS NULL THEN format('%s is not a condition', c.path)
                ELSE format('%s: "%s" is not a JSONPath: %s', c.path, left(c.condition #>> '{}', 200), c.problem) END,
           'A condition is a JSONPath predicate over "run" and "needs", such as $.needs.charge.paid == true, or {"sql": "select …"}; several stand in an array.'
    FROM (SELECT at_path || '.when' || CASE WHEN jsonb_typeof(step -> 'when') = 'array' THEN format('[%s]', e.ord - 1) ELSE '' END AS path, e.condition,
                 CASE WHEN jsonb_typeof(e.condition) = 'string' THEN millrace_internal.path_problem(e.condition #>> '{}') END AS problem
          FROM jsonb_array_elements(CASE jsonb_typeof(step -> 'when') WHEN 'array' THEN step -> 'when' ELSE jsonb_build_array(step -> 'when') END)
               WITH ORDINALITY e (condition, ord)) c
    WHERE step ? 'when' AND (c.problem IS NOT NULL OR jsonb_typeof(c.condition) NOT IN ('string', 'object'))
    UNION ALL
    SELECT p.path, p.code, p.message, p.hint FROM millrace_internal.conditions_in_sql(step) c, millrace_internal.condition_sql_problems(c.condition, at_path || '.when' || c.suffix) p
    UNION ALL
    SELECT at_path || '.when', 'MR107', format('%s.when has more than 100 conditions', at_path), 'Join some of them with &&.'
    WHERE jsonb_typeof(step -> 'when') = 'array' AND jsonb_array_length(step -> 'when') > 100
$$;
COMMENT ON FUNCTION millrace_internal.condition_problems(jsonb, text) IS 'Mistakes in the conditions of a step.';

-- Arguments: d  the step's definition, with its `when`
-- Returns:   true if all of them that are paths are true (those in SQL come later: logic/condition_sql.sql); a path that matches nothing, or not what it expects, is not true
CREATE OR REPLACE FUNCTION millrace_internal.conditions_hold(in_shard smallint, in_run_id bigint, d millrace_internal.step_definition)
RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    context    jsonb := millrace_internal.context_of(in_shard, in_run_id, d);
    conditions jsonb := d.traits -> 'when';
BEGIN
    RETURN (SELECT coalesce(bool_and(coalesce(jsonb_path_match(context, (c #>> '{}')::jsonpath, '{}', true), false)), true)
            FROM jsonb_array_elements(CASE jsonb_typeof(conditions) WHEN 'array' THEN conditions ELSE jsonb_build_array(conditions) END) c WHERE jsonb_typeof(c) = 'string');
END $$;
COMMENT ON FUNCTION millrace_internal.conditions_hold(smallint, bigint, millrace_internal.step_definition) IS 'Whether all conditions of a step that are paths are true.';
