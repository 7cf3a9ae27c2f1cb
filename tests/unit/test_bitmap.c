/* SPDX-License-Identifier: MIT */
/* Bitmaps against an array of a bool for each bit, at random. */
#include "unit.h"

#include <string.h>

#include "bitmap.h"
#include "compiler.h"

#define NBITS 200ul

static uint64_t seed;
static unsigned long map[BITMAP_WORDS(NBITS)];
static bool model[NBITS];

static int setup(void **state)
{
	(void)state;
	memset(map, 0, sizeof(map));
	memset(model, 0, sizeof(model));
	return 0;
}

static unsigned long fill_model(unsigned long first, unsigned long n,
				bool value)
{
	unsigned long i, changed = 0;

	for (i = first; i < first + n; i++) {
		changed += model[i] != value;
		model[i] = value;
	}
	return changed;
}

static unsigned long find_in_model(unsigned long first, unsigned long end,
				   bool value)
{
	while (first < end && model[first] != value)
		first++;
	return first;
}

static void check_all(void)
{
	unsigned long i;

	for (i = 0; i < NBITS; i++)
		assert_int_equal(map[i / 64] >> (i % 64) & 1, model[i]);
	/* Nothing beyond the end. */
	assert_int_equal(map[NBITS / 64] >> (NBITS % 64), 0);
}

static void fill_across_words_says_what_changed(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_bitmap_fill(map, 70, 3, true), 3);
	assert_int_equal(gpusvm_bitmap_fill(map, 60, 100, true), 97);
	assert_int_equal(map[0], 0xful << 60);
	assert_int_equal(map[1], ~0ul);
	assert_int_equal(map[2], (1ul << 32) - 1);
	assert_int_equal(gpusvm_bitmap_fill(map, 0, NBITS, false), 100);
	assert_int_equal(gpusvm_bitmap_fill(map, 5, 0, true), 0);
	check_all();
}

static void find_of_nothing_is_the_end(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_bitmap_find(map, 0, NBITS, true), NBITS);
	assert_int_equal(gpusvm_bitmap_find(map, 64, 64, false), 64);
	gpusvm_bitmap_fill(map, 100, 1, true);
	/* It is there, but not before the end. */
	assert_int_equal(gpusvm_bitmap_find(map, 65, 100, true), 100);
	assert_int_equal(gpusvm_bitmap_find(map, 65, 101, true), 100);
	assert_int_equal(gpusvm_bitmap_find(map, 101, NBITS, true), NBITS);
}

static void random_changes_agree_with_the_model(void **state)
{
	unsigned long first, n;
	uint64_t random = seed;
	unsigned int i;
	bool value;

	(void)state;
	for (i = 0; i < 20000; i++) {
		first = unit_random_below(&random, NBITS);
		n = unit_random_below(&random, NBITS - first + 1);
		value = unit_random_below(&random, 2);
		assert_int_equal(gpusvm_bitmap_find(map, first, first + n,
						    value),
				 find_in_model(first, first + n, value));
		n = min(n, unit_random_below(&random, 90));
		assert_int_equal(gpusvm_bitmap_fill(map, first, n, value),
				 fill_model(first, n, value));
		if (i % 50 == 0)
			check_all();
	}
	check_all();
}

#define bitmap_test(fn) cmocka_unit_test_setup(fn, setup)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		bitmap_test(fill_across_words_says_what_changed),
		bitmap_test(find_of_nothing_is_the_end),
		bitmap_test(random_changes_agree_with_the_model),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("bitmap", tests, NULL, NULL);
}
