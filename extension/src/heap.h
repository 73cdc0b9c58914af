/*
 * heap.h
 *		Pairing heaps over the elements of a pool.
 *
 * The server's own pairing heap links by pointers of three words; these links
 * take half the room, of which there is one per waiting step.
 */
#ifndef MILLRACE_HEAP_H
#define MILLRACE_HEAP_H

#include "pool.h"

/* What an element that can stand in a heap begins with. */
typedef struct HeapElement
{
	PoolLink	link;
	uint32		child;			/* the eldest */
	uint32		next;			/* the next younger sibling */
	uint32		previous;		/* the next elder sibling; of the eldest, the parent */
} HeapElement;

typedef bool (*HeapBefore) (const void *a, const void *b);

/* O(1) */
extern void millrace_heap_insert(const Pool *pool, HeapBefore before, uint32 *root, uint32 index);

/* O(log n) amortised, any element */
extern void millrace_heap_remove(const Pool *pool, HeapBefore before, uint32 *root, uint32 index);

#endif							/* MILLRACE_HEAP_H */
