-- :steps finished steps, in runs of ten, written past the engine: what a long life leaves behind.
select last_value as first_no from millrace_internal.run_seq \gset
select setval('millrace_internal.run_seq', :first_no + :steps / 10);
select millrace_internal.partitions_ensure();
insert into millrace_internal.run (run_id, version_id, tenant_id, shard, priority, state, closing_left, created_at, started_at, finished_at)
  select (:first_no + g) * 256, v.version_id, t.tenant_id, 0, 0, 10, 0, now(), now(), now()
  from generate_series(1, :steps / 10) as g,
    (select version_id from millrace.workflows where workflow = 'bench.readiness:10') as v,
    (select tenant_id from millrace_internal.tenant where name = '') as t;
insert into millrace_internal.step (run_id, step_no, version_id, def_no, shard, state, attempts, token, ready_at, started_at, finished_at)
  select (:first_no + g) * 256, s, v.version_id, s, 0, 10, 1, 1, now(), now(), now()
  from generate_series(1, :steps / 10) as g, generate_series(1, 10) as s,
    (select version_id from millrace.workflows where workflow = 'bench.readiness:10') as v;
vacuum analyze;
