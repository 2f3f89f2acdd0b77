/*-------------------------------------------------------------------------
 *
 * fields.h
 *	  Finding the wanted members of a JSON object by name.
 *
 * Pure C, no PostgreSQL.  Used by the files of the decoder alone; the caller's
 * view of it is CdcField in envelope.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_FIELDS_H
#define CDC_FIELDS_H

#include "envelope.h"

/* Set of wanted names; made once, then only read. */
typedef struct CdcFieldSet
{
	int			nfields;
	CdcField   *fields;			/* names point into arena */
	int		   *next;			/* next field of the same folded name, or -1 */
	int		   *buckets;		/* hash of the folded name -> field, or -1 */
	uint32_t	mask;			/* number of buckets - 1 */
	uint32_t	longest;		/* longest name, in bytes */
	int			whole;			/* the field that is the object itself, or -1 */
	char	   *arena;
	char	   *scratch;		/* for a name with escapes */
} CdcFieldSet;

/*
 * What the n-th member of the last object was called.  Records of one topic
 * have their members in one order, so the next name is mostly known before it
 * is read.
 */
#define CDC_MEMO_LITERAL	56
typedef struct CdcMemoSlot
{
	int			head;			/* what cdc_fields_step() said of the name */
	uint32_t	len;			/* of the literal; 0: nothing remembered */
	char		literal[CDC_MEMO_LITERAL];	/* "name": */
} CdcMemoSlot;

typedef struct CdcMemo
{
	int			nslots;
	CdcMemoSlot *slots;
	uint64_t	nmisses;		/* names that were not the remembered ones */
} CdcMemo;

/* The wanted values of one object. */
typedef struct CdcImage
{
	CdcToken	whole;			/* the object itself, or whatever stood there */
	CdcToken   *tokens;			/* as many as the set has fields */
	bool	   *exact;			/* the value came under the exact name */
	int			nmembers;		/* members of the object, wanted or not */
} CdcImage;

extern bool cdc_fields_init(CdcFieldSet *set, const CdcField *fields, int n);
extern void cdc_fields_free(CdcFieldSet *set);

extern bool cdc_memo_init(CdcMemo *memo, int nslots);
extern void cdc_memo_free(CdcMemo *memo);

extern bool cdc_image_init(CdcImage *image, const CdcFieldSet *set);
extern void cdc_image_free(CdcImage *image);
extern void cdc_image_reset(CdcImage *image, const CdcFieldSet *set);

/*
 * Step to the i-th member of the object that the scanner is in: as
 * cdc_scan_member(), and *head is the first field, in the order of their
 * chain, that means its name; or -1.
 */
extern int	cdc_fields_step(const CdcFieldSet *set, CdcMemo *memo,
							CdcScanner *scanner, int i, CdcToken *name,
							int *head);

/* The first field that means this name, or -1. */
extern int	cdc_fields_find(const CdcFieldSet *set, const CdcToken *name);

/* Give the value to all fields that mean this name. */
extern void cdc_image_store(CdcImage *image, const CdcFieldSet *set, int head,
							const CdcToken *name, const CdcToken *value);

#endif							/* CDC_FIELDS_H */
