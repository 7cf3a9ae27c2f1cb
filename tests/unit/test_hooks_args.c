/* SPDX-License-Identifier: MIT */
/* What pointers lead to, and whose a pidfd is. */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fake_sys.h"
#include "hooks_args.h"
#include "page_size.h"

/* A thread of ours, and the only one. */
#define OURS 1234

static bool know_thread(const unsigned long *args, long *ret)
{
	assert_int_equal(args[0], getpid());
	assert_int_equal(args[2], 0);
	*ret = args[1] == OURS ? 0 : -ESRCH;
	return true;
}

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	fake_sys_hook(FAKE_SYS_TGKILL, know_thread);
	return 0;
}

static void read_stops_where_memory_does(void **state)
{
	char *mem = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char to[16] = "";

	(void)state;
	assert_ptr_not_equal(mem, MAP_FAILED);
	assert_int_equal(mprotect(mem + PAGE_SIZE, PAGE_SIZE, PROT_NONE), 0);
	memcpy(mem + PAGE_SIZE - 8, "abcdefgh", 8);
	assert_int_equal(gpusvm_hooks_read(mem + PAGE_SIZE - 8, to, 8), 8);
	assert_memory_equal(to, "abcdefgh", 8);
	assert_int_equal(gpusvm_hooks_read(mem + PAGE_SIZE - 4, to, 8), 4);
	assert_memory_equal(to, "efgh", 4);
	assert_int_equal(gpusvm_hooks_read(mem + PAGE_SIZE, to, 8), -EFAULT);
	assert_int_equal(gpusvm_hooks_read(NULL, to, 8), -EFAULT);
	munmap(mem, 2 * PAGE_SIZE);
}

static void self_is_who_has_the_process(void **state)
{
	(void)state;
	fake_sys_file("/proc/self/fdinfo/0",
		      "pos:\t0\nPid:\t1234\nNSpid:\t9\n");
	fake_sys_file("/proc/self/fdinfo/1205", "pos:\t0\nPid:\t1235\n");
	/* The process has ended; it is of another namespace; it is no pidfd. */
	fake_sys_file("/proc/self/fdinfo/12", "pos:\t0\nPid:\t-1\n");
	fake_sys_file("/proc/self/fdinfo/13", "pos:\t0\nPid:\t0\n");
	fake_sys_file("/proc/self/fdinfo/14", "pos:\t0\nNSpid:\t1234\n");
	fake_sys_file("/proc/self/fdinfo/15", "");
	fake_sys_file("/proc/self/fdinfo/2147483647", NULL);
	assert_true(gpusvm_hooks_is_self(0));
	assert_false(gpusvm_hooks_is_self(1205));
	assert_false(gpusvm_hooks_is_self(12));
	assert_false(gpusvm_hooks_is_self(13));
	assert_false(gpusvm_hooks_is_self(14));
	assert_false(gpusvm_hooks_is_self(15));
	assert_false(gpusvm_hooks_is_self(2147483647));
	assert_int_equal(fake_sys_calls(FAKE_SYS_CLOSE), 6);
}

static void numbers_that_mean_self_are_known(void **state)
{
	(void)state;
	assert_true(gpusvm_hooks_is_self(-10000));
	assert_true(gpusvm_hooks_is_self(-10001));
	assert_false(gpusvm_hooks_is_self(-10002));
	assert_false(gpusvm_hooks_is_self(-1));
}

static void descriptors_of_the_kernel_are_told_apart(void **state)
{
	int ours = (int)syscall(SYS_pidfd_open, getpid(), 0);
	int parents = (int)syscall(SYS_pidfd_open, getppid(), 0);

	(void)state;
	fake_sys_reset();
	if (ours < 0) {
		printf("no pidfd_open(): %s\n", strerror(errno));
		skip();
	}
	assert_true(gpusvm_hooks_is_self(ours));
	assert_false(gpusvm_hooks_is_self(parents));
	assert_false(gpusvm_hooks_is_self(1));
	close(ours);
	close(parents);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(read_stops_where_memory_does, setup),
		cmocka_unit_test_setup(self_is_who_has_the_process, setup),
		cmocka_unit_test_setup(numbers_that_mean_self_are_known, setup),
		cmocka_unit_test_setup(descriptors_of_the_kernel_are_told_apart,
				       setup),
	};

	return cmocka_run_group_tests_name("hooks_args", tests, NULL, NULL);
}
