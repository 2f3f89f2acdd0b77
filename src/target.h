/*-------------------------------------------------------------------------
 *
 * target.h
 *	  The target as a sync sees it: its columns, where each comes from, its
 *	  key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_TARGET_H
#define CDC_TARGET_H

#include "access/attnum.h"

#include "convert.h"
#include "pseudo.h"

typedef struct CdcColumn
{
	char	   *name;
	AttrNumber	attnum;
	Oid			typid;
	int32		typmod;
	Oid			collation;
	CdcColumnSource source;
	int			index;			/* FIELD, SOURCE_FIELD: number in the decoder's
								 * list */
	int			key_no;			/* place in the key, from 0; -1: not in it */
	bool		may_raise;		/* its conversion may ereport() */
	CdcConverter *converter;	/* NULL for pseudo-fields that need none */
} CdcColumn;

typedef struct CdcTarget
{
	Oid			relid;
	int			ncolumns;		/* the columns that we feed */
	CdcColumn  *columns;
	int			nkeys;
	int		   *keys;			/* key_no -> index in columns */
	int			nscope;			/* key columns that tell the source of a row .. */
	int		   *scope;			/* .. from that of others: indexes in columns */
	int			nfields;		/* decoder's lists */
	CdcField   *fields;
	int			nsource_fields;
	CdcField   *source_fields;
	bool		key_is_unique;	/* a unique index over exactly the key */
	bool		key_is_indexed; /* an index begins with the key's columns */
	bool		other_unique;	/* has a unique or exclusion constraint besides the
								 * key */
	bool		deferrable;		/* has a constraint that can be checked at
								 * commit */
	bool		identity_always;	/* has a GENERATED ALWAYS AS IDENTITY column */
	CdcMode		mode;
	bool		keyless;		/* a mirror without a key: rows are found by all
								 * their values */
	bool		is_view;		/* with INSTEAD OF triggers, or updatable */
	int			ts_us;			/* source.ts_us in the decoder's list, or -1: no
								 * column wants the time of a change */
} CdcTarget;

/* The column that is fed by a pseudo-field, or NULL. */
extern const CdcColumn *cdc_target_pseudo(const CdcTarget *target,
										  CdcColumnSource source);

/*
 * Describe relid as a target of the pipeline, in the current memory context.
 * Raises the errors of a wrong set-up, each with a hint: 42809 not a table;
 * 42703 no such column; 42601/22023 a bad mapping; 55000 key column not
 * mapped, generated columns mapped, a column missing that the mode needs.
 *
 * key: names of the key columns; NIL: the primary key.  Without that, a mirror
 * is keyless; the mode append never has a key.
 */
extern CdcTarget *cdc_target_describe(Oid relid, List *key, List *readings,
									  bool strict, CdcMode mode);

/*
 * Does this pseudo-field tell the source of a row: $source.name, .db, .schema,
 * .table?  Where the key has such a column, several sources may feed the target,
 * and what is done for all rows of one (a truncate, a sweep) is done for those
 * alone that have its values in CdcTarget.scope.
 */
extern bool cdc_target_is_scope(const char *field);

/*
 * The key that a primary key makes for a mode: in history without the columns
 * that tell versions apart; NIL in append.
 */
extern List *cdc_target_key(Oid relid, List *readings, CdcMode mode);

#endif							/* CDC_TARGET_H */
