/*
 * graph_grow.c
 *		The graph of a run that has gained steps and edges.
 *
 * Only what lies behind a new edge has other ancestors and another level, and
 * only what lies before one has other descendants and another rank. All else is
 * taken over as it is, bitmaps byte for byte. New edges only add paths, so an
 * edge that was implied stays implied, and one can become so only where its end
 * lies behind a new edge.
 *
 * Plain passes over steps and edges (the order, neighbour lists) are made anew:
 * they cost a fraction of what copying the arrays does.
 */
#include "postgres.h"

#include "arguments.h"
#include "funcapi.h"
#include "graph.h"
#include "millrace.h"
#include "miscadmin.h"

PG_FUNCTION_INFO_V1(millrace_graph_grow);

typedef struct Growth
{
	const MillraceGraph *old;
	MillraceGraph graph;
	bool		plain_rules;	/* all steps need all their needs completed: ancestors tell what is implied */
	int32	   *place_of;
	GraphNeighbours declared;	/* all needs, ascending */
	bool	   *behind;			/* a new edge ends in it, or above it; or it is new itself */
	bool	   *before;			/* a new edge begins in it, or below it */
	bool	   *changed;		/* other needs are counted than before */
} Growth;

/* Old and new edges in the form in which edges are given: numbers counted from 1. */
static int
gather_edges(const MillraceGraph *old, const int32 *new_from, const int32 *new_to, int new_count, int32 **from, int32 **to)
{
	int			count = 0;

	*from = palloc(sizeof(int32) * Max(old->edge_count + new_count, 1));
	*to = palloc(sizeof(int32) * Max(old->edge_count + new_count, 1));
	for (int s = 0; s < old->step_count; s++)
		for (int32 i = old->needs.start[s]; i < old->needs.start[s + 1]; i++)
		{
			(*from)[count] = old->needs.items[i] + 1;
			(*to)[count++] = s + 1;
		}
	for (int i = 0; i < new_count; i++)
	{
		(*from)[count] = new_from[i];
		(*to)[count++] = new_to[i];
	}
	return count;
}

/* What each step brings along; levels and ranks of old steps as they were. */
static void
fill_steps(Growth *growth, const int16 *rule, const float4 *expected)
{
	MillraceGraph *graph = &growth->graph;
	const MillraceGraph *old = growth->old;
	int			n = graph->step_count;
	int			added = n - old->step_count;

	graph->rule = palloc(sizeof(int16) * n);
	graph->expected = palloc(sizeof(float4) * n);
	graph->rank = palloc0(sizeof(float4) * n);
	graph->level = palloc0(sizeof(int32) * n);
	memcpy(graph->rule, old->rule, sizeof(int16) * old->step_count);
	memcpy(graph->expected, old->expected, sizeof(float4) * old->step_count);
	memcpy(graph->rank, old->rank, sizeof(float4) * old->step_count);
	memcpy(graph->level, old->level, sizeof(int32) * old->step_count);
	memcpy(graph->rule + old->step_count, rule, sizeof(int16) * added);
	memcpy(graph->expected + old->step_count, expected, sizeof(float4) * added);

	growth->plain_rules = true;
	for (int s = 0; s < n; s++)
		growth->plain_rules &= graph->rule[s] == RULE_ALL_COMPLETED;
}

static void
mark(Growth *growth, const int32 *from, const int32 *to, int count)
{
	int			n = growth->graph.step_count;
	const GraphNeighbours *needs = &growth->declared;

	growth->behind = palloc0(sizeof(bool) * n);
	growth->before = palloc0(sizeof(bool) * n);
	growth->changed = palloc0(sizeof(bool) * n);
	for (int s = growth->old->step_count; s < n; s++)
		growth->behind[s] = growth->before[s] = true;
	for (int i = 0; i < count; i++)
	{
		growth->before[from[i] - 1] = true;
		growth->behind[to[i] - 1] = true;
	}

	for (int place = 0; place < n; place++)
	{
		int			s = millrace_graph_at(growth->graph.order, place);

		for (int32 i = needs->start[s]; i < needs->start[s + 1] && !growth->behind[s]; i++)
			growth->behind[s] = growth->behind[needs->items[i]];
	}
	for (int place = n - 1; place >= 0; place--)
	{
		int			s = millrace_graph_at(growth->graph.order, place);

		for (int32 i = needs->start[s]; growth->before[s] && i < needs->start[s + 1]; i++)
			growth->before[needs->items[i]] = true;
	}
}

/*
 * Which needs of a step are implied where rules differ: those above another
 * need, along steps that need all of theirs completed. `seen` is false for all
 * steps, on entry and on exit.
 */
static void
find_implied(Growth *growth, int step, bool *implied, bool *seen, bool *carried, int32 *stack)
{
	const GraphNeighbours *needs = &growth->declared;
	int32		begin = needs->start[step];
	int			count = needs->start[step + 1] - begin;
	int32	   *visited = stack + growth->graph.step_count;
	int			visited_count = 0;
	int			depth = 0;
	int			first = growth->graph.step_count;

	for (int i = 0; i < count; i++)
	{
		int32		need = needs->items[begin + i];

		first = Min(first, growth->place_of[need]);
		if (growth->graph.rule[need] == RULE_ALL_COMPLETED)
		{
			seen[need] = true;
			stack[depth++] = need;
			visited[visited_count++] = need;
		}
	}
	while (depth > 0)
	{
		int32		s = stack[--depth];

		CHECK_FOR_INTERRUPTS();
		for (int32 i = needs->start[s]; i < needs->start[s + 1]; i++)
		{
			int32		above = needs->items[i];

			carried[above] = true;
			if (seen[above] || growth->place_of[above] <= first || growth->graph.rule[above] != RULE_ALL_COMPLETED)
				continue;
			seen[above] = true;
			stack[depth++] = above;
			visited[visited_count++] = above;
		}
	}
	for (int i = 0; i < count; i++)
		implied[i] = carried[needs->items[begin + i]];

	for (int i = 0; i < visited_count; i++)
	{
		int32		s = visited[i];

		seen[s] = false;
		for (int32 j = needs->start[s]; j < needs->start[s + 1]; j++)
			carried[needs->items[j]] = false;
	}
}

/* Writes the needs of a step, counted ones first, and notes whether others are counted than before. */
static void
partition(Growth *growth, int step, const bool *implied)
{
	GraphNeighbours *needs = &growth->graph.needs;
	const GraphNeighbours *before = &growth->old->needs;
	int32		begin = growth->declared.start[step];
	int			count = growth->declared.start[step + 1] - begin;
	int32	   *items = needs->items + begin;
	int			counted = 0;

	for (int i = 0; i < count; i++)
		if (!implied[i])
			items[counted++] = growth->declared.items[begin + i];
	needs->counted[step] = counted;
	for (int i = 0; i < count; i++)
		if (implied[i])
			items[counted++] = growth->declared.items[begin + i];

	counted = needs->counted[step];
	growth->changed[step] = step < growth->old->step_count
		&& (counted != before->counted[step]
			|| memcmp(items, before->items + before->start[step], sizeof(int32) * counted) != 0);
}

/* The needs of all steps, told apart, and the paths upwards: both in one pass, for each follows from the other. */
static Paths *
grow_needs(Growth *growth)
{
	MillraceGraph *graph = &growth->graph;
	int			n = graph->step_count;
	int			edges = growth->declared.start[n];
	Paths	   *ancestors = millrace_paths_begin(n, &growth->old->ancestors, growth->old->step_count);
	bool	   *implied = palloc0(sizeof(bool) * Max(edges, 1));
	bool	   *seen = palloc0(sizeof(bool) * n);
	bool	   *carried = palloc0(sizeof(bool) * n);
	int32	   *stack = palloc(sizeof(int32) * 2 * n);

	graph->needs.start = growth->declared.start;
	graph->needs.counted = palloc0(sizeof(int32) * n);
	graph->needs.items = palloc(sizeof(int32) * Max(edges, 1));
	for (int place = 0; place < n; place++)
	{
		int			s = millrace_graph_at(graph->order, place);
		int32		begin = growth->declared.start[s];
		int			count = growth->declared.start[s + 1] - begin;
		bool		told_apart = graph->rule[s] == RULE_ALL_COMPLETED && count > 1;

		if (!growth->behind[s])
		{
			memcpy(graph->needs.items + begin, growth->old->needs.items + growth->old->needs.start[s], sizeof(int32) * count);
			graph->needs.counted[s] = growth->old->needs.counted[s];
			continue;
		}
		millrace_paths_join(ancestors, s, growth->declared.items + begin, count,
							told_apart && growth->plain_rules ? implied + begin : NULL);
		if (told_apart && !growth->plain_rules)
			find_implied(growth, s, implied + begin, seen, carried, stack);
		partition(growth, s, implied + begin);
		graph->level[s] = millrace_graph_level_of(graph, s);
	}
	return ancestors;
}

static Paths *
grow_dependents(Growth *growth)
{
	MillraceGraph *graph = &growth->graph;
	int			n = graph->step_count;
	Paths	   *descendants = millrace_paths_begin(n, &growth->old->descendants, growth->old->step_count);

	millrace_graph_invert(n, &graph->needs, &graph->dependents);
	for (int place = n - 1; place >= 0; place--)
	{
		int			s = millrace_graph_at(graph->order, place);
		const int32 *dependent = graph->dependents.items + graph->dependents.start[s];
		double		longest = 0;

		if (!growth->before[s])
			continue;
		millrace_paths_join(descendants, s, dependent, graph->dependents.counted[s], NULL);
		for (int i = 0; i < graph->dependents.counted[s]; i++)
			longest = Max(longest, graph->rank[dependent[i]]);
		graph->rank[s] = graph->expected[s] + longest;
	}
	return descendants;
}

static void
grow(Growth *growth, const int32 *new_from, const int32 *new_to, int new_count, Size bytes_left)
{
	MillraceGraph *graph = &growth->graph;
	Paths	   *ancestors;
	Paths	   *descendants;

	mark(growth, new_from, new_to, new_count);
	ancestors = grow_needs(growth);
	descendants = grow_dependents(growth);
	graph->has_paths = millrace_paths_end(ancestors, &bytes_left, &graph->ancestors);
	graph->has_paths = millrace_paths_end(descendants, &bytes_left, &graph->descendants) && graph->has_paths;
}

/* Where there are no paths that could be extended, all is computed anew. */
static void
rebuild(Growth *growth, const GraphNeighbours *dependents, const int32 *identity, int path_bytes)
{
	const GraphNeighbours *before = &growth->old->needs;

	growth->graph = millrace_graph_from_scratch(growth->graph.step_count, dependents, growth->place_of, identity,
												growth->graph.rule, growth->graph.expected, path_bytes);
	growth->changed = palloc0(sizeof(bool) * growth->graph.step_count);
	for (int s = 0; s < growth->old->step_count; s++)
	{
		int			counted = growth->graph.needs.counted[s];

		growth->changed[s] = counted != before->counted[s]
			|| memcmp(growth->graph.needs.items + growth->graph.needs.start[s], before->items + before->start[s],
					  sizeof(int32) * counted) != 0;
	}
}

static Datum
list_changed(const Growth *growth)
{
	int32	   *changed = palloc(sizeof(int32) * growth->graph.step_count);
	int			count = 0;

	for (int s = 0; s < growth->old->step_count; s++)
		if (growth->changed[s])
			changed[count++] = s;
	return millrace_graph_def_nos(changed, count);
}

/* graph_grow(graph, edge_from, edge_to, rules, expected, path_bytes) */
Datum
millrace_graph_grow(PG_FUNCTION_ARGS)
{
	Growth		growth = {.old = millrace_graph_open(PG_GETARG_DATUM(0))};
	int			added;
	int			new_count;
	int			ends;
	int			edge_count;
	const int32 *new_from = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(1), "edge_from", &new_count);
	const int32 *new_to = millrace_arguments_ints(PG_GETARG_ARRAYTYPE_P(2), "edge_to", &ends);
	const int16 *rule = millrace_arguments_smallints(PG_GETARG_ARRAYTYPE_P(3), "rules", &added);
	const float4 *expected = millrace_arguments_seconds(PG_GETARG_ARRAYTYPE_P(4), "expected", added, NULL);
	int			n = growth.old->step_count + added;
	int32	   *identity = palloc(sizeof(int32) * n);
	int32	   *from;
	int32	   *to;
	GraphNeighbours dependents;
	TupleDesc	row;
	Datum		values[GRAPH_COLUMNS + 1] = {0};
	bool		nulls[GRAPH_COLUMNS + 1];

	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE || row->natts != GRAPH_COLUMNS + 1)
		elog(ERROR, "a grown graph must be returned as a row of %d columns", GRAPH_COLUMNS + 1);
	millrace_graph_check_limit("steps", n, MILLRACE_MAX_STEPS);
	millrace_arguments_require_same_length("edge_from", new_count, "edge_to", ends);
	millrace_graph_check_limit("edges", growth.old->edge_count + new_count, MILLRACE_MAX_EDGES);
	millrace_graph_check_ordinals("edge_from", new_from, new_count, n);
	millrace_graph_check_ordinals("edge_to", new_to, new_count, n);

	for (int s = 0; s < n; s++)
		identity[s] = s;
	edge_count = gather_edges(growth.old, new_from, new_to, new_count, &from, &to);
	millrace_graph_group_edges(n, from, to, edge_count, &dependents);
	growth.place_of = palloc(sizeof(int32) * n);
	growth.graph.step_count = n;
	growth.graph.edge_count = dependents.start[n];
	nulls[GRAPH_COLUMNS] = true;
	if (millrace_graph_place(n, &dependents, growth.place_of))
	{
		growth.graph.order = millrace_graph_order(n, growth.place_of);
		fill_steps(&growth, rule, expected);
		millrace_graph_renumber(n, &dependents, identity, &growth.declared);
		if (growth.old->has_paths)
			grow(&growth, new_from, new_to, new_count, Max(PG_GETARG_INT32(5), 0));
		else
			rebuild(&growth, &dependents, identity, PG_GETARG_INT32(5));
		millrace_graph_fill(&growth.graph, identity, values, nulls);
		values[GRAPH_COLUMNS] = list_changed(&growth);
		nulls[GRAPH_COLUMNS] = false;
	}
	else
		millrace_graph_fill_cycle(n, &dependents, growth.place_of, values, nulls);

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row), values, nulls)));
}
