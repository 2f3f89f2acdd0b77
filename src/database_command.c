/*-------------------------------------------------------------------------
 *
 * database_command.c
 *	  Commands that the workers make way for, or are to hear of.
 *
 * DROP DATABASE, ALTER DATABASE .. RENAME, .. SET TABLESPACE, and CREATE
 * DATABASE .. TEMPLATE fail while anybody is connected to the database.  They
 * must not fail because of us: who may give the command makes the workers leave
 * first, and lets them come back when its transaction has ended, however it
 * ends.
 *
 * The hook is in place where the library is preloaded (or was loaded by the
 * session).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
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
static Oid	suspended = InvalidOid; /* by this transaction */

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

static bool
may_create_databases(void)
{
	HeapTuple	tup = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool		may = superuser();

	if (!HeapTupleIsValid(tup))
		return false;
	may |= ((Form_pg_authid) GETSTRUCT(tup))->rolcreatedb;
	ReleaseSysCache(tup);
	return may;
}

static bool
is_template(Oid database)
{
	HeapTuple	tup = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result;

	if (!HeapTupleIsValid(tup))
		return false;
	result = ((Form_pg_database) GETSTRUCT(tup))->datistemplate;
	ReleaseSysCache(tup);
	return result;
}

/* May the user give the command, so far as it is for us to know? */
static bool
may_have_alone(Node *command, Oid database)
{
	bool		owned = object_ownercheck_compat(DatabaseRelationId, database, GetUserId());

	switch (nodeTag(command))
	{
		case T_CreatedbStmt:
			return may_create_databases() && (owned || is_template(database));
		case T_RenameStmt:
			return owned && may_create_databases() && database != MyDatabaseId;
		default:
			return owned && database != MyDatabaseId;
	}
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
	return may_have_alone(command, database) ? database : InvalidOid;
}

static void
resume(void)
{
	CdcSharedDatabase *entry = cdc_shared_find(CDC_SHARED_DATABASE, &suspended, true);

	if (entry)
	{
		entry->suspended = Max(entry->suspended - 1, 0);
		cdc_shared_release(CDC_SHARED_DATABASE, entry);
	}
	suspended = InvalidOid;
	cdc_process_wake(InvalidOid, CDC_KIND(CDC_LAUNCHER), CDC_WAKE_WORKERS);
}

/*
 * Until the end of the transaction, whatever way it ends: what the command has
 * done is seen by others only then.  (One that is prepared has a lock that keeps
 * others out; this session may not live to see its end.)
 */
static void
transaction_ended(XactEvent event, void *arg)
{
	if (OidIsValid(suspended) &&
		(event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		 event == XACT_EVENT_PREPARE))
		cdc_shared_tell(resume);
}

static void
suspend(Oid database)
{
	static bool registered = false;
	CdcSharedDatabase *entry;

	if (suspended == database)
		return;
	if (OidIsValid(suspended))
		resume();
	if (!registered)
		RegisterXactCallback(transaction_ended, NULL);
	registered = true;
	entry = cdc_shared_insert(CDC_SHARED_DATABASE, &database);
	entry->suspended++;
	suspended = database;
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
}

/* Gives the table to another role? */
static bool
changes_owner(AlterTableStmt *stmt)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
		if (((AlterTableCmd *) lfirst(lc))->subtype == AT_ChangeOwner)
			return true;
	return false;
}

/*
 * Commands after which the workers should look again.  A landing, staging or
 * target that is dropped changes the catalog tables, and is heard of by that.
 */
static bool
concerns_workers(Node *command)
{
	switch (nodeTag(command))
	{
		case T_DropStmt:
			switch (((DropStmt *) command)->removeType)
			{
				case OBJECT_EXTENSION:
				case OBJECT_FDW:
				case OBJECT_FOREIGN_SERVER:
				case OBJECT_FOREIGN_TABLE:
				case OBJECT_SCHEMA:
					return true;
				default:
					return false;
			}
		case T_GrantStmt:
			return ((GrantStmt *) command)->objtype == OBJECT_DATABASE ||
				((GrantStmt *) command)->objtype == OBJECT_FOREIGN_SERVER;
		case T_AlterTableStmt:
			return changes_owner((AlterTableStmt *) command);
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

/* Commands after which there may be more or fewer databases for the launcher. */
static bool
concerns_launcher(Node *command)
{
	return IsA(command, AlterDatabaseStmt) || IsA(command, CreatedbStmt);
}

static bool
commits_prepared(Node *command)
{
	return IsA(command, TransactionStmt) &&
		((TransactionStmt *) command)->kind == TRANS_STMT_COMMIT_PREPARED;
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
	bool		workers = concerns_workers(command);
	bool		launcher = concerns_launcher(command);
	bool		prepared = commits_prepared(command);
	Oid			database = wanted_alone(command);

	if (OidIsValid(database))
	{
		suspend(database);
		(void) cdc_process_expel(database, LEAVE_TIMEOUT);
	}
	run_command(pstmt, query, read_only_tree, context, params, env, dest, completion);
	/* the command may be freed by now */
	if (launcher)
		cdc_wake_at_commit(CDC_KIND(CDC_LAUNCHER), CDC_WAKE_WORKERS);
	if (!OidIsValid(MyDatabaseId) || !IsTransactionState())
		return;
	if (workers)
		cdc_wake_at_commit(CDC_ALL_KINDS, CDC_WAKE_CATALOG);
	if (prepared)
		cdc_wake_for_catalog_at_commit();
}

void
cdc_database_command_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
