/*-------------------------------------------------------------------------
 *
 * staging.h
 *	  Staging: what a window changes, as rows: the latest change of each key, or
 *	  in modes that keep every change each of them.
 *
 * The table has the columns of the target that we feed, under their names and
 * types (those that the target gets later come last), and what the merge needs
 * and people look at:
 *
 *	op, ts_ms, record_rank, refresh_time, kafka_partition, kafka_offset
 *		where the change comes from; a column of the target that is fed by the
 *		same pseudo-field stands for it, otherwise a name that is taken gets a
 *		"_"
 *	cdc_action "char"
 *		'd' delete the key's row, 'u' update or insert it, 'r' delete and
 *		insert it (a delete preceded in the window); versions.c has its own
 *	cdc_unset smallint[]
 *		columns (numbers in the target) that the change left out: n is
 *		missing, -n is unavailable (it must come from the row that is there);
 *		NULL: none
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_STAGING_H
#define CDC_STAGING_H

#include "executor/tuptable.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

#include "target.h"

/* Service columns, in the order of the table. */
typedef enum CdcStagingColumn
{
	CDC_STAGING_OP,
	CDC_STAGING_TS_MS,
	CDC_STAGING_RECORD_RANK,
	CDC_STAGING_REFRESH_TIME,
	CDC_STAGING_PARTITION,
	CDC_STAGING_OFFSET,
	CDC_STAGING_ACTION,
	CDC_STAGING_UNSET,
	CDC_STAGING_NCOLUMNS
} CdcStagingColumn;

/* Name of a service column in the staging table of this target. */
extern const char *cdc_staging_column(const CdcTarget *target,
									  CdcStagingColumn column);

/*
 * Make the staging table "<name>_stg" for a target in schema nspid, as the
 * current user.  42P07 with a hint if a relation of the user's is in the way.
 */
extern Oid	cdc_staging_create(const char *name, Oid nspid,
							   const CdcTarget *target);

/*
 * Lock the staging table so that one session syncs the pipeline at a time and
 * readers are not in the way (SHARE UPDATE EXCLUSIVE, to the end of the
 * transaction).  nowait: false if another session has it.
 */
extern bool cdc_staging_lock(Oid staging, const char *pipeline, bool nowait);

/*
 * Give the staging table the columns that the target has now, if the target
 * was altered.  As the current user.
 */
extern void cdc_staging_adapt(Oid staging, const CdcTarget *target);

/* Empty it: by TRUNCATE where nobody looks, else by DELETE. */
extern void cdc_staging_clear(Oid staging);

/*
 * Writing.  values and nulls have an entry for each column of the target, then
 * one for each service column (ncolumns + CDC_STAGING_..).  The Datums of a row
 * must stay valid until flush, which is called at least every
 * CDC_STAGING_BATCH rows.
 */
#define CDC_STAGING_BATCH	1000

typedef struct CdcStagingWriter CdcStagingWriter;

extern CdcStagingWriter *cdc_staging_begin(Oid staging, const CdcTarget *target);
extern void cdc_staging_put(CdcStagingWriter *writer, const Datum *values,
							const bool *nulls);
extern void cdc_staging_flush(CdcStagingWriter *writer);

/* After an error in put or flush: forget the rows since the last flush. */
extern void cdc_staging_forget(CdcStagingWriter *writer);

/* Returns the TIDs of the rows in the order of the puts: they rise. */
extern ItemPointerData *cdc_staging_end(CdcStagingWriter *writer);

/*
 * Reading a row back: its values by column of the target, and which of them it
 * leaves out; valid to the next row.  False: it is not there any more.
 */
typedef struct CdcStagingReader
{
	Datum	   *values;			/* [ncolumns] */
	bool	   *nulls;
	bool	   *unset;
	const CdcTarget *target;
	Relation	rel;
	TupleTableSlot *slot;
	int		   *at;				/* [ncolumns] place in the slot */
	int			unset_at;
} CdcStagingReader;

extern CdcStagingReader *cdc_staging_read_begin(Oid staging, const CdcTarget *target);
extern bool cdc_staging_read(CdcStagingReader *reader, const ItemPointerData *tid);
extern void cdc_staging_read_end(CdcStagingReader *reader);

#endif							/* CDC_STAGING_H */
