/*
 * graph_rank.c
 *		Longest paths: before a step (level), from it to the end (rank), and
 *		through the whole graph (the critical path).
 *
 * Implied edges are shorter than what implies them, so counted ones suffice.
 */
#include "postgres.h"

#include "arguments.h"
#include "graph.h"

PG_FUNCTION_INFO_V1(millrace_graph_critical_path);
PG_FUNCTION_INFO_V1(millrace_graph_ranks);

/* The level of a step whose needs have theirs. */
int32
millrace_graph_level_of(const MillraceGraph *graph, int step)
{
	const int32 *need = graph->needs.items + graph->needs.start[step];
	int32		level = 0;

	for (int i = 0; i < graph->needs.counted[step]; i++)
		level = Max(level, graph->level[need[i]] + 1);
	return level;
}

void
millrace_graph_level(MillraceGraph *graph)
{
	for (int place = 0; place < graph->step_count; place++)
	{
		int			s = millrace_graph_at(graph->order, place);

		graph->level[s] = millrace_graph_level_of(graph, s);
	}
}

double *
millrace_graph_rank(const MillraceGraph *graph, const float4 *seconds)
{
	double	   *rank = palloc(sizeof(double) * graph->step_count);

	for (int place = graph->step_count - 1; place >= 0; place--)
	{
		int			s = millrace_graph_at(graph->order, place);
		const int32 *dependent = graph->dependents.items + graph->dependents.start[s];
		double		longest = 0;

		for (int i = 0; i < graph->dependents.counted[s]; i++)
			longest = Max(longest, rank[dependent[i]]);
		rank[s] = seconds[s] + longest;
	}
	return rank;
}

Datum
millrace_graph_ranks(PG_FUNCTION_ARGS)
{
	const MillraceGraph *graph = millrace_graph_open(PG_GETARG_DATUM(0));
	float4	   *seconds = millrace_arguments_seconds(PG_GETARG_ARRAYTYPE_P(1), "seconds", graph->step_count, graph->expected);
	double	   *rank = millrace_graph_rank(graph, seconds);

	for (int s = 0; s < graph->step_count; s++)
		seconds[s] = rank[s];
	PG_RETURN_DATUM(millrace_arguments_real_array(seconds, graph->step_count));
}

/* The candidate of highest rank, the first among equals. */
static int
highest(const double *rank, const int32 *candidates, int count)
{
	int			best = candidates[0];

	for (int i = 1; i < count; i++)
		if (rank[candidates[i]] > rank[best])
			best = candidates[i];
	return best;
}

Datum
millrace_graph_critical_path(PG_FUNCTION_ARGS)
{
	const MillraceGraph *graph;
	const float4 *seconds;
	double	   *rank;
	int32	   *path;
	int			length = 0;
	int			s = 0;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	graph = millrace_graph_open(PG_GETARG_DATUM(0));
	seconds = PG_ARGISNULL(1) ? graph->expected :
		millrace_arguments_seconds(PG_GETARG_ARRAYTYPE_P(1), "weights", graph->step_count, graph->expected);
	rank = millrace_graph_rank(graph, seconds);

	/* A first step without needs has the highest rank of all: no step before it adds to it. */
	for (int i = 1; i < graph->step_count; i++)
		if (rank[i] > rank[s] && graph->needs.counted[i] == 0)
			s = i;

	path = palloc(sizeof(int32) * graph->step_count);
	for (;;)
	{
		path[length++] = s;
		if (graph->dependents.counted[s] == 0)
			break;
		s = highest(rank, graph->dependents.items + graph->dependents.start[s], graph->dependents.counted[s]);
	}
	PG_RETURN_DATUM(millrace_graph_def_nos(path, length));
}
