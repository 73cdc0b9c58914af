-- Purpose: a definition as rows. Nothing here refuses anything: logic/definition_check.sql does, before.

-- Returns: all steps of a definition in one array: the main ones, then those of finally.
CREATE OR REPLACE FUNCTION millrace_internal.definition_nodes(definition jsonb)
RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN definition ? 'finally' THEN (definition -> 'steps') || (definition -> 'finally') ELSE definition -> 'steps' END
$$;
COMMENT ON FUNCTION millrace_internal.definition_nodes(jsonb) IS 'The main steps of a definition, and behind them those of finally.';

-- Where the definition has its nth step.
CREATE OR REPLACE FUNCTION millrace_internal.node_path(definition jsonb, ordinal bigint)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN ordinal <= pg_catalog.jsonb_array_length(definition -> 'steps') THEN pg_catalog.format('steps[%s]', ordinal - 1)
                ELSE pg_catalog.format('finally[%s]', ordinal - 1 - pg_catalog.jsonb_array_length(definition -> 'steps')) END
$$;
COMMENT ON FUNCTION millrace_internal.node_path(jsonb, bigint) IS 'The path of a step, by its place among all.';

-- What the engine looks at when it would become ready.
CREATE OR REPLACE FUNCTION millrace_internal.is_entered(traits jsonb)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(traits ?| '{wait_for,for_each,workflow,cache,window,batch}' OR jsonb_path_exists(traits, '$.when[*].sql'), false)
$$;
COMMENT ON FUNCTION millrace_internal.is_entered(jsonb) IS 'Whether the engine enters steps with these traits (logic/enter.sql).';

-- What SQL decides, not C: as well what has a condition, or a deadline that begins.
CREATE OR REPLACE FUNCTION millrace_internal.is_looked_at(traits jsonb)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(traits ?| '{when,deadline}', false) OR millrace_internal.is_entered(traits)
$$;
COMMENT ON FUNCTION millrace_internal.is_looked_at(jsonb) IS 'Whether steps with these traits are decided in SQL alone.';

-- Returns: one row per step, with the workflow's defaults filled in.
CREATE OR REPLACE FUNCTION millrace_internal.definition_steps(definition jsonb)
RETURNS TABLE (ordinal integer, key text, handler text, queue text, rule smallint, rule_path jsonpath, priority smallint,
               retry jsonb, timeout jsonb, delay jsonb, expected jsonb, settings jsonb, input jsonb, required jsonb, needs jsonb, traits jsonb,
               on_error text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.ordinality::integer,
           s.step ->> 'key',
           CASE WHEN s.step ? 'wait_for' THEN 'wait_for' WHEN s.step ? 'workflow' THEN 'workflow' ELSE s.step ->> 'handler' END,
           coalesce(s.step ->> 'queue', 'default'),
           CASE WHEN f.keys IS NOT NULL THEN 4::smallint ELSE millrace_internal.rule_code(s.step ->> 'rule') END,
           CASE WHEN f.keys IS NOT NULL THEN millrace_internal.handler_rule_path(s.step, f.keys)::jsonpath
                WHEN millrace_internal.rule_code(s.step ->> 'rule') = 4 THEN millrace_internal.rule_path(s.step ->> 'rule')::jsonpath END,
           coalesce((s.step ->> 'priority')::numeric::smallint, 0::smallint),
           s.step -> 'retry', s.step -> 'timeout', s.step -> 'delay', s.step -> 'expected',
           s.step -> 'with', s.step -> 'input', s.step -> 'required', s.step -> 'needs',
           nullif(s.step - ARRAY['key', 'handler', 'queue', 'rule', 'priority', 'retry', 'timeout', 'delay', 'expected', 'with', 'input', 'required', 'needs', 'description'], '{}'),
           s.step ->> 'on_error'
    FROM (SELECT e.ordinality,
                 CASE WHEN d.defaults IS NULL THEN e.step
                      -- defaults are about handlers: how long they may take, and how often they are tried
                      WHEN e.step ?| '{wait_for,workflow}' THEN d.defaults - '{timeout,retry}'::text[] || e.step
                      WHEN d.defaults ? 'retry' AND e.step ? 'retry'
                      THEN d.defaults || e.step || jsonb_build_object('retry', (d.defaults -> 'retry') || (e.step -> 'retry'))
                      ELSE d.defaults || e.step END AS step
          FROM jsonb_array_elements(millrace_internal.definition_nodes(definition)) WITH ORDINALITY e (step, ordinality),
               (SELECT definition -> 'defaults' AS defaults) d) s
    LEFT JOIN (SELECT h.on_error, array_agg(h.key ORDER BY h.ordinal) AS keys FROM millrace_internal.definition_handled(definition) h GROUP BY 1) f
         ON f.on_error = s.step ->> 'key'
$$;
COMMENT ON FUNCTION millrace_internal.definition_steps(jsonb) IS 'The steps of a valid definition, in its order, defaults filled in.';

-- Returns: one row per declared need: the step's place and the key it needs; place null: a failure that it handles.
CREATE OR REPLACE FUNCTION millrace_internal.definition_needs(definition jsonb)
RETURNS TABLE (ordinal integer, place integer, key text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.ordinality::integer, n.ordinality::integer, n.key
    FROM jsonb_array_elements(millrace_internal.definition_nodes(definition)) WITH ORDINALITY e (step, ordinality),
         jsonb_array_elements_text(e.step -> 'needs') WITH ORDINALITY n (key, ordinality)
    WHERE jsonb_typeof(e.step -> 'needs') = 'array'
    UNION ALL
    SELECT e.ordinality::integer, NULL, h.key
    FROM millrace_internal.definition_handled(definition) h
    JOIN jsonb_array_elements(millrace_internal.definition_nodes(definition)) WITH ORDINALITY e (step, ordinality) ON e.step ->> 'key' = h.on_error
$$;
COMMENT ON FUNCTION millrace_internal.definition_needs(jsonb) IS 'The declared edges of a definition, by place and key.';
