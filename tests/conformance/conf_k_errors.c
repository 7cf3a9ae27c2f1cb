/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group K: device memory that cannot come home when the CPU
 * touches it.  The linker puts a function of this file in front of the system
 * call that allocates system memory (--wrap).
 */
#include "fake_driver.h"

#include "uapi.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* After so many attempts there is memory again, for the test to go on. */
#define MOST 2000

/* A size that no other test of this program leaves memory behind for. */
static const unsigned long odd_chunks[] = { SZ_32K };
static const struct fake_driver_config odd_sizes = {
	.chunks = odd_chunks,
	.num_chunks = 1,
};

int __real_gpusvm_sys_uffd_copy(int uffd, struct uffdio_copy *copy);
int __wrap_gpusvm_sys_uffd_copy(int uffd, struct uffdio_copy *copy);

static bool no_memory;
static unsigned int refused;

int __wrap_gpusvm_sys_uffd_copy(int uffd, struct uffdio_copy *copy)
{
	if (!__atomic_load_n(&no_memory, __ATOMIC_ACQUIRE) ||
	    __atomic_fetch_add(&refused, 1, __ATOMIC_ACQ_REL) >= MOST)
		return __real_gpusvm_sys_uffd_copy(uffd, copy);
	return -ENOMEM;
}

static void let_memory_be(void *arg)
{
	(void)arg;
	__atomic_store_n(&no_memory, false, __ATOMIC_RELEASE);
}

/* ---- SIGBUS ---- */

static struct sigaction old_action;
static sigjmp_buf after_access;
static volatile sig_atomic_t accessing;
static volatile sig_atomic_t signals;

static void on_sigbus(int signal)
{
	(void)signal;
	signals++;
	if (accessing)
		siglongjmp(after_access, 1);
}

static void restore_sigbus(void *arg)
{
	(void)arg;
	gpusvm_sigaction(SIGBUS, &old_action, NULL);
}

/* CMocka has a handler of its own, but around the test function only. */
static void catch_sigbus(void)
{
	static unsigned int tests_so_far;

	const struct sigaction action = { .sa_handler = on_sigbus };

	if (tests_so_far++ && test_others_map())
		test_skip("the thread sanitizer keeps signals back after a "
			  "siglongjmp()");
	signals = 0;
	assert_int_equal(gpusvm_sigaction(SIGBUS, &action, &old_action), 0);
	test_cleanup(restore_sigbus, NULL);
}

/* Whether the access ended with the signal. */
static bool access_fails(volatile unsigned char *at, bool write)
{
	volatile bool failed = true;

	if (!sigsetjmp(after_access, 1)) {
		accessing = 1;
		if (write)
			*at = 0x5a;
		else
			(void)*at;
		failed = false;
	}
	accessing = 0;
	return failed;
}

/* As the device sees it and left it. */
static void check_kept(struct fake_driver *d, struct fake_alloc *alloc,
		       unsigned char *mem, size_t size, unsigned int tag)
{
	assert_int_equal(alloc->released, 0);
	assert_int_equal(d->releases, 0);
	assert_filled(fake_alloc_page(alloc, 0), size, tag);
	assert_int_equal(test_resident(mem, size), 0);
}

static void check_failing_copy(bool write)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	catch_sigbus();
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, &alloc);
	fake_fault_arm(&d->fail_copy_to_ram, -EIO, 1, 1000);
	assert_true(access_fails(mem + 3 * PS, write));
	assert_true(signals > 0);
	check_kept(d, alloc, mem, SZ_64K, 1);
	assert_true(access_fails(mem + SZ_64K - 1, write));
	check_kept(d, alloc, mem, SZ_64K, 1);

	/*
	 * The device may have it again; a thread that touched the page twice
	 * before the signal came may have asked for it twice.
	 */
	test_wait_until(!fake_get_pages(d, range) &&
			!fake_dev_fill(d, range, 2));
	assert_int_equal(range->flags.has_devmem_pages, 1);
	/* and the CPU when the copy works. */
	fake_fault_disarm(&d->fail_copy_to_ram);
	assert_false(access_fails(mem + 3 * PS, false));
	assert_filled(mem, SZ_64K, 2);
	test_wait_until(alloc->released == 1);
	test_fill(mem, SZ_64K, 3);
	assert_filled(mem, SZ_64K, 3);
}

static void conf_133_copy_fails_for_a_reader(void **state)
{
	(void)state;
	check_failing_copy(false);
}

static void conf_133_copy_fails_for_a_writer(void **state)
{
	(void)state;
	check_failing_copy(true);
}

/* Not only threads that are told: everybody who waits. */
static void conf_133_copy_fails_once(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct fake_alloc *alloc[2];

	(void)state;
	catch_sigbus();
	test_fill(mem, 2 * SZ_64K, 1);
	alloc[0] = fake_migrate_span(d, mem, SZ_64K);
	alloc[1] = fake_migrate_span(d, mem + SZ_64K, SZ_64K);
	fake_fault_arm(&d->fail_copy_to_ram, -EIO, 1, 1);
	assert_true(access_fails(mem, false));
	assert_int_equal(alloc[0]->released, 0);
	/* Neither the other allocation nor the next attempt cares. */
	assert_false(access_fails(mem + SZ_64K, false));
	assert_false(access_fails(mem, false));
	assert_filled(mem, 2 * SZ_64K, 1);
	test_wait_until(alloc[0]->released == 1 && alloc[1]->released == 1);
}

/* The call fails or the signal comes, and not after endless attempts. */
/*
 * A thread in a system call tries again, whatever signals it gets: the call ends
 * when the copy works.
 */
static void conf_133_copy_fails_in_a_system_call(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	unsigned char data[64];
	struct fake_alloc *alloc;
	int fds[2];

	(void)state;
	if (!(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_KERNEL_FAULTS))
		test_skip("system calls do not reach device memory here");
	catch_sigbus();
	assert_int_equal(pipe(fds), 0);
	test_fill(mem, SZ_64K, 1);
	alloc = fake_migrate_span(d, mem, SZ_64K);
	fake_fault_arm(&d->fail_copy_to_ram, -EIO, 1, 3);
	assert_int_equal(write(fds[1], mem, sizeof(data)), sizeof(data));
	assert_true(signals > 0);
	assert_int_equal(read(fds[0], data, sizeof(data)), sizeof(data));
	close(fds[0]);
	close(fds[1]);
	assert_memory_equal(data, mem, sizeof(data));
	assert_filled(mem, SZ_64K, 1);
	test_wait_until(alloc->released == 1);
}

/*
 * Memory that was never touched has no pages waiting to be used again, so the
 * way home has to allocate some.
 */
static void conf_134_no_system_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(&odd_sizes);
	unsigned char *mem = test_map(SZ_32K, SZ_64K);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
	bool failed;

	(void)state;
	catch_sigbus();
	test_cleanup(let_memory_be, NULL);
	range = fake_dev_range(d, mem, SZ_32K, &alloc);
	assert_ret(fake_dev_fill(d, range, 1), 0);
	__atomic_store_n(&no_memory, true, __ATOMIC_RELEASE);
	failed = access_fails(mem + PS, false);
	let_memory_be(NULL);
	if (!refused)
		test_skip("the way home did not have to allocate");
	print_message("%u attempts\n", refused);
	assert_true(failed);
	assert_true(signals > 0);
	check_kept(d, alloc, mem, SZ_32K, 1);
	/* By a copy of its own the kernel fails later than by its pages. */
	if (gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_MOVE)
		assert_int_equal(d->copies_to_ram, 0);

	assert_false(access_fails(mem + PS, false));
	assert_filled(mem, SZ_32K, 1);
	test_wait_until(alloc->released == 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_134_no_system_memory),
	conf_test(conf_133_copy_fails_for_a_reader),
	conf_test(conf_133_copy_fails_for_a_writer),
	conf_test(conf_133_copy_fails_once),
	conf_test(conf_133_copy_fails_in_a_system_call),
};

CONF_MAIN(tests)
