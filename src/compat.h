/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  The only file that tests the version of PostgreSQL or librdkafka.
 *
 * A wrapper has the signature of the newest version and the suffix _compat.
 * Include it after postgres.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_COMPAT_H
#define CDC_COMPAT_H

#include "catalog/pg_class.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_namespace.h"
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
	Assert(classid == ForeignServerRelationId);
	return pg_foreign_server_aclcheck(objectid, roleid, mode);
}

static inline bool
object_ownercheck_compat(Oid classid, Oid objectid, Oid roleid)
{
	Assert(classid == RelationRelationId);
	return pg_class_ownercheck(objectid, roleid);
}

#define stringToQualifiedNameList_compat(string, escontext) \
	stringToQualifiedNameList(string)
#endif

#endif							/* CDC_COMPAT_H */
