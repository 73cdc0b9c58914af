/*
 * worker.h
 *		The background workers: a launcher for the server, a waker and a keeper
 *		for each database that has the extension.
 */
#ifndef MILLRACE_WORKER_H
#define MILLRACE_WORKER_H

#include "dispatcher.h"
#include "postmaster/bgworker.h"

/* worker_launcher.c, worker_hold.c: at server start */
extern void millrace_worker_register_launcher(void);
extern void millrace_worker_install_hold(void);

/* Entry points of the processes. */
extern PGDLLEXPORT void millrace_launcher_main(Datum argument);
extern PGDLLEXPORT void millrace_waker_main(Datum argument);
extern PGDLLEXPORT void millrace_keeper_main(Datum argument);

/* worker_session.c: what waker and keeper share */

/* A unit of work, in a transaction of its own, with SPI connected. */
typedef void (*WorkerAction) (void *argument);

/* Enters the slot and connects; ends the process when it is not wanted here. */
extern Database *millrace_worker_attach(Datum argument, Size slot_offset, const char *name);

/* False when it failed; the error has been logged, once while it repeats itself. */
extern bool millrace_worker_run(const char *activity, WorkerAction action, void *argument);

/* At most so long, less when the latch is set; negative: until it is set. Settings are read anew if they changed. */
extern void millrace_worker_sleep(long milliseconds);

/* Ends the process when a command needs the database for itself. */
extern void millrace_worker_leave_if_held(const Database *database);

#endif							/* MILLRACE_WORKER_H */
