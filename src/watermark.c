/*-------------------------------------------------------------------------
 *
 * watermark.c
 *	  Watermarks: how far a pipeline is in each partition of its landing.
 *
 * A watermark is an offset, never a time: nothing that becomes visible late can
 * be passed over.  It is written in the transaction, and the subtransaction, that
 * writes the target, as the catalog's owner; the lock on the staging table keeps
 * other sessions out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "watermark.h"

/* Fill *p from the watermark row that is row of the SPI result. */
static void
read_watermark(CdcProgress *p, uint64 row)
{
	bool		isnull;
	Datum		d;

	p->epoch = DatumGetInt32(cdc_spi_value(row, 2, &isnull));
	p->next_offset = DatumGetInt64(cdc_spi_value(row, 3, &isnull));
	d = cdc_spi_value(row, 4, &isnull);
	p->refresh_time = isnull ? DT_NOBEGIN : DatumGetTimestamp(d);
	d = cdc_spi_value(row, 5, &isnull);
	if (!isnull)
		(void) cdc_position_parse(TextDatumGetCString(d), &p->position);
	d = cdc_spi_value(row, 6, &isnull);
	p->source_ts_ms = isnull ? 0 : DatumGetInt64(d);
	d = cdc_spi_value(row, 7, &isnull);
	p->deleted_key = isnull ? 0 : DatumGetInt64(d);
	d = cdc_spi_value(row, 9, &isnull);
	p->newest_ts_ms = isnull ? 0 : DatumGetInt64(d);
	d = cdc_spi_value(row, 10, &isnull);
	p->resent_offset = isnull ? -1 : DatumGetInt64(d);
	d = cdc_spi_value(row, 11, &isnull);
	p->resent_epoch = isnull ? 0 : DatumGetInt32(d);
	p->in_snapshot = DatumGetBool(cdc_spi_value(row, 12, &isnull));
	d = cdc_spi_value(row, 13, &isnull);
	if (!isnull)
		cdc_repeat_parse(TextDatumGetCString(d), &p->repeats);
}

/* All watermarks of the pipeline as one text, as the active snapshot sees them. */
static char *
watermark_text(const CdcPipeline *pipeline, bool read_only)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline->name)};
	MemoryContext context = CurrentMemoryContext;
	bool		isnull;
	char	   *result;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	if (SPI_execute_with_args("SELECT coalesce(string_agg(format('%s/%s/%s', kafka_partition, epoch, next_offset), ' ' "
							  "ORDER BY kafka_partition), '') FROM cdcsync.watermark WHERE pipeline = $1",
							  1, types, values, NULL, read_only, 0) != SPI_OK_SELECT)
		elog(ERROR, "cannot read the watermarks");
	result = MemoryContextStrdup(context, TextDatumGetCString(cdc_spi_value(0, 1, &isnull)));
	cdc_spi_end(&spi);
	return result;
}

/*
 * A transaction that sees the database as it was before another session's sync
 * would apply the same records again.
 */
void
cdc_watermark_check_snapshot(const CdcPipeline *pipeline)
{
	char	   *now;
	bool		same;

	if (!IsolationUsesXactSnapshot())
		return;
	PushActiveSnapshot(GetLatestSnapshot());
	now = watermark_text(pipeline, true);
	PopActiveSnapshot();
	same = strcmp(now, watermark_text(pipeline, false)) == 0;
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to a concurrent sync of pipeline \"%s\"",
						pipeline->name),
				 errhint("Try the transaction again.")));
}

CdcProgress *
cdc_watermark_load(const CdcPipeline *pipeline, int npartitions,
				   const CdcLandingPosition *positions, int64 *records)
{
	static const Oid types[] = {TEXTOID};
	static CdcPlan plan = {
		.sql = "SELECT kafka_partition, epoch, next_offset, refresh_time, source_position, "
		"source_ts_ms, deleted_key, events, newest_ts_ms, resent_offset, resent_epoch, "
		"in_snapshot, last_events "
		"FROM cdcsync.watermark WHERE pipeline = $1 ORDER BY kafka_partition",
		.nargs = 1,
		.types = types
	};
	CdcProgress *progress = palloc0(sizeof(CdcProgress) * Max(npartitions, 1));
	Datum		values[] = {CStringGetTextDatum(pipeline->name)};
	CdcSpi		spi;
	uint64		n;

	*records = 0;
	for (int i = 0; i < npartitions; i++)
	{
		progress[i].partition = positions[i].partition;
		progress[i].refresh_time = DT_NOBEGIN;
		progress[i].resent_offset = -1;
	}
	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run_plan(&plan, values, NULL);
	for (uint64 row = 0, i = 0; row < n; row++)
	{
		bool		isnull;
		int64		partition = DatumGetInt64(cdc_spi_value(row, 1, &isnull));

		*records += DatumGetInt64(cdc_spi_value(row, 8, &isnull));
		/* both are in the order of the partitions */
		while (i < npartitions && progress[i].partition < partition)
			i++;
		if (i < npartitions && progress[i].partition == partition)
			read_watermark(&progress[i], row);
	}
	cdc_spi_end(&spi);
	return progress;
}

/* Values of one column of the watermark rows, as an array. */
static Datum
column_array(Datum *values, bool *nulls, int n, Oid type)
{
	int			lbound = 1;
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(type, &len, &byval, &align);
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lbound, type,
											  len, byval, align));
}

#define NCOLUMNS	15

/* The columns of one watermark row. */
static void
fill_row(const CdcProgress *p, Datum *values, bool *nulls)
{
	char		position[CDC_POSITION_TEXT];
	char	   *repeats = cdc_repeat_print(&p->repeats);

	cdc_position_print(&p->position, position);
	values[0] = Int64GetDatum(p->partition);
	values[1] = Int32GetDatum(p->epoch);
	values[2] = Int64GetDatum(p->next_offset);
	values[3] = TimestampGetDatum(p->refresh_time);
	values[4] = CStringGetTextDatum(position);
	values[5] = Int64GetDatum(p->source_ts_ms);
	values[6] = Int64GetDatum(p->events);
	values[7] = Int64GetDatum(p->resent);
	values[8] = Int64GetDatum(p->deleted_key);
	values[9] = Int64GetDatum(p->newest_ts_ms);
	values[10] = Int64GetDatum(p->resent_offset);
	values[11] = Int32GetDatum(p->resent_epoch);
	values[12] = Int64GetDatum(p->passed);
	values[13] = BoolGetDatum(p->in_snapshot);
	values[14] = repeats ? CStringGetTextDatum(repeats) : (Datum) 0;
	memset(nulls, false, NCOLUMNS);
	nulls[3] = TIMESTAMP_NOT_FINITE(p->refresh_time);
	nulls[4] = nulls[5] = p->position.kind == CDC_POSITION_NONE;
	nulls[8] = p->deleted_key == 0;
	nulls[9] = p->newest_ts_ms == 0;
	nulls[10] = nulls[11] = p->resent_offset < 0;
	nulls[14] = repeats == NULL;
}

void
cdc_watermark_save(const CdcPipeline *pipeline, int npartitions,
				   CdcProgress *progress)
{
	static const Oid types[NCOLUMNS] = {INT8OID, INT4OID, INT8OID, TIMESTAMPOID, TEXTOID,
	INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT4OID, INT8OID, BOOLOID, TEXTOID};
	static const Oid arg_types[NCOLUMNS + 1] = {TEXTOID, INT8ARRAYOID, INT4ARRAYOID,
		INT8ARRAYOID, TIMESTAMPARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
	INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID,
		INT8ARRAYOID, BOOLARRAYOID, TEXTARRAYOID};
	static CdcPlan plan = {
		.sql = "INSERT INTO cdcsync.watermark AS w (pipeline, kafka_partition, epoch, "
		"next_offset, refresh_time, source_position, source_ts_ms, events, resent, "
		"deleted_key, newest_ts_ms, resent_offset, resent_epoch, passed, in_snapshot, last_events, synced_at) "
		"SELECT $1, u.*, now() FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) u "
		"ON CONFLICT (pipeline, kafka_partition) DO UPDATE SET "
		"epoch = excluded.epoch, next_offset = excluded.next_offset, "
		"refresh_time = excluded.refresh_time, "
		"source_position = excluded.source_position, "
		"source_ts_ms = excluded.source_ts_ms, events = w.events + excluded.events, "
		"resent = w.resent + excluded.resent, passed = w.passed + excluded.passed, "
		"deleted_key = excluded.deleted_key, "
		"newest_ts_ms = excluded.newest_ts_ms, "
		"resent_offset = excluded.resent_offset, "
		"resent_epoch = excluded.resent_epoch, "
		"in_snapshot = excluded.in_snapshot, last_events = excluded.last_events, "
		"synced_at = excluded.synced_at",
		.nargs = NCOLUMNS + 1,
		.types = arg_types
	};
	Datum		args[NCOLUMNS + 1] = {CStringGetTextDatum(pipeline->name)};
	Datum	   *columns[NCOLUMNS];
	bool	   *column_nulls[NCOLUMNS];
	int			n = 0;
	CdcSpi		spi;

	for (int c = 0; c < NCOLUMNS; c++)
	{
		columns[c] = palloc(sizeof(Datum) * Max(npartitions, 1));
		column_nulls[c] = palloc(sizeof(bool) * Max(npartitions, 1));
	}
	for (int i = 0; i < npartitions; i++)
	{
		Datum		values[NCOLUMNS];
		bool		nulls[NCOLUMNS];

		if (!progress[i].moved)
			continue;
		fill_row(&progress[i], values, nulls);
		for (int c = 0; c < NCOLUMNS; c++)
		{
			columns[c][n] = values[c];
			column_nulls[c][n] = nulls[c];
		}
		n++;
		progress[i].events = progress[i].resent = progress[i].passed = 0;
		progress[i].moved = false;
	}
	if (n == 0)
		return;
	for (int c = 0; c < NCOLUMNS; c++)
		args[c + 1] = column_array(columns[c], column_nulls[c], n, types[c]);
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run_plan(&plan, args, NULL);
	cdc_spi_end(&spi);
}
