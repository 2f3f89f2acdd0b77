/*-------------------------------------------------------------------------
 *
 * direct.c
 *	  A target that is written without SQL.
 *
 * As logical replication writes its tables: rows are found by the index over the
 * key, and go through the table's access method, its constraints and indexes.
 * Only for an ordinary table without anything that makes more of a change than
 * that, and where nothing depends on the order of the rows; for all others there
 * is SQL (merge_step.c), which is also the resort when a row is refused or
 * another transaction has been at it.  So whoever uses this runs in a
 * subtransaction that can be rolled back.
 *
 * As the current user, who must have all privileges on the table; the caller
 * holds a lock on it.  All memory is in the context of cdc_direct_begin().
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
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_namespace.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "compat.h"
#include "direct.h"
#include "merge_sql.h"

/* So many rows are inserted at a time. */
#define INSERT_ROWS		1000

/*
 * From so many rows a page of the table on, most pages are looked at anyway, and
 * a row that is looked for is a few steps behind the last one.
 */
#define DENSE_ROWS		16
#define MAX_STEPS		8

typedef struct CdcDirectState
{
	const CdcTarget *target;
	Relation	index;			/* over the key; NULL: no row is looked up */
	IndexScanDesc scan;			/* NULL: the table is empty */
	ScanKeyData keys[INDEX_MAX_KEYS];
	int			key_no[INDEX_MAX_KEYS]; /* place in the target's key */
	bool		dense;			/* step along the index, see step_to() */
	FmgrInfo   *compare;		/* .. by the index's own order */
	StringInfoData last;		/* .. from what was last looked for, if there .. */
	Datum		last_value;		/* .. is a scan, */
	enum
	{
		NOWHERE, AT_ROW, AT_END
	}			place;			/* which stands there */
	CommandId	cid;
	EState	   *estate;
	ResultRelInfo *result;
	bool		key_stays;		/* the only index is over the key, which no update
								 * changes */
	TupleTableSlot *row;		/* values and nulls are this one's */
	ExprState **defaults;		/* [natts] NULL: NULL */
	AttrNumber *unfed;			/* [nunfed] columns that no event feeds */
	int			nunfed;
	bool	   *has_default;	/* [natts] the one above is made */
	bool		may_update;		/* the publications of the table let rows change, */
	bool		may_delete;		/* .. and go */
	TupleDesc	desc;			/* of .. */
	TupleTableSlot *inserts[INSERT_ROWS];
	int			ninserts;
	bool		one_by_one;		/* a default may look at the rows before */
} CdcDirectState;

/* Is there anything in the table that only the executor heeds? */
static bool
is_plain(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	if (rel->rd_rel->relkind != RELKIND_RELATION ||
		rel->rd_rel->relam != HEAP_TABLE_AM_OID ||
		rel->rd_rel->relispartition || rel->rd_rel->relhassubclass ||
		rel->trigdesc != NULL || rel->rd_rules != NULL ||
		check_enable_rls(RelationGetRelid(rel), InvalidOid, true) == RLS_ENABLED)
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

static bool
may_write(Relation rel)
{
	AclMode		mode = ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE;

	return pg_class_aclmask(RelationGetRelid(rel), GetUserId(), mode, ACLMASK_ALL) == mode &&
		object_aclcheck_compat(NamespaceRelationId, RelationGetNamespace(rel), GetUserId(),
							   ACL_USAGE) == ACLCHECK_OK;
}

/* The place of a column in the key, or -1. */
static int
place_in_key(const CdcTarget *target, AttrNumber attnum)
{
	for (int k = 0; k < target->nkeys; k++)
		if (target->columns[target->keys[k]].attnum == attnum)
			return k;
	return -1;
}

/* Has the index all rows that are looked for: in history, the current ones? */
static bool
has_all_rows(const CdcTarget *target, Relation index)
{
	List	   *predicate = RelationGetIndexPredicate(index);

	if (target->mode != CDC_MODE_HISTORY)
		return predicate == NIL;
	return list_length(predicate) == 1 && IsA(linitial(predicate), Var) &&
		castNode(Var, linitial(predicate))->varattno ==
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
finds_by_key(CdcDirectState *st, Relation index)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisunique || !form->indisvalid || !form->indimmediate ||
		index->rd_rel->relam != BTREE_AM_OID ||
		form->indnkeyatts != st->target->nkeys || !has_all_rows(st->target, index) ||
		!is_safe(index))
		return false;
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		int			k = place_in_key(st->target, form->indkey.values[i]);
		const CdcColumn *c;
		Oid			operator;

		if (k < 0)
			return false;
		c = &st->target->columns[st->target->keys[k]];
		operator = get_opfamily_member(index->rd_opfamily[i], index->rd_opcintype[i],
									   index->rd_opcintype[i], BTEqualStrategyNumber);
		if (!OidIsValid(operator) || index->rd_indcollation[i] != c->collation ||
			operator != lookup_type_cache(c->typid, TYPECACHE_EQ_OPR)->eq_opr)
			return false;
		ScanKeyEntryInitialize(&st->keys[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid,
							   c->collation, get_opcode(operator), (Datum) 0);
		st->key_no[i] = k;
	}
	return true;
}

static Relation
open_key_index(CdcDirectState *st, Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);

		if (finds_by_key(st, index))
			return index;
		index_close(index, RowExclusiveLock);
	}
	return NULL;
}

/* Open a scan that finds rows, one by one or side by side. */
static void
begin_scan(CdcDirectState *st, Relation rel, int64 nrows)
{
	BlockNumber pages = RelationGetNumberOfBlocks(rel);

	if (pages == 0)
		return;
	st->scan = index_beginscan_compat(rel, st->index, GetActiveSnapshot(), NULL,
									  st->target->nkeys, 0);
	st->dense = st->target->nkeys == 1 && nrows / DENSE_ROWS >= pages &&
		!(st->index->rd_indoption[0] & INDOPTION_DESC);
	if (!st->dense)
		return;
	initStringInfo(&st->last);
	st->compare = index_getprocinfo(st->index, 1, BTORDER_PROC);
	ScanKeyEntryInitialize(&st->keys[0], 0, 1, BTGreaterEqualStrategyNumber, InvalidOid,
						   st->keys[0].sk_collation,
						   get_opcode(get_opfamily_member(st->index->rd_opfamily[0],
														  st->index->rd_opcintype[0],
														  st->index->rd_opcintype[0],
														  BTGreaterEqualStrategyNumber)),
						   (Datum) 0);
}

static void
list_unfed(CdcDirectState *st, Relation rel)
{
	int			natts = RelationGetDescr(rel)->natts;

	st->unfed = palloc(sizeof(AttrNumber) * natts);
	for (AttrNumber a = 1; a <= natts; a++)
	{
		bool		fed = false;

		for (int i = 0; i < st->target->ncolumns; i++)
			fed |= st->target->columns[i].attnum == a;
		if (!fed)
			st->unfed[st->nunfed++] = a;
	}
}

CdcDirect *
cdc_direct_begin(const CdcTarget *target, bool find, int64 nrows)
{
	CdcDirect  *d = palloc0(sizeof(CdcDirect));
	CdcDirectState *st = palloc0(sizeof(CdcDirectState));
	Relation	rel = table_open(target->relid, RowExclusiveLock);

	st->target = target;
	if (!is_plain(rel) || !may_write(rel) || target->deferrable ||
		(find && target->other_unique && target->mode != CDC_MODE_HISTORY) ||
		(find && (st->index = open_key_index(st, rel)) == NULL))
	{
		table_close(rel, NoLock);
		return NULL;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	st->cid = GetCurrentCommandId(true);
	st->estate = CreateExecutorState();
	st->result = makeNode(ResultRelInfo);
	InitResultRelInfo(st->result, rel, 0, NULL, 0);
	ExecOpenIndices(st->result, false);
	st->key_stays = st->index && st->result->ri_NumIndices == 1 &&
		RelationGetIndexPredicate(st->index) == NIL && !has_coarse_key(target);
	st->row = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	st->defaults = palloc0(sizeof(ExprState *) * RelationGetDescr(rel)->natts);
	st->has_default = palloc0(RelationGetDescr(rel)->natts);
	if (st->index)
		begin_scan(st, rel, nrows);
	list_unfed(st, rel);
	d->rel = rel;
	d->old = table_slot_create(rel, NULL);
	/* its references are not counted: a thousand slots would make that slow */
	st->desc = CreateTupleDescCopy(RelationGetDescr(rel));
	d->values = st->row->tts_values;
	d->nulls = st->row->tts_isnull;
	d->state = st;
	return d;
}

void
cdc_direct_next(CdcDirect *d)
{
	CHECK_FOR_INTERRUPTS();
	ResetPerTupleExprContext(d->state->estate);
}

static int
compare_keys(CdcDirectState *st, Datum a, Datum b)
{
	return DatumGetInt32(FunctionCall2Coll(st->compare, st->index->rd_indcollation[0], a, b));
}

/* Keep what is looked for: the caller's memory of it is reused. */
static void
keep_last(CdcDirectState *st, Datum key)
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
step_to(CdcDirect *d, Datum key)
{
	CdcDirectState *st = d->state;
	bool		ahead = st->place != NOWHERE && compare_keys(st, st->last_value, key) <= 0;

	for (int steps = 0;; steps++)
	{
		bool		isnull;
		int			cmp;

		if (!ahead || steps == MAX_STEPS)
		{
			st->keys[0].sk_argument = key;
			index_rescan(st->scan, st->keys, 1, NULL, 0);
			ahead = true;
			st->place = NOWHERE;
		}
		if (st->place == AT_ROW)
		{
			cmp = compare_keys(st, slot_getattr(d->old, st->index->rd_index->indkey.values[0], &isnull),
							   key);
			if (cmp >= 0)
			{
				keep_last(st, key);
				return cmp == 0;
			}
		}
		else if (st->place == AT_END)
			return false;
		st->place = index_getnext_slot(st->scan, ForwardScanDirection, d->old) ?
			AT_ROW : AT_END;
		if (st->place == AT_END)
			keep_last(st, key);
	}
}

bool
cdc_direct_find(CdcDirect *d, const Datum *key)
{
	CdcDirectState *st = d->state;

	if (st->scan == NULL)
		return false;
	if (st->dense)
		return step_to(d, key[0]);
	for (int i = 0; i < st->target->nkeys; i++)
		st->keys[i].sk_argument = key[st->key_no[i]];
	index_rescan(st->scan, st->keys, st->target->nkeys, NULL, 0);
	return index_getnext_slot(st->scan, ForwardScanDirection, d->old);
}

void
cdc_direct_set_default(CdcDirect *d, AttrNumber attnum)
{
	CdcDirectState *st = d->state;
	int			i = attnum - 1;

	if (!st->has_default[i])
	{
		MemoryContext old = MemoryContextSwitchTo(st->estate->es_query_cxt);
		Node	   *expr = TupleDescAttr(RelationGetDescr(d->rel), i)->attisdropped ? NULL :
			build_column_default(d->rel, attnum);

		st->one_by_one |= expr && contain_volatile_functions_not_nextval(expr);
		if (expr)
			st->defaults[i] = ExecInitExpr(expression_planner((Expr *) expr), NULL);
		st->has_default[i] = true;
		MemoryContextSwitchTo(old);
	}
	d->values[i] = (Datum) 0;
	d->nulls[i] = true;
	if (st->defaults[i])
		d->values[i] = ExecEvalExprSwitchContext(st->defaults[i],
												 GetPerTupleExprContext(st->estate),
												 &d->nulls[i]);
}

void
cdc_direct_set_unfed(CdcDirect *d)
{
	for (int i = 0; i < d->state->nunfed; i++)
		cdc_direct_set_default(d, d->state->unfed[i]);
}

void
cdc_direct_set_old(CdcDirect *d)
{
	int			natts = RelationGetDescr(d->rel)->natts;

	slot_getallattrs(d->old);
	memcpy(d->values, d->old->tts_values, sizeof(Datum) * natts);
	memcpy(d->nulls, d->old->tts_isnull, sizeof(bool) * natts);
}

/* The new row, as a tuple that the constraints let pass. */
static void
store_row(CdcDirect *d, TupleTableSlot *slot)
{
	int			natts = RelationGetDescr(d->rel)->natts;

	ExecClearTuple(slot);
	if (slot != d->state->row)
	{
		memcpy(slot->tts_values, d->values, sizeof(Datum) * natts);
		memcpy(slot->tts_isnull, d->nulls, sizeof(bool) * natts);
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(d->rel);
	if (RelationGetDescr(d->rel)->constr)
		ExecConstraints(d->state->result, slot, d->state->estate);
}

/*
 * Updates and deletes of a published table need a replica identity; a publication
 * may have one of them and not the other.
 */
static void
check_identity(CdcDirect *d, CmdType command, bool *checked)
{
	if (!*checked)
		CheckCmdReplicaIdentity(d->rel, command);
	*checked = true;
}

/*
 * A new version of a row in the only index that there is.  The key is what it
 * was, so nothing need be looked up to know it unique: 7 % of a sync whose
 * updates are not HOT.
 */
static void
enter_key(CdcDirect *d)
{
	CdcDirectState *st = d->state;
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	FormIndexDatum(st->result->ri_IndexRelationInfo[0], st->row, st->estate, values, nulls);
	(void) index_insert(st->result->ri_IndexRelationDescs[0], values, nulls,
						&st->row->tts_tid, d->rel, UNIQUE_CHECK_NO, true,
						st->result->ri_IndexRelationInfo[0]);
}

bool
cdc_direct_update(CdcDirect *d)
{
	CdcDirectState *st = d->state;
	TM_FailureData failure;
	LockTupleMode lock;
	CDC_UPDATE_INDEXES which;

	check_identity(d, CMD_UPDATE, &st->may_update);
	store_row(d, st->row);
	if (table_tuple_update(d->rel, &d->old->tts_tid, st->row, st->cid, GetActiveSnapshot(),
						   InvalidSnapshot, true, &failure, &lock, &which) != TM_Ok)
		return false;
	if (st->key_stays && CDC_UPDATE_ALL(which))
		enter_key(d);
	else if (CDC_UPDATE_ALL(which) || CDC_UPDATE_SOME(which))
		list_free(ExecInsertIndexTuples_compat(st->result, st->row, st->estate, true, false,
											   NULL, NIL, CDC_UPDATE_SOME(which)));
	return true;
}

bool
cdc_direct_delete(CdcDirect *d)
{
	TM_FailureData failure;

	check_identity(d, CMD_DELETE, &d->state->may_delete);
	return table_tuple_delete(d->rel, &d->old->tts_tid, d->state->cid, GetActiveSnapshot(),
							  InvalidSnapshot, true, &failure, false) == TM_Ok;
}

static void
flush_inserts(CdcDirect *d)
{
	CdcDirectState *st = d->state;
	MemoryContext old;

	if (st->ninserts == 0)
		return;
	/* what it makes of rows with long values stays behind */
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(st->estate));
	table_multi_insert(d->rel, st->inserts, st->ninserts, st->cid, 0, NULL);
	MemoryContextSwitchTo(old);
	for (int i = 0; i < st->ninserts; i++)
	{
		if (st->result->ri_NumIndices > 0)
			list_free(ExecInsertIndexTuples_compat(st->result, st->inserts[i], st->estate,
												   false, false, NULL, NIL, false));
		ResetPerTupleExprContext(st->estate);
		ExecClearTuple(st->inserts[i]);
	}
	st->ninserts = 0;
}

void
cdc_direct_insert(CdcDirect *d)
{
	CdcDirectState *st = d->state;
	TupleTableSlot *slot = st->inserts[st->ninserts];

	if (slot == NULL)
		slot = st->inserts[st->ninserts] =
			MakeSingleTupleTableSlot(st->desc, table_slot_callbacks(d->rel));
	store_row(d, slot);
	/* the caller's values are of his row, which he leaves */
	ExecMaterializeSlot(slot);
	if (++st->ninserts == INSERT_ROWS || st->one_by_one)
		flush_inserts(d);
}

void
cdc_direct_end(CdcDirect *d)
{
	CdcDirectState *st = d->state;

	flush_inserts(d);
	for (int i = 0; i < INSERT_ROWS && st->inserts[i]; i++)
		ExecDropSingleTupleTableSlot(st->inserts[i]);
	ExecDropSingleTupleTableSlot(d->old);
	ExecDropSingleTupleTableSlot(st->row);
	if (st->scan)
		index_endscan(st->scan);
	if (st->index)
		index_close(st->index, NoLock);
	ExecCloseIndices(st->result);
	FreeExecutorState(st->estate);
	PopActiveSnapshot();
	table_close(d->rel, NoLock);
	CommandCounterIncrement();
}
