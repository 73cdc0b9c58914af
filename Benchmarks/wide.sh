#!/usr/bin/env bash
# Wide workflows: 1 → 10,000 → 1 from submit to end with an agent; in SQL, a fan-in of 1,000 reported by one call, and 1,000
# elements that begin with what 1,000 others have answered.
#
#   Benchmarks/wide.sh [--rounds N] [--json]
#
#   --rounds    measurements of each; medians are published (default: 5)
set -euo pipefail
# shellcheck source=Benchmarks/lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"

arguments=("$@")
rounds=5 json=false
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=${2:?}; shift 2 ;;
    --json) json=true; shift ;;
    *) usage ;;
  esac
done
require_program
own_server "${arguments[@]}"

start_measuring
for ((round = 1; round <= rounds; round++)); do
  say "1 → 10,000 → 1, round $round of $rounds"
  measured '1 → 10,000 → 1' millrace "$round" "$(bench throughput --shape diamond:10000 --runs 1)"
done

say "a fan-in of 1,000"
new_database millrace
sql millrace --output=/dev/null <<'SQL'
select millrace.define_workflow(jsonb_build_object('workflow', 'fan_in', 'steps',
  (select jsonb_agg(jsonb_build_object('key', 'part' || i, 'handler', 'noop')) from generate_series(1, 1000) as i)
  || jsonb_build_array(jsonb_build_object('key', 'whole', 'handler', 'noop', 'needs',
       (select jsonb_agg('part' || i) from generate_series(1, 1000) as i)))));

-- One run: its thousand steps claimed by one call and reported by another, which hands over what needs them all.
create procedure fan_in(agent integer, inout milliseconds float8) language plpgsql as $$
declare
  runs bigint[];
  steps int[];
  tokens int[];
  begun timestamptz;
begin
  perform millrace.submit('fan_in');
  commit;
  select array_agg(run_id), array_agg(step_no), array_agg(token) into runs, steps, tokens from millrace.claim(agent, 1000);
  commit;
  if cardinality(runs) <> 1000 then raise exception 'claimed % steps', cardinality(runs); end if;
  begun := clock_timestamp();
  select array_agg(run_id), array_agg(step_no), array_agg(token) into runs, steps, tokens
  from millrace.report(agent, runs, steps, tokens, array_fill('completed'::text, array[1000]), max_steps => 10)
  where answer = 'started';
  commit;
  milliseconds := extract(epoch from clock_timestamp() - begun)::float8 * 1000;
  if cardinality(runs) is distinct from 1 then raise exception 'the fan-in was not handed over'; end if;
  perform millrace.report(agent, runs, steps, tokens, array['completed']);
  commit;
end $$;

-- A step for each of 1,000 elements, and behind it one for each of what these answer: the report of the last parent
-- ends their step, stores the array of their outputs, and starts 1,000 children, each with its slice.
select millrace.define_workflow('{"workflow": "mapped", "defaults": {"handler": "noop"}, "steps": [
  {"key": "parents", "for_each": "$.run"}, {"key": "children", "needs": ["parents"], "for_each": "$.needs.parents"}]}');
create procedure mapped(agent integer, inout milliseconds float8) language plpgsql as $$
declare
  runs bigint[];
  steps int[];
  tokens int[];
  begun timestamptz;
  run bigint := millrace.submit('mapped', (select jsonb_agg(i) from generate_series(1, 1000) as i));
begin
  commit;
  select array_agg(run_id), array_agg(step_no), array_agg(token) into runs, steps, tokens from millrace.claim(agent, 1000);
  commit;
  if cardinality(runs) <> 1000 then raise exception 'claimed % steps', cardinality(runs); end if;
  perform millrace.report(agent, runs[2:], steps[2:], tokens[2:], array_fill('completed'::text, array[999]), array(select format('{"image": %s}', i) from generate_series(2, 1000) as i));
  commit;
  begun := clock_timestamp();
  perform millrace.report(agent, runs[:1], steps[:1], tokens[:1], array['completed'], array['{"image": 1}']);
  commit;
  milliseconds := extract(epoch from clock_timestamp() - begun)::float8 * 1000;
  if (select count(*) from millrace_internal.step as s where s.run_id = run and s.state = 2) <> 1000 then raise exception 'the children did not begin'; end if;
  perform millrace.cancel(run);
  commit;
end $$;
SQL
# The dispatcher reads its tables once something has been submitted.
sql millrace --output=/dev/null --command="select millrace.define_workflow('{\"workflow\": \"other\", \"steps\": [{\"key\": \"only\", \"handler\": \"other\"}]}')" \
  --command="select millrace.submit('other')"
until [ "$(sql millrace --command='select state from millrace.dispatcher')" = warm ]; do sleep 0.05; done
# All in one session, whose first call plans the statements.
for kind in fan_in mapped; do
  calls=$(for ((round = 0; round <= rounds; round++)); do echo "call $kind(:agent_id, null);"; done)
  sql millrace --output="$MILLRACE_CLUSTER/$kind" <<SQL
select agent_id from millrace.register_agent('{default}', '{noop}', lease => '1 hour', listening => false) \gset
$calls
SQL
done
while IFS= read -r milliseconds; do
  measured 'fan-in of 1,000, in SQL' millrace 1 "{\"makespan_ms\": $milliseconds}"
done < <(tail --lines=+2 "$MILLRACE_CLUSTER/fan_in")
while IFS= read -r milliseconds; do
  measured '1,000 elements over 1,000, in SQL' millrace 1 "{\"makespan_ms\": $milliseconds}"
done < <(tail --lines=+2 "$MILLRACE_CLUSTER/mapped")

sql figures --command="create view summary as
  select subject, min(id) as id, count(*) as rounds,
         round(percentile_cont(0.5) within group (order by (figures->>'makespan_ms')::float8)::numeric, 1) as milliseconds,
         round(min((figures->>'makespan_ms')::float8)::numeric, 1) as lowest,
         round(max((figures->>'makespan_ms')::float8)::numeric, 1) as highest
  from measurement group by subject"
published wide 'select * from summary order by id'
judge_all "
  select subject, milliseconds, 'at-most', case when subject like 'fan-in%' then 30 when subject like '1,000 elements%' then 100 else 500 end, 'ms' from summary order by id"
