/* SPDX-License-Identifier: MIT */
/* Four levels of 512 entries; an entry that is not a level is marked. */
#include "radix.h"

#include <gpusvm/gpusvm.h>

#include "compiler.h"
#include "page_size.h"

#define BITS 9
#define ENTRIES (1ul << BITS)
#define LEVELS 4

/* Addresses that one entry of the top level covers, as a shift. */
#define TOP_SHIFT (PAGE_SHIFT + (LEVELS - 1) * BITS)

/* Bit 0 of an entry: it is a value. */
#define VALUE 1ul

struct radix_node {
	unsigned long entry[ENTRIES];
	unsigned int used;
};

static unsigned long index_of(unsigned long addr, unsigned int shift)
{
	return (addr >> shift) & (ENTRIES - 1);
}

static bool is_beyond(unsigned long addr)
{
	return addr >> (TOP_SHIFT + BITS);
}

static struct radix_node *child_of(struct radix_node *node, unsigned long i)
{
	return (struct radix_node *)node->entry[i];
}

/* The level below entry @i, made if need be. */
static struct radix_node *make_child(struct radix_node *node, unsigned long i)
{
	if (!node->entry[i]) {
		node->entry[i] = (unsigned long)gpusvm_alloc(sizeof(*node));
		node->used += node->entry[i] != 0;
	}
	return child_of(node, i);
}

/*
 * Fill [first, last] of a level whose entries cover 1 << @shift bytes: as a
 * whole what covers an entry, the rest in the level below.
 */
static void set(struct radix_node *node, unsigned int shift,
		unsigned long first, unsigned long last, unsigned long value)
{
	unsigned long size = 1ul << shift, start, end;
	struct radix_node *child;

	for (start = first; start <= last; start = end + 1) {
		end = min(start | (size - 1), last);
		if (end - start == size - 1) {
			node->entry[index_of(start, shift)] = value;
			node->used++;
			continue;
		}
		child = make_child(node, index_of(start, shift));
		if (child)
			set(child, shift - BITS, start, end, value);
	}
}

/* Empty [first, last], and free levels that have nothing left. */
static void clear(struct radix_node *node, unsigned int shift,
		  unsigned long first, unsigned long last)
{
	unsigned long size = 1ul << shift, start, end, i;
	struct radix_node *child;

	for (start = first; start <= last; start = end + 1) {
		end = min(start | (size - 1), last);
		i = index_of(start, shift);
		if (!node->entry[i])
			continue;
		if (!(node->entry[i] & VALUE)) {
			child = child_of(node, i);
			clear(child, shift - BITS, start, end);
			if (child->used)
				continue;
			gpusvm_free(child);
		}
		node->entry[i] = 0;
		node->used--;
	}
}

void gpusvm_radix_set(struct radix *radix, unsigned long first,
		      unsigned long last, void *value)
{
	if (is_beyond(last))
		return;
	if (!radix->root)
		radix->root = gpusvm_alloc(sizeof(*radix->root));
	if (radix->root)
		set(radix->root, TOP_SHIFT, first, last,
		    (unsigned long)value | VALUE);
}

void gpusvm_radix_clear(struct radix *radix, unsigned long first,
			unsigned long last)
{
	if (!radix->root || is_beyond(last))
		return;
	clear(radix->root, TOP_SHIFT, first, last);
	if (radix->root->used)
		return;
	gpusvm_free(radix->root);
	radix->root = NULL;
}

void *gpusvm_radix_get(const struct radix *radix, unsigned long addr)
{
	const struct radix_node *node = radix->root;
	unsigned int shift = TOP_SHIFT;
	unsigned long entry;

	if (!node || is_beyond(addr))
		return NULL;
	for (;; shift -= BITS) {
		entry = node->entry[index_of(addr, shift)];
		if (!entry || (entry & VALUE))
			return (void *)(entry & ~VALUE);
		node = (const struct radix_node *)entry;
	}
}
