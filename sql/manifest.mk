# The engine in reading order: a table of contents.
# state/  is run once, when the extension is created; a later version changes it only through upgrade/.
# logic/  is replayed as a whole at every upgrade: functions and views, each file one concept.
# access/ is replayed too: who may do what.

STATE_FILES = \
  state/schema.sql \
  state/installation.sql \
  state/dictionary.sql \
  state/workflow.sql \
  state/run.sql \
  state/step.sql \
  state/wait.sql \
  state/fan_out.sql \
  state/sub_run.sql \
  state/ready.sql \
  state/agent.sql \
  state/event.sql \
  state/subscription.sql \
  state/duration.sql \
  state/output.sql \
  state/step_note.sql \
  state/artifact.sql \
  state/dead_letter.sql \
  state/batch.sql

LOGIC_FILES = \
  logic/error.sql \
  logic/clock.sql \
  logic/installation.sql \
  logic/partition.sql \
  logic/dictionary.sql \
  logic/state_names.sql \
  logic/json.sql \
  logic/shape.sql \
  logic/template.sql \
  logic/fill.sql \
  logic/output.sql \
  logic/graph.sql \
  logic/rank.sql \
  logic/dispatcher.sql \
  logic/rule.sql \
  logic/condition.sql \
  logic/fan_out_definition.sql \
  logic/error_class.sql \
  logic/wait_definition.sql \
  logic/on_error.sql \
  logic/step_deadline.sql \
  logic/definition_parse.sql \
  logic/compensation_definition.sql \
  logic/definition_check.sql \
  logic/define.sql \
  logic/paths.sql \
  logic/sink.sql \
  logic/runs_alive.sql \
  logic/sink_refill.sql \
  logic/wake.sql \
  logic/submit.sql \
  logic/agent.sql \
  logic/input.sql \
  logic/cache.sql \
  logic/work.sql \
  logic/start.sql \
  logic/claim.sql \
  logic/finish.sql \
  logic/fall.sql \
  logic/dead_letter.sql \
  logic/lock.sql \
  logic/condition_sql.sql \
  logic/window.sql \
  logic/batch.sql \
  logic/enter.sql \
  logic/wait.sql \
  logic/fan_out.sql \
  logic/sub_run.sql \
  logic/settle.sql \
  logic/phase.sql \
  logic/compensation.sql \
  logic/report.sql \
  logic/give_back.sql \
  logic/execute_sql.sql \
  logic/step_note.sql \
  logic/artifact.sql \
  logic/heartbeat.sql \
  logic/cancel.sql \
  logic/pause.sql \
  logic/held.sql \
  logic/signal.sql \
  logic/human_step.sql \
  logic/retry.sql \
  logic/resolve.sql \
  logic/growing.sql \
  logic/diff.sql \
  logic/migrate.sql \
  logic/bulk.sql \
  logic/fork.sql \
  logic/learn.sql \
  logic/keeper.sql \
  logic/view_workflows.sql \
  logic/run_step.sql \
  logic/view_runs.sql \
  logic/view_steps.sql \
  logic/view_durations.sql \
  logic/path_questions.sql \
  logic/explain.sql \
  logic/view_readiness.sql \
  logic/view_queues.sql \
  logic/why_not_ready.sql \
  logic/names.sql \
  logic/event_window.sql \
  logic/subscription.sql \
  logic/read_events.sql \
  logic/event_summary.sql \
  logic/event_retention.sql \
  logic/staleness.sql \
  logic/metrics.sql

ACCESS_FILES = \
  access/roles.sql \
  access/grants.sql
