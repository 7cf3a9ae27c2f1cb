/* SPDX-License-Identifier: MIT */
/* The list of pagemaps, and look-up of pages by number. */
#include "pagemap.h"

#include <errno.h>
#include <pthread.h>

#include "alloc.h"
#include "compiler.h"
#include "log.h"
#include "page.h"
#include "page_size.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct dev_pagemap *pagemaps;

static unsigned long pagemap_npages(const struct dev_pagemap *pgmap)
{
	return (pgmap->range.end + 1 - pgmap->range.start) >> PAGE_SHIFT;
}

static int pagemap_check(const struct dev_pagemap *pgmap)
{
	if (!pgmap || !pgmap->ops || pgmap->range.end <= pgmap->range.start ||
	    pgmap->range.end == ~(u64)0 || (pgmap->range.start & ~PAGE_MASK) ||
	    ((pgmap->range.end + 1) & ~PAGE_MASK)) {
		log_error("pagemap_add: no ops, or a range that is empty or "
			  "not page-aligned");
		return -EINVAL;
	}
	if (pgmap->nr_range < 0 || pgmap->nr_range > 1) {
		log_error("pagemap_add: more than one range");
		return -EINVAL;
	}
	if (pgmap->type != MEMORY_DEVICE_PRIVATE &&
	    pgmap->type != MEMORY_DEVICE_COHERENT) {
		log_error("pagemap_add: neither MEMORY_DEVICE_PRIVATE nor "
			  "MEMORY_DEVICE_COHERENT");
		return -EOPNOTSUPP;
	}
	if (pgmap->type == MEMORY_DEVICE_COHERENT && !pgmap->nodes) {
		log_error("pagemap_add: coherent memory of no node");
		return -EINVAL;
	}
	return 0;
}

static int pagemap_link(struct dev_pagemap *pgmap)
{
	struct dev_pagemap *other;

	for (other = pagemaps; other; other = other->next)
		if (pgmap->range.start <= other->range.end &&
		    other->range.start <= pgmap->range.end)
			return -EEXIST;
	pgmap->next = pagemaps;
	pagemaps = pgmap;
	return 0;
}

int gpusvm_pagemap_add(struct dev_pagemap *pgmap)
{
	unsigned long i, npages;
	struct page *pages;
	int err;

	err = pagemap_check(pgmap);
	if (err)
		return err;
	npages = pagemap_npages(pgmap);
	pages = gpusvm_alloc_array(npages, sizeof(struct page));
	if (!pages)
		return -ENOMEM;
	for (i = 0; i < npages; i++)
		pages[i].pgmap = pgmap;

	pthread_mutex_lock(&lock);
	err = pagemap_link(pgmap);
	if (!err)
		pgmap->pages = pages;
	pthread_mutex_unlock(&lock);
	if (err)
		gpusvm_free(pages);
	return err;
}

static bool pagemap_in_use(const struct dev_pagemap *pgmap)
{
	unsigned long i, npages = pagemap_npages(pgmap);

	for (i = 0; i < npages; i++)
		if (gpusvm_page_refs(&pgmap->pages[i]))
			return true;
	return false;
}

static int pagemap_unlink(struct dev_pagemap *pgmap)
{
	struct dev_pagemap **link = &pagemaps;

	while (*link && *link != pgmap)
		link = &(*link)->next;
	if (!*link)
		return -ENOENT;
	if (pagemap_in_use(pgmap))
		return -EBUSY;
	*link = pgmap->next;
	return 0;
}

int gpusvm_pagemap_remove(struct dev_pagemap *pgmap)
{
	int err;

	pthread_mutex_lock(&lock);
	err = pagemap_unlink(pgmap);
	pthread_mutex_unlock(&lock);
	if (err)
		return err;
	gpusvm_free(pgmap->pages);
	pgmap->pages = NULL;
	pgmap->next = NULL;
	return 0;
}

static unsigned long first_pfn(const struct dev_pagemap *pgmap)
{
	return pgmap->range.start >> PAGE_SHIFT;
}

static bool has_pfn(const struct dev_pagemap *pgmap, unsigned long pfn)
{
	return pfn >= first_pfn(pgmap) &&
	       pfn - first_pfn(pgmap) < pagemap_npages(pgmap);
}

static struct page *page_of(const struct dev_pagemap *pgmap, unsigned long pfn)
{
	return &pgmap->pages[pfn - first_pfn(pgmap)];
}

static struct dev_pagemap *find_pagemap(unsigned long pfn)
{
	struct dev_pagemap *pgmap;

	for (pgmap = pagemaps; pgmap; pgmap = pgmap->next)
		if (has_pfn(pgmap, pfn))
			break;
	return pgmap;
}

struct page *gpusvm_pfn_to_page(unsigned long pfn)
{
	struct dev_pagemap *pgmap;
	struct page *page;

	pthread_mutex_lock(&lock);
	pgmap = find_pagemap(pfn);
	page = pgmap ? page_of(pgmap, pfn) : NULL;
	pthread_mutex_unlock(&lock);
	return page;
}

int gpusvm_pfns_to_pages(const unsigned long *pfn, struct page **pages,
			 unsigned long npages)
{
	struct dev_pagemap *pgmap = NULL;
	unsigned long i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < npages; i++) {
		if (!pgmap || !has_pfn(pgmap, pfn[i]))
			pgmap = find_pagemap(pfn[i]);
		if (!pgmap)
			break;
		pages[i] = page_of(pgmap, pfn[i]);
	}
	pthread_mutex_unlock(&lock);
	return i == npages ? 0 : -EINVAL;
}

static void set_refs(struct page *page, int refs)
{
	__atomic_store_n(&page->refcount, refs, __ATOMIC_RELAXED);
}

/*
 * Pages are let go of without the lock but taken with it only, so a store is as
 * good as a compare-and-swap, which costs more than all the rest.
 */
int gpusvm_pages_init(struct page **pages, unsigned long n,
		      void *zone_device_data)
{
	struct page *page;
	unsigned long i;
	bool busy;

	pthread_mutex_lock(&lock);
	for (i = 0; i < n; i++) {
		page = pages[i];
		if (gpusvm_page_refs(page))
			break;
		set_refs(page, 1);
		page->zone_device_data = zone_device_data;
		WRITE_ONCE(page->vaddr, 0);
		page->migration = NULL;
		page->removed = false;
	}
	busy = i < n;
	while (busy && i--)
		set_refs(pages[i], 0);
	pthread_mutex_unlock(&lock);
	if (busy)
		return -EBUSY;
	pages[0]->pgmap->ops->get(zone_device_data, n);
	return 0;
}
