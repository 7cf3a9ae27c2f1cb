/* SPDX-License-Identifier: MIT */
/*
 * The clock of timeslices: milliseconds, rounded down, of the clock that every
 * deadline of the library uses.
 */
#include "unit_thread.h"

#include <gpusvm/gpusvm.h>

#include "compiler.h"
#include "fake_sys.h"

#define NSEC_PER_MSEC 1000000ul
#define MSEC_PER_SEC 1000ul

static unsigned long now_ns;

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	return 0;
}

static u64 monotonic_ms(void)
{
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	return (u64)now.tv_sec * MSEC_PER_SEC +
	       (u64)now.tv_nsec / NSEC_PER_MSEC;
}

static void jiffy_is_a_millisecond_rounded_down(void **state)
{
	static const struct {
		unsigned long ns;
		u64 jiffies;
	} cases[] = {
		{ 0, 0 },
		{ NSEC_PER_MSEC - 1, 0 },
		{ NSEC_PER_MSEC, 1 },
		{ 2 * NSEC_PER_MSEC - 1, 1 },
		/* After 50 days there are more than 32 bits of them. */
		{ (1ul << 32) * NSEC_PER_MSEC - 1, (1ul << 32) - 1 },
		{ (1ul << 32) * NSEC_PER_MSEC, 1ul << 32 },
		/* Beyond what a signed number of nanoseconds holds. */
		{ ~0ul, ~0ul / NSEC_PER_MSEC },
	};
	unsigned int i;

	(void)state;
	fake_sys_clock(&now_ns, 0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		now_ns = cases[i].ns;
		assert_int_equal(gpusvm_jiffies64(), cases[i].jiffies);
	}
	/* The clock is asked each time. */
	assert_int_equal(fake_sys_calls(FAKE_SYS_NOW_NS), ARRAY_SIZE(cases));
}

static void jiffies_are_those_of_the_monotonic_clock(void **state)
{
	u64 before, jiffies, after;

	(void)state;
	before = monotonic_ms();
	jiffies = gpusvm_jiffies64();
	after = monotonic_ms();
	assert_in_range(jiffies, before, after);
}

static void jiffies_go_on_and_never_back(void **state)
{
	u64 now, last = gpusvm_jiffies64();
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++) {
		unit_wait_until((now = gpusvm_jiffies64()) != last);
		assert_true(now > last);
		last = now;
	}
}

#define jiffies_test(fn) cmocka_unit_test_setup(fn, setup)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		jiffies_test(jiffy_is_a_millisecond_rounded_down),
		jiffies_test(jiffies_are_those_of_the_monotonic_clock),
		jiffies_test(jiffies_go_on_and_never_back),
	};

	return cmocka_run_group_tests_name("jiffies", tests, NULL, NULL);
}
