-- Purpose: one call that explains any step.

CREATE OR REPLACE FUNCTION millrace.why_not_ready(run_id bigint, key text, OUT reason text, OUT data jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r      millrace_internal.run := millrace_internal.run_get(why_not_ready.run_id);
    d      millrace_internal.step_definition := millrace_internal.step_by_key(r.version_id, why_not_ready.key);
    s      millrace_internal.step;
    state  text;
    unmet  jsonb;
    served integer;
    queue  text := (SELECT q.name FROM millrace_internal.queue q WHERE q.queue_id = d.queue_id);
BEGIN
    IF millrace_internal.is_gained(d.def_no) THEN
        -- a compensation: of several elements', the one under way
        SELECT * INTO s FROM millrace_internal.step n WHERE n.run_id = r.run_id AND millrace_internal.is_compensation(n.step_no) AND n.def_no = d.def_no AND n.shard = r.shard
        ORDER BY n.state < 10 DESC, n.step_no DESC LIMIT 1;
    ELSE
        SELECT * INTO s FROM millrace_internal.step n WHERE n.run_id = r.run_id AND n.step_no = d.def_no AND n.shard = r.shard;
    END IF;
    state := coalesce(millrace_internal.step_state_name(s.state), 'pending');
    SELECT v.unmet_needs INTO unmet FROM millrace.step_readiness v WHERE v.run_id = r.run_id AND v.step_no = d.def_no;
    SELECT count(*) INTO served FROM millrace_internal.agent a
    WHERE a.lease_expires_at > millrace_internal.clock() AND d.queue_id = ANY (a.queues) AND d.handler_id = ANY (a.handlers);
    data := jsonb_strip_nulls(jsonb_build_object(
        'state', state, 'run_state', millrace_internal.run_state_name(r.state), 'unmet_needs', unmet, 'queue', queue, 'handler', d.handler,
        'agents', served, 'attempts', coalesce(s.attempts, 0), 'agent_id', CASE WHEN state = 'running' THEN s.agent_id END,
        'due_at', CASE WHEN s.state = 1 THEN s.ready_at END, 'error', s.error))
        || coalesce((SELECT millrace_internal.wait_told(w) FROM millrace_internal.wait w
                     WHERE w.run_id = s.run_id AND w.step_no = s.step_no AND w.shard = s.shard AND w.token = s.token AND s.state = 5), '{}');
    reason := CASE
        WHEN millrace_internal.is_gained(d.def_no) AND s.step_no IS NULL THEN format('Step "%s" runs only if its step has completed and the run fails or is cancelled.', d.key)
        WHEN millrace_internal.is_gained(d.def_no) AND s.state = 0 THEN format('Step "%s" waits for the compensations of what completed later.', d.key)
        WHEN state = 'pending' THEN format('Step "%s" waits for %s of its needs: %s.%s', d.key, coalesce(s.needs_left, d.needs_count),
            coalesce((SELECT string_agg(format('%s (%s)', k, v), ', ' ORDER BY k) FROM (SELECT * FROM jsonb_each_text(unmet) e (k, v) LIMIT 20) e), 'none'),
            CASE WHEN r.state = 2 THEN ' Its run is paused, too.' ELSE '' END)
        WHEN s.state = 5 THEN format('Step "%s" waits since %s for %s%s.', d.key, s.started_at,
            CASE WHEN data #> '{for,signal}' IS NOT NULL THEN format('the signal "%s"', data #>> '{for,signal}')
                 WHEN data #> '{for,run}' IS NOT NULL THEN format('the end of run %s', data #>> '{for,run}')
                 WHEN data #> '{for,until}' IS NOT NULL THEN 'a time'
                 ELSE format('a person: %s', coalesce(data #>> '{for,person,assignee}', (SELECT string_agg(c, ', ') FROM jsonb_array_elements_text(data #> '{for,person,candidates}') c), 'anybody')) END,
            ', at the latest until ' || (data ->> 'due_at')::timestamptz)
        WHEN state = 'waiting' AND EXISTS (SELECT FROM millrace_internal.batch_member m WHERE m.run_id = s.run_id AND m.step_no = s.step_no AND m.shard = s.shard)
            THEN format('Step "%s" waits for others of its batch, until %s at the latest.', d.key, s.ready_at)
        WHEN state = 'waiting' AND coalesce(s.attempts, 0) > 0 THEN format('Step "%s" failed its attempt %s (%s) and is tried again at %s.', d.key, s.attempts, coalesce(s.error, 'no reason given'), s.ready_at)
        WHEN state = 'waiting' THEN format('Step "%s" waits for its time: %s.', d.key, s.ready_at)
        WHEN state = 'ready' AND r.state = 2 THEN format('Step "%s" is ready, but its run is paused: call millrace.resume(%s).', d.key, r.run_id)
        WHEN state = 'ready' AND served = 0 THEN format('Step "%s" is ready, but no agent serves queue "%s" and handler "%s".', d.key, queue, d.handler)
        WHEN state = 'ready' THEN format('Step "%s" is ready since %s; %s agents serve it and have no free slot, or steps before it.', d.key, s.ready_at, served)
        WHEN state = 'running' THEN format('Step "%s" runs since %s on agent %s (attempt %s).', d.key, s.started_at, s.agent_id, s.attempts)
        WHEN state = 'skipped' THEN format('Step "%s" was skipped: %s.', d.key, coalesce((SELECT string_agg(format('%s %s', k, v), ', ' ORDER BY k) FROM jsonb_each_text(unmet) e (k, v)), 'its rule did not hold'))
        WHEN state = 'failed' THEN format('Step "%s" failed after %s attempts: %s. Call millrace.retry or millrace.resolve.', d.key, s.attempts, coalesce(s.error, 'no reason given'))
        ELSE format('Step "%s" is %s.', d.key, state) END;
END $$;
COMMENT ON FUNCTION millrace.why_not_ready(bigint, text) IS 'In one sentence and in data: what a step waits for, or what became of it. Errors: MR013, MR014.';
