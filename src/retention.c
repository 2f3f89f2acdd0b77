/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  Delete the landed records that nobody needs any more.
 *
 * A chunk goes when every pipeline of its landing has all of it in its target,
 * and it landed longer ago than the greatest "retention" of these pipelines
 * says.  Paused and stopped pipelines count like the others; a landing that a
 * pipeline has seen nothing of yet keeps all.  While a snapshot is under way that
 * is to replace a target, what it begins with stays, and the other partitions'
 * records.
 *
 * Runs in a process that is connected as the landings' owner, outside of a
 * transaction: one reads what may go, then each batch of chunks goes in one of
 * its own, in the order of the primary key.  Where the last batch has ended is
 * remembered, so that no run walks over the dead index entries of those before.
 * Nothing waits for a lock for more than a moment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "fault.h"
#include "landing.h"
#include "options.h"
#include "retention.h"
#include "session.h"
#include "worker.h"

/* A batch ends with so many chunks, or so many records. */
#define BATCH_CHUNKS	200
#define BATCH_RECORDS	20000

#define LOCK_PATIENCE	"100ms"
#define RUN_TIME		200		/* ms */
#define LOG_PAUSE		60000	/* ms between two messages on errors */

/* A run in that share of the shortest retention, between these (ms). */
#define RUNS_PER_RETENTION	10
#define SHORTEST_PAUSE	1000
#define LONGEST_PAUSE	60000

/* A partition of a landing, between runs. */
typedef struct PartKey
{
	int32		landing;
	int64		partition;
} PartKey;

typedef struct Part
{
	PartKey		key;
	/* the chunks before this one are gone */
	int32		epoch;
	int64		first_offset;
	/* it, if it was seen */
	bool		seen;
	int64		last_offset;
	Timestamp	refresh_time;

	/* of this run */
	uint32		run;
	Oid			chunk;
	int64		retention;
	int32		synced_epoch;	/* before here everybody has everything */
	int64		synced_offset;
	Timestamp	expired;		/* what landed before is old */
	bool		more;			/* the last batch was full */
} Part;

static HTAB *parts = NULL;
static uint32 run_number = 0;

typedef struct Run
{
	Oid			owner;
	int64		shortest;		/* retention of all landings, us */
	Part	   *part;			/* whose batch is to go */
} Run;

/* ----------
 * What may go
 * ----------
 */
static void
make_parts(void)
{
	HASHCTL		ctl = {.keysize = sizeof(PartKey),.entrysize = sizeof(Part),.hcxt = TopMemoryContext};

	if (parts == NULL)
		parts = hash_create("cdcsync retention", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* The greatest retention that an array of options asks for. */
static int64
greatest_retention(Datum array)
{
	int64		greatest = 0;
	Datum	   *elems;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), JSONBOID, -1, false, TYPALIGN_INT,
					  &elems, NULL, &n);
	for (int i = 0; i < n; i++)
		greatest = Max(greatest, cdc_options_parse(DatumGetJsonbP(elems[i]))->retention);
	return greatest;
}

static void
note_part(Run *run, uint64 row, Timestamp now)
{
	PartKey		key;
	Part	   *part;
	bool		found;
	bool		isnull;
	Datum		behind;
	int64		retention = greatest_retention(cdc_spi_value(row, 3, &isnull));

	run->shortest = Min(run->shortest, retention);
	memset(&key, 0, sizeof(key));
	key.landing = DatumGetInt32(cdc_spi_value(row, 1, &isnull));
	key.partition = DatumGetInt64(cdc_spi_value(row, 4, &isnull));
	if (isnull || retention == CDC_RETAIN_ALL)
		return;
	part = hash_search(parts, &key, HASH_ENTER, &found);
	if (!found)
		memset((char *) part + sizeof(key), 0, sizeof(Part) - sizeof(key));
	part->run = run_number;
	part->chunk = DatumGetObjectId(cdc_spi_value(row, 2, &isnull));
	part->retention = retention;
	part->expired = now - retention;
	/* a partition that is behind may bring changes that are older than others */
	behind = cdc_spi_value(row, 7, &isnull);
	if (!isnull)
		part->expired = Min(part->expired, DatumGetTimestamp(behind));
	if (DatumGetBool(cdc_spi_value(row, 8, &isnull)))
		part->expired = DT_NOBEGIN;
	part->synced_epoch = DatumGetInt64(cdc_spi_value(row, 5, &isnull));
	part->synced_offset = DatumGetInt64(cdc_spi_value(row, 6, &isnull));
	part->more = true;
}

/*
 * The watermarks of all pipelines, whoever owns them.  The stamps: after a
 * restore nothing goes before somebody has said that all is well.  OFFSET 0: each
 * row is looked up, once; the plan is kept, and may be one for far fewer rows.
 */
static void
read_parts(void *arg)
{
	static const Oid types[] = {OIDOID};
	static CdcPlan plan = {
		.sql = "SELECT l.landing_id, l.chunk::oid, p.options, w.kafka_partition, w.synced[1], w.synced[2], b.landed, b.behind"
		" FROM cdcsync.landing l,"
		" LATERAL (SELECT FROM pg_class c WHERE c.oid = l.chunk AND c.relowner = $1 OFFSET 0) c,"
		" LATERAL (SELECT array_agg(p.options) AS options, count(*) AS n,"
		"  bool_and(cdcsync.is_here(p.stamp_system, p.stamp_database)) AS here"
		"  FROM cdcsync.pipeline p WHERE p.landing_id = l.landing_id) p"
		" LEFT JOIN LATERAL (SELECT w.kafka_partition, min(LEAST(ARRAY[w.epoch, w.next_offset], s.held)) AS synced, count(*) AS n"
		"  FROM cdcsync.pipeline p,"
		"  LATERAL (SELECT w.kafka_partition, w.epoch, w.next_offset FROM cdcsync.watermark w WHERE w.pipeline = p.name OFFSET 0) w"
		"  LEFT JOIN LATERAL (SELECT coalesce(min(ARRAY[s.epoch, s.first_offset])"
		"    FILTER (WHERE s.kafka_partition = w.kafka_partition AND s.first_offset IS NOT NULL), ARRAY[0, 0]::bigint[]) AS held"
		"   FROM cdcsync.snapshot s WHERE s.pipeline = p.name AND NOT s.done HAVING count(*) > 0) s ON true"
		"  WHERE p.landing_id = l.landing_id GROUP BY w.kafka_partition) w ON w.n = p.n"
		" LEFT JOIN LATERAL (SELECT min(w.refresh_time) AS landed, count(*) > count(w.refresh_time) AS behind"
		"  FROM cdcsync.pipeline p JOIN cdcsync.position o USING (landing_id)"
		"  LEFT JOIN LATERAL (SELECT w.refresh_time, w.epoch, w.next_offset FROM cdcsync.watermark w"
		"   WHERE w.pipeline = p.name AND w.kafka_partition = o.kafka_partition OFFSET 0) w ON true"
		"  WHERE landing_id = l.landing_id AND"
		"   (coalesce(w.epoch, 0), coalesce(w.next_offset, 0)) < (o.epoch, o.next_offset)) b ON true"
		" WHERE p.here",
		.nargs = 1,
		.types = types
	};
	Run		   *run = arg;
	Datum		values[] = {ObjectIdGetDatum(run->owner)};
	Timestamp	now = GetCurrentTimestamp();
	uint64		n;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run_plan(&plan, values, NULL);
	for (uint64 i = 0; i < n; i++)
		note_part(run, i, now);
	cdc_spi_end(&spi);
}

/* Have all pipelines all of the oldest chunk? */
static bool
is_synced(const Part *part)
{
	return part->epoch < part->synced_epoch ||
		(part->epoch == part->synced_epoch && part->last_offset < part->synced_offset);
}

/* May the oldest chunk go?  Not knowing it counts as yes. */
static bool
may_go(const Part *part)
{
	return !part->seen || (part->refresh_time < part->expired && is_synced(part));
}

/* ----------
 * A batch
 * ----------
 */
static void
see_chunk(Part *part, uint64 row)
{
	bool		isnull;

	part->epoch = DatumGetInt32(cdc_spi_value(row, 1, &isnull));
	part->first_offset = DatumGetInt64(cdc_spi_value(row, 2, &isnull));
	part->last_offset = DatumGetInt64(cdc_spi_value(row, 3, &isnull));
	part->refresh_time = DatumGetTimestamp(cdc_spi_value(row, 4, &isnull));
	part->seen = true;
}

/*
 * Look at the oldest chunks; returns how many of them may go.  *next: the first
 * that stays, or what follows the last one.
 */
static int
look(const Part *part, const char *chunk, Part *next)
{
	static const Oid types[] = {INT8OID, INT4OID, INT8OID, INT8OID};
	Datum		values[] = {Int64GetDatum(part->key.partition), Int32GetDatum(part->epoch),
	Int64GetDatum(part->first_offset), Int64GetDatum(BATCH_CHUNKS)};
	uint64		n = cdc_spi_run(psprintf("SELECT epoch, first_offset, last_offset, refresh_time FROM %s"
										 " WHERE kafka_partition = $1 AND (epoch, first_offset) >= ($2, $3)"
										 " ORDER BY kafka_partition, epoch, first_offset LIMIT $4", chunk),
								4, types, values, NULL, 0);
	int64		records = 0;
	int			going = 0;

	*next = *part;
	while (going < n)
	{
		see_chunk(next, going);
		if (records > BATCH_RECORDS || !may_go(next))
			break;
		records += next->last_offset - next->first_offset + 1;
		going++;
	}
	next->more = going == BATCH_CHUNKS || records > BATCH_RECORDS;
	if (going == n)
	{
		next->seen = false;
		next->first_offset += n > 0;
	}
	return going;
}

static void
delete_batch(void *arg)
{
	static const Oid types[] = {INT8OID, INT4OID, INT8OID, INT4OID, INT8OID};
	Run		   *run = arg;
	Part	   *part = run->part;
	Part		next;
	CdcSpi		spi;

	cdc_session_clean();
	(void) set_config_option("lock_timeout", LOCK_PATIENCE, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	part->more = false;
	/* it may have been dropped, or given to somebody else, since we looked */
	if (!ConditionalLockRelationOid(part->chunk, RowExclusiveLock) ||
		get_rel_name(part->chunk) == NULL || !cdc_landing_may_delete(part->chunk))
		return;
	cdc_spi_begin(&spi, NULL);
	if (look(part, cdc_qualified_name(part->chunk), &next) > 0)
	{
		Datum		values[] = {Int64GetDatum(part->key.partition),
			Int32GetDatum(part->epoch), Int64GetDatum(part->first_offset),
		Int32GetDatum(next.epoch), Int64GetDatum(next.first_offset)};

		(void) cdc_spi_run(psprintf("DELETE FROM %s WHERE kafka_partition = $1"
									" AND (epoch, first_offset) >= ($2, $3)"
									" AND (epoch, first_offset) < ($4, $5)",
									cdc_qualified_name(part->chunk)),
						   5, types, values, NULL, 0);
	}
	cdc_spi_end(&spi);
	CDC_FAULT("retention_delete");
	/* only a hint where to begin: harmless if the transaction fails */
	*part = next;
}

/* It is tried again with the next run, which may be soon. */
static void
log_error(ErrorData *error)
{
	static TimestampTz logged = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (TimestampDifferenceExceeds(logged, now, LOG_PAUSE))
	{
		cdc_worker_log(error, "could not delete old landed records");
		logged = now;
	}
	FreeErrorData(error);
}

/* Delete batches of a partition until time is up; false: it is. */
static bool
delete_part(Run *run, Part *part, TimestampTz end)
{
	Part		before;
	ErrorData  *error;

	run->part = part;
	while (part->more && may_go(part))
	{
		if (GetCurrentTimestamp() >= end)
			return false;
		CHECK_FOR_INTERRUPTS();
		before = *part;
		if (!cdc_worker_try(delete_batch, run, &error))
		{
			log_error(error);
			*part = before;
			part->more = false;
		}
	}
	return true;
}

/* ----------
 * A run
 * ----------
 */

/* The parts of this run; the others are forgotten. */
static List *
list_parts(void)
{
	HASH_SEQ_STATUS status;
	List	   *list = NIL;
	Part	   *part;

	hash_seq_init(&status, parts);
	while ((part = hash_seq_search(&status)) != NULL)
	{
		if (part->run == run_number)
			list = lappend(list, part);
		else
			(void) hash_search(parts, &part->key, HASH_REMOVE, NULL);
	}
	return list;
}

bool
cdc_retention_run(Oid owner, TimestampTz *next, long *pause)
{
	Run			run = {.owner = owner,.shortest = CDC_RETAIN_ALL};
	TimestampTz now = GetCurrentTimestamp();
	bool		in_time = true;
	List	   *list;
	ListCell   *lc;
	ErrorData  *error;

	*next = DT_NOEND;
	*pause = LONGEST_PAUSE;
	make_parts();
	run_number++;
	if (!cdc_worker_try(read_parts, &run, &error))
	{
		log_error(error);
		*next = now;
		return true;
	}
	list = list_parts();
	foreach(lc, list)
	{
		Part	   *part = lfirst(lc);

		in_time = in_time && delete_part(&run, part, TimestampTzPlusMilliseconds(now, RUN_TIME));
		if (part->seen)
			*next = Min(*next, is_synced(part) ? part->refresh_time + part->retention : now);
	}
	list_free(list);
	*pause = Max(SHORTEST_PAUSE, Min(LONGEST_PAUSE, run.shortest / 1000 / RUNS_PER_RETENTION));
	return in_time;
}
