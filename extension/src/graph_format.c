/*
 * graph_format.c
 *		A graph as one bytea: a header, then the arrays of MillraceGraph one
 *		after the other, so that a graph is read where it lies.
 *
 * The digest names the content: it finds a graph in the cache from the first
 * bytes of a stored value, and tells a damaged one from a whole one.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "common/hashfn.h"
#include "graph.h"
#include "millrace.h"
#include "utils/memutils.h"

#define MAGIC 0x4d524731		/* "MRG1"; another byte order reads it otherwise */
#define HAS_PATHS 1
#define HAS_ORDER 2

/* All of uint32, so that a header lies well behind the length word of a bytea. */
typedef struct Header
{
	uint32		magic;
	uint32		hash[2];		/* of all bytes behind it */
	uint32		step_count;
	uint32		edge_count;
	uint32		flags;
	uint32		ancestors_size;
	uint32		descendants_size;
} Header;

#define HASHED_FROM offsetof(Header, step_count)

/* Where the next array lies; in the order of the format. */
typedef struct Cursor
{
	char	   *at;
	char	   *end;
} Cursor;

static void *
take(Cursor *cursor, Size size)
{
	void	   *taken = cursor->at;

	size = INTALIGN(size);
	if (size > (Size) (cursor->end - cursor->at))
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
				 errmsg("graph is cut short"),
				 errhint("Define the workflow again.")));
	cursor->at += size;
	return taken;
}

static void
take_neighbours(Cursor *cursor, const MillraceGraph *graph, GraphNeighbours *neighbours)
{
	neighbours->start = take(cursor, sizeof(int32) * (graph->step_count + 1));
	neighbours->counted = take(cursor, sizeof(int32) * graph->step_count);
	neighbours->items = take(cursor, sizeof(int32) * graph->edge_count);
}

static void
take_paths(Cursor *cursor, const MillraceGraph *graph, uint32 size, GraphPaths *paths)
{
	paths->start = take(cursor, sizeof(uint32) * (graph->step_count + 1));
	paths->bytes = take(cursor, size);
}

/* Finds the arrays of a graph whose counts are known. */
static void
lay_out(MillraceGraph *graph, Cursor *cursor, bool has_order, uint32 ancestors_size, uint32 descendants_size)
{
	graph->expected = take(cursor, sizeof(float4) * graph->step_count);
	graph->rank = take(cursor, sizeof(float4) * graph->step_count);
	graph->level = take(cursor, sizeof(int32) * graph->step_count);
	graph->rule = take(cursor, sizeof(int16) * graph->step_count);
	graph->order = has_order ? take(cursor, sizeof(int32) * graph->step_count) : NULL;
	take_neighbours(cursor, graph, &graph->needs);
	take_neighbours(cursor, graph, &graph->dependents);
	if (graph->has_paths)
	{
		take_paths(cursor, graph, ancestors_size, &graph->ancestors);
		take_paths(cursor, graph, descendants_size, &graph->descendants);
	}
}

static Size
size_of(const MillraceGraph *graph, uint32 ancestors_size, uint32 descendants_size)
{
	Size		steps = graph->step_count;
	Size		neighbours = sizeof(int32) * (2 * steps + 1 + graph->edge_count);
	Size		size = sizeof(Header);

	if (graph->order)
		size += sizeof(int32) * steps;
	size += 3 * sizeof(int32) * steps + INTALIGN(sizeof(int16) * steps) + 2 * neighbours;
	if (graph->has_paths)
		size += 2 * sizeof(uint32) * (steps + 1) + INTALIGN(ancestors_size) + INTALIGN(descendants_size);
	return size;
}

static uint64
hash_of(const bytea *bytes)
{
	return hash_bytes_extended((const unsigned char *) VARDATA(bytes) + HASHED_FROM,
							   VARSIZE(bytes) - VARHDRSZ - HASHED_FROM, 0);
}

static void
copy_neighbours(const GraphNeighbours *to, const GraphNeighbours *from, int step_count)
{
	memcpy(to->start, from->start, sizeof(int32) * (step_count + 1));
	memcpy(to->counted, from->counted, sizeof(int32) * step_count);
	memcpy(to->items, from->items, sizeof(int32) * from->start[step_count]);
}

static void
copy_paths(const GraphPaths *to, const GraphPaths *from, int step_count)
{
	memcpy(to->start, from->start, sizeof(uint32) * (step_count + 1));
	memcpy(to->bytes, from->bytes, from->start[step_count]);
}

bytea *
millrace_graph_write(const MillraceGraph *graph)
{
	int			n = graph->step_count;
	uint32		ancestors_size = graph->has_paths ? graph->ancestors.start[n] : 0;
	uint32		descendants_size = graph->has_paths ? graph->descendants.start[n] : 0;
	Size		size = size_of(graph, ancestors_size, descendants_size);
	bytea	   *bytes;
	Header	   *header;
	Cursor		cursor;
	MillraceGraph copy = *graph;
	uint64		hash;

	if (!AllocSizeIsValid(size + VARHDRSZ))
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_TOO_LARGE),
				 errmsg("graph is too large"),
				 errdetail("It takes %zu bytes.", size)));

	bytes = palloc0(size + VARHDRSZ);
	SET_VARSIZE(bytes, size + VARHDRSZ);
	header = (Header *) VARDATA(bytes);
	header->magic = MAGIC;
	header->step_count = n;
	header->edge_count = graph->edge_count;
	header->flags = (graph->has_paths ? HAS_PATHS : 0) | (graph->order ? HAS_ORDER : 0);
	header->ancestors_size = ancestors_size;
	header->descendants_size = descendants_size;

	cursor.at = (char *) (header + 1);
	cursor.end = (char *) bytes + VARSIZE(bytes);
	lay_out(&copy, &cursor, graph->order != NULL, ancestors_size, descendants_size);
	Assert(cursor.at == cursor.end);

	memcpy(copy.expected, graph->expected, sizeof(float4) * n);
	memcpy(copy.rank, graph->rank, sizeof(float4) * n);
	memcpy(copy.level, graph->level, sizeof(int32) * n);
	memcpy(copy.rule, graph->rule, sizeof(int16) * n);
	if (graph->order)
		memcpy(copy.order, graph->order, sizeof(int32) * n);
	copy_neighbours(&copy.needs, &graph->needs, n);
	copy_neighbours(&copy.dependents, &graph->dependents, n);
	if (graph->has_paths)
	{
		copy_paths(&copy.ancestors, &graph->ancestors, n);
		copy_paths(&copy.descendants, &graph->descendants, n);
	}

	hash = hash_of(bytes);
	memcpy(header->hash, &hash, sizeof(hash));
	return bytes;
}

/* Reads no more of a stored value than its header. */
GraphDigest
millrace_graph_digest(Datum graph)
{
	GraphDigest digest = {.size = toast_raw_datum_size(graph)};
	bytea	   *slice = DatumGetByteaPSlice(graph, 0, sizeof(Header));
	Header	   *header = (Header *) VARDATA(slice);

	if (VARSIZE(slice) - VARHDRSZ < sizeof(Header) || header->magic != MAGIC)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
				 errmsg("this is no graph"),
				 errhint("Pass the graph of a workflow's version, as millrace_internal.graph_build returned it on this machine.")));
	memcpy(&digest.hash, header->hash, sizeof(digest.hash));
	pfree(slice);
	return digest;
}

/* `bytes` must have passed millrace_graph_digest, and outlive the graph. */
void
millrace_graph_read(MillraceGraph *graph, bytea *bytes)
{
	const Header *header = (const Header *) VARDATA(bytes);
	Cursor		cursor = {VARDATA(bytes) + sizeof(Header), (char *) bytes + VARSIZE(bytes)};
	uint64		hash = hash_of(bytes);

	if (memcmp(header->hash, &hash, sizeof(hash)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
				 errmsg("graph is damaged"),
				 errhint("Define the workflow again.")));

	memset(graph, 0, sizeof(*graph));
	graph->step_count = header->step_count;
	graph->edge_count = header->edge_count;
	graph->has_paths = (header->flags & HAS_PATHS) != 0;
	lay_out(graph, &cursor, (header->flags & HAS_ORDER) != 0, header->ancestors_size, header->descendants_size);
}
