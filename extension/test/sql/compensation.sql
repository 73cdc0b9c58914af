-- Compensations: what had completed is undone, the last first, when a run has failed or was cancelled; then `finally`, then the end.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', lease => '1 hour');
SELECT test.register('undoer', '{undo}', lease => '1 hour');
CREATE FUNCTION pg_temp.define(workflow text, definition text) RETURNS integer LANGUAGE sql AS $$
    SELECT (millrace.define_workflow('{"defaults": {"handler": "noop"}}' || definition::jsonb || jsonb_build_object('workflow', workflow))).version
$$;
-- What an agent is given to undo, step by step, until nothing is left; those in `failing` fail for good.
CREATE PROCEDURE pg_temp.undo(failing text[] DEFAULT '{}') LANGUAGE plpgsql AS $$
DECLARE
    step record;
BEGIN
    LOOP
        SELECT * INTO step FROM millrace.claim(test.agent('undoer'));
        EXIT WHEN NOT FOUND;
        COMMIT;
        RAISE NOTICE '%', concat_ws(' ', step.key || '[' || step.element || ']', CASE WHEN step.element IS NULL THEN step.key END, step.settings, step.input);
        PERFORM FROM millrace.report(test.agent('undoer'), ARRAY[step.run_id], ARRAY[step.step_no], ARRAY[step.token],
            ARRAY[CASE WHEN concat(step.key, '[' || step.element || ']') = ANY (failing) THEN 'fatal' ELSE 'completed' END]);
        COMMIT;
    END LOOP;
END $$;
SET client_min_messages = notice;

SELECT pg_temp.define('saga', '{"steps": [{"key": "a", "compensate": {"handler": "noop"}}, {"key": "b", "needs": ["a"], "compensate": {"handler": "noop"}},
    {"key": "c", "needs": ["a"], "compensate": {"handler": "noop"}}, {"key": "plain", "needs": ["b", "c"]}, {"key": "d", "needs": ["plain"], "compensate": {"handler": "noop"}}]}');

-- A run that completes is not undone, and shows nothing of it.
SELECT test.start('saga', 'good');
SELECT reason FROM millrace.why_not_ready(test.run('good'), 'compensate:a');
CALL test.work('x');
SELECT test.show('good');
SELECT workflow, steps FROM millrace.workflows WHERE workflow = 'saga';
SELECT key, ancestors, descendants FROM millrace.dependency_paths WHERE workflow = 'saga' ORDER BY step_no;

-- The last to complete first: c completes before b.
SELECT test.start('saga', 'bad');
SELECT test.claim('x');
SELECT test.report('x', 'bad', 'a');
SELECT test.claim('x', 2);
SELECT test.report('x', 'bad', 'c');
SELECT test.report('x', 'bad', 'b');
SELECT test.claim('x');
SELECT test.report('x', 'bad', 'plain', 'fatal');
SELECT test.show('bad');
SELECT key, state, queue, handler, needs FROM millrace.steps WHERE run_id = test.run('bad') AND key ~ ':' ORDER BY step_no DESC;
SELECT reason FROM millrace.why_not_ready(test.run('bad'), 'compensate:a');
SELECT steps_total, steps_ready, steps_pending FROM millrace.run_progress WHERE run_id = test.run('bad');
CALL test.work('x');
SELECT test.show('bad');
SELECT event, step, attempt, data FROM test.log('bad');

-- What retention has taken from the log is older than what is left, and told apart by its times.
SELECT test.start('saga', 'forgotten');
SELECT test.claim('x');
SELECT test.report('x', 'forgotten', 'a');
SELECT test.claim('x', 2);
SELECT test.at(1);
SELECT test.report('x', 'forgotten', 'c');
DELETE FROM millrace_internal.event WHERE run_id = test.run('forgotten');
SELECT test.report('x', 'forgotten', 'b');
CALL test.work('x', '{plain}');
SELECT test.start('saga', 'forgotten');
SELECT test.claim('x');
SELECT test.report('x', 'forgotten', 'a');
SELECT test.claim('x', 2);
SELECT test.report('x', 'forgotten', 'b');
SELECT test.at(2);
SELECT test.report('x', 'forgotten', 'c');
DELETE FROM millrace_internal.event WHERE run_id = test.run('forgotten');
CALL test.work('x', '{plain}');

-- Nothing that could be undone has completed.
SELECT test.start('saga', 'early');
CALL test.work('x', '{a}');
SELECT test.show('early');
SELECT event, step, data FROM test.log('early');
-- Such a run may be retried.
SELECT millrace.retry(test.run('early'));
CALL test.work('x', '{plain}');
SELECT test.show('early');

-- A cancel, a deadline, and on_failure: cancel undo too.
SELECT test.start('saga', 'stopped');
SELECT test.claim('x');
SELECT test.report('x', 'stopped', 'a');
SELECT test.claim('x');
SELECT millrace.cancel(test.run('stopped'), 'no more');
SELECT test.show('stopped');
CALL test.work('x');
SELECT test.show('stopped');
SELECT event, step, data FROM test.log('stopped');
SELECT test.at(0);
SELECT test.start('saga', 'late', deadline => millrace_internal.clock() + '1 min');
SELECT test.claim('x');
SELECT test.report('x', 'late', 'a');
SELECT test.at(61);
SELECT test.show('late');
CALL test.work('x');
SELECT test.show('late');
-- What goes on longer than the deadline is not stopped by it.
SELECT test.start('saga', 'slower', deadline => millrace_internal.clock() + '1 min');
SELECT test.claim('x');
SELECT test.report('x', 'slower', 'a');
SELECT test.claim('x', 2);
SELECT test.report('x', 'slower', 'b', 'fatal');
SELECT test.report('x', 'slower', 'c');
SELECT test.at(200);
SELECT test.show('slower');
CALL test.work('x');
SELECT test.show('slower');
SELECT pg_temp.define('saga-cancel', '{"on_failure": "cancel", "steps": [{"key": "a", "compensate": {"handler": "noop"}}, {"key": "b"}, {"key": "c", "needs": ["b"]}]}');
SELECT test.start('saga-cancel');
CALL test.work('x', '{b}');
SELECT test.show('saga-cancel');

-- What a compensation is given: output and input of what it undoes, the needs up to there, elements, and how the run ended.
SELECT pg_temp.define('saga-given', '{"steps": [
    {"key": "list"},
    {"key": "pay", "needs": ["list"], "input": {"sum": "$.needs.list.sum"}, "retry": {"limit": 3},
     "compensate": {"handler": "undo", "with": {"to": {"$path": "$.run.to"}, "text": {"$template": "{{output.id}} of {{input.sum}}"}},
                    "input": {"id": "$.output.id", "sum": "$.input.sum", "list": "$.needs.list", "pay": "$.needs.pay.id", "why": "$.ended"}, "required": ["id"]}},
    {"key": "each", "needs": ["list", "pay"], "for_each": {"in": "$.needs.list.items", "parallel": 2}, "compensate": {"handler": "undo", "input": {"what": "$.element", "at": "$.index", "was": "$.output"}}},
    {"key": "all", "needs": ["list"], "compensate": {"handler": "undo"}},
    {"key": "none", "needs": ["list"], "output": "none", "compensate": {"handler": "undo", "input": {"id": "$.output.id"}, "required": true}},
    {"key": "end", "needs": ["each", "all", "none"]}]}');
SELECT test.start('saga-given', input => '{"to": "bank"}');
SELECT test.claim('x');
SELECT test.report('x', 'saga-given', 'list', output => '{"sum": 9, "items": ["p", "q", "r"]}');
SELECT test.claim('x', 3);
SELECT test.report('x', 'saga-given', 'none', output => '{"id": 5}');
SELECT test.report('x', 'saga-given', 'all', output => '[1, 2]');
SELECT test.report('x', 'saga-given', 'pay', output => '{"id": 7}');
CALL test.work('x', '{end}');
CALL pg_temp.undo();
CALL pg_temp.undo();
SELECT key, element, state, error, error_class FROM millrace.steps WHERE run_id = test.run('saga-given') AND key ~ ':' ORDER BY step_no DESC;
SELECT event, data FROM test.log('saga-given') WHERE event ~ 'run_';

-- Elements that completed are undone, though their step has failed.
SELECT pg_temp.define('saga-some', '{"steps": [{"key": "each", "for_each": [1, 2, 3], "compensate": {"handler": "undo", "input": "$.element"}}]}');
SELECT test.start('saga-some');
SELECT run_id, step_no, token FROM millrace.claim(test.agent('x'), 3) ORDER BY element LIMIT 1 OFFSET 1 \gset
SELECT answer FROM millrace.report(test.agent('x'), ARRAY[:run_id], ARRAY[:step_no], ARRAY[:token], '{completed}');
SELECT s.step_no, s.token FROM millrace.steps s WHERE run_id = :run_id AND element = 0 \gset
SELECT answer FROM millrace.report(test.agent('x'), ARRAY[:run_id], ARRAY[:step_no], ARRAY[:token], '{fatal}');
SELECT test.at(201);
CALL pg_temp.undo();
SELECT test.show('saga-some');

-- Tries and timeouts are its own; the workflow's defaults hold, the step's queue does. One that fails for good does not keep the others from it.
SELECT pg_temp.define('saga-tried', '{"defaults": {"handler": "noop", "retry": {"limit": 1, "backoff": "10s", "jitter": 0}}, "steps": [
    {"key": "a", "compensate": {"handler": "undo"}}, {"key": "b", "needs": ["a"], "queue": "default", "compensate": {"handler": "undo", "timeout": "5s", "retry": {"limit": 0}}},
    {"key": "c", "needs": ["b"], "compensate": {"handler": "undo"}}, {"key": "z", "needs": ["c"], "retry": {"limit": 0}}],
    "finally": [{"key": "tell", "handler": "undo", "input": "$.ended"}]}');
SELECT test.start('saga-tried');
CALL test.work('x', '{z}');
SELECT test.claim('undoer');
SELECT test.report('undoer', 'saga-tried', 'compensate:c', 'failed', error => 'busy');
SELECT key, state, attempts, error FROM millrace.steps WHERE run_id = test.run('saga-tried') AND key ~ ':' ORDER BY step_no DESC;
SELECT test.at(211);
SELECT test.claim('undoer');
SELECT test.report('undoer', 'saga-tried', 'compensate:c', 'failed', error => 'busy still');
SELECT test.claim('undoer');
SELECT test.at(220);
SELECT key, state, attempts, error, error_class FROM millrace.steps WHERE run_id = test.run('saga-tried') AND key ~ ':' ORDER BY step_no DESC;
CALL pg_temp.undo();
SELECT test.show('saga-tried');
SELECT event, step, data FROM test.log('saga-tried') WHERE event IN ('run_ending', 'run_failed', 'step_failed');
SELECT key, reason, error_class, attempts FROM millrace.dead_letters WHERE run_id = test.run('saga-tried') ORDER BY step_no DESC;

-- What failed can be run again, by its key, once the run has ended; the run then ends as it had. What was done cannot.
SELECT code, message, detail, hint FROM test.fails(format('SELECT millrace.retry(%s)', test.run('saga-tried')));
SELECT code, message, detail, hint FROM test.fails(format('SELECT millrace.retry(%s, ''z'')', test.run('saga-tried')));
SELECT code, message, detail, hint FROM test.fails(format('SELECT millrace.resolve(%s, ''z'')', test.run('saga-tried')));
SELECT code, message, hint FROM test.fails(format('SELECT millrace.retry(%s, ''compensate:a'')', test.run('saga-tried')));
SELECT code, message, hint FROM test.fails(format('SELECT millrace.resolve(%s, ''compensate:a'')', test.run('saga-tried')));
SELECT millrace.retry(test.run('saga-tried'), 'compensate:c');
SELECT test.show('saga-tried');
SELECT code, message, detail, hint FROM test.fails(format('SELECT millrace.retry(%s, ''compensate:b'')', test.run('saga-tried')));
CALL pg_temp.undo('{compensate:c}');
SELECT test.show('saga-tried');
-- By filter; of such runs the letters of main steps are left alone.
SELECT steps FROM millrace.retry_where(workflow => 'saga-tried', dry_run => true);
SELECT steps FROM millrace.retry_where(workflow => 'saga-tried');
SELECT test.show('saga-tried');
CALL pg_temp.undo('{compensate:b}');
SELECT test.show('saga-tried');
SELECT count(*) FROM millrace.resolve_where('z', workflow => 'saga-tried');
SELECT count(*) FROM millrace.resolve_where('compensate:b', '{"by": "hand"}', 'ana', 'phoned', workflow => 'saga-tried');
SELECT key, state, output FROM millrace.steps WHERE run_id = test.run('saga-tried') AND key = 'compensate:b';
SELECT key FROM millrace.dead_letters WHERE run_id = test.run('saga-tried');
SELECT event, step, data FROM test.log('saga-tried') WHERE event ~ 'run_|resolved|reset' ;

-- While it goes on: a first cancel of a failing run lets it go on, a second one gives up the rest. A pause holds it.
SELECT pg_temp.define('saga-long', '{"steps": [{"key": "a", "compensate": {"handler": "undo"}}, {"key": "b", "needs": ["a"], "compensate": {"handler": "undo"}}, {"key": "z", "needs": ["b"]}],
    "finally": [{"key": "last"}]}');
SELECT test.start('saga-long', 'given-up');
CALL test.work('x', '{z}');
SELECT code, message, hint FROM test.fails(format('SELECT millrace.retry(%s)', test.run('given-up')));
SELECT code, message, hint FROM test.fails(format('SELECT millrace.fork(%s, ''z'')', test.run('given-up')));
SELECT code, message, hint FROM test.fails(format('SELECT FROM millrace.add_steps(%s, ''{"steps": [{"key": "n", "handler": "noop"}]}'')', test.run('given-up')));
SELECT code, message FROM test.fails(format('SELECT FROM millrace.migrate_run(%s)', test.run('given-up')));
SELECT millrace.cancel(test.run('given-up'), 'enough');
SELECT test.show('given-up');
SELECT count(*) FROM millrace.cancel_where(workflow => 'saga-long');
SELECT millrace.pause(test.run('given-up'));
SELECT test.claim('undoer');
SELECT millrace.resume(test.run('given-up'));
SELECT test.claim('undoer');
SELECT millrace.cancel(test.run('given-up'), 'at once');
SELECT test.report('undoer', 'given-up', 'compensate:b');
SELECT test.show('given-up');
CALL test.work('x');
SELECT test.show('given-up');
SELECT event, step, data FROM test.log('given-up') WHERE event ~ 'run_|cancelled';
SELECT millrace.retry(test.run('given-up'), 'compensate:a');
CALL pg_temp.undo();
SELECT test.show('given-up');
-- Steps of finally by themselves may run again.
SELECT test.start('saga-long', 'tail');
CALL test.work('x', '{z}');
CALL pg_temp.undo();
CALL test.work('x', '{last}');
SELECT test.show('tail');
SELECT millrace.retry(test.run('tail'), 'last');
CALL test.work('x');
SELECT test.show('tail');

-- A compensation that runs again once its run had ended is no more given up by a first cancel than before.
SELECT test.start('saga-long', 'afterwards');
CALL test.work('x', '{z}');
CALL pg_temp.undo('{compensate:a}');
CALL test.work('x');
SELECT millrace.retry(test.run('afterwards'), 'compensate:a');
SELECT count(*) FROM millrace.cancel_where(workflow => 'saga-long');
SELECT millrace.cancel(test.run('afterwards'), 'too late');
SELECT test.show('afterwards');
CALL pg_temp.undo();
SELECT test.show('afterwards');
SELECT event, step, data FROM test.log('afterwards') WHERE event ~ 'run_';

-- Where there was nothing to undo, a run that failed or was cancelled may be retried, and ends as its steps then do.
SELECT pg_temp.define('saga-mended', '{"steps": [{"key": "a", "compensate": {"handler": "noop"}}, {"key": "b", "needs": ["a"]}]}');
SELECT test.start('saga-mended');
CALL test.work('x', '{a}');
SELECT millrace.retry(test.run('saga-mended'));
CALL test.work('x');
SELECT test.show('saga-mended');
SELECT test.start('saga-mended', 'wanted-again');
SELECT millrace.cancel(test.run('wanted-again'), 'unwanted');
SELECT millrace.retry(test.run('wanted-again'));
CALL test.work('x', '{b}');
SELECT test.show('wanted-again');
SELECT event, step, data FROM test.log('wanted-again') WHERE event ~ 'run_';

-- An agent that is lost in the middle: it is handed out again.
SELECT test.start('saga-long', 'lost');
CALL test.work('x', '{z}');
SELECT test.register('mortal', '{undo}', lease => '10 s');
SELECT test.claim('mortal');
SELECT test.at(240);
CALL pg_temp.undo();
CALL test.work('x');
SELECT test.show('lost');

-- A failure that another step handles is none; what somebody resolved is undone like what completed.
SELECT pg_temp.define('saga-handled', '{"steps": [{"key": "a", "on_error": "b", "compensate": {"handler": "noop"}}, {"key": "b", "compensate": {"handler": "noop"}}, {"key": "c", "needs": ["b"]}]}');
SELECT test.start('saga-handled');
CALL test.work('x', '{a}');
SELECT test.show('saga-handled');
SELECT test.start('saga-handled', 'half');
CALL test.work('x', '{a,c}');
SELECT test.show('half');
SELECT pg_temp.define('saga-resolved', '{"steps": [{"key": "a", "compensate": {"handler": "noop"}}, {"key": "b"}, {"key": "c", "needs": ["a"]}]}');
SELECT test.start('saga-resolved');
SELECT test.claim('x', 2);
SELECT test.report('x', 'saga-resolved', 'a', 'fatal');
SELECT millrace.resolve(test.run('saga-resolved'), 'a', '1');
SELECT test.report('x', 'saga-resolved', 'b');
CALL test.work('x', '{c}');
SELECT test.show('saga-resolved');

-- Runs of other workflows: one that fails undoes its own steps first; one that has completed is undone by what its step says, alone.
CREATE FUNCTION pg_temp.family(name text) RETURNS TABLE (workflow text, state text, steps text) LANGUAGE sql AS $$
    SELECT r.workflow, r.state, (SELECT string_agg(concat_ws(' ', s.key, s.state), ', ' ORDER BY s.step_no) FROM millrace.steps s WHERE s.run_id = r.run_id)
    FROM millrace.runs r WHERE r.trace = name ORDER BY r.run_id
$$;
SELECT pg_temp.define('saga-inner', '{"steps": [{"key": "i", "compensate": {"handler": "noop"}}, {"key": "j", "needs": ["i"]}]}');
SELECT pg_temp.define('saga-outer', '{"steps": [{"key": "sub", "workflow": "saga-inner", "compensate": {"handler": "undo", "input": {"given": "$.input", "came": "$.output"}}}, {"key": "z", "needs": ["sub"]}]}');
SELECT test.start('saga-outer', input => '{"n": 1}');
CALL test.work('x', '{z}');
SELECT test.at(240);
CALL test.work('x', '{z}');
CALL pg_temp.undo();
SELECT * FROM pg_temp.family('saga-outer');
SELECT test.start('saga-outer', 'saga-outer-2');
CALL test.work('x', '{j}');
SELECT test.at(240);
SELECT * FROM pg_temp.family('saga-outer-2');
-- A parent that is cancelled: its run undoes what it has done.
SELECT test.start('saga-outer', 'saga-outer-3');
SELECT test.claim('x');
SELECT answer FROM millrace.steps s, millrace.report(test.agent('x'), ARRAY[s.run_id], ARRAY[s.step_no], ARRAY[s.token], '{completed}') WHERE s.key = 'i' AND s.state = 'running';
SELECT millrace.cancel(min(run_id)) FROM millrace.runs WHERE trace = 'saga-outer-3';
SELECT test.at(240);
CALL test.work('x');
SELECT * FROM pg_temp.family('saga-outer-3');

-- A fork runs anew what was undone, and all below; it undoes only what it has done itself.
SELECT pg_temp.define('saga-forked', '{"steps": [{"key": "a"}, {"key": "b", "needs": ["a"], "compensate": {"handler": "noop"}}, {"key": "c", "needs": ["b"]}, {"key": "d", "needs": ["a"], "compensate": {"handler": "noop"}}, {"key": "e", "needs": ["d"]}]}');
SELECT test.start('saga-forked');
CALL test.work('x', '{e}');
SELECT test.show('saga-forked');
SELECT code, message, hint FROM test.fails(format('SELECT millrace.fork(%s, ''compensate:b'')', test.run('saga-forked')));
SELECT millrace.fork(test.run('saga-forked'), 'e') IS NOT NULL AS forked;
SELECT test.show('saga-forked');
CALL test.work('x');
SELECT test.show('saga-forked');
SELECT millrace.fork(test.run('saga-forked'), 'e') IS NOT NULL AS forked;
CALL test.work('x', '{e}');
SELECT test.show('saga-forked');

-- Runs that grow keep their compensations, and may get others.
SELECT pg_temp.define('saga-grown', '{"steps": [{"key": "a"}, {"key": "b", "needs": ["a"]}]}');
SELECT test.start('saga-grown');
SELECT code, message, detail FROM test.fails(format('SELECT FROM millrace.add_steps(%s, ''{"steps": [{"key": "compensate:a", "handler": "noop"}]}'')', test.run('saga-grown')));
SELECT key FROM millrace.add_steps(test.run('saga-grown'), '{"steps": [{"key": "n", "handler": "noop", "compensate": {"handler": "noop"}}], "edges": {"b": ["n"]}}');
SELECT code, message, detail FROM test.fails(format('SELECT FROM millrace.add_steps(%s, ''{"steps": [{"key": "o", "handler": "noop", "needs": ["compensate:n"]}]}'')', test.run('saga-grown')));
SELECT key FROM millrace.add_steps(test.run('saga-grown'), '{"steps": [{"key": "m", "handler": "noop", "needs": ["n"], "compensate": {"handler": "noop"}}]}');
CALL test.work('x', '{b}');
SELECT test.show('saga-grown');
-- And runs that move take those of the other version.
SELECT pg_temp.define('saga-moved', '{"steps": [{"key": "a"}, {"key": "b", "needs": ["a"]}, {"key": "c", "needs": ["b"]}]}');
SELECT test.start('saga-moved');
SELECT test.claim('x');
SELECT test.report('x', 'saga-moved', 'a');
SELECT pg_temp.define('saga-moved', '{"steps": [{"key": "a", "compensate": {"handler": "noop"}}, {"key": "b", "needs": ["a"], "compensate": {"handler": "noop"}}, {"key": "c", "needs": ["b"]}]}');
SELECT key, change, allowed FROM millrace.migrate_run(test.run('saga-moved'));
CALL test.work('x', '{c}');
SELECT test.show('saga-moved');

-- SQL undoes in the transaction that tells so. Subscriptions tell the keys.
SELECT test.register('sqler', '{sql}');
SELECT pg_temp.define('saga-in-sql', '{"steps": [{"key": "a", "compensate": {"handler": "sql", "with": {"statement": "select $1->>''x''"}, "input": {"x": "$.run.x"}}}, {"key": "b", "needs": ["a"]}]}');
SELECT millrace.subscribe('undoing', 'now') \g /dev/null
SELECT test.start('saga-in-sql', input => '{"x": "y"}');
CALL test.work('x', '{b}');
SELECT run_id, step_no, token FROM millrace.claim(test.agent('sqler')) \gset
SELECT millrace.execute_sql(test.agent('sqler'), :run_id, :step_no, :token);
SELECT test.show('saga-in-sql');
SELECT kind, key FROM millrace.read_events('undoing');
SELECT millrace.unsubscribe('undoing');

-- Mistakes.
SELECT path, code, message, hint FROM millrace.validate_workflow('{"workflow": "w", "defaults": {"handler": "noop"}, "steps": [
    {"key": "a", "compensate": "b"}, {"key": "b", "compensate": {}}, {"key": "c", "compensate": {"handler": "noop", "needs": ["a"], "retry": {"limit": -1, "of": 2}, "timeout": 0, "queue": ""}},
    {"key": "d", "wait_for": {"duration": 1}, "compensate": {"handler": "noop"}}, {"key": "e", "cache": {"key": "$.run", "ttl": 1}, "compensate": {"handler": "noop"}},
    {"key": "f", "compensate": {"handler": "noop", "with": [], "input": "$..x"}}, {"key": "compensate:g"}, {"key": "j", "compensate": {"handler": "noop", "input": {"x": 1}, "required": ["y"]}},
    {"key": "k", "input": {"t": {"$template": "{{output.x}}"}}, "compensate": {"handler": "noop", "input": {"t": {"$template": "{{output.x}} {{result.x}}"}}}}],
    "finally": [{"key": "z", "compensate": {"handler": "noop"}}]}');
SELECT path, code, message, hint FROM millrace.validate_workflow('{"workflow": "w", "defaults": {"handler": "noop"}, "steps": [
    {"key": "h", "compensate": {"handler": "sql", "with": {"statement": "selec 1"}}}, {"key": "i", "compensate": {"handler": "sql"}}]}');
