/* SPDX-License-Identifier: MIT */
/*
 * Data that travels to device memory and back, by the library and by plain
 * memcpy(): ranges of 2 MiB, and as much memory of the same kind for the
 * baseline.
 *
 * On both sides all ranges go out before the first one comes home, and the
 * device and the CPU write to every page in between: what is copied next is as
 * far from the caches on one side as on the other.
 */
#ifndef GPUSVM_BENCH_TRIP_H
#define GPUSVM_BENCH_TRIP_H

#include "rig.h"

#define TRIP_CHUNK (2 * MIB)
#define TRIP_COUNT 16

/**
 * struct trip_config - What travels
 * @huge: Ours is in huge pages
 * @base_huge: The baseline's is
 * @engine: What copies ours
 * @technique: What takes the pages of ours
 */
struct trip_config {
	bool huge;
	bool base_huge;
	enum engine engine;
	enum gpusvm_technique technique;
};

/**
 * struct trip - Both sides
 * @rig: Ours
 * @base: Memory of the baseline
 * @base_devmem: Its device memory, from the same pool as that of ours
 * @ours_mark: What the last writer of ours has written
 * @base_mark: What the last writer of the baseline has written
 */
struct trip {
	struct rig *rig;
	struct area base;
	uint8_t *base_devmem;
	uint64_t ours_mark;
	uint64_t base_mark;
};

/* For struct measure. */
int trip_setup(void **state, const void *config);
int trip_teardown(void *state);

/*
 * The steps; each takes all ranges, and stores how long it took.  Work by the
 * device, or by the CPU, follows: it checks every page, and changes it, and is
 * not in the time.
 */
int trip_ours_out(struct trip *trip, uint64_t *ns);
int trip_ours_home(struct trip *trip, uint64_t *ns);
int trip_base_out(struct trip *trip, uint64_t *ns);
int trip_base_home(struct trip *trip, uint64_t *ns);

/* The same where somebody else moves the ranges. */
int trip_ours_device_work(struct trip *trip);
int trip_ours_cpu_work(struct trip *trip);

#endif /* GPUSVM_BENCH_TRIP_H */
