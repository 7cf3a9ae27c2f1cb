/* SPDX-License-Identifier: MIT */
/*
 * The device's own page table: for each page of the program the address at
 * which the device reaches it, or 0, which is a device fault.
 *
 * Entries are written with the notifier lock held (to commit a range, or to
 * invalidate one) and read without any lock by workers inside their guard, see
 * worker.h.  Tables are never freed while the device lives.
 */
#ifndef EXAMPLE_PAGETABLE_H
#define EXAMPLE_PAGETABLE_H

#include <stddef.h>

/* Two levels: a table for each GiB of 256 TiB. */
#define PT_VA_BITS 48
#define PT_TABLE_BITS 30
#define PT_TABLES (1ul << (PT_VA_BITS - PT_TABLE_BITS))

struct page_table {
	unsigned int page_shift;
	unsigned long *tables[PT_TABLES];
};

void pt_init(struct page_table *pt);
void pt_fini(struct page_table *pt);

/* Make sure that the page at @addr has an entry: 0 or -ENOMEM. */
int pt_prepare(struct page_table *pt, unsigned long addr);

void pt_set(struct page_table *pt, unsigned long addr, unsigned long target);
void pt_clear(struct page_table *pt, unsigned long start, unsigned long end);

static inline unsigned long *pt_entry(const struct page_table *pt,
				      unsigned long addr)
{
	unsigned long *table = __atomic_load_n(
		&pt->tables[addr >> PT_TABLE_BITS & (PT_TABLES - 1)],
		__ATOMIC_ACQUIRE);
	unsigned long index = addr & ((1ul << PT_TABLE_BITS) - 1);

	return table ? table + (index >> pt->page_shift) : NULL;
}

/* Where the device reaches the page at @addr, or 0. */
static inline unsigned long pt_lookup(const struct page_table *pt,
				      unsigned long addr)
{
	unsigned long *entry = pt_entry(pt, addr);

	return entry ? __atomic_load_n(entry, __ATOMIC_ACQUIRE) : 0;
}

#endif /* EXAMPLE_PAGETABLE_H */
