-- Purpose: agents come and go, and what they can take.

-- Arguments: in_queues, in_handlers  what it serves; in_protocol  the agent's number: 2 for one that executes the steps of a batch together; in_lease  1 s to 1 h
-- Returns:   its id, the protocol and lease in force, the channels to LISTEN on, the tier
-- Tables changed: agent, queue, handler, sink; ready after a change of tier.
CREATE OR REPLACE FUNCTION millrace.register_agent(
    queues text[], handlers text[], protocol integer DEFAULT 1, name text DEFAULT NULL,
    lease interval DEFAULT '10 s', listening boolean DEFAULT true)
RETURNS TABLE (agent_id integer, agreed_protocol integer, lease_seconds double precision, channels text[], tier text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    queue_numbers   integer[];
    handler_numbers integer[];
    now_at          timestamptz := millrace_internal.clock();
BEGIN
    PERFORM millrace_internal.settle_in();
    IF NOT millrace_internal.is_home() THEN
        PERFORM millrace_internal.fail('MR024', 'this database is a copy from another cluster',
            'Its runs may still be worked on where it came from.', 'If they are not, call millrace.adopt() here once.');
    ELSIF protocol IS NULL OR protocol NOT BETWEEN 1 AND 2 THEN
        PERFORM millrace_internal.fail('MR022', format('the agent speaks protocol %s', coalesce(protocol::text, 'null')),
            'This extension speaks protocols 1 and 2.', CASE WHEN protocol > 2 THEN 'Upgrade the extension: ALTER EXTENSION millrace UPDATE.' ELSE 'Upgrade the agent.' END);
    ELSIF coalesce(cardinality(queues), 0) NOT BETWEEN 1 AND 1000 OR coalesce(cardinality(handlers), 0) NOT BETWEEN 1 AND 1000
          OR EXISTS (SELECT FROM unnest(queues || handlers) n WHERE n IS NULL OR n = '' OR octet_length(n) > 200) THEN
        PERFORM millrace_internal.fail('MR001', 'an agent serves 1 to 1,000 queues and 1 to 1,000 handlers, by names of 1 to 200 bytes');
    ELSIF lease IS NULL OR lease NOT BETWEEN interval '1 s' AND interval '1 h' THEN
        PERFORM millrace_internal.fail('MR001', format('the lease %s is not between 1 second and 1 hour', coalesce(lease::text, 'null')));
    ELSIF octet_length(name) > 500 THEN
        PERFORM millrace_internal.fail('MR002', 'the agent''s name is longer than 500 bytes');
    END IF;
    queue_numbers := millrace_internal.queue_ids(queues);
    handler_numbers := millrace_internal.handler_ids(handlers);
    PERFORM millrace_internal.partitions_ensure(), millrace_internal.sink_ensure();

    INSERT INTO millrace_internal.agent (lease_expires_at, seen_at, listening, protocol, lease, queues, handlers, registered_by, registered_at, name)
    VALUES (now_at + lease, now_at, coalesce(listening, false), protocol, lease, queue_numbers, handler_numbers,
            millrace_internal.caller()::regrole, now_at, name)
    RETURNING agent.agent_id INTO agent_id;
    agreed_protocol := protocol;
    lease_seconds := extract(epoch FROM lease);
    channels := ARRAY(SELECT millrace_internal.queue_channel(q) FROM unnest(queue_numbers) q) || 'millrace_revoked'::text;
    tier := CASE WHEN millrace_internal.dispatcher_attached() THEN 'dispatcher' ELSE 'plain' END;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION millrace.register_agent(text[], text[], integer, text, interval, boolean) IS
'Registers an agent. Errors: MR001, MR002 bad arguments, MR022 protocol, MR024 a copy that nobody has adopted.';

CREATE OR REPLACE FUNCTION millrace_internal.agent_get(in_agent_id integer, OUT agent millrace_internal.agent)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT a.* INTO agent FROM millrace_internal.agent a WHERE a.agent_id = in_agent_id;
    IF NOT FOUND THEN
        PERFORM millrace_internal.fail('MR021', format('there is no agent %s', coalesce(in_agent_id::text, 'null')), NULL,
            'Register with millrace.register_agent; an agent whose lease is long over is forgotten.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.agent_get(integer) IS 'The row of an agent; MR021 without one.';

-- An agent that claims or reports lives. Where its lease is over, what it held is the keeper's; what it gets now is its own again.
-- Locks: the agent's row, and only then.
CREATE OR REPLACE FUNCTION millrace_internal.agent_revive(agent millrace_internal.agent)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
BEGIN
    IF agent.lease_expires_at <= now_at THEN
        UPDATE millrace_internal.agent a SET lease_expires_at = now_at + a.lease, seen_at = now_at, lost = false WHERE a.agent_id = agent.agent_id;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.agent_revive(millrace_internal.agent) IS 'Renews a lease that is over. Tables changed: agent.';

-- Arguments: capacity  free slots by handler; null: max_steps of any of the agent's handlers
-- Returns:   handler ids with room, and how much
CREATE OR REPLACE FUNCTION millrace_internal.agent_capacity(agent millrace_internal.agent, capacity jsonb, max_steps integer,
    OUT handler_ids integer[], OUT rooms integer[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wrong text;
BEGIN
    IF max_steps IS NULL OR max_steps NOT BETWEEN 0 AND 100000 THEN
        PERFORM millrace_internal.fail('MR001', format('max_steps is %s', coalesce(max_steps::text, 'null')), NULL, 'Ask for 0 to 100,000 steps.');
    END IF;
    IF capacity IS NULL THEN
        handler_ids := agent.handlers;
        rooms := array_fill(max_steps, ARRAY[cardinality(agent.handlers)]);
        RETURN;
    ELSIF jsonb_typeof(capacity) <> 'object' OR jsonb_path_exists(capacity, '$.* ? (@.type() != "number")') THEN
        PERFORM millrace_internal.fail('MR001', 'capacity is not an object of numbers', NULL, 'Write for example {"http": 20, "shell": 4}.');
    END IF;
    SELECT array_agg(h.handler_id), array_agg(least(c.value::numeric, max_steps)::integer), min(c.key) FILTER (WHERE h.handler_id IS NULL)
    INTO handler_ids, rooms, wrong
    FROM jsonb_each_text(capacity) c
    LEFT JOIN millrace_internal.handler h ON h.name = c.key AND h.handler_id = ANY (agent.handlers)
    WHERE c.value::numeric >= 1 OR h.handler_id IS NULL;
    IF wrong IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR023', format('agent %s is not registered for handler "%s"', agent.agent_id, wrong), NULL,
            'Name in capacity only handlers that were given to register_agent.');
    END IF;
    handler_ids := coalesce(handler_ids, '{}');
    rooms := coalesce(rooms, '{}');
END $$;
COMMENT ON FUNCTION millrace_internal.agent_capacity(millrace_internal.agent, jsonb, integer) IS 'Free slots of an agent by handler; MR023 for a handler it is not registered for.';

CREATE OR REPLACE FUNCTION millrace_internal.require_read_committed()
RETURNS void LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        PERFORM millrace_internal.fail('MR043', format('this call does not work at isolation level %s', current_setting('transaction_isolation')),
            'Each of its statements must see what was committed while the one before waited.', 'Call it in a READ COMMITTED transaction.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.require_read_committed() IS 'MR043 at other isolation levels.';
