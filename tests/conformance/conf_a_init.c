/* SPDX-License-Identifier: MIT */
/* Conformance, group A: drm_gpusvm_init() and drm_gpusvm_fini(). */
#include "fake_driver.h"

#include <limits.h>
#include <string.h>
#include <sys/mman.h>

/* Notifiers of 2 MiB, so that two of them fit into little memory. */
static const struct fake_driver_config small_notifiers = {
	.notifier_size = SZ_2M,
};

/* What init() must leave alone when it fails. */
static void check_refused(struct fake_driver *d,
			  const struct fake_driver_config *config)
{
	size_t blocks = test_live_blocks();
	unsigned char before[sizeof(d->gpusvm)];

	memset(&d->gpusvm, 0x5a, sizeof(d->gpusvm));
	memcpy(before, &d->gpusvm, sizeof(before));
	assert_ret(fake_driver_init(d, config), -EINVAL);
	assert_memory_equal(&d->gpusvm, before, sizeof(before));
	assert_int_equal(test_live_blocks(), blocks);
}

static void conf_001_init_without_invalidate(void **state)
{
	struct fake_driver *d = fake_driver_create_uninit(NULL);
	struct drm_gpusvm_ops ops = fake_ops;
	const struct fake_driver_config config = { .ops = &ops };

	(void)state;
	ops.invalidate = NULL;
	check_refused(d, &config);
	assert_int_equal(d->notifier_allocs + d->range_allocs, 0);
}

static void conf_002_init_without_chunks(void **state)
{
	struct fake_driver *d = fake_driver_create_uninit(NULL);
	unsigned char before[sizeof(d->gpusvm)];
	size_t blocks = test_live_blocks();
	int num_chunks;

	(void)state;
	memset(&d->gpusvm, 0x5a, sizeof(d->gpusvm));
	memcpy(before, &d->gpusvm, sizeof(before));
	for (num_chunks = 0; num_chunks >= -1; num_chunks--) {
		assert_ret(drm_gpusvm_init(&d->gpusvm, "none", d->drm, test_mm,
					   d, 0, 1ul << 48, SZ_512M, &fake_ops,
					   d->default_chunks, num_chunks),
			   -EINVAL);
		assert_memory_equal(&d->gpusvm, before, sizeof(before));
	}
	assert_int_equal(test_live_blocks(), blocks);
}

static void conf_003_init_and_fini(void **state)
{
	struct fake_driver *d = fake_driver_create_uninit(NULL);
	size_t blocks;
	int i;

	(void)state;
	/* The first time may fill a cache. */
	assert_ret(fake_driver_init(d, NULL), 0);
	fake_driver_fini(d);
	blocks = test_live_blocks();
	for (i = 0; i < 100; i++) {
		assert_ret(fake_driver_init(d, NULL), 0);
		fake_driver_fini(d);
	}
	assert_int_equal(test_live_blocks(), blocks);
	assert_int_equal(d->num_events, 0);
	assert_int_equal(d->notifier_allocs + d->range_allocs, 0);
	assert_int_equal(d->notifier_frees + d->range_frees, 0);
}

static void conf_004_empty_after_init(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);

	(void)state;
	assert_true(list_empty(&d->gpusvm.notifier_list));
	assert_null(d->gpusvm.root.rb_root.rb_node);
	assert_false(fake_has_mapping(d, 0, ULONG_MAX));
	assert_ptr_equal(d->gpusvm.mm, test_mm);
	assert_ptr_equal(d->gpusvm.ops, &fake_ops);
	assert_int_equal(d->gpusvm.notifier_size, SZ_512M);
	assert_int_equal(d->gpusvm.num_chunks, 3);
}

static void conf_005_fini_frees_everything_once(void **state)
{
	struct fake_driver *d = fake_driver_create(&small_notifiers);
	unsigned char *mem = test_map(2 * SZ_2M, SZ_2M);

	(void)state;
	fake_range_at(d, mem, SZ_64K);
	fake_range_at(d, mem + SZ_1M, SZ_64K);
	fake_range_at(d, mem + SZ_2M, SZ_2M);
	assert_int_equal(d->range_allocs, 3);
	assert_int_equal(d->notifier_allocs, 2);

	fake_driver_fini(d);
	assert_int_equal(d->range_frees, 3);
	assert_int_equal(d->notifier_frees, 2);
	assert_int_equal(d->num_events, 0);
}

static void conf_006_referenced_range_outlives_fini(void **state)
{
	struct fake_driver *d = fake_driver_create(&small_notifiers);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *held;

	(void)state;
	held = drm_gpusvm_range_get(fake_range_at(d, mem, SZ_64K));
	fake_range_at(d, mem + SZ_1M, SZ_64K);

	fake_driver_fini(d);
	assert_int_equal(d->range_frees, 1);
	assert_int_equal(d->notifier_frees, 1);
	assert_int_equal(drm_gpusvm_range_start(held), (unsigned long)mem);
	assert_int_equal(drm_gpusvm_range_size(held), SZ_64K);
	assert_int_equal(fake_refcount(held), 1);

	drm_gpusvm_range_put(held);
	assert_int_equal(d->range_frees, 2);
}

static void conf_007_fini_unmaps_before_it_frees(void **state)
{
	const struct fake_driver_config config = {
		.notifier_size = SZ_2M,
		.dma = true,
	};
	struct fake_driver *d = fake_driver_create(&config);
	unsigned char *mem = test_map(2 * SZ_2M, SZ_2M);
	struct drm_gpusvm_range *system;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	system = fake_range_at(d, mem, SZ_64K);
	assert_ret(fake_get_pages(d, system), 0);
	test_fill(mem + SZ_2M, SZ_64K, 2);
	fake_dev_range(d, mem + SZ_2M, SZ_64K, NULL);
	assert_true(d->dma_maps > 0);
	assert_true(d->device_maps > 0);

	fake_driver_fini(d);
	assert_int_equal(fake_unbalanced_maps(d), 0);
	assert_int_equal(d->device_unmaps, d->device_maps);
	assert_int_equal(d->range_frees, 2);
	/* The DMA mappings of the two ranges; each has its own order. */
	assert_true(fake_last_unmap(d) < d->last_range_free);
}

static void conf_008_no_callback_after_fini(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct drm_gpusvm_range *range;

	(void)state;
	test_touch_write(mem, SZ_2M);
	range = fake_range_at(d, mem, SZ_2M);
	assert_ret(fake_get_pages(d, range), 0);
	fake_driver_fini(d);
	fake_reset(d);

	test_madvise_sync(mem, SZ_1M, MADV_DONTNEED);
	test_munmap_sync(mem, SZ_2M);
	assert_int_equal(d->num_events, 0);
}

static void conf_009_device_memory_survives_fini(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_64K, 3);
	fake_dev_range(d, mem, SZ_64K, &alloc);
	fake_driver_fini(d);
	assert_int_equal(d->releases, 0);
	assert_int_equal(d->copies_to_ram, 0);
	assert_int_equal(test_resident(mem, SZ_64K), 0);

	assert_filled(mem, SZ_64K, 3);
	assert_int_equal(d->copies_to_ram, 1);
	test_wait_until(d->releases == 1);
	assert_int_equal(alloc->released, 1);
	test_fill(mem, SZ_64K, 4);
	assert_filled(mem, SZ_64K, 4);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_001_init_without_invalidate),
	conf_test(conf_002_init_without_chunks),
	conf_test(conf_003_init_and_fini),
	conf_test(conf_004_empty_after_init),
	conf_test(conf_005_fini_frees_everything_once),
	conf_test(conf_006_referenced_range_outlives_fini),
	conf_test(conf_007_fini_unmaps_before_it_frees),
	conf_test(conf_008_no_callback_after_fini),
	conf_test(conf_009_device_memory_survives_fini),
};

CONF_MAIN(tests)
