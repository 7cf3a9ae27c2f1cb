/* SPDX-License-Identifier: MIT */
/*
 * The pagemaps of the process: which page frame numbers are device memory.
 * There are few; a list under a lock does.
 */
#ifndef GPUSVM_PAGE_PAGEMAP_H
#define GPUSVM_PAGE_PAGEMAP_H

struct page;

/* Look @npages numbers up at once; -EINVAL if one is not device memory. */
int gpusvm_pfns_to_pages(const unsigned long *pfn, struct page **pages,
			 unsigned long npages);

#endif /* GPUSVM_PAGE_PAGEMAP_H */
