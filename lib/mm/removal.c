/* SPDX-License-Identifier: MIT */
/*
 * Waiting for the end of a madvise(): see removal.h.
 *
 * Whoever made the call is at that time running or about to, in the kernel, and
 * needs some microseconds of CPU time and no sleep but for a lock.  So the call
 * is over when every other thread of the process has used more than that, or
 * was seen asleep.
 */
#include "removal.h"

#include <gpusvm/gpusvm.h>

#include "alloc.h"
#include "compiler.h"
#include "mm.h"
#include "page_size.h"
#include "scan.h"
#include "sys.h"
#include "threads.h"

/* After that a caller that did not get on is given up. */
#define LIMIT_NS (1000ul * 1000 * 1000)

#define NAP_NS (500l * 1000)

/* CPU time that a call takes at most, and for each page. */
#define CALL_NS (1000ul * 1000)
#define PAGE_NS 2000ul
#define CALL_LIMIT_NS (LIMIT_NS / 2)

void gpusvm_removal_note(struct mm_struct *mm, unsigned long start,
			 unsigned long end)
{
	mm->removals[mm->next_removal++ % REMOVALS] = (struct removal){
		.start = start,
		.end = end,
		.at_ns = gpusvm_sys_now_ns(),
	};
}

static bool concerns(const struct removal *removal, unsigned long start,
		     unsigned long end, unsigned long now_ns)
{
	return removal->at_ns && !removal->over &&
	       now_ns - removal->at_ns < LIMIT_NS && removal->start < end &&
	       removal->end > start;
}

/*
 * The removals that concern the range as one; false if none does.  Under
 * event_lock.
 */
static bool find_locked(struct mm_struct *mm, unsigned long start,
			unsigned long end, struct removal *all)
{
	unsigned long now_ns = gpusvm_sys_now_ns();
	const struct removal *removal;

	*all = (struct removal){ .start = ~0ul };
	for (removal = mm->removals; removal < mm->removals + REMOVALS;
	     removal++) {
		if (!concerns(removal, start, end, now_ns))
			continue;
		all->start = min(all->start, removal->start);
		all->end = max(all->end, removal->end);
		all->at_ns = max(all->at_ns, removal->at_ns);
	}
	return all->end;
}

static bool find(struct mm_struct *mm, unsigned long start, unsigned long end,
		 struct removal *all)
{
	bool found;

	gpusvm_down_read(&mm->event_lock);
	found = find_locked(mm, start, end, all);
	gpusvm_up_read(&mm->event_lock);
	return found;
}

/* Those of [start, end) that were told of up to then are over. */
static void forget(struct mm_struct *mm, unsigned long start, unsigned long end,
		   unsigned long at_ns)
{
	unsigned long now_ns = gpusvm_sys_now_ns();
	struct removal *removal;

	gpusvm_down_write(&mm->event_lock);
	for (removal = mm->removals; removal < mm->removals + REMOVALS;
	     removal++)
		if (removal->at_ns <= at_ns &&
		    concerns(removal, start, end, now_ns))
			removal->over = true;
	gpusvm_up_write(&mm->event_lock);
}

static bool has_pages(struct mm_struct *mm, unsigned long start,
		      unsigned long end)
{
	unsigned char state[512];
	unsigned long i, n;

	for (; start < end; start += n << PAGE_SHIFT) {
		n = min((end - start) >> PAGE_SHIFT,
			(unsigned long)sizeof(state));
		if (gpusvm_scan_pages(mm, start, n, state))
			return true;
		for (i = 0; i < n; i++)
			if (state[i])
				return true;
	}
	return false;
}

static bool all_got_on(struct thread_mark *marks, long n, unsigned long ns)
{
	bool all = true;
	long i;

	for (i = 0; i < n; i++) {
		if (gpusvm_thread_got_on(&marks[i], ns))
			marks[i].tid = 0;
		else
			all = false;
	}
	return all;
}

/* The threads there are, in private memory; *@n is -1 if that cannot be had. */
static struct thread_mark *mark_threads(long *n)
{
	struct thread_mark *marks;
	unsigned long max;

	for (max = 64;; max = (unsigned long)*n + 64) {
		marks = gpusvm_alloc_array(max, sizeof(marks[0]));
		*n = marks ? gpusvm_threads_mark(marks, max) : -1;
		if (*n <= (long)max)
			return marks;
		gpusvm_free(marks);
	}
}

bool gpusvm_removal_pending(struct mm_struct *mm, unsigned long start,
			    unsigned long end)
{
	struct removal all;

	return find_locked(mm, start, end, &all) && has_pages(mm, start, end);
}

void gpusvm_removal_wait(struct mm_struct *mm, unsigned long start,
			 unsigned long end)
{
	struct thread_mark *marks;
	struct removal all;
	unsigned long ns, end_ns;
	bool over = false;
	long n;

	if (!find(mm, start, end, &all) || !has_pages(mm, start, end))
		return;
	ns = CALL_NS + PAGE_NS * ((all.end - all.start) >> PAGE_SHIFT);
	ns = min(ns, CALL_LIMIT_NS);
	end_ns = gpusvm_sys_now_ns() + LIMIT_NS;
	marks = mark_threads(&n);
	while (!over && has_pages(mm, start, end) &&
	       gpusvm_sys_now_ns() < end_ns) {
		over = n >= 0 && all_got_on(marks, n, ns);
		if (!over)
			gpusvm_sys_nanosleep(NAP_NS);
	}
	if (over)
		forget(mm, start, end, all.at_ns);
	gpusvm_free(marks);
}
