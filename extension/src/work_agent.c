/*
 * work_agent.c
 *		Who calls, and what there is room for.
 *
 * The plain case alone. Whatever must be judged or refused is left to
 * agent_get, agent_revive and agent_capacity in SQL, which have the messages.
 */
#include "postgres.h"

#include "work_agent.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "arguments.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "dispatcher.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Bytes of a handler's name, and its end. */
#define NAME_SIZE 201

/* A handler's number, by name. */
typedef struct Handler
{
	char		name[NAME_SIZE];	/* hash key */
	int32		handler_id;
} Handler;

static HTAB *handlers = NULL;
static Oid	handler_table = InvalidOid;

static Relation
open_table(const char *name)
{
	Oid			oid = get_relname_relid(name, get_namespace_oid("millrace_internal", false));

	if (!OidIsValid(oid))
		elog(ERROR, "there is no table millrace_internal.%s", name);
	return table_open(oid, AccessShareLock);
}

static Datum
column(HeapTuple row, Relation relation, const char *name)
{
	bool		is_null;
	Datum		value = heap_getattr(row, get_attnum(RelationGetRelid(relation), name), RelationGetDescr(relation), &is_null);

	if (is_null)
		elog(ERROR, "column %s of table %s is null", name, RelationGetRelationName(relation));
	return value;
}

/* A test's stopped clock; the table is empty in production. */
static bool
read_frozen_clock(TimestampTz *at)
{
	Relation	relation = open_table("frozen_clock");
	SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	HeapTuple	row = systable_getnext(scan);

	if (row)
		*at = DatumGetTimestampTz(column(row, relation, "frozen_at"));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return row != NULL;
}

/* The agent's handlers, registered_count of them; null where its lease is over, or there is no such agent. */
static const int32 *
read_agent(AgentCall *agent, int *registered_count)
{
	Relation	relation = open_table("agent");
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;
	const int32 *registered = NULL;

	ScanKeyInit(&key, get_attnum(RelationGetRelid(relation), "agent_id"), BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(agent->agent_id));
	scan = systable_beginscan(relation, RelationGetPrimaryKeyIndex(relation), true, GetActiveSnapshot(), 1, &key);
	row = systable_getnext(scan);
	if (row && DatumGetTimestampTz(column(row, relation, "lease_expires_at"))
		> (agent->frozen ? agent->frozen_at : GetCurrentTimestamp()))
	{
		agent->queues = millrace_arguments_ints(DatumGetArrayTypePCopy(column(row, relation, "queues")), "queues",
												&agent->queue_count);
		registered = millrace_arguments_ints(DatumGetArrayTypePCopy(column(row, relation, "handlers")), "handlers",
											 registered_count);
		agent->listening = DatumGetBool(column(row, relation, "listening"));
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return registered;
}

/* Numbers start anew only with the table. */
static void
forget(Datum argument, Oid relation)
{
	if (handlers && (relation == handler_table || !OidIsValid(relation)))
	{
		hash_destroy(handlers);
		handlers = NULL;
	}
}

static void
begin_handlers(void)
{
	static bool registered = false;
	HASHCTL		settings = {.keysize = NAME_SIZE, .entrysize = sizeof(Handler)};

	if (!registered)
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
	registered = true;
	handler_table = get_relname_relid("handler", get_namespace_oid("millrace_internal", false));
	handlers = hash_create("millrace handlers", 64, &settings, HASH_ELEM | HASH_STRINGS);
}

/* 0: there is none. */
static int32
read_handler(const char *name)
{
	static SPIPlanPtr plan = NULL;
	Datum		argument = CStringGetTextDatum(name);
	int32		handler_id = 0;
	bool		is_null;

	SPI_connect();
	if (plan == NULL)
	{
		Oid			types[] = {TEXTOID};
		SPIPlanPtr	prepared = SPI_prepare("SELECT h.handler_id FROM millrace_internal.handler h"
										   " WHERE h.name OPERATOR(pg_catalog.=) $1", lengthof(types), types);

		SPI_keepplan(prepared);
		plan = prepared;
	}
	if (SPI_execute_plan(plan, &argument, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look a handler up");
	if (SPI_processed == 1)
		handler_id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	SPI_finish();
	return handler_id;
}

static bool
contains(const int32 *ids, int count, int32 id)
{
	for (int i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* 0: the agent is not registered for it, or it is unknown. What is known and does not fit may be of a transaction that was rolled back. */
static int32
handler_of(const JsonbValue *key, const int32 *registered, int registered_count)
{
	char		name[NAME_SIZE];
	Handler    *known;
	int32		handler_id;

	if (key->val.string.len >= NAME_SIZE)
		return 0;
	memcpy(name, key->val.string.val, key->val.string.len);
	name[key->val.string.len] = '\0';

	known = handlers ? hash_search(handlers, name, HASH_FIND, NULL) : NULL;
	if (known && contains(registered, registered_count, known->handler_id))
		return known->handler_id;
	handler_id = read_handler(name);
	if (!contains(registered, registered_count, handler_id))
		return 0;
	if (handlers == NULL)
		begin_handlers();
	known = hash_search(handlers, name, HASH_ENTER, NULL);
	known->handler_id = handler_id;
	return handler_id;
}

/* A whole number; false where it is none, or too large for one. */
static bool
read_room(const JsonbValue *value, int32 *room)
{
	bool		failed = false;

	if (value->type != jbvNumeric)
		return false;
	*room = numeric_int4_opt_error(value->val.numeric, &failed);
	return !failed && DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(value->val.numeric),
													   NumericGetDatum(int64_to_numeric(*room))));
}

static bool
read_capacity(AgentCall *agent, Jsonb *capacity, const int32 *registered, int registered_count)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	int32		handler_id = 0;
	int32		room;

	if (!JB_ROOT_IS_OBJECT(capacity))
		return false;
	agent->handlers = palloc(sizeof(int32) * Max(JB_ROOT_COUNT(capacity), 1));
	agent->rooms = palloc(sizeof(int32) * Max(JB_ROOT_COUNT(capacity), 1));
	iterator = JsonbIteratorInit(&capacity->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			handler_id = handler_of(&value, registered, registered_count);
			if (handler_id == 0)
				return false;
		}
		else if (token == WJB_VALUE)
		{
			if (!read_room(&value, &room))
				return false;
			if (room <= 0)
				continue;
			agent->handlers[agent->handler_count] = handler_id;
			agent->rooms[agent->handler_count++] = Min(room, agent->max_steps);
		}
	}
	return true;
}

/* Any of its handlers. */
static void
take_all(AgentCall *agent, const int32 *registered, int registered_count)
{
	agent->handler_count = registered_count;
	agent->handlers = palloc(sizeof(int32) * Max(registered_count, 1));
	agent->rooms = palloc(sizeof(int32) * Max(registered_count, 1));
	for (int i = 0; i < registered_count; i++)
	{
		agent->handlers[i] = registered[i];
		agent->rooms[i] = agent->max_steps;
	}
}

bool
millrace_agent_begin(AgentCall *agent, int32 agent_id, int32 max_steps, Jsonb *capacity)
{
	const int32 *registered;
	int			registered_count;

	memset(agent, 0, sizeof(AgentCall));
	if (!millrace_dispatcher_usable() || IsolationUsesXactSnapshot() || max_steps < 0 || max_steps > MAX_STEPS)
		return false;
	agent->agent_id = agent_id;
	agent->max_steps = max_steps;
	agent->frozen = read_frozen_clock(&agent->frozen_at);
	registered = read_agent(agent, &registered_count);
	if (registered == NULL)
		return false;
	if (capacity)
		return read_capacity(agent, capacity, registered, registered_count);
	take_all(agent, registered, registered_count);
	return true;
}
