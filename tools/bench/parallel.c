/* SPDX-License-Identifier: MIT */
/* Two threads touch what is on the device, against one. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "bare.h"
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
 * struct parallel_config - Who serves
 * @source: The library by this
 * @bound: Bare loops, one on each CPU, that move what they copied
 */
struct parallel_config {
	enum gpusvm_source source;
	bool bound;
};

/**
 * struct parallel - The faulters
 * @config: Who serves them
 * @rig: Their memory
 * @bare: The same, of the bare loops
 * @data: Where it is
 * @faulter: They; the first one is the main thread
 * @helper: The thread of the second one
 * @gate: Where a round begins and ends for both
 * @stop: There is no other round
 */
struct parallel {
	const struct parallel_config *config;
	struct rig *rig;
	struct bare bare;
	const uint8_t *data;
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
		touch(faulter->parallel->data + (faulter->first + i) * CHUNK);
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

static int create_server(struct parallel *parallel)
{
	const struct rig_opts opts = {
		.chunk = CHUNK,
		.count = THREADS * FAULTS,
		.engine = ENGINE_MEMCPY,
		.source = parallel->config->source,
	};
	size_t i;
	int err;

	if (parallel->config->bound) {
		err = bare_create(&parallel->bare, opts.count, CHUNK, true);
		parallel->data = parallel->bare.data.start;
		return err ? err : bare_spread(&parallel->bare);
	}
	err = rig_create(&parallel->rig, &opts);
	for (i = 0; !err && i < opts.count; i++)
		err = rig_insert(parallel->rig, i);
	if (!err)
		parallel->data = rig_data(parallel->rig, 0);
	return err;
}

static int setup(void **state, const void *config)
{
	struct parallel *parallel;
	size_t i;
	int err;

	if (cpu_count() < THREADS)
		return because(SKIPPED, "there is only one CPU");
	parallel = calloc(1, sizeof(*parallel));
	if (!parallel)
		return -ENOMEM;
	parallel->config = config;
	err = create_server(parallel);
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
	int err = 0;

	parallel->stop = true;
	pthread_barrier_wait(&parallel->gate);
	pthread_join(parallel->helper, NULL);
	pthread_barrier_destroy(&parallel->gate);
	if (parallel->config->bound)
		bare_destroy(&parallel->bare);
	else
		err = rig_destroy(parallel->rig);
	free(parallel);
	return err;
}

/* What the bare loops serve is absent already. */
static int out(struct parallel *parallel, size_t count)
{
	size_t i;
	int err = 0;

	for (i = 0; !err && !parallel->config->bound && i < count; i++)
		err = rig_out(parallel->rig, i);
	return err;
}

static int reap(struct parallel *parallel, size_t count)
{
	size_t i;
	int err;

	if (parallel->config->bound) {
		err = bare_check(&parallel->bare, count);
		return err ? err : bare_drop(&parallel->bare, count);
	}
	for (i = 0; i < count; i++)
		rig_reap(parallel->rig, i);
	return 0;
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
	/* From the start of the first to the end of the last. */
	*value = faults_per_ms(THREADS * FAULTS,
			       (a->end_ns > b->end_ns ? a->end_ns : b->end_ns) -
				       (a->start_ns < b->start_ns
						? a->start_ns
						: b->start_ns));
	return reap(parallel, THREADS * FAULTS);
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
	*value = faults_per_ms(FAULTS, a->end_ns - a->start_ns);
	return reap(parallel, FAULTS);
}

static const struct parallel_config config_handlers = { .bound = false };
static const struct parallel_config config_in_thread = {
	.source = GPUSVM_SOURCE_USERFAULTFD_SIGBUS,
};
static const struct parallel_config config_bound = { .bound = true };

#define PARALLEL                                                      \
	.unit = "faults/ms", .better = HIGHER, .placement = UNPINNED, \
	.setup = setup, .ours = ours, .base = base, .teardown = teardown

const struct measure parallel_measures[] = {
	{
		.name = "parallel_faults",
		.what = "two threads whose CPU faults bring 64 KiB home each, "
			"in different ranges",
		.baseline = "one such thread, same handlers",
		.reach = 1.5,
		.config = &config_handlers,
		PARALLEL,
	},
	{
		.name = "parallel_faults_in_thread",
		.what = "the same, served by the threads that made them",
		.baseline = "one such thread",
		.reach = 1.5,
		.config = &config_in_thread,
		PARALLEL,
	},
	{
		.name = "bound_parallel_faults",
		.what = "the same by bare userfaultfd loops, one on each CPU, "
			"memcpy and UFFDIO_MOVE",
		.baseline = "one such thread, same loops",
		.config = &config_bound,
		PARALLEL,
	},
	{ .name = NULL },
};
