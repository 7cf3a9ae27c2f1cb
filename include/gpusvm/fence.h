/* SPDX-License-Identifier: MIT */
/*
 * Copies that complete later: a fence that a driver signals when its copy
 * engine has done.  docs/async.md tells how it fits together.
 */
#ifndef GPUSVM_FENCE_H
#define GPUSVM_FENCE_H

#include <drm/drm_gpusvm.h>
#include <gpusvm/kernel.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct gpusvm_fence - Something that happens once, with a result
 *
 * In private memory, counted.  Who is to signal it has a reference until he
 * has: when the last one is put and the library still waits, nobody can signal
 * it any more, so it is signalled with -EDEADLK, and a log line says so.
 */
struct gpusvm_fence;

/**
 * gpusvm_fence_create() - Make a fence
 * @fence: Filled with the fence, and one reference to it
 *
 * Context: Any thread, in callbacks, too.
 * Return: 0; -EINVAL without a place; -ENOMEM if private memory is out.
 */
GPUSVM_API int
gpusvm_fence_create(struct gpusvm_fence **fence) GPUSVM_MUST_CHECK;

/**
 * gpusvm_fence_get() - Take another reference
 * @fence: A fence that the caller has a reference to
 *
 * Context: Any thread, signal handlers, callbacks.
 * Return: @fence.
 */
GPUSVM_API struct gpusvm_fence *gpusvm_fence_get(struct gpusvm_fence *fence);

/**
 * gpusvm_fence_put() - Drop a reference
 * @fence: The fence, or NULL
 *
 * Context: Any thread, in callbacks, too; not in a signal handler.
 */
GPUSVM_API void gpusvm_fence_put(struct gpusvm_fence *fence);

/**
 * gpusvm_fence_signal() - It has happened
 * @fence: A fence that the caller has a reference to
 * @err: 0, or the error of what it stands for
 *
 * What the caller wrote before is seen by who waited.  The first call counts.
 *
 * Context: Any thread, in callbacks and signal handlers, too; does not sleep,
 * takes no lock.
 * Return: 0; -EALREADY if it was signalled before, whose result stays.
 */
GPUSVM_API int gpusvm_fence_signal(struct gpusvm_fence *fence, int err);

/**
 * gpusvm_fence_done() - Whether it has happened
 * @fence: The fence
 * @err: If not NULL, filled with the result if it has
 *
 * Context: Any thread, signal handlers, callbacks.
 * Return: True if it has been signalled.
 */
GPUSVM_API bool gpusvm_fence_done(const struct gpusvm_fence *fence, int *err);

/**
 * gpusvm_fence_wait() - Wait until it has happened
 * @fence: The fence
 *
 * Context: Sleeps, for as long as it takes.  Who is to signal must not need a
 * lock that the caller has, and in a callback none of those that the library
 * has then (docs/locking.md).
 * Return: What it was signalled with.
 */
GPUSVM_API int gpusvm_fence_wait(struct gpusvm_fence *fence);

/**
 * gpusvm_copy_completes() - The copy of a callback completes later
 * @pages: As given to the callback
 * @npages: As given to the callback
 * @fence: What is signalled when it has, with 0 or an error
 *
 * For copy_to_devmem and copy_to_ram of &struct drm_gpusvm_devmem_ops, called
 * on the thread of the callback and once, after the copy was started::
 *
 *	err = gpusvm_copy_completes(pages, npages, fence);
 *	return err ? gpusvm_fence_wait(fence) : 0;
 *
 * Until the fence is signalled all that the callback was given stays as it is:
 * the memory on both sides, its DMA mappings, and the arrays.  An error of the
 * fence is treated as one of the callback's.  If the callback itself returns an
 * error, too, the fence is waited for all the same: the engine may still be at
 * it.
 *
 * The library takes a reference of its own, which is not one of those that may
 * signal.
 *
 * The fence is signalled within a bounded time, and who signals it waits for
 * nothing that waits for the migration: he touches no memory that may migrate,
 * takes no lock that is held around calls of the library, and makes none of
 * those but what a callback may make.
 *
 * Context: Only in the callbacks named.
 * Return: 0; -EINVAL without a fence or pages; -EBUSY if a fence was given in
 * this call of the callback; -EOPNOTSUPP outside of a migration, which the
 * callback for a child of a bare clone() is, and on another thread.  After an
 * error the copy is the callback's to wait for.
 */
GPUSVM_API int
gpusvm_copy_completes(struct page **pages, unsigned long npages,
		      struct gpusvm_fence *fence) GPUSVM_MUST_CHECK;

/**
 * gpusvm_migrate_to_devmem_start() - Start to move a range to device memory
 * @gpusvm: The GPU SVM
 * @range: The range, inserted with devmem_possible
 * @devmem_allocation: Where to, initialised and as large as the range
 * @ctx: Uses timeslice_ms, which counts from the end of the copy
 * @done: Signalled when the migration has ended; not the fence of its copy
 *
 * As drm_gpusvm_migrate_to_devmem(), but if copy_to_devmem gives a fence
 * (gpusvm_copy_completes()) that has not been signalled when it returns, the
 * migration goes on after this call, and a thread of the library ends it when
 * the fence is signalled.  Until then it is as one that is under way on another
 * thread: a CPU that touches the range waits, what happens to the mapping
 * happens to what is moving, and get_pages waits, up to a second.  Neither lock
 * is needed any more.  Any number may be under way.
 *
 * After a return of 0 the allocation is the library's until @done is signalled.
 * If that is with 0 it is as after drm_gpusvm_migrate_to_devmem(); if with an
 * error, the memory is as before and the allocation the caller's again.  @range
 * may have been removed by then.  After an error @done is not signalled.
 *
 * The first call starts the thread, for which it uses malloc().
 *
 * Context: As drm_gpusvm_migrate_to_devmem().
 * Return: 0; -EINVAL without @done; -EAGAIN if there is no thread to be had; and
 * as drm_gpusvm_migrate_to_devmem(), for all that is known by then.
 */
GPUSVM_API int
gpusvm_migrate_to_devmem_start(struct drm_gpusvm *gpusvm,
			       struct drm_gpusvm_range *range,
			       struct drm_gpusvm_devmem *devmem_allocation,
			       const struct drm_gpusvm_ctx *ctx,
			       struct gpusvm_fence *done) GPUSVM_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#include <gpusvm/names_end.h>

#endif /* GPUSVM_FENCE_H */
