/*-------------------------------------------------------------------------
 *
 * envelope.h
 *	  A record -> a change: operation, row images, source position, key.
 *
 * Pure C without PostgreSQL; never allocates per record, never raises: an
 * error is a return value.  Only the fields that somebody asked for are
 * remembered, everything else is validated and skipped.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_ENVELOPE_H
#define CDC_ENVELOPE_H

#include "json.h"

typedef enum CdcShape
{
	CDC_SHAPE_CHANGE = 0,		/* an envelope with op c, u, d, r, t or m */
	CDC_SHAPE_ROW,				/* an object that is no envelope: a flattened event
								 * or other JSON, given as a change of a row */
	CDC_SHAPE_TOMBSTONE,		/* Kafka NULL, text null, or a null payload */
	CDC_SHAPE_HEARTBEAT,		/* {"ts_ms":..} of a heartbeat topic */
	CDC_SHAPE_TRANSACTION,		/* BEGIN/END of the transaction topic */
	CDC_SHAPE_SCHEMA_CHANGE,	/* {"ddl":..,"tableChanges":..} */
	CDC_SHAPE_NOTIFICATION,		/* of the connector's notification topic */
	CDC_SHAPE_SIGNAL,			/* of its signal topic */
	CDC_SHAPE_FOREIGN,			/* an event in another tool's format */
	CDC_SHAPE_OTHER				/* valid JSON that is none of these */
} CdcShape;

/* What the records of a topic are to be read as. */
typedef enum CdcReadAs
{
	CDC_READ_AUTO = 0,			/* each record tells by itself */
	CDC_READ_ENVELOPE,			/* as auto; the caller takes no rows */
	CDC_READ_FLAT,				/* every object is a row */
	CDC_READ_PLAIN				/* every value is a row that was inserted */
} CdcReadAs;

/*
 * A field that the caller wants.  The row field CDC_WHOLE_ROW that does not fold
 * is the row itself, as JSON.
 */
#define CDC_WHOLE_ROW	"$row"
typedef struct CdcField
{
	const char *name;			/* UTF-8, not NUL-terminated */
	uint32_t	len;
	bool		fold;			/* also accept another ASCII letter case, unless
								 * the row has the exact name too */
} CdcField;

/*
 * Where the source stood when it made a change; comparable only within one
 * source and incarnation.
 */
typedef enum CdcPositionKind
{
	CDC_POSITION_NONE = 0,		/* unknown connector, snapshot row, null part */
	CDC_POSITION_MYSQL,			/* GTID where set, else (file, pos) without row */
	CDC_POSITION_POSTGRESQL,	/* both numbers of sequence; never lsn alone */
	CDC_POSITION_SQLSERVER,		/* commit_lsn, change_lsn, event_serial_no */
	CDC_POSITION_ORACLE,		/* commit_scn; then as CdcOraclePosition says */
	CDC_POSITION_DB2,			/* commit_lsn, change_lsn */
	CDC_POSITION_MONGODB		/* seconds, ord */
} CdcPositionKind;

typedef struct CdcMysqlPosition
{
	uint64_t	gtid_source;	/* hash of the GTID's uuid[:tag], or of
								 * domain-server; 0 without a GTID */
	uint64_t	major;			/* GTID number, or 0 */
	uint64_t	server;			/* server_id */
	uint64_t	file;			/* hash of the file's base name */
	uint64_t	file_no;		/* its numeric suffix */
	uint64_t	minor;			/* pos */
} CdcMysqlPosition;

/*
 * What follows the commit is an order in one transaction only: others that
 * committed at the same SCN may lie anywhere.
 */
typedef struct CdcOraclePosition
{
	uint64_t	commit_scn;
	uint64_t	tx;				/* hash of txId */
	uint64_t	tx_seq;			/* txSeq + 1, or 0 */
	uint64_t	scn;
	uint64_t	rba;			/* rs_id: log and block, or 0 without a rs_id */
	uint64_t	rba_byte;		/* .. and byte; then ssn */
} CdcOraclePosition;

#define CDC_POSITION_PARTS	6
typedef struct CdcPosition
{
	uint8_t		kind;			/* CdcPositionKind */
	bool		has_gtid;		/* MySQL */
	uint32_t	scope;			/* other than MySQL, PostgreSQL: hash of the name
								 * within which positions count, or 0 */
	union
	{
		CdcMysqlPosition mysql;
		CdcOraclePosition oracle;
		uint64_t	parts[CDC_POSITION_PARTS];	/* others: compared in turn */
	}			at;
} CdcPosition;

/* What source.snapshot says of a row of a snapshot. */
typedef enum CdcSnapshotMark
{
	CDC_SNAPSHOT_ROW = 0,		/* true, or an incremental snapshot */
	CDC_SNAPSHOT_FIRST,			/* first of all, or of its table */
	CDC_SNAPSHOT_LAST_OF_TABLE,
	CDC_SNAPSHOT_LAST			/* last of all */
} CdcSnapshotMark;

/*
 * One decoded record.  before, after and source are arrays as long as the
 * field lists that the decoder was made with, in their order; they belong to
 * the decoder and are valid until its next record.  Tokens point into the
 * record's bytes.
 */
typedef struct CdcChange
{
	CdcShape	shape;
	char		op;				/* 'c','u','d','r','t','m' (lower case) */
	bool		has_before;		/* before is an object (not null, not missing) */
	bool		has_after;
	bool		partial;		/* after holds what has changed alone, perhaps without
								 * the key */
	bool		marked;			/* ROW: it has metadata that the transform adds, such
								 * as __op or __deleted */
	bool		document;		/* the images are MongoDB's extended JSON */
	bool		wrapped;		/* it was in the text of another record, and so may all
								 * tokens point into the decoder's memory */
	bool		cells;			/* the JSON of the images has each column as an object
								 * of "value" and "set"; the tokens are the values */
	const char *format;			/* FOREIGN: the name of the format */
	CdcToken   *before;
	CdcToken   *after;
	CdcToken   *source;			/* the wanted $source fields */
	bool		has_ts_ms;
	int64_t		ts_ms;			/* the connector's clock: not an order */
	bool		has_source_ts_ms;
	int64_t		source_ts_ms;	/* the source's clock at the change */
	bool		snapshot;		/* source.snapshot is any snapshot value */
	bool		incremental;	/* .. it is "incremental" */
	CdcSnapshotMark mark;		/* .. and what it says */
	CdcToken	connector;		/* source.connector */
	CdcToken	before_json;	/* the whole objects, for cdc_decode() */
	CdcToken	after_json;
	CdcToken	source_json;
	CdcToken	transaction_json;
	CdcPosition position;
	bool		new_names;		/* the row's fields may be others than those of the
								 * record before */
	const char *schema;			/* the embedded schema's text, or NULL */
	uint32_t	schema_len;
	uint64_t	schema_no;		/* the same in two records of a decoder: so is the
								 * schema.  0: unknown */
	uint8_t    *verdict;		/* the caller's: what it says of the source fields
								 * that it watches, 0 to begin with; it is the same
								 * for all records that have the same bytes there.
								 * NULL: unknown, look at them */
} CdcChange;

typedef struct CdcDecodeError
{
	char		message[160];	/* lower case, no period, as an errmsg */
	uint32_t	offset;			/* byte of the record at which it was seen */
} CdcDecodeError;

typedef struct CdcDecoder CdcDecoder;

/*
 * Make a decoder (malloc; NULL when out of memory).  The field lists are
 * copied.  placeholder: the connector's unavailable.value.placeholder, NULL
 * for Debezium's default; recognised in all the encodings that depend on the
 * column's type (text, base64, arrays, one int per byte, hstore, uuid[]).
 */
extern CdcDecoder *cdc_decoder_create(const CdcField *row_fields, int nrow,
									  const CdcField *source_fields, int nsource,
									  const char *placeholder);
extern void cdc_decoder_free(CdcDecoder *decoder);

/*
 * Before the first record: what records are to be read as, and the prefix of
 * the fields that the flattening transform adds, NULL for its default "__".
 * False when out of memory; the decoder can only be freed then.
 */
extern bool cdc_decoder_read_as(CdcDecoder *decoder, CdcReadAs read_as,
								const char *prefix);

/* The source fields that CdcChange.verdict is about: n from this number on. */
extern void cdc_decoder_watch(CdcDecoder *decoder, int first, int n);

/*
 * For tests: scan each record in full (by default, records that are like
 * earlier ones are not); how many records were not scanned in full.
 */
extern void cdc_decoder_use_skeletons(CdcDecoder *decoder, bool use);
extern uint64_t cdc_decoder_skeleton_hits(const CdcDecoder *decoder);

/*
 * Decode a record's value.  value == NULL is a Kafka tombstone.  Returns false
 * and fills *error for bytes that are no JSON, or an envelope with an unknown
 * op, or fields of the wrong JSON type.
 */
extern bool cdc_decode_value(CdcDecoder *decoder, const char *value, size_t len,
							 CdcChange *change, CdcDecodeError *error);

/*
 * Step over what a schema registry's serializer put before a JSON text, in a
 * value or a key.  False, and *error says of what, if what follows is no JSON.
 */
extern bool cdc_decode_framing(const char **bytes, size_t *len,
							   CdcDecodeError *error);

/*
 * The scalar that an object of MongoDB's extended JSON stands for, {"$oid":..}
 * and the like; every other value is given back as it is.  The token may point
 * into spare.
 */
extern CdcToken cdc_document_scalar(const CdcToken *object, char *spare);
#define CDC_DOCUMENT_SPARE	48	/* bytes of spare room at most */

/*
 * Read an object of a "value" and a "set" alone, as which YugabyteDB's connector
 * writes a column.  False if it is none.
 */
extern bool cdc_cell_read(const CdcToken *object, CdcToken *value, bool *set);

/*
 * Decode a record's key into tokens of the row fields (the same list as the
 * decoder's; fields that the key does not have are MISSING; another case of the
 * letters will do).  Shapes: plain object; {"schema":..,"payload":..} with an
 * object or a scalar inside; a bare scalar, or text that is no JSON (given to
 * field `scalar_field`, if that is >= 0); Struct{name=value,..} as Java prints
 * it; MongoDB's {"id":"<extended JSON>"} where that field is "_id".  Returns
 * false for a NULL key and anything else.
 */
extern bool cdc_decode_key(CdcDecoder *decoder, const char *key, size_t len,
						   int scalar_field, CdcToken *fields,
						   CdcDecodeError *error);

/* -1, 0, 1 in *cmp if a and b can be compared at all. */
extern bool cdc_position_compare(const CdcPosition *a, const CdcPosition *b,
								 int *cmp);

/* A text form, at most CDC_POSITION_TEXT bytes with its NUL, and back. */
#define CDC_POSITION_TEXT	160
extern void cdc_position_print(const CdcPosition *position, char *buf);
extern bool cdc_position_parse(const char *text, CdcPosition *position);

/*
 * The embedded schema of a row: Kafka Connect's description of each field.
 * Strings point into the schema's text; unescaping is not needed (names with
 * escapes are matched after unescaping by cdc_schema_parse itself, which then
 * points into memory of the schema object).
 */
typedef struct CdcSchemaField
{
	CdcToken	name;			/* field name */
	CdcToken	type;			/* "int32", "string", "bytes", "struct", .. */
	CdcToken	logical;		/* "io.debezium.time.Date", .. or MISSING */
	CdcToken	default_value;	/* or MISSING */
	bool		optional;
	bool		has_scale;
	int32_t		scale;			/* parameters.scale */
	int32_t		precision;		/* parameters["connect.decimal.precision"]; 0: none */
	int32_t		length;			/* parameters.length of Bits, or
								 * __debezium.source.column.length; 0: none */
	CdcToken	source_type;	/* parameters["__debezium.source.column.type"] */
	uint8_t		meaning;		/* for the user of the schema; 0 */
	CdcToken	allowed;		/* parameters.allowed of an Enum */
	CdcToken	item_type;		/* array: items.type */
	CdcToken	item_logical;	/* array: items.name */
	bool		item_has_scale;
	int32_t		item_scale;
} CdcSchemaField;

typedef struct CdcSchema
{
	char	   *text;			/* own copy of the text it was made from */
	uint32_t	len;
	int			nfields;
	CdcSchemaField *fields;
} CdcSchema;

/*
 * Parse the text of "schema": of an envelope (the fields of its "after"), or
 * of a key or a flat row (its own fields).  malloc'ed; NULL on an error.
 */
extern CdcSchema *cdc_schema_parse(const char *text, size_t len,
								   CdcDecodeError *error);
extern void cdc_schema_free(CdcSchema *schema);

#endif							/* CDC_ENVELOPE_H */
