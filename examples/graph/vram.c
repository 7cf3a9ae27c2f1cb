/* SPDX-License-Identifier: MIT */
/*
 * Device memory: one block for each range that is on the device, taken from a
 * pool on a NUMA node, or in a file in memory for io_uring.  When the pool is full, the block that was not used for
 * the longest time goes home first.
 */
#include <errno.h>
#include <time.h>

#include <gpusvm/pagemap.h>

#include "gpu.h"

/*
 * The copy callbacks are given no device, so this is global; and as they run
 * on the library's fault handler, it must not migrate (see gpu_vram_init()).
 */
static uint64_t copy_nanoseconds;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int copy_to_devmem(struct page **pages, gpusvm_dma_addr_t *dma_addr,
			  unsigned long npages)
{
	uint64_t start = now();
	int err = gpusvm_copy_to_devmem(pages, dma_addr, npages);

	__atomic_fetch_add(&copy_nanoseconds, now() - start, __ATOMIC_RELAXED);
	return err;
}

static int copy_to_ram(struct page **pages, gpusvm_dma_addr_t *dma_addr,
		       unsigned long npages)
{
	uint64_t start = now();
	int err = gpusvm_copy_to_ram(pages, dma_addr, npages);

	__atomic_fetch_add(&copy_nanoseconds, now() - start, __ATOMIC_RELAXED);
	return err;
}

uint64_t gpu_copy_nanoseconds(void)
{
	return __atomic_load_n(&copy_nanoseconds, __ATOMIC_RELAXED);
}

static struct gpu_block *to_block(struct drm_gpusvm_devmem *devmem)
{
	return gpusvm_container_of(devmem, struct gpu_block, devmem);
}

static int populate_devmem_pfn(struct drm_gpusvm_devmem *devmem,
			       unsigned long npages, unsigned long *pfn)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = to_block(devmem)->pfn + i;
	return 0;
}

/* The library's reference ends: no page of the block is in use any more. */
static void devmem_release(struct drm_gpusvm_devmem *devmem)
{
	gpu_block_put(to_block(devmem));
}

static const struct drm_gpusvm_devmem_ops devmem_ops = {
	.devmem_release = devmem_release,
	.populate_devmem_pfn = populate_devmem_pfn,
	.copy_to_devmem = copy_to_devmem,
	.copy_to_ram = copy_to_ram,
};

/* Workers reach device memory where the pool has it mapped. */
static struct drm_pagemap_device_addr
device_map(struct drm_pagemap *dpagemap, struct device *dev, struct page *page,
	   unsigned int order, enum gpusvm_dma_data_direction dir)
{
	(void)dpagemap;
	(void)dev;
	return drm_pagemap_device_addr_encode(
		(unsigned long)gpusvm_page_address(page),
		DRM_INTERCONNECT_DRIVER, order, dir);
}

static unsigned long frame_of(const struct gpu *gpu, unsigned long pfn)
{
	return pfn - (gpu->vram_start >> gpu->page_table.page_shift);
}

static unsigned long frames_of(const struct gpu *gpu, size_t size)
{
	return size >> gpu->page_table.page_shift;
}

static void set_owner(struct gpu_block *block, struct gpu_block *owner)
{
	struct gpu *gpu = block->gpu;
	unsigned long first = frame_of(gpu, block->pfn);
	unsigned long i;

	for (i = 0; i < frames_of(gpu, block->devmem.size); i++)
		gpu->frames[first + i] = owner;
}

void gpu_block_put(struct gpu_block *block)
{
	struct gpu *gpu = block->gpu;
	bool last;

	pthread_mutex_lock(&gpu->lists);
	last = !--block->refs;
	if (last)
		set_owner(block, NULL);
	pthread_mutex_unlock(&gpu->lists);
	if (!last)
		return;
	gpusvm_devmem_pool_free(gpu->pool, block->pfn, block->devmem.size);
	gpusvm_free(block);
}

/* The block that was used least recently, with a reference; or NULL. */
static struct gpu_block *take_oldest(struct gpu *gpu)
{
	struct gpu_block *block, *oldest = NULL;
	unsigned long use, oldest_use = 0;
	unsigned long frame = 0;

	pthread_mutex_lock(&gpu->lists);
	while (frame < frames_of(gpu, gpu->vram_size)) {
		block = gpu->frames[frame];
		if (!block) {
			frame++;
			continue;
		}
		frame += frames_of(gpu, block->devmem.size);
		use = __atomic_load_n(&block->last_use, __ATOMIC_RELAXED);
		if (!block->leaving && (!oldest || use < oldest_use)) {
			oldest = block;
			oldest_use = use;
		}
	}
	if (oldest) {
		oldest->leaving = true;
		oldest->refs++;
	}
	pthread_mutex_unlock(&gpu->lists);
	return oldest;
}

static int evict_oldest(struct gpu *gpu)
{
	struct gpu_block *block = take_oldest(gpu);
	int err;

	if (!block)
		return -ENOSPC;
	err = drm_gpusvm_evict_to_ram(&block->devmem);
	if (err)
		block->leaving = false;
	else
		gpu->stats.evictions++;
	gpu_block_put(block);
	return err;
}

/*
 * A block for a range of @size bytes, or NULL.  Makes room.  The caller holds
 * the driver lock, so nobody else takes what becomes free.
 */
struct gpu_block *gpu_block_alloc(struct gpu *gpu, size_t size)
{
	struct gpu_block *block = gpusvm_alloc(sizeof(*block));
	int err;

	if (!block)
		return NULL;
	block->gpu = gpu;
	block->refs = 1;
	block->last_use = __atomic_load_n(&gpu->clock, __ATOMIC_RELAXED);
	drm_gpusvm_devmem_init(&block->devmem, NULL, gpu->mm, &devmem_ops,
			       &gpu->dpagemap, size);
	do {
		err = gpusvm_devmem_pool_alloc(gpu->pool, size, &block->pfn);
	} while (err == -ENOSPC && !evict_oldest(gpu));
	if (err) {
		gpusvm_free(block);
		return NULL;
	}
	pthread_mutex_lock(&gpu->lists);
	set_owner(block, block);
	pthread_mutex_unlock(&gpu->lists);
	return block;
}

static int create_pool(struct gpu *gpu)
{
	const struct gpusvm_copy_engine_opts engine_opts = {
		.size = sizeof(engine_opts),
		.type = gpu->options.engine,
	};
	struct gpusvm_devmem_pool_opts opts = {
		.size = sizeof(opts),
		.bytes = gpu->options.memory,
		.node = -1,
		.owner = gpu,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
	};
	int err;

	err = gpusvm_copy_engine_create(&gpu->engine, &engine_opts);
	if (err)
		return err;
	opts.engine = gpu->engine;
	if (gpu->options.engine == GPUSVM_COPY_URING)
		opts.type = GPUSVM_DEVMEM_MEMFD;
	return gpusvm_devmem_pool_create(&gpu->pool, &opts);
}

int gpu_vram_init(struct gpu *gpu)
{
	static const struct drm_pagemap_ops ops = { .device_map = device_map };
	struct gpusvm_dev_pagemap *pagemap;
	int err;

	err = gpusvm_exclude(&copy_nanoseconds, sizeof(copy_nanoseconds));
	if (err)
		return err;
	err = create_pool(gpu);
	if (err)
		return err;
	pagemap = gpusvm_devmem_pool_pagemap(gpu->pool);
	gpu->dpagemap.ops = &ops;
	gpu->vram_start = pagemap->range.start;
	gpu->vram_size = pagemap->range.end + 1 - pagemap->range.start;
	gpu->frames = gpusvm_alloc(frames_of(gpu, gpu->vram_size) *
				   sizeof(*gpu->frames));
	return gpu->frames ? 0 : -ENOMEM;
}

/* Fails with -EBUSY if blocks were lost. */
int gpu_vram_fini(struct gpu *gpu)
{
	int err = gpusvm_devmem_pool_destroy(gpu->pool);

	/* Pages that are still in use would be copied by it. */
	if (!err)
		gpusvm_copy_engine_destroy(gpu->engine);
	gpusvm_free(gpu->frames);
	gpusvm_include(&copy_nanoseconds, sizeof(copy_nanoseconds));
	return err;
}
