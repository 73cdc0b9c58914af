/*
 * fault.c
 *		Makes a process stop or fail at a place that a test names.
 *
 * A stopped process waits for a signal from outside: SIGCONT lets it go on,
 * SIGKILL ends it right there. So a test chooses what happens, at any moment
 * of a transaction, also where nothing could be waited for in the usual ways.
 */
#include "postgres.h"

#include <signal.h>

#include "fault.h"

char	   *millrace_fault_setting = NULL;

void
millrace_fault_strike(const char *place)
{
	size_t		length = strlen(place);
	const char *action = millrace_fault_setting + length + 1;

	if (strncmp(millrace_fault_setting, place, length) != 0 || millrace_fault_setting[length] != ':')
		return;
	if (strcmp(action, "stop") == 0)
		raise(SIGSTOP);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("millrace.fault struck at \"%s\"", place)));
}
