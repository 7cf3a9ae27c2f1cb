/* SPDX-License-Identifier: MIT */
/*
 * From the CPU to the device with a source that can keep busy pages from
 * everybody: that it does, that it ends, and that it does nothing else.
 */
#include "unit_migrate_out.h"

static int setup_held(void **state)
{
	static unsigned long now_ns;

	setup_move(state);
	/* A millisecond for each look. */
	fake_sys_clock(&now_ns, 1000 * 1000);
	mm->features |= GPUSVM_FEATURE_RWP;
	return 0;
}

/* Calls of the operation that protects, or ends that. */
static unsigned int count_protect(bool on)
{
	unsigned int i, n = 0;

	for (i = 0; i < fake->ncalls; i++)
		n += fake->calls[i].op == FAKE_OP_PROTECT &&
		     fake->calls[i].arg == on;
	return n;
}

static void busy_for(unsigned int times)
{
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = times,
						   .error = -EBUSY });
}

static void pages_that_move_are_not_held(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	/* Nor are those that a child shares, which move once written to. */
	busy_for(1);
	assert_int_equal(migrate_out(FIRST), 0);
	assert_int_equal(fake->count[FAKE_OP_PROTECT], 0);
}

static void busy_pages_are_held_until_they_can_be_taken(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	busy_for(2 + 3);
	assert_int_equal(migrate_out(FIRST), 0);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 2 + 3 + 1);
	assert_int_equal(count_protect(true), 1);
	assert_true(fake_source_called(fake, FAKE_OP_PROTECT,
				       fake_addr(fake, FIRST)));
	assert_true(fake_matches(device_memory(0), N, 1));
	assert_int_equal(mm->stats.moved, 1);
	assert_int_equal(mm->stats.write_protected, 0);
}

/* Those that had them before may need others of them to come to an end. */
static void pages_that_stay_busy_are_let_go(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_fail(fake, FAKE_OP_TAKE, -EBUSY);
	begin(-EBUSY);
	assert_true(count_protect(true) > 1);
	assert_int_equal(count_protect(false), count_protect(true));
	assert_undone();
}

static void half_of_the_pages_taken_come_back(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	busy_for(2);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_TAKE,
						   .times = 1,
						   .max_pages = 6 });
	fake_source_fail(fake, FAKE_OP_TAKE, -EBUSY);
	begin(-EBUSY);
	assert_true(fake->count[FAKE_OP_MOVE] + fake->count[FAKE_OP_COPY] > 0);
	assert_undone();
}

/* What cannot be protected, as a change has begun, is tried all the same. */
static void pages_that_cannot_be_held_are_waited_for(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	busy_for(2 + 1);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_PROTECT,
						   .times = 1,
						   .error = -EAGAIN });
	assert_int_equal(migrate_out(FIRST), 0);
	assert_true(fake_matches(device_memory(0), N, 1));
}

/* Nothing is gained by a hold, and each attempt takes a second. */
static void memory_that_always_changes_is_not_held(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_fail(fake, FAKE_OP_SETTLED, -EAGAIN);
	begin(-EBUSY);
	assert_int_equal(fake->count[FAKE_OP_PROTECT], 0);
	assert_undone();
}

/* A copy of what nobody may read would wait for ever. */
static void memory_that_does_not_move_is_busy(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_fail(fake, FAKE_OP_TAKE, -EINVAL);
	begin(-EBUSY);
	assert_int_equal(fake->count[FAKE_OP_PROTECT], 0);
	assert_int_equal(fake_sys_calls(FAKE_SYS_PROCESS_VM_READV), 0);
	assert_undone();
}

static void without_the_feature_nothing_is_held(void **state)
{
	(void)state;
	mm->features &= ~GPUSVM_FEATURE_RWP;
	fake_fill(window(FIRST), N, 1);
	fake_source_fail(fake, FAKE_OP_TAKE, -EBUSY);
	begin(-EBUSY);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 2);
	assert_int_equal(fake->count[FAKE_OP_PROTECT], 0);
	assert_undone();
}

#define held_test(fn) cmocka_unit_test_setup_teardown(fn, setup_held, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		held_test(pages_that_move_are_not_held),
		held_test(busy_pages_are_held_until_they_can_be_taken),
		held_test(pages_that_stay_busy_are_let_go),
		held_test(half_of_the_pages_taken_come_back),
		held_test(pages_that_cannot_be_held_are_waited_for),
		held_test(memory_that_always_changes_is_not_held),
		held_test(memory_that_does_not_move_is_busy),
		held_test(without_the_feature_nothing_is_held),
	};

	return cmocka_run_group_tests_name("migrate_out_held", tests, NULL,
					   NULL);
}
