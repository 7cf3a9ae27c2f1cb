/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group N: programs that allocate, compute on the device and
 * free, again and again, so that the device meets the same addresses with
 * other memory; with hooks, and bare.
 */
#include "calls.h"
#include "model.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LOOPS 6

static const unsigned int place[] = { 0, FAKE_ACCESS_MIGRATE };

static const size_t sizes[] = { 300000, SZ_1M + 12345, SZ_2M + 1 };

/* ---- 151: the same address again ---- */

/* What free() does inside libc is told afterwards. */
static void malloc_and_free(struct fake_driver *d, size_t size,
			    unsigned int flags, bool device_first)
{
	unsigned char *mem = malloc(size);
	struct test_model *m;

	assert_non_null(mem);
	m = test_model_create(d, mem, size, flags);
	if (device_first) {
		test_model_dev_write(m, 0, m->cells);
	} else {
		memset(mem, 0, size);
		test_model_dev_check(m, 0, m->cells);
	}
	test_model_cpu_check(m, 0, m->cells);
	test_model_cpu_write(m, 0, m->cells);
	test_model_dev_check(m, 0, m->cells);
	test_forget_cleanup(gpusvm_free, m);
	gpusvm_free(m);
	test_free_block(mem);
}

static void loop_malloc(struct fake_driver *d, bool device_first)
{
	unsigned int i, s, p;

	for (p = 0; p < 2; p++)
		for (s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
			for (i = 0; i < LOOPS / 2; i++)
				malloc_and_free(d, sizes[s],
						p ? test_malloc_migrates() : 0,
						device_first);
}

/* Each malloc() is a mmap(), and the same size gets the same address. */
static void check_malloc(bool device_first)
{
	struct fake_driver *d = fake_driver_create(NULL);

	test_tune_malloc(SZ_128K, SZ_128K);
	loop_malloc(d, device_first);
	assert_true(d->copies_to_devmem > 0 || !test_malloc_migrates());
}

static void conf_151_malloc_and_free(void **state)
{
	(void)state;
	check_malloc(false);
}

static void conf_151_malloc_device_touches_first(void **state)
{
	(void)state;
	check_malloc(true);
}

/* All of it is on the heap, whose break falls with each free(). */
static void conf_151_heap(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);

	(void)state;
	if (!test_tune_malloc(SZ_512M, 0))
		test_skip("malloc() of this libc takes no heap from the break");
	loop_malloc(d, false);
	loop_malloc(d, true);
	test_tune_malloc(SZ_128K, SZ_128K);
}

/* One round at an address: whatever was there, now there are zeros. */
static void play_new(struct fake_driver *d, unsigned char *mem, size_t size,
		     unsigned int flags)
{
	struct test_model *m = test_model_create(d, mem, size, flags);

	madvise(mem, size, MADV_NOHUGEPAGE);
	test_model_play(m);
	/* Leave some of it on the device. */
	test_model_dev_write(m, 0, m->cells / 2);
	test_forget_cleanup(gpusvm_free, m);
	gpusvm_free(m);
}

static void conf_151_unmapped_and_mapped_again(void **state)
{
	(void)state;
	for_each_calls(call) {
		struct fake_driver *d = fake_driver_create(NULL);
		struct test_area *area = test_area_reserve(SZ_1M, SZ_1M);
		unsigned int i;

		for (i = 0; i < LOOPS; i++) {
			/* Other chunks each time. */
			size_t size = (SZ_1M >> (i % 3)) - (i & 1) * PS;

			test_calls_replace(call, area->base, size);
			play_new(d, area->base, size, place[i / 2 % 2]);
			assert_int_equal(call->munmap(area->base, size), 0);
			assert_int_equal(test_dev_poke(d, area->base), -ENOENT);
		}
		fake_driver_destroy(d);
	}
}

static void conf_151_replaced(void **state)
{
	(void)state;
	for_each_calls(call) {
		struct fake_driver *d = fake_driver_create(NULL);
		unsigned char *mem = test_map(SZ_1M, SZ_1M);
		unsigned int i;

		for (i = 0; i < LOOPS; i++) {
			play_new(d, mem, SZ_1M, place[i % 2]);
			test_calls_replace(call, mem, SZ_1M);
		}
		assert_zeroed(mem, SZ_1M);
		fake_driver_destroy(d);
	}
}

static void conf_151_dropped(void **state)
{
	(void)state;
	for_each_calls(call) {
		struct fake_driver *d = fake_driver_create(NULL);
		unsigned char *mem = test_map(SZ_1M, SZ_1M);
		unsigned int i;

		for (i = 0; i < LOOPS; i++) {
			play_new(d, mem, SZ_1M, place[i % 2]);
			assert_int_equal(
				call->madvise(mem, SZ_1M, MADV_DONTNEED), 0);
		}
		assert_zeroed(mem, SZ_1M);
		fake_driver_destroy(d);
	}
}

/* ---- 157: one job, many allocations ---- */

#define ALLOCATIONS 12

static void conf_157_job_over_many_allocations(void **state)
{
	static const struct fake_driver_config config = {
		.notifier_size = SZ_2M,
		.devmem_bytes = 32 * SZ_1M,
	};

	(void)state;
	for_each_calls(call) {
		struct fake_driver *d = fake_driver_create(&config);
		struct test_model *m[ALLOCATIONS];
		unsigned int i, round;

		for (i = 0; i < ALLOCATIONS; i++) {
			size_t size = SZ_64K * (1 + i % 5) + i * PS;

			m[i] = test_model_create(d, test_map(size, SZ_2M), size,
						 place[i % 2]);
		}
		for (round = 0; round < 3; round++) {
			/* The job: something in each of them in turns. */
			for (i = 0; i < ALLOCATIONS; i++) {
				test_model_dev_check(m[i], 0, m[i]->cells);
				test_model_dev_write(m[i], round, 2);
			}
			assert_true(fake_notifier_count(d) >= ALLOCATIONS / 2);
			for (i = 0; i < ALLOCATIONS; i++)
				test_model_cpu_check(m[i], 0, m[i]->cells);
			/* Half of them begin anew. */
			for (i = round & 1; i < ALLOCATIONS; i += 2) {
				test_calls_replace(call, m[i]->mem,
						   m[i]->cells * PS);
				test_model_zeroed(m[i], 0, m[i]->cells);
			}
		}
		for (i = 0; i < ALLOCATIONS; i++)
			test_model_cpu_check(m[i], 0, m[i]->cells);
		fake_driver_destroy(d);
	}
}

/* ---- 158: sizes and addresses that are no multiple of anything ---- */

static void conf_158_unaligned_sizes(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	size_t size;

	(void)state;
	for (size = 1; size < SZ_1M; size = size * 3 + 7) {
		unsigned char *mem = malloc(size + 13);
		unsigned char *buffer = gpusvm_alloc(size);

		assert_non_null(mem);
		assert_non_null(buffer);
		/* Neighbours on the same pages are left alone. */
		memset(mem, 0xa5, size + 13);
		test_fill(buffer, size, (unsigned int)size);
		assert_ret(fake_access(d, mem + 5, buffer, size,
				       FAKE_ACCESS_WRITE |
					       test_malloc_migrates()),
			   0);
		assert_filled(mem + 5, size, (unsigned int)size);
		assert_int_equal(test_match_byte(mem, 5, 0xa5), 5);
		assert_int_equal(test_match_byte(mem + 5 + size, 8, 0xa5), 8);

		test_fill(mem + 5, size, (unsigned int)size + 1);
		assert_ret(fake_access(d, mem + 5, buffer, size, 0), 0);
		assert_filled(buffer, size, (unsigned int)size + 1);
		gpusvm_free(buffer);
		test_free_block(mem);
	}
}

static void conf_158_unaligned_cells(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = malloc(SZ_1M + 3 * PS + 999);
	struct test_model *m;
	unsigned int i;

	(void)state;
	assert_non_null(mem);
	test_cleanup(test_free_block, mem);
	memset(mem, 0, SZ_1M + 3 * PS + 999);
	/* Each cell is on two pages, some on two ranges. */
	m = test_model_create(d, mem + 77, SZ_1M + 2 * PS,
			      test_malloc_migrates());
	for (i = 0; i < 2; i++)
		test_model_play(m);
	for (i = 0; i < m->cells; i += 2)
		test_model_dev_write(m, i, 1);
	test_model_cpu_check(m, 0, m->cells);
	assert_int_equal(test_match_byte(mem, 77, 0), 77);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_151_malloc_and_free),
	conf_test(conf_151_malloc_device_touches_first),
	conf_test(conf_151_heap),
	conf_test(conf_151_unmapped_and_mapped_again),
	conf_test(conf_151_replaced),
	conf_test(conf_151_dropped),
	conf_test(conf_157_job_over_many_allocations),
	conf_test(conf_158_unaligned_sizes),
	conf_test(conf_158_unaligned_cells),
};

CONF_MAIN(tests)
