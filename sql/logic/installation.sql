-- Purpose: whether this database may work here.

CREATE OR REPLACE FUNCTION millrace_internal.is_home()
RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (SELECT FROM millrace_internal.installation i
                       WHERE i.home AND i.system_identifier <> (SELECT c.system_identifier FROM pg_control_system() c))
       AND EXISTS (SELECT FROM millrace_internal.installation i
                   WHERE i.home AND i.system_identifier = (SELECT c.system_identifier FROM pg_control_system() c))
$$;
COMMENT ON FUNCTION millrace_internal.is_home() IS 'False in a copy (restored dump, upgraded cluster) until millrace.adopt() has been called.';

-- Tables changed: installation, at the first use.
CREATE OR REPLACE FUNCTION millrace_internal.settle_in()
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM millrace_internal.installation) THEN
        INSERT INTO millrace_internal.installation (system_identifier) SELECT system_identifier FROM pg_control_system();
        PERFORM millrace_internal.keeper_wake();
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.settle_in() IS
'Makes this cluster the home of a database that nothing has been done in yet. Called where runs and agents begin.';

CREATE OR REPLACE FUNCTION millrace.adopt()
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    here bigint := (SELECT system_identifier FROM pg_control_system());
BEGIN
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
'Makes this cluster the home of the database''s runs: its agents and workers go on with them. Call it in a restored copy only when the original no longer works on them. Tables changed: installation, sink.';
