-- Purpose: the text of templates (Mustache, docs/templates.md): what it reads, and whether it can be rendered. Agents render.

-- Filters by name; N is a number, NAME a name.
CREATE OR REPLACE FUNCTION millrace_internal.is_filter(name text)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT name ~ ('^(size|empty|first|last|reversed|sorted|sorted\.[A-Za-z0-9_-]+|join|lines|upper|lower|capitalized|trim|json|pretty'
                   '|entries|keys|number|number\.[0-9]|percent|percent\.[0-9]|date|time|datetime|date\.[A-Za-z0-9._-]+|pages\.[0-9]{1,6}|take\.[0-9]{1,6}|skip\.[0-9]{1,6})$')
$$;
COMMENT ON FUNCTION millrace_internal.is_filter(text) IS 'Whether templates have a filter of that name.';

-- Returns: names    what the text reads, as an array of paths, the shorter ones standing for the longer; null: nothing
--          strangers  a name outside of sections that is none of run, needs, ended, element, index: output and input are for compensations only
--          problem  why it cannot be rendered; null: it can
CREATE OR REPLACE FUNCTION millrace_internal.template_scan(template text, OUT names jsonb, OUT strangers text[], OUT problem text)
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rest    text := template;
    at      integer := 1;       -- the place of rest in the text
    opening integer;
    closing integer;
    tag     text;
    kind    text;
    word    text;
    name    text;
    filters text[];
    found   text[] := '{}';
    sections    text[] := '{}';     -- sections, the innermost last
BEGIN
    LOOP
        opening := strpos(rest, '{{');
        EXIT WHEN opening = 0;
        at := at + opening - 1;
        rest := substr(rest, opening + 2);
        kind := left(rest, 1);
        closing := strpos(rest, CASE kind WHEN '{' THEN '}}}' ELSE '}}' END);
        IF closing = 0 THEN
            problem := format('the tag at character %s does not end', at);
            RETURN;
        END IF;
        tag := left(rest, closing - 1);
        rest := substr(rest, closing + CASE kind WHEN '{' THEN 3 ELSE 2 END);
        at := at + length(tag) + CASE kind WHEN '{' THEN 5 ELSE 4 END;
        CONTINUE WHEN kind = '!';
        IF kind IN ('>', '<', '$', '=', '%') THEN
            problem := format('{{%s}}: partials, blocks, other delimiters and pragmas are not supported', left(tag, 100));
            RETURN;
        END IF;
        word := btrim(CASE WHEN kind IN ('#', '^', '/', '&', '{') THEN substr(tag, 2) ELSE tag END, E' \t\r\n');
        IF kind = '/' THEN
            IF sections = '{}' OR sections[cardinality(sections)] <> word THEN
                problem := format('{{/%s}} closes %s', left(word, 100), coalesce('{{#' || sections[cardinality(sections)] || '}}', 'nothing'));
                RETURN;
            END IF;
            sections := trim_array(sections, 1);
            CONTINUE;
        END IF;
        -- filter(filter(name)); outside of parentheses the name is never empty
        IF word !~ '^(?:[A-Za-z0-9_.?*-]+\()*[A-Za-z0-9_.?*-]*\)*$' OR word = ''
           OR length(regexp_replace(word, '[^(]', '', 'g')) <> length(regexp_replace(word, '[^)]', '', 'g')) THEN
            problem := format('{{%s}} is not a name, nor filter(name)', left(tag, 100));
            RETURN;
        END IF;
        filters := regexp_split_to_array(btrim(word, ')'), '\(');
        name := filters[cardinality(filters)];
        filters := trim_array(filters, 1);
        IF name = '' AND (cardinality(filters) <> 1 OR filters[1] NOT IN ('first', 'last', 'index', 'number', 'odd', 'even')) THEN
            problem := format('{{%s}}: of an element there are first(), last(), index(), number(), odd() and even()', left(tag, 100));
            RETURN;
        END IF;
        FOR i IN 1..cardinality(filters) LOOP
            IF name <> '' AND NOT millrace_internal.is_filter(filters[i]) THEN
                problem := format('{{%s}}: there is no filter "%s"', left(tag, 100), left(filters[i], 100));
                RETURN;
            END IF;
        END LOOP;
        IF name ~ '^(run|needs|ended|element|output|input)(\.|$)' OR name = 'index' THEN
            found := found || name;
        END IF;
        IF name ~ '^(run|needs|ended|element)(\.|$)' OR name = 'index' THEN
            NULL;
        ELSIF sections = '{}' AND name <> '' THEN
            strangers := strangers || name;
        END IF;
        IF kind IN ('#', '^') THEN
            sections := sections || word;
        END IF;
    END LOOP;
    IF sections <> '{}' THEN
        problem := format('{{#%s}} is not closed', left(sections[cardinality(sections)], 100));
        RETURN;
    END IF;
    names := (SELECT jsonb_agg(to_jsonb(string_to_array(n, '.')) ORDER BY n)
              FROM (SELECT DISTINCT rtrim(f, '.') FROM unnest(found) f) d (n)
              WHERE NOT EXISTS (SELECT FROM unnest(found) shorter WHERE starts_with(d.n, rtrim(shorter, '.') || '.')));
END $$;
COMMENT ON FUNCTION millrace_internal.template_scan(text) IS 'What a template reads, and what is wrong with it.';

CREATE OR REPLACE FUNCTION millrace_internal.is_timezone(name text)
RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM timestamptz 'epoch' AT TIME ZONE name;
    RETURN name ~ '^[A-Za-z]+(/[A-Za-z0-9_+-]+)*$';
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN false;
END $$;
COMMENT ON FUNCTION millrace_internal.is_timezone(text) IS 'Whether it is the name of a time zone.';

CREATE OR REPLACE FUNCTION millrace_internal.template_problems(template jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
    keys    text[] := ARRAY['$template', 'data', 'escape', 'timezone', 'locale'];
    scanned record;
BEGIN
    RETURN QUERY
    SELECT at_path || '.' || k, 'MR102', format('unknown key "%s" in %s', k, at_path),
           coalesce('Did you mean "' || millrace_internal.nearest(k, keys) || '"?', 'Known keys: ' || array_to_string(keys, ', ') || '.')
    FROM jsonb_object_keys(template) k WHERE k <> ALL (keys);
    RETURN QUERY
    SELECT at_path || p.suffix, p.code, format('%s%s %s', at_path, p.suffix, p.what), p.hint
    FROM (VALUES
        ('', 'MR112', 'is no template: "$template" is not a text of up to 100,000 bytes', 'Write {"$template": "Dear {{run.name}}"}.',
         jsonb_typeof(template -> '$template') <> 'string' OR octet_length(template ->> '$template') > 100000),
        ('.data', 'MR101', 'is not an object', 'Write for example "data": {"total": "$.needs.a.total"}.',
         template ? 'data' AND jsonb_typeof(template -> 'data') <> 'object'),
        ('.escape', 'MR112', format('is "%s", which is no way to escape', left(template ->> 'escape', 100)), 'There are none (the default), html, url, json and shell.',
         template ? 'escape' AND coalesce(template ->> 'escape', '') NOT IN ('none', 'html', 'url', 'json', 'shell')),
        ('.timezone', 'MR112', format('is "%s", which is no time zone', left(template ->> 'timezone', 100)), 'Write for example "Europe/Berlin".',
         template ? 'timezone' AND NOT millrace_internal.is_timezone(coalesce(template ->> 'timezone', ''))),
        ('.locale', 'MR112', format('is "%s", which is no locale', left(template ->> 'locale', 100)), 'Write for example "de_DE".',
         template ? 'locale' AND coalesce(template ->> 'locale', '') !~ '^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8}){0,3}$')
    ) p (suffix, code, what, hint, wrong) WHERE p.wrong;
    IF FOUND THEN
        RETURN;
    END IF;
    scanned := millrace_internal.template_scan(template ->> '$template');
    RETURN QUERY SELECT at_path, 'MR113', format('%s: %s', at_path, scanned.problem), NULL::text WHERE scanned.problem IS NOT NULL;
    RETURN QUERY
    SELECT at_path, 'MR113', format('%s: {{%s}} names nothing that a step knows', at_path, s), 'Names begin with run, needs, ended, element or index, or stand in "data".'
    FROM (SELECT DISTINCT s FROM unnest(scanned.strangers) s WHERE split_part(s, '.', 1) <> '' AND NOT coalesce(template -> 'data' ? split_part(s, '.', 1), false)
            AND NOT (at_path LIKE '%.compensate.%' AND split_part(s, '.', 1) IN ('output', 'input')) ORDER BY s) u (s)
    WHERE scanned.problem IS NULL;
    RETURN QUERY
    SELECT at_path || '.data', 'MR108', format('%s.data: "%s" is not a JSONPath: %s', at_path, leaf, millrace_internal.path_problem(leaf)), 'A text in data that begins with $ is a JSONPath; write $$ for a dollar sign.'
    FROM millrace_internal.input_paths(template -> 'data') leaf WHERE millrace_internal.path_problem(leaf) IS NOT NULL;
END $body$;
COMMENT ON FUNCTION millrace_internal.template_problems(jsonb, text) IS 'Mistakes of one template.';
