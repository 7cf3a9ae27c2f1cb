/* SPDX-License-Identifier: MIT */
/*
 * Dropping the CPU's copies of pages whose data is elsewhere by now: the end of
 * a migration by write-protection.
 *
 * The source tells of our own MADV_DONTNEED as it does of the program's, and
 * does not say whose it is.  To take ours for the program's would lose data; to
 * take the program's for ours brings back what it gave up, so what nobody knows
 * is taken for ours.
 *
 * One call of ours runs at a time.  It tells of all its pages first, and if the
 * mapping is split while that waits to be read, of each further piece, one after
 * another (Linux 6.17; before that these are left); or of pieces only, if it was
 * split before.  So what is read before the whole is the program's.  So is what
 * is read when all pages have gone, unless another call of ours has dropped some
 * before: then this one may still have to tell of them.
 *
 * To see that, events are read one by one meanwhile, as the kernel lets the call
 * go on while it still fills the reader's buffer, and who reads on after ours
 * waits first until the pages have gone, or the call is asleep.
 */
#ifndef GPUSVM_MM_DROP_H
#define GPUSVM_MM_DROP_H

#include <stdbool.h>
#include <sys/types.h>

struct migration;
struct mm_struct;
struct source_event;

/* Parts told of before the whole; more are taken for ours. */
#define DROP_PARTS 16

/**
 * struct drop - A call of ours that goes on; under event_lock for writing
 * @m: The migration; NULL if none goes on
 * @start: First address
 * @end: End, exclusive
 * @tid: Who makes the call
 * @again: Another call of ours may have dropped some of the pages before
 * @told: An event of just this interval was read
 * @waited: And somebody has waited for the pages to go, in vain
 * @through: They have gone
 * @nparts: How many events of a part of it were read before
 * @part: These parts
 */
struct drop {
	struct migration *m;
	unsigned long start;
	unsigned long end;
	pid_t tid;
	bool again;
	bool told;
	bool waited;
	bool through;
	unsigned int nparts;
	struct {
		unsigned long start;
		unsigned long end;
	} part[DROP_PARTS];
};

/**
 * enum drop_claim - Whose removal an event tells of
 * @DROP_NOT_OURS: The program's
 * @DROP_OURS: That of the call that goes on
 * @DROP_PERHAPS_OURS: Nobody knows, or not yet
 */
enum drop_claim {
	DROP_NOT_OURS,
	DROP_OURS,
	DROP_PERHAPS_OURS,
};

enum drop_claim gpusvm_drop_claim(struct mm_struct *mm,
				  const struct source_event *event);

/*
 * Events are about to be read: look what became of the call, if it was told of.
 * Returns whether one goes on.  With event_lock held for writing, as the former.
 */
bool gpusvm_drop_follow(struct mm_struct *mm);

/*
 * Drop the protected pages of the migration.  On failure some may have been
 * dropped.
 */
int gpusvm_drop_pages(struct migration *m);

#endif /* GPUSVM_MM_DROP_H */
