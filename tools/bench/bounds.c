/* SPDX-License-Identifier: MIT */
/*
 * What the kernel's part alone costs: the calls that the library cannot do
 * without, made directly, against the baselines of the measures that they
 * bound.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bare.h"
#include "trip.h"
#include "uffd.h"

/* Faults of a round. */
#define FAULTS 32

/* A fault that is served by a move, and one by UFFDIO_COPY. */
struct served {
	struct bare moves;
	struct bare copies;
};

static int setup_served(void **state, const void *config)
{
	struct served *served = calloc(1, sizeof(*served));
	const size_t *chunk = config;
	int err;

	if (!served)
		return -ENOMEM;
	*state = served;
	err = bare_create(&served->moves, FAULTS, *chunk, true);
	return err ? err
		   : bare_create(&served->copies, FAULTS, gpusvm_page_size(),
				 false);
}

static int teardown_served(void *state)
{
	struct served *served = state;

	bare_destroy(&served->moves);
	bare_destroy(&served->copies);
	free(served);
	return 0;
}

static int fault_all(struct bare *bare, double *value)
{
	uint64_t since = now_ns();
	size_t i;
	int err;

	for (i = 0; i < FAULTS; i++)
		touch(bare->data.start + i * bare->chunk);
	*value = us_each(now_ns() - since, FAULTS);
	err = bare_check(bare, FAULTS);
	return err ? err : bare_drop(bare, FAULTS);
}

static int fault_moves(void *state, double *value)
{
	struct served *served = state;

	return fault_all(&served->moves, value);
}

static int fault_copies(void *state, double *value)
{
	struct served *served = state;

	return fault_all(&served->copies, value);
}

/**
 * struct moved - A trip by copies and UFFDIO_MOVE, or without that
 * @trip: For its baseline, and what copies
 * @protects: By UFFDIO_WRITEPROTECT, a copy more, and UFFDIO_COPY
 * @data: What travels
 * @staging: Where its pages are meanwhile
 * @pool: Device memory
 * @first_pfn: Its first page
 * @pages: The device pages of a range
 * @addr: Where they come from, or go
 * @data_uffd: That of @data
 * @staging_uffd: That of @staging
 * @side: Where it is on its way
 */
struct moved {
	struct trip *trip;
	bool protects;
	struct area data;
	struct area staging;
	struct gpusvm_devmem_pool *pool;
	unsigned long first_pfn;
	struct page **pages;
	gpusvm_dma_addr_t *addr;
	int data_uffd;
	int staging_uffd;
	struct trip_side side;
};

static size_t pages_of_chunk(void)
{
	return TRIP_CHUNK / gpusvm_page_size();
}

/* What the copy of range @i is told. */
static void describe_copy(struct moved *moved, size_t i)
{
	size_t j, n = pages_of_chunk();

	for (j = 0; j < n; j++) {
		moved->pages[j] =
			gpusvm_pfn_to_page(moved->first_pfn + i * n + j);
		moved->addr[j] = (uintptr_t)moved->staging.start +
				 i * TRIP_CHUNK + j * gpusvm_page_size();
	}
}

/* From the CPU to staging. */
static int take(struct moved *moved, size_t at)
{
	uint8_t *staging = moved->staging.start + at;
	uint8_t *data = moved->data.start + at;
	int err;

	if (!moved->protects)
		return uffd_move(moved->staging_uffd, staging, data,
				 TRIP_CHUNK);
	err = uffd_protect(moved->data_uffd, data, TRIP_CHUNK);
	if (!err)
		memcpy(staging, data, TRIP_CHUNK);
	return err;
}

/* The CPU's copies are no more. */
static int drop(struct moved *moved, size_t at)
{
	if (moved->protects &&
	    madvise(moved->data.start + at, TRIP_CHUNK, MADV_DONTNEED))
		return -errno;
	return 0;
}

/* From staging to the CPU. */
static int give(struct moved *moved, size_t at)
{
	const uint8_t *staging = moved->staging.start + at;
	const uint8_t *data = moved->data.start + at;

	return moved->protects
		       ? uffd_copy(moved->data_uffd, data, staging, TRIP_CHUNK)
		       : uffd_move(moved->data_uffd, data, staging, TRIP_CHUNK);
}

static int move_out(struct moved *moved, uint64_t *ns)
{
	size_t i = trip_out_index(&moved->side);
	size_t at = i * TRIP_CHUNK;
	uint64_t since;
	int err;

	describe_copy(moved, i);
	trip_cool(moved->trip);
	since = now_ns();
	err = take(moved, at);
	if (!err)
		err = moved->trip->rig->ops->copy_to_devmem(
			moved->pages, moved->addr, pages_of_chunk());
	if (!err)
		err = drop(moved, at);
	*ns = now_ns() - since;
	return err ? err
		   : trip_check_and_mark(gpusvm_page_address(moved->pages[0]),
					 moved->side.mark[i]++);
}

static int move_home(struct moved *moved, uint64_t *ns)
{
	size_t i = trip_home_index(&moved->side);
	size_t at = i * TRIP_CHUNK;
	uint64_t since;
	int err;

	describe_copy(moved, i);
	trip_cool(moved->trip);
	since = now_ns();
	err = moved->trip->rig->ops->copy_to_ram(moved->pages, moved->addr,
						 pages_of_chunk());
	if (!err)
		err = give(moved, at);
	*ns = now_ns() - since;
	return err ? err
		   : trip_check_and_mark(moved->data.start + at,
					 moved->side.mark[i]++);
}

static int create_devmem(struct moved *moved)
{
	const struct gpusvm_devmem_pool_opts opts = {
		.size = sizeof(opts),
		.bytes = TRIP_COUNT * TRIP_CHUNK,
		.node = -1,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
	};
	int err;

	moved->pages = calloc(pages_of_chunk(), sizeof(moved->pages[0]));
	moved->addr = calloc(pages_of_chunk(), sizeof(moved->addr[0]));
	if (!moved->pages || !moved->addr)
		return -ENOMEM;
	err = gpusvm_devmem_pool_create(&moved->pool, &opts);
	return err ? err
		   : gpusvm_devmem_pool_alloc(moved->pool, opts.bytes,
					      &moved->first_pfn);
}

static int create_moved(struct moved *moved, bool huge)
{
	size_t size = TRIP_COUNT * TRIP_CHUNK;
	int err;

	err = area_create(&moved->data, size, huge);
	if (!err)
		err = area_create(&moved->staging, size, huge);
	if (!err)
		err = create_devmem(moved);
	if (!err)
		err = uffd_open(&moved->data_uffd, UFFD_FEATURE_MOVE);
	if (!err)
		err = uffd_open(&moved->staging_uffd, UFFD_FEATURE_MOVE);
	if (err)
		return err;
	/* Full of zeros, which is the first mark. */
	memset(moved->data.start, 0, size);
	if (huge && area_huge_bytes(&moved->data) < size)
		return because(SKIPPED, "the kernel gave no huge pages");
	if (moved->protects) {
		area_fill(&moved->staging);
		return uffd_register_wp(moved->data_uffd, &moved->data);
	}
	err = uffd_register(moved->data_uffd, &moved->data);
	return err ? err : uffd_register(moved->staging_uffd, &moved->staging);
}

static int setup_moved(void **state, const void *opaque)
{
	const struct trip_config *config = opaque;
	struct moved *moved = calloc(1, sizeof(*moved));
	void *trip;
	uint64_t ns;
	size_t i;
	int err;

	if (!moved)
		return -ENOMEM;
	err = trip_setup(&trip, config);
	if (err)
		return err;
	moved->trip = trip;
	moved->protects = config->technique == GPUSVM_TECHNIQUE_WRITE_PROTECT;
	err = create_moved(moved, config->huge);
	for (i = 0; !err && i < TRIP_COUNT / 2; i++) {
		err = move_out(moved, &ns);
		trip_advance(&moved->side);
	}
	*state = moved;
	return err;
}

static int teardown_moved(void *state)
{
	struct moved *moved = state;
	int err = trip_teardown(moved->trip);

	/* The pages that are in staging go with it. */
	area_destroy(&moved->data);
	area_destroy(&moved->staging);
	gpusvm_devmem_pool_free(moved->pool, moved->first_pfn,
				TRIP_COUNT * TRIP_CHUNK);
	if (!err)
		err = gpusvm_devmem_pool_destroy(moved->pool);
	free(moved->pages);
	free(moved->addr);
	free(moved);
	return err;
}

static int roundtrip_moved(void *state, double *value)
{
	struct moved *moved = state;
	uint64_t out_ns, home_ns;
	int err;

	err = move_out(moved, &out_ns);
	if (!err)
		err = move_home(moved, &home_ns);
	if (err)
		return err;
	trip_advance(&moved->side);
	*value = gb_per_s(2 * TRIP_CHUNK, out_ns + home_ns);
	return 0;
}

static int roundtrip_base(void *state, double *value)
{
	struct moved *moved = state;

	return trip_base_roundtrip(moved->trip, value);
}

static const struct trip_config config_4k = { .engine = ENGINE_MEMCPY };
static const struct trip_config config_thp = {
	.huge = true,
	.base_huge = true,
	.engine = ENGINE_MEMCPY,
};

static const struct trip_config config_4k_best = { .engine = ENGINE_BEST };
static const struct trip_config config_thp_best = {
	.huge = true,
	.base_huge = true,
	.engine = ENGINE_BEST,
};

static const struct trip_config config_wp = {
	.engine = ENGINE_MEMCPY,
	.technique = GPUSVM_TECHNIQUE_WRITE_PROTECT,
};

static const size_t chunk_4k = 4 * KIB;
static const size_t chunk_64k = 64 * KIB;

#define FAULT                                                             \
	.baseline = "bare userfaultfd loop, UFFDIO_COPY of 4 KiB",        \
	.unit = "us", .better = LOWER, .placement = SAME_CPU,             \
	.setup = setup_served, .ours = fault_moves, .base = fault_copies, \
	.teardown = teardown_served

#define ROUNDTRIP                                                              \
	.unit = "GB/s", .better = HIGHER, .placement = SAME_CPU,               \
	.setup = setup_moved, .ours = roundtrip_moved, .base = roundtrip_base, \
	.teardown = teardown_moved

const struct measure bound_measures[] = {
	{
		.name = "bound_roundtrip_2m_4k",
		.what = "bare UFFDIO_MOVE and memcpy of 2 MiB in 4 KiB pages, "
			"both ways",
		.baseline = "memcpy both ways, mapped 4 KiB pages",
		.config = &config_4k,
		ROUNDTRIP,
	},
	{
		.name = "bound_roundtrip_2m_thp",
		.what = "bare UFFDIO_MOVE and memcpy of huge pages, both ways",
		.baseline = "memcpy both ways, mapped huge pages",
		.config = &config_thp,
		ROUNDTRIP,
	},
	{
		.name = "bound_roundtrip_2m_4k_best",
		.what = "bare UFFDIO_MOVE and streaming copies of 2 MiB in "
			"4 KiB pages, both ways",
		.baseline = "memcpy both ways, mapped 4 KiB pages",
		.config = &config_4k_best,
		ROUNDTRIP,
	},
	{
		.name = "bound_roundtrip_2m_thp_best",
		.what = "bare UFFDIO_MOVE and streaming copies of huge pages, "
			"both ways",
		.baseline = "memcpy both ways, mapped huge pages",
		.config = &config_thp_best,
		ROUNDTRIP,
	},
	{
		.name = "bound_roundtrip_2m_wp",
		.what = "bare UFFDIO_WRITEPROTECT, copies and UFFDIO_COPY of "
			"2 MiB in 4 KiB pages, both ways",
		.baseline = "memcpy both ways, mapped 4 KiB pages",
		.config = &config_wp,
		ROUNDTRIP,
	},
	{
		.name = "bound_cpufault_4k",
		.what = "bare userfaultfd loop, memcpy and UFFDIO_MOVE of "
			"4 KiB",
		.config = &chunk_4k,
		FAULT,
	},
	{
		.name = "bound_cpufault_64k",
		.what = "bare userfaultfd loop, memcpy and UFFDIO_MOVE of "
			"64 KiB",
		.config = &chunk_64k,
		FAULT,
	},
	{ .name = NULL },
};
