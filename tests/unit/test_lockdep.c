/* SPDX-License-Identifier: MIT */
/*
 * The checking build: what a thread is known to hold, and what is reported.
 */
#include "unit.h"

#include "lockdep.h"

#ifdef GPUSVM_DEBUG_LOCKS

#include <gpusvm/gpusvm.h>
#include <pthread.h>
#include <string.h>

static char message[512];

static void remember(enum gpusvm_log_level level, const char *text, void *priv)
{
	(void)priv;
	snprintf(message, sizeof(message), "%u %s", level, text);
}

static void lock_is_held_between_acquire_and_release(void **state)
{
	struct lockdep_map a = { .name = "a" }, b = { .name = "b" };

	(void)state;
	assert_false(gpusvm_lockdep_held(&a));
	gpusvm_lockdep_acquire(&a);
	gpusvm_lockdep_acquire(&b);
	assert_true(gpusvm_lockdep_held(&a));
	assert_true(gpusvm_lockdep_held(&b));
	gpusvm_lockdep_release(&a);
	assert_false(gpusvm_lockdep_held(&a));
	assert_true(gpusvm_lockdep_held(&b));
	gpusvm_lockdep_release(&b);
	assert_false(gpusvm_lockdep_held(&b));
}

static void lock_acquired_twice_needs_release_twice(void **state)
{
	struct lockdep_map map = { 0 };

	(void)state;
	gpusvm_lockdep_acquire(&map);
	gpusvm_lockdep_acquire(&map);
	gpusvm_lockdep_release(&map);
	assert_true(gpusvm_lockdep_held(&map));
	gpusvm_lockdep_release(&map);
	assert_false(gpusvm_lockdep_held(&map));
}

static void semaphore_is_held_in_either_mode(void **state)
{
	unsigned long reports = gpusvm_lockdep_reports();
	struct rw_semaphore sem;

	(void)state;
	gpusvm_init_rwsem(&sem);
	gpusvm_down_read(&sem);
	lockdep_check_held(&sem, "not reported");
	gpusvm_up_read(&sem);
	gpusvm_down_write(&sem);
	lockdep_check_held(&sem, "not reported");
	gpusvm_up_write(&sem);
	assert_int_equal(gpusvm_lockdep_reports(), reports);
	lockdep_check_held(&sem, "sem is not held");
	assert_int_equal(gpusvm_lockdep_reports(), reports + 1);
	assert_string_equal(message, "0 lockdep: "
				     "semaphore_is_held_in_either_mode: "
				     "sem is not held");
}

static void *is_held(void *map)
{
	return gpusvm_lockdep_held(map) ? map : NULL;
}

static void lock_of_one_thread_is_not_held_by_another(void **state)
{
	struct lockdep_map map = { 0 };
	pthread_t thread;
	void *held = &map;

	(void)state;
	gpusvm_lockdep_acquire(&map);
	assert_int_equal(pthread_create(&thread, NULL, is_held, &map), 0);
	pthread_join(thread, &held);
	assert_null(held);
	gpusvm_lockdep_release(&map);
}

static void release_of_what_is_not_held_is_reported(void **state)
{
	unsigned long reports = gpusvm_lockdep_reports();
	struct lockdep_map map = { .name = "the lock" };

	(void)state;
	gpusvm_lockdep_release(&map);
	assert_int_equal(gpusvm_lockdep_reports(), reports + 1);
	assert_non_null(strstr(message, "the lock"));
	assert_false(gpusvm_lockdep_held(&map));
}

static void more_locks_than_fit_are_reported(void **state)
{
	unsigned long reports = gpusvm_lockdep_reports();
	struct lockdep_map maps[100] = { 0 };
	unsigned int held = 0, i;

	(void)state;
	for (i = 0; i < 100; i++)
		gpusvm_lockdep_acquire(&maps[i]);
	for (i = 0; i < 100; i++)
		held += gpusvm_lockdep_held(&maps[i]);
	assert_true(held >= 16);
	assert_int_equal(gpusvm_lockdep_reports(), reports + 100 - held);
	for (i = 0; i < held; i++)
		gpusvm_lockdep_release(&maps[i]);
	assert_false(gpusvm_lockdep_held(&maps[0]));
}

static void callbacks_may_nest(void **state)
{
	unsigned long reports = gpusvm_lockdep_reports();

	(void)state;
	lockdep_check_not_in_callback();
	assert_int_equal(gpusvm_lockdep_reports(), reports);
	gpusvm_lockdep_callback_enter();
	gpusvm_lockdep_callback_enter();
	gpusvm_lockdep_callback_leave();
	assert_true(gpusvm_lockdep_in_callback());
	lockdep_check_not_in_callback();
	assert_int_equal(gpusvm_lockdep_reports(), reports + 1);
	gpusvm_lockdep_callback_leave();
	assert_false(gpusvm_lockdep_in_callback());
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(lock_is_held_between_acquire_and_release),
		cmocka_unit_test(lock_acquired_twice_needs_release_twice),
		cmocka_unit_test(semaphore_is_held_in_either_mode),
		cmocka_unit_test(lock_of_one_thread_is_not_held_by_another),
		cmocka_unit_test(release_of_what_is_not_held_is_reported),
		cmocka_unit_test(more_locks_than_fit_are_reported),
		cmocka_unit_test(callbacks_may_nest),
	};

	gpusvm_set_log(remember, NULL, GPUSVM_LOG_ERROR);
	return cmocka_run_group_tests_name("lockdep", tests, NULL, NULL);
}

#else

int main(void)
{
	puts("skipped: not the checking build (-Ddebug_locks=true)");
	return UNIT_SKIPPED;
}

#endif
