/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group K: the CPU touches memory that is on the device.  What
 * happens when that fails is in conf_k_errors.c, fork in conf_k_fork.c.
 */
#include "fake_driver.h"

#include <sched.h>
#include <sys/mman.h>

#define PAGES_64K (SZ_64K / PS)
#define THREADS 8
#define ROUNDS 100

static void conf_129_whole_allocation_comes_home(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(3 * SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range[3];
	struct fake_alloc *alloc[3];
	const struct fake_copy *copy;
	unsigned long i;

	(void)state;
	for (i = 0; i < 3; i++) {
		test_fill(mem + i * SZ_64K, SZ_64K, (unsigned int)i);
		range[i] =
			fake_dev_range(d, mem + i * SZ_64K, SZ_64K, &alloc[i]);
	}
	assert_int_equal(mem[SZ_64K + 3 * PS + 3], test_pattern(3 * PS + 3, 1));
	assert_int_equal(d->copies_to_ram, 1);
	copy = fake_last_copy(d, true);
	assert_non_null(copy);
	assert_int_equal(copy->npages, PAGES_64K);
	assert_int_equal(copy->copied, PAGES_64K);
	test_wait_until(alloc[1]->released == 1);
	assert_filled(mem + SZ_64K, SZ_64K, 1);
	assert_int_equal(d->copies_to_ram, 1);

	for (i = 0; i < 3; i += 2) {
		assert_int_equal(alloc[i]->released, 0);
		assert_true(fake_valid(d, range[i]));
		assert_int_equal(test_resident(mem + i * SZ_64K, SZ_64K), 0);
		assert_dev_filled(d, range[i], (unsigned int)i);
	}
}

static void conf_129_by_write(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_2M, SZ_2M);
	struct fake_alloc *alloc;

	(void)state;
	test_fill(mem, SZ_2M, 1);
	fake_dev_range(d, mem, SZ_2M, &alloc);
	mem[SZ_1M] = test_pattern(SZ_1M, 1);
	assert_int_equal(d->copies_to_ram, 1);
	test_wait_until(alloc->released == 1);
	assert_filled(mem, SZ_2M, 1);
	assert_int_equal(d->copies_to_ram, 1);
}

/* ---- 130: many at once ---- */

struct crowd {
	unsigned char *mem;
	bool same_page;
	bool write;
	unsigned int ready;
	unsigned int next;
	unsigned int wrong;
};

static void *join_crowd(void *arg)
{
	struct crowd *c = arg;
	unsigned int i = __atomic_fetch_add(&c->next, 1, __ATOMIC_SEQ_CST);
	size_t offset = (c->same_page ? 3 : 2 * i % PAGES_64K) * PS + i * 64;
	volatile unsigned char *at = c->mem + offset;

	__atomic_add_fetch(&c->ready, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&c->ready, __ATOMIC_SEQ_CST) < THREADS)
		sched_yield();
	if (c->write)
		at[1] = test_pattern(offset + 1, 2);
	if (*at != test_pattern(offset, 1))
		__atomic_fetch_add(&c->wrong, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void check_crowd(struct fake_driver *d, bool same_page, bool write)
{
	struct crowd *c = gpusvm_alloc(sizeof(*c));
	pthread_t thread[THREADS];
	struct fake_alloc *alloc;
	unsigned long i;

	assert_non_null(c);
	test_cleanup(gpusvm_free, c);
	c->mem = test_map(SZ_64K, SZ_64K);
	c->same_page = same_page;
	c->write = write;
	test_fill(c->mem, SZ_64K, 1);
	fake_reset(d);
	alloc = fake_migrate_span(d, c->mem, SZ_64K);
	for (i = 0; i < THREADS; i++)
		test_thread_start(&thread[i], join_crowd, c);
	for (i = 0; i < THREADS; i++)
		test_thread_join(thread[i]);

	assert_int_equal(c->wrong, 0);
	test_wait_until(d->releases > 0);
	assert_int_equal(alloc->released, 1);
	assert_int_equal(d->copies_to_ram, 1);
	for (i = 0; i < PAGES_64K; i++)
		assert_int_equal(fake_alloc_homecomings(alloc, i), 1);
	for (i = 0; write && i < THREADS; i++) {
		size_t at =
			(same_page ? 3 : 2 * i % PAGES_64K) * PS + i * 64 + 1;

		assert_int_equal(c->mem[at], test_pattern(at, 2));
		c->mem[at] = test_pattern(at, 1);
	}
	assert_filled(c->mem, SZ_64K, 1);
	test_forget_cleanup(gpusvm_free, c);
	gpusvm_free(c);
}

static void conf_130_many_readers_of_different_pages(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned int i;

	(void)state;
	for (i = 0; i < 20; i++)
		check_crowd(d, false, i % 2);
}

static void conf_130_many_readers_of_the_same_page(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned int i;

	(void)state;
	for (i = 0; i < 20; i++)
		check_crowd(d, true, i % 2);
}

/* ---- 131 and 132: not where it was taken from ---- */

static void conf_131_window_ends_with_the_mapping(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct fake_driver *d = fake_driver_create(NULL);
		unsigned char *mem = test_map(SZ_64K, SZ_64K);
		unsigned char *rest = i ? mem : mem + SZ_32K;
		const struct fake_copy *copy;
		struct fake_alloc *alloc;
		size_t n;

		test_fill(mem, SZ_64K, 1);
		alloc = fake_migrate_span(d, mem, SZ_64K);
		test_munmap_sync(i ? mem + SZ_32K : mem, SZ_32K);
		assert_int_equal(alloc->released, 0);
		for (n = 0; n < SZ_32K; n++)
			assert_int_equal(rest[n],
					 test_pattern((size_t)(rest - mem) + n,
						      1));
		assert_int_equal(d->copies_to_ram, 1);
		copy = fake_last_copy(d, true);
		assert_int_equal(copy->copied, PAGES_64K / 2);
		test_wait_until(alloc->released == 1);
	}
}

/* The rest is in another mapping, with other rights. */
static void conf_131_window_ends_with_the_rights(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct fake_alloc *alloc;

	(void)state;
	test_needs_events("a bare mprotect()");
	test_fill(mem, SZ_64K, 1);
	alloc = fake_migrate_span(d, mem, SZ_64K);
	assert_int_equal(mprotect(mem + SZ_32K, SZ_32K, PROT_READ), 0);
	assert_int_equal(mem[0], test_pattern(0, 1));
	assert_int_equal(d->copies_to_ram, 1);
	assert_int_equal(fake_last_copy(d, true)->copied, PAGES_64K / 2);
	assert_int_equal(alloc->released, 0);
	assert_int_equal(test_resident(mem + SZ_32K, SZ_32K), 0);
	assert_filled(mem, SZ_64K, 1);
	assert_int_equal(d->copies_to_ram, 2);
	test_wait_until(alloc->released == 1);
}

static void check_moved(struct test_area *area, size_t to_offset)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_area_anon(area, 0, SZ_64K);
	unsigned char *to = area->base + to_offset;
	struct fake_alloc *alloc;
	unsigned long i;

	test_fill(mem, SZ_64K, 1);
	alloc = fake_migrate_span(d, mem, SZ_64K);
	test_mremap(mem, SZ_64K, to);
	/* From the middle: the first fault may bring a part only. */
	assert_int_equal(to[2 * PS], test_pattern(2 * PS, 1));
	assert_filled(to, SZ_64K, 1);
	test_wait_until(alloc->released == 1);
	for (i = 0; i < PAGES_64K; i++)
		assert_int_equal(fake_alloc_homecomings(alloc, i), 1);
	test_fill(to, SZ_64K, 2);
	assert_filled(to, SZ_64K, 2);
	fake_driver_destroy(d);
}

static void conf_132_moved_mapping(void **state)
{
	struct test_area *area = test_area_reserve(4 * SZ_64K, SZ_64K);

	(void)state;
	check_moved(area, SZ_64K);
	check_moved(area, SZ_64K + 3 * PS);
	check_moved(area, 3 * SZ_64K - PS);
}

static void conf_132_moved_in_two_pieces(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(4 * SZ_64K, SZ_64K);
	unsigned char *mem = test_area_anon(area, 0, SZ_64K);
	unsigned char *first = area->base + SZ_128K + 5 * PS;
	unsigned char *second = area->base + SZ_64K + PS;
	struct fake_alloc *alloc;
	size_t i;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	alloc = fake_migrate_span(d, mem, SZ_64K);
	test_mremap(mem, SZ_32K, first);
	test_mremap(mem + SZ_32K, SZ_32K, second);
	for (i = 0; i < SZ_32K; i++) {
		assert_int_equal(second[i], test_pattern(SZ_32K + i, 1));
		assert_int_equal(first[i], test_pattern(i, 1));
	}
	test_wait_until(alloc->released == 1);
}

/* ---- 135: with an eviction ---- */

struct race {
	struct fake_alloc *alloc;
	volatile unsigned char *at;
	bool go;
	unsigned char value;
};

static void *read_in_race(void *arg)
{
	struct race *r = arg;

	while (!__atomic_load_n(&r->go, __ATOMIC_ACQUIRE))
		sched_yield();
	r->value = *r->at;
	return NULL;
}

static void conf_135_fault_races_with_eviction(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct race *r = gpusvm_alloc(sizeof(*r));
	unsigned int round;
	unsigned long i;

	(void)state;
	assert_non_null(r);
	test_cleanup(gpusvm_free, r);
	for (round = 0; round < ROUNDS; round++) {
		size_t offset = test_random_below(SZ_64K);
		pthread_t thread;
		int err;

		test_fill(mem, SZ_64K, round);
		fake_reset(d);
		r->alloc = fake_migrate_span(d, mem, SZ_64K);
		r->at = mem + offset;
		r->go = false;
		test_thread_start(&thread, read_in_race, r);
		__atomic_store_n(&r->go, true, __ATOMIC_RELEASE);
		err = drm_gpusvm_evict_to_ram(&r->alloc->base);
		test_thread_join(thread);
		assert_ret(err, 0);
		assert_int_equal(r->value, test_pattern(offset, round));
		test_wait_until(r->alloc->released > 0);
		assert_int_equal(r->alloc->released, 1);
		for (i = 0; i < PAGES_64K; i++)
			assert_int_equal(fake_alloc_homecomings(r->alloc, i),
					 1);
		assert_filled(mem, SZ_64K, round);
	}
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_129_whole_allocation_comes_home),
	conf_test(conf_129_by_write),
	conf_test(conf_130_many_readers_of_different_pages),
	conf_test(conf_130_many_readers_of_the_same_page),
	conf_test(conf_131_window_ends_with_the_mapping),
	conf_test(conf_131_window_ends_with_the_rights),
	conf_test(conf_132_moved_mapping),
	conf_test(conf_132_moved_in_two_pieces),
	conf_test(conf_135_fault_races_with_eviction),
};

CONF_MAIN(tests)
