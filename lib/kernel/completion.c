/* SPDX-License-Identifier: MIT */
/*
 * Completions on a futex.  They need neither initialisation by libc nor a
 * destructor, so a waiter may free the structure as soon as it is let go.
 */
#include <gpusvm/kernel.h>
#include <limits.h>

#include "sys.h"

void gpusvm_init_completion(struct completion *x)
{
	__atomic_store_n(&x->done, 0, __ATOMIC_RELAXED);
}

void gpusvm_complete_all(struct completion *x)
{
	/* Pairs with gpusvm_completion_done(). */
	__atomic_store_n(&x->done, 1, __ATOMIC_RELEASE);
	/*
	 * A waiter that saw the store may have freed @x: this uses only the
	 * address, and whoever waits there by now checks its own condition.
	 */
	gpusvm_sys_futex_wake(&x->done, INT_MAX);
}

bool gpusvm_completion_done(struct completion *x)
{
	return __atomic_load_n(&x->done, __ATOMIC_ACQUIRE) != 0;
}

void gpusvm_wait_for_completion(struct completion *x)
{
	while (!gpusvm_completion_done(x))
		gpusvm_sys_futex_wait(&x->done, 0, NULL);
}
