/*-------------------------------------------------------------------------
 *
 * topic_names.c
 *	  What the name of a topic tells: names for its pipeline and target, and
 *	  whether it holds the changes of a table at all.
 *
 * Debezium names topics prefix.database.table or prefix.schema.table; and those
 * that it keeps for itself in fixed ways, so that they can be known before they
 * have a record.
 *
 * Reads no catalog and takes no lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "cdcsync.h"
#include "topic_fdw.h"
#include "topic_names.h"

/* A name that a pipeline could have. */
typedef struct NameEntry
{
	char		name[CDC_NAME_MAX + 1];
	int			users;			/* topics that could give it to theirs */
	bool		taken;			/* a pipeline has it */
} NameEntry;

/* The first part of topics' names. */
typedef struct PrefixEntry
{
	char		prefix[CDC_TOPIC_MAX + 1];
} PrefixEntry;

struct CdcTopicNames
{
	HTAB	   *names;
	HTAB	   *prefixes;
};

/* The last nparts parts of a name; NULL if it has not so many. */
static const char *
last_parts(const char *topic, int nparts)
{
	const char *p = topic + strlen(topic);

	while (p > topic)
	{
		if (p[-1] == '.' && --nparts == 0)
			return p;
		p--;
	}
	return nparts == 1 ? topic : NULL;
}

/* In the form of a name that needs no quotes, as a rule. */
static char *
plain_name(const char *parts)
{
	char	   *name = pstrdup(parts);

	for (char *p = name; *p; p++)
	{
		*p = pg_ascii_tolower((unsigned char) *p);
		if (!(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9') &&
			!IS_HIGHBIT_SET(*p))
			*p = '_';
	}
	return name;
}

/* The pipeline's name made of some parts of the topic's. */
static char *
pipeline_name(const char *topic, const char *parts)
{
	return cdc_topic_name_cut(plain_name(parts), topic, CDC_NAME_MAX);
}

static char *
target_name(const char *topic, const char *parts)
{
	char	   *name = pstrdup(parts);

	for (char *p = name; *p; p++)
		if (*p == '.')
			*p = '_';
	return cdc_topic_name_cut(name, topic, NAMEDATALEN - 1);
}

static NameEntry *
name_entry(CdcTopicNames *names, const char *name)
{
	char		key[CDC_NAME_MAX + 1];
	NameEntry  *entry;
	bool		found;

	strlcpy(key, name, sizeof(key));
	entry = hash_search(names->names, key, HASH_ENTER, &found);
	if (!found)
	{
		entry->users = 0;
		entry->taken = false;
	}
	return entry;
}

static void
add_topic(CdcTopicNames *names, const char *topic)
{
	const char *dot = strchr(topic, '.');
	const char *parts;

	for (int n = 1; (parts = last_parts(topic, n)) != NULL; n++)
	{
		char	   *name = pipeline_name(topic, parts);

		name_entry(names, name)->users++;
		pfree(name);
	}
	if (dot && strlen(topic) <= CDC_TOPIC_MAX)
	{
		char		prefix[CDC_TOPIC_MAX + 1];

		strlcpy(prefix, topic, dot - topic + 1);
		(void) hash_search(names->prefixes, prefix, HASH_ENTER, NULL);
	}
}

CdcTopicNames *
cdc_topic_names_make(List *topics)
{
	CdcTopicNames *names = palloc(sizeof(CdcTopicNames));
	HASHCTL		control = {.hcxt = CurrentMemoryContext};
	ListCell   *lc;

	control.keysize = CDC_NAME_MAX + 1;
	control.entrysize = sizeof(NameEntry);
	names->names = hash_create("cdcsync names of topics", 256, &control,
							   HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	control.keysize = CDC_TOPIC_MAX + 1;
	control.entrysize = sizeof(PrefixEntry);
	names->prefixes = hash_create("cdcsync prefixes of topics", 16, &control,
								  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	foreach(lc, topics)
		add_topic(names, lfirst(lc));
	return names;
}

void
cdc_topic_names_take(CdcTopicNames *names, const char *pipeline)
{
	name_entry(names, pipeline)->taken = true;
}

void
cdc_topic_names_choose(CdcTopicNames *names, const char *topic,
					   char **pipeline, char **target)
{
	const char *parts;

	for (int n = 1; (parts = last_parts(topic, n)) != NULL; n++)
	{
		NameEntry  *entry;

		*pipeline = pipeline_name(topic, parts);
		*target = target_name(topic, parts);
		entry = name_entry(names, *pipeline);
		if (parts[0] != '\0' && entry->users <= 1 && !entry->taken)
		{
			entry->taken = true;
			return;
		}
	}
	*pipeline = cdc_topic_name_hashed(plain_name(topic), topic, CDC_NAME_MAX);
	*target = cdc_topic_name_hashed(target_name(topic, topic), topic,
									NAMEDATALEN - 1);
	name_entry(names, *pipeline)->taken = true;
}

/*
 * Topics without a table
 */

static bool
begins_with(const char *name, const char *head)
{
	return strncmp(name, head, strlen(head)) == 0;
}

static bool
ends_with(const char *name, const char *tail)
{
	size_t		len = strlen(name);

	return len >= strlen(tail) && strcmp(name + len - strlen(tail), tail) == 0;
}

const char *
cdc_topic_internal(const char *topic)
{
	if (begins_with(topic, "__debezium-heartbeat"))
		return "heartbeats";
	if (begins_with(topic, "__"))
		return "internal records";
	return NULL;
}

const char *
cdc_topic_special(CdcTopicNames *names, const char *topic)
{
	const char *last = last_parts(topic, 1);
	bool		two_parts = last > topic && last_parts(topic, 2) == topic;

	if (cdc_topic_internal(topic))
		return cdc_topic_internal(topic);
	if (strcmp(topic, "_schemas") == 0)
		return "the schemas of a registry";
	if (last == topic && begins_with(topic, "connect-"))
		return "the state of Kafka Connect";
	if (two_parts && strcmp(last, "transaction") == 0)
		return "transaction boundaries";
	if (two_parts && strcmp(last, "message") == 0)
		return "logical messages";
	if (strcmp(last, "debezium_signal") == 0 || ends_with(topic, "-signal") ||
		ends_with(topic, "-signals"))
		return "signals";
	if (ends_with(topic, "-notification") || ends_with(topic, "-notifications"))
		return "notifications";
	if (strstr(topic, "schema-history") || strstr(topic, "schema_history") ||
		strstr(topic, "schemahistory") || strstr(topic, "dbhistory"))
		return "the schema history";
	if (last == topic && strlen(topic) <= CDC_TOPIC_MAX &&
		hash_search(names->prefixes, topic, HASH_FIND, NULL))
		return "schema changes";
	return NULL;
}
