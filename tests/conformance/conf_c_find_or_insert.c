/* SPDX-License-Identifier: MIT */
/* Conformance, group C: drm_gpusvm_range_find_or_insert(). */
#include "fake_driver.h"

#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGES_64K (SZ_64K / PS)

#define assert_range(range, addr, bytes)                                 \
	do {                                                             \
		assert_ok_ptr(range);                                    \
		assert_int_equal(drm_gpusvm_range_start(range),          \
				 (unsigned long)(addr));                 \
		assert_int_equal(drm_gpusvm_range_size(range), (bytes)); \
	} while (0)

static struct drm_gpusvm_range *fault_threshold(struct fake_driver *d,
						const void *addr,
						unsigned long threshold)
{
	const struct drm_gpusvm_ctx ctx = {
		.check_pages_threshold = threshold,
		.devmem_possible = 1,
	};

	return fake_fault_ctx(d, addr, 0, ULONG_MAX, &ctx);
}

/* ---- Errors ---- */

/* A driver that serves the middle 64K of 192K. */
static struct fake_driver *windowed_driver(unsigned char **mem)
{
	struct fake_driver_config config = { .mm_range = SZ_64K };

	*mem = test_map(3 * SZ_64K, SZ_64K);
	config.mm_start = (unsigned long)*mem + SZ_64K;
	return fake_driver_create(&config);
}

static void conf_019_below_the_window(void **state)
{
	unsigned char *mem;
	struct fake_driver *d = windowed_driver(&mem);

	(void)state;
	assert_err_ptr(fake_fault(d, mem), -EINVAL);
	assert_err_ptr(fake_fault(d, mem + SZ_64K - 1), -EINVAL);
	assert_int_equal(d->range_allocs + d->notifier_allocs, 0);
	assert_range(fake_fault(d, mem + SZ_64K), mem + SZ_64K, SZ_64K);
}

/* Equal to the end is [F] B19. */
static void conf_020_above_the_window(void **state)
{
	unsigned char *mem;
	struct fake_driver *d = windowed_driver(&mem);

	(void)state;
	assert_err_ptr(fake_fault(d, mem + 2 * SZ_64K + 1), -EINVAL);
	assert_err_ptr(fake_fault(d, mem + 3 * SZ_64K - 1), -EINVAL);
	assert_err_ptr(fake_fault(d, mem + 2 * SZ_64K), -EINVAL);
	assert_int_equal(d->range_allocs + d->notifier_allocs, 0);
	assert_range(fake_fault(d, mem + 2 * SZ_64K - 1), mem + SZ_64K, SZ_64K);
}

static void conf_021_no_mapping(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(3 * SZ_64K, SZ_64K);

	(void)state;
	test_munmap(mem + SZ_64K, SZ_64K);
	assert_err_ptr(fake_fault(d, mem + SZ_64K), -ENOENT);
	assert_err_ptr(fake_fault(d, mem + 2 * SZ_64K - 1), -ENOENT);
	assert_int_equal(d->range_allocs, 0);
	assert_ok_ptr(fake_fault(d, mem + SZ_64K - 1));
	assert_ok_ptr(fake_fault(d, mem + 2 * SZ_64K));
}

static void conf_022_read_only_mapping(void **state)
{
	const struct drm_gpusvm_ctx read_only = { .read_only = 1 };
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SZ_64K, SZ_64K);
	unsigned char *mem = test_area_map(area, 0, SZ_64K, PROT_READ,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1);

	(void)state;
	assert_err_ptr(fake_fault(d, mem), -EPERM);
	assert_int_equal(d->range_allocs, 0);
	assert_range(fake_fault_ctx(d, mem, 0, ULONG_MAX, &read_only), mem,
		     SZ_64K);
}

/* [W] in part: the look-up sees the protection, no event is needed. */
static void conf_023_existing_range_after_mprotect(void **state)
{
	const struct drm_gpusvm_ctx read_only = { .read_only = 1 };
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);

	(void)state;
	assert_range(range, mem, SZ_64K);
	assert_int_equal(mprotect(mem, SZ_64K, PROT_READ), 0);
	assert_err_ptr(fake_fault(d, mem), -EPERM);
	assert_ptr_equal(fake_fault_ctx(d, mem, 0, ULONG_MAX, &read_only),
			 range);
	assert_int_equal(mprotect(mem, SZ_64K, PROT_READ | PROT_WRITE), 0);
	assert_ptr_equal(fake_fault(d, mem), range);
}

/* ---- Chunks ---- */

static void conf_024_large_mapping_gives_2m(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(3 * SZ_2M, SZ_2M);

	(void)state;
	assert_range(fake_fault(d, mem + SZ_2M + SZ_1M + 17), mem + SZ_2M,
		     SZ_2M);
	assert_int_equal(d->range_allocs, 1);
}

static void conf_025_mapping_of_64k(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SZ_2M, SZ_2M);
	unsigned char *aligned = test_area_anon(area, SZ_64K, SZ_64K);
	unsigned char *unaligned =
		test_area_anon(area, 3 * SZ_64K + PS, SZ_64K);

	(void)state;
	assert_range(fake_fault(d, aligned + 3 * PS), aligned, SZ_64K);
	assert_range(fake_fault(d, unaligned), unaligned, PS);
	assert_range(fake_fault(d, unaligned + SZ_64K - 1),
		     unaligned + SZ_64K - PS, PS);
}

static void conf_026_tail_page_of_a_mapping(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(2 * SZ_2M, SZ_2M);
	unsigned char *mem = test_area_anon(area, 0, SZ_2M + PS);

	(void)state;
	assert_range(fake_fault(d, mem + SZ_2M + 5), mem + SZ_2M, PS);
	assert_range(fake_fault(d, mem + SZ_2M - 1), mem, SZ_2M);
}

static void conf_027_block_without_its_last_page(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SZ_2M, SZ_2M);
	unsigned char *mem = test_area_anon(area, 0, SZ_2M - PS);

	(void)state;
	assert_range(fake_fault(d, mem), mem, SZ_64K);
	assert_range(fake_fault(d, mem + SZ_1M + PS), mem + SZ_1M, SZ_64K);
	assert_range(fake_fault(d, mem + SZ_2M - SZ_64K), mem + SZ_2M - SZ_64K,
		     PS);
	assert_range(fake_fault(d, mem + SZ_2M - 2 * PS), mem + SZ_2M - 2 * PS,
		     PS);
}

static void conf_028_device_limits(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	unsigned long start = (unsigned long)mem + SZ_1M;

	(void)state;
	assert_range(fake_fault_ctx(d, mem + SZ_1M + PS, start, start + SZ_128K,
				    NULL),
		     mem + SZ_1M, SZ_64K);
	/* Limits that are not aligned to 64K leave pages. */
	start = (unsigned long)mem + SZ_64K + PS;
	assert_range(fake_fault_ctx(d, mem + SZ_64K + 2 * PS, start,
				    start + SZ_64K, NULL),
		     mem + SZ_64K + 2 * PS, PS);
	start = (unsigned long)mem;
	assert_err_ptr(fake_fault_ctx(d, mem, start, start + PS - 1, NULL),
		       -EINVAL);
	assert_err_ptr(fake_fault_ctx(d, mem + PS / 2, start + PS / 4,
				      start + PS + PS / 4, NULL),
		       -EINVAL);
	/* Limits elsewhere. */
	assert_err_ptr(fake_fault_ctx(d, mem, start + SZ_64K, start + SZ_2M,
				      NULL),
		       -EINVAL);
	assert_int_equal(d->range_allocs, 2);
}

static void conf_029_notifier_limits_chunk(void **state)
{
	const struct fake_driver_config config = { .notifier_size = SZ_64K };
	struct fake_driver *d = fake_driver_create(&config);
	unsigned char *mem = test_map(2 * SZ_2M, SZ_2M);
	struct drm_gpusvm_range *range = fake_fault(d, mem + SZ_1M + 100);

	(void)state;
	assert_range(range, mem + SZ_1M, SZ_64K);
	assert_int_equal(drm_gpusvm_notifier_size(range->notifier), SZ_64K);
}

static void conf_030_neighbours_limit_chunk(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *page =
		fake_range_at(d, mem + SZ_1M + 3 * PS, PS);

	(void)state;
	assert_range(fake_fault(d, mem + SZ_1M), mem + SZ_1M, PS);
	assert_range(fake_fault(d, mem + SZ_1M + SZ_64K - 1),
		     mem + SZ_1M + SZ_64K - PS, PS);
	assert_range(fake_fault(d, mem + SZ_1M + SZ_64K), mem + SZ_1M + SZ_64K,
		     SZ_64K);
	assert_range(fake_fault(d, mem), mem, SZ_64K);
	assert_ptr_equal(fake_fault(d, mem + SZ_1M + 3 * PS), page);
}

static void conf_031_no_chunk_fits(void **state)
{
	static const unsigned long chunks[] = { SZ_2M };
	const struct fake_driver_config config = {
		.chunks = chunks,
		.num_chunks = 1,
	};
	struct fake_driver *d = fake_driver_create(&config);
	unsigned char *mem = test_map(SZ_64K, SZ_2M);

	(void)state;
	assert_err_ptr(fake_fault(d, mem), -EINVAL);
	assert_int_equal(d->range_allocs, 0);
	assert_int_equal(d->notifier_allocs, d->notifier_frees);
	assert_int_equal(fake_notifier_count(d), 0);
}

/* ---- Finding again ---- */

static void conf_032_same_address_same_range(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);

	(void)state;
	assert_ok_ptr(range);
	assert_ptr_equal(fake_fault(d, mem), range);
	assert_int_equal(d->range_allocs, 1);
	assert_int_equal(fake_refcount(range), 1);
}

static void conf_033_any_address_inside(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_2M);
	struct drm_gpusvm_range *range = fake_fault(d, mem + 3 * PS);
	struct drm_gpusvm_range *next;
	unsigned int i;

	(void)state;
	assert_range(range, mem, SZ_64K);
	assert_ptr_equal(fake_fault(d, mem), range);
	assert_ptr_equal(fake_fault(d, mem + SZ_64K - 1), range);
	for (i = 0; i < 20; i++)
		assert_ptr_equal(fake_fault(d, mem + test_random_below(SZ_64K)),
				 range);
	assert_int_equal(d->range_allocs, 1);

	next = fake_fault(d, mem + SZ_64K);
	assert_range(next, mem + SZ_64K, SZ_64K);
	assert_ptr_not_equal(next, range);
}

static void conf_034_unaligned_address(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SZ_2M, SZ_2M);
	unsigned char *small = test_area_anon(area, PS, 2 * PS);
	unsigned char *large = test_area_anon(area, SZ_1M, SZ_64K);
	struct drm_gpusvm_range *range;

	(void)state;
	range = fake_fault(d, small + PS + 1);
	assert_range(range, small + PS, PS);
	assert_ptr_equal(fake_fault(d, small + PS), range);
	assert_ptr_equal(fake_fault(d, small + 2 * PS - 1), range);
	range = fake_fault(d, large + 3 * PS + 123);
	assert_range(range, large, SZ_64K);
	assert_ptr_equal(fake_fault(d, large + 3 * PS), range);
}

/* ---- The populated-pages threshold ---- */

static void conf_035_threshold_untouched(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);

	(void)state;
	assert_range(fault_threshold(d, mem + PS, SZ_64K), mem + PS, PS);
}

static void conf_036_threshold_touched(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);

	(void)state;
	test_touch_write(mem, SZ_64K);
	assert_range(fault_threshold(d, mem + PS, SZ_64K), mem, SZ_64K);
}

static void conf_037_threshold_one_page_missing(void **state)
{
	size_t missing;

	(void)state;
	for (missing = 0; missing < PAGES_64K; missing += PAGES_64K / 2 - 1) {
		struct fake_driver *d = fake_driver_create(NULL);
		unsigned char *mem = test_map(SZ_64K, SZ_64K);
		size_t i;

		for (i = 0; i < PAGES_64K; i++)
			if (i != missing)
				test_touch_write(mem + i * PS, PS);
		assert_int_equal(test_resident(mem, SZ_64K), PAGES_64K - 1);
		assert_range(fault_threshold(d, mem + PS, SZ_64K), mem + PS,
			     PS);
		fake_driver_destroy(d);
	}
}

static void conf_038_threshold_below_chunk(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);

	(void)state;
	assert_range(fault_threshold(d, mem + SZ_1M, SZ_64K), mem, SZ_2M);
}

static void conf_039_threshold_2m_untouched(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);

	(void)state;
	assert_range(fault_threshold(d, mem + SZ_1M, SZ_2M), mem + SZ_1M, PS);
	/* A populated 64K in it is good enough for 64K. */
	test_touch_write(mem, SZ_64K);
	assert_range(fault_threshold(d, mem + PS, SZ_2M), mem, SZ_64K);
}

static void conf_040_threshold_device_pages(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct fake_driver *other = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	alloc = fake_migrate_span(d, mem, SZ_64K);
	assert_range(fault_threshold(d, mem + PS, SZ_64K), mem, SZ_64K);
	assert_range(fault_threshold(other, mem + PS, SZ_64K), mem + PS, PS);

	/* Looking did not bring them home. */
	assert_int_equal(d->copies_to_ram, 0);
	assert_int_equal(alloc->released, 0);
	assert_filled(mem, SZ_64K, 1);
}

static void conf_041_find_or_insert_populates_nothing(void **state)
{
	static const unsigned long thresholds[] = { 0, SZ_64K, SZ_2M };
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct fake_driver *d = fake_driver_create(NULL);
		unsigned char *mem = test_map(SZ_2M, SZ_2M);
		size_t at;

		test_touch_write(mem + 5 * PS, PS);
		for (at = 0; at < SZ_2M; at += SZ_64K)
			assert_ok_ptr(
				fault_threshold(d, mem + at, thresholds[i]));
		assert_int_equal(test_resident(mem, SZ_2M), 1);
		assert_true(test_page_present(mem + 5 * PS));
		assert_false(test_page_present(mem));
		fake_driver_destroy(d);
	}
}

/* ---- migrate_devmem ---- */

static int memory_file(size_t size)
{
	int fd = memfd_create("conformance", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void check_kind(struct fake_driver *d, unsigned char *mem, bool may)
{
	struct drm_gpusvm_range *range = fake_fault_devmem(d, mem);

	assert_ok_ptr(range);
	assert_int_equal(range->flags.migrate_devmem, may);
	fake_remove(d, range);
}

static void conf_042_kinds_of_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(2 * SZ_2M, SZ_2M);
	int fd = memory_file(SZ_64K);
	const int rw = PROT_READ | PROT_WRITE;
	struct drm_gpusvm_range *range;
	unsigned char *anon;

	(void)state;
	anon = test_area_anon(area, 0, SZ_64K);
	check_kind(d, anon, true);
	range = fake_fault(d, anon);
	assert_ok_ptr(range);
	assert_int_equal(range->flags.migrate_devmem, 0);

	check_kind(d,
		   test_area_map(area, 2 * SZ_64K, SZ_64K, rw,
				 MAP_SHARED | MAP_ANONYMOUS, -1),
		   false);
	check_kind(d,
		   test_area_map(area, 4 * SZ_64K, SZ_64K, rw, MAP_SHARED, fd),
		   false);
	check_kind(d,
		   test_area_map(area, 6 * SZ_64K, SZ_64K, rw, MAP_PRIVATE, fd),
		   false);
	close(fd);
}

static void conf_042_kinds_of_memory_hugetlb(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SZ_2M, SZ_2M);
	unsigned char *mem = test_area_map(
		area, 0, SZ_2M, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << 26), -1);

	(void)state;
	if (!mem)
		test_skip("no huge page to be had (vm.nr_hugepages)");
	check_kind(d, mem, false);
}

static void conf_043_migrate_devmem_is_fixed_at_creation(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);

	(void)state;
	assert_ok_ptr(range);
	assert_int_equal(range->flags.migrate_devmem, 0);
	assert_ptr_equal(fake_fault_devmem(d, mem), range);
	assert_int_equal(range->flags.migrate_devmem, 0);

	range = fake_fault_devmem(d, mem + SZ_64K);
	assert_ok_ptr(range);
	assert_ptr_equal(fake_fault(d, mem + SZ_64K), range);
	assert_int_equal(range->flags.migrate_devmem, 1);
}

/* ---- The new range ---- */

static void conf_044_range_alloc_fails(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;

	(void)state;
	fake_fault_arm(&d->fail_range_alloc, -ENOMEM, 1, 1);
	assert_err_ptr(fake_fault(d, mem), -ENOMEM);
	assert_int_equal(d->notifier_allocs, 1);
	assert_int_equal(d->notifier_frees, 1);
	assert_int_equal(fake_notifier_count(d), 0);

	range = fake_fault(d, mem);
	assert_range(range, mem, SZ_64K);
	fake_fault_arm(&d->fail_range_alloc, -ENOMEM, 1, 1);
	assert_err_ptr(fake_fault(d, mem + SZ_64K), -ENOMEM);
	assert_int_equal(d->notifier_frees, 1);
	assert_int_equal(fake_notifier_count(d), 1);
	assert_ptr_equal(fake_find(d, mem), range);
	assert_null(fake_find(d, mem + SZ_64K));
	assert_ok_ptr(fake_fault(d, mem + SZ_64K));
}

static void conf_045_fresh_range(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault_devmem(d, mem);

	(void)state;
	assert_ok_ptr(range);
	assert_ptr_equal(range->gpusvm, &d->gpusvm);
	assert_int_equal(fake_refcount(range), 1);
	assert_int_equal(range->notifier_seq, LONG_MAX);
	assert_int_equal(range->flags.migrate_devmem, 1);
	assert_int_equal(range->flags.unmapped, 0);
	assert_int_equal(range->flags.partial_unmap, 0);
	assert_int_equal(range->flags.has_devmem_pages, 0);
	assert_int_equal(range->flags.has_dma_mapping, 0);
	assert_null(range->dma_addr);
	assert_null(range->dpagemap);
	assert_false(fake_valid(d, range));
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_019_below_the_window),
	conf_test(conf_020_above_the_window),
	conf_test(conf_021_no_mapping),
	conf_test(conf_022_read_only_mapping),
	conf_test(conf_023_existing_range_after_mprotect),
	conf_test(conf_024_large_mapping_gives_2m),
	conf_test(conf_025_mapping_of_64k),
	conf_test(conf_026_tail_page_of_a_mapping),
	conf_test(conf_027_block_without_its_last_page),
	conf_test(conf_028_device_limits),
	conf_test(conf_029_notifier_limits_chunk),
	conf_test(conf_030_neighbours_limit_chunk),
	conf_test(conf_031_no_chunk_fits),
	conf_test(conf_032_same_address_same_range),
	conf_test(conf_033_any_address_inside),
	conf_test(conf_034_unaligned_address),
	conf_test(conf_035_threshold_untouched),
	conf_test(conf_036_threshold_touched),
	conf_test(conf_037_threshold_one_page_missing),
	conf_test(conf_038_threshold_below_chunk),
	conf_test(conf_039_threshold_2m_untouched),
	conf_test(conf_040_threshold_device_pages),
	conf_test(conf_041_find_or_insert_populates_nothing),
	conf_test(conf_042_kinds_of_memory),
	conf_test(conf_042_kinds_of_memory_hugetlb),
	conf_test(conf_043_migrate_devmem_is_fixed_at_creation),
	conf_test(conf_044_range_alloc_fails),
	conf_test(conf_045_fresh_range),
};

CONF_MAIN(tests)
