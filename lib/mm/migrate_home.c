/* SPDX-License-Identifier: MIT */
/* From the device to the CPU; migration.h tells the steps. */
#include "migration.h"

#include <errno.h>

#include "alloc.h"
#include "compiler.h"
#include "in_place.h"
#include "mm.h"
#include "page.h"
#include "page_size.h"
#include "placement.h"

int gpusvm_migration_init(struct migration *m, struct mm_struct *mm,
			  unsigned long npages)
{
	*m = (struct migration){
		.mm = mm,
		.npages = npages,
		.technique = mm->technique,
	};
	gpusvm_mm_grab(mm);
	__atomic_fetch_add(&mm->allocations, 1, __ATOMIC_RELAXED);
	m->pages = gpusvm_alloc_array(npages,
				      sizeof(m->pages[0]) + sizeof(m->ram[0]));
	m->ram = (unsigned long *)(m->pages + npages);
	if (m->pages && !gpusvm_staging_create(mm, npages, &m->run))
		return 0;
	gpusvm_migration_fini(m);
	return -ENOMEM;
}

void gpusvm_migration_fini(struct migration *m)
{
	struct mm_struct *mm = m->mm;

	gpusvm_staging_destroy(mm, &m->run);
	gpusvm_free(m->pages);
	__atomic_fetch_sub(&mm->allocations, 1, __ATOMIC_RELEASE);
	gpusvm_mm_drop(mm);
}

/*
 * Whether a page can come: it has its place in the window and only the table
 * refers to it.  A reference taken later is too late to hold it.
 */
static bool choose(struct migration *m, struct page *page, unsigned long start,
		   unsigned long end)
{
	if (!page || page->vaddr < start || page->vaddr >= end ||
	    page->migration || gpusvm_page_refs(page) != 1)
		return false;
	page->migration = m;
	return true;
}

/* In ram[] until there is an address, which this is not. */
#define CHOSEN 1ul

static int prepare_staging(struct migration *m, unsigned long npages, long n)
{
	unsigned long i;

	if (gpusvm_staging_get_filled(m->mm, &m->run, npages)) {
		for (i = 0; i < npages; i++)
			m->ram[i] = 0;
		gpusvm_migrate_end(m);
		return -ENOMEM;
	}
	for (i = 0; i < npages; i++)
		if (m->ram[i] == CHOSEN)
			m->ram[i] = m->run->addr + (i << PAGE_SHIFT);
	/* One page is copied. */
	if (m->mm->several_nodes && m->technique == GPUSVM_TECHNIQUE_MOVE &&
	    n > 1)
		gpusvm_placement_prepare(m, npages);
	return 0;
}

long gpusvm_migrate_home_begin(struct migration *m, unsigned long start,
			       unsigned long end)
{
	bool in_place = gpusvm_migration_in_place(m);
	unsigned long i, npages = 0;
	int err = 0;
	long n = 0;

	m->to_device = false;
	m->woken = 0;
	m->woken_end = 0;
	pthread_mutex_lock(&m->mm->pt_lock);
	for (i = 0; i < m->npages; i++) {
		m->ram[i] = 0;
		if (!choose(m, m->pages[i], start, end))
			continue;
		m->ram[i] = in_place ? m->pages[i]->vaddr : CHOSEN;
		npages = i + 1;
		n++;
	}
	pthread_mutex_unlock(&m->mm->pt_lock);
	if (n && !in_place)
		err = prepare_staging(m, npages, n);
	return err ? err : n;
}

long gpusvm_migrate_home_commit(struct migration *m)
{
	struct gpusvm_stats *stats = &m->mm->stats;
	long n;

	if (gpusvm_migration_in_place(m)) {
		n = gpusvm_in_place_home(m);
	} else {
		n = gpusvm_migrate_install(m);
		gpusvm_staging_put(m->mm, m->run);
	}
	gpusvm_migrate_end(m);
	if (n > 0) {
		gpusvm_mm_count(&stats->migrations_to_ram, 1);
		gpusvm_mm_count(&stats->bytes_to_ram,
				(unsigned long)n << PAGE_SHIFT);
	}
	return n;
}

void gpusvm_migrate_home_abort(struct migration *m)
{
	gpusvm_staging_put(m->mm, m->run);
	gpusvm_migrate_end(m);
}
