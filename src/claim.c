/*-------------------------------------------------------------------------
 *
 * claim.c
 *	  Which process is at which pipeline, as shared memory has it.
 *
 * A sync worker that has ended in the middle leaves its claim; who voids it leaves
 * a problem at that pipeline, and not at its neighbours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "claim.h"
#include "worker.h"

static bool
collect_claim(void *entry, void *arg)
{
	const CdcSharedPipeline *pipeline = entry;
	CdcClaims  *claims = arg;

	if (pipeline->worker != 0 && claims->n < CDC_MAX_CLAIMS)
	{
		CdcClaim   *claim = &claims->claims[claims->n++];

		claim->key = pipeline->key;
		claim->pid = pipeline->worker;
		claim->since = pipeline->claimed_at;
	}
	return true;
}

CdcClaims *
cdc_claims_get(void)
{
	CdcClaims  *claims = palloc(sizeof(CdcClaims));

	claims->n = 0;
	cdc_shared_scan(CDC_SHARED_PIPELINE, MyDatabaseId, collect_claim, claims);
	return claims;
}

static void
void_claim(const CdcClaim *claim)
{
	ErrorData	edata = {
		.sqlerrcode = ERRCODE_ADMIN_SHUTDOWN,
		.message = "the sync worker has ended while it synced this pipeline",
		.hint = "The server log may say why: a trigger or function of the target can do that.",
	};
	CdcSharedPipeline *pipeline = cdc_shared_find(CDC_SHARED_PIPELINE, &claim->key, true);
	bool		ours;
	bool		known;

	if (pipeline == NULL)
		return;
	ours = pipeline->worker == claim->pid;
	known = cdc_problem_is(&pipeline->problem, &edata);
	if (ours)
	{
		pipeline->worker = 0;
		cdc_problem_add(&pipeline->problem, &edata);
	}
	cdc_shared_release(CDC_SHARED_PIPELINE, pipeline);
	if (ours && !known)
		cdc_worker_log(&edata, psprintf("pipeline \"%s\" is not synced", claim->key.name));
}

/* Who has a claim was a process before: so it is for processes that we look last. */
int
cdc_claims_void(void)
{
	CdcClaims  *claims = cdc_claims_get();
	CdcProcess	like = {.kind = CDC_SYNC,.database = MyDatabaseId};
	int		   *pids = palloc(sizeof(int) * max_worker_processes);
	int			n = cdc_process_find(&like, pids, NULL, max_worker_processes);
	int			lost = 0;

	for (int i = 0; i < claims->n; i++)
	{
		int			at = 0;

		while (at < n && pids[at] != claims->claims[i].pid)
			at++;
		if (at < n)
			continue;
		void_claim(&claims->claims[i]);
		lost++;
	}
	return lost;
}
