/*
 * work_input.h
 *		Inputs of steps that take all that is there: what input_context() has.
 */
#ifndef MILLRACE_WORK_INPUT_H
#define MILLRACE_WORK_INPUT_H

#include "work.h"
#include "utils/jsonb.h"

typedef struct Inputs
{
	int16		shard;
	EState	   *estate;
	Table		run_input;
	Table		output;
} Inputs;

extern void millrace_inputs_open(Inputs *inputs, int16 shard);

/* {"run": the run's input, "needs": {key: output}}. Only for a definition without a template. */
extern Jsonb *millrace_input(Inputs *inputs, int64 run_id, const StepDefinition *definition);

extern void millrace_inputs_close(Inputs *inputs);

#endif							/* MILLRACE_WORK_INPUT_H */
