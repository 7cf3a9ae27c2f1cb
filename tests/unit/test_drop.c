/* SPDX-License-Identifier: MIT */
/*
 * The end of a migration by write-protection: what is dropped, and whose
 * removal an event tells of.
 */
#include "unit_isolate.h"

#include "drop.h"

static void enter_pages(void)
{
	unsigned long i;

	for (i = 0; i < N; i++) {
		m.pages[i]->migration = &m;
		assert_int_equal(gpusvm_devpt_set(&mm->pt,
						  fake_addr(fake, FIRST + i),
						  m.pages[i]),
				 0);
	}
	m.hold_removals = true;
}

static void drop_of_two_pieces_drops_both(void **state)
{
	unsigned long i;

	(void)state;
	fake_fill(window(FIRST - 1), N + 2, 1);
	split_at(FIRST + 5);
	enter_pages();
	assert_int_equal(gpusvm_drop_pages(&m), 0);
	for (i = 0; i < N; i++) {
		assert_false(fake_present(fake_addr(fake, FIRST + i)));
		assert_ptr_equal(entry_at(FIRST + i), m.pages[i]);
	}
	assert_true(fake_present(fake_addr(fake, FIRST - 1)));
	assert_true(fake_present(fake_addr(fake, FIRST + N)));
	assert_int_equal(mm->drop.end, 0);
	assert_true(m.dropping); /* until the migration ends */
}

static void drop_of_unmapped_memory_returns_0(void **state)
{
	(void)state;
	enter_pages();
	munmap(window(FIRST), N << PAGE_SHIFT);
	assert_int_equal(gpusvm_drop_pages(&m), 0);
	/* So that the window is whole again. */
	assert_ptr_not_equal(
		mmap(window(FIRST), N << PAGE_SHIFT, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
		MAP_FAILED);
}

static void drop_that_fails_returns_the_error(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	enter_pages();
	fake_sys_fail(FAKE_SYS_MADVISE, -EIO, 1);
	assert_int_equal(gpusvm_drop_pages(&m), -EIO);
	assert_true(fake_present(m.start));
	assert_int_equal(mm->drop.end, 0);
	assert_int_equal(pthread_mutex_trylock(&mm->drop_lock), 0);
	pthread_mutex_unlock(&mm->drop_lock);
}

static void push_removal(unsigned long first, unsigned long n)
{
	fake_source_push(fake, (struct source_event){
				       .type = SOURCE_REMOVE,
				       .start = fake_addr(fake, first),
				       .end = fake_addr(fake, first + n),
			       });
}

/* The program's removal has the same interval as ours: both come. */
static bool same_removal_twice(const unsigned long *args, long *ret)
{
	if (args[2] == MADV_DONTNEED && args[0] == m.start)
		push_removal(FIRST, N);
	return dontneed_raises_event(args, ret);
}

static void drop_with_equal_removal_honours_it(void **state)
{
	unsigned long i;

	(void)state;
	fake_fill(window(FIRST), N, 1);
	enter_pages();
	fake_sys_hook(FAKE_SYS_MADVISE, same_removal_twice);
	assert_int_equal(gpusvm_drop_pages(&m), 0);
	/* The end of the migration makes the removal. */
	assert_true(m.own_told);
	for (i = 0; i < N; i++)
		assert_true(m.pages[i]->removed);
}

/* Events during our call, in this order; [0, 0) ends the list. */
struct told {
	unsigned long first;
	unsigned long n;
};

static const struct told *to_be_told;

static bool tell(const unsigned long *args, long *ret)
{
	const struct told *told;

	(void)ret;
	if (args[2] != MADV_DONTNEED || args[0] != m.start)
		return false;
	for (told = to_be_told; told->n; told++)
		push_removal(FIRST + told->first, told->n);
	gpusvm_handler_settle(mm, 0);
	return false;
}

/* Drop the pages while @told is told. */
static void drop_while_told(const struct told *told)
{
	fake_fill(window(FIRST), N, 1);
	enter_pages();
	to_be_told = told;
	fake_sys_hook(FAKE_SYS_MADVISE, tell);
	assert_int_equal(gpusvm_drop_pages(&m), 0);
	assert_int_equal(mm->pt.npages, N);
}

/* Those from @first on, and no others, are noted then. */
static void check_drop(const struct told *told, unsigned long first,
		       unsigned long n)
{
	unsigned long i;

	drop_while_told(told);
	assert_true(m.own_told);
	for (i = 0; i < N; i++)
		assert_int_equal(m.pages[i]->removed,
				 i >= first && i < first + n);
	assert_int_equal(mm->drop.end, 0);
}

/* The mapping was split before the kernel looked at it. */
static void drop_told_in_parts_is_ours(void **state)
{
	static const struct told parts[] = {
		{ 0, 4 }, { 4, 1 }, { 5, N - 5 }, { 0, 0 }
	};

	(void)state;
	check_drop(parts, 0, 0);
}

/*
 * The mapping was split while the first event was read: the kernel goes on
 * with what is left (6.18).
 */
static void drop_told_whole_and_its_rest_is_ours(void **state)
{
	static const struct told parts[] = {
		{ 0, N }, { 7, 2 }, { 9, N - 9 }, { 0, 0 }
	};

	(void)state;
	check_drop(parts, 0, 0);
}

static void drop_honours_a_part_beside_our_parts(void **state)
{
	static const struct told parts[] = {
		{ 2, 3 }, { 0, N }, { 7, 2 }, { 9, N - 9 }, { 0, 0 }
	};

	(void)state;
	check_drop(parts, 2, 3);
}

static void drop_told_of_a_part_alone_keeps_pages(void **state)
{
	static const struct told parts[] = { { 2, N - 2 }, { 0, 0 } };

	(void)state;
	drop_while_told(parts);
	assert_false(m.own_told);
}

static void drop_told_of_too_many_parts_keeps_pages(void **state)
{
	struct told parts[DROP_PARTS + 3] = { { 0, N } };
	unsigned int i;

	(void)state;
	for (i = 1; i < DROP_PARTS + 2; i++)
		parts[i] = (struct told){ 1, 1 };
	drop_while_told(parts);
	assert_false(m.own_told);
}

#define drop_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		drop_test(drop_of_two_pieces_drops_both),
		drop_test(drop_of_unmapped_memory_returns_0),
		drop_test(drop_that_fails_returns_the_error),
		drop_test(drop_with_equal_removal_honours_it),
		drop_test(drop_told_in_parts_is_ours),
		drop_test(drop_told_whole_and_its_rest_is_ours),
		drop_test(drop_honours_a_part_beside_our_parts),
		drop_test(drop_told_of_a_part_alone_keeps_pages),
		drop_test(drop_told_of_too_many_parts_keeps_pages),
	};

	return cmocka_run_group_tests_name("drop", tests, NULL, NULL);
}
