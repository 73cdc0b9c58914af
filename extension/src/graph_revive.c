/*
 * graph_revive.c
 *		What has to wait again when an operator retries steps.
 *
 * A revived step is not terminal any more. Steps that fell with it are pending
 * again, and so on along counted edges; all of them, and the pending steps
 * they meet, are counted anew from what is terminal then. Retrying is rare, so
 * this looks at all terminal steps of a run.
 */
#include "postgres.h"

#include "arguments.h"
#include "funcapi.h"
#include "graph.h"
#include "millrace.h"
#include "miscadmin.h"

PG_FUNCTION_INFO_V1(millrace_graph_revive);

typedef enum Standing
{
	OPEN,						/* not terminal */
	GOOD,						/* completed */
	FAILED,
	FALLEN						/* skipped or cancelled */
} Standing;

typedef struct Revival
{
	const MillraceGraph *graph;
	uint8	   *before;			/* a Standing for each step */
	uint8	   *after;
	bool	   *revived;
	bool	   *reached;		/* has a need that is open again */
	int32	   *opened;			/* steps whose dependents have yet to be looked at */
	int			opened_count;
} Revival;

static void
read_terminal(Revival *revival, ArrayType *terminal, ArrayType *good)
{
	int			count;
	int			good_count;
	const int32 *def_nos = millrace_arguments_ints(terminal, "terminal", &count);
	const bool *goods = millrace_arguments_bools(good, "good", &good_count);

	millrace_arguments_require_same_length("terminal", count, "good", good_count);
	for (int i = 0; i < count; i++)
		revival->before[millrace_graph_step(revival->graph, def_nos[i], "a terminal step")] =
			goods[i] ? GOOD : FALLEN;
}

static void
read_failed(Revival *revival, ArrayType *failed)
{
	int			count;
	const int32 *def_nos = millrace_arguments_ints(failed, "failed", &count);

	for (int i = 0; i < count; i++)
	{
		int			step = millrace_graph_step(revival->graph, def_nos[i], "a failed step");

		if (revival->before[step] != FALLEN && revival->before[step] != FAILED)
			ereport(ERROR,
					(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
					 errmsg("a failed step must be terminal and not good"),
					 errdetail("Step %d is not.", def_nos[i])));
		revival->before[step] = FAILED;
	}
}

static void
reopen(Revival *revival, int step)
{
	revival->after[step] = OPEN;
	revival->opened[revival->opened_count++] = step;
}

static void
read_revived(Revival *revival, ArrayType *revived)
{
	int			count;
	const int32 *def_nos = millrace_arguments_ints(revived, "revived", &count);

	for (int i = 0; i < count; i++)
	{
		int			step = millrace_graph_step(revival->graph, def_nos[i], "a revived step");

		if (revival->before[step] == OPEN)
			ereport(ERROR,
					(errcode(ERRCODE_MILLRACE_MALFORMED_ARGUMENT),
					 errmsg("a revived step must be terminal"),
					 errdetail("Step %d is not.", def_nos[i])));
		revival->revived[step] = true;
		if (revival->after[step] != OPEN)
			reopen(revival, step);
	}
}

/* A step that starts with the first need that completes does not wait for the others. */
static bool
is_decided(const Revival *revival, int step)
{
	const GraphNeighbours *needs = &revival->graph->needs;

	if (revival->graph->rule[step] < RULE_DECIDES_EARLY)
		return false;
	for (int i = 0; i < needs->counted[step]; i++)
		if (revival->after[needs->items[needs->start[step] + i]] == GOOD)
			return true;
	return false;
}

static void
reopen_dependents(Revival *revival)
{
	const GraphNeighbours *dependents = &revival->graph->dependents;

	while (revival->opened_count > 0)
	{
		int32		step = revival->opened[--revival->opened_count];

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < dependents->counted[step]; i++)
		{
			int32		dependent = dependents->items[dependents->start[step] + i];

			revival->reached[dependent] = true;
			if (revival->after[dependent] == FALLEN && !is_decided(revival, dependent))
				reopen(revival, dependent);
		}
	}
}

static int
count_needs(const Revival *revival, const uint8 *standing, int step, int *bad)
{
	const GraphNeighbours *needs = &revival->graph->needs;
	int			left = 0;

	*bad = 0;
	for (int i = 0; i < needs->counted[step]; i++)
	{
		uint8		need = standing[needs->items[needs->start[step] + i]];

		if (need == OPEN)
			left++;
		else if (need != GOOD)
			(*bad)++;
	}
	return left;
}

/* Whether a step is pending from now on with counters that have changed. */
static bool
must_wait(const Revival *revival, int step, int *left, int *bad)
{
	if (revival->after[step] != OPEN || !(revival->reached[step] || revival->revived[step]))
		return false;

	if (is_decided(revival, step))
		return false;

	/* Open before, with nothing left to wait for: it was decided, and stays so. */
	if (revival->before[step] == OPEN && count_needs(revival, revival->before, step, bad) == 0)
		return false;

	*left = count_needs(revival, revival->after, step, bad);
	return *left > 0;
}

static void
return_waiting(const Revival *revival, ReturnSetInfo *result)
{
	for (int s = 0; s < revival->graph->step_count; s++)
	{
		int			left;
		int			bad;

		if (must_wait(revival, s, &left, &bad))
		{
			Datum		values[] = {Int32GetDatum(s + 1), Int32GetDatum(left), Int32GetDatum(bad)};
			bool		nulls[lengthof(values)] = {0};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
}

Datum
millrace_graph_revive(PG_FUNCTION_ARGS)
{
	Revival		revival = {.graph = millrace_graph_open(PG_GETARG_DATUM(0))};
	int			n = revival.graph->step_count;

	InitMaterializedSRF(fcinfo, 0);
	revival.before = palloc0(sizeof(uint8) * n);
	revival.after = palloc(sizeof(uint8) * n);
	revival.revived = palloc0(sizeof(bool) * n);
	revival.reached = palloc0(sizeof(bool) * n);
	revival.opened = palloc(sizeof(int32) * n);

	read_terminal(&revival, PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3));
	read_failed(&revival, PG_GETARG_ARRAYTYPE_P(4));
	memcpy(revival.after, revival.before, sizeof(uint8) * n);
	read_revived(&revival, PG_GETARG_ARRAYTYPE_P(1));
	reopen_dependents(&revival);
	return_waiting(&revival, (ReturnSetInfo *) fcinfo->resultinfo);
	PG_RETURN_NULL();
}
