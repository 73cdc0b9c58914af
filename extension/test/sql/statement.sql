-- A step's SQL with the rights of another role, and JSON that may be none.
SET search_path = millrace_internal;
\set SHOW_CONTEXT never
\pset null '~'

CREATE ROLE millrace_author;
CREATE SCHEMA author AUTHORIZATION millrace_author;
CREATE TABLE secret (n int);
SET ROLE millrace_author;
CREATE TABLE author.item (n int PRIMARY KEY, label text, parent int REFERENCES author.item DEFERRABLE INITIALLY DEFERRED);
RESET ROLE;
CREATE FUNCTION pg_temp.run(statement text, input jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS
    $$SELECT execute_as('millrace_author'::regrole, statement, input, 'author')$$;
-- How a statement is refused: code, message, detail.
CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    PERFORM pg_temp.run(statement);
    RETURN 'none';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN concat_ws(' / ', SQLSTATE, SQLERRM, nullif(detail, ''));
END $$;

-- Rows as JSON: none, one value, one row, several.
SELECT pg_temp.run('SELECT 1 WHERE false');
SELECT pg_temp.run('SELECT NULL');
SELECT pg_temp.run('SELECT pg_sleep(0)');
SELECT pg_temp.run('SELECT $1 -> ''a''', '{"a": {"b": 1}}');
SELECT pg_temp.run('SELECT 1 AS a, ''x'' AS "a ""b"""');
SELECT pg_temp.run('SELECT g AS "a:b" FROM generate_series(1, 3) g');
SELECT pg_temp.run('SELECT g, g * g AS square FROM generate_series(1, 2) g');
SELECT jsonb_array_length(pg_temp.run('SELECT g FROM generate_series(1, 1000) g'));
SELECT pg_temp.run('INSERT INTO item VALUES (1, ''one'', 2), (2, NULL, 1)');
SELECT pg_temp.run('UPDATE item SET label = ''two'' WHERE n = 2 RETURNING n, label');
SELECT pg_temp.run('WITH gone AS (DELETE FROM item RETURNING n) SELECT count(*) FROM gone');

-- What the role may not do, what is no single statement on data, what is too much.
SELECT pg_temp.refusal('SELECT * FROM millrace_internal.secret');
SELECT pg_temp.refusal('SET ROLE postgres');
SELECT pg_temp.refusal('SELECT set_config(''role'', ''none'', false)');
SELECT pg_temp.refusal('SELECT 1; SELECT 2');
SELECT pg_temp.refusal('');
SELECT pg_temp.refusal('COMMIT');
SELECT pg_temp.refusal('COPY item TO STDOUT');
SELECT pg_temp.refusal('COPY item TO ''/tmp/item''');
SELECT pg_temp.refusal('DO $do$ BEGIN COMMIT; END $do$');
SELECT pg_temp.refusal('CREATE TEMP TABLE mine (n int)');
SELECT pg_temp.refusal('INSERT INTO item VALUES (1, NULL, 9)');
SELECT pg_temp.refusal('SELECT repeat(''x'', 1000) FROM generate_series(1, 100000)');

-- Nothing of it outlives the statement.
SELECT pg_temp.run('SELECT set_config(''work_mem'', ''7MB'', false)');
SELECT current_setting('work_mem') <> '7MB' AS restored, current_user = session_user AS myself;

-- Checked without being run.
SELECT check_sql('millrace_author'::regrole, 'SELECT n, $1 ->> ''a'' FROM item', 'author');
SELECT check_sql('millrace_author'::regrole, 'SELECT missing FROM item', 'author');
SELECT check_sql('millrace_author'::regrole, 'SELEC 1', 'author');
SELECT check_sql('millrace_author'::regrole, 'SELECT 1; SELECT 2', 'author');
SELECT check_sql(1, 'SELECT 1', 'author');

-- JSON, or why it is none.
SELECT * FROM try_jsonb('{"a": [1, null]}');
SELECT * FROM try_jsonb('{"a": ');
SELECT * FROM try_jsonb('"\u0000"');
SELECT * FROM try_jsonb(NULL);
SELECT problem FROM try_jsonb(repeat('[', 100000));
SELECT problem FROM try_jsonb('"' || repeat('x', 2000000) || '"');
SELECT count(value) AS good, count(problem) AS bad FROM generate_series(1, 5000) g, try_jsonb(CASE WHEN g % 5 = 0 THEN 'no' ELSE g::text END);

DROP TABLE secret;
SET client_min_messages = warning;
DROP OWNED BY millrace_author CASCADE;
DROP ROLE millrace_author;
