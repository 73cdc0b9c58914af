-- Batches (`batch`): steps with the same key wait for each other, and whoever claims one gets them all; each ends by itself.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
CREATE FUNCTION pg_temp.register(name text, protocol integer DEFAULT 2) RETURNS text LANGUAGE sql AS $$
    SELECT 'registered' FROM millrace.register_agent('{default}', '{noop}', name => name, protocol => protocol, lease => '1 h', listening => false)
$$;
-- What an agent got, batch by batch: a batch in brackets; single steps without.
CREATE FUNCTION pg_temp.claim(agent text, steps integer DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(CASE WHEN b.batch IS NULL THEN b.members ELSE format('[%s]', b.members) END, ' ' ORDER BY b.members), 'nothing')
    FROM (SELECT w.batch, string_agg(format('%s.%s#%s', w.trace, w.key, w.attempt), ' ' ORDER BY w.trace, w.key) AS members
          FROM millrace.claim(test.agent(agent), steps) WITH ORDINALITY
               w (run_id, step_no, token, attempt, workflow, key, handler, settings, input, timeout, element, trace, batch, ord)
          GROUP BY w.batch, CASE WHEN w.batch IS NULL THEN w.ord END) b
$$;
SELECT pg_temp.register('x'), pg_temp.register('y');

-- By key, across runs; nothing may be claimed before a batch is due or full.
SELECT test.define('mail', 'send {"batch": {"max": 3, "delay": "10s", "key": "$.run.to"}}', 'note <- send');
SELECT test.start('mail', 'a1', '{"to": "ann"}'), test.start('mail', 'b1', '{"to": "ben"}'), test.start('mail', 'a2', '{"to": "ann"}');
SELECT pg_temp.claim('x', 10);
SELECT test.show('a1');
SELECT reason FROM millrace.why_not_ready(test.run('a1'), 'send');
SELECT event, step, attempt, at, data ->> 'for' AS "for" FROM test.log('a1');
SELECT test.at(4);
SELECT pg_temp.claim('x', 10);
-- Full: at once, with one claim of one step.
SELECT test.start('mail', 'a3', '{"to": "ann"}');
SELECT test.at(4);
SELECT test.show('a1'), test.show('b1');
SELECT pg_temp.claim('x', 1);
SELECT pg_temp.claim('y', 10);
-- Due: the first has waited as long as it may. The next to come gather anew.
SELECT test.start('mail', 'b2', '{"to": "ben"}'), test.start('mail', 'a4', '{"to": "ann"}');
SELECT test.at(9.9);
SELECT pg_temp.claim('y', 10);
SELECT test.at(10);
SELECT pg_temp.claim('y', 10);
SELECT count(*) AS batches, sum(members) AS members FROM millrace_internal.batch;

-- Each member ends by itself: it completes, is tried again, fails.
SELECT test.report('x', 'a1', 'send'), test.report('x', 'a2', 'send', 'released'), test.report('x', 'a3', 'send', 'fatal', error => 'no such address');
SELECT test.show('a1'), test.show('a2'), test.show('a3');
-- What was given back gathers again, with those that are gathering.
SELECT test.at(14);
SELECT pg_temp.claim('x', 10);
SELECT test.report('x', 'a1', 'note');
SELECT test.report('x', 'a2', 'send'), test.report('x', 'a4', 'send'), test.report('y', 'b1', 'send'), test.report('y', 'b2', 'send');
CALL test.work('x');
SELECT count(*) AS members FROM millrace_internal.batch_member;

-- More than max make several batches, in the order in which they came; one claim takes as many batches as it asks for steps.
SELECT test.at(20);
SELECT string_agg(test.start('mail', 'm' || n, '{"to": "ann"}'), ' ' ORDER BY n) FROM generate_series(1, 8) n;
SELECT test.at(20);
SELECT pg_temp.claim('x', 1);
SELECT pg_temp.claim('x', 10);
SELECT test.at(30);
SELECT pg_temp.claim('x', 10);
SELECT string_agg(test.report('x', 'm' || n, 'send'), ' ') FROM generate_series(1, 8) n;
CALL test.work('x');

-- Tenants, and other settings, are not mixed; workflows are where all is the same. What has no key has one all the same: none.
SELECT test.define('mail-other', 'post {"batch": {"max": 3, "delay": "10s", "key": "$.run.to"}}');
SELECT test.define('mail-else', 'post {"with": {"subject": "x"}, "batch": {"max": 3, "delay": "10s", "key": "$.run.to"}}');
SELECT test.start('mail', 'own', '{"to": "ann"}'), test.start('mail-other', 'same', '{"to": "ann"}'), test.start('mail-else', 'differs', '{"to": "ann"}'),
       test.start('mail', 'tenant', '{"to": "ann"}', tenant => 'acme'), test.start('mail', 'nobody'), test.start('mail', 'nobody2', '{"to": null}');
SELECT test.at(40);
SELECT pg_temp.claim('x', 10);
SELECT test.report('x', 'own', 'send', 'fatal'), test.report('x', 'same', 'post'), test.report('x', 'differs', 'post'), test.report('x', 'tenant', 'send', 'fatal'),
       test.report('x', 'nobody', 'send', 'fatal'), test.report('x', 'nobody2', 'send', 'fatal');

-- What is urgent does not wait; nor does a batch of one step.
SELECT test.define('mail-urgent', 'send {"batch": {"max": 10, "delay": "1h", "urgent": -5}}');
SELECT test.define('mail-single', 'send {"batch": {"max": 1, "delay": "1h"}}');
SELECT test.start('mail-urgent', 'calm'), test.start('mail-urgent', 'soon', priority => -4), test.start('mail-urgent', 'now', priority => -5), test.start('mail-single', 'alone');
SELECT test.at(40);
SELECT pg_temp.claim('x', 10);
SELECT millrace.cancel(test.run('calm'), 'enough'), millrace.cancel(test.run('soon'), 'enough');
SELECT test.report('x', 'now', 'send'), test.report('x', 'alone', 'send');
SELECT count(*) AS members FROM millrace_internal.batch_member;

-- A failed try waits for its time, then gathers; without a delay the keeper takes what has come together.
SELECT test.define('mail-again', 'send {"batch": {"max": 10}, "retry": {"limit": 2, "backoff": "5s", "jitter": 0}}');
SELECT test.start('mail-again', 'r1'), test.start('mail-again', 'r2'), test.start('mail-again', 'r3');
SELECT test.at(40);
SELECT pg_temp.claim('x');
SELECT test.report('x', 'r1', 'send', 'failed', error => 'busy'), test.report('x', 'r2', 'send'), test.report('x', 'r3', 'send', 'failed', error => 'busy');
SELECT test.at(45);
SELECT pg_temp.claim('x');
SELECT test.report('x', 'r1', 'send'), test.report('x', 'r3', 'send');

-- A cancel of the member that stands for all leaves the others to be claimed; so does a pause; what was paused gathers again.
SELECT test.define('mail-held', 'send {"batch": {"max": 4, "delay": "10s"}}');
SELECT test.start('mail-held', 'h1'), test.start('mail-held', 'h2'), test.start('mail-held', 'h3'), test.start('mail-held', 'h4');
SELECT test.at(45);
SELECT millrace.cancel(test.run('h1'), 'enough'), millrace.pause(test.run('h2'));
SELECT pg_temp.claim('x');
SELECT millrace.resume(test.run('h2'));
SELECT test.show('h2');
SELECT test.at(55);
SELECT pg_temp.claim('x');
SELECT test.report('x', 'h2', 'send'), test.report('x', 'h3', 'send'), test.report('x', 'h4', 'send');
-- While it gathers: a paused run's step is parked when its batch is let go.
SELECT test.start('mail-held', 'p1'), test.start('mail-held', 'p2');
SELECT millrace.pause(test.run('p1'));
SELECT test.at(65);
SELECT pg_temp.claim('x', 10);
SELECT test.show('p1');
SELECT millrace.resume(test.run('p1'));
SELECT millrace.cancel(test.run('p1'), 'enough');
SELECT test.report('x', 'p2', 'send');
-- A run that was cancelled while it gathered, and is retried, gathers anew.
SELECT test.start('mail-held', 'c1');
SELECT millrace.cancel(test.run('c1'), 'enough');
SELECT millrace.retry(test.run('c1'));
SELECT test.at(75);
SELECT pg_temp.claim('x', 10);
SELECT test.report('x', 'c1', 'send');
SELECT count(*) AS members, (SELECT count(*) FROM millrace_internal.batch) AS batches FROM millrace_internal.batch_member;

-- An agent that knows nothing of batches gets their members one by one, and so may another one beside it.
SELECT pg_temp.register('old', 1);
SELECT test.start('mail-held', 'o1'), test.start('mail-held', 'o2'), test.start('mail-held', 'o3'), test.start('mail-held', 'o4');
SELECT test.at(75);
SELECT pg_temp.claim('old', 1);
SELECT pg_temp.claim('old', 2);
SELECT pg_temp.claim('x', 10);
SELECT string_agg(test.report('old', 'o' || n, 'send'), ' ' ORDER BY n) FROM generate_series(1, 3) n;
SELECT test.report('x', 'o4', 'send');

-- An agent that is lost in the middle of a batch: what it had reported stands, the rest gathers again.
SELECT 'registered' FROM millrace.register_agent('{default}', '{noop}', name => 'dies', protocol => 2, lease => '10 s', listening => false);
SELECT test.start('mail-held', 'l1'), test.start('mail-held', 'l2'), test.start('mail-held', 'l3'), test.start('mail-held', 'l4');
SELECT test.at(75);
SELECT pg_temp.claim('dies');
SELECT test.report('dies', 'l2', 'send');
SELECT test.at(90);
SELECT test.show('l1'), test.show('l2');
SELECT test.at(100);
SELECT pg_temp.claim('x');
SELECT test.report('x', 'l1', 'send'), test.report('x', 'l3', 'send'), test.report('x', 'l4', 'send');

-- Dependents join as any others; conditions and delays come first.
SELECT test.define('mail-deep', 'a', 'b <- a {"batch": {"max": 2, "key": {"to": "$.needs.a.to", "kind": "deep"}}, "when": "$.needs.a.go == true", "delay": "1s"}', 'c <- b');
SELECT test.start('mail-deep', 'd1'), test.start('mail-deep', 'd2'), test.start('mail-deep', 'd3');
SELECT pg_temp.claim('x', 3);
SELECT test.report('x', 'd1', 'a', output => '{"to": 1, "go": true}', steps => 5), test.report('x', 'd2', 'a', output => '{"to": 1, "go": true}', steps => 5),
       test.report('x', 'd3', 'a', output => '{"to": 1, "go": false}', steps => 5);
SELECT test.at(101);
SELECT pg_temp.claim('x', 1);
SELECT test.report('x', 'd1', 'b'), test.report('x', 'd2', 'b');
CALL test.work('x');
SELECT test.show('d1'), test.show('d2'), test.show('d3');
SELECT count(*) AS members, (SELECT count(*) FROM millrace_internal.batch) AS batches FROM millrace_internal.batch_member;

-- What is no batch.
SELECT v.path, v.code, v.message, v.hint FROM unnest(ARRAY['[]', '{}', '{"max": 0}', '{"max": 1.5, "delay": "soon"}', '{"max": "3", "urgent": "much"}', '{"max": 5, "key": "$.a["}', '{"max": 5, "maximum": 3}']::jsonb[]) b,
    millrace.validate_workflow(jsonb_build_object('workflow', 'w', 'steps', jsonb_build_array(jsonb_build_object('key', 'a', 'handler', 'noop', 'batch', b)))) v;
