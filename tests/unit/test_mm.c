/* SPDX-License-Identifier: MIT */
/*
 * The life of the address space: options, what is chosen, every failure on the
 * way to an open one, references, counters.  How it ends is in test_mm_close.c.
 */
#include "unit_mm.h"

#include <string.h>

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

static int setup(void **state)
{
	fail_in = 0;
	return mm_setup(state);
}

/* ---- Options ---- */

static void open_with_bad_arguments_returns_einval(void **state)
{
	struct gpusvm_mm_opts opts = { .size = sizeof(opts) };
	struct mm_struct *mm;

	(void)state;
	assert_int_equal(gpusvm_mm_open(NULL, NULL), -EINVAL);
	opts.size = sizeof(size_t) - 1;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EINVAL);
	opts.size = 0;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EINVAL);
	opts.size = sizeof(opts);
	opts.technique = GPUSVM_TECHNIQUE_WRITE_PROTECT + 1;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EINVAL);
	opts.technique = GPUSVM_TECHNIQUE_AUTO;
	opts.cpu_fault_bytes = PAGE_SIZE / 2;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EINVAL);
	opts.cpu_fault_bytes = 3 * PAGE_SIZE;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EINVAL);
	assert_int_equal(log_errors, 5);
}

/* Of an older version: what it does not have is the default. */
static void open_with_fewer_options_takes_those(void **state)
{
	struct gpusvm_mm_opts opts = {
		.size = offsetof(struct gpusvm_mm_opts, cpu_fault_bytes),
		.technique = GPUSVM_TECHNIQUE_WRITE_PROTECT,
		.cpu_fault_bytes = 3,
	};
	struct mm_struct *mm;

	(void)state;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), 0);
	assert_int_equal(mm->technique, GPUSVM_TECHNIQUE_WRITE_PROTECT);
	assert_int_equal(mm->cpu_fault_bytes, 0);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

/* Of a newer one: only if it does not ask for what is unknown here. */
static void open_with_more_options_refuses_those_that_are_set(void **state)
{
	struct {
		struct gpusvm_mm_opts known;
		unsigned long unknown;
	} opts = { .known.size = sizeof(opts), .unknown = 1 };
	struct mm_struct *mm;

	(void)state;
	assert_int_equal(gpusvm_mm_open(&mm, &opts.known), -EINVAL);
	opts.unknown = 0;
	assert_int_equal(gpusvm_mm_open(&mm, &opts.known), 0);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

static void open_takes_the_best_technique(void **state)
{
	struct mm_struct *mm = open_default();

	(void)state;
	assert_int_equal(mm->technique, GPUSVM_TECHNIQUE_MOVE);
	assert_true(gpusvm_mm_features(mm) & GPUSVM_FEATURE_MOVE);
	assert_true(gpusvm_mm_features(mm) & GPUSVM_FEATURE_USERFAULTFD);
	assert_int_equal(gpusvm_mm_close(mm), 0);

	fake->source.features = GPUSVM_FEATURE_USERFAULTFD;
	mm = open_default();
	assert_int_equal(mm->technique, GPUSVM_TECHNIQUE_WRITE_PROTECT);
	assert_false(gpusvm_mm_features(mm) & GPUSVM_FEATURE_MOVE);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

static void open_takes_the_technique_asked_for(void **state)
{
	struct gpusvm_mm_opts opts = {
		.size = sizeof(opts),
		.technique = GPUSVM_TECHNIQUE_MOVE,
		.staging_bytes = 12345,
	};
	struct mm_struct *mm = open_with(GPUSVM_TECHNIQUE_WRITE_PROTECT);

	(void)state;
	assert_int_equal(mm->technique, GPUSVM_TECHNIQUE_WRITE_PROTECT);
	assert_false(gpusvm_mm_features(mm) & GPUSVM_FEATURE_MOVE);
	assert_int_equal(gpusvm_mm_close(mm), 0);

	assert_int_equal(gpusvm_mm_open(&mm, &opts), 0);
	assert_int_equal(mm->staging.limit, 12345);
	assert_int_equal(gpusvm_mm_close(mm), 0);

	fake->source.features = 0;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EOPNOTSUPP);
	assert_null(mm);
	assert_int_equal(log_errors, 1);

	/* Pages that can be kept from everybody are not write-protected. */
	fake->source.features = GPUSVM_FEATURE_MOVE | GPUSVM_FEATURE_RWP;
	opts.technique = GPUSVM_TECHNIQUE_WRITE_PROTECT;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EOPNOTSUPP);
	assert_int_equal(log_errors, 2);
	mm = open_default();
	assert_int_equal(mm->technique, GPUSVM_TECHNIQUE_MOVE);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

/* ---- Failures ---- */

static void open_fails(int expected)
{
	struct mm_struct *mm = (struct mm_struct *)1;

	assert_int_equal(gpusvm_mm_open(&mm, NULL), expected);
	assert_null(mm);
	assert_int_equal(gpusvm_alloc_live(), blocks_before);
	assert_int_equal(unit_count_fds(), fds_before);
}

static void open_that_fails_at_a_step_undoes_the_others(void **state)
{
	(void)state;
	/* The first is of a limit that has a default. */
	fake_sys_fail(FAKE_SYS_OPEN, -EACCES, 2);
	open_fails(-EACCES);
	fake_sys_fail(FAKE_SYS_OPEN, -EMFILE, 3);
	open_fails(-EMFILE);
	uffd_error = -EPERM;
	open_fails(-EPERM);
	uffd_error = 0;
	assert_int_equal(fake->count[FAKE_OP_CLOSE], 0);
	fake_sys_fail(FAKE_SYS_EVENTFD, -ENFILE, 1);
	open_fails(-ENFILE);
	assert_int_equal(fake->count[FAKE_OP_CLOSE], 1);
	fake_source_fail(fake, FAKE_OP_WAKE, -EINVAL);
	open_fails(-EINVAL);
	assert_int_equal(fake->count[FAKE_OP_CLOSE], 2);
	fake_source_forget_plans(fake);
	assert_int_equal(gpusvm_mm_close(open_default()), 0);
}

static void open_without_memory_returns_enomem(void **state)
{
	struct mm_struct *mm;
	unsigned int n;

	(void)state;
	for (n = 1; n < 20; n++) {
		fail_in = n;
		if (!gpusvm_mm_open(&mm, NULL))
			break;
		assert_int_equal(fail_in, 0);
		assert_null(mm);
		assert_int_equal(gpusvm_alloc_live(), blocks_before);
		assert_int_equal(unit_count_fds(), fds_before);
	}
	/* The structure, the buffer for forks, and two stacks at least. */
	assert_in_range(n, 5, 19);
	fail_in = 0;
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

/* It looks for the end of addresses from above. */
static void open_finds_the_highest_address(void **state)
{
	struct mm_struct *mm;

	(void)state;
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_WAKE,
						   .times = 9,
						   .error = -EINVAL });
	mm = open_default();
	assert_int_equal(mm->wake_end, (1ul << 47) - PAGE_SIZE);
	fake_source_forget_calls(fake);
	gpusvm_mm_wake_all(mm);
	assert_true(fake_source_called(fake, FAKE_OP_WAKE,
				       (1ul << 47) - 2 * PAGE_SIZE));
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

/* ---- References ---- */

static void open_twice_gives_the_same_object(void **state)
{
	struct mm_struct *mm = open_default();

	(void)state;
	assert_ptr_equal(open_with(GPUSVM_TECHNIQUE_WRITE_PROTECT), mm);
	/* Only the first call decides. */
	assert_int_equal(mm->technique, GPUSVM_TECHNIQUE_MOVE);
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_true(gpusvm_mm_alive(mm));
	assert_int_equal(fake->count[FAKE_OP_CLOSE], 0);
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_int_equal(fake->count[FAKE_OP_CLOSE], 1);
}

static void close_too_often_returns_einval(void **state)
{
	struct mm_struct *mm = open_default();

	(void)state;
	gpusvm_mm_grab(mm);
	assert_int_equal(gpusvm_mm_close(NULL), -EINVAL);
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_int_equal(gpusvm_mm_close(mm), -EINVAL);
	gpusvm_mm_drop(mm);
}

static void closed_structure_stays_while_referred_to(void **state)
{
	struct gpusvm_stats stats = { .size = sizeof(stats) };
	struct mm_struct *mm = open_default();

	(void)state;
	gpusvm_mm_grab(mm);
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_false(gpusvm_mm_alive(mm));
	assert_false(gpusvm_mm_pin(mm));
	gpusvm_mm_sync(mm);
	assert_int_equal(gpusvm_mm_get_stats(mm, &stats), 0);
	gpusvm_mm_read_lock(mm);
	gpusvm_mm_read_unlock(mm);
	/* Another one may be open beside it. */
	assert_ptr_not_equal(open_default(), mm);
	assert_int_equal(gpusvm_mm_close(gpusvm_mm_current()), 0);
	gpusvm_mm_drop(mm);
}

/* ---- Counters ---- */

static void stats_with_bad_arguments_returns_einval(void **state)
{
	struct gpusvm_stats stats = { .size = sizeof(size_t) - 1 };
	struct mm_struct *mm = open_default();

	(void)state;
	assert_int_equal(gpusvm_mm_get_stats(mm, &stats), -EINVAL);
	assert_int_equal(gpusvm_mm_get_stats(mm, NULL), -EINVAL);
	assert_int_equal(gpusvm_mm_get_stats(NULL, &stats), -EINVAL);
	assert_int_equal(gpusvm_mm_features(NULL), 0);
	gpusvm_mm_sync(NULL);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

/* A program that was built with fewer counters gets those. */
static void stats_fill_as_far_as_the_size_says(void **state)
{
	struct gpusvm_stats stats;
	struct mm_struct *mm = open_default();

	(void)state;
	mm->stats.cpu_faults = 11;
	mm->stats.zero_faults = 22;
	mm->stats.events = 33;
	memset(&stats, 0xa5, sizeof(stats));
	stats.size = offsetof(struct gpusvm_stats, zero_faults);
	assert_int_equal(gpusvm_mm_get_stats(mm, &stats), 0);
	assert_int_equal(stats.cpu_faults, 11);
	assert_int_equal(stats.zero_faults, 0xa5a5a5a5a5a5a5a5);
	assert_int_equal(stats.size,
			 offsetof(struct gpusvm_stats, zero_faults));
	stats.size = sizeof(stats) + 100;
	assert_int_equal(gpusvm_mm_get_stats(mm, &stats), 0);
	assert_int_equal(stats.zero_faults, 22);
	assert_int_equal(stats.events, 33);
	assert_int_equal(stats.staging_bytes, 0);
	assert_int_equal(stats.size, sizeof(stats));
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

static void sync_reads_what_there_is(void **state)
{
	struct mm_struct *mm = open_default();

	(void)state;
	gpusvm_down_write(&mm->event_lock);
	fake_source_unmap(fake, 0, 4);
	gpusvm_up_write(&mm->event_lock);
	gpusvm_mm_sync(mm);
	gpusvm_down_read(&mm->event_lock);
	assert_int_equal(fake->nevents, 0);
	gpusvm_up_read(&mm->event_lock);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

#define mm_test(fn) cmocka_unit_test_setup_teardown(fn, setup, mm_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		mm_test(open_with_bad_arguments_returns_einval),
		mm_test(open_with_fewer_options_takes_those),
		mm_test(open_with_more_options_refuses_those_that_are_set),
		mm_test(open_takes_the_best_technique),
		mm_test(open_takes_the_technique_asked_for),
		mm_test(open_that_fails_at_a_step_undoes_the_others),
		mm_test(open_without_memory_returns_enomem),
		mm_test(open_finds_the_highest_address),
		mm_test(open_twice_gives_the_same_object),
		mm_test(close_too_often_returns_einval),
		mm_test(closed_structure_stays_while_referred_to),
		mm_test(stats_with_bad_arguments_returns_einval),
		mm_test(stats_fill_as_far_as_the_size_says),
		mm_test(sync_reads_what_there_is),
	};

	return cmocka_run_group_tests_name("mm", tests, NULL, NULL);
}
