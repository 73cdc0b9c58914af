/*
 * graph_reduce.c
 *		Which edges a longer path implies, so that they need not be counted.
 *
 * An edge u -> v is implied if there is a longer path from u to v of which v
 * and all inner steps wait for all their needs and fall with any of them
 * (rule all_completed): then v can neither be decided before u nor miss that
 * u failed.
 *
 * For all steps at once this is a transitive closure, quadratic in space. So
 * the beginnings of edges are taken in blocks, from the last block down, with
 * one bit for each step of the block: a sweep upwards carries, to each step,
 * the steps of the block that reach it by such paths. An edge is implied if
 * its beginning is among what the *other* needs of its end carry. Edges found
 * implied are left out of all later sweeps: a longer path carries their bits.
 */
#include "postgres.h"

#include "graph.h"
#include "miscadmin.h"

#define WORDS 8
#define BLOCK (WORDS * 64)

/*
 * Visits of steps and edges in all sweeps, about two seconds. The edges of
 * larger graphs that are not reached stay counted, which is correct, only slower.
 */
#define WORK_BOUND (INT64CONST(1) << 28)

typedef struct Reach
{
	uint64		word[WORDS];
} Reach;

static inline void
add_all(Reach *to, const Reach *from)
{
	for (int w = 0; w < WORDS; w++)
		to->word[w] |= from->word[w];
}

static inline bool
contains(const Reach *reach, int bit)
{
	return (reach->word[bit / 64] >> (bit % 64)) & 1;
}

static inline void
add(Reach *reach, int bit)
{
	reach->word[bit / 64] |= UINT64CONST(1) << (bit % 64);
}

static bool
some_step_has_several_needs(int step_count, const GraphNeighbours *needs)
{
	for (int s = 0; s < step_count; s++)
		if (needs->start[s + 1] - needs->start[s] > 1)
			return true;
	return false;
}

/*
 * State of the sweeps. Of the needs of s, those before `unseen[s]` lie below
 * the blocks seen so far. Of the others, the counted ones are kept_items from
 * `kept[s]` to the end of the list, ascending.
 */
typedef struct Reduction
{
	int			step_count;
	const int16 *rule;
	const GraphNeighbours *needs;
	int32	   *unseen;
	int32	   *kept;
	int32	   *kept_items;
	Reach	   *reach;
	int64		work;
} Reduction;

/* Decides the edges from the steps of one block, first to last. */
static void
sweep_block(Reduction *r, int first)
{
	static const Reach none = {0};

	for (int s = first; s < r->step_count; s++)
	{
		int32		end = r->needs->start[s + 1];
		int32		begin = r->unseen[s];
		bool		carries = r->rule[s] == RULE_ALL_COMPLETED;
		Reach		others = none;
		Reach		own = none;

		CHECK_FOR_INTERRUPTS();
		while (begin > r->needs->start[s] && r->needs->items[begin - 1] >= first)
			begin--;
		r->work += 1 + (end - r->kept[s]) + (r->unseen[s] - begin);

		if (carries)
		{
			for (int32 i = r->kept[s]; i < end; i++)
				add_all(&others, &r->reach[r->kept_items[i]]);
			for (int32 i = begin; i < r->unseen[s]; i++)
				add_all(&others, &r->reach[r->needs->items[i]]);
		}

		for (int32 i = r->unseen[s] - 1; i >= begin; i--)
		{
			int32		need = r->needs->items[i];

			if (!contains(&others, need - first))
			{
				r->kept_items[--r->kept[s]] = need;
				add(&own, need - first);
			}
		}
		add_all(&own, &others);
		r->reach[s] = carries ? own : none;
		r->unseen[s] = begin;
	}
}

/* Rewrites a list of needs, all ascending, as the counted and then the implied ones. */
static void
partition(Reduction *r, GraphNeighbours *needs, int s, int32 *scratch)
{
	int32		begin = needs->start[s];
	int32		counted = 0;
	int32		implied = 0;
	int32		next = r->kept[s];

	for (int32 i = begin; i < needs->start[s + 1]; i++)
	{
		int32		need = needs->items[i];

		if (i < r->unseen[s])
			needs->items[begin + counted++] = need;
		else if (next < needs->start[s + 1] && r->kept_items[next] == need)
		{
			needs->items[begin + counted++] = need;
			next++;
		}
		else
			scratch[implied++] = need;
	}
	memcpy(needs->items + begin + counted, scratch, sizeof(int32) * implied);
	needs->counted[s] = counted;
}

/* Splits the needs of each step, ascending on entry, into counted and implied ones. */
void
millrace_graph_reduce(int step_count, const int16 *rule, GraphNeighbours *needs)
{
	Reduction	r = {.step_count = step_count, .rule = rule, .needs = needs};
	int32		edge_count = needs->start[step_count];
	int32	   *scratch;

	if (!some_step_has_several_needs(step_count, needs))
		return;

	r.unseen = palloc(sizeof(int32) * step_count);
	r.kept = palloc(sizeof(int32) * step_count);
	memcpy(r.unseen, needs->start + 1, sizeof(int32) * step_count);
	memcpy(r.kept, needs->start + 1, sizeof(int32) * step_count);
	r.kept_items = palloc(sizeof(int32) * edge_count);
	r.reach = palloc(sizeof(Reach) * step_count);

	for (int first = (step_count - 1) / BLOCK * BLOCK; first >= 0 && r.work < WORK_BOUND; first -= BLOCK)
		sweep_block(&r, first);

	scratch = palloc(sizeof(int32) * edge_count);
	for (int s = 0; s < step_count; s++)
		partition(&r, needs, s, scratch);

	pfree(scratch);
	pfree(r.reach);
	pfree(r.kept_items);
	pfree(r.kept);
	pfree(r.unseen);
}
