/* SPDX-License-Identifier: MIT */
/*
 * Ready device memory: a pool of pages on a NUMA node or in a file, with its
 * pagemap.
 */
#ifndef GPUSVM_DEVMEM_H
#define GPUSVM_DEVMEM_H

#include <gpusvm/kernel.h>
#include <gpusvm/pagemap.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gpusvm_copy_engine;
struct gpusvm_devmem_pool;

/**
 * enum gpusvm_devmem_type - What device memory is
 * @GPUSVM_DEVMEM_NUMA: Memory of a NUMA node
 * @GPUSVM_DEVMEM_MEMFD: An anonymous file in memory (memfd_create(2)), mapped
 * @GPUSVM_DEVMEM_FILE: A file; one on tmpfs is mapped, one on disk is not
 * @GPUSVM_DEVMEM_COHERENT: Memory of a NUMA node that the CPU accesses in place
 *	(MEMORY_DEVICE_COHERENT, see there): a far node as a tier of memory
 *
 * A pool of coherent memory takes nothing of its node in advance: it is what the
 * program's pages may occupy there, and a migration fails if the node turns out
 * to be full.
 *
 * Memory that is not mapped has addresses (gpusvm_page_address()) that cannot be
 * accessed.  The io_uring engine (GPUSVM_COPY_URING) copies it.
 */
enum gpusvm_devmem_type {
	GPUSVM_DEVMEM_NUMA,
	GPUSVM_DEVMEM_MEMFD,
	GPUSVM_DEVMEM_FILE,
	GPUSVM_DEVMEM_COHERENT,
};

/**
 * struct gpusvm_devmem_pool_opts - Options of gpusvm_devmem_pool_create()
 * @size: sizeof(struct gpusvm_devmem_pool_opts)
 * @bytes: Size of the pool; rounded up to a page
 * @node: With GPUSVM_DEVMEM_NUMA and _COHERENT, the node, or -1 for the best
 *	one: of the nodes without CPUs the nearest to the caller, of equally near ones the fastest
 *	(as ACPI HMAT tells); else the farthest, else the only one
 * @owner: Owner token of the pagemap, see drm_gpusvm_init()
 * @pgmap_ops: drm_gpusvm_pagemap_ops_get()
 * @type: What the memory is
 * @path: With GPUSVM_DEVMEM_FILE, a directory, in which an unnamed file is made,
 *	with O_DIRECT if that can be had; it goes with the pool
 * @fd: With GPUSVM_DEVMEM_FILE and no @path: a file or block device that is
 *	open for reading and writing, with O_DIRECT to keep it out of the page
 *	cache.  Its first @bytes are overwritten.  The caller closes it, after
 *	the pool has been destroyed
 * @engine: How gpusvm_copy_to_devmem() and gpusvm_copy_to_ram() copy to and from
 *	the pool, see gpusvm/copy.h; NULL for memcpy.  Destroyed by the caller,
 *	after the pool
 * @nodes: With GPUSVM_DEVMEM_NUMA and _COHERENT: a bit for each node that pages
 *	come from by turns, instead of from @node; of the first 64 nodes.  0 for @node
 */
struct gpusvm_devmem_pool_opts {
	size_t size;
	size_t bytes;
	int node;
	void *owner;
	const struct dev_pagemap_ops *pgmap_ops;
	enum gpusvm_devmem_type type;
	const char *path;
	int fd;
	struct gpusvm_copy_engine *engine;
	unsigned long nodes;
};

/**
 * struct gpusvm_devmem_pool_info - What a pool is
 * @size: sizeof(struct gpusvm_devmem_pool_info), set by the caller
 * @node: The NUMA node that its pages were found on, or move to, the first of
 *	several; -1 for a file
 * @emulated: The machine has one node only: "device" memory is as near as any
 *	other
 * @bytes: Size
 * @free_bytes: Not allocated now
 * @mapped: It can be accessed at gpusvm_page_address()
 * @direct: It is in a file that passes the page cache by (O_DIRECT)
 * @nodes: A bit for each node that its pages were found on, or move to, of the
 *	first 64
 */
struct gpusvm_devmem_pool_info {
	size_t size;
	int node;
	bool emulated;
	size_t bytes;
	size_t free_bytes;
	bool mapped;
	bool direct;
	unsigned long nodes;
};

/**
 * gpusvm_devmem_pool_create() - Take device memory
 * @pool: Filled with the pool
 * @opts: Options
 *
 * The memory of a node is populated at once and its placement verified, unless it
 * is coherent; that of a file is allocated at once.
 *
 * Context: May sleep.
 * Return: 0; -EINVAL for bad options; -ENODEV if there is no such node, or it
 * has no memory; -ENOMEM if it has less than asked for; -EPERM if the process
 * may not use it; -ENOSPC
 * if the file's disk has too little room; -EOPNOTSUPP if the directory cannot
 * have unnamed files; another error of opening, growing or reading the file.  A
 * log line says more.
 */
GPUSVM_API int gpusvm_devmem_pool_create(
	struct gpusvm_devmem_pool **pool,
	const struct gpusvm_devmem_pool_opts *opts) GPUSVM_MUST_CHECK;

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
					size_t bytes,
					unsigned long *pfn) GPUSVM_MUST_CHECK;

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
