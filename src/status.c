/*-------------------------------------------------------------------------
 *
 * status.c
 *	  What the monitoring views ask C code for.  Read-only.
 *
 * Runs in the caller's transaction, with ACCESS SHARE on the chunk table that
 * it looks at, as the owner of the landing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "catalog.h"
#include "compat.h"
#include "pipeline.h"

PG_FUNCTION_INFO_V1(cdc_is_here);
PG_FUNCTION_INFO_V1(cdc_pipeline_lag);

/*
 * cdcsync.is_here(stamp_system bigint, stamp_database bigint) returns boolean
 */
Datum
cdc_is_here(PG_FUNCTION_ARGS)
{
	int64		system;
	int64		database;

	cdc_pipeline_stamp(&system, &database);
	PG_RETURN_BOOL(PG_GETARG_INT64(0) == system && PG_GETARG_INT64(1) == database);
}

/*
 * Per partition: what is left of the epoch that is read now, up to the end of
 * the log if we have seen it, and the landed rest of earlier epochs.  Each
 * look at the chunk table is a short range of its primary key.
 */
static const char lag_query[] =
	"SELECT coalesce(sum(greatest(coalesce(o.high_offset, o.next_offset), o.next_offset)"
	"                    - coalesce(w.next_offset, this.first_offset, o.next_offset)"
	"                    + coalesce(earlier.records, 0)), 0)::bigint,"
	" min(least(this.refresh_time, earlier.refresh_time))"
	" FROM cdcsync.position o"
	" LEFT JOIN cdcsync.watermark v"
	"  ON v.pipeline = $1 AND v.kafka_partition = o.kafka_partition"
	/* a watermark of an earlier epoch says nothing of this one */
	" LEFT JOIN LATERAL (SELECT v.next_offset WHERE v.epoch = o.epoch) w ON true"
	" LEFT JOIN LATERAL (SELECT c.first_offset, c.refresh_time FROM %1$s c"
	"  WHERE c.kafka_partition = o.kafka_partition AND c.epoch = o.epoch"
	"  AND c.first_offset >= coalesce((SELECT max(b.first_offset) FROM %1$s b"
	"   WHERE b.kafka_partition = o.kafka_partition AND b.epoch = o.epoch"
	"   AND b.first_offset <= w.next_offset), 0)"
	"  AND c.last_offset >= coalesce(w.next_offset, 0)"
	"  ORDER BY c.first_offset LIMIT 1) this ON true"
	" LEFT JOIN LATERAL (SELECT min(c.refresh_time) AS refresh_time,"
	"  sum(c.last_offset - c.first_offset + 1"
	"      - CASE WHEN c.epoch = v.epoch THEN greatest(v.next_offset - c.first_offset, 0) ELSE 0 END) AS records"
	"  FROM %1$s c WHERE c.kafka_partition = o.kafka_partition"
	"  AND c.epoch < o.epoch AND (v.epoch IS NULL OR c.epoch > v.epoch"
	"   OR c.epoch = v.epoch AND c.last_offset >= v.next_offset)) earlier ON true"
	" WHERE o.landing_id = $2";

/*
 * cdcsync.pipeline_lag(pipeline text, OUT lag_records bigint, OUT oldest timestamp)
 */
Datum
cdc_pipeline_lag(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	CdcPipeline *pipeline = cdc_pipeline_get(name);
	char	   *chunk = cdc_qualified_name(pipeline->landing->chunk);
	Oid			types[] = {TEXTOID, INT4OID};
	Datum		args[] = {CStringGetTextDatum(name),
	Int32GetDatum(pipeline->landing->id)};
	Datum		values[2];
	bool		nulls[2];
	TupleDesc	desc;
	CdcSpi		spi;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	cdc_spi_begin_as(&spi, pipeline->landing->owner, NULL);
	(void) cdc_spi_run(psprintf(lag_query, chunk), 2, types, args, NULL, 1);
	for (int i = 0; i < 2; i++)
		values[i] = cdc_spi_value(0, i + 1, &nulls[i]);
	cdc_spi_end(&spi);

	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}
