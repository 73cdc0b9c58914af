-- Whatever clients, agents, operators and time do to runs, in any order: a run has ended exactly when all its steps have,
-- and what is left alone comes to its end, with nothing left behind.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 h');
SELECT test.define('steering', 'a {"retry": {"limit": 1, "backoff": 0}}', 'b <- a', 'c <- a {"rule": "all_done"}', 'd <- b c', 'e <- d {"rule": "all_done"}', 'f', 'g <- f e',
    'h <- b {"delay": 1}', 'i <- h {"rule": "all_done"}', 'j <- a f {"rule": "any_completed"}', 'k <- b c {"rule": "none_failed"}', 'l <- b {"rule": "all_failed"}',
    'm <- k l j {"rule": "k.completed || l.completed"}',
    'n <- f {"on_error": "o", "deadline": 20}', 'o', 'p <- n o {"rule": "none_failed"}');

-- One act of somebody on some run; what does not fit its state is refused.
CREATE FUNCTION pg_temp.act() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    run   bigint := (SELECT run_id FROM millrace.runs WHERE workflow = 'steering' ORDER BY random() LIMIT 1);
    step  text := (SELECT key FROM millrace.steps WHERE run_id = run ORDER BY random() LIMIT 1);
    what  integer := floor(random() * 14);
BEGIN
    CASE
        WHEN what <= 4 THEN PERFORM FROM millrace.claim(test.agent('x'), 1 + floor(random() * 3)::integer);
        WHEN what <= 7 THEN PERFORM test.report_some('x', 3, '{completed,completed,failed,fatal,released}', floor(random() * 3)::integer);
        WHEN what = 8 THEN PERFORM millrace.pause(run);
        WHEN what = 9 THEN PERFORM millrace.resume(run);
        WHEN what = 10 THEN PERFORM millrace.retry(run, CASE WHEN random() < 0.5 THEN step END);
        WHEN what = 11 THEN PERFORM millrace.resolve(run, step);
        WHEN what = 12 AND random() < 0.3 THEN PERFORM millrace.cancel(run);
        ELSE PERFORM test.second_passes();
    END CASE;
EXCEPTION WHEN SQLSTATE 'MR031' OR SQLSTATE 'MR032' OR SQLSTATE 'MR033' OR SQLSTATE 'MR034' OR SQLSTATE 'MR035' THEN
    NULL;
END $$;
CREATE VIEW pg_temp.contradiction AS
SELECT * FROM test.contradictions('steering')
UNION ALL
SELECT r.state, CASE WHEN a.run_id IS NULL THEN 'not found among the runs that are alive' ELSE 'found among the runs that are alive' END
FROM (SELECT * FROM millrace.runs WHERE workflow = 'steering') r LEFT JOIN millrace_internal.runs_alive(-1, 1000000) a USING (run_id)
WHERE (r.finished_at IS NULL) <> (a.run_id IS NOT NULL);

CREATE PROCEDURE pg_temp.storm(seed double precision, INOUT found text DEFAULT 'no contradiction') LANGUAGE plpgsql AS $$
BEGIN
    PERFORM setseed(seed);
    PERFORM millrace.submit_many('steering', array_fill(NULL::jsonb, '{3}'));
    COMMIT;
    FOR i IN 1..150 LOOP
        PERFORM pg_temp.act();
        COMMIT;
        PERFORM millrace_internal.keep_run_horizon(1);
        COMMIT;
        IF EXISTS (SELECT FROM pg_temp.contradiction) THEN
            found := (SELECT format('after act %s: %s: %s', i, state, what) FROM pg_temp.contradiction LIMIT 1);
            RETURN;
        END IF;
    END LOOP;
END $$;
CALL pg_temp.storm(0.17);
CALL pg_temp.storm(0.42);
CALL pg_temp.storm(0.58);
CALL pg_temp.storm(0.93);

-- Left alone, with an agent that completes everything.
SELECT millrace.resume(run_id) FROM millrace.runs WHERE workflow = 'steering' AND state = 'paused' \g /dev/null
CREATE PROCEDURE pg_temp.finish() LANGUAGE plpgsql AS $$
BEGIN
    WHILE EXISTS (SELECT FROM millrace.runs WHERE workflow = 'steering' AND finished_at IS NULL) LOOP
        PERFORM test.second_passes();
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
SELECT count(*), count(*) FILTER (WHERE finished_at IS NULL) AS alive FROM millrace.runs WHERE workflow = 'steering';
SELECT held FROM millrace.agents WHERE name = 'x';
SELECT test.claim('x', 100);
