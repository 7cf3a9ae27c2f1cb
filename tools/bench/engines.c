/* SPDX-License-Identifier: MIT */
/* A copy engine by itself: io_uring, beside memcpy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <drm/drm_gpusvm.h>
#include <gpusvm/copy.h>
#include <gpusvm/devmem.h>

#if GPUSVM_HAVE_LIBURING
#include <liburing.h>
#endif

#include "bench.h"

#define CHUNK (2 * MIB)

/* As many chunks on either side: what is copied has left the caches. */
#define CHUNKS 16u

/**
 * struct copies - Memory, and device memory in a memfd
 * @engine: Copies ours
 * @pool: The device memory; ours in the first half, the baseline's behind it
 * @ram: The memory; halves as above
 * @pages: The device pages of a chunk
 * @addr: Where they go, or come from
 * @first_pfn: The first page of the device memory
 * @npages: How many
 * @next: The chunk that is next, for ours and for the baseline
 */
struct copies {
	struct gpusvm_copy_engine *engine;
	struct gpusvm_devmem_pool *pool;
	struct area ram;
	struct page **pages;
	gpusvm_dma_addr_t *addr;
	unsigned long first_pfn;
	size_t npages;
	unsigned int next[2];
};

static int create_pool(struct copies *copies)
{
	const struct gpusvm_copy_engine_opts engine_opts = {
		.size = sizeof(engine_opts),
		.type = GPUSVM_COPY_URING,
	};
	struct gpusvm_devmem_pool_opts pool_opts = {
		.size = sizeof(pool_opts),
		.bytes = 2 * CHUNKS * CHUNK,
		.type = GPUSVM_DEVMEM_MEMFD,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
	};
	int err;

	err = gpusvm_copy_engine_create(&copies->engine, &engine_opts);
	if (err)
		return because(SKIPPED, "no io_uring: %s", strerror(-err));
	pool_opts.engine = copies->engine;
	err = gpusvm_devmem_pool_create(&copies->pool, &pool_opts);
	if (err)
		return because(SKIPPED, "no device memory: %s", strerror(-err));
	return gpusvm_devmem_pool_alloc(copies->pool, pool_opts.bytes,
					&copies->first_pfn);
}

static int setup(void **state, const void *config)
{
	struct copies *copies = calloc(1, sizeof(*copies));
	int err;

	(void)config;
	if (!copies)
		return -ENOMEM;
	*state = copies;
	copies->npages = CHUNK / gpusvm_page_size();
	copies->pages = calloc(copies->npages, sizeof(copies->pages[0]));
	copies->addr = calloc(copies->npages, sizeof(copies->addr[0]));
	if (!copies->pages || !copies->addr)
		return -ENOMEM;
	err = area_create(&copies->ram, 2 * CHUNKS * CHUNK, false);
	if (err)
		return err;
	area_fill(&copies->ram);
	return create_pool(copies);
}

static int teardown(void *state)
{
	struct copies *copies = state;
	int err;

	gpusvm_devmem_pool_free(copies->pool, copies->first_pfn,
				2 * CHUNKS * CHUNK);
	err = gpusvm_devmem_pool_destroy(copies->pool);
	gpusvm_copy_engine_destroy(copies->engine);
	area_destroy(&copies->ram);
	free(copies->pages);
	free(copies->addr);
	free(copies);
	return err;
}

/* The next chunk of a side: its memory, and in @pages its device memory. */
static uint8_t *next_chunk(struct copies *copies, bool base)
{
	size_t i, chunk = copies->next[base]++ % CHUNKS + base * CHUNKS;
	uint8_t *ram = copies->ram.start + chunk * CHUNK;

	for (i = 0; i < copies->npages; i++) {
		copies->pages[i] = gpusvm_pfn_to_page(
			copies->first_pfn + chunk * copies->npages + i);
		copies->addr[i] = (uintptr_t)ram + i * gpusvm_page_size();
	}
	return ram;
}

/* There and back; what comes back must be what went. */
static int copy_both_ways(struct copies *copies, uint8_t *ram)
{
	uint8_t mark = ram[CHUNK - 1];
	int err;

	err = gpusvm_copy_to_devmem(copies->pages, copies->addr,
				    copies->npages);
	ram[CHUNK - 1] = (uint8_t)~mark;
	if (!err)
		err = gpusvm_copy_to_ram(copies->pages, copies->addr,
					 copies->npages);
	return !err && ram[CHUNK - 1] != mark ? -EIO : err;
}

static int ours(void *state, double *value)
{
	uint8_t *ram = next_chunk(state, false);
	uint64_t since = now_ns();
	int err = copy_both_ways(state, ram);

	*value = gb_per_s(2 * CHUNK, now_ns() - since);
	return err;
}

static int base(void *state, double *value)
{
	struct copies *copies = state;
	uint8_t *ram = next_chunk(copies, true);
	uint8_t *device = gpusvm_page_address(copies->pages[0]);
	uint64_t since = now_ns();

	memcpy(device, ram, CHUNK);
	memcpy(ram, device, CHUNK);
	*value = gb_per_s(2 * CHUNK, now_ns() - since);
	return 0;
}

static uint64_t thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#if GPUSVM_HAVE_LIBURING
/* As the engine cuts it. */
#define REQUEST (512 * KIB)
#define REQUESTS (CHUNK / REQUEST)

/**
 * struct bare_ring - Requests without the library
 * @copies: The baseline, which is memcpy() to a mapping of such a file
 * @ring: The ring
 * @file: A memfd
 * @ram: What is copied
 * @next: The chunk that is next
 */
struct bare_ring {
	void *copies;
	struct io_uring ring;
	int file;
	struct area ram;
	unsigned int next;
};

static int setup_ring(void **state, const void *config)
{
	struct bare_ring *bare = calloc(1, sizeof(*bare));
	int err;

	if (!bare)
		return -ENOMEM;
	*state = bare;
	err = setup(&bare->copies, config);
	if (!err)
		err = area_create(&bare->ram, CHUNKS * CHUNK, false);
	if (err)
		return err;
	area_fill(&bare->ram);
	bare->file = memfd_create("gpusvm-bench", MFD_CLOEXEC);
	if (bare->file < 0 || ftruncate(bare->file, CHUNKS * CHUNK))
		return -errno;
	return io_uring_queue_init(REQUESTS, &bare->ring,
				   IORING_SETUP_COOP_TASKRUN);
}

static int teardown_ring(void *state)
{
	struct bare_ring *bare = state;
	int err = teardown(bare->copies);

	io_uring_queue_exit(&bare->ring);
	close(bare->file);
	area_destroy(&bare->ram);
	free(bare);
	return err;
}

static int transfer(struct bare_ring *bare, size_t at, bool write)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	size_t i, offset;
	int res, err = 0;

	for (i = 0; i < REQUESTS; i++) {
		offset = at + i * REQUEST;
		sqe = io_uring_get_sqe(&bare->ring);
		if (write)
			io_uring_prep_write(sqe, bare->file,
					    bare->ram.start + offset, REQUEST,
					    offset);
		else
			io_uring_prep_read(sqe, bare->file,
					   bare->ram.start + offset, REQUEST,
					   offset);
	}
	res = io_uring_submit_and_wait(&bare->ring, REQUESTS);
	if (res < 0)
		return res;
	for (i = 0; i < REQUESTS; i++) {
		res = io_uring_wait_cqe(&bare->ring, &cqe);
		if (res)
			return res;
		if (cqe->res != (int)REQUEST)
			err = -EIO;
		io_uring_cqe_seen(&bare->ring, cqe);
	}
	return err;
}

static int transfer_both_ways(struct bare_ring *bare)
{
	size_t at = bare->next++ % CHUNKS * CHUNK;
	int err = transfer(bare, at, true);

	return err ? err : transfer(bare, at, false);
}

static int bound(void *state, double *value)
{
	uint64_t since = now_ns();
	int err = transfer_both_ways(state);

	*value = gb_per_s(2 * CHUNK, now_ns() - since);
	return err;
}

static int bound_cpu(void *state, double *value)
{
	uint64_t since = thread_ns();
	int err = transfer_both_ways(state);

	*value = us_each(thread_ns() - since, 1);
	return err;
}

static int bound_cpu_base(void *state, double *value)
{
	uint64_t since = now_ns();
	int err = transfer_both_ways(state);

	*value = us_each(now_ns() - since, 1);
	return err;
}

static int bound_base(void *state, double *value)
{
	struct bare_ring *bare = state;

	return base(bare->copies, value);
}
#else
static int setup_ring(void **state, const void *config)
{
	(void)state;
	(void)config;
	return because(SKIPPED, "built without liburing");
}

#define bound NULL
#define bound_base NULL
#define bound_cpu NULL
#define bound_cpu_base NULL
#define teardown_ring NULL
#endif

/* Both of the same copy: the round of ours, and as the baseline its duration. */
static int cpu_ours(void *state, double *value)
{
	uint8_t *ram = next_chunk(state, false);
	uint64_t since = thread_ns();
	int err = copy_both_ways(state, ram);

	*value = us_each(thread_ns() - since, 1);
	return err;
}

static int cpu_base(void *state, double *value)
{
	uint8_t *ram = next_chunk(state, false);
	uint64_t since = now_ns();
	int err = copy_both_ways(state, ram);

	*value = us_each(now_ns() - since, 1);
	return err;
}

const struct measure engine_measures[] = {
	{
		.name = "uring_2m",
		.what = "2 MiB by the uring engine, both ways",
		.baseline = "memcpy of the same bytes",
		.unit = "GB/s",
		.better = HIGHER,
		.reach = 0.75,
		.placement = UNPINNED,
		.setup = setup,
		.ours = ours,
		.base = base,
		.teardown = teardown,
	},
	{
		.name = "uring_2m_cpu",
		.what = "CPU time of the thread that calls the uring engine",
		.baseline = "how long the call takes",
		.unit = "us",
		.better = LOWER,
		.reach = 0.05,
		.placement = UNPINNED,
		.setup = setup,
		.ours = cpu_ours,
		.base = cpu_base,
		.teardown = teardown,
	},
	{
		.name = "bound_uring_2m",
		.what = "2 MiB by bare io_uring requests to a memfd, both ways",
		.baseline = "memcpy of the same bytes",
		.unit = "GB/s",
		.better = HIGHER,
		.placement = UNPINNED,
		.setup = setup_ring,
		.ours = bound,
		.base = bound_base,
		.teardown = teardown_ring,
	},
	{
		.name = "bound_uring_2m_cpu",
		.what = "CPU time of the thread that makes bare io_uring "
			"requests",
		.baseline = "how long they take",
		.unit = "us",
		.better = LOWER,
		.placement = UNPINNED,
		.setup = setup_ring,
		.ours = bound_cpu,
		.base = bound_cpu_base,
		.teardown = teardown_ring,
	},
	{ .name = NULL },
};
