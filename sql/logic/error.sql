-- Purpose: raising an error of class MR, with its parts, in one statement. The codes are listed in docs/errors.md.

CREATE OR REPLACE FUNCTION millrace_internal.fail(code text, message text, detail text DEFAULT NULL, hint text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF detail IS NULL AND hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message;
    ELSIF detail IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, HINT = hint;
    ELSIF hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail;
    ELSE
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail, HINT = hint;
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.fail(text, text, text, text) IS 'Raises an error: what, facts, what to do.';

-- The role that calls, however many SECURITY DEFINER functions stand between: SET ROLE's, else the session's.
CREATE OR REPLACE FUNCTION millrace_internal.caller()
RETURNS name LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role')::name END
$$;
COMMENT ON FUNCTION millrace_internal.caller() IS 'The role on whose behalf a call is made.';
