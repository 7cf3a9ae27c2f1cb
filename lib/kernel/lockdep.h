/* SPDX-License-Identifier: MIT */
/*
 * The checking build (-Ddebug_locks=true): which locks the calling thread
 * holds, and reports of calls in the wrong context.  A report is a log line at
 * error level and a count that tests read; execution goes on.
 *
 * Elsewhere everything here is a constant and costs nothing.
 */
#ifndef GPUSVM_KERNEL_LOCKDEP_H
#define GPUSVM_KERNEL_LOCKDEP_H

#include <gpusvm/kernel.h>

#ifdef GPUSVM_DEBUG_LOCKS

/* Whether the calling thread holds @map, in any mode. */
bool gpusvm_lockdep_held(const struct lockdep_map *map);

/* Report that @what happened in @function. */
void gpusvm_lockdep_report(const char *function, const char *what);

/* Reports since the process started. */
unsigned long gpusvm_lockdep_reports(void);

/* The calling thread enters or leaves an invalidate callback. */
void gpusvm_lockdep_callback_enter(void);
void gpusvm_lockdep_callback_leave(void);
bool gpusvm_lockdep_in_callback(void);

#define lockdep_check(condition, what)                         \
	do {                                                   \
		if (!(condition))                              \
			gpusvm_lockdep_report(__func__, what); \
	} while (0)

#else

static inline void gpusvm_lockdep_callback_enter(void)
{
}

static inline void gpusvm_lockdep_callback_leave(void)
{
}

/* Not evaluated, but still compiled. */
#define lockdep_check(condition, what)   \
	do {                             \
		(void)sizeof(condition); \
		(void)(what);            \
	} while (0)

static inline bool gpusvm_lockdep_held(const struct lockdep_map *map)
{
	return map != NULL;
}

static inline bool gpusvm_lockdep_in_callback(void)
{
	return false;
}

#endif

/* A function that the invalidate callback must not call. */
#define lockdep_check_not_in_callback()              \
	lockdep_check(!gpusvm_lockdep_in_callback(), \
		      "called from the invalidate callback")

#define lockdep_check_held(sem, what) \
	lockdep_check(gpusvm_lockdep_held(&(sem)->dep_map), what)

#endif /* GPUSVM_KERNEL_LOCKDEP_H */
