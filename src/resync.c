/*-------------------------------------------------------------------------
 *
 * resync.c
 *	  Rebuild a target from all that there ever was of its topic.
 *
 * The records are folded into a table beside the target; then the target is
 * brought to what that table holds, by a merge of the rows in which the two
 * differ; where rows have no key, by contents.c.  It is the contents that are
 * swapped, not the tables: readers see the old rows until the commit, and the
 * target keeps its OID, and so all that hangs on it (privileges, policies,
 * triggers, views, foreign keys, publications, columns that no event feeds).
 *
 * All of it is the caller's transaction: a cancel or a crash leaves nothing
 * behind.  The tables beside are UNLOGGED, so that of their files, too, nothing
 * but an empty one is left.  Holds the locks of a sync of this pipeline, which
 * goes on where the rebuild has ended; landed records are not deleted meanwhile;
 * landing goes on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "contents.h"
#include "exact.h"
#include "fault.h"
#include "merge.h"
#include "merge_sql.h"
#include "retry.h"
#include "snapshot.h"
#include "sync.h"
#include "topic_copy.h"
#include "value.h"
#include "wake.h"
#include "watermark.h"

/* Between two messages on how far it is, in ms. */
#define PROGRESS_PAUSE	10000

/* Rows of a cursor that are fetched at once. */
#define FETCH_ROWS		10000

#define SNAPSHOT_HINT \
	"Let the connector take a snapshot of the table (a signal of the type execute-snapshot), and when it has ended call cdc_resync(%s, since => ..) with the time of the signal."

typedef struct Resync
{
	CdcPipeline *pipeline;
	TimestampTz since;			/* DT_NOBEGIN: not given */
	CdcLanding *landing;		/* what is read */
	const char *source;			/* "landing" or "topic" */
	int			n;				/* partitions */
	CdcLandingPosition *from;	/* [n] */
	CdcLandingPosition *to;		/* [n] */
	Oid			chunk;			/* InvalidOid, or the copy of the topic */
	Oid			shadow;
	CdcSyncResult folded;
	CdcMerge	merge;
} Resync;

/* ----------
 * Locks
 * ----------
 */

/* One rebuild of a pipeline at a time; the second does not wait for the first. */
static void
lock_alone(const CdcPipeline *pipeline)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, pipeline->staging, 1);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the target of pipeline \"%s\" is already being rebuilt",
						pipeline->name),
				 errdetail("Another session has called cdc_resync().")));
}

static void
lock_pipeline(Resync *resync)
{
	CdcPipeline *pipeline = resync->pipeline;

	if (!OidIsValid(pipeline->target))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipeline \"%s\" has no target yet", pipeline->name),
				 errhint("It is made by the sync of its first event.")));
	cdc_pipeline_check_here(pipeline);
	/* changes before that time would be lost for good */
	if (resync->since != DT_NOBEGIN && pipeline->mode != CDC_MODE_MIRROR)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot rebuild the target of pipeline \"%s\" from a part of its records",
						pipeline->name),
				 errdetail("Its mode is \"%s\": the target would lose what records before \"since\" have told.",
						   cdc_mode_name(pipeline->mode)),
				 errhint("Leave out \"since\".")));
	lock_alone(pipeline);
	(void) cdc_staging_lock(pipeline->staging, pipeline->name, false);
	cdc_watermark_check_snapshot(pipeline);
	cdc_pipeline_reread(pipeline);
	cdc_sync_lock_target(pipeline);
	cdc_landing_keep(pipeline->landing);
}

/* ----------
 * What to read
 * ----------
 */

/*
 * Records that were lost before they could be read, after the rebuild's
 * beginning; where that is the beginning of all, in earlier topics of the name,
 * too.
 */
static bool
has_no_gap(const Resync *resync, int i, char **why)
{
	static const Oid types[] = {INT4OID, INT8OID, INT4OID, INT8OID, BOOLOID};
	const CdcLandingPosition *from = &resync->from[i];
	Datum		values[] = {Int32GetDatum(resync->pipeline->landing->id),
		Int64GetDatum(from->partition), Int32GetDatum(from->epoch),
		Int64GetDatum(from->next_offset), BoolGetDatum(resync->since == DT_NOBEGIN)};
	MemoryContext context = CurrentMemoryContext;
	bool		gap;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	/* a gap stays on record; of other losses the pipelines know */
	gap = cdc_spi_run("SELECT l.reason FROM (SELECT reason, epoch, first_offset AS loss FROM cdcsync.gap"
					  "  WHERE landing_id = $1 AND kafka_partition = $2 AND passed"
					  " UNION ALL SELECT i.reason, i.epoch, i.next_offset - 1 FROM cdcsync.inexact i"
					  "  JOIN cdcsync.pipeline p ON p.name = i.pipeline"
					  "  WHERE p.landing_id = $1 AND i.kafka_partition = $2) l"
					  " WHERE $5 OR (l.epoch, l.loss) >= ($3, $4)"
					  " ORDER BY l.epoch DESC, l.loss DESC LIMIT 1",
					  5, types, values, NULL, 0) > 0;
	if (gap)
		*why = MemoryContextStrdup(context, psprintf("Records were passed over: %s.",
													 cdc_spi_text(0, 1)));
	cdc_spi_end(&spi);
	return !gap;
}

/* What a landing has of a partition. */
typedef struct Landed
{
	bool		any;			/* something; its oldest chunk begins here: */
	int32		epoch;
	int64		first_offset;
	bool		since;			/* something since the time that is wanted; it begins
								 * here: */
	int32		since_epoch;
	int64		since_offset;
} Landed;

static void
read_landed(const Resync *resync, int64 partition, Landed *landed)
{
	char	   *chunk = cdc_qualified_name(resync->pipeline->landing->chunk);
	Oid			types[] = {INT8OID, TIMESTAMPOID};
	Datum		values[] = {Int64GetDatum(partition), TimestampGetDatum(resync->since)};
	bool		isnull;
	CdcSpi		spi;

	memset(landed, 0, sizeof(*landed));
	cdc_spi_begin_as(&spi, resync->pipeline->owner, NULL);
	if (cdc_spi_run(psprintf("SELECT epoch, first_offset FROM %s WHERE kafka_partition = $1"
							 " ORDER BY kafka_partition, epoch, first_offset LIMIT 1", chunk),
					1, types, values, NULL, 0) > 0)
	{
		landed->any = true;
		landed->epoch = DatumGetInt32(cdc_spi_value(0, 1, &isnull));
		landed->first_offset = DatumGetInt64(cdc_spi_value(0, 2, &isnull));
	}
	if (resync->since != DT_NOBEGIN && landed->any &&
		cdc_spi_run(psprintf("SELECT c.epoch, coalesce(c.kafka_offset[t.i], c.first_offset + t.i - 1)"
							 " FROM %s c, unnest(c.kafka_timestamp) WITH ORDINALITY t (at, i)"
							 " WHERE c.kafka_partition = $1 AND t.at >= $2"
							 " ORDER BY c.epoch, c.first_offset, t.i LIMIT 1", chunk),
					2, types, values, NULL, 0) > 0)
	{
		landed->since = true;
		landed->since_epoch = DatumGetInt32(cdc_spi_value(0, 1, &isnull));
		landed->since_offset = DatumGetInt64(cdc_spi_value(0, 2, &isnull));
	}
	cdc_spi_end(&spi);
}

/* Where a landing began to read a partition, and its very first record. */
typedef struct Beginning
{
	int64		start_offset;
	int32		epoch;
	int64		first_offset;	/* -1: nothing has landed */
} Beginning;

static void
read_beginning(const Resync *resync, int64 partition, Beginning *b)
{
	Oid			types[] = {INT4OID, INT8OID};
	Datum		values[] = {Int32GetDatum(resync->pipeline->landing->id), Int64GetDatum(partition)};
	bool		isnull;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	if (cdc_spi_run("SELECT coalesce(start_offset, -1), coalesce(first_epoch, 0), coalesce(first_offset, -1)"
					" FROM cdcsync.position WHERE landing_id = $1 AND kafka_partition = $2",
					2, types, values, NULL, 0) != 1)
		elog(ERROR, "position of partition " INT64_FORMAT " is gone", partition);
	b->start_offset = DatumGetInt64(cdc_spi_value(0, 1, &isnull));
	b->epoch = DatumGetInt32(cdc_spi_value(0, 2, &isnull));
	b->first_offset = DatumGetInt64(cdc_spi_value(0, 3, &isnull));
	cdc_spi_end(&spi);
}

/* Does the landing have all that is wanted of a partition?  Sets its from. */
static bool
landing_has(Resync *resync, int i, char **why)
{
	CdcLandingPosition *from = &resync->from[i];
	int64		partition = resync->to[i].partition;
	bool		whole = resync->since == DT_NOBEGIN;
	bool		complete;
	Beginning	b;
	Landed		l;

	read_beginning(resync, partition, &b);
	read_landed(resync, partition, &l);
	*from = resync->to[i];
	if (whole && OidIsValid(resync->pipeline->landing->topic) && b.start_offset != 0)
	{
		*why = psprintf("The landing has read partition " INT64_FORMAT " from offset " INT64_FORMAT " on, not from its beginning.",
						partition, b.start_offset);
		return false;
	}
	if (whole && l.any)
	{
		from->epoch = l.epoch;
		from->next_offset = l.first_offset;
	}
	else if (l.since)
	{
		from->epoch = l.since_epoch;
		from->next_offset = l.since_offset;
	}

	/* nothing was deleted; or nothing that is wanted, as it still has older records */
	complete = l.any ? l.epoch == b.epoch && l.first_offset == b.first_offset :
		b.first_offset < 0;
	if (!whole && l.any && !(l.since && l.since_epoch == l.epoch && l.since_offset == l.first_offset))
		complete = true;
	if (!complete)
		*why = psprintf("The landing has deleted records of partition " INT64_FORMAT " (option \"retention\").",
						partition);
	return complete;
}

static bool
use_landing(Resync *resync, char **why)
{
	for (int i = 0; i < resync->n; i++)
		if (!landing_has(resync, i, why) || !has_no_gap(resync, i, why))
			return false;
	resync->landing = resync->pipeline->landing;
	resync->source = "landing";
	return true;
}

/* A table of the rebuild, beside another one of the same owner. */
static Oid
make_table(const Resync *resync, const char *suffix, Oid owner, Oid beside, Oid like)
{
	char	   *relname = psprintf("%s_%s", resync->pipeline->name, suffix);
	Oid			nspid = get_rel_namespace(beside);
	char	   *name = quote_qualified_identifier(get_namespace_name(nspid), relname);
	CdcSpi		spi;

	if (OidIsValid(get_relname_relid(relname, nspid)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation %s already exists", name),
				 errdetail("The rebuild of pipeline \"%s\" needs this name for a table of its own.",
						   resync->pipeline->name),
				 errhint("Rename that relation.")));
	cdc_spi_begin_as(&spi, owner, NULL);
	cdc_spi_run(psprintf("CREATE UNLOGGED TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
						 " INCLUDING GENERATED INCLUDING IDENTITY INCLUDING INDEXES INCLUDING STORAGE"
						 " INCLUDING COMPRESSION)", name, cdc_qualified_name(like)),
				0, NULL, NULL, NULL, 0);
	/* it is the pipeline's owner who reads what is in it */
	if (owner != resync->pipeline->owner)
		cdc_spi_run(psprintf("GRANT SELECT ON %s TO %s", name,
							 quote_identifier(GetUserNameFromId(resync->pipeline->owner, false))),
					0, NULL, NULL, NULL, 0);
	cdc_spi_end(&spi);
	return get_relname_relid(relname, nspid);
}

static void
drop_table(Oid table, Oid owner)
{
	CdcSpi		spi;

	if (!OidIsValid(table))
		return;
	cdc_spi_begin_as(&spi, owner, NULL);
	cdc_spi_run(psprintf("DROP TABLE %s", cdc_qualified_name(table)), 0, NULL, NULL, NULL, 0);
	cdc_spi_end(&spi);
}

/* Copy the topic, if it still has what is wanted. */
static bool
use_topic(Resync *resync, char **why)
{
	CdcLanding *landing = resync->pipeline->landing;
	CdcTopicCopy copy = {.landing = landing,.npartitions = resync->n,.to = resync->to,
	.since = resync->since};

	if (!OidIsValid(landing->topic))
		return false;
	if (!has_privs_of_role(GetUserId(), landing->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for landing %s", cdc_qualified_name(landing->view)),
				 errdetail("It no longer holds all records, and its topic can be read by members of role \"%s\" alone.",
						   GetUserNameFromId(landing->owner, false))));
	resync->chunk = make_table(resync, "shadow_chunk", landing->owner, landing->chunk, landing->chunk);
	if (!cdc_topic_copy(&copy, resync->chunk, why))
		return false;
	resync->from = copy.from;
	for (int i = 0; i < resync->n; i++)
		if (!has_no_gap(resync, i, why))
			return false;
	resync->landing = palloc(sizeof(CdcLanding));
	*resync->landing = *landing;
	resync->landing->chunk = resync->chunk;
	resync->source = "topic";
	return true;
}

static void
choose_source(Resync *resync)
{
	char	   *landing_lacks = NULL;
	char	   *topic_lacks = NULL;

	resync->n = cdc_landing_positions(resync->pipeline->landing, &resync->to);
	resync->from = palloc(sizeof(CdcLandingPosition) * Max(resync->n, 1));
	if (use_landing(resync, &landing_lacks) || use_topic(resync, &topic_lacks))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot rebuild the target of pipeline \"%s\": not all records are left",
					resync->pipeline->name),
			 topic_lacks && strcmp(topic_lacks, landing_lacks) != 0 ?
			 errdetail("%s %s", landing_lacks, topic_lacks) :
			 errdetail("%s", landing_lacks),
			 OidIsValid(resync->pipeline->landing->topic) ?
			 errhint(SNAPSHOT_HINT, quote_literal_cstr(resync->pipeline->name)) :
			 errhint("Insert all rows of the source anew, as events of a snapshot, and name the time before the first of them with cdc_resync(%s, since => ..).",
					 quote_literal_cstr(resync->pipeline->name))));
}

/* ----------
 * Folding
 * ----------
 */

/* What the rebuild makes again. */
static void
forget_state(const CdcPipeline *pipeline)
{
	static const char *const tables[] = {"watermark", "moved", "quarantine", "breaker", "barrier",
	"snapshot"};
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline->name)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	for (int i = 0; i < lengthof(tables); i++)
		(void) cdc_spi_run(psprintf("DELETE FROM cdcsync.%s WHERE pipeline = $1", tables[i]),
						   1, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

/* After each window. */
static void
tell_progress(int64 events)
{
	static TimestampTz told;
	static int64 before = PG_INT64_MAX;
	TimestampTz now = GetCurrentTimestamp();

	CDC_FAULT("resync_window");
	if (events < before)
		told = now;				/* another call */
	before = events;
	if (!TimestampDifferenceExceeds(told, now, PROGRESS_PAUSE))
		return;
	told = now;
	ereport(NOTICE,
			(errmsg("rebuild: " INT64_FORMAT " records are folded", events)));
}

static void
fold(Resync *resync, CdcRebuild *rebuild)
{
	resync->shadow = make_table(resync, "shadow", resync->pipeline->owner,
								resync->pipeline->staging, resync->pipeline->target);
	rebuild->table = resync->shadow;
	rebuild->landing = resync->landing;
	rebuild->npartitions = resync->n;
	rebuild->from = resync->from;
	rebuild->to = resync->to;
	rebuild->progress = tell_progress;
	cdc_sync_rebuild(resync->pipeline, rebuild, &resync->folded);
	CDC_FAULT("resync_folded");
}

/* ----------
 * The difference
 * ----------
 */

/* The columns that the rebuild has set: "a.x, a.y, .."; all but those of a source. */
static char *
column_list(const CdcMerge *merge, const char *alias, bool keys_only, CdcColumnSource but)
{
	const CdcTarget *target = merge->target;
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *c = &target->columns[i];

		if (merge->never_set[i] || (keys_only && c->key_no < 0) || c->source == but)
			continue;
		appendStringInfo(&buf, "%s%s%s%s", buf.len ? ", " : "", alias, alias[0] ? "." : "",
						 quote_identifier(c->name));
	}
	return buf.data;
}

/* No column has this source. */
#define NO_SOURCE	((CdcColumnSource) -1)

/*
 * Where several sources feed the target, the rows of those that the pipeline
 * feeds: others are not its to delete.
 */
static char *
own_rows(const CdcTarget *target, const char *shadow)
{
	StringInfoData condition;

	initStringInfo(&condition);
	for (int i = 0; i < target->nscope; i++)
	{
		const CdcColumn *c = &target->columns[target->scope[i]];
		const char *name = quote_identifier(c->name);

		appendStringInfo(&condition, " AND t.%s %s ANY (SELECT x.%s FROM %s x)", name,
						 cdc_sql_equality(c->typid), name, shadow);
	}
	return condition.data;
}

/*
 * Stage the rows in which shadow and target differ: 'u' as in the shadow, 'd'
 * those that it does not have.  When a row was read is no difference.
 */
static int64
stage_difference(const Resync *resync)
{
	const CdcMerge *merge = &resync->merge;
	const CdcTarget *target = merge->target;
	const char *staging = cdc_qualified_name(merge->staging);
	const char *shadow = cdc_qualified_name(resync->shadow);
	const char *table = cdc_qualified_name(target->relid);
	const char *action = quote_identifier(cdc_staging_column(target, CDC_STAGING_ACTION));
	const char *key = quote_identifier(target->columns[target->keys[0]].name);
	char	   *join = cdc_sql_key_join(target, "t", "s");
	int64		n;

	cdc_spi_run(psprintf("ANALYZE %s", shadow), 0, NULL, NULL, NULL, 0);
	cdc_staging_clear(merge->staging);
	n = cdc_spi_run(psprintf("INSERT INTO %s (%s, %s) SELECT %s, 'd' FROM %s t"
							 " WHERE NOT EXISTS (SELECT FROM %s s WHERE %s)%s",
							 staging, column_list(merge, "", true, NO_SOURCE), action,
							 column_list(merge, "t", true, NO_SOURCE), table, shadow, join,
							 own_rows(target, shadow)),
					0, NULL, NULL, NULL, 0);
	n += cdc_spi_run(psprintf("INSERT INTO %s (%s, %s) SELECT %s, 'u'"
							  " FROM %s s LEFT JOIN %s t ON %s"
							  " WHERE t.%s IS NULL OR ROW(%s)::pg_catalog.record"
							  " OPERATOR(pg_catalog.*<>) ROW(%s)::pg_catalog.record",
							  staging, column_list(merge, "", false, NO_SOURCE), action,
							  column_list(merge, "s", false, NO_SOURCE), shadow, table, join, key,
							  column_list(merge, "s", false, CDC_COLUMN_REFRESH_TIME),
							  column_list(merge, "t", false, CDC_COLUMN_REFRESH_TIME)),
					 0, NULL, NULL, NULL, 0);
	return n;
}

/* The staged rows' TIDs and actions, for the merge. */
static void
list_staged(CdcMerge *merge, int64 n)
{
	ItemPointerData *tids = MemoryContextAllocHuge(CurrentMemoryContext,
												   sizeof(ItemPointerData) * (n + 1));
	char	   *actions = MemoryContextAllocHuge(CurrentMemoryContext, n + 1);
	SPIPlanPtr	plan = SPI_prepare(psprintf("SELECT s.ctid, s.%s FROM %s s ORDER BY s.ctid",
											quote_identifier(cdc_staging_column(merge->target, CDC_STAGING_ACTION)),
											cdc_qualified_name(merge->staging)), 0, NULL);
	Portal		portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);

	while (merge->nrows < n)
	{
		bool		isnull;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed && merge->nrows < n; i++)
		{
			ItemPointerCopy((ItemPointer) DatumGetPointer(cdc_spi_value(i, 1, &isnull)),
							&tids[merge->nrows]);
			actions[merge->nrows++] = DatumGetChar(cdc_spi_value(i, 2, &isnull));
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	merge->tids = tids;
	merge->actions = actions;
}

/* A row that the rebuilt table has taken, but not the target itself. */
static void
refused(void *arg, int64 row, const CdcConvertError *error)
{
	Resync	   *resync = arg;

	ereport(ERROR,
			(errcode(error->sqlerrcode),
			 errmsg("cannot rebuild the target of pipeline \"%s\": it refuses a row: %s",
					resync->pipeline->name, error->message),
			 errhint("A foreign key wants the target that it references rebuilt first; a trigger, what it asks for.")));
}

/* Which columns are ours; those that no event has set are the user's own. */
static void
note_columns(CdcMerge *merge, const List *fed)
{
	const CdcTarget *target = merge->target;
	bool	   *never_set = palloc(target->ncolumns);

	for (int i = 0; i < target->ncolumns; i++)
	{
		ListCell   *lc;

		/* of an empty table, only the keys are compared */
		never_set[i] = target->columns[i].key_no < 0;
		foreach(lc, fed)
			if (strcmp(lfirst(lc), target->columns[i].name) == 0)
				never_set[i] = false;
	}
	merge->never_set = never_set;
	merge->partly_set = palloc0(target->ncolumns);
}

/* By the key: the rows that differ, as a merge would bring them. */
static void
swap_by_key(Resync *resync, CdcTarget *target)
{
	CdcMerge   *merge = &resync->merge;

	/* rows that soft_delete keeps are rows like others here */
	target->mode = CDC_MODE_MIRROR;
	cdc_staging_adapt(resync->pipeline->staging, target);
	merge->staging = resync->pipeline->staging;
	merge->refused = refused;
	merge->arg = resync;
	merge->check_foreign_keys = true;
	list_staged(merge, stage_difference(resync));
	cdc_merge(merge);
}

static bool
replace_contents(void *arg)
{
	cdc_contents_replace(arg);
	return true;
}

/* Where no key tells rows apart: those that only one of the two has. */
static void
swap_by_row(Resync *resync, const CdcTarget *target, const List *fed)
{
	CdcConvertError error;
	bool	   *none = palloc0(target->ncolumns);
	CdcContents contents = {
		.target = target,
		.source = resync->shadow,
		/* of an empty table, all columns */
		.never_set = fed == NIL ? none : resync->merge.never_set,
	};

	if (target->is_view)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot rebuild the target of pipeline \"%s\"", resync->pipeline->name),
				 errdetail("It is a view without a key to compare its rows by.")));
	cdc_spi_run(psprintf("ANALYZE %s", cdc_qualified_name(resync->shadow)), 0, NULL, NULL, NULL, 0);
	if (!cdc_try(replace_contents, &contents, &error))
		refused(resync, 0, &error);
	resync->merge.inserted = contents.inserted;
	resync->merge.deleted = contents.deleted;
}

/* Bring the target to what the shadow holds. */
static void
swap(Resync *resync, const CdcRebuild *rebuild)
{
	CdcPipeline *pipeline = resync->pipeline;
	CdcMerge   *merge = &resync->merge;
	CdcTarget  *target;
	CdcSpi		spi;

	cdc_spi_begin_as(&spi, pipeline->owner, cdc_sync_search_path(pipeline));
	target = cdc_target_describe(pipeline->target, pipeline->key, pipeline->readings,
								 pipeline->strict, pipeline->mode);
	merge->target = target;
	note_columns(merge, rebuild->fed);
	if (target->nkeys > 0 && target->mode != CDC_MODE_HISTORY)
		swap_by_key(resync, target);
	else
		swap_by_row(resync, target, rebuild->fed);
	cdc_spi_end(&spi);
	CDC_FAULT("resync_swapped");
}

/*
 * cdc_resync(name text, since timestamptz)
 */
PG_FUNCTION_INFO_V1(cdc_resync);
Datum
cdc_resync(PG_FUNCTION_ARGS)
{
	Resync		resync = {.since = DT_NOBEGIN};
	CdcRebuild	rebuild = {0};
	TupleDesc	desc;
	Datum		values[6];
	bool		nulls[6] = {false};

	cdc_pipeline_check_argument(fcinfo);
	if (!PG_ARGISNULL(1))
		resync.since = PG_GETARG_TIMESTAMPTZ(1);
	/* no record would count, and all rows go */
	if (resync.since > GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"since\" must not be in the future"),
				 errhint("Give the time at which the connector began to take its snapshot.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	resync.pipeline = cdc_pipeline_get(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	lock_pipeline(&resync);
	choose_source(&resync);
	forget_state(resync.pipeline);
	fold(&resync, &rebuild);
	swap(&resync, &rebuild);
	cdc_exact_rebuilt(resync.pipeline->name, resync.from, resync.n);
	cdc_snapshots_abandon(resync.pipeline->name);
	drop_table(resync.shadow, resync.pipeline->owner);
	drop_table(resync.chunk, resync.pipeline->landing->owner);
	if (resync.merge.inserted + resync.merge.updated + resync.merge.deleted > 0)
		cdc_retry_wake(resync.pipeline);
	cdc_wake_synced_at_commit(resync.pipeline->name, resync.folded.events,
							  resync.folded.waiting);

	values[0] = CStringGetTextDatum(resync.source);
	values[1] = Int64GetDatum(resync.folded.events);
	values[2] = Int64GetDatum(resync.folded.quarantined);
	values[3] = Int64GetDatum(resync.merge.inserted);
	values[4] = Int64GetDatum(resync.merge.updated);
	values[5] = Int64GetDatum(resync.merge.deleted);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
