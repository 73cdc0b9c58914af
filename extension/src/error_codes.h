/*
 * error_codes.h
 *		The SQLSTATEs of Millrace: class MR, one code per cause, the same in C,
 *		PL/pgSQL and the clients.
 */
#ifndef MILLRACE_ERROR_CODES_H
#define MILLRACE_ERROR_CODES_H

#include "utils/elog.h"

/* An argument that no caller should pass: the call is wrong, not the data. */
#define ERRCODE_MILLRACE_MALFORMED_ARGUMENT MAKE_SQLSTATE('M', 'R', '0', '0', '1')

/* Well formed, but past a limit of the engine. */
#define ERRCODE_MILLRACE_TOO_LARGE MAKE_SQLSTATE('M', 'R', '0', '0', '2')

/* A step's SQL is not one valid statement on data. */
#define ERRCODE_MILLRACE_STATEMENT_REFUSED MAKE_SQLSTATE('M', 'R', '0', '5', '1')

#endif							/* MILLRACE_ERROR_CODES_H */
