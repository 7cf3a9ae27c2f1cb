/* SPDX-License-Identifier: MIT */
/*
 * Memory that is not on a device, against a process that has never heard of
 * one: the library must cost nothing there.
 *
 * The other process is on the same CPU, and asleep while this one measures.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "peer.h"
#include "rig.h"

#define CHUNK (2 * MIB)
#define COUNT 32

struct idle {
	struct rig *rig;
	struct area bare; /* the other process has it */
	bool bare_ready;
	struct peer peer;
	size_t next; /* chunk, or pair of chunks; each process has its own */
};

/* Every other chunk has never been touched. */
static int drop_odd(const struct area *area)
{
	size_t i;

	for (i = 1; i < COUNT; i += 2)
		if (madvise(area->start + i * CHUNK, CHUNK, MADV_DONTNEED))
			return -errno;
	return 0;
}

/* Nanoseconds of a page; of one chunk that has never been touched. */
static int touch_odd(struct idle *idle, const struct area *area, double *value)
{
	unsigned long page = gpusvm_page_size();
	uint8_t *chunk = area->start + (2 * idle->next + 1) * CHUNK;
	uint64_t since = now_ns();
	size_t at;

	for (at = 0; at < CHUNK; at += page)
		*(volatile uint8_t *)(chunk + at) = 1;
	*value = (double)(now_ns() - since) / (double)(CHUNK / page);
	idle->next = (idle->next + 1) % (COUNT / 2);
	return madvise(chunk, CHUNK, MADV_DONTNEED) ? -errno : 0;
}

/* Microseconds of a pass over two neighbours; the others come before them. */
static int run_over(struct idle *idle, const struct area *area, double *value)
{
	size_t i, n = 2 * CHUNK / sizeof(uint64_t);
	volatile uint64_t *word;
	uint64_t since;

	word = (volatile uint64_t *)(void *)area->start + idle->next * n;
	since = now_ns();
	for (i = 0; i < n; i++)
		word[i]++;
	*value = us_each(now_ns() - since, 1);
	idle->next = (idle->next + 1) % (COUNT / 2);
	return 0;
}

static int bare_touch(void *state, double *value)
{
	struct idle *idle = state;
	int err = 0;

	if (!idle->bare_ready) {
		area_fill(&idle->bare);
		err = drop_odd(&idle->bare);
		idle->bare_ready = true;
	}
	return err ? err : touch_odd(idle, &idle->bare, value);
}

static int bare_run(void *state, double *value)
{
	struct idle *idle = state;

	if (!idle->bare_ready)
		area_fill(&idle->bare);
	idle->bare_ready = true;
	return run_over(idle, &idle->bare, value);
}

/* The other process comes first: it has no thread and nothing of the library. */
static int create(struct idle **out, int (*bare)(void *state, double *value))
{
	const struct rig_opts opts = {
		.chunk = CHUNK,
		.count = COUNT,
		.engine = ENGINE_MEMCPY,
	};
	struct idle *idle = calloc(1, sizeof(*idle));
	size_t i;
	int err;

	if (!idle)
		return -ENOMEM;
	err = area_create(&idle->bare, CHUNK * COUNT, false);
	if (!err)
		err = peer_create(&idle->peer, bare, idle);
	area_destroy(&idle->bare);
	if (!err)
		err = rig_create(&idle->rig, &opts);
	for (i = 0; !err && i < COUNT; i++)
		err = rig_insert(idle->rig, i);
	*out = idle;
	return err;
}

static int setup_touch(void **state, const void *config)
{
	struct idle *idle;
	size_t i;
	int err;

	(void)config;
	err = create(&idle, bare_touch);
	for (i = 0; !err && i < COUNT; i += 2)
		err = rig_out(idle->rig, i);
	if (err)
		return err;
	*state = idle;
	return drop_odd(&idle->rig->data);
}

/* Half of the memory has been on the device, too. */
static int setup_run(void **state, const void *config)
{
	struct idle *idle;
	size_t i;
	int err;

	(void)config;
	err = create(&idle, bare_run);
	for (i = 0; !err && i < COUNT; i++) {
		if (i % 2) {
			err = rig_out(idle->rig, i);
			if (!err)
				err = rig_home(idle->rig, i);
		}
		if (!err)
			err = rig_map(idle->rig, i);
	}
	*state = idle;
	return err;
}

static int teardown(void *state)
{
	struct idle *idle = state;
	int err;

	peer_destroy(&idle->peer);
	err = rig_destroy(idle->rig);
	free(idle);
	return err;
}

static int ours_touch(void *state, double *value)
{
	struct idle *idle = state;

	return touch_odd(idle, &idle->rig->data, value);
}

static int ours_run(void *state, double *value)
{
	struct idle *idle = state;

	return run_over(idle, &idle->rig->data, value);
}

static int base(void *state, double *value)
{
	struct idle *idle = state;

	return peer_run(&idle->peer, value);
}

const struct measure idle_measures[] = {
	{
		.name = "idle_touch",
		.what = "first touch of a page between neighbours on the "
			"device",
		.baseline = "the same in a process without the library",
		.unit = "ns",
		.better = LOWER,
		.reach = 1.05,
		.placement = SAME_CPU,
		.setup = setup_touch,
		.ours = ours_touch,
		.base = base,
		.teardown = teardown,
	},
	{
		.name = "idle_run",
		.what = "a pass over 4 of 64 MiB that are mapped for the "
			"device "
			"and live in RAM",
		.baseline = "the same in a process without the library",
		.unit = "us",
		.better = LOWER,
		.reach = 1.02,
		.placement = SAME_CPU,
		.setup = setup_run,
		.ours = ours_run,
		.base = base,
		.teardown = teardown,
	},
	{ .name = NULL },
};
