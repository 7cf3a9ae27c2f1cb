/* SPDX-License-Identifier: MIT */
/*
 * Fences: a futex, a result and references, in private memory.
 *
 * To signal one takes no lock, so that it may be done in a signal handler, which
 * may have interrupted anything.
 */
#include "fence.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <limits.h>

#include "log.h"
#include "sys.h"

#define NSEC_PER_SEC 1000000000ul

/* What state holds: whoever waits says so, and only then must be woken. */
enum {
	PENDING,
	WAITED_FOR,
	DONE,
};

/**
 * struct gpusvm_fence - See gpusvm/fence.h
 * @state: The futex
 * @claimed: Somebody signals it, or has; atomic
 * @err: The result, once it is DONE
 * @refs: All references; atomic
 * @owners: Those of who may signal it; atomic
 * @callbacks: What to call then, or &no_more once it was done; atomic
 */
struct gpusvm_fence {
	unsigned int state;
	unsigned int claimed;
	int err;
	unsigned int refs;
	unsigned int owners;
	struct fence_callback *callbacks;
};

static struct fence_callback no_more;

int gpusvm_fence_create(struct gpusvm_fence **fence)
{
	struct gpusvm_fence *f;

	if (!fence) {
		log_error("fence_create: no place for the fence");
		return -EINVAL;
	}
	*fence = NULL;
	f = gpusvm_alloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->refs = 1;
	f->owners = 1;
	*fence = f;
	return 0;
}

void gpusvm_fence_hold(struct gpusvm_fence *fence)
{
	__atomic_fetch_add(&fence->refs, 1, __ATOMIC_RELAXED);
}

void gpusvm_fence_release(struct gpusvm_fence *fence)
{
	if (!__atomic_sub_fetch(&fence->refs, 1, __ATOMIC_ACQ_REL))
		gpusvm_free(fence);
}

struct gpusvm_fence *gpusvm_fence_get(struct gpusvm_fence *fence)
{
	__atomic_fetch_add(&fence->owners, 1, __ATOMIC_RELAXED);
	gpusvm_fence_hold(fence);
	return fence;
}

void gpusvm_fence_put(struct gpusvm_fence *fence)
{
	if (!fence)
		return;
	/*
	 * Nobody is left to signal it.  Who holds it would wait for ever; with
	 * the kernel's fences that is -EDEADLK, too.
	 */
	if (!__atomic_sub_fetch(&fence->owners, 1, __ATOMIC_ACQ_REL) &&
	    __atomic_load_n(&fence->refs, __ATOMIC_RELAXED) > 1 &&
	    !gpusvm_fence_signal(fence, -EDEADLK))
		log_error("fence %p: its last reference was put, and it had "
			  "not been signalled",
			  (void *)fence);
	gpusvm_fence_release(fence);
}

int gpusvm_fence_signal(struct gpusvm_fence *fence, int err)
{
	struct fence_callback *callback, *next;

	if (__atomic_exchange_n(&fence->claimed, 1, __ATOMIC_RELAXED))
		return -EALREADY;
	fence->err = err;
	if (__atomic_exchange_n(&fence->state, DONE, __ATOMIC_ACQ_REL) ==
	    WAITED_FOR)
		gpusvm_sys_futex_wake(&fence->state, INT_MAX);
	for (callback = __atomic_exchange_n(&fence->callbacks, &no_more,
					    __ATOMIC_ACQ_REL);
	     callback; callback = next) {
		next = callback->next;
		callback->func(callback);
	}
	return 0;
}

bool gpusvm_fence_call(struct gpusvm_fence *fence,
		       struct fence_callback *callback)
{
	struct fence_callback *first =
		__atomic_load_n(&fence->callbacks, __ATOMIC_ACQUIRE);

	do {
		if (first == &no_more)
			return false;
		callback->next = first;
	} while (!__atomic_compare_exchange_n(&fence->callbacks, &first,
					      callback, true, __ATOMIC_RELEASE,
					      __ATOMIC_ACQUIRE));
	return true;
}

bool gpusvm_fence_done(const struct gpusvm_fence *fence, int *err)
{
	if (__atomic_load_n(&fence->state, __ATOMIC_ACQUIRE) != DONE)
		return false;
	if (err)
		*err = fence->err;
	return true;
}

/* Until somebody signals it, or the timeout has passed, or for no reason. */
static void sleep_on(struct gpusvm_fence *fence, const struct timespec *timeout)
{
	unsigned int pending = PENDING;

	__atomic_compare_exchange_n(&fence->state, &pending, WAITED_FOR, false,
				    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	gpusvm_sys_futex_wait(&fence->state, WAITED_FOR, timeout);
}

bool gpusvm_fence_wait_until(struct gpusvm_fence *fence,
			     unsigned long deadline_ns)
{
	struct timespec left;
	unsigned long now_ns;

	while (!gpusvm_fence_done(fence, NULL)) {
		now_ns = gpusvm_sys_now_ns();
		if (now_ns >= deadline_ns)
			return false;
		left.tv_sec = (time_t)((deadline_ns - now_ns) / NSEC_PER_SEC);
		left.tv_nsec = (long)((deadline_ns - now_ns) % NSEC_PER_SEC);
		sleep_on(fence, &left);
	}
	return true;
}

int gpusvm_fence_wait(struct gpusvm_fence *fence)
{
	int err;

	while (!gpusvm_fence_done(fence, &err))
		sleep_on(fence, NULL);
	return err;
}
