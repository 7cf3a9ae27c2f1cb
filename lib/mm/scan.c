/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of page presence by PAGEMAP_SCAN (Linux 6.7), or by reading
 * /proc/self/pagemap where the kernel is older.
 */
#include "scan.h"

#include <errno.h>
#include <fcntl.h>
#include <gpusvm/gpusvm.h>
#include <string.h>

#include "compiler.h"
#include "mm.h"
#include "page_size.h"
#include "sys.h"

#define CATEGORIES \
	(PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_PFNZERO | PAGE_IS_HUGE)

/* Of an entry of /proc/pid/pagemap */
#define PM_PRESENT (1ull << 63)
#define PM_SWAPPED (1ull << 62)

static long scan_ioctl(struct mm_struct *mm, struct page_region *regions,
		       unsigned long nregions, unsigned long start,
		       unsigned long end, unsigned long *walk_end)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (unsigned long)regions,
		.vec_len = nregions,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = CATEGORIES,
	};
	int n = gpusvm_sys_pagemap_scan(mm->pagemap_fd, &arg);

	*walk_end = arg.walk_end;
	return n;
}

static int scan_by_ioctl(struct mm_struct *mm, unsigned long start,
			 unsigned long npages, unsigned char *state)
{
	unsigned long end = start + (npages << PAGE_SHIFT);
	struct page_region regions[32];
	unsigned long addr = start;
	long i, n;

	while (addr < end) {
		n = scan_ioctl(mm, regions, ARRAY_SIZE(regions), addr, end,
			       &addr);
		if (n < 0)
			return (int)n;
		for (i = 0; i < n; i++)
			memset(state + ((regions[i].start - start) >>
					PAGE_SHIFT),
			       (int)regions[i].categories,
			       (regions[i].end - regions[i].start) >>
				       PAGE_SHIFT);
	}
	return 0;
}

static int scan_by_read(struct mm_struct *mm, unsigned long start,
			unsigned long npages, unsigned char *state)
{
	unsigned long i, count, first = start >> PAGE_SHIFT;
	__u64 entry[64];
	ssize_t n;

	while (npages) {
		count = min(npages, ARRAY_SIZE(entry));
		n = gpusvm_sys_pread(mm->pagemap_fd, entry,
				     count * sizeof(entry[0]),
				     (off_t)(first * sizeof(entry[0])));
		if (n != (ssize_t)(count * sizeof(entry[0])))
			return n < 0 ? (int)n : -EFAULT;
		for (i = 0; i < count; i++) {
			if (entry[i] & PM_PRESENT)
				state[i] = PAGE_IS_PRESENT;
			else if (entry[i] & PM_SWAPPED)
				state[i] = PAGE_IS_SWAPPED;
		}
		state += count;
		first += count;
		npages -= count;
	}
	return 0;
}

int gpusvm_scan_pages(struct mm_struct *mm, unsigned long start,
		      unsigned long npages, unsigned char *state)
{
	memset(state, 0, npages);
	if (mm->features & GPUSVM_FEATURE_PAGEMAP_SCAN)
		return scan_by_ioctl(mm, start, npages, state);
	return scan_by_read(mm, start, npages, state);
}

bool gpusvm_scan_is_huge(struct mm_struct *mm, unsigned long addr)
{
	unsigned char state;

	return !gpusvm_scan_pages(mm, addr, 1, &state) &&
	       (state & PAGE_IS_HUGE);
}

int gpusvm_scan_open(struct mm_struct *mm)
{
	unsigned long walk_end, start;
	struct page_region region;

	mm->pagemap_fd =
		gpusvm_sys_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (mm->pagemap_fd < 0)
		return mm->pagemap_fd;
	start = PAGE_ALIGN_DOWN((unsigned long)&region);
	if (scan_ioctl(mm, &region, 1, start, start + PAGE_SIZE, &walk_end) > 0)
		mm->features |= GPUSVM_FEATURE_PAGEMAP_SCAN;
	return 0;
}

void gpusvm_scan_close(struct mm_struct *mm)
{
	gpusvm_sys_close(mm->pagemap_fd);
}
