/* SPDX-License-Identifier: MIT */
/* Threads that wait for a page, and those that let them go. */
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#include "park.h"

#define HUGE (2ul << 20)
#define BASE (1ul << 30)

/* The word has changed before anybody waits. */
static void late_waiter_does_not_sleep(void **state)
{
	unsigned int seen = gpusvm_park_look(BASE);

	(void)state;
	gpusvm_park_wake(BASE, BASE + 4096);
	/* Would not return. */
	gpusvm_park_wait(BASE + 4095, seen);
	assert_int_not_equal(gpusvm_park_look(BASE), seen);
}

static void wake_is_for_its_pages(void **state)
{
	unsigned int here = gpusvm_park_look(BASE);
	unsigned int there = gpusvm_park_look(BASE + HUGE);

	(void)state;
	gpusvm_park_wake(BASE, BASE + HUGE);
	assert_int_not_equal(gpusvm_park_look(BASE), here);
	assert_int_equal(gpusvm_park_look(BASE + HUGE), there);
	gpusvm_park_wake(BASE + HUGE - 1, BASE + HUGE + 1);
	assert_int_not_equal(gpusvm_park_look(BASE + HUGE), there);
	/* All of them, whatever the size. */
	there = gpusvm_park_look(BASE + 77 * HUGE);
	gpusvm_park_wake(0, ~0ul);
	assert_int_equal(gpusvm_park_look(BASE + 77 * HUGE), there + 1);
}

static bool going;

static void *wait_here(void *arg)
{
	unsigned int seen = gpusvm_park_look(BASE);

	(void)arg;
	__atomic_store_n(&going, true, __ATOMIC_SEQ_CST);
	gpusvm_park_wait(BASE, seen);
	return NULL;
}

static void waiter_is_woken(void **state)
{
	pthread_t thread;
	int i;

	(void)state;
	for (i = 0; i < 100; i++) {
		__atomic_store_n(&going, false, __ATOMIC_SEQ_CST);
		assert_int_equal(pthread_create(&thread, NULL, wait_here, NULL),
				 0);
		while (!__atomic_load_n(&going, __ATOMIC_SEQ_CST))
			sched_yield();
		gpusvm_park_wake(BASE, BASE + 1);
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_waiter_does_not_sleep),
		cmocka_unit_test(wake_is_for_its_pages),
		cmocka_unit_test(waiter_is_woken),
	};

	return cmocka_run_group_tests_name("park", tests, NULL, NULL);
}
