-- Purpose: fan-outs: what a step with `for_each` has been spread over, and how far its elements have come.

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
