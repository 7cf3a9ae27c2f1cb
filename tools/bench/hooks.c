/* SPDX-License-Identifier: MIT */
/* Changes of memory through the hooks. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <gpusvm/hooks.h>

#include "many.h"

/* Mappings of a round, with a gap behind each to keep them apart. */
#define MAPPINGS 64
#define BYTES (64 * KIB)
#define CALLS 4

/* Ranges that are unmapped in a round. */
#define UNMAPPED 16

/* What a program calls. */
struct calls {
	int (*munmap)(void *addr, size_t length);
	int (*mprotect)(void *addr, size_t length, int prot);
	int (*madvise)(void *addr, size_t length, int advice);
};

static const struct calls hooks = {
	.munmap = gpusvm_munmap,
	.mprotect = gpusvm_mprotect,
	.madvise = gpusvm_madvise,
};

static const struct calls libc = {
	.munmap = munmap,
	.mprotect = mprotect,
	.madvise = madvise,
};

/* Memory that no device knows, in an address space that a device uses. */
struct unmirrored {
	struct rig *rig;
	struct area area;
};

static int setup(void **state, const void *config)
{
	const struct rig_opts opts = {
		.chunk = 2 * MIB,
		.count = 4,
		.engine = ENGINE_MEMCPY,
	};
	struct unmirrored *u = calloc(1, sizeof(*u));
	size_t i;
	int err;

	(void)config;
	if (!u)
		return -ENOMEM;
	err = area_create(&u->area, 2 * BYTES * MAPPINGS, false);
	if (!err)
		err = rig_create(&u->rig, &opts);
	for (i = 0; !err && i < opts.count; i++) {
		err = rig_insert(u->rig, i);
		if (!err)
			err = rig_out(u->rig, i);
	}
	if (!err && munmap(u->area.start, u->area.size))
		err = -errno;
	*state = u;
	return err;
}

static int teardown(void *state)
{
	struct unmirrored *u = state;
	int err;

	err = rig_destroy(u->rig);
	area_destroy(&u->area);
	free(u);
	return err;
}

static int map_at(uint8_t *addr, size_t size)
{
	if (mmap(addr, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
		 0) == MAP_FAILED)
		return -errno;
	return madvise(addr, size, MADV_NOHUGEPAGE) ? -errno : 0;
}

/* Each mapping has one page that was written to. */
static int map_all(const struct unmirrored *u)
{
	uint8_t *addr;
	size_t i;
	int err;

	for (i = 0; i < MAPPINGS; i++) {
		addr = u->area.start + 2 * i * BYTES;
		err = map_at(addr, BYTES);
		if (err)
			return err;
		*(volatile uint8_t *)addr = 1;
	}
	return 0;
}

static int change_all(const struct unmirrored *u, const struct calls *calls,
		      double *value)
{
	uint64_t since;
	uint8_t *addr;
	size_t i;
	int err;

	err = map_all(u);
	since = now_ns();
	for (i = 0; !err && i < MAPPINGS; i++) {
		addr = u->area.start + 2 * i * BYTES;
		if (calls->mprotect(addr, BYTES, PROT_READ) ||
		    calls->mprotect(addr, BYTES, PROT_READ | PROT_WRITE) ||
		    calls->madvise(addr, BYTES, MADV_DONTNEED) ||
		    calls->munmap(addr, BYTES))
			err = -errno;
	}
	*value = (double)(now_ns() - since) / (CALLS * MAPPINGS);
	return err;
}

static int ours(void *state, double *value)
{
	return change_all(state, &hooks, value);
}

static int base(void *state, double *value)
{
	return change_all(state, &libc, value);
}

/*
 * Unmap a range as a program does; the driver collects it, and the range comes
 * back, beside the time.
 */
static int unmap_one(struct many *many, uintptr_t addr, uint64_t *ns)
{
	size_t page = gpusvm_page_size();
	struct drm_gpusvm_range *range = many_find(many, addr);
	uint64_t since;
	int err;

	if (gpusvm_is_err(range))
		return (int)gpusvm_ptr_err(range);
	since = now_ns();
	if (gpusvm_munmap((void *)addr, page))
		return -errno;
	*ns += now_ns() - since;
	if (!range->flags.unmapped)
		return -EIO; /* the driver was not told */
	drm_gpusvm_range_remove(&many->rig->svm, range);
	err = map_at((uint8_t *)addr, page);
	return err ? err : many_map(many, addr);
}

static int unmap_some(struct many *many, const struct many_set *set,
		      double *value)
{
	uint64_t ns = 0;
	size_t i;
	int err = 0;

	for (i = 0; !err && i < UNMAPPED; i++)
		err = unmap_one(many, many_random(many, set), &ns);
	*value = us_each(ns, UNMAPPED);
	return err;
}

static int unmap_ours(void *state, double *value)
{
	struct many *many = state;

	return unmap_some(many, &many->set[MANY_LARGE], value);
}

static int unmap_base(void *state, double *value)
{
	struct many *many = state;

	return unmap_some(many, &many->set[MANY_SMALL], value);
}

const struct measure hook_measures[] = {
	{
		.name = "munmap_unmirrored",
		.what = "mprotect twice, madvise, munmap of memory that no "
			"device uses",
		.baseline = "the bare calls",
		.unit = "ns",
		.better = LOWER,
		.reach = 1.10,
		.placement = SAME_CPU,
		.setup = setup,
		.ours = ours,
		.base = base,
		.teardown = teardown,
	},
	{
		.name = "invalidate_1_of_1e6",
		.what = "gpusvm_munmap of one range among 1,000,000",
		.baseline = "of one among 1,000",
		.unit = "us",
		.better = LOWER,
		.reach = 3.0,
		.placement = SAME_CPU,
		.setup = many_setup,
		.ours = unmap_ours,
		.base = unmap_base,
		.teardown = many_teardown,
	},
	{ .name = NULL },
};
