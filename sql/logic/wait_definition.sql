-- Purpose: `wait_for` in a definition: what may stand there, and what is wrong with it.

CREATE OR REPLACE FUNCTION millrace_internal.wait_kinds()
RETURNS text[] LANGUAGE sql IMMUTABLE AS $$ SELECT ARRAY['signal', 'person', 'until', 'duration', 'run'] $$;
COMMENT ON FUNCTION millrace_internal.wait_kinds() IS 'What a step can wait for.';

-- Arguments: value  a text such as 2026-12-24T18:00:00+01:00; without a zone it is UTC
-- Returns:   null where it is none
CREATE OR REPLACE FUNCTION millrace_internal.time_of(value jsonb)
RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' AS $$
BEGIN
    RETURN CASE WHEN jsonb_typeof(value) = 'string' AND value #>> '{}' ~ '^\s*\d{4}-\d\d-\d\d' THEN (value #>> '{}')::timestamptz END;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;
COMMENT ON FUNCTION millrace_internal.time_of(jsonb) IS 'A point in time; null where a value is none.';

-- Whether a value is a path into run and needs, to be looked up when the step comes to wait.
CREATE OR REPLACE FUNCTION millrace_internal.is_path(value jsonb)
RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT jsonb_typeof(value) = 'string' AND left(value #>> '{}', 1) = '$' AND left(value #>> '{}', 2) <> '$$'
$body$;
COMMENT ON FUNCTION millrace_internal.is_path(jsonb) IS 'Whether a value is looked up when a step comes to wait.';

-- What is wrong with a step's `wait_for`.
CREATE OR REPLACE FUNCTION millrace_internal.wait_problems(step jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    wait   jsonb := step -> 'wait_for';
    person jsonb := step -> 'wait_for' -> 'person';
    place  text := at_path || '.wait_for';
    kinds  text[];
BEGIN
    IF NOT step ? 'wait_for' THEN
        RETURN;
    ELSIF jsonb_typeof(wait) <> 'object' THEN
        RETURN QUERY SELECT place, 'MR101', format('%s is not an object', place), 'Write for example "wait_for": {"signal": "paid"}.';
        RETURN;
    END IF;
    RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(wait, 'wait_for', place) u;
    kinds := ARRAY(SELECT k FROM unnest(millrace_internal.wait_kinds()) k WHERE wait ? k);
    IF cardinality(kinds) <> 1 THEN
        RETURN QUERY SELECT place, CASE WHEN cardinality(kinds) = 0 THEN 'MR111' ELSE 'MR112' END,
            format(CASE WHEN cardinality(kinds) = 0 THEN '%s does not say what for' ELSE '%s waits for more than one thing' END, place),
            format('One of %s.', array_to_string(millrace_internal.wait_kinds(), ', '));
    END IF;
    RETURN QUERY
    SELECT p.place, p.code, format(p.message, p.place, left(p.value #>> '{}', 200)), p.hint
    FROM (VALUES
        (place || '.signal', 'MR112', '%s: "%s" is not a name of 1 to 200 bytes, nor a path', wait -> 'signal', NULL,
         wait ? 'signal' AND NOT millrace_internal.is_path(wait -> 'signal')
         AND (jsonb_typeof(wait -> 'signal') <> 'string' OR octet_length(wait ->> 'signal') NOT BETWEEN 1 AND 200)),
        (place || '.until', 'MR112', '%s: "%s" is neither a time nor a path', wait -> 'until', 'Write a time as "2026-12-24T18:00:00+01:00".',
         wait ? 'until' AND NOT millrace_internal.is_path(wait -> 'until') AND millrace_internal.time_of(wait -> 'until') IS NULL),
        (place || '.duration', 'MR109', '%s: "%s" is neither an interval nor a path', wait -> 'duration', 'Write seconds as a number, or text such as "30s", "5m", "2h", "1 day".',
         wait ? 'duration' AND NOT millrace_internal.is_path(wait -> 'duration') AND millrace_internal.seconds(wait -> 'duration') IS NULL),
        (place || '.run', 'MR112', '%s: "%s" is neither the number of a run nor a path', wait -> 'run', 'Write for example "$.needs.start.run_id".',
         wait ? 'run' AND NOT millrace_internal.is_path(wait -> 'run')
         AND (jsonb_typeof(wait -> 'run') <> 'number' OR wait ->> 'run' !~ '^[1-9][0-9]{0,17}$')),
        (place || '.person', 'MR101', '%s is not an object', person, 'Write for example "person": {"assignee": "$.run.manager"}.',
         wait ? 'person' AND jsonb_typeof(person) <> 'object'),
        (place || '.person.assignee', 'MR112', '%s: "%s" is neither a name of 1 to 200 bytes nor a path', person -> 'assignee', NULL,
         person ? 'assignee' AND NOT millrace_internal.is_path(person -> 'assignee')
         AND (jsonb_typeof(person -> 'assignee') <> 'string' OR octet_length(person ->> 'assignee') NOT BETWEEN 1 AND 200)),
        (place || '.person.candidates', 'MR112', '%s is neither an array of texts nor a path', person -> 'candidates', NULL,
         person ? 'candidates' AND NOT millrace_internal.is_path(person -> 'candidates')
         AND (jsonb_typeof(person -> 'candidates') <> 'array' OR jsonb_path_exists(person -> 'candidates', '$[*] ? (@.type() != "string")'))),
        (place || '.person.title', 'MR112', '%s is neither a text nor a path', person -> 'title', NULL,
         person ? 'title' AND NOT millrace_internal.is_path(person -> 'title') AND jsonb_typeof(person -> 'title') <> 'string'),
        (place || '.on_timeout', 'MR112', '%s: "%s" is none of fail, skip, complete', wait -> 'on_timeout', NULL,
         wait ? 'on_timeout' AND NOT coalesce(wait -> 'on_timeout' <@ '["fail", "skip", "complete"]' AND jsonb_typeof(wait -> 'on_timeout') = 'string', false)),
        (place || '.on_timeout', 'MR111', '%s: the step has no timeout', NULL, 'Say how long it may wait: "timeout": "2 days".',
         wait ? 'on_timeout' AND NOT step ? 'timeout')
    ) p (place, code, message, value, hint, wrong) WHERE p.wrong;
    RETURN QUERY
    SELECT format('%s.%s', at_path, k), 'MR112', format('%s waits, and can have no %s', at_path, k), 'What it waits for stands in wait_for; let another step do what follows.'
    FROM unnest(ARRAY['handler', 'with', 'input', 'required']) k WHERE step ? k;
    RETURN QUERY
    SELECT place, 'MR108', format('%s: "%s" is not a JSONPath: %s', place, left(l.leaf, 200), l.problem), 'A path looks into "run" and "needs", such as $.run.manager.'
    FROM (SELECT leaf, millrace_internal.path_problem(leaf) AS problem FROM millrace_internal.input_paths(wait #- '{person,answer}') leaf) l
    WHERE l.problem IS NOT NULL;
    IF jsonb_typeof(person) = 'object' THEN
        RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(person, 'person', place || '.person') u;
        RETURN QUERY SELECT s.path, s.code, s.message, s.hint FROM millrace_internal.shape_problems(person -> 'answer', place || '.person.answer') s WHERE person ? 'answer';
    END IF;
END $body$;
COMMENT ON FUNCTION millrace_internal.wait_problems(jsonb, text) IS 'Mistakes in what a step waits for.';
