/* SPDX-License-Identifier: MIT */
/*
 * What the program prints about its work: a line for each step, the result,
 * and a table of counters.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report.h"

#define MIB (1024.0 * 1024.0)
#define TOP_NAMES 5
#define DIFFERENCES 5

/* Counters at one moment; the library's from when it was opened. */
struct counters {
	struct gpusvm_stats mm;
	struct gpu_stats gpu;
	double seconds;
};

static struct counters start, last;

static void read_counters(struct gpu *gpu, struct counters *c)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	c->seconds = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
	c->gpu = gpu->stats;
	c->mm.size = sizeof(c->mm);
	gpusvm_mm_get_stats(gpu->mm, &c->mm);
}

void report_start(struct gpu *gpu)
{
	read_counters(gpu, &start);
	last = start;
	printf("\n%-34s %7s %7s %8s %8s %6s %8s\n", "", "device", "CPU",
	       "MiB to", "MiB to", "evic-", "");
	printf("%-34s %7s %7s %8s %8s %6s %8s\n", "step", "faults", "faults",
	       "device", "RAM", "tions", "ms");
}

/* One line with what happened since the last one. */
void report_step(struct problem *problem, const char *what)
{
	struct counters c;

	read_counters(problem->gpu, &c);
	printf("%-34s %7lu %7llu %8.1f %8.1f %6lu %8.1f\n", what,
	       c.gpu.faults - last.gpu.faults,
	       (unsigned long long)(c.mm.cpu_faults - last.mm.cpu_faults),
	       (double)(c.mm.bytes_to_devmem - last.mm.bytes_to_devmem) / MIB,
	       (double)(c.mm.bytes_to_ram - last.mm.bytes_to_ram) / MIB,
	       c.gpu.evictions - last.gpu.evictions,
	       (c.seconds - last.seconds) * 1e3);
	fflush(stdout);
	last = c;
}

/* The nodes with the highest rank, that of all copies of a node together. */
void report_names(const struct problem *problem, const struct edge_list *list)
{
	double *sums = allocate(list->named, sizeof(*sums));
	char buf[32];
	uint32_t v, best;
	int i;

	for (v = 0; v < problem->graph.nodes; v++)
		sums[v % list->named] += problem->rank[v];
	printf("\nhighest rank:");
	for (i = 0; i < TOP_NAMES && i < (int)list->named; i++) {
		best = 0;
		for (v = 1; v < list->named; v++)
			if (sums[v] > sums[best])
				best = v;
		printf("%s %s %.4f", i ? "," : "",
		       edge_list_name(list, best, buf, sizeof(buf)),
		       sums[best]);
		sums[best] = -1;
	}
	printf("\n");
	free(sums);
}

static void count_row(const char *name, unsigned long long count)
{
	printf("%-28s %12llu\n", name, count);
}

static void bytes_row(const char *name, unsigned long long bytes)
{
	printf("%-28s %12.1f MiB\n", name, (double)bytes / MIB);
}

static void seconds_row(const char *name, double seconds)
{
	printf("%-28s %12.3f s\n", name, seconds);
}

void report_table(struct gpu *gpu)
{
	struct counters c;

	read_counters(gpu, &c);
	printf("\n");
	count_row("device faults", c.gpu.faults);
	count_row("retries of device faults", c.gpu.retries);
	count_row("CPU faults", c.mm.cpu_faults);
	count_row("ranges created", c.gpu.ranges);
	count_row("ranges garbage collected", c.gpu.collected);
	count_row("migrations to device", c.mm.migrations_to_devmem);
	bytes_row("bytes to device", c.mm.bytes_to_devmem);
	count_row("migrations to RAM", c.mm.migrations_to_ram);
	bytes_row("bytes to RAM", c.mm.bytes_to_ram);
	count_row("taken by UFFDIO_MOVE", c.mm.moved);
	count_row("taken by write protection", c.mm.write_protected);
	count_row("evictions", c.gpu.evictions);
	count_row("migrations refused", c.gpu.refused);
	if (c.gpu.refused)
		printf("%-28s %12s\n", "  the last with",
		       strerror(-c.gpu.refused_why));
	seconds_row("time in copy", (double)gpu_copy_nanoseconds() / 1e9);
	seconds_row("total time", c.seconds - start.seconds);
}

static bool equal_levels(const struct problem *device,
			 const struct problem *cpu)
{
	unsigned int differences = 0;
	uint32_t v;

	for (v = 0; v < cpu->graph.nodes; v++) {
		if (device->level[v] == cpu->level[v])
			continue;
		if (differences++ < DIFFERENCES)
			printf("level of node %" PRIu32
			       " at %p: device %" PRId32 ", CPU %" PRId32 "\n",
			       v, (void *)&device->level[v],
			       (int32_t)device->level[v],
			       (int32_t)cpu->level[v]);
	}
	if (differences)
		printf("%u levels differ\n", differences);
	return !differences;
}

/* To the last bit: both sides add the same numbers in the same order. */
static bool equal_ranks(const struct problem *device, const struct problem *cpu)
{
	unsigned int differences = 0;
	uint32_t v;

	for (v = 0; v < cpu->graph.nodes; v++) {
		if (!memcmp(&device->rank[v], &cpu->rank[v], sizeof(double)))
			continue;
		if (differences++ < DIFFERENCES)
			printf("rank of node %" PRIu32
			       " at %p: device %.17g, CPU %.17g\n",
			       v, (void *)&device->rank[v], device->rank[v],
			       cpu->rank[v]);
	}
	if (differences)
		printf("%u ranks differ\n", differences);
	return !differences;
}

bool report_equal(const struct problem *device, const struct problem *cpu)
{
	bool levels = equal_levels(device, cpu);
	bool ranks = equal_ranks(device, cpu);

	return levels && ranks;
}
