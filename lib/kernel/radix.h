/* SPDX-License-Identifier: MIT */
/*
 * A map from addresses to pointers, in the shape of a page table: among a
 * million entries a tree takes some twenty steps to memory that no cache has,
 * and this takes two.
 *
 * It is an index to something else, and may lack entries: memory that runs out
 * or an address beyond its reach costs the entry and nothing more.
 *
 * The caller locks; but gpusvm_radix_reserve() keeps out only other changes, and
 * no readers.
 */
#ifndef GPUSVM_KERNEL_RADIX_H
#define GPUSVM_KERNEL_RADIX_H

#include <gpusvm/kernel.h>

struct radix_node;

/**
 * struct radix - The map; zeros for an empty one
 * @root: Its top level, or NULL
 */
struct radix {
	struct radix_node *root;
};

/* Make room for entries in [first, last]; nothing else here allocates. */
void gpusvm_radix_reserve(struct radix *radix, unsigned long first,
			  unsigned long last);

/*
 * Let the pages of [first, last], which have no entry, lead to @value, as far
 * as room was made.
 */
void gpusvm_radix_set(struct radix *radix, unsigned long first,
		      unsigned long last, void *value);

/* Forget the entries of [first, last], which were set together, and the room. */
void gpusvm_radix_clear(struct radix *radix, unsigned long first,
			unsigned long last);

/* What @addr leads to, or NULL. */
void *gpusvm_radix_get(const struct radix *radix, unsigned long addr);

#endif /* GPUSVM_KERNEL_RADIX_H */
