/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group F: drm_gpusvm_range_get_pages() where device memory is
 * involved: alone, mixed with other memory, or somebody else's.
 */
#include "fake_driver.h"

#define PAGES_64K (SZ_64K / PS)

/* Halves of a 64K range can be ranges of their own. */
static const unsigned long chunks[] = { SZ_64K, SZ_32K };
static const struct fake_driver_config halves = {
	.chunks = chunks,
	.num_chunks = 2,
};

static void conf_069_all_device_pages(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	unsigned long entries, i, page = 0;
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_migrate(d, range, &alloc), 0);
	fake_reset(d);
	assert_ret(fake_get_pages(d, range), 0);
	assert_true(fake_valid(d, range));
	assert_int_equal(range->flags.has_devmem_pages, 1);
	assert_int_equal(range->flags.has_dma_mapping, 1);
	assert_ptr_equal(range->dpagemap, &d->dpagemap);

	entries = fake_entries(range);
	assert_true(entries > 0);
	assert_int_equal(d->device_maps, entries);
	assert_int_equal(d->dma_maps, 0);
	for (i = 0; i < entries; i++) {
		const struct drm_pagemap_device_addr *entry =
			&range->dma_addr[i];

		assert_int_equal(entry->proto, FAKE_PROTO);
		assert_int_equal(entry->addr, d->maps[i].addr);
		assert_int_equal(d->maps[i].pfn,
				 (unsigned long)fake_alloc_page(alloc, page) /
					 PS);
		assert_int_equal(d->maps[i].bytes, PS << entry->order);
		assert_ptr_equal(d->maps[i].dev, d->dev);
		page += 1ul << entry->order;
	}
	assert_int_equal(page, PAGES_64K);
	assert_dev_filled(d, range, 1);
	/* Where it is, too. */
	assert_filled(fake_alloc_page(alloc, 0), SZ_64K, 1);
	assert_int_equal(d->copies_to_ram, 0);

	assert_ret(fake_dev_fill(d, range, 2), 0);
	assert_filled(mem, SZ_64K, 2);
}

static void conf_069_scattered_device_pages(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
	unsigned long i;

	(void)state;
	d->scatter = true;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, &alloc);
	assert_int_equal(fake_entries(range), PAGES_64K);
	for (i = 0; i < PAGES_64K; i++)
		assert_int_equal(d->maps[i].pfn,
				 (unsigned long)fake_alloc_page(alloc, i) / PS);
	assert_dev_filled(d, range, 1);
	assert_filled(mem, SZ_64K, 1);
}

/* What the two halves of 64K are. */
enum placement {
	SYSTEM,
	DEVICE,
};

struct mix {
	struct fake_driver *d;
	unsigned char *mem;
	struct drm_gpusvm_range *range;
};

static void make_mix(struct mix *m, enum placement first, enum placement second)
{
	m->d = fake_driver_create(&halves);
	m->mem = test_map(SZ_64K, SZ_64K);
	test_fill(m->mem, SZ_64K, 1);
	if (first == DEVICE)
		fake_migrate_span(m->d, m->mem, SZ_32K);
	if (second == DEVICE)
		fake_migrate_span(m->d, m->mem + SZ_32K, SZ_32K);
	m->range = fake_range_at(m->d, m->mem, SZ_64K);
}

static void check_refused(struct mix *m)
{
	assert_ret(fake_get_pages(m->d, m->range), -EOPNOTSUPP);
	assert_false(fake_valid(m->d, m->range));
	assert_int_equal(m->range->flags.__flags & ~1u, 0);
	assert_null(m->range->dpagemap);
	assert_int_equal(m->d->device_maps, m->d->device_unmaps);
	assert_int_equal(fake_unbalanced_maps(m->d), 0);
	/* Nothing moved. */
	assert_int_equal(m->d->copies_to_ram, 0);
}

static void conf_070_device_then_system(void **state)
{
	struct mix m;

	(void)state;
	make_mix(&m, DEVICE, SYSTEM);
	check_refused(&m);
	check_refused(&m);
	assert_filled(m.mem, SZ_64K, 1);
}

static void conf_071_system_then_device(void **state)
{
	struct mix m;

	(void)state;
	make_mix(&m, SYSTEM, DEVICE);
	check_refused(&m);
	assert_filled(m.mem, SZ_64K, 1);
}

static void conf_072_two_allocations(void **state)
{
	struct mix m;

	(void)state;
	make_mix(&m, DEVICE, DEVICE);
	check_refused(&m);
	assert_filled(m.mem, SZ_64K, 1);
}

static void conf_073_evict_mends_a_mix(void **state)
{
	static const enum placement mixes[][2] = {
		{ DEVICE, SYSTEM },
		{ SYSTEM, DEVICE },
		{ DEVICE, DEVICE },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		unsigned long entries, j;
		struct mix m;

		make_mix(&m, mixes[i][0], mixes[i][1]);
		check_refused(&m);
		assert_ret(drm_gpusvm_range_evict(&m.d->gpusvm, m.range), 0);
		assert_int_equal(test_resident(m.mem, SZ_64K), PAGES_64K);
		assert_ret(fake_get_pages(m.d, m.range), 0);
		assert_int_equal(m.range->flags.has_devmem_pages, 0);
		entries = fake_entries(m.range);
		assert_true(entries > 0);
		for (j = 0; j < entries; j++)
			assert_int_equal(m.range->dma_addr[j].proto,
					 DRM_INTERCONNECT_SYSTEM);
		assert_dev_filled(m.d, m.range, 1);
		assert_filled(m.mem, SZ_64K, 1);
		test_wait_until(fake_devmem_used(m.d) == 0);
		fake_driver_destroy(m.d);
	}
}

static void conf_074_devmem_only(void **state)
{
	const struct drm_gpusvm_ctx devmem_only = { .devmem_only = 1 };
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);

	(void)state;
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_get_pages_ctx(d, range, &devmem_only), -EFAULT);
	assert_false(fake_valid(d, range));

	/* [F] B21: not answered by pages that are mapped already either. */
	assert_ret(fake_get_pages(d, range), 0);
	assert_ret(fake_get_pages_ctx(d, range, &devmem_only), -EFAULT);

	assert_ret(fake_migrate(d, range, NULL), 0);
	assert_ret(fake_get_pages_ctx(d, range, &devmem_only), 0);
	assert_int_equal(range->flags.has_devmem_pages, 1);
	assert_ret(fake_get_pages_ctx(d, range, &devmem_only), 0);
	assert_dev_filled(d, range, 1);
}

static void conf_075_memory_of_another_owner(void **state)
{
	struct fake_driver *owner = fake_driver_create(NULL);
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	alloc = fake_migrate_span(owner, mem, SZ_64K);
	range = fake_range_at(d, mem, SZ_64K);
	assert_ret(fake_get_pages(d, range), 0);
	assert_int_equal(range->flags.has_devmem_pages, 0);
	assert_int_equal(range->flags.has_dma_mapping, 1);
	assert_null(range->dpagemap);
	assert_int_equal(owner->device_maps, 0);
	assert_int_equal(owner->copies_to_ram, 1);
	assert_dev_filled(d, range, 1);
	test_wait_until(owner->releases == 1);
	assert_int_equal(alloc->released, 1);
	assert_int_equal(test_resident(mem, SZ_64K), PAGES_64K);
	assert_filled(mem, SZ_64K, 1);
}

/* Same owner token, so usable in place by another device. */
static void conf_075_memory_of_the_same_owner(void **state)
{
	struct fake_driver *owner = fake_driver_create(NULL);
	const struct fake_driver_config same = { .owner = owner };
	struct fake_driver *d = fake_driver_create(&same);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	fake_migrate_span(owner, mem, SZ_64K);
	range = fake_range_at(d, mem, SZ_64K);
	assert_ret(fake_get_pages(d, range), 0);
	assert_int_equal(range->flags.has_devmem_pages, 1);
	assert_ptr_equal(range->dpagemap, &owner->dpagemap);
	assert_true(owner->device_maps > 0);
	assert_ptr_equal(owner->maps[0].dev, d->dev);
	assert_int_equal(owner->copies_to_ram, 0);
	assert_dev_filled(d, range, 1);
	assert_filled(mem, SZ_64K, 1);
}

/* [F] B2 */
static void conf_076_device_map_fails(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	unsigned int k;

	(void)state;
	/* An entry per page. */
	d->scatter = true;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, NULL);
	assert_int_equal(d->device_maps, PAGES_64K);
	fake_unmap_pages(d, range);

	for (k = 0; k < PAGES_64K; k++) {
		fake_reset(d);
		fake_fault_arm(&d->fail_device_map, -EIO, k + 1, 1);
		assert_ret(fake_get_pages(d, range), -EFAULT);
		fake_fault_disarm(&d->fail_device_map);
		assert_int_equal(d->device_maps, k);
		assert_int_equal(d->device_unmaps, k);
		assert_int_equal(fake_unbalanced_maps(d), 0);
		assert_false(fake_valid(d, range));
		assert_int_equal(range->flags.has_devmem_pages, 0);
		assert_null(range->dpagemap);

		assert_ret(fake_get_pages(d, range), 0);
		assert_int_equal(d->device_maps, k + PAGES_64K);
		assert_int_equal(d->device_unmaps, k);
		assert_dev_filled(d, range, 1);
		fake_unmap_pages(d, range);
		assert_int_equal(fake_unbalanced_maps(d), 0);
	}
	assert_int_equal(d->copies_to_ram, 0);
	assert_filled(mem, SZ_64K, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_069_all_device_pages),
	conf_test(conf_069_scattered_device_pages),
	conf_test(conf_070_device_then_system),
	conf_test(conf_071_system_then_device),
	conf_test(conf_072_two_allocations),
	conf_test(conf_073_evict_mends_a_mix),
	conf_test(conf_074_devmem_only),
	conf_test(conf_075_memory_of_another_owner),
	conf_test(conf_075_memory_of_the_same_owner),
	conf_test(conf_076_device_map_fails),
};

CONF_MAIN(tests)
