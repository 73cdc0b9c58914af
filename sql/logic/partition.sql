-- Purpose: partitions, made at run time so that pg_dump keeps their rows, and ahead of need so that no writer waits.

-- Makes one partition of a parent. Keys and indexes are the partitions' own: on the parents, which belong to the
-- extension, they would be there before pg_restore attaches a partition, and collide with those that it makes. Locks: SHARE UPDATE EXCLUSIVE on the parent, which stops no reader and no writer.
CREATE OR REPLACE FUNCTION millrace_internal.partition_create(parent text, from_id bigint, to_id bigint, storage text, key text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    child text := format('%s_%s', parent, from_id);
BEGIN
    EXECUTE format('CREATE TABLE millrace_internal.%I (LIKE millrace_internal.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH (%s)',
                   child, parent, storage);
    IF key IS NOT NULL THEN
        EXECUTE format('ALTER TABLE millrace_internal.%I ADD CONSTRAINT %I PRIMARY KEY (%s)', child, child || '_pkey', key);
    END IF;
    EXECUTE format('ALTER TABLE millrace_internal.%I ATTACH PARTITION millrace_internal.%I FOR VALUES FROM (%s) TO (%s)',
                   parent, child, from_id, to_id);
END $$;
COMMENT ON FUNCTION millrace_internal.partition_create(text, bigint, bigint, text, text) IS 'One partition [from_id, to_id) of a parent.';

CREATE OR REPLACE FUNCTION millrace_internal.partitions_extend(in_parent text, needed_id bigint, width bigint)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next_id bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('millrace_internal.partition'), hashtext(in_parent));
    SELECT coalesce(max(p.to_id), 0) INTO next_id FROM millrace_internal.partition p WHERE p.parent = in_parent;
    WHILE next_id <= needed_id LOOP
        IF in_parent = 'run' THEN
            -- a page of runs or steps keeps room for one or two more versions of each of its rows, and no index is on
            -- something that changes: updates stay on the page
            PERFORM millrace_internal.partition_create('run', next_id, next_id + width, 'fillfactor = 45', 'run_id, shard');
            PERFORM millrace_internal.partition_create('run_input', next_id, next_id + width, 'fillfactor = 100', 'run_id, shard');
            PERFORM millrace_internal.partition_create('step', next_id, next_id + width, 'fillfactor = 45', 'run_id, step_no, shard');
            PERFORM millrace_internal.partition_create('output', next_id, next_id + width, 'fillfactor = 100', 'run_id, step_no, shard');
            PERFORM millrace_internal.partition_create('step_note', next_id, next_id + width, 'fillfactor = 45', 'run_id, step_no, shard');
            PERFORM millrace_internal.partition_create('step_log', next_id, next_id + width, 'fillfactor = 100', 'run_id, step_no, token, line_no, shard');
            PERFORM millrace_internal.partition_create('artifact', next_id, next_id + width, 'fillfactor = 100', 'run_id, step_no, artifact_no, shard');
            PERFORM millrace_internal.partition_create('artifact_part', next_id, next_id + width, 'fillfactor = 100', 'run_id, step_no, artifact_no, part_no, shard');
        ELSE
            PERFORM millrace_internal.partition_create('event', next_id, next_id + width, 'fillfactor = 100', NULL);
            EXECUTE format('CREATE INDEX ON millrace_internal.%I (run_id)', 'event_' || next_id);
            -- how readers find what is new: summaries of ranges of pages, made afterwards, cost the writer nothing
            EXECUTE format('CREATE INDEX ON millrace_internal.%I USING brin (event_id, xact_id, at) WITH (pages_per_range = 32)', 'event_' || next_id);
        END IF;
        INSERT INTO millrace_internal.partition (parent, from_id, to_id) VALUES (in_parent, next_id, next_id + width);
        next_id := next_id + width;
    END LOOP;
END $$;
COMMENT ON FUNCTION millrace_internal.partitions_extend(text, bigint, bigint) IS
'Makes the partitions of run (and run_input, step, output, step_note, step_log, artifact, artifact_part) or event up to an id. Tables changed: partition. Locks: an advisory one per parent, only where something is missing.';

CREATE OR REPLACE FUNCTION millrace_internal.partitions_ensure()
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    runs         bigint := 256 * millrace_internal.setting('millrace.runs_per_partition')::bigint;
    events       bigint := millrace_internal.setting('millrace.events_per_partition')::bigint;
    -- half a partition ahead of the sequences
    run_needed   bigint := (SELECT last_value FROM millrace_internal.run_seq) * 256 + runs / 2;
    event_needed bigint := (SELECT last_value FROM millrace_internal.event_id_seq) + events / 2;
BEGIN
    IF NOT EXISTS (SELECT FROM millrace_internal.partition p WHERE p.parent = 'run' AND p.to_id > run_needed) THEN
        PERFORM millrace_internal.partitions_extend('run', run_needed, runs);
    END IF;
    IF NOT EXISTS (SELECT FROM millrace_internal.partition p WHERE p.parent = 'event' AND p.to_id > event_needed) THEN
        PERFORM millrace_internal.partitions_extend('event', event_needed, events);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.partitions_ensure() IS
'Keeps half a partition free ahead of the ids in use. Called by the keeper, by heartbeats, and where runs and agents begin.';
