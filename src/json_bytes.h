/*-------------------------------------------------------------------------
 *
 * json_bytes.h
 *	  Runs of bytes that a scan of JSON steps over at once.
 *
 * Pure C, no PostgreSQL.  Only json.c and skeleton.c include it.  Most bytes of a
 * change event stand in strings, in numbers of 13 to 19 digits, and in text that
 * is the same in every event: all are looked at 16 at a time where the compiler
 * has SSE2, else 8.  The tests run both ways (CDC_NO_SIMD).
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_JSON_BYTES_H
#define CDC_JSON_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(CDC_NO_SIMD)
#define CDC_USE_SSE2
#include <emmintrin.h>
#endif

/* From this length on, memcmp() with its wider registers is faster. */
#define CDC_LONG_RUN	128

static inline bool
cdc_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * The first byte from p on that a string cannot just contain: quote,
 * backslash, control character, or part of a multibyte character.
 */
static inline const char *
cdc_skip_plain(const char *p, const char *end)
{
#ifdef CDC_USE_SSE2
	const __m128i quote = _mm_set1_epi8('"');
	const __m128i backslash = _mm_set1_epi8('\\');
	const __m128i space = _mm_set1_epi8(' ');

	while (end - p >= 16)
	{
		__m128i		chunk = _mm_loadu_si128((const __m128i *) p);
		__m128i		special;
		int			mask;

		/* signed: bytes above 127 are below the space, too */
		special = _mm_cmplt_epi8(chunk, space);
		special = _mm_or_si128(special, _mm_cmpeq_epi8(chunk, quote));
		special = _mm_or_si128(special, _mm_cmpeq_epi8(chunk, backslash));
		mask = _mm_movemask_epi8(special);
		if (mask != 0)
			return p + __builtin_ctz((unsigned int) mask);
		p += 16;
	}
#else
	const uint64_t ones = UINT64_C(0x0101010101010101);
	const uint64_t highs = UINT64_C(0x8080808080808080);

	while (end - p >= 8)
	{
		uint64_t	chunk;
		uint64_t	quote;
		uint64_t	backslash;

		/* x - 1 borrows into the high bit of a byte that is zero, ... */
		memcpy(&chunk, p, 8);
		quote = chunk ^ (ones * '"');
		backslash = chunk ^ (ones * '\\');
		if ((((chunk - ones * ' ') | (quote - ones) | (backslash - ones) |
			  chunk) & highs) != 0)
			break;				/* ... or, harmlessly, of one beside it */
		p += 8;
	}
#endif
	while (p < end && (unsigned char) *p >= ' ' && (unsigned char) *p < 0x80 &&
		   *p != '"' && *p != '\\')
		p++;
	return p;
}

/* The first byte from p on that is no digit. */
static inline const char *
cdc_skip_digits(const char *p, const char *end)
{
#ifdef CDC_USE_SSE2
	const __m128i zero = _mm_set1_epi8('0');
	const __m128i nine = _mm_set1_epi8(9);

	while (end - p >= 16)
	{
		__m128i		digits = _mm_sub_epi8(_mm_loadu_si128((const __m128i *) p), zero);
		/* unsigned: what is below the zero is above the nine, too */
		int			mask = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(digits, nine),
															digits));

		if (mask != 0xFFFF)
			return p + __builtin_ctz(~(unsigned int) mask);
		p += 16;
	}
#endif
	while (p < end && cdc_is_digit(*p))
		p++;
	return p;
}

/* Are these many bytes the same?  Inlined, as most runs are short. */
static inline bool
cdc_same_run(const char *a, const char *b, size_t len)
{
	if (len >= CDC_LONG_RUN)
		return memcmp(a, b, len) == 0;
#ifdef CDC_USE_SSE2
	if (len >= 16)
	{
		__m128i		same;

		for (size_t i = 0; i + 16 < len; i += 16)
		{
			same = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *) (a + i)),
								  _mm_loadu_si128((const __m128i *) (b + i)));
			if (_mm_movemask_epi8(same) != 0xFFFF)
				return false;
		}
		/* the last 16, of which some may have been compared */
		same = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *) (a + len - 16)),
							  _mm_loadu_si128((const __m128i *) (b + len - 16)));
		return _mm_movemask_epi8(same) == 0xFFFF;
	}
#endif
	if (len >= 8)
	{
		uint64_t	x;
		uint64_t	y;

		for (size_t i = 0; i + 8 < len; i += 8)
		{
			memcpy(&x, a + i, 8);
			memcpy(&y, b + i, 8);
			if (x != y)
				return false;
		}
		memcpy(&x, a + len - 8, 8);
		memcpy(&y, b + len - 8, 8);
		return x == y;
	}
	if (len >= 4)
	{
		uint32_t	x[2];
		uint32_t	y[2];

		memcpy(&x[0], a, 4);
		memcpy(&x[1], a + len - 4, 4);
		memcpy(&y[0], b, 4);
		memcpy(&y[1], b + len - 4, 4);
		return x[0] == y[0] && x[1] == y[1];
	}
	for (size_t i = 0; i < len; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

#endif							/* CDC_JSON_BYTES_H */
