-- Purpose: names that hot rows refer to by a small number: queues, handlers, tenants.
-- Dead rows: hardly any; rows are added once and seldom changed.

CREATE SEQUENCE millrace_internal.queue_id_seq AS integer;
CREATE TABLE millrace_internal.queue (
    queue_id integer NOT NULL DEFAULT nextval('millrace_internal.queue_id_seq') CONSTRAINT queue_pkey PRIMARY KEY,
    name     text    NOT NULL CONSTRAINT queue_name_key UNIQUE
                     CONSTRAINT queue_name_check CHECK (name <> '' AND octet_length(name) <= 200)
);
COMMENT ON TABLE millrace_internal.queue IS 'Named places where ready steps wait.';

CREATE SEQUENCE millrace_internal.handler_id_seq AS integer;
CREATE TABLE millrace_internal.handler (
    handler_id  integer NOT NULL DEFAULT nextval('millrace_internal.handler_id_seq') CONSTRAINT handler_pkey PRIMARY KEY,
    name        text    NOT NULL CONSTRAINT handler_name_key UNIQUE
                        CONSTRAINT handler_name_check CHECK (name <> '' AND octet_length(name) <= 200),
    takes_input boolean NOT NULL DEFAULT true
);
COMMENT ON TABLE millrace_internal.handler IS 'Names of the code that executes steps.';
COMMENT ON COLUMN millrace_internal.handler.takes_input IS
'False where the agent has no use for a step''s input: noop and sleep ignore it, sql reads it inside the database.';

CREATE SEQUENCE millrace_internal.tenant_id_seq AS integer MINVALUE 0 START 0;
CREATE TABLE millrace_internal.tenant (
    tenant_id integer NOT NULL DEFAULT nextval('millrace_internal.tenant_id_seq') CONSTRAINT tenant_pkey PRIMARY KEY,
    name      text    NOT NULL CONSTRAINT tenant_name_key UNIQUE
                      CONSTRAINT tenant_name_check CHECK (octet_length(name) <= 200),
    weight    real    NOT NULL DEFAULT 1 CONSTRAINT tenant_weight_check CHECK (weight > 0 AND weight <= 1000000)
);
COMMENT ON TABLE millrace_internal.tenant IS 'Owners of runs. A tenant of weight 2 is handed twice as many steps as one of weight 1 when both wait.';

SELECT pg_catalog.pg_extension_config_dump('millrace_internal.queue', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.queue_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.handler', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.handler_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.tenant', '');
SELECT pg_catalog.pg_extension_config_dump('millrace_internal.tenant_id_seq', '');
