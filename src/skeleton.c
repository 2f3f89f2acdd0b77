/*-------------------------------------------------------------------------
 *
 * skeleton.c
 *	  Decoding a record by its likeness to earlier ones.
 *
 * Pure C without PostgreSQL.  Records of one topic differ in a few values
 * only.  So a record that was scanned in full is kept as a skeleton: literal
 * bytes with gaps where values stood, and for each token that the scan left in
 * the images, the gap or the stretch of literal bytes that it came from.  The
 * next record is compared with the literals, and scanned at the gaps alone; no
 * name is looked up.  A record that fits no skeleton is scanned in full, which
 * also tells what is wrong with it.
 *
 * This is as strict as the full scan: the literals equal bytes that it has
 * accepted, and a gap is only where it would call cdc_scan_value() whatever
 * comes, or whatever but an object, which is what is done here.  Whether a value is an object that is
 * taken apart (row images, source, payload), and which member a field gets, is
 * decided by literal bytes.  What the tokens mean is decided after either way by
 * the same code.
 *
 * Which values differ is learnt: at first all are literal; a record that has
 * the same structure and other values opens those for good.  So constants
 * (the names of server and table) are compared in one go with the names
 * around them, and a structure costs no more full scans than it has values.
 *
 * A stream whose records are all of their own structure would pay for
 * skeletons and gain nothing: credit, earned by hits, pays for failures, and
 * without it skeletons are left alone for a while.
 *
 * What the caller thinks of values that are part of the literals (which table an
 * event comes from) is the same for all records that fit: the skeleton has room
 * for that verdict.
 *
 * Few values say what a record is (operation, connector, snapshot): these are never
 * opened, and the records of each get skeletons of their own.  So all that they say
 * is the same for all records that fit, see replay.c.
 *
 * Measured by test/unit/bench_envelope.c (events of 555 bytes without schema and
 * with a GTID, a fifth inserts and a fifth deletes, three fields wanted): 3,600
 * instructions per event instead of 11,100; without replay.c 5,500.  A stream of
 * which no two records are alike costs 1.5 % more.
 *
 * Memory: CDC_SKELETONS records of at most RECORD_MAX bytes with LEAVES_MAX
 * values, some 4 MB in the worst case, in malloc'ed buffers that are used
 * again.  Without memory, no skeleton.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "json_bytes.h"
#include "replay.h"
#include "skeleton.h"

/* Largest record that is kept: a wide table with its schema. */
#define RECORD_MAX		(256 * 1024)
#define LEAVES_MAX		8192

/* A failure costs what this many hits earn. */
#define FAILURE_COST	4
#define CREDIT_MAX		64
#define REST_RECORDS	64

static void
free_skeleton(CdcSkeleton *skeleton)
{
	if (skeleton == NULL)
		return;
	cdc_replay_free(skeleton->replay);
	free(skeleton->text);
	free(skeleton->leaves.leaves);
	free(skeleton->steps);
	free(skeleton->stores);
	free(skeleton);
}

void
cdc_skeletons_free(CdcSkeletons *skeletons)
{
	for (int i = 0; i < CDC_SKELETONS; i++)
		free_skeleton(skeletons->kept[i]);
	free(skeletons->trace.leaves);
	free(skeletons->values);
	free(skeletons->literals);
}

void
cdc_skeletons_add(CdcSkeletons *skeletons, CdcImage *image,
				  const CdcFieldSet *set, const CdcPlaceholder *placeholder)
{
	CdcSkeletonImage *entry = &skeletons->images[skeletons->nimages++];

	entry->image = image;
	entry->ntokens = set->nfields;
	entry->placeholder = placeholder;
	skeletons->credit = CREDIT_MAX;
}

void
cdc_skeletons_fix(CdcSkeletons *skeletons, const CdcToken *token)
{
	skeletons->fixed[skeletons->nfixed++] = token;
}

/*
 * Scan what is in a gap.  Nearly all are plain strings and integers with a comma,
 * a bracket or a brace behind them; all others go the long way.
 */
static inline bool
scan_gap(CdcScanner *scanner, const CdcStep *step, CdcToken *value)
{
	const char *p = scanner->pos;
	const char *end = scanner->end;
	const char *behind;

	if (p < end && *p == '"')
	{
		behind = cdc_skip_plain(p + 1, end);
		if (behind < end && *behind == '"')
		{
			value->text = p + 1;
			value->len = (uint32_t) (behind - p - 1);
			value->kind = CDC_JSON_STRING;
			value->flags = 0;
			scanner->pos = behind + 1;
			return true;
		}
	}
	else if (p < end && *p >= '1' && *p <= '9')
	{
		behind = cdc_skip_digits(p + 1, end);
		if (behind < end && (*behind == ',' || *behind == '}' || *behind == ']'))
		{
			value->text = p;
			value->len = (uint32_t) (behind - p);
			value->kind = CDC_JSON_NUMBER;
			value->flags = CDC_JSON_INTEGER;
			scanner->pos = behind;
			return true;
		}
	}
	scanner->depth = step->depth;
	return cdc_scan_value(scanner, value) && value->kind != step->refused;
}

/* Compare a record with a skeleton, and note what is in the gaps. */
static bool
fits(CdcSkeletons *skeletons, const CdcSkeleton *skeleton, const char *text,
	 size_t len)
{
	const CdcStep *step = skeleton->steps;
	CdcScanner	scanner;

	cdc_scanner_init(&scanner, text, len);
	for (int i = 0;; i++, step++)
	{
		skeletons->literals[i] = scanner.pos;
		if ((size_t) (scanner.end - scanner.pos) < step->len ||
			!cdc_same_run(scanner.pos, skeleton->text + step->offset, step->len))
			return false;
		scanner.pos += step->len;
		if (i == skeleton->nsteps - 1)
			return scanner.pos == scanner.end;
		if (!scan_gap(&scanner, step, &skeletons->values[i]))
			return false;
	}
}

void
cdc_store_restore(const CdcSkeletons *skeletons, const CdcStore *store, CdcToken *token)
{
	if (store->origin == CDC_STORE_GAP)
		*token = skeletons->values[store->from.step];
	else
	{
		/* it spans bytes of the record as it did in the skeleton */
		token->text = skeletons->literals[store->from.step] + store->from.offset;
		token->len = (uint32_t) (skeletons->literals[store->to.step] +
								 store->to.offset - token->text);
		token->kind = store->kind;
		token->flags = store->flags;
		token->origin = 0;
	}
	if (store->placeholder && store->origin != CDC_STORE_LITERAL &&
		cdc_placeholder_match(store->placeholder, token))
		token->flags |= CDC_JSON_UNAVAILABLE;
}

/* Set the images from a record that fits. */
void
cdc_skeleton_restore(const CdcSkeletons *skeletons, CdcSkeleton *skeleton,
					 uint8_t *frame, uint8_t **verdict)
{
	int			nimages = skeleton->frame & CDC_SKELETON_MORE ?
		skeletons->nimages : skeletons->nalways;

	for (int i = 0; i < nimages; i++)
	{
		const CdcSkeletonImage *entry = &skeletons->images[i];

		memset(&entry->image->whole, 0, sizeof(CdcToken));
		memset(entry->image->tokens, 0,
			   (size_t) entry->ntokens * sizeof(CdcToken));
		entry->image->nmembers = skeleton->nmembers[i];
	}
	for (int i = 0; i < skeleton->nstores; i++)
		cdc_store_restore(skeletons, &skeleton->stores[i], skeleton->stores[i].token);
	*frame = skeleton->frame;
	if (skeleton->constant)
		*verdict = &skeleton->verdict;
}

CdcSkeleton *
cdc_skeletons_find(CdcSkeletons *skeletons, const char *text, size_t len)
{
	skeletons->tracing = false;
	if (skeletons->off)
		return NULL;
	if (skeletons->rest > 0)
	{
		skeletons->rest--;
		return NULL;
	}
	for (int i = 0; i < CDC_SKELETONS && skeletons->kept[i]; i++)
	{
		CdcSkeleton *skeleton = skeletons->kept[i];

		if (!fits(skeletons, skeleton, text, len))
			continue;
		if (i > 0)
			memmove(&skeletons->kept[1], &skeletons->kept[0],
					(size_t) i * sizeof(CdcSkeleton *));
		skeletons->kept[0] = skeleton;
		if (skeletons->credit < CREDIT_MAX)
			skeletons->credit++;
		skeletons->hits++;
		return skeleton;
	}
	skeletons->tracing = len <= RECORD_MAX;
	skeletons->trace.n = 0;
	skeletons->credit -= FAILURE_COST;
	if (skeletons->credit < FAILURE_COST)
	{
		skeletons->rest = REST_RECORDS;
		skeletons->credit = 2 * FAILURE_COST;
	}
	return NULL;
}

/* Make room for n leaves; false without memory, and all is as before. */
static bool
reserve_leaves(CdcLeaves *leaves, int n)
{
	CdcLeaf    *larger;

	if (n <= leaves->size)
		return true;
	if (n < 2 * leaves->size)
		n = 2 * leaves->size;
	larger = realloc(leaves->leaves, (size_t) n * sizeof(CdcLeaf));
	if (larger == NULL)
		return false;
	leaves->leaves = larger;
	leaves->size = n;
	return true;
}

void
cdc_skeletons_leaf(CdcSkeletons *skeletons, const CdcScanner *scanner,
				   const CdcToken *value, bool no_object)
{
	CdcLeaves  *trace = &skeletons->trace;
	CdcLeaf    *leaf;

	if (!skeletons->tracing)
		return;
	if (trace->n >= LEAVES_MAX || !reserve_leaves(trace, trace->n + 1))
	{
		skeletons->tracing = false;
		return;
	}
	leaf = &trace->leaves[trace->n++];
	leaf->start = (uint32_t) (value->text - scanner->start);
	if (value->kind == CDC_JSON_STRING)
		leaf->start--;			/* its quote */
	leaf->end = (uint32_t) (scanner->pos - scanner->start);
	leaf->depth = (uint16_t) scanner->depth;
	leaf->open = false;
	leaf->fixed = false;
	leaf->no_object = no_object;
}

/* Are the bytes from and to which these go the same? */
static bool
same_bytes(const char *a, uint32_t a_from, uint32_t a_to, const char *b,
		   uint32_t b_from, uint32_t b_to)
{
	return a_to - a_from == b_to - b_from &&
		memcmp(a + a_from, b + b_from, a_to - a_from) == 0;
}

/*
 * Has the record that was traced the structure of the skeleton?  *same: and does it
 * say the same of what it is?
 */
static bool
same_structure(const CdcSkeleton *skeleton, const CdcLeaves *trace,
			   const char *text, uint32_t len, bool *same)
{
	const CdcLeaves *leaves = &skeleton->leaves;
	uint32_t	end = 0;
	uint32_t	kept_end = 0;

	*same = true;
	if (trace->n != leaves->n)
		return false;
	for (int i = 0; i < trace->n; i++)
	{
		const CdcLeaf *leaf = &trace->leaves[i];
		const CdcLeaf *kept = &leaves->leaves[i];

		if (!same_bytes(text, end, leaf->start, skeleton->text, kept_end,
						kept->start))
			return false;
		if ((leaf->fixed || kept->fixed) &&
			!same_bytes(text, leaf->start, leaf->end, skeleton->text, kept->start,
						kept->end))
			*same = false;
		end = leaf->end;
		kept_end = kept->end;
	}
	return same_bytes(text, end, len, skeleton->text, kept_end, skeleton->len);
}

/* Open the leaves that the skeleton has open, or other than this record. */
static void
open_leaves(CdcLeaves *trace, const CdcSkeleton *skeleton, const char *text)
{
	for (int i = 0; i < trace->n; i++)
	{
		CdcLeaf    *leaf = &trace->leaves[i];
		const CdcLeaf *kept = &skeleton->leaves.leaves[i];

		leaf->open |= !leaf->fixed &&
			(kept->open ||
			 !same_bytes(text, leaf->start, leaf->end, skeleton->text,
						 kept->start, kept->end));
	}
}

/* Note which leaves say what the record is. */
static void
fix_leaves(CdcSkeletons *skeletons, const char *text)
{
	CdcLeaf    *leaves = skeletons->trace.leaves;

	for (int i = 0; i < skeletons->nfixed; i++)
	{
		const CdcToken *token = skeletons->fixed[i];
		uint32_t	at = (uint32_t) (token->text - text);

		if (token->kind == CDC_JSON_MISSING)
			continue;
		for (int j = 0; j < skeletons->trace.n; j++)
			if (leaves[j].start <= at && at < leaves[j].end)
				leaves[j].fixed = true;
	}
}

/*
 * The skeleton that the record is to become: that of its structure, whose
 * open leaves it then has, or a new one, or that which was not used longest.
 * A new one has the open leaves of those that only differ in what they say that
 * the record is.  It is put first; NULL without memory.
 */
static CdcSkeleton *
choose_skeleton(CdcSkeletons *skeletons, const char *text, uint32_t len, uint8_t frame)
{
	CdcSkeleton **kept = skeletons->kept;
	CdcSkeleton *chosen;
	bool		same = false;
	int			i;

	/* a row may have columns of these names, which say nothing */
	if (!(frame & CDC_SKELETON_MORE))
		fix_leaves(skeletons, text);
	for (i = 0; i < CDC_SKELETONS && kept[i]; i++)
	{
		if (!same_structure(kept[i], &skeletons->trace, text, len, &same))
			continue;
		open_leaves(&skeletons->trace, kept[i], text);
		if (same)
			break;
	}
	if (i == CDC_SKELETONS)
		i--;
	chosen = kept[i] ? kept[i] : calloc(1, sizeof(CdcSkeleton));
	if (chosen == NULL)
		return NULL;
	memmove(&kept[1], &kept[0], (size_t) i * sizeof(CdcSkeleton *));
	kept[0] = chosen;
	return chosen;
}

/* Tokens that the images now hold at most. */
static size_t
count_tokens(const CdcSkeletons *skeletons)
{
	size_t		n = 0;

	for (int i = 0; i < skeletons->nimages; i++)
		n += (size_t) skeletons->images[i].ntokens + 1;
	return n;
}

/* Room for a skeleton of the traced record, and to compare others with it. */
static bool
reserve_skeleton(CdcSkeletons *skeletons, CdcSkeleton *skeleton, uint32_t len)
{
	int			n = skeletons->trace.n;

	if (!reserve_leaves(&skeleton->leaves, n))
		return false;
	if (skeleton->text_size < len)
	{
		char	   *larger = realloc(skeleton->text, len);

		if (larger == NULL)
			return false;
		skeleton->text = larger;
		skeleton->text_size = len;
	}
	if (skeleton->steps_size < n + 1)
	{
		CdcStep	   *larger = realloc(skeleton->steps,
									 ((size_t) n + 1) * sizeof(CdcStep));

		if (larger == NULL)
			return false;
		skeleton->steps = larger;
		skeleton->steps_size = n + 1;
	}
	if (skeleton->stores == NULL)
		skeleton->stores = malloc(count_tokens(skeletons) * sizeof(CdcStore));
	if (skeletons->nsteps < n + 1)
	{
		free(skeletons->values);
		free(skeletons->literals);
		skeletons->nsteps = n + 1;
		skeletons->values = calloc((size_t) n + 1, sizeof(CdcToken));
		skeletons->literals = malloc(((size_t) n + 1) * sizeof(char *));
	}
	return skeleton->stores && skeletons->values && skeletons->literals;
}

static void
make_steps(CdcSkeleton *skeleton)
{
	CdcStep	   *step = skeleton->steps;

	step->offset = 0;
	for (int i = 0; i < skeleton->leaves.n; i++)
	{
		const CdcLeaf *leaf = &skeleton->leaves.leaves[i];

		if (!leaf->open)
			continue;
		step->len = leaf->start - step->offset;
		step->depth = leaf->depth;
		step->refused = leaf->no_object ? CDC_JSON_OBJECT : CDC_ANY_KIND;
		(++step)->offset = leaf->end;
	}
	step->len = skeleton->len - step->offset;
	step->depth = 0;
	step->refused = CDC_ANY_KIND;
	skeleton->nsteps = (int) (step - skeleton->steps) + 1;
}

/* The last step whose literal begins at or before this byte. */
static uint32_t
find_step(const CdcSkeleton *skeleton, uint32_t offset)
{
	uint32_t	low = 0;
	uint32_t	high = (uint32_t) skeleton->nsteps - 1;

	while (low < high)
	{
		uint32_t	middle = (low + high + 1) / 2;

		if (skeleton->steps[middle].offset <= offset)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* Note where a token of the scanned record came from. */
static void
add_store(CdcSkeleton *skeleton, const char *text, CdcToken *token,
		  const CdcPlaceholder *placeholder)
{
	uint32_t	from = (uint32_t) (token->text - text);
	uint32_t	to = from + token->len;
	CdcStore	   *store;
	const CdcStep *step;

	if (token->kind == CDC_JSON_MISSING)
		return;
	store = &skeleton->stores[skeleton->nstores++];
	store->token = token;
	store->placeholder = placeholder;
	store->kind = token->kind;
	store->flags = token->flags;
	store->from.step = find_step(skeleton, from);
	step = &skeleton->steps[store->from.step];
	store->from.offset = from - step->offset;
	store->origin = store->from.offset >= step->len ? CDC_STORE_GAP : CDC_STORE_LITERAL;
	/* the byte behind it is a quote, comma or bracket: no gap begins there */
	store->to.step = find_step(skeleton, to);
	store->to.offset = to - skeleton->steps[store->to.step].offset;
	if (store->origin == CDC_STORE_LITERAL && placeholder &&
		store->from.step != store->to.step)
	{
		store->origin = CDC_STORE_MIXED;
		store->flags = 0;
	}
}

/* Put the stores of one origin behind those of the origins before it. */
static int
gather_stores(CdcSkeleton *skeleton, int from, CdcStoreOrigin origin)
{
	for (int i = from; i < skeleton->nstores; i++)
	{
		CdcStore		store = skeleton->stores[i];

		if (store.origin != origin)
			continue;
		skeleton->stores[i] = skeleton->stores[from];
		skeleton->stores[from++] = store;
	}
	return from;
}

/* Are the watched tokens part of the literals? */
static bool
is_constant(const CdcSkeletons *skeletons, const CdcSkeleton *skeleton)
{
	for (int i = 0; i < skeleton->nstores; i++)
	{
		const CdcStore *store = &skeleton->stores[i];

		if (store->token >= skeletons->watched &&
			store->token < skeletons->watched + skeletons->nwatched &&
			(store->origin == CDC_STORE_GAP ||
			 store->from.step != store->to.step))
			return false;
	}
	return true;
}

CdcSkeleton *
cdc_skeletons_keep(CdcSkeletons *skeletons, const char *text, size_t len,
				   uint8_t frame)
{
	CdcSkeleton *skeleton;
	const CdcLeaves *trace = &skeletons->trace;
	int			nimages = frame & CDC_SKELETON_MORE ?
		skeletons->nimages : skeletons->nalways;

	if (!skeletons->tracing)
		return NULL;
	skeletons->tracing = false;
	skeleton = choose_skeleton(skeletons, text, (uint32_t) len, frame);
	if (skeleton == NULL)
		return NULL;
	if (!reserve_skeleton(skeletons, skeleton, (uint32_t) len))
	{
		/* as there is no memory, go without what there was, too */
		for (int i = 0; i < CDC_SKELETONS; i++)
		{
			free_skeleton(skeletons->kept[i]);
			skeletons->kept[i] = NULL;
		}
		skeletons->nsteps = 0;
		return NULL;
	}
	memcpy(skeleton->text, text, len);
	skeleton->len = (uint32_t) len;
	skeleton->frame = frame;
	skeleton->verdict = 0;
	if (trace->n > 0)
		memcpy(skeleton->leaves.leaves, trace->leaves,
			   (size_t) trace->n * sizeof(CdcLeaf));
	skeleton->leaves.n = trace->n;
	make_steps(skeleton);
	skeleton->nstores = 0;
	for (int i = 0; i < nimages; i++)
	{
		const CdcSkeletonImage *entry = &skeletons->images[i];

		skeleton->nmembers[i] = entry->image->nmembers;
		add_store(skeleton, text, &entry->image->whole, NULL);
		for (int j = 0; j < entry->ntokens; j++)
		{
			CdcToken   *token = &entry->image->tokens[j];

			/* the row itself is no value that can be unavailable */
			add_store(skeleton, text, token,
					  token->text == entry->image->whole.text ? NULL :
					  entry->placeholder);
		}
	}
	skeleton->nliterals = gather_stores(skeleton, 0, CDC_STORE_LITERAL);
	skeleton->ngaps = gather_stores(skeleton, skeleton->nliterals, CDC_STORE_GAP) -
		skeleton->nliterals;
	skeleton->constant = skeletons->watched && is_constant(skeletons, skeleton);
	return skeleton;
}
