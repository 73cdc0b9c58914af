/*
 * work.h
 *		What agents do to steps once per step: hand-outs, completions and what
 *		follows from them.
 *
 * A call works in passes. Each begins with a look at the tables as they are
 * then: what was committed while the pass before waited for locks is seen.
 * docs/locking.md has the order of the passes, and why.
 */
#ifndef MILLRACE_WORK_H
#define MILLRACE_WORK_H

#include "definition_cache.h"
#include "event_log.h"
#include "fmgr.h"
#include "millrace.h"
#include "table.h"
#include "utils/timestamp.h"

enum StepState
{
	STEP_PENDING = 0,
	STEP_WAITING = 1,
	STEP_READY = 2,
	STEP_RUNNING = 4,
	STEP_AWAITING = 5,			/* held by the engine, for something outside */
	STEP_COMPLETED = 10
};

enum RunState
{
	RUN_RUNNING = 1,
	RUN_COMPLETED = 10,
	RUN_FAILED = 11
};

typedef struct Call
{
	int16		shard;
	bool		frozen;			/* a test has stopped the clock */
	TimestampTz frozen_at;
	bool		silent;			/* what it reports has no outputs */
	bool		looking;
	EState	   *estate;
	Table		step;
	Table		run;
	EventLog	events;
} Call;

/* work_call.c */
extern void millrace_call_begin(Call *call, int16 shard, bool frozen, TimestampTz frozen_at);
extern void millrace_call_look(Call *call);
extern void millrace_call_end(Call *call);
extern TimestampTz millrace_call_now(const Call *call);
extern void millrace_call_tell(Call *call, enum EventKind kind, int64 run_id, int32 step_no, int32 agent_id,
							   int32 attempt, TimestampTz at);

/* Whether a run belongs to the shard that a call names. */
static inline bool
is_of_shard(int16 shard, int64 run_id)
{
	return (run_id & 255) == shard;
}

/* Beyond the numbers of definitions: a step that its run has gained, whose row says what it is. */
static inline bool
is_gained(int32 step_no)
{
	return step_no > MILLRACE_MAX_STEPS;
}

/* What undoes another step, once the run's main steps have ended. */
static inline bool
is_compensation(int32 step_no)
{
	return step_no > MILLRACE_LAST_ELEMENT;
}

/* A step's priority is added to its run's. */
static inline int16
effective_priority(int16 of_run, int16 of_step)
{
	int32		sum = (int32) of_run + of_step;

	return Max(PG_INT16_MIN, Min(PG_INT16_MAX, sum));
}

/* Who reports, and what it may be handed in return. */
typedef struct Receiver
{
	int32		agent_id;
	bool		accepts;
	int64		receipt_no;
	int			max_steps;
	int			queue_count;
	const int32 *queues;
	int			handler_count;
	const int32 *handlers;
	int32	   *rooms;			/* by handler; what is handed over is taken off */
} Receiver;

/* A step that was handed out. */
typedef struct Started
{
	int64		run_id;
	int32		step_no;
	int32		token;
	int32		attempt;
	int32		version_id;
	text	   *trace;			/* null: none */
} Started;

/* What the end of a step is counted on (logic/settle.sql). */
typedef enum HitKind
{
	HIT_DEPENDENT,
	HIT_ELEMENTS,				/* the step whose element has ended */
	HIT_COMPENSATION			/* itself, by its own number */
} HitKind;

/* A dependent, and how many of its needs have completed in this call. */
typedef struct Hit
{
	int64		run_id;
	int32		def_no;
	HitKind		kind;			/* any but dependents are left to SQL, unread */
	int32		version_id;
	int32		n;

	/* what decides about it */
	const StepDefinition *definition;
	int32		tenant_id;
	int16		run_priority;
	int16		priority;		/* the step's in its run */
	float4		rank;
	text	   *trace;
	bool		exists;			/* it has a row, at place */
	ItemPointerData place;
	int32		needs_left;
	bool		handed_over;	/* the agent that reports gets it, if it becomes ready */
} Hit;

typedef struct HitList
{
	int			count;
	int			room;
	Hit		   *hits;
} HitList;

/* Closing steps of a run that have ended. */
typedef struct Ended
{
	int64		run_id;
	int32		closing;
} Ended;

/* A completion, as it is reported. */
typedef struct Completion
{
	int64		run_id;
	int32		step_no;
	int32		token;
	int			place;			/* in the report, from 1 */
	bool		has_elapsed;
	float4		elapsed;
} Completion;

/* What the completions of a call add up to. */
typedef struct Outcome
{
	int			applied_count;
	int32	   *applied;		/* places */
	int			receipt_count;
	int64	   *receipts;		/* each once, ascending */
	int32	   *settled;		/* how many steps of each */

	/* what is left to SQL: dependents, and the runs to close after them */
	HitList		hits;
	int			ended_count;
	Ended	   *ended;
	bool		phased;			/* the end of one of these may not be the end of its run */

	int			started_count;
	Started    *started;		/* handed over */
	int			ready_count;
	Hit		   *ready;			/* for the sink */
} Outcome;

/*
 * work_complete.c. Read from arrays of runs, steps and tokens, which follow one
 * another, and of seconds: in lock order. Elements with a null, or of another
 * shard, name no step.
 */
extern Completion *millrace_completions_read(FunctionCallInfo fcinfo, int runs_place, int elapsed_place, int16 shard, int *count);
extern void millrace_complete(Call *call, const Completion *completions, int count, Receiver *receiver, Outcome *outcome);

/* work_start.c: hands candidates of the sink to an agent; what another call holds is left. */
extern void millrace_start(Call *call, int32 agent_id, int64 receipt_no, Started *steps, int count,
						   int *started_count, Started *held, int *held_count);

/*
 * work_settle.c: decides the dependents of completed steps. What is left in
 * the list has not been decided, and is for SQL. Steps that became ready and
 * were not handed over are moved to `ready`, those that were to `started`.
 */
extern void millrace_settle(Call *call, HitList *list, Receiver *receiver,
							Started *started, int *started_count, Hit *ready, int *ready_count);

/* work_handover.c: marks the hits that the receiver gets at once. */
extern void millrace_choose_handover(const Call *call, HitList *list, Receiver *receiver);

/* work_close.c */
extern void millrace_close_runs(Call *call, const Ended *ended, int count);

#endif							/* MILLRACE_WORK_H */
