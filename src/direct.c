/*-------------------------------------------------------------------------
 *
 * direct.c
 *	  A target that is written without SQL.
 *
 * Rows are found, and written, in the table itself (direct_table.c), or in the
 * partition that the row belongs to (direct_route.c).
 *
 * Only for a table without anything that makes more of a change than that, and
 * where nothing depends on the order of the rows; for all others there
 * is SQL (merge_step.c), which is also the resort when a row is refused or
 * another transaction has been at it.  So whoever uses this runs in a
 * subtransaction that can be rolled back.
 *
 * As the current user, who must have all privileges on the table; the caller
 * holds a lock on it.  Partitions are locked as they are met.  All memory is in
 * the context of cdc_direct_begin().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_namespace.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "direct.h"
#include "direct_route.h"
#include "direct_table.h"

/* So many rows are inserted at a time. */
#define INSERT_ROWS		1000

/*
 * Of so many partitions each may hold pages in memory that its next row is likely
 * to need; of more, only the last.
 */
#define BUSY_TABLES		64

typedef struct CdcDirectState
{
	CdcDirectCommand command;
	CdcRoute   *route;			/* NULL: the target is not partitioned */
	List	   *tables;			/* that are open */
	CdcDirectTable *table;		/* of the row that was looked for; NULL: none */
	TupleTableSlot *row;		/* values and nulls are this one's */
	Datum	   *key_values;		/* [natts] of what is looked for */
	bool	   *key_nulls;
	ExprState **defaults;		/* [natts] NULL: NULL */
	AttrNumber *unfed;			/* [nunfed] columns that no event feeds */
	int			nunfed;
	bool	   *has_default;	/* [natts] the one above is made */
	bool		one_by_one;		/* a default may look at the rows before */
} CdcDirectState;

/*
 * May the table be written by its rows alone?  Of a partitioned one, what counts
 * besides is looked at in each partition.
 */
static bool
is_plain_root(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	bool		partitioned = rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;

	if ((!partitioned && (rel->rd_rel->relkind != RELKIND_RELATION || rel->rd_rel->relhassubclass)) ||
		rel->rd_rel->relispartition || rel->trigdesc != NULL || rel->rd_rules != NULL ||
		check_enable_rls(RelationGetRelid(rel), InvalidOid, true) == RLS_ENABLED)
		return false;
	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped && TupleDescAttr(desc, i)->attgenerated)
			return false;
	return true;
}

static bool
may_write(Relation rel)
{
	AclMode		mode = ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE;

	return pg_class_aclmask(RelationGetRelid(rel), GetUserId(), mode, ACLMASK_ALL) == mode &&
		object_aclcheck_compat(NamespaceRelationId, RelationGetNamespace(rel), GetUserId(),
							   ACL_USAGE) == ACLCHECK_OK;
}

static void
list_unfed(CdcDirectState *st)
{
	const CdcTarget *target = st->command.target;
	int			natts = RelationGetDescr(st->command.root)->natts;

	st->unfed = palloc(sizeof(AttrNumber) * natts);
	for (AttrNumber a = 1; a <= natts; a++)
	{
		bool		fed = false;

		for (int i = 0; i < target->ncolumns; i++)
			fed |= target->columns[i].attnum == a;
		if (!fed)
			st->unfed[st->nunfed++] = a;
	}
}

static CdcDirectTable *
open_table(CdcDirectState *st, Oid relid)
{
	CdcDirectTable *table = cdc_direct_table_open(&st->command, relid);
	MemoryContext old = MemoryContextSwitchTo(st->command.context);

	if (table)
		st->tables = lappend(st->tables, table);
	MemoryContextSwitchTo(old);
	return table;
}

/* The table itself, or the ways to its partitions; false: SQL has to do it. */
static bool
open_target(CdcDirectState *st)
{
	Relation	rel = st->command.root;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return (st->table = open_table(st, RelationGetRelid(rel))) != NULL;
	st->route = cdc_route_begin(st->command.target, rel, st->command.find);
	return true;
}

CdcDirect *
cdc_direct_begin(const CdcTarget *target, bool find, int64 nrows)
{
	CdcDirect  *d = palloc0(sizeof(CdcDirect));
	CdcDirectState *st = palloc0(sizeof(CdcDirectState));
	Relation	rel = table_open(target->relid, RowExclusiveLock);
	int			natts = RelationGetDescr(rel)->natts;

	if (!is_plain_root(rel) || !may_write(rel))
	{
		table_close(rel, NoLock);
		return NULL;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	st->command = (CdcDirectCommand)
	{
		.target = target,.root = rel,.find = find,.nrows = nrows,
		.cid = GetCurrentCommandId(true),.estate = CreateExecutorState(),
		.context = CurrentMemoryContext
	};
	if (!open_target(st))
	{
		FreeExecutorState(st->command.estate);
		PopActiveSnapshot();
		table_close(rel, NoLock);
		return NULL;
	}
	st->row = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	st->key_values = palloc0(sizeof(Datum) * natts);
	st->key_nulls = palloc0(natts);
	st->defaults = palloc0(sizeof(ExprState *) * natts);
	st->has_default = palloc0(natts);
	list_unfed(st);
	d->rel = rel;
	d->values = st->row->tts_values;
	d->nulls = st->row->tts_isnull;
	d->state = st;
	return d;
}

void
cdc_direct_next(CdcDirect *d)
{
	CHECK_FOR_INTERRUPTS();
	ResetPerTupleExprContext(d->state->command.estate);
}

/* Go to the partition of a row; NULL in *table: there is none.  False: SQL. */
static bool
go_to(CdcDirectState *st, const Datum *values, const bool *nulls, CdcDirectTable **table)
{
	CdcRouteLeaf *leaf;
	CdcRouted	routed;

	*table = st->table;
	if (st->route == NULL)
		return true;
	routed = cdc_route_find(st->route, values, nulls, &leaf);
	if (routed == CDC_ROUTED && leaf->table == NULL)
	{
		leaf->table = open_table(st, leaf->relid);
		if (leaf->table == NULL)
			return false;
		leaf->table->checks_bounds = leaf->is_default;
	}
	*table = routed == CDC_ROUTED ? leaf->table : NULL;
	if (st->table && *table != st->table && list_length(st->tables) > BUSY_TABLES)
		cdc_direct_table_rest(st->table);
	st->table = *table;
	return routed != CDC_ROUTED_BY_SQL;
}

bool
cdc_direct_find(CdcDirect *d, const Datum *key, bool *found)
{
	CdcDirectState *st = d->state;
	const CdcTarget *target = st->command.target;
	CdcDirectTable *table;

	for (int k = 0; st->route && k < target->nkeys; k++)
		st->key_values[target->columns[target->keys[k]].attnum - 1] = key[k];
	if (!go_to(st, st->key_values, st->key_nulls, &table))
		return false;
	*found = table && cdc_direct_table_find(table, key);
	d->old = table ? table->old : NULL;
	return true;
}

void
cdc_direct_set_default(CdcDirect *d, AttrNumber attnum)
{
	CdcDirectState *st = d->state;
	EState	   *estate = st->command.estate;
	int			i = attnum - 1;

	if (!st->has_default[i])
	{
		MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
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
												 GetPerTupleExprContext(estate),
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

/* The new row, as a tuple. */
static TupleTableSlot *
new_row(CdcDirectState *st)
{
	ExecClearTuple(st->row);
	return ExecStoreVirtualTuple(st->row);
}

bool
cdc_direct_update(CdcDirect *d)
{
	return cdc_direct_table_update(d->state->table, new_row(d->state));
}

bool
cdc_direct_delete(CdcDirect *d)
{
	return cdc_direct_table_delete(d->state->table);
}

static void
flush_inserts(CdcDirectState *st)
{
	ListCell   *lc;

	if (st->command.ninserts == 0)
		return;
	foreach(lc, st->tables)
		cdc_direct_table_flush(lfirst(lc));
}

bool
cdc_direct_insert(CdcDirect *d)
{
	CdcDirectState *st = d->state;
	CdcDirectTable *table;

	if (!go_to(st, d->values, d->nulls, &table) || table == NULL ||
		!cdc_direct_table_insert(table, new_row(st)))
		return false;
	if (st->command.ninserts == INSERT_ROWS || st->one_by_one)
		flush_inserts(st);
	return true;
}

void
cdc_direct_end(CdcDirect *d)
{
	CdcDirectState *st = d->state;
	ListCell   *lc;

	flush_inserts(st);
	foreach(lc, st->tables)
		cdc_direct_table_close(lfirst(lc));
	if (st->route)
		cdc_route_end(st->route);
	ExecDropSingleTupleTableSlot(st->row);
	FreeExecutorState(st->command.estate);
	PopActiveSnapshot();
	table_close(d->rel, NoLock);
	CommandCounterIncrement();
}
