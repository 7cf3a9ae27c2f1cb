/* SPDX-License-Identifier: MIT */
/*
 * fork(): the child reads what the parent had, wherever that was.
 *
 * Before fork() everything comes home (pthread_atfork), and the child is plain
 * memory.  Coherent pages, too, though the child could share them: private memory
 * is locked during fork(), and nobody could follow a change of the mapping in the
 * table, while fork() waits for that to be read.  A bare clone() passes that by;
 * there the fork event of userfaultfd lets us copy what is on a device into the
 * child: its accesses to the holes wait until we close its descriptor.
 */
#include <errno.h>
#include <pthread.h>

#include "compiler.h"
#include "events.h"
#include "log.h"
#include "migration.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "scan.h"
#include "sys.h"
#include "threads.h"

static void describe_fork(struct mm_struct *mm,
			  struct mmu_notifier_range *range)
{
	*range = (struct mmu_notifier_range){
		.mm = mm,
		.start = 0,
		.end = ~0ul,
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = MMU_NOTIFY_PROTECTION_PAGE,
	};
}

static void before_fork(void)
{
	struct mm_struct *mm = gpusvm_mm_current_lock();
	struct mmu_notifier_range range;

	if (!mm)
		return;
	gpusvm_down_write(&mm->mmap_lock);
	/* For as long as it takes: fork() cannot fail, and must not lose data. */
	gpusvm_under_way_wait(mm, ~0ul);
	describe_fork(mm, &range);
	gpusvm_notify_start(&range);
	if (gpusvm_mm_bring_all_home(mm) &&
	    !(mm->features & GPUSVM_FEATURE_FORK_EVENT))
		log_error("fork: device pages could not come home, the child "
			  "will read them as zeros");
	WRITE_ONCE(mm->forking, true);
}

static void after_fork_in_parent(void)
{
	struct mm_struct *mm = gpusvm_mm_current();
	struct mmu_notifier_range range;

	if (mm) {
		/* Who is at its event is to find us here, as in change.c. */
		gpusvm_event_wait_applied(mm);
		WRITE_ONCE(mm->forking, false);
		describe_fork(mm, &range);
		gpusvm_notify_end(&range);
		gpusvm_up_write(&mm->mmap_lock);
	}
	gpusvm_mm_current_unlock();
}

static void after_fork_in_child(void)
{
	gpusvm_threads_forget_self();
	gpusvm_mm_current_forget();
	gpusvm_mm_current_unlock();
}

int gpusvm_fork_register(void)
{
	return pthread_atfork(before_fork, after_fork_in_parent,
			      after_fork_in_child)
		       ? -ENOMEM
		       : 0;
}

/**
 * struct batch - Device pages of one allocation to be copied to a child
 * @data: The allocation; a reference
 * @pages: The pages
 * @vaddr: Where each belongs
 * @n: How many
 */
struct batch {
	void *data;
	struct page *pages[FORK_BATCH];
	unsigned long vaddr[FORK_BATCH];
	unsigned long n;
};

/* Whether there is a page at @addr in staging: to touch another would wait. */
static bool is_present(struct mm_struct *mm, unsigned long addr)
{
	unsigned char state;
	int err = gpusvm_scan_pages(mm, addr, 1, &state);

	if (err)
		log_error("fork: a page on its way to a device cannot be "
			  "looked at, the child will read it as zeros: %d",
			  err);
	return !err && state;
}

/*
 * A page on its way to the device: its data is in the migration's run, unless
 * the child inherited the page itself.  The lock keeps it there.
 */
static void copy_moving_page(struct mm_struct *mm, const struct page *page,
			     int child_fd)
{
	const struct migration *m = page->migration;
	unsigned long i, from;

	/* As at the end of the migration, if it ended now. */
	if (page->removed)
		return;
	for (i = 0; i < m->npages && m->pages[i] != page; i++)
		;
	if (i == m->npages)
		return;
	from = m->technique == GPUSVM_TECHNIQUE_MOVE
		       ? m->run->addr + (i << PAGE_SHIFT)
		       : m->ram[i];
	if (from && is_present(mm, from))
		mm->source->ops->child_copy(mm->source, child_fd, page->vaddr,
					    from, PAGE_SIZE);
}

/* The next pages at or after *@addr, which moves on; false at the end. */
static bool next_batch(struct mm_struct *mm, unsigned long *addr, int child_fd,
		       struct batch *batch)
{
	struct page *page;

	batch->n = 0;
	pthread_mutex_lock(&mm->pt_lock);
	while (batch->n < FORK_BATCH &&
	       (page = gpusvm_devpt_next(&mm->pt, *addr, ~0ul))) {
		if (batch->n && page->zone_device_data != batch->data)
			break;
		*addr = page->vaddr + PAGE_SIZE;
		/* The child has inherited it. */
		if (gpusvm_page_is_coherent(page))
			continue;
		if (page->migration && page->migration->to_device) {
			copy_moving_page(mm, page, child_fd);
			continue;
		}
		if (!batch->n) {
			batch->data = page->zone_device_data;
			page->pgmap->ops->get(batch->data, 1);
		}
		batch->pages[batch->n] = page;
		batch->vaddr[batch->n++] = page->vaddr;
	}
	pthread_mutex_unlock(&mm->pt_lock);
	return batch->n;
}

static void copy_batch(struct mm_struct *mm, struct batch *batch, int child_fd)
{
	const struct dev_pagemap_ops *ops = batch->pages[0]->pgmap->ops;
	struct source *source = mm->source;
	dma_addr_t addr[FORK_BATCH];
	unsigned long i;
	int err;

	for (i = 0; i < batch->n; i++)
		addr[i] = mm->fork_buffer + (i << PAGE_SHIFT);
	err = ops->read_pages(batch->data, batch->pages, addr, batch->n);
	if (err)
		log_error("fork: device pages could not be read (error %d), "
			  "the child will read them as zeros",
			  -err);
	for (i = 0; i < batch->n && !err; i++)
		source->ops->child_copy(source, child_fd, batch->vaddr[i],
					mm->fork_buffer + (i << PAGE_SHIFT),
					PAGE_SIZE);
	ops->put(batch->data, 1);
}

void gpusvm_fork_serve_child(struct mm_struct *mm, int child_fd)
{
	unsigned long addr = 0;
	struct batch batch;

	while (next_batch(mm, &addr, child_fd, &batch))
		copy_batch(mm, &batch, child_fd);
	gpusvm_sys_close(child_fd);
}
