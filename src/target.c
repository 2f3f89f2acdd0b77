/*-------------------------------------------------------------------------
 *
 * target.c
 *	  The target as a sync sees it: its columns, where each comes from, its
 *	  key.
 *
 * A description is made anew by every sync, under the lock that the sync takes
 * on the target: nothing is cached that DDL could make stale.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "target.h"

/* What a view must let pass to be a target. */
#define INSERT_EVENT	(1 << CMD_INSERT)
#define ALL_EVENTS		(INSERT_EVENT | (1 << CMD_UPDATE) | (1 << CMD_DELETE))

/* Comma-separated, quoted column names of a table, for hints. */
static char *
column_list(TupleDesc desc)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped)
			appendStringInfo(&buf, "%s\"%s\"", buf.len ? ", " : "",
							 NameStr(att->attname));
	}
	return buf.data;
}

/* Attribute of that name, or 42703 with the names that there are. */
static Form_pg_attribute
find_column(Relation rel, const char *name)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of target \"%s\" does not exist", name,
					RelationGetRelationName(rel)),
			 errhint("The target's columns are %s. In \"columns\" the target's column comes first, the source's field second.",
					 column_list(desc))));
	return NULL;				/* keep compiler quiet */
}

static const CdcReading *
find_reading(List *readings, const char *column)
{
	ListCell   *lc;

	foreach(lc, readings)
	{
		const CdcReading *reading = lfirst(lc);

		if (strcmp(reading->column, column) == 0)
			return reading;
	}
	return NULL;
}

/* Index of a wanted field in the list, which grows if it is new. */
static int
want_field(CdcField **fields, int *nfields, const char *name, bool fold)
{
	uint32		len = strlen(name);

	for (int i = 0; i < *nfields; i++)
	{
		CdcField   *f = &(*fields)[i];

		if (f->len == len && f->fold == fold && memcmp(f->name, name, len) == 0)
			return i;
	}
	(*fields)[*nfields].name = pstrdup(name);
	(*fields)[*nfields].len = len;
	(*fields)[*nfields].fold = fold;
	return (*nfields)++;
}

/* May a column of this type take the pseudo-field? */
static bool
pseudo_fits(const CdcPseudo *pseudo, Oid typid)
{
	Oid			base = getBaseType(typid);

	switch (pseudo->source)
	{
		case CDC_COLUMN_OP:
			return base == TEXTOID || base == VARCHAROID || base == BPCHAROID;
		case CDC_COLUMN_REFRESH_TIME:
			return base == TIMESTAMPOID;
		case CDC_COLUMN_DELETED_AT:
		case CDC_COLUMN_VALID_FROM:
		case CDC_COLUMN_VALID_TO:
			return base == TIMESTAMPOID || base == TIMESTAMPTZOID;
		case CDC_COLUMN_CURRENT:
			return base == BOOLOID;
		default:
			return base == INT8OID;
	}
}

/* The pseudo-field that a reading names; NULL: a field, or one of $source. */
static const CdcPseudo *
pseudo_of_reading(const CdcReading *reading, CdcMode mode)
{
	const CdcPseudo *pseudo;

	if (reading->field[0] != '$')
		return NULL;
	pseudo = cdc_pseudo_find(reading->field);
	if (pseudo && pseudo->source == CDC_COLUMN_FIELD)
		return NULL;			/* the whole row is a field to the decoder */
	if (pseudo == NULL && cdc_pseudo_source_field(reading->field) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown pseudo-field \"%s\" for column \"%s\"",
						reading->field, reading->column),
				 errhint("Pseudo-fields are: %s.", cdc_pseudo_list())));
	if (pseudo && !(pseudo->modes & CDC_MODE_BIT(mode)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("pseudo-field \"%s\" for column \"%s\" does not exist in mode \"%s\"",
						reading->field, reading->column, cdc_mode_name(mode)),
				 errhint("Map the column to something else, or give the option \"mode\".")));
	return pseudo;
}

/*
 * The pseudo-field that a column which is not mapped takes for its name; none
 * if another column is mapped to it.
 */
static const CdcPseudo *
pseudo_of_name(const char *name, List *readings, CdcMode mode)
{
	for (const CdcPseudo *p = cdc_pseudos; p->name; p++)
	{
		ListCell   *lc;
		bool		mapped = false;

		if (!(p->unmapped & CDC_MODE_BIT(mode)) || strcmp(p->column, name) != 0)
			continue;
		foreach(lc, readings)
			mapped |= strcmp(((CdcReading *) lfirst(lc))->field, p->name) == 0;
		/* refresh_time may be there more than once */
		if (!mapped || p->source == CDC_COLUMN_REFRESH_TIME)
			return p;
	}
	return NULL;
}

/* A record that is a string is a string of JSON, not the text of some. */
static const CdcReading *
whole_row_reading(const CdcReading *reading, Oid typid)
{
	Oid			base = getBaseType(typid);
	CdcReading *whole;

	if (reading->encoding || (base != JSONOID && base != JSONBOID))
		return reading;
	whole = palloc(sizeof(CdcReading));
	*whole = *reading;
	whole->encoding = "string";
	return whole;
}

/* Fill *column for an attribute; false: the column is not fed by us. */
static bool
describe_column(CdcTarget *target, CdcColumn *column, Form_pg_attribute att,
				List *readings, bool strict)
{
	char	   *name = NameStr(att->attname);
	const CdcReading *reading = find_reading(readings, name);
	const CdcPseudo *pseudo;

	if (att->attgenerated != '\0')
	{
		if (reading == NULL)
			return false;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" is generated and cannot be fed from a field", name),
				 errhint("Leave it out of \"columns\": the server computes it.")));
	}
	column->name = pstrdup(name);
	column->attnum = att->attnum;
	column->typid = att->atttypid;
	column->typmod = att->atttypmod;
	column->collation = att->attcollation;
	column->key_no = -1;
	column->index = -1;
	pseudo = reading ? pseudo_of_reading(reading, target->mode) :
		pseudo_of_name(name, readings, target->mode);
	if (pseudo)
	{
		column->source = pseudo->source;
		if (!pseudo_fits(pseudo, att->atttypid))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" cannot hold %s", name, pseudo->name),
					 errdetail("The column has type %s, the pseudo-field has type %s.",
							   format_type_be(att->atttypid),
							   format_type_be(TypenameGetTypid(pseudo->type))),
					 reading ? 0 :
					 errhint("A column \"%s\" that is not mapped is %s: change its type, or map it in \"columns\".",
							 pseudo->column, pseudo->name)));
		return true;
	}
	if (reading && cdc_pseudo_source_field(reading->field))
	{
		column->source = CDC_COLUMN_SOURCE_FIELD;
		column->index = want_field(&target->source_fields, &target->nsource_fields,
								   cdc_pseudo_source_field(reading->field), false);
	}
	else
	{
		column->source = CDC_COLUMN_FIELD;
		column->index = want_field(&target->fields, &target->nfields,
								   reading ? reading->field : name, reading == NULL);
	}
	if (reading && strcmp(reading->field, CDC_WHOLE_ROW) == 0)
		reading = whole_row_reading(reading, att->atttypid);
	column->converter = cdc_converter_create(att->atttypid, att->atttypmod,
											 reading, strict);
	column->may_raise = cdc_converter_may_raise(column->converter);
	return true;
}

/*
 * Names (char *) of a table's primary key columns, NIL if it has none (or is a
 * view).
 */
static List *
primary_key(Oid relid)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	Oid			indexid;
	List	   *key = NIL;

	(void) RelationGetIndexList(rel);	/* sets rd_pkindex */
	indexid = rel->rd_pkindex;
	if (OidIsValid(indexid))
	{
		Relation	index = index_open(indexid, AccessShareLock);
		Form_pg_index form = index->rd_index;

		for (int i = 0; i < form->indnkeyatts; i++)
		{
			AttrNumber	attnum = form->indkey.values[i];

			key = lappend(key, pstrdup(NameStr(TupleDescAttr(RelationGetDescr(rel),
															 attnum - 1)->attname)));
		}
		index_close(index, AccessShareLock);
	}
	relation_close(rel, AccessShareLock);
	return key;
}

List *
cdc_target_key(Oid relid, List *readings, CdcMode mode)
{
	List	   *key = NIL;
	ListCell   *lc;

	foreach(lc, mode == CDC_MODE_APPEND ? NIL : primary_key(relid))
	{
		const CdcReading *reading = find_reading(readings, lfirst(lc));

		/* what tells versions apart is no part of the row's own key */
		if (mode != CDC_MODE_HISTORY ||
			(reading ? pseudo_of_reading(reading, mode) == NULL :
			 pseudo_of_name(lfirst(lc), readings, mode) == NULL))
			key = lappend(key, lfirst(lc));
	}
	return key;
}

/* Does the index begin with the key's columns, in any order? */
static bool
index_begins_with_key(const CdcTarget *target, Form_pg_index form)
{
	if (form->indnkeyatts < target->nkeys)
		return false;
	for (int i = 0; i < target->nkeys; i++)
	{
		bool		found = false;

		for (int k = 0; k < target->nkeys; k++)
			found |= target->columns[target->keys[k]].attnum == form->indkey.values[i];
		if (!found)
			return false;
	}
	return true;
}

static void
describe_indexes(CdcTarget *target, Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (form->indisvalid)
			target->key_is_indexed |= index_begins_with_key(target, form);
		if (form->indisvalid && (form->indisunique || form->indisexclusion))
		{
			if (form->indisunique && form->indnkeyatts == target->nkeys &&
				index_begins_with_key(target, form) &&
				RelationGetIndexPredicate(index) == NIL)
				target->key_is_unique = true;
			else
				target->other_unique = true;
		}
		index_close(index, AccessShareLock);
	}
}

/* Every deferrable constraint has a trigger. */
static bool
has_deferrable_constraint(Relation rel)
{
	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
		if (rel->trigdesc->triggers[i].tgdeferrable)
			return true;
	return false;
}

bool
cdc_target_is_scope(const char *field)
{
	static const char *const names[] = {"name", "db", "schema", "table", "collection"};
	const char *source_field = cdc_pseudo_source_field(field);

	for (int i = 0; source_field && i < lengthof(names); i++)
		if (strcmp(source_field, names[i]) == 0)
			return true;
	return false;
}

static void
describe_key(CdcTarget *target, Relation rel, List *key, List *readings)
{
	ListCell   *lc;

	target->keys = palloc(sizeof(int) * list_length(key));
	target->scope = palloc(sizeof(int) * list_length(key));
	foreach(lc, key)
	{
		Form_pg_attribute att = find_column(rel, lfirst(lc));
		CdcColumn  *column = NULL;
		TypeCacheEntry *type;

		for (int i = 0; i < target->ncolumns; i++)
			if (target->columns[i].attnum == att->attnum)
				column = &target->columns[i];
		if (column == NULL || (column->source != CDC_COLUMN_FIELD &&
							   column->source != CDC_COLUMN_SOURCE_FIELD))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("key column \"%s\" is not mapped to a field of the source",
							NameStr(att->attname)),
					 errhint("Map it in \"columns\", or name other key columns with key => ARRAY[..].")));
		if (column->key_no >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("key column \"%s\" is named twice", column->name)));
		type = lookup_type_cache(column->typid,
								 TYPECACHE_EQ_OPR | TYPECACHE_HASH_PROC);
		if (!OidIsValid(type->eq_opr) || !OidIsValid(type->hash_proc))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FUNCTION),
					 errmsg("column \"%s\" of type %s cannot be a key", column->name,
							format_type_be(column->typid)),
					 errdetail("The type has no equality that can be hashed.")));
		column->key_no = target->nkeys;
		target->keys[target->nkeys++] = column - target->columns;
		if (column->source == CDC_COLUMN_SOURCE_FIELD &&
			cdc_target_is_scope(find_reading(readings, column->name)->field))
			target->scope[target->nscope++] = column - target->columns;
	}
}

/*
 * Does the server alone make the column's values?  GENERATED ALWAYS AS IDENTITY
 * takes a given value at an insert, but not at an update: good for a key, which
 * no update changes.
 */
static bool
is_server_made(Form_pg_attribute att, List *key, List *readings)
{
	ListCell   *lc;

	if (att->attidentity != ATTRIBUTE_IDENTITY_ALWAYS)
		return false;
	foreach(lc, key)
		if (strcmp(lfirst(lc), NameStr(att->attname)) == 0)
			return false;
	if (find_reading(readings, NameStr(att->attname)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" is GENERATED ALWAYS AS IDENTITY and cannot be fed from a field",
						NameStr(att->attname)),
				 errhint("Leave it out of \"columns\", or ALTER TABLE .. ALTER COLUMN %s SET GENERATED BY DEFAULT.",
						 quote_identifier(NameStr(att->attname)))));
	return true;
}

/* Can the relation be a target at all? */
static void
check_kind(Relation rel, CdcMode mode)
{
	char	   *name = RelationGetRelationName(rel);
	char		kind = rel->rd_rel->relkind;
	int			wanted = mode == CDC_MODE_APPEND ? INSERT_EVENT : ALL_EVENTS;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE &&
		kind != RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("target \"%s\" is not a table", name),
				 errhint("A target is a table, a partitioned table, or a view that can be changed.")));
	if (kind == RELKIND_VIEW &&
		(relation_is_updatable(RelationGetRelid(rel), NIL, true, NULL) & wanted) != wanted)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("view \"%s\" cannot be a target, as rows cannot be inserted, updated and deleted there", name),
				 errhint("Give it INSTEAD OF triggers for INSERT, UPDATE and DELETE.")));
	for (int i = 0; rel->rd_rules && i < rel->rd_rules->numLocks; i++)
		if (rel->rd_rules->rules[i]->event != CMD_SELECT)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("target \"%s\" has rules", name),
					 errdetail("Rules rewrite the statements of a sync, which then neither changes nor counts what it should."),
					 errhint("Use triggers in their place.")));
}

const CdcColumn *
cdc_target_pseudo(const CdcTarget *target, CdcColumnSource source)
{
	for (int i = 0; i < target->ncolumns; i++)
		if (target->columns[i].source == source)
			return &target->columns[i];
	return NULL;
}

/* Has the target what its mode asks for? */
static void
check_mode(CdcTarget *target, Relation rel)
{
	char	   *name = RelationGetRelationName(rel);

	for (const CdcPseudo *p = cdc_pseudos; p->name; p++)
		if ((p->needed & CDC_MODE_BIT(target->mode)) &&
			cdc_target_pseudo(target, p->source) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("target \"%s\" has no column for %s, which mode \"%s\" needs",
							name, p->name, cdc_mode_name(target->mode)),
					 errhint("ALTER TABLE %s ADD COLUMN %s %s, or map a column to \"%s\" in \"columns\".",
							 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)), name),
							 p->column, p->type, p->name)));
	if (target->mode == CDC_MODE_HISTORY && target->key_is_unique)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("target \"%s\" has a unique index on the key alone", name),
				 errdetail("In mode \"history\" a key has a row for each of its versions."),
				 errhint("Make the index over the key and the column for $valid_from, or unique only WHERE the column for $current is true.")));
	if (target->keyless && target->is_view)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("view \"%s\" has no usable key", name),
				 errhint("Name the key columns with key => ARRAY[..].")));
}

/* The time of a change is in source.ts_us, where the connector gives it. */
static void
want_time(CdcTarget *target)
{
	target->ts_us = -1;
	if (target->mode == CDC_MODE_SOFT_DELETE || target->mode == CDC_MODE_HISTORY)
		target->ts_us = want_field(&target->source_fields, &target->nsource_fields,
								   "ts_us", false);
}

CdcTarget *
cdc_target_describe(Oid relid, List *key, List *readings, bool strict, CdcMode mode)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	CdcTarget  *target = palloc0(sizeof(CdcTarget));
	ListCell   *lc;

	check_kind(rel, mode);
	foreach(lc, readings)
		(void) find_column(rel, ((CdcReading *) lfirst(lc))->column);

	if (mode == CDC_MODE_APPEND)
		key = NIL;
	else if (key == NIL)
		key = cdc_target_key(relid, readings, mode);
	if (key == NIL && mode != CDC_MODE_APPEND && mode != CDC_MODE_MIRROR)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("target \"%s\" has no usable key", RelationGetRelationName(rel)),
				 errdetail("It has no primary key, and no key was named."),
				 errhint("Add a primary key to the target, or name the key columns with key => ARRAY[..].")));

	target->relid = relid;
	target->mode = mode;
	target->keyless = key == NIL && mode == CDC_MODE_MIRROR;
	target->is_view = rel->rd_rel->relkind == RELKIND_VIEW;
	target->columns = palloc0(sizeof(CdcColumn) * desc->natts);
	target->fields = palloc0(sizeof(CdcField) * desc->natts);
	target->source_fields = palloc0(sizeof(CdcField) * (desc->natts + 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && !is_server_made(att, key, readings) &&
			describe_column(target, &target->columns[target->ncolumns], att,
							readings, strict))
			target->ncolumns++;
		if (!att->attisdropped && att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
			target->identity_always = true;
	}

	describe_key(target, rel, key, readings);
	describe_indexes(target, rel);
	target->deferrable = has_deferrable_constraint(rel);
	want_time(target);
	check_mode(target, rel);
	relation_close(rel, AccessShareLock);
	return target;
}
