/*-------------------------------------------------------------------------
 *
 * topic_import.c
 *	  IMPORT FOREIGN SCHEMA: a foreign table for every topic.
 *
 * The table is named as the topic.  A name that is too long for PostgreSQL is
 * cut and gets a hash of the whole name, so that it is the same at every
 * import.  What is already there is left out, so that importing again brings
 * only what is new.  The server drops the commands that LIMIT TO and EXCEPT do
 * not want; the same test is made here first, to say nothing about topics that
 * nobody asked for.
 *
 * Runs in the caller's transaction, as the user who imports.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "kafka.h"
#include "kafka_options.h"
#include "topic_fdw.h"

#define REMOTE_SCHEMA	"kafka"
#define HASH_SUFFIX		9		/* "_" and 8 digits */

char *
cdc_topic_name_hashed(const char *name, const char *topic, int max)
{
	int			len = strlen(name);
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, topic, strlen(topic));
	FIN_CRC32C(crc);
	len = pg_mbcliplen(name, len, max - HASH_SUFFIX);
	return psprintf("%.*s_%08x", len, name, crc);
}

char *
cdc_topic_name_cut(const char *name, const char *topic, int max)
{
	return strlen(name) <= max ? pstrdup(name)
		: cdc_topic_name_hashed(name, topic, max);
}

char *
cdc_topic_table_name(const char *topic)
{
	return cdc_topic_name_cut(topic, topic, NAMEDATALEN - 1);
}

static bool
in_list(List *table_list, const char *name)
{
	ListCell   *lc;

	foreach(lc, table_list)
		if (strcmp(lfirst_node(RangeVar, lc)->relname, name) == 0)
			return true;
	return false;
}

static bool
is_wanted(ImportForeignSchemaStmt *stmt, const char *topic, const char *name)
{
	bool		internal = strncmp(topic, "__", 2) == 0;

	switch (stmt->list_type)
	{
		case FDW_IMPORT_SCHEMA_LIMIT_TO:
			return in_list(stmt->table_list, name);
		case FDW_IMPORT_SCHEMA_EXCEPT:
			return !internal && !in_list(stmt->table_list, name);
		default:
			return !internal;
	}
}

/* Is the relation the foreign table of that topic? */
static bool
is_table_of_topic(Oid relid, Oid serverid, const char *topic)
{
	Oid			table_serverid;

	if (get_rel_relkind(relid) != RELKIND_FOREIGN_TABLE ||
		GetForeignTable(relid)->serverid != serverid)
		return false;
	return strcmp(cdc_kafka_topic(relid, &table_serverid), topic) == 0;
}

/* May a table of that name be made?  If not, says why unless it is there. */
static bool
is_free(const char *name, const char *topic, Oid nspid, Oid serverid)
{
	Oid			relid = get_relname_relid(name, nspid);

	if (OidIsValid(relid) && is_table_of_topic(relid, serverid, topic))
		return false;
	if (OidIsValid(relid) ||
		SearchSysCacheExists2(TYPENAMENSP, CStringGetDatum(name),
							  ObjectIdGetDatum(nspid)))
	{
		ereport(NOTICE,
				(errmsg("topic \"%s\" is not imported", topic),
				 errdetail("There is another relation or type \"%s\" in schema \"%s\".",
						   name, get_namespace_name(nspid)),
				 errhint("Create a foreign table of another name with the option \"topic\".")));
		return false;
	}
	return true;
}

char *
cdc_topic_table_command(const char *table, const char *topic, const char *server)
{
	return psprintf("CREATE FOREIGN TABLE %s (\n"
					"  kafka_partition bigint,\n"
					"  kafka_offset bigint,\n"
					"  kafka_timestamp_type pg_catalog.\"char\",\n"
					"  kafka_timestamp timestamp,\n"
					"  kafka_key pg_catalog.bytea,\n"
					"  kafka_value pg_catalog.bytea,\n"
					"  kafka_headers pg_catalog.jsonb\n"
					") SERVER %s OPTIONS (topic %s)",
					table, quote_identifier(server),
					quote_literal_cstr(topic));
}

/* Names in LIMIT TO that are no topic: most likely a mistake. */
static void
report_missing(ImportForeignSchemaStmt *stmt, List *topics)
{
	ListCell   *lc;

	foreach(lc, stmt->table_list)
	{
		char	   *wanted = lfirst_node(RangeVar, lc)->relname;
		char	   *similar = NULL;
		bool		found = false;
		ListCell   *topic;

		foreach(topic, topics)
		{
			char	   *name = cdc_topic_table_name(lfirst(topic));

			if (strcmp(name, wanted) == 0)
				found = true;
			/* a long name, which the parser has cut */
			else if (strlen(wanted) == NAMEDATALEN - 1 &&
					 strncmp(lfirst(topic), wanted, NAMEDATALEN - 1) == 0)
				similar = name;
		}
		if (!found)
			ereport(NOTICE,
					(errmsg("topic \"%s\" does not exist on Kafka server \"%s\"",
							wanted, stmt->server_name),
					 similar ? errhint("A topic with a long name is imported as \"%s\".",
									   similar) : 0));
	}
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* The topics in a fixed order: those that keep their names come first. */
static int
compare_topics(const ListCell *a, const ListCell *b)
{
	bool		long_a = strlen(lfirst(a)) >= NAMEDATALEN;
	bool		long_b = strlen(lfirst(b)) >= NAMEDATALEN;

	return long_a != long_b ? (int) long_a - (int) long_b
		: compare_names(a, b);
}

static List *
get_topics(Oid serverid)
{
	CdcKafka   *kafka = cdc_kafka_open(serverid, GetUserId(), 0);
	List	   *topics = cdc_kafka_topics(kafka);

	cdc_kafka_close(kafka);
	list_sort(topics, compare_topics);
	return topics;
}

List *
cdc_topic_import(ImportForeignSchemaStmt *stmt, Oid serverid)
{
	Oid			nspid = LookupExplicitNamespace(stmt->local_schema, false);
	List	   *commands = NIL;
	List	   *names = NIL;	/* String: taken by this import */
	List	   *topics;
	ListCell   *lc;

	if (strcmp(stmt->remote_schema, REMOTE_SCHEMA) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_SCHEMA_NOT_FOUND),
				 errmsg("schema \"%s\" does not exist on Kafka server \"%s\"",
						stmt->remote_schema, stmt->server_name),
				 errhint("The topics are in the schema \"%s\".", REMOTE_SCHEMA)));
	if (stmt->options != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("invalid option \"%s\"",
						linitial_node(DefElem, stmt->options)->defname),
				 errhint("There are no valid options in this context.")));

	topics = get_topics(serverid);
	foreach(lc, topics)
	{
		char	   *topic = lfirst(lc);
		char	   *name = cdc_topic_table_name(topic);

		if (!is_wanted(stmt, topic, name))
			continue;
		if (list_member(names, makeString(name)))
		{
			ereport(NOTICE,
					(errmsg("topic \"%s\" is not imported", topic),
					 errdetail("Another topic has the name \"%s\".", name),
					 errhint("Create a foreign table of another name with the option \"topic\".")));
			continue;
		}
		names = lappend(names, makeString(name));
		if (!is_free(name, topic, nspid, serverid))
			continue;
		if (strcmp(name, topic) != 0)
			ereport(NOTICE,
					(errmsg("topic \"%s\" is imported as \"%s\"", topic, name),
					 errdetail("Names of tables have at most %d bytes.",
							   NAMEDATALEN - 1)));
		commands = lappend(commands,
						   cdc_topic_table_command(quote_identifier(name), topic,
												   stmt->server_name));
	}
	if (stmt->list_type == FDW_IMPORT_SCHEMA_LIMIT_TO)
		report_missing(stmt, topics);
	return commands;
}
