-- Windows (`window`): a step that becomes ready outside of them waits until they open.
\getenv sources PG_ABS_SRCDIR
\i :sources/helpers.sql
-- Hours of a day later, when another agent has come.
CREATE FUNCTION pg_temp.hour(hours double precision) RETURNS text LANGUAGE sql AS $$
    SELECT test.at(hours * 3600);
    SELECT test.register('x', lease => '1 h');
$$;

-- The moments of a window, in UTC: open now, or next.
CREATE FUNCTION pg_temp.window(of_window text, moment text) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s - %s', to_char(w.opens_at AT TIME ZONE 'UTC', 'Dy YYYY-MM-DD HH24:MI'), to_char(w.closes_at AT TIME ZONE 'UTC', 'Dy YYYY-MM-DD HH24:MI'))
    FROM millrace_internal.window_at(of_window, (moment || 'Z')::timestamptz) w
$$;
SELECT of_window, moment, pg_temp.window(of_window, moment) FROM (VALUES
    ('08:00-20:00 UTC', '2030-01-01 07:59:59'), ('08:00-20:00 UTC', '2030-01-01 08:00'), ('08:00-20:00 UTC', '2030-01-01 19:59:59.999'), ('08:00-20:00 UTC', '2030-01-01 20:00'),
    -- another place: summer and winter
    ('08:00-20:00 Europe/Berlin', '2030-01-15 06:00'), ('08:00-20:00 Europe/Berlin', '2030-07-15 05:00'), ('08:00-20:00 America/New_York', '2030-07-15 11:00'), ('09:00-10:00 Asia/Kolkata', '2030-07-15 02:00'),
    -- over midnight: the day is that on which it opens
    ('22:00-06:00 UTC', '2030-01-01 05:59'), ('22:00-06:00 UTC', '2030-01-01 06:00'), ('Mon 22:00-06:00 UTC', '2030-01-01 03:00'), ('Mon 22:00-06:00 UTC', '2030-01-02 03:00'), ('00:00-24:00 UTC', '2030-01-01 23:59'),
    -- days
    ('Mon-Fri 08:00-18:00 UTC', '2030-01-04 18:00'), ('Sat,Sun 08:00-18:00 UTC', '2030-01-04 18:00'), ('Fri-Mon 08:00-18:00 UTC', '2030-01-07 18:00'), ('Wed 08:00-18:00 UTC', '2030-01-02 18:00'),
    -- a day with 23 hours: a window that lies in the hour left out does not open, one that begins in it begins as much later
    ('02:00-03:00 Europe/Berlin', '2030-03-31 00:00'), ('02:30-04:00 Europe/Berlin', '2030-03-31 00:00'), ('01:00-04:00 Europe/Berlin', '2030-03-30 23:30'),
    -- a day with 25 hours
    ('01:00-04:00 Europe/Berlin', '2030-10-26 22:00'), ('00:00-24:00 Europe/Berlin', '2030-10-27 12:00')) w (of_window, moment);

-- Open: at once. Shut: it waits; after a pause, a failed try and a delay, too.
SELECT test.define('office', 'a {"window": "Mon-Fri 08:00-18:00 Europe/Berlin", "retry": {"limit": 1, "backoff": "10.5h", "max": "1d", "jitter": 0}}', 'b <- a');
SELECT pg_temp.hour(6.5);
SELECT test.start('office', 'early');
SELECT test.claim('x');
SELECT test.show('early');
SELECT event, step, at, data FROM test.log('early');
SELECT pg_temp.hour(6.999);
SELECT test.claim('x');
SELECT pg_temp.hour(7);
SELECT test.claim('x');
SELECT test.start('office', 'open');
SELECT test.claim('x');
SELECT test.report('x', 'open', 'a', 'failed', error => 'busy');
SELECT pg_temp.hour(17.5);
SELECT event, step, attempt, round(at / 3600, 2) AS hour, data FROM test.log('open');
SELECT millrace.cancel(test.run('early'));
SELECT pg_temp.hour(30.9);
SELECT test.claim('x');
SELECT pg_temp.hour(31);
SELECT test.claim('x');
SELECT test.report('x', 'open', 'a', steps => 1);
SELECT test.report('x', 'open', 'b');
SELECT test.show('open');

-- A paused run's step is parked as its window opens, and waits again if the window has shut by the time the run goes on.
SELECT pg_temp.hour(42);
SELECT test.start('office', 'paused');
SELECT millrace.pause(test.run('paused'));
SELECT pg_temp.hour(56);
SELECT test.show('paused');
SELECT pg_temp.hour(66);
SELECT millrace.resume(test.run('paused'));
SELECT event, step, attempt, round(at / 3600, 2) AS hour, data FROM test.log('paused');
SELECT millrace.cancel(test.run('paused'));

-- With a batch: steps gather while the window is open, and it is let go when it shuts.
SELECT test.define('digest', 'a {"window": "08:00-18:00 UTC", "batch": {"max": 10, "delay": "4h"}}');
SELECT pg_temp.hour(79);
SELECT test.start('digest', 'one');
SELECT pg_temp.hour(80);
SELECT pg_temp.hour(84);
SELECT test.claim('x', 10);
SELECT test.report('x', 'one', 'a');
SELECT pg_temp.hour(88);
SELECT test.start('digest', 'two');
SELECT pg_temp.hour(89.999);
SELECT test.claim('x');
SELECT pg_temp.hour(90);
SELECT test.claim('x');
SELECT test.report('x', 'two', 'a');

-- What is no window.
SELECT v.path, v.code, v.message, v.hint FROM unnest(ARRAY['"08:00-20:00"', '"8:00-20:00 UTC"', '"08:00-08:00 UTC"', '"08:00-25:00 UTC"', '"Mon-Wed-Fri 08:00-20:00 UTC"', '"Monday 08:00-20:00 UTC"', '5',
        '"08:00-20:00 Europe/Berln"', '"08:00-20:00 CET"', '"08:00-20:00 Mars/Phobos"', '"08:00-20:00 X5"']::jsonb[]) w,
    millrace.validate_workflow(jsonb_build_object('workflow', 'w', 'steps', jsonb_build_array(jsonb_build_object('key', 'a', 'handler', 'noop', 'window', w)))) v;
-- Only what an agent executes has one.
SELECT v.path, v.code, v.message, v.hint FROM unnest(ARRAY['{"wait_for": {"signal": "go"}}', '{"workflow": "office"}', '{"wait_for": {"duration": "1h"}, "for_each": [1]}']::jsonb[]) kind,
    millrace.validate_workflow(jsonb_build_object('workflow', 'w', 'steps', jsonb_build_array('{"key": "a", "window": "08:00-20:00 UTC"}' || kind))) v;
