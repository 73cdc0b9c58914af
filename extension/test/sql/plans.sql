-- Plans are pinned: a database in which nothing has been analysed yet must not plan scans, and keep them, that cost time
-- in what is stored.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS millrace;
\set VERBOSITY terse
SELECT workflow FROM millrace.define_workflow('{"workflow": "plans", "steps": [
    {"key": "a", "handler": "noop"}, {"key": "b", "needs": ["a"], "handler": "noop"}, {"key": "c", "needs": ["a"], "handler": "noop"},
    {"key": "d", "needs": ["b", "c"], "handler": "noop"}]}');
SELECT count(*) FROM millrace.submit_many('plans', array_fill('{}'::jsonb, ARRAY[1000]));
SELECT agent_id AS a FROM millrace.register_agent('{default}', '{noop}', listening => false) \gset
-- on the dispatcher tier a claim reads the tables until the keeper has filled the sink
DO $$
BEGIN
    WHILE (SELECT state FROM millrace_internal.dispatcher_state()) = 'cold' LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
-- (rows, not scans: making partitions and their indexes scans them, empty)
-- The statements are planned here, while the tables look small, then run on what fills them.
CREATE FUNCTION pg_temp.work(agent integer, n integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    runs bigint[]; steps integer[]; tokens integer[]; total integer := 0;
BEGIN
    SELECT array_agg(run_id), array_agg(step_no), array_agg(token) INTO runs, steps, tokens FROM millrace.claim(agent, n);
    FOR round IN 1..6 LOOP
        EXIT WHEN runs IS NULL;
        total := total + cardinality(runs);
        SELECT array_agg(run_id) FILTER (WHERE answer = 'started'), array_agg(step_no) FILTER (WHERE answer = 'started'), array_agg(token) FILTER (WHERE answer = 'started')
        INTO runs, steps, tokens
        FROM millrace.report(agent, runs, steps, tokens, array_fill('completed'::text, ARRAY[cardinality(runs)]), max_steps => n);
    END LOOP;
    RETURN total;
END $$;
BEGIN;
SELECT pg_temp.work(:a, 100) AS settled;
SELECT substring(relname FROM '^[a-z]+') AS table, sum(seq_tup_read) AS rows_scanned, sum(idx_tup_fetch) < 20 * 600 AS by_key
FROM pg_stat_xact_user_tables WHERE schemaname = 'millrace_internal' AND relname ~ '^(step|run|event)_[0-9]+$' GROUP BY 1 ORDER BY 1;
ROLLBACK;
SELECT millrace.deregister_agent(:a);
