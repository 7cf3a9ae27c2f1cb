/* SPDX-License-Identifier: MIT */
/*
 * What a child gets of what is on a device: each page once and in batches of
 * one allocation, also pages that are on their way.
 */
#include "unit_migration.h"

#include "events.h"

#define N 40ul
#define FIRST 8ul
#define CHILD_FD 4711

static unsigned int closes;

static bool note_close(const unsigned long *args, long *ret)
{
	*ret = 0;
	closes += args[0] == CHILD_FD;
	return args[0] == CHILD_FD;
}

static void setup_with(enum gpusvm_technique technique)
{
	migration_setup(technique, N);
	fake_sys_hook(FAKE_SYS_CLOSE, note_close);
	closes = 0;
	fake_fill(window(FIRST), N, 1);
}

static int setup(void **state)
{
	(void)state;
	setup_with(GPUSVM_TECHNIQUE_MOVE);
	return 0;
}

static int setup_protect(void **state)
{
	(void)state;
	setup_with(GPUSVM_TECHNIQUE_WRITE_PROTECT);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_source_forget_plans(fake);
	unmap_all();
	migration_teardown();
	return 0;
}

static void serve_child(void)
{
	gpusvm_down_write(&mm->event_lock);
	gpusvm_fork_serve_child(mm, CHILD_FD);
	gpusvm_up_write(&mm->event_lock);
	assert_int_equal(closes, 1);
}

static unsigned char *child_page(unsigned long i)
{
	return fake->child + (i << PAGE_SHIFT);
}

static unsigned long count_child(void)
{
	unsigned long i, n = 0;

	for (i = 0; i < WINDOW; i++)
		n += fake->child_has[i];
	return n;
}

static void child_without_device_pages_gets_nothing(void **state)
{
	(void)state;
	serve_child();
	assert_int_equal(fake->count[FAKE_OP_CHILD_COPY], 0);
}

static void child_gets_all_device_pages(void **state)
{
	(void)state;
	assert_int_equal(migrate_out(FIRST), 0);
	serve_child();
	assert_int_equal(count_child(), N);
	assert_true(fake_matches(child_page(FIRST), N, 1));
	assert_int_equal(owner.reads, (N + FORK_BATCH - 1) / FORK_BATCH);
	/* The parent's stay where they are. */
	assert_on_device(FIRST, 0);
	assert_on_device(FIRST + N - 1, N - 1);
	assert_int_equal(owner.refs, 1 + N);
	assert_int_equal(fake->calls[fake->ncalls - 1].arg, CHILD_FD);
}

static void child_gets_pages_of_two_allocations(void **state)
{
	struct fake_owner other = { .refs = 1 };
	struct dev_pagemap *second;
	struct page *page;

	(void)state;
	assert_int_equal(migrate_out(FIRST), 0);
	/* Page FIRST + 3 belongs to another allocation. */
	second = fake_devmem_create(1);
	page = gpusvm_devpt_clear(&mm->pt, fake_addr(fake, FIRST + 3));
	gpusvm_page_put(page);
	page = second->pages;
	assert_int_equal(gpusvm_page_init(page, &other), 0);
	assert_int_equal(
		gpusvm_devpt_set(&mm->pt, fake_addr(fake, FIRST + 3), page), 0);
	fake_fill(gpusvm_page_address(page), 1, 7);
	serve_child();
	assert_int_equal(count_child(), N);
	assert_true(fake_matches(child_page(FIRST + 3), 1, 7));
	assert_true(fake_matches(child_page(FIRST), 3, 1));
	assert_int_equal(other.reads, 1);
	assert_int_equal(other.refs, 2);
	gpusvm_page_put(
		gpusvm_devpt_clear(&mm->pt, fake_addr(fake, FIRST + 3)));
	assert_int_equal(other.refs, 1);
	assert_true(fake_devmem_destroy(second));
}

static void fork_at_the_second_take(struct fake_source *source,
				    const struct fake_call *call)
{
	if (call->op != FAKE_OP_TAKE || !source->count[FAKE_OP_TAKE])
		return;
	source->hook = NULL;
	fake_source_push(source, (struct source_event){
					 .type = SOURCE_FORK,
					 .child_fd = CHILD_FD,
				 });
}

/* The rest it has inherited, and the run has nothing of. */
static void child_in_the_middle_of_a_move_gets_what_was_taken(void **state)
{
	(void)state;
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 1,
						   .max_pages = 5 });
	fake->hook = fork_at_the_second_take;
	assert_int_equal(migrate_out(FIRST), 0);
	assert_int_equal(closes, 1);
	assert_int_equal(count_child(), 5);
	assert_true(fake_matches(child_page(FIRST), 5, 1));
	assert_on_device(FIRST + N - 1, N - 1);
}

static void child_of_unreadable_pages_is_let_go(void **state)
{
	(void)state;
	assert_int_equal(migrate_out(FIRST), 0);
	owner.read_error = -EIO;
	serve_child();
	assert_int_equal(count_child(), 0);
	assert_int_equal(owner.refs, 1 + N);
}

static void child_that_takes_no_page_is_let_go(void **state)
{
	(void)state;
	assert_int_equal(migrate_out(FIRST), 0);
	fake_source_fail(fake, FAKE_OP_CHILD_COPY, -ENOENT);
	serve_child();
	assert_int_equal(fake->count[FAKE_OP_CHILD_COPY], N);
	assert_int_equal(owner.refs, 1 + N);
}

/* Their data is not on the device yet. */
static void child_gets_pages_on_their_way_to_the_device(void **state)
{
	(void)state;
	take_device_pages();
	assert_int_equal(gpusvm_migrate_out_begin(&m, fake_addr(fake, FIRST)),
			 0);
	serve_child();
	assert_int_equal(owner.reads, 0);
	assert_int_equal(count_child(), N);
	assert_true(fake_matches(child_page(FIRST), N, 1));
	gpusvm_migrate_out_abort(&m);
}

#define DROPPED 10ul /* two pages that the program drops meanwhile */
#define SECOND_PIECE 28ul

/* The clone() comes when the first of two pieces has been dropped. */
static bool drop_then_clone(const unsigned long *args, long *ret)
{
	if (args[2] == MADV_DONTNEED && args[0] == fake_addr(fake, FIRST))
		fake_source_push(fake,
				 (struct source_event){
					 .type = SOURCE_REMOVE,
					 .start = fake_addr(fake, DROPPED),
					 .end = fake_addr(fake, DROPPED + 2),
				 });
	if (args[2] == MADV_DONTNEED &&
	    args[0] == fake_addr(fake, SECOND_PIECE))
		serve_child();
	return dontneed_raises_event(args, ret);
}

static void child_does_not_get_what_the_program_dropped(void **state)
{
	unsigned long i;

	(void)state;
	madvise(window(SECOND_PIECE), (WINDOW - SECOND_PIECE) << PAGE_SHIFT,
		MADV_DONTFORK);
	take_device_pages();
	assert_int_equal(gpusvm_migrate_out_begin(&m, fake_addr(fake, FIRST)),
			 0);
	copy_to_device();
	fake_sys_hook(FAKE_SYS_MADVISE, drop_then_clone);
	assert_int_equal(gpusvm_migrate_out_commit(&m), 0);
	assert_int_equal(closes, 1);
	assert_int_equal(count_child(), N - 2);
	for (i = FIRST; i < FIRST + N; i++) {
		if (i == DROPPED || i == DROPPED + 1) {
			assert_false(fake->child_has[i]);
			assert_null(entry_at(i));
			continue;
		}
		assert_true(fake->child_has[i]);
		assert_memory_equal(child_page(i), device_memory(i - FIRST),
				    PAGE_SIZE);
	}
	assert_int_equal(owner.refs, 1 + N - 2);
}

static void child_gets_pages_on_their_way_home(void **state)
{
	(void)state;
	assert_int_equal(migrate_out(FIRST), 0);
	assert_int_equal(gpusvm_migrate_home_begin(&m, fake_addr(fake, 0),
						   fake_addr(fake, WINDOW)),
			 N);
	serve_child();
	assert_int_equal(count_child(), N);
	assert_true(fake_matches(child_page(FIRST), N, 1));
	copy_to_ram();
	assert_int_equal(gpusvm_migrate_home_commit(&m), N);
	assert_true(fake_matches(window(FIRST), N, 1));
}

#define fork_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define protect_test(fn) \
	cmocka_unit_test_setup_teardown(fn, setup_protect, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		fork_test(child_without_device_pages_gets_nothing),
		fork_test(child_gets_all_device_pages),
		fork_test(child_gets_pages_of_two_allocations),
		fork_test(child_in_the_middle_of_a_move_gets_what_was_taken),
		fork_test(child_of_unreadable_pages_is_let_go),
		fork_test(child_that_takes_no_page_is_let_go),
		fork_test(child_gets_pages_on_their_way_to_the_device),
		protect_test(child_gets_pages_on_their_way_to_the_device),
		protect_test(child_does_not_get_what_the_program_dropped),
		fork_test(child_gets_pages_on_their_way_home),
	};

	return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
