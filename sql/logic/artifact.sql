-- Purpose: files that running steps leave behind. They come in parts, in a call each, and are seen when the last part has come and
-- size and checksum are right: what a hand-out does not complete was never there. One of the same name, of this hand-out or of an
-- earlier one, is replaced then.

-- Bounds that are no settings: bytes of a part, artifacts of a step.
CREATE OR REPLACE FUNCTION millrace_internal.artifact_limits(OUT part_bytes integer, OUT artifacts integer)
LANGUAGE sql IMMUTABLE AS $$ SELECT 1048576, 1000 $$;
COMMENT ON FUNCTION millrace_internal.artifact_limits() IS 'Bounds of parts, and of artifacts a step.';

-- The SHA-256 of the parts that are there, from the first on, and of one that comes behind them; no more than one is in memory.
-- Returns: null where one of them is missing
CREATE OR REPLACE FUNCTION millrace_internal.artifact_digest(in_run_id bigint, in_step_no integer, in_artifact_no integer, parts integer, last bytea)
RETURNS bytea LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'millrace_artifact_digest';
COMMENT ON FUNCTION millrace_internal.artifact_digest(bigint, integer, integer, integer, bytea) IS 'The SHA-256 of an artifact.';

CREATE OR REPLACE FUNCTION millrace_internal.artifact_check(name text, content_type text, sha256 bytea)
RETURNS void LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- a file of that name can be made anywhere, and is not hidden
    IF coalesce(octet_length(name), 0) NOT BETWEEN 1 AND 200 OR name ~ '^[.]|[/\\[:cntrl:]]' THEN
        PERFORM millrace_internal.fail('MR001', format('"%s" is not a name for an artifact', left(name, 200)), NULL,
            'A name has 1 to 200 bytes, none of them a slash, a backslash or a control character, and does not begin with a dot.');
    ELSIF coalesce(octet_length(content_type), 0) NOT BETWEEN 3 AND 200 OR content_type !~ '^[!-~]+/[ -~]+$' THEN
        PERFORM millrace_internal.fail('MR001', format('"%s" is not a content type', left(content_type, 200)), NULL, 'Write for example text/plain.');
    ELSIF octet_length(sha256) <> 32 THEN
        PERFORM millrace_internal.fail('MR001', format('a checksum of %s bytes is no SHA-256', octet_length(sha256)), NULL, 'A SHA-256 has 32 bytes.');
    END IF;
END $$;
COMMENT ON FUNCTION millrace_internal.artifact_check(text, text, bytea) IS 'MR001 for a name, a content type or a checksum that is none.';

-- Takes away what is being written under these numbers. Tables changed: artifact_upload, artifact_part.
CREATE OR REPLACE FUNCTION millrace_internal.artifact_uploads_drop(in_shard smallint, in_run_id bigint, in_step_no integer, numbers integer[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    DELETE FROM millrace_internal.artifact_upload u
    WHERE u.run_id = in_run_id AND u.step_no = in_step_no AND u.artifact_no = ANY (numbers) AND u.shard = in_shard;
    DELETE FROM millrace_internal.artifact_part p
    WHERE p.run_id = in_run_id AND p.step_no = in_step_no AND p.artifact_no = ANY (numbers) AND p.shard = in_shard;
END $$;
COMMENT ON FUNCTION millrace_internal.artifact_uploads_drop(smallint, bigint, integer, integer[]) IS 'Takes away artifacts that are being written.';

-- Begins an artifact, on a step whose row is held. What earlier hand-outs have not completed, and what this one has begun under the
-- name, goes. Returns: its number. Tables changed: artifact_upload, artifact_part.
CREATE OR REPLACE FUNCTION millrace_internal.artifact_begin(in_shard smallint, in_run_id bigint, in_step_no integer, in_token integer, in_name text, in_content_type text)
RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    bound integer := (millrace_internal.artifact_limits()).artifacts;
    over  integer[];
    known record;
BEGIN
    SELECT array_agg(u.artifact_no) INTO over FROM millrace_internal.artifact_upload u
    WHERE u.run_id = in_run_id AND u.step_no = in_step_no AND u.shard = in_shard AND (u.token <> in_token OR u.name = in_name);
    IF over IS NOT NULL THEN
        PERFORM millrace_internal.artifact_uploads_drop(in_shard, in_run_id, in_step_no, over);
    END IF;
    SELECT count(*) FILTER (WHERE k.name <> in_name) AS others, coalesce(max(k.artifact_no), 0) AS last INTO known
    FROM (SELECT a.name, a.artifact_no FROM millrace_internal.artifact a WHERE a.run_id = in_run_id AND a.step_no = in_step_no AND a.shard = in_shard
          UNION ALL
          SELECT u.name, u.artifact_no FROM millrace_internal.artifact_upload u WHERE u.run_id = in_run_id AND u.step_no = in_step_no AND u.shard = in_shard) k;
    IF known.others >= bound THEN
        PERFORM millrace_internal.fail('MR082', format('step %s of run %s has %s artifacts already', in_step_no, in_run_id, bound), NULL, 'Pack many files into one archive.');
    END IF;
    INSERT INTO millrace_internal.artifact_upload (run_id, step_no, shard, artifact_no, token, due_at, name, content_type)
    VALUES (in_run_id, in_step_no, in_shard, known.last + 1, in_token, millrace_internal.clock() + interval '1 minute', in_name, in_content_type);
    RETURN known.last + 1;
END $$;
COMMENT ON FUNCTION millrace_internal.artifact_begin(smallint, bigint, integer, integer, text, text) IS 'Begins an artifact. Errors: MR082 too many.';

-- An artifact that is being written is complete. Tables changed: artifact, artifact_part, artifact_upload.
CREATE OR REPLACE FUNCTION millrace_internal.artifact_complete(u millrace_internal.artifact_upload, sha256 bytea, place text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    WITH replaced AS (
        DELETE FROM millrace_internal.artifact a
        WHERE a.run_id = u.run_id AND a.step_no = u.step_no AND a.shard = u.shard AND a.name = u.name
        RETURNING a.artifact_no)
    DELETE FROM millrace_internal.artifact_part p USING replaced r
    WHERE p.run_id = u.run_id AND p.step_no = u.step_no AND p.artifact_no = r.artifact_no AND p.shard = u.shard;
    INSERT INTO millrace_internal.artifact (run_id, step_no, shard, artifact_no, token, parts, bytes, stored_at, name, content_type, sha256, place)
    VALUES (u.run_id, u.step_no, u.shard, u.artifact_no, u.token, u.parts, u.bytes, millrace_internal.clock(), u.name, u.content_type, artifact_complete.sha256, artifact_complete.place);
    DELETE FROM millrace_internal.artifact_upload x
    WHERE x.run_id = u.run_id AND x.step_no = u.step_no AND x.artifact_no = u.artifact_no AND x.shard = u.shard;
END $$;
COMMENT ON FUNCTION millrace_internal.artifact_complete(millrace_internal.artifact_upload, bytea, text) IS 'Shows an artifact, in the place of one with its name.';

-- Bytes that a step''s artifacts take up, but for one name. Those in the agents' store do not count.
CREATE OR REPLACE FUNCTION millrace_internal.artifact_bytes(in_shard smallint, in_run_id bigint, in_step_no integer, but_name text)
RETURNS bigint LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
    SELECT coalesce(sum(k.bytes), 0)::bigint
    FROM (SELECT a.bytes FROM millrace_internal.artifact a
          WHERE a.run_id = in_run_id AND a.step_no = in_step_no AND a.shard = in_shard AND a.name <> but_name AND a.place IS NULL
          UNION ALL
          SELECT u.bytes FROM millrace_internal.artifact_upload u
          WHERE u.run_id = in_run_id AND u.step_no = in_step_no AND u.shard = in_shard AND u.name <> but_name) k
$$;
COMMENT ON FUNCTION millrace_internal.artifact_bytes(smallint, bigint, integer, text) IS 'Bytes of a step''s artifacts.';

-- Arguments: part_no  from 1 on, one behind the other. 1 begins the artifact anew; the last one may be sent again, so that a call whose
--                     answer was lost can be repeated
--            sha256   of the whole, with its last part
-- Returns:   how many bytes have come so far
-- Tables changed: artifact_part, artifact_upload; artifact, with the last part. Locks: the step's row.
CREATE OR REPLACE FUNCTION millrace.store_artifact(agent_id integer, run_id bigint, step_no integer, token integer, name text, part_no integer, part bytea,
    content_type text DEFAULT 'application/octet-stream', sha256 bytea DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    in_shard   smallint := (store_artifact.run_id & 255)::smallint;
    part_bound integer := (millrace_internal.artifact_limits()).part_bytes;
    u          millrace_internal.artifact_upload;
    known      bigint;
    digested   integer;
    digest     bytea;
BEGIN
    PERFORM millrace_internal.artifact_check(store_artifact.name, store_artifact.content_type, store_artifact.sha256);
    IF coalesce(store_artifact.part_no, 0) < 1 OR part IS NULL THEN
        PERFORM millrace_internal.fail('MR001', 'the part is malformed', NULL, 'A part has a number from 1 on and bytes.');
    ELSIF octet_length(part) > part_bound THEN
        PERFORM millrace_internal.fail('MR002', format('a part of %s bytes is too large', octet_length(part)), NULL, format('A part has up to %s bytes.', part_bound));
    END IF;
    IF store_artifact.sha256 IS NOT NULL THEN
        -- before the row is held, for it reads all that has come
        SELECT x.artifact_no INTO digested FROM millrace_internal.artifact_upload x
        WHERE x.run_id = store_artifact.run_id AND x.step_no = store_artifact.step_no AND x.shard = in_shard AND x.token = store_artifact.token AND x.name = store_artifact.name;
        digest := millrace_internal.artifact_digest(store_artifact.run_id, store_artifact.step_no, coalesce(digested, 0), store_artifact.part_no - 1, part);
    END IF;
    PERFORM millrace_internal.step_hold(in_shard, store_artifact.run_id, store_artifact.step_no);
    PERFORM millrace_internal.require_running(store_artifact.agent_id, store_artifact.run_id, store_artifact.step_no, store_artifact.token);
    IF store_artifact.part_no = 1 THEN
        PERFORM millrace_internal.artifact_begin(in_shard, store_artifact.run_id, store_artifact.step_no, store_artifact.token, store_artifact.name, store_artifact.content_type);
    END IF;
    SELECT * INTO u FROM millrace_internal.artifact_upload x
    WHERE x.run_id = store_artifact.run_id AND x.step_no = store_artifact.step_no AND x.shard = in_shard AND x.token = store_artifact.token AND x.name = store_artifact.name;
    IF u.run_id IS NULL THEN
        SELECT a.bytes INTO known FROM millrace_internal.artifact a
        WHERE a.run_id = store_artifact.run_id AND a.step_no = store_artifact.step_no AND a.shard = in_shard AND a.token = store_artifact.token
          AND a.name = store_artifact.name AND a.parts = store_artifact.part_no AND a.sha256 = store_artifact.sha256;
        IF known IS NOT NULL THEN
            RETURN known;
        END IF;
    ELSIF u.parts = store_artifact.part_no THEN
        DELETE FROM millrace_internal.artifact_part p
        WHERE p.run_id = u.run_id AND p.step_no = u.step_no AND p.artifact_no = u.artifact_no AND p.part_no = u.parts AND p.shard = in_shard
        RETURNING u.bytes - octet_length(p.part) INTO u.bytes;
        u.parts := u.parts - 1;
    END IF;
    IF u.run_id IS NULL OR u.parts <> store_artifact.part_no - 1 THEN
        PERFORM millrace_internal.fail('MR083', format('part %s of artifact "%s" does not follow what has come', store_artifact.part_no, store_artifact.name),
            format('%s parts have come.', coalesce(u.parts, 0)), 'Send the parts one behind the other, or begin anew with part 1.');
    END IF;
    u.parts := u.parts + 1;
    u.bytes := u.bytes + octet_length(part);
    IF u.bytes > pg_size_bytes(millrace_internal.setting('millrace.max_artifact_size')) THEN
        PERFORM millrace_internal.fail('MR081', format('artifact "%s" is larger than millrace.max_artifact_size', u.name),
            format('The bound is %s.', millrace_internal.setting('millrace.max_artifact_size')), 'Raise it, or give the agents a store (agent.outputs.store).');
    ELSIF u.bytes + millrace_internal.artifact_bytes(in_shard, u.run_id, u.step_no, u.name) > pg_size_bytes(millrace_internal.setting('millrace.max_step_artifacts_size')) THEN
        PERFORM millrace_internal.fail('MR082', format('with artifact "%s" those of step %s of run %s are larger than millrace.max_step_artifacts_size', u.name, u.step_no, u.run_id),
            format('The bound is %s.', millrace_internal.setting('millrace.max_step_artifacts_size')), 'Raise it, or give the agents a store (agent.outputs.store).');
    END IF;
    INSERT INTO millrace_internal.artifact_part (run_id, step_no, shard, artifact_no, part_no, part)
    VALUES (u.run_id, u.step_no, in_shard, u.artifact_no, u.parts, store_artifact.part);
    UPDATE millrace_internal.artifact_upload x SET parts = u.parts, bytes = u.bytes
    WHERE x.run_id = u.run_id AND x.step_no = u.step_no AND x.artifact_no = u.artifact_no AND x.shard = in_shard;
    IF store_artifact.sha256 IS NOT NULL THEN
        IF digest IS DISTINCT FROM store_artifact.sha256 OR u.parts > 1 AND u.artifact_no <> digested THEN
            PERFORM millrace_internal.fail('MR084', format('what has come of artifact "%s" is not what its checksum says', u.name),
                format('%s bytes with SHA-256 %s, not %s.', u.bytes, encode(digest, 'hex'), encode(store_artifact.sha256, 'hex')), 'Begin anew with part 1.');
        END IF;
        PERFORM millrace_internal.artifact_complete(u, store_artifact.sha256, NULL);
    END IF;
    RETURN u.bytes;
END $$;
COMMENT ON FUNCTION millrace.store_artifact(integer, bigint, integer, integer, text, integer, bytea, text, bytea) IS
'Stores a part of a file that a running step leaves behind. It is seen once the last part has come, with the checksum of the whole; one with its name is replaced. Answers how many bytes have come.
Errors: MR001, MR002, MR021, MR041 stale token, MR081 too large, MR082 too many or too large together, MR083 a part out of turn, MR084 another checksum. Tables changed: artifact_part, artifact_upload, artifact. Locks: the step''s row.';

-- Arguments: place  its name in the agents' store, where the agent has put its bytes
-- Tables changed: as store_artifact. Locks: the step's row.
CREATE OR REPLACE FUNCTION millrace.store_artifact_reference(agent_id integer, run_id bigint, step_no integer, token integer, name text, place text, bytes bigint, sha256 bytea,
    content_type text DEFAULT 'application/octet-stream')
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    in_shard smallint := (store_artifact_reference.run_id & 255)::smallint;
    u        millrace_internal.artifact_upload;
BEGIN
    PERFORM millrace_internal.artifact_check(store_artifact_reference.name, store_artifact_reference.content_type, store_artifact_reference.sha256);
    IF coalesce(octet_length(place), 0) NOT BETWEEN 1 AND 1000 OR coalesce(bytes, -1) < 0 OR sha256 IS NULL THEN
        PERFORM millrace_internal.fail('MR001', 'the reference is malformed', NULL, 'It has a place of 1 to 1,000 bytes, a size and a checksum.');
    END IF;
    PERFORM millrace_internal.step_hold(in_shard, store_artifact_reference.run_id, store_artifact_reference.step_no);
    PERFORM millrace_internal.require_running(store_artifact_reference.agent_id, store_artifact_reference.run_id, store_artifact_reference.step_no, store_artifact_reference.token);
    u.artifact_no := millrace_internal.artifact_begin(in_shard, store_artifact_reference.run_id, store_artifact_reference.step_no, store_artifact_reference.token,
                                                      store_artifact_reference.name, store_artifact_reference.content_type);
    u.run_id := store_artifact_reference.run_id; u.step_no := store_artifact_reference.step_no; u.shard := in_shard; u.token := store_artifact_reference.token;
    u.name := store_artifact_reference.name; u.content_type := store_artifact_reference.content_type; u.parts := 0; u.bytes := store_artifact_reference.bytes;
    PERFORM millrace_internal.artifact_complete(u, store_artifact_reference.sha256, store_artifact_reference.place);
END $$;
COMMENT ON FUNCTION millrace.store_artifact_reference(integer, bigint, integer, integer, text, text, bigint, bytea, text) IS
'Says where a file lies that a running step leaves behind, when the agent has put it into its store. Errors: MR001, MR021, MR041 stale token, MR082 too many. Tables changed: artifact, artifact_part, artifact_upload. Locks: the step''s row.';

CREATE OR REPLACE VIEW millrace.artifacts WITH (security_invoker) AS
SELECT a.run_id, a.step_no, d.key, s.element, a.name, a.content_type, a.bytes, pg_catalog.encode(a.sha256, 'hex') AS sha256, a.token, a.stored_at, a.artifact_no, a.parts, a.place
FROM millrace_internal.artifact a
JOIN millrace_internal.step s ON s.run_id = a.run_id AND s.step_no = a.step_no AND s.shard = a.shard
JOIN millrace_internal.run r ON r.run_id = a.run_id AND r.shard = a.shard
JOIN millrace_internal.step_definition d ON d.version_id = r.version_id AND d.def_no = s.def_no;
COMMENT ON VIEW millrace.artifacts IS 'Files that steps have left behind: the last one of each name that was completed. Ask for one run_id; read_artifact has the bytes.';

CREATE OR REPLACE FUNCTION millrace_internal.artifact_part(in_run_id bigint, in_step_no integer, in_artifact_no integer, in_part_no integer)
RETURNS bytea LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    found_part bytea;
BEGIN
    SELECT p.part INTO found_part
    FROM millrace_internal.artifact a
    JOIN millrace_internal.artifact_part p USING (run_id, step_no, shard, artifact_no)
    WHERE a.run_id = in_run_id AND a.step_no = in_step_no AND a.shard = (in_run_id & 255) AND a.artifact_no = in_artifact_no
      AND p.run_id = in_run_id AND p.part_no = in_part_no;
    IF found_part IS NULL THEN
        PERFORM millrace_internal.fail('MR085', format('step %s of run %s has no part %s of an artifact %s', in_step_no, in_run_id, in_part_no, in_artifact_no),
            NULL, 'millrace.artifacts has the numbers. One that was stored again meanwhile has another number.');
    END IF;
    RETURN found_part;
END $$;
COMMENT ON FUNCTION millrace_internal.artifact_part(bigint, integer, integer, integer) IS 'A part of an artifact that is complete.';

CREATE OR REPLACE FUNCTION millrace.read_artifact(run_id bigint, step_no integer, artifact_no integer, part_no integer)
RETURNS bytea LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT millrace_internal.artifact_part(run_id, step_no, artifact_no, part_no)
$$;
COMMENT ON FUNCTION millrace.read_artifact(bigint, integer, integer, integer) IS 'A part of an artifact, by the numbers that millrace.artifacts has; parts count from 1. Errors: MR085 there is no such part, or no longer.';

-- For agents, which cannot look at views: what another step of the run that an agent works on has left behind.
-- Arguments: key, element  whose it is; part_no  0: none yet
-- Returns:   what millrace.artifacts has, and the part; null where the agents' store has the bytes
CREATE OR REPLACE FUNCTION millrace.fetch_artifact(agent_id integer, run_id bigint, step_no integer, token integer, key text, name text, part_no integer DEFAULT 0, element integer DEFAULT NULL,
    OUT artifact_no integer, OUT content_type text, OUT bytes bigint, OUT sha256 bytea, OUT parts integer, OUT place text, OUT part bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    r     millrace_internal.run;
    def   millrace_internal.step_definition;
    whose integer;
BEGIN
    PERFORM millrace_internal.require_running(fetch_artifact.agent_id, fetch_artifact.run_id, fetch_artifact.step_no, fetch_artifact.token);
    r := millrace_internal.run_get(fetch_artifact.run_id);
    def := millrace_internal.step_by_key(r.version_id, fetch_artifact.key);
    SELECT a.step_no, a.artifact_no, a.content_type, a.bytes, a.sha256, a.parts, a.place
    INTO whose, fetch_artifact.artifact_no, fetch_artifact.content_type, fetch_artifact.bytes, fetch_artifact.sha256, fetch_artifact.parts, fetch_artifact.place
    FROM millrace_internal.artifact a
    JOIN millrace_internal.step s ON s.run_id = a.run_id AND s.step_no = a.step_no AND s.shard = a.shard
    WHERE a.run_id = r.run_id AND a.shard = r.shard AND a.name = fetch_artifact.name AND s.run_id = r.run_id AND s.def_no = def.def_no
      AND s.element IS NOT DISTINCT FROM fetch_artifact.element;
    IF whose IS NULL THEN
        PERFORM millrace_internal.fail('MR085', format('step "%s" of run %s has left no artifact "%s"', def.key, r.run_id, left(fetch_artifact.name, 200)), NULL,
            CASE WHEN fetch_artifact.element IS NULL THEN 'An artifact is there once it is complete. Of a step with for_each, name the element.' ELSE 'An artifact is there once it is complete.' END);
    END IF;
    IF fetch_artifact.part_no > 0 AND fetch_artifact.place IS NULL THEN
        fetch_artifact.part := millrace_internal.artifact_part(r.run_id, whose, fetch_artifact.artifact_no, fetch_artifact.part_no);
    END IF;
END $$;
COMMENT ON FUNCTION millrace.fetch_artifact(integer, bigint, integer, integer, text, text, integer, integer) IS
'For a running step: an artifact of a step of its run, and a part of it. Errors: MR014 unknown key, MR021, MR041 stale token, MR085 there is no such artifact, or part.';

CREATE OR REPLACE FUNCTION millrace.delete_artifacts(run_id bigint, key text DEFAULT NULL, name text DEFAULT NULL)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    r       millrace_internal.run := millrace_internal.run_get(delete_artifacts.run_id);
    def     millrace_internal.step_definition;
    deleted integer;
BEGIN
    IF delete_artifacts.key IS NOT NULL THEN
        def := millrace_internal.step_by_key(r.version_id, delete_artifacts.key);
    END IF;
    WITH gone AS (
        DELETE FROM millrace_internal.artifact a USING millrace_internal.step s
        WHERE a.run_id = r.run_id AND a.shard = r.shard AND (delete_artifacts.name IS NULL OR a.name = delete_artifacts.name)
          AND s.run_id = r.run_id AND s.step_no = a.step_no AND s.shard = r.shard AND (def.def_no IS NULL OR s.def_no = def.def_no)
        RETURNING a.step_no, a.artifact_no),
    emptied AS (
        DELETE FROM millrace_internal.artifact_part p USING gone g
        WHERE p.run_id = r.run_id AND p.step_no = g.step_no AND p.artifact_no = g.artifact_no AND p.shard = r.shard)
    SELECT count(*) INTO deleted FROM gone;
    RETURN deleted;
END $$;
COMMENT ON FUNCTION millrace.delete_artifacts(bigint, text, text) IS
'Takes away artifacts of a run: all, those of a step (with for_each: of all its elements), or those of a name. What lies in the agents'' store stays there. Answers how many. Errors: MR013 unknown run, MR014 unknown step. Tables changed: artifact, artifact_part.';

-- What hand-outs that are over have begun and not completed. A hand-out that has been decided never runs again, so its row need not be held.
-- The keeper does not come for this (next_due_at): what another call holds would keep it coming.
-- Tables changed: artifact_upload, artifact_part. Locks: SKIP LOCKED.
CREATE OR REPLACE FUNCTION millrace_internal.keep_artifacts(now_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    looked integer;
BEGIN
    IF NOT EXISTS (SELECT FROM millrace_internal.artifact_upload u WHERE u.due_at <= now_at) THEN
        RETURN false;
    END IF;
    WITH head AS MATERIALIZED (
        SELECT u.run_id, u.step_no, u.artifact_no, u.shard,
               EXISTS (SELECT FROM millrace_internal.step s WHERE s.run_id = u.run_id AND s.step_no = u.step_no AND s.shard = u.shard AND s.state = 4 AND s.token = u.token) AS runs
        FROM millrace_internal.artifact_upload u WHERE u.due_at <= now_at ORDER BY u.due_at LIMIT 100 FOR UPDATE OF u SKIP LOCKED),
    later AS (
        UPDATE millrace_internal.artifact_upload u SET due_at = now_at + interval '1 minute' FROM head h
        WHERE h.runs AND u.run_id = h.run_id AND u.step_no = h.step_no AND u.artifact_no = h.artifact_no AND u.shard = h.shard),
    gone AS (
        DELETE FROM millrace_internal.artifact_upload u USING head h
        WHERE NOT h.runs AND u.run_id = h.run_id AND u.step_no = h.step_no AND u.artifact_no = h.artifact_no AND u.shard = h.shard),
    emptied AS (
        DELETE FROM millrace_internal.artifact_part p USING head h
        WHERE NOT h.runs AND p.run_id = h.run_id AND p.step_no = h.step_no AND p.artifact_no = h.artifact_no AND p.shard = h.shard)
    SELECT count(*) INTO looked FROM head;
    RETURN looked > 0;
END $$;
COMMENT ON FUNCTION millrace_internal.keep_artifacts(timestamptz) IS 'Takes away up to 100 artifacts that nobody will complete.';
