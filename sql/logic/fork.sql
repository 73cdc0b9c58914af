-- Purpose: a run anew from one of its steps on: what was done up to there is kept, the rest runs again, in a run of its own.

CREATE OR REPLACE FUNCTION millrace.fork(run_id bigint, from_step text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r     millrace_internal.run := millrace_internal.run_get(fork.run_id);
    def   millrace_internal.step_definition := millrace_internal.step_by_key(r.version_id, from_step);
BEGIN
    PERFORM millrace_internal.require_read_committed();
    IF r.finished_at IS NULL AND EXISTS (SELECT FROM millrace_internal.step_definition d WHERE d.version_id = r.version_id AND millrace_internal.is_gained(d.def_no)) THEN
        PERFORM millrace_internal.fail('MR075', format('run %s has not ended, and its steps have compensations', r.run_id), 'What the new run would keep may yet be undone.', 'Fork it when it has ended.');
    ELSIF def.finally OR millrace_internal.is_gained(def.def_no) THEN
        PERFORM millrace_internal.fail('MR039', format('step "%s" runs when all others of its run have ended', def.key), NULL, 'Name one of the main steps.');
    ELSIF NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.step_no = def.def_no AND s.shard = r.shard AND s.state > 0 AND NOT millrace_internal.is_left_out(s.state, def)) THEN
        PERFORM millrace_internal.fail('MR039', format('step "%s" of run %s has not been reached', def.key, r.run_id), NULL, 'Name a step that has run, or that has become ready.');
    END IF;
    RETURN millrace_internal.fork(r, def);
END $$;
COMMENT ON FUNCTION millrace.fork(bigint, text) IS
'Starts a run of the same version, with the same input, tenant, priority and labels, in which the results of the given run are kept but for this step and all below it: completed steps with their outputs,
and failures that another step has handled. All others run anew. Answers the new run''s id; the given run stays as it is.
What has been compensated runs anew too, with all below it. Errors: MR013 unknown run, MR014 unknown step, MR039 not reached, or a step of finally, MR043,
MR075 a run with compensations that has not ended. Tables changed: as submit, output.';

-- A step that is in no version any more. A migration leaves it without needs, conditions or any other trait, and no other step like that is ever skipped.
CREATE OR REPLACE FUNCTION millrace_internal.is_left_out(in_state smallint, d millrace_internal.step_definition)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT in_state = 12 AND d.needs_count = 0 AND d.traits IS NULL
$$;
COMMENT ON FUNCTION millrace_internal.is_left_out(smallint, millrace_internal.step_definition) IS 'Whether a step was skipped because its run has moved to a version without it.';

-- Tables changed: run, run_input, step, output, event; version, step_definition for a run that had grown; as settle.
CREATE OR REPLACE FUNCTION millrace_internal.fork(r millrace_internal.run, from_def millrace_internal.step_definition)
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    new_id  bigint;
    now_at  timestamptz := millrace_internal.clock();
    xact    bigint;
    again   integer[];
    hits    record;
    v       record;
BEGIN
    -- the transaction's number before the run's, as in submit
    xact := pg_current_xact_id()::text::bigint;
    new_id := nextval('millrace_internal.run_seq') * 256 + r.shard;
    PERFORM millrace_internal.settle_in(), millrace_internal.partitions_ensure();
    r.version_id := millrace_internal.version_for_run(r.version_id, new_id);
    SELECT ver.closing, ver.deadline, ver.graph INTO v FROM millrace_internal.version ver WHERE ver.version_id = r.version_id;
    again := ARRAY(SELECT DISTINCT below FROM unnest(from_def.def_no || millrace_internal.compensated_steps(r)) n, unnest(n || millrace_internal.graph_descendants(v.graph, n)) below);

    INSERT INTO millrace_internal.run (run_id, version_id, tenant_id, shard, priority, state, closing_left, created_at, deadline, labels, trace)
    VALUES (new_id, r.version_id, r.tenant_id, r.shard, r.priority, 1, v.closing, now_at, now_at + make_interval(secs => v.deadline), r.labels, r.trace);
    INSERT INTO millrace_internal.run_input (run_id, shard, input)
    SELECT new_id, i.shard, i.input FROM millrace_internal.run_input i WHERE i.run_id = r.run_id AND i.shard = r.shard;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind, data)
    VALUES (new_id, now_at, xact, r.shard, 1, jsonb_build_object('forked_from', r.run_id, 'from_step', from_def.key));
    IF v.deadline IS NOT NULL THEN
        INSERT INTO millrace_internal.timer (shard, due_at, run_id, step_no, token) VALUES (r.shard, now_at + make_interval(secs => v.deadline), new_id, 0, 0);
        PERFORM millrace_internal.keeper_wake();
    END IF;

    WITH kept AS MATERIALIZED (
        SELECT s.step_no, s.def_no, s.version_id, s.state, s.error, s.error_class
        FROM millrace_internal.step s
        JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = s.def_no AND NOT d.finally
        WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.step_no = s.def_no AND (s.step_no <> ALL (again)
          AND (s.state = 10 OR millrace_internal.is_handled(s.state, d.on_error)) OR millrace_internal.is_left_out(s.state, d))),
    inserted AS (
        INSERT INTO millrace_internal.step (shard, run_id, step_no, version_id, def_no, state, finished_at, error, error_class)
        SELECT r.shard, new_id, k.step_no, r.version_id, k.def_no, k.state, now_at, k.error, k.error_class FROM kept k ORDER BY k.step_no),
    outputs AS (
        INSERT INTO millrace_internal.output (shard, run_id, step_no, output)
        SELECT r.shard, new_id, o.step_no, o.output FROM kept k
        JOIN millrace_internal.output o ON o.run_id = r.run_id AND o.step_no = k.step_no AND o.shard = r.shard)
    INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind, data)
    SELECT new_id, now_at, xact, k.step_no, 0, r.shard, CASE k.state WHEN 10 THEN 11 WHEN 11 THEN 12 ELSE 13 END,
           jsonb_build_object('kept_from', r.run_id)
           || CASE k.state WHEN 10 THEN '{}' WHEN 11 THEN jsonb_build_object('error', k.error, 'class', k.error_class) ELSE '{"reason": "migrated"}' END
    FROM kept k ORDER BY k.step_no;

    -- the first of those that run again, and all that hang on what is kept
    SELECT array_agg(new_id) AS runs, array_agg(h.def_no ORDER BY h.def_no) AS defs, array_agg(h.n ORDER BY h.def_no) AS n, array_agg(h.bad ORDER BY h.def_no) AS bad INTO hits
    FROM (SELECT d.def_no, coalesce(k.n, 0) AS n, coalesce(k.bad, 0) AS bad
          FROM millrace_internal.step_definition d
          LEFT JOIN (SELECT dependent, count(*)::integer AS n, count(*) FILTER (WHERE s.state <> 10)::integer AS bad
                     FROM millrace_internal.step s
                     JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = s.def_no
                     CROSS JOIN LATERAL unnest(d.dependents) dependent
                     WHERE s.run_id = new_id AND s.shard = r.shard GROUP BY 1) k ON k.dependent = d.def_no
          WHERE d.version_id = r.version_id AND NOT d.finally AND NOT millrace_internal.is_gained(d.def_no) AND (d.needs_count = 0 OR k.n > 0)
            AND NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = new_id AND s.step_no = d.def_no AND s.shard = r.shard)) h;
    PERFORM millrace_internal.settle(r.shard, hits.runs, hits.defs, NULL, hits.n, hits.bad, NULL, NULL, NULL, NULL, NULL, 0);
    PERFORM millrace_internal.run_recount(r.shard, new_id);
    RETURN new_id;
END $$;
COMMENT ON FUNCTION millrace_internal.fork(millrace_internal.run, millrace_internal.step_definition) IS 'Writes a run that begins where another one had come to.';
