/* SPDX-License-Identifier: MIT */
/*
 * Goes a path on which nothing faults a number of times, for instructions.py to
 * count its instructions.
 *
 * Valgrind has no userfaultfd(2), but lets /dev/userfaultfd pass; a fault would
 * hang under it.
 *
 * usage: paths CASE COUNT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <drm/drm_gpusvm.h>
#include <gpusvm/gpusvm.h>
#include <gpusvm/hooks.h>

#define EXIT_SKIPPED 77

#define NOTIFIER_SIZE (2ul << 20)
#define RANGES 64

struct paths {
	struct drm_gpusvm svm;
	struct mm_struct *mm;
	unsigned long chunk;
	uint8_t *data; /* a notifier's interval, and one behind it */
	unsigned long invalidated;
	uint64_t pte;
};

static void invalidate(struct drm_gpusvm *svm,
		       struct drm_gpusvm_notifier *notifier,
		       const struct gpusvm_mmu_notifier_range *event)
{
	struct paths *paths = gpusvm_container_of(svm, struct paths, svm);
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_range *range = NULL;

	paths->invalidated++;
	drm_gpusvm_for_each_range(range, notifier, event->start, event->end)
		drm_gpusvm_range_unmap_pages(svm, range, &ctx);
}

static const struct drm_gpusvm_ops ops = { .invalidate = invalidate };

/* The library's messages: why something failed. */
static void log_line(enum gpusvm_log_level level, const char *message,
		     void *priv)
{
	(void)level;
	(void)priv;
	if (write(STDERR_FILENO, message, strlen(message)) < 0 ||
	    write(STDERR_FILENO, "\n", 1) < 0)
		return;
}

static void require(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "paths: %s\n", what);
	exit(1);
}

static struct drm_gpusvm_range *find(struct paths *paths, unsigned long i)
{
	const struct drm_gpusvm_ctx ctx = { .read_only = 1 };
	struct drm_gpusvm_range *range;

	range = drm_gpusvm_range_find_or_insert(
		&paths->svm, (uintptr_t)paths->data + i * paths->chunk, 0, ~0ul,
		&ctx);
	require(!gpusvm_is_err(range), "no range");
	return range;
}

/* A device fault on a range that is valid. */
static void hit(struct paths *paths, unsigned long i)
{
	struct drm_gpusvm_range *range = find(paths, i % RANGES);

	drm_gpusvm_notifier_lock(&paths->svm);
	require(drm_gpusvm_range_pages_valid(&paths->svm, range), "invalid");
	paths->pte = range->dma_addr[0].addr;
	drm_gpusvm_notifier_unlock(&paths->svm);
}

static void change(uint8_t *addr, unsigned long size)
{
	struct gpusvm_change change;

	gpusvm_change_begin(&change, GPUSVM_MMU_NOTIFY_CLEAR, addr, size);
	gpusvm_change_end(&change, true);
}

/* A change where there are ranges, but in a page that none of them has. */
static void invalidate_nothing(struct paths *paths, unsigned long i)
{
	change(paths->data + (RANGES + i % RANGES) * paths->chunk,
	       paths->chunk);
}

/* A change in memory that no device knows. */
static void invalidate_nowhere(struct paths *paths, unsigned long i)
{
	change(paths->data + NOTIFIER_SIZE + i % RANGES * paths->chunk,
	       paths->chunk);
}

static void open_or_skip(struct paths *paths)
{
	const struct gpusvm_mm_opts opts = {
		.size = sizeof(opts),
		.source = GPUSVM_SOURCE_USERFAULTFD,
	};

	require(!gpusvm_mm_open(&paths->mm, &opts), "no address space");
	if (gpusvm_mm_features(paths->mm) & GPUSVM_FEATURE_PROCMAP_QUERY)
		return;
	printf("skip: without PROCMAP_QUERY (Linux 6.11) /proc/self/maps is "
	       "parsed, however long it is\n");
	exit(EXIT_SKIPPED);
}

static struct paths *set_up(void)
{
	struct paths *paths = gpusvm_alloc(sizeof(*paths));
	struct drm_gpusvm_range *range;
	const struct drm_gpusvm_ctx ctx = { .read_only = 1 };
	unsigned long i;
	uint8_t *map;

	require(paths, "no memory");
	gpusvm_set_log(log_line, NULL, GPUSVM_LOG_WARNING);
	open_or_skip(paths);
	paths->chunk = gpusvm_page_size();
	map = mmap(NULL, 3 * NOTIFIER_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	require(map != MAP_FAILED, "no mapping");
	paths->data = map + (NOTIFIER_SIZE - (uintptr_t)map % NOTIFIER_SIZE) %
				    NOTIFIER_SIZE;
	require(!drm_gpusvm_init(&paths->svm, "paths", NULL, paths->mm, NULL, 0,
				 1ul << 48, NOTIFIER_SIZE, &ops, &paths->chunk,
				 1),
		"no gpusvm");
	for (i = 0; i < RANGES; i++) {
		range = find(paths, i);
		require(!drm_gpusvm_range_get_pages(&paths->svm, range, &ctx),
			"no pages");
	}
	return paths;
}

static void tear_down(struct paths *paths)
{
	drm_gpusvm_fini(&paths->svm);
	require(!gpusvm_mm_close(paths->mm), "close failed");
	gpusvm_free(paths);
}

struct path {
	const char *name;
	void (*go)(struct paths *paths, unsigned long i);
	bool told; /* the driver hears of it */
};

/* What is counted: start and end have loops that wait for other threads. */
__attribute__((noinline)) void repeat(const struct path *path,
				      struct paths *paths, unsigned long count);

void repeat(const struct path *path, struct paths *paths, unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++)
		path->go(paths, i);
}

int main(int argc, char **argv)
{
	static const struct path cases[] = {
		{ "hit", hit, false },
		{ "invalidate_nothing", invalidate_nothing, true },
		{ "invalidate_nowhere", invalidate_nowhere, false },
	};
	unsigned long count, told;
	struct paths *paths;
	size_t c;

	require(argc == 3, "usage: paths CASE COUNT");
	for (c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
		if (!strcmp(argv[1], cases[c].name))
			break;
	require(c < sizeof(cases) / sizeof(cases[0]), "no such case");
	count = strtoul(argv[2], NULL, 10);
	paths = set_up();
	told = paths->invalidated;
	repeat(&cases[c], paths, count);
	told = paths->invalidated - told;
	require(told == (cases[c].told ? count : 0), "told too much or little");
	tear_down(paths);
	return 0;
}
