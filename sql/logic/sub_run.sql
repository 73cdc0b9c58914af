-- Purpose: `workflow` as a step: a run of another workflow, whose end is the step's. The engine holds the step as running; the child is a
-- run like any other. Ends go up and cancels go down through timers that are due at once: the keeper carries them on in transactions
-- of their own, so no call ever holds rows of two runs of a family.

-- What is wrong with a step that is a sub-run.
CREATE OR REPLACE FUNCTION millrace_internal.sub_run_problems(step jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT at_path || p.suffix, p.code, format(p.message, at_path), p.hint
    FROM (VALUES
        ('.workflow', 'MR112', '%s.workflow is not a name', 'Name a workflow that is defined by the time the step runs.',
         jsonb_typeof(step -> 'workflow') <> 'string' OR step ->> 'workflow' = '' OR octet_length(step ->> 'workflow') > 200),
        ('.handler', 'MR112', '%s has both a workflow and a handler', 'A step is one of the two.', step ? 'handler'),
        ('.with', 'MR112', '%s has settings for a handler, and is a workflow', 'Give the run its input with "input".', step ? 'with'),
        ('.version', 'MR112', '%s.version is not a whole number from 1 on', 'Leave it out for the latest version.',
         step ? 'version' AND NOT CASE WHEN jsonb_typeof(step -> 'version') = 'number'
                                       THEN (step ->> 'version')::numeric BETWEEN 1 AND 2147483647 AND (step ->> 'version')::numeric % 1 = 0 ELSE false END)
    ) p (suffix, code, message, hint, wrong)
    WHERE step ? 'workflow' AND p.wrong
    UNION ALL
    SELECT at_path || '.version', 'MR112', format('%s.version belongs to a workflow', at_path), 'Name it: "workflow": "order".'
    WHERE step ? 'version' AND NOT step ? 'workflow'
$$;
COMMENT ON FUNCTION millrace_internal.sub_run_problems(jsonb, text) IS 'Mistakes in a step that is a run of another workflow.';

-- Arguments: steps that are ready, and whose rows this call holds; those of other kinds are passed over
-- Tables changed: sub_run, timer; as engine_hold, as submit.
CREATE OR REPLACE FUNCTION millrace_internal.sub_runs_enter(in_shard smallint, run_ids bigint[], step_nos integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    s     record;
    d     millrace_internal.step_definition;
    child record;
BEGIN
    FOR s IN
        SELECT n.run_id, n.step_no, n.version_id, n.def_no, n.element
        FROM unnest(run_ids, step_nos) u (run_id, step_no)
        JOIN millrace_internal.step n ON n.run_id = u.run_id AND n.step_no = u.step_no AND n.shard = in_shard AND n.state = 2
        JOIN millrace_internal.step_definition t ON t.version_id = n.version_id AND t.def_no = n.def_no AND t.traits ? 'workflow'
             AND (n.element IS NOT NULL OR NOT t.traits ? 'for_each')
        WHERE (u.run_id & 255) = in_shard ORDER BY 1, 2
    LOOP
        SELECT * INTO d FROM millrace_internal.step_definition t WHERE t.version_id = s.version_id AND t.def_no = s.def_no;
        child := millrace_internal.sub_run_submit(in_shard, s.run_id, s.step_no, s.element, d);
        INSERT INTO millrace_internal.sub_run AS o (shard, run_id, step_no, token, child_run_id, due_at, problem)
        VALUES (in_shard, s.run_id, s.step_no,
                (millrace_internal.engine_hold(in_shard, ARRAY[s.run_id], ARRAY[s.step_no], 4::smallint, ARRAY[jsonb_strip_nulls(jsonb_build_object('run_id', child.run_id))]))[1],
                child.run_id, millrace_internal.clock() + make_interval(secs => d.timeout), child.problem)
        ON CONFLICT (run_id, step_no, shard) DO UPDATE
        SET token = excluded.token, child_run_id = excluded.child_run_id, due_at = excluded.due_at, problem = excluded.problem;
        -- at once where it is over already
        PERFORM millrace_internal.timers_set(in_shard, ARRAY[o.run_id], ARRAY[o.step_no], ARRAY[o.token], ARRAY[CASE WHEN o.problem IS NOT NULL OR r.finished_at IS NOT NULL THEN millrace_internal.clock() ELSE o.due_at END])
        FROM millrace_internal.sub_run o LEFT JOIN millrace_internal.run r ON r.run_id = o.child_run_id AND r.shard = in_shard
        WHERE o.run_id = s.run_id AND o.step_no = s.step_no AND o.shard = in_shard AND (o.problem IS NOT NULL OR r.finished_at IS NOT NULL OR o.due_at IS NOT NULL);
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.sub_runs_enter(smallint, bigint[], integer[]) IS 'Starts the runs that steps are.';

-- Returns: the run that a step is, with its parent's priority, tenant, labels, deadline and trace; or why there is none
CREATE OR REPLACE FUNCTION millrace_internal.sub_run_submit(in_shard smallint, in_run_id bigint, in_step_no integer, in_element integer, d millrace_internal.step_definition,
    OUT run_id bigint, OUT problem text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    parent millrace_internal.run;
    given  record;
    depth  integer;
BEGIN
    SELECT * INTO parent FROM millrace_internal.run r WHERE r.run_id = in_run_id AND r.shard = in_shard;
    WITH RECURSIVE above AS (
        SELECT parent.parent_run_id AS run_id, 1 AS depth
        UNION ALL SELECT r.parent_run_id, a.depth + 1 FROM above a JOIN millrace_internal.run r ON r.run_id = a.run_id AND r.shard = in_shard WHERE a.depth <= 10)
    SELECT max(a.depth) INTO depth FROM above a;
    IF depth > 10 THEN
        problem := 'MR046: more than 10 runs stand above one another';
        RETURN;
    END IF;
    IF d.input IS NULL AND in_element IS NULL THEN
        SELECT i.input, NULL::text AS problem INTO given
        FROM (SELECT) one LEFT JOIN millrace_internal.run_input i ON i.run_id = in_run_id AND i.shard = in_shard;
    ELSE
        given := millrace_internal.input_of(in_shard, in_run_id, d, in_element);
    END IF;
    problem := given.problem;
    IF problem IS NULL THEN
        run_id := (millrace_internal.submit(millrace_internal.version_for(d.traits ->> 'workflow', (d.traits ->> 'version')::numeric::integer), ARRAY[given.input],
                                            millrace_internal.effective_priority(parent.priority, d.priority),
                                            (SELECT t.name FROM millrace_internal.tenant t WHERE t.tenant_id = parent.tenant_id), parent.labels, NULL, parent.deadline,
                                            NULL, in_run_id, in_step_no, parent.trace))[1];
        UPDATE millrace_internal.run r SET awaited = true WHERE r.run_id = sub_run_submit.run_id AND r.shard = in_shard;
    END IF;
EXCEPTION WHEN SQLSTATE 'MR011' OR SQLSTATE 'MR012' OR SQLSTATE 'MR002' THEN
    run_id := NULL;
    problem := SQLSTATE || ': ' || SQLERRM;
END $$;
COMMENT ON FUNCTION millrace_internal.sub_run_submit(smallint, bigint, integer, integer, millrace_internal.step_definition) IS 'Starts the run that a step is.';

-- Returns: how steps end whose child has ended, or whose time is up (logic/held.sql): completed with the child's output; failed, by the
--          step's own retry policy, where the child has failed; failed for good where it was cancelled, or never was
CREATE OR REPLACE FUNCTION millrace_internal.sub_runs_over(in_shard smallint, run_ids bigint[], step_nos integer[], tokens integer[], now_at timestamptz)
RETURNS TABLE (run_id bigint, step_no integer, token integer, code smallint, output jsonb, error text)
LANGUAGE sql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
    -- what runs on after its step's time goes
    SELECT millrace_internal.sub_runs_stop(in_shard, array_agg(o.run_id), array_agg(o.step_no))
    FROM unnest(run_ids, step_nos, tokens) u (run_id, step_no, token)
    JOIN millrace_internal.sub_run o ON o.run_id = u.run_id AND o.step_no = u.step_no AND o.shard = in_shard AND o.token = u.token AND o.due_at <= now_at
    HAVING count(*) > 0;
    SELECT o.run_id, o.step_no, o.token, c.code,
           CASE c.code WHEN 1 THEN millrace_internal.run_output(in_shard, o.child_run_id) END,
           CASE WHEN c.code = 1 THEN NULL WHEN o.problem IS NOT NULL THEN o.problem WHEN c.code = 4 THEN 'timed out'
                ELSE format('run %s %s', o.child_run_id, CASE r.state WHEN 12 THEN 'was cancelled' ELSE 'failed' END) END
    FROM unnest(run_ids, step_nos, tokens) u (run_id, step_no, token)
    JOIN millrace_internal.sub_run o ON o.run_id = u.run_id AND o.step_no = u.step_no AND o.shard = in_shard AND o.token = u.token
    LEFT JOIN millrace_internal.run r ON r.run_id = o.child_run_id AND r.shard = in_shard
    CROSS JOIN LATERAL (SELECT CASE WHEN o.problem IS NOT NULL THEN 3 WHEN r.state = 10 THEN 1 WHEN r.state = 11 THEN 2 WHEN r.state = 12 THEN 3
                                    WHEN o.due_at <= now_at THEN 4 END::smallint AS code) c
    WHERE c.code IS NOT NULL
$$;
COMMENT ON FUNCTION millrace_internal.sub_runs_over(smallint, bigint[], integer[], integer[], timestamptz) IS 'How steps end that are runs.';

-- Steps have ended, or their whole runs: what of theirs still runs is cancelled by the keeper, as if its deadline had come.
-- Arguments: step_nos  null: all of these runs. Tables changed: timer.
CREATE OR REPLACE FUNCTION millrace_internal.sub_runs_stop(in_shard smallint, in_run_ids bigint[], in_step_nos integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    INSERT INTO millrace_internal.timer (shard, due_at, run_id, step_no, token)
    SELECT in_shard, millrace_internal.clock(), o.child_run_id, 0, 0
    FROM unnest(in_run_ids, coalesce(in_step_nos, array_fill(NULL::integer, ARRAY[cardinality(in_run_ids)]))) u (run_id, step_no)
    JOIN millrace_internal.sub_run o ON o.run_id = u.run_id AND (u.step_no IS NULL OR o.step_no = u.step_no) AND o.shard = in_shard
    JOIN millrace_internal.run r ON r.run_id = o.child_run_id AND r.shard = in_shard AND r.finished_at IS NULL
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM millrace_internal.keeper_due(millrace_internal.clock());
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.sub_runs_stop(smallint, bigint[], integer[]) IS 'Has the keeper cancel the runs that these steps are.';

-- Returns: what a run has come to: the definition's `output`, filled in from the run's input and the outputs of all its steps; without
--          one, the outputs of the main steps that nothing depends on, by key
CREATE OR REPLACE FUNCTION millrace_internal.run_output(in_shard smallint, in_run_id bigint)
RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    template jsonb;
    known    record;
BEGIN
    SELECT v.definition -> 'output' INTO template
    FROM millrace_internal.run r JOIN millrace_internal.version v USING (version_id) WHERE r.run_id = in_run_id AND r.shard = in_shard;
    SELECT coalesce(jsonb_object_agg(d.key, o.output), '{}') AS every,
           jsonb_object_agg(d.key, o.output) FILTER (WHERE d.dependents IS NULL AND NOT d.finally) AS last INTO known
    FROM millrace_internal.step s
    JOIN millrace_internal.output o ON o.run_id = s.run_id AND o.step_no = s.step_no AND o.shard = s.shard
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    WHERE s.run_id = in_run_id AND s.shard = in_shard AND s.state = 10 AND NOT millrace_internal.is_gained(s.step_no);
    IF template IS NULL THEN
        RETURN known.last;
    END IF;
    RETURN millrace_internal.input_fill(template, jsonb_build_object('needs', known.every, 'run',
        (SELECT i.input FROM millrace_internal.run_input i WHERE i.run_id = in_run_id AND i.shard = in_shard)));
END $$;
COMMENT ON FUNCTION millrace_internal.run_output(smallint, bigint) IS 'What a run has come to.';

CREATE OR REPLACE FUNCTION millrace.run_output(run_id bigint)
RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r millrace_internal.run := millrace_internal.run_get(run_output.run_id);
BEGIN
    RETURN millrace_internal.run_output(r.shard, r.run_id);
END $$;
COMMENT ON FUNCTION millrace.run_output(bigint) IS
'What a run has come to so far: its definition''s "output", filled in; without one, the outputs of the steps that nothing depends on, by key. Errors: MR013.';
