/* SPDX-License-Identifier: MIT */
/*
 * From the CPU to the device: how each technique takes the pages from the
 * program, and what a failure of that leaves behind.
 */
#include "unit_migrate_out.h"

/* ---- Moving ---- */

static void move_in_parts_goes_on(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = ~0u,
						   .max_pages = 3 });
	assert_int_equal(migrate_out(FIRST), 0);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 6);
	assert_true(fake_matches(device_memory(0), N, 1));
}

static void move_with_eagain_tries_again(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 1,
						   .max_pages = 5 });
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 900,
						   .error = -EAGAIN });
	assert_int_equal(migrate_out(FIRST), 0);
	assert_true(fake_matches(device_memory(0), N, 1));
	assert_int_equal(mm->stats.moved, 1);
}

static void move_others_here(struct fake_source *source,
			     const struct fake_call *call)
{
	if (call->op != FAKE_OP_TAKE)
		return;
	source->hook = NULL;
	fake_source_remap(source, FIRST + N, 3, FIRST + 2);
}

/* The event of the change comes after it, and drops what was there before. */
static void move_takes_nothing_of_another_mapping(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_fill(window(FIRST + N), 3, 2);
	fake->hook = move_others_here;
	assert_int_equal(migrate_out(FIRST), 0);
	assert_null(fake->hook);
	assert_true(fake_matches(device_memory(2), 3, 2));
	assert_true(fake_matches(device_memory(0), 2, 1));
}

static void move_with_eagain_for_ever_returns_ebusy(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_fail(fake, FAKE_OP_TAKE, -EAGAIN);
	begin(-EBUSY);
	assert_undone();
}

static void move_that_fails_half_way_is_undone(void **state)
{
	static const struct {
		long error;
		int expected;
	} cases[] = {
		{ -EBUSY, -EBUSY },
		{ -ENOMEM, -ENOMEM },
		{ -EEXIST, -EBUSY },
		{ -ENOENT, -EBUSY },
	};
	unsigned int i;

	(void)state;
	fake_fill(window(FIRST), N, 1);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
							   .times = 1,
							   .max_pages = 6 });
		fake_source_fail(fake, FAKE_OP_TAKE, cases[i].error);
		begin(cases[i].expected);
		fake_source_forget_plans(fake);
		assert_nothing_on_device();
		assert_true(fake_matches(window(FIRST), N, 1));
	}
	assert_undone();
}

static unsigned int populated;

static bool count_populate(const unsigned long *args, long *ret)
{
	populated += args[1] && args[2] == MADV_POPULATE_WRITE;
	return dontneed_raises_event(args, ret);
}

static void move_of_shared_pages_writes_to_them_first(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N / 2, 1);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 1,
						   .error = -EBUSY });
	populated = 0;
	fake_sys_hook(FAKE_SYS_MADVISE, count_populate);
	assert_int_equal(migrate_out(FIRST), 0);
	/* Only what is there; a hole stays one. */
	assert_int_equal(populated, N / 2);
	assert_true(fake_matches(device_memory(0), N / 2, 1));
	assert_true(fake_is_zero(device_memory(N / 2), N / 2));
	assert_int_equal(mm->stats.moved, 1);
}

static void move_refused_falls_back_to_protect(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_fail(fake, FAKE_OP_TAKE, -EINVAL);
	assert_int_equal(migrate_out(FIRST), 0);
	assert_true(fake_matches(device_memory(0), N, 1));
	assert_on_device(FIRST, 0);
	assert_int_equal(mm->stats.moved, 0);
	assert_int_equal(mm->stats.write_protected, 1);
}

/* As when a part is locked: what was moved before must come back. */
static void move_refused_half_way_falls_back_to_protect(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 1,
						   .max_pages = 6 });
	fake_source_fail(fake, FAKE_OP_TAKE, -EINVAL);
	assert_int_equal(migrate_out(FIRST), 0);
	assert_true(fake_matches(device_memory(0), N, 1));
	assert_int_equal(mm->stats.write_protected, 1);
}

/* One call moves within one piece of mapping only. */
static long most_pages;

static void refuse_long_moves(struct fake_source *f,
			      const struct fake_call *call)
{
	if (call->op != FAKE_OP_TAKE)
		return;
	f->nplans = 0;
	if (call->end - call->start > (unsigned long)most_pages << PAGE_SHIFT)
		fake_source_plan(f, (struct fake_plan){ .op = FAKE_OP_TAKE,
							.times = 1,
							.error = -EINVAL });
}

static void move_of_split_mapping_goes_piece_by_piece(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	madvise(window(FIRST + 6), (N - 6) << PAGE_SHIFT, MADV_DONTFORK);
	most_pages = N - 6;
	fake->hook = refuse_long_moves;
	assert_int_equal(migrate_out(FIRST), 0);
	fake->hook = NULL;
	assert_int_equal(mm->stats.moved, 1);
	assert_true(fake_matches(device_memory(0), N, 1));
}

/* ---- Protecting and copying ---- */

static void protect_that_fails_is_undone(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_PROTECT,
						   .times = 1,
						   .error = -EINVAL });
	begin(-EBUSY);
	assert_undone();
}

static void protect_with_eagain_tries_again(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_PROTECT,
						   .times = 5,
						   .error = -EAGAIN });
	assert_int_equal(migrate_out(FIRST), 0);
	assert_true(fake_matches(device_memory(0), N, 1));
}

/* Protecting only, not letting go, which has to succeed some time. */
static void refuse_protection(struct fake_source *f,
			      const struct fake_call *call)
{
	if (call->op != FAKE_OP_PROTECT)
		return;
	f->nplans = 0;
	if (call->arg)
		fake_source_plan(f, (struct fake_plan){ .op = FAKE_OP_PROTECT,
							.times = 1,
							.error = -EAGAIN });
}

static void protect_with_eagain_for_ever_returns_ebusy(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake->hook = refuse_protection;
	begin(-EBUSY);
	fake->hook = NULL;
	assert_undone();
}

static void protect_without_staging_is_undone(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_FILL,
						   .times = 1,
						   .max_pages = 2 });
	fake_source_fail(fake, FAKE_OP_FILL, -ENOMEM);
	begin(-ENOMEM);
	assert_undone();
}

static void protect_that_cannot_be_scanned_is_undone(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_sys_fail(FAKE_SYS_PAGEMAP_SCAN, -EFAULT, 1);
	fake_sys_fail(FAKE_SYS_PREAD, -EFAULT, 1);
	begin(-EBUSY);
	fake_sys_fail(FAKE_SYS_PAGEMAP_SCAN, 0, 0);
	fake_sys_fail(FAKE_SYS_PREAD, 0, 0);
	assert_undone();
}

static void protect_that_cannot_be_copied_is_undone(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_sys_fail(FAKE_SYS_PROCESS_VM_READV, -EFAULT, 1);
	begin(-EBUSY);
	/* A part of what was asked for is no copy either. */
	fake_sys_fail(FAKE_SYS_PROCESS_VM_READV, (long)PAGE_SIZE, 1);
	begin(-EBUSY);
	assert_undone();
}

static void protect_of_zero_page_has_no_data(void **state)
{
	volatile unsigned char *byte = window(FIRST + 1);

	(void)state;
	if (!(mm->features & GPUSVM_FEATURE_PAGEMAP_SCAN))
		skip();
	fake_fill(window(FIRST), 1, 1);
	assert_int_equal(*byte, 0);
	begin(0);
	assert_int_not_equal(m.ram[0], 0);
	assert_int_equal(m.ram[1], 0);
	copy_to_device();
	assert_int_equal(gpusvm_migrate_out_commit(&m), 0);
	assert_true(fake_is_zero(device_memory(1), 1));
}

static const struct CMUnitTest moving[] = {
	move_test(move_in_parts_goes_on),
	move_test(move_with_eagain_tries_again),
	move_test(move_takes_nothing_of_another_mapping),
	move_test(move_with_eagain_for_ever_returns_ebusy),
	move_test(move_that_fails_half_way_is_undone),
	move_test(move_of_shared_pages_writes_to_them_first),
	move_test(move_refused_falls_back_to_protect),
	move_test(move_refused_half_way_falls_back_to_protect),
	move_test(move_of_split_mapping_goes_piece_by_piece),
};

static const struct CMUnitTest protecting[] = {
	protect_test(protect_that_fails_is_undone),
	protect_test(protect_with_eagain_tries_again),
	protect_test(protect_with_eagain_for_ever_returns_ebusy),
	protect_test(protect_without_staging_is_undone),
	protect_test(protect_that_cannot_be_scanned_is_undone),
	protect_test(protect_that_cannot_be_copied_is_undone),
	protect_test(protect_of_zero_page_has_no_data),
};

int main(void)
{
	int failed;

	failed = cmocka_run_group_tests_name("migrate_out_take by move", moving,
					     NULL, NULL);
	failed += cmocka_run_group_tests_name("migrate_out_take by protect",
					      protecting, NULL, NULL);
	return failed;
}
