/*-------------------------------------------------------------------------
 *
 * alter.c
 *	  cdc_alter(): another mapping or other options for a pipeline.
 *
 * The same checks as at cdc_create(), in the caller's transaction, which locks
 * the pipeline against syncs and other changes (SHARE UPDATE EXCLUSIVE).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "catalog.h"
#include "create.h"
#include "evidence.h"
#include "fit.h"
#include "intake.h"
#include "snapshot.h"
#include "staging.h"
#include "target_check.h"

PG_FUNCTION_INFO_V1(cdc_alter);

/*
 * Check the mapping against the target, and let the staging table follow: the
 * columns that a sync feeds may have changed.  It was locked with the pipeline.
 * As the owner, because indexes of the target may run code of theirs.
 */
static void
alter_target(const CdcPipeline *pipeline, const CdcInferred *inferred)
{
	CdcTarget  *target;
	CdcSpi		spi;

	cdc_target_check(pipeline->target, pipeline->owner);
	cdc_spi_begin_as(&spi, pipeline->owner, NULL);
	target = cdc_target_describe(pipeline->target, pipeline->key,
								 pipeline->readings, pipeline->strict,
								 pipeline->mode);
	cdc_target_check_columns(target, pipeline->readings, inferred, false);
	if (inferred)
		cdc_fit_check(target, inferred);
	cdc_intake_check_shared(pipeline->name, target);
	cdc_staging_adapt(pipeline->staging, target);
	cdc_spi_end(&spi);
}

static void
update_pipeline(const CdcPipeline *pipeline, Jsonb *options)
{
	Oid			types[] = {TEXTOID, JSONBOID, JSONBOID};
	Datum		values[3];
	char		nulls[] = "   ";
	CdcSpi		spi;

	values[0] = CStringGetTextDatum(pipeline->name);
	values[1] = pipeline->columns ? JsonbPGetDatum(pipeline->columns) : (Datum) 0;
	nulls[1] = pipeline->columns ? ' ' : 'n';
	values[2] = JsonbPGetDatum(options);
	cdc_spi_begin_catalog(&spi);
	(void) cdc_spi_run("UPDATE cdcsync.pipeline SET columns = $2, options = $3 WHERE name = $1",
					   3, types, values, nulls, 0);
	cdc_spi_end(&spi);
}

/* The options as stored. */
static Jsonb *
read_options(const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	Jsonb	   *options = NULL;
	bool		isnull;
	CdcSpi		spi;

	cdc_spi_begin_catalog(&spi);
	if (cdc_spi_run("SELECT options FROM cdcsync.pipeline WHERE name = $1",
					1, types, values, NULL, 1) == 1)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		options = DatumGetJsonbPCopy(cdc_spi_value(0, 1, &isnull));
		MemoryContextSwitchTo(old);
	}
	cdc_spi_end(&spi);
	if (options == NULL)
		elog(ERROR, "pipeline \"%s\" vanished", name);
	return options;
}

/*
 * cdc_alter(name text, columns jsonb, options jsonb)
 */
Datum
cdc_alter(PG_FUNCTION_ARGS)
{
	CdcPipeline *pipeline;
	CdcInferred *inferred = NULL;
	Jsonb	   *stored;
	CdcOptions *options;

	cdc_pipeline_check_argument(fcinfo);
	pipeline = cdc_pipeline_lock(text_to_cstring(PG_GETARG_TEXT_PP(0)),
								 ShareUpdateExclusiveLock);
	stored = read_options(pipeline->name);
	if (!PG_ARGISNULL(2))
		stored = cdc_options_merge(stored, PG_GETARG_JSONB_P(2));
	options = cdc_options_parse(stored);
	pipeline->strict = options->strict;
	if (!PG_ARGISNULL(1))
	{
		pipeline->columns = PG_GETARG_JSONB_P(1);
		pipeline->readings = cdc_readings_parse(pipeline->columns);
		inferred = cdc_create_infer(InvalidOid, pipeline->landing, options);
		cdc_target_check_fields(pipeline->readings, inferred);
	}
	cdc_create_check_replace(options,
							 pipeline->mode != CDC_MODE_APPEND &&
							 (!OidIsValid(pipeline->target) || pipeline->key != NIL));
	if (OidIsValid(pipeline->target))
		alter_target(pipeline, inferred);
	update_pipeline(pipeline, options->stored);
	if (!PG_ARGISNULL(1))
		cdc_evidence_reset(pipeline->name, pipeline->readings);
	if (!options->replace)
		cdc_snapshots_abandon(pipeline->name);
	PG_RETURN_VOID();
}
