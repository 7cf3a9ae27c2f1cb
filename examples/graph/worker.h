/* SPDX-License-Identifier: MIT */
/*
 * How a worker reaches memory, and the guard that makes that safe.
 *
 * A worker translates an address and uses the result only inside its guard.
 * The invalidate callback clears page table entries, and then must wait until
 * no worker uses what it translated before.  That is what the guard is for:
 *
 *	worker, to enter		invalidate callback
 *	W1: batch becomes odd		I1: entries = 0, flushes++
 *	W2: read flushes, entries	I2: read batch; if odd wait for a change
 *
 * Both sides store before they load, in one total order (SEQ_CST).  If W1
 * comes before I2, the callback sees the worker and waits for it.  Else I1
 * comes before W2, and the worker sees the entries cleared.
 *
 * The wait is short: a guard ends after BATCH_SIZE accesses, and a worker
 * inside never blocks.  It touches the memory that its page table gives, its
 * stack (excluded from migration) and memory from gpusvm_alloc(), nothing
 * else; and it leaves the guard before it asks for a device fault to be
 * served.  So the callback may even run on the worker's own thread, within
 * that service: the worker is not in its guard then.
 */
#ifndef EXAMPLE_WORKER_H
#define EXAMPLE_WORKER_H

#include <string.h>

#include "gpu.h"

#define TLB_SIZE 512
#define BATCH_SIZE 1024

/* A translation that a worker remembers; page 0 is never one. */
struct tlb_entry {
	unsigned long page;
	unsigned long target;
};

struct gpu_worker {
	unsigned int batch; /* odd: inside the guard; read by others */
	unsigned int flushes_seen;
	unsigned int budget; /* accesses left in this batch */
	int error;	     /* of the first access that could not be served */
	unsigned long sink;  /* stands in for memory after an error */
	struct gpu *gpu;
	unsigned int index;
	pthread_t thread;
	struct tlb_entry tlb[TLB_SIZE];
} __attribute__((aligned(64)));

/* worker.c: @addr was not in the TLB */
void *gpu_worker_miss(struct gpu_worker *worker, unsigned long addr);

static inline void guard_enter(struct gpu_worker *w)
{
	unsigned int flushes;

	__atomic_store_n(&w->batch, w->batch + 1, __ATOMIC_SEQ_CST);
	flushes = __atomic_load_n(&w->gpu->flushes, __ATOMIC_SEQ_CST);
	if (flushes != w->flushes_seen) {
		memset(w->tlb, 0, sizeof(w->tlb));
		w->flushes_seen = flushes;
	}
	w->budget = BATCH_SIZE;
}

static inline void guard_leave(struct gpu_worker *w)
{
	__atomic_store_n(&w->batch, w->batch + 1, __ATOMIC_RELEASE);
}

/*
 * Where the device reaches @ptr.  Good until the worker's next call: that may
 * begin a new batch.  Without a worker (NULL) it is @ptr, so the CPU can run
 * a kernel, too.
 */
static inline void *translate(struct gpu_worker *w, const void *ptr)
{
	unsigned long addr = (unsigned long)ptr;
	unsigned long page, offset;
	const struct tlb_entry *entry;

	if (!w)
		return (void *)addr;
	if (!w->budget--) {
		guard_leave(w);
		guard_enter(w);
	}
	page = addr >> w->gpu->page_table.page_shift;
	offset = addr - (page << w->gpu->page_table.page_shift);
	entry = &w->tlb[page % TLB_SIZE];
	if (entry->page != page)
		return gpu_worker_miss(w, addr);
	return (void *)(entry->target + offset);
}

/*
 * What kernels use.  32-bit words are atomic, because workers may write the
 * same one at the same time.
 */
static inline uint32_t load_u32(struct gpu_worker *w, const uint32_t *ptr)
{
	return __atomic_load_n((uint32_t *)translate(w, ptr), __ATOMIC_RELAXED);
}

static inline void store_u32(struct gpu_worker *w, uint32_t *ptr,
			     uint32_t value)
{
	__atomic_store_n((uint32_t *)translate(w, ptr), value,
			 __ATOMIC_RELAXED);
}

static inline uint64_t load_u64(struct gpu_worker *w, const uint64_t *ptr)
{
	return *(uint64_t *)translate(w, ptr);
}

static inline double load_double(struct gpu_worker *w, const double *ptr)
{
	return *(double *)translate(w, ptr);
}

static inline void store_double(struct gpu_worker *w, double *ptr, double value)
{
	*(double *)translate(w, ptr) = value;
}

#endif /* EXAMPLE_WORKER_H */
