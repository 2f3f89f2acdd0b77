/*-------------------------------------------------------------------------
 *
 * iso_time.h
 *	  Dates, times and durations in ISO 8601.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_ISO_TIME_H
#define CDC_ISO_TIME_H

#include "datatype/timestamp.h"

/* A parsed ISO string. */
typedef struct CdcIsoTime
{
	int64		days;			/* since 1970-01-01 */
	int64		usecs;			/* of the day, 0 .. 86400000000 */
	bool		too_fine;		/* it had digits beyond us, left out here */
	bool		has_zone;
	int			offset;			/* seconds east of UTC */
} CdcIsoTime;

/*
 * [+-]YYYY..-MM-DD, with a time after T or a blank, and a zone; a time of day,
 * with a zone; P1Y2M3DT4H5M6.789S, in which only seconds have a fraction.  False
 * for anything else.
 */
extern bool cdc_iso_parse(const char *text, CdcIsoTime *iso);
extern bool cdc_iso_parse_time(const char *text, CdcIsoTime *iso);
extern bool cdc_iso_parse_duration(const char *text, Interval *interval);

#endif							/* CDC_ISO_TIME_H */
