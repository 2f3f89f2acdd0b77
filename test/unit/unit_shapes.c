/*-------------------------------------------------------------------------
 *
 * unit_shapes.c
 *	  Unit tests of the decoder: records that are no envelope, MongoDB's
 *	  documents, CloudEvents, framing, keys as text.
 *
 * Each record is decoded twice by a decoder that keeps skeletons, and by one that
 * does not: all three must say the same.
 *
 *-------------------------------------------------------------------------
 */
#include "decoded.h"
#include "same_change.h"

static const CdcField row_fields[] = {
	{"id", 2, true}, {"name", 4, true}, {"_id", 3, true}, {"big", 3, false},
	{"$row", 4, false}
};
static const CdcField source_fields[] = {{"table", 5, false}, {"db", 2, false}};

enum
{
	ID, NAME, DOC_ID, BIG, ROW, NROW
};

enum
{
	TABLE, DB, NSOURCE
};

static CdcDecoder *plain;

static CdcDecoder *
new_decoder(CdcReadAs read_as, const char *prefix, int nrow)
{
	CdcDecoder *made = cdc_decoder_create(row_fields, nrow, source_fields,
										  NSOURCE, NULL);

	if (made == NULL || !cdc_decoder_read_as(made, read_as, prefix))
		abort();
	cdc_decoder_watch(made, TABLE, NSOURCE);
	return made;
}

/* Without the field for the whole row, which changes what an update needs. */
static void
begin_with(CdcReadAs read_as, const char *prefix, int nrow)
{
	cdc_decoder_free(decoder);
	cdc_decoder_free(plain);
	decoder = new_decoder(read_as, prefix, nrow);
	plain = new_decoder(read_as, prefix, nrow);
	cdc_decoder_use_skeletons(plain, false);
}

static void
begin(CdcReadAs read_as)
{
	begin_with(read_as, NULL, NROW);
}

static bool
decode_bytes(const char *value, size_t len)
{
	CdcChange	other;
	CdcDecodeError other_error;
	bool		ok;

	free(record);
	record = exact_copy(value, len);
	memset(&error, 0, sizeof(error));
	ok = cdc_decode_value(plain, record, len, &other, &other_error);
	for (int i = 0; i < 2; i++)
	{
		CHECK(cdc_decode_value(decoder, record, len, &change, &error) == ok,
			  "%s: not always %s", value, ok ? "accepted" : "refused");
		if (!ok)
			CHECK(same_error(&error, &other_error), "%s: %s", value,
				  error.message);
		else
			CHECK(same_frame(&change, &other) &&
				  alike_tokens(change.before, other.before, BIG) &&
				  alike_tokens(change.after, other.after, BIG) &&
				  alike_tokens(change.source, other.source, NSOURCE),
				  "%s: other fields", value);
	}
	return ok;
}

static bool
decode(const char *value)
{
	return decode_bytes(value, strlen(value));
}

static void
check_row(const char *value, char op, bool marked, const char *id)
{
	bool		ok = decode(value);
	const CdcToken *row = op == 'd' ? change.before : change.after;

	CHECK(ok && change.shape == CDC_SHAPE_ROW && change.op == op &&
		  change.marked == marked && change.has_before == (op == 'd') &&
		  change.has_after == (op != 'd'), "%s: shape %d, op %c, %s", value,
		  change.shape, change.op, ok ? "" : error.message);
	if (ok && change.shape == CDC_SHAPE_ROW)
		CHECK(says(&row[ID], id), "%s: id", value);
}

static void
check_shape(const char *value, CdcShape shape)
{
	bool		ok = decode(value);

	CHECK(ok && change.shape == shape, "%s: shape %d, %s", value, change.shape,
		  ok ? "" : error.message);
}

static void
test_flat(void)
{
	begin(CDC_READ_AUTO);
	check_row("{\"id\":1,\"name\":\"a\"}", 'u', false, "1");
	check_row("{\"ID\":1,\"__op\":\"c\"}", 'c', true, "1");
	check_row("{\"id\":1,\"__op\":\"R\"}", 'r', true, "1");
	check_row("{\"id\":1,\"__op\":\"d\"}", 'd', true, "1");
	check_row("{\"id\":1,\"__op\":null}", 'u', true, "1");
	check_row("{\"id\":1,\"__deleted\":\"false\",\"__op\":\"u\"}", 'u', true, "1");
	check_row("{\"id\":1,\"__deleted\":\"true\"}", 'd', true, "1");
	check_row("{\"id\":1,\"__deleted\":true}", 'd', true, "1");
	check_row("{\"id\":1,\"__deleted\":false}", 'u', true, "1");
	check_row("{\"id\":1,\"__deleted\":null}", 'u', true, "1");
	check_row("{\"id\":1,\"__deleted\":\"True\"}", 'd', true, "1");
	check_row("{\"id\":1,\"__deleted\":1}", 'd', true, "1");
	check_row("{\"id\":1,\"__deleted\":\"\"}", 'u', true, "1");
	check_row("{\"id\":1,\"__deleted\":\"False\"}", 'u', true, "1");
	check_error("{\"id\":1,\"__deleted\":\"yes\"}", "neither true nor false");
	check_error("{\"id\":1,\"__deleted\":2}", "neither true nor false");
	check_error("{\"id\":1,\"__deleted\":[]}", "neither true nor false");
	check_row("{\"schema\":{\"type\":\"struct\",\"fields\":[]},\"payload\":{\"id\":1}}",
			  'u', false, "1");
	CHECK(change.schema_len == 29, "schema of a row");
	check_row("{\"schema\":{\"type\":\"struct\"},\"payload\":{\"id\":1}}", 'u', false, "1");
	CHECK(change.schema == NULL, "a schema that says nothing");
	check_row("{\"schema\":null,\"payload\":{\"id\":1,\"__op\":\"u\"}}", 'u', true, "1");
	CHECK(change.schema == NULL, "no schema");
	check_row("{\"payload\":{\"id\":1}}", 'u', false, "1");
	check_error("{\"id\":1,\"__op\":\"z\"}", "unknown operation z of the row");
	CHECK(error.offset == 16, "offset %u", error.offset);
	/* the placeholder, and the row as a whole */
	check_row("{\"id\":1,\"name\":\"__debezium_unavailable_value\"}", 'u', false, "1");
	CHECK(change.after[NAME].flags & CDC_JSON_UNAVAILABLE, "unavailable");
	CHECK(change.after[ROW].text == record &&
		  change.after[ROW].kind == CDC_JSON_OBJECT, "whole row");
	/* an unavailable map in a member that an envelope would take apart */
	for (int i = 0; i < 4; i++)
	{
		check_row(i % 2 ? "{\"id\":1,\"after\":{\"x\":1},\"big\":2}" :
				  "{\"id\":2,\"after\":{\"x\":7},\"big\":3}", 'u', false,
				  i % 2 ? "1" : "2");
		CHECK(says(&change.after[BIG], i % 2 ? "2" : "3"), "big");
	}
}

/* What a flattened event says of its source. */
static void
test_metadata(void)
{
	begin(CDC_READ_AUTO);
	check_row("{\"id\":1,\"__table\":\"t\",\"__source_db\":\"d\",\"__ts_ms\":7,"
			  "\"__source_ts_ms\":5,\"__source_snapshot\":\"last\"}", 'u', true, "1");
	CHECK(says(&change.source[TABLE], "t") && says(&change.source[DB], "d"),
		  "source fields");
	CHECK(change.has_ts_ms && change.ts_ms == 7 && change.has_source_ts_ms &&
		  change.source_ts_ms == 5 && change.snapshot, "times");
	check_row("{\"id\":1,\"__ts_ms\":7}", 'u', false, "1");
	CHECK(!change.has_source_ts_ms, "the connector's time is not the source's");
	check_row("{\"id\":1,\"__source_table\":\"s\",\"__table\":\"t\"}", 'u', true, "1");
	CHECK(says(&change.source[TABLE], "s"), "the longer name goes before");
	/* whatever is not what it should be is left alone */
	check_row("{\"id\":1,\"__source_ts_ms\":\"2025-01-01\",\"__source_snapshot\":7}",
			  'u', true, "1");
	CHECK(!change.has_source_ts_ms && !change.snapshot, "odd values");
	/* positions, where the fields of one are there */
	check_row("{\"id\":1,\"__sequence\":\"[\\\"1\\\",\\\"2\\\"]\"}", 'u', true, "1");
	CHECK(change.position.kind == CDC_POSITION_POSTGRESQL, "PostgreSQL");
	check_row("{\"id\":1,\"__source_file\":\"b.000001\",\"__source_pos\":5,"
			  "\"__source_server_id\":1}", 'u', true, "1");
	CHECK(change.position.kind == CDC_POSITION_MYSQL &&
		  change.position.at.mysql.minor == 5, "MySQL");
	check_row("{\"id\":1,\"__commit_lsn\":\"0000002b:00000300:0003\","
			  "\"__change_lsn\":\"0000002b:00000300:0002\","
			  "\"__event_serial_no\":1}", 'u', true, "1");
	CHECK(change.position.kind == CDC_POSITION_SQLSERVER &&
		  change.position.at.parts[4] == 1, "SQL Server");
	check_row("{\"id\":1,\"__commit_scn\":\"9\",\"__scn\":\"8\",\"__txId\":\"a\","
			  "\"__txSeq\":4}", 'u', true, "1");
	CHECK(change.position.kind == CDC_POSITION_ORACLE &&
		  change.position.at.oracle.commit_scn == 9, "Oracle");
	check_row("{\"id\":1,\"__connector\":\"db2\",\"__commit_lsn\":\"0000002b:00000300:0003\","
			  "\"__change_lsn\":\"0000002b:00000300:0002\"}", 'u', true, "1");
	CHECK(change.position.kind == CDC_POSITION_DB2, "Db2");
	check_row("{\"id\":1,\"__lsn\":5}", 'u', false, "1");
	CHECK(change.position.kind == CDC_POSITION_NONE, "an LSN is none");
	/* another prefix, and none */
	begin_with(CDC_READ_AUTO, "x.", NROW);
	check_row("{\"id\":1,\"__op\":\"d\"}", 'u', false, "1");
	check_row("{\"id\":1,\"x.op\":\"d\"}", 'd', true, "1");
	check_row("{\"id\":1,\"x.deleted\":\"true\"}", 'd', true, "1");
	check_row("{\"id\":1,\"__deleted\":\"true\"}", 'd', true, "1");
	begin_with(CDC_READ_FLAT, "", NROW);
	check_row("{\"id\":1,\"op\":\"d\",\"table\":\"t\"}", 'd', true, "1");
	CHECK(says(&change.source[TABLE], "t"), "without a prefix");
}

/* Columns that are called as the members of an envelope are. */
static void
test_columns(void)
{
	begin(CDC_READ_AUTO);
	check_row("{\"id\":1,\"op\":\"c\",\"source\":\"web\"}", 'u', false, "1");
	check_row("{\"id\":1,\"op\":\"I\",\"before\":null,\"after\":\"{}\",\"source\":\"w\"}",
			  'u', false, "1");
	check_row("{\"id\":1,\"op\":\"c\",\"before\":null,\"after\":null,\"source\":null}",
			  'u', false, "1");
	check_row("{\"id\":1,\"op\":5,\"after\":{}}", 'u', false, "1");
	check_row("{\"schema\":\"public\",\"payload\":\"x\",\"id\":1}", 'u', false, "1");
	check_row("{\"payload\":\"x\",\"id\":1}", 'u', false, "1");
	check_row("{\"payload\":{\"op\":\"c\",\"after\":{\"id\":2}},\"id\":1}", 'u', false, "1");
	/* members that an SMT has put into the envelope do no harm */
	check_shape("{\"op\":\"c\",\"after\":{\"id\":1},\"source\":{},\"topic\":\"t\"}",
				CDC_SHAPE_CHANGE);
	check_shape("{\"op\":\"d\",\"before\":null,\"after\":null,\"source\":{},\"x\":1}",
				CDC_SHAPE_CHANGE);
	/* the same structure with other kinds: each as it is */
	for (int i = 0; i < 4; i++)
	{
		check_row("{\"schema\":7,\"payload\":{\"id\":1}}", 'u', false, NULL);
		check_shape("{\"schema\":null,\"payload\":{\"id\":1}}", CDC_SHAPE_ROW);
		CHECK(says(&change.after[ID], "1"), "wrapped");
		check_row("{\"op\":\"c\",\"source\":5,\"id\":1}", 'u', false, "1");
		check_row("{\"op\":\"c\",\"source\":null,\"id\":2}", 'u', false, "2");
		check_shape("{\"op\":\"c\",\"source\":{},\"id\":1,\"after\":{\"id\":3}}",
					CDC_SHAPE_CHANGE);
		CHECK(says(&change.after[ID], "3"), "envelope");
	}
	/* forced */
	begin(CDC_READ_FLAT);
	check_row("{\"id\":1,\"op\":\"c\",\"after\":{\"id\":2}}", 'u', false, "1");
	check_row("{\"ts_ms\":1}", 'u', false, NULL);
	check_row("{\"payload\":null}", 'u', false, NULL);
	check_shape("{\"schema\":{},\"payload\":null}", CDC_SHAPE_TOMBSTONE);
	check_shape("null", CDC_SHAPE_TOMBSTONE);
	check_shape("[1]", CDC_SHAPE_OTHER);
	begin(CDC_READ_PLAIN);
	check_row("{\"id\":1,\"__op\":\"d\",\"__deleted\":true}", 'c', true, "1");
	check_row("[1]", 'c', false, NULL);
	CHECK(says(&change.after[ROW], "[1]"), "array");
	check_row("\"text\"", 'c', false, NULL);
	CHECK(says(&change.after[ROW], "text") &&
		  change.after[ROW].kind == CDC_JSON_STRING, "string");
	check_row("{\"schema\":{\"type\":\"string\"},\"payload\":\"x\"}", 'c', false, NULL);
	CHECK(says(&change.after[ROW], "x") && change.schema == NULL, "wrapped");
	check_shape("null", CDC_SHAPE_TOMBSTONE);
	begin(CDC_READ_ENVELOPE);
	check_row("{\"id\":1}", 'u', false, "1");
	check_shape("{\"op\":\"c\",\"after\":{}}", CDC_SHAPE_CHANGE);
}

static void
test_others(void)
{
	begin(CDC_READ_AUTO);
	check_shape("{\"id\":\"n\",\"aggregate_type\":\"Initial Snapshot\",\"type\":\"STARTED\","
				"\"additional_data\":{},\"timestamp\":1}", CDC_SHAPE_NOTIFICATION);
	check_shape("{\"type\":\"execute-snapshot\",\"data\":{}}", CDC_SHAPE_SIGNAL);
	check_shape("{\"id\":\"1\",\"type\":\"stop-snapshot\",\"data\":{}}", CDC_SHAPE_SIGNAL);
	check_shape("{\"type\":\"OrderCreated\",\"data\":{}}", CDC_SHAPE_ROW);
	check_shape("{\"type\":\"execute-snapshot\",\"data\":\"{}\"}", CDC_SHAPE_ROW);
	check_shape("{\"type\":\"execute-snapshot\",\"data\":{},\"no\":1}", CDC_SHAPE_ROW);
	/* formats of other tools */
	check_shape("{\"database\":\"d\",\"table\":\"t\",\"type\":\"insert\",\"ts\":1,"
				"\"data\":{\"id\":1}}", CDC_SHAPE_FOREIGN);
	CHECK(strstr(change.format, "Maxwell") != NULL, "%s", change.format);
	check_shape("{\"data\":null,\"database\":\"d\",\"isDdl\":true,\"table\":\"t\","
				"\"type\":\"CREATE\"}", CDC_SHAPE_FOREIGN);
	CHECK(strstr(change.format, "Canal") != NULL, "%s", change.format);
	check_shape("{\"table\":\"t\",\"op_type\":\"D\",\"op_ts\":\"x\",\"before\":{}}",
				CDC_SHAPE_FOREIGN);
	CHECK(strstr(change.format, "GoldenGate") != NULL, "%s", change.format);
	check_shape("{\n \"data\": {\"id\": 1},\n \"metadata\": {\"record-type\": \"data\"}}",
				CDC_SHAPE_FOREIGN);
	CHECK(strstr(change.format, "DMS") != NULL, "%s", change.format);
	check_shape("{\"database\":\"d\",\"table\":\"t\",\"type\":\"x\",\"ts\":1,"
				"\"data\":\"{}\"}", CDC_SHAPE_ROW);
	check_shape("{\"data\":{},\"metadata\":{}}", CDC_SHAPE_ROW);
}

#define MONGO(after, description, op) \
	"{\"after\":" after ",\"before\":null,\"updateDescription\":" description \
	",\"source\":{\"connector\":\"mongodb\",\"ts_ms\":5,\"db\":\"d\"," \
	"\"collection\":\"c\",\"snapshot\":\"false\"},\"op\":\"" op "\",\"ts_ms\":6}"

/* The field "big" of a document. */
static void
check_scalar(const char *value, CdcJsonKind kind, const char *text)
{
	char		escaped[256];
	char		event[1024];
	char	   *p = escaped;

	for (const char *c = value; *c; c++)
	{
		if (*c == '"' || *c == '\\')
			*p++ = '\\';
		*p++ = *c;
	}
	*p = '\0';
	(void) snprintf(event, sizeof(event),
					MONGO("\"{\\\"_id\\\": 1,\\\"big\\\": %s}\"", "null", "c"),
					escaped);
	CHECK(decode(event), "%s: %s", value, error.message);
	CHECK(change.after[BIG].kind == kind && says(&change.after[BIG], text),
		  "%s: kind %d, %.*s", value, change.after[BIG].kind,
		  (int) change.after[BIG].len, change.after[BIG].text);
}

static void
test_scalars(void)
{
	begin(CDC_READ_AUTO);
	check_scalar("{\"$oid\": \"63979f33\"}", CDC_JSON_STRING, "63979f33");
	check_scalar("{\"$numberLong\": \"-5\"}", CDC_JSON_NUMBER, "-5");
	CHECK(change.after[BIG].flags == CDC_JSON_INTEGER, "an integer");
	check_scalar("{\"$numberInt\":\"7\"}", CDC_JSON_NUMBER, "7");
	check_scalar("{\"$numberInt\":7}", CDC_JSON_NUMBER, "7");
	check_scalar("{\"$numberDouble\":\"1.5\"}", CDC_JSON_NUMBER, "1.5");
	check_scalar("{\"$numberDouble\":\"NaN\"}", CDC_JSON_STRING, "NaN");
	check_scalar("{\"$numberDecimal\":\"1E+3\"}", CDC_JSON_NUMBER, "1E+3");
	check_scalar("{\"$numberDecimal\":\"-Infinity\"}", CDC_JSON_STRING, "-Infinity");
	check_scalar("{\"$date\": 0}", CDC_JSON_STRING, "1970-01-01T00:00:00.000Z");
	check_scalar("{\"$date\": 1709211661123}", CDC_JSON_STRING, "2024-02-29T13:01:01.123Z");
	check_scalar("{\"$date\": {\"$numberLong\": \"-1\"}}", CDC_JSON_STRING,
				 "1969-12-31T23:59:59.999Z");
	check_scalar("{\"$date\": -62167219200001}", CDC_JSON_STRING,
				 "-0001-12-31T23:59:59.999Z");
	check_scalar("{\"$date\": 253402300800000}", CDC_JSON_STRING,
				 "+10000-01-01T00:00:00.000Z");
	check_scalar("{\"$date\": -9223372036854775808}", CDC_JSON_STRING,
				 "-292275055-05-16T16:47:04.192Z");
	check_scalar("{\"$date\": \"2022-12-12T01:02:03Z\"}", CDC_JSON_STRING,
				 "2022-12-12T01:02:03Z");
	check_scalar("{\"$date\": {\"x\": 1}}", CDC_JSON_OBJECT, "{\"$date\": {\"x\": 1}}");
	check_scalar("{\"$binary\": {\"base64\": \"AAECAwQFBgcICQoLDA0ODw==\", \"subType\": \"04\"}}",
				 CDC_JSON_STRING, "00010203-0405-0607-0809-0a0b0c0d0e0f");
	check_scalar("{\"$binary\": {\"subType\": \"4\", \"base64\": \"////////////////////8A==\"}}",
				 CDC_JSON_STRING, "ffffffff-ffff-ffff-ffff-fffffffffff0");
	check_scalar("{\"$binary\": \"/////////////////////w==\", \"$type\": \"04\"}",
				 CDC_JSON_STRING, "ffffffff-ffff-ffff-ffff-ffffffffffff");
	check_scalar("{\"$binary\": {\"base64\": \"3q0=\", \"subType\": \"00\"}}",
				 CDC_JSON_STRING, "3q0=");
	check_scalar("{\"$symbol\": \"s\"}", CDC_JSON_STRING, "s");
	check_scalar("{\"$undefined\": true}", CDC_JSON_NULL, "null");
	/* these stay what they are */
	check_scalar("{\"$timestamp\": {\"t\": 1, \"i\": 2}}", CDC_JSON_OBJECT,
				 "{\"$timestamp\": {\"t\": 1, \"i\": 2}}");
	check_scalar("{\"a\": {\"$oid\": \"x\"}}", CDC_JSON_OBJECT,
				 "{\"a\": {\"$oid\": \"x\"}}");
	check_scalar("{\"$oid\": \"x\", \"b\": 1}", CDC_JSON_OBJECT,
				 "{\"$oid\": \"x\", \"b\": 1}");
	check_scalar("{}", CDC_JSON_OBJECT, "{}");
	check_scalar("[{\"$oid\": \"x\"}]", CDC_JSON_ARRAY, "[{\"$oid\": \"x\"}]");
	check_scalar("\"q\\\"\\\\\"", CDC_JSON_STRING, "q\\\"\\\\");
}

static void
test_documents(void)
{
	begin(CDC_READ_AUTO);
	CHECK(decode(MONGO("\"{\\\"_id\\\": {\\\"$oid\\\": \\\"ab\\\"},\\\"name\\\": \\\"\\u00e9\\\"}\"",
					   "null", "r")), "%s", error.message);
	CHECK(change.document && change.op == 'r' && !change.partial &&
		  says(&change.after[DOC_ID], "ab") && says(&change.after[NAME], "\xC3\xA9"),
		  "document");
	/* it is whole: what it lacks is null; and kept as it is */
	CHECK(change.after[ID].kind == CDC_JSON_NULL &&
		  change.after[BIG].kind == CDC_JSON_NULL &&
		  says(&change.after[ROW],
			   "{\"_id\": {\"$oid\": \"ab\"},\"name\": \"\xC3\xA9\"}"), "whole");
	CHECK(change.schema == NULL && change.source_ts_ms == 5, "frame");
	CHECK(decode(MONGO("null", "null", "d")) && !change.has_after &&
		  !change.has_before, "delete");
	CHECK(decode("{\"before\":\"{\\\"_id\\\": 5}\",\"after\":null,\"op\":\"d\"}") &&
		  change.has_before && says(&change.before[DOC_ID], "5"), "before");
	check_error(MONGO("\"[1]\"", "null", "c"), "\"after\" of the event is a string");
	check_error(MONGO("\"{\\\"a\\\": }\"", "null", "c"), "\"after\" of the event is a string");
	check_error(MONGO("\"\\ud800{}\"", "null", "c"), "\"after\" of the event is a string");
	check_error(MONGO("7", "null", "c"), "\"after\" of the event is not an object");
	check_error(MONGO("null", "null", "u"), "no \"after\"");
	/* a longer document after a shorter one, over and over */
	for (int i = 0; i < 20; i++)
	{
		char		value[4096];

		(void) snprintf(value, sizeof(value),
						MONGO("\"{\\\"_id\\\": %d,\\\"name\\\": \\\"%*s\\\"}\"",
							  "null", "c"), i, i * 100, "x");
		CHECK(decode(value) && (int) change.after[NAME].len == (i ? i * 100 : 1),
			  "document %d: %s", i, error.message);
	}
}

static void
test_partial(void)
{
	static const char *const whole = "whole documents";

	begin_with(CDC_READ_AUTO, NULL, ROW);
	CHECK(decode(MONGO("null", "{\"removedFields\":[\"big\",\"x\"],\"updatedFields\":"
					   "\"{\\\"name\\\": {\\\"$numberLong\\\": \\\"5\\\"}, \\\"x.y\\\": 1}\","
					   "\"truncatedArrays\":[]}", "u")), "%s", error.message);
	CHECK(change.partial && change.has_after && says(&change.after[NAME], "5") &&
		  change.after[BIG].kind == CDC_JSON_NULL && says(&change.after[ID], NULL),
		  "partial");
	CHECK(decode(MONGO("null", "{\"removedFields\":null,\"updatedFields\":null}", "u")) &&
		  change.partial && says(&change.after[NAME], NULL) &&
		  change.after_json.kind == CDC_JSON_MISSING, "nothing");
	/* the document, where it is there, says it all */
	CHECK(decode(MONGO("\"{\\\"_id\\\": 1}\"", "{\"updatedFields\":\"{\\\"name.x\\\": 1}\"}",
					   "u")) && !change.partial, "whole");
	check_error(MONGO("null", "{\"updatedFields\":\"{\\\"name.first\\\": 1}\"}", "u"), whole);
	check_error(MONGO("null", "{\"removedFields\":[\"name.first\"]}", "u"), whole);
	check_error(MONGO("null", "{\"truncatedArrays\":[{\"field\":\"big\",\"size\":1}]}", "u"),
				whole);
	CHECK(decode(MONGO("null", "{\"truncatedArrays\":[{\"field\":\"other\",\"size\":1}]}",
					   "u")), "an array that nobody wants");
	check_error(MONGO("null", "{\"updatedFields\":\"[]\"}", "u"), "updatedFields");
	begin(CDC_READ_AUTO);
	check_error(MONGO("null", "{\"updatedFields\":\"{}\"}", "u"), "$row");
}

static void
test_cloud_events(void)
{
	begin(CDC_READ_AUTO);
	for (int i = 0; i < 3; i++)
	{
		CHECK(decode("{\"id\":\"n\",\"source\":\"/x\",\"specversion\":\"1.0\","
					 "\"iodebeziumop\":\"u\",\"iodebeziumtable\":\"t\",\"iodebeziumdb\":\"d\","
					 "\"iodebeziumconnector\":\"mysql\",\"iodebeziumtsms\":5,"
					 "\"iodebeziumfile\":\"b.000001\",\"iodebeziumpos\":7,"
					 "\"iodebeziumserverid\":1,"
					 "\"data\":{\"before\":{\"id\":1},\"after\":{\"id\":2}}}"),
			  "%s", error.message);
		CHECK(change.shape == CDC_SHAPE_CHANGE && change.op == 'u' &&
			  says(&change.before[ID], "1") && says(&change.after[ID], "2") &&
			  says(&change.source[TABLE], "t") && says(&change.source[DB], "d") &&
			  change.source_ts_ms == 5 &&
			  change.position.kind == CDC_POSITION_MYSQL, "CloudEvent");
		CHECK(decode("{\"specversion\":\"1.0\",\"iodebeziumop\":\"c\",\"data\":"
					 "{\"schema\":{\"s\":1},\"payload\":{\"after\":{\"id\":3}}}}") &&
			  says(&change.after[ID], "3") && !change.has_before &&
			  change.schema_len == 7, "with schema");
	}
	check_error("{\"specversion\":\"1.0\",\"iodebeziumop\":\"c\",\"data\":{}}",
				"no \"after\"");
	check_error("{\"specversion\":\"1.0\",\"iodebeziumop\":\"y\",\"data\":{}}",
				"unknown operation y");
	check_error("{\"specversion\":\"1.0\",\"iodebeziumop\":\"d\",\"data\":{\"before\":5}}",
				"\"before\" of the event is not an object");
	check_shape("{\"specversion\":\"1.0\",\"data\":{\"id\":1}}", CDC_SHAPE_ROW);
	/* the row alone, the operation inside, and what cannot be read */
	CHECK(decode("{\"specversion\":\"1.0\",\"iodebeziumop\":\"c\",\"data\":{\"id\":4}}") &&
		  change.op == 'c' && says(&change.after[ID], "4"), "row in data");
	CHECK(decode("{\"specversion\":\"1.0\",\"iodebeziumop\":\"d\",\"data\":{\"id\":4}}") &&
		  change.op == 'd' && says(&change.before[ID], "4"), "row that is gone in data");
	CHECK(decode("{\"specversion\":\"1.0\",\"id\":\"n\",\"type\":\"io.debezium.x\","
				 "\"data\":{\"op\":\"u\",\"after\":{\"id\":5}}}") &&
		  change.op == 'u' && says(&change.after[ID], "5"), "event in data");
	check_error("{\"specversion\":\"1.0\",\"id\":\"n\",\"type\":\"io.debezium.x\","
				"\"data\":{\"before\":null,\"after\":{\"id\":5}}}", "does not tell the operation");
	check_error("{\"specversion\":\"1.0\",\"iodebeziumop\":\"c\",\"data\":\"AAAA\"}",
				"has no JSON in \"data\"");
}

/* {"value":..,"set":..} */
#define CELL(v)	"{\"value\":" v ",\"set\":true}"

static void
test_cells(void)
{
	begin(CDC_READ_AUTO);
	for (int i = 0; i < 4; i++)
	{
		char		value[512];

		(void) snprintf(value, sizeof(value), "{\"before\":null,\"after\":{\"id\":" CELL("%d")
						",\"name\":" CELL("\"n%d\"") "},\"op\":\"c\"}", i, i);
		CHECK(decode(value) && change.cells && !change.partial &&
			  change.after[ID].kind == CDC_JSON_NUMBER &&
			  change.after[NAME].kind == CDC_JSON_STRING, "cells");
	}
	CHECK(decode("{\"after\":{\"id\":" CELL("7") ",\"name\":null},\"op\":\"u\"}") &&
		  change.partial && says(&change.after[ID], "7") &&
		  change.after[NAME].kind == CDC_JSON_MISSING, "a column that the event leaves out");
	CHECK(decode("{\"after\":{\"id\":" CELL("7") ",\"name\":" CELL("null") "},\"op\":\"u\"}") &&
		  !change.partial && change.after[NAME].kind == CDC_JSON_NULL, "a column that is null");
	CHECK(decode("{\"after\":{\"id\":" CELL("7") ",\"name\":{\"set\":false,\"value\":1}},\"op\":\"u\"}") &&
		  change.after[NAME].kind == CDC_JSON_MISSING, "a column that is not set");
	CHECK(decode("{\"before\":{\"id\":" CELL("7") ",\"name\":null},\"after\":null,\"op\":\"d\"}") &&
		  change.cells && says(&change.before[ID], "7"), "delete");
	check_error("{\"after\":{\"id\":" CELL("7") ",\"name\":5},\"op\":\"u\"}",
				"and others are not");
	/* objects that are no cells */
	CHECK(decode("{\"after\":{\"id\":{\"value\":1,\"set\":true,\"x\":1}},\"op\":\"c\"}") &&
		  !change.cells, "one member more");
	CHECK(decode("{\"after\":{\"id\":{\"value\":1,\"set\":1}},\"op\":\"c\"}") &&
		  !change.cells, "no boolean");
	CHECK(decode("{\"after\":{\"id\":1,\"name\":" CELL("2") "},\"op\":\"c\"}") &&
		  !change.cells && change.after[NAME].kind == CDC_JSON_OBJECT, "one column alone");
}

static void
test_wrapped(void)
{
	begin(CDC_READ_AUTO);
	for (int i = 0; i < 4; i++)
	{
		char		value[512];

		(void) snprintf(value, sizeof(value),
						"\"{\\\"op\\\":\\\"c\\\",\\\"after\\\":{\\\"id\\\":%d}}\"", i);
		CHECK(decode(value) && change.shape == CDC_SHAPE_CHANGE &&
			  change.after[ID].kind == CDC_JSON_NUMBER, "text of an event");
		(void) snprintf(value, sizeof(value), "{\"schema\":null,\"payload\":{\"schema\":{\"fields\":%d},"
						"\"payload\":{\"op\":\"c\",\"after\":{\"id\":%d}}}}", i, i);
		CHECK(decode(value) && change.shape == CDC_SHAPE_CHANGE && change.schema &&
			  change.after[ID].kind == CDC_JSON_NUMBER, "event in two wrappers");
	}
	CHECK(decode("{\"schema\":{\"type\":\"string\"},\"payload\":\" \\n{\\\"id\\\":7}\"}") &&
		  change.shape == CDC_SHAPE_ROW && says(&change.after[ID], "7"), "text of a row");
	CHECK(decode("{\"schema\":{\"type\":\"bytes\"},\"payload\":"
				 "\"eyJvcCI6ImMiLCJhZnRlciI6eyJpZCI6OH19\"}") &&
		  change.shape == CDC_SHAPE_CHANGE && says(&change.after[ID], "8"), "bytes");
	CHECK(decode("\"eyJpZCI6OX0=\"") && change.shape == CDC_SHAPE_ROW &&
		  says(&change.after[ID], "9"), "bytes with padding");
	check_error("\"{bad\"", "unexpected character");
	check_error("\"eyJ!\"", "cannot be read");
	check_error("\"{\\u0000}\"", "cannot be read");
	check_shape("\"text\"", CDC_SHAPE_OTHER);
	check_shape("\"eyJub3cK\\u0041AAA\"", CDC_SHAPE_OTHER);
	/* not more than twice */
	check_shape("\"\\\"text\\\"\"", CDC_SHAPE_OTHER);
	begin(CDC_READ_PLAIN);
	check_shape("\"{\\\"id\\\":1}\"", CDC_SHAPE_ROW);
	CHECK(change.after_json.kind == CDC_JSON_STRING, "as it is");
}

static void
test_cockroach(void)
{
	begin(CDC_READ_AUTO);
	check_shape("{\"after\":{\"id\":1}}", CDC_SHAPE_FOREIGN);
	check_shape("{\"after\":{\"id\":1},\"before\":null,\"updated\":\"x\"}", CDC_SHAPE_FOREIGN);
	check_shape("{\"after\":null,\"key\":[1]}", CDC_SHAPE_FOREIGN);
	check_shape("{\"after\":null,\"updated\":\"1700000000000000000.0000000000\"}",
				CDC_SHAPE_FOREIGN);
	check_shape("{\"after\":null,\"updated\":\"yesterday\"}", CDC_SHAPE_ROW);
	check_shape("{\"after\":{\"id\":1},\"name\":1}", CDC_SHAPE_ROW);
	check_shape("{\"resolved\":\"1700000000000000000.0000000000\"}", CDC_SHAPE_HEARTBEAT);
	check_shape("{\"resolved\":\"1700000000000000000\"}", CDC_SHAPE_ROW);
	check_shape("{\"resolved\":\"1700000000000000000.0000000000\",\"id\":1}", CDC_SHAPE_ROW);
}

#define EVENT "{\"op\":\"c\",\"after\":{\"id\":1}}"

static void
check_framed(const char *bytes, size_t len, const char *message)
{
	bool		ok = decode_bytes(bytes, len);

	if (message)
		CHECK(!ok && strstr(error.message, message), "%s: %s", message,
			  ok ? "accepted" : error.message);
	else
		CHECK(ok && change.op == 'c' && says(&change.after[ID], "1"), "%s",
			  error.message);
}

static void
test_framing(void)
{
	begin(CDC_READ_AUTO);
	check_framed("\0\0\0\0\7" EVENT, sizeof("\0\0\0\0\7" EVENT) - 1, NULL);
	check_framed("\0\0\0\0\0\0\0\0\7" EVENT, sizeof("\0\0\0\0\0\0\0\0\7" EVENT) - 1, NULL);
	check_framed("\3\0uuuuuuuuuuuuuuuu" EVENT, sizeof("\3\0uuuuuuuuuuuuuuuu" EVENT) - 1, NULL);
	check_framed("\0\1\2\3\4\2\4", 7, "(schema 16909060)");
	check_framed("\0\0\0\0\7{", 6, "end of JSON");
	CHECK(error.offset == 6, "offset %u", error.offset);
	check_framed("\3\0uuuuuuuuuuuuuuuu\2", 19, "Glue");
	check_framed("\3\5uuuuuuuuuuuuuuuu{", 19, "compressed");
	check_framed("\0", 1, "no JSON");
	check_framed("\1x", 2, "no JSON");
	check_framed("Obj\1xx", 6, "Avro container");
}

static void
check_key(const char *key, int scalar_field, const char *id, const char *name,
		  const char *doc_id)
{
	CdcToken	fields[NROW];
	char	   *text = exact_copy(key, strlen(key));
	bool		ok = cdc_decode_key(decoder, text, strlen(key), scalar_field,
									fields, &error);

	if (id == NULL && name == NULL && doc_id == NULL)
		CHECK(!ok, "%s: accepted", key);
	else
		CHECK(ok && says(&fields[ID], id) && says(&fields[NAME], name) &&
			  says(&fields[DOC_ID], doc_id), "%s: %s", key,
			  ok ? "other values" : error.message);
	free(text);
}

static void
test_keys(void)
{
	CdcToken	fields[NROW];

	begin(CDC_READ_AUTO);
	check_key("{\"NaMe\":1,\"BIG\":2}", -1, NULL, "1", NULL);
	check_key("Struct{id=1}", -1, "1", NULL, NULL);
	check_key("Struct{ID=1,NAME=a b}", -1, "1", "a b", NULL);
	check_key("Struct{name=a,b=c}", -1, NULL, "a", NULL);
	check_key("Struct{name=a,b}", -1, NULL, "a,b", NULL);
	check_key("Struct{name=}", -1, NULL, "", NULL);
	check_key("Struct{id=1,name=x=y}", -1, NULL, NULL, NULL);
	check_key("Struct{id=1,name=x,y}", -1, NULL, NULL, NULL);
	check_key("Struct{=1}", -1, NULL, NULL, NULL);
	check_key("Struct{}", -1, NULL, NULL, NULL);
	check_key("alice", NAME, NULL, "alice", NULL);
	check_key("al\xC3\xA9", NAME, NULL, "al\xC3\xA9", NULL);
	check_key("al\xC3", NAME, NULL, NULL, NULL);
	check_key("3f2a-1", NAME, NULL, "3f2a-1", NULL);
	check_key("alice", -1, NULL, NULL, NULL);
	check_key("{\"id\":", ID, NULL, NULL, NULL);
	check_key("\"open", NAME, NULL, NULL, NULL);
	/* MongoDB's key, for who knows the row by _id */
	check_key("{\"id\":\"{\\\"$oid\\\": \\\"ab\\\"}\"}", DOC_ID,
			  "{\\\"$oid\\\": \\\"ab\\\"}", NULL, "ab");
	check_key("{\"id\":\"1004\"}", DOC_ID, "1004", NULL, "1004");
	check_key("{\"id\":\"\\\"x\\\"\"}", DOC_ID, "\\\"x\\\"", NULL, "x");
	check_key("{\"id\":\"{\\\"a\\\": 1}\"}", DOC_ID, "{\\\"a\\\": 1}", NULL, "{\"a\": 1}");
	check_key("{\"schema\":{},\"payload\":{\"id\":\"7\"}}", DOC_ID, "7", NULL, "7");
	check_key("{\"_id\":{\"$oid\":\"cd\"}}", DOC_ID, NULL, NULL, "cd");
	check_key("{\"_id\":5}", DOC_ID, NULL, NULL, "5");
	check_key("{\"id\":\"x y\"}", DOC_ID, "x y", NULL, NULL);
	check_key("{\"id\":\"1\"}", ID, "1", NULL, NULL);
	/* the text of a key, cells, CockroachDB's array */
	check_key("\"{\\\"id\\\":1}\"", ID, "1", NULL, NULL);
	check_key("{\"schema\":null,\"payload\":\"{\\\"id\\\":1}\"}", -1, "1", NULL, NULL);
	check_key("\"{\\\"schema\\\":null,\\\"payload\\\":{\\\"id\\\":1}}\"", -1, "1", NULL, NULL);
	check_key("\"{\\\"other\\\":1,\\\"one\\\":2}\"", NAME, NULL,
			  "{\\\"other\\\":1,\\\"one\\\":2}", NULL);
	check_key("{\"id\":{\"value\":1,\"set\":true}}", -1, "1", NULL, NULL);
	check_key("[1]", ID, "1", NULL, NULL);
	check_key("[1]", -1, NULL, NULL, NULL);
	check_key("[[1]]", ID, NULL, NULL, NULL);
	check_key("[1,2]", ID, NULL, NULL, NULL);
	check_key("[]", ID, NULL, NULL, NULL);
	check_key("\xEF\xBB\xBF{\"id\":1}", -1, "1", NULL, NULL);
	CHECK(cdc_decode_key(decoder, "\0\0\0\0\7{\"id\":1}", 13, -1, fields, &error) &&
		  says(&fields[ID], "1"), "framed key");
	CHECK(!cdc_decode_key(decoder, "\0\0\0\0\7\2", 6, ID, fields, &error),
		  "Avro key");
}

/* A verdict on the source's fields: kept with records that have the same ones. */
static void
test_verdicts(void)
{
	static const char format[] = "{\"op\":\"c\",\"after\":{\"id\":%d},\"source\":{\"db\":\"d\",\"table\":\"%s\"}}";
	char		value[256];
	uint8_t    *verdicts[2];

	begin(CDC_READ_AUTO);
	for (int i = 0; i < 8; i++)
	{
		(void) snprintf(value, sizeof(value), format, i, i % 2 ? "one" : "two");
		(void) decode(value);
	}
	/* both tables have been seen in one structure: the name is not constant */
	CHECK(change.verdict == NULL, "no verdict");
	begin(CDC_READ_AUTO);
	for (int i = 0; i < 8; i++)
	{
		(void) snprintf(value, sizeof(value), format, i, "one");
		(void) decode(value);
	}
	verdicts[0] = change.verdict;
	CHECK(verdicts[0] != NULL && *verdicts[0] == 0, "one table");
	if (verdicts[0] == NULL)
		return;
	*verdicts[0] = 7;
	(void) snprintf(value, sizeof(value), format, 100, "one");
	(void) decode(value);
	CHECK(change.verdict && *change.verdict == 7, "kept");
	(void) decode("{\"after\":{\"id\":1},\"op\":\"c\",\"source\":{\"db\":\"d\",\"table\":\"x\"}}");
	verdicts[1] = change.verdict;
	CHECK(verdicts[1] == NULL || *verdicts[1] != 7, "another structure");
	(void) snprintf(value, sizeof(value), format, 101, "three");
	(void) decode(value);
	CHECK(change.verdict == NULL || *change.verdict != 7, "another table");
}

/* A stream of rows is decoded by skeletons as one of envelopes is. */
static void
test_hits(void)
{
	uint64_t	hits;

	begin(CDC_READ_AUTO);
	for (int i = 0; i < 500; i++)
	{
		char		value[512];

		(void) snprintf(value, sizeof(value),
						"{\"id\":%d,\"name\":\"n%d\",\"source\":\"s%d\",\"payload\":\"%d\","
						"\"schema\":\"%d\",\"__op\":\"%c\",\"__deleted\":\"%s\"}", i, i, i, i, i,
						"cud"[i % 3], i % 3 == 2 ? "true" : "false");
		CHECK(decode(value) && change.op == "cud"[i % 3], "row %d", i);
	}
	hits = cdc_decoder_skeleton_hits(decoder);
	CHECK(hits >= 950, "%d hits for rows", (int) hits);
	begin(CDC_READ_AUTO);
	for (int i = 0; i < 500; i++)
	{
		char		value[512];

		(void) snprintf(value, sizeof(value),
						MONGO("\"{\\\"_id\\\": %d,\\\"name\\\": \\\"%d\\\"}\"", "null", "c"),
						i, i);
		CHECK(decode(value), "document %d", i);
	}
	hits = cdc_decoder_skeleton_hits(decoder);
	CHECK(hits >= 950, "%d hits for documents", (int) hits);
}

int
main(void)
{
	test_flat();
	test_metadata();
	test_columns();
	test_others();
	test_scalars();
	test_documents();
	test_partial();
	test_cloud_events();
	test_cells();
	test_wrapped();
	test_cockroach();
	test_framing();
	test_keys();
	test_verdicts();
	test_hits();
	cdc_decoder_free(decoder);
	cdc_decoder_free(plain);
	free(record);
#ifdef CDC_NO_SIMD
	return check_result("unit_shapes (without SIMD)");
#else
	return check_result("unit_shapes");
#endif
}
