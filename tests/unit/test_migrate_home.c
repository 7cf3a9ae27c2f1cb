/* SPDX-License-Identifier: MIT */
/*
 * From the device to the CPU: which pages come, what stays when something
 * fails, and many migrations both ways at random against a model.
 */
#include "unit_migration.h"

#define N 16ul
#define FIRST 8ul

static uint64_t seed;

/* ---- Lack of private memory ---- */

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);
void *__real_gpusvm_alloc_array(size_t n, size_t size);
void *__wrap_gpusvm_alloc_array(size_t n, size_t size);

static unsigned int fail_in;

static bool fails_now(void)
{
	return fail_in && !--fail_in;
}

void *__wrap_gpusvm_alloc(size_t size)
{
	return fails_now() ? NULL : __real_gpusvm_alloc(size);
}

void *__wrap_gpusvm_alloc_array(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_gpusvm_alloc_array(n, size);
}

/* ---- Helpers ---- */

/* With the pattern 1 on the device. */
static int setup(void **state)
{
	(void)state;
	fail_in = 0;
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	fake_fill(window(FIRST), N, 1);
	return migrate_out(FIRST);
}

static int setup_protect(void **state)
{
	(void)state;
	fail_in = 0;
	migration_setup(GPUSVM_TECHNIQUE_WRITE_PROTECT, N);
	fake_fill(window(FIRST), N, 1);
	return migrate_out(FIRST);
}

static int teardown(void **state)
{
	(void)state;
	fake_source_forget_plans(fake);
	unmap_all();
	migration_teardown();
	return 0;
}

static void assert_home(void)
{
	assert_nothing_on_device();
	assert_true(fake_matches(window(FIRST), N, 1));
}

static void assert_still_on_device(void)
{
	unsigned long i;

	for (i = 0; i < N; i++)
		assert_on_device(FIRST + i, i);
	assert_true(fake_matches(device_memory(0), N, 1));
	assert_int_equal(owner.refs, 1 + N);
}

/* ---- Beginning ---- */

static void init_without_memory_returns_enomem(void **state)
{
	size_t blocks = gpusvm_alloc_live();
	struct migration other;
	unsigned int n;

	(void)state;
	for (n = 1; n < 10; n++) {
		fail_in = n;
		if (!gpusvm_migration_init(&other, mm, 1000))
			break;
		assert_int_equal(fail_in, 0);
		assert_int_equal(gpusvm_alloc_live(), blocks);
	}
	assert_true(n > 3);
	fail_in = 0;
	gpusvm_migration_fini(&other);
}

static void begin_says_where_data_goes(void **state)
{
	unsigned long i;

	(void)state;
	assert_int_equal(gpusvm_migrate_home_begin(&m,
						   fake_addr(fake, FIRST + 2),
						   fake_addr(fake, FIRST + 5)),
			 3);
	for (i = 0; i < N; i++) {
		assert_int_equal(m.ram[i] != 0, i >= 2 && i < 5);
		assert_ptr_equal(device_page(i)->migration,
				 i >= 2 && i < 5 ? &m : NULL);
		if (m.ram[i])
			assert_true(fake_present(m.ram[i]));
	}
	gpusvm_migrate_home_abort(&m);
	assert_still_on_device();
}

static void begin_beside_the_pages_returns_0(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_migrate_home_begin(&m, fake_addr(fake, 0),
						   fake_addr(fake, FIRST)),
			 0);
	assert_int_equal(gpusvm_migrate_home_begin(&m,
						   fake_addr(fake, FIRST + N),
						   fake_addr(fake, WINDOW)),
			 0);
	assert_still_on_device();
}

static void begin_leaves_held_pages(void **state)
{
	unsigned long i;

	(void)state;
	gpusvm_page_get(device_page(0));
	gpusvm_page_get(device_page(9));
	assert_int_equal(migrate_home(0, WINDOW), N - 2);
	assert_ptr_equal(entry_at(FIRST), device_page(0));
	assert_ptr_equal(entry_at(FIRST + 9), device_page(9));
	assert_int_equal(gpusvm_page_refs(device_page(9)), 2);
	for (i = 0; i < N; i++)
		assert_int_equal(fake_present(fake_addr(fake, FIRST + i)),
				 i != 0 && i != 9);
	gpusvm_page_put(device_page(0));
	gpusvm_page_put(device_page(9));
	assert_int_equal(migrate_home(0, WINDOW), 2);
	assert_home();
}

static void begin_without_staging_returns_enomem(void **state)
{
	(void)state;
	/* The pages that came from the CPU are gone. */
	gpusvm_staging_get_empty(mm, &m.run);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_FILL,
						   .times = 1,
						   .max_pages = 3 });
	fake_source_fail(fake, FAKE_OP_FILL, -ENOMEM);
	assert_int_equal(gpusvm_migrate_home_begin(&m, fake_addr(fake, 0),
						   fake_addr(fake, WINDOW)),
			 -ENOMEM);
	assert_still_on_device();
	fake_source_forget_plans(fake);
	assert_int_equal(migrate_home(0, WINDOW), N);
	assert_home();
}

/* ---- Committing ---- */

static void home_brings_data_and_frees_pages(void **state)
{
	(void)state;
	assert_int_equal(migrate_home(0, WINDOW), N);
	assert_home();
	assert_int_equal(mm->stats.migrations_to_ram, 1);
	assert_int_equal(mm->stats.bytes_to_ram, N * PAGE_SIZE);
	assert_int_equal(fake->count[FAKE_OP_FILL],
			 mm->technique != GPUSVM_TECHNIQUE_MOVE);
}

static void home_of_a_part_leaves_the_rest(void **state)
{
	(void)state;
	assert_int_equal(migrate_home(FIRST + 4, 4), 4);
	assert_int_equal(mm->pt.npages, N - 4);
	assert_on_device(FIRST, 0);
	assert_on_device(FIRST + 8, 8);
	assert_int_equal(gpusvm_page_refs(device_page(4)), 0);
	assert_int_equal(owner.refs, 1 + N - 4);
	assert_int_equal(migrate_home(0, WINDOW), N - 4);
	assert_home();
}

static void home_moves_adjacent_pages_in_one_call(void **state)
{
	(void)state;
	assert_int_equal(migrate_home(0, WINDOW), N);
	assert_int_equal(fake->count[FAKE_OP_MOVE], 1);
	assert_int_equal(fake->count[FAKE_OP_COPY], 0);
	/* The pages themselves went. */
	assert_int_equal(m.run->nfilled, 0);
	assert_int_equal(mm->staging.bytes, 0);
	assert_home();
}

static void home_in_parts_goes_on(void **state)
{
	(void)state;
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_MOVE,
						   .times = ~0u,
						   .max_pages = 5 });
	assert_int_equal(migrate_home(0, WINDOW), N);
	/* The last page is copied. */
	assert_int_equal(fake->count[FAKE_OP_MOVE], 3);
	assert_int_equal(fake->count[FAKE_OP_COPY], 1);
	assert_home();
}

static void home_that_cannot_move_copies(void **state)
{
	static const long errors[] = { -EINVAL, -EBUSY };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		fake_source_fail(fake, FAKE_OP_MOVE, errors[i]);
		assert_int_equal(migrate_home(0, WINDOW), N);
		fake_source_forget_plans(fake);
		assert_home();
		/* The pages stayed, and are kept. */
		assert_int_equal(m.run->nfilled, N);
		assert_int_equal(mm->staging.bytes, N * PAGE_SIZE);
		assert_int_equal(migrate_out(FIRST), 0);
	}
}

static void home_with_error_for_a_while_tries_again(void **state)
{
	static const long errors[] = { -EAGAIN, -ENOENT, -EFAULT };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		fake_source_plan(fake,
				 (struct fake_plan){ .op = FAKE_OP_MOVE,
						     .times = 30,
						     .error = errors[i] });
		assert_int_equal(migrate_home(0, WINDOW), N);
		assert_home();
		fake_source_forget_plans(fake);
		assert_int_equal(migrate_out(FIRST), 0);
	}
}

static void home_without_memory_leaves_pages_on_device(void **state)
{
	(void)state;
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_MOVE,
						   .times = 1,
						   .max_pages = 4 });
	fake_source_fail(fake, FAKE_OP_MOVE, -ENOMEM);
	fake_source_fail(fake, FAKE_OP_COPY, -ENOMEM);
	assert_int_equal(migrate_home(0, WINDOW), 4);
	assert_int_equal(mm->pt.npages, N - 4);
	assert_true(fake_matches(window(FIRST), 4, 1));
	assert_on_device(FIRST + 4, 4);
	assert_on_device(FIRST + N - 1, N - 1);
	fake_source_forget_plans(fake);
	assert_int_equal(migrate_home(0, WINDOW), N - 4);
	assert_home();
}

static void home_without_any_memory_returns_enomem(void **state)
{
	(void)state;
	fake_source_fail(fake, FAKE_OP_MOVE, -ENOMEM);
	fake_source_fail(fake, FAKE_OP_COPY, -ENOMEM);
	assert_int_equal(migrate_home(0, WINDOW), -ENOMEM);
	assert_still_on_device();
	assert_int_equal(mm->stats.migrations_to_ram, 0);
	fake_source_forget_plans(fake);
	assert_int_equal(migrate_home(0, WINDOW), N);
	assert_home();
}

static void home_to_memory_not_trapped_traps_it(void **state)
{
	(void)state;
	fake->flags[FIRST + 3] = FAKE_WATCHED;
	assert_int_equal(migrate_home(0, WINDOW), N);
	assert_home();
}

static void home_to_no_mapping_gives_that_page_up(void **state)
{
	(void)state;
	fake->flags[FIRST + 3] = FAKE_UNMAPPED; /* and no event tells of it */
	migrate_home(0, WINDOW);
	assert_nothing_on_device();
	assert_true(fake_matches(window(FIRST), 3, 1));
	assert_false(fake_present(fake_addr(fake, FIRST + 3)));
	assert_true(fake_present(fake_addr(fake, FIRST + 4)));
}

static void home_to_a_page_that_is_there_keeps_it(void **state)
{
	unsigned int i, wakes = 0;

	(void)state;
	fake_fill(window(FIRST + 5), 1, 9);
	assert_int_equal(migrate_home(0, WINDOW), N);
	assert_nothing_on_device();
	assert_true(fake_matches(window(FIRST + 5), 1, 9));
	assert_true(fake_matches(window(FIRST), 5, 1));
	for (i = 0; i < fake->ncalls; i++)
		wakes += fake->calls[i].op == FAKE_OP_WAKE &&
			 fake->calls[i].start == fake_addr(fake, FIRST + 5);
	assert_true(wakes > 0);
}

/* ---- Changes of the mapping in between ---- */

static long begin_all(void)
{
	return gpusvm_migrate_home_begin(&m, fake_addr(fake, 0),
					 fake_addr(fake, WINDOW));
}

static void unmap_in_between_drops_pages(void **state)
{
	(void)state;
	assert_int_equal(begin_all(), N);
	copy_to_ram();
	fake_source_unmap(fake, FIRST + 4, 4);
	assert_int_equal(gpusvm_migrate_home_commit(&m), N - 4);
	assert_nothing_on_device();
	assert_true(fake_matches(window(FIRST), 4, 1));
	assert_false(fake_present(fake_addr(fake, FIRST + 4)));
	assert_true(fake_present(fake_addr(fake, FIRST + 8)));
}

static void unmap_of_all_in_between_brings_nothing(void **state)
{
	(void)state;
	assert_int_equal(begin_all(), N);
	copy_to_ram();
	fake_source_unmap(fake, FIRST, N);
	settle();
	assert_int_equal(gpusvm_page_refs(device_page(0)), 1);
	assert_int_equal(gpusvm_migrate_home_commit(&m), 0);
	assert_nothing_on_device();
	assert_int_equal(mm->stats.migrations_to_ram, 0);
}

static void remove_in_between_drops_pages(void **state)
{
	(void)state;
	assert_int_equal(begin_all(), N);
	copy_to_ram();
	fake_source_remove(fake, FIRST, 4);
	assert_int_equal(gpusvm_migrate_home_commit(&m), N - 4);
	assert_nothing_on_device();
	assert_true(fake_is_zero(window(FIRST), 4));
}

static void remap_in_between_is_followed(void **state)
{
	(void)state;
	assert_int_equal(begin_all(), N);
	copy_to_ram();
	fake_source_remap(fake, FIRST, N, 40);
	assert_int_equal(gpusvm_migrate_home_commit(&m), N);
	assert_nothing_on_device();
	assert_true(fake_matches(window(40), N, 1));
	assert_false(fake_present(fake_addr(fake, FIRST)));
}

static void remap_of_a_part_splits_the_run(void **state)
{
	(void)state;
	fake_source_remap(fake, FIRST + 8, 8, 40);
	settle();
	assert_on_device(40, 8);
	assert_int_equal(migrate_home(0, WINDOW), N);
	assert_int_equal(fake->count[FAKE_OP_MOVE], 2);
	assert_nothing_on_device();
	assert_true(fake_matches(window(FIRST), 8, 1));
	assert_true(fake_present(fake_addr(fake, 40)));
}

static void abort_keeps_pages_on_device(void **state)
{
	(void)state;
	assert_int_equal(begin_all(), N);
	gpusvm_migrate_home_abort(&m);
	assert_still_on_device();
	assert_int_equal(migrate_home(0, WINDOW), N);
	assert_home();
}

static void unmap_before_abort_drops_pages(void **state)
{
	(void)state;
	assert_int_equal(begin_all(), N);
	fake_source_unmap(fake, FIRST + 4, 4);
	settle();
	gpusvm_migrate_home_abort(&m);
	assert_int_equal(mm->pt.npages, N - 4);
	assert_int_equal(gpusvm_page_refs(device_page(4)), 0);
	assert_on_device(FIRST, 0);
	assert_int_equal(owner.refs, 1 + N - 4);
	assert_null(m.pages[4]);
	assert_int_equal(migrate_home(0, WINDOW), N - 4);
	assert_nothing_on_device();
}

/* ---- Many, at random ---- */

static unsigned int model[WINDOW]; /* the tag of each page; 0 for zeros */

static void check_model(void)
{
	const struct page *page;
	unsigned long i;
	const void *data;

	for (i = 0; i < WINDOW; i++) {
		page = entry_at(i);
		data = page ? gpusvm_page_address(page) : window(i);
		assert_true(model[i] ? fake_matches(data, 1, model[i])
				     : fake_is_zero(data, 1));
		assert_true(!page || (gpusvm_page_refs(page) == 1 &&
				      page->vaddr == fake_addr(fake, i)));
	}
	assert_int_equal((unsigned long)owner.refs, 1 + mm->pt.npages);
}

static void plan_something(uint64_t *random)
{
	static const enum fake_op ops[] = {
		FAKE_OP_TRAP, FAKE_OP_SETTLED, FAKE_OP_PROTECT, FAKE_OP_COPY,
		FAKE_OP_MOVE, FAKE_OP_TAKE,    FAKE_OP_FILL,
	};
	static const long errors[] = { 0,	-EAGAIN, -EBUSY,
				       -EINVAL, -ENOMEM, -ENOENT };
	struct fake_plan plan = {
		.op = ops[unit_random_below(random, ARRAY_SIZE(ops))],
		.skip = (unsigned int)unit_random_below(random, 3),
		.times = 1 + (unsigned int)unit_random_below(random, 8),
		.error = errors[unit_random_below(random, ARRAY_SIZE(errors))],
		.max_pages = unit_random_below(random, 6),
	};

	/* The only errors that these two know. */
	if (plan.op == FAKE_OP_SETTLED || plan.op == FAKE_OP_PROTECT)
		plan.error = -EAGAIN;
	fake_source_plan(fake, plan);
}

static void write_page(unsigned long i, unsigned int tag)
{
	if (entry_at(i))
		return;
	fake_fill(window(i), 1, tag);
	model[i] = tag;
}

static void change_mapping(uint64_t *random)
{
	unsigned long first = unit_random_below(random, WINDOW / 2 - 6);
	unsigned long n = 1 + unit_random_below(random, 6), i;

	if (unit_random_below(random, 2)) {
		fake_source_remove(fake, first, n);
		memset(model + first, 0, n * sizeof(model[0]));
	} else {
		/* It unmaps what was there; what is left counts as new. */
		fake_source_unmap(fake, WINDOW / 2 + first, n);
		fake_source_remap(fake, first, n, WINDOW / 2 + first);
		for (i = first; i < first + n; i++) {
			model[WINDOW / 2 + i] = model[i];
			model[i] = 0;
			fake->flags[i] = 0;
		}
	}
	settle();
}

static void random_step(uint64_t *random, unsigned int tag)
{
	unsigned long i, n;

	fake_source_forget_plans(fake);
	switch (unit_random_below(random, 6)) {
	case 0:
	case 1:
		n = unit_random_below(random, 20);
		for (i = 0; i < n; i++)
			write_page(unit_random_below(random, WINDOW), tag);
		break;
	case 2:
	case 3:
		plan_something(random);
		plan_something(random);
		/* One migration at a time uses these device pages. */
		if (mm->pt.npages)
			migrate_home(unit_random_below(random, WINDOW),
				     1 + unit_random_below(random, WINDOW));
		else
			migrate_out(unit_random_below(random, WINDOW - N));
		break;
	case 4:
		plan_something(random);
		migrate_home(0, WINDOW);
		break;
	default:
		change_mapping(random);
	}
}

static void random_migrations_lose_nothing(void **state)
{
	uint64_t random = seed;
	unsigned int i;

	(void)state;
	migrate_home(0, WINDOW);
	memset(model, 0, sizeof(model));
	for (i = 0; i < N; i++)
		write_page(FIRST + i, i + 1);
	for (i = 0; i < 400; i++) {
		random_step(&random, i + 100);
		check_model();
	}
}

#define home_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define protect_test(fn) \
	cmocka_unit_test_setup_teardown(fn, setup_protect, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		home_test(init_without_memory_returns_enomem),
		home_test(begin_says_where_data_goes),
		home_test(begin_beside_the_pages_returns_0),
		home_test(begin_leaves_held_pages),
		home_test(begin_without_staging_returns_enomem),
		home_test(home_brings_data_and_frees_pages),
		protect_test(home_brings_data_and_frees_pages),
		home_test(home_of_a_part_leaves_the_rest),
		protect_test(home_of_a_part_leaves_the_rest),
		home_test(home_moves_adjacent_pages_in_one_call),
		home_test(home_in_parts_goes_on),
		home_test(home_that_cannot_move_copies),
		home_test(home_with_error_for_a_while_tries_again),
		home_test(home_without_memory_leaves_pages_on_device),
		home_test(home_without_any_memory_returns_enomem),
		home_test(home_to_memory_not_trapped_traps_it),
		home_test(home_to_no_mapping_gives_that_page_up),
		home_test(home_to_a_page_that_is_there_keeps_it),
		home_test(unmap_in_between_drops_pages),
		home_test(unmap_of_all_in_between_brings_nothing),
		home_test(remove_in_between_drops_pages),
		home_test(remap_in_between_is_followed),
		home_test(remap_of_a_part_splits_the_run),
		home_test(abort_keeps_pages_on_device),
		home_test(unmap_before_abort_drops_pages),
		home_test(random_migrations_lose_nothing),
		protect_test(random_migrations_lose_nothing),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("migrate_home", tests, NULL, NULL);
}
