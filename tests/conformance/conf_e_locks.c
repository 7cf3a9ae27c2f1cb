/* SPDX-License-Identifier: MIT */
/* Conformance, group E: what only the checking build can report. */
#include "fake_driver.h"

#ifdef GPUSVM_DEBUG_LOCKS
#include "lockdep.h"
#endif

static void conf_057_remove_twice_is_reported(void **state)
{
#ifdef GPUSVM_DEBUG_LOCKS
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);
	unsigned long before;

	(void)state;
	assert_ok_ptr(range);
	drm_gpusvm_range_get(range);
	before = gpusvm_lockdep_reports();
	fake_remove(d, range);
	assert_int_equal(gpusvm_lockdep_reports(), before);
	fake_remove(d, range);
	assert_true(gpusvm_lockdep_reports() > before);
	drm_gpusvm_range_put(range);
	assert_int_equal(d->range_frees, 1);
#else
	(void)state;
	test_skip("needs the checking build (-Ddebug_locks=true)");
#endif
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_057_remove_twice_is_reported),
};

CONF_MAIN(tests)
