/*-------------------------------------------------------------------------
 *
 * convert_time.c
 *	  Converters of date, time, timetz, timestamp, timestamptz and interval.
 *
 * The unit of an integer is found in convert_unit.c, and strings are read in
 * iso_time.c.
 *
 * Values with more fractional digits than the target keeps are errors.
 *
 * Pure functions of the value; may be called in any transaction state.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
#include "datatype/timestamp.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "convert_internal.h"
#include "iso_time.h"

#define EPOCH_DAYS	(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)
#define EPOCH_USECS (EPOCH_DAYS * USECS_PER_DAY)

/* The same infinities with time.precision.mode=isostring. */
static const char *const iso_infinity[] = {
	"infinity", "+294247-01-10T04:00:25.2Z", "+292278994-08-16T23:00:00Z"
};
static const char *const iso_minus_infinity[] = {
	"-infinity", "-290308-12-21T19:59:27.6Z", "-292275055-05-16T23:00:00Z"
};
static const char *const iso_date_infinity[] = {
	"infinity", "-5877611-06-21Z", "+5877611-06-21Z", "+292278994-08-16Z"
};
static const char *const iso_date_minus_infinity[] = {
	"-infinity", "-5877611-06-22Z", "+292269055-12-02Z"
};

static bool
out_of_range(const CdcConverter *converter, const CdcValue *value)
{
	return cdc_convert_fail(value, ERRCODE_DATETIME_FIELD_OVERFLOW,
							"value \"%s\" is out of range for type %s",
							cdc_token_head(value->token), converter->type_name);
}

static bool
inexact(const CdcConverter *converter, const CdcValue *value)
{
	return cdc_convert_fail(value, ERRCODE_DATETIME_FIELD_OVERFLOW,
							"value \"%s\" is more precise than type %s",
							cdc_token_head(value->token), converter->type_name);
}

static bool
unit_unknown(const CdcConverter *converter, const CdcValue *value)
{
	return cdc_convert_fail(value, ERRCODE_INVALID_DATETIME_FORMAT,
							"the unit of %s is not known; give \"unit\" in the column mapping",
							cdc_token_head(value->token));
}

/* Are the usecs exact in the target's declared precision? */
static bool
fits_precision(const CdcConverter *converter, int64 usecs)
{
	int64		step = 1;

	if (converter->typmod < 0)
		return true;
	for (int i = converter->typmod; i < MAX_TIMESTAMP_PRECISION; i++)
		step *= 10;
	return usecs % step == 0;
}

/* The token's integer; false with an error for any other number. */
static bool
integer_token(const CdcConverter *converter, const CdcValue *value, int64 *n)
{
	const CdcToken *token = value->token;

	if (token->kind != CDC_JSON_NUMBER)
		return cdc_convert_unreadable(converter, value);
	if (cdc_parse_integral(token, n))
		return true;
	return token->flags & CDC_JSON_INTEGER ? out_of_range(converter, value) :
		cdc_convert_unreadable(converter, value);
}

/* n in unit -> us; false with an error if that is not exact or overflows. */
static bool
to_usecs(const CdcConverter *converter, const CdcValue *value, int64 n,
		 CdcUnit unit, int64 *usecs)
{
	*usecs = 0;
	if (unit < CDC_UNIT_US)
	{
		if (n % CDC_UNIT_US != 0)
			return inexact(converter, value);
		*usecs = n / CDC_UNIT_US;
		return true;
	}
	if (pg_mul_s64_overflow(n, unit / CDC_UNIT_US, usecs))
		return out_of_range(converter, value);
	return true;
}

/* us since 1970 -> Timestamp, infinities included. */
static bool
timestamp_from_usecs(CdcConverter *converter, const CdcValue *value,
					 int64 usecs, Timestamp *result)
{
	if (usecs == CDC_WIRE_INFINITY)
		*result = DT_NOEND;
	else if (usecs == CDC_WIRE_MINUS_INFINITY)
		*result = DT_NOBEGIN;
	else if (pg_sub_s64_overflow(usecs, EPOCH_USECS, result) ||
			 !IS_VALID_TIMESTAMP(*result))
		return out_of_range(converter, value);
	else if (!fits_precision(converter, *result))
		return inexact(converter, value);
	return true;
}

/* Wall clock (us since 1970) in the reading's zone -> UTC. */
static int64
zone_to_utc(const CdcConverter *converter, int64 usecs)
{
	struct pg_tm tm;
	fsec_t		fsec;
	Timestamp	local = usecs - EPOCH_USECS;

	if (timestamp2tm(local, NULL, &tm, &fsec, NULL, NULL) != 0)
		return usecs;
	return usecs + DetermineTimeZoneOffset(&tm, converter->zone) * USECS_PER_SEC;
}

/*
 * The extreme integers stand for infinity; so do the driver's constants in ms.
 * Without a schema, only PostgreSQL has infinities.
 */
static bool
is_infinite_timestamp(const CdcValue *value, int64 n, CdcUnit unit)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);

	if (unit == CDC_UNIT_DAY ||
		(value->connector != CDC_CONNECTOR_POSTGRESQL &&
		 (semantic < CDC_SEM_TIMESTAMP_MS || semantic > CDC_SEM_TIMESTAMP_NS)))
		return false;
	return n == PG_INT64_MAX || n == PG_INT64_MIN ||
		(unit == CDC_UNIT_MS && (n == CDC_WIRE_INFINITY || n == CDC_WIRE_MINUS_INFINITY));
}

/* An integer, for timestamp and timestamptz alike. */
static bool
timestamp_from_integer(CdcConverter *converter, const CdcValue *value,
					   bool to_utc, Timestamp *result)
{
	int64		n;
	int64		usecs;
	CdcUnit		unit;

	if (!integer_token(converter, value, &n))
		return false;
	if ((unit = cdc_timestamp_unit(converter, value, n)) == CDC_UNIT_NONE)
		return unit_unknown(converter, value);
	if (is_infinite_timestamp(value, n, unit))
		usecs = n < 0 ? CDC_WIRE_MINUS_INFINITY : CDC_WIRE_INFINITY;
	else if (!to_usecs(converter, value, n, unit, &usecs))
		return false;
	if (to_utc && converter->zone && usecs != CDC_WIRE_INFINITY &&
		usecs != CDC_WIRE_MINUS_INFINITY)
	{
		Timestamp	check;

		if (!timestamp_from_usecs(converter, value, usecs, &check))
			return false;
		usecs = zone_to_utc(converter, usecs);
	}
	return timestamp_from_usecs(converter, value, usecs, result);
}

static bool
is_one_of(const char *text, const char *const *list, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(text, list[i]) == 0)
			return true;
	return false;
}

/*
 * A string -> us since 1970 UTC, or wall clock where it has no zone.  An
 * CdcIsoTimestamp is a wall clock with a Z that means nothing.
 */
static bool
usecs_from_string(CdcConverter *converter, const CdcValue *value,
				  int64 *usecs, bool *has_zone)
{
	char	   *text;
	int			len;
	CdcIsoTime		iso;

	if ((text = cdc_value_text(value, &len)) == NULL)
		return false;
	*has_zone = true;
	if (is_one_of(text, iso_infinity, lengthof(iso_infinity)))
		*usecs = CDC_WIRE_INFINITY;
	else if (is_one_of(text, iso_minus_infinity, lengthof(iso_minus_infinity)))
		*usecs = CDC_WIRE_MINUS_INFINITY;
	else if (!cdc_iso_parse(text, &iso))
		return cdc_convert_fail(value, ERRCODE_INVALID_DATETIME_FORMAT,
								"invalid input for type %s: \"%s\"",
								converter->type_name,
								cdc_token_head(value->token));
	else if (pg_mul_s64_overflow(iso.days, USECS_PER_DAY, usecs) ||
			 pg_add_s64_overflow(*usecs, iso.usecs, usecs))
		return out_of_range(converter, value);
	else if (iso.too_fine)
		return inexact(converter, value);
	else
	{
		*has_zone = iso.has_zone;
		*usecs -= iso.offset * USECS_PER_SEC;
	}
	return true;
}

static bool
string_is_temporal(const CdcConverter *converter, const CdcValue *value)
{
	switch (cdc_semantic_of(value->field))
	{
		case CDC_SEM_UNKNOWN:
		case CDC_SEM_PLAIN:
		case CDC_SEM_OTHER:
		case CDC_SEM_ZONED_TIMESTAMP:
		case CDC_SEM_ISO_TIMESTAMP:
		case CDC_SEM_ISO_DATE:
		case CDC_SEM_ISO_TIME:
		case CDC_SEM_ZONED_TIME:
		case CDC_SEM_INTERVAL:
			return true;
		case CDC_SEM_DATE:
		case CDC_SEM_TIME_MS:
		case CDC_SEM_TIME_US:
		case CDC_SEM_TIME_NS:
		case CDC_SEM_TIMESTAMP_MS:
		case CDC_SEM_TIMESTAMP_US:
		case CDC_SEM_TIMESTAMP_NS:
			/* some producers name the type, and send what a person would write */
			return true;
		default:
			return cdc_convert_unreadable(converter, value);
	}
}

bool
cdc_convert_timestamp(CdcConverter *converter, const CdcValue *value,
					  Datum *result)
{
	Timestamp	ts;
	int64		usecs;
	bool		has_zone;

	if (value->token->kind == CDC_JSON_STRING)
	{
		if (!string_is_temporal(converter, value) ||
			!usecs_from_string(converter, value, &usecs, &has_zone) ||
			!timestamp_from_usecs(converter, value, usecs, &ts))
			return false;
	}
	else if (!timestamp_from_integer(converter, value, false, &ts))
		return false;
	*result = TimestampGetDatum(ts);
	return true;
}

/*
 * A wall clock (integer, CdcIsoTimestamp, string without zone) is taken to be in
 * the reading's time zone, else UTC; in strict mode it must have a reading.
 */
bool
cdc_convert_timestamptz(CdcConverter *converter, const CdcValue *value,
						Datum *result)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);
	Timestamp	ts;
	int64		usecs;
	bool		has_zone;
	bool		wall_clock = true;

	if (value->token->kind == CDC_JSON_STRING)
	{
		if (!string_is_temporal(converter, value) ||
			!usecs_from_string(converter, value, &usecs, &has_zone))
			return false;
		if (semantic == CDC_SEM_ZONED_TIMESTAMP)
			wall_clock = false;
		else if (semantic != CDC_SEM_ISO_TIMESTAMP && has_zone)
			wall_clock = converter->zone != NULL;
		if (!timestamp_from_usecs(converter, value, usecs, &ts))
			return false;
		if (wall_clock && converter->zone && !TIMESTAMP_NOT_FINITE(ts) &&
			!timestamp_from_usecs(converter, value,
								  zone_to_utc(converter, usecs), &ts))
			return false;
	}
	else if (!timestamp_from_integer(converter, value, true, &ts))
		return false;
	if (wall_clock && converter->strict && converter->zone == NULL)
		return cdc_convert_fail(value, ERRCODE_INVALID_DATETIME_FORMAT,
								"strict: the time zone of \"%s\" is not known; give \"timezone\" in the column mapping",
								cdc_token_head(value->token));
	*result = TimestampTzGetDatum(ts);
	return true;
}

/* Days since 1970 -> date. */
static bool
date_from_days(CdcConverter *converter, const CdcValue *value, int64 days,
			   Datum *result)
{
	DateADT		date;

	if (days < DATETIME_MIN_JULIAN - UNIX_EPOCH_JDATE ||
		days >= DATE_END_JULIAN - UNIX_EPOCH_JDATE)
		return out_of_range(converter, value);
	date = (DateADT) (days - EPOCH_DAYS);
	*result = DateADTGetDatum(date);
	return true;
}

static bool
date_from_string(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	char	   *text;
	int			len;
	CdcIsoTime		iso;

	if (!string_is_temporal(converter, value) ||
		(text = cdc_value_text(value, &len)) == NULL)
		return false;
	if (is_one_of(text, iso_date_infinity, lengthof(iso_date_infinity)))
		*result = DateADTGetDatum(DATEVAL_NOEND);
	else if (is_one_of(text, iso_date_minus_infinity, lengthof(iso_date_minus_infinity)))
		*result = DateADTGetDatum(DATEVAL_NOBEGIN);
	else if (!cdc_iso_parse(text, &iso))
		return cdc_convert_fail(value, ERRCODE_INVALID_DATETIME_FORMAT,
								"invalid input for type %s: \"%s\"",
								converter->type_name,
								cdc_token_head(value->token));
	else if (iso.usecs != 0 || iso.too_fine || iso.offset != 0)
		return inexact(converter, value);
	else
		return date_from_days(converter, value, iso.days, result);
	return true;
}

static bool
infinite_date(int64 n, Datum *result)
{
	switch (n)
	{
		case CDC_WIRE_DATE_INFINITY:
		case CDC_WIRE_DATE_LATER_INFINITY:
		case CDC_WIRE_DATE_SNAPSHOT_INFINITY:
			*result = DateADTGetDatum(DATEVAL_NOEND);
			return true;
		case CDC_WIRE_DATE_MINUS_INFINITY:
		case CDC_WIRE_DATE_SNAPSHOT_MINUS_INFINITY:
			*result = DateADTGetDatum(DATEVAL_NOBEGIN);
			return true;
		default:
			return false;
	}
}

bool
cdc_convert_date(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	int64		n;
	CdcUnit		unit;

	if (value->token->kind == CDC_JSON_STRING)
		return date_from_string(converter, value, result);
	if (!integer_token(converter, value, &n))
		return false;
	if (converter->reading.unit == NULL && infinite_date(n, result))
		return true;
	if ((unit = cdc_date_unit(converter, value, n)) == CDC_UNIT_NONE)
		return unit_unknown(converter, value);
	if (unit == CDC_UNIT_DAY && infinite_date(n, result))
		return true;
	if (is_infinite_timestamp(value, n, unit))
	{
		*result = DateADTGetDatum(n < 0 ? DATEVAL_NOBEGIN : DATEVAL_NOEND);
		return true;
	}
	if (n % (CDC_UNIT_DAY / unit) != 0)
		return inexact(converter, value);
	return date_from_days(converter, value, n / (CDC_UNIT_DAY / unit), result);
}

static bool
time_from_string(CdcConverter *converter, const CdcValue *value, CdcIsoTime *iso)
{
	char	   *text;
	int			len;

	if (!string_is_temporal(converter, value) ||
		(text = cdc_value_text(value, &len)) == NULL)
		return false;
	if (!cdc_iso_parse_time(text, iso))
		return cdc_convert_fail(value, ERRCODE_INVALID_DATETIME_FORMAT,
								"invalid input for type %s: \"%s\"",
								converter->type_name,
								cdc_token_head(value->token));
	if (iso->too_fine || !fits_precision(converter, iso->usecs))
		return inexact(converter, value);
	return true;
}

/*
 * MySQL's TIME may be negative or longer than a day: that is an interval and
 * no time of day.
 */
bool
cdc_convert_time(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	int64		n;
	int64		usecs;
	CdcUnit		unit;
	CdcIsoTime		iso;

	if (value->token->kind == CDC_JSON_STRING)
	{
		if (!time_from_string(converter, value, &iso))
			return false;
		if (iso.offset != 0)
			return cdc_convert_unreadable(converter, value);
		*result = TimeADTGetDatum(iso.usecs);
		return true;
	}
	if (!integer_token(converter, value, &n))
		return false;
	if ((unit = cdc_time_unit(converter, value, n)) == CDC_UNIT_NONE)
		return unit_unknown(converter, value);
	if (!to_usecs(converter, value, n, unit, &usecs))
		return false;
	if (usecs < 0 || usecs > USECS_PER_DAY)
		return out_of_range(converter, value);
	if (!fits_precision(converter, usecs))
		return inexact(converter, value);
	*result = TimeADTGetDatum(usecs);
	return true;
}

bool
cdc_convert_timetz(CdcConverter *converter, const CdcValue *value,
				   Datum *result)
{
	CdcIsoTime		iso;
	TimeTzADT  *timetz;

	if (value->token->kind != CDC_JSON_STRING)
		return cdc_convert_unreadable(converter, value);
	if (!time_from_string(converter, value, &iso))
		return false;
	if (!iso.has_zone)
		return cdc_convert_fail(value, ERRCODE_INVALID_DATETIME_FORMAT,
								"\"%s\" has no time zone",
								cdc_token_head(value->token));
	timetz = palloc(sizeof(*timetz));
	timetz->time = iso.usecs;
	timetz->zone = -iso.offset; /* PostgreSQL counts west of UTC */
	*result = TimeTzADTPGetDatum(timetz);
	return true;
}

static bool
interval_from_string(CdcConverter *converter, const CdcValue *value,
					 Interval *interval)
{
	char	   *text;
	int			len;

	if (!string_is_temporal(converter, value) ||
		(text = cdc_value_text(value, &len)) == NULL)
		return false;
	if (!cdc_iso_parse_duration(text, interval))
		return cdc_convert_fail(value, ERRCODE_INVALID_DATETIME_FORMAT,
								"invalid input for type %s: \"%s\"",
								converter->type_name,
								cdc_token_head(value->token));
	return true;
}

bool
cdc_convert_interval(CdcConverter *converter, const CdcValue *value,
					 Datum *result)
{
	Interval   *interval = palloc0(sizeof(*interval));
	int64		n;
	CdcUnit		unit;

	*result = IntervalPGetDatum(interval);
	if (value->token->kind == CDC_JSON_STRING)
	{
		if (!interval_from_string(converter, value, interval))
			return false;
	}
	else
	{
		if (!integer_token(converter, value, &n))
			return false;
		if ((unit = cdc_interval_unit(converter, value, n)) == CDC_UNIT_NONE)
			return unit_unknown(converter, value);
		if (!to_usecs(converter, value, n, unit, &interval->time))
			return false;
	}
	if (converter->typmod >= 0)
	{
		Datum		scaled = DirectFunctionCall2(interval_scale, *result,
												 Int32GetDatum(converter->typmod));

		if (memcmp(DatumGetIntervalP(scaled), interval, sizeof(Interval)) != 0)
			return inexact(converter, value);
	}
	return true;
}

/*
 * As text
 */

/* What is below the second, with as many digits as it needs. */
static char *
with_nanos(const char *text, int nanos)
{
	char	   *result = psprintf("%s.%09d", text, nanos);
	int			len = strlen(result);

	while (result[len - 1] == '0')
		result[--len] = '\0';
	return result;
}

static char *
timestamp_text(CdcConverter *plain, const CdcValue *value, int64 n, CdcUnit unit)
{
	int64		usecs;
	int			nanos = 0;
	Timestamp	ts;
	char	   *text;

	if (is_infinite_timestamp(value, n, unit))
		usecs = n < 0 ? CDC_WIRE_MINUS_INFINITY : CDC_WIRE_INFINITY;
	else
	{
		/* text keeps the digits that a timestamp does not */
		if (unit == CDC_UNIT_NS)
		{
			nanos = n % CDC_UNIT_S;
			if (nanos < 0)
				nanos += CDC_UNIT_S;
			n = (n - nanos) / CDC_UNIT_S;
			unit = CDC_UNIT_S;
		}
		if (!to_usecs(plain, value, n, unit, &usecs))
			return NULL;
	}
	if (!timestamp_from_usecs(plain, value, usecs, &ts))
		return NULL;
	text = DatumGetCString(DirectFunctionCall1(timestamp_out, TimestampGetDatum(ts)));
	return nanos ? with_nanos(text, nanos) : text;
}

/* A time of day, or MySQL's TIME, which goes beyond it. */
static char *
time_text(CdcConverter *plain, const CdcValue *value, int64 n, CdcUnit unit)
{
	Interval	interval = {0};
	int			nanos = 0;
	char	   *text;

	if (unit == CDC_UNIT_NS && n > 0)
	{
		nanos = n % CDC_UNIT_S;
		n -= nanos;
	}
	if (!to_usecs(plain, value, n, unit, &interval.time))
		return NULL;
	text = DatumGetCString(interval.time < 0 || interval.time > USECS_PER_DAY ?
						   DirectFunctionCall1(interval_out, IntervalPGetDatum(&interval)) :
						   DirectFunctionCall1(time_out, TimeADTGetDatum(interval.time)));
	return nanos ? with_nanos(text, nanos) : text;
}

static char *
duration_text(CdcConverter *plain, const CdcValue *value, int64 n, CdcUnit unit)
{
	Interval	interval = {0};

	if (!to_usecs(plain, value, n, unit, &interval.time))
		return NULL;
	return DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(&interval)));
}

static char *
date_text(CdcConverter *plain, const CdcValue *value, int64 days)
{
	Datum		date = (Datum) 0;

	if (!infinite_date(days, &date) && !date_from_days(plain, value, days, &date))
		return NULL;
	return DatumGetCString(DirectFunctionCall1(date_out, date));
}

/* "2024-02-29 12:34:56" -> "2024-02-29T12:34:56" */
static char *
with_t(char *text)
{
	char	   *blank = text ? strchr(text, ' ') : NULL;

	if (blank && blank[1] >= '0' && blank[1] <= '9')
		*blank = 'T';
	return text;
}

/*
 * What isostring sends has a Z that means nothing, and finer digits than the
 * server's types have, which stay.
 */
static char *
iso_text(CdcConverter *plain, const CdcValue *value, CdcSemantic semantic)
{
	int			len;
	char	   *text = cdc_value_text(value, &len);
	CdcIsoTime		iso = {0};
	int64		usecs;
	bool		has_zone;
	Datum		date;
	Timestamp	ts;
	CdcConvertError ignored;
	CdcValue	attempt = *value;

	if (text == NULL)
		return NULL;
	attempt.error = &ignored;
	if (semantic == CDC_SEM_ISO_DATE)
	{
		if (date_from_string(plain, &attempt, &date))
			return DatumGetCString(DirectFunctionCall1(date_out, date));
	}
	else if (semantic == CDC_SEM_ISO_TIME)
	{
		if (time_from_string(plain, &attempt, &iso))
			return DatumGetCString(DirectFunctionCall1(time_out, TimeADTGetDatum(iso.usecs)));
	}
	else if (usecs_from_string(plain, &attempt, &usecs, &has_zone) &&
			 timestamp_from_usecs(plain, &attempt, usecs, &ts))
		return DatumGetCString(DirectFunctionCall1(timestamp_out, TimestampGetDatum(ts)));
	if (len > 1 && text[len - 1] == 'Z')
		text[len - 1] = '\0';
	if (strchr(text, 'T') != NULL)
		*strchr(text, 'T') = ' ';
	return text;
}

char *
cdc_temporal_text(CdcConverter *converter, const CdcValue *value, bool iso)
{
	CdcConverter plain = {.typmod = -1,.type_name = converter->type_name};
	CdcSemantic semantic = cdc_semantic_of(value->field);
	char	   *text;
	int64		n;

	if (value->token->kind == CDC_JSON_STRING)
	{
		text = iso_text(&plain, value, semantic);
		return iso ? with_t(text) : text;
	}
	if (!integer_token(converter, value, &n))
		return NULL;
	switch (semantic)
	{
		case CDC_SEM_DATE:
			return date_text(&plain, value, n);
		case CDC_SEM_TIME_MS:
			return time_text(&plain, value, n, CDC_UNIT_MS);
		case CDC_SEM_TIME_US:
			return time_text(&plain, value, n, CDC_UNIT_US);
		case CDC_SEM_TIME_NS:
			return time_text(&plain, value, n, CDC_UNIT_NS);
		case CDC_SEM_TIMESTAMP_MS:
			text = timestamp_text(&plain, value, n, CDC_UNIT_MS);
			break;
		case CDC_SEM_TIMESTAMP_US:
			text = timestamp_text(&plain, value, n, CDC_UNIT_US);
			break;
		case CDC_SEM_TIMESTAMP_NS:
			text = timestamp_text(&plain, value, n, CDC_UNIT_NS);
			break;
		case CDC_SEM_DURATION_NS:
			return duration_text(&plain, value, n, CDC_UNIT_NS);
		default:
			return duration_text(&plain, value, n, CDC_UNIT_US);
	}
	return iso ? with_t(text) : text;
}
