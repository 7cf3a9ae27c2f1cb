/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group K: fork() while memory is on the device.
 *
 * Children look at memory and exit with the answer; they call nothing that a
 * thread of the parent might have held a lock of; not even _exit(), which is a
 * sanitizer's.
 */
#include "fake_driver.h"

#include <gpusvm/hooks.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	CHILD_FINE,
	CHILD_SAW_OTHER_DATA,
	CHILD_WRITE_LOST,
	CHILD_PIPE
};

/* fork() without its handlers: the library learns of it by an event. */
static pid_t bare_clone(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static pid_t call_fork(void)
{
	return fork();
}

/* The exit code of a child. */
static int wait_for(pid_t pid)
{
	int status = -1;

	test_wait_until(waitpid(pid, &status, WNOHANG) == pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/*
 * Wait for the parent's writes, look for its data from before, change it.
 */
static void child(unsigned char *mem, size_t size, int go)
{
	char byte;

	if (go >= 0 && read(go, &byte, 1) != 1)
		syscall(SYS_exit_group, CHILD_PIPE);
	if (test_match(mem, size, 1) != size)
		syscall(SYS_exit_group, CHILD_SAW_OTHER_DATA);
	test_fill(mem, size, 3);
	if (test_match(mem, size, 3) != size)
		syscall(SYS_exit_group, CHILD_WRITE_LOST);
	syscall(SYS_exit_group, CHILD_FINE);
}

static void check_fork(pid_t (*make_child)(void))
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct fake_alloc *alloc;
	pid_t pid;
	int go[2];

	assert_int_equal(pipe(go), 0);
	test_fill(mem, SZ_2M, 1);
	fake_dev_range(d, mem, SZ_2M, &alloc);
	pid = make_child();
	if (pid == 0)
		child(mem, SZ_2M, go[0]);
	assert_true(pid > 0);

	/* The parent goes on. */
	test_fill(mem, SZ_1M, 2);
	assert_int_equal(write(go[1], "", 1), 1);
	assert_int_equal(wait_for(pid), CHILD_FINE);
	close(go[0]);
	close(go[1]);

	/* And has its own writes, none of the child's. */
	assert_int_equal(test_match(mem, SZ_1M, 2), SZ_1M);
	assert_int_equal(mem[SZ_1M], test_pattern(SZ_1M, 1));
	assert_int_equal(mem[SZ_2M - 1], test_pattern(SZ_2M - 1, 1));
	test_wait_until(alloc->released == 1);
}

static void conf_136_fork_with_device_pages(void **state)
{
	(void)state;
	check_fork(call_fork);
}

static void conf_136_clone_with_device_pages(void **state)
{
	(void)state;
	if (!(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_FORK_EVENT))
		test_skip("clone() is not told of here");
	check_fork(bare_clone);
}

/* [F] B22: the device does not write through to the child either. */
static void conf_136_device_writes_after_fork(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	char word[] = "device";
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		pid_t pid;
		int go[2];

		assert_int_equal(pipe(go), 0);
		test_fill(mem, SZ_64K, 1);
		range = fake_range_at(d, mem, SZ_64K);
		if (i)
			assert_ret(fake_migrate(d, range, NULL), 0);
		assert_ret(fake_get_pages(d, range), 0);
		pid = fork();
		if (pid == 0)
			child(mem, SZ_64K, go[0]);
		assert_true(pid > 0);
		assert_int_equal(fake_access(d, mem, word, 6,
					     FAKE_ACCESS_WRITE |
						     FAKE_ACCESS_MIGRATE),
				 0);
		assert_int_equal(write(go[1], "", 1), 1);
		assert_int_equal(wait_for(pid), CHILD_FINE);
		assert_memory_equal(mem, word, 6);
		close(go[0]);
		close(go[1]);
	}
}

static void conf_136_grandchild(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	pid_t pid;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	fake_dev_range(d, mem, SZ_64K, NULL);
	pid = fork();
	if (pid == 0) {
		int status = -1;

		pid = fork();
		if (pid == 0)
			child(mem, SZ_64K, -1);
		if (waitpid(pid, &status, 0) != pid || status)
			syscall(SYS_exit_group, CHILD_PIPE);
		child(mem, SZ_64K, -1);
	}
	assert_true(pid > 0);
	assert_int_equal(wait_for(pid), CHILD_FINE);
	assert_filled(mem, SZ_64K, 1);
}

/* Announces changes of its own memory as fast as it can. */
struct changer {
	unsigned char *mem;
	bool stop;
	unsigned int changes;
	unsigned int failed;
};

static void *change_all_the_time(void *arg)
{
	struct changer *c = arg;

	while (!__atomic_load_n(&c->stop, __ATOMIC_ACQUIRE)) {
		if (gpusvm_mmap(c->mem, SZ_64K, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
				0) != c->mem ||
		    gpusvm_madvise(c->mem, SZ_64K, MADV_DONTNEED))
			c->failed++;
		__atomic_fetch_add(&c->changes, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/*
 * Whatever was announced at the moment of the fork is no business of the child,
 * whose own changes are bare.
 */
static void conf_136_fork_during_announced_changes(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct changer c = { .mem = test_map(SZ_64K, SZ_64K) };
	char word[] = "device";
	pthread_t thread;
	unsigned int i;

	(void)state;
	assert_ret(fake_get_pages(d, fake_range_at(d, c.mem, SZ_64K)), 0);
	test_thread_start(&thread, change_all_the_time, &c);
	for (i = 0; i < 10; i++) {
		unsigned int changes;
		pid_t pid;

		test_fill(mem, SZ_64K, 1);
		assert_int_equal(fake_access(d, mem + PS, word, 6,
					     FAKE_ACCESS_WRITE |
						     FAKE_ACCESS_MIGRATE),
				 0);
		pid = fork();
		if (pid == 0) {
			if (memcmp(mem + PS, word, 6) ||
			    mem[0] != test_pattern(0, 1))
				syscall(SYS_exit_group, CHILD_SAW_OTHER_DATA);
			if (gpusvm_munmap(c.mem, SZ_64K) ||
			    gpusvm_madvise(mem, SZ_64K, MADV_DONTNEED) ||
			    mem[0])
				syscall(SYS_exit_group, CHILD_WRITE_LOST);
			syscall(SYS_exit_group, CHILD_FINE);
		}
		assert_true(pid > 0);
		assert_int_equal(wait_for(pid), CHILD_FINE);
		assert_memory_equal(mem + PS, word, 6);
		assert_int_equal(mem[0], test_pattern(0, 1));
		changes = __atomic_load_n(&c.changes, __ATOMIC_ACQUIRE);
		test_wait_until(__atomic_load_n(&c.changes, __ATOMIC_ACQUIRE) >
				changes);
	}
	__atomic_store_n(&c.stop, true, __ATOMIC_RELEASE);
	test_thread_join(thread);
	assert_int_equal(c.failed, 0);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_136_fork_with_device_pages),
	conf_test(conf_136_clone_with_device_pages),
	conf_test(conf_136_device_writes_after_fork),
	conf_test(conf_136_grandchild),
	conf_test(conf_136_fork_during_announced_changes),
};

CONF_MAIN(tests)
