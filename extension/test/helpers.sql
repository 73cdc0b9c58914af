\set ECHO none
-- What the tests share: short words for what clients, agents and operators do, and answers that are the same in every
-- run and on both tiers. The clock stands still; time passes only when a test says so.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET IntervalStyle = 'postgres';
-- compiling the views' large plans takes longer than running them
SET jit = off;
DROP SCHEMA IF EXISTS test CASCADE;
CREATE SCHEMA test;
GRANT USAGE ON SCHEMA test TO PUBLIC;

-- The clock: so many seconds after the beginning of time. The keeper has done all that is due by then.
CREATE FUNCTION test.at(seconds double precision) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    now_at timestamptz := timestamptz '2030-01-01 00:00:00Z' + make_interval(secs => seconds);
BEGIN
    PERFORM millrace.set_clock(now_at);
    WHILE millrace.keep() <= now_at LOOP END LOOP;
END $$;
CREATE FUNCTION test.seconds(at timestamptz) RETURNS numeric LANGUAGE sql AS $$
    SELECT round(extract(epoch FROM at - timestamptz '2030-01-01 00:00:00Z'), 3)
$$;

-- A workflow in a line a step: 'key', 'key <- need need', 'key <- need {"rule": "all_done"}'. Handler noop where none is named.
CREATE FUNCTION test.define(workflow text, VARIADIC steps text[]) RETURNS integer LANGUAGE sql AS $$
    SELECT (millrace.define_workflow(jsonb_build_object('workflow', workflow, 'steps', jsonb_agg(
        '{"handler": "noop"}' || jsonb_build_object('key', s[1])
        || CASE WHEN s[2] IS NULL THEN '{}' ELSE jsonb_build_object('needs', string_to_array(s[2], ' ')) END
        || coalesce(s[3], '{}')::jsonb ORDER BY ord)))).version
    FROM unnest(steps) WITH ORDINALITY u (line, ord),
         regexp_match(line, '^(\S+)(?: <- ([^{]*[^{ ]))?(?: (\{.*\}))?$') s
$$;

-- Runs are called by a name, kept in their trace context, for their numbers differ from run to run.
CREATE FUNCTION test.run(name text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT max(run_id) FROM millrace.runs WHERE trace = name
$$;
CREATE FUNCTION test.start(workflow text, name text DEFAULT NULL, input jsonb DEFAULT NULL, priority integer DEFAULT 0, tenant text DEFAULT '',
    not_before timestamptz DEFAULT NULL, deadline timestamptz DEFAULT NULL, version integer DEFAULT NULL, definition jsonb DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
    SELECT 'started' FROM millrace.submit(workflow, input, version => version, definition => definition, trace => coalesce(name, workflow), priority => priority, tenant => tenant,
                                          not_before => not_before, deadline => deadline)
$$;

-- Agents by name too.
CREATE FUNCTION test.register(name text, handlers text[] DEFAULT '{noop}', queues text[] DEFAULT '{default}', lease interval DEFAULT '10 s')
RETURNS text LANGUAGE sql AS $$
    SELECT 'registered' FROM millrace.register_agent(queues, handlers, name => name, lease => lease, listening => false)
$$;
CREATE FUNCTION test.agent(name text) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT max(a.agent_id) FROM millrace.agents a WHERE a.name = agent.name
$$;

-- What an agent got: 'run.step#attempt', in order.
CREATE FUNCTION test.claim(agent text, steps integer DEFAULT 1, capacity jsonb DEFAULT NULL, bytes integer DEFAULT 8388608) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(format('%s.%s#%s', w.trace, w.key, w.attempt), ' ' ORDER BY w.ord), 'nothing')
    FROM millrace.claim(test.agent(agent), steps, capacity, bytes) WITH ORDINALITY
         w (run_id, step_no, token, attempt, workflow, key, handler, settings, input, timeout, element, trace, batch, ord)
$$;

-- An agent reports one step, by the token that the step has now; the answer, and what it was given next.
CREATE FUNCTION test.report(agent text, run text, step text, outcome text DEFAULT 'completed', output text DEFAULT NULL, error text DEFAULT NULL,
    steps integer DEFAULT 0)
RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(CASE a.answer WHEN 'started' THEN format('%s.%s#%s', a.trace, a.key, a.attempt) ELSE concat_ws(' ', a.answer, a.code) END, ' ' ORDER BY a.ord)
    FROM millrace.steps s,
         millrace.report(test.agent(agent), ARRAY[s.run_id], ARRAY[s.step_no], ARRAY[s.token], ARRAY[report.outcome], ARRAY[report.output], ARRAY[report.error], NULL, report.steps)
         WITH ORDINALITY a (answer, code, message, run_id, step_no, token, attempt, workflow, key, handler, settings, input, timeout, element, trace, batch, ord)
    WHERE s.run_id = test.run(report.run) AND s.key = report.step
$$;

-- Claims and reports, each in its own transaction, until there is nothing left to claim; steps named in `failing` fail for good.
CREATE PROCEDURE test.work(agent text, failing text[] DEFAULT '{}', INOUT done text DEFAULT '') LANGUAGE plpgsql AS $$
DECLARE
    step record;
BEGIN
    LOOP
        SELECT * INTO step FROM millrace.claim(test.agent(agent));
        EXIT WHEN NOT FOUND;
        COMMIT;
        done := ltrim(done || ' ' || step.key);
        PERFORM FROM millrace.report(test.agent(agent), ARRAY[step.run_id], ARRAY[step.step_no], ARRAY[step.token],
            ARRAY[CASE WHEN step.key = ANY (failing) THEN 'fatal' ELSE 'completed' END], NULL, ARRAY[CASE WHEN step.key = ANY (failing) THEN 'broken' END]);
        COMMIT;
    END LOOP;
END $$;

-- A run at a glance.
CREATE FUNCTION test.show(name text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT format('%s: %s', (SELECT state FROM millrace.runs WHERE run_id = test.run(name)), string_agg(key || ' ' || state, ', ' ORDER BY step_no))
    FROM millrace.steps WHERE run_id = test.run(name)
$$;
-- The log of a run, from the last so many events on.
CREATE FUNCTION test.log(name text) RETURNS TABLE (event text, step text, attempt integer, at numeric, data jsonb) LANGUAGE sql STABLE AS $$
    SELECT e.kind, s.key, e.attempt, test.seconds(e.at), e.data
    FROM millrace.events e LEFT JOIN millrace.steps s USING (run_id, step_no) WHERE e.run_id = test.run(name) ORDER BY e.event_id
$$;

-- What the storms of the random tests are made of. Time passes, and the keeper does one chore.
CREATE FUNCTION test.second_passes() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM millrace.set_clock(millrace_internal.clock() + '1 s');
    PERFORM millrace.keep();
END $$;
-- An agent reports up to so many of the steps that it holds, with outcomes drawn from these, and is given up to so many others.
CREATE FUNCTION test.report_some(agent text, most integer, outcomes text[], steps integer DEFAULT 0) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    SELECT array_agg(run_id) AS runs, array_agg(step_no) AS steps, array_agg(token) AS tokens, array_agg(outcomes[1 + floor(random() * cardinality(outcomes))]) AS outcomes INTO held
    FROM (SELECT s.run_id, s.step_no, s.token FROM millrace.steps s WHERE s.state = 'running' AND s.agent_id = test.agent(agent) ORDER BY 1, 2 LIMIT most) s;
    PERFORM FROM millrace.report(test.agent(agent), held.runs, held.steps, held.tokens, held.outcomes, max_steps => steps);
END $$;
-- Runs that have ended, though not all their steps have, or the other way round.
CREATE FUNCTION test.contradictions(VARIADIC workflows text[]) RETURNS TABLE (state text, what text) LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT r.state, string_agg(s.key || ' ' || s.state, ', ' ORDER BY s.key)
    FROM millrace.runs r JOIN millrace.steps s USING (run_id) WHERE r.workflow = ANY (workflows)
    GROUP BY r.run_id, r.state, r.finished_at
    HAVING (r.finished_at IS NULL) = bool_and(s.state IN ('completed', 'failed', 'skipped', 'cancelled'));
END $$;

-- Until the keeper has filled the dispatcher; at once on the plain tier.
CREATE PROCEDURE test.await_dispatcher() LANGUAGE plpgsql AS $$
BEGIN
    WHILE (SELECT state FROM millrace.dispatcher) = 'cold' LOOP COMMIT; END LOOP;
END $$;

-- An error, in one row: its code, message, detail and hint; with the numbers of runs, agents and versions left out.
CREATE FUNCTION test.fails(statement text) RETURNS TABLE (code text, message text, detail text, hint text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    code := 'none'; message := 'it worked';
    RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    message := regexp_replace(message, '\y(run|agent) \d+', '\1 #', 'g');
    hint := regexp_replace(hint, '\(\d+\)', '(#)', 'g');
    RETURN NEXT;
END $$;

-- Nothing of an earlier test is left to be claimed.
SELECT millrace.cancel(run_id) FROM millrace.runs WHERE finished_at IS NULL \g /dev/null
SELECT millrace.deregister_agent(agent_id) FROM millrace.agents \g /dev/null
SELECT test.at(0) \g /dev/null
\set ECHO all
