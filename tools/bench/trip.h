/* SPDX-License-Identifier: MIT */
/*
 * Data that travels to device memory and back, by the library and by plain
 * memcpy(): ranges of 2 MiB, and as much memory of the same kind for the
 * baseline.
 *
 * A round takes one range to the device, and home the one that went longest
 * ago, so it is over before the scheduler takes the CPU away.  The device and
 * the CPU write to every page in between: a copy that is not made is noticed.
 *
 * Before each step other memory goes through the caches.  Without that the
 * library, which lets what comes home have the pages that just went out, would
 * write to pages that are still in the cache, and the baseline would not.
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
 * struct trip_side - Where one side is on its way
 * @next: The range that goes out next
 * @mark: Of each range, what the last writer has written to its pages
 */
struct trip_side {
	size_t next;
	uint64_t mark[TRIP_COUNT];
};

/**
 * struct trip - Both sides
 * @rig: Ours
 * @huge: It is in huge pages
 * @base: Memory of the baseline
 * @base_devmem: Its device memory, from the same pool as that of ours
 * @other: Memory that goes through the caches
 * @ours_side: Where ours is
 * @base_side: Where the baseline is
 */
struct trip {
	struct rig *rig;
	bool huge;
	struct area base;
	uint8_t *base_devmem;
	struct area other;
	struct trip_side ours_side;
	struct trip_side base_side;
};

/* For struct measure. */
int trip_setup(void **state, const void *config);
int trip_teardown(void *state);

/* The ranges of the round, and the end of it. */
size_t trip_out_index(const struct trip_side *side);
size_t trip_home_index(const struct trip_side *side);
void trip_advance(struct trip_side *side);

/* Before a step is timed. */
void trip_cool(const struct trip *trip);

/*
 * The steps; each stores how long it took.  Work by the device, or by the CPU,
 * follows: it checks every page, and changes it, and is not in the time.
 */
int trip_ours_out(struct trip *trip, uint64_t *ns);
int trip_ours_home(struct trip *trip, uint64_t *ns);
int trip_base_out(struct trip *trip, uint64_t *ns);
int trip_base_home(struct trip *trip, uint64_t *ns);

/* A round of the baseline, in GB/s. */
int trip_base_roundtrip(struct trip *trip, double *value);

/*
 * That work on one range: each page begins with the mark of who wrote it last,
 * which must be @old.
 */
int trip_check_and_mark(uint8_t *data, uint64_t old);
/* It on the range of ours, where somebody else has moved it. */
int trip_ours_device_work(struct trip *trip);
int trip_ours_cpu_work(struct trip *trip);

#endif /* GPUSVM_BENCH_TRIP_H */
