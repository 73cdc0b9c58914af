-- Agents: registering, leases, lost work, giving back.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
SELECT test.define('agents', 'a', 'b <- a', 'c');

-- What an agent is told when it registers, and what the view shows of it.
SELECT agent_id > 0 AS id, agreed_protocol, lease_seconds, cardinality(channels) AS channels, channels[3] AS last_channel, tier IN ('plain', 'dispatcher') AS tier
FROM millrace.register_agent('{default,agents}', '{noop,http}', name => 'first', lease => '20 s');
SELECT name, state, queues, handlers, test.seconds(lease_expires_at) AS lease_expires, test.seconds(registered_at) AS registered, test.seconds(seen_at) AS seen, registered_by, protocol, held
FROM millrace.agents WHERE name = 'first';

-- A heartbeat renews the lease; without one the agent is lost, and what it held is ready again.
SELECT test.start('agents', 'r');
SELECT test.claim('first', 5);
SELECT test.at(15);
SELECT millrace.heartbeat(test.agent('first')) - 'next_beat_seconds' AS beat;
SELECT test.at(34.9);
SELECT test.show('r');
SELECT state, held FROM millrace.agents WHERE name = 'first';
SELECT test.at(35);
SELECT test.show('r');
SELECT state, held FROM millrace.agents WHERE name = 'first';
SELECT test.report('first', 'r', 'a');
SELECT test.register('second');
SELECT test.claim('second', 5);
SELECT test.report('first', 'r', 'a');
SELECT answer FROM millrace.report(test.agent('first'), ARRAY[test.run('r')], '{1}', '{1}', '{completed}');

-- When it comes back it is told what it has lost, once; then it works on.
SELECT jsonb_path_query_array(millrace.heartbeat(test.agent('first')), '$.revoked[*].reason') AS revoked;
SELECT millrace.heartbeat(test.agent('first')) -> 'revoked' AS revoked;
SELECT state FROM millrace.agents WHERE name = 'first';
SELECT test.report('second', 'r', 'a'), test.report('second', 'r', 'c');
SELECT test.claim('first');
SELECT test.report('first', 'r', 'b');
SELECT * FROM test.log('r');

-- A step that keeps losing its agents fails in the end.
SET millrace.lost_limit = 2;
SELECT test.start('agents', 'deadly');
CREATE FUNCTION pg_temp.lose(seconds integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    got text;
BEGIN
    PERFORM test.at(seconds), millrace.heartbeat(test.agent('first'));
    got := test.claim('first');
    PERFORM test.at(seconds + 30);
    RETURN got;
END $$;
SELECT pg_temp.lose(100);
SELECT pg_temp.lose(200);
SELECT test.show('deadly');
SELECT pg_temp.lose(300);
SELECT test.show('deadly');
SELECT key, attempts, error FROM millrace.steps WHERE run_id = test.run('deadly') AND key = 'a';
SELECT * FROM test.log('deadly');
SELECT millrace.cancel(test.run('deadly'));
-- The step's own limit counts where it is higher.
SELECT test.define('agents-retry', 'a {"retry": {"limit": 3}}');
SELECT test.start('agents-retry', 'tough');
SELECT pg_temp.lose(400);
SELECT pg_temp.lose(500);
SELECT pg_temp.lose(600);
SELECT test.show('tough');
SELECT pg_temp.lose(700);
SELECT test.show('tough');
RESET millrace.lost_limit;

-- Releasing: what is not the agent's is left alone; the attempt does not count.
SELECT test.at(1000), test.register('third'), test.register('fourth');
SELECT test.start('agents', 'back');
SELECT test.claim('third');
SELECT test.claim('fourth');
SELECT millrace.release(test.agent('third'), ARRAY[test.run('back'), test.run('back'), 99], '{1,3,1}', '{1,1,1}');
SELECT test.show('back');
SELECT key, attempts, token FROM millrace.steps WHERE run_id = test.run('back') ORDER BY step_no;
SELECT millrace.release(test.agent('third'), '{}', '{}', '{}');
SELECT * FROM test.fails($$SELECT millrace.release(test.agent('third'), '{1}', '{}', '{1}')$$);

-- Leaving gives everything back.
SELECT test.claim('third', 5);
SELECT millrace.deregister_agent(test.agent('third'));
SELECT test.show('back');
SELECT name FROM millrace.agents WHERE name = 'third';
SELECT * FROM test.fails($$SELECT millrace.deregister_agent(-1)$$);
SELECT * FROM test.fails($$SELECT millrace.heartbeat(-1)$$);
SELECT * FROM test.fails($$SELECT millrace.release(-1, '{}', '{}', '{}')$$);
SELECT millrace.deregister_agent(test.agent('fourth'));
SELECT test.show('back');

-- An agent that has lost an answer gives back what it never heard of, and keeps what it knows.
SELECT test.register('deaf', '{noop}', '{deaf}');
SELECT test.define('agents-deaf', 'a {"queue": "deaf"}', 'b {"queue": "deaf"}', 'c {"queue": "deaf"}');
SELECT test.start('agents-deaf', 'deaf');
SELECT test.claim('deaf', 3);
SELECT millrace.release_others(test.agent('deaf'), ARRAY[test.run('deaf')], ARRAY[(SELECT step_no FROM millrace.steps WHERE run_id = test.run('deaf') AND key = 'b')], '{1}');
SELECT test.show('deaf');
SELECT key, attempts, token FROM millrace.steps WHERE run_id = test.run('deaf') ORDER BY key;
SELECT millrace.release_others(test.agent('deaf'), '{}', '{}', '{}');
SELECT test.show('deaf');
SELECT millrace.cancel(test.run('deaf'));
SELECT millrace.deregister_agent(test.agent('deaf'));

-- A day after its lease an agent is forgotten, with what nobody has told it.
SELECT test.register('forgotten');
SELECT test.claim('forgotten', 5);
SELECT test.at(2000);
SELECT test.at(2000 + 86400);
SELECT count(*) FROM millrace.agents WHERE name = 'forgotten';
SELECT count(*) FROM millrace_internal.revocation;

-- Refused.
SELECT * FROM test.fails($$SELECT millrace.register_agent('{default}', '{noop}', 3)$$);
SELECT * FROM test.fails($$SELECT millrace.register_agent('{default}', '{noop}', 0)$$);
SELECT * FROM test.fails($$SELECT millrace.register_agent('{default}', '{noop}', NULL)$$);
SELECT * FROM test.fails($$SELECT millrace.register_agent('{}', '{noop}')$$);
SELECT * FROM test.fails($$SELECT millrace.register_agent('{default}', NULL)$$);
SELECT * FROM test.fails($$SELECT millrace.register_agent('{default}', ARRAY['noop', NULL])$$);
SELECT * FROM test.fails($$SELECT millrace.register_agent(ARRAY[repeat('q', 201)], '{noop}')$$);
SELECT * FROM test.fails($$SELECT millrace.register_agent('{default}', '{noop}', lease => '0.5 s')$$);
SELECT * FROM test.fails($$SELECT millrace.register_agent('{default}', '{noop}', lease => NULL)$$);
SELECT * FROM test.fails($$SELECT millrace.register_agent('{default}', '{noop}', name => repeat('n', 501))$$);

-- In a copy of the database nobody works until it has been adopted.
BEGIN;
UPDATE millrace_internal.installation SET system_identifier = 1;
SELECT * FROM test.fails($$SELECT millrace.register_agent('{default}', '{noop}')$$);
SELECT millrace.adopt();
SELECT test.register('adopter');
ROLLBACK;
