/*
 * graph_build.c
 *		From the steps and edges of a definition to its graph.
 */
#include "postgres.h"

#include "arguments.h"
#include "funcapi.h"
#include "graph.h"
#include "millrace.h"

PG_FUNCTION_INFO_V1(millrace_graph_build);
PG_FUNCTION_INFO_V1(millrace_graph_build_numbered);

typedef struct Definition
{
	int			step_count;
	int			edge_count;
	const int32 *from;			/* ordinals, counted from 1 */
	const int32 *to;
	const int16 *rule;			/* by ordinal */
	const float4 *expected;
} Definition;

void
millrace_graph_check_limit(const char *what, int count, int limit)
{
	if (count > limit)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_TOO_LARGE),
				 errmsg("too many %s", what),
				 errdetail("There are %d, and at most %d are possible.", count, limit)));
}

void
millrace_graph_check_ordinals(const char *name, const int32 *ordinals, int count, int step_count)
{
	for (int i = 0; i < count; i++)
		if (ordinals[i] < 1 || ordinals[i] > step_count)
			ereport(ERROR,
					(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
					 errmsg("%s must be ordinals of steps", name),
					 errdetail("Element %d is %d, and there are steps 1 to %d.", i + 1, ordinals[i], step_count)));
}

static Definition
read_arguments(FunctionCallInfo fcinfo)
{
	Definition	definition = {.step_count = PG_GETARG_INT32(0)};
	int			ends;
	int			rules;

	if (definition.step_count < 1)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
				 errmsg("step_count must be at least 1")));
	millrace_graph_check_limit("steps", definition.step_count, MILLRACE_MAX_STEPS);

	definition.from = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(1), "edge_from", &definition.edge_count);
	definition.to = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(2), "edge_to", &ends);
	millrace_arguments_require_same_length("edge_from", definition.edge_count, "edge_to", ends);
	millrace_graph_check_limit("edges", definition.edge_count, MILLRACE_MAX_EDGES);
	millrace_graph_check_ordinals("edge_from", definition.from, definition.edge_count, definition.step_count);
	millrace_graph_check_ordinals("edge_to", definition.to, definition.edge_count, definition.step_count);

	definition.rule = millrace_arguments_smallints(PG_GETARG_ARRAYTYPE_P(3), "rules", &rules);
	if (rules != definition.step_count)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
				 errmsg("rules must have one element for each step"),
				 errdetail("There are %d elements for %d steps.", rules, definition.step_count)));
	definition.expected = millrace_arguments_seconds(PG_GETARG_ARRAYTYPE_P(4), "expected",
													 definition.step_count, NULL);
	return definition;
}

/*
 * A step may be the last of its run unless a dependent always is decided
 * after it; only such as decide early are not.
 */
static bool *
find_closing(const MillraceGraph *graph)
{
	bool	   *closing = palloc(sizeof(bool) * graph->step_count);

	for (int s = 0; s < graph->step_count; s++)
	{
		closing[s] = true;
		for (int32 i = graph->dependents.start[s]; i < graph->dependents.start[s + 1]; i++)
			if (graph->rule[graph->dependents.items[i]] < RULE_DECIDES_EARLY)
				closing[s] = false;
	}
	return closing;
}

/*
 * Arguments by ordinal. Needs are told apart by place, for that takes sweeps
 * over steps in their order; all else is kept by number.
 */
MillraceGraph
millrace_graph_from_scratch(int step_count, const GraphNeighbours *by_ordinal, const int32 *place_of, const int32 *number_of,
							const int16 *rule, const float4 *expected, int path_bytes)
{
	int			n = step_count;
	MillraceGraph graph = {.step_count = n, .edge_count = by_ordinal->start[n]};
	int16	   *rule_at = palloc(sizeof(int16) * n);
	int32	   *place_of_number = palloc(sizeof(int32) * n);
	GraphNeighbours needs;
	double	   *rank;

	graph.rule = palloc(sizeof(int16) * n);
	graph.expected = palloc(sizeof(float4) * n);
	graph.rank = palloc(sizeof(float4) * n);
	graph.level = palloc(sizeof(int32) * n);
	for (int s = 0; s < n; s++)
	{
		graph.rule[number_of[s]] = rule_at[place_of[s]] = rule[s];
		graph.expected[number_of[s]] = expected[s];
		place_of_number[number_of[s]] = place_of[s];
	}
	graph.order = millrace_graph_order(n, place_of_number);

	millrace_graph_renumber(n, by_ordinal, place_of, &needs);
	millrace_graph_reduce(n, rule_at, &needs);
	if (graph.order)
		millrace_graph_relabel(n, graph.order, &needs, &graph.needs);
	else
		graph.needs = needs;
	millrace_graph_invert(n, &graph.needs, &graph.dependents);

	millrace_graph_level(&graph);
	rank = millrace_graph_rank(&graph, graph.expected);
	for (int s = 0; s < n; s++)
		graph.rank[s] = rank[s];
	pfree(rank);
	graph.has_paths = millrace_graph_build_paths(&graph, Max(path_bytes, 0));
	return graph;
}

/* The counted dependents: where each step's begin, counted from 1, and all of them in a row. */
static void
fill_dependents(const MillraceGraph *graph, Datum *values)
{
	const GraphNeighbours *dependents = &graph->dependents;
	int32	   *start = palloc(sizeof(int32) * (graph->step_count + 1));
	int32	   *counted = palloc(sizeof(int32) * Max(graph->edge_count, 1));
	int			count = 0;

	for (int s = 0; s < graph->step_count; s++)
	{
		start[s] = count + 1;
		memcpy(counted + count, dependents->items + dependents->start[s], sizeof(int32) * dependents->counted[s]);
		count += dependents->counted[s];
	}
	start[graph->step_count] = count + 1;

	values[GRAPH_DEPENDENTS_START] = millrace_arguments_int_array(start, graph->step_count + 1);
	values[GRAPH_DEPENDENTS] = millrace_graph_def_nos(counted, count);
}

static void
fill_implied(const MillraceGraph *graph, Datum *values)
{
	int32	   *from = palloc(sizeof(int32) * Max(graph->edge_count, 1));
	int32	   *to = palloc(sizeof(int32) * Max(graph->edge_count, 1));
	int			count = 0;

	for (int s = 0; s < graph->step_count; s++)
		for (int32 i = graph->needs.start[s] + graph->needs.counted[s]; i < graph->needs.start[s + 1]; i++)
		{
			from[count] = graph->needs.items[i];
			to[count++] = s;
		}
	values[GRAPH_IMPLIED_FROM] = millrace_graph_def_nos(from, count);
	values[GRAPH_IMPLIED_TO] = millrace_graph_def_nos(to, count);
}

void
millrace_graph_fill(const MillraceGraph *graph, const int32 *number_of, Datum *values, bool *nulls)
{
	int			n = graph->step_count;

	values[GRAPH_DEF_NO] = millrace_graph_def_nos(number_of, n);
	values[GRAPH_LEVEL] = millrace_arguments_int_array(graph->level, n);
	values[GRAPH_RANK] = millrace_arguments_real_array(graph->rank, n);
	values[GRAPH_NEEDS_COUNT] = millrace_arguments_int_array(graph->needs.counted, n);
	values[GRAPH_CLOSING] = millrace_arguments_bool_array(find_closing(graph), n);
	fill_dependents(graph, values);
	fill_implied(graph, values);
	values[GRAPH_GRAPH] = PointerGetDatum(millrace_graph_write(graph));

	memset(nulls, false, sizeof(bool) * GRAPH_COLUMNS);
	nulls[GRAPH_CYCLE] = true;
}

/* All is null but the ring among the steps that have no place. */
void
millrace_graph_fill_cycle(int step_count, const GraphNeighbours *dependents, const int32 *place_of, Datum *values, bool *nulls)
{
	int			length;
	int32	   *cycle = millrace_graph_find_cycle(step_count, dependents, place_of, &length);

	memset(nulls, true, sizeof(bool) * GRAPH_COLUMNS);
	values[GRAPH_CYCLE] = millrace_graph_def_nos(cycle, length);
	nulls[GRAPH_CYCLE] = false;
}

static Datum
build(FunctionCallInfo fcinfo, bool numbered)
{
	Definition	definition = read_arguments(fcinfo);
	int			n = definition.step_count;
	int32	   *place_of = palloc(sizeof(int32) * n);
	int32	   *identity = palloc(sizeof(int32) * n);
	GraphNeighbours by_ordinal;
	TupleDesc	row;
	Datum		values[GRAPH_COLUMNS] = {0};
	bool		nulls[GRAPH_COLUMNS];

	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE || row->natts != GRAPH_COLUMNS)
		elog(ERROR, "a graph must be returned as a row of %d columns", GRAPH_COLUMNS);
	for (int s = 0; s < n; s++)
		identity[s] = s;

	millrace_graph_group_edges(n, definition.from, definition.to, definition.edge_count, &by_ordinal);
	if (numbered ? millrace_graph_place(n, &by_ordinal, place_of) : millrace_graph_number(n, &by_ordinal, place_of))
	{
		const int32 *number_of = numbered ? identity : place_of;
		MillraceGraph graph = millrace_graph_from_scratch(n, &by_ordinal, place_of, number_of,
														  definition.rule, definition.expected, PG_GETARG_INT32(5));

		millrace_graph_fill(&graph, number_of, values, nulls);
	}
	else
		millrace_graph_fill_cycle(n, &by_ordinal, place_of, values, nulls);

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row), values, nulls)));
}

Datum
millrace_graph_build(PG_FUNCTION_ARGS)
{
	return build(fcinfo, false);
}

Datum
millrace_graph_build_numbered(PG_FUNCTION_ARGS)
{
	return build(fcinfo, true);
}
