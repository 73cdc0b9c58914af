-- Purpose: steps, their outputs, and the moments at which something falls due.
-- Partitions of step and output are made at run time, with the same ranges as those of run.

CREATE TABLE millrace_internal.step (
    run_id      bigint   NOT NULL,
    step_no     integer  NOT NULL,
    version_id  integer  NOT NULL,
    def_no      integer  NOT NULL,
    element     integer,
    shard       smallint NOT NULL,
    -- what changes stands together, behind what does not: an update writes only the changed middle to the log
    state       smallint NOT NULL CONSTRAINT step_state_check CHECK (state IN (0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14)),
    attempts    integer  NOT NULL DEFAULT 0,
    token       integer  NOT NULL DEFAULT 0,
    needs_left  integer  NOT NULL DEFAULT 0 CONSTRAINT step_needs_left_check CHECK (needs_left >= 0),
    needs_bad   integer  NOT NULL DEFAULT 0,
    agent_id    integer,
    receipt_no  bigint,
    ready_at    timestamptz,
    started_at  timestamptz,
    finished_at timestamptz,
    elapsed     real,
    error       text,
    error_class text,
    CONSTRAINT step_state_finished_at_check CHECK ((state >= 10) = (finished_at IS NOT NULL)),
    CONSTRAINT step_state_agent_id_check CHECK (state <> 4 OR (agent_id IS NOT NULL AND receipt_no IS NOT NULL AND started_at IS NOT NULL)),
    CONSTRAINT step_state_needs_left_check CHECK (state IN (0, 13) OR needs_left = 0)
) PARTITION BY RANGE (run_id);
COMMENT ON TABLE millrace_internal.step IS
'Execution units of runs. A pending step that nothing has touched has no row: its version says that it exists.
Dead rows: one or two HOT versions a step, pruned when its page is next visited.';
COMMENT ON COLUMN millrace_internal.step.state IS
'0 pending, 1 waiting, 2 ready, 3 parked (ready, in a paused run), 4 running, 5 waiting for something outside, held by the engine,
10 completed, 11 failed, 12 skipped, 13 cancelled, 14 fallen (skipped because of a failure or a cancel above)';
COMMENT ON COLUMN millrace_internal.step.step_no IS 'The definition''s number; from 1,000,001 on for what the run has gained besides.';
COMMENT ON COLUMN millrace_internal.step.agent_id IS 'Who holds it, or held it last; 0 is the engine itself.';
COMMENT ON COLUMN millrace_internal.step.token IS 'Grows with every hand-out; fences every report.';
COMMENT ON COLUMN millrace_internal.step.needs_left IS 'Counted needs that are not yet terminal.';
COMMENT ON COLUMN millrace_internal.step.needs_bad IS 'Counted needs that are terminal and did not complete.';
COMMENT ON COLUMN millrace_internal.step.ready_at IS 'When the step became ready last; while it waits, when it will.';
COMMENT ON COLUMN millrace_internal.step.error_class IS 'What kind of failure the last try ended with (logic/error_class.sql).';
COMMENT ON COLUMN millrace_internal.step.elapsed IS 'Seconds measured around the handler.';

CREATE TABLE millrace_internal.output (
    run_id  bigint   NOT NULL,
    step_no integer  NOT NULL,
    shard   smallint NOT NULL,
    output  jsonb    NOT NULL
) PARTITION BY RANGE (run_id);
COMMENT ON TABLE millrace_internal.output IS 'Outputs of completed steps, each stored once. No row: no output. Replaced only by an operator''s retry.';

CREATE TABLE millrace_internal.timer (
    shard   smallint    NOT NULL,
    due_at  timestamptz NOT NULL,
    run_id  bigint      NOT NULL,
    step_no integer     NOT NULL,
    token   integer     NOT NULL,
    CONSTRAINT timer_pkey PRIMARY KEY (due_at, run_id, step_no, shard)
);
COMMENT ON TABLE millrace_internal.timer IS
'When a waiting step is due (its token says for which wait), with step_no 0, when a run''s deadline is, with -1, that
something has come to a run, with -(n + 1), when the deadline of step n is.
A million sleeping steps cost nothing: only the head of this table is read. Dead rows stand at the head; vacuum takes them.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.step', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.output', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.timer', '');
