/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group I: drm_gpusvm_range_set_unmapped(), and what becomes of
 * ranges that it flagged.
 */
#include "fake_driver.h"

#include <sys/mman.h>

#define PAGES_64K (SZ_64K / PS)

/* A range of 64K in the middle of 192K. */
struct middle {
	struct fake_driver *d;
	unsigned char *mem;
	struct drm_gpusvm_range *range;
};

static void make_middle(struct middle *m)
{
	m->d = fake_driver_create(NULL);
	m->mem = test_map(3 * SZ_64K, SZ_64K) + SZ_64K;
	m->range = fake_range_at(m->d, m->mem, SZ_64K);
	test_fill(m->mem, SZ_64K, 1);
	assert_ret(fake_get_pages(m->d, m->range), 0);
}

static void check_flags(struct middle *m, unsigned int unmapped,
			unsigned int partial)
{
	assert_int_equal(m->range->flags.unmapped, unmapped);
	assert_int_equal(m->range->flags.partial_unmap, partial);
	assert_int_equal(m->range->flags.migrate_devmem, 1);
	assert_false(fake_valid(m->d, m->range));
}

static void conf_105_fully_covered(void **state)
{
	struct middle m;

	(void)state;
	make_middle(&m);
	test_munmap_sync(m.mem - SZ_64K, 3 * SZ_64K);
	check_flags(&m, 1, 0);
}

static void conf_106_partly_covered(void **state)
{
	const long n = (long)PAGES_64K;
	const struct {
		long start;
		long end;
	} parts[] = {
		{ -1, n / 2 },			/* head, and what is before */
		{ 0, 1 },	  { n - 1, n }, /* tail */
		{ n / 2, n + 1 }, { n / 2 - 1, n / 2 + 1 }, /* middle */
		{ 0, n - 1 },	  { 1, n },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		struct middle m;

		make_middle(&m);
		test_munmap_sync(m.mem + parts[i].start * (long)PS,
				 (size_t)(parts[i].end - parts[i].start) * PS);
		check_flags(&m, 1, 1);
		fake_driver_destroy(m.d);
	}
}

static void conf_107_exactly_covered(void **state)
{
	struct middle m;

	(void)state;
	make_middle(&m);
	test_munmap_sync(m.mem, SZ_64K);
	check_flags(&m, 1, 0);
}

static void conf_108_two_halves(void **state)
{
	struct middle m;

	(void)state;
	make_middle(&m);
	test_munmap_sync(m.mem, SZ_32K);
	check_flags(&m, 1, 1);
	test_munmap_sync(m.mem + SZ_32K, SZ_32K);
	check_flags(&m, 1, 1);

	/* Nor does all of it at once take the flag away. */
	make_middle(&m);
	test_munmap_sync(m.mem, PS);
	test_munmap_sync(m.mem - SZ_64K, 3 * SZ_64K);
	check_flags(&m, 1, 1);
}

/* ---- 109: before and after the collection ---- */

static void conf_109_dead_range_until_collected(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *dead = fake_range_at(d, mem, SZ_2M);
	struct drm_gpusvm_range *range;

	(void)state;
	test_fill(mem, SZ_1M, 1);
	test_munmap_sync(mem + SZ_1M, SZ_1M);
	assert_int_equal(dead->flags.unmapped, 1);
	assert_ptr_equal(fake_fault(d, mem), dead);
	assert_ptr_equal(fake_fault(d, mem + SZ_1M - 1), dead);
	assert_int_equal(d->range_allocs, 1);
	assert_err_ptr(fake_fault(d, mem + SZ_1M), -ENOENT);

	assert_int_equal(fake_collect(d), 1);
	assert_int_equal(d->range_frees, 1);
	range = fake_fault(d, mem + SZ_64K);
	assert_ok_ptr(range);
	assert_int_equal(range->flags.unmapped, 0);
	assert_int_equal(drm_gpusvm_range_start(range),
			 (unsigned long)mem + SZ_64K);
	assert_int_equal(drm_gpusvm_range_size(range), SZ_64K);
	assert_ret(fake_get_pages(d, range), 0);
	assert_filled(mem, SZ_1M, 1);
	assert_err_ptr(fake_fault(d, mem + SZ_1M), -ENOENT);
}

static void conf_109_bigger_after_the_collection(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SZ_2M, SZ_2M);
	unsigned char *mem = test_area_anon(area, 0, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);

	(void)state;
	assert_ok_ptr(range);
	assert_int_equal(drm_gpusvm_range_size(range), SZ_64K);
	test_area_anon(area, 0, SZ_2M);
	gpusvm_mm_sync(test_mm);
	assert_ptr_equal(fake_fault(d, mem), range);
	assert_int_equal(fake_collect(d), 1);
	range = fake_fault(d, mem);
	assert_ok_ptr(range);
	assert_int_equal(drm_gpusvm_range_size(range), SZ_2M);
}

/* ---- 110: a part of a dev range ---- */

/* Whether nothing is mapped at a page. */
static bool is_gone(unsigned char *addr)
{
	return test_resident(addr, PS) == (size_t)-1;
}

static void check_partial_unmap(unsigned long first, unsigned long npages)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
	unsigned long i, n;

	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, &alloc);
	test_munmap_sync(mem + first * PS, npages * PS);
	assert_int_equal(range->flags.partial_unmap, 1);
	assert_false(fake_valid(d, range));
	assert_int_equal(alloc->released, 0);

	/* As the collector does; what is left may come home now or later. */
	fake_driver_lock(d);
	drm_gpusvm_range_evict(&d->gpusvm, range);
	drm_gpusvm_range_remove(&d->gpusvm, range);
	fake_driver_unlock(d);
	assert_int_equal(fake_collect(d), 0);
	for (i = 0; i < PAGES_64K; i++) {
		bool unmapped = i >= first && i < first + npages;

		if (unmapped) {
			assert_true(is_gone(mem + i * PS) || test_others_map());
			continue;
		}
		for (n = 0; n < PS; n++)
			assert_int_equal(mem[i * PS + n],
					 test_pattern(i * PS + n, 1));
	}
	/* Behind the count of the release. */
	test_wait_until(fake_devmem_used(d) == 0);
	assert_int_equal(alloc->released, 1);
	for (i = 0; i < PAGES_64K; i++)
		assert_int_equal(fake_alloc_homecomings(alloc, i),
				 i < first || i >= first + npages);
}

static void conf_110_partial_unmap_of_device_memory(void **state)
{
	(void)state;
	check_partial_unmap(0, PAGES_64K / 2);
	check_partial_unmap(PAGES_64K / 2, PAGES_64K / 2);
	check_partial_unmap(2, 1);
	check_partial_unmap(1, PAGES_64K - 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_105_fully_covered),
	conf_test(conf_106_partly_covered),
	conf_test(conf_107_exactly_covered),
	conf_test(conf_108_two_halves),
	conf_test(conf_109_dead_range_until_collected),
	conf_test(conf_109_bigger_after_the_collection),
	conf_test(conf_110_partial_unmap_of_device_memory),
};

CONF_MAIN(tests)
