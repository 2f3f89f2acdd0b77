/*-------------------------------------------------------------------------
 *
 * gap.c
 *	  What a topic no longer has when it is to be read, and what is done then.
 *
 * A position that the log does not hold is never skipped silently.  The option
 * "on_gap" says whether reading stops there, or the gap is recorded and reading
 * goes on behind it.  Offsets of a log that was cut or made anew are not those
 * that have landed: they get a new epoch.
 *
 * Runs in the caller's transaction, under the landing's lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "catalog.h"
#include "exact.h"
#include "gap.h"
#include "pipeline.h"

#define AGAIN_HINT "Drop the pipeline and create it again to load the source anew"
#define CONTINUE_HINT "or set the option \"on_gap\" to \"continue\" to go on without the lost records."

/* What people are told of a gap. */
typedef struct GapText
{
	char	   *message;
	char	   *detail;
	char	   *hint;
} GapText;

bool
cdc_gap_find(const CdcLandingPosition *position, int64 low, int64 high,
			 CdcGap *gap)
{
	gap->kind = position->next_offset < low ? CDC_GAP_EXPIRED :
		position->next_offset > high ? CDC_GAP_TRUNCATED : CDC_GAP_NONE;
	gap->position = *position;
	gap->low = low;
	gap->high = high;
	return gap->kind != CDC_GAP_NONE;
}

bool
cdc_gap_find_partition(const CdcLandingPosition *position, int npartitions,
					   CdcGap *gap)
{
	if (position->partition < npartitions || position->next_offset == 0)
		return false;
	gap->kind = CDC_GAP_NO_PARTITION;
	gap->position = *position;
	gap->low = gap->high = 0;
	return true;
}

static void
describe(const char *topic, const CdcGap *gap, GapText *text)
{
	int64		partition = gap->position.partition;
	int64		offset = gap->position.next_offset;

	text->detail = psprintf("The landing continues at offset " INT64_FORMAT
							"; the log begins at " INT64_FORMAT " and ends before " INT64_FORMAT ".",
							offset, gap->low, gap->high);
	text->hint = "The topic was truncated or created again. " AGAIN_HINT ", " CONTINUE_HINT;
	switch (gap->kind)
	{
		case CDC_GAP_EXPIRED:
			text->message = psprintf("topic \"%s\" no longer holds offsets " INT64_FORMAT
									 " to " INT64_FORMAT " of partition " INT64_FORMAT,
									 topic, offset, gap->low - 1, partition);
			text->hint = "The records have expired or were deleted. Raise the topic's retention, "
				"then drop the pipeline and create it again to load the source anew, " CONTINUE_HINT;
			break;
		case CDC_GAP_TRUNCATED:
			text->message = psprintf("topic \"%s\" lacks offsets " INT64_FORMAT " to " INT64_FORMAT
									 " of partition " INT64_FORMAT ", which have been read",
									 topic, gap->high, offset - 1, partition);
			break;
		case CDC_GAP_CREATED_AGAIN:
			text->message = psprintf("topic \"%s\" was created again: offset " INT64_FORMAT
									 " of partition " INT64_FORMAT " is not the record that has landed",
									 topic, gap->position.last_offset, partition);
			text->hint = AGAIN_HINT ", " CONTINUE_HINT;
			break;
		case CDC_GAP_NO_PARTITION:
			text->message = psprintf("topic \"%s\" no longer has partition " INT64_FORMAT,
									 topic, partition);
			text->detail = psprintf("The landing continues at offset " INT64_FORMAT ".", offset);
			text->hint = "The topic was created again. " AGAIN_HINT ", " CONTINUE_HINT;
			break;
		case CDC_GAP_NONE:
			elog(ERROR, "no gap to describe");
	}
}

/* The offsets that are lost, as far as they are known (-1). */
static void
lost_range(const CdcGap *gap, int64 *first, int64 *next)
{
	*first = gap->position.next_offset;
	*next = -1;
	if (gap->kind == CDC_GAP_EXPIRED)
		*next = gap->low;
	else if (gap->kind == CDC_GAP_TRUNCATED)
	{
		*first = gap->high;
		*next = gap->position.next_offset;
	}
}

/* One row for a gap: those of the partition that were not passed are this one. */
static void
record_gap(const CdcLanding *landing, const CdcGap *gap, const char *reason,
		   bool passed)
{
	static const Oid types[] = {INT4OID, INT8OID, INT4OID, INT8OID, INT8OID,
	TEXTOID, BOOLOID};
	Datum		values[7];
	char		nulls[] = "       ";
	int64		first;
	int64		next;
	CdcSpi		spi;

	lost_range(gap, &first, &next);
	values[0] = Int32GetDatum(landing->id);
	values[1] = Int64GetDatum(gap->position.partition);
	values[2] = Int32GetDatum(gap->position.epoch);
	values[3] = Int64GetDatum(first);
	values[4] = Int64GetDatum(next);
	if (next < 0)
		nulls[4] = 'n';
	values[5] = CStringGetTextDatum(reason);
	values[6] = BoolGetDatum(passed);
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("DELETE FROM cdcsync.gap WHERE landing_id = $1"
					   " AND kafka_partition = $2 AND NOT passed",
					   2, types, values, NULL, 0);
	(void) cdc_spi_run("INSERT INTO cdcsync.gap (landing_id, kafka_partition, epoch,"
					   " first_offset, next_offset, reason, passed)"
					   " VALUES ($1, $2, $3, $4, $5, $6, $7)"
					   " ON CONFLICT (landing_id, kafka_partition, epoch, first_offset) DO UPDATE"
					   " SET next_offset = excluded.next_offset, reason = excluded.reason,"
					   " passed = excluded.passed",
					   lengthof(types), types, values, nulls, 0);
	cdc_spi_end(&spi);
}

void
cdc_gap_raise(const char *topic, const CdcGap *gap)
{
	GapText		text;

	describe(topic, gap, &text);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg_internal("%s", text.message),
			 errdetail_internal("%s", text.detail),
			 errhint("%s", text.hint)));
}

void
cdc_gap_stop(const CdcLanding *landing, const char *topic, const CdcGap *gap)
{
	GapText		text;

	describe(topic, gap, &text);
	if (!cdc_pipeline_stop_landing(landing->id, text.message, "55000",
								   psprintf("%s %s", text.detail, text.hint)))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg_internal("%s", text.message),
				 errdetail("A pipeline that must be stopped for it is locked by another session."),
				 errhint("%s", text.hint)));
	record_gap(landing, gap, text.message, false);
}

void
cdc_gap_pass(const CdcLanding *landing, CdcLandingAppend *append,
			 const char *topic, const CdcGap *gap, CdcLandingPosition *position)
{
	GapText		text;

	describe(topic, gap, &text);
	record_gap(landing, gap, text.message, true);
	position->partition = gap->position.partition;
	position->epoch = gap->position.epoch + (gap->kind == CDC_GAP_EXPIRED ? 0 : 1);
	position->next_offset = gap->low;
	position->last_offset = -1;
	position->last_hash = 0;
	cdc_landing_jump(append, position->partition, position->epoch,
					 position->next_offset);
	cdc_landing_set_inexact(landing->id, text.message, position->partition,
							position->epoch, position->next_offset);
	ereport(WARNING,
			(errmsg_internal("%s", text.message),
			 errdetail("The option \"on_gap\" lets landing %s go on at offset " INT64_FORMAT ".",
					   cdc_qualified_name(landing->view), position->next_offset)));
}
