-- Purpose: what 0.2.0 changes in the state that 0.1.0 has left, and nothing else: the logic and access of 0.2.0 follow it.
-- A function whose arguments or result have changed cannot be replaced, so its old form goes here.

-- Inputs may have to match (`required`).
ALTER TABLE millrace_internal.step_definition ADD COLUMN required jsonb;
COMMENT ON COLUMN millrace_internal.step_definition.required IS 'true, or the names in input whose paths must match.';
DROP FUNCTION millrace_internal.definition_steps(jsonb);

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
