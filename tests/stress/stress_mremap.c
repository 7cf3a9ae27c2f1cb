/* SPDX-License-Identifier: MIT */
/*
 * A thread fills pages in a corner and puts them, by mremap() and unannounced,
 * where another thread is just taking pages for the device: what it put there
 * stays.
 *
 * The events of that call come after it: what was unmapped there first, then
 * what was put there.
 *
 * GPUSVM_STRESS_SECONDS: how long (2).
 */
#include "fake_driver.h"

#include <sys/mman.h>

#define DEFAULT_SECONDS 2
#define PAGES (SZ_64K / PS)
/* What must come to pass in any case. */
#define LEAST 50

static struct {
	struct fake_driver *d;
	unsigned char *place;
	unsigned long end;
	bool done;
	unsigned long moves;
	unsigned int wrong;
} s;

static void fill_and_move(unsigned char *corner, unsigned int tag)
{
	unsigned long page;

	assert_ptr_equal(mmap(corner, SZ_64K, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 corner);
	for (page = 0; page < PAGES; page += 2)
		test_fill(corner + page * PS, PS, tag);
	assert_ptr_equal(mremap(corner, SZ_64K, SZ_64K,
				MREMAP_MAYMOVE | MREMAP_FIXED, s.place),
			 s.place);
}

/* Whether there is what was put there, and between it nothing. */
static bool is_right(unsigned int tag)
{
	unsigned long page;
	size_t right;

	for (page = 0; page < PAGES; page++) {
		right = page % 2 ? test_match_byte(s.place + page * PS, PS, 0)
				 : test_match(s.place + page * PS, PS, tag);
		if (right != PS)
			return false;
	}
	return true;
}

static void *move_all_the_time(void *arg)
{
	unsigned int tag = 1;

	while (!__atomic_load_n(&s.done, __ATOMIC_RELAXED)) {
		fill_and_move(arg, ++tag);
		s.wrong += !is_right(tag);
		s.moves++;
	}
	return NULL;
}

/* Home by the CPU of the other thread. */
static void migrate(void)
{
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	fake_driver_lock(s.d);
	fake_collect(s.d);
	range = fake_fault_devmem(s.d, s.place);
	if (!IS_ERR(range) && !range->flags.unmapped)
		fake_migrate(s.d, range, &alloc);
	fake_driver_unlock(s.d);
}

static void stress_mremap(void **state)
{
	const struct fake_driver_config config = { .devmem_bytes = SZ_2M };
	struct test_area *area = test_area_reserve(2 * SZ_2M, SZ_2M);
	unsigned char *corner = test_area_anon(area, SZ_2M, SZ_64K);
	pthread_t thread;

	(void)state;
	if (!(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_MOVE))
		test_skip("without UFFDIO_MOVE this needs announced changes");
	s.place = test_area_anon(area, 0, SZ_64K);
	s.d = fake_driver_create(&config);
	s.end = test_now_ms() + test_stress_ms(DEFAULT_SECONDS);
	test_thread_start(&thread, move_all_the_time, corner);
	while (test_now_ms() < s.end || s.d->copies_to_ram < LEAST)
		migrate();
	__atomic_store_n(&s.done, true, __ATOMIC_RELAXED);
	test_thread_join(thread);
	print_message("%lu moves, %u times home\n", s.moves,
		      s.d->copies_to_ram);
	assert_int_equal(s.wrong, 0);
	fake_driver_destroy(s.d);
}

static const struct CMUnitTest tests[] = {
	conf_test(stress_mremap),
};

CONF_MAIN(tests)
