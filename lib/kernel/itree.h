/* SPDX-License-Identifier: MIT */
/*
 * An index of address intervals on <bsd/sys/tree.h>.
 *
 * Ordered by last address, then start, then identity.  In a tree of disjoint
 * intervals (the ranges of a notifier, the notifiers of a gpusvm) the first
 * node with last >= start is the first that may overlap, and no augmentation is
 * needed.  A tree whose intervals may overlap (all notifiers of an address
 * space) works as well if the caller passes the length of its longest interval:
 * nodes that end later by that much or more cannot overlap.
 *
 * The caller locks.
 */
#ifndef GPUSVM_KERNEL_ITREE_H
#define GPUSVM_KERNEL_ITREE_H

#include <gpusvm/kernel.h>

void gpusvm_itree_insert(struct rb_root_cached *root,
			 struct interval_tree_node *node);
void gpusvm_itree_remove(struct rb_root_cached *root,
			 struct interval_tree_node *node);

/* First node of a tree of disjoint intervals that overlaps [start, last]. */
struct interval_tree_node *gpusvm_itree_first(const struct rb_root_cached *root,
					      unsigned long start,
					      unsigned long last);

/*
 * The same for a tree whose intervals may overlap and are at most @longest
 * bytes long; and the next one in order after @node.
 */
struct interval_tree_node *
gpusvm_itree_first_any(const struct rb_root_cached *root, unsigned long start,
		       unsigned long last, unsigned long longest);
struct interval_tree_node *
gpusvm_itree_next_any(struct interval_tree_node *node, unsigned long start,
		      unsigned long last, unsigned long longest);

/* Neighbours in order; NULL at the ends. */
struct interval_tree_node *gpusvm_itree_prev(struct interval_tree_node *node);
struct interval_tree_node *gpusvm_itree_next(struct interval_tree_node *node);

#endif /* GPUSVM_KERNEL_ITREE_H */
