/*
 * work_agent.h
 *		Who calls, and what there is room for.
 */
#ifndef MILLRACE_WORK_AGENT_H
#define MILLRACE_WORK_AGENT_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

/* More steps than a call may ask for, or report. */
#define MAX_STEPS 100000

typedef struct AgentCall
{
	int32		agent_id;
	int			max_steps;
	int			queue_count;
	const int32 *queues;
	int			handler_count;
	int32	   *handlers;		/* those with room */
	int32	   *rooms;
	bool		listening;		/* it hears of steps that become ready */
	bool		frozen;			/* a test has stopped the clock */
	TimestampTz frozen_at;
} AgentCall;

/*
 * Reads the agent's row and its capacity. False where the call is not one of
 * those that C makes: no dispatcher, an agent that is unknown or whose lease is
 * over, a capacity that SQL must judge. Nothing has been done then.
 */
extern bool millrace_agent_begin(AgentCall *agent, int32 agent_id, int32 max_steps, Jsonb *capacity);

#endif							/* MILLRACE_WORK_AGENT_H */
