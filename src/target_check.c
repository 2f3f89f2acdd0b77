/*-------------------------------------------------------------------------
 *
 * target_check.c
 *	  Can a table be the target of a pipeline, and by which key?
 *
 * What a table cannot be told to take is an error; what it can, but at a price,
 * is worth a notice or warning.
 *
 * As the current user, in the caller's transaction.  The target is locked
 * against being dropped until its end (ACCESS SHARE).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"

#include "catalog.h"
#include "compat.h"
#include "target_check.h"

/* Fields of the events that an error message lists at most. */
#define MAX_LISTED_FIELDS 30

/* For comparing names without regard to case. */
static char *
fold(const char *name)
{
	return str_tolower(name, strlen(name), DEFAULT_COLLATION_OID);
}

static bool
same_folded(const char *a, const char *b)
{
	return strcmp(fold(a), fold(b)) == 0;
}

/* Does the relation belong to a pipeline's own machinery? */
static bool
is_helper(Oid relid)
{
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(relid)};
	bool		found;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	found = cdc_spi_run("SELECT FROM cdcsync.pipeline WHERE staging = $1"
						" UNION ALL SELECT FROM cdcsync.landing WHERE $1 IN (chunk, view)",
						1, types, values, NULL, 1) > 0;
	cdc_spi_end(&spi);
	return found;
}

void
cdc_target_check(Oid target, Oid owner)
{
	Relation	rel = try_relation_open(target, AccessShareLock);
	char	   *name;

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", target)));
	name = pstrdup(RelationGetRelationName(rel));
	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE &&
		rel->rd_rel->relkind != RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", name),
				 errhint("The target must be a table, a partitioned table, or a view that can be changed. A foreign table cannot be one: what is written there does not commit together with the watermark.")));
	if (IsCatalogRelation(rel) || rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP ||
		is_helper(target) ||
		RelationGetNamespace(rel) == get_namespace_oid(CDC_SCHEMA, false))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot be a target", name),
				 errdetail("System catalogs, temporary tables, and the tables and landings of pipelines cannot be targets."),
				 errhint("Give a table of your own, or none to have it made.")));
	if (!object_ownercheck_compat(RelationRelationId, target, owner) &&
		!(pg_class_aclcheck(target, owner, ACL_SELECT) == ACLCHECK_OK &&
		  pg_class_aclcheck(target, owner, ACL_INSERT) == ACLCHECK_OK &&
		  pg_class_aclcheck(target, owner, ACL_UPDATE) == ACLCHECK_OK &&
		  pg_class_aclcheck(target, owner, ACL_DELETE) == ACLCHECK_OK))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s", name),
				 errhint("A pipeline needs SELECT, INSERT, UPDATE and DELETE on its target.")));
	relation_close(rel, NoLock);
}

static const CdcReading *
reading_of_field(List *readings, const char *field)
{
	ListCell   *lc;

	foreach(lc, readings)
	{
		const CdcReading *reading = lfirst(lc);

		if (strcmp(reading->field, field) == 0)
			return reading;
	}
	return NULL;
}

/* Column of the target that takes a field because it has its name, or NULL. */
static char *
column_of_field(Oid target, List *readings, const char *field)
{
	Relation	rel;
	TupleDesc	desc;
	const CdcReading *reading = reading_of_field(readings, field);
	char	   *column = NULL;

	if (reading)
		return reading->column;
	rel = relation_open(target, AccessShareLock);
	desc = RelationGetDescr(rel);
	for (int i = 0; i < desc->natts && column == NULL; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped &&
			same_folded(NameStr(att->attname), field))
			column = pstrdup(NameStr(att->attname));
	}
	relation_close(rel, NoLock);
	return column;
}

List *
cdc_target_event_key(const CdcPipeline *pipeline, const CdcInferred *inferred)
{
	List	   *key = NIL;
	ListCell   *lc;

	if (inferred == NULL)
		return NIL;
	foreach(lc, inferred->key)
	{
		char	   *column = column_of_field(pipeline->target, pipeline->readings,
											 lfirst(lc));

		if (column == NULL)
			return NIL;
		key = lappend(key, column);
	}
	return key;
}

/*
 * Can there be a unique index over just the key?  A partitioned table's must have
 * its partitioning columns; and history has several rows of a key.
 */
static bool
can_be_unique(const CdcTarget *target)
{
	Relation	rel = relation_open(target->relid, AccessShareLock);
	PartitionKey by = RelationGetPartitionKey(rel);
	bool		can = target->mode != CDC_MODE_HISTORY;

	for (int i = 0; by && i < by->partnatts; i++)
	{
		bool		in_key = false;

		for (int k = 0; k < target->nkeys; k++)
			in_key |= target->columns[target->keys[k]].attnum == by->partattrs[i];
		can &= in_key;
	}
	relation_close(rel, AccessShareLock);
	return can;
}

/*
 * A key without a unique index is allowed: the merge joins by it all the same.
 * But every window then reads the whole table, and rows that were duplicates
 * before we came stay duplicates, so it is worth a warning.  Where there can be
 * none, another index will do.
 */
void
cdc_target_check_index(const CdcTarget *target, List *key)
{
	StringInfoData columns;
	ListCell   *lc;

	bool		unique;

	if (target->key_is_unique || key == NIL || target->is_view)
		return;
	unique = can_be_unique(target);
	if (!unique && target->key_is_indexed)
		return;
	initStringInfo(&columns);
	foreach(lc, key)
		appendStringInfo(&columns, "%s%s", columns.len ? ", " : "",
						 quote_identifier(lfirst(lc)));
	if (!unique)
		ereport(WARNING,
				(errmsg("target \"%s\" has no index on its key", get_rel_name(target->relid)),
				 errdetail("Each sync has to read the whole table."),
				 errhint("CREATE INDEX ON %s (%s).",
						 cdc_qualified_name(target->relid), columns.data)));
	else
		ereport(WARNING,
				(errmsg("target \"%s\" has no unique index on its key",
						get_rel_name(target->relid)),
				 errdetail("Each sync has to read the whole table, and rows of one key that are there already are not made one."),
				 errhint("CREATE UNIQUE INDEX ON %s (%s).",
						 cdc_qualified_name(target->relid), columns.data)));
}

/*
 * A mirror of a table without a key: each event must tell the whole row that it
 * changes.
 */
void
cdc_target_tell_keyless(const char *target)
{
	ereport(NOTICE,
			(errmsg("target \"%s\" has no key: its rows are found by all their values", target),
			 errdetail("A delete removes one of the rows that are equal to the event's before image, which must be complete."),
			 errhint("Where rows have a key, name it with key => ARRAY['...'].")));
}

List *
cdc_target_choose_key(const CdcPipeline *pipeline, List *key,
					  const CdcInferred *inferred)
{
	CdcMode		mode = pipeline->mode;

	if (key == NIL)
		key = cdc_target_key(pipeline->target, pipeline->readings, mode);
	if (key == NIL && mode != CDC_MODE_APPEND)
		key = cdc_target_event_key(pipeline, inferred);
	if (key == NIL && mode != CDC_MODE_APPEND &&
		!(mode == CDC_MODE_MIRROR &&
		  (inferred == NULL || inferred->key == NIL)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no usable key for target \"%s\"",
						get_rel_name(pipeline->target)),
				 errdetail("The target has no primary key, and the events have no key that its columns take."),
				 errhint("Add a primary key to the target, or name its key columns with key => ARRAY['...'].")));
	return key;
}

/* The fields of the events, those that differ only in case from name first. */
static char *
list_fields(const CdcInferred *inferred, const char *name)
{
	StringInfoData buf;
	int			listed = 0;
	ListCell   *lc;

	initStringInfo(&buf);
	for (int pass = 0; pass < 2; pass++)
	{
		foreach(lc, inferred->fields)
		{
			const CdcInferredField *field = lfirst(lc);

			if (same_folded(field->name, name) != (pass == 0))
				continue;
			if (listed++ == MAX_LISTED_FIELDS)
			{
				appendStringInfoString(&buf, ", ...");
				return buf.data;
			}
			appendStringInfo(&buf, "%s\"%s\"", listed > 1 ? ", " : "", field->name);
		}
	}
	return buf.data;
}

void
cdc_target_check_fields(List *readings, const CdcInferred *inferred)
{
	ListCell   *lc;

	if (inferred == NULL || inferred->fields == NIL)
		return;
	foreach(lc, readings)
	{
		const CdcReading *reading = lfirst(lc);
		ListCell   *lf;
		bool		found = reading->field[0] == '$';

		foreach(lf, inferred->fields)
		{
			const CdcInferredField *field = lfirst(lf);

			found = found || strcmp(field->name, reading->field) == 0;
		}
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("field \"%s\" for column \"%s\" does not exist in the events",
							reading->field, reading->column),
					 errhint("The events have the fields: %s.",
							 list_fields(inferred, reading->field))));
	}
}

/* Do the events have a field of this name, whatever its case? */
static bool
has_field_folded(const CdcInferred *inferred, const char *name)
{
	ListCell   *lc;

	foreach(lc, inferred->fields)
	{
		if (same_folded(((CdcInferredField *) lfirst(lc))->name, name))
			return true;
	}
	return false;
}

/* Does the mapping say where the column comes from? */
static bool
is_mapped(List *readings, const char *column)
{
	ListCell   *lc;

	foreach(lc, readings)
	{
		if (strcmp(((CdcReading *) lfirst(lc))->column, column) == 0)
			return true;
	}
	return false;
}

/*
 * Columns that are to take the field of their own name, but the events have
 * none: an error for a key column, or if the target must fit as a whole; else
 * worth a notice, as the usual reason is a forgotten mapping.
 */
void
cdc_target_check_columns(const CdcTarget *target, List *readings,
						 const CdcInferred *inferred, bool whole)
{
	StringInfoData unfed;

	if (inferred == NULL || inferred->fields == NIL)
		return;
	initStringInfo(&unfed);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *column = &target->columns[i];

		if (column->source != CDC_COLUMN_FIELD ||
			is_mapped(readings, column->name) ||
			has_field_folded(inferred, column->name))
			continue;
		if (column->key_no >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("the events have no field for key column \"%s\"",
							column->name),
					 errhint("Map it in \"columns\". The events have the fields: %s.",
							 list_fields(inferred, column->name))));
		appendStringInfo(&unfed, "%s\"%s\"", unfed.len ? ", " : "", column->name);
	}
	if (unfed.len)
		ereport(whole ? ERROR : NOTICE,
				(errcode(whole ? ERRCODE_UNDEFINED_COLUMN : ERRCODE_SUCCESSFUL_COMPLETION),
				 errmsg("the events have no field for these columns of target \"%s\": %s",
						get_rel_name(target->relid), unfed.data),
				 whole ? 0 : errdetail("They keep their default in new rows."),
				 whole ? errhint("If it is to be the target all the same, make the pipeline with cdc_create().") :
				 errhint("If that is not what you want, map them in \"columns\". The events have the fields: %s.",
						 list_fields(inferred, ""))));
}
