/*-------------------------------------------------------------------------
 *
 * convert_time.c
 *	  Converters of date, time, timetz, timestamp, timestamptz and interval.
 *
 * With a schema, the logical type tells the unit of an integer.  Without one
 * the same integer can be days, milliseconds, microseconds or nanoseconds; what
 * is assumed then, and where we refuse to, is said at guess_timestamp_unit()
 * and guess_time_unit().  Strings are ISO 8601 as Java prints it (years with
 * sign, year 0000 for 1 BC), which the server's input functions do not take,
 * and which mean the same whatever TimeZone and DateStyle are.
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

#define EPOCH_DAYS	(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)
#define EPOCH_USECS (EPOCH_DAYS * USECS_PER_DAY)
#define MSECS_PER_DAY	INT64CONST(86400000)
#define NSECS_PER_DAY	INT64CONST(86400000000000)

/*
 * What Debezium's PostgreSQL connector sends for infinite timestamps, in us,
 * and for the date 'infinity' in days: the constants of its JDBC driver, and
 * an overflow that no real date can reach.  '-infinity' of a date has not been
 * seen, so that it stays an error.
 */
#define WIRE_INFINITY		INT64CONST(9223372036825200000)
#define WIRE_MINUS_INFINITY INT64CONST(-9223372036832400000)
#define WIRE_DATE_INFINITY	INT64CONST(-2147472692)
#define WIRE_ISO_DATE_INFINITY	"-5877611-06-21Z"
#define WIRE_ISO_MINUS_INFINITY "-290308-12-21T19:59:27.6Z"

/* Unit of an integer, by its ns. */
typedef int64 Unit;

#define UNIT_NONE	INT64CONST(0)
#define UNIT_NS		INT64CONST(1)
#define UNIT_US		INT64CONST(1000)
#define UNIT_MS		INT64CONST(1000000)
#define UNIT_S		INT64CONST(1000000000)
#define UNIT_DAY	NSECS_PER_DAY

/* A parsed ISO string. */
typedef struct IsoTime
{
	int64		days;			/* since 1970-01-01 */
	int64		usecs;			/* of the day, 0 .. 86400000000 */
	bool		has_zone;
	int			offset;			/* seconds east of UTC */
} IsoTime;

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

static Unit
reading_unit(const CdcConverter *converter)
{
	const char *unit = converter->reading.unit;

	if (unit == NULL)
		return UNIT_NONE;
	return strcmp(unit, "d") == 0 ? UNIT_DAY :
		strcmp(unit, "s") == 0 ? UNIT_S :
		strcmp(unit, "ms") == 0 ? UNIT_MS :
		strcmp(unit, "us") == 0 ? UNIT_US : UNIT_NS;
}

/* Does the schema leave it to us to know the unit? */
static bool
semantic_is_silent(CdcSemantic semantic)
{
	return semantic == CDC_SEM_UNKNOWN || semantic == CDC_SEM_PLAIN ||
		semantic == CDC_SEM_OTHER;
}

/* Precision (fractional digits) of the target; -1: not declared. */
static int
declared_precision(const CdcConverter *converter)
{
	return converter->typmod;
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

	if (token->kind != CDC_JSON_NUMBER || !(token->flags & CDC_JSON_INTEGER))
		return cdc_convert_unreadable(converter, value);
	if (!cdc_parse_int64(token->text, token->len, n))
		return out_of_range(converter, value);
	return true;
}

/* n in unit -> us; false with an error if that is not exact or overflows. */
static bool
to_usecs(const CdcConverter *converter, const CdcValue *value, int64 n,
		 Unit unit, int64 *usecs)
{
	*usecs = 0;
	if (unit < UNIT_US)
	{
		if (n % UNIT_US != 0)
			return inexact(converter, value);
		*usecs = n / UNIT_US;
		return true;
	}
	if (pg_mul_s64_overflow(n, unit / UNIT_US, usecs))
		return out_of_range(converter, value);
	return true;
}

/* digits{min,max} into *n; NULL if there are fewer or more. */
static const char *
parse_digits(const char *p, int min, int max, int *n)
{
	int			i;

	*n = 0;
	for (i = 0; i < max && p[i] >= '0' && p[i] <= '9'; i++)
		*n = *n * 10 + (p[i] - '0');
	return i < min || (p[i] >= '0' && p[i] <= '9') ? NULL : p + i;
}

/* [+-]YYYY..-MM-DD */
static const char *
parse_date(const char *p, int64 *days)
{
	bool		negative = *p == '-';
	int			year;
	int			month;
	int			day;

	if (*p == '-' || *p == '+')
		p++;
	if ((p = parse_digits(p, 4, 9, &year)) == NULL || *p++ != '-' ||
		(p = parse_digits(p, 2, 2, &month)) == NULL || *p++ != '-' ||
		(p = parse_digits(p, 2, 2, &day)) == NULL)
		return NULL;
	if (negative)
		year = -year;
	if (month < 1 || month > 12 || day < 1 ||
		day > day_tab[isleap(year)][month - 1] ||
		!IS_VALID_JULIAN(year, month, day))
		return NULL;
	*days = date2j(year, month, day) - UNIX_EPOCH_JDATE;
	return p;
}

/* .fffffffff; nothing beyond us may be set. */
static const char *
parse_fraction(const char *p, int64 *usecs)
{
	int			ndigits = 0;
	int64		n = 0;

	for (; *p >= '0' && *p <= '9'; p++, ndigits++)
	{
		if (ndigits < 6)
			n = n * 10 + (*p - '0');
		else if (*p != '0')
			return NULL;
	}
	if (ndigits == 0)
		return NULL;
	for (; ndigits < 6; ndigits++)
		n *= 10;
	*usecs = n;
	return p;
}

/* HH:MM[:SS[.f]] */
static const char *
parse_time(const char *p, int64 *usecs)
{
	int			hour;
	int			minute;
	int			second = 0;
	int64		fraction = 0;

	if ((p = parse_digits(p, 2, 2, &hour)) == NULL || *p++ != ':' ||
		(p = parse_digits(p, 2, 2, &minute)) == NULL)
		return NULL;
	if (*p == ':')
	{
		if ((p = parse_digits(p + 1, 2, 2, &second)) == NULL)
			return NULL;
		if (*p == '.' && (p = parse_fraction(p + 1, &fraction)) == NULL)
			return NULL;
	}
	if (minute > 59 || second > 59)
		return NULL;
	*usecs = (hour * INT64CONST(3600) + minute * 60 + second) * USECS_PER_SEC +
		fraction;
	return *usecs > USECS_PER_DAY ? NULL : p;
}

/* [Z|+HH[:MM[:SS]]] and the end of the string */
static bool
parse_zone(const char *p, IsoTime *iso)
{
	int			sign;
	int			part[3] = {0, 0, 0};

	iso->has_zone = *p != '\0';
	iso->offset = 0;
	if (*p == '\0' || strcmp(p, "Z") == 0)
		return true;
	if (*p != '+' && *p != '-')
		return false;
	sign = *p++ == '-' ? -1 : 1;
	for (int i = 0; i < 3; i++)
	{
		if ((p = parse_digits(p, 2, 2, &part[i])) == NULL)
			return false;
		if (*p != ':')
			break;
		p++;
	}
	if (*p != '\0' || part[0] > 15 || part[1] > 59 || part[2] > 59)
		return false;
	iso->offset = sign * (part[0] * SECS_PER_HOUR + part[1] * SECS_PER_MINUTE + part[2]);
	return true;
}

/* A date, with or without a time of day and a zone. */
static bool
parse_iso(const char *p, IsoTime *iso)
{
	iso->usecs = 0;
	if ((p = parse_date(p, &iso->days)) == NULL)
		return false;
	if (*p == 'T' || *p == ' ')
		if ((p = parse_time(p + 1, &iso->usecs)) == NULL)
			return false;
	return parse_zone(p, iso);
}

/* us since 1970 -> Timestamp, infinities included. */
static bool
timestamp_from_usecs(CdcConverter *converter, const CdcValue *value,
					 int64 usecs, Timestamp *result)
{
	if (usecs == WIRE_INFINITY)
		*result = DT_NOEND;
	else if (usecs == WIRE_MINUS_INFINITY)
		*result = DT_NOBEGIN;
	else if (pg_sub_s64_overflow(usecs, EPOCH_USECS, result) ||
			 !IS_VALID_TIMESTAMP(*result))
		return out_of_range(converter, value);
	else if (!fits_precision(converter, *result))
		return inexact(converter, value);
	return true;
}

/*
 * The unit of an integer that goes into a timestamp and has no schema.
 *
 * MySQL and MariaDB send DATETIME(0..3) in ms and DATETIME(4..6) in us,
 * PostgreSQL timestamp(0..3) in ms and timestamp(4..6), timestamp in us.  The
 * target's declared precision is taken for the source's, but only as long as
 * the date is not suspicious: a ms value read as us falls into 1970 (or, from
 * year 5138 on, into 1973 to 1978), a us value read as ms lies after the year
 * 9999.  MySQL's own range proves us for everything outside of it.  All else,
 * every other connector, and everything in strict mode, is an error.
 */
#define MS_YEAR_9999	INT64CONST(253370764800000)
#define MS_MAX			INT64CONST(253402300799999) /* 9999-12-31 23:59:59.999 */
#define MS_MIN			INT64CONST(-62167219200000) /* 0000-01-01 */
#define US_MAX			(MS_MAX * 1000 + 999)
#define MS_1973			INT64CONST(100000000000)
#define MS_2400			INT64CONST(13569465600000)
#define MS_5138			INT64CONST(100000000000000)

static Unit
guess_timestamp_unit(const CdcConverter *converter, CdcConnector connector,
					 int64 n)
{
	int			precision = declared_precision(converter);
	int64		size = n < 0 ? -n : n;

	if (n == 0)
		return UNIT_US;
	if (n == WIRE_INFINITY || n == WIRE_MINUS_INFINITY)
		return UNIT_US;
	if (n == WIRE_INFINITY / 1000 || n == WIRE_MINUS_INFINITY / 1000)
		return UNIT_MS;
	if (converter->strict ||
		(connector != CDC_CONNECTOR_MYSQL && connector != CDC_CONNECTOR_POSTGRESQL))
		return UNIT_NONE;
	if (n > MS_MAX || n < MS_MIN)
		return connector == CDC_CONNECTOR_MYSQL ||
			precision < 0 || precision > 3 ? (n > US_MAX ? UNIT_NONE : UNIT_US) :
			UNIT_NONE;
	if (precision >= 0 && precision <= 3)
		return UNIT_MS;
	if (connector == CDC_CONNECTOR_MYSQL && precision < 0)
		return size >= MS_1973 && size < MS_2400 ? UNIT_MS : UNIT_NONE;
	if (connector == CDC_CONNECTOR_POSTGRESQL)
		return size >= MS_5138 && n < MS_YEAR_9999 ? UNIT_US : UNIT_NONE;
	return UNIT_NONE;
}

static Unit
timestamp_unit(const CdcConverter *converter, const CdcValue *value, int64 n)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);

	switch (semantic)
	{
		case CDC_SEM_TIMESTAMP_MS:
			return UNIT_MS;
		case CDC_SEM_TIMESTAMP_US:
			return UNIT_US;
		case CDC_SEM_TIMESTAMP_NS:
			return UNIT_NS;
		case CDC_SEM_DATE:
			return UNIT_DAY;
		default:
			break;
	}
	if (!semantic_is_silent(semantic))
		return UNIT_NONE;
	if (converter->reading.unit)
		return reading_unit(converter);
	if (semantic != CDC_SEM_UNKNOWN)
		return UNIT_NONE;
	return guess_timestamp_unit(converter, value->connector, n);
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

/* An integer, for timestamp and timestamptz alike. */
static bool
timestamp_from_integer(CdcConverter *converter, const CdcValue *value,
					   bool to_utc, Timestamp *result)
{
	int64		n;
	int64		usecs;
	Unit		unit;

	if (!integer_token(converter, value, &n))
		return false;
	if ((unit = timestamp_unit(converter, value, n)) == UNIT_NONE)
		return unit_unknown(converter, value);
	if (unit == UNIT_NS && (n == PG_INT64_MAX || n == PG_INT64_MIN))
		usecs = n < 0 ? WIRE_MINUS_INFINITY : WIRE_INFINITY;
	else if (!to_usecs(converter, value, n, unit, &usecs))
		return false;
	if (to_utc && converter->zone && usecs != WIRE_INFINITY &&
		usecs != WIRE_MINUS_INFINITY)
	{
		Timestamp	check;

		if (!timestamp_from_usecs(converter, value, usecs, &check))
			return false;
		usecs = zone_to_utc(converter, usecs);
	}
	return timestamp_from_usecs(converter, value, usecs, result);
}

/*
 * A string -> us since 1970 UTC, or wall clock where it has no zone.  An
 * IsoTimestamp is a wall clock with a Z that means nothing.
 */
static bool
usecs_from_string(CdcConverter *converter, const CdcValue *value,
				  int64 *usecs, bool *has_zone)
{
	char	   *text;
	int			len;
	IsoTime		iso;

	if ((text = cdc_value_text(value, &len)) == NULL)
		return false;
	*has_zone = true;
	if (strcmp(text, "infinity") == 0)
		*usecs = WIRE_INFINITY;
	else if (strcmp(text, "-infinity") == 0 ||
			 strcmp(text, WIRE_ISO_MINUS_INFINITY) == 0)
		*usecs = WIRE_MINUS_INFINITY;
	else if (!parse_iso(text, &iso))
		return cdc_convert_fail(value, ERRCODE_INVALID_DATETIME_FORMAT,
								"invalid input for type %s: \"%s\"",
								converter->type_name,
								cdc_token_head(value->token));
	else if (pg_mul_s64_overflow(iso.days, USECS_PER_DAY, usecs) ||
			 pg_add_s64_overflow(*usecs, iso.usecs, usecs))
		return out_of_range(converter, value);
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
 * A wall clock (integer, IsoTimestamp, string without zone) is taken to be in
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
	IsoTime		iso;

	if (!string_is_temporal(converter, value) ||
		(text = cdc_value_text(value, &len)) == NULL)
		return false;
	if (strcmp(text, "infinity") == 0 ||
		strcmp(text, WIRE_ISO_DATE_INFINITY) == 0)
		*result = DateADTGetDatum(DATEVAL_NOEND);
	else if (strcmp(text, "-infinity") == 0)
		*result = DateADTGetDatum(DATEVAL_NOBEGIN);
	else if (!parse_iso(text, &iso))
		return cdc_convert_fail(value, ERRCODE_INVALID_DATETIME_FORMAT,
								"invalid input for type %s: \"%s\"",
								converter->type_name,
								cdc_token_head(value->token));
	else if (iso.usecs != 0 || iso.offset != 0)
		return inexact(converter, value);
	else
		return date_from_days(converter, value, iso.days, result);
	return true;
}

/*
 * An integer without a schema is days with MySQL, MariaDB and PostgreSQL,
 * whatever their options are; with others only up to the year 10183 (beyond it
 * may be ms), and with Oracle, whose DATE is in ms, it needs a reading.
 */
static Unit
date_unit(const CdcConverter *converter, const CdcValue *value, int64 n)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);

	if (!semantic_is_silent(semantic))
		return timestamp_unit(converter, value, n);
	if (converter->reading.unit)
		return reading_unit(converter);
	if (semantic != CDC_SEM_UNKNOWN)
		return UNIT_NONE;
	if (value->connector == CDC_CONNECTOR_MYSQL ||
		value->connector == CDC_CONNECTOR_POSTGRESQL)
		return UNIT_DAY;
	if (converter->strict || value->connector == CDC_CONNECTOR_ORACLE)
		return UNIT_NONE;
	return n >= -3000000 && n <= 3000000 ? UNIT_DAY : UNIT_NONE;
}

bool
cdc_convert_date(CdcConverter *converter, const CdcValue *value, Datum *result)
{
	int64		n;
	Unit		unit;

	if (value->token->kind == CDC_JSON_STRING)
		return date_from_string(converter, value, result);
	if (!integer_token(converter, value, &n))
		return false;
	unit = n == WIRE_DATE_INFINITY && !converter->reading.unit ? UNIT_DAY :
		date_unit(converter, value, n);
	if (unit == UNIT_NONE)
		return unit_unknown(converter, value);
	if (n == WIRE_DATE_INFINITY && unit == UNIT_DAY)
	{
		*result = DateADTGetDatum(DATEVAL_NOEND);
		return true;
	}
	if (n % (UNIT_DAY / unit) != 0)
		return inexact(converter, value);
	return date_from_days(converter, value, n / (UNIT_DAY / unit), result);
}

/*
 * The unit of an integer that goes into a time (or, from MySQL, an interval)
 * and has no schema.  MySQL and MariaDB send us by default, PostgreSQL ms for
 * time(0..3) and us else, where again the target's declared precision is taken
 * for the source's.  More than a day of ms proves us.  All other connectors,
 * and strict mode where nothing is proved: an error.
 */
static Unit
guess_time_unit(const CdcConverter *converter, CdcConnector connector, int64 n)
{
	int			precision = declared_precision(converter);
	bool		day_of_ms = n > 0 && n <= MSECS_PER_DAY;

	if (n == 0)
		return UNIT_US;
	if (connector == CDC_CONNECTOR_MYSQL)
		return converter->strict && day_of_ms ? UNIT_NONE : UNIT_US;
	if (connector != CDC_CONNECTOR_POSTGRESQL)
		return UNIT_NONE;
	if (!day_of_ms)
		return n <= USECS_PER_DAY ? UNIT_US : UNIT_NONE;
	if (converter->strict)
		return UNIT_NONE;
	return precision >= 0 && precision <= 3 ? UNIT_MS : UNIT_US;
}

static Unit
time_unit(const CdcConverter *converter, const CdcValue *value, int64 n)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);

	switch (semantic)
	{
		case CDC_SEM_TIME_MS:
			return UNIT_MS;
		case CDC_SEM_TIME_US:
			return UNIT_US;
		case CDC_SEM_TIME_NS:
			return UNIT_NS;
		default:
			break;
	}
	if (!semantic_is_silent(semantic))
		return UNIT_NONE;
	if (converter->reading.unit)
		return reading_unit(converter);
	if (semantic != CDC_SEM_UNKNOWN)
		return UNIT_NONE;
	return guess_time_unit(converter, value->connector, n);
}

static bool
time_from_string(CdcConverter *converter, const CdcValue *value, IsoTime *iso)
{
	char	   *text;
	const char *p;
	int			len;

	if (!string_is_temporal(converter, value) ||
		(text = cdc_value_text(value, &len)) == NULL)
		return false;
	if ((p = parse_time(text, &iso->usecs)) == NULL || !parse_zone(p, iso))
		return cdc_convert_fail(value, ERRCODE_INVALID_DATETIME_FORMAT,
								"invalid input for type %s: \"%s\"",
								converter->type_name,
								cdc_token_head(value->token));
	if (!fits_precision(converter, iso->usecs))
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
	Unit		unit;
	IsoTime		iso;

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
	if ((unit = time_unit(converter, value, n)) == UNIT_NONE)
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
	IsoTime		iso;
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

/* One "-12.5H" of an ISO 8601 duration; only seconds may have a fraction. */
static const char *
parse_duration_part(const char *p, int64 *n, int64 *usecs, char *unit)
{
	bool		negative = *p == '-';
	const char *start;

	if (*p == '-' || *p == '+')
		p++;
	start = p;
	*n = 0;
	*usecs = 0;
	for (; *p >= '0' && *p <= '9'; p++)
	{
		if (pg_mul_s64_overflow(*n, 10, n) ||
			pg_add_s64_overflow(*n, *p - '0', n))
			return NULL;
	}
	if (p == start)
		return NULL;
	if (*p == '.' && (p = parse_fraction(p + 1, usecs)) == NULL)
		return NULL;
	if (negative)
	{
		*n = -*n;
		*usecs = -*usecs;
	}
	*unit = *p;
	return *p == '\0' ? NULL : p + 1;
}

/* P1Y2M3DT4H5M6.789S */
static bool
parse_duration(const char *p, Interval *interval)
{
	int64		months = 0;
	int64		days = 0;
	int64		time = 0;
	bool		in_time = false;
	bool		empty = true;

	if (*p++ != 'P')
		return false;
	while (*p)
	{
		int64		n;
		int64		usecs;
		int64		scale;
		int64	   *into;
		char		unit;

		if (*p == 'T' && !in_time)
		{
			in_time = true;
			p++;
			continue;
		}
		if ((p = parse_duration_part(p, &n, &usecs, &unit)) == NULL ||
			(usecs != 0 && unit != 'S'))
			return false;
		if (in_time)
		{
			into = &time;
			scale = unit == 'H' ? USECS_PER_HOUR : unit == 'M' ? USECS_PER_MINUTE :
				unit == 'S' ? USECS_PER_SEC : 0;
		}
		else
		{
			into = unit == 'Y' || unit == 'M' ? &months : &days;
			scale = unit == 'Y' ? MONTHS_PER_YEAR : unit == 'W' ? 7 :
				unit == 'M' || unit == 'D' ? 1 : 0;
		}
		if (scale == 0 || pg_mul_s64_overflow(n, scale, &n) ||
			pg_add_s64_overflow(*into, n, into) ||
			pg_add_s64_overflow(*into, usecs, into))
			return false;
		empty = false;
	}
	if (empty || months != (int32) months || days != (int32) days)
		return false;
	interval->month = (int32) months;
	interval->day = (int32) days;
	interval->time = time;
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
	if (!parse_duration(text, interval))
		return cdc_convert_fail(value, ERRCODE_INVALID_DATETIME_FORMAT,
								"invalid input for type %s: \"%s\"",
								converter->type_name,
								cdc_token_head(value->token));
	return true;
}

static Unit
interval_unit(const CdcConverter *converter, const CdcValue *value, int64 n)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);

	if (semantic == CDC_SEM_DURATION_US)
		return UNIT_US;
	if (semantic == CDC_SEM_DURATION_NS)
		return UNIT_NS;
	/* an interval of PostgreSQL is never sent in another unit */
	if (semantic == CDC_SEM_UNKNOWN && converter->reading.unit == NULL &&
		value->connector == CDC_CONNECTOR_POSTGRESQL)
		return UNIT_US;
	return time_unit(converter, value, n);
}

bool
cdc_convert_interval(CdcConverter *converter, const CdcValue *value,
					 Datum *result)
{
	Interval   *interval = palloc0(sizeof(*interval));
	int64		n;
	Unit		unit;

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
		if ((unit = interval_unit(converter, value, n)) == UNIT_NONE)
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
