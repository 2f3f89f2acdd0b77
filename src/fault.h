/*-------------------------------------------------------------------------
 *
 * fault.h
 *	  Places where tests make things go wrong.
 *
 * Compiled in with -DCDC_FAULTS only; else the macro is empty and the setting
 * does not exist.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_FAULT_H
#define CDC_FAULT_H

#ifdef CDC_FAULTS
/*
 * The setting cdcsync.fault is a list, "name:action[:nth]", separated by
 * spaces.  The nth time (1) that a process comes to the place it does what the
 * action says: error, kill (SIGKILL to itself), exit, or wait (until the setting
 * changes).
 */
extern void cdc_fault(const char *name);
extern void cdc_fault_init(void);
#define CDC_FAULT(name) cdc_fault(name)
#else
#define CDC_FAULT(name) ((void) 0)
#define cdc_fault_init() ((void) 0)
#endif

#endif							/* CDC_FAULT_H */
