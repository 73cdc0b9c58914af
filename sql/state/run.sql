-- Purpose: runs, their inputs and the keys that make a submit idempotent.
-- Dead rows: a run row is updated at its end and when a person steers it: HOT, pruned when its page is next visited.
-- Partitions (by range of run_id) are made at run time by logic/partition.sql, outside the extension, so that pg_dump keeps their rows.

CREATE SEQUENCE millrace_internal.run_seq AS bigint;

CREATE TABLE millrace_internal.run (
    run_id         bigint      NOT NULL,
    version_id     integer     NOT NULL,
    tenant_id      integer     NOT NULL,
    shard          smallint    NOT NULL,
    priority       smallint    NOT NULL,
    state          smallint    NOT NULL CONSTRAINT run_state_check CHECK (state IN (1, 2, 10, 11, 12)),
    steps_failed   integer     NOT NULL DEFAULT 0,
    closing_left   integer     NOT NULL,
    created_at     timestamptz NOT NULL,
    started_at     timestamptz,
    finished_at    timestamptz,
    not_before     timestamptz,
    deadline       timestamptz,
    parent_run_id  bigint,
    parent_step_no integer,
    labels         jsonb,
    trace          text,
    phase          smallint CONSTRAINT run_phase_check CHECK (phase IN (1, 2)),
    ends_as        smallint,
    awaited        boolean,
    CONSTRAINT run_state_finished_at_check CHECK ((state >= 10) = (finished_at IS NOT NULL))
) PARTITION BY RANGE (run_id);

COMMENT ON TABLE millrace_internal.run IS 'Executions of versions. The low 8 bits of run_id are its shard.';
COMMENT ON COLUMN millrace_internal.run.state IS '1 running, 2 paused, 10 completed, 11 failed, 12 cancelled';
COMMENT ON COLUMN millrace_internal.run.closing_left IS 'Closing steps of its phase that are not terminal; at zero the next phase begins, or the run ends.';
COMMENT ON COLUMN millrace_internal.run.phase IS 'Null while the main steps run; 1 compensations, 2 the steps of finally.';
COMMENT ON COLUMN millrace_internal.run.ends_as IS 'The state in which the run ends, known since its main steps have ended; null where no later phase follows.';
COMMENT ON COLUMN millrace_internal.run.awaited IS 'Somebody waits for its end, which then rings (logic/held.sql); null: nobody.';
COMMENT ON COLUMN millrace_internal.run.started_at IS 'Set only where the steps no longer tell: when a step that had started is started anew.';

-- Which runs are alive: those of long_run below the horizon, and all without an end above it (logic/runs_alive.sql).
CREATE TABLE millrace_internal.long_run (
    run_id bigint   NOT NULL,
    shard  smallint NOT NULL,
    CONSTRAINT long_run_pkey PRIMARY KEY (run_id, shard)
);
COMMENT ON TABLE millrace_internal.long_run IS
'Runs that were still alive when the horizon passed them, or were reopened; of those that have ended since, some linger.
Dead rows: one per run that outlived the horizon and has ended.';

CREATE TABLE millrace_internal.run_horizon (
    only_row  boolean NOT NULL DEFAULT true CONSTRAINT run_horizon_pkey PRIMARY KEY
                      CONSTRAINT run_horizon_only_row_check CHECK (only_row),
    below     bigint  NOT NULL,
    next      bigint,
    next_xact bigint,
    swept_to  bigint  NOT NULL,
    CONSTRAINT run_horizon_next_check CHECK ((next IS NULL) = (next_xact IS NULL) AND next > below)
) WITH (fillfactor = 50);
COMMENT ON TABLE millrace_internal.run_horizon IS
'How far the keeper has noted which runs are alive. One HOT update a look. Not dumped: it names transactions of this cluster; from 0 on it is found again.';
COMMENT ON COLUMN millrace_internal.run_horizon.below IS 'Of the runs below it, those that are alive are in long_run.';
COMMENT ON COLUMN millrace_internal.run_horizon.next IS 'Where it goes once all transactions before next_xact are over: those that may have submitted a run below.';
COMMENT ON COLUMN millrace_internal.run_horizon.swept_to IS 'How far long_run has been cleared of runs that have ended; begins anew at its end.';

CREATE TABLE millrace_internal.run_input (
    run_id bigint   NOT NULL,
    shard  smallint NOT NULL,
    input  jsonb    NOT NULL
) PARTITION BY RANGE (run_id);
COMMENT ON TABLE millrace_internal.run_input IS 'Inputs of runs, apart from the run row, which is read often. No row: no input. Never updated.';

CREATE TABLE millrace_internal.idempotency_key (
    shard     smallint NOT NULL,
    tenant_id integer  NOT NULL,
    key       text     NOT NULL CONSTRAINT idempotency_key_key_check CHECK (octet_length(key) <= 500),
    run_id    bigint   NOT NULL,
    CONSTRAINT idempotency_key_pkey PRIMARY KEY (tenant_id, key, shard)
);
COMMENT ON TABLE millrace_internal.idempotency_key IS 'Keys of submits and the run that the first of them made. Never updated.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.run_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.run', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.run_input', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.idempotency_key', '');
