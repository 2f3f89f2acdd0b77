/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  Quarantined records in the hands of a person: cdc_retry() and cdc_discard();
 *	  and those that wait for what another pipeline has just brought.
 *
 * Records are tried again by the same ranking and merging as in a sync (sync.c),
 * in the caller's transaction and under the sync's lock on the staging table, all
 * records of a key together.  A pipeline may be paused or stopped: its records
 * in quarantine stand before the watermark, whatever comes behind it.  Not in a
 * copy of the database elsewhere.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "catalog.h"
#include "exact.h"
#include "quarantine.h"
#include "retry.h"
#include "shmem.h"
#include "staging.h"
#include "sync.h"
#include "wake.h"
#include "watermark.h"

PG_FUNCTION_INFO_V1(cdc_retry);
PG_FUNCTION_INFO_V1(cdc_discard);

/* Pipelines whose records are tried again after one sync, at most. */
#define MAX_RELATED		1000

/*
 * So many ms after a window was refused as a whole nobody needs to be told any
 * more: the longest pause before the next try is shorter.
 */
#define REFUSED_FOR		(10 * 60 * 1000)

/* Has a pipeline other than this one waiting records?  In the open SPI connection. */
static bool
any_waits(Datum name)
{
	static const Oid types[] = {TEXTOID};
	static CdcPlan plan = {
		.sql = "SELECT FROM cdcsync.quarantine WHERE state = 'waiting' AND pipeline <> $1 LIMIT 1",
		.nargs = 1,
		.types = types,
		.generic = true
	};

	return cdc_spi_run_plan(&plan, &name, NULL) > 0;
}

/*
 * Names of the other pipelines that have waiting records (all: or none), and whose
 * targets are bound to this one's by a foreign key or are the same.  owner: only of
 * this one, InvalidOid: of any.  Each sync asks, and hardly ever is there one:
 * made for its values each time, the plan was two thirds of a sync of one record.
 */
static List *
related_pipelines(const char *name, Oid target, Oid owner, bool all)
{
	static const Oid types[] = {TEXTOID, OIDOID, OIDOID, BOOLOID};
	static CdcPlan plan = {
		.sql = "SELECT s.name FROM (SELECT pipeline AS name FROM cdcsync.quarantine WHERE state = 'waiting' AND pipeline <> $1 "
		"UNION SELECT name FROM cdcsync.pipeline WHERE $4 AND name <> $1) w "
		"JOIN cdcsync.pipeline p USING (name) JOIN cdcsync.pipeline_state s USING (name) "
		"WHERE s.state = 'active' AND (s.owner = $3 OR $3 = 0) AND (p.target = $2 OR EXISTS "
		"(SELECT FROM pg_constraint c WHERE c.contype = 'f' AND (c.conrelid = $2 AND c.confrelid = p.target "
		"OR c.confrelid = $2 AND c.conrelid = p.target))) ORDER BY 1 LIMIT 1000",
		.nargs = 4,
		.types = types,
		.generic = true
	};
	Datum		values[] = {CStringGetTextDatum(name), ObjectIdGetDatum(target), ObjectIdGetDatum(owner),
	BoolGetDatum(all)};
	MemoryContext context = CurrentMemoryContext;
	List	   *names;
	uint64		n;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	n = all || any_waits(values[0]) ? cdc_spi_run_plan(&plan, values, NULL) : 0;
	names = cdc_spi_texts(n, 1, context);
	cdc_spi_end(&spi);
	return names;
}

void
cdc_retry_note_refused(void)
{
	CdcSharedDatabase *shared = cdc_shared_insert(CDC_SHARED_DATABASE, &MyDatabaseId);

	shared->refused_at = GetCurrentTimestamp();
	cdc_shared_release(CDC_SHARED_DATABASE, shared);
}

/* Has a window been refused as a whole lately? */
static bool
any_refused(void)
{
	CdcSharedDatabase *shared = cdc_shared_find(CDC_SHARED_DATABASE, &MyDatabaseId, false);
	TimestampTz at;

	if (shared == NULL)
		return false;
	at = shared->refused_at;
	cdc_shared_release(CDC_SHARED_DATABASE, shared);
	return at != 0 && !TimestampDifferenceExceeds(at, GetCurrentTimestamp(), REFUSED_FOR);
}

void
cdc_retry_wake(const CdcPipeline *pipeline)
{
	List	   *names = related_pipelines(pipeline->name, pipeline->target, InvalidOid,
										  any_refused());
	ListCell   *lc;

	foreach(lc, names)
		cdc_wake_waiting_at_commit(lfirst(lc));
}

typedef struct RelatedCall
{
	const char *name;
	Oid			target;
	CdcSyncResult result;
} RelatedCall;

static bool
retry_one_related(void *arg)
{
	RelatedCall *call = arg;
	CdcRetry	retry = {.waiting = true,.since = GetCurrentTimestamp()};
	CdcPipeline *pipeline = cdc_pipeline_get(call->name);

	call->target = pipeline->target;
	cdc_sync_retry(pipeline, &retry, true, &call->result);
	return true;
}

/* Is it an error of that pipeline alone? */
static bool
is_its_own(const ErrorData *edata)
{
	return ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_OPERATOR_INTERVENTION;
}

void
cdc_retry_related(const CdcPipeline *pipeline)
{
	List	   *names = related_pipelines(pipeline->name, pipeline->target, pipeline->owner,
										  false);

	/* the list grows while it is worked off */
	for (int i = 0; i < list_length(names) && i < MAX_RELATED; i++)
	{
		RelatedCall call = {.name = list_nth(names, i)};
		ErrorData  *error;

		CHECK_FOR_INTERRUPTS();
		if (cdc_attempt(retry_one_related, &call, is_its_own, &error) &&
			call.result.applied > 0)
			names = list_concat(names, related_pipelines(call.name, call.target,
														 pipeline->owner, false));
	}
}

/* The arguments of both functions. */
static CdcPipeline *
read_arguments(FunctionCallInfo fcinfo, CdcRetry *retry)
{
	CdcPipeline *pipeline;

	cdc_pipeline_check_argument(fcinfo);
	if (PG_ARGISNULL(1) != PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partition and offset of a record must be given together"),
				 errhint("Leave both out for all records of the pipeline.")));
	memset(retry, 0, sizeof(*retry));
	retry->all = PG_ARGISNULL(1);
	if (!retry->all)
	{
		retry->partition = PG_GETARG_INT64(1);
		retry->offset = PG_GETARG_INT64(2);
	}
	retry->since = GetCurrentTimestamp();
	pipeline = cdc_pipeline_get(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	cdc_pipeline_check_here(pipeline);
	return pipeline;
}

/* The record is not there, or will be read again. */
static void
not_in_quarantine(const CdcPipeline *pipeline, const CdcRetry *retry)
{
	Oid			types[] = {TEXTOID, INT8OID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline->name), Int64GetDatum(retry->partition),
	Int64GetDatum(retry->offset)};
	bool		any;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	any = cdc_spi_run("SELECT FROM cdcsync.quarantine WHERE pipeline = $1 "
					  "AND kafka_partition = $2 AND kafka_offset = $3",
					  3, types, values, NULL, 1) > 0;
	cdc_spi_end(&spi);
	ereport(ERROR,
			(errcode(any ? ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE : ERRCODE_UNDEFINED_OBJECT),
			 errmsg("record " INT64_FORMAT " of partition " INT64_FORMAT " of pipeline \"%s\" is not in quarantine",
					retry->offset, retry->partition, pipeline->name),
			 any ? errdetail("It only shows why the pipeline was stopped, and is read again.") : 0,
			 any ? errhint("Let it run again with SELECT cdc_resume(%s).",
						   quote_literal_cstr(pipeline->name)) :
			 errhint("The table cdcsync.quarantine lists the records that are.")));
}

static int64
count_quarantined(const char *pipeline)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	bool		isnull;
	int64		n;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("SELECT count(*) FROM cdcsync.quarantine WHERE pipeline = $1",
					   1, types, values, NULL, 0);
	n = DatumGetInt64(cdc_spi_value(0, 1, &isnull));
	cdc_spi_end(&spi);
	return n;
}

/*
 * cdc_retry(name text, partition bigint, "offset" bigint) returns record
 */
Datum
cdc_retry(PG_FUNCTION_ARGS)
{
	CdcRetry	retry;
	CdcPipeline *pipeline = read_arguments(fcinfo, &retry);
	CdcSyncResult r = {0};
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (OidIsValid(pipeline->target))
		cdc_sync_retry(pipeline, &retry, false, &r);
	if (!retry.all && r.retried == 0)
		not_in_quarantine(pipeline, &retry);
	if (r.applied > 0)
		cdc_retry_related(pipeline);
	values[0] = Int64GetDatum(r.retried);
	values[1] = Int64GetDatum(r.applied);
	values[2] = Int64GetDatum(retry.all ? count_quarantined(pipeline->name) : r.retried - r.applied);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* Of what is to be discarded, does anything stand before the watermark? */
static bool
loses_records(const CdcPipeline *pipeline, const CdcRetry *retry)
{
	Oid			types[] = {TEXTOID, BOOLOID, INT8OID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline->name), BoolGetDatum(retry->all),
	Int64GetDatum(retry->partition), Int64GetDatum(retry->offset)};
	bool		any;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	any = cdc_spi_run("SELECT FROM cdcsync.quarantine q JOIN cdcsync.watermark w USING (pipeline, kafka_partition) "
					  "WHERE pipeline = $1 AND (q.epoch, q.kafka_offset) < (w.epoch, w.next_offset) "
					  "AND ($2 OR kafka_partition = $3 AND q.kafka_offset = $4)",
					  4, types, values, NULL, 1) > 0;
	cdc_spi_end(&spi);
	return any;
}

/*
 * The other records of the key of one that is about to be discarded: the first of
 * them, in *next; false if there is none.
 */
static bool
find_rest(const CdcPipeline *pipeline, const CdcRetry *discarded, CdcRetry *next)
{
	Oid			types[] = {TEXTOID, INT8OID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline->name), Int64GetDatum(discarded->partition),
	Int64GetDatum(discarded->offset)};
	bool		isnull;
	bool		found;
	CdcSpi		spi;

	memset(next, 0, sizeof(*next));
	cdc_spi_begin_catalog(&spi);
	found = cdc_spi_run("SELECT q.kafka_partition, q.kafka_offset FROM cdcsync.quarantine d "
						"JOIN cdcsync.quarantine q ON q.pipeline = d.pipeline "
						"AND (q.key_type = d.key_type AND q.key_hash = d.key_hash "
						"OR q.key_hash IS NULL AND d.key_hash IS NULL AND q.kafka_key = d.kafka_key) "
						"JOIN cdcsync.watermark w ON w.pipeline = q.pipeline AND w.kafka_partition = q.kafka_partition "
						"WHERE d.pipeline = $1 AND d.kafka_partition = $2 AND d.kafka_offset = $3 "
						"AND (q.kafka_partition, q.kafka_offset) <> ($2, $3) "
						"AND (q.epoch, q.kafka_offset) < (w.epoch, w.next_offset) "
						"ORDER BY q.epoch, q.kafka_partition, q.kafka_offset LIMIT 1",
						3, types, values, NULL, 0) == 1;
	if (found)
	{
		next->partition = DatumGetInt64(cdc_spi_value(0, 1, &isnull));
		next->offset = DatumGetInt64(cdc_spi_value(0, 2, &isnull));
	}
	cdc_spi_end(&spi);
	return found;
}

/*
 * cdc_discard(name text, partition bigint, "offset" bigint) returns bigint
 */
Datum
cdc_discard(PG_FUNCTION_ARGS)
{
	CdcRetry	discard;
	CdcRetry	rest;
	CdcPipeline *pipeline = read_arguments(fcinfo, &discard);
	CdcSyncResult r;
	int64		n;
	bool		has_rest;
	bool		loses;

	if (OidIsValid(pipeline->staging))
		(void) cdc_staging_lock(pipeline->staging, pipeline->name, false);
	cdc_watermark_check_snapshot(pipeline);
	has_rest = !discard.all && find_rest(pipeline, &discard, &rest);
	loses = loses_records(pipeline, &discard);
	n = cdc_quarantine_discard(pipeline->name, discard.all, discard.partition,
							   discard.offset);
	if (!discard.all && n == 0)
		not_in_quarantine(pipeline, &discard);
	if (loses)
		cdc_pipeline_set_inexact(pipeline->name, "records were discarded");
	(void) cdc_quarantine_unblock(pipeline->name);
	if (has_rest)
	{
		cdc_sync_retry(pipeline, &rest, false, &r);
		if (r.applied > 0)
			cdc_retry_related(pipeline);
	}
	PG_RETURN_INT64(n);
}
