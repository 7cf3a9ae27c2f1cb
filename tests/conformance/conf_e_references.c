/* SPDX-License-Identifier: MIT */
/* Conformance, group E: references to ranges, and their removal. */
#include "fake_driver.h"

#include <sys/mman.h>

static void conf_053_get_and_put(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);

	(void)state;
	assert_ok_ptr(range);
	assert_ptr_equal(drm_gpusvm_range_get(range), range);
	assert_int_equal(fake_refcount(range), 2);
	drm_gpusvm_range_put(range);
	assert_int_equal(fake_refcount(range), 1);
	assert_int_equal(d->range_frees, 0);
	assert_ptr_equal(fake_find(d, mem), range);
}

static void conf_054_last_put_frees(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	size_t blocks;
	int i;

	(void)state;
	fake_remove(d, fake_fault(d, mem));
	blocks = test_live_blocks();
	fake_reset(d);

	range = fake_fault(d, mem);
	assert_ok_ptr(range);
	assert_ret(fake_get_pages(d, range), 0);
	for (i = 0; i < 3; i++)
		drm_gpusvm_range_get(range);
	fake_remove(d, range);
	for (i = 0; i < 3; i++) {
		assert_int_equal(d->range_frees, 0);
		assert_int_equal(fake_refcount(range), 3 - i);
		drm_gpusvm_range_put(range);
	}
	assert_int_equal(d->range_frees, 1);
	assert_int_equal(d->range_allocs, 1);
	assert_int_equal(test_live_blocks(), blocks);
}

static void conf_055_removed_but_referenced(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range, *fresh;

	(void)state;
	range = fake_fault(d, mem);
	assert_ok_ptr(range);
	drm_gpusvm_range_get(range);
	fake_remove(d, range);

	assert_null(fake_find(d, mem));
	assert_false(fake_has_mapping(d, (unsigned long)mem,
				      (unsigned long)mem + SZ_64K));
	assert_int_equal(drm_gpusvm_range_start(range), (unsigned long)mem);
	assert_int_equal(drm_gpusvm_range_end(range),
			 (unsigned long)mem + SZ_64K);
	assert_int_equal(drm_gpusvm_range_size(range), SZ_64K);
	assert_int_equal(d->range_frees, 0);

	fresh = fake_fault(d, mem);
	assert_ok_ptr(fresh);
	assert_ptr_not_equal(fresh, range);
	drm_gpusvm_range_put(range);
	assert_int_equal(d->range_frees, 1);
	assert_ptr_equal(fake_find(d, mem), fresh);
}

static void conf_056_remove_unmaps_first(void **state)
{
	const struct fake_driver_config config = { .dma = true };
	struct fake_driver *d = fake_driver_create(&config);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);

	(void)state;
	assert_ok_ptr(range);
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_get_pages(d, range), 0);
	assert_true(d->dma_maps > 0);
	assert_int_equal(d->dma_unmaps, 0);

	fake_remove(d, range);
	assert_int_equal(d->dma_unmaps, d->dma_maps);
	assert_int_equal(fake_unbalanced_maps(d), 0);
	assert_int_equal(d->range_frees, 1);
	assert_true(fake_last_unmap(d) < d->first_range_free);
	assert_filled(mem, SZ_64K, 1);
}

/* That it is reported: conf_e_locks.c. */
static void conf_057_remove_twice_corrupts_nothing(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range, *sibling;

	(void)state;
	/* The notifier is still there because of a sibling. */
	range = fake_range_at(d, mem, SZ_64K);
	sibling = fake_range_at(d, mem + SZ_64K, SZ_64K);
	assert_ret(fake_get_pages(d, sibling), 0);
	drm_gpusvm_range_get(range);
	fake_remove(d, range);
	fake_remove(d, range);
	assert_int_equal(fake_refcount(range), 1);
	assert_int_equal(d->range_frees, 0);
	assert_ptr_equal(fake_find(d, mem + SZ_64K), sibling);
	assert_int_equal(fake_notifier_count(d), 1);
	assert_true(fake_valid(d, sibling));

	/* The notifier is gone. */
	fake_remove(d, sibling);
	assert_int_equal(d->notifier_frees, 1);
	fake_remove(d, range);
	assert_int_equal(fake_refcount(range), 1);
	assert_int_equal(d->notifier_frees, 1);
	drm_gpusvm_range_put(range);
	assert_int_equal(d->range_frees, 2);

	assert_ok_ptr(fake_fault(d, mem));
	assert_int_equal(fake_notifier_count(d), 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_053_get_and_put),
	conf_test(conf_054_last_put_frees),
	conf_test(conf_055_removed_but_referenced),
	conf_test(conf_056_remove_unmaps_first),
	conf_test(conf_057_remove_twice_corrupts_nothing),
};

CONF_MAIN(tests)
