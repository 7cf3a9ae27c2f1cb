/* SPDX-License-Identifier: MIT */
/*
 * SIGSEGV as a source of faults: a thread that touches trapped memory is put in
 * a queue, waits until it is woken, and makes its access again.  Everybody
 * else's SIGSEGV goes to the action that the program had.
 *
 * One per process, as the signal's action is.
 */
#ifndef GPUSVM_SOURCE_SEGV_H
#define GPUSVM_SOURCE_SEGV_H

#include "source.h"

struct sys_action;

/* Put ourselves in front of the program's action; @fd becomes readable. */
int gpusvm_segv_start(int fd);

/*
 * Give the program its action back, unless it has set another one meanwhile.
 * That one may call us: then the signal goes on to the action before us.
 */
void gpusvm_segv_stop(void);

/* The oldest faults, at most SOURCE_BATCH; how many. */
int gpusvm_segv_read(struct source_event *events);

/* Let threads that wait in [start, end) go on. */
void gpusvm_segv_wake(unsigned long start, unsigned long end);

/*
 * sigaction() of SIGSEGV by the program while we are in front: of the action
 * behind us.  False if we are not.
 */
bool gpusvm_segv_exchange(const struct sys_action *action,
			  struct sys_action *old);

#endif /* GPUSVM_SOURCE_SEGV_H */
