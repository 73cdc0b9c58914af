-- Purpose: steps that wait (`wait_for`): for a signal, a person, a time, another run's end. docs/waiting.md.
--
-- Entering a wait writes what it waits for, and a timer: for a time, when that comes; for a signal or a run, at once, for it may
-- have come before. Who brings something ends the waits that he sees, and rings the run's bell for those that are being entered
-- at that moment. So neither locks anything for the other: whichever commits last, the keeper looks after that.

-- What a step waits for, as its definition and the data of its run have it now.
CREATE OR REPLACE FUNCTION millrace_internal.wait_of(in_shard smallint, in_run_id bigint, in_step_no integer, in_element integer, def millrace_internal.step_definition, now_at timestamptz)
RETURNS millrace_internal.wait LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    spec  jsonb := (def.traits -> 'wait_for') #- '{person,answer}';
    name  text := (SELECT k FROM unnest(millrace_internal.wait_kinds()) k WHERE spec ? k);
    wrong text;
    found millrace_internal.wait;
BEGIN
    found.run_id := in_run_id;
    found.step_no := in_step_no;
    found.shard := in_shard;
    found.since := now_at;
    found.expires_at := now_at + make_interval(secs => def.timeout);
    found.kind := CASE name WHEN 'signal' THEN 1 WHEN 'person' THEN 2 WHEN 'run' THEN 4 ELSE 3 END;
    -- of run and needs an element sees what its input names
    def.input := spec;
    spec := millrace_internal.input_fill(spec, millrace_internal.context_of(in_shard, in_run_id, def, in_element)) -> name;
    CASE name
        WHEN 'signal' THEN
            found.signal := CASE WHEN jsonb_typeof(spec) IN ('string', 'number') AND octet_length(spec #>> '{}') BETWEEN 1 AND 200 THEN spec #>> '{}' END;
            wrong := CASE WHEN found.signal IS NULL THEN 'name of a signal' END;
        WHEN 'person' THEN
            wrong := CASE WHEN jsonb_typeof(spec -> 'assignee') NOT IN ('string', 'null') OR octet_length(spec ->> 'assignee') > 200 THEN 'assignee'
                          WHEN jsonb_typeof(spec -> 'candidates') NOT IN ('array', 'null') OR octet_length(spec ->> 'candidates') > 100000 THEN 'list of candidates'
                          WHEN octet_length(spec ->> 'title') > 10000 THEN 'title' END;
            found.assignee := CASE WHEN wrong IS NULL THEN nullif(spec ->> 'assignee', '') END;
            found.candidates := CASE WHEN wrong IS NULL AND jsonb_typeof(spec -> 'candidates') = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(spec -> 'candidates')) END;
            found.title := spec ->> 'title';
        WHEN 'run' THEN
            found.awaited_run_id := CASE WHEN spec #>> '{}' ~ '^[1-9][0-9]{0,17}$' THEN (spec #>> '{}')::bigint END;
            wrong := CASE WHEN found.awaited_run_id IS NULL OR found.awaited_run_id = in_run_id
                               OR NOT EXISTS (SELECT FROM millrace_internal.run r WHERE r.run_id = found.awaited_run_id) THEN 'run to wait for' END;
        WHEN 'until' THEN
            found.over_at := millrace_internal.time_of(spec);
            wrong := CASE WHEN found.over_at IS NULL THEN 'time' END;
        ELSE
            found.over_at := now_at + make_interval(secs => millrace_internal.seconds(spec));
            wrong := CASE WHEN found.over_at IS NULL THEN 'duration' END;
    END CASE;
    IF wrong IS NOT NULL THEN
        found.problem := format('MR044: %s is no %s', coalesce(left(spec::text, 200), 'null'), wrong);
    END IF;
    RETURN found;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR undefined_object OR feature_not_supported THEN
    -- what a path may end in only once it meets data
    found.problem := 'MR044: ' || SQLERRM;
    RETURN found;
END $$;
COMMENT ON FUNCTION millrace_internal.wait_of(smallint, bigint, integer, integer, millrace_internal.step_definition, timestamptz) IS 'What a step waits for, or why that cannot be told.';

-- Arguments: steps that are ready, and whose rows this call holds; those without wait_for are passed over
-- Tables changed: step, event, wait, timer.
CREATE OR REPLACE FUNCTION millrace_internal.waits_enter(in_shard smallint, run_ids bigint[], step_nos integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    now_at  timestamptz := millrace_internal.clock();
    entered record;
    tokens  integer[];
    due     record;
BEGIN
    SELECT array_agg(w.wait ORDER BY w.run_id, w.step_no) AS waits, array_agg(w.run_id ORDER BY w.run_id, w.step_no) AS runs, array_agg(w.step_no ORDER BY w.run_id, w.step_no) AS steps,
           array_agg(millrace_internal.wait_told(w.wait) ORDER BY w.run_id, w.step_no) AS data INTO entered
    FROM (SELECT u.run_id, u.step_no, millrace_internal.wait_of(in_shard, u.run_id, u.step_no, s.element, d, now_at) AS wait
          FROM unnest(run_ids, step_nos) u (run_id, step_no)
          JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2
          JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no AND d.traits ? 'wait_for'
               AND (s.element IS NOT NULL OR NOT d.traits ? 'for_each')
          WHERE (u.run_id & 255) = in_shard OFFSET 0) w;
    IF entered.runs IS NULL THEN
        RETURN;
    END IF;
    tokens := millrace_internal.engine_hold(in_shard, entered.runs, entered.steps, 5::smallint, entered.data);
    WITH waiting AS (
        INSERT INTO millrace_internal.wait AS w (run_id, step_no, shard, kind, token, since, over_at, expires_at, signal, awaited_run_id, assignee, candidates, title, problem)
        SELECT u.run_id, u.step_no, u.shard, u.kind, u.given, u.since, u.over_at, u.expires_at, u.signal, u.awaited_run_id, u.assignee, u.candidates, u.title, u.problem
        -- side by side: a join of arrays would be a nested loop here
        FROM unnest(entered.waits, tokens)
             u (run_id, step_no, shard, kind, token, since, over_at, expires_at, signal, awaited_run_id, assignee, candidates, title, problem, given)
        ON CONFLICT (run_id, step_no, shard) DO UPDATE
        SET kind = excluded.kind, token = excluded.token, since = excluded.since, over_at = excluded.over_at, expires_at = excluded.expires_at, signal = excluded.signal,
            awaited_run_id = excluded.awaited_run_id, assignee = excluded.assignee, candidates = excluded.candidates, title = excluded.title, problem = excluded.problem
        RETURNING w.*)
    SELECT array_agg(w.run_id) AS runs, array_agg(w.step_no) AS steps, array_agg(w.token) AS tokens, array_agg(at.at) AS at INTO due
    FROM waiting w
    CROSS JOIN LATERAL (SELECT CASE WHEN w.problem IS NOT NULL OR w.kind IN (1, 4) THEN now_at ELSE w.over_at END
                        -- one past the end of the wait is not needed
                        UNION SELECT w.expires_at WHERE w.problem IS NULL AND (w.over_at IS NULL OR w.expires_at < w.over_at)) at (at)
    WHERE at.at IS NOT NULL;
    IF due.runs IS NOT NULL THEN
        PERFORM millrace_internal.timers_set(in_shard, due.runs, due.steps, due.tokens, due.at);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.waits_enter(smallint, bigint[], integer[]) IS 'Steps begin to wait for what comes from outside.';

-- What the event of a beginning wait says.
CREATE OR REPLACE FUNCTION millrace_internal.wait_told(waiting millrace_internal.wait)
RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('for', CASE waiting.kind
               WHEN 1 THEN jsonb_build_object('signal', waiting.signal)
               WHEN 2 THEN jsonb_build_object('person', jsonb_build_object('assignee', waiting.assignee, 'candidates', to_jsonb(waiting.candidates), 'title', waiting.title))
               WHEN 3 THEN jsonb_build_object('until', waiting.over_at)
               ELSE jsonb_build_object('run', waiting.awaited_run_id) END,
           'due_at', least(waiting.over_at, waiting.expires_at)))
$$;
COMMENT ON FUNCTION millrace_internal.wait_told(millrace_internal.wait) IS 'A wait as events and why_not_ready tell it: {"for": {kind: what}, "due_at": when it ends at the latest}.';

-- Which of these steps are over with what they wait for, and how. A run that ended badly fails the step, as a try that failed.
CREATE OR REPLACE FUNCTION millrace_internal.waits_over(in_shard smallint, run_ids bigint[], step_nos integer[], tokens integer[], now_at timestamptz)
RETURNS TABLE (run_id bigint, step_no integer, token integer, code smallint, output jsonb, error text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT w.run_id, w.step_no, w.token, o.code::smallint,
           CASE WHEN o.code = 1 AND o.came THEN CASE w.kind WHEN 1 THEN g.payload
                WHEN 4 THEN jsonb_build_object('run_id', w.awaited_run_id, 'state', millrace_internal.run_state_name(r.state), 'output', millrace_internal.run_output((w.awaited_run_id & 255)::smallint, w.awaited_run_id)) END END,
           CASE WHEN o.code = 3 THEN w.problem
                WHEN o.code = 2 THEN format('run %s has ended as %s', w.awaited_run_id, millrace_internal.run_state_name(r.state))
                WHEN NOT o.came THEN 'timed out' END
    FROM (SELECT u.run_id, u.step_no, u.token FROM unnest(run_ids, step_nos, tokens) u (run_id, step_no, token) WHERE u.step_no > 0
          UNION
          -- bells
          SELECT w.run_id, w.step_no, w.token FROM unnest(run_ids, step_nos) u (run_id, step_no)
          JOIN millrace_internal.signal g ON g.run_id = u.run_id AND g.shard = in_shard
          JOIN millrace_internal.wait w ON w.run_id = u.run_id AND w.signal = g.name AND w.shard = in_shard WHERE u.step_no < 0) u
    JOIN millrace_internal.wait w ON w.run_id = u.run_id AND w.step_no = u.step_no AND w.shard = in_shard AND w.token = u.token
    JOIN millrace_internal.step s ON s.run_id = w.run_id AND s.step_no = w.step_no AND s.shard = in_shard AND s.token = w.token AND s.state = 5
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    LEFT JOIN millrace_internal.signal g ON w.kind = 1 AND g.run_id = w.run_id AND g.name = w.signal AND g.shard = in_shard
    LEFT JOIN millrace_internal.run r ON w.kind = 4 AND r.run_id = w.awaited_run_id AND r.finished_at IS NOT NULL
    CROSS JOIN LATERAL (
        SELECT true AS came, CASE WHEN w.problem IS NOT NULL THEN 3 WHEN r.state > 10 THEN 2 ELSE 1 END AS code
        WHERE w.problem IS NOT NULL OR g.run_id IS NOT NULL OR r.run_id IS NOT NULL OR w.over_at <= now_at
        UNION ALL
        SELECT false, CASE d.traits -> 'wait_for' ->> 'on_timeout' WHEN 'skip' THEN 7 WHEN 'complete' THEN 1 ELSE 4 END WHERE w.expires_at <= now_at
        ORDER BY 1 DESC LIMIT 1) o
    WHERE (u.run_id & 255) = in_shard;
END $$;
COMMENT ON FUNCTION millrace_internal.waits_over(smallint, bigint[], integer[], integer[], timestamptz) IS
'What has come for steps that wait, or that their time is up: outcomes as millrace_internal.decide takes them.';

-- Runs whose ends these steps wait for are told to ring; those that have just ended are rung for.
-- Locks: run rows, ascending; after them only timers. Tables changed: run, timer.
CREATE OR REPLACE FUNCTION millrace_internal.waits_watch(in_shard smallint, run_ids bigint[], step_nos integer[], tokens integer[], now_at timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    in_run_id bigint;
BEGIN
    FOR in_run_id IN
        SELECT DISTINCT w.awaited_run_id FROM unnest(run_ids, step_nos, tokens) u (run_id, step_no, token)
        JOIN millrace_internal.wait w ON w.run_id = u.run_id AND w.step_no = u.step_no AND w.shard = in_shard AND w.token = u.token AND w.kind = 4 AND w.problem IS NULL
        ORDER BY 1
    LOOP
        -- waits for a run that is about to end, and then finds it ended
        UPDATE millrace_internal.run r SET awaited = true WHERE r.run_id = in_run_id AND r.shard = (in_run_id & 255) AND r.finished_at IS NULL;
        IF NOT FOUND THEN
            PERFORM millrace_internal.runs_ring(in_shard, ARRAY[in_run_id]);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.waits_watch(smallint, bigint[], integer[], integer[], timestamptz) IS 'Has runs ring at their end.';

CREATE OR REPLACE FUNCTION millrace_internal.waits_forget(in_shard smallint, run_ids bigint[], step_nos integer[], tokens integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    DELETE FROM millrace_internal.wait w USING unnest(run_ids, step_nos, tokens) u (run_id, step_no, token)
    WHERE (u.run_id & 255) = in_shard AND w.run_id = u.run_id AND w.step_no = u.step_no AND w.shard = in_shard AND w.token = u.token;
END $$;
COMMENT ON FUNCTION millrace_internal.waits_forget(smallint, bigint[], integer[], integer[]) IS 'These waits are over. Tables changed: wait.';
