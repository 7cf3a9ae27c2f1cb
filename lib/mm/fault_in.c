/* SPDX-License-Identifier: MIT */
/* Faulting pages in for a device: see fault_in.h. */
#include "fault_in.h"

#include <errno.h>
#include <sys/mman.h>

#include "compiler.h"
#include "handler.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "populate.h"
#include "scan.h"
#include "source.h"
#include "sys.h"
#include "vma.h"

#define SCAN_BATCH 512ul

/*
 * Record system memory from @addr on.  Of a huge page as much counts as one
 * piece as is aligned and inside what was asked for.
 */
static void note_system(const struct fault_in *fault, unsigned long addr,
			const unsigned char *state, unsigned long n)
{
	unsigned long *pfns =
		fault->pfns + ((addr - fault->start) >> PAGE_SHIFT);
	unsigned int order, max_order = ilog2(HUGE_PAGE_SIZE >> PAGE_SHIFT);
	unsigned long i;

	for (i = 0; i < n; i++, addr += PAGE_SIZE) {
		order = 0;
		if (state[i] & PAGE_IS_HUGE) {
			order = min(max_order, ilog2(n - i));
			order = min(order, (unsigned int)__builtin_ctzl(
						   addr >> PAGE_SHIFT));
		}
		pfns[i] = PFN_SYSTEM | (unsigned long)order << PFN_ORDER_SHIFT;
	}
}

/*
 * What a fault on a page that is on no device gets: zeros if it is absent.  A
 * present one may still be kept from everybody, see rwp_move().
 */
static int serve_page(const struct fault_in *fault, unsigned long addr)
{
	const struct source_ops *ops = fault->mm->source->ops;
	int err = ops->zero(fault->mm->source, addr, fault->write);

	if (err == -EEXIST && (fault->mm->features & GPUSVM_FEATURE_RWP))
		err = ops->protect(fault->mm->source, addr, addr + PAGE_SIZE,
				   false);
	return err;
}

/*
 * A source that serves no faults of system calls does not serve those of
 * madvise() either: serve them before.  The locks are those of the fault
 * handler's look-up.  Returns whether madvise() may do better now,
 * or failed for another reason.
 */
static bool serve_pages(const struct fault_in *fault, unsigned long start,
			unsigned long end)
{
	struct mm_struct *mm = fault->mm;
	unsigned int attempt = 0;
	unsigned long addr;
	bool trapped = false;
	struct page *page;
	int err;

	for (addr = start; addr < end;) {
		err = 0;
		gpusvm_down_read(&mm->event_lock);
		pthread_mutex_lock(&mm->pt_lock);
		page = gpusvm_devpt_get(&mm->pt, addr);
		if (!page || gpusvm_page_is_coherent(page))
			err = serve_page(fault, addr);
		pthread_mutex_unlock(&mm->pt_lock);
		gpusvm_up_read(&mm->event_lock);
		if (err == -EAGAIN) {
			gpusvm_handler_settle(mm, attempt++);
			continue;
		}
		if (err && err != -EEXIST && err != -ENOENT)
			return false;
		trapped |= err != -ENOENT;
		addr += PAGE_SIZE;
	}
	return trapped;
}

/* Where the source guards, what is in the table is all that is trapped. */
int gpusvm_fault_in_populate(const struct fault_in *fault, unsigned long start,
			     unsigned long end)
{
	int err;

	do
		err = gpusvm_populate_pages(start, end - start, fault->write);
	while (err == -EINTR);
	if (!err || err == -EAGAIN)
		return err;
	if (err == -EFAULT &&
	    !(fault->mm->features & GPUSVM_FEATURE_KERNEL_FAULTS) &&
	    !fault->mm->source->ops->guard && serve_pages(fault, start, end))
		return -EAGAIN;
	return -EFAULT;
}

static int fault_in_system(const struct fault_in *fault, unsigned long start,
			   unsigned long end)
{
	unsigned char state[SCAN_BATCH];
	unsigned long addr, n;
	int err;

	err = gpusvm_fault_in_populate(fault, start, end);
	if (err)
		return err;

	for (addr = start; addr < end; addr += n << PAGE_SHIFT) {
		n = min((end - addr) >> PAGE_SHIFT, SCAN_BATCH);
		if (gpusvm_scan_pages(fault->mm, addr, n, state))
			return -EFAULT;
		note_system(fault, addr, state, n);
	}
	return 0;
}

/* Wait for some migration to end, with pt_lock held. */
static int wait_for_migration(struct mm_struct *mm, unsigned long deadline_ns)
{
	struct timespec at = {
		.tv_sec = (time_t)(deadline_ns / 1000000000),
		.tv_nsec = (long)(deadline_ns % 1000000000),
	};

	return pthread_cond_timedwait(&mm->migrated, &mm->pt_lock, &at) ? -EBUSY
									: 0;
}

static bool is_taken(const struct fault_in *fault, const struct page *page)
{
	if (!page || page->migration)
		return false;
	return gpusvm_page_is_coherent(page) ||
	       (fault->owner && page->pgmap->owner == fault->owner);
}

/* Pages from @start on that the device reaches; how many, with pt_lock. */
static unsigned long note_device(const struct fault_in *fault,
				 unsigned long start, unsigned long end)
{
	unsigned long *pfns =
		fault->pfns + ((start - fault->start) >> PAGE_SHIFT);
	unsigned long addr, n = 0;
	struct page *page;

	for (addr = start; addr < end; addr += PAGE_SIZE) {
		page = gpusvm_devpt_get(&fault->mm->pt, addr);
		if (!is_taken(fault, page))
			break;
		pfns[n++] = (unsigned long)page;
	}
	return n;
}

/*
 * Device pages from @start on: take them, wait for the first one or bring it
 * home; the lock is held and released.  Returns how many were taken.
 */
static long fault_in_device(const struct fault_in *fault, struct page *page,
			    unsigned long start, unsigned long end)
{
	unsigned long n = note_device(fault, start, end);
	struct mm_struct *mm = fault->mm;
	bool moving = !n && page->migration;
	int err = 0;

	if (moving)
		err = wait_for_migration(mm, fault->deadline_ns);
	pthread_mutex_unlock(&mm->pt_lock);
	if (!n && !moving)
		err = gpusvm_mm_bring_home(mm, start, 0, fault->deadline_ns);
	return err ? err : (long)n;
}

static bool has_time(const struct fault_in *fault)
{
	return gpusvm_sys_now_ns() < fault->deadline_ns;
}

/*
 * One mapping's part.  What was tried in vain is looked up again: it may be on
 * a device by now.
 */
static int fault_in_part(const struct fault_in *fault, unsigned long start,
			 unsigned long end)
{
	struct mm_struct *mm = fault->mm;
	unsigned long device;
	struct page *page;
	long done;

	while (start < end) {
		pthread_mutex_lock(&mm->pt_lock);
		page = gpusvm_devpt_next(&mm->pt, start, end);
		device = page ? page->vaddr : end;
		if (device == start) {
			done = fault_in_device(fault, page, start, end);
			start += done > 0 ? (unsigned long)done << PAGE_SHIFT
					  : 0;
		} else {
			pthread_mutex_unlock(&mm->pt_lock);
			done = fault_in_system(fault, start, device);
			if (!done)
				start = device;
			else if (done == -EAGAIN)
				done = has_time(fault) ? 0 : -EBUSY;
		}
		if (done < 0)
			return (int)done;
	}
	return 0;
}

int gpusvm_fault_in(const struct fault_in *fault)
{
	unsigned long addr = fault->start;
	unsigned long next, end = addr + (fault->npages << PAGE_SHIFT);
	struct vma vma;
	int err;

	for (; addr < end; addr = next) {
		if (gpusvm_vma_find(fault->mm, addr, &vma) || !vma.read)
			return -EFAULT;
		if (fault->write && !vma.write)
			return -EPERM;
		next = min(vma.end, end);
		gpusvm_mm_watch(fault->mm, addr, next);
		err = fault_in_part(fault, addr, next);
		if (err)
			return err;
	}
	return 0;
}

bool gpusvm_pages_present(struct mm_struct *mm, unsigned long start,
			  unsigned long end, void *owner)
{
	unsigned char state[SCAN_BATCH];
	unsigned long i, n;
	struct page *page;
	bool present = true;

	for (; start < end && present; start += n << PAGE_SHIFT) {
		n = min((end - start) >> PAGE_SHIFT, SCAN_BATCH);
		if (gpusvm_scan_pages(mm, start, n, state))
			return false;
		pthread_mutex_lock(&mm->pt_lock);
		for (i = 0; i < n && present; i++) {
			if (state[i] & PAGE_IS_PRESENT)
				continue;
			page = gpusvm_devpt_get(&mm->pt,
						start + (i << PAGE_SHIFT));
			present = page && !page->migration && owner &&
				  page->pgmap->owner == owner;
		}
		pthread_mutex_unlock(&mm->pt_lock);
	}
	return present;
}
