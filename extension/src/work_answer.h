/*
 * work_answer.h
 *		The answer of a call: a row of arrays. An empty one is null, as SQL's own
 *		aggregates have it.
 */
#ifndef MILLRACE_WORK_ANSWER_H
#define MILLRACE_WORK_ANSWER_H

#include "arguments.h"
#include "work.h"

#define ANSWER_COLUMNS 24

typedef struct Answer
{
	int			count;
	Datum		values[ANSWER_COLUMNS];
	bool		nulls[ANSWER_COLUMNS];
} Answer;

/* An array of `n` elements, each given by an expression in i. */
#define GATHER(answer, n, type, make, expression) \
	do { \
		type	   *gathered = palloc(sizeof(type) * Max(n, 1)); \
		for (int i = 0; i < (n); i++) \
			gathered[i] = (expression); \
		millrace_answer_add(answer, n, make(gathered, n)); \
	} while (0)

extern void millrace_answer_add(Answer *answer, int count, Datum array);

/* Nine arrays: places of what was applied; what is left to SQL; receipts and how many of their steps were settled. */
extern void millrace_answer_left(Answer *answer, const Outcome *outcome);

/* Six arrays: runs, steps, tokens, attempts, versions, traces (of nulls where there is none). */
extern void millrace_answer_started(Answer *answer, const Started *started, int count);

/* Seven arrays, as sink_push takes them: runs, steps, queues, handlers, priorities, tenants, ranks. */
extern void millrace_answer_ready(Answer *answer, const Hit *ready, int count);
extern Datum millrace_answer_row(const Answer *answer, FunctionCallInfo fcinfo);

#endif							/* MILLRACE_WORK_ANSWER_H */
