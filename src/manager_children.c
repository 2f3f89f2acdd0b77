/*-------------------------------------------------------------------------
 *
 * manager_children.c
 *	  The workers that the manager starts: which run, which have ended, why one
 *	  cannot be had.
 *
 * Why a worker cannot be had stands at the landings or pipelines that it would
 * serve.  One that ends soon, again and again, is started ever more rarely.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "claim.h"
#include "compat.h"
#include "manager.h"

#define RESTART_PAUSE	1000	/* ms after a worker has ended */
#define SHORT_LIFE		5000	/* ms; a worker that ends sooner has a problem */

static void
set_problem(CdcProblem *to, const CdcProblem *problem)
{
	if (problem)
		*to = *problem;
	else
		cdc_problem_clear(to);
}

static void
blame_landings(CdcManager *manager, const CdcProcess *process, const CdcProblem *problem)
{
	HASH_SEQ_STATUS seq;
	CdcManagedLanding *landing;

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
blame_pipelines(CdcManager *manager, const CdcProcess *process, const CdcProblem *problem)
{
	HASH_SEQ_STATUS seq;
	CdcManagedPipeline *pipeline;

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
blame(CdcManager *manager, const CdcProcess *process, const CdcProblem *problem)
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

/* There is a slot, or there is none: said once. */
static void
note_slot(CdcManager *manager, bool slot)
{
	if (manager->no_slot == !slot)
		return;
	manager->no_slot = !slot;
	cdc_worker_note_slot(MyDatabaseId, slot ? NULL : "a worker", true);
}

/* It cannot be started: that stands at the owner's pipelines, and once in the log. */
static void
start_failed(CdcManager *manager, CdcChild *child, const ErrorData *edata)
{
	bool		again = cdc_problem_is(&child->problem, edata);

	cdc_problem_add(&child->problem, edata);
	child->next_start = child->problem.next_try;
	blame(manager, &child->process, &child->problem);
	if (!again)
		cdc_worker_log(edata, "cannot start a worker");
}

static void
start_possible(CdcManager *manager, CdcChild *child)
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
child_ended(CdcManager *manager, CdcChild *child, TimestampTz now)
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
	if (child->process.kind == CDC_SYNC && cdc_claims_void() > 0)
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
look_after(CdcManager *manager, CdcChild *child, TimestampTz now)
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
note_served(CdcManager *manager, Oid owner, TimestampTz now)
{
	CdcServed  *served = hash_search(manager->served, &owner, HASH_ENTER, NULL);

	served->at = now;
}

static void
start(CdcManager *manager, CdcChild *child, TimestampTz now)
{
	ErrorData  *edata = cannot_connect(child->process.owner);
	MemoryContext old;

	if (edata)
	{
		start_failed(manager, child, edata);
		/* another owner may have the place */
		if (manager->crowded)
			manager->sleep = Min(manager->sleep, CDC_SHORTEST_SLEEP);
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
has_pipelines(CdcManager *manager, const CdcChild *child)
{
	return child->process.kind == CDC_SYNC &&
		hash_search(manager->owners, &child->process.owner, HASH_FIND, NULL) != NULL;
}

void
cdc_child_tell_to_leave(CdcChild *child)
{
	child->told = true;
	cdc_process_wake_one(&child->process, CDC_WAKE_LEAVE);
}

void
cdc_manager_look_after(void *arg)
{
	CdcManager *manager = arg;
	TimestampTz now = GetCurrentTimestamp();
	HASH_SEQ_STATUS seq;
	CdcChild   *child;

	hash_seq_init(&seq, manager->children);
	while ((child = hash_seq_search(&seq)) != NULL)
	{
		long		wait;

		look_after(manager, child, now);
		if (child->running)
		{
			if (!child->wanted)
				cdc_child_tell_to_leave(child);
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
		wait = child->running ? CDC_LOOK_INTERVAL :
			TimestampDifferenceMilliseconds(now, child->next_start);
		manager->sleep = Min(manager->sleep, Max(wait, CDC_SHORTEST_SLEEP));
	}
}

void
cdc_manager_forget_pauses(const CdcManager *manager)
{
	HASH_SEQ_STATUS seq;
	CdcChild   *child;

	hash_seq_init(&seq, manager->children);
	while ((child = hash_seq_search(&seq)) != NULL)
		child->next_start = 0;
}
