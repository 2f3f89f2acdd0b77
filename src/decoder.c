/*-------------------------------------------------------------------------
 *
 * decoder.c
 *	  A decoder: what it is asked for, the memory that it keeps, and how it says
 *	  what is wrong.
 *
 * Pure C without PostgreSQL.  Memory is taken when a decoder is made, but for
 * texts that grow with what is read: all of it is given back here.
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder.h"

/* Members whose names and order are remembered. */
#define ROW_MEMO_SLOTS	256
#define SMALL_MEMO_SLOTS 32

static const char *const envelope_names[ENV_COUNT] = {
	"before", "after", "source", "op", "transaction", "ts_ms", "ts_us",
	"ts_ns", "payload", "schema", "message", "updateDescription"
};

static const char *const source_names[SRC_COUNT] = {
	"connector", "ts_ms", "snapshot", "sequence", "server_id", "gtid", "file",
	"pos", "commit_lsn", "change_lsn", "event_serial_no", "commit_scn", "txSeq",
	"scn", "rs_id", "ssn", "ord", "rs", "db", "txId"
};

bool
cdc_decode_error(CdcDecodeError *error, size_t offset, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	(void) vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	error->offset = (uint32_t) offset;
	return false;
}

bool
cdc_scanner_error(CdcDecodeError *error, const CdcScanner *scanner)
{
	return cdc_decode_error(error, (size_t) (scanner->pos - scanner->start), "%s",
						scanner->error);
}

/* A set of exact names, after those of fields. */
bool
cdc_set_init(CdcFieldSet *set, const CdcField *fields, int nfields,
		 const char *const *names, int nnames)
{
	CdcField   *all = malloc((size_t) (nfields + nnames + 1) *
							 sizeof(CdcField));
	bool		ok;

	if (all == NULL)
		return false;
	if (nfields > 0)
		memcpy(all, fields, (size_t) nfields * sizeof(CdcField));
	for (int i = 0; i < nnames; i++)
	{
		all[nfields + i].name = names[i];
		all[nfields + i].len = (uint32_t) strlen(names[i]);
		all[nfields + i].fold = false;
	}
	ok = cdc_fields_init(set, all, nfields + nnames);
	free(all);
	return ok;
}

/* The names of the fields in a record's key: in any case of letters. */
static bool
init_key_set(CdcDecoder *decoder, const CdcField *fields, int n)
{
	CdcField   *all = malloc((size_t) (n + 1) * sizeof(CdcField));
	bool		ok;

	if (all == NULL)
		return false;
	for (int i = 0; i < n; i++)
	{
		all[i] = fields[i];
		all[i].fold = true;
	}
	ok = cdc_set_init(&decoder->key_set, all, n, NULL, 0);
	free(all);
	return ok;
}

/* Tell the skeletons what a scanned record leaves behind. */
static void
add_images(CdcDecoder *decoder)
{
	CdcSkeletons *skeletons = &decoder->skeletons;

	cdc_skeletons_add(skeletons, &decoder->before, &decoder->row_set,
					  decoder->placeholder);
	cdc_skeletons_add(skeletons, &decoder->after, &decoder->row_set,
					  decoder->placeholder);
	cdc_skeletons_add(skeletons, &decoder->source, &decoder->source_set, NULL);
	cdc_skeletons_add(skeletons, &decoder->envelope[0],
					  &decoder->envelope_set, NULL);
	cdc_skeletons_add(skeletons, &decoder->envelope[1],
					  &decoder->envelope_set, NULL);
	skeletons->nalways = skeletons->nimages;
	cdc_skeletons_add(skeletons, &decoder->record, &decoder->record_set,
					  decoder->placeholder);
	cdc_skeletons_fix(skeletons, &decoder->envelope[0].tokens[ENV_OP]);
	cdc_skeletons_fix(skeletons, &decoder->envelope[1].tokens[ENV_OP]);
	cdc_skeletons_fix(skeletons,
					  &decoder->source.tokens[decoder->nsource + SRC_CONNECTOR]);
	cdc_skeletons_fix(skeletons,
					  &decoder->source.tokens[decoder->nsource + SRC_SNAPSHOT]);
}

CdcDecoder *
cdc_decoder_create(const CdcField *row_fields, int nrow,
				   const CdcField *source_fields, int nsource,
				   const char *placeholder)
{
	CdcDecoder *decoder = calloc(1, sizeof(CdcDecoder));

	if (decoder == NULL)
		return NULL;
	decoder->nrow = nrow;
	decoder->nsource = nsource;
	decoder->relays = 1;
	decoder->placeholder = cdc_placeholder_create(placeholder);
	if (decoder->placeholder &&
		cdc_set_init(&decoder->row_set, row_fields, nrow, NULL, 0) &&
		init_key_set(decoder, row_fields, nrow) &&
		cdc_set_init(&decoder->source_set, source_fields, nsource, source_names,
				 SRC_COUNT) &&
		cdc_set_init(&decoder->envelope_set, NULL, 0, envelope_names, ENV_COUNT) &&
		cdc_memo_init(&decoder->row_memo, ROW_MEMO_SLOTS) &&
		cdc_memo_init(&decoder->key_memo, SMALL_MEMO_SLOTS) &&
		cdc_memo_init(&decoder->source_memo, SMALL_MEMO_SLOTS) &&
		cdc_memo_init(&decoder->envelope_memo[0], SMALL_MEMO_SLOTS) &&
		cdc_memo_init(&decoder->envelope_memo[1], SMALL_MEMO_SLOTS) &&
		cdc_memo_init(&decoder->record_memo, ROW_MEMO_SLOTS) &&
		cdc_memo_init(&decoder->document_memo, ROW_MEMO_SLOTS) &&
		cdc_memo_init(&decoder->cloud_memo, SMALL_MEMO_SLOTS) &&
		cdc_image_init(&decoder->before, &decoder->row_set) &&
		cdc_image_init(&decoder->after, &decoder->row_set) &&
		cdc_image_init(&decoder->key, &decoder->key_set) &&
		cdc_image_init(&decoder->before_document.image, &decoder->row_set) &&
		cdc_image_init(&decoder->after_document.image, &decoder->row_set) &&
		cdc_image_init(&decoder->source, &decoder->source_set) &&
		cdc_image_init(&decoder->envelope[0], &decoder->envelope_set) &&
		cdc_image_init(&decoder->envelope[1], &decoder->envelope_set) &&
		cdc_image_init(&decoder->cloud_data, &decoder->envelope_set) &&
		cdc_records_init(decoder, NULL))
	{
		add_images(decoder);
		return decoder;
	}
	cdc_decoder_free(decoder);
	return NULL;
}

void
cdc_decoder_free(CdcDecoder *decoder)
{
	if (decoder == NULL)
		return;
	cdc_placeholder_free(decoder->placeholder);
	cdc_fields_free(&decoder->row_set);
	cdc_fields_free(&decoder->key_set);
	cdc_fields_free(&decoder->source_set);
	cdc_fields_free(&decoder->envelope_set);
	cdc_fields_free(&decoder->record_set);
	cdc_fields_free(&decoder->cloud_set);
	cdc_memo_free(&decoder->row_memo);
	cdc_memo_free(&decoder->key_memo);
	cdc_memo_free(&decoder->source_memo);
	cdc_memo_free(&decoder->envelope_memo[0]);
	cdc_memo_free(&decoder->envelope_memo[1]);
	cdc_memo_free(&decoder->record_memo);
	cdc_memo_free(&decoder->document_memo);
	cdc_memo_free(&decoder->cloud_memo);
	cdc_image_free(&decoder->before);
	cdc_image_free(&decoder->after);
	cdc_image_free(&decoder->key);
	cdc_image_free(&decoder->source);
	cdc_image_free(&decoder->envelope[0]);
	cdc_image_free(&decoder->envelope[1]);
	cdc_image_free(&decoder->record);
	cdc_image_free(&decoder->cloud_data);
	cdc_image_free(&decoder->before_document.image);
	cdc_image_free(&decoder->after_document.image);
	free(decoder->before_document.text);
	free(decoder->after_document.text);
	free(decoder->key_document.text);
	free(decoder->key_text.text);
	for (int i = 0; i < CDC_WRAPPED_MAX; i++)
		free(decoder->wrapped[i].text);
	cdc_skeletons_free(&decoder->skeletons);
	free(decoder->schema);
	free(decoder);
}

bool
cdc_decoder_read_as(CdcDecoder *decoder, CdcReadAs read_as, const char *prefix)
{
	CdcSkeletons *skeletons = &decoder->skeletons;

	decoder->read_as = read_as;
	if (prefix == NULL)
		return true;
	cdc_fields_free(&decoder->record_set);
	cdc_fields_free(&decoder->cloud_set);
	cdc_image_free(&decoder->record);
	if (!cdc_records_init(decoder, prefix))
		return false;
	skeletons->images[skeletons->nalways].ntokens = decoder->record_set.nfields;
	return true;
}

void
cdc_decoder_watch(CdcDecoder *decoder, int first, int n)
{
	decoder->skeletons.watched = decoder->source.tokens + first;
	decoder->skeletons.nwatched = n;
}

void
cdc_decoder_use_skeletons(CdcDecoder *decoder, bool use)
{
	decoder->skeletons.off = !use;
}

uint64_t
cdc_decoder_skeleton_hits(const CdcDecoder *decoder)
{
	return decoder->skeletons.hits;
}
