-- Purpose: the log of every state change: history and outbox at once. Appended, never updated: no dead rows.
-- Partitions by range of event_id, made at run time outside the extension, ahead of the sequence.

CREATE SEQUENCE millrace_internal.event_id_seq AS bigint;

CREATE TABLE millrace_internal.event (
    event_id bigint      NOT NULL DEFAULT nextval('millrace_internal.event_id_seq'),
    run_id   bigint      NOT NULL,
    at       timestamptz NOT NULL,
    xact_id  bigint      NOT NULL,
    step_no  integer,
    agent_id integer,
    attempt  integer,
    shard    smallint    NOT NULL,
    kind     smallint    NOT NULL,
    data     jsonb
) PARTITION BY RANGE (event_id);
COMMENT ON TABLE millrace_internal.event IS 'One row per state change, written in its transaction.';
COMMENT ON COLUMN millrace_internal.event.xact_id IS 'The writing transaction (64 bit), by which a reader tells what is new behind older transactions that are still open.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.event', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.event_id_seq', '');
