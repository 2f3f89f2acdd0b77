/*-------------------------------------------------------------------------
 *
 * staging.c
 *	  Staging: what a window changes, as rows.
 *
 * The staging table belongs to the pipeline's owner; everything here runs as
 * that owner in the caller's transaction and SPI connection.  The lock on it
 * is what makes one pipeline sync one at a time.  It is UNLOGGED: after a
 * crash the window is made again from landing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "parser/parse_type.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "staging.h"

/* Below this many pages a DELETE is cheaper than a TRUNCATE's new file. */
#define TRUNCATE_PAGES	64

static const struct
{
	const char *name;
	const char *type;
	CdcColumnSource same_as;	/* a target column fed by this stands for it */
	bool		shared;
}			service_columns[CDC_STAGING_NCOLUMNS] = {
	{"op", "text", CDC_COLUMN_OP, true},
	{"ts_ms", "bigint", CDC_COLUMN_TS_MS, true},
	{"record_rank", "bigint", 0, false},
	{"refresh_time", "timestamp", CDC_COLUMN_REFRESH_TIME, true},
	{"kafka_partition", "bigint", CDC_COLUMN_PARTITION, true},
	{"kafka_offset", "bigint", CDC_COLUMN_OFFSET, true},
	{"cdc_action", "\"char\"", 0, false},
	{"cdc_unset", "smallint[]", 0, false},
};

struct CdcStagingWriter
{
	const CdcTarget *target;
	Relation	rel;
	TupleDesc	desc;			/* a copy: its references belong to no
								 * subtransaction */
	TupleTableSlot *slots[CDC_STAGING_BATCH];
	int			nslots;
	AttrNumber *attnums;		/* of target columns and service columns */
	ItemPointerData *tids;
	int64		ntids;
	int64		maxtids;
};

/* The target's column that stands for a service column, or NULL. */
static const CdcColumn *
shared_column(const CdcTarget *target, CdcStagingColumn column)
{
	if (!service_columns[column].shared)
		return NULL;
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *c = &target->columns[i];

		if (c->source == service_columns[column].same_as &&
			strcmp(c->name, service_columns[column].name) == 0)
			return c;
	}
	return NULL;
}

const char *
cdc_staging_column(const CdcTarget *target, CdcStagingColumn column)
{
	char	   *name = pstrdup(service_columns[column].name);
	bool		taken;

	if (shared_column(target, column))
		return name;
	do
	{
		taken = false;
		for (int i = 0; i < target->ncolumns; i++)
			taken |= strcmp(target->columns[i].name, name) == 0;
		if (taken)
			name = psprintf("%s_", name);
	} while (taken);
	return name;
}

static char *
collation_name(Oid collation)
{
	HeapTuple	tup = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Form_pg_collation form;
	char	   *name;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for collation %u", collation);
	form = (Form_pg_collation) GETSTRUCT(tup);
	name = quote_qualified_identifier(get_namespace_name(form->collnamespace),
									  NameStr(form->collname));
	ReleaseSysCache(tup);
	return name;
}

/* Type and collation of a column, as SQL. */
static char *
column_type(const CdcColumn *column)
{
	char	   *type = format_type_extended(column->typid, column->typmod,
											FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);

	return OidIsValid(column->collation) ?
		psprintf("%s COLLATE %s", type, collation_name(column->collation)) : type;
}

/* The column definitions of the staging table. */
static char *
column_definitions(const CdcTarget *target)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < target->ncolumns; i++)
		appendStringInfo(&buf, "%s%s %s", i ? ", " : "",
						 quote_identifier(target->columns[i].name),
						 column_type(&target->columns[i]));
	for (int i = 0; i < CDC_STAGING_NCOLUMNS; i++)
		if (!shared_column(target, i))
			appendStringInfo(&buf, ", %s %s",
							 quote_identifier(cdc_staging_column(target, i)),
							 service_columns[i].type);
	return buf.data;
}

/* The staging table has more columns than the target, and no table any number. */
static void
check_width(const CdcTarget *target)
{
	int			own = CDC_STAGING_NCOLUMNS;

	for (int i = 0; i < CDC_STAGING_NCOLUMNS; i++)
		own -= shared_column(target, i) != NULL;
	if (target->ncolumns + own > MaxHeapAttributeNumber)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("target \"%s\" has too many columns for a pipeline",
						get_rel_name(target->relid)),
				 errdetail("It takes %d columns from the events, and the pipeline needs %d of its own beside them in a table of %d at most.",
						   target->ncolumns, own, MaxHeapAttributeNumber)));
}

Oid
cdc_staging_create(const char *name, Oid nspid, const CdcTarget *target)
{
	char	   *relname = psprintf("%s_stg", name);
	char	   *qualified = quote_qualified_identifier(get_namespace_name(nspid), relname);
	CdcSpi		spi;
	Oid			relid;

	if (OidIsValid(get_relname_relid(relname, nspid)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation %s already exists", qualified),
				 errdetail("The pipeline \"%s\" needs this name for its staging table.", name),
				 errhint("Rename that relation, give the pipeline another name, or set the option \"helper_schema\".")));
	check_width(target);
	cdc_spi_begin(&spi, NULL);
	cdc_spi_run(psprintf("CREATE UNLOGGED TABLE %s (%s)",
						 qualified, column_definitions(target)),
				0, NULL, NULL, NULL, 0);
	cdc_spi_run(psprintf("COMMENT ON TABLE %s IS %s", qualified,
						 quote_literal_cstr(psprintf("cdcsync pipeline \"%s\": the latest change of each key in the last window", name))),
				0, NULL, NULL, NULL, 0);
	cdc_spi_end(&spi);
	relid = get_relname_relid(relname, nspid);
	return relid;
}

bool
cdc_staging_lock(Oid staging, const char *pipeline, bool nowait)
{
	if (!nowait)
		LockRelationOid(staging, ShareUpdateExclusiveLock);
	else if (!ConditionalLockRelationOid(staging, ShareUpdateExclusiveLock))
		return false;
	if (!OidIsValid(get_rel_namespace(staging)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("pipeline \"%s\" was dropped by another session", pipeline)));
	return true;
}

/* The columns that a staging table should have. */
typedef struct Wanted
{
	const char *name;
	char	   *type;			/* as SQL, with its collation */
	Oid			typid;
	int32		typmod;
	Oid			collation;
	bool		found;
} Wanted;

static Wanted *
wanted_columns(const CdcTarget *target, int *n)
{
	Wanted	   *wanted = palloc0(sizeof(Wanted) * (target->ncolumns + CDC_STAGING_NCOLUMNS));

	*n = 0;
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *c = &target->columns[i];

		wanted[*n].name = c->name;
		wanted[*n].type = column_type(c);
		wanted[*n].typid = c->typid;
		wanted[*n].typmod = c->typmod;
		wanted[(*n)++].collation = c->collation;
	}
	for (int i = 0; i < CDC_STAGING_NCOLUMNS; i++)
	{
		if (shared_column(target, i))
			continue;
		wanted[*n].name = cdc_staging_column(target, i);
		wanted[*n].type = pstrdup(service_columns[i].type);
		parseTypeString(service_columns[i].type, &wanted[*n].typid, &wanted[*n].typmod, false);
		wanted[*n].collation = get_typcollation(wanted[*n].typid);
		(*n)++;
	}
	return wanted;
}

/*
 * The changes that make a staging table's columns the wanted ones, as a list
 * for ALTER TABLE; NULL if they are.  A column whose name stays is kept: a
 * table has numbers for 1600 columns in all its life.
 */
static char *
column_changes(TupleDesc desc, Wanted *wanted, int nwanted)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Wanted	   *w = NULL;

		if (att->attisdropped)
			continue;
		for (int j = 0; j < nwanted && w == NULL; j++)
			if (strcmp(wanted[j].name, NameStr(att->attname)) == 0)
				w = &wanted[j];
		if (w == NULL)
		{
			appendStringInfo(&sql, ", DROP COLUMN %s", quote_identifier(NameStr(att->attname)));
			continue;
		}
		w->found = true;
		if (att->atttypid != w->typid || att->atttypmod != w->typmod ||
			att->attcollation != w->collation)
			appendStringInfo(&sql, ", ALTER COLUMN %s TYPE %s USING NULL",
							 quote_identifier(w->name), w->type);
	}
	for (int j = 0; j < nwanted; j++)
		if (!wanted[j].found)
			appendStringInfo(&sql, ", ADD COLUMN %s %s",
							 quote_identifier(wanted[j].name), wanted[j].type);
	return sql.len ? sql.data + 2 : NULL;
}

void
cdc_staging_adapt(Oid staging, const CdcTarget *target)
{
	Relation	rel = table_open(staging, NoLock);
	char	   *name = cdc_qualified_name(staging);
	int			nwanted;
	Wanted	   *wanted = wanted_columns(target, &nwanted);
	char	   *changes = column_changes(RelationGetDescr(rel), wanted, nwanted);

	table_close(rel, NoLock);
	if (changes == NULL)
		return;
	cdc_spi_run(psprintf("TRUNCATE %s", name), 0, NULL, NULL, NULL, 0);
	cdc_spi_run(psprintf("ALTER TABLE %s %s", name, changes), 0, NULL, NULL, NULL, 0);
}

void
cdc_staging_clear(Oid staging)
{
	Relation	rel = table_open(staging, NoLock);
	BlockNumber pages = RelationGetNumberOfBlocks(rel);
	bool		in_use = rel->rd_refcnt > 1;	/* by a cursor of this session */
	char	   *name = cdc_qualified_name(staging);

	table_close(rel, NoLock);
	if (pages == 0)
		return;
	if (pages > TRUNCATE_PAGES && !in_use &&
		ConditionalLockRelationOid(staging, AccessExclusiveLock))
		cdc_spi_run(psprintf("TRUNCATE %s", name), 0, NULL, NULL, NULL, 0);
	else
		cdc_spi_run(psprintf("DELETE FROM %s", name), 0, NULL, NULL, NULL, 0);
}

CdcStagingWriter *
cdc_staging_begin(Oid staging, const CdcTarget *target)
{
	CdcStagingWriter *w = palloc0(sizeof(CdcStagingWriter));
	int			n = target->ncolumns + CDC_STAGING_NCOLUMNS;

	w->target = target;
	w->rel = table_open(staging, RowExclusiveLock);
	w->desc = CreateTupleDescCopy(RelationGetDescr(w->rel));
	w->attnums = palloc(sizeof(AttrNumber) * n);
	for (int i = 0; i < target->ncolumns; i++)
		w->attnums[i] = get_attnum(staging, target->columns[i].name);
	for (int i = 0; i < CDC_STAGING_NCOLUMNS; i++)
		w->attnums[target->ncolumns + i] = shared_column(target, i) ? InvalidAttrNumber :
			get_attnum(staging, cdc_staging_column(target, i));
	w->maxtids = CDC_STAGING_BATCH;
	w->tids = palloc(sizeof(ItemPointerData) * w->maxtids);
	return w;
}

void
cdc_staging_flush(CdcStagingWriter *w)
{
	BulkInsertState bistate;

	CHECK_FOR_INTERRUPTS();
	if (w->nslots == 0)
		return;
	/* its pin belongs to the subtransaction that we may be in */
	bistate = GetBulkInsertState();
	table_multi_insert(w->rel, w->slots, w->nslots, GetCurrentCommandId(true),
					   TABLE_INSERT_SKIP_FSM, bistate);
	FreeBulkInsertState(bistate);
	if (w->ntids + w->nslots > w->maxtids)
	{
		w->maxtids = w->maxtids * 2;
		w->tids = repalloc_huge(w->tids, sizeof(ItemPointerData) * w->maxtids);
	}
	for (int i = 0; i < w->nslots; i++)
	{
		w->tids[w->ntids++] = w->slots[i]->tts_tid;
		ExecClearTuple(w->slots[i]);
	}
	w->nslots = 0;
}

void
cdc_staging_forget(CdcStagingWriter *writer)
{
	for (int i = 0; i < writer->nslots; i++)
		ExecClearTuple(writer->slots[i]);
	writer->nslots = 0;
}

void
cdc_staging_put(CdcStagingWriter *writer, const Datum *values,
				const bool *nulls)
{
	TupleTableSlot *slot = writer->slots[writer->nslots];
	int			n = writer->target->ncolumns + CDC_STAGING_NCOLUMNS;

	if (slot == NULL)
	{
		/* the caller resets its context between batches */
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(writer));

		slot = writer->slots[writer->nslots] =
			MakeSingleTupleTableSlot(writer->desc, table_slot_callbacks(writer->rel));
		MemoryContextSwitchTo(old);
	}
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts);
	for (int i = 0; i < n; i++)
	{
		AttrNumber	attnum = writer->attnums[i];

		if (attnum == InvalidAttrNumber)
			continue;
		slot->tts_values[attnum - 1] = values[i];
		slot->tts_isnull[attnum - 1] = nulls[i];
	}
	ExecStoreVirtualTuple(slot);
	if (++writer->nslots == CDC_STAGING_BATCH)
		cdc_staging_flush(writer);
}

ItemPointerData *
cdc_staging_end(CdcStagingWriter *writer)
{
	cdc_staging_flush(writer);
	for (int i = 0; i < CDC_STAGING_BATCH && writer->slots[i]; i++)
		ExecDropSingleTupleTableSlot(writer->slots[i]);
	table_finish_bulk_insert(writer->rel, TABLE_INSERT_SKIP_FSM);
	table_close(writer->rel, NoLock);
	CommandCounterIncrement();
	return writer->tids;
}

CdcStagingReader *
cdc_staging_read_begin(Oid staging, const CdcTarget *target)
{
	CdcStagingReader *r = palloc0(sizeof(CdcStagingReader));
	int			n = Max(target->ncolumns, 1);

	r->target = target;
	r->rel = table_open(staging, NoLock);
	r->slot = table_slot_create(r->rel, NULL);
	r->values = palloc(sizeof(Datum) * n);
	r->nulls = palloc(sizeof(bool) * n);
	r->unset = palloc(sizeof(bool) * n);
	r->at = palloc(sizeof(int) * n);
	for (int i = 0; i < target->ncolumns; i++)
		r->at[i] = get_attnum(staging, target->columns[i].name) - 1;
	r->unset_at = get_attnum(staging, cdc_staging_column(target, CDC_STAGING_UNSET)) - 1;
	return r;
}

/* Which columns does the row leave out? */
static void
read_unset(CdcStagingReader *r)
{
	ArrayType  *a = DatumGetArrayTypeP(r->slot->tts_values[r->unset_at]);
	int16	   *numbers = (int16 *) ARR_DATA_PTR(a);
	int			n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));

	for (int i = 0; i < r->target->ncolumns; i++)
		for (int j = 0; j < n; j++)
			r->unset[i] |= abs(numbers[j]) == r->target->columns[i].attnum;
	if (PointerGetDatum(a) != r->slot->tts_values[r->unset_at])
		pfree(a);
}

bool
cdc_staging_read(CdcStagingReader *r, const ItemPointerData *tid)
{
	if (!table_tuple_fetch_row_version(r->rel, unconstify(ItemPointerData *, tid),
									   GetActiveSnapshot(), r->slot))
		return false;
	slot_getallattrs(r->slot);
	for (int i = 0; i < r->target->ncolumns; i++)
	{
		r->values[i] = r->slot->tts_values[r->at[i]];
		r->nulls[i] = r->slot->tts_isnull[r->at[i]];
		r->unset[i] = false;
	}
	if (!r->slot->tts_isnull[r->unset_at])
		read_unset(r);
	return true;
}

void
cdc_staging_read_end(CdcStagingReader *r)
{
	ExecDropSingleTupleTableSlot(r->slot);
	table_close(r->rel, NoLock);
}
