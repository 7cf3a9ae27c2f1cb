/* SPDX-License-Identifier: MIT */
/*
 * The mirrored address space of the process.
 *
 * Locks, outer to inner:
 *	mmap_lock	callers of migrations hold it for reading; fork and
 *			close for writing
 *	(the lock of one allocation, in drm/)
 *	event_lock	held for writing to read events from the source and apply
 *			them to the device page table, for reading to do what
 *			must not be overtaken by an event
 *	pt_lock		the device page table
 * Callbacks run with none of the last two held, but for copy_to_ram for the child
 * of a bare clone(): with event_lock.
 */
#ifndef GPUSVM_MM_MM_H
#define GPUSVM_MM_MM_H

#include <gpusvm/gpusvm.h>
#include <pthread.h>

#include "devpt.h"
#include "drop.h"
#include "interval_notifier.h"
#include "removal.h"
#include "staging.h"
#include "trap.h"
#include "under_way.h"
#include "watchdog.h"

struct change;
struct handler;
struct source;

/* Pages copied to a child at a time. */
#define FORK_BATCH 16

/**
 * struct mm_struct - The address space
 * @count: References to the structure: one for its users, one per gpusvm
 * @allocations: Allocations with pages, or being moved; atomic
 * @pid: The process; a forked child has a copy of another one's
 * @users: Calls of gpusvm_mm_open() not undone; 0 once it is closed, and in a
 *	forked child; atomic
 * @mmap_lock: See above
 * @alive_lock: Held for reading by what must not run into the end of it
 * @event_lock: See above
 * @pt_lock: Protects @pt, and vaddr and migration of its pages
 * @pt: Which device page stands where
 * @migrated: Signalled under @pt_lock when a migration to the device ends, or
 *	leaves @under_way
 * @drop_lock: Held by the one thread that drops CPU copies of pages
 * @drop: What it is doing; under @event_lock for writing
 * @changes: Those that were announced and go on; under @pt_lock
 * @removals: The last of them, a ring; under @event_lock
 * @next_removal: Where the next one goes
 * @forking: Between the handlers of pthread_atfork(): who subscribes knows
 * @fork_buffer: Private memory for FORK_BATCH pages on their way to a child
 * @wake_end: End of the addresses that the source accepts
 * @source: Where faults and events come from
 * @features: GPUSVM_FEATURE_*
 * @several_nodes: The machine has several NUMA nodes with memory
 * @splits_huge_zero: Huge zero pages are moved in pieces (huge_zero.h)
 * @technique: The technique to start with
 * @maps_fd: /proc/self/maps
 * @pagemap_fd: /proc/self/pagemap
 * @notifiers: Who is told of changes
 * @staging: System memory on its way
 * @traps: What of the memory is trapped
 * @handler: The threads that serve
 * @under_way: Migrations that go on after the call that started them
 * @cpu_fault_bytes: How much comes home with a page, at most; 0 for all
 * @watchdog: Faults that are not served
 * @stats: Counters; atomic
 */
struct mm_struct {
	struct kref count;
	unsigned long allocations;
	pid_t pid;
	int users;
	struct rw_semaphore mmap_lock;
	struct rw_semaphore alive_lock;
	struct rw_semaphore event_lock;
	pthread_mutex_t pt_lock;
	struct devpt pt;
	pthread_cond_t migrated;
	pthread_mutex_t drop_lock;
	struct drop drop;
	struct change *changes;
	struct removal removals[REMOVALS];
	unsigned int next_removal;
	bool forking;
	unsigned long fork_buffer;
	unsigned long wake_end;
	struct source *source;
	unsigned long features;
	bool several_nodes;
	bool splits_huge_zero;
	enum gpusvm_technique technique;
	int maps_fd;
	int pagemap_fd;
	struct interval_notifiers notifiers;
	struct staging staging;
	struct traps traps;
	struct handler *handler;
	struct under_way_list under_way;
	unsigned long cpu_fault_bytes;
	struct watchdog watchdog;
	struct gpusvm_stats stats;
};

/* A reference to the structure; the address space may be closed all the same */
void gpusvm_mm_grab(struct mm_struct *mm);
void gpusvm_mm_drop(struct mm_struct *mm);

/* Whether it is open, and is this process's. */
bool gpusvm_mm_alive(const struct mm_struct *mm);

/*
 * Keep it open for a while, from a thread that may or may not hold mmap_lock.
 * False if it is closed.
 */
bool gpusvm_mm_pin(struct mm_struct *mm);
void gpusvm_mm_unpin(struct mm_struct *mm);

/* gpusvm_mm_sync() by a thread that has it pinned. */
void gpusvm_mm_sync_pinned(struct mm_struct *mm);

static inline void gpusvm_mm_count(__u64 *counter, unsigned long n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

/*
 * From now on changes of [start, end) raise events, if this kind of memory can
 * (files on disk cannot).
 */
void gpusvm_mm_watch(struct mm_struct *mm, unsigned long start,
		     unsigned long end);

/* Let every thread that waits for a fault touch its page again. */
void gpusvm_mm_wake_all(struct mm_struct *mm);

/*
 * Bring the device page at @addr home, by @flags (GPUSVM_FAULT_*) waiting for its
 * timeslice or not, and for whoever migrates it, up to @deadline_ns.
 * 0 also if there is none; -EFAULT if it cannot be had; -EBUSY.
 */
int gpusvm_mm_bring_home(struct mm_struct *mm, unsigned long addr,
			 unsigned int flags, unsigned long deadline_ns);

/*
 * Go on to the first private device page in [*addr, end), or with @coherent to the
 * first of any kind; false if there is none.
 */
bool gpusvm_mm_next_device_page(struct mm_struct *mm, unsigned long *addr,
				unsigned long end, bool coherent);

/*
 * Bring everything home, giving up on a page after a second without progress.
 * 0, or the last error.  Coherent pages that cannot move are let go where they
 * are.
 */
int gpusvm_mm_bring_all_home(struct mm_struct *mm);

/* fork.c: see there; called once. */
int gpusvm_fork_register(void);

/*
 * The address space of this process, or NULL.  Who does not keep it open
 * himself is in a section that gpusvm_change_drain() waits for, or has it
 * locked.
 */
struct mm_struct *gpusvm_mm_current(void);

/*
 * For fork.c: the same, locked against open and close; and in a child, after
 * which it has none and may open its own.
 */
struct mm_struct *gpusvm_mm_current_lock(void);
void gpusvm_mm_current_unlock(void);
void gpusvm_mm_current_forget(void);

#endif /* GPUSVM_MM_MM_H */
