/*
 * event_scan.c
 *		Finds the events of a range of numbers and transactions.
 *
 * The partitions' summaries (BRIN) name the pages where such events may be, and
 * every page that has no summary yet. A reader looks hundreds of times a second,
 * and finds its events on one or two of those hundreds of pages. So a backend
 * remembers what it has seen on each page, and of which state of the page that
 * is true: the place of its last change in the server's log. A page that is in
 * the same state and holds nothing of the range is not read again.
 *
 * What is remembered is of all rows, visible or not, for a row may become
 * visible without a change of its page.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/tidbitmap.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "table.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(millrace_events_between);

/* Pages that a backend remembers; then it begins anew. */
#define MAX_PAGES 8192

/* Events with a number above `after` up to `up_to`, of transactions from `x_from` to `x_to`. */
typedef struct Range
{
	int64		after;
	int64		up_to;
	int64		x_from;
	int64		x_to;
} Range;

typedef struct PageKey
{
	Oid			partition;
	BlockNumber block;
} PageKey;

typedef struct SeenPage
{
	PageKey		key;
	XLogRecPtr	state;			/* of the page, when it was read */
	int64		least_id;
	int64		greatest_id;
	int64		least_xact;
	int64		greatest_xact;
} SeenPage;

/* What each row begins with: columns that are never null. */
typedef struct EventHead
{
	int64		event_id;
	int64		run_id;
	TimestampTz at;
	int64		xact_id;
} EventHead;

static HTAB *seen_pages = NULL;

static SeenPage *
remembered(Oid partition, BlockNumber block)
{
	PageKey		key = {.partition = partition, .block = block};
	SeenPage   *page;
	bool		found;

	if (seen_pages && hash_get_num_entries(seen_pages) >= MAX_PAGES)
	{
		hash_destroy(seen_pages);
		seen_pages = NULL;
	}
	if (seen_pages == NULL)
	{
		HASHCTL		settings = {.keysize = sizeof(PageKey), .entrysize = sizeof(SeenPage), .hcxt = TopMemoryContext};

		seen_pages = hash_create("millrace pages of events", 256, &settings, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	page = hash_search(seen_pages, &key, HASH_ENTER, &found);
	if (!found)
		page->state = InvalidXLogRecPtr;
	return page;
}

static bool
may_hold(const SeenPage *page, const Range *range)
{
	return page->greatest_id > range->after && page->least_id <= range->up_to &&
		page->greatest_xact >= range->x_from && page->least_xact <= range->x_to;
}

static bool
is_within(const EventHead *event, const Range *range)
{
	return event->event_id > range->after && event->event_id <= range->up_to &&
		event->xact_id >= range->x_from && event->xact_id <= range->x_to;
}

static void
answer(HeapTuple row, Relation partition, ReturnSetInfo *result)
{
	Datum		values[EVENT_DATA + 1];
	bool		nulls[EVENT_DATA + 1];

	heap_deform_tuple(row, RelationGetDescr(partition), values, nulls);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
read_rows(Relation partition, Buffer buffer, SeenPage *seen, const Range *range, ReturnSetInfo *result)
{
	Page		page = BufferGetPage(buffer);
	OffsetNumber last = PageGetMaxOffsetNumber(page);
	Snapshot	snapshot = GetActiveSnapshot();

	seen->least_id = seen->least_xact = PG_INT64_MAX;
	seen->greatest_id = seen->greatest_xact = PG_INT64_MIN;
	for (OffsetNumber place = FirstOffsetNumber; place <= last; place++)
	{
		ItemId		item = PageGetItemId(page, place);
		HeapTupleData row;
		EventHead  *event;

		if (!ItemIdIsNormal(item))
			continue;
		row.t_tableOid = RelationGetRelid(partition);
		row.t_data = (HeapTupleHeader) PageGetItem(page, item);
		row.t_len = ItemIdGetLength(item);
		ItemPointerSet(&row.t_self, BufferGetBlockNumber(buffer), place);
		event = (EventHead *) GETSTRUCT(&row);
		seen->least_id = Min(seen->least_id, event->event_id);
		seen->greatest_id = Max(seen->greatest_id, event->event_id);
		seen->least_xact = Min(seen->least_xact, event->xact_id);
		seen->greatest_xact = Max(seen->greatest_xact, event->xact_id);
		pgstat_count_heap_fetch(partition);
		if (is_within(event, range) && HeapTupleSatisfiesVisibility(&row, snapshot, buffer))
			answer(&row, partition, result);
	}
}

static void
read_page(Relation partition, BlockNumber block, const Range *range, ReturnSetInfo *result)
{
	SeenPage   *seen = remembered(RelationGetRelid(partition), block);
	Buffer		buffer = ReadBuffer(partition, block);
	XLogRecPtr	state;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	state = PageGetLSN(BufferGetPage(buffer));
	/* a table that was made by its first writer may not be logged at first */
	if (XLogRecPtrIsInvalid(state) || state != seen->state || may_hold(seen, range))
	{
		seen->state = InvalidXLogRecPtr;
		read_rows(partition, buffer, seen, range, result);
		seen->state = state;
	}
	UnlockReleaseBuffer(buffer);
}

/* The index that has the summaries. */
static Relation
open_summaries(Relation partition)
{
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(partition))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_rel->relam == BRIN_AM_OID)
			return index;
		index_close(index, AccessShareLock);
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("partition \"%s\" has lost its index of summaries", RelationGetRelationName(partition)),
			 errhint("Create it again: USING brin (event_id, xact_id, at) WITH (pages_per_range = 32).")));
}

/* Pages that may hold events of the range. */
static TIDBitmap *
find_pages(Relation summaries, const Range *range)
{
	TIDBitmap  *pages = tbm_create(work_mem * INT64CONST(1024), NULL);
	IndexScanDesc scan = index_beginscan_bitmap(summaries, GetActiveSnapshot(), 4);
	ScanKeyData keys[4];

	ScanKeyEntryInitialize(&keys[0], 0, 1, BTGreaterStrategyNumber, INT8OID, InvalidOid, F_INT8GT, Int64GetDatum(range->after));
	ScanKeyEntryInitialize(&keys[1], 0, 1, BTLessEqualStrategyNumber, INT8OID, InvalidOid, F_INT8LE, Int64GetDatum(range->up_to));
	ScanKeyEntryInitialize(&keys[2], 0, 2, BTGreaterEqualStrategyNumber, INT8OID, InvalidOid, F_INT8GE, Int64GetDatum(range->x_from));
	ScanKeyEntryInitialize(&keys[3], 0, 2, BTLessEqualStrategyNumber, INT8OID, InvalidOid, F_INT8LE, Int64GetDatum(range->x_to));
	index_rescan(scan, keys, lengthof(keys), NULL, 0);
	(void) index_getbitmap(scan, pages);
	index_endscan(scan);
	return pages;
}

static void
read_partition(Oid partition_id, const Range *range, ReturnSetInfo *result)
{
	Relation	partition = table_open(partition_id, AccessShareLock);
	Relation	summaries = open_summaries(partition);
	TIDBitmap  *pages = find_pages(summaries, range);
	TBMIterator *iterator = tbm_begin_iterate(pages);
	TBMIterateResult *page;

	millrace_table_check(partition, &EventTable);
	while ((page = tbm_iterate(iterator)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		read_page(partition, page->blockno, range, result);
	}
	tbm_end_iterate(iterator);
	tbm_free(pages);
	index_close(summaries, AccessShareLock);
	table_close(partition, AccessShareLock);
}

/* In no order. */
Datum
millrace_events_between(PG_FUNCTION_ARGS)
{
	Range		range = {PG_GETARG_INT64(0), PG_GETARG_INT64(1), PG_GETARG_INT64(2), PG_GETARG_INT64(3)};
	Relation	events = table_open(get_relname_relid("event", get_namespace_oid("millrace_internal", false)), AccessShareLock);
	PartitionDesc partitions = RelationGetPartitionDesc(events, true);
	PartitionBoundInfo bounds = partitions->boundinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 1; bounds && i < bounds->ndatums; i++)
	{
		int64		from = DatumGetInt64(bounds->datums[i - 1][0]);
		int64		to = DatumGetInt64(bounds->datums[i][0]);

		if (bounds->indexes[i] >= 0 && to - 1 > range.after && from <= range.up_to)
			read_partition(partitions->oids[bounds->indexes[i]], &range, (ReturnSetInfo *) fcinfo->resultinfo);
	}
	table_close(events, AccessShareLock);
	return (Datum) 0;
}
