/*-------------------------------------------------------------------------
 *
 * convert_internal.h
 *	  What the convert*.c files share; nobody else includes it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_CONVERT_INTERNAL_H
#define CDC_CONVERT_INTERNAL_H

#include "fmgr.h"
#include "pgtime.h"

#include "convert.h"

/* What the embedded schema says about a value. */
typedef enum CdcSemantic
{
	CDC_SEM_UNKNOWN = 0,		/* no schema at all */
	CDC_SEM_PLAIN,				/* a Connect type without a logical name */
	CDC_SEM_OTHER,				/* a logical name that means nothing to us */
	CDC_SEM_DECIMAL,
	CDC_SEM_VARIABLE_DECIMAL,
	CDC_SEM_DATE,
	CDC_SEM_TIME_MS,
	CDC_SEM_TIME_US,
	CDC_SEM_TIME_NS,
	CDC_SEM_TIMESTAMP_MS,
	CDC_SEM_TIMESTAMP_US,
	CDC_SEM_TIMESTAMP_NS,
	CDC_SEM_ZONED_TIMESTAMP,
	CDC_SEM_ZONED_TIME,
	CDC_SEM_ISO_DATE,
	CDC_SEM_ISO_TIME,
	CDC_SEM_ISO_TIMESTAMP,
	CDC_SEM_DURATION_US,
	CDC_SEM_DURATION_NS,
	CDC_SEM_INTERVAL,
	CDC_SEM_BITS,
	CDC_SEM_JSON,
	CDC_SEM_ENUM_SET,
	CDC_SEM_GEOMETRY
} CdcSemantic;

/* One value on its way: what every converter function gets. */
typedef struct CdcValue
{
	const CdcToken *token;
	const CdcSchemaField *field;	/* or NULL */
	CdcConnector connector;
	CdcConvertError *error;
} CdcValue;

typedef bool (*CdcConvertFunction) (CdcConverter *converter,
									const CdcValue *value, Datum *result);

struct CdcConverter
{
	CdcConvertFunction function;
	Oid			typid;			/* as asked for: may be a domain */
	Oid			basetype;
	int32		typmod;			/* of the base type */
	bool		strict;
	bool		may_raise;
	CdcReading	reading;		/* all unset if none was given */
	pg_tz	   *zone;			/* reading.timezone */
	bool		told_misfit;	/* of a schema; see cdc_converter_tell_misfit() */
	CdcEncoding learned;		/* what a string is that can be two things */
	const char *type_name;		/* for messages */

	/* input function */
	FmgrInfo	input;
	Oid			ioparam;

	/* domain */
	void	   *domain_cache;
	MemoryContext context;

	/* array */
	CdcConverter *element;
	int16		element_len;
	bool		element_byval;
	char		element_align;
};

/* Unit of an integer, by its ns. */
typedef int64 CdcUnit;

#define CDC_UNIT_NONE	INT64CONST(0)
#define CDC_UNIT_NS		INT64CONST(1)
#define CDC_UNIT_US		INT64CONST(1000)
#define CDC_UNIT_MS		INT64CONST(1000000)
#define CDC_UNIT_S		INT64CONST(1000000000)
#define CDC_UNIT_DAY	INT64CONST(86400000000000)

/*
 * What Debezium's PostgreSQL connector sends for infinite timestamps, in us,
 * and for infinite dates, in days: constants of its own and of its JDBC driver,
 * which no real date can reach.
 */
#define CDC_WIRE_INFINITY		INT64CONST(9223372036825200000)
#define CDC_WIRE_MINUS_INFINITY INT64CONST(-9223372036832400000)
#define CDC_WIRE_DATE_INFINITY	INT64CONST(-2147472692)
#define CDC_WIRE_DATE_LATER_INFINITY	INT64CONST(2146033979)	/* later versions */
#define CDC_WIRE_DATE_MINUS_INFINITY	INT64CONST(-2147472691)
/* .. and what comes of them in a snapshot, which has another way */
#define CDC_WIRE_DATE_SNAPSHOT_INFINITY INT64CONST(-622191234)
#define CDC_WIRE_DATE_SNAPSHOT_MINUS_INFINITY INT64CONST(-625821272)

extern CdcSemantic cdc_semantic_of(const CdcSchemaField *field);

/* Fill value->error, where there is one, and return false. */
extern bool cdc_convert_fail(const CdcValue *value, int sqlerrcode,
							 const char *fmt,...) pg_attribute_printf(3, 4);

/* "this JSON cannot be read into this type", with the value's head. */
extern bool cdc_convert_unreadable(const CdcConverter *converter,
								   const CdcValue *value);

/* "it is longer than the column", "PostgreSQL has no such text" */
extern bool cdc_convert_too_long(const CdcConverter *converter,
								 const CdcValue *value);
extern bool cdc_convert_unstorable(const CdcValue *value);

/*
 * A string that can be two things, and nothing told so far which: an error
 * that ends when the column shows more, or a reading is given.
 */
extern bool cdc_convert_ambiguous(const CdcConverter *converter,
								  const CdcValue *value, const char *other);

/* Through the type's input function; text: of the value, or made from it. */
extern bool cdc_convert_input(CdcConverter *converter, const CdcValue *value,
							  Datum *result);
extern bool cdc_convert_call_input(CdcConverter *converter,
								   const CdcValue *value, char *text,
								   Datum *result);

/* Head of a token for messages. */
extern const char *cdc_token_head(const CdcToken *token);

/*
 * The text of a STRING without escapes, NUL-terminated; of all others their
 * literal text.  NULL, with the error filled, for what no text can hold.
 */
extern char *cdc_value_text(const CdcValue *value, int *len);

/* The first member of that name (written without escapes), if there is one. */
extern bool cdc_object_member(const CdcToken *object, const char *name,
							  CdcToken *value);

/* Is it a string of these characters? */
extern bool cdc_token_is(const CdcToken *token, const char *text);

/* convert_bytes.c */
extern bool cdc_convert_bytea(CdcConverter *converter, const CdcValue *value,
							  Datum *result);
extern bool cdc_convert_bits(CdcConverter *converter, const CdcValue *value,
							 Datum *result);

/* MySQL's bits as text of 0 and 1; NULL with the error filled. */
extern char *cdc_bits_text(CdcConverter *converter, const CdcValue *value);

/* The value of a digit, or -1. */
extern int	cdc_hex_digit(char c);

/* Length of the bytes in out (room for len), or -1. */
extern int	cdc_hex_decode(const char *text, int len, uint8 *out);
extern int	cdc_base64_decode(const char *text, int len, bool url, uint8 *out);

/* Would cdc_base64_decode() read it, not empty? */
extern bool cdc_is_base64(const char *text, int len, bool url);

/* convert_text.c */
extern bool cdc_convert_text(CdcConverter *converter, const CdcValue *value,
							 Datum *result);
extern bool cdc_convert_bpchar(CdcConverter *converter, const CdcValue *value,
							   Datum *result);
extern bool cdc_convert_json(CdcConverter *converter, const CdcValue *value,
							 Datum *result);

/* convert_struct.c */
extern bool cdc_convert_point(CdcConverter *converter, const CdcValue *value,
							  Datum *result);
extern bool cdc_convert_geometry(CdcConverter *converter,
								 const CdcValue *value, Datum *result);
extern bool cdc_convert_hstore(CdcConverter *converter, const CdcValue *value,
							   Datum *result);
extern bool cdc_convert_vector(CdcConverter *converter, const CdcValue *value,
							   Datum *result);
extern bool cdc_convert_sparsevec(CdcConverter *converter,
								  const CdcValue *value, Datum *result);

/* convert_array.c */
extern void cdc_array_item_schema(const CdcSchemaField *field,
								  CdcSchemaField *item);
extern bool cdc_convert_array(CdcConverter *converter, const CdcValue *value,
							  Datum *result);

/* convert_number.c */
extern bool cdc_convert_int2(CdcConverter *converter, const CdcValue *value,
							 Datum *result);
extern bool cdc_convert_int4(CdcConverter *converter, const CdcValue *value,
							 Datum *result);
extern bool cdc_convert_int8(CdcConverter *converter, const CdcValue *value,
							 Datum *result);
extern bool cdc_convert_oid(CdcConverter *converter, const CdcValue *value,
							Datum *result);
extern bool cdc_convert_float4(CdcConverter *converter, const CdcValue *value,
							   Datum *result);
extern bool cdc_convert_float8(CdcConverter *converter, const CdcValue *value,
							   Datum *result);
extern bool cdc_convert_numeric(CdcConverter *converter, const CdcValue *value,
								Datum *result);
extern bool cdc_convert_money(CdcConverter *converter, const CdcValue *value,
							  Datum *result);

/*
 * The decimal text of a value that is a number on the wire in one form or
 * another (JSON number, base64, struct, string); NULL with the error filled.
 */
extern char *cdc_decimal_text(CdcConverter *converter, const CdcValue *value);

/* An integral number in whatever form, such as 1.0 or 1E3. */
extern bool cdc_parse_integral(const CdcToken *token, int64 *result);

/* convert_unit.c: the unit of an integer, NONE where nothing tells. */
extern CdcUnit cdc_timestamp_unit(const CdcConverter *converter,
								  const CdcValue *value, int64 n);
extern CdcUnit cdc_date_unit(const CdcConverter *converter,
							 const CdcValue *value, int64 n);
extern CdcUnit cdc_time_unit(const CdcConverter *converter,
							 const CdcValue *value, int64 n);
extern CdcUnit cdc_interval_unit(const CdcConverter *converter,
								 const CdcValue *value, int64 n);

/* convert_time.c */

/*
 * A date, time or duration of the schema as text; iso: as in JSON, with a T.
 * NULL with the error filled.
 */
extern char *cdc_temporal_text(CdcConverter *converter, const CdcValue *value,
							   bool iso);
extern bool cdc_convert_date(CdcConverter *converter, const CdcValue *value,
							 Datum *result);
extern bool cdc_convert_time(CdcConverter *converter, const CdcValue *value,
							 Datum *result);
extern bool cdc_convert_timetz(CdcConverter *converter, const CdcValue *value,
							   Datum *result);
extern bool cdc_convert_timestamp(CdcConverter *converter,
								  const CdcValue *value, Datum *result);
extern bool cdc_convert_timestamptz(CdcConverter *converter,
									const CdcValue *value, Datum *result);
extern bool cdc_convert_interval(CdcConverter *converter,
								 const CdcValue *value, Datum *result);

#endif							/* CDC_CONVERT_INTERNAL_H */
