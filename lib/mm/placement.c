/* SPDX-License-Identifier: MIT */
/* On which node pages come home. */
#include "placement.h"

#include "compiler.h"
#include "migration.h"
#include "mm.h"
#include "nodes.h"
#include "page.h"
#include "page_size.h"
#include "scan.h"
#include "sys.h"
#include "vma.h"

#define MODE_FLAGS 0xe000

/*
 * To ask for the node of every page takes a quarter of the time of copying
 * them. Where the node is a preference and no promise it is asked for one in so
 * many, as neighbours mostly are together.
 */
#define SAMPLE 16ul

bool gpusvm_placement_needed(void)
{
	struct nodes nodes;

	gpusvm_nodes_read("has_memory", &nodes);
	return gpusvm_nodes_count(&nodes) > 1;
}

static int read_policy(unsigned long vaddr, struct nodes *nodes)
{
	int mode, err;

	err = gpusvm_sys_get_mempolicy(&mode, nodes->mask, MAX_NODES, vaddr,
				       MPOL_F_ADDR);
	if (!err && mode == MPOL_DEFAULT)
		err = gpusvm_sys_get_mempolicy(&mode, nodes->mask, MAX_NODES, 0,
					       0);
	return err ? err : mode & ~MODE_FLAGS;
}

unsigned long gpusvm_placement_of(struct mm_struct *mm, unsigned long vaddr,
				  unsigned long addr,
				  struct placement *placement)
{
	int here = gpusvm_nodes_local(), mode;

	*placement = (struct placement){ .node = here };
	mode = read_policy(vaddr, &placement->nodes);
	if (mode < 0)
		return 0;
	if (mode == MPOL_DEFAULT || mode == MPOL_LOCAL ||
	    !gpusvm_nodes_count(&placement->nodes)) {
		placement->nodes = (struct nodes){ 0 };
		gpusvm_nodes_add(&placement->nodes, here);
		return SAMPLE;
	}
	if (!gpusvm_nodes_has(&placement->nodes, here))
		placement->node = gpusvm_nodes_nth(&placement->nodes, 0);
	placement->strict = mode == MPOL_BIND;
	/* Pages by turns are no huge pages: those are one turn each, wherever. */
	placement->spread = mode == MPOL_INTERLEAVE &&
			    !gpusvm_scan_is_huge(mm, addr);
	return mode == MPOL_PREFERRED ? SAMPLE : 1;
}

/* Pages from @i on that come home to adjacent addresses, at *@vaddr. */
static unsigned long run_length(struct migration *m, unsigned long i,
				unsigned long npages, unsigned long *vaddr)
{
	unsigned long n = 0;

	pthread_mutex_lock(&m->mm->pt_lock);
	*vaddr = m->ram[i] ? m->pages[i]->vaddr : 0;
	while (*vaddr && i + n < npages && m->ram[i + n] &&
	       m->pages[i + n]->vaddr == *vaddr + (n << PAGE_SHIFT))
		n++;
	pthread_mutex_unlock(&m->mm->pt_lock);
	return n;
}

void gpusvm_placement_prepare(struct migration *m, unsigned long npages)
{
	struct placement placement;
	unsigned long i, n, vaddr, step;
	struct vma vma;

	for (i = 0; i < npages; i += max(n, 1ul)) {
		n = run_length(m, i, npages, &vaddr);
		/* One policy for each of the kernel's mappings. */
		if (!n || gpusvm_vma_piece(m->mm, vaddr, &vma))
			continue;
		n = min(n, (vma.end - vaddr) >> PAGE_SHIFT);
		step = gpusvm_placement_of(m->mm, vaddr, m->ram[i], &placement);
		if (step)
			gpusvm_nodes_place(m->ram[i], n, &placement, vaddr,
					   step);
	}
}
