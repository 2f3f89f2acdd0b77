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
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "target.h"

#define SOURCE_PREFIX "$source."

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

/* Type of a pseudo-field's value, which the target column must accept. */
static Oid
pseudo_type(CdcColumnSource source)
{
	switch (source)
	{
		case CDC_COLUMN_REFRESH_TIME:
			return TIMESTAMPOID;
		case CDC_COLUMN_OP:
			return TEXTOID;
		default:
			return INT8OID;
	}
}

/* Where the reading says that a column comes from. */
static CdcColumnSource
column_source(const char *column, const char *field)
{
	if (field[0] != '$' || strcmp(field, CDC_WHOLE_ROW) == 0)
		return CDC_COLUMN_FIELD;
	if (strcmp(field, "$refresh_time") == 0)
		return CDC_COLUMN_REFRESH_TIME;
	if (strcmp(field, "$op") == 0)
		return CDC_COLUMN_OP;
	if (strcmp(field, "$ts_ms") == 0)
		return CDC_COLUMN_TS_MS;
	if (strcmp(field, "$kafka_partition") == 0)
		return CDC_COLUMN_PARTITION;
	if (strcmp(field, "$kafka_offset") == 0)
		return CDC_COLUMN_OFFSET;
	if (strncmp(field, SOURCE_PREFIX, strlen(SOURCE_PREFIX)) == 0 &&
		field[strlen(SOURCE_PREFIX)] != '\0')
		return CDC_COLUMN_SOURCE_FIELD;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown pseudo-field \"%s\" for column \"%s\"", field, column),
			 errhint("Pseudo-fields are $refresh_time, $op, $ts_ms, $kafka_partition, $kafka_offset, $row and $source.<field>.")));
	return CDC_COLUMN_FIELD;	/* keep compiler quiet */
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
				const CdcReading *reading, bool strict)
{
	char	   *name = NameStr(att->attname);

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
	if (reading)
		column->source = column_source(name, reading->field);
	else if (strcmp(name, "refresh_time") == 0)
		column->source = CDC_COLUMN_REFRESH_TIME;
	else
		column->source = CDC_COLUMN_FIELD;

	switch (column->source)
	{
		case CDC_COLUMN_FIELD:
			column->index = want_field(&target->fields, &target->nfields,
									   reading ? reading->field : name,
									   reading == NULL);
			break;
		case CDC_COLUMN_SOURCE_FIELD:
			column->index = want_field(&target->source_fields,
									   &target->nsource_fields,
									   reading->field + strlen(SOURCE_PREFIX),
									   false);
			break;
		default:
			{
				Oid			base = getBaseType(att->atttypid);
				Oid			want = pseudo_type(column->source);
				bool		fits = base == want ||
				(want == TEXTOID && (base == VARCHAROID || base == BPCHAROID));

				if (!fits)
					ereport(ERROR,
							(errcode(ERRCODE_DATATYPE_MISMATCH),
							 errmsg("column \"%s\" cannot hold %s", name,
									reading ? reading->field : "$refresh_time"),
							 errdetail("The column has type %s, the pseudo-field has type %s.",
									   format_type_be(att->atttypid), format_type_be(want)),
							 reading ? 0 :
							 errhint("A column \"refresh_time\" that is not mapped is $refresh_time: change its type, or map it in \"columns\".")));
				return true;
			}
	}
	if (reading && strcmp(reading->field, CDC_WHOLE_ROW) == 0)
		reading = whole_row_reading(reading, att->atttypid);
	column->converter = cdc_converter_create(att->atttypid, att->atttypmod,
											 reading, strict);
	column->may_raise = cdc_converter_may_raise(column->converter);
	return true;
}

List *
cdc_target_primary_key(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
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
	table_close(rel, AccessShareLock);
	return key;
}

/* Is this unique index over exactly the key's columns, in any order? */
static bool
index_is_key(const CdcTarget *target, Form_pg_index form)
{
	if (form->indnkeyatts != target->nkeys)
		return false;
	for (int i = 0; i < form->indnkeyatts; i++)
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

		if (form->indisvalid && (form->indisunique || form->indisexclusion))
		{
			if (form->indisunique && index_is_key(target, form) &&
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

	if (strncmp(field, SOURCE_PREFIX, strlen(SOURCE_PREFIX)) != 0)
		return false;
	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(field + strlen(SOURCE_PREFIX), names[i]) == 0)
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

CdcTarget *
cdc_target_describe(Oid relid, List *key, List *readings, bool strict)
{
	Relation	rel = table_open(relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	CdcTarget  *target = palloc0(sizeof(CdcTarget));
	ListCell   *lc;

	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("target \"%s\" is not a table", RelationGetRelationName(rel)),
				 errhint("A target is a table or a partitioned table.")));
	if (rel->rd_rules != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("target \"%s\" has rules", RelationGetRelationName(rel)),
				 errdetail("Rules rewrite the statements of a sync, which then neither changes nor counts what it should."),
				 errhint("Use triggers in their place.")));
	foreach(lc, readings)
		(void) find_column(rel, ((CdcReading *) lfirst(lc))->column);

	if (key == NIL)
		key = cdc_target_primary_key(relid);
	if (key == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("target \"%s\" has no usable key", RelationGetRelationName(rel)),
				 errdetail("It has no primary key, and no key was named."),
				 errhint("Add a primary key to the target, or name the key columns with key => ARRAY[..].")));

	target->relid = relid;
	target->columns = palloc0(sizeof(CdcColumn) * desc->natts);
	target->fields = palloc0(sizeof(CdcField) * desc->natts);
	target->source_fields = palloc0(sizeof(CdcField) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && !is_server_made(att, key, readings) &&
			describe_column(target, &target->columns[target->ncolumns], att,
							find_reading(readings, NameStr(att->attname)), strict))
			target->ncolumns++;
		if (!att->attisdropped && att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
			target->identity_always = true;
	}

	describe_key(target, rel, key, readings);
	describe_indexes(target, rel);
	target->deferrable = has_deferrable_constraint(rel);
	table_close(rel, AccessShareLock);
	return target;
}
