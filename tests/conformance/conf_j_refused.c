/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group J: what drm_gpusvm_migrate_to_devmem() refuses, and that
 * nothing has changed then.
 */
#include "fake_driver.h"
#include "pin.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES_64K (SZ_64K / PS)

/* Halves of a 64K range can be ranges of their own. */
static const unsigned long chunks[] = { SZ_64K, SZ_32K };
static const struct fake_driver_config halves = {
	.chunks = chunks,
	.num_chunks = 2,
};

/* It fails like this, without a callback, and leaves the allocation alone. */
static void check_refused(struct fake_driver *d, struct drm_gpusvm_range *range,
			  int expected)
{
	unsigned int populates = d->populates;
	unsigned int copies = d->copies_to_devmem;
	unsigned int releases = d->releases;
	unsigned long used = fake_devmem_used(d);
	struct fake_alloc *alloc;

	assert_ret(fake_migrate(d, range, &alloc), expected);
	assert_non_null(alloc);
	assert_int_equal(d->copies_to_devmem, copies);
	assert_int_equal(d->releases, releases);
	assert_int_equal(alloc->released, 0);
	assert_false(gpusvm_completion_done(&alloc->base.detached));
	assert_int_equal(fake_devmem_used(d), used);
	if (expected != -EFAULT && expected != -EBUSY)
		assert_int_equal(d->populates, populates);
}

static void conf_111_range_may_not_migrate(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);

	(void)state;
	assert_ok_ptr(range);
	assert_int_equal(range->flags.migrate_devmem, 0);
	test_fill(mem, SZ_64K, 1);
	check_refused(d, range, -EINVAL);
	assert_filled(mem, SZ_64K, 1);
	assert_int_equal(test_resident(mem, SZ_64K), PAGES_64K);
}

static void conf_112_callback_missing(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct drm_gpusvm_range *gone = fake_range_at(d, mem + SZ_64K, SZ_64K);
	struct drm_gpusvm_devmem_ops ops[3];
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++)
		ops[i] = fake_devmem_ops;
	ops[0].populate_devmem_pfn = NULL;
	ops[1].copy_to_devmem = NULL;
	ops[2].copy_to_ram = NULL;
	test_fill(mem, SZ_64K, 1);
	test_munmap_sync(mem + SZ_64K, SZ_64K);
	for (i = 0; i < 3; i++) {
		d->devmem_ops = &ops[i];
		check_refused(d, range, -EOPNOTSUPP);
		/* Before anybody looks whether there is memory. */
		check_refused(d, gone, -EOPNOTSUPP);
	}
	assert_filled(mem, SZ_64K, 1);
}

static void conf_112_release_is_optional(void **state)
{
	struct drm_gpusvm_devmem_ops ops = fake_devmem_ops;
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct fake_alloc *alloc;

	(void)state;
	ops.devmem_release = NULL;
	d->devmem_ops = &ops;
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_migrate(d, range, &alloc), 0);
	assert_filled(mem, SZ_64K, 1);
	test_wait_until(gpusvm_completion_done(&alloc->base.detached));
	assert_int_equal(d->releases, 0);
	fake_alloc_drop(alloc);
}

static void conf_113_mapping_changed(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(4 * SZ_64K, SZ_64K);
	unsigned char *mem = test_area_anon(area, 0, 4 * SZ_64K);
	struct drm_gpusvm_range *range[4];
	unsigned int i;

	(void)state;
	for (i = 0; i < 4; i++)
		range[i] = fake_range_at(d, mem + i * SZ_64K, SZ_64K);
	test_fill(mem, SZ_64K, 1);
	test_munmap_sync(mem, SZ_64K);
	check_refused(d, range[0], -ENOENT);
	/* The tail is gone, then the head. */
	test_munmap_sync(mem + 2 * SZ_64K - PS, PS);
	check_refused(d, range[1], -EINVAL);
	test_munmap_sync(mem + 2 * SZ_64K, PS);
	check_refused(d, range[2], -ENOENT);
	/* Two mappings with different rights. */
	test_fill(mem + 3 * SZ_64K, SZ_64K, 3);
	assert_int_equal(mprotect(mem + 3 * SZ_64K, SZ_32K, PROT_READ), 0);
	check_refused(d, range[3], -EINVAL);
	assert_filled(mem + 3 * SZ_64K, SZ_64K, 3);
	assert_int_equal(
		mprotect(mem + 3 * SZ_64K, SZ_32K, PROT_READ | PROT_WRITE), 0);
	assert_ret(fake_migrate(d, range[3], NULL), 0);
	assert_filled(mem + 3 * SZ_64K, SZ_64K, 3);
}

static void conf_113_mapping_replaced(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(3 * SZ_64K, SZ_64K);
	unsigned char *mem = test_area_anon(area, 0, 3 * SZ_64K);
	int fd = memfd_create("conformance", MFD_CLOEXEC);
	struct drm_gpusvm_range *range[3];
	unsigned int i;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SZ_64K), 0);
	for (i = 0; i < 3; i++)
		range[i] = fake_range_at(d, mem + i * SZ_64K, SZ_64K);
	assert_non_null(test_area_map(area, 0, SZ_64K, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1));
	assert_non_null(test_area_map(area, SZ_64K, SZ_64K,
				      PROT_READ | PROT_WRITE, MAP_SHARED, fd));
	assert_non_null(test_area_map(area, 2 * SZ_64K, SZ_64K,
				      PROT_READ | PROT_WRITE, MAP_PRIVATE, fd));
	gpusvm_mm_sync(test_mm);
	for (i = 0; i < 3; i++) {
		test_fill(mem + i * SZ_64K, SZ_64K, i);
		check_refused(d, range[i], -EBUSY);
		assert_filled(mem + i * SZ_64K, SZ_64K, i);
	}
	close(fd);
}

/* ---- 118 and 119: pages that cannot come along ---- */

/*
 * By the move technique only: who is write-protected can be pinned without
 * anybody seeing it.
 */
static void conf_118_pinned_page(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	unsigned long i;
	int pin;

	(void)state;
	if (!(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_MOVE))
		test_skip("write-protection does not see pinned pages");
	for (i = 0; i < PAGES_64K; i += 5) {
		test_fill(mem, SZ_64K, (unsigned int)i);
		pin = test_pin(mem + i * PS, PS);
		if (pin < 0)
			test_skip("no page may be pinned here");
		check_refused(d, range, -EBUSY);
		assert_filled(mem, SZ_64K, (unsigned int)i);
		test_fill(mem, SZ_64K, 100);
		assert_filled(mem, SZ_64K, 100);
		test_unpin(pin);
	}
	/* The end of a pin is not told at once. */
	test_wait_until(fake_migrate(d, range, NULL) == 0);
	assert_filled(mem, SZ_64K, 100);
}

static void check_half_on_device(bool second)
{
	struct fake_driver *d = fake_driver_create(&halves);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	unsigned char *there = second ? mem + SZ_32K : mem;
	unsigned char *here = second ? mem : mem + SZ_32K;
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	test_fill(mem, SZ_64K, 1);
	alloc = fake_migrate_span(d, there, SZ_32K);
	range = fake_range_at(d, mem, SZ_64K);
	check_refused(d, range, -EBUSY);
	assert_int_equal(d->copies_to_ram, 0);
	assert_int_equal(alloc->released, 0);
	assert_int_equal(test_resident(there, SZ_32K), 0);
	assert_int_equal(test_resident(here, SZ_32K), PAGES_64K / 2);
	assert_filled(mem, SZ_64K, 1);
	test_fill(mem, SZ_64K, 2);
	assert_filled(mem, SZ_64K, 2);
	assert_ret(fake_migrate(d, range, NULL), 0);
	assert_filled(mem, SZ_64K, 2);
}

static void conf_118_page_on_the_device_already(void **state)
{
	(void)state;
	check_half_on_device(false);
	check_half_on_device(true);
}

/* A child that is alive shares the pages: they are unshared, or stay. */
static void conf_118_pages_shared_by_fork(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	unsigned char byte = 0;
	int fds[2], err;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	test_fill(mem, SZ_64K, 1);
	pid = fork();
	if (pid == 0) {
		/* Until the parent's end of the pipe is closed. */
		close(fds[1]);
		_exit(read(fds[0], &byte, 1) != 0);
	}
	assert_true(pid > 0);
	err = fake_migrate(d, range, NULL);
	close(fds[0]);
	close(fds[1]);
	if (err)
		assert_ret(err, -EBUSY);
	assert_filled(mem, SZ_64K, 1);
	test_fill(mem, SZ_64K, 2);
	assert_filled(mem, SZ_64K, 2);
	test_wait_until(waitpid(pid, NULL, WNOHANG) == pid);
}

static void conf_119_nothing_to_migrate(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct fake_driver *other = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, &alloc);
	check_refused(d, range, -EFAULT);
	check_refused(other, fake_range_at(other, mem, SZ_64K), -EFAULT);
	assert_int_equal(d->copies_to_ram, 0);
	assert_int_equal(alloc->released, 0);
	assert_ret(fake_get_pages(d, range), 0);
	assert_int_equal(range->flags.has_devmem_pages, 1);
	assert_dev_filled(d, range, 1);
	assert_filled(mem, SZ_64K, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_111_range_may_not_migrate),
	conf_test(conf_112_callback_missing),
	conf_test(conf_112_release_is_optional),
	conf_test(conf_113_mapping_changed),
	conf_test(conf_113_mapping_replaced),
	conf_test(conf_118_pinned_page),
	conf_test(conf_118_page_on_the_device_already),
	conf_test(conf_118_pages_shared_by_fork),
	conf_test(conf_119_nothing_to_migrate),
};

CONF_MAIN(tests)
