/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of shared virtual memory, as a kernel driver has it.  A
 * device fault finds or makes a range, moves it to device memory, gets its
 * pages and writes the page table; an invalidation undoes that; the garbage
 * collector removes ranges whose memory was unmapped.
 */
#include <errno.h>

#include "gpu.h"

#define VA_END (1ul << PT_VA_BITS)
#define NOTIFIER_SIZE (512ul << 20)

/* Rounds of one device fault; memory that keeps changing is an error. */
#define FAULT_TRIES 10

static struct gpu *to_gpu(struct drm_gpusvm *svm)
{
	return gpusvm_container_of(svm, struct gpu, svm);
}

static struct gpu_range *to_gpu_range(struct drm_gpusvm_range *range)
{
	return gpusvm_container_of(range, struct gpu_range, base);
}

static void driver_lock(struct gpu *gpu)
{
	pthread_mutex_lock(&gpu->lock.mutex);
	gpusvm_lockdep_acquire(&gpu->lock.dep_map);
}

static void driver_unlock(struct gpu *gpu)
{
	gpusvm_lockdep_release(&gpu->lock.dep_map);
	pthread_mutex_unlock(&gpu->lock.mutex);
}

/* A range's flags without the notifier lock: a peek that may be outdated. */
static struct drm_gpusvm_range_flags peek_flags(struct drm_gpusvm_range *range)
{
	struct drm_gpusvm_range_flags flags;

	flags.__flags =
		__atomic_load_n(&range->flags.__flags, __ATOMIC_RELAXED);
	return flags;
}

static struct drm_gpusvm_range *range_alloc(struct drm_gpusvm *svm)
{
	struct gpu_range *range = gpusvm_alloc(sizeof(*range));

	if (!range)
		return NULL;
	to_gpu(svm)->stats.ranges++;
	return &range->base;
}

static void range_free(struct drm_gpusvm_range *range)
{
	gpusvm_free(to_gpu_range(range));
}

/* Invalidation: from any thread, with the notifier lock held for writing. */

static void add_garbage(struct gpu *gpu, struct gpu_range *range)
{
	pthread_mutex_lock(&gpu->lists);
	if (!range->is_garbage) {
		range->is_garbage = true;
		range->next_garbage = gpu->garbage;
		gpu->garbage = range;
	}
	pthread_mutex_unlock(&gpu->lists);
}

/* Clear the page table entries of a range; true if there were any. */
static bool zap_range(struct gpu *gpu, struct drm_gpusvm_range *range)
{
	if (!to_gpu_range(range)->in_page_table)
		return false;
	pt_clear(&gpu->page_table, drm_gpusvm_range_start(range),
		 drm_gpusvm_range_end(range));
	to_gpu_range(range)->in_page_table = false;
	return true;
}

static void invalidate(struct drm_gpusvm *svm,
		       struct drm_gpusvm_notifier *notifier,
		       const struct gpusvm_mmu_notifier_range *event)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_range *range = NULL;
	struct gpu *gpu = to_gpu(svm);
	bool zapped = false;

	/* First the device must have stopped ... */
	drm_gpusvm_for_each_range(range, notifier, event->start, event->end)
		zapped |= zap_range(gpu, range);
	if (zapped)
		gpu_flush(gpu);

	/* ... then its addresses may end. */
	range = NULL;
	drm_gpusvm_for_each_range(range, notifier, event->start, event->end) {
		drm_gpusvm_range_unmap_pages(svm, range, &ctx);
		if (event->event != GPUSVM_MMU_NOTIFY_UNMAP)
			continue;
		drm_gpusvm_range_set_unmapped(range, event);
		add_garbage(gpu, to_gpu_range(range));
	}
}

/* The rest runs on threads of the device, with the driver lock held. */

static struct gpu_range *take_garbage(struct gpu *gpu)
{
	struct gpu_range *range;

	pthread_mutex_lock(&gpu->lists);
	range = gpu->garbage;
	if (range)
		gpu->garbage = range->next_garbage;
	pthread_mutex_unlock(&gpu->lists);
	return range;
}

static void collect_garbage(struct gpu *gpu)
{
	struct gpu_range *range;

	while ((range = take_garbage(gpu))) {
		/*
		 * What is left of the memory need not stay on the device; if
		 * it does, the next access of the CPU brings it home.
		 */
		if (peek_flags(&range->base).partial_unmap)
			drm_gpusvm_range_evict(&gpu->svm, &range->base);
		drm_gpusvm_range_remove(&gpu->svm, &range->base);
		gpu->stats.collected++;
	}
}

/* Move a range to device memory.  Where that fails system memory will do. */
static void migrate(struct gpu *gpu, struct drm_gpusvm_range *range,
		    const struct drm_gpusvm_ctx *ctx)
{
	struct gpu_block *block;
	int err;

	block = gpu_block_alloc(gpu, drm_gpusvm_range_size(range));
	if (!block)
		return;
	gpusvm_mm_read_lock(gpu->mm);
	err = drm_gpusvm_migrate_to_devmem(&gpu->svm, range, &block->devmem,
					   ctx);
	gpusvm_mm_read_unlock(gpu->mm);
	if (err) {
		gpu->stats.refused++;
		gpu->stats.refused_why = err;
		gpu_block_put(block);
	}
	/* Else the block is the library's, and may be free again already. */
}

/* Write the page table, unless the addresses have changed in between. */
static int commit(struct gpu *gpu, struct gpu_range *range)
{
	struct page_table *pt = &gpu->page_table;
	unsigned long addr = drm_gpusvm_range_start(&range->base);
	unsigned long end = drm_gpusvm_range_end(&range->base);
	unsigned long page_size = 1ul << pt->page_shift;
	const struct drm_pagemap_device_addr *entry;
	unsigned long i;
	int err;

	err = pt_prepare(pt, addr);
	if (err)
		return err;

	drm_gpusvm_notifier_lock(&gpu->svm);
	if (!drm_gpusvm_range_pages_valid(&gpu->svm, &range->base)) {
		drm_gpusvm_notifier_unlock(&gpu->svm);
		return -EAGAIN;
	}
	/* Packed: each entry stands for two to the power of order pages. */
	for (entry = range->base.dma_addr; addr < end; entry++)
		for (i = 0; i < 1ul << entry->order; i++, addr += page_size)
			pt_set(pt, addr, entry->addr + i * page_size);
	range->in_page_table = true;
	drm_gpusvm_notifier_unlock(&gpu->svm);
	return 0;
}

static int map_range(struct gpu *gpu, unsigned long addr)
{
	const struct drm_gpusvm_ctx ctx = {
		.devmem_possible = gpu->options.migrate,
	};
	struct drm_gpusvm_range_flags flags;
	struct drm_gpusvm_range *range;
	int err;

	range = drm_gpusvm_range_find_or_insert(&gpu->svm, addr, 0, VA_END,
						&ctx);
	if (gpusvm_is_err(range))
		return (int)gpusvm_ptr_err(range);

	flags = peek_flags(range);
	if (flags.migrate_devmem && !flags.has_devmem_pages)
		migrate(gpu, range, &ctx);

	err = drm_gpusvm_range_get_pages(&gpu->svm, range, &ctx);
	if (err == -EOPNOTSUPP) {
		/* Some pages here, some there: all home, and once more. */
		drm_gpusvm_range_evict(&gpu->svm, range);
		return -EAGAIN;
	}
	return err ? err : commit(gpu, to_gpu_range(range));
}

/* Whether a fault may succeed if tried again: the memory changed meanwhile. */
static bool may_pass(int err)
{
	return err == -EAGAIN || err == -EFAULT || err == -EPERM ||
	       err == -EBUSY;
}

/* Serve a device fault: 0 or a negative errno.  Not inside the guard. */
int gpu_fault(struct gpu *gpu, unsigned long addr)
{
	int tries;
	int err;

	driver_lock(gpu);
	gpu->stats.faults++;
	__atomic_fetch_add(&gpu->clock, 1, __ATOMIC_RELAXED);
	for (tries = 0; tries < FAULT_TRIES; tries++) {
		collect_garbage(gpu);
		/* Another worker may have been here first. */
		if (pt_lookup(&gpu->page_table, addr))
			err = 0;
		else
			err = map_range(gpu, addr);
		if (!may_pass(err))
			break;
		gpu->stats.retries++;
	}
	driver_unlock(gpu);
	return err;
}

/*
 * The sizes that a range may have.  A device with little memory does without
 * the larger ones: one block must not be most of it.
 */
static int choose_chunks(struct gpu *gpu)
{
	const unsigned long sizes[] = { 2ul << 20, 64ul << 10 };
	unsigned long page_size = gpusvm_page_size();
	int count = 0;
	int i;

	for (i = 0; i < 2; i++)
		if (sizes[i] > page_size &&
		    (!gpu->options.migrate ||
		     sizes[i] <= gpu->options.memory / 8))
			gpu->chunk_sizes[count++] = sizes[i];
	gpu->chunk_sizes[count++] = page_size;
	return count;
}

int gpu_svm_init(struct gpu *gpu)
{
	static const struct drm_gpusvm_ops ops = {
		.range_alloc = range_alloc,
		.range_free = range_free,
		.invalidate = invalidate,
	};
	int chunks = choose_chunks(gpu);
	int err;

	pthread_mutex_init(&gpu->lock.mutex, NULL);
	gpu->lock.dep_map.name = "driver lock of the example";
	err = drm_gpusvm_init(&gpu->svm, "graph", NULL, gpu->mm, gpu, 0, VA_END,
			      NOTIFIER_SIZE, &ops, gpu->chunk_sizes, chunks);
	if (!err)
		drm_gpusvm_driver_set_lock(&gpu->svm, &gpu->lock);
	return err;
}

void gpu_svm_fini(struct gpu *gpu)
{
	driver_lock(gpu);
	collect_garbage(gpu);
	drm_gpusvm_fini(&gpu->svm);
	driver_unlock(gpu);
	pthread_mutex_destroy(&gpu->lock.mutex);
}
