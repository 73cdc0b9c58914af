-- Purpose: classes of failures: what kind of failure a try ended with, and which of them another try may mend.
--
-- A class is a word, or a word and what is told more closely behind colons: timeout, http:404, exit:3, sql:40001. An agent
-- names it with its report; timeout, lost, deadline and input (it cannot be computed) are the engine's own words, and so are
-- error and fatal for a failure that has no name. A pattern is a class; its first parts alone (http for every http:…); or one that ends in x, each of which
-- stands for one digit or letter (http:5xx, sql:40xxx).

CREATE OR REPLACE FUNCTION millrace_internal.error_class(code smallint, class text)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE code WHEN 2 THEN coalesce(class, 'error') WHEN 3 THEN coalesce(class, 'fatal')
                     WHEN 4 THEN 'timeout' WHEN 6 THEN 'lost' WHEN 8 THEN 'deadline' END
$$;
COMMENT ON FUNCTION millrace_internal.error_class(smallint, text) IS 'The class of an outcome (codes of logic/finish.sql); null where it is no failure.';

-- Arguments: patterns  an array of texts; null matches nothing
CREATE OR REPLACE FUNCTION millrace_internal.class_matches(class text, patterns jsonb)
RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM jsonb_array_elements_text(CASE jsonb_typeof(patterns) WHEN 'array' THEN patterns ELSE '[]' END) p (pattern)
        WHERE class = p.pattern OR starts_with(class, p.pattern || ':')
           OR p.pattern ~ ':[0-9A-Z]*x+$' AND class ~ ('^' || regexp_replace(replace(p.pattern, '.', '\.'), 'x(?=x*$)', '[0-9A-Z]', 'g') || '$'))
$$;
COMMENT ON FUNCTION millrace_internal.class_matches(text, jsonb) IS 'Whether one of these patterns matches a class.';

-- Whether a try that ended so was the last. `on` is about failures that somebody can tell of; a step whose agent is gone is
-- handed out again under a limit of its own, unless never_on names that.
-- Arguments: code, attempts; the step's limit and classes ({"on": […], "never_on": […]}, null: all); the installation's lost_limit
CREATE OR REPLACE FUNCTION millrace_internal.is_last_try(code smallint, class text, attempts integer, retry_limit integer, retry_classes jsonb, lost_limit integer)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN code IN (3, 8) THEN true
                WHEN code = 6 THEN attempts > greatest(retry_limit, lost_limit)
                                OR retry_classes IS NOT NULL AND millrace_internal.class_matches('lost', retry_classes -> 'never_on')
                WHEN code IN (2, 4) THEN attempts > retry_limit
                                OR retry_classes IS NOT NULL
                                   AND (millrace_internal.class_matches(millrace_internal.error_class(code, class), retry_classes -> 'never_on')
                                        OR retry_classes ? 'on' AND NOT millrace_internal.class_matches(millrace_internal.error_class(code, class), retry_classes -> 'on'))
                ELSE false END
$$;
COMMENT ON FUNCTION millrace_internal.is_last_try(smallint, text, integer, integer, jsonb, integer) IS 'Whether a step has failed for good with this outcome.';

-- What is wrong with a class, or with a pattern, which is written as one; null when nothing is.
CREATE OR REPLACE FUNCTION millrace_internal.class_problem(class text)
RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT CASE WHEN pg_catalog.octet_length(class) > 200 OR class !~ '^[A-Za-z][A-Za-z0-9_.-]*(:[A-Za-z0-9_.-]+)*$'
                THEN pg_catalog.format('"%s" is not an error class', "left"(class, 200)) END
$$;
COMMENT ON FUNCTION millrace_internal.class_problem(text) IS 'What is wrong with an error class.';

-- The mistakes in retry.on and retry.never_on, of a step or of defaults.
CREATE OR REPLACE FUNCTION millrace_internal.retry_class_problems(retry jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%s.retry.%s', at_path, k), p.code, format('%s.retry.%s: %s', at_path, k, p.message),
           'Write an array of classes, such as ["timeout", "http:5xx", "exit:3"].'
    FROM unnest(ARRAY['on', 'never_on']) k
    CROSS JOIN LATERAL (
        SELECT 'MR101' AS code, 'it is not an array of texts' AS message
        WHERE jsonb_typeof(retry -> k) <> 'array' OR jsonb_path_exists(retry -> k, '$[*] ? (@.type() != "string")')
        UNION ALL
        SELECT 'MR112', 'more than 100 classes are too many' WHERE jsonb_typeof(retry -> k) = 'array' AND jsonb_array_length(retry -> k) > 100
        UNION ALL
        (SELECT 'MR112', millrace_internal.class_problem(e #>> '{}')
         FROM jsonb_array_elements(CASE jsonb_typeof(retry -> k) WHEN 'array' THEN retry -> k ELSE '[]' END) WITH ORDINALITY e (e, ord)
         WHERE jsonb_typeof(e) = 'string' AND millrace_internal.class_problem(e #>> '{}') IS NOT NULL ORDER BY ord LIMIT 1)) p
    WHERE jsonb_typeof(retry) = 'object' AND retry ? k
$$;
COMMENT ON FUNCTION millrace_internal.retry_class_problems(jsonb, text) IS 'Mistakes in retry.on and retry.never_on.';
