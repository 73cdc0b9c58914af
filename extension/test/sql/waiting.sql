-- Steps that wait for what comes from outside (`wait_for`): signals, people, times, other runs.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');
-- A workflow as test.define makes it; a step that waits has no handler.
CREATE FUNCTION pg_temp.define(workflow text, VARIADIC steps jsonb[]) RETURNS integer LANGUAGE sql AS $$
    SELECT version FROM millrace.define_workflow(jsonb_build_object('workflow', workflow, 'defaults', '{"handler": "noop"}'::jsonb, 'steps', to_jsonb(steps)))
$$;
-- Runs at a glance once the keeper has done what is due by then, or now.
CREATE FUNCTION pg_temp.at(seconds double precision, VARIADIC names text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM test.at(seconds);
    RETURN QUERY SELECT test.show(n) FROM unnest(names) n;
END $$;
CREATE FUNCTION pg_temp.kept(VARIADIC names text[]) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT pg_temp.at(extract(epoch FROM millrace_internal.clock() - timestamptz '2030-01-01 00:00:00Z')::double precision, VARIADIC names)
$$;
CREATE FUNCTION pg_temp.output(run text, step text) RETURNS jsonb LANGUAGE sql AS $$ SELECT output FROM millrace.steps WHERE run_id = test.run(run) AND key = step ORDER BY step_no LIMIT 1 $$;

-- A signal: what waits completes with its payload, and what needs it goes on at once.
SELECT pg_temp.define('order', '{"key": "charge"}', '{"key": "paid", "needs": ["charge"], "wait_for": {"signal": "paid"}}', '{"key": "ship", "needs": ["paid"]}');
SELECT test.start('order', 'usual'), test.start('order', 'early');
SELECT test.claim('x'), test.report('x', 'usual', 'charge');
SELECT pg_temp.kept('usual');
SELECT reason, data -> 'for' AS waits_for FROM millrace.why_not_ready(test.run('usual'), 'paid');
SELECT steps_waiting, steps_running FROM millrace.run_progress WHERE run_id = test.run('usual');
SELECT millrace.signal(test.run('usual'), 'paid', '{"by": "card"}');
SELECT test.show('usual'), pg_temp.output('usual', 'paid');
-- the first stays
SELECT millrace.signal(test.run('usual'), 'paid', '{"by": "cash"}');
SELECT name, payload, sent_by = current_user AS by_me FROM millrace.signals WHERE run_id = test.run('usual');
SELECT test.claim('x', 5), test.report('x', 'usual', 'ship');
SELECT test.show('usual');
SELECT event, step, attempt, data FROM test.log('usual');
-- One that comes early is kept until the step comes to wait: the keeper then finds it.
SELECT millrace.signal(test.run('early'), 'paid');
SELECT test.report('x', 'early', 'charge');
SELECT pg_temp.kept('early');
SELECT pg_temp.output('early', 'paid') IS NULL AS no_output;
CALL test.work('x');
SELECT test.show('early');

-- Several steps may wait for one signal, and a first step may; the name may be looked up.
SELECT pg_temp.define('signals', '{"key": "a", "wait_for": {"signal": "go"}}', '{"key": "b", "wait_for": {"signal": "go"}}', '{"key": "c", "wait_for": {"signal": "$.run.name"}}', '{"key": "d", "needs": ["a", "b", "c"]}');
SELECT test.start('signals', 'signals', '{"name": "third"}');
SELECT pg_temp.kept('signals');
SELECT millrace.signal(test.run('signals'), 'go', '1'), millrace.signal(test.run('signals'), 'third', '3'), millrace.signal(test.run('signals'), 'whatever');
SELECT test.show('signals');
SELECT key, output FROM millrace.steps WHERE run_id = test.run('signals') ORDER BY step_no;
CALL test.work('x');
SELECT test.show('signals');

-- A name that cannot be looked up fails the step, and nothing else.
SELECT test.start('signals', 'nameless', '{}');
SELECT pg_temp.kept('nameless');
SELECT error FROM millrace.steps WHERE run_id = test.run('nameless') AND key = 'c';

-- Times: a duration, a point in time, both looked up too; what has passed already holds nothing up.
SELECT test.at(0);
SELECT pg_temp.define('times', '{"key": "short", "wait_for": {"duration": "10s"}}', '{"key": "long", "wait_for": {"duration": "$.run.pause"}}',
    '{"key": "date", "wait_for": {"until": "2030-01-01T00:00:30Z"}}', '{"key": "past", "wait_for": {"until": "$.run.since"}}', '{"key": "none", "wait_for": {"duration": 0}}',
    '{"key": "end", "needs": ["short", "long", "date", "past", "none"]}');
SELECT test.start('times', 'times', '{"pause": 20, "since": "2029-12-24"}');
SELECT event, step, data FROM test.log('times') WHERE event = 'step_waiting';
SELECT pg_temp.kept('times');
SELECT reason FROM millrace.why_not_ready(test.run('times'), 'long');
SELECT pg_temp.at(10, 'times');
SELECT pg_temp.at(29, 'times');
SELECT pg_temp.at(30, 'times');
CALL test.work('x');
SELECT test.show('times');
SELECT test.start('times', 'mistimed', '{"pause": "soon", "since": "yesterday"}');
SELECT pg_temp.at(31, 'mistimed');
SELECT key, error FROM millrace.steps WHERE run_id = test.run('mistimed') AND error IS NOT NULL ORDER BY key;

-- A timeout bounds the wait, and on_timeout says what happens then. What came in time came.
SELECT test.at(0);
SELECT pg_temp.define('timeouts', '{"key": "fail", "wait_for": {"signal": "s"}, "timeout": 10}', '{"key": "skip", "wait_for": {"signal": "s", "on_timeout": "skip"}, "timeout": 10}',
    '{"key": "complete", "wait_for": {"signal": "s", "on_timeout": "complete"}, "timeout": 10}', '{"key": "again", "wait_for": {"signal": "s"}, "timeout": 10, "retry": {"limit": 1, "backoff": 5, "jitter": 0}}',
    '{"key": "first", "wait_for": {"duration": 10}, "timeout": 10}', '{"key": "last", "wait_for": {"duration": 20}, "timeout": 10}',
    '{"key": "after_fail", "needs": ["fail"]}', '{"key": "after_skip", "needs": ["skip"]}', '{"key": "after_complete", "needs": ["complete"]}');
SELECT test.start('timeouts', 'timeouts'), test.start('timeouts', 'in_time');
SELECT test.at(9);
SELECT millrace.signal(test.run('in_time'), 's');
SELECT pg_temp.at(10, 'timeouts', 'in_time');
SELECT pg_temp.at(15, 'timeouts');
SELECT event, step, attempt, at, data FROM test.log('timeouts') WHERE step IN ('again', 'skip', 'complete');
SELECT pg_temp.at(24, 'timeouts');
SELECT pg_temp.at(25, 'timeouts');
CALL test.work('x');
SELECT test.show('timeouts'), test.show('in_time');
-- an operator's retry waits anew, and finds what has come
SELECT millrace.retry(test.run('timeouts'));
SELECT pg_temp.at(26, 'timeouts');
SELECT millrace.signal(test.run('timeouts'), 's');
SELECT pg_temp.at(36, 'timeouts');
SELECT millrace.retry(test.run('timeouts'), 'last');
SELECT pg_temp.at(46, 'timeouts');
SELECT millrace.resolve(test.run('timeouts'), 'last');
CALL test.work('x');
SELECT test.show('timeouts');

-- Pause, resume, cancel, a deadline. A signal is taken while the run is paused; what follows from it is parked.
SELECT test.at(0);
SELECT pg_temp.define('steered', '{"key": "a"}', '{"key": "b", "needs": ["a"], "wait_for": {"signal": "s"}}', '{"key": "c", "needs": ["b"], "wait_for": {"duration": 10}}', '{"key": "d", "needs": ["b"]}');
SELECT test.start('steered', 'paused'), test.start('steered', 'cancelled'), test.start('steered', 'late', deadline => '2030-01-01 00:00:20Z');
SELECT test.claim('x', 3), test.report('x', 'paused', 'a'), test.report('x', 'cancelled', 'a'), test.report('x', 'late', 'a');
SELECT millrace.pause(test.run('paused'));
SELECT millrace.signal(test.run('paused'), 's');
SELECT pg_temp.kept('paused');
SELECT test.claim('x');
SELECT millrace.resume(test.run('paused'));
SELECT test.show('paused');
SELECT millrace.cancel(test.run('cancelled'));
SELECT test.show('cancelled');
SELECT * FROM test.fails(format('SELECT millrace.signal(%s, %L)', test.run('cancelled'), 's'));
SELECT pg_temp.at(20, 'late');
CALL test.work('x');
SELECT test.show('paused');
-- what was cancelled waits again when the run is retried
SELECT millrace.retry(test.run('cancelled'));
SELECT pg_temp.kept('cancelled');
SELECT millrace.signal(test.run('cancelled'), 's');
SELECT pg_temp.at(40, 'cancelled');

CALL test.work('x');

-- With on_failure: cancel, a wait that fails ends its run.
SELECT version FROM millrace.define_workflow('{"workflow": "strict", "on_failure": "cancel", "steps": [{"key": "a", "wait_for": {"signal": "s"}, "timeout": 5}, {"key": "b", "wait_for": {"signal": "t"}}]}');
SELECT test.start('strict', 'strict');
SELECT pg_temp.at(45, 'strict');

-- Another run's end. Its last outputs are the step's; if it has not completed, the step fails.
SELECT pg_temp.define('first', '{"key": "a"}', '{"key": "b", "needs": ["a"]}');
SELECT pg_temp.define('second', '{"key": "wait", "wait_for": {"run": "$.run.first"}}', '{"key": "good", "needs": ["wait"]}', '{"key": "bad", "needs": ["wait"], "rule": "all_failed"}');
SELECT test.start('first', 'one'), test.start('first', 'two'), test.start('first', 'three');
SELECT test.start('second', 'after_' || name, jsonb_build_object('first', test.run(name))) FROM unnest('{one,two,three}'::text[]) name;
SELECT pg_temp.kept('after_one');
SELECT regexp_replace(reason, 'run \d+', 'run #') AS reason FROM millrace.why_not_ready(test.run('after_one'), 'wait');
SELECT test.claim('x', 3), test.report('x', 'one', 'a', steps => 1), test.report('x', 'one', 'b', output => '{"total": 7}');
SELECT test.report('x', 'two', 'a', 'fatal'), millrace.cancel(test.run('three'));
SELECT pg_temp.kept('after_one', 'after_two', 'after_three');
SELECT pg_temp.output('after_one', 'wait') - 'run_id' AS output, (pg_temp.output('after_one', 'wait') ->> 'run_id')::bigint = test.run('one') AS of_one;
SELECT regexp_replace(error, '\d+', '#') AS error FROM millrace.steps WHERE run_id = test.run('after_two') AND key = 'wait';
-- one that has ended before, one that is not there, and the run itself
SELECT test.start('second', 'after_end', jsonb_build_object('first', test.run('one'))), test.start('second', 'after_nothing', '{"first": 1}');
SELECT pg_temp.kept('after_end', 'after_nothing');
SELECT error FROM millrace.steps WHERE run_id = test.run('after_nothing') AND key = 'wait';
CALL test.work('x');

-- Nothing is left of waits that are over.
SELECT count(*) FROM millrace_internal.wait w JOIN millrace.runs r USING (run_id) WHERE r.finished_at IS NOT NULL;

-- What is refused, and changes nothing.
SELECT test.start('order', 'refused');
SELECT f.* FROM (VALUES ('''payed'''), (''''''), ('NULL'), ('repeat(''x'', 201)')) v (name), test.fails(format('SELECT millrace.signal(%s, %s)', test.run('refused'), v.name)) f;
SELECT * FROM test.fails('SELECT millrace.signal(1, ''paid'')');
SELECT * FROM test.fails(format('SELECT millrace.signal(%s, %L)', test.run('one'), 'x'));
SELECT test.start('first', 'deaf');
SELECT * FROM test.fails(format('SELECT millrace.signal(%s, %L)', test.run('deaf'), 'x'));
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM test.fails(format('SELECT millrace.signal(%s, ''paid'')', test.run('refused')));
ROLLBACK;
SELECT count(*) FROM millrace.signals WHERE run_id IN (test.run('refused'), test.run('deaf'));

-- Mistakes in definitions.
SELECT p.* FROM unnest(ARRAY[
    '"paid"', '{}', '{"signal": "a", "until": "2030-01-01"}', '{"signal": ""}', '{"signal": 1}', '{"singal": "a"}', '{"until": "tomorrow"}', '{"until": 5}', '{"duration": "long"}', '{"duration": "$.["}',
    '{"run": "seven"}', '{"run": 0}', '{"signal": "a", "on_timeout": "explode"}', '{"signal": "a", "on_timeout": "skip"}', '{"person": "me"}', '{"person": {"who": "me"}}',
    '{"person": {"assignee": 1}}', '{"person": {"candidates": "me"}}', '{"person": {"title": []}}', '{"person": {"answer": {"type": "objekt"}}}']::jsonb[]) w (wait),
    millrace.validate_workflow(jsonb_build_object('workflow', 'w', 'defaults', '{"handler": "sql"}'::jsonb, 'steps', jsonb_build_array(jsonb_build_object('key', 'a', 'wait_for', w.wait)))) p;
SELECT * FROM millrace.validate_workflow('{"workflow": "w", "steps": [{"key": "a", "handler": "noop", "with": {}, "input": 1, "wait_for": {"duration": 1}}]}');
-- timeouts and tries by default are those of handlers
SELECT millrace.submit(NULL, definition => '{"workflow": "defaults", "defaults": {"timeout": 1, "retry": {"limit": 3}, "handler": "noop"}, "steps": [{"key": "a", "wait_for": {"duration": 5}}]}', trace => 'defaults') > 0;
SELECT pg_temp.at(47, 'defaults');
SELECT pg_temp.at(50, 'defaults');

-- A step of finally may wait too, and sees what became of the others.
SELECT version FROM millrace.define_workflow('{"workflow": "phased", "steps": [{"key": "a", "wait_for": {"signal": "go"}}],
    "finally": [{"key": "z", "wait_for": {"signal": "$.ended.state"}}]}');
SELECT test.start('phased', 'phased'), test.start('phased', 'halted');
SELECT millrace.signal(test.run('phased'), 'go');
SELECT millrace.cancel(test.run('halted'));
SELECT pg_temp.kept('phased', 'halted');
SELECT millrace.signal(test.run('phased'), 'completed'), millrace.signal(test.run('halted'), 'cancelled');
SELECT pg_temp.kept('phased', 'halted');

-- Elements wait by themselves: for signals of their own, and for people.
SELECT version FROM millrace.define_workflow('{"workflow": "callers", "steps": [{"key": "call", "for_each": "$.run.names", "wait_for": {"signal": "$.element"}},
    {"key": "ask", "needs": ["call"], "for_each": {"in": "$.run.names", "failures": "fail_fast"}, "wait_for": {"person": {"assignee": "$.element"}}, "timeout": 10}]}');
SELECT test.start('callers', 'callers', '{"names": ["ann", "bob"]}');
SELECT pg_temp.kept('callers');
SELECT millrace.signal(test.run('callers'), 'bob', '2'), millrace.signal(test.run('callers'), 'ann', '1');
SELECT pg_temp.kept('callers');
SELECT pg_temp.output('callers', 'call');
SELECT assignee, element, step_no > 1000000 AS gained, key FROM millrace.inbox WHERE run_id = test.run('callers') ORDER BY element;
SELECT millrace.complete_human_step(run_id, 'ask', '"yes"', step_no => step_no) FROM millrace.inbox WHERE run_id = test.run('callers') AND assignee = 'bob';
SELECT * FROM test.fails(format('SELECT millrace.complete_human_step(%s, %L)', test.run('callers'), 'ask'));
SELECT pg_temp.at(70, 'callers');
SELECT count(*) FROM millrace_internal.wait WHERE run_id = test.run('callers');
-- What they wait for may stand in the run, and in finally in its end.
SELECT version FROM millrace.define_workflow('{"workflow": "hearers", "steps": [{"key": "hear", "for_each": "$.run.names", "wait_for": {"signal": "$.run.word"}}],
    "finally": [{"key": "last", "for_each": [1], "wait_for": {"signal": "$.ended.state"}}]}');
SELECT test.start('hearers', 'hearers', '{"names": ["ann", "bob"], "word": "now"}');
SELECT millrace.signal(test.run('hearers'), 'now', '3');
SELECT pg_temp.kept('hearers');
SELECT pg_temp.output('hearers', 'hear');
SELECT millrace.signal(test.run('hearers'), 'completed');
SELECT pg_temp.kept('hearers');
-- One whose time is up, and that is skipped, has not failed: the others go on.
SELECT version FROM millrace.define_workflow('{"workflow": "skippers", "steps": [{"key": "hear", "for_each": "$.run", "timeout": 5, "wait_for": {"signal": "$.element", "on_timeout": "skip"}, "retry": {"limit": 0}}]}');
SELECT test.start('skippers', 'skippers', '["ann", "bob"]');
SELECT millrace.signal(test.run('skippers'), 'bob', '4');
SELECT pg_temp.kept('skippers');
SELECT millrace.set_clock(millrace_internal.clock() + '6 s');
SELECT pg_temp.kept('skippers');
SELECT pg_temp.output('skippers', 'hear');
