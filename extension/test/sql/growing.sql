-- Runs that grow: new steps, new needs of old ones, and what may not be added.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');

-- Steps in a line each, as test.define takes them; edges as 'OLD <- KEY KEY'.
CREATE FUNCTION test.steps(VARIADIC steps text[]) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('steps', jsonb_agg('{"handler": "noop"}' || jsonb_build_object('key', s[1])
        || CASE WHEN s[2] IS NULL THEN '{}' ELSE jsonb_build_object('needs', string_to_array(s[2], ' ')) END
        || coalesce(s[3], '{}')::jsonb ORDER BY ord))
    FROM unnest(steps) WITH ORDINALITY u (line, ord), regexp_match(line, '^(\S+)(?: <- ([^{]*[^{ ]))?(?: (\{.*\}))?$') s
$$;
CREATE FUNCTION test.edges(VARIADIC edges text[]) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('edges', jsonb_object_agg(e[1], string_to_array(e[2], ' ')))
    FROM unnest(edges) line, regexp_match(line, '^(\S+) <- (.*)$') e
$$;
CREATE FUNCTION test.grow(run text, growth jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(format('%s %s %s', g.step_no, g.key, g.state), ', ' ORDER BY g.step_no), 'no new steps') FROM millrace.add_steps(test.run(run), growth) g
$$;
-- The graph of a run as rows.
CREATE FUNCTION test.graph(run text) RETURNS TABLE (no integer, key text, needs text, level integer, rank real, counted integer, closing boolean, above integer[], below integer[]) LANGUAGE sql AS $$
    SELECT p.step_no, p.key, (SELECT string_agg(n, ' ') FROM unnest(s.needs) n), p.level, p.rank, p.needs_counted, p.closing, p.ancestors, p.descendants
    FROM millrace.steps s JOIN millrace.runs r USING (run_id) JOIN millrace.dependency_paths p ON p.run_id = s.run_id AND p.step_no = s.step_no
    WHERE s.run_id = test.run(run) ORDER BY 1
$$;

-- A step below the end, one between two old ones, and one that needs nothing.
SELECT test.define('grow', 'a', 'b <- a', 'c <- b');
SELECT test.start('grow', 'one');
SELECT grown FROM millrace.runs WHERE run_id = test.run('one');
SELECT test.claim('x');
SELECT test.grow('one', test.steps('d <- c', 'between <- a', 'alone', 'n <- d alone') || test.edges('c <- between', 'b <- alone'));
SELECT * FROM test.graph('one');
SELECT workflow, version, state, steps_total, grown FROM millrace.runs WHERE run_id = test.run('one');
SELECT key, unmet_needs FROM millrace.step_readiness WHERE run_id = test.run('one') ORDER BY step_no;
SELECT (millrace.why_not_ready(test.run('one'), 'c')).reason;
SELECT test.report('x', 'one', 'a');
SELECT test.show('one');
CALL test.work('x');
SELECT test.show('one');
SELECT * FROM test.log('one');
SELECT state FROM millrace.runs WHERE run_id = test.run('one');
SELECT key FROM millrace.critical_path(test.run('one'));

-- The workflow and its other runs do not change: what has grown is the run's own.
SELECT workflow, version, steps FROM millrace.workflows WHERE workflow = 'grow';
SELECT test.start('grow', 'other');
SELECT count(*) FROM millrace.steps WHERE run_id = test.run('other');
CALL test.work('x');
SELECT test.define('grow', 'a', 'b <- a', 'c <- b', 'z');

-- A run that has ended cannot grow; nothing has changed.
SELECT * FROM test.fails($$ SELECT test.grow('other', test.steps('late')) $$);

-- Growing again and again: the version before goes, and the numbers stay.
SELECT test.start('grow', 'often', version => 1);
SELECT test.grow('often', test.steps('s1 <- c'));
SELECT test.grow('often', test.steps('s2 <- s1') || test.edges('s1 <- b'));
SELECT test.claim('x');
SELECT test.report('x', 'often', 'a', steps => 1);
SELECT test.grow('often', test.steps('s3 <- a s2'));
SELECT test.grow('often', test.edges('s3 <- s1'));
SELECT count(*) AS own_versions, max(steps) AS steps, max(edges) AS edges FROM millrace_internal.version WHERE run_id = test.run('often');
SELECT count(*) FROM millrace_internal.step s WHERE NOT EXISTS (SELECT FROM millrace_internal.step_definition d WHERE d.version_id = s.version_id AND d.def_no = s.def_no);
SELECT count(*) FROM millrace_internal.step_definition d WHERE NOT EXISTS (SELECT FROM millrace_internal.version v WHERE v.version_id = d.version_id);
CALL test.work('x');
SELECT test.report('x', 'often', 'b', steps => 1);
SELECT test.report('x', 'often', 'c');
CALL test.work('x');
SELECT test.show('often');
SELECT definition -> 'steps' AS steps FROM millrace_internal.version WHERE run_id = test.run('often');

-- What is said again is answered again, also when the run has ended: who was not told of a success may repeat the call.
SELECT test.start('grow', 'again', version => 1);
SELECT test.claim('x');
SELECT test.grow('again', test.steps('t0') || test.edges('c <- t0'));
SELECT test.grow('again', test.steps('t1 <- t0', 't2 <- t1') || test.edges('c <- t1'));
SELECT test.grow('again', test.steps('t1 <- t0', 't2 <- t1') || test.edges('c <- t1'));
SELECT test.grow('again', test.edges('t2 <- t0'));
SELECT test.grow('again', test.edges('t2 <- t0'));
SELECT test.grow('again', test.steps('t2 <- t1'));
SELECT count(*) FROM test.log('again') WHERE event = 'run_grown';
-- but another step of the same key is not the same, nor is one of the workflow
SELECT * FROM test.fails($$ SELECT test.grow('again', test.steps('t1 <- t0 {"delay": 1}')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('again', test.steps('t1 <- b')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('again', test.steps('t2 <- t1', 't3')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('again', test.steps('b <- a')) $$);
SELECT test.report('x', 'again', 'a', steps => 9);
SELECT test.report('x', 'again', 'b'), test.report('x', 'again', 't0');
CALL test.work('x');
SELECT test.show('again');
SELECT test.grow('again', test.steps('t1 <- t0', 't2 <- t1') || test.edges('c <- t1'));

-- Needs that have ended count as they ended, by the rule of the new step.
SELECT test.define('ends', 'good', 'bad', 'below <- bad', 'last <- good {"rule": "all_done"}', 'hold');
SELECT test.start('ends', 'ends');
SELECT test.claim('x', 5);
SELECT test.report('x', 'ends', 'good', steps => 5);
SELECT test.report('x', 'ends', 'bad', 'fatal', error => 'no');
SELECT test.grow('ends', test.steps('after-good <- good', 'after-bad <- bad', 'after-below <- below', 'done <- bad good {"rule": "all_done"}',
    'none <- bad {"rule": "none_failed"}', 'all-failed <- bad {"rule": "all_failed"}', 'any <- bad good {"rule": "any_completed"}', 'expression <- bad good {"rule": "bad.failed && good.completed"}',
    'either <- bad hold {"rule": "bad.failed || hold.failed"}', 'both <- good hold', 'falls <- bad hold', 'further <- falls'));
SELECT test.show('ends');
SELECT key, state, needs_left, needs_bad FROM millrace_internal.step s JOIN millrace_internal.step_definition d USING (version_id, def_no) WHERE run_id = test.run('ends') AND state = 0 ORDER BY step_no;
CALL test.work('x');
SELECT test.report('x', 'ends', 'hold', steps => 1);
CALL test.work('x');
SELECT test.report('x', 'ends', 'last'), test.report('x', 'ends', 'either');
CALL test.work('x');
SELECT test.show('ends');
SELECT state, steps_failed, steps_skipped FROM millrace.runs WHERE run_id = test.run('ends');

-- A pending step counts anew: 'v' has had one of two needs; what implies the other is counted instead of it.
SELECT test.define('count', 'u', 'w', 'v <- u w');
SELECT test.start('count', 'count');
SELECT test.claim('x', 2);
SELECT test.report('x', 'count', 'u');
SELECT test.grow('count', test.steps('m <- w', 'o <- u') || test.edges('v <- m o'));
SELECT key, s.state, needs_left, needs_bad, needs_count FROM millrace_internal.step s JOIN millrace_internal.step_definition d USING (version_id, def_no) WHERE run_id = test.run('count') ORDER BY step_no;
SELECT test.report('x', 'count', 'w');
CALL test.work('x');
SELECT test.show('count');

-- Delays, conditions and first steps of a run that is not to start yet.
SELECT test.start('count', 'later', not_before => '2030-01-01 01:00:00Z');
SELECT test.grow('later', test.steps('first', 'delayed {"delay": 10}', 'when-not {"when": "$.run.input.go == true"}'));
SELECT test.show('later');
SELECT test.at(3600);
SELECT test.show('later');
SELECT test.at(3610);
SELECT test.show('later');
SELECT millrace.cancel(test.run('later'));
SELECT test.show('later');

-- Paused: what is new is parked, and goes on with the run.
SELECT test.start('count', 'paused');
SELECT millrace.pause(test.run('paused'));
SELECT test.grow('paused', test.steps('p <- v', 'q'));
SELECT test.claim('x', 5);
SELECT millrace.resume(test.run('paused'));
CALL test.work('x');
SELECT test.show('paused');

-- Failures, retry and resolve in a run that has grown, and growth between them.
SELECT test.define('mend', 'a', 'b <- a', 'c <- b', 'hold');
SELECT test.start('mend', 'mend');
SELECT test.claim('x', 2);
SELECT test.report('x', 'mend', 'a', 'fatal', error => 'broken');
SELECT test.grow('mend', test.steps('d <- c', 'mind <- d {"rule": "all_done"}'));
SELECT test.show('mend');
SELECT millrace.retry(test.run('mend'), 'a');
SELECT test.show('mend');
SELECT test.grow('mend', test.steps('e <- a') || test.edges('c <- e'));
CALL test.work('x', '{e}');
SELECT test.report('x', 'mend', 'hold', steps => 1);
SELECT test.show('mend');
SELECT state FROM millrace.runs WHERE run_id = test.run('mend');
SELECT millrace.resolve(test.run('mend'), 'e');
CALL test.work('x');
SELECT test.show('mend');
SELECT state FROM millrace.runs WHERE run_id = test.run('mend');

-- A step adds steps to its own run while it runs; with its token it does so only while it is its own.
SELECT test.define('self', 'plan');
SELECT test.start('self', 'self');
SELECT test.claim('x');
SELECT key, state FROM millrace.add_steps(test.run('self'), test.steps('do <- plan'), 1, 1);
SELECT * FROM test.fails($$ SELECT * FROM millrace.add_steps(test.run('self'), test.steps('do2 <- plan'), 1, 2) $$);
SELECT test.report('x', 'self', 'plan', steps => 1);
SELECT * FROM test.fails($$ SELECT * FROM millrace.add_steps(test.run('self'), test.steps('do2 <- plan'), 1, 1) $$);
SELECT test.report('x', 'self', 'do');
SELECT kind, data FROM millrace.events WHERE run_id = test.run('self') ORDER BY event_id;

-- What may not be added, each by its own error; nothing has changed after all of it.
SELECT test.start('grow', 'wrong', version => 1);
SELECT test.claim('x');
SELECT test.report('x', 'wrong', 'a', steps => 1);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.edges('b <- x')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.edges('a <- x') || test.steps('x')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.edges('b <- x') || test.steps('x')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.steps('x <- c') || test.edges('c <- x')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.steps('x <- y', 'y <- x')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.edges('c <- c')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.edges('cc <- b')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.edges('x <- b') || test.steps('x')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.edges('c <- y') || test.steps('x')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.steps('b')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.steps('x', 'x')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.steps('x <- bb', 'y <- x bb')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.steps('x', 'y {"retry": 3}', 'z {"rule": "b.completed"}')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', test.steps('x {"handler": "sql", "with": {"statement": "select nonsense"}}')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', '[]') $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', NULL) $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', '{}') $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', '{"step": []}') $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', '{"steps": {}}') $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', '{"edges": ["b"]}') $$);
SELECT * FROM test.fails($$ SELECT test.grow('wrong', '{"edges": {"c": ["b", 1]}}') $$);
SELECT * FROM test.fails($$ SELECT millrace.add_steps(1, test.steps('x')) $$);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT test.grow('wrong', test.steps('x'));
ROLLBACK;
SELECT grown, steps_total FROM millrace.runs WHERE run_id = test.run('wrong');
SELECT count(*) FROM millrace_internal.version WHERE run_id = test.run('wrong');
SELECT kind FROM millrace.events WHERE run_id = test.run('wrong') ORDER BY event_id;

-- Steps of finally stay behind all others, the new ones too; they are no needs, and nothing is added once they are under way.
SELECT version FROM millrace.define_workflow('{"workflow": "closes", "defaults": {"handler": "noop"}, "steps": [{"key": "a"}], "finally": [{"key": "f", "needs": ["a"]}, {"key": "g", "needs": ["f"]}]}');
SELECT test.start('closes', 'closes');
SELECT * FROM test.fails($$ SELECT test.grow('closes', test.steps('x <- f')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('closes', test.edges('f <- x') || test.steps('x')) $$);
SELECT * FROM test.fails($$ SELECT test.grow('closes', test.edges('g <- f')) $$);
SELECT test.grow('closes', test.steps('b <- a'));
SELECT test.claim('x');
SELECT test.report('x', 'closes', 'a', steps => 1);
SELECT test.show('closes');
SELECT test.grow('closes', test.steps('c <- a'));
SELECT test.report('x', 'closes', 'b', steps => 1);
SELECT test.report('x', 'closes', 'c');
SELECT test.claim('x');
SELECT key, needs FROM millrace.steps WHERE run_id = test.run('closes') ORDER BY step_no;
SELECT * FROM test.fails($$ SELECT test.grow('closes', test.steps('late <- a')) $$);
SELECT test.report('x', 'closes', 'f', steps => 1);
SELECT test.report('x', 'closes', 'g');
SELECT test.show('closes');

-- SQL would be executed with the rights of the role that defined the workflow: others cannot add it.
CREATE ROLE grower IN ROLE millrace_client, millrace_viewer;
GRANT USAGE ON SCHEMA test TO grower;
CREATE FUNCTION test.run_id() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT test.run('wrong') $$;
SET ROLE grower;
SELECT * FROM test.fails($$ SELECT * FROM millrace.add_steps(test.run_id(), test.steps('s {"handler": "sql", "with": {"statement": "select 1"}}')) $$);
SELECT key, state FROM millrace.add_steps(test.run_id(), test.steps('fine <- c'));
RESET ROLE;
DROP OWNED BY grower;
DROP ROLE grower;
CALL test.work('x');
SELECT test.report('x', 'wrong', 'b', steps => 1);
SELECT test.report('x', 'wrong', 'c');
CALL test.work('x');
SELECT test.show('wrong');

-- What is copied into a run's own version is what a definition from scratch would say; the graph, too.
SELECT version FROM millrace.define_workflow('{"workflow": "copied", "defaults": {"timeout": 9, "handler": "noop"}, "steps": [
    {"key": "all", "handler": "noop", "with": {"x": 1, "y": {"$path": "$.run.y"}}, "retry": {"limit": 3, "backoff": 2, "factor": 3, "max": 9, "jitter": 0, "on": ["timeout"]}, "delay": 1, "expected": 5, "queue": "q", "priority": 7},
    {"key": "b", "needs": ["all"], "rule": "all.completed || all.failed", "input": {"v": "$.needs.all.v"}, "required": true, "when": "$.run.input.go == true"}]}');
SELECT test.start('copied', 'copied');
SELECT test.grow('copied', test.steps('n <- all {"expected": 7, "when": "$.run.input.go == true"}') || test.edges('b <- n'));
CREATE TEMP TABLE scratch AS SELECT w.version_id FROM millrace_internal.version v, millrace.define_workflow(v.definition || '{"workflow": "copied-whole"}') w WHERE v.run_id = test.run('copied');
SELECT n.def_no, o.key, o.value AS scratch, n.value AS grown
FROM (SELECT d.def_no, j.* FROM millrace_internal.step_definition d JOIN scratch USING (version_id), jsonb_each(to_jsonb(d) - 'version_id') j) o
FULL JOIN (SELECT d.def_no, j.* FROM millrace_internal.step_definition d, jsonb_each(to_jsonb(d) - 'version_id') j
           WHERE d.version_id = (SELECT version_id FROM millrace.runs WHERE run_id = test.run('copied'))) n
     ON n.key = o.key AND n.def_no = CASE o.def_no WHEN 2 THEN 3 WHEN 3 THEN 2 ELSE o.def_no END
WHERE o.value IS DISTINCT FROM n.value ORDER BY 1, 2;
-- No column is forgotten.
SELECT a.attname FROM pg_attribute a, pg_proc p
WHERE a.attrelid = 'millrace_internal.step_definition'::regclass AND a.attnum > 0 AND NOT a.attisdropped
  AND p.oid = 'millrace_internal.definitions_copy'::regproc AND p.prosrc !~ format('\y%s,? *(.|\n)*\yd?\.?%s\y', a.attname, a.attname);

-- A copy for another run.
SELECT millrace_internal.version_for_run(version_id, 4711) <> version_id AS copied FROM millrace.runs WHERE run_id = test.run('copied');
SELECT count(*) FROM millrace_internal.step_definition d JOIN millrace_internal.version v USING (version_id) WHERE v.run_id = 4711;
SELECT millrace_internal.version_for_run(version_id, 4712) = version_id AS same FROM millrace.runs WHERE run_id = test.run('other');
DELETE FROM millrace_internal.step_definition d USING millrace_internal.version v WHERE d.version_id = v.version_id AND v.run_id = 4711;
DELETE FROM millrace_internal.version WHERE run_id = 4711;
