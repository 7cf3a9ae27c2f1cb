/* SPDX-License-Identifier: MIT */
/*
 * The size of a page, asked of the kernel once: it is not 4 KiB everywhere.
 */
#ifndef GPUSVM_BASE_PAGE_SIZE_H
#define GPUSVM_BASE_PAGE_SIZE_H

/* log2 of the page size; set before main() and never changed. */
extern unsigned int gpusvm_page_shift;

#define PAGE_SHIFT gpusvm_page_shift
#define PAGE_SIZE (1ul << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))

#define PAGE_ALIGN_DOWN(x) ((x)&PAGE_MASK)
#define PAGE_ALIGN_UP(x) (((x) + PAGE_SIZE - 1) & PAGE_MASK)

#endif /* GPUSVM_BASE_PAGE_SIZE_H */
