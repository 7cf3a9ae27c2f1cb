/* SPDX-License-Identifier: MIT */
/*
 * What is trapped: what was asked for, or the window around it where that is in
 * many parts, or there are too many in all, or the kernel has no more mappings.
 */
#include "unit.h"

#include <errno.h>
#include <sys/mman.h>

#include "compiler.h"
#include "fake_source.h"
#include "fake_sys.h"
#include "itree.h"
#include "page_size.h"
#include "trap.h"
#include "mm.h"

#define WINDOW 512ul
#define NPAGES (2 * WINDOW + 100)

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);

static struct fake_source *fake;
static struct traps *traps;
static bool no_memory;

void *__wrap_gpusvm_alloc(size_t size)
{
	return no_memory ? NULL : __real_gpusvm_alloc(size);
}

static int setup(void **state)
{
	(void)state;
	no_memory = false;
	fake_sys_reset();
	fake = fake_source_create(NPAGES, GPUSVM_TECHNIQUE_MOVE);
	traps = &fake->mm->traps;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return fake_source_destroy(fake) ? 0 : -1;
}

static int trap(unsigned long first, unsigned long n)
{
	return gpusvm_trap(fake->mm, fake_addr(fake, first),
			   fake_addr(fake, first + n));
}

/* Every second page, @n of them. */
static void trap_alternating(unsigned long first, unsigned long n)
{
	unsigned long i;

	for (i = 0; i < n; i++)
		assert_int_equal(trap(first + 2 * i, 1), 0);
}

static bool is_trapped(unsigned long i)
{
	return fake->flags[i] & FAKE_TRAPPED;
}

static unsigned long count_trapped(void)
{
	unsigned long i, n = 0;

	for (i = 0; i < NPAGES; i++)
		n += is_trapped(i);
	return n;
}

static void few_parts_are_trapped_by_themselves(void **state)
{
	(void)state;
	trap_alternating(0, TRAP_WINDOW_PARTS);
	assert_int_equal(traps->nparts, TRAP_WINDOW_PARTS);
	assert_int_equal(count_trapped(), TRAP_WINDOW_PARTS);
	/* The same once more is no other part. */
	trap_alternating(0, TRAP_WINDOW_PARTS);
	assert_int_equal(traps->nparts, TRAP_WINDOW_PARTS);
	assert_int_equal(count_trapped(), TRAP_WINDOW_PARTS);
}

static void many_parts_become_the_window(void **state)
{
	(void)state;
	trap_alternating(WINDOW, TRAP_WINDOW_PARTS + 1);
	assert_int_equal(traps->nparts, 1);
	assert_int_equal(count_trapped(), WINDOW);
	assert_true(is_trapped(WINDOW));
	assert_true(is_trapped(2 * WINDOW - 1));
}

static void neighbours_are_one_part(void **state)
{
	unsigned long i;

	(void)state;
	for (i = 0; i < 3 * TRAP_WINDOW_PARTS; i++)
		assert_int_equal(trap(i, 1), 0);
	assert_int_equal(traps->nparts, 1);
	assert_int_equal(count_trapped(), 3 * TRAP_WINDOW_PARTS);
}

/* The last window of the memory goes on behind it, the first has a guard. */
static void window_ends_with_the_mapping(void **state)
{
	(void)state;
	trap_alternating(2 * WINDOW, TRAP_WINDOW_PARTS + 1);
	assert_int_equal(count_trapped(), NPAGES - 2 * WINDOW);
	assert_int_equal(fake->calls[fake->ncalls - 1].end,
			 fake_addr(fake, NPAGES));
}

/* What is another mapping for the program, too. */
static void window_ends_with_the_protection(void **state)
{
	(void)state;
	assert_int_equal(mprotect((void *)fake_addr(fake, 100),
				  (WINDOW - 100) << PAGE_SHIFT, PROT_READ),
			 0);
	trap_alternating(4, TRAP_WINDOW_PARTS + 1);
	assert_int_equal(count_trapped(), 100);
	assert_false(is_trapped(100));
}

static void too_many_in_all_become_windows(void **state)
{
	(void)state;
	traps->limit = 3;
	trap_alternating(0, 3);
	assert_int_equal(traps->nparts, 3);
	assert_int_equal(trap(WINDOW + 7, 1), 0);
	assert_int_equal(count_trapped(), 3 + WINDOW);
	assert_int_equal(traps->nparts, 4);
	assert_int_equal(trap(9, 1), 0);
	assert_int_equal(traps->nparts, 2);
	assert_int_equal(count_trapped(), 2 * WINDOW);
}

static void without_mappings_the_window_may_do(void **state)
{
	(void)state;
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TRAP,
						   .times = 1,
						   .error = -ENOMEM });
	assert_int_equal(trap(5, 1), 0);
	assert_int_equal(count_trapped(), WINDOW);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TRAP,
						   .times = 2,
						   .error = -ENOMEM });
	assert_int_equal(trap(WINDOW, 1), -ENOMEM);
	assert_int_equal(count_trapped(), WINDOW);
}

/* As where the program has a userfaultfd of its own in between. */
static void what_refuses_the_window_may_be_trapped_alone(void **state)
{
	(void)state;
	trap_alternating(0, TRAP_WINDOW_PARTS);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TRAP,
						   .times = 1,
						   .error = -EBUSY });
	assert_int_equal(trap(2 * TRAP_WINDOW_PARTS, 1), 0);
	assert_int_equal(count_trapped(), TRAP_WINDOW_PARTS + 1);
}

static void other_errors_are_passed_on(void **state)
{
	(void)state;
	fake_source_fail(fake, FAKE_OP_TRAP, -EINVAL);
	assert_int_equal(trap(5, 1), -EINVAL);
	assert_int_equal(fake->count[FAKE_OP_TRAP], 1);
}

static void large_parts_are_not_counted(void **state)
{
	(void)state;
	assert_int_equal(trap(0, WINDOW), 0);
	assert_int_equal(trap(WINDOW - 1, 2), 0);
	assert_int_equal(traps->nparts, 0);
	assert_int_equal(count_trapped(), WINDOW + 1);
}

static void without_memory_nothing_is_trapped(void **state)
{
	(void)state;
	no_memory = true;
	assert_int_equal(trap(0, 1), -ENOMEM);
	assert_int_equal(traps->nparts, 0);
	assert_int_equal(count_trapped(), 0);
}

static void what_has_gone_does_not_count(void **state)
{
	(void)state;
	trap_alternating(0, 8);
	trap_alternating(WINDOW, 8);
	assert_int_equal(traps->nparts, 16);
	/* The last 4 of the first window, the first 2 of the second. */
	gpusvm_trap_forget(fake->mm, fake_addr(fake, 8),
			   fake_addr(fake, WINDOW + 4));
	assert_int_equal(traps->nparts, 10);
	gpusvm_trap_forget(fake->mm, 0, ~0ul);
	assert_int_equal(traps->nparts, 0);
	assert_null(gpusvm_itree_first(&traps->windows, 0, ~0ul));
}

#define trap_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		trap_test(few_parts_are_trapped_by_themselves),
		trap_test(many_parts_become_the_window),
		trap_test(neighbours_are_one_part),
		trap_test(window_ends_with_the_mapping),
		trap_test(window_ends_with_the_protection),
		trap_test(too_many_in_all_become_windows),
		trap_test(without_mappings_the_window_may_do),
		trap_test(what_refuses_the_window_may_be_trapped_alone),
		trap_test(other_errors_are_passed_on),
		trap_test(large_parts_are_not_counted),
		trap_test(without_memory_nothing_is_trapped),
		trap_test(what_has_gone_does_not_count),
	};

	return cmocka_run_group_tests_name("trap", tests, NULL, NULL);
}
