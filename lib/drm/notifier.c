/* SPDX-License-Identifier: MIT */
/*
 * Notifiers: slots of address space, each one subscription, and how an event
 * reaches the driver.
 */
#include "svm.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <linux/err.h>
#include <linux/list.h>

#include "compiler.h"
#include "itree.h"
#include "nofault.h"

static bool notifier_invalidate(struct mmu_interval_notifier *interval,
				const struct mmu_notifier_range *mmu_range,
				unsigned long cur_seq)
{
	struct drm_gpusvm_notifier *notifier = gpusvm_container_of(
		interval, struct drm_gpusvm_notifier, notifier);
	struct drm_gpusvm *gpusvm = notifier->gpusvm;

	/* The lock may have to be waited for. */
	if (!(mmu_range->flags & MMU_NOTIFIER_RANGE_BLOCKABLE))
		return false;

	gpusvm_down_write(&gpusvm->notifier_lock);
	gpusvm_nofault_enter();
	gpusvm_mmu_interval_set_seq(interval, cur_seq);
	gpusvm->ops->invalidate(gpusvm, notifier, mmu_range);
	gpusvm_nofault_leave();
	gpusvm_up_write(&gpusvm->notifier_lock);
	return true;
}

static const struct mmu_interval_notifier_ops notifier_ops = {
	.invalidate = notifier_invalidate,
};

static struct drm_gpusvm_notifier *to_notifier(struct interval_tree_node *node)
{
	return node ? gpusvm_container_of(node, struct drm_gpusvm_notifier,
					  itree)
		    : NULL;
}

struct drm_gpusvm_notifier *gpusvm_notifier_find(struct drm_gpusvm *gpusvm,
						 unsigned long start,
						 unsigned long end)
{
	return to_notifier(gpusvm_itree_first(&gpusvm->root, start, end - 1));
}

void gpusvm_notifier_unsubscribe(struct drm_gpusvm_notifier *notifier)
{
	if (notifier->flags.removed)
		return;
	gpusvm_mmu_interval_notifier_remove(&notifier->notifier);
	notifier->flags.removed = true;
}

void gpusvm_notifier_destroy(struct drm_gpusvm *gpusvm,
			     struct drm_gpusvm_notifier *notifier)
{
	gpusvm_notifier_unsubscribe(notifier);
	gpusvm_include(notifier, sizeof(*notifier));
	if (gpusvm->ops->notifier_free)
		gpusvm->ops->notifier_free(notifier);
	else
		gpusvm_free(notifier);
}

static struct drm_gpusvm_notifier *notifier_create(struct drm_gpusvm *gpusvm,
						   unsigned long addr)
{
	struct drm_gpusvm_notifier *notifier;
	unsigned long start;
	int err;

	notifier = gpusvm->ops->notifier_alloc
			   ? gpusvm->ops->notifier_alloc()
			   : gpusvm_alloc(sizeof(*notifier));
	if (!notifier)
		return ERR_PTR(-ENOMEM);
	start = ALIGN_DOWN(addr, gpusvm->notifier_size);
	notifier->gpusvm = gpusvm;
	notifier->flags.removed = true;
	notifier->itree.start = start;
	notifier->itree.last = start + gpusvm->notifier_size - 1;
	INIT_LIST_HEAD(&notifier->range_list);
	err = gpusvm_exclude(notifier, sizeof(*notifier));
	if (!err)
		err = gpusvm_mmu_interval_notifier_insert(&notifier->notifier,
							  gpusvm->mm, start,
							  gpusvm->notifier_size,
							  &notifier_ops);
	if (err) {
		gpusvm_notifier_destroy(gpusvm, notifier);
		return ERR_PTR(err);
	}
	notifier->flags.removed = false;
	return notifier;
}

struct drm_gpusvm_notifier *gpusvm_notifier_get(struct drm_gpusvm *gpusvm,
						unsigned long addr,
						bool *created)
{
	struct drm_gpusvm_notifier *notifier;

	notifier = gpusvm_notifier_find(gpusvm, addr, addr + 1);
	*created = !notifier;
	return notifier ? notifier : notifier_create(gpusvm, addr);
}

void gpusvm_notifier_insert(struct drm_gpusvm *gpusvm,
			    struct drm_gpusvm_notifier *notifier)
{
	struct drm_gpusvm_notifier *prev;

	gpusvm_down_write(&gpusvm->notifier_lock);
	gpusvm_itree_insert(&gpusvm->root, &notifier->itree);
	prev = to_notifier(gpusvm_itree_prev(&notifier->itree));
	list_add(&notifier->entry,
		 prev ? &prev->entry : &gpusvm->notifier_list);
	gpusvm_up_write(&gpusvm->notifier_lock);
}

void gpusvm_notifier_remove(struct drm_gpusvm *gpusvm,
			    struct drm_gpusvm_notifier *notifier)
{
	gpusvm_notifier_unsubscribe(notifier);
	gpusvm_down_write(&gpusvm->notifier_lock);
	gpusvm_itree_remove(&gpusvm->root, &notifier->itree);
	list_del(&notifier->entry);
	gpusvm_up_write(&gpusvm->notifier_lock);
	gpusvm_notifier_destroy(gpusvm, notifier);
}
