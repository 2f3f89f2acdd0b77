/*-------------------------------------------------------------------------
 *
 * filter.c
 *	  The option "filter": which tables' events a pipeline takes.
 *
 * Reads no catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "filter.h"
#include "pipeline.h"

#define FIELD_PREFIX "source."

static void
bad_filter(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", "filter"),
			 errdetail_internal("%s", detail),
			 errhint("Write it like {\"source.table\": \"customer\", \"source.schema\": [\"a\", \"b*\"]}: all fields must match, each by one of its patterns.")));
}

static char *
pattern_of(const char *name, const JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len == 0)
		bad_filter(psprintf("A pattern of \"%s\" is not a string, or is empty.", name));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static List *
patterns_of(const char *name, JsonbValue *value)
{
	List	   *patterns = NIL;
	JsonbIterator *it;
	JsonbValue	element;

	if (value->type != jbvBinary)
		return list_make1(pattern_of(name, value));
	if (!JsonContainerIsArray(value->val.binary.data))
		bad_filter(psprintf("\"%s\" is neither a string nor an array of strings.", name));
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &element, false);
	while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
		patterns = lappend(patterns, pattern_of(name, &element));
	if (patterns == NIL)
		bad_filter(psprintf("\"%s\" has no patterns.", name));
	return patterns;
}

/* The field of the source that a member's name means. */
static char *
field_of(const JsonbValue *key)
{
	char	   *name = pnstrdup(key->val.string.val, key->val.string.len);
	char	   *field = name[0] == '$' ? name + 1 : name;
	size_t		len = strlen(FIELD_PREFIX);

	if (strncmp(field, FIELD_PREFIX, len) != 0 || field[len] == '\0')
		bad_filter(psprintf("\"%s\" is not a field of the event's source.", name));
	return field + len;
}

List *
cdc_filter_parse(const JsonbValue *value)
{
	List	   *terms = NIL;
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	member;

	if (value->type != jbvBinary ||
		!JsonContainerIsObject(value->val.binary.data))
		bad_filter("It is not an object.");
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &key, false);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		CdcFilterTerm *term = palloc0(sizeof(CdcFilterTerm));

		(void) JsonbIteratorNext(&it, &member, true);
		term->field = field_of(&key);
		term->patterns = patterns_of(term->field, &member);
		terms = lappend(terms, term);
	}
	if (terms == NIL)
		bad_filter("It has no fields.");
	return terms;
}

char *
cdc_filter_text(const CdcToken *token)
{
	char	   *text;
	int			len;

	if (token->kind == CDC_JSON_MISSING || token->kind == CDC_JSON_NULL)
		return NULL;
	if (token->kind != CDC_JSON_STRING)
		return pnstrdup(token->text, token->len);
	text = palloc(token->len + 1);
	len = cdc_json_unescape(token, text);
	if (len < 0)
		return NULL;
	text[len] = '\0';
	return text;
}

int
cdc_filter_apply(const List *terms, const CdcToken *fields)
{
	ListCell   *lc;

	foreach(lc, terms)
	{
		const CdcFilterTerm *term = lfirst(lc);
		char	   *text = cdc_filter_text(&fields[foreach_current_index(lc)]);
		bool		found = false;
		ListCell   *lp;

		if (text == NULL)
			return -1;
		foreach(lp, term->patterns)
			found |= cdc_name_matches(lfirst(lp), text);
		if (!found)
			return 0;
	}
	return 1;
}
