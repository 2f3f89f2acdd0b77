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

/*
 * PostgreSQL 18 (commit 4d143509) gave BuildTupleHashTableExt() the short name
 * and the input slot's operations, and put the caller's data behind the entry.
 * TupleHashEntryPointer_compat is the place of one pointer there; it may move
 * at the next insertion.
 */
#if PG_VERSION_NUM >= 180000
#define BuildTupleHashTable_compat BuildTupleHashTable
#define TupleHashEntryPointer_compat(table, entry) \
	((void **) TupleHashEntryGetAdditional(table, entry))
#else
#define BuildTupleHashTable_compat(parent, desc, ops, ncols, cols, eq, hash, colls, nbuckets, extra, meta, table, temp, iv) \
	BuildTupleHashTableExt(parent, desc, ncols, cols, eq, hash, colls, nbuckets, extra, meta, table, temp, iv)
#define TupleHashEntryPointer_compat(table, entry) (&(entry)->additional)
#endif

#endif							/* CDC_COMPAT_H */
