/* SPDX-License-Identifier: MIT */
/*
 * The library-private allocator.
 *
 * What the fault handler touches must never be on a device, or a fault would
 * wait for itself.  So the library allocates from memory of its own, taken by
 * mmap and never by malloc, which no range may cover: all of it lies in one
 * reserved window of address space with a guard page at either end, and
 * gpusvm_alloc_window() tells the mappings' look-up where that is.
 *
 * gpusvm_alloc() and gpusvm_free() (declared in gpusvm/gpusvm.h) are thread-
 * safe and allocate zeroed, 64-byte aligned memory in powers of two; large
 * blocks go back to the kernel when freed.
 */
#ifndef GPUSVM_BASE_ALLOC_H
#define GPUSVM_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Allocate @n elements of @size bytes; NULL also if the product overflows.
 */
void *gpusvm_alloc_array(size_t n, size_t size);

/*
 * Take @size bytes (a multiple of the page size) aligned to @align (a power of
 * two, at least the page size) straight from the window, mapped readable and
 * writable but not populated: for thread stacks.  NULL if there is no more.
 */
void *gpusvm_alloc_pages(size_t size, size_t align);
void gpusvm_free_pages(void *ptr, size_t size);

/* The reserved window; empty (0, 0) before the first allocation. */
void gpusvm_alloc_window(unsigned long *start, unsigned long *end);

/* Blocks from gpusvm_alloc() and gpusvm_alloc_array() not freed yet. */
size_t gpusvm_alloc_live(void);

#endif /* GPUSVM_BASE_ALLOC_H */
