-- Purpose: what running steps say of themselves: how far they are, what a next attempt may go on from, their logs.
-- Partitions with the same ranges as those of run, made at run time.

CREATE TABLE millrace_internal.step_note (
    run_id        bigint   NOT NULL,
    step_no       integer  NOT NULL,
    shard         smallint NOT NULL,
    fraction      real     CONSTRAINT step_note_fraction_check CHECK (fraction BETWEEN 0 AND 1),
    message       text,
    progressed_at timestamptz,
    saved_at      timestamptz,
    checkpoint    jsonb
) PARTITION BY RANGE (run_id);
COMMENT ON TABLE millrace_internal.step_note IS
'Of steps that report progress or save checkpoints, the last of each. Dead rows: one a report of progress, HOT, pruned when its page is next visited.';
COMMENT ON COLUMN millrace_internal.step_note.checkpoint IS 'What the next attempt goes on from.';

CREATE TABLE millrace_internal.step_log (
    run_id  bigint      NOT NULL,
    step_no integer     NOT NULL,
    shard   smallint    NOT NULL,
    token   integer     NOT NULL,
    line_no integer     NOT NULL,
    stream  smallint    NOT NULL CONSTRAINT step_log_stream_check CHECK (stream IN (0, 1, 2)),
    at      timestamptz NOT NULL,
    line    text        NOT NULL
) PARTITION BY RANGE (run_id);
COMMENT ON TABLE millrace_internal.step_log IS 'What steps have written, line by line, by hand-out. Appended, never updated.';
COMMENT ON COLUMN millrace_internal.step_log.stream IS '0 log, 1 stdout, 2 stderr';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.step_note', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.step_log', '');
