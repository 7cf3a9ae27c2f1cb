/* SPDX-License-Identifier: MIT */
/* A runtime that mirrors the address space: see runtime.h. */
#include "runtime.h"

#include <drm/drm_gpusvm.h>
#include <errno.h>
#include <fcntl.h>
#include <gpusvm/device.h>
#include <gpusvm/gpusvm.h>
#include <linux/err.h>
#include <linux/list.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PS (gpusvm_page_size())
#define MAX_RECORDS 4096
#define MAX_DEAD 4096
/* What the thread of RUNTIME_AUTO does before it ends. */
#define PASSES 200
#define PAGES_PER_PASS 24

static struct {
	struct mm_struct *mm;
	struct device *dev;
	struct drm_device *drm;
	struct drm_gpusvm gpusvm;
	pthread_mutex_t lock;
	unsigned long chunk;
	bool recording;
	/* Under the notifier lock: */
	struct drm_gpusvm_range *dead[MAX_DEAD];
	unsigned int num_dead;
	struct runtime_record records[MAX_RECORDS];
	unsigned int num_records;
} r = { .lock = PTHREAD_MUTEX_INITIALIZER };

static enum runtime_event translate(enum mmu_notifier_event event)
{
	switch (event) {
	case MMU_NOTIFY_UNMAP:
		return RUNTIME_UNMAP;
	case MMU_NOTIFY_CLEAR:
		return RUNTIME_CLEAR;
	case MMU_NOTIFY_PROTECTION_VMA:
		return RUNTIME_PROTECTION;
	default:
		return RUNTIME_OTHER;
	}
}

static void record(struct drm_gpusvm_range *range,
		   const struct mmu_notifier_range *mmu_range)
{
	struct runtime_record *rec = &r.records[r.num_records];
	struct iovec local = { &rec->byte, 1 };
	struct iovec remote = { (void *)drm_gpusvm_range_start(range), 1 };

	if (!r.recording || r.num_records == MAX_RECORDS)
		return;
	rec->event = translate(mmu_range->event);
	rec->page = drm_gpusvm_range_start(range);
	rec->tid = (int)syscall(SYS_gettid);
	rec->readable = process_vm_readv(getpid(), &local, 1, &remote, 1, 0) ==
			1;
	__atomic_store_n(&r.num_records, r.num_records + 1, __ATOMIC_RELEASE);
}

static void invalidate(struct drm_gpusvm *gpusvm,
		       struct drm_gpusvm_notifier *notifier,
		       const struct mmu_notifier_range *mmu_range)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct drm_gpusvm_range *range = NULL;

	drm_gpusvm_for_each_range(range, notifier, mmu_range->start,
				  mmu_range->end) {
		record(range, mmu_range);
		drm_gpusvm_range_unmap_pages(gpusvm, range, &ctx);
		if (mmu_range->event != MMU_NOTIFY_UNMAP ||
		    range->flags.unmapped)
			continue;
		drm_gpusvm_range_set_unmapped(range, mmu_range);
		/* A dead range too many stays until the end. */
		if (r.num_dead < MAX_DEAD)
			r.dead[r.num_dead++] = range;
	}
}

static const struct drm_gpusvm_ops ops = { .invalidate = invalidate };

int runtime_open(void)
{
	const struct gpusvm_device_opts opts = { .size = sizeof(opts),
						 .name = "runtime" };
	int err = gpusvm_mm_open(&r.mm, NULL);

	if (err)
		return err;
	r.chunk = PS;
	err = gpusvm_device_create(&r.dev, &opts);
	if (!err)
		err = gpusvm_drm_device_create(&r.drm, r.dev);
	if (!err)
		err = drm_gpusvm_init(&r.gpusvm, "runtime", r.drm, r.mm, &r, 0,
				      1ul << 48, 512ul << 20, &ops, &r.chunk,
				      1);
	return err;
}

void runtime_close(void)
{
	pthread_mutex_lock(&r.lock);
	drm_gpusvm_fini(&r.gpusvm);
	gpusvm_drm_device_destroy(r.drm);
	gpusvm_device_destroy(r.dev);
	gpusvm_mm_close(r.mm);
	r.num_dead = 0;
	pthread_mutex_unlock(&r.lock);
}

bool runtime_has_events(void)
{
	return gpusvm_mm_features(r.mm) & GPUSVM_FEATURE_EVENTS;
}

bool runtime_has_shared_events(void)
{
	return gpusvm_mm_features(r.mm) & GPUSVM_FEATURE_SHMEM_EVENTS;
}

static struct drm_gpusvm_range *pop_dead(void)
{
	struct drm_gpusvm_range *range = NULL;

	drm_gpusvm_notifier_lock(&r.gpusvm);
	/* Callbacks write under the lock, and the mutex keeps others away. */
	if (r.num_dead)
		range = r.dead[--r.num_dead];
	drm_gpusvm_notifier_unlock(&r.gpusvm);
	return range;
}

static int watch_page(unsigned long addr)
{
	const struct drm_gpusvm_ctx ctx = { .read_only = 1 };
	struct drm_gpusvm_range *range;
	int err;

	pthread_mutex_lock(&r.lock);
	while ((range = pop_dead()))
		drm_gpusvm_range_remove(&r.gpusvm, range);
	range = drm_gpusvm_range_find_or_insert(&r.gpusvm, addr, 0, 1ul << 48,
						&ctx);
	err = IS_ERR(range)
		      ? (int)PTR_ERR(range)
		      : drm_gpusvm_range_get_pages(&r.gpusvm, range, &ctx);
	pthread_mutex_unlock(&r.lock);
	return err;
}

int runtime_watch(void *addr, size_t size)
{
	size_t at;
	int err = 0;

	for (at = 0; at < size && !err; at += PS)
		err = watch_page((unsigned long)addr + at);
	return err;
}

bool runtime_valid(const void *addr)
{
	unsigned long start = (unsigned long)addr;
	struct drm_gpusvm_notifier *notifier;
	bool valid = false;

	pthread_mutex_lock(&r.lock);
	drm_gpusvm_notifier_lock(&r.gpusvm);
	list_for_each_entry(notifier, &r.gpusvm.notifier_list, entry) {
		struct drm_gpusvm_range *range =
			drm_gpusvm_range_find(notifier, start, start + 1);

		if (range)
			valid = drm_gpusvm_range_pages_valid(&r.gpusvm, range);
	}
	drm_gpusvm_notifier_unlock(&r.gpusvm);
	pthread_mutex_unlock(&r.lock);
	return valid;
}

void runtime_sync(void)
{
	gpusvm_mm_sync(r.mm);
}

const struct runtime_record *runtime_find(const void *addr)
{
	unsigned int i, n = __atomic_load_n(&r.num_records, __ATOMIC_ACQUIRE);

	for (i = 0; i < n; i++)
		if (r.records[i].page == ((unsigned long)addr & ~(PS - 1)))
			return &r.records[i];
	return NULL;
}

void runtime_reset(void)
{
	r.recording = true;
	__atomic_store_n(&r.num_records, 0, __ATOMIC_RELEASE);
}

/* ---- By itself ---- */

/* Private, writable and no stack; false for others and at the end. */
static bool parse(char *line, unsigned long *start, unsigned long *end)
{
	char *rest;

	*start = strtoul(line, &rest, 16);
	if (*rest != '-')
		return false;
	*end = strtoul(rest + 1, &rest, 16);
	return !strncmp(rest, " rw-p", 5) && !strstr(rest, "[stack");
}

/* So that a test sees that it took place. */
static void report(void)
{
	unsigned long features = gpusvm_mm_features(r.mm);
	char line[64];
	int fd, len;

	len = snprintf(line, sizeof(line), "%s %s\n",
		       features & GPUSVM_FEATURE_USERFAULTFD ? "userfaultfd"
							     : "mprotect",
		       program_invocation_short_name);
	fd = open(getenv("RUNTIME_AUTO"), O_WRONLY | O_APPEND | O_CLOEXEC);
	(void)!write(fd, line, (size_t)len);
	close(fd);
}

static void watch_something(char *maps, unsigned int *seed)
{
	static bool reported;
	unsigned int left = PAGES_PER_PASS;
	char *line, *next;

	for (line = maps; line && *line && left; line = next) {
		unsigned long start, end;

		next = strchr(line, '\n');
		if (!next)
			break;
		*next++ = 0;
		if (!parse(line, &start, &end) || rand_r(seed) % 4)
			continue;
		/* It may be gone by now, or be nothing for a device. */
		if (!watch_page(start + (unsigned long)rand_r(seed) %
						((end - start) / PS) * PS) &&
		    !reported) {
			report();
			reported = true;
		}
		left--;
	}
}

static void *look_around(void *arg)
{
	static char maps[1 << 16];
	unsigned int seed = 1, pass;

	(void)arg;
	for (pass = 0; pass < PASSES; pass++) {
		int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
		size_t len = 0;
		ssize_t n = 0;

		while (fd >= 0 && len < sizeof(maps) - 1 &&
		       (n = read(fd, maps + len, sizeof(maps) - 1 - len)) > 0)
			len += (size_t)n;
		close(fd);
		maps[len] = 0;
		watch_something(maps, &seed);
		sched_yield();
	}
	return NULL;
}

__attribute__((constructor)) static void start(void)
{
	pthread_t thread;

	if (!getenv("RUNTIME_AUTO") || runtime_open())
		return;
	if (!pthread_create(&thread, NULL, look_around, NULL))
		pthread_detach(thread);
}
