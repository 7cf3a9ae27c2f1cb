/* SPDX-License-Identifier: MIT */
/*
 * Staging memory: runs of the right size and place, pages that are kept and
 * lent to another owner, the limit, gaps, partial fills and lack of memory.
 */
#include "unit.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc.h"
#include "compiler.h"
#include "fake_source.h"
#include "fake_sys.h"
#include "page_size.h"
#include "staging.h"

#define PIECE (2ul << 20)

static uint64_t seed;
static struct fake_source *fake;
static struct mm_struct *mm;

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

/* ---- Helpers ---- */

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	fail_in = 0;
	fake = fake_source_create(1, GPUSVM_TECHNIQUE_MOVE);
	mm = fake->mm;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return fake_source_destroy(fake) ? 0 : -1;
}

static struct staging_run *create(struct staging_run **owner, unsigned long n)
{
	assert_int_equal(gpusvm_staging_create(mm, n, owner), 0);
	assert_non_null(*owner);
	return *owner;
}

static void destroy(struct staging_run **owner)
{
	gpusvm_staging_destroy(mm, owner);
	assert_null(*owner);
}

static unsigned char *page_of(const struct staging_run *run, unsigned long i)
{
	return (unsigned char *)run->addr + (i << PAGE_SHIFT);
}

/* How many pages the kernel has there; those that the run says must agree. */
static unsigned long count_present(const struct staging_run *run)
{
	unsigned long i, n = 0;
	bool filled;

	for (i = 0; i < 1ul << run->order; i++) {
		filled = run->filled[i / 64] & (1ul << (i % 64));
		assert_int_equal(fake_present((unsigned long)page_of(run, i)),
				 filled);
		n += filled;
	}
	assert_int_equal(run->nfilled, n);
	return n;
}

static void get_filled(struct staging_run **owner, unsigned long n)
{
	assert_int_equal(gpusvm_staging_get_filled(mm, owner, n), 0);
	assert_true(count_present(*owner) >= n);
}

/* As a migration home does it: the first @n pages leave the run. */
static void move_away(struct staging_run *run, unsigned long n)
{
	madvise(page_of(run, 0), n << PAGE_SHIFT, MADV_DONTNEED);
	gpusvm_staging_set_filled(run, 0, n, false);
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

/* ---- All of it, at random ---- */

#define NOWNERS 12

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

#define staging_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

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
		staging_test(random_use_keeps_the_books),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("staging", tests, NULL, NULL);
}
