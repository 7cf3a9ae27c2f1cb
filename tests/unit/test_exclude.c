/* SPDX-License-Identifier: MIT */
/*
 * Excluded memory: rounding, overlaps, counts, the library's own memory, and
 * random intervals against a bitmap.
 */
#include "unit.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "compiler.h"
#include "exclude.h"
#include "page_size.h"

/* Nothing is mapped there, and nothing needs to be. */
#define BASE (1ul << 44)
#define PAGE(n) (BASE + (n)*PAGE_SIZE)
#define NPAGES 64ul

static uint64_t seed;
static char own_data[16] = "not constant";
static char own_bss[1 << 20];

static int exclude(unsigned long start, unsigned long end)
{
	return gpusvm_exclude((const void *)start, end - start);
}

static int include(unsigned long start, unsigned long end)
{
	return gpusvm_include((const void *)start, end - start);
}

static bool is_excluded(unsigned long addr)
{
	unsigned long start = 0, end = ~0ul;

	return !gpusvm_exclude_clip(addr, &start, &end);
}

static void assert_clip(unsigned long addr, unsigned long start,
			unsigned long end)
{
	unsigned long clipped_start = PAGE(0), clipped_end = PAGE(NPAGES);

	assert_true(gpusvm_exclude_clip(addr, &clipped_start, &clipped_end));
	assert_int_equal(clipped_start, start);
	assert_int_equal(clipped_end, end);
}

static void exclude_empty_or_wrapping_returns_einval(void **state)
{
	const char *page = (const char *)PAGE(0);
	const char *top = (const char *)~0ul;

	(void)state;
	assert_int_equal(gpusvm_exclude(page, 0), -EINVAL);
	assert_int_equal(gpusvm_exclude(page, SIZE_MAX), -EINVAL);
	assert_int_equal(gpusvm_exclude(top, 1), -EINVAL);
	assert_int_equal(gpusvm_exclude(top, 2), -EINVAL);
	assert_int_equal(gpusvm_exclude(top - 10, 5), -EINVAL);
	assert_int_equal(gpusvm_include(page, 0), -ENOENT);
	assert_int_equal(gpusvm_include(page, SIZE_MAX), -ENOENT);
	assert_clip(PAGE(3), PAGE(0), PAGE(NPAGES));
}

static void clip_without_exclusion_changes_nothing(void **state)
{
	(void)state;
	assert_clip(PAGE(0), PAGE(0), PAGE(NPAGES));
	assert_clip(PAGE(NPAGES) - 1, PAGE(0), PAGE(NPAGES));
}

static void clip_between_exclusions_stops_at_both(void **state)
{
	(void)state;
	assert_int_equal(exclude(PAGE(10), PAGE(12)), 0);
	assert_int_equal(exclude(PAGE(20), PAGE(21)), 0);
	assert_clip(PAGE(10) - 1, PAGE(0), PAGE(10));
	assert_true(is_excluded(PAGE(10)));
	assert_true(is_excluded(PAGE(12) - 1));
	assert_clip(PAGE(12), PAGE(12), PAGE(20));
	assert_clip(PAGE(20) - 1, PAGE(12), PAGE(20));
	assert_true(is_excluded(PAGE(20)));
	assert_clip(PAGE(21), PAGE(21), PAGE(NPAGES));
	assert_int_equal(include(PAGE(10), PAGE(12)), 0);
	assert_int_equal(include(PAGE(20), PAGE(21)), 0);
	assert_clip(PAGE(10), PAGE(0), PAGE(NPAGES));
}

static void exclude_part_of_a_page_rounds_outwards(void **state)
{
	(void)state;
	assert_int_equal(exclude(PAGE(5) + 100, PAGE(6) + 1), 0);
	assert_clip(PAGE(5) - 1, PAGE(0), PAGE(5));
	assert_true(is_excluded(PAGE(5)));
	assert_true(is_excluded(PAGE(7) - 1));
	assert_clip(PAGE(7), PAGE(7), PAGE(NPAGES));
	assert_int_equal(include(PAGE(5) + 100, PAGE(6) + 1), 0);
}

static void exclude_twice_needs_include_twice(void **state)
{
	(void)state;
	/* Two objects on one page. */
	assert_int_equal(exclude(PAGE(3) + 8, PAGE(3) + 16), 0);
	assert_int_equal(exclude(PAGE(3) + 24, PAGE(3) + 32), 0);
	assert_int_equal(include(PAGE(3) + 8, PAGE(3) + 16), 0);
	assert_true(is_excluded(PAGE(3)));
	assert_int_equal(include(PAGE(3) + 24, PAGE(3) + 32), 0);
	assert_false(is_excluded(PAGE(3)));
	assert_int_equal(include(PAGE(3) + 24, PAGE(3) + 32), -ENOENT);
}

static void include_of_overlapping_leaves_the_other(void **state)
{
	(void)state;
	assert_int_equal(exclude(PAGE(1), PAGE(30)), 0);
	assert_int_equal(exclude(PAGE(5), PAGE(6)), 0);
	assert_int_equal(exclude(PAGE(20), PAGE(40)), 0);
	assert_int_equal(include(PAGE(1), PAGE(40)), -ENOENT);
	assert_int_equal(include(PAGE(1), PAGE(29)), -ENOENT);
	/* The one before in order does not reach as far as the first. */
	assert_true(is_excluded(PAGE(10)));
	assert_clip(PAGE(40), PAGE(40), PAGE(NPAGES));
	assert_int_equal(include(PAGE(1), PAGE(30)), 0);
	assert_clip(PAGE(10), PAGE(6), PAGE(20));
	assert_int_equal(include(PAGE(20), PAGE(40)), 0);
	assert_int_equal(include(PAGE(5), PAGE(6)), 0);
}

static void own_data_is_excluded_own_code_is_not(void **state)
{
	char on_stack;

	(void)state;
	assert_int_equal(gpusvm_exclude_own_data(), 0);
	assert_int_equal(gpusvm_exclude_own_data(), 0);
	assert_true(is_excluded((unsigned long)own_data));
	assert_true(is_excluded((unsigned long)own_bss));
	assert_true(is_excluded((unsigned long)own_bss + sizeof(own_bss) - 1));
	assert_false(is_excluded(
		(unsigned long)&exclude_empty_or_wrapping_returns_einval));
	assert_false(is_excluded((unsigned long)&on_stack));
	assert_false(is_excluded((unsigned long)&pthread_create));
}

/* By the linker: where what is zero ends. */
extern char _end[];
extern char gpusvm_exclude_filler[64 << 10];

/* Which libc may lend to malloc(): nothing of ours is there. */
static void rest_of_the_last_page_is_not_excluded(void **state)
{
	unsigned long end = (unsigned long)_end;
	unsigned long filler = (unsigned long)gpusvm_exclude_filler;

	(void)state;
	if (filler + sizeof(gpusvm_exclude_filler) + sizeof(long) <= end) {
		print_message("skipped: this linker puts more behind\n");
		skip();
	}
	assert_int_equal(gpusvm_exclude_own_data(), 0);
	assert_true(is_excluded(filler));
	assert_true(is_excluded(PAGE_ALIGN_DOWN(end) - 1));
	assert_false(is_excluded(PAGE_ALIGN_DOWN(end)));
}

static void allocator_window_is_always_excluded(void **state)
{
	unsigned long window_start, window_end, start, end;
	void *block = gpusvm_alloc(1);

	(void)state;
	gpusvm_alloc_window(&window_start, &window_end);
	assert_true(is_excluded((unsigned long)block));
	assert_true(is_excluded(window_start));
	assert_true(is_excluded(window_end - 1));
	start = 0;
	end = ~0ul;
	assert_true(gpusvm_exclude_clip(window_start - 1, &start, &end));
	assert_int_equal(end, window_start);
	start = 0;
	end = ~0ul;
	assert_true(gpusvm_exclude_clip(window_end, &start, &end));
	assert_int_equal(start, window_end);
	gpusvm_free(block);
}

struct interval {
	unsigned long first, end; /* pages */
};

static void assert_matches(const unsigned int *covered)
{
	unsigned long page, first, end;

	for (page = 0; page < NPAGES; page++) {
		if (covered[page]) {
			assert_true(is_excluded(PAGE(page)));
			continue;
		}
		for (first = page; first && !covered[first - 1]; first--)
			;
		for (end = page; end < NPAGES && !covered[end]; end++)
			;
		assert_clip(PAGE(page), PAGE(first), PAGE(end));
	}
}

static void random_intervals_match_the_model(void **state)
{
	static struct interval intervals[100];
	unsigned int covered[NPAGES] = { 0 };
	uint64_t random = seed;
	unsigned long page;
	unsigned int step;

	(void)state;
	for (step = 0; step < 5000; step++) {
		struct interval *i =
			&intervals[unit_random_below(&random, 100)];
		bool add = i->end == 0;

		if (add) {
			i->first = unit_random_below(&random, NPAGES);
			i->end = i->first + 1 + unit_random_below(&random, 5);
			i->end = min(i->end, NPAGES);
			assert_int_equal(exclude(PAGE(i->first), PAGE(i->end)),
					 0);
		} else {
			assert_int_equal(include(PAGE(i->first), PAGE(i->end)),
					 0);
		}
		for (page = i->first; page < i->end; page++)
			covered[page] += add ? 1u : -1u;
		if (!add)
			i->end = 0;
		assert_matches(covered);
	}
	for (step = 0; step < ARRAY_SIZE(intervals); step++) {
		if (intervals[step].end)
			assert_int_equal(include(PAGE(intervals[step].first),
						 PAGE(intervals[step].end)),
					 0);
	}
	assert_clip(PAGE(0), PAGE(0), PAGE(NPAGES));
}

static void thousands_of_intervals_are_kept_without_blocks(void **state)
{
	size_t live = gpusvm_alloc_live();
	unsigned long i, n = 10000;

	(void)state;
	for (i = n; i-- > 0;)
		assert_int_equal(exclude(PAGE(2 * i), PAGE(2 * i + 1)), 0);
	for (i = 0; i < n; i++) {
		assert_true(is_excluded(PAGE(2 * i)));
		assert_false(is_excluded(PAGE(2 * i + 1)));
	}
	assert_int_equal(gpusvm_alloc_live(), live);
	for (i = n; i-- > 0;)
		assert_int_equal(include(PAGE(2 * i), PAGE(2 * i + 1)), 0);
	assert_clip(PAGE(0), PAGE(0), PAGE(NPAGES));
}

static bool stop;

static void *exclude_and_include(void *arg)
{
	unsigned long n = (unsigned long)arg;

	/* At least once: a lock that threads do not share fairly starves some. */
	do {
		if (exclude(PAGE(n), PAGE(n + 2)) || !is_excluded(PAGE(n)) ||
		    include(PAGE(n), PAGE(n + 2)))
			return NULL;
	} while (!READ_ONCE(stop));
	return &stop;
}

static int use_in_child(void)
{
	/* A lock left behind would hang the child. */
	alarm(unit_seconds(20));
	return exclude(PAGE(50), PAGE(51)) || !is_excluded(PAGE(50)) ||
	       include(PAGE(50), PAGE(51));
}

static void fork_while_threads_exclude_leaves_child_usable(void **state)
{
	pthread_t threads[2];
	int failed = 0, status;
	unsigned long i;
	pid_t child;
	void *good;

	(void)state;
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
						exclude_and_include, (void *)i),
				 0);
	for (i = 0; i < 50; i++) {
		child = fork();
		if (!child)
			_exit(use_in_child());
		if (waitpid(child, &status, 0) != child || status)
			failed++;
	}
	WRITE_ONCE(stop, true);
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], &good);
		if (!good)
			failed++;
	}
	assert_int_equal(failed, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(exclude_empty_or_wrapping_returns_einval),
		cmocka_unit_test(clip_without_exclusion_changes_nothing),
		cmocka_unit_test(clip_between_exclusions_stops_at_both),
		cmocka_unit_test(exclude_part_of_a_page_rounds_outwards),
		cmocka_unit_test(exclude_twice_needs_include_twice),
		cmocka_unit_test(include_of_overlapping_leaves_the_other),
		cmocka_unit_test(own_data_is_excluded_own_code_is_not),
		cmocka_unit_test(rest_of_the_last_page_is_not_excluded),
		cmocka_unit_test(allocator_window_is_always_excluded),
		cmocka_unit_test(random_intervals_match_the_model),
		cmocka_unit_test(
			thousands_of_intervals_are_kept_without_blocks),
		cmocka_unit_test(
			fork_while_threads_exclude_leaves_child_usable),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("exclude", tests, NULL, NULL);
}
