/* SPDX-License-Identifier: MIT */
/*
 * Ready copy engines: what copies between system memory and device memory.
 *
 * A driver puts a pair of functions in its &struct drm_gpusvm_devmem_ops.  The
 * callbacks get pages and no context, so there are two kinds of pairs:
 *
 * - gpusvm_memcpy_to_devmem(), gpusvm_stream_to_devmem() and their _to_ram()
 *   have no state;
 * - gpusvm_copy_to_devmem() and gpusvm_copy_to_ram() leave the work to the
 *   engine of the pages' pagemap (&struct gpusvm_devmem_pool_opts.engine, or
 *   &struct dev_pagemap.engine), an object of gpusvm_copy_engine_create() or of
 *   the program.
 *
 * All of them are for devices that use CPU addresses (no &struct
 * gpusvm_dma_ops).
 */
#ifndef GPUSVM_COPY_H
#define GPUSVM_COPY_H

#include <gpusvm/kernel.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * gpusvm_memcpy_to_devmem() - copy_to_devmem by memcpy
 * @pages: Device pages; NULL entries are skipped
 * @dma_addr: Sources; a page whose source is 0 is cleared
 * @npages: Number of entries
 *
 * Adjacent pages are copied at once.
 *
 * Context: Any thread; does not sleep or allocate.
 * Return: 0; -EOPNOTSUPP for pages in a file that is not mapped.
 */
GPUSVM_API int gpusvm_memcpy_to_devmem(struct page **pages,
				       dma_addr_t *dma_addr,
				       unsigned long npages);

/**
 * gpusvm_memcpy_to_ram() - copy_to_ram by memcpy
 * @pages: Device pages; NULL entries are skipped
 * @dma_addr: Destinations; entries of 0 are skipped
 * @npages: Number of entries
 *
 * Context: Any thread; does not sleep or allocate.
 * Return: 0; -EOPNOTSUPP for pages in a file that is not mapped.
 */
GPUSVM_API int gpusvm_memcpy_to_ram(struct page **pages, dma_addr_t *dma_addr,
				    unsigned long npages);

/**
 * gpusvm_stream_to_devmem() - copy_to_devmem that passes the CPU's caches by
 * @pages: Device pages; NULL entries are skipped
 * @dma_addr: Sources; a page whose source is 0 is cleared
 * @npages: Number of entries
 *
 * For adjacent pages that make a large copy; small ones go through the caches.
 * It is gpusvm_memcpy_to_devmem() on machines other than x86-64.
 *
 * Context: Any thread; does not sleep or allocate.
 * Return: 0; -EOPNOTSUPP for pages in a file that is not mapped.
 */
GPUSVM_API int gpusvm_stream_to_devmem(struct page **pages,
				       dma_addr_t *dma_addr,
				       unsigned long npages);

/**
 * gpusvm_stream_to_ram() - copy_to_ram that passes the CPU's caches by
 * @pages: Device pages; NULL entries are skipped
 * @dma_addr: Destinations; entries of 0 are skipped
 * @npages: Number of entries
 *
 * As gpusvm_stream_to_devmem(), but copies are larger before the caches are
 * passed by: what comes home is what the CPU has touched.
 *
 * Context: Any thread; does not sleep or allocate.
 * Return: 0; -EOPNOTSUPP for pages in a file that is not mapped.
 */
GPUSVM_API int gpusvm_stream_to_ram(struct page **pages, dma_addr_t *dma_addr,
				    unsigned long npages);

struct gpusvm_copy_engine;

/**
 * struct gpusvm_copy_engine_ops - What a copy engine does
 * @name: For people
 * @to_devmem: As copy_to_devmem of &struct drm_gpusvm_devmem_ops
 * @to_ram: As copy_to_ram
 * @destroy: Free it; may be NULL for one that gpusvm_copy_engine_destroy() is
 *	not called for
 *
 * The entries of a call are NULL, or pages of pagemaps with this engine.  When a
 * call returns, no access to the memory is under way any more, whatever it
 * returns.  Several calls may run at once, on any thread and on the fault
 * handler: what docs/locking.md says of the callbacks holds.
 */
struct gpusvm_copy_engine_ops {
	const char *name;
	int (*to_devmem)(struct gpusvm_copy_engine *engine, struct page **pages,
			 dma_addr_t *dma_addr, unsigned long npages);
	int (*to_ram)(struct gpusvm_copy_engine *engine, struct page **pages,
		      dma_addr_t *dma_addr, unsigned long npages);
	void (*destroy)(struct gpusvm_copy_engine *engine);
};

/**
 * struct gpusvm_copy_engine - A copy engine
 * @ops: What it does
 *
 * A program's own engine has this as a member, in memory that never migrates.
 */
struct gpusvm_copy_engine {
	const struct gpusvm_copy_engine_ops *ops;
};

/**
 * enum gpusvm_copy_engine_type - The ready engines
 * @GPUSVM_COPY_MEMCPY: gpusvm_memcpy_to_devmem() and gpusvm_memcpy_to_ram()
 * @GPUSVM_COPY_STREAM: gpusvm_stream_to_devmem() and gpusvm_stream_to_ram()
 * @GPUSVM_COPY_THREADS: The same by several threads, the caller among them
 * @GPUSVM_COPY_URING: io_uring, for device memory in a file (&struct
 *	dev_pagemap.file), mapped or not
 */
enum gpusvm_copy_engine_type {
	GPUSVM_COPY_MEMCPY,
	GPUSVM_COPY_STREAM,
	GPUSVM_COPY_THREADS,
	GPUSVM_COPY_URING,
};

/**
 * struct gpusvm_copy_engine_opts - Options of gpusvm_copy_engine_create()
 * @size: sizeof(struct gpusvm_copy_engine_opts)
 * @type: Which engine
 * @nthreads: GPUSVM_COPY_THREADS: threads at a copy, at most 16, the caller
 *	included; 0 for one for each CPU, at most 4
 * @depth: GPUSVM_COPY_URING: requests under way at a time for each caller, at
 *	most 256; 0 for 16
 */
struct gpusvm_copy_engine_opts {
	size_t size;
	enum gpusvm_copy_engine_type type;
	unsigned int nthreads;
	unsigned int depth;
};

/**
 * gpusvm_copy_engine_create() - Make a ready engine
 * @engine: Filled with the engine
 * @opts: Options
 *
 * Threads and rings are made here and not by the first copy: that would be in a
 * callback, which must not allocate.
 *
 * A forked child has neither.  There the engine of threads copies with the
 * caller alone, and that of io_uring fails with -EFAULT.
 *
 * Context: May sleep; not in a callback.
 * Return: 0; -EINVAL for bad options; -ENOMEM; -EAGAIN if there is no thread to
 * be had; -EOPNOTSUPP for io_uring in a library built without liburing; -ENOSYS
 * or -EPERM if the kernel, its configuration or a seccomp filter denies
 * io_uring; another error of io_uring_setup(2).  A log line says more.
 */
GPUSVM_API int
gpusvm_copy_engine_create(struct gpusvm_copy_engine **engine,
			  const struct gpusvm_copy_engine_opts *opts)
	GPUSVM_MUST_CHECK;

/**
 * gpusvm_copy_engine_destroy() - Free an engine
 * @engine: The engine, or NULL; no copy is under way, and none comes: the
 *	pagemaps that name it have been removed
 *
 * Context: May sleep; not in a callback.
 */
GPUSVM_API void gpusvm_copy_engine_destroy(struct gpusvm_copy_engine *engine);

/**
 * gpusvm_copy_to_devmem() - copy_to_devmem by the engine of the pages
 * @pages: Device pages; NULL entries are skipped
 * @dma_addr: Sources; a page whose source is 0 is cleared
 * @npages: Number of entries
 *
 * Adjacent pages are copied at once.
 *
 * Context: Any thread; allocates nothing.  Sleeps as the engine does.
 * Return: 0; -EOPNOTSUPP if the engine cannot reach the memory: pages in a file
 * that is not mapped need io_uring, and io_uring needs pages in a file; -EFAULT
 * for io_uring in a forked child; what reading or writing a file gave (-EIO,
 * -ENOSPC, ...); what an engine of the program's returns.
 */
GPUSVM_API int gpusvm_copy_to_devmem(struct page **pages, dma_addr_t *dma_addr,
				     unsigned long npages);

/**
 * gpusvm_copy_to_ram() - copy_to_ram by the engine of the pages
 * @pages: Device pages; NULL entries are skipped
 * @dma_addr: Destinations; entries of 0 are skipped
 * @npages: Number of entries
 *
 * Context: Any thread; allocates nothing.  Sleeps as the engine does.
 * Return: As gpusvm_copy_to_devmem().
 */
GPUSVM_API int gpusvm_copy_to_ram(struct page **pages, dma_addr_t *dma_addr,
				  unsigned long npages);

#ifdef __cplusplus
}
#endif

#include <gpusvm/names_end.h>

#endif /* GPUSVM_COPY_H */
