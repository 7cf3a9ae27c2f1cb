/* SPDX-License-Identifier: MIT */
/*
 * The memcpy engine.  A run of pages that are adjacent on both sides is one
 * call.
 */
#include <gpusvm/copy.h>
#include <string.h>

#include "compiler.h"
#include "page.h"
#include "page_size.h"

/* Pages from @i on that a single copy can take; 0 if page @i has no copy. */
static unsigned long copy_run(struct page **pages, const dma_addr_t *dma_addr,
			      unsigned long npages, unsigned long i)
{
	unsigned long n;

	for (n = 0; i + n < npages && pages[i + n] && dma_addr[i + n]; n++)
		if (dma_addr[i + n] != dma_addr[i] + (n << PAGE_SHIFT) ||
		    pages[i + n] != pages[i] + n ||
		    pages[i + n]->pgmap != pages[i]->pgmap)
			break;
	return n;
}

int gpusvm_memcpy_to_devmem(struct page **pages, dma_addr_t *dma_addr,
			    unsigned long npages)
{
	unsigned long i, n;

	for (i = 0; i < npages; i += n) {
		n = copy_run(pages, dma_addr, npages, i);
		if (n) {
			memcpy(gpusvm_page_address(pages[i]),
			       (const void *)dma_addr[i], n << PAGE_SHIFT);
			continue;
		}
		n = 1;
		if (pages[i])
			memset(gpusvm_page_address(pages[i]), 0, PAGE_SIZE);
	}
	return 0;
}

int gpusvm_memcpy_to_ram(struct page **pages, dma_addr_t *dma_addr,
			 unsigned long npages)
{
	unsigned long i, n;

	for (i = 0; i < npages; i += max(n, 1ul)) {
		n = copy_run(pages, dma_addr, npages, i);
		if (n)
			memcpy((void *)dma_addr[i],
			       gpusvm_page_address(pages[i]), n << PAGE_SHIFT);
	}
	return 0;
}
