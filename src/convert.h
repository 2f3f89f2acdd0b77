/*-------------------------------------------------------------------------
 *
 * convert.h
 *	  (Debezium type, JSON token) -> Datum of a target column.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CONVERT_H
#define CDC_CONVERT_H

#include "envelope.h"
#include "pipeline.h"

/* What decides between readings of a value that has no schema. */
typedef enum CdcConnector
{
	CDC_CONNECTOR_UNKNOWN = 0,
	CDC_CONNECTOR_MYSQL,		/* mysql, mariadb */
	CDC_CONNECTOR_POSTGRESQL,
	CDC_CONNECTOR_SQLSERVER,
	CDC_CONNECTOR_ORACLE,
	CDC_CONNECTOR_DB2			/* db2, informix */
} CdcConnector;

extern CdcConnector cdc_connector_of(const CdcToken *name);

/*
 * How a string stands for a number (base64 or decimal text) or for bytes
 * (base64 or hex).  "1234" can be either.
 */
typedef enum CdcEncoding
{
	CDC_ENCODING_UNKNOWN = 0,
	CDC_ENCODING_BASE64,
	CDC_ENCODING_STRING,
	CDC_ENCODING_HEX
} CdcEncoding;

/* sqlerrcode of a string that can be either, while nothing tells which. */
#define CDC_ERRCODE_AMBIGUOUS	ERRCODE_INVALID_CHARACTER_VALUE_FOR_CAST

typedef struct CdcConvertError
{
	int			sqlerrcode;
	char	   *message;		/* palloc'ed in the current context */
	char	   *column;			/* the target's column that the server named, or
								 * NULL; only cdc_try() sets it .. */
	char	   *constraint;		/* .. and this */
} CdcConvertError;

typedef struct CdcConverter CdcConverter;

/*
 * Is it a BIGINT UNSIGNED, which may have wrapped?  Only a connector that
 * propagates the source's types tells.
 */
extern bool cdc_schema_is_unsigned_bigint(const CdcSchemaField *field);

/*
 * A converter for a column of this type, made once; lives in the current
 * memory context.  reading: how to read, may be NULL; strict: an error
 * instead of a guess where the schemaless form is ambiguous.  Errors: 22023
 * for a reading that cannot apply to the type.
 */
extern CdcConverter *cdc_converter_create(Oid typid, int32 typmod,
										  const CdcReading *reading, bool strict);

/*
 * Convert one value (never MISSING or unavailable).  field: the embedded
 * schema's description, or NULL.  The Datum is allocated in the current
 * memory context.  Returns false and fills *error for a value that does not
 * fit or cannot be read.  JSON null gives *isnull.
 *
 * May also ereport(ERROR), where the type has no converter of our own and goes
 * through its input function (see cdc_converter_may_raise): run those inside a
 * subtransaction.  Expects the settings of cdc_pin_settings().
 */
extern bool cdc_convert(CdcConverter *converter, const CdcToken *value,
						const CdcSchemaField *field, CdcConnector connector,
						Datum *result, bool *isnull, CdcConvertError *error);

extern bool cdc_converter_may_raise(const CdcConverter *converter);

/*
 * Can the converter read values of a field that the schema describes so?  Is it
 * the first time that it is told that it cannot?  Does it take the zone for
 * granted that times of such a field lack?  (NULL: integers without a schema.)
 */
extern bool cdc_converter_fits(const CdcConverter *converter,
							   const CdcSchemaField *field);
extern bool cdc_converter_tell_misfit(CdcConverter *converter);
extern bool cdc_converter_lacks_zone(const CdcConverter *converter,
									 const CdcSchemaField *field);

/*
 * Strings that can be read in two ways are read in the one that the other
 * values of the column have shown: evidence.c keeps account of that.
 *
 * takes_encoding: can the converter meet such strings, and read this encoding?
 * (UNKNOWN: any.)  proof: the encoding that a value proves by itself.  presumed:
 * the one to begin with.  learn: what it is from now on.
 */
extern bool cdc_converter_takes_encoding(const CdcConverter *converter,
										 CdcEncoding encoding);
extern CdcEncoding cdc_converter_proof(const CdcConverter *converter,
									   const CdcToken *value,
									   const CdcSchemaField *field);
extern CdcEncoding cdc_converter_presumed(const CdcConverter *converter);
/* .. of a string for a number: base64, text, or nothing; for bytes: base64, hex */
extern CdcEncoding cdc_decimal_proof(const char *text, int len);
extern CdcEncoding cdc_bytes_proof(const char *text, int len);
extern void cdc_converter_learn(CdcConverter *converter, CdcEncoding encoding);

/*
 * Do equal values of this column always have equal token bytes, once the
 * escapes are undone?  False for types whose equality is coarser than their
 * text (numeric, citext, char(n), floats, timestamps, non-deterministic
 * collations ..), and for tokens that are not the type's usual form (1.0 for an
 * integer).
 */
extern bool cdc_converter_bytes_decide(Oid typid, Oid collation,
									   const CdcToken *value);

#endif							/* CDC_CONVERT_H */
