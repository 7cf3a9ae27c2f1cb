/* SPDX-License-Identifier: MIT */
/*
 * The source sigbus, with a real kernel: who serves a fault, whose SIGBUS is
 * whose, what a thread may do while it waits, on which stack callbacks run,
 * faults that cannot be served, children, changes of memory, the end.
 *
 * Each test is a process, which the signals of the others do not concern.
 * argv[1]: only the tests whose names have this in them.
 */
#include "device.h"
#include "pattern.h"
#include "process_tests.h"

#include <errno.h>
#include <fcntl.h>
#include <gpusvm/hooks.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * Sanitizers have handlers of their own, where the program sees its own; the
 * thread sanitizer calls the program's late, with all signals blocked.
 */
#ifdef __SANITIZE_THREAD__
#define OTHERS_HANDLE true
#define HANDLED_LATE true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || \
	__has_feature(undefined_behavior_sanitizer)
#define OTHERS_HANDLE true
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define OTHERS_HANDLE true
#endif
#ifndef OTHERS_HANDLE
#define OTHERS_HANDLE false
#endif
#ifndef HANDLED_LATE
#define HANDLED_LATE false
#endif

static void open_device(void)
{
	int err = device_open(GPUSVM_SOURCE_USERFAULTFD_SIGBUS);

	if (err == -EPERM)
		skip("userfaultfd is not permitted here");
	if (err == -ENOSYS)
		skip("there is no userfaultfd here");
	check(!err);
}

/* Memory on the device. */
static unsigned char *take(size_t size, unsigned int tag)
{
	unsigned char *mem = device_map(size, RW);

	fill(mem, size, tag);
	check(!device_take(mem, size));
	return mem;
}

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

static unsigned char *shared_mem;

static void *add_to_all(void *arg)
{
	size_t i, start = (size_t)arg;

	for (i = 0; i < HUGE; i += PAGE)
		__atomic_fetch_add(
			(unsigned int *)(shared_mem + (start + i) % HUGE), 1,
			__ATOMIC_RELAXED);
	return NULL;
}

static void many_threads_at_the_same_pages(void)
{
	unsigned char *mem = device_map(HUGE, RW);
	pthread_t thread[8];
	size_t i, round;

	shared_mem = mem;
	open_device();
	for (round = 0; round < 5; round++) {
		for (i = 0; i < HUGE; i += SIZE)
			check(!device_take(mem + i, SIZE));
		for (i = 0; i < 8; i++)
			check(!pthread_create(
				&thread[i], NULL, add_to_all,
				(void *)(i * (round % 2) * 8 * SIZE)));
		for (i = 0; i < 8; i++)
			check(!pthread_join(thread[i], NULL));
	}
	for (i = 0; i < HUGE; i += PAGE)
		check(*(unsigned int *)(mem + i) == 40);
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

/* ---- Whose SIGBUS it is ---- */

static sigjmp_buf back;
static volatile sig_atomic_t handled, code;
static void *volatile fault_addr;
static volatile bool usr1_blocked, usr2_blocked, bus_blocked;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	sigset_t now;

	check(sig == SIGBUS && context);
	handled++;
	code = info->si_code;
	fault_addr = info->si_addr;
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	usr1_blocked = sigismember(&now, SIGUSR1);
	usr2_blocked = sigismember(&now, SIGUSR2);
	bus_blocked = sigismember(&now, SIGBUS);
	siglongjmp(back, 1);
}

static void handle_sigbus(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO };

	action.sa_sigaction = on_sigbus;
	sigaddset(&action.sa_mask, SIGUSR1);
	check(!sigaction(SIGBUS, &action, NULL));
}

/* Whether an access is the program's to handle. */
static bool is_handled(volatile unsigned char *addr)
{
	volatile int before = handled;

	fault_addr = NULL;
	if (!sigsetjmp(back, 1))
		*addr = 1;
	return handled == before + 1;
}

/* A mapping of a file that ends before it. */
static unsigned char *map_cut_off(int fd, int flags)
{
	unsigned char *mem = mmap(NULL, SIZE, RW, flags, fd, 0);

	check(mem != MAP_FAILED);
	close(fd);
	return mem;
}

static int open_file_on_disk(void)
{
	return open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

static void check_is_programs(unsigned char *none)
{
	sigset_t now;

	check(is_handled(none + 123));
	check(fault_addr == none + 123 && code == BUS_ADRERR);
	check(HANDLED_LATE || (usr1_blocked && !usr2_blocked && bus_blocked));
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	check(!sigismember(&now, SIGBUS) && !sigismember(&now, SIGUSR1));
}

static void cut_off_files_are_the_programs(void)
{
	unsigned char *shared, *mem;
	struct sigaction now;
	int fd;

	handle_sigbus();
	shared = map_cut_off(memfd_create("none", MFD_CLOEXEC), MAP_SHARED);
	fd = open_file_on_disk();
	open_device();
	mem = take(SIZE, 4);
	check_is_programs(shared);
	if (fd >= 0)
		check_is_programs(map_cut_off(fd, MAP_SHARED));
	check_is_programs(
		map_cut_off(memfd_create("none", MFD_CLOEXEC), MAP_PRIVATE));
	/* Sent, and not raised. */
	handled = 0;
	if (!sigsetjmp(back, 1))
		raise(SIGBUS);
	check(handled == 1);
	/* Ours is nothing that it hears of. */
	check(matches(mem, SIZE, 4) && handled == 1);
	device_close();
	check(!sigaction(SIGBUS, NULL, &now) && now.sa_sigaction == on_sigbus);
	check_is_programs(shared);
}

/* Next to memory on the device, so that it is watched. */
static void watched_file_that_is_cut_off_is_the_programs(void)
{
	int fd = memfd_create("watched", MFD_CLOEXEC);
	unsigned char *mem;

	handle_sigbus();
	check(fd >= 0 && !ftruncate(fd, SIZE));
	open_device();
	mem = mmap(device_map(HUGE, RW), SIZE, RW, MAP_SHARED | MAP_FIXED, fd,
		   0);
	check(mem != MAP_FAILED);
	fill(mem, SIZE, 5);
	check(device_take(mem, SIZE) < 0);
	check(!ftruncate(fd, PAGE));
	check(is_handled(mem + PAGE + 5));
	check(fault_addr == mem + PAGE + 5);
	check(matches(mem, PAGE, 5));
	/* It grows again, and what is there is zero. */
	check(!ftruncate(fd, SIZE));
	check(is_zero(mem + PAGE, SIZE - PAGE));
	device_close();
}

/* Somebody else's userfaultfd, of the same kind. */
static void other_userfaultfd_is_left_alone(void)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_SIGBUS };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	unsigned char *mem = device_map(SIZE, RW);
	unsigned char resident;
	int fd;

	handle_sigbus();
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (fd < 0)
		skip("there is no userfaultfd for user mode only here");
	check(!ioctl(fd, UFFDIO_API, &api));
	reg.range.start = (unsigned long)mem;
	reg.range.len = SIZE;
	check(!ioctl(fd, UFFDIO_REGISTER, &reg));
	open_device();
	check(is_handled(mem + PAGE));
	check(fault_addr == mem + PAGE);
	check(!mincore(mem + PAGE, PAGE, &resident) && !(resident & 1));
	device_close();
}

static void later_handler_goes_behind(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO }, old;
	unsigned char *none, *mem;

	if (OTHERS_HANDLE)
		skip("a sanitizer's handler is the one that there is");
	none = map_cut_off(memfd_create("none", MFD_CLOEXEC), MAP_SHARED);
	open_device();
	action.sa_sigaction = on_sigbus;
	sigaddset(&action.sa_mask, SIGUSR1);
	check(!gpusvm_sigaction(SIGBUS, &action, &old));
	check(old.sa_handler == SIG_DFL);
	mem = take(SIZE, 6);
	check(matches(mem, SIZE, 6) && !handled);
	check_is_programs(none);
	device_close();
	check(!sigaction(SIGBUS, NULL, &old) && old.sa_sigaction == on_sigbus);
}

static void end_without_a_core(void)
{
	const struct rlimit none = { 0, 0 };

	check(!setrlimit(RLIMIT_CORE, &none));
}

/* Expected to end by it. */
static void default_action_is_the_kernels(void)
{
	unsigned char *none;

	if (OTHERS_HANDLE)
		skip("a sanitizer's handler is the one that there is");
	none = map_cut_off(memfd_create("none", MFD_CLOEXEC), MAP_SHARED);
	open_device();
	end_without_a_core();
	*(volatile unsigned char *)none = 1;
}

/* The kernel's doing, which docs tell of: also expected to end by it. */
static void blocked_signal_ends_the_process(void)
{
	unsigned char *mem;
	sigset_t set;

	open_device();
	mem = take(SIZE, 7);
	end_without_a_core();
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	check(!pthread_sigmask(SIG_BLOCK, &set, NULL));
	*(volatile unsigned char *)mem = 1;
}

/* ---- Copies that fail ---- */

static void failing_copy_is_the_programs_signal(void)
{
	unsigned char *mem;

	handle_sigbus();
	open_device();
	mem = take(SIZE, 8);
	device_copy_error = -EIO;
	check(is_handled(mem + PAGE + 77));
	check(code == BUS_ADRERR && fault_addr == mem + PAGE + 77);
	check(device_log_has("cannot come home"));
	device_copy_error = 0;
	check(matches(mem, SIZE, 8));
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

/* ---- Faults where there must be none ---- */

static unsigned char *forbidden;

static void touch_forbidden(void)
{
	(void)*(volatile unsigned char *)forbidden;
}

static void handle_and_report(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	_exit(info->si_addr == forbidden && info->si_code == BUS_ADRERR &&
			      device_log_has("in a callback")
		      ? 33
		      : 1);
}

static void report_sigbus(void)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO };

	action.sa_sigaction = handle_and_report;
	check(!sigaction(SIGBUS, &action, NULL));
}

/* A callback that brings memory home needs other memory to come home. */
static void fault_in_a_callback_is_reported(void)
{
	unsigned char *mem;

	report_sigbus();
	open_device();
	mem = take(SIZE, 12);
	forbidden = take(SIZE, 13);
	device_copying = touch_forbidden;
	(void)*(volatile unsigned char *)mem;
	check(false);
}

/* The same memory, which nobody else would bring home meanwhile. */
static void fault_of_a_copying_thread_is_reported(void)
{
	report_sigbus();
	open_device();
	forbidden = take(SIZE, 12);
	device_copying = touch_forbidden;
	(void)!gpusvm_populate(forbidden + PAGE, 1);
	check(false);
}

static void fault_under_notifier_lock_is_reported(void)
{
	report_sigbus();
	open_device();
	forbidden = take(SIZE, 14);
	device_with_notifier_lock(touch_forbidden);
	check(false);
}

/* What needs no lock of theirs is served even there. */
static void dropped_page_under_notifier_lock_is_zero(void)
{
	open_device();
	forbidden = take(SIZE, 15);
	check(matches(forbidden, SIZE, 15));
	check(!madvise(forbidden, SIZE, MADV_DONTNEED));
	device_with_notifier_lock(touch_forbidden);
	check(is_zero(forbidden, SIZE));
	check(!device_log_errors);
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
	TEST(cut_off_files_are_the_programs),
	TEST(watched_file_that_is_cut_off_is_the_programs),
	TEST(other_userfaultfd_is_left_alone),
	TEST(later_handler_goes_behind),
	TEST_ENDS(default_action_is_the_kernels, SIGBUS),
	TEST_ENDS(blocked_signal_ends_the_process, SIGBUS),
	TEST(failing_copy_is_the_programs_signal),
	TEST(small_stack_is_no_place_for_callbacks),
	TEST(waiting_thread_takes_signals),
	TEST(waiting_thread_may_jump_out),
	TEST_ENDS(fault_in_a_callback_is_reported, 33 << 8),
	TEST_ENDS(fault_of_a_copying_thread_is_reported, 33 << 8),
	TEST_ENDS(fault_under_notifier_lock_is_reported, 33 << 8),
	TEST(dropped_page_under_notifier_lock_is_zero),
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
