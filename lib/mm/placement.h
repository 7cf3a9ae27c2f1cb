/* SPDX-License-Identifier: MIT */
/*
 * On which node pages come home.
 *
 * A page that is moved keeps its node, so what staging holds from elsewhere would
 * come home to the node where that was, whatever the program wants of its own
 * memory. The policy of the mapping counts, and where it has none that of the
 * calling thread: of who evicts or, for a CPU fault, of the handler, which has
 * that of the thread that opened the address space. A page that is copied takes
 * one from where the kernel thinks fit, which is the same.
 */
#ifndef GPUSVM_MM_PLACEMENT_H
#define GPUSVM_MM_PLACEMENT_H

#include <stdbool.h>

struct migration;
struct mm_struct;
struct placement;

/* Whether there is more than one node. */
bool gpusvm_placement_needed(void);

/*
 * Have the first @npages pages of staging that come home where they should be.
 * What cannot be moved stays where it is.
 */
void gpusvm_placement_prepare(struct migration *m, unsigned long npages);

/*
 * Where the program wants what it has at @vaddr, data of it being at @addr.
 * Returns which pages to look at: one in so many, see gpusvm_nodes_place(); 0 if
 * nobody knows.
 */
unsigned long gpusvm_placement_of(struct mm_struct *mm, unsigned long vaddr,
				  unsigned long addr,
				  struct placement *placement);

#endif /* GPUSVM_MM_PLACEMENT_H */
