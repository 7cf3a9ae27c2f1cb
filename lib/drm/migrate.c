/* SPDX-License-Identifier: MIT */
/* To the device: what may migrate, and the steps of it. */
#include <errno.h>
#include <gpusvm/gpusvm.h>

#include "compiler.h"
#include "log.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "pagemap.h"
#include "probe.h"
#include "svm.h"
#include "zdd.h"

/* A month: in nanoseconds it must not overflow. */
#define LONGEST_TIMESLICE_MS (31ul * 24 * 3600 * 1000)

void drm_gpusvm_devmem_init(struct drm_gpusvm_devmem *devmem_allocation,
			    struct device *dev, struct mm_struct *mm,
			    const struct drm_gpusvm_devmem_ops *ops,
			    struct drm_pagemap *dpagemap, size_t size)
{
	gpusvm_init_completion(&devmem_allocation->detached);
	devmem_allocation->dev = dev;
	devmem_allocation->mm = mm;
	devmem_allocation->ops = ops;
	devmem_allocation->dpagemap = dpagemap;
	devmem_allocation->size = size;
	devmem_allocation->timeslice_expiration = 0;
}

static int check(struct drm_gpusvm *gpusvm, struct drm_gpusvm_range *range,
		 const struct drm_gpusvm_devmem *devmem)
{
	const struct drm_gpusvm_devmem_ops *ops = devmem->ops;
	unsigned long start = drm_gpusvm_range_start(range);
	unsigned long end = drm_gpusvm_range_end(range);
	struct vma vma;

	if (!gpusvm_range_flags(range).migrate_devmem)
		return -EINVAL;
	if (!ops || !ops->populate_devmem_pfn || !ops->copy_to_devmem ||
	    !ops->copy_to_ram)
		return -EOPNOTSUPP;
	if (devmem->size != end - start)
		return -EINVAL;
	if (!gpusvm_mm_alive(gpusvm->mm))
		return -EFAULT;
	if (gpusvm_vma_find(gpusvm->mm, start, &vma))
		return -ENOENT;
	if (!gpusvm_vma_covers(gpusvm->mm, &vma, start, end))
		return -EINVAL;
	return vma.anon ? 0 : -EBUSY;
}

/* Private memory, or the coherent memory of one pagemap. */
static int check_kind(struct migration *m)
{
	const struct dev_pagemap *pgmap = m->pages[0]->pgmap;
	unsigned long i;

	m->nodes = pgmap->type == MEMORY_DEVICE_COHERENT ? pgmap->nodes : 0;
	for (i = 1; i < m->npages; i++)
		if (m->pages[i]->pgmap != pgmap &&
		    (m->nodes || gpusvm_page_is_coherent(m->pages[i])))
			return -EINVAL;
	return 0;
}

/* Ask the driver for its pages, and start to use them. */
static int take_device_pages(struct drm_gpusvm_zdd *zdd,
			     struct drm_gpusvm_devmem *devmem)
{
	struct migration *m = &zdd->migration;
	int err;

	err = zdd->ops->populate_devmem_pfn(devmem, m->npages, zdd->pfn);
	if (err)
		return err;
	err = gpusvm_pfns_to_pages(zdd->pfn, m->pages, m->npages);
	if (!err)
		err = check_kind(m);
	return err ? err : gpusvm_pages_init(m->pages, m->npages, zdd);
}

static int start_copy(struct drm_gpusvm_zdd *zdd)
{
	int err;

	if (gpusvm_migration_in_place(&zdd->migration))
		return 0;
	err = gpusvm_zdd_dma_map(zdd, DMA_TO_DEVICE);
	return err ? err : gpusvm_zdd_start_copy(zdd, true);
}

/*
 * The copy is over, with @err.  The allocation is bound before the first CPU
 * fault can find its pages, and no sooner than its data is there: a zdd without
 * one releases nothing.
 */
static int end_move_out(struct drm_gpusvm_zdd *zdd, int err)
{
	struct drm_gpusvm_devmem *devmem = zdd->target;
	struct migration *m = &zdd->migration;

	if (!gpusvm_migration_in_place(m))
		gpusvm_zdd_dma_unmap(zdd, DMA_TO_DEVICE);
	if (!err) {
		WRITE_ONCE(devmem->timeslice_expiration,
			   gpusvm_jiffies64() + min(zdd->timeslice_ms,
						    LONGEST_TIMESLICE_MS));
		zdd->devmem = devmem;
		err = gpusvm_migrate_out_commit(m);
	}
	if (err) {
		gpusvm_migrate_out_abort(m);
		zdd->devmem = NULL;
	}
	return err;
}

/*
 * With @later, which says whether it does, the migration may go on when its copy
 * does.
 */
static int move_out(struct drm_gpusvm_zdd *zdd, unsigned long start,
		    bool *later)
{
	struct migration *m = &zdd->migration;
	int err;

	err = gpusvm_migrate_out_begin(m, start);
	if (err)
		return err;
	err = start_copy(zdd);
	if (later && !err && m->fence && !gpusvm_fence_done(m->fence, NULL)) {
		*later = true;
		return 0;
	}
	return end_move_out(zdd, gpusvm_migration_wait_copied(m, err));
}

/* The fence of the copy was signalled; on the thread that ends migrations. */
static void end_later(struct migration *m)
{
	struct drm_gpusvm_zdd *zdd =
		gpusvm_container_of(m, struct drm_gpusvm_zdd, migration);
	struct gpusvm_fence *done = zdd->done;
	int err;

	err = end_move_out(zdd, gpusvm_migration_wait_copied(m, 0));
	probe3(to_devmem_end, m->start, m->start + (m->npages << PAGE_SHIFT),
	       err);
	gpusvm_zdd_unlock(zdd);
	gpusvm_under_way_remove(m);
	gpusvm_zdd_put(zdd, 1);
	gpusvm_fence_signal(done, err);
	gpusvm_fence_put(done);
}

/*
 * Outside of the section: what get_pages finds of the range is on the move until
 * the end, and waited for.
 */
static void leave_to_the_end(struct drm_gpusvm_zdd *zdd,
			     struct gpusvm_fence *done)
{
	zdd->done = gpusvm_fence_get(done);
	WRITE_ONCE(zdd->holder, 0);
	gpusvm_under_way_add(&zdd->migration, end_later);
}

static void check_locks(struct drm_gpusvm *gpusvm)
{
	lockdep_check_not_in_callback();
	check_driver_lock(gpusvm);
	lockdep_check_held(&gpusvm->mm->mmap_lock,
			   "called without the address space lock");
}

/* With @done as gpusvm_migrate_to_devmem_start(), without it as the kernel. */
static int migrate(struct drm_gpusvm *gpusvm, struct drm_gpusvm_range *range,
		   struct drm_gpusvm_devmem *devmem,
		   const struct drm_gpusvm_ctx *ctx, struct gpusvm_fence *done)
{
	struct mmu_notifier_range event = {
		.mm = gpusvm->mm,
		.start = drm_gpusvm_range_start(range),
		.end = drm_gpusvm_range_end(range),
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = MMU_NOTIFY_MIGRATE,
		.owner = gpusvm->device_private_page_owner,
	};
	struct drm_gpusvm_zdd *zdd;
	bool later = false;
	int err;

	zdd = gpusvm_zdd_create(gpusvm->mm, devmem,
				gpusvm->device_private_page_owner,
				(event.end - event.start) >> PAGE_SHIFT);
	if (!zdd)
		return -ENOMEM;
	zdd->target = devmem;
	zdd->timeslice_ms = ctx->timeslice_ms;

	probe2(to_devmem_start, event.start, event.end);
	gpusvm_zdd_lock(zdd, ~0ul);
	err = take_device_pages(zdd, devmem);
	if (!err) {
		gpusvm_notify_start(&event);
		err = move_out(zdd, event.start, done ? &later : NULL);
		gpusvm_notify_end(&event);
	}
	if (later) {
		leave_to_the_end(zdd, done);
		return 0;
	}
	gpusvm_zdd_unlock(zdd);
	gpusvm_zdd_put(zdd, 1);
	if (done && !err)
		gpusvm_fence_signal(done, 0);
	probe3(to_devmem_end, event.start, event.end, err);
	return err;
}

int drm_gpusvm_migrate_to_devmem(struct drm_gpusvm *gpusvm,
				 struct drm_gpusvm_range *range,
				 struct drm_gpusvm_devmem *devmem_allocation,
				 const struct drm_gpusvm_ctx *ctx)
{
	int err;

	check_locks(gpusvm);
	err = check(gpusvm, range, devmem_allocation);
	return err ? err : migrate(gpusvm, range, devmem_allocation, ctx, NULL);
}

int gpusvm_migrate_to_devmem_start(struct drm_gpusvm *gpusvm,
				   struct drm_gpusvm_range *range,
				   struct drm_gpusvm_devmem *devmem_allocation,
				   const struct drm_gpusvm_ctx *ctx,
				   struct gpusvm_fence *done)
{
	int err;

	check_locks(gpusvm);
	if (!done) {
		log_error("migrate_to_devmem_start: no fence");
		return -EINVAL;
	}
	err = check(gpusvm, range, devmem_allocation);
	/* While malloc() may still be called. */
	if (!err)
		err = gpusvm_under_way_start(gpusvm->mm);
	return err ? err : migrate(gpusvm, range, devmem_allocation, ctx, done);
}
