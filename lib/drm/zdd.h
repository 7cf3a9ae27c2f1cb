/* SPDX-License-Identifier: MIT */
/*
 * The glue between the device pages of an allocation and the allocation: what
 * a device page's zone_device_data points to.
 *
 * Each device page in use holds a reference, and a migration one more.  When
 * the last goes, the driver's allocation is detached and released.
 */
#ifndef GPUSVM_DRM_ZDD_H
#define GPUSVM_DRM_ZDD_H

#include <drm/drm_gpusvm.h>
#include <stdbool.h>

#include "migration.h"
#include "page.h"

/**
 * struct drm_gpusvm_zdd - Device pages of one migration
 * @refcount: References; atomic
 * @devmem: The driver's allocation; NULL until its migration has succeeded
 * @ops: The driver's callbacks
 * @dev: Device that copies
 * @owner: Owner of the device pages
 * @dpagemap: How the device pages are mapped
 * @lock: Held during a migration; tried, not waited for, by CPU faults.  A
 *	futex and no mutex: another thread may end what one has started
 * @holder: The thread that has it, 0 if that is over; atomic
 * @in_copy: The holder is in the driver's callback that copies
 * @migration: How its pages move
 * @target: The allocation that they are migrating to
 * @timeslice_ms: How long they stay there
 * @done: What to signal when a migration that goes on after the call has ended
 * @pfn: The driver's page frame numbers; before the first copy
 * @addr: For each page, its address in system memory as the device sees it
 */
struct drm_gpusvm_zdd {
	unsigned long refcount;
	struct drm_gpusvm_devmem *devmem;
	const struct drm_gpusvm_devmem_ops *ops;
	struct device *dev;
	void *owner;
	struct drm_pagemap *dpagemap;
	unsigned int lock;
	pid_t holder;
	bool in_copy;
	struct migration migration;
	struct drm_gpusvm_devmem *target;
	unsigned long timeslice_ms;
	struct gpusvm_fence *done;
	union {
		unsigned long *pfn;
		dma_addr_t *addr;
	};
};

/* For @npages pages that are to be @devmem's; one reference.  Or NULL. */
struct drm_gpusvm_zdd *gpusvm_zdd_create(struct mm_struct *mm,
					 struct drm_gpusvm_devmem *devmem,
					 void *owner, unsigned long npages);
/* Take and drop @n references. */
void gpusvm_zdd_get(struct drm_gpusvm_zdd *zdd, unsigned long n);
void gpusvm_zdd_put(struct drm_gpusvm_zdd *zdd, unsigned long n);

/* False if it is not to be had before @deadline_ns. */
bool gpusvm_zdd_lock(struct drm_gpusvm_zdd *zdd, unsigned long deadline_ns);

/* Release the lock, and let those go on who met it. */
void gpusvm_zdd_unlock(struct drm_gpusvm_zdd *zdd);

/*
 * Bring the pages home whose address is in the event's interval, with the lock
 * held.  Returns how many came, or -errno.
 */
long gpusvm_zdd_bring_home(struct drm_gpusvm_zdd *zdd,
			   const struct mmu_notifier_range *range);

/* For the device pages' &struct dev_pagemap_ops: see there. */
enum vm_fault_result gpusvm_zdd_migrate_to_ram(struct vm_fault *vmf);
int gpusvm_zdd_read_pages(struct drm_gpusvm_zdd *zdd, struct page **pages,
			  dma_addr_t *addr, unsigned long npages);

int gpusvm_zdd_copy_completes(void *zone_device_data,
			      struct gpusvm_fence *fence);

/*
 * Have the driver copy, by one of its callbacks, what is mapped for the device;
 * what completes it later is in the migration's @fence.
 */
int gpusvm_zdd_start_copy(struct drm_gpusvm_zdd *zdd, bool to_device);

/*
 * Map the migration's system pages for the device: fill @addr.  -EFAULT, with
 * nothing left mapped.
 */
int gpusvm_zdd_dma_map(struct drm_gpusvm_zdd *zdd, enum dma_data_direction dir);
void gpusvm_zdd_dma_unmap(struct drm_gpusvm_zdd *zdd,
			  enum dma_data_direction dir);

#endif /* GPUSVM_DRM_ZDD_H */
