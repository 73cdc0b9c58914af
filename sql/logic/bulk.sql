-- Purpose: retry, cancel and resolve for many runs at once, by a filter. The runs of one call are taken together, in lock order
-- (docs/locking.md, "Calls on several runs"), and looked at again once they are held: what has changed meanwhile is left alone.

-- The arguments that the three share.
CREATE OR REPLACE FUNCTION millrace_internal.filter_check(labels jsonb, states text[], known_states text[], max_runs integer)
RETURNS void LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wrong text := (SELECT coalesce(s, 'null') FROM unnest(states) s WHERE s IS NULL OR s <> ALL (known_states) LIMIT 1);
BEGIN
    PERFORM millrace_internal.require_read_committed();
    IF jsonb_typeof(labels) <> 'object' THEN
        PERFORM millrace_internal.fail('MR001', 'labels are not a JSON object', NULL, 'Write for example {"team": "billing"}.');
    ELSIF max_runs IS NULL OR max_runs NOT BETWEEN 1 AND 10000 THEN
        PERFORM millrace_internal.fail('MR001', format('max_runs is %s', coalesce(max_runs::text, 'null')), NULL, 'One call takes 1 to 10,000 runs; call it again for more.');
    ELSIF wrong IS NOT NULL OR cardinality(states) = 0 THEN
        PERFORM millrace_internal.fail('MR001', format('"%s" is no state of a run that this call can change', coalesce(wrong, '')), NULL, 'States: ' || array_to_string(known_states, ', ') || '.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.filter_check(jsonb, text[], text[], integer) IS 'MR001 for a filter that means nothing, MR043 isolation.';

-- Of these runs, those that a filter lets through. Null: all.
CREATE OR REPLACE FUNCTION millrace_internal.run_passes(r millrace_internal.run, in_workflow text, in_labels jsonb, in_states text[], in_tenant text, created_from timestamptz, created_to timestamptz)
RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (in_workflow IS NULL OR millrace_internal.version_workflow(r.version_id) = in_workflow)
       AND (in_labels IS NULL OR coalesce(r.labels, '{}') @> in_labels)
       AND (in_states IS NULL OR millrace_internal.run_state_name(r.state) = ANY (in_states))
       AND (in_tenant IS NULL OR millrace_internal.tenant_name(r.tenant_id) = in_tenant)
       AND (created_from IS NULL OR r.created_at >= created_from) AND (created_to IS NULL OR r.created_at < created_to)
$$;
COMMENT ON FUNCTION millrace_internal.run_passes(millrace_internal.run, text, jsonb, text[], text, timestamptz, timestamptz) IS 'Whether a run is among those that a filter means.';

-- Holds all that calls on these runs change. Locks: their step rows, ascending; then the receipts of what runs, ascending.
CREATE OR REPLACE FUNCTION millrace_internal.runs_hold(in_shard smallint, run_ids bigint[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    PERFORM millrace_internal.lock_steps(in_shard, run_ids, NULL, NULL);
    PERFORM FROM (SELECT DISTINCT s.agent_id, s.receipt_no FROM unnest(run_ids) u (run_id)
                  JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.shard = in_shard AND s.state = 4 AND s.agent_id > 0 ORDER BY 1, 2) u
    CROSS JOIN LATERAL (SELECT FROM millrace_internal.receipt r
                        WHERE r.agent_id = u.agent_id AND r.receipt_no = u.receipt_no AND r.shard = in_shard FOR UPDATE) r;
END $$;
COMMENT ON FUNCTION millrace_internal.runs_hold(smallint, bigint[]) IS 'Takes whole runs, several in one pass.';

-- Returns: per run the failed steps that a filter lets through, by run.
CREATE OR REPLACE FUNCTION millrace_internal.letters_where(in_runs bigint[], in_key text, in_class text, failed_from timestamptz, failed_to timestamptz,
    in_workflow text, in_labels jsonb, in_states text[], in_tenant text, created_from timestamptz, created_to timestamptz, max_runs integer)
RETURNS TABLE (run_id bigint, step_nos integer[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT l.run_id, array_agg(l.step_no ORDER BY l.step_no)
    FROM millrace_internal.dead_letter l
    CROSS JOIN LATERAL (SELECT r FROM millrace_internal.run r WHERE r.run_id = l.run_id AND r.shard = l.shard OFFSET 0) r
    CROSS JOIN LATERAL (SELECT s.def_no, s.error_class FROM millrace_internal.step s
                        WHERE s.run_id = l.run_id AND s.step_no = l.step_no AND s.shard = l.shard AND s.state = 11 OFFSET 0) s
    WHERE (in_runs IS NULL OR l.run_id = ANY (in_runs))
      -- of a run that has been compensated, only what could not be undone
      AND (millrace_internal.is_compensation(l.step_no) OR NOT millrace_internal.is_compensated(r.r))
      AND (failed_from IS NULL OR l.failed_at >= failed_from) AND (failed_to IS NULL OR l.failed_at < failed_to)
      AND (in_class IS NULL OR millrace_internal.class_matches(s.error_class, jsonb_build_array(in_class)))
      AND (in_key IS NULL OR millrace_internal.version_key((r.r).version_id, s.def_no) = in_key)
      AND millrace_internal.run_passes(r.r, in_workflow, in_labels, in_states, in_tenant, created_from, created_to)
    GROUP BY 1 ORDER BY 1 LIMIT max_runs;
END $$;
COMMENT ON FUNCTION millrace_internal.letters_where(bigint[], text, text, timestamptz, timestamptz, text, jsonb, text[], text, timestamptz, timestamptz, integer) IS
'Failures that nobody has dealt with, by run. Time in the number of such failures.';

CREATE OR REPLACE FUNCTION millrace.retry_where(
    workflow text DEFAULT NULL, labels jsonb DEFAULT NULL, states text[] DEFAULT NULL, tenant text DEFAULT NULL,
    created_from timestamptz DEFAULT NULL, created_to timestamptz DEFAULT NULL, failed_from timestamptz DEFAULT NULL, failed_to timestamptz DEFAULT NULL,
    error_class text DEFAULT NULL, key text DEFAULT NULL, max_runs integer DEFAULT 1000, dry_run boolean DEFAULT false)
RETURNS TABLE (run_id bigint, steps integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    found bigint[];
    meant record;
    held  millrace_internal.run;
BEGIN
    PERFORM millrace_internal.filter_check(labels, states, '{running,paused,failed}', max_runs);
    found := ARRAY(SELECT l.run_id FROM millrace_internal.letters_where(NULL, key, error_class, failed_from, failed_to, workflow, labels,
                       coalesce(states, '{running,paused,failed}'), tenant, created_from, created_to, max_runs) l);
    IF dry_run IS NOT TRUE THEN
        PERFORM millrace_internal.runs_hold(0::smallint, found);
    END IF;
    FOR meant IN
        SELECT l.* FROM millrace_internal.letters_where(found, key, error_class, failed_from, failed_to, workflow, labels,
                            coalesce(states, '{running,paused,failed}'), tenant, created_from, created_to, max_runs) l
        -- a run whose last steps are under way is let come to its end
        WHERE EXISTS (SELECT FROM millrace_internal.run r WHERE r.run_id = l.run_id AND r.shard = (l.run_id & 255) AND (r.phase IS NULL OR r.finished_at IS NOT NULL))
        ORDER BY l.run_id
    LOOP
        run_id := meant.run_id;
        IF dry_run THEN
            steps := cardinality(meant.step_nos);
            RETURN NEXT;
            CONTINUE;
        END IF;
        SELECT * INTO held FROM millrace_internal.run n WHERE n.run_id = meant.run_id AND n.shard = (meant.run_id & 255) FOR NO KEY UPDATE;
        IF millrace_internal.is_compensation(meant.step_nos[1]) THEN
            steps := millrace_internal.compensations_again(held, meant.step_nos);
        ELSIF EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = meant.run_id AND s.shard = held.shard AND s.state = 13) THEN
            -- the failure has cancelled the rest, which only runs again as a whole
            steps := millrace.retry(meant.run_id);
        ELSE
            steps := millrace_internal.retry_steps(held, meant.step_nos);
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace.retry_where(text, jsonb, text[], text, timestamptz, timestamptz, timestamptz, timestamptz, text, text, integer, boolean) IS
'Runs failed steps again, as retry does: those that nobody has dealt with (dead_letters), that failed in this time, with this error class (a pattern) and this key, in runs of this workflow, tenant, state
(running, paused, failed), time of submit, and with these labels among theirs. Answers the runs, by id, and how many of their steps are ready; with dry_run, how many it would be about, and changes nothing.
Errors: MR001, MR043. Locks: the runs'' step rows, ascending, receipts, then the runs. Tables changed: as retry.';

CREATE OR REPLACE FUNCTION millrace.resolve_where(
    key text, output jsonb DEFAULT NULL, resolved_by text DEFAULT NULL, reason text DEFAULT NULL,
    workflow text DEFAULT NULL, labels jsonb DEFAULT NULL, states text[] DEFAULT NULL, tenant text DEFAULT NULL,
    created_from timestamptz DEFAULT NULL, created_to timestamptz DEFAULT NULL, failed_from timestamptz DEFAULT NULL, failed_to timestamptz DEFAULT NULL,
    error_class text DEFAULT NULL, max_runs integer DEFAULT 1000, dry_run boolean DEFAULT false)
RETURNS SETOF bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    found bigint[];
    meant bigint;
BEGIN
    PERFORM millrace_internal.filter_check(labels, states, '{running,paused,failed}', max_runs);
    IF key IS NULL THEN
        PERFORM millrace_internal.fail('MR001', 'no key is given', NULL, 'Name the step whose failures are resolved: they all get the same output.');
    END IF;
    found := ARRAY(SELECT l.run_id FROM millrace_internal.letters_where(NULL, key, error_class, failed_from, failed_to, workflow, labels,
                       coalesce(states, '{running,paused,failed}'), tenant, created_from, created_to, max_runs) l);
    IF dry_run IS NOT TRUE THEN
        PERFORM millrace_internal.runs_hold(0::smallint, found);
    END IF;
    FOR meant IN
        SELECT l.run_id FROM millrace_internal.letters_where(found, key, error_class, failed_from, failed_to, workflow, labels,
                                 coalesce(states, '{running,paused,failed}'), tenant, created_from, created_to, max_runs) l
        -- a run whose last steps are under way is let come to its end; one that a failure has cancelled can only be retried
        WHERE EXISTS (SELECT FROM millrace_internal.run r WHERE r.run_id = l.run_id AND r.shard = (l.run_id & 255) AND (r.phase IS NULL OR r.finished_at IS NOT NULL))
          AND (millrace_internal.is_compensation(l.step_nos[1]) OR NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = l.run_id AND s.shard = (l.run_id & 255) AND s.state = 13))
        ORDER BY l.run_id
    LOOP
        IF dry_run IS NOT TRUE THEN
            PERFORM millrace.resolve(meant, key, output, resolved_by, reason);
        END IF;
        RETURN NEXT meant;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace.resolve_where(text, jsonb, text, text, text, jsonb, text[], text, timestamptz, timestamptz, timestamptz, timestamptz, text, integer, boolean) IS
'Failed steps of this key count as completed with this output, as resolve has it, in all runs that the filter means (see retry_where). Answers these runs, by id.
Errors: MR001, MR002, MR042 output too large, MR043. Locks: as retry_where. Tables changed: as resolve.';

CREATE OR REPLACE FUNCTION millrace.cancel_where(
    workflow text DEFAULT NULL, labels jsonb DEFAULT NULL, states text[] DEFAULT NULL, tenant text DEFAULT NULL,
    created_from timestamptz DEFAULT NULL, created_to timestamptz DEFAULT NULL, reason text DEFAULT NULL,
    max_runs integer DEFAULT 1000, dry_run boolean DEFAULT false)
RETURNS SETOF bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_variable
DECLARE
    found bigint[];
    meant bigint;
BEGIN
    PERFORM millrace_internal.filter_check(labels, states, '{running,paused}', max_runs);
    IF octet_length(reason) > 10000 THEN
        PERFORM millrace_internal.fail('MR002', 'the reason is longer than 10,000 bytes');
    END IF;
    found := ARRAY(SELECT a.run_id FROM millrace_internal.runs_alive(-1, 9223372036854775807) a
                   CROSS JOIN LATERAL (SELECT r FROM millrace_internal.run r WHERE r.run_id = a.run_id AND r.shard = (a.run_id & 255) OFFSET 0) r
                   WHERE millrace_internal.run_passes(r.r, workflow, labels, states, tenant, created_from, created_to)
                   ORDER BY a.run_id LIMIT max_runs);
    IF dry_run IS NOT TRUE THEN
        PERFORM millrace_internal.runs_hold(0::smallint, found);
    END IF;
    FOREACH meant IN ARRAY found LOOP
        -- a run that is being undone is let come to its end
        CONTINUE WHEN EXISTS (SELECT FROM millrace_internal.run r WHERE r.run_id = meant AND r.shard = (meant & 255) AND millrace_internal.is_being_undone(r));
        IF dry_run IS NOT TRUE AND NOT millrace_internal.cancel_rest((meant & 255)::smallint, meant, 12::smallint, reason) THEN
            CONTINUE;
        END IF;
        RETURN NEXT meant;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace.cancel_where(text, jsonb, text[], text, timestamptz, timestamptz, text, integer, boolean) IS
'Cancels the runs that are alive, of this workflow, tenant, state (running, paused), time of submit, and with these labels among theirs. Answers them, by id; with dry_run changes nothing.
Errors: MR001, MR002, MR043. Locks: the runs'' step rows, ascending, receipts, then the runs. Tables changed: as cancel. Time in the runs that are alive.';
