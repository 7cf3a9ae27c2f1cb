/* SPDX-License-Identifier: MIT */
/*
 * The pages of staging memory: partial fills, gaps, pages that are kept, given
 * back beyond the limit, and lent to another owner.
 */
#include "unit_staging.h"

/* ---- Filling ---- */

static void get_filled_fills_what_was_asked_for(void **state)
{
	struct staging_run *owner;

	(void)state;
	create(&owner, 16);
	get_filled(&owner, 5);
	assert_int_equal(count_present(owner), 5);
	assert_true(fake_is_zero(page_of(owner, 0), 5));
	assert_int_equal(fake->count[FAKE_OP_FILL], 1);
	assert_int_equal(mm->staging.bytes, 0);
	gpusvm_staging_put(mm, owner);
	assert_int_equal(mm->staging.bytes, 5 * PAGE_SIZE);
	destroy(&owner);
	assert_int_equal(mm->staging.bytes, fake_retired_bytes(fake));
}

static void get_filled_fills_only_gaps(void **state)
{
	static const unsigned long kept[] = { 1, 2, 5, 9 };
	struct staging_run *owner;
	unsigned long i;

	(void)state;
	create(&owner, 16);
	for (i = 0; i < ARRAY_SIZE(kept); i++) {
		fake_fill(page_of(owner, kept[i]), 1, (unsigned int)i);
		gpusvm_staging_set_filled(owner, kept[i], 1, true);
	}
	gpusvm_staging_put(mm, owner);
	get_filled(&owner, 10);
	assert_int_equal(count_present(owner), 10);
	/* Pages 0; 3 and 4; 6 to 8. */
	assert_int_equal(fake->count[FAKE_OP_FILL], 3);
	for (i = 0; i < ARRAY_SIZE(kept); i++)
		assert_true(fake_matches(page_of(owner, kept[i]), 1,
					 (unsigned int)i));
	gpusvm_staging_put(mm, owner);
	destroy(&owner);
}

static void get_filled_with_partial_fills_goes_on(void **state)
{
	struct staging_run *owner;

	(void)state;
	create(&owner, 64);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_FILL,
						   .times = ~0u,
						   .max_pages = 7 });
	get_filled(&owner, 64);
	assert_int_equal(fake->count[FAKE_OP_FILL], 10);
	gpusvm_staging_put(mm, owner);
	destroy(&owner);
}

static void get_filled_with_eagain_tries_again(void **state)
{
	struct staging_run *owner;

	(void)state;
	create(&owner, 4);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_FILL,
						   .times = 3,
						   .error = -EAGAIN });
	get_filled(&owner, 4);
	assert_int_equal(fake->count[FAKE_OP_FILL], 4);
	gpusvm_staging_put(mm, owner);
	destroy(&owner);
}

/* They are found again the next time. */
static void get_empty_without_mappings_keeps_the_pages(void **state)
{
	struct staging_run *owner;

	(void)state;
	create(&owner, 4);
	get_filled(&owner, 4);
	gpusvm_staging_put(mm, owner);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_EMPTY,
						   .times = 1,
						   .error = -ENOMEM });
	gpusvm_staging_get_empty(mm, &owner);
	assert_int_equal(owner->nfilled, 4);
	assert_int_equal(count_present(owner), 4);
	gpusvm_staging_put(mm, owner);
	gpusvm_staging_get_empty(mm, &owner);
	assert_int_equal(owner->nfilled, 0);
	assert_int_equal(count_present(owner), 0);
	destroy(&owner);
}

static void get_filled_without_memory_is_idle_again(void **state)
{
	struct staging_run *owner;

	(void)state;
	create(&owner, 8);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_FILL,
						   .times = 1,
						   .max_pages = 3 });
	fake_source_fail(fake, FAKE_OP_FILL, -ENOMEM);
	assert_int_equal(gpusvm_staging_get_filled(mm, &owner, 8), -ENOMEM);
	/* What was got is kept. */
	assert_int_equal(count_present(owner), 3);
	assert_int_equal(mm->staging.bytes, 3 * PAGE_SIZE);
	fake_source_forget_plans(fake);
	get_filled(&owner, 8);
	assert_int_equal(mm->staging.bytes, 0);
	gpusvm_staging_put(mm, owner);
	destroy(&owner);
}

/* ---- Lending ---- */

static void get_filled_of_empty_run_swaps_with_idle_one(void **state)
{
	struct staging_run *a, *b, *run_a, *run_b;

	(void)state;
	run_a = create(&a, 8);
	run_b = create(&b, 8);
	get_filled(&a, 8);
	fake_fill(page_of(a, 0), 8, 1);
	gpusvm_staging_put(mm, a);

	get_filled(&b, 8);
	assert_ptr_equal(b, run_a);
	assert_ptr_equal(a, run_b);
	assert_ptr_equal(run_a->owner, &b);
	assert_ptr_equal(run_b->owner, &a);
	assert_int_equal(fake->count[FAKE_OP_FILL], 1);
	assert_int_equal(mm->staging.bytes, 0);
	/* It is in use: nobody gets it by another swap. */
	get_filled(&a, 8);
	assert_ptr_equal(a, run_b);
	gpusvm_staging_put(mm, a);
	gpusvm_staging_put(mm, b);
	assert_int_equal(mm->staging.bytes, 16 * PAGE_SIZE);
	destroy(&a);
	destroy(&b);
}

static void get_filled_of_empty_run_takes_a_retired_one(void **state)
{
	struct staging_run *a, *b, *run_a, *run_b;

	(void)state;
	run_a = create(&a, 8);
	run_b = create(&b, 8);
	get_filled(&a, 8);
	destroy(&a);
	get_filled(&b, 8);
	assert_ptr_equal(b, run_a);
	assert_ptr_equal(run_a->owner, &b);
	assert_int_equal(fake->count[FAKE_OP_FILL], 1);
	assert_int_equal(mm->staging.bytes, 0);
	assert_ptr_equal(create(&a, 8), run_b);
	assert_int_equal(count_present(a), 0);
	destroy(&a);
	destroy(&b);
}

static void get_filled_of_partly_filled_run_keeps_it(void **state)
{
	struct staging_run *a, *b, *run_b;

	(void)state;
	create(&a, 4);
	run_b = create(&b, 4);
	get_filled(&a, 4);
	get_filled(&b, 2);
	gpusvm_staging_put(mm, a);
	gpusvm_staging_put(mm, b);
	get_filled(&b, 4);
	assert_ptr_equal(b, run_b);
	gpusvm_staging_put(mm, b);
	destroy(&b);
	destroy(&a);
}

static void get_filled_of_another_order_does_not_swap(void **state)
{
	struct staging_run *a, *b, *run_b;

	(void)state;
	create(&a, 8);
	run_b = create(&b, 4);
	get_filled(&a, 8);
	gpusvm_staging_put(mm, a);
	get_filled(&b, 4);
	assert_ptr_equal(b, run_b);
	gpusvm_staging_put(mm, b);
	destroy(&a);
	destroy(&b);
}

static void get_empty_gives_pages_back(void **state)
{
	struct staging_run *owner;

	(void)state;
	create(&owner, 100);
	get_filled(&owner, 100);
	gpusvm_staging_put(mm, owner);
	gpusvm_staging_get_empty(mm, &owner);
	assert_int_equal(count_present(owner), 0);
	assert_int_equal(mm->staging.bytes, 0);
	gpusvm_staging_put(mm, owner);
	assert_int_equal(mm->staging.bytes, 0);
	destroy(&owner);
}

static void put_beyond_limit_gives_pages_back(void **state)
{
	struct staging_run *a, *b, *c;

	(void)state;
	mm->staging.limit = 10 * PAGE_SIZE;
	create(&a, 8);
	create(&b, 2);
	create(&c, 1);
	get_filled(&a, 8);
	get_filled(&b, 2);
	get_filled(&c, 1);
	gpusvm_staging_put(mm, a);
	gpusvm_staging_put(mm, b);
	assert_int_equal(mm->staging.bytes, 10 * PAGE_SIZE);
	gpusvm_staging_put(mm, c);
	assert_int_equal(mm->staging.bytes, 10 * PAGE_SIZE);
	assert_int_equal(count_present(c), 0);
	assert_int_equal(count_present(a), 8);
	destroy(&a);
	destroy(&b);
	destroy(&c);
	assert_int_equal(mm->staging.bytes, fake_retired_bytes(fake));
}

static void set_filled_twice_counts_once(void **state)
{
	struct staging_run *owner;

	(void)state;
	create(&owner, 130);
	gpusvm_staging_set_filled(owner, 129, 1, true);
	gpusvm_staging_set_filled(owner, 129, 1, true);
	gpusvm_staging_set_filled(owner, 0, 1, false);
	assert_int_equal(owner->nfilled, 1);
	assert_int_equal(owner->filled[2], 1ul << 1);
	gpusvm_staging_set_filled(owner, 129, 1, false);
	assert_int_equal(owner->nfilled, 0);
	destroy(&owner);
}

/* Across two borders of words; what was there is not counted twice. */
static void set_filled_marks_a_run(void **state)
{
	struct staging_run *owner;

	(void)state;
	create(&owner, 200);
	gpusvm_staging_set_filled(owner, 70, 3, true);
	gpusvm_staging_set_filled(owner, 60, 100, true);
	assert_int_equal(owner->nfilled, 100);
	assert_int_equal(owner->filled[0], 0xful << 60);
	assert_int_equal(owner->filled[1], ~0ul);
	assert_int_equal(owner->filled[2], (1ul << 32) - 1);
	gpusvm_staging_set_filled(owner, 0, 64, false);
	gpusvm_staging_set_filled(owner, 100, 70, false);
	assert_int_equal(owner->nfilled, 36);
	assert_int_equal(owner->filled[0], 0);
	assert_int_equal(owner->filled[1], (1ul << 36) - 1);
	assert_int_equal(owner->filled[2], 0);
	gpusvm_staging_set_filled(owner, 64, 36, false);
	destroy(&owner);
}

#define staging_test(fn) \
	cmocka_unit_test_setup_teardown(fn, staging_setup, staging_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		staging_test(get_filled_fills_what_was_asked_for),
		staging_test(get_filled_fills_only_gaps),
		staging_test(get_filled_with_partial_fills_goes_on),
		staging_test(get_filled_with_eagain_tries_again),
		staging_test(get_empty_without_mappings_keeps_the_pages),
		staging_test(get_filled_without_memory_is_idle_again),
		staging_test(get_filled_of_empty_run_swaps_with_idle_one),
		staging_test(get_filled_of_empty_run_takes_a_retired_one),
		staging_test(get_filled_of_partly_filled_run_keeps_it),
		staging_test(get_filled_of_another_order_does_not_swap),
		staging_test(get_empty_gives_pages_back),
		staging_test(put_beyond_limit_gives_pages_back),
		staging_test(set_filled_twice_counts_once),
		staging_test(set_filled_marks_a_run),
	};

	return cmocka_run_group_tests_name("staging_fill", tests, NULL, NULL);
}
