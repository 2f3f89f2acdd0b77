/*-------------------------------------------------------------------------
 *
 * landing.h
 *	  Landing: the records of a topic in chunks, and the position that is read
 *	  next.
 *
 * A landing is a chunk table, a view over it that un-nests the records, and
 * one position row a partition.  Everything runs in the caller's transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_LANDING_H
#define CDC_LANDING_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "cdcsync.h"

typedef enum CdcStart
{
	CDC_START_EARLIEST,
	CDC_START_LATEST,
	CDC_START_TIMESTAMP
} CdcStart;

/*
 * In the place of an id: records of a landing, once more, in a chunk table that
 * only the current transaction knows.  There are no positions to move.
 */
#define CDC_LANDING_COPY	0

/* A row of cdcsync.landing. */
typedef struct CdcLanding
{
	int32		id;
	Oid			view;
	Oid			chunk;
	Oid			topic;			/* foreign table; InvalidOid: fed by INSERT */
	char	   *topic_name;		/* what it named when the landing was made */
	Oid			owner;
	CdcStart	start;			/* where a new topic is read from */
	int64		start_time;		/* CDC_START_TIMESTAMP: ms since the epoch */
	bool		continues;		/* behind a gap: "on_gap" of all its pipelines */
	int64		refresh_interval;	/* of a worker, in us: the shortest of its
									 * pipelines'; 0: as data comes */
	int64		version;		/* changes with the rows of its pipelines */
} CdcLanding;

/* A row of cdcsync.position. */
typedef struct CdcLandingPosition
{
	int64		partition;
	int32		epoch;
	int64		next_offset;
	int64		last_offset;	/* of the newest record that came from Kafka in
								 * this epoch, -1: unknown */
	int64		last_hash;		/* cdc_record_hash() of it */
} CdcLandingPosition;

/*
 * Make chunk table, view and triggers "<name>_debezium[_chunk]" in schema
 * nspid, owned by the current user, and the catalog row; returns its id.
 * options: those of the landing (start ..), as stored.  Errors 42P07 with a
 * hint when a relation is in the way.
 */
extern int32 cdc_landing_create(const char *name, Oid nspid, Oid topic,
								Jsonb *options);

/* By id; by the OID of its view (NULL if the view is no landing). */
extern CdcLanding *cdc_landing_get(int32 id);
extern CdcLanding *cdc_landing_get_by_view(Oid view);

/*
 * List of CdcLanding: those of an owner that read topics of a server and that a
 * worker is to keep up to date, in the order of their ids.
 */
extern List *cdc_landing_list(Oid serverid, Oid owner);

/* Drop view, chunk table, positions and the catalog row. */
extern void cdc_landing_drop(const CdcLanding *landing);

/*
 * An error unless the user may select from the landing's view; who reads it as
 * its owner on somebody's behalf asks this.
 */
extern void cdc_landing_check_readable(const CdcLanding *landing, Oid userid);

/*
 * Record that neither the extension nor the topic's foreign table can be
 * dropped before the chunk table; again after a restore, which forgets it.
 */
extern void cdc_landing_depend(const CdcLanding *landing);

/*
 * Lock the landing for appending (its catalog row, FOR NO KEY UPDATE, then its
 * position rows in partition order) and return the positions, palloc'ed.
 * nowait: return -1 instead of waiting, for these or for a lock on the chunk
 * table; also if the landing is gone.
 */
extern int	cdc_landing_lock(const CdcLanding *landing, bool nowait,
							 CdcLandingPosition **positions);

/*
 * The same for these partitions alone, which have positions, never waiting.  The
 * catalog's row is locked FOR SHARE: others may append to other partitions meanwhile.
 */
extern int	cdc_landing_lock_some(const CdcLanding *landing, const int64 *partitions,
								  int npartitions, CdcLandingPosition **positions);

/*
 * Deleting landed records and relying on them exclude each other, to the end of
 * the transaction.  keep: many may, and it waits for who deletes; may_delete:
 * false while somebody does.
 */
extern void cdc_landing_keep(const CdcLanding *landing);
extern bool cdc_landing_may_delete(Oid chunk);

/* The positions without a lock, in partition order. */
extern int	cdc_landing_positions(const CdcLanding *landing,
								  CdcLandingPosition **positions);

/*
 * Appending.  begin: after cdc_landing_lock(), with the positions that it
 * returned.  Records of a partition must come in rising offset; one below the
 * partition's next offset is an error.  A partition that has no position yet
 * starts with epoch 0 at the first offset given to append or move.  Memory is
 * bounded: chunks are written at about 1 MB each, and the fullest ones early
 * when all together hold more than 32 MB.
 *
 * move: the position after the last record, when it is known to be higher
 * (control records, compaction).  jump: go on elsewhere, behind a gap.  end:
 * writes what is left and moves the positions, each compared with what was
 * locked (error 40001 if another session moved it).
 */
typedef struct CdcLandingAppend CdcLandingAppend;

extern CdcLandingAppend *cdc_landing_append_begin(const CdcLanding *landing,
												  const CdcLandingPosition *positions,
												  int npositions,
												  Timestamp refresh_time);
extern void cdc_landing_append(CdcLandingAppend *append, const CdcRecord *record);
extern void cdc_landing_move(CdcLandingAppend *append, int64 partition,
							 int64 next_offset);

extern void cdc_landing_jump(CdcLandingAppend *append, int64 partition,
							 int32 epoch, int64 next_offset);

/* The end of the partition's log as it is now seen, for the lag. */
extern void cdc_landing_seen(CdcLandingAppend *append, int64 partition,
							 int64 high_offset);
extern void cdc_landing_append_end(CdcLandingAppend *append);

/*
 * For rows that do not come from Kafka: timestamp (DT_NOBEGIN: none), headers
 * (NULL: none) and refresh_time are given, and record's are not looked at.
 */
extern void cdc_landing_append_row(CdcLandingAppend *append, int64 partition,
								   const CdcRecord *record,
								   Timestamp timestamp, const Jsonb *headers,
								   Timestamp refresh_time);

/* Tells a record from others: of key, value and timestamp. */
extern int64 cdc_record_hash(const CdcRecord *record);

/* The partition's next offset with what was appended; 0: it is new. */
extern int64 cdc_landing_next_offset(CdcLandingAppend *append,
									 int64 partition);

/*
 * Reading: the chunks of one partition and epoch that hold records with offset
 * >= from, in offset order.  The chunk and all that it points to is valid until
 * the next call; its memory is reused, so it does not grow.
 */
typedef struct CdcChunk
{
	int64		partition;
	int32		epoch;
	int64		first_offset;
	int64		last_offset;
	Timestamp	refresh_time;
	char		timestamp_type;
	int			nrecords;
	int			first;			/* index of the first record with offset >= from */
	const int64 *offsets;		/* NULL: contiguous from first_offset */
	const Timestamp *timestamps;	/* DT_NOBEGIN where the record has none */
	const CdcBytes *keys;
	const CdcBytes *values;
	int			nheaders;		/* distinct header lists */
	Jsonb	  **headers;		/* [nheaders] */
	const int16 *header_no;		/* [nrecords], from 1, 0: none; NULL: all have
								 * headers[0] (or none, if nheaders is 0) */
	struct CdcParcel *parcel;	/* another process has decoded it, see parcel.h;
								 * NULL: none has */
} CdcChunk;

typedef struct CdcLandingScan CdcLandingScan;

/* As the current user, who must be allowed to read the chunks. */
extern CdcLandingScan *cdc_landing_scan_begin(const CdcLanding *landing,
											  int64 partition, int32 epoch,
											  int64 from);

/* Go on elsewhere in the landing: cheaper than to end and begin. */
extern void cdc_landing_scan_move(CdcLandingScan *scan, int64 partition,
								  int32 epoch, int64 from);
extern const CdcChunk *cdc_landing_scan_next(CdcLandingScan *scan);

/*
 * The same backwards: the chunks of a partition and epoch that begin below
 * "before", the last one first; they may reach beyond it.
 */
extern void cdc_landing_scan_move_back(CdcLandingScan *scan, int64 partition,
									   int32 epoch, int64 before);
extern const CdcChunk *cdc_landing_scan_previous(CdcLandingScan *scan);
extern void cdc_landing_scan_end(CdcLandingScan *scan);

#define cdc_chunk_offset(chunk, i) \
	((chunk)->offsets ? (chunk)->offsets[i] : (chunk)->first_offset + (i))

/* Let it begin with the first record that has an offset >= from. */
extern void cdc_chunk_begin_at(CdcChunk *chunk, int64 from);

/* The header list of record i, or NULL. */
extern Jsonb *cdc_chunk_headers(const CdcChunk *chunk, int i);

#endif							/* CDC_LANDING_H */
