-- Purpose: the graph of a version, answered in C.
-- A graph is computed once, when a version is defined, and kept as one value that all its runs share.
-- Steps are numbered depth-first in topological order (def_no, from 1): a need has a lower number than
-- what needs it, but in a run that has grown (docs/growing.md). Arrays "by def_no" have one element a step, the first for def_no 1.
-- Tables changed: none. Locks taken: none.

-- Purpose: number the steps of a version and compute all that is known about its graph.
-- Arguments: step_count  steps are named here by ordinal, their place in the definition, from 1
--            edge_from, edge_to  one element an edge: the step edge_to needs the step edge_from
--            rules       by ordinal: 0 all_completed, 1 all_done, others; from 10 on they may decide early
--            expected    by ordinal: expected seconds, null where unknown (counted as 1)
--            path_bytes  bound for the paths kept in the graph; past it a sweep answers instead
-- Returns:   def_no             by ordinal: the number of each step
--            level              by def_no: steps on the longest path before it
--            rank               by def_no: expected seconds on the longest path from its start to the end
--            needs_count        by def_no: counted needs, that is without those implied by a longer path
--            closing            by def_no: may be the last of a run to end
--            dependents_start   by def_no, and one more: where its counted dependents begin in
--            dependents         which lists them: those of d are dependents[dependents_start[d] : dependents_start[d+1] - 1]
--            implied_from, implied_to  def_nos of the edges that need not be counted
--            cycle              ordinals of steps that need each other in a ring, each needed by the next;
--                               null without one, else all other columns are null
--            graph              what the functions below read; store it uncompressed (EXTERNAL)
CREATE OR REPLACE FUNCTION millrace_internal.graph_build(
    step_count int, edge_from int[], edge_to int[], rules smallint[], expected real[], path_bytes int,
    OUT def_no int[], OUT level int[], OUT rank real[], OUT needs_count int[], OUT closing boolean[],
    OUT dependents_start int[], OUT dependents int[], OUT implied_from int[], OUT implied_to int[],
    OUT cycle int[], OUT graph bytea)
RETURNS record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_build';
COMMENT ON FUNCTION millrace_internal.graph_build(int, int[], int[], smallint[], real[], int) IS
    'numbers the steps of a version and computes levels, ranks, counted and implied edges and paths';

-- Purpose: the same where steps have their numbers already: ordinals are def_nos, and a need may have the higher number.
CREATE OR REPLACE FUNCTION millrace_internal.graph_build_numbered(
    step_count int, edge_from int[], edge_to int[], rules smallint[], expected real[], path_bytes int,
    OUT def_no int[], OUT level int[], OUT rank real[], OUT needs_count int[], OUT closing boolean[],
    OUT dependents_start int[], OUT dependents int[], OUT implied_from int[], OUT implied_to int[],
    OUT cycle int[], OUT graph bytea)
RETURNS record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_build_numbered';
COMMENT ON FUNCTION millrace_internal.graph_build_numbered(int, int[], int[], smallint[], real[], int) IS
    'computes all of a graph whose steps are numbered already';

-- Purpose: the graph with further steps and edges. What lies neither before nor behind a new edge is taken over as it is.
-- Arguments: edge_from, edge_to  new edges, by def_no: new steps are numbered on from the last one
--            rules, expected     of the new steps
-- Returns:   as graph_build, of all steps; def_no counts them; cycle in def_nos
--            changed             old steps that count other needs than before
CREATE OR REPLACE FUNCTION millrace_internal.graph_grow(
    graph bytea, edge_from int[], edge_to int[], rules smallint[], expected real[], path_bytes int,
    OUT def_no int[], OUT level int[], OUT rank real[], OUT needs_count int[], OUT closing boolean[],
    OUT dependents_start int[], OUT dependents int[], OUT implied_from int[], OUT implied_to int[],
    OUT cycle int[], OUT grown bytea, OUT changed int[])
RETURNS record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_grow';
COMMENT ON FUNCTION millrace_internal.graph_grow(bytea, int[], int[], smallint[], real[], int) IS
    'extends a graph by steps and edges';

-- Purpose: the paths through a step. Returns: def_nos, ascending.
CREATE OR REPLACE FUNCTION millrace_internal.graph_ancestors(graph bytea, def_no int)
RETURNS int[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_ancestors';
COMMENT ON FUNCTION millrace_internal.graph_ancestors(bytea, int) IS
    'all steps that a step waits for, directly or through others';

CREATE OR REPLACE FUNCTION millrace_internal.graph_descendants(graph bytea, def_no int)
RETURNS int[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_descendants';
COMMENT ON FUNCTION millrace_internal.graph_descendants(bytea, int) IS
    'all steps that wait for a step, directly or through others';

CREATE OR REPLACE FUNCTION millrace_internal.graph_fall(graph bytea, def_no int)
RETURNS int[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_fall';
COMMENT ON FUNCTION millrace_internal.graph_fall(bytea, int) IS
    'all steps that are skipped if a step fails: what hangs on it through steps with rule all_completed';

CREATE OR REPLACE FUNCTION millrace_internal.graph_needs(graph bytea, def_no int)
RETURNS int[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_needs';
COMMENT ON FUNCTION millrace_internal.graph_needs(bytea, int) IS
    'the declared needs of a step, counted and implied';

CREATE OR REPLACE FUNCTION millrace_internal.graph_counted(graph bytea, def_no int)
RETURNS int[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_counted';
COMMENT ON FUNCTION millrace_internal.graph_counted(bytea, int) IS
    'the counted needs of a step';

CREATE OR REPLACE FUNCTION millrace_internal.graph_dependents(graph bytea, def_no int)
RETURNS int[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_dependents';
COMMENT ON FUNCTION millrace_internal.graph_dependents(bytea, int) IS
    'the steps that declare a step as a need, counted and implied';

-- Returns: whether to_no waits for from_no, directly or through others.
CREATE OR REPLACE FUNCTION millrace_internal.graph_has_path(graph bytea, from_no int, to_no int)
RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_has_path';
COMMENT ON FUNCTION millrace_internal.graph_has_path(bytea, int, int) IS
    'whether the second step waits for the first, directly or through others';

-- Returns: one row an edge, ordered by to_no: to_no needs from_no; not counted where a longer path implies it.
CREATE OR REPLACE FUNCTION millrace_internal.graph_edges(graph bytea)
RETURNS TABLE (from_no int, to_no int, counted boolean)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_edges';
COMMENT ON FUNCTION millrace_internal.graph_edges(bytea) IS
    'the declared edges, and whether each is counted or implied by a longer path';

-- Arguments: weights  by def_no, in seconds; null, or a null element: what the definition expects
-- Returns:   def_nos of the longest path, from its first step to its last.
CREATE OR REPLACE FUNCTION millrace_internal.graph_critical_path(graph bytea, weights real[] DEFAULT NULL)
RETURNS int[]
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_critical_path';
COMMENT ON FUNCTION millrace_internal.graph_critical_path(bytea, real[]) IS
    'the longest path under the given weights';

-- Arguments: seconds  by def_no; a null element: what the definition expects
-- Returns:   by def_no: seconds on the longest path from its start to the end.
CREATE OR REPLACE FUNCTION millrace_internal.graph_ranks(graph bytea, seconds real[])
RETURNS real[]
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_ranks';
COMMENT ON FUNCTION millrace_internal.graph_ranks(bytea, real[]) IS
    'the ranks of all steps under the given durations';

-- Purpose: what follows when steps have become terminal.
-- Arguments: settled, good  the steps, each good when it completed
--            known, known_left, known_bad  counters of steps that were reached before; all others start
--            from their counted needs and no bad one; a known step with nothing left is passed over
-- Returns:   one row for each step reached over counted edges, ascending:
--            needs_left, needs_bad  its counters from now on
--            decision  0 still waiting; 1 ready, or, from rule 2 on, for the caller to decide;
--                      2 skipped, and what follows from that is among the rows
CREATE OR REPLACE FUNCTION millrace_internal.graph_settle(
    graph bytea, settled int[], good boolean[], known int[], known_left int[], known_bad int[])
RETURNS TABLE (def_no int, needs_left int, needs_bad int, decision smallint)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_settle';
COMMENT ON FUNCTION millrace_internal.graph_settle(bytea, int[], boolean[], int[], int[], int[]) IS
    'counters and decisions of the steps reached when steps have become terminal';

-- Purpose: what has to wait again when an operator retries steps.
-- Arguments: revived         terminal steps that are to run again
--            terminal, good  all terminal steps of the run, as they are before; good: completed
--            failed          those terminal steps that failed by themselves: unless revived they stay failed
-- Returns:   one row for each step that is pending from now on, with its counters, ascending:
--            terminal steps, neither good nor failed, that hung on a revived one; steps that were and stay
--            pending, where a counter changes; revived steps that have to wait for another revived one.
CREATE OR REPLACE FUNCTION millrace_internal.graph_revive(
    graph bytea, revived int[], terminal int[], good boolean[], failed int[] DEFAULT '{}')
RETURNS TABLE (def_no int, needs_left int, needs_bad int)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_graph_revive';
COMMENT ON FUNCTION millrace_internal.graph_revive(bytea, int[], int[], boolean[], int[]) IS
    'steps that are pending again, and their counters, when steps are retried';

-- Returns: the candidate that a misspelt word most likely meant, null when none is near.
CREATE OR REPLACE FUNCTION millrace_internal.nearest(word text, candidates text[])
RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'millrace_nearest';
COMMENT ON FUNCTION millrace_internal.nearest(text, text[]) IS
    'the candidate nearest to a word by edit distance, at most a third of its length away';
