-- Purpose: agents, what they hold, and what they must be told.

CREATE SEQUENCE millrace_internal.agent_id_seq AS integer;
CREATE TABLE millrace_internal.agent (
    agent_id         integer     NOT NULL DEFAULT nextval('millrace_internal.agent_id_seq') CONSTRAINT agent_pkey PRIMARY KEY,
    lease_expires_at timestamptz NOT NULL,
    seen_at          timestamptz NOT NULL,
    lost             boolean     NOT NULL DEFAULT false,
    listening        boolean     NOT NULL,
    protocol         integer     NOT NULL,
    lease            interval    NOT NULL,
    queues           integer[]   NOT NULL,
    handlers         integer[]   NOT NULL,
    registered_by    oid         NOT NULL,
    registered_at    timestamptz NOT NULL,
    name             text
) WITH (fillfactor = 50);
COMMENT ON TABLE millrace_internal.agent IS
'Registered processes. One HOT update a heartbeat, pruned in place; rows go with deregister_agent or a day after their lease.';

CREATE SEQUENCE millrace_internal.receipt_no_seq AS bigint;
CREATE TABLE millrace_internal.receipt (
    shard       smallint    NOT NULL,
    agent_id    integer     NOT NULL,
    receipt_no  bigint      NOT NULL,
    open        integer     NOT NULL,
    deadline    timestamptz,
    run_ids     bigint[]    NOT NULL,
    step_nos    integer[]   NOT NULL,
    tokens      integer[]   NOT NULL,
    CONSTRAINT receipt_pkey PRIMARY KEY (agent_id, receipt_no, shard)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 500);
CREATE INDEX receipt_deadline_idx ON millrace_internal.receipt (deadline) WHERE deadline IS NOT NULL;
COMMENT ON TABLE millrace_internal.receipt IS
'What one claim or report handed out. The keeper finds lost work here, never in the steps at large.
Rows live as long as the work does: deleted by the report that settles the last step.';
COMMENT ON COLUMN millrace_internal.receipt.open IS 'Steps of this receipt that are not settled yet.';
COMMENT ON COLUMN millrace_internal.receipt.deadline IS 'The earliest moment at which one of its steps may have timed out; null when none can. Set once, so that updates stay HOT.';

CREATE TABLE millrace_internal.revocation (
    agent_id   integer  NOT NULL,
    run_id     bigint   NOT NULL,
    step_no    integer  NOT NULL,
    token      integer  NOT NULL,
    reason     text     NOT NULL,
    CONSTRAINT revocation_pkey PRIMARY KEY (agent_id, run_id, step_no, token)
);
COMMENT ON TABLE millrace_internal.revocation IS 'Steps that were taken from an agent, until its next heartbeat has told it.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.agent', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.agent_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.receipt', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.receipt_no_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.revocation', '');
