/* SPDX-License-Identifier: MIT */
/*
 * Waiting for pages that the program drops: for which threads it waits, how
 * much time each is given, and what comes meanwhile.
 */
#include "unit_removal.h"
#include "unit_thread.h"

/* ---- For whom ---- */

static void sleep_at_2(unsigned long nap)
{
	if (nap == 2)
		set_state(0, 'S');
}

static void wait_is_not_for_threads_that_sleep(void **state)
{
	(void)state;
	note(FIRST, N);
	at_nap = sleep_at_2;
	assert_int_equal(wait_for(&m), 2);
	assert_over();
	note(FIRST, N);
	assert_int_equal(wait_for(&m), 0);
	/* Nobody was in the call any more, so this one is over, too. */
	set_state(0, 'R');
	assert_over();
}

static void wait_without_other_threads_ends_at_once(void **state)
{
	(void)state;
	nthreads = 0;
	note(FIRST, N);
	assert_int_equal(wait_for(&m), 0);
	assert_int_not_equal(fake_sys_calls(FAKE_SYS_GETDENTS64), 0);
	assert_over();
}

static unsigned int resting, busy;

/* One is seen asleep, and then runs again. */
static void rest_at_1_and_3(unsigned long nap)
{
	if (nap == 1)
		set_state(resting, 'S');
	if (nap == 2)
		set_state(resting, 'R');
	if (nap == 3)
		get_on(busy);
}

static void wait_is_for_every_thread_once(void **state)
{
	(void)state;
	nthreads = 3;
	set_state(2, 'R');
	at_nap = rest_at_1_and_3;
	for (resting = 0; resting <= 2; resting += 2) {
		busy = 2 - resting;
		note(FIRST, N);
		naps = 0;
		assert_int_equal(wait_for(&m), 3);
		assert_over();
	}
}

static unsigned int slow;

static void slow_gets_on_at_2(unsigned long nap)
{
	if (nap == 2)
		get_on(slow);
}

static void wait_is_for_any_of_many_threads(void **state)
{
	static const unsigned int places[] = { 63, 64, 99 };
	unsigned int i;

	(void)state;
	nthreads = 100;
	set_state(0, 'S');
	at_nap = slow_gets_on_at_2;
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		slow = places[i];
		set_state(slow, 'R');
		note(FIRST, N);
		naps = 0;
		assert_int_equal(wait_for(&m), 2);
		set_state(slow, 'S');
	}
}

/* ---- How much time a thread needs ---- */

static unsigned long step_ns;

static void use_time(unsigned long nap)
{
	(void)nap;
	cpu_ns[0] += step_ns;
}

/* The CPU time that a removal of so many pages is waited for. */
static unsigned long time_for(unsigned long npages)
{
	note_bytes(m.start, m.start + (npages << PAGE_SHIFT));
	return wait_for(&m) * step_ns;
}

static void thread_needs_more_time_for_more_pages(void **state)
{
	unsigned long one, many;

	(void)state;
	at_nap = use_time;
	step_ns = 10 * 1000;
	one = time_for(1);
	/* A call that was held up by an interrupt is not taken for over. */
	assert_in_range(one, 500 * 1000, 10 * 1000 * 1000);
	many = time_for(1001);
	/* At least what it takes to free a page. */
	assert_in_range(many - one, 1000 * 500, 1000 * 10000);
	/* The longer of two at a time, whichever was first. */
	note(FIRST + N - 1, 1);
	assert_int_equal(time_for(1001), many);
	note_bytes(m.start, m.start + (1001 << PAGE_SHIFT));
	note(FIRST + N - 1, 1);
	assert_int_equal(wait_for(&m) * step_ns, many);
}

/* A thread that runs has used it before it is given up. */
static void thread_that_runs_gets_on_whatever_was_removed(void **state)
{
	unsigned long start = now_ns;

	(void)state;
	at_nap = use_time;
	step_ns = 500 * 1000;
	assert_in_range(time_for(1ul << 34), 1, 3 * NSEC_PER_SEC / 4);
	assert_true(now_ns - start < NSEC_PER_SEC);
	assert_over();
}

/* ---- What comes meanwhile ---- */

static void remove_again_at_2(unsigned long nap)
{
	if (nap == 2)
		note(FIRST + 1, 1);
	if (nap == 3 || nap == 5)
		get_on(0);
}

static void wait_does_not_forget_a_later_removal(void **state)
{
	(void)state;
	note(FIRST, N);
	at_nap = remove_again_at_2;
	assert_int_equal(wait_for(&m), 3);
	assert_int_equal(wait_for(&m), 2);
	assert_over();
}

static void start_at_2(unsigned long nap)
{
	if (nap == 2) {
		nthreads = 2;
		set_state(1, 'R');
	}
	if (nap == 3)
		get_on(0);
}

static void get_on_a_little(unsigned long nap)
{
	if (nap == 1)
		cpu_ns[0] += 3 * 1000 * 1000;
	if (nap == 4)
		get_on(0);
}

/* Enough for what was waited for is not enough for something bigger. */
static void wait_does_not_forget_a_bigger_removal_elsewhere(void **state)
{
	struct migration other = m;

	(void)state;
	other.start = fake_addr(fake, FIRST + N);
	fake_fill(window(FIRST + N), N, 2);
	note_bytes(other.start, other.start + (10000 << PAGE_SHIFT));
	note(FIRST, N);
	at_nap = get_on_a_little;
	assert_int_equal(wait_for(&m), 1);
	assert_int_equal(wait_for(&other), 3);
	assert_over();
}

static void wait_in_thread(void *arg)
{
	const struct migration *migration = arg;

	gpusvm_removal_wait(mm, migration->start, end_of(migration));
}

/* The time at which it is told is later than any that was read before. */
static void wait_is_for_removals_told_while_it_locks(void **state)
{
	static struct unit_thread waiter;

	(void)state;
	at_nap = get_on_at_2;
	gpusvm_down_write(&mm->event_lock);
	unit_thread_start(&waiter, wait_in_thread, &m);
	unit_thread_settle(&waiter);
	WRITE_ONCE(now_ns, now_ns + 1);
	gpusvm_removal_note(mm, m.start, m.start + PAGE_SIZE);
	gpusvm_up_write(&mm->event_lock);
	unit_thread_join(&waiter);
	assert_int_equal(naps, 2);
	assert_over();
}

/* Who came since cannot be in a call that began before. */
static void wait_is_not_for_new_threads(void **state)
{
	(void)state;
	note(FIRST, N);
	at_nap = start_at_2;
	assert_int_equal(wait_for(&m), 3);
	assert_over();
}

#define removal_test(fn) \
	cmocka_unit_test_setup_teardown(fn, removal_setup, removal_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		removal_test(wait_is_not_for_threads_that_sleep),
		removal_test(wait_without_other_threads_ends_at_once),
		removal_test(wait_is_for_every_thread_once),
		removal_test(wait_is_for_any_of_many_threads),
		removal_test(thread_needs_more_time_for_more_pages),
		removal_test(thread_that_runs_gets_on_whatever_was_removed),
		removal_test(wait_does_not_forget_a_later_removal),
		removal_test(wait_does_not_forget_a_bigger_removal_elsewhere),
		removal_test(wait_is_for_removals_told_while_it_locks),
		removal_test(wait_is_not_for_new_threads),
	};

	return cmocka_run_group_tests_name("removal_threads", tests, NULL,
					   NULL);
}
