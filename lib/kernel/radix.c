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

/* A page: with a count of its entries it would take two. */
struct radix_node {
	unsigned long entry[ENTRIES];
};

static unsigned long index_of(unsigned long addr, unsigned int shift)
{
	return (addr >> shift) & (ENTRIES - 1);
}

static bool is_beyond(unsigned long addr)
{
	return addr >> (TOP_SHIFT + BITS);
}

static bool is_empty(const struct radix_node *node)
{
	unsigned long i = 0;

	while (i < ENTRIES && !node->entry[i])
		i++;
	return i == ENTRIES;
}

static struct radix_node *child_of(struct radix_node *node, unsigned long i)
{
	return (struct radix_node *)node->entry[i];
}

/* Pairs with the loads of readers that see a new level before its entries. */
static void publish(unsigned long *entry, const struct radix_node *node)
{
	__atomic_store_n(entry, (unsigned long)node, __ATOMIC_RELEASE);
}

/* The level below entry @i, made if need be. */
static struct radix_node *make_child(struct radix_node *node, unsigned long i)
{
	struct radix_node *child;

	if (!node->entry[i]) {
		child = gpusvm_alloc(sizeof(*child));
		if (!child)
			return NULL;
		publish(&node->entry[i], child);
	}
	return child_of(node, i);
}

/*
 * Make the levels for [first, last] below a level whose entries cover
 * 1 << @shift bytes: none below an entry that is covered as a whole.
 */
static void reserve(struct radix_node *node, unsigned int shift,
		    unsigned long first, unsigned long last)
{
	unsigned long size = 1ul << shift, start, end;
	struct radix_node *child;

	for (start = first; start <= last; start = end + 1) {
		end = min(start | (size - 1), last);
		if (end - start == size - 1)
			continue;
		child = make_child(node, index_of(start, shift));
		if (child)
			reserve(child, shift - BITS, start, end);
	}
}

static void set(struct radix_node *node, unsigned int shift,
		unsigned long first, unsigned long last, unsigned long value)
{
	unsigned long size = 1ul << shift, start, end, i;

	for (start = first; start <= last; start = end + 1) {
		end = min(start | (size - 1), last);
		i = index_of(start, shift);
		if (end - start == size - 1)
			node->entry[i] = value;
		else if (node->entry[i])
			set(child_of(node, i), shift - BITS, start, end, value);
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
			if (!is_empty(child))
				continue;
			gpusvm_free(child);
		}
		node->entry[i] = 0;
	}
}

void gpusvm_radix_reserve(struct radix *radix, unsigned long first,
			  unsigned long last)
{
	struct radix_node *root = radix->root;

	if (is_beyond(last))
		return;
	if (!root) {
		root = gpusvm_alloc(sizeof(*root));
		if (!root)
			return;
		__atomic_store_n(&radix->root, root, __ATOMIC_RELEASE);
	}
	reserve(root, TOP_SHIFT, first, last);
}

void gpusvm_radix_set(struct radix *radix, unsigned long first,
		      unsigned long last, void *value)
{
	if (radix->root && !is_beyond(last))
		set(radix->root, TOP_SHIFT, first, last,
		    (unsigned long)value | VALUE);
}

void gpusvm_radix_clear(struct radix *radix, unsigned long first,
			unsigned long last)
{
	if (!radix->root || is_beyond(last))
		return;
	clear(radix->root, TOP_SHIFT, first, last);
	if (!is_empty(radix->root))
		return;
	gpusvm_free(radix->root);
	radix->root = NULL;
}

void *gpusvm_radix_get(const struct radix *radix, unsigned long addr)
{
	const struct radix_node *node =
		__atomic_load_n(&radix->root, __ATOMIC_ACQUIRE);
	unsigned int shift = TOP_SHIFT;
	unsigned long entry;

	if (!node || is_beyond(addr))
		return NULL;
	for (;; shift -= BITS) {
		entry = __atomic_load_n(&node->entry[index_of(addr, shift)],
					__ATOMIC_ACQUIRE);
		if (!entry || (entry & VALUE))
			return (void *)(entry & ~VALUE);
		node = (const struct radix_node *)entry;
	}
}
