/*-------------------------------------------------------------------------
 *
 * direct_route.h
 *	  Which partition of a target a row belongs to.  Only direct*.c include it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_DIRECT_ROUTE_H
#define CDC_DIRECT_ROUTE_H

#include "utils/rel.h"

#include "target.h"

typedef struct CdcRoute CdcRoute;

/* A partition that holds rows. */
typedef struct CdcRouteLeaf
{
	Oid			relid;
	bool		is_default;		/* it, or a partitioned table above it, takes
								 * what no other does */
	struct CdcDirectTable *table;	/* the caller's; NULL at first */
} CdcRouteLeaf;

typedef enum CdcRouted
{
	CDC_ROUTED,
	CDC_ROUTED_NOWHERE,			/* there is no partition for the row */
	CDC_ROUTED_BY_SQL			/* it cannot be told here */
} CdcRouted;

/*
 * The ways to the partitions of a table that the caller has locked.  by_key: all
 * rows with a key must be in the partition that is told for it.
 */
extern CdcRoute *cdc_route_begin(const CdcTarget *target, Relation root, bool by_key);

/*
 * The partition of a row of the root's, [natts]; by_key: of the key columns
 * nothing else is looked at.
 */
extern CdcRouted cdc_route_find(CdcRoute *route, const Datum *values, const bool *nulls,
								CdcRouteLeaf **leaf);

extern void cdc_route_end(CdcRoute *route);

#endif							/* CDC_DIRECT_ROUTE_H */
