/* SPDX-License-Identifier: MIT */
/*
 * A million ranges of a page, and a thousand, in one address space.  The device
 * only reads, so their memory is the zero page: a million ranges take page
 * tables and what the library keeps of them, and no more.
 */
#ifndef GPUSVM_BENCH_MANY_H
#define GPUSVM_BENCH_MANY_H

#include "rig.h"

enum many_size {
	MANY_SMALL,
	MANY_LARGE,
	MANY_SIZES
};

/**
 * struct many_set - Some of the ranges
 * @start: First address
 * @count: Ranges, without gaps
 */
struct many_set {
	uint8_t *start;
	size_t count;
};

/**
 * struct many - Both sets
 * @rig: Their driver; the sets are parts of its data
 * @set: The sets
 * @seed: Of the addresses that are chosen
 */
struct many {
	struct rig *rig;
	struct many_set set[MANY_SIZES];
	uint64_t seed;
};

/* For struct measure; every range is mapped for the device. */
int many_setup(void **state, const void *config);
int many_teardown(void *state);

/* The range at an address; it is made if there is none. */
struct drm_gpusvm_range *many_find(struct many *many, uintptr_t addr);
/* Map a range for the device: 0 or a negative errno. */
int many_map(struct many *many, uintptr_t addr);

/* An address in @set. */
uintptr_t many_random(struct many *many, const struct many_set *set);

#endif /* GPUSVM_BENCH_MANY_H */
