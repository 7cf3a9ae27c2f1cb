/* SPDX-License-Identifier: MIT */
/*
 * Conformance, group N: memory that the device works on moves, is cut, and
 * loses a part; with hooks, and bare.
 */
#include "calls.h"
#include "model.h"

#include <string.h>
#include <sys/mman.h>

#define LOOPS 6
#define SIZE (SZ_128K + 3 * PS)

static const unsigned int place[] = { 0, FAKE_ACCESS_MIGRATE };

static void *move(const struct test_calls *call, void *from, size_t size,
		  void *to, int flags)
{
	void *mem = call->mremap(from, size, size,
				 MREMAP_MAYMOVE | MREMAP_FIXED | flags, to);

	assert_ptr_equal(mem, to);
	return mem;
}

/* ---- 152: moved in a loop ---- */

/* To places that suit other chunks each time. */
static unsigned char *place_of(struct test_area *area, unsigned int i)
{
	return area->base + (i % 2) * SZ_1M + (i % 3) * 5 * PS;
}

static void move_loop(const struct test_calls *call, int flags, bool grow)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(SZ_2M, SZ_2M);
	unsigned char *mem = test_area_anon(area, 0, SIZE);
	struct test_model *m = test_model_create(d, mem, SIZE, 0);
	unsigned int i;

	for (i = 1; i <= LOOPS; i++) {
		unsigned char *to = place_of(area, i);

		m->flags = place[i / 2 % 2];
		test_model_dev_write(m, 0, m->cells);
		if (i & 1)
			test_model_cpu_write(m, 3, m->cells - 7);
		move(call, mem, SIZE, to, flags);
		test_model_moved(m, to);
		test_model_dev_check(m, 0, m->cells);
		test_model_cpu_check(m, 0, m->cells);
		if (flags & MREMAP_DONTUNMAP)
			assert_zeroed(mem, SIZE);
		else
			assert_int_equal(test_dev_poke(d, mem), -ENOENT);
		mem = to;
		if (!grow)
			continue;
		/* Behind it there is a hole or a guard, so it must move. */
		mem = call->mremap(to, SIZE, SIZE - SZ_64K, 0, NULL);
		assert_ptr_equal(mem, to);
		mem = call->mremap(mem, SIZE - SZ_64K, SIZE, MREMAP_MAYMOVE,
				   NULL);
		assert_ptr_not_equal(mem, MAP_FAILED);
		test_model_moved(m, mem);
		test_model_zeroed(m, m->cells - SZ_64K / PS, SZ_64K / PS);
		test_model_dev_check(m, 0, m->cells);
		test_model_cpu_check(m, 0, m->cells);
	}
	fake_driver_destroy(d);
	if (mem < area->base || mem >= area->base + area->size)
		assert_int_equal(munmap(mem, SIZE), 0);
}

static void conf_152_remap(void **state)
{
	(void)state;
	for_each_calls(call)
		move_loop(call, 0, false);
}

static void conf_152_remap_dontunmap(void **state)
{
	(void)state;
	for_each_calls(call)
		move_loop(call, MREMAP_DONTUNMAP, false);
}

static void conf_152_cut_and_grown(void **state)
{
	(void)state;
	for_each_calls(call)
		move_loop(call, 0, true);
}

/* Made read-only, moved, made writable. */
static void conf_152_read_only_when_moved(void **state)
{
	(void)state;
	for_each_calls(call) {
		struct fake_driver *d = fake_driver_create(NULL);
		struct test_area *area = test_area_reserve(SZ_2M, SZ_2M);
		unsigned char *mem = test_area_anon(area, 0, SIZE);
		struct test_model *m = test_model_create(d, mem, SIZE, 0);
		unsigned int i;

		for (i = 1; i <= LOOPS; i++) {
			m->flags = place[i / 2 % 2];
			test_model_dev_write(m, 0, m->cells);
			assert_int_equal(
				call->mprotect(m->mem, SIZE, PROT_READ), 0);
			assert_int_equal(test_dev_poke(d, m->mem), -EPERM);
			test_model_moved(m, move(call, m->mem, SIZE,
						 place_of(area, i), 0));
			test_model_dev_check(m, 0, m->cells);
			test_model_cpu_check(m, 0, m->cells);
			assert_int_equal(test_dev_poke(d, m->mem), -EPERM);
			assert_int_equal(call->mprotect(m->mem, SIZE,
							PROT_READ | PROT_WRITE),
					 0);
			test_model_cpu_check(m, 0, m->cells);
		}
		fake_driver_destroy(d);
	}
}

/* ---- 153: a part goes ---- */

struct partial {
	/* The part is a quarter in the middle, not the first half. */
	bool middle;
	bool remap;
	bool touch;
	bool atomic;
};

/* Add to a word while it is on the device, whatever that takes. */
static void atomic_add(struct fake_driver *d, unsigned char *at, size_t size)
{
	unsigned int round;
	int err = -EAGAIN;

	for (round = 0; err && round < 100; round++) {
		struct drm_gpusvm_range *range;

		fake_collect(d);
		range = fake_fault_devmem(d, at);
		assert_ok_ptr(range);
		assert_true(drm_gpusvm_range_size(range) <= size);
		drm_gpusvm_range_evict(&d->gpusvm, range);
		if (fake_migrate(d, range, NULL) || fake_get_pages(d, range))
			continue;
		err = fake_dev_add(
			d, range,
			(unsigned long)at - drm_gpusvm_range_start(range), 1);
	}
	assert_ret(err, 0);
}

/* Writes by the device to a cell at each end of the part that is left. */
static void work(struct test_model *m, unsigned long first, unsigned long n,
		 bool atomic)
{
	unsigned long word;

	if (!atomic) {
		test_model_dev_write(m, first, n);
		return;
	}
	test_model_cpu_write(m, first, 1);
	memcpy(&word, m->mem + first * PS, sizeof(word));
	atomic_add(m->d, m->mem + first * PS, SZ_2M);
	word++;
	assert_memory_equal(m->mem + first * PS, &word, sizeof(word));
	test_model_cpu_write(m, first, 1);
}

static void check_part(const struct test_calls *call, const struct partial *p)
{
	struct fake_driver *d = fake_driver_create(NULL);
	struct test_area *area = test_area_reserve(2 * SZ_2M, SZ_2M);
	unsigned char *mem = test_area_anon(area, 0, SZ_2M);
	unsigned char *to = area->base + SZ_2M + SZ_64K;
	struct test_model *m =
		test_model_create(d, mem, SZ_2M, FAKE_ACCESS_MIGRATE);
	struct test_model *moved;
	unsigned long first = p->middle ? m->cells / 4 : 0;
	unsigned long n = p->middle ? m->cells / 4 : m->cells / 2;
	unsigned long end = first + n;

	work(m, 0, m->cells, false);
	if (p->atomic)
		work(m, end, 1, true);
	if (p->remap) {
		move(call, mem + first * PS, n * PS, to, 0);
		moved = test_model_create(d, to, n * PS, FAKE_ACCESS_MIGRATE);
		memcpy(moved->tag, &m->tag[first], n * sizeof(*m->tag));
		if (p->touch)
			test_model_cpu_check(moved, 0, n);
		work(moved, n - 1, 1, p->atomic);
		test_model_dev_check(moved, 0, n);
		test_model_cpu_check(moved, 0, n);
	} else {
		assert_int_equal(call->munmap(mem + first * PS, n * PS), 0);
	}
	if (p->touch) {
		test_model_cpu_check(m, 0, first);
		test_model_cpu_check(m, end, m->cells - end);
	}
	if (first)
		work(m, first - 1, 1, p->atomic);
	work(m, end, 1, p->atomic);
	test_model_dev_check(m, 0, first);
	test_model_dev_check(m, end, m->cells - end);
	test_model_cpu_check(m, 0, first);
	test_model_cpu_check(m, end, m->cells - end);
	/* Nothing of it is there any more. */
	assert_int_equal(test_dev_poke(d, mem + first * PS), -ENOENT);
	fake_driver_destroy(d);
	test_area_release(area);
}

static void check_parts(bool middle, bool remap)
{
	unsigned int i;

	for_each_calls(call) {
		for (i = 0; i < 4; i++) {
			const struct partial p = {
				.middle = middle,
				.remap = remap,
				.touch = i & 1,
				.atomic = i & 2,
			};

			check_part(call, &p);
		}
	}
}

static void conf_153_partial_munmap(void **state)
{
	(void)state;
	check_parts(false, false);
}

static void conf_153_partial_middle_munmap(void **state)
{
	(void)state;
	check_parts(true, false);
}

static void conf_153_partial_remap(void **state)
{
	(void)state;
	check_parts(false, true);
}

static void conf_153_partial_middle_remap(void **state)
{
	(void)state;
	check_parts(true, true);
}

static const struct CMUnitTest tests[] = {
	conf_test(conf_152_remap),
	conf_test(conf_152_remap_dontunmap),
	conf_test(conf_152_cut_and_grown),
	conf_test(conf_152_read_only_when_moved),
	conf_test(conf_153_partial_munmap),
	conf_test(conf_153_partial_middle_munmap),
	conf_test(conf_153_partial_remap),
	conf_test(conf_153_partial_middle_remap),
};

CONF_MAIN(tests)
