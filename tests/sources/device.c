/* SPDX-License-Identifier: MIT */
/* See device.h. */
#include "device.h"

#include <drm/drm_gpusvm.h>
#include <errno.h>
#include <gpusvm/copy.h>
#include <gpusvm/devmem.h>
#include <linux/err.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <stdio.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "small_driver.h"

#define ALIGNMENT (2ul << 20)

struct block {
	struct drm_gpusvm_devmem devmem;
	unsigned long pfn;
};

static struct mm_struct *mm;
static struct gpusvm_devmem_pool *pool;
static struct drm_gpusvm *svm;
static struct drm_pagemap dpagemap;
static char log_lines[8192];

unsigned int device_log_errors;
size_t device_bytes = 64ul << 20;

void device_fail(const char *what, const char *file, int line)
{
	printf("%s:%d: %s\n", file, line, what);
	fflush(stdout);
	_exit(EXIT_FAILURE);
}

static void log_line(enum gpusvm_log_level level, const char *message,
		     void *priv)
{
	size_t used = strlen(log_lines);

	(void)priv;
	device_log_errors += level == GPUSVM_LOG_ERROR;
	snprintf(log_lines + used, sizeof(log_lines) - used, "%s\n", message);
}

bool device_log_has(const char *text)
{
	return strstr(log_lines, text);
}

static void devmem_release(struct drm_gpusvm_devmem *devmem)
{
	struct block *block = container_of(devmem, struct block, devmem);

	gpusvm_devmem_pool_free(pool, block->pfn, devmem->size);
	gpusvm_free(block);
}

static int populate(struct drm_gpusvm_devmem *devmem, unsigned long npages,
		    unsigned long *pfn)
{
	struct block *block = container_of(devmem, struct block, devmem);
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = block->pfn + i;
	return 0;
}

void (*device_copying)(void);
unsigned int device_copies;
int device_copy_error;

static int copy_to_ram(struct page **pages, dma_addr_t *dma_addr,
		       unsigned long npages)
{
	__atomic_fetch_add(&device_copies, 1, __ATOMIC_RELEASE);
	if (device_copying)
		device_copying();
	if (device_copy_error)
		return device_copy_error;
	return gpusvm_memcpy_to_ram(pages, dma_addr, npages);
}

static const struct drm_gpusvm_devmem_ops devmem_ops = {
	.devmem_release = devmem_release,
	.populate_devmem_pfn = populate,
	.copy_to_devmem = gpusvm_memcpy_to_devmem,
	.copy_to_ram = copy_to_ram,
};

static const struct drm_pagemap_ops pagemap_ops = {
	.device_map = small_driver_device_map,
};
static const struct drm_gpusvm_ops svm_ops = {
	.invalidate = small_driver_invalidate,
};
static unsigned long chunks[] = { 2ul << 20, 64ul << 10, 0 };

int device_open(enum gpusvm_source source)
{
	const struct gpusvm_mm_opts opts = { .size = sizeof(opts),
					     .source = source };
	const struct gpusvm_devmem_pool_opts pool_opts = {
		.size = sizeof(pool_opts),
		.bytes = device_bytes,
		.node = -1,
		.owner = &pool,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
	};
	int err;

	log_lines[0] = '\0';
	device_log_errors = 0;
	gpusvm_set_log(log_line, NULL, GPUSVM_LOG_INFO);
	err = gpusvm_mm_open(&mm, &opts);
	if (err)
		return err;
	chunks[2] = gpusvm_page_size();
	check(!gpusvm_devmem_pool_create(&pool, &pool_opts));
	check(!gpusvm_exclude(&dpagemap, sizeof(dpagemap)));
	dpagemap.ops = &pagemap_ops;
	svm = gpusvm_alloc(sizeof(*svm));
	check(svm &&
	      !drm_gpusvm_init(svm, "device", NULL, mm, &pool, 0, 1ul << 48,
			       512ul << 20, &svm_ops, chunks, 3));
	return 0;
}

void device_close(void)
{
	drm_gpusvm_fini(svm);
	gpusvm_free(svm);
	check(!gpusvm_mm_close(mm));
	check(!gpusvm_devmem_pool_destroy(pool));
}

void device_with_notifier_lock(void (*fn)(void))
{
	drm_gpusvm_notifier_lock(svm);
	fn();
	drm_gpusvm_notifier_unlock(svm);
}

unsigned long device_features(void)
{
	return gpusvm_mm_features(mm);
}

unsigned char *device_map(size_t size, int prot)
{
	unsigned long base;
	void *area;

	area = mmap(NULL, size + 2 * ALIGNMENT, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	check(area != MAP_FAILED);
	base = ((unsigned long)area / ALIGNMENT + 1) * ALIGNMENT;
	area = mmap((void *)base, size, prot,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	check(area != MAP_FAILED);
	check(!madvise(area, size, MADV_NOHUGEPAGE));
	return area;
}

int device_take(void *addr, size_t size)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1,
					    .read_only = 1 };
	unsigned long start = (unsigned long)addr;
	struct drm_gpusvm_range *range;
	struct block *block;
	int err;

	range = drm_gpusvm_range_find_or_insert(svm, start, start, start + size,
						&ctx);
	if (IS_ERR(range))
		return (int)PTR_ERR(range);
	check(drm_gpusvm_range_size(range) == size);
	block = gpusvm_alloc(sizeof(*block));
	check(block && !gpusvm_devmem_pool_alloc(pool, size, &block->pfn));
	drm_gpusvm_devmem_init(&block->devmem, NULL, mm, &devmem_ops, &dpagemap,
			       size);
	gpusvm_mm_read_lock(mm);
	err = drm_gpusvm_migrate_to_devmem(svm, range, &block->devmem, &ctx);
	gpusvm_mm_read_unlock(mm);
	if (err)
		devmem_release(&block->devmem);
	return err;
}

unsigned long device_pages(void)
{
	struct gpusvm_stats stats = { .size = sizeof(stats) };

	check(!gpusvm_mm_get_stats(mm, &stats));
	return stats.device_pages;
}

unsigned int device_seconds(unsigned int seconds)
{
	const char *given = getenv("GPUSVM_TEST_SLOW");
	unsigned int slow = given ? (unsigned int)atoi(given) : 1;

	return slow ? seconds * slow : seconds;
}

#define PATIENCE_S 30

void device_check_empty(void)
{
	time_t end = time(NULL) + device_seconds(PATIENCE_S);

	while (device_pages()) {
		check(time(NULL) < end);
		sched_yield();
	}
}
