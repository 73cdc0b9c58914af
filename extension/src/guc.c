/*
 * guc.c
 *		The settings millrace.*.
 *
 * Some are read by SQL alone (current_setting), and are defined here so that
 * they have a type, bounds, a description and an owner.
 */
#include "postgres.h"

#include <limits.h>

#include "fault.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

int			millrace_dispatcher_entries;
int			millrace_dispatcher_keys;
int			millrace_wake_interval;
int			millrace_keeper_interval;
int			millrace_max_output_bytes;

/* Read through current_setting only. */
static bool retry_immediately;
static bool notify;
static int	lost_limit;
static int	max_artifact_size;
static int	max_step_artifacts_size;
static int	runs_per_partition;
static int	events_per_partition;
static int	events_retention;
static int	subscription_max_lag;

PG_FUNCTION_INFO_V1(millrace_setting);

/* The server refuses to define such settings after its start. */
static void
define_shared_memory_sizes(void)
{
	DefineCustomIntVariable("millrace.dispatcher_entries",
							"Ready steps that the dispatcher holds at most, for all databases together.",
							"Past it, further ready steps wait in the tables and are read from there.",
							&millrace_dispatcher_entries, 262144, 1024, 16777216,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("millrace.dispatcher_keys",
							"Pairs of queue and handler that the dispatcher holds at most, for all databases together.",
							NULL,
							&millrace_dispatcher_keys, 1024, 16, 65536,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

static void
define_intervals(void)
{
	DefineCustomIntVariable("millrace.wake_interval",
							"Least time between two notifications of a database's waker.",
							"The first one after silence is sent at once.",
							&millrace_wake_interval, 1, 0, 60000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("millrace.keeper_interval",
							"Longest time between two looks of the keeper.",
							"It looks earlier when something is due earlier.",
							&millrace_keeper_interval, 1000, 10, 3600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

static void
define_engine_settings(void)
{
	DefineCustomBoolVariable("millrace.retry_immediately",
							 "Retries failed steps without waiting out their back-off.",
							 "For tests.",
							 &retry_immediately, false,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("millrace.notify",
							 "On the plain tier, notifies agents from the writing transaction.",
							 "Turn it off for transactions that are to be prepared.",
							 &notify, true,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("millrace.lost_limit",
							"Attempts after which a step that keeps losing its agents has failed.",
							"A higher retry limit of the step's own counts instead.",
							&lost_limit, 10, 1, 1000000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("millrace.max_output_bytes",
							"Largest output of a step.",
							NULL,
							&millrace_max_output_bytes, 1024 * 1024, 1024, 1024 * 1024 * 1024,
							PGC_SUSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable("millrace.max_artifact_size",
							"Largest artifact that is kept in the database.",
							NULL,
							&max_artifact_size, 64 * 1024, 1, INT_MAX,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("millrace.max_step_artifacts_size",
							"How large the artifacts of a step that are kept in the database may be together.",
							NULL,
							&max_step_artifacts_size, 256 * 1024, 1, INT_MAX,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("millrace.runs_per_partition",
							"Run ids in each new partition of runs and steps.",
							NULL,
							&runs_per_partition, 262144, 256, 1073741824,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("millrace.events_per_partition",
							"Event ids in each new partition of events.",
							NULL,
							&events_per_partition, 4194304, 256, 1073741824,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("millrace.events_retention",
							"How long events are kept.",
							"-1: for ever. They go by whole partitions, and not before every subscription has read them.",
							&events_retention, -1, -1, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("millrace.subscription_max_lag",
							"How old an unread event may be before retention overtakes a subscription.",
							"-1: retention waits for the slowest.",
							&subscription_max_lag, -1, -1, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
}

static bool
check_fault(char **value, void **extra, GucSource source)
{
	const char *action = strchr(*value, ':');

	return **value == '\0' || (action && (strcmp(action, ":stop") == 0 || strcmp(action, ":error") == 0));
}

static void
define_developer_settings(void)
{
	DefineCustomStringVariable("millrace.fault",
							   "Makes processes stop or fail at a place in the code.",
							   "For tests of Millrace itself: \"place:stop\" or \"place:error\".",
							   &millrace_fault_setting, "",
							   PGC_SUSET, GUC_NOT_IN_SAMPLE | GUC_NO_SHOW_ALL, check_fault, NULL, NULL);
}

void
millrace_guc_define(void)
{
	if (process_shared_preload_libraries_in_progress)
		define_shared_memory_sizes();
	define_intervals();
	define_engine_settings();
	define_developer_settings();
	MarkGUCPrefixReserved("millrace");
}

/* setting(name): as current_setting(), for a session that has not loaded the library yet, too: this call does. */
Datum
millrace_setting(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(GetConfigOptionByName(text_to_cstring(PG_GETARG_TEXT_PP(0)), NULL, false)));
}
