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
#define MILLRACE_MAX_STEPS 1000000
#define MILLRACE_MAX_EDGES 10000000

#endif							/* MILLRACE_H */
