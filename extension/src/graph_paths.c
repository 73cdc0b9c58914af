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

typedef struct Bitmaps
{
	int			count;
	roaring_bitmap_t **of;
	MemoryContextCallback freeing;
} Bitmaps;

static void
free_bitmaps(void *argument)
{
	Bitmaps    *bitmaps = argument;

	for (int s = 0; s < bitmaps->count; s++)
		if (bitmaps->of[s])
			roaring_bitmap_free(bitmaps->of[s]);
}

/* They live until their memory context is deleted. */
static Bitmaps *
make_bitmaps(MemoryContext context, int count)
{
	Bitmaps    *bitmaps = MemoryContextAllocZero(context, sizeof(Bitmaps));

	bitmaps->of = MemoryContextAllocZero(context, sizeof(roaring_bitmap_t *) * count);
	bitmaps->count = count;
	bitmaps->freeing.func = free_bitmaps;
	bitmaps->freeing.arg = bitmaps;
	MemoryContextRegisterResetCallback(context, &bitmaps->freeing);
	return bitmaps;
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

/* All that lies beyond a step: its counted neighbours and what lies beyond those. */
static roaring_bitmap_t *
join_paths(const Bitmaps *bitmaps, const int32 *neighbours, int count)
{
	roaring_bitmap_t *joined = roaring_bitmap_copy(bitmaps->of[neighbours[0]]);

	if (joined == NULL)
		return NULL;
	for (int i = 1; i < count; i++)
		roaring_bitmap_lazy_or_inplace(joined, bitmaps->of[neighbours[i]], false);
	if (count > 1)
		roaring_bitmap_repair_after_lazy(joined);
	for (int i = 0; i < count; i++)
		roaring_bitmap_add(joined, neighbours[i]);
	roaring_bitmap_run_optimize(joined);
	return joined;
}

/* A step with nothing beyond it has no bytes. */
static void
write_bitmaps(const Bitmaps *bitmaps, Size size, GraphPaths *paths)
{
	char	   *at;

	paths->start = palloc(sizeof(uint32) * (bitmaps->count + 1));
	paths->bytes = at = palloc(Max(size, 1));
	for (int s = 0; s < bitmaps->count; s++)
	{
		paths->start[s] = at - paths->bytes;
		if (!roaring_bitmap_is_empty(bitmaps->of[s]))
			at += roaring_bitmap_portable_serialize(bitmaps->of[s], at);
	}
	paths->start[bitmaps->count] = at - paths->bytes;
}

/*
 * Builds the paths along the given neighbours: needs upwards, since those have
 * lower numbers and are done before, or dependents downwards. False if they
 * take more than *bytes_left, which is lowered by what they take.
 */
bool
millrace_graph_build_paths(int step_count, const GraphNeighbours *towards, bool upwards,
						   Size *bytes_left, GraphPaths *paths)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "millrace graph paths",
												  ALLOCSET_DEFAULT_SIZES);
	Bitmaps    *bitmaps = make_bitmaps(context, step_count);
	Size		size = 0;

	for (int i = 0; i < step_count && size <= *bytes_left; i++)
	{
		int			s = upwards ? i : step_count - 1 - i;

		CHECK_FOR_INTERRUPTS();
		if (towards->counted[s] == 0)
			bitmaps->of[s] = require_bitmap(roaring_bitmap_create());
		else
		{
			bitmaps->of[s] = require_bitmap(join_paths(bitmaps, towards->items + towards->start[s],
													   towards->counted[s]));
			size += roaring_bitmap_portable_size_in_bytes(bitmaps->of[s]);
		}
	}

	if (size <= *bytes_left)
	{
		write_bitmaps(bitmaps, size, paths);
		*bytes_left -= size;
		MemoryContextDelete(context);
		return true;
	}
	MemoryContextDelete(context);
	return false;
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
