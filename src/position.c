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
	uint64_t	n = 0;

	if (text >= end)
		return false;
	for (; text < end; text++)
	{
		uint64_t	digit = (uint64_t) (*text - '0');

		if (*text < '0' || *text > '9' || n > (UINT64_MAX - digit) / 10)
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
		!parse_number(last + 1, text + len, &position->major))
		return false;
	position->gtid_source = hash_known(&memo->gtid_source, text,
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

	if (dot && parse_number(dot + 1, text + len, &position->file_no))
		base = (int) (dot - text);
	position->file = hash_known(&memo->file, text, (size_t) base);
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
	in_file = file_len > 0 && number_value(pos, &position->minor);
	if (in_file)
		parse_file(memo, buf, file_len, position);
	has_server = number_value(server_id, &position->server);
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
		!sequence_part(&scanner, true, &position->major) ||
		!sequence_part(&scanner, false, &position->minor) ||
		cdc_scan_element(&scanner, false) != 0 || !cdc_scan_finish(&scanner))
	{
		memset(position, 0, sizeof(*position));
		return;
	}
	position->kind = CDC_POSITION_POSTGRESQL;
}

static int
compare_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/*
 * A server may log some transactions with a GTID and others without one: those
 * have only the file in common.  Two GTIDs of one source need no server, as
 * they go on counting where another server takes over.
 */
bool
cdc_position_compare(const CdcPosition *a, const CdcPosition *b, int *cmp)
{
	if (a->kind != b->kind || a->kind == CDC_POSITION_NONE)
		return false;
	if (a->has_gtid != b->has_gtid)
	{
		if (a->server == 0 || a->server != b->server)
			return false;
	}
	else
	{
		if (a->has_gtid ? a->gtid_source != b->gtid_source :
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

void
cdc_position_print(const CdcPosition *position, char *buf)
{
	switch (position->kind)
	{
		case CDC_POSITION_MYSQL:
			snprintf(buf, CDC_POSITION_TEXT,
					 "%s:%" PRIu64 ":%" PRIu64 ":%" PRIu64 ":%" PRIu64
					 ":%" PRIu64 ":%" PRIu64,
					 position->has_gtid ? "gtid" : "file",
					 position->gtid_source, position->major, position->server,
					 position->file, position->file_no, position->minor);
			break;
		case CDC_POSITION_POSTGRESQL:
			snprintf(buf, CDC_POSITION_TEXT, "lsn:%" PRIu64 ":%" PRIu64,
					 position->major, position->minor);
			break;
		default:
			snprintf(buf, CDC_POSITION_TEXT, "none");
	}
}

/* n numbers separated by colons, and nothing else. */
static bool
parse_numbers(const char *text, uint64_t **values, int n)
{
	for (int i = 0; i < n; i++)
	{
		const char *end = i < n - 1 ? strchr(text, ':') : text + strlen(text);

		if (end == NULL || !parse_number(text, end, values[i]))
			return false;
		text = end + 1;
	}
	return true;
}

bool
cdc_position_parse(const char *text, CdcPosition *position)
{
	uint64_t   *mysql[] = {&position->gtid_source, &position->major,
		&position->server, &position->file, &position->file_no, &position->minor};
	uint64_t   *postgresql[] = {&position->major, &position->minor};

	memset(position, 0, sizeof(*position));
	if (strcmp(text, "none") == 0)
		return true;
	if (strncmp(text, "lsn:", 4) == 0)
	{
		position->kind = CDC_POSITION_POSTGRESQL;
		return parse_numbers(text + 4, postgresql, 2);
	}
	position->kind = CDC_POSITION_MYSQL;
	position->has_gtid = strncmp(text, "gtid:", 5) == 0;
	if (!position->has_gtid && strncmp(text, "file:", 5) != 0)
		return false;
	return parse_numbers(text + 5, mysql, 6);
}
