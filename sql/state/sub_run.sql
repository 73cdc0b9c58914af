-- Purpose: runs that are steps of other runs.

CREATE TABLE millrace_internal.sub_run (
    run_id       bigint   NOT NULL,
    step_no      integer  NOT NULL,
    shard        smallint NOT NULL,
    token        integer  NOT NULL,
    child_run_id bigint   CONSTRAINT sub_run_child_run_id_key UNIQUE,
    due_at       timestamptz,
    problem      text,
    CONSTRAINT sub_run_pkey PRIMARY KEY (run_id, step_no, shard)
);
COMMENT ON TABLE millrace_internal.sub_run IS 'Steps that are runs, each with its latest one. Dead rows: one a retry of such a step.';
COMMENT ON COLUMN millrace_internal.sub_run.token IS 'The token under which the engine holds the step.';
COMMENT ON COLUMN millrace_internal.sub_run.due_at IS 'When the step times out.';
COMMENT ON COLUMN millrace_internal.sub_run.problem IS 'Why there is no child.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.sub_run', '');
