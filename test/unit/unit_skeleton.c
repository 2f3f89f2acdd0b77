/*-------------------------------------------------------------------------
 *
 * unit_skeleton.c
 *	  Unit tests of decoding by skeletons: whatever was decoded before, a
 *	  record gives what the full scan gives.
 *
 *-------------------------------------------------------------------------
 */
#include "check.h"

#include "envelope.h"
#include "relayed.h"
#include "same_change.h"

#define PLACEHOLDER	"__debezium_unavailable_value"

/* An event with these values, JSON each. */
#define EVENT(before, id, name, op, gtid, pos, more) \
	"{\"before\":" before ",\"after\":{\"id\":" id ",\"name\":" name "," \
	"\"big\":7,\"unmapped\":null},\"source\":{\"connector\":\"mysql\"," \
	"\"ts_ms\":5000,\"snapshot\":\"false\",\"table\":\"t\"," \
	"\"server_id\":223344,\"gtid\":" gtid ",\"file\":\"bin.000042\"," \
	"\"pos\":" pos ",\"row\":0},\"transaction\":null,\"op\":" op "," \
	"\"ts_ms\":6000" more "}"
#define INSERT(id, name, pos) \
	EVENT("null", id, name, "\"c\"", "null", pos, "")
#define UPDATE(id, name, pos) \
	EVENT("{\"id\":1,\"name\":\"old\"}", id, name, "\"u\"", "null", pos, "")

static const CdcField row_fields[] = {
	{"id", 2, true}, {"name", 4, true}, {"big", 3, false}, {"NAME", 4, true}
};
static const CdcField source_fields[] = {{"table", 5, true}};

enum
{
	NROW = 4, NSOURCE = 1
};

static CdcDecoder *decoder;
static CdcDecoder *plain;
static CdcChange change;		/* what the decoder said of the last record */
static char *record;			/* the bytes that it points into */
static int	relayed;			/* changes that passed through a relay */

/* Begin with a decoder that has seen nothing. */
static void
begin(void)
{
	cdc_decoder_free(decoder);
	decoder = cdc_decoder_create(row_fields, NROW, source_fields, NSOURCE,
								 NULL);
	if (decoder == NULL)
		abort();
}

/* Decode both ways; was it done by a skeleton? */
static bool
decode_bytes(const char *value, size_t len)
{
	uint64_t	hits = cdc_decoder_skeleton_hits(decoder);
	CdcDecodeError error;
	CdcDecodeError expected_error;
	CdcChange	expected;
	bool		ok;
	int			n;

	free(record);
	record = exact_copy(value, len);
	ok = cdc_decode_value(decoder, record, len, &change, &error);
	CHECK(relays_change(decoder, &change, NROW, NSOURCE, &n), "%.*s: relayed otherwise",
		  (int) len, value);
	relayed += n;
	CHECK(cdc_decode_value(plain, record, len, &expected,
						   &expected_error) == ok, "%.*s: %s", (int) len,
		  value, ok ? "accepted" : "refused");
	if (ok)
		CHECK(same_frame(&change, &expected) &&
			  same_tokens(change.before, expected.before, NROW) &&
			  same_tokens(change.after, expected.after, NROW) &&
			  same_tokens(change.source, expected.source, NSOURCE),
			  "%.*s: other fields", (int) len, value);
	else
		CHECK(same_error(&error, &expected_error), "%.*s: %s, not %s",
			  (int) len, value, error.message, expected_error.message);
	return cdc_decoder_skeleton_hits(decoder) > hits;
}

static bool
decode(const char *value)
{
	return decode_bytes(value, strlen(value));
}

static void
check_hit(const char *value)
{
	CHECK(decode(value), "%s: scanned in full", value);
}

static void
check_miss(const char *value)
{
	CHECK(!decode(value), "%s: not scanned in full", value);
}

/* Teach the decoder that id, name, op and pos differ from event to event. */
static void
learn(void)
{
	begin();
	check_miss(INSERT("1", "\"a\"", "10"));
	check_hit(INSERT("1", "\"a\"", "10"));
	check_miss(INSERT("2", "\"b\"", "20"));
	check_hit(INSERT("333", "\"ccc\"", "3000"));
	check_miss(EVENT("null", "4", "\"d\"", "\"r\"", "null", "4", ""));
	check_hit(INSERT("5", "\"e\"", "5"));
}

static void
test_values(void)
{
	learn();
	check_hit(INSERT("\"5\"", "12", "6"));
	CHECK(change.after[0].kind == CDC_JSON_STRING &&
		  change.after[1].kind == CDC_JSON_NUMBER, "kinds are the record's");
	check_hit(INSERT("null", "true", "\"6\""));
	check_hit(INSERT("-1.5e3", "\"\"", "0"));
	check_hit(INSERT("1", "\"q\\\"\\u00e9\\\\\"", "7"));
	CHECK(change.after[1].flags == CDC_JSON_ESCAPED, "escapes are noticed");
	check_hit(INSERT("1", "\"plain\"", "7"));
	CHECK(change.after[1].flags == 0, "and are gone again");
	check_hit(INSERT("1", "\"\xC3\xA9\"", "7"));
	check_hit(INSERT("{\"id\":2,\"id\":[3]}", "[1,{\"name\":2}]", "7"));
	CHECK(change.after[0].kind == CDC_JSON_OBJECT &&
		  change.after_json.len > change.after[0].len, "objects are values");
	check_hit(INSERT(" 8", "\t\"s\"", "\n7"));
	check_hit(INSERT("1", "\"" PLACEHOLDER "\"", "7"));
	CHECK(change.after[1].flags & CDC_JSON_UNAVAILABLE, "placeholder");
	CHECK(change.after[3].flags & CDC_JSON_UNAVAILABLE, ".. in all fields");
	check_hit(INSERT("1", "[\"" PLACEHOLDER "\"]", "7"));
	CHECK(change.after[1].flags & CDC_JSON_UNAVAILABLE, "in an array");
	check_hit(INSERT("1", "\"x\"", "7"));
	CHECK(change.after[1].flags == 0, "placeholder is gone");
	/* the record says what it is, not the skeleton */
	check_miss(EVENT("null", "1", "2", "\"R\"", "null", "4", ""));
	CHECK(change.op == 'r', "op %c", change.op);
	check_hit(EVENT("null", "8", "9", "\"R\"", "null", "9", ""));
	CHECK(change.op == 'r', "op %c", change.op);
	check_miss(EVENT("null", "1", "2", "\"x\"", "null", "4", ""));
	check_miss(EVENT("null", "1", "2", "null", "null", "4", ""));
	check_miss(EVENT("null", "1", "2", "\"r\"", "\"u:1\"", "4", ""));
	CHECK(change.position.has_gtid, "GTID");
	check_hit(EVENT("null", "1", "2", "\"r\"", "\"u:22\"", "4", ""));
	CHECK(change.position.at.mysql.major == 22, "GTID's number");
	check_hit(EVENT("null", "1", "2", "\"r\"", "null", "4", ""));
	CHECK(!change.position.has_gtid, "no GTID");
}

static void
test_broken_values(void)
{
	static const char *const values[] = {
		"01", "1.", "-", "nul", "nullx", "\"\\x\"", "\"\\u12\"", "\"\n\"",
		"\"\xC3\"", "\"\xED\xA0\x80\"", "\"a", "\"a\"\"", "{", "[1,]", "{\"a\"}",
		"1 2", "", "1,\"name\":2", "1}", "\"\xFF\""
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
	{
		char		value[2048];

		learn();
		(void) snprintf(value, sizeof(value), INSERT("%s", "\"n\"", "1"),
						values[i]);
		check_miss(value);
		check_hit(INSERT("5", "\"e\"", "5"));
	}
	/* nesting counts from the outermost object on */
	for (int depth = CDC_JSON_MAX_DEPTH - 3; depth <= CDC_JSON_MAX_DEPTH; depth++)
	{
		char		nested[2 * CDC_JSON_MAX_DEPTH + 1] = {0};
		char		value[4096];

		learn();
		memset(nested, '[', (size_t) depth);
		memset(nested + depth, ']', (size_t) depth);
		(void) snprintf(value, sizeof(value), INSERT("%s", "\"n\"", "1"),
						nested);
		CHECK(decode(value) == (depth <= CDC_JSON_MAX_DEPTH - 2),
			  "depth %d", depth);
	}
}

static void
test_damage(void)
{
	static const char event[] = INSERT("6", "\"f\"", "6");
	static const char bytes[] = " \"\\{}[],:0xn\xC3";
	size_t		len = sizeof(event) - 1;
	char		buf[sizeof(event) + 1];

	for (size_t i = 0; i < len; i++)
	{
		learn();
		CHECK(!decode_bytes(event, i), "%zu bytes", i);
		for (size_t j = 0; j < sizeof(bytes) - 1; j++)
		{
			memcpy(buf, event, len);
			buf[i] = bytes[j];
			(void) decode_bytes(buf, len);
			memmove(buf + i + 1, event + i, len - i);
			(void) decode_bytes(buf, len + 1);
		}
	}
	learn();
	check_miss(INSERT("6", "\"f\"", "6") " ");
	check_hit(INSERT("6", "\"f\"", "6") " ");
	/* that is another structure, what was learnt before is still there */
	check_hit(INSERT("7", "\"g\"", "7"));
	learn();
	check_miss(INSERT("6", "\"f\"", "6") "x");
	check_miss(INSERT("6", "\"f\"", "6") "{}");
	CHECK(!decode_bytes(event, len + 1), "a NUL behind the record");
}

static void
test_structures(void)
{
	learn();
	/* image or none */
	check_miss(UPDATE("6", "\"f\"", "6"));
	CHECK(change.has_before && change.before[0].len == 1, "has before");
	check_hit(INSERT("6", "\"f\"", "6"));
	CHECK(!change.has_before && change.before[0].kind == CDC_JSON_MISSING,
		  "has no before");
	check_miss(UPDATE("7", "\"g\"", "7"));
	check_hit(UPDATE("8", "\"h\"", "8"));
	CHECK(change.before[1].kind == CDC_JSON_STRING, "has before again");
	check_miss("{\"before\":{\"id\":1},\"after\":null,\"op\":\"d\"}");
	check_hit("{\"before\":{\"id\":1},\"after\":null,\"op\":\"d\"}");
	CHECK(change.position.kind == CDC_POSITION_NONE && !change.has_ts_ms &&
		  change.source[0].kind == CDC_JSON_MISSING &&
		  change.source_json.kind == CDC_JSON_MISSING, "has no source");
	check_miss("{\"before\":{\"id\":1},\"after\":7,\"op\":\"d\"}");
	check_miss("{\"before\":{\"id\":1},\"after\":[],\"op\":\"d\"}");
	check_miss("{\"before\":{\"id\":1},\"after\":{},\"op\":\"d\"}");
	/* other order, other names, more of them, twice the same */
	check_miss("{\"op\":\"d\",\"before\":{\"id\":1},\"after\":null}");
	check_miss("{\"before\":{\"name\":1},\"after\":null,\"op\":\"d\"}");
	check_miss("{\"before\":{\"id\":1,\"id\":2},\"after\":null,\"op\":\"d\"}");
	CHECK(*change.before[0].text == '2', "the last one counts");
	check_miss("{\"before\":{\"id\":3,\"id\":4},\"after\":null,\"op\":\"d\"}");
	check_hit("{\"before\":{\"id\":5,\"id\":6},\"after\":null,\"op\":\"d\"}");
	CHECK(*change.before[0].text == '6', "the last one still counts");
	/* a shape that is no change leaves nothing behind */
	check_miss("null");
	check_miss("{\"id\":5}");
	CHECK(change.shape == CDC_SHAPE_ROW, "row");
	check_hit("{\"before\":{\"id\":5,\"id\":7},\"after\":null,\"op\":\"d\"}");
}

static void
test_duplicates(void)
{
	begin();
	for (int i = 0; i < 4; i++)
	{
		char		value[512];

		(void) snprintf(value, sizeof(value),
						"{\"after\":{\"id\":%d,\"name\":%d},\"op\":\"c\","
						"\"after\":{\"name\":\"%d\"},\"op\":\"u\"}", i, i, i);
		(void) decode(value);
		CHECK(change.after[0].kind == CDC_JSON_MISSING, "after is the last");
		/* the exact name goes before another case of it */
		(void) snprintf(value, sizeof(value),
						"{\"after\":{\"NAME\":%d,\"name\":\"%d\",\"Name\":%d},"
						"\"op\":\"c\"}", i, i, i);
		(void) decode(value);
		CHECK(change.after[1].kind == CDC_JSON_STRING &&
			  change.after[3].kind == CDC_JSON_NUMBER, "exact names");
		/* "payload" is a column: what it holds was looked at, and forgotten */
		(void) snprintf(value, sizeof(value),
						"{\"payload\":{\"after\":{\"id\":%d},\"op\":\"u\"},"
						"\"after\":{\"name\":%d},\"op\":\"c\"}", i, i);
		(void) decode(value);
		CHECK(change.after[0].kind == CDC_JSON_MISSING, "payload is a column");
		CHECK(change.op == 'c', "payload's op is not the record's");
	}
	CHECK(cdc_decoder_skeleton_hits(decoder) >= 3, "skeletons were used");
}

static void
test_schemas(void)
{
	begin();
	for (int i = 0; i < 16; i++)
	{
		char		value[1024];
		bool		hit;

		/* after two events of a schema, its skeleton knows what differs */
		(void) snprintf(value, sizeof(value), "{\"schema\":{\"v\":%d,\"fields\":0},\"payload\":"
						INSERT("%d", "\"n\"", "%d") "}", i / 4, i % 10, i);
		hit = decode(value);
		CHECK(hit == (i % 4 >= 2), "schema %d, hit: %d", i, hit);
		CHECK(change.schema && change.schema_len == strlen("{\"v\":1,\"fields\":0}") &&
			  change.schema[5] == '0' + i / 4, "schema %d", i);
	}
	for (int i = 0; i < 16; i++)
	{
		char		value[1024];

		/* no member of the envelope inside may count as one outside */
		(void) snprintf(value, sizeof(value), INSERT("%d", "\"n\"", "%d"), i, i);
		(void) decode(value);
		CHECK(change.schema == NULL, "no schema");
		(void) decode("{\"schema\":null,\"payload\":null}");
		CHECK(change.shape == CDC_SHAPE_TOMBSTONE, "tombstone");
		(void) snprintf(value, sizeof(value), "{\"schema\":%s,\"payload\":"
						INSERT("%d", "\"n\"", "%d") "}", i % 2 ? "7" : "null",
						i, i);
		(void) decode(value);
		CHECK(change.shape == (i % 2 ? CDC_SHAPE_ROW : CDC_SHAPE_CHANGE),
			  "schema that is none");
	}
}

/* Events of two tables by turns, in all three operations, and keys between. */
static void
test_alternating(void)
{
	static const char *const formats[] = {
		"{\"before\":null,\"after\":{\"id\":%d,\"name\":\"%d\"},\"op\":\"c\"}",
		"{\"before\":null,\"after\":{\"big\":%d,\"id\":\"%d\"},\"op\":\"c\"}",
		"{\"before\":{\"id\":%d},\"after\":{\"id\":%d},\"op\":\"u\"}",
		"{\"before\":{\"big\":%d,\"id\":%d},\"after\":null,\"op\":\"d\"}",
		"{\"before\":{\"name\":%d},\"after\":{\"name\":%d},\"op\":\"u\"}",
		"{\"before\":{\"id\":%d,\"x\":%d},\"after\":null,\"op\":\"d\"}"
	};
	static const char key[] = "{\"schema\":null,\"payload\":{\"id\":1}}";
	CdcToken	fields[NROW];
	CdcDecodeError error;

	for (int structures = 1; structures <= 6; structures++)
	{
		uint64_t	hits;

		begin();
		for (int i = 0; i < 1200; i++)
		{
			char		value[256];

			(void) snprintf(value, sizeof(value), formats[i % structures], i,
							i * 7);
			(void) decode(value);
			CHECK(cdc_decode_key(decoder, key, sizeof(key) - 1, -1, fields,
								 &error) && fields[0].len == 1, "key");
		}
		hits = cdc_decoder_skeleton_hits(decoder);
		/* as many as are kept are never scanned again */
		if (structures <= 4)
			CHECK(hits >= 1100, "%d structures: %d hits", structures,
				  (int) hits);
	}
}

/* After a stream that skeletons are no use for, they are tried again. */
static void
test_recovery(void)
{
	begin();
	for (int i = 0; i < 1000; i++)
	{
		char		value[256];

		(void) snprintf(value, sizeof(value),
						"{\"after\":{\"id\":1,\"x%d\":1},\"op\":\"c\"}", i);
		check_miss(value);
	}
	for (int i = 0; i < 100; i++)
		(void) decode(INSERT("1", "\"a\"", "10"));
	check_hit(INSERT("1", "\"a\"", "10"));
}

/* Records that are too long, or have too many values, are just scanned. */
static void
test_bounds(void)
{
	size_t		size = 600 * 1024;
	char	   *value = malloc(size);

	if (value == NULL)
		abort();
	for (int round = 0; round < 3; round++)
	{
		char	   *p = value;

		begin();
		p += sprintf(p, "{\"after\":{\"id\":1,\"name\":\"");
		memset(p, 'x', 300 * 1024);
		p += 300 * 1024;
		p += sprintf(p, "\"},\"op\":\"c\"}");
		check_miss(value);
		check_miss(value);
		p = value + sprintf(value, "{\"after\":{\"id\":%d", round);
		for (int i = 0; i < 10000; i++)
			p += sprintf(p, ",\"f%d\":1", i);
		p += sprintf(p, "},\"op\":\"c\"}");
		check_miss(value);
		check_miss(value);
		check_miss("{\"after\":{\"id\":1},\"op\":\"c\"}");
		check_hit("{\"after\":{\"id\":1},\"op\":\"c\"}");
	}
	free(value);
}

/*
 * What differs where all else is the same: times, positions, constants of other
 * kinds.  decode() compares each with a full scan.
 */
static void
test_replay(void)
{
	static const char *const sources[] = {
		"\"connector\":\"mysql\",\"server_id\":1,\"gtid\":%s,\"file\":\"b.01\",\"pos\":%s",
		"\"connector\":\"postgresql\",\"sequence\":%s,\"lsn\":%s",
		"\"connector\":\"mongodb\",\"rs\":%s,\"ord\":%s",
		"\"connector\":\"other\",\"file\":%s,\"pos\":%s",
	};
	static const char *const first[] = {
		"null", "\"u:1\"", "\"[\\\"1\\\",\\\"2\\\"]\"", "\"[null,\\\"3\\\"]\"", "7"
	};
	static const char *const numbers[] = {
		"5", "1755849600123", "1755849600123456", "1755849600123456789", "-3",
		"123456789", "12345678", "99999999999999999999", "null", "1.5", "\"8\"", "{}"
	};
	uint64_t	hits;

	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
	{
		begin();
		hits = cdc_decoder_skeleton_hits(decoder);
		for (int n = 0; n < 1500; n++)
		{
			char		source[256];
			char		event[1024];

			(void) snprintf(source, sizeof(source), sources[i], first[n / 12 % 5],
							numbers[n % 12]);
			(void) snprintf(event, sizeof(event),
							"{\"schema\":{\"no\":%d},\"payload\":{\"before\":null,"
							"\"after\":{\"id\":%d,\"name\":\"n\"},\"source\":{%s,\"ts_ms\":%s,"
							"\"snapshot\":\"%s\",\"table\":\"t%d\"},\"transaction\":%s,"
							"\"op\":\"%c\",\"ts_ms\":%s}}",
							n / 700, n, source, numbers[n / 3 % 12],
							n % 50 == 7 ? "last" : n % 50 == 8 ? "incremental" : "false",
							n / 400, n % 9 ? "null" : "{\"id\":\"x\"}", "cur"[n / 60 % 3],
							numbers[n / 5 % 12]);
			(void) decode(event);
		}
		CHECK(cdc_decoder_skeleton_hits(decoder) - hits > 1000, "%zu: %d of 1500 by a skeleton",
			  i, (int) (cdc_decoder_skeleton_hits(decoder) - hits));
	}
}

int
main(void)
{
	plain = cdc_decoder_create(row_fields, NROW, source_fields, NSOURCE, NULL);
	if (plain == NULL)
		abort();
	cdc_decoder_use_skeletons(plain, false);
	test_values();
	test_broken_values();
	test_damage();
	test_structures();
	test_duplicates();
	test_schemas();
	test_alternating();
	test_recovery();
	test_replay();
	test_bounds();
	CHECK(cdc_decoder_skeleton_hits(plain) == 0, "the plain decoder is plain");
	CHECK(relayed > 1000, "%d relayed", relayed);
	cdc_decoder_free(decoder);
	cdc_decoder_free(plain);
	free(record);
#ifdef CDC_NO_SIMD
	return check_result("unit_skeleton (without SIMD)");
#else
	return check_result("unit_skeleton");
#endif
}
