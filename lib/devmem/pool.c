/* SPDX-License-Identifier: MIT */
/*
 * A pool of device pages: memory of a NUMA node or in a file, its pagemap, and
 * a first-fit bitmap allocator over it.
 */
#include <errno.h>
#include <gpusvm/devmem.h>
#include <gpusvm/gpusvm.h>
#include <drm/drm_gpusvm.h>
#include <pthread.h>
#include <string.h>

#include "alloc.h"
#include "bitmap.h"
#include "compiler.h"
#include "file.h"
#include "log.h"
#include "numa.h"
#include "page_size.h"

/**
 * struct gpusvm_devmem_pool - The pool
 * @pgmap: Its pagemap
 * @type: What its memory is
 * @numa: Its memory, if that is on a node
 * @file: Its memory, if that is in a file
 * @npages: Size
 * @lock: Protects the following
 * @nfree: Pages not allocated
 * @first_free: Every page before is allocated
 * @used: A bit for each page
 */
struct gpusvm_devmem_pool {
	struct dev_pagemap pgmap;
	enum gpusvm_devmem_type type;
	union {
		struct numa_memory numa;
		struct file_memory file;
	};
	unsigned long npages;
	pthread_mutex_t lock;
	unsigned long nfree;
	unsigned long first_free;
	unsigned long used[];
};

static int check_opts(const struct gpusvm_devmem_pool_opts *opts)
{
	if (opts && opts->size == sizeof(*opts) && opts->pgmap_ops &&
	    opts->type >= GPUSVM_DEVMEM_NUMA &&
	    opts->type <= GPUSVM_DEVMEM_COHERENT && opts->bytes &&
	    opts->bytes <= ~PAGE_SIZE)
		return 0;
	log_error("devmem_pool_create: no options, a bad size or type in them, "
		  "no bytes or no pgmap_ops");
	return -EINVAL;
}

static struct gpusvm_devmem_pool *pool_alloc(unsigned long npages)
{
	struct gpusvm_devmem_pool *pool;

	pool = gpusvm_alloc(sizeof(*pool) +
			    BITMAP_WORDS(npages) * sizeof(pool->used[0]));
	if (!pool)
		return NULL;
	pool->npages = npages;
	pool->nfree = npages;
	pthread_mutex_init(&pool->lock, NULL);
	return pool;
}

static bool is_numa(enum gpusvm_devmem_type type)
{
	return type == GPUSVM_DEVMEM_NUMA || type == GPUSVM_DEVMEM_COHERENT;
}

static int take_memory(struct gpusvm_devmem_pool *pool,
		       const struct gpusvm_devmem_pool_opts *opts)
{
	size_t size = pool->npages << PAGE_SHIFT;
	int err;

	pool->type = opts->type;
	pool->pgmap.type = MEMORY_DEVICE_PRIVATE;
	if (is_numa(opts->type)) {
		pool->numa.coherent = opts->type == GPUSVM_DEVMEM_COHERENT;
		if (pool->numa.coherent)
			pool->pgmap.type = MEMORY_DEVICE_COHERENT;
		err = gpusvm_numa_take(&pool->numa, size, opts->node,
				       opts->nodes);
		pool->pgmap.range.start = pool->numa.addr;
		pool->pgmap.nodes = pool->numa.nodes.mask[0];
	} else {
		err = gpusvm_file_take(&pool->file, size, opts);
		pool->pgmap.range.start = pool->file.addr;
		pool->pgmap.file = &pool->file.file;
	}
	pool->pgmap.range.end = pool->pgmap.range.start + size - 1;
	return err;
}

static void give_back(struct gpusvm_devmem_pool *pool)
{
	if (is_numa(pool->type))
		gpusvm_numa_give_back(&pool->numa);
	else
		gpusvm_file_give_back(&pool->file);
}

int gpusvm_devmem_pool_create(struct gpusvm_devmem_pool **pool,
			      const struct gpusvm_devmem_pool_opts *opts)
{
	struct gpusvm_devmem_pool *new;
	int err;

	err = pool ? check_opts(opts) : -EINVAL;
	if (err)
		return err;
	new = pool_alloc(PAGE_ALIGN_UP(opts->bytes) >> PAGE_SHIFT);
	if (!new)
		return -ENOMEM;
	err = take_memory(new, opts);
	if (err)
		goto err_free;
	new->pgmap.ops = opts->pgmap_ops;
	new->pgmap.owner = opts->owner;
	new->pgmap.engine = opts->engine;
	err = gpusvm_pagemap_add(&new->pgmap);
	if (err)
		goto err_give_back;
	*pool = new;
	return 0;

err_give_back:
	give_back(new);
err_free:
	gpusvm_free(new);
	return err;
}

int gpusvm_devmem_pool_destroy(struct gpusvm_devmem_pool *pool)
{
	int err;

	if (!pool)
		return 0;
	err = gpusvm_pagemap_remove(&pool->pgmap);
	if (err)
		return err;
	give_back(pool);
	pthread_mutex_destroy(&pool->lock);
	gpusvm_free(pool);
	return 0;
}

int gpusvm_devmem_pool_info(struct gpusvm_devmem_pool *pool,
			    struct gpusvm_devmem_pool_info *info)
{
	struct gpusvm_devmem_pool_info now;
	bool numa;

	if (!pool || !info || info->size < sizeof(info->size))
		return -EINVAL;
	numa = is_numa(pool->type);
	now = (struct gpusvm_devmem_pool_info){
		.size = min(info->size, sizeof(now)),
		.node = numa ? pool->numa.node : -1,
		.emulated = numa && pool->numa.emulated,
		.bytes = pool->npages << PAGE_SHIFT,
		.mapped = numa || pool->file.file.mapped,
		.direct = !numa && pool->file.direct,
		.nodes = numa ? pool->numa.nodes.mask[0] : 0,
	};
	pthread_mutex_lock(&pool->lock);
	now.free_bytes = pool->nfree << PAGE_SHIFT;
	pthread_mutex_unlock(&pool->lock);
	memcpy(info, &now, now.size);
	return 0;
}

struct dev_pagemap *gpusvm_devmem_pool_pagemap(struct gpusvm_devmem_pool *pool)
{
	return &pool->pgmap;
}

/* First page of a run of @n free ones, aligned to @align; npages if none. */
static unsigned long find_free(const struct gpusvm_devmem_pool *pool,
			       unsigned long n, unsigned long align)
{
	unsigned long used, first = ALIGN_UP(pool->first_free, align);

	while (first + n <= pool->npages) {
		used = gpusvm_bitmap_find(pool->used, first, first + n, true);
		if (used == first + n)
			return first;
		first = ALIGN_UP(gpusvm_bitmap_find(pool->used, used + 1,
						    pool->npages, false),
				 align);
	}
	return pool->npages;
}

int gpusvm_devmem_pool_alloc(struct gpusvm_devmem_pool *pool, size_t bytes,
			     unsigned long *pfn)
{
	unsigned long n = PAGE_ALIGN_UP(bytes) >> PAGE_SHIFT;
	unsigned long first;

	if (!pool || !pfn || !n)
		return -EINVAL;
	pthread_mutex_lock(&pool->lock);
	first = find_free(pool, n, is_power_of_2(n) ? n : 1);
	if (first < pool->npages) {
		gpusvm_bitmap_fill(pool->used, first, n, true);
		pool->nfree -= n;
		if (first == pool->first_free)
			pool->first_free += n;
	}
	pthread_mutex_unlock(&pool->lock);
	if (first == pool->npages)
		return -ENOSPC;
	*pfn = (pool->pgmap.range.start >> PAGE_SHIFT) + first;
	return 0;
}

void gpusvm_devmem_pool_free(struct gpusvm_devmem_pool *pool, unsigned long pfn,
			     size_t bytes)
{
	unsigned long first = pfn - (pool->pgmap.range.start >> PAGE_SHIFT);
	unsigned long n = PAGE_ALIGN_UP(bytes) >> PAGE_SHIFT;

	pthread_mutex_lock(&pool->lock);
	pool->nfree += gpusvm_bitmap_fill(pool->used, first, n, false);
	pool->first_free = min(pool->first_free, first);
	pthread_mutex_unlock(&pool->lock);
}
