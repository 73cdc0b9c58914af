-- Purpose: learning how long steps take, from what is stored anyway: which steps have completed lately stands at the end of
-- the log, how long they took in their rows. Once a second at most, and never in a report. In a flood, a look every second
-- would only be one more sample of the same, and one more version of the rows that it writes: then the pause grows.

-- Bounds of a look: pages of the log behind the last one, some more before them (each session fills a page of its own, and
-- may still have been at it), and completions; where there are more, a quarter of that many are enough.
CREATE OR REPLACE FUNCTION millrace_internal.learning_bounds(OUT pages bigint, OUT slack bigint, OUT completions integer)
LANGUAGE sql IMMUTABLE AS $$ SELECT 256::bigint, 64::bigint, 4000 $$;
COMMENT ON FUNCTION millrace_internal.learning_bounds() IS 'What one look for durations reads at most.';

-- Each look reads what had been logged when the one before was taken: that has been committed by now, but for what hangs.
-- Tables changed: learning, duration, rank. Locks: learning, SKIP LOCKED: somebody else is at it.
CREATE OR REPLACE FUNCTION millrace_internal.keep_durations(now_at timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at         millrace_internal.learning;
    seen       record;
    last_event bigint;
BEGIN
    SELECT * INTO at FROM millrace_internal.learning FOR NO KEY UPDATE SKIP LOCKED;
    last_event := millrace_internal.last_event_id();
    IF NOT FOUND THEN
        INSERT INTO millrace_internal.learning (looked_at, pause, from_id, block, event_id, end_block, end_event_id, unranked)
        SELECT now_at, '1 s', coalesce(e.from_id, -1), 0, 0, coalesce(e.blocks, 0), last_event, '{}'
        FROM millrace_internal.log_end(last_event) e ON CONFLICT DO NOTHING;
        RETURN;
    END IF;
    -- a clock that was stopped may have gone back
    IF now_at >= at.looked_at AND now_at < at.looked_at + at.pause
       OR (at.event_id, at.end_event_id) = (last_event, last_event) AND at.unranked = '{}' THEN
        RETURN;
    END IF;
    SELECT * INTO seen FROM millrace_internal.completions_of(at);
    IF seen.runs IS NOT NULL THEN
        at.unranked := at.unranked || millrace_internal.durations_fold(seen.runs, seen.steps);
    END IF;
    IF at.unranked <> '{}' THEN
        at.unranked := millrace_internal.ranks_refresh(at.unranked, now_at);
    END IF;
    UPDATE millrace_internal.learning l
    SET looked_at = now_at, pause = CASE WHEN seen.flood THEN least(8 * at.pause, interval '1 min') ELSE interval '1 s' END,
        unranked = at.unranked, from_id = coalesce(e.from_id, -1), end_block = coalesce(e.blocks, 0), end_event_id = last_event,
        block = CASE WHEN e.from_id = at.from_id THEN at.end_block ELSE 0 END, event_id = at.end_event_id
    FROM millrace_internal.log_end(last_event) e;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_durations(timestamptz) IS 'Folds durations of steps that have completed lately into the estimates, and refreshes ranks.';

CREATE OR REPLACE FUNCTION millrace_internal.log_end(last_event bigint, OUT from_id bigint, OUT blocks bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT p.from_id INTO from_id FROM millrace_internal.partition p WHERE p.parent = 'event' AND last_event >= p.from_id AND last_event < p.to_id;
    blocks := pg_relation_size(to_regclass('millrace_internal.event_' || from_id)) / current_setting('block_size')::integer;
END $$;
COMMENT ON FUNCTION millrace_internal.log_end(bigint) IS 'The partition that an event belongs to, and how many pages it has.';

-- The log is only appended to, so what is new stands at its end: it is read by its place, for no index is kept to find it.
-- Returns: steps that have completed in the part of the log that the next look has to read; null for none; whether they are
--          a sample, because there were more.
CREATE OR REPLACE FUNCTION millrace_internal.completions_of(at millrace_internal.learning, OUT runs bigint[], OUT steps integer[], OUT flood boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    bounds record := millrace_internal.learning_bounds();
    log    regclass := to_regclass('millrace_internal.event_' || at.from_id);
    first  bigint := greatest(0, greatest(at.block, at.end_block - bounds.pages) - bounds.slack);
BEGIN
    IF log IS NULL OR at.event_id = at.end_event_id THEN
        RETURN;
    END IF;
    EXECUTE format('SELECT array_agg(e.run_id), array_agg(e.step_no) FROM %s e
                    WHERE e.ctid >= %L AND e.ctid < %L AND e.event_id > %s AND e.event_id <= %s AND e.kind = 11',
                   log, format('(%s,0)', first), format('(%s,0)', at.end_block), at.event_id, at.end_event_id)
    INTO runs, steps;
    flood := coalesce(cardinality(runs) > bounds.completions, false);
    IF flood THEN
        runs := runs[1:bounds.completions / 4];
        steps := steps[1:bounds.completions / 4];
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.completions_of(millrace_internal.learning) IS 'Steps that have completed since the last look, as far as one look goes.';

-- A mean of all durations up to the ninth; from then on each new one counts for a tenth, so that what changes is followed.
-- Returns: the versions with new durations. Tables changed: duration.
CREATE OR REPLACE FUNCTION millrace_internal.durations_fold(run_ids bigint[], step_nos integer[])
RETURNS integer[] LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    versions integer[];
BEGIN
    WITH news AS MATERIALIZED (
        -- only what an agent has measured; not what makes no sense
        SELECT b.version_id, b.def_no, count(*)::integer AS samples, avg(s.elapsed::double precision) AS mean,
               coalesce(avg(abs(s.elapsed::double precision - d.seconds)), stddev_pop(s.elapsed::double precision)) AS deviation,
               coalesce(max(d.samples), 0) AS old_samples, coalesce(max(d.seconds), 0)::double precision AS old_mean,
               coalesce(max(d.deviation), 0)::double precision AS old_deviation
        FROM (SELECT * FROM unnest(run_ids, step_nos) u (run_id, step_no) ORDER BY 1, 2) u
        JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = (u.run_id & 255)
        CROSS JOIN LATERAL (SELECT v.version_id, v.base_id FROM millrace_internal.version v WHERE v.version_id = s.version_id OFFSET 0) v
        -- what a run's own version has in common with the workflow's is learnt for that one
        CROSS JOIN LATERAL (SELECT s.version_id, s.def_no WHERE v.base_id IS NULL
                            UNION ALL
                            SELECT o.version_id, o.def_no FROM millrace_internal.step_definition n
                            JOIN millrace_internal.step_definition o ON o.key = n.key AND o.version_id = v.base_id AND o.handler_id = n.handler_id
                            WHERE n.version_id = s.version_id AND n.def_no = s.def_no AND v.base_id IS NOT NULL) b
        LEFT JOIN millrace_internal.duration d ON d.version_id = b.version_id AND d.def_no = b.def_no
        WHERE s.state = 10 AND s.elapsed >= 0 AND s.elapsed < 1e9
        GROUP BY 1, 2),
    kept AS (
        -- rounded, for what is smaller than the smallest real is an error
        INSERT INTO millrace_internal.duration AS d (version_id, def_no, samples, seconds, deviation)
        SELECT n.version_id, n.def_no, least(n.old_samples::bigint + n.samples, 2147483647)::integer,
               round((n.old_mean + w.weight * (n.mean - n.old_mean))::numeric, 9),
               round((n.old_deviation + w.weight * (n.deviation - n.old_deviation))::numeric, 9)
        FROM news n CROSS JOIN LATERAL (SELECT n.samples::double precision / (n.samples + least(n.old_samples, 9)) AS weight) w
        ORDER BY 1, 2
        ON CONFLICT (version_id, def_no) DO UPDATE SET samples = excluded.samples, seconds = excluded.seconds, deviation = excluded.deviation
        RETURNING d.version_id)
    SELECT array_agg(DISTINCT k.version_id) INTO versions FROM kept k;
    RETURN versions;
END $$;
COMMENT ON FUNCTION millrace_internal.durations_fold(bigint[], integer[]) IS 'Folds the durations of completed steps into the estimates.';

-- Computes ranks where durations are new: at most ten versions a call, and each at most once in a second, or in as many
-- milliseconds as it has steps. Stored only where a rank has changed by a fifth, and by a millisecond.
-- Returns: versions that are left for a later call. Tables changed: rank.
CREATE OR REPLACE FUNCTION millrace_internal.ranks_refresh(versions integer[], now_at timestamptz)
RETURNS integer[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    v     record;
    fresh real[];
    done  integer[] := '{}';
    told  boolean := false;
    steps bigint := 0;
BEGIN
    FOR v IN
        SELECT u.version_id, ver.steps, ver.graph, k.ranks
        FROM (SELECT DISTINCT version_id FROM unnest(versions) u (version_id)) u
        LEFT JOIN millrace_internal.version ver USING (version_id)
        LEFT JOIN millrace_internal.rank k USING (version_id)
        WHERE k.checked_at IS NULL OR now_at < k.checked_at OR now_at >= k.checked_at + greatest(1, ver.steps / 1000.0) * interval '1 s'
        ORDER BY k.checked_at NULLS FIRST, u.version_id LIMIT 10
    LOOP
        EXIT WHEN steps > 0 AND steps + v.steps > 100000;
        steps := steps + coalesce(v.steps, 0);
        done := done || v.version_id;
        CONTINUE WHEN v.steps IS NULL;      -- the version is gone
        fresh := millrace_internal.graph_ranks(v.graph, ARRAY(SELECT e.seconds FROM millrace_internal.estimates(v.version_id) e ORDER BY e.def_no));
        IF v.ranks IS NULL OR EXISTS (SELECT FROM unnest(fresh, v.ranks) u (new, old) WHERE abs(u.new - u.old) > greatest(0.2 * greatest(u.new, u.old), 0.001)) THEN
            INSERT INTO millrace_internal.rank (version_id, checked_at, computed_at, ranks) VALUES (v.version_id, now_at, now_at, fresh)
            ON CONFLICT (version_id) DO UPDATE SET checked_at = excluded.checked_at, computed_at = excluded.computed_at, ranks = excluded.ranks;
            told := true;
        ELSE
            UPDATE millrace_internal.rank k SET checked_at = now_at WHERE k.version_id = v.version_id;
        END IF;
    END LOOP;
    IF told THEN
        PERFORM millrace_internal.ranks_changed();
    END IF;
    RETURN ARRAY(SELECT DISTINCT u.version_id FROM unnest(versions) u (version_id) WHERE u.version_id <> ALL (done) ORDER BY 1 LIMIT 10000);
END $$;
COMMENT ON FUNCTION millrace_internal.ranks_refresh(integer[], timestamptz) IS 'Ranks of versions from the present estimates.';
