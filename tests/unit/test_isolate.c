/* SPDX-License-Identifier: MIT */
/*
 * The two ways to take pages from the CPU, step by step: pieces of mapping, and
 * what is found in the run afterwards.
 */
#include "unit_isolate.h"

#include "isolate.h"

static void move_takes_what_is_there(void **state)
{
	unsigned long i;

	(void)state;
	fake_fill(window(FIRST), 5, 1);
	assert_int_equal(gpusvm_isolate_move(&m, 0), 0);
	gpusvm_isolate_moved(&m);
	assert_int_equal(m.run->nfilled, 5);
	for (i = 0; i < N; i++)
		assert_int_equal(m.ram[i],
				 i < 5 ? m.run->addr + (i << PAGE_SHIFT) : 0);
	assert_true(fake_matches((void *)m.run->addr, 5, 1));
	assert_false(fake_present(m.start));
}

static void move_of_memory_that_cannot_returns_eopnotsupp(void **state)
{
	(void)state;
	fake_source_fail(fake, FAKE_OP_TAKE, -EINVAL);
	assert_int_equal(gpusvm_isolate_move(&m, 0), -EOPNOTSUPP);
}

static void move_of_two_pieces_asks_for_each(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	split_at(FIRST + 5);
	/* The whole cannot be moved in one call. */
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 1,
						   .error = -EINVAL });
	assert_int_equal(gpusvm_isolate_move(&m, 0), 0);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 3);
	assert_false(fake_source_called(fake, FAKE_OP_TAKE,
					fake_addr(fake, FIRST + N)));
	gpusvm_isolate_moved(&m);
	assert_true(fake_matches((void *)m.run->addr, N, 1));
}

static void move_of_no_mapping_returns_ebusy(void **state)
{
	(void)state;
	fake_source_fail(fake, FAKE_OP_TAKE, -EINVAL);
	m.start = 0;
	assert_int_equal(gpusvm_isolate_move(&m, 0), -EBUSY);
}

static void moved_after_failure_knows_what_came(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 1,
						   .max_pages = 7 });
	fake_source_fail(fake, FAKE_OP_TAKE, -ENOMEM);
	assert_int_equal(gpusvm_isolate_move(&m, 0), -ENOMEM);
	gpusvm_isolate_moved(&m);
	assert_int_equal(m.run->nfilled, 7);
	assert_int_not_equal(m.ram[6], 0);
	assert_int_equal(m.ram[7], 0);
}

/* ---- Together ---- */

/* A second one, behind the first, with pages of its own. */
static struct migration second;
static struct dev_pagemap *second_pgmap;

static void chain_second(void)
{
	unsigned long i;

	second_pgmap = fake_devmem_create(16);
	assert_int_equal(gpusvm_migration_init(&second, mm, 16), 0);
	second.start = m.start + (N << PAGE_SHIFT);
	for (i = 0; i < 16; i++)
		second.pages[i] = &second_pgmap->pages[i];
	m.next = &second;
}

static void unchain_second(void)
{
	m.next = NULL;
	gpusvm_staging_get_empty(mm, &second.run);
	gpusvm_migration_fini(&second);
	assert_true(fake_devmem_destroy(second_pgmap));
	gpusvm_staging_get_empty(mm, &m.run);
}

/* 12 pages have a run of 16: the next one does not begin where they end. */
static void move_together_goes_to_the_right_runs(void **state)
{
	(void)state;
	chain_second();
	assert_ptr_equal(m.run->behind, second.run);
	fake_fill(window(FIRST), N, 1);
	fake_fill(window(FIRST + N), 16, 2);
	assert_int_equal(gpusvm_isolate_move(&m, 0), 0);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 2);
	gpusvm_isolate_moved(&m);
	assert_int_equal(m.run->nfilled, N);
	assert_int_equal(second.run->nfilled, 16);
	assert_int_equal(m.ram[N - 1], m.run->addr + ((N - 1) << PAGE_SHIFT));
	assert_int_equal(second.ram[0], second.run->addr);
	assert_true(fake_matches((void *)m.run->addr, N, 1));
	assert_true(fake_matches((void *)second.run->addr, 16, 2));
	unchain_second();
}

static void move_together_that_fails_knows_what_came(void **state)
{
	(void)state;
	chain_second();
	fake_fill(window(FIRST), N, 1);
	fake_fill(window(FIRST + N), 16, 2);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 2,
						   .max_pages = 12 });
	fake_source_fail(fake, FAKE_OP_TAKE, -ENOMEM);
	assert_int_equal(gpusvm_isolate_move(&m, 0), -ENOMEM);
	gpusvm_isolate_moved(&m);
	assert_int_equal(m.run->nfilled, N);
	assert_int_equal(second.run->nfilled, 12);
	assert_int_not_equal(second.ram[11], 0);
	assert_int_equal(second.ram[12], 0);
	unchain_second();
}

static void protect_returns_eagain_or_ebusy(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_isolate_protect(&m), 0);
	assert_true(fake->flags[FIRST] & FAKE_PROTECTED);
	assert_true(fake->flags[FIRST + N - 1] & FAKE_PROTECTED);
	assert_false(fake->flags[FIRST + N] & FAKE_PROTECTED);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_PROTECT,
						   .times = 1,
						   .error = -EAGAIN });
	assert_int_equal(gpusvm_isolate_protect(&m), -EAGAIN);
	fake_source_fail(fake, FAKE_OP_PROTECT, -ENOENT);
	assert_int_equal(gpusvm_isolate_protect(&m), -EBUSY);
}

/* Where a mapping was replaced there is nothing to end, and more behind it. */
static void unprotect_goes_on_behind_what_is_gone(void **state)
{
	unsigned long i;

	(void)state;
	split_at(FIRST + 5);
	assert_int_equal(gpusvm_isolate_protect(&m), 0);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_PROTECT,
						   .times = 1,
						   .error = -ENOENT });
	gpusvm_isolate_unprotect(&m);
	for (i = 0; i < N; i++)
		assert_int_equal(!(fake->flags[FIRST + i] & FAKE_PROTECTED),
				 i >= 5);
}

static void copy_copies_runs_and_leaves_holes(void **state)
{
	unsigned long i;

	(void)state;
	for (i = 0; i < N; i++)
		if (i != 0 && i != 5 && i != 6)
			fake_fill(window(FIRST + i), 1, (unsigned int)i);
	assert_int_equal(gpusvm_isolate_copy(&m), 0);
	/* Pages 1 to 4, and 7 on. */
	assert_int_equal(fake_sys_calls(FAKE_SYS_PROCESS_VM_READV), 2);
	for (i = 0; i < N; i++) {
		if (i == 0 || i == 5 || i == 6) {
			assert_int_equal(m.ram[i], 0);
			continue;
		}
		assert_true(fake_matches((void *)m.ram[i], 1, (unsigned int)i));
		assert_true(fake_present(fake_addr(fake, FIRST + i)));
	}
}

/* Nothing of what was taken may be taken for absent. */
static void moved_pages_that_cannot_be_told_are_kept(void **state)
{
	unsigned long i;

	(void)state;
	if (!(mm->features & GPUSVM_FEATURE_PAGEMAP_SCAN))
		skip();
	fake_fill(window(FIRST), 3, 1);
	gpusvm_staging_get_empty(mm, &m.run);
	assert_int_equal(gpusvm_isolate_move(&m, 0), 0);
	fake_sys_fail(FAKE_SYS_PAGEMAP_SCAN, -ENOMEM, 1);
	gpusvm_isolate_moved(&m);
	for (i = 0; i < N; i++) {
		assert_int_equal(m.ram[i], m.run->addr + (i << PAGE_SHIFT));
		assert_true(fake_present(m.ram[i]));
	}
	assert_int_equal(m.run->nfilled, N);
	assert_true(fake_matches((void *)m.ram[0], 3, 1));
	assert_true(fake_is_zero((void *)m.ram[3], N - 3));
	gpusvm_staging_get_empty(mm, &m.run);
}

static void copy_without_staging_returns_enomem(void **state)
{
	(void)state;
	fake_source_fail(fake, FAKE_OP_FILL, -ENOMEM);
	assert_int_equal(gpusvm_isolate_copy(&m), -ENOMEM);
	assert_int_equal(mm->staging.bytes, 0);
}

static void copy_that_fails_gives_the_run_back(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_sys_fail(FAKE_SYS_PROCESS_VM_READV, -EFAULT, 1);
	assert_int_equal(gpusvm_isolate_copy(&m), -EBUSY);
	assert_int_equal(mm->staging.bytes, N * PAGE_SIZE);
	gpusvm_staging_get_empty(mm, &m.run);
}

#define isolate_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		isolate_test(move_takes_what_is_there),
		isolate_test(move_of_memory_that_cannot_returns_eopnotsupp),
		isolate_test(move_of_two_pieces_asks_for_each),
		isolate_test(move_of_no_mapping_returns_ebusy),
		isolate_test(moved_after_failure_knows_what_came),
		isolate_test(move_together_goes_to_the_right_runs),
		isolate_test(move_together_that_fails_knows_what_came),
		isolate_test(protect_returns_eagain_or_ebusy),
		isolate_test(unprotect_goes_on_behind_what_is_gone),
		isolate_test(copy_copies_runs_and_leaves_holes),
		isolate_test(moved_pages_that_cannot_be_told_are_kept),
		isolate_test(copy_without_staging_returns_enomem),
		isolate_test(copy_that_fails_gives_the_run_back),
	};

	return cmocka_run_group_tests_name("isolate", tests, NULL, NULL);
}
