/* SPDX-License-Identifier: MIT */
/*
 * A "GPU": worker threads that reach the program's memory only through their
 * own page table, and the driver that fills it.
 *
 *	gpu.c		life of the device, and launching kernels on it
 *	worker.c	the workers: address translation, the guard
 *	svm.c		the driver: device faults, invalidation, garbage
 *	vram.c		device memory: allocations, copies, eviction
 *	pagetable.c	the page table
 *
 * Everything that the invalidate callback or a worker inside its guard
 * touches comes from gpusvm_alloc(): memory that never migrates.
 *
 * Locks, outer to inner: driver lock (gpu_lock) - the library's address space
 * and notifier locks - lists.
 */
#ifndef EXAMPLE_GPU_H
#define EXAMPLE_GPU_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <drm/drm_gpusvm.h>
#include <gpusvm/copy.h>
#include <gpusvm/devmem.h>
#include <gpusvm/gpusvm.h>

#include "pagetable.h"

struct gpu_worker;

struct gpu_options {
	size_t memory; /* bytes of device memory */
	unsigned int workers;
	bool migrate; /* else use system memory where it is */
	enum gpusvm_technique technique;
	enum gpusvm_copy_engine_type engine;
};

/* Written with the driver lock held, read while no kernel runs. */
struct gpu_stats {
	unsigned long faults;
	unsigned long retries; /* of a fault that met a change of memory */
	unsigned long ranges;  /* created */
	unsigned long collected;
	unsigned long evictions;
	unsigned long refused; /* migrations that failed, the last with */
	int refused_why;
};

/* A range of the library with what this driver keeps with it. */
struct gpu_range {
	struct drm_gpusvm_range base;
	bool in_page_table; /* changes under the notifier lock */
	bool is_garbage;    /* lists */
	struct gpu_range *next_garbage;
};

/* An allocation of device memory: the home of one range while migrated. */
struct gpu_block {
	struct drm_gpusvm_devmem devmem;
	struct gpu *gpu;
	unsigned long pfn;
	unsigned long last_use; /* gpu->clock then; workers write it */
	int refs;		/* lists */
	bool leaving;		/* lists: chosen for eviction */
};

/* The driver lock, such that the library can check that it is held. */
struct gpu_lock {
	pthread_mutex_t mutex;
	struct gpusvm_lockdep_map dep_map;
};

/* Work for the device, done for the indices from @begin to @end. */
typedef void gpu_kernel(struct gpu_worker *worker, const void *args,
			uint64_t begin, uint64_t end);

#define GPU_ARGS_SIZE 128

struct gpu {
	struct drm_gpusvm svm;
	struct mm_struct *mm;
	struct gpu_options options;
	struct gpu_lock lock;
	struct gpu_stats stats;
	struct page_table page_table;
	unsigned long chunk_sizes[3];

	pthread_mutex_t lists;
	struct gpu_range *garbage;

	/* Device memory; frames[] says which block a page belongs to. */
	struct gpusvm_copy_engine *engine;
	struct gpusvm_devmem_pool *pool;
	struct drm_pagemap dpagemap;
	unsigned long vram_start;
	unsigned long vram_size;
	struct gpu_block **frames;
	unsigned long clock; /* ticks with each device fault */

	/* The launch that the workers are in. */
	struct gpu_worker *workers;
	unsigned int flushes; /* of translations that workers remember */
	pthread_barrier_t start;
	pthread_barrier_t done;
	gpu_kernel *kernel;
	uint64_t count;
	unsigned char args[GPU_ARGS_SIZE] __attribute__((aligned(16)));
};

/* gpu.c */
int gpu_create(struct gpu **gpu, const struct gpu_options *options);
int gpu_launch(struct gpu *gpu, gpu_kernel *kernel, const void *args,
	       size_t size, uint64_t count);
int gpu_destroy(struct gpu *gpu);

/* worker.c */
int gpu_workers_start(struct gpu *gpu);
void gpu_workers_stop(struct gpu *gpu);
void gpu_flush(struct gpu *gpu);

/* svm.c */
int gpu_svm_init(struct gpu *gpu);
void gpu_svm_fini(struct gpu *gpu);
int gpu_fault(struct gpu *gpu, unsigned long addr);

/* vram.c */
int gpu_vram_init(struct gpu *gpu);
int gpu_vram_fini(struct gpu *gpu);
struct gpu_block *gpu_block_alloc(struct gpu *gpu, size_t size);
void gpu_block_put(struct gpu_block *block);
uint64_t gpu_copy_nanoseconds(void);

#endif /* EXAMPLE_GPU_H */
