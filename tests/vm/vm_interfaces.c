/* SPDX-License-Identifier: MIT */
/*
 * What the running kernel offers is used, whatever headers this was built with:
 * what the library reports is compared with what the kernel says when it is
 * asked here, and that with the version in which Linux got it.  A build on the
 * headers of Linux 6.1 moves pages on 6.12 and write-protects them on 6.1.
 */
#include "fake_driver.h"

#include <fcntl.h>
#include <linux/version.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FD_FLAGS (O_CLOEXEC | O_NONBLOCK)

static int running_version(void)
{
	unsigned int major, minor;
	struct utsname name;

	assert_int_equal(uname(&name), 0);
	assert_int_equal(sscanf(name.release, "%u.%u", &major, &minor), 2);
	return KERNEL_VERSION((int)major, (int)minor, 0);
}

/*
 * Features of the kernel's userfaultfd, by a descriptor that any process may
 * have if there are descriptors to be had at all.
 */
static unsigned long uffd_features(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd;

	fd = (int)syscall(SYS_userfaultfd, FD_FLAGS | UFFD_USER_MODE_ONLY);
	/* Before Linux 5.11 that flag is unknown. */
	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, FD_FLAGS);
	if (fd < 0)
		test_skip("no userfaultfd to be had: %s", strerror(errno));
	assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	close(fd);
	if (!(api.features & UFFD_FEATURE_PAGEFAULT_FLAG_WP))
		test_skip("userfaultfd of this kernel cannot write-protect");
	return (unsigned long)api.features;
}

static bool has_pagemap_scan(void)
{
	struct page_region region;
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)test_map(PS, PS),
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), ret;

	assert_true(fd >= 0);
	arg.end = arg.start + PS;
	ret = ioctl(fd, PAGEMAP_SCAN, &arg);
	close(fd);
	return ret >= 0;
}

static bool has_procmap_query(void)
{
	struct procmap_query query = {
		.size = sizeof(query),
		.query_addr = (uintptr_t)test_map(PS, PS),
	};
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), ret;

	assert_true(fd >= 0);
	ret = ioctl(fd, PROCMAP_QUERY, &query);
	close(fd);
	return ret == 0;
}

/*
 * What the kernel has, the library uses; and Linux has it since @since, and may
 * have it earlier.
 */
static void check(const char *name, unsigned long feature, bool kernel,
		  int since)
{
	bool used = gpusvm_mm_features(test_mm) & feature;

	print_message("%s: %s\n", name, kernel ? "yes" : "no");
	if (used != kernel)
		fail_msg("%s: the kernel says %d, the library %d", name, kernel,
			 used);
	if (running_version() >= since)
		assert_true(kernel);
}

static void userfaultfd_of_the_kernel_is_used(void **state)
{
	unsigned long api = uffd_features();

	(void)state;
	print_message("built with the headers of Linux %d.%d\n",
		      LINUX_VERSION_CODE >> 16, LINUX_VERSION_CODE >> 8 & 0xff);
	assert_true(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_USERFAULTFD);
	check("UFFDIO_MOVE", GPUSVM_FEATURE_MOVE, api & UFFD_FEATURE_MOVE,
	      KERNEL_VERSION(6, 8, 0));
	check("events of shared memory", GPUSVM_FEATURE_SHMEM_EVENTS,
	      api & UFFD_FEATURE_WP_HUGETLBFS_SHMEM, KERNEL_VERSION(5, 19, 0));
}

static void proc_of_the_kernel_is_used(void **state)
{
	(void)state;
	check("PAGEMAP_SCAN", GPUSVM_FEATURE_PAGEMAP_SCAN, has_pagemap_scan(),
	      KERNEL_VERSION(6, 7, 0));
	check("PROCMAP_QUERY", GPUSVM_FEATURE_PROCMAP_QUERY,
	      has_procmap_query(), KERNEL_VERSION(6, 11, 0));
}

static struct gpusvm_stats read_stats(void)
{
	struct gpusvm_stats stats = { .size = sizeof(stats) };

	assert_ret(gpusvm_mm_get_stats(test_mm, &stats), 0);
	return stats;
}

static void pages_are_taken_as_the_kernel_can(void **state)
{
	bool moves = uffd_features() & UFFD_FEATURE_MOVE;
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct gpusvm_stats before, after;

	(void)state;
	test_fill(mem, SZ_2M, 1);
	before = read_stats();
	fake_migrate_span(d, mem, SZ_2M);
	after = read_stats();
	print_message("pages are %s\n", moves ? "moved" : "write-protected");
	assert_int_equal(after.migrations_to_devmem,
			 before.migrations_to_devmem + 1);
	assert_int_equal(after.moved, before.moved + moves);
	assert_int_equal(after.write_protected,
			 before.write_protected + !moves);
	assert_filled(mem, SZ_2M, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(userfaultfd_of_the_kernel_is_used),
	conf_test(proc_of_the_kernel_is_used),
	conf_test(pages_are_taken_as_the_kernel_can),
};
CONF_MAIN(tests)
