/* SPDX-License-Identifier: MIT */
/*
 * Dropping the CPU's copies of pages whose data is elsewhere by now: the end of
 * a migration by write-protection.
 *
 * The source tells of our own MADV_DONTNEED as it does of the program's, and
 * does not say whose it is.  One call of ours runs at a time, so an event of
 * the same interval is ours, the first time; and if the mapping was split
 * meanwhile the kernel makes the call piece by piece, and tells of each, the
 * next not before the last was read.  So who reads on after an event of ours
 * waits first until the pages are gone, and every later one is the program's; or
 * until the call sleeps, which waits for its next event to be read.
 */
#ifndef GPUSVM_MM_DROP_H
#define GPUSVM_MM_DROP_H

#include <stdbool.h>
#include <sys/types.h>

struct migration;
struct mm_struct;
struct source_event;

/* Pieces of a mapping that is being split; more are not told apart. */
#define DROP_PARTS 16

/**
 * struct drop - A call of ours that goes on; under event_lock for writing
 * @start: First address
 * @end: End, exclusive; 0 if none goes on
 * @last: The last page in it that has data; 0 for none
 * @tid: Whose it is
 * @told: An event of just this interval came
 * @followed: And somebody has waited for what becomes of the call
 * @through: The call is over, as far as the kernel tells of it
 * @nothers: How many parts came before that, and so are the program's
 * @nparts: How many events came of a part of it
 * @part: These parts
 */
struct drop {
	unsigned long start;
	unsigned long end;
	unsigned long last;
	pid_t tid;
	bool told;
	bool followed;
	bool through;
	unsigned int nothers;
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
 * @DROP_PERHAPS_OURS: The end of the call will tell, and do what is to be done
 */
enum drop_claim {
	DROP_NOT_OURS,
	DROP_OURS,
	DROP_PERHAPS_OURS,
};

enum drop_claim gpusvm_drop_claim(struct mm_struct *mm,
				  const struct source_event *event);

/*
 * More events are about to be read: look what became of the call, if one of
 * those before was its own.
 */
void gpusvm_drop_follow(struct mm_struct *mm);

/*
 * Drop the protected pages of the migration.  On failure some may have been
 * dropped.
 */
int gpusvm_drop_pages(struct migration *m);

#endif /* GPUSVM_MM_DROP_H */
