-- Purpose: signals: something has happened that a run may wait for.

-- Arguments: name     one that a step of the run waits for, now or later
--            payload  the output of the steps that wait for it
-- Returns:   false if the run has had this signal before: the first stays
CREATE OR REPLACE FUNCTION millrace.signal(run_id bigint, name text, payload jsonb DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r       millrace_internal.run := millrace_internal.run_get(signal.run_id);
    waiting record;
BEGIN
    PERFORM millrace_internal.require_read_committed();
    PERFORM millrace_internal.signal_check(r, name, payload);
    INSERT INTO millrace_internal.signal (run_id, shard, name, sent_at, sent_by, payload)
    VALUES (r.run_id, r.shard, signal.name, millrace_internal.clock(), millrace_internal.caller(), signal.payload)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT array_agg(w.run_id ORDER BY w.step_no) AS runs, array_agg(w.step_no ORDER BY w.step_no) AS steps, array_agg(w.token ORDER BY w.step_no) AS tokens,
           count(*)::integer AS n INTO waiting
    FROM millrace_internal.wait w WHERE w.run_id = r.run_id AND w.signal = signal.name AND w.shard = r.shard;
    IF waiting.n > 0 THEN
        PERFORM millrace_internal.decide(r.shard, 0, waiting.runs, waiting.steps, waiting.tokens, array_fill(1::smallint, ARRAY[waiting.n]),
                                         array_fill(signal.payload, ARRAY[waiting.n]), NULL, NULL);
        PERFORM millrace_internal.waits_forget(r.shard, waiting.runs, waiting.steps, waiting.tokens);
    END IF;
    -- for those that another call is just entering, and nobody sees yet
    PERFORM millrace_internal.timers_set(r.shard, ARRAY[r.run_id], ARRAY[-1], ARRAY[0], ARRAY[millrace_internal.clock()]);
    RETURN true;
END $$;
COMMENT ON FUNCTION millrace.signal(bigint, text, jsonb) IS
'Gives a run a signal: the steps that wait for it complete with its payload, and so do those that come to wait for it later. The first of a name stays: answers false for any other.
Errors: MR001, MR002, MR013 unknown run, MR015 no step waits for such a signal, MR036 the run has ended, MR043. Locks and tables changed: as report; signal, wait, timer.';

CREATE OR REPLACE FUNCTION millrace_internal.signal_check(r millrace_internal.run, name text, payload jsonb)
RETURNS void LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    names text[];
BEGIN
    IF coalesce(name, '') = '' THEN
        PERFORM millrace_internal.fail('MR001', 'a signal has a name');
    ELSIF octet_length(name) > 200 THEN
        PERFORM millrace_internal.fail('MR002', 'the name of the signal is longer than 200 bytes');
    ELSIF octet_length(payload::text) > pg_size_bytes(millrace_internal.setting('millrace.max_output_bytes')) THEN
        PERFORM millrace_internal.fail('MR002', 'the payload is too large', NULL, 'Keep it elsewhere and send a reference, or raise millrace.max_output_bytes.');
    ELSIF r.finished_at IS NOT NULL THEN
        PERFORM millrace_internal.fail('MR036', format('run %s has ended: it is %s', r.run_id, millrace_internal.run_state_name(r.state)), NULL, 'Only a running or paused run can be given a signal.');
    END IF;
    names := ARRAY(SELECT DISTINCT d.traits -> 'wait_for' ->> 'signal' FROM millrace_internal.step_definition d
                   WHERE d.version_id = r.version_id AND d.traits -> 'wait_for' ? 'signal' ORDER BY 1);
    -- a name that is looked up in the run's data may be any
    IF signal_check.name <> ALL (names) AND NOT EXISTS (SELECT FROM unnest(names) n WHERE n LIKE '$%' OR n LIKE '{%') THEN
        PERFORM millrace_internal.fail('MR015', format('no step of run %s waits for a signal "%s"', r.run_id, left(name, 200)), NULL,
            coalesce('Did you mean "' || millrace_internal.nearest(name, names) || '"?',
                     CASE WHEN cardinality(names) > 0 THEN 'Its signals: ' || array_to_string(names[:20], ', ') || '.' ELSE 'None of its steps waits for a signal.' END));
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.signal_check(millrace_internal.run, text, jsonb) IS 'Whether a run can be given this signal.';

CREATE OR REPLACE VIEW millrace.signals WITH (security_invoker) AS
SELECT s.run_id, s.name, s.payload, s.sent_at, s.sent_by FROM millrace_internal.signal s;
COMMENT ON VIEW millrace.signals IS 'Signals that runs have got, whether a step has waited for them or not. Ask for one run_id.';
