-- Purpose: how long steps have really taken, and the ranks that follow from it.
-- Written by the keeper alone, from what is stored anyway: no report writes here.

CREATE TABLE millrace_internal.duration (
    version_id integer NOT NULL,
    def_no     integer NOT NULL,
    samples    integer NOT NULL,
    seconds    real    NOT NULL CONSTRAINT duration_seconds_check CHECK (seconds >= 0),
    deviation  real    NOT NULL CONSTRAINT duration_deviation_check CHECK (deviation >= 0),
    CONSTRAINT duration_pkey PRIMARY KEY (version_id, def_no)
) WITH (fillfactor = 70);
COMMENT ON TABLE millrace_internal.duration IS
'A running estimate per step definition. At most one HOT update a look and step definition, pruned in place.';
COMMENT ON COLUMN millrace_internal.duration.samples IS 'Durations that the estimate was made from.';
COMMENT ON COLUMN millrace_internal.duration.seconds IS 'Their mean; from the tenth on each new one counts for a tenth.';
COMMENT ON COLUMN millrace_internal.duration.deviation IS 'Mean distance of a duration from the estimate, in seconds.';

CREATE TABLE millrace_internal.rank (
    version_id  integer     NOT NULL CONSTRAINT rank_pkey PRIMARY KEY,
    checked_at  timestamptz NOT NULL,
    computed_at timestamptz NOT NULL,
    ranks       real[]      NOT NULL
) WITH (fillfactor = 70);
ALTER TABLE millrace_internal.rank ALTER COLUMN ranks SET STORAGE EXTERNAL;
COMMENT ON TABLE millrace_internal.rank IS
'Ranks from measured durations, one row a version, instead of those of its definition. Stored anew when one has changed by a fifth;
checked_at is a HOT update that leaves the array alone.';
COMMENT ON COLUMN millrace_internal.rank.ranks IS 'Longest remaining path by def_no, the step included, in seconds.';

CREATE TABLE millrace_internal.learning (
    only_row     boolean     NOT NULL DEFAULT true CONSTRAINT learning_pkey PRIMARY KEY
                             CONSTRAINT learning_only_row_check CHECK (only_row),
    looked_at    timestamptz NOT NULL,
    pause        interval    NOT NULL,
    from_id      bigint      NOT NULL,
    block        bigint      NOT NULL,
    event_id     bigint      NOT NULL,
    end_block    bigint      NOT NULL,
    end_event_id bigint      NOT NULL,
    unranked     integer[]   NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE millrace_internal.learning IS
'How far the keeper has read the log for durations. One HOT update a look. Not dumped: it names places of this cluster''s files.';
COMMENT ON COLUMN millrace_internal.learning.pause IS 'The next look is due after it: a second, in a flood up to a minute.';
COMMENT ON COLUMN millrace_internal.learning.from_id IS 'The partition of events that is read.';
COMMENT ON COLUMN millrace_internal.learning.event_id IS 'Events up to this one have been read, and block pages.';
COMMENT ON COLUMN millrace_internal.learning.end_event_id IS 'Events up to this one, in end_block pages, are for the next look.';
COMMENT ON COLUMN millrace_internal.learning.unranked IS 'Versions with durations that their ranks do not know of yet.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.duration', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.rank', '');
