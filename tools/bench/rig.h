/* SPDX-License-Identifier: MIT */
/*
 * A driver for measures: everything that a driver does on the way, as little of
 * it as possible.  One thread is program, driver and device.
 */
#ifndef GPUSVM_BENCH_RIG_H
#define GPUSVM_BENCH_RIG_H

#include <drm/drm_gpusvm.h>
#include <gpusvm/batch.h>
#include <gpusvm/devmem.h>
#include <gpusvm/gpusvm.h>

#include "bench.h"

/* Which copy callbacks; rig.c says what they are. */
enum engine {
	ENGINE_MEMCPY,
	ENGINE_BEST,
	ENGINES
};

/**
 * struct rig_opts - What a rig is to be
 * @chunk: Bytes of a range: a power of two, at least a page
 * @count: Ranges, and slots, of the data
 * @huge: Data in huge pages, or fail; else in pages of 4 KiB
 * @engine: What copies
 * @technique: What takes pages
 * @source: What tells of CPU faults
 * @devmem: Bytes of device memory beside that of the slots
 * @no_devmem: No device memory, hence no migration; data is not populated
 */
struct rig_opts {
	size_t chunk;
	size_t count;
	bool huge;
	enum engine engine;
	enum gpusvm_technique technique;
	enum gpusvm_source source;
	size_t devmem;
	bool no_devmem;
};

struct rig;

/**
 * struct slot - The place of one range of the data
 * @devmem: Its allocation, while it is on the device
 * @released: The allocation is ours again
 * @rig: The rig
 * @range: Its range, or NULL
 * @pfn: First device page of the allocation
 */
struct slot {
	struct drm_gpusvm_devmem devmem;
	struct gpusvm_completion released;
	struct rig *rig;
	struct drm_gpusvm_range *range;
	unsigned long pfn;
};

/**
 * struct rig - Driver, device and program in one
 * @svm: Its GPU SVM
 * @mm: The address space
 * @dpagemap: How device pages are mapped
 * @pool: Device memory
 * @data: The program's memory
 * @chunk: Bytes of a range
 * @count: Slots
 * @slot: The slots
 * @entry: For those that move in one call
 * @pte: The device's page table, by pages of @data
 * @ops: The callbacks
 * @base_pfn: Device memory that the baseline uses
 * @base_bytes: Its size
 *
 * From gpusvm_alloc(): callbacks touch it, so it must never migrate.
 */
struct rig {
	struct drm_gpusvm svm;
	struct mm_struct *mm;
	struct drm_pagemap dpagemap;
	struct gpusvm_devmem_pool *pool;
	struct area data;
	unsigned long chunk;
	size_t count;
	struct slot *slot;
	struct gpusvm_batch_entry *entry;
	uint64_t *pte;
	const struct drm_gpusvm_devmem_ops *ops;
	unsigned long base_pfn;
	size_t base_bytes;
};

/* Opens the address space; 0, a negative errno, or SKIPPED. */
int rig_create(struct rig **rig, const struct rig_opts *opts);
/* All is home afterwards. */
int rig_destroy(struct rig *rig);

/* Where slot @i is for the CPU, and for the device while it is there. */
uint8_t *rig_data(const struct rig *rig, size_t i);
uint8_t *rig_device_data(const struct rig *rig, size_t i);
/* Device memory for the baseline. */
uint8_t *rig_base_devmem(const struct rig *rig);

/* The range of a device fault at @addr; or an error pointer. */
struct drm_gpusvm_range *rig_find(struct rig *rig, uintptr_t addr,
				  const struct drm_gpusvm_ctx *ctx);
/* Write the device's page table, if @range may be used: 0 or -EAGAIN. */
int rig_commit(struct rig *rig, struct drm_gpusvm_range *range);

/* Give slot @i a range, or take it away. */
int rig_insert(struct rig *rig, size_t i);
void rig_remove(struct rig *rig, size_t i);
/* Move slot @i, which has a range, to the device. */
int rig_out(struct rig *rig, size_t i);
/* The same of @n slots from @first on, in one call. */
int rig_out_all(struct rig *rig, size_t first, size_t n);
/* Get its pages and commit. */
int rig_map(struct rig *rig, size_t i);
/* Bring it home by eviction. */
int rig_home(struct rig *rig, size_t i);
/* The CPU has touched it: wait until the device has let go. */
void rig_reap(struct rig *rig, size_t i);

#endif /* GPUSVM_BENCH_RIG_H */
