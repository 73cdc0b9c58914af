-- The floor: the smallest plain PL/pgSQL of the engine's shape, with durable state, a ready table and two events a step.
-- Nothing here is robust: no fencing, leases, retries, cancel, tenants. It says only what this machine gives to
-- straightforward SQL in the same minute, so that a figure can be published as a ratio to it.
-- Run in a database of its own whose search_path is floor.
create schema floor;

create table need (shape text, from_no int, to_no int, primary key (shape, from_no, to_no));
create table spec (shape text, no int, needs int, primary key (shape, no));
create table run (
  id bigint generated always as identity primary key, shape text not null, state smallint not null default 0,
  steps_left int not null, input jsonb, created_at timestamptz default clock_timestamp(), finished_at timestamptz
) with (fillfactor = 50);
create table step (
  run_id bigint, no int, state smallint not null default 0, needs_left int not null, attempts smallint not null default 0,
  agent int, started_at timestamptz, finished_at timestamptz, output jsonb, primary key (run_id, no)
) with (fillfactor = 50);
create table ready (
  queue int, priority smallint, ready_at timestamptz, run_id bigint, no int,
  primary key (queue, priority, ready_at, run_id, no)
);
create table event (
  id bigint generated always as identity, run_id bigint, no int, state smallint, attempt smallint, agent int,
  at timestamptz default clock_timestamp()
);
create index on event (run_id, no);

-- single, chain:N (a row), diamond:N (one, N side by side, one)
create function define(in_shape text) returns int language plpgsql as $$
declare
  kind text := split_part(in_shape, ':', 1);
  n int := coalesce(nullif(split_part(in_shape, ':', 2), '')::int, 1);
begin
  if kind = 'diamond' then
    insert into need select in_shape, 1, g from generate_series(2, n + 1) g;
    insert into need select in_shape, g, n + 2 from generate_series(2, n + 1) g;
    n := n + 2;
  elsif kind = 'chain' then
    insert into need select in_shape, g, g + 1 from generate_series(1, n - 1) g;
  elsif in_shape <> 'single' then
    raise exception 'the floor has no shape "%"', in_shape using hint = 'It is single, chain:N or diamond:N.';
  end if;
  insert into spec select in_shape, g, (select count(*) from need where shape = in_shape and to_no = g)
  from generate_series(1, n) g;
  return n;
end $$;

create function submit(in_shape text, runs int) returns void language plpgsql as $$
declare
  ids bigint[];
begin
  with r as (
    insert into run (shape, steps_left, input)
    select in_shape, (select count(*) from spec where shape = in_shape), '{"order": 1}' from generate_series(1, runs)
    returning id)
  select array_agg(id) into ids from r;
  insert into step (run_id, no, needs_left)
  select i, s.no, s.needs from unnest(ids) i, spec s where s.shape = in_shape;
  insert into ready
  select 1, 0, now(), i, s.no from unnest(ids) i, spec s where s.shape = in_shape and s.needs = 0;
end $$;

create function claim(k int) returns table (run_id bigint, no int, attempt smallint) language plpgsql as $$
#variable_conflict use_column
begin
  return query
  with c as (
    delete from ready r where ctid = any (array(
      select ctid from ready where queue = 1 order by queue, priority, ready_at, run_id, no limit k for update skip locked))
    returning r.run_id, r.no),
  u as (
    update step s set state = 2, attempts = attempts + 1, agent = 1, started_at = clock_timestamp()
    from c where s.run_id = c.run_id and s.no = c.no returning s.run_id, s.no, s.attempts),
  e as (insert into event (run_id, no, state, attempt, agent) select u.run_id, u.no, 2, u.attempts, 1 from u)
  select * from u;
end $$;

create function complete(runs bigint[], nos int[]) returns void language plpgsql as $$
begin
  perform 1 from run where id = any (runs) order by id for no key update;
  with b as materialized (select * from unnest(runs, nos) b (run_id, no)),
  done as (
    update step s set state = 3, finished_at = clock_timestamp(), output = '{"ok": true}' from b
    where s.run_id = b.run_id and s.no = b.no and s.state = 2 returning s.run_id, s.no, s.attempts),
  ev as (insert into event (run_id, no, state, attempt, agent) select run_id, no, 3, attempts, 1 from done),
  rl as (
    update run r set steps_left = steps_left - x.n, state = case when steps_left = x.n then 3 else 1 end,
      finished_at = case when steps_left = x.n then clock_timestamp() end
    from (select run_id, count(*)::int n from done group by 1) x where r.id = x.run_id),
  nxt as (
    select d.run_id, e.to_no as no, count(*)::int n from done d join run r on r.id = d.run_id
    join need e on e.shape = r.shape and e.from_no = d.no group by 1, 2),
  up as (
    update step s set needs_left = s.needs_left - nxt.n from nxt
    where s.run_id = nxt.run_id and s.no = nxt.no returning s.run_id, s.no, s.needs_left)
  insert into ready select 1, 0, clock_timestamp(), run_id, no from up where needs_left = 0;
end $$;
