/*
 * table.c
 *		The engine's hot tables, read and written row by row.
 */
#include "postgres.h"

#include "table.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "millrace.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

const TableKind StepTable = {
	"step", 19,
	{"run_id", "step_no", "version_id", "def_no", "element", "shard", "state", "attempts", "token", "needs_left",
	 "needs_bad", "agent_id", "receipt_no", "ready_at", "started_at", "finished_at", "elapsed", "error",
	 "error_class"}
};

const TableKind RunTable = {
	"run", 20,
	{"run_id", "version_id", "tenant_id", "shard", "priority", "state", "steps_failed", "closing_left", "created_at",
	 "started_at", "finished_at", "not_before", "deadline", "parent_run_id", "parent_step_no", "labels", "trace",
	 "phase", "ends_as", "awaited"}
};

const TableKind EventTable = {
	"event", 10,
	{"event_id", "run_id", "at", "xact_id", "step_no", "agent_id", "attempt", "shard", "kind", "data"}
};

const TableKind RunInputTable = {
	"run_input", 3,
	{"run_id", "shard", "input"}
};

const TableKind OutputTable = {
	"output", 4,
	{"run_id", "step_no", "shard", "output"}
};

const TableKind ReceiptTable = {
	"receipt", 8,
	{"shard", "agent_id", "receipt_no", "open", "deadline", "run_ids", "step_nos", "tokens"}
};

void
millrace_table_open(Table *table, const TableKind *kind, EState *estate)
{
	Oid			parent = get_relname_relid(kind->name, get_namespace_oid("millrace_internal", false));

	if (!OidIsValid(parent))
		elog(ERROR, "there is no table millrace_internal.%s", kind->name);
	table->kind = kind;
	table->estate = estate;
	table->parent = table_open(parent, RowExclusiveLock);
	table->leaves = NULL;
}

void
millrace_table_check(Relation relation, const TableKind *kind)
{
	TupleDesc	columns = RelationGetDescr(relation);
	bool		same = columns->natts == kind->column_count;

	for (int i = 0; same && i < columns->natts; i++)
		same = strcmp(NameStr(TupleDescAttr(columns, i)->attname), kind->columns[i]) == 0;
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the columns of table \"%s\" are not those that the installed library of millrace works on",
						RelationGetRelationName(relation)),
				 errhint("Bring both to one version: ALTER EXTENSION millrace UPDATE.")));
}

/* With the ids that belong to it; InvalidOid where there is none. */
static Oid
find_partition(Relation parent, int64 id, int64 *from, int64 *to)
{
	PartitionKey key = RelationGetPartitionKey(parent);
	PartitionDesc partitions = RelationGetPartitionDesc(parent, true);
	PartitionBoundInfo bounds = partitions->boundinfo;
	Datum		value = Int64GetDatum(id);
	bool		equal;
	int			bound = -1;
	int			place = -1;

	if (bounds && bounds->ndatums > 0)
	{
		bound = partition_range_datum_bsearch(key->partsupfunc, key->partcollation, bounds, 1, &value, &equal);
		place = bounds->indexes[bound + 1];
	}
	if (place < 0)
		return InvalidOid;
	*from = DatumGetInt64(bounds->datums[bound][0]);
	*to = DatumGetInt64(bounds->datums[bound + 1][0]);
	return partitions->oids[place];
}

static Leaf *
open_leaf(Table *table, int64 id)
{
	int64		from = PG_INT64_MIN;
	int64		to = PG_INT64_MAX;
	Oid			relation = RelationGetRelid(table->parent);
	Leaf	   *leaf;

	/* a table without partitions is its own */
	if (table->parent->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		relation = find_partition(table->parent, id, &from, &to);
	if (!OidIsValid(relation))
		return NULL;

	leaf = palloc0(sizeof(Leaf));
	leaf->from = from;
	leaf->to = to;
	leaf->estate = table->estate;
	leaf->relation = table_open(relation, RowExclusiveLock);
	millrace_table_check(leaf->relation, table->kind);
	leaf->result = makeNode(ResultRelInfo);
	InitResultRelInfo(leaf->result, leaf->relation, 0, NULL, 0);
	ExecOpenIndices(leaf->result, false);
	leaf->found = table_slot_create(leaf->relation, NULL);
	leaf->row = MakeSingleTupleTableSlot(RelationGetDescr(leaf->relation), &TTSOpsVirtual);
	return leaf;
}

Leaf *
millrace_table_leaf(Table *table, int64 id)
{
	Leaf	  **link = &table->leaves;
	Leaf	   *leaf;

	while ((leaf = *link) != NULL && !(leaf->from <= id && id < leaf->to))
		link = &leaf->next;
	if (leaf == NULL)
		leaf = open_leaf(table, id);
	else if (leaf == table->leaves)
		return leaf;
	else
		*link = leaf->next;
	if (leaf == NULL)
		return NULL;
	leaf->next = table->leaves;
	table->leaves = leaf;
	return leaf;
}

Leaf *
millrace_table_leaf_for(Table *table, int64 id)
{
	Leaf	   *leaf = millrace_table_leaf(table, id);

	if (leaf == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("there is no partition of \"%s\" for " INT64_FORMAT, RelationGetRelationName(table->parent), id)));
	return leaf;
}

/* Locks are kept until the transaction ends. */
void
millrace_table_close(Table *table)
{
	for (Leaf *leaf = table->leaves; leaf; leaf = leaf->next)
	{
		if (leaf->scan)
			index_endscan(leaf->scan);
		ExecDropSingleTupleTableSlot(leaf->found);
		ExecDropSingleTupleTableSlot(leaf->row);
		ExecCloseIndices(leaf->result);
		table_close(leaf->relation, NoLock);
	}
	table_close(table->parent, NoLock);
}

static IndexScanDesc
begin_scan(Leaf *leaf)
{
	Oid			primary_key = RelationGetPrimaryKeyIndex(leaf->relation);

	for (int i = 0; i < leaf->result->ri_NumIndices; i++)
	{
		Relation	index = leaf->result->ri_IndexRelationDescs[i];

		if (RelationGetRelid(index) == primary_key)
			return index_beginscan(leaf->relation, index, GetActiveSnapshot(),
								   IndexRelationGetNumberOfKeyAttributes(index), 0);
	}
	elog(ERROR, "partition \"%s\" has no primary key", RelationGetRelationName(leaf->relation));
}

bool
millrace_leaf_find(Leaf *leaf, int key_count, const Datum *keys)
{
	ScanKeyData scan_keys[3];

	if (leaf->scan == NULL)
		leaf->scan = begin_scan(leaf);
	leaf->scan->xs_snapshot = GetActiveSnapshot();

	for (int i = 0; i < key_count; i++)
	{
		Oid			type = leaf->scan->indexRelation->rd_opcintype[i];

		ScanKeyInit(&scan_keys[i], i + 1, BTEqualStrategyNumber,
					type == INT8OID ? F_INT8EQ : type == INT4OID ? F_INT4EQ : F_INT2EQ, keys[i]);
	}
	index_rescan(leaf->scan, scan_keys, key_count, NULL, 0);
	leaf->locked = false;
	if (!index_getnext_slot(leaf->scan, ForwardScanDirection, leaf->found))
		return false;
	slot_getallattrs(leaf->found);
	return true;
}

bool
millrace_leaf_find_step(Leaf *leaf, int64 run_id, int32 step_no, int16 shard)
{
	Datum		keys[3] = {Int64GetDatum(run_id), Int32GetDatum(step_no), Int16GetDatum(shard)};

	return millrace_leaf_find(leaf, 3, keys);
}

bool
millrace_leaf_find_run(Leaf *leaf, int64 run_id, int16 shard)
{
	Datum		keys[2] = {Int64GetDatum(run_id), Int16GetDatum(shard)};

	return millrace_leaf_find(leaf, 2, keys);
}

bool
millrace_leaf_fetch(Leaf *leaf, ItemPointer place)
{
	leaf->locked = false;
	if (!table_tuple_fetch_row_version(leaf->relation, place, GetActiveSnapshot(), leaf->found))
		return false;
	slot_getallattrs(leaf->found);
	return true;
}

void
millrace_leaf_blank(Leaf *leaf)
{
	ExecClearTuple(leaf->row);
	ExecStoreAllNullTuple(leaf->row);
}

void
millrace_leaf_copy(Leaf *leaf)
{
	int			columns = leaf->found->tts_tupleDescriptor->natts;

	/* values passed by reference stay in the page that found pins */
	ExecClearTuple(leaf->row);
	memcpy(leaf->row->tts_values, leaf->found->tts_values, columns * sizeof(Datum));
	memcpy(leaf->row->tts_isnull, leaf->found->tts_isnull, columns * sizeof(bool));
	ExecStoreVirtualTuple(leaf->row);
}

void
millrace_leaf_index(Leaf *leaf, TupleTableSlot *row)
{
	if (leaf->result->ri_NumIndices == 0)
		return;
#if PG_VERSION_NUM >= 160000
	list_free(ExecInsertIndexTuples(leaf->result, row, leaf->estate, false, false, NULL, NIL, false));
#else
	list_free(ExecInsertIndexTuples(leaf->result, row, leaf->estate, false, false, NULL, NIL));
#endif
	ResetPerTupleExprContext(leaf->estate);
}

void
millrace_leaf_insert(Leaf *leaf)
{
	table_tuple_insert(leaf->relation, leaf->row, GetCurrentCommandId(true), 0, NULL);
	millrace_leaf_index(leaf, leaf->row);
}

/* After another call's change: its outcome, whoever has to wait for it. */
static RowOutcome
catch_up(Leaf *leaf, bool wait)
{
	ItemPointerData place = leaf->found->tts_tid;
	TM_FailureData failure;

	switch (table_tuple_lock(leaf->relation, &place, GetActiveSnapshot(), leaf->found, GetCurrentCommandId(false),
							 LockTupleNoKeyExclusive, wait ? LockWaitBlock : LockWaitSkip,
							 TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure))
	{
		case TM_Ok:
			slot_getallattrs(leaf->found);
			leaf->locked = true;
			return ROW_CHANGED;
		case TM_WouldBlock:
			return ROW_HELD;
		default:
			return ROW_GONE;
	}
}

RowOutcome
millrace_leaf_update(Leaf *leaf, bool wait)
{
	TM_FailureData failure;
	LockTupleMode lock;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes indexes;
#define INDEXES_WANTED (indexes != TU_None)
#else
	bool		indexes;
#define INDEXES_WANTED indexes
#endif

	/* "being modified" is also what a row is that this transaction has locked: then there is nobody to wait for */
	switch (table_tuple_update(leaf->relation, &leaf->found->tts_tid, leaf->row, GetCurrentCommandId(true),
							   GetActiveSnapshot(), InvalidSnapshot, wait || leaf->locked, &failure, &lock, &indexes))
	{
		case TM_Ok:
			if (INDEXES_WANTED)
				millrace_leaf_index(leaf, leaf->row);
			return ROW_WRITTEN;
		case TM_BeingModified:
		case TM_Updated:
			return catch_up(leaf, wait);
		default:
			return ROW_GONE;
	}
}

RowOutcome
millrace_leaf_delete(Leaf *leaf)
{
	TM_FailureData failure;

	switch (table_tuple_delete(leaf->relation, &leaf->found->tts_tid, GetCurrentCommandId(true), GetActiveSnapshot(),
							   InvalidSnapshot, true, &failure, false))
	{
		case TM_Ok:
			return ROW_WRITTEN;
		case TM_BeingModified:
		case TM_Updated:
			return catch_up(leaf, true);
		default:
			return ROW_GONE;
	}
}
