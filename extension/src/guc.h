/*
 * guc.h
 *		The settings millrace.*, as C variables.
 */
#ifndef MILLRACE_GUC_H
#define MILLRACE_GUC_H

/* Sizes of shared memory: only a server that preloads the library has them. */
extern int	millrace_dispatcher_entries;
extern int	millrace_dispatcher_keys;

extern int	millrace_wake_interval;
extern int	millrace_keeper_interval;
extern int	millrace_max_output_bytes;

extern void millrace_guc_define(void);

#endif							/* MILLRACE_GUC_H */
