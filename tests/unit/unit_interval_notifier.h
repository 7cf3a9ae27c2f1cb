/* SPDX-License-Identifier: MIT */
/*
 * What the tests of interval notifiers share: subscriptions that note how they
 * were called, and events as an address space would tell them.
 */
#ifndef TESTS_UNIT_INTERVAL_NOTIFIER_H
#define TESTS_UNIT_INTERVAL_NOTIFIER_H

#include "unit.h"

#include <gpusvm/gpusvm.h>
#include <string.h>

#include "compiler.h"
#include "interval_notifier.h"
#include "mm.h"

#define BASE (1ul << 40)

static struct mm_struct mm;

struct subscription {
	struct mmu_interval_notifier notifier;
	unsigned int calls;
	unsigned int order; /* among all calls; 1 for the first */
	unsigned long seq;  /* of the last call */
	struct mmu_notifier_range range;
	bool refuse;
};

static unsigned int calls;

static inline bool invalidate(struct mmu_interval_notifier *notifier,
			      const struct mmu_notifier_range *range,
			      unsigned long cur_seq)
{
	struct subscription *s =
		gpusvm_container_of(notifier, struct subscription, notifier);

	s->calls++;
	s->order = ++calls;
	s->seq = cur_seq;
	s->range = *range;
	if (s->refuse)
		return false;
	gpusvm_mmu_interval_set_seq(notifier, cur_seq);
	return true;
}

static const struct mmu_interval_notifier_ops ops = {
	.invalidate = invalidate,
};

static inline int setup(void **state)
{
	(void)state;
	gpusvm_notifiers_init(&mm.notifiers);
	calls = 0;
	return 0;
}

static inline void subscribe(struct subscription *s, unsigned long first,
			     unsigned long n)
{
	memset(s, 0, sizeof(*s));
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(
				 &s->notifier, &mm, BASE + first, n, &ops),
			 0);
}

static inline void unsubscribe(struct subscription *s)
{
	gpusvm_mmu_interval_notifier_remove(&s->notifier);
}

static inline struct mmu_notifier_range event_at(unsigned long first,
						 unsigned long n)
{
	return (struct mmu_notifier_range){
		.mm = &mm,
		.start = BASE + first,
		.end = BASE + first + n,
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = MMU_NOTIFY_CLEAR,
		.owner = &mm,
	};
}

static inline void start(unsigned long first, unsigned long n)
{
	struct mmu_notifier_range range = event_at(first, n);

	assert_int_equal(gpusvm_notify_start(&range), 0);
}

static inline void end(unsigned long first, unsigned long n)
{
	struct mmu_notifier_range range = event_at(first, n);

	gpusvm_notify_end(&range);
}

static inline void assert_idle(void)
{
	assert_int_equal(mm.notifiers.active, 0);
	assert_int_equal(mm.notifiers.seq & 1, 0);
	assert_null(mm.notifiers.deferred);
}

#define notifier_test(fn) cmocka_unit_test_setup(fn, setup)

#endif /* TESTS_UNIT_INTERVAL_NOTIFIER_H */
