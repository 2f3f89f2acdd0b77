/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  What all background processes of the extension have in common: how they
 *	  are started, connect, run transactions, are told and end.
 *
 * A worker is asked to end by SIGTERM, with the handler that sessions have: the
 * next place that looks for interrupts raises FATAL, whose clean-up undoes the
 * transaction and closes what is open.  (The handler that background workers
 * begin with raises it inside the signal handler, where a library may hold
 * a lock.)  SIGINT cancels a transaction that is running, and nothing else.
 * Workers are never started again by the postmaster, but by the manager or
 * launcher that wants them; only the launcher, and a manager where there is no
 * launcher, come back by themselves.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "worker.h"

#define RESTART_PAUSE	1		/* s, of what the postmaster starts again */
#define READING_SHARE	20		/* of the time, one part goes into reading the catalog */

int			cdc_max_sync_workers = 2;
int			cdc_sync_timeout = 600000;
int			cdc_commit_delay = 20;
int			cdc_metadata_interval = 10;

static CdcProcess my_process;
static bool preloaded = false;	/* inherited by all processes */
static bool connected = false;

static const struct
{
	const char *type;
	const char *function;
}			kinds[] =
{
	[CDC_LAUNCHER] = {"cdcsync launcher", "cdc_launcher_main"},
	[CDC_MANAGER] = {"cdcsync manager", "cdc_manager_main"},
	[CDC_INGEST] = {"cdcsync ingest worker", "cdc_ingest_main"},
	[CDC_SYNC] = {"cdcsync sync worker", "cdc_sync_main"},
};

/* ----------
 * Starting
 * ----------
 */
static void
describe(const CdcProcess *process, BackgroundWorker *worker)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	worker->bgw_notify_pid = MyProcPid;
	strlcpy(worker->bgw_library_name, "cdcsync", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, kinds[process->kind].function,
			sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_type, kinds[process->kind].type, sizeof(worker->bgw_type));
	strlcpy(worker->bgw_name, kinds[process->kind].type, sizeof(worker->bgw_name));
	StaticAssertStmt(sizeof(CdcProcess) <= BGW_EXTRALEN, "CdcProcess must fit");
	memcpy(worker->bgw_extra, process, sizeof(*process));

	if (process->kind == CDC_LAUNCHER ||
		(process->kind == CDC_MANAGER && !cdc_worker_has_launcher()))
	{
		worker->bgw_restart_time = RESTART_PAUSE;
		worker->bgw_notify_pid = 0;
	}
}

BackgroundWorkerHandle *
cdc_worker_start(const CdcProcess *process)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	describe(process, &worker);
	return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : NULL;
}

void
cdc_worker_note_slot(Oid database, const char *without, bool log)
{
	ErrorData	edata = {
		.sqlerrcode = ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
		.message = without ? psprintf("no slot is free for %s", without) : NULL,
		.hint = "Increase max_worker_processes.",
	};
	CdcSharedDatabase *entry = cdc_shared_insert(CDC_SHARED_DATABASE, &database);

	if (without)
		cdc_problem_add(&entry->problem, &edata);
	else
		cdc_problem_clear(&entry->problem);
	cdc_shared_release(CDC_SHARED_DATABASE, entry);
	if (without && log)
		cdc_worker_log(&edata, psprintf("cannot start a worker in database %u", database));
}

bool
cdc_worker_has_launcher(void)
{
	return preloaded;
}

static void
set(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Settings that are meant for people would end a worker's work with nobody there
 * to see it.
 */
static void
shield_settings(void)
{
	set("application_name", "cdcsync");
	set("statement_timeout", "0");
	set("lock_timeout", "0");
	set("idle_in_transaction_session_timeout", "0");
	if (GetConfigOption("transaction_timeout", true, false))
		set("transaction_timeout", "0");
	set("role", "none");
	set("default_transaction_isolation", "read committed");
	set("default_transaction_read_only", "off");
	set("default_transaction_deferrable", "off");
	set("session_replication_role", "origin");
	set("search_path", "pg_catalog, pg_temp");
}

/* Between transactions there is nothing to cancel. */
static void
cancel_transaction(SIGNAL_ARGS)
{
	if (IsTransactionState())
		StatementCancelHandler(postgres_signal_arg);
}

/*
 * The postmaster would start a manager again and again in a database that is
 * not there any more: exit code 0 says that this one is done.
 */
static void
give_up(int code, Datum arg)
{
	if (code != 0 && !connected && my_process.kind == CDC_MANAGER)
		proc_exit(0);
}

const CdcProcess *
cdc_worker_begin(Datum main_arg)
{
	memcpy(&my_process, MyBgworkerEntry->bgw_extra, sizeof(my_process));
	on_proc_exit(give_up, (Datum) 0);
	pqsignal(SIGINT, cancel_transaction);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (my_process.kind == CDC_LAUNCHER)
		BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	else
		BackgroundWorkerInitializeConnectionByOid(my_process.database, my_process.owner,
												  OidIsValid(my_process.owner) ?
												  CDC_BYPASS_ROLELOGINCHECK : 0);
	connected = true;
	shield_settings();
	if (!cdc_process_enter(&my_process))
		proc_exit(0);
	/* whoever wants the database alone sees us from here on, or we see that */
	if ((my_process.kind == CDC_INGEST || my_process.kind == CDC_SYNC) &&
		!cdc_database_is_open(my_process.database))
		proc_exit(0);
	cdc_worker_activity(NULL);
	return &my_process;
}

/* ----------
 * Transactions
 * ----------
 */
bool
cdc_worker_lock_extension(void)
{
	Oid			extension = get_extension_oid("cdcsync", true);

	if (!OidIsValid(extension))
		return false;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	/* it may be gone by now, or another one */
	return get_extension_oid("cdcsync", true) == extension;
}

/*
 * DROP EXTENSION waits for what is going on, and what begins then waits for it:
 * else each would wait for a table that the other has.
 */
static void
begin_work(void)
{
	if (my_process.kind == CDC_INGEST || my_process.kind == CDC_SYNC)
	{
		/* nothing is left to do */
		if (!cdc_worker_lock_extension())
			proc_exit(0);
	}
	PushActiveSnapshot(GetTransactionSnapshot());
}

bool
cdc_worker_try(void (*func) (void *arg), void *arg, ErrorData **error)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool done = false;

	*error = NULL;
	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		/* whatever code of users has left behind as the default */
		XactIsoLevel = XACT_READ_COMMITTED;
		XactReadOnly = false;
		XactDeferrable = false;
		begin_work();
		func(arg);
		if (ActiveSnapshotSet())
			PopActiveSnapshot();
		CommitTransactionCommand();
		done = true;
	}
	PG_CATCH();
	{
		/* as the main loop of a session does */
		HOLD_INTERRUPTS();
		disable_all_timeouts(false);
		MemoryContextSwitchTo(caller);
		*error = CopyErrorData();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	/* one that came too late is not for the next transaction */
	QueryCancelPending = false;
	MemoryContextSwitchTo(caller);
	(void) pgstat_report_stat(false);
	return done;
}

void
cdc_worker_log(const ErrorData *edata, const char *what)
{
	ereport(LOG,
			(errcode(edata->sqlerrcode),
			 errmsg("%s: %s", what, edata->message),
			 edata->detail_log || edata->detail ?
			 errdetail_internal("%s", edata->detail_log ? edata->detail_log : edata->detail) : 0,
			 edata->hint ? errhint("%s", edata->hint) : 0,
			 edata->context ? errcontext("%s", edata->context) : 0));
}

/* ----------
 * What comes from outside
 * ----------
 */
void
cdc_worker_activity(const char *what)
{
	if (what)
		pgstat_report_activity(STATE_RUNNING, what);
	else
		pgstat_report_activity(STATE_IDLE, NULL);
}

uint32
cdc_worker_check(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	AcceptInvalidationMessages();
	return cdc_process_woken();
}

TimestampTz
cdc_worker_read_again_at(TimestampTz began, int pause)
{
	TimestampTz taken = GetCurrentTimestamp() - began;

	return Max(TimestampTzPlusMilliseconds(began, pause), began + taken * READING_SHARE);
}

uint32
cdc_worker_sleep(long timeout)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

	if (timeout >= 0)
		events |= WL_TIMEOUT;
	(void) WaitLatch(MyLatch, events, timeout, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	return cdc_worker_check();
}

/* ----------
 * Loading
 * ----------
 */
static void
define_settings(void)
{
	DefineCustomIntVariable("cdcsync.max_sync_workers",
							"Sync workers that a database has at most, and helpers of syncs.",
							NULL, &cdc_max_sync_workers, 2, 1, 64,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("cdcsync.sync_timeout",
							"How long a sync worker lets one transaction take, triggers included.",
							"0: as long as it takes.", &cdc_sync_timeout, 600000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("cdcsync.commit_delay",
							"How long an ingest worker gathers records before it commits them.",
							NULL, &cdc_commit_delay, 20, 0, 10000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("cdcsync.metadata_interval",
							"How often an ingest worker looks for new topics and partitions.",
							NULL, &cdc_metadata_interval, 10, 1, 3600,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

void
cdc_worker_init(void)
{
	CdcProcess	launcher = {.kind = CDC_LAUNCHER};
	BackgroundWorker worker;

	define_settings();
	/* pg_upgrade restores and copies databases: nobody is to be in its way */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	preloaded = true;
	describe(&launcher, &worker);
	RegisterBackgroundWorker(&worker);
}
