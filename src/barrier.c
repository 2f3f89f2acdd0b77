/*-------------------------------------------------------------------------
 *
 * barrier.c
 *	  Changes that all partitions of a topic must pass: what is older than they
 *	  are, and comes later from another partition, is not what it seems.
 *
 * At most two rows a pipeline, and none for a topic of one partition.  Nothing
 * is written while no record calls for it.  Runs in the transaction that writes
 * the target, as the catalog's owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "barrier.h"
#include "catalog.h"

/* Fill *at from the row of the SPI result. */
static void
read_origin(CdcOrigin *at, uint64 row)
{
	bool		isnull;
	Datum		d;

	memset(at, 0, sizeof(CdcOrigin));
	at->partition = DatumGetInt64(cdc_spi_value(row, 2, &isnull));
	at->epoch = DatumGetInt32(cdc_spi_value(row, 3, &isnull));
	at->offset = DatumGetInt64(cdc_spi_value(row, 4, &isnull));
	d = cdc_spi_value(row, 5, &isnull);
	if (!isnull)
		(void) cdc_position_parse(TextDatumGetCString(d), &at->position);
	d = cdc_spi_value(row, 6, &isnull);
	at->source_ts_ms = isnull ? 0 : DatumGetInt64(d);
	d = cdc_spi_value(row, 7, &isnull);
	at->kafka_timestamp = isnull ? DT_NOBEGIN : DatumGetTimestamp(d);
}

void
cdc_barriers_load(const char *pipeline, CdcBarriers *barriers)
{
	static const Oid types[] = {TEXTOID};
	static CdcPlan plan = {
		.sql = "SELECT kind, kafka_partition, epoch, kafka_offset, source_position, source_ts_ms, "
		"kafka_timestamp, partitions, key_form, changed_at FROM cdcsync.barrier WHERE pipeline = $1",
		.nargs = 1,
		.types = types
	};
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	CdcSpi		spi;
	uint64		n;

	memset(barriers, 0, sizeof(CdcBarriers));
	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run_plan(&plan, values, NULL);
	for (uint64 row = 0; row < n; row++)
	{
		bool		isnull;
		bool		known;
		Datum		changed_at;
		char	   *kind = TextDatumGetCString(cdc_spi_value(row, 1, &isnull));

		(void) cdc_spi_value(row, 2, &isnull);
		known = !isnull;
		if (strcmp(kind, "truncate") == 0)
		{
			barriers->has_truncate = known;
			read_origin(&barriers->truncate, row);
			changed_at = cdc_spi_value(row, 10, &isnull);
			barriers->truncate_time = isnull ? DT_NOBEGIN : DatumGetTimestamp(changed_at);
			continue;
		}
		barriers->npartitions = DatumGetInt32(cdc_spi_value(row, 8, &isnull));
		barriers->key_form = DatumGetInt64(cdc_spi_value(row, 9, &isnull));
		barriers->has_stray = known;
		if (known)
			read_origin(&barriers->stray, row);
	}
	cdc_spi_end(&spi);
}

void
cdc_barriers_stray(CdcBarriers *barriers, const CdcOrigin *at)
{
	if (barriers->has_stray && !cdc_origin_older(&barriers->stray, at))
		return;
	barriers->stray = *at;
	barriers->has_stray = barriers->changed = true;
}

void
cdc_barriers_grow(CdcBarriers *barriers, int npartitions, const CdcProgress *progress)
{
	for (int i = 0; i < npartitions; i++)
	{
		const CdcProgress *p = &progress[i];
		CdcOrigin	at = {
			.partition = p->partition,
			.epoch = p->epoch,
			.offset = p->next_offset,
			.position = p->position,
			.source_ts_ms = Max(p->newest_ts_ms, p->source_ts_ms),
			.kafka_timestamp = p->refresh_time,
		};

		if (!TIMESTAMP_NOT_FINITE(p->refresh_time))
			cdc_barriers_stray(barriers, &at);
	}
	barriers->npartitions = npartitions;
	barriers->changed = true;
}

/* Is all that the partition has still to bring newer? */
static bool
has_passed(const CdcProgress *p, const CdcOrigin *at)
{
	int			cmp;

	if (p->partition == at->partition)
		return true;
	if (cdc_position_compare(&p->position, &at->position, &cmp))
		return cmp > 0;
	return at->source_ts_ms != 0 && p->newest_ts_ms > at->source_ts_ms;
}

static void
forget_passed(CdcBarriers *barriers, int npartitions, const CdcProgress *progress)
{
	for (int i = 0; i < npartitions; i++)
		if (!has_passed(&progress[i], &barriers->truncate))
			return;
	barriers->has_truncate = false;
	barriers->changed = true;
}

static void
write_barrier(const char *pipeline, const char *kind, const CdcOrigin *at, Timestamp time,
			  int npartitions, int64 key_form)
{
	Oid			types[] = {TEXTOID, TEXTOID, INT8OID, INT4OID, INT8OID, TEXTOID, INT8OID,
	TIMESTAMPOID, INT4OID, INT8OID, TIMESTAMPOID};
	char		nulls[] = "           ";
	char		position[CDC_POSITION_TEXT] = "";
	Datum		values[11] = {CStringGetTextDatum(pipeline), CStringGetTextDatum(kind)};

	if (at)
	{
		cdc_position_print(&at->position, position);
		values[2] = Int64GetDatum(at->partition);
		values[3] = Int32GetDatum(at->epoch);
		values[4] = Int64GetDatum(at->offset);
		values[5] = CStringGetTextDatum(position);
		values[6] = Int64GetDatum(at->source_ts_ms);
		values[7] = TimestampGetDatum(at->kafka_timestamp);
		if (at->source_ts_ms == 0)
			nulls[6] = 'n';
		if (TIMESTAMP_NOT_FINITE(at->kafka_timestamp))
			nulls[7] = 'n';
	}
	else
		memset(nulls + 2, 'n', 6);
	values[8] = Int32GetDatum(npartitions);
	values[9] = Int64GetDatum(key_form);
	values[10] = TimestampGetDatum(time);
	if (TIMESTAMP_NOT_FINITE(time))
		nulls[10] = 'n';
	(void) cdc_spi_run("INSERT INTO cdcsync.barrier (pipeline, kind, kafka_partition, epoch, kafka_offset, "
					   "source_position, source_ts_ms, kafka_timestamp, partitions, key_form, changed_at) "
					   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", 11, types, values, nulls, 0);
}

void
cdc_barriers_save(const char *pipeline, CdcBarriers *barriers, int npartitions,
				  const CdcProgress *progress)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	CdcSpi		spi;

	if (barriers->has_truncate)
		forget_passed(barriers, npartitions, progress);
	if (!barriers->changed)
		return;
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("DELETE FROM cdcsync.barrier WHERE pipeline = $1", 1, types, values, NULL, 0);
	if (barriers->has_truncate)
		write_barrier(pipeline, "truncate", &barriers->truncate, barriers->truncate_time, 0, 0);
	if (barriers->has_stray || barriers->npartitions != 0)
		write_barrier(pipeline, "stray", barriers->has_stray ? &barriers->stray : NULL, DT_NOBEGIN,
					  barriers->npartitions, barriers->key_form);
	cdc_spi_end(&spi);
	barriers->changed = false;
}
