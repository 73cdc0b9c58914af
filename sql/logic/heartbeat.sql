-- Purpose: one heartbeat per agent, not per step: renews the lease and tells what the agent must know.

CREATE OR REPLACE FUNCTION millrace.heartbeat(agent_id integer, queued_run_ids bigint[] DEFAULT '{}', queued_step_nos integer[] DEFAULT '{}')
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    agent   millrace_internal.agent := millrace_internal.agent_get(heartbeat.agent_id);
    plain   boolean := NOT millrace_internal.dispatcher_attached();
    next_at timestamptz;
    revoked jsonb;
    now_at  timestamptz;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    now_at := millrace_internal.clock();
    UPDATE millrace_internal.agent a SET lease_expires_at = now_at + a.lease, seen_at = now_at, lost = false WHERE a.agent_id = heartbeat.agent_id;
    IF cardinality(queued_run_ids) > 0 THEN
        PERFORM millrace_internal.timeouts_restart(0::smallint, heartbeat.agent_id, queued_run_ids, queued_step_nos, now_at);
    END IF;
    WITH told AS (DELETE FROM millrace_internal.revocation r WHERE r.agent_id = heartbeat.agent_id RETURNING r.*)
    SELECT jsonb_agg(jsonb_build_object('run_id', t.run_id, 'step_no', t.step_no, 'token', t.token, 'reason', t.reason)) INTO revoked FROM told t;
    IF plain AND pg_try_advisory_xact_lock(hashtext('millrace_internal.keeper')) THEN
        -- no background worker keeps time here: whichever agent comes first does
        next_at := millrace_internal.keep();
    END IF;
    RETURN jsonb_build_object(
        'lease_seconds', extract(epoch FROM agent.lease),
        'next_beat_seconds', CASE WHEN plain THEN greatest(0.02, least(extract(epoch FROM agent.lease) / 3, 1, extract(epoch FROM next_at - millrace_internal.clock())))
                                  ELSE extract(epoch FROM agent.lease) / 3 END,
        'claimable', millrace_internal.claimable(agent.queues, agent.handlers),
        'revoked', coalesce(revoked, '[]'));
END $$;
COMMENT ON FUNCTION millrace.heartbeat(integer, bigint[], integer[]) IS
'Renews an agent''s lease. Answers {"lease_seconds", "next_beat_seconds", "claimable", "revoked": [{"run_id", "step_no", "token", "reason"}]}.
Errors: MR021 unknown agent, MR043. Tables changed: agent, revocation, step (timeouts that start anew); on the plain tier all that the keeper changes.';

CREATE OR REPLACE FUNCTION millrace_internal.claimable(in_queues integer[], in_handlers integer[])
RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF millrace_internal.dispatcher_attached() THEN
        RETURN millrace_internal.dispatcher_missing_from(in_queues, in_handlers) IS NOT NULL
            OR EXISTS (SELECT FROM millrace_internal.dispatcher_stats() d WHERE d.depth > 0 AND d.queue_id = ANY (in_queues) AND d.handler_id = ANY (in_handlers));
    END IF;
    RETURN EXISTS (SELECT FROM unnest(in_queues) q, unnest(in_handlers) h
                   WHERE EXISTS (SELECT FROM millrace_internal.ready r WHERE r.queue_id = q AND r.handler_id = h));
END $$;
COMMENT ON FUNCTION millrace_internal.claimable(integer[], integer[]) IS 'Whether a claim might find something.';

-- Steps that wait in their agent's local queue: time there is not execution time. Only rows with a timeout are touched.
CREATE OR REPLACE FUNCTION millrace_internal.timeouts_restart(in_shard smallint, in_agent_id integer, run_ids bigint[], step_nos integer[], now_at timestamptz)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
    UPDATE millrace_internal.step s SET started_at = now_at
    FROM (SELECT * FROM unnest(run_ids, step_nos) u (run_id, step_no)
          WHERE (u.run_id & 255) = in_shard ORDER BY 1, 2) u
    CROSS JOIN millrace_internal.step_definition d
    WHERE d.version_id = s.version_id AND d.def_no = s.def_no AND d.timeout IS NOT NULL AND s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 4 AND s.agent_id = in_agent_id
$$;
COMMENT ON FUNCTION millrace_internal.timeouts_restart(smallint, integer, bigint[], integer[], timestamptz) IS 'Timeouts of steps that have not started yet count from now. Tables changed: step.';
