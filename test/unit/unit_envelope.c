/*-------------------------------------------------------------------------
 *
 * unit_envelope.c
 *	  Unit tests of the decoder: envelopes, keys, positions, placeholders,
 *	  embedded schemas.
 *
 *-------------------------------------------------------------------------
 */
#include "decoded.h"

#define MYSQL_SOURCE \
	"\"source\":{\"connector\":\"mysql\",\"ts_ms\":5000,\"snapshot\":\"false\"," \
	"\"table\":\"CUSTOMER\",\"server_id\":223344,\"gtid\":null," \
	"\"file\":\"mysql-bin.000042\",\"pos\":3377,\"row\":0}"

static const CdcField row_fields[] = {
	{"id", 2, true}, {"name", 4, true}, {"Name", 4, false}, {"big", 3, false},
	{"name", 4, false}
};
static const CdcField source_fields[] = {{"TABLE", 5, true}};

enum
{
	ID, NAME, NAME_UPPER, BIG, NAME_EXACT, NROW
};

static bool
decode(const char *value)
{
	free(record);
	record = exact_copy(value, strlen(value));
	memset(&error, 0, sizeof(error));
	return cdc_decode_value(decoder, record, strlen(value), &change, &error);
}

static void
check_shape(const char *value, CdcShape shape)
{
	bool		ok = decode(value);

	CHECK(ok && change.shape == shape, "%s: shape %d, %s", value, change.shape,
		  ok ? "ok" : error.message);
	if (ok && shape != CDC_SHAPE_CHANGE && shape != CDC_SHAPE_ROW)
		for (int i = 0; i < NROW; i++)
			CHECK(change.before[i].kind == CDC_JSON_MISSING &&
				  change.after[i].kind == CDC_JSON_MISSING,
				  "%s: field %d is set", value, i);
}

static void
test_shapes(void)
{
	check_shape("{\"op\":\"c\",\"after\":{}}", CDC_SHAPE_CHANGE);
	check_shape("{\"before\":null,\"op\":\"d\"}", CDC_SHAPE_CHANGE);
	check_shape("{\"source\":{},\"op\":\"t\"}", CDC_SHAPE_CHANGE);
	check_shape("{\"source\":null,\"op\":\"m\"}", CDC_SHAPE_CHANGE);
	check_shape("{\"payload\":{\"op\":\"r\",\"after\":{}}}", CDC_SHAPE_CHANGE);
	check_shape("{\"schema\":null,\"payload\":{\"op\":\"r\",\"after\":{}}}",
				CDC_SHAPE_CHANGE);
	check_shape("{\"payload\":{\"op\":\"r\",\"after\":{}},\"schema\":{}}",
				CDC_SHAPE_CHANGE);
	/* tombstones */
	check_shape("null", CDC_SHAPE_TOMBSTONE);
	check_shape(" null\n", CDC_SHAPE_TOMBSTONE);
	check_shape("{\"schema\":null,\"payload\":null}", CDC_SHAPE_TOMBSTONE);
	check_shape("{\"schema\":{\"type\":\"struct\"},\"payload\":null}",
				CDC_SHAPE_TOMBSTONE);
	check_shape("{\"payload\":null}", CDC_SHAPE_TOMBSTONE);
	check_shape("{\"payload\":{\"op\":\"r\",\"after\":{\"id\":1}},\"payload\":null}",
				CDC_SHAPE_TOMBSTONE);
	CHECK(cdc_decode_value(decoder, NULL, 0, &change, &error) &&
		  change.shape == CDC_SHAPE_TOMBSTONE, "null value");
	check_shape("", CDC_SHAPE_TOMBSTONE);
	/* rows whose columns are called so are no wrappers */
	check_shape("{\"id\":1,\"payload\":null}", CDC_SHAPE_ROW);
	check_shape("{\"payload\":null,\"id\":1}", CDC_SHAPE_ROW);
	check_shape("{\"schema\":\"public\",\"payload\":null}", CDC_SHAPE_ROW);
	check_shape("{\"payload\":{\"op\":\"r\",\"after\":{\"id\":1}},\"id\":1}",
				CDC_SHAPE_ROW);
	check_shape("{\"schema\":null}", CDC_SHAPE_ROW);
	check_shape("{\"payload\":[1]}", CDC_SHAPE_ROW);
	check_shape("{\"payload\":\"null\"}", CDC_SHAPE_ROW);
	check_shape("{\"payload\":{\"payload\":null}}", CDC_SHAPE_ROW);
	/* the other topics of a connector */
	check_shape("{\"ts_ms\":1755849600000}", CDC_SHAPE_HEARTBEAT);
	check_shape("{\"schema\":{},\"payload\":{\"ts_ms\":1}}", CDC_SHAPE_HEARTBEAT);
	check_shape("{\"ts_ms\":\"1\"}", CDC_SHAPE_ROW);
	check_shape("{\"ts_ms\":1,\"id\":1}", CDC_SHAPE_ROW);
	check_shape("{\"status\":\"BEGIN\",\"id\":\"1:2\",\"event_count\":null,"
				"\"data_collections\":null,\"ts_ms\":1}", CDC_SHAPE_TRANSACTION);
	check_shape("{\"status\":\"END\",\"id\":\"1\"}", CDC_SHAPE_ROW);
	check_shape("{\"source\":{},\"ts_ms\":1,\"databaseName\":\"d\","
				"\"ddl\":\"DROP TABLE t\",\"tableChanges\":[]}",
				CDC_SHAPE_SCHEMA_CHANGE);
	check_shape("{\"ddl\":\"x\",\"id\":1}", CDC_SHAPE_ROW);
	/* and what is none of these */
	check_shape("{}", CDC_SHAPE_ROW);
	check_shape("{\"id\":1,\"name\":\"x\"}", CDC_SHAPE_ROW);
	check_shape("{\"op\":\"c\"}", CDC_SHAPE_ROW);
	check_shape("{\"OP\":\"c\",\"after\":{\"id\":1}}", CDC_SHAPE_ROW);
	check_shape("{\"before\":null,\"after\":{\"id\":1}}", CDC_SHAPE_FOREIGN);
	check_shape("[]", CDC_SHAPE_OTHER);
	check_shape("1", CDC_SHAPE_OTHER);
	check_shape("\"c\"", CDC_SHAPE_OTHER);
}

static void
test_errors(void)
{
	check_error(" ", "end of JSON");
	check_error("{\"op\":\"c\",\"after\":{}", "end of JSON");
	check_error("{\"op\":\"c\",\"after\":{}}x", "unexpected character");
	check_error("Struct{id=1}", "unexpected character");
	check_error("{\"op\":\"x\",\"after\":{}}", "unknown operation x");
	check_error("{\"op\":\"\",\"after\":{}}", "unknown operation");
	check_error("{\"op\":\"cc\",\"after\":{}}", "unknown operation cc");
	check_error("{\"op\":\"\\u0000\",\"after\":{}}", "unknown operation");
	check_error("{\"op\":null,\"after\":{}}", "unknown operation null");
	check_error("{\"op\":1,\"after\":{}}", "unknown operation 1");
	check_error("{\"op\":\"c\",\"after\":1}", "\"after\"");
	check_error("{\"op\":\"d\",\"before\":[]}", "\"before\"");
	check_error("{\"op\":\"c\",\"after\":\"{\"}", "MongoDB");
	check_error("{\"op\":\"u\",\"after\":null}", "no \"after\"");
	check_error("{\"op\":\"c\",\"source\":{}}", "no \"after\"");
	check_error("{\"op\":\"c\",\"after\":{},\"source\":1}", "\"source\"");
	check_error("{\"op\":\"c\",\"after\":{},\"ts_ms\":1.5}", "\"ts_ms\"");
	check_error("{\"op\":\"c\",\"after\":{},\"ts_ms\":99999999999999999999}",
				"\"ts_ms\"");
	check_error("{\"op\":\"c\",\"after\":{},\"source\":{\"ts_ms\":\"1\"}}",
				"\"source.ts_ms\"");
	check_error("{\"op\":\"c\",\"after\":{},\"source\":{\"snapshot\":1}}",
				"\"source.snapshot\"");
	check_error("{\"op\":\"c\",\"after\":{},\"source\":{\"snapshot\":\"perhaps\"}}",
				"\"source.snapshot\"");
	/* cut between characters: 31 letters and one of two bytes */
	check_error("{\"op\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xC3\xA9zz\",\"after\":{}}",
				"operation aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa of");
	CHECK(error.offset == 7, "offset %u", error.offset);
}

static void
test_images(void)
{
	/* op first, last, in capitals, escaped; other members are skipped */
	CHECK(decode("{\"after\":{\"id\":1,\"other\":[{}],\"big\":null},\"before\":null,"
				 "\"ts_ms\":7,\"x\":{\"id\":9},\"\\u006fp\":\"U\"," MYSQL_SOURCE
				 ",\"transaction\":{\"id\":\"t\"}}"), "%s", error.message);
	CHECK(change.op == 'u' && change.has_after && !change.has_before, "op");
	CHECK(says(&change.after[ID], "1") &&
		  change.after[BIG].kind == CDC_JSON_NULL &&
		  says(&change.after[NAME], NULL), "null is not missing");
	CHECK(change.before_json.kind == CDC_JSON_NULL &&
		  says(&change.after_json, "{\"id\":1,\"other\":[{}],\"big\":null}") &&
		  says(&change.transaction_json, "{\"id\":\"t\"}"), "whole objects");
	CHECK(change.has_ts_ms && change.ts_ms == 7 && change.has_source_ts_ms &&
		  change.source_ts_ms == 5000, "times");
	CHECK(says(&change.connector, "mysql") && says(&change.source[0], "CUSTOMER"),
		  "source");

	/* the last member of a name counts, for objects as a whole */
	CHECK(decode("{\"op\":\"c\",\"op\":\"u\",\"after\":{\"id\":1,\"big\":1},"
				 "\"after\":{\"id\":2,\"id\":3}}"), "%s", error.message);
	CHECK(change.op == 'u' && says(&change.after[ID], "3") &&
		  says(&change.after[BIG], NULL), "repeated members");
	CHECK(decode("{\"op\":\"d\",\"before\":{\"id\":1},\"after\":{\"id\":1},"
				 "\"after\":null}"), "%s", error.message);
	CHECK(!change.has_after && says(&change.after[ID], NULL) &&
		  says(&change.before[ID], "1"), "null after an object");

	/* "payload" that is a member of an envelope like any other */
	CHECK(decode("{\"payload\":{\"op\":\"d\",\"before\":{\"id\":1}},\"op\":\"c\","
				 "\"after\":{\"big\":2}}"), "%s", error.message);
	CHECK(change.op == 'c' && says(&change.after[BIG], "2") &&
		  says(&change.before[ID], NULL), "payload first");
	CHECK(decode("{\"op\":\"c\",\"after\":{\"big\":2},"
				 "\"payload\":{\"op\":\"d\",\"before\":{\"id\":1}}}"),
		  "%s", error.message);
	CHECK(change.op == 'c' && says(&change.after[BIG], "2") &&
		  says(&change.before[ID], NULL), "payload last");
	/* null times are times that are not there */
	CHECK(decode("{\"op\":\"c\",\"after\":{},\"ts_ms\":null,"
				 "\"source\":{\"ts_ms\":null}}") &&
		  !change.has_ts_ms && !change.has_source_ts_ms, "null times");
}

static void
test_names(void)
{
	/* NAME accepts any case but prefers the exact one, wherever it stands */
	CHECK(decode("{\"op\":\"c\",\"after\":{\"NAME\":1,\"ID\":2}}") &&
		  says(&change.after[NAME], "1") && says(&change.after[ID], "2") &&
		  says(&change.after[NAME_UPPER], NULL) &&
		  says(&change.after[NAME_EXACT], NULL), "other case");
	CHECK(decode("{\"op\":\"c\",\"after\":{\"name\":1,\"NAME\":2}}") &&
		  says(&change.after[NAME], "1") &&
		  says(&change.after[NAME_EXACT], "1"), "exact name first");
	CHECK(decode("{\"op\":\"c\",\"after\":{\"NAME\":2,\"Name\":3,\"name\":1}}") &&
		  says(&change.after[NAME], "1") &&
		  says(&change.after[NAME_UPPER], "3") &&
		  says(&change.after[NAME_EXACT], "1"), "exact name last");
	CHECK(decode("{\"op\":\"c\",\"after\":{\"name\":1,\"name\":2}}") &&
		  says(&change.after[NAME], "2"), "exact name twice");
	CHECK(decode("{\"op\":\"c\",\"after\":{\"\\u006eame\":1,\"BIG\":2,"
				 "\"\\ud800\":3,\"bi\\u0000g\":4}}") &&
		  says(&change.after[NAME], "1") && says(&change.after[BIG], NULL),
		  "escaped name");
	/* the memo of names must not outlive a change of their order */
	for (int i = 0; i < 4; i++)
	{
		CHECK(decode("{\"op\":\"c\",\"after\":{\"id\":1,\"name\":2,\"big\":3}}") &&
			  says(&change.after[ID], "1") && says(&change.after[NAME], "2") &&
			  says(&change.after[BIG], "3"), "one order");
		CHECK(decode("{\"op\":\"c\",\"after\":{\"big\":3, \"id\" :1,\"na\":2}}") &&
			  says(&change.after[ID], "1") && says(&change.after[NAME], NULL) &&
			  says(&change.after[BIG], "3"), "another order");
	}
}

static void
check_snapshot(const char *value, bool snapshot, bool incremental,
			   CdcSnapshotMark mark)
{
	char		text[200];

	snprintf(text, sizeof(text),
			 "{\"op\":\"r\",\"after\":{},\"source\":{\"snapshot\":%s}}", value);
	CHECK(decode(text) && change.snapshot == snapshot &&
		  change.incremental == incremental && change.mark == mark, "%s", value);
}

static void
test_snapshots(void)
{
	check_snapshot("true", true, false, CDC_SNAPSHOT_ROW);
	check_snapshot("false", false, false, CDC_SNAPSHOT_ROW);
	check_snapshot("null", false, false, CDC_SNAPSHOT_ROW);
	check_snapshot("\"true\"", true, false, CDC_SNAPSHOT_ROW);
	check_snapshot("\"false\"", false, false, CDC_SNAPSHOT_ROW);
	check_snapshot("\"first\"", true, false, CDC_SNAPSHOT_FIRST);
	check_snapshot("\"first_in_data_collection\"", true, false, CDC_SNAPSHOT_FIRST);
	check_snapshot("\"last_in_data_collection\"", true, false, CDC_SNAPSHOT_LAST_OF_TABLE);
	check_snapshot("\"last\"", true, false, CDC_SNAPSHOT_LAST);
	check_snapshot("\"incremental\"", true, true, CDC_SNAPSHOT_ROW);
	CHECK(decode("{\"op\":\"r\",\"after\":{},\"source\":{}}") &&
		  !change.snapshot, "no snapshot");
}

static void
test_schema_memory(void)
{
	/* the remembered schema must be compared in full */
	for (int i = 0; i < 3; i++)
	{
		CHECK(decode("{\"schema\":{\"fields\":[1,2,3]},\"payload\":{\"op\":\"c\","
					 "\"after\":{\"id\":1}}}") && says(&change.after[ID], "1") &&
			  change.schema_len == 18 &&
			  memcmp(change.schema, "{\"fields\":[1,2,3]}", 18) == 0, "schema");
		check_error("{\"schema\":{\"fields\":[1,2,3]}x,\"payload\":null}",
					"unexpected character");
		check_error("{\"schema\":{\"fields\":[1,2,3", "end of JSON");
		CHECK(decode("{\"schema\":{\"fields\":[1,2]},\"payload\":{\"op\":\"c\","
					 "\"after\":{\"id\":1}}}") && change.schema_len == 16,
			  "shorter schema");
		CHECK(decode("{\"schema\":null,\"payload\":{\"op\":\"c\","
					 "\"after\":{\"id\":1}}}") && change.schema == NULL,
			  "null schema");
	}
}

/* The position of an event with this source. */
static CdcPosition
position_of(const char *source)
{
	char		text[400];

	snprintf(text, sizeof(text),
			 "{\"op\":\"c\",\"after\":{},\"source\":{%s}}", source);
	CHECK(decode(text), "%s: %s", source, error.message);
	return change.position;
}

#define MYSQL_POSITION(server, gtid, file, pos) \
	position_of("\"connector\":\"mysql\",\"server_id\":" server ",\"gtid\":" gtid \
				",\"file\":\"" file "\",\"pos\":" pos)
#define MARIADB_POSITION(gtid, pos) \
	position_of("\"connector\":\"mariadb\",\"server_id\":1,\"gtid\":\"" gtid \
				"\",\"file\":\"bin.000001\",\"pos\":" pos)
#define POSTGRESQL_POSITION(sequence) \
	position_of("\"connector\":\"postgresql\",\"lsn\":1,\"sequence\":" sequence)

#define NOT_COMPARABLE 99

static void
check_compare(CdcPosition a, CdcPosition b, int expected)
{
	int			cmp = NOT_COMPARABLE;
	int			reverse = NOT_COMPARABLE;
	char		text[CDC_POSITION_TEXT];
	char		again[CDC_POSITION_TEXT];
	CdcPosition back;

	if (!cdc_position_compare(&a, &b, &cmp))
		cmp = NOT_COMPARABLE;
	if (!cdc_position_compare(&b, &a, &reverse))
		reverse = NOT_COMPARABLE;
	cdc_position_print(&a, text);
	CHECK(cmp == expected && reverse ==
		  (expected == NOT_COMPARABLE ? NOT_COMPARABLE : -expected),
		  "%s: %d and %d, not %d", text, cmp, reverse, expected);
	CHECK(cdc_position_parse(text, &back), "%s cannot be read back", text);
	cdc_position_print(&back, again);
	CHECK(strcmp(text, again) == 0 && back.kind == a.kind &&
		  back.scope == a.scope && back.has_gtid == a.has_gtid &&
		  memcmp(back.at.parts, a.at.parts, sizeof(a.at.parts)) == 0,
		  "%s comes back as %s", text, again);
}

static void
test_positions(void)
{
	CdcPosition file = MYSQL_POSITION("1", "null", "bin.000009", "100");
	CdcPosition gtid = MYSQL_POSITION("1", "\"3E11-a:57\"", "bin.000009", "100");
	CdcPosition tagged = MYSQL_POSITION("1", "\"3E11-a:tag:57\"", "bin.000009", "5");
	CdcPosition maria = MARIADB_POSITION("0-1-100", "5");
	CdcPosition lsn = POSTGRESQL_POSITION("\"[\\\"100\\\",\\\"200\\\"]\"");

	CHECK(file.kind == CDC_POSITION_MYSQL && !file.has_gtid, "file");
	check_compare(file, file, 0);
	check_compare(file, MYSQL_POSITION("1", "null", "bin.000009", "99"), 1);
	check_compare(file, MYSQL_POSITION("1", "null", "bin.000010", "4"), -1);
	check_compare(MYSQL_POSITION("1", "null", "bin.999999", "9"),
				  MYSQL_POSITION("1", "null", "bin.1000000", "4"), -1);
	check_compare(file, MYSQL_POSITION("2", "null", "bin.000009", "99"),
				  NOT_COMPARABLE);
	check_compare(file, MYSQL_POSITION("1", "null", "log.000009", "99"),
				  NOT_COMPARABLE);
	/* with GTID and without one: the file, of one server alone */
	check_compare(file, gtid, 0);
	check_compare(file, MYSQL_POSITION("1", "\"3e11-a:1\"", "bin.000010", "4"), -1);
	check_compare(file, MYSQL_POSITION("2", "\"3e11-a:1\"", "bin.000009", "100"),
				  NOT_COMPARABLE);
	check_compare(file, MYSQL_POSITION("1", "\"\"", "bin.000009", "100"), 0);

	CHECK(gtid.kind == CDC_POSITION_MYSQL && gtid.has_gtid && gtid.at.mysql.major == 57,
		  "gtid");
	check_compare(gtid, MYSQL_POSITION("2", "\"3e11-A:58\"", "log.000001", "4"), -1);
	check_compare(gtid, MYSQL_POSITION("1", "\"3e11-a:57\"", "bin.000009", "101"), -1);
	check_compare(gtid, MYSQL_POSITION("1", "\"3e11-a:57\"", "log.000009", "101"),
				  NOT_COMPARABLE);
	check_compare(gtid, MYSQL_POSITION("1", "\"3e11-b:58\"", "bin.000009", "4"),
				  NOT_COMPARABLE);
	check_compare(gtid, tagged, NOT_COMPARABLE);
	check_compare(tagged, MYSQL_POSITION("1", "\"3e11-a:tag:56\"", "bin.000010", "4"), 1);

	CHECK(maria.has_gtid && maria.at.mysql.major == 100, "MariaDB's gtid");
	check_compare(maria, MARIADB_POSITION("0-1-99", "9"), 1);
	check_compare(maria, MARIADB_POSITION("0-1-100", "9"), -1);
	check_compare(maria, MARIADB_POSITION("0-2-99", "9"), NOT_COMPARABLE);
	check_compare(maria, MARIADB_POSITION("1-1-99", "9"), NOT_COMPARABLE);

	CHECK(lsn.kind == CDC_POSITION_POSTGRESQL && lsn.at.parts[0] == 100 &&
		  lsn.at.parts[1] == 200, "lsn");
	check_compare(lsn, POSTGRESQL_POSITION("\"[\\\"100\\\",\\\"150\\\"]\""), 1);
	check_compare(lsn, POSTGRESQL_POSITION("\"[\\\"101\\\", \\\"90\\\"]\""), -1);
	check_compare(lsn, POSTGRESQL_POSITION("\"[null,\\\"150\\\"]\""),
				  NOT_COMPARABLE);
	check_compare(lsn, POSTGRESQL_POSITION("\"[\\\"100\\\",null]\""),
				  NOT_COMPARABLE);
	check_compare(lsn, file, NOT_COMPARABLE);
}

#define SQLSERVER_POSITION(db, commit, change, serial) \
	position_of("\"connector\":\"sqlserver\",\"db\":\"" db "\",\"commit_lsn\":\"" commit \
				"\",\"change_lsn\":\"" change "\",\"event_serial_no\":" serial)
#define DB2_POSITION(commit, change) \
	position_of("\"connector\":\"db2\",\"db\":\"D\",\"change_lsn\":\"" change \
				"\",\"commit_lsn\":\"" commit "\"")
#define ORACLE_POSITION(commit, tx, more) \
	position_of("\"connector\":\"oracle\",\"db\":\"D\",\"commit_scn\":\"" commit \
				"\",\"txId\":\"" tx "\"," more)
#define ORACLE_REDO(scn, rs_id, ssn) \
	"\"scn\":\"" scn "\",\"rs_id\":\"" rs_id "\",\"ssn\":" ssn
#define MONGODB_POSITION(rs, ms, ord) \
	position_of("\"connector\":\"mongodb\",\"rs\":" rs ",\"ts_ms\":" ms ",\"ord\":" ord)

static void
test_lsn_positions(void)
{
	CdcPosition server = SQLSERVER_POSITION("a", "0000002b:00000300:0003",
											"0000002b:000002ff:0002", "2");
	CdcPosition db2 = DB2_POSITION("0000002b:00000300:0003", "0000002b:000002ff:0002");

	check_compare(server, server, 0);
	check_compare(server, SQLSERVER_POSITION("a", "0000002B:00000300:0003",
											 "0000002b:000002FF:0002", "\"2\""), 0);
	check_compare(server, SQLSERVER_POSITION("a", "0000002b:00000300:0003",
											 "0000002b:000002ff:0002", "10"), -1);
	check_compare(server, SQLSERVER_POSITION("a", "0000002b:00000300:0003",
											 "0000002b:000002fe:000a", "9"), 1);
	check_compare(server, SQLSERVER_POSITION("a", "0000002b:00000300:0003",
											 "0000002b:000002ff:0003", "1"), -1);
	check_compare(server, SQLSERVER_POSITION("a", "0000002b:00000300:0004",
											 "00000001:00000001:0001", "1"), -1);
	check_compare(server, SQLSERVER_POSITION("a", "0000002a:ffffffff:ffff",
											 "0000002b:00000300:0001", "1"), 1);
	check_compare(server, SQLSERVER_POSITION("a", "ffffffff:00000000:0000",
											 "00000000:00000000:0001", "1"), -1);
	/* each database counts for itself */
	check_compare(server, SQLSERVER_POSITION("b", "0000002b:00000300:0003",
											 "0000002b:000002ff:0002", "2"), NOT_COMPARABLE);
	check_compare(server, db2, NOT_COMPARABLE);

	check_compare(db2, DB2_POSITION("0000002b:00000300:0003", "0000002b:000002ff:0001"), 1);
	check_compare(db2, DB2_POSITION("0000002b:00000301:0000", "0000002b:000002ff:0001"), -1);
	check_compare(DB2_POSITION("00000000:00000000:00000000049aab7f", "00000000:00000000:00000000049aab00"),
				  DB2_POSITION("00000000:00000000:00000000049aab80", "00000000:00000000:00000000049aaa00"), -1);
	check_compare(DB2_POSITION("ffffffff:ffffffff:fffffffffffffffe", "00000000:00000000:0000"),
				  DB2_POSITION("ffffffff:ffffffff:ffffffffffffffff", "00000000:00000000:0000"), -1);
}

static void
test_oracle_positions(void)
{
	CdcPosition seq = ORACLE_POSITION("3638537", "0a001b", "\"scn\":\"3634640\",\"txSeq\":7");
	CdcPosition redo = ORACLE_POSITION("3638537", "0a001b",
									   ORACLE_REDO("3634640", "0x00002a.00018c36.0010", "0"));

	check_compare(seq, seq, 0);
	check_compare(seq, ORACLE_POSITION("3638537", "0A001B", "\"scn\":\"3634641\",\"txSeq\":10"), -1);
	/* numbers, not texts; the commit before the change */
	check_compare(seq, ORACLE_POSITION("10000000", "0a001c", "\"scn\":\"3634639\",\"txSeq\":1"), -1);
	check_compare(seq, ORACLE_POSITION("999999", "0a001c", "\"scn\":\"3634641\",\"txSeq\":9"), 1);
	/* transactions that committed at one SCN are in no order */
	check_compare(seq, ORACLE_POSITION("3638537", "0a001c", "\"scn\":\"3634639\",\"txSeq\":1"),
				  NOT_COMPARABLE);
	/* the other form: txSeq where both have it */
	check_compare(seq, redo, NOT_COMPARABLE);
	check_compare(seq, ORACLE_POSITION("3638537", "0a001b",
									   ORACLE_REDO("3634639", "0x00002a.00018c36.0010", "0")), 1);
	check_compare(redo, redo, 0);
	check_compare(redo, ORACLE_POSITION("3638537", "0a001b",
										ORACLE_REDO("3634641", "0x000001.00000001.0010", "0")), -1);
	check_compare(redo, ORACLE_POSITION("3638537", "0a001b",
										ORACLE_REDO("3634640", " 0x00002b.00000001.0000 ", "0")), -1);
	check_compare(redo, ORACLE_POSITION("3638537", "0a001b",
										ORACLE_REDO("3634640", "0x00002a.00018c36.000f", "9")), 1);
	check_compare(redo, ORACLE_POSITION("3638537", "0a001b",
										ORACLE_REDO("3634640", "0x00002a.00018c36.0010", "1")), -1);
	check_compare(redo, ORACLE_POSITION("18446744073709551615", "0a001b",
										ORACLE_REDO("1", "0x00002a.00018c36.0010", "1")), -1);
}

static void
test_mongodb_positions(void)
{
	CdcPosition first = MONGODB_POSITION("null", "1700000001000", "1");

	check_compare(first, MONGODB_POSITION("null", "1700000001999", "1"), 0);
	check_compare(first, MONGODB_POSITION("null", "1700000001000", "10"), -1);
	check_compare(first, MONGODB_POSITION("null", "1700000002000", "1"), -1);
	check_compare(first, MONGODB_POSITION("null", "1700000000999", "9"), 1);
	check_compare(first, MONGODB_POSITION("null", "1700000001000", "-1"), 1);
	check_compare(MONGODB_POSITION("null", "1700000001000", "0"),
				  MONGODB_POSITION("null", "1700000001000", "-1"), 1);
	/* each replica set has its own clock */
	check_compare(MONGODB_POSITION("\"rs0\"", "1700000001000", "1"),
				  MONGODB_POSITION("\"rs1\"", "1700000002000", "1"), NOT_COMPARABLE);
}

static void
test_no_positions(void)
{
	static const char *const sources[] = {
		"",
		"\"connector\":\"sqlserver\",\"commit_lsn\":\"1\"",
		"\"connector\":\"postgresql\"",
		"\"connector\":\"postgresql\",\"sequence\":null",
		"\"connector\":\"postgresql\",\"sequence\":\"[]\"",
		"\"connector\":\"postgresql\",\"sequence\":\"[\\\"1\\\"]\"",
		"\"connector\":\"postgresql\",\"sequence\":\"[\\\"1\\\",\\\"2\\\",\\\"3\\\"]\"",
		"\"connector\":\"postgresql\",\"sequence\":\"[\\\"1\\\",\\\"-2\\\"]\"",
		"\"connector\":\"postgresql\",\"sequence\":\"[\\\"1\\\",\\\"2\\\"\"",
		"\"connector\":\"postgresql\",\"sequence\":[\"1\",\"2\"]",
		"\"connector\":\"postgresql\",\"sequence\":\"[\\\"1\\\",\\\"2\\\"]\",\"snapshot\":true",
		"\"connector\":\"mysql\",\"file\":\"b.1\",\"pos\":1",
		"\"connector\":\"mysql\",\"server_id\":1,\"file\":\"b.1\"",
		"\"connector\":\"mysql\",\"server_id\":1,\"file\":\"\",\"pos\":1",
		"\"connector\":\"mysql\",\"server_id\":1,\"file\":\"b.1\",\"pos\":-1",
		"\"connector\":\"mysql\",\"server_id\":1,\"file\":\"b.1\",\"pos\":1,\"snapshot\":\"last\"",
		"\"connector\":\"mysql\",\"server_id\":1,\"file\":\"b.1\",\"pos\":1,\"snapshot\":\"first\"",
		"\"connector\":\"mysql\",\"server_id\":1,\"file\":\"b.1\",\"pos\":1,\"gtid\":\"57\"",
		"\"connector\":\"mysql\",\"server_id\":1,\"file\":\"b.1\",\"pos\":1,\"gtid\":\"a:\"",
		"\"connector\":\"mysql\",\"server_id\":1,\"file\":\"b.1\",\"pos\":1,\"gtid\":\":5\"",
		"\"connector\":\"mysql\",\"server_id\":1,\"file\":\"b.1\",\"pos\":1,\"gtid\":\"a:5-7\"",
		"\"connector\":\"mariadb\",\"server_id\":1,\"file\":\"b.1\",\"pos\":1,\"gtid\":\"0-1\"",
		"\"connector\":\"mariadb\",\"server_id\":1,\"file\":\"b.1\",\"pos\":1,\"gtid\":7",
		"\"connector\":\"sqlserver\",\"commit_lsn\":\"0000002b:00000300:0003\",\"change_lsn\":null,\"event_serial_no\":null",
		"\"connector\":\"sqlserver\",\"commit_lsn\":\"0000002b:00000300:0003\",\"change_lsn\":\"0000002b:00000300:0003\",\"event_serial_no\":null",
		"\"connector\":\"sqlserver\",\"commit_lsn\":null,\"change_lsn\":\"0000002b:00000300:0003\",\"event_serial_no\":1",
		"\"connector\":\"sqlserver\",\"commit_lsn\":\"2b:300:3\",\"change_lsn\":\"0000002b:00000300:0003\",\"event_serial_no\":1",
		"\"connector\":\"sqlserver\",\"commit_lsn\":\"0000002b:00000300:00030\",\"change_lsn\":\"0000002b:00000300:0003\",\"event_serial_no\":1",
		"\"connector\":\"sqlserver\",\"commit_lsn\":\"0000002b:0000030g:0003\",\"change_lsn\":\"0000002b:00000300:0003\",\"event_serial_no\":1",
		"\"connector\":\"sqlserver\",\"commit_lsn\":\"0000002b-00000300:0003\",\"change_lsn\":\"0000002b:00000300:0003\",\"event_serial_no\":1",
		"\"connector\":\"sqlserver\",\"commit_lsn\":\"0000002b:00000300:0003\",\"change_lsn\":\"0000002b:00000300:0003\",\"event_serial_no\":-1",
		"\"connector\":\"sqlserver\",\"commit_lsn\":\"0000002b:00000300:0003\",\"change_lsn\":\"0000002b:00000300:0003\",\"event_serial_no\":1,\"snapshot\":\"true\"",
		"\"connector\":\"db2\",\"commit_lsn\":\"0000002b:00000300:0003\",\"change_lsn\":null",
		"\"connector\":\"db2\",\"commit_lsn\":\"0000002b:00000300:000\",\"change_lsn\":\"0000002b:00000300:0003\"",
		"\"connector\":\"db2\",\"commit_lsn\":\"0000002b:00000300:00000000000000000\",\"change_lsn\":\"0000002b:00000300:0003\"",
		"\"connector\":\"oracle\",\"commit_scn\":null,\"txId\":\"a\",\"scn\":\"1\",\"rs_id\":\"0x00002a.00018c36.0010\",\"ssn\":0",
		"\"connector\":\"oracle\",\"commit_scn\":\"1\",\"txId\":null,\"scn\":\"1\",\"rs_id\":\"0x00002a.00018c36.0010\",\"ssn\":0",
		"\"connector\":\"oracle\",\"commit_scn\":\"1\",\"txId\":\"a\",\"scn\":null,\"rs_id\":\"0x00002a.00018c36.0010\",\"ssn\":0",
		"\"connector\":\"oracle\",\"commit_scn\":\"1\",\"txId\":\"a\",\"scn\":\"1\",\"rs_id\":null,\"ssn\":0",
		"\"connector\":\"oracle\",\"commit_scn\":\"1\",\"txId\":\"a\",\"scn\":\"1\",\"rs_id\":\"0x00002a.00018c36.0010\",\"ssn\":null",
		"\"connector\":\"oracle\",\"commit_scn\":\"1\",\"txId\":\"a\",\"scn\":\"1\",\"rs_id\":\"AAA\",\"ssn\":0",
		"\"connector\":\"oracle\",\"commit_scn\":\"1\",\"txId\":\"a\",\"scn\":\"1\",\"rs_id\":\"0x2a.10\",\"ssn\":0",
		"\"connector\":\"oracle\",\"commit_scn\":\"1\",\"txId\":\"a\",\"scn\":\"1\",\"rs_id\":\"0x2a.1.10000\",\"ssn\":0",
		"\"connector\":\"oracle\",\"commit_scn\":\"0x1\",\"txId\":\"a\",\"scn\":\"1\",\"rs_id\":\"0x00002a.00018c36.0010\",\"ssn\":0",
		"\"connector\":\"oracle\",\"commit_scn\":\"99999999999999999999\",\"txId\":\"a\",\"scn\":\"1\",\"rs_id\":\"0x00002a.00018c36.0010\",\"ssn\":0",
		"\"connector\":\"oracle\",\"scn\":\"1\",\"txId\":\"a\",\"txSeq\":1",
		"\"connector\":\"mongodb\",\"ts_ms\":1700000000000",
		"\"connector\":\"mongodb\",\"ts_ms\":1700000000000,\"ord\":null",
		"\"connector\":\"mongodb\",\"ts_ms\":1700000000000,\"ord\":-2",
		"\"connector\":\"mongodb\",\"ts_ms\":-1,\"ord\":1",
		"\"connector\":\"mongodb\",\"ord\":1",
		"\"connector\":\"mongodb\",\"ts_ms\":1700000000000,\"ord\":1,\"snapshot\":\"true\"",
		"\"connector\":\"informix\",\"commit_lsn\":\"0000002b:00000300:0003\",\"change_lsn\":\"0000002b:00000300:0003\",\"event_serial_no\":1",
	};
	static const char *const texts[] = {
		"", "lsn", "lsn:", "lsn:1", "lsn:1:", "lsn:1:2:3", "lsn:1:x",
		"lsn:1:-2", "lsn:1:99999999999999999999", "gtid:1:2:3:4:5", "file:",
		"page:1:2:3:4:5:6", "none ", "none:1", "gtid:1:2:3:4:5:6:7",
		"sqlserver:1:2:3:4:5", "sqlserver:4294967296:1:2:3:4:5", "db2:1:2:3:4",
		"oracle:1:2:3:4:5:6", "mongodb:1:2", "mongodb:1:2:3:"
	};
	CdcPosition position;

	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		CHECK(position_of(sources[i]).kind == CDC_POSITION_NONE, "%s",
			  sources[i]);
	/* how far the events were, when a row of an incremental snapshot was sent */
	CHECK(position_of("\"connector\":\"mysql\",\"server_id\":1,\"file\":\"b.1\",\"pos\":1,\"snapshot\":\"incremental\"").kind == CDC_POSITION_MYSQL,
		  "incremental snapshot");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK(!cdc_position_parse(texts[i], &position), "%s", texts[i]);
	CHECK(cdc_position_parse("none", &position) &&
		  position.kind == CDC_POSITION_NONE, "none");
	/* the text form is stored, so it must stay what it is */
	CHECK(cdc_position_parse("gtid:12892410973027045893:57:1:"
							 "14444972190246154094:42:5390", &position),
		  "stored position");
	check_compare(position,
				  MYSQL_POSITION("1", "\"3e11fa47-71ca-11e1-9e33-c80aa9429562:57\"",
								 "mysql-bin-changelog.000042", "5390"), 0);
	CHECK(cdc_position_parse("sqlserver:2756868625:184683594496:3:184683594495:2:2", &position),
		  "stored position");
	check_compare(position,
				  SQLSERVER_POSITION("shop", "0000002b:00000300:0003",
									 "0000002b:000002ff:0002", "2"), 0);
}

static void
check_placeholder(const char *placeholder, const char *value, bool expected)
{
	CdcDecoder *special = cdc_decoder_create(row_fields, NROW, NULL, 0,
											 placeholder);
	size_t		size = strlen(value) + 100;
	char	   *text = malloc(size);
	bool		ok;

	snprintf(text, size, "{\"op\":\"u\",\"before\":{\"big\":1},\"after\":{\"big\":%s}}",
			 value);
	ok = cdc_decode_value(special, text, strlen(text), &change, &error);
	CHECK(ok && !!(change.after[BIG].flags & CDC_JSON_UNAVAILABLE) == expected &&
		  !(change.before[BIG].flags & CDC_JSON_UNAVAILABLE), "%s: %s",
		  placeholder ? placeholder : "default", value);
	cdc_decoder_free(special);
	free(text);
}

static void
test_placeholder(void)
{
	static const char bytes[] =
		"95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,"
		"97,98,108,101,95,118,97,108,117,101";
	char		array[200];

	check_placeholder(NULL, "\"__debezium_unavailable_value\"", true);
	check_placeholder(NULL, "\"\\u005f_debezium_unavailable_value\"", true);
	check_placeholder(NULL, "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"", true);
	check_placeholder(NULL, "[\"__debezium_unavailable_value\"]", true);
	check_placeholder(NULL, "[ \"__debezium_unavailable_value\" ]", true);
	check_placeholder(NULL, "[\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"]", true);
	check_placeholder(NULL, "[\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"]", true);
	check_placeholder(NULL, "{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}", true);
	check_placeholder(NULL, "\"{\\\"__debezium_unavailable_value\\\":\\\"__debezium_unavailable_value\\\"}\"", true);
	snprintf(array, sizeof(array), "[%s]", bytes);
	check_placeholder(NULL, array, true);
	snprintf(array, sizeof(array), "[%s,95]", bytes);
	check_placeholder(NULL, array, false);
	snprintf(array, sizeof(array), "[%.*s]", (int) strlen(bytes) - 4, bytes);
	check_placeholder(NULL, array, false);

	check_placeholder(NULL, "null", false);
	check_placeholder(NULL, "\"\"", false);
	check_placeholder(NULL, "[]", false);
	check_placeholder(NULL, "{}", false);
	check_placeholder(NULL, "\"__debezium_unavailable_valuE\"", false);
	check_placeholder(NULL, "\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"", false);
	check_placeholder(NULL, "[\"__debezium_unavailable_value\",\"x\"]", false);
	check_placeholder(NULL, "[[\"__debezium_unavailable_value\"]]", false);
	check_placeholder(NULL, "{\"__debezium_unavailable_value\":\"x\"}", false);
	check_placeholder(NULL, "{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\",\"a\":\"b\"}", false);

	check_placeholder("__none__", "\"__none__\"", true);
	check_placeholder("__none__", "\"__debezium_unavailable_value\"", false);
	check_placeholder("a", "[\"0cc175b9-c0f1-36a8-b1c3-99e269772661\"]", true);
	check_placeholder("a", "\"YQ==\"", true);
	check_placeholder("ab", "\"YWI=\"", true);
	check_placeholder("q\"\\\n", "\"q\\\"\\\\\\n\"", true);
	check_placeholder("q\"", "\"{\\\"q\\\\\\\"\\\":\\\"q\\\\\\\"\\\"}\"", true);
	/* bytes that are no text: Java reads them as U+FFFD */
	check_placeholder("hex:6162", "\"ab\"", true);
	check_placeholder("hex:6162", "\"hex:6162\"", false);
	check_placeholder("hex:00FF", "\"AP8=\"", true);
	check_placeholder("hex:00FF", "[0,-1]", true);
	check_placeholder("hex:00FF", "[0,255]", true);
	check_placeholder("hex:00FF", "[0,511]", false);
	check_placeholder("hex:41FF42", "\"A\xEF\xBF\xBD" "B\"", true);
	check_placeholder("hex:E28241", "\"\xEF\xBF\xBD" "A\"", true);
	check_placeholder("hex:F09F98", "\"\xEF\xBF\xBD\"", true);
	check_placeholder("hex:E0809F", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"", true);
	check_placeholder("hex:6", "\"hex:6\"", true);
	/* an empty one would make every empty value unavailable */
	check_placeholder("", "\"\"", false);
	check_placeholder("hex:", "[]", false);
}

static void
check_key(const char *key, int scalar_field, bool expected, const char *id,
		  const char *name)
{
	CdcToken	fields[NROW];
	char	   *text = exact_copy(key, strlen(key));
	bool		ok = cdc_decode_key(decoder, text, strlen(key), scalar_field,
									fields, &error);

	CHECK(ok == expected, "%s: %s", key, ok ? "accepted" : error.message);
	if (ok)
		CHECK(says(&fields[ID], id) && says(&fields[NAME], name), "%s", key);
	free(text);
}

static void
test_keys(void)
{
	CdcToken	fields[NROW];

	check_key("{\"ID\":1,\"name\":\"x\"}", -1, true, "1", "x");
	check_key("{\"name\":\"x\", \"__dbz__physicalTableIdentifier\":\"t\",\"id\":1}",
			  -1, true, "1", "x");
	check_key("{\"other\":1}", -1, true, NULL, NULL);
	check_key("{\"schema\":{\"type\":\"struct\"},\"payload\":{\"id\":1}}", -1, true,
			  "1", NULL);
	check_key("{\"payload\":{\"id\":1},\"schema\":null}", -1, true, "1", NULL);
	check_key("{\"schema\":{},\"payload\":\"x\"}", NAME, true, NULL, "x");
	check_key("{\"schema\":{},\"payload\":-5}", ID, true, "-5", NULL);
	check_key("8004", ID, true, "8004", NULL);
	check_key("\"80\\\"04\"", NAME, true, NULL, "80\\\"04");
	check_key("true", ID, true, "true", NULL);
	/* columns that are called so */
	check_key("{\"schema\":\"public\",\"payload\":{\"id\":1}}", -1, true, NULL, NULL);
	check_key("{\"payload\":{\"id\":1}}", -1, true, NULL, NULL);
	check_key("{\"payload\":{\"id\":1},\"id\":2}", -1, true, "2", NULL);

	check_key("8004", -1, false, NULL, NULL);
	check_key("null", ID, false, NULL, NULL);
	check_key("[1]", ID, true, "1", NULL);
	check_key("", ID, false, NULL, NULL);
	check_key("Struct{id=1", -1, false, NULL, NULL);
	check_key("{\"id\":1", ID, false, NULL, NULL);
	check_key("{\"schema\":{},\"payload\":null}", ID, false, NULL, NULL);
	check_key("{\"schema\":{},\"payload\":[1]}", ID, true, "1", NULL);
	CHECK(!cdc_decode_key(decoder, NULL, 0, ID, fields, &error), "null key");
}

static void
test_schema(void)
{
	static const char row[] =
		"{\"type\":\"struct\",\"fields\":["
		"{\"type\":\"int32\",\"optional\":false,\"default\":0,\"field\":\"id\"},"
		"{\"type\":\"bytes\",\"optional\":true,\"name\":\"org.apache.kafka.connect.data.Decimal\","
		"\"version\":1,\"parameters\":{\"scale\":\"2\",\"connect.decimal.precision\":\"20\","
		"\"__debezium.source.column.type\":\"DECIMAL\"},\"field\":\"amount\"},"
		"{\"field\":\"na\\\"me\",\"type\":\"string\",\"optional\":true,"
		"\"name\":\"io.debezium.data.Enum\",\"parameters\":{\"allowed\":\"a,\\u0062\"},"
		"\"default\":null},"
		"{\"type\":\"array\",\"items\":{\"type\":\"bytes\",\"optional\":true,"
		"\"name\":\"org.apache.kafka.connect.data.Decimal\",\"parameters\":{\"scale\":\"3\"}},"
		"\"optional\":true,\"field\":\"list\"},"
		"{\"type\":\"bytes\",\"name\":\"io.debezium.data.Bits\",\"parameters\":{\"length\":\"8\","
		"\"__debezium.source.column.length\":\"9\"},\"field\":\"bits\"},"
		"{\"type\":\"string\",\"parameters\":{\"__debezium.source.column.length\":\"40\"},"
		"\"field\":\"text\"}],\"optional\":true,\"name\":\"t.Value\",\"field\":\"after\"}";
	static const char *const bad[] = {
		"", "null", "[]", "{}", "{\"type\":\"int32\"}", "{\"type\":\"struct\"}",
		"{\"type\":\"struct\",\"fields\":[1]}",
		"{\"type\":\"struct\",\"fields\":[{\"field\":\"a\"}]}",
		"{\"type\":\"struct\",\"fields\":[{\"type\":\"string\"}]}",
		"{\"type\":\"struct\",\"fields\":[{\"type\":\"string\",\"field\":1}]}",
		"{\"type\":\"struct\",\"fields\":[{\"type\":\"string\",\"field\":\"\\u0000\"}]}",
		"{\"type\":\"struct\",\"fields\":[]", "{\"type\":\"struct\",\"fields\":[]}x"
	};
	char		envelope[2048];
	CdcSchema  *schemas[2];

	snprintf(envelope, sizeof(envelope),
			 "{\"fields\":[{\"type\":\"struct\",\"fields\":[],\"field\":\"before\"},%s,"
			 "{\"type\":\"string\",\"field\":\"op\"}],\"type\":\"struct\"}", row);
	schemas[0] = cdc_schema_parse(row, strlen(row), &error);
	schemas[1] = cdc_schema_parse(envelope, strlen(envelope), &error);
	for (int i = 0; i < 2; i++)
	{
		const CdcSchemaField *f = schemas[i] ? schemas[i]->fields : NULL;

		CHECK(f != NULL && schemas[i]->nfields == 6, "schema %d: %s", i,
			  error.message);
		if (f == NULL || schemas[i]->nfields != 6)
			continue;
		CHECK(says(&f[0].name, "id") && says(&f[0].type, "int32") &&
			  says(&f[0].logical, NULL) && says(&f[0].default_value, "0") &&
			  !f[0].optional && !f[0].has_scale && f[0].precision == 0 &&
			  says(&f[0].item_type, NULL), "id of %d", i);
		CHECK(says(&f[1].name, "amount") &&
			  says(&f[1].logical, "org.apache.kafka.connect.data.Decimal") &&
			  f[1].optional && f[1].has_scale && f[1].scale == 2 &&
			  f[1].precision == 20 && says(&f[1].source_type, "DECIMAL"),
			  "amount of %d", i);
		CHECK(says(&f[2].name, "na\"me") && says(&f[2].allowed, "a,b") &&
			  !(f[2].name.flags & CDC_JSON_ESCAPED) &&
			  says(&f[2].default_value, NULL), "name of %d", i);
		CHECK(says(&f[3].type, "array") && says(&f[3].item_type, "bytes") &&
			  says(&f[3].item_logical, "org.apache.kafka.connect.data.Decimal") &&
			  f[3].item_has_scale && f[3].item_scale == 3 && !f[3].has_scale,
			  "list of %d", i);
		CHECK(f[4].length == 8 && f[5].length == 40 && !f[5].optional,
			  "lengths of %d", i);
	}
	cdc_schema_free(schemas[0]);
	cdc_schema_free(schemas[1]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		error.message[0] = '\0';
		CHECK(cdc_schema_parse(bad[i], strlen(bad[i]), &error) == NULL &&
			  error.message[0] != '\0', "%s", bad[i]);
	}
}

int
main(void)
{
	decoder = cdc_decoder_create(row_fields, NROW, source_fields, 1, NULL);
	if (decoder == NULL)
		return 1;
	test_shapes();
	test_errors();
	test_images();
	test_names();
	test_snapshots();
	test_schema_memory();
	test_positions();
	test_lsn_positions();
	test_oracle_positions();
	test_mongodb_positions();
	test_no_positions();
	test_placeholder();
	test_keys();
	test_schema();
	cdc_decoder_free(decoder);
	free(record);
#ifdef CDC_NO_SIMD
	return check_result("unit_envelope (without SIMD)");
#else
	return check_result("unit_envelope");
#endif
}
