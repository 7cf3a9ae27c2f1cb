/* SPDX-License-Identifier: MIT */
/*
 * Many ranges to device memory in one call.  To move a small range costs much
 * more than to copy it: where the ranges are adjacent, a batch pays that once.
 */
#ifndef GPUSVM_BATCH_H
#define GPUSVM_BATCH_H

#include <drm/drm_gpusvm.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct gpusvm_batch_entry - One range of a batch
 * @range: The range, inserted with devmem_possible
 * @devmem: Where to, initialised and as large as the range
 * @err: Filled with what drm_gpusvm_migrate_to_devmem() would have returned
 */
struct gpusvm_batch_entry {
	struct drm_gpusvm_range *range;
	struct drm_gpusvm_devmem *devmem;
	int err;
};

/**
 * gpusvm_migrate_batch_to_devmem() - Move many ranges to device memory
 * @gpusvm: The GPU SVM
 * @entries: The ranges, in any order
 * @n: How many
 * @ctx: Uses timeslice_ms
 *
 * Does to each range what drm_gpusvm_migrate_to_devmem() does, and with the same
 * promises: it is on the device, or as it was, whatever becomes of the others.
 * Ranges that lie one behind the other within an aligned 512 pages (2 MiB of
 * pages of 4 KiB) go together: one invalidation for all of them
 * (MMU_NOTIFY_MIGRATE), and their pages are taken from the CPU at once.  All
 * populate_devmem_pfn of these are called before it and all copy_to_devmem one
 * after the other, before the fence of the first (gpusvm_copy_completes()) is
 * waited for; until all of them have been, a CPU that touches any of it waits.
 *
 * Where they cannot go together, as when a page among them is pinned, or without
 * GPUSVM_FEATURE_MOVE, they go in smaller groups, one after the other, and in the
 * end each by itself: one that cannot does not keep the others.
 *
 * No order of ranges that do not go together is promised.  A range that is named
 * twice goes once; the second time it is on a device already.
 *
 * Context: As drm_gpusvm_migrate_to_devmem().
 * Return: 0 if all are on the device; else the first error in @entries, which may
 * be -EINVAL for one without range or devmem.  -EINVAL without @entries; -ENOMEM
 * in all of them, with nothing moved, if private memory is out.
 */
GPUSVM_API int gpusvm_migrate_batch_to_devmem(
	struct drm_gpusvm *gpusvm, struct gpusvm_batch_entry *entries,
	unsigned long n, const struct drm_gpusvm_ctx *ctx) GPUSVM_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#include <gpusvm/names_end.h>

#endif /* GPUSVM_BATCH_H */
