/* SPDX-License-Identifier: MIT */
/*
 * Conformance, groups J and L: every allocation inside migrate_to_devmem(),
 * range_evict() and evict_to_ram() fails once.  The linker puts the functions
 * below in front of the library-private allocator (--wrap).
 */
#include "fake_driver.h"

#include "alloc.h"

#include <errno.h>

#define MAX_ALLOCATIONS 100
#define PAGES_64K (SZ_64K / PS)

void *__real_gpusvm_alloc(size_t size);
void *__real_gpusvm_alloc_array(size_t n, size_t size);
void *__real_gpusvm_alloc_pages(size_t size, size_t align);
void *__wrap_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc_array(size_t n, size_t size);
void *__wrap_gpusvm_alloc_pages(size_t size, size_t align);

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

void *__wrap_gpusvm_alloc_pages(size_t size, size_t align)
{
	return fails_now() ? NULL : __real_gpusvm_alloc_pages(size, align);
}

/* From here on the @n-th one; whether it came to that. */
static void fail_allocation(unsigned int n)
{
	failed = false;
	fail_in = n;
}

static bool had_failed(void)
{
	fail_in = 0;
	return failed;
}

struct subject {
	struct fake_driver *d;
	unsigned char *mem;
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
};

static void make_subject(struct subject *s)
{
	s->d = fake_driver_create(NULL);
	s->mem = test_map(SZ_64K, SZ_64K);
	s->range = fake_range_at(s->d, s->mem, SZ_64K);
	test_fill(s->mem, SZ_64K, 1);
}

static int migrate(struct subject *s, unsigned int n)
{
	int err;

	s->alloc = fake_alloc_create(s->d, SZ_64K);
	assert_non_null(s->alloc);
	fail_allocation(n);
	err = fake_migrate_to(s->d, s->range, s->alloc);
	had_failed();
	return err;
}

static void conf_120_allocation_fails(void **state)
{
	struct subject s;
	unsigned int n;
	size_t blocks;
	int err = -1;

	(void)state;
	make_subject(&s);
	for (n = 1; n < MAX_ALLOCATIONS; n++) {
		blocks = test_live_blocks();
		err = migrate(&s, n);
		if (!failed)
			break;
		assert_ret(err, -ENOMEM);
		assert_int_equal(s.alloc->released, 0);
		assert_false(gpusvm_completion_done(&s.alloc->base.detached));
		fake_alloc_drop(s.alloc);
		assert_int_equal(fake_devmem_used(s.d), 0);
		assert_filled(s.mem, SZ_64K, n);
		test_fill(s.mem, SZ_64K, n + 1);
		/* Address space for staging is kept for the next time. */
		assert_true(test_live_blocks() <= blocks + 3);
	}
	print_message("%u allocations failed\n", n - 1);
	assert_ret(err, 0);
	assert_true(n > 1);
	assert_filled(s.mem, SZ_64K, n);
	test_wait_until(s.alloc->released == 1);
}

/* [F] B4 */
static void conf_144_range_evict_allocation_fails(void **state)
{
	struct subject s;
	size_t blocks;
	unsigned int n;
	int err = -1;

	(void)state;
	make_subject(&s);
	assert_ret(fake_migrate(s.d, s.range, &s.alloc), 0);
	blocks = test_live_blocks();
	for (n = 1; n < MAX_ALLOCATIONS; n++) {
		fail_allocation(n);
		err = drm_gpusvm_range_evict(&s.d->gpusvm, s.range);
		if (!had_failed())
			break;
		assert_ret(err, -ENOMEM);
		assert_int_equal(s.alloc->released, 0);
		assert_int_equal(test_resident(s.mem, SZ_64K), 0);
		assert_int_equal(test_live_blocks(), blocks);
	}
	assert_ret(err, 0);
	assert_true(n > 1);
	assert_filled(s.mem, SZ_64K, 1);
	test_wait_until(s.alloc->released == 1);
}

/* It tries three times, so one failure is not seen from outside. */
static void conf_137_allocation_fails_once(void **state)
{
	unsigned int n;

	(void)state;
	for (n = 1; n < MAX_ALLOCATIONS; n++) {
		struct subject s;
		int err;

		make_subject(&s);
		assert_ret(fake_migrate(s.d, s.range, &s.alloc), 0);
		fail_allocation(n);
		err = drm_gpusvm_evict_to_ram(&s.alloc->base);
		if (err) {
			assert_ret(err, -ENOMEM);
			assert_int_equal(s.alloc->released, 0);
			assert_int_equal(test_resident(s.mem, SZ_64K), 0);
		} else {
			test_wait_until(s.alloc->released == 1);
		}
		assert_filled(s.mem, SZ_64K, 1);
		fake_driver_destroy(s.d);
		if (!had_failed())
			break;
	}
	print_message("%u allocations failed\n", n - 1);
	assert_true(n < MAX_ALLOCATIONS);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_120_allocation_fails),
	conf_test(conf_144_range_evict_allocation_fails),
	conf_test(conf_137_allocation_fails_once),
};

CONF_MAIN(tests)
