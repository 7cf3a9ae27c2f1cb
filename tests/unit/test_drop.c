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

/*
 * Events during our call, in this order; [0, 0) ends the list.
 * @together: Read with the next one
 */
struct told {
	unsigned long first;
	unsigned long n;
	bool together;
};

static const struct told *to_be_told;

static void tell_all(void *arg)
{
	const struct told *told;

	(void)arg;
	for (told = to_be_told; told->n; told++) {
		push_removal(FIRST + told->first, told->n);
		if (!told->together)
			gpusvm_handler_settle(mm, 0);
	}
}

/* By another thread, who sees the caller asleep and its pages there. */
static bool tell(const unsigned long *args, long *ret)
{
	struct unit_thread teller;

	(void)ret;
	if (args[2] != MADV_DONTNEED || args[0] != m.start)
		return false;
	unit_thread_start(&teller, tell_all, NULL);
	unit_thread_join(&teller);
	return false;
}

/* The pages are gone when the events are read. */
static bool drop_and_tell(const unsigned long *args, long *ret)
{
	if (args[2] == MADV_DONTNEED && args[0] == m.start)
		assert_int_equal(
			madvise((void *)args[0], args[1], MADV_DONTNEED), 0);
	return tell(args, ret);
}

/* Drop the pages, which have data, while @told is told by @hook. */
static void drop_while_told(const struct told *told,
			    bool (*hook)(const unsigned long *args, long *ret))
{
	unsigned long i;

	fake_fill(window(FIRST), N, 1);
	for (i = 0; i < N; i++)
		m.ram[i] = m.start + (i << PAGE_SHIFT);
	enter_pages();
	to_be_told = told;
	fake_sys_hook(FAKE_SYS_MADVISE, hook);
	assert_int_equal(gpusvm_drop_pages(&m), 0);
	assert_int_equal(mm->pt.npages, N);
}

/* Those from @first on, and no others, are noted. */
static void check_noted(unsigned long first, unsigned long n)
{
	unsigned long i;

	assert_true(m.own_told);
	for (i = 0; i < N; i++)
		assert_int_equal(m.pages[i]->removed,
				 i >= first && i < first + n);
	assert_int_equal(mm->drop.end, 0);
}

static void check_drop(const struct told *told, unsigned long first,
		       unsigned long n)
{
	drop_while_told(told, tell);
	check_noted(first, n);
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

/* The call does not tell of a rest before it was heard to tell of the whole. */
static void drop_honours_a_rest_that_is_read_with_the_whole(void **state)
{
	static const struct told parts[] = { { 0, N, .together = true },
					     { 7, N - 7 },
					     { 0, 0 } };

	(void)state;
	check_drop(parts, 7, N - 7);
}

static void drop_honours_a_rest_told_before_the_whole(void **state)
{
	static const struct told parts[] = { { 7, N - 7 }, { 0, N }, { 0, 0 } };

	(void)state;
	check_drop(parts, 7, N - 7);
}

static void drop_honours_a_rest_told_when_its_pages_are_gone(void **state)
{
	static const struct told parts[] = { { 0, N }, { 7, N - 7 }, { 0, 0 } };

	(void)state;
	drop_while_told(parts, drop_and_tell);
	check_noted(7, N - 7);
}

static void drop_told_of_a_part_alone_keeps_pages(void **state)
{
	static const struct told parts[] = { { 2, N - 2 }, { 0, 0 } };

	(void)state;
	drop_while_told(parts, tell);
	assert_false(m.own_told);
}

static void drop_told_of_too_many_parts_keeps_pages(void **state)
{
	struct told parts[DROP_PARTS + 3] = { { 0, N } };
	unsigned int i;

	(void)state;
	for (i = 1; i < DROP_PARTS + 2; i++)
		parts[i] = (struct told){ 1, 1 };
	drop_while_told(parts, tell);
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
		drop_test(drop_honours_a_rest_that_is_read_with_the_whole),
		drop_test(drop_honours_a_rest_told_before_the_whole),
		drop_test(drop_honours_a_rest_told_when_its_pages_are_gone),
		drop_test(drop_told_of_a_part_alone_keeps_pages),
		drop_test(drop_told_of_too_many_parts_keeps_pages),
	};

	return cmocka_run_group_tests_name("drop", tests, NULL, NULL);
}
