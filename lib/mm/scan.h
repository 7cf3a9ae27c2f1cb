/* SPDX-License-Identifier: MIT */
/*
 * Which pages of an interval are there: a snapshot that faults nothing in.
 */
#ifndef GPUSVM_MM_SCAN_H
#define GPUSVM_MM_SCAN_H

#include <gpusvm/kernel.h>

#include "uapi.h"

/*
 * Fill @state with PAGE_IS_PRESENT, _SWAPPED, _PFNZERO and _HUGE for each of
 * @npages pages from @start; 0 for a page that is not there, also where nothing
 * is mapped.  Before Linux 6.7 zero and huge pages are not told apart.
 * 0 or -errno.
 */
int gpusvm_scan_pages(struct mm_struct *mm, unsigned long start,
		      unsigned long npages, unsigned char *state);

/* Whether the CPU maps the page as part of a huge one; false if nobody says. */
bool gpusvm_scan_is_huge(struct mm_struct *mm, unsigned long addr);

/* Open and close what scans need; sets GPUSVM_FEATURE_PAGEMAP_SCAN. */
int gpusvm_scan_open(struct mm_struct *mm);
void gpusvm_scan_close(struct mm_struct *mm);

#endif /* GPUSVM_MM_SCAN_H */
