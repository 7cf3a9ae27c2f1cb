/* SPDX-License-Identifier: MIT */
/*
 * Waiting for pages that the program drops: for which it waits, and for how
 * long.  For whom it waits is in test_removal_threads.c.
 */
#include "unit_removal.h"

/* ---- Lack of private memory ---- */

void *__real_gpusvm_alloc_array(size_t n, size_t size);
void *__wrap_gpusvm_alloc_array(size_t n, size_t size);

static bool no_memory;

void *__wrap_gpusvm_alloc_array(size_t n, size_t size)
{
	return no_memory ? NULL : __real_gpusvm_alloc_array(n, size);
}

static int setup(void **state)
{
	no_memory = false;
	return removal_setup(state);
}

static void drop(unsigned long first, unsigned long n)
{
	assert_int_equal(madvise(window(first), n << PAGE_SHIFT, MADV_DONTNEED),
			 0);
}

/* ---- What is waited for ---- */

static void wait_with_nothing_noted_looks_at_nothing(void **state)
{
	unsigned int opens = fake_sys_calls(FAKE_SYS_OPEN);

	(void)state;
	assert_over();
	assert_int_equal(fake_sys_calls(FAKE_SYS_OPEN), opens);
	assert_int_equal(fake_sys_calls(FAKE_SYS_GETDENTS64), 0);
}

static void wait_is_for_removals_that_overlap(void **state)
{
	static const struct {
		unsigned long first;
		unsigned long n;
		unsigned long naps;
	} cases[] = {
		{ 0, FIRST, 0 },	 { 0, FIRST + 1, 2 },
		{ FIRST + N - 1, 4, 2 }, { FIRST + N, 4, 0 },
		{ FIRST + 3, 1, 2 },	 { FIRST, N, 2 },
		{ 0, WINDOW, 2 },
	};
	unsigned int i, before;

	(void)state;
	at_nap = get_on_at_2;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		note(cases[i].first, cases[i].n);
		naps = 0;
		before = scans();
		assert_int_equal(pending(), cases[i].naps > 0);
		assert_int_equal(wait_for(&m), cases[i].naps);
		assert_int_equal(scans() > before, cases[i].naps > 0);
	}
}

static void wait_without_pages_there_looks_at_no_thread(void **state)
{
	(void)state;
	drop(FIRST, N);
	note(FIRST, N);
	assert_false(pending());
	assert_int_equal(wait_for(&m), 0);
	assert_int_equal(fake_sys_calls(FAKE_SYS_GETDENTS64), 0);
	/* A page elsewhere is none. */
	fake_fill(window(FIRST - 1), 1, 1);
	fake_fill(window(FIRST + N), 1, 1);
	assert_int_equal(wait_for(&m), 0);
	at_nap = get_on_at_2;
	fake_fill(window(FIRST + N - 1), 1, 1);
	assert_true(pending());
	assert_int_equal(wait_for(&m), 2);
}

static void wait_finds_the_last_page_of_a_long_range(void **state)
{
	unsigned long npages = 1030;
	unsigned char *memory = mmap(NULL, npages << PAGE_SHIFT,
				     PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct migration longer = {
		.mm = mm,
		.npages = npages,
		.start = (unsigned long)memory,
	};

	(void)state;
	assert_ptr_not_equal(memory, MAP_FAILED);
	madvise(memory, npages << PAGE_SHIFT, MADV_NOHUGEPAGE);
	note_bytes(longer.start, longer.start + PAGE_SIZE);
	assert_int_equal(wait_for(&longer), 0);
	memory[(npages << PAGE_SHIFT) - 1] = 1;
	at_nap = get_on_at_2;
	assert_int_equal(wait_for(&longer), 2);
	munmap(memory, npages << PAGE_SHIFT);
}

static bool fail_scan(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = -EFAULT;
	return true;
}

static void wait_that_cannot_scan_takes_pages_for_there(void **state)
{
	(void)state;
	drop(FIRST, N);
	note(FIRST, N);
	at_nap = get_on_at_2;
	fake_sys_hook(FAKE_SYS_PAGEMAP_SCAN, fail_scan);
	fake_sys_hook(FAKE_SYS_PREAD, fail_scan);
	assert_true(pending());
	assert_int_equal(wait_for(&m), 2);
}

static void wait_is_not_for_removals_of_a_second_ago(void **state)
{
	(void)state;
	note(FIRST, N);
	now_ns += NSEC_PER_SEC;
	assert_over();
	now_ns--;
	assert_true(pending());
	at_nap = get_on_at_2;
	assert_int_equal(wait_for(&m), 2);
}

/* The last ones; its own comes first or last of them. */
static void wait_is_for_as_many_removals_as_are_remembered(void **state)
{
	unsigned int i, j;

	(void)state;
	at_nap = get_on_at_2;
	for (i = 0; i < 3 * REMOVALS; i++)
		note(0, FIRST);
	assert_over();
	for (j = 0; j < 3; j++) {
		note(FIRST, 1);
		for (i = 0; i < REMOVALS - 1; i++)
			note(0, FIRST);
		naps = 0;
		assert_int_equal(wait_for(&m), 2);
		assert_over();
		note(FIRST + N - 1, 1);
		naps = 0;
		assert_int_equal(wait_for(&m), 2);
		assert_over();
		/* So that the next round does not begin at the same place. */
		for (i = 0; i < REMOVALS / 2 + 1; i++)
			note(0, FIRST);
	}
}

/* ---- Its end ---- */

static void wait_ends_when_the_thread_has_got_on(void **state)
{
	unsigned long start = now_ns;

	(void)state;
	note(FIRST, N);
	at_nap = get_on_at_2;
	assert_int_equal(wait_for(&m), 2);
	/* It naps, but not for long. */
	assert_in_range(now_ns - start, 1, 10 * 1000 * 1000);
	assert_over();
	/* The pages stayed, and the next removal is a new one. */
	assert_true(fake_matches(window(FIRST), N, 1));
	note(FIRST, N);
	naps = 0;
	assert_int_equal(wait_for(&m), 2);
}

static void drop_at_3(unsigned long nap)
{
	if (nap == 2)
		drop(FIRST, N - 1);
	if (nap == 3)
		drop(FIRST, N);
}

static void wait_ends_when_the_pages_have_gone(void **state)
{
	(void)state;
	note(FIRST, N);
	at_nap = drop_at_3;
	assert_int_equal(wait_for(&m), 3);
	assert_int_equal(wait_for(&m), 0);
	/* Nobody knows whether the call has ended. */
	fake_fill(window(FIRST), N, 2);
	naps = 0;
	at_nap = get_on_at_2;
	assert_int_equal(wait_for(&m), 2);
}

static void wait_for_who_never_gets_on_ends_after_a_second(void **state)
{
	unsigned long start;

	(void)state;
	note(FIRST, N);
	now_ns += NSEC_PER_SEC / 2;
	start = now_ns;
	assert_in_range(wait_for(&m), 10, MAX_NAPS);
	assert_in_range(now_ns - start, NSEC_PER_SEC,
			NSEC_PER_SEC + 10 * 1000 * 1000);
	assert_over();
}

/* ---- If nothing can be known ---- */

static void assert_waits_by_the_clock(void)
{
	unsigned long start = now_ns;

	assert_in_range(wait_for(&m), 10, MAX_NAPS);
	assert_in_range(now_ns - start, NSEC_PER_SEC,
			NSEC_PER_SEC + 10 * 1000 * 1000);
	assert_over();
}

static void wait_without_proc_is_by_the_clock(void **state)
{
	(void)state;
	set_state(0, 'S');
	note(FIRST, N);
	fake_sys_fail(FAKE_SYS_OPEN, -EACCES, 1);
	assert_waits_by_the_clock();
	note(FIRST, N);
	fake_sys_fail(FAKE_SYS_GETDENTS64, -EIO, 2);
	assert_waits_by_the_clock();
	/* Nothing was wrong with it but that. */
	note(FIRST, N);
	assert_int_equal(wait_for(&m), 0);
}

static void wait_without_proc_ends_when_the_pages_have_gone(void **state)
{
	(void)state;
	note(FIRST, N);
	at_nap = drop_at_3;
	fake_sys_fail(FAKE_SYS_OPEN, -EACCES, 1);
	assert_int_equal(wait_for(&m), 3);
}

static void wait_without_memory_is_by_the_clock(void **state)
{
	(void)state;
	set_state(0, 'S');
	note(FIRST, N);
	no_memory = true;
	assert_waits_by_the_clock();
	no_memory = false;
	note(FIRST, N);
	assert_int_equal(wait_for(&m), 0);
}

/* ---- All together ---- */

/* As the kernel does it: the event comes, and the pages are there still. */
static void push_removal(void)
{
	fake_source_push(fake, (struct source_event){
				       .type = SOURCE_REMOVE,
				       .start = fake_addr(fake, FIRST),
				       .end = fake_addr(fake, FIRST + N),
			       });
}

static void migrate_what_is_being_dropped(void)
{
	at_nap = drop_at_3;
	assert_int_equal(migrate_out(FIRST), 0);
	assert_int_equal(naps, 3);
	assert_on_device(FIRST, 0);
	assert_on_device(FIRST + N - 1, N - 1);
	assert_true(fake_is_zero(device_memory(0), N));
}

static void migration_takes_nothing_that_is_being_dropped(void **state)
{
	(void)state;
	push_removal();
	settle();
	migrate_what_is_being_dropped();
}

static void remove_then_trap(struct fake_source *f,
			     const struct fake_call *call)
{
	if (call->op != FAKE_OP_TRAP)
		return;
	f->hook = NULL;
	push_removal();
}

static void migration_itself_reads_of_the_removal(void **state)
{
	(void)state;
	fake->hook = remove_then_trap;
	migrate_what_is_being_dropped();
}

#define removal_test(fn) \
	cmocka_unit_test_setup_teardown(fn, setup, removal_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		removal_test(wait_with_nothing_noted_looks_at_nothing),
		removal_test(wait_is_for_removals_that_overlap),
		removal_test(wait_without_pages_there_looks_at_no_thread),
		removal_test(wait_finds_the_last_page_of_a_long_range),
		removal_test(wait_that_cannot_scan_takes_pages_for_there),
		removal_test(wait_is_not_for_removals_of_a_second_ago),
		removal_test(wait_is_for_as_many_removals_as_are_remembered),
		removal_test(wait_ends_when_the_thread_has_got_on),
		removal_test(wait_ends_when_the_pages_have_gone),
		removal_test(wait_for_who_never_gets_on_ends_after_a_second),
		removal_test(wait_without_proc_is_by_the_clock),
		removal_test(wait_without_proc_ends_when_the_pages_have_gone),
		removal_test(wait_without_memory_is_by_the_clock),
		removal_test(migration_takes_nothing_that_is_being_dropped),
		removal_test(migration_itself_reads_of_the_removal),
	};

	return cmocka_run_group_tests_name("removal", tests, NULL, NULL);
}
