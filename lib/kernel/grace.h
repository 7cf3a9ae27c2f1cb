/* SPDX-License-Identifier: MIT */
/*
 * Grace periods: waiting until everybody who was inside a section has left.
 *
 * What the kernel's SRCU is for: a section costs two atomic additions and never
 * waits; who has published something and then waits knows that every section
 * that goes on, or comes, sees it.
 */
#ifndef GPUSVM_KERNEL_GRACE_H
#define GPUSVM_KERNEL_GRACE_H

#include <pthread.h>

/**
 * struct grace - A kind of section
 * @inside: How many are inside, by the parity of @period when they entered
 * @period: Counts half grace periods
 * @generation: Counts forks: a section that began in the parent is not ours
 * @lock: One waits at a time
 */
struct grace {
	unsigned long inside[2];
	unsigned long period;
	unsigned int generation;
	pthread_mutex_t lock;
};

#define GRACE_INIT                                \
	{                                         \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}

/* Returns what gpusvm_grace_leave() needs. */
static inline unsigned int gpusvm_grace_enter(struct grace *grace)
{
	unsigned int parity =
		__atomic_load_n(&grace->period, __ATOMIC_RELAXED) & 1;

	/* Pairs with the waiter: either it counts us, or we see what it did. */
	__atomic_fetch_add(&grace->inside[parity], 1, __ATOMIC_SEQ_CST);
	return parity | grace->generation << 1;
}

static inline void gpusvm_grace_leave(struct grace *grace, unsigned int section)
{
	if ((section ^ grace->generation << 1) <= 1)
		__atomic_fetch_sub(&grace->inside[section & 1], 1,
				   __ATOMIC_RELEASE);
}

/*
 * Not inside a section.  What was published is to be stored, and what a section
 * looks at to be loaded, with __ATOMIC_SEQ_CST.
 */
void gpusvm_grace_wait(struct grace *grace);

/*
 * In a forked child: nobody else is there, and sections that go on end without
 * being counted.
 */
void gpusvm_grace_reset(struct grace *grace);

#endif /* GPUSVM_KERNEL_GRACE_H */
