/*
 * row_batch.c
 *		New rows of one table, written page by page: one record in the log for
 *		each page, not for each row.
 */
#include "postgres.h"

#include "row_batch.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"

void
millrace_batch_open(RowBatch *batch, Table *table)
{
	memset(batch, 0, sizeof(RowBatch));
	batch->table = table;
}

static void
flush(RowBatch *batch)
{
	Leaf	   *leaf = batch->leaf;

	if (batch->count == 0)
		return;
	table_multi_insert(leaf->relation, batch->slots, batch->count, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < batch->count; i++)
	{
		millrace_leaf_index(leaf, batch->slots[i]);
		ExecClearTuple(batch->slots[i]);
	}
	batch->count = 0;
}

static void
drop_slots(RowBatch *batch)
{
	for (int i = 0; i < BATCH_ROWS && batch->slots[i]; i++)
	{
		ExecDropSingleTupleTableSlot(batch->slots[i]);
		batch->slots[i] = NULL;
	}
}

TupleTableSlot *
millrace_batch_add(RowBatch *batch, int64 id)
{
	TupleTableSlot *slot;

	/* slots belong to a partition: the rows of another one are another batch */
	if (batch->leaf == NULL || id < batch->leaf->from || id >= batch->leaf->to)
	{
		flush(batch);
		drop_slots(batch);
		batch->leaf = millrace_table_leaf_for(batch->table, id);
	}
	else if (batch->count == BATCH_ROWS)
		flush(batch);

	slot = batch->slots[batch->count];
	if (slot == NULL)
		slot = batch->slots[batch->count] = table_slot_create(batch->leaf->relation, NULL);
	batch->count++;
	return ExecStoreAllNullTuple(slot);
}

void
millrace_batch_close(RowBatch *batch)
{
	flush(batch);
	drop_slots(batch);
}
