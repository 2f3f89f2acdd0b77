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
#define CDC_JSON_MIXED	0x08	/* its column has shown two encodings before it;
								 * set by evidence.c */

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
	uint16_t	origin;			/* for the user of the token; the scanner and the
								 * decoder leave it 0 */
} CdcToken;

/* What a scanner has met, of what jsonb refuses though json accepts it. */
#define CDC_JSON_BAD_ESCAPE	0x01	/* \u0000, or half of a surrogate pair */
#define CDC_JSON_BIG_NUMBER	0x02	/* perhaps beyond the range of numeric */

/*
 * A position in a text.  The functions below return false (or -1) at the
 * first byte that no JSON text can have there; pos is then at that byte and
 * error says why.  A scanner that has failed must not be used on.
 */
typedef struct CdcScanner
{
	const char *start;
	const char *pos;
	const char *end;
	const char *error;			/* static text, lower case, no period */
	int			depth;			/* objects and arrays that are open */
	uint8_t		met;			/* CDC_JSON_BAD_ESCAPE | CDC_JSON_BIG_NUMBER */
} CdcScanner;

extern void cdc_scanner_init(CdcScanner *scanner, const char *text, size_t len);

/* Skip whitespace; the byte that the next token begins with, '\0' at the end. */
extern char cdc_scan_peek(CdcScanner *scanner);

/* Scan one whole value, whatever it is. */
extern bool cdc_scan_value(CdcScanner *scanner, CdcToken *token);

/* Only whitespace is left. */
extern bool cdc_scan_finish(CdcScanner *scanner);

/* A text that is one value. */
extern bool cdc_scan_document(CdcScanner *scanner, CdcToken *token);

/* Step into the object or array that cdc_scan_peek() announced. */
extern bool cdc_scan_enter(CdcScanner *scanner);

/*
 * Inside an object: 1 and the next member's name, the scanner is then before
 * its value; 0 after the closing brace; -1 error.
 */
extern int	cdc_scan_member(CdcScanner *scanner, bool first, CdcToken *name);

/*
 * Inside an object, without whitespace: step over the next member's name if
 * it is literally this one.  literal is "name": with its quotes and colon, as
 * an earlier cdc_scan_member() passed over it, so that it needs no check.
 */
extern bool cdc_scan_expect(CdcScanner *scanner, bool first,
							const char *literal, uint32_t len);

/* Inside an array: 1 before the next element; 0 after the bracket; -1 error. */
extern int	cdc_scan_element(CdcScanner *scanner, bool first);

/*
 * Step over bytes that are known to be one whole value: those of an object
 * or array that a scanner accepted before at the same depth.
 */
extern bool cdc_scan_known(CdcScanner *scanner, const char *text, uint32_t len);

/*
 * Undo the escapes of a STRING token into buf (at least token->len bytes);
 * returns the length.  -1 for a lone surrogate and for \u0000, which no
 * PostgreSQL text can hold.
 */
extern int	cdc_json_unescape(const CdcToken *token, char *buf);

/* The value of an INTEGER token, if an int64 can hold it. */
extern bool cdc_json_int64(const CdcToken *token, int64_t *value);

/* Length of the valid UTF-8 character at p; 0 if there is none. */
extern int	cdc_utf8_length(const unsigned char *p, const unsigned char *end);

#endif							/* CDC_JSON_H */
