-- Purpose: shapes, by which outputs and answers are checked: a subset of JSON Schema (docs/templates.md). Tables changed: none.

CREATE OR REPLACE FUNCTION millrace_internal.shape_keys()
RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY['type', 'properties', 'required', 'additionalProperties', 'items', 'minItems', 'maxItems', 'enum', 'const',
                 'minimum', 'maximum', 'minLength', 'maxLength', 'pattern', 'title', 'description']
$$;
COMMENT ON FUNCTION millrace_internal.shape_keys() IS 'The keys that a shape may have.';

-- Arguments: place  of the value, for the message
-- Returns:   the first thing in which the value does not fit, null when it fits
CREATE OR REPLACE FUNCTION millrace_internal.shape_problem_at(shape jsonb, value jsonb, place text)
RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    kind    text := jsonb_typeof(value);
    plain   text := value #>> '{}';
    wanted  text[];
    problem text;
BEGIN
    IF jsonb_typeof(shape) = 'boolean' THEN
        RETURN CASE WHEN shape = 'false' THEN place || ' may not be there' END;
    END IF;
    IF shape ? 'type' THEN
        wanted := CASE jsonb_typeof(shape -> 'type') WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(shape -> 'type')) ELSE ARRAY[shape ->> 'type'] END;
        IF kind <> ALL (wanted) AND NOT (kind = 'number' AND 'integer' = ANY (wanted) AND CASE WHEN kind = 'number' THEN plain::numeric % 1 = 0 END) THEN
            RETURN format('%s is %s, not %s', place, CASE WHEN kind = 'number' THEN left(plain, 100) ELSE kind END, array_to_string(wanted, ' or '));
        END IF;
    END IF;
    IF shape ? 'enum' AND NOT EXISTS (SELECT FROM jsonb_array_elements(shape -> 'enum') e (allowed) WHERE allowed = value) THEN
        RETURN format('%s is none of %s', place, left((shape -> 'enum')::text, 200));
    ELSIF shape ? 'const' AND shape -> 'const' <> value THEN
        RETURN format('%s is not %s', place, left((shape -> 'const')::text, 200));
    END IF;
    CASE kind
        WHEN 'number' THEN
            IF plain::numeric < (shape ->> 'minimum')::numeric THEN
                RETURN format('%s is below %s', place, shape ->> 'minimum');
            ELSIF plain::numeric > (shape ->> 'maximum')::numeric THEN
                RETURN format('%s is above %s', place, shape ->> 'maximum');
            END IF;
        WHEN 'string' THEN
            IF length(plain) < (shape ->> 'minLength')::numeric THEN
                RETURN format('%s is shorter than %s characters', place, shape ->> 'minLength');
            ELSIF length(plain) > (shape ->> 'maxLength')::numeric THEN
                RETURN format('%s is longer than %s characters', place, shape ->> 'maxLength');
            ELSIF plain !~ (shape ->> 'pattern') THEN
                RETURN format('%s does not match %s', place, shape ->> 'pattern');
            END IF;
        WHEN 'array' THEN
            IF jsonb_array_length(value) < (shape ->> 'minItems')::numeric THEN
                RETURN format('%s has less than %s elements', place, shape ->> 'minItems');
            ELSIF jsonb_array_length(value) > (shape ->> 'maxItems')::numeric THEN
                RETURN format('%s has more than %s elements', place, shape ->> 'maxItems');
            ELSIF shape ? 'items' THEN
                SELECT p INTO problem FROM jsonb_array_elements(value) WITH ORDINALITY e (element, ord)
                CROSS JOIN LATERAL millrace_internal.shape_problem_at(shape -> 'items', element, format('%s[%s]', place, ord - 1)) p
                WHERE p IS NOT NULL LIMIT 1;
                RETURN problem;
            END IF;
        WHEN 'object' THEN
            SELECT format('%s is missing', millrace_internal.place_of(place, r)) INTO problem
            FROM jsonb_array_elements_text(shape -> 'required') r WHERE NOT value ? r LIMIT 1;
            IF problem IS NULL AND (shape ? 'properties' OR shape ? 'additionalProperties') THEN
                SELECT p INTO problem FROM jsonb_each(value) m (name, member)
                CROSS JOIN LATERAL millrace_internal.shape_problem_at(coalesce(shape -> 'properties' -> name, shape -> 'additionalProperties', 'true'),
                                                                      member, millrace_internal.place_of(place, name)) p
                WHERE p IS NOT NULL LIMIT 1;
            END IF;
            RETURN problem;
        ELSE NULL;
    END CASE;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION millrace_internal.shape_problem_at(jsonb, jsonb, text) IS 'As shape_problem, for a value that stands at a place.';

CREATE OR REPLACE FUNCTION millrace_internal.place_of(place text, name text)
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT place || '.' || CASE WHEN name ~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN name ELSE to_json(name)::text END
$$;
COMMENT ON FUNCTION millrace_internal.place_of(text, text) IS 'A member''s place, as a JSONPath.';

-- Arguments: shape  a valid one; value  null: counts as JSON null
-- Returns:   where and in what the value does not fit ("$.total is string, not number"); null when it fits
CREATE OR REPLACE FUNCTION millrace_internal.shape_problem(shape jsonb, value jsonb)
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT millrace_internal.shape_problem_at(shape, coalesce(value, 'null'), '$')
$$;
COMMENT ON FUNCTION millrace_internal.shape_problem(jsonb, jsonb) IS 'Where a value does not fit a shape, and why; null when it fits.';

CREATE OR REPLACE FUNCTION millrace_internal.is_pattern(pattern text)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM '' ~ pattern;
    RETURN true;
EXCEPTION WHEN invalid_regular_expression THEN
    RETURN false;
END $$;
COMMENT ON FUNCTION millrace_internal.is_pattern(text) IS 'Whether a text is a regular expression.';

-- What is wrong with a shape itself, at any depth: rows as validate_workflow answers them.
CREATE OR REPLACE FUNCTION millrace_internal.shape_problems(shape jsonb, at_path text, depth integer DEFAULT 0)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF jsonb_typeof(shape) = 'boolean' THEN
        RETURN;
    ELSIF jsonb_typeof(shape) <> 'object' THEN
        RETURN QUERY SELECT at_path, 'MR101', format('%s is not a shape', at_path), 'A shape is an object such as {"type": "object", "required": ["total"]}.';
        RETURN;
    ELSIF depth > 32 THEN
        RETURN QUERY SELECT at_path, 'MR107', format('%s is nested more than 32 deep', at_path), NULL::text;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT at_path || '.' || k, 'MR102', format('unknown key "%s" in %s', k, at_path),
           coalesce('Did you mean "' || millrace_internal.nearest(k, millrace_internal.shape_keys()) || '"?',
                    'Known keys: ' || array_to_string(millrace_internal.shape_keys(), ', ') || '.')
    FROM jsonb_object_keys(shape) k WHERE k <> ALL (millrace_internal.shape_keys());

    RETURN QUERY
    SELECT format('%s.%s', at_path, k), p.code, format('%s.%s: "%s" is not %s', at_path, k, left(shape ->> k, 200), p.wanted), NULL::text
    FROM jsonb_object_keys(shape) k
    CROSS JOIN LATERAL (SELECT jsonb_typeof(shape -> k), shape -> k) v (kind, value)
    CROSS JOIN LATERAL (
        SELECT 'MR112', 'a type, or an array of types: object, array, string, number, integer, boolean, null'
        WHERE k = 'type' AND (v.kind NOT IN ('string', 'array') OR v.value = '[]'
              OR NOT '["object", "array", "string", "number", "integer", "boolean", "null"]' @> v.value)
        UNION ALL SELECT 'MR101', 'an object' WHERE k = 'properties' AND v.kind <> 'object'
        UNION ALL SELECT 'MR101', 'an array of texts'
        WHERE k = 'required' AND (v.kind <> 'array' OR jsonb_path_exists(v.value, '$[*] ? (@.type() != "string")'))
        UNION ALL SELECT 'MR101', 'an array of at least one value' WHERE k = 'enum' AND (v.kind <> 'array' OR v.value = '[]')
        UNION ALL SELECT 'MR112', 'a number' WHERE k IN ('minimum', 'maximum') AND v.kind <> 'number'
        UNION ALL SELECT 'MR112', 'a whole number from 0 on'
        WHERE k IN ('minLength', 'maxLength', 'minItems', 'maxItems')
          AND NOT CASE WHEN v.kind = 'number' THEN (v.value #>> '{}')::numeric >= 0 AND (v.value #>> '{}')::numeric % 1 = 0 ELSE false END
        UNION ALL SELECT 'MR112', 'a regular expression'
        WHERE k = 'pattern' AND NOT (v.kind = 'string' AND millrace_internal.is_pattern(v.value #>> '{}'))
        UNION ALL SELECT 'MR112', 'a text' WHERE k IN ('title', 'description') AND v.kind <> 'string') p (code, wanted);

    RETURN QUERY
    SELECT p.path, p.code, p.message, p.hint
    FROM (SELECT '.' || k, shape -> k FROM unnest(ARRAY['items', 'additionalProperties']) k WHERE shape ? k
          UNION ALL
          SELECT '.properties.' || name, member FROM jsonb_each(CASE jsonb_typeof(shape -> 'properties') WHEN 'object' THEN shape -> 'properties' END) m (name, member)) s (suffix, inner_shape)
    CROSS JOIN LATERAL millrace_internal.shape_problems(s.inner_shape, at_path || s.suffix, depth + 1) p;
END $$;
COMMENT ON FUNCTION millrace_internal.shape_problems(jsonb, text, integer) IS 'Mistakes in a shape.';
