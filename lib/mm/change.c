/* SPDX-License-Identifier: MIT */
/*
 * Announced changes: see change.h.
 *
 * A change that concerns nobody is not put on the list.  It remains inside a
 * section of @calls until it ends, and who subscribes waits for that: so it
 * either was seen, or is over before the first page is mapped for a device.
 */
#include "change.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>

#include "alloc.h"
#include "compiler.h"
#include "events.h"
#include "grace.h"
#include "handler.h"
#include "lockdep.h"
#include "log.h"
#include "migration.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "source.h"
#include "sys.h"

/* How long a migration is waited for; its driver may be stuck. */
#define WAIT_NS (1000ul * 1000 * 1000)
#define NAP_NS (50l * 1000)

/* How long a change may take: to unmap a terabyte takes a while. */
#define PATIENCE_NS (10ul * 1000 * 1000 * 1000)

static struct grace calls = GRACE_INIT;

/*
 * Also before the first address space is opened: other threads may be inside
 * when one forks, and the child would wait for them.
 */
static void fork_child(void)
{
	gpusvm_grace_reset(&calls);
}

__attribute__((constructor(102))) static void start(void)
{
	gpusvm_grace_start();
	pthread_atfork(NULL, NULL, fork_child);
}

void gpusvm_change_subscribed(void)
{
	gpusvm_grace_wait(&calls);
}

void gpusvm_change_forget(struct mm_struct *mm)
{
	if (mm)
		mm->changes = NULL;
}

void gpusvm_change_drain(struct mm_struct *mm)
{
	gpusvm_grace_wait(&calls);
	while (gpusvm_change_is_near(mm, 0, ~0ul))
		gpusvm_sys_nanosleep(NAP_NS);
}

bool gpusvm_change_overlaps(const struct mm_struct *mm, unsigned long start,
			    unsigned long end)
{
	const struct change *change;

	for (change = mm->changes; change; change = change->next)
		if (change->range.start < end && change->range.end > start)
			return true;
	return false;
}

bool gpusvm_change_is_near(struct mm_struct *mm, unsigned long start,
			   unsigned long end)
{
	bool near;

	/* No change is missed that began before the caller had its lock. */
	if (!__atomic_load_n(&mm->changes, __ATOMIC_ACQUIRE))
		return false;
	pthread_mutex_lock(&mm->pt_lock);
	near = gpusvm_change_overlaps(mm, start, end);
	pthread_mutex_unlock(&mm->pt_lock);
	return near;
}

int gpusvm_change_wait(struct mm_struct *mm, unsigned long start,
		       unsigned long end)
{
	unsigned long end_ns = gpusvm_sys_now_ns() + PATIENCE_NS;

	while (gpusvm_change_is_near(mm, start, end)) {
		if (gpusvm_sys_now_ns() >= end_ns)
			return -EBUSY;
		gpusvm_sys_nanosleep(NAP_NS);
	}
	return 0;
}

static bool is_of_kind(const struct change *change,
		       const struct source_event *event)
{
	if (event->type == SOURCE_REMOVE)
		return change->range.event == MMU_NOTIFY_CLEAR;
	return (event->type == SOURCE_UNMAP || event->type == SOURCE_REMAP) &&
	       change->range.event == MMU_NOTIFY_UNMAP;
}

bool gpusvm_change_expects(struct mm_struct *mm,
			   const struct source_event *event)
{
	struct change *change;

	pthread_mutex_lock(&mm->pt_lock);
	for (change = mm->changes; change; change = change->next)
		if (is_of_kind(change, event) &&
		    event->start >= change->range.start &&
		    event->end <= change->range.end)
			break;
	if (change)
		change->told = true;
	pthread_mutex_unlock(&mm->pt_lock);
	return change != NULL;
}

void gpusvm_change_landed(struct mm_struct *mm, unsigned long start,
			  unsigned long end)
{
	struct change *change;

	pthread_mutex_lock(&mm->pt_lock);
	for (change = mm->changes; change; change = change->next)
		if (change->range.start < end && change->range.end > start)
			change->landed = true;
	pthread_mutex_unlock(&mm->pt_lock);
}

static bool has_device_pages(struct mm_struct *mm, unsigned long start,
			     unsigned long end)
{
	bool has;

	if (!READ_ONCE(mm->pt.npages))
		return false;
	pthread_mutex_lock(&mm->pt_lock);
	has = gpusvm_devpt_next(&mm->pt, start, end) != NULL;
	pthread_mutex_unlock(&mm->pt_lock);
	return has;
}

/*
 * The address space, if the interval may matter to it: without a lock.  Inside
 * a section of calls, so that it is not freed meanwhile.
 */
static struct mm_struct *look(unsigned long start, unsigned long end)
{
	struct mm_struct *mm = gpusvm_mm_current();
	unsigned long first, last;

	if (!mm || !gpusvm_mm_alive(mm) || start >= end)
		return NULL;
	gpusvm_notifiers_bounds(&mm->notifiers, &first, &last);
	return start < last && end > first ? mm : NULL;
}

/* The same with locks, hence with signals blocked. */
static bool concerns(struct mm_struct *mm, unsigned long start,
		     unsigned long end)
{
	return gpusvm_notifiers_concern(&mm->notifiers, start, end) ||
	       has_device_pages(mm, start, end);
}

/* Put the change on the list: nothing of it migrates to a device from now on */
static struct change *announce(struct mm_struct *mm,
			       enum mmu_notifier_event event,
			       unsigned long start, unsigned long end)
{
	struct change *change = gpusvm_alloc(sizeof(*change));

	if (!change)
		return NULL;
	change->range = (struct mmu_notifier_range){
		.mm = mm,
		.start = start,
		.end = end,
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
		.event = event,
	};
	pthread_mutex_lock(&mm->pt_lock);
	change->next = mm->changes;
	__atomic_store_n(&mm->changes, change, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&mm->pt_lock);
	return change;
}

static bool is_migrating(struct mm_struct *mm, unsigned long start,
			 unsigned long end)
{
	struct page *page;
	bool found = false;

	if (!READ_ONCE(mm->pt.npages))
		return false;
	pthread_mutex_lock(&mm->pt_lock);
	while (!found && (page = gpusvm_devpt_next(&mm->pt, start, end))) {
		found = page->migration && page->migration->to_device;
		start = page->vaddr + PAGE_SIZE;
	}
	pthread_mutex_unlock(&mm->pt_lock);
	return found;
}

static void wait_for_migrations(const struct change *change)
{
	const struct mmu_notifier_range *range = &change->range;
	unsigned long end_ns = gpusvm_sys_now_ns() + WAIT_NS;

	while (is_migrating(range->mm, range->start, range->end)) {
		if (gpusvm_sys_now_ns() >= end_ns) {
			log_warning("change of %#lx-%#lx: a migration to a "
				    "device does not end",
				    range->start, range->end);
			return;
		}
		gpusvm_sys_nanosleep(NAP_NS);
	}
}

/*
 * Who puts a page somewhere holds event_lock and looks here before, so when
 * this is done either the page is there or it waits.
 */
static void close_change(struct change *change)
{
	struct mm_struct *mm = change->range.mm;

	gpusvm_down_write(&mm->event_lock);
	pthread_mutex_lock(&mm->pt_lock);
	change->closed = true;
	pthread_mutex_unlock(&mm->pt_lock);
	gpusvm_up_write(&mm->event_lock);
}

bool gpusvm_change_is_closed(struct mm_struct *mm, unsigned long start,
			     unsigned long end)
{
	const struct change *change;
	bool closed = false;

	if (!mm->source->ops->guard)
		return false;
	pthread_mutex_lock(&mm->pt_lock);
	for (change = mm->changes; change; change = change->next)
		closed |= change->closed && change->range.start < end &&
			  change->range.end > start;
	pthread_mutex_unlock(&mm->pt_lock);
	return closed;
}

static void begin(struct gpusvm_change *change, enum mmu_notifier_event event,
		  const void *addr, size_t size)
{
	unsigned long start = (unsigned long)addr & PAGE_MASK;
	unsigned long end =
		size ? ALIGN_UP((unsigned long)addr + size, PAGE_SIZE) : start;
	struct change *announced = NULL;
	struct mm_struct *mm;
	unsigned long mask;
	int saved;

	change->priv = NULL;
	change->section = gpusvm_grace_enter(&calls);
	mm = look(start, end);
	if (!mm)
		return;
	/* The caller's, whatever callbacks do to it. */
	saved = gpusvm_sys_save_error();
	/* A handler that came upon a lock of ours could wait for itself. */
	gpusvm_sys_block_signals(&mask);
	if (concerns(mm, start, end))
		announced = announce(mm, event, start, end);
	if (announced) {
		gpusvm_grace_leave(&calls, change->section);
		wait_for_migrations(announced);
		gpusvm_notify_start(&announced->range);
		gpusvm_mm_count(&mm->stats.events, 1);
	}
	change->priv = announced;
	gpusvm_sys_restore_signals(&mask);
	gpusvm_sys_restore_error(saved);
}

struct mm_struct *gpusvm_change_begin_none(struct gpusvm_change *none)
{
	struct mm_struct *mm;

	begin(none, MMU_NOTIFY_CLEAR, NULL, 0);
	mm = gpusvm_mm_current();
	return mm && gpusvm_mm_alive(mm) ? mm : NULL;
}

static bool guards(const struct gpusvm_change *change)
{
	const struct change *announced = change->priv;

	return announced && announced->range.mm->source->ops->guard;
}

/*
 * Who touches a page waits, too; a signal handler would do so on the thread
 * that is to end the change.
 */
void gpusvm_change_close(const struct gpusvm_change *change)
{
	struct change *announced = change->priv;

	if (!guards(change))
		return;
	gpusvm_sys_block_signals(&announced->mask);
	announced->quiet = true;
	close_change(announced);
}

/*
 * The caller may touch the memory before he changes it, as free() does: what is
 * on a device comes home while it can, and nothing goes there again.
 */
void gpusvm_change_begin(struct gpusvm_change *change,
			 enum mmu_notifier_event event, const void *addr,
			 size_t size)
{
	unsigned long mask;
	int err, saved;

	begin(change, event, addr, size);
	if (event > MMU_NOTIFY_CLEAR || !guards(change))
		return;
	saved = gpusvm_sys_save_error();
	err = gpusvm_populate(addr, size);
	gpusvm_sys_restore_error(saved);
	if (!err)
		return;
	log_warning("change of %p: what could not come home waits for its end",
		    addr);
	gpusvm_sys_block_signals(&mask);
	close_change(change->priv);
	gpusvm_sys_restore_signals(&mask);
}

void gpusvm_change_begin_call(struct gpusvm_change *change,
			      enum mmu_notifier_event event, const void *addr,
			      size_t size)
{
	begin(change, event, addr, size);
	if (event <= MMU_NOTIFY_CLEAR)
		gpusvm_change_close(change);
}

void gpusvm_change_begin_move(struct gpusvm_change *change, unsigned long addr,
			      size_t size)
{
	begin(change, MMU_NOTIFY_UNMAP, (void *)addr, size);
}

bool gpusvm_change_was_told(const struct gpusvm_change *change)
{
	const struct change *announced = change->priv;
	unsigned long mask;
	struct mm_struct *mm;
	bool told;

	if (!announced)
		return false;
	/* What was read before the caller's system call returned is applied. */
	mm = announced->range.mm;
	gpusvm_sys_block_signals(&mask);
	gpusvm_down_read(&mm->event_lock);
	pthread_mutex_lock(&mm->pt_lock);
	told = announced->told;
	pthread_mutex_unlock(&mm->pt_lock);
	gpusvm_up_read(&mm->event_lock);
	gpusvm_sys_restore_signals(&mask);
	return told;
}

void gpusvm_change_tell_again(const struct gpusvm_change *change)
{
	const struct change *announced = change->priv;
	unsigned long mask;
	int saved;

	if (!announced)
		return;
	saved = gpusvm_sys_save_error();
	gpusvm_sys_block_signals(&mask);
	if (!gpusvm_notify_start(&announced->range))
		gpusvm_notify_end(&announced->range);
	gpusvm_sys_restore_signals(&mask);
	gpusvm_sys_restore_error(saved);
}

/* Do to the table what the source did not tell of. */
static void apply(const struct change *change, const struct source_event *event)
{
	struct mm_struct *mm = change->range.mm;
	struct applied_event applied;
	unsigned int epoch = 0;
	bool apply_it;

	if (!READ_ONCE(mm->pt.npages))
		return;
	gpusvm_down_write(&mm->event_lock);
	apply_it = event->type == SOURCE_REMAP || !change->landed;
	if (apply_it) {
		gpusvm_event_apply(mm, event, &applied);
		epoch = gpusvm_handler_count(mm);
	}
	gpusvm_up_write(&mm->event_lock);
	if (apply_it)
		gpusvm_handler_finish(mm, &applied, epoch);
}

/* Who is at its event is to find the change, or that is told a second time. */
static void retract(struct change *change)
{
	struct mm_struct *mm = change->range.mm;
	struct change **link = &mm->changes;

	gpusvm_event_wait_applied(mm);
	pthread_mutex_lock(&mm->pt_lock);
	while (*link != change)
		link = &(*link)->next;
	__atomic_store_n(link, change->next, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&mm->migrated);
	pthread_mutex_unlock(&mm->pt_lock);
	gpusvm_free(change);
}

/* @event is NULL if the table does not change. */
static void end_change(struct gpusvm_change *change,
		       const struct source_event *event)
{
	struct change *announced = change->priv;
	unsigned long mask;
	int saved;

	if (!announced) {
		gpusvm_grace_leave(&calls, change->section);
		return;
	}
	saved = gpusvm_sys_save_error();
	gpusvm_sys_block_signals(&mask);
	if (announced->quiet)
		mask = announced->mask;
	if (announced->range.mm->pid != gpusvm_sys_getpid()) {
		/* A signal handler forked: its child has no such change. */
		gpusvm_free(announced);
	} else {
		if (event)
			apply(announced, event);
		gpusvm_notify_end(&announced->range);
		retract(announced);
	}
	gpusvm_sys_restore_signals(&mask);
	gpusvm_sys_restore_error(saved);
}

void gpusvm_change_end(struct gpusvm_change *change, bool done)
{
	const struct change *announced = change->priv;
	struct source_event event = { .type = SOURCE_UNMAP };

	if (!announced || !done || announced->range.event > MMU_NOTIFY_CLEAR) {
		end_change(change, NULL);
		return;
	}
	/* Of madvise() the source tells for each mapping, or for some. */
	if (announced->range.event == MMU_NOTIFY_CLEAR)
		event.type = SOURCE_REMOVE;
	event.start = announced->range.start;
	event.end = announced->range.end;
	end_change(change,
		   event.type == SOURCE_UNMAP && gpusvm_change_was_told(change)
			   ? NULL
			   : &event);
}

void gpusvm_change_end_moved(struct gpusvm_change *change, unsigned long to)
{
	const struct change *announced = change->priv;
	struct source_event event = { .type = SOURCE_REMAP, .to = to };

	if (!announced || gpusvm_change_was_told(change)) {
		end_change(change, NULL);
		return;
	}
	event.start = announced->range.start;
	event.end = announced->range.end;
	end_change(change, &event);
}
