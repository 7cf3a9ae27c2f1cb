/* SPDX-License-Identifier: MIT */
/*
 * A program outside of the tree: all it has is what pkg-config gives, and no
 * kernel name is its to see.  One device fault: memory moves to the device, the
 * device changes it there, the CPU's touch brings it home.
 *
 * Both C and C++.  Exit status 77 if this machine has no userfaultfd for us.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <drm/drm_gpusvm.h>
#include <gpusvm/copy.h>
#include <gpusvm/devmem.h>
#include <gpusvm/gpusvm.h>
#include <gpusvm/pagemap.h>

#define CHUNK (2ul << 20)

/* An allocation on the device; the library's from a migration on. */
struct allocation {
	struct drm_gpusvm_devmem devmem;
	unsigned long pfn;
};

static struct gpusvm_devmem_pool *pool;
static struct gpusvm_completion released;

static void log_line(enum gpusvm_log_level level, const char *message,
		     void *priv)
{
	(void)level;
	(void)priv;
	fprintf(stderr, "libgpusvm: %s\n", message);
}

static void invalidate(struct drm_gpusvm *svm,
		       struct drm_gpusvm_notifier *notifier,
		       const struct gpusvm_mmu_notifier_range *event)
{
	struct drm_gpusvm_range *range = NULL;
	struct drm_gpusvm_ctx ctx;

	memset(&ctx, 0, sizeof(ctx));
	ctx.in_notifier = 1;
	drm_gpusvm_for_each_range(range, notifier, event->start, event->end) {
		drm_gpusvm_range_unmap_pages(svm, range, &ctx);
		if (event->event == GPUSVM_MMU_NOTIFY_UNMAP)
			drm_gpusvm_range_set_unmapped(range, event);
	}
}

static void devmem_release(struct drm_gpusvm_devmem *devmem)
{
	struct allocation *allocation =
		gpusvm_container_of(devmem, struct allocation, devmem);

	gpusvm_devmem_pool_free(pool, allocation->pfn, devmem->size);
	gpusvm_free(allocation);
	gpusvm_complete_all(&released);
}

static int populate_devmem_pfn(struct drm_gpusvm_devmem *devmem,
			       unsigned long npages, unsigned long *pfn)
{
	struct allocation *allocation =
		gpusvm_container_of(devmem, struct allocation, devmem);
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = allocation->pfn + i;
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

/* Everything that callbacks use is in memory that never migrates. */
struct driver {
	struct drm_gpusvm svm;
	struct drm_gpusvm_ops ops;
	struct drm_gpusvm_devmem_ops devmem_ops;
	struct drm_pagemap dpagemap;
	struct drm_pagemap_ops pagemap_ops;
	unsigned long chunks[1];
};

static struct driver *driver_create(struct gpusvm_devmem_pool **new_pool)
{
	struct driver *driver = (struct driver *)gpusvm_alloc(sizeof(*driver));
	struct gpusvm_devmem_pool_opts opts;
	int err;

	if (!driver)
		return NULL;
	driver->ops.invalidate = invalidate;
	driver->devmem_ops.devmem_release = devmem_release;
	driver->devmem_ops.populate_devmem_pfn = populate_devmem_pfn;
	driver->devmem_ops.copy_to_devmem = gpusvm_memcpy_to_devmem;
	driver->devmem_ops.copy_to_ram = gpusvm_memcpy_to_ram;
	driver->pagemap_ops.device_map = device_map;
	driver->dpagemap.ops = &driver->pagemap_ops;
	driver->chunks[0] = CHUNK;

	memset(&opts, 0, sizeof(opts));
	opts.size = sizeof(opts);
	opts.bytes = 2 * CHUNK;
	opts.node = -1;
	opts.owner = driver;
	opts.pgmap_ops = drm_gpusvm_pagemap_ops_get();
	err = gpusvm_devmem_pool_create(new_pool, &opts);
	if (err) {
		fprintf(stderr, "no device memory: %s\n", strerror(-err));
		gpusvm_free(driver);
		return NULL;
	}
	return driver;
}

/* Move the range's memory to the device. */
static int migrate(struct driver *driver, struct drm_gpusvm_range *range,
		   const struct drm_gpusvm_ctx *ctx)
{
	struct drm_gpusvm *svm = &driver->svm;
	struct allocation *allocation;
	size_t size = drm_gpusvm_range_size(range);
	int err;

	allocation = (struct allocation *)gpusvm_alloc(sizeof(*allocation));
	if (!allocation)
		return -ENOMEM;
	err = gpusvm_devmem_pool_alloc(pool, size, &allocation->pfn);
	if (err) {
		gpusvm_free(allocation);
		return err;
	}
	drm_gpusvm_devmem_init(&allocation->devmem, NULL, svm->mm,
			       &driver->devmem_ops, &driver->dpagemap, size);
	gpusvm_mm_read_lock(svm->mm);
	err = drm_gpusvm_migrate_to_devmem(svm, range, &allocation->devmem,
					   ctx);
	gpusvm_mm_read_unlock(svm->mm);
	if (err) {
		gpusvm_devmem_pool_free(pool, allocation->pfn, size);
		gpusvm_free(allocation);
	}
	return err;
}

/* What the device does: add one to each byte of its memory. */
static int device_increments(struct drm_gpusvm *svm,
			     struct drm_gpusvm_range *range)
{
	size_t done = 0;
	size_t i;
	size_t j;
	int err = -EAGAIN;

	drm_gpusvm_notifier_lock(svm);
	if (drm_gpusvm_range_pages_valid(svm, range)) {
		err = 0;
		for (i = 0; done < drm_gpusvm_range_size(range); i++) {
			struct drm_pagemap_device_addr addr =
				range->dma_addr[i];
			size_t bytes = gpusvm_page_size() << addr.order;
			unsigned char *p =
				(unsigned char *)(uintptr_t)addr.addr;

			if (addr.proto != DRM_INTERCONNECT_DRIVER)
				err = -ENXIO;
			for (j = 0; !err && j < bytes; j++)
				p[j]++;
			done += bytes;
		}
	}
	drm_gpusvm_notifier_unlock(svm);
	return err;
}

static int device_fault(struct driver *driver, unsigned char *mem)
{
	struct drm_gpusvm *svm = &driver->svm;
	unsigned long start = (unsigned long)mem;
	struct drm_gpusvm_range *range;
	struct drm_gpusvm_ctx ctx;
	int tries = 0;
	int err;

	memset(&ctx, 0, sizeof(ctx));
	ctx.devmem_possible = 1;
	ctx.devmem_only = 1;
	range = drm_gpusvm_range_find_or_insert(svm, start, start,
						start + CHUNK, &ctx);
	if (gpusvm_is_err(range))
		return (int)gpusvm_ptr_err(range);
	err = migrate(driver, range, &ctx);
	while (!err) {
		err = drm_gpusvm_range_get_pages(svm, range, &ctx);
		if (!err)
			err = device_increments(svm, range);
		if (err != -EAGAIN || ++tries == 10)
			break;
		err = 0;
	}
	return err;
}

/* CPU, device, CPU. */
static int cycle(struct driver *driver, struct mm_struct *mm,
		 unsigned char *mem)
{
	struct gpusvm_stats stats;
	size_t wrong = 0;
	size_t i;
	int err;

	for (i = 0; i < CHUNK; i++)
		mem[i] = (unsigned char)(i % 251);
	err = drm_gpusvm_init(&driver->svm, "consumer", NULL, mm, driver, 0,
			      1ul << 48, 512ul << 20, &driver->ops,
			      driver->chunks, 1);
	if (!err)
		err = device_fault(driver, mem);
	if (err) {
		fprintf(stderr, "device fault: %s\n", strerror(-err));
		return 1;
	}
	for (i = 0; i < CHUNK; i++)
		wrong += mem[i] != (unsigned char)(i % 251 + 1);
	/* Home again: the device's copy is given back, perhaps a bit later. */
	gpusvm_wait_for_completion(&released);
	drm_gpusvm_fini(&driver->svm);

	stats.size = sizeof(stats);
	err = gpusvm_mm_get_stats(mm, &stats);
	printf("%zu wrong bytes, %llu bytes to the device, %llu back\n", wrong,
	       stats.bytes_to_devmem, stats.bytes_to_ram);
	return err || wrong || stats.bytes_to_devmem != CHUNK ||
	       stats.bytes_to_ram != CHUNK;
}

int main(void)
{
	unsigned char *area;
	unsigned char *mem;
	struct driver *driver;
	struct mm_struct *mm;
	int failed;
	int err;

	if (strcmp(gpusvm_version(), GPUSVM_VERSION) != 0) {
		fprintf(stderr, "headers of %s, library of %s\n",
			GPUSVM_VERSION, gpusvm_version());
		return 1;
	}
	gpusvm_set_log(log_line, NULL, GPUSVM_LOG_WARNING);
	err = gpusvm_mm_open(&mm, NULL);
	if (err == -EPERM || err == -ENOSYS) {
		printf("skip: no userfaultfd: %s\n", strerror(-err));
		return 77;
	}
	if (err) {
		fprintf(stderr, "gpusvm_mm_open: %s\n", strerror(-err));
		return 1;
	}
	gpusvm_init_completion(&released);
	driver = driver_create(&pool);
	area = (unsigned char *)mmap(NULL, 2 * CHUNK, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!driver || area == MAP_FAILED)
		return 1;
	mem = area + (CHUNK - (uintptr_t)area % CHUNK) % CHUNK;
	failed = cycle(driver, mm, mem);
	if (!failed) {
		failed |= gpusvm_devmem_pool_destroy(pool) != 0;
		gpusvm_free(driver);
		failed |= gpusvm_mm_close(mm) != 0;
	}
	return failed;
}
