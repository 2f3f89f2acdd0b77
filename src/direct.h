/*-------------------------------------------------------------------------
 *
 * direct.h
 *	  A target that is written without SQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_DIRECT_H
#define CDC_DIRECT_H

#include "executor/tuptable.h"
#include "utils/rel.h"

#include "target.h"

typedef struct CdcDirect
{
	Relation	rel;
	TupleTableSlot *old;		/* the row that was found, until the next is looked
								 * for */
	Datum	   *values;			/* [natts] the row that it is to be, .. */
	bool	   *nulls;			/* .. or one that is new */
	struct CdcDirectState *state;
} CdcDirect;

/*
 * Open a target for this command, or NULL: only SQL does all that belongs to a
 * change of it (triggers, policies, generated columns, ..).  find: rows are to be
 * looked up, by the key; nrows: about so many.
 */
extern CdcDirect *cdc_direct_begin(const CdcTarget *target, bool find, int64 nrows);

/* A new row begins: forget what belongs to the last one. */
extern void cdc_direct_next(CdcDirect *direct);

/*
 * The row with this key, [nkeys] in the order of the target's; in history its
 * current version.  False: SQL has to do it.
 */
extern bool cdc_direct_find(CdcDirect *direct, const Datum *key, bool *found);

/*
 * Set of the new row: a column to its default; to theirs all that no event feeds;
 * all columns to those of the old one.
 */
extern void cdc_direct_set_default(CdcDirect *direct, AttrNumber attnum);
extern void cdc_direct_set_unfed(CdcDirect *direct);
extern void cdc_direct_set_old(CdcDirect *direct);

/*
 * Write.  False: SQL has to do it, as another transaction has changed the row,
 * or there is no partition for it.  Inserts are done some at a time.
 */
extern bool cdc_direct_update(CdcDirect *direct);
extern bool cdc_direct_delete(CdcDirect *direct);
extern bool cdc_direct_insert(CdcDirect *direct);

extern void cdc_direct_end(CdcDirect *direct);

#endif							/* CDC_DIRECT_H */
