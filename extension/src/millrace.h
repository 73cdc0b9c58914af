/*
 * millrace.h
 *		What all files of the extension share.
 *
 * Names: exported functions are millrace_<module>_<verb>, everything else is
 * static. A file that can be called from SQL defines its entry points itself.
 */
#ifndef MILLRACE_H
#define MILLRACE_H

#include "error_codes.h"

/* Limits of one definition. */
#define MILLRACE_MAX_STEPS 1000000	/* a plain number: it is part of SQL text, too */
#define MILLRACE_MAX_EDGES 10000000

/* Numbers of steps that a run gains: elements of a for_each up to here, compensations beyond (logic/state_names.sql). */
#define MILLRACE_LAST_ELEMENT 1000000000

#endif							/* MILLRACE_H */
