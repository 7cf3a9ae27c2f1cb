/* SPDX-License-Identifier: MIT */
/*
 * Moving the pages of one device memory allocation to the device and home.
 *
 * To the device:
 *	gpusvm_migrate_out_begin()	the CPU cannot reach the pages any more
 *	   the caller copies ram[] -> pages[]
 *	gpusvm_migrate_out_commit()	they are the device's; or _abort()
 * Home:
 *	gpusvm_migrate_home_begin()	says which pages can come
 *	   the caller copies pages[] -> ram[]
 *	gpusvm_migrate_home_commit()	they are the CPU's; or _abort()
 *
 * With coherent device memory there is nothing to copy: the kernel moves the pages
 * where they are, in _out_begin() and _home_commit() (in_place.h).
 *
 * A CPU that touches a page in between waits.  Whatever happens to the mapping
 * in between (munmap, mremap, madvise) happens to the pages' entries in the
 * device page table, and commit and abort follow the entries.
 *
 * The caller keeps migrations of one allocation apart by a lock, brackets each
 * by an invalidation event, and after it released the lock lets those go on who
 * met the lock or the migration: see @met.
 */
#ifndef GPUSVM_MM_MIGRATION_H
#define GPUSVM_MM_MIGRATION_H

#include <gpusvm/gpusvm.h>

#include "page_size.h"
#include "staging.h"
#include "under_way.h"

struct gpusvm_fence;
struct page;

/**
 * struct migration - How an allocation moves; lives as long as it does
 * @mm: The address space
 * @next: While it is taken from the CPU: what is taken with it, as one, and
 *	lies right behind it; or NULL
 * @npages: Pages of the allocation
 * @pages: Its device pages
 * @ram: For each page, while it moves, the address of its data in system
 *	memory; 0 for a page that has none or does not move.  In place: on the
 *	way out the node that it was on, on the way home its address
 * @run: Its staging memory
 * @technique: How the pages were taken from the CPU
 * @nodes: Those of coherent device memory, a bit for each; 0 if it is private.
 *	Set by the caller with @pages, which have one pagemap
 * @let_go: On the way home: coherent pages that cannot be moved become the
 *	program's where they are
 * @to_device: The direction in which it moves
 * @keep_pages: Pages that leave it are not to be put: it may be tried again
 * @hold_removals: Removals by the program are noted in its pages, and made at
 *	its end; under pt_lock
 * @dropping: The CPU's copies are being dropped, or were
 * @start: Where the pages were taken from
 * @tid: Who takes them; 0 when that is over: under pt_lock
 * @fence: What the copy under way completes by, or NULL; written by the thread
 *	that runs the migration, under pt_lock
 * @under_way: While it goes on after the call that started it
 * @copying: They are being copied from where they are; under pt_lock
 * @disturbed: A page was not there any more; under pt_lock
 * @met: A CPU fault met the migration, or the lock, and waits; atomic
 * @woken: First address of what was installed last, by a call that wakes who
 *	waits there
 * @woken_end: and end
 */
struct migration {
	struct mm_struct *mm;
	struct migration *next;
	unsigned long npages;
	struct page **pages;
	unsigned long *ram;
	struct staging_run *run;
	enum gpusvm_technique technique;
	unsigned long nodes;
	bool let_go;
	bool to_device;
	bool keep_pages;
	bool hold_removals;
	bool dropping;
	unsigned long start;
	pid_t tid;
	struct gpusvm_fence *fence;
	struct under_way under_way;
	bool copying;
	bool disturbed;
	bool met;
	unsigned long woken;
	unsigned long woken_end;
};

/* Whether the kernel moves the pages where they are: see in_place.h. */
static inline bool gpusvm_migration_in_place(const struct migration *m)
{
	return m->nodes != 0;
}

/* The end, exclusive, of where the pages were taken from. */
static inline unsigned long gpusvm_migration_limit(const struct migration *m)
{
	return m->start + (m->npages << PAGE_SHIFT);
}

/*
 * Both count as an allocation that keeps the address space from closing.
 *
 * Set up for @npages pages, with all memory that any migration of the
 * allocation will need; the caller fills @pages.  -ENOMEM.
 */
int gpusvm_migration_init(struct migration *m, struct mm_struct *mm,
			  unsigned long npages);
void gpusvm_migration_fini(struct migration *m);

/*
 * Take the memory at @start from the CPU, for pages that were set up with
 * gpusvm_page_init(); they belong to the table now or, on failure, were put.
 * -EFAULT everything is on a device already; -EBUSY some is, or is pinned, or
 * the mapping changed; -ENOMEM.
 */
int gpusvm_migrate_out_begin(struct migration *m, unsigned long start);

/* @m, and those that are taken with it. */
#define for_each_taken_with(each, m) \
	for ((each) = (m); (each); (each) = (each)->next)

/*
 * The same for @m and what is taken with it (@next), all or nothing: false if
 * anything is in the way, and then nothing has changed, their pages neither.
 * The other steps are of each by itself.
 */
bool gpusvm_migrate_out_begin_all(struct migration *m, unsigned long start);

/*
 * The copy of @m completes by @fence: until then nothing is to be ended.
 * -EBUSY if it does by another one.
 */
int gpusvm_migration_set_fence(struct migration *m, struct gpusvm_fence *fence);

/*
 * The callback that copies has returned @err: wait for its fence, if it gave
 * one.  Returns how the copy ended.
 */
int gpusvm_migration_wait_copied(struct migration *m, int err);

/* On failure _abort() is still to be called. */
int gpusvm_migrate_out_commit(struct migration *m);

/* Give the memory back and drop the pages. */
void gpusvm_migrate_out_abort(struct migration *m);

/*
 * Choose the pages whose entry is in [start, end) and that nobody holds.
 * Returns their number; with 0 and with -ENOMEM there is nothing to end.
 */
long gpusvm_migrate_home_begin(struct migration *m, unsigned long start,
			       unsigned long end);

/*
 * Returns how many came; the others stay, or were unmapped meanwhile.  -ENOMEM
 * if none came for lack of memory.
 */
long gpusvm_migrate_home_commit(struct migration *m);
void gpusvm_migrate_home_abort(struct migration *m);

/*
 * Shared by both directions (migrate_install.c): put the pages with an address
 * in ram[] where their entries say, and drop them.  Returns as _home_commit().
 */
long gpusvm_migrate_install(struct migration *m);

/*
 * The last step of every migration: pages left in it are settled or, if their
 * entry has gone, dropped.
 */
void gpusvm_migrate_end(struct migration *m);

#endif /* GPUSVM_MM_MIGRATION_H */
