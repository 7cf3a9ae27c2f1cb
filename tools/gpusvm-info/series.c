/* SPDX-License-Identifier: MIT */
/* Durations: taken until there are enough or time is over, then summed up. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include <gpusvm/hooks.h>

#include "info.h"

/* The first round warms up and is not counted. */
#define ROUNDS_MAX 41
#define ROUNDS_MIN 5
#define SERIES_NS (250ull * 1000 * 1000)

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int series_init(struct series *series)
{
	series->rounds = 0;
	series->deadline = now_ns() + SERIES_NS;
	series->ns = calloc(ROUNDS_MAX, sizeof(*series->ns));
	return series->ns ? 0 : -ENOMEM;
}

bool series_wants_more(const struct series *series)
{
	return series->rounds < ROUNDS_MIN ||
	       (series->rounds < ROUNDS_MAX && now_ns() < series->deadline);
}

void series_add(struct series *series, uint64_t ns)
{
	series->ns[series->rounds++] = ns;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The value that @percent of @n sorted ones are not above. */
static uint64_t percentile(const uint64_t *sorted, unsigned int n,
			   unsigned int percent)
{
	return sorted[((n - 1) * percent + 50) / 100];
}

void series_finish(struct series *series, struct measurements *m,
		   const char *key, const char *title, size_t bytes)
{
	struct result *result;
	unsigned int n;
	uint64_t *ns;

	if (series->rounds > 1 && m->count < RESULTS_MAX) {
		ns = series->ns + 1;
		n = series->rounds - 1;
		qsort(ns, n, sizeof(*ns), compare);
		result = &m->result[m->count++];
		*result = (struct result){
			.key = key,
			.title = title,
			.bytes = bytes,
			.rounds = n,
			.median_ns = percentile(ns, n, 50),
			.p10_ns = percentile(ns, n, 10),
			.p90_ns = percentile(ns, n, 90),
		};
	}
	free(series->ns);
	series->ns = NULL;
}

/* Aligned as huge pages and the chunks of a range are. */
void *area_map(size_t size)
{
	size_t whole = 2 * size;
	uint8_t *start, *area;

	start = mmap(NULL, whole, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (start == MAP_FAILED)
		return NULL;
	area = start + (size - (uintptr_t)start % size) % size;
	if (area > start)
		munmap(start, (size_t)(area - start));
	if (area + size < start + whole)
		munmap(area + size, (size_t)(start + whole - area) - size);
	return area;
}

/* Not every source tells of what is not announced. */
void area_unmap(void *area, size_t size)
{
	gpusvm_munmap(area, size);
}
