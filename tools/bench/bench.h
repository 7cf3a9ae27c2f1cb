/* SPDX-License-Identifier: MIT */
/*
 * gpusvm-bench: the library beside its alternatives, round by round in one
 * process.  A measure is a row of a table; main.c runs it in a child of its
 * own, so that each starts with an address space that nothing has used.
 */
#ifndef GPUSVM_BENCH_H
#define GPUSVM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../gpusvm-info/info.h"

#define KIB 1024ul
#define MIB (1024ul * KIB)

#define REASON_SIZE 192

/* An error of a measure that cannot be had here. */
#define SKIPPED 1

/* What a better library does to the ratio of ours to the baseline. */
enum better {
	HIGHER, /* a rate */
	LOWER,	/* a time */
};

/* Where the threads of both sides are. */
enum placement {
	SAME_CPU, /* all of them on one CPU */
	UNPINNED, /* but for those that touch memory, as @what tells */
};

/**
 * struct measure - Ours against a baseline
 * @name: As it is asked for and printed
 * @what: One line about what is measured
 * @baseline: What it is compared with
 * @unit: Of the values, without blanks
 * @better: Direction of the ratio
 * @reach: The ratio to reach; 0 for what only shows a bound
 * @placement: Of the threads; SAME_CPU is set up before setup() is called
 * @config: For setup()
 * @setup: Makes *@state; 0, a negative errno, or SKIPPED
 * @ours: One round of ours; 0 or a negative errno
 * @base: One round of the baseline
 * @teardown: Frees @state; 0 or a negative errno
 *
 * The order in which @ours and @base are called alternates; what one leaves
 * behind in caches is what the other one would.
 */
struct measure {
	const char *name;
	const char *what;
	const char *baseline;
	const char *unit;
	enum better better;
	double reach;
	enum placement placement;
	const void *config;
	int (*setup)(void **state, const void *config);
	int (*ours)(void *state, double *value);
	int (*base)(void *state, double *value);
	int (*teardown)(void *state);
};

/* Each family ends with a row without a name. */
extern const struct measure roundtrip_measures[];
extern const struct measure fault_measures[];
extern const struct measure devfault_measures[];
extern const struct measure idle_measures[];
extern const struct measure hook_measures[];
extern const struct measure engine_measures[];
extern const struct measure parallel_measures[];
extern const struct measure batch_measures[];
extern const struct measure bound_measures[];

/**
 * struct outcome - What became of a measure
 * @err: 0, a negative errno, or SKIPPED
 * @reason: Why it was skipped or failed
 * @rounds: Rounds that count
 * @ratio: Median over the rounds of ours / base
 * @p10: 10th percentile of that
 * @p90: 90th percentile of that
 * @ours: Median of ours
 * @base: Median of the baseline
 */
struct outcome {
	int err;
	char reason[REASON_SIZE];
	unsigned int rounds;
	double ratio;
	double p10;
	double p90;
	double ours;
	double base;
};

/* run.c: in a child; @outcome is filled in any case. */
void run_measure(const struct measure *measure, double seconds,
		 struct outcome *outcome);

/* run.c: for the functions of a measure: say why, and return @err. */
int because(int err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The values of one round. */
struct sample {
	double ours;
	double base;
};

/**
 * struct samples - The values of the rounds
 * @sample: Of each
 * @count: Rounds
 * @room: Allocated
 */
struct samples {
	struct sample *sample;
	unsigned int count;
	unsigned int room;
};

/* stats.c; 0 or -ENOMEM */
int samples_add(struct samples *samples, double ours, double base);
/* Fill the numbers of @outcome, from one sample or more: 0 or -ENOMEM. */
int samples_sum_up(const struct samples *samples, struct outcome *outcome);
void samples_free(struct samples *samples);

/* place.c: a CPU of those that the process may use; -1 if there is none. */
int cpu_nth(unsigned int n);
unsigned int cpu_count(void);
/* The calling thread, and threads that it will start: 0 or -errno. */
int cpu_pin(int cpu);

/**
 * struct area - Memory with inaccessible memory around it
 * @start: First byte
 * @size: Bytes
 * @map: The mapping, guards included
 * @mapped: Its size
 *
 * The guards keep it a mapping of its own: the library watches whole mappings,
 * and the baseline's must not be one of them.
 */
struct area {
	uint8_t *start;
	size_t size;
	void *map;
	size_t mapped;
};

/*
 * area.c: aligned to 2 MiB, in pages of 2 MiB if @huge; 0 or -errno.  A later
 * area_fill() decides whether huge pages were to be had.
 */
int area_create(struct area *area, size_t size, bool huge);
void area_destroy(struct area *area);
/* Every page is written to. */
void area_fill(const struct area *area);
/* How many bytes of it are in huge pages. */
size_t area_huge_bytes(const struct area *area);

/* Nanoseconds for @bytes as GB/s. */
static inline double gb_per_s(size_t bytes, uint64_t ns)
{
	return (double)bytes / (double)ns;
}

/* Microseconds of each of @count that took @ns together. */
static inline double us_each(uint64_t ns, size_t count)
{
	return (double)ns / 1e3 / (double)count;
}

/* A read that the compiler keeps. */
static inline uint8_t touch(const uint8_t *byte)
{
	return *(const volatile uint8_t *)byte;
}

#endif /* GPUSVM_BENCH_H */
