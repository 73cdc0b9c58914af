-- Purpose: `for_each` in a definition: what a step is spread over, and how.

-- What is wrong with a step's `for_each`.
CREATE OR REPLACE FUNCTION millrace_internal.fan_out_problems(step jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    spread jsonb := step -> 'for_each';
    source jsonb := CASE jsonb_typeof(spread) WHEN 'object' THEN spread -> 'in' ELSE spread END;
    place  text := at_path || CASE jsonb_typeof(spread) WHEN 'object' THEN '.for_each.in' ELSE '.for_each' END;
    leaf   text := source #>> '{}';
BEGIN
    IF spread IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT at_path || '.' || k, 'MR112', format('%s has both for_each and %s', at_path, k), 'Elements that are cached are steps of a workflow: {"for_each": ..., "workflow": ...}.'
        FROM unnest(ARRAY['cache']) k WHERE step ? k;
    IF jsonb_typeof(spread) = 'object' THEN
        RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(spread, 'for_each', at_path || '.for_each') u;
        RETURN QUERY
        SELECT format('%s.for_each.%s', at_path, k), 'MR112', format('%s.for_each.%s: "%s" is not a whole number from 1 to 100000', at_path, k, left(spread ->> k, 100)), NULL
        FROM unnest(ARRAY['parallel', 'chunk']) k
        WHERE spread ? k AND NOT CASE WHEN jsonb_typeof(spread -> k) = 'number'
                                      THEN (spread ->> k)::numeric BETWEEN 1 AND 100000 AND (spread ->> k)::numeric % 1 = 0 ELSE false END;
        RETURN QUERY
        SELECT at_path || '.for_each.failures', 'MR112', format('%s.for_each.failures: "%s" is neither fail_fast nor collect', at_path, left(spread ->> 'failures', 100)),
               'fail_fast, the default, ends the step with the first element that fails; collect runs all and completes, with null for those that failed.'
        WHERE spread ? 'failures' AND coalesce(spread ->> 'failures', '') NOT IN ('fail_fast', 'collect');
    END IF;
    IF source IS NULL THEN
        RETURN QUERY SELECT place, 'MR111', format('%s.for_each has no "in"', at_path), 'Name what the step is for: {"in": "$.needs.list.items"}.';
    ELSIF jsonb_typeof(source) = 'string' AND left(leaf, 1) = '$' AND left(leaf, 2) <> '$$' THEN
        RETURN QUERY
        SELECT place, 'MR108', format('%s: "%s" is not a JSONPath: %s', place, left(leaf, 200), p.problem), 'A path into "run" or "needs" that finds an array, or many values.'
        FROM millrace_internal.path_problem(leaf) p (problem) WHERE p.problem IS NOT NULL;
    ELSIF jsonb_typeof(source) <> 'array' THEN
        RETURN QUERY SELECT place, 'MR112', format('%s is neither a path nor an array', place), 'Write for example "for_each": "$.needs.list.items", or an array of elements.';
    END IF;
END $body$;
COMMENT ON FUNCTION millrace_internal.fan_out_problems(jsonb, text) IS 'Mistakes in the fan-out of a step.';
