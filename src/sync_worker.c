/*-------------------------------------------------------------------------
 *
 * sync_worker.c
 *	  The process that syncs the pipelines of one role.
 *
 * It is connected as that role, so that all code of a target runs with its
 * rights, deferred triggers too, and nothing of it reaches another role's
 * pipelines.  Several workers of a role share its pipelines by claims in shared
 * memory; what keeps two syncs apart is the lock on the staging table, which
 * a worker never waits for.
 *
 * A round takes every pipeline that is due, the one that waits longest first, for
 * a turn: a window in each transaction, until nothing is left or the turn is
 * over.  What fails is tried again later and later, and the round goes on with
 * the next one; at once when its target was altered, or anything else that may
 * have been the reason.  No lock is waited for longer than it takes to find a
 * deadlock, and no window may take longer than cdcsync.sync_timeout.  The claim
 * of a process that ends in the middle is for the manager to end.
 *
 * Whether there is something to do is seen from counters in shared memory: a
 * worker without work runs no transaction.  Where they are wrong the manager
 * finds out.
 *
 * Faults: sync_catalog, sync_begin, sync_window, sync_committed, sync_retention,
 * retention_delete (of each batch); in the window itself sync_ranked, sync_staged,
 * sync_merged, sync_saved.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "fault.h"
#include "options.h"
#include "pipeline.h"
#include "retention.h"
#include "retry.h"
#include "session.h"
#include "sync.h"
#include "worker.h"

#define TURN			300		/* ms that one pipeline has before others have their turn */
#define HELD_PAUSE		500		/* .. until held ones are looked at again */
#define RETRY_PAUSE		5000	/* ms until waiting records are tried again */
#define READ_PAUSE		200		/* ms, at least, between two readings of the catalog */
#define BUSY_PAUSE		200		/* ms until a pipeline that others sync is looked at again */
#define LOOK_INTERVAL	1000	/* ms; whether the reason of a failure is gone */
#define NEIGHBOUR_INTERVAL	50	/* ms; whether others need a worker that follows */
#define FOREIGN_KEY		"23503"	/* a failure that other pipelines may end */

/*
 * How long a lock is waited for, in ms beyond deadlock_timeout: until then
 * autovacuum has been sent away, too.  When that was in vain, it is not done
 * again: the neighbours would wait as well.
 */
#define LOCK_PATIENCE	500
#define LOCK_IMPATIENCE	200

/* A pipeline that this worker serves. */
typedef struct Job
{
	CdcPipelineKey key;
	int32		landing;
	Oid			target;			/* invalid: not made yet */
	TransactionId version;		/* of its definition */
	int64		interval;		/* us */
	int32		schema_landing; /* of the schema-change topic, 0: none */
	int64		landed;			/* CdcNews.landed when nothing was left to do,
								 * for all we know; -1: unknown */
	TimestampTz not_before;		/* somebody else was at it */
	TimestampTz retry_at;		/* of records that wait for others, DT_NOEND: none */
	int64		poked;			/* CdcSharedPipeline.poked when they were tried last */
	TimestampTz waiting_since;	/* it is due since, 0: it is not */
	bool		altered;		/* the target, or what it may depend on */
	bool		crowded;		/* others need the worker while a backlog lands */
	uint32		reading;		/* of the catalog that it was in last */
} Job;

static const CdcProcess *me;
static HTAB *jobs;
static List *job_list;			/* the same */
static bool failing;			/* one of them waits for its next try */
static bool has_landings;		/* whose records are to be deleted one day */
static uint32 reading = 0;
static bool stale = true;		/* the catalog has changed since, for all we know */
static TimestampTz read_ready;	/* not read again before this */
static MemoryContext round_context;
static TimestampTz retention_due;
static TimestampTz retention_ready; /* not before this */

/* ----------
 * The catalog
 * ----------
 */

/*
 * The definition is new to us.  If it is new to all workers, nothing that was
 * shared of its past is true any more.
 */
static void
definition_changed(Job *job)
{
	CdcSharedPipeline *shared = cdc_shared_insert(CDC_SHARED_PIPELINE, &job->key);

	if (shared->version != job->version)
	{
		shared->version = job->version;
		shared->landed = -1;
		cdc_problem_clear(&shared->problem);
	}
	cdc_shared_release(CDC_SHARED_PIPELINE, shared);
	job->not_before = 0;
	job->retry_at = DT_NOEND;
}

static void
take_job(uint64 row)
{
	CdcPipelineKey key;
	CdcOptions *options;
	TransactionId version;
	bool		isnull;
	bool		found;
	Job		   *job;

	options = cdc_options_parse(DatumGetJsonbP(cdc_spi_value(row, 3, &isnull)));
	if (!options->auto_sync)
		return;
	cdc_pipeline_key(&key, MyDatabaseId, TextDatumGetCString(cdc_spi_value(row, 1, &isnull)));
	version = DatumGetTransactionId(cdc_spi_value(row, 4, &isnull));
	job = hash_search(jobs, &key, HASH_ENTER, &found);
	if (!found)
		memset((char *) job + sizeof(key), 0, sizeof(Job) - sizeof(key));
	job->reading = reading;
	job->landing = DatumGetInt32(cdc_spi_value(row, 2, &isnull));
	job->schema_landing = DatumGetInt32(cdc_spi_value(row, 6, &isnull));
	job->interval = options->sync_interval;
	job->target = DatumGetObjectId(cdc_spi_value(row, 5, &isnull));
	if (isnull)
		job->target = InvalidOid;
	if (!found || job->version != version)
	{
		job->version = version;
		definition_changed(job);
	}
	/* what is shared of it may say otherwise by now */
	job->landed = -1;
}

static void
read_catalog(void *arg)
{
	static const Oid types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(me->owner)};
	uint64		n;
	CdcSpi		spi;

	cdc_session_clean();
	CDC_FAULT("sync_catalog");
	cdc_spi_begin_catalog(&spi);
	n = cdc_spi_run("SELECT s.name, p.landing_id, p.options, p.xmin, p.target::oid,"
					" coalesce((SELECT l.landing_id FROM cdcsync.landing l WHERE l.view = p.schema_view), 0)"
					" FROM cdcsync.pipeline_state s JOIN cdcsync.pipeline p USING (name)"
					" WHERE s.owner = $1 AND s.state = 'active'",
					1, types, values, NULL, 0);
	for (uint64 i = 0; i < n; i++)
		take_job(i);
	has_landings = cdc_spi_run("SELECT FROM cdcsync.landing l JOIN pg_class c ON c.oid = l.chunk"
							   " WHERE c.relowner = $1",
							   1, types, values, NULL, 1) > 0;
	cdc_spi_end(&spi);
}

/* Take those that were not in the last reading off the list. */
static void
list_jobs(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	HASH_SEQ_STATUS status;
	Job		   *job;

	list_free(job_list);
	job_list = NIL;
	hash_seq_init(&status, jobs);
	while ((job = hash_seq_search(&status)) != NULL)
	{
		if (job->reading == reading)
			job_list = lappend(job_list, job);
		else
			(void) hash_search(jobs, &job->key, HASH_REMOVE, NULL);
	}
	MemoryContextSwitchTo(old);
}

/* The extension may be gone: whoever started us knows. */
static void
leave_catalog(const ErrorData *error)
{
	cdc_worker_log(error, "sync worker cannot read the catalog");
	proc_exit(1);
}

/* Learn what there is to serve; the process ends if that is nothing. */
static void
refresh_jobs(void)
{
	ErrorData  *error;

	reading++;
	if (!cdc_worker_try(read_catalog, NULL, &error))
		leave_catalog(error);
	list_jobs();
	if (job_list == NIL && !has_landings)
		proc_exit(0);
}

/* ----------
 * What is due
 * ----------
 */

/*
 * A backlog is being landed that the worker has no time to follow (pursuit.c).  So
 * wait until as much has landed as is left, if that is soon: there are a few windows
 * then, the last of them small.
 */
static TimestampTz
backlog_until(const CdcNews *news, const CdcSharedPipeline *shared)
{
	TimestampTz until = TimestampTzPlusMilliseconds(news->unread_at, CDC_UNREAD_FRESH);

	/* the last window has left something, or nobody knows */
	if (shared->landed < 0 || news->records - shared->records >= news->unread)
		return 0;
	return Min(until, TimestampTzPlusMilliseconds(shared->synced_at, CDC_PURSUIT_TIME));
}

/* Another session has altered a relation (invalid: any). */
static void
relation_changed(Datum arg, Oid relid)
{
	ListCell   *lc;

	foreach(lc, job_list)
	{
		Job		   *job = lfirst(lc);

		if (relid == InvalidOid || relid == job->target)
			job->altered = true;
	}
}

/* .. or a function, a schema, a role. */
static void
object_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	relation_changed(arg, InvalidOid);
}

/* What kept it from being synced may have been corrected: try again. */
static void
forget_pause(Job *job)
{
	CdcSharedPipeline *shared = cdc_shared_find(CDC_SHARED_PIPELINE, &job->key, true);

	job->altered = false;
	if (shared == NULL)
		return;
	if (shared->problem.failures > 0)
	{
		shared->problem.failures = 1;
		shared->problem.next_try = GetCurrentTimestamp();
	}
	cdc_shared_release(CDC_SHARED_PIPELINE, shared);
}

/* When is the job due?  DT_NOEND: when something lands. */
static TimestampTz
due_at(Job *job)
{
	CdcNews		news = cdc_shared_news(job->landing, job->schema_landing);
	CdcSharedPipeline *shared;
	TimestampTz at = job->retry_at;
	bool		poked;

	/* nearly always */
	if (job->landed == news.landed && at == DT_NOEND)
		return at;
	if (job->altered)
		forget_pause(job);
	shared = cdc_shared_find(CDC_SHARED_PIPELINE, &job->key, false);
	if (shared == NULL)
		return job->not_before;
	if (job->landed != news.landed)
	{
		if (shared->landed == news.landed)
			job->landed = news.landed;
		else
			at = Min(at, Max(shared->synced_at + job->interval,
							 job->crowded ? backlog_until(&news, shared) : 0));
	}
	poked = job->poked != shared->poked;
	if (at != DT_NOEND && poked)
		at = 0;
	at = Max(at, job->not_before);
	if (shared->problem.failures > 0)
	{
		/* what refers to the rows that it has to delete may be gone */
		if (!poked || strcmp(shared->problem.sqlstate, FOREIGN_KEY) != 0)
			at = Max(at, shared->problem.next_try);
		failing = true;
	}
	cdc_shared_release(CDC_SHARED_PIPELINE, shared);
	return at;
}

/*
 * Take it for us alone; false if another worker has it.  *locked: the last try has
 * ended with waiting for a lock.
 */
static bool
claim(Job *job, bool *locked)
{
	CdcSharedPipeline *shared = cdc_shared_insert(CDC_SHARED_PIPELINE, &job->key);
	bool		ours = shared->worker == 0 || shared->worker == MyProcPid;

	*locked = strcmp(shared->problem.sqlstate, "55P03") == 0;
	if (ours)
	{
		shared->worker = MyProcPid;
		shared->claimed_at = GetCurrentTimestamp();
		job->poked = shared->poked;
	}
	cdc_shared_release(CDC_SHARED_PIPELINE, shared);
	return ours;
}

static void
unclaim(const Job *job)
{
	CdcSharedPipeline *shared = cdc_shared_find(CDC_SHARED_PIPELINE, &job->key, true);

	if (shared == NULL)
		return;
	if (shared->worker == MyProcPid)
		shared->worker = 0;
	cdc_shared_release(CDC_SHARED_PIPELINE, shared);
}

/* It is due, and no worker is at it. */
static bool
is_neglected(Job *job, TimestampTz now)
{
	CdcSharedPipeline *shared;
	bool		neglected;

	if (due_at(job) > now)
		return false;
	shared = cdc_shared_find(CDC_SHARED_PIPELINE, &job->key, false);
	if (shared == NULL)
		return true;
	neglected = shared->worker == 0;
	cdc_shared_release(CDC_SHARED_PIPELINE, shared);
	return neglected;
}

/* Has another pipeline waited for a worker as long as a turn takes? */
static bool
have_neglected(const Job *own)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *lc;

	foreach(lc, job_list)
	{
		Job		   *job = lfirst(lc);

		if (job == own)
			continue;
		if (!is_neglected(job, now))
			job->waiting_since = 0;
		else if (job->waiting_since == 0)
			job->waiting_since = now;
		else if (TimestampDifferenceExceeds(job->waiting_since, now, TURN))
			return true;
	}
	return false;
}

/* The job's window follows its landing.  Is there something else to do? */
static bool
is_wanted(void *arg)
{
	static TimestampTz looked_at = 0;
	Job		   *job = arg;

	if (cdc_process_is_woken() & (CDC_WAKE_LEAVE | CDC_WAKE_CATALOG))
		return true;
	if (!TimestampDifferenceExceeds(looked_at, GetCurrentTimestamp(), NEIGHBOUR_INTERVAL))
		return false;
	looked_at = GetCurrentTimestamp();
	job->crowded = have_neglected(job);
	return job->crowded;
}

/* ----------
 * A turn
 * ----------
 */
typedef struct Turn
{
	Job		   *job;
	CdcPursuit	pursuit;
	bool		gone;			/* it is not ours any more, or not active */
	bool		impatient;		/* the last try has ended with waiting for a lock */
	CdcSyncResult result;
} Turn;

static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

static void
sync_window(void *arg)
{
	Turn	   *turn = arg;
	CdcPipeline *pipeline;
	char	   *path;

	cdc_session_clean();
	CDC_FAULT("sync_begin");
	/* it goes off as in a session; an abort ends it */
	if (cdc_sync_timeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, cdc_sync_timeout);
	set_local("lock_timeout", psprintf("%dms", turn->impatient ? LOCK_IMPATIENCE :
									   DeadlockTimeout + LOCK_PATIENCE));
	pipeline = cdc_pipeline_get(turn->job->key.name);
	if (pipeline->owner != me->owner || pipeline->state != CDC_PIPELINE_ACTIVE ||
		!pipeline->auto_sync)
	{
		turn->gone = true;
		return;
	}
	cdc_sync_pipeline(pipeline, 1, true, turn->job->crowded ? NULL : &turn->pursuit,
					  &turn->result);
	/* what the target has deferred to the commit sees it too */
	path = cdc_sync_search_path(pipeline);
	if (path)
		set_local("search_path", path);
	CDC_FAULT("sync_window");
}

/* Is it ours to sync, still? */
static void
look_up(void *arg)
{
	static const Oid types[] = {TEXTOID, OIDOID};
	static CdcPlan plan = {
		.sql = "SELECT FROM cdcsync.pipeline_state"
		" WHERE name = $1 AND owner = $2 AND state = 'active' AND auto_sync",
		.nargs = 2,
		.types = types,
		.generic = true
	};
	Turn	   *turn = arg;
	Datum		values[] = {CStringGetTextDatum(turn->job->key.name), ObjectIdGetDatum(me->owner)};
	CdcSpi		spi;

	cdc_session_clean();
	cdc_spi_begin_catalog(&spi);
	turn->gone = cdc_spi_run_plan(&plan, values, NULL) == 0;
	cdc_spi_end(&spi);
}

/* Who has locks on the target, for the hint. */
static void
find_blockers(void *arg)
{
	static const Oid types[] = {TEXTOID};
	Turn	   *turn = ((void **) arg)[0];
	char	  **hint = ((void **) arg)[1];
	Datum		values[] = {CStringGetTextDatum(turn->job->key.name)};
	bool		isnull;
	Datum		names;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("SELECT string_agg(format('%s (%s)', pid, modes), ', ' ORDER BY strength DESC, pid) FROM"
					   " (SELECT k.pid, string_agg(k.mode, ', ') AS modes,"
					   "  max(array_position('{RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,"
					   "ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}', k.mode)) AS strength"
					   "  FROM pg_locks k JOIN cdcsync.pipeline p ON k.relation = p.target"
					   "  WHERE p.name = $1 AND k.granted AND k.locktype = 'relation'"
					   "  AND k.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())"
					   "  AND k.mode NOT IN ('AccessShareLock', 'RowShareLock') AND k.pid <> pg_backend_pid()"
					   "  GROUP BY k.pid ORDER BY 3 DESC, 1 LIMIT 3) x",
					   1, types, values, NULL, 1);
	names = cdc_spi_value(0, 1, &isnull);
	if (!isnull)
		*hint = MemoryContextStrdup(round_context,
									psprintf("Processes with locks on the target: %s.",
											 TextDatumGetCString(names)));
	cdc_spi_end(&spi);
}

/* A lock was not to be had in time: say whose it is, as far as can be told. */
static void
blame(Turn *turn, ErrorData *error)
{
	char	   *hint = NULL;
	void	   *arg[] = {turn, &hint};
	ErrorData  *another;

	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE &&
		cdc_worker_try(find_blockers, arg, &another) && hint)
		error->hint = hint;
}

/* The window was given up, by us or by somebody: say what to do. */
static void
hint_timeout(ErrorData *error)
{
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && error->hint == NULL)
		error->hint = "Triggers and functions of the target may take long. If they are to, increase cdcsync.sync_timeout.";
}

/* It cannot be synced now. */
static void
note_failure(Turn *turn, ErrorData *error)
{
	Job		   *job = turn->job;
	CdcSharedPipeline *shared;
	char		before[CDC_PROBLEM_TEXT];
	bool		known;
	ErrorData  *another;

	/* it may have been dropped, paused or given away: that is no failure */
	if (!cdc_worker_try(look_up, turn, &another))
		leave_catalog(another);
	if (turn->gone)
	{
		stale = true;
		return;
	}
	blame(turn, error);
	shared = cdc_shared_insert(CDC_SHARED_PIPELINE, &job->key);
	strlcpy(before, shared->problem.message, sizeof(before));
	cdc_problem_add(&shared->problem, error);
	known = strcmp(before, shared->problem.message) == 0;
	cdc_shared_release(CDC_SHARED_PIPELINE, shared);
	if (error->sqlerrcode == ERRCODE_FOREIGN_KEY_VIOLATION)
		cdc_retry_note_refused();
	/* what the failed try itself had altered says nothing */
	job->altered = false;
	if (!known)
		cdc_worker_log(error, psprintf("pipeline \"%s\" is not synced", job->key.name));
}

/* A window has been committed. */
static void
note_success(Turn *turn)
{
	Job		   *job = turn->job;
	const CdcNews *news = &turn->pursuit.news;
	CdcSharedPipeline *shared = cdc_shared_insert(CDC_SHARED_PIPELINE, &job->key);
	bool		failed = shared->problem.failures > 0;

	cdc_problem_clear(&shared->problem);
	if (!turn->result.more)
	{
		job->landed = news->landed;
		/* if we are gone, another one is to try again what waits */
		shared->landed = turn->result.waiting || turn->result.held ? -1 : news->landed;
		shared->records = news->records;
	}
	cdc_shared_release(CDC_SHARED_PIPELINE, shared);
	job->retry_at = turn->result.held ?
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), HELD_PAUSE) :
		turn->result.waiting ?
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_PAUSE) : DT_NOEND;
	if (failed)
		ereport(LOG, (errmsg("pipeline \"%s\" is synced again", job->key.name)));
}

/* One window; true if the turn may go on. */
static bool
take_window(Turn *turn)
{
	Job		   *job = turn->job;
	ErrorData  *error;

	turn->pursuit = (CdcPursuit) {
		.landing = job->landing,
		.wanted = is_wanted,
		.arg = job,
		.limit = cdc_sync_timeout,
		.news = cdc_shared_news(job->landing, job->schema_landing),
	};
	if (!cdc_worker_try(sync_window, turn, &error))
	{
		hint_timeout(error);
		note_failure(turn, error);
		return false;
	}
	disable_timeout(STATEMENT_TIMEOUT, false);
	CDC_FAULT("sync_committed");
	if (turn->gone || turn->result.busy)
	{
		job->not_before =
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(), BUSY_PAUSE);
		return false;
	}
	note_success(turn);
	job->crowded &= turn->pursuit.news.unread > 0;
	/* there may be more now that nobody needs */
	retention_due = Min(retention_due, retention_ready);
	return turn->result.more;
}

/* What this process was told meanwhile. */
static uint32
look_around(void)
{
	uint32		woken = cdc_worker_check();

	stale |= (woken & CDC_WAKE_CATALOG) != 0;
	return woken;
}

/*
 * Is there something that cannot wait until all have had their turn?  A catalog
 * that has changed is, as soon as it may be read.
 */
static bool
must_break(uint32 woken)
{
	return (woken & CDC_WAKE_LEAVE) || (stale && GetCurrentTimestamp() >= read_ready);
}

/* Returns what this process was told meanwhile. */
static uint32
take_turn(Job *job)
{
	Turn		turn = {.job = job};
	TimestampTz start = GetCurrentTimestamp();
	uint32		woken = 0;

	if (!claim(job, &turn.impatient))
	{
		job->not_before = TimestampTzPlusMilliseconds(start, BUSY_PAUSE);
		return 0;
	}
	cdc_worker_activity(psprintf("syncing pipeline \"%s\"", job->key.name));
	while (take_window(&turn))
	{
		woken |= look_around();
		if (must_break(woken) || TimestampDifferenceExceeds(start, GetCurrentTimestamp(), TURN))
			break;
	}
	unclaim(job);
	/* if there is more, it is behind those that have waited */
	job->waiting_since = 0;
	return woken | look_around();
}

/* ----------
 * A round
 * ----------
 */
static int
compare_jobs(const ListCell *a, const ListCell *b)
{
	TimestampTz at = ((const Job *) lfirst(a))->waiting_since;
	TimestampTz bt = ((const Job *) lfirst(b))->waiting_since;

	return at < bt ? -1 : at > bt;
}

/* Those that are due now, in their order; *next: when others are. */
static List *
due_jobs(TimestampTz *next)
{
	TimestampTz now = GetCurrentTimestamp();
	List	   *due = NIL;
	ListCell   *lc;

	*next = DT_NOEND;
	failing = false;
	foreach(lc, job_list)
	{
		Job		   *job = lfirst(lc);
		TimestampTz at = due_at(job);

		if (at > now)
		{
			job->waiting_since = 0;
			*next = Min(*next, at);
			continue;
		}
		if (job->waiting_since == 0)
			job->waiting_since = now;
		due = lappend(due, job);
	}
	list_sort(due, compare_jobs);
	return due;
}

/* Let all that are due have a turn.  Returns what this process was told. */
static uint32
take_round(List *due)
{
	uint32		woken = 0;
	ListCell   *lc;

	foreach(lc, due)
	{
		Job		   *job = lfirst(lc);

		/* another worker may have been faster */
		if (due_at(job) > GetCurrentTimestamp())
			continue;
		woken |= take_turn(job);
		if (must_break(woken))
			break;
	}
	if (due != NIL)
		cdc_worker_activity(NULL);
	return woken;
}

/* Delete old records, if it is time; it is when the catalog has been read. */
static void
keep_retention(uint32 woken, bool read)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next;
	long		pause;

	if (read)
		retention_due = retention_ready = now;
	if (woken & CDC_WAKE_LANDED)
		retention_due = Min(retention_due, retention_ready);
	if (!has_landings || retention_due > now)
		return;
	CDC_FAULT("sync_retention");
	cdc_worker_activity("deleting old landed records");
	if (cdc_retention_run(me->owner, &next, &pause))
	{
		retention_ready = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause);
		retention_due = Max(next, retention_ready);
	}
	cdc_worker_activity(NULL);
}

/*
 * Read the catalog if it has changed; not too often, as each of many pipelines
 * that are made one after the other changes it, and again when its target is made.
 * True: it has been read.
 */
static bool
keep_up(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!stale || now < read_ready)
		return false;
	stale = false;
	refresh_jobs();
	read_ready = cdc_worker_read_again_at(now, READ_PAUSE);
	return true;
}

/* ms until something is to be done by itself; -1: never. */
static long
time_until(TimestampTz next)
{
	long		wait;

	if (stale)
		next = Min(next, read_ready);
	if (has_landings)
		next = Min(next, retention_due);
	if (next == DT_NOEND)
		return failing ? LOOK_INTERVAL : -1;
	wait = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next);
	return failing ? Min(wait, LOOK_INTERVAL) : wait;
}

static uint32
sleep_until(TimestampTz next)
{
	uint32		woken = cdc_worker_sleep(time_until(next));

	stale |= (woken & CDC_WAKE_CATALOG) != 0;
	return woken;
}

PGDLLEXPORT void cdc_sync_main(Datum main_arg);

void
cdc_sync_main(Datum main_arg)
{
	HASHCTL		ctl = {.keysize = sizeof(CdcPipelineKey),.entrysize = sizeof(Job)};
	uint32		woken = CDC_WAKE_LANDED;

	me = cdc_worker_begin(main_arg);
	cdc_session_begin();
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, object_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, object_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, object_changed, (Datum) 0);
	jobs = hash_create("cdcsync pipelines", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	round_context = AllocSetContextCreate(TopMemoryContext, "cdcsync sync worker",
										  ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(round_context);
	retention_due = retention_ready = GetCurrentTimestamp();
	while (!(woken & CDC_WAKE_LEAVE))
	{
		TimestampTz next;
		List	   *due;
		bool		read = keep_up();

		due = due_jobs(&next);
		keep_retention(woken, read);
		woken = take_round(due);
		if (due == NIL && woken == 0)
			woken = sleep_until(next);
		MemoryContextReset(round_context);
	}
	proc_exit(0);
}
