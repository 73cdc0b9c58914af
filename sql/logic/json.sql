-- Purpose: small readings of JSON that the definition and inputs share.

-- Arguments: value  a number (seconds) or a text: 100ms, 1.5s, 5m, 2h, 1d, or any PostgreSQL interval
-- Returns:   seconds, null where it is none or negative
CREATE OR REPLACE FUNCTION millrace_internal.seconds(value jsonb)
RETURNS double precision LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    word  text := value #>> '{}';
    parts text[];
    found double precision;
BEGIN
    IF jsonb_typeof(value) = 'number' THEN
        -- through numeric, which knows numbers that a double does not
        found := CASE WHEN word::numeric BETWEEN 0 AND 3155760000 THEN round(word::numeric, 9)::double precision END;
    ELSIF jsonb_typeof(value) = 'string' THEN
        parts := regexp_match(word, '^\s*(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)\s*$');
        IF parts IS NOT NULL THEN
            found := parts[1]::double precision * CASE parts[2] WHEN 'ms' THEN 0.001 WHEN 's' THEN 1 WHEN 'm' THEN 60 WHEN 'h' THEN 3600 ELSE 86400 END;
        ELSIF word ~ '[0-9]' THEN
            BEGIN
                found := extract(epoch FROM word::interval);
            EXCEPTION WHEN data_exception THEN
                found := NULL;
            END;
        END IF;
    END IF;
    RETURN CASE WHEN found >= 0 AND found <= 3155760000 THEN found END;
END $$;
COMMENT ON FUNCTION millrace_internal.seconds(jsonb) IS 'Seconds of an interval in a definition; null where it is none, is negative, or is longer than a hundred years.';

-- Returns: the JSONPath leaves of an input template. A leaf that begins with $$ is text, not a path.
CREATE OR REPLACE FUNCTION millrace_internal.input_paths(template jsonb)
RETURNS SETOF text LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $body$
    SELECT DISTINCT leaf #>> '{}'
    FROM jsonb_path_query(template, 'strict $.** ? (@.type() == "string" && @ starts with "$" && !(@ starts with "$$"))') leaf
$body$;
COMMENT ON FUNCTION millrace_internal.input_paths(jsonb) IS 'The distinct JSONPath leaves of an input.';

-- Returns: why a text is no JSONPath; null when it is one. Tried as well as parsed, for it may name a variable: there are none.
CREATE OR REPLACE FUNCTION millrace_internal.path_problem(path text)
RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM jsonb_path_exists('{"run": null, "needs": {}}', path::jsonpath, '{}', true);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END $$;
COMMENT ON FUNCTION millrace_internal.path_problem(text) IS 'Why a text is no JSONPath; null when it is one.';
