-- Files that steps leave behind.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.at(0);
SELECT test.register('x', lease => '1 h'), test.register('y', lease => '1 h');
SELECT test.define('made', 'a {"retry": {"limit": 3, "backoff": 0}}', 'b');
SELECT test.start('made', 'made');
SELECT test.claim('x', 2);
\set run 'test.run(\'made\')'
CREATE FUNCTION pg_temp.store(agent text, step_no integer, token integer, name text, part_no integer, part bytea, whole bytea DEFAULT NULL, content_type text DEFAULT 'text/plain') RETURNS bigint LANGUAGE sql AS $$
    SELECT millrace.store_artifact(test.agent(agent), test.run('made'), step_no, token, name, part_no, part, content_type, sha256(whole))
$$;
-- What is there, its bytes read part by part, and whether they are what their checksum says.
CREATE FUNCTION pg_temp.show() RETURNS TABLE (key text, name text, content_type text, bytes bigint, token integer, parts integer, at numeric, whole text, intact boolean) LANGUAGE sql AS $$
    SELECT a.key, a.name, a.content_type, a.bytes, a.token, a.parts, test.seconds(a.stored_at), left(convert_from(p.whole, 'UTF8'), 20), encode(sha256(p.whole), 'hex') = a.sha256 AND octet_length(p.whole) = a.bytes
    FROM millrace.artifacts a, LATERAL (SELECT string_agg(millrace.read_artifact(a.run_id, a.step_no, a.artifact_no, n), '' ORDER BY n) FROM generate_series(1, a.parts) n) p (whole)
    WHERE a.run_id = test.run('made') ORDER BY a.step_no, a.name
$$;
-- What the tables hold, seen or not.
CREATE FUNCTION pg_temp.held() RETURNS text LANGUAGE sql AS $$
    SELECT format('%s artifacts, %s uploads, %s parts', (SELECT count(*) FROM millrace_internal.artifact a WHERE a.run_id = test.run('made')),
        (SELECT count(*) FROM millrace_internal.artifact_upload u WHERE u.run_id = test.run('made')), (SELECT count(*) FROM millrace_internal.artifact_part p WHERE p.run_id = test.run('made')))
$$;

-- In one part, in several, empty. Nothing is seen before the last part has come.
SELECT pg_temp.store('x', 1, 1, 'report.txt', 1, 'all of it', 'all of it');
SELECT pg_temp.store('x', 1, 1, 'large.txt', 1, 'one '), pg_temp.store('x', 1, 1, 'large.txt', 2, 'two ');
SELECT pg_temp.store('x', 2, 1, 'empty', 1, '', '', 'application/octet-stream');
SELECT * FROM pg_temp.show();
SELECT pg_temp.held();
SELECT pg_temp.store('x', 1, 1, 'large.txt', 3, 'three', 'one two three');
SELECT * FROM pg_temp.show();
SELECT pg_temp.held();

-- A call may be repeated: in the middle, and the last one, whose answer was lost.
SELECT pg_temp.store('x', 1, 1, 'again.txt', 1, 'one '), pg_temp.store('x', 1, 1, 'again.txt', 2, 'wto '), pg_temp.store('x', 1, 1, 'again.txt', 2, 'two ');
SELECT pg_temp.store('x', 1, 1, 'again.txt', 3, 'three', 'one two three'), pg_temp.store('x', 1, 1, 'again.txt', 3, 'three', 'one two three');
-- Part 1 begins anew: what had come is dropped, and what was complete stays until the new one is.
SELECT pg_temp.store('x', 1, 1, 'again.txt', 1, 'four '), pg_temp.store('x', 1, 1, 'again.txt', 2, 'five ');
SELECT pg_temp.store('x', 1, 1, 'again.txt', 1, 'six '), pg_temp.held();
SELECT * FROM pg_temp.show() WHERE name = 'again.txt';
SELECT pg_temp.store('x', 1, 1, 'again.txt', 2, 'seven', 'six seven');
SELECT * FROM pg_temp.show() WHERE name = 'again.txt';
SELECT pg_temp.held();

-- Misuse, which changes nothing.
SELECT f.code, f.message, f.detail, f.hint FROM (VALUES (1, $$'x', 1, 1, '../up', 1, '', ''$$), (2, $$'x', 1, 1, 'a/b', 1, '', ''$$), (3, $$'x', 1, 1, '.hidden', 1, '', ''$$), (4, $$'x', 1, 1, '', 1, '', ''$$), (5, $$'x', 1, 1, null, 1, '', ''$$),
    (6, $$'x', 1, 1, E'a\nb', 1, '', ''$$), (7, $$'x', 1, 1, repeat('x', 201), 1, '', ''$$), (8, $$'x', 1, 1, 'a', 1, '', '', 'text'$$), (9, $$'x', 1, 1, 'a', 0, ''$$), (10, $$'x', 1, 1, 'a', 1, null$$),
    (11, $$'x', 1, 1, 'a', 1, decode(repeat('00', 1048577), 'hex')$$),
    (12, $$'x', 1, 1, 'a', 2, 'two'$$), (13, $$'x', 1, 1, 'again.txt', 3, 'three', 'six seven three'$$), (14, $$'x', 1, 1, 'a', 1, 'one', 'two'$$),
    (15, $$'x', 1, 2, 'a', 1, 'one'$$), (16, $$'y', 1, 1, 'a', 1, 'one'$$), (17, $$'x', 3, 1, 'a', 1, 'one'$$)) v (n, arguments),
    test.fails(format('SELECT pg_temp.store(%s)', v.arguments)) f ORDER BY v.n;
SELECT f.code, f.message FROM test.fails($$SELECT millrace.store_artifact(0, 0, 1, 1, 'a', 1, '', sha256 => 'short')$$) f;
SELECT f.code FROM test.fails($$SELECT millrace.store_artifact(0, 0, 1, 1, 'a', 1, '')$$) f;
SELECT pg_temp.held();
-- A part out of turn, a checksum that is another: what had come is still there to go on from.
SELECT pg_temp.store('x', 1, 1, 'turn.txt', 1, 'one ');
SELECT f.code, f.message, f.detail FROM test.fails($$SELECT pg_temp.store('x', 1, 1, 'turn.txt', 3, 'three')$$) f
UNION ALL SELECT f.code, f.message, f.detail FROM test.fails($$SELECT pg_temp.store('x', 1, 1, 'turn.txt', 2, 'two', 'one three')$$) f;
SELECT pg_temp.store('x', 1, 1, 'turn.txt', 2, 'two', 'one two');
SELECT f.code, f.message, f.hint FROM test.fails(format('SELECT millrace.read_artifact(%s, 1, 1, 2)', :run)) f
UNION ALL SELECT f.code, f.message, f.hint FROM test.fails('SELECT millrace.read_artifact(0, 1, 1, 1)') f;

-- Bounds.
SET millrace.max_artifact_size = '1kB';
SET millrace.max_step_artifacts_size = '2kB';
SELECT pg_temp.store('x', 2, 1, 'one', 1, convert_to(repeat('1', 1000), 'UTF8'), convert_to(repeat('1', 1000), 'UTF8'));
SELECT pg_temp.store('x', 2, 1, 'two', 1, convert_to(repeat('2', 1000), 'UTF8'));
SELECT f.code, f.message, f.detail, f.hint FROM test.fails($$SELECT pg_temp.store('x', 2, 1, 'two', 2, convert_to(repeat('2', 25), 'UTF8'))$$) f
UNION ALL SELECT f.code, f.message, f.detail, f.hint FROM test.fails($$SELECT pg_temp.store('x', 2, 1, 'three', 1, convert_to(repeat('3', 49), 'UTF8'))$$) f;
SELECT pg_temp.store('x', 2, 1, 'three', 1, convert_to(repeat('3', 48), 'UTF8'), convert_to(repeat('3', 48), 'UTF8'));
-- what is replaced makes room
SELECT pg_temp.store('x', 2, 1, 'one', 1, convert_to(repeat('4', 1000), 'UTF8'), convert_to(repeat('4', 1000), 'UTF8'));
RESET millrace.max_artifact_size;
RESET millrace.max_step_artifacts_size;
-- Where the agents' store has the bytes, their number does not matter.
SELECT millrace.store_artifact_reference(test.agent('x'), :run, 2, 1, 'far', '1-2-3.bin', 1000000000000, sha256('far'), 'video/mp4');
SELECT key, name, content_type, bytes, parts, place FROM millrace.artifacts WHERE run_id = :run AND name = 'far';
SELECT f.code, f.message FROM test.fails(format($$SELECT millrace.store_artifact_reference(%s, %s, 2, 1, 'far', '', 1, sha256('far'))$$, test.agent('x'), :run)) f
UNION ALL SELECT f.code, f.message FROM test.fails(format($$SELECT millrace.store_artifact_reference(%s, %s, 2, 9, 'far', 'there', 1, sha256('far'))$$, test.agent('x'), :run)) f;
SELECT count(pg_temp.store('x', 2, 1, 'many ' || n, 1, '', '')) FROM generate_series(1, 1000 - 5) n;
SELECT f.code, f.message, f.hint FROM test.fails($$SELECT pg_temp.store('x', 2, 1, 'one more', 1, '', '')$$) f;
SELECT pg_temp.store('x', 2, 1, 'many 7', 1, 'anew', 'anew');
SELECT millrace.delete_artifacts(:run, 'b', 'many 7'), millrace.delete_artifacts(:run, 'b', 'many 7'), millrace.delete_artifacts(:run, 'b');
SELECT f.code FROM test.fails(format('SELECT millrace.delete_artifacts(%s, %L)', :run, 'nobody')) f UNION ALL SELECT f.code FROM test.fails('SELECT millrace.delete_artifacts(0)') f;

-- A hand-out that is over stores nothing. What it had begun goes with the next one's first artifact; what it had completed stays,
-- until there is one of the same name.
SELECT pg_temp.store('x', 1, 1, 'half.txt', 1, 'half'), pg_temp.held();
SELECT test.report('x', 'made', 'a', outcome => 'failed');
SELECT test.claim('y', 1);
SELECT f.code, f.message FROM test.fails($$SELECT pg_temp.store('x', 1, 1, 'half.txt', 2, 'done', 'halfdone')$$) f;
SELECT pg_temp.store('y', 1, 2, 'report.txt', 1, 'the second', 'the second'), pg_temp.held();
SELECT * FROM pg_temp.show();
-- What nobody goes on with is taken away by the keeper, a minute later.
SELECT pg_temp.store('y', 1, 2, 'lost.txt', 1, 'lost'), pg_temp.store('x', 2, 1, 'slow.txt', 1, 'slow');
SELECT test.report('y', 'made', 'a');
SELECT test.at(59), pg_temp.held();
SELECT test.at(61), pg_temp.held();
-- They stay with the run, and through a retry. A fork begins without.
SELECT test.report('x', 'made', 'b', outcome => 'fatal');
SELECT millrace.retry(:run, 'b');
SELECT test.claim('x');
SELECT test.report('x', 'made', 'b');
SELECT test.run('made') AS made \gset
SELECT count(*) FROM millrace.artifacts a, millrace.fork(:made, 'b') f WHERE a.run_id = f;
SELECT millrace.cancel(:run) FROM (SELECT) AS of_the_fork;
SELECT key, name FROM millrace.artifacts WHERE run_id = :made ORDER BY name;
SELECT millrace.delete_artifacts(:made, name => 'large.txt'), millrace.delete_artifacts(:made);
SELECT test.at(200);
SELECT count(*) FROM millrace_internal.artifact_part WHERE run_id = :made;

-- In a fan-out each element has its own.
SELECT test.define('pieces', 'e {"for_each": [10, 20]}');
SELECT test.start('pieces', 'pieces');
SELECT test.claim('y', 2);
SELECT count(millrace.store_artifact(test.agent('y'), s.run_id, s.step_no, s.token, 'part.txt', 1, convert_to(s.element::text, 'UTF8'), sha256 => sha256(convert_to(s.element::text, 'UTF8'))))
FROM millrace.steps s WHERE s.run_id = test.run('pieces') AND s.element IS NOT NULL;
SELECT key, element, name, bytes FROM millrace.artifacts WHERE run_id = test.run('pieces') ORDER BY element;

-- A running step reads what others of its run have left.
SELECT test.define('passed', 'make', 'use <- make', 'other');
SELECT test.start('passed', 'passed');
SELECT test.claim('x', 2);
SELECT millrace.store_artifact(test.agent('x'), test.run('passed'), 1, 1, 'made.txt', 1, 'one '), millrace.store_artifact(test.agent('x'), test.run('passed'), 1, 1, 'made.txt', 2, 'two', sha256 => sha256('one two'));
SELECT millrace.store_artifact_reference(test.agent('x'), test.run('passed'), 1, 1, 'far', '1-2-3.bin', 3, sha256('far'));
SELECT test.report('x', 'passed', 'make');
SELECT test.claim('y');
SELECT f.artifact_no, f.content_type, f.bytes, f.sha256 = sha256('one two') AS intact, f.parts, f.place, convert_from(f.part, 'UTF8') AS part
FROM generate_series(0, 2) n, millrace.fetch_artifact(test.agent('y'), test.run('passed'), 2, 1, 'make', 'made.txt', n) f;
SELECT bytes, parts, place, part FROM millrace.fetch_artifact(test.agent('y'), test.run('passed'), 2, 1, 'make', 'far', 1);
SELECT f.code, f.message, f.hint FROM (VALUES ('y', 1, 'make', 'made.txt', '3'), ('y', 1, 'make', 'nothing', '0'), ('y', 1, 'make', 'made.txt', '0, 5'), ('y', 1, 'nobody', 'made.txt', '0'), ('x', 1, 'make', 'made.txt', '0'), ('y', 2, 'make', 'made.txt', '0')) v (agent, token, key, name, part),
    test.fails(format('SELECT millrace.fetch_artifact(test.agent(%L), test.run(%L), 2, %s, %L, %L, %s)', v.agent, 'passed', v.token, v.key, v.name, v.part)) f;
SELECT convert_from(part, 'UTF8') AS part FROM millrace.steps s, millrace.fetch_artifact(test.agent('y'), s.run_id, s.step_no, s.token, 'e', 'part.txt', 1, 1) WHERE s.run_id = test.run('pieces') AND s.element = 0;

-- Who may.
SET ROLE millrace_client;
SELECT millrace.store_artifact(1, 1, 1, 1, 'a', 1, '');
SELECT count(*), max(convert_from(millrace.read_artifact(run_id, step_no, artifact_no, 1), 'UTF8')) FROM millrace.artifacts WHERE run_id = test.run('pieces');
SET ROLE millrace_agent;
SELECT count(*) FROM millrace.artifacts;
SELECT millrace.read_artifact(1, 1, 1, 1);
SELECT millrace.delete_artifacts(1);
RESET ROLE;
