/* SPDX-License-Identifier: MIT */
/* To the device by migration and home by eviction, against copies both ways. */
#include "trip.h"

static int ours(void *state, double *value)
{
	struct trip *trip = state;
	uint64_t out_ns, home_ns;
	int err;

	err = trip_ours_out(trip, &out_ns);
	if (!err)
		err = trip_ours_home(trip, &home_ns);
	if (err)
		return err;
	trip_advance(&trip->ours_side);
	*value = gb_per_s(2 * TRIP_CHUNK, out_ns + home_ns);
	return 0;
}

static int base(void *state, double *value)
{
	return trip_base_roundtrip(state, value);
}

static const struct trip_config memcpy_4k = { .engine = ENGINE_MEMCPY };
static const struct trip_config best_4k = { .engine = ENGINE_BEST };
static const struct trip_config memcpy_thp = {
	.huge = true,
	.base_huge = true,
	.engine = ENGINE_MEMCPY,
};
static const struct trip_config best_thp = {
	.huge = true,
	.base_huge = true,
	.engine = ENGINE_BEST,
};
static const struct trip_config write_protect = {
	.engine = ENGINE_MEMCPY,
	.technique = GPUSVM_TECHNIQUE_WRITE_PROTECT,
};

#define ROUNDTRIP                                                \
	.unit = "GB/s", .better = HIGHER, .placement = SAME_CPU, \
	.setup = trip_setup, .ours = ours, .base = base,         \
	.teardown = trip_teardown

const struct measure roundtrip_measures[] = {
	{
		.name = "roundtrip_2m_4k_memcpy",
		.what = "ranges of 2 MiB in 4 KiB pages, to the device and "
			"home",
		.baseline = "memcpy both ways, mapped 4 KiB pages",
		.reach = 0.75,
		.config = &memcpy_4k,
		ROUNDTRIP,
	},
	{
		.name = "roundtrip_2m_4k_best",
		.what = "the same with the best engine",
		.baseline = "memcpy both ways, mapped 4 KiB pages",
		.reach = 1.10,
		.config = &best_4k,
		ROUNDTRIP,
	},
	{
		.name = "roundtrip_2m_thp_memcpy",
		.what = "ranges of 2 MiB in huge pages, to the device and home",
		.baseline = "memcpy both ways, mapped huge pages",
		.reach = 0.95,
		.config = &memcpy_thp,
		ROUNDTRIP,
	},
	{
		.name = "roundtrip_2m_thp_best",
		.what = "the same with the best engine",
		.baseline = "memcpy both ways, mapped huge pages",
		.reach = 1.60,
		.config = &best_thp,
		ROUNDTRIP,
	},
	{
		.name = "roundtrip_2m_wp",
		.what = "ranges of 2 MiB in 4 KiB pages, UFFDIO_MOVE forbidden",
		.baseline = "memcpy both ways, mapped 4 KiB pages",
		.reach = 0.40,
		.config = &write_protect,
		ROUNDTRIP,
	},
	{ .name = NULL },
};
