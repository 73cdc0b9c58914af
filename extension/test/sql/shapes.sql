-- Shapes: what a value must be like, and where it is not.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
CREATE FUNCTION pg_temp.fit(shape jsonb, VARIADIC answers jsonb[]) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s: %s', a, coalesce(millrace_internal.shape_problem(shape, a), 'fits')) FROM unnest(answers) WITH ORDINALITY u (a, ord) ORDER BY ord
$$;
-- Types.
SELECT pg_temp.fit('{"type": "string"}', '"x"', '1', 'null', '{}');
SELECT pg_temp.fit('{"type": "integer"}', '1', '1.0', '1.5', '1e20', '"1"');
SELECT pg_temp.fit('{"type": "number"}', '1', '1.5', 'true');
SELECT pg_temp.fit('{"type": ["string", "null"]}', '"x"', 'null', '1');
SELECT pg_temp.fit('{"type": ["integer", "null"]}', '1.5', 'null', '"x"');
SELECT pg_temp.fit('{}', '1', 'null', '[[]]');
SELECT pg_temp.fit('true', '1') UNION ALL SELECT pg_temp.fit('false', '1');
-- No value at all is JSON null.
SELECT millrace_internal.shape_problem('{"type": "object"}', NULL), millrace_internal.shape_problem('{"type": "null"}', NULL);
-- Objects.
SELECT pg_temp.fit('{"type": "object", "properties": {"total": {"type": "number"}, "odd name": {"type": "string"}}, "required": ["total"]}',
    '{"total": 1}', '{"total": "1"}', '{"odd name": "x"}', '{"total": 1, "odd name": 2}', '{"total": 1, "more": 2}', '[]');
SELECT pg_temp.fit('{"properties": {"a": {}}, "additionalProperties": false}', '{"a": 1}', '{"a": 1, "b": 2}', '7');
SELECT pg_temp.fit('{"properties": {"a": {}}, "additionalProperties": {"type": "number"}}', '{"a": "x", "b": 2}', '{"b": "x"}');
SELECT pg_temp.fit('{"required": ["a b", "c"]}', '{"c": 1}', '{"a b": null, "c": null}');
-- Arrays, numbers, texts, single values.
SELECT pg_temp.fit('{"type": "array", "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}, "minItems": 1, "maxItems": 3}',
    '[{"id": 1}]', '[]', '[{"id": 1}, {"id": "x"}]', '[{"id": 1}, {}]', '[{"id": 1}, {"id": 1}, {"id": 1}, {"id": 1}]');
SELECT pg_temp.fit('{"minimum": 0, "maximum": 10}', '0', '10', '-0.1', '10.5', '"many"');
SELECT pg_temp.fit('{"minLength": 2, "maxLength": 3, "pattern": "^[a-zß]+$"}', '"ab"', '"a"', '"abcd"', '"a1"', '"ßßß"', '1');
SELECT pg_temp.fit('{"enum": ["red", 1, {"a": 1}]}', '"red"', '1.0', '{"a": 1}', '{"a": 1, "b": 2}', '"blue"');
SELECT pg_temp.fit('{"const": {"a": [1]}}', '{"a": [1]}', '{"a": [1, 2]}');

-- What is no shape.
SELECT * FROM millrace_internal.shape_problems('{"type": "object", "properties": {"a": {"type": ["string", "null"], "pattern": "^x"}}, "required": ["a"], "items": true,
    "additionalProperties": false, "enum": [1], "minimum": 1, "maxLength": 5, "title": "t", "description": "d", "const": null, "minItems": 0}', 'shape');
SELECT * FROM millrace_internal.shape_problems('{"type": "text", "propertis": {}, "required": "a", "enum": [], "minimum": "1", "maxLength": -1, "minItems": 1.5, "pattern": "(", "title": 1,
    "items": {"type": []}, "properties": {"a": 5, "b": {"type": {"x": 1}, "nope": 1}}, "additionalProperties": "no"}', 'steps[0].output_shape');
SELECT * FROM millrace_internal.shape_problems('5', 'shape');
SELECT * FROM millrace_internal.shape_problems('{"properties": [], "const": 1, "$ref": "#/x"}', 'shape');
WITH RECURSIVE deep AS (SELECT 1 AS n, '{"items": true}'::jsonb AS shape UNION ALL SELECT n + 1, jsonb_build_object('items', shape) FROM deep WHERE n < 40)
SELECT code, message LIKE '%nested more than 32 deep' AS nested FROM deep, millrace_internal.shape_problems(shape, 's') WHERE n = 40;
