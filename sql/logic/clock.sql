-- Purpose: the engine's only clock, and its settings. Tests stop the clock; the background workers see the same.

CREATE OR REPLACE FUNCTION millrace_internal.clock()
RETURNS timestamptz LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT c.frozen_at FROM millrace_internal.frozen_clock c), pg_catalog.clock_timestamp());
END $$;
COMMENT ON FUNCTION millrace_internal.clock() IS 'Now, as the engine sees it. Read after the locks are held.';

CREATE OR REPLACE FUNCTION millrace.set_clock(at timestamptz)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM millrace_internal.frozen_clock;
    IF at IS NOT NULL THEN
        INSERT INTO millrace_internal.frozen_clock (frozen_at) VALUES (at);
    END IF;
    PERFORM millrace_internal.keeper_wake();
END $$;
COMMENT ON FUNCTION millrace.set_clock(timestamptz) IS
'For tests: stops the engine''s clock at this time; null lets it run again. Tables changed: frozen_clock.';

CREATE OR REPLACE FUNCTION millrace_internal.setting(name text)
RETURNS text LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'millrace_setting';
COMMENT ON FUNCTION millrace_internal.setting(text) IS 'The value of a setting millrace.*, also in a session that has not loaded the library yet.';
