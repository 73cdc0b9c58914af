/*
 * work_receipt.h
 *		What one call has handed out, until all of it is settled.
 */
#ifndef MILLRACE_WORK_RECEIPT_H
#define MILLRACE_WORK_RECEIPT_H

#include "work.h"

/* For steps without a timeout. */
extern void millrace_receipt_write(int16 shard, int32 agent_id, int64 receipt_no, const Started *steps, int count);

/* Takes settled steps off their receipts; the last one takes the receipt away. Ascending, each once. */
extern void millrace_receipts_settle(int16 shard, int32 agent_id, const int64 *receipts, const int32 *settled, int count);

#endif							/* MILLRACE_WORK_RECEIPT_H */
