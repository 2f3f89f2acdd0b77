/*-------------------------------------------------------------------------
 *
 * direct_table.h
 *	  One table that is written without SQL: a target, or a partition of one.
 *	  Only direct*.c include it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_DIRECT_TABLE_H
#define CDC_DIRECT_TABLE_H

#include "access/tupconvert.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

#include "target.h"

/* What the tables of a target share. */
typedef struct CdcDirectCommand
{
	const CdcTarget *target;
	Relation	root;			/* whose rows the caller knows */
	bool		find;			/* rows are looked up, by the key */
	int64		nrows;			/* about so many */
	CommandId	cid;
	EState	   *estate;
	MemoryContext context;		/* of all that is kept */
	int			ninserts;		/* of all tables, that wait */
	int			nslots;			/* .. and room for them */
} CdcDirectCommand;

typedef struct CdcDirectTable
{
	Relation	rel;
	TupleTableSlot *old;		/* the row that was found, as its root has it */
	bool		checks_bounds;	/* what rows belong here may change meanwhile */
	struct CdcDirectTableState *state;
} CdcDirectTable;

/*
 * Open a table, locking it; NULL: only SQL does all that belongs to a change of
 * it.  root, rules and policies are the caller's to look at.
 */
extern CdcDirectTable *cdc_direct_table_open(CdcDirectCommand *command, Oid relid);

/* The row with this key, in the order of the target's; false: none. */
extern bool cdc_direct_table_find(CdcDirectTable *table, const Datum *key);

/*
 * Write a row of the root's.  False: SQL has to do it, as another transaction
 * has changed the row, or it belongs elsewhere.  Inserts wait for the flush.
 */
extern bool cdc_direct_table_update(CdcDirectTable *table, TupleTableSlot *row);
extern bool cdc_direct_table_delete(CdcDirectTable *table);
extern bool cdc_direct_table_insert(CdcDirectTable *table, TupleTableSlot *row);
extern void cdc_direct_table_flush(CdcDirectTable *table);

/* Nothing more for now: let go of pages that are held in memory. */
extern void cdc_direct_table_rest(CdcDirectTable *table);

extern void cdc_direct_table_close(CdcDirectTable *table);

#endif							/* CDC_DIRECT_TABLE_H */
