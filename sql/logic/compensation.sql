-- Purpose: undoing what a run has done. When the main steps of a run have failed or were cancelled, the compensations of those that had
-- completed are carried out, one after the other, the last to complete first. They are steps that the run gains, claimed and retried like any
-- other, numbered last_element_no() + n in the order in which what they undo had completed: so they run from the highest number down.

-- Gives a run, whose main steps have ended, its compensations: pending, with none begun.
-- What a fork has kept is not its own to undo: such steps were never handed out.
-- The order of completion is that of the log, whose numbers are drawn under the locks; what retention has taken from it is older than all that is there.
-- Returns: how many. Tables changed: step.
CREATE OR REPLACE FUNCTION millrace_internal.compensations_write_rows(r millrace_internal.run)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_nestloop = off SET enable_hashjoin = on SET jit = off AS $$
DECLARE
    written integer;
BEGIN
    IF NOT EXISTS (SELECT FROM millrace_internal.step_definition d WHERE d.version_id = r.version_id AND millrace_internal.is_gained(d.def_no)) THEN
        RETURN 0;
    END IF;
    INSERT INTO millrace_internal.step (shard, run_id, step_no, version_id, def_no, element, state)
    SELECT r.shard, r.run_id, millrace_internal.last_element_no() + row_number() OVER (ORDER BY e.event_id NULLS FIRST, s.finished_at, d.level, s.step_no), r.version_id, c.def_no, s.element, 0
    FROM millrace_internal.step s
    JOIN millrace_internal.step_definition c ON c.version_id = r.version_id AND c.def_no = s.def_no + millrace_internal.last_defined_no()
    JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = s.def_no
    LEFT JOIN (SELECT e.step_no, max(e.event_id) AS event_id FROM millrace_internal.event e
               WHERE e.run_id = r.run_id AND e.kind IN (11, 15) GROUP BY 1) e ON e.step_no = s.step_no
    -- of a step with for_each, its elements
    WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.state = 10 AND s.token > 0 AND (s.element IS NOT NULL OR (d.traits ? 'for_each') IS NOT TRUE);
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END $$;
COMMENT ON FUNCTION millrace_internal.compensations_write_rows(millrace_internal.run) IS 'Writes the compensations of a run, in the order of what they undo.';

-- The compensation before each of these begins, if there is one. Nobody else can begin it: only one of a run's is under way.
-- Tables changed: step; as make_ready.
CREATE OR REPLACE FUNCTION millrace_internal.compensations_go_on(in_shard smallint, run_ids bigint[], step_nos integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    begun record;
BEGIN
    WITH ready AS (
        UPDATE millrace_internal.step s SET state = 2, ready_at = millrace_internal.clock()
        FROM unnest(run_ids, step_nos) u (run_id, step_no)
        CROSS JOIN LATERAL (SELECT n.step_no FROM millrace_internal.step n
                            WHERE n.run_id = u.run_id AND millrace_internal.is_compensation(n.step_no) AND n.step_no < u.step_no AND n.shard = in_shard AND n.state = 0
                            ORDER BY n.step_no DESC LIMIT 1) next
        WHERE (u.run_id & 255) = in_shard AND s.run_id = u.run_id AND s.step_no = next.step_no AND s.shard = in_shard AND s.state = 0
        RETURNING s.run_id, s.step_no)
    SELECT array_agg(y.run_id ORDER BY y.run_id) AS runs, array_agg(y.step_no ORDER BY y.run_id) AS steps INTO begun FROM ready y;
    IF begun.runs IS NOT NULL THEN
        PERFORM millrace_internal.make_ready(in_shard, begun.runs, begun.steps);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.compensations_go_on(smallint, bigint[], integer[]) IS 'Begins the compensations that come next.';

CREATE OR REPLACE FUNCTION millrace_internal.is_compensated(r millrace_internal.run)
RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    RETURN r.phase IS NOT NULL AND EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND millrace_internal.is_compensation(s.step_no) AND s.shard = r.shard);
END $$;
COMMENT ON FUNCTION millrace_internal.is_compensated(millrace_internal.run) IS 'Whether a run has begun to undo what it had done.';

-- Also where a run had ended, and a compensation that had failed runs again.
CREATE OR REPLACE FUNCTION millrace_internal.is_being_undone(r millrace_internal.run)
RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    RETURN r.phase IS NOT NULL AND r.finished_at IS NULL
        AND EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND millrace_internal.is_compensation(s.step_no) AND s.shard = r.shard AND s.state < 10);
END $$;
COMMENT ON FUNCTION millrace_internal.is_being_undone(millrace_internal.run) IS 'Whether a run undoes what it had done, and has not come to an end of that.';

-- The steps of a run that have been compensated, or were to be, by their numbers.
CREATE OR REPLACE FUNCTION millrace_internal.compensated_steps(r millrace_internal.run)
RETURNS integer[] LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    RETURN ARRAY(SELECT DISTINCT s.def_no - millrace_internal.last_defined_no() FROM millrace_internal.step s WHERE s.run_id = r.run_id AND millrace_internal.is_compensation(s.step_no) AND s.shard = r.shard ORDER BY 1);
END $$;
COMMENT ON FUNCTION millrace_internal.compensated_steps(millrace_internal.run) IS 'What a run has undone, or tried to.';

-- Returns: an array of the keys of compensations that have failed or were cancelled, elements with their index, up to 100; null: none
CREATE OR REPLACE FUNCTION millrace_internal.not_compensated(in_shard smallint, in_run_id bigint)
RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    RETURN (SELECT jsonb_agg(concat(millrace_internal.version_key(s.version_id, s.def_no), '[' || s.element || ']') ORDER BY s.step_no DESC)
            FROM (SELECT s.version_id, s.def_no, s.element, s.step_no FROM millrace_internal.step s
                  WHERE s.run_id = in_run_id AND millrace_internal.is_compensation(s.step_no) AND s.shard = in_shard AND s.state IN (11, 13) ORDER BY s.step_no DESC LIMIT 100) s);
END $$;
COMMENT ON FUNCTION millrace_internal.not_compensated(smallint, bigint) IS 'Compensations that have not completed.';

-- Returns: what the input of a compensation may refer to: {"output", "input"} of what it undoes, run, the outputs of that step's needs and its own as
--          needs, element and index, and ended, as steps of finally have it. What is dear is there only where the definition names it.
CREATE OR REPLACE FUNCTION millrace_internal.compensation_context(in_shard smallint, in_run_id bigint, def millrace_internal.step_definition, in_element integer)
RETURNS jsonb LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    undone    millrace_internal.step_definition;
    says      text := concat(def.input, def.settings);
    undone_no integer;   -- the step itself, or its element
    context   jsonb;
BEGIN
    SELECT d.* INTO undone FROM millrace_internal.step_definition d WHERE d.version_id = def.version_id AND d.def_no = def.def_no - millrace_internal.last_defined_no();
    undone_no := CASE WHEN in_element IS NULL THEN undone.def_no
                    ELSE in_element + (SELECT f.first_no FROM millrace_internal.fan_out f WHERE f.run_id = in_run_id AND f.step_no = undone.def_no AND f.shard = in_shard) END;
    context := jsonb_build_object('output', (SELECT o.output FROM millrace_internal.output o WHERE o.run_id = in_run_id AND o.step_no = undone_no AND o.shard = in_shard));
    IF in_element IS NOT NULL THEN
        context := context || millrace_internal.element_of(in_shard, in_run_id, undone.def_no, in_element);
    END IF;
    IF in_element IS NULL OR says ~ 'run|needs' THEN
        context := context || millrace_internal.input_context(in_shard, in_run_id, def.version_id, coalesce(undone.needs, '{}') || undone.def_no);
    END IF;
    IF def.input IS NULL OR says ~ 'input' THEN
        context := context || jsonb_build_object('input',
            CASE WHEN undone.traits ? 'workflow' AND undone.input IS NULL AND in_element IS NULL
                 THEN (SELECT i.input FROM millrace_internal.run_input i WHERE i.run_id = in_run_id AND i.shard = in_shard)
                 ELSE (millrace_internal.input_of(in_shard, in_run_id, undone, in_element)).input END);
    END IF;
    IF says ~ 'ended' THEN
        context := context || jsonb_build_object('ended', millrace_internal.run_ended(in_shard, in_run_id));
    END IF;
    RETURN context;
END $$;
COMMENT ON FUNCTION millrace_internal.compensation_context(smallint, bigint, millrace_internal.step_definition, integer) IS 'What the input of a compensation may refer to.';

-- The compensations of one step that did not complete. A run that has not ended is let come to its end.
-- Arguments: r  the run, held with all its steps; code  for what may not be
CREATE OR REPLACE FUNCTION millrace_internal.compensations_open(r millrace_internal.run, def millrace_internal.step_definition, code text)
RETURNS integer[] LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    open integer[] := ARRAY(SELECT s.step_no FROM millrace_internal.step s WHERE s.run_id = r.run_id AND millrace_internal.is_compensation(s.step_no) AND s.shard = r.shard
                            AND s.def_no = def.def_no AND s.state IN (11, 13) ORDER BY 1);
BEGIN
    IF r.finished_at IS NULL AND r.phase IS NOT NULL THEN
        PERFORM millrace_internal.fail(code, format('run %s is about to end', r.run_id), 'Its main steps have ended; what follows is under way.', 'Wait for the end of the run.');
    ELSIF open = '{}' THEN
        PERFORM millrace_internal.fail(code, format('step "%s" of run %s has not failed', def.key, r.run_id), NULL, 'Only a compensation that has failed or was cancelled is left to be dealt with.');
    END IF;
    RETURN open;
END $$;
COMMENT ON FUNCTION millrace_internal.compensations_open(millrace_internal.run, millrace_internal.step_definition, text) IS 'Compensations that somebody may retry or resolve.';

-- Compensations of a run that had ended run again, one after the other, as before; then the run ends anew, as it had. The steps of finally do not run again.
-- Arguments: r  the run, held with all its steps; steps  ascending
-- Returns:   how many. Tables changed: step, run, dead_letter, event, long_run, ready (plain tier).
CREATE OR REPLACE FUNCTION millrace_internal.compensations_again(r millrace_internal.run, steps integer[])
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    UPDATE millrace_internal.step s SET state = 0, attempts = 0, ready_at = NULL, finished_at = NULL
    WHERE s.run_id = r.run_id AND s.step_no = ANY (steps) AND s.shard = r.shard;
    DELETE FROM millrace_internal.dead_letter l WHERE l.run_id = r.run_id AND l.step_no = ANY (steps) AND l.shard = r.shard;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind)
    SELECT r.run_id, millrace_internal.clock(), pg_current_xact_id()::text::bigint, n, 0, r.shard, 16 FROM unnest(steps) n ORDER BY n DESC;
    PERFORM millrace_internal.run_reopen(r);
    PERFORM millrace_internal.compensations_go_on(r.shard, ARRAY[r.run_id], ARRAY[2147483647]);
    RETURN cardinality(steps);
END $$;
COMMENT ON FUNCTION millrace_internal.compensations_again(millrace_internal.run, integer[]) IS 'Runs compensations again.';

CREATE OR REPLACE FUNCTION millrace_internal.compensation_retry(r millrace_internal.run, def millrace_internal.step_definition)
RETURNS integer LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT millrace_internal.compensations_again(r, millrace_internal.compensations_open(r, def, 'MR034'))
$$;
COMMENT ON FUNCTION millrace_internal.compensation_retry(millrace_internal.run, millrace_internal.step_definition) IS 'Runs the compensations of one step again.';

-- What could not be undone has been, by somebody's hand: the run stays as it has ended.
-- Tables changed: step, output, dead_letter, event.
CREATE OR REPLACE FUNCTION millrace_internal.compensation_resolve(r millrace_internal.run, def millrace_internal.step_definition, output jsonb, resolved_by text, reason text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    steps  integer[] := millrace_internal.compensations_open(r, def, 'MR035');
    now_at timestamptz := millrace_internal.clock();
BEGIN
    UPDATE millrace_internal.step s SET state = 10, needs_left = 0, finished_at = now_at WHERE s.run_id = r.run_id AND s.step_no = ANY (steps) AND s.shard = r.shard;
    DELETE FROM millrace_internal.dead_letter l WHERE l.run_id = r.run_id AND l.step_no = ANY (steps) AND l.shard = r.shard;
    INSERT INTO millrace_internal.output (shard, run_id, step_no, output)
    SELECT r.shard, r.run_id, n, compensation_resolve.output FROM unnest(steps) n WHERE compensation_resolve.output IS NOT NULL;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind, data)
    SELECT r.run_id, now_at, pg_current_xact_id()::text::bigint, n, 0, r.shard, 15,
           jsonb_strip_nulls(jsonb_build_object('resolved_by', coalesce(resolved_by, millrace_internal.caller()::text), 'reason', reason))
    FROM unnest(steps) n ORDER BY n DESC;
END $$;
COMMENT ON FUNCTION millrace_internal.compensation_resolve(millrace_internal.run, millrace_internal.step_definition, jsonb, text, text) IS 'Counts the compensations of one step as completed.';
