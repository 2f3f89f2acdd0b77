/*-------------------------------------------------------------------------
 *
 * ingest.h
 *	  What the parts of the ingest worker share.
 *
 * A worker has landings; an open landing has parts, one for each partition of
 * its topic that is the worker's to read; parts of several landings that read
 * the same partition have one source in the consumer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_INGEST_H
#define CDC_INGEST_H

#include "utils/hsearch.h"

#include "kafka.h"
#include "reader.h"
#include "worker.h"

struct CdcIngestLanding;
struct CdcIngestSource;

/* A partition of a landing. */
typedef struct CdcIngestPart
{
	struct CdcIngestLanding *landing;
	struct CdcIngestSource *source;
	CdcReader	reader;			/* with what was taken into the batch */
	CdcLandingPosition stored;	/* as the database has it, as far as we know */
	bool		at_end;			/* all there is has been taken */
	bool		created_again;	/* what has come is not of the topic that landed */
	bool		deaf;			/* takes nothing until it is looked into */
	int64		published_end;	/* end of the log that others were told */
} CdcIngestPart;

/* A partition in the consumer. */
#define CDC_INGEST_SOURCE_NAME	272 /* "partition topic", a topic has at most 249 */
typedef struct CdcIngestSource
{
	char		name[CDC_INGEST_SOURCE_NAME];	/* key */
	char	   *topic;
	int32		partition;
	List	   *parts;
	int			id;				/* in the consumer; -1: is not there */
	int64		offset;			/* what comes next from it */
	bool		listed;			/* in CdcIngest.changed */
	bool		stopped;		/* gives nothing until it is moved */
	bool		doubtful;		/* the log does not hold what was asked for */
	bool		active;			/* something has come since its end was published */
	CdcProblem	problem;		/* it could not be read */
} CdcIngestSource;

/* What became of a landing in a transaction. */
typedef enum CdcIngestOutcome
{
	CDC_INGEST_DONE,
	CDC_INGEST_LOCKED,			/* another session has it */
	CDC_INGEST_MOVED,			/* its position is not what we thought */
	CDC_INGEST_ABSENT,			/* its topic is not there (yet) */
	CDC_INGEST_STOPPED			/* at a gap */
} CdcIngestOutcome;

typedef struct CdcIngestLanding
{
	CdcLanding	def;
	MemoryContext context;		/* of this struct and its strings */
	MemoryContext open_context; /* of what it has while it is open */
	bool		changed;		/* its topic or chunk table was altered */
	bool		open;
	bool		absent;			/* waits for its topic */
	const char *topic;			/* when it is open */
	int			npartitions;
	int			nparts;
	CdcIngestPart *parts;
	TimestampTz opened_at;		/* 0: never */
	int			nknown;			/* partitions whose ends were asked for ahead */
	int64	   *low;			/* [nknown], in context */
	int64	   *high;
	TimestampTz next_open;		/* while it is not open */
	int			pause;			/* ms, the last one for a lock; 0: none */
	CdcProblem	problem;
	bool		told;			/* others know of a problem or note */

	/* the batch */
	bool		dirty;			/* has something to write */
	CdcIngestOutcome outcome;
	int			ntakes;
	int			maxtakes;
	int		   *takes;			/* numbers of events, in batch_context */
	int64		unread;			/* about so many are left in the logs behind it */
	bool		behind;			/* others were told that there is more to land */
} CdcIngestLanding;

/*
 * The current memory context is batch_context, outside of transactions.
 */
typedef struct CdcIngest
{
	const CdcProcess *process;
	MemoryContext context;
	List	   *landings;		/* in the order of their ids */
	TimestampTz next_due;		/* of the next landing or source to be tried */

	/* the consumer */
	MemoryContext kafka_context;
	CdcKafka   *kafka;			/* NULL: is not open */
	uint64		options;		/* hash of what it was opened with */
	TimestampTz next_options;	/* look at them again, if there is a problem */
	MemoryContext asker_context;
	CdcKafka   *asker;			/* see cdc_ingest_asker() */
	TimestampTz asked_at;		/* the last time */
	CdcProblem	problem;		/* of the server */
	TimestampTz next_metadata;
	TimestampTz next_publish;

	HTAB	   *sources;
	int			maxids;
	CdcIngestSource **by_id;
	List	   *changed;		/* sources whose parts have changed */
	List	   *failing;		/* sources with a problem */
	bool		doubt;			/* some source is doubtful, or a part */

	/* the batch */
	MemoryContext batch_context;
	const CdcKafkaEvent *events;
	int			nevents;
	int			ntaken;
	TimestampTz batch_began;	/* its first record or move; 0: none */
	bool		reload;			/* look at the catalog */
	TimestampTz next_reload;	/* but not before this */
	bool		recheck;		/* and whether what is open may still be read */
	bool		follows;		/* makes pipelines for topics that come */
} CdcIngest;

/*
 * A second consumer, for questions, in a transaction.  A broker answers what
 * comes over a connection in turn, and the one that is read over has most of
 * the time a request for records that waits for some to come.
 */
extern CdcKafka *cdc_ingest_asker(CdcIngest *ingest);

/* ----------
 * ingest_landing.c: landings come and go, and with them sources.
 * ----------
 */

/* Ask for what opening many new landings needs to know, all at once. */
extern void cdc_ingest_survey(CdcIngest *ingest, TimestampTz now);

/* Read the landing's positions and take up its partitions, or say why not. */
extern void cdc_ingest_open(CdcIngest *ingest, CdcIngestLanding *landing);

/*
 * Drop what it has in the batch, and let it be opened again at that time (0: at
 * once).
 */
extern void cdc_ingest_close(CdcIngest *ingest, CdcIngestLanding *landing,
							 TimestampTz next_open);

/*
 * Open all anew, at once.  So they look whether their topics are still the same
 * ones, which may have been deleted and made again while nobody looked.
 */
extern void cdc_ingest_close_all(CdcIngest *ingest);

/*
 * What is open may have other rights or options, nobody knows which: close what
 * is not to be read any more.
 */
extern void cdc_ingest_recheck(CdcIngest *ingest);

/* It is closed until it is tried again. */
extern void cdc_ingest_landing_failed(CdcIngest *ingest, CdcIngestLanding *landing,
									  const ErrorData *edata);
extern void cdc_ingest_landing_outcome(CdcIngest *ingest, CdcIngestLanding *landing);
extern void cdc_ingest_source_failed(CdcIngest *ingest, CdcIngestSource *source,
									 const ErrorData *edata);

/* Its time has come: the same for the landings that read it. */
extern void cdc_ingest_source_retry(CdcIngest *ingest, CdcIngestSource *source);
extern void cdc_ingest_source_works(CdcIngest *ingest, CdcIngestSource *source);

/* Note that what its parts want has to be compared with what it does. */
extern void cdc_ingest_source_changed(CdcIngest *ingest, CdcIngestSource *source);

/* Let the consumer read what the parts want. */
extern void cdc_ingest_apply_sources(CdcIngest *ingest);

/* Tell others how the landing fares. */
extern void cdc_ingest_publish(CdcIngest *ingest, CdcIngestLanding *landing);
extern void cdc_ingest_publish_ends(CdcIngest *ingest);

/* How much is still to land with and behind the batch, which is about to be written. */
extern void cdc_ingest_publish_unread(CdcIngest *ingest, CdcIngestLanding *landing);

/* .. and behind it, when it has been. */
extern void cdc_ingest_publish_written(CdcIngest *ingest, CdcIngestLanding *landing);

/* ----------
 * ingest_batch.c: from events to chunks.
 * ----------
 */

/* Give the events that have come since the last call to the parts. */
extern void cdc_ingest_take(CdcIngest *ingest);

/* Write what the parts have taken, and release the batch. */
extern void cdc_ingest_flush(CdcIngest *ingest);

/* See to doubtful sources.  The batch must be empty. */
extern void cdc_ingest_look_into(CdcIngest *ingest);

#endif							/* CDC_INGEST_H */
