-- Reports: fenced by agent and token, judged row by row, and handing work on.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', '{noop,http}'), test.register('y', '{noop,http}');

-- In order: applied, of another agent, done already, a token of the past, of the future, of nobody, unknown steps and runs.
SELECT test.define('report', 'a', 'b', 'c', 'd <- a');
SELECT test.start('report', 'r');
SELECT test.claim('x', 2);
SELECT test.claim('y');
SELECT test.report('x', 'r', 'a', output => '{"n": 1}');
SELECT test.report('x', 'r', 'a');
SELECT test.report('x', 'r', 'c');
SELECT test.report('x', 'r', 'd');
SELECT answer, code, regexp_replace(message, '(of run) \d+', '\1 #') AS message, run_id = test.run('r') AS run, step_no, token
FROM millrace.report(test.agent('x'), ARRAY[test.run('r'), test.run('r'), test.run('r'), test.run('r'), -5, NULL], '{2,2,2,99,1,1}', '{0,2,-1,1,1,NULL}', array_fill('completed'::text, '{6}'));
SELECT test.show('r');
SELECT test.report('y', 'r', 'c');
SELECT test.report('x', 'r', 'b');
CALL test.work('x');
SELECT test.show('r');

-- Twice in one report: once.
SELECT test.start('report', 'twice');
SELECT test.claim('x', 3);
SELECT answer FROM millrace.report(test.agent('x'), ARRAY[test.run('twice'), test.run('twice')], '{1,1}', '{1,1}', '{completed,failed}');
SELECT test.show('twice');
SELECT count(*) FROM test.log('twice') WHERE step = 'a';

-- A bad row is rejected alone: no JSON, a NUL character, too large, an unknown outcome. The agent still has it.
SELECT test.define('report-rows', 'a', 'b', 'c', 'd', 'e', 'f');
SELECT test.start('report-rows', 'rows');
SELECT test.claim('x', 10);
SELECT step_no, answer, code, message FROM millrace.report(test.agent('x'), array_fill(test.run('rows'), '{6}'), '{1,2,3,4,5,6}', '{1,1,1,1,1,1}',
    '{completed,completed,completed,completed,done,completed}',
    ARRAY['{"ok": true}', '{', '"\u0000"', to_jsonb(repeat('x', 1048576))::text, NULL, '"\ud800"']);
SELECT test.show('rows');
SELECT test.report('x', 'rows', 'b', 'fatal', error => 'its output was no JSON');
SELECT key, state, output, error FROM millrace.steps WHERE run_id = test.run('rows') ORDER BY step_no;
SELECT answer, code, message FROM millrace.report(test.agent('x'), ARRAY[test.run('rows')], '{3}', '{1}', ARRAY[NULL]);
SELECT * FROM test.fails($$SELECT millrace.report(test.agent('x'), '{1}', '{1}', '{1}', '{completed}', ARRAY[convert_from('\xff', 'UTF8')])$$);

-- Outputs: any JSON, or none; what comes with a failure is not kept.
SELECT test.define('report-outputs', 'a', 'b', 'c', 'd', 'e');
SELECT test.start('report-outputs', 'outputs');
SELECT test.claim('x', 10);
SELECT answer FROM millrace.report(test.agent('x'), array_fill(test.run('outputs'), '{5}'), '{1,2,3,4,5}', '{1,1,1,1,1}', '{completed,completed,completed,completed,fatal}',
    ARRAY[NULL, 'null', ' [1, {"a": 2}] ', '"text"', '1'], ARRAY[NULL, 'ignored', NULL, NULL, 'reason'], ARRAY[NULL, 0, 1.5, 0.001, 2]);
SELECT key, state, output, error, elapsed FROM millrace.steps WHERE run_id = test.run('outputs') ORDER BY step_no;

-- Times that nobody can have measured count as none; a long error is cut.
SELECT test.start('report-outputs', 'odd');
SELECT test.claim('x', 10);
SELECT answer FROM millrace.report(test.agent('x'), array_fill(test.run('odd'), '{5}'), '{1,2,3,4,5}', '{1,1,1,1,1}', '{completed,completed,completed,completed,fatal}',
    NULL, ARRAY[NULL, NULL, NULL, NULL, repeat('x', 100000)], '{NaN,Infinity,-1,1e300,3}');
SELECT key, state, elapsed, length(error) FROM millrace.steps WHERE run_id = test.run('odd') ORDER BY step_no;

-- Hand-over: a report starts what it made ready, within what the agent asks for and serves; else others can claim it.
SELECT test.define('report-chain', 'a', 'b <- a', 'c <- b {"handler": "unserved"}', 'd <- b');
SELECT test.start('report-chain', 'chain');
SELECT test.claim('x');
SELECT test.report('x', 'chain', 'a', steps => 5);
SELECT test.report('x', 'chain', 'b', steps => 5);
SELECT test.show('chain');
SELECT test.report('x', 'chain', 'd', steps => 5);
SELECT millrace.cancel(test.run('chain'));

-- What waits already goes first: more urgent, or of an older run.
SELECT test.define('report-single', 's');
SELECT test.start('report-chain', 'mine');
SELECT test.claim('x');
SELECT test.start('report-single', 'urgent', priority => -1);
SELECT test.report('x', 'mine', 'a', steps => 1);
SELECT test.show('mine');
SELECT test.report('x', 'urgent', 's', steps => 1);
SELECT millrace.cancel(test.run('mine'));

-- A fan-out: as many as asked for, best first; the rest is for others. A join is started by the last of its needs.
SELECT test.define('report-fan', 'a', 'b <- a', 'c <- a', 'd <- a {"priority": -1}', 'e <- b c d');
SELECT test.start('report-fan', 'fan');
SELECT test.claim('x');
SELECT test.report('x', 'fan', 'a', steps => 2);
SELECT test.claim('y', 5);
SELECT test.report('x', 'fan', 'd', steps => 5);
SELECT answer, key FROM millrace.report(test.agent('x'), ARRAY[test.run('fan')], ARRAY[2], '{1}', '{completed}', max_steps => 5);
SELECT test.report('y', 'fan', 'c', steps => 5);
SELECT test.report('y', 'fan', 'e', steps => 5);
SELECT test.show('fan');

-- One report over several steps and runs, the join's needs among them.
SELECT test.start('report-fan', 'one'), test.start('report-fan', 'two');
SELECT test.claim('x', 2);
SELECT answer, trace, key FROM millrace.report(test.agent('x'), ARRAY[test.run('two'), test.run('one')], '{1,1}', '{1,1}', '{completed,completed}', max_steps => 100);
SELECT answer, trace, key FROM millrace.report(test.agent('x'), ARRAY[test.run('two'), test.run('one'), test.run('two'), test.run('one'), test.run('two')],
    '{4,2,3,3,2}', '{1,1,1,1,1}', '{completed,completed,completed,completed,completed}', max_steps => 100);
SELECT test.show('one');
SELECT test.show('two');

-- Capacity counts for what is handed over, too.
SELECT test.define('report-capacity', 'a', 'b <- a', 'c <- a', 'd <- a {"handler": "http"}');
SELECT millrace.cancel(run_id) FROM millrace.runs WHERE finished_at IS NULL \g /dev/null
SELECT test.start('report-capacity', 'capacity');
SELECT test.claim('x');
SELECT answer, key FROM millrace.report(test.agent('x'), ARRAY[test.run('capacity')], '{1}', '{1}', '{completed}', max_steps => 10, capacity => '{"noop": 1, "http": 0}');
SELECT test.show('capacity');

-- Refused as a whole: arrays that do not match, an unknown agent, a foreign handler, too much.
SELECT * FROM test.fails($$SELECT millrace.report(test.agent('x'), '{1,2}', '{1}', '{1,1}', '{completed,completed}')$$);
SELECT * FROM test.fails($$SELECT millrace.report(test.agent('x'), '{1}', '{1}', '{1}', '{completed}', '{1,2}')$$);
SELECT * FROM test.fails($$SELECT millrace.report(test.agent('x'), '{1}', '{1}', '{1}', NULL)$$);
SELECT * FROM test.fails($$SELECT millrace.report(-1, '{1}', '{1}', '{1}', '{completed}')$$);
SELECT * FROM test.fails($$SELECT millrace.report(test.agent('x'), '{1}', '{1}', '{1}', '{completed}', capacity => '{"ftp": 1}')$$);
SELECT * FROM test.fails($$SELECT millrace.report(test.agent('x'), array_fill(1::bigint, '{100001}'), NULL, NULL, NULL)$$);
SELECT answer FROM millrace.report(test.agent('x'), NULL, NULL, NULL, NULL);
SELECT answer FROM millrace.report(test.agent('x'), '{}', '{}', '{}', '{}');

-- Nothing is left of what was settled.
SELECT sum(r.open) FROM millrace_internal.receipt r JOIN millrace.agents USING (agent_id) WHERE name IN ('x', 'y');
SELECT name, held FROM millrace.agents WHERE name IN ('x', 'y') ORDER BY 1;
SELECT count(*) FROM millrace.steps WHERE state = 'running' AND agent_id IN (test.agent('x'), test.agent('y'));
