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

/* Put ourselves in front of the program's action; @fd becomes readable. */
int gpusvm_segv_start(int fd);

/* Let those who wait go on, and give the program its action back: front.h. */
void gpusvm_segv_stop(void);

/* The oldest faults, at most @most; how many. */
int gpusvm_segv_read(struct source_event *events, int most);

#endif /* GPUSVM_SOURCE_SEGV_H */
