/*
 * dispatcher_watermark.c
 *		What does not fit: which steps stay in the tables, and how it is known.
 *
 * A tenant of whom a step was left out under a key is cut there: from its
 * watermark on, in claim order, steps may be in the tables alone. Before it,
 * all that are ready are here, so pops are exact until they reach it. A tenant
 * is refilled before that: when half of what it had is gone.
 *
 * When the pool is full somebody has to make room. To find the last step of
 * the longest line would take an order from the other end as well, at a cost
 * to every push; a few entries drawn by lot stand for all instead. The last
 * drawn of the longest line drawn is, of a line of n, about the (n/16)-th from
 * its end. Those past their watermark go first: they are found by a refill anyway.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "dispatcher.h"

#define DRAWN 16

static bool
lies_past(const Cut *cut, const ReadyStep *step)
{
	return cut->is && !millrace_order_step_before(step, &cut->watermark);
}

bool
millrace_watermark_is_past(const Tenant *tenant, const ReadyStep *step)
{
	return lies_past(&tenant->cut, step);
}

/* Widens the cut, so that it covers this step. */
static void
cover(Cut *cut, const ReadyStep *step, int64 from_run, int16 last_priority)
{
	if (!cut->is)
		*cut = (Cut) {.is = true, .watermark = *step, .from_run = from_run, .last_priority = last_priority};
	else
	{
		if (millrace_order_step_before(step, &cut->watermark))
			cut->watermark = *step;
		cut->from_run = Min(cut->from_run, from_run);
		cut->last_priority = Max(cut->last_priority, last_priority);
	}
}

/* The step is, from now on, in the tables alone. */
void
millrace_watermark_cut(Key *key, Tenant *tenant, const ReadyStep *step)
{
	if (!tenant->cut.is)
	{
		tenant->filled = tenant->depth;
		if (!tenant->refill.is)
			key->cuts++;
	}
	cover(&tenant->cut, step, step->run_id, step->priority);
	key->low = key->low || millrace_watermark_is_low(tenant);
}

/* Half of it is gone, or all that comes before the watermark. */
bool
millrace_watermark_is_low(const Tenant *tenant)
{
	return tenant->cut.is &&
		(tenant->depth <= tenant->filled / 2 ||
		 lies_past(&tenant->cut, &entry_at(tenant->entries)->step));
}

static void
evict(Entry *entry)
{
	Key		   *key = key_at(entry->key);

	millrace_watermark_cut(key, tenant_at(entry->tenant), &entry->step);
	millrace_index_evict(entry);
	key->dropped++;
}

/* True when there is room now for a step of that tenant. False when it is the one to stay out. */
bool
millrace_watermark_make_room(const Tenant *tenant, const ReadyStep *step)
{
	Entry	   *last = NULL;
	bool		evicted = false;

	for (int i = 0; i < DRAWN; i++)
	{
		Entry	   *entry = entry_at(pg_prng_uint64_range(&pg_global_prng_state, 0, ENTRIES->fresh - 1));
		const Tenant *owner;

		if (!OidIsValid(entry->database) || entry->owner != NO_OWNER)
			continue;
		owner = tenant_at(entry->tenant);
		if (lies_past(&owner->cut, &entry->step))
		{
			evict(entry);
			evicted = true;
		}
		else if (last == NULL || owner->depth > tenant_at(last->tenant)->depth ||
				 (entry->tenant == last->tenant && millrace_order_step_before(&last->step, &entry->step)))
			last = entry;
	}
	if (evicted)
		return true;
	if (last == NULL)
		return false;
	if (tenant_at(last->tenant) == tenant ? millrace_order_step_before(&last->step, step) :
		tenant_at(last->tenant)->depth <= tenant->depth)
		return false;
	evict(last);
	return true;
}

/*
 * From which run on the tables may hold steps of this key that are not here;
 * PG_INT64_MAX: none. Looks at all tenants where there is one to find: who
 * asks has found nothing here.
 */
int64
millrace_watermark_missing_from(const Database *database, const Key *key)
{
	int64		from = PG_INT64_MAX;
	uint32		left = key ? key->cuts : 0;

	if (!database->warm || database->overflowed)
		return 0;
	for (uint32 i = 0; i < TENANTS->fresh && left > 0; i++)
	{
		const Tenant *tenant = tenant_at(i);

		if (!(tenant->cut.is || tenant->refill.is) || tenant->key != pool_index(KEYS, key))
			continue;
		if (tenant->cut.is)
			from = Min(from, tenant->cut.from_run);
		if (tenant->refill.is)
			from = Min(from, tenant->refill.from_run);
		left--;
	}
	return from;
}

/* From here on its pushes are kept as long as there is room, and a new watermark is set where there is none. */
void
millrace_watermark_begin_refill(Tenant *tenant)
{
	if (tenant->cut.is)
		cover(&tenant->refill, &tenant->cut.watermark, tenant->cut.from_run, tenant->cut.last_priority);
	tenant->cut.is = false;
	tenant->satisfied = false;
}

/* The tables have been read from the old watermark on, to their end or to the new one. */
void
millrace_watermark_end_refill(Key *key, uint32 place)
{
	Tenant	   *tenant = tenant_at(place);

	tenant->refill.is = false;
	tenant->filled = tenant->depth;
	if (!tenant->cut.is)
	{
		key->cuts--;
		millrace_order_release_tenant(key, place);
	}
}
