-- Purpose: which failures nobody has dealt with, and from when on a step has been in its state for too long.

CREATE TABLE millrace_internal.dead_letter (
    shard     smallint    NOT NULL,
    run_id    bigint      NOT NULL,
    step_no   integer     NOT NULL,
    failed_at timestamptz NOT NULL,
    CONSTRAINT dead_letter_pkey PRIMARY KEY (run_id, step_no, shard)
);
CREATE INDEX dead_letter_failed_at_idx ON millrace_internal.dead_letter (failed_at);
COMMENT ON TABLE millrace_internal.dead_letter IS
'Steps that have failed for good, which no other step handles, and which nobody has retried or resolved: found here, never in the
steps at large. Dead rows: one per failure that somebody has dealt with.';

CREATE TABLE millrace_internal.staleness (
    state     smallint NOT NULL CONSTRAINT staleness_state_check CHECK (state IN (1, 2, 4)),
    queue_id  integer  NOT NULL,
    threshold interval NOT NULL CONSTRAINT staleness_threshold_check CHECK (threshold > interval '0'),
    CONSTRAINT staleness_pkey PRIMARY KEY (state, queue_id)
);
COMMENT ON TABLE millrace_internal.staleness IS 'How long a step may be in a state (1 waiting, 2 ready, 4 running) of a queue (0: of any other). Changed by hand.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.dead_letter', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.staleness', '');
