/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  cdc_wait(): sleep until what is in the topic now is in the target.
 *
 * The ends of the topic's partitions are asked for once, as the owner of the
 * landing; then watermarks are compared with them whenever somebody has synced.
 * Everything that is looked at is looked at in a subtransaction that is rolled
 * back, so that no lock outlives it, and with a snapshot of its own, so that it
 * works at every isolation level.  What stays while it sleeps is the snapshot of
 * the calling statement, as with pg_sleep().
 *
 * A watermark may end below an offset that holds no record (a control record, or
 * what compaction has taken): where the landing has been read so far, what counts
 * is whether a chunk is left.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "catalog.h"
#include "kafka.h"
#include "kafka_options.h"
#include "options.h"
#include "pipeline.h"
#include "shmem.h"

#define LONGEST_SLEEP	1000	/* ms: then looked again, whoever may have synced */
#define START_TIME		3000	/* ms that a manager is given to start workers */

/* Where a partition must be. */
typedef struct Goal
{
	int64		partition;
	int32		epoch;
	int64		next_offset;
	bool		reached;
} Goal;

typedef struct Wait
{
	const char *name;
	MemoryContext context;		/* of the call */
	TimestampTz start;
	bool		has_topic;
	int32		landing;
	Oid			owner;
	Goal	   *goals;
	int			ngoals;
	bool		reached;		/* all are */
	bool		own;			/* the landed records are of this transaction */
	char	   *warned;			/* the last warning */
} Wait;

/* ----------
 * The goal
 * ----------
 */

/*
 * The goal of a partition of a topic whose log holds low .. high - 1; where that
 * is nothing, what has landed of it.
 */
static void
add_goal(Wait *wait, int64 partition, int64 low, int64 high,
		 const CdcLandingPosition *positions, int npositions)
{
	Goal		goal = {.partition = partition,.next_offset = high};
	bool		wanted = low < high;

	for (int i = 0; i < npositions; i++)
	{
		const CdcLandingPosition *position = &positions[i];

		if (position->partition != partition)
			continue;
		goal.epoch = position->epoch;
		if (low == high)
			goal.next_offset = position->next_offset;
		else if (position->next_offset > high)
			goal.epoch++;		/* made anew, which nobody has seen yet */
		wanted = true;
	}
	if (wanted)
		wait->goals[wait->ngoals++] = goal;
}

static void
ends_of_topic(Wait *wait, const CdcLanding *landing,
			  const CdcLandingPosition *positions, int npositions)
{
	Oid			serverid;
	char	   *topic = cdc_kafka_topic(landing->topic, &serverid);
	CdcKafka   *kafka;
	int64	   *low;
	int64	   *high;
	int			n;

	cdc_kafka_topic_check(landing->topic, serverid, landing->owner);
	kafka = cdc_kafka_open(serverid, landing->owner, 0);
	n = cdc_kafka_partitions(kafka, topic);
	low = palloc(sizeof(int64) * Max(n, 1));
	high = palloc(sizeof(int64) * Max(n, 1));
	if (n > 0)
		cdc_kafka_topic_watermarks(kafka, topic, n, low, high);
	cdc_kafka_close(kafka);
	wait->goals = MemoryContextAllocZero(wait->context, sizeof(Goal) * Max(n, 1));
	for (int i = 0; i < n; i++)
		add_goal(wait, i, low[i], high[i], positions, npositions);
}

/* No topic: what has landed. */
static void
ends_of_landing(Wait *wait, const CdcLandingPosition *positions, int npositions)
{
	wait->goals = MemoryContextAllocZero(wait->context, sizeof(Goal) * Max(npositions, 1));
	wait->ngoals = npositions;
	for (int i = 0; i < npositions; i++)
	{
		wait->goals[i].partition = positions[i].partition;
		wait->goals[i].epoch = positions[i].epoch;
		wait->goals[i].next_offset = positions[i].next_offset;
	}
}

/* All positions of the landing, as everybody sees them now. */
static int
latest_positions(Wait *wait, CdcLandingPosition **positions)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(wait->landing)};
	MemoryContext context = CurrentMemoryContext;
	uint64		n;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_look("SELECT kafka_partition, epoch, next_offset, xmin"
					 " FROM cdcsync.position WHERE landing_id = $1 ORDER BY 1",
					 1, types, values, 0);
	*positions = MemoryContextAlloc(context, sizeof(CdcLandingPosition) * Max(n, 1));
	wait->own = false;
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		TransactionId xmin = DatumGetTransactionId(cdc_spi_value(i, 4, &isnull));

		(*positions)[i].partition = DatumGetInt64(cdc_spi_value(i, 1, &isnull));
		(*positions)[i].epoch = DatumGetInt32(cdc_spi_value(i, 2, &isnull));
		(*positions)[i].next_offset = DatumGetInt64(cdc_spi_value(i, 3, &isnull));
		wait->own |= TransactionIdIsCurrentTransactionId(xmin);
	}
	cdc_spi_end(&spi);
	return n;
}

/* Rolled back at its end, as the following ones. */
static bool
find_goals(void *arg)
{
	Wait	   *wait = arg;
	CdcPipeline *pipeline = cdc_pipeline_get(wait->name);
	CdcLandingPosition *positions;
	int			npositions;

	wait->landing = pipeline->landing->id;
	wait->owner = pipeline->owner;
	wait->has_topic = OidIsValid(pipeline->landing->topic);
	PushActiveSnapshot(GetLatestSnapshot());
	npositions = latest_positions(wait, &positions);
	PopActiveSnapshot();
	if (wait->has_topic)
		ends_of_topic(wait, pipeline->landing, positions, npositions);
	else
		ends_of_landing(wait, positions, npositions);
	return false;
}

/* ----------
 * Are we there?
 * ----------
 */

/* Is there a record of the goal that is not synced?  The landing was read so far. */
static bool
chunk_left(const CdcPipeline *pipeline, const Goal *goal, int32 epoch, int64 next_offset)
{
	Oid			types[] = {INT8OID, INT4OID, INT8OID, INT4OID, INT8OID};
	Datum		values[] = {Int64GetDatum(goal->partition), Int32GetDatum(epoch),
		Int64GetDatum(next_offset), Int32GetDatum(goal->epoch),
	Int64GetDatum(goal->next_offset)};
	bool		left;
	CdcSpi		spi;

	cdc_spi_begin_as(&spi, pipeline->landing->owner, NULL);
	/* the chunk that holds the watermark may begin before it */
	left = cdc_spi_look(psprintf("SELECT FROM %1$s WHERE kafka_partition = $1"
								 " AND (epoch, first_offset) >= ($2, coalesce((SELECT max(first_offset) FROM %1$s"
								 "  WHERE kafka_partition = $1 AND epoch = $2 AND first_offset <= $3), 0))"
								 " AND (epoch, first_offset) < ($4, $5)"
								 " AND (epoch > $2 OR last_offset >= $3)",
								 cdc_qualified_name(pipeline->landing->chunk)),
						5, types, values, 1) > 0;
	cdc_spi_end(&spi);
	return left;
}

static bool
is_past(const Goal *goal, int32 epoch, int64 next_offset)
{
	return epoch > goal->epoch || (epoch == goal->epoch && next_offset >= goal->next_offset);
}

static Goal *
find_goal(Wait *wait, int64 partition)
{
	for (int i = 0; i < wait->ngoals; i++)
		if (wait->goals[i].partition == partition && !wait->goals[i].reached)
			return &wait->goals[i];
	return NULL;
}

/* Mark the goals that are reached now. */
static void
look_at_watermarks(Wait *wait, const CdcPipeline *pipeline)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline->name)};
	MemoryContext context = CurrentMemoryContext;
	struct
	{
		int64		partition;
		int32		epoch;
		int64		next_offset;
		bool		read;
	}		   *marks;
	CdcLandingPosition *positions;
	int			npositions = latest_positions(wait, &positions);
	uint64		n;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_look("SELECT kafka_partition, epoch, next_offset"
					 " FROM cdcsync.watermark WHERE pipeline = $1",
					 1, types, values, 0);
	marks = MemoryContextAllocZero(context, sizeof(*marks) * Max(npositions, 1));
	for (int i = 0; i < npositions; i++)
	{
		marks[i].partition = positions[i].partition;
		for (uint64 row = 0; row < n; row++)
		{
			bool		isnull;

			if (DatumGetInt64(cdc_spi_value(row, 1, &isnull)) != marks[i].partition)
				continue;
			marks[i].epoch = DatumGetInt32(cdc_spi_value(row, 2, &isnull));
			marks[i].next_offset = DatumGetInt64(cdc_spi_value(row, 3, &isnull));
		}
	}
	cdc_spi_end(&spi);

	for (int i = 0; i < npositions; i++)
	{
		Goal	   *goal = find_goal(wait, marks[i].partition);

		if (goal == NULL)
			continue;
		goal->reached = is_past(goal, marks[i].epoch, marks[i].next_offset) ||
			(is_past(goal, positions[i].epoch, positions[i].next_offset) &&
			 !chunk_left(pipeline, goal, marks[i].epoch, marks[i].next_offset));
	}
}

/* Tell, once, why there is not much hope. */
static void
warn(Wait *wait, char *reason, const char *hint)
{
	if (wait->warned && strcmp(wait->warned, reason) == 0)
		return;
	wait->warned = MemoryContextStrdup(wait->context, reason);
	ereport(WARNING,
			(errcode(ERRCODE_WARNING),
			 errmsg("pipeline \"%s\" is not being synced: %s", wait->name, reason),
			 hint ? errhint("%s", hint) : 0));
}

/* What keeps the pipeline from being tried again before its time. */
static void
warn_of_problem(Wait *wait)
{
	CdcPipelineKey key;
	CdcSharedPipeline *shared;
	CdcProblem	problem = {0};

	cdc_pipeline_key(&key, MyDatabaseId, wait->name);
	shared = cdc_shared_find(CDC_SHARED_PIPELINE, &key, false);
	if (shared)
	{
		problem = shared->problem;
		cdc_shared_release(CDC_SHARED_PIPELINE, shared);
	}
	if (problem.failures > 0)
		warn(wait, problem.message, problem.hint[0] ? problem.hint : NULL);
}

static bool
auto_sync(const CdcPipeline *pipeline)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(pipeline->name)};
	bool		result = true;
	bool		isnull;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	if (cdc_spi_run("SELECT options FROM cdcsync.pipeline WHERE name = $1",
					1, types, values, NULL, 1) > 0)
		result = cdc_options_parse(DatumGetJsonbP(cdc_spi_value(0, 1, &isnull)))->auto_sync;
	cdc_spi_end(&spi);
	return result;
}

static void
warn_of_state(Wait *wait, const CdcPipeline *pipeline)
{
	CdcProcess	worker = {.kind = CDC_SYNC,.database = MyDatabaseId,.owner = pipeline->owner,.slice = -1};
	CdcProcess	manager = {.kind = CDC_MANAGER,.database = MyDatabaseId};
	bool		managed = cdc_process_find(&manager, NULL, NULL, 1) > 0;

	if (pipeline->state != CDC_PIPELINE_ACTIVE)
		warn(wait, psprintf("it is %s%s%s",
							pipeline->state == CDC_PIPELINE_PAUSED ? "paused" : "stopped",
							pipeline->reason ? ": " : "", pipeline->reason ? pipeline->reason : ""),
			 pipeline->hint ? pipeline->hint :
			 psprintf("Let it run again with SELECT cdc_resume(%s).", quote_literal_cstr(wait->name)));
	else if (!auto_sync(pipeline))
		warn(wait, "its option \"auto_sync\" is false",
			 "Call cdc_sync() in another session.");
	else if (cdc_process_find(&worker, NULL, NULL, 1) == 0)
	{
		if (!managed ||
			TimestampDifferenceExceeds(wait->start, GetCurrentTimestamp(), START_TIME))
			warn(wait, "no worker is running",
				 managed ? "The server log says why." :
				 "Put cdcsync into shared_preload_libraries, or call cdc_start(); or call cdc_refresh() and cdc_sync() in another session.");
	}
	else
		warn_of_problem(wait);
}

static bool
look(void *arg)
{
	Wait	   *wait = arg;
	CdcPipeline *pipeline;
	int			left = 0;

	PushActiveSnapshot(GetLatestSnapshot());
	pipeline = cdc_pipeline_get(wait->name);
	look_at_watermarks(wait, pipeline);
	PopActiveSnapshot();
	for (int i = 0; i < wait->ngoals; i++)
		left += !wait->goals[i].reached;
	wait->reached = left == 0;
	if (!wait->reached)
		warn_of_state(wait, pipeline);
	return false;
}

/* ----------
 * SQL
 * ----------
 */

/* ms that are left, at most LONGEST_SLEEP; 0: none. */
static long
time_left(TimestampTz end)
{
	if (end == DT_NOEND)
		return LONGEST_SLEEP;
	return Min(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end), LONGEST_SLEEP);
}

/* Changes with every sync of the pipeline. */
static int64
count_syncs(const Wait *wait)
{
	CdcPipelineKey key;
	CdcSharedPipeline *shared;
	int64		syncs = 0;

	cdc_pipeline_key(&key, MyDatabaseId, wait->name);
	shared = cdc_shared_find(CDC_SHARED_PIPELINE, &key, false);
	if (shared)
	{
		syncs = shared->syncs;
		cdc_shared_release(CDC_SHARED_PIPELINE, shared);
	}
	return syncs;
}

static bool
wait_for_goals(Wait *wait, TimestampTz end)
{
	MemoryContext turn = AllocSetContextCreate(CurrentMemoryContext, "cdcsync wait",
											   ALLOCSET_DEFAULT_SIZES);
	long		left;

	MemoryContextSwitchTo(turn);
	for (;;)
	{
		int64		syncs = count_syncs(wait);

		(void) cdc_attempt(look, wait, NULL, NULL);
		left = time_left(end);
		if (wait->reached || left <= 0)
			break;
		if (wait->own)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot wait for records that landed in this transaction"),
					 errhint("Commit first: until then nobody else sees them.")));
		CHECK_FOR_INTERRUPTS();
		/* only now: the end of a subtransaction ends it as well */
		cdc_shared_synced_prepare();
		if (count_syncs(wait) == syncs)
			cdc_shared_synced_wait(left);
		cdc_shared_synced_done();
		MemoryContextReset(turn);
	}
	MemoryContextSwitchTo(wait->context);
	MemoryContextDelete(turn);
	return wait->reached;
}

/* When to give up. */
static TimestampTz
end_of(TimestampTz start, FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return DT_NOEND;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(start),
												   PG_GETARG_DATUM(n)));
}

/*
 * cdc_wait(name text, timeout interval) returns boolean
 */
PG_FUNCTION_INFO_V1(cdc_wait);
Datum
cdc_wait(PG_FUNCTION_ARGS)
{
	Wait		wait = {.context = CurrentMemoryContext,.start = GetCurrentTimestamp()};

	cdc_pipeline_check_argument(fcinfo);
	wait.name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	(void) cdc_attempt(find_goals, &wait, NULL, NULL);
	PG_RETURN_BOOL(wait_for_goals(&wait, end_of(wait.start, fcinfo, 1)));
}
