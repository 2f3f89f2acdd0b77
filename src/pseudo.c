/*-------------------------------------------------------------------------
 *
 * pseudo.c
 *	  Modes, and the pseudo-fields that a column can be fed with.
 *
 * One table says which there are, of what type, in which modes, and which
 * column takes one that is not mapped.  Reads nothing, takes no lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "pseudo.h"

#define SOURCE_PREFIX "$source."

#define MIRROR		CDC_MODE_BIT(CDC_MODE_MIRROR)
#define SOFT_DELETE	CDC_MODE_BIT(CDC_MODE_SOFT_DELETE)
#define APPEND		CDC_MODE_BIT(CDC_MODE_APPEND)
#define HISTORY		CDC_MODE_BIT(CDC_MODE_HISTORY)
#define ALL			(MIRROR | SOFT_DELETE | APPEND | HISTORY)

const CdcPseudo cdc_pseudos[] = {
	{"$op", "op", "text", CDC_COLUMN_OP, ALL, SOFT_DELETE | APPEND, SOFT_DELETE | APPEND, 0},
	{"$ts_ms", NULL, "bigint", CDC_COLUMN_TS_MS, ALL, 0, 0, 0},
	{"$kafka_partition", "kafka_partition", "bigint", CDC_COLUMN_PARTITION, ALL,
	APPEND | HISTORY, APPEND | HISTORY, 0},
	{"$kafka_offset", "kafka_offset", "bigint", CDC_COLUMN_OFFSET, ALL,
	APPEND | HISTORY, APPEND | HISTORY, 0},
	{"$deleted_at", "deleted_at", "timestamp", CDC_COLUMN_DELETED_AT, SOFT_DELETE,
	SOFT_DELETE, SOFT_DELETE, SOFT_DELETE},
	{"$valid_from", "valid_from", "timestamp", CDC_COLUMN_VALID_FROM, HISTORY, HISTORY,
	HISTORY, HISTORY},
	{"$valid_to", "valid_to", "timestamp", CDC_COLUMN_VALID_TO, HISTORY, HISTORY,
	HISTORY, HISTORY},
	{"$current", "current", "boolean", CDC_COLUMN_CURRENT, HISTORY, HISTORY, HISTORY,
	HISTORY},
	{"$row", NULL, "jsonb", CDC_COLUMN_FIELD, ALL, 0, 0, 0},
	{"$refresh_time", "refresh_time", "timestamp", CDC_COLUMN_REFRESH_TIME, ALL, ALL, APPEND, 0},
	{NULL}
};

static const char *const mode_names[] = {"mirror", "soft_delete", "append", "history"};

CdcMode
cdc_mode_parse(const char *name)
{
	for (int i = 0; i < lengthof(mode_names); i++)
		if (strcmp(mode_names[i], name) == 0)
			return (CdcMode) i;
	elog(ERROR, "unknown mode \"%s\"", name);
}

const char *
cdc_mode_name(CdcMode mode)
{
	return mode_names[mode];
}

const CdcPseudo *
cdc_pseudo_find(const char *name)
{
	for (const CdcPseudo *p = cdc_pseudos; p->name; p++)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

const char *
cdc_pseudo_source_field(const char *name)
{
	size_t		len = strlen(SOURCE_PREFIX);

	return strncmp(name, SOURCE_PREFIX, len) == 0 && name[len] != '\0' ? name + len : NULL;
}

char *
cdc_pseudo_list(void)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const CdcPseudo *p = cdc_pseudos; p->name; p++)
		appendStringInfo(&buf, "%s, ", p->name);
	appendStringInfoString(&buf, "$source.<field>");
	return buf.data;
}
