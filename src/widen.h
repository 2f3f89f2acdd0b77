/*-------------------------------------------------------------------------
 *
 * widen.h
 *	  Does a column's type hold the values of another one, and if not, which
 *	  type would that loses nothing?
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_WIDEN_H
#define CDC_WIDEN_H

typedef enum CdcWidening
{
	CDC_WIDEN_HOLDS,			/* the column takes all values as it is */
	CDC_WIDEN_TO,				/* .. if it gets the type *to */
	CDC_WIDEN_NOT				/* no wider type does: not to be followed */
} CdcWidening;

/*
 * From the column's type to the SQL text of another one.  *rewrites: ALTER
 * COLUMN .. TYPE *to writes the whole table anew.
 */
extern CdcWidening cdc_widen(Oid typid, int32 typmod, const char *want,
							 char **to, bool *rewrites);

#endif							/* CDC_WIDEN_H */
