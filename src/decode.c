/*-------------------------------------------------------------------------
 *
 * decode.c
 *	  SQL functions over the JSON of records: json_parse, can_json_parse,
 *	  cdc_decode.
 *
 * jsonb refuses some of what is valid JSON: \u0000 and lone surrogates, numbers
 * beyond numeric, more than 256 MB of elements.  Which of these is to be
 * feared the scanner tells.  Where it cannot prove that jsonb will take a
 * text, it is tried: json_parse() just lets the error out, the functions that
 * answer instead of raising catch it in a subtransaction, and are therefore
 * not parallel safe.
 *
 * Nothing here depends on the session; no locks, no SQL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "attempt.h"
#include "compat.h"
#include "envelope.h"

/*
 * A text of this length fits into a jsonb whatever is in it: an element takes
 * two bytes of text at least, and twelve of at most 256 MB in the jsonb.
 */
#define SAFE_LENGTH	(32 * 1024 * 1024)

PG_FUNCTION_INFO_V1(cdc_json_parse_bytea);
PG_FUNCTION_INFO_V1(cdc_json_parse_text);
PG_FUNCTION_INFO_V1(cdc_can_json_parse_bytea);
PG_FUNCTION_INFO_V1(cdc_can_json_parse_text);
PG_FUNCTION_INFO_V1(cdc_json_parse_or_null);
PG_FUNCTION_INFO_V1(cdc_decode);

/* What the scanner can say of jsonb's verdict on a text. */
typedef enum JsonbVerdict
{
	JSONB_REFUSES,
	JSONB_MAY_REFUSE,
	JSONB_ACCEPTS
} JsonbVerdict;

static JsonbVerdict
scan_for_jsonb(CdcScanner *scanner, const char *data, size_t len)
{
	CdcToken	token;

	if (GetDatabaseEncoding() != PG_UTF8)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("JSON of records can only be read in a database with encoding UTF8")));
	cdc_scanner_init(scanner, data, len);
	if (!cdc_scan_document(scanner, &token) ||
		(scanner->met & CDC_JSON_BAD_ESCAPE))
		return JSONB_REFUSES;
	if ((scanner->met & CDC_JSON_BIG_NUMBER) || len > SAFE_LENGTH)
		return JSONB_MAY_REFUSE;
	return JSONB_ACCEPTS;
}

/* Raise the error of a text that the scanner has found to be refused. */
static void
raise_refused(const CdcScanner *scanner)
{
	if (scanner->error)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid JSON: %s", scanner->error),
				 errdetail("The error is at byte %d.",
						   (int) (scanner->pos - scanner->start) + 1)));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("unsupported Unicode escape sequence in JSON"),
			 errdetail("\\u0000 and lone surrogates cannot be converted to text.")));
}

static Datum
call_jsonb_in(const char *data, size_t len)
{
	char	   *copy = pnstrdup(data, len);
	Datum		result = DirectFunctionCall1(jsonb_in, CStringGetDatum(copy));

	pfree(copy);
	return result;
}

/*
 * Does an error of jsonb's input tell that it cannot hold the value?  All
 * others (out of memory, cancel, stack depth) are of the system.  That there
 * are more elements than one allocation can hold comes as an internal error.
 */
static bool
is_refusal(const ErrorData *edata)
{
	return ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_DATA_EXCEPTION ||
		edata->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		edata->sqlerrcode == ERRCODE_INTERNAL_ERROR;
}

/* A text as jsonb, or error 22P02. */
static Datum
parse_or_raise(const char *data, size_t len)
{
	MemoryContext context = CurrentMemoryContext;
	CdcScanner	scanner;
	volatile Datum result = (Datum) 0;

	switch (scan_for_jsonb(&scanner, data, len))
	{
		case JSONB_REFUSES:
			raise_refused(&scanner);
			break;
		case JSONB_ACCEPTS:
			return call_jsonb_in(data, len);
		case JSONB_MAY_REFUSE:
			break;
	}

	PG_TRY();
	{
		result = call_jsonb_in(data, len);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		if (!is_refusal(edata))
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("JSON cannot be held by jsonb: %s", edata->message),
				 edata->detail ? errdetail_internal("%s", edata->detail) : 0));
	}
	PG_END_TRY();
	return result;
}

typedef struct JsonbCall
{
	const char *data;
	size_t		len;
	Datum		result;
} JsonbCall;

static bool
attempt_jsonb_in(void *arg)
{
	JsonbCall  *call = arg;

	call->result = call_jsonb_in(call->data, call->len);
	return true;
}

/* Try what only jsonb itself can tell; false if it refuses. */
static bool
try_jsonb_in(const char *data, size_t len, Datum *result)
{
	JsonbCall	call = {data, len};
	ErrorData  *edata;

	if (!cdc_attempt(attempt_jsonb_in, &call, is_refusal, &edata))
		return false;
	*result = call.result;
	return true;
}

static bool
can_parse(const char *data, size_t len)
{
	CdcScanner	scanner;
	JsonbVerdict verdict = scan_for_jsonb(&scanner, data, len);
	Datum		result;

	if (verdict != JSONB_MAY_REFUSE)
		return verdict == JSONB_ACCEPTS;
	if (!try_jsonb_in(data, len, &result))
		return false;
	pfree(DatumGetPointer(result));
	return true;
}

Datum
cdc_json_parse_bytea(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);

	return parse_or_raise(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

Datum
cdc_json_parse_text(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);

	return parse_or_raise(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

Datum
cdc_can_json_parse_bytea(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_BOOL(can_parse(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

Datum
cdc_can_json_parse_text(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(can_parse(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

/* json_parse() for the landing's view: NULL where that would raise. */
Datum
cdc_json_parse_or_null(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	const char *data = VARDATA_ANY(value);
	size_t		len = VARSIZE_ANY_EXHDR(value);
	CdcScanner	scanner;
	Datum		result;

	switch (scan_for_jsonb(&scanner, data, len))
	{
		case JSONB_ACCEPTS:
			return call_jsonb_in(data, len);
		case JSONB_MAY_REFUSE:
			if (try_jsonb_in(data, len, &result))
				return result;
			break;
		case JSONB_REFUSES:
			break;
	}
	PG_RETURN_NULL();
}

/* The session's decoder for cdc_decode(): no fields, whole objects only. */
static CdcDecoder *
session_decoder(void)
{
	static CdcDecoder *decoder = NULL;

	if (decoder == NULL)
		decoder = cdc_decoder_create(NULL, 0, NULL, 0, NULL);
	if (decoder == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return decoder;
}

static const char *
shape_name(CdcShape shape)
{
	switch (shape)
	{
		case CDC_SHAPE_HEARTBEAT:
			return "a heartbeat";
		case CDC_SHAPE_TRANSACTION:
			return "a record of the transaction topic";
		case CDC_SHAPE_SCHEMA_CHANGE:
			return "a record of the schema change topic";
		case CDC_SHAPE_NOTIFICATION:
			return "a record of the notification topic";
		case CDC_SHAPE_SIGNAL:
			return "a record of the signal topic";
		default:
			return "JSON of another form";
	}
}

static void
decode_change(const char *data, size_t len, CdcChange *change)
{
	CdcScanner	scanner;
	CdcToken	token;
	CdcDecodeError error;

	if (!cdc_decode_framing(&data, &len, &error))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("value is not JSON: %s", error.message)));
	cdc_scanner_init(&scanner, data, len);
	if (!cdc_scan_document(&scanner, &token))
		raise_refused(&scanner);
	if (!cdc_decode_value(session_decoder(), data, len, change, &error))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("value is not a Debezium change event: %s",
						error.message),
				 errdetail("The error is at byte %u.", error.offset + 1)));
	if (change->shape != CDC_SHAPE_CHANGE && change->shape != CDC_SHAPE_ROW &&
		change->shape != CDC_SHAPE_TOMBSTONE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("value is not a Debezium change event"),
				 change->format ? errdetail("It is in the format of %s.", change->format) :
				 errdetail("It is %s.", shape_name(change->shape)),
				 errhint("Use json_parse() to read other JSON.")));
}

/* A token as jsonb; SQL NULL for JSON null and for what is not there. */
static void
set_jsonb(const CdcToken *token, Datum *value, bool *isnull)
{
	const char *text = token->text;
	size_t		len = token->len;

	*isnull = token->kind == CDC_JSON_MISSING || token->kind == CDC_JSON_NULL;
	if (*isnull)
		return;
	if (token->kind == CDC_JSON_STRING)
	{
		text--;					/* its quotes belong to the value */
		len += 2;
	}
	*value = parse_or_raise(text, len);
}

Datum
cdc_decode(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	CdcChange	change;
	TupleDesc	desc;
	Datum		values[6] = {0};
	bool		nulls[6];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	decode_change(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), &change);

	memset(nulls, true, sizeof(nulls));
	if (change.shape != CDC_SHAPE_TOMBSTONE)
	{
		values[0] = PointerGetDatum(cstring_to_text_with_len(&change.op, 1));
		/* a row without metadata does not say what happened to it */
		nulls[0] = change.shape == CDC_SHAPE_ROW && !change.marked;
		values[1] = Int64GetDatum(change.ts_ms);
		nulls[1] = !change.has_ts_ms;
		set_jsonb(&change.before_json, &values[2], &nulls[2]);
		set_jsonb(&change.after_json, &values[3], &nulls[3]);
		set_jsonb(&change.source_json, &values[4], &nulls[4]);
		set_jsonb(&change.transaction_json, &values[5], &nulls[5]);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
