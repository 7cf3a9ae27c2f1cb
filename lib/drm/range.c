/* SPDX-License-Identifier: MIT */
/* Ranges: found, made, referenced, flagged and removed. */
#include "svm.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <limits.h>
#include <linux/err.h>
#include <linux/kref.h>
#include <linux/list.h>

#include "change.h"
#include "compiler.h"
#include "itree.h"
#include "log.h"
#include "mm.h"
#include "radix.h"

static struct drm_gpusvm_range *to_range(struct interval_tree_node *node)
{
	return node ? gpusvm_container_of(node, struct drm_gpusvm_range, itree)
		    : NULL;
}

/* Changed with the driver lock and the notifier lock, and read with either. */
static struct radix *range_index(struct drm_gpusvm *gpusvm)
{
	return (struct radix *)&gpusvm->index;
}

struct drm_gpusvm_range *
drm_gpusvm_range_find(struct drm_gpusvm_notifier *notifier, unsigned long start,
		      unsigned long end)
{
	struct drm_gpusvm_range *range;

	if (start >= end)
		return NULL;
	range = gpusvm_radix_get(range_index(notifier->gpusvm), start);
	if (range && range->notifier == notifier)
		return range;
	return to_range(gpusvm_itree_first(&notifier->root, start, end - 1));
}

static struct drm_gpusvm_range *
range_create(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier,
	     unsigned long start, unsigned long size, bool migrate_devmem)
{
	struct drm_gpusvm_range_flags flags = {
		.migrate_devmem = migrate_devmem,
	};
	struct drm_gpusvm_range *range;

	range = gpusvm->ops->range_alloc ? gpusvm->ops->range_alloc(gpusvm)
					 : gpusvm_alloc(sizeof(*range));
	if (!range)
		return NULL;
	kref_init(&range->refcount);
	range->gpusvm = gpusvm;
	range->notifier = notifier;
	range->itree.start = start;
	range->itree.last = start + size - 1;
	range->notifier_seq = LONG_MAX;
	gpusvm_range_set_flags(range, flags);
	return range;
}

/*
 * Not into a change under way, whose announcement may have missed the range:
 * -EAGAIN.
 */
static int range_insert(struct drm_gpusvm *gpusvm,
			struct drm_gpusvm_notifier *notifier,
			struct drm_gpusvm_range *range)
{
	struct drm_gpusvm_range *prev;

	/* The notifier lock is no place to allocate. */
	gpusvm_radix_reserve(range_index(gpusvm), range->itree.start,
			     range->itree.last);
	gpusvm_down_write(&gpusvm->notifier_lock);
	if (gpusvm_change_is_near(gpusvm->mm, range->itree.start,
				  range->itree.last + 1)) {
		gpusvm_radix_clear(range_index(gpusvm), range->itree.start,
				   range->itree.last);
		gpusvm_up_write(&gpusvm->notifier_lock);
		return -EAGAIN;
	}
	gpusvm_itree_insert(&notifier->root, &range->itree);
	gpusvm_radix_set(range_index(gpusvm), range->itree.start,
			 range->itree.last, range);
	prev = to_range(gpusvm_itree_prev(&range->itree));
	list_add(&range->entry, prev ? &prev->entry : &notifier->range_list);
	gpusvm_up_write(&gpusvm->notifier_lock);
	return 0;
}

/*
 * The whole mapping is watched as far as the notifier reaches, not only the
 * range: one registration serves all ranges to come.
 */
static void watch(struct drm_gpusvm *gpusvm,
		  struct drm_gpusvm_notifier *notifier, const struct vma *vma)
{
	gpusvm_mm_watch(gpusvm->mm,
			max(vma->start, drm_gpusvm_notifier_start(notifier)),
			min(vma->end, drm_gpusvm_notifier_end(notifier)));
}

/* With the address space lock held. */
static struct drm_gpusvm_range *
find_or_insert_locked(struct drm_gpusvm *gpusvm,
		      struct drm_gpusvm_notifier *notifier,
		      unsigned long fault_addr, unsigned long gpuva_start,
		      unsigned long gpuva_end, const struct drm_gpusvm_ctx *ctx)
{
	struct drm_gpusvm_range *range;
	unsigned long size;
	struct vma vma;

	if (!gpusvm_mm_alive(gpusvm->mm))
		return ERR_PTR(-EFAULT);
	if (gpusvm_vma_find(gpusvm->mm, fault_addr, &vma))
		return ERR_PTR(-ENOENT);
	if (!ctx->read_only && !vma.write)
		return ERR_PTR(-EPERM);
	range = drm_gpusvm_range_find(notifier, fault_addr, fault_addr + 1);
	if (range)
		return range;

	watch(gpusvm, notifier, &vma);
	size = gpusvm_chunk_size(gpusvm, notifier, &vma, fault_addr,
				 gpuva_start, gpuva_end, ctx);
	if (!size)
		return ERR_PTR(-EINVAL);
	range = range_create(gpusvm, notifier, ALIGN_DOWN(fault_addr, size),
			     size, ctx->devmem_possible && vma.anon);
	if (!range)
		return ERR_PTR(-ENOMEM);
	if (!range_insert(gpusvm, notifier, range))
		return range;
	drm_gpusvm_range_put(range);
	return ERR_PTR(-EAGAIN);
}

static struct drm_gpusvm_range *
find_or_insert(struct drm_gpusvm *gpusvm, struct drm_gpusvm_notifier *notifier,
	       unsigned long fault_addr, unsigned long gpuva_start,
	       unsigned long gpuva_end, const struct drm_gpusvm_ctx *ctx)
{
	struct mm_struct *mm = gpusvm->mm;
	struct drm_gpusvm_range *range;
	int err;

	for (;;) {
		gpusvm_down_read(&mm->mmap_lock);
		range = find_or_insert_locked(gpusvm, notifier, fault_addr,
					      gpuva_start, gpuva_end, ctx);
		gpusvm_up_read(&mm->mmap_lock);
		if (range != ERR_PTR(-EAGAIN))
			return range;
		err = gpusvm_change_wait(mm,
					 drm_gpusvm_notifier_start(notifier),
					 drm_gpusvm_notifier_end(notifier));
		if (err)
			return ERR_PTR(err);
	}
}

struct drm_gpusvm_range *drm_gpusvm_range_find_or_insert(
	struct drm_gpusvm *gpusvm, unsigned long fault_addr,
	unsigned long gpuva_start, unsigned long gpuva_end,
	const struct drm_gpusvm_ctx *ctx)
{
	struct drm_gpusvm_notifier *notifier;
	struct drm_gpusvm_range *range;
	bool created;

	lockdep_check_not_in_callback();
	check_driver_lock(gpusvm);
	if (!ctx || fault_addr < gpusvm->mm_start ||
	    fault_addr - gpusvm->mm_start >= gpusvm->mm_range)
		return ERR_PTR(-EINVAL);
	if (!gpusvm_mm_alive(gpusvm->mm))
		return ERR_PTR(-EFAULT);

	notifier = gpusvm_notifier_get(gpusvm, fault_addr, &created);
	if (IS_ERR(notifier))
		return ERR_CAST(notifier);
	range = find_or_insert(gpusvm, notifier, fault_addr, gpuva_start,
			       gpuva_end, ctx);
	if (created && IS_ERR(range))
		gpusvm_notifier_destroy(gpusvm, notifier);
	else if (created)
		gpusvm_notifier_insert(gpusvm, notifier);
	return range;
}

struct drm_gpusvm_range *drm_gpusvm_range_get(struct drm_gpusvm_range *range)
{
	kref_get(&range->refcount);
	return range;
}

static void range_release(struct kref *refcount)
{
	struct drm_gpusvm_range *range = gpusvm_container_of(
		refcount, struct drm_gpusvm_range, refcount);

	if (range->gpusvm->ops->range_free)
		range->gpusvm->ops->range_free(range);
	else
		gpusvm_free(range);
}

void drm_gpusvm_range_put(struct drm_gpusvm_range *range)
{
	kref_put(&range->refcount, range_release);
}

void gpusvm_range_unlink(struct drm_gpusvm *gpusvm,
			 struct drm_gpusvm_range *range)
{
	gpusvm_down_write(&gpusvm->notifier_lock);
	gpusvm_range_unmap_locked(range);
	gpusvm_free(range->dma_addr);
	range->dma_addr = NULL;
	gpusvm_itree_remove(&range->notifier->root, &range->itree);
	gpusvm_radix_clear(range_index(gpusvm), range->itree.start,
			   range->itree.last);
	list_del(&range->entry);
	gpusvm_up_write(&gpusvm->notifier_lock);
	drm_gpusvm_range_put(range);
}

void drm_gpusvm_range_remove(struct drm_gpusvm *gpusvm,
			     struct drm_gpusvm_range *range)
{
	unsigned long start = drm_gpusvm_range_start(range);
	struct drm_gpusvm_notifier *notifier;
	bool found;

	lockdep_check_not_in_callback();
	check_driver_lock(gpusvm);
	notifier = gpusvm_notifier_find(gpusvm, start, start + 1);
	found = notifier &&
		drm_gpusvm_range_find(notifier, start, start + 1) == range;
	lockdep_check(found, "the range is not there");
	if (!found) {
		log_error("range_remove: the range at %#lx is not there "
			  "(removed twice?)",
			  start);
		return;
	}
	gpusvm_range_unlink(gpusvm, range);
	if (list_empty(&notifier->range_list))
		gpusvm_notifier_remove(gpusvm, notifier);
}

void drm_gpusvm_range_set_unmapped(struct drm_gpusvm_range *range,
				   const struct mmu_notifier_range *mmu_range)
{
	struct drm_gpusvm_range_flags flags = gpusvm_range_flags(range);

	lockdep_check_held(&range->gpusvm->notifier_lock,
			   "called without the notifier lock");
	flags.unmapped = true;
	if (drm_gpusvm_range_start(range) < mmu_range->start ||
	    drm_gpusvm_range_end(range) > mmu_range->end)
		flags.partial_unmap = true;
	gpusvm_range_set_flags(range, flags);
}
