/* SPDX-License-Identifier: MIT */
/*
 * Putting staged pages where their entries say, and the end of a migration:
 * runs of pages, what remains of pages that went, waking who waits.
 */
#include "unit_migration.h"

#include "unit_thread.h"

#define N 8ul

static int setup(void **state)
{
	(void)state;
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake->hook = NULL;
	fake_source_forget_plans(fake);
	unmap_all();
	migration_teardown();
	return 0;
}

/* Pages at the given places, in migration, with data in the run. */
static void stage_pages(const unsigned long *place)
{
	unsigned long i;

	take_device_pages();
	assert_int_equal(gpusvm_staging_get_filled(mm, &m.run, N), 0);
	for (i = 0; i < N; i++) {
		m.ram[i] = m.run->addr + (i << PAGE_SHIFT);
		fake_fill((void *)m.ram[i], 1, (unsigned int)i + 1);
		m.pages[i]->migration = &m;
		fake->flags[place[i]] = FAKE_WATCHED | FAKE_TRAPPED;
		assert_int_equal(gpusvm_devpt_set(&mm->pt,
						  fake_addr(fake, place[i]),
						  m.pages[i]),
				 0);
	}
}

static const unsigned long in_order[N] = { 10, 11, 12, 13, 14, 15, 16, 17 };

static void end_with_put(void)
{
	gpusvm_staging_put(mm, m.run);
	gpusvm_migrate_end(&m);
}

static void install_joins_what_is_adjacent(void **state)
{
	static const unsigned long place[N] = { 10, 11, 12, 30, 31, 2, 1, 0 };
	unsigned long i;

	(void)state;
	stage_pages(place);
	assert_int_equal(gpusvm_migrate_install(&m), N);
	/* 10 to 12; 30 and 31; and each of the rest, which is copied. */
	assert_int_equal(fake->count[FAKE_OP_MOVE], 2);
	assert_int_equal(fake->count[FAKE_OP_COPY], 3);
	for (i = 0; i < N; i++) {
		assert_true(
			fake_matches(window(place[i]), 1, (unsigned int)i + 1));
		assert_int_equal(m.ram[i], 0);
		assert_null(m.pages[i]);
	}
	assert_int_equal(m.run->nfilled, 3);
	assert_nothing_on_device();
	end_with_put();
}

static void install_of_one_page_without_memory_moves_it(void **state)
{
	static const unsigned long place[N] = { 10, 20, 30, 40, 50, 2, 1, 0 };

	(void)state;
	stage_pages(place);
	fake_source_fail(fake, FAKE_OP_COPY, -ENOMEM);
	assert_int_equal(gpusvm_migrate_install(&m), N);
	assert_int_equal(fake->count[FAKE_OP_MOVE], N);
	assert_int_equal(m.run->nfilled, 0);
	assert_nothing_on_device();
	end_with_put();
}

static void install_skips_pages_without_data(void **state)
{
	unsigned long i;

	(void)state;
	stage_pages(in_order);
	m.ram[0] = 0;
	m.ram[4] = 0;
	assert_int_equal(gpusvm_migrate_install(&m), N - 2);
	assert_int_equal(fake->count[FAKE_OP_MOVE], 2);
	for (i = 0; i < N; i++) {
		assert_int_equal(fake_present(fake_addr(fake, in_order[i])),
				 i != 0 && i != 4);
		assert_ptr_equal(entry_at(in_order[i]),
				 i == 0 || i == 4 ? device_page(i) : NULL);
	}
	end_with_put();
	assert_on_device(10, 0);
	assert_on_device(14, 4);
}

static void install_with_keep_pages_does_not_put(void **state)
{
	unsigned long i;

	(void)state;
	stage_pages(in_order);
	m.keep_pages = true;
	assert_int_equal(gpusvm_migrate_install(&m), N);
	assert_int_equal(mm->pt.npages, 0);
	assert_true(fake_matches(window(10), 1, 1));
	for (i = 0; i < N; i++) {
		assert_ptr_equal(m.pages[i], device_page(i));
		assert_int_equal(gpusvm_page_refs(m.pages[i]), 1);
		gpusvm_page_put(m.pages[i]);
	}
	m.keep_pages = false;
	end_with_put();
}

static void install_of_nothing_returns_0(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_migrate_install(&m), 0);
	assert_int_equal(fake->count[FAKE_OP_MOVE], 0);
	assert_int_equal(fake->count[FAKE_OP_COPY], 0);
}

static void install_with_event_in_the_way_settles(void **state)
{
	(void)state;
	stage_pages(in_order);
	fake_source_unmap(fake, 12, 1);
	fake_source_remap(fake, 16, 2, 50);
	assert_int_equal(gpusvm_migrate_install(&m), N - 1);
	assert_int_equal(fake->nevents, 0);
	assert_false(fake_present(fake_addr(fake, 12)));
	assert_true(fake_matches(window(50), 1, 7));
	assert_true(fake_matches(window(51), 1, 8));
	end_with_put();
	assert_nothing_on_device();
}

static void install_with_error_in_the_middle_does_the_rest(void **state)
{
	(void)state;
	stage_pages(in_order);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_MOVE,
						   .times = 1,
						   .max_pages = 3 });
	fake_source_fail(fake, FAKE_OP_MOVE, -EBUSY);
	assert_int_equal(gpusvm_migrate_install(&m), N);
	assert_int_equal(fake->count[FAKE_OP_COPY], 1);
	/* What was copied is still in the run. */
	assert_int_equal(m.run->nfilled, N - 3);
	assert_true(fake_matches(window(17), 1, 8));
	end_with_put();
	assert_nothing_on_device();
}

static unsigned int log_errors;

static void count_errors(enum gpusvm_log_level level, const char *message,
			 void *priv)
{
	(void)message;
	(void)priv;
	log_errors += level == GPUSVM_LOG_ERROR;
}

static void install_that_never_works_gives_up_and_says_so(void **state)
{
	(void)state;
	stage_pages(in_order);
	fake_source_fail(fake, FAKE_OP_MOVE, -ENOENT);
	fake_source_fail(fake, FAKE_OP_COPY, -ENOENT);
	log_errors = 0;
	gpusvm_set_log(count_errors, NULL, GPUSVM_LOG_ERROR);
	assert_int_equal(gpusvm_migrate_install(&m), 0);
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	assert_int_equal(log_errors, N);
	assert_true(fake->count[FAKE_OP_MOVE] > N);
	/* It was tried with the trap set anew. */
	assert_true(fake->count[FAKE_OP_TRAP] >= N);
	end_with_put();
	assert_nothing_on_device();
}

/* ENOENT for long at page 10, which is then unmapped, and as long at 30. */
#define LONG 700

static unsigned int refused;

static void refuse_for_long(struct fake_source *f, const struct fake_call *call)
{
	if (call->op != FAKE_OP_COPY)
		return;
	f->nplans = 0;
	refused++;
	if (refused == LONG)
		fake_source_unmap(f, 10, 1);
	else if (refused < 2 * LONG)
		fake_source_plan(f, (struct fake_plan){ .op = FAKE_OP_COPY,
							.times = 1,
							.error = -ENOENT });
}

static void install_counts_attempts_of_each_page_anew(void **state)
{
	static const unsigned long place[N] = {
		10, 30, 32, 33, 34, 35, 36, 37
	};

	(void)state;
	stage_pages(place);
	refused = 0;
	fake->hook = refuse_for_long;
	assert_int_equal(gpusvm_migrate_install(&m), N - 1);
	fake->hook = NULL;
	assert_true(fake_matches(window(30), 1, 2));
	end_with_put();
	assert_nothing_on_device();
}

static void install_across_mappings_goes_piece_by_piece(void **state)
{
	(void)state;
	stage_pages(in_order);
	madvise(window(13), (WINDOW - 13) << PAGE_SHIFT, MADV_DONTFORK);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_MOVE,
						   .times = 1,
						   .error = -ENOENT });
	assert_int_equal(gpusvm_migrate_install(&m), N);
	assert_int_equal(fake->count[FAKE_OP_MOVE], 3);
	assert_int_equal(fake->calls[fake->ncalls - 1].start,
			 fake_addr(fake, 13));
	assert_true(fake_matches(window(17), 1, 8));
	end_with_put();
	assert_nothing_on_device();
}

static void install_without_memory_leaves_pages_on_device(void **state)
{
	(void)state;
	stage_pages(in_order);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_MOVE,
						   .skip = 1,
						   .times = 2,
						   .error = -ENOMEM });
	fake->hook = NULL;
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_MOVE,
						   .times = 1,
						   .max_pages = 3 });
	assert_int_equal(gpusvm_migrate_install(&m), N - 2);
	assert_ptr_equal(entry_at(13), device_page(3));
	assert_ptr_equal(entry_at(14), device_page(4));
	end_with_put();
	assert_int_equal(mm->pt.npages, 2);
	assert_on_device(13, 3);
}

/* ---- The end ---- */

static void end_puts_pages_whose_entry_went(void **state)
{
	(void)state;
	stage_pages(in_order);
	fake_source_unmap(fake, 12, 2);
	settle();
	assert_int_equal(gpusvm_page_refs(device_page(2)), 1);
	m.dropping = true;
	end_with_put();
	assert_false(m.dropping);
	assert_int_equal(gpusvm_page_refs(device_page(2)), 0);
	assert_int_equal(gpusvm_page_refs(device_page(3)), 0);
	assert_null(m.pages[2]);
	assert_ptr_equal(entry_at(11), device_page(1));
	assert_null(device_page(1)->migration);
	assert_int_equal(owner.refs, 1 + N - 2);
}

static void end_leaves_pages_of_others(void **state)
{
	struct migration other = { .mm = mm };

	(void)state;
	stage_pages(in_order);
	device_page(3)->migration = &other;
	end_with_put();
	assert_ptr_equal(device_page(3)->migration, &other);
	device_page(3)->migration = NULL;
}

static void wait_for_end(void *arg)
{
	struct page *page = arg;

	pthread_mutex_lock(&mm->pt_lock);
	while (page->migration)
		pthread_cond_wait(&mm->migrated, &mm->pt_lock);
	pthread_mutex_unlock(&mm->pt_lock);
}

static void end_wakes_who_waits(void **state)
{
	struct unit_thread t;

	(void)state;
	stage_pages(in_order);
	unit_thread_start(&t, wait_for_end, device_page(7));
	unit_thread_settle(&t);
	assert_false(unit_thread_done(&t));
	end_with_put();
	unit_thread_join(&t);
}

#define install_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		install_test(install_joins_what_is_adjacent),
		install_test(install_of_one_page_without_memory_moves_it),
		install_test(install_skips_pages_without_data),
		install_test(install_with_keep_pages_does_not_put),
		install_test(install_of_nothing_returns_0),
		install_test(install_with_event_in_the_way_settles),
		install_test(install_with_error_in_the_middle_does_the_rest),
		install_test(install_that_never_works_gives_up_and_says_so),
		install_test(install_counts_attempts_of_each_page_anew),
		install_test(install_across_mappings_goes_piece_by_piece),
		install_test(install_without_memory_leaves_pages_on_device),
		install_test(end_puts_pages_whose_entry_went),
		install_test(end_leaves_pages_of_others),
		install_test(end_wakes_who_waits),
	};

	return cmocka_run_group_tests_name("migrate_install", tests, NULL,
					   NULL);
}
