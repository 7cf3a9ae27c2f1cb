/* SPDX-License-Identifier: MIT */
/* Device pages and pagemaps under their kernel names. */
#ifndef GPUSVM_LINUX_MEMREMAP_H
#define GPUSVM_LINUX_MEMREMAP_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#include <gpusvm/pagemap.h>
#include <linux/err.h>

static inline unsigned long page_to_pfn(const struct page *page)
{
	return gpusvm_page_to_pfn(page);
}

static inline struct page *pfn_to_page(unsigned long pfn)
{
	return gpusvm_pfn_to_page(pfn);
}

static inline void *page_address(const struct page *page)
{
	return gpusvm_page_address(page);
}

static inline struct dev_pagemap *page_pgmap(const struct page *page)
{
	return gpusvm_page_pagemap(page);
}

static inline void get_page(struct page *page)
{
	gpusvm_page_get(page);
}

static inline void put_page(struct page *page)
{
	gpusvm_page_put(page);
}

/* Nothing is tied to the life of @dev: unmap it before the device goes. */
static inline void *devm_memremap_pages(struct device *dev,
					struct dev_pagemap *pgmap)
{
	int err = gpusvm_pagemap_add(pgmap);

	(void)dev;
	return err ? ERR_PTR(err) : (void *)(unsigned long)pgmap->range.start;
}

/* Unlike the kernel's it does not wait for pages in use: evict them first. */
static inline void devm_memunmap_pages(struct device *dev,
				       struct dev_pagemap *pgmap)
{
	(void)dev;
	gpusvm_pagemap_remove(pgmap);
}

#endif /* GPUSVM_LINUX_MEMREMAP_H */
