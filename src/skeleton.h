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

/* Where a record may differ from others of its structure. */
typedef struct CdcLeaf
{
	uint32_t	start;			/* bytes of the record, quotes included */
	uint32_t	end;
	uint16_t	depth;			/* of the scanner before it */
	bool		open;			/* a gap; else part of a literal */
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

typedef struct CdcSkeleton CdcSkeleton;

typedef struct CdcSkeletons
{
	CdcSkeletonImage images[CDC_SKELETON_IMAGES];
	int			nimages;
	int			nalways;		/* the images behind these are looked at only where
								 * the frame has CDC_SKELETON_MORE */
	const CdcToken *watched;	/* tokens that a verdict is about */
	int			nwatched;
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
 * Restore the images, and *frame, from a record that fits a skeleton.  False
 * if none does: the images are then as before, and the record is to be scanned
 * in full.  *verdict: if the watched tokens are the same in all records that
 * fit, a place for what is thought of them, 0 to begin with; else NULL.
 */
extern bool cdc_skeletons_decode(CdcSkeletons *skeletons, const char *text,
								 size_t len, uint8_t *frame,
								 uint8_t **verdict);

/*
 * While a record is scanned in full: the scanner is behind this value, which
 * was scanned by cdc_scan_value() whatever it was; if no_object, because it is
 * no object.
 */
extern void cdc_skeletons_leaf(CdcSkeletons *skeletons,
							   const CdcScanner *scanner,
							   const CdcToken *value, bool no_object);

/* The record was found valid, and its images are as they have to be. */
extern void cdc_skeletons_keep(CdcSkeletons *skeletons, const char *text,
							   size_t len, uint8_t frame);

#endif							/* CDC_SKELETON_H */
