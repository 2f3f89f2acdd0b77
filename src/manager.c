/*-------------------------------------------------------------------------
 *
 * manager.c
 *	  One process in each database that has the extension: starts the ingest and
 *	  sync workers that the catalog asks for.
 *
 * Connected as the bootstrap superuser, it reads the catalog and touches nothing
 * that belongs to a user.  An ingest worker is wanted for each owner of landings,
 * Kafka server and slice; it ends by itself when it has nothing to read any more.
 * Sync workers are a pool: first one for each owner of pipelines, then, while there
 * is room, more for those who have several.  If there are more owners than
 * workers they take turns: the worker that has run longest leaves for the owner
 * whose last turn is longest ago.
 *
 * Code of users can hold up a sync worker, and end it.  One that is stuck in a
 * pipeline does not count, so that its neighbours have another one; one that has
 * ended in the middle leaves a problem at that pipeline, not at its neighbours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "worker.h"

#define LOOK_INTERVAL	10000	/* ms; at settings and workers */
#define READ_INTERVAL	60000	/* ms; of the catalog, for what nobody told us of */
#define READ_PAUSE		100		/* ms, at least, between two readings */
#define TURN			1000	/* ms between two looks who waits for a worker */
#define RESTART_PAUSE	1000	/* ms after a worker has ended */
#define SHORTEST_SLEEP	100		/* ms */
#define STUCK_AFTER		5000	/* ms in one turn of a pipeline */
#define MAX_CLAIMS		256		/* that are looked at */
#define SHORT_LIFE		5000	/* ms; a worker that ends sooner has a problem */

/* A worker that is wanted, or was. */
typedef struct Child
{
	CdcProcess	process;		/* key */
	bool		wanted;
	bool		running;		/* or about to; one that an earlier manager has
								 * started counts as well */
	BackgroundWorkerHandle *handle; /* NULL: not started by us */
	TimestampTz started;
	bool		told;			/* to leave */
	int			short_lives;	/* in a row */
	TimestampTz next_start;
	CdcProblem	problem;		/* why it cannot be started */
} Child;

/* An owner of pipelines that are to be synced. */
typedef struct Owner
{
	Oid			owner;			/* key */
	int			pipelines;
	int			workers;		/* wanted */
	int			running;
	int			stuck;			/* of those, do not get on */
	bool		due;			/* has something to sync */
	TimestampTz served;			/* the last turn, where they are taken */
} Owner;

/* When an owner's last sync worker was started. */
typedef struct Served
{
	Oid			owner;			/* key */
	TimestampTz at;
} Served;

typedef struct Landing
{
	int32		id;				/* key */
	Oid			owner;			/* of one that is to be read; else invalid */
	Oid			server;
} Landing;

/* A pipeline that is to be synced. */
typedef struct Pipeline
{
	CdcPipelineKey key;
	int32		landing;
	int32		schema_landing; /* of the schema-change topic, 0: none */
	Oid			owner;
	bool		automatic;
} Pipeline;

typedef struct Manager
{
	MemoryContext context;		/* of what is read from the catalog */
	HTAB	   *children;
	HTAB	   *owners;			/* in context, as the following */
	HTAB	   *pipelines;
	HTAB	   *landings;		/* all there are */
	List	   *ingest;			/* CdcProcess *, one per owner and server */
	HTAB	   *served;
	TimestampTz read_at;		/* the catalog */
	bool		here;			/* the extension is */
	bool		other_version;	/* but not the one of this library */
	bool		no_slot;		/* and it was said */
	bool		failed;			/* and it was said */
	bool		crowded;		/* more owners than sync workers */
	long		sleep;			/* ms */
} Manager;

PGDLLEXPORT void cdc_manager_main(Datum main_arg);

/* ----------
 * What the catalog asks for
 * ----------
 */
static HTAB *
make_table(Manager *manager, const char *name, Size key, Size entry)
{
	HASHCTL		ctl = {.keysize = key,.entrysize = entry,.hcxt = manager->context};

	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
read_ingest(Manager *manager)
{
	uint64		n;
	bool		isnull;

	n = cdc_spi_run("SELECT a.owner::oid, a.server, coalesce((SELECT o.option_value FROM"
					" pg_options_to_table(s.srvoptions) o WHERE o.option_name = 'workers'), '1')::int"
					" FROM cdcsync.auto_server a JOIN pg_foreign_server s ON s.oid = a.server",
					0, NULL, NULL, NULL, 0);
	for (uint64 i = 0; i < n; i++)
	{
		CdcProcess *process = MemoryContextAllocZero(manager->context, sizeof(CdcProcess));
		MemoryContext old = MemoryContextSwitchTo(manager->context);

		process->kind = CDC_INGEST;
		process->database = MyDatabaseId;
		process->owner = DatumGetObjectId(cdc_spi_value(i, 1, &isnull));
		process->server = DatumGetObjectId(cdc_spi_value(i, 2, &isnull));
		process->nslices = DatumGetInt32(cdc_spi_value(i, 3, &isnull));
		manager->ingest = lappend(manager->ingest, process);
		MemoryContextSwitchTo(old);
	}
}

static void
read_landings(Manager *manager)
{
	uint64		n;
	bool		isnull;

	n = cdc_spi_run("SELECT l.landing_id, coalesce(a.owner::oid, 0), coalesce(a.server, 0)"
					" FROM cdcsync.landing l LEFT JOIN cdcsync.auto_landing a USING (landing_id)",
					0, NULL, NULL, NULL, 0);
	for (uint64 i = 0; i < n; i++)
	{
		int32		id = DatumGetInt32(cdc_spi_value(i, 1, &isnull));
		Landing    *landing = hash_search(manager->landings, &id, HASH_ENTER, NULL);

		landing->owner = DatumGetObjectId(cdc_spi_value(i, 2, &isnull));
		landing->server = DatumGetObjectId(cdc_spi_value(i, 3, &isnull));
	}
}

static int64
landed_in(int32 id)
{
	CdcLandingKey key = {MyDatabaseId, id};
	CdcSharedLanding *landing = cdc_shared_find(CDC_SHARED_LANDING, &key, false);
	int64		landed = 0;

	if (landing)
	{
		landed = landing->landed;
		cdc_shared_release(CDC_SHARED_LANDING, landing);
	}
	return landed;
}

/* As the sync worker counts. */
static int64
landed_count(const Pipeline *pipeline)
{
	return landed_in(pipeline->landing) +
		(pipeline->schema_landing ? landed_in(pipeline->schema_landing) : 0);
}

/*
 * Something has landed that is not synced, so says the catalog.  The counters are
 * only a hint: where they say that nothing is left to do, they are wrong.
 */
static void
correct_counters(const Pipeline *pipeline)
{
	int64		landed = landed_count(pipeline);
	CdcSharedPipeline *entry = cdc_shared_find(CDC_SHARED_PIPELINE, &pipeline->key, true);
	bool		wrong;

	if (entry == NULL)
		return;
	wrong = entry->landed == landed;
	if (wrong)
		entry->landed = -1;
	cdc_shared_release(CDC_SHARED_PIPELINE, entry);
	if (wrong)
		cdc_process_wake(MyDatabaseId, CDC_KIND(CDC_SYNC), CDC_WAKE_CATALOG);
}

static void
read_pipelines(Manager *manager)
{
	uint64		n;
	bool		isnull;

	n = cdc_spi_run("SELECT s.name, p.landing_id, s.owner::oid, s.auto_sync AND s.state = 'active',"
					" EXISTS (SELECT FROM cdcsync.position o LEFT JOIN cdcsync.watermark w"
					"  ON w.pipeline = p.name AND w.kafka_partition = o.kafka_partition"
					"  WHERE o.landing_id = p.landing_id"
					"  AND (coalesce(w.epoch, 0), coalesce(w.next_offset, 0)) < (o.epoch, o.next_offset)),"
					" coalesce((SELECT l.landing_id FROM cdcsync.landing l WHERE l.view = p.schema_view), 0)"
					" FROM cdcsync.pipeline_state s JOIN cdcsync.pipeline p USING (name)",
					0, NULL, NULL, NULL, 0);
	for (uint64 i = 0; i < n; i++)
	{
		CdcPipelineKey key;
		Pipeline   *pipeline;
		Owner	   *owner;
		bool		found;

		cdc_pipeline_key(&key, MyDatabaseId,
						 TextDatumGetCString(cdc_spi_value(i, 1, &isnull)));
		pipeline = hash_search(manager->pipelines, &key, HASH_ENTER, NULL);
		pipeline->landing = DatumGetInt32(cdc_spi_value(i, 2, &isnull));
		pipeline->schema_landing = DatumGetInt32(cdc_spi_value(i, 6, &isnull));
		pipeline->owner = DatumGetObjectId(cdc_spi_value(i, 3, &isnull));
		pipeline->automatic = DatumGetBool(cdc_spi_value(i, 4, &isnull));
		if (!pipeline->automatic)
			continue;
		owner = hash_search(manager->owners, &pipeline->owner, HASH_ENTER, &found);
		if (!found)
			memset((char *) owner + sizeof(Oid), 0, sizeof(Owner) - sizeof(Oid));
		owner->pipelines++;
		if (DatumGetBool(cdc_spi_value(i, 5, &isnull)))
			correct_counters(pipeline);
	}
}

/* An error if the extension is not of the version that the library is made for. */
static void
check_version(Manager *manager)
{
	bool		isnull;
	char	   *version;

	(void) cdc_spi_run("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'cdcsync'",
					   0, NULL, NULL, NULL, 1);
	version = TextDatumGetCString(cdc_spi_value(0, 1, &isnull));
	manager->other_version = strcmp(version, CDC_VERSION) != 0;
	if (manager->other_version)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the library of cdcsync is version %s, the extension in database \"%s\" is version %s",
						CDC_VERSION, get_database_name(MyDatabaseId), version),
				 errhint("Use ALTER EXTENSION cdcsync UPDATE, or restart the server if the library is the older one.")));
}

static void
read_catalog(void *arg)
{
	Manager    *manager = arg;
	CdcSpi		spi;

	MemoryContextReset(manager->context);
	manager->ingest = NIL;
	manager->owners = make_table(manager, "cdcsync owners", sizeof(Oid), sizeof(Owner));
	manager->pipelines = make_table(manager, "cdcsync pipelines", sizeof(CdcPipelineKey),
									sizeof(Pipeline));
	manager->landings = make_table(manager, "cdcsync landings", sizeof(int32), sizeof(Landing));
	manager->other_version = false;
	manager->here = cdc_worker_lock_extension();
	if (!manager->here)
		return;
	cdc_spi_begin_catalog(&spi);
	check_version(manager);
	read_ingest(manager);
	read_landings(manager);
	read_pipelines(manager);
	cdc_spi_end(&spi);
}

/* ----------
 * What is shared of things that are gone
 * ----------
 */
static bool
keep_pipeline(void *entry, void *arg)
{
	Manager    *manager = arg;

	return hash_search(manager->pipelines, entry, HASH_FIND, NULL) != NULL;
}

/*
 * Who has written into a landing that is younger than our reading needs the entry
 * at commit: so it goes when the landing has been missing twice.
 */
static bool
keep_landing(void *entry, void *arg)
{
	Manager    *manager = arg;
	CdcSharedLanding *landing = entry;
	bool		was_missing = landing->missing;

	landing->missing = hash_search(manager->landings, &landing->key.landing,
								   HASH_FIND, NULL) == NULL;
	return !landing->missing || !was_missing;
}

static bool
keep_partition(void *entry, void *arg)
{
	Manager    *manager = arg;

	return hash_search(manager->landings, &((CdcSharedPartition *) entry)->key.landing,
					   HASH_FIND, NULL) != NULL;
}

static void
forget_gone(Manager *manager)
{
	HASH_SEQ_STATUS seq;
	Served	   *served;

	hash_seq_init(&seq, manager->served);
	while ((served = hash_seq_search(&seq)) != NULL)
		if (hash_search(manager->owners, &served->owner, HASH_FIND, NULL) == NULL)
			(void) hash_search(manager->served, &served->owner, HASH_REMOVE, NULL);
	cdc_shared_scan(CDC_SHARED_PIPELINE, MyDatabaseId, keep_pipeline, manager);
	cdc_shared_scan(CDC_SHARED_LANDING, MyDatabaseId, keep_landing, manager);
	cdc_shared_scan(CDC_SHARED_PARTITION, MyDatabaseId, keep_partition, manager);
}

/* ----------
 * Workers
 * ----------
 */
static void
want(Manager *manager, const CdcProcess *process)
{
	bool		found;
	Child	   *child = hash_search(manager->children, process, HASH_ENTER, &found);

	if (!found)
		memset((char *) child + sizeof(CdcProcess), 0, sizeof(Child) - sizeof(CdcProcess));
	child->wanted = true;
}

static void
want_ingest(Manager *manager)
{
	ListCell   *lc;

	foreach(lc, manager->ingest)
	{
		CdcProcess	process = *(CdcProcess *) lfirst(lc);

		for (process.slice = 0; process.slice < process.nslices; process.slice++)
			want(manager, &process);
	}
}

static bool
landing_has_news(const Pipeline *pipeline)
{
	int64		landed = landed_count(pipeline);
	CdcSharedPipeline *entry;
	bool		due = true;

	entry = cdc_shared_find(CDC_SHARED_PIPELINE, &pipeline->key, false);
	if (entry)
	{
		due = entry->landed != landed && entry->worker == 0 &&
			cdc_problem_over(&entry->problem, GetCurrentTimestamp());
		cdc_shared_release(CDC_SHARED_PIPELINE, entry);
	}
	return due;
}

static void
find_due_owners(Manager *manager)
{
	HASH_SEQ_STATUS seq;
	Pipeline   *pipeline;
	Owner	   *owner;

	hash_seq_init(&seq, manager->owners);
	while ((owner = hash_seq_search(&seq)) != NULL)
		owner->due = false;
	hash_seq_init(&seq, manager->pipelines);
	while ((pipeline = hash_seq_search(&seq)) != NULL)
	{
		if (!pipeline->automatic)
			continue;
		owner = hash_search(manager->owners, &pipeline->owner, HASH_FIND, NULL);
		if (owner && !owner->due)
			owner->due = landing_has_news(pipeline);
	}
}

/* ----------
 * Claims
 * ----------
 */

/* A pipeline that a process is at, or was when it ended. */
typedef struct Claim
{
	CdcPipelineKey key;
	int			pid;
	TimestampTz since;
} Claim;

typedef struct Claims
{
	int			n;
	Claim		claims[MAX_CLAIMS];
} Claims;

static bool
collect_claim(void *entry, void *arg)
{
	const CdcSharedPipeline *pipeline = entry;
	Claims	   *claims = arg;

	if (pipeline->worker != 0 && claims->n < MAX_CLAIMS)
	{
		Claim	   *claim = &claims->claims[claims->n++];

		claim->key = pipeline->key;
		claim->pid = pipeline->worker;
		claim->since = pipeline->claimed_at;
	}
	return true;
}

static Claims *
get_claims(void)
{
	Claims	   *claims = palloc(sizeof(Claims));

	claims->n = 0;
	cdc_shared_scan(CDC_SHARED_PIPELINE, MyDatabaseId, collect_claim, claims);
	return claims;
}

static void
void_claim(const Claim *claim)
{
	ErrorData	edata = {
		.sqlerrcode = ERRCODE_ADMIN_SHUTDOWN,
		.message = "the sync worker has ended while it synced this pipeline",
		.hint = "The server log may say why: a trigger or function of the target can do that.",
	};
	CdcSharedPipeline *pipeline = cdc_shared_find(CDC_SHARED_PIPELINE, &claim->key, true);
	bool		ours;
	bool		known;

	if (pipeline == NULL)
		return;
	ours = pipeline->worker == claim->pid;
	known = cdc_problem_is(&pipeline->problem, &edata);
	if (ours)
	{
		pipeline->worker = 0;
		cdc_problem_add(&pipeline->problem, &edata);
	}
	cdc_shared_release(CDC_SHARED_PIPELINE, pipeline);
	if (ours && !known)
		cdc_worker_log(&edata, psprintf("pipeline \"%s\" is not synced", claim->key.name));
}

/*
 * End the claims of processes that are not there any more; how many there were.
 * Who has a claim was a process before: so it is for processes that we look last.
 */
static int
void_claims(void)
{
	Claims	   *claims = get_claims();
	CdcProcess	like = {.kind = CDC_SYNC,.database = MyDatabaseId};
	int		   *pids = palloc(sizeof(int) * max_worker_processes);
	int			n = cdc_process_find(&like, pids, NULL, max_worker_processes);
	int			lost = 0;

	for (int i = 0; i < claims->n; i++)
	{
		int			at = 0;

		while (at < n && pids[at] != claims->claims[i].pid)
			at++;
		if (at < n)
			continue;
		void_claim(&claims->claims[i]);
		lost++;
	}
	return lost;
}

/* Count the workers that do not get on, of each owner. */
static void
find_stuck(Manager *manager)
{
	Claims	   *claims = get_claims();
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < claims->n; i++)
	{
		Pipeline   *pipeline = hash_search(manager->pipelines, &claims->claims[i].key,
										   HASH_FIND, NULL);
		Owner	   *owner = pipeline ?
			hash_search(manager->owners, &pipeline->owner, HASH_FIND, NULL) : NULL;

		if (owner && TimestampDifferenceExceeds(claims->claims[i].since, now, STUCK_AFTER))
			owner->stuck++;
	}
}

/* ----------
 * Sync workers
 * ----------
 */
static Child *
find_sync(Manager *manager, Oid owner, int n)
{
	CdcProcess	process = {.kind = CDC_SYNC,.database = MyDatabaseId,.owner = owner,.slice = n};

	return hash_search(manager->children, &process, HASH_FIND, NULL);
}

static void
count_running(Manager *manager)
{
	HASH_SEQ_STATUS seq;
	Owner	   *owner;
	Child	   *child;

	hash_seq_init(&seq, manager->owners);
	while ((owner = hash_seq_search(&seq)) != NULL)
		owner->running = owner->stuck = 0;
	hash_seq_init(&seq, manager->children);
	while ((child = hash_seq_search(&seq)) != NULL)
	{
		if (child->process.kind != CDC_SYNC || !child->running)
			continue;
		owner = hash_search(manager->owners, &child->process.owner, HASH_FIND, NULL);
		if (owner)
			owner->running++;
	}
	find_stuck(manager);
}

/*
 * The worker that has run longest, of an owner other than those who wait; one that
 * was told to leave and has not is stuck.
 */
static Child *
longest_sync(Manager *manager)
{
	HASH_SEQ_STATUS seq;
	Child	   *longest = NULL;
	Child	   *child;

	hash_seq_init(&seq, manager->children);
	while ((child = hash_seq_search(&seq)) != NULL)
		if (child->process.kind == CDC_SYNC && child->running && !child->told &&
			(longest == NULL || child->started < longest->started))
			longest = child;
	return longest;
}

/* Tell it to end when it has done what it is at. */
static void
tell_to_leave(Child *child)
{
	child->told = true;
	cdc_process_wake_one(&child->process, CDC_WAKE_LEAVE);
}

static int
compare_served(const ListCell *a, const ListCell *b)
{
	TimestampTz at = ((const Owner *) lfirst(a))->served;
	TimestampTz bt = ((const Owner *) lfirst(b))->served;

	return at < bt ? -1 : at > bt;
}

/*
 * The owners with something to do and no worker, those first who wait longest;
 * one who cannot have a worker now is in nobody's way.
 */
static List *
waiting_owners(Manager *manager)
{
	TimestampTz now = GetCurrentTimestamp();
	List	   *waiting = NIL;
	HASH_SEQ_STATUS seq;
	Owner	   *owner;

	hash_seq_init(&seq, manager->owners);
	while ((owner = hash_seq_search(&seq)) != NULL)
	{
		Served	   *served;
		Child	   *child;

		if (owner->workers > (owner->stuck > 0) || !owner->due)
			continue;
		child = find_sync(manager, owner->owner, 0);
		if (child && child->problem.failures > 0 && child->next_start > now)
			continue;
		served = hash_search(manager->served, &owner->owner, HASH_FIND, NULL);
		owner->served = served ? served->at : 0;
		waiting = lappend(waiting, owner);
	}
	list_sort(waiting, compare_served);
	return waiting;
}

/*
 * There are more owners than workers: those that run stay, free places go to
 * owners with something to do; if there is none, the worker that has run longest
 * is told to leave.  Stuck ones take no place, but only so many of them.
 */
static void
want_sync_in_turns(Manager *manager)
{
	int			room = cdc_max_sync_workers;
	int			extra = Max(cdc_max_sync_workers, 2);
	HASH_SEQ_STATUS seq;
	Owner	   *owner;
	Child	   *longest;
	ListCell   *lc;

	find_due_owners(manager);
	hash_seq_init(&seq, manager->owners);
	while ((owner = hash_seq_search(&seq)) != NULL)
	{
		int			exempt;

		owner->workers = Min(owner->running, owner->stuck > 0 ? 2 : 1);
		exempt = Min(Min(owner->stuck, owner->workers), extra);
		extra -= exempt;
		room -= owner->workers - exempt;
	}
	foreach(lc, waiting_owners(manager))
	{
		if (room-- > 0)
			((Owner *) lfirst(lc))->workers++;
	}
	if (room >= 0)
		return;
	longest = longest_sync(manager);
	if (longest && TimestampDifferenceExceeds(longest->started, GetCurrentTimestamp(), TURN))
		tell_to_leave(longest);
}

static void
want_sync_for_all(Manager *manager)
{
	int			room = cdc_max_sync_workers - hash_get_num_entries(manager->owners);
	HASH_SEQ_STATUS seq;
	Owner	   *owner;

	hash_seq_init(&seq, manager->owners);
	while ((owner = hash_seq_search(&seq)) != NULL)
	{
		int			more = Min(room, owner->pipelines - 1);

		owner->workers = 1 + more;
		room -= more;
		if (owner->stuck >= owner->workers && owner->workers < owner->pipelines)
			owner->workers++;
	}
}

static void
want_sync(Manager *manager)
{
	HASH_SEQ_STATUS seq;
	Owner	   *owner;

	count_running(manager);
	manager->crowded = hash_get_num_entries(manager->owners) > cdc_max_sync_workers;
	if (manager->crowded)
		want_sync_in_turns(manager);
	else
		want_sync_for_all(manager);
	hash_seq_init(&seq, manager->owners);
	while ((owner = hash_seq_search(&seq)) != NULL)
	{
		CdcProcess	process = {.kind = CDC_SYNC,.database = MyDatabaseId,.owner = owner->owner};

		for (; process.slice < owner->workers; process.slice++)
			want(manager, &process);
	}
}

/* ----------
 * Problems of starting
 * ----------
 */

static void
set_problem(CdcProblem *to, const CdcProblem *problem)
{
	if (problem)
		*to = *problem;
	else
		cdc_problem_clear(to);
}

static void
blame_landings(Manager *manager, const CdcProcess *process, const CdcProblem *problem)
{
	HASH_SEQ_STATUS seq;
	Landing    *landing;

	hash_seq_init(&seq, manager->landings);
	while ((landing = hash_seq_search(&seq)) != NULL)
	{
		CdcLandingKey key = {MyDatabaseId, landing->id};
		CdcSharedLanding *entry;

		if (landing->owner != process->owner || landing->server != process->server)
			continue;
		entry = cdc_shared_insert(CDC_SHARED_LANDING, &key);
		set_problem(&entry->problem, problem);
		cdc_shared_release(CDC_SHARED_LANDING, entry);
	}
}

static void
blame_pipelines(Manager *manager, const CdcProcess *process, const CdcProblem *problem)
{
	HASH_SEQ_STATUS seq;
	Pipeline   *pipeline;

	hash_seq_init(&seq, manager->pipelines);
	while ((pipeline = hash_seq_search(&seq)) != NULL)
	{
		CdcSharedPipeline *entry;

		if (pipeline->owner != process->owner || !pipeline->automatic)
			continue;
		entry = cdc_shared_insert(CDC_SHARED_PIPELINE, &pipeline->key);
		set_problem(&entry->problem, problem);
		cdc_shared_release(CDC_SHARED_PIPELINE, entry);
	}
}

/* Why a worker cannot be had stands at all that it would serve. */
static void
blame(Manager *manager, const CdcProcess *process, const CdcProblem *problem)
{
	if (process->kind == CDC_INGEST)
		blame_landings(manager, process, problem);
	else
		blame_pipelines(manager, process, problem);
}

/* Why the owner cannot connect; NULL if he can, or nobody knows. */
static ErrorData *
cannot_connect(Oid owner)
{
	HeapTuple	tup = SearchSysCache1(AUTHOID, ObjectIdGetDatum(owner));
	ErrorData  *edata = palloc0(sizeof(ErrorData));
	bool		may_login;

	edata->sqlerrcode = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
	if (!HeapTupleIsValid(tup))
	{
		edata->message = psprintf("the owner, role %u, does not exist", owner);
		edata->hint = "Give the pipeline's tables to another role.";
		return edata;
	}
	may_login = ((Form_pg_authid) GETSTRUCT(tup))->rolcanlogin || CDC_BYPASS_ROLELOGINCHECK != 0;
	ReleaseSysCache(tup);
	if (!may_login)
	{
		edata->message = psprintf("the owner, role \"%s\", is not permitted to log in",
								  GetUserNameFromId(owner, false));
		edata->hint = psprintf("Use ALTER ROLE %s LOGIN (a password need not be set), or give the pipeline's tables to another role.",
							   quote_identifier(GetUserNameFromId(owner, false)));
		return edata;
	}
	if (object_aclcheck_compat(DatabaseRelationId, MyDatabaseId, owner, ACL_CONNECT) != ACLCHECK_OK)
	{
		edata->message = psprintf("the owner, role \"%s\", may not connect to this database",
								  GetUserNameFromId(owner, false));
		edata->hint = psprintf("Use GRANT CONNECT ON DATABASE %s TO %s.",
							   quote_identifier(get_database_name(MyDatabaseId)),
							   quote_identifier(GetUserNameFromId(owner, false)));
		return edata;
	}
	return NULL;
}

/* There is a slot, or there is none: for cdc_status and, once, for the log. */
static void
note_slot(Manager *manager, bool slot)
{
	ErrorData	edata = {
		.sqlerrcode = ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
		.message = "no slot is free for a worker",
		.hint = "Increase max_worker_processes.",
	};
	CdcSharedDatabase *entry;

	if (manager->no_slot == !slot)
		return;
	manager->no_slot = !slot;
	entry = cdc_shared_insert(CDC_SHARED_DATABASE, &MyDatabaseId);
	if (slot)
		cdc_problem_clear(&entry->problem);
	else
		cdc_problem_add(&entry->problem, &edata);
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
	if (!slot)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("cdcsync: no slot is free for a worker in database \"%s\"",
						get_database_name(MyDatabaseId)),
				 errhint("Increase max_worker_processes.")));
}

/* It cannot be started: that stands at the owner's pipelines, and once in the log. */
static void
start_failed(Manager *manager, Child *child, const ErrorData *edata)
{
	bool		again = cdc_problem_is(&child->problem, edata);

	cdc_problem_add(&child->problem, edata);
	child->next_start = child->problem.next_try;
	blame(manager, &child->process, &child->problem);
	if (!again)
		cdc_worker_log(edata, "cannot start a worker");
}

static void
start_possible(Manager *manager, Child *child)
{
	if (child->problem.failures == 0)
		return;
	cdc_problem_clear(&child->problem);
	blame(manager, &child->process, NULL);
}

/*
 * It has ended.  If it has not lived long, several times, it does not get as far as
 * to say why: the role has too many connections, say.
 */
static void
child_ended(Manager *manager, Child *child, TimestampTz now)
{
	ErrorData	edata = {
		.sqlerrcode = ERRCODE_CONNECTION_FAILURE,
		.message = "the workers of this owner end as soon as they are started",
		.hint = "The server log says why.",
	};

	child->running = false;
	if (child->handle)
		pfree(child->handle);
	child->handle = NULL;
	child->next_start = TimestampTzPlusMilliseconds(now, RESTART_PAUSE);
	/* if it was a pipeline that has ended it, that one waits, and the others do not */
	if (child->process.kind == CDC_SYNC && void_claims() > 0)
	{
		child->next_start = now;
		child->short_lives = 0;
	}
	else if (child->told || TimestampDifferenceExceeds(child->started, now, SHORT_LIFE))
		child->short_lives = 0;
	else if (++child->short_lives >= 3)
		start_failed(manager, child, &edata);
}

static void
look_after(Manager *manager, Child *child, TimestampTz now)
{
	bool		there = cdc_process_is_there(&child->process);
	pid_t		pid;

	if (child->handle && !there)
		there = GetBackgroundWorkerPid(child->handle, &pid) != BGWH_STOPPED;
	if (child->running && !there)
		child_ended(manager, child, now);
	else if (there && !child->running)
	{
		child->running = true;
		child->started = now;
	}
	else if (there && child->short_lives > 0 &&
			 TimestampDifferenceExceeds(child->started, now, SHORT_LIFE))
	{
		child->short_lives = 0;
		start_possible(manager, child);
	}
}

static void
note_served(Manager *manager, Oid owner, TimestampTz now)
{
	Served	   *served = hash_search(manager->served, &owner, HASH_ENTER, NULL);

	served->at = now;
}

static void
start(Manager *manager, Child *child, TimestampTz now)
{
	ErrorData  *edata = cannot_connect(child->process.owner);
	MemoryContext old;

	if (edata)
	{
		start_failed(manager, child, edata);
		/* another owner may have the place */
		if (manager->crowded)
			manager->sleep = Min(manager->sleep, SHORTEST_SLEEP);
		return;
	}
	if (child->short_lives == 0)
		start_possible(manager, child);
	old = MemoryContextSwitchTo(TopMemoryContext);
	child->handle = cdc_worker_start(&child->process);
	MemoryContextSwitchTo(old);
	child->running = child->handle != NULL;
	child->told = false;
	child->started = now;
	if (child->running && child->process.kind == CDC_SYNC)
		note_served(manager, child->process.owner, now);
	if (!child->running)
		child->next_start = TimestampTzPlusMilliseconds(now, RESTART_PAUSE);
	note_slot(manager, child->running);
}

static bool
has_pipelines(Manager *manager, const Child *child)
{
	return child->process.kind == CDC_SYNC &&
		hash_search(manager->owners, &child->process.owner, HASH_FIND, NULL) != NULL;
}

static void
look_after_children(void *arg)
{
	Manager    *manager = arg;
	TimestampTz now = GetCurrentTimestamp();
	HASH_SEQ_STATUS seq;
	Child	   *child;

	hash_seq_init(&seq, manager->children);
	while ((child = hash_seq_search(&seq)) != NULL)
	{
		long		wait;

		look_after(manager, child, now);
		if (child->running)
		{
			if (!child->wanted)
				tell_to_leave(child);
			continue;
		}
		if (!child->wanted)
		{
			/* waits for its next try, not for its turn */
			if (child->problem.failures > 0 && has_pipelines(manager, child))
				continue;
			start_possible(manager, child);
			(void) hash_search(manager->children, &child->process, HASH_REMOVE, NULL);
			continue;
		}
		if (child->next_start <= now)
			start(manager, child, now);
		wait = child->running ? LOOK_INTERVAL :
			TimestampDifferenceMilliseconds(now, child->next_start);
		manager->sleep = Min(manager->sleep, Max(wait, SHORTEST_SLEEP));
	}
}

/* ----------
 * The loop
 * ----------
 */

/* Everything that is wanted. */
static void
decide(Manager *manager)
{
	HASH_SEQ_STATUS seq;
	Child	   *child;

	hash_seq_init(&seq, manager->children);
	while ((child = hash_seq_search(&seq)) != NULL)
		child->wanted = false;
	want_ingest(manager);
	want_sync(manager);
}

/* An error in one of the manager's own transactions. */
static void
manager_failed(Manager *manager, const ErrorData *edata)
{
	CdcSharedDatabase *entry = cdc_shared_insert(CDC_SHARED_DATABASE, &MyDatabaseId);
	bool		again = cdc_problem_is(&entry->problem, edata);

	cdc_problem_add(&entry->problem, edata);
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
	if (!again)
		cdc_worker_log(edata, "cannot manage the workers");
	manager->failed = true;
}

static void
manager_succeeded(Manager *manager)
{
	CdcSharedDatabase *entry;

	if (!manager->failed)
		return;
	manager->failed = false;
	entry = cdc_shared_insert(CDC_SHARED_DATABASE, &MyDatabaseId);
	cdc_problem_clear(&entry->problem);
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
}

/* What was said before this process was there. */
static void
forget_problem(void)
{
	CdcSharedDatabase *entry = cdc_shared_insert(CDC_SHARED_DATABASE, &MyDatabaseId);

	cdc_problem_clear(&entry->problem);
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
}

/*
 * Where there is no launcher, exit code 1 makes the postmaster start a manager
 * again after a second, and 0 is the end.
 */
static void
leave(bool for_good)
{
	cdc_process_wake(MyDatabaseId, CDC_KIND(CDC_INGEST) | CDC_KIND(CDC_SYNC), CDC_WAKE_LEAVE);
	proc_exit(for_good || cdc_worker_has_launcher() ? 0 : 1);
}

static void
set_absent(bool absent)
{
	CdcSharedDatabase *entry = cdc_shared_insert(CDC_SHARED_DATABASE, &MyDatabaseId);

	entry->absent = absent;
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
}

/*
 * There is no extension in the database; unless it has been created since we
 * looked: whoever does that wakes us first and takes away the mark then.
 */
static void
leave_absent(void)
{
	set_absent(true);
	if (cdc_process_woken() & CDC_WAKE_CATALOG)
		set_absent(false);
	leave(true);
}

/* Is the database to be left alone just now? */
static void
leave_if_unwanted(void)
{
	CdcSharedDatabase *entry = cdc_shared_find(CDC_SHARED_DATABASE, &MyDatabaseId, false);
	bool		stopped = false;
	bool		suspended = false;

	if (entry)
	{
		stopped = entry->stopped;
		suspended = entry->suspended > 0;
		cdc_shared_release(CDC_SHARED_DATABASE, entry);
	}
	if (stopped || suspended)
		leave(stopped);
}

static bool stale = true;		/* what was read of the catalog */
static bool may_connect = false;	/* owners who could not, perhaps */

static void
catalog_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	stale = true;
	if (cacheid == AUTHOID || cacheid == DATABASEOID)
		may_connect = true;
}

/* What could not be started is tried again at once. */
static void
forget_pauses(Manager *manager)
{
	HASH_SEQ_STATUS seq;
	Child	   *child;

	hash_seq_init(&seq, manager->children);
	while ((child = hash_seq_search(&seq)) != NULL)
		child->next_start = 0;
}

/* Read the catalog; false if that failed. */
static bool
read_again(Manager *manager)
{
	ErrorData  *error;

	manager->read_at = GetCurrentTimestamp();
	stale = false;
	if (!cdc_worker_try(read_catalog, manager, &error))
	{
		if (manager->other_version)
			cdc_process_wake(MyDatabaseId, CDC_KIND(CDC_INGEST) | CDC_KIND(CDC_SYNC),
							 CDC_WAKE_LEAVE);
		manager_failed(manager, error);
		stale = true;
		manager->read_at = 0;
		return false;
	}
	if (!manager->here)
		leave_absent();
	forget_gone(manager);
	if (may_connect)
		forget_pauses(manager);
	may_connect = false;
	return true;
}

/* Is it time to read?  Where pipelines are made one by one, not for each of them. */
static bool
is_to_read(Manager *manager)
{
	long		age = TimestampDifferenceMilliseconds(manager->read_at, GetCurrentTimestamp());

	if (!stale || age >= READ_PAUSE)
		return stale || age >= READ_INTERVAL;
	manager->sleep = Min(manager->sleep, READ_PAUSE - age);
	return false;
}

/* Read the catalog, if it may have changed, and act. */
static void
manage(Manager *manager)
{
	ErrorData  *error;

	if (is_to_read(manager) && !read_again(manager))
		return;
	decide(manager);
	if (cdc_worker_try(look_after_children, manager, &error))
		manager_succeeded(manager);
	else
		manager_failed(manager, error);
}

/* Sleep until there may be something to do; or leave. */
static void
rest(Manager *manager)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), manager->sleep);
	uint32		woken;

	do
	{
		woken = cdc_worker_sleep(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until));
		if (woken & CDC_WAKE_LEAVE)
		{
			leave_if_unwanted();
			leave(false);
		}
		if (woken & CDC_WAKE_CATALOG)
			stale = true;
		/* the workers hear themselves of what has landed, if they are there */
	} while (woken == CDC_WAKE_LANDED && !manager->crowded && !stale);
}

void
cdc_manager_main(Datum main_arg)
{
	Manager		manager = {0};
	HASHCTL		ctl = {.keysize = sizeof(CdcProcess),.entrysize = sizeof(Child)};
	HASHCTL		served_ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(Served)};
	MemoryContext scratch;

	(void) cdc_worker_begin(main_arg);
	leave_if_unwanted();
	forget_problem();
	/* commands of sessions without our hook */
	CacheRegisterSyscacheCallback(NAMESPACEOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(DATABASEOID, catalog_changed, (Datum) 0);

	manager.context = AllocSetContextCreate(TopMemoryContext, "cdcsync manager",
											ALLOCSET_DEFAULT_SIZES);
	manager.children = hash_create("cdcsync workers", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	manager.served = hash_create("cdcsync turns", 64, &served_ctl, HASH_ELEM | HASH_BLOBS);
	scratch = AllocSetContextCreate(TopMemoryContext, "cdcsync manager scratch",
									ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(scratch);
	(void) void_claims();
	for (;;)
	{
		manager.sleep = manager.crowded ? TURN : LOOK_INTERVAL;
		manage(&manager);
		MemoryContextReset(scratch);
		rest(&manager);
	}
}
