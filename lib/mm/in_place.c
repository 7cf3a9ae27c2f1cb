/* SPDX-License-Identifier: MIT */
/* Moving the program's pages from node to node: see in_place.h. */
#include "in_place.h"

#include <errno.h>
#include <sys/mman.h>

#include "compiler.h"
#include "fault_in.h"
#include "migration.h"
#include "mm.h"
#include "nodes.h"
#include "page.h"
#include "page_size.h"
#include "placement.h"
#include "populate.h"
#include "scan.h"
#include "sys.h"
#include "vma.h"

/*
 * The kernel itself tries several times; what is in the way may be one of its
 * own threads at work on the page.
 */
#define ATTEMPTS 3

/* How often pages may go while absent ones are filled. */
#define POPULATE_ATTEMPTS 1000

/*
 * A huge page moves as a whole: split one that lies across the end of the
 * range.  To call a part of it cold does that (5.4), and no harm; so where it is
 * not known which pages are huge it is done to any.
 */
static void split_at(const struct migration *m, unsigned long addr)
{
	unsigned long start = max(ALIGN_DOWN(addr, HUGE_PAGE_SIZE), m->start);
	unsigned long end =
		min(ALIGN_UP(addr, HUGE_PAGE_SIZE), gpusvm_migration_limit(m));

	if (start < end && (addr & (HUGE_PAGE_SIZE - 1)) &&
	    (!(m->mm->features & GPUSVM_FEATURE_PAGEMAP_SCAN) ||
	     gpusvm_scan_is_huge(m->mm, start)))
		gpusvm_sys_madvise(start, end - start, MADV_COLD);
}

/*
 * There are no holes on a device: what is absent becomes a page of zeros, and
 * what a fork shares the program's alone.  Memory that is only read may have the
 * shared zero page, which is on no node.
 */
static int populate(const struct migration *m)
{
	struct fault_in fault = { .mm = m->mm };
	unsigned long addr, next;
	unsigned int attempt = 0;
	struct vma piece;
	int err;

	for (addr = m->start; addr < gpusvm_migration_limit(m); addr = next) {
		if (gpusvm_vma_piece(m->mm, addr, &piece))
			return -EBUSY;
		next = min(piece.end, gpusvm_migration_limit(m));
		if (!piece.read)
			continue;
		fault.write = piece.write;
		do
			err = gpusvm_fault_in_populate(&fault, addr, next);
		while (err == -EAGAIN && attempt++ < POPULATE_ATTEMPTS);
		if (err)
			return -EBUSY;
	}
	return 0;
}

/* As gpusvm_nodes_place(). */
static long place(unsigned long start, unsigned long npages,
		  struct placement *placement)
{
	unsigned int attempt = 0;
	long elsewhere;

	do
		elsewhere =
			gpusvm_nodes_place(start, npages, placement, start, 1);
	while (elsewhere > 0 && !placement->err && ++attempt < ATTEMPTS);
	return elsewhere;
}

/* The same; if the node is full, on another one that will do. */
static long place_on_any(unsigned long start, unsigned long npages,
			 struct placement *placement)
{
	int node, tried = placement->spread ? -1 : placement->node;
	long elsewhere = place(start, npages, placement);

	for (node = 0; node < MAX_NODES && elsewhere > 0 && placement->err < 0;
	     node++) {
		if (node == tried || !gpusvm_nodes_has(&placement->nodes, node))
			continue;
		placement->node = node;
		placement->spread = false;
		elsewhere = place(start, npages, placement);
	}
	return elsewhere;
}

/*
 * By turns, if there are several nodes: page by page, or huge page by huge page.
 * In the end any of them will do.
 */
static int place_on_device(const struct migration *m)
{
	unsigned long addr, next, count;
	struct placement placement = { .nodes.mask = { m->nodes } };
	long elsewhere = 0;

	count = (unsigned long)gpusvm_nodes_count(&placement.nodes);
	for (addr = m->start; addr < gpusvm_migration_limit(m) && !elsewhere;
	     addr = next) {
		next = min(ALIGN_DOWN(addr, HUGE_PAGE_SIZE) + HUGE_PAGE_SIZE,
			   gpusvm_migration_limit(m));
		placement.node = gpusvm_nodes_nth(
			&placement.nodes, (addr / HUGE_PAGE_SIZE) % count);
		placement.spread = count > 1 &&
				   !gpusvm_scan_is_huge(m->mm, addr);
		if (placement.spread)
			place(addr, (next - addr) >> PAGE_SHIFT, &placement);
		placement.spread = false;
		elsewhere = place_on_any(addr, (next - addr) >> PAGE_SHIFT,
					 &placement);
	}
	if (!elsewhere)
		return 0;
	return placement.err == -ENOMEM ? -ENOMEM : -EBUSY;
}

/* Back to the nodes where they were, as far as these have room. */
static void place_back(const struct migration *m)
{
	struct placement placement;
	unsigned long i, n;

	for (i = 0; i < m->npages; i += n) {
		for (n = 1; i + n < m->npages && m->ram[i + n] == m->ram[i];
		     n++)
			;
		if (m->ram[i] >= MAX_NODES)
			continue;
		placement = (struct placement){ .node = (int)m->ram[i] };
		gpusvm_nodes_add(&placement.nodes, placement.node);
		place(m->start + (i << PAGE_SHIFT), n, &placement);
	}
}

int gpusvm_in_place_out(struct migration *m)
{
	int err;

	err = populate(m);
	if (err || !m->mm->several_nodes)
		return err;
	split_at(m, m->start);
	split_at(m, gpusvm_migration_limit(m));
	gpusvm_nodes_find(m->start, m->npages, m->ram);
	err = place_on_device(m);
	if (err)
		place_back(m);
	return err;
}

/*
 * If the nodes of the policy are full or, as the local one may be, not to be used
 * by this process, any that is not the device's will do
 * before the pages stay there, as when memory is allocated.
 */
static long place_elsewhere(const struct migration *m, unsigned long addr,
			    unsigned long npages)
{
	const struct nodes device = { .mask = { m->nodes } };
	struct placement placement = { 0 };
	struct nodes memory;
	int node;

	gpusvm_nodes_read("has_memory", &memory);
	for (node = 0; node < MAX_NODES; node++)
		if (gpusvm_nodes_has(&memory, node) &&
		    !gpusvm_nodes_has(&device, node))
			gpusvm_nodes_add(&placement.nodes, node);
	placement.node = gpusvm_nodes_nth(&placement.nodes, 0);
	return placement.node < 0 ? (long)npages
				  : place_on_any(addr, npages, &placement);
}

/* How many of the pages, which have one policy, could not be moved home. */
static long place_at_home(const struct migration *m, unsigned long addr,
			  unsigned long npages, bool *full)
{
	struct placement placement;
	long elsewhere;

	if (!gpusvm_placement_of(m->mm, addr, addr, &placement)) {
		placement.nodes = (struct nodes){ 0 };
		gpusvm_nodes_add(&placement.nodes, placement.node);
	}
	elsewhere = place_on_any(addr, npages, &placement);
	if (elsewhere && placement.err < 0 && !placement.strict)
		elsewhere = place_elsewhere(m, addr, npages);
	*full |= elsewhere && placement.err == -ENOMEM;
	return elsewhere;
}

/*
 * The same for one page of those that could not.  One that is shared since a
 * fork is replaced by one of the program's own, where the policy wants it.
 */
static bool page_comes(const struct migration *m, unsigned long addr,
		       bool writable, bool *full)
{
	if (!place_at_home(m, addr, 1, full))
		return true;
	return writable && !gpusvm_populate_pages(addr, PAGE_SIZE, true) &&
	       !place_at_home(m, addr, 1, full);
}

/* Of pages that could be moved, drop those that were not moved elsewhere. */
static unsigned long drop_pages(struct migration *m, unsigned long i,
				unsigned long n)
{
	unsigned long end = i + n, count = 0;
	struct page *page;
	bool in_place;

	for (; i < end; i++) {
		page = m->pages[i];
		pthread_mutex_lock(&m->mm->pt_lock);
		in_place = page->vaddr == m->ram[i];
		if (in_place) {
			gpusvm_devpt_clear(&m->mm->pt, page->vaddr);
			page->migration = NULL;
		}
		pthread_mutex_unlock(&m->mm->pt_lock);
		if (!in_place)
			continue;
		m->pages[i] = NULL;
		gpusvm_page_put(page);
		count++;
	}
	return count;
}

/* Pages from @i on whose addresses are adjacent, and of one policy. */
static unsigned long run_length(const struct migration *m, unsigned long i,
				struct vma *piece)
{
	unsigned long n = 1, end;

	if (gpusvm_vma_piece(m->mm, m->ram[i], piece))
		*piece = (struct vma){ .start = m->ram[i],
				       .end = m->ram[i] + PAGE_SIZE };
	end = piece->end;
	while (i + n < m->npages &&
	       m->ram[i + n] == m->ram[i] + (n << PAGE_SHIFT) &&
	       m->ram[i + n] < end)
		n++;
	return n;
}

static unsigned long run_home(struct migration *m, unsigned long i,
			      unsigned long n, const struct vma *piece,
			      bool *full)
{
	bool all = !m->mm->several_nodes ||
		   !place_at_home(m, m->ram[i], n, full);
	unsigned long j, count = 0;

	if (all || m->let_go)
		return drop_pages(m, i, n);
	for (j = i; j < i + n; j++)
		if (page_comes(m, m->ram[j], piece->write, full))
			count += drop_pages(m, j, 1);
	return count;
}

long gpusvm_in_place_home(struct migration *m)
{
	unsigned long i, n, count = 0;
	struct vma piece;
	bool full = false;

	for (i = 0; i < m->npages; i += n) {
		n = 1;
		if (!m->ram[i])
			continue;
		n = run_length(m, i, &piece);
		count += run_home(m, i, n, &piece, &full);
	}
	for (i = 0; i < m->npages; i++)
		m->ram[i] = 0;
	return !count && full ? -ENOMEM : (long)count;
}
