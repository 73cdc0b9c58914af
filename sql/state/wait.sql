-- Purpose: what steps wait for that comes from outside (logic/wait.sql): signals, people, times, the ends of other runs.

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
