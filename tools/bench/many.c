/* SPDX-License-Identifier: MIT */
/* Many ranges: see many.h. */
#include "many.h"

#include <errno.h>
#include <stdlib.h>

#define SMALL 1000
#define LARGE 1000000

/* Between the sets: they share no notifier. */
#define GAP (1024 * MIB)

static const struct drm_gpusvm_ctx read_only = { .read_only = 1 };

struct drm_gpusvm_range *many_find(struct many *many, uintptr_t addr)
{
	return rig_find(many->rig, addr, &read_only);
}

int many_map(struct many *many, uintptr_t addr)
{
	struct drm_gpusvm_range *range = many_find(many, addr);
	int err;

	if (gpusvm_is_err(range))
		return (int)gpusvm_ptr_err(range);
	err = drm_gpusvm_range_get_pages(&many->rig->svm, range, &read_only);
	return err ? err : rig_commit(many->rig, range);
}

/* xorshift64* of Vigna */
uintptr_t many_random(struct many *many, const struct many_set *set)
{
	uint64_t x = many->seed;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	many->seed = x;
	x = (x * 0x2545f4914f6cdd1d) >> 32;
	return (uintptr_t)set->start +
	       x * set->count / (1ull << 32) * gpusvm_page_size();
}

int many_setup(void **state, const void *config)
{
	size_t page = gpusvm_page_size();
	const struct rig_opts opts = {
		.chunk = page,
		.count = SMALL + GAP / page + LARGE,
		.no_devmem = true,
	};
	struct many *many = calloc(1, sizeof(*many));
	const struct many_set *set;
	size_t i;
	int err;

	(void)config;
	if (!many)
		return -ENOMEM;
	many->seed = 1;
	err = rig_create(&many->rig, &opts);
	if (err)
		return err;
	many->set[MANY_SMALL] = (struct many_set){
		.start = many->rig->data.start,
		.count = SMALL,
	};
	many->set[MANY_LARGE] = (struct many_set){
		.start = many->rig->data.start + SMALL * page + GAP,
		.count = LARGE,
	};
	for (set = many->set; !err && set < many->set + MANY_SIZES; set++)
		for (i = 0; !err && i < set->count; i++)
			err = many_map(many, (uintptr_t)set->start + i * page);
	*state = many;
	return err;
}

int many_teardown(void *state)
{
	struct many *many = state;
	int err;

	err = rig_destroy(many->rig);
	free(many);
	return err;
}
