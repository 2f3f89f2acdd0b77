/*-------------------------------------------------------------------------
 *
 * direct_table.c
 *	  One table that is written without SQL: a target, or a partition of one.
 *
 * As logical replication writes its tables: rows are found by the index over the
 * key, and go through the table's access method, its constraints and indexes.
 * Rows come in and go out as those of the root, the table that the caller means;
 * a partition may have its columns in another order.
 *
 * Only for an ordinary table without anything that makes more of a change than
 * that, and where nothing depends on the order of the rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "storage/bufmgr.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "compat.h"
#include "direct_table.h"
#include "merge_sql.h"

/* Slots for inserts that all tables together keep. */
#define KEPT_SLOTS		4000

/*
 * From so many rows a page of the table on, most pages are looked at anyway, and
 * a row that is looked for is a few steps behind the last one.
 */
#define DENSE_ROWS		16
#define MAX_STEPS		8

/* .. unless so many more rows turned out to be far away than near. */
#define MAX_FAR			100

typedef struct CdcDirectTableState
{
	CdcDirectCommand *command;
	TupleConversionMap *to_own; /* a row of the root's to one of ours, .. */
	TupleConversionMap *to_root;	/* .. and back; NULL: they are alike */
	Relation	index;			/* over the key; NULL: no row is looked up */
	IndexScanDesc scan;			/* NULL: the table is empty */
	ScanKeyData keys[INDEX_MAX_KEYS];
	ScanKeyData equal[INDEX_MAX_KEYS];
	int			key_no[INDEX_MAX_KEYS]; /* place in the target's key */
	bool		dense;			/* step along the index, see step_to() */
	int			far;			/* .. so many more rows were far than near */
	FmgrInfo   *compare;		/* .. by the index's own order */
	StringInfoData last;		/* .. from what was last looked for, if there .. */
	Datum		last_value;		/* .. is a scan, */
	enum
	{
		NOWHERE, AT_ROW, AT_END
	}			place;			/* which stands there */
	TupleTableSlot *found;		/* the row that was found; "old", if they are alike */
	ResultRelInfo *result;
	bool		key_stays;		/* the only index is over the key, which no update
								 * changes */
	TupleTableSlot *row;		/* ours, if they are not alike */
	bool		may_update;		/* the publications of the table let rows change, */
	bool		may_delete;		/* .. and go */
	TupleDesc	desc;			/* of .. */
	TupleTableSlot **inserts;	/* [maxslots] */
	int			ninserts;
	int			nslots;
	int			maxslots;
} CdcDirectTableState;

/* Is there anything in the table that only the executor heeds? */
static bool
is_plain(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	if (rel->rd_rel->relkind != RELKIND_RELATION ||
		rel->rd_rel->relam != HEAP_TABLE_AM_OID || rel->trigdesc != NULL)
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped &&
			(att->attgenerated || get_typtype(att->atttypid) == TYPTYPE_DOMAIN))
			return false;
	}
	return true;
}

/* May an update change the spelling of a key? */
static bool
has_coarse_key(const CdcTarget *target)
{
	for (int k = 0; k < target->nkeys; k++)
		if (cdc_sql_key_is_coarse(&target->columns[target->keys[k]]))
			return true;
	return false;
}

/* The number of a column of ours in the root. */
static AttrNumber
number_in_root(const CdcDirectTableState *st, AttrNumber attnum)
{
	return st->to_own && attnum > 0 ? st->to_own->attrMap->attnums[attnum - 1] : attnum;
}

/* The place of a column in the key, or -1. */
static int
place_in_key(const CdcDirectTableState *st, AttrNumber attnum)
{
	const CdcTarget *target = st->command->target;

	for (int k = 0; k < target->nkeys; k++)
		if (target->columns[target->keys[k]].attnum == number_in_root(st, attnum))
			return k;
	return -1;
}

/* Has the index all rows that are looked for: in history, the current ones? */
static bool
has_all_rows(const CdcDirectTableState *st, Relation index)
{
	const CdcTarget *target = st->command->target;
	List	   *predicate = RelationGetIndexPredicate(index);

	if (target->mode != CDC_MODE_HISTORY)
		return predicate == NIL;
	return list_length(predicate) == 1 && IsA(linitial(predicate), Var) &&
		number_in_root(st, castNode(Var, linitial(predicate))->varattno) ==
		cdc_target_pseudo(target, CDC_COLUMN_CURRENT)->attnum;
}

/*
 * Does our snapshot see no row whose versions it may have mixed up when it was
 * built?  As the planner asks.
 */
static bool
is_safe(Relation index)
{
	return !index->rd_index->indcheckxmin ||
		TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
							  TransactionXmin);
}

/*
 * Is it an index over the key, whose idea of equality is the key's?  Fills the
 * scan keys.
 */
static bool
finds_by_key(CdcDirectTableState *st, Relation index)
{
	const CdcTarget *target = st->command->target;
	Form_pg_index form = index->rd_index;

	if (!form->indisunique || !form->indisvalid || !form->indimmediate ||
		index->rd_rel->relam != BTREE_AM_OID ||
		form->indnkeyatts != target->nkeys || !has_all_rows(st, index) || !is_safe(index))
		return false;
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		int			k = place_in_key(st, form->indkey.values[i]);
		const CdcColumn *c;
		Oid			operator;

		if (k < 0)
			return false;
		c = &target->columns[target->keys[k]];
		operator = get_opfamily_member(index->rd_opfamily[i], index->rd_opcintype[i],
									   index->rd_opcintype[i], BTEqualStrategyNumber);
		if (!OidIsValid(operator) || index->rd_indcollation[i] != c->collation ||
			operator != lookup_type_cache(c->typid, TYPECACHE_EQ_OPR)->eq_opr)
			return false;
		ScanKeyEntryInitialize(&st->equal[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid,
							   c->collation, get_opcode(operator), (Datum) 0);
		st->key_no[i] = k;
	}
	return true;
}

/*
 * May rows be written in any order?  What can be checked at commit, and where rows
 * are looked up any other constraint between them, is for SQL.  (History adds
 * versions and changes no value but their end.)
 */
static bool
takes_any_order(const CdcDirectTableState *st, Relation index)
{
	Form_pg_index form = index->rd_index;
	const CdcDirectCommand *command = st->command;

	return form->indimmediate &&
		(!(form->indisunique || form->indisexclusion) || index == st->index ||
		 !command->find || command->target->mode == CDC_MODE_HISTORY);
}

/* Open the index over the key; false: SQL has to do it. */
static bool
open_key_index(CdcDirectTableState *st)
{
	bool		fit = true;

	for (int i = 0; st->command->find && i < st->result->ri_NumIndices && st->index == NULL; i++)
		if (finds_by_key(st, st->result->ri_IndexRelationDescs[i]))
			st->index = st->result->ri_IndexRelationDescs[i];
	for (int i = 0; i < st->result->ri_NumIndices; i++)
		fit &= takes_any_order(st, st->result->ri_IndexRelationDescs[i]);
	return fit && (!st->command->find || st->index);
}

/* How rows are found one by one, .. */
static void
find_alone(CdcDirectTableState *st)
{
	memcpy(st->keys, st->equal, sizeof(st->keys));
	st->dense = false;
	st->place = NOWHERE;
}

/* .. and side by side. */
static void
find_along(CdcDirectTableState *st)
{
	st->dense = true;
	initStringInfo(&st->last);
	st->compare = index_getprocinfo(st->index, 1, BTORDER_PROC);
	ScanKeyEntryInitialize(&st->keys[0], 0, 1, BTGreaterEqualStrategyNumber, InvalidOid,
						   st->equal[0].sk_collation,
						   get_opcode(get_opfamily_member(st->index->rd_opfamily[0],
														  st->index->rd_opcintype[0],
														  st->index->rd_opcintype[0],
														  BTGreaterEqualStrategyNumber)),
						   (Datum) 0);
}

/* Open a scan that finds rows. */
static void
begin_scan(CdcDirectTable *table)
{
	CdcDirectTableState *st = table->state;
	BlockNumber pages = RelationGetNumberOfBlocks(table->rel);

	if (pages == 0)
		return;
	st->scan = index_beginscan_compat(table->rel, st->index, GetActiveSnapshot(), NULL,
									  st->command->target->nkeys, 0);
	if (st->command->target->nkeys == 1 && st->command->nrows / DENSE_ROWS >= pages &&
		!(st->index->rd_indoption[0] & INDOPTION_DESC))
		find_along(st);
	else
		find_alone(st);
}

static void
make_slots(CdcDirectTable *table)
{
	CdcDirectTableState *st = table->state;
	Relation	root = st->command->root;

	st->found = table->old = table_slot_create(table->rel, NULL);
	if (st->to_root)
		table->old = MakeSingleTupleTableSlot(RelationGetDescr(root), &TTSOpsVirtual);
	if (st->to_own)
		st->row = MakeSingleTupleTableSlot(RelationGetDescr(table->rel), &TTSOpsVirtual);
	/* its references are not counted: a thousand slots would make that slow */
	st->desc = CreateTupleDescCopy(RelationGetDescr(table->rel));
}

static CdcDirectTable *
open_table(CdcDirectCommand *command, Relation rel)
{
	CdcDirectTable *table = palloc0(sizeof(CdcDirectTable));
	CdcDirectTableState *st = palloc0(sizeof(CdcDirectTableState));

	table->rel = rel;
	table->state = st;
	st->command = command;
	if (rel != command->root)
	{
		st->to_own = convert_tuples_by_name(RelationGetDescr(command->root), RelationGetDescr(rel));
		st->to_root = convert_tuples_by_name(RelationGetDescr(rel), RelationGetDescr(command->root));
	}
	st->result = makeNode(ResultRelInfo);
	InitResultRelInfo(st->result, rel, 0, NULL, 0);
	ExecOpenIndices(st->result, false);
	if (!open_key_index(st))
	{
		ExecCloseIndices(st->result);
		return NULL;
	}
	st->key_stays = st->index && st->result->ri_NumIndices == 1 &&
		RelationGetIndexPredicate(st->index) == NIL && !has_coarse_key(command->target);
	if (st->index)
		begin_scan(table);
	make_slots(table);
	return table;
}

CdcDirectTable *
cdc_direct_table_open(CdcDirectCommand *command, Oid relid)
{
	MemoryContext old = MemoryContextSwitchTo(command->context);
	Relation	rel = table_open(relid, RowExclusiveLock);
	CdcDirectTable *table = is_plain(rel) ? open_table(command, rel) : NULL;

	if (table == NULL)
		table_close(rel, NoLock);
	MemoryContextSwitchTo(old);
	return table;
}

static int
compare_keys(CdcDirectTableState *st, Datum a, Datum b)
{
	return DatumGetInt32(FunctionCall2Coll(st->compare, st->index->rd_indcollation[0], a, b));
}

/* Keep what is looked for: the caller's memory of it is reused. */
static void
keep_last(CdcDirectTableState *st, Datum key)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(st->index), 0);

	st->last_value = key;
	if (att->attbyval)
		return;
	resetStringInfo(&st->last);
	appendBinaryStringInfo(&st->last, DatumGetPointer(key),
						   datumGetSize(key, false, att->attlen));
	st->last_value = PointerGetDatum(st->last.data);
}

/*
 * Find a row behind the one that was found before, along the index: a third of
 * the time of a descent from its root for each row.  Keys that are not in the
 * order of the index, or far apart, are found too, by a new descent.
 */
static bool
step_to(CdcDirectTable *table, Datum key)
{
	CdcDirectTableState *st = table->state;
	bool		ahead = st->place != NOWHERE && compare_keys(st, st->last_value, key) <= 0;

	for (int steps = 0;; steps++)
	{
		bool		isnull;
		int			cmp;

		if (!ahead || steps == MAX_STEPS)
		{
			st->keys[0].sk_argument = key;
			index_rescan(st->scan, st->keys, 1, NULL, 0);
			st->far++;
			ahead = true;
			st->place = NOWHERE;
		}
		if (st->place == AT_ROW)
		{
			cmp = compare_keys(st, slot_getattr(st->found, st->index->rd_index->indkey.values[0], &isnull),
							   key);
			if (cmp >= 0)
			{
				keep_last(st, key);
				if (steps < MAX_STEPS)
					st->far = Max(st->far - 1, 0);
				return cmp == 0;
			}
		}
		else if (st->place == AT_END)
			return false;
		st->place = index_getnext_slot(st->scan, ForwardScanDirection, st->found) ?
			AT_ROW : AT_END;
		if (st->place == AT_END)
			keep_last(st, key);
	}
}

bool
cdc_direct_table_find(CdcDirectTable *table, const Datum *key)
{
	CdcDirectTableState *st = table->state;
	int			nkeys = st->command->target->nkeys;
	bool		found;

	if (st->scan == NULL)
		return false;
	if (st->dense && st->far > MAX_FAR)
		find_alone(st);
	if (st->dense)
		found = step_to(table, key[0]);
	else
	{
		for (int i = 0; i < nkeys; i++)
			st->keys[i].sk_argument = key[st->key_no[i]];
		index_rescan(st->scan, st->keys, nkeys, NULL, 0);
		found = index_getnext_slot(st->scan, ForwardScanDirection, st->found);
	}
	if (found && st->to_root)
		execute_attr_map_slot(st->to_root->attrMap, st->found, table->old);
	return found;
}

void
cdc_direct_table_rest(CdcDirectTable *table)
{
	CdcDirectTableState *st = table->state;

	ExecClearTuple(table->old);
	ExecClearTuple(st->found);
	if (st->scan)
		index_rescan(st->scan, st->keys, st->command->target->nkeys, NULL, 0);
	st->place = NOWHERE;
}

/* A row that the constraints let pass. */
static void
check_row(CdcDirectTable *table, TupleTableSlot *slot)
{
	slot->tts_tableOid = RelationGetRelid(table->rel);
	if (RelationGetDescr(table->rel)->constr)
		ExecConstraints(table->state->result, slot, table->state->command->estate);
}

/* The root's row as one of ours. */
static TupleTableSlot *
own_row(CdcDirectTable *table, TupleTableSlot *row)
{
	CdcDirectTableState *st = table->state;

	return st->to_own ? execute_attr_map_slot(st->to_own->attrMap, row, st->row) : row;
}

/*
 * Updates and deletes of a published table need a replica identity; a publication
 * may have one of them and not the other.
 */
static void
check_identity(CdcDirectTable *table, CmdType command, bool *checked)
{
	if (!*checked)
		CheckCmdReplicaIdentity(table->rel, command);
	*checked = true;
}

/*
 * A new version of a row in the only index that there is.  The key is what it
 * was, so nothing need be looked up to know it unique: 7 % of a sync whose
 * updates are not HOT.
 */
static void
enter_key(CdcDirectTable *table, TupleTableSlot *row)
{
	CdcDirectTableState *st = table->state;
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	FormIndexDatum(st->result->ri_IndexRelationInfo[0], row, st->command->estate, values, nulls);
	(void) index_insert(st->result->ri_IndexRelationDescs[0], values, nulls,
						&row->tts_tid, table->rel, UNIQUE_CHECK_NO, true,
						st->result->ri_IndexRelationInfo[0]);
}

bool
cdc_direct_table_update(CdcDirectTable *table, TupleTableSlot *row)
{
	CdcDirectTableState *st = table->state;
	EState	   *estate = st->command->estate;
	TM_FailureData failure;
	LockTupleMode lock;
	CDC_UPDATE_INDEXES which;

	check_identity(table, CMD_UPDATE, &st->may_update);
	row = own_row(table, row);
	check_row(table, row);
	if (table_tuple_update(table->rel, &st->found->tts_tid, row, st->command->cid,
						   GetActiveSnapshot(), InvalidSnapshot, true, &failure, &lock,
						   &which) != TM_Ok)
		return false;
	if (st->key_stays && CDC_UPDATE_ALL(which))
		enter_key(table, row);
	else if (CDC_UPDATE_ALL(which) || CDC_UPDATE_SOME(which))
		list_free(ExecInsertIndexTuples_compat(st->result, row, estate, true, false,
											   NULL, NIL, CDC_UPDATE_SOME(which)));
	return true;
}

bool
cdc_direct_table_delete(CdcDirectTable *table)
{
	CdcDirectTableState *st = table->state;
	TM_FailureData failure;

	check_identity(table, CMD_DELETE, &st->may_delete);
	return table_tuple_delete(table->rel, &st->found->tts_tid, st->command->cid,
							  GetActiveSnapshot(), InvalidSnapshot, true, &failure,
							  false) == TM_Ok;
}

static void
drop_slots(CdcDirectTableState *st)
{
	for (int i = 0; i < st->nslots; i++)
		ExecDropSingleTupleTableSlot(st->inserts[i]);
	st->command->nslots -= st->nslots;
	st->nslots = 0;
}

void
cdc_direct_table_flush(CdcDirectTable *table)
{
	CdcDirectTableState *st = table->state;
	EState	   *estate = st->command->estate;
	MemoryContext old;

	if (st->ninserts == 0)
		return;
	/* what it makes of rows with long values stays behind */
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	table_multi_insert(table->rel, st->inserts, st->ninserts, st->command->cid, 0, NULL);
	MemoryContextSwitchTo(old);
	for (int i = 0; i < st->ninserts; i++)
	{
		if (st->result->ri_NumIndices > 0)
			list_free(ExecInsertIndexTuples_compat(st->result, st->inserts[i], estate,
												   false, false, NULL, NIL, false));
		ResetPerTupleExprContext(estate);
		ExecClearTuple(st->inserts[i]);
	}
	st->command->ninserts -= st->ninserts;
	st->ninserts = 0;
	if (st->command->nslots > KEPT_SLOTS)
		drop_slots(st);
}

/* The next slot for an insert. */
static TupleTableSlot *
next_slot(CdcDirectTable *table)
{
	CdcDirectTableState *st = table->state;
	MemoryContext old = MemoryContextSwitchTo(st->command->context);

	if (st->ninserts == st->maxslots)
	{
		st->maxslots = Max(2 * st->maxslots, 16);
		st->inserts = st->inserts ?
			repalloc(st->inserts, sizeof(TupleTableSlot *) * st->maxslots) :
			palloc(sizeof(TupleTableSlot *) * st->maxslots);
	}
	if (st->ninserts == st->nslots)
	{
		st->inserts[st->nslots++] =
			MakeSingleTupleTableSlot(st->desc, table_slot_callbacks(table->rel));
		st->command->nslots++;
	}
	MemoryContextSwitchTo(old);
	return st->inserts[st->ninserts];
}

bool
cdc_direct_table_insert(CdcDirectTable *table, TupleTableSlot *row)
{
	CdcDirectTableState *st = table->state;
	TupleTableSlot *slot = next_slot(table);
	int			natts = st->desc->natts;

	row = own_row(table, row);
	ExecClearTuple(slot);
	memcpy(slot->tts_values, row->tts_values, sizeof(Datum) * natts);
	memcpy(slot->tts_isnull, row->tts_isnull, sizeof(bool) * natts);
	ExecStoreVirtualTuple(slot);
	check_row(table, slot);
	if (table->checks_bounds && !ExecPartitionCheck(st->result, slot, st->command->estate, false))
		return false;
	/* the caller's values are of his row, which he leaves */
	ExecMaterializeSlot(slot);
	st->ninserts++;
	st->command->ninserts++;
	return true;
}

void
cdc_direct_table_close(CdcDirectTable *table)
{
	CdcDirectTableState *st = table->state;

	cdc_direct_table_flush(table);
	drop_slots(st);
	if (table->old != st->found)
		ExecDropSingleTupleTableSlot(table->old);
	ExecDropSingleTupleTableSlot(st->found);
	if (st->row)
		ExecDropSingleTupleTableSlot(st->row);
	if (st->scan)
		index_endscan(st->scan);
	ExecCloseIndices(st->result);
	table_close(table->rel, NoLock);
}
