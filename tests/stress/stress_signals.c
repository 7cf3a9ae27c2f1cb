/* SPDX-License-Identifier: MIT */
/*
 * A signal handler changes memory while the code that it interrupts does so,
 * too, and touches what that code changes: nobody waits for what his own thread
 * holds.
 *
 * GPUSVM_STRESS_SECONDS: how long, both tests together (2).
 */
#include "fake_driver.h"

#include <gpusvm/hooks.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#define DEFAULT_SECONDS 2
#define TESTS 2
/* What must come to pass in any case. */
#define LEAST 50

static struct {
	struct fake_driver *d;
	/* Of the thread, and of its signal handler. */
	unsigned char *mem;
	unsigned char *handlers;
	bool stop;
	unsigned int failed;
	unsigned long changes;
	unsigned long signals;
} s;

static unsigned long get(unsigned long *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void handle(int signal)
{
	int saved = errno;

	(void)signal;
	/* What was interrupted may be dropping that very page. */
	(void)*(volatile unsigned char *)s.mem;
	if (gpusvm_madvise(s.handlers, PS, MADV_DONTNEED) ||
	    gpusvm_mprotect(s.handlers, PS, PROT_READ) ||
	    gpusvm_mprotect(s.handlers, PS, PROT_READ | PROT_WRITE) ||
	    gpusvm_mmap(s.handlers, PS, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			0) != s.handlers)
		__atomic_fetch_add(&s.failed, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&s.signals, 1, __ATOMIC_RELAXED);
	errno = saved;
}

static void *change_all_the_time(void *arg)
{
	sigset_t set;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (!__atomic_load_n(&s.stop, __ATOMIC_ACQUIRE)) {
		if (gpusvm_madvise(s.mem, SZ_64K, MADV_DONTNEED) ||
		    gpusvm_mmap(s.mem, SZ_64K, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
				0) != s.mem)
			__atomic_fetch_add(&s.failed, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&s.changes, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* A deadlock cannot be cleaned up. */
static void give_up(void)
{
	print_error("no progress: %lu changes, %lu signals\n", s.changes,
		    s.signals);
	_Exit(EXIT_FAILURE);
}

static void run(bool migrate)
{
	struct sigaction action = { .sa_handler = handle }, old;
	struct test_area *area = test_area_reserve(SZ_1M, SZ_1M);
	unsigned long end, changes, signals;
	unsigned int round = 0;
	sigset_t set;
	pthread_t thread;

	if (test_others_map())
		test_skip("the thread sanitizer delays signals");
	s.d = fake_driver_create(NULL);
	s.mem = test_area_anon(area, 0, SZ_64K);
	s.handlers = test_area_anon(area, SZ_1M / 2, SZ_64K);
	s.stop = false;
	s.changes = s.signals = 0;
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	/* Only the one thread is interrupted. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	test_thread_start(&thread, change_all_the_time, NULL);

	end = test_now_ms() + test_stress_ms(DEFAULT_SECONDS) / TESTS;
	while (test_now_ms() < end || get(&s.signals) < LEAST) {
		char byte = 1;

		/* A device is interested all the time. */
		if (round++ % 16 == 0) {
			unsigned int flags = migrate ? FAKE_ACCESS_MIGRATE : 0;

			fake_access(s.d, s.mem, &byte, 1, flags);
			fake_access(s.d, s.handlers, &byte, 1, flags);
		}
		signals = get(&s.signals);
		changes = get(&s.changes);
		pthread_kill(thread, SIGUSR1);
		if (!test_wait_for(get(&s.signals) > signals, TEST_WAIT_MS) ||
		    !test_wait_for(get(&s.changes) > changes, TEST_WAIT_MS))
			give_up();
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
	test_thread_join(thread);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	sigaction(SIGUSR1, &old, NULL);
	print_message("%lu changes, %lu signals\n", s.changes, s.signals);
	assert_int_equal(s.failed, 0);
	fake_driver_destroy(s.d);
}

static void signals_system_memory(void **state)
{
	(void)state;
	run(false);
}

static void signals_device_memory(void **state)
{
	(void)state;
	run(true);
}

static const struct CMUnitTest tests[] = {
	conf_test(signals_system_memory),
	conf_test(signals_device_memory),
};

_Static_assert(sizeof(tests) / sizeof(*tests) == TESTS, "time for each");

CONF_MAIN(tests)
