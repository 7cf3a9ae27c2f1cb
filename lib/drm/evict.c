/* SPDX-License-Identifier: MIT */
/*
 * From the device, on request: by range, by allocation; and the callbacks of
 * device pages.
 */
#include <errno.h>
#include <gpusvm/gpusvm.h>

#include "alloc.h"
#include "compiler.h"
#include "fault_in.h"
#include "log.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "pagemap.h"
#include "svm.h"
#include "sys.h"
#include "zdd.h"

#define EVICT_TIMEOUT_NS (1000ul * 1000 * 1000)
#define EVICT_ATTEMPTS 3

/* In vain for an allocation that never was on the device. */
#define DETACH_NS (100ul * 1000 * 1000)

/*
 * Coherent pages may stay, as in the kernel, if all are of one allocation: any
 * other mix is what get_pages refuses until the range has been evicted.
 */
static bool is_uniform(const struct fault_in *fault)
{
	struct page *first = pfn_device_page(fault->pfns[0]);
	struct page *page;
	unsigned long i;
	bool uniform = true;

	pthread_mutex_lock(&fault->mm->pt_lock);
	for (i = 1; i < fault->npages && uniform; i++) {
		page = pfn_device_page(fault->pfns[i]);
		uniform = first && page ? page->zone_device_data ==
						  first->zone_device_data
					: first == page;
	}
	pthread_mutex_unlock(&fault->mm->pt_lock);
	return uniform;
}

static int bring_coherent_home(const struct fault_in *fault)
{
	unsigned long end = fault->start + (fault->npages << PAGE_SHIFT);
	unsigned long addr = fault->start;
	int err = 0;

	for (; !err && gpusvm_mm_next_device_page(fault->mm, &addr, end, true);
	     addr += PAGE_SIZE)
		err = gpusvm_mm_bring_home(fault->mm, addr, 0,
					   fault->deadline_ns);
	return err;
}

static int range_evict_locked(struct drm_gpusvm *gpusvm,
			      struct drm_gpusvm_range *range,
			      unsigned long *pfns)
{
	struct fault_in fault = {
		.mm = gpusvm->mm,
		.start = drm_gpusvm_range_start(range),
		.npages = drm_gpusvm_range_size(range) >> PAGE_SHIFT,
		.deadline_ns = gpusvm_sys_now_ns() + EVICT_TIMEOUT_NS,
		.pfns = pfns,
	};
	int err;

	if (!gpusvm_mm_alive(gpusvm->mm))
		return -EFAULT;
	err = gpusvm_fault_in(&fault);
	return err || is_uniform(&fault) ? err : bring_coherent_home(&fault);
}

int drm_gpusvm_range_evict(struct drm_gpusvm *gpusvm,
			   struct drm_gpusvm_range *range)
{
	unsigned long *pfns;
	int err;

	lockdep_check_not_in_callback();
	pfns = gpusvm_alloc_array(drm_gpusvm_range_size(range) >> PAGE_SHIFT,
				  sizeof(pfns[0]));
	if (!pfns)
		return -ENOMEM;
	gpusvm_down_read(&gpusvm->mm->mmap_lock);
	err = range_evict_locked(gpusvm, range, pfns);
	gpusvm_up_read(&gpusvm->mm->mmap_lock);
	gpusvm_free(pfns);
	return err;
}

/**
 * struct eviction - An allocation that is to come home
 * @mm: The address space
 * @devmem: The allocation
 * @npages: Its pages
 * @deadline_ns: When a migration that goes on is not waited for any more
 * @pfn: Their numbers
 * @pages: Their pages
 */
struct eviction {
	struct mm_struct *mm;
	struct drm_gpusvm_devmem *devmem;
	unsigned long npages;
	unsigned long deadline_ns;
	unsigned long *pfn;
	struct page **pages;
};

/*
 * The zdd of the allocation, with a reference, if it has a page in the table,
 * and the interval in which these pages are.
 */
static struct drm_gpusvm_zdd *find_zdd(struct eviction *evict,
				       struct mmu_notifier_range *range)
{
	struct drm_gpusvm_zdd *zdd = NULL;
	struct page *page;
	unsigned long i;

	range->start = ~0ul;
	range->end = 0;
	pthread_mutex_lock(&evict->mm->pt_lock);
	for (i = 0; i < evict->npages; i++) {
		page = evict->pages[i];
		if (!page->vaddr)
			continue;
		zdd = page->zone_device_data;
		range->start = min(range->start, page->vaddr);
		range->end = max(range->end, page->vaddr + PAGE_SIZE);
	}
	if (zdd)
		gpusvm_zdd_get(zdd, 1);
	pthread_mutex_unlock(&evict->mm->pt_lock);
	return zdd;
}

static bool is_in_use(const struct eviction *evict)
{
	unsigned long i;

	for (i = 0; i < evict->npages; i++)
		if (gpusvm_page_refs(evict->pages[i]))
			return true;
	return false;
}

static long bring_home(struct eviction *evict)
{
	struct mmu_notifier_range range = {
		.mm = evict->mm,
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = MMU_NOTIFY_CLEAR,
	};
	struct drm_gpusvm_zdd *zdd;
	long n = -EBUSY;

	zdd = find_zdd(evict, &range);
	if (!zdd)
		return 0;
	if (gpusvm_zdd_lock(zdd, evict->deadline_ns)) {
		n = gpusvm_zdd_bring_home(zdd, &range);
		gpusvm_zdd_unlock(zdd);
	}
	gpusvm_zdd_put(zdd, 1);
	return n;
}

/* The last reference may be another thread's, for a moment. */
static int wait_detached(struct eviction *evict, unsigned long timeout_ns)
{
	unsigned long deadline_ns = gpusvm_sys_now_ns() + timeout_ns;

	while (!gpusvm_completion_done(&evict->devmem->detached)) {
		if (gpusvm_sys_now_ns() >= deadline_ns)
			return -EBUSY;
		gpusvm_sys_yield();
	}
	return 0;
}

/* 0 when the allocation is detached, -EBUSY if not yet. */
static int attempt(struct eviction *evict)
{
	struct drm_gpusvm_devmem *devmem = evict->devmem;
	long n;
	int err;

	err = devmem->ops->populate_devmem_pfn(devmem, evict->npages,
					       evict->pfn);
	if (err)
		return err;
	err = gpusvm_pfns_to_pages(evict->pfn, evict->pages, evict->npages);
	if (err)
		return err;
	n = bring_home(evict);
	if (n < 0)
		return (int)n;
	/* Pages that were unmapped are in use until everybody was told. */
	if (is_in_use(evict))
		gpusvm_mm_sync_pinned(evict->mm);
	return is_in_use(evict) ? -EBUSY : wait_detached(evict, DETACH_NS);
}

static int evict_pinned(struct eviction *evict)
{
	struct completion *detached = &evict->devmem->detached;
	int i, err = -EBUSY;

	for (i = 0; i < EVICT_ATTEMPTS; i++) {
		if (gpusvm_completion_done(detached))
			return 0;
		err = attempt(evict);
		if (!err)
			return 0;
		gpusvm_sys_yield();
	}
	return gpusvm_completion_done(detached) ? 0 : err;
}

int drm_gpusvm_evict_to_ram(struct drm_gpusvm_devmem *devmem_allocation)
{
	struct eviction evict = {
		.mm = devmem_allocation->mm,
		.devmem = devmem_allocation,
		.npages = devmem_allocation->size >> PAGE_SHIFT,
		.deadline_ns = gpusvm_sys_now_ns() + EVICT_TIMEOUT_NS,
	};
	int err = -ENOMEM;

	lockdep_check_not_in_callback();
	if (!gpusvm_mm_pin(evict.mm))
		return -EFAULT;
	evict.pfn = gpusvm_alloc_array(evict.npages, sizeof(evict.pfn[0]));
	evict.pages = gpusvm_alloc_array(evict.npages, sizeof(evict.pages[0]));
	if (evict.pfn && evict.pages)
		err = evict_pinned(&evict);
	gpusvm_free(evict.pages);
	gpusvm_free(evict.pfn);
	gpusvm_mm_unpin(evict.mm);
	return err;
}

static void page_get(void *zone_device_data, unsigned long n)
{
	gpusvm_zdd_get(zone_device_data, n);
}

static void page_put(void *zone_device_data, unsigned long n)
{
	gpusvm_zdd_put(zone_device_data, n);
}

static int page_read(void *zone_device_data, struct page **pages,
		     dma_addr_t *addr, unsigned long npages)
{
	return gpusvm_zdd_read_pages(zone_device_data, pages, addr, npages);
}

static const struct dev_pagemap_ops pagemap_ops = {
	.get = page_get,
	.put = page_put,
	.migrate_to_ram = gpusvm_zdd_migrate_to_ram,
	.read_pages = page_read,
	.completes = gpusvm_zdd_copy_completes,
};

const struct dev_pagemap_ops *drm_gpusvm_pagemap_ops_get(void)
{
	return &pagemap_ops;
}
