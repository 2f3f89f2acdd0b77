/*-------------------------------------------------------------------------
 *
 * unit_json.c
 *	  Unit tests of the JSON scanner.
 *
 *-------------------------------------------------------------------------
 */
#include "check.h"

#include "json.h"

typedef struct Case
{
	const char *text;
	size_t		len;
	bool		valid;
	int			met;
} Case;

#define GOOD(text) {text, sizeof(text) - 1, true, 0}
#define BAD(text) {text, sizeof(text) - 1, false, 0}
#define REFUSED(text, met) {text, sizeof(text) - 1, true, met}

static const Case cases[] = {
	/* values */
	GOOD("{}"), GOOD("[]"), GOOD("null"), GOOD("true"), GOOD("false"),
	GOOD("0"), GOOD("\"\""), GOOD(" \t\n\r[ ] \t\n\r"),
	GOOD("{\"a\":1,\"a\":2}"), GOOD("{\"\":{\"\":[[],{}]}}"),
	GOOD("[1,2 , 3\n,4]"), GOOD("{ \"a\" : [ true , false , null ] }"),
	BAD(""), BAD(" "), BAD("nul"), BAD("nulll"), BAD("True"), BAD("truefalse"),
	BAD("{} {}"), BAD("[] ,"), BAD("[1 2]"), BAD("[1,,2]"), BAD("[,1]"),
	BAD("[1,]"), BAD("{\"a\":1,}"), BAD("{,}"), BAD("{\"a\"}"),
	BAD("{\"a\":}"), BAD("{a:1}"), BAD("{1:1}"), BAD("{\"a\" 1}"),
	BAD("{\"a\":1 \"b\":2}"), BAD("["), BAD("]"), BAD("{"), BAD("}"),
	BAD("[}"), BAD("{]"), BAD("[[]"), BAD("{\"a\":{}"), BAD("'a'"),
	BAD("\xEF\xBB\xBF{}"), BAD("{}\0"), BAD("\0"), BAD("[\0]"), BAD("\v1"),
	BAD("\f1"), BAD("\xC2\xA0" "1"), BAD("/* */1"), BAD("NaN"), BAD("Infinity"),
	/* numbers */
	GOOD("-0"), GOOD("-1"), GOOD("0.0"), GOOD("1.5e10"), GOOD("1E+5"),
	GOOD("1e-5"), GOOD("0e0"), GOOD("123456789012345678901234567890"),
	GOOD("1e999"), GOOD("-0.0e-0"),
	BAD("-"), BAD("+1"), BAD("01"), BAD("-01"), BAD("00"), BAD("1."),
	BAD(".5"), BAD("1.e5"), BAD("1e"), BAD("1e+"), BAD("1e5.5"), BAD("0x10"),
	BAD("1_000"), BAD("1a"), BAD("--1"), BAD("[-]"), BAD("[1.]"), BAD("[1e]"),
	REFUSED("1e1000", CDC_JSON_BIG_NUMBER),
	REFUSED("[1E-200000]", CDC_JSON_BIG_NUMBER),
	/* strings */
	GOOD("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), GOOD("\"\\u0041\\uabCD\""),
	GOOD("\"\\ud83d\\ude00\""), GOOD("\"\x7f\""),
	GOOD("\"\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\""),
	GOOD("\"\xED\x9F\xBF\xEE\x80\x80\""),
	REFUSED("\"\\u0000\"", CDC_JSON_BAD_ESCAPE),
	REFUSED("\"\\ud83d\"", CDC_JSON_BAD_ESCAPE),
	REFUSED("\"\\ude00\"", CDC_JSON_BAD_ESCAPE),
	REFUSED("\"\\ud83d\\ud83d\\ude00\"", CDC_JSON_BAD_ESCAPE),
	REFUSED("\"\\ud83dx\\ude00\"", CDC_JSON_BAD_ESCAPE),
	REFUSED("{\"\\ud83d\\n\":1}", CDC_JSON_BAD_ESCAPE),
	BAD("\""), BAD("\"a"), BAD("\"\\\""), BAD("\"\\"), BAD("\"\\a\""),
	BAD("\"\\'\""), BAD("\"\\0\""), BAD("\"\\\0\""), BAD("\"\\u\""),
	BAD("\"\\u123\""), BAD("\"\\u123g\""), BAD("\"\\u12"), BAD("\"\\U0041\""),
	BAD("\"\\x41\""), BAD("\"\t\""), BAD("\"\n\""), BAD("\"\0\""),
	BAD("\"\x1f\""),
	/* what is not UTF-8 */
	BAD("\"\x80\""), BAD("\"\xBF\""), BAD("\"\xC0\x80\""), BAD("\"\xC1\xBF\""),
	BAD("\"\xC2\""), BAD("\"\xC2\x7F\""), BAD("\"\xE0\x9F\xBF\""),
	BAD("\"\xE1\x80\""), BAD("\"\xE1\x80\xC0\""), BAD("\"\xED\xA0\x80\""),
	BAD("\"\xED\xBF\xBF\""), BAD("\"\xF0\x8F\xBF\xBF\""),
	BAD("\"\xF0\x90\x80\""), BAD("\"\xF4\x90\x80\x80\""),
	BAD("\"\xF5\x80\x80\x80\""), BAD("\"\xFF\""), BAD("\"\xFE\""),
	BAD("\"\xC3\xA9\xC3\""),
};

static void
test_verdicts(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const Case *c = &cases[i];
		char	   *text = exact_copy(c->text, c->len);
		CdcScanner	scanner;
		CdcToken	token;
		bool		valid;

		cdc_scanner_init(&scanner, text, c->len);
		valid = cdc_scan_document(&scanner, &token);
		CHECK(valid == c->valid, "verdict %d on case %zu: %s", valid, i,
			  c->text);
		CHECK(valid == (scanner.error == NULL), "error of case %zu", i);
		if (valid)
			CHECK(scanner.met == c->met && scanner.depth == 0,
				  "met %d on %s", scanner.met, c->text);
		free(text);
	}
}

/* Strings of all lengths around the width of the vectors, a byte changed. */
static void
test_string_boundaries(void)
{
	static const char special[] = {'"', '\\', '\x1f', '\0', '\x80', '\xff'};

	for (size_t len = 0; len <= 70; len++)
	{
		for (size_t at = 0; at <= len; at++)
		{
			for (size_t s = 0; s < sizeof(special); s++)
			{
				char	   *text = malloc(len + 2);
				CdcScanner	scanner;
				CdcToken	token;
				bool		valid;

				memset(text, ' ' + (int) (len % 2), len + 2);
				for (size_t i = 1; i <= len; i++)
					text[i] = (i + s) % 3 ? '~' : ' ';
				text[0] = text[len + 1] = '"';
				if (at > 0)
					text[at] = special[s];
				cdc_scanner_init(&scanner, text, len + 2);
				valid = cdc_scan_document(&scanner, &token);
				CHECK(valid == (at == 0), "length %zu, byte %d at %zu", len,
					  special[s], at);
				if (valid)
					CHECK(token.len == len && token.text == text + 1,
						  "token of length %u for %zu", token.len, len);
				free(text);
			}
		}
	}
}

static void
test_depth(void)
{
	for (int depth = CDC_JSON_MAX_DEPTH - 1; depth <= CDC_JSON_MAX_DEPTH + 1;
		 depth++)
	{
		bool		fits = depth <= CDC_JSON_MAX_DEPTH;
		size_t		len = (size_t) depth * 2;
		char	   *text = malloc(len);
		CdcScanner	scanner;
		CdcToken	token;

		memset(text, '[', (size_t) depth);
		memset(text + depth, ']', (size_t) depth);
		cdc_scanner_init(&scanner, text, len);
		CHECK(cdc_scan_document(&scanner, &token) == fits, "depth %d", depth);
		CHECK(fits || strstr(scanner.error, "deep") != NULL,
			  "error of depth %d", depth);
		free(text);
	}
}

static void
test_tokens(void)
{
	static const char text[] =
		" {\"n\": -12, \"f\":1.50,\"s\":\"a\\nb\", \"o\":{\"x\":[1]} ,\"t\":true}";
	static const struct
	{
		const char *name;
		const char *value;
		int			kind;
		int			flags;
	}			expected[] = {
		{"n", "-12", CDC_JSON_NUMBER, CDC_JSON_INTEGER},
		{"f", "1.50", CDC_JSON_NUMBER, 0},
		{"s", "a\\nb", CDC_JSON_STRING, CDC_JSON_ESCAPED},
		{"o", "{\"x\":[1]}", CDC_JSON_OBJECT, 0},
		{"t", "true", CDC_JSON_TRUE, 0},
	};
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;
	size_t		n = 0;

	cdc_scanner_init(&scanner, text, sizeof(text) - 1);
	CHECK(cdc_scan_peek(&scanner) == '{', "peek");
	CHECK(cdc_scan_enter(&scanner), "enter");
	while (cdc_scan_member(&scanner, n == 0, &name) > 0)
	{
		CHECK(cdc_scan_value(&scanner, &value), "value %zu", n);
		CHECK(n < 5 && name.len == 1 && name.text[0] == expected[n].name[0] &&
			  value.kind == expected[n].kind &&
			  value.flags == expected[n].flags &&
			  value.len == strlen(expected[n].value) &&
			  memcmp(value.text, expected[n].value, value.len) == 0,
			  "member %zu is %.*s: %.*s", n, (int) name.len, name.text,
			  (int) value.len, value.text);
		n++;
	}
	CHECK(n == 5 && cdc_scan_finish(&scanner), "end after %zu members", n);
}

static void
test_known(void)
{
	static const char text[] = "{\"ab\":[1,2],\"c\":3}";
	CdcScanner	scanner;
	CdcToken	value;

	cdc_scanner_init(&scanner, text, sizeof(text) - 1);
	(void) cdc_scan_enter(&scanner);
	CHECK(!cdc_scan_expect(&scanner, true, "\"a\":", 4), "another name");
	CHECK(!cdc_scan_expect(&scanner, false, "\"ab\":", 5), "no comma yet");
	CHECK(cdc_scan_expect(&scanner, true, "\"ab\":", 5), "first name");
	CHECK(!cdc_scan_known(&scanner, "[1,3]", 5), "another value");
	CHECK(!cdc_scan_known(&scanner, "", 0), "no value");
	CHECK(cdc_scan_known(&scanner, "[1,2]", 5), "known value");
	CHECK(!cdc_scan_expect(&scanner, false, "\"c\":3}xxx", 9), "beyond the end");
	CHECK(cdc_scan_expect(&scanner, false, "\"c\":", 4), "second name");
	CHECK(cdc_scan_value(&scanner, &value) && value.text[0] == '3', "value");
	CHECK(cdc_scan_member(&scanner, false, &value) == 0, "end");
	CHECK(cdc_scan_finish(&scanner), "finish");
}

static void
check_unescape(const char *escaped, const char *expected)
{
	size_t		len = strlen(escaped);
	char	   *text = exact_copy(escaped, len);
	char	   *buf = malloc(len > 0 ? len : 1);
	CdcToken	token = {.text = text,.len = (uint32_t) len,.kind = CDC_JSON_STRING,.flags = CDC_JSON_ESCAPED};
	int			n = cdc_json_unescape(&token, buf);

	if (expected == NULL)
		CHECK(n == -1, "%s gives %d bytes", escaped, n);
	else
		CHECK(n == (int) strlen(expected) &&
			  memcmp(buf, expected, (size_t) n) == 0,
			  "%s gives %.*s", escaped, n > 0 ? n : 0, buf);
	free(text);
	free(buf);
}

static void
test_unescape(void)
{
	check_unescape("", "");
	check_unescape("plain", "plain");
	check_unescape("\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t");
	check_unescape("a\\u0041b\\u00e9\\u20AC", "aAb\xC3\xA9\xE2\x82\xAC");
	check_unescape("\\ud83d\\uDE00!", "\xF0\x9F\x98\x80!");
	check_unescape("\\udbff\\udfff", "\xF4\x8F\xBF\xBF");
	check_unescape("\\u0000", NULL);
	check_unescape("x\\ud83d", NULL);
	check_unescape("\\ude00x", NULL);
	check_unescape("\\ud83d\\u0041", NULL);
	check_unescape("\\ud83d\\n", NULL);
}

static void
check_int64(const char *text, bool ok, int64_t expected)
{
	CdcScanner	scanner;
	CdcToken	token;
	int64_t		value = 0;

	cdc_scanner_init(&scanner, text, strlen(text));
	CHECK(cdc_scan_document(&scanner, &token), "%s", text);
	CHECK(cdc_json_int64(&token, &value) == ok && value == expected,
		  "%s gives %lld", text, (long long) value);
}

static void
test_int64(void)
{
	check_int64("0", true, 0);
	check_int64("-0", true, 0);
	check_int64("-17", true, -17);
	check_int64("9223372036854775807", true, INT64_MAX);
	check_int64("9223372036854775808", false, 0);
	check_int64("-9223372036854775808", true, INT64_MIN);
	check_int64("-9223372036854775809", false, 0);
	check_int64("18446744073709551615", false, 0);
	check_int64("18446744073709551616", false, 0);
	check_int64("99999999999999999999999", false, 0);
	check_int64("1.0", false, 0);
	check_int64("1e3", false, 0);
	check_int64("\"1\"", false, 0);
	check_int64("null", false, 0);
}

int
main(void)
{
	test_verdicts();
	test_string_boundaries();
	test_depth();
	test_tokens();
	test_known();
	test_unescape();
	test_int64();
#ifdef CDC_NO_SIMD
	return check_result("unit_json (without SIMD)");
#else
	return check_result("unit_json");
#endif
}
