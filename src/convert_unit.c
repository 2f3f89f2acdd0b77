/*-------------------------------------------------------------------------
 *
 * convert_unit.c
 *	  The unit of an integer that stands for a date, a time or a duration.
 *
 * With a schema, the logical type tells it; else the column's reading.  Without
 * both, the same integer can be days, milliseconds, microseconds or
 * nanoseconds: the connector and the target's declared precision, which is taken
 * for the source's, decide, as long as the other units would give a suspicious
 * date.  Where they do not, and in strict mode, there is no unit, which is an
 * error of the value.
 *
 * Pure functions of the value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "datatype/timestamp.h"

#include "convert_internal.h"

#define MSECS_PER_DAY	INT64CONST(86400000)

/* Some moments in ms since 1970, and in us. */
#define MS_MAX			INT64CONST(253402300799999) /* 9999-12-31 23:59:59.999 */
#define MS_YEAR_9999	INT64CONST(253370764800000)
#define MS_MIN			INT64CONST(-62167219200000) /* 0000-01-01 */
#define MS_ORACLE_MIN	INT64CONST(-210866803200000)	/* -4712-01-01 */
#define MS_1973			INT64CONST(100000000000)
#define MS_2400			INT64CONST(13569465600000)
#define MS_5138			INT64CONST(100000000000000)
#define US_MAX			(MS_MAX * 1000 + 999)
#define US_1990			INT64CONST(631152000000000)
#define US_2400			(MS_2400 * 1000)

/* MySQL's TIME: 838:59:59.999999. */
#define US_TIME_MAX		INT64CONST(3020399999999)

static CdcUnit
reading_unit(const CdcConverter *converter)
{
	const char *unit = converter->reading.unit;

	return strcmp(unit, "d") == 0 ? CDC_UNIT_DAY :
		strcmp(unit, "s") == 0 ? CDC_UNIT_S :
		strcmp(unit, "ms") == 0 ? CDC_UNIT_MS :
		strcmp(unit, "us") == 0 ? CDC_UNIT_US : CDC_UNIT_NS;
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

/* Connectors that send ms, us or ns, by the precision of the source's column. */
static bool
is_fine(CdcConnector connector)
{
	return connector == CDC_CONNECTOR_SQLSERVER ||
		connector == CDC_CONNECTOR_ORACLE || connector == CDC_CONNECTOR_DB2;
}

/*
 * A number that may be ms as well as a finer unit: ms if the target declares so,
 * or, where it declares nothing, if that is in 1973 to 2399, or 1540 to 1966.
 */
static CdcUnit
ms_or_none(int precision, int64 n)
{
	int64		size = n < 0 ? -n : n;

	if (precision >= 0)
		return precision <= 3 ? CDC_UNIT_MS : CDC_UNIT_NONE;
	return size >= MS_1973 && size < MS_2400 ? CDC_UNIT_MS : CDC_UNIT_NONE;
}

/*
 * Timestamps of these: (0..3) in ms, (4..6) in us, (7..9) in ns, and Oracle's
 * DATE in ms.  The years that they know (to 9999, Oracle from -4712) leave ns as
 * the only unit of great numbers.  Else, us if that is in 1990 to 2399: as ns it
 * would be in the first months of 1970.
 */
static CdcUnit
guess_fine_unit(int precision, int64 n)
{
	if (n > US_MAX || n < MS_ORACLE_MIN * 1000)
		return CDC_UNIT_NS;
	if (n > MS_MAX || n < MS_ORACLE_MIN)
		return n >= US_1990 && n < US_2400 ? CDC_UNIT_US : CDC_UNIT_NONE;
	return ms_or_none(precision, n);
}

/*
 * MySQL and MariaDB send DATETIME(0..3) in ms and DATETIME(4..6) in us.  A ms
 * value read as us falls into 1970 (or, from year 5138 on, into 1973 to 1978);
 * what is beyond the years that they know in one unit is the next.
 */
static CdcUnit
guess_mysql_unit(int precision, int64 n)
{
	if (n > US_MAX)
		return CDC_UNIT_NS;
	if (n > MS_MAX || n < MS_MIN)
		return CDC_UNIT_US;
	return ms_or_none(precision, n);
}

/* PostgreSQL sends timestamp(0..3) in ms, timestamp(4..6) and timestamp in us. */
static CdcUnit
guess_postgresql_unit(int precision, int64 n)
{
	int64		size = n < 0 ? -n : n;

	if (n > US_MAX)
		return CDC_UNIT_NONE;
	if (precision >= 0 && precision <= 3)
		return n > MS_MAX || n < MS_MIN ? CDC_UNIT_NONE : CDC_UNIT_MS;
	if (n > MS_MAX || n < MS_MIN)
		return CDC_UNIT_US;
	return size >= MS_5138 && n < MS_YEAR_9999 ? CDC_UNIT_US : CDC_UNIT_NONE;
}

static CdcUnit
guess_timestamp_unit(const CdcConverter *converter, CdcConnector connector,
					 int64 n)
{
	int			precision = declared_precision(converter);

	if (n == 0)
		return CDC_UNIT_US;
	if (connector == CDC_CONNECTOR_POSTGRESQL)
	{
		if (n == CDC_WIRE_INFINITY || n == CDC_WIRE_MINUS_INFINITY)
			return CDC_UNIT_US;
		if (n == CDC_WIRE_INFINITY / 1000 || n == CDC_WIRE_MINUS_INFINITY / 1000)
			return CDC_UNIT_MS;
		if (n == PG_INT64_MAX || n == PG_INT64_MIN)
			return CDC_UNIT_NS;
	}
	if (converter->strict)
		return CDC_UNIT_NONE;
	if (connector == CDC_CONNECTOR_MYSQL)
		return guess_mysql_unit(precision, n);
	if (connector == CDC_CONNECTOR_POSTGRESQL)
		return guess_postgresql_unit(precision, n);
	return is_fine(connector) ? guess_fine_unit(precision, n) : CDC_UNIT_NONE;
}

CdcUnit
cdc_timestamp_unit(const CdcConverter *converter, const CdcValue *value, int64 n)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);

	switch (semantic)
	{
		case CDC_SEM_TIMESTAMP_MS:
			return CDC_UNIT_MS;
		case CDC_SEM_TIMESTAMP_US:
			return CDC_UNIT_US;
		case CDC_SEM_TIMESTAMP_NS:
			return CDC_UNIT_NS;
		case CDC_SEM_DATE:
			return CDC_UNIT_DAY;
		default:
			break;
	}
	if (!semantic_is_silent(semantic))
		return CDC_UNIT_NONE;
	if (converter->reading.unit)
		return reading_unit(converter);
	if (semantic != CDC_SEM_UNKNOWN)
		return CDC_UNIT_NONE;
	return guess_timestamp_unit(converter, value->connector, n);
}

/*
 * Oracle's DATE, which has a time of day: ms by default, us and ns with the
 * modes of these names.  What is no whole number of days in us, or is in 1973 to
 * 2399 as ms, is ms.
 */
static CdcUnit
guess_oracle_date_unit(int64 n)
{
	int64		size = n < 0 ? -n : n;

	if (n >= MS_ORACLE_MIN && n <= MS_MAX)
		return n % USECS_PER_DAY != 0 || (size >= MS_1973 && size < MS_2400) ?
			CDC_UNIT_MS : CDC_UNIT_NONE;
	if (n >= MS_ORACLE_MIN * 1000 && n <= US_MAX)
		return n % CDC_UNIT_DAY != 0 ? CDC_UNIT_US : CDC_UNIT_NONE;
	return CDC_UNIT_NS;
}

/*
 * A date is days, whatever the options are; but for Oracle, and for connectors
 * that we do not know only up to the year 10183 (beyond it may be ms).
 */
CdcUnit
cdc_date_unit(const CdcConverter *converter, const CdcValue *value, int64 n)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);

	if (!semantic_is_silent(semantic))
		return cdc_timestamp_unit(converter, value, n);
	if (converter->reading.unit)
		return reading_unit(converter);
	if (semantic != CDC_SEM_UNKNOWN)
		return CDC_UNIT_NONE;
	switch (value->connector)
	{
		case CDC_CONNECTOR_MYSQL:
		case CDC_CONNECTOR_POSTGRESQL:
		case CDC_CONNECTOR_SQLSERVER:
		case CDC_CONNECTOR_DB2:
			return CDC_UNIT_DAY;
		case CDC_CONNECTOR_ORACLE:
			return converter->strict ? CDC_UNIT_NONE :
				n == 0 ? CDC_UNIT_DAY : guess_oracle_date_unit(n);
		default:
			return !converter->strict && n >= -3000000 && n <= 3000000 ?
				CDC_UNIT_DAY : CDC_UNIT_NONE;
	}
}

/*
 * The unit of an integer that goes into a time (or, from MySQL, an interval)
 * and has no schema.  MySQL and MariaDB send us by default, and ns is what lies
 * beyond their range in us.  PostgreSQL sends ms for time(0..3) and us else,
 * where again the target's declared precision is taken for the source's.  More
 * than a day of ms proves us, more than a day of us ns.  SQL Server and Db2 send
 * ms for time(0..3), us for time(4..6), ns for time(7): up to a day of ms, the
 * target's precision tells ms.  Others, and strict mode where nothing is proved:
 * none.
 */
static CdcUnit
guess_time_unit(const CdcConverter *converter, CdcConnector connector, int64 n)
{
	int			precision = declared_precision(converter);
	bool		is_ms = precision >= 0 && precision <= 3;
	bool		day_of_ms = n > 0 && n <= MSECS_PER_DAY;
	bool		has_fine_time = connector == CDC_CONNECTOR_SQLSERVER ||
		connector == CDC_CONNECTOR_DB2;

	if (n == 0)
		return CDC_UNIT_US;
	if (connector == CDC_CONNECTOR_MYSQL)
	{
		int64		size = n < 0 ? -n : n;

		if (size > US_TIME_MAX)
			return size <= US_TIME_MAX * 1000 ? CDC_UNIT_NS : CDC_UNIT_NONE;
		return converter->strict && day_of_ms ? CDC_UNIT_NONE : CDC_UNIT_US;
	}
	if ((has_fine_time || connector == CDC_CONNECTOR_POSTGRESQL) &&
		n > USECS_PER_DAY && n <= CDC_UNIT_DAY)
		return CDC_UNIT_NS;
	if (converter->strict && (day_of_ms || connector != CDC_CONNECTOR_POSTGRESQL))
		return CDC_UNIT_NONE;
	if (has_fine_time)
		return is_ms && day_of_ms ? CDC_UNIT_MS : CDC_UNIT_NONE;
	if (connector != CDC_CONNECTOR_POSTGRESQL)
		return CDC_UNIT_NONE;
	if (!day_of_ms)
		return n <= USECS_PER_DAY ? CDC_UNIT_US : CDC_UNIT_NONE;
	return is_ms ? CDC_UNIT_MS : CDC_UNIT_US;
}

CdcUnit
cdc_time_unit(const CdcConverter *converter, const CdcValue *value, int64 n)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);

	switch (semantic)
	{
		case CDC_SEM_TIME_MS:
			return CDC_UNIT_MS;
		case CDC_SEM_TIME_US:
			return CDC_UNIT_US;
		case CDC_SEM_TIME_NS:
			return CDC_UNIT_NS;
		default:
			break;
	}
	if (!semantic_is_silent(semantic))
		return CDC_UNIT_NONE;
	if (converter->reading.unit)
		return reading_unit(converter);
	if (semantic != CDC_SEM_UNKNOWN)
		return CDC_UNIT_NONE;
	return guess_time_unit(converter, value->connector, n);
}

CdcUnit
cdc_interval_unit(const CdcConverter *converter, const CdcValue *value, int64 n)
{
	CdcSemantic semantic = cdc_semantic_of(value->field);

	if (semantic == CDC_SEM_DURATION_US)
		return CDC_UNIT_US;
	if (semantic == CDC_SEM_DURATION_NS)
		return CDC_UNIT_NS;
	/* an interval of PostgreSQL or Oracle is never sent in another unit */
	if (semantic == CDC_SEM_UNKNOWN && converter->reading.unit == NULL &&
		(value->connector == CDC_CONNECTOR_POSTGRESQL ||
		 value->connector == CDC_CONNECTOR_ORACLE))
		return CDC_UNIT_US;
	return cdc_time_unit(converter, value, n);
}
