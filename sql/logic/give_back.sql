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
