/* SPDX-License-Identifier: MIT */
/* Interval notifiers under their kernel names. */
#ifndef GPUSVM_LINUX_MMU_NOTIFIER_H
#define GPUSVM_LINUX_MMU_NOTIFIER_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#include <linux/interval_tree.h>
#include <linux/mmap_lock.h>

static inline bool
mmu_notifier_range_blockable(const struct mmu_notifier_range *range)
{
	return range->flags & MMU_NOTIFIER_RANGE_BLOCKABLE;
}

static inline int
mmu_interval_notifier_insert(struct mmu_interval_notifier *notifier,
			     struct mm_struct *mm, unsigned long start,
			     unsigned long length,
			     const struct mmu_interval_notifier_ops *ops)
{
	return gpusvm_mmu_interval_notifier_insert(notifier, mm, start, length,
						   ops);
}

static inline void
mmu_interval_notifier_remove(struct mmu_interval_notifier *notifier)
{
	gpusvm_mmu_interval_notifier_remove(notifier);
}

static inline unsigned long
mmu_interval_read_begin(struct mmu_interval_notifier *notifier)
{
	return gpusvm_mmu_interval_read_begin(notifier);
}

static inline bool
mmu_interval_read_retry(struct mmu_interval_notifier *notifier,
			unsigned long seq)
{
	return gpusvm_mmu_interval_read_retry(notifier, seq);
}

static inline void
mmu_interval_set_seq(struct mmu_interval_notifier *notifier,
		     unsigned long cur_seq)
{
	gpusvm_mmu_interval_set_seq(notifier, cur_seq);
}

#endif /* GPUSVM_LINUX_MMU_NOTIFIER_H */
