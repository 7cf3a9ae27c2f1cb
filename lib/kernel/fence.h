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

/**
 * struct fence_callback - What is to be done when a fence is signalled
 * @next: In the list of the fence
 * @func: What to call; @callback may go away during the call
 */
struct fence_callback {
	struct fence_callback *next;
	void (*func)(struct fence_callback *callback);
};

/*
 * Have the function called by who signals the fence, hence on any thread, with
 * any lock of the program's held, and in signal handlers.  False, and it is not,
 * if that has happened.
 */
bool gpusvm_fence_call(struct gpusvm_fence *fence,
		       struct fence_callback *callback);

/* gpusvm_fence_wait() up to @deadline_ns; false if it has not happened. */
bool gpusvm_fence_wait_until(struct gpusvm_fence *fence,
			     unsigned long deadline_ns);

#endif /* GPUSVM_KERNEL_FENCE_H */
