/*-------------------------------------------------------------------------
 *
 * skeleton.h
 *	  Decoding a record by its likeness to earlier ones.
 *
 * Pure C, no PostgreSQL.  Used by the files of the decoder alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_SKELETON_H
#define CDC_SKELETON_H

#include "fields.h"
#include "placeholder.h"

/* Skeletons that are kept, images that one restores. */
#define CDC_SKELETONS		8
#define CDC_SKELETON_IMAGES	6
#define CDC_SKELETON_FIXED	4

/* Where a record may differ from others of its structure. */
typedef struct CdcLeaf
{
	uint32_t	start;			/* bytes of the record, quotes included */
	uint32_t	end;
	uint16_t	depth;			/* of the scanner before it */
	bool		open;			/* a gap; else part of a literal */
	bool		fixed;			/* never a gap: other bytes, another skeleton */
	bool		no_object;		/* an object would be taken apart */
} CdcLeaf;

typedef struct CdcLeaves
{
	CdcLeaf    *leaves;
	int			n;
	int			size;
} CdcLeaves;

/* An image that the full scan fills, and so must a skeleton. */
typedef struct CdcSkeletonImage
{
	CdcImage   *image;
	int			ntokens;
	const CdcPlaceholder *placeholder;	/* to look for, or NULL */
} CdcSkeletonImage;

/* A literal, and the gap behind it; behind the last one is no gap. */
typedef struct CdcStep
{
	uint32_t	offset;			/* of the literal in the skeleton's text */
	uint32_t	len;
	uint16_t	depth;			/* of the scanner at the gap */
	uint8_t		refused;		/* kind that may not be in the gap, or
								 * CDC_ANY_KIND */
} CdcStep;

#define CDC_ANY_KIND	0xFF

/* A place in a record: so many bytes behind the begin of a step's literal. */
typedef struct CdcPlace
{
	uint32_t	step;
	uint32_t	offset;
} CdcPlace;

/* How a token comes about; they are restored in this order. */
typedef enum CdcStoreOrigin
{
	CDC_STORE_LITERAL,
	CDC_STORE_GAP,				/* it is the value of from's gap */
	CDC_STORE_MIXED				/* an object with gaps inside that may be the
								 * placeholder */
} CdcStoreOrigin;

/* A token of an image, and where it comes from. */
typedef struct CdcStore
{
	CdcToken   *token;
	const CdcPlaceholder *placeholder;
	uint8_t		origin;			/* CdcStoreOrigin */
	uint8_t		kind;			/* unless it is a gap's value, it spans these .. */
	uint8_t		flags;			/* .. bytes with these properties */
	CdcPlace	from;
	CdcPlace	to;
} CdcStore;

typedef struct CdcSkeleton
{
	char	   *text;
	uint32_t	len;
	uint32_t	text_size;
	CdcLeaves	leaves;
	CdcStep    *steps;
	int			nsteps;
	int			steps_size;
	CdcStore   *stores;
	int			nstores;		/* in the order of their origins */
	int			nliterals;
	int			ngaps;
	int			nmembers[CDC_SKELETON_IMAGES];
	uint8_t		frame;
	bool		constant;		/* the watched tokens are in the literals */
	uint8_t		verdict;
	struct CdcReplay *replay;	/* see replay.c, which sets it; or NULL */
} CdcSkeleton;

typedef struct CdcSkeletons
{
	CdcSkeletonImage images[CDC_SKELETON_IMAGES];
	int			nimages;
	int			nalways;		/* the images behind these are looked at only where
								 * the frame has CDC_SKELETON_MORE */
	const CdcToken *watched;	/* tokens that a verdict is about */
	int			nwatched;
	const CdcToken *fixed[CDC_SKELETON_FIXED];	/* tokens that are never gaps */
	int			nfixed;
	CdcSkeleton *kept[CDC_SKELETONS];	/* the last used first; NULL: free */
	CdcLeaves	trace;			/* leaves of the record that is scanned */
	bool		tracing;
	bool		off;
	int			credit;
	int			rest;			/* records to sit out */
	uint64_t	hits;

	/* the record that is compared: each gap's value, each literal's place */
	CdcToken   *values;
	const char **literals;
	int			nsteps;			/* size of both */
} CdcSkeletons;

extern void cdc_skeletons_free(CdcSkeletons *skeletons);

/* Before the first record: an image that belongs to what is restored. */
extern void cdc_skeletons_add(CdcSkeletons *skeletons, CdcImage *image,
							  const CdcFieldSet *set,
							  const CdcPlaceholder *placeholder);

/* The flag of a frame whose record has filled the images behind the first ones. */
#define CDC_SKELETON_MORE	0x02

/*
 * Before the first record: a token that says what a record is.  It has few values,
 * and the records of each get skeletons of their own.
 */
extern void cdc_skeletons_fix(CdcSkeletons *skeletons, const CdcToken *token);

/* The skeleton that a record fits, or NULL: it is to be scanned in full then. */
extern CdcSkeleton *cdc_skeletons_find(CdcSkeletons *skeletons, const char *text,
									   size_t len);

/*
 * Restore the images, and *frame, from the record that fits.  *verdict: if the
 * watched tokens are the same in all records that fit, a place for what is thought
 * of them, 0 to begin with; else it is left alone.
 */
extern void cdc_skeleton_restore(const CdcSkeletons *skeletons, CdcSkeleton *skeleton,
								 uint8_t *frame, uint8_t **verdict);

/* Bring a store's token up to date with the record that fits. */
extern void cdc_store_restore(const CdcSkeletons *skeletons, const CdcStore *store,
							  CdcToken *token);

/*
 * While a record is scanned in full: the scanner is behind this value, which
 * was scanned by cdc_scan_value() whatever it was; if no_object, because it is
 * no object.
 */
extern void cdc_skeletons_leaf(CdcSkeletons *skeletons,
							   const CdcScanner *scanner,
							   const CdcToken *value, bool no_object);

/*
 * The record was found valid, and its images are as they have to be.  The skeleton
 * that was made of it, or NULL.
 */
extern CdcSkeleton *cdc_skeletons_keep(CdcSkeletons *skeletons, const char *text,
									   size_t len, uint8_t frame);

#endif							/* CDC_SKELETON_H */
