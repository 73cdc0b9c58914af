-- Purpose: the readiness sink, the one seam behind which "who is ready next" is decided. Two implementations:
-- the dispatcher's memory (with the library preloaded) and the table `ready`. Both are caches of the step rows:
-- what comes out of them counts only once a claim has changed the row.

-- Arguments: one element per step that has become ready (or, with sink_push, is ready still)
-- Tables changed: ready (plain tier). Wakes the queues' agents when the transaction commits.
CREATE OR REPLACE FUNCTION millrace_internal.sink_push(
    in_shard smallint, run_ids bigint[], step_nos integer[], queue_ids integer[], handler_ids integer[],
    priorities smallint[], tenant_ids integer[], ranks real[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF run_ids IS NULL OR cardinality(run_ids) = 0 THEN
        RETURN;
    END IF;
    IF millrace_internal.dispatcher_attached() THEN
        PERFORM millrace_internal.dispatcher_push(queue_ids, handler_ids, priorities, tenant_ids, NULL, run_ids, ranks, step_nos);
        RETURN;
    END IF;
    INSERT INTO millrace_internal.ready (shard, queue_id, handler_id, priority, tenant_id, run_id, urgency, step_no)
    SELECT in_shard, u.queue_id, u.handler_id, u.priority, u.tenant_id, u.run_id, -u.rank, u.step_no
    FROM unnest(queue_ids, handler_ids, priorities, tenant_ids, run_ids, ranks, step_nos)
         u (queue_id, handler_id, priority, tenant_id, run_id, rank, step_no)
    ORDER BY 2, 3, 4, 5, 6, 7, 8
    ON CONFLICT DO NOTHING;
    IF millrace_internal.setting('millrace.notify')::boolean THEN
        PERFORM millrace_internal.wake(ARRAY(SELECT DISTINCT q FROM unnest(queue_ids) q));
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_push(smallint, bigint[], integer[], integer[], integer[], smallint[], integer[], real[]) IS
'Tells the sink of ready steps. Published at commit, forgotten on rollback.';

-- Arguments: in_queues, in_handlers, capacities (aligned with in_handlers), max_steps
-- Returns:   up to max_steps candidates in claim order; on the plain tier also where their ready rows stand: locked, not
--            yet deleted
CREATE OR REPLACE FUNCTION millrace_internal.sink_pop(
    in_shard smallint, in_queues integer[], in_handlers integer[], capacities integer[], max_steps integer,
    OUT run_ids bigint[], OUT step_nos integer[], OUT places tid[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT millrace_internal.dispatcher_attached() THEN
        SELECT p.run_ids, p.step_nos, p.places INTO run_ids, step_nos, places
        FROM millrace_internal.ready_pop(in_shard, in_queues, in_handlers, capacities, max_steps) p;
        RETURN;
    END IF;
    SELECT array_agg(p.run_id), array_agg(p.step_no) INTO run_ids, step_nos
    FROM millrace_internal.dispatcher_pop(in_queues, in_handlers, capacities, max_steps) p;
    IF run_ids IS NULL AND millrace_internal.dispatcher_missing_from(in_queues, in_handlers) IS NOT NULL THEN
        -- after a restart, until the keeper has refilled it, or past its bound: slower, never wrong
        SELECT array_agg(p.run_id), array_agg(p.step_no) INTO run_ids, step_nos
        FROM millrace_internal.ready_in_tables(in_shard, in_queues, in_handlers, capacities, max_steps) p;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_pop(smallint, integer[], integer[], integer[], integer) IS 'Candidates for a claim, in claim order.';

-- Arguments: what sink_pop gave; of this, what is ready still but held by another call: it goes back, all else is gone
CREATE OR REPLACE FUNCTION millrace_internal.sink_settle(run_ids bigint[], step_nos integer[], places tid[], locked_runs bigint[], locked_steps integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF places IS NOT NULL THEN
        IF locked_runs IS NOT NULL THEN
            places := ARRAY(SELECT u.place FROM unnest(run_ids, step_nos, places) u (run_id, step_no, place)
                            WHERE NOT EXISTS (SELECT FROM unnest(locked_runs, locked_steps) l (run_id, step_no) WHERE l.run_id = u.run_id AND l.step_no = u.step_no));
        END IF;
        -- nobody moves a row that this transaction has locked
        DELETE FROM millrace_internal.ready r WHERE r.ctid = ANY (places);
    ELSIF locked_runs IS NOT NULL THEN
        PERFORM millrace_internal.dispatcher_put_back(locked_runs, locked_steps);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_settle(bigint[], integer[], tid[], bigint[], integer[]) IS
'Settles the candidates of a claim with the sink. Tables changed: ready (plain tier).';

CREATE OR REPLACE FUNCTION millrace_internal.effective_priority(of_run smallint, of_step smallint)
RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(32767, greatest(-32768, of_run::integer + of_step::integer))::smallint
$$;
COMMENT ON FUNCTION millrace_internal.effective_priority(smallint, smallint) IS 'A step''s priority is added to its run''s; lower goes first.';

-- Arguments: one element per step that has just become ready
-- Returns:   whether it would be claimed before all that waits for the same queue and handler
CREATE OR REPLACE FUNCTION millrace_internal.sink_sort_first(in_shard smallint, queue_ids integer[], handler_ids integer[], priorities smallint[],
    tenant_ids integer[], run_ids bigint[], ranks real[], step_nos integer[])
RETURNS boolean[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF millrace_internal.dispatcher_attached() THEN
        RETURN millrace_internal.dispatcher_sorts_first(queue_ids, handler_ids, priorities, tenant_ids, run_ids, ranks, step_nos);
    END IF;
    RETURN (
        WITH heads AS MATERIALIZED (
            SELECT q.queue_id, q.handler_id, f.*
            FROM (SELECT DISTINCT queue_id, handler_id FROM unnest(queue_ids, handler_ids) q (queue_id, handler_id)) q
            CROSS JOIN LATERAL (SELECT r.priority, r.tenant_id, r.run_id, r.urgency FROM millrace_internal.ready r
                                WHERE r.shard = in_shard AND r.queue_id = q.queue_id AND r.handler_id = q.handler_id
                                ORDER BY r.queue_id, r.handler_id, r.priority, r.tenant_id, r.run_id, r.urgency LIMIT 1) f)
        -- among tenants the next claim takes turns anyway
        SELECT array_agg(h.queue_id IS NULL OR u.priority < h.priority
                         OR (u.priority = h.priority AND (u.tenant_id <> h.tenant_id OR (u.run_id, -u.rank) <= (h.run_id, h.urgency))) ORDER BY u.ord)
        FROM unnest(queue_ids, handler_ids, priorities, tenant_ids, run_ids, ranks) WITH ORDINALITY u (queue_id, handler_id, priority, tenant_id, run_id, rank, ord)
        LEFT JOIN heads h USING (queue_id, handler_id));
END $$;
COMMENT ON FUNCTION millrace_internal.sink_sort_first(smallint, integer[], integer[], smallint[], integer[], bigint[], real[], integer[]) IS
'Which steps go before all that waits for the same queue and handler.';

-- The plain tier's pop. The (queue, handler, priority) group with the best head goes first; within a group tenants take
-- turns by weight, from a random one on, so that fairness needs no shared counter.
-- Locks: ready rows, FOR UPDATE SKIP LOCKED; waits for nothing.
CREATE OR REPLACE FUNCTION millrace_internal.ready_pop(
    in_shard smallint, in_queues integer[], in_handlers integer[], capacities integer[], max_steps integer,
    OUT run_ids bigint[], OUT step_nos integer[], OUT places tid[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    room    integer[] := capacities;
    head    record;
    quota   integer;
    taken   record;
    owners  record;
    past    jsonb := '{}';      -- last priority looked at, per queue and handler
BEGIN
    run_ids := '{}'; step_nos := '{}'; places := '{}';
    LOOP
        SELECT q.queue_id, h.handler_id, h.ord, f.priority INTO head
        FROM unnest(in_queues) q (queue_id)
        CROSS JOIN unnest(in_handlers) WITH ORDINALITY h (handler_id, ord)
        CROSS JOIN LATERAL (
            SELECT r.priority, r.run_id, r.urgency FROM millrace_internal.ready r
            WHERE r.shard = in_shard AND r.queue_id = q.queue_id AND r.handler_id = h.handler_id
              AND r.priority > coalesce((past ->> format('%s/%s', q.queue_id, h.handler_id))::integer, -32769)
            ORDER BY r.queue_id, r.handler_id, r.priority, r.tenant_id, r.run_id, r.urgency LIMIT 1) f
        WHERE room[h.ord] > 0
        ORDER BY f.priority, f.run_id, f.urgency LIMIT 1;
        EXIT WHEN NOT FOUND;
        past := past || jsonb_build_object(format('%s/%s', head.queue_id, head.handler_id), head.priority);

        FOR owners IN
            SELECT o.tenant_id, o.share FROM millrace_internal.ready_tenants(in_shard, head.queue_id, head.handler_id, head.priority,
                                                                             least(room[head.ord], max_steps - cardinality(run_ids))) o
        LOOP
            quota := least(owners.share, room[head.ord], max_steps - cardinality(run_ids));
            CONTINUE WHEN quota <= 0;
            SELECT array_agg(r.run_id) AS runs, array_agg(r.step_no) AS steps, array_agg(r.ctid) AS places, count(*)::integer AS n INTO taken
            FROM (SELECT r.run_id, r.step_no, r.ctid FROM millrace_internal.ready r
                  WHERE r.shard = in_shard AND r.queue_id = head.queue_id AND r.handler_id = head.handler_id
                    AND r.priority = head.priority AND r.tenant_id = owners.tenant_id
                  ORDER BY r.queue_id, r.handler_id, r.priority, r.tenant_id, r.run_id, r.urgency, r.step_no
                  LIMIT quota FOR UPDATE SKIP LOCKED) r;
            IF taken.n > 0 THEN
                run_ids := run_ids || taken.runs;
                step_nos := step_nos || taken.steps;
                places := places || taken.places;
                room[head.ord] := room[head.ord] - taken.n;
            END IF;
        END LOOP;
        EXIT WHEN cardinality(run_ids) >= max_steps;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.ready_pop(smallint, integer[], integer[], integer[], integer) IS 'The plain tier''s candidates.';

-- Returns: the tenants that wait at this place (at most 64 of them, found by skipping through the index), in the order
-- in which this claim serves them, each with its share; a second round offers what others left over.
CREATE OR REPLACE FUNCTION millrace_internal.ready_tenants(in_shard smallint, in_queue integer, in_handler integer, in_priority smallint, wanted integer)
RETURNS TABLE (tenant_id integer, share integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    found_ids integer[] := '{}';
    next_id   integer := -1;
BEGIN
    WHILE next_id IS NOT NULL AND cardinality(found_ids) < 64 LOOP
        SELECT r.tenant_id INTO next_id FROM millrace_internal.ready r
        WHERE r.shard = in_shard AND r.queue_id = in_queue AND r.handler_id = in_handler AND r.priority = in_priority AND r.tenant_id > next_id
        ORDER BY r.queue_id, r.handler_id, r.priority, r.tenant_id LIMIT 1;
        IF next_id IS NOT NULL THEN
            found_ids := found_ids || next_id;
        END IF;
    END LOOP;
    IF cardinality(found_ids) <= 1 THEN
        RETURN QUERY SELECT id, wanted FROM unnest(found_ids) id;
        RETURN;
    END IF;
    RETURN QUERY
    WITH t AS MATERIALIZED (
        -- a weighted random order (Efraimidis and Spirakis): who comes first, and so gets the rounded-up share, follows the weights
        SELECT t.tenant_id, t.weight, t.weight::double precision / sum(t.weight::double precision) OVER () AS part, -ln(1 - random()) / t.weight AS turn
        FROM millrace_internal.tenant t WHERE t.tenant_id = ANY (found_ids))
    SELECT s.tenant_id, s.share FROM (
        SELECT t.tenant_id, ceil(wanted * t.part - 1e-9)::integer AS share, 1 AS round, t.turn FROM t
        UNION ALL
        SELECT t.tenant_id, wanted, 2, t.turn FROM t) s
    ORDER BY s.round, s.turn;
END $$;
COMMENT ON FUNCTION millrace_internal.ready_tenants(smallint, integer, integer, smallint, integer) IS 'Weighted turns of the tenants that wait.';
