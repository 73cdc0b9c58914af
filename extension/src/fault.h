/*
 * fault.h
 *		Places at which a test can make a process stop or fail.
 */
#ifndef MILLRACE_FAULT_H
#define MILLRACE_FAULT_H

/* The setting millrace.fault: "place:stop" or "place:error"; empty in production. */
extern char *millrace_fault_setting;

extern void millrace_fault_strike(const char *place);

/* Costs the look at one byte as long as the setting is empty. */
#define MILLRACE_FAULT(place) \
	do { \
		if (unlikely(millrace_fault_setting != NULL && millrace_fault_setting[0] != '\0')) \
			millrace_fault_strike(place); \
	} while (0)

#endif							/* MILLRACE_FAULT_H */
