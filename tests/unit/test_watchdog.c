/* SPDX-License-Identifier: MIT */
/*
 * The watchdog of CPU faults: what is reported, when, how often, and what is
 * forgotten when it was served.
 */
#include "unit.h"

#include <gpusvm/gpusvm.h>
#include <stdio.h>
#include <string.h>

#include "fake_sys.h"
#include "handler.h"
#include "mm.h"
#include "page_size.h"

#define LIMIT_NS 1000000ul
#define ITSELF_NS 200000000ul
#define ADDR 0x100000ul
#define THREAD 11
#define OTHER 12
#define HOLDER 4711

static struct handler handler = { .wake_fd = -1 };
static struct mm_struct mm = { .handler = &handler };
static unsigned long now_ns;
static unsigned int nlines;
static char line[512];
static enum gpusvm_log_level line_level;

static void note_line(enum gpusvm_log_level level, const char *message,
		      void *priv)
{
	(void)priv;
	line_level = level;
	nlines++;
	snprintf(line, sizeof(line), "%s", message);
}

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	fake_sys_clock(&now_ns, 0);
	gpusvm_set_log(note_line, NULL, GPUSVM_LOG_DEBUG);
	gpusvm_watchdog_init(&mm.watchdog, LIMIT_NS);
	now_ns = 5 * LIMIT_NS;
	nlines = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	fake_sys_reset();
	return 0;
}

static void wait_for_migration(pid_t tid, unsigned long addr)
{
	assert_true(
		gpusvm_watchdog_waits(&mm, tid, addr, WAIT_MIGRATION, HOLDER));
}

static void fault_is_reported_once_after_the_limit(void **state)
{
	(void)state;
	wait_for_migration(THREAD, ADDR);
	now_ns += LIMIT_NS - 1;
	wait_for_migration(THREAD, ADDR);
	assert_int_equal(nlines, 0);
	now_ns++;
	wait_for_migration(THREAD, ADDR);
	assert_int_equal(nlines, 1);
	assert_int_equal(line_level, GPUSVM_LOG_WARNING);
	assert_non_null(strstr(line, "0x100000"));
	assert_non_null(strstr(line, "thread 11 has waited for 1 ms"));
	assert_non_null(strstr(line, "being migrated (thread 4711)"));
	now_ns += 10 * LIMIT_NS;
	wait_for_migration(THREAD, ADDR);
	assert_int_equal(nlines, 1);
}

static void reason_is_told(void **state)
{
	(void)state;
	gpusvm_watchdog_waits(&mm, 1, ADDR, WAIT_PAGE, 0);
	gpusvm_watchdog_waits(&mm, 2, ADDR, WAIT_TIMESLICE, 0);
	gpusvm_watchdog_waits(&mm, 3, ADDR, WAIT_COPY, 0);
	now_ns += LIMIT_NS;
	gpusvm_watchdog_waits(&mm, 1, ADDR, WAIT_PAGE, 0);
	assert_non_null(strstr(line, "the driver holds the page"));
	gpusvm_watchdog_waits(&mm, 2, ADDR, WAIT_TIMESLICE, 0);
	assert_non_null(strstr(line, "a timeslice runs"));
	gpusvm_watchdog_waits(&mm, 3, ADDR, WAIT_COPY, 0);
	assert_non_null(strstr(line, "the fence of its copy"));
	assert_int_equal(nlines, 3);
}

/* A thread has one fault at a time: the former one was served. */
static void another_address_starts_anew(void **state)
{
	(void)state;
	wait_for_migration(THREAD, ADDR);
	now_ns += LIMIT_NS;
	wait_for_migration(THREAD, ADDR + PAGE_SIZE);
	now_ns += LIMIT_NS - 1;
	wait_for_migration(THREAD, ADDR);
	assert_int_equal(nlines, 0);
}

static void served_fault_is_forgotten(void **state)
{
	(void)state;
	wait_for_migration(THREAD, ADDR);
	wait_for_migration(OTHER, ADDR + PAGE_SIZE);
	gpusvm_watchdog_served(&mm, ADDR, ADDR + PAGE_SIZE);
	now_ns += LIMIT_NS;
	wait_for_migration(THREAD, ADDR);
	assert_int_equal(nlines, 0);
	wait_for_migration(OTHER, ADDR + PAGE_SIZE);
	assert_int_equal(nlines, 1);
}

static bool waits_for_itself(void)
{
	return gpusvm_watchdog_waits(&mm, THREAD, ADDR, WAIT_MIGRATION, THREAD);
}

static void fault_that_waits_for_itself_is_an_error(void **state)
{
	(void)state;
	/* Perhaps an old message. */
	assert_true(waits_for_itself());
	assert_int_equal(gpusvm_watchdog_check_ns(&mm), now_ns + ITSELF_NS);
	now_ns += ITSELF_NS - 1;
	assert_true(waits_for_itself());
	assert_int_equal(nlines, 0);
	now_ns++;
	assert_false(waits_for_itself());
	assert_int_equal(nlines, 1);
	assert_int_equal(line_level, GPUSVM_LOG_ERROR);
	assert_non_null(strstr(line, "thread 11 itself"));
	/* Sources that do not tell who faulted. */
	assert_true(gpusvm_watchdog_waits(&mm, 0, ADDR, WAIT_MIGRATION, 0));
	assert_int_equal(nlines, 1);
}

static void old_messages_far_apart_are_not_one_fault(void **state)
{
	(void)state;
	assert_true(waits_for_itself());
	now_ns += 3 * ITSELF_NS;
	assert_true(waits_for_itself());
	assert_int_equal(nlines, 0);
}

static void waiting_for_others_is_not_waiting_for_itself(void **state)
{
	(void)state;
	wait_for_migration(THREAD, ADDR);
	now_ns += ITSELF_NS;
	assert_true(waits_for_itself());
	now_ns += ITSELF_NS - 1;
	wait_for_migration(THREAD, ADDR);
	assert_true(waits_for_itself());
	now_ns += ITSELF_NS - 1;
	assert_true(waits_for_itself());
	now_ns++;
	assert_false(waits_for_itself());
}

static void check_is_due_after_the_limit(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_watchdog_check_ns(&mm), 0);
	wait_for_migration(THREAD, ADDR);
	assert_int_equal(gpusvm_watchdog_check_ns(&mm), now_ns + LIMIT_NS);
	now_ns += LIMIT_NS;
	gpusvm_watchdog_checked(&mm);
	assert_int_equal(gpusvm_watchdog_check_ns(&mm), 0);
	/* Who still waits asks again, and makes for the next check. */
	wait_for_migration(THREAD, ADDR);
	assert_int_equal(nlines, 1);
	assert_int_equal(gpusvm_watchdog_check_ns(&mm), now_ns + LIMIT_NS);
}

static void without_a_limit_only_oneself_is_reported(void **state)
{
	(void)state;
	gpusvm_watchdog_init(&mm.watchdog, 0);
	wait_for_migration(THREAD, ADDR);
	now_ns += 100 * LIMIT_NS;
	wait_for_migration(THREAD, ADDR);
	assert_int_equal(nlines, 0);
	assert_int_equal(gpusvm_watchdog_check_ns(&mm), 0);
	assert_true(waits_for_itself());
	now_ns += ITSELF_NS;
	assert_false(waits_for_itself());
	assert_int_equal(nlines, 1);
}

/* With no room for all, those that have waited longest are kept. */
static void table_keeps_who_waits_longest(void **state)
{
	pid_t tid;

	(void)state;
	for (tid = 1; tid <= WATCHED + 5; tid++) {
		wait_for_migration(tid, ADDR);
		now_ns++;
	}
	now_ns += LIMIT_NS;
	for (tid = 1; tid < WATCHED; tid++)
		wait_for_migration(tid, ADDR);
	assert_int_equal(nlines, WATCHED - 1);
}

#define watchdog_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		watchdog_test(fault_is_reported_once_after_the_limit),
		watchdog_test(reason_is_told),
		watchdog_test(another_address_starts_anew),
		watchdog_test(served_fault_is_forgotten),
		watchdog_test(fault_that_waits_for_itself_is_an_error),
		watchdog_test(waiting_for_others_is_not_waiting_for_itself),
		watchdog_test(old_messages_far_apart_are_not_one_fault),
		watchdog_test(check_is_due_after_the_limit),
		watchdog_test(without_a_limit_only_oneself_is_reported),
		watchdog_test(table_keeps_who_waits_longest),
	};

	return cmocka_run_group_tests_name("watchdog", tests, NULL, NULL);
}
