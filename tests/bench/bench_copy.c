/* SPDX-License-Identifier: MIT */
/*
 * How fast the copy engines are: calls of 4 KiB, 64 KiB and 2 MiB through a set
 * that no cache holds, in rounds in which every engine has a short turn, so that
 * most turns are not cut by other programs.
 *
 * Prints medians, and the medians of the ratios to memcpy in the same round with
 * their 10th and 90th percentiles: the machine may be busy, the ratios are what
 * counts.
 *
 * argv[1]: rounds (31); argv[2]: a directory on a disk, for device memory there
 */
#include <drm/drm_gpusvm.h>
#include <gpusvm/copy.h>
#include <gpusvm/devmem.h>
#include <gpusvm/gpusvm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define SET (256ul << 20)
#define HUGE_PAGE (2ul << 20)
#define MAX_ROUNDS 199
/* A turn: so many calls, so many bytes, at most. */
#define TURN_CALLS 256
#define TURN_BYTES (8ul << 20)

static const size_t sizes[] = { 4ul << 10, 64ul << 10, 2ul << 20 };
#define NSIZES (sizeof(sizes) / sizeof(*sizes))

struct subject {
	const char *name;
	enum gpusvm_copy_engine_type engine;
	enum gpusvm_devmem_type memory;
	bool on_disk;
	struct gpusvm_copy_engine *copier;
	struct gpusvm_devmem_pool *pool;
	struct page **pages;
	/* Bytes per nanosecond, which is GB/s; to the device and home. */
	double speed[NSIZES][2][MAX_ROUNDS];
};

static struct subject subjects[] = {
	{ .name = "memcpy" },
	{ .name = "stream", .engine = GPUSVM_COPY_STREAM },
	{ .name = "threads", .engine = GPUSVM_COPY_THREADS },
	{ .name = "memcpy, memfd", .memory = GPUSVM_DEVMEM_MEMFD },
	{ .name = "uring, memfd",
	  .engine = GPUSVM_COPY_URING,
	  .memory = GPUSVM_DEVMEM_MEMFD },
	{ .name = "uring, disk",
	  .engine = GPUSVM_COPY_URING,
	  .memory = GPUSVM_DEVMEM_FILE,
	  .on_disk = true },
};
#define NSUBJECTS (sizeof(subjects) / sizeof(*subjects))

static dma_addr_t *addresses;

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Huge pages, as far as there are any. */
static int map_ram(void)
{
	size_t page = gpusvm_page_size(), i;
	char *map, *ram;

	map = mmap(NULL, SET + HUGE_PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	addresses = calloc(SET / page, sizeof(*addresses));
	if (map == MAP_FAILED || !addresses)
		return -1;
	ram = (char *)(((unsigned long)map + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	madvise(ram, SET, MADV_HUGEPAGE);
	memset(ram, 1, SET);
	for (i = 0; i < SET / page; i++)
		addresses[i] = (dma_addr_t)ram + i * page;
	return 0;
}

static int set_up(struct subject *s, const char *directory)
{
	const struct gpusvm_copy_engine_opts engine_opts = {
		.size = sizeof(engine_opts),
		.type = s->engine,
	};
	struct gpusvm_devmem_pool_opts opts = {
		.size = sizeof(opts),
		.bytes = SET,
		.node = -1,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
		.type = s->memory,
		.path = directory,
	};
	size_t page = gpusvm_page_size(), i;
	unsigned long pfn;
	int err;

	err = gpusvm_copy_engine_create(&s->copier, &engine_opts);
	if (err)
		return err;
	opts.engine = s->copier;
	err = gpusvm_devmem_pool_create(&s->pool, &opts);
	if (err)
		return err;
	s->pages = calloc(SET / page, sizeof(*s->pages));
	pfn = gpusvm_devmem_pool_pagemap(s->pool)->range.start / page;
	for (i = 0; i < SET / page; i++)
		s->pages[i] = gpusvm_pfn_to_page(pfn + i);
	/* What was never written is read without a disk. */
	return gpusvm_copy_to_devmem(s->pages, addresses, SET / page);
}

/*
 * No turn works with memory of the turns just before it, and none is always the
 * one after the same other.
 */
static int measure(struct subject *s, unsigned int z, bool home,
		   unsigned int round, unsigned int number)
{
	size_t turn = TURN_CALLS * sizes[z] < TURN_BYTES ? TURN_CALLS * sizes[z]
							 : TURN_BYTES;
	unsigned long n = sizes[z] / gpusvm_page_size();
	unsigned long i = number * turn % SET / gpusvm_page_size();
	unsigned long end = i + turn / gpusvm_page_size();
	double start = now_ns();
	int err = 0;

	for (; i < end && !err; i += n)
		err = home ? gpusvm_copy_to_ram(s->pages + i, addresses + i, n)
			   : gpusvm_copy_to_devmem(s->pages + i, addresses + i,
						   n);
	s->speed[z][home][round] = (double)turn / (now_ns() - start);
	return err;
}

static int measure_round(unsigned int z, unsigned int round)
{
	static unsigned int number;
	struct subject *s;
	unsigned int i;
	int err = 0;

	for (i = 0; i < 2 * NSUBJECTS && !err; i++) {
		s = &subjects[(i / 2 + round) % NSUBJECTS];
		if (s->pages)
			err = measure(s, z, i % 2, round, number++);
	}
	return err;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(const struct subject *s, unsigned int z, bool home,
		   unsigned int rounds)
{
	double speed[MAX_ROUNDS], ratio[MAX_ROUNDS];
	unsigned int i;

	for (i = 0; i < rounds; i++) {
		speed[i] = s->speed[z][home][i];
		ratio[i] = speed[i] / subjects[0].speed[z][home][i];
	}
	qsort(speed, rounds, sizeof(*speed), compare);
	qsort(ratio, rounds, sizeof(*ratio), compare);
	printf("%-14s %4zuK %-9s %6.2f GB/s  x%.2f [%.2f..%.2f]\n", s->name,
	       sizes[z] >> 10, home ? "to_ram" : "to_devmem", speed[rounds / 2],
	       ratio[rounds / 2], ratio[rounds / 10],
	       ratio[rounds - 1 - rounds / 10]);
}

int main(int argc, char **argv)
{
	unsigned int rounds = argc > 1 ? (unsigned int)atoi(argv[1]) : 31;
	unsigned int i, z, home, round;
	int err;

	if (!rounds || rounds > MAX_ROUNDS || map_ram())
		return EXIT_FAILURE;
	for (i = 0; i < NSUBJECTS; i++) {
		if (subjects[i].on_disk && argc < 3)
			continue;
		err = set_up(&subjects[i], argc > 2 ? argv[2] : NULL);
		if (err)
			printf("%s: %s\n", subjects[i].name, strerror(-err));
	}
	for (z = 0; z < NSIZES; z++)
		for (round = 0; round < rounds; round++)
			if (measure_round(z, round))
				return EXIT_FAILURE;
	for (z = 0; z < NSIZES; z++)
		for (home = 0; home < 2; home++)
			for (i = 0; i < NSUBJECTS; i++)
				if (subjects[i].pages)
					report(&subjects[i], z, home, rounds);
	for (i = 0; i < NSUBJECTS; i++) {
		if (gpusvm_devmem_pool_destroy(subjects[i].pool))
			return EXIT_FAILURE;
		gpusvm_copy_engine_destroy(subjects[i].copier);
	}
	return EXIT_SUCCESS;
}
