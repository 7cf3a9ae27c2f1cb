/* SPDX-License-Identifier: MIT */
/*
 * What each change of the address space means for device pages and for those
 * who subscribed to it.
 *
 * First the table follows the change, in the order in which events were read;
 * then, outside that lock, subscribers are told; only then do device pages
 * become free: until its invalidate callback has run a device may use them.
 * A reader of the table that comes in between sees the new state, and is made
 * to start again by the event.
 */
#include <errno.h>

#include "change.h"
#include "compiler.h"
#include "events.h"
#include "log.h"
#include "migration.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "removal.h"
#include "source.h"

static void describe(struct applied_event *applied, struct mm_struct *mm,
		     unsigned long start, unsigned long end,
		     enum mmu_notifier_event event)
{
	*applied = (struct applied_event){
		.range = {
			.mm = mm,
			.start = start,
			.end = end,
			.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
			.event = event,
		},
		.notify = true,
	};
}

/* A page on the move is left to its migration, which finds the entry gone. */
static void remove_entry(struct mm_struct *mm, struct page *page,
			 struct applied_event *applied)
{
	gpusvm_devpt_clear(&mm->pt, page->vaddr);
	if (page->migration)
		return;
	page->next = applied->removed;
	applied->removed = page;
}

static void remove_entries(struct mm_struct *mm, unsigned long start,
			   unsigned long end, struct applied_event *applied)
{
	struct page *page;

	pthread_mutex_lock(&mm->pt_lock);
	while ((page = gpusvm_devpt_next(&mm->pt, start, end))) {
		start = page->vaddr + PAGE_SIZE;
		if (page->migration && page->migration->hold_removals)
			page->removed = true;
		else
			remove_entry(mm, page, applied);
	}
	pthread_mutex_unlock(&mm->pt_lock);
}

/* Unlike a removal, an unmap cannot be one of our own. */
static void unmap_entries(struct mm_struct *mm, unsigned long start,
			  unsigned long end, struct applied_event *applied)
{
	struct page *page;

	pthread_mutex_lock(&mm->pt_lock);
	while ((page = gpusvm_devpt_next(&mm->pt, start, end)))
		remove_entry(mm, page, applied);
	pthread_mutex_unlock(&mm->pt_lock);
}

static void move_entry(struct mm_struct *mm, struct page *page,
		       unsigned long to, struct applied_event *applied)
{
	struct page *old;

	gpusvm_devpt_clear(&mm->pt, page->vaddr);
	old = gpusvm_devpt_get(&mm->pt, to);
	if (old)
		remove_entry(mm, old, applied);
	if (!gpusvm_devpt_set(&mm->pt, to, page))
		return;
	log_error("out of private memory: the device page at %#lx is lost", to);
	if (!page->migration) {
		page->next = applied->removed;
		applied->removed = page;
	}
}

/* Old and new place never overlap: mremap() refuses that. */
static void move_entries(struct mm_struct *mm, const struct source_event *event,
			 struct applied_event *applied)
{
	struct page *page;

	pthread_mutex_lock(&mm->pt_lock);
	while ((page = gpusvm_devpt_next(&mm->pt, event->start, event->end)))
		move_entry(mm, page, page->vaddr - event->start + event->to,
			   applied);
	pthread_mutex_unlock(&mm->pt_lock);
}

/* What the source keeps from the CPU follows the table. */
static void unguard(struct mm_struct *mm, const struct source_event *event)
{
	struct source *source = mm->source;

	if (!source->ops->guard)
		return;
	if (event->type == SOURCE_REMOVE)
		source->ops->release(source, event->start, event->end);
	else
		source->ops->forget(source, event->start, event->end);
}

void gpusvm_event_apply(struct mm_struct *mm, const struct source_event *event,
			struct applied_event *applied)
{
	bool expected = gpusvm_change_expects(mm, event);
	enum drop_claim claim;

	switch (event->type) {
	case SOURCE_UNMAP:
		describe(applied, mm, event->start, event->end,
			 MMU_NOTIFY_UNMAP);
		unmap_entries(mm, event->start, event->end, applied);
		gpusvm_trap_forget(mm, event->start, event->end);
		unguard(mm, event);
		break;
	case SOURCE_REMOVE:
		describe(applied, mm, event->start, event->end,
			 MMU_NOTIFY_CLEAR);
		claim = gpusvm_drop_claim(mm, event);
		applied->notify = claim != DROP_OURS;
		if (!applied->notify)
			break;
		if (claim == DROP_NOT_OURS)
			remove_entries(mm, event->start, event->end, applied);
		unguard(mm, event);
		if (!expected)
			gpusvm_removal_note(mm, event->start, event->end);
		break;
	case SOURCE_REMAP:
		describe(applied, mm, event->start, event->end,
			 MMU_NOTIFY_UNMAP);
		gpusvm_notifiers_widen(&mm->notifiers, event->to,
				       event->to + (event->end - event->start));
		move_entries(mm, event, applied);
		gpusvm_trap_forget(mm, event->start, event->end);
		gpusvm_change_landed(mm, event->to,
				     event->to + (event->end - event->start));
		break;
	case SOURCE_FORK:
		describe(applied, mm, 0, ~0ul, MMU_NOTIFY_PROTECTION_PAGE);
		applied->notify = !READ_ONCE(mm->forking);
		gpusvm_fork_serve_child(mm, event->child_fd);
		break;
	case SOURCE_FAULT:
		break;
	}
	/* Who announced the change has told everybody. */
	applied->notify &= !expected;
	gpusvm_mm_count(&mm->stats.events, applied->notify);
}

void gpusvm_event_finish(struct mm_struct *mm, struct applied_event *applied)
{
	struct page *page, *next;
	bool started;

	(void)mm;
	started = applied->notify && !gpusvm_notify_start(&applied->range);
	for (page = applied->removed; page; page = next) {
		/* The end of its allocation's migration looks at it, too. */
		next = page->next;
		WRITE_ONCE(page->next, NULL);
		gpusvm_page_put(page);
	}
	if (started)
		gpusvm_notify_end(&applied->range);
}

void gpusvm_event_wait_applied(struct mm_struct *mm)
{
	gpusvm_down_read(&mm->event_lock);
	gpusvm_up_read(&mm->event_lock);
}
