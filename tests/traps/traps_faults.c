/* SPDX-License-Identifier: MIT */
/*
 * Traps of faults and events (docs/traps.md): in which order they come, whom
 * they wake, and what is told of by nobody.
 */
#include "fake_driver.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define READERS 4

/* ---- 2: the order of events, and their ranges ---- */

static void trap_02_unmap_is_not_clipped(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SZ_2M, SZ_2M);
	unsigned char *low = test_area_anon(area, 0, SZ_64K);
	unsigned char *high = test_area_map(area, SZ_64K + SZ_1M, SZ_64K,
					    PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS, -1);
	size_t i;

	(void)state;
	assert_non_null(high);
	test_fill(low, SZ_64K, 1);
	test_fill(high, SZ_64K, 2);
	fake_dev_range(d, low, SZ_64K, NULL);
	fake_dev_range(d, high, SZ_64K, NULL);
	/* Half of each, and what nobody is interested in between them. */
	test_munmap_sync(low + SZ_32K, SZ_1M + SZ_64K);
	assert_int_equal(fake_collect(d), 2);
	assert_filled(low, SZ_32K, 1);
	for (i = SZ_32K; i < SZ_64K; i++)
		assert_int_equal(high[i], test_pattern(i, 2));
}

/* Pages are still there when the event of their removal is read. */
static void trap_02_removed_pages_do_not_come_back(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	unsigned char *buf = gpusvm_alloc(SZ_64K);
	unsigned int i;

	(void)state;
	assert_non_null(buf);
	test_cleanup(gpusvm_free, buf);
	for (i = 0; i < 50; i++) {
		test_fill(mem, SZ_2M, i);
		/* What is removed is on the device, or about to go there. */
		if (i & 1)
			fake_access(d, mem, buf, PS, FAKE_ACCESS_MIGRATE);
		assert_int_equal(
			test_change(madvise, mem, SZ_64K, MADV_DONTNEED), 0);
		gpusvm_mm_sync(test_mm);
		assert_int_equal(fake_access(d, mem, buf, SZ_64K,
					     FAKE_ACCESS_MIGRATE),
				 0);
		assert_zeroed(buf, SZ_64K);
		assert_zeroed(mem, SZ_64K);
		assert_int_equal(mem[SZ_64K], test_pattern(SZ_64K, i));
	}
	assert_true(d->copies_to_devmem > 0);
}

/* Threads that touch the same pages until they are told to stop. */
struct readers {
	pthread_t thread[READERS];
	const unsigned char *mem;
	size_t size;
	unsigned long rounds;
	unsigned int wrong;
	bool stop;
	/* What a page may begin with besides 0. */
	unsigned char tag;
};

static void *read_all_the_time(void *arg)
{
	struct readers *r = arg;
	size_t at;

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		for (at = 0; at < r->size; at += PS) {
			unsigned char byte =
				__atomic_load_n(&r->mem[at], __ATOMIC_RELAXED);

			if (byte && byte != r->tag)
				__atomic_fetch_add(&r->wrong, 1,
						   __ATOMIC_RELAXED);
		}
		__atomic_fetch_add(&r->rounds, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void readers_start(struct readers *r)
{
	unsigned int i;

	for (i = 0; i < READERS; i++)
		test_thread_start(&r->thread[i], read_all_the_time, r);
}

static void readers_stop(struct readers *r)
{
	unsigned int i;

	__atomic_store_n(&r->stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < READERS; i++)
		test_thread_join(r->thread[i]);
	assert_int_equal(r->wrong, 0);
}

/* A read of the queue returns faults that are younger than the event. */
static void trap_02_faults_overtake_events(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct readers r = { .mem = mem, .size = SZ_64K, .tag = 7 };
	unsigned int i, migrated = 0, n = test_scaled_rounds(50);

	(void)state;
	readers_start(&r);
	for (i = 0; i < n; i++) {
		size_t at;

		for (at = 0; at < SZ_64K; at += PS)
			__atomic_store_n(&mem[at], 7, __ATOMIC_RELAXED);
		migrated += !fake_migrate(d, range, NULL);
		assert_int_equal(
			test_change(madvise, mem, SZ_64K, MADV_DONTNEED), 0);
		assert_zeroed(mem, SZ_64K);
	}
	readers_stop(&r);
	assert_true(migrated > 0);
}

/* ---- 4: nothing can be installed while an event is under way ---- */

struct changer {
	pthread_t thread;
	unsigned char *mem;
	unsigned int changes;
	unsigned int failed;
	bool stop;
};

static void *drop_all_the_time(void *arg)
{
	struct changer *c = arg;

	while (!__atomic_load_n(&c->stop, __ATOMIC_ACQUIRE)) {
		test_touch_write(c->mem, SZ_64K);
		if (test_change(madvise, c->mem, SZ_64K, MADV_DONTNEED))
			c->failed++;
		__atomic_fetch_add(&c->changes, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void trap_04_events_all_the_time(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct changer c = { .mem = test_map(SZ_64K, SZ_64K) };
	unsigned int i, before, migrated = 0, n = test_scaled_rounds(100);

	(void)state;
	/* Somebody is interested in what changes. */
	assert_ret(fake_get_pages(d, fake_range_at(d, c.mem, SZ_64K)), 0);
	test_thread_start(&c.thread, drop_all_the_time, &c);
	for (i = 0; i < n; i++) {
		test_fill(mem, SZ_64K, i);
		migrated += !fake_migrate(d, range, NULL);
		assert_filled(mem, SZ_64K, i);
	}
	before = __atomic_load_n(&c.changes, __ATOMIC_ACQUIRE);
	test_wait_until(__atomic_load_n(&c.changes, __ATOMIC_ACQUIRE) > before);
	__atomic_store_n(&c.stop, true, __ATOMIC_RELEASE);
	test_thread_join(c.thread);
	assert_int_equal(c.failed, 0);
	assert_true(migrated > 0);
}

/* ---- 5: who is woken, and how often one fault is told of ---- */

static void ignore_signal(int sig)
{
	(void)sig;
}

static void trap_05_many_threads_and_signals_at_one_page(void **state)
{
	struct sigaction action = { .sa_handler = ignore_signal }, old;
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct readers r = { .mem = mem, .size = SZ_64K, .tag = 9 };
	unsigned int i, j, migrated = 0, n = test_scaled_rounds(200);
	size_t at;

	(void)state;
	for (at = 0; at < SZ_64K; at += PS)
		mem[at] = 9;
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	readers_start(&r);
	for (i = 0; i < n; i++) {
		unsigned long rounds =
			__atomic_load_n(&r.rounds, __ATOMIC_ACQUIRE);

		migrated += !fake_migrate(d, range, NULL);
		for (j = 0; j < READERS; j++)
			pthread_kill(r.thread[j], SIGUSR1);
		/* Everybody goes on; a round that began before does not count. */
		test_wait_until(__atomic_load_n(&r.rounds, __ATOMIC_ACQUIRE) >
				rounds + READERS);
	}
	readers_stop(&r);
	sigaction(SIGUSR1, &old, NULL);
	assert_true(migrated > 0);
	for (at = 0; at < SZ_64K; at += PS)
		assert_int_equal(mem[at], 9);
}

/* ---- 8: changes of which nobody tells ---- */

/* What grows in place takes the registration along. */
static void trap_08_grown_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SZ_2M, SZ_2M);
	unsigned char *mem = test_area_anon(area, 0, SZ_64K);
	unsigned char buf[16];

	(void)state;
	test_fill(mem, SZ_64K, 1);
	fake_dev_range(d, mem, SZ_64K, NULL);
	test_munmap_sync(mem + SZ_64K, SZ_1M);
	assert_ptr_equal(test_change(mremap, mem, SZ_64K, SZ_1M, 0, NULL), mem);
	test_area_note(mem + SZ_64K, SZ_1M - SZ_64K, false);
	/* Touched by the CPU first, then by the device. */
	assert_zeroed(mem + SZ_64K, SZ_64K);
	assert_int_equal(fake_access(d, mem + SZ_128K, buf, sizeof(buf), 0), 0);
	assert_zeroed(buf, sizeof(buf));
	assert_int_equal(fake_access(d, mem + 3 * SZ_64K, buf, sizeof(buf),
				     FAKE_ACCESS_MIGRATE),
			 0);
	assert_zeroed(buf, sizeof(buf));
	assert_filled(mem, SZ_64K, 1);
	assert_zeroed(mem + SZ_64K, SZ_1M - SZ_64K);
}

/* Guards take the pages away, and no event is raised. */
static void trap_08_guarded_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	unsigned char buf[16];

	(void)state;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, NULL);
	assert_filled(mem, SZ_64K, 1);
	if (test_change(madvise, mem, SZ_32K, MADV_GUARD_INSTALL))
		test_skip("this kernel has no guards (Linux 6.13)");
	/* Not a page to be moved, nor one to wait for. */
	assert_true(fake_migrate(d, range, NULL) < 0);
	assert_int_equal(test_change(madvise, mem, SZ_32K, MADV_GUARD_REMOVE),
			 0);
	assert_zeroed(mem, SZ_32K);
	assert_int_equal(fake_access(d, mem + PS, buf, sizeof(buf),
				     FAKE_ACCESS_MIGRATE),
			 0);
	assert_zeroed(buf, sizeof(buf));
	assert_int_equal(mem[SZ_32K], test_pattern(SZ_32K, 1));
	test_fill(mem, SZ_64K, 2);
	assert_filled(mem, SZ_64K, 2);
}

/*
 * The same to what is on the device.  Unannounced it may come home over the
 * guard or not, but it comes, and the rest with it.
 */
static void trap_08_guarded_device_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	fake_dev_range(d, mem, SZ_64K, &alloc);
	if (test_change(madvise, mem, PS, MADV_GUARD_INSTALL))
		test_skip("this kernel has no guards (Linux 6.13)");
	drm_gpusvm_evict_to_ram(&alloc->base);
	test_wait_until(alloc->released == 1);
	assert_int_equal(test_change(madvise, mem, PS, MADV_GUARD_REMOVE), 0);
	if (mem[0])
		assert_filled(mem, PS, 1);
	else
		assert_zeroed(mem, PS);
	assert_int_equal(mem[PS], test_pattern(PS, 1));
	assert_int_equal(mem[SZ_64K - 1], test_pattern(SZ_64K - 1, 1));
	test_fill(mem, SZ_64K, 2);
	assert_filled(mem, SZ_64K, 2);
}

/* As does a hole in the file, or its new end. */
static void trap_08_punched_and_cut_file(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SZ_64K, SZ_64K);
	int fd = memfd_create("trap", MFD_CLOEXEC);
	unsigned char *mem;
	char word[] = "device";

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)SZ_64K), 0);
	mem = test_area_map(area, 0, SZ_64K, PROT_READ | PROT_WRITE, MAP_SHARED,
			    fd);
	assert_non_null(mem);
	test_fill(mem, SZ_64K, 1);
	assert_int_equal(fake_access(d, mem, word, 6,
				     FAKE_ACCESS_WRITE | FAKE_ACCESS_MIGRATE),
			 0);
	assert_memory_equal(mem, "device", 6);
	assert_int_equal(fallocate(fd,
				   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   0, (off_t)PS),
			 0);
	assert_int_equal(fake_access(d, mem, word, 6, 0), 0);
	assert_zeroed(word, 6);
	assert_zeroed(mem, PS);

	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, (off_t)SZ_64K), 0);
	assert_int_equal(fake_access(d, mem + PS, word, 6, FAKE_ACCESS_WRITE),
			 0);
	assert_zeroed(mem + PS, PS);
	close(fd);
}

/* ---- 9: system calls on memory that is on the device ---- */

static void trap_09_system_calls(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	int fd = memfd_create("trap", MFD_CLOEXEC);
	unsigned char page[16];
	ssize_t done;

	(void)state;
	assert_true(fd >= 0);
	test_fill(mem, SZ_64K, 1);
	fake_dev_range(d, mem, SZ_64K, NULL);
	errno = 0;
	done = pwrite(fd, mem, sizeof(page), 0);
	if (gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_KERNEL_FAULTS) {
		assert_int_equal(done, sizeof(page));
	} else {
		assert_int_equal(done, -1);
		assert_int_equal(errno, EFAULT);
		assert_ret(gpusvm_populate(mem, sizeof(page)), 0);
		assert_int_equal(pwrite(fd, mem, sizeof(page), 0),
				 sizeof(page));
	}
	assert_int_equal(pread(fd, page, sizeof(page), 0), sizeof(page));
	assert_filled(page, sizeof(page), 1);
	assert_filled(mem, SZ_64K, 1);
	close(fd);
}

/* ---- 12: userfaultfds that block ---- */

/* Whether descriptor @fd of this process is a userfaultfd. */
static bool is_userfaultfd(int fd)
{
	char path[32], target[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) > 0 &&
	       strstr(target, "userfaultfd");
}

static void trap_12_no_userfaultfd_blocks(void **state)
{
	unsigned int found = 0;
	int fd;

	(void)state;
	if (!(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_USERFAULTFD))
		test_skip("this source has no userfaultfd");
	for (fd = 0; fd < 1024; fd++) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (!is_userfaultfd(fd))
			continue;
		found++;
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		assert_true(poll(&p, 1, 0) >= 0);
		assert_false(p.revents & POLLERR);
	}
	assert_int_equal(found, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(trap_02_unmap_is_not_clipped),
	conf_test(trap_02_removed_pages_do_not_come_back),
	conf_test(trap_02_faults_overtake_events),
	conf_test(trap_04_events_all_the_time),
	conf_test(trap_05_many_threads_and_signals_at_one_page),
	conf_test(trap_08_grown_memory),
	conf_test(trap_08_guarded_memory),
	conf_test(trap_08_guarded_device_memory),
	conf_test(trap_08_punched_and_cut_file),
	conf_test(trap_09_system_calls),
	conf_test(trap_12_no_userfaultfd_blocks),
};

CONF_MAIN(tests)
