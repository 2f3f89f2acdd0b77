/*-------------------------------------------------------------------------
 *
 * verify.c
 *	  cdc_verify(): a target against the source's table.
 *
 * The source is a relation that the caller may read, such as a foreign table of
 * postgres_fdw or mysql_fdw, or a CSV file on the server, which is copied into a
 * temporary table first.  Its columns are found by the names that the events
 * have, and compared as the target's types.  That is one statement: a full join
 * by the key, whose hashes and sorts go to disk where memory ends.
 *
 * A key that differs while records of it are in quarantine, or have landed and
 * are not synced yet, is told apart: there is nothing to find out about it.
 *
 * In the caller's transaction.  The source is read as the caller, and the server
 * checks what he may read, files included.  The comparison is run as the
 * pipeline's owner, in a security-restricted operation, because casts to the
 * target's types, and a view as target, run code of the owner's.  What the owner
 * may not read is copied as the caller, as it is, into a temporary table that he
 * may; only the columns that are compared.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "catalog.h"
#include "compat.h"
#include "merge_sql.h"
#include "pipeline.h"
#include "target.h"

/* The header line of a file is looked for in so many bytes. */
#define HEADER_BYTES	65536

#define TEMP_NAME		"cdc_verify_source"

PG_FUNCTION_INFO_V1(cdc_verify);
PG_FUNCTION_INFO_V1(cdc_verify_keys);

typedef struct Verify
{
	CdcPipeline *pipeline;
	CdcTarget  *target;
	char	   *source;			/* SQL name of what is compared with */
	List	   *names;			/* char *: its columns */
	bool		copied;			/* it is the temporary table */
	char	  **columns;		/* [ncolumns] the source's column for the target's, or
								 * NULL: it is not compared */
} Verify;

/* ----------
 * The source
 * ----------
 */

/* One name of a header line; returns what follows, NULL at the end. */
static const char *
next_name(const char *p, StringInfo name)
{
	bool		quoted = *p == '"';

	resetStringInfo(name);
	if (quoted)
		p++;
	for (; *p; p++)
	{
		if (quoted && *p == '"' && p[1] == '"')
			p++;
		else if (quoted && *p == '"')
		{
			quoted = false;
			continue;
		}
		else if (!quoted && (*p == ',' || *p == '\n' || *p == '\r'))
			break;
		appendStringInfoChar(name, *p);
	}
	return *p == ',' ? p + 1 : NULL;
}

static List *
header_names(const char *file)
{
	char	   *buf = palloc(HEADER_BYTES + 1);
	FILE	   *f = AllocateFile(file, PG_BINARY_R);
	StringInfoData name;
	List	   *names = NIL;
	size_t		n;

	if (f == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\" for reading: %m", file)));
	n = fread(buf, 1, HEADER_BYTES, f);
	if (ferror(f))
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", file)));
	buf[n] = '\0';
	FreeFile(f);
	/* as COPY does: a byte order mark is no part of the first name */
	if (strncmp(buf, "\xEF\xBB\xBF", 3) == 0)
		buf += 3;
	initStringInfo(&name);
	for (const char *p = buf; p;)
	{
		p = next_name(p, &name);
		if (name.len == 0)
			ereport(ERROR,
					(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
					 errmsg("a column of file \"%s\" has no name", file),
					 errhint("Its first line must have the names of the columns, separated by commas.")));
		names = lappend(names, pstrdup(name.data));
	}
	return names;
}

/* Make the temporary table; it is for the eyes of the pipeline's owner, too. */
static void
make_copy(Verify *verify, const char *definition)
{
	Oid			temp = LookupNamespaceNoError("pg_temp");

	/* of an earlier call of the transaction; without the NOTICE of IF EXISTS */
	if (OidIsValid(temp) && OidIsValid(get_relname_relid(TEMP_NAME, temp)))
		(void) cdc_spi_run("DROP TABLE pg_temp." TEMP_NAME, 0, NULL, NULL, NULL, 0);
	(void) cdc_spi_run(psprintf("CREATE TEMPORARY TABLE " TEMP_NAME " %s", definition),
					   0, NULL, NULL, NULL, 0);
	if (verify->pipeline->owner != GetUserId())
		(void) cdc_spi_run(psprintf("GRANT SELECT ON TABLE pg_temp." TEMP_NAME " TO %s",
									quote_identifier(GetUserNameFromId(verify->pipeline->owner, false))),
						   0, NULL, NULL, NULL, 0);
	verify->source = "pg_temp." TEMP_NAME;
	verify->copied = true;
}

/* Copy a file into a temporary table. */
static void
read_file(Verify *verify, const char *file)
{
	StringInfoData sql;
	ListCell   *lc;

	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must have privileges of role \"pg_read_server_files\" to read a file of the server"),
				 errhint("Copy the file into a table, and give that as source.")));
	verify->names = header_names(file);
	initStringInfo(&sql);
	appendStringInfoChar(&sql, '(');
	foreach(lc, verify->names)
		appendStringInfo(&sql, "%s%s pg_catalog.text", foreach_current_index(lc) ? ", " : "",
						 quote_identifier(lfirst(lc)));
	appendStringInfoString(&sql, ") ON COMMIT DROP");
	make_copy(verify, sql.data);
	(void) cdc_spi_run(psprintf("COPY pg_temp." TEMP_NAME " FROM %s (FORMAT csv, HEADER true)",
								quote_literal_cstr(file)),
					   0, NULL, NULL, NULL, 0);
}

/* Error if the caller may not read the relation, as a statement of his does. */
static void
check_readable(Oid relid)
{
	Oid			nspid = get_rel_namespace(relid);
	AclResult	result = object_aclcheck_compat(NamespaceRelationId, nspid, GetUserId(), ACL_USAGE);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_SCHEMA, get_namespace_name(nspid));
	result = pg_class_aclcheck(relid, GetUserId(), ACL_SELECT);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, get_relkind_objtype(get_rel_relkind(relid)), get_rel_name(relid));
}

/* It is read as the pipeline's owner: the caller must be one who sees all of it. */
static void
check_target(Oid owner, Oid relid)
{
	check_readable(relid);
	if (owner != GetUserId() &&
		check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security policies of %s hide rows from you",
						cdc_qualified_name(relid)),
				 errhint("Let the owner of the pipeline compare it.")));
}

/*
 * Can the pipeline's owner read it in the caller's place, and see the same?  Not
 * so a foreign table, whose user mapping is the reader's, or a view, which may
 * ask who reads it.
 */
static bool
owner_reads(Oid owner, Oid relid)
{
	char		relkind = get_rel_relkind(relid);

	if (owner == GetUserId())
		return true;
	return (relkind == RELKIND_RELATION || relkind == RELKIND_MATVIEW) &&
		object_aclcheck_compat(NamespaceRelationId, get_rel_namespace(relid), owner,
							   ACL_USAGE) == ACLCHECK_OK &&
		pg_class_aclcheck(relid, owner, ACL_SELECT) == ACLCHECK_OK &&
		check_enable_rls(relid, InvalidOid, true) != RLS_ENABLED &&
		check_enable_rls(relid, owner, true) != RLS_ENABLED;
}

static void
read_relation(Verify *verify, Oid relid)
{
	Relation	rel;
	TupleDesc	desc;

	check_readable(relid);
	rel = relation_open(relid, AccessShareLock);
	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
			verify->names = lappend(verify->names,
									pstrdup(NameStr(TupleDescAttr(desc, i)->attname)));
	verify->source = cdc_qualified_name(relid);
	relation_close(rel, NoLock);
}

/* The source's column of that name: as it is, else in another case. */
static char *
find_name(const Verify *verify, const char *name)
{
	ListCell   *lc;

	foreach(lc, verify->names)
		if (strcmp(lfirst(lc), name) == 0)
			return lfirst(lc);
	foreach(lc, verify->names)
		if (pg_strcasecmp(lfirst(lc), name) == 0)
			return lfirst(lc);
	return NULL;
}

static char *
field_name(const CdcTarget *target, const CdcColumn *c)
{
	const CdcField *f = c->source == CDC_COLUMN_FIELD ? &target->fields[c->index] :
	&target->source_fields[c->index];

	return pnstrdup(f->name, f->len);
}

static void
match_columns(Verify *verify)
{
	const CdcTarget *target = verify->target;

	verify->columns = palloc0(sizeof(char *) * target->ncolumns);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const CdcColumn *c = &target->columns[i];
		char	   *name = NULL;

		if (c->source == CDC_COLUMN_FIELD)
			name = find_name(verify, field_name(target, c));
		if (name == NULL && cdc_column_is_field(c->source) && (c->source != CDC_COLUMN_FIELD || c->key_no >= 0))
			name = find_name(verify, c->name);
		if (name == NULL && c->key_no >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("the source has no column \"%s\" for the key column \"%s\"",
							field_name(target, c), c->name),
					 errhint("Give a relation, or a file with a header line, that has the columns of the source's table.")));
		verify->columns[i] = name;
	}
}

/* Copy what is compared of a relation that the pipeline's owner may not read. */
static void
copy_relation(Verify *verify)
{
	StringInfoData sql;
	List	   *done = NIL;

	initStringInfo(&sql);
	for (int i = 0; i < verify->target->ncolumns; i++)
	{
		char	   *name = verify->columns[i];

		/* several columns may be filled from one, which find_name() gives as it is */
		if (name == NULL || list_member_ptr(done, name))
			continue;
		appendStringInfo(&sql, "%sx.%s", done ? ", " : "ON COMMIT DROP AS SELECT ",
						 quote_identifier(name));
		done = lappend(done, name);
	}
	appendStringInfo(&sql, " FROM %s x", verify->source);
	make_copy(verify, sql.data);
}

/* ----------
 * The statement
 * ----------
 */

/*
 * Can values of the type be compared, by an operator that the pinned search_path
 * finds, and hashed?  Else their text is.
 */
static bool
has_equality(Oid typid)
{
	TypeCacheEntry *type = lookup_type_cache(typid, TYPECACHE_EQ_OPR | TYPECACHE_HASH_EXTENDED_PROC);

	return OidIsValid(type->eq_opr) && OidIsValid(type->hash_extended_proc) &&
		get_func_namespace(get_opcode(type->eq_opr)) == PG_CATALOG_NAMESPACE;
}

/* Column i, of one side, as the target's type. */
static char *
value_of(const Verify *verify, int i, bool of_source)
{
	const CdcColumn *c = &verify->target->columns[i];
	char	   *value = psprintf("x.%s", quote_identifier(of_source ? verify->columns[i] : c->name));

	/* of any length: "character" alone would be one of 1 */
	if (of_source)
		value = psprintf("CAST(%s AS %s)", value,
						 format_type_extended(c->typid, -1, FORMAT_TYPE_TYPEMOD_GIVEN |
											  FORMAT_TYPE_FORCE_QUALIFY));
	return c->key_no >= 0 || has_equality(c->typid) ? value : psprintf("CAST(%s AS pg_catalog.text)", value);
}

/* Condition that a row of the target stands for one that the source has now. */
static char *
is_there(const CdcTarget *target)
{
	const CdcColumn *ended = cdc_target_pseudo(target, CDC_COLUMN_DELETED_AT);

	if (ended == NULL)
		ended = cdc_target_pseudo(target, CDC_COLUMN_VALID_TO);
	return ended ? psprintf(" WHERE x.%s IS NULL", quote_identifier(ended->name)) : "";
}

/* "SELECT .." of one side: the columns that are compared, by the target's names. */
static char *
side(const Verify *verify, bool of_source)
{
	StringInfoData sql;
	bool		first = true;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 0; i < verify->target->ncolumns; i++)
		if (verify->columns[i])
		{
			appendStringInfo(&sql, "%s%s AS %s", first ? "" : ", ",
							 value_of(verify, i, of_source),
							 quote_identifier(verify->target->columns[i].name));
			first = false;
		}
	appendStringInfo(&sql, ", true AS \"cdc here\" FROM %s x%s",
					 of_source ? verify->source : cdc_qualified_name(verify->target->relid),
					 of_source ? "" : is_there(verify->target));
	return sql.data;
}

/* "a.x, a.y": columns that are compared; only the key's, or all. */
static char *
column_list(const Verify *verify, const char *alias, bool keys)
{
	const CdcTarget *target = verify->target;
	StringInfoData sql;

	initStringInfo(&sql);
	for (int i = 0; i < (keys ? target->nkeys : target->ncolumns); i++)
	{
		int			at = keys ? target->keys[i] : i;

		if (verify->columns[at])
			appendStringInfo(&sql, "%s%s.%s", sql.len ? ", " : "", alias,
							 quote_identifier(target->columns[at].name));
	}
	return sql.data;
}

/* The key as people, and records in quarantine, spell it. */
static char *
key_text(const Verify *verify)
{
	const CdcTarget *target = verify->target;
	StringInfoData sql;

	initStringInfo(&sql);
	for (int k = 0; k < target->nkeys; k++)
		appendStringInfo(&sql, "%sCAST(coalesce(t.%s, s.%s) AS pg_catalog.text)", k ? ", " : "",
						 quote_identifier(target->columns[target->keys[k]].name),
						 quote_identifier(target->columns[target->keys[k]].name));
	return target->nkeys == 1 ? sql.data :
		psprintf("CAST(ROW(%s) AS pg_catalog.text)", sql.data);
}

/* The same of a record's key, in kafka_key. */
static char *
record_key_text(const Verify *verify)
{
	const CdcTarget *target = verify->target;
	StringInfoData sql;

	initStringInfo(&sql);
	for (int k = 0; k < target->nkeys; k++)
	{
		char	   *name = field_name(target, &target->columns[target->keys[k]]);

		appendStringInfo(&sql, "%s(SELECT m.value FROM pg_catalog.jsonb_each_text("
						 "CASE pg_catalog.jsonb_typeof(j.o) WHEN 'object' THEN j.o END) m"
						 " WHERE pg_catalog.lower(m.key) OPERATOR(pg_catalog.=) pg_catalog.lower(%s) LIMIT 1)",
						 k ? ", " : "", quote_literal_cstr(name));
	}
	return target->nkeys == 1 ? sql.data :
		psprintf("CAST(ROW(%s) AS pg_catalog.text)", sql.data);
}

/*
 * "reason": records of the key are in quarantine, or have landed behind the
 * watermark.  A landing of another role is not looked at: its view may have code
 * of theirs, which must not run as the pipeline's owner.
 */
static char *
excuses(const Verify *verify)
{
	const CdcPipeline *p = verify->pipeline;
	char	   *key = record_key_text(verify);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s AS key, 'quarantine' AS reason FROM cdcsync.quarantine q,"
					 " LATERAL (SELECT cdcsync.json_parse_or_null(q.kafka_key) AS o) i,"
					 " LATERAL (SELECT coalesce(i.o -> 'payload', i.o) AS o) j"
					 " WHERE q.pipeline OPERATOR(pg_catalog.=) %s",
					 key, quote_literal_cstr(p->name));
	if (p->landing->owner == p->owner &&
		pg_class_aclcheck(p->landing->view, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		appendStringInfo(&sql, " UNION SELECT %s, 'not synced yet'"
						 " FROM cdcsync.position o LEFT JOIN cdcsync.watermark w"
						 " ON w.pipeline OPERATOR(pg_catalog.=) %s"
						 " AND w.kafka_partition OPERATOR(pg_catalog.=) o.kafka_partition"
						 " JOIN %s q ON q.kafka_partition OPERATOR(pg_catalog.=) o.kafka_partition"
						 " AND q.kafka_offset OPERATOR(pg_catalog.>=) coalesce(w.next_offset, 0),"
						 " LATERAL (SELECT cdcsync.json_parse_or_null(q.kafka_key) AS o) i,"
						 " LATERAL (SELECT coalesce(i.o -> 'payload', i.o) AS o) j"
						 " WHERE o.landing_id OPERATOR(pg_catalog.=) %d"
						 " AND (w.epoch IS NULL OR (w.epoch, w.next_offset) < (o.epoch, o.next_offset))",
						 key, quote_literal_cstr(p->name),
						 cdc_qualified_name(p->landing->view), p->landing->id);
	return sql.data;
}

/* WITH joined: a row for each key that either side has. */
static char *
joined(const Verify *verify)
{
	const CdcTarget *target = verify->target;
	StringInfoData sql;
	StringInfoData keys;
	StringInfoData differing;

	initStringInfo(&keys);
	for (int k = 0; k < target->nkeys; k++)
		appendStringInfo(&keys, "%scoalesce(t.%s, s.%s) AS k%d", k ? ", " : "",
						 quote_identifier(target->columns[target->keys[k]].name),
						 quote_identifier(target->columns[target->keys[k]].name), k);
	initStringInfo(&differing);
	for (int i = 0; i < target->ncolumns; i++)
		if (verify->columns[i] && target->columns[i].key_no < 0)
			appendStringInfo(&differing, "%sCASE WHEN t.%s IS DISTINCT FROM s.%s THEN %s END",
							 differing.len ? ", " : "",
							 quote_identifier(target->columns[i].name),
							 quote_identifier(target->columns[i].name),
							 quote_literal_cstr(target->columns[i].name));
	initStringInfo(&sql);
	appendStringInfo(&sql, "WITH excuse AS MATERIALIZED (%s), joined AS ("
					 "SELECT %s, %s AS key, s.\"cdc here\" AS in_source, t.\"cdc here\" AS in_target,"
					 " CASE WHEN s.\"cdc here\" THEN pg_catalog.hash_record_extended(ROW(%s), 0) END AS source_hash,"
					 " CASE WHEN t.\"cdc here\" THEN pg_catalog.hash_record_extended(ROW(%s), 0) END AS target_hash,"
					 " CASE WHEN s.\"cdc here\" AND t.\"cdc here\" THEN"
					 "  pg_catalog.array_remove(ARRAY[%s]::pg_catalog.text[], NULL) END AS columns"
					 " FROM (%s) s FULL JOIN (%s) t ON %s), ",
					 excuses(verify), keys.data, key_text(verify),
					 column_list(verify, "s", false), column_list(verify, "t", false),
					 differing.data, side(verify, true), side(verify, false),
					 cdc_sql_key_join(target, "t", "s"));
	return sql.data;
}

/* "k0, k1": as the keys are sorted. */
static char *
key_order(const Verify *verify)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int k = 0; k < verify->target->nkeys; k++)
	{
		Oid			typid = verify->target->columns[verify->target->keys[k]].typid;
		bool		sorts = OidIsValid(lookup_type_cache(typid, TYPECACHE_LT_OPR)->lt_opr);

		appendStringInfo(&sql, sorts ? "%sk%d" : "%sCAST(k%d AS pg_catalog.text)",
						 k ? ", " : "", k);
	}
	return sql.data;
}

#define DIFFERS "(in_source IS NULL OR in_target IS NULL OR columns <> '{}')"

/* ----------
 * SQL
 * ----------
 */
static void
begin_verify(Verify *verify, FunctionCallInfo fcinfo)
{
	cdc_pipeline_check_argument(fcinfo);
	if (PG_ARGISNULL(1) == PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("give either a source or a file to compare with"),
				 errhint("Use source => 'foreign_table', or file => '/path/of/a.csv'.")));
	if (PG_ARGISNULL(3) || PG_GETARG_INT32(3) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the number of rows to return must be at least 1")));
	verify->pipeline = cdc_pipeline_get(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (!OidIsValid(verify->pipeline->target))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pipeline \"%s\" has no target yet", verify->pipeline->name),
				 errhint("It is made from the first event.")));
}

/* The statement's rows are the function's; $1 is argument 3. */
static void
return_rows(FunctionCallInfo fcinfo, const char *sql)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			types[] = {INT4OID};
	Datum		args[] = {PG_GETARG_DATUM(3)};
	int			natts = rsinfo->setDesc->natts;
	Datum	   *values = palloc(sizeof(Datum) * natts);
	bool	   *nulls = palloc(sizeof(bool) * natts);
	uint64		n = cdc_spi_look(sql, 1, types, args, 0);

	for (uint64 i = 0; i < n; i++)
	{
		for (int c = 0; c < natts; c++)
			values[c] = cdc_spi_value(i, c + 1, &nulls[c]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/* As the pipeline's owner; what it makes is in the caller's memory context. */
static void
describe_target(Verify *verify)
{
	MemoryContext context = CurrentMemoryContext;
	const CdcPipeline *p = verify->pipeline;
	CdcSpi		spi;

	cdc_spi_begin_as(&spi, p->owner, NULL);
	MemoryContextSwitchTo(context);
	verify->target = cdc_target_describe(p->target, p->key, p->readings, p->strict, p->mode);
	cdc_spi_end(&spi);
	if (verify->target->nkeys == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the target of pipeline \"%s\" has no key to compare by", p->name)));
}

/* As the caller. */
static void
read_source(Verify *verify, FunctionCallInfo fcinfo)
{
	Oid			relid = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);

	if (OidIsValid(relid))
		read_relation(verify, relid);
	else
		read_file(verify, text_to_cstring(PG_GETARG_TEXT_PP(2)));
	check_target(verify->pipeline->owner, verify->pipeline->target);
	match_columns(verify);
	if (OidIsValid(relid) && !owner_reads(verify->pipeline->owner, relid))
		copy_relation(verify);
}

/* As the pipeline's owner. */
static void
compare(const Verify *verify, FunctionCallInfo fcinfo, char *(*statement) (const Verify *))
{
	CdcSpi		spi;

	cdc_spi_begin_as(&spi, verify->pipeline->owner, NULL);
	/* what was copied is to be seen by it */
	if (verify->copied)
		PushActiveSnapshot(GetTransactionSnapshot());
	return_rows(fcinfo, statement(verify));
	if (verify->copied)
		PopActiveSnapshot();
	cdc_spi_end(&spi);
}

static void
run_verify(FunctionCallInfo fcinfo, char *(*statement) (const Verify *))
{
	Verify		verify = {0};
	CdcSpi		spi;

	begin_verify(&verify, fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	cdc_spi_begin(&spi, NULL);
	describe_target(&verify);
	read_source(&verify, fcinfo);
	compare(&verify, fcinfo, statement);
	if (verify.copied)
		(void) cdc_spi_run("DROP TABLE pg_temp." TEMP_NAME, 0, NULL, NULL, NULL, 0);
	cdc_spi_end(&spi);
}

static char *
ranges_statement(const Verify *verify)
{
	char	   *order = key_order(verify);

	return psprintf("%snumbered AS (SELECT *, ntile($1) OVER (ORDER BY %s) AS n FROM joined),"
					" bounded AS (SELECT *, lag(n) OVER w IS DISTINCT FROM n AS first,"
					"  lead(n) OVER w IS DISTINCT FROM n AS last FROM numbered WINDOW w AS (ORDER BY %s))"
					" SELECT n, max(key) FILTER (WHERE first), max(key) FILTER (WHERE last),"
					" count(in_source), count(in_target),"
					" bit_xor(source_hash), bit_xor(target_hash),"
					" count(*) FILTER (WHERE in_target IS NULL), count(*) FILTER (WHERE in_source IS NULL),"
					" count(*) FILTER (WHERE columns <> '{}'),"
					" count(*) FILTER (WHERE CASE WHEN " DIFFERS " THEN key IN (SELECT e.key FROM excuse e WHERE e.key IS NOT NULL) END),"
					" count(*) FILTER (WHERE " DIFFERS ") = 0"
					" FROM bounded GROUP BY n ORDER BY n",
					joined(verify), order, order);
}

static char *
keys_statement(const Verify *verify)
{
	char	   *order = key_order(verify);

	return psprintf("%sdiffers AS (SELECT * FROM joined WHERE " DIFFERS " ORDER BY %s LIMIT $1)"
					" SELECT d.key, CASE WHEN in_target IS NULL THEN 'missing'"
					" WHEN in_source IS NULL THEN 'surplus' ELSE 'different' END,"
					" nullif(columns, '{}'),"
					" (SELECT min(e.reason) FROM excuse e WHERE e.key = d.key)"
					" FROM differs d ORDER BY %s",
					joined(verify), order, order);
}

/*
 * cdc_verify(name text, source regclass, file text, ranges int)
 */
Datum
cdc_verify(PG_FUNCTION_ARGS)
{
	run_verify(fcinfo, ranges_statement);
	PG_RETURN_NULL();
}

/*
 * cdc_verify_keys(name text, source regclass, file text, max_keys int)
 */
Datum
cdc_verify_keys(PG_FUNCTION_ARGS)
{
	run_verify(fcinfo, keys_statement);
	PG_RETURN_NULL();
}
