/* SPDX-License-Identifier: MIT */
/*
 * The source sigbus, with a real kernel: whose SIGBUS is whose, and faults that
 * cannot be served.
 *
 * argv[1]: only the tests whose names have this in them.
 */
#include "sigbus.h"

#include <errno.h>
#include <fcntl.h>
#include <gpusvm/hooks.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static const struct process_test tests[] = {
	TEST(cut_off_files_are_the_programs),
	TEST(watched_file_that_is_cut_off_is_the_programs),
	TEST(other_userfaultfd_is_left_alone),
	TEST(later_handler_goes_behind),
	TEST_ENDS(default_action_is_the_kernels, SIGBUS),
	TEST_ENDS(blocked_signal_ends_the_process, SIGBUS),
	TEST(failing_copy_is_the_programs_signal),
	TEST_ENDS(fault_in_a_callback_is_reported, 33 << 8),
	TEST_ENDS(fault_of_a_copying_thread_is_reported, 33 << 8),
	TEST_ENDS(fault_under_notifier_lock_is_reported, 33 << 8),
	TEST(dropped_page_under_notifier_lock_is_zero),
};

int main(int argc, char **argv)
{
	return run_tests(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
