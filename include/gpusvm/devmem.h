/* SPDX-License-Identifier: MIT */
/*
 * Ready device memory: a pool of pages on a NUMA node, with its pagemap.
 */
#ifndef GPUSVM_DEVMEM_H
#define GPUSVM_DEVMEM_H

#include <gpusvm/kernel.h>
#include <gpusvm/pagemap.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gpusvm_devmem_pool;

/**
 * struct gpusvm_devmem_pool_opts - Options of gpusvm_devmem_pool_create()
 * @size: sizeof(struct gpusvm_devmem_pool_opts)
 * @bytes: Size of the pool; rounded up to a page
 * @node: NUMA node, or -1 for the best one: a node without CPUs if there is
 *	one, else the farthest, else the only one
 * @owner: Owner token of the pagemap, see drm_gpusvm_init()
 * @pgmap_ops: drm_gpusvm_pagemap_ops_get()
 */
struct gpusvm_devmem_pool_opts {
	size_t size;
	size_t bytes;
	int node;
	void *owner;
	const struct dev_pagemap_ops *pgmap_ops;
};

/**
 * struct gpusvm_devmem_pool_info - What a pool is
 * @size: sizeof(struct gpusvm_devmem_pool_info), set by the caller
 * @node: The NUMA node that its pages were found on
 * @emulated: The machine has one node only: "device" memory is as near as any
 *	other
 * @bytes: Size
 * @free_bytes: Not allocated now
 */
struct gpusvm_devmem_pool_info {
	size_t size;
	int node;
	bool emulated;
	size_t bytes;
	size_t free_bytes;
};

/**
 * gpusvm_devmem_pool_create() - Take device memory from a NUMA node
 * @pool: Filled with the pool
 * @opts: Options
 *
 * The memory is populated at once and its placement verified.
 *
 * Context: May sleep.
 * Return: 0; -EINVAL for bad options; -ENODEV if there is no such node, or it
 * has no memory; -ENOMEM if it has less than asked for; -EPERM if the process
 * may not use it; -EXDEV if the kernel put pages elsewhere all the same.  A log
 * line says more.
 */
GPUSVM_API int
gpusvm_devmem_pool_create(struct gpusvm_devmem_pool **pool,
			  const struct gpusvm_devmem_pool_opts *opts)
	GPUSVM_MUST_CHECK;

/**
 * gpusvm_devmem_pool_destroy() - Give the memory back
 * @pool: The pool, or NULL
 *
 * Return: 0; -EBUSY while pages are in use: evict the allocations first.
 */
GPUSVM_API int gpusvm_devmem_pool_destroy(struct gpusvm_devmem_pool *pool);

/**
 * gpusvm_devmem_pool_info() - Describe a pool
 * @pool: The pool
 * @info: Filled as far as its size member says
 *
 * Return: 0; -EINVAL.
 */
GPUSVM_API int gpusvm_devmem_pool_info(struct gpusvm_devmem_pool *pool,
				       struct gpusvm_devmem_pool_info *info);

/**
 * gpusvm_devmem_pool_pagemap() - The pagemap of a pool
 * @pool: The pool
 */
GPUSVM_API struct dev_pagemap *
gpusvm_devmem_pool_pagemap(struct gpusvm_devmem_pool *pool);

/**
 * gpusvm_devmem_pool_alloc() - Allocate adjacent device pages
 * @pool: The pool
 * @bytes: Size; rounded up to a page.  Powers of two are aligned to their size
 *	as far as the pool's start is
 * @pfn: Filled with the first page frame number
 *
 * The contents are undefined; the ready copy engines clear pages that get no
 * data.
 *
 * Context: Any thread, callbacks included.
 * Return: 0; -EINVAL; -ENOSPC if there is no such run: evict something.
 */
GPUSVM_API int gpusvm_devmem_pool_alloc(struct gpusvm_devmem_pool *pool,
					size_t bytes, unsigned long *pfn)
	GPUSVM_MUST_CHECK;

/**
 * gpusvm_devmem_pool_free() - Free pages
 * @pool: The pool
 * @pfn: First page frame number
 * @bytes: Size, as allocated
 *
 * Context: Any thread, callbacks included.
 */
GPUSVM_API void gpusvm_devmem_pool_free(struct gpusvm_devmem_pool *pool,
					unsigned long pfn, size_t bytes);

#ifdef __cplusplus
}
#endif

#include <gpusvm/names_end.h>

#endif /* GPUSVM_DEVMEM_H */
