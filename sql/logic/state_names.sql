-- Purpose: the names of stored numbers, in one place.

CREATE OR REPLACE FUNCTION millrace_internal.step_state_name(state smallint)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE state WHEN 0 THEN 'pending' WHEN 1 THEN 'waiting' WHEN 2 THEN 'ready' WHEN 3 THEN 'ready' WHEN 4 THEN 'running' WHEN 5 THEN 'waiting'
                      WHEN 10 THEN 'completed' WHEN 11 THEN 'failed' WHEN 12 THEN 'skipped' WHEN 13 THEN 'cancelled' WHEN 14 THEN 'skipped' END
$$;
COMMENT ON FUNCTION millrace_internal.step_state_name(smallint) IS 'Name of a step''s state; a parked step is ready to those who look, a fallen one skipped.';

CREATE OR REPLACE FUNCTION millrace_internal.run_state_name(state smallint)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE state WHEN 1 THEN 'running' WHEN 2 THEN 'paused' WHEN 10 THEN 'completed' WHEN 11 THEN 'failed' WHEN 12 THEN 'cancelled' END
$$;
COMMENT ON FUNCTION millrace_internal.run_state_name(smallint) IS 'Name of a run''s state.';

CREATE OR REPLACE FUNCTION millrace_internal.event_kind_name(kind smallint)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE kind WHEN 30 THEN 'run_grown' WHEN 31 THEN 'run_migrated' WHEN 40 THEN 'step_assigned' WHEN 41 THEN 'step_answered' ELSE (ARRAY['run_submitted', 'run_paused', 'run_resumed', 'run_completed', 'run_failed', 'run_cancelled', 'run_reopened',
                  'step_started', 'step_waiting', 'step_released', 'step_completed', 'step_failed', 'step_skipped',
                  'step_cancelled', 'step_resolved', 'step_reset', 'run_ending'])[kind] END
$$;
COMMENT ON FUNCTION millrace_internal.event_kind_name(smallint) IS
'Name of an event''s kind: 1 run_submitted, 2 run_paused, 3 run_resumed, 4 run_completed, 5 run_failed, 6 run_cancelled, 7 run_reopened,
8 step_started, 9 step_waiting, 10 step_released, 11 step_completed, 12 step_failed, 13 step_skipped, 14 step_cancelled, 15 step_resolved, 16 step_reset, 17 run_ending, 30 run_grown, 31 run_migrated, 40 step_assigned, 41 step_answered.';

-- ---------------------------------------------------------------- numbers of steps

-- A step's number is that of its definition, up to here. Beyond stand steps that a run has gained, whose rows say what they are.
-- These functions are inlined. (MILLRACE_MAX_STEPS and MILLRACE_LAST_ELEMENT in extension/src/millrace.h)
CREATE OR REPLACE FUNCTION millrace_internal.last_defined_no()
RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 1000000';
COMMENT ON FUNCTION millrace_internal.last_defined_no() IS 'The highest number that a step with a definition of its own can have.';

CREATE OR REPLACE FUNCTION millrace_internal.is_gained(step_no integer)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT step_no > millrace_internal.last_defined_no()';
COMMENT ON FUNCTION millrace_internal.is_gained(integer) IS 'Whether a run has gained the step that has this number.';

-- Those up to here are elements of steps with for_each; those beyond undo others (logic/compensation.sql).
CREATE OR REPLACE FUNCTION millrace_internal.last_element_no()
RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 1000000000';
COMMENT ON FUNCTION millrace_internal.last_element_no() IS 'The highest number that an element can have.';

CREATE OR REPLACE FUNCTION millrace_internal.is_compensation(step_no integer)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT step_no > millrace_internal.last_element_no()';
COMMENT ON FUNCTION millrace_internal.is_compensation(integer) IS 'Whether the step that has this number undoes another one.';

-- What the end of a step is counted on (logic/settle.sql; HitKind in extension/src/work.h).
CREATE OR REPLACE FUNCTION millrace_internal.hit_kind(step_no integer)
RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
'SELECT CASE WHEN millrace_internal.is_compensation(step_no) THEN 2 WHEN millrace_internal.is_gained(step_no) THEN 1 ELSE 0 END::smallint';
COMMENT ON FUNCTION millrace_internal.hit_kind(integer) IS '0: its dependents; 1: the step whose element it is; 2: itself, as a compensation.';

CREATE OR REPLACE FUNCTION millrace_internal.any_gained(step_nos integer[])
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT millrace_internal.last_defined_no() < ANY (step_nos)';
COMMENT ON FUNCTION millrace_internal.any_gained(integer[]) IS 'Whether a run has gained one of these steps.';
