-- Purpose: long steps: progress, checkpoints and logs of what an agent executes. Only the latest hand-out may write.

-- Of the rows of a call, by place, those whose hand-outs are running at this agent; or_ended: or were the last that did, for
-- what a step has said may come after its report.
CREATE OR REPLACE FUNCTION millrace_internal.running_here(in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], or_ended boolean)
RETURNS integer[] LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    RETURN ARRAY(
        SELECT u.ord::integer FROM unnest(run_ids, step_nos, tokens) WITH ORDINALITY u (run_id, step_no, token, ord)
        JOIN millrace_internal.step s ON s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = (u.run_id & 255)
             AND (s.state = 4 OR or_ended) AND s.token = u.token AND s.agent_id = in_agent_id);
END $$;
COMMENT ON FUNCTION millrace_internal.running_here(integer, bigint[], integer[], integer[], boolean) IS 'Which hand-outs an agent holds, or held last.';

-- Arguments: fractions  0 to 1, null: unknown; messages  null: none. Of several rows for one step the last counts.
-- Returns:   how many rows were of hand-outs that are the latest of their steps; the others are passed over
-- Tables changed: step_note.
CREATE OR REPLACE FUNCTION millrace.report_progress(agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], fractions double precision[], messages text[] DEFAULT NULL)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    n      integer := coalesce(cardinality(run_ids), 0);
    now_at timestamptz;
    here   integer[];
BEGIN
    PERFORM millrace_internal.agent_get(report_progress.agent_id);
    PERFORM millrace_internal.report_check(n, step_nos, tokens, array_fill(''::text, ARRAY[n]), messages, NULL, fractions);
    here := millrace_internal.running_here(report_progress.agent_id, run_ids, step_nos, tokens, true);
    now_at := millrace_internal.clock();
    WITH told AS MATERIALIZED (
        SELECT DISTINCT ON (u.run_id, u.step_no) u.run_id, u.step_no, (u.run_id & 255)::smallint AS shard,
               -- a number that cannot be one counts as unknown
               CASE WHEN u.fraction BETWEEN 0 AND 1 THEN u.fraction END::real AS fraction, left(u.message, 500) AS message
        FROM unnest(run_ids, step_nos, fractions, messages) WITH ORDINALITY u (run_id, step_no, fraction, message, ord)
        WHERE u.ord = ANY (here)
        ORDER BY u.run_id, u.step_no, u.ord DESC),
    known AS (
        UPDATE millrace_internal.step_note n SET fraction = t.fraction, message = t.message, progressed_at = now_at
        FROM told t WHERE n.run_id = t.run_id AND n.step_no = t.step_no AND n.shard = t.shard
        RETURNING n.run_id, n.step_no)
    INSERT INTO millrace_internal.step_note (run_id, step_no, shard, fraction, message, progressed_at)
    SELECT t.run_id, t.step_no, t.shard, t.fraction, t.message, now_at FROM told t
    WHERE NOT EXISTS (SELECT FROM known k WHERE k.run_id = t.run_id AND k.step_no = t.step_no)
    -- what came between is newer
    ON CONFLICT DO NOTHING;
    RETURN cardinality(here);
END $$;
COMMENT ON FUNCTION millrace.report_progress(integer, bigint[], integer[], integer[], double precision[], text[]) IS
'How far running steps are. Answers how many rows were taken; those of steps that were handed out anew are passed over. Errors: MR001, MR021. Tables changed: step_note.';

CREATE OR REPLACE FUNCTION millrace_internal.require_running(in_agent_id integer, in_run_id bigint, in_step_no integer, in_token integer)
RETURNS void LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM millrace_internal.agent_get(in_agent_id);
    IF millrace_internal.running_here(in_agent_id, ARRAY[in_run_id], ARRAY[in_step_no], ARRAY[in_token], false) = '{}' THEN
        PERFORM millrace_internal.fail('MR041', format('token %s of step %s of run %s is not agent %s''s', in_token, in_step_no, in_run_id, in_agent_id), NULL,
                                       'Drop the step: it has been cancelled, taken back, or done.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.require_running(integer, bigint, integer, integer) IS 'MR041 unless the hand-out runs at this agent.';

CREATE OR REPLACE FUNCTION millrace.save_checkpoint(agent_id integer, run_id bigint, step_no integer, token integer, state jsonb)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    now_at timestamptz;
BEGIN
    IF octet_length(state::text) > pg_size_bytes(millrace_internal.setting('millrace.max_output_bytes')) THEN
        PERFORM millrace_internal.fail('MR042', 'the checkpoint is larger than millrace.max_output_bytes');
    END IF;
    -- the row is held, lest the step be handed out anew beside this
    PERFORM millrace_internal.step_hold((save_checkpoint.run_id & 255)::smallint, save_checkpoint.run_id, save_checkpoint.step_no);
    PERFORM millrace_internal.require_running(save_checkpoint.agent_id, save_checkpoint.run_id, save_checkpoint.step_no, save_checkpoint.token);
    now_at := millrace_internal.clock();
    INSERT INTO millrace_internal.step_note (run_id, step_no, shard, saved_at, checkpoint)
    VALUES (save_checkpoint.run_id, save_checkpoint.step_no, (save_checkpoint.run_id & 255)::smallint, now_at, save_checkpoint.state)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        UPDATE millrace_internal.step_note n SET saved_at = now_at, checkpoint = save_checkpoint.state
        WHERE n.run_id = save_checkpoint.run_id AND n.step_no = save_checkpoint.step_no AND n.shard = (save_checkpoint.run_id & 255);
    END IF;
END $$;
COMMENT ON FUNCTION millrace.save_checkpoint(integer, bigint, integer, integer, jsonb) IS
'Keeps what the step''s next attempt goes on from; null forgets it. Errors: MR021, MR041 stale token, MR042 too large. Locks: the step''s row. Tables changed: step_note.';

CREATE OR REPLACE FUNCTION millrace.checkpoint(agent_id integer, run_id bigint, step_no integer, token integer)
RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    PERFORM millrace_internal.require_running(checkpoint.agent_id, checkpoint.run_id, checkpoint.step_no, checkpoint.token);
    RETURN (SELECT n.checkpoint FROM millrace_internal.step_note n
            WHERE n.run_id = checkpoint.run_id AND n.step_no = checkpoint.step_no AND n.shard = (checkpoint.run_id & 255));
END $$;
COMMENT ON FUNCTION millrace.checkpoint(integer, bigint, integer, integer) IS
'What an earlier attempt of the step, or this one, has saved; null: nothing. Errors: MR021, MR041 stale token.';

-- Lines that one hand-out may write, and how long each may be.
CREATE OR REPLACE FUNCTION millrace_internal.log_limits(OUT lines integer, OUT length integer)
LANGUAGE sql IMMUTABLE AS $$ SELECT 10000, 8000 $$;
COMMENT ON FUNCTION millrace_internal.log_limits() IS 'Bounds of the log of a hand-out.';

-- Arguments: line_nos  count from 1 within a hand-out: a line that is there already is passed over, so that a call may be repeated;
--            ats  when they were written; null: now; streams  log, stdout, stderr
-- Returns:   how many lines were of hand-outs that are the latest of their steps
-- Tables changed: step_log.
CREATE OR REPLACE FUNCTION millrace.append_logs(agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], line_nos integer[], streams text[], lines text[], ats timestamptz[] DEFAULT NULL)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    n      integer := coalesce(cardinality(run_ids), 0);
    bound  record := millrace_internal.log_limits();
    now_at timestamptz;
    here   integer[];
BEGIN
    PERFORM millrace_internal.agent_get(append_logs.agent_id);
    PERFORM millrace_internal.report_check(n, step_nos, tokens, streams, lines, NULL, NULL);
    IF n <> coalesce(cardinality(line_nos), 0) OR n <> coalesce(cardinality(ats), n) OR 0 >= ANY (line_nos)
       OR NOT streams <@ '{log,stdout,stderr}' OR array_position(streams, NULL) IS NOT NULL OR array_position(lines, NULL) IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR001', 'the lines are malformed', NULL, 'A line has a number from 1 on, a stream (log, stdout or stderr) and a text.');
    END IF;
    here := millrace_internal.running_here(append_logs.agent_id, run_ids, step_nos, tokens, true);
    now_at := millrace_internal.clock();
    INSERT INTO millrace_internal.step_log (run_id, step_no, shard, token, line_no, stream, at, line)
    SELECT u.run_id, u.step_no, (u.run_id & 255)::smallint, u.token, u.line_no, array_position('{log,stdout,stderr}', u.stream) - 1, coalesce(u.at, now_at),
           CASE WHEN u.line_no = bound.lines THEN 'What follows is not kept.' ELSE left(u.line, bound.length) END
    FROM unnest(run_ids, step_nos, tokens, line_nos, streams, lines, ats) WITH ORDINALITY u (run_id, step_no, token, line_no, stream, line, at, ord)
    WHERE u.ord = ANY (here) AND u.line_no <= bound.lines
    ORDER BY u.run_id, u.step_no, u.token, u.line_no
    ON CONFLICT DO NOTHING;
    RETURN cardinality(here);
END $$;
COMMENT ON FUNCTION millrace.append_logs(integer, bigint[], integer[], integer[], integer[], text[], text[], timestamptz[]) IS
'Lines that running steps have written: 10,000 a hand-out, of 8,000 characters. Those of steps that were handed out anew are passed over. Errors: MR001, MR021. Tables changed: step_log.';

CREATE OR REPLACE VIEW millrace.step_logs WITH (security_invoker) AS
SELECT l.run_id, l.step_no, d.key, l.token, l.line_no, l.at, (ARRAY['log', 'stdout', 'stderr'])[l.stream + 1] AS stream, l.line
FROM millrace_internal.step_log l
JOIN millrace_internal.step s ON s.run_id = l.run_id AND s.step_no = l.step_no AND s.shard = l.shard
JOIN millrace_internal.run r ON r.run_id = l.run_id AND r.shard = l.shard
JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = s.def_no;
COMMENT ON VIEW millrace.step_logs IS 'What steps have written, a line a row, by hand-out (token). Ask for one run_id.';
