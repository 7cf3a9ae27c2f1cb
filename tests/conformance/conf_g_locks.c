/* SPDX-License-Identifier: MIT */
/* Conformance, group G: what only the checking build can report. */
#include "fake_driver.h"

#ifdef GPUSVM_DEBUG_LOCKS
#include "lockdep.h"
#endif

static void conf_087_pages_valid_without_the_lock(void **state)
{
#ifdef GPUSVM_DEBUG_LOCKS
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);
	unsigned long before;

	(void)state;
	assert_ok_ptr(range);
	assert_ret(fake_get_pages(d, range), 0);
	before = gpusvm_lockdep_reports();
	assert_true(fake_valid(d, range));
	assert_int_equal(gpusvm_lockdep_reports(), before);
	/* Reported, and answered all the same. */
	assert_true(drm_gpusvm_range_pages_valid(&d->gpusvm, range));
	assert_int_equal(gpusvm_lockdep_reports(), before + 1);
#else
	(void)state;
	test_skip("needs the checking build (-Ddebug_locks=true)");
#endif
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_087_pages_valid_without_the_lock),
};

CONF_MAIN(tests)
