/* SPDX-License-Identifier: MIT */
/*
 * Staging: system memory on its way to or from a device.
 *
 * A run is a piece of private address space as long as one allocation.  A
 * migration to the device moves the program's pages into an empty run; when
 * their data is on the device the pages stay there for re-use, since to free
 * and allocate pages costs several times the copy.  A migration home moves the
 * pages of a filled run into the program's mapping.
 *
 * Every allocation that is on a device owns a run of its own, so bringing it
 * home needs no allocation; if that run is empty it is swapped against a
 * filled one of another allocation, or of none.  To give pages back to the
 * kernel means an interrupt on every CPU where the program runs, so a run that
 * is filled when its owner goes stays so until its place is needed.
 *
 * Allocations that are made one after the other get runs that lie one behind the
 * other, where that can be: what moves to them moves by one call.
 */
#ifndef GPUSVM_MM_STAGING_H
#define GPUSVM_MM_STAGING_H

#include <gpusvm/kernel.h>
#include <pthread.h>

#define STAGING_ORDERS 52

/**
 * struct staging_run - Address space for one allocation
 * @link: In a list of the staging memory; in none if it is empty and owned, or
 *	in use
 * @owner: The pointer that owns it, so that it can be swapped; or NULL
 * @addr: First address
 * @behind: The run that was cut right behind it from the same piece, or NULL
 * @order: log2 of its length in pages
 * @nfilled: Pages that are there
 * @filled: Bitmap of these
 */
struct staging_run {
	struct list_head link;
	struct staging_run **owner;
	unsigned long addr;
	struct staging_run *behind;
	unsigned int order;
	unsigned long nfilled;
	unsigned long filled[];
};

/**
 * struct staging_piece - Address space that runs are cut from
 * @next: The next one
 * @addr: First address
 * @size: Bytes
 */
struct staging_piece {
	struct staging_piece *next;
	void *addr;
	unsigned long size;
};

/**
 * struct staging - All runs of an address space
 * @lock: Protects the lists, the owners and @bytes
 * @filled: Idle runs with pages, by order
 * @retired: The same without an owner
 * @unowned: Empty runs without an owner, by order
 * @fresh: Address space not yet cut into runs, by order
 * @cut: The run that was cut last from such, by order
 * @given: The run that was given to an owner last, by order
 * @pieces: All address space that was taken
 * @bytes: Memory in idle filled runs
 * @limit: What @bytes is kept below
 */
struct staging {
	pthread_mutex_t lock;
	struct list_head filled[STAGING_ORDERS];
	struct list_head retired[STAGING_ORDERS];
	struct list_head unowned[STAGING_ORDERS];
	struct {
		unsigned long start;
		unsigned long end;
	} fresh[STAGING_ORDERS];
	struct staging_run *cut[STAGING_ORDERS];
	struct staging_run *given[STAGING_ORDERS];
	struct staging_piece *pieces;
	unsigned long bytes;
	unsigned long limit;
};

void gpusvm_staging_init(struct staging *staging, size_t limit);
/* Give everything back, when no run has an owner any more. */
void gpusvm_staging_release(struct staging *staging);

/* Give *@owner an empty run for @npages pages; idle.  -ENOMEM. */
int gpusvm_staging_create(struct mm_struct *mm, unsigned long npages,
			  struct staging_run **owner);
void gpusvm_staging_destroy(struct mm_struct *mm, struct staging_run **owner);

/*
 * Use the owner's run, until gpusvm_staging_put(): empty, or with at least the
 * first @npages pages filled (-ENOMEM; the run is idle again then).  Neither
 * allocates memory of ours.
 */
void gpusvm_staging_get_empty(struct mm_struct *mm, struct staging_run **owner);
int gpusvm_staging_get_filled(struct mm_struct *mm, struct staging_run **owner,
			      unsigned long npages);
void gpusvm_staging_put(struct mm_struct *mm, struct staging_run *run);

/*
 * Give @n pages from @index on back to the kernel, of a run that is in use.
 * Without mappings they stay, and are recorded as being there.
 */
void gpusvm_staging_drop(struct mm_struct *mm, struct staging_run *run,
			 unsigned long index, unsigned long n);

/* Record that @n pages from @index on came or went, in a run that is in use. */
void gpusvm_staging_set_filled(struct staging_run *run, unsigned long index,
			       unsigned long n, bool filled);

#endif /* GPUSVM_MM_STAGING_H */
