/* SPDX-License-Identifier: MIT */
/*
 * Which source is chosen, with a real kernel: by the environment, by the
 * program, and where userfaultfd is not to be had; and what each can do.
 *
 * argv[1]: only the tests whose names have this in them.
 */
#include "device.h"
#include "pattern.h"
#include "process_tests.h"
#include "userfaultfd_filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As in a container. */
static void forbid_userfaultfd(void)
{
	if (test_forbid_userfaultfd(SECCOMP_RET_ERRNO | EPERM))
		skip("seccomp filters cannot be had here");
}

static void without_userfaultfd_mprotect_is_used(void)
{
	unsigned char *mem = device_map(SIZE, RW);

	forbid_userfaultfd();
	check(!device_open(GPUSVM_SOURCE_AUTO));
	check(!device_log_errors);
	check(device_log_has("vm.unprivileged_userfaultfd"));
	check(device_log_has("EFAULT") && device_log_has("gpusvm_populate"));
	check(device_features() & GPUSVM_FEATURE_CPU_FAULTS);
	check(!(device_features() &
		(GPUSVM_FEATURE_USERFAULTFD | GPUSVM_FEATURE_EVENTS)));
	fill(mem, SIZE, 20);
	check(!device_take(mem, SIZE));
	check(matches(mem, SIZE, 20));
	device_close();
}

static void forced_source_that_is_not_there_says_why(void)
{
	forbid_userfaultfd();
	check(device_open(GPUSVM_SOURCE_USERFAULTFD) == -EPERM);
	check(device_log_errors == 1);
	check(device_log_has("vm.unprivileged_userfaultfd"));
	check(device_log_has("/dev/userfaultfd"));
	check(device_open(GPUSVM_SOURCE_USERFAULTFD_USER) == -EPERM);
	check(device_log_errors == 1);
	check(device_log_has("seccomp"));
	setenv("GPUSVM_SOURCE", "userfaultfd", 1);
	check(device_open(GPUSVM_SOURCE_AUTO) == -EPERM);
	setenv("GPUSVM_SOURCE", "magic", 1);
	check(device_open(GPUSVM_SOURCE_AUTO) == -EINVAL);
	check(device_log_has("GPUSVM_SOURCE"));
	/* The option goes first. */
	check(!device_open(GPUSVM_SOURCE_MANUAL));
	device_close();
	check(device_open((enum gpusvm_source)7) == -EINVAL);
}

static void environment_chooses(void)
{
	setenv("GPUSVM_SOURCE", "mprotect", 1);
	check(!device_open(GPUSVM_SOURCE_AUTO));
	check(!(device_features() & GPUSVM_FEATURE_USERFAULTFD));
	check(device_features() & GPUSVM_FEATURE_CPU_FAULTS);
	device_close();
	setenv("GPUSVM_SOURCE", "manual", 1);
	check(!device_open(GPUSVM_SOURCE_AUTO));
	check(!(device_features() & GPUSVM_FEATURE_CPU_FAULTS));
	device_close();
}

static void user_mode_only_serves_user_mode_only(void)
{
	unsigned char *mem = device_map(SIZE, RW);
	int err = device_open(GPUSVM_SOURCE_USERFAULTFD_USER);
	int fds[2];

	if (err == -EPERM || err == -ENOSYS)
		skip("userfaultfd for user mode only cannot be had here");
	check(!err && !pipe(fds));
	check(device_features() & GPUSVM_FEATURE_USERFAULTFD);
	check(device_features() & GPUSVM_FEATURE_EVENTS);
	check(!(device_features() & GPUSVM_FEATURE_KERNEL_FAULTS));
	fill(mem, SIZE, 21);
	check(!device_take(mem, SIZE));
	check(syscall(SYS_write, fds[1], mem, 1l) == -1 && errno == EFAULT);
	check(matches(mem, SIZE, 21));
	device_close();
}

static void rwp_needs_no_signal(void)
{
	unsigned char *mem = device_map(SIZE, RW);
	struct sigaction segv, bus;
	long written;
	int fds[2];
	int err;

	setenv("GPUSVM_SOURCE", "rwp", 1);
	err = device_open(GPUSVM_SOURCE_AUTO);
	check(err != -ENOSYS || device_log_has("Linux 7.3"));
	if (err == -EPERM || err == -ENOSYS)
		skip("there is no UFFD_FEATURE_RWP here (Linux 7.3)");
	check(!err && !pipe(fds));
	check(device_features() & GPUSVM_FEATURE_RWP);
	check(device_features() & GPUSVM_FEATURE_MOVE);
	check(device_features() & GPUSVM_FEATURE_EVENTS);
	fill(mem, SIZE, 22);
	check(!device_take(mem, SIZE));
	check(!sigaction(SIGSEGV, NULL, &segv) && segv.sa_handler == SIG_DFL);
	check(!sigaction(SIGBUS, NULL, &bus) && bus.sa_handler == SIG_DFL);
	written = syscall(SYS_write, fds[1], mem, 1l);
	if (device_features() & GPUSVM_FEATURE_KERNEL_FAULTS)
		check(written == 1);
	else
		check(written == -1 && errno == EFAULT);
	check(matches(mem, SIZE, 22));
	device_close();
}

static const struct process_test tests[] = {
	TEST(without_userfaultfd_mprotect_is_used),
	TEST(forced_source_that_is_not_there_says_why),
	TEST(environment_chooses),
	TEST(user_mode_only_serves_user_mode_only),
	TEST(rwp_needs_no_signal),
};

int main(int argc, char **argv)
{
	return run_tests(tests, sizeof(tests) / sizeof(*tests), argc, argv);
}
