/* SPDX-License-Identifier: MIT */
/*
 * The worker threads of the device.
 */
#include <errno.h>
#include <sched.h>

#include "worker.h"

/*
 * Device faults for one access, at most.  A few are normal: another worker's
 * eviction may take the page before it is used.
 */
#define FAULTS_PER_ACCESS 100

static bool in_vram(const struct gpu *gpu, unsigned long addr)
{
	return addr - gpu->vram_start < gpu->vram_size;
}

/* Tell the eviction that the block behind a device page is in use. */
static void touch_block(struct gpu *gpu, unsigned long target)
{
	unsigned long frame = (target - gpu->vram_start) >>
			      gpu->page_table.page_shift;

	/* It exists: it cannot be freed before this worker's batch ends. */
	__atomic_store_n(&gpu->frames[frame]->last_use,
			 __atomic_load_n(&gpu->clock, __ATOMIC_RELAXED),
			 __ATOMIC_RELAXED);
}

void *gpu_worker_miss(struct gpu_worker *w, unsigned long addr)
{
	struct gpu *gpu = w->gpu;
	unsigned int shift = gpu->page_table.page_shift;
	unsigned long page = addr >> shift;
	struct tlb_entry *entry = &w->tlb[page % TLB_SIZE];
	unsigned long target;
	int faults;

	for (faults = 0; !w->error; faults++) {
		target = pt_lookup(&gpu->page_table, addr);
		if (target) {
			if (in_vram(gpu, target))
				touch_block(gpu, target);
			entry->page = page;
			entry->target = target;
			return (void *)(target + (addr - (page << shift)));
		}
		guard_leave(w);
		if (faults == FAULTS_PER_ACCESS)
			w->error = -EBUSY;
		else
			w->error = gpu_fault(gpu, addr);
		guard_enter(w);
	}
	w->sink = 0;
	return &w->sink;
}

/*
 * The second half of an invalidation: page table entries were cleared, wait
 * until no worker uses what it remembers of them.
 */
void gpu_flush(struct gpu *gpu)
{
	unsigned int i;

	__atomic_fetch_add(&gpu->flushes, 1, __ATOMIC_SEQ_CST);
	for (i = 0; i < gpu->options.workers; i++) {
		unsigned int *batch = &gpu->workers[i].batch;
		unsigned int seen = __atomic_load_n(batch, __ATOMIC_SEQ_CST);

		while (seen % 2 &&
		       seen == __atomic_load_n(batch, __ATOMIC_ACQUIRE))
			sched_yield();
	}
}

/* Exclude the stack of this thread from migration, or allow it again. */
static int exclude_stack(int (*call)(const void *addr, size_t size))
{
	pthread_attr_t attr;
	void *stack;
	size_t size;
	int err;

	err = -pthread_getattr_np(pthread_self(), &attr);
	if (err)
		return err;
	pthread_attr_getstack(&attr, &stack, &size);
	pthread_attr_destroy(&attr);
	return call(stack, size);
}

static void *worker_main(void *arg)
{
	struct gpu_worker *w = arg;
	struct gpu *gpu = w->gpu;
	uint64_t begin, end;

	w->error = exclude_stack(gpusvm_exclude);
	for (;;) {
		pthread_barrier_wait(&gpu->start);
		if (!gpu->kernel)
			break;
		/* A fixed share, so that every run does the same. */
		begin = gpu->count * w->index / gpu->options.workers;
		end = gpu->count * (w->index + 1) / gpu->options.workers;
		guard_enter(w);
		gpu->kernel(w, gpu->args, begin, end);
		guard_leave(w);
		pthread_barrier_wait(&gpu->done);
	}
	exclude_stack(gpusvm_include);
	return NULL;
}

int gpu_workers_start(struct gpu *gpu)
{
	unsigned int workers = gpu->options.workers;
	unsigned int i;
	int err;

	gpu->workers = gpusvm_alloc(workers * sizeof(*gpu->workers));
	if (!gpu->workers)
		return -ENOMEM;
	pthread_barrier_init(&gpu->start, NULL, workers + 1);
	pthread_barrier_init(&gpu->done, NULL, workers + 1);
	for (i = 0; i < workers; i++) {
		gpu->workers[i].gpu = gpu;
		gpu->workers[i].index = i;
		err = -pthread_create(&gpu->workers[i].thread, NULL,
				      worker_main, &gpu->workers[i]);
		if (err)
			return err;
	}
	return 0;
}

void gpu_workers_stop(struct gpu *gpu)
{
	unsigned int i;

	gpu->kernel = NULL;
	pthread_barrier_wait(&gpu->start);
	for (i = 0; i < gpu->options.workers; i++)
		pthread_join(gpu->workers[i].thread, NULL);
	pthread_barrier_destroy(&gpu->start);
	pthread_barrier_destroy(&gpu->done);
	gpusvm_free(gpu->workers);
}
