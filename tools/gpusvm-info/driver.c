/* SPDX-License-Identifier: MIT */
/* The shortest driver that moves memory to a device. */
#include "driver.h"

#include <errno.h>

#include <gpusvm/copy.h>
#include <gpusvm/gpusvm.h>
#include <gpusvm/hooks.h>
#include <gpusvm/pagemap.h>

#include "info.h"

/* Memory that keeps changing, or is busy for longer, is an error. */
#define TRIES 10

static void invalidate(struct drm_gpusvm *svm,
		       struct drm_gpusvm_notifier *notifier,
		       const struct gpusvm_mmu_notifier_range *event)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_range *range = NULL;

	drm_gpusvm_for_each_range(range, notifier, event->start, event->end)
		drm_gpusvm_range_unmap_pages(svm, range, &ctx);
}

static struct driver *to_driver(struct drm_gpusvm_devmem *devmem)
{
	return gpusvm_container_of(devmem, struct driver, devmem);
}

static void devmem_release(struct drm_gpusvm_devmem *devmem)
{
	gpusvm_complete_all(&to_driver(devmem)->released);
}

static int populate_devmem_pfn(struct drm_gpusvm_devmem *devmem,
			       unsigned long npages, unsigned long *pfn)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = to_driver(devmem)->pfn + i;
	return 0;
}

static struct drm_pagemap_device_addr
device_map(struct drm_pagemap *dpagemap, struct device *dev, struct page *page,
	   unsigned int order, enum gpusvm_dma_data_direction dir)
{
	(void)dpagemap;
	(void)dev;
	return drm_pagemap_device_addr_encode(
		(uintptr_t)gpusvm_page_address(page), DRM_INTERCONNECT_DRIVER,
		order, dir);
}

static const struct drm_gpusvm_ops ops = { .invalidate = invalidate };

static const struct drm_pagemap_ops map_ops = { .device_map = device_map };

static const struct drm_gpusvm_devmem_ops devmem_ops = {
	.devmem_release = devmem_release,
	.populate_devmem_pfn = populate_devmem_pfn,
	.copy_to_devmem = gpusvm_memcpy_to_devmem,
	.copy_to_ram = gpusvm_memcpy_to_ram,
};

int driver_create(struct driver **out, struct mm_struct *mm,
		  struct gpusvm_devmem_pool *pool, size_t size)
{
	struct driver *driver = gpusvm_alloc(sizeof(*driver));
	int err;

	if (!driver)
		return -ENOMEM;
	driver->pool = pool;
	driver->size = size;
	driver->dpagemap.ops = &map_ops;
	driver->data = area_map(size);
	err = driver->data ? gpusvm_devmem_pool_alloc(pool, size, &driver->pfn)
			   : -ENOMEM;
	if (err)
		goto err_data;
	/*
	 * Of the pool's owner, or its pages would be a stranger's.  Notifiers
	 * of the data's size: nothing around it is watched.
	 */
	err = drm_gpusvm_init(&driver->svm, "gpusvm-info", NULL, mm,
			      gpusvm_devmem_pool_pagemap(pool)->owner,
			      (uintptr_t)driver->data, size, size, &ops,
			      &driver->size, 1);
	if (err)
		goto err_pool;
	*out = driver;
	return 0;

err_pool:
	gpusvm_devmem_pool_free(pool, driver->pfn, size);
err_data:
	if (driver->data)
		area_unmap((void *)(uintptr_t)driver->data, size);
	gpusvm_free(driver);
	return err;
}

void driver_destroy(struct driver *driver)
{
	if (driver->stuck)
		return;
	drm_gpusvm_fini(&driver->svm);
	gpusvm_devmem_pool_free(driver->pool, driver->pfn, driver->size);
	area_unmap((void *)(uintptr_t)driver->data, driver->size);
	gpusvm_free(driver);
}

static int migrate_once(struct driver *driver, uint64_t *ns)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	uintptr_t start = (uintptr_t)driver->data;
	struct drm_gpusvm_range *range;
	uint64_t since;
	int err;

	range = drm_gpusvm_range_find_or_insert(&driver->svm, start, start,
						start + driver->size, &ctx);
	if (gpusvm_is_err(range))
		return (int)gpusvm_ptr_err(range);
	gpusvm_init_completion(&driver->released);
	drm_gpusvm_devmem_init(&driver->devmem, NULL, driver->svm.mm,
			       &devmem_ops, &driver->dpagemap, driver->size);
	since = now_ns();
	gpusvm_mm_read_lock(driver->svm.mm);
	err = drm_gpusvm_migrate_to_devmem(&driver->svm, range, &driver->devmem,
					   &ctx);
	gpusvm_mm_read_unlock(driver->svm.mm);
	*ns = now_ns() - since;
	driver->range = range;
	return err;
}

int driver_to_device(struct driver *driver, uint64_t *ns)
{
	int err = -EAGAIN;
	int tries;

	for (tries = 0; tries < TRIES; tries++) {
		err = migrate_once(driver, ns);
		if (err != -EAGAIN && err != -EBUSY)
			break;
	}
	return err;
}

int driver_touch(struct driver *driver)
{
	int err = 0;

	if (gpusvm_mm_features(driver->svm.mm) & GPUSVM_FEATURE_CPU_FAULTS)
		(void)driver->data[driver->size / 2];
	else
		err = gpusvm_populate((const void *)(uintptr_t)driver->data,
				      driver->size);
	driver->stuck = err;
	return err;
}

void driver_wait(struct driver *driver)
{
	gpusvm_wait_for_completion(&driver->released);
}

static int increment_once(struct driver *driver)
{
	const struct drm_gpusvm_ctx ctx = {
		.devmem_possible = 1,
		.devmem_only = 1,
	};
	const struct drm_pagemap_device_addr *entry;
	size_t done = 0, end;
	uint8_t *pages;
	int err;

	err = drm_gpusvm_range_get_pages(&driver->svm, driver->range, &ctx);
	if (err)
		return err;
	drm_gpusvm_notifier_lock(&driver->svm);
	if (!drm_gpusvm_range_pages_valid(&driver->svm, driver->range)) {
		drm_gpusvm_notifier_unlock(&driver->svm);
		return -EAGAIN;
	}
	for (entry = driver->range->dma_addr; done < driver->size; entry++) {
		pages = (uint8_t *)(uintptr_t)entry->addr - done;
		end = done + (gpusvm_page_size() << entry->order);
		for (; done < end; done++)
			pages[done]++;
	}
	drm_gpusvm_notifier_unlock(&driver->svm);
	return 0;
}

int driver_increment(struct driver *driver)
{
	int err = -EAGAIN;
	int tries;

	for (tries = 0; err == -EAGAIN && tries < TRIES; tries++)
		err = increment_once(driver);
	return err;
}
