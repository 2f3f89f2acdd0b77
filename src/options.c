/*-------------------------------------------------------------------------
 *
 * options.c
 *	  The "options" and "columns" arguments of cdc_create() and cdc_alter().
 *
 * One table lists every option with its type, range and default.  Values are
 * checked when they are set, never when they are used.  An option whose
 * feature does not exist is known here all the same and accepts nothing but
 * what the extension does anyway: so a set-up either does what it says or is
 * refused.
 *
 * Reads no catalog and takes no lock.  Nothing depends on the session: an
 * interval is read with IntervalStyle postgres, a time without a zone is UTC.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "filter.h"
#include "options.h"
#include "pipeline.h"

typedef enum OptionType
{
	OPTION_BOOLEAN,
	OPTION_NUMBER,				/* between min and max */
	OPTION_SIZE,				/* bytes, as a number or with a unit */
	OPTION_INTERVAL,			/* not negative */
	OPTION_RETENTION,			/* the same, or 'infinite' */
	OPTION_ENUM,				/* one of values */
	OPTION_TEXT,				/* not empty */
	OPTION_NAME,				/* of a table */
	OPTION_PREFIX,				/* of names; may be empty */
	OPTION_FILTER,
	OPTION_START,
	OPTION_FOLLOW				/* of cdc_create_all() alone */
} OptionType;

typedef struct OptionDef
{
	const char *name;
	OptionType	type;
	bool		fixed;			/* cannot be altered */
	const char *values;			/* of an enumeration, for people and for us */
	double		min;
	double		max;
} OptionDef;

static const OptionDef option_defs[] = {
	{.name = "add_fields_prefix",.type = OPTION_PREFIX},
	{.name = "auto_refresh",.type = OPTION_BOOLEAN},
	{.name = "auto_sync",.type = OPTION_BOOLEAN},
	{.name = "constraint_wait",.type = OPTION_INTERVAL},
	{.name = "filter",.type = OPTION_FILTER},
	{.name = "follow_new_topics",.type = OPTION_FOLLOW},
	{.name = "helper_schema",.type = OPTION_TEXT,.fixed = true},
	{.name = "landing",.type = OPTION_TEXT,.fixed = true},
	{.name = "max_quarantine_share",.type = OPTION_NUMBER,.min = 0,.max = 1},
	{.name = "max_rewrite_size",.type = OPTION_SIZE},
	{.name = "max_sweep_share",.type = OPTION_NUMBER,.min = 0,.max = 1},
	{.name = "mode",.type = OPTION_ENUM,.fixed = true,.values = CDC_MODES},
	{.name = "on_gap",.type = OPTION_ENUM,.values = "stop, continue"},
	{.name = "on_snapshot",.type = OPTION_ENUM,.values = "upsert, replace"},
	{.name = "refresh_interval",.type = OPTION_INTERVAL},
	{.name = "retention",.type = OPTION_RETENTION},
	{.name = "schema_changes",.type = OPTION_ENUM,
	.values = "follow, ignore, stop"},
	{.name = "schema_topic",.type = OPTION_TEXT,.fixed = true},
	{.name = "shape",.type = OPTION_ENUM,
	.values = "auto, envelope, flat, plain"},
	{.name = "start",.type = OPTION_START,.fixed = true},
	{.name = "strict",.type = OPTION_BOOLEAN},
	{.name = "sync_interval",.type = OPTION_INTERVAL},
	{.name = "target_name",.type = OPTION_NAME,.fixed = true},
	{.name = "target_schema",.type = OPTION_TEXT,.fixed = true},
	{.name = "unavailable_value_placeholder",.type = OPTION_TEXT},
};

/* A member name or string of jsonb as a C string. */
static char *
jsonb_cstring(const JsonbValue *value)
{
	Assert(value->type == jbvString);
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static const OptionDef *
find_option(const char *name)
{
	for (int i = 0; i < lengthof(option_defs); i++)
	{
		if (strcmp(option_defs[i].name, name) == 0)
			return &option_defs[i];
	}
	return NULL;
}

static const OptionDef *
get_option(const char *name)
{
	const OptionDef *def = find_option(name);
	StringInfoData valid;

	if (def)
		return def;

	initStringInfo(&valid);
	for (int i = 0; i < lengthof(option_defs); i++)
		appendStringInfo(&valid, "%s%s", i ? ", " : "", option_defs[i].name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\"", name),
			 errhint("Valid options are: %s.", valid.data)));
	return NULL;
}

static void
bad_value(const char *name, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", name),
			 errhint("%s", hint)));
}

/* Is word one of a list like "a, b, c"? */
static bool
in_list(const char *list, const char *word)
{
	size_t		len = strlen(word);

	for (const char *p = list; *p;)
	{
		size_t		n = strcspn(p, ",");

		if (n == len && memcmp(p, word, n) == 0)
			return true;
		p += n;
		p += strspn(p, ", ");
	}
	return false;
}

/*
 * Call an input function; its error is raised again as one that names the
 * option.
 */
static Datum
option_input(const char *name, PGFunction input, char *text, const char *hint)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum result = (Datum) 0;
	int			level = cdc_pin_settings(NULL);

	PG_TRY();
	{
		result = DirectFunctionCall3(input, CStringGetDatum(text),
									 ObjectIdGetDatum(InvalidOid),
									 Int32GetDatum(-1));
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", name),
				 errdetail_internal("%s", edata->message),
				 errhint("%s", hint)));
	}
	PG_END_TRY();
	cdc_unpin_settings(level);
	return result;
}

/* Microseconds of an interval option, given as text or as seconds. */
static int64
parse_interval(const char *name, const JsonbValue *value)
{
	const char *hint = "Give an interval that is not negative, such as \"1 day\" or \"500 ms\", or a number of seconds.";
	double		total;
	Interval   *interval;
	char	   *text;

	if (value->type == jbvNumeric)
		text = DatumGetCString(DirectFunctionCall1(numeric_out,
												   NumericGetDatum(value->val.numeric)));
	else if (value->type == jbvString)
		text = jsonb_cstring(value);
	else
	{
		bad_value(name, hint);
		return 0;
	}
	interval = DatumGetIntervalP(option_input(name, interval_in, text, hint));
	total = (double) interval->time +
		((double) interval->day + (double) interval->month * DAYS_PER_MONTH) *
		USECS_PER_DAY;
	if (total < 0)
		bad_value(name, hint);
	/* more than a century is a slip, and would overflow times later on */
	if (total > 100.0 * DAYS_PER_YEAR * USECS_PER_DAY)
		bad_value(name, "Give an interval of at most 100 years.");
	return (int64) total;
}

static int64
parse_retention(const char *name, const JsonbValue *value)
{
	if (value->type == jbvString &&
		pg_strcasecmp(jsonb_cstring(value), "infinite") == 0)
		return CDC_RETAIN_ALL;
	return parse_interval(name, value);
}

static double
parse_number(const OptionDef *def, const JsonbValue *value)
{
	double		number = -1;

	if (value->type == jbvNumeric)
		number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
													NumericGetDatum(value->val.numeric)));
	if (value->type != jbvNumeric || number < def->min || number > def->max)
		bad_value(def->name, psprintf("Give a number from %g to %g.",
									  def->min, def->max));
	return number;
}

/* Bytes of a size, given as a number or as text with a unit. */
static int64
parse_size(const OptionDef *def, const JsonbValue *value)
{
	const char *hint = "Give a size that is not negative, such as \"500 MB\", or a number of bytes.";
	MemoryContext context = CurrentMemoryContext;
	char	   *text = NULL;
	int64		size = -1;

	if (value->type == jbvNumeric)
		text = DatumGetCString(DirectFunctionCall1(numeric_out,
												   NumericGetDatum(value->val.numeric)));
	else if (value->type == jbvString)
		text = jsonb_cstring(value);
	else
		bad_value(def->name, hint);
	PG_TRY();
	{
		size = DatumGetInt64(DirectFunctionCall1(pg_size_bytes, CStringGetTextDatum(text)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		bad_value(def->name, hint);
	}
	PG_END_TRY();
	if (size < 0)
		bad_value(def->name, hint);
	return size;
}

/* One of the option's values, as text. */
static char *
parse_enum(const OptionDef *def, const JsonbValue *value)
{
	if (value->type != jbvString || !in_list(def->values, jsonb_cstring(value)))
		bad_value(def->name, psprintf("Valid values are: %s.", def->values));
	return jsonb_cstring(value);
}

static CdcSchemaChanges
schema_changes_of(const char *text)
{
	return strcmp(text, "follow") == 0 ? CDC_SCHEMA_FOLLOW :
		strcmp(text, "stop") == 0 ? CDC_SCHEMA_STOP : CDC_SCHEMA_IGNORE;
}

static char *
parse_text(const OptionDef *def, const JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len == 0)
		bad_value(def->name, "Give a string that is not empty.");
	return jsonb_cstring(value);
}

static char *
parse_name(const OptionDef *def, const JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len == 0 ||
		value->val.string.len >= NAMEDATALEN)
		bad_value(def->name, psprintf("Give a name of 1 to %d bytes, without a schema.",
									  NAMEDATALEN - 1));
	return jsonb_cstring(value);
}

static char *
parse_prefix(const OptionDef *def, const JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len >= NAMEDATALEN)
		bad_value(def->name, psprintf("Give a string of at most %d bytes, such as \"__\".",
									  NAMEDATALEN - 1));
	return jsonb_cstring(value);
}

static CdcReadAs
read_as_of(const JsonbValue *shape)
{
	char	   *name = jsonb_cstring(shape);

	return strcmp(name, "envelope") == 0 ? CDC_READ_ENVELOPE :
		strcmp(name, "flat") == 0 ? CDC_READ_FLAT :
		strcmp(name, "plain") == 0 ? CDC_READ_PLAIN : CDC_READ_AUTO;
}

/* "earliest", "latest" or the time in UTC, as text that any session reads. */
static char *
parse_start(const OptionDef *def, const JsonbValue *value)
{
	const char *hint = "Give \"earliest\", \"latest\", or a time such as \"2025-01-31 12:00:00+00\".";
	TimestampTz time;
	char	   *text;
	int			level;

	if (value->type != jbvString)
		bad_value(def->name, hint);
	text = jsonb_cstring(value);
	if (pg_strcasecmp(text, "earliest") == 0 || pg_strcasecmp(text, "latest") == 0)
		return pg_strcasecmp(text, "latest") == 0 ? "latest" : "earliest";

	time = DatumGetTimestampTz(option_input(def->name, timestamptz_in, text, hint));
	if (TIMESTAMP_NOT_FINITE(time))
		bad_value(def->name, hint);
	level = cdc_pin_settings(NULL);
	text = DatumGetCString(DirectFunctionCall1(timestamptz_out,
											   TimestampTzGetDatum(time)));
	cdc_unpin_settings(level);
	return text;
}

static void
check_boolean(const OptionDef *def, const JsonbValue *value)
{
	if (value->type != jbvBool)
		bad_value(def->name, "Give true or false.");
}

/* Check one option, and take over those that C code reads. */
/* A value as its type reads it. */
typedef struct OptionValue
{
	char	   *text;
	double		number;
	int64		usecs;
	int64		bytes;
} OptionValue;

/* A time to start at is put into the value in a form that is read anywhere. */
static OptionValue
read_option(CdcOptions *options, const OptionDef *def, JsonbValue *value)
{
	OptionValue read = {0};

	switch (def->type)
	{
		case OPTION_BOOLEAN:
			check_boolean(def, value);
			break;
		case OPTION_NUMBER:
			read.number = parse_number(def, value);
			break;
		case OPTION_SIZE:
			read.bytes = parse_size(def, value);
			break;
		case OPTION_INTERVAL:
			read.usecs = parse_interval(def->name, value);
			break;
		case OPTION_RETENTION:
			read.usecs = parse_retention(def->name, value);
			break;
		case OPTION_ENUM:
			read.text = parse_enum(def, value);
			break;
		case OPTION_TEXT:
			read.text = parse_text(def, value);
			break;
		case OPTION_NAME:
			read.text = parse_name(def, value);
			break;
		case OPTION_PREFIX:
			read.text = parse_prefix(def, value);
			break;
		case OPTION_FILTER:
			options->filter = cdc_filter_parse(value);
			break;
		case OPTION_FOLLOW:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" is not one of a single pipeline", def->name),
					 errhint("Give it to cdc_create_all(), which makes a pipeline for each topic.")));
			break;
		case OPTION_START:
			read.text = parse_start(def, value);
			value->val.string.val = read.text;
			value->val.string.len = strlen(read.text);
			break;
	}
	return read;
}

static void
store_option(CdcOptions *options, const OptionDef *def, JsonbValue *value,
			 const OptionValue *read)
{
	if (strcmp(def->name, "landing") == 0)
		options->landing = read->text;
	else if (strcmp(def->name, "helper_schema") == 0)
		options->helper_schema = read->text;
	else if (strcmp(def->name, "target_schema") == 0)
		options->target_schema = read->text;
	else if (strcmp(def->name, "target_name") == 0)
		options->target_name = read->text;
	else if (strcmp(def->name, "start") == 0)
		options->start = read->text;
	else if (strcmp(def->name, "add_fields_prefix") == 0)
		options->add_fields_prefix = read->text;
	else if (strcmp(def->name, "shape") == 0)
		options->read_as = read_as_of(value);
	else if (strcmp(def->name, "unavailable_value_placeholder") == 0)
		options->placeholder = read->text;
	else if (strcmp(def->name, "max_quarantine_share") == 0)
		options->max_quarantine_share = read->number;
	else if (strcmp(def->name, "schema_topic") == 0)
		options->schema_topic = read->text;
	else if (strcmp(def->name, "schema_changes") == 0)
		options->schema_changes = schema_changes_of(read->text);
	else if (strcmp(def->name, "max_rewrite_size") == 0)
		options->max_rewrite_size = read->bytes;
	else if (strcmp(def->name, "max_sweep_share") == 0)
		options->max_sweep_share = read->number;
	else if (strcmp(def->name, "on_snapshot") == 0)
		options->replace = strcmp(jsonb_cstring(value), "replace") == 0;
	else if (strcmp(def->name, "strict") == 0)
		options->strict = value->val.boolean;
	else if (strcmp(def->name, "mode") == 0)
		options->mode = cdc_mode_parse(jsonb_cstring(value));
	else if (strcmp(def->name, "auto_sync") == 0)
		options->auto_sync = value->val.boolean;
	else if (strcmp(def->name, "constraint_wait") == 0)
		options->constraint_wait = read->usecs;
	else if (strcmp(def->name, "sync_interval") == 0)
		options->sync_interval = read->usecs;
	else if (strcmp(def->name, "retention") == 0)
		options->retention = read->usecs;
}

static void
parse_option(CdcOptions *options, const OptionDef *def, JsonbValue *value)
{
	OptionValue read = read_option(options, def, value);

	store_option(options, def, value, &read);
}

/* Begin to read the members of an object. */
static JsonbIterator *
object_begin(Jsonb *object, const char *argument, const char *example)
{
	JsonbIterator *it;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be a JSON object", argument),
				 errhint("Write it like %s.", example)));
	it = JsonbIteratorInit(&object->root);
	(void) JsonbIteratorNext(&it, &value, false);
	return it;
}

/* The next member; nested values come as one binary value. */
static bool
object_next(JsonbIterator **it, char **name, JsonbValue *value)
{
	JsonbValue	key;

	if (JsonbIteratorNext(it, &key, true) != WJB_KEY)
		return false;
	(void) JsonbIteratorNext(it, value, true);
	*name = jsonb_cstring(&key);
	return true;
}

static void
push_member(JsonbParseState **state, const char *name, JsonbValue *value)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = (char *) name;
	key.val.string.len = strlen(name);
	(void) pushJsonbValue(state, WJB_KEY, &key);
	(void) pushJsonbValue(state, WJB_VALUE, value);
}

CdcOptions *
cdc_options_parse(Jsonb *options)
{
	CdcOptions *result = palloc0(sizeof(CdcOptions));
	JsonbParseState *state = NULL;
	JsonbIterator *it = object_begin(options, "options", "{\"retention\": \"1 day\"}");
	char	   *name;
	JsonbValue	value;

	result->start = "earliest";
	result->max_quarantine_share = 0.1;
	result->constraint_wait = 10 * USECS_PER_MINUTE;
	result->max_rewrite_size = INT64CONST(1024) * 1024 * 1024;
	result->max_sweep_share = 0.5;
	result->auto_sync = true;
	result->retention = USECS_PER_DAY;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (object_next(&it, &name, &value))
	{
		const OptionDef *def = get_option(name);

		if (value.type == jbvNull)
			continue;
		parse_option(result, def, &value);
		push_member(&state, name, &value);
	}
	result->stored = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	return result;
}

Jsonb *
cdc_options_merge(Jsonb *stored, Jsonb *changes)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it;
	char	   *name;
	JsonbValue	value;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	it = object_begin(stored, "options", "{}");
	while (object_next(&it, &name, &value))
		push_member(&state, name, &value);

	/* a name that comes again replaces the earlier one */
	it = object_begin(changes, "options", "{\"retention\": \"1 day\"}");
	while (object_next(&it, &name, &value))
	{
		if (get_option(name)->fixed)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" cannot be altered", name),
					 strcmp(name, "mode") == 0 ?
					 errdetail("The rows that the target has were made in that mode.") :
					 errdetail("It says how the pipeline is made, and has no meaning afterwards."),
					 errhint("Drop the pipeline with cdc_drop() and create it again.")));
		push_member(&state, name, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Jsonb *
cdc_options_set(Jsonb *stored, const char *name, const char *text)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it = object_begin(stored, "options", "{}");
	char	   *member;
	JsonbValue	value;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (object_next(&it, &member, &value))
		push_member(&state, member, &value);
	value.type = jbvString;
	value.val.string.val = (char *) text;
	value.val.string.len = strlen(text);
	push_member(&state, name, &value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Jsonb *
cdc_options_for_all(Jsonb *options, CdcFollow *follow)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it = object_begin(options, "options", "{\"follow_new_topics\": true}");
	char	   *name;
	JsonbValue	value;

	*follow = CDC_FOLLOW_UNSAID;
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (object_next(&it, &name, &value))
	{
		const OptionDef *def = get_option(name);

		if (value.type == jbvNull)
			continue;
		if (strcmp(name, "landing") == 0 || strcmp(name, "target_name") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" is one of a single pipeline", name),
					 errhint("Make this pipeline with cdc_create().")));
		if (def->type == OPTION_FOLLOW)
		{
			check_boolean(def, &value);
			*follow = value.val.boolean ? CDC_FOLLOW : CDC_FOLLOW_NOT;
		}
		else
			push_member(&state, name, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * "columns"
 */

#define READING_MEMBERS "field, scale, unsigned, unit, encoding, timezone"
#define READING_UNITS "d, s, ms, us, ns"
#define READING_ENCODINGS "base64, base64url, hex, string, json"

static void
bad_reading(const char *column, const char *member, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid \"%s\" for column \"%s\" in \"columns\"",
					member, column),
			 errhint("%s", hint)));
}

static char *
reading_field(const char *column, const JsonbValue *value)
{
	char	   *field;

	if (value->type != jbvString || value->val.string.len == 0)
		bad_reading(column, "field", "Give the name of a field of the source.");
	field = jsonb_cstring(value);
	if (field[0] == '$' && cdc_pseudo_find(field) == NULL &&
		cdc_pseudo_source_field(field) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown pseudo-field \"%s\" for column \"%s\" in \"columns\"",
						field, column),
				 errhint("Valid pseudo-fields are: %s.", cdc_pseudo_list())));
	return field;
}

static char *
reading_word(const char *column, const char *member, const char *list,
			 const JsonbValue *value)
{
	if (value->type != jbvString || !in_list(list, jsonb_cstring(value)))
		bad_reading(column, member, psprintf("Valid values are: %s.", list));
	return jsonb_cstring(value);
}

static int32
reading_scale(const char *column, const JsonbValue *value)
{
	double		scale = -1;

	if (value->type == jbvNumeric)
		scale = DatumGetFloat8(DirectFunctionCall1(numeric_float8,
												   NumericGetDatum(value->val.numeric)));
	if (!(scale >= 0 && scale <= 1000) || scale != floor(scale))
		bad_reading(column, "scale", "Give a whole number from 0 to 1000.");
	return (int32) scale;
}

static char *
reading_timezone(const char *column, const JsonbValue *value)
{
	char	   *timezone = value->type == jbvString ? jsonb_cstring(value) : NULL;

	if (timezone == NULL || pg_tzset(timezone) == NULL)
		bad_reading(column, "timezone",
					"Give a name from pg_timezone_names, such as \"Europe/Paris\".");
	return timezone;
}

static void
parse_reading_member(CdcReading *reading, const char *member,
					 const JsonbValue *value)
{
	const char *column = reading->column;

	if (strcmp(member, "field") == 0)
		reading->field = reading_field(column, value);
	else if (strcmp(member, "scale") == 0)
	{
		reading->has_scale = true;
		reading->scale = reading_scale(column, value);
	}
	else if (strcmp(member, "unsigned") == 0)
	{
		if (value->type != jbvBool)
			bad_reading(column, member, "Give true or false.");
		reading->is_unsigned = value->val.boolean;
	}
	else if (strcmp(member, "unit") == 0)
		reading->unit = reading_word(column, member, READING_UNITS, value);
	else if (strcmp(member, "encoding") == 0)
		reading->encoding = reading_word(column, member, READING_ENCODINGS, value);
	else if (strcmp(member, "timezone") == 0)
		reading->timezone = reading_timezone(column, value);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown member \"%s\" for column \"%s\" in \"columns\"",
						member, column),
				 errhint("Valid members are: " READING_MEMBERS ".")));
}

static CdcReading *
parse_reading(char *column, JsonbValue *value)
{
	CdcReading *reading = palloc0(sizeof(CdcReading));

	if (column[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("empty column name in \"columns\""),
				 errhint("Write \"columns\" as {\"target column\": \"source field\"}.")));
	reading->column = column;
	if (value->type == jbvString)
		reading->field = reading_field(column, value);
	else if (value->type == jbvBinary &&
			 JsonContainerIsObject(value->val.binary.data))
	{
		JsonbIterator *it = JsonbIteratorInit(value->val.binary.data);
		JsonbValue	member_value;
		char	   *member;

		(void) JsonbIteratorNext(&it, &member_value, false);
		while (object_next(&it, &member, &member_value))
			parse_reading_member(reading, member, &member_value);
		if (reading->field == NULL)
			bad_reading(column, "field", "An object needs the member \"field\": the name of a field of the source.");
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for column \"%s\" in \"columns\"", column),
				 errhint("Give the name of a field, or an object with the members " READING_MEMBERS ".")));
	return reading;
}

List *
cdc_readings_parse(Jsonb *columns)
{
	List	   *readings = NIL;
	JsonbIterator *it;
	JsonbValue	value;
	char	   *column;

	if (columns == NULL)
		return NIL;
	it = object_begin(columns, "columns", "{\"target column\": \"source field\"}");
	while (object_next(&it, &column, &value))
		readings = lappend(readings, parse_reading(column, &value));
	return readings;
}
