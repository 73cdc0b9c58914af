/*
 * event_log.h
 *		Events of one call, written together.
 */
#ifndef MILLRACE_EVENT_LOG_H
#define MILLRACE_EVENT_LOG_H

#include "datatype/timestamp.h"
#include "row_batch.h"

/* Kinds, as logic/state_names.sql names them. */
enum EventKind
{
	EVENT_RUN_SUBMITTED = 1,
	EVENT_RUN_COMPLETED = 4,
	EVENT_RUN_FAILED = 5,
	EVENT_STEP_STARTED = 8,
	EVENT_STEP_COMPLETED = 11
};

typedef struct EventLog
{
	Table		table;
	Oid			sequence;
	int64		xact_id;
	int16		shard;
	bool		told;			/* readers, that this transaction has events */
	RowBatch	batch;
} EventLog;

typedef struct Event
{
	enum EventKind kind;
	int64		run_id;
	int32		step_no;		/* 0: of the run */
	int32		agent_id;		/* 0: of no agent */
	int32		attempt;		/* 0: none */
	TimestampTz at;
} Event;

extern void millrace_event_log_open(EventLog *log, int16 shard, EState *estate);
extern void millrace_event_log_append(EventLog *log, const Event *event);
extern void millrace_event_log_close(EventLog *log);

#endif							/* MILLRACE_EVENT_LOG_H */
