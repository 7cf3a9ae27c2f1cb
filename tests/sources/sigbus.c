/* SPDX-License-Identifier: MIT */
/*
 * The source sigbus, with a real kernel: who serves a fault, what a thread may
 * do while it waits, on which stack callbacks run, children, changes of memory,
 * the end.  For whose SIGBUS it is see sigbus_signals.c.
 *
 * argv[1]: only the tests whose names have this in them.
 */
#include "many_threads.h"
#include "sigbus.h"

#include <errno.h>
#include <gpusvm/hooks.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Who serves ---- */

static pid_t served_by;
static bool blocked_there, sigbus_blocked_there;

static void note_server(void)
{
	sigset_t now;

	pthread_sigmask(SIG_SETMASK, NULL, &now);
	blocked_there = sigismember(&now, SIGUSR1);
	sigbus_blocked_there = sigismember(&now, SIGBUS);
	__atomic_store_n(&served_by, (pid_t)syscall(SYS_gettid),
			 __ATOMIC_RELEASE);
}

static void thread_serves_itself(void)
{
	unsigned long features;
	unsigned char *mem;
	sigset_t now;

	open_device();
	features = device_features();
	check(features & GPUSVM_FEATURE_IN_THREAD);
	check(features & GPUSVM_FEATURE_CPU_FAULTS);
	check(features & GPUSVM_FEATURE_EVENTS);
	check(!(features &
		(GPUSVM_FEATURE_KERNEL_FAULTS | GPUSVM_FEATURE_FORK_EVENT)));
	mem = take(SIZE, 1);
	device_copying = note_server;
	errno = 77;
	check(mem[3 * PAGE] == pattern(3 * PAGE, 1));
	check(errno == 77);
	check(served_by == syscall(SYS_gettid));
	check(blocked_there && !sigbus_blocked_there);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	check(!sigismember(&now, SIGUSR1));
	check(matches(mem, SIZE, 1));
	check(!device_log_errors);
	device_close();
	check(matches(mem, SIZE, 1));
}

static void environment_asks_for_it(void)
{
	setenv("GPUSVM_SOURCE", "sigbus", 1);
	if (device_open(GPUSVM_SOURCE_AUTO))
		skip("there is no userfaultfd here");
	check(device_features() & GPUSVM_FEATURE_IN_THREAD);
	device_close();
}

/* Pages that came home, were dropped, and are touched again. */
static void dropped_pages_are_zero(void)
{
	unsigned char *mem;

	open_device();
	mem = take(HUGE, 2);
	check(matches(mem, HUGE, 2));
	check(!madvise(mem, HUGE, MADV_DONTNEED));
	check(is_zero(mem, SIZE));
	memset(mem + SIZE, 1, SIZE);
	check(mem[2 * SIZE - 1] == 1 && is_zero(mem + 2 * SIZE, SIZE));
	device_close();
	check(is_zero(mem + 3 * SIZE, SIZE));
}

static void many_threads_at_the_same_pages(void)
{
	open_device();
	check_many_threads();
	device_close();
}

/* ---- System calls ---- */

static void system_call_gives_efault_until_populated(void)
{
	unsigned char *mem, byte;
	int fds[2];

	check(!pipe(fds));
	open_device();
	mem = take(SIZE, 3);
	check(write(fds[1], mem, 1) == -1 && errno == EFAULT);
	check(!gpusvm_populate(mem, 1));
	check(write(fds[1], mem, 1) == 1);
	check(read(fds[0], &byte, 1) == 1 && byte == 3);
	device_close();
}

/* ---- Stacks ---- */

static unsigned char *volatile touched;
static volatile unsigned char found;

static void touch(int sig)
{
	(void)sig;
	found = *touched;
}

/* Touch memory on the device on an alternate stack; who served it. */
static pid_t touch_on_stack(size_t size)
{
	struct sigaction action = { .sa_handler = touch,
				    .sa_flags = SA_ONSTACK };
	stack_t stack = { .ss_size = size };

	stack.ss_sp = device_map(HUGE, RW);
	check(!sigaltstack(&stack, NULL));
	check(!sigaction(SIGUSR1, &action, NULL));
	touched = take(SIZE, 9);
	served_by = 0;
	raise(SIGUSR1);
	check(found == 9);
	check(matches(touched, SIZE, 9));
	stack.ss_flags = SS_DISABLE;
	check(!sigaltstack(&stack, NULL));
	return __atomic_load_n(&served_by, __ATOMIC_ACQUIRE);
}

static void small_stack_is_no_place_for_callbacks(void)
{
	if (HANDLED_LATE)
		skip("ThreadSanitizer calls handlers late");
	open_device();
	device_copying = note_server;
	check(touch_on_stack(HUGE / 2) == syscall(SYS_gettid));
	check(touch_on_stack(32 << 10) != syscall(SYS_gettid));
	check(served_by);
	device_close();
}

/* ---- Threads that wait ---- */

static unsigned int ticks;

static void tick(int sig)
{
	(void)sig;
	__atomic_fetch_add(&ticks, 1, __ATOMIC_RELAXED);
}

static bool go_on;

static void hold(void)
{
	while (!__atomic_load_n(&go_on, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void *read_first(void *arg)
{
	return (void *)(unsigned long)*(volatile unsigned char *)arg;
}

/* Another thread is at the page: this one takes its signals meanwhile. */
static void waiting_thread_takes_signals(void)
{
	struct sigaction action = { .sa_handler = tick };
	pthread_t first, second;
	unsigned char *mem;
	void *value;

	check(!sigaction(SIGUSR1, &action, NULL));
	open_device();
	mem = take(SIZE, 10);
	device_copying = hold;
	check(!pthread_create(&first, NULL, read_first, mem));
	while (!__atomic_load_n(&device_copies, __ATOMIC_ACQUIRE))
		sched_yield();
	check(!pthread_create(&second, NULL, read_first, mem + PAGE));
	while (!__atomic_load_n(&ticks, __ATOMIC_RELAXED)) {
		check(!pthread_kill(second, SIGUSR1));
		sched_yield();
	}
	__atomic_store_n(&go_on, true, __ATOMIC_RELEASE);
	check(!pthread_join(first, &value) && (unsigned long)value == 10);
	check(!pthread_join(second, &value));
	check((unsigned long)value == pattern(PAGE, 10));
	device_close();
}

static sigjmp_buf out;
static bool may_interrupt;

static void leave(int sig)
{
	(void)sig;
	siglongjmp(out, 1);
}

static void *interrupt_until_out(void *arg)
{
	/* To leave pthread_create() is no good: musl tells who it made last. */
	while (!__atomic_load_n(&may_interrupt, __ATOMIC_ACQUIRE))
		sched_yield();
	while (!__atomic_load_n(&go_on, __ATOMIC_ACQUIRE)) {
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
		sched_yield();
	}
	return NULL;
}

/* It leaves the wait by siglongjmp(), and nothing is left behind. */
static void waiting_thread_may_jump_out(void)
{
	struct sigaction action = { .sa_handler = leave };
	pthread_t first, interrupter, self = pthread_self();
	unsigned char *mem;
	void *value;

	if (HANDLED_LATE)
		skip("ThreadSanitizer keeps signals back after a siglongjmp()");
	open_device();
	mem = take(SIZE, 11);
	device_copying = hold;
	check(!pthread_create(&first, NULL, read_first, mem));
	while (!__atomic_load_n(&device_copies, __ATOMIC_ACQUIRE))
		sched_yield();
	if (!sigsetjmp(out, 1)) {
		check(!sigaction(SIGUSR1, &action, NULL));
		check(!pthread_create(&interrupter, NULL, interrupt_until_out,
				      &self));
		__atomic_store_n(&may_interrupt, true, __ATOMIC_RELEASE);
		(void)*(volatile unsigned char *)(mem + PAGE);
		check(false);
	}
	signal(SIGUSR1, SIG_IGN);
	__atomic_store_n(&go_on, true, __ATOMIC_RELEASE);
	check(!pthread_join(first, &value) && (unsigned long)value == 11);
	check(!pthread_join(interrupter, NULL));
	check(matches(mem, SIZE, 11));
	device_close();
}

/* ---- Children ---- */

static void forked_child_is_plain(void)
{
	unsigned char *mem, *dropped;
	struct sigaction now;
	int status;
	pid_t pid;

	open_device();
	mem = take(SIZE, 16);
	dropped = take(SIZE, 17);
	check(matches(dropped, SIZE, 17));
	check(!madvise(dropped, SIZE, MADV_DONTNEED));
	pid = fork();
	if (!pid) {
		check(!sigaction(SIGBUS, NULL, &now));
		check(OTHERS_HANDLE || now.sa_handler == SIG_DFL);
		check(matches(mem, SIZE, 16) && is_zero(dropped, SIZE));
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid && !status);
	check(!device_take(mem, SIZE));
	check(matches(mem, SIZE, 16) && is_zero(dropped, SIZE));
	device_close();
}

/* It has the memory, and the handlers, of its parent. */
static void vforked_child_is_served(void)
{
	volatile unsigned char *mem;
	int status;
	pid_t pid;

	open_device();
	mem = take(SIZE, 18);
	pid = vfork();
	if (!pid)
		_exit(mem[0] == 18 ? 0 : 1);
	check(waitpid(pid, &status, 0) == pid && !status);
	check(!device_pages());
	device_close();
}

/* ---- Changes that nobody announces ---- */

static void changes_are_told_of(void)
{
	unsigned char *mem, *to = device_map(SIZE, RW);
	unsigned int i;

	open_device();
	for (i = 0; i < 20; i++) {
		mem = take(SIZE, i);
		/* Where it goes it is found. */
		check(mremap(mem, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
			     to) == to);
		check(matches(to, SIZE, i));
		check(!device_take(to, SIZE));
		check(!madvise(to, SIZE / 2, MADV_DONTNEED));
		check(is_zero(to, SIZE / 2));
		check(to[SIZE - 1] == pattern(SIZE - 1, i));
		fill(to, SIZE, i);
		check(!device_take(to, SIZE));
		check(mmap(to, SIZE, RW,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			   0) == to);
		check(is_zero(to, SIZE));
	}
	check(!device_log_errors);
	device_close();
}

/* It grows where it is: nobody is told of that, and it is trapped all the same */
static void grown_memory_is_served(void)
{
	unsigned char *mem = device_map(HUGE, RW);

	open_device();
	check(!munmap(mem + SIZE, HUGE - SIZE));
	fill(mem, SIZE, 19);
	check(!device_take(mem, SIZE));
	check(mremap(mem, SIZE, 2 * SIZE, 0) == mem);
	check(is_zero(mem + SIZE, SIZE));
	check(matches(mem, SIZE, 19));
	device_close();
}

/* ---- The end ---- */

static bool over;

static void *drop_and_touch(void *arg)
{
	volatile unsigned char *mem = arg;
	size_t i;

	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		check(!madvise(arg, SIZE, MADV_DONTNEED));
		for (i = 0; i < SIZE; i += PAGE)
			mem[i] = (unsigned char)(mem[i] + 1);
	}
	return NULL;
}

/* Others have faults on pages that were dropped all the while. */
static void close_among_faults(void)
{
	pthread_t thread[3];
	unsigned char *mem;
	unsigned int i, round;

	for (round = 0; round < 20; round++) {
		over = false;
		open_device();
		for (i = 0; i < 3; i++) {
			mem = take(SIZE, 20);
			check(!pthread_create(&thread[i], NULL, drop_and_touch,
					      mem));
		}
		for (i = 0; i < round; i++)
			sched_yield();
		device_close();
		__atomic_store_n(&over, true, __ATOMIC_RELEASE);
		for (i = 0; i < 3; i++)
			check(!pthread_join(thread[i], NULL));
	}
}

/* ---- Each in a process ---- */

static const struct process_test tests[] = {
	TEST(thread_serves_itself),
	TEST(environment_asks_for_it),
	TEST(dropped_pages_are_zero),
	TEST(many_threads_at_the_same_pages),
	TEST(system_call_gives_efault_until_populated),
	TEST(small_stack_is_no_place_for_callbacks),
	TEST(waiting_thread_takes_signals),
	TEST(waiting_thread_may_jump_out),
	TEST(forked_child_is_plain),
	TEST(vforked_child_is_served),
	TEST(changes_are_told_of),
	TEST(grown_memory_is_served),
	TEST(close_among_faults),
};

int main(int argc, char **argv)
{
	return run_tests(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
