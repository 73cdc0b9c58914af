/*
 * definition_cache.h
 *		Step definitions that this backend has read.
 */
#ifndef MILLRACE_DEFINITION_CACHE_H
#define MILLRACE_DEFINITION_CACHE_H

typedef struct StepDefinition
{
	/* hash key */
	int32		version_id;
	int32		def_no;

	int32		handler_id;
	int32		queue_id;
	int32		needs_count;
	int32		dependent_count;
	int32	   *dependents;
	int32		declared_count;
	int32	   *declared;		/* needs, as they were declared: whose outputs an input may name */
	float4		rank;			/* of the definition: see rank_cache.h */
	int16		rule;
	int16		priority;
	bool		closing;
	bool		takes_input;
	bool		has_template;	/* what it takes is written down; else it takes all */
	bool		phased;			/* the end of its run's main steps may not be the run's */
	bool		looked_at;		/* it has a condition, or the engine enters it: for SQL to decide */
	bool		fills;			/* the settings have values of the run */
	bool		wants_output;	/* none does not have the declared shape */
	bool		batched;		/* it is executed together with others like it */
	bool		has_timeout;
	bool		has_delay;
	float8		timeout;
	float8		delay;			/* seconds */
	int32		settings_bytes;

	/* text and jsonb values; settings may be 0: none */
	Datum		key;
	Datum		workflow;
	Datum		handler;
	Datum		settings;
} StepDefinition;

/*
 * Once at the beginning of a call: what was read before may be dropped then,
 * and only then, so that pointers hold until the call's end.
 */
extern void millrace_definitions_begin(void);

/* A definition that must exist. */
extern const StepDefinition *millrace_definition(int32 version_id, int32 def_no);

#endif							/* MILLRACE_DEFINITION_CACHE_H */
