/*-------------------------------------------------------------------------
 *
 * database_command.c
 *	  Commands that the workers make way for, or are to hear of.
 *
 * DROP DATABASE, ALTER DATABASE .. RENAME, .. SET TABLESPACE, and CREATE
 * DATABASE .. TEMPLATE fail while anybody is connected to the database.  They
 * must not fail because of us: who may give the command makes the workers leave
 * first, and lets them come back when it has ended, however it ends.
 *
 * The hook is in place where the library is preloaded (or was loaded by the
 * session).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "compat.h"
#include "database_command.h"
#include "shmem.h"
#include "wake.h"

/* The command itself waits as long for those who do not hear. */
#define LEAVE_TIMEOUT	5000	/* ms */

static ProcessUtility_hook_type prev_process_utility = NULL;

static const char *
string_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst(lc);

		if (strcmp(def->defname, name) == 0)
			return def->arg ? defGetString(def) : NULL;
	}
	return NULL;
}

/* May the user copy this database, so far as it is for us to know? */
static bool
may_copy(Oid database)
{
	HeapTuple	tup = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result = false;

	if (!HeapTupleIsValid(tup))
		return false;
	if (((Form_pg_database) GETSTRUCT(tup))->datistemplate)
	{
		HeapTuple	role = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));

		if (HeapTupleIsValid(role))
		{
			result = ((Form_pg_authid) GETSTRUCT(role))->rolcreatedb;
			ReleaseSysCache(role);
		}
	}
	ReleaseSysCache(tup);
	return result;
}

/*
 * The database that the command wants for itself, if the user may have that;
 * else InvalidOid, and the command says what is wrong.
 */
static Oid
wanted_alone(Node *command)
{
	const char *name = NULL;
	Oid			database;

	switch (nodeTag(command))
	{
		case T_DropdbStmt:
			name = ((DropdbStmt *) command)->dbname;
			break;
		case T_RenameStmt:
			if (((RenameStmt *) command)->renameType == OBJECT_DATABASE)
				name = ((RenameStmt *) command)->subname;
			break;
		case T_AlterDatabaseStmt:
			if (string_option(((AlterDatabaseStmt *) command)->options, "tablespace"))
				name = ((AlterDatabaseStmt *) command)->dbname;
			break;
		case T_CreatedbStmt:
			name = string_option(((CreatedbStmt *) command)->options, "template");
			if (name == NULL)
				name = "template1";
			break;
		default:
			break;
	}
	if (name == NULL || !OidIsValid(database = get_database_oid(name, true)))
		return InvalidOid;
	if (object_ownercheck_compat(DatabaseRelationId, database, GetUserId()) ||
		(IsA(command, CreatedbStmt) && may_copy(database)))
		return database;
	return InvalidOid;
}

static void
suspend(Oid database)
{
	CdcSharedDatabase *entry = cdc_shared_insert(CDC_SHARED_DATABASE, &database);

	entry->suspended++;
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
}

static void
resume(Oid database)
{
	CdcSharedDatabase *entry = cdc_shared_find(CDC_SHARED_DATABASE, &database, true);

	if (entry)
	{
		entry->suspended = Max(entry->suspended - 1, 0);
		cdc_shared_release(CDC_SHARED_DATABASE, entry);
	}
}

/* The command has failed, or its session ends. */
static void
resume_after_error(int code, Datum arg)
{
	resume(DatumGetObjectId(arg));
	cdc_process_wake(InvalidOid, CDC_KIND(CDC_LAUNCHER), CDC_WAKE_WORKERS);
}

/* Commands after which the manager, or the launcher, should look again. */
static bool
concerns_workers(Node *command)
{
	switch (nodeTag(command))
	{
		case T_DropStmt:
		case T_AlterExtensionStmt:
		case T_AlterExtensionContentsStmt:
		case T_AlterOwnerStmt:
		case T_CreateForeignServerStmt:
		case T_AlterForeignServerStmt:
		case T_CreateUserMappingStmt:
		case T_AlterUserMappingStmt:
		case T_DropUserMappingStmt:
		case T_AlterRoleStmt:
		case T_DropRoleStmt:
		case T_GrantRoleStmt:
		case T_DropOwnedStmt:
		case T_ReassignOwnedStmt:
			return true;
		default:
			return false;
	}
}

static void
run_command(PlannedStmt *pstmt, const char *query, bool read_only_tree,
			ProcessUtilityContext context, ParamListInfo params,
			QueryEnvironment *env, DestReceiver *dest, QueryCompletion *completion)
{
	if (prev_process_utility)
		prev_process_utility(pstmt, query, read_only_tree, context, params, env,
							 dest, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params, env,
								dest, completion);
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *env, DestReceiver *dest, QueryCompletion *completion)
{
	Node	   *command = pstmt->utilityStmt;
	Oid			database = InvalidOid;

	if (context == PROCESS_UTILITY_TOPLEVEL)
		database = wanted_alone(command);
	if (OidIsValid(database))
	{
		PG_ENSURE_ERROR_CLEANUP(resume_after_error, ObjectIdGetDatum(database));
		{
			suspend(database);
			(void) cdc_process_expel(database, LEAVE_TIMEOUT);
			run_command(pstmt, query, read_only_tree, context, params, env, dest,
						completion);
		}
		PG_END_ENSURE_ERROR_CLEANUP(resume_after_error, ObjectIdGetDatum(database));
		/* what it has done shows when it has committed */
		resume(database);
		cdc_wake_at_commit(CDC_KIND(CDC_LAUNCHER), CDC_WAKE_WORKERS);
		return;
	}
	run_command(pstmt, query, read_only_tree, context, params, env, dest, completion);
	if (IsA(command, AlterDatabaseStmt) || IsA(command, CreatedbStmt))
		cdc_wake_at_commit(CDC_KIND(CDC_LAUNCHER), CDC_WAKE_WORKERS);
	else if (concerns_workers(command) && OidIsValid(MyDatabaseId))
		cdc_wake_at_commit(CDC_ALL_KINDS, CDC_WAKE_CATALOG);
}

void
cdc_database_command_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
