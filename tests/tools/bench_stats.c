/* SPDX-License-Identifier: MIT */
/* The sums of gpusvm-bench: medians and percentiles of known samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../../tools/bench/bench.h"

static void near(double value, double expected)
{
	assert_true(value > expected - 1e-9 && value < expected + 1e-9);
}

static struct outcome sum_up(const struct sample *sample, unsigned int n)
{
	struct samples samples = { .count = 0 };
	struct outcome outcome = { .err = 0 };
	unsigned int i;

	for (i = 0; i < n; i++)
		assert_int_equal(samples_add(&samples, sample[i].ours,
					     sample[i].base),
				 0);
	assert_int_equal(samples_sum_up(&samples, &outcome), 0);
	assert_int_equal(outcome.rounds, n);
	samples_free(&samples);
	assert_int_equal(samples.count, 0);
	return outcome;
}

static void test_one(void **state)
{
	const struct sample sample = { 6, 2 };
	struct outcome outcome = sum_up(&sample, 1);

	(void)state;
	near(outcome.ours, 6);
	near(outcome.base, 2);
	near(outcome.ratio, 3);
	near(outcome.p10, 3);
	near(outcome.p90, 3);
}

/* Each round by itself: the ratio is not that of the medians. */
static void test_ratio_of_rounds(void **state)
{
	const struct sample sample[] = { { 1, 1 }, { 10, 2 }, { 4, 8 } };
	struct outcome outcome = sum_up(sample, 3);

	(void)state;
	near(outcome.ours, 4);
	near(outcome.base, 2);
	near(outcome.ratio, 1);
	near(outcome.p10, 0.6); /* of 0.5, 1, 5 */
	near(outcome.p90, 4.2);
}

static void test_even_number(void **state)
{
	const struct sample sample[] = {
		{ 4, 1 }, { 1, 1 }, { 3, 1 }, { 2, 1 }
	};

	(void)state;
	near(sum_up(sample, 4).ratio, 2.5);
}

/* More than there is room for at first, falling. */
static void test_many(void **state)
{
	struct samples samples = { .count = 0 };
	struct outcome outcome;
	unsigned int i;

	(void)state;
	for (i = 0; i <= 1000; i++)
		assert_int_equal(samples_add(&samples, 1000 - i, 0.5), 0);
	assert_int_equal(samples_sum_up(&samples, &outcome), 0);
	near(outcome.p10, 200);
	near(outcome.ratio, 1000);
	near(outcome.p90, 1800);
	near(outcome.ours, 500);
	samples_free(&samples);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_ratio_of_rounds),
		cmocka_unit_test(test_even_number),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
