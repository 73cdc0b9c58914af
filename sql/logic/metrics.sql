-- Purpose: figures for monitoring, cheap enough to be asked for every few seconds.

CREATE OR REPLACE FUNCTION millrace.metrics()
RETURNS TABLE (name text, labels jsonb, value double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    RETURN QUERY
    SELECT 'millrace_queue_depth', jsonb_build_object('queue', q.queue, 'handler', q.handler), q.depth::double precision FROM millrace.queues q
    UNION ALL SELECT 'millrace_queue_oldest_age_seconds', jsonb_build_object('queue', q.queue, 'handler', q.handler), extract(epoch FROM q.oldest_age)::double precision FROM millrace.queues q WHERE q.oldest_age IS NOT NULL
    UNION ALL SELECT 'millrace_steps_running', jsonb_build_object('queue', q.queue, 'handler', q.handler), q.running::double precision FROM millrace.queues q
    UNION ALL SELECT 'millrace_agents', jsonb_build_object('state', a.state), count(*)::double precision FROM millrace.agents a GROUP BY a.state
    UNION ALL SELECT 'millrace_runs_alive', jsonb_build_object('state', millrace_internal.run_state_name(r.state)), count(*)::double precision FROM millrace_internal.runs_alive(-1, 9223372036854775807) r GROUP BY r.state
    UNION ALL SELECT 'millrace_runs_submitted_total', '{}', (SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM millrace_internal.run_seq s)::double precision
    UNION ALL SELECT 'millrace_events_total', '{}', (SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM millrace_internal.event_id_seq s)::double precision
    UNION ALL SELECT 'millrace_timers', '{}', greatest((SELECT c.reltuples FROM pg_class c WHERE c.oid = 'millrace_internal.timer'::regclass), 0)::double precision
    UNION ALL SELECT 'millrace_dead_letters', '{}', (SELECT count(*) FROM millrace_internal.dead_letter)::double precision
    UNION ALL SELECT 'millrace_steps_stale', jsonb_build_object('state', s.state, 'queue', s.queue), count(*)::double precision FROM millrace.stale_steps s GROUP BY s.state, s.queue
    UNION ALL SELECT 'millrace_dispatcher_' || m.name, '{}', m.value FROM millrace.dispatcher d
        CROSS JOIN LATERAL (VALUES ('entries_used', d.entries_used::double precision), ('entries_max', d.entries_max::double precision),
                                   ('stale_total', d.stale::double precision), ('dropped_total', d.dropped::double precision),
                                   ('refills_total', d.refills::double precision), ('wakes_total', d.wakes::double precision)) m (name, value)
        WHERE d.tier = 'dispatcher';
END $$;
COMMENT ON FUNCTION millrace.metrics() IS 'Gauges and counters with labels, named as Prometheus does.';
