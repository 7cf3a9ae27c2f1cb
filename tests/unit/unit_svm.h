/* SPDX-License-Identifier: MIT */
/*
 * What the tests of lib/drm/ share: a GPU SVM on the fake source, with a device
 * that counts its mappings and copies and fails when it is told to.
 */
#ifndef TESTS_UNIT_SVM_H
#define TESTS_UNIT_SVM_H

#include "unit.h"

#include <drm/drm_gpusvm.h>
#include <errno.h>
#include <gpusvm/device.h>
#include <gpusvm/gpusvm.h>
#include <linux/err.h>
#include <linux/list.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc.h"
#include "compiler.h"
#include "exclude.h"
#include "fake_source.h"
#include "fake_sys.h"
#include "handler.h"
#include "page_size.h"
#include "svm.h"
#include "zdd.h"

#define WINDOW 64ul /* pages of program memory */
#define N 16ul	    /* pages of a range */
#define BUS (1ul << 56)

static struct fake_source *fake;
static struct mm_struct *mm;
static struct drm_gpusvm *svm;
static struct device *dev;
static struct drm_device *drm;
static unsigned long chunks[2];

/* The call that fails, 1 for the next; 0 for none. */
static unsigned int fail_map, fail_device_map, fail_populate, fail_to_devmem,
	fail_to_ram;
static unsigned int maps, unmaps, device_maps, device_unmaps, releases,
	copies_to_devmem, copies_to_ram, invalidations;

static inline bool fails_now(unsigned int *in)
{
	return *in && !--*in;
}

/* ---- The device ---- */

static inline int bus_map(struct device *d, unsigned long addr, size_t size,
			  enum dma_data_direction dir, dma_addr_t *dma_addr,
			  void *priv)
{
	(void)d;
	(void)size;
	(void)dir;
	(void)priv;
	if (fails_now(&fail_map))
		return -EIO;
	maps++;
	*dma_addr = addr + BUS;
	return 0;
}

static inline void bus_unmap(struct device *d, dma_addr_t dma_addr, size_t size,
			     enum dma_data_direction dir, void *priv)
{
	(void)d;
	(void)size;
	(void)dir;
	(void)priv;
	assert_true(dma_addr >= BUS);
	unmaps++;
}

static const struct gpusvm_dma_ops bus_ops = {
	.map = bus_map,
	.unmap = bus_unmap,
};

static inline struct drm_pagemap_device_addr
vram_map(struct drm_pagemap *dpagemap, struct device *d, struct page *page,
	 unsigned int order, enum dma_data_direction dir)
{
	(void)dpagemap;
	(void)d;
	device_maps++;
	return drm_pagemap_device_addr_encode(
		fails_now(&fail_device_map) ? ~0ull : gpusvm_page_to_pfn(page),
		DRM_INTERCONNECT_DRIVER, order, dir);
}

static inline void vram_unmap(struct drm_pagemap *dpagemap, struct device *d,
			      struct drm_pagemap_device_addr addr)
{
	(void)dpagemap;
	(void)d;
	(void)addr;
	device_unmaps++;
}

static const struct drm_pagemap_ops vram_ops = {
	.device_map = vram_map,
	.device_unmap = vram_unmap,
};

static struct drm_pagemap dpagemap = { .ops = &vram_ops };

/* ---- Its memory: two allocations' worth ---- */

static struct dev_pagemap vram;

struct allocation {
	struct drm_gpusvm_devmem devmem;
	unsigned long first;
};

static struct allocation alloc;

static inline void release(struct drm_gpusvm_devmem *devmem)
{
	(void)devmem;
	releases++;
}

static inline int populate(struct drm_gpusvm_devmem *devmem,
			   unsigned long npages, unsigned long *pfn)
{
	struct allocation *a =
		gpusvm_container_of(devmem, struct allocation, devmem);
	unsigned long i;

	if (fails_now(&fail_populate))
		return -ENXIO;
	for (i = 0; i < npages; i++)
		pfn[i] = gpusvm_page_to_pfn(&vram.pages[a->first + i]);
	return 0;
}

static inline int copy_to_devmem(struct page **pages, dma_addr_t *dma_addr,
				 unsigned long npages)
{
	unsigned long i;

	copies_to_devmem++;
	if (fails_now(&fail_to_devmem))
		return -EREMOTEIO;
	for (i = 0; i < npages; i++) {
		if (dma_addr[i])
			memcpy(gpusvm_page_address(pages[i]),
			       (void *)(dma_addr[i] - BUS), PAGE_SIZE);
		else
			memset(gpusvm_page_address(pages[i]), 0, PAGE_SIZE);
	}
	return 0;
}

static inline int copy_to_ram(struct page **pages, dma_addr_t *dma_addr,
			      unsigned long npages)
{
	unsigned long i;

	copies_to_ram++;
	if (fails_now(&fail_to_ram))
		return -EREMOTEIO;
	for (i = 0; i < npages; i++)
		if (pages[i] && dma_addr[i])
			memcpy((void *)(dma_addr[i] - BUS),
			       gpusvm_page_address(pages[i]), PAGE_SIZE);
	return 0;
}

static const struct drm_gpusvm_devmem_ops devmem_ops = {
	.devmem_release = release,
	.populate_devmem_pfn = populate,
	.copy_to_devmem = copy_to_devmem,
	.copy_to_ram = copy_to_ram,
};

static inline void init_allocation(struct allocation *a, unsigned long first)
{
	a->first = first;
	drm_gpusvm_devmem_init(&a->devmem, dev, mm, &devmem_ops, &dpagemap,
			       N * PAGE_SIZE);
}

/* ---- The driver ---- */

static inline void invalidate(struct drm_gpusvm *gpusvm,
			      struct drm_gpusvm_notifier *notifier,
			      const struct mmu_notifier_range *mmu_range)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_range *range = NULL;

	invalidations++;
	drm_gpusvm_for_each_range(range, notifier, mmu_range->start,
				  mmu_range->end) {
		if (mmu_range->event == MMU_NOTIFY_UNMAP)
			drm_gpusvm_range_set_unmapped(range, mmu_range);
		drm_gpusvm_range_unmap_pages(gpusvm, range, &ctx);
	}
}

static const struct drm_gpusvm_ops svm_ops = { .invalidate = invalidate };

static inline int svm_init(const struct drm_gpusvm_ops *ops)
{
	return drm_gpusvm_init(svm, "unit", drm, mm, &vram, 0, 1ul << 48,
			       4ul << 20, ops, chunks, 2);
}

static inline void make_vram(void)
{
	void *memory = gpusvm_alloc_pages(2 * N * PAGE_SIZE, PAGE_SIZE);

	assert_non_null(memory);
	vram = (struct dev_pagemap){
		.type = MEMORY_DEVICE_PRIVATE,
		.ops = drm_gpusvm_pagemap_ops_get(),
		.owner = &vram,
		.range.start = (u64)memory,
		.range.end = (u64)memory + 2 * N * PAGE_SIZE - 1,
	};
	assert_int_equal(gpusvm_pagemap_add(&vram), 0);
}

static inline int svm_setup(void **state)
{
	struct gpusvm_device_opts opts = { .size = sizeof(opts),
					   .dma_ops = &bus_ops };

	(void)state;
	fake_sys_reset();
	fail_map = fail_device_map = fail_populate = 0;
	fail_to_devmem = fail_to_ram = 0;
	maps = unmaps = device_maps = device_unmaps = releases = 0;
	copies_to_devmem = copies_to_ram = invalidations = 0;
	chunks[0] = N * PAGE_SIZE;
	chunks[1] = PAGE_SIZE;
	fake = fake_source_create(WINDOW, GPUSVM_TECHNIQUE_MOVE);
	mm = fake->mm;
	svm = gpusvm_alloc(sizeof(*svm));
	assert_non_null(svm);
	assert_int_equal(gpusvm_device_create(&dev, &opts), 0);
	assert_int_equal(gpusvm_drm_device_create(&drm, dev), 0);
	make_vram();
	init_allocation(&alloc, 0);
	return svm_init(&svm_ops);
}

static inline void settle(void)
{
	gpusvm_handler_settle(mm, 0);
	fake_source_finish(fake);
	assert_int_equal(fake->nevents, 0);
}

/* All mappings undone, all pages free, no block left. */
static inline int svm_teardown(void **state)
{
	(void)state;
	fake_source_forget_plans(fake);
	fake_source_unmap(fake, 0, WINDOW);
	settle();
	gpusvm_under_way_stop(mm);
	drm_gpusvm_free(svm);
	assert_int_equal(maps, unmaps);
	gpusvm_drm_device_destroy(drm);
	gpusvm_device_destroy(dev);
	assert_int_equal(gpusvm_pagemap_remove(&vram), 0);
	gpusvm_free_pages((void *)vram.range.start, 2 * N * PAGE_SIZE);
	assert_int_equal(mm->allocations, 0);
	assert_int_equal(mm->count.refcount, 1);
	assert_true(fake_source_destroy(fake));
	fake_sys_reset();
	return 0;
}

static inline void *window(unsigned long i)
{
	return (void *)fake_addr(fake, i);
}

static inline struct drm_gpusvm_range *fault_at(unsigned long i)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };

	return drm_gpusvm_range_find_or_insert(svm, fake_addr(fake, i), 0, ~0ul,
					       &ctx);
}

static inline int get_pages(struct drm_gpusvm_range *range)
{
	const struct drm_gpusvm_ctx ctx = { 0 };

	return drm_gpusvm_range_get_pages(svm, range, &ctx);
}

static inline int migrate_for(struct drm_gpusvm_range *range,
			      struct allocation *a, unsigned long timeslice_ms)
{
	const struct drm_gpusvm_ctx ctx = { .timeslice_ms = timeslice_ms };
	int err;

	gpusvm_mm_read_lock(mm);
	err = drm_gpusvm_migrate_to_devmem(svm, range, &a->devmem, &ctx);
	gpusvm_mm_read_unlock(mm);
	return err;
}

static inline int migrate(struct drm_gpusvm_range *range, struct allocation *a)
{
	return migrate_for(range, a, 0);
}

static inline bool vram_is_free(void)
{
	unsigned long i;

	for (i = 0; i < 2 * N; i++)
		if (gpusvm_page_refs(&vram.pages[i]))
			return false;
	return mm->pt.npages == 0;
}

/* A range of N pages at the start of the window, with the pattern 1. */
static inline struct drm_gpusvm_range *filled_range(void)
{
	struct drm_gpusvm_range *range;

	fake_fill(window(0), N, 1);
	range = fault_at(0);
	assert_false(IS_ERR(range));
	assert_int_equal(drm_gpusvm_range_size(range), N * PAGE_SIZE);
	return range;
}

#define svm_test(fn) \
	cmocka_unit_test_setup_teardown(fn, svm_setup, svm_teardown)

#endif /* TESTS_UNIT_SVM_H */
