\echo Use "CREATE EXTENSION millrace" to load this file. \quit
-- Purpose: the two schemas. `millrace` is the interface; `millrace_internal` is nobody's business but the engine's.

CREATE SCHEMA millrace;
COMMENT ON SCHEMA millrace IS 'Millrace: durable, dependency-ordered workflows. Everything to call or to look at.';

CREATE SCHEMA millrace_internal;
COMMENT ON SCHEMA millrace_internal IS 'Tables and inner functions of Millrace. Not an interface: anything here may change with any version.';
-- Purpose: what this installation is: whose cluster it lives in, which sink holds its ready steps, and its partitions.
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
    CONSTRAINT partition_pkey PRIMARY KEY (parent, from_id),
    CONSTRAINT partition_from_id_to_id_check CHECK (from_id < to_id)
);
COMMENT ON TABLE millrace_internal.partition IS
'The ranges that have partitions. `run` stands for run, run_input, step and output, which share their ranges.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.installation', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.sink', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.partition', '');
-- Purpose: names that hot rows refer to by a small number: queues, handlers, tenants.
-- Dead rows: hardly any; rows are added once and seldom changed.

CREATE SEQUENCE millrace_internal.queue_id_seq AS integer;
CREATE TABLE millrace_internal.queue (
    queue_id integer NOT NULL DEFAULT nextval('millrace_internal.queue_id_seq') CONSTRAINT queue_pkey PRIMARY KEY,
    name     text    NOT NULL CONSTRAINT queue_name_key UNIQUE
                     CONSTRAINT queue_name_check CHECK (name <> '' AND octet_length(name) <= 200)
);
COMMENT ON TABLE millrace_internal.queue IS 'Named places where ready steps wait.';

CREATE SEQUENCE millrace_internal.handler_id_seq AS integer;
CREATE TABLE millrace_internal.handler (
    handler_id  integer NOT NULL DEFAULT nextval('millrace_internal.handler_id_seq') CONSTRAINT handler_pkey PRIMARY KEY,
    name        text    NOT NULL CONSTRAINT handler_name_key UNIQUE
                        CONSTRAINT handler_name_check CHECK (name <> '' AND octet_length(name) <= 200),
    takes_input boolean NOT NULL DEFAULT true
);
COMMENT ON TABLE millrace_internal.handler IS 'Names of the code that executes steps.';
COMMENT ON COLUMN millrace_internal.handler.takes_input IS
'False where the agent has no use for a step''s input: noop and sleep ignore it, sql reads it inside the database.';

CREATE SEQUENCE millrace_internal.tenant_id_seq AS integer MINVALUE 0 START 0;
CREATE TABLE millrace_internal.tenant (
    tenant_id integer NOT NULL DEFAULT nextval('millrace_internal.tenant_id_seq') CONSTRAINT tenant_pkey PRIMARY KEY,
    name      text    NOT NULL CONSTRAINT tenant_name_key UNIQUE
                      CONSTRAINT tenant_name_check CHECK (octet_length(name) <= 200),
    weight    real    NOT NULL DEFAULT 1 CONSTRAINT tenant_weight_check CHECK (weight > 0 AND weight <= 1000000)
);
COMMENT ON TABLE millrace_internal.tenant IS 'Owners of runs. A tenant of weight 2 is handed twice as many steps as one of weight 1 when both wait.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.queue', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.queue_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.handler', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.handler_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.tenant', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.tenant_id_seq', '');
-- Purpose: definitions. A version never changes once it is written, so nothing here has dead rows.

CREATE SEQUENCE millrace_internal.workflow_id_seq AS integer;
CREATE TABLE millrace_internal.workflow (
    workflow_id integer     NOT NULL DEFAULT nextval('millrace_internal.workflow_id_seq') CONSTRAINT workflow_pkey PRIMARY KEY,
    name        text        NOT NULL CONSTRAINT workflow_name_key UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE millrace_internal.workflow IS 'Named definitions; each change makes a new version.';

CREATE SEQUENCE millrace_internal.version_id_seq AS integer;
CREATE TABLE millrace_internal.version (
    version_id   integer     NOT NULL DEFAULT nextval('millrace_internal.version_id_seq') CONSTRAINT version_pkey PRIMARY KEY,
    workflow_id  integer     NOT NULL,
    version      integer     NOT NULL,
    inline       boolean     NOT NULL DEFAULT false,
    content_hash bytea       NOT NULL,
    definition   jsonb       NOT NULL,
    on_failure   smallint    NOT NULL CONSTRAINT version_on_failure_check CHECK (on_failure IN (0, 1)),
    steps        integer     NOT NULL,
    edges        integer     NOT NULL,
    closing      integer     NOT NULL CONSTRAINT version_closing_check CHECK (closing > 0),
    roots        integer[]   NOT NULL,
    graph        bytea       NOT NULL,
    defined_by   oid         NOT NULL,
    search_path  text        NOT NULL,
    defined_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT version_workflow_id_version_key UNIQUE (workflow_id, version),
    CONSTRAINT version_workflow_id_content_hash_key UNIQUE (workflow_id, content_hash, defined_by)
);
ALTER TABLE millrace_internal.version ALTER COLUMN graph SET STORAGE EXTERNAL;
COMMENT ON TABLE millrace_internal.version IS 'Immutable versions of workflows, with their materialised dependency paths.';
COMMENT ON COLUMN millrace_internal.version.inline IS 'True for a definition that came with a submit: it is never the latest version.';
COMMENT ON COLUMN millrace_internal.version.graph IS 'The graph and its paths as the C functions read it; stored uncompressed, for it is compressed already.';
COMMENT ON COLUMN millrace_internal.version.defined_by IS 'The role whose rights the sql steps of this version have.';

CREATE TABLE millrace_internal.step_definition (
    version_id     integer          NOT NULL,
    def_no         integer          NOT NULL,
    handler_id     integer          NOT NULL,
    queue_id       integer          NOT NULL,
    needs_count    integer          NOT NULL,
    level          integer          NOT NULL,
    rank           real             NOT NULL,
    rule           smallint         NOT NULL,
    priority       smallint         NOT NULL,
    closing        boolean          NOT NULL,
    takes_input    boolean          NOT NULL,
    retry_limit    integer          NOT NULL,
    retry_backoff  double precision NOT NULL,
    retry_factor   double precision NOT NULL,
    retry_max      double precision NOT NULL,
    retry_jitter   double precision NOT NULL,
    timeout        double precision,
    delay          double precision,
    expected       real             NOT NULL,
    key            text             NOT NULL,
    workflow       text             NOT NULL,
    handler        text             NOT NULL,
    dependents     integer[],
    needs          integer[],
    settings       jsonb,
    input          jsonb,
    CONSTRAINT step_definition_pkey PRIMARY KEY (version_id, def_no),
    -- the key comes first: beside the primary key there is then no other way to a step by its number
    CONSTRAINT step_definition_key_version_id_key UNIQUE (key, version_id)
);
COMMENT ON TABLE millrace_internal.step_definition IS 'The nodes of a version, numbered so that a need has a lower number.';
COMMENT ON COLUMN millrace_internal.step_definition.needs_count IS 'How many needs are counted down; needs that a longer path implies are not.';
COMMENT ON COLUMN millrace_internal.step_definition.dependents IS 'Dependents along counted edges, ascending; null when there are none.';
COMMENT ON COLUMN millrace_internal.step_definition.workflow IS 'The workflow''s name: a claim answers it without two more look-ups.';
COMMENT ON COLUMN millrace_internal.step_definition.handler IS 'The handler''s name beside its number, for the same reason.';
COMMENT ON COLUMN millrace_internal.step_definition.needs IS 'All declared needs, ascending; null when there are none.';
COMMENT ON COLUMN millrace_internal.step_definition.rank IS 'Longest remaining path from here to the end of the run, this step included, in expected seconds.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.workflow', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.workflow_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.version', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.version_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.step_definition', '');
-- Purpose: runs, their inputs and the keys that make a submit idempotent.
-- Dead rows: a run row is updated at its end and when a person steers it; autovacuum takes it from there.
-- Partitions (by range of run_id) are made at run time by logic/partition.sql, outside the extension, so that pg_dump keeps their rows.

CREATE SEQUENCE millrace_internal.run_seq AS bigint;

CREATE TABLE millrace_internal.run (
    run_id         bigint      NOT NULL,
    version_id     integer     NOT NULL,
    tenant_id      integer     NOT NULL,
    shard          smallint    NOT NULL,
    priority       smallint    NOT NULL,
    state          smallint    NOT NULL CONSTRAINT run_state_check CHECK (state IN (1, 2, 10, 11, 12)),
    steps_failed   integer     NOT NULL DEFAULT 0,
    closing_left   integer     NOT NULL,
    created_at     timestamptz NOT NULL,
    started_at     timestamptz,
    finished_at    timestamptz,
    not_before     timestamptz,
    deadline       timestamptz,
    parent_run_id  bigint,
    parent_step_no integer,
    labels         jsonb,
    trace          text,
    CONSTRAINT run_state_finished_at_check CHECK ((state >= 10) = (finished_at IS NOT NULL))
) PARTITION BY RANGE (run_id);

COMMENT ON TABLE millrace_internal.run IS 'Executions of versions. The low 8 bits of run_id are its shard.';
COMMENT ON COLUMN millrace_internal.run.state IS '1 running, 2 paused, 10 completed, 11 failed, 12 cancelled';
COMMENT ON COLUMN millrace_internal.run.closing_left IS 'Closing steps that are not terminal; the run ends at zero.';
COMMENT ON COLUMN millrace_internal.run.started_at IS 'Set only where the steps no longer tell: when a step that had started is started anew.';

CREATE TABLE millrace_internal.run_input (
    run_id bigint   NOT NULL,
    shard  smallint NOT NULL,
    input  jsonb    NOT NULL
) PARTITION BY RANGE (run_id);
COMMENT ON TABLE millrace_internal.run_input IS 'Inputs of runs, apart from the run row, which is read often. No row: no input. Never updated.';

CREATE TABLE millrace_internal.idempotency_key (
    shard     smallint NOT NULL,
    tenant_id integer  NOT NULL,
    key       text     NOT NULL CONSTRAINT idempotency_key_key_check CHECK (octet_length(key) <= 500),
    run_id    bigint   NOT NULL,
    CONSTRAINT idempotency_key_pkey PRIMARY KEY (tenant_id, key, shard)
);
COMMENT ON TABLE millrace_internal.idempotency_key IS 'Keys of submits and the run that the first of them made. Never updated.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.run_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.run', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.run_input', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.idempotency_key', '');
-- Purpose: steps, their outputs, and the moments at which something falls due.
-- Partitions of step and output are made at run time, with the same ranges as those of run.

CREATE TABLE millrace_internal.step (
    run_id      bigint   NOT NULL,
    step_no     integer  NOT NULL,
    version_id  integer  NOT NULL,
    def_no      integer  NOT NULL,
    element     integer,
    shard       smallint NOT NULL,
    -- what changes stands together, behind what does not: an update writes only the changed middle to the log
    state       smallint NOT NULL CONSTRAINT step_state_check CHECK (state IN (0, 1, 2, 3, 4, 10, 11, 12, 13)),
    attempts    integer  NOT NULL DEFAULT 0,
    token       integer  NOT NULL DEFAULT 0,
    needs_left  integer  NOT NULL DEFAULT 0 CONSTRAINT step_needs_left_check CHECK (needs_left >= 0),
    needs_bad   integer  NOT NULL DEFAULT 0,
    agent_id    integer,
    receipt_no  bigint,
    ready_at    timestamptz,
    started_at  timestamptz,
    finished_at timestamptz,
    elapsed     real,
    error       text,
    CONSTRAINT step_state_finished_at_check CHECK ((state >= 10) = (finished_at IS NOT NULL)),
    CONSTRAINT step_state_agent_id_check CHECK (state <> 4 OR (agent_id IS NOT NULL AND receipt_no IS NOT NULL AND started_at IS NOT NULL)),
    CONSTRAINT step_state_needs_left_check CHECK (state IN (0, 13) OR needs_left = 0)
) PARTITION BY RANGE (run_id);
COMMENT ON TABLE millrace_internal.step IS
'Execution units of runs. A pending step that nothing has touched has no row: its version says that it exists.
Dead rows: one or two HOT versions a step, pruned when its page is next visited.';
COMMENT ON COLUMN millrace_internal.step.state IS
'0 pending, 1 waiting, 2 ready, 3 parked (ready, in a paused run), 4 running, 10 completed, 11 failed, 12 skipped, 13 cancelled';
COMMENT ON COLUMN millrace_internal.step.token IS 'Grows with every hand-out; fences every report.';
COMMENT ON COLUMN millrace_internal.step.needs_left IS 'Counted needs that are not yet terminal.';
COMMENT ON COLUMN millrace_internal.step.needs_bad IS 'Counted needs that are terminal and did not complete.';
COMMENT ON COLUMN millrace_internal.step.ready_at IS 'When the step became ready last; while it waits, when it will.';
COMMENT ON COLUMN millrace_internal.step.elapsed IS 'Seconds measured around the handler.';

CREATE TABLE millrace_internal.output (
    run_id  bigint   NOT NULL,
    step_no integer  NOT NULL,
    shard   smallint NOT NULL,
    output  jsonb    NOT NULL
) PARTITION BY RANGE (run_id);
COMMENT ON TABLE millrace_internal.output IS 'Outputs of completed steps, each stored once. No row: no output. Replaced only by an operator''s retry.';

CREATE TABLE millrace_internal.timer (
    shard   smallint    NOT NULL,
    due_at  timestamptz NOT NULL,
    run_id  bigint      NOT NULL,
    step_no integer     NOT NULL,
    token   integer     NOT NULL,
    CONSTRAINT timer_pkey PRIMARY KEY (due_at, run_id, step_no, shard)
);
COMMENT ON TABLE millrace_internal.timer IS
'When a waiting step is due (its token says for which wait), or, with step_no 0, when a run''s deadline is.
A million sleeping steps cost nothing: only the head of this table is read. Dead rows stand at the head; vacuum takes them.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.step', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.output', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.timer', '');
-- Purpose: the readiness sink of the plain tier: one row per ready step, in the order in which claims take them.
-- A cache like the dispatcher's memory: the step rows are the truth. Empty on the dispatcher tier.
-- Dead rows: every row dies once; autovacuum is told to come early.

CREATE TABLE millrace_internal.ready (
    shard      smallint NOT NULL,
    queue_id   integer  NOT NULL,
    handler_id integer  NOT NULL,
    priority   smallint NOT NULL,
    tenant_id  integer  NOT NULL,
    run_id     bigint   NOT NULL,
    urgency    real     NOT NULL,
    step_no    integer  NOT NULL,
    CONSTRAINT ready_pkey PRIMARY KEY (queue_id, handler_id, priority, tenant_id, run_id, urgency, step_no, shard)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE millrace_internal.ready IS 'Ready steps on the plain tier. Not dumped: refilled from the steps.';
COMMENT ON COLUMN millrace_internal.ready.urgency IS 'The negated rank, so that ascending order is claim order.';
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
-- Purpose: raising an error of class MR, with its parts, in one statement. The codes are listed in docs/errors.md.

CREATE OR REPLACE FUNCTION millrace_internal.fail(code text, message text, detail text DEFAULT NULL, hint text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF detail IS NULL AND hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message;
    ELSIF detail IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, HINT = hint;
    ELSIF hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail;
    ELSE
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail, HINT = hint;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.fail(text, text, text, text) IS 'Raises an error: what, facts, what to do.';

-- The role that calls, however many SECURITY DEFINER functions stand between: SET ROLE's, else the session's.
CREATE OR REPLACE FUNCTION millrace_internal.caller()
RETURNS name LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role')::name END
$$;
COMMENT ON FUNCTION millrace_internal.caller() IS 'The role on whose behalf a call is made.';
-- Purpose: the engine's only clock, and its settings.

CREATE OR REPLACE FUNCTION millrace_internal.clock()
RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.clock_timestamp()
$$;
COMMENT ON FUNCTION millrace_internal.clock() IS 'Now, as the engine sees it. Read after the locks are held.';

CREATE OR REPLACE FUNCTION millrace_internal.setting(name text)
RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- the first call of a session loads the library, and with it the settings
    PERFORM millrace_internal.dispatcher_attached();
    RETURN current_setting(name);
END $$;
COMMENT ON FUNCTION millrace_internal.setting(text) IS 'The value of a setting millrace.*, also in a session that has not loaded the library yet.';
-- Purpose: whether this database may work here.

CREATE OR REPLACE FUNCTION millrace_internal.is_home()
RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (SELECT FROM millrace_internal.installation i
                       WHERE i.home AND i.system_identifier <> (SELECT c.system_identifier FROM pg_control_system() c))
       AND EXISTS (SELECT FROM millrace_internal.installation i
                   WHERE i.home AND i.system_identifier = (SELECT c.system_identifier FROM pg_control_system() c))
$$;
COMMENT ON FUNCTION millrace_internal.is_home() IS 'False in a copy (restored dump, upgraded cluster) until millrace.adopt() has been called.';

-- Tables changed: installation, at the first use.
CREATE OR REPLACE FUNCTION millrace_internal.settle_in()
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM millrace_internal.installation) THEN
        INSERT INTO millrace_internal.installation (system_identifier) SELECT system_identifier FROM pg_control_system();
        PERFORM millrace_internal.keeper_wake();
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_in() IS
'Makes this cluster the home of a database that nothing has been done in yet. Called where runs and agents begin.';

CREATE OR REPLACE FUNCTION millrace.adopt()
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    here bigint := (SELECT system_identifier FROM pg_control_system());
BEGIN
    DELETE FROM millrace_internal.installation WHERE system_identifier = here;
    UPDATE millrace_internal.installation SET home = false WHERE home;
    INSERT INTO millrace_internal.installation (system_identifier) VALUES (here);
    -- what the sink held belonged to the other cluster's memory or tables
    DELETE FROM millrace_internal.sink;
    PERFORM millrace_internal.partitions_ensure();
    PERFORM millrace_internal.workers_attach();
    PERFORM millrace_internal.keeper_wake();
END $$;
COMMENT ON FUNCTION millrace.adopt() IS
'Makes this cluster the home of the database''s runs: its agents and workers go on with them. Call it in a restored copy only when the original no longer works on them. Tables changed: installation, sink.';
-- Purpose: partitions, made at run time so that pg_dump keeps their rows, and ahead of need so that no writer waits.

-- Makes one partition of a parent. Keys and indexes are the partitions' own: on the parents, which belong to the
-- extension, they would be there before pg_restore attaches a partition, and collide with those that it makes. Locks: SHARE UPDATE EXCLUSIVE on the parent, which stops no reader and no writer.
CREATE OR REPLACE FUNCTION millrace_internal.partition_create(parent text, from_id bigint, to_id bigint, storage text, key text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    child text := format('%s_%s', parent, from_id);
BEGIN
    EXECUTE format('CREATE TABLE millrace_internal.%I (LIKE millrace_internal.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH (%s)',
                   child, parent, storage);
    IF key IS NOT NULL THEN
        EXECUTE format('ALTER TABLE millrace_internal.%I ADD CONSTRAINT %I PRIMARY KEY (%s)', child, child || '_pkey', key);
    END IF;
    EXECUTE format('ALTER TABLE millrace_internal.%I ATTACH PARTITION millrace_internal.%I FOR VALUES FROM (%s) TO (%s)',
                   parent, child, from_id, to_id);
END $$;
COMMENT ON FUNCTION millrace_internal.partition_create(text, bigint, bigint, text, text) IS 'One partition [from_id, to_id) of a parent.';

CREATE OR REPLACE FUNCTION millrace_internal.partitions_extend(in_parent text, needed_id bigint, width bigint)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next_id bigint;
BEGIN
    IF needed_id < (SELECT max(p.to_id) FROM millrace_internal.partition p WHERE p.parent = in_parent) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('millrace_internal.partition'), hashtext(in_parent));
    SELECT coalesce(max(p.to_id), 0) INTO next_id FROM millrace_internal.partition p WHERE p.parent = in_parent;
    WHILE next_id <= needed_id LOOP
        IF in_parent = 'run' THEN
            -- a step's page keeps room for one or two more versions of each of its rows: updates stay on the page
            PERFORM millrace_internal.partition_create('run', next_id, next_id + width, 'fillfactor = 70', 'run_id, shard');
            -- The only index on something that changes: it is left once, at the end of a run, and lets a restarted engine
            -- find the runs that are alive without reading those that are not.
            EXECUTE format('CREATE INDEX ON millrace_internal.%I (run_id) WHERE finished_at IS NULL', 'run_' || next_id);
            PERFORM millrace_internal.partition_create('run_input', next_id, next_id + width, 'fillfactor = 100', 'run_id, shard');
            PERFORM millrace_internal.partition_create('step', next_id, next_id + width, 'fillfactor = 45', 'run_id, step_no, shard');
            PERFORM millrace_internal.partition_create('output', next_id, next_id + width, 'fillfactor = 100', 'run_id, step_no, shard');
        ELSE
            PERFORM millrace_internal.partition_create('event', next_id, next_id + width, 'fillfactor = 100', NULL);
            EXECUTE format('CREATE INDEX ON millrace_internal.%I (run_id)', 'event_' || next_id);
        END IF;
        INSERT INTO millrace_internal.partition (parent, from_id, to_id) VALUES (in_parent, next_id, next_id + width);
        next_id := next_id + width;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.partitions_extend(text, bigint, bigint) IS
'Makes the partitions of run (and run_input, step, output) or event up to an id. Tables changed: partition. Locks: an advisory one per parent, only where something is missing.';

CREATE OR REPLACE FUNCTION millrace_internal.partitions_ensure()
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    runs   bigint := 256 * millrace_internal.setting('millrace.runs_per_partition')::bigint;
    events bigint := millrace_internal.setting('millrace.events_per_partition')::bigint;
BEGIN
    -- half a partition ahead of the sequences
    PERFORM millrace_internal.partitions_extend('run', (SELECT last_value FROM millrace_internal.run_seq) * 256 + runs / 2, runs);
    PERFORM millrace_internal.partitions_extend('event', (SELECT last_value FROM millrace_internal.event_id_seq) + events / 2, events);
END $$;
COMMENT ON FUNCTION millrace_internal.partitions_ensure() IS
'Keeps half a partition free ahead of the ids in use. Called by the keeper, by heartbeats, and where runs and agents begin.';
-- Purpose: names to numbers. A name that is new is added in the caller's transaction.

CREATE OR REPLACE FUNCTION millrace_internal.queue_ids(names text[])
RETURNS integer[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO millrace_internal.queue (name)
    SELECT n FROM (SELECT DISTINCT n FROM unnest(names) n) n (n)
    WHERE NOT EXISTS (SELECT FROM millrace_internal.queue q WHERE q.name = n.n) ORDER BY n
    ON CONFLICT DO NOTHING;
    RETURN ARRAY(SELECT q.queue_id FROM unnest(names) WITH ORDINALITY n (name, ord)
                 JOIN millrace_internal.queue q USING (name) ORDER BY n.ord);
END $$;
COMMENT ON FUNCTION millrace_internal.queue_ids(text[]) IS 'Numbers of queues, in order. Tables changed: queue.';

CREATE OR REPLACE FUNCTION millrace_internal.handler_ids(names text[])
RETURNS integer[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO millrace_internal.handler (name, takes_input)
    SELECT n, n NOT IN ('noop', 'sleep', 'sql') FROM (SELECT DISTINCT n FROM unnest(names) n) n (n)
    WHERE NOT EXISTS (SELECT FROM millrace_internal.handler h WHERE h.name = n.n) ORDER BY n
    ON CONFLICT DO NOTHING;
    RETURN ARRAY(SELECT h.handler_id FROM unnest(names) WITH ORDINALITY n (name, ord)
                 JOIN millrace_internal.handler h USING (name) ORDER BY n.ord);
END $$;
COMMENT ON FUNCTION millrace_internal.handler_ids(text[]) IS 'Numbers of handlers, in order. Tables changed: handler.';

CREATE OR REPLACE FUNCTION millrace_internal.tenant_id(in_name text)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_id integer := (SELECT t.tenant_id FROM millrace_internal.tenant t WHERE t.name = in_name);
BEGIN
    IF found_id IS NULL THEN
        IF octet_length(in_name) > 200 THEN
            PERFORM millrace_internal.fail('MR002', 'the tenant''s name is too long', format('It has %s bytes; 200 are allowed.', octet_length(in_name)));
        END IF;
        INSERT INTO millrace_internal.tenant (name) VALUES (in_name) ON CONFLICT DO NOTHING;
        SELECT t.tenant_id INTO found_id FROM millrace_internal.tenant t WHERE t.name = in_name;
    END IF;
    RETURN found_id;
END $$;
COMMENT ON FUNCTION millrace_internal.tenant_id(text) IS 'Number of a tenant. Tables changed: tenant.';

CREATE OR REPLACE FUNCTION millrace.set_tenant_weight(tenant text, weight real)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id integer;
BEGIN
    IF weight IS NULL OR NOT (weight > 0 AND weight <= 1000000) THEN
        PERFORM millrace_internal.fail('MR001', format('the weight %s is not between 0 and 1,000,000', weight));
    END IF;
    id := millrace_internal.tenant_id(coalesce(set_tenant_weight.tenant, ''));
    UPDATE millrace_internal.tenant t SET weight = set_tenant_weight.weight WHERE t.tenant_id = id;
END $$;
COMMENT ON FUNCTION millrace.set_tenant_weight(text, real) IS 'A tenant''s share of what is handed out while others wait too; 1 by default. Tables changed: tenant.';
-- Purpose: the names of stored numbers, in one place.

CREATE OR REPLACE FUNCTION millrace_internal.step_state_name(state smallint)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE state WHEN 0 THEN 'pending' WHEN 1 THEN 'waiting' WHEN 2 THEN 'ready' WHEN 3 THEN 'ready' WHEN 4 THEN 'running'
                      WHEN 10 THEN 'completed' WHEN 11 THEN 'failed' WHEN 12 THEN 'skipped' WHEN 13 THEN 'cancelled' END
$$;
COMMENT ON FUNCTION millrace_internal.step_state_name(smallint) IS 'Name of a step''s state; a parked step is ready to those who look.';

CREATE OR REPLACE FUNCTION millrace_internal.run_state_name(state smallint)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE state WHEN 1 THEN 'running' WHEN 2 THEN 'paused' WHEN 10 THEN 'completed' WHEN 11 THEN 'failed' WHEN 12 THEN 'cancelled' END
$$;
COMMENT ON FUNCTION millrace_internal.run_state_name(smallint) IS 'Name of a run''s state.';

CREATE OR REPLACE FUNCTION millrace_internal.event_kind_name(kind smallint)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (ARRAY['run_submitted', 'run_paused', 'run_resumed', 'run_completed', 'run_failed', 'run_cancelled', 'run_reopened',
                  'step_started', 'step_waiting', 'step_released', 'step_completed', 'step_failed', 'step_skipped',
                  'step_cancelled', 'step_resolved', 'step_reset'])[kind]
$$;
COMMENT ON FUNCTION millrace_internal.event_kind_name(smallint) IS
'Name of an event''s kind: 1 run_submitted, 2 run_paused, 3 run_resumed, 4 run_completed, 5 run_failed, 6 run_cancelled, 7 run_reopened,
8 step_started, 9 step_waiting, 10 step_released, 11 step_completed, 12 step_failed, 13 step_skipped, 14 step_cancelled, 15 step_resolved, 16 step_reset.';
-- Purpose: small readings of JSON that the definition and inputs share.

-- Arguments: value  a number (seconds) or a text: 100ms, 1.5s, 5m, 2h, 1d, or any PostgreSQL interval
-- Returns:   seconds, null where it is none or negative
CREATE OR REPLACE FUNCTION millrace_internal.seconds(value jsonb)
RETURNS double precision LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    word  text := value #>> '{}';
    parts text[];
    found double precision;
BEGIN
    IF jsonb_typeof(value) = 'number' THEN
        found := word::double precision;
    ELSIF jsonb_typeof(value) = 'string' THEN
        parts := regexp_match(word, '^\s*(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)\s*$');
        IF parts IS NOT NULL THEN
            found := parts[1]::double precision * CASE parts[2] WHEN 'ms' THEN 0.001 WHEN 's' THEN 1 WHEN 'm' THEN 60 WHEN 'h' THEN 3600 ELSE 86400 END;
        ELSIF word ~ '[0-9]' THEN
            BEGIN
                found := extract(epoch FROM word::interval);
            EXCEPTION WHEN data_exception THEN
                found := NULL;
            END;
        END IF;
    END IF;
    RETURN CASE WHEN found >= 0 AND found <= 3155760000 THEN found END;
END $$;
COMMENT ON FUNCTION millrace_internal.seconds(jsonb) IS 'Seconds of an interval in a definition; null where it is none, is negative, or is longer than a hundred years.';

-- Returns: the JSONPath leaves of an input template. A leaf that begins with $$ is text, not a path.
CREATE OR REPLACE FUNCTION millrace_internal.input_paths(template jsonb)
RETURNS SETOF text LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $body$
    SELECT DISTINCT leaf #>> '{}'
    FROM jsonb_path_query(template, 'strict $.** ? (@.type() == "string" && @ starts with "$" && !(@ starts with "$$"))') leaf
$body$;
COMMENT ON FUNCTION millrace_internal.input_paths(jsonb) IS 'The distinct JSONPath leaves of an input.';

-- Returns: why a text is no JSONPath; null when it is one. Tried as well as parsed, for it may name a variable: there are none.
CREATE OR REPLACE FUNCTION millrace_internal.path_problem(path text)
RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM jsonb_path_exists('{"run": null, "needs": {}}', path::jsonpath, '{}', true);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END $$;
COMMENT ON FUNCTION millrace_internal.path_problem(text) IS 'Why a text is no JSONPath; null when it is one.';
-- Purpose: the graph of a version, answered in C.
-- A graph is computed once, when a version is defined, and kept as one value that all its runs share.
-- Steps are numbered depth-first in topological order (def_no, from 1): a need has a lower number than
-- what needs it. Arrays "by def_no" have one element a step, the first for def_no 1.
-- Tables changed: none. Locks taken: none.

-- Purpose: number the steps of a version and compute all that is known about its graph.
-- Arguments: step_count  steps are named here by ordinal, their place in the definition, from 1
--            edge_from, edge_to  one element an edge: the step edge_to needs the step edge_from
--            rules       by ordinal: 0 all_completed, 1 all_done, others; from 10 on they may decide early
--            expected    by ordinal: expected seconds, null where unknown (counted as 1)
--            path_bytes  bound for the paths kept in the graph; past it a sweep answers instead
-- Returns:   def_no             by ordinal: the number of each step
--            level              by def_no: steps on the longest path before it
--            rank               by def_no: expected seconds on the longest path from its start to the end
--            needs_count        by def_no: counted needs, that is without those implied by a longer path
--            closing            by def_no: may be the last of a run to end
--            dependents_start   by def_no, and one more: where its counted dependents begin in
--            dependents         which lists them: those of d are dependents[dependents_start[d] : dependents_start[d+1] - 1]
--            implied_from, implied_to  def_nos of the edges that need not be counted
--            cycle              ordinals of steps that need each other in a ring, each needed by the next;
--                               null without one, else all other columns are null
--            graph              what the functions below read; store it uncompressed (EXTERNAL)
CREATE OR REPLACE FUNCTION millrace_internal.graph_build(
    step_count int, edge_from int[], edge_to int[], rules smallint[], expected real[], path_bytes int,
    OUT def_no int[], OUT level int[], OUT rank real[], OUT needs_count int[], OUT closing boolean[],
    OUT dependents_start int[], OUT dependents int[], OUT implied_from int[], OUT implied_to int[],
    OUT cycle int[], OUT graph bytea)
RETURNS record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_build';
COMMENT ON FUNCTION millrace_internal.graph_build(int, int[], int[], smallint[], real[], int) IS
    'numbers the steps of a version and computes levels, ranks, counted and implied edges and paths';

-- Purpose: the paths through a step. Returns: def_nos, ascending.
CREATE OR REPLACE FUNCTION millrace_internal.graph_ancestors(graph bytea, def_no int)
RETURNS int[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_ancestors';
COMMENT ON FUNCTION millrace_internal.graph_ancestors(bytea, int) IS
    'all steps that a step waits for, directly or through others';

CREATE OR REPLACE FUNCTION millrace_internal.graph_descendants(graph bytea, def_no int)
RETURNS int[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_descendants';
COMMENT ON FUNCTION millrace_internal.graph_descendants(bytea, int) IS
    'all steps that wait for a step, directly or through others';

CREATE OR REPLACE FUNCTION millrace_internal.graph_fall(graph bytea, def_no int)
RETURNS int[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_fall';
COMMENT ON FUNCTION millrace_internal.graph_fall(bytea, int) IS
    'all steps that are skipped if a step fails: what hangs on it through steps with rule all_completed';

CREATE OR REPLACE FUNCTION millrace_internal.graph_needs(graph bytea, def_no int)
RETURNS int[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_needs';
COMMENT ON FUNCTION millrace_internal.graph_needs(bytea, int) IS
    'the declared needs of a step, counted and implied';

CREATE OR REPLACE FUNCTION millrace_internal.graph_dependents(graph bytea, def_no int)
RETURNS int[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_dependents';
COMMENT ON FUNCTION millrace_internal.graph_dependents(bytea, int) IS
    'the steps that declare a step as a need, counted and implied';

-- Returns: whether to_no waits for from_no, directly or through others.
CREATE OR REPLACE FUNCTION millrace_internal.graph_has_path(graph bytea, from_no int, to_no int)
RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_has_path';
COMMENT ON FUNCTION millrace_internal.graph_has_path(bytea, int, int) IS
    'whether the second step waits for the first, directly or through others';

-- Returns: one row an edge, ordered by to_no: to_no needs from_no; not counted where a longer path implies it.
CREATE OR REPLACE FUNCTION millrace_internal.graph_edges(graph bytea)
RETURNS TABLE (from_no int, to_no int, counted boolean)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_edges';
COMMENT ON FUNCTION millrace_internal.graph_edges(bytea) IS
    'the declared edges, and whether each is counted or implied by a longer path';

-- Arguments: weights  by def_no, in seconds; null, or a null element: what the definition expects
-- Returns:   def_nos of the longest path, from its first step to its last.
CREATE OR REPLACE FUNCTION millrace_internal.graph_critical_path(graph bytea, weights real[] DEFAULT NULL)
RETURNS int[]
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_critical_path';
COMMENT ON FUNCTION millrace_internal.graph_critical_path(bytea, real[]) IS
    'the longest path under the given weights';

-- Purpose: what follows when steps have become terminal.
-- Arguments: settled, good  the steps, each good when it completed
--            known, known_left, known_bad  counters of steps that were reached before; all others start
--            from their counted needs and no bad one; a known step with nothing left is passed over
-- Returns:   one row for each step reached over counted edges, ascending:
--            needs_left, needs_bad  its counters from now on
--            decision  0 still waiting; 1 ready, or, from rule 2 on, for the caller to decide;
--                      2 skipped, and what follows from that is among the rows
CREATE OR REPLACE FUNCTION millrace_internal.graph_settle(
    graph bytea, settled int[], good boolean[], known int[], known_left int[], known_bad int[])
RETURNS TABLE (def_no int, needs_left int, needs_bad int, decision smallint)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_settle';
COMMENT ON FUNCTION millrace_internal.graph_settle(bytea, int[], boolean[], int[], int[], int[]) IS
    'counters and decisions of the steps reached when steps have become terminal';

-- Purpose: what has to wait again when an operator retries steps.
-- Arguments: revived         terminal steps that are to run again
--            terminal, good  all terminal steps of the run, as they are before; good: completed
--            failed          those terminal steps that failed by themselves: unless revived they stay failed
-- Returns:   one row for each step that is pending from now on, with its counters, ascending:
--            terminal steps, neither good nor failed, that hung on a revived one; steps that were and stay
--            pending, where a counter changes; revived steps that have to wait for another revived one.
CREATE OR REPLACE FUNCTION millrace_internal.graph_revive(
    graph bytea, revived int[], terminal int[], good boolean[], failed int[] DEFAULT '{}')
RETURNS TABLE (def_no int, needs_left int, needs_bad int)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_revive';
COMMENT ON FUNCTION millrace_internal.graph_revive(bytea, int[], int[], boolean[], int[]) IS
    'steps that are pending again, and their counters, when steps are retried';

-- Returns: the candidate that a misspelt word most likely meant, null when none is near.
CREATE OR REPLACE FUNCTION millrace_internal.nearest(word text, candidates text[])
RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_nearest';
COMMENT ON FUNCTION millrace_internal.nearest(text, text[]) IS
    'the candidate nearest to a word by edit distance, at most a third of its length away';
-- Purpose: the dispatcher's memory, the background workers, and the statements of `sql` steps, all of them in C.
-- The dispatcher is an index of ready steps in shared memory. It is a cache: a hand-out counts only by changing
-- the step's row. Without shared_preload_libraries = 'millrace' every function here is there and does no harm.
-- Tables changed: none. Locks taken: none that another statement could wait for.
-- How an entry lives and dies is drawn in extension/src/README.md.

-- ---------------------------------------------------------------- the readiness sink of the dispatcher tier

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_attached()
RETURNS boolean LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_attached';
COMMENT ON FUNCTION millrace_internal.dispatcher_attached() IS
'Whether this server has the dispatcher: the library is preloaded and the server is not a standby.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_is_warm()
RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'millrace_dispatcher_is_warm';
COMMENT ON FUNCTION millrace_internal.dispatcher_is_warm() IS
'Whether the dispatcher has been filled from this database''s tables. While it is false, claims read the tables.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_overflowed()
RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'millrace_dispatcher_overflowed';
COMMENT ON FUNCTION millrace_internal.dispatcher_overflowed() IS
'Whether the tables may hold ready steps that found no room in the dispatcher. A pop that came up short is then no proof that nothing is left: read the tables.';

-- Purpose:   announce ready steps. Remembered in the transaction, published when it has committed, forgotten when it
--            or the subtransaction is rolled back. A step that is there already is moved to its new place.
-- Arguments: one element a step in each array, no nulls; weights: the tenant's share of its queue and handler.
CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_push(
    queue_ids int[], handler_ids int[], priorities smallint[], tenant_ids int[], weights real[],
    run_ids bigint[], ranks real[], step_nos int[])
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_push';
COMMENT ON FUNCTION millrace_internal.dispatcher_push(int[], int[], smallint[], int[], real[], bigint[], real[], int[]) IS
'Announces ready steps; they can be popped once the transaction has committed.';

-- Purpose:   take the steps to claim next: the best head of all these queues and handlers, again and again.
-- Arguments: capacities  free slots by handler, aligned with handler_ids
-- Returns:   at most max_steps steps in claim order. They are this transaction's until it ends: a commit forgets
--            them, a rollback (of the subtransaction too) puts them back.
-- The rows are read by a later statement than this one: a snapshot from before the pop may not see them yet.
CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_pop(
    queue_ids int[], handler_ids int[], capacities int[], max_steps int)
RETURNS TABLE (run_id bigint, step_no int) LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'millrace_dispatcher_pop';
COMMENT ON FUNCTION millrace_internal.dispatcher_pop(int[], int[], int[], int) IS
'Takes the steps to claim next. Give back those whose row another call has locked, with dispatcher_put_back.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_put_back(run_ids bigint[], step_nos int[])
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_put_back';
COMMENT ON FUNCTION millrace_internal.dispatcher_put_back(bigint[], int[]) IS
'Puts steps that this transaction has popped back at once, for others to pop. Others are ignored.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_note_stale(steps int)
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_note_stale';
COMMENT ON FUNCTION millrace_internal.dispatcher_note_stale(int) IS
'Counts popped steps that the tables no longer show as ready. For statistics only.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_remove(run_ids bigint[], step_nos int[])
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_remove';
COMMENT ON FUNCTION millrace_internal.dispatcher_remove(bigint[], int[]) IS
'Takes steps out, whoever would claim them; a rollback puts them back. Call it with their rows locked.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_sorts_first(
    queue_id int, handler_id int, priority smallint, tenant_id int, run_id bigint, rank real, step_no int)
RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_sorts_first';
COMMENT ON FUNCTION millrace_internal.dispatcher_sorts_first(int, int, smallint, int, bigint, real, int) IS
'Whether this step would be claimed before all that wait for its queue and handler.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_sorts_first(
    queue_ids int[], handler_ids int[], priorities smallint[], tenant_ids int[],
    run_ids bigint[], ranks real[], step_nos int[])
RETURNS boolean[] LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_sorts_first_many';
COMMENT ON FUNCTION millrace_internal.dispatcher_sorts_first(int[], int[], smallint[], int[], bigint[], real[], int[]) IS
'The same for many steps in one go, each against the present heads.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_charge(
    queue_ids int[], handler_ids int[], tenant_ids int[], weights real[])
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_charge';
COMMENT ON FUNCTION millrace_internal.dispatcher_charge(int[], int[], int[], real[]) IS
'Counts steps that were started without a pop as service of their tenants, one element a step.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_wake(queue_ids int[])
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_wake';
COMMENT ON FUNCTION millrace_internal.dispatcher_wake(int[]) IS
'Has the agents of these queues woken once the transaction has committed, without a push.';

-- Purpose: what the keeper puts around millrace_internal.sink_refill(): begin before its transaction, end after its commit.
CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_begin_refill()
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_begin_refill';
COMMENT ON FUNCTION millrace_internal.dispatcher_begin_refill() IS
'From here on a lack of room, or a call for a sweep, asks for another refill. Commit before the tables are read.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_end_refill()
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_dispatcher_end_refill';
COMMENT ON FUNCTION millrace_internal.dispatcher_end_refill() IS
'Marks this database as warm: every step that was ready when the refill read the tables has been published.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_stats()
RETURNS TABLE (
    queue_id int, handler_id int, tenants int, depth bigint, popped bigint, oldest_pushed_at timestamptz,
    pushes bigint, pops bigint, put_backs bigint)
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 50
AS 'MODULE_PATHNAME', 'millrace_dispatcher_stats';
COMMENT ON FUNCTION millrace_internal.dispatcher_stats() IS
'What waits in the dispatcher in this database, by queue and handler. Counters since the server started.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_state(
    OUT state text, OUT overflowed boolean, OUT needs_sweep boolean, OUT entries_used int, OUT entries_max int,
    OUT stale bigint, OUT dropped bigint, OUT refills bigint, OUT wakes bigint, OUT waker_pid int, OUT keeper_pid int)
RETURNS record LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'millrace_dispatcher_state';
COMMENT ON FUNCTION millrace_internal.dispatcher_state() IS
'The dispatcher of this database as a whole. state: absent (no dispatcher here), cold or warm; entries_* are the server''s.';

-- ---------------------------------------------------------------- the background workers

CREATE OR REPLACE FUNCTION millrace_internal.workers_attach()
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_workers_attach';
COMMENT ON FUNCTION millrace_internal.workers_attach() IS
'Has the launcher start this database''s waker and keeper, once the transaction has committed.';

CREATE OR REPLACE FUNCTION millrace_internal.keeper_wake()
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_keeper_wake';
COMMENT ON FUNCTION millrace_internal.keeper_wake() IS
'Has the keeper look at once when the transaction has committed: something is due earlier than it knows.';

-- A database that has just got the extension announces itself.
SELECT millrace_internal.workers_attach();

-- ---------------------------------------------------------------- statements of `sql` steps, and JSON that may be none

-- Purpose:   run one statement with the rights of a role; $1 is the input, timeout is in seconds.
-- Returns:   null without rows; the row when there is one, else an array of rows. A row is its value when it has one
--            column, else an object. At most millrace.max_output_bytes.
-- Settings that the statement changes last until it ends. Deferred constraints are checked at its end.
CREATE OR REPLACE FUNCTION millrace_internal.execute_as(role_id oid, statement text, input jsonb, search_path text, timeout double precision DEFAULT NULL)
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_statement_execute_as';
COMMENT ON FUNCTION millrace_internal.execute_as(oid, text, jsonb, text, double precision) IS
'Runs one SQL statement with the rights of a role and answers its rows as JSON.';

CREATE OR REPLACE FUNCTION millrace_internal.check_sql(role_id oid, statement text, search_path text)
RETURNS void LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'millrace_statement_check';
COMMENT ON FUNCTION millrace_internal.check_sql(oid, text, text) IS
'Raises MR051 unless execute_as would accept this statement from that role: parsed and analysed, not run.';

CREATE OR REPLACE FUNCTION millrace_internal.try_jsonb(candidate text, OUT value jsonb, OUT problem text)
RETURNS record LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_json_try';
COMMENT ON FUNCTION millrace_internal.try_jsonb(text) IS
'The text as JSON, or why it is none, or too large (millrace.max_output_bytes). Both null for null.';
-- Purpose: a definition as rows. Nothing here refuses anything: logic/definition_check.sql does, before.

-- Returns: one row per step, with the workflow's defaults filled in.
CREATE OR REPLACE FUNCTION millrace_internal.definition_steps(definition jsonb)
RETURNS TABLE (ordinal integer, key text, handler text, queue text, rule smallint, priority smallint,
               retry jsonb, timeout jsonb, delay jsonb, expected jsonb, settings jsonb, input jsonb, needs jsonb)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.ordinality::integer,
           s.step ->> 'key',
           s.step ->> 'handler',
           coalesce(s.step ->> 'queue', 'default'),
           CASE s.step ->> 'rule' WHEN 'all_done' THEN 1 ELSE 0 END::smallint,
           coalesce((s.step ->> 'priority')::smallint, 0::smallint),
           s.step -> 'retry', s.step -> 'timeout', s.step -> 'delay', s.step -> 'expected',
           s.step -> 'with', s.step -> 'input', s.step -> 'needs'
    FROM (SELECT e.ordinality,
                 CASE WHEN d.defaults IS NULL THEN e.step
                      WHEN d.defaults ? 'retry' AND e.step ? 'retry'
                      THEN d.defaults || e.step || jsonb_build_object('retry', (d.defaults -> 'retry') || (e.step -> 'retry'))
                      ELSE d.defaults || e.step END AS step
          FROM jsonb_array_elements(definition -> 'steps') WITH ORDINALITY e (step, ordinality),
               (SELECT definition -> 'defaults' AS defaults) d) s
$$;
COMMENT ON FUNCTION millrace_internal.definition_steps(jsonb) IS 'The steps of a valid definition, in its order, defaults filled in.';

-- Returns: one row per declared need: the step's place and the key it needs.
CREATE OR REPLACE FUNCTION millrace_internal.definition_needs(definition jsonb)
RETURNS TABLE (ordinal integer, place integer, key text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.ordinality::integer, n.ordinality::integer, n.key
    FROM jsonb_array_elements(definition -> 'steps') WITH ORDINALITY e (step, ordinality),
         jsonb_array_elements_text(e.step -> 'needs') WITH ORDINALITY n (key, ordinality)
    WHERE jsonb_typeof(e.step -> 'needs') = 'array'
$$;
COMMENT ON FUNCTION millrace_internal.definition_needs(jsonb) IS 'The declared edges of a definition, by place and key.';
-- Purpose: all that may be wrong with a definition, at once. Each function looks at one kind of mistake and answers
-- rows (path, code, message, hint); validate_workflow puts them together. Tables changed: none.

-- The keys an object may have, by where it stands.
CREATE OR REPLACE FUNCTION millrace_internal.definition_keys(place text)
RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE place
        WHEN 'workflow' THEN ARRAY['workflow', 'description', 'on_failure', 'defaults', 'steps']
        WHEN 'step' THEN ARRAY['key', 'needs', 'handler', 'with', 'input', 'rule', 'retry', 'timeout', 'queue', 'priority', 'delay', 'expected', 'description']
        WHEN 'defaults' THEN ARRAY['handler', 'rule', 'retry', 'timeout', 'queue', 'priority', 'delay', 'expected']
        WHEN 'retry' THEN ARRAY['limit', 'backoff', 'factor', 'max', 'jitter'] END
$$;
COMMENT ON FUNCTION millrace_internal.definition_keys(text) IS 'The keys that a workflow, a step, defaults or retry may have.';

CREATE OR REPLACE FUNCTION millrace_internal.unknown_keys(object jsonb, place text, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT at_path || '.' || k, 'MR102', format('unknown key "%s" in %s', k, at_path),
           coalesce('Did you mean "' || millrace_internal.nearest(k, millrace_internal.definition_keys(place)) || '"?',
                    'Known keys: ' || array_to_string(millrace_internal.definition_keys(place), ', ') || '.')
    FROM jsonb_object_keys(object) k
    WHERE k <> ALL (millrace_internal.definition_keys(place))
$$;
COMMENT ON FUNCTION millrace_internal.unknown_keys(jsonb, text, text) IS 'Keys that an object may not have, with the nearest known one.';

-- The policies that steps and defaults share: types and bounds.
CREATE OR REPLACE FUNCTION millrace_internal.policy_problems(step jsonb, at_path text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT at_path || p.suffix, p.code, format(p.message, at_path || p.suffix, coalesce(p.value #>> '{}', 'null')), p.hint
    FROM (
        SELECT '.' || k AS suffix, 'MR109' AS code, '%s: "%s" is not an interval' AS message, step -> k AS value,
               'Write seconds as a number, or text such as "500ms", "30s", "5m", "2h", "1 day".' AS hint
        FROM unnest(ARRAY['timeout', 'delay', 'expected']) k
        WHERE step ? k AND millrace_internal.seconds(step -> k) IS NULL
        UNION ALL
        SELECT '.timeout', 'MR112', '%s: "%s" is no time at all', step -> 'timeout', 'A timeout is longer than zero; leave it out for none.'
        WHERE millrace_internal.seconds(step -> 'timeout') = 0
        UNION ALL
        SELECT '.retry.' || k, 'MR109', '%s: "%s" is not an interval', step -> 'retry' -> k, 'Write seconds as a number, or text such as "500ms" or "30s".'
        FROM unnest(ARRAY['backoff', 'max']) k
        WHERE jsonb_typeof(step -> 'retry') = 'object' AND step -> 'retry' ? k AND millrace_internal.seconds(step -> 'retry' -> k) IS NULL
        UNION ALL
        SELECT '.retry', 'MR101', '%s: "%s" is not an object', step -> 'retry', 'Write for example {"limit": 5, "backoff": "1s"}.'
        WHERE jsonb_typeof(step -> 'retry') <> 'object'
        UNION ALL
        SELECT '.retry.' || k, 'MR112', '%s: "%s" is not a number from ' || b, step -> 'retry' -> k, NULL
        FROM (VALUES ('limit', 0, 10000, '0 to 10000'), ('factor', 1, 100, '1 to 100'), ('jitter', 0, 1, '0 to 1')) v (k, low, high, b)
        WHERE jsonb_typeof(step -> 'retry') = 'object' AND step -> 'retry' ? k
          AND NOT CASE WHEN jsonb_typeof(step -> 'retry' -> k) = 'number'
                       THEN (step -> 'retry' ->> k)::numeric BETWEEN low AND high AND (k <> 'limit' OR (step -> 'retry' ->> k)::numeric % 1 = 0)
                       ELSE false END
        UNION ALL
        SELECT '.priority', 'MR112', '%s: "%s" is not a whole number from -1000 to 1000', step -> 'priority', 'Lower numbers go first; 0 is the default.'
        WHERE step ? 'priority'
          AND NOT CASE WHEN jsonb_typeof(step -> 'priority') = 'number'
                       THEN (step ->> 'priority')::numeric BETWEEN -1000 AND 1000 AND (step ->> 'priority')::numeric % 1 = 0 ELSE false END
        UNION ALL
        SELECT '.rule', 'MR112', '%s: "%s" is not a rule', step -> 'rule', 'Rules: all_completed, all_done.'
        WHERE step ? 'rule' AND coalesce(step ->> 'rule', '') NOT IN ('all_completed', 'all_done')
        UNION ALL
        SELECT '.' || k, 'MR112', '%s: "%s" is not a name', step -> k, 'A name is text of 1 to 200 bytes without control characters.'
        FROM unnest(ARRAY['queue', 'handler']) k
        WHERE step ? k AND (jsonb_typeof(step -> k) <> 'string' OR step ->> k = '' OR octet_length(step ->> k) > 200 OR step ->> k ~ '[[:cntrl:]]')
    ) p
$$;
COMMENT ON FUNCTION millrace_internal.policy_problems(jsonb, text) IS 'Mistakes in timeout, delay, expected, retry, priority, rule, queue and handler.';

-- What is wrong with a step by itself.
CREATE OR REPLACE FUNCTION millrace_internal.step_problems(step jsonb, at_path text, defaults jsonb)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    IF jsonb_typeof(step) <> 'object' THEN
        RETURN QUERY SELECT at_path, 'MR101', format('%s is not an object', at_path), 'A step is an object with at least "key" and "handler".';
        RETURN;
    END IF;
    RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(step, 'step', at_path) u;
    IF jsonb_typeof(step -> 'retry') = 'object' THEN
        RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(step -> 'retry', 'retry', at_path || '.retry') u;
    END IF;
    RETURN QUERY SELECT p.path, p.code, p.message, p.hint FROM millrace_internal.policy_problems(step, at_path) p;
    RETURN QUERY
    SELECT at_path || p.suffix, p.code, format(p.message, at_path), p.hint
    FROM (VALUES
        ('.key', 'MR111', '%s has no key', 'Every step has a "key": a text that is unique in the workflow.',
         NOT step ? 'key'),
        ('.key', 'MR112', '%s.key is not a text of 1 to 200 bytes without control characters', NULL,
         step ? 'key' AND (jsonb_typeof(step -> 'key') <> 'string' OR step ->> 'key' = '' OR octet_length(step ->> 'key') > 200 OR step ->> 'key' ~ '[[:cntrl:]]')),
        ('.handler', 'MR111', '%s has no handler', 'Name a handler in the step or in the workflow''s defaults.',
         NOT step ? 'handler' AND NOT coalesce(defaults ? 'handler', false)),
        ('.needs', 'MR101', '%s.needs is not an array of keys', 'Write for example "needs": ["validate"].',
         step ? 'needs' AND (jsonb_typeof(step -> 'needs') <> 'array' OR jsonb_path_exists(step -> 'needs', '$[*] ? (@.type() != "string")'))),
        ('.description', 'MR112', '%s.description is not a text', NULL,
         step ? 'description' AND jsonb_typeof(step -> 'description') <> 'string'),
        ('.with', 'MR101', '%s.with is not an object', 'The handler''s settings are an object.',
         step ? 'with' AND jsonb_typeof(step -> 'with') <> 'object'),
        ('.with', 'MR107', '%s.with is too large', 'The handler''s settings may have 1 MB.',
         step ? 'with' AND octet_length((step -> 'with')::text) > 1048576),
        ('.input', 'MR107', '%s.input is too large', 'An input may have 1 MB.',
         step ? 'input' AND octet_length((step -> 'input')::text) > 1048576)
    ) p (suffix, code, message, hint, wrong)
    WHERE p.wrong;
    IF step ? 'input' THEN
        RETURN QUERY
        SELECT at_path || '.input', 'MR108', format('%s.input: "%s" is not a JSONPath: %s', at_path, l.leaf, l.problem),
               'A text that begins with $ is a JSONPath into "run" and "needs"; write $$ for a text that begins with a dollar sign.'
        FROM (SELECT leaf, millrace_internal.path_problem(leaf) AS problem FROM millrace_internal.input_paths(step -> 'input') leaf) l
        WHERE l.problem IS NOT NULL;
    END IF;
END $body$;
COMMENT ON FUNCTION millrace_internal.step_problems(jsonb, text, jsonb) IS 'Mistakes within one step.';

-- What is wrong between steps: duplicate keys, unknown needs, cycles. The definition's parts have the right types by now.
CREATE OR REPLACE FUNCTION millrace_internal.graph_problems(definition jsonb)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    keys   text[] := ARRAY(SELECT step ->> 'key' FROM jsonb_array_elements(definition -> 'steps') WITH ORDINALITY e (step, ord) ORDER BY ord);
    ring   integer[];
    froms  integer[];
    tos    integer[];
    unfit  boolean := false;
    lost_ordinals integer[];    -- needs that name no step
    lost_places   integer[];
    lost_keys     text[];
BEGIN
    RETURN QUERY
    SELECT format('steps[%s].key', ord - 1), 'MR103', format('the key "%s" is used by more than one step', key), 'Keys are unique in a workflow.'
    FROM (SELECT key, ord, row_number() OVER (PARTITION BY key ORDER BY ord) AS nth FROM unnest(keys) WITH ORDINALITY k (key, ord)) k
    WHERE nth > 1;
    IF FOUND THEN unfit := true; END IF;

    SELECT array_agg(k.ord::integer) FILTER (WHERE k.ord IS NOT NULL), array_agg(n.ordinal) FILTER (WHERE k.ord IS NOT NULL),
           (array_agg(n.ordinal) FILTER (WHERE k.ord IS NULL))[:1000], (array_agg(n.place) FILTER (WHERE k.ord IS NULL))[:1000],
           (array_agg(n.key) FILTER (WHERE k.ord IS NULL))[:1000]
    INTO froms, tos, lost_ordinals, lost_places, lost_keys
    FROM millrace_internal.definition_needs(definition) n
    LEFT JOIN unnest(keys) WITH ORDINALITY k (key, ord) USING (key);

    RETURN QUERY
    SELECT format('steps[%s].needs[%s]', n.ordinal - 1, n.place - 1), 'MR104',
           format('step "%s" needs "%s", which is not a step of this workflow', keys[n.ordinal], n.key),
           'Did you mean "' || millrace_internal.nearest(n.key, keys) || '"?'
    FROM unnest(lost_ordinals, lost_places, lost_keys) n (ordinal, place, key);
    IF FOUND THEN unfit := true; END IF;

    RETURN QUERY
    SELECT format('steps[%s].needs', t - 1), 'MR105', format('step "%s" needs itself', keys[t]), 'Remove its own key from its needs.'
    FROM unnest(froms, tos) e (f, t) WHERE f = t;
    IF FOUND OR unfit THEN RETURN; END IF;

    ring := (millrace_internal.graph_build(cardinality(keys), coalesce(froms, '{}'), coalesce(tos, '{}'),
             array_fill(0::smallint, ARRAY[cardinality(keys)]), array_fill(1::real, ARRAY[cardinality(keys)]), 0)).cycle;
    IF ring IS NOT NULL THEN
        RETURN QUERY
        SELECT 'steps', 'MR106',
               format('the steps need each other in a ring: %s', (SELECT string_agg(keys[o], ' -> ' ORDER BY ord) FROM unnest(ring || ring[1]) WITH ORDINALITY r (o, ord) WHERE ord <= 50)),
               'Each step is needed by the next; remove one of these needs.';
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.graph_problems(jsonb) IS 'Duplicate keys, unknown needs with the nearest key, steps that need themselves, a cycle with its keys in order.';

-- Arguments: definition  what define_workflow would take
-- Returns:   all mistakes; no row when there is none
CREATE OR REPLACE FUNCTION millrace.validate_workflow(definition jsonb)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT * FROM millrace_internal.definition_problems(definition, millrace_internal.caller(), '"$user", public');
END $$;
COMMENT ON FUNCTION millrace.validate_workflow(jsonb) IS 'All mistakes of a definition at once: where, code, what, what to do. Changes nothing.';

CREATE OR REPLACE FUNCTION millrace_internal.definition_problems(definition jsonb, definer name, path_of_definer text)
RETURNS TABLE (path text, code text, message text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    unfit boolean := false;
    s     record;
BEGIN
    -- unpacked once: a large value that comes from a table would be unpacked at every look
    definition := CASE WHEN jsonb_typeof(definition) = 'object' THEN definition || '{}' ELSE definition END;
    IF definition IS NULL OR jsonb_typeof(definition) <> 'object' THEN
        RETURN QUERY SELECT '', 'MR101', 'the definition is not a JSON object', 'A definition is {"workflow": name, "steps": [...]}.';
        RETURN;
    END IF;
    IF pg_column_size(definition) > 268435456 THEN
        RETURN QUERY SELECT '', 'MR107', 'the definition is too large', 'A definition may have 256 MB.';
        RETURN;
    END IF;
    RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(definition, 'workflow', 'definition') u;
    RETURN QUERY
    SELECT p.path, p.code, p.message, p.hint FROM (VALUES
        ('workflow', 'MR111', 'the definition has no name', 'Give it one: "workflow": "order".', NOT definition ? 'workflow'),
        ('workflow', 'MR112', 'the name of the workflow is not a text of 1 to 200 bytes without control characters', NULL,
         definition ? 'workflow' AND (jsonb_typeof(definition -> 'workflow') <> 'string' OR definition ->> 'workflow' = ''
            OR octet_length(definition ->> 'workflow') > 200 OR definition ->> 'workflow' ~ '[[:cntrl:]]')),
        ('description', 'MR112', 'the description is not a text', NULL,
         definition ? 'description' AND jsonb_typeof(definition -> 'description') <> 'string'),
        ('on_failure', 'MR112', format('on_failure: "%s" is neither continue nor cancel', definition ->> 'on_failure'), NULL,
         definition ? 'on_failure' AND coalesce(definition ->> 'on_failure', '') NOT IN ('continue', 'cancel')),
        ('defaults', 'MR101', 'defaults is not an object', NULL, definition ? 'defaults' AND jsonb_typeof(definition -> 'defaults') <> 'object')
    ) p (path, code, message, hint, wrong) WHERE p.wrong;
    IF jsonb_typeof(definition -> 'defaults') = 'object' THEN
        RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(definition -> 'defaults', 'defaults', 'defaults') u;
        RETURN QUERY SELECT p.path, p.code, p.message, p.hint FROM millrace_internal.policy_problems(definition -> 'defaults', 'defaults') p;
        IF jsonb_typeof(definition -> 'defaults' -> 'retry') = 'object' THEN
            RETURN QUERY SELECT u.path, u.code, u.message, u.hint FROM millrace_internal.unknown_keys(definition -> 'defaults' -> 'retry', 'retry', 'defaults.retry') u;
        END IF;
    END IF;
    IF NOT definition ? 'steps' OR jsonb_typeof(definition -> 'steps') <> 'array' THEN
        RETURN QUERY SELECT 'steps', 'MR111', 'the definition has no array of steps', 'Write "steps": [{"key": ..., "handler": ...}].';
        RETURN;
    END IF;
    IF jsonb_array_length(definition -> 'steps') NOT BETWEEN 1 AND 100000 THEN
        RETURN QUERY SELECT 'steps', 'MR107', format('the workflow has %s steps', jsonb_array_length(definition -> 'steps')), 'A workflow has 1 to 100,000 steps.';
        RETURN;
    END IF;

    -- a step whose values are plainly of the right types is passed over at once: large definitions are made by programs
    FOR s IN
        SELECT p.* FROM jsonb_array_elements(definition -> 'steps') WITH ORDINALITY e (step, ord)
        CROSS JOIN LATERAL millrace_internal.step_problems(step, format('steps[%s]', ord - 1), definition -> 'defaults') p
        WHERE NOT millrace_internal.step_is_plain(step, definition -> 'defaults') LIMIT 1000
    LOOP
        path := s.path; code := s.code; message := s.message; hint := s.hint;
        unfit := unfit OR s.code IN ('MR101', 'MR111', 'MR112');
        RETURN NEXT;
    END LOOP;
    IF unfit THEN
        RETURN;
    END IF;
    IF (SELECT sum(jsonb_array_length(step -> 'needs')) FROM jsonb_array_elements(definition -> 'steps') step WHERE step ? 'needs') > 1000000 THEN
        RETURN QUERY SELECT 'steps', 'MR107', 'the workflow has more than 1,000,000 needs', 'Join them through a step in between.';
        RETURN;
    END IF;
    RETURN QUERY SELECT g.path, g.code, g.message, g.hint FROM millrace_internal.graph_problems(definition) g;

    FOR s IN
        SELECT e.ord, e.step FROM jsonb_array_elements(definition -> 'steps') WITH ORDINALITY e (step, ord)
        WHERE coalesce(e.step ->> 'handler', definition -> 'defaults' ->> 'handler') = 'sql'
    LOOP
        path := format('steps[%s].with.statement', s.ord - 1);
        BEGIN
            IF coalesce(jsonb_typeof(s.step -> 'with' -> 'statement'), '') <> 'string' THEN
                code := 'MR111'; message := format('steps[%s] has no statement', s.ord - 1);
                hint := 'A sql step has "with": {"statement": "select ..."}; $1 is its input.';
                RETURN NEXT;
            ELSE
                PERFORM millrace_internal.check_sql(definer::regrole, s.step -> 'with' ->> 'statement', path_of_definer);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            code := 'MR110'; message := format('the statement of step "%s" cannot be used: %s', s.step ->> 'key', SQLERRM);
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_DETAIL;
            hint := nullif(concat_ws(' ', nullif(hint, ''), format('It is checked with the rights of %s.', definer)), '');
            RETURN NEXT;
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.definition_problems(jsonb, name, text) IS 'All mistakes of a definition, its sql statements checked with the rights of its definer.';

-- A quick and strict look: true only for steps in which nothing can be wrong, whatever the others are.
CREATE OR REPLACE FUNCTION millrace_internal.step_is_plain(step jsonb, defaults jsonb)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(
        pg_catalog.jsonb_typeof(step) = 'object'
        AND step - ARRAY['key', 'needs', 'handler', 'with', 'expected'] = '{}'
        AND pg_catalog.jsonb_typeof(step -> 'key') = 'string' AND pg_catalog.octet_length(step ->> 'key') BETWEEN 1 AND 200 AND step ->> 'key' !~ '[[:cntrl:]]'
        AND CASE WHEN step ? 'handler' THEN step ->> 'handler' IN ('noop', 'sleep') ELSE defaults ? 'handler' END
        AND (NOT step ? 'with' OR (pg_catalog.jsonb_typeof(step -> 'with') = 'object' AND pg_catalog.pg_column_size(step -> 'with') < 1000))
        AND (NOT step ? 'expected' OR (pg_catalog.jsonb_typeof(step -> 'expected') = 'number' AND (step ->> 'expected')::numeric BETWEEN 0 AND 1000000000))
        AND (NOT step ? 'needs' OR (pg_catalog.jsonb_typeof(step -> 'needs') = 'array'
             AND NOT pg_catalog.jsonb_path_exists(step -> 'needs', '$[*] ? (@.type() != "string")'))), false)
$$;
COMMENT ON FUNCTION millrace_internal.step_is_plain(jsonb, jsonb) IS 'Whether a step is so plain that it needs no closer look.';
-- Purpose: a definition becomes a version.

-- Arguments: definition  see docs/sql-reference.md
--            search_path of the definer, with which its sql steps run
-- Returns:   the workflow's name, its version, and whether that is new
-- Tables changed: workflow, version, step_definition, queue, handler. Locks: the workflow's row, so that versions are numbered one by one.
CREATE OR REPLACE FUNCTION millrace.define_workflow(definition jsonb, search_path text DEFAULT current_setting('search_path'))
RETURNS TABLE (workflow text, version integer, version_id integer, steps integer, edges integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    found_id integer := millrace_internal.define(definition, define_workflow.search_path, false);
BEGIN
    RETURN QUERY
    SELECT w.name, v.version, v.version_id, v.steps, v.edges
    FROM millrace_internal.version v
    JOIN millrace_internal.workflow w USING (workflow_id)
    WHERE v.version_id = found_id;
END $$;
COMMENT ON FUNCTION millrace.define_workflow(jsonb, text) IS
'Defines a workflow: the same definition again answers the same version, a changed one makes the next. Runs keep the version they started with.
Errors: MR101-MR112, with all mistakes in the detail (see validate_workflow).';

CREATE OR REPLACE FUNCTION millrace_internal.define(definition jsonb, path_of_definer text, is_inline boolean)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    definer  name := millrace_internal.caller();
    hash     bytea := sha256(convert_to(coalesce(definition, 'null')::text || E'\n' || path_of_definer, 'UTF8'));
    mistakes record;
    owner_id integer;
    found_id integer;
    latest   record;
BEGIN
    -- unpacked once: a large value that comes from a table would be unpacked at every look
    definition := CASE WHEN jsonb_typeof(definition) = 'object' THEN definition || '{}' ELSE definition END;
    SELECT w.workflow_id, v.version_id, v.inline INTO latest
    FROM millrace_internal.workflow w JOIN millrace_internal.version v USING (workflow_id)
    WHERE w.name = definition ->> 'workflow' AND v.content_hash = hash AND v.defined_by = definer::regrole;
    IF latest.version_id IS NOT NULL AND (is_inline OR NOT latest.inline) THEN
        RETURN latest.version_id;
    END IF;

    SELECT count(*) AS n, min(code) FILTER (WHERE nth = 1) AS code, min(message) FILTER (WHERE nth = 1) AS message, min(hint) FILTER (WHERE nth = 1) AS hint,
           string_agg(format('%s: %s [%s]', path, message, code), E'\n' ORDER BY nth) FILTER (WHERE nth <= 20) AS listed
    INTO mistakes
    FROM (SELECT *, row_number() OVER () AS nth FROM millrace_internal.definition_problems(definition, definer, path_of_definer)) p;
    IF mistakes.n > 0 THEN
        PERFORM millrace_internal.fail(mistakes.code, mistakes.message,
            CASE WHEN mistakes.n > 1 THEN format(E'%s mistakes:\n%s', mistakes.n, mistakes.listed) END, mistakes.hint);
    END IF;

    INSERT INTO millrace_internal.workflow (name) VALUES (definition ->> 'workflow') ON CONFLICT DO NOTHING;
    SELECT w.workflow_id INTO owner_id FROM millrace_internal.workflow w WHERE w.name = definition ->> 'workflow' FOR NO KEY UPDATE;
    -- somebody may have defined the same while we waited
    SELECT v.version_id INTO found_id FROM millrace_internal.version v
    WHERE v.workflow_id = owner_id AND v.content_hash = hash AND v.defined_by = definer::regrole;
    IF found_id IS NULL THEN
        RETURN millrace_internal.version_create(owner_id, definition, hash, definer, path_of_definer, is_inline);
    ELSIF NOT is_inline THEN
        -- what came with a submit first is now the workflow's own
        UPDATE millrace_internal.version v SET inline = false WHERE v.version_id = found_id AND v.inline;
    END IF;
    RETURN found_id;
END $$;
COMMENT ON FUNCTION millrace_internal.define(jsonb, text, boolean) IS 'The version of a definition, made if it is new.';

CREATE OR REPLACE FUNCTION millrace_internal.version_create(owner_id integer, definition jsonb, hash bytea, definer name, path_of_definer text, is_inline boolean)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off AS $$
#variable_conflict use_variable
DECLARE
    new_id   integer := nextval('millrace_internal.version_id_seq');
    keys     text[];
    handlers text[];
    queues   text[];
    rules    smallint[];
    expected real[];
    froms    integer[];
    tos      integer[];
    g        record;
BEGIN
    SELECT array_agg(s.key ORDER BY s.ordinal), array_agg(DISTINCT s.handler), array_agg(DISTINCT s.queue), array_agg(s.rule ORDER BY s.ordinal),
           array_agg(coalesce(millrace_internal.seconds(s.expected), 1)::real ORDER BY s.ordinal)
    INTO keys, handlers, queues, rules, expected
    FROM millrace_internal.definition_steps(definition) s;
    PERFORM millrace_internal.handler_ids(handlers), millrace_internal.queue_ids(queues);

    SELECT array_agg(k.ord::integer), array_agg(n.ordinal) INTO froms, tos
    FROM millrace_internal.definition_needs(definition) n JOIN unnest(keys) WITH ORDINALITY k (key, ord) USING (key);
    SELECT * INTO g FROM millrace_internal.graph_build(cardinality(keys), coalesce(froms, '{}'), coalesce(tos, '{}'), rules, expected, 16 * 1024 * 1024);

    INSERT INTO millrace_internal.version (version_id, workflow_id, version, inline, content_hash, definition, on_failure, steps, edges, closing, roots, graph, defined_by, search_path)
    SELECT new_id, owner_id, coalesce((SELECT max(v.version) FROM millrace_internal.version v WHERE v.workflow_id = owner_id), 0) + 1,
           is_inline, hash, definition, CASE definition ->> 'on_failure' WHEN 'cancel' THEN 1 ELSE 0 END, cardinality(keys),
           (SELECT count(*) FROM (SELECT DISTINCT f, t FROM unnest(froms, tos) e (f, t)) e),
           (SELECT count(*) FROM unnest(g.closing) c WHERE c),
           ARRAY(SELECT n::integer FROM unnest(g.needs_count) WITH ORDINALITY c (needs, n) WHERE c.needs = 0 ORDER BY n),
           g.graph, definer::regrole, path_of_definer;

    INSERT INTO millrace_internal.step_definition (version_id, def_no, key, workflow, handler_id, handler, queue_id, rule, priority, takes_input,
        retry_limit, retry_backoff, retry_factor, retry_max, retry_jitter, timeout, delay, expected,
        settings, input, level, rank, needs_count, closing, dependents, needs)
    SELECT new_id, n.def_no, s.key, definition ->> 'workflow', h.handler_id, s.handler, q.queue_id, s.rule, s.priority, h.takes_input OR s.input IS NOT NULL AND s.handler <> 'sql',
           coalesce((s.retry ->> 'limit')::integer, 0), coalesce(millrace_internal.seconds(s.retry -> 'backoff'), 1),
           coalesce((s.retry ->> 'factor')::double precision, 2), coalesce(millrace_internal.seconds(s.retry -> 'max'), 300),
           coalesce((s.retry ->> 'jitter')::double precision, 0.1),
           millrace_internal.seconds(s.timeout), nullif(millrace_internal.seconds(s.delay), 0), expected[s.ordinal],
           s.settings, s.input, b.level, b.rank, b.needs_count, b.closing,
           nullif(g.dependents[b.first_dependent:b.past_dependents - 1], '{}'), nullif(millrace_internal.graph_needs(g.graph, n.def_no), '{}')
    FROM millrace_internal.definition_steps(definition) s
    JOIN unnest(g.def_no) WITH ORDINALITY n (def_no, ordinal) ON n.ordinal = s.ordinal
    JOIN unnest(g.level, g.rank, g.needs_count, g.closing, g.dependents_start[1:cardinality(keys)], g.dependents_start[2:])
         WITH ORDINALITY b (level, rank, needs_count, closing, first_dependent, past_dependents, def_no) ON b.def_no = n.def_no
    JOIN millrace_internal.handler h ON h.name = s.handler
    JOIN millrace_internal.queue q ON q.name = s.queue;
    RETURN new_id;
END $$;
COMMENT ON FUNCTION millrace_internal.version_create(integer, jsonb, bytea, name, text, boolean) IS
'Writes a checked definition as the next version of a workflow, its graph computed. Tables changed: version, step_definition, queue, handler.';
-- Purpose: questions about paths, answered from what was computed when the version was defined. No recursion in SQL.

CREATE OR REPLACE FUNCTION millrace_internal.keys_of(in_version_id integer, def_nos integer[])
RETURNS text[] LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT d.key FROM unnest(def_nos) WITH ORDINALITY n (def_no, ord)
                 JOIN millrace_internal.step_definition d ON d.version_id = in_version_id AND d.def_no = n.def_no ORDER BY n.ord)
$$;
COMMENT ON FUNCTION millrace_internal.keys_of(integer, integer[]) IS 'Keys of steps, in order.';

CREATE OR REPLACE VIEW millrace.dependency_paths WITH (security_invoker) AS
SELECT w.name AS workflow, v.version, d.key, d.def_no AS step_no, d.level, d.rank, d.needs_count AS needs_counted,
       coalesce(cardinality(d.needs), 0) AS needs_declared, d.closing,
       millrace_internal.graph_ancestors(v.graph, d.def_no) AS ancestors,
       millrace_internal.graph_descendants(v.graph, d.def_no) AS descendants
FROM millrace_internal.version v
JOIN millrace_internal.workflow w USING (workflow_id)
JOIN millrace_internal.step_definition d USING (version_id);
COMMENT ON VIEW millrace.dependency_paths IS
'For each step of each version: all it waits for and all that waits for it (step numbers), its level, and its rank in expected seconds.';

-- The id of a run, or an error that names it.
CREATE OR REPLACE FUNCTION millrace_internal.run_get(in_run_id bigint, OUT run millrace_internal.run)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    SELECT r.* INTO run FROM millrace_internal.run r WHERE r.run_id = in_run_id AND r.shard = (in_run_id & 255);
    IF NOT FOUND THEN
        PERFORM millrace_internal.fail('MR013', format('there is no run %s', coalesce(in_run_id::text, 'null')), NULL, 'See the view millrace.runs.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.run_get(bigint) IS 'The row of a run; MR013 without one.';

-- The definition of a step of a run, or an error that names the nearest key.
CREATE OR REPLACE FUNCTION millrace_internal.step_by_key(in_version_id integer, in_key text, OUT def millrace_internal.step_definition)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    near text;
BEGIN
    SELECT d.* INTO def FROM millrace_internal.step_definition d WHERE d.version_id = in_version_id AND d.key = in_key;
    IF NOT FOUND THEN
        near := millrace_internal.nearest(in_key, ARRAY(SELECT d.key FROM millrace_internal.step_definition d WHERE d.version_id = in_version_id ORDER BY d.def_no));
        PERFORM millrace_internal.fail('MR014', format('there is no step "%s" in this run', in_key), NULL, 'Did you mean "' || near || '"?');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.step_by_key(integer, text) IS 'The definition of a step; MR014 without one.';
-- Purpose: the readiness sink, the one seam behind which "who is ready next" is decided. Two implementations:
-- the dispatcher's memory (with the library preloaded) and the table `ready`. Both are caches of the step rows:
-- what comes out of them counts only once a claim has changed the row.

-- Arguments: one element per step that has become ready (or, with sink_push, is ready still)
-- Tables changed: ready (plain tier). Wakes the queues' agents when the transaction commits.
CREATE OR REPLACE FUNCTION millrace_internal.sink_push(
    in_shard smallint, run_ids bigint[], step_nos integer[], queue_ids integer[], handler_ids integer[],
    priorities smallint[], tenant_ids integer[], ranks real[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF run_ids IS NULL OR cardinality(run_ids) = 0 THEN
        RETURN;
    END IF;
    IF millrace_internal.dispatcher_attached() THEN
        PERFORM millrace_internal.dispatcher_push(queue_ids, handler_ids, priorities, tenant_ids,
            ARRAY(SELECT t.weight FROM unnest(tenant_ids) WITH ORDINALITY u (tenant_id, ord)
                  JOIN millrace_internal.tenant t USING (tenant_id) ORDER BY u.ord),
            run_ids, ranks, step_nos);
        RETURN;
    END IF;
    INSERT INTO millrace_internal.ready (shard, queue_id, handler_id, priority, tenant_id, run_id, urgency, step_no)
    SELECT in_shard, u.queue_id, u.handler_id, u.priority, u.tenant_id, u.run_id, -u.rank, u.step_no
    FROM unnest(queue_ids, handler_ids, priorities, tenant_ids, run_ids, ranks, step_nos)
         u (queue_id, handler_id, priority, tenant_id, run_id, rank, step_no)
    ORDER BY 2, 3, 4, 5, 6, 7, 8
    ON CONFLICT DO NOTHING;
    IF millrace_internal.setting('millrace.notify')::boolean THEN
        PERFORM millrace_internal.wake(ARRAY(SELECT DISTINCT q FROM unnest(queue_ids) q));
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_push(smallint, bigint[], integer[], integer[], integer[], smallint[], integer[], real[]) IS
'Tells the sink of ready steps. Published at commit, forgotten on rollback.';

-- Arguments: in_queues, in_handlers, capacities (aligned with in_handlers), max_steps
-- Returns:   up to max_steps candidates in claim order; on the plain tier also where their ready rows stand: locked, not
--            yet deleted
CREATE OR REPLACE FUNCTION millrace_internal.sink_pop(
    in_shard smallint, in_queues integer[], in_handlers integer[], capacities integer[], max_steps integer,
    OUT run_ids bigint[], OUT step_nos integer[], OUT places tid[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT millrace_internal.dispatcher_attached() THEN
        SELECT p.run_ids, p.step_nos, p.places INTO run_ids, step_nos, places
        FROM millrace_internal.ready_pop(in_shard, in_queues, in_handlers, capacities, max_steps) p;
        RETURN;
    END IF;
    IF millrace_internal.dispatcher_is_warm() THEN
        SELECT array_agg(p.run_id), array_agg(p.step_no) INTO run_ids, step_nos
        FROM millrace_internal.dispatcher_pop(in_queues, in_handlers, capacities, max_steps) p;
    END IF;
    IF run_ids IS NULL AND (NOT millrace_internal.dispatcher_is_warm() OR millrace_internal.dispatcher_overflowed()) THEN
        -- after a restart, until the keeper has refilled it, or past its bound: slower, never wrong
        SELECT array_agg(p.run_id), array_agg(p.step_no) INTO run_ids, step_nos
        FROM millrace_internal.ready_in_tables(in_shard, in_queues, in_handlers, capacities, max_steps) p;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_pop(smallint, integer[], integer[], integer[], integer) IS 'Candidates for a claim, in claim order.';

-- Arguments: what sink_pop gave; of this, what is ready still but held by another call: it goes back, all else is gone
CREATE OR REPLACE FUNCTION millrace_internal.sink_settle(run_ids bigint[], step_nos integer[], places tid[], locked_runs bigint[], locked_steps integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF places IS NOT NULL THEN
        IF locked_runs IS NOT NULL THEN
            places := ARRAY(SELECT u.place FROM unnest(run_ids, step_nos, places) u (run_id, step_no, place)
                            WHERE NOT EXISTS (SELECT FROM unnest(locked_runs, locked_steps) l (run_id, step_no) WHERE l.run_id = u.run_id AND l.step_no = u.step_no));
        END IF;
        -- nobody moves a row that this transaction has locked
        DELETE FROM millrace_internal.ready r WHERE r.ctid = ANY (places);
    ELSIF locked_runs IS NOT NULL THEN
        PERFORM millrace_internal.dispatcher_put_back(locked_runs, locked_steps);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_settle(bigint[], integer[], tid[], bigint[], integer[]) IS
'Settles the candidates of a claim with the sink. Tables changed: ready (plain tier).';

CREATE OR REPLACE FUNCTION millrace_internal.effective_priority(of_run smallint, of_step smallint)
RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(32767, greatest(-32768, of_run::integer + of_step::integer))::smallint
$$;
COMMENT ON FUNCTION millrace_internal.effective_priority(smallint, smallint) IS 'A step''s priority is added to its run''s; lower goes first.';

-- Arguments: one element per step that has just become ready
-- Returns:   whether it would be claimed before all that waits for the same queue and handler
CREATE OR REPLACE FUNCTION millrace_internal.sink_sort_first(in_shard smallint, queue_ids integer[], handler_ids integer[], priorities smallint[],
    tenant_ids integer[], run_ids bigint[], ranks real[], step_nos integer[])
RETURNS boolean[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF millrace_internal.dispatcher_attached() THEN
        RETURN millrace_internal.dispatcher_sorts_first(queue_ids, handler_ids, priorities, tenant_ids, run_ids, ranks, step_nos);
    END IF;
    RETURN (
        WITH heads AS MATERIALIZED (
            SELECT q.queue_id, q.handler_id, f.*
            FROM (SELECT DISTINCT queue_id, handler_id FROM unnest(queue_ids, handler_ids) q (queue_id, handler_id)) q
            CROSS JOIN LATERAL (SELECT r.priority, r.tenant_id, r.run_id, r.urgency FROM millrace_internal.ready r
                                WHERE r.shard = in_shard AND r.queue_id = q.queue_id AND r.handler_id = q.handler_id
                                ORDER BY r.queue_id, r.handler_id, r.priority, r.tenant_id, r.run_id, r.urgency LIMIT 1) f)
        -- among tenants the next claim takes turns anyway
        SELECT array_agg(h.queue_id IS NULL OR u.priority < h.priority
                         OR (u.priority = h.priority AND (u.tenant_id <> h.tenant_id OR (u.run_id, -u.rank) <= (h.run_id, h.urgency))) ORDER BY u.ord)
        FROM unnest(queue_ids, handler_ids, priorities, tenant_ids, run_ids, ranks) WITH ORDINALITY u (queue_id, handler_id, priority, tenant_id, run_id, rank, ord)
        LEFT JOIN heads h USING (queue_id, handler_id));
END $$;
COMMENT ON FUNCTION millrace_internal.sink_sort_first(smallint, integer[], integer[], smallint[], integer[], bigint[], real[], integer[]) IS
'Which steps go before all that waits for the same queue and handler.';

-- The plain tier's pop. The (queue, handler, priority) group with the best head goes first; within a group tenants take
-- turns by weight, from a random one on, so that fairness needs no shared counter.
-- Locks: ready rows, FOR UPDATE SKIP LOCKED; waits for nothing.
CREATE OR REPLACE FUNCTION millrace_internal.ready_pop(
    in_shard smallint, in_queues integer[], in_handlers integer[], capacities integer[], max_steps integer,
    OUT run_ids bigint[], OUT step_nos integer[], OUT places tid[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    room    integer[] := capacities;
    head    record;
    quota   integer;
    taken   record;
    owners  record;
    past    jsonb := '{}';      -- last priority looked at, per queue and handler
BEGIN
    run_ids := '{}'; step_nos := '{}'; places := '{}';
    LOOP
        SELECT q.queue_id, h.handler_id, h.ord, f.priority INTO head
        FROM unnest(in_queues) q (queue_id)
        CROSS JOIN unnest(in_handlers) WITH ORDINALITY h (handler_id, ord)
        CROSS JOIN LATERAL (
            SELECT r.priority, r.run_id, r.urgency FROM millrace_internal.ready r
            WHERE r.shard = in_shard AND r.queue_id = q.queue_id AND r.handler_id = h.handler_id
              AND r.priority > coalesce((past ->> format('%s/%s', q.queue_id, h.handler_id))::integer, -32769)
            ORDER BY r.queue_id, r.handler_id, r.priority, r.tenant_id, r.run_id, r.urgency LIMIT 1) f
        WHERE room[h.ord] > 0
        ORDER BY f.priority, f.run_id, f.urgency LIMIT 1;
        EXIT WHEN NOT FOUND;
        past := past || jsonb_build_object(format('%s/%s', head.queue_id, head.handler_id), head.priority);

        FOR owners IN
            SELECT o.tenant_id, o.share FROM millrace_internal.ready_tenants(in_shard, head.queue_id, head.handler_id, head.priority,
                                                                             least(room[head.ord], max_steps - cardinality(run_ids))) o
        LOOP
            quota := least(owners.share, room[head.ord], max_steps - cardinality(run_ids));
            CONTINUE WHEN quota <= 0;
            SELECT array_agg(r.run_id) AS runs, array_agg(r.step_no) AS steps, array_agg(r.ctid) AS places, count(*)::integer AS n INTO taken
            FROM (SELECT r.run_id, r.step_no, r.ctid FROM millrace_internal.ready r
                  WHERE r.shard = in_shard AND r.queue_id = head.queue_id AND r.handler_id = head.handler_id
                    AND r.priority = head.priority AND r.tenant_id = owners.tenant_id
                  ORDER BY r.queue_id, r.handler_id, r.priority, r.tenant_id, r.run_id, r.urgency, r.step_no
                  LIMIT quota FOR UPDATE SKIP LOCKED) r;
            IF taken.n > 0 THEN
                run_ids := run_ids || taken.runs;
                step_nos := step_nos || taken.steps;
                places := places || taken.places;
                room[head.ord] := room[head.ord] - taken.n;
            END IF;
        END LOOP;
        EXIT WHEN cardinality(run_ids) >= max_steps;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.ready_pop(smallint, integer[], integer[], integer[], integer) IS 'The plain tier''s candidates.';

-- Returns: the tenants that wait at this place (at most 64 of them, found by skipping through the index), in the order
-- in which this claim serves them, each with its share; a second round offers what others left over.
CREATE OR REPLACE FUNCTION millrace_internal.ready_tenants(in_shard smallint, in_queue integer, in_handler integer, in_priority smallint, wanted integer)
RETURNS TABLE (tenant_id integer, share integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    found_ids integer[] := '{}';
    next_id   integer := -1;
BEGIN
    WHILE next_id IS NOT NULL AND cardinality(found_ids) < 64 LOOP
        SELECT r.tenant_id INTO next_id FROM millrace_internal.ready r
        WHERE r.shard = in_shard AND r.queue_id = in_queue AND r.handler_id = in_handler AND r.priority = in_priority AND r.tenant_id > next_id
        ORDER BY r.queue_id, r.handler_id, r.priority, r.tenant_id LIMIT 1;
        IF next_id IS NOT NULL THEN
            found_ids := found_ids || next_id;
        END IF;
    END LOOP;
    IF cardinality(found_ids) <= 1 THEN
        RETURN QUERY SELECT id, wanted FROM unnest(found_ids) id;
        RETURN;
    END IF;
    RETURN QUERY
    WITH t AS MATERIALIZED (
        -- a weighted random order (Efraimidis and Spirakis): who comes first, and so gets the rounded-up share, follows the weights
        SELECT t.tenant_id, t.weight, t.weight::double precision / sum(t.weight::double precision) OVER () AS part, -ln(1 - random()) / t.weight AS turn
        FROM millrace_internal.tenant t WHERE t.tenant_id = ANY (found_ids))
    SELECT s.tenant_id, s.share FROM (
        SELECT t.tenant_id, ceil(wanted * t.part - 1e-9)::integer AS share, 1 AS round, t.turn FROM t
        UNION ALL
        SELECT t.tenant_id, wanted, 2, t.turn FROM t) s
    ORDER BY s.round, s.turn;
END $$;
COMMENT ON FUNCTION millrace_internal.ready_tenants(smallint, integer, integer, smallint, integer) IS 'Weighted turns of the tenants that wait.';
-- Purpose: filling a sink from the step rows: at a change of tier, after a restart, after a sweep was asked for.

-- Returns: ready steps as the tables have them, older runs first. For claims while the dispatcher is being refilled.
CREATE OR REPLACE FUNCTION millrace_internal.ready_in_tables(
    in_shard smallint, in_queues integer[], in_handlers integer[], capacities integer[], max_steps integer)
RETURNS TABLE (run_id bigint, step_no integer)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.run_id, c.step_no
    FROM (SELECT s.run_id, s.step_no, h.capacity, millrace_internal.effective_priority(r.priority, d.priority) AS priority, d.rank,
                 row_number() OVER (PARTITION BY d.handler_id ORDER BY millrace_internal.effective_priority(r.priority, d.priority), s.run_id, d.rank DESC, s.step_no) AS nth
          FROM (SELECT * FROM millrace_internal.run r WHERE r.finished_at IS NULL AND r.state = 1 AND r.shard = in_shard) r
          JOIN millrace_internal.step s ON s.run_id = r.run_id AND s.shard = in_shard AND s.state = 2
          JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
          JOIN unnest(in_handlers, capacities) h (handler_id, capacity) ON h.handler_id = d.handler_id
          WHERE d.queue_id = ANY (in_queues)) c
    WHERE c.nth <= c.capacity
    ORDER BY c.priority, c.run_id, c.rank DESC, c.step_no
    LIMIT max_steps
$$;
COMMENT ON FUNCTION millrace_internal.ready_in_tables(smallint, integer[], integer[], integer[], integer) IS
'Candidates read from the runs that are alive: what claims use until the sink is filled.';

-- Pushes every ready step of every run that is alive; a sink that knows it already takes no notice.
CREATE OR REPLACE FUNCTION millrace_internal.sink_refill()
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    tier_now text := CASE WHEN millrace_internal.dispatcher_attached() THEN 'dispatcher' ELSE 'plain' END;
    pushed   bigint := 0;
    batch    record;
    after_id bigint := -1;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('millrace_internal.sink_refill'));
    IF tier_now = 'dispatcher' AND EXISTS (SELECT FROM millrace_internal.ready) THEN
        DELETE FROM millrace_internal.ready;
    END IF;
    LOOP
        SELECT array_agg(s.run_id) FILTER (WHERE s.run_id IS NOT NULL) AS runs, array_agg(s.step_no) FILTER (WHERE s.run_id IS NOT NULL) AS steps,
               array_agg(d.queue_id) FILTER (WHERE s.run_id IS NOT NULL) AS queues, array_agg(d.handler_id) FILTER (WHERE s.run_id IS NOT NULL) AS handlers,
               array_agg(millrace_internal.effective_priority(r.priority, d.priority)) FILTER (WHERE s.run_id IS NOT NULL) AS priorities,
               array_agg(r.tenant_id) FILTER (WHERE s.run_id IS NOT NULL) AS tenants, array_agg(d.rank) FILTER (WHERE s.run_id IS NOT NULL) AS ranks, max(r.last_id) AS last_id
        INTO batch
        FROM (SELECT alive.*, max(alive.run_id) OVER () AS last_id
              FROM (SELECT r.* FROM millrace_internal.run r WHERE r.finished_at IS NULL AND r.run_id > after_id ORDER BY r.run_id LIMIT 1000) alive) r
        LEFT JOIN millrace_internal.step s ON s.run_id = r.run_id AND s.shard = r.shard AND s.state = 2
        LEFT JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no;
        EXIT WHEN batch.last_id IS NULL;
        after_id := batch.last_id;
        IF batch.runs IS NOT NULL THEN
            PERFORM millrace_internal.sink_push(0::smallint, batch.runs, batch.steps, batch.queues, batch.handlers,
                                                batch.priorities, batch.tenants, batch.ranks);
            pushed := pushed + cardinality(batch.runs);
        END IF;
    END LOOP;
    INSERT INTO millrace_internal.sink (shard, tier) VALUES (0, tier_now)
    ON CONFLICT (shard) DO UPDATE SET tier = excluded.tier WHERE sink.tier <> excluded.tier;
    RETURN pushed;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_refill() IS
'Tells the present tier''s sink of all ready steps. Time in the number of runs that are alive. Tables changed: ready, sink. Locks: an advisory one.';

-- On the plain tier: has the dispatcher held the ready steps until the last restart? Then they are in no table yet.
CREATE OR REPLACE FUNCTION millrace_internal.sink_ensure()
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT millrace_internal.dispatcher_attached()
       AND NOT EXISTS (SELECT FROM millrace_internal.sink s WHERE s.shard = 0 AND s.tier = 'plain') THEN
        PERFORM millrace_internal.sink_refill();
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_ensure() IS 'Fills the table `ready` after a change of tier; the dispatcher is refilled by the keeper.';
-- Purpose: waking agents. A notification is a hint: agents also look by themselves.

CREATE OR REPLACE FUNCTION millrace_internal.queue_channel(queue_id integer)
RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'millrace_queue_' || queue_id $$;
COMMENT ON FUNCTION millrace_internal.queue_channel(integer) IS 'The channel on which a queue''s agents are woken.';

CREATE OR REPLACE FUNCTION millrace_internal.wake(queue_ids integer[])
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    woken integer;
BEGIN
    -- a notification that nobody hears still costs every listener of the cluster
    PERFORM pg_notify(millrace_internal.queue_channel(q), '')
    FROM unnest(queue_ids) q
    WHERE EXISTS (SELECT FROM millrace_internal.agent a
                  WHERE a.listening AND q = ANY (a.queues) AND a.lease_expires_at > millrace_internal.clock());
    GET DIAGNOSTICS woken = ROW_COUNT;
    RETURN woken;
END $$;
COMMENT ON FUNCTION millrace_internal.wake(integer[]) IS 'Notifies the agents that serve these queues, if any listens. Called by the waker; on the plain tier by the writer.';
-- Purpose: starting runs, in the caller's transaction. Costs the first steps only: all others have no row yet.

CREATE OR REPLACE FUNCTION millrace.submit(
    workflow text, input jsonb DEFAULT NULL, version integer DEFAULT NULL, priority integer DEFAULT 0, tenant text DEFAULT '',
    labels jsonb DEFAULT '{}', not_before timestamptz DEFAULT NULL, deadline timestamptz DEFAULT NULL, idempotency_key text DEFAULT NULL,
    parent_run_id bigint DEFAULT NULL, parent_step_no integer DEFAULT NULL, trace text DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (millrace_internal.submit(millrace_internal.version_for(submit.workflow, submit.version), ARRAY[input], priority, tenant, labels, not_before, deadline,
                                     ARRAY[idempotency_key], parent_run_id, parent_step_no, trace))[1];
END $$;
COMMENT ON FUNCTION millrace.submit(text, jsonb, integer, integer, text, jsonb, timestamptz, timestamptz, text, bigint, integer, text) IS
'Starts a run and answers its id. A rollback of the caller''s transaction leaves no trace of it. A known idempotency key answers the first run''s id.
Errors: MR011 unknown workflow, MR012 unknown version, MR001 and MR002 bad arguments.
Tables changed: run, run_input, step, timer, event, idempotency_key, tenant, ready (plain tier).';

CREATE OR REPLACE FUNCTION millrace.submit_many(
    workflow text, inputs jsonb[], version integer DEFAULT NULL, priority integer DEFAULT 0, tenant text DEFAULT '',
    labels jsonb DEFAULT '{}', not_before timestamptz DEFAULT NULL, deadline timestamptz DEFAULT NULL, idempotency_keys text[] DEFAULT NULL,
    trace text DEFAULT NULL)
RETURNS SETOF bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF cardinality(inputs) > 100000 THEN
        PERFORM millrace_internal.fail('MR002', format('%s runs in one call are too many', cardinality(inputs)), NULL, 'Submit at most 100,000 runs a call.');
    ELSIF cardinality(idempotency_keys) <> cardinality(inputs) THEN
        PERFORM millrace_internal.fail('MR001', 'idempotency_keys and inputs differ in length', NULL, 'Give one key (or null) for each input.');
    END IF;
    RETURN QUERY SELECT unnest(millrace_internal.submit(millrace_internal.version_for(submit_many.workflow, submit_many.version),
        inputs, priority, tenant, labels, not_before, deadline, idempotency_keys, NULL, NULL, trace));
END $$;
COMMENT ON FUNCTION millrace.submit_many(text, jsonb[], integer, integer, text, jsonb, timestamptz, timestamptz, text[], text) IS
'Starts one run per input and answers their ids in order. All or none. Errors and tables changed: as submit.';

CREATE OR REPLACE FUNCTION millrace_internal.version_for(in_workflow text, in_version integer)
RETURNS integer LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    in_workflow_id integer := (SELECT w.workflow_id FROM millrace_internal.workflow w WHERE w.name = in_workflow);
    found_id       integer;
    near           text;
BEGIN
    SELECT v.version_id INTO found_id FROM millrace_internal.version v
    WHERE v.workflow_id = in_workflow_id AND (v.version = in_version OR (in_version IS NULL AND NOT v.inline))
    ORDER BY v.version DESC LIMIT 1;
    IF found_id IS NULL AND in_workflow_id IS NOT NULL AND in_version IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR012', format('workflow "%s" has no version %s', in_workflow, in_version),
            format('Its latest version is %s.', (SELECT max(v.version) FROM millrace_internal.version v WHERE v.workflow_id = in_workflow_id)));
    ELSIF found_id IS NULL THEN
        near := millrace_internal.nearest(in_workflow, ARRAY(SELECT w.name FROM millrace_internal.workflow w
            WHERE EXISTS (SELECT FROM millrace_internal.version v WHERE v.workflow_id = w.workflow_id AND NOT v.inline) ORDER BY w.name LIMIT 10000));
        PERFORM millrace_internal.fail('MR011', format('there is no workflow "%s"', coalesce(in_workflow, 'null')), NULL,
            coalesce('Did you mean "' || near || '"?', 'Define it with millrace.define_workflow(definition).'));
    END IF;
    RETURN found_id;
END $$;
COMMENT ON FUNCTION millrace_internal.version_for(text, integer) IS 'The version of a workflow that a submit means: the given one, else the latest that was defined by itself.';

CREATE OR REPLACE FUNCTION millrace_internal.submit(
    in_version_id integer, inputs jsonb[], in_priority integer, in_tenant text, in_labels jsonb, in_not_before timestamptz, in_deadline timestamptz,
    keys text[], in_parent_run_id bigint, in_parent_step_no integer, in_trace text)
RETURNS bigint[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    in_shard     smallint := 0;
    in_tenant_id integer;
    run_ids      bigint[];
    answer       bigint[];
    v            record;
    first_steps  record;
    due_at       timestamptz;
    now_at       timestamptz;
BEGIN
    IF inputs IS NULL OR cardinality(inputs) = 0 THEN
        RETURN '{}';
    ELSIF in_priority IS NULL OR in_priority NOT BETWEEN -30000 AND 30000 THEN
        PERFORM millrace_internal.fail('MR001', format('the priority %s is not between -30000 and 30000', coalesce(in_priority::text, 'null')), NULL, 'Lower numbers go first; 0 is the default.');
    ELSIF jsonb_typeof(in_labels) <> 'object' OR octet_length(in_labels::text) > 10000 THEN
        PERFORM millrace_internal.fail('MR001', 'labels are not a JSON object of up to 10,000 bytes');
    ELSIF octet_length(in_trace) > 2000 THEN
        PERFORM millrace_internal.fail('MR002', 'the trace context is longer than 2,000 bytes');
    ELSIF EXISTS (SELECT FROM unnest(inputs) i WHERE octet_length(i::text) > pg_size_bytes(millrace_internal.setting('millrace.max_output_bytes'))) THEN
        PERFORM millrace_internal.fail('MR002', 'an input is too large', NULL, 'Keep it elsewhere and submit a reference, or raise millrace.max_output_bytes.');
    ELSIF EXISTS (SELECT FROM unnest(keys) k WHERE octet_length(k) > 500) THEN
        PERFORM millrace_internal.fail('MR002', 'an idempotency key is longer than 500 bytes');
    END IF;
    in_tenant_id := millrace_internal.tenant_id(coalesce(in_tenant, ''));

    run_ids := ARRAY(SELECT nextval('millrace_internal.run_seq') * 256 + in_shard FROM generate_series(1, cardinality(inputs)));
    PERFORM millrace_internal.settle_in(), millrace_internal.partitions_ensure();
    answer := run_ids;
    IF array_length(array_remove(keys, NULL), 1) > 0 THEN
        -- sorted, so that two calls with the same keys wait for each other in one order; then known ones are dropped
        INSERT INTO millrace_internal.idempotency_key (shard, tenant_id, key, run_id)
        SELECT in_shard, in_tenant_id, k.key, k.run_id FROM unnest(keys, run_ids) WITH ORDINALITY k (key, run_id, ord)
        WHERE k.key IS NOT NULL ORDER BY k.key, k.ord
        ON CONFLICT DO NOTHING;
        SELECT array_agg(coalesce(i.run_id, k.run_id) ORDER BY k.ord),
               array_agg(k.run_id ORDER BY k.ord) FILTER (WHERE i.run_id IS NULL OR i.run_id = k.run_id),
               array_agg(k.input ORDER BY k.ord) FILTER (WHERE i.run_id IS NULL OR i.run_id = k.run_id)
        INTO answer, run_ids, inputs
        FROM unnest(keys, run_ids, inputs) WITH ORDINALITY k (key, run_id, input, ord)
        LEFT JOIN millrace_internal.idempotency_key i ON i.shard = in_shard AND i.tenant_id = in_tenant_id AND i.key = k.key;
        IF run_ids IS NULL THEN
            RETURN answer;
        END IF;
    END IF;

    SELECT ver.closing, ver.roots INTO v FROM millrace_internal.version ver WHERE ver.version_id = in_version_id;
    now_at := millrace_internal.clock();
    due_at := CASE WHEN in_not_before > now_at THEN in_not_before END;

    INSERT INTO millrace_internal.run (shard, run_id, version_id, tenant_id, priority, state, closing_left, created_at, not_before, deadline,
                                       parent_run_id, parent_step_no, labels, trace)
    SELECT in_shard, r, in_version_id, in_tenant_id, in_priority, 1, v.closing, now_at, in_not_before, in_deadline,
           in_parent_run_id, in_parent_step_no, nullif(in_labels, '{}'), in_trace
    FROM unnest(run_ids) r;
    INSERT INTO millrace_internal.run_input (shard, run_id, input)
    SELECT in_shard, r, i FROM unnest(run_ids, inputs) u (r, i) WHERE i IS NOT NULL;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind)
    SELECT r, now_at, pg_current_xact_id()::text::bigint, in_shard, 1 FROM unnest(run_ids) r;
    IF in_deadline IS NOT NULL THEN
        INSERT INTO millrace_internal.timer (shard, due_at, run_id, step_no, token) SELECT in_shard, in_deadline, r, 0, 0 FROM unnest(run_ids) r;
    END IF;

    WITH root AS MATERIALIZED (
        SELECT r.run_id, d.def_no, d.queue_id, d.handler_id, d.rank,
               millrace_internal.effective_priority(in_priority::smallint, d.priority) AS priority,
               CASE WHEN d.delay IS NULL THEN due_at ELSE coalesce(due_at, now_at) + make_interval(secs => d.delay) END AS due_at
        FROM unnest(run_ids) r (run_id)
        JOIN millrace_internal.step_definition d ON d.version_id = in_version_id AND d.def_no = ANY (v.roots)),
    made AS (
        INSERT INTO millrace_internal.step (shard, run_id, step_no, version_id, def_no, state, ready_at)
        SELECT in_shard, root.run_id, root.def_no, in_version_id, root.def_no,
               CASE WHEN root.due_at IS NULL THEN 2 ELSE 1 END, coalesce(root.due_at, now_at)
        FROM root),
    timed AS (
        INSERT INTO millrace_internal.timer (shard, due_at, run_id, step_no, token)
        SELECT in_shard, root.due_at, root.run_id, root.def_no, 0 FROM root WHERE root.due_at IS NOT NULL),
    told AS (
        INSERT INTO millrace_internal.event (run_id, step_no, at, xact_id, shard, kind, attempt, data)
        SELECT root.run_id, root.def_no, now_at, pg_current_xact_id()::text::bigint, in_shard, 9, 0, jsonb_build_object('due_at', root.due_at)
        FROM root WHERE root.due_at IS NOT NULL)
    SELECT array_agg(run_id) AS runs, array_agg(def_no) AS steps, array_agg(queue_id) AS queues, array_agg(handler_id) AS handlers,
           array_agg(priority) AS priorities, array_agg(in_tenant_id) AS tenants, array_agg(rank) AS ranks
    INTO first_steps FROM root WHERE root.due_at IS NULL;
    PERFORM millrace_internal.sink_push(in_shard, first_steps.runs, first_steps.steps, first_steps.queues, first_steps.handlers,
                                        first_steps.priorities, first_steps.tenants, first_steps.ranks);
    IF due_at IS NOT NULL OR in_deadline IS NOT NULL THEN
        PERFORM millrace_internal.keeper_wake();
    END IF;
    RETURN answer;
END $$;
COMMENT ON FUNCTION millrace_internal.submit(integer, jsonb[], integer, text, jsonb, timestamptz, timestamptz, text[], bigint, integer, text) IS
'Writes runs of one version: the run rows, their first steps, one event each.';
-- Purpose: agents come and go, and what they can take.

-- Arguments: in_queues, in_handlers  what it serves; in_protocol  the agent's number; in_lease  1 s to 1 h
-- Returns:   its id, the protocol and lease in force, the channels to LISTEN on, the tier
-- Tables changed: agent, queue, handler, sink; ready after a change of tier.
CREATE OR REPLACE FUNCTION millrace.register_agent(
    queues text[], handlers text[], protocol integer DEFAULT 1, name text DEFAULT NULL,
    lease interval DEFAULT '10 s', listening boolean DEFAULT true)
RETURNS TABLE (agent_id integer, agreed_protocol integer, lease_seconds double precision, channels text[], tier text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    queue_numbers   integer[];
    handler_numbers integer[];
    now_at          timestamptz := millrace_internal.clock();
BEGIN
    PERFORM millrace_internal.settle_in();
    IF NOT millrace_internal.is_home() THEN
        PERFORM millrace_internal.fail('MR024', 'this database is a copy from another cluster',
            'Its runs may still be worked on where it came from.', 'If they are not, call millrace.adopt() here once.');
    ELSIF protocol IS DISTINCT FROM 1 THEN
        PERFORM millrace_internal.fail('MR022', format('the agent speaks protocol %s', coalesce(protocol::text, 'null')),
            'This extension speaks protocol 1.', CASE WHEN protocol > 1 THEN 'Upgrade the extension: ALTER EXTENSION millrace UPDATE.' ELSE 'Upgrade the agent.' END);
    ELSIF coalesce(cardinality(queues), 0) NOT BETWEEN 1 AND 1000 OR coalesce(cardinality(handlers), 0) NOT BETWEEN 1 AND 1000
          OR EXISTS (SELECT FROM unnest(queues || handlers) n WHERE n IS NULL OR n = '' OR octet_length(n) > 200) THEN
        PERFORM millrace_internal.fail('MR001', 'an agent serves 1 to 1,000 queues and 1 to 1,000 handlers, by names of 1 to 200 bytes');
    ELSIF lease IS NULL OR lease NOT BETWEEN interval '1 s' AND interval '1 h' THEN
        PERFORM millrace_internal.fail('MR001', format('the lease %s is not between 1 second and 1 hour', coalesce(lease::text, 'null')));
    ELSIF octet_length(name) > 500 THEN
        PERFORM millrace_internal.fail('MR002', 'the agent''s name is longer than 500 bytes');
    END IF;
    queue_numbers := millrace_internal.queue_ids(queues);
    handler_numbers := millrace_internal.handler_ids(handlers);
    PERFORM millrace_internal.partitions_ensure(), millrace_internal.sink_ensure();

    INSERT INTO millrace_internal.agent (lease_expires_at, seen_at, listening, protocol, lease, queues, handlers, registered_by, registered_at, name)
    VALUES (now_at + lease, now_at, coalesce(listening, false), protocol, lease, queue_numbers, handler_numbers,
            millrace_internal.caller()::regrole, now_at, name)
    RETURNING agent.agent_id INTO agent_id;
    agreed_protocol := protocol;
    lease_seconds := extract(epoch FROM lease);
    channels := ARRAY(SELECT millrace_internal.queue_channel(q) FROM unnest(queue_numbers) q) || 'millrace_revoked'::text;
    tier := CASE WHEN millrace_internal.dispatcher_attached() THEN 'dispatcher' ELSE 'plain' END;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION millrace.register_agent(text[], text[], integer, text, interval, boolean) IS
'Registers an agent. Errors: MR001, MR002 bad arguments, MR022 protocol, MR024 a copy that nobody has adopted.';

CREATE OR REPLACE FUNCTION millrace_internal.agent_get(in_agent_id integer, OUT agent millrace_internal.agent)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT a.* INTO agent FROM millrace_internal.agent a WHERE a.agent_id = in_agent_id;
    IF NOT FOUND THEN
        PERFORM millrace_internal.fail('MR021', format('there is no agent %s', coalesce(in_agent_id::text, 'null')), NULL,
            'Register with millrace.register_agent; an agent whose lease is long over is forgotten.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.agent_get(integer) IS 'The row of an agent; MR021 without one.';

-- Arguments: capacity  free slots by handler; null: max_steps of any of the agent's handlers
-- Returns:   handler ids with room, and how much
CREATE OR REPLACE FUNCTION millrace_internal.agent_capacity(agent millrace_internal.agent, capacity jsonb, max_steps integer,
    OUT handler_ids integer[], OUT rooms integer[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wrong text;
BEGIN
    IF max_steps IS NULL OR max_steps NOT BETWEEN 0 AND 100000 THEN
        PERFORM millrace_internal.fail('MR001', format('max_steps is %s', coalesce(max_steps::text, 'null')), NULL, 'Ask for 0 to 100,000 steps.');
    END IF;
    IF capacity IS NULL THEN
        handler_ids := agent.handlers;
        rooms := array_fill(max_steps, ARRAY[cardinality(agent.handlers)]);
        RETURN;
    ELSIF jsonb_typeof(capacity) <> 'object' OR jsonb_path_exists(capacity, '$.* ? (@.type() != "number")') THEN
        PERFORM millrace_internal.fail('MR001', 'capacity is not an object of numbers', NULL, 'Write for example {"http": 20, "shell": 4}.');
    END IF;
    SELECT array_agg(h.handler_id), array_agg(least(c.value::numeric, max_steps)::integer), min(c.key) FILTER (WHERE h.handler_id IS NULL)
    INTO handler_ids, rooms, wrong
    FROM jsonb_each_text(capacity) c
    LEFT JOIN millrace_internal.handler h ON h.name = c.key AND h.handler_id = ANY (agent.handlers)
    WHERE c.value::numeric >= 1 OR h.handler_id IS NULL;
    IF wrong IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR023', format('agent %s is not registered for handler "%s"', agent.agent_id, wrong), NULL,
            'Name in capacity only handlers that were given to register_agent.');
    END IF;
    handler_ids := coalesce(handler_ids, '{}');
    rooms := coalesce(rooms, '{}');
END $$;
COMMENT ON FUNCTION millrace_internal.agent_capacity(millrace_internal.agent, jsonb, integer) IS 'Free slots of an agent by handler; MR023 for a handler it is not registered for.';

CREATE OR REPLACE FUNCTION millrace_internal.require_read_committed()
RETURNS void LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        PERFORM millrace_internal.fail('MR043', format('this call does not work at isolation level %s', current_setting('transaction_isolation')),
            'Each of its statements must see what was committed while the one before waited.', 'Call it in a READ COMMITTED transaction.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.require_read_committed() IS 'MR043 at other isolation levels.';
-- Purpose: what a step receives: its input, computed inside the database so that an agent is sent only what it needs.

-- Arguments: template  the step's `input`; context  {"run": ..., "needs": {...}}
-- Returns:   the template with its paths replaced: the first match, null without one; all matches as an array where the
--            path asks for many ([*], .*, .**, a filter)
CREATE OR REPLACE FUNCTION millrace_internal.input_fill(template jsonb, context jsonb)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    leaf text;
BEGIN
    CASE jsonb_typeof(template)
        WHEN 'string' THEN
            leaf := template #>> '{}';
            IF left(leaf, 2) = '$$' THEN
                RETURN to_jsonb(substr(leaf, 2));
            ELSIF left(leaf, 1) <> '$' THEN
                RETURN template;
            ELSIF leaf ~ '\[\*\]|\.\*|\?' THEN
                RETURN jsonb_path_query_array(context, leaf::jsonpath, '{}', true);
            ELSE
                RETURN coalesce(jsonb_path_query_first(context, leaf::jsonpath, '{}', true), 'null');
            END IF;
        WHEN 'object' THEN
            RETURN (SELECT coalesce(jsonb_object_agg(key, millrace_internal.input_fill(value, context)), '{}') FROM jsonb_each(template));
        WHEN 'array' THEN
            RETURN (SELECT coalesce(jsonb_agg(millrace_internal.input_fill(value, context) ORDER BY ord), '[]')
                    FROM jsonb_array_elements(template) WITH ORDINALITY e (value, ord));
        ELSE
            RETURN template;
    END CASE;
END $body$;
COMMENT ON FUNCTION millrace_internal.input_fill(jsonb, jsonb) IS 'An input template with its JSONPath leaves replaced.';

-- Returns: {"run": the run's input, "needs": {key: output}}: outputs of the declared needs that have one
CREATE OR REPLACE FUNCTION millrace_internal.input_context(in_shard smallint, in_run_id bigint, in_version_id integer, needs integer[])
RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
    SELECT jsonb_build_object(
        'run', (SELECT i.input FROM millrace_internal.run_input i WHERE i.run_id = in_run_id AND i.shard = in_shard),
        'needs', coalesce((SELECT jsonb_object_agg(d.key, o.output)
                           FROM unnest(needs) n (def_no)
                           JOIN millrace_internal.output o ON o.run_id = in_run_id AND o.step_no = n.def_no AND o.shard = in_shard
                           JOIN millrace_internal.step_definition d ON d.version_id = in_version_id AND d.def_no = n.def_no), '{}'))
$$;
COMMENT ON FUNCTION millrace_internal.input_context(smallint, bigint, integer, integer[]) IS 'What a step''s input may refer to.';

-- Returns: the input of a step, or the reason why there is none
CREATE OR REPLACE FUNCTION millrace_internal.input_of(in_shard smallint, in_run_id bigint, def millrace_internal.step_definition,
    OUT input jsonb, OUT problem text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    context jsonb := millrace_internal.input_context(in_shard, in_run_id, def.version_id, def.needs);
BEGIN
    input := CASE WHEN def.input IS NULL THEN context ELSE millrace_internal.input_fill(def.input, context) END;
    IF octet_length(input::text) > pg_size_bytes(millrace_internal.setting('millrace.max_output_bytes')) THEN
        input := NULL;
        problem := 'MR044: the input is larger than millrace.max_output_bytes';
    END IF;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR undefined_object OR feature_not_supported THEN
    -- what a path may end in only once it meets data
    input := NULL;
    problem := 'MR044: ' || SQLERRM;
END $$;
COMMENT ON FUNCTION millrace_internal.input_of(smallint, bigint, millrace_internal.step_definition) IS 'A step''s input, or why it cannot be computed.';
-- Purpose: what is handed to an agent: starting claimed steps, the receipt, and the rows that the agent reads.

-- Starts candidates of the sink that are ready still. Waits for nothing: rows that another call holds are left.
-- Locks: step rows, SKIP LOCKED. Tables changed: step, event.
CREATE OR REPLACE FUNCTION millrace_internal.start_candidates(
    in_shard smallint, in_agent_id integer, in_receipt_no bigint, run_ids bigint[], step_nos integer[], now_at timestamptz,
    OUT started_runs bigint[], OUT started_steps integer[], OUT tokens integer[], OUT attempts integer[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    WITH held AS MATERIALIZED (
        SELECT c.ord, s.run_id, s.step_no
        FROM unnest(run_ids, step_nos) WITH ORDINALITY c (run_id, step_no, ord)
        CROSS JOIN LATERAL (
            SELECT s.run_id, s.step_no FROM millrace_internal.step s
            WHERE s.run_id = c.run_id AND s.step_no = c.step_no AND s.shard = in_shard AND s.state = 2
            FOR NO KEY UPDATE SKIP LOCKED) s
        WHERE (c.run_id & 255) = in_shard),
    started AS (
        UPDATE millrace_internal.step s
        SET state = 4, attempts = s.attempts + 1, token = s.token + 1, agent_id = in_agent_id, receipt_no = in_receipt_no, started_at = now_at
        FROM held h WHERE s.run_id = h.run_id AND s.step_no = h.step_no AND s.shard = in_shard
        RETURNING h.ord, s.run_id, s.step_no, s.token, s.attempts),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, agent_id, attempt, shard, kind)
        SELECT s.run_id, now_at, pg_current_xact_id()::text::bigint, s.step_no, in_agent_id, s.attempts, in_shard, 8 FROM started s ORDER BY s.ord)
    SELECT array_agg(s.run_id ORDER BY s.ord), array_agg(s.step_no ORDER BY s.ord), array_agg(s.token ORDER BY s.ord), array_agg(s.attempts ORDER BY s.ord)
    INTO started_runs, started_steps, tokens, attempts
    FROM started s;
END $$;
COMMENT ON FUNCTION millrace_internal.start_candidates(smallint, integer, bigint, bigint[], integer[], timestamptz) IS 'Hands ready steps to an agent: ready to running, attempt and token grow.';

-- Of the candidates that could not be started: those that are ready still, for another call holds them.
CREATE OR REPLACE FUNCTION millrace_internal.candidates_locked(in_shard smallint, run_ids bigint[], step_nos integer[],
    started_runs bigint[], started_steps integer[], OUT locked_runs bigint[], OUT locked_steps integer[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
    SELECT array_agg(c.run_id), array_agg(c.step_no)
    FROM (SELECT * FROM unnest(run_ids, step_nos) c (run_id, step_no)
          EXCEPT SELECT * FROM unnest(started_runs, started_steps) d (run_id, step_no)) c
    WHERE EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = c.run_id AND s.step_no = c.step_no AND s.shard = in_shard AND s.state = 2)
$$;
COMMENT ON FUNCTION millrace_internal.candidates_locked(smallint, bigint[], integer[], bigint[], integer[]) IS 'Candidates that another call holds.';

-- Claims up to max_steps from the sink. Loops while candidates turn out stale, so that an empty answer means that nothing was claimable.
CREATE OR REPLACE FUNCTION millrace_internal.start_from_sink(
    in_shard smallint, in_agent_id integer, in_receipt_no bigint, in_queues integer[], in_handlers integer[], rooms integer[], max_steps integer,
    OUT run_ids bigint[], OUT step_nos integer[], OUT tokens integer[], OUT attempts integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found       record;
    got         record;
    held_runs   bigint[];       -- by other calls: not for this one
    held_steps  integer[];
BEGIN
    run_ids := '{}'; step_nos := '{}'; tokens := '{}'; attempts := '{}';
    IF max_steps <= 0 OR cardinality(in_handlers) = 0 THEN
        RETURN;
    END IF;
    FOR round IN 1..1000 LOOP
        found := millrace_internal.sink_pop(in_shard, in_queues, in_handlers, rooms, max_steps);
        EXIT WHEN found.run_ids IS NULL OR cardinality(found.run_ids) = 0;
        got := millrace_internal.start_candidates(in_shard, in_agent_id, in_receipt_no, found.run_ids, found.step_nos, millrace_internal.clock());
        held_runs := NULL;
        IF got.started_runs IS NULL OR cardinality(got.started_runs) < cardinality(found.run_ids) THEN
            SELECT l.locked_runs, l.locked_steps INTO held_runs, held_steps
            FROM millrace_internal.candidates_locked(in_shard, found.run_ids, found.step_nos, got.started_runs, got.started_steps) l;
        END IF;
        PERFORM millrace_internal.sink_settle(found.run_ids, found.step_nos, found.places, held_runs, held_steps);
        IF got.started_runs IS NOT NULL THEN
            run_ids := run_ids || got.started_runs; step_nos := step_nos || got.started_steps;
            tokens := tokens || got.tokens; attempts := attempts || got.attempts;
        END IF;
        -- again only where all that came out had gone stale
        EXIT WHEN cardinality(run_ids) > 0 OR held_runs IS NOT NULL;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.start_from_sink(smallint, integer, bigint, integer[], integer[], integer[], integer) IS
'Starts claimable steps for an agent. Tables changed: step, event, ready (plain tier).';

-- Agents time their handlers themselves, from the handler's start, and report it. What they do not report is timed out by
-- the keeper a little later: by what a claim needs to reach a handler, and a report to come back.
CREATE OR REPLACE FUNCTION millrace_internal.timeout_grace()
RETURNS interval LANGUAGE sql IMMUTABLE AS $$ SELECT interval '500 ms' $$;
COMMENT ON FUNCTION millrace_internal.timeout_grace() IS 'How long the keeper waits beyond a timeout for its agent''s report.';

-- Writes the receipt of one call.
CREATE OR REPLACE FUNCTION millrace_internal.receipt_write(in_shard smallint, in_agent_id integer, in_receipt_no bigint,
    in_run_ids bigint[], in_step_nos integer[], in_tokens integer[], shortest_timeout double precision)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO millrace_internal.receipt (shard, agent_id, receipt_no, open, deadline, run_ids, step_nos, tokens)
    SELECT in_shard, in_agent_id, in_receipt_no, cardinality(in_run_ids),
           CASE WHEN shortest_timeout IS NOT NULL THEN millrace_internal.clock() + make_interval(secs => shortest_timeout) + millrace_internal.timeout_grace() END,
           in_run_ids, in_step_nos, in_tokens;
END $$;
COMMENT ON FUNCTION millrace_internal.receipt_write(smallint, integer, bigint, bigint[], integer[], integer[], double precision) IS 'One row per call that hands out steps. Tables changed: receipt.';

-- The rows that an agent reads. Inputs are computed only where the handler takes one; a step whose input cannot be
-- computed comes with the problem, for the caller to fail it.
CREATE OR REPLACE FUNCTION millrace_internal.work_rows(in_shard smallint, run_ids bigint[], step_nos integer[], tokens integer[], attempts integer[])
RETURNS TABLE (run_id bigint, step_no integer, token integer, attempt integer, workflow text, key text, handler text,
               settings jsonb, input jsonb, timeout double precision, element integer, trace text, problem text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT u.run_id, u.step_no, u.token, u.attempt, d.workflow, d.key, d.handler, d.settings, i.input, d.timeout, NULL::integer, r.trace, i.problem
    FROM unnest(run_ids, step_nos, tokens, attempts) WITH ORDINALITY u (run_id, step_no, token, attempt, ord)
    JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard
    JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = u.step_no
    LEFT JOIN LATERAL (SELECT o.input, o.problem FROM millrace_internal.input_of(in_shard, u.run_id, d) o WHERE d.takes_input OFFSET 0) i ON true
    WHERE (u.run_id & 255) = in_shard
    ORDER BY u.ord;
END $$;
COMMENT ON FUNCTION millrace_internal.work_rows(smallint, bigint[], integer[], integer[], integer[]) IS 'What an agent needs to know to run these steps.';
-- Purpose: a claim: the contract of docs/sql-reference.md on top of logic/start.sql.

CREATE OR REPLACE FUNCTION millrace.claim(agent_id integer, max_steps integer DEFAULT 1, capacity jsonb DEFAULT NULL, max_bytes integer DEFAULT 8388608)
RETURNS TABLE (run_id bigint, step_no integer, token integer, attempt integer, workflow text, key text, handler text,
               settings jsonb, input jsonb, timeout double precision, element integer, trace text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    agent   millrace_internal.agent;
    free    record;
    receipt bigint;
    started record;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    agent := millrace_internal.agent_get(claim.agent_id);
    free := millrace_internal.agent_capacity(agent, claim.capacity, claim.max_steps);
    receipt := nextval('millrace_internal.receipt_no_seq');
    started := millrace_internal.start_from_sink(0::smallint, agent.agent_id, receipt, agent.queues, free.handler_ids, free.rooms, claim.max_steps);
    RETURN QUERY
    SELECT w.run_id, w.step_no, w.token, w.attempt, w.workflow, w.key, w.handler, w.settings, w.input, w.timeout, w.element, w.trace
    FROM millrace_internal.hand_out(0::smallint, agent, receipt, started.run_ids, started.step_nos, started.tokens, started.attempts, claim.max_bytes) w;
END $$;
COMMENT ON FUNCTION millrace.claim(integer, integer, jsonb, integer) IS
'Hands an agent up to max_steps ready steps that its queues, handlers and free capacity allow, in order of priority, fair share between tenants, age of run, rank.
Durable once the transaction has committed: start no handler before. Errors: MR001, MR021 unknown agent, MR023 handler it is not registered for, MR043 isolation.
Tables changed: step, event, receipt, ready (plain tier). Locks: step rows, SKIP LOCKED.';

-- The rows of started steps and their receipt. What exceeds max_bytes is given back; what has no input fails.
CREATE OR REPLACE FUNCTION millrace_internal.hand_out(in_shard smallint, agent millrace_internal.agent, in_receipt_no bigint,
    run_ids bigint[], step_nos integer[], tokens integer[], attempts integer[], max_bytes integer)
RETURNS TABLE (run_id bigint, step_no integer, token integer, attempt integer, workflow text, key text, handler text,
               settings jsonb, input jsonb, timeout double precision, element integer, trace text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    w              record;
    bytes          bigint := 0;
    first_row      boolean := true;
    shortest       double precision;
    back_runs      bigint[];
    back_steps     integer[];
    back_tokens    integer[];
    broken_runs    bigint[];
    broken_steps   integer[];
    broken_tokens  integer[];
    broken_reasons text[];
BEGIN
    IF run_ids IS NULL OR cardinality(run_ids) = 0 THEN
        RETURN;
    END IF;
    FOR w IN SELECT * FROM millrace_internal.work_rows(in_shard, run_ids, step_nos, tokens, attempts) LOOP
        shortest := least(shortest, w.timeout);
        IF w.problem IS NOT NULL THEN
            broken_runs := broken_runs || w.run_id; broken_steps := broken_steps || w.step_no;
            broken_tokens := broken_tokens || w.token; broken_reasons := broken_reasons || w.problem;
            CONTINUE;
        END IF;
        IF w.input IS NOT NULL OR w.settings IS NOT NULL THEN
            bytes := bytes + coalesce(octet_length(w.input::text), 0) + coalesce(octet_length(w.settings::text), 0);
            IF bytes > max_bytes AND NOT first_row THEN
                back_runs := back_runs || w.run_id; back_steps := back_steps || w.step_no; back_tokens := back_tokens || w.token;
                CONTINUE;
            END IF;
        END IF;
        first_row := false;
        run_id := w.run_id; step_no := w.step_no; token := w.token; attempt := w.attempt; workflow := w.workflow; key := w.key; handler := w.handler;
        settings := w.settings; input := w.input; timeout := w.timeout; element := w.element; trace := w.trace;
        RETURN NEXT;
    END LOOP;
    PERFORM millrace_internal.receipt_write(in_shard, agent.agent_id, in_receipt_no, run_ids, step_nos, tokens, shortest);
    IF back_runs IS NOT NULL THEN
        PERFORM millrace_internal.decide(in_shard, agent.agent_id, back_runs, back_steps, back_tokens,
                                         array_fill(5::smallint, ARRAY[cardinality(back_runs)]), NULL, NULL, NULL);
    END IF;
    IF broken_runs IS NOT NULL THEN
        PERFORM millrace_internal.fail_broken(in_shard, agent.agent_id, broken_runs, broken_steps, broken_tokens, broken_reasons);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.hand_out(smallint, millrace_internal.agent, bigint, bigint[], integer[], integer[], integer[], integer) IS
'What an agent reads of the steps it was given, and their receipt. Tables changed: receipt; step, event for what is given back or fails.';

-- Steps without an input fail as they are handed out. This comes last in a call that holds other rows, and so may not wait
-- for any: where another call holds what would fall, the steps are given back, and fail when they are handed out next.
CREATE OR REPLACE FUNCTION millrace_internal.fail_broken(in_shard smallint, in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], reasons text[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    patience text := current_setting('lock_timeout');
BEGIN
    PERFORM set_config('lock_timeout', '1ms', true);
    PERFORM millrace_internal.decide(in_shard, in_agent_id, run_ids, step_nos, tokens, array_fill(3::smallint, ARRAY[cardinality(run_ids)]), NULL, reasons, NULL);
    PERFORM set_config('lock_timeout', patience, true);
EXCEPTION WHEN lock_not_available THEN
    PERFORM millrace_internal.decide(in_shard, in_agent_id, run_ids, step_nos, tokens, array_fill(5::smallint, ARRAY[cardinality(run_ids)]), NULL, NULL, NULL);
END $$;
COMMENT ON FUNCTION millrace_internal.fail_broken(smallint, integer, bigint[], integer[], integer[], text[]) IS
'Fails steps whose input cannot be computed, or gives them back if that would have to wait. Tables changed: as decide.';
-- Purpose: the first pass of every decision over running steps: their own rows (class 1 of docs/locking.md).
-- Codes: 1 completed, 2 failed, 3 fatal, 4 timed out, 5 given back, 6 its agent was lost; 0 is passed over.

-- Back-off before the next try, in seconds, from the attempts on the step itself.
CREATE OR REPLACE FUNCTION millrace_internal.backoff(attempts integer, base double precision, factor double precision, longest double precision, jitter double precision)
RETURNS double precision LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN millrace_internal.setting('millrace.retry_immediately')::boolean THEN 0
                ELSE greatest(0, least(longest, base * factor ^ least(attempts - 1, 1000.0 / factor)) * (1 + jitter * (2 * random() - 1))) END
$$;
COMMENT ON FUNCTION millrace_internal.backoff(integer, double precision, double precision, double precision, double precision) IS
'min(max, backoff * factor ^ (attempts - 1)), give or take the jitter.';

-- Returns: what was applied, by place in the arguments; the dependents that were hit, with how many of their needs ended and how
-- many of these badly; per run the closing steps that ended and the steps that failed; per receipt how many of its steps were
-- settled; steps that are ready again and steps that wait.
-- Locks: own rows, ascending. Tables changed: step, event.
CREATE OR REPLACE FUNCTION millrace_internal.finish(
    in_shard smallint, in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], codes smallint[], errors text[], elapsed double precision[],
    OUT applied integer[],
    OUT hit_runs bigint[], OUT hit_defs integer[], OUT hit_n integer[], OUT hit_bad integer[],
    OUT ended_runs bigint[], OUT ended_closing integer[], OUT ended_failed integer[],
    OUT settled_receipts bigint[], OUT settled_n integer[],
    OUT ready_runs bigint[], OUT ready_steps integer[],
    OUT waiting_runs bigint[], OUT waiting_steps integer[], OUT waiting_tokens integer[], OUT waiting_due timestamptz[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    xact    bigint := pg_current_xact_id()::text::bigint;
    lost_limit integer := millrace_internal.setting('millrace.lost_limit')::integer;
BEGIN
    IF 1 = ALL (codes) THEN
        -- Nothing but completions, as nearly always: what follows depends on nothing in the row, which is read once.
        WITH own AS (
            UPDATE millrace_internal.step s
            SET state = 10, finished_at = clock_timestamp(), elapsed = u.elapsed, error = NULL
            FROM (SELECT * FROM unnest(run_ids, step_nos, tokens, elapsed) WITH ORDINALITY u (run_id, step_no, token, elapsed, ord)
                  WHERE (u.run_id & 255) = in_shard ORDER BY u.run_id, u.step_no) u,
                 millrace_internal.step_definition d
            WHERE s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard
              AND s.state = 4 AND s.token = u.token AND s.agent_id = in_agent_id
              AND d.version_id = s.version_id AND d.def_no = s.def_no
            RETURNING u.ord, s.run_id, s.step_no, s.attempts, s.receipt_no, s.finished_at, d.dependents, d.closing),
        told AS (
            INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, agent_id, attempt, shard, kind)
            SELECT o.run_id, o.finished_at, xact, o.step_no, in_agent_id, o.attempts, in_shard, 11 FROM own o),
        hit AS MATERIALIZED (
            SELECT o.run_id, dependent, count(*)::integer AS n FROM own o, unnest(o.dependents) dependent GROUP BY 1, 2),
        ended AS MATERIALIZED (SELECT o.run_id, count(*)::integer AS closing FROM own o WHERE o.closing GROUP BY 1),
        receipts AS MATERIALIZED (SELECT o.receipt_no, count(*)::integer AS n FROM own o GROUP BY 1)
        SELECT o.applied, h.runs, h.defs, h.n, h.bad, e.runs, e.closing, e.failed, r.receipts, r.n
        INTO applied, hit_runs, hit_defs, hit_n, hit_bad, ended_runs, ended_closing, ended_failed, settled_receipts, settled_n
        FROM (SELECT array_agg(o.ord::integer) AS applied FROM own o) o,
             (SELECT array_agg(h.run_id) AS runs, array_agg(h.dependent) AS defs, array_agg(h.n) AS n, array_agg(0) AS bad FROM hit h) h,
             (SELECT array_agg(e.run_id) AS runs, array_agg(e.closing) AS closing, array_agg(0) AS failed FROM ended e) e,
             (SELECT array_agg(r.receipt_no) AS receipts, array_agg(r.n) AS n FROM receipts r) r;
        RETURN;
    END IF;

    WITH mine AS MATERIALIZED (
        -- read without a lock: a row that is not running with this token is stale for ever, and is left alone
        SELECT u.ord, s.run_id, s.step_no, u.token, u.code, u.error, u.elapsed, d.dependents, d.closing, r.wait,
               CASE WHEN u.code = 1 THEN 10
                    WHEN u.code = 3 THEN 11
                    WHEN u.code = 5 THEN 2
                    WHEN u.code = 6 THEN CASE WHEN s.attempts <= greatest(d.retry_limit, lost_limit) THEN 2 ELSE 11 END
                    WHEN s.attempts > d.retry_limit THEN 11
                    WHEN r.wait > 0 THEN 1 ELSE 2 END AS next
        FROM unnest(run_ids, step_nos, tokens, codes, errors, elapsed) WITH ORDINALITY u (run_id, step_no, token, code, error, elapsed, ord)
        JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard
             AND s.state = 4 AND s.token = u.token AND s.agent_id = in_agent_id AND u.code > 0
        JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
        CROSS JOIN LATERAL (SELECT CASE WHEN u.code IN (2, 4)
                            THEN millrace_internal.backoff(s.attempts, d.retry_backoff, d.retry_factor, d.retry_max, d.retry_jitter) END AS wait OFFSET 0) r
        WHERE (u.run_id & 255) = in_shard
        ORDER BY s.run_id, s.step_no),
    own AS (
        UPDATE millrace_internal.step s
        SET state = m.next,
            attempts = CASE WHEN m.code = 5 THEN s.attempts - 1 ELSE s.attempts END,
            ready_at = CASE m.next WHEN 2 THEN clock_timestamp()
                                   WHEN 1 THEN clock_timestamp() + make_interval(secs => m.wait) ELSE s.ready_at END,
            finished_at = CASE WHEN m.next >= 10 THEN clock_timestamp() END,
            elapsed = m.elapsed,
            error = CASE WHEN m.code = 1 THEN NULL ELSE coalesce(m.error, s.error) END
        FROM mine m
        WHERE s.run_id = m.run_id AND s.step_no = m.step_no AND s.shard = in_shard AND s.state = 4 AND s.token = m.token
        RETURNING m.ord, s.run_id, s.step_no, s.def_no, s.token, s.attempts, s.receipt_no, m.next, m.code, m.error, m.wait, m.dependents, m.closing,
                  coalesce(s.finished_at, clock_timestamp()) AS at, CASE m.next WHEN 1 THEN s.ready_at END AS due_at),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, agent_id, attempt, shard, kind, data)
        SELECT o.run_id, o.at, xact, o.step_no, in_agent_id, CASE WHEN o.code = 5 THEN o.attempts + 1 ELSE o.attempts END, in_shard,
               CASE WHEN o.next = 10 THEN 11 WHEN o.next = 11 THEN 12 WHEN o.code IN (5, 6) THEN 10 ELSE 9 END,
               CASE WHEN o.code = 1 THEN NULL
                    WHEN o.next = 11 THEN jsonb_build_object('error', o.error, 'outcome', (ARRAY['completed', 'failed', 'fatal', 'timed_out', 'released', 'lost'])[o.code])
                    WHEN o.code = 5 THEN jsonb_build_object('reason', coalesce(o.error, 'given back'))
                    WHEN o.code = 6 THEN jsonb_build_object('reason', 'agent lost')
                    ELSE jsonb_build_object('error', o.error, 'outcome', CASE o.code WHEN 4 THEN 'timed_out' ELSE 'failed' END,
                                            'due_at', coalesce(o.due_at, o.at)) END
        FROM own o ORDER BY o.ord),
    hit AS MATERIALIZED (
        SELECT o.run_id, dependent, count(*)::integer AS n, count(*) FILTER (WHERE o.next <> 10)::integer AS bad
        FROM own o, unnest(o.dependents) dependent WHERE o.next >= 10 GROUP BY 1, 2),
    ended AS MATERIALIZED (
        SELECT o.run_id, count(*) FILTER (WHERE o.closing)::integer AS closing, count(*) FILTER (WHERE o.next = 11)::integer AS failed
        FROM own o WHERE o.next >= 10 AND (o.closing OR o.next = 11) GROUP BY 1),
    receipts AS MATERIALIZED (SELECT o.receipt_no, count(*)::integer AS n FROM own o GROUP BY 1)
    SELECT o.applied, h.runs, h.defs, h.n, h.bad, e.runs, e.closing, e.failed, r.receipts, r.n,
           o.ready_runs, o.ready_steps, o.waiting_runs, o.waiting_steps, o.waiting_tokens, o.waiting_due
    INTO applied, hit_runs, hit_defs, hit_n, hit_bad, ended_runs, ended_closing, ended_failed, settled_receipts, settled_n,
         ready_runs, ready_steps, waiting_runs, waiting_steps, waiting_tokens, waiting_due
    FROM (SELECT array_agg(o.ord::integer) AS applied,
                 array_agg(o.run_id) FILTER (WHERE o.next = 2) AS ready_runs, array_agg(o.step_no) FILTER (WHERE o.next = 2) AS ready_steps,
                 array_agg(o.run_id) FILTER (WHERE o.next = 1) AS waiting_runs, array_agg(o.step_no) FILTER (WHERE o.next = 1) AS waiting_steps,
                 array_agg(o.token) FILTER (WHERE o.next = 1) AS waiting_tokens,
                 array_agg(o.due_at) FILTER (WHERE o.next = 1) AS waiting_due FROM own o) o,
         (SELECT array_agg(h.run_id ORDER BY h.run_id, h.dependent) AS runs, array_agg(h.dependent ORDER BY h.run_id, h.dependent) AS defs,
                 array_agg(h.n ORDER BY h.run_id, h.dependent) AS n, array_agg(h.bad ORDER BY h.run_id, h.dependent) AS bad FROM hit h) h,
         (SELECT array_agg(e.run_id) AS runs, array_agg(e.closing) AS closing, array_agg(e.failed) AS failed FROM ended e) e,
         (SELECT array_agg(r.receipt_no) AS receipts, array_agg(r.n) AS n FROM receipts r) r;
END $$;
COMMENT ON FUNCTION millrace_internal.finish(smallint, integer, bigint[], integer[], integer[], smallint[], text[], double precision[]) IS
'Moves running steps on by their outcome, where token and agent are still theirs.';
-- Purpose: before skips spread: the rows that may be touched, taken in one ascending pass (class 2 of docs/locking.md).
-- Where no need has ended badly, nothing spreads further than the dependents, and this is not needed.

-- Arguments: bad_*  steps that will be skipped; hit_*  dependents that this call counts down
-- Locks: step rows of all that hangs on them, ascending. Tables changed: step (missing rows are written as pending).
CREATE OR REPLACE FUNCTION millrace_internal.lock_falling(in_shard smallint, bad_runs bigint[], bad_defs integer[], hit_runs bigint[], hit_defs integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    all_runs bigint[];
    all_defs integer[];
BEGIN
    SELECT array_agg(f.run_id ORDER BY f.run_id, f.def_no), array_agg(f.def_no ORDER BY f.run_id, f.def_no) INTO all_runs, all_defs
    FROM (SELECT b.run_id, below.def_no
          FROM unnest(bad_runs, bad_defs) b (run_id, def_no)
          JOIN millrace_internal.run r ON r.run_id = b.run_id AND r.shard = in_shard
          JOIN millrace_internal.version v ON v.version_id = r.version_id
          CROSS JOIN LATERAL unnest(millrace_internal.graph_descendants(v.graph, b.def_no)) below (def_no)
          UNION
          SELECT * FROM unnest(hit_runs, hit_defs) h (run_id, def_no)) f;
    PERFORM millrace_internal.materialise(in_shard, all_runs, all_defs);
    PERFORM FROM (SELECT FROM unnest(all_runs, all_defs) f (run_id, def_no)
                  CROSS JOIN LATERAL (SELECT FROM millrace_internal.step s
                                      WHERE s.run_id = f.run_id AND s.step_no = f.def_no AND s.shard = in_shard FOR NO KEY UPDATE) s) locked;
END $$;
COMMENT ON FUNCTION millrace_internal.lock_falling(smallint, bigint[], integer[], bigint[], integer[]) IS 'Locks all that may be skipped with these steps, in one ascending pass.';

-- Writes the rows of pending steps that have none yet. Argument order is lock order: ascending.
CREATE OR REPLACE FUNCTION millrace_internal.materialise(in_shard smallint, run_ids bigint[], def_nos integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    INSERT INTO millrace_internal.step (shard, run_id, step_no, version_id, def_no, state, needs_left)
    SELECT in_shard, u.run_id, u.def_no, r.version_id, u.def_no, 0, d.needs_count
    FROM unnest(run_ids, def_nos) WITH ORDINALITY u (run_id, def_no, ord)
    JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard
    JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = u.def_no
    WHERE (u.run_id & 255) = in_shard
      AND NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = u.run_id AND s.step_no = u.def_no AND s.shard = in_shard)
    ORDER BY u.ord
    ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION millrace_internal.materialise(smallint, bigint[], integer[]) IS 'Gives pending steps their rows. Tables changed: step.';
-- Purpose: taking whole runs in lock order (docs/locking.md), for calls that may touch every step of a run.

-- Locks every row of these runs, and single ones beside them, in one ascending pass. A report in flight holds its own rows,
-- so this waits for it, and what it has handed on meanwhile may be held by another report that waits for this call: then
-- all is let go, and taken once more. Once every row of a run is held, nobody else can add one.
-- Locks: step rows, ascending.
CREATE OR REPLACE FUNCTION millrace_internal.lock_steps(in_shard smallint, whole_runs bigint[], more_runs bigint[], more_steps integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    all_held boolean;
BEGIN
    LOOP
        BEGIN
            PERFORM FROM (SELECT s.run_id, s.step_no FROM millrace_internal.step s WHERE s.run_id = ANY (whole_runs) AND s.shard = in_shard
                          UNION SELECT * FROM unnest(more_runs, more_steps) ORDER BY 1, 2) k
            CROSS JOIN LATERAL (SELECT FROM millrace_internal.step s
                                WHERE s.run_id = k.run_id AND s.step_no = k.step_no AND s.shard = in_shard FOR NO KEY UPDATE) locked;
            SELECT (SELECT count(*) FROM millrace_internal.step s WHERE s.run_id = ANY (whole_runs) AND s.shard = in_shard)
                 = (SELECT count(*) FROM (SELECT FROM millrace_internal.step s WHERE s.run_id = ANY (whole_runs) AND s.shard = in_shard
                                          FOR NO KEY UPDATE SKIP LOCKED) held) INTO all_held;
            EXIT WHEN all_held;
            RAISE SQLSTATE 'MR000';
        EXCEPTION WHEN SQLSTATE 'MR000' THEN
            -- leaving the block has let the rows go
            CONTINUE;
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.lock_steps(smallint, bigint[], bigint[], integer[]) IS 'Takes all steps of runs, and single ones beside them, in lock order.';

-- Locks a whole run. With `whole`, steps that nothing has touched get their rows too. Tables changed: step, with whole.
CREATE OR REPLACE FUNCTION millrace_internal.lock_run_steps(in_shard smallint, in_run_id bigint, whole boolean)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM millrace_internal.lock_steps(in_shard, ARRAY[in_run_id], NULL, NULL);
    IF whole THEN
        PERFORM millrace_internal.materialise(in_shard, array_agg(r.run_id ORDER BY d.def_no), array_agg(d.def_no ORDER BY d.def_no))
        FROM millrace_internal.run r JOIN millrace_internal.step_definition d USING (version_id)
        WHERE r.run_id = in_run_id AND r.shard = in_shard AND r.finished_at IS NULL;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.lock_run_steps(smallint, bigint, boolean) IS 'Takes a whole run''s steps, in lock order.';

-- Before a failure ends its run (on_failure: cancel): the whole run, together with all rows that the call reports, in the
-- one pass that the order allows. Arguments as in millrace_internal.finish. Locks: step rows, ascending.
CREATE OR REPLACE FUNCTION millrace_internal.lock_doomed(
    in_shard smallint, in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], codes smallint[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    lost_limit integer := millrace_internal.setting('millrace.lost_limit')::integer;
    doomed     bigint[];
BEGIN
    SELECT array_agg(DISTINCT s.run_id) INTO doomed
    FROM unnest(run_ids, step_nos, tokens, codes) u (run_id, step_no, token, code)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard
         AND s.state = 4 AND s.token = u.token AND s.agent_id = in_agent_id
    JOIN millrace_internal.version v ON v.version_id = s.version_id AND v.on_failure = 1
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    WHERE u.code = 3 OR (u.code IN (2, 4) AND s.attempts > d.retry_limit) OR (u.code = 6 AND s.attempts > greatest(d.retry_limit, lost_limit));
    IF doomed IS NOT NULL THEN
        PERFORM millrace_internal.lock_steps(in_shard, doomed, run_ids, step_nos);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.lock_doomed(smallint, integer, bigint[], integer[], integer[], smallint[]) IS 'Takes the runs that a failure is about to cancel.';
-- Purpose: the second pass of every decision: dependents are counted down, and those at zero become ready, waiting, parked
-- or skipped, or are handed over to the agent that reports. Skips count as ends of their own, wave by wave.

-- Arguments: hit_*  dependents, how many of their needs ended, how many of these badly
--            in_agent_id ... max_start  to whom steps may be handed over; in_receipt_no null: to nobody
-- Returns:   what was handed over; closing steps that were skipped, by run; runs with hits that had been decided before (after a retry)
-- Locks: dependents, ascending. Tables changed: step, event, timer, ready (plain tier).
CREATE OR REPLACE FUNCTION millrace_internal.settle(
    in_shard smallint, hit_runs bigint[], hit_defs integer[], hit_n integer[], hit_bad integer[],
    in_agent_id integer, in_receipt_no bigint, in_queues integer[], in_handlers integer[], rooms integer[], max_start integer,
    OUT started_runs bigint[], OUT started_steps integer[], OUT tokens integer[], OUT attempts integer[],
    OUT ended_runs bigint[], OUT ended_closing integer[], OUT moot_runs bigint[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p      record;      -- the plan of one wave: its hits, with all that decides about them
    may    boolean[];   -- which of them the reporting agent gets at once
    done   record;      -- the wave's outcome
    rest   record;      -- what follows from its skips
    all_held boolean := false;  -- the rows of all that may be skipped are locked
BEGIN
    WHILE hit_runs IS NOT NULL LOOP
        p := millrace_internal.settle_plan(in_shard, hit_runs, hit_defs, hit_n, hit_bad);
        IF p.falling_runs IS NOT NULL AND NOT all_held THEN
            PERFORM millrace_internal.lock_falling(in_shard, p.falling_runs, p.falling_defs, hit_runs, hit_defs);
            all_held := true;
            p := millrace_internal.settle_plan(in_shard, hit_runs, hit_defs, hit_n, hit_bad);
        END IF;
        moot_runs := moot_runs || p.moot_runs;
        IF p.partial_runs IS NOT NULL THEN
            -- steps whose needs end in several calls get their row first, so that all count down the same row
            PERFORM millrace_internal.materialise(in_shard, p.partial_runs, p.partial_defs);
        END IF;
        may := NULL;
        IF in_receipt_no IS NOT NULL AND max_start > 0 THEN
            may := millrace_internal.handover(in_shard, p.runs, p.defs, p.queues, p.handlers, p.priorities, p.tenants, p.ranks, p.promising,
                                              in_queues, in_handlers, rooms, max_start);
        END IF;
        done := millrace_internal.settle_apply(in_shard, p.runs, p.defs, p.versions, p.n, p.bad, p.needs_counts, p.rules, p.delays, p.paused, p.untouched,
                                               p.queues, p.handlers, p.priorities, p.tenants, p.ranks, may, in_agent_id, in_receipt_no);
        IF done.started_runs IS NOT NULL THEN
            started_runs := started_runs || done.started_runs; started_steps := started_steps || done.started_steps;
            tokens := tokens || done.tokens; attempts := attempts || done.attempts;
            max_start := max_start - cardinality(done.started_runs);
        END IF;
        PERFORM millrace_internal.sink_push(in_shard, done.ready_runs, done.ready_steps, done.ready_queues, done.ready_handlers,
                                            done.ready_priorities, done.ready_tenants, done.ready_ranks);
        IF done.waiting_runs IS NOT NULL THEN
            PERFORM millrace_internal.timers_set(in_shard, done.waiting_runs, done.waiting_steps, done.waiting_tokens, done.waiting_due);
        END IF;
        EXIT WHEN done.skipped_runs IS NULL;
        -- what was skipped has ended too, and badly
        rest := millrace_internal.settle_skipped(in_shard, done.skipped_runs, done.skipped_defs);
        ended_runs := ended_runs || rest.ended_runs;
        ended_closing := ended_closing || rest.ended_closing;
        hit_runs := rest.hit_runs; hit_defs := rest.hit_defs; hit_n := rest.hit_n; hit_bad := rest.hit_n;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.settle(smallint, bigint[], integer[], integer[], integer[], integer, bigint, integer[], integer[], integer[], integer) IS
'Counts dependents down and decides those that have no need left.';

-- All that decides about the hits of one wave. A statement of its own, after the own rows were locked: it must see a pause
-- or cancel that was committed while the call waited for them (docs/locking.md).
CREATE OR REPLACE FUNCTION millrace_internal.settle_plan(
    in_shard smallint, hit_runs bigint[], hit_defs integer[], hit_n integer[], hit_bad integer[],
    OUT runs bigint[], OUT defs integer[], OUT versions integer[], OUT n integer[], OUT bad integer[], OUT needs_counts integer[], OUT rules smallint[],
    OUT delays double precision[], OUT paused boolean[], OUT untouched boolean[], OUT queues integer[], OUT handlers integer[], OUT priorities smallint[],
    OUT tenants integer[], OUT ranks real[], OUT promising boolean[], OUT partial_runs bigint[], OUT partial_defs integer[], OUT moot_runs bigint[],
    OUT falling_runs bigint[], OUT falling_defs integer[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    SELECT array_agg(h.run_id), array_agg(h.def_no), array_agg(d.version_id), array_agg(h.n), array_agg(h.bad), array_agg(d.needs_count), array_agg(d.rule),
           array_agg(d.delay), array_agg(r.state = 2), array_agg(s.step_no IS NULL AND d.needs_count = h.n), array_agg(d.queue_id), array_agg(d.handler_id),
           array_agg(millrace_internal.effective_priority(r.priority, d.priority)), array_agg(r.tenant_id), array_agg(d.rank),
           -- likely to become ready in this call, and free to be handed over
           array_agg(coalesce(s.needs_left, d.needs_count) = h.n AND (d.rule = 1 OR h.bad + coalesce(s.needs_bad, 0) = 0) AND d.delay IS NULL AND r.state = 1),
           array_agg(h.run_id) FILTER (WHERE s.step_no IS NULL AND d.needs_count > h.n),
           array_agg(h.def_no) FILTER (WHERE s.step_no IS NULL AND d.needs_count > h.n),
           array_agg(DISTINCT h.run_id) FILTER (WHERE s.state <> 0),
           -- skipped at the latest when its last need ends, and others with it
           array_agg(h.run_id) FILTER (WHERE d.rule = 0 AND h.bad + coalesce(s.needs_bad, 0) > 0 AND d.dependents IS NOT NULL),
           array_agg(h.def_no) FILTER (WHERE d.rule = 0 AND h.bad + coalesce(s.needs_bad, 0) > 0 AND d.dependents IS NOT NULL)
    INTO runs, defs, versions, n, bad, needs_counts, rules, delays, paused, untouched, queues, handlers, priorities, tenants, ranks, promising, partial_runs, partial_defs, moot_runs,
         falling_runs, falling_defs
    FROM (SELECT * FROM unnest(hit_runs, hit_defs, hit_n, hit_bad) h (run_id, def_no, n, bad)
          WHERE (h.run_id & 255) = in_shard ORDER BY h.run_id, h.def_no) h
    JOIN millrace_internal.run r ON r.run_id = h.run_id AND r.shard = in_shard
    JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = h.def_no
    LEFT JOIN millrace_internal.step s ON s.run_id = h.run_id AND s.step_no = h.def_no AND s.shard = in_shard;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_plan(smallint, bigint[], integer[], integer[], integer[]) IS 'Reads what decides about dependents. Changes nothing.';

-- Which of the steps that become ready may be started for the reporting agent at once: those it serves and has room for,
-- best first, and only where nothing that waits for the same queue and handler goes before.
CREATE OR REPLACE FUNCTION millrace_internal.handover(
    in_shard smallint, runs bigint[], defs integer[], queues integer[], handlers integer[], priorities smallint[], tenants integer[], ranks real[],
    promising boolean[], in_queues integer[], in_handlers integer[], rooms integer[], max_start integer)
RETURNS boolean[] LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN (
        WITH hit AS MATERIALIZED (
            SELECT u.* FROM unnest(runs, defs, queues, handlers, priorities, tenants, ranks, promising,
                       CASE WHEN true IN (SELECT unnest(promising)) THEN millrace_internal.sink_sort_first(in_shard, queues, handlers, priorities, tenants, runs, ranks, defs) END)
                 WITH ORDINALITY u (run_id, def_no, queue_id, handler_id, priority, tenant_id, rank, promising, first, ord)),
        fit AS MATERIALIZED (
            SELECT h.ord, row_number() OVER (ORDER BY h.priority, h.run_id, h.rank DESC, h.def_no) AS nth,
                   row_number() OVER (PARTITION BY h.handler_id ORDER BY h.priority, h.run_id, h.rank DESC, h.def_no) AS nth_of_handler, f.room
            FROM hit h JOIN unnest(in_handlers, rooms) f (handler_id, room) USING (handler_id)
            WHERE h.promising AND h.first AND h.queue_id = ANY (in_queues))
        SELECT array_agg(f.ord IS NOT NULL ORDER BY h.ord)
        FROM hit h LEFT JOIN fit f ON f.ord = h.ord AND f.nth <= max_start AND f.nth_of_handler <= f.room);
END $$;
COMMENT ON FUNCTION millrace_internal.handover(smallint, bigint[], integer[], integer[], integer[], smallint[], integer[], real[], boolean[], integer[], integer[], integer[], integer) IS
'Which dependents the reporting agent gets at once.';

-- The rule of a step, once one more batch of its needs has ended. Inlined into the statements that use it.
CREATE OR REPLACE FUNCTION millrace_internal.decided(needs_left integer, n integer, rule smallint, bad integer, good_state smallint)
RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN needs_left > n THEN 0::smallint WHEN rule = 0 AND bad > 0 THEN 12::smallint ELSE good_state END
$$;
COMMENT ON FUNCTION millrace_internal.decided(integer, integer, smallint, integer, smallint) IS
'pending while needs are left, skipped where all_completed finds a bad one, else the state that the step takes when its rule holds.';

CREATE OR REPLACE FUNCTION millrace_internal.settle_apply(
    in_shard smallint, runs bigint[], defs integer[], versions integer[], n integer[], bad integer[], needs_counts integer[], rules smallint[],
    delays double precision[], paused boolean[], untouched boolean[], queues integer[], handlers integer[], priorities smallint[], tenants integer[],
    ranks real[], may boolean[], in_agent_id integer, in_receipt_no bigint,
    OUT started_runs bigint[], OUT started_steps integer[], OUT tokens integer[], OUT attempts integer[],
    OUT ready_runs bigint[], OUT ready_steps integer[], OUT ready_queues integer[], OUT ready_handlers integer[], OUT ready_priorities smallint[],
    OUT ready_tenants integer[], OUT ready_ranks real[],
    OUT waiting_runs bigint[], OUT waiting_steps integer[], OUT waiting_tokens integer[], OUT waiting_due timestamptz[],
    OUT skipped_runs bigint[], OUT skipped_defs integer[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
    xact   bigint := pg_current_xact_id()::text::bigint;
BEGIN
    WITH hit AS MATERIALIZED (
        SELECT u.*, CASE WHEN u.delay IS NOT NULL THEN 1 WHEN u.paused THEN 3 WHEN u.may THEN 4 ELSE 2 END::smallint AS good_state
        FROM unnest(runs, defs, versions, n, bad, needs_counts, rules, delays, paused, untouched, queues, handlers, priorities, tenants, ranks, may)
             u (run_id, def_no, version_id, n, bad, needs_count, rule, delay, paused, untouched, queue_id, handler_id, priority, tenant_id, rank, may)
        WHERE (u.run_id & 255) = in_shard),
    made AS MATERIALIZED (
        -- all needs ended in this call and nothing has touched the step before: its first row is its decided row
        SELECT h.*, millrace_internal.decided(h.needs_count, h.n, h.rule, h.bad, h.good_state) AS state FROM hit h WHERE h.untouched),
    inserted AS (
        INSERT INTO millrace_internal.step (shard, run_id, step_no, version_id, def_no, state, attempts, token, needs_bad, agent_id, receipt_no, ready_at, started_at, finished_at)
        SELECT in_shard, m.run_id, m.def_no, m.version_id, m.def_no, m.state, (m.state = 4)::integer, (m.state = 4)::integer, m.bad,
               CASE WHEN m.state = 4 THEN in_agent_id END, CASE WHEN m.state = 4 THEN in_receipt_no END,
               CASE WHEN m.state IN (2, 3, 4) THEN now_at WHEN m.state = 1 THEN now_at + make_interval(secs => m.delay) END, CASE WHEN m.state = 4 THEN now_at END, CASE WHEN m.state = 12 THEN now_at END
        FROM made m),
    counted AS (
        UPDATE millrace_internal.step s
        SET needs_left = s.needs_left - h.n,
            needs_bad = s.needs_bad + h.bad,
            state = millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.good_state),
            attempts = s.attempts + (millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.good_state) = 4)::integer,
            token = s.token + (millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.good_state) = 4)::integer,
            agent_id = CASE millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.good_state) WHEN 4 THEN in_agent_id ELSE s.agent_id END,
            receipt_no = CASE millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.good_state) WHEN 4 THEN in_receipt_no ELSE s.receipt_no END,
            ready_at = CASE WHEN millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.good_state) IN (2, 3, 4) THEN now_at
                            WHEN millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.good_state) = 1 THEN now_at + make_interval(secs => h.delay)
                            ELSE s.ready_at END,
            started_at = CASE millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.good_state) WHEN 4 THEN now_at ELSE s.started_at END,
            finished_at = CASE millrace_internal.decided(s.needs_left, h.n, h.rule, s.needs_bad + h.bad, h.good_state) WHEN 12 THEN now_at END
        FROM hit h
        WHERE NOT h.untouched AND s.run_id = h.run_id AND s.step_no = h.def_no AND s.shard = in_shard AND s.state = 0
        RETURNING h.run_id, h.def_no, h.version_id, s.state, s.attempts, s.token, h.queue_id, h.handler_id, h.priority, h.tenant_id, h.rank, h.delay),
    decision AS MATERIALIZED (
        SELECT m.run_id, m.def_no, m.version_id, m.state, (m.state = 4)::integer AS attempts, (m.state = 4)::integer AS token,
               m.queue_id, m.handler_id, m.priority, m.tenant_id, m.rank, now_at + make_interval(secs => m.delay) AS due_at FROM made m
        UNION ALL
        SELECT c.run_id, c.def_no, c.version_id, c.state, c.attempts, c.token, c.queue_id, c.handler_id, c.priority, c.tenant_id, c.rank,
               now_at + make_interval(secs => c.delay) FROM counted c WHERE c.state <> 0),
    told AS (
        INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, agent_id, attempt, shard, kind, data)
        SELECT d.run_id, now_at, xact, d.def_no, CASE d.state WHEN 4 THEN in_agent_id END, d.attempts, in_shard,
               CASE d.state WHEN 4 THEN 8 WHEN 1 THEN 9 ELSE 13 END, CASE d.state WHEN 1 THEN jsonb_build_object('due_at', d.due_at) END
        FROM decision d WHERE d.state IN (1, 4, 12))
    SELECT array_agg(d.run_id) FILTER (WHERE d.state = 4), array_agg(d.def_no) FILTER (WHERE d.state = 4),
           array_agg(d.token) FILTER (WHERE d.state = 4), array_agg(d.attempts) FILTER (WHERE d.state = 4),
           array_agg(d.run_id) FILTER (WHERE d.state = 2), array_agg(d.def_no) FILTER (WHERE d.state = 2),
           array_agg(d.queue_id) FILTER (WHERE d.state = 2), array_agg(d.handler_id) FILTER (WHERE d.state = 2),
           array_agg(d.priority) FILTER (WHERE d.state = 2), array_agg(d.tenant_id) FILTER (WHERE d.state = 2), array_agg(d.rank) FILTER (WHERE d.state = 2),
           array_agg(d.run_id) FILTER (WHERE d.state = 1), array_agg(d.def_no) FILTER (WHERE d.state = 1),
           array_agg(d.token) FILTER (WHERE d.state = 1), array_agg(d.due_at) FILTER (WHERE d.state = 1),
           array_agg(d.run_id) FILTER (WHERE d.state = 12), array_agg(d.def_no) FILTER (WHERE d.state = 12)
    INTO started_runs, started_steps, tokens, attempts, ready_runs, ready_steps, ready_queues, ready_handlers, ready_priorities, ready_tenants, ready_ranks,
         waiting_runs, waiting_steps, waiting_tokens, waiting_due, skipped_runs, skipped_defs
    FROM decision d;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_apply(smallint, bigint[], integer[], integer[], integer[], integer[], integer[], smallint[], double precision[],
    boolean[], boolean[], integer[], integer[], smallint[], integer[], real[], boolean[], integer, bigint) IS
'Writes the decisions of one wave. Tables changed: step, event.';

-- What follows from steps that were skipped: the next wave's hits, and the closing steps among them.
CREATE OR REPLACE FUNCTION millrace_internal.settle_skipped(in_shard smallint, skipped_runs bigint[], skipped_defs integer[],
    OUT hit_runs bigint[], OUT hit_defs integer[], OUT hit_n integer[], OUT ended_runs bigint[], OUT ended_closing integer[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
    WITH skipped AS MATERIALIZED (
        SELECT u.run_id, d.dependents, d.closing
        FROM unnest(skipped_runs, skipped_defs) u (run_id, def_no)
        JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard
        JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = u.def_no),
    hit AS (SELECT s.run_id, dependent, count(*)::integer AS n FROM skipped s, unnest(s.dependents) dependent GROUP BY 1, 2),
    ended AS (SELECT s.run_id, count(*)::integer AS closing FROM skipped s WHERE s.closing GROUP BY 1)
    SELECT h.runs, h.defs, h.n, e.runs, e.closing
    FROM (SELECT array_agg(run_id ORDER BY run_id, dependent) AS runs, array_agg(dependent ORDER BY run_id, dependent) AS defs,
                 array_agg(n ORDER BY run_id, dependent) AS n FROM hit) h,
         (SELECT array_agg(run_id) AS runs, array_agg(closing) AS closing FROM ended) e
$$;
COMMENT ON FUNCTION millrace_internal.settle_skipped(smallint, bigint[], integer[]) IS 'Dependents of skipped steps, each with how many of its needs were skipped.';

CREATE OR REPLACE FUNCTION millrace_internal.timers_set(in_shard smallint, run_ids bigint[], step_nos integer[], tokens integer[], due timestamptz[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO millrace_internal.timer (shard, due_at, run_id, step_no, token)
    SELECT in_shard, u.due_at, u.run_id, u.step_no, u.token FROM unnest(due, run_ids, step_nos, tokens) u (due_at, run_id, step_no, token)
    ON CONFLICT (due_at, run_id, step_no, shard) DO UPDATE SET token = excluded.token;
    PERFORM millrace_internal.keeper_wake();
END $$;
COMMENT ON FUNCTION millrace_internal.timers_set(smallint, bigint[], integer[], integer[], timestamptz[]) IS 'When waiting steps are due. Tables changed: timer.';
-- Purpose: deciding over running steps and all that follows, in one transaction; and the report that agents call.

-- The one way in which a running step ends or goes back, whoever says so: its agent, the keeper, an operator.
-- Arguments: in_agent_id  whose steps they are; codes as in logic/finish.sql
--            in_receipt_no ... max_start  to whom dependents may be handed over; null: they go to the sink
-- Returns:   places of what was applied; what was handed over
-- Locks: own rows, dependents, run rows, receipts, each ascending. Tables changed: step, output, event, run, receipt, timer, ready (plain tier).
CREATE OR REPLACE FUNCTION millrace_internal.decide(
    in_shard smallint, in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], codes smallint[],
    outputs jsonb[], errors text[], elapsed double precision[],
    in_receipt_no bigint DEFAULT NULL, in_queues integer[] DEFAULT NULL, in_handlers integer[] DEFAULT NULL, rooms integer[] DEFAULT NULL, max_start integer DEFAULT 0,
    OUT applied integer[], OUT started_runs bigint[], OUT started_steps integer[], OUT started_tokens integer[], OUT started_attempts integer[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own           record;
    next          record;
    more_ended    bigint[];     -- runs of closing steps that were skipped
    more_closing  integer[];
    moot_runs     bigint[];     -- runs where a dependent had been decided before what it needs
BEGIN
    IF codes && '{2, 3, 4, 6}' THEN
        PERFORM millrace_internal.lock_doomed(in_shard, in_agent_id, run_ids, step_nos, tokens, codes);
    END IF;
    own := millrace_internal.finish(in_shard, in_agent_id, run_ids, step_nos, tokens, codes, errors, elapsed);
    applied := own.applied;
    IF applied IS NULL THEN
        RETURN;
    END IF;
    IF outputs IS NOT NULL THEN
        INSERT INTO millrace_internal.output (shard, run_id, step_no, output)
        SELECT in_shard, u.run_id, u.step_no, u.output
        FROM unnest(run_ids, step_nos, codes, outputs) WITH ORDINALITY u (run_id, step_no, code, output, ord)
        WHERE u.output IS NOT NULL AND u.code = 1 AND u.ord = ANY (own.applied);
    END IF;
    IF own.hit_runs IS NOT NULL THEN
        next := millrace_internal.settle(in_shard, own.hit_runs, own.hit_defs, own.hit_n, own.hit_bad,
                                         in_agent_id, in_receipt_no, in_queues, in_handlers, rooms, max_start);
        started_runs := next.started_runs; started_steps := next.started_steps;
        started_tokens := next.tokens; started_attempts := next.attempts;
        more_ended := next.ended_runs; more_closing := next.ended_closing; moot_runs := next.moot_runs;
    END IF;
    IF own.ready_runs IS NOT NULL THEN
        PERFORM millrace_internal.make_ready(in_shard, own.ready_runs, own.ready_steps);
    END IF;
    IF own.waiting_runs IS NOT NULL THEN
        PERFORM millrace_internal.timers_set(in_shard, own.waiting_runs, own.waiting_steps, own.waiting_tokens, own.waiting_due);
    END IF;
    IF own.ended_runs IS NOT NULL OR more_ended IS NOT NULL THEN
        PERFORM millrace_internal.close_runs(in_shard, own.ended_runs || more_ended, own.ended_closing || more_closing,
                                             own.ended_failed || array_fill(0, ARRAY[coalesce(cardinality(more_ended), 0)]));
    END IF;
    IF moot_runs IS NOT NULL THEN
        PERFORM millrace_internal.run_recount(in_shard, u.run_id) FROM (SELECT DISTINCT run_id FROM unnest(moot_runs) run_id ORDER BY 1) u;
    END IF;
    PERFORM millrace_internal.receipts_settle(in_shard, in_agent_id, own.settled_receipts, own.settled_n);
END $$;
COMMENT ON FUNCTION millrace_internal.decide(smallint, integer, bigint[], integer[], integer[], smallint[], jsonb[], text[], double precision[], bigint, integer[], integer[], integer[], integer) IS
'Outcomes of running steps, with everything that follows from them.';

-- Steps that have been set to ready and whose rows this call holds: into the sink, or parked if their run is paused.
CREATE OR REPLACE FUNCTION millrace_internal.make_ready(in_shard smallint, run_ids bigint[], step_nos integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    r record;
BEGIN
    UPDATE millrace_internal.step s SET state = 3
    FROM unnest(run_ids, step_nos) u (run_id, step_no)
    JOIN millrace_internal.run n ON n.run_id = u.run_id AND n.shard = in_shard AND n.state = 2
    WHERE (u.run_id & 255) = in_shard AND s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2;
    SELECT array_agg(s.run_id) AS runs, array_agg(s.step_no) AS steps, array_agg(d.queue_id) AS queues, array_agg(d.handler_id) AS handlers,
           array_agg(millrace_internal.effective_priority(n.priority, d.priority)) AS priorities, array_agg(n.tenant_id) AS tenants, array_agg(d.rank) AS ranks
    INTO r
    FROM unnest(run_ids, step_nos) u (run_id, step_no)
    JOIN millrace_internal.run n ON n.run_id = u.run_id AND n.shard = in_shard
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 2
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    WHERE (u.run_id & 255) = in_shard;
    PERFORM millrace_internal.sink_push(in_shard, r.runs, r.steps, r.queues, r.handlers, r.priorities, r.tenants, r.ranks);
END $$;
COMMENT ON FUNCTION millrace_internal.make_ready(smallint, bigint[], integer[]) IS 'Publishes steps that are ready again. Tables changed: step (parked), ready (plain tier).';

-- Arguments: per run (which may occur twice) the closing steps that ended, and the steps that failed
-- Locks: run rows, ascending. Tables changed: run, event; all that on_failure: cancel cancels.
CREATE OR REPLACE FUNCTION millrace_internal.close_runs(in_shard smallint, run_ids bigint[], closing integer[], failed integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    doomed bigint;
BEGIN
    WITH ended AS MATERIALIZED (
        SELECT u.run_id, sum(u.closing)::integer AS closing, sum(u.failed)::integer AS failed
        FROM unnest(run_ids, closing, failed) u (run_id, closing, failed) WHERE (u.run_id & 255) = in_shard GROUP BY 1 ORDER BY 1),
    closed AS (
        UPDATE millrace_internal.run r
        SET closing_left = r.closing_left - e.closing, steps_failed = r.steps_failed + e.failed,
            state = CASE WHEN r.closing_left > e.closing THEN r.state WHEN r.steps_failed + e.failed > 0 THEN 11 ELSE 10 END,
            finished_at = CASE WHEN r.closing_left <= e.closing THEN clock_timestamp() END
        FROM ended e WHERE r.run_id = e.run_id AND r.shard = in_shard
        RETURNING r.run_id, r.state, r.finished_at)
    INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind)
    SELECT c.run_id, c.finished_at, pg_current_xact_id()::text::bigint, in_shard, CASE c.state WHEN 10 THEN 4 ELSE 5 END
    FROM closed c WHERE c.finished_at IS NOT NULL;

    IF 0 < ANY (failed) THEN
        FOR doomed IN
            SELECT DISTINCT r.run_id FROM unnest(run_ids, failed) u (run_id, failed)
            JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard AND r.finished_at IS NULL
            JOIN millrace_internal.version v ON v.version_id = r.version_id AND v.on_failure = 1
            WHERE u.failed > 0 ORDER BY 1
        LOOP
            PERFORM millrace_internal.cancel_rest(in_shard, doomed, 11::smallint, 'a step failed');
        END LOOP;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.close_runs(smallint, bigint[], integer[], integer[]) IS 'Counts closing steps on their runs and ends the runs that have none left.';

-- Locks: receipts, ascending. Tables changed: receipt.
CREATE OR REPLACE FUNCTION millrace_internal.receipts_settle(in_shard smallint, in_agent_id integer, receipts bigint[], n integer[])
RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    gone integer;
BEGIN
    -- reports of one agent may run side by side on one receipt: lock in order, then take off or take away
    PERFORM FROM (SELECT receipt_no FROM unnest(receipts) u (receipt_no) ORDER BY 1) u
    CROSS JOIN LATERAL (SELECT FROM millrace_internal.receipt r
                        WHERE r.agent_id = in_agent_id AND r.receipt_no = u.receipt_no AND r.shard = in_shard FOR UPDATE) r;
    DELETE FROM millrace_internal.receipt r USING unnest(receipts, n) u (receipt_no, n)
    WHERE r.agent_id = in_agent_id AND r.receipt_no = u.receipt_no AND r.shard = in_shard AND r.open <= u.n;
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone < cardinality(receipts) THEN
        UPDATE millrace_internal.receipt r SET open = r.open - u.n FROM unnest(receipts, n) u (receipt_no, n)
        WHERE r.agent_id = in_agent_id AND r.receipt_no = u.receipt_no AND r.shard = in_shard;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.receipts_settle(smallint, integer, bigint[], integer[]) IS 'Takes settled steps off their receipts; the last one takes the receipt away.';

-- Arrays of one length, or an error; the rows themselves are judged one by one.
CREATE OR REPLACE FUNCTION millrace_internal.report_check(n integer, step_nos integer[], tokens integer[], outcomes text[], outputs text[], errors text[], elapsed double precision[])
RETURNS void LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF n > 100000 THEN
        PERFORM millrace_internal.fail('MR002', format('%s steps in one report are too many', n), NULL, 'Report at most 100,000 steps a call.');
    ELSIF n <> coalesce(cardinality(step_nos), 0) OR n <> coalesce(cardinality(tokens), 0) OR n <> coalesce(cardinality(outcomes), 0)
          OR n <> coalesce(cardinality(outputs), n) OR n <> coalesce(cardinality(errors), n) OR n <> coalesce(cardinality(elapsed), n) THEN
        PERFORM millrace_internal.fail('MR001', 'the arrays of the report differ in length', NULL, 'Give run_ids, step_nos, tokens and outcomes one element per step; outputs, errors and elapsed too, or null.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.report_check(integer, integer[], integer[], text[], text[], text[], double precision[]) IS 'MR001 for arrays that do not match.';

-- Returns: outcomes as codes (0 where the row is rejected), outputs as JSON, and why a row is rejected.
CREATE OR REPLACE FUNCTION millrace_internal.report_codes(outcomes text[], outputs text[], OUT codes smallint[], OUT parsed jsonb[], OUT problems text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF outputs IS NULL OR cardinality(array_remove(outputs, NULL)) = 0 THEN
        SELECT array_agg(coalesce(array_position(ARRAY['completed', 'failed', 'fatal', 'timed_out', 'released'], u.outcome), 0)::smallint ORDER BY u.ord)
        INTO codes FROM unnest(outcomes) WITH ORDINALITY u (outcome, ord);
    ELSE
        SELECT array_agg(CASE WHEN j.problem IS NOT NULL THEN 0
                              ELSE coalesce(array_position(ARRAY['completed', 'failed', 'fatal', 'timed_out', 'released'], u.outcome), 0) END::smallint ORDER BY u.ord),
               array_agg(j.value ORDER BY u.ord), array_agg('MR042 ' || j.problem ORDER BY u.ord)
        INTO codes, parsed, problems
        FROM unnest(outcomes, outputs) WITH ORDINALITY u (outcome, output, ord)
        CROSS JOIN LATERAL millrace_internal.try_jsonb(u.output) j;
    END IF;
    IF 0 = ANY (codes) THEN
        problems := ARRAY(SELECT CASE WHEN u.code = 0 THEN coalesce(u.problem, format('MR001 "%s" is not an outcome (completed, failed, fatal, timed_out, released)', u.outcome)) END
                          FROM unnest(outcomes, codes, problems) WITH ORDINALITY u (outcome, code, problem, ord) ORDER BY u.ord);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.report_codes(text[], text[]) IS 'What an agent says, judged row by row.';

CREATE OR REPLACE FUNCTION millrace_internal.report_answers(in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], problems text[], applied integer[])
RETURNS TABLE (answer text, code text, message text, run_id bigint, step_no integer, token integer)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
BEGIN
    IF cardinality(applied) = cardinality(run_ids) THEN
        RETURN QUERY SELECT 'applied', NULL::text, NULL::text, u.* FROM unnest(run_ids, step_nos, tokens) u;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT a.answer,
           CASE a.answer WHEN 'rejected' THEN left(a.problem, 5) WHEN 'stale' THEN 'MR041' WHEN 'unknown' THEN 'MR014' END,
           CASE a.answer WHEN 'rejected' THEN substr(a.problem, 7)
                WHEN 'stale' THEN format('token %s of step %s of run %s is no longer this agent''s', a.token, a.step_no, a.run_id)
                WHEN 'unknown' THEN format('step %s of run %s was never handed out with token %s', a.step_no, a.run_id, a.token) END,
           a.run_id, a.step_no, a.token
    FROM (SELECT u.*, CASE WHEN u.ord = ANY (applied) THEN 'applied'
                           WHEN u.problem IS NOT NULL THEN 'rejected'
                           WHEN s.token >= u.token AND u.token > 0 THEN 'stale' ELSE 'unknown' END AS answer
          FROM unnest(run_ids, step_nos, tokens, problems) WITH ORDINALITY u (run_id, step_no, token, problem, ord)
          LEFT JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = (u.run_id & 255)) a
    ORDER BY a.ord;
END $$;
COMMENT ON FUNCTION millrace_internal.report_answers(integer, bigint[], integer[], integer[], text[], integer[]) IS 'One answer per reported step, in order.';

-- Free slots that are left once steps have been handed over.
CREATE OR REPLACE FUNCTION millrace_internal.rooms_left(in_shard smallint, handler_ids integer[], rooms integer[], started_runs bigint[], started_steps integer[])
RETURNS integer[] LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF started_runs IS NULL THEN
        RETURN rooms;
    ELSIF cardinality(handler_ids) = 1 THEN
        RETURN ARRAY[rooms[1] - cardinality(started_runs)];
    END IF;
    RETURN ARRAY(
        SELECT h.room - coalesce(t.n, 0)::integer
        FROM unnest(handler_ids, rooms) WITH ORDINALITY h (handler_id, room, ord)
        LEFT JOIN (SELECT d.handler_id, count(*) AS n
                   FROM unnest(started_runs, started_steps) u (run_id, step_no)
                   JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard
                   JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = u.step_no GROUP BY 1) t USING (handler_id)
        ORDER BY h.ord);
END $$;
COMMENT ON FUNCTION millrace_internal.rooms_left(smallint, integer[], integer[], bigint[], integer[]) IS 'Free slots by handler after a hand-over.';

CREATE OR REPLACE FUNCTION millrace.report(
    agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], outcomes text[], outputs text[] DEFAULT NULL, errors text[] DEFAULT NULL,
    elapsed double precision[] DEFAULT NULL, max_steps integer DEFAULT 0, capacity jsonb DEFAULT NULL, max_bytes integer DEFAULT 8388608)
RETURNS TABLE (answer text, code text, message text, run_id bigint, step_no integer, token integer, attempt integer, workflow text, key text, handler text,
               settings jsonb, input jsonb, timeout double precision, element integer, trace text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    agent    millrace_internal.agent;
    n        integer := coalesce(cardinality(report.run_ids), 0);
    free     record;
    receipt  bigint;
    checked  record;
    handed_runs bigint[];
    handed_steps integer[];
    handed_tokens integer[];
    handed_attempts integer[];
    done     record;
    more     record;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    agent := millrace_internal.agent_get(report.agent_id);
    free := millrace_internal.agent_capacity(agent, report.capacity, report.max_steps);
    PERFORM millrace_internal.report_check(n, report.step_nos, report.tokens, report.outcomes, report.outputs, report.errors, report.elapsed);
    receipt := nextval('millrace_internal.receipt_no_seq');

    IF n > 0 THEN
        checked := millrace_internal.report_codes(report.outcomes, report.outputs);
        done := millrace_internal.decide(0::smallint, agent.agent_id, report.run_ids, report.step_nos, report.tokens, checked.codes,
                                         checked.parsed, report.errors, report.elapsed,
                                         receipt, agent.queues, free.handler_ids, free.rooms, report.max_steps);
        RETURN QUERY
        SELECT a.answer, a.code, a.message, a.run_id, a.step_no, a.token, NULL::integer, NULL::text, NULL::text, NULL::text,
               NULL::jsonb, NULL::jsonb, NULL::double precision, NULL::integer, NULL::text
        FROM millrace_internal.report_answers(agent.agent_id, report.run_ids, report.step_nos, report.tokens, checked.problems, done.applied) a;
        handed_runs := done.started_runs; handed_steps := done.started_steps;
        handed_tokens := done.started_tokens; handed_attempts := done.started_attempts;
    END IF;
    more := millrace_internal.start_from_sink(0::smallint, agent.agent_id, receipt, agent.queues, free.handler_ids,
        millrace_internal.rooms_left(0::smallint, free.handler_ids, free.rooms, handed_runs, handed_steps),
        report.max_steps - coalesce(cardinality(handed_runs), 0));
    RETURN QUERY
    SELECT 'started', NULL::text, NULL::text, w.*
    FROM millrace_internal.hand_out(0::smallint, agent, receipt, handed_runs || more.run_ids, handed_steps || more.step_nos,
                                    handed_tokens || more.tokens, handed_attempts || more.attempts, report.max_bytes) w;
END $$;
COMMENT ON FUNCTION millrace.report(integer, bigint[], integer[], integer[], text[], text[], text[], double precision[], integer, jsonb, integer) IS
'Reports outcomes of steps, answers each in order (applied, stale, unknown, rejected), and starts up to max_steps further ones: dependents handed over, then others.
A bad row is rejected alone. Errors: MR001 arrays that do not match, MR021 unknown agent, MR023 handler, MR043 isolation. Tables changed and locks: as decide and claim.';
-- Purpose: steps go back to where they can be claimed: given back by their agent, or taken from one that is lost.

CREATE OR REPLACE FUNCTION millrace.release(agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[])
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n integer := coalesce(cardinality(run_ids), 0);
BEGIN
    PERFORM millrace_internal.require_read_committed();
    PERFORM millrace_internal.agent_get(release.agent_id);
    PERFORM millrace_internal.report_check(n, step_nos, tokens, array_fill(''::text, ARRAY[n]), NULL, NULL, NULL);
    RETURN coalesce(cardinality((millrace_internal.decide(0::smallint, release.agent_id, run_ids, step_nos, tokens,
                                                          array_fill(5::smallint, ARRAY[n]), NULL, NULL, NULL)).applied), 0);
END $$;
COMMENT ON FUNCTION millrace.release(integer, bigint[], integer[], integer[]) IS
'Gives steps back unfinished; the attempt does not count. Answers how many were still the agent''s. Errors: MR001, MR021, MR043. Tables changed and locks: as decide.';

-- After a call whose answer was lost with the connection: the agent holds steps that it has never heard of, and its
-- heartbeats would keep them for ever. It says what it knows of, and gives back the rest.
CREATE OR REPLACE FUNCTION millrace.release_others(agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[])
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n integer := coalesce(cardinality(run_ids), 0);
BEGIN
    PERFORM millrace_internal.require_read_committed();
    PERFORM millrace_internal.agent_get(release_others.agent_id);
    PERFORM millrace_internal.report_check(n, step_nos, tokens, array_fill(''::text, ARRAY[n]), NULL, NULL, NULL);
    RETURN millrace_internal.take_from(0::smallint, release_others.agent_id, 5::smallint, coalesce(run_ids, '{}'), coalesce(step_nos, '{}'), coalesce(tokens, '{}'));
END $$;
COMMENT ON FUNCTION millrace.release_others(integer, bigint[], integer[], integer[]) IS
'Gives back all that an agent holds but these steps; the attempts do not count. For an agent that has lost an answer; it has no other call under way.
Answers how many. Errors: MR001, MR021, MR043. Tables changed and locks: as release.';

-- Takes everything that an agent holds and decides it with one code: 5 given back, 6 lost. Receipt by receipt, so that
-- nothing but what the agent holds is read. kept_*: steps that it keeps.
CREATE OR REPLACE FUNCTION millrace_internal.take_from(in_shard smallint, in_agent_id integer, code smallint,
    kept_runs bigint[] DEFAULT '{}', kept_steps integer[] DEFAULT '{}', kept_tokens integer[] DEFAULT '{}')
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    held  record;
    taken integer[];
    total integer := 0;
BEGIN
    SELECT array_agg(h.run_id) AS runs, array_agg(h.step_no) AS steps, array_agg(h.token) AS tokens, count(*)::integer AS n INTO held
    FROM (SELECT u.run_id, u.step_no, u.token
          FROM millrace_internal.receipt r CROSS JOIN LATERAL unnest(r.run_ids, r.step_nos, r.tokens) u (run_id, step_no, token)
          JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard
               AND s.state = 4 AND s.token = u.token AND s.agent_id = in_agent_id
          WHERE r.agent_id = in_agent_id AND r.shard = in_shard AND (u.run_id & 255) = in_shard
            AND NOT EXISTS (SELECT FROM unnest(kept_runs, kept_steps, kept_tokens) k (run_id, step_no, token)
                            WHERE k.run_id = u.run_id AND k.step_no = u.step_no AND k.token = u.token)
          ORDER BY u.run_id, u.step_no LIMIT 100000) h;
    IF held.n > 0 THEN
        taken := (millrace_internal.decide(in_shard, in_agent_id, held.runs, held.steps, held.tokens, array_fill(code, ARRAY[held.n]), NULL,
                                            CASE WHEN code = 6 THEN array_fill('agent lost'::text, ARRAY[held.n]) END, NULL)).applied;
        total := coalesce(cardinality(taken), 0);
        IF code = 6 AND total > 0 THEN
            PERFORM millrace_internal.revoke(in_agent_id, held.runs, held.steps, held.tokens, 'lost');
        END IF;
    END IF;
    -- what is left of the receipts names only steps that others have ended since
    DELETE FROM millrace_internal.receipt r
    WHERE r.agent_id = in_agent_id AND r.shard = in_shard
      AND NOT EXISTS (SELECT FROM unnest(r.run_ids, r.step_nos, r.tokens) u (run_id, step_no, token)
                      JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard
                           AND s.state = 4 AND s.token = u.token AND s.agent_id = in_agent_id);
    RETURN total;
END $$;
COMMENT ON FUNCTION millrace_internal.take_from(smallint, integer, smallint, bigint[], integer[], integer[]) IS 'Takes all that an agent holds from it. Time in what it holds. Tables changed: as decide, receipt, revocation.';

-- Notes for an agent that steps are no longer its own; its next heartbeat answers them.
CREATE OR REPLACE FUNCTION millrace_internal.revoke(in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], reason text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO millrace_internal.revocation (agent_id, run_id, step_no, token, reason)
    SELECT in_agent_id, u.run_id, u.step_no, u.token, revoke.reason FROM unnest(run_ids, step_nos, tokens) u (run_id, step_no, token)
    ON CONFLICT DO NOTHING;
    IF millrace_internal.setting('millrace.notify')::boolean THEN
        PERFORM pg_notify('millrace_revoked', in_agent_id::text);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.revoke(integer, bigint[], integer[], integer[], text) IS 'Tells an agent which steps it has lost: at once, or with its next heartbeat where millrace.notify is off. Tables changed: revocation.';

CREATE OR REPLACE FUNCTION millrace.deregister_agent(agent_id integer)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM millrace_internal.require_read_committed();
    PERFORM millrace_internal.agent_get(deregister_agent.agent_id);
    PERFORM millrace_internal.take_from(0::smallint, deregister_agent.agent_id, 5::smallint);
    DELETE FROM millrace_internal.revocation r WHERE r.agent_id = deregister_agent.agent_id;
    DELETE FROM millrace_internal.agent a WHERE a.agent_id = deregister_agent.agent_id;
END $$;
COMMENT ON FUNCTION millrace.deregister_agent(integer) IS 'The agent goes; what it still holds is given back. Errors: MR021, MR043. Tables changed: as release, agent.';
-- Purpose: a step of handler sql runs in the transaction that completes it: exactly once.

-- Apart from its caller, whose settings the step's own statement must not run with.
CREATE OR REPLACE FUNCTION millrace_internal.step_hold(in_shard smallint, in_run_id bigint, in_step_no integer)
RETURNS millrace_internal.step LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    held millrace_internal.step;
BEGIN
    SELECT * INTO held FROM millrace_internal.step s
    WHERE s.run_id = in_run_id AND s.step_no = in_step_no AND s.shard = in_shard FOR NO KEY UPDATE;
    RETURN held;
END $$;
COMMENT ON FUNCTION millrace_internal.step_hold(smallint, bigint, integer) IS 'Locks one step''s row and answers it.';

CREATE OR REPLACE FUNCTION millrace.execute_sql(agent_id integer, run_id bigint, step_no integer, token integer)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    in_shard smallint := (execute_sql.run_id & 255)::smallint;
    s        millrace_internal.step;
    d        millrace_internal.step_definition;
    v        record;
    given    record;
    result   jsonb;
    began    timestamptz;
    done     integer[];
BEGIN
    PERFORM millrace_internal.require_read_committed();
    PERFORM millrace_internal.agent_get(execute_sql.agent_id);
    -- the row is held from here to the commit: nobody else can end the step meanwhile
    s := millrace_internal.step_hold(in_shard, execute_sql.run_id, execute_sql.step_no);
    IF s.token IS DISTINCT FROM execute_sql.token OR s.state <> 4 OR s.agent_id IS DISTINCT FROM execute_sql.agent_id THEN
        PERFORM millrace_internal.fail('MR041', format('token %s of step %s of run %s is not agent %s''s', execute_sql.token, execute_sql.step_no, execute_sql.run_id, execute_sql.agent_id),
            CASE WHEN s.token IS NULL THEN 'There is no such step, or it was never handed out.' ELSE format('Its token is %s, its state %s.', s.token, millrace_internal.step_state_name(s.state)) END,
            'Drop the step: it has been cancelled, taken back, or done.');
    END IF;
    SELECT * INTO d FROM millrace_internal.step_definition d WHERE d.version_id = s.version_id AND d.def_no = s.def_no;
    IF d.handler <> 'sql' THEN
        PERFORM millrace_internal.fail('MR023', format('step "%s" is for handler "%s", not sql', d.key, d.handler));
    END IF;
    SELECT ver.defined_by, ver.search_path INTO v FROM millrace_internal.version ver WHERE ver.version_id = s.version_id;
    given := millrace_internal.input_of(in_shard, execute_sql.run_id, d);
    IF given.problem IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR044', substr(given.problem, 8), format('This is the input of step "%s".', d.key));
    END IF;
    began := clock_timestamp();
    result := millrace_internal.execute_as(v.defined_by, d.settings ->> 'statement', given.input, v.search_path, d.timeout);
    done := (millrace_internal.decide(in_shard, execute_sql.agent_id, ARRAY[execute_sql.run_id], ARRAY[execute_sql.step_no], ARRAY[execute_sql.token], ARRAY[1::smallint],
                                      ARRAY[result], NULL, ARRAY[extract(epoch FROM clock_timestamp() - began)::double precision])).applied;
    IF done IS NULL THEN
        -- the statement itself has cancelled its run
        PERFORM millrace_internal.fail('MR041', format('step %s of run %s was ended by its own statement', execute_sql.step_no, execute_sql.run_id));
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION millrace.execute_sql(integer, bigint, integer, integer) IS
'Runs a sql step with the rights of the role that defined the workflow and completes it, in this transaction. The output is the statement''s result: null for no row,
the value of a single column, an object for a row, an array for several. Errors: MR041 stale token, MR044 no input, MR023 not a sql step, those of the statement. Tables changed and locks: as decide.';
-- Purpose: one heartbeat per agent, not per step: renews the lease and tells what the agent must know.

CREATE OR REPLACE FUNCTION millrace.heartbeat(agent_id integer, queued_run_ids bigint[] DEFAULT '{}', queued_step_nos integer[] DEFAULT '{}')
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    agent   millrace_internal.agent := millrace_internal.agent_get(heartbeat.agent_id);
    plain   boolean := NOT millrace_internal.dispatcher_attached();
    next_at timestamptz;
    revoked jsonb;
    now_at  timestamptz;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    now_at := millrace_internal.clock();
    UPDATE millrace_internal.agent a SET lease_expires_at = now_at + a.lease, seen_at = now_at, lost = false WHERE a.agent_id = heartbeat.agent_id;
    IF cardinality(queued_run_ids) > 0 THEN
        PERFORM millrace_internal.timeouts_restart(0::smallint, heartbeat.agent_id, queued_run_ids, queued_step_nos, now_at);
    END IF;
    WITH told AS (DELETE FROM millrace_internal.revocation r WHERE r.agent_id = heartbeat.agent_id RETURNING r.*)
    SELECT jsonb_agg(jsonb_build_object('run_id', t.run_id, 'step_no', t.step_no, 'token', t.token, 'reason', t.reason)) INTO revoked FROM told t;
    IF plain AND pg_try_advisory_xact_lock(hashtext('millrace_internal.keeper')) THEN
        -- no background worker keeps time here: whichever agent comes first does
        next_at := millrace_internal.keep();
    END IF;
    RETURN jsonb_build_object(
        'lease_seconds', extract(epoch FROM agent.lease),
        'next_beat_seconds', CASE WHEN plain THEN greatest(0.02, least(extract(epoch FROM agent.lease) / 3, 1, extract(epoch FROM next_at - millrace_internal.clock())))
                                  ELSE extract(epoch FROM agent.lease) / 3 END,
        'claimable', millrace_internal.claimable(agent.queues, agent.handlers),
        'revoked', coalesce(revoked, '[]'));
END $$;
COMMENT ON FUNCTION millrace.heartbeat(integer, bigint[], integer[]) IS
'Renews an agent''s lease. Answers {"lease_seconds", "next_beat_seconds", "claimable", "revoked": [{"run_id", "step_no", "token", "reason"}]}.
Errors: MR021 unknown agent, MR043. Tables changed: agent, revocation, step (timeouts that start anew); on the plain tier all that the keeper changes.';

CREATE OR REPLACE FUNCTION millrace_internal.claimable(in_queues integer[], in_handlers integer[])
RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF millrace_internal.dispatcher_attached() THEN
        RETURN NOT millrace_internal.dispatcher_is_warm()
            OR EXISTS (SELECT FROM millrace_internal.dispatcher_stats() d WHERE d.depth > 0 AND d.queue_id = ANY (in_queues) AND d.handler_id = ANY (in_handlers));
    END IF;
    RETURN EXISTS (SELECT FROM unnest(in_queues) q, unnest(in_handlers) h
                   WHERE EXISTS (SELECT FROM millrace_internal.ready r WHERE r.queue_id = q AND r.handler_id = h));
END $$;
COMMENT ON FUNCTION millrace_internal.claimable(integer[], integer[]) IS 'Whether a claim might find something.';

-- Steps that wait in their agent's local queue: time there is not execution time. Only rows with a timeout are touched.
CREATE OR REPLACE FUNCTION millrace_internal.timeouts_restart(in_shard smallint, in_agent_id integer, run_ids bigint[], step_nos integer[], now_at timestamptz)
RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
    UPDATE millrace_internal.step s SET started_at = now_at
    FROM (SELECT * FROM unnest(run_ids, step_nos) u (run_id, step_no)
          WHERE (u.run_id & 255) = in_shard ORDER BY 1, 2) u
    JOIN millrace_internal.run r ON r.run_id = u.run_id AND r.shard = in_shard
    JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = u.step_no AND d.timeout IS NOT NULL
    WHERE s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = in_shard AND s.state = 4 AND s.agent_id = in_agent_id
$$;
COMMENT ON FUNCTION millrace_internal.timeouts_restart(smallint, integer, bigint[], integer[], timestamptz) IS 'Timeouts of steps that have not started yet count from now. Tables changed: step.';
-- Purpose: ending a run before its time.

CREATE OR REPLACE FUNCTION millrace.cancel(run_id bigint, reason text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r millrace_internal.run := millrace_internal.run_get(cancel.run_id);
BEGIN
    PERFORM millrace_internal.require_read_committed();
    IF octet_length(reason) > 10000 THEN
        PERFORM millrace_internal.fail('MR002', 'the reason is longer than 10,000 bytes');
    END IF;
    IF NOT millrace_internal.cancel_rest(r.shard, r.run_id, 12::smallint, reason) THEN
        SELECT * INTO r FROM millrace_internal.run_get(cancel.run_id);
        PERFORM millrace_internal.fail('MR031', format('run %s has ended: it is %s', r.run_id, millrace_internal.run_state_name(r.state)), NULL, 'Only a running or paused run can be cancelled.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace.cancel(bigint, text) IS
'Cancels all that has not ended in a run, and the run. Agents are told which of their steps are concerned. Errors: MR013 unknown run, MR031 it has ended.
Locks: all step rows of the run, ascending, then the run. Tables changed: step, run, receipt, revocation, event.';

-- Arguments: final_state  12 for a cancel, 11 where a failure ends the run
-- Returns:   false if the run had ended already
CREATE OR REPLACE FUNCTION millrace_internal.cancel_rest(in_shard smallint, in_run_id bigint, final_state smallint, reason text)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    r       millrace_internal.run;
    now_at  timestamptz;
    xact    bigint;
    held    record;
BEGIN
    PERFORM millrace_internal.lock_run_steps(in_shard, in_run_id, true);
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = in_run_id AND n.shard = in_shard FOR NO KEY UPDATE;
    IF r.finished_at IS NOT NULL THEN
        RETURN false;
    END IF;
    now_at := millrace_internal.clock();
    xact := pg_current_xact_id()::text::bigint;
    FOR held IN
        SELECT s.agent_id, array_agg(s.run_id) AS runs, array_agg(s.step_no) AS steps, array_agg(s.token) AS tokens, array_agg(s.receipt_no) AS receipts
        FROM millrace_internal.step s WHERE s.run_id = in_run_id AND s.shard = in_shard AND s.state = 4
        GROUP BY s.agent_id ORDER BY s.agent_id
    LOOP
        PERFORM millrace_internal.revoke(held.agent_id, held.runs, held.steps, held.tokens, 'cancelled');
        PERFORM millrace_internal.receipts_settle(in_shard, held.agent_id, array_agg(u.receipt_no), array_agg(u.n))
        FROM (SELECT receipt_no, count(*)::integer AS n FROM unnest(held.receipts) receipt_no GROUP BY 1) u;
    END LOOP;
    PERFORM millrace_internal.sink_remove(in_shard, in_run_id);
    WITH gone AS (
        UPDATE millrace_internal.step s SET state = 13, finished_at = now_at
        WHERE s.run_id = in_run_id AND s.shard = in_shard AND s.state < 10
        RETURNING s.step_no, s.attempts, s.agent_id, s.started_at)
    INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, agent_id, attempt, shard, kind)
    SELECT in_run_id, now_at, xact, g.step_no, CASE WHEN g.attempts > 0 THEN g.agent_id END, g.attempts, in_shard, 14 FROM gone g ORDER BY g.step_no;
    UPDATE millrace_internal.run u SET state = final_state, finished_at = now_at, closing_left = 0 WHERE u.run_id = in_run_id AND u.shard = in_shard;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind, data)
    VALUES (in_run_id, now_at, xact, in_shard, CASE final_state WHEN 12 THEN 6 ELSE 5 END, CASE WHEN reason IS NOT NULL THEN jsonb_build_object('reason', reason) END);
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.cancel_rest(smallint, bigint, smallint, text) IS 'Cancels every step of a run that has not ended, and ends the run.';

-- Takes a run's ready steps out of the sink; what is overlooked is found stale when it is claimed.
CREATE OR REPLACE FUNCTION millrace_internal.sink_remove(in_shard smallint, in_run_id bigint)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF millrace_internal.dispatcher_attached() THEN
        PERFORM millrace_internal.dispatcher_remove(array_agg(s.run_id), array_agg(s.step_no))
        FROM millrace_internal.step s WHERE s.run_id = in_run_id AND s.shard = in_shard AND s.state = 2 HAVING count(*) > 0;
        RETURN;
    END IF;
    DELETE FROM millrace_internal.ready q
    USING millrace_internal.step s
    JOIN millrace_internal.run r ON r.run_id = in_run_id AND r.shard = in_shard
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    WHERE s.run_id = in_run_id AND s.shard = in_shard AND s.state = 2
      AND q.queue_id = d.queue_id AND q.handler_id = d.handler_id AND q.priority = millrace_internal.effective_priority(r.priority, d.priority)
      AND q.tenant_id = r.tenant_id AND q.run_id = in_run_id AND q.urgency = -d.rank AND q.step_no = s.step_no AND q.shard = in_shard;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_remove(smallint, bigint) IS 'Tells the sink that a run''s ready steps are not to be claimed. Tables changed: ready (plain tier).';
-- Purpose: holding a run and letting it go on.

CREATE OR REPLACE FUNCTION millrace.pause(run_id bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r      millrace_internal.run := millrace_internal.run_get(pause.run_id);
    now_at timestamptz;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    PERFORM millrace_internal.lock_run_steps(r.shard, r.run_id, false);
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = r.run_id AND n.shard = r.shard FOR NO KEY UPDATE;
    IF r.state <> 1 THEN
        PERFORM millrace_internal.fail('MR032', format('run %s is %s', r.run_id, millrace_internal.run_state_name(r.state)), NULL, 'Only a running run can be paused.');
    END IF;
    now_at := millrace_internal.clock();
    PERFORM millrace_internal.sink_remove(r.shard, r.run_id);
    UPDATE millrace_internal.step s SET state = 3 WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.state = 2;
    UPDATE millrace_internal.run n SET state = 2 WHERE n.run_id = r.run_id AND n.shard = r.shard;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind) VALUES (r.run_id, now_at, pg_current_xact_id()::text::bigint, r.shard, 2);
END $$;
COMMENT ON FUNCTION millrace.pause(bigint) IS
'Parks a run: none of its steps is handed out once this has committed; what runs goes on. Errors: MR013, MR032 not running.
Locks: the run''s step rows, ascending, then the run. Tables changed: step, run, event, ready (plain tier).';

CREATE OR REPLACE FUNCTION millrace.resume(run_id bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r      millrace_internal.run := millrace_internal.run_get(resume.run_id);
    back   record;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    PERFORM millrace_internal.lock_run_steps(r.shard, r.run_id, false);
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = r.run_id AND n.shard = r.shard FOR NO KEY UPDATE;
    IF r.state <> 2 THEN
        PERFORM millrace_internal.fail('MR033', format('run %s is %s', r.run_id, millrace_internal.run_state_name(r.state)), NULL, 'Only a paused run can be resumed.');
    END IF;
    UPDATE millrace_internal.run n SET state = 1 WHERE n.run_id = r.run_id AND n.shard = r.shard;
    WITH parked AS (
        UPDATE millrace_internal.step s SET state = 2 WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.state = 3 RETURNING s.run_id, s.step_no)
    SELECT array_agg(p.run_id) AS runs, array_agg(p.step_no) AS steps INTO back FROM parked p;
    IF back.runs IS NOT NULL THEN
        PERFORM millrace_internal.make_ready(r.shard, back.runs, back.steps);
    END IF;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind) VALUES (r.run_id, millrace_internal.clock(), pg_current_xact_id()::text::bigint, r.shard, 3);
END $$;
COMMENT ON FUNCTION millrace.resume(bigint) IS 'Lets a paused run go on. Errors: MR013, MR033 not paused. Locks and tables changed: as pause.';
-- Purpose: an operator lets what has failed or was cancelled run again.

CREATE OR REPLACE FUNCTION millrace.retry(run_id bigint, key text DEFAULT NULL)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r        millrace_internal.run := millrace_internal.run_get(retry.run_id);
    def      millrace_internal.step_definition;
    revived  integer[];
    again    integer[];
BEGIN
    PERFORM millrace_internal.require_read_committed();
    IF key IS NOT NULL THEN
        def := millrace_internal.step_by_key(r.version_id, retry.key);
    END IF;
    PERFORM millrace_internal.lock_run_steps(r.shard, r.run_id, false);
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = r.run_id AND n.shard = r.shard FOR NO KEY UPDATE;
    SELECT array_agg(s.step_no ORDER BY s.step_no) INTO revived FROM millrace_internal.step s
    WHERE s.run_id = r.run_id AND s.shard = r.shard AND (s.state = 11 OR (s.state = 13 AND r.finished_at IS NOT NULL));
    IF def.def_no IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.step_no = def.def_no AND s.shard = r.shard AND s.state = 11) THEN
            PERFORM millrace_internal.fail('MR034', format('step "%s" of run %s has not failed', def.key, r.run_id), NULL, 'Only a failed step can be retried.');
        ELSIF EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.state = 13) THEN
            PERFORM millrace_internal.fail('MR034', format('run %s was cancelled', r.run_id), NULL, 'Retry the whole run: leave out the key.');
        END IF;
        revived := ARRAY[def.def_no];
    ELSIF revived IS NULL THEN
        PERFORM millrace_internal.fail('MR034', format('nothing in run %s has failed or was cancelled', r.run_id), NULL, 'See millrace.steps.');
    END IF;

    again := millrace_internal.reopen(r, revived, true);
    UPDATE millrace_internal.step s
    SET state = 2, attempts = 0, needs_left = 0, ready_at = millrace_internal.clock(), finished_at = NULL
    WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.step_no = ANY (again);
    PERFORM millrace_internal.make_ready(r.shard, array_fill(r.run_id, ARRAY[cardinality(again)]), again);
    PERFORM millrace_internal.run_reopen(r);
    RETURN cardinality(again);
END $$;
COMMENT ON FUNCTION millrace.retry(bigint, text) IS
'Runs failed steps again (all of a run, or one by its key), with a new allowance of attempts; after a cancel, all that was cancelled. What was skipped because of them is pending again.
Answers how many steps are ready. Errors: MR013 unknown run, MR014 unknown step, MR034 nothing to retry. Locks: the run''s step rows, ascending, then the run. Tables changed: step, run, event, ready (plain tier).';

-- The skipped and cancelled descendants of revived steps are pending again, counted anew over the closure.
-- Arguments: again  whether the revived steps are to run again, which the log then shows
-- Returns: those of the revived steps that wait for no other: the caller says what becomes of them. Locks: held by the caller.
CREATE OR REPLACE FUNCTION millrace_internal.reopen(r millrace_internal.run, revived integer[], again boolean)
RETURNS integer[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    graph   bytea := (SELECT v.graph FROM millrace_internal.version v WHERE v.version_id = r.version_id);
    ended   record;
    waits   record;
    now_at  timestamptz := millrace_internal.clock();
BEGIN
    SELECT array_agg(s.step_no ORDER BY s.step_no) AS steps, array_agg(s.state = 10 ORDER BY s.step_no) AS good,
           coalesce(array_agg(s.step_no) FILTER (WHERE s.state = 11), '{}') AS failed,
           min(s.started_at) AS started_at
    INTO ended FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.state >= 10;
    SELECT array_agg(v.def_no) AS steps, array_agg(v.needs_left) AS needs_left, array_agg(v.needs_bad) AS needs_bad INTO waits
    FROM millrace_internal.graph_revive(graph, revived, ended.steps, ended.good, ended.failed) v;

    WITH reset AS (
        UPDATE millrace_internal.step s
        SET state = 0, attempts = 0, needs_left = w.needs_left, needs_bad = w.needs_bad, finished_at = NULL, ready_at = NULL
        FROM unnest(waits.steps, waits.needs_left, waits.needs_bad) w (def_no, needs_left, needs_bad)
        WHERE s.run_id = r.run_id AND s.step_no = w.def_no AND s.shard = r.shard AND s.state IN (0, 11, 12, 13)
        RETURNING s.step_no)
    SELECT array_agg(reset.step_no) INTO waits.steps FROM reset;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind)
    SELECT r.run_id, now_at, pg_current_xact_id()::text::bigint, n, 0, r.shard, 16
    FROM (SELECT unnest(revived) WHERE again UNION SELECT unnest(waits.steps)) u (n)
    WHERE n = ANY (ended.steps) ORDER BY n;
    -- the steps will tell of their new start only
    UPDATE millrace_internal.run n SET started_at = least(n.started_at, ended.started_at) WHERE n.run_id = r.run_id AND n.shard = r.shard;
    RETURN ARRAY(SELECT n FROM unnest(revived) n WHERE n <> ALL (coalesce(waits.steps, '{}')) ORDER BY n);
END $$;
COMMENT ON FUNCTION millrace_internal.reopen(millrace_internal.run, integer[], boolean) IS 'Takes back what followed from the end of these steps. Tables changed: step, run, event.';

-- A run goes on after steps were reopened, or ends anew if nothing is left to do. The caller holds its steps and its row.
CREATE OR REPLACE FUNCTION millrace_internal.run_reopen(r millrace_internal.run)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    IF r.finished_at IS NOT NULL THEN
        UPDATE millrace_internal.run n SET state = 1, finished_at = NULL WHERE n.run_id = r.run_id AND n.shard = r.shard;
        INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind)
        VALUES (r.run_id, millrace_internal.clock(), pg_current_xact_id()::text::bigint, r.shard, 7);
    END IF;
    PERFORM millrace_internal.run_recount(r.shard, r.run_id);
END $$;
COMMENT ON FUNCTION millrace_internal.run_reopen(millrace_internal.run) IS 'Sets an ended run running again. Tables changed: run, event.';

-- Counts anew what a run's end waits for. Once steps have been reopened that is more than the closing steps: a dependent may
-- have been decided before what it needs now runs again (all_done has let it run), and what has no other dependents is the last of its path.
-- Locks: the run's row. Tables changed: run, event.
CREATE OR REPLACE FUNCTION millrace_internal.run_recount(in_shard smallint, in_run_id bigint)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r millrace_internal.run;
BEGIN
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = in_run_id AND n.shard = in_shard FOR NO KEY UPDATE;
    IF r.finished_at IS NOT NULL THEN
        RETURN;
    END IF;
    WITH known AS MATERIALIZED (
        SELECT d.def_no, d.closing, d.dependents, coalesce(s.state, 0) AS state
        FROM millrace_internal.step_definition d
        LEFT JOIN millrace_internal.step s ON s.run_id = in_run_id AND s.step_no = d.def_no AND s.shard = in_shard
        WHERE d.version_id = r.version_id),
    leading_on AS (
        SELECT DISTINCT k.def_no FROM known k, unnest(k.dependents) dependent JOIN known n ON n.def_no = dependent AND n.state = 0
        WHERE k.state < 10 AND NOT k.closing)
    SELECT count(*) FILTER (WHERE k.state < 10 AND l.def_no IS NULL), count(*) FILTER (WHERE k.state = 11)
    INTO r.closing_left, r.steps_failed
    FROM known k LEFT JOIN leading_on l USING (def_no);
    IF r.closing_left = 0 THEN
        r.state := CASE WHEN r.steps_failed > 0 THEN 11 ELSE 10 END;
        r.finished_at := millrace_internal.clock();
        INSERT INTO millrace_internal.event (run_id, at, xact_id, shard, kind)
        VALUES (in_run_id, r.finished_at, pg_current_xact_id()::text::bigint, in_shard, CASE r.state WHEN 10 THEN 4 ELSE 5 END);
    END IF;
    UPDATE millrace_internal.run n SET closing_left = r.closing_left, steps_failed = r.steps_failed, state = r.state, finished_at = r.finished_at
    WHERE n.run_id = in_run_id AND n.shard = in_shard;
END $$;
COMMENT ON FUNCTION millrace_internal.run_recount(smallint, bigint) IS 'Counts the ends that a reopened run waits for, and ends it if there are none.';
-- Purpose: an operator says what a failed step should have answered.

CREATE OR REPLACE FUNCTION millrace.resolve(run_id bigint, key text, output jsonb DEFAULT NULL, resolved_by text DEFAULT NULL, reason text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r       millrace_internal.run := millrace_internal.run_get(resolve.run_id);
    def     millrace_internal.step_definition := millrace_internal.step_by_key(r.version_id, resolve.key);
    now_at  timestamptz;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    IF octet_length(output::text) > pg_size_bytes(millrace_internal.setting('millrace.max_output_bytes')) THEN
        PERFORM millrace_internal.fail('MR042', 'the output is larger than millrace.max_output_bytes');
    ELSIF octet_length(reason) > 10000 OR octet_length(resolved_by) > 500 THEN
        PERFORM millrace_internal.fail('MR002', 'the reason is longer than 10,000 bytes, or the name than 500');
    END IF;
    PERFORM millrace_internal.lock_run_steps(r.shard, r.run_id, false);
    SELECT * INTO r FROM millrace_internal.run n WHERE n.run_id = r.run_id AND n.shard = r.shard FOR NO KEY UPDATE;
    IF NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.step_no = def.def_no AND s.shard = r.shard AND s.state = 11) THEN
        PERFORM millrace_internal.fail('MR035', format('step "%s" of run %s has not failed', def.key, r.run_id), NULL, 'Only a failed step can be resolved.');
    ELSIF EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.shard = r.shard AND s.state = 13) THEN
        PERFORM millrace_internal.fail('MR035', format('run %s was cancelled', r.run_id), NULL, 'Retry the whole run: millrace.retry(run_id).');
    END IF;
    now_at := millrace_internal.clock();
    PERFORM millrace_internal.reopen(r, ARRAY[def.def_no], false);
    UPDATE millrace_internal.step s SET state = 10, needs_left = 0, finished_at = now_at WHERE s.run_id = r.run_id AND s.step_no = def.def_no AND s.shard = r.shard;
    DELETE FROM millrace_internal.output o WHERE o.run_id = r.run_id AND o.step_no = def.def_no AND o.shard = r.shard;
    INSERT INTO millrace_internal.output (shard, run_id, step_no, output) SELECT r.shard, r.run_id, def.def_no, output WHERE output IS NOT NULL;
    INSERT INTO millrace_internal.event (run_id, at, xact_id, step_no, attempt, shard, kind, data)
    VALUES (r.run_id, now_at, pg_current_xact_id()::text::bigint, def.def_no, 0, r.shard, 15,
            jsonb_strip_nulls(jsonb_build_object('resolved_by', coalesce(resolved_by, millrace_internal.caller()::text), 'reason', reason)));
    PERFORM millrace_internal.run_reopen(r);
    IF def.dependents IS NOT NULL THEN
        PERFORM millrace_internal.settle_resolved(r.shard, r.run_id, def.dependents);
    END IF;
END $$;
COMMENT ON FUNCTION millrace.resolve(bigint, text, jsonb, text, text) IS
'A failed step counts as completed with this output; what was skipped because of it is pending again, and ready where nothing else is missing.
Errors: MR013, MR014, MR035 not failed or its run was cancelled, MR042 output too large. Locks: the run''s step rows, ascending, then the run. Tables changed: step, output, run, event, ready (plain tier).';

-- The rows are locked already, the run's too: skips that follow end closing steps as everywhere.
CREATE OR REPLACE FUNCTION millrace_internal.settle_resolved(in_shard smallint, in_run_id bigint, dependents integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n     integer := cardinality(dependents);
    next  record;
BEGIN
    next := millrace_internal.settle(in_shard, array_fill(in_run_id, ARRAY[n]), dependents, array_fill(1, ARRAY[n]), array_fill(0, ARRAY[n]),
                                     NULL, NULL, NULL, NULL, NULL, 0);
    IF next.ended_runs IS NOT NULL THEN
        PERFORM millrace_internal.close_runs(in_shard, next.ended_runs, next.ended_closing, array_fill(0, ARRAY[cardinality(next.ended_runs)]));
    END IF;
    IF next.moot_runs IS NOT NULL THEN
        PERFORM millrace_internal.run_recount(in_shard, in_run_id);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_resolved(smallint, bigint, integer[]) IS 'Counts the dependents of a resolved step down.';
-- Purpose: keeping time: due timers, deadlines, timeouts, lost agents, partitions. One chore a call, one transaction a
-- chore, so that the lock order holds and no chore delays another for long. Time in what is due, never in what is stored.

-- Returns: when to call again: now if more may be due, null if nothing is foreseen.
CREATE OR REPLACE FUNCTION millrace_internal.keep()
RETURNS timestamptz LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now_at timestamptz := millrace_internal.clock();
BEGIN
    PERFORM millrace_internal.partitions_ensure(), millrace_internal.sink_ensure();
    IF millrace_internal.keep_timers(now_at) OR millrace_internal.keep_deadlines(now_at)
       OR millrace_internal.keep_timeouts(now_at) OR millrace_internal.keep_agents(now_at) THEN
        RETURN now_at;
    END IF;
    RETURN millrace_internal.next_due_at();
END $$;
COMMENT ON FUNCTION millrace_internal.keep() IS 'Does one chore that is due; answers when to come back.';

CREATE OR REPLACE FUNCTION millrace.keep()
RETURNS timestamptz LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next_at timestamptz;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    PERFORM pg_advisory_xact_lock(hashtext('millrace_internal.keeper'));
    RETURN millrace_internal.keep();
END $$;
COMMENT ON FUNCTION millrace.keep() IS
'Does one chore of the keeper that is due, at most: for tests and emergencies. Answers when the next one is due (now: call again; null: none foreseen).';

CREATE OR REPLACE FUNCTION millrace_internal.next_due_at()
RETURNS timestamptz LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT least((SELECT t.due_at FROM millrace_internal.timer t ORDER BY t.due_at LIMIT 1),
                 (SELECT r.deadline FROM millrace_internal.receipt r WHERE r.deadline IS NOT NULL ORDER BY r.deadline LIMIT 1),
                 (SELECT min(a.lease_expires_at) FROM millrace_internal.agent a
                  WHERE EXISTS (SELECT FROM millrace_internal.receipt r WHERE r.agent_id = a.agent_id)))
$$;
COMMENT ON FUNCTION millrace_internal.next_due_at() IS 'The next timer, timeout or end of a lease.';

-- Waiting steps whose time has come are ready. Locks: timers, SKIP LOCKED; step rows, ascending. Tables changed: timer, step, ready (plain tier).
CREATE OR REPLACE FUNCTION millrace_internal.keep_timers(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    due  record;
    woke record;
BEGIN
    WITH head AS MATERIALIZED (
        SELECT t.due_at, t.run_id, t.step_no, t.shard FROM millrace_internal.timer t
        WHERE t.due_at <= now_at AND t.step_no > 0 ORDER BY t.due_at, t.run_id, t.step_no LIMIT 1000 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM millrace_internal.timer t USING head h
        WHERE t.due_at = h.due_at AND t.run_id = h.run_id AND t.step_no = h.step_no AND t.shard = h.shard RETURNING t.run_id, t.step_no, t.token)
    SELECT array_agg(g.run_id ORDER BY g.run_id, g.step_no) AS runs, array_agg(g.step_no ORDER BY g.run_id, g.step_no) AS steps,
           array_agg(g.token ORDER BY g.run_id, g.step_no) AS tokens INTO due FROM gone g;
    IF due.runs IS NULL THEN
        RETURN false;
    END IF;
    -- a timer whose token is no longer the step's belongs to a wait that is over
    WITH woken AS (
        UPDATE millrace_internal.step s SET state = 2, ready_at = now_at
        FROM unnest(due.runs, due.steps, due.tokens) u (run_id, step_no, token)
        WHERE s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = 0 AND (u.run_id & 255) = s.shard AND s.state = 1 AND s.token = u.token
        RETURNING s.run_id, s.step_no)
    SELECT array_agg(w.run_id) AS runs, array_agg(w.step_no) AS steps INTO woke FROM woken w;
    IF woke.runs IS NOT NULL THEN
        PERFORM millrace_internal.make_ready(0::smallint, woke.runs, woke.steps);
    END IF;
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_timers(timestamptz) IS 'Up to 1,000 waiting steps that are due become ready.';

-- A run past its deadline is cancelled; one a call.
CREATE OR REPLACE FUNCTION millrace_internal.keep_deadlines(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    due bigint;
BEGIN
    DELETE FROM millrace_internal.timer t
    WHERE (t.due_at, t.run_id, t.step_no, t.shard) = (
        SELECT d.due_at, d.run_id, d.step_no, d.shard FROM millrace_internal.timer d
        WHERE d.due_at <= now_at AND d.step_no = 0 ORDER BY d.due_at, d.run_id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING t.run_id INTO due;
    IF due IS NULL THEN
        RETURN false;
    END IF;
    PERFORM millrace_internal.cancel_rest((due & 255)::smallint, due, 12::smallint, 'deadline');
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_deadlines(timestamptz) IS 'Cancels one run that is past its deadline.';

-- Steps of past-due receipts of one agent whose own time is up. Agents report timeouts themselves, and have half a second to do so
-- (timeout_grace); this is for those that do not.
CREATE OR REPLACE FUNCTION millrace_internal.keep_timeouts(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    in_agent_id integer;
    grace       interval := millrace_internal.timeout_grace();
    due         record;
BEGIN
    SELECT r.agent_id INTO in_agent_id FROM millrace_internal.receipt r WHERE r.deadline <= now_at ORDER BY r.deadline LIMIT 1;
    IF in_agent_id IS NULL THEN
        RETURN false;
    END IF;
    SELECT array_agg(u.run_id ORDER BY u.run_id, u.step_no) AS runs, array_agg(u.step_no ORDER BY u.run_id, u.step_no) AS steps,
           array_agg(u.token ORDER BY u.run_id, u.step_no) AS tokens, count(*)::integer AS n INTO due
    FROM (SELECT * FROM millrace_internal.receipt r WHERE r.agent_id = in_agent_id AND r.deadline <= now_at LIMIT 1000) r
    CROSS JOIN LATERAL unnest(r.run_ids, r.step_nos, r.tokens) u (run_id, step_no, token)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = r.shard AND s.state = 4 AND s.token = u.token AND s.agent_id = in_agent_id
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    WHERE s.started_at + make_interval(secs => d.timeout) + grace <= now_at;
    IF due.n > 0 THEN
        PERFORM millrace_internal.decide(0::smallint, in_agent_id, due.runs, due.steps, due.tokens, array_fill(4::smallint, ARRAY[due.n]), NULL,
                                         array_fill('timed out'::text, ARRAY[due.n]), NULL);
        PERFORM millrace_internal.revoke(in_agent_id, due.runs, due.steps, due.tokens, 'timed_out');
    END IF;
    -- the receipts that live on are due when the next of their steps is
    UPDATE millrace_internal.receipt r
    SET deadline = (SELECT min(s.started_at + make_interval(secs => d.timeout) + grace) FROM unnest(r.run_ids, r.step_nos, r.tokens) u (run_id, step_no, token)
                    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = r.shard AND s.state = 4 AND s.token = u.token
                    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no)
    WHERE r.agent_id = in_agent_id AND r.deadline <= now_at;
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_timeouts(timestamptz) IS 'Times out the steps of one agent that are past due.';

-- One agent whose lease is over: what it holds can be claimed by others.
CREATE OR REPLACE FUNCTION millrace_internal.keep_agents(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lost_id integer;
BEGIN
    SELECT a.agent_id INTO lost_id FROM millrace_internal.agent a
    WHERE a.lease_expires_at <= now_at AND (NOT a.lost OR EXISTS (SELECT FROM millrace_internal.receipt r WHERE r.agent_id = a.agent_id))
    ORDER BY a.lease_expires_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF lost_id IS NULL THEN
        -- forgotten a day later, with the notes that nobody fetched
        DELETE FROM millrace_internal.agent a WHERE a.lost AND a.lease_expires_at < now_at - interval '1 day';
        IF FOUND THEN
            DELETE FROM millrace_internal.revocation r WHERE NOT EXISTS (SELECT FROM millrace_internal.agent a WHERE a.agent_id = r.agent_id);
        END IF;
        RETURN false;
    END IF;
    PERFORM millrace_internal.take_from(0::smallint, lost_id, 6::smallint);
    UPDATE millrace_internal.agent a SET lost = true WHERE a.agent_id = lost_id;
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_agents(timestamptz) IS 'Takes back what one lost agent held. Tables changed: as take_from, agent.';
-- Purpose: what is defined.
CREATE OR REPLACE VIEW millrace.workflows WITH (security_invoker) AS
SELECT w.name AS workflow, v.version, v.version_id, v.steps, v.edges, CASE v.on_failure WHEN 1 THEN 'cancel' ELSE 'continue' END AS on_failure,
       pg_catalog.pg_get_userbyid(v.defined_by) AS defined_by, v.defined_at, v.inline, v.definition
FROM millrace_internal.workflow w JOIN millrace_internal.version v USING (workflow_id);
COMMENT ON VIEW millrace.workflows IS 'Every version of every workflow. inline: it came with a submit and is never the latest.';
-- Purpose: the steps of runs with their definitions, those included that have no row yet. The views of steps build on it.
-- Its form keeps the planner from the quadratic plan of a plain outer join (which it takes for one row a run), and lets
-- a question about one state leave out the half that cannot answer it.

CREATE OR REPLACE VIEW millrace_internal.run_step WITH (security_invoker) AS
SELECT s.run_id, s.step_no, s.shard, s.version_id, r.priority AS run_priority,
       d.key, d.queue_id, d.handler, d.priority, d.needs, d.rule, d.retry_limit, d.level, d.rank, d.expected,
       s.state, s.attempts, s.token, s.needs_left, s.ready_at, s.started_at, s.finished_at, s.elapsed, s.agent_id, s.error
FROM millrace_internal.step s
JOIN millrace_internal.run r ON r.run_id = s.run_id AND r.shard = s.shard
JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
UNION ALL
SELECT r.run_id, d.def_no, r.shard, r.version_id, r.priority,
       d.key, d.queue_id, d.handler, d.priority, d.needs, d.rule, d.retry_limit, d.level, d.rank, d.expected,
       0::smallint, 0, 0, d.needs_count, NULL, NULL, NULL, NULL, NULL, NULL
FROM millrace_internal.run r
JOIN millrace_internal.step_definition d ON d.version_id = r.version_id
-- OFFSET 0: one look at the key for each definition, never a join
WHERE NOT EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = r.run_id AND s.step_no = d.def_no AND s.shard = r.shard OFFSET 0);
COMMENT ON VIEW millrace_internal.run_step IS 'Steps of runs with their definitions; a step without a row is pending.';
-- Purpose: runs, their progress, and the log. Counts are taken from a run's own steps when they are asked for: listing
-- runs costs time in the runs that are shown, not in those that are stored. Order by run_id, which grows with time.

CREATE OR REPLACE FUNCTION millrace_internal.run_tally(in_run_id bigint, OUT completed integer, OUT failed integer, OUT skipped integer, OUT cancelled integer,
    OUT running integer, OUT ready integer, OUT waiting integer, OUT started_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT count(*) FILTER (WHERE s.state = 10)::integer, count(*) FILTER (WHERE s.state = 11)::integer, count(*) FILTER (WHERE s.state = 12)::integer,
           count(*) FILTER (WHERE s.state = 13)::integer, count(*) FILTER (WHERE s.state = 4)::integer, count(*) FILTER (WHERE s.state IN (2, 3))::integer,
           count(*) FILTER (WHERE s.state = 1)::integer, min(s.started_at)
    FROM millrace_internal.step s WHERE s.run_id = in_run_id AND s.shard = (in_run_id & 255)
$$;
COMMENT ON FUNCTION millrace_internal.run_tally(bigint) IS 'Steps of a run by state, and its first start.';

CREATE OR REPLACE VIEW millrace.runs WITH (security_invoker) AS
SELECT r.run_id, w.name AS workflow, v.version, t.name AS tenant, coalesce(r.labels, '{}') AS labels, millrace_internal.run_state_name(r.state) AS state,
       (SELECT i.input FROM millrace_internal.run_input i WHERE i.run_id = r.run_id AND i.shard = r.shard) AS input,
       r.created_at, least(r.started_at, n.started_at) AS started_at, r.finished_at,
       v.steps AS steps_total, n.completed AS steps_completed, n.failed AS steps_failed, n.running AS steps_running,
       n.skipped AS steps_skipped, n.cancelled AS steps_cancelled,
       r.priority, r.not_before, r.deadline, r.parent_run_id, r.parent_step_no, r.trace, r.version_id
FROM millrace_internal.run r
JOIN millrace_internal.version v USING (version_id)
JOIN millrace_internal.workflow w USING (workflow_id)
JOIN millrace_internal.tenant t USING (tenant_id)
LEFT JOIN LATERAL millrace_internal.run_tally(r.run_id) n ON true;
COMMENT ON VIEW millrace.runs IS 'Runs, with their steps counted. Order by run_id for the latest.';

CREATE OR REPLACE VIEW millrace.run_progress WITH (security_invoker) AS
SELECT r.run_id, w.name AS workflow, millrace_internal.run_state_name(r.state) AS state, v.steps AS steps_total,
       v.steps - (n.completed + n.failed + n.skipped + n.cancelled + n.running + n.ready + n.waiting) AS steps_pending,
       n.waiting AS steps_waiting, n.ready AS steps_ready, n.running AS steps_running, n.completed AS steps_completed,
       n.failed AS steps_failed, n.skipped AS steps_skipped, n.cancelled AS steps_cancelled,
       (n.completed + n.failed + n.skipped + n.cancelled)::double precision / v.steps AS fraction_done,
       CASE WHEN r.finished_at IS NOT NULL THEN 0 ELSE p.remaining END AS remaining_seconds,
       coalesce(r.finished_at, millrace_internal.clock() + pg_catalog.make_interval(secs => p.remaining)) AS estimated_end
FROM millrace_internal.run r
JOIN millrace_internal.version v USING (version_id)
JOIN millrace_internal.workflow w USING (workflow_id)
LEFT JOIN LATERAL millrace_internal.run_tally(r.run_id) n ON true
-- at least as long as the longest path that is left, in expected seconds
LEFT JOIN LATERAL (
    SELECT coalesce(max(greatest(0, s.rank - CASE WHEN s.state = 4 THEN extract(epoch FROM millrace_internal.clock() - s.started_at) ELSE 0 END)), 0)::double precision AS remaining
    FROM millrace_internal.run_step s WHERE s.run_id = r.run_id AND s.state < 10 AND r.finished_at IS NULL) p ON true;
COMMENT ON VIEW millrace.run_progress IS 'How far runs are, and how long at least they will still take, in expected seconds.';

CREATE OR REPLACE VIEW millrace.events WITH (security_invoker) AS
SELECT e.event_id, e.run_id, e.step_no, millrace_internal.event_kind_name(e.kind) AS kind, e.attempt, e.agent_id, e.at, e.data
FROM millrace_internal.event e;
COMMENT ON VIEW millrace.events IS 'Every state change, in the order of event_id within a run. Ask for one run_id, or for a range of event_id.';
-- Purpose: steps as everyone thinks of them: all of a run's, those included that have no row yet.

CREATE OR REPLACE VIEW millrace.steps WITH (security_invoker) AS
SELECT s.run_id, s.step_no, s.key, millrace_internal.step_state_name(s.state) AS state, s.attempts, q.name AS queue, s.handler,
       millrace_internal.effective_priority(s.run_priority, s.priority) AS priority,
       CASE WHEN s.state <> 1 THEN s.ready_at END AS ready_at, s.started_at, s.finished_at, pg_catalog.make_interval(secs => s.elapsed::double precision) AS elapsed, s.agent_id, s.error,
       s.token,
       -- key by key: a join here is planned for each step anew, and may read all definitions for each
       ARRAY(SELECT (SELECT n.key FROM millrace_internal.step_definition n WHERE n.version_id = s.version_id AND n.def_no = u.def_no)
             FROM pg_catalog.unnest(s.needs) u (def_no)) AS needs,
       s.level, s.rank, pg_catalog.make_interval(secs => s.expected::double precision) AS expected,
       (SELECT o.output FROM millrace_internal.output o WHERE o.run_id = s.run_id AND o.step_no = s.step_no AND o.shard = s.shard) AS output
FROM millrace_internal.run_step s
JOIN millrace_internal.queue q USING (queue_id);
COMMENT ON VIEW millrace.steps IS 'Steps of runs. Ask for one run_id: it costs time in that run''s size only.';
-- Purpose: questions about the paths of a run. Answered from the version's graph, without recursion in SQL.

CREATE OR REPLACE FUNCTION millrace.critical_path(run_id bigint)
RETURNS TABLE (step_no integer, key text, state text, seconds real)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r millrace_internal.run := millrace_internal.run_get(critical_path.run_id);
BEGIN
    RETURN QUERY
    WITH known AS MATERIALIZED (
        SELECT d.def_no, d.key, coalesce(millrace_internal.step_state_name(s.state), CASE WHEN r.state >= 10 THEN 'cancelled' ELSE 'pending' END) AS state,
               -- what it took, else what it has taken so far or what is expected, whichever is more
               CASE WHEN s.state = 10 THEN coalesce(s.elapsed, extract(epoch FROM s.finished_at - s.started_at), 0)
                    WHEN s.state = 4 THEN greatest(d.expected, extract(epoch FROM millrace_internal.clock() - s.started_at))
                    WHEN s.state >= 11 THEN 0
                    ELSE d.expected END::real AS seconds
        FROM millrace_internal.step_definition d
        LEFT JOIN millrace_internal.step s ON s.run_id = r.run_id AND s.step_no = d.def_no AND s.shard = r.shard
        WHERE d.version_id = r.version_id)
    SELECT k.def_no, k.key, k.state, k.seconds
    FROM unnest(millrace_internal.graph_critical_path((SELECT v.graph FROM millrace_internal.version v WHERE v.version_id = r.version_id),
                                                      (SELECT array_agg(k.seconds ORDER BY k.def_no) FROM known k))) WITH ORDINALITY p (def_no, ord)
    JOIN known k USING (def_no) ORDER BY p.ord;
END $$;
COMMENT ON FUNCTION millrace.critical_path(bigint) IS
'The longest path through a run, first step first, in seconds: measured where a step has run, expected where it has not.';

CREATE OR REPLACE FUNCTION millrace.affected_by(run_id bigint, key text)
RETURNS SETOF millrace.steps
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r millrace_internal.run := millrace_internal.run_get(affected_by.run_id);
    d millrace_internal.step_definition := millrace_internal.step_by_key(r.version_id, affected_by.key);
BEGIN
    RETURN QUERY
    SELECT s.* FROM millrace.steps s
    WHERE s.run_id = r.run_id AND s.state NOT IN ('completed', 'failed', 'skipped', 'cancelled')
      AND s.step_no = ANY (millrace_internal.graph_fall((SELECT v.graph FROM millrace_internal.version v WHERE v.version_id = r.version_id), d.def_no))
    ORDER BY s.step_no;
END $$;
COMMENT ON FUNCTION millrace.affected_by(bigint, text) IS
'What falls if this step fails: the steps of the run that could then not complete, whatever else happens, for they hang on it through steps that need all to complete. Errors: MR013, MR014.';
-- Purpose: what steps wait for. Readiness is counted down where it changes; this view only shows it, and nothing polls it.

CREATE OR REPLACE VIEW millrace.step_readiness WITH (security_invoker) AS
SELECT s.run_id, s.step_no, s.key, millrace_internal.step_state_name(s.state) AS state, s.needs_left,
       (SELECT pg_catalog.jsonb_object_agg(n.key, coalesce(millrace_internal.step_state_name(ns.state), 'pending'))
        FROM pg_catalog.unnest(s.needs) u (def_no)
        CROSS JOIN LATERAL (SELECT n.key FROM millrace_internal.step_definition n WHERE n.version_id = s.version_id AND n.def_no = u.def_no OFFSET 0) n
        LEFT JOIN LATERAL (SELECT ns.state FROM millrace_internal.step ns WHERE ns.run_id = s.run_id AND ns.step_no = u.def_no AND ns.shard = s.shard OFFSET 0) ns ON true
        WHERE ns.state IS NULL OR ns.state < 10 OR (s.rule = 0 AND ns.state > 10)) AS unmet_needs,
       greatest(0, s.retry_limit + 1 - s.attempts) AS tries_left,
       s.attempts <= s.retry_limit AS may_retry,
       CASE WHEN s.state = 1 THEN s.ready_at END AS next_attempt_at
FROM millrace_internal.run_step s;
COMMENT ON VIEW millrace.step_readiness IS
'What each step waits for: needs not yet terminal (or, under all_completed, badly ended) with their states, tries left, the time of the next one.';
-- Purpose: what waits where, who works, and the dispatcher.

-- Returns: ready steps by queue and handler, as the present tier's sink holds them. Bounded by keys on the dispatcher tier,
-- by what waits on the plain tier.
CREATE OR REPLACE FUNCTION millrace_internal.sink_depths()
RETURNS TABLE (queue_id integer, handler_id integer, depth bigint, oldest_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF millrace_internal.dispatcher_attached() THEN
        RETURN QUERY SELECT d.queue_id, d.handler_id, d.depth, d.oldest_pushed_at FROM millrace_internal.dispatcher_stats() d WHERE d.depth > 0;
    ELSE
        RETURN QUERY SELECT g.queue_id, g.handler_id, g.n,
            (SELECT s.ready_at FROM millrace_internal.step s WHERE s.run_id = g.oldest AND s.state = 2 ORDER BY s.ready_at LIMIT 1)
        FROM (SELECT r.queue_id, r.handler_id, count(*) AS n, min(r.run_id) AS oldest FROM millrace_internal.ready r GROUP BY 1, 2) g;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.sink_depths() IS 'What the sink holds, by queue and handler.';

-- Returns: running steps by queue and handler, read from the receipts.
CREATE OR REPLACE FUNCTION millrace_internal.running_steps()
RETURNS TABLE (queue_id integer, handler_id integer, running bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.queue_id, d.handler_id, count(*)
    FROM millrace_internal.receipt r
    CROSS JOIN LATERAL unnest(r.run_ids, r.step_nos, r.tokens) u (run_id, step_no, token)
    JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = r.shard AND s.state = 4 AND s.token = u.token
    JOIN millrace_internal.step_definition d ON d.version_id = s.version_id AND d.def_no = s.def_no
    GROUP BY 1, 2
$$;
COMMENT ON FUNCTION millrace_internal.running_steps() IS 'Running steps by queue and handler. Time in what runs.';

CREATE OR REPLACE VIEW millrace.queues WITH (security_invoker) AS
SELECT q.name AS queue, h.name AS handler, coalesce(d.depth, 0) AS depth, millrace_internal.clock() - d.oldest_at AS oldest_age,
       coalesce(n.running, 0) AS running,
       (SELECT count(*) FROM millrace_internal.agent a
        WHERE a.lease_expires_at > millrace_internal.clock() AND k.queue_id = ANY (a.queues) AND k.handler_id = ANY (a.handlers)) AS agents
FROM (SELECT queue_id, handler_id FROM millrace_internal.sink_depths()
      UNION SELECT queue_id, handler_id FROM millrace_internal.running_steps()) k
JOIN millrace_internal.queue q USING (queue_id)
JOIN millrace_internal.handler h USING (handler_id)
LEFT JOIN millrace_internal.sink_depths() d USING (queue_id, handler_id)
LEFT JOIN millrace_internal.running_steps() n USING (queue_id, handler_id);
COMMENT ON VIEW millrace.queues IS 'Queues and handlers where something waits or runs: how many wait, how old the oldest is, how many run, how many agents serve them.';

CREATE OR REPLACE VIEW millrace.agents WITH (security_invoker) AS
SELECT a.agent_id, a.name,
       CASE WHEN a.lease_expires_at > millrace_internal.clock() THEN 'alive' ELSE 'lost' END AS state,
       ARRAY(SELECT q.name FROM millrace_internal.queue q WHERE q.queue_id = ANY (a.queues) ORDER BY 1) AS queues,
       ARRAY(SELECT h.name FROM millrace_internal.handler h WHERE h.handler_id = ANY (a.handlers) ORDER BY 1) AS handlers,
       a.lease_expires_at, a.registered_at, a.seen_at, pg_catalog.pg_get_userbyid(a.registered_by) AS registered_by, a.protocol,
       (SELECT coalesce(sum(r.open), 0) FROM millrace_internal.receipt r WHERE r.agent_id = a.agent_id) AS held
FROM millrace_internal.agent a;
COMMENT ON VIEW millrace.agents IS 'Registered agents, until a day after their lease is over. held: steps they have not settled.';

CREATE OR REPLACE FUNCTION millrace_internal.dispatcher_status()
RETURNS TABLE (tier text, state text, overflowed boolean, needs_sweep boolean, entries_used integer, entries_max integer,
               stale bigint, dropped bigint, refills bigint, wakes bigint, waker_pid integer, keeper_pid integer)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN millrace_internal.dispatcher_attached() THEN 'dispatcher' ELSE 'plain' END,
           d.state, d.overflowed, d.needs_sweep, d.entries_used, d.entries_max, d.stale, d.dropped, d.refills, d.wakes, d.waker_pid, d.keeper_pid
    FROM millrace_internal.dispatcher_state() d
$$;
COMMENT ON FUNCTION millrace_internal.dispatcher_status() IS 'The dispatcher of this database.';

CREATE OR REPLACE VIEW millrace.dispatcher WITH (security_invoker) AS SELECT * FROM millrace_internal.dispatcher_status();
COMMENT ON VIEW millrace.dispatcher IS 'The tier in force and, with the library preloaded, the state of its shared memory and workers.';
-- Purpose: one call that explains any step.

CREATE OR REPLACE FUNCTION millrace.why_not_ready(run_id bigint, key text, OUT reason text, OUT data jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r      millrace_internal.run := millrace_internal.run_get(why_not_ready.run_id);
    d      millrace_internal.step_definition := millrace_internal.step_by_key(r.version_id, why_not_ready.key);
    s      millrace_internal.step;
    state  text;
    unmet  jsonb;
    served integer;
    queue  text := (SELECT q.name FROM millrace_internal.queue q WHERE q.queue_id = d.queue_id);
BEGIN
    SELECT * INTO s FROM millrace_internal.step n WHERE n.run_id = r.run_id AND n.step_no = d.def_no AND n.shard = r.shard;
    state := coalesce(millrace_internal.step_state_name(s.state), 'pending');
    SELECT v.unmet_needs INTO unmet FROM millrace.step_readiness v WHERE v.run_id = r.run_id AND v.step_no = d.def_no;
    SELECT count(*) INTO served FROM millrace_internal.agent a
    WHERE a.lease_expires_at > millrace_internal.clock() AND d.queue_id = ANY (a.queues) AND d.handler_id = ANY (a.handlers);
    data := jsonb_strip_nulls(jsonb_build_object(
        'state', state, 'run_state', millrace_internal.run_state_name(r.state), 'unmet_needs', unmet, 'queue', queue, 'handler', d.handler,
        'agents', served, 'attempts', coalesce(s.attempts, 0), 'agent_id', CASE WHEN state = 'running' THEN s.agent_id END,
        'due_at', CASE WHEN state = 'waiting' THEN s.ready_at END, 'error', s.error));
    reason := CASE
        WHEN state = 'pending' THEN format('Step "%s" waits for %s of its needs: %s.%s', d.key, coalesce(s.needs_left, d.needs_count),
            coalesce((SELECT string_agg(format('%s (%s)', k, v), ', ' ORDER BY k) FROM (SELECT * FROM jsonb_each_text(unmet) e (k, v) LIMIT 20) e), 'none'),
            CASE WHEN r.state = 2 THEN ' Its run is paused, too.' ELSE '' END)
        WHEN state = 'waiting' AND coalesce(s.attempts, 0) > 0 THEN format('Step "%s" failed its attempt %s (%s) and is tried again at %s.', d.key, s.attempts, coalesce(s.error, 'no reason given'), s.ready_at)
        WHEN state = 'waiting' THEN format('Step "%s" waits for its time: %s.', d.key, s.ready_at)
        WHEN state = 'ready' AND r.state = 2 THEN format('Step "%s" is ready, but its run is paused: call millrace.resume(%s).', d.key, r.run_id)
        WHEN state = 'ready' AND served = 0 THEN format('Step "%s" is ready, but no agent serves queue "%s" and handler "%s".', d.key, queue, d.handler)
        WHEN state = 'ready' THEN format('Step "%s" is ready since %s; %s agents serve it and have no free slot, or steps before it.', d.key, s.ready_at, served)
        WHEN state = 'running' THEN format('Step "%s" runs since %s on agent %s (attempt %s).', d.key, s.started_at, s.agent_id, s.attempts)
        WHEN state = 'skipped' THEN format('Step "%s" was skipped: %s.', d.key, coalesce((SELECT string_agg(format('%s %s', k, v), ', ' ORDER BY k) FROM jsonb_each_text(unmet) e (k, v)), 'its rule did not hold'))
        WHEN state = 'failed' THEN format('Step "%s" failed after %s attempts: %s. Call millrace.retry or millrace.resolve.', d.key, s.attempts, coalesce(s.error, 'no reason given'))
        ELSE format('Step "%s" is %s.', d.key, state) END;
END $$;
COMMENT ON FUNCTION millrace.why_not_ready(bigint, text) IS 'In one sentence and in data: what a step waits for, or what became of it. Errors: MR013, MR014.';
-- Purpose: figures for monitoring, cheap enough to be asked for every few seconds.

CREATE OR REPLACE FUNCTION millrace.metrics()
RETURNS TABLE (name text, labels jsonb, value double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT 'millrace_queue_depth', jsonb_build_object('queue', q.queue, 'handler', q.handler), q.depth::double precision FROM millrace.queues q
    UNION ALL SELECT 'millrace_queue_oldest_age_seconds', jsonb_build_object('queue', q.queue, 'handler', q.handler), extract(epoch FROM q.oldest_age)::double precision FROM millrace.queues q WHERE q.oldest_age IS NOT NULL
    UNION ALL SELECT 'millrace_steps_running', jsonb_build_object('queue', q.queue, 'handler', q.handler), q.running::double precision FROM millrace.queues q
    UNION ALL SELECT 'millrace_agents', jsonb_build_object('state', a.state), count(*)::double precision FROM millrace.agents a GROUP BY a.state
    UNION ALL SELECT 'millrace_runs_alive', jsonb_build_object('state', millrace_internal.run_state_name(r.state)), count(*)::double precision FROM millrace_internal.run r WHERE r.finished_at IS NULL GROUP BY r.state
    UNION ALL SELECT 'millrace_runs_submitted_total', '{}', (SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM millrace_internal.run_seq s)::double precision
    UNION ALL SELECT 'millrace_events_total', '{}', (SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END FROM millrace_internal.event_id_seq s)::double precision
    UNION ALL SELECT 'millrace_timers', '{}', greatest((SELECT c.reltuples FROM pg_class c WHERE c.oid = 'millrace_internal.timer'::regclass), 0)::double precision
    UNION ALL SELECT 'millrace_dispatcher_' || m.name, '{}', m.value FROM millrace.dispatcher d
        CROSS JOIN LATERAL (VALUES ('entries_used', d.entries_used::double precision), ('entries_max', d.entries_max::double precision),
                                   ('stale_total', d.stale::double precision), ('dropped_total', d.dropped::double precision),
                                   ('refills_total', d.refills::double precision), ('wakes_total', d.wakes::double precision)) m (name, value)
        WHERE d.tier = 'dispatcher';
END $$;
COMMENT ON FUNCTION millrace.metrics() IS 'Gauges and counters with labels, named as Prometheus does.';
-- Purpose: the roles. They belong to the cluster, so another database may have made them already, or makes them now.

DO $$
DECLARE
    wanted text;
    pair   text[];
BEGIN
    FOREACH wanted IN ARRAY ARRAY['millrace_viewer', 'millrace_client', 'millrace_agent', 'millrace_admin'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
                EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
    FOREACH pair SLICE 1 IN ARRAY ARRAY[['millrace_viewer', 'millrace_client'], ['millrace_client', 'millrace_admin'], ['millrace_agent', 'millrace_admin']] LOOP
        BEGIN
            IF NOT pg_catalog.pg_has_role(pair[2], pair[1], 'MEMBER') THEN
                EXECUTE pg_catalog.format('GRANT %I TO %I', pair[1], pair[2]);
            END IF;
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
    END LOOP;
END $$;
-- Purpose: who may do what, in one place. Nobody writes a table: all changes go through functions.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA millrace FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA millrace_internal FROM PUBLIC;

GRANT USAGE ON SCHEMA millrace TO millrace_viewer, millrace_client, millrace_agent, millrace_admin;

-- millrace_viewer looks. The views run with its own rights, so that row security holds through them: it may read the
-- tables and call the functions that the views are made of, none of which changes anything.
GRANT SELECT ON ALL TABLES IN SCHEMA millrace TO millrace_viewer;
GRANT USAGE ON SCHEMA millrace_internal TO millrace_viewer;
DO $$
DECLARE
    named regclass;
BEGIN
    -- partitions are read through their parents, and are not the extension's own
    FOR named IN SELECT c.oid FROM pg_catalog.pg_class c
                 WHERE c.relnamespace = 'millrace_internal'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
    LOOP
        EXECUTE pg_catalog.format('GRANT SELECT ON %s TO millrace_viewer', named);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION
    millrace_internal.clock(), millrace_internal.step_state_name(smallint), millrace_internal.run_state_name(smallint), millrace_internal.event_kind_name(smallint),
    millrace_internal.run_tally(bigint), millrace_internal.effective_priority(smallint, smallint), millrace_internal.sink_depths(), millrace_internal.running_steps(),
    millrace_internal.dispatcher_status(), millrace_internal.graph_ancestors(bytea, integer), millrace_internal.graph_descendants(bytea, integer),
    millrace.critical_path(bigint), millrace.affected_by(bigint, text), millrace.why_not_ready(bigint, text), millrace.metrics(), millrace.validate_workflow(jsonb)
TO millrace_viewer;

-- millrace_client defines, submits and steers.
GRANT EXECUTE ON FUNCTION
    millrace.define_workflow(jsonb, text),
    millrace.submit(text, jsonb, integer, integer, text, jsonb, timestamptz, timestamptz, text, bigint, integer, text),
    millrace.submit_many(text, jsonb[], integer, integer, text, jsonb, timestamptz, timestamptz, text[], text),
    millrace.cancel(bigint, text), millrace.pause(bigint), millrace.resume(bigint), millrace.retry(bigint, text), millrace.resolve(bigint, text, jsonb, text, text)
TO millrace_client;

-- millrace_agent works.
GRANT EXECUTE ON FUNCTION
    millrace.register_agent(text[], text[], integer, text, interval, boolean), millrace.claim(integer, integer, jsonb, integer),
    millrace.report(integer, bigint[], integer[], integer[], text[], text[], text[], double precision[], integer, jsonb, integer),
    millrace.execute_sql(integer, bigint, integer, integer), millrace.heartbeat(integer, bigint[], integer[]),
    millrace.release(integer, bigint[], integer[], integer[]), millrace.release_others(integer, bigint[], integer[], integer[]), millrace.deregister_agent(integer)
TO millrace_agent;

-- millrace_admin does all that, and runs the installation.
GRANT EXECUTE ON FUNCTION millrace.adopt(), millrace.keep(), millrace.set_tenant_weight(text, real) TO millrace_admin;
