/* SPDX-License-Identifier: MIT */
/* Copies that complete by a fence: what is waited for, and who is told. */
#include "unit_migration.h"
#include "unit_thread.h"

#include "fence.h"
#include "migration.h"

#define N 8ul
#define LIMIT_NS (20ul * 1000 * 1000)

static struct gpusvm_fence *fence;
static unsigned int nlines;
static char line[512];

static void note_line(enum gpusvm_log_level level, const char *message,
		      void *priv)
{
	(void)priv;
	if (level > GPUSVM_LOG_WARNING)
		return;
	snprintf(line, sizeof(line), "%s", message);
	__atomic_fetch_add(&nlines, 1, __ATOMIC_RELEASE);
}

static unsigned int lines(void)
{
	return __atomic_load_n(&nlines, __ATOMIC_ACQUIRE);
}

static int setup(void **state)
{
	(void)state;
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	assert_int_equal(gpusvm_fence_create(&fence), 0);
	mm->watchdog.limit_ns = 0;
	nlines = 0;
	gpusvm_set_log(note_line, NULL, GPUSVM_LOG_DEBUG);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	gpusvm_fence_put(fence);
	unmap_all();
	migration_teardown();
	return 0;
}

static void copy_without_a_fence_is_over(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_migration_wait_copied(&m, 0), 0);
	assert_int_equal(gpusvm_migration_wait_copied(&m, -EIO), -EIO);
}

static void first_error_is_the_callbacks(void **state)
{
	static const struct {
		int callback, fence, expected;
	} cases[] = {
		{ 0, 0, 0 },
		{ 0, -EIO, -EIO },
		{ -ENXIO, 0, -ENXIO },
		{ -ENXIO, -EIO, -ENXIO },
	};
	struct gpusvm_fence *each;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(gpusvm_fence_create(&each), 0);
		assert_int_equal(gpusvm_migration_set_fence(&m, each), 0);
		assert_int_equal(gpusvm_migration_set_fence(&m, fence), -EBUSY);
		assert_ptr_equal(m.fence, each);
		gpusvm_fence_signal(each, cases[i].fence);
		gpusvm_fence_put(each);
		assert_int_equal(
			gpusvm_migration_wait_copied(&m, cases[i].callback),
			cases[i].expected);
		assert_null(m.fence);
	}
}

static void wait_copied(void *arg)
{
	*(int *)arg = gpusvm_migration_wait_copied(&m, 0);
}

static void begin(void)
{
	fake_fill(window(8), N, 1);
	take_device_pages();
	assert_int_equal(gpusvm_migrate_out_begin(&m, fake_addr(fake, 8)), 0);
	copy_to_device();
	assert_int_equal(gpusvm_migration_set_fence(&m, fence), 0);
}

static void fence_that_takes_long_is_named(void **state)
{
	struct unit_thread thread;
	char expected[32];
	int err = 1;

	(void)state;
	mm->watchdog.limit_ns = LIMIT_NS;
	begin();
	unit_thread_start(&thread, wait_copied, &err);
	unit_wait_until(lines() == 1);
	snprintf(expected, sizeof(expected), "%#lx", fake_addr(fake, 8));
	assert_non_null(strstr(line, expected));
	snprintf(expected, sizeof(expected), "%p", (void *)fence);
	assert_non_null(strstr(line, expected));
	assert_non_null(strstr(line, "a device"));
	assert_false(unit_thread_done(&thread));
	gpusvm_fence_signal(fence, 0);
	unit_thread_join(&thread);
	assert_int_equal(err, 0);
	assert_int_equal(nlines, 1);
	assert_int_equal(gpusvm_migrate_out_commit(&m), 0);
	assert_on_device(8, 0);
}

static void nobody_is_told_without_a_limit(void **state)
{
	struct unit_thread thread;
	int err = 1;

	(void)state;
	begin();
	unit_thread_start(&thread, wait_copied, &err);
	unit_thread_settle(&thread);
	assert_false(unit_thread_done(&thread));
	gpusvm_fence_signal(fence, -EIO);
	unit_thread_join(&thread);
	assert_int_equal(err, -EIO);
	assert_int_equal(nlines, 0);
	gpusvm_migrate_out_abort(&m);
	assert_nothing_on_device();
	assert_true(fake_matches(window(8), N, 1));
}

#define under_way_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		under_way_test(copy_without_a_fence_is_over),
		under_way_test(first_error_is_the_callbacks),
		under_way_test(fence_that_takes_long_is_named),
		under_way_test(nobody_is_told_without_a_limit),
	};

	return cmocka_run_group_tests_name("under_way", tests, NULL, NULL);
}
