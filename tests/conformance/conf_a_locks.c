/* SPDX-License-Identifier: MIT */
/* Conformance, group A: what only the checking build can report. */
#include "fake_driver.h"

#ifdef GPUSVM_DEBUG_LOCKS
#include "lockdep.h"
#endif

static void conf_010_second_driver_lock_is_reported(void **state)
{
#ifdef GPUSVM_DEBUG_LOCKS
	struct fake_driver *d = fake_driver_create(NULL);
	struct {
		struct lockdep_map dep_map;
	} *other = gpusvm_alloc(sizeof(*other));
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	unsigned long before;

	(void)state;
	assert_non_null(other);
	assert_ptr_equal(d->gpusvm.lock_dep_map, &d->lock.dep_map);

	before = gpusvm_lockdep_reports();
	drm_gpusvm_driver_set_lock(&d->gpusvm, other);
	assert_int_equal(gpusvm_lockdep_reports(), before + 1);
	assert_ptr_equal(d->gpusvm.lock_dep_map, &d->lock.dep_map);

	/* The first lock is the one that counts. */
	assert_ok_ptr(fake_fault(d, mem));
	assert_int_equal(gpusvm_lockdep_reports(), before + 1);
	gpusvm_free(other);
#else
	(void)state;
	test_skip("needs the checking build (-Ddebug_locks=true)");
#endif
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_010_second_driver_lock_is_reported),
};

CONF_MAIN(tests)
