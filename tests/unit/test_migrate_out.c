/* SPDX-License-Identifier: MIT */
/*
 * From the CPU to the device by both techniques: what arrives, what is refused,
 * and how long it waits.  How each takes the pages is in
 * test_migrate_out_take.c, what comes after the copy in
 * test_migrate_out_commit.c.
 */
#include "unit_migrate_out.h"

/* ---- Lack of private memory ---- */

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);

static unsigned int fail_in;

void *__wrap_gpusvm_alloc(size_t size)
{
	if (fail_in && !--fail_in)
		return NULL;
	return __real_gpusvm_alloc(size);
}

/* ---- Success ---- */

static bool is_move(void)
{
	return mm->technique == GPUSVM_TECHNIQUE_MOVE;
}

static void out_filled_memory_arrives(void **state)
{
	unsigned long i;

	(void)state;
	fake_fill(window(FIRST), N, 1);
	take_device_pages();
	assert_int_equal(gpusvm_migrate_out_begin(&m, fake_addr(fake, FIRST)),
			 0);
	for (i = 0; i < N; i++) {
		assert_ptr_equal(entry_at(FIRST + i), device_page(i));
		assert_ptr_equal(device_page(i)->migration, &m);
		assert_int_not_equal(m.ram[i], 0);
		assert_true(fake->flags[FIRST + i] & FAKE_TRAPPED);
		/* The CPU can neither read nor write, or only not write. */
		assert_int_equal(fake_present(fake_addr(fake, FIRST + i)),
				 !is_move());
		assert_true(is_move() ||
			    (fake->flags[FIRST + i] & FAKE_PROTECTED));
	}
	copy_to_device();
	assert_int_equal(gpusvm_migrate_out_commit(&m), 0);
	for (i = 0; i < N; i++)
		assert_on_device(FIRST + i, i);
	assert_true(fake_matches(device_memory(0), N, 1));
	assert_int_equal(owner.refs, 1 + N);
	assert_int_equal(mm->pt.npages, N);
	assert_int_equal(mm->stats.migrations_to_devmem, 1);
	assert_int_equal(mm->stats.bytes_to_devmem, N * PAGE_SIZE);
	assert_int_equal(mm->stats.moved, is_move());
	assert_int_equal(mm->stats.write_protected, !is_move());
	/* The pages that held the data are kept for what comes home. */
	assert_int_equal(mm->staging.bytes, N * PAGE_SIZE);
}

static void out_untouched_memory_has_no_data(void **state)
{
	unsigned long i;

	(void)state;
	take_device_pages();
	assert_int_equal(gpusvm_migrate_out_begin(&m, fake_addr(fake, FIRST)),
			 0);
	for (i = 0; i < N; i++)
		assert_int_equal(m.ram[i], 0);
	copy_to_device();
	assert_int_equal(gpusvm_migrate_out_commit(&m), 0);
	assert_true(fake_is_zero(device_memory(0), N));
	assert_on_device(FIRST + 3, 3);
}

static void out_half_touched_memory_has_holes(void **state)
{
	unsigned long i;

	(void)state;
	for (i = 0; i < N; i += 2)
		fake_fill(window(FIRST + i), 1, (unsigned int)i);
	take_device_pages();
	assert_int_equal(gpusvm_migrate_out_begin(&m, fake_addr(fake, FIRST)),
			 0);
	for (i = 0; i < N; i++)
		assert_int_equal(m.ram[i] != 0, i % 2 == 0);
	copy_to_device();
	assert_int_equal(gpusvm_migrate_out_commit(&m), 0);
	for (i = 0; i < N; i++)
		assert_true(i % 2 ? fake_is_zero(device_memory(i), 1)
				  : fake_matches(device_memory(i), 1,
						 (unsigned int)i));
}

static void out_neighbours_stay(void **state)
{
	(void)state;
	fake_fill(window(0), WINDOW, 2);
	fake_fill(window(FIRST), N, 1);
	assert_int_equal(migrate_out(FIRST), 0);
	/* The pattern of the first pages depends on the first page only. */
	assert_true(fake_matches(window(0), FIRST, 2));
	assert_true(fake_present(fake_addr(fake, FIRST - 1)));
	assert_true(fake_present(fake_addr(fake, FIRST + N)));
	assert_false(any_flag(FAKE_UNMAPPED));
	assert_false(fake->flags[FIRST - 1] & FAKE_TRAPPED);
	assert_false(fake->flags[FIRST + N] & FAKE_TRAPPED);
}

static void out_with_pending_event_settles_first(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_unmap(fake, 40, 2);
	assert_int_equal(migrate_out(FIRST), 0);
	assert_int_equal(fake->nevents, 0);
	/* What was trapped and entered before is done again after the event. */
	assert_int_equal(fake->count[FAKE_OP_TRAP], 2);
	assert_true(fake_matches(device_memory(0), N, 1));
}

/* ---- Refusals ---- */

static void begin_with_all_on_device_returns_efault(void **state)
{
	struct dev_pagemap *first = pgmap;
	unsigned long i;
	struct page *pages[N];

	(void)state;
	fake_fill(window(FIRST), N, 1);
	assert_int_equal(migrate_out(FIRST), 0);
	memcpy(pages, m.pages, sizeof(pages));
	pgmap = fake_devmem_create(N);
	begin(-EFAULT);
	for (i = 0; i < N; i++) {
		assert_int_equal(gpusvm_page_refs(device_page(i)), 0);
		assert_ptr_equal(entry_at(FIRST + i), pages[i]);
	}
	assert_true(fake_devmem_destroy(pgmap));
	pgmap = first;
	memcpy(m.pages, pages, sizeof(pages));
}

static void begin_with_some_on_device_returns_ebusy(void **state)
{
	struct dev_pagemap *other = fake_devmem_create(1);
	unsigned long addr = fake_addr(fake, FIRST + 5);

	(void)state;
	fake_fill(window(FIRST), N, 1);
	assert_int_equal(gpusvm_page_init(other->pages, &owner), 0);
	assert_int_equal(gpusvm_devpt_set(&mm->pt, addr, other->pages), 0);
	begin(-EBUSY);
	assert_int_equal(mm->pt.npages, 1);
	assert_ptr_equal(gpusvm_devpt_clear(&mm->pt, addr), other->pages);
	gpusvm_page_put(other->pages);
	assert_true(fake_devmem_destroy(other));
	assert_undone();
}

static void begin_that_cannot_be_trapped_is_undone(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake_source_fail(fake, FAKE_OP_TRAP, -ENOMEM);
	begin(-ENOMEM);
	fake_source_forget_plans(fake);
	fake_source_fail(fake, FAKE_OP_TRAP, -EINVAL);
	begin(-EBUSY);
	assert_undone();
}

static void begin_without_room_in_the_table_is_undone(void **state)
{
	unsigned int n;
	bool failed;
	int err;

	(void)state;
	fake_fill(window(FIRST), N, 1);
	for (n = 1; n < 10; n++) {
		take_device_pages();
		fail_in = n;
		err = gpusvm_migrate_out_begin(&m, fake_addr(fake, FIRST));
		failed = !fail_in;
		fail_in = 0;
		if (!err)
			break;
		assert_true(failed);
		assert_nothing_on_device();
	}
	/* The entries need one leaf, or two. */
	assert_in_range(n, 2, 3);
	gpusvm_migrate_out_abort(&m);
	assert_undone();
}

/* ---- How long it waits; only naps make time go on ---- */

#define SECOND 1000000000ul
#define OTHER_TID 5000000u /* above the greatest that the kernel gives */

static unsigned long now_ns, give_up_ns;
static bool program_drops;

static bool nap(const unsigned long *args, long *ret)
{
	(void)ret;
	now_ns += args[0];
	if (now_ns > give_up_ns)
		fail_msg("it waits for ever");
	if (program_drops)
		gpusvm_removal_note(mm, fake_addr(fake, FIRST + 2),
				    fake_addr(fake, FIRST + 4));
	return true;
}

/* One other thread, which is runnable and does not run. */
static bool list_other_thread(const unsigned long *args, long *ret)
{
	static bool listed;
	char *entry = (char *)args[1];
	unsigned short length = 32;

	listed = !listed;
	*ret = listed ? length : 0;
	if (listed) {
		memset(entry, 0, length);
		memcpy(entry + 16, &length, sizeof(length));
		snprintf(entry + 19, 12, "%u", OTHER_TID);
	}
	return true;
}

static bool tell_no_cpu_time(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = 0;
	return true;
}

static void stop_the_clock(void)
{
	now_ns = 1000 * SECOND;
	give_up_ns = now_ns + 60 * SECOND;
	program_drops = false;
	fake_sys_clock(&now_ns, 0);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, nap);
	fake_sys_hook(FAKE_SYS_GETDENTS64, list_other_thread);
	fake_sys_hook(FAKE_SYS_THREAD_CPU_NS, tell_no_cpu_time);
	fake_sys_file("/proc/self/task/5000000/stat", "5000000 (name) R 1");
}

/* -EBUSY after a second: there is no second attempt. */
static void begin_in_vain(void)
{
	unsigned long start_ns = now_ns;

	begin(-EBUSY);
	assert_in_range(now_ns - start_ns, SECOND, SECOND + SECOND / 2);
	assert_nothing_on_device();
	assert_true(fake_matches(window(FIRST), N, 1));
	assert_false(any_flag(FAKE_PROTECTED));
}

static void begin_while_events_never_end_returns_ebusy(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	stop_the_clock();
	fake_source_fail(fake, FAKE_OP_SETTLED, -EAGAIN);
	begin_in_vain();
	assert_undone();
}

static void begin_while_removals_never_end_returns_ebusy(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	stop_the_clock();
	program_drops = true;
	gpusvm_removal_note(mm, fake_addr(fake, FIRST + 2),
			    fake_addr(fake, FIRST + 4));
	begin_in_vain();
	/* A caller that does not get on is given up some time. */
	program_drops = false;
	now_ns += 2 * SECOND;
	assert_undone();
}

/* ---- What cannot go ---- */

/* The thread could not go on. */
static void own_stack_and_thread_data_are_busy(void **state)
{
	unsigned long stack = (unsigned long)__builtin_frame_address(0);
	unsigned long thread = (unsigned long)pthread_self();

	(void)state;
	take_device_pages();
	assert_int_equal(gpusvm_migrate_out_begin(
				 &m, (stack & PAGE_MASK) - N / 2 * PAGE_SIZE),
			 -EBUSY);
	take_device_pages();
	assert_int_equal(gpusvm_migrate_out_begin(
				 &m, (thread & PAGE_MASK) - N / 2 * PAGE_SIZE),
			 -EBUSY);
	assert_int_equal(fake->count[FAKE_OP_TAKE], 0);
	assert_int_equal(fake->count[FAKE_OP_TRAP], 0);
	assert_nothing_on_device();
}

/* As one they do not go either, and nothing is begun. */
static void own_stack_keeps_what_would_go_with_it(void **state)
{
	unsigned long stack = (unsigned long)__builtin_frame_address(0);
	struct migration second;

	(void)state;
	assert_int_equal(gpusvm_migration_init(&second, mm, N), 0);
	m.next = &second;
	assert_false(gpusvm_migrate_out_begin_all(
		&m, (stack & PAGE_MASK) - (N + N / 2) * PAGE_SIZE));
	m.next = NULL;
	assert_int_equal(fake->count[FAKE_OP_TAKE], 0);
	assert_int_equal(fake->count[FAKE_OP_TRAP], 0);
	gpusvm_migration_fini(&second);
}

static const struct CMUnitTest moving[] = {
	move_test(out_filled_memory_arrives),
	move_test(own_stack_and_thread_data_are_busy),
	move_test(own_stack_keeps_what_would_go_with_it),
	move_test(out_untouched_memory_has_no_data),
	move_test(out_half_touched_memory_has_holes),
	move_test(out_neighbours_stay),
	move_test(out_with_pending_event_settles_first),
	move_test(begin_with_all_on_device_returns_efault),
	move_test(begin_with_some_on_device_returns_ebusy),
	move_test(begin_that_cannot_be_trapped_is_undone),
	move_test(begin_without_room_in_the_table_is_undone),
	move_test(begin_while_events_never_end_returns_ebusy),
	move_test(begin_while_removals_never_end_returns_ebusy),
};

static const struct CMUnitTest protecting[] = {
	protect_test(out_filled_memory_arrives),
	protect_test(out_untouched_memory_has_no_data),
	protect_test(out_half_touched_memory_has_holes),
	protect_test(out_neighbours_stay),
	protect_test(out_with_pending_event_settles_first),
	protect_test(begin_with_all_on_device_returns_efault),
	protect_test(begin_with_some_on_device_returns_ebusy),
	protect_test(begin_that_cannot_be_trapped_is_undone),
	protect_test(begin_without_room_in_the_table_is_undone),
	protect_test(begin_while_events_never_end_returns_ebusy),
	protect_test(begin_while_removals_never_end_returns_ebusy),
};

int main(void)
{
	int failed;

	failed = cmocka_run_group_tests_name("migrate_out by move", moving,
					     NULL, NULL);
	failed += cmocka_run_group_tests_name("migrate_out by protect",
					      protecting, NULL, NULL);
	return failed;
}
