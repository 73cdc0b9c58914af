/*
 * dispatcher_refill.h
 *		A refill from the tables, in steps of the keeper.
 */
#ifndef MILLRACE_DISPATCHER_REFILL_H
#define MILLRACE_DISPATCHER_REFILL_H

#include "dispatcher.h"

typedef enum RefillNeed
{
	REFILL_NONE,
	REFILL_TENANTS,				/* some are low, and their watermarks say from where on to read */
	REFILL_OVERFLOW,			/* everything, for steps were dropped without a watermark */
	REFILL_EVERYTHING			/* everything, and claims wait for it */
} RefillNeed;

/* Takes the lock. */
extern RefillNeed millrace_refill_need(Database *database);

/* In a transaction, with SPI connected. Answers the run from which on the tables are to be read. */
extern int64 millrace_refill_begin(Database *database);

/*
 * Publishes ready steps that were read from the tables, those of older runs
 * first, with their weights. Answers whether there is a use in reading on.
 */
extern bool millrace_refill_push(const ReadyStep *steps, int count);

/* After the last transaction that has read them. */
extern void millrace_refill_end(Database *database);

#endif							/* MILLRACE_DISPATCHER_REFILL_H */
