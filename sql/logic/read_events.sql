-- Purpose: reading the log of events for a subscription. Nothing is locked, changed or waited for.

-- Arguments: max_events  1 to 100,000
--            after       where to go on: the last position of the answer before; null: the stored one
-- Returns:   the next events. A window (see event_window) is read in the order of event_id, then the next one is opened; fewer than
--            max_events mean that nothing is left of what had been committed when the call began. The last row has the position.
-- A window is read by ranges of event_id, which the summaries of the partitions (BRIN) find: about as many numbers as events are
-- wanted, and more each time that brought too few. Below `low` there are only events of transactions that were late, few and far
-- between and found by their transaction: the ranges are wider there.
CREATE OR REPLACE FUNCTION millrace.read_events(name text, max_events integer DEFAULT 1000, after text DEFAULT NULL)
RETURNS TABLE (event_id bigint, run_id bigint, step_no integer, kind text, attempt integer, agent_id integer, at timestamptz, data jsonb,
               workflow text, version integer, tenant text, key text, "position" text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET max_parallel_workers_per_gather = 0 AS $$
#variable_conflict use_column
DECLARE
    s         millrace_internal.subscription := millrace_internal.subscription_get(read_events.name);
    p         millrace_internal.event_position;
    missing   integer := max_events;    -- events still to be answered
    is_last   boolean := false;         -- this window was opened by this call
    era_end   bigint;                   -- the snapshot of the position judges events up to here; all later ones are new
    late      bigint[];                 -- transactions in progress then, that have ended since
    late_low  bigint[];
    late_here bigint[];
    least_of_open bigint;
    step      bigint;                   -- how wide a range is read
    longest   bigint;
    far       boolean;
    up_to     bigint;
    x_from    bigint;
    x_to      bigint;
    found     integer;
    opened    text;                     -- the position inside the window, without its last two fields
    closed    text;                     -- the position at its end, without its last field
BEGIN
    PERFORM millrace_internal.require_readable_log();
    IF max_events IS NULL OR max_events NOT BETWEEN 1 AND 100000 THEN
        PERFORM millrace_internal.fail('MR001', format('max_events is %s', coalesce(max_events::text, 'null')), NULL, 'Ask for 1 to 100,000 events.');
    ELSIF s.overtaken_to IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR064', format('retention has overtaken subscription "%s"', s.name),
            format('Events %s to %s were dropped before all of them were read, at %s.', s.overtaken_from, s.overtaken_to, s.overtaken_at),
            format('Call millrace.subscribe(%L) to take note of it; reading then goes on behind the gap.', s.name));
    END IF;
    IF after IS NULL THEN
        p := s.position;
        p.server_run := millrace_internal.server_run();
    ELSE
        p := millrace_internal.event_position(after);
    END IF;

    LOOP
        IF p.to_xmax IS NULL THEN
            IF is_last THEN
                RETURN;
            END IF;
            is_last := true;
            -- said before the snapshot is taken, so that a commit after it wakes the reader
            PERFORM millrace_internal.events_wanted();
            p := millrace_internal.event_window_open(p);
        END IF;
        SELECT min(e.settled_to) INTO era_end FROM millrace_internal.event_era e WHERE e.settled_to > p.era AND e.settled_to <= p.to_era;
        SELECT array_agg(o.xact_id), array_agg(o.low) INTO late, late_low FROM unnest(p.open, p.open_low) o (xact_id, low)
        WHERE era_end IS NOT NULL OR o.xact_id <> ALL (p.to_open);
        least_of_open := least(p.to_xmax, (SELECT min(x) FROM unnest(p.to_open) x));
        opened := regexp_replace(p::text, '[^,]*,[^,]*\)$', '');
        closed := regexp_replace(millrace_internal.event_window_close(p)::text, '[^,]*\)$', '');
        step := greatest(missing + missing / 4, 1000);
        longest := 16 * step;

        WHILE p.cursor < p.to_end LOOP
            far := p.cursor + longest < p.low;
            IF far THEN
                up_to := least(p.cursor + 64 * step, p.low);
            ELSE
                up_to := CASE WHEN p.cursor + 2 * step < p.to_end THEN p.cursor + step ELSE p.to_end END;
            END IF;
            SELECT coalesce(array_agg(l.xact_id), '{}'), min(l.xact_id), max(l.xact_id) INTO late_here, x_from, x_to
            FROM unnest(late, late_low) l (xact_id, low) WHERE l.low < up_to;
            IF era_end IS NOT NULL OR p.cursor < p.to_era THEN
                x_from := 0;
                x_to := 9223372036854775807;
            ELSIF up_to > p.low THEN
                x_from := least(x_from, p.xmax);
                x_to := p.to_xmax;
            END IF;

            RETURN QUERY
            WITH chunk AS MATERIALIZED (
                SELECT e.event_id, e.run_id, e.step_no, e.kind, e.attempt, e.agent_id, e.at, e.data
                FROM millrace_internal.events_between(p.cursor, up_to, x_from, x_to) e
                WHERE (e.xact_id >= p.xmax AND e.event_id > p.low OR e.xact_id = ANY (late_here) OR e.event_id > era_end)
                  AND (e.xact_id < least_of_open OR e.xact_id < p.to_xmax AND e.xact_id <> ALL (p.to_open) OR e.event_id <= p.to_era)
                ORDER BY e.event_id LIMIT missing)
            SELECT c.event_id, c.run_id, c.step_no, millrace_internal.event_kind_name(c.kind), c.attempt, c.agent_id, c.at, c.data,
                   millrace_internal.version_workflow(r.version_id), millrace_internal.version_number(r.version_id), millrace_internal.tenant_name(r.tenant_id),
                   -- a step that was added to a run later, or that the run has gained, says itself which definition is its own
                   coalesce(CASE WHEN NOT millrace_internal.is_gained(c.step_no) THEN millrace_internal.version_key(r.version_id, c.step_no) END, (
                        SELECT millrace_internal.version_key(r.version_id, s.def_no) FROM millrace_internal.step s
                        WHERE s.run_id = c.run_id AND s.step_no = c.step_no AND s.shard = (c.run_id & 255))),
                   CASE WHEN c.event_id < e.last_id THEN NULL
                        WHEN up_to = p.to_end AND e.events < missing THEN closed || e.micros || ')'
                        ELSE opened || e.last_id || ',' || e.micros || ')' END
            FROM (SELECT count(*) AS events, max(c.event_id) AS last_id, (extract(epoch FROM max(c.at)) * 1000000)::bigint AS micros FROM chunk c) e
            CROSS JOIN chunk c
            LEFT JOIN LATERAL (SELECT r.version_id, r.tenant_id FROM millrace_internal.run r
                               WHERE r.run_id = c.run_id AND r.shard = (c.run_id & 255) LIMIT 1) r ON true;

            GET DIAGNOSTICS found = ROW_COUNT;
            missing := missing - found;
            IF missing = 0 THEN
                RETURN;
            END IF;
            p.cursor := up_to;
            step := CASE WHEN far THEN step * 8 ELSE least(step * 2, longest) END;
        END LOOP;
        p := millrace_internal.event_window_close(p);
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace.read_events(text, integer, text) IS
'The next events of a subscription, each committed one exactly once. Pass the position of the last row to commit_position when they have been delivered, and as `after` to read on before that.
Fewer than max_events: nothing else had been committed when the call began. Errors: MR061 no such subscription, MR062 a position of another run of the server, MR064 retention
has dropped unread events, MR065 a standby, MR024 a copy, MR043 isolation level, MR001 bad arguments. Tables changed: none.';
