-- How long the server takes to answer.
create schema benchmark;

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
