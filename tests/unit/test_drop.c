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
	assert_null(mm->drop.m);
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
	assert_null(mm->drop.m);
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

/* What the kernel says of the thread that drops: in state @letter. */
static char stat_text[] = "4711 (name) R 1";

static void make_up_state(char letter)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)getpid());
	stat_text[strlen("4711 (name) ")] = letter;
	fake_sys_file(path, stat_text);
}

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

/* Who sees the caller asleep. */
static void tell_by_another(const struct told *told)
{
	struct unit_thread teller;

	to_be_told = told;
	unit_thread_start(&teller, tell_all, NULL);
	unit_thread_join(&teller);
}

/* By another thread, the pages being there. */
static bool tell(const unsigned long *args, long *ret)
{
	(void)ret;
	if (args[2] == MADV_DONTNEED && args[0] == m.start)
		tell_by_another(to_be_told);
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

/* Drop the pages while @told is told by @hook. */
static void drop_while_told(const struct told *told,
			    bool (*hook)(const unsigned long *args, long *ret))
{
	fake_fill(window(FIRST), N, 1);
	enter_pages();
	to_be_told = told;
	fake_sys_hook(FAKE_SYS_MADVISE, hook);
	assert_int_equal(gpusvm_drop_pages(&m), 0);
	assert_int_equal(mm->pt.npages, N);
	assert_null(mm->drop.m);
}

/* Those from @first on, and no others, are noted. */
static void check_noted(unsigned long first, unsigned long n)
{
	unsigned long i;

	for (i = 0; i < N; i++)
		assert_int_equal(m.pages[i]->removed,
				 i >= first && i < first + n);
}

static void check_drop(const struct told *told, unsigned long first,
		       unsigned long n)
{
	drop_while_told(told, tell);
	check_noted(first, n);
}

/* ---- What is ours, or may be, and must not be lost ---- */

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

/* It goes on while the reader's buffer is still being filled. */
static void rest_that_can_be_read_with_the_whole_is_ours(void **state)
{
	static const struct told parts[] = { { 0, N, .together = true },
					     { 7, N - 7 },
					     { 0, 0 } };

	(void)state;
	check_drop(parts, 0, 0);
}

/* Split again while the rest waited: both end where the whole does. */
static void rests_of_a_rest_are_ours(void **state)
{
	static const struct told parts[] = {
		{ 0, N }, { 7, N - 7 }, { 9, N - 9 }, { 0, 0 }
	};

	(void)state;
	check_drop(parts, 0, 0);
}

/* What was behind it has been unmapped. */
static void rest_that_ends_sooner_is_ours(void **state)
{
	static const struct told parts[] = { { 0, N }, { 7, N - 8 }, { 0, 0 } };

	(void)state;
	check_drop(parts, 0, 0);
}

static bool drop_last_and_tell(const unsigned long *args, long *ret)
{
	if (args[2] == MADV_DONTNEED && args[0] == m.start)
		madvise(window(FIRST + N - 1), PAGE_SIZE, MADV_DONTNEED);
	return tell(args, ret);
}

/* That the last page has gone says nothing of the others. */
static void rest_is_ours_after_the_program_dropped_the_last(void **state)
{
	static const struct told parts[] = {
		{ N - 1, 1, .together = true }, { 0, N }, { 7, N - 7 }, { 0, 0 }
	};

	(void)state;
	drop_while_told(parts, drop_last_and_tell);
	check_noted(N - 1, 1);
}

/*
 * mlock() while the first event waits: -EINVAL, and all is told once more.
 * Before Linux 5.18 there is no advice for that.
 */
static bool lock_meanwhile(const unsigned long *args, long *ret)
{
	static const struct told parts[] = { { 0, N }, { 0, 0 } };

	if (args[0] != m.start)
		return false;
	tell_by_another(parts);
	*ret = -EINVAL;
	if (args[2] != MADV_DONTNEED)
		*ret = madvise((void *)args[0], args[1], MADV_DONTNEED);
	return true;
}

static void drop_of_what_is_locked_meanwhile_is_ours(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	enter_pages();
	fake_sys_hook(FAKE_SYS_MADVISE, lock_meanwhile);
	assert_int_equal(gpusvm_drop_pages(&m), 0);
	assert_false(fake_present(m.start));
	check_noted(0, 0);
}

/*
 * Only the tail was locked, and is without pages: the first call drops the
 * others and fails.  The second is split at another place.
 */
static bool lock_tail(const unsigned long *args, long *ret)
{
	static const struct told parts[] = { { 0, N }, { 3, N - 3 }, { 0, 0 } };

	if (args[0] != m.start)
		return false;
	if (args[2] == MADV_DONTNEED)
		madvise((void *)args[0], 7 << PAGE_SHIFT, MADV_DONTNEED);
	else
		tell_by_another(parts);
	*ret = args[2] == MADV_DONTNEED ? -EINVAL : 0;
	return true;
}

static void rest_of_a_call_for_locked_memory_is_ours(void **state)
{
	(void)state;
	fake_fill(window(FIRST), 7, 1);
	enter_pages();
	fake_sys_hook(FAKE_SYS_MADVISE, lock_tail);
	assert_int_equal(gpusvm_drop_pages(&m), 0);
	check_noted(0, 0);
}

static unsigned int ncalls;

/* Of two pieces the second is left once; then the first is split. */
static bool leave_second(const unsigned long *args, long *ret)
{
	static const struct told parts[] = { { 0, 5 }, { 3, 2 }, { 0, 0 } };

	*ret = 0;
	ncalls++;
	if (ncalls == 3) {
		assert_int_equal(args[0], m.start);
		tell_by_another(parts);
	}
	return ncalls == 2;
}

static void rest_of_a_second_call_is_ours(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	split_at(FIRST + 5);
	enter_pages();
	ncalls = 0;
	fake_sys_hook(FAKE_SYS_MADVISE, leave_second);
	assert_int_equal(gpusvm_drop_pages(&m), 0);
	assert_int_equal(ncalls, 4);
	check_noted(0, 0);
}

/* Told by @hook, the pages being there or not, a rest must not be noted. */
static void check_rest_is_ours(bool (*hook)(const unsigned long *args,
					    long *ret))
{
	static const struct told parts[] = { { 0, N }, { 7, N - 7 }, { 0, 0 } };

	drop_while_told(parts, hook);
	check_noted(0, 0);
}

static bool blind;

static bool see(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = -EIO;
	return blind;
}

static bool tell_the_blind(const unsigned long *args, long *ret)
{
	bool done;

	blind = true;
	done = drop_and_tell(args, ret);
	blind = false;
	return done;
}

static void rest_is_ours_if_pages_cannot_be_looked_at(void **state)
{
	(void)state;
	fake_sys_hook(FAKE_SYS_PREAD, see);
	fake_sys_hook(FAKE_SYS_PAGEMAP_SCAN, see);
	check_rest_is_ours(tell_the_blind);
}

static bool tell_by_the_caller(const unsigned long *args, long *ret)
{
	(void)ret;
	if (args[2] == MADV_DONTNEED && args[0] == m.start)
		tell_all(NULL);
	return false;
}

/* As in a signal handler: there is nobody to wait for. */
static void rest_is_ours_if_who_drops_reads(void **state)
{
	(void)state;
	make_up_state('R');
	check_rest_is_ours(tell_by_the_caller);
	assert_int_equal(fake_sys_calls(FAKE_SYS_NANOSLEEP), 0);
}

static void rest_is_ours_if_who_drops_gets_no_cpu(void **state)
{
	static unsigned long now_ns = 1;

	(void)state;
	make_up_state('R');
	fake_sys_clock(&now_ns, 1000 * 1000);
	check_rest_is_ours(tell);
	assert_in_range(now_ns, 100ul * 1000 * 1000, 1000ul * 1000 * 1000);
}

/* ---- What is the program's ---- */

static void drop_honours_a_part_told_before_the_whole(void **state)
{
	static const struct told parts[] = {
		{ 2, 3 }, { 0, N }, { 7, 2 }, { 9, N - 9 }, { 0, 0 }
	};

	(void)state;
	check_drop(parts, 2, 3);
}

static void drop_honours_a_rest_told_before_the_whole(void **state)
{
	static const struct told parts[] = { { 7, N - 7 }, { 0, N }, { 0, 0 } };

	(void)state;
	check_drop(parts, 7, N - 7);
}

static void drop_honours_a_rest_told_when_the_pages_are_gone(void **state)
{
	static const struct told parts[] = { { 0, N }, { 7, N - 7 }, { 0, 0 } };

	(void)state;
	drop_while_told(parts, drop_and_tell);
	check_noted(7, N - 7);
}

/* Read together they could not be told from the two of our own. */
static void drop_honours_a_rest_that_waits_with_the_whole(void **state)
{
	static const struct told parts[] = { { 0, N, .together = true },
					     { 7, N - 7 },
					     { 0, 0 } };

	(void)state;
	drop_while_told(parts, drop_and_tell);
	check_noted(7, N - 7);
}

/* It needed the CPU, and now and then slept, before the pages went. */
static bool drop_late(const unsigned long *args, long *ret)
{
	static unsigned int looks;

	(void)args;
	(void)ret;
	stat_text[strlen("4711 (name) ")] = "DRS"[++looks % 3];
	if (looks == 30)
		madvise(window(FIRST), N << PAGE_SHIFT, MADV_DONTNEED);
	return true;
}

static void drop_honours_a_rest_told_when_the_pages_go_late(void **state)
{
	static const struct told parts[] = { { 0, N }, { 7, N - 7 }, { 0, 0 } };

	(void)state;
	fake_sys_hook(FAKE_SYS_YIELD, drop_late);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, drop_late);
	make_up_state('R');
	check_drop(parts, 7, N - 7);
}

static void drop_told_of_too_many_parts_honours_the_first(void **state)
{
	struct told parts[DROP_PARTS + 3] = { { 0, 0 } };
	unsigned int i;

	(void)state;
	for (i = 0; i < DROP_PARTS; i++)
		parts[i] = (struct told){ 1, 1 };
	parts[i++] = (struct told){ 3, 1 };
	parts[i++] = (struct told){ 0, N };
	check_drop(parts, 1, 1);
}

/* ---- What the kernel leaves ---- */

static unsigned int times_left;

/* Of a call that is told of; the mapping was split before it went on. */
static bool leave_some(const unsigned long *args, long *ret)
{
	if (args[2] != MADV_DONTNEED || args[0] != m.start || !times_left)
		return false;
	times_left--;
	assert_int_equal(
		madvise((void *)args[0], 7 << PAGE_SHIFT, MADV_DONTNEED), 0);
	*ret = 0;
	return true;
}

static int drop_leaving(unsigned int times)
{
	fake_fill(window(FIRST), N, 1);
	enter_pages();
	times_left = times;
	fake_sys_hook(FAKE_SYS_MADVISE, leave_some);
	return gpusvm_drop_pages(&m);
}

static void drop_drops_what_the_kernel_left(void **state)
{
	unsigned long i;

	(void)state;
	assert_int_equal(drop_leaving(3), 0);
	for (i = 0; i < N; i++)
		assert_false(fake_present(fake_addr(fake, FIRST + i)));
}

static void drop_of_what_the_kernel_keeps_leaving_fails(void **state)
{
	(void)state;
	assert_int_equal(drop_leaving(1000), -EBUSY);
	assert_true(fake_present(fake_addr(fake, FIRST + N - 1)));
}

/* mremap() puts a page there when the call is over; its event waits. */
static bool put_there(const unsigned long *args, long *ret)
{
	if (args[0] != m.start || ncalls++)
		return false;
	*ret = madvise((void *)args[0], args[1], MADV_DONTNEED);
	fake_fill(window(FIRST + 5), 1, 9);
	fake_source_push(fake, (struct source_event){
				       .type = SOURCE_UNMAP,
				       .start = fake_addr(fake, FIRST + 5),
				       .end = fake_addr(fake, FIRST + 6),
			       });
	return true;
}

static void drop_leaves_what_is_put_there_after_it(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	enter_pages();
	ncalls = 0;
	fake_sys_hook(FAKE_SYS_MADVISE, put_there);
	assert_int_equal(gpusvm_drop_pages(&m), 0);
	assert_true(fake_present(fake_addr(fake, FIRST + 5)));
}

/* mremap() takes page 4 elsewhere before the rest is read. */
static bool move_away_and_tell(const unsigned long *args, long *ret)
{
	if (args[2] == MADV_DONTNEED && args[0] == m.start)
		fake_source_push(fake,
				 (struct source_event){
					 .type = SOURCE_REMAP,
					 .start = fake_addr(fake, FIRST + 4),
					 .end = fake_addr(fake, FIRST + 5),
					 .to = fake_addr(fake, FIRST + N + 5),
				 });
	return tell(args, ret);
}

/* Not that page is dropped then. */
static void removal_of_a_page_that_moved_away_is_not_noted(void **state)
{
	static const struct told parts[] = { { 2, 3 }, { 0, N }, { 0, 0 } };

	(void)state;
	fake_fill(window(FIRST), N, 1);
	enter_pages();
	to_be_told = parts;
	fake_sys_hook(FAKE_SYS_MADVISE, move_away_and_tell);
	assert_int_equal(gpusvm_drop_pages(&m), 0);
	check_noted(2, 2);
}

static void drop_that_cannot_be_checked_fails(void **state)
{
	(void)state;
	fake_sys_hook(FAKE_SYS_PREAD, see);
	fake_sys_hook(FAKE_SYS_PAGEMAP_SCAN, see);
	enter_pages();
	blind = true;
	assert_int_equal(gpusvm_drop_pages(&m), -EIO);
	blind = false;
}

#define drop_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		drop_test(drop_of_two_pieces_drops_both),
		drop_test(drop_of_unmapped_memory_returns_0),
		drop_test(drop_that_fails_returns_the_error),
		drop_test(drop_told_in_parts_is_ours),
		drop_test(drop_told_whole_and_its_rest_is_ours),
		drop_test(rest_that_can_be_read_with_the_whole_is_ours),
		drop_test(rests_of_a_rest_are_ours),
		drop_test(rest_that_ends_sooner_is_ours),
		drop_test(rest_is_ours_after_the_program_dropped_the_last),
		drop_test(drop_of_what_is_locked_meanwhile_is_ours),
		drop_test(rest_of_a_call_for_locked_memory_is_ours),
		drop_test(rest_of_a_second_call_is_ours),
		drop_test(rest_is_ours_if_pages_cannot_be_looked_at),
		drop_test(rest_is_ours_if_who_drops_reads),
		drop_test(rest_is_ours_if_who_drops_gets_no_cpu),
		drop_test(drop_with_equal_removal_honours_it),
		drop_test(drop_honours_a_part_told_before_the_whole),
		drop_test(drop_honours_a_rest_told_before_the_whole),
		drop_test(drop_honours_a_rest_told_when_the_pages_are_gone),
		drop_test(drop_honours_a_rest_that_waits_with_the_whole),
		drop_test(drop_honours_a_rest_told_when_the_pages_go_late),
		drop_test(drop_told_of_too_many_parts_honours_the_first),
		drop_test(drop_drops_what_the_kernel_left),
		drop_test(drop_of_what_the_kernel_keeps_leaving_fails),
		drop_test(drop_leaves_what_is_put_there_after_it),
		drop_test(removal_of_a_page_that_moved_away_is_not_noted),
		drop_test(drop_that_cannot_be_checked_fails),
	};

	return cmocka_run_group_tests_name("drop", tests, NULL, NULL);
}
