/* SPDX-License-Identifier: MIT */
/*
 * Fences from inside: references that keep one and do not count as somebody who
 * may signal it, and functions that are called when it is signalled.
 */
#ifndef GPUSVM_KERNEL_FENCE_H
#define GPUSVM_KERNEL_FENCE_H

#include <gpusvm/fence.h>

/* A reference of who waits: it signals nothing. */
void gpusvm_fence_hold(struct gpusvm_fence *fence);
void gpusvm_fence_release(struct gpusvm_fence *fence);

/* gpusvm_fence_wait() up to @deadline_ns; false if it has not happened. */
bool gpusvm_fence_wait_until(struct gpusvm_fence *fence,
			     unsigned long deadline_ns);

#endif /* GPUSVM_KERNEL_FENCE_H */
