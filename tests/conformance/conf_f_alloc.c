/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group F: every allocation inside drm_gpusvm_range_get_pages()
 * fails once.  The linker puts the functions below in front of the library-
 * private allocator (--wrap).
 */
#include "fake_driver.h"

#include "alloc.h"

#define MAX_ALLOCATIONS 100

void *__real_gpusvm_alloc(size_t size);
void *__real_gpusvm_alloc_array(size_t n, size_t size);
void *__wrap_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc_array(size_t n, size_t size);

/* Of the calling thread only: others go on as ever. */
static __thread unsigned int fail_in;
static __thread bool failed;

static bool fails_now(void)
{
	if (!fail_in || --fail_in)
		return false;
	failed = true;
	return true;
}

void *__wrap_gpusvm_alloc(size_t size)
{
	return fails_now() ? NULL : __real_gpusvm_alloc(size);
}

void *__wrap_gpusvm_alloc_array(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_gpusvm_alloc_array(n, size);
}

/*
 * Blocks in use, a range's array of addresses aside: it may be kept for the
 * next call.
 */
static size_t blocks_without(struct drm_gpusvm_range *range)
{
	return test_live_blocks() - (range->dma_addr ? 1 : 0);
}

static void check_unchanged(struct fake_driver *d,
			    struct drm_gpusvm_range *range, size_t blocks)
{
	assert_false(fake_valid(d, range));
	assert_int_equal(range->flags.has_dma_mapping, 0);
	assert_int_equal(range->flags.has_devmem_pages, 0);
	assert_int_equal(range->flags.unmapped, 0);
	assert_null(range->dpagemap);
	assert_int_equal(fake_refcount(range), 1);
	assert_int_equal(d->dma_maps, d->dma_unmaps);
	assert_int_equal(d->device_maps, d->device_unmaps);
	assert_int_equal(blocks_without(range), blocks);
}

/* Make allocation 1, 2, 3 ... fail until none is left; how many there were. */
static unsigned int fail_each(struct fake_driver *d,
			      struct drm_gpusvm_range *range, bool refill)
{
	size_t blocks = blocks_without(range);
	unsigned int n;
	int err;

	for (n = 1; n < MAX_ALLOCATIONS; n++) {
		failed = false;
		fail_in = n;
		err = fake_get_pages(d, range);
		fail_in = 0;
		if (!failed)
			break;
		assert_ret(err, -ENOMEM);
		check_unchanged(d, range, blocks);
		/* From the state after a success, too. */
		if (refill) {
			assert_ret(fake_get_pages(d, range), 0);
			fake_unmap_pages(d, range);
		}
	}
	assert_ret(err, 0);
	assert_true(fake_valid(d, range));
	return n - 1;
}

static void conf_080_allocation_fails_system(void **state)
{
	const struct fake_driver_config config = { .dma = true };
	struct fake_driver *d = fake_driver_create(&config);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_fault(d, mem);
	unsigned int count;

	(void)state;
	assert_ok_ptr(range);
	test_fill(mem, SZ_64K, 1);
	count = fail_each(d, range, false);
	print_message("%u allocations failed\n", count);
	assert_true(count > 0);
	assert_dev_filled(d, range, 1);
	fake_unmap_pages(d, range);
	assert_int_equal(fake_unbalanced_maps(d), 0);
}

static void conf_080_allocation_fails_device(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);

	(void)state;
	test_fill(mem, SZ_64K, 1);
	assert_ret(fake_migrate(d, range, NULL), 0);
	fail_each(d, range, true);
	assert_int_equal(range->flags.has_devmem_pages, 1);
	assert_int_equal(d->copies_to_ram, 0);
	assert_dev_filled(d, range, 1);
	assert_filled(mem, SZ_64K, 1);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_080_allocation_fails_system),
	conf_test(conf_080_allocation_fails_device),
};

CONF_MAIN(tests)
