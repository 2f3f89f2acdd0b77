/*-------------------------------------------------------------------------
 *
 * control.c
 *	  cdc_start() and cdc_stop(): this database's workers.
 *
 * What they say holds until the server is started again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_database.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "worker.h"

#define START_TIMEOUT	10000	/* ms */
#define STOP_TIMEOUT	10000
#define LOOK			20

PG_FUNCTION_INFO_V1(cdc_start);
PG_FUNCTION_INFO_V1(cdc_stop);

static bool
is_running(void)
{
	CdcProcess	manager = {.kind = CDC_MANAGER,.database = MyDatabaseId};

	return cdc_process_is_there(&manager);
}

/* Change what is wanted; the launcher, if there is one, acts on it. */
static void
want(bool stopped)
{
	CdcSharedDatabase *entry = cdc_shared_insert(CDC_SHARED_DATABASE, &MyDatabaseId);

	entry->stopped = stopped;
	if (!stopped)
		entry->absent = false;
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
	cdc_process_wake(InvalidOid, CDC_KIND(CDC_LAUNCHER), CDC_WAKE_WORKERS);
}

static void
start_without_launcher(void)
{
	CdcProcess	manager = {.kind = CDC_MANAGER,.database = MyDatabaseId};

	if (cdc_worker_start(&manager) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no slot is free for a background worker"),
				 errhint("Increase max_worker_processes, which needs a restart of the server.")));
}

static void
not_started(void)
{
	CdcSharedDatabase *entry = cdc_shared_find(CDC_SHARED_DATABASE, &MyDatabaseId, false);
	CdcProblem	problem = {0};

	if (entry)
	{
		problem = entry->problem;
		cdc_shared_release(CDC_SHARED_DATABASE, entry);
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the workers of this database have not started"),
			 problem.message[0] ? errdetail_internal("%s", problem.message) : 0,
			 errhint("%s", problem.hint[0] ? problem.hint : "The server log may say why.")));
}

/* Where the launcher starts none. */
static void
refuse_template(void)
{
	HeapTuple	tup = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	bool		refused;

	if (!HeapTupleIsValid(tup))
		elog(ERROR, "cache lookup failed for database %u", MyDatabaseId);
	refused = ((Form_pg_database) GETSTRUCT(tup))->datistemplate;
	ReleaseSysCache(tup);
	if (refused)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("workers do not run in a template database")));
}

/*
 * cdc_start() returns boolean
 *
 * False if they were running.
 */
Datum
cdc_start(PG_FUNCTION_ARGS)
{
	TimestampTz start = GetCurrentTimestamp();

	PreventCommandDuringRecovery("cdc_start()");
	refuse_template();
	want(false);
	if (is_running())
		PG_RETURN_BOOL(false);
	if (!cdc_worker_has_launcher())
		start_without_launcher();
	while (!is_running())
	{
		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), START_TIMEOUT))
			not_started();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_BOOL(true);
}

/*
 * cdc_stop() returns boolean
 *
 * False if none was running.
 */
Datum
cdc_stop(PG_FUNCTION_ARGS)
{
	bool		was_running = is_running();

	PreventCommandDuringRecovery("cdc_stop()");
	want(true);
	cdc_process_wake(MyDatabaseId, CDC_KIND(CDC_MANAGER), CDC_WAKE_LEAVE);
	if (cdc_process_expel(MyDatabaseId, STOP_TIMEOUT) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the workers of this database have not ended within %d s",
						STOP_TIMEOUT / 1000)));
	PG_RETURN_BOOL(was_running);
}
