-- Purpose: the readiness sink of the plain tier: one row per ready step, in the order in which claims take them.
-- A cache like the dispatcher's memory: the step rows are the truth. Empty on the dispatcher tier.
-- Dead rows: every row dies once; autovacuum is told to come early.

CREATE TABLE millrace_internal.ready (
    shard      smallint NOT NULL,
    queue_id   integer  NOT NULL,
    handler_id integer  NOT NULL,
    priority   smallint NOT NULL,
    tenant_id  integer  NOT NULL,
    run_id     bigint   NOT NULL,
    urgency    real     NOT NULL,
    step_no    integer  NOT NULL,
    CONSTRAINT ready_pkey PRIMARY KEY (queue_id, handler_id, priority, tenant_id, run_id, urgency, step_no, shard)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE millrace_internal.ready IS 'Ready steps on the plain tier. Not dumped: refilled from the steps.';
COMMENT ON COLUMN millrace_internal.ready.urgency IS 'The negated rank, so that ascending order is claim order.';
