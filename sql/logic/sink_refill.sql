-- Purpose: what the step rows know of readiness: filling a sink from them at a change of tier, after a restart, where the
-- dispatcher had no room, and after a sweep was asked for; and claims that cannot wait for it.

-- Purpose:   read the ready steps of the next runs that are alive, in claim order as far as one priority goes.
-- Arguments: after_run  the last run read so far
-- Returns:   last_run, null when there is none behind after_run; the arrays are null where none of the runs has a ready step
-- Runs that lie close together are read as one range of steps, a page at a time; scattered ones each by itself.
CREATE OR REPLACE FUNCTION millrace_internal.ready_batch(after_run bigint,
    OUT last_run bigint, OUT run_ids bigint[], OUT step_nos integer[], OUT queue_ids integer[], OUT handler_ids integer[],
    OUT priorities smallint[], OUT tenant_ids integer[], OUT ranks real[])
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = off AS $$
DECLARE
    alive        bigint[];
    of_runs      smallint[];
    their_owners integer[];
    close        boolean;
BEGIN
    SELECT array_agg(r.run_id), array_agg(r.priority), array_agg(r.tenant_id) INTO alive, of_runs, their_owners
    FROM millrace_internal.runs_alive(after_run, 1000) r;
    last_run := alive[cardinality(alive)];
    close := (last_run - alive[1]) / 256 < 4 * cardinality(alive);
    -- by key where it says OFFSET 0, by hash elsewhere
    WITH s AS MATERIALIZED (
        SELECT s.run_id, s.step_no, s.version_id, s.def_no FROM millrace_internal.step s
        WHERE close AND s.run_id BETWEEN alive[1] AND last_run AND s.state = 2
        UNION ALL
        SELECT s.run_id, s.step_no, s.version_id, s.def_no FROM unnest(alive) a (run_id)
        CROSS JOIN LATERAL (SELECT * FROM millrace_internal.step s WHERE s.run_id = a.run_id AND s.state = 2 OFFSET 0) s
        WHERE NOT close),
    d AS MATERIALIZED (
        SELECT d.*, millrace_internal.rank_of(d.version_id, d.def_no, d.defined_rank) AS rank
        FROM (SELECT DISTINCT s.version_id, s.def_no FROM s) n
        CROSS JOIN LATERAL (SELECT d.version_id, d.def_no, d.queue_id, d.handler_id, d.priority, d.rank AS defined_rank
                            FROM millrace_internal.step_definition d WHERE d.version_id = n.version_id AND d.def_no = n.def_no OFFSET 0) d)
    SELECT array_agg(o.run_id), array_agg(o.step_no), array_agg(o.queue_id), array_agg(o.handler_id),
           array_agg(o.priority), array_agg(o.tenant_id), array_agg(o.rank)
    INTO run_ids, step_nos, queue_ids, handler_ids, priorities, tenant_ids, ranks
    FROM (SELECT s.run_id, s.step_no, d.queue_id, d.handler_id, millrace_internal.effective_priority(r.priority, d.priority) AS priority, r.tenant_id, d.rank
          FROM s JOIN d USING (version_id, def_no)
          JOIN unnest(alive, of_runs, their_owners) r (run_id, priority, tenant_id) USING (run_id)
          ORDER BY s.run_id, d.rank DESC, s.step_no) o;
END $$;
COMMENT ON FUNCTION millrace_internal.ready_batch(bigint) IS
'The ready steps of the next 1,000 runs that are alive. Time in what these runs have stored, not in what is finished.';

-- Purpose: the next batch of the dispatcher's refill. Returns: the last run read; null at the end.
CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_fill(after_run bigint)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    batch record;
    more  boolean := true;
BEGIN
    SELECT * INTO batch FROM millrace_internal.ready_batch(after_run);
    IF batch.run_ids IS NOT NULL THEN
        more := millrace_internal.dispatcher_refill(batch.queue_ids, batch.handler_ids, batch.priorities, batch.tenant_ids,
                                                    batch.run_ids, batch.ranks, batch.step_nos);
    END IF;
    RETURN CASE WHEN more THEN batch.last_run END;
END $$;
COMMENT ON FUNCTION millrace_internal.dispatcher_fill(bigint) IS 'Reads ready steps of some runs into the dispatcher. Tables changed: none.';

-- Notes the tier in force; what the other one's table held is of no use any more.
CREATE OR REPLACE FUNCTION millrace_internal.sink_enter()
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tier_now text := CASE WHEN millrace_internal.dispatcher_attached() THEN 'dispatcher' ELSE 'plain' END;
BEGIN
    IF tier_now = 'dispatcher' AND EXISTS (SELECT FROM millrace_internal.ready) THEN
        DELETE FROM millrace_internal.ready;
    END IF;
    INSERT INTO millrace_internal.sink (shard, tier) VALUES (0, tier_now)
    ON CONFLICT (shard) DO UPDATE SET tier = excluded.tier WHERE sink.tier <> excluded.tier;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_enter() IS 'The tier in force. Tables changed: sink, ready.';

-- On the plain tier: has the dispatcher held the ready steps until the last restart? Then they are in no table yet.
CREATE OR REPLACE FUNCTION millrace_internal.sink_ensure()
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    batch    record;
    after_id bigint := -1;
BEGIN
    IF millrace_internal.dispatcher_attached()
       OR EXISTS (SELECT FROM millrace_internal.sink s WHERE s.shard = 0 AND s.tier = 'plain') THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('millrace_internal.sink_ensure'));
    LOOP
        SELECT * INTO batch FROM millrace_internal.ready_batch(after_id);
        EXIT WHEN batch.last_run IS NULL;
        after_id := batch.last_run;
        PERFORM millrace_internal.sink_push(0::smallint, batch.run_ids, batch.step_nos, batch.queue_ids, batch.handler_ids,
                                            batch.priorities, batch.tenant_ids, batch.ranks);
    END LOOP;
    PERFORM millrace_internal.sink_enter();
END $$;
COMMENT ON FUNCTION millrace_internal.sink_ensure() IS
'Fills the table `ready` after a change of tier; the dispatcher is refilled by the keeper. Tables changed: ready, sink. Locks: an advisory one.';

-- Purpose: candidates for a claim that finds the dispatcher without some of its steps: not filled yet, or past its bound.
-- Returns: ready steps as the tables have them: the best of the 1,000 oldest runs, then of the next. They are locked,
--          so that claims which read the same ones pass each other by.
-- Locks:   step rows, SKIP LOCKED.
CREATE OR REPLACE FUNCTION millrace_internal.ready_in_tables(
    in_shard smallint, in_queues integer[], in_handlers integer[], capacities integer[], max_steps integer)
RETURNS TABLE (run_id bigint, step_no integer)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    after_id bigint := coalesce(millrace_internal.dispatcher_missing_from(in_queues, in_handlers), 0) - 1;
    rooms    integer[] := capacities;
    taken    integer := 0;
    batch    record;
    c        record;
BEGIN
    WHILE taken < max_steps LOOP
        SELECT * INTO batch FROM millrace_internal.ready_batch(after_id);
        EXIT WHEN batch.last_run IS NULL;
        after_id := batch.last_run;
        FOR c IN
            SELECT u.run_id, u.step_no, h.ord
            FROM unnest(batch.run_ids, batch.step_nos, batch.queue_ids, batch.handler_ids, batch.priorities, batch.ranks)
                 u (run_id, step_no, queue_id, handler_id, priority, rank)
            JOIN unnest(in_handlers) WITH ORDINALITY h (handler_id, ord) USING (handler_id)
            WHERE u.queue_id = ANY (in_queues)
            ORDER BY u.priority, u.run_id, u.rank DESC, u.step_no
        LOOP
            CONTINUE WHEN rooms[c.ord] <= 0;
            PERFORM FROM millrace_internal.step s
            WHERE s.run_id = c.run_id AND s.step_no = c.step_no AND s.shard = in_shard AND s.state = 2 FOR NO KEY UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
            rooms[c.ord] := rooms[c.ord] - 1;
            taken := taken + 1;
            RETURN QUERY SELECT c.run_id, c.step_no;
            EXIT WHEN taken >= max_steps;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.ready_in_tables(smallint, integer[], integer[], integer[], integer) IS
'Candidates read from the runs that are alive, in claim order among 1,000 runs at a time: what claims use while the dispatcher has not got them.';
