/*-------------------------------------------------------------------------
 *
 * snapshot.h
 *	  Snapshots of a source's table that a pipeline sees go by, and whether it
 *	  has seen all of one.
 *
 * Only for pipelines with "on_snapshot" replace; nobody else keeps account.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SNAPSHOT_H
#define CDC_SNAPSHOT_H

#include "pipeline.h"
#include "rank.h"

/*
 * What one partition has of one snapshot.  Without rows it only says how far
 * the partition must have been read.
 */
typedef struct CdcSnapshotRun
{
	int64		identity;		/* of the snapshot: where it found the source */
	int64		scope;			/* the fields of the source in the row's key: snapshots
								 * of different ones have nothing to do with each other */
	int64		origin;			/* of its rows: server, database, schema, table; 0:
								 * of several */
	int64		partition;
	int32		epoch;
	int64		nrows;
	int64		after_offset;	/* what came before its first row ends here */
	int64		first_offset;	/* of its rows; -1: it has none */
	int64		last_offset;
	bool		certain;		/* nothing of it was cut off before that */
	bool		initial;		/* nothing came before it, the target was empty */
	bool		done;			/* it has replaced the target, and nothing more of it
								 * has come since */
	bool		headed;			/* one of them says that it is the first */
	bool		marked;			/* its rows say which is the first, or the last of
								 * the table */
	int64		end_offset;		/* of its last row, which says so; -1: none did */
	int64		streamed_offset;	/* first event after its rows; -1 */
	int32		await_epoch;
	int64		await_offset;	/* the partition is to be read up to here; -1: not
								 * known yet */
	Timestamp	first_time;		/* Kafka's time of the first row; DT_NOBEGIN */
	Timestamp	ended_at;		/* when the sign of its end landed; DT_NOBEGIN */
	int64		source_ts_ms;	/* the source's clock; 0: unknown */
	TimestampTz noted_at;		/* its first row was noted */
	bool		changed;		/* since it was stored */
} CdcSnapshotRun;

typedef struct CdcSnapshots
{
	const CdcPipeline *pipeline;
	const CdcTarget *target;
	MemoryContext context;
	bool		target_empty;	/* when the sync began, the first one */
	List	   *runs;			/* CdcSnapshotRun *, as they were noted */
} CdcSnapshots;

/* Of the partition that is being read; CdcProgress.snapshot. */
typedef struct CdcSnapshotPart
{
	CdcSnapshots *all;
	CdcSnapshotRun *run;		/* the last one, or NULL */
} CdcSnapshotPart;

/* What the catalog knows; in the current memory context. */
extern CdcSnapshots *cdc_snapshots_load(const CdcPipeline *pipeline,
										const CdcTarget *target);

/* Let the ranking note the snapshots of these partitions. */
extern void cdc_snapshots_watch(CdcSnapshots *snapshots, int npartitions,
								CdcProgress *progress);

/* A change of record i of a chunk is about to be ranked. */
extern void cdc_snapshot_note(CdcProgress *progress, const CdcChange *change,
							  const CdcChunk *chunk, int i);

/* The scope of a row, by its tokens by column. */
extern int64 cdc_snapshot_row_scope(const CdcTarget *target, const CdcToken *tokens);

/* The scopes (int64 *) that snapshots are known of. */
extern List *cdc_snapshots_scopes(const CdcSnapshots *snapshots);

/* Is it a row of this snapshot? */
extern bool cdc_snapshot_has(const CdcSnapshots *snapshots, int64 identity,
							 const CdcChange *change, int64 *origin);

/* Write what has changed; in the transaction that writes the watermarks. */
extern void cdc_snapshots_store(CdcSnapshots *snapshots);

/*
 * The newest snapshot of a scope, if it has been read to its end in every partition: a list
 * of CdcSnapshotRun, one for each partition, in their order; else NIL, and
 * *waits tells whether that may become known without any new record.  *why: set
 * if the snapshot is over, but parts of it may be missing.
 */
extern List *cdc_snapshots_complete(CdcSnapshots *snapshots, int64 scope,
									int npartitions,
									const CdcProgress *progress,
									const CdcLandingPosition *positions,
									bool *waits, char **why);

/*
 * The snapshot of these runs is done with, and all others of its scope.  Should
 * more rows of it come (the connector begins again at the same place, or several
 * threads have read the table), they belong to those that are there.
 */
extern void cdc_snapshots_done(CdcSnapshots *snapshots, const List *runs,
							   int npartitions, const CdcProgress *progress);

/*
 * Forget all snapshots of a pipeline.  What is still to come of them is not to be
 * taken for a snapshot.
 */
extern void cdc_snapshots_abandon(const char *pipeline);

#endif							/* CDC_SNAPSHOT_H */
