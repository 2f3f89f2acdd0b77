/*-------------------------------------------------------------------------
 *
 * direct_route.c
 *	  Which partition of a target a row belongs to.
 *
 * The executor's own routing raises an error for a row that no partition takes;
 * here that is an answer, as a deleted key need not have one.  Where all
 * partitioning columns are in the key, and are equal where keys are, the key
 * alone tells the partition, and no update moves a row.  Keys with expressions
 * are left to SQL.
 *
 * As the executor does it: the partitions are those of one moment; partitioned
 * tables on the way are locked when they are met, partitions by the caller.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/table.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "catalog/partition.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/typcache.h"

#include "direct_route.h"

/* A partitioned table. */
typedef struct Fork
{
	Relation	rel;
	PartitionKey key;
	PartitionDesc desc;
	bool		is_default;		/* see CdcRouteLeaf */
	AttrNumber *atts;			/* [partnatts] columns of the root's; NULL: SQL */
	struct Fork **forks;		/* [nparts] NULL: not met yet, .. */
	CdcRouteLeaf **leaves;		/* .. or a partition of the other kind */
} Fork;

struct CdcRoute
{
	const CdcTarget *target;
	Relation	root;
	bool		by_key;
	PartitionDirectory directory;
	Fork	   *top;
	List	   *opened;			/* relations below the top */
	MemoryContext context;
};

/* The column of the key that is this column of the root's, or NULL. */
static const CdcColumn *
key_column(const CdcTarget *target, AttrNumber attnum)
{
	for (int k = 0; k < target->nkeys; k++)
		if (target->columns[target->keys[k]].attnum == attnum)
			return &target->columns[target->keys[k]];
	return NULL;
}

/* Are values of the column that are equal in keys equal to the partitioning? */
static bool
agrees_with_key(const CdcColumn *column, PartitionKey key, int i)
{
	Oid			equal = get_opfamily_member(key->partopfamily[i], key->partopcintype[i],
											key->partopcintype[i],
											key->strategy == PARTITION_STRATEGY_HASH ?
											HTEqualStrategyNumber : BTEqualStrategyNumber);

	return equal == lookup_type_cache(column->typid, TYPECACHE_EQ_OPR)->eq_opr &&
		(key->partcollation[i] == column->collation || !OidIsValid(column->collation) ||
		 get_collation_isdeterministic(column->collation));
}

/* The partitioning columns as columns of the root's; NULL: SQL has to do it. */
static AttrNumber *
map_columns(const CdcRoute *route, Relation rel, PartitionKey key)
{
	TupleConversionMap *map = rel == route->root ? NULL :
		convert_tuples_by_name(RelationGetDescr(route->root), RelationGetDescr(rel));
	AttrNumber *atts = palloc(sizeof(AttrNumber) * key->partnatts);

	for (int i = 0; i < key->partnatts; i++)
	{
		const CdcColumn *column;

		if (key->partattrs[i] == 0)
			return NULL;		/* an expression */
		atts[i] = map ? map->attrMap->attnums[key->partattrs[i] - 1] : key->partattrs[i];
		if (!route->by_key)
			continue;
		column = key_column(route->target, atts[i]);
		if (column == NULL || !agrees_with_key(column, key, i))
			return NULL;
	}
	if (map)
		free_conversion_map(map);
	return atts;
}

static Fork *
make_fork(CdcRoute *route, Relation rel, bool is_default)
{
	Fork	   *fork = palloc0(sizeof(Fork));

	fork->rel = rel;
	fork->key = RelationGetPartitionKey(rel);
	fork->desc = PartitionDirectoryLookup(route->directory, rel);
	fork->is_default = is_default;
	fork->atts = map_columns(route, rel, fork->key);
	fork->forks = palloc0(sizeof(Fork *) * Max(fork->desc->nparts, 1));
	fork->leaves = palloc0(sizeof(CdcRouteLeaf *) * Max(fork->desc->nparts, 1));
	return fork;
}

CdcRoute *
cdc_route_begin(const CdcTarget *target, Relation root, bool by_key)
{
	CdcRoute   *route = palloc0(sizeof(CdcRoute));

	route->target = target;
	route->root = root;
	route->by_key = by_key;
	route->context = CurrentMemoryContext;
	/* what is being detached belongs to whom looks at the past */
	route->directory = CreatePartitionDirectory(CurrentMemoryContext, !IsolationUsesXactSnapshot());
	route->top = make_fork(route, root, false);
	return route;
}

/* The place of the partition for these values of the key; -1: none. */
static int
choose(const Fork *fork, Datum *values, bool *nulls)
{
	PartitionKey key = fork->key;
	PartitionBoundInfo bounds = fork->desc->boundinfo;
	bool		equal;
	int			at = -1;

	if (fork->desc->nparts == 0)
		return -1;
	switch (key->strategy)
	{
		case PARTITION_STRATEGY_HASH:
			return bounds->indexes[compute_partition_hash_value(key->partnatts, key->partsupfunc,
																key->partcollation, values,
																nulls) % bounds->nindexes];
		case PARTITION_STRATEGY_LIST:
			if (nulls[0])
				at = bounds->null_index;
			else
			{
				int			found = partition_list_bsearch(key->partsupfunc, key->partcollation,
														   bounds, values[0], &equal);

				if (found >= 0 && equal)
					at = bounds->indexes[found];
			}
			break;
		default:
			for (int i = 0; i < key->partnatts; i++)
				if (nulls[i])
					return bounds->default_index;
			/* the range that ends above the greatest bound that is not greater */
			at = bounds->indexes[partition_range_datum_bsearch(key->partsupfunc,
															   key->partcollation, bounds,
															   key->partnatts, values,
															   &equal) + 1];
			break;
	}
	return at >= 0 ? at : bounds->default_index;
}

/* What there is at a place of a partitioned table that is met first. */
static void
meet(CdcRoute *route, Fork *fork, int at)
{
	MemoryContext old = MemoryContextSwitchTo(route->context);
	Oid			relid = fork->desc->oids[at];
	bool		is_default = fork->is_default || at == fork->desc->boundinfo->default_index;

	if (fork->desc->is_leaf[at])
	{
		fork->leaves[at] = palloc0(sizeof(CdcRouteLeaf));
		fork->leaves[at]->relid = relid;
		fork->leaves[at]->is_default = is_default;
	}
	else
	{
		Relation	rel = table_open(relid, RowExclusiveLock);

		route->opened = lappend(route->opened, rel);
		fork->forks[at] = make_fork(route, rel, is_default);
	}
	MemoryContextSwitchTo(old);
}

CdcRouted
cdc_route_find(CdcRoute *route, const Datum *values, const bool *nulls,
			   CdcRouteLeaf **leaf)
{
	Fork	   *fork = route->top;

	for (;;)
	{
		Datum		key[PARTITION_MAX_KEYS];
		bool		isnull[PARTITION_MAX_KEYS];
		int			at;

		if (fork->atts == NULL)
			return CDC_ROUTED_BY_SQL;
		for (int i = 0; i < fork->key->partnatts; i++)
		{
			key[i] = values[fork->atts[i] - 1];
			isnull[i] = nulls[fork->atts[i] - 1];
		}
		at = choose(fork, key, isnull);
		if (at < 0)
			return CDC_ROUTED_NOWHERE;
		if (fork->leaves[at] == NULL && fork->forks[at] == NULL)
			meet(route, fork, at);
		*leaf = fork->leaves[at];
		if (*leaf)
			return CDC_ROUTED;
		fork = fork->forks[at];
	}
}

void
cdc_route_end(CdcRoute *route)
{
	ListCell   *lc;

	DestroyPartitionDirectory(route->directory);
	foreach(lc, route->opened)
		table_close(lfirst(lc), NoLock);
}
