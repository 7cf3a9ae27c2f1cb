/* SPDX-License-Identifier: MIT */
/*
 * The memcpy engine.  A run of pages that are adjacent on both sides is one
 * call.
 */
#include <gpusvm/copy.h>
#include <string.h>

#include "run.h"

static void copy(void *to, const void *from, size_t size)
{
	memcpy(to, from, size);
}

int gpusvm_memcpy_to_devmem(struct page **pages, dma_addr_t *dma_addr,
			    unsigned long npages)
{
	return gpusvm_runs_to_devmem(pages, dma_addr, npages, copy);
}

int gpusvm_memcpy_to_ram(struct page **pages, dma_addr_t *dma_addr,
			 unsigned long npages)
{
	return gpusvm_runs_to_ram(pages, dma_addr, npages, copy);
}
