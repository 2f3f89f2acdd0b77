/*-------------------------------------------------------------------------
 *
 * snapshot.c
 *	  Snapshots of a source's table that a pipeline sees go by, and whether it
 *	  has seen all of one.
 *
 * All rows of a snapshot carry the one source position at which it was taken:
 * that is its identity.  Another position is another snapshot; the same one
 * again is the same state of the source, however often the connector began.
 * In each partition the rows of a snapshot are a run, as the connector sends
 * nothing else meanwhile (incremental snapshots, which are different, do not
 * count).  An aborted snapshot is followed by the rows of the next one.
 *
 * The marks on rows (first, last, ..) are about the whole snapshot, and only one
 * partition sees each.  So a snapshot is complete when some partition has seen
 * its end, and each of the others has shown an event that was streamed
 * afterwards, or was read up to where its log ended after the end had landed.
 * Nothing may be missing: no partition may begin in the middle of it, or have a
 * gap there.
 *
 * Rows of cdcsync.snapshot are written in the transaction of the sync, as the
 * catalog's owner; the chunk table is looked into as the landing's owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "shmem.h"
#include "snapshot.h"

/*
 * The producer sends the records of several partitions on their own: some may
 * still be on their way when the end of the snapshot has landed.
 */
#define SETTLE_SECONDS	10

/* .. and where nobody looks for the end of a log, as nothing comes. */
#define FOLLOW_SECONDS	60

/* A snapshot that does not end is forgotten. */
#define LONGEST			"7 days"

/* ----------
 * Noting
 * ----------
 */

static bool
name_is(const CdcToken *name, const char *word)
{
	return name->len == strlen(word) && memcmp(name->text, word, name->len) == 0;
}

static bool
name_in(const CdcToken *name, const char *const *words, int n)
{
	for (int i = 0; i < n; i++)
		if (name_is(name, words[i]))
			return true;
	return false;
}

static uint64
add_hash(uint64 hash, const CdcToken *name, const CdcToken *value)
{
	hash = hash_combine64(hash, hash_bytes_extended((const unsigned char *) name->text,
													name->len, 0));
	return hash_combine64(hash, hash_bytes_extended((const unsigned char *) value->text,
													value->len, value->kind));
}

/*
 * A row key with fields of the source keeps the rows of several sources apart:
 * then their snapshots are, too.
 */
static int64
scope_of(const CdcTarget *target, const CdcChange *change)
{
	uint64		scope = 0;

	for (int k = 0; k < target->nkeys; k++)
	{
		const CdcColumn *c = &target->columns[target->keys[k]];

		if (c->source == CDC_COLUMN_SOURCE_FIELD)
			scope = add_hash(scope, &change->source[c->index], &change->source[c->index]);
	}
	return (int64) scope;
}

int64
cdc_snapshot_row_scope(const CdcTarget *target, const CdcToken *tokens)
{
	uint64		scope = 0;

	for (int k = 0; k < target->nkeys; k++)
	{
		int			at = target->keys[k];

		if (target->columns[at].source == CDC_COLUMN_SOURCE_FIELD)
			scope = add_hash(scope, &tokens[at], &tokens[at]);
	}
	return (int64) scope;
}

/* Where the row's snapshot found the source, and what table it is of. */
static void
identify(const CdcTarget *target, const CdcChange *change, int64 *identity,
		 int64 *origin)
{
	static const char *const places[] = {"file", "pos", "gtid", "lsn", "scn",
	"commit_scn", "commit_lsn", "ord"};
	static const char *const origins[] = {"name", "db", "schema", "table", "collection"};
	CdcScanner	scanner;
	CdcToken	name;
	CdcToken	value;
	uint64		place = 0;
	uint64		from = 1;
	bool		mongodb = change->connector.len == 7 &&
	memcmp(change->connector.text, "mongodb", 7) == 0;

	if (change->source_json.kind == CDC_JSON_OBJECT)
	{
		cdc_scanner_init(&scanner, change->source_json.text, change->source_json.len);
		(void) cdc_scan_peek(&scanner);
		(void) cdc_scan_enter(&scanner);
		for (bool first = true; cdc_scan_member(&scanner, first, &name) > 0 &&
			 cdc_scan_value(&scanner, &value); first = false)
		{
			/* the clock is part of the position there */
			if (name_in(&name, places, lengthof(places)) ||
				(mongodb && name_is(&name, "ts_ms")))
				place = add_hash(place, &name, &value);
			else if (name_in(&name, origins, lengthof(origins)))
				from = add_hash(from, &name, &value);
		}
	}
	*identity = (int64) hash_combine64(place, (uint64) scope_of(target, change));
	*origin = (int64) from;
}

bool
cdc_snapshot_has(const CdcSnapshots *snapshots, int64 identity,
				 const CdcChange *change, int64 *origin)
{
	int64		its;

	identify(snapshots->target, change, &its, origin);
	return its == identity;
}

/* Has anything of the partition's epoch landed before record i of the chunk? */
static bool
has_earlier(const CdcSnapshots *snapshots, const CdcChunk *chunk, int i)
{
	Oid			types[] = {INT8OID, INT4OID, INT8OID};
	Datum		values[] = {Int64GetDatum(chunk->partition), Int32GetDatum(chunk->epoch),
	Int64GetDatum(chunk->first_offset)};
	CdcSpi		spi;
	bool		found;

	if (i > 0)
		return true;
	cdc_spi_begin_as(&spi, snapshots->pipeline->landing->owner, NULL);
	found = cdc_spi_run(psprintf("SELECT FROM %s c WHERE c.kafka_partition = $1"
								 " AND c.epoch = $2 AND c.first_offset < $3",
								 cdc_qualified_name(snapshots->pipeline->landing->chunk)),
						3, types, values, NULL, 1) > 0;
	cdc_spi_end(&spi);
	return found;
}

/* Of the partition's runs of this scope the last one, or NULL. */
static CdcSnapshotRun *
last_run(const CdcSnapshots *all, int64 partition, int64 scope)
{
	CdcSnapshotRun *last = NULL;
	ListCell   *lc;

	foreach(lc, all->runs)
	{
		CdcSnapshotRun *run = lfirst(lc);

		if (run->partition == partition && run->scope == scope && run->first_offset >= 0 &&
			(last == NULL || run->epoch > last->epoch ||
			 (run->epoch == last->epoch && run->last_offset > last->last_offset)))
			last = run;
	}
	return last;
}

static CdcSnapshotRun *
new_run(CdcSnapshots *all, int64 identity, int64 scope, int64 partition)
{
	MemoryContext old = MemoryContextSwitchTo(all->context);
	CdcSnapshotRun *run = palloc0(sizeof(CdcSnapshotRun));

	run->identity = identity;
	run->scope = scope;
	run->partition = partition;
	run->after_offset = run->first_offset = run->last_offset = -1;
	run->end_offset = run->streamed_offset = run->await_offset = -1;
	run->first_time = run->ended_at = DT_NOBEGIN;
	run->noted_at = GetCurrentTransactionStartTimestamp();
	run->changed = true;
	all->runs = lappend(all->runs, run);
	MemoryContextSwitchTo(old);
	return run;
}

static CdcSnapshotRun *
find_run(const CdcSnapshots *all, int64 identity, int64 partition)
{
	ListCell   *lc;

	foreach(lc, all->runs)
	{
		CdcSnapshotRun *run = lfirst(lc);

		if (run->identity == identity && run->partition == partition)
			return run;
	}
	return NULL;
}

/*
 * The first row of a snapshot in its partition.  Where the row before it was one
 * of a snapshot that nobody has noted, the option was set in between.
 */
static void
begin_run(CdcSnapshotRun *run, const CdcSnapshots *all, const CdcProgress *progress,
		  const CdcChange *change, const CdcChunk *chunk, int i)
{
	run->epoch = chunk->epoch;
	run->first_offset = cdc_chunk_offset(chunk, i);
	run->after_offset = progress->next_offset;
	run->first_time = chunk->timestamps ? chunk->timestamps[i] : DT_NOBEGIN;
	run->source_ts_ms = change->has_source_ts_ms ? change->source_ts_ms : 0;
	if (change->mark == CDC_SNAPSHOT_FIRST)
		run->after_offset = run->first_offset;
	run->initial = all->target_empty && TIMESTAMP_NOT_FINITE(progress->refresh_time) &&
		progress->events == 0;
	run->certain = change->mark == CDC_SNAPSHOT_FIRST || run->first_offset == 0 ||
		(!progress->in_snapshot &&
		 ((chunk->epoch == 0 && !TIMESTAMP_NOT_FINITE(progress->refresh_time)) ||
		  has_earlier(all, chunk, i)));
}

static void
note_row(CdcProgress *progress, const CdcChange *change, const CdcChunk *chunk, int i)
{
	CdcSnapshotPart *part = progress->snapshot;
	CdcSnapshots *all = part->all;
	CdcSnapshotRun *run = part->run;
	int64		offset = cdc_chunk_offset(chunk, i);
	int64		identity;
	int64		origin;

	identify(all->target, change, &identity, &origin);
	if (run == NULL || run->identity != identity)
		run = find_run(all, identity, chunk->partition);
	if (run == NULL)
		run = new_run(all, identity, scope_of(all->target, change), chunk->partition);
	if (run->first_offset < 0 || (run->done && change->mark == CDC_SNAPSHOT_FIRST))
	{
		run->nrows = 0;
		begin_run(run, all, progress, change, chunk, i);
		run->origin = origin;
	}
	if (run->done)
		run->noted_at = GetCurrentTransactionStartTimestamp();
	run->done = false;
	if (run->origin != origin)
		run->origin = 0;
	if (run->epoch != chunk->epoch)
		run->certain = false;	/* cut in two */
	run->nrows++;
	run->last_offset = offset;
	run->marked |= change->mark == CDC_SNAPSHOT_FIRST ||
		change->mark == CDC_SNAPSHOT_LAST_OF_TABLE;
	run->headed |= change->mark == CDC_SNAPSHOT_FIRST;
	if (change->mark == CDC_SNAPSHOT_LAST || change->mark == CDC_SNAPSHOT_LAST_OF_TABLE)
	{
		run->end_offset = offset;
		run->ended_at = chunk->refresh_time;
	}
	run->streamed_offset = -1;
	run->changed = true;
	part->run = run;
}

void
cdc_snapshot_note(CdcProgress *progress, const CdcChange *change,
				  const CdcChunk *chunk, int i)
{
	CdcSnapshotPart *part = progress->snapshot;
	CdcSnapshotRun *run;
	int64		scope;

	/* a row without its source does not tell what snapshot it is of */
	if (change->snapshot && !change->incremental && change->source_json.kind == CDC_JSON_OBJECT)
	{
		note_row(progress, change, chunk, i);
		return;
	}
	if (part->all->runs == NIL)
		return;
	scope = scope_of(part->all->target, change);
	if (part->run == NULL || part->run->scope != scope)
		part->run = last_run(part->all, chunk->partition, scope);
	run = part->run;
	if (run && !run->done && run->streamed_offset < 0 && !change->snapshot)
	{
		run->streamed_offset = cdc_chunk_offset(chunk, i);
		if (TIMESTAMP_NOT_FINITE(run->ended_at))
			run->ended_at = chunk->refresh_time;
		run->changed = true;
	}
}

/* ----------
 * The catalog
 * ----------
 */
#define COLUMNS "identity, origin, kafka_partition, epoch, nrows, after_offset, first_offset, " \
	"last_offset, certain, initial, done, marked, end_offset, streamed_offset, await_epoch, await_offset, " \
	"first_time, ended_at, source_ts_ms, noted_at, scope, headed"
#define NCOLUMNS 22

static int64
int8_or_none(uint64 row, int column)
{
	bool		isnull;
	Datum		d = cdc_spi_value(row, column, &isnull);

	return isnull ? -1 : DatumGetInt64(d);
}

static void
read_run(CdcSnapshotRun *run, uint64 row)
{
	bool		isnull;
	Datum		d;

	run->identity = DatumGetInt64(cdc_spi_value(row, 1, &isnull));
	run->origin = DatumGetInt64(cdc_spi_value(row, 2, &isnull));
	run->partition = DatumGetInt64(cdc_spi_value(row, 3, &isnull));
	run->epoch = DatumGetInt32(cdc_spi_value(row, 4, &isnull));
	run->nrows = DatumGetInt64(cdc_spi_value(row, 5, &isnull));
	run->after_offset = int8_or_none(row, 6);
	run->first_offset = int8_or_none(row, 7);
	run->last_offset = int8_or_none(row, 8);
	run->certain = DatumGetBool(cdc_spi_value(row, 9, &isnull));
	run->initial = DatumGetBool(cdc_spi_value(row, 10, &isnull));
	run->done = DatumGetBool(cdc_spi_value(row, 11, &isnull));
	run->marked = DatumGetBool(cdc_spi_value(row, 12, &isnull));
	run->end_offset = int8_or_none(row, 13);
	run->streamed_offset = int8_or_none(row, 14);
	run->await_epoch = DatumGetInt32(cdc_spi_value(row, 15, &isnull));
	run->await_offset = int8_or_none(row, 16);
	d = cdc_spi_value(row, 17, &isnull);
	run->first_time = isnull ? DT_NOBEGIN : DatumGetTimestamp(d);
	d = cdc_spi_value(row, 18, &isnull);
	run->ended_at = isnull ? DT_NOBEGIN : DatumGetTimestamp(d);
	run->source_ts_ms = DatumGetInt64(cdc_spi_value(row, 19, &isnull));
	run->noted_at = DatumGetTimestampTz(cdc_spi_value(row, 20, &isnull));
	run->scope = DatumGetInt64(cdc_spi_value(row, 21, &isnull));
	run->headed = DatumGetBool(cdc_spi_value(row, 22, &isnull));
}

CdcSnapshots *
cdc_snapshots_load(const CdcPipeline *pipeline, const CdcTarget *target)
{
	static const Oid types[] = {TEXTOID};
	static CdcPlan plan = {
		.sql = "SELECT " COLUMNS " FROM cdcsync.snapshot WHERE pipeline = $1 ORDER BY snapshot_id",
		.nargs = 1,
		.types = types
	};
	CdcSnapshots *all = palloc0(sizeof(CdcSnapshots));
	Datum		values[] = {CStringGetTextDatum(pipeline->name)};
	uint64		n;
	CdcSpi		spi;

	all->pipeline = pipeline;
	all->target = target;
	all->context = CurrentMemoryContext;
	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run_plan(&plan, values, NULL);
	for (uint64 row = 0; row < n; row++)
	{
		MemoryContext old = MemoryContextSwitchTo(all->context);
		CdcSnapshotRun *run = palloc0(sizeof(CdcSnapshotRun));

		read_run(run, row);
		all->runs = lappend(all->runs, run);
		MemoryContextSwitchTo(old);
	}
	if (n > 0)
		(void) cdc_spi_run("DELETE FROM cdcsync.snapshot WHERE pipeline = $1"
						   " AND noted_at < now() - interval '" LONGEST "'",
						   1, types, values, NULL, 0);
	cdc_spi_end(&spi);
	return all;
}

void
cdc_snapshots_watch(CdcSnapshots *snapshots, int npartitions, CdcProgress *progress)
{
	for (int i = 0; i < npartitions; i++)
	{
		progress[i].snapshot = palloc0(sizeof(CdcSnapshotPart));
		progress[i].snapshot->all = snapshots;
	}
}

List *
cdc_snapshots_scopes(const CdcSnapshots *snapshots)
{
	List	   *scopes = NIL;
	ListCell   *lc;

	foreach(lc, snapshots->runs)
	{
		int64	   *scope = &((CdcSnapshotRun *) lfirst(lc))->scope;
		bool		known = false;
		ListCell   *other;

		foreach(other, scopes)
			known |= *(int64 *) lfirst(other) == *scope;
		if (!known)
			scopes = lappend(scopes, scope);
	}
	return scopes;
}

static void
store_run(const CdcSnapshots *all, const CdcSnapshotRun *run)
{
	Oid			types[NCOLUMNS + 1] = {INT8OID, INT8OID, INT8OID, INT4OID, INT8OID, INT8OID,
		INT8OID, INT8OID, BOOLOID, BOOLOID, BOOLOID, BOOLOID, INT8OID, INT8OID, INT4OID, INT8OID,
	TIMESTAMPOID, TIMESTAMPOID, INT8OID, TIMESTAMPTZOID, INT8OID, BOOLOID, TEXTOID};
	Datum		values[] = {Int64GetDatum(run->identity), Int64GetDatum(run->origin),
		Int64GetDatum(run->partition), Int32GetDatum(run->epoch), Int64GetDatum(run->nrows),
		Int64GetDatum(run->after_offset), Int64GetDatum(run->first_offset),
		Int64GetDatum(run->last_offset), BoolGetDatum(run->certain), BoolGetDatum(run->initial),
		BoolGetDatum(run->done), BoolGetDatum(run->marked), Int64GetDatum(run->end_offset),
		Int64GetDatum(run->streamed_offset), Int32GetDatum(run->await_epoch),
		Int64GetDatum(run->await_offset), TimestampGetDatum(run->first_time),
		TimestampGetDatum(run->ended_at), Int64GetDatum(run->source_ts_ms),
		TimestampTzGetDatum(run->noted_at), Int64GetDatum(run->scope),
		BoolGetDatum(run->headed), CStringGetTextDatum(all->pipeline->name)
	};
	char		nulls[NCOLUMNS + 1];

	memset(nulls, ' ', sizeof(nulls));
	nulls[5] = run->after_offset < 0 ? 'n' : ' ';
	nulls[6] = run->first_offset < 0 ? 'n' : ' ';
	nulls[7] = run->last_offset < 0 ? 'n' : ' ';
	nulls[12] = run->end_offset < 0 ? 'n' : ' ';
	nulls[13] = run->streamed_offset < 0 ? 'n' : ' ';
	nulls[15] = run->await_offset < 0 ? 'n' : ' ';
	nulls[16] = TIMESTAMP_NOT_FINITE(run->first_time) ? 'n' : ' ';
	nulls[17] = TIMESTAMP_NOT_FINITE(run->ended_at) ? 'n' : ' ';
	(void) cdc_spi_run("INSERT INTO cdcsync.snapshot AS s (" COLUMNS ", pipeline)"
					   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
					   " $16, $17, $18, $19, $20, $21, $22, $23)"
					   " ON CONFLICT (pipeline, identity, kafka_partition) DO UPDATE SET"
					   " origin = $2, epoch = $4, nrows = $5, after_offset = $6, first_offset = $7,"
					   " last_offset = $8, certain = $9, initial = $10, done = $11, marked = $12,"
					   " end_offset = $13, streamed_offset = $14, await_epoch = $15, await_offset = $16,"
					   " first_time = $17, ended_at = $18, source_ts_ms = $19, noted_at = $20, headed = $22",
					   NCOLUMNS + 1, types, values, nulls, 0);
}

void
cdc_snapshots_store(CdcSnapshots *snapshots)
{
	CdcSpi		spi;
	ListCell   *lc;
	bool		connected = false;

	foreach(lc, snapshots->runs)
	{
		CdcSnapshotRun *run = lfirst(lc);

		if (!run->changed)
			continue;
		if (!connected)
			cdc_spi_begin_catalog(&spi);
		connected = true;
		store_run(snapshots, run);
		run->changed = false;
		}
	if (connected)
		cdc_spi_end(&spi);
}

void
cdc_snapshots_done(CdcSnapshots *snapshots, const List *runs, int npartitions,
				   const CdcProgress *progress)
{
	const CdcSnapshotRun *one = linitial(runs);
	Oid			types[] = {TEXTOID, INT8OID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(snapshots->pipeline->name),
	Int64GetDatum(one->scope), Int64GetDatum(one->identity)};
	List	   *left = NIL;
	CdcSpi		spi;
	ListCell   *lc;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("DELETE FROM cdcsync.snapshot WHERE pipeline = $1 AND scope = $2"
					   " AND (identity <> $3 OR first_offset IS NULL)",
					   3, types, values, NULL, 0);
	cdc_spi_end(&spi);
	foreach(lc, snapshots->runs)
	{
		CdcSnapshotRun *run = lfirst(lc);

		if (run->scope == one->scope &&
			(run->identity != one->identity || run->first_offset < 0))
			continue;
		left = lappend(left, run);
		if (run->scope != one->scope)
			continue;
		run->done = run->changed = true;
		run->end_offset = run->streamed_offset = run->await_offset = -1;
		run->ended_at = DT_NOBEGIN;
	}
	snapshots->runs = left;
	for (int i = 0; i < npartitions; i++)
		progress[i].snapshot->run = NULL;
	cdc_snapshots_store(snapshots);
}

void
cdc_snapshots_abandon(const char *pipeline)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline)};
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("UPDATE cdcsync.watermark w SET in_snapshot = true"
					   " WHERE pipeline = $1 AND EXISTS (SELECT FROM cdcsync.snapshot s"
					   "  WHERE s.pipeline = $1 AND s.kafka_partition = w.kafka_partition)",
					   1, types, values, NULL, 0);
	(void) cdc_spi_run("DELETE FROM cdcsync.snapshot WHERE pipeline = $1",
					   1, types, values, NULL, 0);
	cdc_spi_end(&spi);
}

/* ----------
 * Is it complete?
 * ----------
 */

/*
 * Did the snapshot of run a begin after that of run b?  Of the same partition
 * the offsets tell, else Kafka's clock.
 */
static bool
began_later(const CdcSnapshotRun *a, const CdcSnapshotRun *b)
{
	if (a->partition == b->partition)
		return a->epoch != b->epoch ? a->epoch > b->epoch : a->first_offset > b->first_offset;
	return a->first_time > b->first_time;
}

/* Is snapshot a newer than snapshot b?  What they have in one partition decides. */
static bool
is_newer(const CdcSnapshots *all, int64 a, int64 b)
{
	const CdcSnapshotRun *first[2] = {NULL, NULL};
	ListCell   *lc;

	foreach(lc, all->runs)
	{
		const CdcSnapshotRun *run = lfirst(lc);
		const CdcSnapshotRun *other = run->identity == a ?
		find_run(all, b, run->partition) : NULL;
		const CdcSnapshotRun **f = run->identity == a ? &first[0] :
		run->identity == b ? &first[1] : NULL;

		if (run->first_offset < 0)
			continue;
		if (other && other->first_offset >= 0)
			return began_later(run, other);
		if (f && (*f == NULL || run->first_time < (*f)->first_time))
			*f = run;
	}
	return first[0] && first[1] && began_later(first[0], first[1]);
}

/* A run of the newest snapshot of a scope, or NULL. */
static const CdcSnapshotRun *
newest(const CdcSnapshots *all, int64 scope)
{
	const CdcSnapshotRun *best = NULL;
	ListCell   *lc;

	foreach(lc, all->runs)
	{
		const CdcSnapshotRun *run = lfirst(lc);

		if (run->first_offset >= 0 && run->scope == scope && !run->done &&
			(best == NULL || (run->identity != best->identity &&
							  is_newer(all, run->identity, best->identity))))
			best = run;
	}
	return best;
}

/*
 * Has the end of the snapshot been seen?  Its last row says so, unless the
 * connector is too old to mark the last row of each table, or the only row was
 * marked as the first.  Then it ends where streaming goes on.
 */
static bool
has_ended(const CdcSnapshots *all, int64 identity, Timestamp *when)
{
	bool		marked = false;
	bool		ended = false;
	Timestamp	streamed = DT_NOBEGIN;
	int64		nrows = 0;
	ListCell   *lc;

	foreach(lc, all->runs)
	{
		const CdcSnapshotRun *run = lfirst(lc);

		if (run->identity != identity)
			continue;
		nrows += run->nrows;
		marked |= run->marked;
		if (run->end_offset >= 0)
		{
			ended = true;
			*when = run->ended_at;
		}
		else if (run->streamed_offset >= 0)
			streamed = run->ended_at;
	}
	if (!ended && !TIMESTAMP_NOT_FINITE(streamed) && (!marked || nrows == 1))
	{
		ended = true;
		*when = streamed;
	}
	return ended;
}

/* Where the partition's log ended, if that was seen after this time. */
static bool
seen_end(int32 landing, int64 partition, TimestampTz after, int64 *end)
{
	Oid			types[] = {INT4OID, INT8OID, TIMESTAMPTZOID};
	Datum		values[] = {Int32GetDatum(landing), Int64GetDatum(partition),
	TimestampTzGetDatum(after)};
	CdcPartitionKey key;
	CdcSharedPartition *shared;
	bool		seen = false;
	bool		isnull;
	CdcSpi		spi;

	memset(&key, 0, sizeof(key));
	key.database = MyDatabaseId;
	key.landing = landing;
	key.partition = partition;
	shared = cdc_shared_find(CDC_SHARED_PARTITION, &key, false);
	if (shared)
	{
		seen = shared->seen_at > after;
		*end = shared->end_offset;
		cdc_shared_release(CDC_SHARED_PARTITION, shared);
	}
	if (seen)
		return true;
	cdc_spi_begin_catalog(&spi);
	seen = cdc_spi_run("SELECT high_offset FROM cdcsync.position WHERE landing_id = $1"
					   " AND kafka_partition = $2 AND refreshed_at > $3 AND high_offset IS NOT NULL",
					   3, types, values, NULL, 1) > 0;
	if (seen)
		*end = DatumGetInt64(cdc_spi_value(0, 1, &isnull));
	cdc_spi_end(&spi);
	return seen;
}

/*
 * Does a worker read the topic, without trouble?  What it has not read for a
 * while is not there; the end of a log that rests is not seen again.
 */
static bool
is_followed(int32 landing)
{
	CdcLandingKey key;
	CdcSharedLanding *shared;
	bool		followed;
	int			reader;

	memset(&key, 0, sizeof(key));
	key.database = MyDatabaseId;
	key.landing = landing;
	shared = cdc_shared_find(CDC_SHARED_LANDING, &key, false);
	if (shared == NULL)
		return false;
	followed = shared->problem.failures == 0 && shared->note[0] == '\0';
	reader = shared->reader;
	cdc_shared_release(CDC_SHARED_LANDING, shared);
	return followed && BackendPidGetProc(reader) != NULL;
}

/*
 * Set how far the partition is to be read, if it is known where its log ended
 * when the end of the snapshot had landed.
 */
static void
set_await(CdcSnapshotRun *run, const CdcSnapshots *all,
		  const CdcLandingPosition *position, Timestamp ended)
{
	const CdcLanding *landing = all->pipeline->landing;
	int64		end = position->next_offset;

	if (OidIsValid(landing->topic) &&
		!seen_end(landing->id, position->partition,
				  ended + SETTLE_SECONDS * USECS_PER_SEC, &end) &&
		!(GetCurrentTimestamp() > ended + FOLLOW_SECONDS * USECS_PER_SEC &&
		  is_followed(landing->id)))
		return;
	run->await_epoch = position->epoch;
	run->await_offset = Max(end, position->next_offset);
	run->changed = true;
}

/* Has all that the snapshot has in this partition been read? */
static bool
has_passed(const CdcSnapshotRun *run, const CdcProgress *p)
{
	if (run->end_offset >= 0 || run->streamed_offset >= 0)
		return true;
	return run->await_offset >= 0 &&
		(p->epoch > run->await_epoch ||
		 (p->epoch == run->await_epoch && p->next_offset >= run->await_offset));
}

/*
 * Is there a gap in the landing that the snapshot may have fallen into?  One
 * that was found before it began, or that lies before or behind its rows, is
 * none.
 */
static bool
has_gap(const CdcSnapshots *all, const CdcSnapshotRun *run, Timestamp began)
{
	Oid			types[] = {INT4OID, INT8OID, INT4OID, INT8OID, INT4OID, INT8OID, TIMESTAMPOID};
	int64		end = run->end_offset >= 0 ? run->end_offset :
	run->streamed_offset >= 0 ? run->streamed_offset : run->await_offset;
	Datum		values[] = {Int32GetDatum(all->pipeline->landing->id),
		Int64GetDatum(run->partition), Int32GetDatum(run->epoch),
		Int64GetDatum(run->after_offset),
		Int32GetDatum(run->first_offset >= 0 ? run->epoch : run->await_epoch),
		Int64GetDatum(end), TimestampGetDatum(began)};
	CdcSpi		spi;
	bool		found;

	cdc_spi_begin_catalog(&spi);
	found = cdc_spi_run("SELECT FROM cdcsync.gap g WHERE g.landing_id = $1 AND g.kafka_partition = $2"
						" AND g.passed"
						" AND (g.epoch, g.first_offset) < ($5, $6)"
						" AND NOT ($4 >= 0 AND (g.epoch < $3 OR coalesce((g.epoch, g.next_offset) <= ($3, $4), false)))"
						" AND g.detected_at AT TIME ZONE 'UTC' >= $7",
						7, types, values, NULL, 1) > 0;
	cdc_spi_end(&spi);
	return found;
}

/*
 * Does it have no first row, right behind another one that had, and has not ended?
 * So it is where the rows of one snapshot do not all have the same position.
 */
static bool
has_no_head(const CdcSnapshots *all, const List *runs)
{
	const CdcSnapshotRun *one = linitial(runs);
	bool		behind = false;
	ListCell   *lc;

	foreach(lc, runs)
		if (((CdcSnapshotRun *) lfirst(lc))->headed)
			return false;
	foreach(lc, all->runs)
	{
		const CdcSnapshotRun *run = lfirst(lc);

		behind |= run->scope == one->scope && run->identity != one->identity && !run->done &&
			run->headed && run->end_offset < 0 && run->streamed_offset < 0;
	}
	return behind;
}

/* What says that parts of the snapshot may be missing; NULL: nothing. */
static char *
find_flaw(const CdcSnapshots *all, const List *runs)
{
	Timestamp	began = DT_NOEND;
	int64		origin = 0;
	bool		has_origin = false;
	ListCell   *lc;

	if (has_no_head(all, runs))
		return "it has no first row, and follows on one that has not ended";
	foreach(lc, runs)
	{
		const CdcSnapshotRun *run = lfirst(lc);

		if (run->first_offset < 0)
			continue;
		began = Min(began, run->first_time);
		if (run->origin == 0 || (has_origin && run->origin != origin))
			return "its rows are of several tables";
		origin = run->origin;
		has_origin = true;
	}
	foreach(lc, runs)
	{
		const CdcSnapshotRun *run = lfirst(lc);

		if (run->first_offset >= 0 && !run->certain)
			return psprintf("its beginning may be missing in partition " INT64_FORMAT,
							run->partition);
		if (has_gap(all, run, began))
			return psprintf("records are missing in partition " INT64_FORMAT, run->partition);
	}
	return NULL;
}

List *
cdc_snapshots_complete(CdcSnapshots *snapshots, int64 scope, int npartitions,
					   const CdcProgress *progress,
					   const CdcLandingPosition *positions, bool *waits, char **why)
{
	const CdcSnapshotRun *one = newest(snapshots, scope);
	Timestamp	ended;
	List	   *runs = NIL;

	*waits = false;
	*why = NULL;
	if (one == NULL || !has_ended(snapshots, one->identity, &ended))
		return NIL;
	for (int i = 0; i < npartitions; i++)
	{
		CdcSnapshotRun *run = find_run(snapshots, one->identity, progress[i].partition);

		if (run == NULL)
			run = new_run(snapshots, one->identity, scope, progress[i].partition);
		if (run->end_offset < 0 && run->streamed_offset < 0 && run->await_offset < 0)
			set_await(run, snapshots, &positions[i], ended);
		if (has_passed(run, &progress[i]))
			runs = lappend(runs, run);
		else if (run->await_offset < 0)
			*waits = true;
	}
	cdc_snapshots_store(snapshots);
	if (list_length(runs) < npartitions)
		return NIL;
	*why = find_flaw(snapshots, runs);
	return runs;
}
