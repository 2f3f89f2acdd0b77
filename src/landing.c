/*-------------------------------------------------------------------------
 *
 * landing.c
 *	  The landing as an object: chunk table, view, triggers, catalog row,
 *	  positions and their lock.
 *
 * The objects are made and dropped as the current user, who owns them; the
 * catalog is read and written as the extension's owner.  Callers have checked
 * what the user may do.  Runs in the caller's transaction.
 *
 * Appending, reading and the view's triggers have files of their own:
 * landing_append.c, landing_scan.c, landing_write.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "landing.h"

/* Locks that belong to a chunk table, and are none on the table. */
#define KEEP_TAG		1		/* see cdc_landing_keep() */
#define APPENDING_TAG	2		/* see cdc_landing_lock() */

#define UNIX_EPOCH_USECS \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* ----------
 * Making
 * ----------
 */

static void
run(const char *sql)
{
	(void) cdc_spi_run(sql, 0, NULL, NULL, NULL, 0);
}

static void
check_free(const char *relname, Oid nspid, const char *name)
{
	if (!OidIsValid(get_relname_relid(relname, nspid)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_TABLE),
			 errmsg("relation \"%s\" already exists in schema \"%s\"",
					relname, get_namespace_name(nspid)),
			 errdetail("The landing of pipeline \"%s\" needs this name.", name),
			 errhint("Rename the relation, choose another name for the pipeline, "
					 "or name another schema in the option \"helper_schema\".")));
}

/* " COMPRESSION lz4" where the server has it, else "". */
static const char *
lz4_clause(void)
{
	bool		isnull;
	uint64		found;

	found = cdc_spi_run("SELECT 'lz4' = ANY (enumvals) FROM pg_catalog.pg_settings"
						" WHERE name = 'default_toast_compression'",
						0, NULL, NULL, NULL, 1);
	return found == 1 && DatumGetBool(cdc_spi_value(0, 1, &isnull)) ?
		" COMPRESSION lz4" : "";
}

/*
 * Chunks come and go, at the same pace when all is well: with the usual settings
 * a fifth of the table would be dead before it is vacuumed.  Nobody looks for
 * what is in the arrays, which ANALYZE would fetch and unpack.
 */
static void
set_upkeep(const char *chunk)
{
	static const char *const arrays[] = {
		"kafka_offset", "kafka_timestamp", "kafka_key", "kafka_value", "headers", "header_no"
	};

	run(psprintf("ALTER TABLE %s SET (autovacuum_vacuum_scale_factor = 0.05,"
				 " autovacuum_vacuum_threshold = 200,"
				 " toast.autovacuum_vacuum_scale_factor = 0.05,"
				 " toast.autovacuum_vacuum_threshold = 2000)", chunk));
	for (int i = 0; i < lengthof(arrays); i++)
		run(psprintf("ALTER TABLE %s ALTER COLUMN %s SET STATISTICS 0", chunk, arrays[i]));
}

static void
make_chunk_table(const char *chunk, const char *view)
{
	const char *lz4 = lz4_clause();

	run(psprintf("CREATE TABLE %s ("
				 "kafka_partition bigint NOT NULL,"
				 "epoch integer NOT NULL,"
				 "first_offset bigint NOT NULL,"
				 "last_offset bigint NOT NULL,"
				 "refresh_time timestamp NOT NULL,"
				 "kafka_timestamp_type \"char\" NOT NULL,"
				 "kafka_offset bigint[]%s,"
				 "kafka_timestamp timestamp[]%s NOT NULL,"
				 "kafka_key bytea[]%s NOT NULL,"
				 "kafka_value bytea[]%s NOT NULL,"
				 "headers jsonb[]%s,"
				 "header_no smallint[]%s,"
				 "PRIMARY KEY (kafka_partition, epoch, first_offset))",
				 chunk, lz4, lz4, lz4, lz4, lz4, lz4));
	set_upkeep(chunk);
	run(psprintf("COMMENT ON TABLE %s IS %s", chunk,
				 quote_literal_cstr(psprintf("cdcsync: records of the landing %s, a run of consecutive "
											 "records of a partition in each row", view))));
	run(psprintf("COMMENT ON COLUMN %s.kafka_offset IS 'NULL: first_offset and up, without holes'", chunk));
	run(psprintf("COMMENT ON COLUMN %s.headers IS 'the distinct header lists of the records'", chunk));
	run(psprintf("COMMENT ON COLUMN %s.header_no IS 'each record''s place in headers, 0: none; "
				 "NULL: all have the first one'", chunk));
}

/*
 * Timestamps, offsets and header numbers are small, so they are what makes the
 * rows; keys, values and headers are fetched by number, and a chunk of those is
 * read only if the column is asked for.  Partition and refresh_time are plain
 * columns of the chunk: conditions on them reach it.
 */
static void
make_view(const char *view, const char *chunk)
{
	run(psprintf("CREATE VIEW %s AS SELECT c.kafka_partition,"
				 " COALESCE(r.kafka_offset, c.first_offset + r.n - 1) AS kafka_offset,"
				 " c.kafka_timestamp_type,"
				 " r.kafka_timestamp,"
				 " cdcsync.chunk_element(c.kafka_key, r.n) AS kafka_key,"
				 " cdcsync.chunk_element(c.kafka_value, r.n) AS kafka_value,"
				 " cdcsync.chunk_element(c.headers, COALESCE(r.header_no, 1)::bigint) AS kafka_headers,"
				 " c.refresh_time,"
				 " cdcsync.json_parse_or_null(cdcsync.chunk_element(c.kafka_value, r.n)) AS payload"
				 " FROM %s AS c,"
				 " LATERAL ROWS FROM (unnest(c.kafka_timestamp), unnest(c.kafka_offset), unnest(c.header_no))"
				 " WITH ORDINALITY AS r (kafka_timestamp, kafka_offset, header_no, n)",
				 view, chunk));
	run(psprintf("COMMENT ON VIEW %s IS 'cdcsync: records of a topic as they have landed'", view));
}

static void
make_triggers(const char *view)
{
	static const char *const triggers[][2] = {
		{"cdcsync_insert_begin", "BEFORE INSERT ON %s FOR EACH STATEMENT"},
		{"cdcsync_insert_row", "INSTEAD OF INSERT ON %s FOR EACH ROW"},
		{"cdcsync_insert_end", "AFTER INSERT ON %s FOR EACH STATEMENT"},
		{"cdcsync_change_begin", "BEFORE UPDATE OR DELETE ON %s FOR EACH STATEMENT"},
		{"cdcsync_change_row", "INSTEAD OF UPDATE OR DELETE ON %s FOR EACH ROW"},
	};

	for (int i = 0; i < lengthof(triggers); i++)
	{
		StringInfoData sql;

		initStringInfo(&sql);
		appendStringInfo(&sql, "CREATE TRIGGER %s ", triggers[i][0]);
		appendStringInfo(&sql, triggers[i][1], view);
		appendStringInfoString(&sql, " EXECUTE FUNCTION cdcsync.landing_write()");
		run(sql.data);
	}
}

static int32
insert_row(const CdcLanding *landing, Jsonb *options)
{
	static const Oid types[] = {REGCLASSOID, REGCLASSOID, REGCLASSOID, JSONBOID};
	Datum		values[4];
	char		nulls[] = "    ";
	CdcSpi		spi;
	bool		isnull;
	int32		id;

	values[0] = ObjectIdGetDatum(landing->view);
	values[1] = ObjectIdGetDatum(landing->chunk);
	values[2] = ObjectIdGetDatum(landing->topic);
	if (!OidIsValid(landing->topic))
		nulls[2] = 'n';
	values[3] = JsonbPGetDatum(options);
	if (options == NULL)
		nulls[3] = 'n';

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("INSERT INTO cdcsync.landing (view, chunk, topic, options)"
					   " VALUES ($1, $2, $3, COALESCE($4, '{}'))"
					   " RETURNING landing_id",
					   lengthof(types), types, values, nulls, 0);
	id = DatumGetInt32(cdc_spi_value(0, 1, &isnull));
	cdc_spi_end(&spi);
	return id;
}

int32
cdc_landing_create(const char *name, Oid nspid, Oid topic, Jsonb *options)
{
	char	   *viewname = psprintf("%s_debezium", name);
	char	   *chunkname = psprintf("%s_debezium_chunk", name);
	char	   *nspname = get_namespace_name(nspid);
	char	   *view = quote_qualified_identifier(nspname, viewname);
	char	   *chunk = quote_qualified_identifier(nspname, chunkname);
	CdcLanding	landing = {.topic = topic,.owner = GetUserId()};
	CdcSpi		spi;

	check_free(viewname, nspid, name);
	check_free(chunkname, nspid, name);

	cdc_spi_begin(&spi, NULL);
	make_chunk_table(chunk, view);
	make_view(view, chunk);
	make_triggers(view);
	cdc_spi_end(&spi);

	landing.view = get_relname_relid(viewname, nspid);
	landing.chunk = get_relname_relid(chunkname, nspid);
	cdc_landing_depend(&landing);
	return insert_row(&landing, options);
}

/* Record that the chunk table depends on an object, once. */
static void
chunk_depends(Oid chunk, Oid ref_class, Oid ref_object)
{
	ObjectAddress table;
	ObjectAddress referenced;

	ObjectAddressSet(table, RelationRelationId, chunk);
	ObjectAddressSet(referenced, ref_class, ref_object);
	(void) deleteDependencyRecordsForSpecific(table.classId, table.objectId,
											  DEPENDENCY_NORMAL,
											  ref_class, ref_object);
	recordDependencyOn(&table, &referenced, DEPENDENCY_NORMAL);
}

void
cdc_landing_depend(const CdcLanding *landing)
{
	chunk_depends(landing->chunk, ExtensionRelationId,
				  get_extension_oid("cdcsync", false));
	if (OidIsValid(landing->topic))
		chunk_depends(landing->chunk, RelationRelationId, landing->topic);
}

void
cdc_landing_drop(const CdcLanding *landing)
{
	static const Oid types[] = {INT4OID};
	Datum		values[1] = {Int32GetDatum(landing->id)};
	CdcSpi		spi;

	/* The row first, so that what watches for dropped landings finds none. */
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("DELETE FROM cdcsync.landing WHERE landing_id = $1",
					   1, types, values, NULL, 0);
	cdc_spi_end(&spi);

	cdc_spi_begin(&spi, NULL);
	if (get_rel_name(landing->view))
		run(psprintf("DROP VIEW %s", cdc_qualified_name(landing->view)));
	if (get_rel_name(landing->chunk))
		run(psprintf("DROP TABLE %s", cdc_qualified_name(landing->chunk)));
	cdc_spi_end(&spi);
}

void
cdc_landing_check_readable(const CdcLanding *landing, Oid userid)
{
	AclResult	aclresult = pg_class_aclcheck(landing->view, userid, ACL_SELECT);

	if (aclresult != ACLCHECK_OK)
		aclcheck_error(aclresult, OBJECT_VIEW, get_rel_name(landing->view));
}

/* ----------
 * Reading the catalog
 * ----------
 */

/* The option "start", which was checked when it was stored. */
static void
parse_start(CdcLanding *landing, const char *start)
{
	if (start == NULL || strcmp(start, "earliest") == 0)
		landing->start = CDC_START_EARLIEST;
	else if (strcmp(start, "latest") == 0)
		landing->start = CDC_START_LATEST;
	else
	{
		int			level = cdc_pin_settings(NULL);
		TimestampTz time;

		time = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
													   CStringGetDatum(start),
													   ObjectIdGetDatum(InvalidOid),
													   Int32GetDatum(-1)));
		cdc_unpin_settings(level);
		landing->start = CDC_START_TIMESTAMP;
		landing->start_time = (time + UNIX_EPOCH_USECS) / 1000;
	}
}

/*
 * What landing_from_row() wants.  A landing goes on behind a gap if all of its
 * pipelines say so.
 */
#define LANDING_QUERY(landings) \
	"SELECT l.landing_id, l.view, l.chunk, l.topic, c.relowner," \
	" l.options ->> 'start', l.options ->> 'topic'," \
	" COALESCE(o.continues, false), COALESCE(o.refresh_interval, 0), COALESCE(o.version, 0)" \
	" FROM " landings " LEFT JOIN pg_class c ON c.oid = l.chunk" \
	" LEFT JOIN LATERAL (SELECT bool_and(COALESCE(p.options ->> 'on_gap' = 'continue', false)) AS continues," \
	" min(EXTRACT(epoch FROM COALESCE(p.options ->> 'refresh_interval', '0')::interval) * 1000000)::bigint" \
	" AS refresh_interval, sum(p.xmin::text::bigint)::bigint AS version" \
	" FROM cdcsync.pipeline p WHERE p.landing_id = l.landing_id) o ON true"

static char *
landing_text(uint64 row, int column)
{
	bool		isnull;
	Datum		value = cdc_spi_value(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* Makes it in the current memory context. */
static CdcLanding *
landing_from_row(uint64 row)
{
	CdcLanding *landing = palloc0(sizeof(CdcLanding));
	bool		isnull;

	landing->id = DatumGetInt32(cdc_spi_value(row, 1, &isnull));
	landing->view = DatumGetObjectId(cdc_spi_value(row, 2, &isnull));
	landing->chunk = DatumGetObjectId(cdc_spi_value(row, 3, &isnull));
	landing->topic = DatumGetObjectId(cdc_spi_value(row, 4, &isnull));
	if (isnull)
		landing->topic = InvalidOid;
	landing->owner = DatumGetObjectId(cdc_spi_value(row, 5, &isnull));
	parse_start(landing, landing_text(row, 6));
	landing->topic_name = landing_text(row, 7);
	landing->continues = DatumGetBool(cdc_spi_value(row, 8, &isnull));
	landing->refresh_interval = DatumGetInt64(cdc_spi_value(row, 9, &isnull));
	landing->version = DatumGetInt64(cdc_spi_value(row, 10, &isnull));
	return landing;
}

/* The landing that the plan finds by the value; NULL if none. */
static CdcLanding *
get_by(CdcPlan *plan, Datum value)
{
	MemoryContext caller = CurrentMemoryContext;
	CdcLanding *landing = NULL;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	if (cdc_spi_run_plan(plan, &value, NULL) == 1)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		landing = landing_from_row(0);
		MemoryContextSwitchTo(old);
	}
	cdc_spi_end(&spi);
	return landing;
}

List *
cdc_landing_list(Oid serverid, Oid owner)
{
	static const Oid types[] = {OIDOID, OIDOID};
	Datum		values[] = {ObjectIdGetDatum(serverid), ObjectIdGetDatum(owner)};
	MemoryContext caller = CurrentMemoryContext;
	List	   *landings = NIL;
	CdcSpi		spi;
	uint64		n;

	cdc_spi_begin_catalog(&spi);
	/* LATERAL: look up those that are wanted, whatever their number is thought to be */
	n = cdc_spi_run(LANDING_QUERY("cdcsync.auto_landing a JOIN LATERAL"
								  " (SELECT * FROM cdcsync.landing WHERE landing_id = a.landing_id OFFSET 0) l ON true")
					" WHERE a.server = $1 AND a.owner = $2 ORDER BY l.landing_id",
					2, types, values, NULL, 0);
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		landings = lappend(landings, landing_from_row(i));
		MemoryContextSwitchTo(old);
	}
	cdc_spi_end(&spi);
	return landings;
}

CdcLanding *
cdc_landing_get(int32 id)
{
	static const Oid types[] = {INT4OID};
	static CdcPlan plan = {
		LANDING_QUERY("cdcsync.landing l") " WHERE l.landing_id = $1", 1, types, .generic = true
	};
	CdcLanding *landing = get_by(&plan, Int32GetDatum(id));

	if (landing == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("landing %d does not exist", id)));
	return landing;
}

CdcLanding *
cdc_landing_get_by_view(Oid view)
{
	static const Oid types[] = {REGCLASSOID};
	static CdcPlan plan = {
		LANDING_QUERY("cdcsync.landing l") " WHERE l.view = $1", 1, types, .generic = true
	};

	return get_by(&plan, ObjectIdGetDatum(view));
}

/* ----------
 * Positions
 * ----------
 */

/* Those that the query in this SPI connection has found; frees its result. */
static int
take_positions(MemoryContext caller, CdcLandingPosition **positions)
{
	uint64		n = SPI_processed;
	bool		isnull;

	*positions = MemoryContextAlloc(caller, Max(n, 1) * sizeof(CdcLandingPosition));
	for (uint64 i = 0; i < n; i++)
	{
		CdcLandingPosition *position = &(*positions)[i];

		position->partition = DatumGetInt64(cdc_spi_value(i, 1, &isnull));
		position->epoch = DatumGetInt32(cdc_spi_value(i, 2, &isnull));
		position->next_offset = DatumGetInt64(cdc_spi_value(i, 3, &isnull));
		position->last_hash = DatumGetInt64(cdc_spi_value(i, 5, &isnull));
		position->last_offset = DatumGetInt64(cdc_spi_value(i, 4, &isnull));
		if (isnull)
			position->last_offset = -1;
	}
	SPI_freetuptable(SPI_tuptable);
	return (int) n;
}

#define POSITION_COLUMNS \
	"SELECT kafka_partition, epoch, next_offset, last_offset, last_hash" \
	" FROM cdcsync.position WHERE landing_id = $1"
#define POSITION_QUERY POSITION_COLUMNS " ORDER BY kafka_partition"

static const Oid position_types[] = {INT4OID, INT8ARRAYOID};

/*
 * Who appends to some partitions shares this lock with others, who appends to any has
 * it alone.  That is what the lock of the catalog's row says, too, which comes next;
 * but who waits for that one would be passed by all that share it.
 */
static bool
lock_appending(const CdcLanding *landing, LOCKMODE mode, bool nowait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, landing->chunk, APPENDING_TAG);
	return LockAcquire(&tag, mode, false, nowait) != LOCKACQUIRE_NOT_AVAIL;
}

/* The row of the landing itself; false: locked by another, or gone. */
static bool
lock_landing(Datum id, bool nowait)
{
	static CdcPlan wait_plan = {
		"SELECT FROM cdcsync.landing WHERE landing_id = $1 FOR NO KEY UPDATE",
		1, position_types
	};
	static CdcPlan nowait_plan = {
		"SELECT FROM cdcsync.landing WHERE landing_id = $1 FOR NO KEY UPDATE SKIP LOCKED",
		1, position_types
	};

	return cdc_spi_run_plan(nowait ? &nowait_plan : &wait_plan, &id, NULL) == 1;
}

/* All positions, unless another session has one of them locked: then -1. */
static int
lock_positions_nowait(Datum id, MemoryContext caller, CdcLandingPosition **positions)
{
	static CdcPlan lock_plan = {
		POSITION_QUERY " FOR NO KEY UPDATE SKIP LOCKED", 1, position_types
	};
	static CdcPlan count_plan = {
		"SELECT FROM cdcsync.position WHERE landing_id = $1", 1, position_types
	};
	int			n;

	(void) cdc_spi_run_plan(&lock_plan, &id, NULL);
	n = take_positions(caller, positions);
	return cdc_spi_run_plan(&count_plan, &id, NULL) == n ? n : -1;
}

static int
lock_positions(Datum id, MemoryContext caller, CdcLandingPosition **positions)
{
	static CdcPlan plan = {
		POSITION_QUERY " FOR NO KEY UPDATE", 1, position_types
	};

	(void) cdc_spi_run_plan(&plan, &id, NULL);
	return take_positions(caller, positions);
}

int
cdc_landing_lock(const CdcLanding *landing, bool nowait,
				 CdcLandingPosition **positions)
{
	Datum		id = Int32GetDatum(landing->id);
	MemoryContext caller = CurrentMemoryContext;
	CdcSpi		spi;
	int			n = -1;

	/* what the first chunk would wait for */
	if (nowait && !ConditionalLockRelationOid(landing->chunk, RowExclusiveLock))
		return -1;
	if (!lock_appending(landing, ExclusiveLock, nowait))
		return -1;
	cdc_spi_begin_catalog(&spi);
	if (lock_landing(id, nowait))
		n = nowait ? lock_positions_nowait(id, caller, positions) :
			lock_positions(id, caller, positions);
	else if (!nowait)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("landing %d was dropped by another session",
						landing->id)));
	cdc_spi_end(&spi);
	return n;
}

int
cdc_landing_lock_some(const CdcLanding *landing, const int64 *partitions,
					  int npartitions, CdcLandingPosition **positions)
{
	static CdcPlan landing_plan = {
		"SELECT FROM cdcsync.landing WHERE landing_id = $1 FOR SHARE SKIP LOCKED",
		1, position_types
	};
	static CdcPlan plan = {
		POSITION_COLUMNS " AND kafka_partition = ANY ($2) ORDER BY kafka_partition"
		" FOR NO KEY UPDATE SKIP LOCKED",
		2, position_types, .generic = true
	};
	MemoryContext caller = CurrentMemoryContext;
	Datum	   *datums = palloc(Max(npartitions, 1) * sizeof(Datum));
	Datum		values[2] = {Int32GetDatum(landing->id)};
	int			n = -1;
	CdcSpi		spi;

	if (!ConditionalLockRelationOid(landing->chunk, RowExclusiveLock) ||
		!lock_appending(landing, ShareLock, true))
		return -1;
	for (int i = 0; i < npartitions; i++)
		datums[i] = Int64GetDatum(partitions[i]);
	values[1] = PointerGetDatum(construct_array(datums, npartitions, INT8OID, sizeof(int64),
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	cdc_spi_begin_catalog(&spi);
	if (cdc_spi_run_plan(&landing_plan, values, NULL) == 1)
	{
		(void) cdc_spi_run_plan(&plan, values, NULL);
		n = take_positions(caller, positions);
	}
	cdc_spi_end(&spi);
	return n == npartitions ? n : -1;
}

/* What cdc_landing_keep() locks: not the table, which is to be appended to. */
static void
set_keep_tag(LOCKTAG *tag, Oid chunk)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, RelationRelationId, chunk, KEEP_TAG);
}

void
cdc_landing_keep(const CdcLanding *landing)
{
	LOCKTAG		tag;

	set_keep_tag(&tag, landing->chunk);
	(void) LockAcquire(&tag, ShareLock, false, false);
}

bool
cdc_landing_may_delete(Oid chunk)
{
	LOCKTAG		tag;

	set_keep_tag(&tag, chunk);
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

int
cdc_landing_positions(const CdcLanding *landing,
					  CdcLandingPosition **positions)
{
	static CdcPlan plan = {POSITION_QUERY, 1, position_types};
	Datum		id = Int32GetDatum(landing->id);
	MemoryContext caller = CurrentMemoryContext;
	CdcSpi		spi;
	int			n;

	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run_plan(&plan, &id, NULL);
	n = take_positions(caller, positions);
	cdc_spi_end(&spi);
	return n;
}
