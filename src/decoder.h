/*-------------------------------------------------------------------------
 *
 * decoder.h
 *	  What the files of the decoder share.  Only decoder.c, envelope.c, record.c,
 *	  document.c, record_key.c, cells.c, wrapped.c, replay.c and relay.c include it.
 *
 * Pure C, no PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_DECODER_H
#define CDC_DECODER_H

#include "envelope.h"
#include "fields.h"
#include "placeholder.h"
#include "position.h"
#include "skeleton.h"

/* Members of the envelope, or of the outer object, that mean something. */
enum
{
	ENV_BEFORE,
	ENV_AFTER,
	ENV_SOURCE,
	ENV_OP,
	ENV_TRANSACTION,
	ENV_TS_MS,
	ENV_TS_US,
	ENV_TS_NS,
	ENV_PAYLOAD,
	ENV_SCHEMA,
	ENV_MESSAGE,
	ENV_UPDATE_DESCRIPTION,
	ENV_COUNT
};

/* Members of "source" that the decoder itself reads. */
enum
{
	SRC_CONNECTOR,
	SRC_TS_MS,
	SRC_SNAPSHOT,
	SRC_SEQUENCE,
	SRC_SERVER_ID,
	SRC_GTID,
	SRC_FILE,
	SRC_POS,
	SRC_COMMIT_LSN,
	SRC_CHANGE_LSN,
	SRC_EVENT_SERIAL_NO,
	SRC_COMMIT_SCN,
	SRC_TX_SEQ,
	SRC_SCN,
	SRC_RS_ID,
	SRC_SSN,
	SRC_ORD,
	SRC_RS,
	SRC_DB,
	SRC_TX_ID,
	SRC_COUNT
};

/* What the scan of a record has found, and a skeleton restores. */
#define CDC_FRAME_WRAPPER	0x01	/* the outer object has no other members than
									 * "schema" and "payload" */
#define CDC_FRAME_ROW		CDC_SKELETON_MORE	/* it is no envelope, and its members
											 * are in decoder->record */
#define CDC_FRAME_PAYLOAD	0x04	/* the object in "payload" is the record */
#define CDC_FRAME_KIND		(CDC_FRAME_ROW | CDC_FRAME_PAYLOAD)

/* Texts in texts that are read, see wrapped.c. */
#define CDC_WRAPPED_MAX		2

/* A document that came as a string. */
typedef struct CdcDocument
{
	CdcImage	image;
	char	   *text;			/* it without escapes, and room for its scalars */
	size_t		size;
} CdcDocument;

struct CdcDecoder
{
	CdcPlaceholder *placeholder;
	CdcReadAs	read_as;

	CdcFieldSet row_set;
	CdcFieldSet key_set;		/* the same fields, in any case of letters */
	CdcFieldSet source_set;		/* the caller's fields, then source_names */
	CdcFieldSet envelope_set;
	CdcFieldSet record_set;		/* for a record that is no envelope, see record.c */
	CdcFieldSet cloud_set;		/* the source's fields in a CloudEvent */
	int			nrow;
	int			nsource;		/* the caller's source fields */

	CdcMemo		row_memo;
	CdcMemo		key_memo;
	CdcMemo		source_memo;
	CdcMemo		envelope_memo[2];
	CdcMemo		record_memo;
	CdcMemo		cloud_memo;

	CdcImage	before;
	CdcImage	after;
	CdcImage	source;
	CdcImage	key;
	CdcImage	envelope[2];	/* the outer object, and the one in "payload" */
	CdcImage	record;
	CdcImage	cloud_data;		/* "data" of a CloudEvent */
	uint8_t		frame;

	CdcDocument before_document;
	CdcDocument after_document;
	CdcDocument key_document;
	CdcDocument key_text;		/* of a key that is a string of an object */
	char		key_spare[CDC_DOCUMENT_SPARE];
	CdcMemo		document_memo;
	CdcDocument wrapped[CDC_WRAPPED_MAX];	/* texts alone */
	int			unwrapping;		/* so many of them are being read */

	char	   *schema;			/* copy of the last record's schema */
	uint32_t	schema_len;
	uint32_t	schema_size;
	uint64_t	schema_no;		/* counts them */

	CdcPositionMemo position_memo;
	CdcSkeletons skeletons;
	struct CdcReplay *replayed; /* the last record's; NULL: it has none */
	int			nreplays;
	uint64_t	relays;			/* see relay.c: counts how often it began anew, .. */
	uint32_t	ncommons;		/* .. and what was common to some records */
};

static inline bool
cdc_is_present(const CdcToken *token)
{
	return token->kind != CDC_JSON_MISSING;
}

static inline bool
cdc_is_object_or_null(const CdcToken *token)
{
	return token->kind == CDC_JSON_OBJECT || token->kind == CDC_JSON_NULL;
}

/* A STRING token that says this word. */
#define cdc_token_says(token, word) \
	cdc_token_equals(token, word, sizeof("" word) - 1)

/*
 * decoder.c
 */

/* Fill *error; returns false, so that callers can return it. */
extern bool cdc_decode_error(CdcDecodeError *error, size_t offset,
							 const char *format,...)
			__attribute__((format(printf, 3, 4)));
extern bool cdc_scanner_error(CdcDecodeError *error,
							  const CdcScanner *scanner);

/* A set of exact names, after those of fields. */
extern bool cdc_set_init(CdcFieldSet *set, const CdcField *fields, int nfields,
						 const char *const *names, int nnames);

/*
 * envelope.c
 */

/* A STRING token that says this, escapes undone. */
extern bool cdc_token_equals(const CdcToken *token, const char *word,
							 size_t len);

/* Bytes of a token's text that fit into a message. */
extern int	cdc_token_clip(const CdcToken *token, int max);

/*
 * Scan a value and, if it is an object, note its wanted members; those that
 * are the placeholder (if one is given) get their flag.  skeletons is NULL
 * where there is none to be made.
 */
extern bool cdc_scan_image(CdcScanner *scanner, const CdcFieldSet *set,
						   CdcMemo *memo, CdcImage *image,
						   const CdcPlaceholder *placeholder,
						   CdcSkeletons *skeletons);

/* Forget the row images and the source of what was read so far. */
extern void cdc_decoder_reset(CdcDecoder *decoder);

/* What comes behind the framing. */
extern bool cdc_decode_text(CdcDecoder *decoder, const char *value, size_t len,
							CdcChange *change, CdcDecodeError *error);

extern bool cdc_take_op(const CdcToken *token, char *op);

/* The operation of an event; and, afterwards, has it the image that it needs? */
extern bool cdc_take_event_op(const CdcToken *op, const char *start,
							  CdcChange *change, CdcDecodeError *error);
extern bool cdc_check_images(const CdcToken *op, const char *start,
							 const CdcChange *change, CdcDecodeError *error);

/* A row image of an envelope that is an object, or none. */
extern bool cdc_take_image(const CdcImage *image, const char *name,
						   const char *start, bool *has, CdcToken *json,
						   CdcDecodeError *error);

/* Snapshot marks and the position; source: of the members SRC_... */
extern bool cdc_is_snapshot(const CdcToken *token);
extern void cdc_take_position(CdcDecoder *decoder, const CdcToken *source,
							  CdcChange *change);
extern bool cdc_take_int64(const CdcToken *token, bool *has, int64_t *value);

/*
 * record.c: records that are no envelope.
 */

/* The names that they are known by; false when out of memory. */
extern bool cdc_records_init(CdcDecoder *decoder, const char *prefix);

/* An object. */
extern bool cdc_take_record(CdcDecoder *decoder, const CdcImage *object,
							const char *start, CdcChange *change,
							CdcDecodeError *error);

/*
 * document.c: what the MongoDB connector writes.
 */

/* Do the images of an envelope come from there? */
extern bool cdc_has_documents(const CdcDecoder *decoder,
							  const CdcImage *envelope);
extern bool cdc_take_documents(CdcDecoder *decoder,
							   const CdcImage *envelope, const char *start,
							   CdcChange *change, CdcDecodeError *error);

/* Undo the escapes of a string, with room for nscalars scalars behind it. */
extern bool cdc_document_open(CdcDocument *document, const CdcToken *string,
							  int nscalars, CdcToken *text);

/* The digit of base64, or -1. */
extern int	cdc_base64_digit(char c);

/*
 * The "_id" that a string in a record's key stands for.  False if it is no
 * text of extended JSON.
 */
extern bool cdc_document_id(CdcDecoder *decoder, const CdcToken *text,
							CdcToken *id);

/*
 * cells.c: columns as objects of "value" and "set".
 */

/* Are the columns of the row images written so? */
extern bool cdc_has_cells(const CdcDecoder *decoder);
extern bool cdc_take_cells(CdcDecoder *decoder, const char *start,
						   CdcChange *change, CdcDecodeError *error);

/* Those of a record's key become their values. */
extern void cdc_open_key_cells(const CdcDecoder *decoder, CdcToken *fields);

/*
 * wrapped.c: records in the text of others.
 */

/* Is it a string with the text of an object? */
extern bool cdc_is_object_text(const CdcToken *string);

/* What holds the record in an object or value that is none itself, or NULL. */
extern const CdcToken *cdc_find_wrapped(const CdcDecoder *decoder,
										const CdcImage *object);
extern bool cdc_take_wrapped(CdcDecoder *decoder, const CdcToken *wrapped,
							 const char *start, CdcChange *change,
							 CdcDecodeError *error);

#endif							/* CDC_DECODER_H */
