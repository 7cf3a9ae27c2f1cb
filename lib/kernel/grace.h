/* SPDX-License-Identifier: MIT */
/*
 * Grace periods: waiting until everybody who was inside a section has left.
 *
 * What the kernel's SRCU is for: a section costs two additions to counts that
 * only the calling thread writes, and never waits; who has published something
 * and then waits knows that every section that goes on, or comes, sees it.
 *
 * A section has no barrier: the waiter has membarrier(2) make one on every CPU
 * that runs a thread of the process.  Where that is not to be had, and for
 * threads beyond GRACE_SLOTS, counts are shared and the additions are atomic.
 *
 * A section may be left by another thread than entered it, hence two counts,
 * which only grow; and it may be entered by a signal handler, in the middle of
 * another one's addition.
 */
#ifndef GPUSVM_KERNEL_GRACE_H
#define GPUSVM_KERNEL_GRACE_H

#include <pthread.h>

#include "compiler.h"

/* Threads that have counts of their own. */
#define GRACE_SLOTS 128u

/**
 * struct grace_counts - Sections of a thread, or of several
 * @entered: By the parity of the period then
 * @left: By the same
 */
struct grace_counts {
	unsigned long entered[2];
	unsigned long left[2];
} __attribute__((aligned(64)));

/**
 * struct grace - A kind of section
 * @thread: Counts by the slot of the thread
 * @shared: Of threads that have none; atomic
 * @period: Counts half grace periods
 * @generation: Counts forks: a section that began in the parent is not ours
 * @lock: One waits at a time
 */
struct grace {
	struct grace_counts thread[GRACE_SLOTS];
	struct grace_counts shared;
	unsigned long period;
	unsigned int generation;
	pthread_mutex_t lock;
};

#define GRACE_INIT                                \
	{                                         \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}

/* The thread's slot and 1; 0 if it has not asked, more if it got none. */
extern __thread unsigned int gpusvm_grace_slot
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

/* For a thread that has not asked: what to take for its slot. */
unsigned int gpusvm_grace_claim(void);

/*
 * Add to a count that no other thread writes.  One instruction, or a signal
 * handler's addition could be lost; not before what the caller did until now.
 */
static inline void gpusvm_grace_count(unsigned long *count)
{
#if defined(__x86_64__) && defined(__LP64__)
	__asm__ volatile("addq $1, %0" : "+m"(*count) : : "memory", "cc");
#else
	__atomic_fetch_add(count, 1, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Returns what gpusvm_grace_leave() needs. */
static inline unsigned int gpusvm_grace_enter(struct grace *grace)
{
	unsigned int parity = READ_ONCE(grace->period) & 1;
	unsigned int slot = gpusvm_grace_slot;

	if (unlikely(!slot))
		slot = gpusvm_grace_claim();
	/* Pairs with the waiter: either it counts us, or we see what it did. */
	if (likely(slot <= GRACE_SLOTS))
		gpusvm_grace_count(&grace->thread[slot - 1].entered[parity]);
	else
		__atomic_fetch_add(&grace->shared.entered[parity], 1,
				   __ATOMIC_SEQ_CST);
	return parity | grace->generation << 1;
}

static inline void gpusvm_grace_leave(struct grace *grace, unsigned int section)
{
	unsigned int slot = gpusvm_grace_slot;

	if (unlikely((section ^ grace->generation << 1) > 1))
		return;
	if (likely(slot - 1 < GRACE_SLOTS))
		gpusvm_grace_count(&grace->thread[slot - 1].left[section & 1]);
	else
		__atomic_fetch_add(&grace->shared.left[section & 1], 1,
				   __ATOMIC_RELEASE);
}

/*
 * Not inside a section.  What was published is to be stored, and what a section
 * looks at to be loaded, with __ATOMIC_SEQ_CST.
 */
void gpusvm_grace_wait(struct grace *grace);

/* Once in a process, when it starts: threads may have slots from now on. */
void gpusvm_grace_start(void);

/*
 * In a forked child: nobody else is there, and sections that go on end without
 * being counted.
 */
void gpusvm_grace_reset(struct grace *grace);

#endif /* GPUSVM_KERNEL_GRACE_H */
