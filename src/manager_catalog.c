/*-------------------------------------------------------------------------
 *
 * manager_catalog.c
 *	  What the catalog asks the manager for: ingest workers, landings, and pipelines
 *	  with their owners.
 *
 * Read as the owner of the catalog, in a transaction of the manager's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "catalog.h"
#include "manager.h"

static HTAB *
make_table(CdcManager *manager, const char *name, Size key, Size entry)
{
	HASHCTL		ctl = {.keysize = key,.entrysize = entry,.hcxt = manager->context};

	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
read_ingest(CdcManager *manager)
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
read_landings(CdcManager *manager)
{
	uint64		n;
	bool		isnull;

	n = cdc_spi_run("SELECT l.landing_id, coalesce(a.owner::oid, 0), coalesce(a.server, 0)"
					" FROM cdcsync.landing l LEFT JOIN cdcsync.auto_landing a USING (landing_id)",
					0, NULL, NULL, NULL, 0);
	for (uint64 i = 0; i < n; i++)
	{
		int32		id = DatumGetInt32(cdc_spi_value(i, 1, &isnull));
		CdcManagedLanding *landing = hash_search(manager->landings, &id, HASH_ENTER, NULL);

		landing->owner = DatumGetObjectId(cdc_spi_value(i, 2, &isnull));
		landing->server = DatumGetObjectId(cdc_spi_value(i, 3, &isnull));
	}
}

/*
 * Something has landed that is not synced, so says the catalog.  The counters are
 * only a hint: where they say that nothing is left to do, they are wrong.
 */
static void
correct_counters(const CdcManagedPipeline *pipeline)
{
	int64		landed = cdc_shared_news(pipeline->landing, pipeline->schema_landing).landed;
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
read_pipelines(CdcManager *manager)
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
		CdcManagedPipeline *pipeline;
		CdcOwner   *owner;
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
			memset((char *) owner + sizeof(Oid), 0, sizeof(CdcOwner) - sizeof(Oid));
		owner->pipelines++;
		if (DatumGetBool(cdc_spi_value(i, 5, &isnull)))
			correct_counters(pipeline);
	}
}

/* An error if the extension is not of the version that the library is made for. */
static void
check_version(CdcManager *manager)
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

void
cdc_manager_read(void *arg)
{
	CdcManager *manager = arg;
	CdcSpi		spi;

	MemoryContextReset(manager->context);
	manager->ingest = NIL;
	manager->owners = make_table(manager, "cdcsync owners", sizeof(Oid), sizeof(CdcOwner));
	manager->pipelines = make_table(manager, "cdcsync pipelines", sizeof(CdcPipelineKey),
									sizeof(CdcManagedPipeline));
	manager->landings = make_table(manager, "cdcsync landings", sizeof(int32), sizeof(CdcManagedLanding));
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
	CdcManager *manager = arg;

	return hash_search(manager->pipelines, entry, HASH_FIND, NULL) != NULL;
}

/*
 * Who has written into a landing that is younger than our reading needs the entry
 * at commit: so it goes when the landing has been missing twice.
 */
static bool
keep_landing(void *entry, void *arg)
{
	CdcManager *manager = arg;
	CdcSharedLanding *landing = entry;
	bool		was_missing = landing->missing;

	landing->missing = hash_search(manager->landings, &landing->key.landing,
								   HASH_FIND, NULL) == NULL;
	return !landing->missing || !was_missing;
}

static bool
keep_partition(void *entry, void *arg)
{
	CdcManager *manager = arg;

	return hash_search(manager->landings, &((CdcSharedPartition *) entry)->key.landing,
					   HASH_FIND, NULL) != NULL;
}

void
cdc_manager_forget_gone(CdcManager *manager)
{
	HASH_SEQ_STATUS seq;
	CdcServed  *served;

	hash_seq_init(&seq, manager->served);
	while ((served = hash_seq_search(&seq)) != NULL)
		if (hash_search(manager->owners, &served->owner, HASH_FIND, NULL) == NULL)
			(void) hash_search(manager->served, &served->owner, HASH_REMOVE, NULL);
	cdc_shared_scan(CDC_SHARED_PIPELINE, MyDatabaseId, keep_pipeline, manager);
	cdc_shared_scan(CDC_SHARED_LANDING, MyDatabaseId, keep_landing, manager);
	cdc_shared_scan(CDC_SHARED_PARTITION, MyDatabaseId, keep_partition, manager);
}
