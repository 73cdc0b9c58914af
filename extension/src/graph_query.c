/*
 * graph_query.c
 *		Questions to a graph: neighbours, paths, edges.
 *
 * Paths are read from the bitmaps. A graph too large for them is swept: one
 * pass over the steps between, marking what is reached.
 */
#include "postgres.h"

#include "arguments.h"
#include "funcapi.h"
#include "graph.h"
#include "millrace.h"
#include "miscadmin.h"

PG_FUNCTION_INFO_V1(millrace_graph_ancestors);
PG_FUNCTION_INFO_V1(millrace_graph_descendants);
PG_FUNCTION_INFO_V1(millrace_graph_fall);
PG_FUNCTION_INFO_V1(millrace_graph_needs);
PG_FUNCTION_INFO_V1(millrace_graph_dependents);
PG_FUNCTION_INFO_V1(millrace_graph_counted);
PG_FUNCTION_INFO_V1(millrace_graph_has_path);
PG_FUNCTION_INFO_V1(millrace_graph_edges);

int
millrace_graph_step(const MillraceGraph *graph, int32 def_no, const char *name)
{
	if (def_no < 1 || def_no > graph->step_count)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
				 errmsg("%s is no step of this graph", name),
				 errdetail("It is %d, and the steps are 1 to %d.", def_no, graph->step_count)));
	return def_no - 1;
}

Datum
millrace_graph_def_nos(const int32 *steps, int count)
{
	int32	   *def_nos = palloc(sizeof(int32) * Max(count, 1));
	Datum		array;

	for (int i = 0; i < count; i++)
		def_nos[i] = steps[i] + 1;
	array = millrace_arguments_int_array(def_nos, count);
	pfree(def_nos);
	return array;
}

static int
place_of(const MillraceGraph *graph, int step)
{
	int			place = 0;

	if (graph->order == NULL)
		return step;
	while (graph->order[place] != step)
		place++;
	return place;
}

/*
 * The steps that are reached from `from`, going on along `towards` until the
 * place `last` has been looked at; `from` itself is marked too.
 */
static bool *
sweep(const MillraceGraph *graph, const GraphNeighbours *towards, int from, int last)
{
	bool	   *reached = palloc0(sizeof(bool) * graph->step_count);
	int			direction = towards == &graph->needs ? -1 : 1;

	reached[from] = true;
	for (int place = place_of(graph, from); direction < 0 ? place >= last : place <= last; place += direction)
	{
		int			s = millrace_graph_at(graph->order, place);
		const int32 *neighbour = towards->items + towards->start[s];

		CHECK_FOR_INTERRUPTS();
		if (!reached[s])
			continue;
		for (int i = 0; i < towards->counted[s]; i++)
			reached[neighbour[i]] = true;
	}
	return reached;
}

static Datum
list_path(const MillraceGraph *graph, const GraphPaths *paths, const GraphNeighbours *towards, int step)
{
	int32	   *steps;
	int			count = 0;

	if (graph->has_paths)
		steps = millrace_graph_list_path(paths, step, &count);
	else
	{
		bool	   *reached = sweep(graph, towards, step, towards == &graph->needs ? 0 : graph->step_count - 1);

		steps = palloc(sizeof(int32) * graph->step_count);
		for (int s = 0; s < graph->step_count; s++)
			if (reached[s] && s != step)
				steps[count++] = s;
	}
	return millrace_graph_def_nos(steps, count);
}

Datum
millrace_graph_ancestors(PG_FUNCTION_ARGS)
{
	const MillraceGraph *graph = millrace_graph_open(PG_GETARG_DATUM(0));
	int			step = millrace_graph_step(graph, PG_GETARG_INT32(1), "def_no");

	PG_RETURN_DATUM(list_path(graph, &graph->ancestors, &graph->needs, step));
}

Datum
millrace_graph_descendants(PG_FUNCTION_ARGS)
{
	const MillraceGraph *graph = millrace_graph_open(PG_GETARG_DATUM(0));
	int			step = millrace_graph_step(graph, PG_GETARG_INT32(1), "def_no");

	PG_RETURN_DATUM(list_path(graph, &graph->descendants, &graph->dependents, step));
}

/*
 * What falls is no matter of paths alone: a step with another rule stops it.
 * One pass over the steps above, counted edges only: an implied edge ends in a
 * step that falls through the longer path anyway.
 */
Datum
millrace_graph_fall(PG_FUNCTION_ARGS)
{
	const MillraceGraph *graph = millrace_graph_open(PG_GETARG_DATUM(0));
	int			step = millrace_graph_step(graph, PG_GETARG_INT32(1), "def_no");
	const GraphNeighbours *dependents = &graph->dependents;
	bool	   *fallen = palloc0(sizeof(bool) * graph->step_count);
	int32	   *steps = palloc(sizeof(int32) * graph->step_count);
	int			count = 0;

	fallen[step] = true;
	for (int place = place_of(graph, step); place < graph->step_count; place++)
	{
		int			s = millrace_graph_at(graph->order, place);
		const int32 *dependent = dependents->items + dependents->start[s];

		CHECK_FOR_INTERRUPTS();
		if (!fallen[s])
			continue;
		if (s != step)
			steps[count++] = s;
		for (int i = 0; i < dependents->counted[s]; i++)
			if (graph->rule[dependent[i]] == RULE_ALL_COMPLETED || graph->rule[dependent[i]] == RULE_NONE_FAILED)
				fallen[dependent[i]] = true;
	}
	qsort(steps, count, sizeof(int32), millrace_graph_compare);
	PG_RETURN_DATUM(millrace_graph_def_nos(steps, count));
}

static Datum
list_neighbours(const GraphNeighbours *neighbours, int step)
{
	int			count = neighbours->start[step + 1] - neighbours->start[step];
	int32	   *steps = palloc(sizeof(int32) * Max(count, 1));

	memcpy(steps, neighbours->items + neighbours->start[step], sizeof(int32) * count);
	qsort(steps, count, sizeof(int32), millrace_graph_compare);
	return millrace_graph_def_nos(steps, count);
}

Datum
millrace_graph_needs(PG_FUNCTION_ARGS)
{
	const MillraceGraph *graph = millrace_graph_open(PG_GETARG_DATUM(0));
	int			step = millrace_graph_step(graph, PG_GETARG_INT32(1), "def_no");

	PG_RETURN_DATUM(list_neighbours(&graph->needs, step));
}

Datum
millrace_graph_dependents(PG_FUNCTION_ARGS)
{
	const MillraceGraph *graph = millrace_graph_open(PG_GETARG_DATUM(0));
	int			step = millrace_graph_step(graph, PG_GETARG_INT32(1), "def_no");

	PG_RETURN_DATUM(list_neighbours(&graph->dependents, step));
}

Datum
millrace_graph_counted(PG_FUNCTION_ARGS)
{
	const MillraceGraph *graph = millrace_graph_open(PG_GETARG_DATUM(0));
	int			step = millrace_graph_step(graph, PG_GETARG_INT32(1), "def_no");

	PG_RETURN_DATUM(millrace_graph_def_nos(graph->needs.items + graph->needs.start[step], graph->needs.counted[step]));
}

Datum
millrace_graph_has_path(PG_FUNCTION_ARGS)
{
	const MillraceGraph *graph = millrace_graph_open(PG_GETARG_DATUM(0));
	int			from = millrace_graph_step(graph, PG_GETARG_INT32(1), "from_no");
	int			to = millrace_graph_step(graph, PG_GETARG_INT32(2), "to_no");

	if (from == to)
		PG_RETURN_BOOL(false);
	if (graph->has_paths)
		PG_RETURN_BOOL(millrace_graph_path_contains(&graph->ancestors, to, from));
	PG_RETURN_BOOL(sweep(graph, &graph->needs, to, place_of(graph, from))[from]);
}

Datum
millrace_graph_edges(PG_FUNCTION_ARGS)
{
	const MillraceGraph *graph = millrace_graph_open(PG_GETARG_DATUM(0));
	const GraphNeighbours *needs = &graph->needs;
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int s = 0; s < graph->step_count; s++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int32 i = needs->start[s]; i < needs->start[s + 1]; i++)
		{
			Datum		values[] = {
				Int32GetDatum(needs->items[i] + 1),
				Int32GetDatum(s + 1),
				BoolGetDatum(i < needs->start[s] + needs->counted[s])
			};
			bool		nulls[lengthof(values)] = {0};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	PG_RETURN_NULL();
}
