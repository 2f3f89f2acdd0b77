/*-------------------------------------------------------------------------
 *
 * schema_change.c
 *	  The rows of cdcsync.schema_change: what has changed at the source, and
 *	  what became of it.
 *
 * Written in the transaction of the sync that met the change, so they say what
 * is so whatever becomes of the sync.  Changes are rare: the table grows with
 * the DDL of the source, not with its data, and is the user's to clear.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "catalog.h"
#include "schema_change.h"

static Datum
text_or_null(const char *text, char *null)
{
	*null = text ? ' ' : 'n';
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

void
cdc_schema_change_record(const char *pipeline, const CdcOrigin *at,
						 const CdcSchemaChange *change)
{
	Oid			types[] = {TEXTOID, INT8OID, INT4OID, INT8OID, TEXTOID, TEXTOID,
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID};
	Datum		values[13];
	char		nulls[] = "             ";
	CdcSpi		spi;

	values[0] = CStringGetTextDatum(pipeline);
	values[1] = Int64GetDatum(at->partition);
	values[2] = Int32GetDatum(at->epoch);
	values[3] = Int64GetDatum(at->offset);
	values[4] = CStringGetTextDatum(change->kind);
	values[5] = text_or_null(change->column, &nulls[5]);
	values[6] = text_or_null(change->old_type, &nulls[6]);
	values[7] = text_or_null(change->new_type, &nulls[7]);
	values[8] = text_or_null(change->ddl, &nulls[8]);
	values[9] = text_or_null(change->statement, &nulls[9]);
	values[10] = CStringGetTextDatum(change->state);
	values[11] = text_or_null(change->message, &nulls[11]);
	values[12] = BoolGetDatum(change->in_topic);
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("INSERT INTO cdcsync.schema_change (pipeline, kafka_partition, epoch,"
					   " kafka_offset, kind, column_name, old_type, new_type, ddl, statement,"
					   " state, message, in_schema_topic)"
					   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
					   13, types, values, nulls, 0);
	cdc_spi_end(&spi);
}

/* Run a statement about the changes of a record that wait. */
static uint64
run_waiting(const char *sql, const char *pipeline, const CdcOrigin *at, bool in_topic,
			const char *message)
{
	Oid			types[] = {TEXTOID, INT8OID, INT4OID, INT8OID, TEXTOID, BOOLOID};
	Datum		values[6];
	char		nulls[] = "      ";
	uint64		n;
	CdcSpi		spi;

	values[0] = CStringGetTextDatum(pipeline);
	values[1] = Int64GetDatum(at->partition);
	values[2] = Int32GetDatum(at->epoch);
	values[3] = Int64GetDatum(at->offset);
	values[4] = text_or_null(message, &nulls[4]);
	values[5] = BoolGetDatum(in_topic);
	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run(psprintf("%s FROM cdcsync.schema_change WHERE pipeline = $1"
							 " AND kafka_partition = $2 AND epoch = $3 AND kafka_offset = $4"
							 " AND in_schema_topic = $6 AND state = 'waiting' AND ($5 IS NULL OR message = $5)", sql),
					6, types, values, nulls, 0);
	cdc_spi_end(&spi);
	return n;
}

bool
cdc_schema_change_waits(const char *pipeline, const CdcOrigin *at, bool in_topic,
						const char *message)
{
	return run_waiting("SELECT", pipeline, at, in_topic, message) > 0;
}

void
cdc_schema_change_forget(const char *pipeline, const CdcOrigin *at, bool in_topic)
{
	(void) run_waiting("DELETE", pipeline, at, in_topic, NULL);
}
