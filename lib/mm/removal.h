/* SPDX-License-Identifier: MIT */
/*
 * Pages that the program drops with madvise().
 *
 * The kernel tells of it before the pages go, lets the caller go on as soon as
 * the event is read, and never tells when they are gone (6.18).  A migration
 * that took them in between would bring back, later, what the program has
 * given up.
 */
#ifndef GPUSVM_MM_REMOVAL_H
#define GPUSVM_MM_REMOVAL_H

#include <stdbool.h>

struct mm_struct;

/*
 * Removals that are remembered at a time.  One per thread is under way, but
 * nobody tells which are over: enough for what others do while one is held up.
 */
#define REMOVALS 512

/**
 * struct removal - The program dropped pages, or is about to
 * @start: First address
 * @end: End, exclusive
 * @at_ns: When this was told; 0 if never
 * @over: The call has ended
 */
struct removal {
	unsigned long start;
	unsigned long end;
	unsigned long at_ns;
	bool over;
};

/* An event told of it; with event_lock held for writing. */
void gpusvm_removal_note(struct mm_struct *mm, unsigned long start,
			 unsigned long end);

/*
 * Whether pages of [start, end) are there that may be being dropped; with
 * event_lock held for reading.
 */
bool gpusvm_removal_pending(struct mm_struct *mm, unsigned long start,
			    unsigned long end);

/* Wait until pages of [start, end) that are being dropped have gone. */
void gpusvm_removal_wait(struct mm_struct *mm, unsigned long start,
			 unsigned long end);

#endif /* GPUSVM_MM_REMOVAL_H */
