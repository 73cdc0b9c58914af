/*
 * dispatcher_order.c
 *		Claim order: which of the waiting steps of a key is next.
 *
 * A key (queue and handler) has a heap of tenants, a tenant a heap of entries.
 * Entries are ordered by priority, then older runs, then higher rank. Tenants
 * are ordered by the priority of their first entry, then by their pass: each
 * service moves a tenant's pass on by 1 / weight, and who joins starts one
 * such stride after the tenant served last. Whoever comes back after each
 * service can therefore not go before those who wait.
 */
#include "postgres.h"

#include "dispatcher.h"

bool
millrace_order_step_before(const ReadyStep *a, const ReadyStep *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority;
	if (a->run_id != b->run_id)
		return a->run_id < b->run_id;
	if (a->rank != b->rank)
		return a->rank > b->rank;
	return a->step_no < b->step_no;
}

static bool
entry_before(const void *a, const void *b)
{
	return millrace_order_step_before(&((const Entry *) a)->step, &((const Entry *) b)->step);
}

static bool
tenant_before(const void *left, const void *right)
{
	const Tenant *a = left;
	const Tenant *b = right;

	if (a->priority != b->priority)
		return a->priority < b->priority;
	if (a->pass != b->pass)
		return a->pass < b->pass;
	return a->tenant_id < b->tenant_id;
}

/* Tenants */

static uint32
tenant_hash(uint32 key, int32 tenant_id)
{
	return dispatcher_hash(key, tenant_id, 0, 0);
}

uint32
millrace_order_find_tenant(const Key *key, int32 tenant_id)
{
	uint32		key_index = pool_index(KEYS, key);

	pool_foreach(TENANTS, tenant_hash(key_index, tenant_id), index)
	{
		Tenant	   *tenant = tenant_at(index);

		if (tenant->key == key_index && tenant->tenant_id == tenant_id)
			return index;
	}
	return POOL_NONE;
}

/* The tenant of this step under its key, or POOL_NONE where there is no room for a new one. */
uint32
millrace_order_obtain_tenant(Key *key, const ReadyStep *step)
{
	uint32		index = millrace_order_find_tenant(key, step->tenant_id);
	Tenant	   *tenant;

	if (index != POOL_NONE)
		return index;
	index = millrace_pool_allocate(TENANTS, tenant_hash(pool_index(KEYS, key), step->tenant_id));
	if (index == POOL_NONE)
		return POOL_NONE;

	tenant = tenant_at(index);
	tenant->key = pool_index(KEYS, key);
	tenant->tenant_id = step->tenant_id;
	tenant->weight = step->weight;
	tenant->entries = POOL_NONE;
	key->tenant_count++;
	return index;
}

/* Forgets a tenant of whom nothing waits, here or in the tables. */
void
millrace_order_release_tenant(Key *key, uint32 place)
{
	const Tenant *tenant = tenant_at(place);

	if (tenant->entries != POOL_NONE || tenant->cut.is || tenant->refill.is)
		return;
	millrace_pool_free(TENANTS, place);
	key->tenant_count--;
}

static double
stride(float4 weight)
{
	return 1.0 / weight;
}

/* The tenant's place among the others follows its first entry and its pass. */
static void
place_tenant(Key *key, uint32 index)
{
	Tenant	   *tenant = tenant_at(index);

	tenant->priority = entry_at(tenant->entries)->step.priority;
	millrace_heap_insert(TENANTS, tenant_before, &key->tenants, index);
}

static void
displace_tenant(Key *key, uint32 index)
{
	millrace_heap_remove(TENANTS, tenant_before, &key->tenants, index);
}

/* Waiting entries */

/* Lets an entry wait in its tenant's line. */
void
millrace_order_queue(Key *key, uint32 place, Entry *entry)
{
	Tenant	   *tenant = tenant_at(place);
	bool		joins = tenant->entries == POOL_NONE;
	/* the usual case: the tenant stays where it is */
	bool		stays = !joins && entry->step.priority >= tenant->priority && tenant->weight == entry->step.weight;

	if (!joins && !stays)
		displace_tenant(key, place);
	tenant->weight = entry->step.weight;
	if (joins)
		tenant->pass = Max(tenant->pass, key->served + stride(tenant->weight));
	millrace_heap_insert(ENTRIES, entry_before, &tenant->entries, pool_index(ENTRIES, entry));
	if (!stays)
		place_tenant(key, place);
	entry->tenant = place;
	tenant->depth++;
	key->depth++;
}

void
millrace_order_unqueue(Key *key, Entry *entry)
{
	uint32		place = entry->tenant;
	Tenant	   *tenant = tenant_at(place);

	displace_tenant(key, place);
	millrace_heap_remove(ENTRIES, entry_before, &tenant->entries, pool_index(ENTRIES, entry));
	entry->tenant = POOL_NONE;
	tenant->depth--;
	key->depth--;
	key->low = key->low || millrace_watermark_is_low(tenant);
	if (tenant->entries != POOL_NONE)
		place_tenant(key, place);
	else
		millrace_order_release_tenant(key, place);
}

Entry *
millrace_order_head(const Key *key)
{
	if (key->tenants == POOL_NONE)
		return NULL;
	return entry_at(tenant_at(key->tenants)->entries);
}

/* Takes the head out, as service of its tenant. */
Entry *
millrace_order_serve(Key *key)
{
	Entry	   *entry = millrace_order_head(key);
	Tenant	   *tenant = tenant_at(entry->tenant);

	/* the tenant is placed anew, by this pass, when the entry has left */
	key->served = tenant->pass;
	tenant->pass += stride(tenant->weight);
	millrace_order_unqueue(key, entry);
	return entry;
}

/* Steps that are handed over without a push */

bool
millrace_order_sorts_first(const Key *key, const ReadyStep *step)
{
	const Tenant *next;
	uint32		own;
	double		pass;

	if (key == NULL || key->tenants == POOL_NONE)
		return true;
	next = tenant_at(key->tenants);
	if (step->priority != next->priority)
		return step->priority < next->priority;
	if (step->tenant_id == next->tenant_id)
		return millrace_order_step_before(step, &millrace_order_head(key)->step);

	/* another tenant's turn is next, unless this one has had less; at a tie, who waits goes first */
	own = millrace_order_find_tenant(key, step->tenant_id);
	pass = own != POOL_NONE ? tenant_at(own)->pass : key->served + stride(1);
	return pass < next->pass;
}

/* A tenant that does not wait leaves its service with the key: who joins starts after it. */
void
millrace_order_charge(Key *key, int32 tenant_id, float4 weight)
{
	uint32		own = millrace_order_find_tenant(key, tenant_id);

	if (own == POOL_NONE || tenant_at(own)->entries == POOL_NONE)
		key->served += stride(weight);
	else
	{
		displace_tenant(key, own);
		tenant_at(own)->pass += stride(weight);
		place_tenant(key, own);
	}
}
