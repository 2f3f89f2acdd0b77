/*-------------------------------------------------------------------------
 *
 * cdcsync.c
 *	  Module magic and initialisation; no logic.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "compat.h"
#include "database_command.h"
#include "fault.h"
#include "helper.h"
#include "shmem.h"
#include "worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	cdc_shmem_init();
	cdc_worker_init();
	cdc_fault_init();
	cdc_database_command_init();
	cdc_helper_init();
	MarkGUCPrefixReserved("cdcsync");
}
