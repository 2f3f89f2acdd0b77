/*-------------------------------------------------------------------------
 *
 * iso_time.c
 *	  Dates, times and durations in ISO 8601.
 *
 * As Java prints it: years with sign, year 0000 for 1 BC.  The server's input
 * functions do not take all of that, and depend on TimeZone and DateStyle.
 *
 * Pure functions of the text.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/datetime.h"

#include "iso_time.h"

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

/* .fffffffff; *too_fine: something beyond us is set. */
static const char *
parse_fraction(const char *p, int64 *usecs, bool *too_fine)
{
	int			ndigits = 0;
	int64		n = 0;

	for (; *p >= '0' && *p <= '9'; p++, ndigits++)
	{
		if (ndigits < 6)
			n = n * 10 + (*p - '0');
		else if (*p != '0')
			*too_fine = true;
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
parse_time(const char *p, CdcIsoTime *iso)
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
		if (*p == '.' &&
			(p = parse_fraction(p + 1, &fraction, &iso->too_fine)) == NULL)
			return NULL;
	}
	if (minute > 59 || second > 59)
		return NULL;
	iso->usecs = (hour * INT64CONST(3600) + minute * 60 + second) * USECS_PER_SEC +
		fraction;
	return iso->usecs > USECS_PER_DAY ? NULL : p;
}

/* [Z|+HH[:MM[:SS]]] and the end of the string */
static bool
parse_zone(const char *p, CdcIsoTime *iso)
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
bool
cdc_iso_parse(const char *p, CdcIsoTime *iso)
{
	iso->usecs = 0;
	iso->too_fine = false;
	if ((p = parse_date(p, &iso->days)) == NULL)
		return false;
	if (*p == 'T' || *p == ' ')
		if ((p = parse_time(p + 1, iso)) == NULL)
			return false;
	return parse_zone(p, iso);
}

bool
cdc_iso_parse_time(const char *text, CdcIsoTime *iso)
{
	const char *p;

	iso->days = 0;
	iso->too_fine = false;
	return (p = parse_time(text, iso)) != NULL && parse_zone(p, iso);
}

/* One "-12.5H" of an ISO 8601 duration; only seconds may have a fraction. */
static const char *
parse_duration_part(const char *p, int64 *n, int64 *usecs, char *unit)
{
	bool		negative = *p == '-';
	bool		too_fine = false;
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
	if (*p == '.' &&
		((p = parse_fraction(p + 1, usecs, &too_fine)) == NULL || too_fine))
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
bool
cdc_iso_parse_duration(const char *p, Interval *interval)
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
