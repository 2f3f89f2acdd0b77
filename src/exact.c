/*-------------------------------------------------------------------------
 *
 * exact.c
 *	  Is a pipeline's target known to equal its source?
 *
 * It is unless cdcsync.inexact has a row of the pipeline: the one place that
 * says so, for cdc_status too.  Whoever loses something that may be missing in
 * the target notes it here, with the reason for people; whoever has loaded the
 * target anew takes it back.
 *
 * Runs in the caller's transaction, as the catalog's owner; the caller has
 * checked the privileges.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "exact.h"

void
cdc_pipeline_set_inexact(const char *pipeline, const char *reason)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline), CStringGetTextDatum(reason)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("INSERT INTO cdcsync.inexact (pipeline, reason)"
					   " VALUES ($1, $2)"
					   " ON CONFLICT (pipeline, reason) DO UPDATE SET since = excluded.since",
					   2, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

void
cdc_landing_set_inexact(int32 landing, const char *reason, int64 partition,
						int32 epoch, int64 next_offset)
{
	Oid			types[] = {INT4OID, TEXTOID, INT8OID, INT4OID, INT8OID};
	Datum		values[] = {Int32GetDatum(landing), CStringGetTextDatum(reason),
	Int64GetDatum(partition), Int32GetDatum(epoch), Int64GetDatum(next_offset)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("INSERT INTO cdcsync.inexact (pipeline, reason, kafka_partition, epoch, next_offset)"
					   " SELECT p.name, $2, $3, $4, $5 FROM cdcsync.pipeline p WHERE p.landing_id = $1"
					   " ON CONFLICT (pipeline, reason) DO UPDATE SET since = excluded.since,"
					   " kafka_partition = excluded.kafka_partition, epoch = excluded.epoch,"
					   " next_offset = excluded.next_offset",
					   5, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

void
cdc_exact_begin(const char *pipeline, int32 landing)
{
	Oid			types[] = {TEXTOID, INT4OID};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int32GetDatum(landing)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("INSERT INTO cdcsync.inexact (pipeline, reason, kafka_partition, epoch, next_offset)"
					   " SELECT DISTINCT ON (reason) $1, reason, kafka_partition, epoch, next_offset"
					   " FROM cdcsync.gap WHERE landing_id = $2 AND passed"
					   " ORDER BY reason, detected_at DESC",
					   2, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

void
cdc_exact_regain(const char *pipeline, TimestampTz since)
{
	Oid			types[] = {TEXTOID, TIMESTAMPTZOID};
	Datum		values[] = {CStringGetTextDatum(pipeline), TimestampTzGetDatum(since)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("DELETE FROM cdcsync.inexact WHERE pipeline = $1 AND since < $2"
					   " AND (kafka_partition IS NULL OR $2 = 'infinity')",
					   2, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

void
cdc_exact_rebuilt(const char *pipeline, const CdcLandingPosition *from,
				  int npartitions)
{
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	for (int i = 0; i < npartitions; i++)
	{
		Oid			types[] = {TEXTOID, INT8OID, INT4OID, INT8OID};
		Datum		values[] = {CStringGetTextDatum(pipeline), Int64GetDatum(from[i].partition),
		Int32GetDatum(from[i].epoch), Int64GetDatum(from[i].next_offset)};

		(void) cdc_spi_run("DELETE FROM cdcsync.inexact WHERE pipeline = $1"
						   " AND (kafka_partition IS NULL OR next_offset IS NULL"
						   " OR kafka_partition = $2 AND (epoch, next_offset) <= ($3, $4))",
						   4, types, values, NULL, 0);
	}
	cdc_spi_end(&spi);
}

void
cdc_exact_regain_partition(const char *pipeline, int64 partition, int32 epoch,
						   int64 offset)
{
	Oid			types[] = {TEXTOID, INT8OID, INT4OID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int64GetDatum(partition),
	Int32GetDatum(epoch), Int64GetDatum(offset)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("DELETE FROM cdcsync.inexact WHERE pipeline = $1"
					   " AND kafka_partition = $2 AND (epoch, next_offset) <= ($3, $4)",
					   4, types, values, NULL, 0);
	cdc_spi_end(&spi);
}
