/*
 * row_batch.h
 *		New rows of one table, written page by page.
 */
#ifndef MILLRACE_ROW_BATCH_H
#define MILLRACE_ROW_BATCH_H

#include "table.h"

#define BATCH_ROWS 128

typedef struct RowBatch
{
	Table	   *table;
	Leaf	   *leaf;			/* of all rows that wait here */
	int			count;
	TupleTableSlot *slots[BATCH_ROWS];
} RowBatch;

extern void millrace_batch_open(RowBatch *batch, Table *table);

/* A row for the partition of an id: all null, for the caller to fill. It is written with those that follow. */
extern TupleTableSlot *millrace_batch_add(RowBatch *batch, int64 id);

/* Writes what still waits. The table stays open. */
extern void millrace_batch_close(RowBatch *batch);

static inline void
slot_set(TupleTableSlot *slot, int column, Datum value)
{
	slot->tts_values[column] = value;
	slot->tts_isnull[column] = false;
}

#endif							/* MILLRACE_ROW_BATCH_H */
