-- Purpose: values that a step's `with` and `input` leave open until it starts: {"$path": …} and {"$template": …}, filled in
-- by the database as it hands the step out, and "secret://NAME", which only an agent resolves. docs/templates.md has the
-- language. Tables changed: none.

-- Where values are left open. A template is looked into only as far as its data goes.
-- Returns: the place, and which of the three stands there
CREATE OR REPLACE FUNCTION millrace_internal.fill_places(value jsonb)
RETURNS TABLE (place text[], kind text, found jsonb)
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE node AS (
        SELECT '{}'::text[] AS place, value
        UNION ALL
        SELECT n.place || c.key, c.value FROM node n
        CROSS JOIN LATERAL (
            SELECT m.key, m.value
            FROM jsonb_each(CASE WHEN jsonb_typeof(n.value) = 'object' AND NOT n.value ? '$path'
                                 THEN CASE WHEN NOT n.value ? '$template' THEN n.value
                                           WHEN n.value ? 'data' THEN jsonb_build_object('data', n.value -> 'data') END END) m
            UNION ALL
            SELECT (e.ord - 1)::text, e.value
            FROM jsonb_array_elements(CASE WHEN jsonb_typeof(n.value) = 'array' THEN n.value END) WITH ORDINALITY e (value, ord)) c)
    SELECT n.place, k.kind, n.value
    FROM node n
    CROSS JOIN LATERAL (SELECT CASE WHEN jsonb_typeof(n.value) = 'object' AND n.value ? '$path' THEN 'path'
                                    WHEN jsonb_typeof(n.value) = 'object' AND n.value ? '$template' THEN 'template'
                                    WHEN jsonb_typeof(n.value) = 'string' AND n.value #>> '{}' LIKE 'secret://%' THEN 'secret' END) k (kind)
    WHERE k.kind IS NOT NULL
$$;
COMMENT ON FUNCTION millrace_internal.fill_places(jsonb) IS 'Where a `with` or `input` has paths, templates and secrets.';

-- Whether there may be any: a look at the text, for nearly all settings have none.
CREATE OR REPLACE FUNCTION millrace_internal.may_fill(value jsonb)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_catalog.strpos(value::text, '"$') > 0 OR pg_catalog.strpos(value::text, '"secret://') > 0
$$;
COMMENT ON FUNCTION millrace_internal.may_fill(jsonb) IS 'False for values that have no paths, templates or secrets.';

-- Arguments: settings, input  of a checked step
-- Returns:   the same as they are stored: templates with the names that they read ("$names"), settings with the places that are
--            the agent's to fill ("$places": inner ones first); fills: the database has something to fill in settings
CREATE OR REPLACE FUNCTION millrace_internal.fill_prepare(INOUT settings jsonb, INOUT input jsonb, OUT fills boolean)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f      record;
    names  jsonb;
    late   jsonb := '{}';
BEGIN
    fills := false;
    IF millrace_internal.may_fill(settings) THEN
        late := millrace_internal.late_places('with', settings);
        FOR f IN SELECT * FROM millrace_internal.fill_places(settings) WHERE kind <> 'secret' LOOP
            names := (millrace_internal.template_scan(f.found ->> '$template')).names;
            IF f.kind = 'path' THEN
                fills := true;
            ELSIF names IS NOT NULL OR (f.found -> 'data')::text LIKE '%"$%' THEN
                fills := true;
                settings := jsonb_set(settings, f.place, f.found || jsonb_build_object('$names', names));
            END IF;
        END LOOP;
    END IF;
    IF input::text LIKE '%"$template"%' THEN
        late := late || millrace_internal.late_places('input', input);
        FOR f IN SELECT * FROM millrace_internal.fill_places(input) WHERE kind = 'template' LOOP
            names := jsonb_build_object('$names', (millrace_internal.template_scan(f.found ->> '$template')).names);
            input := CASE WHEN f.place = '{}' THEN f.found || names ELSE jsonb_set(input, f.place, f.found || names) END;
        END LOOP;
    END IF;
    IF late <> '{}' THEN
        settings := coalesce(settings, '{}') || jsonb_build_object('$places', late);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.fill_prepare(jsonb, jsonb) IS 'Settings and input as a version stores them.';

CREATE OR REPLACE FUNCTION millrace_internal.late_places(part text, value jsonb)
RETURNS jsonb LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN count(*) = 0 THEN '{}' ELSE jsonb_build_object(part, jsonb_agg(to_jsonb(place) ORDER BY cardinality(place) DESC, place)) END
    FROM millrace_internal.fill_places(value) WHERE kind = 'template' OR kind = 'secret' AND part = 'with'
$$;
COMMENT ON FUNCTION millrace_internal.late_places(text, jsonb) IS 'The places that an agent fills, by part, inner ones first.';

-- Returns: the first match, null without one; all matches as an array where the path asks for many ([*], .*, .**, a filter)
CREATE OR REPLACE FUNCTION millrace_internal.path_value(path text, context jsonb)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF path ~ '\[\*\]|\.\*|\?' THEN
        RETURN jsonb_path_query_array(context, path::jsonpath, '{}', true);
    END IF;
    RETURN coalesce(jsonb_path_query_first(context, path::jsonpath, '{}', true), 'null');
END $body$;
COMMENT ON FUNCTION millrace_internal.path_value(text, jsonb) IS 'What a JSONPath finds.';

-- A template with the values that it names, nested as it names them, and no others.
CREATE OR REPLACE FUNCTION millrace_internal.template_fill(template jsonb, context jsonb)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    data jsonb := '{}';
    name text[];
BEGIN
    FOR name IN SELECT ARRAY(SELECT jsonb_array_elements_text(n)) FROM jsonb_array_elements(nullif(template -> '$names', 'null')) n LOOP
        CONTINUE WHEN context #> name IS NULL;
        FOR depth IN 1..cardinality(name) - 1 LOOP
            IF data #> name[:depth] IS NULL THEN
                data := jsonb_set(data, name[:depth], '{}');
            END IF;
        END LOOP;
        data := jsonb_set(data, name, context #> name);
    END LOOP;
    RETURN template - '$names' || jsonb_build_object('data', data || coalesce(millrace_internal.input_fill(template -> 'data', context), '{}'));
END $$;
COMMENT ON FUNCTION millrace_internal.template_fill(jsonb, jsonb) IS 'A template and its data.';

-- Settings: texts stand for themselves.
CREATE OR REPLACE FUNCTION millrace_internal.settings_fill(value jsonb, context jsonb)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE jsonb_typeof(value)
        WHEN 'object' THEN
            IF value ? '$path' THEN
                RETURN millrace_internal.path_value(value ->> '$path', context);
            ELSIF value ? '$template' THEN
                RETURN millrace_internal.template_fill(value, context);
            END IF;
            RETURN (SELECT coalesce(jsonb_object_agg(m.key, millrace_internal.settings_fill(m.value, context)), '{}') FROM jsonb_each(value) m);
        WHEN 'array' THEN
            RETURN (SELECT coalesce(jsonb_agg(millrace_internal.settings_fill(e.value, context) ORDER BY e.ord), '[]')
                    FROM jsonb_array_elements(value) WITH ORDINALITY e (value, ord));
        ELSE
            RETURN value;
    END CASE;
END $$;
COMMENT ON FUNCTION millrace_internal.settings_fill(jsonb, jsonb) IS 'Settings with their paths replaced, and with the data of their templates.';

-- What of a step's input is looked up: its paths, and those in the data of its templates, whose text is none.
CREATE OR REPLACE FUNCTION millrace_internal.fill_sources(value jsonb)
RETURNS jsonb LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN value::text NOT LIKE '%"$template"%' THEN value
                ELSE (SELECT coalesce(jsonb_agg(s.source), '[]')
                      FROM (SELECT f.found -> 'data' FROM millrace_internal.fill_places(value) f WHERE f.kind = 'template'
                            UNION ALL SELECT to_jsonb(p) FROM millrace_internal.input_paths(millrace_internal.without_templates(value)) p) s (source)
                      WHERE s.source IS NOT NULL) END
$$;
COMMENT ON FUNCTION millrace_internal.fill_sources(jsonb) IS 'An input without the texts of its templates.';

CREATE OR REPLACE FUNCTION millrace_internal.without_templates(value jsonb)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT * FROM millrace_internal.fill_places(value) WHERE kind = 'template' LOOP
        value := CASE WHEN f.place = '{}' THEN 'null' ELSE jsonb_set(value, f.place, 'null') END;
    END LOOP;
    RETURN value;
END $$;
COMMENT ON FUNCTION millrace_internal.without_templates(jsonb) IS 'A value with null in place of its templates.';

-- Mistakes of a step in what it leaves open.
CREATE OR REPLACE FUNCTION millrace_internal.fill_problems(step jsonb, at_path text, handler text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    f    record;
    part text;
    spot text;
BEGIN
    IF jsonb_typeof(step -> 'with') = 'object' AND step -> 'with' ?| ARRAY['$path', '$template', '$places'] THEN
        RETURN QUERY SELECT at_path || '.with', 'MR112', format('%s.with is not settings: it has a key that begins with $', at_path),
            'Name the settings; their values may be {"$path": …} or {"$template": …}.';
        RETURN;
    END IF;
    FOREACH part IN ARRAY ARRAY['with', 'input'] LOOP
        CONTINUE WHEN NOT step ? part OR NOT millrace_internal.may_fill(step -> part);
        FOR f IN SELECT * FROM millrace_internal.fill_places(step -> part) LOOP
            spot := array_to_string(ARRAY[at_path, part] || f.place, '.');
            IF f.kind = 'path' THEN
                RETURN QUERY SELECT spot, p.code, format('%s: %s', spot, p.what), p.hint
                FROM (SELECT 'MR112', '"$path" stands alone in its object', 'Write {"$path": "$.run.name"}.' WHERE f.found - '$path' <> '{}'
                      UNION ALL SELECT 'MR108', format('"%s" is not a JSONPath: %s', f.found ->> '$path',
                                                       coalesce(millrace_internal.path_problem(f.found ->> '$path'), 'it is no text')), 'A path reads "run" and "needs".'
                      WHERE jsonb_typeof(f.found -> '$path') <> 'string' OR millrace_internal.path_problem(f.found ->> '$path') IS NOT NULL) p (code, what, hint);
            ELSIF f.kind = 'template' THEN
                RETURN QUERY SELECT t.path, t.code, t.message, t.hint FROM millrace_internal.template_problems(f.found, spot) t;
            ELSIF part = 'with' AND f.found #>> '{}' !~ '^secret://[A-Za-z0-9_.-]{1,200}$' THEN
                RETURN QUERY SELECT spot, 'MR112', format('%s: "%s" names no secret', spot, left(f.found #>> '{}', 200)),
                    'Write "secret://NAME"; a name has letters, digits, "_", "-" and ".".';
            END IF;
            IF handler = 'sql' AND (part = 'with' OR f.kind = 'template') THEN
                RETURN QUERY SELECT spot, 'MR112', format('%s: a sql step runs in the database, which renders no templates and knows no secrets', spot),
                    'Give the statement its values by "input", as $1.';
            END IF;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.fill_problems(jsonb, text, text) IS 'Mistakes in paths, templates and secrets of a step.';
