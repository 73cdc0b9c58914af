/*
 * work_report.c
 *		Claims and reports as agents make them all the time: one call of C.
 *
 * On the dispatcher tier, for completions without outputs, of an agent whose
 * lease runs. All else is made of the same parts by claim.sql and report.sql,
 * which also go on where this has to stop: with dependents that only SQL can
 * decide, with steps that only the tables know of, with inputs.
 */
#include "postgres.h"

#include "work.h"

#include "arguments.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "dispatcher.h"
#include "fault.h"
#include "fmgr.h"
#include "guc.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "work_agent.h"
#include "work_answer.h"
#include "work_input.h"
#include "work_receipt.h"

PG_FUNCTION_INFO_V1(millrace_work_claim);
PG_FUNCTION_INFO_V1(millrace_work_report);

/* As long as all candidates turn out stale, there may be more. */
#define MAX_ROUNDS 1000

/* More bytes than a document has as a text, but for such as nobody writes: then the text is a little larger than allowed. */
#define MAX_TEXT_BYTES(document) (2 * (int64) VARSIZE(document))

/* What a call hands out. */
typedef struct HandOut
{
	int64		receipt_no;
	int			count;
	Started    *steps;
	Jsonb	  **inputs;			/* by step; null: it takes none */
	bool		looked;			/* an empty answer means that nothing is claimable */
	bool		plainly;		/* the definitions say all that the agent must know; the receipt is written */
} HandOut;

static int64
draw_receipt_no(void)
{
	return nextval_internal(get_relname_relid("receipt_no_seq", get_namespace_oid("millrace_internal", false)), false);
}

static void
begin_call(Call *call, int16 shard, const AgentCall *agent)
{
	millrace_call_begin(call, shard, agent->frozen, agent->frozen_at);
}

static void
add_started(HandOut *handed, const Started *steps, int count)
{
	if (count == 0)
		return;
	handed->steps = handed->steps ? repalloc(handed->steps, sizeof(Started) * (handed->count + count))
		: palloc(sizeof(Started) * count);
	memcpy(handed->steps + handed->count, steps, sizeof(Started) * count);
	handed->count += count;
}

static void
put_back(const Started *held, int count)
{
	int64	   *run_ids = palloc(sizeof(int64) * count);
	int32	   *step_nos = palloc(sizeof(int32) * count);

	for (int i = 0; i < count; i++)
	{
		run_ids[i] = held[i].run_id;
		step_nos[i] = held[i].step_no;
	}
	millrace_dispatcher_put_back_steps(run_ids, step_nos, count);
}

/* Takes candidates until one can be started. What another call holds goes back at the end: at once, it would come out again. */
static void
start_from_dispatcher(int16 shard, const AgentCall *agent, HandOut *handed)
{
	PopRequest	request = {
		.queue_ids = agent->queues, .queue_count = agent->queue_count,
		.handler_ids = agent->handlers, .handler_count = agent->handler_count,
		.capacities = agent->rooms, .max_steps = agent->max_steps,
		.hears = agent->listening
	};
	ReadyStep  *popped;
	Started    *steps;
	Started    *held = NULL;
	int			held_count = 0;
	int			started_count = 0;

	handed->looked = true;
	if (agent->max_steps == 0 || agent->handler_count == 0)
		return;
	popped = palloc(sizeof(ReadyStep) * agent->max_steps);
	steps = palloc(sizeof(Started) * agent->max_steps);
	for (int round = 0; round < MAX_ROUNDS && started_count == 0; round++)
	{
		Call		call;
		bool		incomplete;
		int			more_held;
		int			count = millrace_dispatcher_pop_steps(&request, popped, &incomplete);

		if (count == 0)
		{
			handed->looked = !incomplete;
			break;
		}
		if (handed->receipt_no == 0)
			handed->receipt_no = draw_receipt_no();
		for (int i = 0; i < count; i++)
			steps[i] = (Started) {.run_id = popped[i].run_id, .step_no = popped[i].step_no};
		held = held ? repalloc(held, sizeof(Started) * (held_count + count)) : palloc(sizeof(Started) * count);
		begin_call(&call, shard, agent);
		millrace_start(&call, agent->agent_id, handed->receipt_no, steps, count, &started_count, held + held_count, &more_held);
		millrace_call_end(&call);
		held_count += more_held;
		MILLRACE_FAULT("started");
	}
	add_started(handed, steps, started_count);
	if (held_count > 0)
		put_back(held, held_count);
}

/* The inputs of those that take one. False: one of them may be too large, by its text. */
static bool
read_inputs(int16 shard, HandOut *handed, int64 *bytes)
{
	Inputs		inputs;
	bool		opened = false;
	bool		fit = true;

	handed->inputs = palloc0(sizeof(Jsonb *) * Max(handed->count, 1));
	for (int i = 0; i < handed->count; i++)
	{
		const Started *step = &handed->steps[i];
		const StepDefinition *definition = millrace_definition(step->version_id, step->step_no);

		if (!definition->takes_input)
			continue;
		if (!opened)
			millrace_inputs_open(&inputs, shard);
		opened = true;
		handed->inputs[i] = millrace_input(&inputs, step->run_id, definition);
		fit &= MAX_TEXT_BYTES(handed->inputs[i]) <= millrace_max_output_bytes;
		*bytes += MAX_TEXT_BYTES(handed->inputs[i]);
	}
	if (opened)
		millrace_inputs_close(&inputs);
	return fit;
}

/*
 * Reads inputs and writes the receipt. Templates, timeouts, batches, and an
 * answer that comes near what is allowed, are for SQL to look at.
 */
static void
hand_out_plainly(int16 shard, const AgentCall *agent, int32 max_bytes, HandOut *handed)
{
	int64		bytes = 0;

	handed->plainly = true;
	millrace_definitions_begin();
	for (int i = 0; i < handed->count; i++)
	{
		const StepDefinition *definition;

		if (is_gained(handed->steps[i].step_no))
		{
			handed->plainly = false;
			break;
		}
		definition = millrace_definition(handed->steps[i].version_id, handed->steps[i].step_no);
		bytes += definition->settings_bytes;
		if ((definition->takes_input && definition->has_template) || definition->fills || definition->has_timeout
			|| definition->batched)
			handed->plainly = false;
	}
	if (handed->plainly)
		handed->plainly = read_inputs(shard, handed, &bytes) && bytes <= max_bytes;
	if (handed->plainly && handed->count > 0)
		millrace_receipt_write(shard, agent->agent_id, handed->receipt_no, handed->steps, handed->count);
}

static void
add_inputs(Answer *answer, const HandOut *handed)
{
	int			count = handed->plainly ? handed->count : 0;
	Datum	   *inputs = palloc(sizeof(Datum) * Max(count, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(count, 1));
	int			lower_bound = 1;

	for (int i = 0; i < count; i++)
	{
		nulls[i] = handed->inputs[i] == NULL;
		inputs[i] = PointerGetDatum(handed->inputs[i]);
	}
	millrace_answer_add(answer, count, PointerGetDatum(construct_md_array(inputs, nulls, 1, &count, &lower_bound,
																		  JSONBOID, -1, false, TYPALIGN_INT)));
}

static void
answer_hand_out(Answer *answer, const HandOut *handed)
{
	millrace_answer_add(answer, handed->receipt_no != 0, Int64GetDatum(handed->receipt_no));
	millrace_answer_add(answer, true, BoolGetDatum(handed->looked));
	millrace_answer_add(answer, true, BoolGetDatum(handed->plainly));
	millrace_answer_started(answer, handed->steps, handed->count);
	add_inputs(answer, handed);
}

static Jsonb *
capacity_argument(FunctionCallInfo fcinfo, int place)
{
	return PG_ARGISNULL(place) ? NULL : PG_GETARG_JSONB_P(place);
}

/* work_claim(in_shard, in_agent_id, max_steps, capacity, max_bytes) */
Datum
millrace_work_claim(PG_FUNCTION_ARGS)
{
	int16		shard = PG_GETARG_INT16(0);
	AgentCall	agent;
	HandOut		handed = {0};
	Answer		answer = {0};

	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2) && !PG_ARGISNULL(4)
		&& millrace_agent_begin(&agent, PG_GETARG_INT32(1), PG_GETARG_INT32(2), capacity_argument(fcinfo, 3)))
	{
		start_from_dispatcher(shard, &agent, &handed);
		hand_out_plainly(shard, &agent, PG_GETARG_INT32(4), &handed);
	}
	answer_hand_out(&answer, &handed);
	return millrace_answer_row(&answer, fcinfo);
}

/* An array of so many elements in one dimension. */
static bool
has_elements(FunctionCallInfo fcinfo, int place, int count)
{
	ArrayType  *array;

	if (PG_ARGISNULL(place))
		return false;
	array = PG_GETARG_ARRAYTYPE_P(place);
	return ARR_NDIM(array) == 1 && ARR_DIMS(array)[0] == count;
}

static bool
all_completed(FunctionCallInfo fcinfo, int place, int count)
{
	static const char completed[] = "completed";
	bool	   *nulls;
	Datum	   *outcomes = millrace_arguments_nullable(fcinfo, place, TEXTOID, count, &nulls);

	for (int i = 0; i < count; i++)
	{
		const text *outcome = nulls[i] ? NULL : DatumGetTextPP(outcomes[i]);

		if (outcome == NULL || VARSIZE_ANY_EXHDR(outcome) != strlen(completed)
			|| memcmp(VARDATA_ANY(outcome), completed, strlen(completed)) != 0)
			return false;
	}
	return true;
}

/* Seconds that somebody can have measured. */
static bool
are_durations(FunctionCallInfo fcinfo, int place, int count)
{
	bool	   *nulls;
	Datum	   *seconds;

	if (PG_ARGISNULL(place))
		return true;
	if (!has_elements(fcinfo, place, count))
		return false;
	seconds = millrace_arguments_nullable(fcinfo, place, FLOAT8OID, count, &nulls);
	for (int i = 0; i < count; i++)
		if (!nulls[i] && !(DatumGetFloat8(seconds[i]) >= 0 && DatumGetFloat8(seconds[i]) <= 1e9))
			return false;
	return true;
}

/* Arguments of work_report. */
enum ReportArgument
{
	REPORT_SHARD, REPORT_AGENT_ID, REPORT_RUN_IDS, REPORT_STEP_NOS, REPORT_TOKENS, REPORT_OUTCOMES, REPORT_OUTPUTS,
	REPORT_ERRORS, REPORT_ELAPSED, REPORT_MAX_STEPS, REPORT_CAPACITY, REPORT_MAX_BYTES
};

/* Whether nothing but completions is reported, without outputs, in arrays of one length. */
static bool
is_plain_report(FunctionCallInfo fcinfo)
{
	int			count;

	if (PG_ARGISNULL(REPORT_AGENT_ID) || PG_ARGISNULL(REPORT_RUN_IDS) || PG_ARGISNULL(REPORT_MAX_STEPS)
		|| PG_ARGISNULL(REPORT_MAX_BYTES) || !PG_ARGISNULL(REPORT_OUTPUTS) || !PG_ARGISNULL(REPORT_ERRORS))
		return false;
	count = ArrayGetNItems(ARR_NDIM(PG_GETARG_ARRAYTYPE_P(REPORT_RUN_IDS)), ARR_DIMS(PG_GETARG_ARRAYTYPE_P(REPORT_RUN_IDS)));
	return count > 0 && count <= MAX_STEPS
		&& has_elements(fcinfo, REPORT_RUN_IDS, count) && has_elements(fcinfo, REPORT_STEP_NOS, count)
		&& has_elements(fcinfo, REPORT_TOKENS, count) && has_elements(fcinfo, REPORT_OUTCOMES, count)
		&& all_completed(fcinfo, REPORT_OUTCOMES, count) && are_durations(fcinfo, REPORT_ELAPSED, count);
}

static void
push_ready(const Hit *ready, int count)
{
	ReadyStep  *steps = palloc(sizeof(ReadyStep) * Max(count, 1));

	for (int i = 0; i < count; i++)
		steps[i] = (ReadyStep) {
			.run_id = ready[i].run_id,
			.step_no = ready[i].def_no,
			.queue_id = ready[i].definition->queue_id,
			.handler_id = ready[i].definition->handler_id,
			.tenant_id = ready[i].tenant_id,
			.rank = ready[i].rank,
			.priority = ready[i].priority,
		};
	if (count > 0)
		millrace_dispatcher_push_steps(steps, count);
}

/* The completions, and all that C decides of what follows. */
static void
complete(FunctionCallInfo fcinfo, int16 shard, AgentCall *agent, Outcome *outcome, HandOut *handed)
{
	Receiver	receiver = {
		.agent_id = agent->agent_id, .accepts = true, .receipt_no = handed->receipt_no, .max_steps = agent->max_steps,
		.queue_count = agent->queue_count, .queues = agent->queues,
		.handler_count = agent->handler_count, .handlers = agent->handlers, .rooms = agent->rooms
	};
	Call		call;
	int			count;
	Completion *completions = millrace_completions_read(fcinfo, REPORT_RUN_IDS, REPORT_ELAPSED, shard, &count);

	begin_call(&call, shard, agent);
	call.silent = true;
	millrace_complete(&call, completions, count, &receiver, outcome);
	push_ready(outcome->ready, outcome->ready_count);
	millrace_call_end(&call);
	MILLRACE_FAULT("handed_over");
	agent->max_steps = receiver.max_steps;
	add_started(handed, outcome->started, outcome->started_count);
}

/*
 * work_report(in_shard, in_agent_id, run_ids, step_nos, tokens, outcomes, outputs, errors, elapsed,
 *			   max_steps, capacity, max_bytes)
 */
Datum
millrace_work_report(PG_FUNCTION_ARGS)
{
	int16		shard = PG_GETARG_INT16(REPORT_SHARD);
	AgentCall	agent;
	HandOut		handed = {0};
	Outcome		outcome = {0};
	Answer		answer = {0};

	if (is_plain_report(fcinfo)
		&& millrace_agent_begin(&agent, PG_GETARG_INT32(REPORT_AGENT_ID), PG_GETARG_INT32(REPORT_MAX_STEPS),
								capacity_argument(fcinfo, REPORT_CAPACITY)))
	{
		handed.receipt_no = draw_receipt_no();
		complete(fcinfo, shard, &agent, &outcome, &handed);
		if (outcome.hits.count == 0 && outcome.ended_count == 0)
		{
			millrace_receipts_settle(shard, agent.agent_id, outcome.receipts, outcome.settled, outcome.receipt_count);
			start_from_dispatcher(shard, &agent, &handed);
			if (handed.looked)
				hand_out_plainly(shard, &agent, PG_GETARG_INT32(REPORT_MAX_BYTES), &handed);
		}
	}
	answer_hand_out(&answer, &handed);
	millrace_answer_left(&answer, &outcome);
	return millrace_answer_row(&answer, fcinfo);
}
