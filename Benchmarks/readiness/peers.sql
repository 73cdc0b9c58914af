-- The same runs as others store them: an append-only table of transitions, and the present state found again in it, by
-- the latest transition of each step (DISTINCT ON) or by a flag on it with a partial index.
create schema peer;

create table peer.step as
  select r.run_id, d.def_no as step_no, d.key
  from millrace_internal.run r join millrace_internal.step_definition d using (version_id);
create table peer.need as
  select r.run_id, d.def_no as step_no, n.need_no
  from millrace_internal.run r join millrace_internal.step_definition d using (version_id), unnest(d.needs) as n (need_no);
create table peer.transition as
  select run_id, step_no, event_id as sort_key, substr(kind, 6) as to_state,
         row_number() over (partition by run_id, step_no order by event_id desc) = 1 as most_recent
  from millrace.events where step_no is not null;

alter table peer.step add primary key (run_id, step_no);
alter table peer.need add primary key (run_id, step_no, need_no);
alter table peer.transition add primary key (run_id, step_no, sort_key);
create unique index on peer.transition (run_id, step_no) where most_recent;

create view peer.latest as
  select distinct on (run_id, step_no) run_id, step_no, to_state from peer.transition
  order by run_id, step_no, sort_key desc;

create view peer.ready_by_latest as
  select s.run_id, s.step_no, s.key from peer.step s
  where not exists (select from peer.latest t where t.run_id = s.run_id and t.step_no = s.step_no)
    and not exists (
      select from peer.need n left join peer.latest t on t.run_id = n.run_id and t.step_no = n.need_no
      where n.run_id = s.run_id and n.step_no = s.step_no and t.to_state is distinct from 'completed');

create view peer.ready_by_flag as
  select s.run_id, s.step_no, s.key from peer.step s
  where not exists (select from peer.transition t where t.run_id = s.run_id and t.step_no = s.step_no and t.most_recent)
    and not exists (
      select from peer.need n left join peer.transition t
        on t.run_id = n.run_id and t.step_no = n.need_no and t.most_recent
      where n.run_id = s.run_id and n.step_no = s.step_no and t.to_state is distinct from 'completed');
