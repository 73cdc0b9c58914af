-- Values that `with` and `input` leave open: paths, templates with their data, secrets.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.register('x', '{http,noop,sleep,sql}');

-- What a template reads.
CREATE FUNCTION pg_temp.scan(VARIADIC texts text[]) RETURNS TABLE (text text, names jsonb, strangers text[], problem text) LANGUAGE sql AS $$
    SELECT t, s.names, s.strangers, s.problem FROM unnest(texts) WITH ORDINALITY u (t, ord) CROSS JOIN LATERAL millrace_internal.template_scan(t) s ORDER BY ord
$$;
SELECT * FROM pg_temp.scan('plain', 'Dear {{run.name}} and {{{ run.partner }}}, {{&needs.a}}', '{{#needs.a.items}}{{name}}{{^last()}}, {{/last()}}{{/needs.a.items}}',
    '{{upper(trim(run.name))}} {{number.2(needs.a.total)}} {{run.name}}', '{{needs.a}}{{needs.a.b}}{{needs.ab}}', '{{! run.x }}{{element.id}} {{index}} {{total}}',
    '{{#pages.20(run.items)}}{{number()}}: {{#.}}{{name}}{{/.}}{{/pages.20(run.items)}}', '{{^run.x}}none{{/run.x}}', 'a {b} } {{run.x}}}');
SELECT text, problem FROM pg_temp.scan('{{run.x', '{{{run.x}}', '{{#run.x}}', '{{/run.x}}', '{{#run.x}}{{/run.y}}', '{{run x}}', '{{}}', '{{upper(run.x}}', '{{uper(run.x)}}',
    '{{> header}}', '{{=<% %>=}}', '{{last(}}', '{{upper()}}', '{{#a}}{{#b}}{{/a}}{{/b}}', '{{$block}}{{/block}}', '{{% CONTENT_TYPE:TEXT }}');

-- Handed out: paths are values by now, templates have exactly the data that they name, secrets are references still, and
-- $places says where the agent has work left.
SELECT test.define('open', 'a {"handler": "http"}', $d$b <- a {"handler": "http", "with": {
    "url": {"$template": "https://host/{{needs.a.id}}?page={{run.page}}", "escape": "url"}, "id": {"$path": "$.needs.a.id"}, "all": {"$path": "$.needs.a.list[*].x"},
    "text": "$.run.page stays", "headers": {"authorization": {"$template": "Bearer {{token}} {{of}}", "data": {"token": "secret://API", "of": "$.run.user", "price": "$$5"}}, "key": "secret://KEY.1"},
    "list": [1, {"$path": "$.run.nothing"}, {"$template": "plain"}]}, "input": {"mail": {"$template": "$5, {{run.user}}: {{#needs.a.list}}{{x}} {{/needs.a.list}}"}, "user": {"$path": "$.run.user"}, "page": "$.run.page"}}$d$);
SELECT test.start('open', 'open', '{"page": 3, "user": "{{run.secret}}", "secret": "hidden", "forged": {"$template": "{{x}}"}}');
SELECT test.claim('x');
SELECT test.report('x', 'open', 'a', output => '{"id": "secret://OTHER", "list": [{"x": 1}, {"x": {"$path": "$.run.secret"}}], "unused": "not sent"}');
SELECT jsonb_pretty(settings) AS settings, jsonb_pretty(input) AS input FROM millrace.claim(test.agent('x'));

-- A handler without an input takes settings with values, too; a hand-over as well.
SELECT test.define('nap', 'a {"handler": "http"}', 'b <- a {"handler": "sleep", "with": {"seconds": {"$path": "$.needs.a.seconds"}}}', 'c <- b {"handler": "noop", "with": {"key": "secret://KEY"}}');
SELECT test.start('nap', 'nap');
SELECT test.claim('x');
SELECT answer, key, settings, input FROM millrace.report(test.agent('x'), ARRAY[test.run('nap')], '{1}', '{1}', '{completed}', '{"{\"seconds\": 2.5}"}', max_steps => 5);
SELECT answer, key, settings, input FROM millrace.report(test.agent('x'), ARRAY[test.run('nap')], '{2}', '{1}', '{completed}', max_steps => 5);

-- A whole input may be a template; required paths are those of its data, and of what stands beside it.
SELECT test.define('letter', 'a {"handler": "http", "input": {"$template": "{{run.name}}, {{due}}", "data": {"due": "$.run.due"}}, "required": true}');
SELECT test.start('letter', 'letter', '{"name": "Ann", "due": null}');
SELECT settings, input FROM millrace.claim(test.agent('x'));
SELECT test.start('letter', 'blank', '{"name": "Ann"}');
SELECT test.claim('x');
SELECT key, state, error FROM millrace.steps WHERE run_id = test.run('blank');

-- A path that goes wrong only with the data that it meets fails its step, whatever its handler takes.
SELECT test.define('late', 'a {"handler": "noop", "with": {"x": {"$path": "$.run.x ? (@ == $nowhere)"}}}');
SELECT test.start('late', 'late', '{"x": "no number"}');
SELECT test.claim('x');
SELECT key, state, error FROM millrace.steps WHERE run_id = test.run('late');
-- Values that are too large.
SELECT test.define('large', 'a {"handler": "noop", "with": {"x": {"$path": "$.run"}, "y": {"$path": "$.run"}}}');
SELECT test.start('large', 'large', to_jsonb(repeat('x', 600000)));
SELECT test.claim('x');
SELECT key, state, error FROM millrace.steps WHERE run_id = test.run('large');

-- Mistakes.
CREATE FUNCTION pg_temp.problems(step text) RETURNS TABLE (path text, code text, message text, hint text) LANGUAGE sql AS $$
    SELECT * FROM millrace.validate_workflow(jsonb_build_object('workflow', 'w', 'steps', jsonb_build_array('{"key": "a", "handler": "http"}' || step::jsonb)))
$$;
\x on
SELECT * FROM pg_temp.problems('{"with": {"$path": "$.run"}}');
SELECT * FROM pg_temp.problems('{"with": {"a": {"$path": "$.run["}, "b": [{"$path": 5}], "c": {"$path": "$.run", "more": 1}, "d": {"$path": "$x"}, "e": "secret://", "f": {"g": "secret://no/path"}}}');
SELECT * FROM pg_temp.problems('{"with": {"a": {"$template": "{{#run.x}}"}, "b": {"$template": 5}, "c": {"$template": "x", "excape": "html", "escape": "xml", "timezone": "Mars/Base", "locale": "german", "data": []}}}');
SELECT * FROM pg_temp.problems('{"with": {"a": {"$template": "{{total}} {{run.x}} {{tax.rate}} {{tax.base}} {{#rows}}{{inner}}{{/rows}}", "data": {"tax": "$.run[", "rows": []}}}}');
SELECT * FROM pg_temp.problems('{"input": {"a": {"$template": "{{/run.x}}"}, "b": {"$path": "run"}}, "with": {"ok": {"$set": {"x": 1}}, "price": "$5"}}');
SELECT * FROM pg_temp.problems('{"handler": "sql", "with": {"statement": "select 1", "more": {"$path": "$.run"}}, "input": {"$template": "x"}}');
SELECT * FROM pg_temp.problems('{"with": {"a": {"$template": "{{date(run.at)}}", "timezone": "Europe/Berlin", "locale": "de_DE", "escape": "html"}, "$path": "$.run"}}');
