/*-------------------------------------------------------------------------
 *
 * cdcsync.h
 *	  Names and limits that all files share, and the plain structs that cross
 *	  the border between Kafka and the database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDCSYNC_H
#define CDCSYNC_H

/* The version of the extension that the library is made for. */
#define CDC_VERSION		"1.0"

/* The schema of the catalog tables, fixed by the install script. */
#define CDC_SCHEMA		"cdcsync"

/* The foreign-data wrapper whose servers are Kafka clusters. */
#define CDC_FDW_NAME	"cdcsync_kafka"

/* Longest pipeline name: leaves room for the suffix "_debezium_chunk". */
#define CDC_NAME_MAX	48

/*
 * A run of bytes that is not NUL-terminated.  data == NULL is an SQL NULL
 * (a Kafka NULL key, or a tombstone); length 0 with data != NULL is empty.
 */
typedef struct CdcBytes
{
	const char *data;
	uint32		len;
} CdcBytes;

/*
 * One Kafka record.  All pointers belong to whoever made it and are valid
 * until that one is asked for the next batch: copy what must live longer.
 *
 * headers is the record's header list in one flat form, so that "the same
 * headers as the last record" is one memcmp: for each header uint32 name
 * length, name, int32 value length (-1: NULL value), value; native byte
 * order, unaligned.  len 0: no headers.
 */
typedef struct CdcRecord
{
	int			source;			/* index of the assignment it came from */
	int32		partition;
	int64		offset;
	int64		timestamp;		/* ms since the Unix epoch; -1: none */
	char		timestamp_type; /* 'C'reate time, 'L'og append time, 'U'nknown */
	CdcBytes	key;
	CdcBytes	value;
	CdcBytes	headers;
} CdcRecord;

#endif							/* CDCSYNC_H */
