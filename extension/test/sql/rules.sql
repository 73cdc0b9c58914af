-- What becomes of steps when those they need have ended: rules, and what falls with a failure.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');

-- A chain falls to its end; the run has failed.
SELECT test.define('rules-chain', 'a', 'b <- a', 'c <- b', 'd <- c');
SELECT test.start('rules-chain', 'chain');
CALL test.work('x', '{b}');
SELECT test.show('chain');
SELECT event, step FROM test.log('chain');

-- A diamond: the other side runs on; the join falls with its last need.
SELECT test.define('rules-diamond', 'a', 'b <- a', 'c <- a', 'd <- b c', 'e <- d');
SELECT test.start('rules-diamond', 'diamond');
SELECT test.claim('x');
SELECT test.report('x', 'diamond', 'a', steps => 2);
SELECT test.report('x', 'diamond', 'b', 'fatal');
SELECT test.show('diamond');
SELECT test.report('x', 'diamond', 'c');
SELECT test.show('diamond');
SELECT event, step FROM test.log('diamond');

-- all_done runs whatever became of its needs: after failures, after skips, after both.
SELECT test.define('rules-done', 'a', 'b', 'c <- a', 'cleanup <- c b {"rule": "all_done"}', 'after <- cleanup', 'strict <- cleanup b');
SELECT test.start('rules-done', 'done');
CALL test.work('x', '{a,b}');
SELECT test.show('done');
SELECT test.start('rules-done', 'mixed');
CALL test.work('x', '{a}');
SELECT test.show('mixed');
SELECT test.start('rules-done', 'fine');
CALL test.work('x');
SELECT test.show('fine');
SELECT test.start('rules-done', 'cleanup fails');
CALL test.work('x', '{cleanup}');
SELECT test.show('cleanup fails');

-- An implied edge past an all_done step is counted: the failure is not lost on the way.
SELECT test.define('rules-past', 'a', 'b <- a {"rule": "all_done"}', 'c <- b a');
SELECT test.start('rules-past', 'past');
CALL test.work('x', '{a}');
SELECT test.show('past');

-- A closing step that is skipped ends the run as well as any; so does one beside others that still run.
SELECT test.define('rules-closing', 'a', 'b <- a', 'c');
SELECT test.start('rules-closing', 'closing');
SELECT test.claim('x', 2);
SELECT test.report('x', 'closing', 'a', 'fatal');
SELECT test.show('closing');
SELECT test.report('x', 'closing', 'c');
SELECT test.show('closing');
SELECT test.start('rules-closing', 'other way');
SELECT test.claim('x', 2);
SELECT test.report('x', 'other way', 'c');
SELECT test.report('x', 'other way', 'a', 'fatal');
SELECT test.show('other way');

-- Several failures in one report, over a join and in two runs.
SELECT test.define('rules-two', 'a', 'b', 'c <- a b', 'd <- a', 'e <- c d {"rule": "all_done"}');
SELECT test.start('rules-two', 'one');
SELECT test.start('rules-two', 'two');
SELECT test.claim('x', 4);
SELECT DISTINCT answer FROM millrace.report(test.agent('x'), ARRAY[test.run('one'), test.run('one'), test.run('two'), test.run('two')],
    (SELECT array_agg(step_no ORDER BY run_id, key) FROM millrace.steps WHERE run_id IN (test.run('one'), test.run('two')) AND key IN ('a', 'b')), '{1,1,1,1}',
    '{fatal,fatal,completed,fatal}');
SELECT test.show('one');
SELECT test.show('two');
CALL test.work('x');
SELECT test.show('one');
SELECT test.show('two');

-- Deep and wide: everything below the failure falls in one transaction, nothing beside it.
SELECT (millrace.define_workflow(jsonb_build_object('workflow', 'rules-deep', 'defaults', '{"handler": "noop"}'::jsonb, 'steps',
    (SELECT jsonb_agg(jsonb_build_object('key', 's' || n, 'needs', CASE WHEN n > 1 THEN jsonb_build_array('s' || n - 1) ELSE '[]' END)) FROM generate_series(1, 3000) n)))).steps;
SELECT test.start('rules-deep', 'deep');
SELECT test.claim('x');
SELECT test.report('x', 'deep', 's1', 'fatal');
SELECT state, steps_failed, steps_skipped FROM millrace.runs WHERE run_id = test.run('deep');
SELECT (millrace.define_workflow(jsonb_build_object('workflow', 'rules-wide', 'defaults', '{"handler": "noop"}'::jsonb, 'steps',
    (SELECT jsonb_agg(jsonb_build_object('key', 'w' || n, 'needs', CASE WHEN n = 1 THEN '[]' WHEN n = 1000 THEN (SELECT jsonb_agg('w' || m) FROM generate_series(2, 999) m) ELSE '["w1"]' END))
     FROM generate_series(1, 1000) n)))).edges;
SELECT test.start('rules-wide', 'wide');
SELECT test.claim('x');
SELECT count(*) FROM test.report('x', 'wide', 'w1');
SELECT count(*) FROM millrace.claim(test.agent('x'), 2000);
SELECT answer, count(*) FROM millrace.report(test.agent('x'), array_fill(test.run('wide'), '{998}'), ARRAY(SELECT generate_series(2, 999)), array_fill(1, '{998}'),
    array_fill('completed'::text, '{997}') || 'fatal'::text) GROUP BY 1;
SELECT state, steps_completed, steps_failed, steps_skipped FROM millrace.runs WHERE run_id = test.run('wide');

-- on_failure: cancel ends the rest in the same transaction, and the run as failed.
SELECT (millrace.define_workflow('{"workflow": "rules-cancel", "on_failure": "cancel", "defaults": {"handler": "noop"},
    "steps": [{"key": "a"}, {"key": "b"}, {"key": "c"}, {"key": "d", "needs": ["a"]}, {"key": "e", "needs": ["b"]}]}')).steps;
SELECT test.start('rules-cancel', 'cancel');
SELECT test.claim('x', 2);
SELECT test.report('x', 'cancel', 'a', 'fatal', error => 'stop all');
SELECT test.show('cancel');
SELECT * FROM test.log('cancel');
SELECT jsonb_path_query_array(millrace.heartbeat(test.agent('x')), '$.revoked[*].reason') AS revoked;
SELECT test.report('x', 'cancel', 'b');
CALL test.work('x');

-- on_failure: cancel when the failure ends the run anyway.
SELECT (millrace.define_workflow('{"workflow": "rules-cancel-last", "on_failure": "cancel", "defaults": {"handler": "noop"}, "steps": [{"key": "a"}]}')).steps;
SELECT test.start('rules-cancel-last', 'last');
CALL test.work('x', '{a}');
SELECT test.show('last');
SELECT event FROM test.log('last');

-- Nothing is left behind.
SELECT held FROM millrace.agents WHERE name = 'x';
