/*
 * work_receipt.c
 *		What one call has handed out, until all of it is settled.
 */
#include "postgres.h"

#include "work_receipt.h"

#include "access/xact.h"
#include "arguments.h"
#include "executor/executor.h"
#include "utils/snapmgr.h"

typedef struct Receipts
{
	EState	   *estate;
	Table		table;
	Leaf	   *leaf;
} Receipts;

/* With a look at the table as it is now. */
static void
open_receipts(Receipts *receipts)
{
	receipts->estate = CreateExecutorState();
	millrace_table_open(&receipts->table, &ReceiptTable, receipts->estate);
	receipts->leaf = millrace_table_leaf_for(&receipts->table, 0);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
close_receipts(Receipts *receipts)
{
	millrace_table_close(&receipts->table);
	PopActiveSnapshot();
	FreeExecutorState(receipts->estate);
	CommandCounterIncrement();
}

void
millrace_receipt_write(int16 shard, int32 agent_id, int64 receipt_no, const Started *steps, int count)
{
	Receipts	receipts;
	int64	   *run_ids = palloc(sizeof(int64) * count);
	int32	   *step_nos = palloc(sizeof(int32) * count);
	int32	   *tokens = palloc(sizeof(int32) * count);

	for (int i = 0; i < count; i++)
	{
		run_ids[i] = steps[i].run_id;
		step_nos[i] = steps[i].step_no;
		tokens[i] = steps[i].token;
	}
	open_receipts(&receipts);
	millrace_leaf_blank(receipts.leaf);
	row_set(receipts.leaf, RECEIPT_SHARD, Int16GetDatum(shard));
	row_set(receipts.leaf, RECEIPT_AGENT_ID, Int32GetDatum(agent_id));
	row_set(receipts.leaf, RECEIPT_RECEIPT_NO, Int64GetDatum(receipt_no));
	row_set(receipts.leaf, RECEIPT_OPEN, Int32GetDatum(count));
	row_set(receipts.leaf, RECEIPT_RUN_IDS, millrace_arguments_bigint_array(run_ids, count));
	row_set(receipts.leaf, RECEIPT_STEP_NOS, millrace_arguments_int_array(step_nos, count));
	row_set(receipts.leaf, RECEIPT_TOKENS, millrace_arguments_int_array(tokens, count));
	millrace_leaf_insert(receipts.leaf);
	close_receipts(&receipts);
}

/* Reports of one agent may run side by side on one receipt: what another has taken off is seen under the lock. */
static void
settle_receipt(Leaf *leaf, int16 shard, int32 agent_id, int64 receipt_no, int32 settled)
{
	Datum		keys[3] = {Int32GetDatum(agent_id), Int64GetDatum(receipt_no), Int16GetDatum(shard)};
	RowOutcome	outcome;

	if (!millrace_leaf_find(leaf, lengthof(keys), keys))
		return;
	do
	{
		int32		left = found_int32(leaf, RECEIPT_OPEN) - settled;

		if (left <= 0)
		{
			outcome = millrace_leaf_delete(leaf);
			continue;
		}
		millrace_leaf_copy(leaf);
		row_set(leaf, RECEIPT_OPEN, Int32GetDatum(left));
		outcome = millrace_leaf_update(leaf, true);
	} while (outcome == ROW_CHANGED);
}

void
millrace_receipts_settle(int16 shard, int32 agent_id, const int64 *receipts, const int32 *settled, int count)
{
	Receipts	opened;

	if (count == 0)
		return;
	open_receipts(&opened);
	for (int i = 0; i < count; i++)
		settle_receipt(opened.leaf, shard, agent_id, receipts[i], settled[i]);
	close_receipts(&opened);
}
