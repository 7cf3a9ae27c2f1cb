/* SPDX-License-Identifier: MIT */
/*
 * The device's page table.  Its memory comes from gpusvm_alloc(), because the
 * invalidate callback writes it.
 */
#include <errno.h>

#include <gpusvm/gpusvm.h>

#include "pagetable.h"

void pt_init(struct page_table *pt)
{
	pt->page_shift = __builtin_ctzl(gpusvm_page_size());
}

void pt_fini(struct page_table *pt)
{
	size_t i;

	for (i = 0; i < PT_TABLES; i++)
		gpusvm_free(pt->tables[i]);
}

int pt_prepare(struct page_table *pt, unsigned long addr)
{
	unsigned long **slot = &pt->tables[addr >> PT_TABLE_BITS];
	unsigned long *table;

	if (pt_entry(pt, addr))
		return 0;
	table = gpusvm_alloc(sizeof(*table)
			     << (PT_TABLE_BITS - pt->page_shift));
	if (!table)
		return -ENOMEM;
	__atomic_store_n(slot, table, __ATOMIC_RELEASE);
	return 0;
}

/* Pairs with the acquire in pt_lookup(): who sees the entry sees the page. */
void pt_set(struct page_table *pt, unsigned long addr, unsigned long target)
{
	__atomic_store_n(pt_entry(pt, addr), target, __ATOMIC_RELEASE);
}

void pt_clear(struct page_table *pt, unsigned long start, unsigned long end)
{
	unsigned long addr;

	for (addr = start; addr < end; addr += 1ul << pt->page_shift)
		__atomic_store_n(pt_entry(pt, addr), 0, __ATOMIC_RELAXED);
}
