/* SPDX-License-Identifier: MIT */
/*
 * The shortest driver that moves memory to a device: one range, the memcpy
 * engine, no page table.  For check.c and measure.c.
 */
#ifndef GPUSVM_INFO_DRIVER_H
#define GPUSVM_INFO_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <drm/drm_gpusvm.h>
#include <gpusvm/devmem.h>

/**
 * struct driver - Driver, device and program in one
 * @svm: Its GPU SVM
 * @dpagemap: How device pages are mapped
 * @pool: Device memory
 * @devmem: The allocation; there is one at a time
 * @released: The allocation is ours again
 * @pfn: First page of the allocation
 * @range: The range, while the data is on the device
 * @data: The program's memory
 * @size: Its size, and that of the one range in it
 * @stuck: It could not come home, so nothing of this can go
 *
 * From gpusvm_alloc(): callbacks touch it, so it must never migrate.
 */
struct driver {
	struct drm_gpusvm svm;
	struct drm_pagemap dpagemap;
	struct gpusvm_devmem_pool *pool;
	struct drm_gpusvm_devmem devmem;
	struct gpusvm_completion released;
	unsigned long pfn;
	struct drm_gpusvm_range *range;
	volatile uint8_t *data;
	size_t size;
	bool stuck;
};

/* @size is a power of two, at least a page.  0 or a negative errno. */
int driver_create(struct driver **driver, struct mm_struct *mm,
		  struct gpusvm_devmem_pool *pool, size_t size);
void driver_destroy(struct driver *driver);

/* Move the data to the device; the time that it took is stored in @ns. */
int driver_to_device(struct driver *driver, uint64_t *ns);

/*
 * The CPU touches the data, one byte in the middle, and all of it comes home;
 * where that would be its end it is asked for.  0 or a negative errno.
 */
int driver_touch(struct driver *driver);

/* After the CPU has touched the data: wait until the device has let go. */
void driver_wait(struct driver *driver);

/* What the device does: add one to each byte of the data. */
int driver_increment(struct driver *driver);

#endif /* GPUSVM_INFO_DRIVER_H */
