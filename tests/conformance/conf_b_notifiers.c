/* SPDX-License-Identifier: MIT */
/* Conformance, group B: notifiers come and go with their ranges. */
#include "fake_driver.h"

#include <limits.h>
#include <sys/mman.h>

static const struct fake_driver_config small_notifiers = {
	.notifier_size = SZ_2M,
};

static void conf_011_notifier_is_an_aligned_slot(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_notifier *notifier;
	struct drm_gpusvm_range *range;

	(void)state;
	range = fake_fault(d, mem + 3 * PS);
	assert_ok_ptr(range);
	assert_int_equal(fake_notifier_count(d), 1);
	notifier = fake_notifier(d, 0);
	assert_ptr_equal(range->notifier, notifier);
	assert_ptr_equal(notifier->gpusvm, &d->gpusvm);
	assert_int_equal(drm_gpusvm_notifier_start(notifier),
			 (unsigned long)mem & ~(SZ_512M - 1));
	assert_int_equal(drm_gpusvm_notifier_size(notifier), SZ_512M);
	assert_ptr_equal(notifier->notifier.mm, test_mm);
}

static void conf_012_one_notifier_per_slot(void **state)
{
	struct fake_driver *d = fake_driver_create(&small_notifiers);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *first, *second;

	(void)state;
	first = fake_range_at(d, mem, SZ_64K);
	second = fake_range_at(d, mem + SZ_1M, SZ_64K);
	assert_ptr_not_equal(first, second);
	assert_ptr_equal(first->notifier, second->notifier);
	assert_int_equal(d->notifier_allocs, 1);
	assert_int_equal(fake_notifier_count(d), 1);
}

static void conf_013_notifiers_are_listed_ascending(void **state)
{
	static const unsigned int orders[][4] = {
		{ 0, 1, 2, 3 },
		{ 3, 2, 1, 0 },
		{ 2, 0, 3, 1 },
	};
	unsigned char *mem = test_map(4 * SZ_2M, SZ_2M);
	unsigned int i, j;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct fake_driver *d = fake_driver_create(&small_notifiers);

		for (j = 0; j < 4; j++)
			assert_ok_ptr(
				fake_fault(d, mem + orders[i][j] * SZ_2M));
		assert_int_equal(fake_notifier_count(d), 4);
		for (j = 0; j < 4; j++)
			assert_int_equal(
				drm_gpusvm_notifier_start(fake_notifier(d, j)),
				(unsigned long)mem + j * SZ_2M);
		fake_driver_destroy(d);
	}
}

static void conf_014_notifier_goes_with_its_last_range(void **state)
{
	struct fake_driver *d = fake_driver_create(&small_notifiers);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *first, *second;

	(void)state;
	first = fake_range_at(d, mem, SZ_64K);
	second = fake_range_at(d, mem + SZ_1M, SZ_64K);
	fake_remove(d, first);
	assert_int_equal(d->notifier_frees, 0);
	assert_ptr_equal(fake_find(d, mem + SZ_1M), second);
	fake_remove(d, second);
	assert_int_equal(d->notifier_frees, 1);
	assert_int_equal(fake_notifier_count(d), 0);
	assert_true(list_empty(&d->gpusvm.notifier_list));

	assert_ok_ptr(fake_fault(d, mem));
	assert_int_equal(d->notifier_allocs, 2);
	assert_int_equal(d->notifier_frees, 1);
	assert_int_equal(fake_notifier_count(d), 1);
}

static void conf_015_notifier_alloc_fails(void **state)
{
	struct fake_driver *d = fake_driver_create(&small_notifiers);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	size_t blocks = test_live_blocks();

	(void)state;
	fake_fault_arm(&d->fail_notifier_alloc, -ENOMEM, 1, 1);
	assert_err_ptr(fake_fault(d, mem), -ENOMEM);
	assert_int_equal(d->range_allocs, 0);
	assert_int_equal(d->notifier_allocs + d->notifier_frees, 0);
	assert_int_equal(fake_notifier_count(d), 0);
	assert_false(fake_has_mapping(d, 0, ULONG_MAX));
	assert_int_equal(test_live_blocks(), blocks);

	assert_ok_ptr(fake_fault(d, mem));
	assert_int_equal(d->notifier_allocs, 1);
}

static void conf_016_failed_insert_takes_its_notifier_along(void **state)
{
	struct fake_driver *d = fake_driver_create(&small_notifiers);
	struct fake_driver *other = fake_driver_create(&small_notifiers);
	struct test_area *area = test_area_reserve(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *range;
	unsigned char *mem;

	(void)state;
	test_munmap(area->base, SZ_1M);
	assert_err_ptr(fake_fault(d, area->base), -ENOENT);
	assert_int_equal(d->notifier_allocs, 1);
	assert_int_equal(d->notifier_frees, 1);
	assert_int_equal(d->range_allocs, 0);
	assert_int_equal(fake_notifier_count(d), 0);

	/* An event in the slot, as the other driver sees. */
	mem = test_area_anon(area, SZ_1M, SZ_64K);
	range = fake_fault(other, mem);
	assert_ok_ptr(range);
	assert_ret(fake_get_pages(other, range), 0);
	test_madvise_sync(mem, SZ_64K, MADV_DONTNEED);
	assert_true(other->num_events > 0);
	assert_int_equal(d->num_events, 0);
}

static void conf_017_failed_insert_keeps_an_old_notifier(void **state)
{
	struct fake_driver *d = fake_driver_create(&small_notifiers);
	struct test_area *area = test_area_reserve(SZ_2M, SZ_2M);
	struct drm_gpusvm_notifier *notifier;
	struct drm_gpusvm_range *range;
	unsigned char *mem = test_area_anon(area, 0, SZ_64K);
	unsigned char *readonly;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	range = fake_range_at(d, mem, SZ_64K);
	notifier = range->notifier;
	assert_ret(fake_get_pages(d, range), 0);

	test_munmap(area->base + SZ_1M, SZ_64K);
	assert_err_ptr(fake_fault(d, area->base + SZ_1M), -ENOENT);
	readonly = test_area_map(area, SZ_128K, SZ_64K, PROT_READ,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1);
	assert_err_ptr(fake_fault(d, readonly), -EPERM);

	assert_int_equal(d->notifier_allocs, 1);
	assert_int_equal(d->notifier_frees, 0);
	assert_int_equal(fake_notifier_count(d), 1);
	assert_ptr_equal(fake_notifier(d, 0), notifier);
	assert_ptr_equal(fake_find(d, mem), range);
	assert_ptr_equal(range->notifier, notifier);
	assert_true(fake_valid(d, range));
	assert_dev_filled(d, range, 1);
	assert_int_equal(fake_refcount(range), 1);
}

/* [F] B18 */
static void conf_018_last_byte_before_a_notifier(void **state)
{
	struct fake_driver *d = fake_driver_create(&small_notifiers);
	unsigned char *mem = test_map(2 * SZ_2M, SZ_2M);
	struct drm_gpusvm_range *above, *below;

	(void)state;
	above = fake_fault(d, mem + SZ_2M);
	assert_ok_ptr(above);
	below = fake_fault(d, mem + SZ_2M - 1);
	assert_ok_ptr(below);
	assert_ptr_not_equal(below, above);
	assert_ptr_not_equal(below->notifier, above->notifier);
	assert_int_equal(drm_gpusvm_notifier_start(below->notifier),
			 (unsigned long)mem);
	assert_int_equal(drm_gpusvm_range_start(below), (unsigned long)mem);
	assert_int_equal(drm_gpusvm_range_end(below),
			 (unsigned long)mem + SZ_2M);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_011_notifier_is_an_aligned_slot),
	conf_test(conf_012_one_notifier_per_slot),
	conf_test(conf_013_notifiers_are_listed_ascending),
	conf_test(conf_014_notifier_goes_with_its_last_range),
	conf_test(conf_015_notifier_alloc_fails),
	conf_test(conf_016_failed_insert_takes_its_notifier_along),
	conf_test(conf_017_failed_insert_keeps_an_old_notifier),
	conf_test(conf_018_last_byte_before_a_notifier),
};

CONF_MAIN(tests)
