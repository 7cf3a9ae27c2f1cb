/* SPDX-License-Identifier: MIT */
/* Runs of staging memory: cutting, lending, re-use of their pages. */
#include "staging.h"

#include <errno.h>
#include <linux/list.h>
#include <sys/mman.h>

#include "alloc.h"
#include "bitmap.h"
#include "compiler.h"
#include "handler.h"
#include "mm.h"
#include "page_size.h"
#include "source.h"
#include "sys.h"

/*
 * Address space is taken in pieces, and runs of a huge page and more are aligned
 * to it: a huge page moves as a whole only between places of equal alignment.
 */
#define PIECE_SIZE (2ul << 20)

void gpusvm_staging_init(struct staging *staging, size_t limit)
{
	unsigned int i;

	*staging = (struct staging){ .limit = limit };
	pthread_mutex_init(&staging->lock, NULL);
	for (i = 0; i < STAGING_ORDERS; i++) {
		INIT_LIST_HEAD(&staging->filled[i]);
		INIT_LIST_HEAD(&staging->retired[i]);
		INIT_LIST_HEAD(&staging->unowned[i]);
	}
}

static unsigned long filled_bytes(const struct staging_run *run)
{
	return run->nfilled << PAGE_SHIFT;
}

static void free_runs(struct list_head *runs)
{
	struct staging_run *run, *next;

	list_for_each_entry_safe(run, next, runs, link)
		gpusvm_free(run);
}

void gpusvm_staging_release(struct staging *staging)
{
	struct staging_piece *piece;
	unsigned int i;

	for (i = 0; i < STAGING_ORDERS; i++) {
		free_runs(&staging->unowned[i]);
		free_runs(&staging->retired[i]);
	}
	while ((piece = staging->pieces)) {
		staging->pieces = piece->next;
		gpusvm_free_pages(piece->addr, piece->size);
		gpusvm_free(piece);
	}
}

/* A page of staging must not be shared with a child: it would not move. */
static unsigned long piece_create(struct mm_struct *mm, unsigned long size)
{
	struct staging_piece *piece = gpusvm_alloc(sizeof(*piece));
	unsigned long addr;

	if (!piece)
		return 0;
	piece->size = size;
	piece->addr = gpusvm_alloc_pages(size, huge_alignment(size));
	addr = (unsigned long)piece->addr;
	if (!addr)
		goto err_free;
	if (gpusvm_sys_madvise(addr, size, MADV_DONTFORK) ||
	    mm->source->ops->stage(mm->source, addr, addr + size))
		goto err_free_pages;
	piece->next = mm->staging.pieces;
	mm->staging.pieces = piece;
	return addr;

err_free_pages:
	gpusvm_free_pages(piece->addr, size);
err_free:
	gpusvm_free(piece);
	return 0;
}

/* Address space for one run of an order; locked. */
static unsigned long cut_fresh(struct mm_struct *mm, unsigned int order)
{
	struct staging *staging = &mm->staging;
	unsigned long addr, size = PAGE_SIZE << order;
	unsigned long piece = max(size, PIECE_SIZE);

	if (staging->fresh[order].start == staging->fresh[order].end) {
		addr = piece_create(mm, piece);
		if (!addr)
			return 0;
		staging->fresh[order].start = addr;
		staging->fresh[order].end = addr + piece;
		/* A mapping of its own, even if it lies behind the last one. */
		staging->cut[order] = NULL;
	}
	addr = staging->fresh[order].start;
	staging->fresh[order].start += size;
	return addr;
}

static struct staging_run *run_create(struct mm_struct *mm, unsigned int order)
{
	unsigned long words = BITMAP_WORDS(1ul << order);
	struct staging_run *run, *last;

	run = gpusvm_alloc(sizeof(*run) + words * sizeof(run->filled[0]));
	if (!run)
		return NULL;
	INIT_LIST_HEAD(&run->link);
	run->order = order;
	run->addr = cut_fresh(mm, order);
	if (!run->addr) {
		gpusvm_free(run);
		return NULL;
	}
	last = mm->staging.cut[order];
	if (last)
		last->behind = run;
	mm->staging.cut[order] = run;
	return run;
}

void gpusvm_staging_drop(struct mm_struct *mm, struct staging_run *run,
			 unsigned long index, unsigned long n)
{
	unsigned long start = run->addr + (index << PAGE_SHIFT);
	struct source *source = mm->source;

	/* A forked child has neither the pages nor the source. */
	if (mm->pid == gpusvm_sys_getpid() &&
	    source->ops->empty(source, start, start + (n << PAGE_SHIFT)))
		return;
	gpusvm_staging_set_filled(run, index, n, false);
}

/* Give the pages of a run that is in use back to the kernel. */
static void run_empty(struct mm_struct *mm, struct staging_run *run)
{
	if (run->nfilled)
		gpusvm_staging_drop(mm, run, 0, 1ul << run->order);
}

/* Take a run out of the list of idle ones; locked. */
static void run_use(struct staging *staging, struct staging_run *run)
{
	if (!list_empty(&run->link)) {
		list_del_init(&run->link);
		staging->bytes -= filled_bytes(run);
	}
}

static struct staging_run *first_run(struct list_head *runs)
{
	return list_first_entry_or_null(runs, struct staging_run, link);
}

/* Give the pages of a run that nobody owns back; false if there is none. */
static bool empty_retired(struct mm_struct *mm)
{
	struct staging *staging = &mm->staging;
	struct staging_run *run;
	unsigned int i;

	for (i = 0; i < STAGING_ORDERS; i++) {
		run = first_run(&staging->retired[i]);
		if (!run)
			continue;
		run_use(staging, run);
		run_empty(mm, run);
		list_add_tail(&run->link, &staging->unowned[i]);
		return true;
	}
	return false;
}

/*
 * Put a run with pages among the idle ones, if the limit allows, for which those
 * without an owner make room; locked.
 */
static bool run_keep(struct mm_struct *mm, struct staging_run *run)
{
	struct staging *staging = &mm->staging;

	while (staging->bytes + filled_bytes(run) > staging->limit)
		if (filled_bytes(run) > staging->limit || !empty_retired(mm))
			return false;
	staging->bytes += filled_bytes(run);
	list_add_tail(&run->link, run->owner ? &staging->filled[run->order]
					     : &staging->retired[run->order]);
	return true;
}

/* An empty run without an owner, best behind the one that was given last. */
static struct staging_run *first_unowned(struct staging *staging,
					 unsigned int order)
{
	const struct staging_run *last = staging->given[order];
	struct staging_run *run = last ? last->behind : NULL;

	if (run && !run->owner && !run->nfilled && !list_empty(&run->link))
		return run;
	return first_run(&staging->unowned[order]);
}

int gpusvm_staging_create(struct mm_struct *mm, unsigned long npages,
			  struct staging_run **owner)
{
	unsigned int order = ilog2(npages) + !is_power_of_2(npages);
	struct staging *staging = &mm->staging;
	struct staging_run *run;

	pthread_mutex_lock(&staging->lock);
	run = first_unowned(staging, order);
	if (run)
		list_del_init(&run->link);
	else
		run = first_run(&staging->retired[order]);
	if (run)
		run_use(staging, run);
	else
		run = run_create(mm, order);
	if (run) {
		run->owner = owner;
		staging->given[order] = run;
	}
	*owner = run;
	pthread_mutex_unlock(&staging->lock);
	if (!run)
		return -ENOMEM;
	run_empty(mm, run);
	return 0;
}

void gpusvm_staging_destroy(struct mm_struct *mm, struct staging_run **owner)
{
	struct staging *staging = &mm->staging;
	struct staging_run *run;

	pthread_mutex_lock(&staging->lock);
	run = *owner;
	*owner = NULL;
	if (run) {
		run_use(staging, run);
		run->owner = NULL;
		if (!run->nfilled || !run_keep(mm, run)) {
			run_empty(mm, run);
			list_add_tail(&run->link,
				      &staging->unowned[run->order]);
		}
	}
	pthread_mutex_unlock(&staging->lock);
}

void gpusvm_staging_get_empty(struct mm_struct *mm, struct staging_run **owner)
{
	struct staging *staging = &mm->staging;

	pthread_mutex_lock(&staging->lock);
	run_use(staging, *owner);
	pthread_mutex_unlock(&staging->lock);
	run_empty(mm, *owner);
}

/*
 * Use the owner's run or, if that is empty, the filled one of an idle owner or
 * of none.
 */
static struct staging_run *take_filled(struct staging *staging,
				       struct staging_run **owner)
{
	struct staging_run *other, *run = *owner;

	run_use(staging, run);
	if (run->nfilled)
		return run;
	other = first_run(&staging->filled[run->order]);
	if (!other)
		other = first_run(&staging->retired[run->order]);
	if (!other)
		return run;
	run_use(staging, other);
	run->owner = other->owner;
	if (run->owner)
		*run->owner = run;
	else
		list_add_tail(&run->link, &staging->unowned[run->order]);
	other->owner = owner;
	*owner = other;
	return other;
}

void gpusvm_staging_set_filled(struct staging_run *run, unsigned long index,
			       unsigned long n, bool filled)
{
	unsigned long changed =
		gpusvm_bitmap_fill(run->filled, index, n, filled);

	run->nfilled += filled ? changed : -changed;
}

/* Fill the absent pages from @index on, at most to @npages; how many. */
static long fill_gap(struct mm_struct *mm, struct staging_run *run,
		     unsigned long index, unsigned long npages)
{
	unsigned long end =
		gpusvm_bitmap_find(run->filled, index, npages, true);
	long done;

	done = mm->source->ops->fill(mm->source,
				     run->addr + (index << PAGE_SHIFT),
				     (end - index) << PAGE_SHIFT);
	if (done < 0)
		return done;
	done >>= PAGE_SHIFT;
	gpusvm_staging_set_filled(run, index, (unsigned long)done, true);
	return done;
}

int gpusvm_staging_get_filled(struct mm_struct *mm, struct staging_run **owner,
			      unsigned long npages)
{
	struct staging *staging = &mm->staging;
	struct staging_run *run;
	unsigned int attempt = 0;
	unsigned long i;
	long done;

	pthread_mutex_lock(&staging->lock);
	run = take_filled(staging, owner);
	pthread_mutex_unlock(&staging->lock);

	while ((i = gpusvm_bitmap_find(run->filled, 0, npages, false)) <
	       npages) {
		done = fill_gap(mm, run, i, npages);
		if (done == -EAGAIN) {
			gpusvm_handler_settle(mm, attempt++);
		} else if (done < 0) {
			gpusvm_staging_put(mm, run);
			return -ENOMEM;
		}
	}
	return 0;
}

void gpusvm_staging_put(struct mm_struct *mm, struct staging_run *run)
{
	struct staging *staging = &mm->staging;
	bool kept;

	if (!run->nfilled)
		return;
	pthread_mutex_lock(&staging->lock);
	kept = run_keep(mm, run);
	pthread_mutex_unlock(&staging->lock);
	if (!kept)
		run_empty(mm, run);
}
