/*
 * graph_order.c
 *		Edges into neighbour lists, and steps into their numbers.
 *
 * Steps are numbered in topological order, depth-first: of all steps whose
 * needs have numbers, the one freed last comes next. A chain so gets
 * contiguous numbers even where a definition lists interleaved chains by
 * level, and bitmaps of its paths become single runs: 16 chains of 100,000
 * steps take 3 MB, against hundreds when numbered by level.
 *
 * All is counting sorts and one pass over the edges.
 */
#include "postgres.h"

#include "graph.h"
#include "miscadmin.h"

/* Turns counts, kept one place ahead in start[1..n], into where each list begins. */
static void
accumulate(int32 *start, int step_count)
{
	for (int s = 0; s < step_count; s++)
		start[s + 1] += start[s];
}

static void
allocate_neighbours(GraphNeighbours *neighbours, int step_count, int edge_count)
{
	neighbours->start = palloc0(sizeof(int32) * (step_count + 1));
	neighbours->counted = palloc0(sizeof(int32) * step_count);
	neighbours->items = palloc(sizeof(int32) * Max(edge_count, 1));
}

/* Sorted lists can have duplicates only next to each other. */
static void
remove_duplicates(int step_count, GraphNeighbours *neighbours)
{
	int32		kept = 0;
	int32		begin = 0;

	for (int s = 0; s < step_count; s++)
	{
		int32		end = neighbours->start[s + 1];
		int32		first = kept;

		for (int32 i = begin; i < end; i++)
			if (kept == first || neighbours->items[i] != neighbours->items[kept - 1])
				neighbours->items[kept++] = neighbours->items[i];
		begin = end;
		neighbours->start[s + 1] = kept;
		neighbours->counted[s] = kept - first;
	}
}

/*
 * Groups edges, given by ordinals from 1, into the dependents of each ordinal
 * (from 0), ascending and without duplicates.
 */
void
millrace_graph_group_edges(int step_count, const int32 *from, const int32 *to, int edge_count,
						   GraphNeighbours *dependents)
{
	int32	   *fill = palloc0(sizeof(int32) * (step_count + 1));
	int32	   *by_end = palloc(sizeof(int32) * Max(edge_count, 1));

	allocate_neighbours(dependents, step_count, edge_count);

	/* First by the end, then, stably, by the beginning: each list ascends. */
	for (int e = 0; e < edge_count; e++)
		fill[to[e]]++;
	accumulate(fill, step_count);
	for (int e = 0; e < edge_count; e++)
		by_end[fill[to[e] - 1]++] = e;

	for (int e = 0; e < edge_count; e++)
		dependents->start[from[e]]++;
	accumulate(dependents->start, step_count);
	memcpy(fill, dependents->start, sizeof(int32) * step_count);
	for (int i = 0; i < edge_count; i++)
	{
		int			e = by_end[i];

		dependents->items[fill[from[e] - 1]++] = to[e] - 1;
	}

	remove_duplicates(step_count, dependents);
	pfree(by_end);
	pfree(fill);
}

/*
 * Numbers the steps. Steps in a ring, and those behind one, stay at -1; false
 * is returned if there are any.
 */
bool
millrace_graph_number(int step_count, const GraphNeighbours *dependents, int32 *number_of)
{
	int32	   *unmet = palloc0(sizeof(int32) * step_count);
	int32	   *stack = palloc(sizeof(int32) * step_count);
	int			depth = 0;
	int			next = 0;

	for (int32 i = 0; i < dependents->start[step_count]; i++)
		unmet[dependents->items[i]]++;

	/* Pushed in reverse, so that among equals the order of the definition is kept. */
	for (int s = step_count - 1; s >= 0; s--)
	{
		number_of[s] = -1;
		if (unmet[s] == 0)
			stack[depth++] = s;
	}

	while (depth > 0)
	{
		int32		s = stack[--depth];

		CHECK_FOR_INTERRUPTS();
		number_of[s] = next++;
		for (int32 i = dependents->start[s + 1] - 1; i >= dependents->start[s]; i--)
			if (--unmet[dependents->items[i]] == 0)
				stack[depth++] = dependents->items[i];
	}

	pfree(stack);
	pfree(unmet);
	return next == step_count;
}

/* Places for steps that have their numbers: each at its number if that will do. False if there is a ring. */
bool
millrace_graph_place(int step_count, const GraphNeighbours *dependents, int32 *place_of)
{
	for (int s = 0; s < step_count; s++)
	{
		place_of[s] = s;
		if (dependents->start[s] < dependents->start[s + 1] && dependents->items[dependents->start[s]] <= s)
			return millrace_graph_number(step_count, dependents, place_of);
	}
	return true;
}

/*
 * A ring among the steps that could not be numbered: steps counted from 0,
 * each needed by the next and the last by the first.
 */
int32 *
millrace_graph_find_cycle(int step_count, const GraphNeighbours *dependents,
						  const int32 *number_of, int *length)
{
	int32	   *unnumbered_need = palloc(sizeof(int32) * step_count);
	int32	   *seen_at = palloc(sizeof(int32) * step_count);
	int32	   *walk = palloc(sizeof(int32) * step_count);
	int32	   *ring;
	int32		s = -1;
	int			steps = 0;

	for (int i = 0; i < step_count; i++)
		seen_at[i] = unnumbered_need[i] = -1;

	/* Downwards, so that each ends up with its first need in the definition's order. */
	for (int need = step_count - 1; need >= 0; need--)
	{
		if (number_of[need] >= 0)
			continue;
		s = need;
		for (int32 i = dependents->start[need]; i < dependents->start[need + 1]; i++)
			unnumbered_need[dependents->items[i]] = need;
	}
	Assert(s >= 0);

	/* Each of them has such a need, so a walk from need to need meets itself. */
	while (seen_at[s] < 0)
	{
		seen_at[s] = steps;
		walk[steps++] = s;
		s = unnumbered_need[s];
	}

	/* It begins with its first step in the definition's order. */
	*length = steps - seen_at[s];
	for (int i = seen_at[s]; i < steps; i++)
		s = Min(s, walk[i]);
	ring = palloc(sizeof(int32) * *length);
	for (int i = *length; i > 0; i--)
	{
		ring[i % *length] = s;
		s = unnumbered_need[s];
	}

	pfree(walk);
	pfree(seen_at);
	pfree(unnumbered_need);
	return ring;
}

/* From the dependents by ordinal to the needs by number, ascending. */
void
millrace_graph_renumber(int step_count, const GraphNeighbours *dependents,
						const int32 *number_of, GraphNeighbours *needs)
{
	int32	   *ordinal_of = palloc(sizeof(int32) * step_count);

	allocate_neighbours(needs, step_count, dependents->start[step_count]);
	for (int s = 0; s < step_count; s++)
	{
		ordinal_of[number_of[s]] = s;
		for (int32 i = dependents->start[s]; i < dependents->start[s + 1]; i++)
			needs->counted[number_of[dependents->items[i]]]++;
	}

	for (int s = 0; s < step_count; s++)
	{
		needs->start[s + 1] = needs->start[s] + needs->counted[s];
		needs->counted[s] = 0;
	}

	/* In the order of numbers, so that each list ascends. */
	for (int number = 0; number < step_count; number++)
	{
		int32		s = ordinal_of[number];

		for (int32 i = dependents->start[s]; i < dependents->start[s + 1]; i++)
		{
			int32		to = number_of[dependents->items[i]];

			needs->items[needs->start[to] + needs->counted[to]++] = number;
		}
	}
	pfree(ordinal_of);
}

/* From needs to dependents, both by number; what is counted stays counted. */
void
millrace_graph_invert(int step_count, const GraphNeighbours *needs, GraphNeighbours *dependents)
{
	int32	   *fill = palloc(sizeof(int32) * step_count);
	int32		edge_count = needs->start[step_count];

	allocate_neighbours(dependents, step_count, edge_count);
	for (int32 i = 0; i < edge_count; i++)
		dependents->start[needs->items[i] + 1]++;
	accumulate(dependents->start, step_count);
	memcpy(fill, dependents->start, sizeof(int32) * step_count);

	for (int s = 0; s < step_count; s++)
	{
		int32		begin = needs->start[s];

		for (int32 i = begin; i < begin + needs->counted[s]; i++)
		{
			dependents->items[fill[needs->items[i]]++] = s;
			dependents->counted[needs->items[i]]++;
		}
	}
	for (int s = 0; s < step_count; s++)
		for (int32 i = needs->start[s] + needs->counted[s]; i < needs->start[s + 1]; i++)
			dependents->items[fill[needs->items[i]]++] = s;
	pfree(fill);
}

/* Who stands at which place; null where each stands at its number. */
int32 *
millrace_graph_order(int step_count, const int32 *place_of)
{
	int32	   *order = palloc(sizeof(int32) * step_count);
	bool		numbered = true;

	for (int s = 0; s < step_count; s++)
	{
		order[place_of[s]] = s;
		numbered &= place_of[s] == s;
	}
	if (!numbered)
		return order;
	pfree(order);
	return NULL;
}

int
millrace_graph_compare(const void *a, const void *b)
{
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	return (x > y) - (x < y);
}

/* From the needs by place to the needs by number; each part ascends again. */
void
millrace_graph_relabel(int step_count, const int32 *order, const GraphNeighbours *by_place, GraphNeighbours *needs)
{
	allocate_neighbours(needs, step_count, by_place->start[step_count]);
	for (int place = 0; place < step_count; place++)
		needs->start[order[place] + 1] = by_place->start[place + 1] - by_place->start[place];
	accumulate(needs->start, step_count);

	for (int place = 0; place < step_count; place++)
	{
		int			s = order[place];
		int			count = by_place->start[place + 1] - by_place->start[place];
		int32	   *items = needs->items + needs->start[s];

		needs->counted[s] = by_place->counted[place];
		for (int i = 0; i < count; i++)
			items[i] = order[by_place->items[by_place->start[place] + i]];
		qsort(items, needs->counted[s], sizeof(int32), millrace_graph_compare);
		qsort(items + needs->counted[s], count - needs->counted[s], sizeof(int32), millrace_graph_compare);
	}
}
