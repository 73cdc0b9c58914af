-- Purpose: waking agents and the keeper. A notification is a hint: agents also look by themselves, and the keeper once a second.

CREATE OR REPLACE FUNCTION millrace_internal.queue_channel(queue_id integer)
RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'millrace_queue_' || queue_id::text $$;
COMMENT ON FUNCTION millrace_internal.queue_channel(integer) IS 'The channel on which a queue''s agents are woken.';

CREATE OR REPLACE FUNCTION millrace_internal.wake(queue_ids integer[])
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    woken integer;
BEGIN
    -- a notification that nobody hears still costs every listener of the cluster
    PERFORM pg_notify(millrace_internal.queue_channel(q), '')
    FROM unnest(queue_ids) q
    WHERE EXISTS (SELECT FROM millrace_internal.agent a
                  WHERE a.listening AND q = ANY (a.queues) AND a.lease_expires_at > millrace_internal.clock());
    GET DIAGNOSTICS woken = ROW_COUNT;
    RETURN woken;
END $$;
COMMENT ON FUNCTION millrace_internal.wake(integer[]) IS 'Notifies the agents that serve these queues, if any listens. Called by the waker; on the plain tier by the writer.';

-- On the plain tier agents keep time with their heartbeats, which are a second apart, and come at once for a notification.
CREATE OR REPLACE FUNCTION millrace_internal.keeper_due(due timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
BEGIN
    IF millrace_internal.dispatcher_attached() THEN
        PERFORM millrace_internal.keeper_wake();
    ELSIF due <= now_at + interval '1 s' AND millrace_internal.setting('millrace.notify')::boolean AND EXISTS (SELECT FROM millrace_internal.agent a WHERE a.listening AND a.lease_expires_at > now_at) THEN
        PERFORM pg_notify('millrace_revoked', '');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.keeper_due(timestamptz) IS 'Something is due then, earlier than the keeper may know.';
