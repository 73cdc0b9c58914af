-- Many runs at once: retry, resolve and cancel by a filter; and a run anew from one of its steps on.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 h');
DELETE FROM millrace_internal.dead_letter;
CREATE FUNCTION pg_temp.fail(run text, step text, class text) RETURNS text LANGUAGE sql AS $$
    SELECT a.answer FROM millrace.steps s, millrace.report(test.agent('x'), ARRAY[s.run_id], ARRAY[s.step_no], ARRAY[s.token], '{fatal}', classes => ARRAY[class]) a
    WHERE s.run_id = test.run(run) AND s.key = step
$$;
CREATE FUNCTION pg_temp.names(runs bigint[]) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(r.trace, ' ' ORDER BY u.ord), 'none') FROM unnest(runs) WITH ORDINALITY u (run_id, ord) JOIN millrace.runs r USING (run_id)
$$;

-- Six runs of two workflows, failed in different ways at different times.
SELECT test.define('bulk', 'a', 'b <- a', 'c');
SELECT test.define('bulk-other', 'a');
CREATE PROCEDURE pg_temp.make() LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    FOR n IN 1..6 LOOP
        PERFORM test.at(n * 10);
        PERFORM millrace.submit(CASE WHEN n = 6 THEN 'bulk-other' ELSE 'bulk' END, trace => 'r' || n, tenant => CASE WHEN n = 5 THEN 'acme' ELSE '' END,
                                labels => jsonb_build_object('n', n, 'odd', n % 2 = 1));
        COMMIT;
        PERFORM FROM millrace.claim(test.agent('x'), 2);
        PERFORM test.report('x', 'r' || n, 'c');
        PERFORM pg_temp.fail('r' || n, 'a', CASE WHEN n <= 2 THEN 'http:503' WHEN n = 3 THEN 'http:404' ELSE 'error' END);
        COMMIT;
    END LOOP;
END $$;
CALL pg_temp.make();
SELECT r.trace, l.error_class, test.seconds(l.failed_at) AS failed_at FROM millrace.dead_letters l JOIN millrace.runs r USING (run_id) ORDER BY 1;
SELECT pg_temp.names(array_agg(w.run_id ORDER BY w.ord)) AS everything, sum(w.steps) AS steps FROM millrace.retry_where(dry_run => true) WITH ORDINALITY w (run_id, steps, ord);
SELECT pg_temp.names(array_agg(w.run_id ORDER BY w.ord)) FROM millrace.retry_where(workflow => 'bulk', labels => '{"odd": true}', dry_run => true) WITH ORDINALITY w (run_id, steps, ord);
SELECT pg_temp.names(array_agg(run_id)) FROM millrace.retry_where(tenant => 'acme', dry_run => true);
SELECT pg_temp.names(array_agg(run_id)) FROM millrace.retry_where(error_class => 'http:5xx', dry_run => true);
SELECT pg_temp.names(array_agg(run_id)) FROM millrace.retry_where(error_class => 'http', created_from => '2030-01-01 00:00:20Z', dry_run => true);
SELECT pg_temp.names(array_agg(run_id)) FROM millrace.retry_where(failed_to => '2030-01-01 00:00:40Z', failed_from => '2030-01-01 00:00:20Z', dry_run => true);
SELECT pg_temp.names(array_agg(run_id)) FROM millrace.retry_where(key => 'a', max_runs => 2, dry_run => true);
SELECT pg_temp.names(array_agg(run_id)) FROM millrace.retry_where(key => 'b', dry_run => true);
SELECT pg_temp.names(array_agg(run_id)) FROM millrace.retry_where(states => '{running}', dry_run => true);
SELECT count(*), count(*) FILTER (WHERE state = 'failed') AS failed FROM millrace.runs WHERE workflow LIKE 'bulk%';

-- For real: only what was meant runs again.
SELECT pg_temp.names(array_agg(run_id)), sum(steps) AS steps FROM millrace.retry_where(error_class => 'http:5xx');
SELECT test.show('r1'), test.show('r2'), test.show('r3');
SELECT pg_temp.names(array_agg(run_id)) FROM millrace.retry_where(error_class => 'http:5xx');
CALL test.work('x');
SELECT test.show('r1'), test.show('r2'), test.show('r3');
SELECT pg_temp.names(array_agg(w)) FROM millrace.resolve_where('a', '{"by": "hand"}', 'somebody', 'known', labels => '{"odd": true}', dry_run => true) w;
SELECT pg_temp.names(array_agg(w)) FROM millrace.resolve_where('a', '{"by": "hand"}', 'somebody', 'known', labels => '{"odd": true}') w;
SELECT test.show('r3'), test.show('r5'), (SELECT output FROM millrace.steps WHERE run_id = test.run('r5') AND key = 'a');
SELECT event, step, data FROM test.log('r5') WHERE event IN ('step_resolved', 'run_reopened');
SELECT pg_temp.names(array_agg(w)) FROM millrace.cancel_where(workflow => 'bulk', dry_run => true) w;
SELECT pg_temp.names(array_agg(w)) FROM millrace.cancel_where(workflow => 'bulk', tenant => 'acme', reason => 'not needed') w;
SELECT test.show('r3'), test.show('r5');
SELECT event, data FROM test.log('r5') WHERE event = 'run_cancelled';

-- What runs is told; receipts of one agent over several runs are settled together.
SELECT millrace.submit_many('bulk', array_fill(NULL::jsonb, '{3}'), trace => 'many', labels => '{"batch": 7}') IS NOT NULL AS submitted;
SELECT test.claim('x', 7);
SELECT pg_temp.names(array_agg(w)) FROM millrace.cancel_where(labels => '{"batch": 7}', states => '{running}') w;
SELECT count(*) AS running FROM millrace.runs WHERE trace = 'many' AND state = 'running';
SELECT jsonb_array_length(millrace.heartbeat(test.agent('x')) -> 'revoked') AS told, (SELECT held FROM millrace.agents WHERE agent_id = test.agent('x'));
SELECT pg_temp.names(array_agg(w)) FROM millrace.cancel_where(labels => '{"batch": 7}') w;

-- A failure that has cancelled the rest: the whole run runs again; it cannot be resolved.
SELECT (millrace.define_workflow('{"workflow": "bulk-cancel", "on_failure": "cancel", "defaults": {"handler": "noop"}, "steps": [{"key": "a"}, {"key": "b"}]}')).version;
SELECT test.start('bulk-cancel', 'cancelled by failure');
SELECT test.claim('x', 2);
SELECT test.report('x', 'cancelled by failure', 'a', 'fatal');
SELECT pg_temp.names(array_agg(w)) FROM millrace.resolve_where('a', workflow => 'bulk-cancel') w;
SELECT pg_temp.names(array_agg(run_id)), sum(steps) AS steps FROM millrace.retry_where(workflow => 'bulk-cancel');
SELECT test.show('cancelled by failure');
CALL test.work('x');

-- Refused.
SELECT * FROM test.fails($$SELECT millrace.retry_where(labels => '[]')$$);
SELECT * FROM test.fails($$SELECT millrace.retry_where(states => '{completed}')$$);
SELECT * FROM test.fails($$SELECT millrace.cancel_where(states => '{NULL}')$$);
SELECT * FROM test.fails($$SELECT millrace.cancel_where(max_runs => 0)$$);
SELECT * FROM test.fails($$SELECT millrace.resolve_where(NULL)$$);

-- A fork keeps what was done up to a step, and runs the rest anew.
SELECT test.at(100);
SELECT (millrace.define_workflow('{"workflow": "fork", "defaults": {"handler": "noop"}, "deadline": "1h", "steps": [
    {"key": "a"}, {"key": "b", "needs": ["a"]}, {"key": "c", "needs": ["b"], "input": {"b": "$.needs.b", "x": "$.run.x"}}, {"key": "d", "needs": ["a"]}, {"key": "e", "needs": ["c", "d"]},
    {"key": "x", "on_error": "y"}, {"key": "y"}, {"key": "z", "needs": ["x", "y"], "rule": "none_failed"}, {"key": "w", "needs": ["a"], "when": "$.needs.a > 1"}],
    "finally": [{"key": "last"}]}')).version;
SELECT test.start('fork', 'source', '{"x": 1}');
SELECT test.claim('x', 2);
SELECT test.report('x', 'source', 'a', output => '1'), test.report('x', 'source', 'x', 'fatal', error => 'as ever');
SELECT * FROM test.fails($$SELECT millrace.fork(test.run('source'), 'e')$$);
SELECT test.claim('x', 9);
SELECT test.report('x', 'source', 'b', output => '"of b"'), test.report('x', 'source', 'd', output => '"of d"'), test.report('x', 'source', 'y');
SELECT test.claim('x', 9);
SELECT test.report('x', 'source', 'c', 'fatal'), test.report('x', 'source', 'z');
CALL test.work('x');
SELECT test.show('source');
CREATE TEMP TABLE forked AS SELECT millrace.fork(test.run('source'), 'c') AS run_id, test.run('source') AS source;
CREATE FUNCTION pg_temp.fork() RETURNS text LANGUAGE sql AS $$
    SELECT r.state || ': ' || string_agg(s.key || ' ' || s.state, ', ' ORDER BY s.step_no) FROM forked f JOIN millrace.runs r USING (run_id) JOIN millrace.steps s USING (run_id) GROUP BY r.state
$$;
SELECT pg_temp.fork();
SELECT e.kind, s.key, e.attempt, e.data - 'forked_from' - 'kept_from' AS data, (e.data ->> 'forked_from')::bigint = f.source OR (e.data ->> 'kept_from')::bigint = f.source AS of_source
FROM forked f JOIN millrace.events e USING (run_id) LEFT JOIN millrace.steps s USING (run_id, step_no) ORDER BY e.event_id;
SELECT key, output, error FROM forked JOIN millrace.steps USING (run_id) WHERE output IS NOT NULL OR error IS NOT NULL ORDER BY step_no;
SELECT r.input, r.started_at, test.seconds(r.deadline) AS deadline, r.steps_completed, r.trace FROM forked JOIN millrace.runs r USING (run_id);
SELECT key, input FROM millrace.claim(test.agent('x'), 9);
SELECT a.answer FROM forked JOIN millrace.steps s USING (run_id), millrace.report(test.agent('x'), ARRAY[s.run_id], ARRAY[s.step_no], ARRAY[s.token], '{completed}') a WHERE s.key = 'c';
CALL test.work('x');
SELECT pg_temp.fork();
SELECT state FROM forked f JOIN millrace.runs r ON r.run_id = f.source;
-- From a first step on all is new, but for what does not hang on it; from what took over on, the failure is kept.
UPDATE forked SET run_id = millrace.fork(source, 'a');
SELECT pg_temp.fork();
CALL test.work('x');
SELECT pg_temp.fork();
UPDATE forked SET run_id = millrace.fork(source, 'y');
SELECT pg_temp.fork();
CALL test.work('x');
SELECT pg_temp.fork();
SELECT * FROM test.fails($$SELECT millrace.fork(test.run('source'), 'last')$$);
SELECT * FROM test.fails($$SELECT millrace.fork(test.run('source'), 'nowhere')$$);
SELECT * FROM test.fails($$SELECT millrace.fork(-1, 'a')$$);
SELECT count(*) FROM forked JOIN millrace.runs USING (run_id) WHERE finished_at IS NULL;
