/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  The only file that tests the version of PostgreSQL or librdkafka.
 *
 * A wrapper has the signature of the newest version and the suffix _compat.
 * Include it after postgres.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CDC_COMPAT_H
#define CDC_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "cdcsync needs PostgreSQL 15 or later"
#endif

/* 18 split what an FDW needs for EXPLAIN off explain.h. */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#else
#include "commands/explain.h"
#endif

/*
 * 16 moved the role that a relation is read as from the range table into the
 * plan of a foreign scan.  Needs executor/executor.h.
 */
#if PG_VERSION_NUM >= 160000
#define foreign_scan_check_as_user_compat(plan, estate) \
	((plan)->checkAsUser)
#else
#define foreign_scan_check_as_user_compat(plan, estate) \
	(exec_rt_fetch((plan)->scan.scanrelid, (estate))->checkAsUser)
#endif

/*
 * 17 added fdw_restrictinfo, 18 disabled_nodes.
 * Needs optimizer/pathnode.h.
 */
#if PG_VERSION_NUM >= 180000
#define create_foreignscan_path_compat create_foreignscan_path
#elif PG_VERSION_NUM >= 170000
#define create_foreignscan_path_compat(root, rel, target, rows, \
									   disabled_nodes, startup_cost, \
									   total_cost, pathkeys, required_outer, \
									   fdw_outerpath, fdw_restrictinfo, \
									   fdw_private) \
	create_foreignscan_path(root, rel, target, rows, startup_cost, \
							total_cost, pathkeys, required_outer, \
							fdw_outerpath, fdw_restrictinfo, fdw_private)
#else
#define create_foreignscan_path_compat(root, rel, target, rows, \
									   disabled_nodes, startup_cost, \
									   total_cost, pathkeys, required_outer, \
									   fdw_outerpath, fdw_restrictinfo, \
									   fdw_private) \
	create_foreignscan_path(root, rel, target, rows, startup_cost, \
							total_cost, pathkeys, required_outer, \
							fdw_outerpath, fdw_private)
#endif

#endif							/* CDC_COMPAT_H */
