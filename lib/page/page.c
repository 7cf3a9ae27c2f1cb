/* SPDX-License-Identifier: MIT */
/* Device pages: references, numbers and addresses. */
#include "page.h"

#include <errno.h>
#include <gpusvm/fence.h>

#include "compiler.h"
#include "page_size.h"

void gpusvm_page_get(struct page *page)
{
	__atomic_fetch_add(&page->refcount, 1, __ATOMIC_RELAXED);
}

/*
 * At 0 the next allocation may take a page at once: what is needed to drop its
 * allocation is read while the reference still holds it.
 */
void gpusvm_pages_put(struct page **pages, unsigned long n)
{
	const struct dev_pagemap_ops *ops = pages[0]->pgmap->ops;
	void *zone_device_data = pages[0]->zone_device_data;
	unsigned long i, freed = 0;

	for (i = 0; i < n; i++)
		freed += __atomic_fetch_sub(&pages[i]->refcount, 1,
					    __ATOMIC_ACQ_REL) == 1;
	if (freed)
		ops->put(zone_device_data, freed);
}

void gpusvm_page_put(struct page *page)
{
	gpusvm_pages_put(&page, 1);
}

static unsigned long page_index(const struct page *page)
{
	return (unsigned long)(page - page->pgmap->pages);
}

unsigned long gpusvm_page_to_pfn(const struct page *page)
{
	return (page->pgmap->range.start >> PAGE_SHIFT) + page_index(page);
}

/*
 * The program's address may change, or cease to be, at any time; there is an
 * event then.
 */
void *gpusvm_page_address(const struct page *page)
{
	unsigned long vaddr = READ_ONCE(page->vaddr);

	if (vaddr && gpusvm_page_is_coherent(page))
		return (void *)vaddr;
	return (void *)(page->pgmap->range.start +
			(page_index(page) << PAGE_SHIFT));
}

struct dev_pagemap *gpusvm_page_pagemap(const struct page *page)
{
	return page->pgmap;
}

/*
 * By the pages' allocation: @migration of a page that does not move may be
 * anything.
 */
int gpusvm_copy_completes(struct page **pages, unsigned long npages,
			  struct gpusvm_fence *fence)
{
	const struct dev_pagemap_ops *ops;
	unsigned long i;

	if (!fence || !pages)
		return -EINVAL;
	for (i = 0; i < npages; i++) {
		if (!pages[i])
			continue;
		ops = pages[i]->pgmap->ops;
		return ops->completes
			       ? ops->completes(pages[i]->zone_device_data,
						fence)
			       : -EOPNOTSUPP;
	}
	return -EINVAL;
}
