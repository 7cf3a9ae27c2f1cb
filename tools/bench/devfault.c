/* SPDX-License-Identifier: MIT */
/* The device touches what is not on it, or what is mapped already. */
#include <errno.h>
#include <stdlib.h>

#include "many.h"
#include "trip.h"

/* Hits of a round. */
#define HITS 512

static int ours_2m(void *state, double *value)
{
	struct trip *trip = state;
	struct rig *rig = trip->rig;
	size_t i = trip_out_index(&trip->ours_side);
	uint64_t since, ns;
	int err;

	rig_remove(rig, i);
	trip_cool(trip);
	since = now_ns();
	err = rig_insert(rig, i);
	if (!err)
		err = rig_out(rig, i);
	if (!err)
		err = rig_map(rig, i);
	*value = us_each(now_ns() - since, 1);
	if (!err)
		err = trip_ours_device_work(trip);
	if (!err)
		err = trip_ours_home(trip, &ns);
	trip_advance(&trip->ours_side);
	return err;
}

static int base_2m(void *state, double *value)
{
	struct trip *trip = state;
	uint64_t out_ns, ns;
	int err;

	err = trip_base_out(trip, &out_ns);
	if (!err)
		err = trip_base_home(trip, &ns);
	*value = us_each(out_ns, 1);
	trip_advance(&trip->base_side);
	return err;
}

/* Faults on ranges that are there and valid, at addresses without an order. */
static int hit(struct many *many, struct many_set *set, double *value)
{
	struct drm_gpusvm_range *range;
	uint64_t since = now_ns();
	size_t i;
	int err = 0;

	for (i = 0; !err && i < HITS; i++) {
		range = many_find(many, many_random(many, set));
		err = gpusvm_is_err(range) ? (int)gpusvm_ptr_err(range)
					   : rig_commit(many->rig, range);
	}
	*value = us_each(now_ns() - since, HITS);
	return err;
}

static int hit_ours(void *state, double *value)
{
	struct many *many = state;

	return hit(many, &many->set[MANY_LARGE], value);
}

static int hit_base(void *state, double *value)
{
	struct many *many = state;

	return hit(many, &many->set[MANY_SMALL], value);
}

static const struct trip_config config_2m = { .engine = ENGINE_MEMCPY };

const struct measure devfault_measures[] = {
	{
		.name = "devfault_2m",
		.what = "a device fault that takes 2 MiB, from "
			"find_or_insert to commit, 4 KiB pages",
		.baseline = "memcpy of 2 MiB, mapped 4 KiB pages",
		.unit = "us",
		.better = LOWER,
		.reach = 1.20,
		.placement = SAME_CPU,
		.config = &config_2m,
		.setup = trip_setup,
		.ours = ours_2m,
		.base = base_2m,
		.teardown = trip_teardown,
	},
	{
		.name = "devfault_4k_hit",
		.what = "find_or_insert to commit of a valid range of 4 KiB "
			"among 1,000,000",
		.baseline = "the same among 1,000, to reach: 1.5 us",
		.unit = "us",
		.better = LOWER,
		.reach = 4.0,
		.placement = SAME_CPU,
		.setup = many_setup,
		.ours = hit_ours,
		.base = hit_base,
		.teardown = many_teardown,
	},
	{ .name = NULL },
};
