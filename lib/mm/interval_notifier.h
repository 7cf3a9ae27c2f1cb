/* SPDX-License-Identifier: MIT */
/*
 * Interval notifiers: who is told when an interval of the address space
 * changes, and the sequence numbers by which readers find out.
 *
 * The address space has a number that is odd while an event is in progress
 * that hit a subscription, and each subscription remembers the number of its
 * last event.  A reader whose subscription has the current number waits; one
 * whose subscription's number has changed starts again.  Events nest and run
 * in parallel; the number moves on when the last of them ends.
 */
#ifndef GPUSVM_MM_INTERVAL_NOTIFIER_H
#define GPUSVM_MM_INTERVAL_NOTIFIER_H

#include <gpusvm/kernel.h>
#include <pthread.h>
#include <stdbool.h>

/**
 * struct interval_notifiers - The subscriptions of an address space
 * @lock: Protects everything here; not held in callbacks
 * @changed: Signalled when @seq moves on
 * @tree: The subscriptions
 * @longest: Length of the longest there has been
 * @start: Lowest address there has been in one, or of a device page
 * @end: End of the highest
 * @active: Events in progress
 * @seq: Sequence number; odd while one of them hit a subscription
 * @deferred: Subscriptions to insert or remove when @seq becomes even
 */
struct interval_notifiers {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct rb_root_cached tree;
	unsigned long longest;
	unsigned long start;
	unsigned long end;
	unsigned long active;
	unsigned long seq;
	struct mmu_interval_notifier *deferred;
};

void gpusvm_notifiers_init(struct interval_notifiers *notifiers);
/* In a forked child: the threads whose events were in progress are not there */
void gpusvm_notifiers_reset(struct interval_notifiers *notifiers);

/*
 * All subscriptions there have been are in [*@start, *@end), and all device
 * pages: where mremap() puts some the bounds are widened.
 */
void gpusvm_notifiers_bounds(struct interval_notifiers *notifiers,
			     unsigned long *start, unsigned long *end);

void gpusvm_notifiers_widen(struct interval_notifiers *notifiers,
			    unsigned long start, unsigned long end);

/* Whether an event in [start, end) may hit a subscription. */
bool gpusvm_notifiers_concern(struct interval_notifiers *notifiers,
			      unsigned long start, unsigned long end);

/*
 * An event begins: every subscription it hits is called before this returns.
 * Each start that returns 0 needs an end, after the change.  -EAGAIN if the
 * event is not blockable and a callback refused: then nothing may change and
 * no end follows.
 */
int gpusvm_notify_start(const struct mmu_notifier_range *range);
void gpusvm_notify_end(const struct mmu_notifier_range *range);

#endif /* GPUSVM_MM_INTERVAL_NOTIFIER_H */
