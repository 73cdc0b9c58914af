-- Purpose: conditions in SQL, {"sql": "select …", "timeout": "1s", "cache": "10s"} in `when`: asked when the step would become ready,
-- after all conditions that are paths, with the rights and the search path of the workflow's definer, and read-only. $1 is what an
-- input may refer to. A condition that fails, or takes too long, fails its step.

CREATE OR REPLACE FUNCTION millrace_internal.condition_recall(key bytea, now_at timestamptz)
RETURNS boolean LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'millrace_condition_recall';
COMMENT ON FUNCTION millrace_internal.condition_recall(bytea, timestamptz) IS 'The answer that this session remembers; null without one.';

CREATE OR REPLACE FUNCTION millrace_internal.condition_remember(key bytea, answer boolean, until timestamptz)
RETURNS void LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'millrace_condition_remember';
COMMENT ON FUNCTION millrace_internal.condition_remember(bytea, boolean, timestamptz) IS 'Has this session remember an answer.';

CREATE OR REPLACE FUNCTION millrace_internal.condition_learn(version_id integer, def_no integer, place integer, seconds double precision, answer boolean)
RETURNS void LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'millrace_condition_learn';
COMMENT ON FUNCTION millrace_internal.condition_learn(integer, integer, integer, double precision, boolean) IS 'Has this session learn what a condition costs, and how often it is false.';

CREATE OR REPLACE FUNCTION millrace_internal.condition_order(version_id integer, def_no integer, places integer[])
RETURNS integer[] LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'millrace_condition_order';
COMMENT ON FUNCTION millrace_internal.condition_order(integer, integer, integer[]) IS 'Conditions of a step in the order that costs least until the first false one, by what this session has learnt.';

-- Returns: a step's conditions in SQL, and where they stand behind `.when`
CREATE OR REPLACE FUNCTION millrace_internal.conditions_in_sql(step jsonb)
RETURNS TABLE (place integer, suffix text, condition jsonb)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.ord::integer, CASE WHEN jsonb_typeof(step -> 'when') = 'array' THEN format('[%s]', e.ord - 1) ELSE '' END, e.condition
    FROM jsonb_array_elements(CASE jsonb_typeof(step -> 'when') WHEN 'array' THEN step -> 'when' ELSE jsonb_build_array(step -> 'when') END)
         WITH ORDINALITY e (condition, ord)
    WHERE jsonb_typeof(e.condition) = 'object'
$$;
COMMENT ON FUNCTION millrace_internal.conditions_in_sql(jsonb) IS 'The conditions of a step that are SQL.';

-- Mistakes of a condition in SQL. Its statement is checked with those of sql steps, as its definer.
CREATE OR REPLACE FUNCTION millrace_internal.condition_sql_problems(condition jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(condition, 'condition', at_path) u
    UNION ALL
    SELECT at_path || p.suffix, p.code, format(p.message, at_path, left(condition ->> substr(p.suffix, 2), 200)), p.hint
    FROM (VALUES
        ('.sql', 'MR111', '%s has no sql', 'Write for example {"sql": "select exists (select from stock)"}.', NOT condition ? 'sql'),
        ('.sql', 'MR112', '%s.sql is not a text', NULL, condition ? 'sql' AND jsonb_typeof(condition -> 'sql') <> 'string'),
        ('.timeout', 'MR109', '%s.timeout: "%s" is not an interval above 0, up to 60 s', 'Write seconds as a number, or text such as "500ms".',
         condition ? 'timeout' AND NOT coalesce(millrace_internal.seconds(condition -> 'timeout') BETWEEN 1e-9 AND 60, false)),
        ('.cache', 'MR109', '%s.cache: "%s" is not an interval', 'Write seconds as a number, or text such as "10s" or "5m".',
         condition ? 'cache' AND millrace_internal.seconds(condition -> 'cache') IS NULL)
    ) p (suffix, code, message, hint, wrong)
    WHERE p.wrong
$$;
COMMENT ON FUNCTION millrace_internal.condition_sql_problems(jsonb, text) IS 'Mistakes of a condition in SQL.';

-- What the definer may not run, or the server does not understand. The definition's parts have the right types by now.
CREATE OR REPLACE FUNCTION millrace_internal.condition_statement_problems(definition jsonb, definer name, path_of_definer text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c record;
BEGIN
    FOR c IN
        SELECT millrace_internal.node_path(definition, e.ord) || '.when' || q.suffix || '.sql' AS path, e.step ->> 'key' AS key, q.condition ->> 'sql' AS statement
        FROM jsonb_array_elements(millrace_internal.definition_nodes(definition)) WITH ORDINALITY e (step, ord), millrace_internal.conditions_in_sql(e.step) q
        WHERE e.step ? 'when' AND jsonb_typeof(q.condition -> 'sql') = 'string'
    LOOP
        BEGIN
            PERFORM millrace_internal.check_sql(definer::regrole, c.statement, path_of_definer);
        EXCEPTION WHEN OTHERS THEN
            path := c.path; code := 'MR110'; message := format('a condition of step "%s" cannot be used: %s', c.key, SQLERRM);
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_DETAIL;
            hint := nullif(concat_ws(' ', nullif(hint, ''), format('It is checked with the rights of %s.', definer)), '');
            RETURN NEXT;
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.condition_statement_problems(jsonb, name, text) IS 'Conditions in SQL whose statements cannot be used.';

-- Returns: the statement's answer, null counting as false; or why there is none
CREATE OR REPLACE FUNCTION millrace_internal.condition_ask(role_id oid, statement text, context jsonb, path_of_definer text, timeout double precision,
    OUT answer boolean, OUT problem text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET transaction_read_only = on AS $$
DECLARE
    began timestamptz := clock_timestamp();
    value jsonb;
BEGIN
    value := millrace_internal.execute_as(role_id, statement, context, path_of_definer, timeout);
    IF coalesce(jsonb_typeof(value), 'boolean') <> 'boolean' THEN
        problem := format('MR051: a condition answered %s, not true or false', left(value::text, 200));
    ELSE
        answer := coalesce(value::boolean, false);
    END IF;
EXCEPTION
    WHEN query_canceled THEN
        -- unless the caller himself was cancelled
        IF clock_timestamp() < began + make_interval(secs => timeout) THEN
            RAISE;
        END IF;
        problem := format('57014: a condition gave no answer within %s s', timeout);
    WHEN serialization_failure OR deadlock_detected THEN
        RAISE;
    WHEN OTHERS THEN
        problem := format('%s: a condition failed: %s', SQLSTATE, SQLERRM);
END $$;
COMMENT ON FUNCTION millrace_internal.condition_ask(oid, text, jsonb, text, double precision) IS 'Asks a condition, read-only and for so long at most.';

-- Returns: whether all conditions in SQL of a step are true, up to the first that is not
CREATE OR REPLACE FUNCTION millrace_internal.conditions_ask(in_shard smallint, in_run_id bigint, d millrace_internal.step_definition, OUT answer boolean, OUT problem text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    context    jsonb := millrace_internal.context_of(in_shard, in_run_id, d);
    now_at     timestamptz := millrace_internal.clock();
    v          record;
    its_place  integer;
    condition  jsonb;
    key        bytea;
    began      timestamptz;
    asked      record;
BEGIN
    SELECT ver.defined_by, ver.search_path INTO v FROM millrace_internal.version ver WHERE ver.version_id = d.version_id;
    answer := true;
    FOREACH its_place IN ARRAY millrace_internal.condition_order(d.version_id, d.def_no,
        ARRAY(SELECT c.place FROM millrace_internal.conditions_in_sql(d.traits) c))
    LOOP
        condition := (SELECT c.condition FROM millrace_internal.conditions_in_sql(d.traits) c WHERE c.place = its_place);
        key := sha256(convert_to(jsonb_build_array(v.defined_by::bigint, v.search_path, condition, context)::text, 'UTF8'));
        answer := millrace_internal.condition_recall(key, now_at);
        IF answer IS NULL THEN
            began := clock_timestamp();
            asked := millrace_internal.condition_ask(v.defined_by, condition ->> 'sql', context, v.search_path, coalesce(millrace_internal.seconds(condition -> 'timeout'), 1));
            IF asked.problem IS NOT NULL THEN
                answer := NULL; problem := asked.problem;
                RETURN;
            END IF;
            answer := asked.answer;
            PERFORM millrace_internal.condition_learn(d.version_id, d.def_no, its_place, extract(epoch FROM clock_timestamp() - began)::double precision, answer);
            IF condition ? 'cache' THEN
                PERFORM millrace_internal.condition_remember(key, answer, now_at + make_interval(secs => millrace_internal.seconds(condition -> 'cache')));
            END IF;
        END IF;
        EXIT WHEN NOT answer;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.conditions_ask(smallint, bigint, millrace_internal.step_definition) IS 'Asks the conditions in SQL of a step, cheapest first.';

-- Purpose:   steps whose conditions in SQL are not true are skipped, those whose conditions fail fail. A step that has been tried before is not asked about again.
-- Arguments: steps that are ready, and whose rows this call holds
-- Returns:   the others; and those that have ended, by their definitions' numbers, with their states
-- Tables changed: step, event.
CREATE OR REPLACE FUNCTION millrace_internal.condition_judge(in_shard smallint, run_ids bigint[], step_nos integer[],
    OUT runs bigint[], OUT steps integer[], OUT over_runs bigint[], OUT over_defs integer[], OUT over_states smallint[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    s          record;
    holds      boolean;
    problem    text;
    over_steps integer[];
    reasons    text[];
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(run_ids, step_nos) u (run_id, step_no)
                   JOIN millrace_internal.step t ON t.run_id = u.run_id AND t.step_no = u.step_no AND t.shard = in_shard
                   JOIN millrace_internal.step_definition d ON d.version_id = t.version_id AND d.def_no = t.def_no
                   WHERE (u.run_id & 255) = in_shard AND millrace_internal.asks_sql(d.traits)) THEN
        runs := run_ids; steps := step_nos;
        RETURN;
    END IF;
    FOR s IN
        SELECT u.run_id, u.step_no, d AS definition, t.attempts = 0 AND t.element IS NULL AND millrace_internal.asks_sql(d.traits) AS asks
        FROM unnest(run_ids, step_nos) u (run_id, step_no)
        JOIN millrace_internal.step t ON t.run_id = u.run_id AND t.step_no = u.step_no AND t.shard = in_shard
        JOIN millrace_internal.step_definition d ON d.version_id = t.version_id AND d.def_no = t.def_no
        WHERE (u.run_id & 255) = in_shard ORDER BY u.run_id, u.step_no
    LOOP
        holds := true;
        IF s.asks THEN
            SELECT a.answer, a.problem INTO holds, problem FROM millrace_internal.conditions_ask(in_shard, s.run_id, s.definition) a;
        END IF;
        IF holds THEN
            runs := runs || s.run_id; steps := steps || s.step_no;
        ELSE
            over_runs := over_runs || s.run_id; over_steps := over_steps || s.step_no; over_defs := over_defs || (s.definition).def_no;
            over_states := over_states || CASE WHEN problem IS NULL THEN 12 ELSE 11 END::smallint;
            reasons := reasons || coalesce(problem, 'when');
        END IF;
    END LOOP;
    IF over_runs IS NOT NULL THEN
        PERFORM millrace_internal.engine_end(in_shard, over_runs, over_steps, over_states, array_fill(NULL::jsonb, ARRAY[cardinality(over_runs)]), reasons);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.condition_judge(smallint, bigint[], integer[]) IS 'Skips and fails steps by their conditions in SQL.';

CREATE OR REPLACE FUNCTION millrace_internal.asks_sql(traits jsonb)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_path_exists(traits, '$.when[*].sql'), false)
$$;
COMMENT ON FUNCTION millrace_internal.asks_sql(jsonb) IS 'Whether a step has conditions in SQL.';
