/* SPDX-License-Identifier: MIT */
/*
 * Staging memory: runs of the right size and place, the limit, lack of memory,
 * and all use of it at random.  Pages in it are in test_staging_fill.c.
 */
#include "unit_staging.h"

#include "alloc.h"

#define PIECE (2ul << 20)

static uint64_t seed;

/* ---- Lack of private memory ---- */

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);
void *__real_gpusvm_alloc_pages(size_t size, size_t align);
void *__wrap_gpusvm_alloc_pages(size_t size, size_t align);

static unsigned int fail_in;

static bool fails_now(void)
{
	return fail_in && !--fail_in;
}

void *__wrap_gpusvm_alloc(size_t size)
{
	return fails_now() ? NULL : __real_gpusvm_alloc(size);
}

void *__wrap_gpusvm_alloc_pages(size_t size, size_t align)
{
	return fails_now() ? NULL : __real_gpusvm_alloc_pages(size, align);
}

static int setup(void **state)
{
	fail_in = 0;
	return staging_setup(state);
}

/* ---- Runs ---- */

static void create_odd_size_rounds_up(void **state)
{
	static const unsigned long npages[] = { 1, 2, 3, 5, 16, 17, 512, 513 };
	static const unsigned int order[] = { 0, 1, 2, 3, 4, 5, 9, 10 };
	struct staging_run *owner[ARRAY_SIZE(npages)];
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(npages); i++) {
		create(&owner[i], npages[i]);
		assert_int_equal(owner[i]->order, order[i]);
		assert_int_equal(owner[i]->nfilled, 0);
		assert_ptr_equal(owner[i]->owner, &owner[i]);
		/* Where a huge page fits it can move as a whole. */
		assert_int_equal(
			owner[i]->addr % min(PAGE_SIZE << order[i], PIECE), 0);
	}
	for (i = 0; i < ARRAY_SIZE(npages); i++)
		destroy(&owner[i]);
}

static void create_many_do_not_overlap(void **state)
{
	struct staging_run *owner[300];
	uint64_t random = seed;
	unsigned int i, j;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(owner); i++)
		create(&owner[i], 1 + unit_random_below(&random, 40));
	for (i = 0; i < ARRAY_SIZE(owner); i++)
		for (j = 0; j < i; j++)
			assert_true(
				owner[i]->addr >=
					owner[j]->addr + (PAGE_SIZE
							  << owner[j]->order) ||
				owner[j]->addr >=
					owner[i]->addr +
						(PAGE_SIZE << owner[i]->order));
	for (i = 0; i < ARRAY_SIZE(owner); i++)
		destroy(&owner[i]);
}

static void create_stages_and_keeps_from_fork(void **state)
{
	struct staging_run *a, *b;
	unsigned int i, staged = 0;

	(void)state;
	create(&a, 16);
	create(&b, 16);
	for (i = 0; i < fake->ncalls; i++) {
		if (fake->calls[i].op != FAKE_OP_STAGE)
			continue;
		staged++;
		assert_in_range(a->addr, fake->calls[i].start,
				fake->calls[i].end - 1);
	}
	/* Both are cut from one piece. */
	assert_int_equal(staged, 1);
	assert_int_equal(fake_sys_calls(FAKE_SYS_MADVISE), 1);
	destroy(&a);
	destroy(&b);
}

static void destroy_then_create_uses_the_run_again(void **state)
{
	struct staging_run *owner, *again;
	unsigned long addr;

	(void)state;
	addr = create(&owner, 8)->addr;
	get_filled(&owner, 8);
	gpusvm_staging_put(mm, owner);
	destroy(&owner);
	assert_int_equal(mm->staging.bytes, 8 * PAGE_SIZE);
	assert_int_equal(create(&again, 7)->addr, addr);
	assert_int_equal(count_present(again), 0);
	assert_int_equal(mm->staging.bytes, 0);
	destroy(&again);
}

static void destroy_beyond_limit_gives_pages_back(void **state)
{
	struct staging_run *a, *b;

	(void)state;
	mm->staging.limit = 10 * PAGE_SIZE;
	create(&a, 8);
	create(&b, 8);
	get_filled(&a, 8);
	get_filled(&b, 8);
	destroy(&a); /* in use, as by an allocation that dies with its run */
	assert_int_equal(mm->staging.bytes, 8 * PAGE_SIZE);
	destroy(&b);
	assert_int_equal(mm->staging.bytes, 8 * PAGE_SIZE);
	assert_int_equal(fake_retired_bytes(fake), 8 * PAGE_SIZE);
}

static void retired_runs_make_room_for_those_in_use(void **state)
{
	struct staging_run *a, *b, *c;

	(void)state;
	mm->staging.limit = 10 * PAGE_SIZE;
	create(&a, 8);
	create(&b, 4);
	create(&c, 16);
	get_filled(&a, 8);
	get_filled(&b, 4);
	get_filled(&c, 11);
	destroy(&a);
	assert_int_equal(fake_retired_bytes(fake), 8 * PAGE_SIZE);
	/* Too much in any case, so nobody makes room for it. */
	gpusvm_staging_put(mm, c);
	assert_int_equal(mm->staging.bytes, 8 * PAGE_SIZE);
	gpusvm_staging_put(mm, b);
	assert_int_equal(mm->staging.bytes, 4 * PAGE_SIZE);
	assert_int_equal(fake_retired_bytes(fake), 0);
	assert_int_equal(count_present(b), 4);
	destroy(&b);
	destroy(&c);
}

static void create_prefers_an_empty_run(void **state)
{
	struct staging_run *a, *b, *run_b;

	(void)state;
	create(&a, 8);
	run_b = create(&b, 8);
	get_filled(&a, 8);
	destroy(&a);
	destroy(&b);
	assert_ptr_equal(create(&b, 8), run_b);
	assert_int_equal(fake_retired_bytes(fake), 8 * PAGE_SIZE);
	destroy(&b);
}

/* What is made one after the other can be moved to by one call. */
static void create_prefers_the_run_behind(void **state)
{
	struct staging_run *owner[8], *third, *fifth;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(owner); i++) {
		create(&owner[i], 16);
		if (i)
			assert_ptr_equal(owner[i - 1]->behind, owner[i]);
	}
	third = owner[2];
	fifth = owner[4];
	destroy(&owner[4]);
	destroy(&owner[3]);
	destroy(&owner[2]);
	/* Nothing is free behind the last one: the first that was given back. */
	assert_ptr_equal(create(&owner[4], 16), fifth);
	/* Behind that all are in use. */
	create(&owner[3], 16);
	assert_ptr_equal(create(&owner[2], 16), third);
	destroy(&owner[4]);
	destroy(&owner[3]);
	/* The fifth would be first; the fourth is behind the third. */
	assert_ptr_equal(create(&owner[3], 16), third->behind);
	assert_ptr_equal(create(&owner[4], 16), fifth);
	for (i = 0; i < ARRAY_SIZE(owner); i++)
		destroy(&owner[i]);
}

/* A piece is a mapping of its own, wherever it lies. */
static void last_run_of_a_piece_has_none_behind(void **state)
{
	struct staging_run *owner[3];

	(void)state;
	create(&owner[0], 256);
	create(&owner[1], 256);
	create(&owner[2], 256);
	assert_ptr_equal(owner[0]->behind, owner[1]);
	assert_null(owner[1]->behind);
	destroy(&owner[0]);
	destroy(&owner[1]);
	destroy(&owner[2]);
}

static void destroy_without_run_does_nothing(void **state)
{
	struct staging_run *none = NULL;

	(void)state;
	destroy(&none);
}

static void create_without_memory_returns_enomem(void **state)
{
	struct staging_run *owner = NULL;
	size_t blocks = gpusvm_alloc_live();
	unsigned int n;

	(void)state;
	for (n = 1; n < 10; n++) {
		fail_in = n;
		if (!gpusvm_staging_create(mm, 4, &owner))
			break;
		assert_null(owner);
		assert_int_equal(fail_in, 0);
		assert_int_equal(gpusvm_alloc_live(), blocks);
		assert_null(mm->staging.pieces);
	}
	/* The run, the piece and its address space. */
	assert_int_equal(n, 4);
	fail_in = 0;
	destroy(&owner);
}

static void create_that_cannot_be_staged_returns_enomem(void **state)
{
	struct staging_run *owner;
	size_t blocks = gpusvm_alloc_live();

	(void)state;
	fake_sys_fail(FAKE_SYS_MADVISE, -EINVAL, 1);
	assert_int_equal(gpusvm_staging_create(mm, 4, &owner), -ENOMEM);
	fake_source_fail(fake, FAKE_OP_STAGE, -EINVAL);
	assert_int_equal(gpusvm_staging_create(mm, 4, &owner), -ENOMEM);
	assert_null(owner);
	assert_int_equal(gpusvm_alloc_live(), blocks);
	fake_source_forget_plans(fake);
	create(&owner, 4);
	destroy(&owner);
}

/* ---- All of it, at random ---- */

#define NOWNERS 12

/* As a migration home does it: the first @n pages leave the run. */
static void move_away(struct staging_run *run, unsigned long n)
{
	madvise(page_of(run, 0), n << PAGE_SHIFT, MADV_DONTNEED);
	gpusvm_staging_set_filled(run, 0, n, false);
}

static unsigned long bytes_idle(struct staging_run **owner, const bool *used)
{
	unsigned long bytes = 0;
	unsigned int i;

	for (i = 0; i < NOWNERS; i++)
		if (owner[i] && !used[i])
			bytes += owner[i]->nfilled << PAGE_SHIFT;
	return bytes + fake_retired_bytes(fake);
}

static void step(struct staging_run **owner, bool *used, uint64_t *random)
{
	unsigned int i = (unsigned int)unit_random_below(random, NOWNERS);
	unsigned long n = 1ul << unit_random_below(random, 5);

	if (!owner[i]) {
		create(&owner[i], n);
	} else if (used[i]) {
		n = min(n, owner[i]->nfilled);
		move_away(owner[i], n);
		gpusvm_staging_put(mm, owner[i]);
		used[i] = false;
	} else if (unit_random_below(random, 4) == 0) {
		destroy(&owner[i]);
	} else if (unit_random_below(random, 3) == 0) {
		gpusvm_staging_get_empty(mm, &owner[i]);
		used[i] = true;
	} else {
		get_filled(&owner[i], min(n, 1ul << owner[i]->order));
		used[i] = true;
	}
}

static void random_use_keeps_the_books(void **state)
{
	struct staging_run *owner[NOWNERS] = { NULL };
	bool used[NOWNERS] = { false };
	uint64_t random = seed;
	unsigned int i, j;

	(void)state;
	mm->staging.limit = 60 * PAGE_SIZE;
	for (i = 0; i < 1500; i++) {
		step(owner, used, &random);
		assert_int_equal(mm->staging.bytes, bytes_idle(owner, used));
		assert_true(mm->staging.bytes <= mm->staging.limit);
		for (j = 0; j < NOWNERS; j++) {
			if (!owner[j])
				continue;
			assert_ptr_equal(owner[j]->owner, &owner[j]);
			count_present(owner[j]);
		}
	}
	for (i = 0; i < NOWNERS; i++)
		destroy(&owner[i]);
}

#define staging_test(fn) \
	cmocka_unit_test_setup_teardown(fn, setup, staging_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		staging_test(create_odd_size_rounds_up),
		staging_test(create_many_do_not_overlap),
		staging_test(create_stages_and_keeps_from_fork),
		staging_test(destroy_then_create_uses_the_run_again),
		staging_test(destroy_beyond_limit_gives_pages_back),
		staging_test(create_prefers_an_empty_run),
		staging_test(create_prefers_the_run_behind),
		staging_test(last_run_of_a_piece_has_none_behind),
		staging_test(retired_runs_make_room_for_those_in_use),
		staging_test(destroy_without_run_does_nothing),
		staging_test(create_without_memory_returns_enomem),
		staging_test(create_that_cannot_be_staged_returns_enomem),
		staging_test(random_use_keeps_the_books),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("staging", tests, NULL, NULL);
}
