-- What a long life leaves behind:
--   :finished  finished steps in runs of ten, written past the engine, which would take hours. They have the shape of
--              completed chains: one run row, ten steps that ran once and whose last version stands alone on its page,
--              two events a step and two a run; no inputs and no outputs, as steps that do nothing have none
--   :waiting   ready steps in runs of one, submitted through the engine, in a queue of their own
--   :sleeping  steps that wait for a time, in runs of one, submitted too
set synchronous_commit = off;
create schema benchmark;

select millrace.define_workflow(jsonb_build_object('workflow', 'past', 'defaults', '{"handler": "noop"}'::jsonb, 'steps',
    (select jsonb_agg(jsonb_build_object('key', 's' || i, 'needs', case when i = 1 then '[]'::jsonb else jsonb_build_array('s' || i - 1) end) order by i)
     from generate_series(1, 10) i)));
select millrace.define_workflow('{"workflow": "waiting", "steps": [{"key": "a", "handler": "noop", "queue": "waiting"}]}');

select millrace.define_workflow('{"workflow": "sleeping", "steps": [{"key": "a", "wait_for": {"duration": "30 days"}}]}');

-- Ten thousand runs a transaction. Kinds of events: 1 run_submitted, 8 step_started, 11 step_completed, 4 run_completed.
create procedure benchmark.load_finished(steps bigint) language plpgsql as $$
declare
    past     integer := (select version_id from millrace.workflows where workflow = 'past');
    nobody   integer := millrace_internal.tenant_id('');
    left_to  bigint := steps / 10;
    part     bigint;
    first_no bigint;
begin
    while left_to > 0 loop
        part := least(left_to, 10000);
        left_to := left_to - part;
        select last_value + 1 into first_no from millrace_internal.run_seq;
        perform setval('millrace_internal.run_seq', first_no + part - 1);
        perform millrace_internal.partitions_ensure();
        insert into millrace_internal.run (run_id, version_id, tenant_id, shard, priority, state, closing_left, created_at, finished_at)
        select no * 256, past, nobody, 0, 0, 10, 0, now(), clock_timestamp() from generate_series(first_no, first_no + part - 1) no;
        insert into millrace_internal.step (run_id, step_no, version_id, def_no, shard, state, attempts, token, agent_id, receipt_no,
                                            ready_at, started_at, finished_at, elapsed)
        select no * 256, s, past, s, 0, 10, 1, 1, 1, no, now(), now(), clock_timestamp(), 1e-6
        from generate_series(first_no, first_no + part - 1) no, generate_series(1, 10) s;
        insert into millrace_internal.event (run_id, at, xact_id, step_no, agent_id, attempt, shard, kind)
        select no * 256, clock_timestamp(), pg_current_xact_id()::text::bigint, k.step_no, case when k.step_no > 0 then 1 end,
               case when k.step_no > 0 then 1 end, 0, k.kind
        from generate_series(first_no, first_no + part - 1) no,
             (select 1 as kind, null::integer as step_no union all
              select kind, s from generate_series(1, 10) s, unnest('{8, 11}'::integer[]) kind union all
              select 4, null) k;
        commit;
    end loop;
end $$;

create procedure benchmark.submit(workflow text, steps bigint) language plpgsql as $$
begin
    while steps > 0 loop
        perform count(*) from millrace.submit_many(workflow, array_fill(null::jsonb, array[least(steps, 1000)::integer]));
        steps := steps - 1000;
        commit;
    end loop;
end $$;

call benchmark.load_finished(:finished);
call benchmark.submit('waiting', :waiting);
call benchmark.submit('sleeping', :sleeping);
