/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group G: drm_gpusvm_range_unmap_pages() and
 * drm_gpusvm_range_pages_valid().
 */
#include "fake_driver.h"

#include <sys/mman.h>

#define PAGES_64K (SZ_64K / PS)

static const struct fake_driver_config with_dma = { .dma = true };

static void check_unmapped(struct fake_driver *d,
			   struct drm_gpusvm_range *range)
{
	assert_false(fake_valid(d, range));
	assert_int_equal(range->flags.has_dma_mapping, 0);
	assert_int_equal(range->flags.has_devmem_pages, 0);
	assert_null(range->dpagemap);
	assert_int_equal(fake_unbalanced_maps(d), 0);
}

/* ---- 85 ---- */

static void conf_085_unmap_system_pages(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);
	unsigned int maps;

	(void)state;
	assert_ok_ptr(range);
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_get_pages(d, range), 0);
	maps = d->dma_maps;
	assert_true(maps > 0);

	fake_unmap_pages(d, range);
	check_unmapped(d, range);
	assert_int_equal(d->dma_unmaps, maps);

	fake_unmap_pages(d, range);
	check_unmapped(d, range);
	assert_int_equal(d->dma_unmaps, maps);
	assert_filled(mem, SZ_64K, 1);
}

static void conf_085_unmap_device_pages(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	unsigned int maps;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, NULL);
	maps = d->device_maps;
	assert_true(maps > 0);

	fake_unmap_pages(d, range);
	check_unmapped(d, range);
	assert_int_equal(d->device_unmaps, maps);

	fake_unmap_pages(d, range);
	check_unmapped(d, range);
	assert_int_equal(d->device_unmaps, maps);
	/* Not mapped any more, but where it was. */
	assert_int_equal(d->copies_to_ram, 0);
	assert_int_equal(d->releases, 0);
	assert_filled(mem, SZ_64K, 1);
}

static void conf_085_unmap_what_was_never_mapped(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);

	(void)state;
	assert_ok_ptr(range);
	fake_unmap_pages(d, range);
	check_unmapped(d, range);
	assert_int_equal(d->num_maps, 0);
	assert_int_equal(test_resident(mem, SZ_64K), 0);
}

/* ---- 86 ---- */

static void conf_086_migrate_flag_and_tree_stay(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	unsigned long seq;

	(void)state;
	assert_ret(fake_get_pages(d, range), 0);
	seq = range->notifier_seq;
	fake_unmap_pages(d, range);
	assert_int_equal(range->flags.migrate_devmem, 1);
	assert_int_equal(range->flags.unmapped, 0);
	assert_int_equal(range->flags.partial_unmap, 0);
	assert_int_equal(range->notifier_seq, seq);
	assert_ptr_equal(fake_find(d, mem), range);
	assert_true(fake_has_mapping(d, (unsigned long)mem,
				     (unsigned long)mem + 1));
	assert_int_equal(fake_refcount(range), 1);
}

/* A driver that flags what it does not unmap, which unmap_pages() finds. */
static void flag_only(struct fake_driver *d, enum fake_hook where,
		      const void *arg, void *priv)
{
	const struct mmu_notifier_range *event = arg;

	(void)d;
	if (where == FAKE_AT_INVALIDATE && event->event == MMU_NOTIFY_UNMAP)
		drm_gpusvm_range_set_unmapped(priv, event);
}

static void conf_086_unmapped_flags_stay(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);

	(void)state;
	test_touch_write(mem, SZ_64K);
	assert_ret(fake_get_pages(d, range), 0);
	d->passive = true;
	d->hook_priv = range;
	d->hook = flag_only;
	test_munmap_sync(mem, SZ_32K);
	assert_int_equal(range->flags.has_dma_mapping, 1);

	fake_unmap_pages(d, range);
	check_unmapped(d, range);
	assert_int_equal(range->flags.migrate_devmem, 1);
	assert_int_equal(range->flags.unmapped, 1);
	assert_int_equal(range->flags.partial_unmap, 1);
	assert_ptr_equal(fake_find(d, mem), range);
	assert_int_equal(d->range_frees, 0);
}

/* ---- 88 and 89; 87 is in conf_g_locks.c ---- */

static void conf_088_get_pages_again(void **state)
{
	struct fake_driver *d = fake_driver_create(&with_dma);
	unsigned char *mem = test_map(2 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *system = fake_range_at(d, mem, SZ_64K);
	struct drm_gpusvm_range *device;
	unsigned int dma_maps, device_maps;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	test_fill(mem + SZ_64K, SZ_64K, 2);
	device = fake_dev_range(d, mem + SZ_64K, SZ_64K, NULL);
	/* The migration mapped its source and gave it up again. */
	fake_reset(d);
	assert_ret(fake_get_pages(d, system), 0);
	dma_maps = d->dma_maps;
	device_maps = fake_entries(device);

	fake_unmap_pages(d, system);
	fake_unmap_pages(d, device);
	assert_ret(fake_get_pages(d, system), 0);
	assert_ret(fake_get_pages(d, device), 0);
	assert_int_equal(d->dma_maps, 2 * dma_maps);
	assert_int_equal(d->device_maps, device_maps);
	assert_true(fake_valid(d, system));
	assert_true(fake_valid(d, device));
	assert_int_equal(device->flags.has_devmem_pages, 1);
	assert_dev_filled(d, system, 1);
	assert_dev_filled(d, device, 2);
}

static void conf_089_device_unmap_per_entry(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;
	unsigned int i;

	(void)state;
	d->scatter = true;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, NULL);
	assert_int_equal(d->device_maps, PAGES_64K);
	fake_unmap_pages(d, range);
	assert_int_equal(d->device_unmaps, PAGES_64K);
	assert_int_equal(fake_unbalanced_maps(d), 0);
	for (i = 0; i < d->num_maps; i++)
		assert_ptr_equal(d->maps[i].dev, d->dev);
}

static void conf_089_without_device_unmap(void **state)
{
	const struct fake_driver_config config = { .no_device_unmap = true };
	struct fake_driver *d = fake_driver_create(&config);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	range = fake_dev_range(d, mem, SZ_64K, NULL);
	fake_unmap_pages(d, range);
	assert_false(fake_valid(d, range));
	assert_null(range->dpagemap);
	assert_int_equal(d->device_unmaps, 0);
	assert_ret(fake_get_pages(d, range), 0);
	assert_dev_filled(d, range, 1);
	fake_remove(d, range);
	assert_filled(mem, SZ_64K, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_085_unmap_system_pages),
	conf_test(conf_085_unmap_device_pages),
	conf_test(conf_085_unmap_what_was_never_mapped),
	conf_test(conf_086_migrate_flag_and_tree_stay),
	conf_test(conf_086_unmapped_flags_stay),
	conf_test(conf_088_get_pages_again),
	conf_test(conf_089_device_unmap_per_entry),
	conf_test(conf_089_without_device_unmap),
};

CONF_MAIN(tests)
