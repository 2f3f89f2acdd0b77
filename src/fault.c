/*-------------------------------------------------------------------------
 *
 * fault.c
 *	  Places where tests make things go wrong.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#include "fault.h"

#ifdef CDC_FAULTS

static char *fault_setting = NULL;
static char counted_for[64];	/* the place that passed counts */
static int	passed = 0;

/* A new setting counts from one again. */
static void
assign_fault(const char *newval, void *extra)
{
	passed = 0;
}

void
cdc_fault_init(void)
{
	DefineCustomStringVariable("cdcsync.fault",
							   "Makes places in the code fail, for tests.",
							   "A list of name:action[:nth]; actions: error, kill, exit, wait.",
							   &fault_setting, "", PGC_SUSET, GUC_NOT_IN_SAMPLE,
							   NULL, assign_fault, NULL);
}

static void
wait_for_change(void)
{
	char	   *before = pstrdup(fault_setting);

	while (strcmp(before, fault_setting) == 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 100, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
	pfree(before);
}

void
cdc_fault(const char *name)
{
	const char *p = fault_setting ? strstr(fault_setting, name) : NULL;
	size_t		len = strlen(name);
	char		action[16];
	int			nth = 1;

	if (p == NULL || (p != fault_setting && p[-1] != ' ') || p[len] != ':' ||
		sscanf(p + len, ":%15[a-z]:%d", action, &nth) < 1)
		return;
	if (strcmp(counted_for, name) != 0)
	{
		strlcpy(counted_for, name, sizeof(counted_for));
		passed = 0;
	}
	if (++passed != nth)
		return;
	elog(LOG, "fault \"%s\": %s", name, action);
	if (strcmp(action, "kill") == 0)
		kill(MyProcPid, SIGKILL);
	else if (strcmp(action, "exit") == 0)
		proc_exit(1);
	else if (strcmp(action, "wait") == 0)
		wait_for_change();
	else
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("fault \"%s\"", name)));
}

#endif
