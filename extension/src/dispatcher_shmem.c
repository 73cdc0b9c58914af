/*
 * dispatcher_shmem.c
 *		The dispatcher's shared memory: requested and laid out at server start.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "dispatcher.h"
#include "guc.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

DispatcherShared *Dispatcher = NULL;

static shmem_request_hook_type previous_request_hook;
static shmem_startup_hook_type previous_startup_hook;

/* A tenant has a slot while steps of it wait, so most share one among many steps. */
static uint32
tenant_slots(void)
{
	return Max(millrace_dispatcher_entries / 8, 1024);
}

static void
request(void)
{
	if (previous_request_hook)
		previous_request_hook();

	RequestAddinShmemSpace(MAXALIGN(sizeof(DispatcherShared)));
	RequestAddinShmemSpace(millrace_pool_size(millrace_dispatcher_keys, sizeof(Key)));
	RequestAddinShmemSpace(millrace_pool_size(tenant_slots(), sizeof(Tenant)));
	RequestAddinShmemSpace(millrace_pool_size(millrace_dispatcher_entries, sizeof(Entry)));
	RequestNamedLWLockTranche("millrace", 1);
}

static void
startup(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	Dispatcher = ShmemInitStruct("millrace dispatcher", sizeof(DispatcherShared), &found);
	if (!found)
	{
		memset(Dispatcher, 0, sizeof(DispatcherShared));
		Dispatcher->lock = &GetNamedLWLockTranche("millrace")[0].lock;
		millrace_pool_create(&Dispatcher->keys, "millrace keys", millrace_dispatcher_keys, sizeof(Key));
		millrace_pool_create(&Dispatcher->tenants, "millrace tenants", tenant_slots(), sizeof(Tenant));
		millrace_pool_create(&Dispatcher->entries, "millrace entries", millrace_dispatcher_entries, sizeof(Entry));
	}
	LWLockRelease(AddinShmemInitLock);
}

void
millrace_dispatcher_request(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup;
}

/* A standby has nothing to hand out: what it would claim it cannot change. */
bool
millrace_dispatcher_usable(void)
{
	return Dispatcher != NULL && !RecoveryInProgress();
}
