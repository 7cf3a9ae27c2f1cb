/* SPDX-License-Identifier: MIT */
/* See run.h. */
#include "run.h"

#include <errno.h>
#include <gpusvm/pagemap.h>
#include <stdbool.h>
#include <string.h>

#include "compiler.h"
#include "page.h"
#include "page_size.h"

/* Structures of two pagemaps may happen to be adjacent. */
static bool is_next_page(struct page **pages, unsigned long i, unsigned long n)
{
	return pages[i + n] == pages[i] + n &&
	       pages[i + n]->pgmap == pages[i]->pgmap;
}

unsigned long gpusvm_copy_run(struct page **pages, const dma_addr_t *dma_addr,
			      unsigned long npages, unsigned long i)
{
	unsigned long n;

	for (n = 0; i + n < npages && pages[i + n] && dma_addr[i + n]; n++)
		if (dma_addr[i + n] != dma_addr[i] + (n << PAGE_SHIFT) ||
		    !is_next_page(pages, i, n))
			break;
	return n;
}

unsigned long gpusvm_clear_run(struct page **pages, const dma_addr_t *dma_addr,
			       unsigned long npages, unsigned long i)
{
	unsigned long n;

	for (n = 0; i + n < npages && pages[i + n] && !dma_addr[i + n]; n++)
		if (!is_next_page(pages, i, n))
			break;
	return n;
}

static bool is_mapped(const struct page *page)
{
	const struct gpusvm_pagemap_file *file = page->pgmap->file;

	return !file || file->mapped;
}

int gpusvm_runs_to_devmem(struct page **pages, const dma_addr_t *dma_addr,
			  unsigned long npages, copy_fn copy)
{
	unsigned long i, n;
	void *to;

	for (i = 0; i < npages; i += max(n, 1ul)) {
		n = 0;
		if (!pages[i])
			continue;
		if (!is_mapped(pages[i]))
			return -EOPNOTSUPP;
		to = gpusvm_page_address(pages[i]);
		n = gpusvm_copy_run(pages, dma_addr, npages, i);
		if (n) {
			copy(to, (const void *)dma_addr[i], n << PAGE_SHIFT);
			continue;
		}
		n = gpusvm_clear_run(pages, dma_addr, npages, i);
		memset(to, 0, n << PAGE_SHIFT);
	}
	return 0;
}

int gpusvm_runs_to_ram(struct page **pages, const dma_addr_t *dma_addr,
		       unsigned long npages, copy_fn copy)
{
	unsigned long i, n;

	for (i = 0; i < npages; i += max(n, 1ul)) {
		n = gpusvm_copy_run(pages, dma_addr, npages, i);
		if (!n)
			continue;
		if (!is_mapped(pages[i]))
			return -EOPNOTSUPP;
		copy((void *)dma_addr[i], gpusvm_page_address(pages[i]),
		     n << PAGE_SHIFT);
	}
	return 0;
}
