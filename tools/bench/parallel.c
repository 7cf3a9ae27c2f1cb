/* SPDX-License-Identifier: MIT */
/* Two threads touch what is on the device, against one. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "rig.h"

#define THREADS 2
#define CHUNK (64 * KIB)

/* Faults of a thread in a round. */
#define FAULTS 64

struct parallel;

/**
 * struct faulter - A thread that faults
 * @parallel: All of it
 * @first: First of its slots
 * @cpu: Where it is
 * @start_ns: When it began
 * @end_ns: When it was done
 */
struct faulter {
	struct parallel *parallel;
	size_t first;
	int cpu;
	uint64_t start_ns;
	uint64_t end_ns;
};

/**
 * struct parallel - The faulters
 * @rig: Their memory
 * @faulter: They; the first one is the main thread
 * @helper: The thread of the second one
 * @gate: Where a round begins and ends for both
 * @stop: There is no other round
 */
struct parallel {
	struct rig *rig;
	struct faulter faulter[THREADS];
	pthread_t helper;
	pthread_barrier_t gate;
	bool stop;
};

static void fault_all(struct faulter *faulter)
{
	size_t i;

	faulter->start_ns = now_ns();
	for (i = 0; i < FAULTS; i++)
		touch(rig_data(faulter->parallel->rig, faulter->first + i));
	faulter->end_ns = now_ns();
}

static void *help(void *arg)
{
	struct faulter *faulter = arg;
	struct parallel *parallel = faulter->parallel;

	if (cpu_pin(faulter->cpu))
		abort(); /* main has done the same */
	for (;;) {
		pthread_barrier_wait(&parallel->gate);
		if (parallel->stop)
			return NULL;
		fault_all(faulter);
		pthread_barrier_wait(&parallel->gate);
	}
}

static int setup(void **state, const void *config)
{
	const struct rig_opts opts = {
		.chunk = CHUNK,
		.count = THREADS * FAULTS,
		.engine = ENGINE_MEMCPY,
	};
	struct parallel *parallel;
	size_t i;
	int err;

	(void)config;
	if (cpu_count() < THREADS)
		return because(SKIPPED, "there is only one CPU");
	parallel = calloc(1, sizeof(*parallel));
	if (!parallel)
		return -ENOMEM;
	err = rig_create(&parallel->rig, &opts);
	for (i = 0; !err && i < opts.count; i++)
		err = rig_insert(parallel->rig, i);
	for (i = 0; i < THREADS; i++)
		parallel->faulter[i] = (struct faulter){
			.parallel = parallel,
			.first = i * FAULTS,
			.cpu = cpu_nth((unsigned int)i),
		};
	/* After the handlers were started, which go where they like. */
	if (!err)
		err = cpu_pin(parallel->faulter[0].cpu);
	if (!err)
		err = -pthread_barrier_init(&parallel->gate, NULL, THREADS);
	if (!err)
		err = -pthread_create(&parallel->helper, NULL, help,
				      &parallel->faulter[1]);
	*state = parallel;
	return err;
}

static int teardown(void *state)
{
	struct parallel *parallel = state;
	int err;

	parallel->stop = true;
	pthread_barrier_wait(&parallel->gate);
	pthread_join(parallel->helper, NULL);
	pthread_barrier_destroy(&parallel->gate);
	err = rig_destroy(parallel->rig);
	free(parallel);
	return err;
}

static int out(struct parallel *parallel, size_t count)
{
	size_t i;
	int err = 0;

	for (i = 0; !err && i < count; i++)
		err = rig_out(parallel->rig, i);
	return err;
}

static void reap(struct parallel *parallel, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		rig_reap(parallel->rig, i);
}

static double faults_per_ms(size_t count, uint64_t ns)
{
	return (double)count * 1e6 / (double)ns;
}

static int ours(void *state, double *value)
{
	struct parallel *parallel = state;
	struct faulter *a = &parallel->faulter[0];
	struct faulter *b = &parallel->faulter[1];
	int err;

	err = out(parallel, THREADS * FAULTS);
	if (err)
		return err;
	pthread_barrier_wait(&parallel->gate);
	fault_all(a);
	pthread_barrier_wait(&parallel->gate);
	reap(parallel, THREADS * FAULTS);
	/* From the start of the first to the end of the last. */
	*value = faults_per_ms(THREADS * FAULTS,
			       (a->end_ns > b->end_ns ? a->end_ns : b->end_ns) -
				       (a->start_ns < b->start_ns
						? a->start_ns
						: b->start_ns));
	return 0;
}

static int base(void *state, double *value)
{
	struct parallel *parallel = state;
	struct faulter *a = &parallel->faulter[0];
	int err;

	err = out(parallel, FAULTS);
	if (err)
		return err;
	fault_all(a);
	reap(parallel, FAULTS);
	*value = faults_per_ms(FAULTS, a->end_ns - a->start_ns);
	return 0;
}

const struct measure parallel_measures[] = {
	{
		.name = "parallel_faults",
		.what = "two threads whose CPU faults bring 64 KiB home each, "
			"in different ranges",
		.baseline = "one such thread, same handlers",
		.unit = "faults/ms",
		.better = HIGHER,
		.reach = 1.5,
		.placement = UNPINNED,
		.setup = setup,
		.ours = ours,
		.base = base,
		.teardown = teardown,
	},
	{ .name = NULL },
};
