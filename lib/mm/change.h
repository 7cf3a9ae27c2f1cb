/* SPDX-License-Identifier: MIT */
/*
 * Changes of memory that are announced before they are made: the engine of
 * the hooks.  gpusvm_change_begin() and _end() are in gpusvm/hooks.h.
 *
 * From begin to end the subscribers' section is open, so no device gets at the
 * pages; no migration to a device enters the interval, and those that were
 * there are over; and what the source tells of the same change is known to have
 * been told.
 */
#ifndef GPUSVM_MM_CHANGE_H
#define GPUSVM_MM_CHANGE_H

#include <gpusvm/hooks.h>
#include <stdbool.h>

struct source_event;

/**
 * struct change - An interval that is changing; private memory
 * @next: In the list of the address space, under pt_lock
 * @range: What subscribers were told
 * @told: The source told of it, too; under pt_lock
 * @landed: Other memory was moved there meanwhile; under pt_lock
 * @closed: No page comes home to it; under pt_lock
 * @quiet: The thread has signals blocked until the end
 * @mask: What it had blocked before
 */
struct change {
	struct change *next;
	struct mmu_notifier_range range;
	bool told;
	bool landed;
	bool closed;
	bool quiet;
	unsigned long mask;
};

/*
 * gpusvm_change_begin() of what concerns nobody: the address space, which then
 * stays until gpusvm_change_end(), while who subscribes waits; or NULL.
 */
struct mm_struct *gpusvm_change_begin_none(struct gpusvm_change *none);

/*
 * gpusvm_change_begin() for a system call that follows at once: what the
 * interval has on devices need not come home first where the source guards.
 * There no signal handler runs on the thread before the end, since it would wait
 * for ever for a page of the interval.
 */
void gpusvm_change_begin_call(struct gpusvm_change *change,
			      enum mmu_notifier_event event, const void *addr,
			      size_t size);

/*
 * The same of an mremap(): until _close() pages may come home to it, as they
 * must where the source guards.  What is closed first ends last.
 */
void gpusvm_change_begin_move(struct gpusvm_change *change, unsigned long addr,
			      size_t size);
void gpusvm_change_close(const struct gpusvm_change *change);

/*
 * gpusvm_change_end() of an mremap(): what the interval had on devices belongs
 * to @to now.
 */
void gpusvm_change_end_moved(struct gpusvm_change *change, unsigned long to);

/* Whether the source has told of it up to now. */
bool gpusvm_change_was_told(const struct gpusvm_change *change);

/* The subscribers are told once more, as the kernel does at the end of moves. */
void gpusvm_change_tell_again(const struct gpusvm_change *change);

/* A new subscription: changes that began before it may not have seen it. */
void gpusvm_change_subscribed(void);

/*
 * Wait until the changes of @mm, which is closed, are over, and nobody is about
 * to look at what gpusvm_mm_current() was.
 */
void gpusvm_change_drain(struct mm_struct *mm);

/* In a forked child. */
void gpusvm_change_forget(struct mm_struct *mm);

/* Whether something in [start, end) is changing; under pt_lock. */
bool gpusvm_change_overlaps(const struct mm_struct *mm, unsigned long start,
			    unsigned long end);

/* The same for a caller that holds no lock but may wait for it. */
bool gpusvm_change_is_near(struct mm_struct *mm, unsigned long start,
			   unsigned long end);

/*
 * Whether no page may be put there: the source guards, so nothing would tell
 * whether that came before the change.  event_lock is held, and may be waited
 * for.
 */
bool gpusvm_change_is_closed(struct mm_struct *mm, unsigned long start,
			     unsigned long end);

/* Wait until nothing in [start, end) is changing.  0, or -EBUSY. */
int gpusvm_change_wait(struct mm_struct *mm, unsigned long start,
		       unsigned long end);

/*
 * Device pages were moved to [start, end): what is changing there is not to
 * take them for what it was announced for; under event_lock.
 */
void gpusvm_change_landed(struct mm_struct *mm, unsigned long start,
			  unsigned long end);

/* Whether the event is of a change that was announced; under event_lock. */
bool gpusvm_change_expects(struct mm_struct *mm,
			   const struct source_event *event);

#endif /* GPUSVM_MM_CHANGE_H */
