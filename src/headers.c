/*-------------------------------------------------------------------------
 *
 * headers.c
 *	  The headers of a Kafka record, from the flat form of CdcRecord.
 *
 * Pure functions over bytes.  Databases have the encoding UTF8.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"
#include "mb/pg_wchar.h"

#include "headers.h"

/* Take the next header off the front; false at the end. */
static bool
next_header(CdcBytes *rest, CdcBytes *name, CdcBytes *value)
{
	int32		value_len;

	if (rest->len == 0)
		return false;
	memcpy(&name->len, rest->data, sizeof(uint32));
	name->data = rest->data + sizeof(uint32);
	memcpy(&value_len, name->data + name->len, sizeof(int32));
	value->data = name->data + name->len + sizeof(int32);
	value->len = Max(value_len, 0);
	rest->len -= (value->data + value->len) - rest->data;
	rest->data = value->data + value->len;
	if (value_len < 0)
		value->data = NULL;
	return true;
}

static void
set_string(JsonbValue *result, const char *data, int len)
{
	result->type = jbvString;
	result->val.string.val = unconstify(char *, data);
	result->val.string.len = len;
}

/* In base64, for what a JSON string cannot hold. */
static void
set_base64(JsonbValue *result, CdcBytes bytes)
{
	int			size = pg_b64_enc_len(bytes.len);
	char	   *text = palloc(size + 1);
	int			len = pg_b64_encode((const void *) bytes.data, bytes.len, text,
									size);

	if (len < 0)
		elog(ERROR, "could not encode a header in base64");
	set_string(result, text, len);
}

/* Push a member; its key says whether the value is text or base64. */
static void
push_member(JsonbParseState **state, const char *key, const char *bytes_key,
			CdcBytes bytes)
{
	JsonbValue	name;
	JsonbValue	value;

	if (bytes.data == NULL)
		value.type = jbvNull;
	else if (pg_verify_mbstr(PG_UTF8, bytes.data, bytes.len, true))
		set_string(&value, bytes.data, bytes.len);
	else
	{
		key = bytes_key;
		set_base64(&value, bytes);
	}
	set_string(&name, key, strlen(key));
	pushJsonbValue(state, WJB_KEY, &name);
	pushJsonbValue(state, WJB_VALUE, &value);
}

Jsonb *
cdc_headers_to_jsonb(CdcBytes headers)
{
	JsonbParseState *state = NULL;
	CdcBytes	name;
	CdcBytes	value;

	if (headers.len == 0)
		return NULL;
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	while (next_header(&headers, &name, &value))
	{
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_member(&state, "key", "key_bytes", name);
		push_member(&state, "value", "bytes", value);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}
