-- Steps of handler sql: run in the transaction that completes them, with the rights of the role that defined the workflow.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
CREATE TABLE test.ledger (entry text);
CREATE TABLE test.secret (word text);
CREATE ROLE execute_definer_test IN ROLE millrace_client;
CREATE ROLE execute_agent_test IN ROLE millrace_agent, millrace_viewer;
GRANT INSERT, SELECT ON test.ledger TO execute_definer_test;
SELECT test.register('x', '{sql,noop}');
-- As its agent would: the step of this key, with the token it has now (or an older one).
CREATE FUNCTION test.execute(run text, step text, older integer DEFAULT 0, agent text DEFAULT 'x') RETURNS jsonb LANGUAGE sql AS $$
    SELECT millrace.execute_sql(test.agent(execute.agent), s.run_id, s.step_no, s.token - execute.older) FROM millrace.steps s
    WHERE s.run_id = test.run(execute.run) AND s.key = execute.step
$$;

-- Results: the value of one column, an object for a row, an array for several, null for none. The next steps read them.
SELECT test.define('execute', 'value {"handler": "sql", "with": {"statement": "select 1 + ($1->''run''->>''n'')::int"}}',
    'row <- value {"handler": "sql", "with": {"statement": "select 1 as a, $1 as b"}, "input": {"v": "$.needs.value"}}',
    'rows <- row {"handler": "sql", "with": {"statement": "select n from generate_series(1, 3) n"}}',
    'none <- rows {"handler": "sql", "with": {"statement": "select 1 where false"}}',
    'insert <- none {"handler": "sql", "with": {"statement": "insert into test.ledger values (''paid'') returning entry"}}',
    'plain <- insert {"handler": "sql", "with": {"statement": "insert into test.ledger values (''twice'')"}}');
SELECT test.start('execute', 'r', '{"n": 41}');
SELECT key, handler, settings, input FROM millrace.claim(test.agent('x'));
SELECT test.execute('r', 'value');
SELECT test.claim('x');
SELECT test.execute('r', 'row');
SELECT test.claim('x');
SELECT test.execute('r', 'rows');
SELECT test.claim('x');
SELECT test.execute('r', 'none');
SELECT test.claim('x');
SELECT test.execute('r', 'insert');
SELECT test.claim('x');
SELECT test.execute('r', 'plain');
SELECT key, state, output, elapsed IS NOT NULL AS timed FROM millrace.steps WHERE run_id = test.run('r') ORDER BY step_no;
SELECT test.show('r');

-- Exactly once: a stale token, another agent, a step that is done: refused, and nothing of the statement stays.
TRUNCATE test.ledger;
SELECT test.define('execute-once', 'a {"handler": "sql", "with": {"statement": "insert into test.ledger values (''once'')"}}', 'b <- a');
SELECT test.start('execute-once', 'once');
SELECT * FROM test.fails($$SELECT test.execute('once', 'a')$$);
SELECT test.claim('x');
SELECT test.report('x', 'once', 'a', 'released');
SELECT test.claim('x');
SELECT * FROM test.fails($$SELECT test.execute('once', 'a', older => 1)$$);
SELECT test.register('y', '{sql}');
SELECT * FROM test.fails($$SELECT test.execute('once', 'a', agent => 'y')$$);
SELECT * FROM test.fails($$SELECT millrace.execute_sql(test.agent('x'), -1, 1, 1)$$);
SELECT count(*) FROM test.ledger;
BEGIN;
SELECT test.execute('once', 'a');
ROLLBACK;
SELECT count(*) FROM test.ledger;
SELECT test.show('once');
SELECT test.execute('once', 'a');
SELECT * FROM test.fails($$SELECT test.execute('once', 'a')$$);
SELECT * FROM test.ledger;
SELECT test.show('once');
SELECT test.claim('x');
SELECT * FROM test.fails($$SELECT test.execute('once', 'b')$$);
SELECT test.report('x', 'once', 'b');

-- An error of the statement is raised as it is; the step is still the agent's, which reports it.
SELECT test.define('execute-error', 'a {"handler": "sql", "with": {"statement": "insert into test.ledger select (1 / ($1->>''run'')::int)::text"}, "retry": {"limit": 1, "backoff": 0}}');
SELECT test.start('execute-error', 'error', '0');
SELECT test.claim('x');
SELECT * FROM test.fails($$SELECT test.execute('error', 'a')$$);
SELECT test.show('error');
SELECT test.report('x', 'error', 'a', 'failed', error => 'division by zero');
SELECT test.show('error');
SELECT millrace.cancel(test.run('error'));

-- An input that cannot be computed.
SELECT test.define('execute-input', 'a {"handler": "sql", "with": {"statement": "select $1"}, "input": {"x": "$.run.x"}, "required": true}');
SELECT test.start('execute-input', 'input');
SELECT test.claim('x');
SELECT * FROM test.fails($$SELECT test.execute('input', 'a')$$);
SELECT millrace.cancel(test.run('input'));

-- Rights: those of the definer, neither the agent's nor the submitter's.
SET ROLE execute_definer_test;
SELECT test.define('execute-rights', 'may {"handler": "sql", "with": {"statement": "insert into test.ledger values (current_user) returning entry"}}',
    'may-not {"handler": "sql", "with": {"statement": "select * from test.secret"}}',
    'settings {"handler": "sql", "with": {"statement": "select set_config(''search_path'', ''nowhere'', false)"}}',
    'role {"handler": "sql", "with": {"statement": "select set_config(''role'', ''postgres'', false)"}}');
RESET ROLE;
SELECT test.start('execute-rights', 'rights');
SELECT test.claim('x', 4);
SELECT test.execute('rights', 'may');
SELECT * FROM test.fails($$SELECT test.execute('rights', 'may-not')$$);
SELECT test.execute('rights', 'settings');
SHOW search_path;
SELECT * FROM test.fails($$SELECT test.execute('rights', 'role')$$);
SELECT current_user;
SELECT test.show('rights');
SELECT millrace.cancel(test.run('rights'));
SET ROLE execute_agent_test;
SELECT * FROM test.fails($$INSERT INTO test.ledger VALUES ('agent')$$);
RESET ROLE;

-- A statement that ends its own run is refused: there is nothing to complete any more.
SELECT test.define('execute-suicide', 'a {"handler": "sql", "with": {"statement": "select millrace.cancel(run_id) from millrace.runs where trace = ''suicide''"}}');
SELECT test.start('execute-suicide', 'suicide');
SELECT test.claim('x');
SELECT * FROM test.fails($$SELECT test.execute('suicide', 'a')$$);
SELECT test.show('suicide');
SELECT millrace.cancel(test.run('suicide'));

-- Statements that start runs: durable with the step.
SELECT test.define('execute-submit', 'a {"handler": "sql", "with": {"statement": "select test.start(''execute-once'', ''child'')"}}');
SELECT test.start('execute-submit', 'parent');
SELECT test.claim('x');
SELECT test.execute('parent', 'a');
SELECT test.show('child');
SELECT millrace.cancel(test.run('child'));

-- Its own timeout, and no other statement's.
SELECT test.define('execute-timeout', 'a {"handler": "sql", "timeout": 0.05, "with": {"statement": "select pg_sleep(600)"}}');
SELECT test.start('execute-timeout', 'slow');
SELECT test.claim('x');
SELECT test.execute('slow', 'a');
SHOW statement_timeout;
SELECT test.show('slow');
