/*
 * event_log.c
 *		Events of one call, written together.
 *
 * Ids are drawn when an event happens, under the locks of its row, so that the
 * events of a run stand in the order in which they happened. The rows follow
 * page by page, with one record in the log for each page.
 */
#include "postgres.h"

#include "event_log.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "dispatcher.h"
#include "executor/executor.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

void
millrace_event_log_open(EventLog *log, int16 shard, EState *estate)
{
	millrace_table_open(&log->table, &EventTable, estate);
	log->sequence = get_relname_relid("event_id_seq", RelationGetNamespace(log->table.parent));
	log->xact_id = (int64) U64FromFullTransactionId(GetTopFullTransactionId());
	log->shard = shard;
	log->leaf = NULL;
	log->count = 0;
	memset(log->slots, 0, sizeof(log->slots));
}

static void
flush(EventLog *log)
{
	Leaf	   *leaf = log->leaf;

	if (log->count == 0)
		return;
	table_multi_insert(leaf->relation, log->slots, log->count, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < log->count; i++)
	{
#if PG_VERSION_NUM >= 160000
		list_free(ExecInsertIndexTuples(leaf->result, log->slots[i], leaf->estate, false, false, NULL, NIL, false));
#else
		list_free(ExecInsertIndexTuples(leaf->result, log->slots[i], leaf->estate, false, false, NULL, NIL));
#endif
		ExecClearTuple(log->slots[i]);
	}
	ResetPerTupleExprContext(leaf->estate);
	log->count = 0;
}

/* Slots belong to a partition: the events of another one are another batch. */
static void
change_leaf(EventLog *log, int64 event_id)
{
	flush(log);
	for (int i = 0; i < EVENT_BATCH && log->slots[i]; i++)
	{
		ExecDropSingleTupleTableSlot(log->slots[i]);
		log->slots[i] = NULL;
	}
	log->leaf = millrace_table_leaf_for(&log->table, event_id);
}

void
millrace_event_log_append(EventLog *log, const Event *event)
{
	int64		event_id = nextval_internal(log->sequence, false);
	TupleTableSlot *slot;

	/* readers are told as by the trigger that statements fire */
	if (log->leaf == NULL)
		millrace_dispatcher_note_events();
	if (log->leaf == NULL || event_id < log->leaf->from || event_id >= log->leaf->to)
		change_leaf(log, event_id);
	else if (log->count == EVENT_BATCH)
		flush(log);

	slot = log->slots[log->count];
	if (slot == NULL)
		slot = log->slots[log->count] = table_slot_create(log->leaf->relation, NULL);
	log->count++;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, false, sizeof(bool) * EventTable.column_count);
	slot->tts_values[EVENT_EVENT_ID] = Int64GetDatum(event_id);
	slot->tts_values[EVENT_RUN_ID] = Int64GetDatum(event->run_id);
	slot->tts_values[EVENT_AT] = TimestampTzGetDatum(event->at);
	slot->tts_values[EVENT_XACT_ID] = Int64GetDatum(log->xact_id);
	slot->tts_values[EVENT_STEP_NO] = Int32GetDatum(event->step_no);
	slot->tts_isnull[EVENT_STEP_NO] = event->step_no == 0;
	slot->tts_values[EVENT_AGENT_ID] = Int32GetDatum(event->agent_id);
	slot->tts_isnull[EVENT_AGENT_ID] = event->agent_id == 0;
	slot->tts_values[EVENT_ATTEMPT] = Int32GetDatum(event->attempt);
	slot->tts_isnull[EVENT_ATTEMPT] = event->attempt == 0;
	slot->tts_values[EVENT_SHARD] = Int16GetDatum(log->shard);
	slot->tts_values[EVENT_KIND] = Int16GetDatum(event->kind);
	slot->tts_isnull[EVENT_DATA] = true;
	ExecStoreVirtualTuple(slot);
}

void
millrace_event_log_close(EventLog *log)
{
	flush(log);
	for (int i = 0; i < EVENT_BATCH && log->slots[i]; i++)
		ExecDropSingleTupleTableSlot(log->slots[i]);
	millrace_table_close(&log->table);
}
