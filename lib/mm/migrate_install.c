/* SPDX-License-Identifier: MIT */
/*
 * Putting pages from staging where their entries in the device page table say:
 * the last step of a migration home, and of one to the device that failed.
 */
#include "migration.h"

#include <errno.h>

#include "change.h"
#include "compiler.h"
#include "handler.h"
#include "log.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "source.h"
#include "vma.h"

/*
 * Length in pages of the run from @i on whose data and whose entries are both
 * adjacent; 0 if page @i has nothing to install.  event_lock is held, so that
 * entries do not change after this.
 */
static unsigned long run_length(struct migration *m, unsigned long i,
				unsigned long *to)
{
	unsigned long n, vaddr;

	pthread_mutex_lock(&m->mm->pt_lock);
	*to = m->ram[i] ? m->pages[i]->vaddr : 0;
	for (n = *to != 0; n && i + n < m->npages; n++) {
		vaddr = m->ram[i + n] ? m->pages[i + n]->vaddr : 0;
		if (vaddr != *to + (n << PAGE_SHIFT))
			break;
	}
	pthread_mutex_unlock(&m->mm->pt_lock);
	return n;
}

/*
 * How many of @n pages at @to the source keeps from the CPU.  Where it does so
 * by protection it is not told of every change: what is accessible, or is not
 * there, is another mapping than the one the pages were taken from.
 */
static unsigned long expected(struct migration *m, unsigned long to,
			      unsigned long n)
{
	struct mm_struct *mm = m->mm;
	struct vma piece;

	if (!mm->source->ops->guard)
		return n;
	if (gpusvm_vma_piece(mm, to, &piece) || !piece.guarded)
		return 0;
	return min(n, (piece.end - to) >> PAGE_SHIFT);
}

/*
 * The pages, adjacent in the run, have left it if they were moved, and stay if
 * copied.
 */
static void mark_installed(struct migration *m, unsigned long i,
			   unsigned long n, bool moved)
{
	unsigned long index = (m->ram[i] - m->run->addr) >> PAGE_SHIFT;
	unsigned long end = i + n;

	if (moved)
		gpusvm_staging_set_filled(m->run, index, n, false);
	for (; i < end; i++)
		m->ram[i] = 0;
}

/* Done with pages whose entries are out of the table. */
static void let_go(struct migration *m, unsigned long i, unsigned long n)
{
	unsigned long end = i + n;

	if (m->keep_pages)
		return;
	gpusvm_pages_put(&m->pages[i], n);
	for (; i < end; i++)
		m->pages[i] = NULL;
}

/* Take the entries of @n pages, which begin at @to, out, and drop the pages. */
static void drop_pages(struct migration *m, unsigned long i, unsigned long n,
		       unsigned long to)
{
	unsigned long j;

	pthread_mutex_lock(&m->mm->pt_lock);
	gpusvm_devpt_clear_run(&m->mm->pt, to, n);
	for (j = i; j < i + n; j++)
		m->pages[j]->migration = NULL;
	pthread_mutex_unlock(&m->mm->pt_lock);
	gpusvm_watchdog_served(m->mm, to, to + (n << PAGE_SHIFT));
	let_go(m, i, n);
}

/* The same for one, wherever it stands by now. */
static void drop_page(struct migration *m, unsigned long i)
{
	struct page *page = m->pages[i];

	pthread_mutex_lock(&m->mm->pt_lock);
	if (page->vaddr)
		gpusvm_devpt_clear(&m->mm->pt, page->vaddr);
	page->migration = NULL;
	pthread_mutex_unlock(&m->mm->pt_lock);
	let_go(m, i, 1);
}

/*
 * Pages whose mapping has gone without anybody's telling, data and all: free()
 * may have done that.  Returns how many of @n.
 */
static long lose_pages(struct migration *m, unsigned long i, unsigned long n,
		       unsigned long to)
{
	unsigned long end = to + (n << PAGE_SHIFT);
	struct mm_struct *mm = m->mm;
	struct vma next;

	if (!gpusvm_vma_next(mm, to, &next))
		end = min(end, next.start > to ? next.start : next.end);
	/* On the way out this is what has not been taken. */
	if (!m->to_device)
		log_warning("the mapping at %#lx-%#lx has gone and nobody "
			    "announced it: what was on the device is dropped",
			    to, end);
	mm->source->ops->forget(mm->source, to, end);
	n = (end - to) >> PAGE_SHIFT;
	mark_installed(m, i, n, false);
	return (long)n;
}

/*
 * Move or copy pages to @to; *@move says which, if they came.
 *
 * A move makes every CPU where the program runs forget the staging page, which
 * takes longer than to copy one page to a new one.
 */
static long put_pages(struct migration *m, unsigned long to, unsigned long from,
		      unsigned long len, bool *move)
{
	struct source *source = m->mm->source;
	long done = -EINVAL;

	*move = m->technique == GPUSVM_TECHNIQUE_MOVE;
	if (*move && len == PAGE_SIZE && !m->to_device) {
		done = source->ops->copy(source, to, from, len);
		*move = done == -ENOMEM;
	}
	if (*move)
		done = source->ops->move(source, to, from, len);
	/* Read-only and locked memory takes no page, only a copy. */
	if (done == -EINVAL || done == -EBUSY) {
		*move = false;
		done = source->ops->copy(source, to, from, len);
	}
	return done;
}

/*
 * Move or copy up to @n pages from page @i on to @to.  Returns how many are
 * there now, or -errno.
 */
static long install_run(struct migration *m, unsigned long i, unsigned long n,
			unsigned long to)
{
	struct source *source = m->mm->source;
	unsigned long len = expected(m, to, n) << PAGE_SHIFT;
	bool move;
	long done;

	/* Looked at again when that is over. */
	if (gpusvm_change_is_closed(m->mm, to, to + (n << PAGE_SHIFT)))
		return -EAGAIN;
	if (!len)
		return lose_pages(m, i, n, to);
	done = put_pages(m, to, m->ram[i], len, &move);
	/*
	 * A page is there already: it is when a migration is undone that had
	 * not dropped it yet.  The call that says so wakes nobody.
	 */
	if (done == -EEXIST) {
		source->ops->wake(source, to, to + PAGE_SIZE);
		move = false;
		done = (long)PAGE_SIZE;
	}
	if (done > 0) {
		m->woken = to;
		m->woken_end = to + (unsigned long)done;
		done >>= PAGE_SHIFT;
		mark_installed(m, i, (unsigned long)done, move);
	}
	return done;
}

/**
 * struct obstacle - What keeps a page from being installed
 * @waits: Times that the source had to settle
 * @attempts: Times that the mapping was in the way
 * @limit: How many pages to try at once
 * @no_memory: A page stayed on the device for lack of memory
 */
struct obstacle {
	unsigned int waits;
	unsigned int attempts;
	unsigned long limit;
	bool no_memory;
};

/* Attempts at a page that has a mapping, or that no event says has none. */
#define GIVE_UP_AFTER 1000

/*
 * Nothing could be installed at @to though the entry says so.  Returns true if
 * the page is done with all the same.
 *
 * The kernel takes what lies within one of its mappings only.  Otherwise an
 * event tells in a moment what became of the address.  If none does there is
 * no mapping for the page, or one that was never ours, and nobody can be
 * waiting for it.
 */
static bool overcome(struct migration *m, unsigned long i, unsigned long to,
		     long err, struct obstacle *obstacle)
{
	struct source *source = m->mm->source;
	struct vma piece;

	if (err == -ENOMEM && !m->to_device) {
		m->ram[i] = 0;
		obstacle->no_memory = true;
		return true;
	}
	if (err != -EAGAIN && err != -ENOMEM) {
		if (!gpusvm_vma_piece(m->mm, to, &piece)) {
			obstacle->limit = (piece.end - to) >> PAGE_SHIFT;
			source->ops->trap(source, to, to + PAGE_SIZE);
		}
		if (obstacle->attempts++ >= GIVE_UP_AFTER) {
			log_error("a page at %#lx has no mapping to come home "
				  "to (error %ld)",
				  to, -err);
			m->ram[i] = 0;
			drop_page(m, i);
			return true;
		}
	}
	gpusvm_handler_settle(m->mm, obstacle->waits++);
	return false;
}

/*
 * Pages without data have nothing to install, but must not stay guarded.  The
 * entries keep other migrations away from them.
 */
static void release_empty(struct migration *m)
{
	struct source *source = m->mm->source;
	unsigned long i, n, vaddr, next;

	gpusvm_down_read(&m->mm->event_lock);
	pthread_mutex_lock(&m->mm->pt_lock);
	for (i = 0; i < m->npages; i += n) {
		n = 1;
		vaddr = m->pages[i] && !m->ram[i] ? m->pages[i]->vaddr : 0;
		if (!vaddr)
			continue;
		for (; i + n < m->npages; n++) {
			next = m->pages[i + n] && !m->ram[i + n]
				       ? m->pages[i + n]->vaddr
				       : 0;
			if (next != vaddr + (n << PAGE_SHIFT))
				break;
		}
		source->ops->release(source, vaddr, vaddr + (n << PAGE_SHIFT));
	}
	pthread_mutex_unlock(&m->mm->pt_lock);
	gpusvm_up_read(&m->mm->event_lock);
}

long gpusvm_migrate_install(struct migration *m)
{
	struct obstacle obstacle = { .limit = m->npages };
	struct mm_struct *mm = m->mm;
	unsigned long i = 0, n, to;
	long done, count = 0;

	if (m->to_device && mm->source->ops->release)
		release_empty(m);
	while (i < m->npages) {
		if (!m->ram[i]) {
			i++;
			continue;
		}
		gpusvm_down_read(&mm->event_lock);
		n = min(run_length(m, i, &to), obstacle.limit);
		done = n ? install_run(m, i, n, to) : 0;
		if (done > 0)
			drop_pages(m, i, (unsigned long)done, to);
		gpusvm_up_read(&mm->event_lock);

		if (!n) {
			m->ram[i++] = 0; /* it was unmapped meanwhile */
		} else if (done > 0) {
			count += done;
			i += (unsigned long)done;
		} else if (overcome(m, i, to, done, &obstacle)) {
			i++;
		} else {
			continue;
		}
		obstacle.waits = 0;
		obstacle.attempts = 0;
		obstacle.limit = m->npages;
	}
	return !count && obstacle.no_memory ? -ENOMEM : count;
}

void gpusvm_migrate_end(struct migration *m)
{
	struct mm_struct *mm = m->mm;
	struct page *page, *gone = NULL;
	unsigned long i;

	pthread_mutex_lock(&mm->pt_lock);
	for (i = 0; i < m->npages; i++) {
		page = m->pages[i];
		if (!page || READ_ONCE(page->migration) != m)
			continue;
		page->migration = NULL;
		if (page->removed && page->vaddr)
			gpusvm_devpt_clear(&mm->pt, page->vaddr);
		page->removed = false;
		if (page->vaddr)
			continue;
		m->pages[i] = NULL;
		page->next = gone;
		gone = page;
	}
	m->hold_removals = false;
	m->dropping = false;
	pthread_cond_broadcast(&mm->migrated);
	pthread_mutex_unlock(&mm->pt_lock);

	while ((page = gone)) {
		gone = page->next;
		page->next = NULL;
		gpusvm_page_put(page);
	}
}
