/*-------------------------------------------------------------------------
 *
 * cdcsync.c
 *	  Module magic and initialisation; no logic.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "compat.h"

PG_MODULE_MAGIC;
