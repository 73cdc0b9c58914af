-- Purpose: subscriptions to the log of events: begun, ended, and how far their readers have come.

-- What subscriptions and readers need of this server.
CREATE OR REPLACE FUNCTION millrace_internal.require_readable_log()
RETURNS void LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        PERFORM millrace_internal.fail('MR065', 'events cannot be read on a standby',
            'A standby does not know which transactions of the primary are still open.', 'Read them on the primary.');
    ELSIF NOT millrace_internal.is_home() AND EXISTS (SELECT FROM millrace_internal.installation i WHERE i.home) THEN
        PERFORM millrace_internal.fail('MR024', 'this database is a copy from another cluster',
            'Its events may still be read where it came from.', 'If they are not, call millrace.adopt() here once.');
    END IF;
    PERFORM millrace_internal.require_read_committed();
END $$;
COMMENT ON FUNCTION millrace_internal.require_readable_log() IS 'MR065 on a standby, MR024 in a copy that nobody has adopted, MR043 under REPEATABLE READ.';

CREATE OR REPLACE FUNCTION millrace_internal.subscription_get(in_name text)
RETURNS millrace_internal.subscription LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s    millrace_internal.subscription;
    near text;
BEGIN
    SELECT * INTO s FROM millrace_internal.subscription n WHERE n.name = in_name;
    IF NOT FOUND THEN
        near := millrace_internal.nearest(in_name, ARRAY(SELECT n.name FROM millrace_internal.subscription n ORDER BY n.name LIMIT 10000));
        PERFORM millrace_internal.fail('MR061', format('there is no subscription "%s"', coalesce(in_name, 'null')), NULL,
            coalesce('Did you mean "' || near || '"?', 'Begin it with millrace.subscribe(name).'));
    END IF;
    RETURN s;
END $$;
COMMENT ON FUNCTION millrace_internal.subscription_get(text) IS 'The row of a subscription; MR061 without one.';

-- The last event before the first one at or after a time, in the order of their numbers. Partition by partition, for in
-- one that is older the summary of its times answers.
CREATE OR REPLACE FUNCTION millrace_internal.event_before(in_at timestamptz)
RETURNS bigint LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    part     record;
    found_id bigint;
BEGIN
    FOR part IN SELECT t.from_id, t.to_id FROM millrace_internal.partition t WHERE t.parent = 'event' ORDER BY t.from_id LOOP
        SELECT min(e.event_id) INTO found_id FROM millrace_internal.event e
        WHERE e.event_id >= part.from_id AND e.event_id < part.to_id AND e.at >= in_at;
        EXIT WHEN found_id IS NOT NULL;
    END LOOP;
    RETURN coalesce(found_id - 1, millrace_internal.last_event_id());
END $$;
COMMENT ON FUNCTION millrace_internal.event_before(timestamptz) IS 'The number before that of the first event at or after a time.';

CREATE OR REPLACE FUNCTION millrace_internal.subscription_start(start text)
RETURNS millrace_internal.event_position LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p  millrace_internal.event_position;
    at timestamptz;
BEGIN
    p.server_run := millrace_internal.server_run();
    p.era := coalesce((SELECT max(e.settled_to) FROM millrace_internal.event_era e), 0);
    p.xmax := 0; p.low := 0; p.open := '{}'; p.open_low := '{}';
    IF start = 'beginning' THEN
        RETURN p;
    ELSIF start = 'now' THEN
        -- what is in progress now has its events behind the end of the last era
        p.low := p.era;
        RETURN millrace_internal.event_window_close(millrace_internal.event_window_open(p));
    END IF;
    BEGIN
        at := start::timestamptz;
    EXCEPTION WHEN data_exception THEN
        at := NULL;
    END;
    IF at IS NULL THEN
        PERFORM millrace_internal.fail('MR001', format('"%s" is no start of a subscription', coalesce(start, 'null')), NULL,
            'Write "beginning", "now" or a time, such as "2030-01-31 12:00:00+00".');
    END IF;
    -- events that are not committed yet but will have an earlier time are as new as any other
    p.low := millrace_internal.event_before(at);
    RETURN p;
END $$;
COMMENT ON FUNCTION millrace_internal.subscription_start(text) IS 'The position at which a subscription begins.';

-- Locks: the subscription's row. Tables changed: subscription.
CREATE OR REPLACE FUNCTION millrace.subscribe(name text, start text DEFAULT 'now')
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
    p      millrace_internal.event_position;
BEGIN
    PERFORM millrace_internal.require_readable_log();
    IF coalesce(subscribe.name, '') = '' OR octet_length(subscribe.name) > 200 THEN
        PERFORM millrace_internal.fail('MR001', 'a subscription''s name has 1 to 200 bytes');
    END IF;
    PERFORM millrace_internal.settle_in();
    p := millrace_internal.subscription_start(subscribe.start);
    INSERT INTO millrace_internal.subscription (name, started_from, created_at, position, stored_at)
    VALUES (subscribe.name, subscribe.start, now_at, p, now_at) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        RETURN true;
    END IF;
    -- who subscribes again knows of the gap, if there is one
    UPDATE millrace_internal.subscription s SET overtaken_from = NULL, overtaken_to = NULL, overtaken_at = NULL
    WHERE s.name = subscribe.name AND s.overtaken_to IS NOT NULL;
    RETURN false;
END $$;
COMMENT ON FUNCTION millrace.subscribe(text, text) IS
'Begins a subscription to the events: from the "beginning", from "now" on, or from the first event at or after a time. True: it is new. One that exists goes on where
it stands; a gap that retention has torn into it is taken note of. Errors: MR001 bad arguments, MR024 a copy, MR065 a standby. Tables changed: subscription.';

CREATE OR REPLACE FUNCTION millrace.unsubscribe(name text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM millrace_internal.subscription_get(unsubscribe.name);
    DELETE FROM millrace_internal.subscription s WHERE s.name = unsubscribe.name;
END $$;
COMMENT ON FUNCTION millrace.unsubscribe(text) IS 'Ends a subscription; its position is forgotten. Errors: MR061 no such subscription. Tables changed: subscription.';

-- Locks: the subscription's row. Tables changed: subscription.
CREATE OR REPLACE FUNCTION millrace.commit_position(name text, "position" text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p millrace_internal.event_position := millrace_internal.event_position(commit_position.position);
BEGIN
    UPDATE millrace_internal.subscription s SET position = p, stored_at = millrace_internal.clock()
    WHERE s.name = commit_position.name AND millrace_internal.event_position_order(s.position) <= millrace_internal.event_position_order(p);
    IF NOT FOUND THEN
        PERFORM millrace_internal.subscription_get(commit_position.name);
        PERFORM millrace_internal.fail('MR063', format('the stored position of subscription "%s" is past that one', commit_position.name), NULL,
            'Positions only go forwards. Does another reader use the same subscription?');
    END IF;
END $$;
COMMENT ON FUNCTION millrace.commit_position(text, text) IS
'Stores that all events up to a position have been delivered. Call it at most once a second. Errors: MR061 no such subscription, MR062 a position of another run of the server, MR063 the stored one is past it. Tables changed: subscription.';

CREATE OR REPLACE FUNCTION millrace_internal.subscription_lag(p millrace_internal.event_position)
RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT greatest(0, millrace_internal.last_event_id() - greatest(p.cursor, p.low))
$$;
COMMENT ON FUNCTION millrace_internal.subscription_lag(millrace_internal.event_position) IS 'About how many events are behind a position: numbers drawn since.';

CREATE OR REPLACE VIEW millrace.subscriptions WITH (security_invoker) AS
SELECT s.name, s.started_from, s.created_at, s.stored_at, l.events AS lag_events,
       CASE WHEN l.events > 0 THEN millrace_internal.clock() - coalesce(pg_catalog.to_timestamp((s.position).at / 1000000.0), s.created_at) ELSE interval '0' END AS lag,
       s.overtaken_from, s.overtaken_to, s.overtaken_at, s.position::text AS "position"
FROM millrace_internal.subscription s
CROSS JOIN LATERAL (SELECT millrace_internal.subscription_lag(s.position) AS events) l;
COMMENT ON VIEW millrace.subscriptions IS
'Readers of the events. lag_events: about how many there are behind the stored position; lag: how old the last one is that is stored as delivered. overtaken_*: which events retention has dropped unread.';
