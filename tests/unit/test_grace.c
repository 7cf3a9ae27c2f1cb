/* SPDX-License-Identifier: MIT */
/*
 * Grace periods: who was inside is waited for, whatever half it is counted in,
 * and nobody else is; a forked child waits for nobody.
 */
#include "unit_thread.h"

#include "fake_sys.h"
#include "grace.h"

static struct grace grace;

/* A section that the test leaves when the waiter has looked often enough. */
static unsigned int section;
static unsigned int looks_left;

static bool look_again(const unsigned long *args, long *ret)
{
	(void)args;
	(void)ret;
	if (looks_left && !--looks_left)
		gpusvm_grace_leave(&grace, section);
	return true;
}

static int setup(void **state)
{
	(void)state;
	grace = (struct grace)GRACE_INIT;
	looks_left = 0;
	fake_sys_reset();
	fake_sys_hook(FAKE_SYS_YIELD, look_again);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, look_again);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_sys_reset();
	return 0;
}

static unsigned int looks(void)
{
	return fake_sys_calls(FAKE_SYS_YIELD) +
	       fake_sys_calls(FAKE_SYS_NANOSLEEP);
}

static void assert_empty(void)
{
	assert_int_equal(grace.inside[0], 0);
	assert_int_equal(grace.inside[1], 0);
}

static void wait_without_sections_returns_at_once(void **state)
{
	(void)state;
	gpusvm_grace_wait(&grace);
	gpusvm_grace_leave(&grace, gpusvm_grace_enter(&grace));
	gpusvm_grace_wait(&grace);
	assert_int_equal(looks(), 0);
}

static void wait_lasts_until_the_section_is_left(void **state)
{
	unsigned int halves;

	(void)state;
	/* In either parity. */
	for (halves = 0; halves < 2; halves++) {
		grace.period = halves;
		section = gpusvm_grace_enter(&grace);
		looks_left = 5;
		gpusvm_grace_wait(&grace);
		assert_int_equal(looks_left, 0);
		assert_empty();
	}
	assert_int_equal(looks(), 10);
}

/* It read the parity just before the waiter before last changed it. */
static void wait_finds_a_section_of_the_other_parity(void **state)
{
	(void)state;
	section = gpusvm_grace_enter(&grace);
	grace.period++;
	looks_left = 3;
	gpusvm_grace_wait(&grace);
	assert_int_equal(looks_left, 0);
	assert_int_equal(looks(), 3);
}

static void wait_is_for_all_who_are_inside(void **state)
{
	unsigned int others[3];
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++)
		others[i] = gpusvm_grace_enter(&grace);
	section = gpusvm_grace_enter(&grace);
	for (i = 0; i < 3; i++)
		gpusvm_grace_leave(&grace, others[i]);
	looks_left = 2;
	gpusvm_grace_wait(&grace);
	assert_int_equal(looks(), 2);
	assert_empty();
}

static unsigned int late;

/* Somebody is always inside, but not who was when the waiter began. */
static bool come_and_go(const unsigned long *args, long *ret)
{
	(void)args;
	(void)ret;
	gpusvm_grace_leave(&grace, section);
	section = late;
	late = gpusvm_grace_enter(&grace);
	assert_true(--looks_left);
	return true;
}

static void wait_is_not_for_who_comes_later(void **state)
{
	(void)state;
	fake_sys_hook(FAKE_SYS_YIELD, come_and_go);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, come_and_go);
	section = gpusvm_grace_enter(&grace);
	late = gpusvm_grace_enter(&grace);
	looks_left = 100;
	gpusvm_grace_wait(&grace);
	assert_true(looks_left >= 95);
	gpusvm_grace_leave(&grace, section);
	gpusvm_grace_leave(&grace, late);
	assert_empty();
}

static void wait_yields_before_it_sleeps(void **state)
{
	(void)state;
	section = gpusvm_grace_enter(&grace);
	looks_left = 40;
	gpusvm_grace_wait(&grace);
	assert_int_equal(fake_sys_calls(FAKE_SYS_YIELD), 16);
	assert_int_equal(fake_sys_calls(FAKE_SYS_NANOSLEEP), 24);
}

static void reset_forgets_sections_that_go_on(void **state)
{
	unsigned int ours = gpusvm_grace_enter(&grace), later;

	(void)state;
	gpusvm_grace_enter(&grace);
	/* A waiter holds the lock in the parent. */
	pthread_mutex_lock(&grace.lock);
	gpusvm_grace_reset(&grace);
	gpusvm_grace_wait(&grace);
	/* It ends without being counted; new ones count as ever. */
	gpusvm_grace_leave(&grace, ours);
	assert_empty();
	later = gpusvm_grace_enter(&grace);
	assert_int_equal(grace.inside[0] + grace.inside[1], 1);
	gpusvm_grace_leave(&grace, ours);
	assert_int_equal(grace.inside[0] + grace.inside[1], 1);
	gpusvm_grace_leave(&grace, later);
	assert_empty();
	gpusvm_grace_wait(&grace);
	assert_int_equal(looks(), 0);
}

/* ---- Between threads ---- */

#define ROUNDS 30
#define READERS 2

static struct object {
	unsigned long dead;
} objects[ROUNDS + 1];

static struct object *published;
static bool stop;
static unsigned long sections_done;

/* What is found inside a section is alive until it is left. */
static void read_objects(void *arg)
{
	bool *failed = arg;
	struct object *object;
	unsigned int inside, i;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		inside = gpusvm_grace_enter(&grace);
		object = __atomic_load_n(&published, __ATOMIC_SEQ_CST);
		for (i = 0; i < 20; i++)
			if (object->dead)
				*failed = true;
		gpusvm_grace_leave(&grace, inside);
		__atomic_fetch_add(&sections_done, 1, __ATOMIC_RELAXED);
	}
}

static void what_is_withdrawn_is_unused_after_the_wait(void **state)
{
	struct unit_thread threads[READERS];
	bool failed[READERS] = { false };
	struct object *old;
	unsigned long done;
	unsigned int i;

	(void)state;
	fake_sys_reset();
	stop = false;
	published = &objects[0];
	for (i = 0; i < READERS; i++)
		unit_thread_start(&threads[i], read_objects, &failed[i]);
	for (i = 0; i < ROUNDS; i++) {
		old = published;
		__atomic_store_n(&published, &objects[i + 1], __ATOMIC_SEQ_CST);
		gpusvm_grace_wait(&grace);
		old->dead = 1;
		done = __atomic_load_n(&sections_done, __ATOMIC_RELAXED);
		while (__atomic_load_n(&sections_done, __ATOMIC_RELAXED) ==
		       done)
			sched_yield();
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < READERS; i++) {
		unit_thread_join(&threads[i]);
		assert_false(failed[i]);
	}
	assert_empty();
}

#define grace_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		grace_test(wait_without_sections_returns_at_once),
		grace_test(wait_lasts_until_the_section_is_left),
		grace_test(wait_finds_a_section_of_the_other_parity),
		grace_test(wait_is_for_all_who_are_inside),
		grace_test(wait_is_not_for_who_comes_later),
		grace_test(wait_yields_before_it_sleeps),
		grace_test(reset_forgets_sections_that_go_on),
		grace_test(what_is_withdrawn_is_unused_after_the_wait),
	};

	return cmocka_run_group_tests_name("grace", tests, NULL, NULL);
}
