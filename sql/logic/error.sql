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

-- Raises the first of several mistakes, all of them in its detail; nothing where there are none.
CREATE OR REPLACE FUNCTION millrace_internal.fail_problems(paths text[], codes text[], messages text[], hints text[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF cardinality(codes) > 0 THEN
        PERFORM millrace_internal.fail(codes[1], messages[1],
            CASE WHEN cardinality(codes) > 1 THEN
                format(E'%s mistakes:\n%s', cardinality(codes), (SELECT string_agg(format('%s: %s [%s]', path, message, code), E'\n' ORDER BY nth)
                                                                 FROM unnest(paths, codes, messages) WITH ORDINALITY p (path, code, message, nth) WHERE nth <= 20)) END, hints[1]);
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.fail_problems(text[], text[], text[], text[]) IS 'Raises mistakes that a check has found.';

-- The role that calls, however many SECURITY DEFINER functions stand between: SET ROLE's, else the session's.
CREATE OR REPLACE FUNCTION millrace_internal.caller()
RETURNS name LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role')::name END
$$;
COMMENT ON FUNCTION millrace_internal.caller() IS 'The role on whose behalf a call is made.';
