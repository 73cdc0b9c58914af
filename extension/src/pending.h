/*
 * pending.h
 *		What a transaction owes the dispatcher when it ends.
 */
#ifndef MILLRACE_PENDING_H
#define MILLRACE_PENDING_H

#include "dispatcher.h"

extern void millrace_pending_install(void);

/* At commit: publish these steps. */
extern void millrace_pending_push(const ReadyStep *steps, int count);

/* Forget this entry at commit, give it back on rollback. Needs no memory after the reservation. */
extern void millrace_pending_reserve_pops(int count);
extern void millrace_pending_note_pop(const Entry *entry);

/* At commit: have the readers of events woken, the keeper look, the launcher look into that database. */
extern void millrace_pending_note_events(void);
extern void millrace_pending_wake_keeper(void);
extern void millrace_pending_attach_workers(Oid database);

#endif							/* MILLRACE_PENDING_H */
