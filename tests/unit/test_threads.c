/* SPDX-License-Identifier: MIT */
/*
 * The other threads of the process: that all of them are seen, and what of
 * their CPU time, state and system call says that they have got on.
 *
 * What the kernel says of a thread is made up in most tests, which have no
 * other way to meet a thread that is runnable and does not run.
 */
#include "unit_thread.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "compiler.h"
#include "fake_sys.h"
#include "sys.h"
#include "threads.h"

#define TID 4711
#define MARKS 64ul
#define NEVER_NS (1ul << 60)

/* ---- What the kernel says ---- */

static char stat_text[128], syscall_text[128];
static long cpu_ns;

static bool tell_cpu_ns(const unsigned long *args, long *ret)
{
	*ret = args[0] == TID ? cpu_ns : -EINVAL;
	return true;
}

static unsigned int released;
static unsigned long rounds;

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	__atomic_store_n(&released, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&rounds, 0, __ATOMIC_RELAXED);
	return 0;
}

static void write_state(char letter)
{
	snprintf(stat_text, sizeof(stat_text),
		 "%d (name) %c 1 4711 4711 0 -1 4194304 0", TID, letter);
}

static void write_syscall(long number)
{
	snprintf(syscall_text, sizeof(syscall_text),
		 "%ld 0x7f0000000000 0x1000 0x4 0x0 0x0 0x0 0x7ffd 0x7f11\n",
		 number);
}

/* One other thread, all made up, that is runnable and used no time since. */
static int setup_fake(void **state)
{
	setup(state);
	cpu_ns = 1000;
	write_state('R');
	write_syscall(SYS_read);
	fake_sys_hook(FAKE_SYS_THREAD_CPU_NS, tell_cpu_ns);
	fake_sys_file("/proc/self/task/4711/stat", stat_text);
	fake_sys_file("/proc/self/task/4711/syscall", syscall_text);
	return 0;
}

static const struct thread_mark fake_mark = { .tid = TID, .cpu_ns = 1000 };

static bool got_on(void)
{
	return gpusvm_thread_got_on(&fake_mark, 500);
}

/* ---- Real threads ---- */

#define THREADS 4u

static struct unit_thread threads[THREADS];

static void wait_for_release(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&released, __ATOMIC_ACQUIRE))
		gpusvm_sys_futex_wait(&released, 0, NULL);
}

static void spin_until_released(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&released, __ATOMIC_ACQUIRE))
		__atomic_fetch_add(&rounds, 1, __ATOMIC_RELEASE);
}

static void start(unsigned int first, unsigned int n)
{
	unsigned int i;

	for (i = first; i < first + n; i++)
		unit_thread_start(&threads[i], wait_for_release, NULL);
	for (i = first; i < first + n; i++)
		unit_thread_settle(&threads[i]);
}

static void release(unsigned int n)
{
	unsigned int i;

	__atomic_store_n(&released, 1, __ATOMIC_RELEASE);
	gpusvm_sys_futex_wake(&released, INT_MAX);
	for (i = 0; i < n; i++)
		unit_thread_join(&threads[i]);
}

/* ---- Marking ---- */

static unsigned int times_marked(const struct thread_mark *marks, long n,
				 pid_t tid)
{
	unsigned int times = 0;
	long i;

	for (i = 0; i < n; i++)
		times += marks[i].tid == tid;
	return times;
}

/* Of a thread that sleeps: the time is the same still. */
static void assert_marked_with_time(const struct thread_mark *marks, long n,
				    pid_t tid)
{
	long i, used = gpusvm_sys_thread_cpu_ns(tid);

	assert_true(used > 0);
	for (i = 0; i < n; i++)
		if (marks[i].tid == tid)
			assert_int_equal(marks[i].cpu_ns, used);
}

/* A sanitizer may have a thread of its own as soon as there are two. */
static void mark_counts_every_thread_but_the_caller(void **state)
{
	struct thread_mark marks[MARKS];
	unsigned int i;
	long before, n;

	(void)state;
	start(0, 1);
	before = gpusvm_threads_mark(marks, MARKS);
	assert_in_range(before, 1, 2);
	start(1, THREADS - 1);
	n = gpusvm_threads_mark(marks, MARKS);
	assert_int_equal(n, before + THREADS - 1);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(times_marked(marks, n, threads[i].tid), 1);
	assert_int_equal(times_marked(marks, n, gettid()), 0);
	assert_marked_with_time(marks, n, threads[0].tid);
	release(THREADS);
}

static void *own_tid(void *arg)
{
	*(bool *)arg = gpusvm_threads_self() == gettid() &&
		       gpusvm_threads_self() == gettid();
	return NULL;
}

static void thread_knows_itself(void **state)
{
	bool right = false;
	pthread_t thread;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(gpusvm_threads_self(), gettid());
	assert_int_equal(pthread_create(&thread, NULL, own_tid, &right), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(right);
	child = fork();
	if (!child) {
		gpusvm_threads_forget_self();
		_exit(gpusvm_threads_self() != gettid());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void mark_of_more_than_fit_counts_all(void **state)
{
	struct thread_mark marks[2] = { { .tid = 1 }, { .tid = 1 } };
	long n;

	(void)state;
	start(0, THREADS);
	n = gpusvm_threads_mark(NULL, 0);
	assert_true(n >= THREADS);
	assert_int_equal(gpusvm_threads_mark(marks, 1), n);
	assert_int_not_equal(marks[0].tid, 1);
	assert_int_equal(marks[1].tid, 1);
	release(THREADS);
}

/* As the kernel lays out an entry. */
static unsigned long put_entry(char *buf, unsigned long at, const char *name)
{
	unsigned short length =
		(unsigned short)ALIGN_UP(8 + 8 + 2 + 1 + strlen(name) + 1, 8);

	memset(buf + at, 0, length);
	memcpy(buf + at + 16, &length, sizeof(length));
	strcpy(buf + at + 19, name);
	return at + length;
}

static unsigned int pieces;

/* In two pieces, with entries that are not threads, and the caller. */
static bool list_pieces(const unsigned long *args, long *ret)
{
	char *buf = (char *)args[1], self[16];
	unsigned long len = 0;

	snprintf(self, sizeof(self), "%d", (int)gettid());
	switch (pieces++) {
	case 0:
		len = put_entry(buf, len, ".");
		len = put_entry(buf, len, "..");
		len = put_entry(buf, len, "11");
		len = put_entry(buf, len, self);
		break;
	case 1:
		len = put_entry(buf, len, "4194303");
		len = put_entry(buf, len, "12a");
		len = put_entry(buf, len, "13");
		break;
	}
	*ret = (long)len;
	return true;
}

static bool tell_tid_as_cpu_ns(const unsigned long *args, long *ret)
{
	*ret = args[0] == 13 ? -EINVAL : 100 * (long)args[0];
	return true;
}

static void mark_reads_the_list_to_its_end(void **state)
{
	struct thread_mark marks[MARKS];

	(void)state;
	pieces = 0;
	fake_sys_hook(FAKE_SYS_GETDENTS64, list_pieces);
	fake_sys_hook(FAKE_SYS_THREAD_CPU_NS, tell_tid_as_cpu_ns);
	assert_int_equal(gpusvm_threads_mark(marks, MARKS), 3);
	assert_int_equal(pieces, 3);
	assert_int_equal(marks[0].tid, 11);
	assert_int_equal(marks[0].cpu_ns, 1100);
	assert_int_equal(marks[1].tid, 4194303);
	assert_int_equal(marks[1].cpu_ns, 419430300);
	/* It ended in between. */
	assert_int_equal(marks[2].tid, 0);
	assert_true(gpusvm_thread_got_on(&marks[2], NEVER_NS));
	assert_int_equal(fake_sys_calls(FAKE_SYS_CLOSE), 1);
}

static void mark_without_proc_returns_errno(void **state)
{
	struct thread_mark marks[MARKS];

	(void)state;
	fake_sys_fail(FAKE_SYS_OPEN, -EMFILE, 1);
	assert_int_equal(gpusvm_threads_mark(marks, MARKS), -EMFILE);
	assert_int_equal(fake_sys_calls(FAKE_SYS_CLOSE), 0);
	fake_sys_fail(FAKE_SYS_GETDENTS64, -EACCES, 1);
	assert_int_equal(gpusvm_threads_mark(marks, MARKS), -EACCES);
	/* A part is no answer either. */
	fake_sys_fail(FAKE_SYS_GETDENTS64, -EIO, 2);
	assert_int_equal(gpusvm_threads_mark(marks, MARKS), -EIO);
	assert_int_equal(fake_sys_calls(FAKE_SYS_CLOSE), 2);
}

/* ---- Getting on: CPU time ---- */

static void got_on_once_it_has_used_the_time(void **state)
{
	static const struct {
		long cpu_ns;
		bool got_on;
	} cases[] = {
		{ 1000, false }, { 1499, false },    { 1500, true },
		{ 1501, true },	 { 1l << 40, true },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		cpu_ns = cases[i].cpu_ns;
		assert_int_equal(got_on(), cases[i].got_on);
	}
}

/* ---- Getting on: states ---- */

static void got_on_unless_it_runs_or_cannot_be_woken(void **state)
{
	static const char resting[] = "STtZXxI";
	unsigned int i;

	(void)state;
	/* Where it sleeps does not matter: madvise() is no such place. */
	write_syscall(SYS_madvise);
	for (i = 0; resting[i]; i++) {
		write_state(resting[i]);
		assert_true(got_on());
	}
	write_state('R');
	assert_false(got_on());
	write_state('D');
	assert_false(got_on());
}

static void thread_that_does_not_run_is_asleep(void **state)
{
	(void)state;
	assert_false(gpusvm_thread_is_asleep(TID));
	write_state('D');
	assert_true(gpusvm_thread_is_asleep(TID));
	write_state('R');
	fake_sys_fail(FAKE_SYS_OPEN, -EMFILE, 1);
	assert_true(gpusvm_thread_is_asleep(TID));
	fake_sys_fail(FAKE_SYS_OPEN, -ENOENT, 1);
	assert_true(gpusvm_thread_is_asleep(TID));
}

static void who_gives_way_often_sleeps(void **state)
{
	unsigned int attempt;

	(void)state;
	for (attempt = 0; attempt < 20; attempt++)
		gpusvm_threads_give_way(attempt);
	assert_int_equal(fake_sys_calls(FAKE_SYS_YIELD), 16);
	assert_int_equal(fake_sys_calls(FAKE_SYS_NANOSLEEP), 4);
}

static void got_on_is_not_deceived_by_names(void **state)
{
	static const struct {
		const char *stat;
		bool got_on;
	} cases[] = {
		{ "4711 (a) R (b)) S 1 4711", true },
		{ "4711 (a) S (b)) R 1 4711", false },
		{ "4711 () S) R 1 4711", false },
		{ "4711 () R) S 1 4711", true },
		{ "4711 (S S S S) R 1 4711", false },
		{ "4711 (R R R R) S 1 4711", true },
		{ "4711 () R 1 4711", false },
		{ "4711 () S 1 4711", true },
		{ "4711 ()))))))))))))))) R 1 4711", false },
		{ "4711 ()))))))))))))))) S 1 4711", true },
		/* The longest: fifteen characters that take two each. */
		{ "4194303 (\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n) R 1",
		  false },
		{ "4194303 (\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n) S 1",
		  true },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		strcpy(stat_text, cases[i].stat);
		if (got_on() != cases[i].got_on)
			fail_msg("%s", stat_text);
	}
}

/* ---- Getting on: system calls ---- */

static void got_on_if_it_waits_in_another_call(void **state)
{
	static const struct {
		long number;
		bool got_on;
	} cases[] = {
		{ SYS_madvise, false },
		{ SYS_process_madvise, false },
		/* Of the kernel's threads that carry out what it is asked. */
		{ SYS_io_uring_enter, false },
		{ SYS_read, true },
		{ SYS_munmap, true },
		{ SYS_futex, true },
		/* The number is all of the digits. */
		{ SYS_madvise / 10, true },
		{ SYS_madvise * 10 + 1, true },
		{ SYS_process_madvise / 10, true },
	};
	unsigned int i;

	(void)state;
	write_state('D');
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		write_syscall(cases[i].number);
		if (got_on() != cases[i].got_on)
			fail_msg("%s", syscall_text);
	}
}

static void got_on_is_false_if_the_call_is_unknown(void **state)
{
	(void)state;
	write_state('D');
	strcpy(syscall_text, "running\n");
	assert_false(got_on());
	strcpy(syscall_text, "");
	assert_false(got_on());
	write_syscall(SYS_read);
	assert_true(got_on());
	/* The second file that is opened and read. */
	fake_sys_fail(FAKE_SYS_READ, -EPERM, 2);
	assert_false(got_on());
	fake_sys_fail(FAKE_SYS_OPEN, -EACCES, 2);
	assert_false(got_on());
	assert_true(got_on());
	assert_int_equal(fake_sys_calls(FAKE_SYS_CLOSE),
			 fake_sys_calls(FAKE_SYS_OPEN) - 1);
}

static void got_on_is_false_if_the_state_is_unknown(void **state)
{
	(void)state;
	write_state('S');
	fake_sys_fail(FAKE_SYS_OPEN, -EMFILE, 1);
	assert_false(got_on());
	assert_true(got_on());
}

/* ---- Getting on: ended ---- */

static void got_on_if_it_ended(void **state)
{
	static const struct thread_mark nobody;

	(void)state;
	assert_false(got_on());
	cpu_ns = -EINVAL;
	assert_true(got_on());
	/* Each step may be the first to find out. */
	cpu_ns = 1000;
	fake_sys_fail(FAKE_SYS_OPEN, -ENOENT, 1);
	assert_true(got_on());
	fake_sys_fail(FAKE_SYS_READ, -ESRCH, 1);
	assert_true(got_on());
	assert_false(got_on());

	fake_sys_reset();
	assert_true(gpusvm_thread_got_on(&nobody, NEVER_NS));
	assert_int_equal(fake_sys_calls(FAKE_SYS_THREAD_CPU_NS), 0);
}

/* ---- Getting on: real threads ---- */

/* Fields 31 and 32: pending and blocked. */
static void tell_signals(unsigned long pending, unsigned long blocked)
{
	static char text[256], path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat",
		 (int)threads[0].tid);
	snprintf(text, sizeof(text),
		 "1 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 "
		 "20 21 22 23 24 25 26 27 %lu %lu 64 64 0",
		 pending, blocked);
	fake_sys_file(path, text);
}

static void signal_is_seen_if_it_is_pending_and_not_blocked(void **state)
{
	(void)state;
	start(0, 1);
	assert_false(gpusvm_threads_have_signal(SIGBUS));
	tell_signals(1ul << (SIGBUS - 1), 0);
	assert_true(gpusvm_threads_have_signal(SIGBUS));
	assert_false(gpusvm_threads_have_signal(SIGSEGV));
	tell_signals(1ul << (SIGBUS - 1), 1ul << (SIGBUS - 1));
	assert_false(gpusvm_threads_have_signal(SIGBUS));
	tell_signals(0, 0);
	assert_false(gpusvm_threads_have_signal(SIGBUS));
	release(1);
}

static void real_thread_that_sleeps_or_ended_got_on(void **state)
{
	struct thread_mark mark;

	(void)state;
	start(0, 1);
	mark.tid = threads[0].tid;
	mark.cpu_ns = (unsigned long)gpusvm_sys_thread_cpu_ns(mark.tid);
	assert_true(gpusvm_thread_got_on(&mark, NEVER_NS));
	assert_int_equal(fake_sys_calls(FAKE_SYS_OPEN), 1);
	release(1);
	/* The kernel lets it be joined a moment before. */
	unit_wait_until(gpusvm_sys_thread_cpu_ns(mark.tid) < 0);
	assert_true(gpusvm_thread_got_on(&mark, NEVER_NS));
	assert_int_equal(fake_sys_calls(FAKE_SYS_OPEN), 1);
}

static void real_thread_that_runs_gets_on_with_time(void **state)
{
	struct thread_mark mark;

	(void)state;
	unit_thread_start(&threads[0], spin_until_released, NULL);
	unit_wait_until(__atomic_load_n(&rounds, __ATOMIC_ACQUIRE));
	mark.tid = threads[0].tid;
	mark.cpu_ns = (unsigned long)gpusvm_sys_thread_cpu_ns(mark.tid);
	assert_false(gpusvm_thread_got_on(&mark, NEVER_NS));
	unit_wait_until(gpusvm_thread_got_on(&mark, 1000 * 1000));
	assert_true((unsigned long)gpusvm_sys_thread_cpu_ns(mark.tid) -
			    mark.cpu_ns >=
		    1000 * 1000);
	release(1);
}

#define threads_test(fn) cmocka_unit_test_setup(fn, setup)
#define fake_test(fn) cmocka_unit_test_setup(fn, setup_fake)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		threads_test(mark_counts_every_thread_but_the_caller),
		threads_test(thread_knows_itself),
		threads_test(mark_of_more_than_fit_counts_all),
		threads_test(mark_reads_the_list_to_its_end),
		threads_test(mark_without_proc_returns_errno),
		fake_test(got_on_once_it_has_used_the_time),
		fake_test(got_on_unless_it_runs_or_cannot_be_woken),
		fake_test(thread_that_does_not_run_is_asleep),
		fake_test(who_gives_way_often_sleeps),
		fake_test(got_on_is_not_deceived_by_names),
		fake_test(got_on_if_it_waits_in_another_call),
		fake_test(got_on_is_false_if_the_call_is_unknown),
		fake_test(got_on_is_false_if_the_state_is_unknown),
		fake_test(got_on_if_it_ended),
		threads_test(signal_is_seen_if_it_is_pending_and_not_blocked),
		threads_test(real_thread_that_sleeps_or_ended_got_on),
		threads_test(real_thread_that_runs_gets_on_with_time),
	};

	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
