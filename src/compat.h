/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  The only file that tests the version of PostgreSQL, librdkafka or libcurl.
 *
 * A wrapper has the signature of the newest version and the suffix _compat.
 * Include it after postgres.h and, where that is used, libcurl.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_COMPAT_H
#define CDC_COMPAT_H

#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_namespace.h"
#include "fmgr.h"
#include "utils/acl.h"
#include "utils/regproc.h"

#if PG_VERSION_NUM < 150000
#error "cdcsync needs PostgreSQL 15 or later"
#endif

/*
 * 16 has one function in place of pg_namespace_aclcheck() and its kind, and
 * soft errors.
 */
#if PG_VERSION_NUM >= 160000
#define object_aclcheck_compat(classid, objectid, roleid, mode) \
	object_aclcheck(classid, objectid, roleid, mode)
#define object_ownercheck_compat(classid, objectid, roleid) \
	object_ownercheck(classid, objectid, roleid)
#define stringToQualifiedNameList_compat(string, escontext) \
	stringToQualifiedNameList(string, escontext)
#else
static inline AclResult
object_aclcheck_compat(Oid classid, Oid objectid, Oid roleid, AclMode mode)
{
	if (classid == NamespaceRelationId)
		return pg_namespace_aclcheck(objectid, roleid, mode);
	if (classid == DatabaseRelationId)
		return pg_database_aclcheck(objectid, roleid, mode);
	Assert(classid == ForeignServerRelationId);
	return pg_foreign_server_aclcheck(objectid, roleid, mode);
}

static inline bool
object_ownercheck_compat(Oid classid, Oid objectid, Oid roleid)
{
	if (classid == DatabaseRelationId)
		return pg_database_ownercheck(objectid, roleid);
	Assert(classid == RelationRelationId);
	return pg_class_ownercheck(objectid, roleid);
}

#define stringToQualifiedNameList_compat(string, escontext) \
	stringToQualifiedNameList(string)
#endif

/* 18 split what an FDW needs for EXPLAIN off explain.h. */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#else
#include "commands/explain.h"
#endif

/*
 * 16 moved the role that a relation is read as from the range table into the
 * plan of a foreign scan.  Needs executor/executor.h.
 */
#if PG_VERSION_NUM >= 160000
#define foreign_scan_check_as_user_compat(plan, estate) \
	((plan)->checkAsUser)
#else
#define foreign_scan_check_as_user_compat(plan, estate) \
	(exec_rt_fetch((plan)->scan.scanrelid, (estate))->checkAsUser)
#endif

/*
 * 17 added fdw_restrictinfo, 18 disabled_nodes.
 * Needs optimizer/pathnode.h.
 */
#if PG_VERSION_NUM >= 180000
#define create_foreignscan_path_compat create_foreignscan_path
#elif PG_VERSION_NUM >= 170000
#define create_foreignscan_path_compat(root, rel, target, rows, \
									   disabled_nodes, startup_cost, \
									   total_cost, pathkeys, required_outer, \
									   fdw_outerpath, fdw_restrictinfo, \
									   fdw_private) \
	create_foreignscan_path(root, rel, target, rows, startup_cost, \
							total_cost, pathkeys, required_outer, \
							fdw_outerpath, fdw_restrictinfo, fdw_private)
#else
#define create_foreignscan_path_compat(root, rel, target, rows, \
									   disabled_nodes, startup_cost, \
									   total_cost, pathkeys, required_outer, \
									   fdw_outerpath, fdw_restrictinfo, \
									   fdw_private) \
	create_foreignscan_path(root, rel, target, rows, startup_cost, \
							total_cost, pathkeys, required_outer, \
							fdw_outerpath, fdw_private)
#endif

/*
 * Call an input function that reports a bad value instead of raising it, where
 * server and type can (the server's own types from 16 on).  Before 16 it always
 * raises, and the only return is true.
 */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#include "utils/elog.h"

#define CDC_INPUT_IS_SOFT	true

static inline bool
cdc_input_function_compat(FmgrInfo *flinfo, char *str, Oid typioparam,
						  int32 typmod, Datum *result, int *sqlerrcode,
						  char **message)
{
	ErrorSaveContext escontext = {.type = T_ErrorSaveContext,.details_wanted = true};

	if (InputFunctionCallSafe(flinfo, str, typioparam, typmod,
							  (Node *) &escontext, result))
		return true;
	*sqlerrcode = escontext.error_data->sqlerrcode;
	*message = escontext.error_data->message;
	return false;
}
#else
#define CDC_INPUT_IS_SOFT	false

static inline bool
cdc_input_function_compat(FmgrInfo *flinfo, char *str, Oid typioparam,
						  int32 typmod, Datum *result, int *sqlerrcode,
						  char **message)
{
	*result = InputFunctionCall(flinfo, str, typioparam, typmod);
	return true;
}
#endif

/*
 * 18 gave BuildTupleHashTableExt() the short name and the input slot's
 * operations, and put the caller's data behind the entry.
 * TupleHashEntryPointer_compat is the place of one pointer there; it may move
 * at the next insertion.
 */
#if PG_VERSION_NUM >= 180000
#define BuildTupleHashTable_compat BuildTupleHashTable
#define TupleHashEntryPointer_compat(table, entry) \
	((void **) TupleHashEntryGetAdditional(table, entry))
#else
#define BuildTupleHashTable_compat(parent, desc, ops, ncols, cols, eq, hash, \
								   colls, nbuckets, extra, meta, table, temp, iv) \
	BuildTupleHashTableExt(parent, desc, ncols, cols, eq, hash, colls, \
						   nbuckets, extra, meta, table, temp, iv)
#define TupleHashEntryPointer_compat(table, entry) (&(entry)->additional)
#endif

/* 18 writes it before the declaration. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn	pg_attribute_noreturn()
#endif

/* 17 lets a hash table in shared memory say how its keys are copied. */
#if PG_VERSION_NUM >= 170000
#define CDC_DSHASH_PARAMETERS(key_size, entry_size, tranche) \
	{key_size, entry_size, dshash_memcmp, dshash_memhash, dshash_memcpy, tranche}
#else
#define CDC_DSHASH_PARAMETERS(key_size, entry_size, tranche) \
	{key_size, entry_size, dshash_memcmp, dshash_memhash, tranche}
#endif

/* 17 lets a background worker connect as a role that may not log in. */
#if PG_VERSION_NUM >= 170000
#define CDC_BYPASS_ROLELOGINCHECK	BGWORKER_BYPASS_ROLELOGINCHECK
#else
#define CDC_BYPASS_ROLELOGINCHECK	0
#endif

/* 18 asks whether a deferrable primary key will do.  Needs utils/relcache.h. */
#if PG_VERSION_NUM >= 180000
#define RelationGetPrimaryKeyIndex_compat(relation, deferrable_ok) \
	RelationGetPrimaryKeyIndex(relation, deferrable_ok)
#else
#define RelationGetPrimaryKeyIndex_compat(relation, deferrable_ok) \
	RelationGetPrimaryKeyIndex(relation)
#endif

/*
 * 16 tells an update that only summarizing indexes need new entries; 18 counts
 * what an index scan does.  Need access/tableam.h, executor/executor.h and
 * access/genam.h.
 */
#if PG_VERSION_NUM >= 160000
#define CDC_UPDATE_INDEXES		TU_UpdateIndexes
#define CDC_UPDATE_ALL(which)	((which) == TU_All)
#define CDC_UPDATE_SOME(which)	((which) == TU_Summarizing)
#define ExecInsertIndexTuples_compat ExecInsertIndexTuples
#else
#define CDC_UPDATE_INDEXES		bool
#define CDC_UPDATE_ALL(which)	(which)
#define CDC_UPDATE_SOME(which)	false
#define ExecInsertIndexTuples_compat(result, slot, estate, update, no_dup_err, \
									 conflict, arbiters, only_summarizing) \
	ExecInsertIndexTuples(result, slot, estate, update, no_dup_err, conflict, arbiters)
#endif
#if PG_VERSION_NUM >= 180000
#define index_beginscan_compat index_beginscan
#else
#define index_beginscan_compat(heap, index, snapshot, instrument, nkeys, norderbys) \
	index_beginscan(heap, index, snapshot, nkeys, norderbys)
#endif

/*
 * From 7.87.0 on, libcurl can leave a thread behind that still looks up a name;
 * the thread frees what it holds.  Before, ending a request waits for it.
 */
#ifdef LIBCURL_VERSION_NUM
#if LIBCURL_VERSION_NUM >= 0x075700
#define curl_quick_exit_compat(easy) \
	((void) curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L))
#else
#define curl_quick_exit_compat(easy) ((void) (easy))
#endif
#endif

#endif							/* CDC_COMPAT_H */
