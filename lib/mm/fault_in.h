/* SPDX-License-Identifier: MIT */
/*
 * Looking at an interval as a device would see it: what hmm_range_fault() does
 * in the kernel.
 *
 * Pages are not pinned.  What was found holds until an event for it comes, so
 * the caller brackets the call by gpusvm_mmu_interval_read_begin() and
 * _read_retry().
 */
#ifndef GPUSVM_MM_FAULT_IN_H
#define GPUSVM_MM_FAULT_IN_H

#include <gpusvm/kernel.h>

struct page;

/*
 * What is at an address: a device page (its pointer), or system memory (the
 * log2 of the pages that the CPU maps as one, in the upper bits).
 */
#define PFN_SYSTEM 1ul
#define PFN_ORDER_SHIFT 8

static inline struct page *pfn_device_page(unsigned long pfn)
{
	return pfn & PFN_SYSTEM ? NULL : (struct page *)pfn;
}

static inline unsigned int pfn_order(unsigned long pfn)
{
	return pfn & PFN_SYSTEM ? (unsigned int)(pfn >> PFN_ORDER_SHIFT) : 0;
}

/**
 * struct fault_in - A request
 * @mm: The address space
 * @start: First address, page-aligned
 * @npages: Number of pages
 * @write: They are to be written
 * @owner: Private device pages of this owner are taken as they are, others come
 *	home; NULL brings all home.  Coherent ones, as in the kernel, are taken
 *	whoever has them
 * @deadline_ns: When to give up waiting
 * @pfns: Filled, one per page
 */
struct fault_in {
	struct mm_struct *mm;
	unsigned long start;
	unsigned long npages;
	bool write;
	void *owner;
	unsigned long deadline_ns;
	unsigned long *pfns;
};

/*
 * Make every page present.  -EFAULT if one cannot be (no mapping, not
 * readable, an I/O error); -EPERM if it may not be written; -EBUSY if it took
 * too long.
 */
int gpusvm_fault_in(const struct fault_in *fault);

/*
 * Make the pages of a part of one mapping present, none of which the CPU cannot
 * reach; only @mm and @write count.  -EAGAIN to be tried again: pages have gone,
 * as after the program dropped them; -EFAULT.
 */
int gpusvm_fault_in_populate(const struct fault_in *fault, unsigned long start,
			     unsigned long end);

/*
 * Whether every page of [start, end) is present already, or on a device of
 * @owner.  Faults nothing in; also false when that cannot be found out.
 */
bool gpusvm_pages_present(struct mm_struct *mm, unsigned long start,
			  unsigned long end, void *owner);

#endif /* GPUSVM_MM_FAULT_IN_H */
