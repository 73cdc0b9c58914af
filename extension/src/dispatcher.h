/*
 * dispatcher.h
 *		The index of ready steps in shared memory, and what it knows of each database.
 *
 * Everything here is protected by one lightweight lock, Dispatcher->lock.
 * Functions that are marked "locked" expect the caller to hold it, exclusively
 * unless said; the others take it. While it is held nothing may raise an
 * error, wait or allocate: what is needed is allocated before. Latches are set
 * after it is released.
 *
 * A lack of room is no error. What finds none stays in the tables: a watermark
 * says from where on, and the keeper refills from there.
 */
#ifndef MILLRACE_DISPATCHER_H
#define MILLRACE_DISPATCHER_H

#include "common/hashfn.h"
#include "datatype/timestamp.h"
#include "heap.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#define MAX_DATABASES 1024
#define MAX_WAKE_QUEUES 64
#define NO_OWNER (-1)

/* A ready step, as it is pushed. */
typedef struct ReadyStep
{
	int64		run_id;
	int32		step_no;
	int32		queue_id;
	int32		handler_id;
	int32		tenant_id;
	float4		weight;			/* the tenant's; 0: whatever it is now */
	float4		rank;
	int16		priority;
} ReadyStep;

/* A queue and a handler of one database. */
typedef struct Key
{
	PoolLink	link;
	Oid			database;
	int32		queue_id;
	int32		handler_id;
	uint32		tenants;		/* root of the heap of those with waiting steps */
	uint32		tenant_count;
	uint32		oldest;			/* list of all entries, in the order of their pushes */
	uint32		newest;
	uint32		depth;			/* entries that wait */
	uint32		popped;			/* entries that are in a transaction's hands */
	uint32		cuts;			/* tenants of whom the tables may hold more */
	bool		low;			/* one of them is to be refilled */
	bool		low_told;		/* and the keeper has been told */
	bool		hungry;			/* an agent has room for more than it got */
	bool		hears;			/* one that listens */
	uint64		hunger;			/* a number of its own each time that it is noted */
	double		served;			/* the pass of the tenant served last */
	int64		pushes;
	int64		pops;
	int64		put_backs;
	int64		dropped;		/* pushes that stayed in the tables, and entries that made room for others */
} Key;

/*
 * Where a tenant's steps stop being here. None that is in the tables alone
 * comes before the watermark in claim order, or in a run before `from_run`, or
 * has a priority past `last_priority`. What is here may lie on either side.
 */
typedef struct Cut
{
	bool		is;
	ReadyStep	watermark;
	int64		from_run;
	int16		last_priority;
} Cut;

/* A tenant with waiting steps under one key, here or in the tables. */
typedef struct Tenant
{
	HeapElement element;
	uint32		key;
	uint32		entries;		/* root of its heap; none: it stands in no heap of tenants either */
	uint32		depth;
	uint32		filled;			/* its depth when it was cut or refilled last */
	int32		tenant_id;
	float4		weight;
	int16		priority;		/* of its first entry */
	double		pass;			/* stride scheduling: the least is served next */
	Cut			cut;
	Cut			refill;			/* while it is refilled: the cut that is being made good */
	bool		satisfied;		/* the refill has nothing more for it */
} Tenant;

/* A step that waits, or that a transaction has popped. */
typedef struct Entry
{
	HeapElement element;
	uint32		key;
	uint32		tenant;			/* while it waits */
	uint32		older;
	uint32		newer;
	Oid			database;
	int			owner;			/* process number of who has popped it, else NO_OWNER */
	bool		pushed_again;	/* while popped: when its owner commits, it waits anew */
	TimestampTz pushed_at;
	ReadyStep	step;
} Entry;

/* A background worker of a database, while it runs. */
typedef struct WorkerSlot
{
	int			pid;
	Latch	   *latch;
} WorkerSlot;

typedef struct Database
{
	Oid			oid;			/* InvalidOid: the slot is free */

	bool		warm;			/* filled from the tables since the server started */
	bool		refilling;
	bool		sweeping;		/* a refill of everything is under way, or has failed */
	bool		needs_sweep;	/* a prepared transaction may have made steps ready */
	bool		prepared;		/* a transaction that pushes is, or may be, prepared */
	uint64		prepares;
	bool		overflowed;		/* steps were dropped that no watermark covers */
	int64		dropped;		/* how many */
	int64		dropped_before;	/* the refill of everything that is under way */
	uint32		hungry_tenants; /* of those that are refilled, whose part of the tables is not read yet */

	bool		always_wake;	/* hunger was not noted for lack of room */
	bool		telling;		/* a transaction that commits tells hungry agents by itself */
	TimestampTz told_at;		/* when the last one did */
	bool		wake_signalled; /* the waker will look without being told again */
	bool		wake_all;
	int			wake_count;
	int32		wake_queues[MAX_WAKE_QUEUES];
	bool		events_wanted;	/* a reader waits for events, or is about to */
	bool		wake_readers;	/* and there are some */

	bool		installed;		/* the keeper has seen the extension */
	bool		attach_wanted;	/* the launcher is to have a keeper look for the extension */
	int			holds;			/* commands that need the database without its workers */
	ConditionVariable worker_gone;
	WorkerSlot	waker;
	WorkerSlot	keeper;

	int64		stale;
	int64		misses;			/* claims that had to look into the tables */
	int64		refills;
	int64		sweeps;
	int64		wakes;
} Database;

typedef struct DispatcherShared
{
	LWLock	   *lock;
	Latch	   *launcher;
	Pool		keys;
	Pool		tenants;
	Pool		entries;
	uint64		hungers;		/* how often hunger has been noted */
	Database	databases[MAX_DATABASES];
} DispatcherShared;

/* Null when the library was not preloaded. */
extern DispatcherShared *Dispatcher;

#define KEYS (&Dispatcher->keys)
#define TENANTS (&Dispatcher->tenants)
#define ENTRIES (&Dispatcher->entries)

static inline Key *
key_at(uint32 index)
{
	return pool_element(KEYS, index);
}

static inline Tenant *
tenant_at(uint32 index)
{
	return pool_element(TENANTS, index);
}

static inline Entry *
entry_at(uint32 index)
{
	return pool_element(ENTRIES, index);
}

static inline uint32
dispatcher_hash(uint32 a, uint32 b, uint32 c, uint32 d)
{
	return hash_combine(hash_combine(murmurhash32(a), murmurhash32(b)),
						hash_combine(murmurhash32(c), murmurhash32(d)));
}

/* What a claim asks for. An id that occurs twice counts once. */
typedef struct PopRequest
{
	const int32 *queue_ids;
	const int32 *handler_ids;
	const int32 *capacities;	/* free slots, by handler */
	int			queue_count;
	int			handler_count;
	int			max_steps;
	bool		hears;			/* the agent listens */
} PopRequest;

/*
 * dispatcher_calls.c, dispatcher_pop.c: what transactions call, from SQL through
 * dispatcher_sql.c or from C. They take the lock. Without the library
 * preloaded, and on a standby, they do nothing.
 */

/* Announces ready steps: published when the transaction has committed, forgotten on (sub)rollback. */
extern void millrace_dispatcher_push_steps(const ReadyStep *steps, int count);

/*
 * Takes the steps to claim next, at most max_steps, for which `popped` has
 * room. They are the transaction's until it ends: a commit forgets them, a
 * (sub)rollback puts them back. Read their rows with a later snapshot. When
 * fewer came out than were asked for, `incomplete` says that the tables may
 * hold others for these queues and handlers.
 */
extern int	millrace_dispatcher_pop_steps(const PopRequest *request, ReadyStep *popped, bool *incomplete);

/* By run and step number: at once, popped steps that this transaction leaves to others; waiting steps taken out. */
extern void millrace_dispatcher_put_back_steps(const int64 *run_ids, const int32 *step_nos, int count);
extern void millrace_dispatcher_remove_steps(const int64 *run_ids, const int32 *step_nos, int count);

/* Whether each step would be claimed before all that wait for its queue and handler. */
extern void millrace_dispatcher_sorts_first_steps(const ReadyStep *steps, int count, bool *first);

/* Steps that start without a pop count as service of their tenants. */
extern void millrace_dispatcher_charge_steps(const ReadyStep *steps, int count);

/* This transaction writes events: when it commits, readers that wait for some are woken. */
extern void millrace_dispatcher_note_events(void);

/* Popped steps that were no longer ready, for statistics. */
extern void millrace_dispatcher_note_stale_steps(int count);

/* dispatcher_shmem.c */
extern void millrace_dispatcher_request(void);
extern bool millrace_dispatcher_usable(void);

/* dispatcher_weight.c: takes no lock, may run a query */
extern float4 millrace_dispatcher_tenant_weight(int32 tenant_id);

/* dispatcher_database.c: locked */
extern Database *millrace_database_find(Oid oid);
extern Database *millrace_database_obtain(Oid oid);
extern Database *millrace_database_mine(void);
extern const Database *millrace_database_known(void);	/* shared is enough */
extern void millrace_database_forget(Database *database);
extern bool millrace_database_may_want_events(void);	/* without the lock */
extern bool millrace_database_flag_readers(Database *database);
extern void millrace_database_flag_wake(Database *database, int32 queue_id);
extern int	millrace_database_take_wakes(Database *database, int32 *queue_ids);
extern Latch *millrace_database_collect_waker(Database *database);

/* dispatcher_tell.c: locked, but for notify, send and is_begun */
extern void millrace_notify_queue(int32 queue_id);
extern bool millrace_tell_may(const Database *database, TimestampTz now);
extern void millrace_tell_note(const ReadyStep *step);
extern void millrace_tell_begin(Database *database, TimestampTz now);
extern void millrace_tell_send(void);
extern bool millrace_tell_is_begun(void);
extern void millrace_tell_end(Database *database, bool committed);

/* dispatcher_order.c: locked */
extern bool millrace_order_step_before(const ReadyStep *a, const ReadyStep *b);
extern uint32 millrace_order_obtain_tenant(Key *key, const ReadyStep *step);
extern uint32 millrace_order_find_tenant(const Key *key, int32 tenant_id);
extern void millrace_order_release_tenant(Key *key, uint32 place);
extern void millrace_order_queue(Key *key, uint32 place, Entry *entry);
extern void millrace_order_unqueue(Key *key, Entry *entry);
extern Entry *millrace_order_head(const Key *key);
extern Entry *millrace_order_serve(Key *key);
extern bool millrace_order_sorts_first(const Key *key, const ReadyStep *step);
extern void millrace_order_charge(Key *key, int32 tenant_id, float4 weight);

/* dispatcher_watermark.c: locked */
extern bool millrace_watermark_is_past(const Tenant *tenant, const ReadyStep *step);
extern void millrace_watermark_cut(Key *key, Tenant *tenant, const ReadyStep *step);
extern bool millrace_watermark_is_low(const Tenant *tenant);
extern bool millrace_watermark_make_room(const Tenant *tenant, const ReadyStep *step);
extern int64 millrace_watermark_missing_from(const Database *database, const Key *key);
extern void millrace_watermark_begin_refill(Tenant *tenant);
extern void millrace_watermark_end_refill(Key *key, uint32 place);

/* dispatcher_index.c: locked */
extern Key *millrace_index_find_key(Oid database, int32 queue_id, int32 handler_id);
extern Key *millrace_index_obtain_key(Oid database, int32 queue_id, int32 handler_id);
extern void millrace_index_note_hunger(Key *key, bool hears);
extern Entry *millrace_index_find(Oid database, int64 run_id, int32 step_no);
extern void millrace_index_push(Database *database, const ReadyStep *step, TimestampTz now, uint32 reserve);
extern void millrace_index_evict(Entry *entry);
extern Entry *millrace_index_pop(Key *key, int owner);
extern void millrace_index_take(Entry *entry, int owner);
extern void millrace_index_give_back(Database *database, Entry *entry, bool wake);
extern void millrace_index_forget(Database *database, Entry *entry);
extern void millrace_index_warm_up(Database *database);
extern void millrace_index_clear(Database *database);

#endif							/* MILLRACE_DISPATCHER_H */
