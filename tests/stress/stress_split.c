/* SPDX-License-Identifier: MIT */
/*
 * The mapping of memory that goes to the device and home all the time is split
 * and joined again, locked and unlocked, by calls that nobody is told of and
 * that leave what is in it as it is.  So it stays, whoever wrote it.  A page in
 * the middle is unmapped and mapped again meanwhile, where that needs no hooks.
 *
 * A thread that tells the library's own removals from the program's wrongly
 * loses pages here: the kernel makes a call piece by piece where its mapping is
 * split, refuses it where that is locked, or stops at a new border.
 *
 * GPUSVM_STRESS_SECONDS: how long (2).
 */
#include "fake_driver.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEFAULT_SECONDS 2
#define PAGES (SZ_64K / PS)
#define HOLE (PAGES / 2)
/* What must come to pass in any case. */
#define LEAST 3
#define REST_EVERY 15

static struct {
	struct fake_driver *d;
	struct fake_alloc *coherent; /* does not come home by itself */
	unsigned char *place;
	unsigned long end;
	bool done;
	bool rest;
	unsigned int changers;
	unsigned int resting;
	bool unmaps;
	unsigned long changes;
	unsigned long migrations;
	unsigned long written;
	unsigned int wrong;
} s;

/* Else few migrations get anywhere. */
static void pause_for(unsigned long tries)
{
	while (test_random_below(tries))
		if (__atomic_load_n(&s.done, __ATOMIC_RELAXED))
			break;
}

/* And else, on a busy machine, perhaps none. */
static void rest_if_asked(void)
{
	if (!__atomic_load_n(&s.rest, __ATOMIC_ACQUIRE))
		return;
	__atomic_fetch_add(&s.resting, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&s.rest, __ATOMIC_ACQUIRE))
		sched_yield();
	__atomic_fetch_sub(&s.resting, 1, __ATOMIC_RELEASE);
}

static void have_them_rest(bool rest)
{
	__atomic_store_n(&s.rest, rest, __ATOMIC_RELEASE);
	if (rest)
		test_wait_until(__atomic_load_n(&s.resting, __ATOMIC_ACQUIRE) ==
				s.changers);
}

static void *change_all_the_time(void *arg)
{
	unsigned long first, n;
	unsigned char *at;

	(void)arg;
	while (!__atomic_load_n(&s.done, __ATOMIC_RELAXED)) {
		rest_if_asked();
		first = test_random_below(PAGES);
		n = 1 + test_random_below(PAGES - first);
		at = s.place + first * PS;
		if (test_random_below(2)) {
			/*
			 * Not allowed to everybody, and not to much of it.
			 * Bare calls: a sanitizer makes nothing of munlock().
			 */
			if (!syscall(SYS_mlock2, at, n * PS, MLOCK_ONFAULT))
				syscall(SYS_munlock, at, n * PS);
		} else {
			madvise(at, n * PS, MADV_DONTFORK);
			madvise(at, n * PS, MADV_DOFORK);
		}
		s.changes++;
		if (!test_random_below(64))
			pause_for(20000);
	}
	return NULL;
}

static void map(unsigned long first, unsigned long n)
{
	void *at = s.place + first * PS;

	assert_ptr_equal(mmap(at, n * PS, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 at);
}

static void *unmap_all_the_time(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&s.done, __ATOMIC_RELAXED)) {
		rest_if_asked();
		munmap(s.place + HOLE * PS, PS);
		map(HOLE, 1);
		pause_for(1000);
	}
	return NULL;
}

static bool migrate(void)
{
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
	int err = -EBUSY;

	fake_driver_lock(s.d);
	fake_collect(s.d);
	range = fake_fault_devmem(s.d, s.place);
	if (!IS_ERR(range) && !range->flags.unmapped)
		err = fake_migrate(s.d, range, &alloc);
	fake_driver_unlock(s.d);
	s.migrations += !err;
	if (!err && s.d->pagemap.type == MEMORY_DEVICE_COHERENT)
		s.coherent = alloc;
	return !err;
}

/*
 * Every other round a page is written by the device, too; and now and then
 * nobody is in the way.
 */
static void play_round(unsigned char *buffer, unsigned int tag)
{
	unsigned long page, written = test_random_below(PAGES);
	bool again = false;

	have_them_rest(tag % REST_EVERY == 0);
	if (s.coherent && !drm_gpusvm_evict_to_ram(&s.coherent->base))
		s.coherent = NULL;
	/* Else what was behind a hole has no range any more. */
	if (s.unmaps) {
		map(0, PAGES);
		s.coherent = NULL;
	}
	for (page = 0; page < PAGES; page++)
		if (!s.unmaps || page != HOLE)
			test_fill(s.place + page * PS, PS, tag);
	if (migrate() && tag % 2 && written != HOLE) {
		test_fill(buffer, PS, tag + 1);
		again = !fake_access(s.d, s.place + written * PS, buffer, PS,
				     FAKE_ACCESS_WRITE);
		s.written += again;
	}
	for (page = 0; page < PAGES; page++) {
		bool by_device = again && page == written;

		if (page != HOLE &&
		    test_match(s.place + page * PS, PS, tag + by_device) !=
			    PS &&
		    !s.wrong++)
			print_error("round %u: page %lu%s is wrong\n", tag,
				    page, by_device ? ", written" : "");
	}
}

static void stress_split(void **state)
{
	const struct fake_driver_config config = { .devmem_bytes = SZ_2M };
	struct test_area *area = test_area_reserve(2 * SZ_2M, SZ_2M);
	unsigned char *buffer = test_area_anon(area, SZ_2M, PS);
	unsigned int tag = 1;
	pthread_t thread, unmapper;

	(void)state;
	s.place = test_area_anon(area, 0, SZ_64K);
	s.d = fake_driver_create(&config);
	s.end = test_now_ms() + test_stress_ms(DEFAULT_SECONDS);
	s.unmaps = !test_announces();
	s.changers = 1 + s.unmaps;
	test_thread_start(&thread, change_all_the_time, NULL);
	if (s.unmaps)
		test_thread_start(&unmapper, unmap_all_the_time, NULL);
	while ((test_now_ms() < s.end || s.migrations < LEAST) && s.wrong < 20)
		play_round(buffer, tag++);
	__atomic_store_n(&s.done, true, __ATOMIC_RELAXED);
	have_them_rest(false);
	test_thread_join(thread);
	if (s.unmaps)
		test_thread_join(unmapper);
	print_message("%lu changes, %lu migrations, %lu written to\n",
		      s.changes, s.migrations, s.written);
	assert_int_equal(s.wrong, 0);
	fake_driver_destroy(s.d);
}

static const struct CMUnitTest tests[] = {
	conf_test(stress_split),
};

CONF_MAIN(tests)
