-- Purpose: what is new to a reader of the log. A position is a snapshot: all that it shows has been delivered. A second
-- snapshot closes a window: new is what the second shows and the first does not. That never waits for an open transaction
-- and misses none, and it costs time in what is new: docs/events.md has the argument.

CREATE OR REPLACE FUNCTION millrace_internal.server_run()
RETURNS bigint LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_server_run';
COMMENT ON FUNCTION millrace_internal.server_run() IS
'A number of this run of the server: another one after each restart and crash, after which numbers of transactions that nobody stored may be given again.';

CREATE OR REPLACE FUNCTION millrace_internal.transactions_open(OUT next bigint, OUT open bigint[])
RETURNS record LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'millrace_transactions_open';
COMMENT ON FUNCTION millrace_internal.transactions_open() IS 'The transactions that are in progress, prepared ones too, and the number of the next one to begin.';

CREATE OR REPLACE FUNCTION millrace_internal.events_wanted()
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_events_wanted';
COMMENT ON FUNCTION millrace_internal.events_wanted() IS
'A reader is about to look, and will wait if nothing is new: the next commit with events has the waker notify it. Called before the snapshot is taken.';

-- Fires once a statement that inserts events.
CREATE OR REPLACE FUNCTION millrace_internal.note_events()
RETURNS trigger LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'millrace_note_events';
COMMENT ON FUNCTION millrace_internal.note_events() IS 'Notes that this transaction writes events; when it commits, readers that wait are woken (dispatcher tier).';
CREATE OR REPLACE TRIGGER event_note BEFORE INSERT ON millrace_internal.event
    FOR EACH STATEMENT EXECUTE FUNCTION millrace_internal.note_events();

-- Not by a SELECT from the sequence: while numbers are logged ahead, its row holds for a moment the last of those, which
-- nobody has drawn, and a SELECT reads rows without a lock on their page.
CREATE OR REPLACE FUNCTION millrace_internal.last_event_id()
RETURNS bigint LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce(pg_sequence_last_value('millrace_internal.event_id_seq'), 0);
END $$;
COMMENT ON FUNCTION millrace_internal.last_event_id() IS 'The last number drawn for an event, committed or not.';

-- Opens the window behind a position: from its snapshot to the present one.
-- The order matters: numbers of events are drawn by transactions that are under way. Whatever was drawn before `to_low` is read
-- belongs to a transaction that the snapshot knows; whatever the snapshot shows has been drawn when `to_end` is read.
CREATE OR REPLACE FUNCTION millrace_internal.event_window_open(INOUT p millrace_internal.event_position)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    p.to_low := millrace_internal.last_event_id();
    SELECT t.next, t.open INTO p.to_xmax, p.to_open FROM millrace_internal.transactions_open() t;
    p.to_end := millrace_internal.last_event_id();
    p.to_era := coalesce((SELECT max(e.settled_to) FROM millrace_internal.event_era e), 0);
    p.cursor := least(p.low, (SELECT min(o.low) FROM unnest(p.open, p.open_low) o (xact_id, low)
                              WHERE p.era < p.to_era OR o.xact_id <> ALL (p.to_open)));
    p.cursor := greatest(p.cursor, (SELECT min(t.from_id) - 1 FROM millrace_internal.partition t WHERE t.parent = 'event'));
END $$;
COMMENT ON FUNCTION millrace_internal.event_window_open(millrace_internal.event_position) IS 'The position with a window from its snapshot to the present one, of which nothing has been read.';

-- All of the window has been read: its end is the position.
CREATE OR REPLACE FUNCTION millrace_internal.event_window_close(INOUT p millrace_internal.event_position)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- a transaction that was open before has kept its lower bound; all others began behind the old snapshot
    p.open_low := ARRAY(SELECT CASE WHEN p.era < p.to_era THEN p.to_era ELSE coalesce(o.low, p.low) END
                        FROM unnest(p.to_open) WITH ORDINALITY n (xact_id, ord)
                        LEFT JOIN unnest(p.open, p.open_low) o (xact_id, low) USING (xact_id) ORDER BY n.ord);
    p.era := p.to_era; p.xmax := p.to_xmax; p.low := p.to_low; p.open := p.to_open;
    p.to_era := NULL; p.to_xmax := NULL; p.to_low := NULL; p.to_end := NULL; p.to_open := NULL; p.cursor := NULL;
END $$;
COMMENT ON FUNCTION millrace_internal.event_window_close(millrace_internal.event_position) IS 'The position at the end of its window.';

-- Positions of one reader, in the order in which it came to them.
CREATE OR REPLACE FUNCTION millrace_internal.event_position_order(p millrace_internal.event_position)
RETURNS bigint[] LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    -- of two snapshots with one xmax the later has fewer transactions in progress
    SELECT ARRAY[p.era, p.xmax, -cardinality(p.open), coalesce(p.cursor, 0)]
$$;
COMMENT ON FUNCTION millrace_internal.event_position_order(millrace_internal.event_position) IS 'What positions are compared by.';

-- Arguments: in_position  as read_events gave it, in this run of the server
CREATE OR REPLACE FUNCTION millrace_internal.event_position(in_position text)
RETURNS millrace_internal.event_position LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p millrace_internal.event_position;
BEGIN
    BEGIN
        p := in_position::millrace_internal.event_position;
    EXCEPTION WHEN data_exception THEN
        p := NULL;
    END;
    IF p.server_run IS NULL OR p.era IS NULL OR p.xmax IS NULL OR p.low IS NULL OR p.open IS NULL OR p.open_low IS NULL THEN
        PERFORM millrace_internal.fail('MR001', 'that is no position', NULL, 'Pass a position on as read_events gave it.');
    ELSIF p.server_run <> millrace_internal.server_run() THEN
        PERFORM millrace_internal.fail('MR062', 'the position is from before a restart of the server',
            'Transactions may have been numbered anew since then.', 'Read on from the stored position: after => null.');
    END IF;
    RETURN p;
END $$;
COMMENT ON FUNCTION millrace_internal.event_position(text) IS 'A position that a reader passes back; MR062 when it is from another run of the server.';

-- The same rows as a query of the table would find by the summaries of its partitions, but a page that this session has read
-- before is read again only if it has changed since, or holds events of the range.
CREATE OR REPLACE FUNCTION millrace_internal.events_between(after_id bigint, up_to bigint, x_from bigint, x_to bigint)
RETURNS SETOF millrace_internal.event LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_events_between';
COMMENT ON FUNCTION millrace_internal.events_between(bigint, bigint, bigint, bigint) IS 'Visible events above after_id up to up_to, of transactions x_from to x_to; in no order.';
