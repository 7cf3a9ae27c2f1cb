/* SPDX-License-Identifier: MIT */
/*
 * Grace periods, continued: the waiting side, and who has which slot.  See
 * grace.h.
 *
 * A slot is its thread's until the thread is no more, which nobody is told of:
 * who finds no free one asks the kernel for threads that have ended.  So a
 * slot can be had without a lock and without memory, in a signal handler and
 * by a thread that is about to end.
 */
#include "grace.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>

#include "sys.h"

#define NAP_NS (50l * 1000)
#define YIELDS 16

/* A CPU holds a store back for much less than that. */
#define SETTLE_NS (1000l * 1000)

/* The thread sanitizer does not know that membarrier() orders anything. */
#if defined(__SANITIZE_THREAD__)
#define ORDER_IS_SEEN false
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ORDER_IS_SEEN false
#endif
#endif
#ifndef ORDER_IS_SEEN
#define ORDER_IS_SEEN true
#endif

/* Of a thread that has asked and got none. */
#define NO_SLOT (GRACE_SLOTS + 1)

__thread unsigned int gpusvm_grace_slot;

/* The threads of the slots, 0 for one that nobody has had. */
static pid_t owner[GRACE_SLOTS];
/* As many have been had, at most. */
static unsigned int slots_had;
/* The process whose threads may have slots; 0 for none. */
static pid_t slots_pid;

void gpusvm_grace_start(void)
{
	if (ORDER_IS_SEEN &&
	    !gpusvm_sys_membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED))
		WRITE_ONCE(slots_pid, gpusvm_sys_getpid());
}

static bool take_from(unsigned int i, pid_t before, pid_t tid)
{
	unsigned int had = i + 1, now;

	if (!__atomic_compare_exchange_n(&owner[i], &before, tid, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return false;
	/* Who waits looks here first, and then need not see our counts. */
	now = __atomic_load_n(&slots_had, __ATOMIC_SEQ_CST);
	while (now < had &&
	       !__atomic_compare_exchange_n(&slots_had, &now, had, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	return true;
}

/* Whose number it has is no more, or a signal handler has interrupted us. */
static unsigned int find_slot(pid_t pid, pid_t tid)
{
	unsigned int i;
	pid_t of;

	for (i = 0; i < GRACE_SLOTS; i++) {
		of = READ_ONCE(owner[i]);
		if (of == tid || (!of && take_from(i, 0, tid)))
			return i + 1;
	}
	for (i = 0; i < GRACE_SLOTS; i++) {
		of = READ_ONCE(owner[i]);
		if (gpusvm_sys_tgkill(pid, of, 0) == -ESRCH &&
		    take_from(i, of, tid))
			return i + 1;
	}
	return NO_SLOT;
}

/*
 * Not in a child that was not told of, by vfork() or a bare clone(): the
 * threads of the slots are another process's there.
 */
unsigned int gpusvm_grace_claim(void)
{
	pid_t pid = READ_ONCE(slots_pid);

	if (!pid || pid != gpusvm_sys_getpid())
		return NO_SLOT;
	gpusvm_grace_slot = find_slot(pid, gpusvm_sys_gettid());
	return gpusvm_grace_slot;
}

/*
 * Threads that have slots see what was stored before, or what they have
 * counted is seen after.
 */
static void barrier(void)
{
	if (!__atomic_load_n(&slots_had, __ATOMIC_SEQ_CST) ||
	    !gpusvm_sys_membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		return;
	/* The process has forbidden it to itself meanwhile. */
	gpusvm_sys_nanosleep(SETTLE_NS);
}

static bool is_empty(struct grace *grace, unsigned int parity)
{
	unsigned int i, n = __atomic_load_n(&slots_had, __ATOMIC_SEQ_CST);
	unsigned long inside;

	/* First: a section that is found left is then found entered. */
	inside =
		-__atomic_load_n(&grace->shared.left[parity], __ATOMIC_ACQUIRE);
	for (i = 0; i < n; i++)
		inside -= __atomic_load_n(&grace->thread[i].left[parity],
					  __ATOMIC_ACQUIRE);
	barrier();
	/*
	 * Not a mere load: who enters after that has seen us, and with us what
	 * our caller did.
	 */
	inside += __atomic_fetch_add(&grace->shared.entered[parity], 0,
				     __ATOMIC_SEQ_CST);
	n = __atomic_load_n(&slots_had, __ATOMIC_SEQ_CST);
	for (i = 0; i < n; i++)
		inside += READ_ONCE(grace->thread[i].entered[parity]);
	return !inside;
}

static void wait_for_half(struct grace *grace)
{
	unsigned long period =
		__atomic_fetch_add(&grace->period, 1, __ATOMIC_SEQ_CST);
	unsigned int i;

	for (i = 0; !is_empty(grace, period & 1); i++) {
		if (i < YIELDS)
			gpusvm_sys_yield();
		else
			gpusvm_sys_nanosleep(NAP_NS);
	}
}

/*
 * Two halves, since who read the parity before the first may add to its count
 * after it was found zero.
 */
void gpusvm_grace_wait(struct grace *grace)
{
	pthread_mutex_lock(&grace->lock);
	wait_for_half(grace);
	wait_for_half(grace);
	pthread_mutex_unlock(&grace->lock);
}

void gpusvm_grace_reset(struct grace *grace)
{
	/* The counts of slots that nobody has had are untouched. */
	memset(grace->thread, 0, slots_had * sizeof(grace->thread[0]));
	memset(&grace->shared, 0, sizeof(grace->shared));
	grace->period = 0;
	grace->generation++;
	pthread_mutex_init(&grace->lock, NULL);
	memset(owner, 0, sizeof(owner));
	slots_pid = 0;
	gpusvm_grace_slot = 0;
	gpusvm_grace_start();
}
