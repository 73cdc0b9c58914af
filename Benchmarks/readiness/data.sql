-- Runs that are half done, and a way to get them there: of each workflow's steps the first half has a handler that is
-- served, the second one that is not.
create schema benchmark;

-- Steps need up to three of those `reach` before them; the same ones each time.
create function benchmark.define(name text, size int, reach int) returns void language sql as $$
  select millrace.define_workflow(jsonb_build_object('workflow', name, 'steps', (
    select jsonb_agg(jsonb_build_object(
             'key', 's' || i, 'handler', case when i <= size / 2 then 'noop' else 'later' end,
             'needs', (select coalesce(jsonb_agg(distinct 's' || (i - 1 - abs(hashint4(i * 10 + k)) % least(reach, i - 1))), '[]')
                       from generate_series(1, abs(hashint4(i)) % 4) as k where i > 1))
           order by i)
    from generate_series(1, size) as i)))
$$;

-- Claims and reports until nothing is left that is served.
create procedure benchmark.drain() language plpgsql as $$
declare
  agent int;
  runs bigint[];
  steps int[];
  tokens int[];
begin
  select agent_id into agent from millrace.register_agent('{default}', '{noop}', lease => '1 hour', listening => false);
  commit;
  loop
    select array_agg(run_id), array_agg(step_no), array_agg(token) into runs, steps, tokens from millrace.claim(agent, 500);
    commit;
    exit when runs is null;
    while runs is not null loop
      select array_agg(run_id), array_agg(step_no), array_agg(token) into runs, steps, tokens
      from millrace.report(agent, runs, steps, tokens, array_fill('completed'::text, array[cardinality(runs)]), max_steps => 500)
      where answer = 'started';
      commit;
    end loop;
  end loop;
  perform millrace.deregister_agent(agent);
end $$;

-- A thousand runs a call; answers the last one.
create function benchmark.submit(workflow text, runs int) returns bigint language plpgsql as $$
declare
  last bigint;
begin
  for part in 1..greatest(1, runs / 1000) loop
    select max(id) into last from millrace.submit_many(workflow, array_fill(null::jsonb, array[least(runs, 1000)])) as id;
  end loop;
  return last;
end $$;

-- Median milliseconds of a question as a prepared statement, or as one that is planned each time; the server's time.
create function benchmark.milliseconds(question text, repeats int, prepared boolean default true)
returns double precision language plpgsql as $$
declare
  begun timestamptz;
  spent double precision[] = '{}';
begin
  execute 'prepare question as ' || question;
  for i in 1..repeats + 10 loop
    begun := clock_timestamp();
    if prepared then
      execute 'execute question';
    else
      execute question;
    end if;
    if i > 10 then   -- the first ones fill caches and settle the plan
      spent := spent || extract(epoch from clock_timestamp() - begun)::float8 * 1000;
    end if;
  end loop;
  deallocate question;
  return (select percentile_cont(0.5) within group (order by s) from unnest(spent) as s);
end $$;
