/* SPDX-License-Identifier: MIT */
/*
 * 2 MiB of small ranges to the device in one call, against a call for each,
 * while another thread of the program runs: whatever makes the kernel change
 * page tables interrupts it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "rig.h"

#define CHUNK (64 * KIB)
#define RANGES (2 * MIB / CHUNK)

/* More than a CPU has for itself. */
#define OTHER_BYTES (8 * MIB)
#define CACHE_LINE 64

/**
 * struct batch - The ranges, and who is interrupted
 * @rig: Their memory
 * @other: Memory that goes through the caches before each round
 * @mark: What was last written to each page
 * @runner: The other thread
 * @stop: It is to end
 */
struct batch {
	struct rig *rig;
	struct area other;
	uint64_t mark;
	pthread_t runner;
	bool stop;
};

static void *run(void *arg)
{
	struct batch *batch = arg;

	if (cpu_pin(cpu_nth(1)))
		abort(); /* main has done the same */
	while (!__atomic_load_n(&batch->stop, __ATOMIC_RELAXED))
		touch(batch->other.start);
	return NULL;
}

static int setup(void **state, const void *config)
{
	const struct rig_opts opts = {
		.chunk = CHUNK,
		.count = RANGES,
		.engine = ENGINE_MEMCPY,
	};
	struct batch *batch;
	size_t i;
	int err;

	(void)config;
	if (cpu_count() < 2)
		return because(SKIPPED, "there is only one CPU");
	batch = calloc(1, sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	err = area_create(&batch->other, OTHER_BYTES, false);
	if (err)
		return err;
	area_fill(&batch->other);
	err = rig_create(&batch->rig, &opts);
	for (i = 0; !err && i < RANGES; i++)
		err = rig_insert(batch->rig, i);
	for (i = 0; !err && i < RANGES * CHUNK; i += gpusvm_page_size())
		*(volatile uint64_t *)(rig_data(batch->rig, 0) + i) = 0;
	/* After the handlers were started, which go where they like. */
	if (!err)
		err = cpu_pin(cpu_nth(0));
	if (!err)
		err = -pthread_create(&batch->runner, NULL, run, batch);
	*state = batch;
	return err;
}

static int teardown(void *state)
{
	struct batch *batch = state;
	int err;

	__atomic_store_n(&batch->stop, true, __ATOMIC_RELAXED);
	pthread_join(batch->runner, NULL);
	err = rig_destroy(batch->rig);
	area_destroy(&batch->other);
	free(batch);
	return err;
}

/* Each page of a range begins with the mark of who wrote it last. */
static int check_and_mark(uint8_t *data, uint64_t old)
{
	volatile uint64_t *word;
	size_t i;

	for (i = 0; i < CHUNK; i += gpusvm_page_size()) {
		word = (volatile uint64_t *)(data + i);
		if (*word != old)
			return -EIO;
		*word = old + 1;
	}
	return 0;
}

static int one_by_one(struct rig *rig)
{
	size_t i;
	int err = 0;

	for (i = 0; !err && i < RANGES; i++)
		err = rig_out(rig, i);
	return err;
}

static int in_one_call(struct rig *rig)
{
	return rig_out_all(rig, 0, RANGES);
}

/* There, which is timed; then the device's work, the way home, the CPU's. */
static int go(struct batch *batch, int (*out)(struct rig *rig), double *value)
{
	struct rig *rig = batch->rig;
	uint64_t since;
	size_t i;
	int err;

	for (i = 0; i < batch->other.size; i += CACHE_LINE)
		touch(batch->other.start + i);
	since = now_ns();
	err = out(rig);
	*value = us_each(now_ns() - since, 1);
	for (i = 0; !err && i < RANGES; i++)
		err = check_and_mark(rig_device_data(rig, i), batch->mark);
	batch->mark++;
	for (i = 0; !err && i < RANGES; i++)
		err = rig_home(rig, i);
	for (i = 0; !err && i < RANGES; i++)
		err = check_and_mark(rig_data(rig, i), batch->mark);
	batch->mark++;
	return err;
}

static int ours(void *state, double *value)
{
	return go(state, in_one_call, value);
}

static int base(void *state, double *value)
{
	return go(state, one_by_one, value);
}

const struct measure batch_measures[] = {
	{
		.name = "batch_64k",
		.what = "2 MiB in 32 adjacent ranges to the device in one "
			"call, "
			"while another thread runs",
		.baseline = "32 calls of drm_gpusvm_migrate_to_devmem()",
		.unit = "us",
		.better = LOWER,
		.reach = 0.6,
		.placement = UNPINNED,
		.setup = setup,
		.ours = ours,
		.base = base,
		.teardown = teardown,
	},
	{ .name = NULL },
};
