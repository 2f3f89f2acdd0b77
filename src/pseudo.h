/*-------------------------------------------------------------------------
 *
 * pseudo.h
 *	  Modes, and the pseudo-fields that a column can be fed with.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_PSEUDO_H
#define CDC_PSEUDO_H

/* What becomes of a change in the target: the option "mode". */
typedef enum CdcMode
{
	CDC_MODE_MIRROR,			/* the rows of the source */
	CDC_MODE_SOFT_DELETE,		/* .. and those that it has deleted, marked */
	CDC_MODE_APPEND,			/* each change is a row */
	CDC_MODE_HISTORY			/* each version of a row is a row */
} CdcMode;

/* Names of the modes, as a list for people. */
#define CDC_MODES "mirror, soft_delete, append, history"

extern CdcMode cdc_mode_parse(const char *name);
extern const char *cdc_mode_name(CdcMode mode);

/* Where a target column's value comes from. */
typedef enum CdcColumnSource
{
	CDC_COLUMN_FIELD,			/* a field of the row image */
	CDC_COLUMN_SOURCE_FIELD,	/* $source.<field> */
	CDC_COLUMN_REFRESH_TIME,
	CDC_COLUMN_OP,
	CDC_COLUMN_TS_MS,
	CDC_COLUMN_PARTITION,
	CDC_COLUMN_OFFSET,
	CDC_COLUMN_DELETED_AT,
	CDC_COLUMN_VALID_FROM,
	CDC_COLUMN_VALID_TO,
	CDC_COLUMN_CURRENT
} CdcColumnSource;

typedef struct CdcPseudo
{
	const char *name;			/* "$op" */
	const char *column;			/* that takes it if nothing is mapped */
	const char *type;			/* SQL text */
	CdcColumnSource source;
	unsigned	modes;			/* bit of each mode that knows it */
	unsigned	unmapped;		/* .. in which the column's name is enough */
	unsigned	made;			/* .. in which targets that we make have it */
	unsigned	needed;			/* .. in which each target must have it */
} CdcPseudo;

#define CDC_MODE_BIT(mode) (1u << (mode))

/* All of them, the end marked by a NULL name. */
extern const CdcPseudo cdc_pseudos[];

/* By name ("$op"); NULL: there is none. */
extern const CdcPseudo *cdc_pseudo_find(const char *name);

/* Is it "$source.<field>"?  Then the field, else NULL. */
extern const char *cdc_pseudo_source_field(const char *name);

/* Names for a hint. */
extern char *cdc_pseudo_list(void);

static inline int
cdc_column_is_field(CdcColumnSource source)
{
	return source == CDC_COLUMN_FIELD || source == CDC_COLUMN_SOURCE_FIELD;
}

#endif							/* CDC_PSEUDO_H */
