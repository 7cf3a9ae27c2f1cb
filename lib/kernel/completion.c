/* SPDX-License-Identifier: MIT */
/*
 * Completions on a futex.  They need neither initialisation by libc nor a
 * destructor, so a waiter may free the structure as soon as it is let go.
 */
#include <gpusvm/kernel.h>
#include <limits.h>

#include "sys.h"

/* What done holds: whoever waits says so, and only then must be woken. */
enum {
	PENDING,
	WAITED_FOR,
	DONE,
};

void gpusvm_init_completion(struct completion *x)
{
	__atomic_store_n(&x->done, PENDING, __ATOMIC_RELAXED);
}

void gpusvm_complete_all(struct completion *x)
{
	/*
	 * Pairs with gpusvm_completion_done().  A waiter that sees it may free
	 * @x: the rest uses only the address, and whoever waits there by then
	 * checks its own condition.
	 */
	if (__atomic_exchange_n(&x->done, DONE, __ATOMIC_ACQ_REL) == WAITED_FOR)
		gpusvm_sys_futex_wake(&x->done, INT_MAX);
}

bool gpusvm_completion_done(struct completion *x)
{
	return __atomic_load_n(&x->done, __ATOMIC_ACQUIRE) == DONE;
}

void gpusvm_wait_for_completion(struct completion *x)
{
	unsigned int pending = PENDING;

	__atomic_compare_exchange_n(&x->done, &pending, WAITED_FOR, false,
				    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	while (!gpusvm_completion_done(x))
		gpusvm_sys_futex_wait(&x->done, WAITED_FOR, NULL);
}
