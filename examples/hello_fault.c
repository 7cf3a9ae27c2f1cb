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

static const unsigned long size = 64ul << 10, all = 1ul << 47;
static struct drm_gpusvm_devmem devmem;
static unsigned long devmem_pfn;

/* A real driver stops its device here.  Ours works in main() only. */
static void invalidate(struct drm_gpusvm *svm, struct drm_gpusvm_notifier *n,
		       const struct gpusvm_mmu_notifier_range *event)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_range *range = NULL;

	drm_gpusvm_for_each_range(range, n, event->start, event->end)
		drm_gpusvm_range_unmap_pages(svm, range, &ctx);
}

static int populate_devmem_pfn(struct drm_gpusvm_devmem *allocation,
			       unsigned long npages, unsigned long *pfn)
{
	for (unsigned long i = 0; i < npages; i++)
		pfn[i] = devmem_pfn + i;
	return allocation == &devmem ? 0 : -EINVAL;
}

static struct drm_pagemap_device_addr
device_map(struct drm_pagemap *pagemap, struct device *dev, struct page *page,
	   unsigned int order, enum gpusvm_dma_data_direction dir)
{
	(void)pagemap, (void)dev;
	return drm_pagemap_device_addr_encode((long)gpusvm_page_address(page),
					      1, order, dir);
}

static const struct drm_pagemap_ops map_ops = { .device_map = device_map };
static struct drm_pagemap pagemap = { .ops = &map_ops };
static const struct drm_gpusvm_ops svm_ops = { .invalidate = invalidate };
static const struct drm_gpusvm_devmem_ops devmem_ops = {
	.populate_devmem_pfn = populate_devmem_pfn,
	.copy_to_devmem = gpusvm_memcpy_to_devmem,
	.copy_to_ram = gpusvm_memcpy_to_ram,
};

int main(void)
{
	struct drm_gpusvm *svm = gpusvm_alloc(sizeof(*svm));
	struct gpusvm_devmem_pool_opts opts = { sizeof(opts), size, -1, svm };
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	int *data = aligned_alloc(size, size), *device;
	struct gpusvm_devmem_pool *pool;
	struct drm_gpusvm_range *range;
	struct mm_struct *mm;

	TRY(gpusvm_mm_open(&mm, NULL));
	TRY(gpusvm_devmem_pool_create(&pool, &opts));
	TRY(gpusvm_devmem_pool_alloc(pool, size, &devmem_pfn));
	TRY(drm_gpusvm_init(svm, "hello", NULL, mm, svm, 0, all, 512ul << 20,
			    &svm_ops, &size, 1));
	drm_gpusvm_devmem_init(&devmem, NULL, mm, &devmem_ops, &pagemap, size);
	*data = 41;

	/* The device fault. */
	range = drm_gpusvm_range_find_or_insert(svm, (long)data, 0, all, &ctx);
	TRY(gpusvm_is_err(range) ? gpusvm_ptr_err(range) : 0);
	gpusvm_mm_read_lock(mm);
	TRY(drm_gpusvm_migrate_to_devmem(svm, range, &devmem, &ctx));
	gpusvm_mm_read_unlock(mm);
	TRY(drm_gpusvm_range_get_pages(svm, range, &ctx));

	/* The device at work. */
	drm_gpusvm_notifier_lock(svm);
	TRY(drm_gpusvm_range_pages_valid(svm, range) ? 0 : -EAGAIN);
	device = (int *)range->dma_addr[0].addr;
	*device += 1;
	drm_gpusvm_notifier_unlock(svm);

	printf("the device wrote at %p\n", (void *)device);
	printf("the CPU reads %d at %p\n", *data, (void *)data);
	drm_gpusvm_free(svm);
	TRY(gpusvm_mm_close(mm));
	return *data == 42 ? 0 : 1;
}
