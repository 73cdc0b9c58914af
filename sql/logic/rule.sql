-- Purpose: rules: under which ends of its needs a step starts. docs/state_machine.md says what they mean.
--
-- all_completed and all_done are decided by counters alone, and mostly in C (extension/src/work_settle.c); any_completed by
-- counters too, as soon as one need has completed. The others look at what became of each need, under the lock of the step's row.

CREATE OR REPLACE FUNCTION millrace_internal.rule_code(rule text)
RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT (CASE coalesce(rule, 'all_completed') WHEN 'all_completed' THEN 0 WHEN 'all_done' THEN 1 WHEN 'none_failed' THEN 2 WHEN 'all_failed' THEN 3
                                                 WHEN 'any_completed' THEN 10 ELSE 4 END)::smallint
$$;
COMMENT ON FUNCTION millrace_internal.rule_code(text) IS 'A rule''s number; 4 for an expression.';

-- Terms and operators; the parts in parentheses: the word, its key, plain or in quotes, its state.
CREATE OR REPLACE FUNCTION millrace_internal.rule_word()
RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT '((?:([[:alnum:]_-]+)|"([^"]+)")\.(completed|failed|skipped|cancelled|done)(?![[:alnum:]_])|&&|\|\||!|\(|\))'
$$;
COMMENT ON FUNCTION millrace_internal.rule_word() IS 'What a rule''s expression is made of, as a regular expression.';

-- An expression, word by word: terms (key.state), operators, parentheses. What is none of these is left out.
CREATE OR REPLACE FUNCTION millrace_internal.rule_words(expression text)
RETURNS TABLE (ord bigint, word text, key text, state text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT m.ord, m.parts[1], coalesce(m.parts[2], m.parts[3]), m.parts[4]
    FROM regexp_matches(expression, millrace_internal.rule_word(), 'g')
         WITH ORDINALITY m (parts, ord)
$$;
COMMENT ON FUNCTION millrace_internal.rule_words(text) IS 'The words of a rule''s expression.';

-- Returns: a JSONPath predicate over {key: state}.
CREATE OR REPLACE FUNCTION millrace_internal.rule_path(expression text)
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    -- JSONPath knows no double negation
    SELECT replace(string_agg(CASE WHEN w.state = 'done' THEN format('($.%s != "")', to_json(w.key))
                           WHEN w.state IS NOT NULL THEN format('($.%s == "%s")', to_json(w.key), w.state)
                           ELSE w.word END, ' ' ORDER BY w.ord), '! ! ', '')
    FROM millrace_internal.rule_words(expression) w
$$;
COMMENT ON FUNCTION millrace_internal.rule_path(text) IS 'A rule''s expression as a JSONPath predicate.';

-- Arguments: needs  the keys that the step needs
CREATE OR REPLACE FUNCTION millrace_internal.rule_problem(expression text, needs jsonb)
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN octet_length(expression) > 10000 THEN 'it is longer than 10,000 bytes'
        WHEN btrim(left_over.text) <> '' THEN format('"%s" is neither KEY.STATE nor an operator', left(btrim(left_over.text), 100))
        WHEN stranger.key IS NOT NULL THEN format('"%s" is not among its needs', stranger.key)
        WHEN millrace_internal.path_problem(millrace_internal.rule_path(expression)) IS NOT NULL THEN 'its operators and parentheses do not match'
        WHEN millrace_internal.rule_path(expression) IS NULL THEN 'it is empty' END
    FROM (SELECT regexp_replace(expression, millrace_internal.rule_word(), ' ', 'g')) left_over (text)
    LEFT JOIN LATERAL (SELECT w.key FROM millrace_internal.rule_words(expression) w
                       WHERE w.key IS NOT NULL AND NOT coalesce(needs, '[]') ? w.key ORDER BY w.ord LIMIT 1) stranger ON true
$$;
COMMENT ON FUNCTION millrace_internal.rule_problem(text, jsonb) IS 'What is wrong with a rule''s expression; null when nothing is.';

-- Whether a rule that looks at its needs holds. All of them are terminal.
CREATE OR REPLACE FUNCTION millrace_internal.rule_holds(in_shard smallint, in_run_id bigint, in_version_id integer, in_needs integer[], in_rule smallint, in_path jsonpath)
RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN (SELECT CASE in_rule WHEN 2 THEN bool_and(s.state IN (10, 12) OR millrace_internal.is_handled(s.state, d.on_error))
                                WHEN 3 THEN bool_and(s.state IN (11, 14))
                                ELSE jsonb_path_match(jsonb_object_agg(d.key, millrace_internal.step_state_name(s.state)), in_path) END
            FROM unnest(in_needs) n (def_no)
            CROSS JOIN LATERAL (SELECT s.state FROM millrace_internal.step s
                                WHERE s.run_id = in_run_id AND s.step_no = n.def_no AND s.shard = in_shard OFFSET 0) s
            CROSS JOIN LATERAL (SELECT d.key, d.on_error FROM millrace_internal.step_definition d
                                WHERE d.version_id = in_version_id AND d.def_no = n.def_no OFFSET 0) d);
END $$;
COMMENT ON FUNCTION millrace_internal.rule_holds(smallint, bigint, integer, integer[], smallint, jsonpath) IS 'none_failed, all_failed and expressions.';

-- Whether one of the needs failed with nobody to handle it, was cancelled, or fell with one that did.
CREATE OR REPLACE FUNCTION millrace_internal.some_need_fell(in_shard smallint, in_run_id bigint, in_version_id integer, in_needs integer[])
RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN EXISTS (SELECT FROM unnest(in_needs) n (def_no)
                   CROSS JOIN LATERAL (SELECT s.state FROM millrace_internal.step s
                                       WHERE s.run_id = in_run_id AND s.step_no = n.def_no AND s.shard = in_shard OFFSET 0) s
                   WHERE s.state IN (13, 14)
                      OR s.state = 11 AND (SELECT d.on_error FROM millrace_internal.step_definition d WHERE d.version_id = in_version_id AND d.def_no = n.def_no) IS NULL);
END $$;
COMMENT ON FUNCTION millrace_internal.some_need_fell(smallint, bigint, integer, integer[]) IS 'What tells a fallen step from one that is skipped.';
