-- Signals, answers, time, agents and operators in any order, over steps that wait: a run has ended exactly when all its steps have; each
-- step that waits has its wait, and no other; no signal that has come is overlooked; what is left alone comes to its end.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 h');
SELECT version FROM millrace.define_workflow('{"workflow": "waits", "defaults": {"handler": "noop"}, "steps": [
    {"key": "a"}, {"key": "b", "wait_for": {"signal": "s"}}, {"key": "c", "needs": ["a"], "wait_for": {"signal": "t"}, "timeout": 2},
    {"key": "d", "needs": ["a"], "wait_for": {"signal": "s", "on_timeout": "skip"}, "timeout": 1, "delay": 1}, {"key": "e", "needs": ["b", "c"], "wait_for": {"duration": 1}},
    {"key": "f", "needs": ["c", "d"], "rule": "all_done", "wait_for": {"person": {"answer": {"type": "integer"}}}, "timeout": 3, "retry": {"limit": 1, "backoff": 1}},
    {"key": "g", "needs": ["a"], "wait_for": {"person": {"candidates": ["ann"]}, "on_timeout": "complete"}, "timeout": 2}, {"key": "h", "needs": ["e", "f", "g"], "rule": "any_completed"},
    {"key": "i", "needs": ["h"], "rule": "all_done", "wait_for": {"signal": "t"}}, {"key": "j", "needs": ["d", "g"], "rule": "none_failed", "wait_for": {"duration": 0}}],
    "finally": [{"key": "z", "wait_for": {"signal": "s", "on_timeout": "complete"}, "timeout": 1}]}');
SELECT version FROM millrace.define_workflow('{"workflow": "followers", "steps": [{"key": "w", "wait_for": {"run": "$.run"}, "retry": {"limit": 1, "backoff": 1}}, {"key": "v", "needs": ["w"], "rule": "all_done", "handler": "noop"}]}');

-- One act of somebody on some run; what does not fit its state is refused.
CREATE FUNCTION pg_temp.act() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    run   bigint := (SELECT run_id FROM millrace.runs WHERE workflow IN ('waits', 'followers') ORDER BY random() LIMIT 1);
    step  text := (SELECT key FROM millrace.steps WHERE run_id = run ORDER BY random() LIMIT 1);
    asked record;
    what  integer := floor(random() * 20);
BEGIN
    SELECT run_id, key INTO asked FROM millrace.inbox ORDER BY random() LIMIT 1;
    CASE
        WHEN what <= 2 THEN PERFORM FROM millrace.claim(test.agent('x'), 1 + floor(random() * 3)::integer);
        WHEN what <= 5 THEN PERFORM test.report_some('x', 3, '{completed,completed,completed,failed,released}', floor(random() * 3)::integer);
        WHEN what <= 7 THEN PERFORM millrace.signal(run, (ARRAY['s', 't'])[1 + floor(random() * 2)], '1');
        WHEN what <= 9 THEN PERFORM millrace.complete_human_step(asked.run_id, asked.key, '7');
        WHEN what = 10 THEN PERFORM millrace.complete_human_step(run, step, '7');
        WHEN what = 11 THEN PERFORM millrace.claim_human_step(asked.run_id, asked.key, (ARRAY['ann', 'bob'])[1 + floor(random() * 2)]);
        WHEN what = 12 THEN PERFORM millrace.pause(run);
        WHEN what <= 14 THEN PERFORM millrace.resume(run);
        WHEN what = 15 THEN PERFORM millrace.retry(run, CASE WHEN random() < 0.5 THEN step END);
        WHEN what = 16 THEN PERFORM millrace.resolve(run, step);
        WHEN what = 17 AND random() < 0.3 THEN PERFORM millrace.cancel(run);
        ELSE PERFORM test.second_passes();
    END CASE;
EXCEPTION WHEN OTHERS THEN
    IF SQLSTATE NOT IN ('MR013', 'MR015', 'MR031', 'MR032', 'MR033', 'MR034', 'MR035', 'MR036', 'MR037', 'MR038') THEN
        RAISE;
    END IF;
END $$;
CREATE VIEW pg_temp.contradiction AS
SELECT * FROM test.contradictions('waits', 'followers')
UNION ALL
SELECT 'step', format('%s: state %s, wait %s', coalesce(s.step_no, w.step_no), s.state, w.step_no)
FROM (SELECT * FROM millrace_internal.step WHERE state = 5) s FULL JOIN millrace_internal.wait w ON w.run_id = s.run_id AND w.step_no = s.step_no AND w.token = s.token
WHERE s.step_no IS NULL OR w.step_no IS NULL;
-- What is due, and yet waits.
CREATE VIEW pg_temp.overlooked AS
SELECT w.kind, w.signal FROM millrace_internal.wait w
LEFT JOIN millrace_internal.signal g ON g.run_id = w.run_id AND g.name = w.signal
LEFT JOIN millrace_internal.run r ON r.run_id = w.awaited_run_id
WHERE g.run_id IS NOT NULL OR r.finished_at IS NOT NULL OR least(w.over_at, w.expires_at) <= millrace_internal.clock();

CREATE PROCEDURE pg_temp.storm(seed double precision, INOUT verdict text DEFAULT 'no contradiction') LANGUAGE plpgsql AS $$
BEGIN
    PERFORM setseed(seed);
    PERFORM millrace.submit_many('followers', array_agg(to_jsonb(run_id))) FROM millrace.submit_many('waits', array_fill(NULL::jsonb, '{3}')) run_id;
    COMMIT;
    FOR i IN 1..200 LOOP
        PERFORM pg_temp.act();
        COMMIT;
        IF EXISTS (SELECT FROM pg_temp.contradiction) THEN
            verdict := (SELECT format('after act %s: %s: %s', i, state, what) FROM pg_temp.contradiction LIMIT 1);
            RETURN;
        END IF;
        IF i % 10 = 0 THEN
            WHILE millrace.keep() <= millrace_internal.clock() LOOP COMMIT; END LOOP;
            COMMIT;
            IF EXISTS (SELECT FROM pg_temp.overlooked) THEN
                verdict := (SELECT format('after act %s: overlooked %s %s', i, kind, signal) FROM pg_temp.overlooked LIMIT 1);
                RETURN;
            END IF;
        END IF;
    END LOOP;
END $$;
CALL pg_temp.storm(0.11);
CALL pg_temp.storm(0.37);
CALL pg_temp.storm(0.64);
CALL pg_temp.storm(0.88);

-- Left alone, with everything that is waited for.
SELECT millrace.resume(run_id) FROM millrace.runs WHERE workflow IN ('waits', 'followers') AND state = 'paused' \g /dev/null
CREATE PROCEDURE pg_temp.finish() LANGUAGE plpgsql AS $$
BEGIN
    WHILE EXISTS (SELECT FROM millrace.runs WHERE workflow IN ('waits', 'followers') AND finished_at IS NULL) LOOP
        PERFORM test.second_passes();
        COMMIT;
        BEGIN
            PERFORM millrace.signal(run_id, name) FROM millrace.runs, unnest('{s,t}'::text[]) name WHERE workflow = 'waits' AND finished_at IS NULL;
            PERFORM millrace.complete_human_step(run_id, key, '7') FROM millrace.inbox;
        EXCEPTION WHEN SQLSTATE 'MR036' OR SQLSTATE 'MR037' OR deadlock_detected THEN
            NULL;   -- the keeper was faster, or took the same runs in another order: the next round comes
        END;
        COMMIT;
        PERFORM FROM millrace.claim(test.agent('x'), 100);
        COMMIT;
        PERFORM test.report_some('x', 100, '{completed}');
        COMMIT;
    END LOOP;
END $$;
SET statement_timeout = '5min';
CALL pg_temp.finish();
RESET statement_timeout;
SELECT workflow, count(*), count(*) FILTER (WHERE finished_at IS NULL) AS alive FROM millrace.runs WHERE workflow IN ('waits', 'followers') GROUP BY 1 ORDER BY 1;
SELECT (SELECT count(*) FROM pg_temp.contradiction) AS contradictions, (SELECT count(*) FROM millrace_internal.wait) AS waits, held FROM millrace.agents WHERE name = 'x';
