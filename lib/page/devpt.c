/* SPDX-License-Identifier: MIT */
/* The device page table: leaves of 64 entries in an interval tree. */
#include "devpt.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>

#include "compiler.h"
#include "itree.h"
#include "page.h"
#include "page_size.h"

#define LEAF_SHIFT 6
#define LEAF_ENTRIES (1ul << LEAF_SHIFT)

struct devpt_leaf {
	struct interval_tree_node node;
	unsigned long used;
	struct page *page[LEAF_ENTRIES];
};

static unsigned long leaf_index(unsigned long addr)
{
	return (addr >> PAGE_SHIFT) & (LEAF_ENTRIES - 1);
}

/* The first leaf that overlaps [start, last]. */
static struct devpt_leaf *first_leaf(struct devpt *pt, unsigned long start,
				     unsigned long last)
{
	struct interval_tree_node *node;

	if (pt->last && start >= pt->last->node.start &&
	    start <= pt->last->node.last)
		return pt->last;
	node = gpusvm_itree_first(&pt->leaves, start, last);
	if (!node)
		return NULL;
	pt->last = gpusvm_container_of(node, struct devpt_leaf, node);
	return pt->last;
}

static struct devpt_leaf *leaf_create(struct devpt *pt, unsigned long addr)
{
	unsigned long size = PAGE_SIZE << LEAF_SHIFT;
	struct devpt_leaf *leaf = gpusvm_alloc(sizeof(*leaf));

	if (!leaf)
		return NULL;
	leaf->node.start = ALIGN_DOWN(addr, size);
	leaf->node.last = leaf->node.start + size - 1;
	gpusvm_itree_insert(&pt->leaves, &leaf->node);
	return leaf;
}

int gpusvm_devpt_set(struct devpt *pt, unsigned long addr, struct page *page)
{
	struct devpt_leaf *leaf = first_leaf(pt, addr, addr);

	if (!leaf)
		leaf = leaf_create(pt, addr);
	if (!leaf)
		return -ENOMEM;
	if (leaf->page[leaf_index(addr)])
		return -EEXIST;
	leaf->page[leaf_index(addr)] = page;
	leaf->used++;
	WRITE_ONCE(pt->npages, pt->npages + 1);
	WRITE_ONCE(page->vaddr, addr);
	return 0;
}

/* How many entries from @addr on, at most @n, its leaf has. */
static unsigned long in_leaf(unsigned long addr, unsigned long n)
{
	return min(n, LEAF_ENTRIES - leaf_index(addr));
}

int gpusvm_devpt_set_run(struct devpt *pt, unsigned long addr,
			 struct page **pages, unsigned long n)
{
	struct devpt_leaf *leaf;
	unsigned long i, count;
	struct page **entry;

	for (; n; n -= count, pages += count) {
		leaf = first_leaf(pt, addr, addr);
		if (!leaf)
			leaf = leaf_create(pt, addr);
		if (!leaf)
			return -ENOMEM;
		count = in_leaf(addr, n);
		entry = &leaf->page[leaf_index(addr)];
		for (i = 0; i < count; i++, addr += PAGE_SIZE) {
			entry[i] = pages[i];
			WRITE_ONCE(pages[i]->vaddr, addr);
		}
		leaf->used += count;
		WRITE_ONCE(pt->npages, pt->npages + count);
	}
	return 0;
}

struct page *gpusvm_devpt_get(struct devpt *pt, unsigned long addr)
{
	struct devpt_leaf *leaf = first_leaf(pt, addr, addr);

	return leaf ? leaf->page[leaf_index(addr)] : NULL;
}

/* @n entries of a leaf have gone. */
static void leaf_drop(struct devpt *pt, struct devpt_leaf *leaf,
		      unsigned long n)
{
	WRITE_ONCE(pt->npages, pt->npages - n);
	leaf->used -= n;
	if (leaf->used)
		return;
	if (pt->last == leaf)
		pt->last = NULL;
	gpusvm_itree_remove(&pt->leaves, &leaf->node);
	gpusvm_free(leaf);
}

struct page *gpusvm_devpt_clear(struct devpt *pt, unsigned long addr)
{
	struct devpt_leaf *leaf = first_leaf(pt, addr, addr);
	struct page *page;

	page = leaf ? leaf->page[leaf_index(addr)] : NULL;
	if (!page)
		return NULL;
	leaf->page[leaf_index(addr)] = NULL;
	WRITE_ONCE(page->vaddr, 0);
	leaf_drop(pt, leaf, 1);
	return page;
}

void gpusvm_devpt_clear_run(struct devpt *pt, unsigned long addr,
			    unsigned long n)
{
	struct devpt_leaf *leaf;
	unsigned long i, count;
	struct page **entry;

	for (; n; n -= count, addr += count << PAGE_SHIFT) {
		leaf = first_leaf(pt, addr, addr);
		count = in_leaf(addr, n);
		entry = &leaf->page[leaf_index(addr)];
		for (i = 0; i < count; i++) {
			WRITE_ONCE(entry[i]->vaddr, 0);
			entry[i] = NULL;
		}
		leaf_drop(pt, leaf, count);
	}
}

struct page *gpusvm_devpt_next(struct devpt *pt, unsigned long start,
			       unsigned long end)
{
	unsigned long i, addr = start;
	struct devpt_leaf *leaf;

	while (addr < end) {
		leaf = first_leaf(pt, addr, end - 1);
		if (!leaf)
			return NULL;
		if (addr < leaf->node.start)
			addr = leaf->node.start;
		for (i = leaf_index(addr); i < LEAF_ENTRIES && addr < end;
		     i++, addr += PAGE_SIZE)
			if (leaf->page[i])
				return leaf->page[i];
	}
	return NULL;
}
