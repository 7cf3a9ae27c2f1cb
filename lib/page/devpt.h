/* SPDX-License-Identifier: MIT */
/*
 * The device page table of an address space: which device page stands at an
 * address.  It plays the part of the kernel's device-private page table
 * entries.
 *
 * An interval tree of leaves with 64 entries each, so its size follows what is
 * resident.  Only gpusvm_devpt_set() allocates.  The caller locks.
 */
#ifndef GPUSVM_PAGE_DEVPT_H
#define GPUSVM_PAGE_DEVPT_H

#include <gpusvm/kernel.h>

struct devpt_leaf;

/**
 * struct devpt - The table
 * @leaves: Tree of leaves
 * @last: The leaf that was found last, or NULL: most look-ups are sequential
 * @npages: Entries that are set
 */
struct devpt {
	struct rb_root_cached leaves;
	struct devpt_leaf *last;
	unsigned long npages;
};

/*
 * Put @page at @addr and record the address in the page.  -ENOMEM; -EEXIST if
 * another page stands there.
 */
int gpusvm_devpt_set(struct devpt *pt, unsigned long addr, struct page *page);

/*
 * The same for @n pages side by side from @addr on, where nothing stands.
 * -ENOMEM, with what was put there still there.
 */
int gpusvm_devpt_set_run(struct devpt *pt, unsigned long addr,
			 struct page **pages, unsigned long n);

/* The page at @addr, or NULL. */
struct page *gpusvm_devpt_get(struct devpt *pt, unsigned long addr);

/* Take the page at @addr out, if there is one, and return it. */
struct page *gpusvm_devpt_clear(struct devpt *pt, unsigned long addr);

/* Take the @n pages that stand side by side from @addr on out. */
void gpusvm_devpt_clear_run(struct devpt *pt, unsigned long addr,
			    unsigned long n);

/* The first page in [start, end), or NULL; its vaddr tells where. */
struct page *gpusvm_devpt_next(struct devpt *pt, unsigned long start,
			       unsigned long end);

#endif /* GPUSVM_PAGE_DEVPT_H */
