-- Purpose: `window`: the hours of the week in which a step may start, such as "Mon-Fri 08:00-20:00 Europe/Berlin". A step that
-- becomes ready outside of them waits until they begin.

-- Returns: the days on which it opens (0 Sunday to 6 Saturday), when, when it closes (up to 24:00; before `opens`: the next day), where; null for what is no window
CREATE OR REPLACE FUNCTION millrace_internal.window_parse(of_window text, OUT days integer[], OUT opens interval, OUT closes interval, OUT zone text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    names CONSTANT text[] := '{Sun,Mon,Tue,Wed,Thu,Fri,Sat}';
    parts text[] := regexp_match(of_window,
        '^(?:((?:Sun|Mon|Tue|Wed|Thu|Fri|Sat)(?:[-,](?:Sun|Mon|Tue|Wed|Thu|Fri|Sat))*) )?((?:[01]\d|2[0-3]):[0-5]\d)-((?:[01]\d|2[0-3]):[0-5]\d|24:00) (\S+)$');
    part  text;
    first integer;
    last  integer;
BEGIN
    IF parts IS NULL OR parts[1] ~ '-\w+-' OR parts[2] = parts[3] THEN
        RETURN;
    END IF;
    IF parts[1] IS NULL THEN
        days := '{0,1,2,3,4,5,6}';
    ELSE
        days := '{}';
        FOREACH part IN ARRAY string_to_array(parts[1], ',') LOOP
            first := array_position(names, left(part, 3)) - 1;
            last := array_position(names, right(part, 3)) - 1;
            days := days || ARRAY(SELECT (first + n) % 7 FROM generate_series(0, (last - first + 7) % 7) n);
        END LOOP;
    END IF;
    opens := parts[2]::interval;
    closes := parts[3]::interval;
    zone := parts[4];
END $$;
COMMENT ON FUNCTION millrace_internal.window_parse(text) IS 'The parts of a window.';

-- Returns: null for a zone that the server knows by its full name, else what to do
CREATE OR REPLACE FUNCTION millrace_internal.zone_hint(zone text)
RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- the server takes abbreviations and rules such as "X5" for zones, too; those are not what anybody means here
    IF zone ~ '^(UTC|Etc/GMT([+-](\d|1[0-4]))?|[A-Za-z]+(/[A-Za-z_-]+)+)$' THEN
        BEGIN
            PERFORM now() AT TIME ZONE zone;
            RETURN NULL;
        EXCEPTION WHEN invalid_parameter_value THEN
        END;
    END IF;
    RETURN coalesce('Did you mean "' || millrace_internal.nearest(zone, ARRAY(SELECT n.name FROM pg_timezone_names n WHERE n.name ~ '/' AND n.name !~ '^posix/')) || '"?',
                    'Write a full name such as Europe/Berlin, or UTC.');
END $$;
COMMENT ON FUNCTION millrace_internal.zone_hint(text) IS 'Null for a time zone that there is, else what to write instead.';

CREATE OR REPLACE FUNCTION millrace_internal.window_problems(step jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT at_path || '.window', 'MR112', format('%s.window: "%s" is not a window', at_path, left(step ->> 'window', 200)),
           'Write hours and a time zone, and days if not on all of them: "08:00-20:00 Europe/Berlin", "Mon-Fri,Sun 22:00-06:00 UTC".'
    FROM millrace_internal.window_parse(step ->> 'window') w
    WHERE step ? 'window' AND (jsonb_typeof(step -> 'window') <> 'string' OR w.zone IS NULL)
    UNION ALL
    SELECT at_path || '.window', 'MR112', format('%s.window: there is no time zone "%s"', at_path, left(w.zone, 200)), n.hint
    FROM millrace_internal.window_parse(step ->> 'window') w
    CROSS JOIN LATERAL (SELECT CASE WHEN w.zone IS NOT NULL THEN millrace_internal.zone_hint(w.zone) END AS hint OFFSET 0) n
    WHERE jsonb_typeof(step -> 'window') = 'string' AND n.hint IS NOT NULL
    UNION ALL
    SELECT at_path || '.window', 'MR112', format('%s.window stands in a step that no agent executes', at_path),
           'Windows are for steps with a handler; give one to a step before this one, or to the steps of the sub-run.'
    WHERE step ? 'window' AND step ?| '{wait_for,workflow}'
$$;
COMMENT ON FUNCTION millrace_internal.window_problems(jsonb, text) IS 'Mistakes in the window of a step.';

-- Returns: the window of this moment, or the next one; hours that a change of clocks leaves out make none
CREATE OR REPLACE FUNCTION millrace_internal.window_at(of_window text, moment timestamptz, OUT opens_at timestamptz, OUT closes_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT o.opens_at, o.closes_at
    FROM millrace_internal.window_parse(of_window) w
    CROSS JOIN generate_series(-1, 15) n
    CROSS JOIN LATERAL (SELECT date_trunc('day', moment AT TIME ZONE w.zone) + n * interval '1 day' AS day OFFSET 0) d
    CROSS JOIN LATERAL (SELECT (d.day + w.opens) AT TIME ZONE w.zone AS opens_at,
                               (d.day + w.closes + CASE WHEN w.closes < w.opens THEN interval '1 day' ELSE interval '0' END) AT TIME ZONE w.zone AS closes_at OFFSET 0) o
    WHERE extract(dow FROM d.day)::integer = ANY (w.days) AND o.closes_at > moment AND o.closes_at > o.opens_at
    ORDER BY o.opens_at LIMIT 1
$$;
COMMENT ON FUNCTION millrace_internal.window_at(text, timestamptz) IS 'When a window is open: now, or next.';

-- Purpose:   steps outside of their windows wait until these open.
-- Arguments: steps that are ready, and whose rows this call holds
-- Returns:   the others
-- Tables changed: step, event, timer.
CREATE OR REPLACE FUNCTION millrace_internal.window_wait(in_shard smallint, run_ids bigint[], step_nos integer[], OUT runs bigint[], OUT steps integer[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
    shut   record;
BEGIN
    SELECT array_agg(s.run_id) AS runs, array_agg(s.step_no) AS steps, array_agg(w.opens_at) AS due INTO shut
    FROM unnest(run_ids, step_nos) u (run_id, step_no)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    CROSS JOIN LATERAL millrace_internal.window_at(d.traits ->> 'window', now_at) w
    WHERE (u.run_id & 255) = in_shard AND d.traits ? 'window' AND w.opens_at > now_at;
    IF shut.runs IS NULL THEN
        runs := run_ids; steps := step_nos;
        RETURN;
    END IF;
    WITH held AS (
        UPDATE millrace_internal.step s SET state = 1, ready_at = u.due_at
        FROM unnest(shut.runs, shut.steps, shut.due) u (run_id, step_no, due_at)
        WHERE (u.run_id & 255) = in_shard AND s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2
        RETURNING s.run_id, s.step_no, s.token, s.attempts, s.ready_at),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind, data)
        SELECT h.run_id, now_at, pg_current_xact_id()::text::bigint, h.step_no, h.attempts, in_shard, 9, jsonb_build_object('for', 'window', 'due_at', h.ready_at)
        FROM held h ORDER BY h.run_id, h.step_no)
    SELECT array_agg(h.run_id) AS runs, array_agg(h.step_no) AS steps, array_agg(h.token) AS tokens, array_agg(h.ready_at) AS due INTO shut FROM held h;
    PERFORM millrace_internal.timers_set(in_shard, shut.runs, shut.steps, shut.tokens, shut.due);
    SELECT array_agg(u.run_id), array_agg(u.step_no) INTO runs, steps
    FROM unnest(run_ids, step_nos) u (run_id, step_no)
    WHERE NOT EXISTS (SELECT FROM unnest(shut.runs, shut.steps) h (run_id, step_no) WHERE h.run_id = u.run_id AND h.step_no = u.step_no);
END $$;
COMMENT ON FUNCTION millrace_internal.window_wait(smallint, bigint[], integer[]) IS 'Has steps wait until their windows open.';
