-- Purpose: who may do what, in one place. Nobody writes a table: all changes go through functions.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA millrace FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA millrace_internal FROM PUBLIC;

GRANT USAGE ON SCHEMA millrace TO millrace_viewer, millrace_client, millrace_agent, millrace_admin;

-- millrace_viewer looks. The views run with its own rights, so that row security holds through them: it may read the
-- tables and call the functions that the views are made of, none of which changes anything.
GRANT SELECT ON ALL TABLES IN SCHEMA millrace TO millrace_viewer;
GRANT USAGE ON SCHEMA millrace_internal TO millrace_viewer;
DO $$
DECLARE
    named regclass;
BEGIN
    -- partitions are read through their parents, and are not the extension's own
    FOR named IN SELECT c.oid FROM pg_catalog.pg_class c
                 WHERE c.relnamespace = 'millrace_internal'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
    LOOP
        EXECUTE pg_catalog.format('GRANT SELECT ON %s TO millrace_viewer', named);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION
    millrace_internal.clock(), millrace_internal.last_defined_no(), millrace_internal.is_gained(integer), millrace_internal.step_state_name(smallint), millrace_internal.run_state_name(smallint), millrace_internal.event_kind_name(smallint),
    millrace_internal.run_tally(bigint), millrace_internal.effective_priority(smallint, smallint), millrace_internal.runs_alive(bigint, bigint), millrace_internal.waiting_since(bigint, integer), millrace_internal.sink_depths(), millrace_internal.running_steps(),
    millrace_internal.rank_of(integer, integer, real), millrace_internal.artifact_part(bigint, integer, integer, integer),
    millrace_internal.dispatcher_status(), millrace_internal.subscription_lag(millrace_internal.event_position), millrace_internal.graph_ancestors(bytea, integer), millrace_internal.graph_descendants(bytea, integer),
    millrace.run_output(bigint), millrace.critical_path(bigint), millrace.affected_by(bigint, text), millrace.explain_workflow(text, integer), millrace.why_not_ready(bigint, text), millrace.metrics(), millrace.validate_workflow(jsonb),
    millrace.read_artifact(bigint, integer, integer, integer)
TO millrace_viewer;

-- millrace_client defines, submits and steers.
GRANT EXECUTE ON FUNCTION
    millrace.define_workflow(jsonb, text),
    millrace.submit(text, jsonb, integer, integer, text, jsonb, timestamptz, timestamptz, text, bigint, integer, text, jsonb),
    millrace.submit_many(text, jsonb[], integer, integer, text, jsonb, timestamptz, timestamptz, text[], text),
    millrace.cancel(bigint, text), millrace.pause(bigint), millrace.resume(bigint), millrace.retry(bigint, text), millrace.resolve(bigint, text, jsonb, text, text), millrace.fork(bigint, text),
    millrace.retry_where(text, jsonb, text[], text, timestamptz, timestamptz, timestamptz, timestamptz, text, text, integer, boolean),
    millrace.resolve_where(text, jsonb, text, text, text, jsonb, text[], text, timestamptz, timestamptz, timestamptz, timestamptz, text, integer, boolean),
    millrace.cancel_where(text, jsonb, text[], text, timestamptz, timestamptz, text, integer, boolean),
    millrace.add_steps(bigint, jsonb, integer, integer), millrace.migrate_run(bigint, integer, boolean), millrace.diff_versions(text, integer, integer),
    millrace.signal(bigint, text, jsonb), millrace.complete_human_step(bigint, text, jsonb, text, integer),
    millrace.assign_human_step(bigint, text, text, text, integer), millrace.claim_human_step(bigint, text, text, integer),
    millrace.delete_artifacts(bigint, text, text)
TO millrace_client;

-- millrace_agent works.
GRANT EXECUTE ON FUNCTION
    millrace.register_agent(text[], text[], integer, text, interval, boolean), millrace.claim(integer, integer, jsonb, integer),
    millrace.report(integer, bigint[], integer[], integer[], text[], text[], text[], double precision[], integer, jsonb, integer, text[]),
    millrace.report_progress(integer, bigint[], integer[], integer[], double precision[], text[]), millrace.append_logs(integer, bigint[], integer[], integer[], integer[], text[], text[], timestamptz[]),
    millrace.save_checkpoint(integer, bigint, integer, integer, jsonb), millrace.checkpoint(integer, bigint, integer, integer),
    millrace.store_artifact(integer, bigint, integer, integer, text, integer, bytea, text, bytea), millrace.store_artifact_reference(integer, bigint, integer, integer, text, text, bigint, bytea, text),
    millrace.fetch_artifact(integer, bigint, integer, integer, text, text, integer, integer),
    millrace.execute_sql(integer, bigint, integer, integer), millrace.heartbeat(integer, bigint[], integer[]),
    millrace.release(integer, bigint[], integer[], integer[]), millrace.release_others(integer, bigint[], integer[], integer[]), millrace.deregister_agent(integer)
TO millrace_agent;

-- A step may add steps to its run.
GRANT EXECUTE ON FUNCTION millrace.add_steps(bigint, jsonb, integer, integer) TO millrace_agent;
GRANT EXECUTE ON FUNCTION millrace.diff_versions(text, integer, integer) TO millrace_viewer;

-- Events are read by clients and, to publish them, by agents.
GRANT EXECUTE ON FUNCTION
    millrace.subscribe(text, text), millrace.unsubscribe(text), millrace.read_events(text, integer, text), millrace.commit_position(text, text)
TO millrace_client, millrace_agent;

-- millrace_admin does all that, and runs the installation.
GRANT EXECUTE ON FUNCTION millrace.adopt(), millrace.keep(), millrace.sweep(), millrace.set_clock(timestamptz), millrace.set_tenant_weight(text, real), millrace.set_staleness(text, text, interval) TO millrace_admin;
