/* SPDX-License-Identifier: MIT */
/* Device pages: references, numbers and addresses. */
#include "page.h"

#include <errno.h>

#include "compiler.h"
#include "page_size.h"

int gpusvm_page_init(struct page *page, void *zone_device_data)
{
	int free = 0;

	if (!__atomic_compare_exchange_n(&page->refcount, &free, 1, false,
					 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return -EBUSY;
	page->zone_device_data = zone_device_data;
	page->vaddr = 0;
	page->migration = NULL;
	page->removed = false;
	page->pgmap->ops->get(zone_device_data);
	return 0;
}

void gpusvm_page_get(struct page *page)
{
	__atomic_fetch_add(&page->refcount, 1, __ATOMIC_RELAXED);
}

/*
 * At 0 the next allocation may take the page at once: what is needed to
 * drop its allocation is read while the reference still holds it.
 */
void gpusvm_page_put(struct page *page)
{
	const struct dev_pagemap_ops *ops = page->pgmap->ops;
	void *zone_device_data = page->zone_device_data;

	if (__atomic_fetch_sub(&page->refcount, 1, __ATOMIC_ACQ_REL) == 1)
		ops->put(zone_device_data);
}

static unsigned long page_index(const struct page *page)
{
	return (unsigned long)(page - page->pgmap->pages);
}

unsigned long gpusvm_page_to_pfn(const struct page *page)
{
	return (page->pgmap->range.start >> PAGE_SHIFT) + page_index(page);
}

void *gpusvm_page_address(const struct page *page)
{
	return (void *)(page->pgmap->range.start +
			(page_index(page) << PAGE_SHIFT));
}

struct dev_pagemap *gpusvm_page_pagemap(const struct page *page)
{
	return page->pgmap;
}
