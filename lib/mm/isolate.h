/* SPDX-License-Identifier: MIT */
/*
 * The two ways to take pages from the CPU so that no store is lost: move the
 * pages themselves, or write-protect them and copy.
 *
 * Both fill ram[] of the migration with where the data is now.  event_lock is
 * held for reading by the caller of the first half only, and may be dropped in
 * between.
 */
#ifndef GPUSVM_MM_ISOLATE_H
#define GPUSVM_MM_ISOLATE_H

struct migration;

/*
 * Move the pages of @m, and of what is taken with it, to their runs: by one call
 * where mapping and runs are in one piece.  Pages that are busy are waited for
 * until @until_ns.  -EOPNOTSUPP if this memory cannot be moved; -EBUSY; -ENOMEM.
 * Some may have been moved all the same.
 */
int gpusvm_isolate_move(struct migration *m, unsigned long until_ns);

/* Which pages of these runs have data, also after a failure. */
void gpusvm_isolate_moved(struct migration *m);

/*
 * Let stores to the pages wait, or with GPUSVM_FEATURE_RWP all accesses.
 * -EAGAIN to try again; -EBUSY.
 */
int gpusvm_isolate_protect(struct migration *m);

/* Let them go on.  Not with event_lock held. */
void gpusvm_isolate_unprotect(struct migration *m);

/* Copy the protected pages to the run.  -EBUSY; -ENOMEM. */
int gpusvm_isolate_copy(struct migration *m);

#endif /* GPUSVM_MM_ISOLATE_H */
