-- Sub-runs (`workflow` as a step): the end of the child is the end of the step, and cancels go down.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');
-- All that can be done, by the agent and by the keeper, which carries ends and cancels between runs.
CREATE PROCEDURE pg_temp.work(failing text[] DEFAULT '{}') LANGUAGE plpgsql AS $$
DECLARE
    done text;
BEGIN
    LOOP
        CALL test.work('x', failing, done);
        WHILE millrace.keep() <= millrace_internal.clock() LOOP COMMIT; END LOOP;
        COMMIT;
        EXIT WHEN done = '' AND NOT EXISTS (SELECT FROM millrace_internal.timer t WHERE t.due_at <= millrace_internal.clock())
             AND NOT EXISTS (SELECT FROM millrace_internal.runs_alive(-1, 1000000) a JOIN millrace_internal.step s ON s.run_id = a.run_id AND s.state = 2
                             JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no AND d.handler = 'noop');
        done := '';
    END LOOP;
END $$;
-- The keeper alone.
CREATE FUNCTION pg_temp.keep() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WHILE millrace.keep() <= millrace_internal.clock() LOOP END LOOP;
END $$;
-- The children of a run, in a line each.
CREATE FUNCTION pg_temp.children(name text) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT format('%s %s %s: %s', r.workflow, r.state, r.input, (SELECT string_agg(s.key || ' ' || s.state, ', ' ORDER BY s.step_no) FROM millrace.steps s WHERE s.run_id = r.run_id))
    FROM (SELECT test.run(name) AS id OFFSET 0) p JOIN millrace.runs r ON r.run_id > p.id AND r.parent_run_id = p.id ORDER BY r.run_id
$$;
CREATE FUNCTION pg_temp.parent(name text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT format('%s: %s', r.state, (SELECT string_agg(s.key || coalesce('[' || s.element || ']', '') || ' ' || s.state, ', ' ORDER BY s.step_no) FROM millrace.steps s WHERE s.run_id = r.run_id))
    FROM (SELECT test.run(name) AS id OFFSET 0) p JOIN millrace.runs r ON r.run_id = p.id
$$;
CREATE OR REPLACE FUNCTION test.run(name text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT max(r.run_id) FROM millrace_internal.run r WHERE r.trace = name AND r.parent_run_id IS NULL
$$;
SELECT (millrace.define_workflow('{"workflow": "sub-child", "steps": [{"key": "a", "handler": "noop"}, {"key": "b", "handler": "noop", "needs": ["a"]}], "output": {"b": "$.needs.b", "of": "$.run.name"}}')).steps;
SELECT (millrace.define_workflow('{"workflow": "sub-parent", "steps": [{"key": "first", "handler": "noop"},
    {"key": "child", "needs": ["first"], "workflow": "sub-child", "input": {"name": "$.run.who"}}, {"key": "last", "needs": ["child"], "handler": "keep"}]}')).steps;
SELECT test.register('keep', '{keep}');

-- Down and up again.
SELECT test.start('sub-parent', 'plain', '{"who": "Ada"}', tenant => 'acme');
CALL pg_temp.work();
SELECT pg_temp.parent('plain'), * FROM pg_temp.children('plain');
SELECT input FROM millrace.claim(test.agent('keep'));
SELECT tenant, parent_step_no FROM millrace.runs WHERE parent_run_id = test.run('plain');
SELECT event, step, data - 'run_id' AS data FROM test.log('plain');

-- The child's failure is the step's, which has retries of its own; the operator's retry starts a new child.
SELECT (millrace.define_workflow('{"workflow": "sub-retry", "steps": [{"key": "child", "workflow": "sub-child", "retry": {"limit": 1, "backoff": 0}}, {"key": "after", "needs": ["child"], "handler": "noop"}]}')).steps;
SELECT test.start('sub-retry', 'failing', '{"name": 1}');
CALL pg_temp.work('{b}');
SELECT pg_temp.parent('failing'), * FROM pg_temp.children('failing');
SELECT regexp_replace(error, '\d+', '#') AS error FROM millrace.steps WHERE run_id = test.run('failing') AND key = 'child';
SELECT millrace.retry(test.run('failing'));
CALL pg_temp.work();
SELECT pg_temp.parent('failing'), * FROM pg_temp.children('failing');
SELECT millrace.run_output(test.run('failing'));

-- A cancel goes down; so does a timeout; a child that is cancelled fails its step for good.
SELECT test.start('sub-parent', 'stopped');
SELECT test.claim('x');
SELECT test.report('x', 'stopped', 'first');
SELECT pg_temp.children('stopped');
SELECT millrace.cancel(test.run('stopped'));
SELECT pg_temp.keep();
SELECT pg_temp.parent('stopped'), * FROM pg_temp.children('stopped');
SELECT test.start('sub-retry', 'cancelled below');
SELECT millrace.cancel(run_id) FROM millrace.runs WHERE parent_run_id = test.run('cancelled below');
SELECT pg_temp.keep();
SELECT pg_temp.parent('cancelled below'), * FROM pg_temp.children('cancelled below');
SELECT (millrace.define_workflow('{"workflow": "sub-timeout", "steps": [{"key": "child", "workflow": "sub-child", "timeout": 10}]}')).steps;
SELECT test.at(0);
SELECT test.start('sub-timeout', 'slow');
SELECT test.at(11);
SELECT pg_temp.parent('slow'), * FROM pg_temp.children('slow');

-- A run for each element, and runs of runs.
SELECT (millrace.define_workflow('{"workflow": "sub-each", "steps": [{"key": "each", "for_each": "$.run", "workflow": "sub-retry", "input": {"name": "$.element"}}]}')).steps;
SELECT test.start('sub-each', 'each', '["a", "b"]');
SELECT pg_temp.parent('each'), * FROM pg_temp.children('each');
CALL pg_temp.work();
SELECT pg_temp.parent('each'), * FROM pg_temp.children('each');
SELECT millrace.run_output(test.run('each'));

-- What cannot begin fails the step: an unknown workflow, an input that lacks something, runs without end.
SELECT (millrace.define_workflow('{"workflow": "sub-broken", "steps": [{"key": "unknown", "workflow": "sub-chidl"}, {"key": "version", "workflow": "sub-child", "version": 7},
    {"key": "input", "workflow": "sub-child", "input": {"a": "$.run.a"}, "required": true}]}')).steps;
SELECT test.start('sub-broken', 'broken');
CALL pg_temp.work();
SELECT key, state, error FROM millrace.steps WHERE run_id = test.run('broken') ORDER BY key;
SELECT (millrace.define_workflow('{"workflow": "sub-endless", "steps": [{"key": "again", "workflow": "sub-endless"}]}')).steps;
SELECT test.start('sub-endless', 'endless');
CALL pg_temp.work();
SELECT count(*), count(*) FILTER (WHERE state = 'failed') AS failed FROM millrace.runs WHERE workflow = 'sub-endless';
SELECT DISTINCT regexp_replace(error, 'run \d+', 'run #') AS error FROM millrace.steps s JOIN millrace.runs r USING (run_id) WHERE r.workflow = 'sub-endless' ORDER BY 1;

-- Mistakes.
SELECT path, code, message FROM millrace.validate_workflow('{"workflow": "w", "steps": [{"key": "a", "workflow": 1}, {"key": "b", "workflow": "w", "handler": "noop", "with": {}}, {"key": "c", "workflow": "w", "version": 0}, {"key": "d", "handler": "noop", "version": 1}]}');
