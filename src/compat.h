/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  The only file that tests the version of PostgreSQL or librdkafka.
 *
 * A wrapper has the signature of the newest version and the suffix _compat.
 * Include it after postgres.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_COMPAT_H
#define CDC_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "cdcsync needs PostgreSQL 15 or later"
#endif

#endif							/* CDC_COMPAT_H */
