/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the fault handler share: N pages on a device, faults that
 * are pushed, and callbacks that wait.
 *
 * The handler runs on threads of its own; the test pushes events and waits for
 * what follows.
 */
#ifndef TESTS_UNIT_HANDLER_H
#define TESTS_UNIT_HANDLER_H

#include "unit_migration.h"
#include "unit_thread.h"

#include <sys/eventfd.h>

#define N 8ul
#define FIRST 8ul

/* The handler is not started; @serve answers for the pages. */
static inline int
	handler_setup(enum vm_fault_result (*serve)(struct vm_fault *vmf))
{
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	fake->source.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	owner.fault = serve;
	fake_fill(window(FIRST), N, 1);
	return migrate_out(FIRST);
}

static inline int handler_teardown(void **state)
{
	(void)state;
	if (mm->handler->nthreads)
		gpusvm_handler_stop(mm);
	fake_source_forget_plans(fake);
	unmap_all();
	close(fake->source.fd);
	migration_teardown();
	return 0;
}

static inline void push(struct source_event event)
{
	gpusvm_down_write(&mm->event_lock);
	fake_source_push(fake, event);
	gpusvm_up_write(&mm->event_lock);
}

static inline void push_fault(unsigned long i, bool write, bool protect)
{
	push((struct source_event){
		.type = SOURCE_FAULT,
		.start = fake_addr(fake, i),
		.end = fake_addr(fake, i + 1),
		.write = write,
		.protect = protect,
		.tid = 4711,
	});
}

static inline bool was_woken(unsigned long i)
{
	return fake_source_called(fake, FAKE_OP_WAKE, fake_addr(fake, i));
}

static inline unsigned long counter(u64 *which)
{
	return __atomic_load_n(which, __ATOMIC_RELAXED);
}

/* ---- Callbacks that wait ---- */

static unsigned int waiting;
static bool let_go;

/* On handler threads. */
static inline bool wait_in_callback(struct mmu_interval_notifier *notifier,
				    const struct mmu_notifier_range *range,
				    unsigned long cur_seq)
{
	(void)range;
	gpusvm_mmu_interval_set_seq(notifier, cur_seq);
	__atomic_add_fetch(&waiting, 1, __ATOMIC_RELAXED);
	while (!__atomic_load_n(&let_go, __ATOMIC_ACQUIRE))
		sched_yield();
	__atomic_sub_fetch(&waiting, 1, __ATOMIC_RELAXED);
	return true;
}

static const struct mmu_interval_notifier_ops waiting_ops = {
	.invalidate = wait_in_callback,
};

#endif /* TESTS_UNIT_HANDLER_H */
