/* SPDX-License-Identifier: MIT */
/*
 * What the engines share: the arrays that a copy callback is given, cut into
 * runs of pages that are adjacent on both sides.
 */
#ifndef GPUSVM_COPY_RUN_H
#define GPUSVM_COPY_RUN_H

#include <gpusvm/kernel.h>
#include <stddef.h>

struct page;

/* How many pages from page @i on a single copy can take; 0 if @i has none. */
unsigned long gpusvm_copy_run(struct page **pages, const dma_addr_t *dma_addr,
			      unsigned long npages, unsigned long i);

/* The same for pages without a source, which are to be cleared. */
unsigned long gpusvm_clear_run(struct page **pages, const dma_addr_t *dma_addr,
			       unsigned long npages, unsigned long i);

typedef void (*copy_fn)(void *to, const void *from, size_t size);

/*
 * The callbacks, with @copy for each run.  -EOPNOTSUPP for device memory that
 * is in a file and not mapped; some runs may have been copied then.
 */
int gpusvm_runs_to_devmem(struct page **pages, const dma_addr_t *dma_addr,
			  unsigned long npages, copy_fn copy);
int gpusvm_runs_to_ram(struct page **pages, const dma_addr_t *dma_addr,
		       unsigned long npages, copy_fn copy);

#endif /* GPUSVM_COPY_RUN_H */
