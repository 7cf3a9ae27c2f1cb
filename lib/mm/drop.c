/* SPDX-License-Identifier: MIT */
/* Dropping pages, and telling our removals from the program's: see drop.h. */
#include "drop.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <sys/mman.h>

#include "compiler.h"
#include "handler.h"
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
#define LIMIT_NS (100ul * 1000 * 1000)

/* How often to drop what the kernel left, because mappings were changing. */
#define ATTEMPTS 16

#define SCAN_BATCH 512ul

/* Whether page @i of the migration is where it was taken from; under pt_lock. */
static bool is_in_place(const struct migration *m, unsigned long i)
{
	return m->pages[i]->vaddr == m->start + (i << PAGE_SHIFT);
}

/* The program dropped these, which the migration makes come true at its end. */
static void note_removed(struct migration *m, unsigned long start,
			 unsigned long end)
{
	unsigned long i;

	pthread_mutex_lock(&m->mm->pt_lock);
	for (i = (start - m->start) >> PAGE_SHIFT;
	     i < (end - m->start) >> PAGE_SHIFT; i++)
		if (is_in_place(m, i))
			m->pages[i]->removed = true;
	pthread_mutex_unlock(&m->mm->pt_lock);
}

enum drop_claim gpusvm_drop_claim(struct mm_struct *mm,
				  const struct source_event *event)
{
	struct drop *drop = &mm->drop;
	unsigned int i;

	if (!drop->m || drop->through || event->start < drop->start ||
	    event->end > drop->end)
		return DROP_NOT_OURS;
	if (event->start == drop->start && event->end == drop->end) {
		/* Ours tells of that once; whose came first is all the same. */
		if (drop->told)
			return DROP_NOT_OURS;
		drop->told = true;
		for (i = 0; i < drop->nparts; i++)
			note_removed(drop->m, drop->part[i].start,
				     drop->part[i].end);
		return DROP_OURS;
	}
	if (drop->nparts < DROP_PARTS) {
		drop->part[drop->nparts].start = event->start;
		drop->part[drop->nparts].end = event->end;
		drop->nparts++;
	}
	return DROP_PERHAPS_OURS;
}

/* Whether one of @n pages from @i on is there, of which @state tells. */
static bool any_left(const struct migration *m, unsigned long i,
		     unsigned long n, const unsigned char *state)
{
	unsigned long end = i + n;
	bool left = false;

	pthread_mutex_lock(&m->mm->pt_lock);
	for (; i < end && !left; i++)
		left = *state++ && is_in_place(m, i);
	pthread_mutex_unlock(&m->mm->pt_lock);
	return left;
}

/* 1 if the CPU still has pages of the interval, else 0; -errno. */
static int has_left(const struct migration *m, unsigned long start,
		    unsigned long end)
{
	unsigned char state[SCAN_BATCH];
	unsigned long n;
	int err;

	for (; start < end; start += n << PAGE_SHIFT) {
		n = min((end - start) >> PAGE_SHIFT, SCAN_BATCH);
		err = gpusvm_scan_pages(m->mm, start, n, state);
		if (err)
			return err;
		if (any_left(m, (start - m->start) >> PAGE_SHIFT, n, state))
			return 1;
	}
	return 0;
}

/*
 * Whether the pages have gone, or soon have.  A call that sleeps waits for its
 * next event to be read, or for a lock.
 */
static bool got_through(const struct drop *drop)
{
	unsigned long end_ns = gpusvm_sys_now_ns() + LIMIT_NS;
	unsigned int attempt = 0, asleep = 0;
	int left;

	while ((left = has_left(drop->m, drop->start, drop->end)) > 0) {
		/* The latter in a signal handler, when the call is over. */
		if (drop->waited || drop->tid == gpusvm_threads_self())
			return false;
		if (asleep == ASLEEP || gpusvm_sys_now_ns() >= end_ns)
			return false;
		gpusvm_threads_give_way(attempt++);
		asleep = gpusvm_thread_is_asleep(drop->tid) ? asleep + 1 : 0;
	}
	return !left;
}

bool gpusvm_drop_follow(struct mm_struct *mm)
{
	struct drop *drop = &mm->drop;

	if (drop->told && !drop->through && !drop->again) {
		drop->through = got_through(drop);
		drop->waited = true;
	}
	return drop->m;
}

/* Pages from @i on that are where they were taken from; *@n is at least 1. */
static bool in_place(struct migration *m, unsigned long i, unsigned long *n)
{
	bool found;

	pthread_mutex_lock(&m->mm->pt_lock);
	found = is_in_place(m, i);
	for (*n = 1; i + *n < m->npages; ++*n)
		if (is_in_place(m, i + *n) != found)
			break;
	pthread_mutex_unlock(&m->mm->pt_lock);
	return found;
}

/*
 * The last look at the entries before the pages go: what was unmapped meanwhile
 * may be another mapping by now.  False if something changed.
 */
static bool begin_call(struct migration *m, unsigned long start,
		       unsigned long end, bool again)
{
	unsigned long i = (start - m->start) >> PAGE_SHIFT;
	struct mm_struct *mm = m->mm;
	unsigned long n;
	bool found;

	gpusvm_down_write(&mm->event_lock);
	found = in_place(m, i, &n) && n >= (end - start) >> PAGE_SHIFT;
	if (found)
		mm->drop = (struct drop){
			.m = m,
			.start = start,
			.end = end,
			.tid = gpusvm_threads_self(),
			.again = again,
		};
	gpusvm_up_write(&mm->event_lock);
	return found;
}

/* Every event of the call was read before it ended. */
static void end_call(struct mm_struct *mm)
{
	gpusvm_down_write(&mm->event_lock);
	mm->drop = (struct drop){ .m = NULL };
	gpusvm_up_write(&mm->event_lock);
}

static int make_call(struct migration *m, unsigned long start,
		     unsigned long end, int advice, bool again)
{
	int err;

	if (!begin_call(m, start, end, again))
		return -EBUSY;
	err = gpusvm_sys_madvise(start, end - start, advice);
	end_call(m->mm);
	return err;
}

/*
 * A call for each piece of the mapping; and another where it is locked, or was
 * at some time of the first.
 */
static int drop_run(struct migration *m, unsigned long start, unsigned long end,
		    bool again)
{
	unsigned long addr, next;
	struct vma piece;
	int err = 0;

	for (addr = start; addr < end && !err; addr = next) {
		if (gpusvm_vma_piece(m->mm, addr, &piece))
			break; /* unmapped: the entries follow the event */
		next = min(piece.end, end);
		err = make_call(m, addr, next, MADV_DONTNEED, again);
		if (err == -EINVAL)
			err = make_call(m, addr, next, MADV_DONTNEED_LOCKED,
					true);
	}
	return err;
}

static int drop_runs(struct migration *m, bool again)
{
	unsigned long i, n, addr;
	int err = 0;

	pthread_mutex_lock(&m->mm->drop_lock);
	for (i = 0; i < m->npages && !err; i += n) {
		addr = m->start + (i << PAGE_SHIFT);
		if (in_place(m, i, &n))
			err = drop_run(m, addr, addr + (n << PAGE_SHIFT),
				       again);
	}
	pthread_mutex_unlock(&m->mm->drop_lock);
	return err;
}

/*
 * Where the mapping was split meanwhile the kernel may leave what is behind,
 * without an error (before Linux 6.17), and where something was unmapped we do.
 */
static int drop_all(struct migration *m)
{
	unsigned int attempt;
	int err, left = 1;

	for (attempt = 0; left > 0 && attempt < ATTEMPTS; attempt++) {
		err = drop_runs(m, attempt > 0);
		if (err)
			return err;
		left = has_left(m, m->start, gpusvm_migration_limit(m));
		/* What a change has put there is known by its entry then. */
		if (left > 0)
			gpusvm_handler_wait_settled(m->mm);
	}
	return left > 0 ? -EBUSY : left;
}

int gpusvm_drop_pages(struct migration *m)
{
	struct mm_struct *mm = m->mm;

	m->dropping = true;
	/*
	 * Not sooner: a page that the program dropped while it is copied must
	 * be served to the copy.
	 */
	pthread_mutex_lock(&mm->pt_lock);
	m->hold_removals = true;
	pthread_mutex_unlock(&mm->pt_lock);
	return drop_all(m);
}
