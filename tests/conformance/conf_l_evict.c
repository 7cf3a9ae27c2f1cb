/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group L: drm_gpusvm_evict_to_ram() and drm_gpusvm_range_evict().
 */
#include "fake_driver.h"

#include <errno.h>
#include <sys/mman.h>

#define PAGES_64K (SZ_64K / PS)

/* Halves of a 64K range can be ranges of their own. */
static const unsigned long chunks[] = { SZ_64K, SZ_32K };
static const struct fake_driver_config halves = {
	.chunks = chunks,
	.num_chunks = 2,
};

/* 64K on the device, mapped for it. */
struct evictee {
	struct fake_driver *d;
	unsigned char *mem;
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
};

static void make_evictee(struct evictee *e)
{
	e->d = fake_driver_create(NULL);
	e->mem = test_map(SZ_64K, SZ_64K);
	test_fill(e->mem, SZ_64K, 1);
	e->range = fake_dev_range(e->d, e->mem, SZ_64K, &e->alloc);
	fake_reset(e->d);
}

static int evict(struct evictee *e)
{
	return drm_gpusvm_evict_to_ram(&e->alloc->base);
}

/* ---- 137 to 141: by allocation ---- */

static void conf_137_evict_to_ram(void **state)
{
	struct evictee e;
	unsigned long i;

	(void)state;
	make_evictee(&e);
	assert_ret(evict(&e), 0);
	assert_true(gpusvm_completion_done(&e.alloc->base.detached));
	test_wait_until(e.alloc->released > 0);
	assert_int_equal(e.alloc->released, 1);
	assert_true(e.alloc->detached_at_release);
	assert_int_equal(e.d->populates, 1);
	assert_int_equal(e.d->copies_to_ram, 1);
	assert_int_equal(test_resident(e.mem, SZ_64K), PAGES_64K);

	assert_true(fake_count_events(e.d, MMU_NOTIFY_CLEAR, e.mem, SZ_64K) >
		    0);
	assert_false(fake_valid(e.d, e.range));
	assert_int_equal(e.range->flags.unmapped, 0);
	for (i = 0; i < PAGES_64K; i++)
		assert_int_equal(fake_alloc_homecomings(e.alloc, i), 1);
	assert_filled(e.mem, SZ_64K, 1);
	assert_int_equal(e.d->copies_to_ram, 1);
	assert_ret(fake_get_pages(e.d, e.range), 0);
	assert_int_equal(e.range->flags.has_devmem_pages, 0);
	assert_dev_filled(e.d, e.range, 1);
}

static void conf_137_without_range_or_gpusvm(void **state)
{
	struct evictee e;

	(void)state;
	make_evictee(&e);
	fake_driver_fini(e.d);
	assert_ret(evict(&e), 0);
	test_wait_until(e.alloc->released == 1);
	assert_filled(e.mem, SZ_64K, 1);
}

static void conf_137_with_the_address_space_lock(void **state)
{
	struct evictee e;
	int err;

	(void)state;
	make_evictee(&e);
	gpusvm_mm_read_lock(test_mm);
	err = evict(&e);
	gpusvm_mm_read_unlock(test_mm);
	assert_ret(err, 0);
	assert_filled(e.mem, SZ_64K, 1);
}

static void conf_137_partly_unmapped(void **state)
{
	struct evictee e;
	unsigned long i;

	(void)state;
	make_evictee(&e);
	test_munmap_sync(e.mem, SZ_32K);
	assert_ret(evict(&e), 0);
	test_wait_until(e.alloc->released > 0);
	assert_int_equal(e.alloc->released, 1);
	for (i = 0; i < PAGES_64K; i++)
		assert_int_equal(fake_alloc_homecomings(e.alloc, i),
				 i >= PAGES_64K / 2);
	for (i = SZ_32K; i < SZ_64K; i++)
		assert_int_equal(e.mem[i], test_pattern(i, 1));
}

static void conf_138_held_page(void **state)
{
	struct page *page;
	struct evictee e;
	int err;

	(void)state;
	make_evictee(&e);
	page = fake_alloc_struct_page(e.alloc, 3);
	gpusvm_page_get(page);
	err = evict(&e);
	assert_int_equal(e.d->populates, 3);
	assert_int_equal(e.alloc->released, 0);
	assert_false(gpusvm_completion_done(&e.alloc->base.detached));
	/* It is where it was; the others may be home or not. */
	assert_int_equal(fake_alloc_homecomings(e.alloc, 3), 0);
	assert_int_equal(fake_alloc_page(e.alloc, 3)[0],
			 test_pattern(3 * PS, 1));
	assert_int_equal(fake_alloc_page(e.alloc, 3)[PS - 1],
			 test_pattern(4 * PS - 1, 1));
	assert_false(test_page_present(e.mem + 3 * PS));
	gpusvm_page_put(page);
	assert_ret(err, -EBUSY);

	assert_int_equal(e.alloc->released, 0);
	assert_filled(e.mem, SZ_64K, 1);
	test_wait_until(e.alloc->released > 0);
	assert_int_equal(e.alloc->released, 1);
	assert_ret(evict(&e), 0);
}

static void conf_138_held_page_dies(void **state)
{
	struct page *page;
	struct evictee e;

	(void)state;
	make_evictee(&e);
	page = fake_alloc_struct_page(e.alloc, 3);
	gpusvm_page_get(page);
	test_munmap_sync(e.mem, SZ_64K);
	assert_int_equal(e.alloc->released, 0);
	assert_ret(evict(&e), -EBUSY);
	assert_int_equal(e.alloc->released, 0);
	gpusvm_page_put(page);
	test_wait_until(e.alloc->released > 0);
	assert_int_equal(e.alloc->released, 1);
	assert_ret(evict(&e), 0);
}

static void conf_139_copy_fails_once(void **state)
{
	unsigned int times;

	(void)state;
	for (times = 1; times <= 2; times++) {
		struct evictee e;

		make_evictee(&e);
		fake_fault_arm(&e.d->fail_copy_to_ram, -EIO, 1, times);
		assert_ret(evict(&e), 0);
		assert_int_equal(e.d->populates, times + 1);
		test_wait_until(e.alloc->released == 1);
		assert_filled(e.mem, SZ_64K, 1);
	}
}

static void conf_139_populate_fails_once(void **state)
{
	struct evictee e;

	(void)state;
	make_evictee(&e);
	fake_fault_arm(&e.d->fail_populate, -ENOSPC, 1, 1);
	assert_ret(evict(&e), 0);
	assert_int_equal(e.d->populates, 2);
	test_wait_until(e.alloc->released == 1);
	assert_filled(e.mem, SZ_64K, 1);
}

/* The device keeps it, and the next eviction works. */
static void check_kept(struct evictee *e)
{
	assert_int_equal(e->alloc->released, 0);
	assert_false(gpusvm_completion_done(&e->alloc->base.detached));
	assert_filled(fake_alloc_page(e->alloc, 0), SZ_64K, 1);
	assert_int_equal(test_resident(e->mem, SZ_64K), 0);
	assert_ret(fake_get_pages(e->d, e->range), 0);
	assert_int_equal(e->range->flags.has_devmem_pages, 1);
	assert_dev_filled(e->d, e->range, 1);
	assert_ret(evict(e), 0);
	test_wait_until(e->alloc->released == 1);
	assert_filled(e->mem, SZ_64K, 1);
}

static void conf_140_copy_fails_always(void **state)
{
	struct evictee e;

	(void)state;
	make_evictee(&e);
	fake_fault_arm(&e.d->fail_copy_to_ram, -EIO, 1, 1000);
	assert_ret(evict(&e), -EIO);
	assert_int_equal(e.d->populates, 3);
	fake_fault_disarm(&e.d->fail_copy_to_ram);
	check_kept(&e);
}

static void conf_140_populate_fails_always(void **state)
{
	struct evictee e;

	(void)state;
	make_evictee(&e);
	fake_fault_arm(&e.d->fail_populate, -ENOSPC, 1, 1000);
	assert_ret(evict(&e), -ENOSPC);
	assert_int_equal(e.d->populates, 3);
	assert_int_equal(e.d->copies_to_ram, 0);
	fake_fault_disarm(&e.d->fail_populate);
	check_kept(&e);
}

static void conf_141_home_already(void **state)
{
	struct evictee e;

	(void)state;
	make_evictee(&e);
	assert_filled(e.mem, SZ_64K, 1);
	test_wait_until(e.alloc->released == 1);
	assert_int_equal(e.d->copies_to_ram, 1);
	assert_ret(evict(&e), 0);
	assert_int_equal(e.d->copies_to_ram, 1);
	assert_int_equal(e.alloc->released, 1);
	assert_filled(e.mem, SZ_64K, 1);
}

/* ---- 144: by range; allocation failures are in conf_l_alloc.c ---- */

static void conf_144_range_evict_device_memory(void **state)
{
	struct evictee e;

	(void)state;
	make_evictee(&e);
	assert_ret(drm_gpusvm_range_evict(&e.d->gpusvm, e.range), 0);
	assert_int_equal(test_resident(e.mem, SZ_64K), PAGES_64K);
	assert_int_equal(e.d->copies_to_ram, 1);
	test_wait_until(e.alloc->released == 1);
	assert_false(fake_valid(e.d, e.range));
	assert_filled(e.mem, SZ_64K, 1);
	assert_ret(fake_get_pages(e.d, e.range), 0);
	assert_int_equal(e.range->flags.has_devmem_pages, 0);
}

static void conf_144_range_evict_system_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);

	(void)state;
	test_fill(mem, PS, 1);
	assert_ret(drm_gpusvm_range_evict(&d->gpusvm, range), 0);
	assert_int_equal(test_resident(mem, SZ_64K), PAGES_64K);
	assert_filled(mem, PS, 1);
	assert_zeroed(mem + PS, SZ_64K - PS);

	/* What is mapped for the device already stays so. */
	assert_ret(fake_get_pages(d, range), 0);
	assert_ret(drm_gpusvm_range_evict(&d->gpusvm, range), 0);
	assert_true(fake_valid(d, range));
	assert_int_equal(d->copies_to_ram, 0);
}

static void conf_144_range_evict_mixed_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(&halves);
	struct fake_driver *other = fake_driver_create(&halves);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	fake_migrate_span(d, mem, SZ_32K);
	fake_migrate_span(other, mem + SZ_32K, SZ_32K);
	range = fake_range_at(d, mem, SZ_64K);
	assert_ret(drm_gpusvm_range_evict(&d->gpusvm, range), 0);
	assert_int_equal(test_resident(mem, SZ_64K), PAGES_64K);
	test_wait_until(d->releases == 1 && other->releases == 1);
	assert_filled(mem, SZ_64K, 1);
}

static void conf_144_range_evict_with_a_hole(void **state)
{
	struct evictee e;

	(void)state;
	make_evictee(&e);
	test_munmap_sync(e.mem + SZ_32K, PS);
	assert_ret(drm_gpusvm_range_evict(&e.d->gpusvm, e.range), -EFAULT);
	assert_int_equal(test_match(e.mem, SZ_32K, 1), SZ_32K);
}

static void conf_144_range_evict_unreadable_memory(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);

	(void)state;
	test_fill(mem, SZ_64K, 1);
	assert_int_equal(mprotect(mem, SZ_64K, PROT_NONE), 0);
	assert_ret(drm_gpusvm_range_evict(&d->gpusvm, range), -EFAULT);
	assert_int_equal(mprotect(mem, SZ_64K, PROT_READ | PROT_WRITE), 0);
	assert_filled(mem, SZ_64K, 1);
}

static void conf_144_range_evict_failing_copy(void **state)
{
	struct evictee e;

	(void)state;
	make_evictee(&e);
	fake_fault_arm(&e.d->fail_copy_to_ram, -EIO, 1, 1);
	assert_ret(drm_gpusvm_range_evict(&e.d->gpusvm, e.range), -EFAULT);
	check_kept(&e);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_137_evict_to_ram),
	conf_test(conf_137_without_range_or_gpusvm),
	conf_test(conf_137_with_the_address_space_lock),
	conf_test(conf_137_partly_unmapped),
	conf_test(conf_138_held_page),
	conf_test(conf_138_held_page_dies),
	conf_test(conf_139_copy_fails_once),
	conf_test(conf_139_populate_fails_once),
	conf_test(conf_140_copy_fails_always),
	conf_test(conf_140_populate_fails_always),
	conf_test(conf_141_home_already),
	conf_test(conf_144_range_evict_device_memory),
	conf_test(conf_144_range_evict_system_memory),
	conf_test(conf_144_range_evict_mixed_memory),
	conf_test(conf_144_range_evict_with_a_hole),
	conf_test(conf_144_range_evict_unreadable_memory),
	conf_test(conf_144_range_evict_failing_copy),
};

CONF_MAIN(tests)
