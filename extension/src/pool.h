/*
 * pool.h
 *		A fixed number of elements in shared memory, found by hash.
 *
 * Elements are named by their index, so that a link costs four bytes. They
 * begin with a PoolLink; what else they hold is their owner's business, who
 * also holds the lock.
 */
#ifndef MILLRACE_POOL_H
#define MILLRACE_POOL_H

#define POOL_NONE PG_UINT32_MAX

typedef struct PoolLink
{
	uint32		next;			/* of the same bucket, or the next free one */
	uint32		hash;
} PoolLink;

typedef struct Pool
{
	char	   *elements;
	uint32	   *buckets;
	Size		element_size;
	uint32		capacity;
	uint32		bucket_mask;
	uint32		used;
	uint32		fresh;			/* elements from here on were never used */
	uint32		free;			/* list of those that were */
} Pool;

extern Size millrace_pool_size(uint32 capacity, Size element_size);
extern void millrace_pool_create(Pool *pool, const char *name, uint32 capacity, Size element_size);

/* An element linked under that hash, or POOL_NONE when all are in use. */
extern uint32 millrace_pool_allocate(Pool *pool, uint32 hash);
extern void millrace_pool_free(Pool *pool, uint32 index);

static inline void *
pool_element(const Pool *pool, uint32 index)
{
	return pool->elements + index * pool->element_size;
}

static inline uint32
pool_index(const Pool *pool, const void *element)
{
	return ((const char *) element - pool->elements) / pool->element_size;
}

/* The elements of a bucket: compare each, for other hashes share it. */
#define pool_foreach(pool, wanted_hash, index) \
	for (uint32 index = (pool)->buckets[(wanted_hash) & (pool)->bucket_mask]; \
		 index != POOL_NONE; \
		 index = ((PoolLink *) pool_element(pool, index))->next)

#endif							/* MILLRACE_POOL_H */
