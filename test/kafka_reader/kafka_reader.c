/*-------------------------------------------------------------------------
 *
 * kafka_reader.c
 *	  The consumer of src/kafka.h as SQL functions, for tests.
 *
 * One consumer a session, which lasts until it is closed or the session ends.
 * Linked with the consumer's own object files; nothing is installed: tests
 * make the functions with the path of the library.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "kafka.h"

PG_MODULE_MAGIC;

static CdcKafka *kafka = NULL;
static const CdcKafkaEvent *events;
static int	nevents = 0;

static CdcKafka *
consumer(void)
{
	if (kafka == NULL)
		elog(ERROR, "no consumer is open");
	return kafka;
}

/*
 * kr_setenv(name text, value text): a variable of this process's environment,
 * that of the server for whoever asks for it here; '' takes it away.
 */
PG_FUNCTION_INFO_V1(kr_setenv);
Datum
kr_setenv(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *value = text_to_cstring(PG_GETARG_TEXT_PP(1));

	if ((value[0] ? setenv(name, value, 1) : unsetenv(name)) != 0)
		elog(ERROR, "could not set \"%s\": %m", name);
	PG_RETURN_VOID();
}

/* kr_open(server text, lasting bool) */
PG_FUNCTION_INFO_V1(kr_open);
Datum
kr_open(PG_FUNCTION_ARGS)
{
	ForeignServer *server =
		GetForeignServerByName(text_to_cstring(PG_GETARG_TEXT_PP(0)), false);
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	if (kafka)
		elog(ERROR, "a consumer is open");
	nevents = 0;
	kafka = cdc_kafka_open(server->serverid, GetUserId(), PG_GETARG_BOOL(1) ? 1 : 0);
	MemoryContextSwitchTo(old);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(kr_close);
Datum
kr_close(PG_FUNCTION_ARGS)
{
	cdc_kafka_close(consumer());
	kafka = NULL;
	PG_RETURN_VOID();
}

static int
array_values(FunctionCallInfo fcinfo, int arg, Oid type, int16 len, bool byval,
			 Datum **values)
{
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), type, len, byval, TYPALIGN_INT,
					  values, NULL, &n);
	return n;
}

static int *
ids_of(FunctionCallInfo fcinfo, int *n)
{
	Datum	   *values;
	int		   *ids;

	*n = array_values(fcinfo, 0, INT4OID, sizeof(int32), true, &values);
	ids = palloc(Max(*n, 1) * sizeof(int));
	for (int i = 0; i < *n; i++)
		ids[i] = DatumGetInt32(values[i]);
	return ids;
}

/* kr_add(topics text[], partitions int[], starts int[]) returns int[] */
PG_FUNCTION_INFO_V1(kr_add);
Datum
kr_add(PG_FUNCTION_ARGS)
{
	Datum	   *topics;
	Datum	   *partitions;
	Datum	   *offsets;
	int			n = array_values(fcinfo, 0, TEXTOID, -1, false, &topics);
	CdcKafkaSource *sources = palloc(Max(n, 1) * sizeof(CdcKafkaSource));
	int		   *ids = palloc(Max(n, 1) * sizeof(int));

	if (array_values(fcinfo, 1, INT4OID, sizeof(int32), true, &partitions) != n ||
		array_values(fcinfo, 2, INT4OID, sizeof(int32), true, &offsets) != n)
		elog(ERROR, "arrays differ in length");
	for (int i = 0; i < n; i++)
	{
		sources[i].topic = TextDatumGetCString(topics[i]);
		sources[i].partition = DatumGetInt32(partitions[i]);
		sources[i].offset = DatumGetInt32(offsets[i]);
	}
	cdc_kafka_add_many(consumer(), sources, n, ids);
	for (int i = 0; i < n; i++)
		topics[i] = Int32GetDatum(ids[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(topics, n, INT4OID, sizeof(int32),
										  true, TYPALIGN_INT));
}

/* kr_move(ids int[], starts int[]) */
PG_FUNCTION_INFO_V1(kr_move);
Datum
kr_move(PG_FUNCTION_ARGS)
{
	int			n;
	int		   *ids = ids_of(fcinfo, &n);
	Datum	   *values;
	int64	   *offsets = palloc(Max(n, 1) * sizeof(int64));

	if (array_values(fcinfo, 1, INT4OID, sizeof(int32), true, &values) != n)
		elog(ERROR, "arrays differ in length");
	for (int i = 0; i < n; i++)
		offsets[i] = DatumGetInt32(values[i]);
	cdc_kafka_move_many(consumer(), ids, offsets, n);
	PG_RETURN_VOID();
}

/* kr_remove(ids int[]) */
PG_FUNCTION_INFO_V1(kr_remove);
Datum
kr_remove(PG_FUNCTION_ARGS)
{
	int			n;
	int		   *ids = ids_of(fcinfo, &n);

	cdc_kafka_remove_many(consumer(), ids, n);
	PG_RETURN_VOID();
}

/*
 * kr_poll(events int, timeout int) returns int: until the batch has so many
 * events, but no longer than timeout ms
 */
PG_FUNCTION_INFO_V1(kr_poll);
Datum
kr_poll(PG_FUNCTION_ARGS)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												  PG_GETARG_INT32(1));
	long		left = PG_GETARG_INT32(1);

	do
	{
		nevents = cdc_kafka_poll(consumer(), left, &events);
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
	} while (nevents < PG_GETARG_INT32(0) && left > 0);
	PG_RETURN_INT32(nevents);
}

static Datum
text_datum(const char *text, bool *isnull)
{
	*isnull = text == NULL;
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

/*
 * kr_batch() returns setof (kind text, source int, kafka_partition int,
 * kafka_offset bigint, value text, sqlstate text, message text, detail text)
 */
PG_FUNCTION_INFO_V1(kr_batch);
Datum
kr_batch(PG_FUNCTION_ARGS)
{
	static const char *const kinds[] = {
		[CDC_KAFKA_RECORD] = "record",
		[CDC_KAFKA_EOF] = "eof",
		[CDC_KAFKA_OUT_OF_RANGE] = "out of range",
		[CDC_KAFKA_ERROR] = "error",
		[CDC_KAFKA_UNAVAILABLE] = "unavailable",
		[CDC_KAFKA_AVAILABLE] = "available"
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < nevents; i++)
	{
		const CdcKafkaEvent *event = &events[i];
		const CdcKafkaError *error = event->error;
		Datum		values[8];
		bool		nulls[8] = {false};

		values[0] = CStringGetTextDatum(kinds[event->kind]);
		values[1] = Int32GetDatum(event->record.source);
		values[2] = Int32GetDatum(event->record.partition);
		values[3] = Int64GetDatum(event->record.offset);
		nulls[4] = event->record.value.data == NULL;
		values[4] = nulls[4] ? (Datum) 0 :
			PointerGetDatum(cstring_to_text_with_len(event->record.value.data,
													 event->record.value.len));
		values[5] = text_datum(error ? unpack_sql_state(error->sqlstate) : NULL,
							   &nulls[5]);
		values[6] = text_datum(error ? error->message : NULL, &nulls[6]);
		values[7] = text_datum(error ? error->detail : NULL, &nulls[7]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kr_release);
Datum
kr_release(PG_FUNCTION_ARGS)
{
	cdc_kafka_release(consumer());
	nevents = 0;
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(kr_bytes);
Datum
kr_bytes(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(cdc_kafka_batch_bytes(consumer()));
}

PG_FUNCTION_INFO_V1(kr_high);
Datum
kr_high(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(cdc_kafka_high(consumer(), PG_GETARG_INT32(0)));
}

PG_FUNCTION_INFO_V1(kr_refresh);
Datum
kr_refresh(PG_FUNCTION_ARGS)
{
	cdc_kafka_metadata_refresh(consumer());
	PG_RETURN_INT32(list_length(cdc_kafka_topics(consumer())));
}

PG_FUNCTION_INFO_V1(kr_partitions);
Datum
kr_partitions(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(cdc_kafka_partitions(consumer(),
										 text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

/* kr_for_time(topic text, kafka_partition int, ms bigint) returns bigint */
PG_FUNCTION_INFO_V1(kr_for_time);
Datum
kr_for_time(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(cdc_kafka_offset_for_time(consumer(),
											  text_to_cstring(PG_GETARG_TEXT_PP(0)),
											  PG_GETARG_INT32(1),
											  PG_GETARG_INT64(2)));
}
