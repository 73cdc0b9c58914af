-- Purpose: what this installation is: whose cluster it lives in, which sink holds its ready steps, its partitions
-- and the clock that tests may stop.
-- Dead rows: a handful of rows, updated by hand or at a change of tier.

CREATE TABLE millrace_internal.installation (
    system_identifier bigint      NOT NULL,
    home              boolean     NOT NULL DEFAULT true,
    installed_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE millrace_internal.installation IS
'One row per cluster that this database has lived in. Work goes on only where the cluster''s own row is the only one
marked as home: a dump restored elsewhere brings the old cluster''s row with it, and waits for millrace.adopt().
Empty until the first use, so that no worker touches a database into which a dump is being restored.
Without a key, for a dump may be restored into the cluster it came from.';

CREATE TABLE millrace_internal.sink (
    shard smallint NOT NULL CONSTRAINT sink_pkey PRIMARY KEY,
    tier  text     NOT NULL CONSTRAINT sink_tier_check CHECK (tier IN ('plain', 'dispatcher'))
);
COMMENT ON TABLE millrace_internal.sink IS
'Which tier last held the ready steps of a shard. When it is not the present one, the present one is refilled from the steps.';

CREATE TABLE millrace_internal.partition (
    parent  text   NOT NULL CONSTRAINT partition_parent_check CHECK (parent IN ('run', 'event')),
    from_id bigint NOT NULL,
    to_id   bigint NOT NULL,
    summarised bigint NOT NULL DEFAULT 0,
    CONSTRAINT partition_pkey PRIMARY KEY (parent, from_id),
    CONSTRAINT partition_from_id_to_id_check CHECK (from_id < to_id)
);
COMMENT ON TABLE millrace_internal.partition IS
'The ranges that have partitions. `run` stands for run and all that belongs to runs and shares their ranges.';
COMMENT ON COLUMN millrace_internal.partition.summarised IS 'Pages of a partition of events that have summaries, by which readers find what is new.';

CREATE TABLE millrace_internal.frozen_clock (
    only_row  boolean     NOT NULL DEFAULT true CONSTRAINT frozen_clock_pkey PRIMARY KEY
                          CONSTRAINT frozen_clock_only_row_check CHECK (only_row),
    frozen_at timestamptz NOT NULL
);
COMMENT ON TABLE millrace_internal.frozen_clock IS 'Empty in production. Tests stop the engine''s clock here (millrace.set_clock).';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.installation', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.sink', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.partition', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.frozen_clock', '');
