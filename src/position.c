/*-------------------------------------------------------------------------
 *
 * position.c
 *	  Where the source stood when it made a change, and which of two such
 *	  positions is the older.
 *
 * Pure C without PostgreSQL.  Names of servers and files are kept as hashes:
 * they are only ever tested for equality.  The hash is part of the text form
 * that the catalog stores, so it must stay as it is.
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "position.h"

/* Longest GTID, file name or sequence that is understood. */
#define PART_MAX	1024

/* A number of so many digits is certainly in the range of 64 bits. */
#define SAFE_DIGITS	19

/* FNV-1a; letters folded, as the hex digits of a UUID have no case. */
static uint64_t
hash_name(const char *name, size_t len)
{
	uint64_t	hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) name[i];

		if (c >= 'A' && c <= 'Z')
			c = (unsigned char) (c + ('a' - 'A'));
		hash = (hash ^ c) * UINT64_C(1099511628211);
	}
	return hash;
}

/* The same, out of the memo if it is the name that stands there. */
static uint64_t
hash_known(CdcPositionName *known, const char *name, size_t len)
{
	if (len == 0 || len > CDC_POSITION_NAME)
		return hash_name(name, len);
	if (known->len != len || memcmp(known->name, name, len) != 0)
	{
		memcpy(known->name, name, len);
		known->len = len;
		known->hash = hash_name(name, len);
	}
	return known->hash;
}

/* All of text, up to end, as a decimal number; false for anything else. */
static bool
parse_number(const char *text, const char *end, uint64_t *value)
{
	bool		safe = end - text <= SAFE_DIGITS;
	uint64_t	n = 0;

	if (text >= end)
		return false;
	for (; text < end; text++)
	{
		uint64_t	digit = (uint64_t) (*text - '0');

		if (digit > 9 || (!safe && n > (UINT64_MAX - digit) / 10))
			return false;
		n = n * 10 + digit;
	}
	*value = n;
	return true;
}

/* A STRING token without escapes into buf; its length, or -1. */
static int
string_value(const CdcToken *token, char *buf)
{
	if (token->kind != CDC_JSON_STRING || token->len > PART_MAX)
		return -1;
	return cdc_json_unescape(token, buf);
}

/* A non-negative integer, as a number or as a string of digits. */
static bool
number_value(const CdcToken *token, uint64_t *value)
{
	if (token->kind != CDC_JSON_STRING &&
		!(token->kind == CDC_JSON_NUMBER &&
		  (token->flags & CDC_JSON_INTEGER)))
		return false;
	return parse_number(token->text, token->text + token->len, value);
}

bool
cdc_position_number(const CdcToken *token, uint64_t *value)
{
	return number_value(token, value);
}

/* The last byte c of the text, or NULL. */
static const char *
find_last(const char *text, int len, char c)
{
	while (len-- > 0)
		if (text[len] == c)
			return text + len;
	return NULL;
}

/* "domain-server-number" of MariaDB: exactly three numbers. */
static bool
is_mariadb_gtid(const char *text, int len)
{
	int			dashes = 0;

	for (int i = 0; i < len; i++)
	{
		if (text[i] == '-')
			dashes++;
		else if (text[i] < '0' || text[i] > '9')
			return false;
	}
	return dashes == 2 && text[0] != '-';
}

/* "uuid:number", "uuid:tag:number" or "domain-server-number". */
static bool
parse_gtid(CdcPositionMemo *memo, const char *text, int len,
		   CdcPosition *position)
{
	const char *last = find_last(text, len, ':');

	if (last == NULL && is_mariadb_gtid(text, len))
		last = find_last(text, len, '-');
	if (last == NULL || last == text ||
		!parse_number(last + 1, text + len, &position->at.mysql.major))
		return false;
	position->at.mysql.gtid_source = hash_known(&memo->gtid_source, text,
									   (size_t) (last - text));
	position->has_gtid = true;
	return true;
}

/* "base.000042": the number may get a seventh digit, so it is no text. */
static void
parse_file(CdcPositionMemo *memo, const char *text, int len,
		   CdcPosition *position)
{
	const char *dot = find_last(text, len, '.');
	int			base = len;

	if (dot && parse_number(dot + 1, text + len, &position->at.mysql.file_no))
		base = (int) (dot - text);
	position->at.mysql.file = hash_known(&memo->file, text, (size_t) base);
}

void
cdc_position_mysql(CdcPositionMemo *memo, const CdcToken *server_id,
				   const CdcToken *gtid, const CdcToken *file,
				   const CdcToken *pos, CdcPosition *position)
{
	char		buf[PART_MAX];
	int			gtid_len = string_value(gtid, buf);
	bool		gtid_absent = gtid->kind == CDC_JSON_MISSING ||
		gtid->kind == CDC_JSON_NULL || gtid_len == 0;
	int			file_len;
	bool		in_file;
	bool		has_server;

	memset(position, 0, sizeof(*position));
	if (!gtid_absent &&
		(gtid_len < 0 || !parse_gtid(memo, buf, gtid_len, position)))
	{
		/* a GTID that we cannot read: the file alone would be no order */
		memset(position, 0, sizeof(*position));
		return;
	}
	file_len = string_value(file, buf);
	in_file = file_len > 0 && number_value(pos, &position->at.mysql.minor);
	if (in_file)
		parse_file(memo, buf, file_len, position);
	has_server = number_value(server_id, &position->at.mysql.server);
	if (!position->has_gtid && !(in_file && has_server))
	{
		memset(position, 0, sizeof(*position));
		return;
	}
	position->kind = CDC_POSITION_MYSQL;
}

/* An element of the sequence: a string or number of digits. */
static bool
sequence_part(CdcScanner *scanner, bool first, uint64_t *value)
{
	CdcToken	token;

	return cdc_scan_element(scanner, first) == 1 &&
		cdc_scan_value(scanner, &token) && number_value(&token, value);
}

void
cdc_position_postgresql(const CdcToken *sequence, CdcPosition *position)
{
	char		buf[PART_MAX];
	int			len = string_value(sequence, buf);
	CdcScanner	scanner;

	memset(position, 0, sizeof(*position));
	if (len <= 0)
		return;
	cdc_scanner_init(&scanner, buf, (size_t) len);
	if (cdc_scan_peek(&scanner) != '[' || !cdc_scan_enter(&scanner) ||
		!sequence_part(&scanner, true, &position->at.parts[0]) ||
		!sequence_part(&scanner, false, &position->at.parts[1]) ||
		cdc_scan_element(&scanner, false) != 0 || !cdc_scan_finish(&scanner))
	{
		memset(position, 0, sizeof(*position));
		return;
	}
	position->kind = CDC_POSITION_POSTGRESQL;
}

/* All of text, up to end, as a number in hex digits, at most 16. */
static bool
parse_hex(const char *text, const char *end, uint64_t *value)
{
	uint64_t	n = 0;

	if (text >= end || end - text > 16)
		return false;
	for (; text < end; text++)
	{
		char		c = *text;

		if (c >= '0' && c <= '9')
			c -= '0';
		else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
			c = (char) ((c | 0x20) - 'a' + 10);
		else
			return false;
		n = n << 4 | (uint64_t) c;
	}
	*value = n;
	return true;
}

/*
 * "XXXXXXXX:XXXXXXXX:XXXX", whose last group is this wide, as two numbers: an
 * LSN of SQL Server has 10 bytes, one of Db2 up to 16.
 */
static bool
lsn_value(const CdcToken *token, int min_width, int max_width, uint64_t *parts)
{
	char		buf[PART_MAX];
	int			len = string_value(token, buf);
	uint64_t	high;

	if (len < 18 + min_width || len > 18 + max_width ||
		buf[8] != ':' || buf[17] != ':' || !parse_hex(buf, buf + 8, &high) ||
		!parse_hex(buf + 9, buf + 17, &parts[0]) ||
		!parse_hex(buf + 18, buf + len, &parts[1]))
		return false;
	parts[0] |= high << 32;
	return true;
}

/* Hash of a name that may be missing; two of them are hardly ever the same. */
static uint32_t
scope_value(CdcPositionMemo *memo, const CdcToken *name)
{
	char		buf[PART_MAX];
	int			len = string_value(name, buf);
	uint64_t	hash;

	if (len <= 0)
		return 0;
	hash = hash_known(&memo->scope, buf, (size_t) len);
	return (uint32_t) (hash ^ hash >> 32);
}

void
cdc_position_sqlserver(CdcPositionMemo *memo, const CdcToken *db,
					   const CdcToken *commit_lsn, const CdcToken *change_lsn,
					   const CdcToken *event_serial_no, CdcPosition *position)
{
	memset(position, 0, sizeof(*position));
	if (!lsn_value(commit_lsn, 4, 4, &position->at.parts[0]) ||
		!lsn_value(change_lsn, 4, 4, &position->at.parts[2]) ||
		!number_value(event_serial_no, &position->at.parts[4]))
	{
		memset(position, 0, sizeof(*position));
		return;
	}
	position->scope = scope_value(memo, db);
	position->kind = CDC_POSITION_SQLSERVER;
}

void
cdc_position_db2(CdcPositionMemo *memo, const CdcToken *db,
				 const CdcToken *commit_lsn, const CdcToken *change_lsn,
				 CdcPosition *position)
{
	memset(position, 0, sizeof(*position));
	if (!lsn_value(commit_lsn, 4, 16, &position->at.parts[0]) ||
		!lsn_value(change_lsn, 4, 16, &position->at.parts[2]))
	{
		memset(position, 0, sizeof(*position));
		return;
	}
	position->scope = scope_value(memo, db);
	position->kind = CDC_POSITION_DB2;
}

/* "0x00002a.00018c36.0010", perhaps with spaces around it, and ssn. */
static bool
rs_id_value(const CdcToken *rs_id, const CdcToken *ssn, CdcOraclePosition *at)
{
	char		buf[PART_MAX];
	int			len = string_value(rs_id, buf);
	const char *text = buf;
	const char *end;
	const char *dot;
	const char *last;
	uint64_t	log;
	uint64_t	block;
	uint64_t	byte;
	uint64_t	number;

	if (len <= 0)
		return false;
	for (end = buf + len; end > text && end[-1] == ' '; end--)
		;
	while (text < end && *text == ' ')
		text++;
	if (end - text < 2 || text[0] != '0' || (text[1] | 0x20) != 'x')
		return false;
	text += 2;
	dot = memchr(text, '.', (size_t) (end - text));
	last = find_last(text, (int) (end - text), '.');
	if (dot == NULL || dot == last || !parse_hex(text, dot, &log) ||
		!parse_hex(dot + 1, last, &block) || !parse_hex(last + 1, end, &byte) ||
		!number_value(ssn, &number) || log == 0 || log > UINT32_MAX ||
		block > UINT32_MAX || byte > UINT16_MAX || number >> 48 != 0)
		return false;
	at->rba = log << 32 | block;
	at->rba_byte = byte << 48 | number;
	return true;
}

void
cdc_position_oracle(CdcPositionMemo *memo, const CdcToken *db,
					const CdcToken *commit_scn, const CdcToken *tx_id,
					const CdcToken *tx_seq, const CdcToken *scn,
					const CdcToken *rs_id, const CdcToken *ssn,
					CdcPosition *position)
{
	CdcOraclePosition *at = &position->at.oracle;
	char		buf[PART_MAX];
	int			len = string_value(tx_id, buf);
	bool		has_rs_id;

	memset(position, 0, sizeof(*position));
	if (number_value(tx_seq, &at->tx_seq) && at->tx_seq < UINT64_MAX)
		at->tx_seq++;
	else
		at->tx_seq = 0;
	has_rs_id = rs_id_value(rs_id, ssn, at);
	if (len <= 0 || !number_value(commit_scn, &at->commit_scn) ||
		!number_value(scn, &at->scn) || (at->tx_seq == 0 && !has_rs_id))
	{
		memset(position, 0, sizeof(*position));
		return;
	}
	at->tx = hash_name(buf, (size_t) len);
	position->scope = scope_value(memo, db);
	position->kind = CDC_POSITION_ORACLE;
}

/*
 * ord begins with 1 in each second; a connector that has not read an event yet
 * says -1.
 */
void
cdc_position_mongodb(CdcPositionMemo *memo, const CdcToken *rs,
					 int64_t source_ts_ms, const CdcToken *ord,
					 CdcPosition *position)
{
	int64_t		number;

	memset(position, 0, sizeof(*position));
	if (source_ts_ms < 0 || !cdc_json_int64(ord, &number) || number < -1 ||
		number == INT64_MAX)
		return;
	position->at.parts[0] = (uint64_t) (source_ts_ms / 1000);
	position->at.parts[1] = (uint64_t) (number + 1);
	position->scope = scope_value(memo, rs);
	position->kind = CDC_POSITION_MONGODB;
}

/* How a kind is written, and of how many numbers it is. */
static const struct
{
	const char *prefix;
	bool		has_scope;
	int			nparts;
}			forms[] =
{
	[CDC_POSITION_NONE] = {"none", false, 0},
	[CDC_POSITION_MYSQL] = {"file", false, 6},	/* or gtid */
	[CDC_POSITION_POSTGRESQL] = {"lsn", false, 2},
	[CDC_POSITION_SQLSERVER] = {"sqlserver", true, 5},
	[CDC_POSITION_ORACLE] = {"oracle", true, 6},
	[CDC_POSITION_DB2] = {"db2", true, 4},
	[CDC_POSITION_MONGODB] = {"mongodb", true, 2}
};

#define NFORMS	(sizeof(forms) / sizeof(forms[0]))

static int
compare_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* Numbers that are compared in turn. */
static int
compare_parts(const uint64_t *a, const uint64_t *b, int n)
{
	int			cmp = 0;

	for (int i = 0; i < n && cmp == 0; i++)
		cmp = compare_numbers(a[i], b[i]);
	return cmp;
}

/*
 * A server may log some transactions with a GTID and others without one: those
 * have only the file in common.  Two GTIDs of one source need no server, as
 * they go on counting where another server takes over.
 */
static bool
compare_mysql(const CdcPosition *left, const CdcPosition *right, int *cmp)
{
	const CdcMysqlPosition *a = &left->at.mysql;
	const CdcMysqlPosition *b = &right->at.mysql;

	if (left->has_gtid != right->has_gtid)
	{
		if (a->server == 0 || a->server != b->server)
			return false;
	}
	else
	{
		if (left->has_gtid ? a->gtid_source != b->gtid_source :
			a->server != b->server)
			return false;
		*cmp = compare_numbers(a->major, b->major);
		if (*cmp != 0)
			return true;
	}
	if (a->file != b->file)
		return false;
	*cmp = compare_numbers(a->file_no, b->file_no);
	if (*cmp == 0)
		*cmp = compare_numbers(a->minor, b->minor);
	return true;
}

static bool
compare_oracle(const CdcOraclePosition *a, const CdcOraclePosition *b, int *cmp)
{
	*cmp = compare_numbers(a->commit_scn, b->commit_scn);
	if (*cmp != 0)
		return true;
	if (a->tx != b->tx)
		return false;
	if (a->tx_seq != 0 && b->tx_seq != 0)
	{
		*cmp = compare_numbers(a->tx_seq, b->tx_seq);
		return true;
	}
	*cmp = compare_numbers(a->scn, b->scn);
	if (*cmp != 0)
		return true;
	if (a->rba == 0 || b->rba == 0)
		return false;
	*cmp = compare_numbers(a->rba, b->rba);
	if (*cmp == 0)
		*cmp = compare_numbers(a->rba_byte, b->rba_byte);
	return true;
}

bool
cdc_position_compare(const CdcPosition *a, const CdcPosition *b, int *cmp)
{
	if (a->kind != b->kind || a->kind == CDC_POSITION_NONE ||
		a->scope != b->scope)
		return false;
	if (a->kind == CDC_POSITION_MYSQL)
		return compare_mysql(a, b, cmp);
	if (a->kind == CDC_POSITION_ORACLE)
		return compare_oracle(&a->at.oracle, &b->at.oracle, cmp);
	*cmp = compare_parts(a->at.parts, b->at.parts, forms[a->kind].nparts);
	return true;
}

void
cdc_position_print(const CdcPosition *position, char *buf)
{
	int			len = snprintf(buf, CDC_POSITION_TEXT, "%s", position->has_gtid ? "gtid" :
							   forms[position->kind].prefix);

	if (forms[position->kind].has_scope)
		len += snprintf(buf + len, (size_t) (CDC_POSITION_TEXT - len),
						":%" PRIu32, position->scope);
	for (int i = 0; i < forms[position->kind].nparts; i++)
		len += snprintf(buf + len, (size_t) (CDC_POSITION_TEXT - len),
						":%" PRIu64, position->at.parts[i]);
}

/* n numbers, each behind a colon, and nothing else. */
static bool
parse_numbers(const char *text, uint64_t *values, int n)
{
	for (int i = 0; i < n; i++)
	{
		const char *end;

		if (*text != ':')
			return false;
		text++;
		end = text + strcspn(text, ":");
		if (!parse_number(text, end, &values[i]))
			return false;
		text = end;
	}
	return *text == '\0';
}

bool
cdc_position_parse(const char *text, CdcPosition *position)
{
	size_t		len = strcspn(text, ":");
	uint64_t	numbers[1 + CDC_POSITION_PARTS];
	bool		has_gtid = len == 4 && memcmp(text, "gtid", len) == 0;
	const char *prefix = has_gtid ? "file" : text;

	memset(position, 0, sizeof(*position));
	for (size_t kind = 0; kind < NFORMS; kind++)
	{
		int			n = forms[kind].nparts;
		int			nscope = forms[kind].has_scope;

		if (strlen(forms[kind].prefix) != len ||
			memcmp(forms[kind].prefix, prefix, len) != 0)
			continue;
		if (!parse_numbers(text + len, numbers, nscope + n) ||
			(nscope && numbers[0] > UINT32_MAX))
			return false;
		position->kind = (uint8_t) kind;
		position->has_gtid = has_gtid;
		position->scope = nscope ? (uint32_t) numbers[0] : 0;
		if (n > 0)
			memcpy(position->at.parts, numbers + nscope, (size_t) n * sizeof(uint64_t));
		return true;
	}
	return false;
}
