-- Random definitions with everything that the language has, worked on by agents that complete, fail, time out and are lost at random.
-- Every run ends; what became of each step is what a reckoning of its own expects of its rule, its conditions and its kind; the log tells
-- the same story as the tables.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
\getenv wanted MILLRACE_RANDOM_DEFINITIONS
\set ECHO none
\if :{?wanted}
\else
  \set wanted 30
\endif
\set ECHO all
-- Numbers from 0 to n - 1, the same for the same words.
CREATE FUNCTION pg_temp.draw(n integer, VARIADIC words text[]) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT ((hashtext(array_to_string(words, '/')) & 2147483647) % n)
$$;
-- A definition of its own for each seed: rules, conditions, retries, delays, fan-outs, sub-runs, waits, compensations, steps of finally.
CREATE FUNCTION pg_temp.random_step(seed text, n integer, child text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    place text := seed || '.' || n;
    needs text[] := ARRAY(SELECT 's' || m FROM generate_series(1, n - 1) m WHERE pg_temp.draw(100, place, 'need', m::text) < 200 / n);
    step  jsonb := jsonb_build_object('key', 's' || n);
    kind  integer := pg_temp.draw(10, place, 'kind');
BEGIN
    IF needs <> '{}' THEN
        step := step || jsonb_build_object('needs', needs);
        CASE pg_temp.draw(9, place, 'rule')
            WHEN 0 THEN step := step || '{"rule": "all_done"}';
            WHEN 1 THEN step := step || '{"rule": "none_failed"}';
            WHEN 2 THEN step := step || '{"rule": "all_failed"}';
            WHEN 3 THEN step := step || '{"rule": "any_completed"}';
            WHEN 4 THEN step := step || jsonb_build_object('rule', format('%s.completed || !%s.failed && %s.done', needs[1], needs[cardinality(needs)], needs[1]));
            ELSE NULL;
        END CASE;
        IF pg_temp.draw(4, place, 'when') = 0 AND coalesce(step ->> 'rule', '') <> 'any_completed' THEN
            step := step || jsonb_build_object('when', jsonb_build_array('$.run.n > ' || pg_temp.draw(3, place, 'n'), format('$.needs.%s != 1', needs[1])));
        END IF;
    ELSIF pg_temp.draw(5, place, 'when') = 0 THEN
        step := step || jsonb_build_object('when', '$.run.n > ' || pg_temp.draw(3, place, 'n'));
    END IF;
    IF pg_temp.draw(3, place, 'retry') = 0 THEN
        step := step || '{"retry": {"limit": 2, "backoff": 1}}';
    END IF;
    IF pg_temp.draw(6, place, 'delay') = 0 THEN
        step := step || '{"delay": 2}';
    END IF;
    IF kind NOT IN (3, 4) AND pg_temp.draw(2, place, 'compensate') = 0 THEN
        step := step || jsonb_build_object('compensate', jsonb_build_object('handler', 'noop', 'retry', jsonb_build_object('limit', pg_temp.draw(3, place, 'undo'), 'backoff', 1)));
    END IF;
    RETURN step || CASE
        WHEN kind = 0 THEN jsonb_build_object('handler', 'noop', 'for_each', jsonb_build_object('in', '$.run.items', 'failures', CASE pg_temp.draw(2, place, 'failures') WHEN 0 THEN 'collect' ELSE 'fail_fast' END))
        WHEN kind = 1 THEN jsonb_build_object('handler', 'noop', 'for_each', jsonb_build_object('in', '$.run.items', 'parallel', 2))
        WHEN kind = 2 AND child IS NOT NULL THEN jsonb_build_object('workflow', child)
        WHEN kind = 3 THEN '{"wait_for": {"duration": 3}}'
        WHEN kind = 4 THEN '{"timeout": 2, "wait_for": {"signal": "never", "on_timeout": "skip"}}'
        ELSE '{"handler": "noop"}' END;
END $$;
CREATE FUNCTION pg_temp.random_definition(seed text, child text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('workflow', 'random-' || seed, 'steps', (SELECT jsonb_agg(pg_temp.random_step(seed, n, child) ORDER BY n) FROM generate_series(1, 2 + pg_temp.draw(7, seed, 'size')) n))
        || CASE pg_temp.draw(3, seed, 'finally') WHEN 0 THEN '{"finally": [{"key": "f1", "handler": "noop"}, {"key": "f2", "handler": "noop", "needs": ["f1"], "when": "$.ended.state == \"failed\""}]}'::jsonb ELSE '{}' END
$$;
-- An agent takes some steps, and says of each what its number draws; now and then it is lost with what it holds.
CREATE PROCEDURE pg_temp.work() LANGUAGE plpgsql AS $$
DECLARE
    turn    integer := 0;
    idle    integer := 0;
    agent   integer;
    agents  integer[];
    w       record;
    outcome integer;
BEGIN
    WHILE EXISTS (SELECT FROM millrace_internal.runs_alive(-1, 1)) LOOP
        turn := turn + 1;
        IF turn > 100000 THEN
            RAISE EXCEPTION 'some runs do not end';
        END IF;
        IF turn <= 3 OR turn % 10 = 0 THEN
            -- each tenth is never heard of again
            SELECT r.agent_id INTO agent FROM millrace.register_agent('{default}', '{noop}', name => 'w' || turn, lease => '2 s', listening => false) r;
            IF turn <= 3 THEN agents[turn] := agent; END IF;
            COMMIT;
        ELSE
            agent := agents[1 + turn % 3];
        END IF;
        idle := idle + 1;
        FOR w IN SELECT * FROM millrace.claim(agent, 1 + turn % 20) LOOP
            idle := 0;
            outcome := pg_temp.draw(20, w.run_id::text, w.step_no::text, w.token::text);
            CONTINUE WHEN turn % 10 = 0;
            PERFORM FROM millrace.report(agent, ARRAY[w.run_id], ARRAY[w.step_no], ARRAY[w.token],
                ARRAY[CASE outcome WHEN 1 THEN 'fatal' WHEN 2 THEN 'failed' WHEN 3 THEN 'timed_out' WHEN 4 THEN 'released' ELSE 'completed' END],
                CASE WHEN outcome > 4 THEN ARRAY[(outcome % 2)::text] END);
        END LOOP;
        COMMIT;
        PERFORM millrace.set_clock(millrace_internal.clock() + CASE WHEN idle > 0 THEN interval '1 s' ELSE interval '0' END);
        COMMIT;
        WHILE millrace.keep() <= millrace_internal.clock() LOOP COMMIT; END LOOP;
        COMMIT;
    END LOOP;
END $$;

-- What should have become of the main steps, reckoned from the definition and from what became of their needs.
CREATE FUNCTION pg_temp.contradictions(run bigint) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    r       record;
    d       jsonb;
    got     record;
    states  text[];
    fell    text[] := '{}';
    badly   boolean;
    holds   boolean;
    true_if boolean;
    known   jsonb;
    s       record;
BEGIN
    SELECT v.* INTO r FROM millrace.runs v WHERE v.run_id = run;
    d := (SELECT w.definition FROM millrace.workflows w WHERE w.version_id = r.version_id);
    SELECT jsonb_object_agg(key, state) AS states, coalesce(jsonb_object_agg(key, output) FILTER (WHERE output IS NOT NULL), '{}') AS outputs
    INTO got FROM millrace.steps WHERE run_id = run AND element IS NULL AND key NOT LIKE 'compensate:%';
    FOR s IN SELECT step FROM jsonb_array_elements(d -> 'steps') WITH ORDINALITY e (step, ord) ORDER BY ord LOOP
        states := ARRAY(SELECT got.states ->> n FROM jsonb_array_elements_text(s.step -> 'needs') n);
        badly := EXISTS (SELECT FROM jsonb_array_elements_text(s.step -> 'needs') n WHERE got.states ->> n IN ('failed', 'cancelled') OR n = ANY (fell));
        known := (SELECT coalesce(jsonb_object_agg(n, got.outputs -> n) FILTER (WHERE got.outputs ? n), '{}') FROM jsonb_array_elements_text(s.step -> 'needs') n);
        holds := CASE coalesce(s.step ->> 'rule', 'all_completed')
            WHEN 'all_completed' THEN 'completed' = ALL (states)
            WHEN 'all_done' THEN true
            WHEN 'none_failed' THEN NOT badly
            WHEN 'all_failed' THEN NOT EXISTS (SELECT FROM jsonb_array_elements_text(s.step -> 'needs') n WHERE got.states ->> n NOT IN ('failed') AND n <> ALL (fell))
            WHEN 'any_completed' THEN 'completed' = ANY (states)
            ELSE states[1] = 'completed' OR states[cardinality(states)] <> 'failed' END;
        true_if := NOT s.step ? 'when' OR (
            SELECT bool_and(coalesce(jsonb_path_match(jsonb_build_object('run', r.input, 'needs', known), c::jsonpath, '{}', true), false))
            FROM jsonb_array_elements_text(CASE jsonb_typeof(s.step -> 'when') WHEN 'array' THEN s.step -> 'when' ELSE jsonb_build_array(s.step -> 'when') END) c);
        IF NOT holds AND badly AND coalesce(s.step ->> 'rule', 'all_completed') IN ('all_completed', 'none_failed', 'any_completed') THEN
            fell := fell || (s.step ->> 'key');
        END IF;
        IF (holds AND true_if AND NOT s.step ? 'wait_for' AND got.states ->> (s.step ->> 'key') NOT IN ('completed', 'failed'))
           OR (holds AND true_if AND s.step -> 'wait_for' ? 'duration' AND got.states ->> (s.step ->> 'key') <> 'completed')
           OR (NOT (holds AND true_if) AND got.states ->> (s.step ->> 'key') <> 'skipped') THEN
            RETURN NEXT format('%s of %s is %s; its rule %s, its condition %s: %s', s.step ->> 'key', r.workflow, got.states ->> (s.step ->> 'key'), holds, true_if, got.states);
        END IF;
        -- a fan-out is what its elements are
        IF s.step ? 'for_each' AND holds AND true_if THEN
            RETURN QUERY
            SELECT format('%s of %s is %s, its elements %s, its output %s', s.step ->> 'key', r.workflow, got.states ->> (s.step ->> 'key'), e.states, got.outputs -> (s.step ->> 'key'))
            FROM (SELECT array_agg(n.state ORDER BY n.element) AS states, coalesce(jsonb_agg(CASE WHEN n.state = 'completed' THEN n.output END ORDER BY n.element), '[]') AS outputs
                  FROM millrace.steps n WHERE n.run_id = run AND n.key = s.step ->> 'key' AND n.element IS NOT NULL) e
            WHERE CASE got.states ->> (s.step ->> 'key')
                  WHEN 'completed' THEN coalesce(cardinality(e.states), 0) <> jsonb_array_length(r.input -> 'items') OR e.outputs <> got.outputs -> (s.step ->> 'key')
                       OR ('failed' = ANY (e.states) AND s.step -> 'for_each' ->> 'failures' IS DISTINCT FROM 'collect')
                  ELSE NOT 'failed' = ANY (e.states) END;
        END IF;
        -- a sub-run ends as its latest child
        IF s.step ? 'workflow' AND holds AND true_if THEN
            RETURN QUERY
            SELECT format('%s of %s is %s, its run %s', s.step ->> 'key', r.workflow, got.states ->> (s.step ->> 'key'), c.state)
            FROM (SELECT c.state FROM millrace.runs c JOIN millrace.steps n ON n.run_id = run AND n.key = s.step ->> 'key' AND n.step_no = c.parent_step_no
                  WHERE c.parent_run_id = run ORDER BY c.run_id DESC LIMIT 1) c
            WHERE c.state <> got.states ->> (s.step ->> 'key');
        END IF;
    END LOOP;
    -- the run ends as its steps, and the steps of finally begin behind all others
    IF r.state <> (CASE WHEN EXISTS (SELECT FROM jsonb_each_text(got.states) e WHERE e.value = 'failed') THEN 'failed' ELSE 'completed' END) THEN
        RETURN NEXT format('%s is %s: %s', r.workflow, r.state, got.states);
    END IF;
    RETURN QUERY
    SELECT format('%s of %s ended after the steps of finally had begun', n.key, r.workflow)
    FROM millrace.steps n JOIN millrace.events e USING (run_id, step_no)
    WHERE n.run_id = run AND n.key LIKE 's%' AND e.event_id > (SELECT min(f.event_id) FROM millrace.events f JOIN millrace.steps g USING (run_id, step_no) WHERE f.run_id = run AND g.key LIKE 'f%')
      AND e.kind IN ('step_completed', 'step_failed', 'step_skipped', 'step_started');
    -- a run that has failed has undone what had completed of its main steps, the last first, one after the other, between them and those of finally
    RETURN QUERY
    WITH told AS (
        SELECT n.key || coalesce('[' || n.element || ']', '') AS name, n.key, n.state, e.first, e.started, e.last, e.completed
        FROM millrace.steps n
        CROSS JOIN LATERAL (SELECT min(e.event_id) AS first, min(e.event_id) FILTER (WHERE e.kind = 'step_started') AS started, max(e.event_id) AS last,
                                   max(e.event_id) FILTER (WHERE e.kind = 'step_completed') AS completed
                            FROM millrace.events e WHERE e.run_id = run AND e.step_no = n.step_no) e
        WHERE n.run_id = run),
    undone AS (SELECT t.*, lag(t.last) OVER (ORDER BY t.first) AS before FROM told t WHERE t.key LIKE 'compensate:%'),
    reckoned AS (
        SELECT coalesce(array_agg('compensate:' || t.name ORDER BY t.completed DESC), '{}') AS expected
        FROM told t JOIN jsonb_array_elements(d -> 'steps') step ON step ->> 'key' = t.key AND step ? 'compensate'
        WHERE r.state = 'failed' AND EXISTS (SELECT FROM jsonb_each_text(got.states) main WHERE main.key LIKE 's%' AND main.value = 'failed')
          AND t.state = 'completed' AND (NOT step ? 'for_each' OR t.name LIKE '%]')),
    ended AS (SELECT e.data FROM millrace.events e WHERE e.run_id = run AND e.kind IN ('run_completed', 'run_failed') ORDER BY e.event_id DESC LIMIT 1)
    SELECT format('%s (%s) has undone %s, not %s', r.workflow, r.state, u.names, k.expected)
    FROM reckoned k, (SELECT coalesce(array_agg(u.name ORDER BY u.first), '{}') AS names FROM undone u) u WHERE u.names <> k.expected
    UNION ALL
    SELECT format('%s of %s began before what comes before it had ended', u.name, r.workflow) FROM undone u
    WHERE u.first < greatest(u.before, (SELECT max(t.last) FROM told t WHERE t.key LIKE 's%')) OR u.last > (SELECT min(t.first) FROM told t WHERE t.key LIKE 'f%')
    UNION ALL
    SELECT format('%s tells %s, not %s', r.workflow, e.data, u.names)
    FROM ended e, (SELECT jsonb_agg(u.name ORDER BY u.first) AS names FROM undone u WHERE u.state <> 'completed') u
    WHERE e.data -> 'not_compensated' IS DISTINCT FROM u.names;
    -- the last event of each step tells its state
    RETURN QUERY
    SELECT format('%s[%s] of %s is %s, its last event %s', n.key, n.element, r.workflow, n.state, e.kind)
    FROM millrace.steps n
    LEFT JOIN LATERAL (SELECT e.kind FROM millrace.events e WHERE e.run_id = n.run_id AND e.step_no = n.step_no ORDER BY e.event_id DESC LIMIT 1) e ON true
    WHERE n.run_id = run AND e.kind IS DISTINCT FROM 'step_' || n.state;
END $$;

SELECT count(*) FROM (SELECT millrace.define_workflow(pg_temp.random_definition('child-' || i, NULL)) FROM generate_series(1, 5) i) defined;
SELECT count(*) = :wanted AS defined FROM (SELECT millrace.define_workflow(pg_temp.random_definition(i::text, 'random-child-' || i % 5 + 1)) FROM generate_series(1, :wanted) i) defined;
SELECT test.at(0);
SELECT count(*) = 2 * :wanted AS submitted
FROM generate_series(1, :wanted) i, generate_series(1, 2) n,
     millrace.submit('random-' || i, jsonb_build_object('n', pg_temp.draw(4, 'n', i::text, n::text), 'items', (SELECT coalesce(jsonb_agg(e), '[]') FROM generate_series(1, pg_temp.draw(6, 'items', i::text, n::text)) e)));
CALL pg_temp.work();
SELECT c.* FROM millrace.runs r, pg_temp.contradictions(r.run_id) c WHERE r.workflow LIKE 'random-%' LIMIT 10;
-- All that was asked for has come about somewhere.
SELECT count(DISTINCT state) AS run_states, bool_or(parent_run_id IS NOT NULL) AS sub_runs FROM millrace.runs WHERE workflow LIKE 'random-%';
SELECT bool_or(s.state = 'completed') AS undone, bool_or(s.element IS NOT NULL) AS elements
FROM millrace.steps s JOIN millrace.runs r USING (run_id) WHERE r.workflow LIKE 'random-%' AND s.key LIKE 'compensate:%';
SELECT count(*) FROM millrace_internal.timer t JOIN millrace.runs r USING (run_id) WHERE r.workflow LIKE 'random-%' AND t.due_at <= millrace_internal.clock();
SELECT millrace.set_clock(NULL);
