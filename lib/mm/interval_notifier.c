/* SPDX-License-Identifier: MIT */
/* The interval notifier protocol; interval_notifier.h tells how it works. */
#include "interval_notifier.h"

#include <errno.h>

#include "change.h"
#include "compiler.h"
#include "itree.h"
#include "lockdep.h"
#include "mm.h"
#include "probe.h"

/* In place of a colour, in a subscription that is not in the tree. */
#define NOT_IN_TREE (-1)

void gpusvm_notifiers_init(struct interval_notifiers *notifiers)
{
	*notifiers = (struct interval_notifiers){ .start = ~0ul, .seq = 2 };
	pthread_mutex_init(&notifiers->lock, NULL);
	pthread_cond_init(&notifiers->changed, NULL);
}

void gpusvm_notifiers_reset(struct interval_notifiers *notifiers)
{
	pthread_mutex_init(&notifiers->lock, NULL);
	pthread_cond_init(&notifiers->changed, NULL);
	notifiers->active = 0;
	notifiers->seq = (notifiers->seq | 1) + 1;
	notifiers->deferred = NULL;
}

static bool invalidating(const struct interval_notifiers *notifiers)
{
	return notifiers->seq & 1;
}

static bool in_tree(const struct mmu_interval_notifier *notifier)
{
	return notifier->interval_tree.rb.rbe_color != NOT_IN_TREE;
}

static void tree_insert(struct interval_notifiers *notifiers,
			struct mmu_interval_notifier *notifier)
{
	struct interval_tree_node *node = &notifier->interval_tree;

	notifiers->longest =
		max(notifiers->longest, node->last - node->start + 1);
	gpusvm_itree_insert(&notifiers->tree, node);
}

static void tree_remove(struct interval_notifiers *notifiers,
			struct mmu_interval_notifier *notifier)
{
	gpusvm_itree_remove(&notifiers->tree, &notifier->interval_tree);
	notifier->interval_tree.rb.rbe_color = NOT_IN_TREE;
}

/* The next subscription that the event hits, the first after NULL; locked. */
static struct mmu_interval_notifier *
next_hit(struct interval_notifiers *notifiers,
	 struct mmu_interval_notifier *notifier,
	 const struct mmu_notifier_range *range)
{
	unsigned long last = range->end - 1;
	struct interval_tree_node *node;

	if (notifier)
		node = gpusvm_itree_next_any(&notifier->interval_tree,
					     range->start, last,
					     notifiers->longest);
	else
		node = gpusvm_itree_first_any(&notifiers->tree, range->start,
					      last, notifiers->longest);
	return node ? gpusvm_container_of(node, struct mmu_interval_notifier,
					  interval_tree)
		    : NULL;
}

/* Pairs with widen(): who has subscribed is seen by who asks afterwards. */
void gpusvm_notifiers_bounds(struct interval_notifiers *notifiers,
			     unsigned long *start, unsigned long *end)
{
	*start = __atomic_load_n(&notifiers->start, __ATOMIC_SEQ_CST);
	*end = __atomic_load_n(&notifiers->end, __ATOMIC_SEQ_CST);
}

bool gpusvm_notifiers_concern(struct interval_notifiers *notifiers,
			      unsigned long start, unsigned long end)
{
	const struct mmu_notifier_range range = { .start = start, .end = end };
	unsigned long first, last;
	bool concern;

	/* Most calls end here. */
	gpusvm_notifiers_bounds(notifiers, &first, &last);
	if (start >= last || end <= first)
		return false;
	pthread_mutex_lock(&notifiers->lock);
	concern = next_hit(notifiers, NULL, &range) || notifiers->deferred;
	pthread_mutex_unlock(&notifiers->lock);
	return concern;
}

static bool call(struct mmu_interval_notifier *notifier,
		 const struct mmu_notifier_range *range, unsigned long seq)
{
	bool done;

	gpusvm_lockdep_callback_enter();
	done = notifier->ops->invalidate(notifier, range, seq);
	gpusvm_lockdep_callback_leave();
	return done;
}

int gpusvm_notify_start(const struct mmu_notifier_range *range)
{
	struct interval_notifiers *notifiers = &range->mm->notifiers;
	struct mmu_interval_notifier *notifier;
	unsigned long seq;
	int err = 0;

	probe3(notify_start, range->event, range->start, range->end);
	pthread_mutex_lock(&notifiers->lock);
	notifiers->active++;
	notifier = next_hit(notifiers, NULL, range);
	if (notifier)
		notifiers->seq |= 1;
	seq = notifiers->seq;
	/*
	 * While the number is odd the tree does not change, so the lock may be
	 * dropped for each callback.
	 */
	while (notifier && !err) {
		pthread_mutex_unlock(&notifiers->lock);
		/* Only who cannot wait may refuse: else there is no way back */
		if (!call(notifier, range, seq) &&
		    !(range->flags & MMU_NOTIFIER_RANGE_BLOCKABLE))
			err = -EAGAIN;
		pthread_mutex_lock(&notifiers->lock);
		notifier = next_hit(notifiers, notifier, range);
	}
	pthread_mutex_unlock(&notifiers->lock);
	if (err)
		gpusvm_notify_end(range);
	return err;
}

void gpusvm_notify_end(const struct mmu_notifier_range *range)
{
	struct interval_notifiers *notifiers = &range->mm->notifiers;
	struct mmu_interval_notifier *notifier;

	probe3(notify_end, range->event, range->start, range->end);
	pthread_mutex_lock(&notifiers->lock);
	if (--notifiers->active || !invalidating(notifiers))
		goto out;
	notifiers->seq++;
	while ((notifier = notifiers->deferred)) {
		notifiers->deferred = notifier->deferred;
		notifier->deferred = NULL;
		if (in_tree(notifier))
			tree_remove(notifiers, notifier);
		else
			tree_insert(notifiers, notifier);
	}
	pthread_cond_broadcast(&notifiers->changed);
out:
	pthread_mutex_unlock(&notifiers->lock);
}

static void widen(struct interval_notifiers *notifiers, unsigned long start,
		  unsigned long end)
{
	__atomic_store_n(&notifiers->start, min(notifiers->start, start),
			 __ATOMIC_SEQ_CST);
	__atomic_store_n(&notifiers->end, max(notifiers->end, end),
			 __ATOMIC_SEQ_CST);
}

void gpusvm_notifiers_widen(struct interval_notifiers *notifiers,
			    unsigned long start, unsigned long end)
{
	pthread_mutex_lock(&notifiers->lock);
	widen(notifiers, start, end);
	pthread_mutex_unlock(&notifiers->lock);
}

int gpusvm_mmu_interval_notifier_insert(
	struct mmu_interval_notifier *notifier, struct mm_struct *mm,
	unsigned long start, unsigned long length,
	const struct mmu_interval_notifier_ops *ops)
{
	struct interval_notifiers *notifiers = &mm->notifiers;

	if (!length || start + (length - 1) < start)
		return -EOVERFLOW;
	*notifier = (struct mmu_interval_notifier){
		.interval_tree.start = start,
		.interval_tree.last = start + length - 1,
		.interval_tree.rb.rbe_color = NOT_IN_TREE,
		.ops = ops,
		.mm = mm,
	};

	pthread_mutex_lock(&notifiers->lock);
	widen(notifiers, start, start + length);
	if (invalidating(notifiers)) {
		/* It counts as hit by what is in progress: readers wait. */
		notifier->invalidate_seq = notifiers->seq;
		notifier->deferred = notifiers->deferred;
		notifiers->deferred = notifier;
	} else if (notifiers->active) {
		/* An event that hit nobody yet might have hit this one. */
		notifiers->seq |= 1;
		notifier->invalidate_seq = notifiers->seq;
		tree_insert(notifiers, notifier);
	} else {
		notifier->invalidate_seq = notifiers->seq - 1;
		tree_insert(notifiers, notifier);
	}
	pthread_mutex_unlock(&notifiers->lock);
	gpusvm_change_subscribed();
	return 0;
}

/* Take @notifier off the list of what is deferred; false if it is not there. */
static bool cancel_deferred(struct interval_notifiers *notifiers,
			    struct mmu_interval_notifier *notifier)
{
	struct mmu_interval_notifier **link = &notifiers->deferred;

	while (*link && *link != notifier)
		link = &(*link)->deferred;
	if (!*link)
		return false;
	*link = notifier->deferred;
	return true;
}

void gpusvm_mmu_interval_notifier_remove(struct mmu_interval_notifier *notifier)
{
	struct interval_notifiers *notifiers = &notifier->mm->notifiers;
	unsigned long seq;

	lockdep_check_not_in_callback();
	pthread_mutex_lock(&notifiers->lock);
	if (!invalidating(notifiers)) {
		tree_remove(notifiers, notifier);
	} else if (in_tree(notifier)) {
		notifier->deferred = notifiers->deferred;
		notifiers->deferred = notifier;
		/* A callback may be running, and the event's end looks at it */
		seq = notifiers->seq;
		while (notifiers->seq == seq)
			pthread_cond_wait(&notifiers->changed,
					  &notifiers->lock);
	} else {
		cancel_deferred(notifiers, notifier);
	}
	pthread_mutex_unlock(&notifiers->lock);
}

unsigned long
gpusvm_mmu_interval_read_begin(struct mmu_interval_notifier *notifier)
{
	struct interval_notifiers *notifiers = &notifier->mm->notifiers;
	unsigned long seq;

	lockdep_check_not_in_callback();
	pthread_mutex_lock(&notifiers->lock);
	seq = READ_ONCE(notifier->invalidate_seq);
	while (notifiers->seq == seq)
		pthread_cond_wait(&notifiers->changed, &notifiers->lock);
	pthread_mutex_unlock(&notifiers->lock);
	return seq;
}
