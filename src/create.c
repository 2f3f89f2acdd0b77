/*-------------------------------------------------------------------------
 *
 * create.c
 *	  cdc_create(): check what was asked for, then make it.  cdc_create_all()
 *	  makes each of its pipelines with the same function.
 *
 * All that can be found wrong is looked for before the first thing is made,
 * and everything is one transaction, so a failure leaves nothing.  Objects are
 * made by the caller with the caller's privileges, and belong to the caller.
 *
 * The target is locked against being dropped until the end of the transaction
 * (ACCESS SHARE), which the dependency recorded on it takes over.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "cdcsync.h"
#include "compat.h"
#include "create.h"
#include "evidence.h"
#include "exact.h"
#include "fit.h"
#include "intake.h"
#include "kafka_options.h"
#include "new_target.h"
#include "staging.h"
#include "target_check.h"
#include "topic_sample.h"

PG_FUNCTION_INFO_V1(cdc_create);

/* What is asked for, and what was found out so far. */
typedef struct NewPipeline
{
	const CdcCreate *create;
	CdcPipeline p;
	Oid			helper_nsp;
	Oid			target_nsp;
	CdcInferred *inferred;		/* NULL: there was nothing to look at */
	CdcTarget  *target;			/* NULL while there is none */
} NewPipeline;

/*
 * Names
 */

static void
check_name(const char *name)
{
	const char *hint = "A name has 1 to 48 bytes, and no *, which stands for any characters in cdc_drop() and its kind.";

	if (name[0] == '\0' || strlen(name) > CDC_NAME_MAX || strchr(name, '*'))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid pipeline name \"%s\"", name),
				 errhint("%s", hint)));
}

static void
name_in_use(const char *name, bool foreign)
{
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("pipeline \"%s\" already exists", name),
			 foreign ? errdetail("It belongs to another role. Names are unique in the database.") : 0,
			 foreign ? errhint("Choose another name.") :
			 errhint("Choose another name, or drop it first with SELECT cdc_drop(%s).",
					 quote_literal_cstr(name))));
}

/*
 * Two sessions that create the same pipeline: the second waits for the first
 * here, and not in the middle of making tables, with an error about an index
 * of pg_class.
 */
static void
lock_name(const char *name)
{
	Oid			relid = get_relname_relid("pipeline",
										  get_namespace_oid(CDC_SCHEMA, false));
	uint32		hash = hash_bytes((const unsigned char *) name, strlen(name));

	LockDatabaseObject(relid, hash, 0, AccessExclusiveLock);
}

/*
 * Is the name free?  A row whose relations are gone (dropped while event
 * triggers did not fire) is removed on the way.
 */
static void
check_name_free(const char *name)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	Oid			userid = GetUserId();
	CdcSpi		spi;
	bool		found;
	bool		foreign = false;

	cdc_spi_begin_catalog(&spi);
	found = cdc_spi_run("SELECT owner::oid FROM cdcsync.pipeline_state WHERE name = $1",
						1, types, values, NULL, 1) > 0;
	if (found)
	{
		bool		isnull;
		Oid			owner = DatumGetObjectId(cdc_spi_value(0, 1, &isnull));

		foreign = !has_privs_of_role(userid, owner);
	}
	else
		(void) cdc_spi_run("DELETE FROM cdcsync.pipeline WHERE name = $1",
						   1, types, values, NULL, 0);
	cdc_spi_end(&spi);
	if (found)
		name_in_use(name, foreign);
}

Oid
cdc_creation_schema(char **name)
{
	Oid			nspid;
	AclResult	aclresult;

	if (*name)
		nspid = get_namespace_oid(*name, true);
	else if (fetch_search_path(false) != NIL)
		nspid = RangeVarGetCreationNamespace(makeRangeVar(NULL, "x", -1));
	else
		nspid = InvalidOid;
	if (!OidIsValid(nspid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 *name ? errmsg("schema \"%s\" does not exist", *name) :
				 errmsg("no schema has been selected to create in"),
				 errhint("Set search_path, or name an existing schema with the options helper_schema and target_schema.")));
	*name = get_namespace_name(nspid);
	if (isTempNamespace(nspid) || IsCatalogNamespace(nspid) || IsToastNamespace(nspid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a pipeline cannot stand in a temporary or system schema"),
				 errhint("Set search_path, or name an existing schema with the options helper_schema and target_schema.")));
	aclresult = object_aclcheck_compat(NamespaceRelationId, nspid, GetUserId(),
									   ACL_CREATE);
	if (aclresult != ACLCHECK_OK)
		aclcheck_error(aclresult, OBJECT_SCHEMA, *name);
	return nspid;
}

static void
check_relation_free(const char *relname, Oid nspid, const char *hint)
{
	if (OidIsValid(get_relname_relid(relname, nspid)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s\" already exists in schema \"%s\"",
						relname, get_namespace_name(nspid)),
				 errhint("%s", hint)));
	if (SearchSysCacheExists2(TYPENAMENSP, CStringGetDatum(relname),
							  ObjectIdGetDatum(nspid)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("type \"%s\" already exists in schema \"%s\"",
						relname, get_namespace_name(nspid)),
				 errdetail("A relation has a type of the same name."),
				 errhint("%s", hint)));
}

static void
check_relations_free(const NewPipeline *new)
{
	const char *name = new->p.name;
	const char *hint = "The pipeline makes a relation of this name. Rename yours, choose another name for the pipeline, or another schema with the option helper_schema.";

	check_relation_free(psprintf("%s_stg", name), new->helper_nsp, hint);
	if (new->p.landing == NULL)
	{
		check_relation_free(psprintf("%s_debezium", name), new->helper_nsp, hint);
		check_relation_free(psprintf("%s_debezium_chunk", name), new->helper_nsp, hint);
	}
	if (!OidIsValid(new->p.target))
	{
		char	   *target = quote_qualified_identifier(get_namespace_name(new->target_nsp),
														new->p.target_name);

		check_relation_free(new->p.target_name, new->target_nsp,
							psprintf("If it is to be the target, pass target => %s.",
									 quote_literal_cstr(target)));
	}
}

/*
 * Topic and landing
 */

/* The topic must be a foreign table of ours that the caller may read. */
static void
check_topic(Oid topic)
{
	char	   *name = get_rel_name(topic);
	ForeignTable *table;
	ForeignServer *server;
	bool		ours = false;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", topic)));
	if (get_rel_relkind(topic) == RELKIND_FOREIGN_TABLE)
	{
		table = GetForeignTable(topic);
		server = GetForeignServer(table->serverid);
		ours = strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, CDC_FDW_NAME) == 0;
	}
	if (!ours)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a topic", name),
				 errdetail("A topic is a foreign table of a server with the foreign-data wrapper \"%s\".",
						   CDC_FDW_NAME),
				 errhint("Make the foreign tables with IMPORT FOREIGN SCHEMA kafka FROM SERVER ... INTO ....")));

	cdc_kafka_topic_check(topic, server->serverid, GetUserId());
}

/* The landing that reads a topic, if there is one of a role that the caller has. */
static CdcLanding *
landing_of_topic(Oid topic)
{
	Oid			types[] = {OIDOID, OIDOID};
	Datum		values[] = {ObjectIdGetDatum(topic), ObjectIdGetDatum(GetUserId())};
	Oid			view = InvalidOid;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	if (cdc_spi_run("SELECT l.view::oid FROM cdcsync.landing l JOIN pg_class c ON c.oid = l.chunk"
					" WHERE l.topic = $1 AND pg_has_role($2, c.relowner, 'USAGE')"
					" ORDER BY l.landing_id",
					2, types, values, NULL, 1) > 0)
		view = cdc_spi_oid(0, 1);
	cdc_spi_end(&spi);
	return OidIsValid(view) ? cdc_landing_get_by_view(view) : NULL;
}

static void
check_landing_owner(const CdcLanding *landing, const char *name)
{
	if (!has_privs_of_role(GetUserId(), landing->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for landing \"%s\"", name),
				 errhint("Only members of the role that owns a landing may build on it.")));
}

/*
 * The landing of the connector's schema-change topic: named by its view, or by
 * the topic.  It is one of its own, as all pipelines of a connector share it.
 */
static CdcLanding *
schema_landing(const char *name)
{
	RangeVar   *range = makeRangeVarFromNameList(stringToQualifiedNameList_compat(name, NULL));
	Oid			relid = RangeVarGetRelid(range, NoLock, true);
	CdcLanding *landing = NULL;

	if (OidIsValid(relid))
		landing = get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE ?
			landing_of_topic(relid) : cdc_landing_get_by_view(relid);
	if (landing == NULL)
		ereport(ERROR,
				(errcode(OidIsValid(relid) ? ERRCODE_WRONG_OBJECT_TYPE : ERRCODE_UNDEFINED_TABLE),
				 errmsg("there is no landing \"%s\" for the option \"schema_topic\"", name),
				 errhint("Make a landing of the connector's schema-change topic with SELECT cdc_create('...', topic => '...'), once for all pipelines, and name its view or the topic.")));
	check_landing_owner(landing, name);
	return landing;
}

/* The landing named by the option, found by the caller's search_path. */
static CdcLanding *
named_landing(const char *name, Oid topic)
{
	RangeVar   *range = makeRangeVarFromNameList(stringToQualifiedNameList_compat(name, NULL));
	Oid			relid = RangeVarGetRelid(range, NoLock, true);
	CdcLanding *landing;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("landing \"%s\" does not exist", name),
				 errhint("The option \"landing\" takes the name of an existing landing view, such as \"customer_debezium\".")));
	landing = cdc_landing_get_by_view(relid);
	if (landing == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a landing", name),
				 errhint("The option \"landing\" takes the name of an existing landing view, such as \"customer_debezium\".")));
	check_landing_owner(landing, name);
	if (OidIsValid(topic) && topic != landing->topic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("landing \"%s\" does not hold the records of topic \"%s\"",
						name, get_rel_name(topic)),
				 errhint("Leave out either the topic or the option \"landing\".")));
	return landing;
}

/* A snapshot tells by their key which rows are gone; in append it is changes like others. */
void
cdc_create_check_replace(const CdcOptions *options, bool possible)
{
	if (options->replace && !possible)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("option \"on_snapshot\" \"replace\" needs the mode \"mirror\", \"soft_delete\" or \"history\", and a key"),
				 errhint("Leave the option out.")));
}

/*
 * What the events look like; NULL if there are none to look at.  Those that
 * have landed are at hand; else the topic tells, if there is one.
 *
 * An existing landing is read as its owner: its view may run code of theirs,
 * which must not get the rights of a superuser who calls us.
 */
CdcInferred *
cdc_create_infer(Oid topic, const CdcLanding *landing, const CdcOptions *options)
{
	CdcSampling how = {options->read_as, options->add_fields_prefix, options->filter};
	CdcInferred *inferred;
	Oid			serverid;

	if (landing)
	{
		MemoryContext context = CurrentMemoryContext;
		CdcSpi		spi;

		cdc_landing_check_readable(landing, GetUserId());
		cdc_spi_begin_as(&spi, landing->owner, NULL);
		MemoryContextSwitchTo(context);
		inferred = cdc_infer(landing->view, &how);
		if (inferred->nrecords == 0 && OidIsValid(landing->topic))
		{
			char	   *name = cdc_kafka_topic(landing->topic, &serverid);

			cdc_kafka_topic_check(landing->topic, serverid, landing->owner);
			inferred = cdc_topic_infer(name, serverid, landing->owner, &how);
		}
		cdc_spi_end(&spi);
	}
	else if (OidIsValid(topic))
	{
		char	   *name = cdc_kafka_topic(topic, &serverid);

		inferred = cdc_topic_infer(name, serverid, GetUserId(), &how);
	}
	else
		return NULL;
	return inferred->nrecords > 0 ? inferred : NULL;
}

/*
 * Making it
 */

static CdcLanding *
make_landing(const NewPipeline *new)
{
	Jsonb	   *options = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
															 CStringGetDatum("{}")));

	options = cdc_options_set(options, "start", new->create->options->start);
	if (OidIsValid(new->create->topic))
	{
		Oid			serverid;

		options = cdc_options_set(options, "topic",
								  cdc_kafka_topic(new->create->topic, &serverid));
	}
	return cdc_landing_get(cdc_landing_create(new->p.name, new->helper_nsp,
											  new->create->topic, options));
}

/* Schemas go into the stored options: what is made later goes there too. */
static Jsonb *
stored_options(const NewPipeline *new)
{
	Jsonb	   *options = cdc_options_set(new->create->options->stored, "helper_schema",
										  new->p.helper_schema);

	return cdc_options_set(options, "target_schema", new->p.target_schema);
}

/*
 * Keep others from dropping the landing until we commit.  In the open SPI
 * connection.
 */
static void
lock_landing(const CdcLanding *landing)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(landing->id)};

	if (cdc_spi_run("SELECT FROM cdcsync.landing WHERE landing_id = $1 FOR KEY SHARE",
					1, types, values, NULL, 0) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the landing was dropped by another session")));
}

static void
insert_pipeline(const NewPipeline *new)
{
	const CdcPipeline *p = &new->p;
	Oid			types[] = {TEXTOID, INT4OID, OIDOID, OIDOID, OIDOID, BOOLOID,
	TEXTARRAYOID, JSONBOID, JSONBOID, INT8OID, INT8OID, OIDOID};
	Datum		values[12];
	char		nulls[] = "            ";
	int64		system;
	int64		database;
	uint64		inserted;
	CdcSpi		spi;

	cdc_pipeline_stamp(&system, &database);
	values[0] = CStringGetTextDatum(p->name);
	values[1] = Int32GetDatum(p->landing->id);
	/* the staging table tells it, or else the landing; if not we have to */
	values[2] = ObjectIdGetDatum(p->owner);
	nulls[2] = OidIsValid(p->staging) || p->owner == p->landing->owner ? 'n' : ' ';
	values[3] = ObjectIdGetDatum(p->staging);
	nulls[3] = OidIsValid(p->staging) ? ' ' : 'n';
	values[4] = ObjectIdGetDatum(p->target);
	nulls[4] = OidIsValid(p->target) ? ' ' : 'n';
	values[5] = BoolGetDatum(p->target_made);
	values[6] = p->key ? cdc_text_array(p->key) : (Datum) 0;
	nulls[6] = p->key ? ' ' : 'n';
	values[7] = p->columns ? JsonbPGetDatum(p->columns) : (Datum) 0;
	nulls[7] = p->columns ? ' ' : 'n';
	values[8] = JsonbPGetDatum(stored_options(new));
	values[9] = Int64GetDatum(system);
	values[10] = Int64GetDatum(database);
	values[11] = ObjectIdGetDatum(p->schema_landing ? p->schema_landing->view : InvalidOid);
	nulls[11] = p->schema_landing ? ' ' : 'n';

	cdc_spi_begin_catalog(&spi);
	lock_landing(p->landing);
	inserted = cdc_spi_run("INSERT INTO cdcsync.pipeline (name, landing_id, owner,"
						   " staging, target, target_made, key, columns, options,"
						   " stamp_system, stamp_database, schema_view)"
						   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
						   " ON CONFLICT (name) DO NOTHING",
						   12, types, values, nulls, 0);
	cdc_spi_end(&spi);

	/* there, but not in our snapshot */
	if (inserted == 0)
		name_in_use(p->name, false);
	cdc_exact_begin(p->name, p->landing->id);
}

static void
make_pipeline(NewPipeline *new)
{
	CdcPipeline *p = &new->p;

	if (p->landing == NULL)
		p->landing = make_landing(new);
	if (!OidIsValid(p->target) && new->inferred)
	{
		p->target = cdc_new_target_make(p, new->inferred, new->create->key, &p->key);
		p->target_made = true;
		if (!new->create->quiet)
			cdc_new_target_tell_guesses(p, new->inferred);
		new->target = cdc_target_describe(p->target, p->key, p->readings, p->strict, p->mode);
		if (new->target->keyless && !new->create->quiet)
			cdc_target_tell_keyless(p->target_name);
	}
	if (new->target)
		p->staging = cdc_staging_create(p->name, new->helper_nsp, new->target);
	insert_pipeline(new);
	if (new->target && new->inferred)
		cdc_evidence_begin(p->name, new->target, new->inferred);
	if (new->target)
		cdc_staging_depend(p);
}

/* All checks; fills in what they find out. */
static void
check_pipeline(NewPipeline *new)
{
	CdcPipeline *p = &new->p;

	lock_name(p->name);
	check_name_free(p->name);
	if (OidIsValid(new->create->topic))
		check_topic(new->create->topic);
	if (new->create->options->landing)
	{
		if (strcmp(new->create->options->start, "earliest") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("options \"start\" and \"landing\" exclude each other"),
					 errhint("An existing landing has its own position. Leave out \"start\".")));
		p->landing = named_landing(new->create->options->landing, new->create->topic);
	}
	if (new->create->options->schema_topic)
		p->schema_landing = schema_landing(new->create->options->schema_topic);
	if (OidIsValid(p->target))
		cdc_target_check(p->target, p->owner);
	p->helper_schema = new->create->options->helper_schema;
	p->target_schema = new->create->options->target_schema;
	new->helper_nsp = cdc_creation_schema(&p->helper_schema);
	if (OidIsValid(p->target) && p->target_schema == NULL)
		p->target_schema = p->helper_schema;
	else
		new->target_nsp = cdc_creation_schema(&p->target_schema);
	check_relations_free(new);

	new->inferred = new->create->sampled ? new->create->inferred :
		cdc_create_infer(new->create->topic, p->landing, new->create->options);
	cdc_target_check_fields(p->readings, new->inferred);
	if (OidIsValid(p->target))
	{
		p->key = cdc_target_choose_key(p, new->create->key, new->inferred);
		new->target = cdc_target_describe(p->target, p->key, p->readings, p->strict, p->mode);
		cdc_target_check_columns(new->target, p->readings, new->inferred,
					  new->create->whole_target);
		if (new->target->keyless)
			cdc_create_check_replace(new->create->options, false);
		if (new->target->keyless && !new->create->quiet)
			cdc_target_tell_keyless(get_rel_name(p->target));
		if (new->inferred)
			cdc_fit_check(new->target, new->inferred);
		cdc_intake_check_shared(p->name, new->target);
		cdc_target_check_index(new->target, p->key);
	}
	else
		p->key = new->create->key;
}

static List *
key_argument(ArrayType *array)
{
	List	   *key = NIL;
	Datum	   *elems;
	bool	   *nulls;
	int			nelems;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT,
					  &elems, &nulls, &nelems);
	for (int i = 0; i < nelems; i++)
	{
		char	   *column = nulls[i] ? NULL : TextDatumGetCString(elems[i]);
		ListCell   *lc;

		if (column == NULL || column[0] == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"key\" must not contain nulls or empty names"),
					 errhint("Name columns of the target, as in key => ARRAY['customer_id'].")));
		foreach(lc, key)
		{
			if (strcmp(lfirst(lc), column) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("column \"%s\" appears twice in \"key\"", column),
						 errhint("Name each key column once.")));
		}
		key = lappend(key, column);
	}
	if (key == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"key\" must not be empty"),
				 errhint("Leave it out to use the target's primary key or the key of the events.")));
	return key;
}

CdcPipeline *
cdc_pipeline_create(const CdcCreate *create)
{
	NewPipeline *new = palloc0(sizeof(NewPipeline));
	CdcPipeline *p = &new->p;
	const CdcOptions *options = create->options;

	check_name(create->name);
	new->create = create;
	p->name = pstrdup(create->name);
	p->owner = GetUserId();
	p->target = create->target;
	p->columns = create->columns;
	p->readings = cdc_readings_parse(p->columns);
	p->strict = options->strict;
	p->mode = options->mode;
	p->max_quarantine_share = options->max_quarantine_share;
	p->placeholder = options->placeholder;
	p->target_name = options->target_name ? options->target_name :
		psprintf("%s_target", p->name);

	cdc_create_check_replace(options, p->mode != CDC_MODE_APPEND);
	if (p->mode == CDC_MODE_APPEND && create->key != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mode \"append\" has no key"),
				 errdetail("Each change is a row of its own."),
				 errhint("Leave out \"key\".")));
	check_pipeline(new);
	make_pipeline(new);
	return p;
}

/*
 * cdc_create(name text, topic regclass, target regclass, key text[],
 *			  columns jsonb, options jsonb)
 */
Datum
cdc_create(PG_FUNCTION_ARGS)
{
	CdcCreate	create = {0};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("pipeline name must not be null"),
				 errhint("A name has 1 to 48 bytes.")));
	create.name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	check_name(create.name);
	create.topic = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);
	create.target = PG_ARGISNULL(2) ? InvalidOid : PG_GETARG_OID(2);
	create.key = PG_ARGISNULL(3) ? NIL : key_argument(PG_GETARG_ARRAYTYPE_P(3));
	create.columns = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4);
	create.options = cdc_options_parse(PG_ARGISNULL(5) ?
									   DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) :
									   PG_GETARG_JSONB_P(5));
	(void) cdc_pipeline_create(&create);
	PG_RETURN_VOID();
}
