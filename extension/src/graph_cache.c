/*
 * graph_cache.c
 *		Graphs that this backend has opened, so that a call reads only the
 *		header of a stored one.
 *
 * A claim or a report asks for the same few graphs again and again, and a
 * large one is stored in thousands of pieces. A version is immutable and its
 * digest names its content, so an entry never goes stale: entries are dropped
 * only to make room, the least recently used first.
 */
#include "postgres.h"

#include "graph.h"
#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* One larger graph may still be kept, alone. */
#define CACHE_BYTES (Size) (64 * 1024 * 1024)

typedef struct CachedGraph
{
	GraphDigest digest;			/* hash key */
	dlist_node	recent;
	bytea	   *bytes;
	MillraceGraph graph;
} CachedGraph;

static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static dlist_head recently_used = DLIST_STATIC_INIT(recently_used);
static Size cached_bytes = 0;

static void
create_cache(void)
{
	HASHCTL		control = {.keysize = sizeof(GraphDigest), .entrysize = sizeof(CachedGraph)};

	cache_context = AllocSetContextCreate(CacheMemoryContext, "millrace graph cache",
										  ALLOCSET_DEFAULT_SIZES);
	control.hcxt = cache_context;
	cache = hash_create("millrace graph cache", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
drop_least_recent(void)
{
	CachedGraph *entry = dlist_container(CachedGraph, recent, dlist_tail_node(&recently_used));

	cached_bytes -= VARSIZE(entry->bytes);
	dlist_delete(&entry->recent);
	pfree(entry->bytes);
	hash_search(cache, &entry->digest, HASH_REMOVE, NULL);
}

/* Reads, checks and keeps a graph; nothing is kept of one that fails the check. */
static CachedGraph *
keep(Datum graph, GraphDigest digest)
{
	MemoryContext caller = MemoryContextSwitchTo(cache_context);
	bytea	   *bytes = (bytea *) PG_DETOAST_DATUM_COPY(graph);
	MillraceGraph opened;
	CachedGraph *entry;

	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		millrace_graph_read(&opened, bytes);
		while (!dlist_is_empty(&recently_used) && cached_bytes + VARSIZE(bytes) > CACHE_BYTES)
			drop_least_recent();
		entry = hash_search(cache, &digest, HASH_ENTER, NULL);
	}
	PG_CATCH();
	{
		pfree(bytes);
		PG_RE_THROW();
	}
	PG_END_TRY();

	entry->bytes = bytes;
	entry->graph = opened;
	cached_bytes += VARSIZE(bytes);
	dlist_push_head(&recently_used, &entry->recent);
	return entry;
}

const MillraceGraph *
millrace_graph_open(Datum graph)
{
	GraphDigest digest = millrace_graph_digest(graph);
	CachedGraph *entry;

	if (cache == NULL)
		create_cache();

	entry = hash_search(cache, &digest, HASH_FIND, NULL);
	if (entry == NULL)
		return &keep(graph, digest)->graph;

	dlist_move_head(&recently_used, &entry->recent);
	return &entry->graph;
}
