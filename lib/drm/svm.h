/* SPDX-License-Identifier: MIT */
/* What the files of this layer share. */
#ifndef GPUSVM_DRM_SVM_H
#define GPUSVM_DRM_SVM_H

#include <drm/drm_gpusvm.h>

#include "lockdep.h"
#include "vma.h"

/* Report a call without the driver's lock, if the driver said which it is. */
#define check_driver_lock(gpusvm)                                          \
	lockdep_check(!(gpusvm)->lock_dep_map ||                           \
			      gpusvm_lockdep_held((gpusvm)->lock_dep_map), \
		      "called without the driver lock")

/* notifier.c */
struct drm_gpusvm_notifier *gpusvm_notifier_find(struct drm_gpusvm *gpusvm,
						 unsigned long start,
						 unsigned long end);
/* The notifier for an address, made if need be: *@created.  Or ERR_PTR. */
struct drm_gpusvm_notifier *gpusvm_notifier_get(struct drm_gpusvm *gpusvm,
						unsigned long addr,
						bool *created);
/* Make a created one known, with its first range. */
void gpusvm_notifier_insert(struct drm_gpusvm *gpusvm,
			    struct drm_gpusvm_notifier *notifier);
/* End the subscription: no callback runs afterwards. */
void gpusvm_notifier_unsubscribe(struct drm_gpusvm_notifier *notifier);
/* Free a notifier without ranges that was inserted, or was not. */
void gpusvm_notifier_remove(struct drm_gpusvm *gpusvm,
			    struct drm_gpusvm_notifier *notifier);
void gpusvm_notifier_destroy(struct drm_gpusvm *gpusvm,
			     struct drm_gpusvm_notifier *notifier);

/*
 * chunk.c: the largest chunk size around @addr that fits, or 0.  @notifier may
 * be new.
 */
unsigned long gpusvm_chunk_size(struct drm_gpusvm *gpusvm,
				struct drm_gpusvm_notifier *notifier,
				struct vma *vma, unsigned long addr,
				unsigned long gpuva_start,
				unsigned long gpuva_end,
				const struct drm_gpusvm_ctx *ctx);

/* range.c: all of range_remove() but the end of an empty notifier. */
void gpusvm_range_unlink(struct drm_gpusvm *gpusvm,
			 struct drm_gpusvm_range *range);

/* pages.c: with the notifier lock held. */
void gpusvm_range_unmap_locked(struct drm_gpusvm_range *range);

/* Change flags as a whole word: others peek at it without a lock. */
static inline void gpusvm_range_set_flags(struct drm_gpusvm_range *range,
					  struct drm_gpusvm_range_flags flags)
{
	__atomic_store_n(&range->flags.__flags, flags.__flags,
			 __ATOMIC_RELEASE);
}

static inline struct drm_gpusvm_range_flags
gpusvm_range_flags(const struct drm_gpusvm_range *range)
{
	struct drm_gpusvm_range_flags flags;

	flags.__flags =
		__atomic_load_n(&range->flags.__flags, __ATOMIC_ACQUIRE);
	return flags;
}

#endif /* GPUSVM_DRM_SVM_H */
