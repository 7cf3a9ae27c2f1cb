/* SPDX-License-Identifier: MIT */
/*
 * Memory that is trapped by its protection: which intervals of the program's
 * memory are inaccessible because we made them so, and what protection they had.
 *
 * One table per process, like the signal that it is for, and its memory is
 * never given back: a thread may be in the signal handler at any time.  Nobody
 * is interrupted by a signal while he holds its lock, so it may be taken in a
 * handler.
 */
#ifndef GPUSVM_SOURCE_TRAPPED_H
#define GPUSVM_SOURCE_TRAPPED_H

#include <gpusvm/kernel.h>
#include <sys/types.h>

/*
 * Each interval splits a mapping of the program in three at most, and the pages
 * taken from it are a mapping of their own in staging, between two others: four
 * mappings more.  So this share of vm.max_map_count lets them be half of all.
 */
#define TRAPPED_SHARE 8
#define TRAPPED_MOST 8192ul

/**
 * enum trapped_verdict - Whose fault a fault is
 * @TRAPPED_OURS: The page is trapped
 * @TRAPPED_AGAIN: It may have been, a moment ago
 * @TRAPPED_NOT_OURS: The program's
 */
enum trapped_verdict {
	TRAPPED_OURS,
	TRAPPED_AGAIN,
	TRAPPED_NOT_OURS,
};

/* Empty, for at most @limit intervals; @fork: in a child. */
void gpusvm_trapped_reset(unsigned long limit, bool fork);

/*
 * Make [start, end), one mapping or a part of one with the protection @prot,
 * inaccessible.  What was known of it is forgotten.  -ENOMEM also if there are
 * too many intervals.
 */
int gpusvm_trapped_add(unsigned long start, unsigned long end, int prot);

/*
 * Give what is trapped in [start, end) its protection back.  How many bytes, or
 * -ENOMEM, with a part of it done perhaps.
 */
long gpusvm_trapped_release(unsigned long start, unsigned long end);

/* The mapping has gone, or is another one. */
void gpusvm_trapped_forget(unsigned long start, unsigned long end);

/*
 * The protection that the program gave @addr if it is trapped, else -ENOENT;
 * [*start, *end), which includes it, is cut to what the answer is true of.
 */
int gpusvm_trapped_find(unsigned long addr, unsigned long *start,
			unsigned long *end);

/* Whose fault thread @tid has at @addr. */
enum trapped_verdict gpusvm_trapped_judge(unsigned long addr, pid_t tid);

/* How many intervals there are. */
unsigned long gpusvm_trapped_count(void);

#endif /* GPUSVM_SOURCE_TRAPPED_H */
