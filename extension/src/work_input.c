/*
 * work_input.c
 *		Inputs of steps that take all that is there: what input_context() has.
 */
#include "postgres.h"

#include "work_input.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "utils/snapmgr.h"

/* With a look at the tables as they are now. */
void
millrace_inputs_open(Inputs *inputs, int16 shard)
{
	inputs->shard = shard;
	inputs->estate = CreateExecutorState();
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	millrace_table_open(&inputs->run_input, &RunInputTable, inputs->estate);
	millrace_table_open(&inputs->output, &OutputTable, inputs->estate);
}

void
millrace_inputs_close(Inputs *inputs)
{
	millrace_table_close(&inputs->run_input);
	millrace_table_close(&inputs->output);
	PopActiveSnapshot();
	FreeExecutorState(inputs->estate);
}

static void
push_key(JsonbParseState **state, const char *name, int length)
{
	JsonbValue	key = {.type = jbvString, .val.string = {.len = length, .val = (char *) name}};

	(void) pushJsonbValue(state, WJB_KEY, &key);
}

/* A copy of a stored value, which may be a scalar. */
static void
push_value(JsonbParseState **state, Datum stored)
{
	Jsonb	   *document = DatumGetJsonbPCopy(stored);
	JsonbValue	value;

	if (JB_ROOT_IS_SCALAR(document))
		(void) JsonbExtractScalar(&document->root, &value);
	else
		JsonbToJsonbValue(document, &value);
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_run(JsonbParseState **state, Inputs *inputs, int64 run_id)
{
	Leaf	   *leaf = millrace_table_leaf(&inputs->run_input, run_id);
	JsonbValue	null = {.type = jbvNull};

	push_key(state, "run", strlen("run"));
	if (leaf && millrace_leaf_find_run(leaf, run_id, inputs->shard))
		push_value(state, found_datum(leaf, RUN_INPUT_INPUT));
	else
		(void) pushJsonbValue(state, WJB_VALUE, &null);
}

static void
push_needs(JsonbParseState **state, Inputs *inputs, int64 run_id, const StepDefinition *definition)
{
	Leaf	   *leaf = definition->declared_count > 0 ? millrace_table_leaf(&inputs->output, run_id) : NULL;

	push_key(state, "needs", strlen("needs"));
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; leaf && i < definition->declared_count; i++)
	{
		const StepDefinition *need;

		if (!millrace_leaf_find_step(leaf, run_id, definition->declared[i], inputs->shard))
			continue;
		need = millrace_definition(definition->version_id, definition->declared[i]);
		push_key(state, VARDATA_ANY(DatumGetPointer(need->key)), VARSIZE_ANY_EXHDR(DatumGetPointer(need->key)));
		push_value(state, found_datum(leaf, OUTPUT_OUTPUT));
	}
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

Jsonb *
millrace_input(Inputs *inputs, int64 run_id, const StepDefinition *definition)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_run(&state, inputs, run_id);
	push_needs(&state, inputs, run_id, definition);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
