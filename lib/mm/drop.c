/* SPDX-License-Identifier: MIT */
/* Dropping pages, and telling our removals from the program's: see drop.h. */
#include "drop.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <sys/mman.h>

#include "compiler.h"
#include "migration.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "scan.h"
#include "source.h"
#include "sys.h"
#include "threads.h"
#include "vma.h"

/* How often, one time after another, a call must be seen asleep. */
#define ASLEEP 8

/* How long to wait for one that gets no CPU. */
#define LIMIT_NS (1000ul * 1000 * 1000)

enum drop_claim gpusvm_drop_claim(struct mm_struct *mm,
				  const struct source_event *event)
{
	struct drop *drop = &mm->drop;
	bool same = event->start == drop->start && event->end == drop->end;

	if (drop->through || event->start < drop->start ||
	    event->end > drop->end)
		return DROP_NOT_OURS;
	if (same && !drop->told) {
		drop->told = true;
		return DROP_OURS;
	}
	if (drop->nparts < DROP_PARTS) {
		drop->part[drop->nparts].start = event->start;
		drop->part[drop->nparts].end = event->end;
	}
	drop->nparts++;
	return DROP_PERHAPS_OURS;
}

/*
 * Whether the pages have gone, which the call is about to drop; or it sleeps:
 * but not only for a moment, as it does for a lock.
 */
static bool got_through(struct mm_struct *mm)
{
	unsigned long end_ns = gpusvm_sys_now_ns() + LIMIT_NS;
	const struct drop *drop = &mm->drop;
	unsigned int attempt = 0, asleep = 0;
	unsigned char state;

	while (asleep < ASLEEP && gpusvm_sys_now_ns() < end_ns) {
		if (!drop->last)
			return true;
		if (gpusvm_scan_pages(mm, drop->last, 1, &state))
			return false;
		if (!state)
			return true;
		gpusvm_threads_give_way(attempt++);
		asleep = gpusvm_thread_is_asleep(drop->tid) ? asleep + 1 : 0;
	}
	return false;
}

void gpusvm_drop_follow(struct mm_struct *mm)
{
	struct drop *drop = &mm->drop;

	if (!drop->told || drop->followed)
		return;
	drop->followed = true;
	drop->nothers = drop->nparts;
	drop->through = got_through(mm);
}

/* Pages from @i on that are where they were taken from; *@n is at least 1. */
static bool in_place(struct migration *m, unsigned long i, unsigned long *n)
{
	unsigned long vaddr = m->start + (i << PAGE_SHIFT);
	bool found;

	pthread_mutex_lock(&m->mm->pt_lock);
	found = m->pages[i]->vaddr == vaddr;
	for (*n = 1; i + *n < m->npages; ++*n)
		if ((m->pages[i + *n]->vaddr == vaddr + (*n << PAGE_SHIFT)) !=
		    found)
			break;
	pthread_mutex_unlock(&m->mm->pt_lock);
	return found;
}

/* The last page of the interval that has data; 0 for none. */
static unsigned long last_data(const struct migration *m, unsigned long start,
			       unsigned long end)
{
	while (end > start) {
		end -= PAGE_SIZE;
		if (m->ram[(end - m->start) >> PAGE_SHIFT])
			return end;
	}
	return 0;
}

/*
 * The last look at the entries before the pages go: what was unmapped meanwhile
 * may be another mapping by now.  False if something changed.
 */
static bool begin_call(struct migration *m, unsigned long start,
		       unsigned long end)
{
	unsigned long i = (start - m->start) >> PAGE_SHIFT;
	struct mm_struct *mm = m->mm;
	unsigned long n;
	bool found;

	gpusvm_down_write(&mm->event_lock);
	found = in_place(m, i, &n) && n >= (end - start) >> PAGE_SHIFT;
	if (found)
		mm->drop = (struct drop){
			.start = start,
			.end = end,
			.last = last_data(m, start, end),
			.tid = gpusvm_threads_self(),
		};
	gpusvm_up_write(&mm->event_lock);
	return found;
}

/* Whether part @i may be the last of ours before @end. */
static bool may_precede(const struct drop *drop, unsigned int i,
			unsigned long end)
{
	/* What is left after the first piece does not start where that did. */
	if (drop->told && drop->part[i].start == drop->start)
		return false;
	return drop->part[i].end == end && drop->part[i].start < end;
}

/*
 * The kernel goes from the start to the end, so our own parts are the chain
 * that leads up to the end.  Returns where it begins; those parts are emptied.
 */
static unsigned long take_chain(struct drop *drop)
{
	unsigned long start = drop->end;
	unsigned int i = drop->nothers;

	while (i < drop->nparts) {
		if (!may_precede(drop, i, start)) {
			i++;
			continue;
		}
		start = drop->part[i].start;
		drop->part[i].end = start;
		i = drop->nothers;
	}
	return start;
}

/* The program dropped these, which the migration makes come true at its end. */
static void note_removed(struct migration *m, unsigned long start,
			 unsigned long end)
{
	unsigned long i;

	pthread_mutex_lock(&m->mm->pt_lock);
	for (i = (start - m->start) >> PAGE_SHIFT;
	     i < (end - m->start) >> PAGE_SHIFT; i++)
		if (m->pages[i]->vaddr == m->start + (i << PAGE_SHIFT))
			m->pages[i]->removed = true;
	pthread_mutex_unlock(&m->mm->pt_lock);
}

/*
 * Every event of the call was read before madvise() ended.  If they do not add
 * up, nobody knows whose the parts were, and what is noted is not believed.  A
 * call that failed may have dropped nothing, and told of nothing.
 */
static void end_call(struct migration *m, int err)
{
	struct mm_struct *mm = m->mm;
	struct drop drop;
	unsigned int i;

	gpusvm_down_write(&mm->event_lock);
	drop = mm->drop;
	mm->drop = (struct drop){ .end = 0 };
	gpusvm_up_write(&mm->event_lock);

	if (err && !drop.told && !drop.nparts)
		return;
	if (drop.nparts > DROP_PARTS ||
	    (take_chain(&drop) != drop.start && !drop.told)) {
		WRITE_ONCE(m->own_told, false);
		return;
	}
	for (i = 0; i < drop.nparts; i++)
		note_removed(m, drop.part[i].start, drop.part[i].end);
}

static int drop_piece(struct migration *m, unsigned long start,
		      unsigned long end)
{
	int err;

	if (!begin_call(m, start, end))
		return -EBUSY;
	err = gpusvm_sys_madvise(start, end - start, MADV_DONTNEED);
	if (err == -EINVAL)
		err = gpusvm_sys_madvise(start, end - start,
					 MADV_DONTNEED_LOCKED);
	end_call(m, err);
	return err;
}

static int drop_run(struct migration *m, unsigned long start, unsigned long end)
{
	unsigned long addr, next;
	struct vma piece;
	int err = 0;

	for (addr = start; addr < end && !err; addr = next) {
		if (gpusvm_vma_piece(m->mm, addr, &piece))
			break; /* unmapped: the entries follow the event */
		next = min(piece.end, end);
		err = drop_piece(m, addr, next);
	}
	return err;
}

int gpusvm_drop_pages(struct migration *m)
{
	struct mm_struct *mm = m->mm;
	unsigned long i, n, addr;
	int err = 0;

	m->dropping = true;
	/*
	 * Not sooner: a page that the program dropped while it is copied must
	 * be served to the copy.
	 */
	pthread_mutex_lock(&mm->pt_lock);
	m->own_told = true;
	m->hold_removals = true;
	pthread_mutex_unlock(&mm->pt_lock);
	pthread_mutex_lock(&mm->drop_lock);
	for (i = 0; i < m->npages && !err; i += n) {
		addr = m->start + (i << PAGE_SHIFT);
		if (in_place(m, i, &n))
			err = drop_run(m, addr, addr + (n << PAGE_SHIFT));
	}
	pthread_mutex_unlock(&mm->drop_lock);
	return err;
}
