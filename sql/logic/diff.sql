-- Purpose: what differs between two definitions.

-- Returns: all steps with the workflow's defaults filled in, without their keys; needs in one order; finally marks those of finally.
CREATE OR REPLACE FUNCTION millrace_internal.definition_effective(definition jsonb)
RETURNS TABLE (key text, step jsonb)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.step ->> 'key',
           (d.defaults || e.step - 'key' - 'needs')
           || CASE WHEN e.ord > jsonb_array_length(definition -> 'steps') THEN jsonb_build_object('finally', true) ELSE '{}' END
           || CASE WHEN d.defaults ? 'retry' AND e.step ? 'retry' THEN jsonb_build_object('retry', (d.defaults -> 'retry') || (e.step -> 'retry')) ELSE '{}' END
           || CASE WHEN jsonb_array_length(e.step -> 'needs') > 0
                   THEN jsonb_build_object('needs', (SELECT jsonb_agg(DISTINCT need ORDER BY need) FROM jsonb_array_elements(e.step -> 'needs') need)) ELSE '{}' END
    FROM (SELECT coalesce(definition -> 'defaults', '{}') AS defaults) d, jsonb_array_elements(millrace_internal.definition_nodes(definition)) WITH ORDINALITY e (step, ord)
$$;
COMMENT ON FUNCTION millrace_internal.definition_effective(jsonb) IS 'What the steps of a definition come to.';

-- Returns: steps that are added or removed, and each part of a step that differs; parts of the workflow itself without a key.
CREATE OR REPLACE FUNCTION millrace_internal.definition_changes(before jsonb, after jsonb)
RETURNS TABLE (key text, change text, old jsonb, new jsonb)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
    SELECT NULL, k, before -> k, after -> k
    FROM (SELECT jsonb_object_keys(before) UNION SELECT jsonb_object_keys(after)) u (k)
    WHERE k NOT IN ('workflow', 'steps', 'finally', 'defaults') AND before -> k IS DISTINCT FROM after -> k
    UNION ALL
    SELECT * FROM (
        SELECT coalesce(o.key, n.key), c.change, c.old, c.new
        FROM millrace_internal.definition_effective(before) o
        FULL JOIN millrace_internal.definition_effective(after) n ON n.key = o.key
        CROSS JOIN LATERAL (
            SELECT CASE WHEN o.key IS NULL THEN 'added' ELSE 'removed' END AS change, o.step AS old, n.step AS new WHERE o.key IS NULL OR n.key IS NULL
            UNION ALL
            SELECT k, o.step -> k, n.step -> k FROM (SELECT jsonb_object_keys(o.step) UNION SELECT jsonb_object_keys(n.step)) u (k)
            WHERE o.step <> n.step AND o.step -> k IS DISTINCT FROM n.step -> k) c
        ORDER BY 1, 2) steps
$$;
COMMENT ON FUNCTION millrace_internal.definition_changes(jsonb, jsonb) IS 'What differs between two definitions, step by step and part by part.';

CREATE OR REPLACE FUNCTION millrace.diff_versions(workflow text, from_version integer, to_version integer DEFAULT NULL)
RETURNS TABLE (key text, change text, old jsonb, new jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    before jsonb := (SELECT v.definition FROM millrace_internal.version v WHERE v.version_id = millrace_internal.version_for(diff_versions.workflow, diff_versions.from_version));
    after  jsonb := (SELECT v.definition FROM millrace_internal.version v WHERE v.version_id = millrace_internal.version_for(diff_versions.workflow, diff_versions.to_version));
BEGIN
    RETURN QUERY SELECT c.* FROM millrace_internal.definition_changes(before, after) c;
END $$;
COMMENT ON FUNCTION millrace.diff_versions(text, integer, integer) IS
'What differs between two versions of a workflow (the second: the latest, if left out): change is added, removed, or the name of what differs in a step, defaults filled in;
rows without a key are about the workflow. Errors: MR011, MR012.';
