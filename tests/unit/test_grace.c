/* SPDX-License-Identifier: MIT */
/*
 * Grace periods: who was inside is waited for, whatever half it is counted in,
 * and nobody else is; a forked child waits for nobody.
 *
 * All of it twice: with counts for each thread, and with shared ones, as where
 * membarrier() is not to be had.
 */
#include "unit_thread.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "fake_sys.h"
#include "grace.h"

static struct grace grace;
static bool with_slots;

static bool refuse(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = -EPERM;
	return true;
}

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
	if (!with_slots)
		fake_sys_hook(FAKE_SYS_MEMBARRIER, refuse);
	gpusvm_grace_reset(&grace);
	grace.generation = 0;
	fake_sys_hook(FAKE_SYS_MEMBARRIER, NULL);
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

static unsigned long inside(unsigned int parity)
{
	unsigned long sum;
	unsigned int i;

	sum = grace.shared.entered[parity] - grace.shared.left[parity];
	for (i = 0; i < GRACE_SLOTS; i++)
		sum += grace.thread[i].entered[parity] -
		       grace.thread[i].left[parity];
	return sum;
}

static void assert_empty(void)
{
	assert_int_equal(inside(0), 0);
	assert_int_equal(inside(1), 0);
}

/* What @fn does on a thread of its own. */
static void on_a_thread(void (*fn)(void *arg), void *arg)
{
	struct unit_thread thread;

	unit_thread_start(&thread, fn, arg);
	unit_thread_join(&thread);
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
	assert_int_equal(inside(0) + inside(1), 1);
	gpusvm_grace_leave(&grace, ours);
	assert_int_equal(inside(0) + inside(1), 1);
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
	unsigned int entered, i;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		entered = gpusvm_grace_enter(&grace);
		object = __atomic_load_n(&published, __ATOMIC_SEQ_CST);
		for (i = 0; i < 20; i++)
			if (object->dead)
				*failed = true;
		gpusvm_grace_leave(&grace, entered);
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
	memset(objects, 0, sizeof(objects));
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

/* ---- Slots ---- */

static void leave(void *arg)
{
	gpusvm_grace_leave(&grace, *(unsigned int *)arg);
}

static void section_may_be_left_by_another_thread(void **state)
{
	unsigned int i, mine;

	(void)state;
	for (i = 0; i < 3; i++) {
		mine = gpusvm_grace_enter(&grace);
		on_a_thread(leave, &mine);
		assert_empty();
		gpusvm_grace_wait(&grace);
	}
	assert_int_equal(looks(), 0);
}

/* A section, and which slot it was counted in. */
static void pass(void *arg)
{
	unsigned int *slot = arg;

	gpusvm_grace_leave(&grace, gpusvm_grace_enter(&grace));
	*slot = gpusvm_grace_slot;
}

static void slots_of_ended_threads_are_taken_again(void **state)
{
	unsigned int i, slot;

	(void)state;
	for (i = 0; i < 2 * GRACE_SLOTS; i++) {
		on_a_thread(pass, &slot);
		assert_in_range(slot, 1, GRACE_SLOTS);
	}
	assert_empty();
	gpusvm_grace_wait(&grace);
	assert_int_equal(looks(), 0);
}

#define CROWD (GRACE_SLOTS + 8)

static struct unit_thread crowd[CROWD];
static unsigned int crowd_inside;
static unsigned int crowd_without_slot;

static void enter_until_told(void *arg)
{
	unsigned int entered = gpusvm_grace_enter(&grace);

	(void)arg;
	if (gpusvm_grace_slot > GRACE_SLOTS)
		__atomic_fetch_add(&crowd_without_slot, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&crowd_inside, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
		sched_yield();
	gpusvm_grace_leave(&grace, entered);
}

static void threads_beyond_the_slots_share(void **state)
{
	unsigned int i;

	(void)state;
	crowd_inside = crowd_without_slot = 0;
	stop = false;
	for (i = 0; i < CROWD; i++)
		unit_thread_start(&crowd[i], enter_until_told, NULL);
	unit_wait_until(__atomic_load_n(&crowd_inside, __ATOMIC_ACQUIRE) ==
			CROWD);
	assert_int_equal(crowd_without_slot, CROWD - GRACE_SLOTS);
	assert_int_equal(inside(0), CROWD);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	fake_sys_hook(FAKE_SYS_YIELD, NULL);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, NULL);
	gpusvm_grace_wait(&grace);
	assert_empty();
	for (i = 0; i < CROWD; i++)
		unit_thread_join(&crowd[i]);
}

static void wait_does_with_membarrier_forbidden_later(void **state)
{
	(void)state;
	section = gpusvm_grace_enter(&grace);
	fake_sys_hook(FAKE_SYS_MEMBARRIER, refuse);
	looks_left = 60;
	gpusvm_grace_wait(&grace);
	assert_int_equal(looks_left, 0);
	assert_empty();
}

static void wait_makes_a_barrier_for_slots_only(void **state)
{
	(void)state;
	fake_sys_reset();
	gpusvm_grace_leave(&grace, gpusvm_grace_enter(&grace));
	gpusvm_grace_wait(&grace);
	assert_int_equal(fake_sys_calls(FAKE_SYS_MEMBARRIER),
			 with_slots ? 2 : 0);
}

/* As after vfork() or a bare clone(): the others' slots are not ours there. */
static void child_that_was_not_told_of_gets_no_slot(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		gpusvm_grace_slot = 0;
		_exit(gpusvm_grace_claim() != GRACE_SLOTS + 1 ||
		      gpusvm_grace_slot);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- In the middle of an addition ---- */

#define SIGNALS 3000u

static unsigned int signals_taken;

static void pass_in_handler(int sig)
{
	(void)sig;
	gpusvm_grace_leave(&grace, gpusvm_grace_enter(&grace));
	__atomic_fetch_add(&signals_taken, 1, __ATOMIC_RELAXED);
}

static void send_signals(void *arg)
{
	unsigned int i;

	for (i = 0; i < SIGNALS; i++)
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
}

static void signal_handlers_lose_no_count(void **state)
{
	const struct sigaction action = { .sa_handler = pass_in_handler };
	struct unit_thread thread;
	struct sigaction before;
	pthread_t self = pthread_self();

	(void)state;
	signals_taken = 0;
	assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
	unit_thread_start(&thread, send_signals, &self);
	while (!unit_thread_done(&thread))
		gpusvm_grace_leave(&grace, gpusvm_grace_enter(&grace));
	unit_thread_join(&thread);
	assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
	assert_true(signals_taken > 0);
	assert_empty();
}

#define grace_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static const struct CMUnitTest tests[] = {
	grace_test(wait_without_sections_returns_at_once),
	grace_test(wait_lasts_until_the_section_is_left),
	grace_test(wait_finds_a_section_of_the_other_parity),
	grace_test(wait_is_for_all_who_are_inside),
	grace_test(wait_is_not_for_who_comes_later),
	grace_test(wait_yields_before_it_sleeps),
	grace_test(wait_makes_a_barrier_for_slots_only),
	grace_test(reset_forgets_sections_that_go_on),
	grace_test(section_may_be_left_by_another_thread),
	grace_test(signal_handlers_lose_no_count),
	grace_test(what_is_withdrawn_is_unused_after_the_wait),
};

static const struct CMUnitTest tests_of_slots[] = {
	grace_test(slots_of_ended_threads_are_taken_again),
	grace_test(threads_beyond_the_slots_share),
	grace_test(wait_does_with_membarrier_forbidden_later),
	grace_test(child_that_was_not_told_of_gets_no_slot),
};

int main(void)
{
	int failed = cmocka_run_group_tests_name("grace, shared counts", tests,
						 NULL, NULL);

	gpusvm_grace_start();
	if (gpusvm_grace_claim() > GRACE_SLOTS) {
		printf("no counts for each thread: no membarrier(), or the "
		       "thread sanitizer, which does not know it\n");
		return failed;
	}
	with_slots = true;
	failed += cmocka_run_group_tests_name("grace, counts for each thread",
					      tests, NULL, NULL);
	return failed + cmocka_run_group_tests_name("grace, slots",
						    tests_of_slots, NULL, NULL);
}
