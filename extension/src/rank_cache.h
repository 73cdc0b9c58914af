/*
 * rank_cache.h
 *		Ranks from measured durations, as this backend knows them.
 */
#ifndef MILLRACE_RANK_CACHE_H
#define MILLRACE_RANK_CACHE_H

#include "postgres.h"

/*
 * The ranks of a version by step, counted from 0 (def_no - 1); null while none
 * have been measured: those of its definition hold. Reads the table on a miss,
 * through SPI. Valid until the next call that may process invalidations: take
 * what is needed out of it at once.
 */
extern const float4 *millrace_ranks_of(int32 version_id, int *count);

/* The rank of one step, by which its run's claims are ordered; `defined` is that of its definition. */
extern float4 millrace_rank(int32 version_id, int32 def_no, float4 defined);

#endif							/* MILLRACE_RANK_CACHE_H */
