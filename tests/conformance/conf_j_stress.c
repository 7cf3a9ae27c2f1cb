/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group J: threads count in memory that migrates all the time; no
 * store is lost, neither the CPU's nor the device's.
 *
 * Each page has a word per thread, which nobody else writes, and one that the
 * device adds to while the page is there.
 */
#include "fake_driver.h"

#include <string.h>

#define THREADS 4
#define WORDS (THREADS + 1)
#define DEFAULT_SECONDS 2
#define RANGES 8

struct counting {
	struct fake_driver *d;
	struct drm_gpusvm_range *range[RANGES];
	unsigned int nranges;
	unsigned char *mem;
	unsigned long npages;
	unsigned long end;
	/* What the words must be: WORDS for each page. */
	unsigned long *expected;
	unsigned long next_thread;
	unsigned long lost;
	unsigned long stores;
	unsigned long device_adds;
	unsigned long wrong_errors;
};

static unsigned long *expected_at(struct counting *c, unsigned long page,
				  unsigned long word)
{
	return &c->expected[page * WORDS + word];
}

static size_t offset_of(unsigned long page, unsigned long word)
{
	/* All over the page. */
	return page * PS + (page * 131 + word * 257) % (PS / 64) * 64 +
	       word * sizeof(unsigned long);
}

static volatile unsigned long *word_at(struct counting *c, unsigned long page,
				       unsigned long word)
{
	return (volatile unsigned long *)(void *)(c->mem +
						  offset_of(page, word));
}

static void *count(void *arg)
{
	struct counting *c = arg;
	unsigned long word =
		__atomic_fetch_add(&c->next_thread, 1, __ATOMIC_RELAXED);
	unsigned long stores = 0;

	while (test_now_ms() < c->end) {
		unsigned long page = test_random_below(c->npages);
		unsigned long *expected = expected_at(c, page, word);
		volatile unsigned long *at = word_at(c, page, word);

		if (*at != *expected)
			__atomic_fetch_add(&c->lost, 1, __ATOMIC_RELAXED);
		*at = ++*expected;
		if (*at != *expected)
			__atomic_fetch_add(&c->lost, 1, __ATOMIC_RELAXED);
		stores++;
	}
	__atomic_fetch_add(&c->stores, stores, __ATOMIC_RELAXED);
	return NULL;
}

/* The device's word of every page of a range, as long as they are there. */
static void device_counts(struct counting *c, struct drm_gpusvm_range *range)
{
	unsigned long start = drm_gpusvm_range_start(range);
	unsigned long first = (start - (unsigned long)c->mem) / PS;
	unsigned long page, n = drm_gpusvm_range_size(range) / PS;

	for (page = first; page < first + n; page++) {
		size_t offset = offset_of(page, THREADS) - first * PS;

		if (fake_dev_add(c->d, range, offset, 1))
			return;
		++*expected_at(c, page, THREADS);
		c->device_adds++;
	}
}

static void migrate_all_the_time(struct counting *c)
{
	unsigned long round = 0;

	while (test_now_ms() < c->end) {
		struct drm_gpusvm_range *range =
			c->range[test_random_below(c->nranges)];
		struct fake_alloc *alloc;
		int err;

		err = fake_migrate(c->d, range, &alloc);
		if (err && err != -EBUSY && err != -EFAULT && err != -ENOSPC)
			c->wrong_errors++;
		if (err)
			continue;
		if (!fake_get_pages(c->d, range))
			device_counts(c, range);
		/* Home by the threads' faults, or from here. */
		if (round++ % 4 == 0 && drm_gpusvm_evict_to_ram(&alloc->base))
			c->wrong_errors++;
	}
}

static unsigned long count_wrong_words(struct counting *c)
{
	unsigned long page, word, wrong = 0;

	for (page = 0; page < c->npages; page++)
		for (word = 0; word < WORDS; word++)
			wrong += *word_at(c, page, word) !=
				 *expected_at(c, page, word);
	return wrong;
}

static void run(size_t range_size, unsigned int nranges, unsigned long ms)
{
	struct counting *c = gpusvm_alloc(sizeof(*c));
	pthread_t thread[THREADS];
	unsigned int i;

	assert_non_null(c);
	test_cleanup(gpusvm_free, c);
	c->d = fake_driver_create(NULL);
	c->mem = test_map(nranges * range_size, SZ_2M);
	c->npages = nranges * range_size / PS;
	c->expected = gpusvm_alloc(c->npages * WORDS * sizeof(*c->expected));
	assert_non_null(c->expected);
	test_cleanup(gpusvm_free, c->expected);
	c->nranges = nranges;
	for (i = 0; i < nranges; i++)
		c->range[i] = fake_range_at(c->d, c->mem + i * range_size,
					    range_size);
	c->end = test_now_ms() + ms;
	for (i = 0; i < THREADS; i++)
		test_thread_start(&thread[i], count, c);
	migrate_all_the_time(c);
	for (i = 0; i < THREADS; i++)
		test_thread_join(thread[i]);

	print_message("%lu stores, %lu by the device, %u to it, %u home\n",
		      c->stores, c->device_adds, c->d->copies_to_devmem,
		      c->d->copies_to_ram);
	assert_int_equal(c->lost, 0);
	assert_int_equal(count_wrong_words(c), 0);
	assert_int_equal(c->wrong_errors, 0);
	assert_true(c->d->copies_to_devmem > 0);
	assert_true(c->d->copies_to_ram > 0);
	fake_driver_destroy(c->d);
}

static void conf_123_no_store_is_lost(void **state)
{
	unsigned long ms = test_stress_ms(DEFAULT_SECONDS) / 3;

	(void)state;
	run(PS, RANGES, ms);
	run(SZ_64K, RANGES, ms);
	run(SZ_2M, 1, ms);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_123_no_store_is_lost),
};

CONF_MAIN(tests)
