-- Purpose: starting runs, in the caller's transaction. Costs the first steps only: all others have no row yet.

CREATE OR REPLACE FUNCTION millrace.submit(
    workflow text, input jsonb DEFAULT NULL, version integer DEFAULT NULL, priority integer DEFAULT 0, tenant text DEFAULT '',
    labels jsonb DEFAULT '{}', not_before timestamptz DEFAULT NULL, deadline timestamptz DEFAULT NULL, idempotency_key text DEFAULT NULL,
    parent_run_id bigint DEFAULT NULL, parent_step_no integer DEFAULT NULL, trace text DEFAULT NULL, definition jsonb DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    in_version_id integer;
BEGIN
    IF definition IS NULL THEN
        in_version_id := millrace_internal.version_for(submit.workflow, submit.version);
    ELSE
        in_version_id := millrace_internal.define(
            CASE WHEN jsonb_typeof(definition) = 'object' AND NOT definition ? 'workflow' AND submit.workflow IS NOT NULL
                 THEN definition || jsonb_build_object('workflow', submit.workflow) ELSE definition END,
            '"$user", public', true);
    END IF;
    RETURN (millrace_internal.submit(in_version_id, ARRAY[input], priority, tenant, labels, not_before, deadline,
                                     ARRAY[idempotency_key], parent_run_id, parent_step_no, trace))[1];
END $$;
COMMENT ON FUNCTION millrace.submit(text, jsonb, integer, integer, text, jsonb, timestamptz, timestamptz, text, bigint, integer, text, jsonb) IS
'Starts a run and answers its id. A rollback of the caller''s transaction leaves no trace of it. A known idempotency key answers the first run''s id.
Errors: MR011 unknown workflow, MR012 unknown version, MR001 and MR002 bad arguments, MR101-MR112 for an inline definition.
Tables changed: run, run_input, step, timer, event, idempotency_key, tenant, ready (plain tier).';

CREATE OR REPLACE FUNCTION millrace.submit_many(
    workflow text, inputs jsonb[], version integer DEFAULT NULL, priority integer DEFAULT 0, tenant text DEFAULT '',
    labels jsonb DEFAULT '{}', not_before timestamptz DEFAULT NULL, deadline timestamptz DEFAULT NULL, idempotency_keys text[] DEFAULT NULL,
    trace text DEFAULT NULL)
RETURNS SETOF bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF cardinality(inputs) > 100000 THEN
        PERFORM millrace_internal.fail('MR002', format('%s runs in one call are too many', cardinality(inputs)), NULL, 'Submit at most 100,000 runs a call.');
    ELSIF cardinality(idempotency_keys) <> cardinality(inputs) THEN
        PERFORM millrace_internal.fail('MR001', 'idempotency_keys and inputs differ in length', NULL, 'Give one key (or null) for each input.');
    END IF;
    RETURN QUERY SELECT unnest(millrace_internal.submit(millrace_internal.version_for(submit_many.workflow, submit_many.version),
        inputs, priority, tenant, labels, not_before, deadline, idempotency_keys, NULL, NULL, trace));
END $$;
COMMENT ON FUNCTION millrace.submit_many(text, jsonb[], integer, integer, text, jsonb, timestamptz, timestamptz, text[], text) IS
'Starts one run per input and answers their ids in order. All or none. Errors and tables changed: as submit.';

CREATE OR REPLACE FUNCTION millrace_internal.version_for(in_workflow text, in_version integer)
RETURNS integer LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    in_workflow_id integer := (SELECT w.workflow_id FROM millrace_internal.workflow w WHERE w.name = in_workflow);
    found_id       integer;
    near           text;
BEGIN
    SELECT v.version_id INTO found_id FROM millrace_internal.version v
    WHERE v.workflow_id = in_workflow_id AND v.run_id IS NULL AND (v.version = in_version OR (in_version IS NULL AND NOT v.inline))
    ORDER BY v.version DESC LIMIT 1;
    IF found_id IS NULL AND in_workflow_id IS NOT NULL AND in_version IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR012', format('workflow "%s" has no version %s', in_workflow, in_version),
            format('Its latest version is %s.', (SELECT max(v.version) FROM millrace_internal.version v WHERE v.workflow_id = in_workflow_id)));
    ELSIF found_id IS NULL THEN
        near := millrace_internal.nearest(in_workflow, ARRAY(SELECT w.name FROM millrace_internal.workflow w
            WHERE EXISTS (SELECT FROM millrace_internal.version v WHERE v.workflow_id = w.workflow_id AND NOT v.inline) ORDER BY w.name LIMIT 10000));
        PERFORM millrace_internal.fail('MR011', format('there is no workflow "%s"', coalesce(in_workflow, 'null')), NULL,
            coalesce('Did you mean "' || near || '"?', 'Define it with millrace.define_workflow(definition).'));
    END IF;
    RETURN found_id;
END $$;
COMMENT ON FUNCTION millrace_internal.version_for(text, integer) IS 'The version of a workflow that a submit means: the given one, else the latest that was defined by itself.';

CREATE OR REPLACE FUNCTION millrace_internal.submit(
    in_version_id integer, inputs jsonb[], in_priority integer, in_tenant text, in_labels jsonb, in_not_before timestamptz, in_deadline timestamptz,
    keys text[], in_parent_run_id bigint, in_parent_step_no integer, in_trace text)
RETURNS bigint[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    in_shard     smallint := 0;
    max_bytes    bigint := pg_size_bytes(millrace_internal.setting('millrace.max_output_bytes'));
    in_tenant_id integer;
    run_ids      bigint[];
    answer       bigint[];
    v            record;
    made         record;
    due_at       timestamptz;
    now_at       timestamptz;
BEGIN
    IF inputs IS NULL OR cardinality(inputs) = 0 THEN
        RETURN '{}';
    ELSIF in_priority IS NULL OR in_priority NOT BETWEEN -30000 AND 30000 THEN
        PERFORM millrace_internal.fail('MR001', format('the priority %s is not between -30000 and 30000', coalesce(in_priority::text, 'null')), NULL, 'Lower numbers go first; 0 is the default.');
    ELSIF jsonb_typeof(in_labels) <> 'object' OR octet_length(in_labels::text) > 10000 THEN
        PERFORM millrace_internal.fail('MR001', 'labels are not a JSON object of up to 10,000 bytes');
    ELSIF octet_length(in_trace) > 2000 THEN
        PERFORM millrace_internal.fail('MR002', 'the trace context is longer than 2,000 bytes');
    ELSIF EXISTS (SELECT FROM unnest(inputs) i WHERE octet_length(i::text) > max_bytes) THEN
        PERFORM millrace_internal.fail('MR002', 'an input is too large', NULL, 'Keep it elsewhere and submit a reference, or raise millrace.max_output_bytes.');
    ELSIF EXISTS (SELECT FROM unnest(keys) k WHERE octet_length(k) > 500) THEN
        PERFORM millrace_internal.fail('MR002', 'an idempotency key is longer than 500 bytes');
    END IF;
    in_tenant_id := millrace_internal.tenant_id(coalesce(in_tenant, ''));

    -- the transaction's number before the runs': by that the keeper knows what may yet be committed (logic/runs_alive.sql)
    PERFORM pg_current_xact_id();
    run_ids := ARRAY(SELECT nextval('millrace_internal.run_seq') * 256 + in_shard FROM generate_series(1, cardinality(inputs)));
    PERFORM millrace_internal.settle_in(), millrace_internal.partitions_ensure();
    answer := run_ids;
    IF array_length(array_remove(keys, NULL), 1) > 0 THEN
        -- sorted, so that two calls with the same keys wait for each other in one order; then known ones are dropped
        INSERT INTO millrace_internal.idempotency_key (shard, tenant_id, key, run_id)
        SELECT in_shard, in_tenant_id, k.key, k.run_id FROM unnest(keys, run_ids) WITH ORDINALITY k (key, run_id, ord)
        WHERE k.key IS NOT NULL ORDER BY k.key, k.ord
        ON CONFLICT DO NOTHING;
        SELECT array_agg(coalesce(i.run_id, k.run_id) ORDER BY k.ord),
               array_agg(k.run_id ORDER BY k.ord) FILTER (WHERE i.run_id IS NULL OR i.run_id = k.run_id),
               array_agg(k.input ORDER BY k.ord) FILTER (WHERE i.run_id IS NULL OR i.run_id = k.run_id)
        INTO answer, run_ids, inputs
        FROM unnest(keys, run_ids, inputs) WITH ORDINALITY k (key, run_id, input, ord)
        LEFT JOIN millrace_internal.idempotency_key i ON i.shard = in_shard AND i.tenant_id = in_tenant_id AND i.key = k.key;
        IF run_ids IS NULL THEN
            RETURN answer;
        END IF;
    END IF;

    SELECT ver.closing, ver.roots, ver.looked_at_roots, ver.deadline INTO v FROM millrace_internal.version ver WHERE ver.version_id = in_version_id;
    now_at := millrace_internal.clock();
    due_at := CASE WHEN in_not_before > now_at THEN in_not_before END;
    in_deadline := coalesce(in_deadline, now_at + make_interval(secs => v.deadline));

    made := millrace_internal.work_submit(in_shard, in_version_id, run_ids, in_tenant_id, in_priority::smallint, v.closing,
        CASE WHEN v.looked_at_roots IS NULL THEN v.roots ELSE ARRAY(SELECT n FROM unnest(v.roots) n WHERE n <> ALL (v.looked_at_roots) ORDER BY n) END, now_at, due_at,
        in_not_before, in_deadline, in_parent_run_id, in_parent_step_no, nullif(in_labels, '{}'), in_trace);
    PERFORM millrace_internal.sink_push(in_shard, made.ready_runs, made.ready_steps, made.ready_queues, made.ready_handlers,
                                        made.ready_priorities, made.ready_tenants, made.ready_ranks);
    IF made.waiting_runs IS NOT NULL THEN
        INSERT INTO millrace_internal.timer (shard, due_at, run_id, step_no, token)
        SELECT in_shard, w.due_at, w.run_id, w.step_no, 0
        FROM unnest(made.waiting_runs, made.waiting_steps, made.waiting_due) w (run_id, step_no, due_at);
        INSERT INTO millrace_internal.event (run_id, step_no, at, xact_id, shard, kind, attempt, data)
        SELECT w.run_id, w.step_no, now_at, pg_current_xact_id()::text::bigint, in_shard, 9, 0, jsonb_build_object('due_at', w.due_at)
        FROM unnest(made.waiting_runs, made.waiting_steps, made.waiting_due) w (run_id, step_no, due_at);
    END IF;
    IF EXISTS (SELECT FROM unnest(inputs) i WHERE i IS NOT NULL) THEN
        INSERT INTO millrace_internal.run_input (shard, run_id, input)
        SELECT in_shard, r, i FROM unnest(run_ids, inputs) u (r, i) WHERE i IS NOT NULL;
    END IF;
    IF in_deadline IS NOT NULL THEN
        INSERT INTO millrace_internal.timer (shard, due_at, run_id, step_no, token) SELECT in_shard, in_deadline, r, 0, 0 FROM unnest(run_ids) r;
    END IF;
    IF made.waiting_runs IS NOT NULL OR in_deadline IS NOT NULL THEN
        PERFORM millrace_internal.keeper_wake();
    END IF;
    IF v.looked_at_roots IS NOT NULL THEN
        PERFORM millrace_internal.settle_roots(in_shard, run_ids, v.looked_at_roots);
    END IF;
    RETURN answer;
END $$;
COMMENT ON FUNCTION millrace_internal.submit(integer, jsonb[], integer, text, jsonb, timestamptz, timestamptz, text[], bigint, integer, text) IS
'Writes runs of one version: the run rows, their first steps, one event each.';

-- First steps that have a condition, or that the engine enters: they are decided like dependents without a need left.
CREATE OR REPLACE FUNCTION millrace_internal.settle_roots(in_shard smallint, run_ids bigint[], roots integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next record;
    hits record;
BEGIN
    SELECT array_agg(run_id) AS runs, array_agg(def_no) AS defs, array_agg(0) AS none INTO hits
    FROM (SELECT run_id, def_no FROM unnest(run_ids) run_id, unnest(roots) def_no ORDER BY 1, 2) u;
    next := millrace_internal.settle(in_shard, hits.runs, hits.defs, NULL, hits.none, hits.none, NULL, NULL, NULL, NULL, NULL, 0);
    IF next.ended_runs IS NOT NULL THEN
        PERFORM millrace_internal.close_runs(in_shard, next.ended_runs, next.ended_closing, next.ended_failed);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_roots(smallint, bigint[], integer[]) IS 'Decides first steps of new runs that are not simply ready. Locks and tables changed: as settle, then as close_runs.';
