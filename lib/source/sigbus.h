/* SPDX-License-Identifier: MIT */
/*
 * SIGBUS as a source of faults: with UFFD_FEATURE_SIGBUS the kernel raises it in
 * the thread that touches trapped memory, and that thread serves the fault.
 * Everybody else's SIGBUS goes to the action that the program had.
 *
 * One per process, as the signal's action is.
 */
#ifndef GPUSVM_SOURCE_SIGBUS_H
#define GPUSVM_SOURCE_SIGBUS_H

#include "source.h"

/* Put ourselves in front of the program's action.  0 or -errno. */
int gpusvm_sigbus_start(void);

/*
 * Who serves: see struct source_ops.  Without anybody, before the first call,
 * all faults are the program's.
 */
void gpusvm_sigbus_serve(const struct fault_server *server);

/* Let those who wait go on, and give the program its action back: front.h. */
void gpusvm_sigbus_stop(void);

#endif /* GPUSVM_SOURCE_SIGBUS_H */
