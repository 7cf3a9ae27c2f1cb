/* SPDX-License-Identifier: MIT */
/* The CPU touches what is on the device. */
#include <errno.h>
#include <stdlib.h>

#include "bare.h"
#include "trip.h"

/* Faults of a round. */
#define FAULTS 32

/* With a moving faulter: so many on a CPU at a time. */
#define STAY 8

/**
 * struct fault_config - What comes home with a fault
 * @chunk: Bytes of an allocation
 * @moving: The faulter goes from CPU to CPU
 * @source: Who serves
 * @bound: A bare loop on each CPU stands for the library
 */
struct fault_config {
	size_t chunk;
	bool moving;
	enum gpusvm_source source;
	bool bound;
};

struct faults {
	const struct fault_config *config;
	struct rig *rig;
	struct bare spread;
	struct bare bare;
};

static int create_ours(struct faults *faults)
{
	const struct fault_config *config = faults->config;
	const struct rig_opts opts = {
		.chunk = config->chunk,
		.count = FAULTS,
		.engine = ENGINE_MEMCPY,
		.source = config->source,
	};
	size_t i;
	int err;

	if (config->bound) {
		err = bare_create(&faults->spread, FAULTS, config->chunk,
				  false);
		return err ? err : bare_spread(&faults->spread);
	}
	err = rig_create(&faults->rig, &opts);
	for (i = 0; !err && i < FAULTS; i++)
		err = rig_insert(faults->rig, i);
	return err;
}

static int setup(void **state, const void *opaque)
{
	const struct fault_config *config = opaque;
	struct faults *faults;
	int err;

	if (config->moving && cpu_count() < 2)
		return because(SKIPPED, "there is only one CPU");
	faults = calloc(1, sizeof(*faults));
	if (!faults)
		return -ENOMEM;
	faults->config = config;
	err = create_ours(faults);
	if (!err)
		err = bare_create(&faults->bare, FAULTS, gpusvm_page_size(),
				  false);
	*state = faults;
	return err;
}

static int teardown(void *state)
{
	struct faults *faults = state;
	int err = 0;

	bare_destroy(&faults->bare);
	if (faults->config->bound)
		bare_destroy(&faults->spread);
	else
		err = rig_destroy(faults->rig);
	free(faults);
	return err;
}

/* Puts the faulter, and the handler of the baseline, on the next CPU. */
static int move(struct faults *faults, size_t i, bool base)
{
	int err, cpu;

	if (!faults->config->moving || i % STAY)
		return 0;
	cpu = cpu_nth(i / STAY % cpu_count());
	err = cpu_pin(cpu);
	if (!err && base)
		err = bare_pin(&faults->bare, cpu);
	return err;
}

/* Touches pieces of @step bytes, and tells what one costs. */
static int touch_all(struct faults *faults, const uint8_t *data, size_t step,
		     bool base, double *value)
{
	uint64_t since, ns = 0;
	size_t i, stop;
	int err;

	for (i = 0; i < FAULTS; i = stop) {
		err = move(faults, i, base);
		if (err)
			return err;
		stop = i + STAY;
		since = now_ns();
		for (; i < stop; i++)
			touch(data + i * step);
		ns += now_ns() - since;
	}
	*value = us_each(ns, FAULTS);
	return 0;
}

static int ours(void *state, double *value)
{
	struct faults *faults = state;
	struct rig *rig = faults->rig;
	size_t i;
	int err;

	for (i = 0; i < FAULTS; i++) {
		err = rig_out(rig, i);
		if (err)
			return err;
	}
	err = touch_all(faults, rig->data.start, rig->chunk, false, value);
	for (i = 0; !err && i < FAULTS; i++)
		rig_reap(rig, i);
	return err;
}

static int touch_bare(struct faults *faults, struct bare *bare, bool base,
		      double *value)
{
	int err;

	err = touch_all(faults, bare->data.start, gpusvm_page_size(), base,
			value);
	if (!err)
		err = bare_check(bare, FAULTS);
	return err ? err : bare_drop(bare, FAULTS);
}

static int base(void *state, double *value)
{
	struct faults *faults = state;

	return touch_bare(faults, &faults->bare, true, value);
}

static int bound(void *state, double *value)
{
	struct faults *faults = state;

	return touch_bare(faults, &faults->spread, false, value);
}

/* A whole range of 2 MiB: the baseline is the copy of one. */
static int ours_2m(void *state, double *value)
{
	struct trip *trip = state;
	size_t i = trip_home_index(&trip->ours_side);
	uint64_t since, ns;
	int err;

	err = trip_ours_out(trip, &ns);
	if (err)
		return err;
	trip_cool(trip);
	since = now_ns();
	touch(rig_data(trip->rig, i) + TRIP_CHUNK / 2);
	*value = us_each(now_ns() - since, 1);
	rig_reap(trip->rig, i);
	err = trip_ours_cpu_work(trip);
	trip_advance(&trip->ours_side);
	return err;
}

static int base_2m(void *state, double *value)
{
	struct trip *trip = state;
	uint64_t ns;
	int err;

	err = trip_base_out(trip, &ns);
	if (!err)
		err = trip_base_home(trip, &ns);
	*value = us_each(ns, 1);
	trip_advance(&trip->base_side);
	return err;
}

static const struct fault_config config_4k = { .chunk = 4 * KIB };
static const struct fault_config config_in_thread = {
	.chunk = 4 * KIB,
	.source = GPUSVM_SOURCE_USERFAULTFD_SIGBUS,
};
static const struct fault_config config_64k = { .chunk = 64 * KIB };
static const struct fault_config config_any = {
	.chunk = 4 * KIB,
	.moving = true,
};
static const struct fault_config config_any_bound = {
	.chunk = 4 * KIB,
	.moving = true,
	.bound = true,
};
static const struct trip_config config_2m = { .engine = ENGINE_MEMCPY };
static const struct trip_config config_2m_best = {
	.huge = true,
	.engine = ENGINE_BEST,
};

#define SMALL                                                                \
	.unit = "us", .better = LOWER, .setup = setup, .teardown = teardown, \
	.ours = ours, .base = base
#define LARGE                                                            \
	.unit = "us", .better = LOWER, .placement = SAME_CPU,            \
	.setup = trip_setup, .teardown = trip_teardown, .ours = ours_2m, \
	.base = base_2m

const struct measure fault_measures[] = {
	{
		.name = "cpufault_4k",
		.what = "a CPU fault that brings 4 KiB home",
		.baseline = "bare userfaultfd loop, UFFDIO_COPY of 4 KiB",
		.reach = 1.20,
		.placement = SAME_CPU,
		.config = &config_4k,
		SMALL,
	},
	{
		.name = "cpufault_4k_in_thread",
		.what = "a CPU fault that brings 4 KiB home, served by the "
			"thread that made it",
		.baseline = "bare userfaultfd loop, UFFDIO_COPY of 4 KiB",
		.reach = 1.0,
		.placement = SAME_CPU,
		.config = &config_in_thread,
		SMALL,
	},
	{
		.name = "cpufault_64k",
		.what = "a CPU fault that brings 64 KiB home",
		.baseline = "bare userfaultfd loop, UFFDIO_COPY of 4 KiB",
		.reach = 2.0,
		.placement = SAME_CPU,
		.config = &config_64k,
		SMALL,
	},
	{
		.name = "cpufault_2m",
		.what = "a CPU fault that brings 2 MiB home, 4 KiB pages",
		.baseline = "memcpy of 2 MiB, mapped 4 KiB pages",
		.reach = 1.45,
		.config = &config_2m,
		LARGE,
	},
	{
		.name = "cpufault_2m_best",
		.what = "a CPU fault that brings a huge page home, best engine",
		.baseline = "memcpy of 2 MiB, mapped 4 KiB pages",
		.reach = 0.85,
		.config = &config_2m_best,
		LARGE,
	},
	{
		.name = "cpufault_any_cpu",
		.what = "a CPU fault that brings 4 KiB home, the faulter goes "
			"from CPU to CPU",
		.baseline = "bare userfaultfd loop, handler on the faulter's "
			    "CPU",
		.reach = 2.0,
		.placement = UNPINNED,
		.config = &config_any,
		SMALL,
	},
	{
		.name = "bound_cpufault_any_cpu",
		.what = "bare userfaultfd loops, one on each CPU, the faulter "
			"goes from CPU to CPU",
		.baseline = "bare userfaultfd loop, handler on the faulter's "
			    "CPU",
		.unit = "us",
		.better = LOWER,
		.placement = UNPINNED,
		.config = &config_any_bound,
		.setup = setup,
		.ours = bound,
		.base = base,
		.teardown = teardown,
	},
	{ .name = NULL },
};
