/* SPDX-License-Identifier: MIT */
/* What stands around the fake source: see fake_source.h. */
#include "fake_source.h"

#include <gpusvm/gpusvm.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc.h"
#include "compiler.h"
#include "events.h"
#include "handler.h"
#include "page_size.h"
#include "scan.h"
#include "vma.h"

static size_t blocks_before;

/* ---- The address space ---- */

static void init_mm(struct mm_struct *mm, struct source *source,
		    enum gpusvm_technique technique)
{
	pthread_condattr_t attr;

	kref_init(&mm->count);
	mm->pid = getpid();
	mm->users = 1;
	gpusvm_init_rwsem(&mm->mmap_lock);
	gpusvm_init_rwsem(&mm->alive_lock);
	gpusvm_init_rwsem(&mm->event_lock);
	mm->handler = gpusvm_handler_create();
	if (!mm->handler)
		abort();
	pthread_mutex_init(&mm->pt_lock, NULL);
	pthread_mutex_init(&mm->drop_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&mm->migrated, &attr);
	pthread_condattr_destroy(&attr);
	gpusvm_notifiers_init(&mm->notifiers);
	gpusvm_traps_init(&mm->traps);
	gpusvm_under_way_init(mm);
	gpusvm_staging_init(&mm->staging, 64ul << 20);
	mm->source = source;
	mm->technique = technique;
	mm->features = GPUSVM_FEATURE_KERNEL_FAULTS;
	mm->wake_end = 1ul << 47;
	mm->fork_buffer = (unsigned long)gpusvm_alloc_pages(
		FORK_BATCH << PAGE_SHIFT, PAGE_SIZE);
	if (!mm->fork_buffer || gpusvm_vma_open(mm) || gpusvm_scan_open(mm))
		abort();
}

/*
 * Between two guards, so that it is a mapping of its own, and aligned, so that
 * it is all within one huge page.
 */
static unsigned long map_window(unsigned long npages)
{
	unsigned long size = npages << PAGE_SHIFT;
	unsigned long reserved = size + 2 * HUGE_PAGE_SIZE;
	unsigned long base, start;

	base = (unsigned long)mmap(NULL, reserved, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == (unsigned long)MAP_FAILED)
		abort();
	start = ALIGN_UP(base + PAGE_SIZE, HUGE_PAGE_SIZE);
	if (start - PAGE_SIZE > base)
		munmap((void *)base, start - PAGE_SIZE - base);
	munmap((void *)(start + size + PAGE_SIZE),
	       base + reserved - (start + size + PAGE_SIZE));
	if (mprotect((void *)start, size, PROT_READ | PROT_WRITE))
		abort();
	madvise((void *)start, size, MADV_NOHUGEPAGE);
	return start;
}

struct fake_source *fake_source_create(unsigned long npages,
				       enum gpusvm_technique technique)
{
	struct fake_source *fake = calloc(1, sizeof(*fake));

	blocks_before = gpusvm_alloc_live();
	if (!fake)
		abort();
	fake->source.ops = &fake_source_ops;
	fake->source.fd = -1;
	fake->start = map_window(npages);
	fake->npages = npages;
	fake->flags = calloc(npages, 1);
	fake->child = calloc(npages, PAGE_SIZE);
	fake->child_has = calloc(npages, sizeof(*fake->child_has));
	fake->mm = gpusvm_alloc(sizeof(*fake->mm));
	if (!fake->flags || !fake->child || !fake->child_has || !fake->mm)
		abort();
	init_mm(fake->mm, &fake->source, technique);
	return fake;
}

void fake_source_finish(struct fake_source *fake)
{
	struct mm_struct *mm = fake->mm;
	struct handler *handler = mm->handler;
	struct job *job;

	while (handler->njobs) {
		job = &handler->jobs[handler->first];
		gpusvm_event_finish(mm, &job->applied);
		handler->in_epoch[job->epoch]--;
		handler->first = (handler->first + 1) % HANDLER_JOBS;
		handler->njobs--;
	}
}

unsigned long fake_retired_bytes(struct fake_source *fake)
{
	struct staging *staging = &fake->mm->staging;
	struct staging_run *run;
	unsigned long n = 0;
	unsigned int i;

	for (i = 0; i < STAGING_ORDERS; i++)
		list_for_each_entry(run, &staging->retired[i], link)
			n += run->nfilled;
	return n << PAGE_SHIFT;
}

bool fake_source_destroy(struct fake_source *fake)
{
	struct mm_struct *mm = fake->mm;
	bool clean = !mm->pt.npages;

	gpusvm_traps_release(&mm->traps);
	gpusvm_staging_release(&mm->staging);
	gpusvm_free_pages((void *)mm->fork_buffer, FORK_BATCH << PAGE_SHIFT);
	gpusvm_scan_close(mm);
	gpusvm_vma_close(mm);
	pthread_cond_destroy(&mm->migrated);
	gpusvm_free(mm->handler);
	gpusvm_free(mm);
	munmap((void *)(fake->start - PAGE_SIZE), (fake->npages + 2)
							  << PAGE_SHIFT);
	free(fake->child_has);
	free(fake->child);
	free(fake->flags);
	free(fake);
	return clean && gpusvm_alloc_live() == blocks_before;
}

/* ---- Device memory ---- */

static void owner_get(void *zone_device_data, unsigned long n)
{
	struct fake_owner *owner = zone_device_data;

	__atomic_fetch_add(&owner->refs, (int)n, __ATOMIC_RELAXED);
}

static void owner_put(void *zone_device_data, unsigned long n)
{
	struct fake_owner *owner = zone_device_data;

	if (owner->put)
		owner->put();
	__atomic_fetch_sub(&owner->refs, (int)n, __ATOMIC_ACQ_REL);
}

static enum vm_fault_result owner_fault(struct vm_fault *vmf)
{
	struct fake_owner *owner = vmf->zone_device_data;

	__atomic_fetch_add(&owner->faults, 1, __ATOMIC_RELAXED);
	return owner->fault ? owner->fault(vmf) : VM_FAULT_SIGBUS;
}

static int owner_read(void *zone_device_data, struct page **pages,
		      dma_addr_t *addr, unsigned long npages)
{
	struct fake_owner *owner = zone_device_data;
	unsigned long i;

	owner->reads++;
	for (i = 0; i < npages && !owner->read_error; i++)
		memcpy((void *)addr[i], gpusvm_page_address(pages[i]),
		       PAGE_SIZE);
	return owner->read_error;
}

static const struct dev_pagemap_ops owner_ops = {
	.get = owner_get,
	.put = owner_put,
	.migrate_to_ram = owner_fault,
	.read_pages = owner_read,
};

struct dev_pagemap *fake_devmem_create(unsigned long npages)
{
	struct dev_pagemap *pgmap = calloc(1, sizeof(*pgmap));
	void *memory = gpusvm_alloc_pages(npages << PAGE_SHIFT, PAGE_SIZE);

	if (!pgmap || !memory)
		abort();
	pgmap->type = MEMORY_DEVICE_PRIVATE;
	pgmap->ops = &owner_ops;
	pgmap->owner = pgmap;
	pgmap->range.start = (u64)memory;
	pgmap->range.end = pgmap->range.start + (npages << PAGE_SHIFT) - 1;
	if (gpusvm_pagemap_add(pgmap))
		abort();
	return pgmap;
}

bool fake_devmem_destroy(struct dev_pagemap *pgmap)
{
	if (gpusvm_pagemap_remove(pgmap))
		return false;
	gpusvm_free_pages((void *)pgmap->range.start,
			  pgmap->range.end + 1 - pgmap->range.start);
	free(pgmap);
	return true;
}
