/*
 * heap.c
 *		Pairing heaps over the elements of a pool.
 */
#include "postgres.h"

#include "heap.h"

static inline HeapElement *
element(const Pool *pool, uint32 index)
{
	return pool_element(pool, index);
}

/* Two roots become one: the later becomes the eldest child of the earlier. */
static uint32
merge(const Pool *pool, HeapBefore before, uint32 a, uint32 b)
{
	HeapElement *parent;
	HeapElement *child;

	if (a == POOL_NONE)
		return b;
	if (b == POOL_NONE)
		return a;
	if (before(element(pool, b), element(pool, a)))
	{
		uint32		swap = a;

		a = b;
		b = swap;
	}

	parent = element(pool, a);
	child = element(pool, b);
	child->next = parent->child;
	child->previous = a;
	if (parent->child != POOL_NONE)
		element(pool, parent->child)->previous = b;
	parent->child = b;
	return a;
}

/* Makes one root of a list of siblings: pairs from left to right, then all of them from right to left. */
static uint32
merge_siblings(const Pool *pool, HeapBefore before, uint32 first)
{
	uint32		pairs = POOL_NONE;	/* the last one first */
	uint32		root = POOL_NONE;

	while (first != POOL_NONE)
	{
		uint32		second = element(pool, first)->next;
		uint32		rest = second == POOL_NONE ? POOL_NONE : element(pool, second)->next;
		uint32		pair = merge(pool, before, first, second);

		element(pool, pair)->next = pairs;
		pairs = pair;
		first = rest;
	}
	while (pairs != POOL_NONE)
	{
		uint32		rest = element(pool, pairs)->next;

		root = merge(pool, before, root, pairs);
		pairs = rest;
	}
	if (root != POOL_NONE)
	{
		element(pool, root)->next = POOL_NONE;
		element(pool, root)->previous = POOL_NONE;
	}
	return root;
}

void
millrace_heap_insert(const Pool *pool, HeapBefore before, uint32 *root, uint32 index)
{
	HeapElement *self = element(pool, index);

	self->child = POOL_NONE;
	self->next = POOL_NONE;
	self->previous = POOL_NONE;
	*root = merge(pool, before, *root, index);
}

void
millrace_heap_remove(const Pool *pool, HeapBefore before, uint32 *root, uint32 index)
{
	HeapElement *self = element(pool, index);
	uint32		orphans = merge_siblings(pool, before, self->child);

	if (*root == index)
	{
		*root = orphans;
		return;
	}
	if (element(pool, self->previous)->child == index)
		element(pool, self->previous)->child = self->next;
	else
		element(pool, self->previous)->next = self->next;
	if (self->next != POOL_NONE)
		element(pool, self->next)->previous = self->previous;

	*root = merge(pool, before, *root, orphans);
}
