/* SPDX-License-Identifier: MIT */
/*
 * What the kernel's part alone costs: the calls that the library cannot do
 * without, made directly, against the baselines of the measures that they
 * bound.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	return err ? err : bare_drop(bare);
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
 * struct moved - A trip by memcpy() and UFFDIO_MOVE
 * @trip: For its baseline
 * @data: What travels
 * @staging: Where its pages are meanwhile
 * @devmem: Device memory
 * @data_uffd: That of @data
 * @staging_uffd: That of @staging
 * @side: Where it is on its way
 */
struct moved {
	struct trip *trip;
	struct area data;
	struct area staging;
	struct area devmem;
	int data_uffd;
	int staging_uffd;
	struct trip_side side;
};

static int move_out(struct moved *moved, uint64_t *ns)
{
	size_t i = trip_out_index(&moved->side);
	size_t at = i * TRIP_CHUNK;
	uint64_t since;
	int err;

	trip_cool(moved->trip);
	since = now_ns();
	err = uffd_move(moved->staging_uffd, moved->staging.start + at,
			moved->data.start + at, TRIP_CHUNK);
	memcpy(moved->devmem.start + at, moved->staging.start + at, TRIP_CHUNK);
	*ns = now_ns() - since;
	return err ? err
		   : trip_check_and_mark(moved->devmem.start + at,
					 moved->side.mark[i]++);
}

static int move_home(struct moved *moved, uint64_t *ns)
{
	size_t i = trip_home_index(&moved->side);
	size_t at = i * TRIP_CHUNK;
	uint64_t since;
	int err;

	trip_cool(moved->trip);
	since = now_ns();
	memcpy(moved->staging.start + at, moved->devmem.start + at, TRIP_CHUNK);
	err = uffd_move(moved->data_uffd, moved->data.start + at,
			moved->staging.start + at, TRIP_CHUNK);
	*ns = now_ns() - since;
	return err ? err
		   : trip_check_and_mark(moved->data.start + at,
					 moved->side.mark[i]++);
}

static int create_moved(struct moved *moved, bool huge)
{
	size_t size = TRIP_COUNT * TRIP_CHUNK;
	int err;

	err = area_create(&moved->data, size, huge);
	if (!err)
		err = area_create(&moved->staging, size, huge);
	if (!err)
		err = area_create(&moved->devmem, size, true);
	if (!err)
		err = uffd_open(&moved->data_uffd, UFFD_FEATURE_MOVE);
	if (!err)
		err = uffd_open(&moved->staging_uffd, UFFD_FEATURE_MOVE);
	if (err)
		return err;
	/* Full of zeros, which is the first mark. */
	memset(moved->data.start, 0, size);
	area_fill(&moved->devmem);
	if (huge && area_huge_bytes(&moved->data) < size)
		return because(SKIPPED, "the kernel gave no huge pages");
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
	area_destroy(&moved->devmem);
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
