-- Purpose: what a step receives: its input, computed inside the database so that an agent is sent only what it needs.

-- Arguments: template  the step's `input`; context  {"run": ..., "needs": {...}}
-- Returns:   the template with its paths replaced, and with the data of Mustache templates in it
CREATE OR REPLACE FUNCTION millrace_internal.input_fill(template jsonb, context jsonb)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    leaf text;
BEGIN
    CASE jsonb_typeof(template)
        WHEN 'string' THEN
            leaf := template #>> '{}';
            IF left(leaf, 2) = '$$' THEN
                RETURN to_jsonb(substr(leaf, 2));
            ELSIF left(leaf, 1) <> '$' THEN
                RETURN template;
            END IF;
            RETURN millrace_internal.path_value(leaf, context);
        WHEN 'object' THEN
            IF template ? '$path' THEN
                RETURN millrace_internal.path_value(template ->> '$path', context);
            ELSIF template ? '$template' THEN
                RETURN millrace_internal.template_fill(template, context);
            END IF;
            RETURN (SELECT coalesce(jsonb_object_agg(key, millrace_internal.input_fill(value, context)), '{}') FROM jsonb_each(template));
        WHEN 'array' THEN
            RETURN (SELECT coalesce(jsonb_agg(millrace_internal.input_fill(value, context) ORDER BY ord), '[]')
                    FROM jsonb_array_elements(template) WITH ORDINALITY e (value, ord));
        ELSE
            RETURN template;
    END CASE;
END $body$;
COMMENT ON FUNCTION millrace_internal.input_fill(jsonb, jsonb) IS 'An input template with its JSONPath leaves replaced.';

-- Returns: {"run": the run's input, "needs": {key: output}}: outputs of the declared needs that have one
CREATE OR REPLACE FUNCTION millrace_internal.input_context(in_shard smallint, in_run_id bigint, in_version_id integer, needs integer[])
RETURNS jsonb LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    of_run   jsonb := (SELECT i.input FROM millrace_internal.run_input i WHERE i.run_id = in_run_id AND i.shard = in_shard);
    of_needs jsonb;
BEGIN
    IF cardinality(needs) > 0 THEN
        SELECT jsonb_object_agg(d.key, o.output) INTO of_needs
        FROM unnest(needs) n (def_no)
        JOIN millrace_internal.output o ON o.run_id = in_run_id AND o.step_no = n.def_no AND o.shard = in_shard
        JOIN millrace_internal.step_definition d ON d.version_id = in_version_id AND d.def_no = n.def_no;
    END IF;
    RETURN jsonb_build_object('run', of_run, 'needs', coalesce(of_needs, '{}'));
END $$;
COMMENT ON FUNCTION millrace_internal.input_context(smallint, bigint, integer, integer[]) IS 'What a step''s input may refer to.';

-- Returns: what a step may refer to; a step of finally also to {"ended": {"state", "failed": [keys]}}: what became of the main steps;
--          an element to {"element", "index"}, and to the others only where its definition names them;
--          a compensation to what logic/compensation.sql says
CREATE OR REPLACE FUNCTION millrace_internal.context_of(in_shard smallint, in_run_id bigint, def millrace_internal.step_definition, in_element integer DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF millrace_internal.is_gained(def.def_no) THEN
        RETURN millrace_internal.compensation_context(in_shard, in_run_id, def, in_element);
    ELSIF in_element IS NOT NULL THEN
        -- all elements have the same run and needs: read only where the definition names one of them
        RETURN CASE WHEN concat(def.input, def.settings) ~ 'run|needs' THEN millrace_internal.input_context(in_shard, in_run_id, def.version_id, def.needs) ELSE '{}' END
            || CASE WHEN def.finally AND concat(def.input, def.settings) ~ 'ended' THEN jsonb_build_object('ended', millrace_internal.run_ended(in_shard, in_run_id)) ELSE '{}' END
            || millrace_internal.element_of(in_shard, in_run_id, def.def_no, in_element);
    END IF;
    RETURN millrace_internal.input_context(in_shard, in_run_id, def.version_id, def.needs)
        || CASE WHEN def.finally THEN jsonb_build_object('ended', millrace_internal.run_ended(in_shard, in_run_id)) ELSE '{}' END;
END $$;
COMMENT ON FUNCTION millrace_internal.context_of(smallint, bigint, millrace_internal.step_definition, integer) IS 'What the input and the conditions of a step may refer to.';

-- Returns: the input of a step, or the reason why there is none
CREATE OR REPLACE FUNCTION millrace_internal.input_from(def millrace_internal.step_definition, context jsonb, OUT input jsonb, OUT problem text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    missing text;
BEGIN
    input := CASE WHEN def.input IS NULL THEN context ELSE millrace_internal.input_fill(def.input, context) END;
    IF def.required IS NOT NULL AND def.required <> 'false' AND def.input IS NOT NULL THEN
        SELECT string_agg(p, ', ' ORDER BY p) INTO missing
        FROM millrace_internal.input_paths(millrace_internal.fill_sources(CASE WHEN def.required = 'true' THEN def.input
             ELSE (SELECT jsonb_agg(def.input -> n) FROM jsonb_array_elements_text(def.required) n) END)) p
        WHERE NOT jsonb_path_exists(context, p::jsonpath, '{}', true);
        IF missing IS NOT NULL THEN
            input := NULL;
            problem := format('MR044: nothing matches %s', missing);
        END IF;
    END IF;
    IF octet_length(input::text) > pg_size_bytes(millrace_internal.setting('millrace.max_output_bytes')) THEN
        input := NULL;
        problem := 'MR044: the input is larger than millrace.max_output_bytes';
    END IF;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR undefined_object OR feature_not_supported THEN
    -- what a path may end in only once it meets data
    input := NULL;
    problem := 'MR044: ' || SQLERRM;
END $$;
COMMENT ON FUNCTION millrace_internal.input_from(millrace_internal.step_definition, jsonb) IS 'A step''s input, or why it cannot be computed.';

CREATE OR REPLACE FUNCTION millrace_internal.input_of(in_shard smallint, in_run_id bigint, def millrace_internal.step_definition, in_element integer,
    OUT input jsonb, OUT problem text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.input, i.problem
    FROM millrace_internal.input_from(def, millrace_internal.context_of(in_shard, in_run_id, def, in_element)) i
$$;
COMMENT ON FUNCTION millrace_internal.input_of(smallint, bigint, millrace_internal.step_definition, integer) IS 'The input of a step of a run.';

-- Settings as far as the database fills them in, or the reason why it cannot.
CREATE OR REPLACE FUNCTION millrace_internal.settings_from(def millrace_internal.step_definition, context jsonb, OUT settings jsonb, OUT problem text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    settings := millrace_internal.settings_fill(def.settings, context);
    IF octet_length(settings::text) > pg_size_bytes(millrace_internal.setting('millrace.max_output_bytes')) THEN
        settings := NULL;
        problem := 'MR044: the settings are larger than millrace.max_output_bytes';
    END IF;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR undefined_object OR feature_not_supported THEN
    settings := NULL;
    problem := 'MR044: ' || SQLERRM;
END $$;
COMMENT ON FUNCTION millrace_internal.settings_from(millrace_internal.step_definition, jsonb) IS 'A step''s settings, or why they cannot be computed.';

-- What a step is handed out with, as far as it differs from its definition.
CREATE OR REPLACE FUNCTION millrace_internal.values_of(in_shard smallint, in_run_id bigint, def millrace_internal.step_definition, in_element integer,
    OUT settings jsonb, OUT input jsonb, OUT problem text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    context jsonb := millrace_internal.context_of(in_shard, in_run_id, def, in_element);
    filled  record;
BEGIN
    settings := def.settings;
    IF def.fills THEN
        filled := millrace_internal.settings_from(def, context);
        settings := filled.settings; problem := filled.problem;
    END IF;
    IF def.takes_input AND problem IS NULL THEN
        filled := millrace_internal.input_from(def, context);
        input := filled.input; problem := filled.problem;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.values_of(smallint, bigint, millrace_internal.step_definition, integer) IS 'Settings and input of a step of a run.';
