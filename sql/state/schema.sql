-- Purpose: the two schemas. `millrace` is the interface; `millrace_internal` is nobody's business but the engine's.

CREATE SCHEMA millrace;
COMMENT ON SCHEMA millrace IS 'Millrace: durable, dependency-ordered workflows. Everything to call or to look at.';

CREATE SCHEMA millrace_internal;
COMMENT ON SCHEMA millrace_internal IS 'Tables and inner functions of Millrace. Not an interface: anything here may change with any version.';
