/*
 * graph_paths.c
 *		The paths of a graph: the ancestors and descendants of each step as
 *		compressed bitmaps (roaring, its portable format, run-optimised).
 *
 * CRoaring allocates with malloc. While bitmaps are built they hang on a
 * memory context, which frees them whichever way it goes; a single bitmap that
 * is read is freed in a PG_FINALLY.
 */
#include "postgres.h"

#include <roaring/roaring.h>

#include "graph.h"
#include "millrace.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* Bitmaps in the making: those of known paths are read when they are first asked for. */
struct Paths
{
	int			count;
	roaring_bitmap_t **of;
	const GraphPaths *known;
	int			known_count;
	MemoryContext context;
	MemoryContextCallback freeing;
};

static void
free_bitmaps(void *argument)
{
	Paths	   *paths = argument;

	for (int s = 0; s < paths->count; s++)
		if (paths->of[s])
			roaring_bitmap_free(paths->of[s]);
}

static roaring_bitmap_t *
require_bitmap(roaring_bitmap_t *bitmap)
{
	if (bitmap == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("A bitmap of a graph's paths could not be allocated.")));
	return bitmap;
}

/*
 * Begins paths of `step_count` steps. Those of the first `known_count` are
 * known, and stay as they are unless they are joined anew.
 */
Paths *
millrace_paths_begin(int step_count, const GraphPaths *known, int known_count)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "millrace graph paths",
												  ALLOCSET_DEFAULT_SIZES);
	Paths	   *paths = MemoryContextAllocZero(context, sizeof(Paths));

	paths->of = MemoryContextAllocExtended(context, sizeof(roaring_bitmap_t *) * step_count,
										   MCXT_ALLOC_ZERO | MCXT_ALLOC_HUGE);
	paths->count = step_count;
	paths->known = known;
	paths->known_count = known_count;
	paths->context = context;
	paths->freeing.func = free_bitmaps;
	paths->freeing.arg = paths;
	MemoryContextRegisterResetCallback(context, &paths->freeing);
	return paths;
}

static roaring_bitmap_t *read_bitmap(const GraphPaths *paths, int step);

static const roaring_bitmap_t *
bitmap_of(Paths *paths, int step)
{
	if (paths->of[step] == NULL && step < paths->known_count)
		paths->of[step] = read_bitmap(paths->known, step);
	if (paths->of[step] == NULL)
		paths->of[step] = require_bitmap(roaring_bitmap_create());
	return paths->of[step];
}

/*
 * The path of a step is anew what lies beyond its neighbours, and they
 * themselves. `implied`, where it is asked for, tells which of them lie beyond
 * another one.
 */
void
millrace_paths_join(Paths *paths, int step, const int32 *neighbours, int count, bool *implied)
{
	roaring_bitmap_t *joined;

	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < count; i++)
		bitmap_of(paths, neighbours[i]);

	if (paths->of[step])
		roaring_bitmap_free(paths->of[step]);
	paths->of[step] = joined = require_bitmap(count > 0 ? roaring_bitmap_copy(paths->of[neighbours[0]]) : roaring_bitmap_create());
	for (int i = 1; i < count; i++)
		roaring_bitmap_lazy_or_inplace(joined, paths->of[neighbours[i]], false);
	if (count > 1)
		roaring_bitmap_repair_after_lazy(joined);
	for (int i = 0; implied && i < count; i++)
		implied[i] = roaring_bitmap_contains(joined, neighbours[i]);
	for (int i = 0; i < count; i++)
		roaring_bitmap_add(joined, neighbours[i]);
	if (count > 0)
		roaring_bitmap_run_optimize(joined);
}

/* Whether a step's path stands in the known bytes as it is. */
static bool
is_untouched(const Paths *paths, int step)
{
	return paths->of[step] == NULL && step < paths->known_count;
}

static Size
size_of(const Paths *paths, int step)
{
	if (is_untouched(paths, step))
		return paths->known->start[step + 1] - paths->known->start[step];
	/* a step with nothing beyond it has no bytes */
	return paths->of[step] == NULL || roaring_bitmap_is_empty(paths->of[step]) ? 0 :
		roaring_bitmap_portable_size_in_bytes(paths->of[step]);
}

/*
 * Writes all paths. False if they take more than *bytes_left, which is lowered
 * by what they take. `paths` is gone then.
 */
bool
millrace_paths_end(Paths *paths, Size *bytes_left, GraphPaths *written)
{
	Size		size = 0;
	char	   *at;

	for (int s = 0; s < paths->count && size <= *bytes_left; s++)
		size += size_of(paths, s);
	if (size > *bytes_left)
	{
		MemoryContextDelete(paths->context);
		return false;
	}

	written->start = palloc(sizeof(uint32) * (paths->count + 1));
	written->bytes = at = palloc(Max(size, 1));
	for (int s = 0; s < paths->count; s++)
	{
		Size		bytes = size_of(paths, s);

		written->start[s] = at - written->bytes;
		if (bytes > 0 && is_untouched(paths, s))
			memcpy(at, paths->known->bytes + paths->known->start[s], bytes);
		else if (bytes > 0)
			roaring_bitmap_portable_serialize(paths->of[s], at);
		at += bytes;
	}
	written->start[paths->count] = at - written->bytes;
	*bytes_left -= size;
	MemoryContextDelete(paths->context);
	return true;
}

/* One direction of all paths: along needs from the first place up, along dependents from the last down. */
static bool
build_paths(const MillraceGraph *graph, const GraphNeighbours *towards, Size *bytes_left, GraphPaths *written)
{
	int			n = graph->step_count;
	Paths	   *paths = millrace_paths_begin(n, NULL, 0);
	Size		size = 0;

	for (int i = 0; i < n && size <= *bytes_left; i++)
	{
		int			s = millrace_graph_at(graph->order, towards == &graph->needs ? i : n - 1 - i);

		millrace_paths_join(paths, s, towards->items + towards->start[s], towards->counted[s], NULL);
		size += size_of(paths, s);
	}
	return millrace_paths_end(paths, bytes_left, written);
}

/* Builds the paths of a graph; false if they take more than `bytes_left`. */
bool
millrace_graph_build_paths(MillraceGraph *graph, Size bytes_left)
{
	return build_paths(graph, &graph->needs, &bytes_left, &graph->ancestors) &&
		build_paths(graph, &graph->dependents, &bytes_left, &graph->descendants);
}

/* Null for a step with nothing beyond it; else to be freed by the caller. */
static roaring_bitmap_t *
read_bitmap(const GraphPaths *paths, int step)
{
	Size		size = paths->start[step + 1] - paths->start[step];

	if (size == 0)
		return NULL;
	return require_bitmap(roaring_bitmap_portable_deserialize_safe(paths->bytes + paths->start[step], size));
}

/* The steps on the paths of a step, counted from 0, ascending. */
int32 *
millrace_graph_list_path(const GraphPaths *paths, int step, int *count)
{
	roaring_bitmap_t *bitmap = read_bitmap(paths, step);
	int32	   *volatile steps = NULL;

	*count = 0;
	if (bitmap == NULL)
		return palloc(sizeof(int32));

	PG_TRY();
	{
		*count = roaring_bitmap_get_cardinality(bitmap);
		steps = palloc(sizeof(int32) * *count);
		roaring_bitmap_to_uint32_array(bitmap, (uint32 *) steps);
	}
	PG_FINALLY();
	{
		roaring_bitmap_free(bitmap);
	}
	PG_END_TRY();
	return steps;
}

bool
millrace_graph_path_contains(const GraphPaths *paths, int step, int other)
{
	roaring_bitmap_t *bitmap = read_bitmap(paths, step);
	bool		found;

	if (bitmap == NULL)
		return false;
	found = roaring_bitmap_contains(bitmap, other);
	roaring_bitmap_free(bitmap);
	return found;
}
