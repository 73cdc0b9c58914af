-- Purpose: names to numbers. A name that is new is added in the caller's transaction.

CREATE OR REPLACE FUNCTION millrace_internal.queue_ids(names text[])
RETURNS integer[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO millrace_internal.queue (name)
    SELECT n FROM (SELECT DISTINCT n FROM unnest(names) n) n (n)
    WHERE NOT EXISTS (SELECT FROM millrace_internal.queue q WHERE q.name = n.n) ORDER BY n
    ON CONFLICT DO NOTHING;
    RETURN ARRAY(SELECT q.queue_id FROM unnest(names) WITH ORDINALITY n (name, ord)
                 JOIN millrace_internal.queue q USING (name) ORDER BY n.ord);
END $$;
COMMENT ON FUNCTION millrace_internal.queue_ids(text[]) IS 'Numbers of queues, in order. Tables changed: queue.';

CREATE OR REPLACE FUNCTION millrace_internal.handler_ids(names text[])
RETURNS integer[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO millrace_internal.handler (name, takes_input)
    SELECT n, n NOT IN ('noop', 'sleep', 'sql') FROM (SELECT DISTINCT n FROM unnest(names) n) n (n)
    WHERE NOT EXISTS (SELECT FROM millrace_internal.handler h WHERE h.name = n.n) ORDER BY n
    ON CONFLICT DO NOTHING;
    RETURN ARRAY(SELECT h.handler_id FROM unnest(names) WITH ORDINALITY n (name, ord)
                 JOIN millrace_internal.handler h USING (name) ORDER BY n.ord);
END $$;
COMMENT ON FUNCTION millrace_internal.handler_ids(text[]) IS 'Numbers of handlers, in order. Tables changed: handler.';

CREATE OR REPLACE FUNCTION millrace_internal.tenant_id(in_name text)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_id integer := (SELECT t.tenant_id FROM millrace_internal.tenant t WHERE t.name = in_name);
BEGIN
    IF found_id IS NULL THEN
        IF octet_length(in_name) > 200 THEN
            PERFORM millrace_internal.fail('MR002', 'the tenant''s name is too long', format('It has %s bytes; 200 are allowed.', octet_length(in_name)));
        END IF;
        INSERT INTO millrace_internal.tenant (name) VALUES (in_name) ON CONFLICT DO NOTHING;
        SELECT t.tenant_id INTO found_id FROM millrace_internal.tenant t WHERE t.name = in_name;
    END IF;
    RETURN found_id;
END $$;
COMMENT ON FUNCTION millrace_internal.tenant_id(text) IS 'Number of a tenant. Tables changed: tenant.';

CREATE OR REPLACE FUNCTION millrace.set_tenant_weight(tenant text, weight real)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id integer;
BEGIN
    IF weight IS NULL OR NOT (weight > 0 AND weight <= 1000000) THEN
        PERFORM millrace_internal.fail('MR001', format('the weight %s is not between 0 and 1,000,000', weight));
    END IF;
    id := millrace_internal.tenant_id(coalesce(set_tenant_weight.tenant, ''));
    UPDATE millrace_internal.tenant t SET weight = set_tenant_weight.weight WHERE t.tenant_id = id;
    PERFORM millrace_internal.dispatcher_weights_changed();
END $$;
COMMENT ON FUNCTION millrace.set_tenant_weight(text, real) IS 'A tenant''s share of what is handed out while others wait too; 1 by default. Tables changed: tenant.';
