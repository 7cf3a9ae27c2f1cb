/* SPDX-License-Identifier: MIT */
/*
 * Moves a range of memory to a NUMA node that plays the device and back,
 * several times: home by a CPU fault in one round, by eviction in the next.
 * Checks every byte on both sides and where the device memory lies, and prints
 * what each step costs (medians over the rounds).
 *
 * One thread is program, driver and device here: the driver needs no lock, and
 * the invalidate callback has nothing to stop.  graph/ shows both.
 */
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <drm/drm_gpusvm.h>
#include <gpusvm/copy.h>
#include <gpusvm/devmem.h>
#include <gpusvm/gpusvm.h>

#define EXIT_USAGE 2
#define EXIT_SKIPPED 77 /* this machine cannot do it */

#define VA_END (1ul << 48)
#define NOTIFIER_SIZE (1ul << 40) /* all sizes fit in */

/* Memory that keeps changing under a device fault is an error. */
#define FAULT_TRIES 10

enum step {
	FIND,
	MIGRATE,
	GET_PAGES,
	CPU_FAULT,
	EVICT,
	STEPS
};

static const char *const step_names[STEPS] = {
	"find_or_insert", "migrate_to_devmem", "get_pages",
	"CPU fault home", "evict_to_ram",
};

/* From gpusvm_alloc(): callbacks touch it, so it must never migrate. */
struct device_state {
	struct drm_gpusvm svm;
	struct mm_struct *mm;
	struct gpusvm_devmem_pool *pool;
	struct drm_pagemap dpagemap;
	unsigned long size; /* of the data, and of its one range */
	uint8_t *data;

	/* The last device fault. */
	struct drm_gpusvm_range *range;
	struct block *block;
};

/* Device memory of the range, for as long as it is there. */
struct block {
	struct drm_gpusvm_devmem devmem;
	struct device_state *dev;
	struct gpusvm_completion released; /* the library is done with it */
	unsigned long pfn;
};

struct settings {
	size_t size;
	int node;
	unsigned int rounds;
};

/* Nanoseconds of each step in each round; 0 where it was not taken. */
struct times {
	uint64_t *of[STEPS];
	unsigned int round;
};

static const char usage[] =
	"usage: migrate [OPTION]...\n"
	"Move memory to a NUMA node and back, check it, print what it costs.\n"
	"\n"
	"  -s, --size=SIZE   a power of two, as 64K or 2M (default: 2M)\n"
	"  -n, --node=NODE   where device memory is (default: the best)\n"
	"  -r, --rounds=N    (default: 20)\n"
	"  -h, --help        print this and exit\n";

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void record(struct times *times, enum step step, uint64_t since)
{
	times->of[step][times->round] = now() - since;
}

/* The driver's callbacks. */

static void invalidate(struct drm_gpusvm *svm,
		       struct drm_gpusvm_notifier *notifier,
		       const struct gpusvm_mmu_notifier_range *event)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_range *range = NULL;

	drm_gpusvm_for_each_range(range, notifier, event->start, event->end) {
		drm_gpusvm_range_unmap_pages(svm, range, &ctx);
		if (event->event == GPUSVM_MMU_NOTIFY_UNMAP)
			drm_gpusvm_range_set_unmapped(range, event);
	}
}

static struct block *to_block(struct drm_gpusvm_devmem *devmem)
{
	return gpusvm_container_of(devmem, struct block, devmem);
}

static void devmem_release(struct drm_gpusvm_devmem *devmem)
{
	gpusvm_complete_all(&to_block(devmem)->released);
}

static int populate_devmem_pfn(struct drm_gpusvm_devmem *devmem,
			       unsigned long npages, unsigned long *pfn)
{
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfn[i] = to_block(devmem)->pfn + i;
	return 0;
}

static const struct drm_gpusvm_devmem_ops devmem_ops = {
	.devmem_release = devmem_release,
	.populate_devmem_pfn = populate_devmem_pfn,
	.copy_to_devmem = gpusvm_memcpy_to_devmem,
	.copy_to_ram = gpusvm_memcpy_to_ram,
};

/* The "device" reaches its memory where the pool has it mapped. */
static struct drm_pagemap_device_addr
device_map(struct drm_pagemap *dpagemap, struct device *dev, struct page *page,
	   unsigned int order, enum gpusvm_dma_data_direction dir)
{
	(void)dpagemap;
	(void)dev;
	return drm_pagemap_device_addr_encode(
		(unsigned long)gpusvm_page_address(page),
		DRM_INTERCONNECT_DRIVER, order, dir);
}

static struct block *block_alloc(struct device_state *dev)
{
	struct block *block = gpusvm_alloc(sizeof(*block));

	if (!block)
		return NULL;
	block->dev = dev;
	gpusvm_init_completion(&block->released);
	drm_gpusvm_devmem_init(&block->devmem, NULL, dev->mm, &devmem_ops,
			       &dev->dpagemap, dev->size);
	if (gpusvm_devmem_pool_alloc(dev->pool, dev->size, &block->pfn)) {
		gpusvm_free(block);
		return NULL;
	}
	return block;
}

static void block_free(struct block *block)
{
	gpusvm_devmem_pool_free(block->dev->pool, block->pfn,
				block->devmem.size);
	gpusvm_free(block);
}

/* Undo a migration: the program's data is at home afterwards. */
static int evict(struct block *block)
{
	int err = drm_gpusvm_evict_to_ram(&block->devmem);

	if (err)
		return err;
	gpusvm_wait_for_completion(&block->released);
	block_free(block);
	return 0;
}

/* One try to serve a device fault: 0 or a negative errno. */
static int fault_once(struct device_state *dev, struct times *times)
{
	const struct drm_gpusvm_ctx ctx = {
		.devmem_possible = 1,
		.devmem_only = 1,
	};
	uint64_t start = now();
	int err;

	dev->range = drm_gpusvm_range_find_or_insert(
		&dev->svm, (unsigned long)dev->data, 0, VA_END, &ctx);
	if (gpusvm_is_err(dev->range))
		return (int)gpusvm_ptr_err(dev->range);
	record(times, FIND, start);

	dev->block = block_alloc(dev);
	if (!dev->block)
		return -ENOSPC;
	start = now();
	gpusvm_mm_read_lock(dev->mm);
	err = drm_gpusvm_migrate_to_devmem(&dev->svm, dev->range,
					   &dev->block->devmem, &ctx);
	gpusvm_mm_read_unlock(dev->mm);
	record(times, MIGRATE, start);
	if (err) {
		block_free(dev->block); /* it is still ours */
		return err;
	}

	start = now();
	err = drm_gpusvm_range_get_pages(&dev->svm, dev->range, &ctx);
	record(times, GET_PAGES, start);
	if (err)
		evict(dev->block);
	return err;
}

static uint8_t expected_byte(unsigned int round, bool device, size_t i)
{
	return (uint8_t)(i + i / 4096 + 31 * round + (device ? 128 : 0));
}

/* The device at work: it checks what the CPU wrote and writes its own. */
static int device_work(struct device_state *dev, unsigned int round)
{
	const struct drm_pagemap_device_addr *entry;
	size_t page_size = gpusvm_page_size();
	size_t wrong = 0;
	size_t i = 0;
	size_t end;

	drm_gpusvm_notifier_lock(&dev->svm);
	if (!drm_gpusvm_range_pages_valid(&dev->svm, dev->range)) {
		drm_gpusvm_notifier_unlock(&dev->svm);
		return -EAGAIN;
	}
	for (entry = dev->range->dma_addr; i < dev->size; entry++) {
		uint8_t *page = (uint8_t *)(uintptr_t)entry->addr - i;

		for (end = i + (page_size << entry->order); i < end; i++) {
			wrong += page[i] != expected_byte(round, false, i);
			page[i] = expected_byte(round, true, i);
		}
	}
	drm_gpusvm_notifier_unlock(&dev->svm);
	if (wrong)
		fprintf(stderr, "round %u: %zu bytes wrong on the device\n",
			round, wrong);
	return wrong ? -EIO : 0;
}

/* Serve a fault and let the device work, again if memory has changed. */
static int device_fault(struct device_state *dev, struct times *times)
{
	int err = -EAGAIN;
	int tries;

	for (tries = 0; tries < FAULT_TRIES; tries++) {
		err = fault_once(dev, times);
		if (!err) {
			err = device_work(dev, times->round);
			if (!err)
				return 0;
			evict(dev->block);
		}
		if (err != -EAGAIN && err != -EBUSY && err != -EFAULT)
			break;
	}
	fprintf(stderr, "round %u: device fault: %s\n", times->round,
		strerror(-err));
	return err;
}

/* Bring the memory home in the way of this round. */
static int bring_home(struct device_state *dev, struct times *times)
{
	uint64_t start = now();
	int err;

	if (times->round % 2) {
		err = drm_gpusvm_evict_to_ram(&dev->block->devmem);
		record(times, EVICT, start);
		if (err) {
			fprintf(stderr, "round %u: evict_to_ram: %s\n",
				times->round, strerror(-err));
			return err;
		}
	} else {
		/* One read, in the middle: all of it comes home. */
		(void)*(volatile uint8_t *)&dev->data[dev->size / 2];
		record(times, CPU_FAULT, start);
	}
	gpusvm_wait_for_completion(&dev->block->released);
	block_free(dev->block);
	return 0;
}

static int check_data(const struct device_state *dev, unsigned int round)
{
	size_t wrong = 0;
	size_t i;

	for (i = 0; i < dev->size; i++)
		wrong += dev->data[i] != expected_byte(round, true, i);
	if (wrong)
		fprintf(stderr, "round %u: %zu bytes wrong at home\n", round,
			wrong);
	return wrong ? -EIO : 0;
}

/* Where device memory lies, and that @used bytes of it are in use. */
static int check_pool(const struct device_state *dev, int node, size_t used)
{
	struct gpusvm_devmem_pool_info info = { .size = sizeof(info) };
	int err = gpusvm_devmem_pool_info(dev->pool, &info);

	if (err)
		return err;
	if (node >= 0 && info.node != node) {
		fprintf(stderr, "device memory is on node %d, not %d\n",
			info.node, node);
		return -EXDEV;
	}
	if (info.bytes - info.free_bytes != used) {
		fprintf(stderr, "%zu bytes of device memory used, not %zu\n",
			info.bytes - info.free_bytes, used);
		return -EIO;
	}
	return 0;
}

static int run_round(struct device_state *dev, const struct settings *s,
		     struct times *times)
{
	size_t i;
	int err;

	for (i = 0; i < dev->size; i++)
		dev->data[i] = expected_byte(times->round, false, i);
	err = device_fault(dev, times);
	if (err)
		return err;
	err = check_pool(dev, s->node, dev->size);
	if (!err)
		err = bring_home(dev, times);
	if (!err)
		err = check_data(dev, times->round);
	if (!err)
		err = check_pool(dev, s->node, 0);
	return err;
}

static int create_device(struct device_state **out, const struct settings *s)
{
	static const struct drm_gpusvm_ops ops = { .invalidate = invalidate };
	static const struct drm_pagemap_ops map_ops = {
		.device_map = device_map,
	};
	struct gpusvm_devmem_pool_opts opts = {
		.size = sizeof(opts),
		.bytes = s->size,
		.node = s->node,
		.pgmap_ops = drm_gpusvm_pagemap_ops_get(),
	};
	struct device_state *dev = gpusvm_alloc(sizeof(*dev));
	int err;

	if (!dev)
		return -ENOMEM;
	opts.owner = dev;
	dev->size = s->size;
	dev->dpagemap.ops = &map_ops;
	dev->data = aligned_alloc(s->size, s->size);
	if (!dev->data)
		return -ENOMEM;
	err = gpusvm_mm_open(&dev->mm, NULL);
	if (!err)
		err = gpusvm_devmem_pool_create(&dev->pool, &opts);
	if (!err)
		err = drm_gpusvm_init(&dev->svm, "migrate", NULL, dev->mm, dev,
				      0, VA_END, NOTIFIER_SIZE, &ops,
				      &dev->size, 1);
	*out = dev;
	return err;
}

static int destroy_device(struct device_state *dev)
{
	int err;

	drm_gpusvm_fini(&dev->svm);
	err = gpusvm_mm_close(dev->mm);
	if (!err)
		err = gpusvm_devmem_pool_destroy(dev->pool);
	free(dev->data);
	gpusvm_free(dev);
	return err;
}

static int compare_times(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Rounds that did not take the step have a time of 0 and sort to the front. */
static void print_times(struct times *times, const struct settings *s)
{
	size_t step, skip;
	double us;

	for (step = 0; step < STEPS; step++) {
		qsort(times->of[step], s->rounds, sizeof(uint64_t),
		      compare_times);
		for (skip = 0; skip < s->rounds && !times->of[step][skip];)
			skip++;
		if (skip == s->rounds)
			continue;
		us = (double)times->of[step][(skip + s->rounds) / 2] / 1e3;
		printf("%-18s %9.1f us", step_names[step], us);
		if (step != FIND && step != GET_PAGES)
			printf(" %7.2f GB/s", (double)s->size / us / 1e3);
		printf("\n");
	}
}

static void describe(const struct device_state *dev, const struct settings *s)
{
	struct gpusvm_devmem_pool_info info = { .size = sizeof(info) };
	unsigned long features = gpusvm_mm_features(dev->mm);

	gpusvm_devmem_pool_info(dev->pool, &info);
	printf("%zu KiB to node %d%s and back, %u rounds, pages taken by %s\n",
	       s->size >> 10, info.node, info.emulated ? " (emulated)" : "",
	       s->rounds,
	       features & GPUSVM_FEATURE_MOVE	       ? "UFFDIO_MOVE"
	       : features & GPUSVM_FEATURE_USERFAULTFD ? "write protection"
						       : "mremap()");
}

/* The library's messages; maybe from its fault handler, so without stdio. */
static void log_line(enum gpusvm_log_level level, const char *message,
		     void *priv)
{
	(void)level;
	(void)priv;
	if (write(STDERR_FILENO, message, strlen(message)) < 0 ||
	    write(STDERR_FILENO, "\n", 1) < 0)
		return;
}

static bool parse_number(const char *text, unsigned long max,
			 unsigned long *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoul(text, &end, 10);
	if (*end == 'K' || *end == 'M' || *end == 'G') {
		*value <<= *end == 'K' ? 10 : *end == 'M' ? 20 : 30;
		end++;
	}
	return !errno && !*end && *value <= max;
}

static bool parse_option(int option, struct settings *s)
{
	unsigned long value;

	switch (option) {
	case 's':
		s->size = 0;
		if (parse_number(optarg, 1ul << 40, &value))
			s->size = value;
		return s->size >= gpusvm_page_size() &&
		       !(s->size & (s->size - 1));
	case 'n':
		if (!parse_number(optarg, 1023, &value))
			return false;
		s->node = (int)value;
		return true;
	case 'r':
		if (!parse_number(optarg, 1000000, &value))
			return false;
		s->rounds = (unsigned int)value;
		return value > 0;
	default:
		return false;
	}
}

/* Exits on wrong usage. */
static void parse_options(int argc, char **argv, struct settings *s)
{
	static const struct option options[] = {
		{ "size", required_argument, NULL, 's' },
		{ "node", required_argument, NULL, 'n' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "s:n:r:h", options, NULL)) !=
	       -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			exit(0);
		}
		if (parse_option(option, s))
			continue;
		if (option != '?')
			fprintf(stderr, "migrate: -%c: bad value \"%s\"\n",
				option, optarg);
		exit(EXIT_USAGE);
	}
	if (optind < argc) {
		fprintf(stderr, "migrate: no arguments, please\n");
		exit(EXIT_USAGE);
	}
}

int main(int argc, char **argv)
{
	struct settings settings = {
		.size = 2ul << 20,
		.node = -1,
		.rounds = 20,
	};
	struct times times = { 0 };
	struct device_state *dev;
	size_t step;
	int err;

	parse_options(argc, argv, &settings);
	for (step = 0; step < STEPS; step++) {
		times.of[step] = calloc(settings.rounds, sizeof(uint64_t));
		if (!times.of[step])
			return 1;
	}
	gpusvm_set_log(log_line, NULL, GPUSVM_LOG_WARNING);
	err = create_device(&dev, &settings);
	if (err) {
		fprintf(stderr, "migrate: no device: %s\n", strerror(-err));
		return err == -EPERM || err == -ENOSYS ? EXIT_SKIPPED : 1;
	}
	describe(dev, &settings);
	for (; !err && times.round < settings.rounds; times.round++)
		err = run_round(dev, &settings, &times);
	if (!err)
		print_times(&times, &settings);
	if (destroy_device(dev))
		err = -EIO;
	for (step = 0; step < STEPS; step++)
		free(times.of[step]);
	if (!err)
		printf("verified\n");
	return err ? 1 : 0;
}
