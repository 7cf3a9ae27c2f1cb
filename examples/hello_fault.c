/* SPDX-License-Identifier: MIT */
/* One pointer: a device fault moves its memory, a CPU read brings it home. */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <drm/drm_gpusvm.h>
#include <gpusvm/copy.h>
#include <gpusvm/devmem.h>
#include <gpusvm/gpusvm.h>
#define TRY(call) ((errno = -(call)) ? err(errno == EPERM ? 77 : 1, #call) : 0)
static unsigned long devmem_pfn, size = 64ul << 10;

/* A real driver stops its device here; ours works under the notifier lock. */
static void invalidate(struct drm_gpusvm *svm, struct drm_gpusvm_notifier *n,
		       const struct gpusvm_mmu_notifier_range *event)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_range *range = NULL;

	drm_gpusvm_for_each_range(range, n, event->start, event->end)
		drm_gpusvm_range_unmap_pages(svm, range, &ctx);
}

static int populate_devmem_pfn(struct drm_gpusvm_devmem *devmem,
			       unsigned long npages, unsigned long *pfn)
{
	for (unsigned long i = 0; devmem && i < npages; i++)
		pfn[i] = devmem_pfn + i;
	return 0;
}

static struct drm_pagemap_device_addr
device_map(struct drm_pagemap *dpagemap, struct device *dev, struct page *page,
	   unsigned int order, enum gpusvm_dma_data_direction dir)
{
	(void)dpagemap, (void)dev;
	return drm_pagemap_device_addr_encode((long)gpusvm_page_address(page),
					      1, order, dir);
}

static const struct drm_gpusvm_ops ops = { .invalidate = invalidate };
static const struct drm_pagemap_ops map_ops = { .device_map = device_map };
static struct drm_pagemap dpagemap = { .ops = &map_ops };
static const struct drm_gpusvm_devmem_ops devmem_ops = {
	NULL, populate_devmem_pfn, gpusvm_memcpy_to_devmem, gpusvm_memcpy_to_ram
};

int main(void)
{
	static struct drm_gpusvm svm;
	static struct drm_gpusvm_devmem devmem;
	struct gpusvm_devmem_pool_opts opts = { sizeof(opts), size, -1, &svm,
						drm_gpusvm_pagemap_ops_get() };
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	int *data = aligned_alloc(size, size);
	struct drm_gpusvm_range *range;
	struct gpusvm_devmem_pool *pool;
	struct mm_struct *mm;

	TRY(gpusvm_mm_open(&mm, NULL));
	TRY(gpusvm_devmem_pool_create(&pool, &opts));
	TRY(gpusvm_devmem_pool_alloc(pool, size, &devmem_pfn));
	TRY(drm_gpusvm_init(&svm, "hello", NULL, mm, &svm, 0, 1ul << 48,
			    512ul << 20, &ops, &size, 1));
	drm_gpusvm_devmem_init(&devmem, NULL, mm, &devmem_ops, &dpagemap, size);
	*data = 41; /* now a device fault: the range, its memory, its pages */
	range = drm_gpusvm_range_find_or_insert(&svm, (long)data, 0, -1, &ctx);
	TRY(gpusvm_is_err(range) ? gpusvm_ptr_err(range) : 0);
	gpusvm_mm_read_lock(mm);
	TRY(drm_gpusvm_migrate_to_devmem(&svm, range, &devmem, &ctx));
	gpusvm_mm_read_unlock(mm);
	TRY(drm_gpusvm_range_get_pages(&svm, range, &ctx));
	drm_gpusvm_notifier_lock(&svm);
	++*(int *)range->dma_addr[0].addr;
	drm_gpusvm_notifier_unlock(&svm);
	printf("the device wrote at 0x%llx\n", range->dma_addr[0].addr);
	printf("the CPU reads %d at %p\n", *data, (void *)data);
	return *data == 42 ? 0 : 1;
}
