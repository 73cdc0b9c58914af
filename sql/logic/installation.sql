-- Purpose: whether this database may work here.

CREATE OR REPLACE FUNCTION millrace_internal.system_identifier()
RETURNS bigint LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_system_identifier';
COMMENT ON FUNCTION millrace_internal.system_identifier() IS 'Of this cluster, as pg_control_system() has it, without reading the file.';

CREATE OR REPLACE FUNCTION millrace_internal.is_home()
RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(bool_and(i.system_identifier = millrace_internal.system_identifier()), false)
    FROM millrace_internal.installation i WHERE i.home
$$;
COMMENT ON FUNCTION millrace_internal.is_home() IS 'False in a copy (restored dump, upgraded cluster) until millrace.adopt() has been called.';

-- Tables changed: installation, at the first use.
CREATE OR REPLACE FUNCTION millrace_internal.settle_in()
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM millrace_internal.installation) THEN
        INSERT INTO millrace_internal.installation (system_identifier) VALUES (millrace_internal.system_identifier());
        PERFORM millrace_internal.keeper_wake();
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_in() IS
'Makes this cluster the home of a database that nothing has been done in yet. Called where runs and agents begin.';

CREATE OR REPLACE FUNCTION millrace.adopt()
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    here bigint := millrace_internal.system_identifier();
BEGIN
    IF EXISTS (SELECT FROM millrace_internal.installation i WHERE i.home AND i.system_identifier <> here) THEN
        -- Transactions are numbered anew in this cluster: all events so far are committed, whatever transaction they name.
        -- The lock waits for those that are not.
        LOCK TABLE millrace_internal.event IN SHARE MODE;
        INSERT INTO millrace_internal.event_era (settled_to, system_identifier, adopted_at)
        VALUES (millrace_internal.last_event_id(), here, millrace_internal.clock()) ON CONFLICT DO NOTHING;
    END IF;
    DELETE FROM millrace_internal.installation WHERE system_identifier = here;
    UPDATE millrace_internal.installation SET home = false WHERE home;
    INSERT INTO millrace_internal.installation (system_identifier) VALUES (here);
    -- what the sink held belonged to the other cluster's memory or tables
    DELETE FROM millrace_internal.sink;
    PERFORM millrace_internal.partitions_ensure();
    PERFORM millrace_internal.workers_attach();
    PERFORM millrace_internal.keeper_wake();
END $$;
COMMENT ON FUNCTION millrace.adopt() IS
'Makes this cluster the home of the database''s runs: its agents and workers go on with them. Call it in a restored copy only when the original no longer works on them. Tables changed: installation, event_era, sink. Locks: event, until the writers that are open have ended.';
