-- Versions beside each other: what differs, and runs that move from one to another.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');
CREATE FUNCTION test.migrate(run text, version integer DEFAULT NULL, dry_run boolean DEFAULT false)
RETURNS TABLE (key text, state text, change text, old jsonb, new jsonb, allowed boolean) LANGUAGE sql AS $$ SELECT * FROM millrace.migrate_run(test.run(run), version, dry_run) $$;

-- What differs.
SELECT version FROM millrace.define_workflow('{"workflow": "move", "description": "first", "defaults": {"handler": "noop", "retry": {"limit": 1}}, "steps": [
    {"key": "a"}, {"key": "b", "needs": ["a"], "with": {"x": 1}}, {"key": "c", "needs": ["b", "a"]}, {"key": "gone", "needs": ["a"]}, {"key": "e", "needs": ["gone", "c"]}]}');
SELECT version FROM millrace.define_workflow('{"workflow": "move", "on_failure": "cancel", "steps": [
    {"key": "new", "handler": "noop", "priority": 5}, {"key": "e", "handler": "noop", "needs": ["c", "between"], "retry": {"limit": 1}},
    {"key": "a", "handler": "noop", "retry": {"limit": 3}, "description": "the first"}, {"key": "b", "handler": "sleep", "needs": ["a"], "with": {"x": 2}, "retry": {"limit": 1}},
    {"key": "c", "handler": "noop", "needs": ["a", "b"], "retry": {"limit": 1}}, {"key": "between", "handler": "noop", "needs": ["b", "new"]}],
    "finally": [{"key": "clean", "handler": "noop", "needs": ["e"]}]}');
SELECT * FROM millrace.diff_versions('move', 1, 2);
SELECT * FROM millrace.diff_versions('move', 2) EXCEPT SELECT * FROM millrace.diff_versions('move', 2, 2);
SELECT count(*) FROM millrace.diff_versions('move', 1, 1);
SELECT * FROM test.fails($$ SELECT * FROM millrace.diff_versions('move', 1, 3) $$);
SELECT * FROM test.fails($$ SELECT * FROM millrace.diff_versions('moves', 1) $$);

-- A run that has begun moves: pending steps change, disappear or are new; a first step that is new is ready. It asks first.
SELECT test.start('move', 'one', version => 1);
SELECT test.claim('x');
SELECT * FROM test.migrate('one', 2, true);
SELECT version, grown FROM millrace.runs WHERE run_id = test.run('one');
SELECT * FROM test.migrate('one', 2) WHERE NOT allowed;
SELECT version, grown, steps_total FROM millrace.runs WHERE run_id = test.run('one');
SELECT step_no, key, state, handler, needs FROM millrace.steps WHERE run_id = test.run('one') ORDER BY step_no;
SELECT test.register('y', '{noop,sleep}');
SELECT test.report('x', 'one', 'a');
CALL test.work('y');
SELECT * FROM test.log('one');
SELECT * FROM test.fails($$ SELECT * FROM test.migrate('one', 2, true) $$);

-- Where every row has its number in the version itself, the run takes that one; the run of before takes the latest.
SELECT test.define('plainly', 'a', 'b <- a');
SELECT test.define('plainly', 'a', 'b <- a', 'c <- b');
SELECT test.start('plainly', 'plainly', version => 1);
SELECT change, key, allowed FROM test.migrate('plainly');
SELECT version, grown, steps_total FROM millrace.runs WHERE run_id = test.run('plainly');
SELECT change, key, allowed FROM test.migrate('plainly');
CALL test.work('x');
SELECT test.show('plainly');
SELECT * FROM test.fails($$ SELECT * FROM test.migrate('plainly') $$);

-- What has begun must mean the same. Policies may change.
SELECT test.define('begun', 'a {"with": {"x": 1}}', 'b {"needs": []}', 'c <- a b');
SELECT test.define('begun', 'a {"with": {"x": 2}}', 'b', 'c <- a b');
SELECT test.define('begun', 'b', 'c <- b');
SELECT test.define('begun', 'a {"with": {"x": 1}, "rule": "all_done"}', 'z', 'b <- z', 'c <- a b');
SELECT test.define('begun', 'a {"with": {"x": 1}, "timeout": 60, "retry": {"limit": 9}, "priority": 4, "expected": 3}', 'b', 'c <- a b {"rule": "all_done"}');
SELECT test.start('begun', 'begun', version => 1);
SELECT test.claim('x', 2);
SELECT test.report('x', 'begun', 'a', 'fatal', error => 'no');
SELECT * FROM test.fails($$ SELECT * FROM test.migrate('begun', 2) $$);
SELECT * FROM test.fails($$ SELECT * FROM test.migrate('begun', 3) $$);
SELECT * FROM test.fails($$ SELECT * FROM test.migrate('begun', 4) $$);
SELECT * FROM test.migrate('begun', 4, true);
SELECT * FROM test.fails($$ SELECT * FROM test.migrate('begun', 9) $$);
SELECT * FROM test.fails($$ SELECT * FROM millrace.migrate_run(7) $$);
SELECT test.show('begun'), version FROM millrace.runs WHERE run_id = test.run('begun');
SELECT * FROM test.migrate('begun', 5);
SELECT test.report('x', 'begun', 'b', steps => 1);
SELECT test.report('x', 'begun', 'c');
SELECT test.show('begun');
SELECT kind, data FROM millrace.events WHERE run_id = test.run('begun') AND step_no IS NULL ORDER BY event_id;

-- A pending step whose open needs are gone is decided: ready here, skipped there.
SELECT test.define('drops', 'a', 'b', 'c <- a b', 'd <- b a', 'hold');
SELECT test.define('drops', 'a', 'b', 'c <- a', 'd <- b', 'hold');
SELECT test.start('drops', 'drops', version => 1);
SELECT test.claim('x', 3);
SELECT test.report('x', 'drops', 'a', 'fatal', error => 'no'), test.report('x', 'drops', 'hold');
SELECT test.show('drops');
SELECT key, change, old, new FROM test.migrate('drops', 2);
SELECT test.show('drops');
SELECT test.report('x', 'drops', 'b', steps => 1);
SELECT test.report('x', 'drops', 'd');
SELECT test.show('drops');
SELECT millrace.retry(test.run('drops'));
CALL test.work('x');
SELECT test.show('drops');

-- What a run has added goes with it, and what it has removed is not retried.
SELECT test.define('goes', 'a', 'b <- a', 'old <- a');
SELECT test.define('goes', 'b <- a', 'a', 'c <- b');
SELECT test.start('goes', 'goes', version => 1);
SELECT key FROM millrace.add_steps(test.run('goes'), '{"steps": [{"key": "own", "handler": "noop", "needs": ["a"]}], "edges": {"b": ["own"]}}');
SELECT key, state, change, allowed FROM test.migrate('goes', 2);
SELECT step_no, key, state, needs FROM millrace.steps WHERE run_id = test.run('goes') ORDER BY step_no;
SELECT key FROM millrace.add_steps(test.run('goes'), '{"steps": [{"key": "own2", "handler": "noop", "needs": ["own", "c"]}]}');
CALL test.work('x', '{own}');
SELECT test.show('goes');
SELECT millrace.retry(test.run('goes'));
CALL test.work('x');
SELECT test.show('goes');
SELECT count(*) FROM millrace_internal.version WHERE run_id = test.run('goes');
SELECT v.version, jsonb_path_query_array(v.definition, '$.steps[*].key') AS keys FROM millrace_internal.version v WHERE v.run_id = test.run('goes');

-- A fork keeps what its version is without, and does not begin there.
SELECT * FROM test.fails($$ SELECT millrace.fork(test.run('goes'), 'old') $$);
CREATE TEMP TABLE forked AS SELECT millrace.fork(test.run('goes'), 'b') AS run_id;
SELECT s.key, s.state FROM forked JOIN millrace.steps s USING (run_id) ORDER BY s.step_no;
SELECT s.key, e.kind, e.data - 'kept_from' AS data FROM forked JOIN millrace.events e USING (run_id) JOIN millrace.steps s USING (run_id, step_no) WHERE e.data ? 'kept_from' ORDER BY e.event_id;
CALL test.work('x');
SELECT s.key, s.state, r.state AS run FROM forked JOIN millrace.steps s USING (run_id) JOIN millrace.runs r USING (run_id) ORDER BY s.step_no;

-- Steps that a run has added may not fit another version.
SELECT test.define('fits', 'a', 'b <- a', 'c');
SELECT test.define('fits', 'b', 'a <- b', 'c');
SELECT test.define('fits', 'a', 'c');
SELECT test.define('fits', 'a', 'b <- a', 'own', 'c');
SELECT test.start('fits', 'fits', version => 1);
SELECT millrace.pause(test.run('fits'));
SELECT key, state FROM millrace.add_steps(test.run('fits'), '{"steps": [{"key": "own", "handler": "noop", "needs": ["b"]}], "edges": {}}');
SELECT * FROM test.fails($$ SELECT * FROM test.migrate('fits', 3) $$);
SELECT * FROM test.fails($$ SELECT * FROM test.migrate('fits', 2) $$);
SELECT key, change, allowed FROM test.migrate('fits', 4);
SELECT millrace.resume(test.run('fits'));
SELECT step_no, key, state, needs FROM millrace.steps WHERE run_id = test.run('fits') ORDER BY step_no;
CALL test.work('x');
SELECT test.show('fits');
