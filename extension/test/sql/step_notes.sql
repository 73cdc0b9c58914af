-- What running steps say of themselves: progress, checkpoints, logs.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x'), test.register('y');
SELECT test.define('long', 'a {"retry": {"limit": 2, "backoff": 0}}', 'b');
SELECT test.start('long', 'long');
SELECT test.claim('x', 2);
\set run 'test.run(\'long\')'

-- Progress: the last one counts; what cannot be a fraction is unknown; a hand-out that does not run here is passed over.
SELECT millrace.report_progress(test.agent('x'), ARRAY[:run, :run, :run], '{1, 1, 2}', '{1, 1, 1}', '{0.1, 0.25, 7}', '{"begun", "a quarter", null}');
SELECT key, state, progress, progress_message FROM millrace.steps WHERE run_id = :run ORDER BY step_no;
SELECT millrace.report_progress(test.agent('x'), ARRAY[:run, :run], '{1, 2}', '{9, 1}', '{0.9, 1}');
SELECT millrace.report_progress(test.agent('y'), ARRAY[:run], '{1}', '{1}', '{0.9}');
SELECT key, progress, progress_message FROM millrace.steps WHERE run_id = :run ORDER BY step_no;
SELECT code, message FROM test.fails('SELECT millrace.report_progress(test.agent(''x''), ''{1, 2}'', ''{1}'', ''{1}'', ''{0.5}'')');
SELECT code FROM test.fails('SELECT millrace.report_progress(0, ''{}'', ''{}'', ''{}'', ''{}'')');

-- A checkpoint is there for the next attempt, and not for anybody who has lost the step.
SELECT millrace.checkpoint(test.agent('x'), :run, 1, 1);
SELECT millrace.save_checkpoint(test.agent('x'), :run, 1, 1, '{"row": 10}');
SELECT millrace.save_checkpoint(test.agent('x'), :run, 1, 1, '{"row": 20}');
SELECT test.report('x', 'long', 'a', outcome => 'failed');
SELECT test.claim('y', 1);
SELECT millrace.checkpoint(test.agent('y'), :run, 1, 2);
SELECT f.code, f.message, f.hint FROM test.fails(format('SELECT millrace.save_checkpoint(test.agent(%L), %s, 1, 1, %L)', 'x', :run, '{"row": 30}')) f;
SELECT f.code FROM test.fails(format('SELECT millrace.checkpoint(test.agent(%L), %s, 1, 1)', 'x', :run)) f;
SELECT f.code, f.message FROM test.fails(format('SELECT millrace.save_checkpoint(test.agent(%L), %s, 1, 2, to_jsonb(repeat(%L, 2000000)))', 'y', :run, 'x')) f;
SELECT millrace.checkpoint(test.agent('y'), :run, 1, 2);
SELECT key, progress, progress_message FROM millrace.steps WHERE run_id = :run ORDER BY step_no;
SELECT millrace.save_checkpoint(test.agent('y'), :run, 1, 2, NULL);
SELECT millrace.checkpoint(test.agent('y'), :run, 1, 2);

-- Logs: each number once, so that a call may be repeated; bounded.
SELECT millrace.append_logs(test.agent('y'), ARRAY[:run, :run], '{1, 1}', '{2, 2}', '{1, 2}', '{stdout, stderr}', '{"one", "two"}');
SELECT millrace.append_logs(test.agent('y'), ARRAY[:run, :run], '{1, 1}', '{2, 2}', '{2, 3}', '{stderr, log}', '{"two again", ""}', ARRAY[timestamptz '2030-01-01 00:00:01Z', NULL]);
SELECT millrace.append_logs(test.agent('x'), ARRAY[:run, :run], '{1, 2}', '{1, 1}', '{1, 1}', '{stdout, stdout}', '{"stale", "of b"}');
SELECT millrace.append_logs(test.agent('y'), ARRAY[:run, :run, :run], '{1, 1, 1}', '{2, 2, 2}', '{9999, 10000, 10001}', '{log, log, log}', ARRAY[repeat('x', 8001), 'last', 'too much']);
SELECT key, token, line_no, test.seconds(at), stream, left(line, 30) AS line, length(line) FROM millrace.step_logs WHERE run_id = :run ORDER BY step_no, token, line_no;
SELECT f.code, f.message FROM unnest(ARRAY['{0}, {log}, {x}', '{1}, {other}, {x}', '{1}, {log}, {null}', '{1}, {null}, {x}', '{1,2}, {log}, {x}', '{1}, {log}, {x,y}']) u,
    regexp_matches(u, '^(\{.*?\}), (\{.*?\}), (\{.*\})$') m,
    test.fails(format('SELECT millrace.append_logs(test.agent(%L), ARRAY[%s], %L, %L, %L, %L, %L)', 'y', :run, '{1}', '{2}', m[1], m[2], m[3])) f;
-- They stay with the run.
SELECT test.report('y', 'long', 'a'), test.report('x', 'long', 'b');
SELECT test.show('long');
SELECT count(*) FROM millrace.step_logs WHERE run_id = :run;
-- Who may.
SET ROLE millrace_client;
SELECT millrace.append_logs(1, '{}', '{}', '{}', '{}', '{}', '{}');
SELECT count(*) > 0 FROM millrace.step_logs;
RESET ROLE;
