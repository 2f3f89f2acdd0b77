/*-------------------------------------------------------------------------
 *
 * infer.c
 *	  Fields and key of the rows, taken from a sample of the events.
 *
 * A sample of the topic (or landing) is decoded.  Where the events carry their
 * schema, it tells the types; else the JSON values do, as far as they can: no
 * integer says whether it is a date.
 *
 * Reads as the current user, in the caller's transaction; no lock but those of
 * the statements.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "filter.h"
#include "infer.h"
#include "sample_row.h"

/* What is looked at, at most. */
#define SAMPLE_RECORDS	1000
#define SAMPLE_READ		10000	/* with tombstones, which tell nothing */
#define SAMPLE_BYTES	(64 * 1024 * 1024)
#define FETCH_RECORDS	10

typedef struct SampleField
{
	char	   *name;
	int			len;
	int			seen;
	int			proofs;			/* as in CdcInferredField */
} SampleField;

struct CdcSample
{
	MemoryContext context;		/* of the result */
	MemoryContextCallback callback;
	CdcInferred *result;
	CdcSampling how;
	CdcDecoder *decoder;
	bool		marked;			/* rows have metadata of the flattening transform */
	CdcSchema  *schema;			/* of the newest record that has one */
	int64		schema_ts_ms;
	CdcConnector connector;
	List	   *fields;			/* SampleField * */
	Size		bytes;
};

/*
 * Types by the schema
 */

static bool
token_is(const CdcToken *token, const char *text)
{
	return token->kind == CDC_JSON_STRING && token->len == strlen(text) &&
		memcmp(token->text, text, token->len) == 0;
}

typedef struct WireType
{
	const char *name;
	const char *type;
} WireType;

/*
 * xml and ltree become text: servers can be without xml, and ltree is an
 * extension.  A geometry's struct is kept whole.
 */
static const WireType logical_types[] = {
	{"io.debezium.data.VariableScaleDecimal", "numeric"},
	{"org.apache.kafka.connect.data.Date", "date"},
	{"org.apache.kafka.connect.data.Time", "time(3)"},
	{"org.apache.kafka.connect.data.Timestamp", "timestamp(3)"},
	{"io.debezium.time.Date", "date"},
	{"io.debezium.time.Time", "time(3)"},
	{"io.debezium.time.MicroTime", "time"},
	{"io.debezium.time.NanoTime", "time"},
	{"io.debezium.time.Timestamp", "timestamp(3)"},
	{"io.debezium.time.MicroTimestamp", "timestamp"},
	{"io.debezium.time.NanoTimestamp", "timestamp"},
	{"io.debezium.time.ZonedTimestamp", "timestamptz"},
	{"io.debezium.time.ZonedTime", "timetz"},
	{"io.debezium.time.IsoDate", "date"},
	{"io.debezium.time.IsoTime", "time"},
	{"io.debezium.time.IsoTimestamp", "timestamp"},
	{"io.debezium.time.MicroDuration", "interval"},
	{"io.debezium.time.NanoDuration", "interval"},
	{"io.debezium.time.Interval", "interval"},
	{"io.debezium.data.Json", "jsonb"},
	{"io.debezium.data.Uuid", "uuid"},
	{"io.debezium.data.Tsvector", "tsvector"},
	{"io.debezium.data.geometry.Point", "point"},
	{"io.debezium.data.FloatVector", "real[]"},
	{"io.debezium.data.DoubleVector", "double precision[]"},
	{NULL, NULL}
};

static const WireType plain_types[] = {
	{"boolean", "boolean"},
	{"int8", "smallint"},
	{"int16", "smallint"},
	{"int32", "integer"},
	{"int64", "bigint"},
	{"float", "real"},
	{"float32", "real"},
	{"double", "double precision"},
	{"float64", "double precision"},
	{"string", "text"},
	{"bytes", "bytea"},
	{NULL, NULL}
};

static const char *
find_type(const WireType *types, const CdcToken *name)
{
	for (; types->name; types++)
		if (token_is(name, types->name))
			return types->type;
	return NULL;
}

static char *
decimal_type(const CdcSchemaField *field)
{
	if (field->has_scale && field->precision >= 1 && field->precision <= 1000 &&
		field->scale >= 0 && field->scale <= field->precision)
		return psprintf("numeric(%d,%d)", field->precision, field->scale);
	return "numeric";
}

/*
 * MySQL's BIT(n) is a bit(n).  PostgreSQL's bit(n) and varbit(n) look alike,
 * and reading one as the other adds or drops zeros: unless the source's type is
 * given, we keep the bytes.
 */
static char *
bits_type(const CdcSchemaField *field, CdcConnector connector, bool *guessed)
{
	bool		limited = field->length > 0 && field->length <= 83886080;

	if (limited && (connector == CDC_CONNECTOR_MYSQL ||
					token_is(&field->source_type, "BIT")))
		return psprintf("bit(%d)", field->length);
	if (token_is(&field->source_type, "VARBIT"))
		return limited ? psprintf("varbit(%d)", field->length) : "varbit";
	if (!limited && connector == CDC_CONNECTOR_POSTGRESQL)
		return "varbit";
	*guessed = true;
	return "bytea";
}

const char *
cdc_infer_type(const CdcSchemaField *field, CdcConnector connector, bool *guessed)
{
	const char *type;

	if (token_is(&field->logical, "org.apache.kafka.connect.data.Decimal"))
		return decimal_type(field);
	if (token_is(&field->logical, "io.debezium.data.Bits"))
		return bits_type(field, connector, guessed);
	/* from 2^63 on it comes as a negative number */
	if (cdc_schema_is_unsigned_bigint(field))
		return "numeric(20,0)";
	/* MySQL's TIME goes from -838 to 838 hours */
	if (connector == CDC_CONNECTOR_MYSQL &&
		token_is(&field->logical, "io.debezium.time.MicroTime"))
		return "interval";
	if ((type = find_type(logical_types, &field->logical)) != NULL ||
		(type = find_type(plain_types, &field->type)) != NULL)
		return type;
	if (token_is(&field->type, "array") && field->item_type.kind == CDC_JSON_STRING)
	{
		CdcSchemaField item = {.type = field->item_type,.logical = field->item_logical,
			.has_scale = field->item_has_scale,.scale = field->item_scale
		};

		type = cdc_infer_type(&item, connector, guessed);
		if (strcmp(type, "jsonb") != 0 || token_is(&item.logical, "io.debezium.data.Json"))
			return psprintf("%s[]", type);
	}
	return "jsonb";				/* struct, map, array of these */
}

static CdcToken
copy_token(const CdcToken *token)
{
	CdcToken	copy = *token;

	if (token->kind != CDC_JSON_MISSING)
		copy.text = pnstrdup(token->text, token->len);
	return copy;
}

/* A copy that outlives the schema; without the default value. */
static CdcSchemaField *
copy_schema_field(const CdcSchemaField *from)
{
	CdcSchemaField *field = palloc(sizeof(*field));

	*field = *from;
	field->name = copy_token(&from->name);
	field->type = copy_token(&from->type);
	field->logical = copy_token(&from->logical);
	memset(&field->default_value, 0, sizeof(CdcToken));
	field->source_type = copy_token(&from->source_type);
	field->allowed = copy_token(&from->allowed);
	field->item_type = copy_token(&from->item_type);
	field->item_logical = copy_token(&from->item_logical);
	return field;
}

static void
fields_from_schema(CdcSample *sample)
{
	MemoryContext old = MemoryContextSwitchTo(sample->context);

	for (int i = 0; i < sample->schema->nfields; i++)
	{
		const CdcSchemaField *from = &sample->schema->fields[i];
		CdcInferredField *field = palloc0(sizeof(*field));

		field->name = pnstrdup(from->name.text, from->name.len);
		field->type = pstrdup(cdc_infer_type(from, sample->connector, &field->guessed));
		field->notnull = !from->optional;
		field->schema = copy_schema_field(from);
		sample->result->fields = lappend(sample->result->fields, field);
	}
	MemoryContextSwitchTo(old);
}

/*
 * Types by the values
 */

static const char *
guess_type(int seen)
{
	switch (seen)
	{
		case CDC_SEEN_INTEGER:
			return "bigint";
		case CDC_SEEN_BOOL:
			return "boolean";
		case CDC_SEEN_NESTED:
			return "jsonb";
		case CDC_SEEN_TIME:
			return "timestamptz";
		case CDC_SEEN_UUID:
			return "uuid";
		case CDC_SEEN_BYTES:
			return "bytea";
		default:
			break;
	}
	if (seen != 0 && (seen & ~(CDC_SEEN_INTEGER | CDC_SEEN_BIG | CDC_SEEN_FRACTION)) == 0)
		return "numeric";
	return "text";				/* strings, a mixture, or nothing but nulls */
}

static void
fields_from_values(CdcSample *sample)
{
	MemoryContext old = MemoryContextSwitchTo(sample->context);
	ListCell   *lc;

	foreach(lc, sample->fields)
	{
		const SampleField *from = lfirst(lc);
		CdcInferredField *field = palloc0(sizeof(*field));

		field->name = from->name;
		field->type = pstrdup(guess_type(from->seen));
		field->guessed = true;
		field->proofs = from->proofs;
		field->integers = from->seen == CDC_SEEN_INTEGER;
		sample->result->fields = lappend(sample->result->fields, field);
	}
	MemoryContextSwitchTo(old);
}

/* What a string proves of its encoding, as a number and as bytes. */
static int
proofs(const CdcToken *value)
{
	if (value->kind != CDC_JSON_STRING || (value->flags & CDC_JSON_ESCAPED))
		return 0;
	return (1 << cdc_decimal_proof(value->text, value->len)) |
		(1 << cdc_bytes_proof(value->text, value->len));
}

/* A member's name, or NULL if no PostgreSQL text can hold it. */
static char *
member_name(const CdcToken *name, int *len)
{
	char	   *text = palloc(name->len + 1);

	*len = cdc_json_unescape(name, text);
	if (*len < 0)
		return NULL;
	text[*len] = '\0';
	return text;
}

/* The field of that name, mostly the i-th; made if it is new. */
static SampleField *
sample_field(CdcSample *sample, int i, const char *name, int len)
{
	SampleField *field;
	MemoryContext old;
	ListCell   *lc;

	if (i < list_length(sample->fields))
	{
		field = list_nth(sample->fields, i);
		if (field->len == len && memcmp(field->name, name, len) == 0)
			return field;
	}
	foreach(lc, sample->fields)
	{
		field = lfirst(lc);
		if (field->len == len && memcmp(field->name, name, len) == 0)
			return field;
	}
	old = MemoryContextSwitchTo(sample->context);
	field = palloc0(sizeof(*field));
	field->name = pnstrdup(name, len);
	field->len = len;
	sample->fields = lappend(sample->fields, field);
	MemoryContextSwitchTo(old);
	return field;
}

static void
look_at_row(CdcSample *sample, const CdcToken *row, const CdcChange *change)
{
	CdcScanner	scanner;
	CdcToken	token;
	CdcToken	value;

	cdc_scanner_init(&scanner, row->text, row->len);
	if (cdc_scan_peek(&scanner) != '{' || !cdc_scan_enter(&scanner))
		return;
	for (int i = 0; cdc_scan_member(&scanner, i == 0, &token) == 1; i++)
	{
		int			len;
		char	   *name = member_name(&token, &len);

		if (!cdc_scan_value(&scanner, &value))
			return;
		if (name)
		{
			SampleField *field = sample_field(sample, i, name, len);

			field->seen |= cdc_sample_kind(&value, change);
			field->proofs |= proofs(&value);
		}
	}
}

/*
 * The sample
 */

/* Keep the schema of the record that is the newest at the source. */
static void
look_at_schema(CdcSample *sample, const CdcChange *change)
{
	int64		ts_ms = change->has_source_ts_ms ? change->source_ts_ms : 0;
	CdcDecodeError error;
	CdcSchema  *schema;

	if (change->schema == NULL)
		return;
	if (sample->schema && ts_ms < sample->schema_ts_ms)
		return;
	sample->schema_ts_ms = ts_ms;
	if (sample->schema && sample->schema->len == change->schema_len &&
		memcmp(sample->schema->text, change->schema, change->schema_len) == 0)
		return;
	schema = cdc_schema_parse(change->schema, change->schema_len, &error);
	if (schema == NULL)
		return;
	cdc_schema_free(sample->schema);
	sample->schema = schema;
}

/* The object inside of {"schema":..,"payload":{..}}, or the object itself. */
static bool
key_object(const CdcToken *key, CdcToken *object)
{
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;
	bool		wrapped = false;
	int			nmembers = 0;

	*object = *key;
	if (key->kind != CDC_JSON_OBJECT)
		return false;
	cdc_scanner_init(&scanner, key->text, key->len);
	(void) cdc_scan_peek(&scanner);
	if (!cdc_scan_enter(&scanner))
		return false;
	while (cdc_scan_member(&scanner, nmembers == 0, &name) == 1)
	{
		if (!cdc_scan_value(&scanner, &value))
			return false;
		nmembers++;
		if (token_is(&name, "payload"))
			*object = value;
		else if (token_is(&name, "schema") &&
				 (value.kind == CDC_JSON_OBJECT || value.kind == CDC_JSON_NULL))
			wrapped = true;
	}
	if (!wrapped || nmembers != 2)
		*object = *key;
	return object->kind == CDC_JSON_OBJECT;
}

/* The record's key fields, from the first key that is an object. */
static void
look_at_key(CdcSample *sample, const char *key, int len)
{
	CdcScanner	scanner;
	CdcToken	document;
	CdcToken	token;
	bool		first = true;
	size_t		key_len = len;
	CdcDecodeError error;
	MemoryContext old;

	if (!cdc_decode_framing(&key, &key_len, &error))
		return;
	cdc_scanner_init(&scanner, key, key_len);
	if (sample->result->key != NIL ||
		!cdc_scan_document(&scanner, &document) ||
		!key_object(&document, &token))
		return;
	cdc_scanner_init(&scanner, token.text, token.len);
	(void) cdc_scan_peek(&scanner);
	if (!cdc_scan_enter(&scanner))
		return;
	old = MemoryContextSwitchTo(sample->context);
	while (cdc_scan_member(&scanner, first, &token) == 1)
	{
		int			name_len;
		char	   *name = member_name(&token, &name_len);

		if (!cdc_scan_value(&scanner, &token))
			break;
		if (name)
			sample->result->key = lappend(sample->result->key, name);
		first = false;
	}
	MemoryContextSwitchTo(old);
}

/*
 * A record that is no change of a row.  A tombstone, a truncate, a change
 * without images say nothing of what the topic holds but that it is a table's.
 */
static void
look_at_other(CdcInferred *result, const CdcChange *change, bool decoded)
{
	if (decoded && (change->shape == CDC_SHAPE_TOMBSTONE ||
					(change->shape == CDC_SHAPE_CHANGE && change->op != 'm')))
		return;
	if (result->nothers++ == 0)
		result->other = decoded ? change->shape : CDC_SHAPE_OTHER;
}

/* Does the filter leave it in? */
static bool
is_wanted(const CdcSample *sample, const CdcChange *change)
{
	return (change->shape != CDC_SHAPE_CHANGE &&
			change->shape != CDC_SHAPE_ROW) ||
		cdc_filter_apply(sample->how.filter, change->source) > 0;
}

/* Does the record have a row of a table? */
static bool
has_row(const CdcSample *sample, const CdcChange *change, CdcBytes key)
{
	const char *text = key.data;
	size_t		len = key.len;
	CdcDecodeError error;
	CdcScanner	scanner;
	CdcToken	document = {0};
	CdcToken	object = {0};

	if (change->shape == CDC_SHAPE_CHANGE)
		return (change->has_after && !change->partial) || change->has_before;
	if (change->shape != CDC_SHAPE_ROW ||
		sample->how.read_as == CDC_READ_ENVELOPE)
		return false;
	if (sample->how.read_as != CDC_READ_AUTO)
		return change->after_json.kind == CDC_JSON_OBJECT ||
			change->before_json.kind == CDC_JSON_OBJECT;
	if (text && cdc_decode_framing(&text, &len, &error))
	{
		cdc_scanner_init(&scanner, text, len);
		if (!cdc_scan_document(&scanner, &document) ||
			!key_object(&document, &object))
			memset(&object, 0, sizeof(object));
	}
	return cdc_sample_is_row(change, &object);
}

/* MongoDB's key is the document's _id, whatever its own field is called. */
static void
look_at_document_key(CdcSample *sample)
{
	MemoryContext old = MemoryContextSwitchTo(sample->context);

	if (sample->result->key == NIL)
		sample->result->key = list_make1(pstrdup("_id"));
	MemoryContextSwitchTo(old);
}

bool
cdc_sample_add(CdcSample *sample, CdcBytes key, CdcBytes value)
{
	CdcInferred *result = sample->result;
	CdcChange	change;
	CdcDecodeError error;
	bool		decoded;

	if (++result->nread >= SAMPLE_READ)
		return false;
	if (value.data == NULL)
		return true;
	sample->bytes += value.len;
	decoded = cdc_decode_value(sample->decoder, value.data, value.len, &change,
							   &error);
	if (decoded && !is_wanted(sample, &change))
		return true;
	if (decoded && has_row(sample, &change, key))
	{
		result->nrecords++;
		sample->marked |= change.marked;
		if (sample->connector == CDC_CONNECTOR_UNKNOWN)
			sample->connector = cdc_connector_of(&change.connector);
		look_at_schema(sample, &change);
		look_at_row(sample, change.has_after ? &change.after_json : &change.before_json,
					&change);
		if (change.document)
			look_at_document_key(sample);
		else if (key.data)
			look_at_key(sample, key.data, key.len);
	}
	else
		look_at_other(result, &change, decoded);
	return result->nrecords + result->nothers < SAMPLE_RECORDS &&
		sample->bytes < SAMPLE_BYTES;
}

static CdcBytes
datum_bytes(Datum value, bool isnull)
{
	CdcBytes	bytes = {NULL, 0};

	if (!isnull)
	{
		bytea	   *data = DatumGetByteaPP(value);

		bytes.data = VARDATA_ANY(data);
		bytes.len = VARSIZE_ANY_EXHDR(data);
	}
	return bytes;
}

static void
take_sample(CdcSample *sample, Oid relation)
{
	CdcSpi		spi;
	Portal		portal;
	MemoryContext row_context;
	char	   *sql;
	uint64		nread = 0;
	bool		more = true;

	/* the view is its owner's, who may have given it other columns of these names */
	sql = psprintf("SELECT kafka_key::bytea, kafka_value::bytea FROM %s WHERE kafka_value IS NOT NULL",
				   cdc_qualified_name(relation));
	row_context = AllocSetContextCreate(CurrentMemoryContext,
										"cdcsync sample record",
										ALLOCSET_DEFAULT_SIZES);
	cdc_spi_begin(&spi, NULL);
	portal = SPI_cursor_open_with_args(NULL, sql, 0, NULL, NULL, NULL, false, 0);
	do
	{
		SPI_cursor_fetch(portal, true, FETCH_RECORDS);
		nread = SPI_processed;
		for (uint64 i = 0; i < nread && more; i++)
		{
			bool		key_isnull;
			bool		isnull;
			Datum		key = cdc_spi_value(i, 1, &key_isnull);
			Datum		value = cdc_spi_value(i, 2, &isnull);
			MemoryContext old = MemoryContextSwitchTo(row_context);

			more = cdc_sample_add(sample, datum_bytes(key, key_isnull),
								  datum_bytes(value, isnull));
			MemoryContextSwitchTo(old);
			MemoryContextReset(row_context);
			CHECK_FOR_INTERRUPTS();
		}
		SPI_freetuptable(SPI_tuptable);
	} while (nread > 0 && more);
	SPI_cursor_close(portal);
	cdc_spi_end(&spi);
	MemoryContextDelete(row_context);
}

CdcInferredField *
cdc_infer_find(const CdcInferred *inferred, const char *name)
{
	ListCell   *lc;

	foreach(lc, inferred->fields)
	{
		CdcInferredField *field = lfirst(lc);

		if (strcmp(field->name, name) == 0)
			return field;
	}
	foreach(lc, inferred->fields)
	{
		CdcInferredField *field = lfirst(lc);

		if (pg_strcasecmp(field->name, name) == 0)
			return field;
	}
	return NULL;
}

/* What the flattening transform adds to a row says of it, and is no part of it. */
static void
drop_metadata(CdcSample *sample)
{
	List	   *fields = NIL;
	ListCell   *lc;

	if (!sample->marked)
		return;
	foreach(lc, sample->result->fields)
		if (!cdc_sample_is_metadata(((CdcInferredField *) lfirst(lc))->name,
									sample->how.prefix))
			fields = lappend(fields, lfirst(lc));
	sample->result->fields = fields;
}

/* Key fields that the row does not have were put there by a transform. */
static void
drop_foreign_keys(CdcInferred *inferred)
{
	List	   *key = NIL;
	ListCell   *lc;

	foreach(lc, inferred->key)
	{
		if (cdc_infer_find(inferred, lfirst(lc)) != NULL)
			key = lappend(key, lfirst(lc));
	}
	inferred->key = key;
}

/* The decoder and the schema are not in PostgreSQL's memory. */
static void
free_sample(void *arg)
{
	CdcSample  *sample = arg;

	cdc_decoder_free(sample->decoder);
	cdc_schema_free(sample->schema);
	sample->decoder = NULL;
	sample->schema = NULL;
}

/* A decoder that looks for the fields of the filter. */
static CdcDecoder *
make_decoder(const CdcSampling *how)
{
	int			n = list_length(how->filter);
	CdcField   *fields = palloc0(sizeof(CdcField) * Max(n, 1));
	ListCell   *lc;

	foreach(lc, how->filter)
	{
		CdcField   *field = &fields[foreach_current_index(lc)];

		field->name = ((CdcFilterTerm *) lfirst(lc))->field;
		field->len = strlen(field->name);
	}
	return cdc_decoder_create(NULL, 0, fields, n, NULL);
}

CdcSample *
cdc_sample_begin(const CdcSampling *how)
{
	CdcSample  *sample = palloc0(sizeof(CdcSample));

	sample->context = CurrentMemoryContext;
	sample->result = palloc0(sizeof(CdcInferred));
	sample->callback.func = free_sample;
	sample->callback.arg = sample;
	MemoryContextRegisterResetCallback(sample->context, &sample->callback);
	sample->how = *how;
	sample->decoder = make_decoder(how);
	if (sample->decoder == NULL ||
		!cdc_decoder_read_as(sample->decoder, how->read_as, how->prefix))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	return sample;
}

CdcInferred *
cdc_sample_end(CdcSample *sample)
{
	if (sample->schema)
		fields_from_schema(sample);
	else
		fields_from_values(sample);
	drop_metadata(sample);
	drop_foreign_keys(sample->result);
	free_sample(sample);
	return sample->result;
}

const CdcInferredField *
cdc_infer_field(const CdcInferred *inferred, const CdcField *field)
{
	const CdcInferredField *folded = NULL;
	ListCell   *lc;

	foreach(lc, inferred->fields)
	{
		const CdcInferredField *f = lfirst(lc);

		if (strlen(f->name) != field->len)
			continue;
		if (memcmp(f->name, field->name, field->len) == 0)
			return f;
		if (field->fold && folded == NULL &&
			pg_strcasecmp(f->name, field->name) == 0)
			folded = f;
	}
	return folded;
}

CdcInferred *
cdc_infer(Oid relation, const CdcSampling *how)
{
	CdcSample  *sample = cdc_sample_begin(how);

	take_sample(sample, relation);
	return cdc_sample_end(sample);
}
