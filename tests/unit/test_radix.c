/* SPDX-License-Identifier: MIT */
/*
 * The index of addresses against a flat array: random intervals, each looked
 * up in full; what has no memory is missing and does no harm.
 */
#include "unit.h"

#include <string.h>

#include "alloc.h"
#include "compiler.h"
#include "page_size.h"
#include "radix.h"

/* Across three entries of the third level. */
#define NSLOTS 1300ul
#define BASE ((512ul * 7 - 300) << PAGE_SHIFT)

static uint64_t seed;
static struct radix radix;
static void *model[NSLOTS];
static size_t blocks;

/* ---- Lack of memory ---- */

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);

static unsigned int fail_in;

void *__wrap_gpusvm_alloc(size_t size)
{
	return fail_in && !--fail_in ? NULL : __real_gpusvm_alloc(size);
}

static unsigned long addr_of(unsigned long slot)
{
	return BASE + (slot << PAGE_SHIFT);
}

static int setup(void **state)
{
	(void)state;
	memset(&radix, 0, sizeof(radix));
	memset(model, 0, sizeof(model));
	fail_in = 0;
	blocks = gpusvm_alloc_live();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return radix.root || gpusvm_alloc_live() != blocks ? -1 : 0;
}

static void set_slots(unsigned long slot, unsigned long n)
{
	unsigned long i;

	gpusvm_radix_reserve(&radix, addr_of(slot), addr_of(slot + n) - 1);
	gpusvm_radix_set(&radix, addr_of(slot), addr_of(slot + n) - 1,
			 &model[slot]);
	for (i = slot; i < slot + n; i++)
		model[i] = &model[slot];
}

static void clear_slots(unsigned long slot, unsigned long n)
{
	gpusvm_radix_clear(&radix, addr_of(slot), addr_of(slot + n) - 1);
	memset(&model[slot], 0, n * sizeof(model[0]));
}

static void check_all(void)
{
	unsigned long slot;

	for (slot = 0; slot < NSLOTS; slot++) {
		assert_ptr_equal(gpusvm_radix_get(&radix, addr_of(slot)),
				 model[slot]);
		assert_ptr_equal(gpusvm_radix_get(&radix,
						  addr_of(slot + 1) - 1),
				 model[slot]);
	}
}

static void get_of_empty_index_returns_null(void **state)
{
	(void)state;
	assert_null(gpusvm_radix_get(&radix, 0));
	assert_null(gpusvm_radix_get(&radix, ~0ul));
	gpusvm_radix_clear(&radix, 0, PAGE_SIZE - 1);
}

static void set_that_covers_a_level_takes_one_entry(void **state)
{
	unsigned long size = PAGE_SIZE << 18; /* 512 x 512 pages */
	size_t live;

	(void)state;
	gpusvm_radix_reserve(&radix, size, 3 * size - 1);
	gpusvm_radix_set(&radix, size, 3 * size - 1, model);
	live = gpusvm_alloc_live();
	assert_in_range(live, blocks + 1, blocks + 2);
	assert_null(gpusvm_radix_get(&radix, size - 1));
	assert_ptr_equal(gpusvm_radix_get(&radix, size), model);
	assert_ptr_equal(gpusvm_radix_get(&radix, 3 * size - 1), model);
	assert_null(gpusvm_radix_get(&radix, 3 * size));
	gpusvm_radix_clear(&radix, size, 3 * size - 1);
}

static void addresses_beyond_its_reach_are_missing(void **state)
{
	(void)state;
	gpusvm_radix_reserve(&radix, 1ul << 62, (1ul << 62) + PAGE_SIZE - 1);
	gpusvm_radix_set(&radix, 1ul << 62, (1ul << 62) + PAGE_SIZE - 1, model);
	assert_null(gpusvm_radix_get(&radix, 1ul << 62));
	gpusvm_radix_clear(&radix, 1ul << 62, (1ul << 62) + PAGE_SIZE - 1);
}

static void set_without_memory_is_missing(void **state)
{
	unsigned int n;

	(void)state;
	for (n = 1; n <= 4; n++) {
		fail_in = n;
		gpusvm_radix_reserve(&radix, addr_of(0), addr_of(1) - 1);
		assert_int_equal(fail_in, 0);
		gpusvm_radix_set(&radix, addr_of(0), addr_of(1) - 1, model);
		assert_null(gpusvm_radix_get(&radix, addr_of(0)));
		gpusvm_radix_clear(&radix, addr_of(0), addr_of(1) - 1);
		assert_int_equal(gpusvm_alloc_live(), blocks);
	}
}

/* ---- At random ---- */

/* All that was set together with @slot. */
static void clear_around(unsigned long slot)
{
	unsigned long first = (unsigned long)((void **)model[slot] - model);
	unsigned long n = 0;

	while (first + n < NSLOTS && model[first + n] == model[slot])
		n++;
	clear_slots(first, n);
}

static void step(uint64_t *random)
{
	unsigned long slot = unit_random_below(random, NSLOTS);
	unsigned long most = unit_random_below(random, 700) + 1, n = 0;

	if (model[slot]) {
		clear_around(slot);
		return;
	}
	while (n < most && slot + n < NSLOTS && !model[slot + n])
		n++;
	set_slots(slot, n);
}

static void random_changes_agree_with_the_model(void **state)
{
	uint64_t random = seed;
	unsigned long slot;
	unsigned int i;

	(void)state;
	for (i = 0; i < 3000; i++) {
		step(&random);
		if (i % 10 == 0)
			check_all();
	}
	for (slot = 0; slot < NSLOTS; slot++)
		if (model[slot])
			clear_around(slot);
}

#define radix_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		radix_test(get_of_empty_index_returns_null),
		radix_test(set_that_covers_a_level_takes_one_entry),
		radix_test(addresses_beyond_its_reach_are_missing),
		radix_test(set_without_memory_is_missing),
		radix_test(random_changes_agree_with_the_model),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("radix", tests, NULL, NULL);
}
