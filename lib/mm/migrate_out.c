/* SPDX-License-Identifier: MIT */
/*
 * From the CPU to the device; migration.h tells the steps.
 *
 * The entries are put in the device page table before the pages are taken, as
 * the kernel puts migration entries in page tables: a CPU fault that finds one
 * waits, an event that hits one is remembered.
 */
#include "migration.h"

#include <errno.h>
#include <sys/mman.h>

#include "change.h"
#include "compiler.h"
#include "handler.h"
#include "in_place.h"
#include "isolate.h"
#include "mm.h"
#include "nofault.h"
#include "page.h"
#include "page_size.h"
#include "populate.h"
#include "removal.h"
#include "scan.h"
#include "source.h"
#include "sys.h"
#include "threads.h"

/* How often changes elsewhere may get in the way of write-protection. */
#define PROTECT_ATTEMPTS 1000

/*
 * How long to wait, in all, for what is in the way; of several each is tried
 * alone afterwards, and only one of them may have to wait.
 */
#define PATIENCE_NS (1000ul * 1000 * 1000)
#define PATIENCE_TOGETHER_NS (1000ul * 1000)

/* How long the CPU may be kept from busy pages at a time, and how often. */
#define HELD_NS (5ul * 1000 * 1000)
#define HELD_ATTEMPTS 4

/* How long to wait, without looking, for another migration of the memory. */
#define WAIT_NS (1000ul * 1000)

/* The end of what is taken with @m, which lies behind it. */
static unsigned long end_of_all(const struct migration *m)
{
	while (m->next)
		m = m->next;
	return gpusvm_migration_limit(m);
}

/*
 * 0 if nothing of the range is on a device; -EFAULT if all is, -EBUSY if some;
 * -EAGAIN if some is on its way, or the mapping is changing.
 */
static int check_entries(const struct migration *m)
{
	unsigned long addr, n = 0;
	struct page *page;

	if (gpusvm_change_overlaps(m->mm, m->start, gpusvm_migration_limit(m)))
		return -EAGAIN;
	if (!gpusvm_devpt_next(&m->mm->pt, m->start, gpusvm_migration_limit(m)))
		return 0;
	for (addr = m->start; addr < gpusvm_migration_limit(m);
	     addr += PAGE_SIZE) {
		page = gpusvm_devpt_get(&m->mm->pt, addr);
		if (page && page->migration)
			return -EAGAIN;
		n += page != NULL;
	}
	return n == m->npages ? -EFAULT : -EBUSY;
}

static void clear_entries(struct migration *m)
{
	struct mm_struct *mm = m->mm;
	struct migration *each;
	struct page *page;
	unsigned long i;

	pthread_mutex_lock(&mm->pt_lock);
	for_each_taken_with(each, m) {
		for (i = 0; i < each->npages; i++) {
			page = each->pages[i];
			if (page->vaddr)
				gpusvm_devpt_clear(&mm->pt, page->vaddr);
			page->migration = NULL;
			page->removed = false;
		}
	}
	pthread_mutex_unlock(&mm->pt_lock);
}

/* pt_lock is held. */
static int set_entries_of_one(struct migration *m)
{
	int err = check_entries(m);
	unsigned long i;

	for (i = 0; i < m->npages && !err; i++)
		m->pages[i]->migration = m;
	return err ? err
		   : gpusvm_devpt_set_run(&m->mm->pt, m->start, m->pages,
					  m->npages);
}

static int set_entries(struct migration *m)
{
	struct mm_struct *mm = m->mm;
	struct migration *each;
	int err = 0;

	pthread_mutex_lock(&mm->pt_lock);
	for_each_taken_with(each, m) {
		err = set_entries_of_one(each);
		if (err)
			break;
	}
	pthread_mutex_unlock(&mm->pt_lock);
	if (err)
		clear_entries(m);
	return err;
}

/*
 * The CPU goes on as soon as its page is home, while the last entries of that
 * migration are still being cleared.
 */
static void wait_for_migration(struct mm_struct *mm)
{
	unsigned long at_ns = gpusvm_sys_now_ns() + WAIT_NS;
	struct timespec at = {
		.tv_sec = (time_t)(at_ns / 1000000000),
		.tv_nsec = (long)(at_ns % 1000000000),
	};

	pthread_mutex_lock(&mm->pt_lock);
	pthread_cond_timedwait(&mm->migrated, &mm->pt_lock, &at);
	pthread_mutex_unlock(&mm->pt_lock);
}

/* What is in the way, and passes. */
enum obstacle {
	MIGRATION,
	EVENT,
	REMOVAL
};

/* -EAGAIN if there is an obstacle; event_lock is held for reading. */
static int try_to_enter(struct migration *m, enum obstacle *obstacle)
{
	struct source *source = m->mm->source;
	unsigned long end = end_of_all(m);
	int err = 0;

	if (gpusvm_migration_in_place(m))
		gpusvm_mm_watch(m->mm, m->start, end);
	else
		err = gpusvm_trap(m->mm, m->start, end);
	if (err)
		return err == -ENOMEM ? -ENOMEM : -EBUSY;
	*obstacle = MIGRATION;
	err = set_entries(m);
	if (err)
		return err;
	*obstacle = EVENT;
	if (!source->ops->settled(source)) {
		*obstacle = REMOVAL;
		if (!gpusvm_removal_pending(m->mm, m->start, end))
			return 0;
	}
	clear_entries(m);
	return -EAGAIN;
}

/*
 * Trap the range and enter its pages at a moment at which no change of the
 * mapping is under way: every later change then raises an event for what is
 * mapped there now.  Returns with event_lock held for reading, unless it fails.
 */
static int enter(struct migration *m)
{
	unsigned long end_ns = gpusvm_sys_now_ns() +
			       (m->next ? PATIENCE_TOGETHER_NS : PATIENCE_NS);
	struct mm_struct *mm = m->mm;
	enum obstacle obstacle;
	unsigned int events = 0;
	int err;

	do {
		gpusvm_down_read(&mm->event_lock);
		err = try_to_enter(m, &obstacle);
		if (!err)
			return 0;
		gpusvm_up_read(&mm->event_lock);
		if (err != -EAGAIN)
			return err;
		if (obstacle == EVENT)
			gpusvm_handler_settle(mm, events++);
		else if (obstacle == MIGRATION)
			wait_for_migration(mm);
		else
			gpusvm_removal_wait(mm, m->start, end_of_all(m));
	} while (gpusvm_sys_now_ns() < end_ns);
	return -EBUSY;
}

/*
 * Whether no page was moved elsewhere while its data was taken: mremap() may
 * have come first, and what was taken then was the emptied place.
 */
static bool stayed(struct migration *m)
{
	struct mm_struct *mm = m->mm;
	const struct migration *each;
	unsigned long i, vaddr;
	bool moved = false;

	gpusvm_handler_wait_settled(mm);
	pthread_mutex_lock(&mm->pt_lock);
	for_each_taken_with(each, m) {
		for (i = 0; i < each->npages && !moved; i++) {
			vaddr = each->pages[i]->vaddr;
			moved = vaddr &&
				vaddr != each->start + (i << PAGE_SHIFT);
		}
	}
	pthread_mutex_unlock(&mm->pt_lock);
	return !moved;
}

/*
 * @held: Nobody may touch the pages until they are taken, so that who does I/O
 * with them comes to an end.  What cannot be protected is not waited for less.
 * @busy: Set to whether -EBUSY is about the pages, and not what kept from trying
 */
static int take_by_move(struct migration *m, bool held, bool *busy)
{
	unsigned long until_ns = 0;
	struct migration *each;
	int err;

	*busy = false;
	for_each_taken_with(each, m) {
		each->technique = GPUSVM_TECHNIQUE_MOVE;
		gpusvm_staging_get_empty(m->mm, &each->run);
	}
	err = enter(m);
	if (err)
		return err;
	if (held) {
		gpusvm_isolate_protect(m);
		until_ns = gpusvm_sys_now_ns() + HELD_NS;
	}
	err = gpusvm_isolate_move(m, until_ns);
	*busy = err == -EBUSY;
	gpusvm_up_read(&m->mm->event_lock);
	gpusvm_isolate_moved(m);
	if (!err && !stayed(m))
		err = -EBUSY;
	if (!err)
		return 0;
	for_each_taken_with(each, m)
		gpusvm_migrate_install(each);
	/* As long as the entries keep other migrations away. */
	if (held)
		gpusvm_isolate_unprotect(m);
	clear_entries(m);
	for_each_taken_with(each, m)
		gpusvm_staging_put(m->mm, each->run);
	return err;
}

static int take_by_protect(struct migration *m)
{
	unsigned int attempt = 0;
	int err;

	m->technique = GPUSVM_TECHNIQUE_WRITE_PROTECT;
	do {
		err = enter(m);
		if (err)
			return err;
		err = gpusvm_isolate_protect(m);
		gpusvm_up_read(&m->mm->event_lock);
		if (!err)
			err = gpusvm_isolate_copy(m);
		if (err) {
			/*
			 * In this order: without the entries another migration
			 * may have protected the pages by then.
			 */
			gpusvm_isolate_unprotect(m);
			clear_entries(m);
		}
	} while (err == -EAGAIN && attempt++ < PROTECT_ATTEMPTS);
	return err == -EAGAIN ? -EBUSY : err;
}

/*
 * Whatever becomes of the mapping on the way, the pages stay in it: the entries
 * just follow.
 */
static int take_in_place(struct migration *m)
{
	int err;

	err = enter(m);
	if (err)
		return err;
	gpusvm_up_read(&m->mm->event_lock);
	err = gpusvm_in_place_out(m);
	if (!err && !stayed(m))
		err = -EBUSY;
	if (err)
		clear_entries(m);
	return err;
}

/*
 * A page that a fork shares does not move.  Writing to it would end that; this
 * is how to do so without changing it.  Pages that stay busy are pinned.
 */
static void unshare_pages(struct migration *m)
{
	unsigned char state[512];
	unsigned long i, first, n, addr;

	for (first = 0; first < m->npages; first += n) {
		n = min(m->npages - first, (unsigned long)sizeof(state));
		addr = m->start + (first << PAGE_SHIFT);
		if (gpusvm_scan_pages(m->mm, addr, n, state))
			return;
		for (i = 0; i < n; i++)
			if (state[i] && !(state[i] & PAGE_IS_PFNZERO))
				gpusvm_populate_pages(addr + (i << PAGE_SHIFT),
						      PAGE_SIZE, true);
	}
}

/*
 * Pages that somebody has pinned whenever one looks.  A thread may have pinned
 * some and wait for others, so it must get through now and then.
 */
static int take_held(struct migration *m)
{
	unsigned int attempt;
	bool busy = true;
	int err = -EBUSY;

	for (attempt = 0; attempt < HELD_ATTEMPTS && busy; attempt++)
		err = take_by_move(m, true, &busy);
	return err;
}

/* Also of all that are taken with @m, as one. */
static int take_moving(struct migration *m)
{
	struct migration *each;
	bool busy;
	int err;

	err = take_by_move(m, false, &busy);
	if (busy) {
		for_each_taken_with(each, m)
			unshare_pages(each);
		err = take_by_move(m, false, &busy);
	}
	/* Of several each is tried alone after this. */
	if (busy && !m->next && (m->mm->features & GPUSVM_FEATURE_RWP))
		err = take_held(m);
	return err;
}

static bool is_inside(const struct migration *m, unsigned long addr)
{
	return addr >= m->start && addr < gpusvm_migration_limit(m);
}

/*
 * The calling thread cannot go on without its stack and, behind pthread_self(),
 * its thread-local storage.
 */
static bool is_needed(const struct migration *m)
{
	return is_inside(m, (unsigned long)__builtin_frame_address(0)) ||
	       is_inside(m, (unsigned long)pthread_self()) ||
	       is_inside(m, (unsigned long)&gpusvm_nofault);
}

/* Of one that nothing is taken with. */
static int take(struct migration *m)
{
	int err = -EOPNOTSUPP;

	/* In place it stays within reach. */
	if (gpusvm_migration_in_place(m))
		return take_in_place(m);
	if (is_needed(m))
		return -EBUSY;
	if (m->mm->technique == GPUSVM_TECHNIQUE_MOVE)
		err = take_moving(m);
	if (err != -EOPNOTSUPP)
		return err;
	/* Who keeps pages from everybody cannot copy them himself. */
	return m->mm->features & GPUSVM_FEATURE_RWP ? -EBUSY
						    : take_by_protect(m);
}

static void prepare(struct migration *m, unsigned long start)
{
	m->start = start;
	m->tid = gpusvm_threads_self();
	m->to_device = true;
	m->keep_pages = true;
}

int gpusvm_migrate_out_begin(struct migration *m, unsigned long start)
{
	int err;

	prepare(m, start);
	err = take(m);
	m->keep_pages = false;
	if (!err)
		return 0;
	gpusvm_migrate_end(m);
	gpusvm_pages_put(m->pages, m->npages);
	return err;
}

/*
 * Moving to staging only: who guards does so in pieces of his own,
 * write-protection drops pages range by range, and pages that move in place are
 * the kernel's work.
 */
bool gpusvm_migrate_out_begin_all(struct migration *m, unsigned long start)
{
	const struct mm_struct *mm = m->mm;
	struct migration *each;
	bool alone = false;
	int err;

	if (mm->technique != GPUSVM_TECHNIQUE_MOVE || mm->source->ops->guard)
		return false;
	for_each_taken_with(each, m) {
		prepare(each, start);
		start = gpusvm_migration_limit(each);
		alone |= is_needed(each) || gpusvm_migration_in_place(each);
	}
	err = alone ? -EBUSY : take_moving(m);
	for_each_taken_with(each, m) {
		each->keep_pages = false;
		if (err)
			gpusvm_migrate_end(each);
	}
	return !err;
}

int gpusvm_migrate_out_commit(struct migration *m)
{
	struct gpusvm_stats *stats = &m->mm->stats;
	bool moved = m->technique == GPUSVM_TECHNIQUE_MOVE;
	bool in_place = gpusvm_migration_in_place(m);
	__u64 *how = moved ? &stats->moved : &stats->write_protected;
	unsigned long i;
	int err = 0;

	if (!in_place && !moved && (gpusvm_drop_pages(m) || !stayed(m)))
		err = -EBUSY;
	if (err)
		return err;
	/*
	 * The end first: until then a child of a bare clone() gets what is in
	 * the run (copy_moving_page()).
	 */
	gpusvm_migrate_end(m);
	for (i = 0; i < m->npages; i++)
		m->ram[i] = 0;
	if (!in_place)
		gpusvm_staging_put(m->mm, m->run);
	gpusvm_mm_count(&stats->migrations_to_devmem, 1);
	gpusvm_mm_count(&stats->bytes_to_devmem, m->npages << PAGE_SHIFT);
	gpusvm_mm_count(in_place ? &stats->in_place : how, 1);
	return 0;
}

/*
 * What the program dropped meanwhile is not to come back.  No call of ours goes
 * on, so from now on each removal is the program's.
 */
static void forget_removed(struct migration *m)
{
	unsigned long i;

	pthread_mutex_lock(&m->mm->pt_lock);
	for (i = 0; i < m->npages; i++)
		if (m->pages[i]->removed)
			m->ram[i] = 0;
	m->hold_removals = false;
	pthread_mutex_unlock(&m->mm->pt_lock);
}

void gpusvm_migrate_out_abort(struct migration *m)
{
	bool moved = m->technique == GPUSVM_TECHNIQUE_MOVE;
	struct page *page;
	unsigned long i;

	forget_removed(m);
	/* As long as the entries keep other migrations away. */
	if (!moved)
		gpusvm_isolate_unprotect(m);
	if (moved || m->dropping)
		gpusvm_migrate_install(m);
	for (i = 0; i < m->npages; i++) {
		page = m->pages[i];
		if (!page)
			continue;
		pthread_mutex_lock(&m->mm->pt_lock);
		if (page->vaddr)
			gpusvm_devpt_clear(&m->mm->pt, page->vaddr);
		page->migration = NULL;
		pthread_mutex_unlock(&m->mm->pt_lock);
		m->pages[i] = NULL;
		gpusvm_page_put(page);
	}
	gpusvm_staging_put(m->mm, m->run);
	gpusvm_migrate_end(m);
}
