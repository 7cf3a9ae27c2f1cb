/* SPDX-License-Identifier: MIT */
/* To the device: what may migrate, and the steps of it. */
#include <errno.h>
#include <gpusvm/batch.h>
#include <gpusvm/gpusvm.h>

#include "alloc.h"
#include "compiler.h"
#include "itree.h"
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

/*
 * What goes together lies in one of these: a window of trap.h, a piece of
 * staging memory.  More would save nothing that is seen beside the copy.
 */
#define TOGETHER (512ul << PAGE_SHIFT)

/**
 * struct moving - A range on its way to the device
 * @node: Its place among those of a batch, by address
 * @next: The one behind it that goes together with it, or NULL
 * @range: The range
 * @devmem: Where to
 * @zdd: Between the two, when it is prepared
 * @err: How it ended
 */
struct moving {
	struct interval_tree_node node;
	struct moving *next;
	struct drm_gpusvm_range *range;
	struct drm_gpusvm_devmem *devmem;
	struct drm_gpusvm_zdd *zdd;
	int err;
};

#define for_each_together(each, first) \
	for ((each) = (first); (each); (each) = (each)->next)

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

/* @vma: of a range looked at just before, or nothing. */
static int check(struct drm_gpusvm *gpusvm, const struct moving *moving,
		 struct vma *vma)
{
	const struct drm_gpusvm_devmem *devmem = moving->devmem;
	const struct drm_gpusvm_devmem_ops *ops = devmem->ops;
	unsigned long start = drm_gpusvm_range_start(moving->range);
	unsigned long end = drm_gpusvm_range_end(moving->range);

	if (!gpusvm_range_flags(moving->range).migrate_devmem)
		return -EINVAL;
	if (!ops || !ops->populate_devmem_pfn || !ops->copy_to_devmem ||
	    !ops->copy_to_ram)
		return -EOPNOTSUPP;
	if (devmem->size != end - start)
		return -EINVAL;
	if (!gpusvm_mm_alive(gpusvm->mm))
		return -EFAULT;
	if ((start < vma->start || start >= vma->end) &&
	    gpusvm_vma_find(gpusvm->mm, start, vma)) {
		/* What a look-up leaves that found none is not for the next. */
		*vma = (struct vma){ .end = 0 };
		return -ENOENT;
	}
	if (!gpusvm_vma_covers(gpusvm->mm, vma, start, end))
		return -EINVAL;
	return vma->anon ? 0 : -EBUSY;
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
static int move_out(struct moving *one, bool *later)
{
	struct drm_gpusvm_zdd *zdd = one->zdd;
	struct migration *m = &zdd->migration;
	int err;

	err = gpusvm_migrate_out_begin(m, drm_gpusvm_range_start(one->range));
	if (err)
		return err;
	err = start_copy(zdd);
	if (later && !err && m->fence && !gpusvm_fence_done(m->fence, NULL)) {
		*later = true;
		return 0;
	}
	return end_move_out(zdd, gpusvm_migration_wait_copied(m, err));
}

/*
 * At once, and not at the end of a batch: the CPU may have its pages back from
 * now on, and what others of the batch wait for may be waiting for these.
 */
static void finish(struct moving *moving)
{
	gpusvm_zdd_unlock(moving->zdd);
	gpusvm_zdd_put(moving->zdd, 1);
	probe3(to_devmem_end, drm_gpusvm_range_start(moving->range),
	       drm_gpusvm_range_end(moving->range), moving->err);
}

/* False, with nothing done, if something is in the way of one. */
static bool move_out_together(struct moving *first)
{
	struct moving *each;
	bool taken;

	for_each_together(each, first)
		if (each->next)
			each->zdd->migration.next = &each->next->zdd->migration;
	taken = gpusvm_migrate_out_begin_all(
		&first->zdd->migration, drm_gpusvm_range_start(first->range));
	for_each_together(each, first)
		each->zdd->migration.next = NULL;
	if (!taken)
		return false;
	/* All are started before one is waited for. */
	for_each_together(each, first)
		each->err = start_copy(each->zdd);
	for_each_together(each, first) {
		each->err = end_move_out(
			each->zdd, gpusvm_migration_wait_copied(
					   &each->zdd->migration, each->err));
		finish(each);
	}
	return true;
}

/*
 * Where one of them cannot, in halves: most go together all the same.  One half
 * ends before the other begins, as what waits for pages on the move may be what
 * others wait for.
 */
static void move_out_all(struct moving *first, unsigned long n)
{
	struct moving *last = first, *second;
	unsigned long i, half = n / 2;

	if (n == 1) {
		first->err = move_out(first, NULL);
		finish(first);
		return;
	}
	if (move_out_together(first))
		return;
	for (i = 1; i < half; i++)
		last = last->next;
	second = last->next;
	last->next = NULL;
	move_out_all(first, half);
	move_out_all(second, n - half);
	last->next = second;
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

/* All that can be done before somebody is told. */
static int prepare(struct drm_gpusvm *gpusvm, struct moving *moving,
		   const struct drm_gpusvm_ctx *ctx)
{
	unsigned long start = drm_gpusvm_range_start(moving->range);
	unsigned long end = drm_gpusvm_range_end(moving->range);
	struct drm_gpusvm_zdd *zdd;

	zdd = gpusvm_zdd_create(gpusvm->mm, moving->devmem,
				gpusvm->device_private_page_owner,
				(end - start) >> PAGE_SHIFT);
	if (!zdd)
		return -ENOMEM;
	zdd->target = moving->devmem;
	zdd->timeslice_ms = ctx->timeslice_ms;
	moving->zdd = zdd;

	probe2(to_devmem_start, start, end);
	gpusvm_zdd_lock(zdd, ~0ul);
	moving->err = take_device_pages(zdd, moving->devmem);
	if (moving->err)
		finish(moving);
	return moving->err;
}

/* What is prepared, and goes together. */
static void migrate(struct drm_gpusvm *gpusvm, struct moving *first,
		    bool *later)
{
	struct mmu_notifier_range event = {
		.mm = gpusvm->mm,
		.start = drm_gpusvm_range_start(first->range),
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = MMU_NOTIFY_MIGRATE,
		.owner = gpusvm->device_private_page_owner,
	};
	struct moving *each;
	unsigned long n = 0;

	for_each_together(each, first) {
		event.end = drm_gpusvm_range_end(each->range);
		n++;
	}
	gpusvm_notify_start(&event);
	if (!later) {
		move_out_all(first, n);
	} else {
		first->err = move_out(first, later);
		if (!*later)
			finish(first);
	}
	gpusvm_notify_end(&event);
}

static void check_locks(struct drm_gpusvm *gpusvm)
{
	lockdep_check_not_in_callback();
	check_driver_lock(gpusvm);
	lockdep_check_held(&gpusvm->mm->mmap_lock,
			   "called without the address space lock");
}

/* With @done as gpusvm_migrate_to_devmem_start(), without it as the kernel. */
static int migrate_one(struct drm_gpusvm *gpusvm, struct moving *one,
		       const struct drm_gpusvm_ctx *ctx,
		       struct gpusvm_fence *done)
{
	bool later = false;
	int err;

	err = prepare(gpusvm, one, ctx);
	if (err)
		return err;
	migrate(gpusvm, one, done ? &later : NULL);
	if (later) {
		leave_to_the_end(one->zdd, done);
		return 0;
	}
	if (done && !one->err)
		gpusvm_fence_signal(done, 0);
	return one->err;
}

int drm_gpusvm_migrate_to_devmem(struct drm_gpusvm *gpusvm,
				 struct drm_gpusvm_range *range,
				 struct drm_gpusvm_devmem *devmem_allocation,
				 const struct drm_gpusvm_ctx *ctx)
{
	struct moving one = { .range = range, .devmem = devmem_allocation };
	struct vma vma = { .end = 0 };
	int err;

	check_locks(gpusvm);
	err = check(gpusvm, &one, &vma);
	return err ? err : migrate_one(gpusvm, &one, ctx, NULL);
}

int gpusvm_migrate_to_devmem_start(struct drm_gpusvm *gpusvm,
				   struct drm_gpusvm_range *range,
				   struct drm_gpusvm_devmem *devmem_allocation,
				   const struct drm_gpusvm_ctx *ctx,
				   struct gpusvm_fence *done)
{
	struct moving one = { .range = range, .devmem = devmem_allocation };
	struct vma vma = { .end = 0 };
	int err;

	check_locks(gpusvm);
	if (!done) {
		log_error("migrate_to_devmem_start: no fence");
		return -EINVAL;
	}
	err = check(gpusvm, &one, &vma);
	/* While malloc() may still be called. */
	if (!err)
		err = gpusvm_under_way_start(gpusvm->mm);
	return err ? err : migrate_one(gpusvm, &one, ctx, done);
}

/* ---- Many at once ---- */

static struct moving *to_moving(struct interval_tree_node *node)
{
	return node ? gpusvm_container_of(node, struct moving, node) : NULL;
}

static bool is_on_device(struct drm_gpusvm *gpusvm, const struct moving *moving)
{
	unsigned long addr = moving->node.start;

	return gpusvm_mm_next_device_page(gpusvm->mm, &addr,
					  moving->node.last + 1, true);
}

static bool goes_together(const struct moving *last,
			  const struct moving *moving)
{
	return moving->node.start == last->node.last + 1 &&
	       moving->node.last / TOGETHER == last->node.start / TOGETHER;
}

/* *@at moves on; false if that one cannot go. */
static bool prepare_next(struct drm_gpusvm *gpusvm, struct moving **at,
			 struct vma *vma, const struct drm_gpusvm_ctx *ctx)
{
	struct moving *moving = *at;

	*at = to_moving(gpusvm_itree_next(&moving->node));
	moving->err = check(gpusvm, moving, vma);
	if (!moving->err)
		moving->err = prepare(gpusvm, moving, ctx);
	return !moving->err;
}

/*
 * Prepare the next ones that go together, from *@at on, which moves on behind
 * them and whatever cannot go.  What is there already, or a part of it, goes
 * alone, as it would keep the others.  NULL if there is no more.
 */
static struct moving *next_together(struct drm_gpusvm *gpusvm,
				    struct moving **at,
				    const struct drm_gpusvm_ctx *ctx)
{
	struct moving *first, *last, *next;
	struct vma vma = { .end = 0 };

	do {
		first = *at;
		if (!first)
			return NULL;
	} while (!prepare_next(gpusvm, at, &vma, ctx));
	if (is_on_device(gpusvm, first))
		return first;
	for (last = first; (next = *at); last = next) {
		if (!goes_together(last, next) || is_on_device(gpusvm, next) ||
		    !prepare_next(gpusvm, at, &vma, ctx))
			break;
		last->next = next;
	}
	return first;
}

static void migrate_all(struct drm_gpusvm *gpusvm,
			const struct rb_root_cached *all,
			const struct drm_gpusvm_ctx *ctx)
{
	struct moving *at = to_moving(gpusvm_itree_first(all, 0, ~0ul));
	struct moving *first;

	while ((first = next_together(gpusvm, &at, ctx)))
		migrate(gpusvm, first, NULL);
}

/* In order of address, those that are complete. */
static void sort(struct moving *moving, struct gpusvm_batch_entry *entries,
		 unsigned long n, struct rb_root_cached *all)
{
	unsigned long i;

	for (i = 0; i < n; i++, moving++) {
		moving->range = entries[i].range;
		moving->devmem = entries[i].devmem;
		moving->err = -EINVAL;
		if (!moving->range || !moving->devmem) {
			log_error(
				"migrate_batch_to_devmem: entry %lu has no %s",
				i, moving->range ? "devmem" : "range");
			continue;
		}
		moving->node.start = drm_gpusvm_range_start(moving->range);
		moving->node.last = drm_gpusvm_range_end(moving->range) - 1;
		gpusvm_itree_insert(all, &moving->node);
	}
}

int gpusvm_migrate_batch_to_devmem(struct drm_gpusvm *gpusvm,
				   struct gpusvm_batch_entry *entries,
				   unsigned long n,
				   const struct drm_gpusvm_ctx *ctx)
{
	struct rb_root_cached all = { .rb_leftmost = NULL };
	struct moving *moving;
	unsigned long i;
	int err = 0;

	check_locks(gpusvm);
	if (!n)
		return 0;
	if (!entries) {
		log_error("migrate_batch_to_devmem: no entries");
		return -EINVAL;
	}
	moving = gpusvm_alloc_array(n, sizeof(*moving));
	if (moving) {
		sort(moving, entries, n, &all);
		migrate_all(gpusvm, &all, ctx);
	}
	/* Not before: they may be on the device themselves by now. */
	for (i = 0; i < n; i++) {
		entries[i].err = moving ? moving[i].err : -ENOMEM;
		err = err ? err : entries[i].err;
	}
	gpusvm_free(moving);
	return err;
}
