/*-------------------------------------------------------------------------
 *
 * status.c
 *	  What the monitoring views show: how pipelines and their partitions fare, and
 *	  which processes run.
 *
 * The state of a pipeline is the first of these that is true:
 *	  stopped, paused	so says the catalog
 *	  waiting			there is no manager, and so no worker
 *	  waiting			its sync has to delete rows that those of other targets refer to
 *	  backing off		its sync, or the reading of its topic, has failed and will be
 *						tried again
 *	  waiting			it is left to a person or a scheduler; what it needs of
 *						workers, topic or events is not there
 *	  running
 * A pipeline's own problem comes after the manager's, because without one nobody
 * tries again.
 *
 * Read-only, in the caller's transaction, on a standby too.  The catalog is read as
 * its owner, for all pipelines of roles that the caller is a member of; of shared
 * memory only what belongs to these is shown.  No lock is waited for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "lag.h"
#include "pipeline.h"
#include "shmem.h"
#include "worker.h"

/* A backlog that is done sooner, in s, or smaller is not worth a word. */
#define LONG_BACKLOG	10
#define BIG_BACKLOG		100000

PG_FUNCTION_INFO_V1(cdc_is_here);
PG_FUNCTION_INFO_V1(cdc_status_pipelines);
PG_FUNCTION_INFO_V1(cdc_status_partitions);
PG_FUNCTION_INFO_V1(cdc_status_workers);

/* What runs in this database. */
typedef struct Workers
{
	bool		launcher;
	bool		manager;
	int			n;
	CdcProcess *processes;
	int		   *pids;
	CdcSharedDatabase database; /* all zeros: nothing is known */
} Workers;

/* What is to be shown of a pipeline's state. */
typedef struct State
{
	const char *state;
	const char *reason;			/* this and the rest may be NULL */
	const char *hint;
	const char *last_error;
	const char *sqlstate;
	TimestampTz since;
	TimestampTz next_try;		/* DT_NOBEGIN: none */
} State;

typedef struct Pipeline
{
	CdcLagPipeline lag;
	Oid			owner;
	Oid			server;
	State		state;			/* what the catalog says; NULL: active */
	bool		auto_refresh;
	bool		auto_landing;	/* the workers are to read the topic */
	bool		auto_sync;
	bool		has_target;
	const char *gap;			/* at which reading has stopped, or NULL */
	bool		exact;
	int64		quarantined;
	int64		waiting;		/* of those: for a constraint */
	TimestampTz waiting_since;	/* the oldest */
	CdcSharedPipeline shared;	/* all zeros: nothing is known */
	CdcSharedLanding landing;
} Pipeline;

/*
 * cdcsync.is_here(stamp_system bigint, stamp_database bigint) returns boolean
 */
Datum
cdc_is_here(PG_FUNCTION_ARGS)
{
	int64		system;
	int64		database;

	cdc_pipeline_stamp(&system, &database);
	PG_RETURN_BOOL(PG_GETARG_INT64(0) == system && PG_GETARG_INT64(1) == database);
}

/* ----------
 * The catalog
 * ----------
 */
static const char pipeline_query[] =
	"SELECT s.name, s.owner::oid, nullif(s.state, 'active'), s.reason, s.hint, p.last_error,"
	" p.last_sqlstate, p.since, s.auto_refresh, s.auto_sync, p.target IS NOT NULL, p.landing_id,"
	" l.chunk::oid, c.relowner, l.topic::oid, f.ftserver,"
	" l.landing_id IN (SELECT a.landing_id FROM cdcsync.auto_landing a),"
	" (SELECT g.reason FROM cdcsync.gap g WHERE g.landing_id = l.landing_id AND NOT g.passed"
	"  ORDER BY g.detected_at LIMIT 1),"
	" NOT EXISTS (SELECT FROM cdcsync.inexact i WHERE i.pipeline = s.name),"
	" q.n, q.waiting, q.since"
	" FROM cdcsync.pipeline_state s"
	" JOIN cdcsync.pipeline p USING (name)"
	" JOIN cdcsync.landing l USING (landing_id)"
	" JOIN pg_class c ON c.oid = l.chunk"
	" LEFT JOIN pg_foreign_table f ON f.ftrelid = l.topic,"
	" LATERAL (SELECT count(*) AS n, count(*) FILTER (WHERE q.state = 'waiting') AS waiting,"
	"  min(q.quarantined_at) FILTER (WHERE q.state = 'waiting') AS since"
	"  FROM cdcsync.quarantine q WHERE q.pipeline = s.name) q"
	" WHERE pg_has_role($1, s.owner, 'USAGE')"
	" ORDER BY s.name COLLATE \"C\"";

static bool
bool_column(uint64 row, int column)
{
	bool		isnull;

	return DatumGetBool(cdc_spi_value(row, column, &isnull));
}

static Pipeline *
pipeline_from_row(uint64 row)
{
	Pipeline   *p = palloc0(sizeof(Pipeline));
	bool		isnull;

	p->lag.name = cdc_spi_text(row, 1);
	p->owner = cdc_spi_oid(row, 2);
	p->state.state = cdc_spi_text(row, 3);
	p->state.reason = cdc_spi_text(row, 4);
	p->state.hint = cdc_spi_text(row, 5);
	p->state.last_error = cdc_spi_text(row, 6);
	p->state.sqlstate = cdc_spi_text(row, 7);
	p->state.since = DatumGetTimestampTz(cdc_spi_value(row, 8, &isnull));
	p->state.next_try = DT_NOBEGIN;
	p->auto_refresh = bool_column(row, 9);
	p->auto_sync = bool_column(row, 10);
	p->has_target = bool_column(row, 11);
	p->lag.landing = DatumGetInt32(cdc_spi_value(row, 12, &isnull));
	p->lag.chunk = cdc_spi_oid(row, 13);
	p->lag.landing_owner = cdc_spi_oid(row, 14);
	p->lag.has_topic = OidIsValid(cdc_spi_oid(row, 15));
	p->server = cdc_spi_oid(row, 16);
	p->auto_landing = bool_column(row, 17);
	p->gap = cdc_spi_text(row, 18);
	p->exact = bool_column(row, 19);
	p->quarantined = DatumGetInt64(cdc_spi_value(row, 20, &isnull));
	p->waiting = DatumGetInt64(cdc_spi_value(row, 21, &isnull));
	p->waiting_since = DatumGetTimestampTz(cdc_spi_value(row, 22, &isnull));
	return p;
}

/* Those that the current user may see. */
static Pipeline **
read_pipelines(int *n)
{
	static const Oid types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(GetUserId())};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	Pipeline  **pipelines;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	*n = (int) cdc_spi_run(pipeline_query, 1, types, values, NULL, 0);
	old = MemoryContextSwitchTo(context);
	pipelines = palloc(sizeof(Pipeline *) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		pipelines[i] = pipeline_from_row(i);
	MemoryContextSwitchTo(old);
	cdc_spi_end(&spi);
	return pipelines;
}

/* ----------
 * Shared memory
 * ----------
 */
static void
copy_shared(CdcSharedKind kind, const void *key, void *copy, Size size)
{
	void	   *entry = cdc_shared_find(kind, key, false);

	if (entry == NULL)
		return;
	memcpy(copy, entry, size);
	cdc_shared_release(kind, entry);
}

static void
read_shared(Pipeline *p)
{
	CdcPipelineKey pipeline;
	CdcLandingKey landing;

	cdc_pipeline_key(&pipeline, MyDatabaseId, p->lag.name);
	copy_shared(CDC_SHARED_PIPELINE, &pipeline, &p->shared, sizeof(p->shared));
	/* where no manager clears up, it may be of an earlier one of this name */
	if (p->shared.synced_at < p->state.since)
		memset(&p->shared.rate, 0, sizeof(p->shared.rate));
	memset(&landing, 0, sizeof(landing));
	landing.database = MyDatabaseId;
	landing.landing = p->lag.landing;
	copy_shared(CDC_SHARED_LANDING, &landing, &p->landing, sizeof(p->landing));
}

static void
read_workers(Workers *workers)
{
	CdcProcess	launcher = {.kind = CDC_LAUNCHER};
	CdcProcess	like = {.database = MyDatabaseId};

	memset(workers, 0, sizeof(*workers));
	workers->launcher = cdc_process_find(&launcher, NULL, NULL, 1) > 0;
	workers->processes = palloc(sizeof(CdcProcess) * max_worker_processes);
	workers->pids = palloc(sizeof(int) * max_worker_processes);
	workers->n = cdc_process_find(&like, workers->pids, workers->processes,
								  max_worker_processes);
	for (int i = 0; i < workers->n; i++)
		workers->manager |= workers->processes[i].kind == CDC_MANAGER;
	copy_shared(CDC_SHARED_DATABASE, &MyDatabaseId, &workers->database,
				sizeof(workers->database));
}

/* How many ingest workers read this pipeline's server; *wanted: how many should. */
static int
count_ingest(const Workers *workers, const Pipeline *p, int *wanted)
{
	int			n = 0;

	*wanted = 1;
	for (int i = 0; i < workers->n; i++)
	{
		const CdcProcess *process = &workers->processes[i];

		if (process->kind != CDC_INGEST || process->owner != p->lag.landing_owner ||
			process->server != p->server)
			continue;
		*wanted = Max(*wanted, process->nslices);
		n++;
	}
	return n;
}

/* How many sync workers serve this owner; *all: how many there are. */
static int
count_sync(const Workers *workers, Oid owner, int *all)
{
	int			n = 0;

	*all = 0;
	for (int i = 0; i < workers->n; i++)
	{
		if (workers->processes[i].kind != CDC_SYNC)
			continue;
		(*all)++;
		n += workers->processes[i].owner == owner;
	}
	return n;
}

/* ----------
 * Progress
 * ----------
 */

/* A number with its thousands apart. */
static char *
print_count(int64 n)
{
	char		digits[32];
	char	   *result = palloc(sizeof(digits) * 2);
	char	   *to = result;
	int			len = snprintf(digits, sizeof(digits), INT64_FORMAT, n);

	for (int i = 0; i < len; i++)
	{
		if (i > 0 && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return result;
}

static char *
print_duration(double seconds)
{
	if (seconds < 90)
		return psprintf("%.0f s", seconds);
	if (seconds < 90 * 60)
		return psprintf("%.0f min", seconds / 60);
	if (seconds < 48 * 3600)
		return psprintf("%.0f h", seconds / 3600);
	return psprintf("%.0f days", seconds / 86400);
}

/*
 * Sums over the partitions.  -1: unknown, as nobody has seen the topic, or the chunk
 * table cannot be looked into.
 */
static void
sum_lags(const Pipeline *p, int64 *records, int64 *landed, int64 *events)
{
	*records = p->lag.nlags == 0 && p->lag.has_topic ? -1 : 0;
	*landed = *events = 0;
	for (int i = 0; i < p->lag.nlags; i++)
	{
		const CdcLag *lag = &p->lag.lags[i];

		*records = *records < 0 || lag->records < 0 ? -1 : *records + lag->records;
		*landed = *landed < 0 || lag->landed < 0 ? -1 : *landed + lag->landed;
		*events += lag->events;
	}
}

/*
 * How far a long backlog is worked off; NULL: there is none.  While what is
 * missing is much of all that there was, this is the first load, and shown as a
 * share of it.
 */
static char *
describe_progress(const Pipeline *p)
{
	double		rate = cdc_rate_get(&p->shared.rate);
	int64		records;
	int64		landed;
	int64		events;
	double		seconds;
	char	   *text;

	sum_lags(p, &records, &landed, &events);
	seconds = rate > 0 ? records / rate : -1;
	if (records <= 0 || (rate > 0 ? seconds < LONG_BACKLOG : records < BIG_BACKLOG))
		return NULL;
	if (records > events / 20)
		text = psprintf("%d %% of %s records",
						(int) (events * 100.0 / ((double) events + records)),
						print_count(events + records));
	else
		text = psprintf("%s records to go", print_count(records));
	if (seconds < 0)
		return text;
	return psprintf("%s, about %s left", text, print_duration(seconds));
}

/* ----------
 * States
 * ----------
 */
static void
wait_for(State *state, const char *reason, const char *hint)
{
	state->state = "waiting";
	state->reason = reason;
	state->hint = hint;
}

/* For what the manager, or the launcher, has a problem with. */
static void
wait_for_slot(State *state, const Workers *workers, const char *otherwise)
{
	const CdcProblem *problem = &workers->database.problem;

	if (problem->failures == 0)
	{
		wait_for(state, otherwise, NULL);
		return;
	}
	wait_for(state, problem->message, problem->hint[0] ? problem->hint : NULL);
	state->last_error = problem->message;
	state->sqlstate = problem->sqlstate;
	state->since = problem->since;
}

/* There is no manager. */
static void
wait_for_manager(State *state, const Workers *workers)
{
	if (RecoveryInProgress())
		wait_for(state, "this server is a standby",
				 "Workers start when it is promoted.");
	else if (workers->database.stopped)
		wait_for(state, "the workers of this database were stopped",
				 "Start them with SELECT cdc_start().");
	else if (workers->database.suspended > 0)
		wait_for(state, "the workers have left for a command that needs the database alone",
				 "They come back when it has ended.");
	else if (workers->launcher || workers->database.problem.failures > 0)
		wait_for_slot(state, workers, "the workers of this database are about to start");
	else if (cdc_worker_has_launcher())
		wait_for(state, "the launcher is not running",
				 "The server log says why. All of max_worker_processes may be in use.");
	else
		wait_for(state, "no worker is running: call cdc_refresh() and cdc_sync()",
				 "To have it done, set shared_preload_libraries = 'cdcsync' and restart the server, or use SELECT cdc_start().");
}

static void
back_off(State *state, const CdcProblem *problem)
{
	state->state = "backing off";
	state->reason = state->last_error = problem->message;
	state->sqlstate = problem->sqlstate;
	state->hint = problem->hint[0] ? problem->hint : NULL;
	state->since = problem->since;
	state->next_try = problem->next_try;
}

/* Is it left to a person or a scheduler?  Then it says what. */
static bool
is_manual(const Pipeline *p, State *state)
{
	bool		refresh = p->lag.has_topic && !p->auto_landing;

	if (refresh && p->gap)
		wait_for(state, p->gap,
				 psprintf("Let it be read again with SELECT cdc_resume(%s).",
						  quote_literal_cstr(p->lag.name)));
	else if (refresh && p->auto_refresh)
		wait_for(state, "the topic is not read", NULL);
	else if (refresh && !p->auto_sync)
		wait_for(state, "auto_refresh and auto_sync are off: call cdc_refresh() and cdc_sync()", NULL);
	else if (refresh)
		wait_for(state, "auto_refresh is off: call cdc_refresh()", NULL);
	else if (!p->auto_sync)
		wait_for(state, "auto_sync is off: call cdc_sync()", NULL);
	else
		return false;
	return true;
}

/* Are the workers there that are to read the topic? */
static bool
lacks_ingest(const Pipeline *p, const Workers *workers, State *state)
{
	int			wanted;
	int			n = count_ingest(workers, p, &wanted);

	if (!p->auto_landing || n >= wanted)
		return false;
	wait_for_slot(state, workers, "its ingest worker is about to start");
	return true;
}

static bool
lacks_sync(const Pipeline *p, const Workers *workers, State *state)
{
	int			all;
	int			n = count_sync(workers, p->owner, &all);

	if (n > 0)
		return false;
	if (workers->database.problem.failures == 0 && all >= cdc_max_sync_workers)
		wait_for(state, "all sync workers serve other owners",
				 "Its turn comes. Increase cdcsync.max_sync_workers if it waits too long.");
	else
		wait_for_slot(state, workers, "its sync worker is about to start");
	return true;
}

/* The state of a pipeline, by the order in the head of this file. */
static void
decide(const Pipeline *p, const Workers *workers, State *state)
{
	const CdcProblem *problem = p->shared.problem.failures > 0 ?
	&p->shared.problem : &p->landing.problem;
	int64		records;
	int64		landed;
	int64		events;

	*state = p->state;
	sum_lags(p, &records, &landed, &events);
	if (problem->failures > 0 && state->last_error == NULL &&
		(workers->manager || problem->since >= state->since))
	{
		state->last_error = problem->message;
		state->sqlstate = problem->sqlstate;
	}
	if (state->state)
		return;
	if (!workers->manager)
		wait_for_manager(state, workers);
	else if (p->shared.problem.failures > 0 && p->auto_sync)
	{
		back_off(state, &p->shared.problem);
		/* as records that a foreign key refuses: others may let it pass */
		if (strcmp(state->sqlstate, "23503") == 0)
			state->state = "waiting";
	}
	else if (p->landing.problem.failures > 0 && p->auto_landing)
		back_off(state, &p->landing.problem);
	else if (p->landing.note[0] && p->auto_landing)
		wait_for(state, p->landing.note, NULL);
	else if (is_manual(p, state) || lacks_ingest(p, workers, state))
		return;
	else if (!p->has_target && landed == 0)
		wait_for(state, "waiting for the first event", NULL);
	else if (landed > 0 && lacks_sync(p, workers, state))
		return;
	else if (!p->has_target)
		wait_for(state, "waiting for an event that shows what columns the target is to have",
				 "If what has landed is what should be there, create the table yourself, and the pipeline again with it as the target.");
	else
	{
		state->state = "running";
		state->reason = describe_progress(p);
		if (state->reason == NULL && p->waiting > 0)
			state->reason = psprintf("%s %s for other rows that a constraint asks for, %s",
									 print_count(p->waiting),
									 p->waiting == 1 ? "record waits" : "records wait",
									 psprintf("the oldest for %s",
											  print_duration((GetCurrentTimestamp() - p->waiting_since) / 1e6)));
	}
}

/* ----------
 * Rows
 * ----------
 */

/* Everything about the pipelines of the current user. */
static Pipeline **
read_all(Workers *workers, int *n)
{
	Pipeline  **pipelines = read_pipelines(n);
	CdcLagPipeline **lags = palloc(sizeof(CdcLagPipeline *) * Max(*n, 1));

	read_workers(workers);
	for (int i = 0; i < *n; i++)
	{
		Pipeline   *p = pipelines[i];
		int			wanted;

		read_shared(p);
		if (!p->auto_landing || count_ingest(workers, p, &wanted) < wanted)
			p->lag.unread_since = DT_NOBEGIN;
		else if (p->landing.problem.failures > 0)
			p->lag.unread_since = p->landing.problem.since;
		else
			p->lag.unread_since = DT_NOEND;
		lags[i] = &p->lag;
	}
	cdc_lag_read(lags, *n);
	return pipelines;
}

static void
set_text(const char *text, Datum *value, bool *isnull)
{
	*isnull = text == NULL;
	*value = text ? CStringGetTextDatum(text) : (Datum) 0;
}

static void
set_time(TimestampTz time, Datum *value, bool *isnull)
{
	*isnull = time == DT_NOBEGIN || time == 0;
	*value = TimestampTzGetDatum(time);
}

/* To a tenth: what is behind that says nothing. */
static void
set_rate(const CdcRate *rate, Datum *value, bool *isnull)
{
	*isnull = rate->begin == 0;
	*value = Float8GetDatum(rint(cdc_rate_get(rate) * 10) / 10);
}

/* The time since then, in ms; nothing is missing: 0; unknown: NULL. */
static void
set_lag_time(TimestampTz since, TimestampTz now, Datum *value, bool *isnull)
{
	*isnull = since == DT_NOBEGIN;
	/* clocks differ */
	since = Min(since, now);
	since = now - (now - since) / 1000 * 1000;
	*value = *isnull ? (Datum) 0 :
		DirectFunctionCall2(timestamp_mi, TimestampGetDatum(now), TimestampGetDatum(since));
}

/* Since when the target is behind, in any partition; as far as that is known. */
static TimestampTz
oldest_of(const Pipeline *p)
{
	TimestampTz oldest = p->lag.nlags == 0 && p->lag.has_topic ? DT_NOBEGIN : DT_NOEND;
	bool		known = p->lag.nlags == 0;

	for (int i = 0; i < p->lag.nlags; i++)
	{
		TimestampTz since = p->lag.lags[i].since;

		if (since == DT_NOBEGIN)
			continue;
		known = true;
		oldest = Min(oldest, since);
	}
	return known ? oldest : DT_NOBEGIN;
}

/*
 * cdcsync.pipelines() returns setof record: the columns of cdc_status
 */
Datum
cdc_status_pipelines(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now;
	Pipeline  **pipelines;
	Workers		workers;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	pipelines = read_all(&workers, &n);
	now = GetCurrentTimestamp();
	for (int i = 0; i < n; i++)
	{
		Pipeline   *p = pipelines[i];
		Datum		values[14];
		bool		nulls[14] = {0};
		int64		records;
		int64		landed;
		int64		events;
		State		state;

		decide(p, &workers, &state);
		sum_lags(p, &records, &landed, &events);
		set_text(p->lag.name, &values[0], &nulls[0]);
		set_text(state.state, &values[1], &nulls[1]);
		set_text(state.reason, &values[2], &nulls[2]);
		set_time(state.since, &values[3], &nulls[3]);
		set_time(state.next_try, &values[4], &nulls[4]);
		values[5] = Int64GetDatum(records);
		nulls[5] = records < 0;
		set_lag_time(oldest_of(p), now, &values[6], &nulls[6]);
		set_rate(&p->landing.rate, &values[7], &nulls[7]);
		set_rate(&p->shared.rate, &values[8], &nulls[8]);
		values[9] = Int64GetDatum(p->quarantined);
		values[10] = BoolGetDatum(p->exact);
		set_text(state.last_error, &values[11], &nulls[11]);
		set_text(state.sqlstate, &values[12], &nulls[12]);
		set_text(state.hint, &values[13], &nulls[13]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * cdcsync.partitions() returns setof record: most columns of partition_status
 */
Datum
cdc_status_partitions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now;
	Pipeline  **pipelines;
	Workers		workers;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	pipelines = read_all(&workers, &n);
	now = GetCurrentTimestamp();
	for (int i = 0; i < n; i++)
		for (int j = 0; j < pipelines[i]->lag.nlags; j++)
		{
			const CdcLag *lag = &pipelines[i]->lag.lags[j];
			Datum		values[15];
			bool		nulls[15] = {0};

			set_text(pipelines[i]->lag.name, &values[0], &nulls[0]);
			values[1] = Int32GetDatum(pipelines[i]->lag.landing);
			values[2] = Int64GetDatum(lag->partition);
			values[3] = Int32GetDatum(lag->epoch);
			values[4] = Int64GetDatum(lag->position);
			values[5] = Int64GetDatum(lag->end);
			nulls[5] = !lag->has_end;
			set_time(lag->end_seen_at, &values[6], &nulls[6]);
			values[7] = Int32GetDatum(lag->watermark_epoch);
			values[8] = Int64GetDatum(lag->watermark);
			nulls[7] = nulls[8] = !lag->has_watermark;
			values[9] = Int64GetDatum(lag->records);
			nulls[9] = lag->records < 0;
			set_lag_time(lag->since, now, &values[10], &nulls[10]);
			values[11] = Int64GetDatum(lag->events);
			values[12] = Int64GetDatum(lag->resent);
			values[13] = Int64GetDatum(lag->passed);
			set_time(lag->synced_at, &values[14], &nulls[14]);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	return (Datum) 0;
}

/*
 * cdcsync.workers() returns setof record: the launcher, and the workers of this
 * database
 */
Datum
cdc_status_workers(PG_FUNCTION_ARGS)
{
	static const char *const kinds[] = {
		[CDC_LAUNCHER] = "launcher",[CDC_MANAGER] = "manager",
		[CDC_INGEST] = "ingest",[CDC_SYNC] = "sync",
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CdcProcess *found = palloc(sizeof(CdcProcess) * max_worker_processes);
	int		   *pids = palloc(sizeof(int) * max_worker_processes);
	CdcProcess	like = {0};
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	n = cdc_process_find(&like, pids, found, max_worker_processes);
	for (int i = 0; i < n; i++)
	{
		const CdcProcess *process = &found[i];
		Datum		values[6];
		bool		nulls[6] = {0};

		if (OidIsValid(process->database) && process->database != MyDatabaseId)
			continue;
		values[0] = Int32GetDatum(pids[i]);
		set_text(kinds[process->kind], &values[1], &nulls[1]);
		values[2] = ObjectIdGetDatum(process->owner);
		nulls[2] = !OidIsValid(process->owner);
		values[3] = ObjectIdGetDatum(process->server);
		nulls[3] = !OidIsValid(process->server);
		values[4] = Int32GetDatum(process->slice);
		nulls[4] = process->kind != CDC_INGEST && process->kind != CDC_SYNC;
		values[5] = Int32GetDatum(process->nslices);
		nulls[5] = process->kind != CDC_INGEST;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
