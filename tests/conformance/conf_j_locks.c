/* SPDX-License-Identifier: MIT */
/* Conformance, group J: what only the checking build can report. */
#include "fake_driver.h"

#include <gpusvm/batch.h>

#ifdef GPUSVM_DEBUG_LOCKS
#include "lockdep.h"
#endif

static void conf_127_migration_without_the_lock(void **state)
{
#ifdef GPUSVM_DEBUG_LOCKS
	static const struct drm_gpusvm_ctx ctx;
	struct gpusvm_batch_entry entry;
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct fake_alloc *alloc;
	unsigned long before;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	before = gpusvm_lockdep_reports();
	assert_ret(fake_migrate(d, range, NULL), 0);
	assert_filled(mem, SZ_64K, 1);
	assert_int_equal(gpusvm_lockdep_reports(), before);

	/* The driver lock alone, then the address space lock alone. */
	alloc = fake_alloc_create(d, SZ_64K);
	alloc->state = FAKE_ALLOC_GIVEN;
	fake_driver_lock(d);
	(void)!drm_gpusvm_migrate_to_devmem(&d->gpusvm, range, &alloc->base,
					    &ctx);
	fake_driver_unlock(d);
	assert_int_equal(gpusvm_lockdep_reports(), before + 1);
	assert_filled(mem, SZ_64K, 1);

	alloc = fake_alloc_create(d, SZ_64K);
	alloc->state = FAKE_ALLOC_GIVEN;
	gpusvm_mm_read_lock(test_mm);
	(void)!drm_gpusvm_migrate_to_devmem(&d->gpusvm, range, &alloc->base,
					    &ctx);
	gpusvm_mm_read_unlock(test_mm);
	assert_int_equal(gpusvm_lockdep_reports(), before + 2);
	assert_filled(mem, SZ_64K, 1);

	/* A batch, without either. */
	alloc = fake_alloc_create(d, SZ_64K);
	alloc->state = FAKE_ALLOC_GIVEN;
	entry = (struct gpusvm_batch_entry){
		.range = range,
		.devmem = &alloc->base,
	};
	(void)!gpusvm_migrate_batch_to_devmem(&d->gpusvm, &entry, 1, &ctx);
	assert_int_equal(gpusvm_lockdep_reports(), before + 4);
	assert_filled(mem, SZ_64K, 1);
#else
	(void)state;
	test_skip("needs the checking build (-Ddebug_locks=true)");
#endif
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_127_migration_without_the_lock),
};

CONF_MAIN(tests)
