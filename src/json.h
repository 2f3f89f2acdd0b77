/*-------------------------------------------------------------------------
 *
 * json.h
 *	  The JSON scanner: bytes -> tokens, strict.
 *
 * Pure C, no PostgreSQL: it can be fuzzed and benchmarked alone.  It accepts
 * and rejects exactly what RFC 8259 and the server's json type do, with two
 * limits of its own: input must be valid UTF-8, and nest no deeper than
 * CDC_JSON_MAX_DEPTH.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_JSON_H
#define CDC_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CDC_JSON_MAX_DEPTH	512

typedef enum CdcJsonKind
{
	CDC_JSON_MISSING = 0,		/* the field is not there: not the same as null */
	CDC_JSON_NULL,
	CDC_JSON_FALSE,
	CDC_JSON_TRUE,
	CDC_JSON_NUMBER,
	CDC_JSON_STRING,
	CDC_JSON_OBJECT,
	CDC_JSON_ARRAY
} CdcJsonKind;

/* Flags of a token. */
#define CDC_JSON_ESCAPED	0x01	/* STRING: contains a backslash */
#define CDC_JSON_INTEGER	0x02	/* NUMBER: -?digits, no fraction, no exponent */
#define CDC_JSON_UNAVAILABLE 0x04	/* value is Debezium's placeholder for
									 * "unchanged, not in the log"; set by
									 * envelope.c */

/*
 * One value.  text points into the input.  STRING: the bytes between the
 * quotes, escapes not yet undone.  All others: the literal text, objects and
 * arrays from bracket to bracket.
 */
typedef struct CdcToken
{
	const char *text;
	uint32_t	len;
	uint8_t		kind;			/* CdcJsonKind */
	uint8_t		flags;
} CdcToken;

#endif							/* CDC_JSON_H */
