/*
 * table.h
 *		The engine's hot tables, read and written row by row.
 *
 * What a report or a claim does to a row takes a microsecond; planned as a
 * statement it takes several. So the few statements that run once per step
 * are written here in terms of the table and index access methods, as the
 * server's own replication worker applies changes. Everything else is SQL.
 *
 * Triggers and check constraints are the SQL functions' concern: rows are
 * written here in the few shapes that the callers know.
 */
#ifndef MILLRACE_TABLE_H
#define MILLRACE_TABLE_H

#include "access/genam.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* Columns, in the order of sql/state; checked when a table is opened. */
enum StepColumn
{
	STEP_RUN_ID, STEP_STEP_NO, STEP_VERSION_ID, STEP_DEF_NO, STEP_ELEMENT, STEP_SHARD,
	STEP_STATE, STEP_ATTEMPTS, STEP_TOKEN, STEP_NEEDS_LEFT, STEP_NEEDS_BAD,
	STEP_AGENT_ID, STEP_RECEIPT_NO, STEP_READY_AT, STEP_STARTED_AT, STEP_FINISHED_AT,
	STEP_ELAPSED, STEP_ERROR, STEP_ERROR_CLASS
};

enum RunColumn
{
	RUN_RUN_ID, RUN_VERSION_ID, RUN_TENANT_ID, RUN_SHARD, RUN_PRIORITY, RUN_STATE,
	RUN_STEPS_FAILED, RUN_CLOSING_LEFT, RUN_CREATED_AT, RUN_STARTED_AT, RUN_FINISHED_AT,
	RUN_NOT_BEFORE, RUN_DEADLINE, RUN_PARENT_RUN_ID, RUN_PARENT_STEP_NO, RUN_LABELS, RUN_TRACE,
	RUN_PHASE, RUN_ENDS_AS, RUN_AWAITED
};

enum EventColumn
{
	EVENT_EVENT_ID, EVENT_RUN_ID, EVENT_AT, EVENT_XACT_ID, EVENT_STEP_NO, EVENT_AGENT_ID,
	EVENT_ATTEMPT, EVENT_SHARD, EVENT_KIND, EVENT_DATA
};

enum RunInputColumn
{
	RUN_INPUT_RUN_ID, RUN_INPUT_SHARD, RUN_INPUT_INPUT
};

enum OutputColumn
{
	OUTPUT_RUN_ID, OUTPUT_STEP_NO, OUTPUT_SHARD, OUTPUT_OUTPUT
};

enum ReceiptColumn
{
	RECEIPT_SHARD, RECEIPT_AGENT_ID, RECEIPT_RECEIPT_NO, RECEIPT_OPEN, RECEIPT_DEADLINE,
	RECEIPT_RUN_IDS, RECEIPT_STEP_NOS, RECEIPT_TOKENS
};

typedef struct TableKind
{
	const char *name;
	int			column_count;
	const char *columns[20];
} TableKind;

extern const TableKind StepTable;
extern const TableKind RunTable;
extern const TableKind EventTable;
extern const TableKind RunInputTable;
extern const TableKind OutputTable;
extern const TableKind ReceiptTable;

/* One partition, or a table that has none, with its indexes, open for the time of a call. */
typedef struct Leaf
{
	struct Leaf *next;
	int64		from;
	int64		to;
	EState	   *estate;
	Relation	relation;
	ResultRelInfo *result;
	IndexScanDesc scan;			/* of the primary key, once something was looked up */
	TupleTableSlot *found;		/* the row that was looked up last */
	bool		locked;			/* by this call, which caught up with another */
	TupleTableSlot *row;		/* a row to write */
} Leaf;

typedef struct Table
{
	const TableKind *kind;
	EState	   *estate;
	Relation	parent;
	Leaf	   *leaves;			/* the one used last comes first */
} Table;

typedef enum RowOutcome
{
	ROW_WRITTEN,
	ROW_CHANGED,				/* another call had changed it: its newest version is found, and locked */
	ROW_HELD,					/* another call holds it, and the caller would not wait */
	ROW_GONE					/* deleted, or written by this very statement */
} RowOutcome;

extern void millrace_table_open(Table *table, const TableKind *kind, EState *estate);
extern void millrace_table_close(Table *table);

/* That a partition's columns are the ones above: the library may be newer or older than the SQL that the database has. */
extern void millrace_table_check(Relation relation, const TableKind *kind);

/* The partition of an id; null where there is none, or an error. */
extern Leaf *millrace_table_leaf(Table *table, int64 id);
extern Leaf *millrace_table_leaf_for(Table *table, int64 id);

/* Looks a row up by the first columns of the primary key, as the active snapshot shows it: in leaf->found. */
extern bool millrace_leaf_find(Leaf *leaf, int key_count, const Datum *keys);
extern bool millrace_leaf_find_step(Leaf *leaf, int64 run_id, int32 step_no, int16 shard);
extern bool millrace_leaf_find_run(Leaf *leaf, int64 run_id, int16 shard);

/* The same by place, for a row that was found in this transaction. */
extern bool millrace_leaf_fetch(Leaf *leaf, ItemPointer place);

/* Columns of the row that was found. */
#define found_datum(leaf, column) ((leaf)->found->tts_values[column])
#define found_is_null(leaf, column) ((leaf)->found->tts_isnull[column])
#define found_int16(leaf, column) DatumGetInt16(found_datum(leaf, column))
#define found_int32(leaf, column) DatumGetInt32(found_datum(leaf, column))
#define found_int64(leaf, column) DatumGetInt64(found_datum(leaf, column))

/* Begins a row to write in leaf->row: empty, or as the one that was found. */
extern void millrace_leaf_blank(Leaf *leaf);
extern void millrace_leaf_copy(Leaf *leaf);

static inline void
row_set(Leaf *leaf, int column, Datum value)
{
	leaf->row->tts_values[column] = value;
	leaf->row->tts_isnull[column] = false;
}

static inline void
row_set_null(Leaf *leaf, int column)
{
	leaf->row->tts_isnull[column] = true;
}

extern void millrace_leaf_insert(Leaf *leaf);

/* The entries of a row that has been written into the table. */
extern void millrace_leaf_index(Leaf *leaf, TupleTableSlot *row);

/*
 * Writes leaf->row over the row that was found. After ROW_CHANGED the caller
 * judges the row found anew, and may copy, change and write again.
 */
extern RowOutcome millrace_leaf_update(Leaf *leaf, bool wait);

/* Deletes the row that was found, waiting for who holds it; the outcome as of an update. */
extern RowOutcome millrace_leaf_delete(Leaf *leaf);

#endif							/* MILLRACE_TABLE_H */
