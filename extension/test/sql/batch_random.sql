-- Batches at random: runs come, agents claim, report, give back, are lost; runs are paused, resumed, cancelled. Each step is executed as
-- often as it would be by itself, and no batch has steps of different keys, or more than its definition allows.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
CREATE TABLE test.handed (batch bigint, run_id bigint, step_no integer, token integer, attempt integer, agent text, call integer, settled boolean DEFAULT false);
CREATE SEQUENCE test.call;

-- What an agent is handed is noted, and judged at once.
CREATE FUNCTION pg_temp.claim(of_agent text, steps integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
    nth   integer := nextval('test.call');
BEGIN
    INSERT INTO test.handed
    SELECT w.batch, w.run_id, w.step_no, w.token, w.attempt, of_agent, nth FROM millrace.claim(test.agent(of_agent), steps) w;
    SELECT format('batch %s of %s: %s', h.batch, of_agent, string_agg(format('%s %s', r.workflow, r.trace), ', ')) INTO wrong
    FROM test.handed h JOIN millrace.runs r USING (run_id) JOIN millrace.workflows w USING (workflow, version)
    WHERE h.call = nth
    GROUP BY h.batch, h.call
    HAVING h.batch IS NOT NULL AND (count(*) > min((w.definition #>> '{steps,0,batch,max}')::integer) OR count(DISTINCT (r.trace, r.tenant)) > 1
                                    OR count(DISTINCT w.definition #> '{steps,0,batch}') > 1 OR of_agent = 'old')
        OR h.batch IS NULL AND of_agent <> 'old'
    LIMIT 1;
    IF wrong IS NULL AND of_agent <> 'old' AND (SELECT count(DISTINCT h.batch) FROM test.handed h WHERE h.call = nth) > steps THEN
        wrong := 'more batches than were asked for';
    END IF;
    RETURN wrong;
END $$;

-- Reports some of what an agent holds: a step fails as often as its run's input says, then completes.
CREATE FUNCTION pg_temp.report(of_agent text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    SELECT array_agg(h.run_id) AS runs, array_agg(h.step_no) AS steps, array_agg(h.token) AS tokens,
           array_agg(CASE WHEN random() < 0.1 THEN 'released' WHEN h.attempt <= (i.input ->> 'fails')::integer THEN 'failed' ELSE 'completed' END) AS outcomes INTO held
    FROM (SELECT * FROM test.handed h WHERE h.agent = of_agent AND NOT h.settled ORDER BY random() LIMIT 1 + floor(random() * 12)) h
    JOIN millrace_internal.run_input i USING (run_id);
    IF held.runs IS NOT NULL THEN
        PERFORM FROM millrace.report(test.agent(of_agent), held.runs, held.steps, held.tokens, held.outcomes);
        UPDATE test.handed h SET settled = true FROM unnest(held.runs, held.tokens) u (run_id, token) WHERE h.run_id = u.run_id AND h.token = u.token;
    END IF;
END $$;

CREATE FUNCTION pg_temp.steer() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT run_id, state, random() AS dice FROM millrace.runs WHERE finished_at IS NULL AND workflow LIKE 'batched%' ORDER BY random() LIMIT 3 LOOP
        IF r.dice < 0.2 THEN
            PERFORM millrace.cancel(r.run_id);
        ELSIF r.state = 'paused' THEN
            PERFORM millrace.resume(r.run_id);
        ELSIF r.dice < 0.6 THEN
            PERFORM millrace.pause(r.run_id);
        END IF;
    END LOOP;
END $$;

CREATE PROCEDURE pg_temp.try(seed double precision, INOUT verdict text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    now_at double precision := 0;
    who    text;
BEGIN
    PERFORM setseed(seed);
    TRUNCATE test.handed;
    PERFORM test.at(0);
    PERFORM millrace.deregister_agent(agent_id) FROM millrace.agents;
    PERFORM millrace.register_agent('{default}', '{noop}', name => n, protocol => CASE n WHEN 'old' THEN 1 ELSE 2 END, lease => CASE n WHEN 'dies' THEN interval '5 s' ELSE '1 h' END, listening => false)
    FROM unnest('{x,y,old,dies}'::text[]) n;
    COMMIT;
    FOR round IN 1..60 LOOP
        now_at := now_at + random() * 3;
        PERFORM test.at(now_at);
        COMMIT;
        IF round <= 40 THEN
            PERFORM millrace.submit('batched' || 1 + floor(random() * 3)::integer, jsonb_build_object('to', n.to, 'fails', floor(random() * 3)::integer),
                                    trace => n.to::text, tenant => CASE WHEN random() < 0.3 THEN 'acme' ELSE '' END, priority => floor(random() * 3)::integer)
            FROM (SELECT floor(random() * 4)::integer AS to FROM generate_series(1, 1 + floor(random() * 8)::integer)) n;
            IF random() < 0.3 THEN
                PERFORM pg_temp.steer();
            END IF;
            COMMIT;
        END IF;
        FOREACH who IN ARRAY '{x,y,old,dies}'::text[] LOOP
            IF random() < (CASE who WHEN 'old' THEN 0.3 WHEN 'dies' THEN 0.2 ELSE 0.7 END) AND EXISTS (SELECT FROM millrace_internal.agent a WHERE a.agent_id = test.agent(who)) THEN
                verdict := pg_temp.claim(who, 1 + floor(random() * 3)::integer);
                COMMIT;
                IF verdict IS NOT NULL THEN RETURN; END IF;
                PERFORM pg_temp.report(who) WHERE who <> 'dies';
                COMMIT;
            END IF;
        END LOOP;
    END LOOP;
    -- all come to their ends
    PERFORM millrace.resume(run_id) FROM millrace.runs WHERE state = 'paused';
    COMMIT;
    FOR round IN 1..200 LOOP
        now_at := now_at + 5;
        PERFORM test.at(now_at);
        COMMIT;
        verdict := pg_temp.claim('x', 5);
        COMMIT;
        IF verdict IS NOT NULL THEN RETURN; END IF;
        PERFORM pg_temp.report(n) FROM unnest('{x,y,old}'::text[]) n;
        COMMIT;
        EXIT WHEN NOT EXISTS (SELECT FROM millrace.runs WHERE finished_at IS NULL);
    END LOOP;
    SELECT format('run %s is %s, step %s after %s tries of %s', r.run_id, r.state, s.state, s.attempts, (i.input ->> 'fails')::integer + 1) INTO verdict
    FROM millrace.runs r JOIN millrace.steps s USING (run_id) JOIN millrace_internal.run_input i USING (run_id)
    WHERE r.workflow LIKE 'batched%' AND r.state <> 'cancelled' AND s.key = 'send'
      AND (r.state <> 'completed'
           OR (SELECT count(*) FROM millrace.events e WHERE e.run_id = r.run_id AND e.step_no = s.step_no AND e.kind = 'step_completed') <> 1
           -- a lost try counts, one that was given back does not
           OR s.attempts <> (i.input ->> 'fails')::integer + 1
              AND s.attempts - 1 > (i.input ->> 'fails')::integer + (SELECT count(*) FROM millrace.events e WHERE e.run_id = r.run_id AND e.step_no = s.step_no AND e.kind = 'step_released' AND e.data ->> 'reason' = 'agent lost'))
    LIMIT 1;
    verdict := coalesce(verdict, (SELECT format('%s members are left', count(*)) FROM millrace_internal.batch_member HAVING count(*) > 0), (SELECT 'no batch had more than two steps' WHERE NOT EXISTS (SELECT FROM test.handed h GROUP BY h.batch, h.call HAVING count(h.batch) > 2)), 'each as often as by itself');
END $$;
SELECT test.define('batched1', 'send {"batch": {"max": 3, "delay": "2s", "key": "$.run.to"}, "retry": {"limit": 20, "backoff": "1s", "factor": 1}}');
SELECT test.define('batched2', 'send {"batch": {"max": 5, "delay": "4s", "key": "$.run.to", "urgent": 0}, "retry": {"limit": 20, "backoff": "1s", "factor": 1}}');
SELECT test.define('batched3', 'send {"batch": {"max": 20, "key": "$.run.to"}, "retry": {"limit": 20, "backoff": "1s", "factor": 1}}');
CALL pg_temp.try(0.11);
CALL pg_temp.try(0.29);
