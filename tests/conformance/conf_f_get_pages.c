/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group F: drm_gpusvm_range_get_pages() of system memory.  Device
 * memory is in conf_f_placement.c, other threads are in conf_f_races.c.
 */
#include "fake_driver.h"

#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct fake_driver_config with_dma = { .dma = true };
static const struct drm_gpusvm_ctx read_only = { .read_only = 1 };

static const size_t sizes[] = { SZ_64K, SZ_2M };

static struct drm_gpusvm_range *fault_read_only(struct fake_driver *d,
						const void *addr)
{
	struct drm_gpusvm_range *range =
		fake_fault_ctx(d, addr, 0, ULONG_MAX, &read_only);

	assert_ok_ptr(range);
	return range;
}

/* Nothing of @range is mapped for the device, and nothing leaked. */
static void check_not_mapped(struct fake_driver *d,
			     struct drm_gpusvm_range *range)
{
	assert_false(fake_valid(d, range));
	assert_int_equal(range->flags.has_dma_mapping, 0);
	assert_int_equal(range->flags.has_devmem_pages, 0);
	assert_null(range->dpagemap);
	assert_int_equal(d->dma_maps, d->dma_unmaps);
	assert_int_equal(d->device_maps, d->device_unmaps);
}

/* ---- Plain memory ---- */

static void conf_058_untouched_memory(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct fake_driver *d = fake_driver_create(NULL);
		unsigned char *mem = test_map(sizes[i], SZ_2M);
		struct drm_gpusvm_range *range = fake_fault(d, mem);

		assert_ok_ptr(range);
		assert_int_equal(drm_gpusvm_range_size(range), sizes[i]);
		assert_int_equal(test_resident(mem, sizes[i]), 0);
		assert_ret(fake_get_pages(d, range), 0);
		assert_int_equal(test_resident(mem, sizes[i]), sizes[i] / PS);
		assert_true(fake_valid(d, range));
		assert_int_equal(range->flags.has_dma_mapping, 1);
		assert_int_equal(range->flags.has_devmem_pages, 0);
		assert_null(range->dpagemap);
		assert_dev_zeroed(d, range);
		assert_zeroed(mem, sizes[i]);
		assert_int_equal(d->num_events, 0);
	}
}

static void conf_059_device_reads_what_the_cpu_wrote(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct fake_driver *d =
			fake_driver_create(i ? &with_dma : NULL);
		unsigned char *mem = test_map(sizes[i], SZ_2M);
		struct drm_gpusvm_range *range = fake_fault(d, mem);

		assert_ok_ptr(range);
		test_fill(mem, sizes[i], i);
		assert_ret(fake_get_pages(d, range), 0);
		assert_dev_filled(d, range, i);
	}
}

static void conf_060_cpu_reads_what_the_device_wrote(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		struct fake_driver *d = fake_driver_create(NULL);
		size_t size = sizes[i % 2];
		unsigned char *mem = test_map(size, SZ_2M);
		struct drm_gpusvm_range *range = fake_fault(d, mem);

		assert_ok_ptr(range);
		/* Untouched, and read before, which leaves the zero page. */
		if (i >= 2)
			test_touch_read(mem, size);
		assert_ret(fake_get_pages(d, range), 0);
		assert_true(test_page_exclusive(mem));
		assert_ret(fake_dev_fill(d, range, 10 + i), 0);
		assert_filled(mem, size, 10 + i);
	}
}

static void conf_061_second_call_changes_nothing(void **state)
{
	struct drm_pagemap_device_addr before[SZ_64K / 4096];
	struct fake_driver *d = fake_driver_create(&with_dma);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);
	const struct drm_pagemap_device_addr *array;
	unsigned long entries;
	unsigned int maps;

	(void)state;
	assert_ok_ptr(range);
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_get_pages(d, range), 0);
	entries = fake_entries(range);
	assert_true(entries > 0);
	array = range->dma_addr;
	memcpy(before, array, entries * sizeof(*before));
	maps = d->dma_maps;
	assert_int_equal(maps, entries);

	assert_ret(fake_get_pages(d, range), 0);
	assert_int_equal(d->dma_maps, maps);
	assert_int_equal(d->dma_unmaps, 0);
	assert_int_equal(fake_entries(range), entries);
	assert_memory_equal(range->dma_addr, before, entries * sizeof(*before));
	assert_dev_filled(d, range, 1);
}

/* Each entry is where it belongs; @mem is what the range covers. */
static void check_entries(struct fake_driver *d, struct drm_gpusvm_range *range,
			  const unsigned char *mem)
{
	unsigned long npages = drm_gpusvm_range_size(range) / PS;
	unsigned long entries = fake_entries(range);
	unsigned long page = 0, i;

	assert_true(entries > 0);
	assert_int_equal(d->num_maps, entries);
	for (i = 0; i < entries; i++) {
		const struct drm_pagemap_device_addr *entry =
			&range->dma_addr[i];
		const struct fake_map *map = &d->maps[i];

		assert_int_equal(entry->proto, DRM_INTERCONNECT_SYSTEM);
		assert_true(map->dma && !map->unmap);
		assert_ptr_equal(map->dev, d->dev);
		assert_int_equal(map->bytes, PS << entry->order);
		assert_int_equal(map->pfn, (unsigned long)mem + page * PS);
		assert_int_equal(entry->addr, map->addr);
		page += 1ul << entry->order;
		assert_true(page <= npages);
	}
	assert_int_equal(page, npages);
}

/* [F] B1 */
static void conf_062_entries_cover_the_range_exactly(void **state)
{
	static const size_t all[] = { 4096, SZ_64K, SZ_2M };
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct fake_driver *d = fake_driver_create(&with_dma);
		size_t size = i ? all[i] : PS;
		unsigned char *mem = test_map(SZ_2M, SZ_2M);
		struct drm_gpusvm_range *range;

		/* From the middle for the small ones. */
		if (size < SZ_2M)
			mem += SZ_1M;
		range = fake_range_at(d, mem, size);
		test_touch_write(mem, size);
		assert_ret(fake_get_pages(d, range), 0);
		check_entries(d, range, mem);
	}
}

static void conf_062_addresses_are_cpu_addresses_without_dma(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);
	unsigned long entries, i, page = 0;

	(void)state;
	assert_ok_ptr(range);
	assert_ret(fake_get_pages(d, range), 0);
	entries = fake_entries(range);
	assert_true(entries > 0);
	for (i = 0; i < entries; i++) {
		assert_int_equal(range->dma_addr[i].addr,
				 (unsigned long)mem + page * PS);
		page += 1ul << range->dma_addr[i].order;
	}
}

/* ---- Huge pages ---- */

static void conf_063_huge_page_is_one_entry(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	unsigned char *mem = test_map_huge(SZ_2M);
	struct drm_gpusvm_range *range;

	(void)state;
	if (!mem)
		test_skip("no transparent huge page to be had");
	if (!(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_PAGEMAP_SCAN))
		test_skip("only PAGEMAP_SCAN (Linux 6.7) tells huge pages");
	test_fill(mem, SZ_2M, 1);
	range = fake_range_at(d, mem, SZ_2M);
	assert_ret(fake_get_pages(d, range), 0);
	check_entries(d, range, mem);
	assert_true(fake_entries(range) < SZ_2M / PS);
	assert_int_equal(fake_entries(range), 1);
	assert_dev_filled(d, range, 1);
}

static void conf_063_small_range_in_a_huge_page(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	unsigned char *mem = test_map_huge(SZ_2M);
	struct drm_gpusvm_range *range;

	(void)state;
	if (!mem)
		test_skip("no transparent huge page to be had");
	test_fill(mem + 3 * SZ_64K, SZ_64K, 1);
	range = fake_range_at(d, mem + 3 * SZ_64K, SZ_64K);
	assert_ret(fake_get_pages(d, range), 0);
	check_entries(d, range, mem + 3 * SZ_64K);
	assert_dev_filled(d, range, 1);
}

/* ---- Protection ---- */

static void conf_064_read_only_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	assert_int_equal(mprotect(mem, SZ_64K, PROT_READ), 0);
	range = fault_read_only(d, mem);
	assert_ret(fake_get_pages_ctx(d, range, &read_only), 0);
	assert_true(fake_valid(d, range));
	assert_dev_filled(d, range, 1);
}

/* [W] in part: the fault-in sees the protection, no event is needed. */
static void conf_065_memory_made_read_only(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);

	(void)state;
	assert_ok_ptr(range);
	test_fill(mem, SZ_64K, 1);
	/* All of it, then the last page alone. */
	assert_int_equal(mprotect(mem, SZ_64K, PROT_READ), 0);
	assert_ret(fake_get_pages(d, range), -EPERM);
	check_not_mapped(d, range);
	assert_int_equal(mprotect(mem, SZ_64K - PS, PROT_READ | PROT_WRITE), 0);
	assert_ret(fake_get_pages(d, range), -EPERM);
	check_not_mapped(d, range);

	assert_int_equal(mprotect(mem, SZ_64K, PROT_READ | PROT_WRITE), 0);
	assert_ret(fake_get_pages(d, range), 0);
	assert_dev_filled(d, range, 1);
}

static void conf_066_hole_before_the_event(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *fresh = fake_range_at(d, mem, SZ_64K);
	struct drm_gpusvm_range *used = fake_range_at(d, mem + SZ_64K, SZ_64K);

	(void)state;
	test_touch_write(mem, 2 * SZ_64K);
	assert_ret(fake_get_pages(d, used), 0);
	fake_unmap_pages(d, used);

	/* Whether or not the event has been handled by then. */
	test_munmap(mem + 3 * PS, PS);
	assert_ret(fake_get_pages(d, fresh), -EFAULT);
	test_munmap(mem + SZ_64K, PS);
	assert_ret(fake_get_pages(d, used), -EFAULT);
	check_not_mapped(d, fresh);
	check_not_mapped(d, used);
}

static void conf_066_hole_after_the_event(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);

	(void)state;
	assert_ok_ptr(range);
	test_touch_write(mem, SZ_64K);
	assert_ret(fake_get_pages(d, range), 0);
	test_munmap_sync(mem + SZ_64K - PS, PS);
	assert_int_equal(range->flags.unmapped, 1);
	assert_int_equal(range->flags.partial_unmap, 1);
	assert_ret(fake_get_pages(d, range), -EFAULT);
	check_not_mapped(d, range);
}

static void conf_067_inaccessible_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	struct test_area *area = test_area_reserve(2 * SZ_64K, SZ_64K);
	unsigned char *none = test_area_map(area, 0, SZ_64K, PROT_NONE,
					    MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unsigned char *was = test_area_anon(area, SZ_64K, SZ_64K);
	unsigned long start = test_now_ms();
	struct drm_gpusvm_range *range;

	(void)state;
	range = fault_read_only(d, none);
	assert_ret(fake_get_pages_ctx(d, range, &read_only), -EFAULT);
	check_not_mapped(d, range);

	range = fake_fault(d, was);
	assert_ok_ptr(range);
	test_fill(was, SZ_64K, 1);
	assert_int_equal(mprotect(was, SZ_64K, PROT_NONE), 0);
	assert_ret(fake_get_pages_ctx(d, range, &read_only), -EFAULT);
	check_not_mapped(d, range);
	assert_true(test_now_ms() - start < test_scaled_ms(5000));

	assert_int_equal(mprotect(was, SZ_64K, PROT_READ | PROT_WRITE), 0);
	assert_filled(was, SZ_64K, 1);
}

/* [F] B20 */
static void conf_068_file_page_beyond_the_end(void **state)
{
	static const int kinds[] = { MAP_SHARED, MAP_PRIVATE };
	struct fake_driver *d = fake_driver_create(&with_dma);
	struct test_area *area = test_area_reserve(2 * SZ_64K, SZ_64K);
	int fd = memfd_create("conformance", MFD_CLOEXEC);
	unsigned long start = test_now_ms();
	unsigned int i;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)PS), 0);
	for (i = 0; i < 2; i++) {
		unsigned char *mem = test_area_map(area, i * SZ_64K, SZ_64K,
						   PROT_READ | PROT_WRITE,
						   kinds[i], fd);
		struct drm_gpusvm_range *range;

		assert_non_null(mem);
		range = fake_fault(d, mem);
		assert_ok_ptr(range);
		assert_int_equal(drm_gpusvm_range_size(range), SZ_64K);
		assert_ret(fake_get_pages(d, range), -EFAULT);
		check_not_mapped(d, range);
		assert_ret(fake_get_pages_ctx(d, range, &read_only), -EFAULT);
		check_not_mapped(d, range);
		fake_remove(d, range);

		/* The page that there is. */
		test_fill(mem, PS, i);
		range = fake_range_at(d, mem, PS);
		assert_ret(fake_get_pages(d, range), 0);
		assert_dev_filled(d, range, i);
		fake_remove(d, range);
	}
	assert_true(test_now_ms() - start < test_scaled_ms(5000));
	close(fd);
}

/* ---- Errors and repetition ---- */

static void conf_077_dma_mapping_fails(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);
	unsigned int maps, k;

	(void)state;
	assert_ok_ptr(range);
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_get_pages(d, range), 0);
	maps = d->dma_maps;
	assert_true(maps > 0);
	fake_unmap_pages(d, range);

	for (k = 0; k < maps; k++) {
		fake_reset(d);
		fake_fault_arm(&d->fail_dma_map, -EIO, k + 1, 1);
		assert_ret(fake_get_pages(d, range), -EFAULT);
		fake_fault_disarm(&d->fail_dma_map);
		assert_int_equal(d->dma_maps, k);
		assert_int_equal(d->dma_unmaps, k);
		assert_int_equal(fake_unbalanced_maps(d), 0);
		check_not_mapped(d, range);

		assert_ret(fake_get_pages(d, range), 0);
		assert_int_equal(d->dma_maps, k + maps);
		assert_int_equal(d->dma_unmaps, k);
		assert_dev_filled(d, range, 1);
		fake_unmap_pages(d, range);
		assert_int_equal(fake_unbalanced_maps(d), 0);
	}
}

static void conf_082_notifier_seq_is_updated(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct drm_gpusvm_range *other = fake_range_at(d, mem + SZ_1M, SZ_64K);
	unsigned long seq;

	(void)state;
	assert_int_equal(range->notifier_seq, LONG_MAX);
	assert_ret(fake_get_pages(d, range), 0);
	seq = range->notifier->notifier.invalidate_seq;
	assert_int_equal(range->notifier_seq, seq);

	/* Elsewhere in the notifier: the pages stay valid. */
	assert_ret(fake_get_pages(d, other), 0);
	test_madvise_sync(mem + SZ_1M, SZ_64K, MADV_DONTNEED);
	assert_true(fake_valid(d, range));
	assert_int_not_equal(range->notifier->notifier.invalidate_seq, seq);
	assert_int_equal(range->notifier_seq, seq);

	/* The fast path. */
	assert_ret(fake_get_pages(d, range), 0);
	assert_int_equal(range->notifier_seq,
			 range->notifier->notifier.invalidate_seq);
}

/* [F] B21 */
static void conf_083_write_after_read_only(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);
	size_t i;

	(void)state;
	assert_ok_ptr(range);
	assert_ret(fake_get_pages_ctx(d, range, &read_only), 0);
	assert_dev_zeroed(d, range);

	assert_ret(fake_get_pages(d, range), 0);
	assert_true(fake_valid(d, range));
	for (i = 0; i < SZ_64K; i += PS)
		assert_true(test_page_exclusive(mem + i));
	assert_ret(fake_dev_fill(d, range, 1), 0);
	assert_filled(mem, SZ_64K, 1);
}

static void conf_083_write_after_read_only_not_allowed(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	assert_int_equal(mprotect(mem, SZ_64K, PROT_READ), 0);
	range = fault_read_only(d, mem);
	assert_ret(fake_get_pages_ctx(d, range, &read_only), 0);
	assert_ret(fake_get_pages(d, range), -EPERM);
	/* Reading is still allowed. */
	assert_ret(fake_get_pages_ctx(d, range, &read_only), 0);
	assert_dev_filled(d, range, 1);
}

static void conf_084_unmapped_range(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	struct test_area *area = test_area_reserve(SZ_64K, SZ_64K);
	unsigned char *mem = test_area_anon(area, 0, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);

	(void)state;
	assert_ok_ptr(range);
	assert_ret(fake_get_pages(d, range), 0);
	test_munmap_sync(mem, SZ_64K);
	assert_int_equal(range->flags.unmapped, 1);
	assert_ret(fake_get_pages(d, range), -EFAULT);
	assert_ret(fake_get_pages_ctx(d, range, &read_only), -EFAULT);

	/* New memory at the place does not revive it. */
	test_area_anon(area, 0, SZ_64K);
	test_fill(mem, SZ_64K, 1);
	assert_ptr_equal(fake_fault(d, mem), range);
	assert_ret(fake_get_pages(d, range), -EFAULT);
	check_not_mapped(d, range);

	assert_int_equal(fake_collect(d), 1);
	range = fake_fault(d, mem);
	assert_ok_ptr(range);
	assert_int_equal(range->flags.unmapped, 0);
	assert_ret(fake_get_pages(d, range), 0);
	assert_dev_filled(d, range, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_058_untouched_memory),
	conf_test(conf_059_device_reads_what_the_cpu_wrote),
	conf_test(conf_060_cpu_reads_what_the_device_wrote),
	conf_test(conf_061_second_call_changes_nothing),
	conf_test(conf_062_entries_cover_the_range_exactly),
	conf_test(conf_062_addresses_are_cpu_addresses_without_dma),
	conf_test(conf_063_huge_page_is_one_entry),
	conf_test(conf_063_small_range_in_a_huge_page),
	conf_test(conf_064_read_only_memory),
	conf_test(conf_065_memory_made_read_only),
	conf_test(conf_066_hole_before_the_event),
	conf_test(conf_066_hole_after_the_event),
	conf_test(conf_067_inaccessible_memory),
	conf_test(conf_068_file_page_beyond_the_end),
	conf_test(conf_077_dma_mapping_fails),
	conf_test(conf_082_notifier_seq_is_updated),
	conf_test(conf_083_write_after_read_only),
	conf_test(conf_083_write_after_read_only_not_allowed),
	conf_test(conf_084_unmapped_range),
};

CONF_MAIN(tests)
