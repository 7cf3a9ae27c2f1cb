/* SPDX-License-Identifier: MIT */
/*
 * Conformance, assertions of several groups about an address space that has
 * been closed while a driver still refers to it.
 */
#include "fake_driver.h"

/* Take the driver away before the address space is opened again. */
static void finish(struct fake_driver *d)
{
	fake_driver_destroy(d);
	test_mm_reopen();
}

static void conf_046_find_or_insert_after_close(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);

	(void)state;
	assert_ok_ptr(range);
	test_mm_close();
	/* Where a range is, where one could be, and in another notifier. */
	assert_err_ptr(fake_fault(d, mem), -EFAULT);
	assert_err_ptr(fake_fault(d, mem + SZ_64K), -EFAULT);
	assert_err_ptr(fake_fault(d, mem - SZ_512M), -EFAULT);
	assert_int_equal(d->range_allocs, 1);
	assert_int_equal(d->notifier_allocs - d->notifier_frees, 1);
	finish(d);
}

static void conf_081_get_pages_after_close(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *fresh, *mapped;

	(void)state;
	fresh = fake_fault(d, mem);
	mapped = fake_fault(d, mem + SZ_64K);
	assert_ok_ptr(fresh);
	assert_ok_ptr(mapped);
	test_fill(mem + SZ_64K, SZ_64K, 1);
	assert_ret(fake_get_pages(d, mapped), 0);

	test_mm_close();
	assert_ret(fake_get_pages(d, fresh), -EFAULT);
	assert_false(fake_valid(d, fresh));
	/* The release event ended this one. */
	assert_false(fake_valid(d, mapped));
	assert_ret(fake_get_pages(d, mapped), -EFAULT);
	assert_filled(mem + SZ_64K, SZ_64K, 1);
	assert_int_equal(test_resident(mem, SZ_64K), 0);
	finish(d);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_046_find_or_insert_after_close),
	conf_test(conf_081_get_pages_after_close),
};

CONF_MAIN(tests)
