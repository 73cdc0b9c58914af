-- Purpose: names of versions and tenants for rows that come by the thousand: each session remembers those that it has
-- looked up. Null where there is none.

CREATE OR REPLACE FUNCTION millrace_internal.version_workflow(version_id integer)
RETURNS text LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'millrace_version_workflow';
COMMENT ON FUNCTION millrace_internal.version_workflow(integer) IS 'The name of the workflow that a version belongs to.';

CREATE OR REPLACE FUNCTION millrace_internal.version_number(version_id integer)
RETURNS integer LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'millrace_version_number';
COMMENT ON FUNCTION millrace_internal.version_number(integer) IS 'The number of a version within its workflow.';

CREATE OR REPLACE FUNCTION millrace_internal.version_key(version_id integer, def_no integer)
RETURNS text LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'millrace_version_key';
COMMENT ON FUNCTION millrace_internal.version_key(integer, integer) IS 'The key of a step definition.';

CREATE OR REPLACE FUNCTION millrace_internal.tenant_name(tenant_id integer)
RETURNS text LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'millrace_tenant_name';
COMMENT ON FUNCTION millrace_internal.tenant_name(integer) IS 'The name of a tenant.';
