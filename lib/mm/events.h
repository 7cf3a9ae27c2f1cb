/* SPDX-License-Identifier: MIT */
/*
 * What follows from an event of the source, in two steps: what it changes in
 * the device page table, and who is told.
 */
#ifndef GPUSVM_MM_EVENTS_H
#define GPUSVM_MM_EVENTS_H

#include <gpusvm/kernel.h>

#include "source.h"

struct page;

/**
 * struct applied_event - An event whose effect on the table is made
 * @range: What subscribers are told, if @notify
 * @removed: Pages taken out of the table, to be put after that
 * @notify: Somebody is to be told
 */
struct applied_event {
	struct mmu_notifier_range range;
	struct page *removed;
	bool notify;
};

/*
 * Act on an event other than a fault, first on the table, with event_lock held
 * for writing, then on those who depend on it, without.
 */
void gpusvm_event_apply(struct mm_struct *mm, const struct source_event *event,
			struct applied_event *applied);
void gpusvm_event_finish(struct mm_struct *mm, struct applied_event *applied);

/*
 * Wait for whoever has read an event and is applying it: the kernel lets its
 * originator go on as soon as it is read.  Without event_lock.
 */
void gpusvm_event_wait_applied(struct mm_struct *mm);

/*
 * fork.c: copy what is on a device to a child, and close the descriptor; with
 * event_lock held for writing.
 */
void gpusvm_fork_serve_child(struct mm_struct *mm, int child_fd);

#endif /* GPUSVM_MM_EVENTS_H */
