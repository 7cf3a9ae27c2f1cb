/* SPDX-License-Identifier: MIT */
/* Conformance, group D: finding and visiting ranges. */
#include "fake_driver.h"

#include <limits.h>
#include <sys/mman.h>

#define NUM 4

/*
 * Four ranges of 64K in one notifier, 128K apart: at 0, 128K, 256K and 384K.
 */
struct layout {
	struct fake_driver *d;
	unsigned char *mem;
	unsigned long start;
	struct drm_gpusvm_notifier *notifier;
	struct drm_gpusvm_range *ranges[NUM];
};

static void make_layout(struct layout *l)
{
	static const unsigned int order[NUM] = { 2, 0, 3, 1 };
	unsigned int i;

	l->d = fake_driver_create(NULL);
	l->mem = test_map(SZ_2M, SZ_2M);
	l->start = (unsigned long)l->mem;
	for (i = 0; i < NUM; i++)
		l->ranges[order[i]] = fake_range_at(
			l->d, l->mem + order[i] * SZ_128K, SZ_64K);
	l->notifier = l->ranges[0]->notifier;
	assert_int_equal(fake_notifier_count(l->d), 1);
}

static struct drm_gpusvm_range *find(struct layout *l, unsigned long from,
				     unsigned long to)
{
	struct drm_gpusvm_range *range;

	fake_driver_lock(l->d);
	range = drm_gpusvm_range_find(l->notifier, l->start + from,
				      l->start + to);
	fake_driver_unlock(l->d);
	return range;
}

static void conf_047_range_find(void **state)
{
	struct layout l;

	(void)state;
	make_layout(&l);
	assert_ptr_equal(find(&l, 0, SZ_2M), l.ranges[0]);
	assert_ptr_equal(find(&l, SZ_64K, SZ_2M), l.ranges[1]);
	assert_ptr_equal(find(&l, SZ_64K - 1, SZ_2M), l.ranges[0]);
	assert_ptr_equal(find(&l, 3 * SZ_128K, SZ_2M), l.ranges[3]);
	assert_null(find(&l, 3 * SZ_128K + SZ_64K, SZ_2M));
	/* Gaps, the end exclusive, the start inclusive. */
	assert_null(find(&l, SZ_64K, SZ_128K));
	assert_ptr_equal(find(&l, SZ_64K, SZ_128K + 1), l.ranges[1]);
	assert_ptr_equal(find(&l, SZ_128K + SZ_64K - 1, SZ_128K + SZ_64K),
			 l.ranges[1]);
	assert_null(find(&l, SZ_128K + SZ_64K, SZ_128K + SZ_64K + 1));
	/* Inside, and no reference taken. */
	assert_ptr_equal(find(&l, SZ_128K + 5, SZ_128K + 6), l.ranges[1]);
	assert_int_equal(fake_refcount(l.ranges[1]), 1);
}

/* Bit i: range i was visited; 0x80 if out of order or twice. */
static unsigned int visit(struct layout *l, struct drm_gpusvm_range *from,
			  unsigned long start, unsigned long end)
{
	struct drm_gpusvm_range *range = from;
	unsigned long before = 0;
	unsigned int seen = 0, i;

	fake_driver_lock(l->d);
	drm_gpusvm_for_each_range(range, l->notifier, l->start + start,
				  l->start + end) {
		if (before && drm_gpusvm_range_start(range) <= before)
			seen |= 0x80;
		before = drm_gpusvm_range_start(range);
		for (i = 0; i < NUM; i++)
			if (range == l->ranges[i])
				seen |= 1u << i;
	}
	fake_driver_unlock(l->d);
	return seen;
}

static void conf_048_for_each_range(void **state)
{
	struct layout l;

	(void)state;
	make_layout(&l);
	assert_int_equal(visit(&l, NULL, 0, SZ_2M), 0xf);
	assert_int_equal(visit(&l, NULL, 1, 1 + SZ_128K), 0x3);
	assert_int_equal(visit(&l, NULL, SZ_64K, 2 * SZ_128K), 0x2);
	assert_int_equal(visit(&l, NULL, SZ_64K, 2 * SZ_128K + 1), 0x6);
	assert_int_equal(visit(&l, NULL, SZ_64K, SZ_128K), 0);
	assert_int_equal(visit(&l, NULL, SZ_1M, SZ_2M), 0);
	assert_int_equal(visit(&l, NULL, 0, 1), 0x1);
}

static void conf_049_for_each_range_with_a_start(void **state)
{
	struct layout l;

	(void)state;
	make_layout(&l);
	assert_int_equal(visit(&l, l.ranges[2], 0, SZ_2M), 0xc);
	assert_int_equal(visit(&l, l.ranges[1], 0, 2 * SZ_128K), 0x2);
	assert_int_equal(visit(&l, l.ranges[3], 0, SZ_128K), 0);
}

static void conf_050_range_next(void **state)
{
	struct layout l;
	unsigned int i;

	(void)state;
	make_layout(&l);
	fake_driver_lock(l.d);
	assert_null(__drm_gpusvm_range_next(NULL));
	for (i = 0; i < NUM - 1; i++)
		assert_ptr_equal(__drm_gpusvm_range_next(l.ranges[i]),
				 l.ranges[i + 1]);
	assert_null(__drm_gpusvm_range_next(l.ranges[NUM - 1]));
	fake_driver_unlock(l.d);
}

static void conf_051_has_mapping(void **state)
{
	const struct fake_driver_config config = { .notifier_size = SZ_2M };
	struct fake_driver *d = fake_driver_create(&config);
	unsigned char *mem = test_map(2 * SZ_2M, SZ_2M);
	unsigned long start = (unsigned long)mem;
	struct drm_gpusvm_range *low, *high;

	(void)state;
	low = fake_range_at(d, mem + SZ_1M, SZ_64K);
	high = fake_range_at(d, mem + SZ_2M + SZ_1M, SZ_64K);
	assert_true(fake_has_mapping(d, start + SZ_1M, start + SZ_1M + 1));
	assert_true(
		fake_has_mapping(d, start + SZ_1M + SZ_64K - 1, start + SZ_2M));
	assert_true(fake_has_mapping(d, start, start + SZ_1M + 1));
	assert_false(fake_has_mapping(d, start, start + SZ_1M));
	assert_false(
		fake_has_mapping(d, drm_gpusvm_range_end(low), start + SZ_2M));
	assert_true(fake_has_mapping(d, drm_gpusvm_range_end(low),
				     start + 2 * SZ_2M));
	assert_true(fake_has_mapping(d, start, start + 2 * SZ_2M));
	assert_false(
		fake_has_mapping(d, drm_gpusvm_range_end(high), ULONG_MAX));

	/* Invalidated, and flagged unmapped. */
	assert_ret(fake_get_pages(d, low), 0);
	test_madvise_sync(mem + SZ_1M, SZ_64K, MADV_DONTNEED);
	assert_false(fake_valid(d, low));
	assert_true(fake_has_mapping(d, start + SZ_1M, start + SZ_2M));
	test_munmap_sync(mem + SZ_1M, SZ_64K);
	assert_true(fake_has_mapping(d, start + SZ_1M, start + SZ_2M));

	fake_remove(d, low);
	assert_false(fake_has_mapping(d, start, start + SZ_2M));
	assert_true(fake_has_mapping(d, start, start + 2 * SZ_2M));
	fake_remove(d, high);
	assert_false(fake_has_mapping(d, 0, ULONG_MAX));
}

static void check_range(struct drm_gpusvm_range *range)
{
	unsigned long start = drm_gpusvm_range_start(range);
	unsigned long size = drm_gpusvm_range_size(range);

	assert_int_equal(start + size, drm_gpusvm_range_end(range));
	assert_int_equal(size & (size - 1), 0);
	assert_true(size >= PS);
	assert_int_equal(start & (size - 1), 0);
	assert_int_equal(range->itree.start, start);
	assert_int_equal(range->itree.last, start + size - 1);
	assert_true(start >= drm_gpusvm_notifier_start(range->notifier));
	assert_true(start + size <= drm_gpusvm_notifier_end(range->notifier));
}

static void conf_052_sizes_and_alignment(void **state)
{
	const struct fake_driver_config config = { .notifier_size = 2 * SZ_2M };
	struct fake_driver *d = fake_driver_create(&config);
	size_t size = 5 * SZ_2M + 3 * SZ_64K + PS;
	unsigned char *mem = test_map(size, SZ_2M);
	unsigned int i;

	(void)state;
	for (i = 0; i < 100; i++) {
		struct drm_gpusvm_notifier *notifier;
		struct drm_gpusvm_range *range;
		size_t at = test_random_below(size);

		/* Some start small, so that all chunk sizes occur. */
		if (i < 10)
			range = fake_range_at(d, mem + at / PS * PS, PS);
		else
			range = fake_fault(d, mem + at);
		assert_ok_ptr(range);
		assert_true(drm_gpusvm_range_start(range) <=
			    (unsigned long)mem + at);
		assert_true(drm_gpusvm_range_end(range) >
			    (unsigned long)mem + at);
		check_range(range);

		notifier = range->notifier;
		assert_int_equal(drm_gpusvm_notifier_start(notifier) +
					 drm_gpusvm_notifier_size(notifier),
				 drm_gpusvm_notifier_end(notifier));
		assert_int_equal(drm_gpusvm_notifier_size(notifier), 2 * SZ_2M);
		assert_int_equal(
			drm_gpusvm_notifier_start(notifier) % (2 * SZ_2M), 0);
	}
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_047_range_find),
	conf_test(conf_048_for_each_range),
	conf_test(conf_049_for_each_range_with_a_start),
	conf_test(conf_050_range_next),
	conf_test(conf_051_has_mapping),
	conf_test(conf_052_sizes_and_alignment),
};

CONF_MAIN(tests)
