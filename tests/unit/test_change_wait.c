/* SPDX-License-Identifier: MIT */
/*
 * Announced changes and others: migrations that are waited for or wait, new
 * subscriptions, the end of the address space, forked children, many threads.
 */
#include "unit_change.h"
#include "unit_thread.h"

#include <sys/wait.h>

#define SECOND 1000000000ul
#define MS 1000000ul

/* ---- A source of its own, for an address space that is opened for real ---- */

int __wrap_gpusvm_source_open(enum gpusvm_source wanted,
			      struct source **source);

int __wrap_gpusvm_source_open(enum gpusvm_source wanted, struct source **source)
{
	(void)wanted;
	*source = &fake->source;
	return 0;
}

/* ---- A clock of the test's: sleeping makes it go on ---- */

static unsigned long clock_ns;
static unsigned long slept_ns;
static unsigned int naps;
static unsigned int nap_of_action;
static void (*action)(void);

static bool nap(const unsigned long *args, long *ret)
{
	(void)ret;
	clock_ns += args[0] ? args[0] : 1000;
	slept_ns += args[0];
	if (++naps == nap_of_action)
		action();
	return true;
}

/* Do it while somebody waits for the @nth time. */
static void at_nap(unsigned int nth, void (*fn)(void))
{
	clock_ns = 5 * SECOND;
	slept_ns = 0;
	naps = 0;
	nap_of_action = nth;
	action = fn;
	fake_sys_clock(&clock_ns, 0);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, nap);
	fake_sys_hook(FAKE_SYS_YIELD, nap);
}

static struct gpusvm_change change;

static void begin(enum mmu_notifier_event event, unsigned long first,
		  unsigned long n)
{
	gpusvm_change_begin(&change, event, window(first), bytes(n));
}

static void end_it(void)
{
	gpusvm_change_end(&change, false);
}

/* ---- Migrations to the device that go on ---- */

static void start_migration(unsigned long first)
{
	assert_int_equal(migrate_home(FIRST, N), N);
	fake_fill(window(first), N, 2);
	take_device_pages();
	assert_int_equal(gpusvm_migrate_out_begin(&m, fake_addr(fake, first)),
			 0);
}

static void finish_migration(void)
{
	/* Nobody has been told yet: the device may go on until then. */
	assert_string_equal(trace, "");
	copy_to_device();
	assert_int_equal(gpusvm_migrate_out_commit(&m), 0);
}

static void begin_waits_for_a_migration_to_the_device(void **state)
{
	(void)state;
	start_migration(20);
	at_nap(7, finish_migration);
	begin(MMU_NOTIFY_UNMAP, 20 + N - 1, 1);
	assert_int_equal(naps, 7);
	assert_string_equal(trace, "U");
	assert_on_device(20 + N - 1, N - 1);
	gpusvm_change_end(&change, true);
	assert_freed(N - 1, 1);
	assert_int_equal(log_warnings, 0);
}

static void end_change(void *arg)
{
	(void)arg;
	gpusvm_change_end(&change, false);
}

static bool is_near(void)
{
	return gpusvm_change_is_near(mm, fake_addr(fake, FIRST),
				     fake_addr(fake, FIRST + N));
}

/* Or the event would be told a second time. */
static void end_waits_for_who_reads_the_event(void **state)
{
	struct unit_thread thread;

	(void)state;
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	gpusvm_down_write(&mm->event_lock);
	unit_thread_start(&thread, end_change, NULL);
	unit_thread_settle(&thread);
	assert_false(unit_thread_done(&thread));
	assert_true(is_near());
	gpusvm_up_write(&mm->event_lock);
	unit_thread_join(&thread);
	assert_false(is_near());
	assert_string_equal(trace, "U.");
}

static void begin_waits_a_second_at_most(void **state)
{
	(void)state;
	start_migration(20);
	at_nap(0, NULL);
	begin(MMU_NOTIFY_UNMAP, 20, N);
	assert_true(slept_ns >= SECOND);
	assert_true(slept_ns < SECOND + MS);
	assert_int_equal(log_warnings, 1);
	assert_string_equal(trace, "U");
	gpusvm_change_end(&change, false);
	forget_record();
	finish_migration();
}

static void begin_does_not_wait_for_migrations_elsewhere(void **state)
{
	(void)state;
	start_migration(20);
	at_nap(1, NULL);
	nap_of_action = 0;
	begin(MMU_NOTIFY_UNMAP, 20 - 4, 4);
	end_it();
	begin(MMU_NOTIFY_UNMAP, 20 + N, 4);
	end_it();
	assert_int_equal(naps, 0);
	forget_record();
	finish_migration();
}

/* What comes home follows the mapping; the CPU could be waiting for it. */
static void begin_does_not_wait_for_a_migration_home(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_migrate_home_begin(&m, fake_addr(fake, FIRST),
						   fake_addr(fake, FIRST + N)),
			 N);
	at_nap(0, NULL);
	begin(MMU_NOTIFY_UNMAP, FIRST, N);
	assert_int_equal(naps, 0);
	gpusvm_change_end(&change, true);
	copy_to_ram();
	/* It finds its entries gone. */
	assert_int_equal(gpusvm_migrate_home_commit(&m), 0);
	assert_nothing_on_device();
}

static unsigned int looks;
static unsigned int end_at_look;

/* Each look at the clock takes a millisecond, which is how long it waits. */
static bool look_at_clock(const unsigned long *args, long *ret)
{
	(void)args;
	clock_ns += MS;
	*ret = (long)clock_ns;
	if (++looks == end_at_look)
		end_it();
	return true;
}

static void look_slowly(unsigned int end_at)
{
	looks = 0;
	end_at_look = end_at;
	clock_ns = 5 * SECOND;
	fake_sys_hook(FAKE_SYS_NOW_NS, look_at_clock);
}

static void migration_that_begins_during_a_change_waits(void **state)
{
	(void)state;
	assert_int_equal(migrate_home(FIRST, N), N);
	begin(MMU_NOTIFY_CLEAR, 20 + N - 1, 4);
	look_slowly(20);
	fake_fill(window(20), N, 2);
	assert_int_equal(migrate_out(20), 0);
	assert_true(looks >= 20);
	assert_on_device(20, 0);
	assert_true(fake_matches(device_memory(0), N, 2));
}

static void migration_waits_a_second_at_most(void **state)
{
	(void)state;
	assert_int_equal(migrate_home(FIRST, N), N);
	begin(MMU_NOTIFY_CLEAR, 20, 1);
	look_slowly(0);
	fake_fill(window(20), N, 2);
	assert_int_equal(migrate_out(20), -EBUSY);
	assert_true(looks >= 300);
	assert_nothing_on_device();
	end_it();
	assert_true(fake_matches(window(20), N, 2));
	/* Beside it nothing waits. */
	begin(MMU_NOTIFY_CLEAR, 20 + N, 1);
	looks = 0;
	assert_int_equal(migrate_out(20), 0);
	assert_true(looks < 10);
	end_it();
}

/* ---- Waiting for changes ---- */

static void wait_lasts_until_nothing_changes(void **state)
{
	unsigned long start = fake_addr(fake, 20), end = fake_addr(fake, 24);

	(void)state;
	begin(MMU_NOTIFY_CLEAR, 20, 4);
	at_nap(5, end_it);
	assert_int_equal(gpusvm_change_wait(mm, 0, start), 0);
	assert_int_equal(gpusvm_change_wait(mm, end, ~0ul), 0);
	assert_int_equal(naps, 0);
	assert_int_equal(gpusvm_change_wait(mm, start, end), 0);
	assert_int_equal(naps, 5);
	assert_int_equal(gpusvm_change_wait(mm, start, end), 0);
	assert_int_equal(naps, 5);
}

static void wait_gives_up_after_ten_seconds(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_CLEAR, 20, 4);
	at_nap(0, NULL);
	assert_int_equal(gpusvm_change_wait(mm, 0, ~0ul), -EBUSY);
	assert_true(slept_ns >= 10 * SECOND);
	assert_true(slept_ns < 11 * SECOND);
	end_it();
}

static void subscribing_waits_for_calls_that_concerned_nobody(void **state)
{
	struct mmu_interval_notifier late;
	unsigned long beside = fake_addr(fake, WINDOW + 4);

	(void)state;
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, (void *)beside,
			    PAGE_SIZE);
	assert_null(change.priv);
	at_nap(4, end_it);
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(
				 &late, mm, beside, PAGE_SIZE, &note_ops),
			 0);
	assert_int_equal(naps, 4);
	/* The next call sees it. */
	gpusvm_change_begin(&change, MMU_NOTIFY_UNMAP, (void *)beside,
			    PAGE_SIZE);
	assert_string_equal(trace, "U");
	end_it();
	gpusvm_mmu_interval_notifier_remove(&late);
}

/* Their callbacks might want what the subscriber holds. */
static void subscribing_does_not_wait_for_what_was_announced(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_CLEAR, 20, 4);
	at_nap(0, NULL);
	gpusvm_change_subscribed();
	assert_int_equal(naps, 0);
	end_it();
}

static void subscribing_waits_for_calls_without_memory(void **state)
{
	(void)state;
	no_memory = true;
	begin(MMU_NOTIFY_CLEAR, 20, 4);
	no_memory = false;
	assert_null(change.priv);
	at_nap(3, end_it);
	gpusvm_change_subscribed();
	assert_int_equal(naps, 3);
}

static struct gpusvm_change bare;

static void end_bare(void)
{
	gpusvm_change_end(&bare, false);
	nap_of_action = naps + 3;
	action = end_it;
}

static void drain_waits_for_both_kinds(void **state)
{
	(void)state;
	gpusvm_change_begin(&bare, MMU_NOTIFY_UNMAP, NULL, 0);
	begin(MMU_NOTIFY_CLEAR, 20, 4);
	at_nap(4, end_bare);
	gpusvm_change_drain(mm);
	assert_int_equal(naps, 7);
	assert_null(mm->changes);
	gpusvm_change_drain(mm);
	assert_int_equal(naps, 7);
}

static struct unit_thread waiter;

static void wait_for_events(void *arg)
{
	(void)arg;
	gpusvm_handler_wait(mm);
}

/* The first page of the change is about to be free. */
static void look_whether_somebody_waits(void)
{
	owner.put = NULL;
	unit_thread_start(&waiter, wait_for_events, NULL);
	unit_thread_settle(&waiter);
	assert_false(unit_thread_done(&waiter));
}

/* Who needs device pages that nobody has any more waits until they are free. */
static void pages_of_an_untold_change_are_waited_for(void **state)
{
	(void)state;
	begin(MMU_NOTIFY_CLEAR, FIRST, N);
	fake_sys_reset();
	owner.put = look_whether_somebody_waits;
	gpusvm_change_end(&change, true);
	unit_thread_join(&waiter);
	assert_freed(0, N);
}

/* ---- An address space that is opened for real ---- */

static struct mm_struct *opened;
static struct mmu_interval_notifier in_real;

static void open_real(void)
{
	fake_sys_reset();
	quiet = true;
	source_tells = true; /* handler threads call, too */
	assert_int_equal(gpusvm_mm_open(&opened, NULL), 0);
	current_is_real = true;
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(
				 &in_real, opened, fake->start,
				 WINDOW << PAGE_SHIFT, &note_ops),
			 0);
	gpusvm_mm_grab(opened);
}

static void close_real(void *arg)
{
	(void)arg;
	if (gpusvm_mm_close(opened))
		abort();
}

static void forget_real(void)
{
	gpusvm_mmu_interval_notifier_remove(&in_real);
	gpusvm_mm_drop(opened);
	current_is_real = false;
}

static void close_waits_for_changes(void **state)
{
	struct unit_thread closer;

	(void)state;
	open_real();
	begin(MMU_NOTIFY_UNMAP, 20, 4);
	assert_non_null(change.priv);
	gpusvm_change_begin(&bare, MMU_NOTIFY_UNMAP, NULL, 0);
	unit_thread_start(&closer, close_real, NULL);
	while (gpusvm_mm_current())
		sched_yield();
	unit_thread_settle(&closer);
	assert_false(unit_thread_done(&closer));
	gpusvm_change_end(&bare, true);
	unit_thread_settle(&closer);
	assert_false(unit_thread_done(&closer));
	/* New ones are bare already. */
	gpusvm_change_begin(&bare, MMU_NOTIFY_UNMAP, window(20), PAGE_SIZE);
	assert_null(bare.priv);
	gpusvm_change_end(&bare, true);
	gpusvm_change_end(&change, true);
	unit_thread_join(&closer);
	forget_real();
}

static void wait_for_child(pid_t pid)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A signal handler of the thread forked: nothing of the changes is left. */
static void child_of_a_thread_in_a_change_is_free(void **state)
{
	pid_t pid;

	(void)state;
	open_real();
	begin(MMU_NOTIFY_UNMAP, 20, 4);
	gpusvm_change_begin(&bare, MMU_NOTIFY_UNMAP, NULL, 0);
	pid = fork();
	if (!pid) {
		alarm(UNIT_WAIT_S);
		gpusvm_change_end(&bare, true);
		gpusvm_change_end(&change, true);
		begin(MMU_NOTIFY_UNMAP, 20, 4);
		if (change.priv)
			_exit(1);
		gpusvm_change_end(&change, true);
		/* It may have an address space of its own. */
		gpusvm_change_subscribed();
		_exit(0);
	}
	gpusvm_change_end(&bare, true);
	gpusvm_change_end(&change, true);
	wait_for_child(pid);
	close_real(NULL);
	forget_real();
}

static void stay_inside(void *arg)
{
	struct gpusvm_change inside;
	int *phase = arg;

	gpusvm_change_begin(&inside, MMU_NOTIFY_UNMAP, NULL, 0);
	__atomic_store_n(phase, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(phase, __ATOMIC_ACQUIRE) != 2)
		sched_yield();
	gpusvm_change_end(&inside, false);
}

/* Also before any address space is open. */
static void child_does_not_wait_for_its_parents_threads(void **state)
{
	struct unit_thread thread;
	int phase = 0;
	pid_t pid;

	(void)state;
	fake_sys_reset();
	current = NULL;
	unit_thread_start(&thread, stay_inside, &phase);
	while (__atomic_load_n(&phase, __ATOMIC_ACQUIRE) != 1)
		sched_yield();
	pid = fork();
	if (!pid) {
		alarm(UNIT_WAIT_S);
		gpusvm_change_subscribed();
		_exit(0);
	}
	wait_for_child(pid);
	__atomic_store_n(&phase, 2, __ATOMIC_RELEASE);
	unit_thread_join(&thread);
	current = mm;
}

/* ---- Many threads ---- */

#define THREADS 4
#define ROUNDS 500

static uint64_t seed;

static bool count_invalidate(struct mmu_interval_notifier *notifier,
			     const struct mmu_notifier_range *range,
			     unsigned long cur_seq)
{
	gpusvm_mmu_interval_set_seq(notifier, cur_seq);
	(void)range;
	__atomic_fetch_add(&times_told, 1, __ATOMIC_RELAXED);
	return true;
}

static const struct mmu_interval_notifier_ops count_ops = {
	.invalidate = count_invalidate,
};

/* Each has memory of its own, and now and then changes that of all. */
static void change_at_random(void *arg)
{
	struct gpusvm_change mine, all;
	uint64_t random = seed + (unsigned long)arg;
	unsigned long first = 8 * (unsigned long)arg, at;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		at = first + unit_random_below(&random, 8);
		if (!unit_random_below(&random, 4))
			gpusvm_change_begin(&all, MMU_NOTIFY_PROTECTION_VMA,
					    window(0), bytes(WINDOW));
		else
			gpusvm_change_begin(&all, MMU_NOTIFY_CLEAR, NULL, 0);
		gpusvm_change_begin(&mine, MMU_NOTIFY_CLEAR, window(at),
				    PAGE_SIZE);
		gpusvm_change_end(&mine, true);
		gpusvm_change_end(&all, true);
	}
}

static void threads_change_in_parallel(void **state)
{
	struct mmu_interval_notifier late;
	struct unit_thread threads[THREADS];
	unsigned long i, seq;

	(void)state;
	fake_sys_reset();
	quiet = true;
	gpusvm_mmu_interval_notifier_remove(&subscription);
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(
				 &subscription, mm, fake->start,
				 WINDOW << PAGE_SHIFT, &count_ops),
			 0);
	for (i = 0; i < THREADS; i++)
		unit_thread_start(&threads[i], change_at_random, (void *)i);
	for (i = 0; i < 50; i++) {
		assert_int_equal(gpusvm_mmu_interval_notifier_insert(
					 &late, mm, fake->start, PAGE_SIZE,
					 &count_ops),
				 0);
		seq = gpusvm_mmu_interval_read_begin(&late);
		(void)gpusvm_mmu_interval_read_retry(&late, seq);
		gpusvm_mmu_interval_notifier_remove(&late);
	}
	for (i = 0; i < THREADS; i++)
		unit_thread_join(&threads[i]);
	assert_true(times_told >= THREADS * ROUNDS);
	assert_true(mm->stats.events >= THREADS * ROUNDS);
	/* Thread 1 had the device's pages. */
	assert_true(mm->pt.npages < N);
	times_told = 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		change_test(begin_waits_for_a_migration_to_the_device),
		change_test(begin_waits_a_second_at_most),
		change_test(end_waits_for_who_reads_the_event),
		change_test(begin_does_not_wait_for_migrations_elsewhere),
		change_test(begin_does_not_wait_for_a_migration_home),
		change_test(migration_that_begins_during_a_change_waits),
		change_test(migration_waits_a_second_at_most),
		change_test(wait_lasts_until_nothing_changes),
		change_test(wait_gives_up_after_ten_seconds),
		change_test(subscribing_waits_for_calls_that_concerned_nobody),
		change_test(subscribing_does_not_wait_for_what_was_announced),
		change_test(subscribing_waits_for_calls_without_memory),
		change_test(drain_waits_for_both_kinds),
		change_test(pages_of_an_untold_change_are_waited_for),
		change_test(close_waits_for_changes),
		change_test(child_of_a_thread_in_a_change_is_free),
		change_test(child_does_not_wait_for_its_parents_threads),
		change_test(threads_change_in_parallel),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("change_wait", tests, NULL, NULL);
}
