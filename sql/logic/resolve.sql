-- Purpose: an operator says what a failed step should have answered.

CREATE OR REPLACE FUNCTION millrace.resolve(run_id bigint, key text, output jsonb DEFAULT NULL, resolved_by text DEFAULT NULL, reason text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r       millrace_internal.run := millrace_internal.run_get(resolve.run_id);
    def     millrace_internal.step_definition := millrace_internal.step_by_key(r.version_id, resolve.key);
    now_at  timestamptz;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    IF octet_length(output::text) > pg_size_bytes(millrace_internal.setting('millrace.max_output_bytes')) THEN
        PERFORM millrace_internal.fail('MR042', 'the output is larger than millrace.max_output_bytes');
    ELSIF def.traits ? 'output_shape' AND millrace_internal.shape_problem(def.traits -> 'output_shape', output) IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR045', 'output: ' || millrace_internal.shape_problem(def.traits -> 'output_shape', output), format('Step "%s" declares a shape.', def.key));
    ELSIF octet_length(reason) > 10000 OR octet_length(resolved_by) > 500 THEN
        PERFORM millrace_internal.fail('MR002', 'the reason is longer than 10,000 bytes, or the name than 500');
    END IF;
    PERFORM millrace_internal.lock_run_steps(r.shard, r.run_id, false);
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = r.run_id AND n.shard = r.shard FOR NO KEY UPDATE;
    -- once more: the run may have got another version meanwhile, with other dependents
    def := millrace_internal.step_by_key(r.version_id, resolve.key);
    IF millrace_internal.is_gained(def.def_no) THEN
        PERFORM millrace_internal.compensation_resolve(r, def, output, resolved_by, reason);
        RETURN;
    ELSIF NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.step_no = def.def_no AND s.shard = r.shard AND s.state = 11) THEN
        PERFORM millrace_internal.fail('MR035', format('step "%s" of run %s has not failed', def.key, r.run_id), NULL, 'Only a failed step can be resolved.');
    ELSIF EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.shard = r.shard AND NOT millrace_internal.is_gained(s.step_no) AND s.state = 13) THEN
        PERFORM millrace_internal.fail('MR035', format('run %s was cancelled', r.run_id), NULL, 'Retry the whole run: millrace.retry(run_id).');
    END IF;
    now_at := millrace_internal.clock();
    PERFORM millrace_internal.phase_reopen(r, ARRAY[def.def_no]);
    PERFORM millrace_internal.reopen(r, ARRAY[def.def_no], false);
    UPDATE millrace_internal.step s SET version_id = r.version_id, state = 10, needs_left = 0, finished_at = now_at WHERE s.run_id = r.run_id AND s.step_no = def.def_no AND s.shard = r.shard;
    DELETE FROM millrace_internal.output o WHERE o.run_id = r.run_id AND o.step_no = def.def_no AND o.shard = r.shard;
    INSERT INTO millrace_internal.output (shard, run_id, step_no, output) SELECT r.shard, r.run_id, def.def_no, output WHERE output IS NOT NULL;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind, data)
    VALUES (r.run_id, now_at, pg_current_xact_id()::text::bigint, def.def_no, 0, r.shard, 15,
            jsonb_strip_nulls(jsonb_build_object('resolved_by', coalesce(resolved_by, millrace_internal.caller()::text), 'reason', reason)));
    PERFORM millrace_internal.run_reopen(r);
    IF def.dependents IS NOT NULL THEN
        PERFORM millrace_internal.settle_resolved(r.shard, r.run_id, def.dependents);
    END IF;
END $$;
COMMENT ON FUNCTION millrace.resolve(bigint, text, jsonb, text, text) IS
'A failed step counts as completed with this output; what was skipped because of it is pending again, and ready where nothing else is missing.
Errors: MR013, MR014, MR035 not failed or its run was cancelled, MR042 output too large, MR045 of another shape than declared, MR075 the run has been compensated. Locks: the run''s step rows, ascending, then the run. Tables changed: step, output, run, event, ready (plain tier).';

-- The rows are locked already, the run's too: skips that follow end closing steps as everywhere.
CREATE OR REPLACE FUNCTION millrace_internal.settle_resolved(in_shard smallint, in_run_id bigint, dependents integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n     integer := cardinality(dependents);
    next  record;
BEGIN
    next := millrace_internal.settle(in_shard, array_fill(in_run_id, ARRAY[n]), dependents, NULL, array_fill(1, ARRAY[n]), array_fill(0, ARRAY[n]),
                                     NULL, NULL, NULL, NULL, NULL, 0);
    IF next.ended_runs IS NOT NULL THEN
        PERFORM millrace_internal.close_runs(in_shard, next.ended_runs, next.ended_closing, next.ended_failed);
    END IF;
    IF next.moot_runs IS NOT NULL THEN
        PERFORM millrace_internal.run_recount(in_shard, in_run_id);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_resolved(smallint, bigint, integer[]) IS 'Counts the dependents of a resolved step down.';
