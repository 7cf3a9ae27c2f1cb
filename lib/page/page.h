/* SPDX-License-Identifier: MIT */
/*
 * A page of device memory, and what its pagemap does for it.
 *
 * A page is free (refcount 0) or in use.  The address space holds one
 * reference while the page stands in its table of device pages;
 * gpusvm_page_get() adds more, and a page with more stays where it is.  Each
 * page in use holds a reference to the allocation it belongs to.
 */
#ifndef GPUSVM_PAGE_PAGE_H
#define GPUSVM_PAGE_PAGE_H

#include <gpusvm/kernel.h>
#include <gpusvm/pagemap.h>
#include <sys/types.h>

struct gpusvm_fence;
struct migration;

/**
 * struct page - One page of device memory
 * @pgmap: Its pagemap
 * @zone_device_data: The allocation it belongs to
 * @vaddr: Where it stands in the table of device pages, 0 for nowhere; this and
 *	the following change under the lock of that table
 * @migration: The migration that it is part of just now, or NULL; that one
 *	drops the table's reference, should the entry go meanwhile
 * @next: In a list of pages taken out of the table
 * @removed: While @migration drops the CPU's copy: the program dropped it, too
 * @refcount: References; atomic
 */
struct page {
	struct dev_pagemap *pgmap;
	void *zone_device_data;
	unsigned long vaddr;
	union {
		struct migration *migration;
		struct page *next;
	};
	bool removed;
	int refcount;
};

/* What vm_fault.flags may hold: bring it home though its timeslice runs; */
#define GPUSVM_FAULT_NO_TIMESLICE (1u << 0)
/* a coherent page that cannot be moved home becomes the program's where it is. */
#define GPUSVM_FAULT_LET_GO (1u << 1)

/* What migrate_to_ram returns. */
enum vm_fault_result {
	VM_FAULT_DONE,	    /* try the access again */
	VM_FAULT_RETRY,	    /* not now: after a wake, or at retry_ns if not 0 */
	VM_FAULT_TIMESLICE, /* not before retry_ns */
	VM_FAULT_SIGBUS,    /* the data cannot be had */
};

/**
 * struct vm_fault - A CPU access to a device page
 * @mm: The address space
 * @address: The page's address
 * @zone_device_data: The page's allocation; the caller holds a reference
 * @flags: GPUSVM_FAULT_*
 * @retry_ns: When to try again (monotonic nanoseconds)
 * @holder: With VM_FAULT_RETRY, the thread that has the allocation's lock, if
 *	that is in the way
 * @woken: With VM_FAULT_DONE: threads that wait at the address go on already
 */
struct vm_fault {
	struct mm_struct *mm;
	unsigned long address;
	void *zone_device_data;
	unsigned int flags;
	unsigned long retry_ns;
	pid_t holder;
	bool woken;
};

/**
 * struct dev_pagemap_ops - What the owner of device pages does
 * @get: Take @n references to an allocation; must not sleep
 * @put: Drop @n
 * @migrate_to_ram: Bring the page at the address, and what belongs to it, home.
 *	Unless it returns VM_FAULT_DONE, CPU faults that met it at work may
 *	still wait: the caller has to wake them all, then or at retry_ns
 * @read_pages: Copy pages of one allocation to the given addresses and leave
 *	them where they are (for a forked child); 0 or -errno
 * @completes: gpusvm_copy_completes(), for pages of an allocation
 */
struct dev_pagemap_ops {
	void (*get)(void *zone_device_data, unsigned long n);
	void (*put)(void *zone_device_data, unsigned long n);
	enum vm_fault_result (*migrate_to_ram)(struct vm_fault *vmf);
	int (*read_pages)(void *zone_device_data, struct page **pages,
			  dma_addr_t *addr, unsigned long npages);
	int (*completes)(void *zone_device_data, struct gpusvm_fence *fence);
};

/*
 * Start to use @n free pages: one reference to each, and one of each to their
 * allocation.  -EBUSY, with none of them taken, if one is in use.
 */
int gpusvm_pages_init(struct page **pages, unsigned long n,
		      void *zone_device_data);

static inline int gpusvm_page_init(struct page *page, void *zone_device_data)
{
	return gpusvm_pages_init(&page, 1, zone_device_data);
}

/* gpusvm_page_put() for @n pages of one allocation. */
void gpusvm_pages_put(struct page **pages, unsigned long n);

/* Whether the CPU accesses it in place. */
static inline bool gpusvm_page_is_coherent(const struct page *page)
{
	return page->pgmap->type == MEMORY_DEVICE_COHERENT;
}

static inline int gpusvm_page_refs(const struct page *page)
{
	return __atomic_load_n(&page->refcount, __ATOMIC_ACQUIRE);
}

#endif /* GPUSVM_PAGE_PAGE_H */
