/*-------------------------------------------------------------------------
 *
 * seek.c
 *	  cdc_seek() and cdc_skip(): go on elsewhere in a topic.
 *
 * A landing has one position for all of its pipelines, so they move together,
 * and all must be paused.  What is read after a seek gets a new epoch, as it may
 * have landed before: its offsets must not collide.  Positions and watermarks
 * move in one transaction.
 *
 * Records that nobody will read any more are a gap: it is recorded, and the
 * targets are not exact.  What is read again must not be taken for a re-send of
 * Kafka Connect: so the watermarks forget where the source was.
 *
 * A landing without a topic holds all that there is: its position stays, only
 * the watermarks move, within what it holds, in the epoch that is there.
 *
 * Runs in the caller's transaction.  Locks as a sync does, then as a refresh:
 * staging tables, rows of the pipelines in the order of their names, the
 * landing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "exact.h"
#include "fault.h"
#include "pipeline.h"
#include "reader.h"
#include "snapshot.h"

PG_FUNCTION_INFO_V1(cdc_seek);
PG_FUNCTION_INFO_V1(cdc_seek_offset);
PG_FUNCTION_INFO_V1(cdc_skip);

#define UNIX_EPOCH_USECS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

typedef enum SeekTo
{
	SEEK_EARLIEST,
	SEEK_LATEST,
	SEEK_TIME,
	SEEK_OFFSET					/* of one partition */
} SeekTo;

typedef struct Seek
{
	const CdcLanding *landing;
	List	   *names;			/* of its pipelines */
	SeekTo		to;
	TimestampTz time;
	int64		partition;		/* SEEK_OFFSET */
	int64		offset;
	const char *topic;			/* NULL: there is none */
	CdcKafka   *kafka;
	CdcLandingAppend *append;
} Seek;

/* ----------
 * The pipelines
 * ----------
 */
static void
check_paused(const CdcPipeline *pipeline, const char *asked)
{
	if (pipeline->state != CDC_PIPELINE_PAUSED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipeline \"%s\" is not paused", pipeline->name),
				 strcmp(pipeline->name, asked) == 0 ? 0 :
				 errdetail("It has the same landing as pipeline \"%s\", and moves with it.", asked),
				 errhint("Pause it with SELECT cdc_pause(%s) before it is moved.",
						 quote_literal_cstr(pipeline->name))));
}

/* All pipelines of a landing, by name. */
static List *
pipeline_names(const CdcLanding *landing)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(landing->id)};
	MemoryContext context = CurrentMemoryContext;
	List	   *names;
	uint64		n;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run("SELECT name FROM cdcsync.pipeline WHERE landing_id = $1 ORDER BY name",
					1, types, values, NULL, 0);
	names = cdc_spi_texts(n, 1, context);
	cdc_spi_end(&spi);
	return names;
}

/* Lock the pipelines that are moved with this one, if the caller may move them. */
static void
lock_pipelines(Seek *seek, FunctionCallInfo fcinfo)
{
	CdcPipeline *pipeline;
	ListCell   *lc;
	char	   *name;

	cdc_pipeline_check_argument(fcinfo);
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	pipeline = cdc_pipeline_get(name);
	seek->landing = pipeline->landing;
	cdc_pipeline_check_landing(pipeline);
	seek->names = pipeline_names(seek->landing);
	foreach(lc, seek->names)
	{
		pipeline = cdc_pipeline_lock(lfirst(lc), ShareUpdateExclusiveLock);
		check_paused(pipeline, name);
	}
}

/* ----------
 * Where to
 * ----------
 */
#define PLACES_HINT	"Give \"earliest\", \"latest\", or a time such as \"2025-01-31 12:00:00+00\"."

static TimestampTz
parse_time(char *place)
{
	MemoryContext context = CurrentMemoryContext;
	volatile TimestampTz time = 0;
	int			level = cdc_pin_settings(NULL);

	PG_TRY();
	{
		time = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
													   CStringGetDatum(place),
													   ObjectIdGetDatum(InvalidOid),
													   Int32GetDatum(-1)));
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_DATA_EXCEPTION)
			edata->hint = PLACES_HINT;
		ReThrowError(edata);
	}
	PG_END_TRY();
	cdc_unpin_settings(level);
	return time;
}

static void
parse_place(Seek *seek, char *place)
{
	if (pg_strcasecmp(place, "earliest") == 0)
		seek->to = SEEK_EARLIEST;
	else if (pg_strcasecmp(place, "latest") == 0)
		seek->to = SEEK_LATEST;
	else
	{
		seek->to = SEEK_TIME;
		seek->time = parse_time(place);
		if (TIMESTAMP_NOT_FINITE(seek->time))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cannot seek to \"%s\"", place),
					 errhint(PLACES_HINT)));
	}
}

static void
out_of_range(const Seek *seek, const char *what, int64 partition, int64 offset,
			 int64 low, int64 high)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("offset " INT64_FORMAT " is not in partition " INT64_FORMAT " of %s",
					offset, partition, what),
			 errdetail("It holds offsets from " INT64_FORMAT ", and goes on with " INT64_FORMAT ".",
					   low, high)));
}

/* In the topic. */
static int64
topic_offset(const Seek *seek, int64 partition)
{
	int64		low;
	int64		high;
	int64		offset;

	cdc_kafka_watermarks(seek->kafka, seek->topic, (int32) partition, &low, &high);
	switch (seek->to)
	{
		case SEEK_EARLIEST:
			return low;
		case SEEK_LATEST:
			return high;
		case SEEK_OFFSET:
			if (seek->offset < low || seek->offset > high)
				out_of_range(seek, psprintf("topic \"%s\"", seek->topic), partition,
							 seek->offset, low, high);
			return seek->offset;
		case SEEK_TIME:
			break;
	}
	offset = cdc_kafka_offset_for_time(seek->kafka, seek->topic, (int32) partition,
									   (seek->time + UNIX_EPOCH_USECS) / 1000);
	if (offset < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("broker cannot look up an offset of topic \"%s\" by time", seek->topic),
				 errhint("Seek to an offset, to \"earliest\" or to \"latest\".")));
	return Max(offset, low);
}

/* In a landing without a topic: sets *epoch, too. */
static int64
landed_offset(const Seek *seek, const CdcLandingPosition *position, int32 *epoch)
{
	Oid			types[] = {INT8OID, TIMESTAMPOID};
	Datum		values[] = {Int64GetDatum(position->partition), TimestampGetDatum(seek->time)};
	const char *chunk = cdc_qualified_name(seek->landing->chunk);
	int64		offset = position->next_offset;
	bool		isnull;
	CdcSpi		spi;

	*epoch = position->epoch;
	if (seek->to == SEEK_LATEST)
		return offset;
	cdc_spi_begin_as(&spi, seek->landing->owner, NULL);
	if (cdc_spi_run(seek->to == SEEK_TIME ?
					psprintf("SELECT c.epoch, coalesce(c.kafka_offset[i], c.first_offset + i - 1)"
							 " FROM %s c, generate_subscripts(c.kafka_timestamp, 1) i"
							 " WHERE c.kafka_partition = $1 AND c.kafka_timestamp[i] >= $2"
							 " ORDER BY c.epoch, c.first_offset, i", chunk) :
					psprintf("SELECT c.epoch, c.first_offset FROM %s c"
							 " WHERE c.kafka_partition = $1"
							 " ORDER BY c.epoch, c.first_offset", chunk),
					seek->to == SEEK_TIME ? 2 : 1, types, values, NULL, 1) > 0)
	{
		*epoch = DatumGetInt32(cdc_spi_value(0, 1, &isnull));
		offset = DatumGetInt64(cdc_spi_value(0, 2, &isnull));
	}
	cdc_spi_end(&spi);
	if (seek->to == SEEK_OFFSET)
	{
		if (seek->offset < offset || seek->offset > position->next_offset)
			out_of_range(seek, psprintf("landing %s", cdc_qualified_name(seek->landing->view)),
						 position->partition, seek->offset, offset, position->next_offset);
		return seek->offset;
	}
	return offset;
}

/* ----------
 * Moving
 * ----------
 */

/* Records that some pipeline has not seen, and will not: what was not synced. */
static void
record_passed(const Seek *seek, int64 partition, int32 epoch, int64 from,
			  int32 next_epoch, int64 next, const char *reason)
{
	static const Oid types[] = {INT4OID, INT8OID, INT4OID, INT8OID, INT8OID, TEXTOID};
	Datum		values[] = {Int32GetDatum(seek->landing->id), Int64GetDatum(partition),
		Int32GetDatum(epoch), Int64GetDatum(from), Int64GetDatum(next),
	CStringGetTextDatum(reason)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("INSERT INTO cdcsync.gap (landing_id, kafka_partition, epoch,"
					   " first_offset, next_offset, reason, passed)"
					   " VALUES ($1, $2, $3, $4, $5, $6, true)"
					   " ON CONFLICT (landing_id, kafka_partition, epoch, first_offset) DO UPDATE"
					   " SET next_offset = excluded.next_offset, reason = excluded.reason,"
					   " passed = true, detected_at = excluded.detected_at",
					   lengthof(types), types, values, NULL, 0);
	cdc_spi_end(&spi);
	cdc_landing_set_inexact(seek->landing->id, reason, partition, next_epoch, next);
}

/*
 * The lowest offset of this epoch that some pipeline has yet to sync; one that
 * lags by an epoch has yet to sync all of this one.
 */
static int64
lowest_watermark(const Seek *seek, const CdcLandingPosition *position)
{
	Oid			types[] = {INT4OID, INT8OID, INT4OID};
	Datum		values[] = {Int32GetDatum(seek->landing->id), Int64GetDatum(position->partition),
	Int32GetDatum(position->epoch)};
	int64		lowest;
	bool		isnull;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("SELECT min(CASE WHEN w.epoch >= $3 THEN w.next_offset ELSE 0 END)"
					   " FROM cdcsync.pipeline p LEFT JOIN cdcsync.watermark w"
					   " ON w.pipeline = p.name AND w.kafka_partition = $2"
					   " WHERE p.landing_id = $1",
					   3, types, values, NULL, 1);
	lowest = DatumGetInt64(cdc_spi_value(0, 1, &isnull));
	cdc_spi_end(&spi);
	return isnull ? 0 : lowest;
}

/* All watermarks of the partition; what is read again leaves quarantine. */
static void
move_watermarks(const Seek *seek, const CdcLandingPosition *position, int32 epoch,
				int64 offset)
{
	Oid			types[] = {TEXTARRAYOID, INT8OID, INT4OID, INT8OID, INT4OID};
	Datum		values[] = {cdc_text_array(seek->names), Int64GetDatum(position->partition),
		Int32GetDatum(epoch), Int64GetDatum(offset), Int32GetDatum(position->epoch)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("INSERT INTO cdcsync.watermark (pipeline, kafka_partition, epoch, next_offset)"
					   " SELECT n, $2, $3, $4 FROM unnest($1) n"
					   " ON CONFLICT (pipeline, kafka_partition) DO UPDATE SET epoch = excluded.epoch,"
					   " next_offset = excluded.next_offset, source_position = NULL,"
					   " source_ts_ms = NULL, newest_ts_ms = NULL, resent_epoch = NULL, resent_offset = NULL,"
					   " deleted_key = NULL, in_snapshot = false, last_events = NULL",
					   4, types, values, NULL, 0);
	(void) cdc_spi_run("DELETE FROM cdcsync.quarantine WHERE pipeline = ANY ($1)"
					   " AND kafka_partition = $2 AND epoch = $5 AND kafka_offset >= $4",
					   5, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

/* Move one partition; sets where to. */
static void
move_partition(Seek *seek, const CdcLandingPosition *position, int32 *epoch, int64 *offset)
{
	int64		lowest = lowest_watermark(seek, position);

	if (seek->topic)
	{
		*offset = topic_offset(seek, position->partition);
		*epoch = position->epoch + 1;
		cdc_landing_jump(seek->append, position->partition, *epoch, *offset);
	}
	else
		*offset = landed_offset(seek, position, epoch);
	if (*offset > lowest && *epoch >= position->epoch)
		record_passed(seek, position->partition, position->epoch, lowest, *epoch, *offset,
					  psprintf("cdc_seek has passed over offsets " INT64_FORMAT " to " INT64_FORMAT
							   " of partition " INT64_FORMAT,
							   lowest, *offset - 1, position->partition));
	move_watermarks(seek, position, *epoch, *offset);
}

/* What pipelines know of records that are read again, or never. */
static void
forget_state(const Seek *seek)
{
	Oid			types[] = {TEXTARRAYOID};
	Datum		values[] = {cdc_text_array(seek->names)};
	CdcSpi		spi;
	ListCell   *lc;

	foreach(lc, seek->names)
		cdc_snapshots_abandon(lfirst(lc));
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("DELETE FROM cdcsync.moved WHERE pipeline = ANY ($1)",
					   1, types, values, NULL, 0);
	(void) cdc_spi_run("DELETE FROM cdcsync.barrier WHERE pipeline = ANY ($1)",
					   1, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

static void
open_topic(Seek *seek)
{
	Oid			serverid;

	if (!OidIsValid(seek->landing->topic))
		return;
	seek->topic = cdc_reader_topic(seek->landing, &serverid);
	seek->kafka = cdc_kafka_open(serverid, seek->landing->owner, 0);
}

static void
no_partition(int64 partition)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("nothing was read of partition " INT64_FORMAT, partition),
			 errhint("The view cdcsync.partition_status lists the partitions.")));
}

/* Move what is to be moved, and return a row for each partition. */
static void
run_seek(Seek *seek, ReturnSetInfo *rsinfo)
{
	CdcLandingPosition *positions;
	int			n;
	bool		found = false;

	open_topic(seek);
	n = cdc_landing_lock(seek->landing, false, &positions);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nothing was read into landing %s yet",
						cdc_qualified_name(seek->landing->view)),
				 errhint("Where reading begins is the option \"start\" of the pipeline that is created first.")));
	forget_state(seek);
	if (seek->topic)
		seek->append = cdc_landing_append_begin(seek->landing, positions, n,
												GetCurrentTimestamp());
	for (int i = 0; i < n; i++)
	{
		Datum		values[3];
		bool		nulls[3] = {false, false, false};
		int32		epoch;
		int64		offset;

		if (seek->to == SEEK_OFFSET && positions[i].partition != seek->partition)
			continue;
		CHECK_FOR_INTERRUPTS();
		found = true;
		move_partition(seek, &positions[i], &epoch, &offset);
		values[0] = Int64GetDatum(positions[i].partition);
		values[1] = Int32GetDatum(epoch);
		values[2] = Int64GetDatum(offset);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	if (!found)
		no_partition(seek->partition);
	CDC_FAULT("seek_moved");
	if (seek->topic)
	{
		cdc_landing_append_end(seek->append);
		cdc_kafka_close(seek->kafka);
	}
}

static int64
offset_argument(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n) || PG_GETARG_INT64(n) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be null or negative", what)));
	return PG_GETARG_INT64(n);
}

/*
 * cdc_seek(name text, place text)
 */
Datum
cdc_seek(PG_FUNCTION_ARGS)
{
	Seek		seek = {0};

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the place to seek to must not be null"),
				 errhint("Give \"earliest\", \"latest\", or a time such as \"2025-01-31 12:00:00+00\".")));
	parse_place(&seek, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	InitMaterializedSRF(fcinfo, 0);
	lock_pipelines(&seek, fcinfo);
	run_seek(&seek, (ReturnSetInfo *) fcinfo->resultinfo);
	PG_RETURN_NULL();
}

/*
 * cdc_seek(name text, partition bigint, offset bigint)
 */
Datum
cdc_seek_offset(PG_FUNCTION_ARGS)
{
	Seek		seek = {.to = SEEK_OFFSET};

	seek.partition = offset_argument(fcinfo, 1, "partition");
	seek.offset = offset_argument(fcinfo, 2, "offset");
	InitMaterializedSRF(fcinfo, 0);
	lock_pipelines(&seek, fcinfo);
	run_seek(&seek, (ReturnSetInfo *) fcinfo->resultinfo);
	PG_RETURN_NULL();
}

/* ----------
 * Skipping
 * ----------
 */

/* The record must be the one that is to be read next, and be there. */
static void
check_next(const Seek *seek, const CdcLandingPosition *position, int64 last)
{
	int64		low;
	int64		high;

	if (seek->offset < position->next_offset)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("offset " INT64_FORMAT " of partition " INT64_FORMAT " was read before",
						seek->offset, seek->partition),
				 errhint("What cannot be applied is in quarantine: see cdc_discard().")));
	if (seek->offset > position->next_offset)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("offset " INT64_FORMAT " of partition " INT64_FORMAT " is not the next one",
						seek->offset, seek->partition),
				 errdetail("Reading goes on with offset " INT64_FORMAT ".", position->next_offset),
				 errhint("To leave out many records, use cdc_seek().")));
	cdc_kafka_watermarks(seek->kafka, seek->topic, (int32) seek->partition, &low, &high);
	if (seek->offset < low || last >= high)
		out_of_range(seek, psprintf("topic \"%s\"", seek->topic), seek->partition,
					 seek->offset < low ? seek->offset : last, low, high);
}

/*
 * cdc_skip(name text, partition bigint, offset bigint, last bigint) returns bigint
 */
Datum
cdc_skip(PG_FUNCTION_ARGS)
{
	Seek		seek = {.to = SEEK_OFFSET};
	CdcLandingPosition *positions;
	const CdcLandingPosition *position = NULL;
	int64		last;
	int			n;

	seek.partition = offset_argument(fcinfo, 1, "partition");
	seek.offset = offset_argument(fcinfo, 2, "offset");
	last = PG_ARGISNULL(3) ? seek.offset : PG_GETARG_INT64(3);
	if (last < seek.offset)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the last offset to skip must not be below the first one")));
	lock_pipelines(&seek, fcinfo);
	if (!OidIsValid(seek.landing->topic))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("landing %s has no topic", cdc_qualified_name(seek.landing->view)),
				 errhint("Nothing is read there that could be skipped.")));
	open_topic(&seek);
	n = cdc_landing_lock(seek.landing, false, &positions);
	for (int i = 0; i < n; i++)
		if (positions[i].partition == seek.partition)
			position = &positions[i];
	if (position == NULL)
		no_partition(seek.partition);
	check_next(&seek, position, last);
	seek.append = cdc_landing_append_begin(seek.landing, positions, n, GetCurrentTimestamp());
	cdc_landing_move(seek.append, seek.partition, last + 1);
	record_passed(&seek, seek.partition, position->epoch, seek.offset, position->epoch, last + 1,
				  psprintf("cdc_skip has left out offsets " INT64_FORMAT " to " INT64_FORMAT
						   " of partition " INT64_FORMAT, seek.offset, last, seek.partition));
	cdc_landing_append_end(seek.append);
	cdc_kafka_close(seek.kafka);
	PG_RETURN_INT64(last + 1);
}
