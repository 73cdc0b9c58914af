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
    looked_at_roots integer[],
    finally_roots integer[],
    finally_closing integer,
    phased       boolean     NOT NULL DEFAULT false,
    deadline     double precision,
    graph        bytea       NOT NULL,
    defined_by   oid         NOT NULL,
    search_path  text        NOT NULL,
    defined_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id       bigint,
    base_id      integer,
    CONSTRAINT version_run_id_base_id_check CHECK ((run_id IS NULL) = (base_id IS NULL)),
    CONSTRAINT version_workflow_id_content_hash_key UNIQUE (workflow_id, content_hash, defined_by)
);
CREATE UNIQUE INDEX version_number_idx ON millrace_internal.version (workflow_id, version) WHERE run_id IS NULL;
ALTER TABLE millrace_internal.version ALTER COLUMN graph SET STORAGE EXTERNAL;
COMMENT ON TABLE millrace_internal.version IS 'Immutable versions of workflows, with their materialised dependency paths.';
COMMENT ON COLUMN millrace_internal.version.looked_at_roots IS 'Those of the roots that have a condition, or that the engine enters; null when there are none.';
COMMENT ON COLUMN millrace_internal.version.closing IS 'Closing steps among the main ones.';
COMMENT ON COLUMN millrace_internal.version.finally_roots IS 'The first of the steps that run when all others have ended; null when there are none. Their closing steps are finally_closing.';
COMMENT ON COLUMN millrace_internal.version.phased IS 'The end of the main steps may not be the end of the run (logic/phase.sql).';
COMMENT ON COLUMN millrace_internal.version.deadline IS 'Seconds from the submit after which a run that was given no deadline is cancelled.';
COMMENT ON COLUMN millrace_internal.version.inline IS 'True for a definition that came with a submit: it is never the latest version.';
COMMENT ON COLUMN millrace_internal.version.graph IS 'The graph and its paths as the C functions read it; stored uncompressed, for it is compressed already.';
COMMENT ON COLUMN millrace_internal.version.run_id IS 'The run whose own this version is, for it has grown or migrated; null for versions of the workflow.';
COMMENT ON COLUMN millrace_internal.version.base_id IS 'The workflow''s version that a run''s own one was made from; they share its number.';
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
    required       jsonb,
    rule_path      jsonpath,
    finally        boolean          NOT NULL DEFAULT false,
    entered        boolean          NOT NULL DEFAULT false,
    fills          boolean          NOT NULL DEFAULT false,
    traits         jsonb,
    retry_classes  jsonb,
    on_error       integer,
    CONSTRAINT step_definition_pkey PRIMARY KEY (version_id, def_no),
    -- the key comes first: beside the primary key there is then no other way to a step by its number
    CONSTRAINT step_definition_key_version_id_key UNIQUE (key, version_id)
);
COMMENT ON TABLE millrace_internal.step_definition IS 'The nodes of a version, numbered so that a need has a lower number; in a version of one run, new ones behind the old.';
COMMENT ON COLUMN millrace_internal.step_definition.needs_count IS 'How many needs are counted down; needs that a longer path implies are not.';
COMMENT ON COLUMN millrace_internal.step_definition.dependents IS 'Dependents along counted edges, ascending; null when there are none.';
COMMENT ON COLUMN millrace_internal.step_definition.workflow IS 'The workflow''s name: a claim answers it without two more look-ups.';
COMMENT ON COLUMN millrace_internal.step_definition.handler IS 'The handler''s name beside its number, for the same reason.';
COMMENT ON COLUMN millrace_internal.step_definition.fills IS 'The settings have values of the run, filled in as the step is handed out (logic/fill.sql).';
COMMENT ON COLUMN millrace_internal.step_definition.required IS 'true, or the names in input whose paths must match.';
COMMENT ON COLUMN millrace_internal.step_definition.rule IS '0 all_completed, 1 all_done, 2 none_failed, 3 all_failed, 4 an expression; from 10 on they may decide early: 10 any_completed';
COMMENT ON COLUMN millrace_internal.step_definition.rule_path IS 'The expression, over the states of the needs by key.';
COMMENT ON COLUMN millrace_internal.step_definition.retry_classes IS '{"on": [...], "never_on": [...]}: which failures are retried; null: all.';
COMMENT ON COLUMN millrace_internal.step_definition.on_error IS 'The step that handles the failure of this one.';
COMMENT ON COLUMN millrace_internal.step_definition.needs IS 'All declared needs, ascending; null when there are none.';
COMMENT ON COLUMN millrace_internal.step_definition.finally IS 'It runs when all main steps have ended, whatever became of them.';
COMMENT ON COLUMN millrace_internal.step_definition.entered IS 'The engine looks at the step when it would become ready, and carries it out itself or lets it be (logic/enter.sql).';
COMMENT ON COLUMN millrace_internal.step_definition.traits IS 'What the definition says beyond the other columns, as it says it; null for a plain step.';
COMMENT ON COLUMN millrace_internal.step_definition.rank IS 'Longest remaining path from here to the end of the run, this step included, in expected seconds.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.workflow', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.workflow_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.version', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.version_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.step_definition', '');
