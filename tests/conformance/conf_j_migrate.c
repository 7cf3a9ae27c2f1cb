/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group J: drm_gpusvm_migrate_to_devmem() that succeeds.  What
 * makes it fail is in conf_j_refused.c and conf_j_errors.c.
 */
#include "fake_driver.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES_64K (SZ_64K / PS)

static size_t size_of(unsigned int i)
{
	const size_t sizes[] = { PS, SZ_64K, SZ_2M };

	return sizes[i];
}

static unsigned long pages_present(struct fake_alloc *alloc, unsigned int tag)
{
	unsigned long i, n, count = 0;

	for (i = 0; i < alloc->npages; i++) {
		const unsigned char *page = fake_alloc_page(alloc, i);

		for (n = 0; n < PS; n++)
			if (page[n] != test_pattern(i * PS + n, tag))
				break;
		count += n == PS;
	}
	return count;
}

/* ---- 114 to 117: what is copied ---- */

static void conf_114_populated_range(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 6; i++) {
		size_t size = size_of(i % 3);
		struct fake_driver *d = fake_driver_create(NULL);
		unsigned char *mem = test_map(size, SZ_2M);
		struct drm_gpusvm_range *range = fake_range_at(d, mem, size);
		const struct fake_copy *copy;
		struct fake_alloc *alloc;

		d->scatter = i >= 3;
		test_fill(mem, size, i);
		assert_ret(fake_migrate(d, range, &alloc), 0);
		assert_int_equal(d->copies_to_devmem, 1);
		copy = fake_last_copy(d, false);
		assert_non_null(copy);
		assert_int_equal(copy->npages, size / PS);
		assert_int_equal(copy->copied, size / PS);
		assert_int_equal(pages_present(alloc, i), size / PS);
		assert_int_equal(test_resident(mem, size), 0);
		assert_int_equal(alloc->released, 0);

		assert_ret(fake_get_pages(d, range), 0);
		assert_dev_filled(d, range, i);
		assert_filled(mem, size, i);
		fake_driver_destroy(d);
	}
}

static void conf_114_huge_page(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map_huge(SZ_2M);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	if (!mem)
		test_skip("no transparent huge page to be had");
	/* A part of it, then the rest with it. */
	test_fill(mem, SZ_2M, 1);
	alloc = fake_migrate_span(d, mem, SZ_64K);
	assert_int_equal(pages_present(alloc, 1), PAGES_64K);
	assert_int_equal(test_resident(mem, SZ_2M), (SZ_2M - SZ_64K) / PS);
	assert_filled(mem, SZ_2M, 1);

	mem = test_map_huge(SZ_2M);
	if (!mem)
		test_skip("no transparent huge page to be had");
	test_fill(mem, SZ_2M, 2);
	range = fake_range_at(d, mem, SZ_2M);
	assert_ret(fake_migrate(d, range, &alloc), 0);
	assert_int_equal(pages_present(alloc, 2), SZ_2M / PS);
	assert_int_equal(test_resident(mem, SZ_2M), 0);
	assert_filled(mem, SZ_2M, 2);
}

static void conf_115_untouched_range(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		size_t size = size_of(i);
		struct fake_driver *d = fake_driver_create(NULL);
		unsigned char *mem = test_map(size, SZ_2M);
		struct drm_gpusvm_range *range = fake_range_at(d, mem, size);
		const struct fake_copy *copy;

		assert_ret(fake_migrate(d, range, NULL), 0);
		copy = fake_last_copy(d, false);
		if (copy) {
			assert_int_equal(copy->npages, size / PS);
			assert_int_equal(copy->holes, size / PS);
		}
		assert_ret(fake_get_pages(d, range), 0);
		assert_int_equal(range->flags.has_devmem_pages, 1);
		assert_dev_zeroed(d, range);
		assert_int_equal(test_resident(mem, size), 0);
		assert_zeroed(mem, size);
		test_fill(mem, size, 1);
		assert_filled(mem, size, 1);
		fake_driver_destroy(d);
	}
}

static void conf_115_device_writes_untouched_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;

	(void)state;
	range = fake_dev_range(d, mem, SZ_64K, NULL);
	assert_ret(fake_dev_fill(d, range, 1), 0);
	assert_filled(mem, SZ_64K, 1);
}

static void conf_116_half_touched_range(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	const struct fake_copy *copy;
	unsigned long i;

	(void)state;
	for (i = 0; i < PAGES_64K; i += 2)
		test_fill(mem + i * PS, PS, (unsigned int)i);
	assert_ret(fake_migrate(d, range, NULL), 0);
	copy = fake_last_copy(d, false);
	assert_non_null(copy);
	assert_int_equal(copy->copied, PAGES_64K / 2);
	assert_int_equal(copy->holes, PAGES_64K / 2);
	for (i = 0; i < PAGES_64K; i++)
		assert_int_equal(fake_copy_had_addr(copy, i), i % 2 == 0);

	for (i = 0; i < PAGES_64K; i++) {
		if (i % 2)
			assert_zeroed(mem + i * PS, PS);
		else
			assert_filled(mem + i * PS, PS, (unsigned int)i);
	}
}

static void conf_117_zero_page_is_nothing_to_copy(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	const struct fake_copy *copy;

	(void)state;
	if (!(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_PAGEMAP_SCAN))
		test_skip("this kernel does not tell zero pages from data");
	test_touch_read(mem, SZ_64K);
	test_fill(mem + SZ_32K, SZ_32K, 1);
	assert_int_equal(test_resident(mem, SZ_64K), PAGES_64K);
	assert_false(test_page_exclusive(mem));
	assert_ret(fake_migrate(d, range, NULL), 0);
	copy = fake_last_copy(d, false);
	assert_non_null(copy);
	assert_int_equal(copy->holes, PAGES_64K / 2);
	assert_int_equal(copy->copied, PAGES_64K / 2);
	assert_false(fake_copy_had_addr(copy, 0));
	assert_true(fake_copy_had_addr(copy, PAGES_64K - 1));

	assert_ret(fake_get_pages(d, range), 0);
	assert_zeroed(mem, SZ_32K);
	assert_filled(mem + SZ_32K, SZ_32K, 1);
	test_fill(mem, SZ_64K, 2);
	assert_filled(mem, SZ_64K, 2);
}

/* ---- 121 and 122: the reference ---- */

enum death {
	BY_READ,
	BY_WRITE,
	BY_MUNMAP,
	BY_DONTNEED,
	BY_EVICTION,
	DEATHS
};

static void die(struct fake_alloc *alloc, unsigned char *mem, enum death how)
{
	switch (how) {
	case BY_READ:
		test_touch_read(mem, PS);
		break;
	case BY_WRITE:
		test_touch_write(mem, PS);
		break;
	case BY_MUNMAP:
		test_munmap_sync(mem, SZ_64K);
		break;
	case BY_DONTNEED:
		test_madvise_sync(mem, SZ_64K, MADV_DONTNEED);
		break;
	default:
		assert_ret(drm_gpusvm_evict_to_ram(&alloc->base), 0);
	}
}

static void conf_121_release_when_the_pages_die(void **state)
{
	enum death how;

	(void)state;
	for (how = 0; how < DEATHS; how++) {
		struct fake_driver *d = fake_driver_create(NULL);
		unsigned char *mem = test_map(SZ_64K, SZ_64K);
		struct fake_alloc *alloc;

		test_fill(mem, SZ_64K, 1);
		fake_dev_range(d, mem, SZ_64K, &alloc);
		gpusvm_mm_sync(test_mm);
		assert_int_equal(alloc->released, 0);
		assert_false(gpusvm_completion_done(&alloc->base.detached));
		die(alloc, mem, how);
		test_wait_until(d->releases > 0);
		fake_driver_fini(d);
		gpusvm_mm_sync(test_mm);
		assert_int_equal(alloc->released, 1);
		assert_int_equal(d->releases, 1);
		assert_int_equal(fake_devmem_used(d), 0);
		fake_driver_destroy(d);
	}
}

static void conf_122_detached_before_release(void **state)
{
	enum death how;

	(void)state;
	for (how = 0; how < DEATHS; how++) {
		struct fake_driver *d = fake_driver_create(NULL);
		unsigned char *mem = test_map(SZ_64K, SZ_64K);
		struct fake_alloc *alloc;

		fake_dev_range(d, mem, SZ_64K, &alloc);
		die(alloc, mem, how);
		test_wait_until(alloc->released > 0);
		assert_true(alloc->detached_at_release);
		assert_true(gpusvm_completion_done(&alloc->base.detached));
		fake_driver_destroy(d);
	}
}

static void conf_128_allocations_are_independent(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *second;
	struct fake_alloc *alloc[2];

	(void)state;
	test_fill(mem, SZ_64K, 1);
	test_fill(mem + SZ_64K, SZ_64K, 2);
	fake_dev_range(d, mem, SZ_64K, &alloc[0]);
	second = fake_dev_range(d, mem + SZ_64K, SZ_64K, &alloc[1]);
	assert_filled(mem, SZ_64K, 1);
	test_wait_until(alloc[0]->released == 1);
	assert_int_equal(alloc[1]->released, 0);
	assert_int_equal(d->copies_to_ram, 1);
	assert_true(fake_valid(d, second));
	assert_dev_filled(d, second, 2);
	assert_filled(fake_alloc_page(alloc[1], 0), SZ_64K, 2);

	assert_ret(drm_gpusvm_evict_to_ram(&alloc[1]->base), 0);
	assert_int_equal(alloc[0]->released, 1);
	assert_int_equal(alloc[1]->released, 1);
	assert_filled(mem + SZ_64K, SZ_64K, 2);
}

/* ---- 124: write permission ---- */

/* Whether a system call may write there: the answer without a signal. */
static bool is_writable(unsigned char *addr)
{
	unsigned char byte = *addr;
	bool writable;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], &byte, 1), 1);
	writable = read(fds[0], addr, 1) == 1;
	close(fds[0]);
	close(fds[1]);
	return writable;
}

static void conf_124_writable_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	unsigned long i;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	fake_dev_range(d, mem, SZ_64K, NULL);
	assert_filled(mem, SZ_64K, 1);
	for (i = 0; i < PAGES_64K; i++)
		assert_true(is_writable(mem + i * PS));
	test_fill(mem, SZ_64K, 2);
	assert_filled(mem, SZ_64K, 2);
}

static void conf_124_read_only_memory(void **state)
{
	const struct drm_gpusvm_ctx read_only = {
		.read_only = 1,
		.devmem_possible = 1,
	};
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	unsigned long i;
	bool held;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	assert_int_equal(mprotect(mem, SZ_64K, PROT_READ), 0);
	range = fake_fault_ctx(d, mem, (unsigned long)mem,
			       (unsigned long)mem + SZ_64K, &read_only);
	assert_ok_ptr(range);
	assert_int_equal(drm_gpusvm_range_size(range), SZ_64K);
	/* Such memory does not move, and this source has nothing else. */
	held = gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_RWP;
	assert_ret(fake_migrate(d, range, NULL), held ? -EBUSY : 0);
	assert_ret(fake_get_pages_ctx(d, range, &read_only), 0);
	assert_int_equal(range->flags.has_devmem_pages, !held);
	if (!held)
		assert_dev_filled(d, range, 1);

	assert_filled(mem, SZ_64K, 1);
	for (i = 0; i < PAGES_64K; i++)
		assert_false(is_writable(mem + i * PS));
	assert_int_equal(mprotect(mem, SZ_64K, PROT_READ | PROT_WRITE), 0);
	test_fill(mem, SZ_64K, 2);
	assert_filled(mem, SZ_64K, 2);
}

static void conf_124_locked_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);

	(void)state;
	test_fill(mem, SZ_64K, 1);
	if (mlock(mem, SZ_64K))
		test_skip("no memory may be locked here");
	/* That it moves at all is not promised, that nothing is lost is. */
	(void)!fake_migrate(d, range, NULL);
	assert_filled(mem, SZ_64K, 1);
	assert_true(is_writable(mem));
	munlock(mem, SZ_64K);
	assert_filled(mem, SZ_64K, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_114_populated_range),
	conf_test(conf_114_huge_page),
	conf_test(conf_115_untouched_range),
	conf_test(conf_115_device_writes_untouched_memory),
	conf_test(conf_116_half_touched_range),
	conf_test(conf_117_zero_page_is_nothing_to_copy),
	conf_test(conf_121_release_when_the_pages_die),
	conf_test(conf_122_detached_before_release),
	conf_test(conf_124_writable_memory),
	conf_test(conf_124_read_only_memory),
	conf_test(conf_124_locked_memory),
	conf_test(conf_128_allocations_are_independent),
};

CONF_MAIN(tests)
