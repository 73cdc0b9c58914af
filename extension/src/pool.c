/*
 * pool.c
 *		A fixed number of elements in shared memory, found by hash.
 *
 * The server's own hash tables would allocate each element by themselves;
 * here the elements are linked into heaps and lists as well, by index.
 */
#include "postgres.h"

#include "pool.h"
#include "port/pg_bitutils.h"
#include "storage/shmem.h"

static uint32
bucket_count(uint32 capacity)
{
	return pg_nextpower2_32(capacity);
}

static Size
buckets_size(uint32 capacity)
{
	return MAXALIGN(mul_size(bucket_count(capacity), sizeof(uint32)));
}

Size
millrace_pool_size(uint32 capacity, Size element_size)
{
	return add_size(buckets_size(capacity), mul_size(capacity, element_size));
}

void
millrace_pool_create(Pool *pool, const char *name, uint32 capacity, Size element_size)
{
	bool		found;
	char	   *memory = ShmemInitStruct(name, millrace_pool_size(capacity, element_size), &found);

	pool->buckets = (uint32 *) memory;
	pool->elements = memory + buckets_size(capacity);
	pool->element_size = element_size;
	pool->capacity = capacity;
	pool->bucket_mask = bucket_count(capacity) - 1;
	pool->used = 0;
	pool->fresh = 0;
	pool->free = POOL_NONE;
	memset(pool->buckets, 0xff, bucket_count(capacity) * sizeof(uint32));
}

uint32
millrace_pool_allocate(Pool *pool, uint32 hash)
{
	uint32		index = pool->free;
	PoolLink   *link;
	uint32	   *bucket = &pool->buckets[hash & pool->bucket_mask];

	if (index != POOL_NONE)
		pool->free = ((PoolLink *) pool_element(pool, index))->next;
	else if (pool->fresh < pool->capacity)
		index = pool->fresh++;
	else
		return POOL_NONE;

	link = pool_element(pool, index);
	memset(link, 0, pool->element_size);
	link->hash = hash;
	link->next = *bucket;
	*bucket = index;
	pool->used++;
	return index;
}

void
millrace_pool_free(Pool *pool, uint32 index)
{
	PoolLink   *link = pool_element(pool, index);
	uint32	   *place = &pool->buckets[link->hash & pool->bucket_mask];

	while (*place != index)
		place = &((PoolLink *) pool_element(pool, *place))->next;
	*place = link->next;

	memset(link, 0, pool->element_size);
	link->next = pool->free;
	pool->free = index;
	pool->used--;
}
