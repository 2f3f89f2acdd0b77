/*-------------------------------------------------------------------------
 *
 * breaker.c
 *	  The breaker: so many bad records say that the set-up is wrong.
 *
 * The numbers of the last bad records, and what was wrong with them, are kept in
 * cdcsync.breaker.  It is read and written, as the catalog's owner in the
 * transaction of the sync, only when a window has bad records.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "breaker.h"
#include "catalog.h"
#include "quarantine.h"

/* So many of the first records, all bad for one reason. */
#define FIRST_RECORDS	20

/* A share of so many records; below this many it says nothing. */
#define SHARE_RECORDS	1000
#define SHARE_LEAST		100

/* Of a message, in bytes. */
#define REASON_LENGTH	300

/* A bad record. */
typedef struct Bad
{
	int64		no;				/* of the pipeline's records, from 1 */
	const char *reason;			/* SQLSTATE, column and message, each on a line */
} Bad;

struct CdcBreaker
{
	const CdcPipeline *pipeline;
	MemoryContext context;
	int64		records;		/* of the pipeline, before the window */
	bool		loaded;			/* the rest is read: */
	int64		begun;			/* records that do not count, before all others */
	Bad		   *before;			/* [nbefore] in their order */
	int			nbefore;
};

CdcBreaker *
cdc_breaker_begin(const CdcPipeline *pipeline, int64 records)
{
	CdcBreaker *breaker = palloc0(sizeof(CdcBreaker));

	breaker->pipeline = pipeline;
	breaker->context = CurrentMemoryContext;
	breaker->records = records;
	return breaker;
}

/* Fill in what the row of the result says. */
static void
read_row(CdcBreaker *breaker)
{
	bool		isnull;
	List	   *reasons;
	ArrayType  *numbers;

	breaker->begun = DatumGetInt64(cdc_spi_value(0, 1, &isnull));
	numbers = DatumGetArrayTypeP(cdc_spi_value(0, 2, &isnull));
	reasons = cdc_text_list(cdc_spi_value(0, 3, &isnull));
	breaker->nbefore = list_length(reasons);
	breaker->before = palloc(sizeof(Bad) * Max(breaker->nbefore, 1));
	for (int i = 0; i < breaker->nbefore; i++)
	{
		breaker->before[i].no = ((int64 *) ARR_DATA_PTR(numbers))[i];
		breaker->before[i].reason = list_nth(reasons, i);
	}
}

static void
load(CdcBreaker *breaker)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(breaker->pipeline->name)};
	CdcSpi		spi;

	if (breaker->loaded)
		return;
	cdc_spi_begin_catalog(&spi);
	if (cdc_spi_run("SELECT begun, bad, reasons FROM cdcsync.breaker WHERE pipeline = $1",
					1, types, values, NULL, 0) == 1)
	{
		MemoryContext old = MemoryContextSwitchTo(breaker->context);

		read_row(breaker);
		MemoryContextSwitchTo(old);
	}
	cdc_spi_end(&spi);
	breaker->loaded = true;
}

static bool
counts(const CdcBadRecord *bad)
{
	return bad->at.since == 0 && bad->blocked_by < 0 && !cdc_quarantine_may_wait(bad);
}

static int
compare_numbers(const void *a, const void *b)
{
	int64		x = ((const Bad *) a)->no;
	int64		y = ((const Bad *) b)->no;

	return x < y ? -1 : x > y;
}

static char *
reason_of(const CdcBadRecord *bad)
{
	int			len = strlen(bad->message);

	len = pg_mbcliplen(bad->message, len, REASON_LENGTH);
	return psprintf("%s\n%s\n%.*s", unpack_sql_state(bad->sqlerrcode),
					bad->column ? bad->column : "", len, bad->message);
}

/* All bad records that are known, in their order; *n: how many. */
static Bad *
list_bad(CdcBreaker *breaker, const CdcRank *rank, int64 *n)
{
	Bad		   *all = MemoryContextAllocHuge(CurrentMemoryContext,
											 sizeof(Bad) * (breaker->nbefore + rank->nbad + 1));
	int64		left = 0;

	memcpy(all, breaker->before, sizeof(Bad) * breaker->nbefore);
	*n = breaker->nbefore;
	for (int64 i = 0; i < rank->nbad; i++)
		if (counts(&rank->bad[i]))
		{
			all[*n].no = breaker->records + rank->bad[i].at.ordinal - rank->again;
			all[(*n)++].reason = reason_of(&rank->bad[i]);
		}
	qsort(all, *n, sizeof(Bad), compare_numbers);
	/* both halves of a key change can be bad */
	for (int64 i = 0; i < *n; i++)
		if (left == 0 || all[left - 1].no != all[i].no)
			all[left++] = all[i];
	*n = left;
	return all;
}

/* Length of what two records must have in common to be bad for one reason. */
static int
kind_length(const char *reason)
{
	return strchr(strchr(reason, '\n') + 1, '\n') - reason;
}

static bool
same_kind(const char *a, const char *b)
{
	int			len = kind_length(a);

	return len == kind_length(b) && memcmp(a, b, len) == 0;
}

/* A reason for people: message and column. */
static char *
print_reason(const char *reason)
{
	const char *column = strchr(reason, '\n') + 1;
	const char *message = strchr(column, '\n') + 1;

	if (message - column == 1)
		return pstrdup(message);
	return psprintf("%s (column \"%.*s\")", message, (int) (message - 1 - column), column);
}

/* The first one of the commonest kind; *n: how many of it there are. */
static const char *
commonest(const Bad *bad, int64 nbad, int64 *n)
{
	const char *best = NULL;

	*n = 0;
	for (int64 i = 0; i < nbad; i++)
	{
		int64		same = 0;

		CHECK_FOR_INTERRUPTS();
		for (int64 j = 0; j < nbad; j++)
			same += same_kind(bad[i].reason, bad[j].reason);
		if (same > *n)
		{
			*n = same;
			best = bad[i].reason;
		}
	}
	return best;
}

/* Are the first records all bad, and for one reason? */
static bool
first_all_bad(const CdcBreaker *breaker, const Bad *bad, int64 n)
{
	if (n < FIRST_RECORDS || bad[0].no != breaker->begun + 1 ||
		bad[FIRST_RECORDS - 1].no != breaker->begun + FIRST_RECORDS)
		return false;
	for (int i = 1; i < FIRST_RECORDS; i++)
		if (!same_kind(bad[0].reason, bad[i].reason))
			return false;
	return true;
}

char *
cdc_breaker_check(CdcBreaker *breaker, const CdcRank *rank, int *sqlerrcode)
{
	double		share = breaker->pipeline->max_quarantine_share;
	bool		any = false;
	int64		first = 0;
	int64		n;
	int64		same;
	Bad		   *bad;

	for (int64 i = 0; !any && i < rank->nbad; i++)
		any = counts(&rank->bad[i]);
	if (!any || share >= 1)
		return NULL;
	load(breaker);
	bad = list_bad(breaker, rank, &n);
	if (first_all_bad(breaker, bad, n))
	{
		*sqlerrcode = MAKE_SQLSTATE(bad[0].reason[0], bad[0].reason[1], bad[0].reason[2],
									bad[0].reason[3], bad[0].reason[4]);
		return psprintf("the first records are all bad: %s", print_reason(bad[0].reason));
	}
	for (int64 i = 0; i < n; i++)
	{
		int64		seen = Min(bad[i].no - breaker->begun, SHARE_RECORDS);
		const char *reason;

		while (bad[first].no <= bad[i].no - SHARE_RECORDS)
			first++;
		/* divided, as a product need not be what it is in decimal */
		if ((double) (i - first + 1) / Max(seen, SHARE_LEAST) <= share)
			continue;
		reason = commonest(bad + first, i - first + 1, &same);
		*sqlerrcode = MAKE_SQLSTATE(reason[0], reason[1], reason[2], reason[3], reason[4]);
		return psprintf(INT64_FORMAT " of the last " INT64_FORMAT " records are bad, more than the share of %g that \"max_quarantine_share\" allows; "
						INT64_FORMAT " of them: %s", i - first + 1, seen, share, same,
						print_reason(reason));
	}
	return NULL;
}

bool
cdc_breaker_is_new(const CdcBreaker *breaker)
{
	return breaker->records == 0;
}

int64
cdc_breaker_limit(const CdcBreaker *breaker, const CdcRank *rank)
{
	double		share = breaker->pipeline->max_quarantine_share;

	if (share >= 1)
		return PG_INT64_MAX;
	return (int64) (share * (rank->ordinal - rank->again + SHARE_RECORDS));
}

/* The breaker is as these say. */
static void
store(const char *pipeline, int64 begun, Datum numbers, Datum reasons)
{
	Oid			types[] = {TEXTOID, INT8OID, INT8ARRAYOID, TEXTARRAYOID};
	Datum		values[] = {CStringGetTextDatum(pipeline), Int64GetDatum(begun), numbers, reasons};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("INSERT INTO cdcsync.breaker VALUES ($1, $2, $3, $4) "
					   "ON CONFLICT (pipeline) DO UPDATE SET begun = excluded.begun, "
					   "bad = excluded.bad, reasons = excluded.reasons",
					   4, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

void
cdc_breaker_save(CdcBreaker *breaker, const CdcRank *rank, int64 records)
{
	bool		any = false;

	for (int64 i = 0; !any && i < rank->nbad; i++)
		any = counts(&rank->bad[i]);
	if (any && breaker->pipeline->max_quarantine_share < 1)
	{
		Datum	   *numbers;
		List	   *reasons = NIL;
		int64		last = breaker->records + rank->ordinal - rank->again;
		int			kept = 0;
		int64		n;
		Bad		   *bad;
		MemoryContext old;

		load(breaker);
		bad = list_bad(breaker, rank, &n);
		numbers = palloc(sizeof(Datum) * SHARE_RECORDS);
		old = MemoryContextSwitchTo(breaker->context);
		breaker->before = palloc(sizeof(Bad) * SHARE_RECORDS);
		for (int64 i = 0; i < n; i++)
		{
			if (bad[i].no <= last - SHARE_RECORDS)
				continue;
			breaker->before[kept].no = bad[i].no;
			breaker->before[kept].reason = pstrdup(bad[i].reason);
			reasons = lappend(reasons, (void *) breaker->before[kept].reason);
			numbers[kept++] = Int64GetDatum(bad[i].no);
		}
		MemoryContextSwitchTo(old);
		breaker->nbefore = kept;
		store(breaker->pipeline->name, breaker->begun,
			  PointerGetDatum(construct_array(numbers, kept, INT8OID, 8, FLOAT8PASSBYVAL,
											  TYPALIGN_DOUBLE)),
			  cdc_text_array(reasons));
	}
	breaker->records += records;
}

void
cdc_breaker_reset(const char *pipeline)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("INSERT INTO cdcsync.breaker SELECT $1, coalesce(sum(w.events), 0), '{}', '{}' "
					   "FROM cdcsync.watermark w WHERE w.pipeline = $1 HAVING sum(w.events) > 0 "
					   "ON CONFLICT (pipeline) DO UPDATE SET begun = excluded.begun, bad = '{}', reasons = '{}'",
					   1, types, values, NULL, 0);
	cdc_spi_end(&spi);
}
