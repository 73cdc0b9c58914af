-- Purpose: steps that wait for others, to be executed with them in one call (logic/batch.sql).

CREATE SEQUENCE millrace_internal.batch_id_seq AS bigint;
CREATE TABLE millrace_internal.batch (
    batch_id    bigint      NOT NULL,
    shard       smallint    NOT NULL,
    bucket      bytea       NOT NULL,
    members     integer     NOT NULL,
    max_members integer     NOT NULL CONSTRAINT batch_max_members_check CHECK (members <= max_members),
    due_at      timestamptz NOT NULL,
    CONSTRAINT batch_pkey PRIMARY KEY (batch_id, shard)
);
CREATE INDEX batch_bucket_idx ON millrace_internal.batch (bucket);
CREATE INDEX batch_due_at_idx ON millrace_internal.batch (due_at);
COMMENT ON TABLE millrace_internal.batch IS
'Batches that gather members, at most one of a bucket that has room. Written by the keeper alone; a row goes when its batch is let go. Dead rows: one a look that adds to it, and one at its end.';
COMMENT ON COLUMN millrace_internal.batch.bucket IS 'A hash of all that the members have in common: queue, handler, tenant, settings, timeout, max, delay, key.';
COMMENT ON COLUMN millrace_internal.batch.due_at IS 'When it is let go, full or not.';

CREATE SEQUENCE millrace_internal.batch_member_no_seq AS bigint;
CREATE TABLE millrace_internal.batch_member (
    batch_id    bigint      NOT NULL DEFAULT 0,
    member_no   bigint      NOT NULL DEFAULT nextval('millrace_internal.batch_member_no_seq'),
    shard       smallint    NOT NULL,
    run_id      bigint      NOT NULL,
    step_no     integer     NOT NULL,
    token       integer     NOT NULL,
    max_members integer     NOT NULL,
    due_at      timestamptz NOT NULL,
    bucket      bytea       NOT NULL,
    CONSTRAINT batch_member_pkey PRIMARY KEY (batch_id, member_no, shard)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX batch_member_run_id_step_no_idx ON millrace_internal.batch_member (run_id, step_no);
COMMENT ON TABLE millrace_internal.batch_member IS
'Steps that wait to be executed together, from the moment at which they could start until they do. Reports only add rows, so that they never wait for each other. Dead rows: two a member.';
COMMENT ON COLUMN millrace_internal.batch_member.batch_id IS '0 until the keeper has seen it.';
COMMENT ON COLUMN millrace_internal.batch_member.token IS 'The step''s token while it gathers; a member whose step has another one is over.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.batch_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.batch', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.batch_member_no_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.batch_member', '');
