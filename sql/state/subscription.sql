-- Purpose: who reads the log of events, and how far each of them has come.
-- Dead rows: one HOT update a second and subscription while events come, pruned in place.

-- What has been delivered: the events of every transaction that a snapshot shows (`xmax`, `open`), and, while the window
-- behind it (up to the snapshot `to_xmax`, `to_open`) is being read, those of the window up to the event `cursor`.
CREATE TYPE millrace_internal.event_position AS (
    server_run bigint,      -- of which run of the server these numbers are (millrace_internal.server_run)
    era        bigint,      -- of which era, by the event that ends the one before (event_era)
    xmax       bigint,      -- the next transaction to begin when the snapshot was taken
    low        bigint,      -- transactions from xmax on have only events above this one
    open       bigint[],    -- transactions before xmax that were in progress
    open_low   bigint[],    -- and have only events above these ones
    to_era     bigint,      -- the same of the snapshot that ends the window; null: no window is open
    to_xmax    bigint,
    to_low     bigint,
    to_end     bigint,      -- no event of the window is above this one
    to_open    bigint[],
    cursor     bigint,      -- the last event of the window that has been read
    at         bigint       -- its time, in microseconds since 1970
);
COMMENT ON TYPE millrace_internal.event_position IS 'How far a subscription has come: two snapshots, and an event in the window between them. docs/events.md says why that is enough.';

CREATE TABLE millrace_internal.subscription (
    name           text        NOT NULL CONSTRAINT subscription_pkey PRIMARY KEY
                               CONSTRAINT subscription_name_check CHECK (name <> '' AND octet_length(name) <= 200),
    started_from   text        NOT NULL,
    created_at     timestamptz NOT NULL,
    position       millrace_internal.event_position NOT NULL,
    stored_at      timestamptz NOT NULL,
    overtaken_from bigint,
    overtaken_to   bigint,
    overtaken_at   timestamptz,
    CONSTRAINT subscription_overtaken_check CHECK ((overtaken_from IS NULL) = (overtaken_to IS NULL) AND (overtaken_from IS NULL) = (overtaken_at IS NULL))
) WITH (fillfactor = 50);
COMMENT ON TABLE millrace_internal.subscription IS 'Readers of the log of events, and how far each of them has come.';
COMMENT ON COLUMN millrace_internal.subscription.overtaken_from IS 'Retention has dropped events that were not read, between these two; null once the reader has taken note of it.';

CREATE TABLE millrace_internal.event_era (
    settled_to        bigint      NOT NULL CONSTRAINT event_era_pkey PRIMARY KEY,
    system_identifier bigint      NOT NULL,
    adopted_at        timestamptz NOT NULL
);
COMMENT ON TABLE millrace_internal.event_era IS
'One row per adoption by another cluster, whose transactions are numbered anew. Events up to settled_to are committed, whatever
transaction they name: transactions of different eras cannot be compared.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.subscription', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.event_era', '');
