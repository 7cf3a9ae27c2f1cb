/* SPDX-License-Identifier: MIT */
/*
 * What the tests of migrations to the device share: a range in the middle of
 * the program's memory, and both techniques.
 */
#ifndef TESTS_UNIT_MIGRATE_OUT_H
#define TESTS_UNIT_MIGRATE_OUT_H

#include "unit_migration.h"

#define N 16ul	  /* pages of the range */
#define FIRST 8ul /* its place in the window */

static inline int setup_move(void **state)
{
	(void)state;
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	return 0;
}

static inline int setup_protect(void **state)
{
	(void)state;
	migration_setup(GPUSVM_TECHNIQUE_WRITE_PROTECT, N);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	fake_source_forget_plans(fake);
	unmap_all();
	migration_teardown();
	return 0;
}

/* Memory as it was, nothing on the device, and the next attempt works. */
static inline void assert_undone(void)
{
	assert_nothing_on_device();
	assert_true(fake_matches(window(FIRST), N, 1));
	assert_false(any_flag(FAKE_PROTECTED));
	fake_source_forget_plans(fake);
	fake_sys_fail(FAKE_SYS_PROCESS_VM_READV, 0, 0);
	assert_int_equal(migrate_out(FIRST), 0);
	assert_true(fake_matches(device_memory(0), N, 1));
}

static inline void begin(int expected)
{
	take_device_pages();
	assert_int_equal(gpusvm_migrate_out_begin(&m, fake_addr(fake, FIRST)),
			 expected);
}

#define move_test(fn) cmocka_unit_test_setup_teardown(fn, setup_move, teardown)
#define protect_test(fn) \
	cmocka_unit_test_setup_teardown(fn, setup_protect, teardown)

#endif /* TESTS_UNIT_MIGRATE_OUT_H */
