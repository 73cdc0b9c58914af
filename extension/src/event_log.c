/*
 * event_log.c
 *		Events of one call, written together.
 *
 * Ids are drawn when an event happens, under the locks of its row, so that the
 * events of a run stand in the order in which they happened. The rows follow
 * in batches.
 */
#include "postgres.h"

#include "event_log.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "dispatcher.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

void
millrace_event_log_open(EventLog *log, int16 shard, EState *estate)
{
	millrace_table_open(&log->table, &EventTable, estate);
	log->sequence = get_relname_relid("event_id_seq", RelationGetNamespace(log->table.parent));
	log->xact_id = (int64) U64FromFullTransactionId(GetTopFullTransactionId());
	log->shard = shard;
	log->told = false;
	millrace_batch_open(&log->batch, &log->table);
}

void
millrace_event_log_append(EventLog *log, const Event *event)
{
	int64		event_id = nextval_internal(log->sequence, false);
	TupleTableSlot *slot;

	/* as by the trigger that statements fire */
	if (!log->told)
		millrace_dispatcher_note_events();
	log->told = true;

	slot = millrace_batch_add(&log->batch, event_id);
	slot_set(slot, EVENT_EVENT_ID, Int64GetDatum(event_id));
	slot_set(slot, EVENT_RUN_ID, Int64GetDatum(event->run_id));
	slot_set(slot, EVENT_AT, TimestampTzGetDatum(event->at));
	slot_set(slot, EVENT_XACT_ID, Int64GetDatum(log->xact_id));
	if (event->step_no)
		slot_set(slot, EVENT_STEP_NO, Int32GetDatum(event->step_no));
	if (event->agent_id)
		slot_set(slot, EVENT_AGENT_ID, Int32GetDatum(event->agent_id));
	if (event->attempt)
		slot_set(slot, EVENT_ATTEMPT, Int32GetDatum(event->attempt));
	slot_set(slot, EVENT_SHARD, Int16GetDatum(log->shard));
	slot_set(slot, EVENT_KIND, Int16GetDatum(event->kind));
}

void
millrace_event_log_close(EventLog *log)
{
	millrace_batch_close(&log->batch);
	millrace_table_close(&log->table);
}
