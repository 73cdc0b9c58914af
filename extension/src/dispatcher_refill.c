/*
 * dispatcher_refill.c
 *		A refill from the tables: of everything, or of tenants that are low.
 *
 * The keeper begins it, has SQL read the ready steps of the runs that are
 * alive, in the order of their age and some runs a transaction, and ends it.
 * Transactions go on pushing meanwhile. Whatever becomes ready by a transaction
 * that commits after a statement has taken its snapshot publishes itself; what
 * was ready before is in the snapshot. A step that is claimed meanwhile is
 * pushed all the same, and found stale when popped.
 *
 * A tenant that is refilled loses its watermark first, so what finds no room
 * from then on sets a new one; the old one is kept beside it until the end,
 * and a refill that fails begins anew from both.
 */
#include "postgres.h"

#include "dispatcher_refill.h"
#include "executor/spi.h"
#include "fault.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

/* Tenants that are looked at, and steps that are pushed, in one go, before others get the lock. */
#define TENANTS_AT_ONCE 4096
#define STEPS_AT_ONCE 256

static bool
has_prepared_transactions(void)
{
	if (SPI_execute("SELECT FROM pg_catalog.pg_prepared_xacts x WHERE x.database OPERATOR(pg_catalog.=) pg_catalog.current_database()",
					true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read pg_prepared_xacts");
	return SPI_processed > 0;
}

/* A refill of tenants leaves a part of the room to pushes; beyond that it takes only from longer lines. */
static uint32
reserve(void)
{
	return ENTRIES->capacity / 8;
}

static bool
has_room_for_tenants(void)
{
	return TENANTS->used <= TENANTS->capacity / 8 * 7;
}

RefillNeed
millrace_refill_need(Database *database)
{
	RefillNeed	need = REFILL_NONE;

	LWLockAcquire(Dispatcher->lock, LW_SHARED);
	if (!database->warm || database->needs_sweep || database->sweeping)
		need = REFILL_EVERYTHING;
	else if (database->overflowed && has_room_for_tenants())
		need = REFILL_OVERFLOW;
	else if (database->refilling)
		need = REFILL_TENANTS;
	else
		for (uint32 i = 0; i < KEYS->fresh && need == REFILL_NONE; i++)
			if (key_at(i)->database == database->oid && key_at(i)->low)
				need = REFILL_TENANTS;
	LWLockRelease(Dispatcher->lock);
	return need;
}

/* Calls `visit` for each tenant of the database of whom the tables may hold more, a part of them at a time. */
static void
visit_cut_tenants(const Database *database, void (*visit) (uint32 place, void *argument), void *argument)
{
	uint32		next = 0;
	bool		ended = false;

	while (!ended)
	{
		uint32		end;

		LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
		end = Min(next + TENANTS_AT_ONCE, TENANTS->fresh);
		for (; next < end; next++)
		{
			const Tenant *tenant = tenant_at(next);

			if ((tenant->cut.is || tenant->refill.is) && key_at(tenant->key)->database == database->oid)
				visit(next, argument);
		}
		ended = end == TENANTS->fresh;
		LWLockRelease(Dispatcher->lock);
	}
}

typedef struct Beginning
{
	int64		from_run;
	uint32		tenants;
} Beginning;

static void
begin_tenant(uint32 place, void *argument)
{
	Beginning  *beginning = argument;
	Tenant	   *tenant = tenant_at(place);

	if (!tenant->refill.is && !millrace_watermark_is_low(tenant))
		return;
	millrace_watermark_begin_refill(tenant);
	beginning->from_run = Min(beginning->from_run, tenant->refill.from_run);
	beginning->tenants++;
}

static void
end_tenant(uint32 place, void *argument)
{
	if (tenant_at(place)->refill.is)
		millrace_watermark_end_refill(key_at(tenant_at(place)->key), place);
}

/* From here on a call for a sweep asks for another one, and whatever finds no place for another one too. */
static bool
begin(Database *database, uint64 *prepares)
{
	bool		everything;

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	everything = !database->warm || database->needs_sweep || database->sweeping ||
		(database->overflowed && has_room_for_tenants());
	database->refilling = true;
	if (everything)
	{
		database->sweeping = true;
		database->needs_sweep = false;
		database->dropped_before = database->dropped;
	}
	*prepares = database->prepares;
	for (uint32 i = 0; i < KEYS->fresh; i++)
		if (key_at(i)->database == database->oid)
			key_at(i)->low = key_at(i)->low_told = false;
	LWLockRelease(Dispatcher->lock);
	return everything;
}

/*
 * Whether transactions are still prepared is asked before the tables are read:
 * one that commits in between is seen there. One that is prepared in between
 * changes `prepares`.
 */
int64
millrace_refill_begin(Database *database)
{
	uint64		prepares;
	bool		everything = begin(database, &prepares);
	Beginning	beginning = {.from_run = PG_INT64_MAX};

	visit_cut_tenants(database, begin_tenant, &beginning);
	database->hungry_tenants = beginning.tenants;
	if (!everything)
		return beginning.from_run;

	if (!has_prepared_transactions())
	{
		LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
		if (database->prepares == prepares)
			database->prepared = false;
		LWLockRelease(Dispatcher->lock);
	}
	return 0;
}

void
millrace_refill_end(Database *database)
{
	visit_cut_tenants(database, end_tenant, NULL);

	LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
	if (database->sweeping)
	{
		database->sweeps++;
		database->overflowed = database->dropped > database->dropped_before;
	}
	else
		database->refills++;
	database->refilling = false;
	database->sweeping = false;
	if (!database->warm)
		millrace_index_warm_up(database);
	LWLockRelease(Dispatcher->lock);
}

/* The tenant that this step is read for; null: it is here, or in a part of the tables that is not read now. */
static Tenant *
refilled_tenant(const ReadyStep *step)
{
	const Key  *key = millrace_index_find_key(MyDatabaseId, step->queue_id, step->handler_id);
	uint32		place = key ? millrace_order_find_tenant(key, step->tenant_id) : POOL_NONE;

	return place != POOL_NONE && tenant_at(place)->refill.is ? tenant_at(place) : NULL;
}

/*
 * Steps come in the order of their runs. As long as all that were left out have
 * one priority, that is claim order: where one lies past the new watermark, all
 * later ones do. The watermark is made to cover them.
 */
static void
note_satisfied(Database *database, Tenant *tenant, const ReadyStep *step)
{
	if (tenant->refill.watermark.priority != tenant->refill.last_priority ||
		!millrace_watermark_is_past(tenant, step))
		return;
	millrace_watermark_cut(key_at(tenant->key), tenant, step);
	tenant->satisfied = true;
	database->hungry_tenants--;
}

static void
push(Database *database, const ReadyStep *step, TimestampTz now)
{
	Tenant	   *tenant = refilled_tenant(step);

	if (tenant ? tenant->satisfied : !database->sweeping)
		return;
	millrace_index_push(database, step, now, reserve());
	if (tenant)
		note_satisfied(database, tenant, step);
}

/* What a statement has read as ready, somebody has committed. */
bool
millrace_refill_push(const ReadyStep *steps, int count)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		go_on = false;

	for (int i = 0; i < count || i == 0;)
	{
		int			end = Min(i + STEPS_AT_ONCE, count);
		Database   *database;
		Latch	   *waker = NULL;

		LWLockAcquire(Dispatcher->lock, LW_EXCLUSIVE);
		database = millrace_database_mine();
		if (database && database->refilling)
		{
			for (; i < end; i++)
				push(database, &steps[i], now);
			waker = millrace_database_collect_waker(database);
			go_on = database->sweeping || database->hungry_tenants > 0;
		}
		LWLockRelease(Dispatcher->lock);
		if (waker)
			SetLatch(waker);
		MILLRACE_FAULT("refill");
		if (!go_on || count == 0)
			break;
	}
	return go_on;
}
