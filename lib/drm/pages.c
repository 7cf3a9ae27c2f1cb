/* SPDX-License-Identifier: MIT */
/*
 * The pages of a range as the device reaches them: obtained, checked, given
 * up.
 */
#include "svm.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>

#include "alloc.h"
#include "compiler.h"
#include "dma.h"
#include "fault_in.h"
#include "mm.h"
#include "nofault.h"
#include "page.h"
#include "page_size.h"
#include "sys.h"
#include "zdd.h"

/* How long events may collide with a call before it gives up. */
#define TIMEOUT_NS (1000ul * 1000 * 1000)

/* What a driver's device_map returns for "failed". */
#define MAPPING_ERROR (~(dma_addr_t)0)

static unsigned long range_npages(struct drm_gpusvm_range *range)
{
	return drm_gpusvm_range_size(range) >> PAGE_SHIFT;
}

static struct device *range_dev(const struct drm_gpusvm_range *range)
{
	return gpusvm_drm_to_dev(range->gpusvm->drm);
}

/*
 * Whether the mapping was made for a device that only reads: there is no flag
 * for it, but every entry tells.
 */
static bool is_read_only(const struct drm_gpusvm_range *range)
{
	return range->dma_addr[0].dir == DMA_TO_DEVICE;
}

bool drm_gpusvm_range_pages_valid(struct drm_gpusvm *gpusvm,
				  struct drm_gpusvm_range *range)
{
	struct drm_gpusvm_range_flags flags = gpusvm_range_flags(range);

	lockdep_check_held(&gpusvm->notifier_lock,
			   "called without the notifier lock");
	return flags.has_devmem_pages || flags.has_dma_mapping;
}

static void unmap_entry(struct drm_gpusvm_range *range,
			struct drm_pagemap *dpagemap,
			struct drm_pagemap_device_addr entry)
{
	struct device *dev = range_dev(range);

	if (entry.proto == DRM_INTERCONNECT_SYSTEM)
		gpusvm_dma_unmap(dev, entry.addr, PAGE_SIZE << entry.order,
				 (enum dma_data_direction)entry.dir);
	else if (dpagemap && dpagemap->ops->device_unmap)
		dpagemap->ops->device_unmap(dpagemap, dev, entry);
}

/* Unmap the entries for the first @npages pages. */
static void unmap_entries(struct drm_gpusvm_range *range,
			  struct drm_pagemap *dpagemap,
			  struct drm_pagemap_device_addr *entries,
			  unsigned long npages)
{
	unsigned long i, j;

	if (gpusvm_dma_is_direct(range_dev(range)) &&
	    !(dpagemap && dpagemap->ops->device_unmap))
		return;
	for (i = 0, j = 0; i < npages; i += 1ul << entries[j++].order)
		unmap_entry(range, dpagemap, entries[j]);
}

void gpusvm_range_unmap_locked(struct drm_gpusvm_range *range)
{
	struct drm_gpusvm_range_flags flags = gpusvm_range_flags(range);

	if (!flags.has_dma_mapping)
		return;
	unmap_entries(range, range->dpagemap, range->dma_addr,
		      range_npages(range));
	range->dpagemap = NULL;
	flags.has_devmem_pages = false;
	flags.has_dma_mapping = false;
	gpusvm_range_set_flags(range, flags);
}

void drm_gpusvm_range_unmap_pages(struct drm_gpusvm *gpusvm,
				  struct drm_gpusvm_range *range,
				  const struct drm_gpusvm_ctx *ctx)
{
	if (ctx->in_notifier) {
		lockdep_check_held(&gpusvm->notifier_lock,
				   "in_notifier without the notifier lock");
		gpusvm_range_unmap_locked(range);
		return;
	}
	lockdep_check_not_in_callback();
	gpusvm_down_write(&gpusvm->notifier_lock);
	gpusvm_range_unmap_locked(range);
	gpusvm_up_write(&gpusvm->notifier_lock);
}

/**
 * struct mapping - A mapping that is being made
 * @range: For this range
 * @ctx: As the caller wants it
 * @pfns: What is at each page
 * @entries: Device addresses, packed
 * @dpagemap: Pagemap of the device pages, NULL for system memory
 */
struct mapping {
	struct drm_gpusvm_range *range;
	const struct drm_gpusvm_ctx *ctx;
	unsigned long *pfns;
	struct drm_pagemap_device_addr *entries;
	struct drm_pagemap *dpagemap;
};

static enum dma_data_direction direction(const struct mapping *map)
{
	return map->ctx->read_only ? DMA_TO_DEVICE : DMA_BIDIRECTIONAL;
}

static int map_system_page(struct mapping *map, unsigned long i,
			   struct drm_pagemap_device_addr *entry)
{
	unsigned int order = pfn_order(map->pfns[i]);
	dma_addr_t addr;

	if (map->ctx->devmem_only)
		return -EFAULT;
	if (gpusvm_dma_map(range_dev(map->range),
			   drm_gpusvm_range_start(map->range) +
				   (i << PAGE_SHIFT),
			   PAGE_SIZE << order, direction(map), &addr))
		return -EFAULT;
	*entry = drm_pagemap_device_addr_encode(addr, DRM_INTERCONNECT_SYSTEM,
						order, direction(map));
	return 0;
}

static int map_device_page(struct mapping *map, struct page *page,
			   struct drm_pagemap_device_addr *entry)
{
	*entry = map->dpagemap->ops->device_map(
		map->dpagemap, range_dev(map->range), page, 0, direction(map));
	if (entry->addr == MAPPING_ERROR)
		return -EFAULT;
	/* is_read_only() relies on it, unmap_entries() on the order. */
	entry->dir = direction(map) & 3;
	entry->order = 0;
	return 0;
}

/*
 * All pages are system memory, or all are of one device allocation; what is
 * mixed must be evicted first.  The kernel's order of checks: the kind of each
 * page against the one before.
 */
static int check_uniform(const struct mapping *map, unsigned long i)
{
	struct page *first = pfn_device_page(map->pfns[0]);
	struct page *page = pfn_device_page(map->pfns[i]);

	if (!first != !page)
		return -EOPNOTSUPP;
	if (page && page->zone_device_data != first->zone_device_data)
		return -EOPNOTSUPP;
	return 0;
}

/* Fill the entries; on failure those made are unmapped again. */
static int map_pages(struct mapping *map)
{
	unsigned long i, j, npages = range_npages(map->range);
	struct drm_gpusvm_zdd *zdd;
	struct page *page;
	int err = 0;

	page = pfn_device_page(map->pfns[0]);
	if (page) {
		zdd = page->zone_device_data;
		map->dpagemap = zdd->dpagemap;
	}
	for (i = 0, j = 0; i < npages; i += 1ul << map->entries[j++].order) {
		page = pfn_device_page(map->pfns[i]);
		err = check_uniform(map, i);
		if (err)
			break;
		err = page ? map_device_page(map, page, &map->entries[j])
			   : map_system_page(map, i, &map->entries[j]);
		if (err)
			break;
	}
	if (err)
		unmap_entries(map->range, map->dpagemap, map->entries, i);
	return err;
}

/* Under the notifier lock, with nothing invalidated since the pages were got */
static int publish(struct mapping *map)
{
	struct drm_gpusvm_range *range = map->range;
	struct drm_gpusvm_range_flags flags = gpusvm_range_flags(range);
	int err;

	if (flags.unmapped)
		return -EFAULT;
	err = map_pages(map);
	if (err)
		return err;
	gpusvm_free(range->dma_addr);
	range->dma_addr = map->entries;
	map->entries = NULL;
	range->dpagemap = map->dpagemap;
	flags.has_devmem_pages = map->dpagemap != NULL;
	flags.has_dma_mapping = true;
	gpusvm_range_set_flags(range, flags);
	return 0;
}

static int fault_in_range(struct mapping *map, unsigned long deadline_ns)
{
	struct drm_gpusvm_range *range = map->range;
	struct drm_gpusvm *gpusvm = range->gpusvm;
	struct fault_in fault = {
		.mm = gpusvm->mm,
		.start = drm_gpusvm_range_start(range),
		.npages = range_npages(range),
		.write = !map->ctx->read_only,
		.owner = gpusvm->device_private_page_owner,
		.deadline_ns = deadline_ns,
		.pfns = map->pfns,
	};
	int err = -EFAULT;

	gpusvm_down_read(&gpusvm->mm->mmap_lock);
	if (gpusvm_mm_alive(gpusvm->mm))
		err = gpusvm_fault_in(&fault);
	gpusvm_up_read(&gpusvm->mm->mmap_lock);
	return err;
}

/* Whether what is mapped already will do: 1 or 0, or -errno. */
static int check_mapped(struct drm_gpusvm_range *range,
			const struct drm_gpusvm_ctx *ctx)
{
	struct drm_gpusvm_range_flags flags = gpusvm_range_flags(range);

	if (flags.unmapped)
		return -EFAULT;
	if (!flags.has_dma_mapping || (is_read_only(range) && !ctx->read_only))
		return 0;
	return ctx->devmem_only && !flags.has_devmem_pages ? -EFAULT : 1;
}

static int prepare(struct mapping *map)
{
	unsigned long npages = range_npages(map->range);

	if (!map->pfns)
		map->pfns = gpusvm_alloc_array(npages, sizeof(map->pfns[0]));
	if (!map->entries)
		map->entries =
			gpusvm_alloc_array(npages, sizeof(map->entries[0]));
	return map->pfns && map->entries ? 0 : -ENOMEM;
}

/* One attempt; -EAGAIN if an event came in between. */
static int try_get_pages(struct mapping *map, unsigned long deadline_ns)
{
	const struct drm_gpusvm_ctx unmap = { .in_notifier = 0 };
	struct drm_gpusvm_range *range = map->range;
	struct drm_gpusvm *gpusvm = range->gpusvm;
	struct mmu_interval_notifier *interval = &range->notifier->notifier;
	unsigned long seq;
	int err;

	seq = gpusvm_mmu_interval_read_begin(interval);
	gpusvm_down_read(&gpusvm->notifier_lock);
	err = check_mapped(range, map->ctx);
	gpusvm_up_read(&gpusvm->notifier_lock);
	if (err == 1)
		goto out;
	if (!err) {
		/* What was got for reading only is of no use to a writer. */
		drm_gpusvm_range_unmap_pages(gpusvm, range, &unmap);
		err = prepare(map);
	}
	if (!err)
		err = fault_in_range(map, deadline_ns);
	if (err)
		return err == -EBUSY ? -EAGAIN : err;

	gpusvm_down_read(&gpusvm->notifier_lock);
	gpusvm_nofault_enter();
	if (gpusvm_mmu_interval_read_retry(interval, seq))
		err = -EAGAIN;
	else
		err = publish(map);
	gpusvm_nofault_leave();
	gpusvm_up_read(&gpusvm->notifier_lock);
	if (err)
		return err;
out:
	range->notifier_seq = seq;
	return 0;
}

int drm_gpusvm_range_get_pages(struct drm_gpusvm *gpusvm,
			       struct drm_gpusvm_range *range,
			       const struct drm_gpusvm_ctx *ctx)
{
	unsigned long deadline_ns = gpusvm_sys_now_ns() + TIMEOUT_NS;
	struct mapping map = { .range = range, .ctx = ctx };
	int err;

	lockdep_check_not_in_callback();
	check_driver_lock(gpusvm);
	do
		err = try_get_pages(&map, deadline_ns);
	while (err == -EAGAIN && gpusvm_sys_now_ns() < deadline_ns);
	if (err == -EAGAIN)
		err = -EBUSY;
	gpusvm_free(map.entries);
	gpusvm_free(map.pfns);
	return err;
}
