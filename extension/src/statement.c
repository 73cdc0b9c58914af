/*
 * statement.c
 *		One SQL statement of a workflow, with the rights of the role that defined it.
 *
 * What the role may not do by itself, the statement may not do either: the
 * user is switched as for a security-definer function, in a restricted
 * operation, so that nothing the statement leaves behind (deferred triggers,
 * temporary objects, settings) runs later with the rights of somebody else.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "guc.h"
#include "lib/stringinfo.h"
#include "millrace.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/plancache.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(millrace_statement_execute_as);
PG_FUNCTION_INFO_V1(millrace_statement_check);

#define FETCH_ROWS 64

/* What to return to. After an error the (sub)transaction's end restores all of it. */
typedef struct RoleScope
{
	Oid			user;
	int			security_context;
	int			guc_level;
} RoleScope;

static RoleScope
enter_role(Oid role, const char *search_path)
{
	RoleScope	outer;

	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_STATEMENT_REFUSED),
				 errmsg("the role that defined this SQL statement does not exist any more"),
				 errdetail("Its OID was %u.", role),
				 errhint("Define the workflow again as a role that exists.")));

	GetUserIdAndSecContext(&outer.user, &outer.security_context);
	SetUserIdAndSecContext(role, outer.security_context |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	outer.guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", search_path, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return outer;
}

static void
leave_role(RoleScope outer)
{
	AtEOXact_GUC(false, outer.guc_level);
	SetUserIdAndSecContext(outer.user, outer.security_context);
}

/*
 * A deferred trigger would fire when the role is left, and is therefore an
 * error in a restricted operation. Immediate, it fires with the statement.
 */
static void
make_constraints_immediate(void)
{
	ConstraintsSetStmt *all = makeNode(ConstraintsSetStmt);

	all->deferred = false;
	AfterTriggerSetState(all);
}

/* Statements about the session or the transaction would act on the agent's, not on data. */
static bool
is_about_the_session(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_TransactionStmt:
		case T_PrepareStmt:
		case T_ExecuteStmt:
		case T_DeallocateStmt:
		case T_DeclareCursorStmt:
		case T_FetchStmt:
		case T_ClosePortalStmt:
		case T_ListenStmt:
		case T_UnlistenStmt:
		case T_VariableSetStmt:
		case T_ConstraintsSetStmt:
		case T_DiscardStmt:
		case T_LoadStmt:
			return true;
		case T_CopyStmt:
			/* without a file or program it speaks to the client */
			return castNode(CopyStmt, statement)->filename == NULL;
		default:
			return false;
	}
}

static void
refuse(const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_MILLRACE_STATEMENT_REFUSED),
			 errmsg("a step's SQL must be one statement on data"),
			 errdetail_internal("%s", reason),
			 errhint("Put several statements into a function, or into several steps.")));
}

/* Parses and analyses: names are resolved with the role's rights and search_path. */
static SPIPlanPtr
prepare(const char *statement)
{
	Oid			types[] = {JSONBOID};
	SPIPlanPtr	plan = SPI_prepare(statement, lengthof(types), types);
	List	   *sources;
	CachedPlanSource *source;

	if (plan == NULL)
		refuse(SPI_result_code_string(SPI_result));

	sources = SPI_plan_get_plan_sources(plan);
	if (list_length(sources) != 1)
		refuse(psprintf("It holds %d statements.", list_length(sources)));

	source = linitial(sources);
	if (is_about_the_session(source->raw_parse_tree->stmt))
		refuse(psprintf("%s is not allowed.", GetCommandTagName(source->commandTag)));
	return plan;
}

/* Rows as a list of JSON texts, and how many they are. */
typedef struct JsonRows
{
	StringInfoData text;
	uint64		count;
} JsonRows;

static void
append_row(JsonRows *rows, HeapTuple tuple, TupleDesc type)
{
	Datum		row = heap_copy_tuple_as_datum(tuple, type);
	text	   *json = DatumGetTextPP(DirectFunctionCall1(row_to_json, row));
	char	   *start = VARDATA_ANY(json);
	int			length = VARSIZE_ANY_EXHDR(json);

	if (rows->count++ > 0)
		appendStringInfoChar(&rows->text, ',');

	if (type->natts > 1)
		appendBinaryStringInfo(&rows->text, start, length);
	else if (TupleDescAttr(type, 0)->atttypid == VOIDOID)
		appendStringInfoString(&rows->text, "null");
	else
	{
		/* the value of {"column":value} */
		StringInfoData name;

		initStringInfo(&name);
		escape_json(&name, NameStr(TupleDescAttr(type, 0)->attname));
		appendBinaryStringInfo(&rows->text, start + name.len + 2, length - name.len - 3);
		pfree(name.data);
	}

	if (rows->text.len > millrace_max_output_bytes)
		ereport(ERROR,
				(errcode(ERRCODE_MILLRACE_TOO_LARGE),
				 errmsg("the rows of a step's SQL are larger than millrace.max_output_bytes allows (%d)",
						millrace_max_output_bytes),
				 errhint("Return less, for example a key under which the rows are stored.")));
}

/* Fetched in small batches, so that a result past the limit ends early. */
static void
fetch_rows(SPIPlanPtr plan, Datum input, bool is_null, JsonRows *rows)
{
	char		nulls[] = {is_null ? 'n' : ' ', '\0'};
	Portal		portal = SPI_cursor_open(NULL, plan, &input, nulls, false);

	for (;;)
	{
		TupleDesc	type;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		type = BlessTupleDesc(SPI_tuptable->tupdesc);
		for (uint64 i = 0; i < SPI_processed; i++)
			append_row(rows, SPI_tuptable->vals[i], type);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

static void
run(SPIPlanPtr plan, Datum input, bool is_null, JsonRows *rows)
{
	char		nulls[] = {is_null ? 'n' : ' ', '\0'};
	int			result;

	if (SPI_is_cursor_plan(plan))
	{
		fetch_rows(plan, input, is_null, rows);
		return;
	}
	result = SPI_execute_plan(plan, &input, nulls, false, 0);
	if (result < 0)
		refuse(SPI_result_code_string(result));
}

/*
 * As run(), for so many seconds at most. The server starts its clock when a
 * client's command begins, and this is inside of one; an alarm that is set
 * earlier by that stays.
 */
static void
run_for(double seconds, SPIPlanPtr plan, Datum input, bool is_null, JsonRows *rows)
{
	TimestampTz outer = get_timeout_active(STATEMENT_TIMEOUT) ? get_timeout_finish_time(STATEMENT_TIMEOUT) : 0;
	TimestampTz own = GetCurrentTimestamp() + (TimestampTz) (seconds * USECS_PER_SEC);

	if (outer != 0 && outer <= own)
	{
		run(plan, input, is_null, rows);
		return;
	}
	enable_timeout_at(STATEMENT_TIMEOUT, own);
	PG_TRY();
	{
		run(plan, input, is_null, rows);
	}
	PG_FINALLY();
	{
		if (outer != 0)
			enable_timeout_at(STATEMENT_TIMEOUT, outer);
		else
			disable_timeout(STATEMENT_TIMEOUT, false);
	}
	PG_END_TRY();
}

Datum
millrace_statement_execute_as(PG_FUNCTION_ARGS)
{
	SPIPlanPtr	plan;
	const char *search_path;
	RoleScope	outer;
	JsonRows	rows = {.count = 0};
	char	   *json;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	search_path = PG_ARGISNULL(3) ? "pg_catalog, pg_temp" : text_to_cstring(PG_GETARG_TEXT_PP(3));
	initStringInfo(&rows.text);

	make_constraints_immediate();
	outer = enter_role(PG_GETARG_OID(0), search_path);
	SPI_connect();
	plan = prepare(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (PG_ARGISNULL(4))
		run(plan, PG_GETARG_DATUM(2), PG_ARGISNULL(2), &rows);
	else
		run_for(PG_GETARG_FLOAT8(4), plan, PG_GETARG_DATUM(2), PG_ARGISNULL(2), &rows);
	SPI_finish();
	leave_role(outer);

	if (rows.count == 0 || (rows.count == 1 && strcmp(rows.text.data, "null") == 0))
		PG_RETURN_NULL();
	json = rows.count == 1 ? rows.text.data : psprintf("[%s]", rows.text.data);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}

/* Whether an error tells of the statement, and not of the server or of a cancel. */
static bool
is_about_the_statement(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_INVALID_SCHEMA_NAME:
		case ERRCODE_INVALID_TRANSACTION_STATE:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
			return true;
		default:
			return false;
	}
}

static void
report_unfit(const ErrorData *error)
{
	ereport(ERROR,
			(errcode(ERRCODE_MILLRACE_STATEMENT_REFUSED),
			 errmsg("a step's SQL statement is not valid"),
			 error->internalpos > 0 ?
			 errdetail_internal("%s, at character %d", error->message, error->internalpos) :
			 errdetail_internal("%s", error->message),
			 error->hint ?
			 errhint("%s", error->hint) :
			 errhint("Names are resolved with the rights and the search_path of the role that defines the workflow; $1 is the step's input.")));
}

Datum
millrace_statement_check(PG_FUNCTION_ARGS)
{
	Oid			role = PG_GETARG_OID(0);
	char	   *statement = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *search_path = text_to_cstring(PG_GETARG_TEXT_PP(2));
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		RoleScope	outer = enter_role(role, search_path);

		SPI_connect();
		(void) prepare(statement);
		SPI_finish();
		leave_role(outer);
	}
	PG_CATCH();
	{
		/* The transaction is lost all the same: only the words change. */
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (!is_about_the_statement(error))
			PG_RE_THROW();
		FlushErrorState();
		report_unfit(error);
	}
	PG_END_TRY();

	PG_RETURN_VOID();
}
