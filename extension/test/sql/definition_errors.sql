-- Definitions that are refused: every code, the thing named, all mistakes at once, and nothing left behind.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
CREATE FUNCTION pg_temp.refuses(definition text) RETURNS TABLE (code text, message text, detail text, hint text) LANGUAGE sql AS $$
    SELECT * FROM test.fails(format('SELECT millrace.define_workflow(%L)', definition))
$$;
CREATE FUNCTION pg_temp.mistakes(steps text, more text DEFAULT '') RETURNS TABLE (path text, code text, message text, hint text) LANGUAGE sql AS $$
    SELECT * FROM millrace.validate_workflow(format('{"workflow": "refused", "steps": %s %s}', steps, more)::jsonb)
$$;
\pset format unaligned
\pset tuples_only on

-- Malformed.
SELECT * FROM pg_temp.refuses('{"workflow": ');
SELECT * FROM pg_temp.refuses('{"workflow": "\u0000", "steps": []}');
SELECT * FROM pg_temp.refuses(NULL);
SELECT * FROM pg_temp.refuses('[]');
SELECT * FROM pg_temp.refuses('null');
SELECT * FROM pg_temp.refuses('{}');
SELECT * FROM pg_temp.refuses('{"workflow": "refused"}');
SELECT * FROM pg_temp.refuses('{"workflow": "refused", "steps": {}}');
SELECT * FROM pg_temp.refuses('{"workflow": "refused", "steps": []}');
SELECT * FROM pg_temp.refuses('{"workflow": "", "steps": [{"key": "a", "handler": "noop"}]}');
SELECT * FROM pg_temp.refuses('{"workflow": 7, "steps": [{"key": "a", "handler": "noop"}]}');
SELECT * FROM pg_temp.refuses('{"workflow": "a\nb", "steps": [{"key": "a", "handler": "noop"}]}');
SELECT * FROM pg_temp.refuses('{"workflow": "refused", "on_failure": "stop", "steps": [{"key": "a", "handler": "noop"}]}');
SELECT * FROM pg_temp.refuses('{"workflow": "refused", "defaults": 1, "steps": [{"key": "a", "handler": "noop"}]}');
SELECT * FROM pg_temp.refuses('{"workflow": "refused", "description": 1, "steps": [{"key": "a", "handler": "noop"}]}');

-- What a step lacks does not hide what hangs together wrongly.
SELECT * FROM pg_temp.mistakes('[{"key": "a", "handlr": "noop"}, {"key": "b", "handler": "noop", "needs": ["c"]}]');
-- Wrong types within steps.
SELECT * FROM pg_temp.mistakes('["a", null, 1, []]');
SELECT * FROM pg_temp.mistakes('[{"handler": "noop"}, {"key": "b"}, {"key": "", "handler": "noop"}, {"key": 1, "handler": "noop"}, {"key": "e", "handler": 1}]');
SELECT * FROM pg_temp.mistakes('[{"key": "a", "handler": "noop", "needs": "b"}, {"key": "b", "handler": "noop", "needs": [1]}, {"key": "c", "handler": "noop", "with": []},
    {"key": "d", "handler": "noop", "retry": 3}, {"key": "e", "handler": "noop", "description": 5}]');
SELECT * FROM pg_temp.mistakes('[{"key": "a", "handler": "noop", "rule": "some"}, {"key": "b", "handler": "noop", "rule": null}, {"key": "c", "handler": "noop", "priority": 1.5},
    {"key": "d", "handler": "noop", "priority": 2000}, {"key": "e", "handler": "noop", "queue": ""}, {"key": "f", "handler": "", "priority": "1"}]');

-- Unknown keys, with the nearest known one where there is one near.
SELECT path, code, message, regexp_replace(hint, '^Known keys: .*', 'all keys') FROM pg_temp.mistakes('[{"key": "a", "handler": "noop", "need": ["b"], "retries": {}, "colour": 1, "retry": {"limits": 1, "backof": 1}}]',
    ', "step": [], "defaults": {"timeouts": 1, "retry": {"jiter": 0}}');

-- Duplicate keys, unknown needs with the nearest key, self-needs.
SELECT * FROM pg_temp.mistakes('[{"key": "a", "handler": "noop"}, {"key": "b", "handler": "noop"}, {"key": "a", "handler": "noop"}, {"key": "a", "handler": "noop"}]');
SELECT * FROM pg_temp.mistakes('[{"key": "validate", "handler": "noop"}, {"key": "charge", "handler": "noop", "needs": ["validat", "xyz", "Charge"]}]');
SELECT * FROM pg_temp.mistakes('[{"key": "a", "handler": "noop", "needs": ["a"]}, {"key": "b", "handler": "noop", "needs": ["a", "b"]}]');

-- Cycles, their keys in order; what hangs on a ring is not named.
SELECT * FROM pg_temp.mistakes('[{"key": "a", "handler": "noop", "needs": ["b"]}, {"key": "b", "handler": "noop", "needs": ["a"]}]');
SELECT * FROM pg_temp.mistakes('[{"key": "start", "handler": "noop"}, {"key": "x", "handler": "noop", "needs": ["z", "start"]}, {"key": "y", "handler": "noop", "needs": ["x"]},
    {"key": "z", "handler": "noop", "needs": ["y"]}, {"key": "end", "handler": "noop", "needs": ["z"]}]');

-- Sizes.
SELECT * FROM pg_temp.mistakes(format('[{"key": "%s", "handler": "noop"}, {"key": "b", "handler": "%s"}]', repeat('k', 201), repeat('h', 201)));
SELECT * FROM pg_temp.mistakes(format('[{"key": "a", "handler": "noop", "with": {"x": "%s"}}, {"key": "b", "handler": "noop", "input": "%1$s"}]', repeat('x', 1048576)));
SELECT * FROM pg_temp.mistakes((SELECT jsonb_agg(jsonb_build_object('key', n::text, 'handler', 'noop')) FROM generate_series(1, 100001) n)::text);

-- Intervals and retry.
SELECT * FROM pg_temp.mistakes('[{"key": "a", "handler": "noop", "timeout": "soon", "delay": -1, "expected": "10 parsecs"}, {"key": "b", "handler": "noop", "timeout": 0, "delay": true},
    {"key": "c", "handler": "noop", "timeout": "", "delay": "-1s", "expected": "infinity"}, {"key": "d", "handler": "noop", "timeout": "200 years", "delay": null},
    {"key": "e", "handler": "noop", "timeout": "1 day ago", "delay": "1e400 s", "expected": 1e100}, {"key": "f", "handler": "noop", "timeout": 1e400}]');
SELECT * FROM pg_temp.mistakes('[{"key": "a", "handler": "noop", "retry": {"limit": -1, "factor": 0, "jitter": 2, "backoff": "x", "max": "y"}},
    {"key": "b", "handler": "noop", "retry": {"limit": 1.5, "factor": "2", "jitter": -0.1, "backoff": -1, "max": []}}, {"key": "c", "handler": "noop", "retry": {"limit": 1e9, "factor": null}}]');

-- JSONPath.
SELECT * FROM pg_temp.mistakes('[{"key": "a", "handler": "noop", "input": {"x": "$.run.[", "y": ["$..a"], "z": "$ok", "fine": "$$.[", "plain": "5 $"}}]');
SELECT * FROM pg_temp.mistakes('[{"key": "a", "handler": "noop", "required": "x"}, {"key": "b", "handler": "noop", "input": {"x": "$.run"}, "required": ["y"]}, {"key": "c", "handler": "noop", "required": ["x"]}]');

-- SQL statements: names are resolved as the definer sees them.
SELECT * FROM pg_temp.mistakes('[{"key": "a", "handler": "sql"}, {"key": "b", "handler": "sql", "with": {"statement": 1}}, {"key": "c", "handler": "sql", "with": {"statement": "selec 1"}},
    {"key": "d", "handler": "sql", "with": {"statement": "select * from nowhere"}}, {"key": "e", "handler": "sql", "with": {"statement": "select 1; select 2"}},
    {"key": "f", "handler": "sql", "with": {"statement": "commit"}}, {"key": "g", "handler": "sql", "with": {"statement": ""}}, {"key": "h", "handler": "sql", "with": {"statement": "select $2"}},
    {"key": "i", "handler": "sql", "with": {"statement": "select $1->''run''"}}]');
-- All mistakes at once: the first is the error, all are in its detail.
SELECT * FROM pg_temp.refuses('{"workflow": "refused", "step": 1, "steps": [{"key": "a", "handler": "noop", "timeout": "soon"}, {"key": "b", "handlr": "noop"}]}');

-- The same for definitions that come with a submit.
SELECT * FROM test.fails($$SELECT millrace.submit('refused', definition => '{"steps": [{"key": "a", "handler": "noop", "needs": ["b"]}]}')$$);
SELECT * FROM test.fails($$SELECT millrace.submit('refused', definition => '[]')$$);

-- Nothing of all this is left.
SELECT count(*) FROM millrace.workflows WHERE workflow = 'refused';
SELECT count(*) FROM millrace_internal.workflow WHERE name = 'refused';
