-- Steps that wait for a person (`wait_for: {person: …}`).
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');
SELECT version FROM millrace.define_workflow('{"workflow": "vacation", "steps": [
    {"key": "approve", "timeout": "1 day", "wait_for": {"on_timeout": "skip", "person": {"assignee": "$.run.manager", "title": "Vacation", "answer":
        {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string", "maxLength": 20, "pattern": "^[A-Z]"}}}}}},
    {"key": "book", "needs": ["approve"], "when": "$.needs.approve.approved", "handler": "noop"},
    {"key": "check", "needs": ["approve"], "rule": "all_done", "wait_for": {"person": {"candidates": ["ann", "bob"], "title": "$.run.what"}}}]}');
SELECT millrace.submit('vacation', '{"manager": "eve", "what": "three weeks"}', trace => 'vacation', labels => '{"of": "tom"}', priority => 5, tenant => 'acme') > 0 AS submitted;
SELECT test.start('vacation', 'open', '{}'), test.start('vacation', 'wrong', '{"manager": 7}');
SELECT test.at(0);

-- The inbox: what waits for whom, since when, until when, and what is asked.
CREATE VIEW pg_temp.inbox AS
SELECT r.trace AS run, i.step_no, i.key, i.assignee, i.candidates, i.title, test.seconds(i.since) AS since, test.seconds(i.due) AS due, i.workflow, i.tenant, i.labels, i.priority, i.answer ->> 'type' AS answer
FROM millrace.inbox i JOIN millrace.runs r USING (run_id) ORDER BY i.run_id, i.step_no;
SELECT * FROM pg_temp.inbox;
SELECT test.show('wrong');
SELECT key, error FROM millrace.steps WHERE run_id = test.run('wrong') AND error IS NOT NULL;
SELECT reason, data -> 'for' AS waits_for FROM millrace.why_not_ready(test.run('vacation'), 'approve');
SELECT reason, data -> 'for' AS waits_for FROM millrace.why_not_ready(test.run('open'), 'approve');

-- Who answers: assigned by others, or taken by one of the candidates, once.
SELECT millrace.assign_human_step(test.run('open'), 'approve', 'zoe', assigned_by => 'eve');
SELECT millrace.claim_human_step(test.run('open'), 'approve', 'ann'), millrace.claim_human_step(test.run('open'), 'approve', 'zoe');
SELECT millrace.assign_human_step(test.run('open'), 'approve', NULL);
SELECT millrace.claim_human_step(test.run('open'), 'approve', 'ann'), millrace.claim_human_step(test.run('open'), 'approve', 'bob');
SELECT run, key, assignee FROM pg_temp.inbox;
SELECT event, step, data - 'by' AS data, data ->> 'by' = current_user AS by_me, data ->> 'by' IN ('ann', 'eve') AS by_name FROM test.log('open') WHERE event = 'step_assigned';

-- The answer must fit, and becomes the step's output.
SELECT f.* FROM unnest(ARRAY[NULL, '5', '{}', '{"approved": "yes"}', '{"approved": true, "reason": "Because of the long year"}', '{"approved": true, "reason": "because"}']) WITH ORDINALITY a (answer, ord),
    test.fails(format('SELECT millrace.complete_human_step(%s, %L, %L)', test.run('vacation'), 'approve', a.answer)) f ORDER BY a.ord;
SELECT run, key FROM pg_temp.inbox WHERE run = 'vacation';
SELECT millrace.complete_human_step(test.run('vacation'), 'approve', '{"approved": true, "reason": "Earned"}', completed_by => 'eve');
SELECT test.show('vacation');
SELECT run, key, candidates, title FROM pg_temp.inbox WHERE run = 'vacation';
SELECT event, step, data FROM test.log('vacation') WHERE event ~ '^step';
SELECT output FROM millrace.steps WHERE run_id = test.run('vacation') AND key = 'approve';
SELECT * FROM test.fails(format('SELECT millrace.complete_human_step(%s, %L, %L)', test.run('vacation'), 'approve', '{"approved": false}'));
SELECT * FROM test.fails(format('SELECT millrace.claim_human_step(%s, %L, %L)', test.run('vacation'), 'check', 'eve'));
SELECT * FROM test.fails(format('SELECT millrace.claim_human_step(%s, %L, NULL)', test.run('vacation'), 'check'));
SELECT millrace.claim_human_step(test.run('vacation'), 'check', 'bob');
-- anything fits where no shape is asked for
SELECT millrace.complete_human_step(test.run('vacation'), 'check');
CALL test.work('x');
SELECT test.show('vacation');

-- A timeout, a cancel.
SELECT test.at(86400);
SELECT test.show('open');
SELECT run, key FROM pg_temp.inbox;
SELECT millrace.cancel(test.run('open'));
SELECT run, key FROM pg_temp.inbox;
SELECT count(*) FROM millrace_internal.wait w WHERE w.run_id IN (test.run('vacation'), test.run('open'));

-- What is refused.
SELECT test.start('vacation', 'refused', '{"manager": "eve"}');
SELECT f.* FROM (VALUES ('complete_human_step(%s, ''book'', ''{}'')'), ('complete_human_step(%s, ''aprove'', ''{}'')'), ('complete_human_step(%s, ''check'', ''{}'')'), ('assign_human_step(%s, ''check'', ''ann'')'),
    ('assign_human_step(%s, ''approve'', '''')'), ('claim_human_step(%s, ''approve'', NULL)'), ('assign_human_step(%s, ''approve'', repeat(''x'', 201))'), ('complete_human_step(%s, ''approve'', ''{"approved": true}'', repeat(''x'', 201))'),
    ('complete_human_step(%s, ''approve'', ''{"approved": true}'', step_no => 2)')) v (call),
    test.fails(format('SELECT millrace.' || v.call, test.run('refused'))) f;
SELECT * FROM test.fails('SELECT millrace.complete_human_step(1, ''approve'', ''{}'')');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM test.fails(format('SELECT millrace.complete_human_step(%s, ''approve'', ''{"approved": true}'')', test.run('refused')));
ROLLBACK;
SELECT run, key, assignee FROM pg_temp.inbox;
