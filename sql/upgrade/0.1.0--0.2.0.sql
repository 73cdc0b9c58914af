-- Purpose: what 0.2.0 changes in the state that 0.1.0 has left, and nothing else: the logic and access of 0.2.0 follow it.
-- A function whose arguments or result have changed cannot be replaced, so its old form goes here.

-- Inputs may have to match (`required`).
ALTER TABLE millrace_internal.step_definition ADD COLUMN required jsonb;
COMMENT ON COLUMN millrace_internal.step_definition.required IS 'true, or the names in input whose paths must match.';

-- Rules that look at what became of the needs.
ALTER TABLE millrace_internal.step_definition ADD COLUMN rule_path jsonpath;
COMMENT ON COLUMN millrace_internal.step_definition.rule IS '0 all_completed, 1 all_done, 2 none_failed, 3 all_failed, 4 an expression; from 10 on they may decide early: 10 any_completed';
COMMENT ON COLUMN millrace_internal.step_definition.rule_path IS 'The expression, over the states of the needs by key.';
ALTER TABLE millrace_internal.step DROP CONSTRAINT step_state_check;
ALTER TABLE millrace_internal.step ADD CONSTRAINT step_state_check CHECK (state IN (0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14));
COMMENT ON COLUMN millrace_internal.step.state IS
'0 pending, 1 waiting, 2 ready, 3 parked (ready, in a paused run), 4 running, 5 waiting for something outside, held by the engine,
10 completed, 11 failed, 12 skipped, 13 cancelled, 14 fallen (skipped because of a failure or a cancel above)';
COMMENT ON COLUMN millrace_internal.step.step_no IS 'The definition''s number; from 1,000,001 on for what the run has gained besides.';
COMMENT ON COLUMN millrace_internal.step.agent_id IS 'Who holds it, or held it last; 0 is the engine itself.';
DROP FUNCTION millrace_internal.decided(integer, integer, smallint, integer, smallint);
DROP FUNCTION millrace_internal.settle_plan(smallint, bigint[], integer[], integer[], integer[]);
DROP FUNCTION millrace_internal.settle_apply(smallint, bigint[], integer[], integer[], integer[], integer[], integer[], smallint[], double precision[],
    boolean[], boolean[], integer[], integer[], smallint[], integer[], real[], boolean[], integer, bigint);
DROP FUNCTION millrace_internal.definition_steps(jsonb);

-- Conditions, and steps that the engine carries out itself.
ALTER TABLE millrace_internal.version ADD COLUMN looked_at_roots integer[];
COMMENT ON COLUMN millrace_internal.version.looked_at_roots IS 'Those of the roots that have a condition, or that the engine enters; null when there are none.';
ALTER TABLE millrace_internal.version ADD COLUMN finally_roots integer[], ADD COLUMN finally_closing integer, ADD COLUMN phased boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN millrace_internal.version.closing IS 'Closing steps among the main ones.';
COMMENT ON COLUMN millrace_internal.version.finally_roots IS 'The first of the steps that run when all others have ended; null when there are none. Their closing steps are finally_closing.';
COMMENT ON COLUMN millrace_internal.version.phased IS 'The end of the main steps may not be the end of the run (logic/phase.sql).';
ALTER TABLE millrace_internal.step_definition ADD COLUMN finally boolean NOT NULL DEFAULT false, ADD COLUMN entered boolean NOT NULL DEFAULT false, ADD COLUMN traits jsonb;
COMMENT ON COLUMN millrace_internal.step_definition.finally IS 'It runs when all main steps have ended, whatever became of them.';
ALTER TABLE millrace_internal.run ADD COLUMN phase smallint CONSTRAINT run_phase_check CHECK (phase IN (1, 2)), ADD COLUMN ends_as smallint;
COMMENT ON COLUMN millrace_internal.run.closing_left IS 'Closing steps of its phase that are not terminal; at zero the next phase begins, or the run ends.';
COMMENT ON COLUMN millrace_internal.run.phase IS 'Null while the main steps run; 1 compensations, 2 the steps of finally.';
COMMENT ON COLUMN millrace_internal.run.ends_as IS 'The state in which the run ends, known since its main steps have ended; null where no later phase follows.';
COMMENT ON COLUMN millrace_internal.step_definition.entered IS 'The engine looks at the step when it would become ready, and carries it out itself or lets it be (logic/enter.sql).';
COMMENT ON COLUMN millrace_internal.step_definition.traits IS 'What the definition says beyond the other columns, as it says it; null for a plain step.';
DROP FUNCTION millrace_internal.settle(smallint, bigint[], integer[], integer[], integer[], integer, bigint, integer[], integer[], integer[], integer);
DROP FUNCTION millrace_internal.settle_skipped(smallint, bigint[], integer[]);
DROP FUNCTION millrace_internal.input_of(smallint, bigint, millrace_internal.step_definition);

-- Settings may have values of the run.
ALTER TABLE millrace_internal.step_definition ADD COLUMN fills boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN millrace_internal.step_definition.fills IS 'The settings have values of the run, filled in as the step is handed out (logic/fill.sql).';

-- Failures have classes, which say whether they are tried again.
ALTER TABLE millrace_internal.step ADD COLUMN error_class text;
COMMENT ON COLUMN millrace_internal.step.error_class IS 'What kind of failure the last try ended with (logic/error_class.sql).';
ALTER TABLE millrace_internal.step_definition ADD COLUMN retry_classes jsonb;
COMMENT ON COLUMN millrace_internal.step_definition.retry_classes IS '{"on": [...], "never_on": [...]}: which failures are retried; null: all.';
ALTER TABLE millrace_internal.version ADD COLUMN deadline double precision;
COMMENT ON COLUMN millrace_internal.version.deadline IS 'Seconds from the submit after which a run that was given no deadline is cancelled.';
ALTER TABLE millrace_internal.step_definition ADD COLUMN on_error integer;
COMMENT ON COLUMN millrace_internal.step_definition.on_error IS 'The step that handles the failure of this one.';
DROP FUNCTION millrace_internal.finish(smallint, integer, bigint[], integer[], integer[], smallint[], text[], double precision[]);
DROP FUNCTION millrace_internal.lock_doomed(smallint, integer, bigint[], integer[], integer[], smallint[]);
DROP FUNCTION millrace_internal.report_check(integer, integer[], integer[], text[], text[], text[], double precision[]);
DROP FUNCTION millrace_internal.report_codes(text[], text[]);
DROP FUNCTION millrace.report(integer, bigint[], integer[], integer[], text[], text[], text[], double precision[], integer, jsonb, integer);

-- A run that grows has a version of its own.
ALTER TABLE millrace_internal.version ADD COLUMN run_id bigint, ADD COLUMN base_id integer,
    ADD CONSTRAINT version_run_id_base_id_check CHECK ((run_id IS NULL) = (base_id IS NULL)),
    DROP CONSTRAINT version_workflow_id_version_key;
CREATE UNIQUE INDEX version_number_idx ON millrace_internal.version (workflow_id, version) WHERE run_id IS NULL;
COMMENT ON COLUMN millrace_internal.version.run_id IS 'The run whose own this version is, for it has grown or migrated; null for versions of the workflow.';
COMMENT ON COLUMN millrace_internal.version.base_id IS 'The workflow''s version that a run''s own one was made from; they share its number.';
COMMENT ON TABLE millrace_internal.step_definition IS 'The nodes of a version, numbered so that a need has a lower number; in a version of one run, new ones behind the old.';

COMMENT ON TABLE millrace_internal.timer IS
'When a waiting step is due (its token says for which wait), with step_no 0, when a run''s deadline is, with -1, that
something has come to a run, with -(n + 1), when the deadline of step n is.
A million sleeping steps cost nothing: only the head of this table is read. Dead rows stand at the head; vacuum takes them.';

-- Failures that nobody has dealt with, and how long a step may be in its state.
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
INSERT INTO millrace_internal.dead_letter (shard, run_id, step_no, failed_at)
SELECT s.shard, s.run_id, s.step_no, s.finished_at FROM millrace_internal.step s WHERE s.state = 11;

-- Tests stop the clock.
CREATE TABLE millrace_internal.frozen_clock (
    only_row  boolean     NOT NULL DEFAULT true CONSTRAINT frozen_clock_pkey PRIMARY KEY
                          CONSTRAINT frozen_clock_only_row_check CHECK (only_row),
    frozen_at timestamptz NOT NULL
);
COMMENT ON TABLE millrace_internal.frozen_clock IS 'Empty in production. Tests stop the engine''s clock here (millrace.set_clock).';
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.frozen_clock', '');

-- A run may bring its definition with it.
DROP FUNCTION millrace.submit(text, jsonb, integer, integer, text, jsonb, timestamptz, timestamptz, text, bigint, integer, text);

-- Events can be read by subscriptions; each partition of theirs has summaries by which readers find what is new.
CREATE TYPE millrace_internal.event_position AS (
    server_run bigint, era bigint, xmax bigint, low bigint, open bigint[], open_low bigint[],
    to_era bigint, to_xmax bigint, to_low bigint, to_end bigint, to_open bigint[], cursor bigint, at bigint
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
ALTER TABLE millrace_internal.partition ADD COLUMN summarised bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN millrace_internal.partition.summarised IS 'Pages of a partition of events that have summaries, by which readers find what is new.';
DO $$
DECLARE
    made bigint;
BEGIN
    FOR made IN SELECT from_id FROM millrace_internal.partition WHERE parent = 'event' ORDER BY from_id LOOP
        EXECUTE pg_catalog.format('CREATE INDEX ON millrace_internal.%I USING brin (event_id, xact_id, at) WITH (pages_per_range = 32)', 'event_' || made);
    END LOOP;
END $$;

-- The dispatcher keeps watermarks, and is refilled by the keeper a batch a transaction.
DROP VIEW millrace.dispatcher;
DROP FUNCTION millrace_internal.dispatcher_status();
DROP FUNCTION millrace_internal.dispatcher_state();
DROP FUNCTION millrace_internal.dispatcher_stats();
DROP FUNCTION millrace_internal.dispatcher_is_warm();
DROP FUNCTION millrace_internal.dispatcher_overflowed();
DROP FUNCTION millrace_internal.dispatcher_note_stale(int);
DROP FUNCTION millrace_internal.dispatcher_begin_refill();
DROP FUNCTION millrace_internal.dispatcher_end_refill();
DROP FUNCTION millrace_internal.dispatcher_wake(int[]);
DROP FUNCTION millrace_internal.sink_refill();

-- No longer called.
DROP FUNCTION millrace_internal.keys_of(integer, integer[]);

-- Durations are measured, and ranks follow from them.
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
-- Completions and claims are done in C.
DROP FUNCTION millrace_internal.start_candidates(smallint, integer, bigint, bigint[], integer[], timestamptz);
DROP FUNCTION millrace_internal.candidates_locked(smallint, bigint[], integer[], bigint[], integer[]);
DROP FUNCTION millrace_internal.start_from_sink(smallint, integer, bigint, integer[], integer[], integer[], integer);
DROP FUNCTION millrace_internal.report_answers(integer, bigint[], integer[], integer[], text[], integer[]);
DROP FUNCTION millrace_internal.work_rows(smallint, bigint[], integer[], integer[], integer[]);
DROP FUNCTION millrace_internal.hand_out(smallint, millrace_internal.agent, bigint, bigint[], integer[], integer[], integer[], integer);
DROP FUNCTION millrace_internal.decide(smallint, integer, bigint[], integer[], integer[], smallint[], jsonb[], text[], double precision[], bigint, integer[], integer[], integer[], integer);

-- The runs that are alive are found without an index on what changes, so that a run's end is a HOT update.
CREATE TABLE millrace_internal.long_run (
    run_id bigint   NOT NULL,
    shard  smallint NOT NULL,
    CONSTRAINT long_run_pkey PRIMARY KEY (run_id, shard)
);
COMMENT ON TABLE millrace_internal.long_run IS
'Runs that were still alive when the horizon passed them, or were reopened; of those that have ended since, some linger.
Dead rows: one per run that outlived the horizon and has ended.';

CREATE TABLE millrace_internal.run_horizon (
    only_row  boolean NOT NULL DEFAULT true CONSTRAINT run_horizon_pkey PRIMARY KEY
                      CONSTRAINT run_horizon_only_row_check CHECK (only_row),
    below     bigint  NOT NULL,
    next      bigint,
    next_xact bigint,
    swept_to  bigint  NOT NULL,
    CONSTRAINT run_horizon_next_check CHECK ((next IS NULL) = (next_xact IS NULL) AND next > below)
) WITH (fillfactor = 50);
COMMENT ON TABLE millrace_internal.run_horizon IS
'How far the keeper has noted which runs are alive. One HOT update a look. Not dumped: it names transactions of this cluster; from 0 on it is found again.';
COMMENT ON COLUMN millrace_internal.run_horizon.below IS 'Of the runs below it, those that are alive are in long_run.';
COMMENT ON COLUMN millrace_internal.run_horizon.next IS 'Where it goes once all transactions before next_xact are over: those that may have submitted a run below.';
COMMENT ON COLUMN millrace_internal.run_horizon.swept_to IS 'How far long_run has been cleared of runs that have ended; begins anew at its end.';

DO $$
DECLARE
    made bigint;
BEGIN
    FOR made IN SELECT from_id FROM millrace_internal.partition WHERE parent = 'run' ORDER BY from_id LOOP
        EXECUTE pg_catalog.format('DROP INDEX millrace_internal.%I', 'run_' || made || '_run_id_idx');
        EXECUTE pg_catalog.format('ALTER TABLE millrace_internal.%I SET (fillfactor = 45)', 'run_' || made);
    END LOOP;
END $$;

-- Steps wait for signals, people, times and other runs.
ALTER TABLE millrace_internal.run ADD COLUMN awaited boolean;
COMMENT ON COLUMN millrace_internal.run.awaited IS 'Somebody waits for its end, which then rings (logic/held.sql); null: nobody.';
CREATE TABLE millrace_internal.signal (
    run_id  bigint      NOT NULL,
    shard   smallint    NOT NULL,
    name    text        NOT NULL CONSTRAINT signal_name_check CHECK (name <> '' AND octet_length(name) <= 200),
    sent_at timestamptz NOT NULL,
    sent_by text        NOT NULL,
    payload jsonb,
    CONSTRAINT signal_pkey PRIMARY KEY (run_id, name, shard)
);
COMMENT ON TABLE millrace_internal.signal IS 'Signals that runs have got, the first of each name; they are kept for steps that come to wait later. Never updated.';

CREATE TABLE millrace_internal.wait (
    run_id         bigint      NOT NULL,
    step_no        integer     NOT NULL,
    shard          smallint    NOT NULL,
    kind           smallint    NOT NULL CONSTRAINT wait_kind_check CHECK (kind BETWEEN 1 AND 4),
    token          integer     NOT NULL,
    since          timestamptz NOT NULL,
    over_at        timestamptz,
    expires_at     timestamptz,
    signal         text,
    awaited_run_id bigint,
    assignee       text,
    candidates     text[],
    title          text,
    problem        text,
    CONSTRAINT wait_pkey PRIMARY KEY (run_id, step_no, shard)
);
CREATE INDEX wait_signal_idx ON millrace_internal.wait (run_id, signal) WHERE signal IS NOT NULL;
CREATE INDEX wait_awaited_run_id_idx ON millrace_internal.wait (awaited_run_id) WHERE awaited_run_id IS NOT NULL;
CREATE INDEX wait_assignee_idx ON millrace_internal.wait (assignee) WHERE kind = 2;
COMMENT ON TABLE millrace_internal.wait IS
'What each step in state 5 waits for. Nobody reads it while nothing comes. Dead rows: one per wait that is over.';
COMMENT ON COLUMN millrace_internal.wait.kind IS '1 a signal, 2 a person, 3 a time, 4 another run''s end';
COMMENT ON COLUMN millrace_internal.wait.token IS 'The step''s, while this wait is its own.';
COMMENT ON COLUMN millrace_internal.wait.over_at IS 'The time that is waited for.';
COMMENT ON COLUMN millrace_internal.wait.expires_at IS 'When the step''s timeout is up.';
COMMENT ON COLUMN millrace_internal.wait.problem IS 'Why it cannot be told what the step waits for; it fails with that.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.signal', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.wait', '');

-- Outputs that do not stay, and those that other steps may take over.
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

-- What running steps say of themselves.
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
DO $$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT from_id, to_id FROM millrace_internal.partition WHERE parent = 'run' ORDER BY from_id LOOP
        PERFORM millrace_internal.partition_create('step_note', made.from_id, made.to_id, 'fillfactor = 45', 'run_id, step_no, shard');
        PERFORM millrace_internal.partition_create('step_log', made.from_id, made.to_id, 'fillfactor = 100', 'run_id, step_no, token, line_no, shard');
        -- partitions are not the extension's own, so that pg_dump keeps their rows
        EXECUTE pg_catalog.format('ALTER EXTENSION millrace DROP TABLE millrace_internal.%I', 'step_note_' || made.from_id);
        EXECUTE pg_catalog.format('ALTER EXTENSION millrace DROP TABLE millrace_internal.%I', 'step_log_' || made.from_id);
    END LOOP;
END $$;

-- Steps that are spread over elements.
CREATE TABLE millrace_internal.fan_out (
    run_id    bigint   NOT NULL,
    step_no   integer  NOT NULL,
    shard     smallint NOT NULL,
    token     integer  NOT NULL,
    elements  integer  NOT NULL,
    first_no  integer  NOT NULL,
    parallel  integer,
    fail_fast boolean  NOT NULL,
    problem   text,
    started   integer  NOT NULL DEFAULT 0,
    ended     integer  NOT NULL DEFAULT 0,
    failed    integer  NOT NULL DEFAULT 0,
    over      boolean  NOT NULL DEFAULT false,
    again_no  integer,
    CONSTRAINT fan_out_pkey PRIMARY KEY (run_id, step_no, shard)
) WITH (fillfactor = 50);
COMMENT ON TABLE millrace_internal.fan_out IS
'Steps with for_each that have begun. Dead rows: one HOT version a call that ends elements, pruned when the page is next visited.';
COMMENT ON COLUMN millrace_internal.fan_out.step_no IS 'The step that was spread; that of element i is first_no + i.';
COMMENT ON COLUMN millrace_internal.fan_out.token IS 'The token under which the engine holds it.';
COMMENT ON COLUMN millrace_internal.fan_out.parallel IS 'So many elements run at once; null: all.';
COMMENT ON COLUMN millrace_internal.fan_out.problem IS 'Why there is nothing to spread it over.';
COMMENT ON COLUMN millrace_internal.fan_out.started IS 'Elements that have a row in step: those before this one.';
COMMENT ON COLUMN millrace_internal.fan_out.over IS 'Its end is decided.';
COMMENT ON COLUMN millrace_internal.fan_out.again_no IS 'The first of the steps that are to run again, for its retry, and have not begun; null: none. They count as ended.';

CREATE TABLE millrace_internal.fan_out_block (
    run_id   bigint   NOT NULL,
    step_no  integer  NOT NULL,
    block_no integer  NOT NULL,
    shard    smallint NOT NULL,
    items    jsonb    NOT NULL,
    CONSTRAINT fan_out_block_pkey PRIMARY KEY (run_id, step_no, block_no, shard)
);
COMMENT ON TABLE millrace_internal.fan_out_block IS
'What a step was spread over, 256 elements a row, so that one of them is found without unpacking all. Replaced only when the step is spread anew.';

CREATE TABLE millrace_internal.gained (
    run_id  bigint   NOT NULL,
    shard   smallint NOT NULL,
    next_no integer  NOT NULL,
    CONSTRAINT gained_pkey PRIMARY KEY (run_id, shard)
);
COMMENT ON TABLE millrace_internal.gained IS 'The next number for steps that a run gains beside those of its version. One row a run that gains any.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.fan_out', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.fan_out_block', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.gained', '');

-- Steps that are runs.
CREATE TABLE millrace_internal.sub_run (
    run_id       bigint   NOT NULL,
    step_no      integer  NOT NULL,
    shard        smallint NOT NULL,
    token        integer  NOT NULL,
    child_run_id bigint   CONSTRAINT sub_run_child_run_id_key UNIQUE,
    due_at       timestamptz,
    problem      text,
    CONSTRAINT sub_run_pkey PRIMARY KEY (run_id, step_no, shard)
);
COMMENT ON TABLE millrace_internal.sub_run IS 'Steps that are runs, each with its latest one. Dead rows: one a retry of such a step.';
COMMENT ON COLUMN millrace_internal.sub_run.token IS 'The token under which the engine holds the step.';
COMMENT ON COLUMN millrace_internal.sub_run.due_at IS 'When the step times out.';
COMMENT ON COLUMN millrace_internal.sub_run.problem IS 'Why there is no child.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.sub_run', '');

-- Steps that wait for others, to be executed with them in one call: agents are told by `batch`.
DROP FUNCTION millrace.claim(integer, integer, jsonb, integer);
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

-- Files that steps leave behind.
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
DO $$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT from_id, to_id FROM millrace_internal.partition WHERE parent = 'run' ORDER BY from_id LOOP
        PERFORM millrace_internal.partition_create('artifact', made.from_id, made.to_id, 'fillfactor = 100', 'run_id, step_no, artifact_no, shard');
        PERFORM millrace_internal.partition_create('artifact_part', made.from_id, made.to_id, 'fillfactor = 100', 'run_id, step_no, artifact_no, part_no, shard');
        -- partitions are not the extension's own, so that pg_dump keeps their rows
        EXECUTE pg_catalog.format('ALTER EXTENSION millrace DROP TABLE millrace_internal.%I', 'artifact_' || made.from_id);
        EXECUTE pg_catalog.format('ALTER EXTENSION millrace DROP TABLE millrace_internal.%I', 'artifact_part_' || made.from_id);
    END LOOP;
END $$;
COMMENT ON TABLE millrace_internal.partition IS
'The ranges that have partitions. `run` stands for run and all that belongs to runs and shares their ranges.';
