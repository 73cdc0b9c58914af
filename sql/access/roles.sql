-- Purpose: the roles. They belong to the cluster, so another database may have made them already, or makes them now.

DO $$
DECLARE
    wanted text;
    pair   text[];
BEGIN
    FOREACH wanted IN ARRAY ARRAY['millrace_viewer', 'millrace_client', 'millrace_agent', 'millrace_admin'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
                EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
    FOREACH pair SLICE 1 IN ARRAY ARRAY[['millrace_viewer', 'millrace_client'], ['millrace_client', 'millrace_admin'], ['millrace_agent', 'millrace_admin']] LOOP
        BEGIN
            IF NOT pg_catalog.pg_has_role(pair[2], pair[1], 'MEMBER') THEN
                EXECUTE pg_catalog.format('GRANT %I TO %I', pair[1], pair[2]);
            END IF;
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
    END LOOP;
END $$;
