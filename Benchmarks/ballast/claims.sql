-- The median of :claims claims of 100 steps, in the server's own time, each in a transaction of its own.
create or replace procedure benchmark.claim(claims integer, inout claim_ms double precision) language plpgsql as $$
declare
    agent integer;
    spent double precision[] = '{}';
    begun timestamptz;
    found integer;
begin
    select agent_id into agent from millrace.register_agent('{waiting}', '{noop}', lease => '1 hour', listening => false);
    commit;
    for i in 1..claims + 10 loop
        begun := clock_timestamp();
        select count(*) into found from millrace.claim(agent, 100);
        commit;
        if found <> 100 then
            raise exception 'a claim of 100 was given % steps', found;
        end if;
        if i > 10 then   -- the first ones fill caches and settle the plans
            spent := spent || extract(epoch from clock_timestamp() - begun)::float8 * 1000;
        end if;
    end loop;
    -- what it holds goes back: the next measurement finds as many
    perform millrace.deregister_agent(agent);
    claim_ms := (select percentile_cont(0.5) within group (order by s) from unnest(spent) s);
end $$;
call benchmark.claim(:claims, null) \gset
select json_build_object('claim_ms', :claim_ms);
