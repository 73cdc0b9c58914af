-- Rules that look at what became of the needs: none_failed, all_failed, any_completed, expressions.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x');

-- A branch for the failure and one for the success, and where they join again.
SELECT test.define('kinds-branch', 'try', 'mend <- try {"rule": "all_failed"}', 'praise <- try', 'join <- mend praise {"rule": "any_completed"}',
                   'both <- mend praise', 'unless <- mend praise {"rule": "none_failed"}');
SELECT test.start('kinds-branch', 'good');
CALL test.work('x');
SELECT test.show('good');
SELECT test.start('kinds-branch', 'bad');
CALL test.work('x', '{try}');
SELECT test.show('bad');
SELECT test.start('kinds-branch', 'worse');
CALL test.work('x', '{try,mend}');
SELECT test.show('worse');
SELECT reason FROM millrace.why_not_ready(test.run('worse'), 'both');
SELECT event, step FROM test.log('bad') WHERE event LIKE 'step_s%' ORDER BY 1, 2;

-- none_failed: a need that was skipped does not matter, one that fell with a failure does.
SELECT test.define('kinds-none', 'a', 'b', 'branch <- a {"rule": "all_failed"}', 'fallen <- b', 'x <- branch b {"rule": "none_failed"}', 'y <- branch fallen {"rule": "none_failed"}',
                   'z <- y {"rule": "all_failed"}');
SELECT test.start('kinds-none', 'skipped');
CALL test.work('x');
SELECT test.show('skipped');
SELECT test.start('kinds-none', 'fallen');
CALL test.work('x', '{b}');
SELECT test.show('fallen');

-- any_completed does not wait for the others, and falls only with the last of them.
SELECT test.define('kinds-any', 'a', 'b', 'c', 'first <- a b c {"rule": "any_completed"}', 'then <- first');
SELECT test.start('kinds-any', 'early');
SELECT test.claim('x', 3);
SELECT test.report('x', 'early', 'b', 'fatal');
SELECT test.show('early');
SELECT test.report('x', 'early', 'c', steps => 5);
SELECT test.show('early');
SELECT test.report('x', 'early', 'first', steps => 5);
SELECT test.report('x', 'early', 'then');
SELECT test.show('early');
SELECT test.report('x', 'early', 'a');
SELECT test.show('early');
SELECT test.start('kinds-any', 'last');
SELECT test.claim('x', 3);
SELECT test.report('x', 'last', 'a', 'fatal'), test.report('x', 'last', 'c', 'fatal');
SELECT test.show('last');
SELECT test.report('x', 'last', 'b', 'fatal');
SELECT test.show('last');
-- all of them in one report
SELECT test.start('kinds-any', 'once');
SELECT test.claim('x', 3);
SELECT answer, key FROM millrace.report(test.agent('x'), array_fill(test.run('once'), '{3}'), '{1,2,3}', '{1,1,1}', '{fatal,completed,completed}', max_steps => 5);
CALL test.work('x');
SELECT test.report('x', 'once', 'first', steps => 5);
SELECT test.report('x', 'once', 'then');
SELECT test.show('once');

-- Expressions over the needs, by key.
SELECT test.define('kinds-words', 'a', 'b', 'c-c', 'd <- a {"rule": "all_failed"}', 'e <- a b c-c d {"rule": "a.completed && (b.failed || d.skipped) && !(c-c.cancelled)"}',
                   'f <- b {"rule": "!b.completed"}', 'g <- f b {"rule": "f.done && \"b\".done"}');
SELECT test.start('kinds-words', 'all');
CALL test.work('x');
SELECT test.show('all');
SELECT test.start('kinds-words', 'no b');
CALL test.work('x', '{b}');
SELECT test.show('no b');
SELECT test.start('kinds-words', 'no a');
CALL test.work('x', '{a}');
SELECT test.show('no a');

-- What a retry revives is decided again; what has run stays.
SELECT test.start('kinds-branch', 'again');
CALL test.work('x', '{try}');
SELECT millrace.retry(test.run('again'), 'try');
SELECT test.show('again');
CALL test.work('x');
SELECT test.show('again');

-- One that starts with the first need that completes does so in a retried run too, whatever becomes of the others.
SELECT test.define('kinds-first', 'a', 'b', 'c <- a b {"rule": "any_completed"}');
SELECT test.start('kinds-first', 'first');
SELECT test.claim('x', 2);
SELECT test.report('x', 'first', 'a');
SELECT millrace.cancel(test.run('first'));
SELECT millrace.retry(test.run('first'));
SELECT test.show('first');
CALL test.work('x', '{b}');
SELECT test.show('first');

-- What is no rule.
\pset format unaligned
\pset tuples_only on
SELECT p.path, p.message FROM unnest('{"a.completd","a.completed &&","b.completed","(a.failed","a.failed b","a.failed a.done","","any","a.done; b","!a.done","a.done_"}'::text[]) WITH ORDINALITY r (rule, ord)
CROSS JOIN LATERAL millrace.validate_workflow(jsonb_build_object('workflow', 'refused', 'steps', jsonb_build_array('{"key": "a", "handler": "noop"}'::jsonb, '{"key": "c", "handler": "noop"}'::jsonb,
    jsonb_build_object('key', 'd', 'handler', 'noop', 'needs', '["a", "c"]'::jsonb, 'rule', r.rule)))) p ORDER BY ord;
\pset format aligned
\pset tuples_only off
SELECT held FROM millrace.agents WHERE name = 'x';
