-- Purpose: a claim: the contract of docs/sql-reference.md on top of work_claim (logic/work.sql), and of logic/start.sql where
-- that does not do: on the plain tier, for an agent that comes back, for steps that only the tables know of.

CREATE OR REPLACE FUNCTION millrace.claim(agent_id integer, max_steps integer DEFAULT 1, capacity jsonb DEFAULT NULL, max_bytes integer DEFAULT 8388608)
RETURNS TABLE (run_id bigint, step_no integer, token integer, attempt integer, workflow text, key text, handler text,
               settings jsonb, input jsonb, timeout double precision, element integer, trace text, batch bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    did     record := millrace_internal.work_claim(0::smallint, claim.agent_id, claim.max_steps, claim.capacity, claim.max_bytes);
    agent   millrace_internal.agent;
    free    record;
    started record;
BEGIN
    IF did.run_ids IS NULL AND NOT did.looked THEN
        PERFORM millrace_internal.require_read_committed();
        agent := millrace_internal.agent_get(claim.agent_id);
        PERFORM millrace_internal.agent_revive(agent);
        free := millrace_internal.agent_capacity(agent, claim.capacity, claim.max_steps);
        did.receipt_no := nextval('millrace_internal.receipt_no_seq');
        started := millrace_internal.start_from_sink(0::smallint, agent.agent_id, did.receipt_no, agent.queues, free.handler_ids, free.rooms, claim.max_steps);
        did.run_ids := started.run_ids; did.step_nos := started.step_nos; did.tokens := started.tokens;
        did.attempts := started.attempts; did.versions := started.versions; did.traces := started.traces;
        did.plainly := false;
    END IF;
    IF did.run_ids IS NULL THEN
        RETURN;
    ELSIF did.plainly OR millrace_internal.hands_out_plainly(0::smallint, claim.agent_id, did.receipt_no, did.run_ids, did.step_nos, did.tokens,
                                                             did.versions, claim.max_bytes) THEN
        RETURN QUERY SELECT * FROM millrace_internal.work_rows(did.run_ids, did.step_nos, did.tokens, did.attempts, did.versions, did.traces, did.inputs);
    ELSE
        RETURN QUERY SELECT * FROM millrace_internal.hand_out(0::smallint, claim.agent_id, did.receipt_no, did.run_ids, did.step_nos,
                                                              did.tokens, did.attempts, claim.max_bytes, did.versions);
    END IF;
END $$;
COMMENT ON FUNCTION millrace.claim(integer, integer, jsonb, integer) IS
'Hands an agent up to max_steps ready steps that its queues, handlers and free capacity allow, in order of priority, fair share between tenants, age of run, rank.
Durable once the transaction has committed: start no handler before. Errors: MR001, MR021 unknown agent, MR023 handler it is not registered for, MR043 isolation.
Tables changed: step, event, receipt, ready (plain tier). Locks: step rows, SKIP LOCKED.';

-- Arguments: versions of the steps; null, or fewer, where they are not all known
-- Returns:   whether the caller can answer from what is known of the definitions alone: no step takes an input, and all settings
--            fit into max_bytes. Then the receipt is written.
CREATE OR REPLACE FUNCTION millrace_internal.hands_out_plainly(in_shard smallint, in_agent_id integer, in_receipt_no bigint,
    run_ids bigint[], step_nos integer[], tokens integer[], versions integer[], max_bytes integer)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    measured record;
BEGIN
    IF run_ids = '{}' THEN
        RETURN true;
    ELSIF run_ids IS NULL OR cardinality(versions) IS DISTINCT FROM cardinality(run_ids) OR millrace_internal.any_gained(step_nos) THEN
        RETURN false;
    END IF;
    measured := millrace_internal.work_measure(versions, step_nos);
    IF measured.takes_input OR measured.bytes > max_bytes THEN
        RETURN false;
    END IF;
    PERFORM millrace_internal.receipt_write(in_shard, in_agent_id, in_receipt_no, run_ids, step_nos, tokens, measured.timeout);
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace_internal.hands_out_plainly(smallint, integer, bigint, bigint[], integer[], integer[], integer[], integer) IS
'Whether work_rows can answer for these steps. Tables changed: receipt.';

-- The rows of started steps and their receipt, for all others; of batches, with the rest of their steps. What exceeds max_bytes is given back; what has no input fails.
-- Arguments: versions  of the steps; null, or fewer, where they are not all known
CREATE OR REPLACE FUNCTION millrace_internal.hand_out(in_shard smallint, in_agent_id integer, in_receipt_no bigint,
    run_ids bigint[], step_nos integer[], tokens integer[], attempts integer[], max_bytes integer, versions integer[])
RETURNS TABLE (run_id bigint, step_no integer, token integer, attempt integer, workflow text, key text, handler text,
               settings jsonb, input jsonb, timeout double precision, element integer, trace text, batch bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    w              record;
    taken          record;
    batches        bigint[];
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
    IF cardinality(versions) IS DISTINCT FROM cardinality(run_ids) OR millrace_internal.any_gained(step_nos) OR millrace_internal.work_batched(versions, step_nos) THEN
        taken := millrace_internal.batch_take(in_shard, in_agent_id, in_receipt_no, run_ids, step_nos);
        batches := taken.batches;
        IF taken.more_runs IS NOT NULL THEN
            run_ids := run_ids || taken.more_runs; step_nos := step_nos || taken.more_steps;
            tokens := tokens || taken.more_tokens; attempts := attempts || taken.more_attempts;
        END IF;
    END IF;
    FOR w IN SELECT * FROM millrace_internal.work_rows_with_input(in_shard, run_ids, step_nos, tokens, attempts, batches) LOOP
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
        settings := w.settings; input := w.input; timeout := w.timeout; element := w.element; trace := w.trace; batch := w.batch;
        RETURN NEXT;
    END LOOP;
    PERFORM millrace_internal.receipt_write(in_shard, in_agent_id, in_receipt_no, run_ids, step_nos, tokens, shortest);
    IF back_runs IS NOT NULL THEN
        PERFORM millrace_internal.decide(in_shard, in_agent_id, back_runs, back_steps, back_tokens,
                                         array_fill(5::smallint, ARRAY[cardinality(back_runs)]), NULL, NULL, NULL);
    END IF;
    IF broken_runs IS NOT NULL THEN
        PERFORM millrace_internal.fail_broken(in_shard, in_agent_id, broken_runs, broken_steps, broken_tokens, broken_reasons);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.hand_out(smallint, integer, bigint, bigint[], integer[], integer[], integer[], integer, integer[]) IS
'What an agent reads of the steps it was given, and their receipt. Tables changed: receipt; as batch_take; step, event for what is given back or fails.';

-- Steps without an input fail as they are handed out. This comes last in a call that holds other rows, and so may not wait
-- for any: where another call holds what would fall, the steps are given back, and fail when they are handed out next.
CREATE OR REPLACE FUNCTION millrace_internal.fail_broken(in_shard smallint, in_agent_id integer, run_ids bigint[], step_nos integer[], tokens integer[], reasons text[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    patience text := current_setting('lock_timeout');
BEGIN
    PERFORM set_config('lock_timeout', '1ms', true);
    PERFORM millrace_internal.decide(in_shard, in_agent_id, run_ids, step_nos, tokens, array_fill(3::smallint, ARRAY[cardinality(run_ids)]), NULL, reasons, NULL,
                                     classes => array_fill('input'::text, ARRAY[cardinality(run_ids)]));
    PERFORM set_config('lock_timeout', patience, true);
EXCEPTION WHEN lock_not_available THEN
    PERFORM millrace_internal.decide(in_shard, in_agent_id, run_ids, step_nos, tokens, array_fill(5::smallint, ARRAY[cardinality(run_ids)]), NULL, NULL, NULL);
END $$;
COMMENT ON FUNCTION millrace_internal.fail_broken(smallint, integer, bigint[], integer[], integer[], text[]) IS
'Fails steps whose input cannot be computed, or gives them back if that would have to wait. Tables changed: as decide.';
