-- Roles: each may do exactly its own.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql

-- The table: who may call what.
SELECT p.proname AS function, has_function_privilege('public', p.oid, 'EXECUTE') AS public, has_function_privilege('millrace_viewer', p.oid, 'EXECUTE') AS viewer,
    has_function_privilege('millrace_client', p.oid, 'EXECUTE') AS client, has_function_privilege('millrace_agent', p.oid, 'EXECUTE') AS agent, has_function_privilege('millrace_admin', p.oid, 'EXECUTE') AS admin
FROM pg_proc p WHERE p.pronamespace = 'millrace'::regnamespace ORDER BY 1;
SELECT c.relname AS view, has_table_privilege('public', c.oid, 'SELECT') AS public, has_table_privilege('millrace_viewer', c.oid, 'SELECT') AS viewer, has_table_privilege('millrace_client', c.oid, 'SELECT') AS client,
    has_table_privilege('millrace_agent', c.oid, 'SELECT') AS agent, has_table_privilege('millrace_admin', c.oid, 'SELECT') AS admin
FROM pg_class c WHERE c.relnamespace = 'millrace'::regnamespace AND c.relkind = 'v' ORDER BY 1;

-- Nobody writes a table, draws from a sequence, or creates anything.
SELECT count(*) FROM pg_class c, unnest(ARRAY['millrace_viewer', 'millrace_client', 'millrace_agent', 'millrace_admin']) r (role)
WHERE c.relnamespace IN ('millrace'::regnamespace, 'millrace_internal'::regnamespace)
  AND CASE WHEN c.relkind IN ('r', 'p', 'v') THEN has_table_privilege(r.role, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER') WHEN c.relkind = 'S' THEN has_sequence_privilege(r.role, c.oid, 'USAGE, UPDATE') END;
SELECT r.role, has_schema_privilege(r.role, 'millrace', 'CREATE') OR has_schema_privilege(r.role, 'millrace_internal', 'CREATE') AS may_create,
    has_schema_privilege(r.role, 'millrace', 'USAGE') AS usage FROM unnest(ARRAY['public', 'millrace_viewer', 'millrace_client', 'millrace_agent', 'millrace_admin']) r (role);

-- Inner functions: viewers call what the views are made of, which changes nothing; nobody calls any other.
SELECT DISTINCT p.proname FROM pg_proc p WHERE p.pronamespace = 'millrace_internal'::regnamespace AND has_function_privilege('millrace_viewer', p.oid, 'EXECUTE') ORDER BY 1;
SELECT count(*) FROM pg_proc p WHERE p.pronamespace = 'millrace_internal'::regnamespace
  AND (has_function_privilege('public', p.oid, 'EXECUTE') OR has_function_privilege('millrace_agent', p.oid, 'EXECUTE')
       OR has_function_privilege('millrace_admin', p.oid, 'EXECUTE') AND NOT has_function_privilege('millrace_viewer', p.oid, 'EXECUTE'));

-- Whatever runs with its owner's rights, or is reached by what does, looks names up in the server's own schema alone.
SELECT p.oid::regprocedure FROM pg_proc p
WHERE p.pronamespace IN ('millrace'::regnamespace, 'millrace_internal'::regnamespace) AND p.prosecdef
  AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false) ORDER BY 1;
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace IN ('millrace'::regnamespace, 'millrace_internal'::regnamespace) AND l.lanname = 'plpgsql'
  AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false) ORDER BY 1;
-- Views run with the rights of who looks.
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'millrace'::regnamespace AND c.relkind = 'v' AND NOT coalesce(c.reloptions @> ARRAY['security_invoker=true'], false);

-- In practice: each role does its part of one run.
CREATE ROLE roles_viewer_test IN ROLE millrace_viewer;
CREATE ROLE roles_client_test IN ROLE millrace_client;
CREATE ROLE roles_agent_test IN ROLE millrace_agent;
CREATE ROLE roles_admin_test IN ROLE millrace_admin;
CREATE ROLE roles_nobody_test;
SET ROLE roles_client_test;
SELECT test.define('roles', 'a', 'b <- a');
SELECT test.start('roles', 'r');
SELECT test.show('r');
SET ROLE roles_agent_test;
SELECT name FROM (SELECT 'registered' AS name FROM millrace.register_agent('{default}', '{noop}', name => 'roles')) r;
RESET ROLE;
SELECT registered_by FROM millrace.agents WHERE name = 'roles';
SELECT test.agent('roles') AS agent, test.run('r') AS run \gset
SET ROLE roles_agent_test;
SELECT key, token FROM millrace.claim(:agent);
SELECT answer, key FROM millrace.report(:agent, ARRAY[:run]::bigint[], '{1}', '{1}', '{completed}', max_steps => 1);
SELECT millrace.release(:agent, ARRAY[:run]::bigint[], '{2}', '{1}');
SELECT millrace.heartbeat(:agent) -> 'revoked' AS revoked;
SET ROLE roles_viewer_test;
SELECT test.show('r');
SELECT count(*) > 0 AS events FROM millrace.events WHERE run_id = :run;
SELECT reason IS NOT NULL AS reason FROM millrace.why_not_ready(:run, 'b');
SELECT count(*) FROM millrace.critical_path(:run);
SELECT count(*) FROM millrace.affected_by(:run, 'a');
SELECT count(*) > 0 AS metrics FROM millrace.metrics();
SELECT count(*) > 0 AS rows FROM millrace.queues, millrace.agents, millrace.dispatcher, millrace.workflows, millrace.dependency_paths;
SELECT count(*) > 0 AS rows FROM millrace.step_readiness, millrace.run_progress;
SET ROLE roles_admin_test;
SELECT millrace.keep() \g /dev/null
SELECT millrace.cancel(:run);

-- What is another role's is refused, and nothing has happened.
RESET ROLE;
CREATE FUNCTION test.refused(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement;
    RETURN 'allowed';
EXCEPTION WHEN insufficient_privilege THEN
    RETURN 'refused: ' || SQLERRM;
END $$;
SELECT test.start('roles', 'refused');
SELECT role, call, test.refused(role, call)
FROM (VALUES ('roles_viewer_test', $$SELECT millrace.submit('roles')$$), ('roles_viewer_test', 'SELECT millrace.cancel(1)'), ('roles_viewer_test', $$SELECT millrace.define_workflow('{}')$$),
    ('roles_viewer_test', 'SELECT millrace.claim(1)'), ('roles_viewer_test', 'DELETE FROM millrace_internal.event'), ('roles_viewer_test', 'UPDATE millrace_internal.run SET state = 1'),
    ('roles_viewer_test', $$SELECT nextval('millrace_internal.run_seq')$$), ('roles_viewer_test', 'SELECT millrace_internal.keep()'),
    ('roles_client_test', 'SELECT millrace.claim(1)'), ('roles_client_test', $$SELECT millrace.register_agent('{a}', '{b}')$$), ('roles_client_test', $$SELECT millrace.set_tenant_weight('', 2)$$),
    ('roles_client_test', 'SELECT millrace.set_clock(NULL)'), ('roles_client_test', 'DELETE FROM millrace_internal.step'), ('roles_client_test', 'SET millrace.max_output_bytes = 5000'),
    ('roles_agent_test', $$SELECT millrace.submit('roles')$$), ('roles_agent_test', 'SELECT * FROM millrace.runs'), ('roles_agent_test', 'SELECT millrace.retry(1)'), ('roles_agent_test', 'SELECT millrace.keep()'),
    ('roles_agent_test', 'SELECT * FROM millrace_internal.step'), ('roles_nobody_test', 'SELECT * FROM millrace.runs'), ('roles_nobody_test', $$SELECT millrace.submit('roles')$$), ('roles_nobody_test', 'SELECT millrace.metrics()'),
    ('roles_admin_test', 'DELETE FROM millrace_internal.run'), ('roles_admin_test', $$SELECT millrace_internal.execute_as(10, 'select 1', NULL, '')$$)) c (role, call);
SELECT test.show('refused');

-- The roles themselves can do nothing else.
SELECT rolcanlogin OR rolsuper OR rolcreaterole AS powerful FROM pg_roles WHERE rolname IN ('millrace_viewer', 'millrace_client', 'millrace_agent', 'millrace_admin') GROUP BY 1;
