-- Classes of failures: what a report names, and which failures are tried again.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 h');
CREATE FUNCTION pg_temp.fail(run text, step text, class text, outcome text DEFAULT 'failed') RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', a.answer, a.code, a.message)
    FROM millrace.steps s,
         millrace.report(test.agent('x'), ARRAY[s.run_id], ARRAY[s.step_no], ARRAY[s.token], ARRAY[outcome], errors => ARRAY['broken'], classes => ARRAY[class]) a
    WHERE s.run_id = test.run(run) AND s.key = step
$$;

-- A pattern is a class, its first parts, or ends in x for any digit or letter.
SELECT class, pattern, millrace_internal.class_matches(class, jsonb_build_array(pattern)) AS matches
FROM (VALUES ('timeout', 'timeout'), ('timeout', 'lost'), ('timeout', 'time'), ('http:404', 'http:404'), ('http:404', 'http:4xx'), ('http:404', 'http:40x'), ('http:404', 'http:5xx'),
             ('http:404', 'http'), ('http:4040', 'http:4xx'), ('http', 'http:4xx'), ('https:404', 'http'), ('sql:40001', 'sql:40xxx'), ('sql:40P01', 'sql:40xxx'), ('sql:4000', 'sql:40xxx'),
             ('tax:max', 'tax:max'), ('tax:maa', 'tax:max'), ('a:b.c', 'a:b.c'), ('a:bxc', 'a:b.c'), ('a:b:c', 'a:b'), (NULL, 'timeout')) v (class, pattern);
SELECT millrace_internal.class_matches('http:404', '[]'), millrace_internal.class_matches('http:404', NULL), millrace_internal.class_matches('http:404', '["timeout", "http:4xx"]');

-- Only what `on` names is tried again, and never what never_on names.
SELECT test.define('classes', 'a {"retry": {"limit": 9, "backoff": 0, "on": ["timeout", "http:5xx", "http:4xx"], "never_on": ["http:404", "lost"]}}', 'b <- a');
SELECT test.start('classes', 'named');
SELECT test.claim('x');
SELECT pg_temp.fail('named', 'a', 'http:503');
SELECT key, state, error, error_class FROM millrace.steps WHERE run_id = test.run('named') ORDER BY step_no;
SELECT test.claim('x');
SELECT test.report('x', 'named', 'a', 'timed_out');
SELECT test.claim('x');
SELECT pg_temp.fail('named', 'a', 'http:429');
SELECT test.claim('x');
SELECT test.report('x', 'named', 'a', 'released');
SELECT test.claim('x');
SELECT pg_temp.fail('named', 'a', 'http:404');
SELECT test.show('named');
SELECT * FROM test.log('named');

-- A failure without a name is an error; one that is in neither list is not in `on`.
SELECT test.start('classes', 'nameless');
SELECT test.claim('x');
SELECT test.report('x', 'nameless', 'a', 'failed', error => 'no name');
SELECT key, state, error_class FROM millrace.steps WHERE run_id = test.run('nameless') ORDER BY step_no;
SELECT test.define('classes-never', 'a {"retry": {"limit": 9, "backoff": 0, "never_on": ["http"]}}');
SELECT test.start('classes-never', 'never');
SELECT test.claim('x');
SELECT test.report('x', 'never', 'a', 'failed');
SELECT test.claim('x');
SELECT pg_temp.fail('never', 'a', 'http:503');
SELECT key, state, attempts, error_class FROM millrace.steps WHERE run_id = test.run('never');

-- What is fatal stays fatal, whatever its class; a success clears the class.
SELECT test.start('classes', 'fatal');
SELECT test.claim('x');
SELECT pg_temp.fail('fatal', 'a', 'http:503', 'fatal');
SELECT key, state, error_class FROM millrace.steps WHERE run_id = test.run('fatal') ORDER BY step_no;
SELECT test.start('classes-never', 'cleared');
SELECT test.claim('x');
SELECT pg_temp.fail('cleared', 'a', 'exit:3');
SELECT error, error_class FROM millrace.steps WHERE run_id = test.run('cleared');
SELECT test.claim('x');
SELECT test.report('x', 'cleared', 'a');
SELECT state, error, error_class FROM millrace.steps WHERE run_id = test.run('cleared');

-- An input that cannot be computed, and a lost agent.
SELECT test.define('classes-input', 'a', 'b <- a {"input": {"x": "$.needs.a.x"}, "required": true}');
SELECT test.start('classes-input', 'input');
CALL test.work('x');
SELECT key, state, error_class FROM millrace.steps WHERE run_id = test.run('input') ORDER BY step_no;
SELECT test.register('gone', lease => '5 s');
SELECT test.start('classes', 'lost');
SELECT test.claim('gone');
SELECT test.at(6);
SELECT test.show('lost');
SELECT error, error_class FROM millrace.steps WHERE run_id = test.run('lost') AND key = 'a';
SELECT test.define('classes-lost', 'a {"retry": {"on": ["timeout"]}}');
SELECT test.start('classes-lost', 'lost again');
SELECT test.register('gone too', lease => '5 s');
SELECT test.claim('gone too');
SELECT test.at(12);
SELECT key, state, error_class FROM millrace.steps WHERE run_id = test.run('lost again');
SELECT test.claim('x');
SELECT test.report('x', 'lost again', 'a');

-- on_failure: cancel cancels at a failure that its class makes the last.
SELECT (millrace.define_workflow('{"workflow": "classes-cancel", "on_failure": "cancel", "defaults": {"handler": "noop", "retry": {"limit": 3, "backoff": 0, "never_on": ["http:4xx"]}},
    "steps": [{"key": "a"}, {"key": "b"}]}')).version;
SELECT test.start('classes-cancel', 'cancel');
SELECT test.claim('x', 2);
SELECT pg_temp.fail('cancel', 'a', 'http:500');
SELECT test.show('cancel');
SELECT test.claim('x');
SELECT pg_temp.fail('cancel', 'a', 'http:400');
SELECT test.show('cancel');

-- A class is a word with parts; a report of another one is rejected alone.
SELECT test.start('classes-never', 'rejected');
SELECT test.claim('x');
SELECT pg_temp.fail('rejected', 'a', 'no class!');
SELECT pg_temp.fail('rejected', 'a', '');
SELECT test.show('rejected');
SELECT * FROM test.fails('SELECT FROM millrace.report(test.agent(''x''), ''{1}'', ''{1}'', ''{1}'', ''{completed}'', classes => ''{a,b}'')');
SELECT test.report('x', 'rejected', 'a');

-- Definitions: classes are arrays of texts.
SELECT path, code, message, hint FROM millrace.validate_workflow('{"workflow": "w", "defaults": {"handler": "noop", "retry": {"on": "timeout"}}, "steps": [
    {"key": "a", "retry": {"on": [1]}}, {"key": "b", "retry": {"never_on": ["a b"], "on": []}}, {"key": "c", "retry": {"never_in": []}}]}');

-- Agents of the protocol before go on working.
SELECT agreed_protocol FROM millrace.register_agent('{default}', '{noop}', 1, listening => false)
UNION ALL SELECT agreed_protocol FROM millrace.register_agent('{default}', '{noop}', 2, listening => false);
SELECT code, hint FROM test.fails('SELECT millrace.register_agent(''{default}'', ''{noop}'', 3)');
