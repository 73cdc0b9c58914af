-- Purpose: outputs that do not stay: when they go, and those that other steps may take over.

CREATE TABLE millrace_internal.output_expiry (
    shard   smallint         NOT NULL,
    due_at  timestamptz      NOT NULL,
    run_id  bigint           NOT NULL,
    step_no integer          NOT NULL,
    seconds double precision NOT NULL,
    CONSTRAINT output_expiry_pkey PRIMARY KEY (due_at, run_id, step_no, shard)
);
COMMENT ON TABLE millrace_internal.output_expiry IS
'Outputs with a time to live, and when the keeper looks at them next. Only the head of this table is read. Dead rows stand at the head; vacuum takes them.';
COMMENT ON COLUMN millrace_internal.output_expiry.seconds IS 'The time to live.';

CREATE TABLE millrace_internal.cache (
    key        bytea       NOT NULL,
    shard      smallint    NOT NULL,
    output     jsonb       NOT NULL,
    expires_at timestamptz NOT NULL,
    run_id     bigint      NOT NULL,
    step_no    integer     NOT NULL,
    CONSTRAINT cache_pkey PRIMARY KEY (key, shard)
);
CREATE INDEX cache_expires_at_idx ON millrace_internal.cache (expires_at);
COMMENT ON TABLE millrace_internal.cache IS
'Outputs of steps with a cache, by the hash of what they were computed from. Dead rows: one per output that is computed again or expires.';
COMMENT ON COLUMN millrace_internal.cache.run_id IS 'Where it was computed.';

-- Whether there are steps at all whose outputs need a look.
CREATE INDEX step_definition_output_idx ON millrace_internal.step_definition (version_id) WHERE traits ?| '{output,output_shape,cache}';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.output_expiry', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.cache', '');
