-- Purpose: keeping time: due timers, batches, deadlines, timeouts, lost agents, partitions, the log of events, durations. One chore a
-- call, one transaction a chore, so that the lock order holds and no chore delays another for long. Time in what is due, never
-- in what is stored.

-- Returns: when to call again: now if more may be due, null if nothing is foreseen.
CREATE OR REPLACE FUNCTION millrace_internal.keep()
RETURNS timestamptz LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now_at timestamptz;
BEGIN
    -- one at a time: two would pass over what the other has in hand, and wait for each other's rows
    PERFORM pg_advisory_xact_lock(hashtext('millrace_internal.keeper'));
    now_at := millrace_internal.clock();
    PERFORM millrace_internal.partitions_ensure(), millrace_internal.sink_ensure();
    IF millrace_internal.keep_timers(now_at) OR millrace_internal.keep_batches_gather(now_at) OR millrace_internal.keep_batches_let_go(now_at) OR millrace_internal.keep_deadlines(now_at) OR millrace_internal.keep_step_deadlines(now_at)
       OR millrace_internal.keep_timeouts(now_at) OR millrace_internal.keep_agents(now_at)
       OR millrace_internal.keep_run_horizon() OR millrace_internal.keep_event_summaries() OR millrace_internal.keep_event_retention(now_at)
       OR millrace_internal.keep_outputs(now_at) OR millrace_internal.keep_artifacts(now_at) THEN
        RETURN now_at;
    END IF;
    PERFORM millrace_internal.keep_durations(now_at);
    RETURN millrace_internal.next_due_at();
END $$;
COMMENT ON FUNCTION millrace_internal.keep() IS 'Does one chore that is due; answers when to come back.';

CREATE OR REPLACE FUNCTION millrace.keep()
RETURNS timestamptz LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next_at timestamptz;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    RETURN millrace_internal.keep();
END $$;
COMMENT ON FUNCTION millrace.keep() IS
'Does one chore of the keeper that is due, at most: for tests and emergencies. Answers when the next one is due (now: call again; null: none foreseen).';

CREATE OR REPLACE FUNCTION millrace.sweep()
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM millrace_internal.dispatcher_sweep();
END $$;
COMMENT ON FUNCTION millrace.sweep() IS
'Has the keeper compare the dispatcher with the tables and add what is missing, once the transaction has committed. Never needed, as far as we know. Does nothing on the plain tier.';

CREATE OR REPLACE FUNCTION millrace_internal.next_due_at()
RETURNS timestamptz LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT least((SELECT millrace_internal.clock() FROM millrace_internal.batch_member m WHERE m.batch_id = 0 LIMIT 1),
                 (SELECT b.due_at FROM millrace_internal.batch b ORDER BY b.due_at LIMIT 1),
                 (SELECT t.due_at FROM millrace_internal.timer t ORDER BY t.due_at LIMIT 1),
                 (SELECT e.due_at FROM millrace_internal.output_expiry e ORDER BY e.due_at LIMIT 1),
                 (SELECT c.expires_at FROM millrace_internal.cache c ORDER BY c.expires_at LIMIT 1),
                 (SELECT r.deadline FROM millrace_internal.receipt r WHERE r.deadline IS NOT NULL ORDER BY r.deadline LIMIT 1),
                 (SELECT min(a.lease_expires_at) FROM millrace_internal.agent a
                  WHERE EXISTS (SELECT FROM millrace_internal.receipt r WHERE r.agent_id = a.agent_id)))
$$;
COMMENT ON FUNCTION millrace_internal.next_due_at() IS 'The next timer, batch, timeout, end of a lease or of an output.';

-- Waiting steps whose time has come are ready; what the engine holds is looked at. A call does one of the two, as the first timer
-- says: ready steps are entered, and what ends is decided, and each takes step rows in its own order.
-- Locks: timers, SKIP LOCKED; step rows, ascending. Tables changed: timer, step, ready (plain tier); as held_due.
CREATE OR REPLACE FUNCTION millrace_internal.keep_timers(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    due  record;
    woke record;
BEGIN
    WITH head AS MATERIALIZED (
        SELECT t.due_at, t.run_id, t.step_no, t.shard, t.token FROM millrace_internal.timer t
        WHERE t.due_at <= now_at AND t.step_no >= -1 AND t.step_no <> 0 ORDER BY t.due_at, t.run_id, t.step_no LIMIT 1000 FOR UPDATE SKIP LOCKED),
    look AS MATERIALIZED (
        -- read without a lock: a timer whose token is no longer the step's belongs to a wait that is over
        SELECT h.*, CASE WHEN h.step_no < 0 OR s.state IN (4, 5) AND s.agent_id = 0 THEN true WHEN s.state = 1 THEN false END AS held
        FROM head h
        LEFT JOIN LATERAL (SELECT s.state, s.agent_id FROM millrace_internal.step s
                           WHERE s.run_id = h.run_id AND s.step_no = h.step_no AND s.shard = h.shard AND s.token = h.token OFFSET 0) s ON true),
    gone AS (
        DELETE FROM millrace_internal.timer t USING look l
        WHERE t.due_at = l.due_at AND t.run_id = l.run_id AND t.step_no = l.step_no AND t.shard = l.shard
          AND (l.held IS NULL OR l.held = (SELECT f.held FROM look f WHERE f.held IS NOT NULL ORDER BY f.due_at, f.run_id, f.step_no LIMIT 1))
        RETURNING t.run_id, t.step_no, t.token, l.held)
    SELECT array_agg(g.run_id ORDER BY g.run_id, g.step_no) AS runs, array_agg(g.step_no ORDER BY g.run_id, g.step_no) AS steps,
           array_agg(g.token ORDER BY g.run_id, g.step_no) AS tokens, bool_or(g.held) AS held INTO due FROM gone g;
    IF due.runs IS NULL THEN
        RETURN false;
    ELSIF due.held THEN
        PERFORM millrace_internal.held_due(0::smallint, due.runs, due.steps, due.tokens, now_at);
        RETURN true;
    END IF;
    WITH woken AS (
        UPDATE millrace_internal.step s SET state = 2, ready_at = now_at
        FROM unnest(due.runs, due.steps, due.tokens) u (run_id, step_no, token)
        WHERE s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = 0 AND (u.run_id & 255) = s.shard AND s.state = 1 AND s.token = u.token AND s.ready_at <= now_at
        RETURNING s.run_id, s.step_no)
    SELECT array_agg(w.run_id) AS runs, array_agg(w.step_no) AS steps INTO woke FROM woken w;
    IF woke.runs IS NOT NULL THEN
        PERFORM millrace_internal.make_ready(0::smallint, woke.runs, woke.steps);
    END IF;
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_timers(timestamptz) IS 'Up to 1,000 timers that are due: waiting steps become ready, or what the engine holds is looked at.';

-- A run past its deadline is cancelled; one a call.
CREATE OR REPLACE FUNCTION millrace_internal.keep_deadlines(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    due bigint;
BEGIN
    DELETE FROM millrace_internal.timer t
    WHERE (t.due_at, t.run_id, t.step_no, t.shard) = (
        SELECT d.due_at, d.run_id, d.step_no, d.shard FROM millrace_internal.timer d
        WHERE d.due_at <= now_at AND d.step_no = 0 ORDER BY d.due_at, d.run_id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING t.run_id INTO due;
    IF due IS NULL THEN
        RETURN false;
    END IF;
    PERFORM millrace_internal.lock_run_steps((due & 255)::smallint, due, false);
    -- what is being undone is undone to its end
    IF NOT EXISTS (SELECT FROM millrace_internal.run r WHERE r.run_id = due AND r.shard = (due & 255) AND millrace_internal.is_being_undone(r)) THEN
        PERFORM millrace_internal.cancel_rest((due & 255)::smallint, due, 12::smallint, 'deadline');
    END IF;
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_deadlines(timestamptz) IS 'Cancels one run that is past its deadline.';

-- Steps of past-due receipts of one agent whose own time is up. Agents report timeouts themselves, and have half a second to do so
-- (timeout_grace); this is for those that do not.
CREATE OR REPLACE FUNCTION millrace_internal.keep_timeouts(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    in_agent_id integer;
    grace       interval := millrace_internal.timeout_grace();
    due         record;
BEGIN
    SELECT r.agent_id INTO in_agent_id FROM millrace_internal.receipt r WHERE r.deadline <= now_at ORDER BY r.deadline LIMIT 1;
    IF in_agent_id IS NULL THEN
        RETURN false;
    END IF;
    SELECT array_agg(u.run_id ORDER BY u.run_id, u.step_no) AS runs, array_agg(u.step_no ORDER BY u.run_id, u.step_no) AS steps,
           array_agg(u.token ORDER BY u.run_id, u.step_no) AS tokens, count(*)::integer AS n INTO due
    FROM (SELECT * FROM millrace_internal.receipt r WHERE r.agent_id = in_agent_id AND r.deadline <= now_at LIMIT 1000) r
    CROSS JOIN LATERAL unnest(r.run_ids, r.step_nos, r.tokens) u (run_id, step_no, token)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = r.shard AND s.state = 4 AND s.token = u.token AND s.agent_id = in_agent_id
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    WHERE s.started_at + make_interval(secs => d.timeout) + grace <= now_at;
    IF due.n > 0 THEN
        PERFORM millrace_internal.decide(0::smallint, in_agent_id, due.runs, due.steps, due.tokens, array_fill(4::smallint, ARRAY[due.n]), NULL,
                                         array_fill('timed out'::text, ARRAY[due.n]), NULL);
        PERFORM millrace_internal.revoke(in_agent_id, due.runs, due.steps, due.tokens, 'timed_out');
    END IF;
    -- the receipts that live on are due when the next of their steps is
    UPDATE millrace_internal.receipt r
    SET deadline = (SELECT min(s.started_at + make_interval(secs => d.timeout) + grace) FROM unnest(r.run_ids, r.step_nos, r.tokens) u (run_id, step_no, token)
                    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = r.shard AND s.state = 4 AND s.token = u.token
                    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no)
    WHERE r.agent_id = in_agent_id AND r.deadline <= now_at;
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_timeouts(timestamptz) IS 'Times out the steps of one agent that are past due.';

-- One agent whose lease is over, or that has gone: what it holds can be claimed by others.
CREATE OR REPLACE FUNCTION millrace_internal.keep_agents(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lost_id integer;
BEGIN
    SELECT a.agent_id INTO lost_id FROM millrace_internal.agent a
    WHERE a.lease_expires_at <= now_at AND (NOT a.lost OR EXISTS (SELECT FROM millrace_internal.receipt r WHERE r.agent_id = a.agent_id))
    ORDER BY a.lease_expires_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF lost_id IS NULL THEN
        -- an agent may have deregistered while a last claim of its was under way: it never heard of those steps
        SELECT r.agent_id INTO lost_id FROM millrace_internal.receipt r
        WHERE NOT EXISTS (SELECT FROM millrace_internal.agent a WHERE a.agent_id = r.agent_id) LIMIT 1;
        IF lost_id IS NOT NULL THEN
            PERFORM millrace_internal.take_from(0::smallint, lost_id, 5::smallint);
            RETURN true;
        END IF;
        -- forgotten a day later, with the notes that nobody fetched
        DELETE FROM millrace_internal.agent a WHERE a.lost AND a.lease_expires_at < now_at - interval '1 day';
        IF FOUND THEN
            DELETE FROM millrace_internal.revocation r WHERE NOT EXISTS (SELECT FROM millrace_internal.agent a WHERE a.agent_id = r.agent_id);
        END IF;
        RETURN false;
    END IF;
    PERFORM millrace_internal.take_from(0::smallint, lost_id, 6::smallint);
    UPDATE millrace_internal.agent a SET lost = true WHERE a.agent_id = lost_id;
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_agents(timestamptz) IS 'Takes back what one lost agent held. Tables changed: as take_from, agent.';
