-- Purpose: `batch`: steps of one kind, of any runs, that wait for each other and are executed as one call. A step that could
-- start joins (batch_join: it only adds a row, so that reports never wait for each other); the keeper puts those that have come
-- into batches (keep_batches_gather) and lets go the batches that are full or due (keep_batches_let_go). Of a batch that was let
-- go only the member that goes first is in the sink; whoever claims it gets the others with it (batch_take). In the sink a member
-- is a hint like any other: wherever more of them get into it, the first claim takes what is still there.

-- What is wrong with a step's `batch`.
CREATE OR REPLACE FUNCTION millrace_internal.batch_problems(step jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    b jsonb := step -> 'batch';
BEGIN
    at_path := at_path || '.batch';
    IF b IS NULL THEN
        RETURN;
    ELSIF jsonb_typeof(b) <> 'object' THEN
        RETURN QUERY SELECT at_path, 'MR101', format('%s is not an object', at_path), 'Write for example {"max": 100, "delay": "5s", "key": "$.run.recipient"}.';
        RETURN;
    END IF;
    RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(b, 'batch', at_path) u;
    RETURN QUERY
    SELECT at_path || p.suffix, p.code, format(p.message, at_path, left(coalesce(b ->> p.key, 'null'), 200)), p.hint
    FROM (VALUES
        ('.max', 'MR111', '%s has no max', 'Say how many steps a batch has at most: "max": 100.', 'max', NOT b ? 'max'),
        ('.max', 'MR112', '%s.max: "%s" is not a whole number from 1 to 1000', NULL, 'max',
         b ? 'max' AND NOT CASE WHEN jsonb_typeof(b -> 'max') = 'number' THEN (b ->> 'max')::numeric BETWEEN 1 AND 1000 AND (b ->> 'max')::numeric % 1 = 0 ELSE false END),
        ('.delay', 'MR109', '%s.delay: "%s" is not an interval', 'Write seconds as a number, or text such as "500ms", "5s", "10m".', 'delay',
         b ? 'delay' AND millrace_internal.seconds(b -> 'delay') IS NULL),
        ('.urgent', 'MR112', '%s.urgent: "%s" is not a whole number from -32768 to 32767', 'Steps of this priority, or a lower number, do not wait for others.', 'urgent',
         b ? 'urgent' AND NOT CASE WHEN jsonb_typeof(b -> 'urgent') = 'number'
                                   THEN (b ->> 'urgent')::numeric BETWEEN -32768 AND 32767 AND (b ->> 'urgent')::numeric % 1 = 0 ELSE false END),
        ('', 'MR112', '%s stands in a step that no agent executes', 'Batches are for steps with a handler.', 'max', step ?| '{wait_for, workflow}')
    ) p (suffix, code, message, hint, key, wrong)
    WHERE p.wrong
    UNION ALL
    SELECT at_path || '.key', 'MR108', format('%s.key: "%s" is not a JSONPath: %s', at_path, left(l.leaf, 200), l.problem),
           'A text that begins with $ is a JSONPath into "run" and "needs"; write $$ for a text that begins with a dollar sign.'
    FROM (SELECT leaf, millrace_internal.path_problem(leaf) AS problem FROM millrace_internal.input_paths(b -> 'key') leaf) l
    WHERE l.problem IS NOT NULL;
END $body$;
COMMENT ON FUNCTION millrace_internal.batch_problems(jsonb, text) IS 'Mistakes in the batch of a step.';

-- Returns: the step's key; null where nothing matches
CREATE OR REPLACE FUNCTION millrace_internal.batch_key(in_shard smallint, in_run_id bigint, d millrace_internal.step_definition, in_element integer)
RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN nullif(millrace_internal.input_fill(d.traits #> '{batch,key}', CASE WHEN in_element IS NULL THEN millrace_internal.context_of(in_shard, in_run_id, d)
        ELSE millrace_internal.input_context(in_shard, in_run_id, d.version_id, d.needs) || millrace_internal.element_of(in_shard, in_run_id, d.def_no, in_element) END), 'null');
EXCEPTION WHEN data_exception OR program_limit_exceeded OR undefined_object OR feature_not_supported THEN
    -- what a path may end in only once it meets data
    RETURN NULL;
END $$;
COMMENT ON FUNCTION millrace_internal.batch_key(smallint, bigint, millrace_internal.step_definition, integer) IS 'By what a step finds others like it.';

-- Purpose:   steps join others like them, and wait; those that are urgent do not.
-- Arguments: steps that are ready, and whose rows this call holds
-- Returns:   those that wait for nobody
-- Tables changed: step, event, batch_member.
CREATE OR REPLACE FUNCTION millrace_internal.batch_join(in_shard smallint, run_ids bigint[], step_nos integer[], OUT runs bigint[], OUT steps integer[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
    joined record;
BEGIN
    WITH comer AS MATERIALIZED (
        SELECT s.run_id, s.step_no, (d.traits #>> '{batch,max}')::integer AS max_members,
               least(now_at + make_interval(secs => coalesce(millrace_internal.seconds(d.traits #> '{batch,delay}'), 0)),
                     CASE WHEN d.traits ? 'window' THEN (millrace_internal.window_at(d.traits ->> 'window', now_at)).closes_at END) AS due_at,
               sha256(convert_to(jsonb_build_array(d.queue_id, d.handler_id, n.tenant_id,
                   CASE WHEN d.fills THEN (millrace_internal.values_of(in_shard, s.run_id, d, s.element)).settings ELSE d.settings END, d.timeout,
                   d.traits -> 'batch' -> 'max', d.traits -> 'batch' -> 'delay',
                   CASE WHEN d.traits -> 'batch' ? 'key' THEN millrace_internal.batch_key(in_shard, s.run_id, d, s.element) END)::text, 'UTF8')) AS bucket
        FROM unnest(run_ids, step_nos) u (run_id, step_no)
        JOIN millrace_internal.run n ON n.run_id = u.run_id AND n.shard = in_shard
        JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2
        JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
        WHERE (u.run_id & 255) = in_shard AND d.traits ? 'batch'
          AND (millrace_internal.effective_priority(n.priority, d.priority) <= (d.traits #>> '{batch,urgent}')::integer) IS NOT TRUE),
    held AS (
        UPDATE millrace_internal.step s SET state = 1, token = s.token + 1, ready_at = c.due_at
        FROM comer c WHERE s.run_id = c.run_id AND s.step_no = c.step_no AND s.shard = in_shard AND s.state = 2
        RETURNING s.run_id, s.step_no, s.token, s.attempts, c.max_members, c.due_at, c.bucket),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind, data)
        SELECT h.run_id, now_at, pg_current_xact_id()::text::bigint, h.step_no, h.attempts, in_shard, 9, jsonb_build_object('for', 'batch', 'due_at', h.due_at)
        FROM held h ORDER BY h.run_id, h.step_no),
    added AS (
        INSERT INTO millrace_internal.batch_member (shard, run_id, step_no, token, max_members, due_at, bucket)
        SELECT in_shard, h.run_id, h.step_no, h.token, h.max_members, h.due_at, h.bucket FROM held h ORDER BY h.run_id, h.step_no)
    SELECT array_agg(h.run_id) AS runs, array_agg(h.step_no) AS steps INTO joined FROM held h;
    IF joined.runs IS NULL THEN
        runs := run_ids; steps := step_nos;
        RETURN;
    END IF;
    PERFORM millrace_internal.keeper_due(now_at);
    SELECT array_agg(u.run_id), array_agg(u.step_no) INTO runs, steps
    FROM unnest(run_ids, step_nos) u (run_id, step_no)
    WHERE NOT EXISTS (SELECT FROM unnest(joined.runs, joined.steps) j (run_id, step_no) WHERE j.run_id = u.run_id AND j.step_no = u.step_no);
END $$;
COMMENT ON FUNCTION millrace_internal.batch_join(smallint, bigint[], integer[]) IS 'Has steps wait for others like them.';

-- Purpose: up to 1,000 members that have come are put into batches, in the order in which they came.
-- Returns: whether there were any. Tables changed: batch, batch_member. Locks: an advisory one; members, SKIP LOCKED.
CREATE OR REPLACE FUNCTION millrace_internal.keep_batches_gather(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM millrace_internal.batch_member m WHERE m.batch_id = 0) THEN
        RETURN false;
    END IF;
    -- batches have one writer at a time: what one adds to, another must not let go
    PERFORM pg_advisory_xact_lock(hashtext('millrace_internal.batches'));
    WITH comer AS MATERIALIZED (
        SELECT m.member_no, m.shard, m.bucket, m.max_members, m.due_at FROM millrace_internal.batch_member m
        WHERE m.batch_id = 0 ORDER BY m.member_no LIMIT 1000 FOR UPDATE SKIP LOCKED),
    gathering AS MATERIALIZED (
        SELECT b.batch_id, b.shard, b.bucket, b.max_members - b.members AS room FROM (SELECT DISTINCT c.bucket, c.shard FROM comer c) c
        JOIN millrace_internal.batch b ON b.bucket = c.bucket AND b.shard = c.shard AND b.members < b.max_members),
    -- 0: into the batch that is gathering; 1, 2, …: into new ones
    placed AS MATERIALIZED (
        SELECT p.*, CASE WHEN p.nth <= p.room THEN 0 ELSE 1 + (p.nth - p.room - 1) / p.max_members END AS place
        FROM (SELECT c.*, g.batch_id AS gathering_id, coalesce(g.room, 0) AS room, row_number() OVER (PARTITION BY c.bucket, c.shard ORDER BY c.member_no) AS nth
              FROM comer c LEFT JOIN gathering g USING (bucket, shard)) p),
    target AS MATERIALIZED (
        SELECT t.*, CASE WHEN t.place = 0 THEN t.gathering_id ELSE nextval('millrace_internal.batch_id_seq') END AS batch_id
        FROM (SELECT p.shard, p.bucket, p.place, p.gathering_id, p.max_members, count(*)::integer AS members, min(p.due_at) AS due_at
              FROM placed p GROUP BY 1, 2, 3, 4, 5) t),
    grown AS (
        UPDATE millrace_internal.batch b SET members = b.members + t.members,
               due_at = least(b.due_at, t.due_at, CASE WHEN b.members + t.members = b.max_members THEN now_at END)
        FROM target t WHERE t.place = 0 AND b.batch_id = t.batch_id AND b.shard = t.shard),
    made AS (
        INSERT INTO millrace_internal.batch (batch_id, shard, bucket, members, max_members, due_at)
        SELECT t.batch_id, t.shard, t.bucket, t.members, t.max_members, least(t.due_at, CASE WHEN t.members = t.max_members THEN now_at END)
        FROM target t WHERE t.place > 0)
    UPDATE millrace_internal.batch_member m SET batch_id = t.batch_id
    FROM placed p JOIN target t USING (shard, bucket, place)
    WHERE m.batch_id = 0 AND m.member_no = p.member_no AND m.shard = p.shard;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_batches_gather(timestamptz) IS 'Puts steps that have joined into batches.';

-- Purpose: batches that are full or due are let go: their members are ready, and may be claimed together. About 1,000 members a call.
-- Returns: whether there were any. Tables changed: batch, batch_member, step; ready (plain tier). Locks: an advisory one; step rows, ascending.
CREATE OR REPLACE FUNCTION millrace_internal.keep_batches_let_go(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    due     bigint[];
    member  record;
    ready   record;
    parked  record;
BEGIN
    IF NOT EXISTS (SELECT FROM millrace_internal.batch b WHERE b.due_at <= now_at) THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('millrace_internal.batches'));
    WITH head AS MATERIALIZED (
        SELECT b.batch_id, b.shard, b.due_at, b.members FROM millrace_internal.batch b WHERE b.due_at <= now_at ORDER BY b.due_at, b.batch_id LIMIT 1000),
    gone AS (
        DELETE FROM millrace_internal.batch b
        USING (SELECT h.batch_id, h.shard, sum(h.members) OVER (ORDER BY h.due_at, h.batch_id) - h.members AS before FROM head h) h
        WHERE h.before < 1000 AND b.batch_id = h.batch_id AND b.shard = h.shard RETURNING b.batch_id)
    SELECT array_agg(g.batch_id) INTO due FROM gone g;
    IF due IS NULL THEN
        RETURN false;
    END IF;
    SELECT array_agg(m.run_id ORDER BY m.run_id, m.step_no) AS runs, array_agg(m.step_no ORDER BY m.run_id, m.step_no) AS steps,
           array_agg(m.token ORDER BY m.run_id, m.step_no) AS tokens, array_agg(m.due_at ORDER BY m.run_id, m.step_no) AS due_ats
    INTO member FROM millrace_internal.batch_member m WHERE m.batch_id = ANY (due);
    -- a member whose step has gone on by other ways is over
    WITH woken AS (
        UPDATE millrace_internal.step s SET state = 2, ready_at = now_at
        FROM unnest(member.runs, member.steps, member.tokens, member.due_ats) u (run_id, step_no, token, due_at)
        WHERE s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = 0 AND (u.run_id & 255) = s.shard AND s.state = 1 AND s.token = u.token AND s.ready_at = u.due_at
        RETURNING s.run_id, s.step_no)
    SELECT array_agg(w.run_id) AS runs, array_agg(w.step_no) AS steps INTO ready FROM woken w;
    -- in a statement of its own, for the one before may have waited for a pause: what is parked joins again when its run goes on
    WITH kept AS (
        UPDATE millrace_internal.step s SET state = 3
        FROM unnest(ready.runs, ready.steps) u (run_id, step_no)
        JOIN millrace_internal.run n ON n.run_id = u.run_id AND n.shard = 0 AND n.state = 2
        WHERE (u.run_id & 255) = 0 AND s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = 0 AND s.state = 2
        RETURNING s.run_id, s.step_no)
    SELECT array_agg(k.run_id) AS runs, array_agg(k.step_no) AS steps INTO parked FROM kept k;
    DELETE FROM millrace_internal.batch_member m
    WHERE m.batch_id = ANY (due)
      AND ((m.run_id, m.step_no) IN (SELECT * FROM unnest(parked.runs, parked.steps)) OR (m.run_id, m.step_no) NOT IN (SELECT * FROM unnest(ready.runs, ready.steps)));
    PERFORM millrace_internal.enter_agents(0::smallint, array_agg(f.run_id), array_agg(f.step_no))
    FROM (SELECT DISTINCT ON (m.batch_id) m.run_id, m.step_no
          FROM millrace_internal.batch_member m
          JOIN millrace_internal.run n ON n.run_id = m.run_id AND n.shard = m.shard
          JOIN millrace_internal.step s ON s.run_id = m.run_id AND s.step_no = m.step_no AND s.shard = m.shard
          JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
          WHERE m.batch_id = ANY (due)
          ORDER BY m.batch_id, millrace_internal.effective_priority(n.priority, d.priority), m.run_id, m.step_no) f;
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_batches_let_go(timestamptz) IS 'Lets the members of batches be ready.';

-- Purpose:   an agent that is given a member gets the rest of its batch.
-- Arguments: steps that this call has just started for the agent
-- Returns:   batches: by started step and then by added one; null: no batch. Then what was added.
-- Locks: members and step rows, SKIP LOCKED; waits for nothing. Tables changed: step, event, batch_member; ready (plain tier).
CREATE OR REPLACE FUNCTION millrace_internal.batch_take(in_shard smallint, in_agent_id integer, in_receipt_no bigint, run_ids bigint[], step_nos integer[],
    OUT batches bigint[], OUT more_runs bigint[], OUT more_steps integer[], OUT more_tokens integer[], OUT more_attempts integer[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    rest record;
    got  record;
BEGIN
    -- a step that has nobody with it is a batch of its own
    SELECT array_agg(CASE WHEN d.traits ? 'batch' THEN coalesce(m.batch_id, nextval('millrace_internal.batch_id_seq')) END ORDER BY u.ord) INTO batches
    FROM unnest(run_ids, step_nos) WITH ORDINALITY u (run_id, step_no, ord)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    LEFT JOIN LATERAL (SELECT m.batch_id FROM millrace_internal.batch_member m
                       WHERE m.run_id = u.run_id AND m.step_no = u.step_no AND m.token = s.token - 1 AND m.batch_id > 0 AND d.traits ? 'batch' LIMIT 1) m ON true
    WHERE (u.run_id & 255) = in_shard;
    IF cardinality(array_remove(batches, NULL)) = 0 THEN
        batches := NULL;
        RETURN;
    END IF;
    WITH free AS MATERIALIZED (
        SELECT m.batch_id, m.member_no, m.shard FROM millrace_internal.batch_member m
        WHERE m.batch_id IN (SELECT unnest(batches)) FOR UPDATE SKIP LOCKED),
    taken AS (
        DELETE FROM millrace_internal.batch_member m USING free f
        WHERE m.batch_id = f.batch_id AND m.member_no = f.member_no AND m.shard = f.shard RETURNING m.batch_id, m.run_id, m.step_no)
    SELECT array_agg(t.run_id ORDER BY t.run_id, t.step_no) AS runs, array_agg(t.step_no ORDER BY t.run_id, t.step_no) AS steps,
           array_agg(t.batch_id ORDER BY t.run_id, t.step_no) AS batches INTO rest
    FROM taken t WHERE NOT EXISTS (SELECT FROM unnest(run_ids, step_nos) u (run_id, step_no) WHERE u.run_id = t.run_id AND u.step_no = t.step_no);
    IF (SELECT a.protocol FROM millrace_internal.agent a WHERE a.agent_id = in_agent_id) < 2 THEN
        -- the agent knows nothing of batches: its steps, and those beside them, are handed out one by one
        batches := NULL;
        PERFORM millrace_internal.enter_agents(in_shard, rest.runs, rest.steps);
    ELSIF rest.runs IS NOT NULL THEN
        got := millrace_internal.work_start(in_shard, in_agent_id, in_receipt_no, rest.runs, rest.steps, (SELECT frozen_at FROM millrace_internal.frozen_clock));
        PERFORM millrace_internal.enter_agents(in_shard, got.held_runs, got.held_steps);
        more_runs := got.started_runs; more_steps := got.started_steps; more_tokens := got.tokens; more_attempts := got.attempts;
        batches := batches || ARRAY(SELECT r.batch_id FROM unnest(more_runs, more_steps) WITH ORDINALITY u (run_id, step_no, ord)
                                    JOIN unnest(rest.runs, rest.steps, rest.batches) r (run_id, step_no, batch_id) USING (run_id, step_no) ORDER BY u.ord);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.batch_take(smallint, integer, bigint, bigint[], integer[]) IS 'Starts the rest of the batches of which an agent was given a step.';

-- A run was cancelled or paused: those of its steps that do not gather any more leave their batches; of batches that were let go,
-- the others go into the sink, for one of those that leave may have stood there for all.
-- Tables changed: batch_member; ready (plain tier).
CREATE OR REPLACE FUNCTION millrace_internal.batch_leave(in_shard smallint, in_run_id bigint)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    left_batches bigint[];
BEGIN
    WITH gone AS (
        DELETE FROM millrace_internal.batch_member m
        WHERE m.run_id = in_run_id AND m.shard = in_shard
          AND NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = m.run_id AND s.step_no = m.step_no AND s.shard = in_shard AND s.state = 1)
        RETURNING m.batch_id)
    SELECT array_agg(DISTINCT g.batch_id) INTO left_batches FROM gone g
    WHERE g.batch_id > 0 AND NOT EXISTS (SELECT FROM millrace_internal.batch b WHERE b.batch_id = g.batch_id AND b.shard = in_shard);
    IF left_batches IS NOT NULL THEN
        PERFORM millrace_internal.enter_agents(in_shard, array_agg(m.run_id), array_agg(m.step_no))
        FROM millrace_internal.batch_member m WHERE m.batch_id = ANY (left_batches);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.batch_leave(smallint, bigint) IS 'Takes a run''s steps out of their batches.';
