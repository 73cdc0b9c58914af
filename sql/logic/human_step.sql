-- Purpose: steps that wait for a person.

-- The step that a call on a person's step means, its row locked.
CREATE OR REPLACE FUNCTION millrace_internal.human_step(in_run_id bigint, in_key text, in_step_no integer, OUT waiting millrace_internal.wait, OUT def millrace_internal.step_definition)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    r millrace_internal.run := millrace_internal.run_get(in_run_id);
BEGIN
    PERFORM millrace_internal.require_read_committed();
    def := millrace_internal.step_by_key(r.version_id, in_key);
    PERFORM FROM millrace_internal.step s
    WHERE s.run_id = r.run_id AND s.step_no = coalesce(in_step_no, def.def_no) AND s.shard = r.shard AND s.def_no = def.def_no AND s.state = 5 FOR NO KEY UPDATE;
    IF FOUND THEN
        SELECT w.* INTO waiting
        FROM millrace_internal.wait w
        JOIN millrace_internal.step s ON s.run_id = w.run_id AND s.step_no = w.step_no AND s.shard = w.shard AND s.token = w.token AND s.state = 5
        WHERE w.run_id = r.run_id AND w.step_no = coalesce(in_step_no, def.def_no) AND w.shard = r.shard AND w.kind = 2 AND w.problem IS NULL;
    END IF;
    IF waiting.run_id IS NULL THEN
        PERFORM millrace_internal.fail('MR037', format('step "%s" of run %s does not wait for a person', def.key, r.run_id), NULL, 'See millrace.inbox.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.human_step(bigint, text, integer) IS 'A step that waits for a person; MR013, MR014, MR037 without one. Locks: its row.';

-- Arguments: answer        becomes the step's output
--            completed_by  who has answered; default: the calling role
--            step_no       which one, where several steps of a run have the same definition
CREATE OR REPLACE FUNCTION millrace.complete_human_step(run_id bigint, key text, answer jsonb DEFAULT NULL, completed_by text DEFAULT NULL, step_no integer DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    step    record := millrace_internal.human_step(complete_human_step.run_id, complete_human_step.key, complete_human_step.step_no);
    shape   jsonb := (step.def).traits #> '{wait_for,person,answer}';
    problem text := CASE WHEN shape IS NOT NULL THEN millrace_internal.shape_problem(shape, answer) END;
    w       millrace_internal.wait := step.waiting;
BEGIN
    IF octet_length(answer::text) > pg_size_bytes(millrace_internal.setting('millrace.max_output_bytes')) OR octet_length(completed_by) > 200 THEN
        PERFORM millrace_internal.fail('MR002', 'the answer, or the name of who gives it, is too large', NULL, 'Keep it elsewhere and answer a reference, or raise millrace.max_output_bytes.');
    ELSIF problem IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR045', format('the answer does not fit what step "%s" asks for: %s', (step.def).key, problem), format('It asks for %s', left(shape::text, 1000)));
    END IF;
    PERFORM millrace_internal.human_step_tell(w, 41, jsonb_build_object('by', coalesce(completed_by, millrace_internal.caller())));
    PERFORM millrace_internal.decide(w.shard, 0, ARRAY[w.run_id], ARRAY[w.step_no], ARRAY[w.token], ARRAY[1::smallint], ARRAY[answer], NULL, NULL);
    PERFORM millrace_internal.waits_forget(w.shard, ARRAY[w.run_id], ARRAY[w.step_no], ARRAY[w.token]);
END $$;
COMMENT ON FUNCTION millrace.complete_human_step(bigint, text, jsonb, text, integer) IS
'Answers a step that waits for a person: it completes with the answer, which must fit the shape that its definition asks for.
Errors: MR002, MR013, MR014, MR037 the step does not wait for a person, MR043, MR045 the answer does not fit. Locks and tables changed: as report; wait.';

CREATE OR REPLACE FUNCTION millrace.assign_human_step(run_id bigint, key text, assignee text, assigned_by text DEFAULT NULL, step_no integer DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    step record := millrace_internal.human_step(assign_human_step.run_id, assign_human_step.key, assign_human_step.step_no);
BEGIN
    PERFORM millrace_internal.human_step_assign(step.waiting, assignee, assigned_by);
END $$;
COMMENT ON FUNCTION millrace.assign_human_step(bigint, text, text, text, integer) IS
'Says who is to answer a step that waits for a person; null: any of the candidates. Errors: MR001, MR013, MR014, MR037, MR043. Locks: the step''s row. Tables changed: wait, event.';

CREATE OR REPLACE FUNCTION millrace.claim_human_step(run_id bigint, key text, person text, step_no integer DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    step record := millrace_internal.human_step(claim_human_step.run_id, claim_human_step.key, claim_human_step.step_no);
    w    millrace_internal.wait := step.waiting;
BEGIN
    IF coalesce(person, '') = '' THEN
        PERFORM millrace_internal.fail('MR001', 'the name of a person has 1 to 200 bytes');
    ELSIF w.assignee IS NULL AND w.candidates IS NOT NULL AND person <> ALL (w.candidates) THEN
        PERFORM millrace_internal.fail('MR038', format('"%s" is not among the candidates of step "%s"', left(person, 200), (step.def).key), NULL, 'assign_human_step gives it to anybody.');
    ELSIF w.assignee IS NULL THEN
        PERFORM millrace_internal.human_step_assign(w, person, person);
    END IF;
    RETURN coalesce(w.assignee, person) = person;
END $$;
COMMENT ON FUNCTION millrace.claim_human_step(bigint, text, text, integer) IS
'A person takes a step upon himself that nobody is assigned to; false if another has. Errors: MR001, MR013, MR014, MR037, MR038 not a candidate, MR043. Locks and tables changed: as assign_human_step.';

CREATE OR REPLACE FUNCTION millrace_internal.human_step_assign(w millrace_internal.wait, assignee text, assigned_by text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF assignee = '' OR octet_length(assignee) > 200 OR octet_length(assigned_by) > 200 THEN
        PERFORM millrace_internal.fail('MR001', 'the name of a person has 1 to 200 bytes');
    END IF;
    UPDATE millrace_internal.wait t SET assignee = human_step_assign.assignee WHERE t.run_id = w.run_id AND t.step_no = w.step_no AND t.shard = w.shard;
    PERFORM millrace_internal.human_step_tell(w, 40, jsonb_build_object('assignee', assignee, 'by', coalesce(assigned_by, millrace_internal.caller())));
END $$;
COMMENT ON FUNCTION millrace_internal.human_step_assign(millrace_internal.wait, text, text) IS 'Writes who is to answer.';

CREATE OR REPLACE FUNCTION millrace_internal.human_step_tell(w millrace_internal.wait, kind integer, data jsonb)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind, data)
    SELECT w.run_id, millrace_internal.clock(), pg_current_xact_id()::text::bigint, w.step_no, s.attempts, w.shard, human_step_tell.kind, human_step_tell.data
    FROM millrace_internal.step s WHERE s.run_id = w.run_id AND s.step_no = w.step_no AND s.shard = w.shard
$$;
COMMENT ON FUNCTION millrace_internal.human_step_tell(millrace_internal.wait, integer, jsonb) IS 'The log of what people do. Tables changed: event.';

CREATE OR REPLACE VIEW millrace.inbox WITH (security_invoker) AS
SELECT w.run_id, w.step_no, d.key, w.assignee, w.candidates, w.title, w.since, w.expires_at AS due, d.workflow, t.name AS tenant,
       coalesce(r.labels, '{}') AS labels, millrace_internal.effective_priority(r.priority, d.priority) AS priority, d.traits #> '{wait_for,person,answer}' AS answer, s.element
FROM millrace_internal.wait w
JOIN millrace_internal.step s ON s.run_id = w.run_id AND s.step_no = w.step_no AND s.shard = w.shard AND s.token = w.token AND s.state = 5
JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
JOIN millrace_internal.run r ON r.run_id = w.run_id AND r.shard = w.shard
JOIN millrace_internal.tenant t USING (tenant_id)
WHERE w.kind = 2 AND w.problem IS NULL;
COMMENT ON VIEW millrace.inbox IS
'Steps that wait for a person: who is to answer, or who may (candidates; null: anybody), since when, until when, and the shape that the answer must have.';
