-- Purpose: the summaries (BRIN) by which readers find new events. A writer adds nothing to a range of pages that has no summary
-- yet, and pays for each event in one that has: so only ranges that are full are summarised, afterwards, by the keeper.

-- Returns: whether there is more to do. Locks: the partition, SHARE UPDATE EXCLUSIVE, unless another has it (vacuum, which summarises too).
-- Tables changed: partition.
CREATE OR REPLACE FUNCTION millrace_internal.keep_event_summaries()
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pages constant bigint := 32;        -- pages_per_range of the index
    part  record;
    full_to bigint;
    begun boolean := false;
BEGIN
    -- nobody reads: the ranges can wait
    IF NOT EXISTS (SELECT FROM millrace_internal.subscription) THEN
        RETURN false;
    END IF;
    FOR part IN
        SELECT t.from_id, t.summarised, format('millrace_internal.%I', 'event_' || t.from_id)::regclass AS child
        FROM millrace_internal.partition t WHERE t.parent = 'event' AND t.from_id <= millrace_internal.last_event_id()
        ORDER BY t.from_id DESC
    LOOP
        -- the last range but one may have gaps that are being filled
        full_to := (pg_relation_size(part.child) / current_setting('block_size')::bigint / pages - 1) * pages;
        CONTINUE WHEN full_to <= part.summarised;
        BEGIN
            EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE NOWAIT', part.child);
        EXCEPTION WHEN lock_not_available THEN
            CONTINUE;
        END;
        full_to := least(full_to, part.summarised + 4096 * pages);
        PERFORM brin_summarize_range(i.indexrelid, block)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam AND m.amname = 'brin',
             generate_series(part.summarised, full_to - pages, pages) block
        WHERE i.indrelid = part.child;
        UPDATE millrace_internal.partition t SET summarised = full_to WHERE t.parent = 'event' AND t.from_id = part.from_id;
        begun := begun OR full_to = part.summarised + 4096 * pages;
    END LOOP;
    RETURN begun;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_event_summaries() IS 'Summarises the full ranges of the partitions of events, while somebody reads them.';
