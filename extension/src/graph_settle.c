/*
 * graph_settle.c
 *		What follows when steps have become terminal: counters of the steps
 *		that wait for them, and what those counters decide.
 *
 * Only what is reached is touched, so that a report costs the same in a run of
 * ten steps and of a hundred thousand. The order in which terminal steps are
 * looked at does not matter: a step is decided when its last need is.
 */
#include "postgres.h"

#include "arguments.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "graph.h"
#include "millrace.h"
#include "miscadmin.h"

PG_FUNCTION_INFO_V1(millrace_graph_settle);

typedef enum Decision
{
	WAITS, READY, SKIPPED
} Decision;

typedef struct Waiting
{
	int32		step;			/* hash key */
	char		status;			/* of the hash table's slot */
	bool		settled;		/* given as terminal */
	bool		known;			/* given with its counters */
	bool		reached;
	Decision	decision;
	int32		left;
	int32		bad;
} Waiting;

#define SH_PREFIX waiting
#define SH_ELEMENT_TYPE Waiting
#define SH_KEY_TYPE int32
#define SH_KEY step
#define SH_HASH_KEY(table, key) murmurhash32((uint32) key)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct Settlement
{
	const MillraceGraph *graph;
	waiting_hash *steps;
	int32	   *pending;		/* terminal steps to look at, each once: negated minus one if not good */
	int			pending_count;
	int			pending_room;
} Settlement;

static Waiting *
find_or_add(Settlement *settlement, int step)
{
	bool		found;
	Waiting    *waiting = waiting_insert(settlement->steps, step, &found);

	if (!found)
	{
		waiting->settled = waiting->known = waiting->reached = false;
		waiting->decision = WAITS;
		waiting->left = settlement->graph->needs.counted[step];
		waiting->bad = 0;
	}
	return waiting;
}

static void
reject_twice(const char *name, int step)
{
	ereport(ERROR,
			(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
			 errmsg("%s must name each step once", name),
			 errdetail("Step %d is named twice.", step + 1)));
}

static void
add_pending(Settlement *settlement, int step, bool good)
{
	if (settlement->pending_count == settlement->pending_room)
	{
		settlement->pending_room *= 2;
		settlement->pending = repalloc(settlement->pending, sizeof(int32) * settlement->pending_room);
	}
	settlement->pending[settlement->pending_count++] = good ? step : -step - 1;
}

static void
add_settled(Settlement *settlement, ArrayType *settled, ArrayType *good)
{
	int			count;
	int			good_count;
	const int32 *def_nos = millrace_arguments_ints(settled, "settled", &count);
	const bool *goods = millrace_arguments_bools(good, "good", &good_count);

	millrace_arguments_require_same_length("settled", count, "good", good_count);
	for (int i = 0; i < count; i++)
	{
		int			step = millrace_graph_step(settlement->graph, def_nos[i], "a settled step");
		Waiting    *waiting = find_or_add(settlement, step);

		if (waiting->settled)
			reject_twice("settled", step);
		waiting->settled = true;
		add_pending(settlement, step, goods[i]);
	}
}

static void
add_known(Settlement *settlement, ArrayType *known, ArrayType *known_left, ArrayType *known_bad)
{
	int			count;
	int			left_count;
	int			bad_count;
	const int32 *def_nos = millrace_arguments_ints(known, "known", &count);
	const int32 *left = millrace_arguments_ints(known_left, "known_left", &left_count);
	const int32 *bad = millrace_arguments_ints(known_bad, "known_bad", &bad_count);

	millrace_arguments_require_same_length("known", count, "known_left", left_count);
	millrace_arguments_require_same_length("known", count, "known_bad", bad_count);
	for (int i = 0; i < count; i++)
	{
		int			step = millrace_graph_step(settlement->graph, def_nos[i], "a known step");
		Waiting    *waiting = find_or_add(settlement, step);

		if (waiting->known)
			reject_twice("known", step);
		if (left[i] < 0 || bad[i] < 0)
			ereport(ERROR,
					(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
					 errmsg("counters of a step must not be negative"),
					 errdetail("Step %d has %d needs left and %d bad.", def_nos[i], left[i], bad[i])));
		waiting->known = true;
		waiting->left = left[i];
		waiting->bad = bad[i];
	}
}

/* One need of a waiting step has become terminal. */
static void
count_down(Settlement *settlement, int step, bool good)
{
	Waiting    *waiting = find_or_add(settlement, step);

	/* Terminal itself, or decided by a rule that did not wait for this need. */
	if (waiting->settled || waiting->left == 0)
		return;

	waiting->reached = true;
	waiting->left--;
	if (!good)
		waiting->bad++;
	if (waiting->left > 0)
		return;

	if (settlement->graph->rule[step] == RULE_ALL_COMPLETED && waiting->bad > 0)
	{
		waiting->decision = SKIPPED;
		add_pending(settlement, step, false);
	}
	else
		waiting->decision = READY;
}

static void
settle(Settlement *settlement)
{
	const GraphNeighbours *dependents = &settlement->graph->dependents;

	while (settlement->pending_count > 0)
	{
		int32		next = settlement->pending[--settlement->pending_count];
		bool		good = next >= 0;
		int			step = good ? next : -next - 1;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < dependents->counted[step]; i++)
			count_down(settlement, dependents->items[dependents->start[step] + i], good);
	}
}

static int
compare_waiting(const void *a, const void *b)
{
	int32		x = (*(Waiting *const *) a)->step;
	int32		y = (*(Waiting *const *) b)->step;

	return (x > y) - (x < y);
}

static void
return_reached(Settlement *settlement, ReturnSetInfo *result)
{
	Waiting   **reached = palloc(sizeof(Waiting *) * Max(settlement->steps->members, 1));
	int			count = 0;
	waiting_iterator iterator;
	Waiting    *waiting;

	waiting_start_iterate(settlement->steps, &iterator);
	while ((waiting = waiting_iterate(settlement->steps, &iterator)) != NULL)
		if (waiting->reached)
			reached[count++] = waiting;
	qsort(reached, count, sizeof(Waiting *), compare_waiting);

	for (int i = 0; i < count; i++)
	{
		Datum		values[] = {
			Int32GetDatum(reached[i]->step + 1),
			Int32GetDatum(reached[i]->left),
			Int32GetDatum(reached[i]->bad),
			Int16GetDatum(reached[i]->decision)
		};
		bool		nulls[lengthof(values)] = {0};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

Datum
millrace_graph_settle(PG_FUNCTION_ARGS)
{
	Settlement	settlement = {.graph = millrace_graph_open(PG_GETARG_DATUM(0)), .pending_room = 64};

	InitMaterializedSRF(fcinfo, 0);
	settlement.steps = waiting_create(CurrentMemoryContext, 64, NULL);
	settlement.pending = palloc(sizeof(int32) * settlement.pending_room);

	add_settled(&settlement, PG_GETARG_ARRAYTYPE_P(1), PG_GETARG_ARRAYTYPE_P(2));
	add_known(&settlement, PG_GETARG_ARRAYTYPE_P(3), PG_GETARG_ARRAYTYPE_P(4), PG_GETARG_ARRAYTYPE_P(5));
	settle(&settlement);
	return_reached(&settlement, (ReturnSetInfo *) fcinfo->resultinfo);
	PG_RETURN_NULL();
}
