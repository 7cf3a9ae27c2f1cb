/* SPDX-License-Identifier: MIT */
/* Conformance, group L: eviction from an address space that is closed. */
#include "fake_driver.h"

static void conf_142_evict_to_ram_after_close(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	fake_dev_range(d, mem, SZ_64K, &alloc);
	test_mm_close();
	assert_int_equal(alloc->released, 1);
	assert_ret(drm_gpusvm_evict_to_ram(&alloc->base), -EFAULT);
	assert_int_equal(alloc->released, 1);
	assert_filled(mem, SZ_64K, 1);
	fake_driver_destroy(d);
	test_mm_reopen();
}

static void conf_144_range_evict_after_close(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);

	(void)state;
	test_fill(mem, SZ_64K, 1);
	test_mm_close();
	assert_ret(drm_gpusvm_range_evict(&d->gpusvm, range), -EFAULT);
	assert_filled(mem, SZ_64K, 1);
	fake_driver_destroy(d);
	test_mm_reopen();
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_142_evict_to_ram_after_close),
	conf_test(conf_144_range_evict_after_close),
};

CONF_MAIN(tests)
