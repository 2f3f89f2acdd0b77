/*-------------------------------------------------------------------------
 *
 * unit_aws.c
 *	  Unit tests of AWS signatures, tokens of Amazon MSK and its addresses.
 *
 * The keys are those of AWS's public documentation.
 *
 *	unit_aws			run them
 *	unit_aws sign		read lines REGION TIME EXPIRES AGENT KEY SECRET [TOKEN]
 *						and print the expiry (ms) and the token of each; EXPIRES
 *						is 0 for credentials that last
 *	unit_aws headers	read lines METHOD HOST PATH REGION TIME BODY KEY SECRET
 *						[TOKEN] and print the value of the header Authorization
 *						of each; BODY is - for none
 *
 *-------------------------------------------------------------------------
 */
#include "check.h"

#include <inttypes.h>

#include <openssl/evp.h>

#include "msk_address.h"
#include "msk_iam.h"

#define KEY		"AKIDEXAMPLE"
#define SECRET	"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define MOMENT	1704164645		/* 2024-01-02 03:04:05 */

static CdcAwsCredentials credentials;

static void
set_credentials(char *token, int64_t expires)
{
	credentials.access_key = KEY;
	credentials.secret_key = SECRET;
	credentials.session_token = token;
	credentials.expires = expires;
}

/* Undo base64url; the result is malloc'ed. */
static char *
decoded(const char *token)
{
	size_t		len = strlen(token);
	char	   *padded = malloc(len + 5);
	char	   *result = calloc(1, len + 5);

	strcpy(padded, token);
	for (char *p = padded; *p; p++)
		*p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
	while (strlen(padded) % 4 != 0)
		strcat(padded, "=");
	if (EVP_DecodeBlock((unsigned char *) result, (unsigned char *) padded,
						strlen(padded)) < 0)
		result[0] = '\0';
	free(padded);
	return result;
}

static void
test_reference_token(void)
{
	static const char expected[] =
		"aHR0cHM6Ly9rYWZrYS51cy1lYXN0LTEuYW1hem9uYXdzLmNvbS8_QWN0aW9uPWthZmthLWNsdXN0ZXIlM0FDb25uZWN0JlgtQW16LUFsZ29yaXRobT1BV1M0LUhNQUMtU0hBMjU2JlgtQW16LUNyZWRlbnRpYWw9QUtJREVYQU1QTEUlMkYyMDI0MDEwMiUyRnVzLWVhc3QtMSUyRmthZmthLWNsdXN0ZXIlMkZhd3M0X3JlcXVlc3QmWC1BbXotRGF0ZT0yMDI0MDEwMlQwMzA0MDVaJlgtQW16LUV4cGlyZXM9OTAwJlgtQW16LVNpZ25lZEhlYWRlcnM9aG9zdCZYLUFtei1TaWduYXR1cmU9ZDk3NmE2MzMzNGIyZjYwZTY4MmJhNjUwMzJjZDllOTg1Y2M1MjVmOWJlODA5ZGJhNDk1OTg0Zjg2NjkxMDEyNCZVc2VyLUFnZW50PWNkY3N5bmMlMkYxLjA";
	CdcAwsText	token = {0};
	int64_t		expires = 0;

	set_credentials(NULL, 0);
	CHECK(cdc_msk_token_make(&credentials, "us-east-1", NULL, "cdcsync/1.0",
							 MOMENT, &token, &expires), "made");
	CHECK(token.len == 483 && strcmp(token.data, expected) == 0,
		  "token: %s", token.data);
	CHECK(expires == INT64_C(1704165545000), "expiry %" PRId64, expires);
	cdc_aws_text_free(&token);
	CHECK(token.data == NULL && token.len == 0, "freed");
}

/* AWS's documented example of a presigned address, for S3. */
static void
test_documented_signature(void)
{
	char		signature[CDC_AWS_SHA256_HEX + 1];
	CdcAwsText	request = {0};

	cdc_aws_append(&request, "GET\n/test.txt\n"
				   "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
				   "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\n"
				   "host:examplebucket.s3.amazonaws.com\n\nhost\nUNSIGNED-PAYLOAD");
	CHECK(cdc_aws_sign("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524T000000Z",
					   "us-east-1", "s3", &request, signature), "signed");
	CHECK(strcmp(signature, "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404") == 0,
		  "signature: %s", signature);
	cdc_aws_text_free(&request);
}

/* .. and of headers, get-vanilla of AWS's suite. */
static void
test_documented_headers(void)
{
	CdcAwsRequest request = {"GET", "example.amazonaws.com", "/", "service",
	"us-east-1", "", NULL};
	CdcAwsText	authorization = {0};

	credentials.access_key = "AKIDEXAMPLE";
	credentials.secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
	credentials.session_token = NULL;
	CHECK(cdc_aws_request_sign(&request, &credentials, "20150830T123600Z",
							   &authorization), "signed");
	CHECK(strcmp(authorization.data,
				 "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
				 " SignedHeaders=host;x-amz-date,"
				 " Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31") == 0,
		  "authorization: %s", authorization.data);
	cdc_aws_text_free(&authorization);
}

/* The parts of the token's address. */
static void
check_part(const char *url, const char *part)
{
	CHECK(strstr(url, part) != NULL, "\"%s\" not in %s", part, url);
}

static void
test_session_token(void)
{
	size_t		len = 2500;
	char	   *session = malloc(len + 1);
	CdcAwsText	token = {0};
	int64_t		expires;
	char	   *url;

	for (size_t i = 0; i < len; i++)
		session[i] = "/+=aZ9"[i % 6];
	session[len] = '\0';
	set_credentials(session, MOMENT + 600);
	CHECK(cdc_msk_token_make(&credentials, "eu-central-1", NULL, "cdcsync/1.0",
							 MOMENT, &token, &expires), "made");
	CHECK(token.len > 6000, "length %zu", token.len);
	CHECK(strpbrk(token.data, "+/=") == NULL, "base64url: %s", token.data);
	CHECK(expires == (MOMENT + INT64_C(600)) * 1000, "expiry %" PRId64, expires);
	url = decoded(token.data);
	check_part(url, "https://kafka.eu-central-1.amazonaws.com/?Action=");
	check_part(url, "&X-Amz-Expires=600&X-Amz-Security-Token=%2F%2B%3DaZ9%2F%2B%3DaZ9");
	check_part(url, "&X-Amz-SignedHeaders=host&X-Amz-Signature=");
	CHECK(strcmp(url + strlen(url) - strlen("&User-Agent=cdcsync%2F1.0"),
				 "&User-Agent=cdcsync%2F1.0") == 0, "the agent is last");
	free(url);
	free(session);
	cdc_aws_text_free(&token);
}

static void
test_expiry(void)
{
	static const struct
	{
		int64_t		left;
		int			lifetime;	/* 0: no token */
	}			cases[] = {{1, 1}, {899, 899}, {900, 900}, {901, 900}, {86400, 900}, {0, 0}, {-1, 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		CdcAwsText	token = {0};
		int64_t		expires = 0;
		bool		made;

		set_credentials(NULL, MOMENT + cases[i].left);
		made = cdc_msk_token_make(&credentials, "us-east-1", NULL, "a", MOMENT,
								  &token, &expires);
		CHECK(made == (cases[i].lifetime > 0), "%d s left", (int) cases[i].left);
		CHECK(!made || expires == (MOMENT + cases[i].lifetime) * INT64_C(1000),
			  "%d s left: expiry %" PRId64, (int) cases[i].left, expires);
		cdc_aws_text_free(&token);
	}
}

static void
test_host(void)
{
	CdcAwsText	token = {0};
	int64_t		expires;
	char	   *url;

	set_credentials(NULL, 0);
	CHECK(cdc_msk_token_make(&credentials, "us-east-1", "kafka.example.com", "a b",
							 MOMENT, &token, &expires), "made");
	url = decoded(token.data);
	check_part(url, "https://kafka.example.com/?Action=");
	check_part(url, "&User-Agent=a%20b");
	free(url);
	cdc_aws_text_free(&token);
}

static void
test_times(void)
{
	static const struct
	{
		int64_t		time;
		const char *stamp;		/* NULL: none */
	}			cases[] = {
		{0, "19700101T000000Z"},
		{-1, "19691231T235959Z"},
		{631152000, "19900101T000000Z"},
		{951782400, "20000229T000000Z"},
		{951868799, "20000229T235959Z"},
		{951868800, "20000301T000000Z"},
		{MOMENT, "20240102T030405Z"},
		{2147483647, "20380119T031407Z"},
		{INT64_C(2147483648), "20380119T031408Z"},
		{INT64_C(4107542400), "21000301T000000Z"},
		{INT64_C(4107456000), "21000228T000000Z"},
		{INT64_C(253402300799), "99991231T235959Z"},
		{INT64_C(253402300800), NULL},
		{INT64_C(-62167219200), "00000101T000000Z"},
		{INT64_C(-62167219201), NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char		stamp[CDC_AWS_TIME_LEN + 1] = "";
		bool		ok = cdc_aws_time_format(cases[i].time, stamp);

		CHECK(ok == (cases[i].stamp != NULL), "%" PRId64, cases[i].time);
		CHECK(!ok || strcmp(stamp, cases[i].stamp) == 0, "%" PRId64 ": %s",
			  cases[i].time, stamp);
	}
}

static void
test_encoding(void)
{
	CdcAwsText	text = {0};

	cdc_aws_append_encoded(&text, "aZ09-._~ /+=&%\xc3\xa9*");
	CHECK(strcmp(text.data, "aZ09-._~%20%2F%2B%3D%26%25%C3%A9%2A") == 0,
		  "encoded: %s", text.data);
	cdc_aws_text_free(&text);
	cdc_aws_append_base64url(&text, "\xfb\xff", 2);
	cdc_aws_append(&text, " ");
	cdc_aws_append_base64url(&text, "a", 1);
	cdc_aws_append(&text, " ");
	cdc_aws_append_base64url(&text, "abc", 3);
	CHECK(strcmp(text.data, "-_8 YQ YWJj") == 0, "base64url: %s", text.data);
	cdc_aws_text_free(&text);
}

static void
test_addresses(void)
{
	static const struct
	{
		const char *addresses;
		CdcMskAccess access;
		const char *region;		/* NULL: refused */
	}			cases[] = {
		{"localhost:9098", CDC_MSK_UNKNOWN, ""},
		{"kafka.example.com:9098", CDC_MSK_UNKNOWN, ""},
		{"b-1.c.x1.c2.kafka.us-east-1.amazonaws.com:9092", CDC_MSK_PLAINTEXT, "us-east-1"},
		{"b-1.c.x1.c2.kafka.us-east-1.amazonaws.com", CDC_MSK_PLAINTEXT, "us-east-1"},
		{"b-1.c.x1.c2.kafka.us-east-1.amazonaws.com:20092", CDC_MSK_PLAINTEXT, "us-east-1"},
		{"b-1.c.x1.c2.kafka.us-east-1.amazonaws.com:9094", CDC_MSK_TLS, "us-east-1"},
		{"b-1-public.c.x1.c2.kafka.us-east-1.amazonaws.com:9194", CDC_MSK_TLS, "us-east-1"},
		{"b-1.c.x1.c2.kafka.us-east-1.amazonaws.com:20094", CDC_MSK_TLS, "us-east-1"},
		{"b-1.c.x1.c2.kafka.us-east-1.amazonaws.com:9096", CDC_MSK_SCRAM, "us-east-1"},
		{"b-1.c.x1.c2.kafka.us-east-1.amazonaws.com:9196", CDC_MSK_SCRAM, "us-east-1"},
		{"b-1.c.x1.c2.kafka.us-east-1.amazonaws.com:20096", CDC_MSK_SCRAM, "us-east-1"},
		{"B-1.C.X1.C2.KAFKA.eu-central-1.AmazonAWS.com:9098", CDC_MSK_IAM, "eu-central-1"},
		{"b-1.c.x1.c2.kafka.us-east-1.amazonaws.com:9198", CDC_MSK_IAM, "us-east-1"},
		{"b-1.c.x1.c2.kafka.us-east-1.amazonaws.com:20098", CDC_MSK_IAM, "us-east-1"},
		{"b-1.c.x1.c2.kafka.us-east-1.amazonaws.com:14001", CDC_MSK_UNKNOWN, "us-east-1"},
		{"boot-abc.c1.kafka-serverless.ap-south-2.amazonaws.com:9098", CDC_MSK_IAM, "ap-south-2"},
		{"vpce-0a-b.x1.kafka.us-gov-west-1.vpce.amazonaws.com:9098", CDC_MSK_IAM, "us-gov-west-1"},
		{"b-1.c.x1.c2.kafka.cn-north-1.amazonaws.com.cn:9098", CDC_MSK_IAM, "cn-north-1"},
		{"kafka.us-east-1.amazonaws.com.example.org:9098", CDC_MSK_UNKNOWN, ""},
		{"kafka.us_east.amazonaws.com:9098", CDC_MSK_UNKNOWN, ""},
		{"b-1.kafka.eu-west-1.amazonaws.com:9098, b-2.kafka.eu-west-1.amazonaws.com:9098",
		CDC_MSK_IAM, "eu-west-1"},
		{"b-1.kafka.eu-west-1.amazonaws.com:9098,b-2.kafka.eu-west-1.amazonaws.com:9096",
		CDC_MSK_MIXED, "eu-west-1"},
		{"b-1.kafka.eu-west-1.amazonaws.com:9098,localhost:9098", CDC_MSK_MIXED, "eu-west-1"},
		{"b-1.kafka.eu-west-1.amazonaws.com:9098,b-2.kafka.us-east-1.amazonaws.com:9098",
		CDC_MSK_UNKNOWN, NULL},
		{"[::1]:9098,[fe80::1]", CDC_MSK_UNKNOWN, ""},
		{"", CDC_MSK_UNKNOWN, ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char	   *copy = exact_copy(cases[i].addresses, strlen(cases[i].addresses) + 1);
		char		region[CDC_MSK_REGION_MAX + 1];
		CdcMskAccess access;
		bool		ok = cdc_msk_addresses_read(copy, &access, region);

		CHECK(ok == (cases[i].region != NULL), "%s", copy);
		CHECK(!ok || (access == cases[i].access && strcmp(region, cases[i].region) == 0),
			  "%s: %d, \"%s\"", copy, access, region);
		free(copy);
	}
}

/* The words of a line; those that are missing are NULL. */
static int
split_line(char *line, char **fields, int max)
{
	int			n = 0;

	for (char *p = strtok(line, " \n"); p && n < max; p = strtok(NULL, " \n"))
		fields[n++] = p;
	for (int i = n; i < max; i++)
		fields[i] = NULL;
	return n;
}

/* One header a line. */
static int
sign_headers(void)
{
	static char line[65536];
	char	   *field[9];

	while (fgets(line, sizeof(line), stdin))
	{
		CdcAwsText	text = {0};
		char		stamp[CDC_AWS_TIME_LEN + 1];
		CdcAwsRequest request;

		if (split_line(line, field, 9) < 8 ||
			!cdc_aws_time_format(strtoll(field[4], NULL, 10), stamp))
			return 1;
		request.method = field[0];
		request.host = field[1];
		request.path = field[2];
		request.service = "service";
		request.region = field[3];
		request.body = strcmp(field[5], "-") == 0 ? "" : field[5];
		request.content_type = request.body[0] ? "text/x" : NULL;
		credentials.access_key = field[6];
		credentials.secret_key = field[7];
		credentials.session_token = field[8];
		if (!cdc_aws_request_sign(&request, &credentials, stamp, &text))
			return 1;
		printf("%s\n", text.data);
		cdc_aws_text_free(&text);
	}
	return 0;
}

/* One token a line, for comparison with another signer. */
static int
sign_lines(void)
{
	static char line[65536];
	char	   *field[7];

	while (fgets(line, sizeof(line), stdin))
	{
		CdcAwsText	token = {0};
		int64_t		expires;

		if (split_line(line, field, 7) < 6)
			return 1;
		credentials.access_key = field[4];
		credentials.secret_key = field[5];
		credentials.session_token = field[6];
		credentials.expires = strtoll(field[2], NULL, 10);
		if (!cdc_msk_token_make(&credentials, field[0], NULL, field[3],
								strtoll(field[1], NULL, 10), &token, &expires))
			printf("none\n");
		else
			printf("%" PRId64 " %s\n", expires, token.data);
		cdc_aws_text_free(&token);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "sign") == 0)
		return sign_lines();
	if (argc > 1 && strcmp(argv[1], "headers") == 0)
		return sign_headers();
	test_reference_token();
	test_documented_signature();
	test_documented_headers();
	test_session_token();
	test_expiry();
	test_host();
	test_times();
	test_encoding();
	test_addresses();
	return check_result("unit_aws");
}
