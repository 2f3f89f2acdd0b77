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
	CDC_SEM_POINT
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

extern CdcSemantic cdc_semantic_of(const CdcSchemaField *field);

/* Fill value->error, where there is one, and return false. */
extern bool cdc_convert_fail(const CdcValue *value, int sqlerrcode,
							 const char *fmt,...) pg_attribute_printf(3, 4);

/* "this JSON cannot be read into this type", with the value's head. */
extern bool cdc_convert_unreadable(const CdcConverter *converter,
								   const CdcValue *value);

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

/* Length of the bytes in out (room for len), or -1. */
extern int	cdc_base64_decode(const char *text, int len, bool url, uint8 *out);

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

/* -?digits into an int64; false when it does not fit. */
extern bool cdc_parse_int64(const char *text, int len, int64 *result);

/*
 * The decimal text of a value that is a number on the wire in one form or
 * another (JSON number, base64, struct, string); NULL with the error filled.
 */
extern char *cdc_decimal_text(CdcConverter *converter, const CdcValue *value);

/* convert_time.c */
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
