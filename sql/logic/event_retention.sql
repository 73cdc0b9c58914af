-- Purpose: how long events are kept: whole partitions go, the oldest first, when all their events are older than
-- millrace.events_retention and every subscription has read them. A subscription that is further behind than
-- millrace.subscription_max_lag is overtaken, and told so.

-- An interval from a setting in seconds, of which -1 means none.
CREATE OR REPLACE FUNCTION millrace_internal.interval_setting(name text)
RETURNS interval LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT nullif(millrace_internal.setting(name), '-1')::interval
$$;
COMMENT ON FUNCTION millrace_internal.interval_setting(text) IS 'A setting as an interval; null for -1.';

-- Whether a range of events holds any that the snapshot of a position does not show.
CREATE OR REPLACE FUNCTION millrace_internal.events_unread(p millrace_internal.event_position, from_id bigint, to_id bigint)
RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET max_parallel_workers_per_gather = 0 AS $$
DECLARE
    era_end bigint := (SELECT min(e.settled_to) FROM millrace_internal.event_era e WHERE e.settled_to > p.era);
    x_from  bigint := (SELECT min(o.xact_id) FROM unnest(p.open, p.open_low) o (xact_id, low) WHERE o.low < to_id - 1);
BEGIN
    IF p.low < to_id - 1 OR era_end IS NOT NULL THEN
        x_from := CASE WHEN era_end IS NULL THEN least(x_from, p.xmax) ELSE 0 END;
    ELSIF x_from IS NULL THEN
        RETURN false;
    END IF;
    RETURN EXISTS (
        SELECT FROM millrace_internal.event e
        WHERE e.event_id >= from_id AND e.event_id < to_id AND e.xact_id >= x_from
          AND (e.xact_id >= p.xmax AND e.event_id > p.low OR e.xact_id = ANY (p.open) OR e.event_id > era_end));
END $$;
COMMENT ON FUNCTION millrace_internal.events_unread(millrace_internal.event_position, bigint, bigint) IS 'Whether events from from_id to below to_id are new to a snapshot.';

CREATE OR REPLACE FUNCTION millrace_internal.subscriptions_behind(from_id bigint, to_id bigint)
RETURNS text[] LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(s.name ORDER BY s.name) FROM millrace_internal.subscription s
    WHERE CASE WHEN (s.position).to_xmax IS NULL THEN millrace_internal.events_unread(s.position, from_id, to_id)
               -- inside a window: behind the cursor the old snapshot tells, up to it the new one
               ELSE millrace_internal.events_unread(s.position, greatest(from_id, (s.position).cursor + 1), to_id)
                    OR millrace_internal.events_unread(millrace_internal.event_window_close(s.position), from_id, least(to_id, (s.position).cursor + 1)) END
$$;
COMMENT ON FUNCTION millrace_internal.subscriptions_behind(bigint, bigint) IS 'Subscriptions that have not read all of a range of events.';

CREATE OR REPLACE FUNCTION millrace_internal.events_since(from_id bigint, to_id bigint, since timestamptz)
RETURNS boolean LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
    SELECT EXISTS (SELECT FROM millrace_internal.event e WHERE e.event_id >= from_id AND e.event_id < to_id AND e.at >= since)
$$;
COMMENT ON FUNCTION millrace_internal.events_since(bigint, bigint, timestamptz) IS 'Whether a range of events has any at or after a time; null for no time.';

-- Dropping a partition needs the log for itself, for a moment. Nobody shall wait behind a writer that stays open: while there is one
-- the partition stays too, and otherwise the wait is short.
CREATE OR REPLACE FUNCTION millrace_internal.keep_event_retention(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    part   record;
    behind text[];
BEGIN
    IF millrace_internal.interval_setting('millrace.events_retention') IS NULL THEN
        RETURN false;
    END IF;
    SELECT t.from_id, t.to_id INTO part FROM millrace_internal.partition t WHERE t.parent = 'event' ORDER BY t.from_id LIMIT 1;
    IF part.to_id IS NULL OR part.to_id > millrace_internal.last_event_id()
       OR millrace_internal.events_since(part.from_id, part.to_id, now_at - millrace_internal.interval_setting('millrace.events_retention')) THEN
        RETURN false;
    END IF;
    behind := millrace_internal.subscriptions_behind(part.from_id, part.to_id);
    IF behind IS NOT NULL AND coalesce(millrace_internal.events_since(part.from_id, part.to_id,
            now_at - millrace_internal.interval_setting('millrace.subscription_max_lag')), true) THEN
        RETURN false;
    ELSIF EXISTS (SELECT FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
                  WHERE l.locktype = 'relation' AND l.relation = 'millrace_internal.event'::regclass AND l.pid IS DISTINCT FROM pg_backend_pid()
                    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                    AND coalesce(a.xact_start, '-infinity') < clock_timestamp() - interval '1 s') THEN
        RETURN false;
    END IF;
    BEGIN
        LOCK TABLE ONLY millrace_internal.event IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('DROP TABLE millrace_internal.%I', 'event_' || part.from_id);
    EXCEPTION WHEN lock_not_available THEN
        RETURN false;
    END;
    DELETE FROM millrace_internal.partition t WHERE t.parent = 'event' AND t.from_id = part.from_id;
    UPDATE millrace_internal.subscription s
    SET overtaken_from = coalesce(s.overtaken_from, part.from_id), overtaken_to = part.to_id - 1, overtaken_at = now_at
    WHERE s.name = ANY (behind);
    IF behind IS NOT NULL THEN
        RAISE LOG 'retention has overtaken subscriptions: events % to % were dropped before all of them were read', part.from_id, part.to_id - 1
            USING DETAIL = format('Behind were: %s.', array_to_string(behind, ', '));
    END IF;
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_event_retention(timestamptz) IS
'Drops the oldest partition of events when it is past its time and read. Locks: event, ACCESS EXCLUSIVE, for at most 100 ms of waiting. Tables changed: event, partition, subscription.';
