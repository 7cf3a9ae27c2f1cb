/* SPDX-License-Identifier: MIT */
/*
 * The size of a page, asked of the kernel once: it is not 4 KiB everywhere.
 */
#ifndef GPUSVM_BASE_PAGE_SIZE_H
#define GPUSVM_BASE_PAGE_SIZE_H

/* log2 of the page size; set before main() and never changed. */
extern unsigned int gpusvm_page_shift;

/* musl has a number for some architectures, in this one. */
#include <limits.h>
#undef PAGE_SIZE

#define PAGE_SHIFT gpusvm_page_shift
#define PAGE_SIZE (1ul << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))

#define PAGE_ALIGN_DOWN(x) ((x)&PAGE_MASK)
#define PAGE_ALIGN_UP(x) (((x) + PAGE_SIZE - 1) & PAGE_MASK)

/*
 * What the CPU maps as one huge page: as many pages as a table has entries, of
 * eight bytes.  2 MiB with pages of 4 KiB, 32 MiB with 16 KiB.
 */
#define HUGE_PAGE_SIZE (PAGE_SIZE << (PAGE_SHIFT - 3))

/*
 * How to align memory of @size bytes: where no huge page fits, so that what the
 * CPU may join to less than one (arm64) does.
 */
static inline unsigned long huge_alignment(unsigned long size)
{
	return size >= HUGE_PAGE_SIZE ? HUGE_PAGE_SIZE : 2ul << 20;
}

#endif /* GPUSVM_BASE_PAGE_SIZE_H */
