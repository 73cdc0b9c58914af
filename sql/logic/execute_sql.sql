-- Purpose: a step of handler sql runs in the transaction that completes it: exactly once.

-- Apart from its caller, whose settings the step's own statement must not run with.
CREATE OR REPLACE FUNCTION millrace_internal.step_hold(in_shard smallint, in_run_id bigint, in_step_no integer)
RETURNS millrace_internal.step LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    held millrace_internal.step;
BEGIN
    SELECT * INTO held FROM millrace_internal.step s
    WHERE s.run_id = in_run_id AND s.step_no = in_step_no AND s.shard = in_shard FOR NO KEY UPDATE;
    RETURN held;
END $$;
COMMENT ON FUNCTION millrace_internal.step_hold(smallint, bigint, integer) IS 'Locks one step''s row and answers it.';

CREATE OR REPLACE FUNCTION millrace.execute_sql(agent_id integer, run_id bigint, step_no integer, token integer)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    in_shard smallint := (execute_sql.run_id & 255)::smallint;
    s        millrace_internal.step;
    d        millrace_internal.step_definition;
    v        record;
    given    record;
    result   jsonb;
    began    timestamptz;
    refusal  text;
    done     integer[];
BEGIN
    PERFORM millrace_internal.require_read_committed();
    PERFORM millrace_internal.agent_get(execute_sql.agent_id);
    -- the row is held from here to the commit: nobody else can end the step meanwhile
    s := millrace_internal.step_hold(in_shard, execute_sql.run_id, execute_sql.step_no);
    IF s.token IS DISTINCT FROM execute_sql.token OR s.state <> 4 OR s.agent_id IS DISTINCT FROM execute_sql.agent_id THEN
        PERFORM millrace_internal.fail('MR041', format('token %s of step %s of run %s is not agent %s''s', execute_sql.token, execute_sql.step_no, execute_sql.run_id, execute_sql.agent_id),
            CASE WHEN s.token IS NULL THEN 'There is no such step, or it was never handed out.' ELSE format('Its token is %s, its state %s.', s.token, millrace_internal.step_state_name(s.state)) END,
            'Drop the step: it has been cancelled, taken back, or done.');
    END IF;
    SELECT * INTO d FROM millrace_internal.step_definition d WHERE d.version_id = s.version_id AND d.def_no = s.def_no;
    IF d.handler <> 'sql' THEN
        PERFORM millrace_internal.fail('MR023', format('step "%s" is for handler "%s", not sql', d.key, d.handler));
    END IF;
    SELECT ver.defined_by, ver.search_path INTO v FROM millrace_internal.version ver WHERE ver.version_id = s.version_id;
    given := millrace_internal.input_of(in_shard, execute_sql.run_id, d, s.element);
    IF given.problem IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR044', substr(given.problem, 8), format('This is the input of step "%s".', d.key));
    END IF;
    began := clock_timestamp();
    result := millrace_internal.execute_as(v.defined_by, d.settings ->> 'statement', given.input, v.search_path, d.timeout);
    refusal := (millrace_internal.shape_refusals(in_shard, ARRAY[execute_sql.run_id], ARRAY[execute_sql.step_no], '{1}', ARRAY[result]))[1];
    IF refusal IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR045', substr(refusal, 7), format('This is the result of step "%s".', d.key));
    END IF;
    done := (millrace_internal.decide(in_shard, execute_sql.agent_id, ARRAY[execute_sql.run_id], ARRAY[execute_sql.step_no], ARRAY[execute_sql.token], ARRAY[1::smallint],
                                      ARRAY[result], NULL, ARRAY[extract(epoch FROM clock_timestamp() - began)::double precision])).applied;
    IF done IS NULL THEN
        -- the statement itself has cancelled its run
        PERFORM millrace_internal.fail('MR041', format('step %s of run %s was ended by its own statement', execute_sql.step_no, execute_sql.run_id));
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION millrace.execute_sql(integer, bigint, integer, integer) IS
'Runs a sql step with the rights of the role that defined the workflow and completes it, in this transaction. The output is the statement''s result: null for no row,
the value of a single column, an object for a row, an array for several. Errors: MR041 stale token, MR044 no input, MR045 a result of another shape, MR023 not a sql step, those of the statement. Tables changed and locks: as decide.';
