-- Definitions that are accepted, and the versions they make.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql

-- The same definition answers the same version, a changed one makes the next, the first one is still there.
SELECT workflow, version, steps, edges FROM millrace.define_workflow('{"workflow": "definition", "steps": [{"key": "a", "handler": "noop"}]}');
SELECT workflow, version, steps, edges FROM millrace.define_workflow('{"steps": [{"handler": "noop", "key": "a"}], "workflow": "definition"}');
SELECT workflow, version, steps, edges FROM millrace.define_workflow(
    '{"workflow": "definition", "steps": [{"key": "a", "handler": "noop"}, {"key": "b", "handler": "noop", "needs": ["a"]}]}');
SELECT workflow, version, steps, edges FROM millrace.define_workflow('{"workflow": "definition", "steps": [{"key": "a", "handler": "noop"}]}');
SELECT workflow, version, steps, edges, on_failure, defined_by, inline FROM millrace.workflows WHERE workflow = 'definition' ORDER BY version;

-- A submit runs the latest version, or the one it names; runs keep the version they started with.
SELECT test.start('definition', 'latest');
SELECT version FROM millrace.runs WHERE run_id = test.run('latest');
SELECT test.start('definition', 'first', version => 1);
SELECT version FROM millrace.runs WHERE run_id = test.run('first');

-- An inline definition makes a version that is never the latest, is found again, and may become the workflow's own.
SELECT millrace.submit('definition', definition => '{"steps": [{"key": "c", "handler": "noop"}]}') < millrace.submit('definition',
    definition => '{"steps": [{"key": "c", "handler": "noop"}]}') AS two_runs;
SELECT version, inline FROM millrace.workflows WHERE workflow = 'definition' ORDER BY version;
SELECT test.start('definition', 'latest');
SELECT version FROM millrace.runs WHERE run_id = test.run('latest');
SELECT version FROM millrace.define_workflow('{"workflow": "definition", "steps": [{"key": "c", "handler": "noop"}]}', '"$user", public');
SELECT version, inline FROM millrace.workflows WHERE workflow = 'definition' ORDER BY version;
SELECT test.start(NULL, 'inline', definition => '{"workflow": "inline", "steps": [{"key": "a", "handler": "noop"}]}');
SELECT workflow, version FROM millrace.runs WHERE run_id = test.run('inline');
SELECT * FROM test.fails($$SELECT millrace.submit('inline')$$);
SELECT * FROM test.fails($$SELECT millrace.submit('definitions')$$);

-- Defaults are filled in, a step's own values go before them; retry is merged value by value.
SELECT version FROM millrace.define_workflow($${"workflow": "definition-defaults",
    "description": "all that may be said", "on_failure": "cancel",
    "defaults": {"handler": "noop", "queue": "slow", "priority": 5, "retry": {"limit": 3, "backoff": "2s"}, "timeout": "1m", "delay": 1, "expected": "2m", "rule": "all_done"},
    "steps": [{"key": "a", "description": "as the defaults say"},
              {"key": "b", "handler": "http", "queue": "fast", "priority": -5, "retry": {"limit": 1, "jitter": 0, "factor": 1.5, "max": "1h"},
               "timeout": "1.5s", "delay": "250ms", "expected": "1 day 01:00", "rule": "all_completed", "needs": ["a"], "with": {"url": "u"}, "input": {"x": "$.run"}, "required": ["x"]}]}$$);
SELECT d.key, d.handler, q.name AS queue, d.rule, d.priority, d.retry_limit, d.retry_backoff, d.retry_factor, d.retry_max, d.retry_jitter, d.timeout, d.delay, d.expected
FROM millrace_internal.step_definition d JOIN millrace_internal.queue q USING (queue_id) JOIN millrace.workflows w USING (version_id)
WHERE w.workflow = 'definition-defaults' ORDER BY d.def_no;

-- Steps are numbered so that a need has a lower number, whatever their order in the definition.
SELECT test.define('definition-order', 'd <- c b', 'c <- a', 'b <- a', 'a');
SELECT key, level, rank, needs_counted, needs_declared, closing, ancestors, descendants FROM millrace.dependency_paths WHERE workflow = 'definition-order' ORDER BY step_no;

-- A need that is named twice is one edge; one that a longer path implies is not counted.
SELECT workflow, version, steps, edges FROM millrace.define_workflow('{"workflow": "definition-implied", "steps": [
    {"key": "a", "handler": "noop"}, {"key": "b", "handler": "noop", "needs": ["a"]}, {"key": "c", "handler": "noop", "needs": ["b", "a", "b"]}]}');
SELECT key, needs_counted, needs_declared FROM millrace.dependency_paths WHERE workflow = 'definition-implied' ORDER BY step_no;

-- Numbers may be written in any way that JSON has; a search path that is not given is the usual one.
SELECT version FROM millrace.define_workflow('{"workflow": "definition-numbers", "defaults": {"priority": 1e1}, "steps": [
    {"key": "a", "handler": "noop", "retry": {"limit": 2.0, "factor": 1.5e0, "jitter": 1e-400}, "delay": 1e-400, "timeout": 1.5e1, "expected": 0.25}]}', NULL);
SELECT priority, retry_limit, retry_factor, retry_jitter, delay, timeout, d.expected FROM millrace_internal.step_definition d JOIN millrace.workflows w USING (version_id) WHERE w.workflow = 'definition-numbers';

-- Keys and names are any text.
SELECT test.define('größe ☃', 'schritt/1', '$x <- schritt/1');
SELECT test.start('größe ☃');
SELECT test.show('größe ☃');

-- A definition of another role is another version: its sql steps have other rights.
CREATE ROLE definition_test IN ROLE millrace_client;
SET ROLE definition_test;
SELECT version FROM millrace.define_workflow('{"workflow": "definition", "steps": [{"key": "a", "handler": "noop"}]}');
SELECT version, defined_by FROM millrace.workflows WHERE workflow = 'definition' ORDER BY version;
RESET ROLE;
SELECT millrace.validate_workflow('{"workflow": "definition", "steps": [{"key": "a", "handler": "noop"}]}');
