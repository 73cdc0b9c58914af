-- Purpose: files that steps leave behind: what there is, the bytes in parts, and those that are still being written.
-- artifact and artifact_part have partitions with the same ranges as those of run, made at run time.

CREATE TABLE millrace_internal.artifact (
    run_id       bigint      NOT NULL,
    step_no      integer     NOT NULL,
    shard        smallint    NOT NULL,
    artifact_no  integer     NOT NULL,
    token        integer     NOT NULL,
    parts        integer     NOT NULL,
    bytes        bigint      NOT NULL,
    stored_at    timestamptz NOT NULL,
    name         text        NOT NULL,
    content_type text        NOT NULL,
    sha256       bytea       NOT NULL CONSTRAINT artifact_sha256_check CHECK (octet_length(sha256) = 32),
    place        text,
    CONSTRAINT artifact_parts_place_check CHECK ((parts = 0) = (place IS NOT NULL))
) PARTITION BY RANGE (run_id);
COMMENT ON TABLE millrace_internal.artifact IS
'Artifacts that are complete, one of a name a step. Dead rows: one per artifact that is stored again under its name.';
COMMENT ON COLUMN millrace_internal.artifact.token IS 'The hand-out that stored it.';
COMMENT ON COLUMN millrace_internal.artifact.place IS 'Its name in the agents'' store, where its bytes lie there.';

CREATE TABLE millrace_internal.artifact_part (
    run_id      bigint   NOT NULL,
    step_no     integer  NOT NULL,
    shard       smallint NOT NULL,
    artifact_no integer  NOT NULL,
    part_no     integer  NOT NULL,
    part        bytea    NOT NULL
) PARTITION BY RANGE (run_id);
COMMENT ON TABLE millrace_internal.artifact_part IS
'The bytes of artifacts, and of those that are being written. Dead rows: those of artifacts that are stored again, or that never became complete.';

CREATE TABLE millrace_internal.artifact_upload (
    run_id       bigint      NOT NULL,
    step_no      integer     NOT NULL,
    shard        smallint    NOT NULL,
    artifact_no  integer     NOT NULL,
    token        integer     NOT NULL,
    parts        integer     NOT NULL DEFAULT 0,
    bytes        bigint      NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL,
    name         text        NOT NULL,
    content_type text        NOT NULL,
    CONSTRAINT artifact_upload_pkey PRIMARY KEY (run_id, step_no, artifact_no, shard)
);
CREATE INDEX artifact_upload_due_at_idx ON millrace_internal.artifact_upload (due_at);
COMMENT ON TABLE millrace_internal.artifact_upload IS
'Artifacts that are being written, which nobody sees. Dead rows: one a part, HOT, and one at the end.';
COMMENT ON COLUMN millrace_internal.artifact_upload.due_at IS 'When the keeper looks whether its hand-out still runs.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.artifact', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.artifact_part', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.artifact_upload', '');
