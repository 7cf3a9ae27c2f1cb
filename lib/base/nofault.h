/* SPDX-License-Identifier: MIT */
/*
 * Where a thread must not have a fault on memory of a device, because bringing
 * it home could wait for the thread itself: on the library's own threads, while
 * it serves a fault, in callbacks that copy, with a notifier_lock held.  Where
 * threads serve their own faults such a fault is reported, and ends in a SIGBUS
 * instead of a hang.
 */
#ifndef GPUSVM_BASE_NOFAULT_H
#define GPUSVM_BASE_NOFAULT_H

#include <stdbool.h>

/* initial-exec: other models may call malloc() at a thread's first access. */
extern __thread unsigned int gpusvm_nofault
	__attribute__((tls_model("initial-exec")));

/* They nest. */
static inline void gpusvm_nofault_enter(void)
{
	gpusvm_nofault++;
}

static inline void gpusvm_nofault_leave(void)
{
	gpusvm_nofault--;
}

static inline bool gpusvm_nofault_here(void)
{
	return gpusvm_nofault != 0;
}

#endif /* GPUSVM_BASE_NOFAULT_H */
