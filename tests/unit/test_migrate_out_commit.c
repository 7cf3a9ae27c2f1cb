/* SPDX-License-Identifier: MIT */
/*
 * From the CPU to the device, the second half: dropping the pages, undoing on
 * request, and changes of the mapping in between.
 */
#include "unit_migrate_out.h"

/* ---- Dropping ---- */

static void commit_that_cannot_drop_is_undone(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	begin(0);
	copy_to_device();
	fake_sys_fail(FAKE_SYS_MADVISE, -ENOMEM, 1);
	assert_int_equal(gpusvm_migrate_out_commit(&m), -EBUSY);
	gpusvm_migrate_out_abort(&m);
	assert_undone();
}

/* The kernel has two mappings, with a border at FIRST + 6. */
static void copy_two_pieces(void)
{
	fake_fill(window(FIRST), N, 1);
	madvise(window(FIRST + 6), (N - 6) << PAGE_SHIFT, MADV_DONTFORK);
	begin(0);
	copy_to_device();
}

static unsigned int drops;

/* Of two pieces only the first is dropped. */
static bool second_drop_fails(const unsigned long *args, long *ret)
{
	if (args[2] == MADV_DONTNEED && args[0] >= fake->start &&
	    args[0] < fake_addr(fake, WINDOW) && ++drops == 2) {
		*ret = -ENOMEM;
		return true;
	}
	return dontneed_raises_event(args, ret);
}

static void drop_half(void)
{
	copy_two_pieces();
	drops = 0;
	fake_sys_hook(FAKE_SYS_MADVISE, second_drop_fails);
	assert_int_equal(gpusvm_migrate_out_commit(&m), -EBUSY);
	assert_int_equal(drops, 2);
	assert_false(fake_present(fake_addr(fake, FIRST)));
}

static void commit_that_drops_half_is_undone(void **state)
{
	(void)state;
	drop_half();
	gpusvm_migrate_out_abort(&m);
	fake_sys_hook(FAKE_SYS_MADVISE, dontneed_raises_event);
	assert_undone();
}

static void commit_of_locked_memory_uses_dontneed_locked(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	/* Linux 5.18; before it locked pages cannot be dropped, and stay. */
	if (mlock(window(FIRST), N << PAGE_SHIFT) ||
	    madvise(window(FIRST), PAGE_SIZE, MADV_DONTNEED_LOCKED))
		skip();
	fake_fill(window(FIRST), 1, 1);
	assert_int_equal(migrate_out(FIRST), 0);
	assert_on_device(FIRST, 0);
	assert_true(fake_matches(device_memory(0), N, 1));
	munlock(window(FIRST), N << PAGE_SHIFT);
}

static bool program_removes_too(const unsigned long *args, long *ret)
{
	if (args[2] == MADV_DONTNEED && args[0] == fake_addr(fake, FIRST))
		fake_source_push(fake, (struct source_event){
					       .type = SOURCE_REMOVE,
					       .start = fake_addr(fake, 10),
					       .end = fake_addr(fake, 12),
				       });
	return dontneed_raises_event(args, ret);
}

static void commit_honours_removal_by_the_program(void **state)
{
	unsigned long i;

	(void)state;
	fake_fill(window(FIRST), N, 1);
	begin(0);
	copy_to_device();
	fake_sys_hook(FAKE_SYS_MADVISE, program_removes_too);
	assert_int_equal(gpusvm_migrate_out_commit(&m), 0);
	for (i = 0; i < N; i++) {
		if (FIRST + i < 10 || FIRST + i >= 12)
			assert_on_device(FIRST + i, i);
		else
			assert_int_equal(gpusvm_page_refs(device_page(i)), 0);
	}
	assert_null(entry_at(10));
	assert_null(entry_at(11));
	assert_int_equal(owner.refs, 1 + N - 2);
}

/* Pages of the program's that it drops, or unmaps, while ours are dropped. */
#define DROPPED 10ul
#define GONE 20ul

static bool program_removes_and_unmaps(const unsigned long *args, long *ret)
{
	if (args[2] == MADV_DONTNEED && args[0] == fake_addr(fake, FIRST))
		fake_source_unmap(fake, GONE, FIRST + N - GONE);
	return program_removes_too(args, ret);
}

/* Page @i of the window is as it was before the migration. */
static bool came_back(unsigned long i)
{
	return !memcmp(window(i), device_memory(i - FIRST), PAGE_SIZE);
}

static void abort_leaves_dropped_what_the_program_dropped(void **state)
{
	unsigned long i;

	(void)state;
	copy_two_pieces();
	fake_sys_hook(FAKE_SYS_MADVISE, program_removes_and_unmaps);
	/* The first piece is dropped, the second is not what it was. */
	assert_int_equal(gpusvm_migrate_out_commit(&m), -EBUSY);
	assert_false(fake_present(fake_addr(fake, FIRST)));
	assert_true(fake_present(fake_addr(fake, FIRST + 6)));
	gpusvm_migrate_out_abort(&m);
	assert_nothing_on_device();
	assert_false(any_flag(FAKE_PROTECTED));
	for (i = FIRST; i < FIRST + N; i++) {
		if (i == DROPPED || i == DROPPED + 1 || i >= GONE)
			assert_false(fake_present(fake_addr(fake, i)));
		else
			assert_true(came_back(i));
	}
	assert_true(fake_is_zero(window(DROPPED), 2));
}

static bool fails_after_removal(const unsigned long *args, long *ret)
{
	if (args[2] == MADV_DONTNEED && args[0] == fake_addr(fake, FIRST + 6)) {
		*ret = -ENOMEM;
		return true;
	}
	return program_removes_too(args, ret);
}

static void abort_after_failed_madvise_leaves_dropped(void **state)
{
	(void)state;
	copy_two_pieces();
	fake_sys_hook(FAKE_SYS_MADVISE, fails_after_removal);
	assert_int_equal(gpusvm_migrate_out_commit(&m), -EBUSY);
	gpusvm_migrate_out_abort(&m);
	assert_nothing_on_device();
	assert_false(fake_present(fake_addr(fake, DROPPED)));
}

static bool unprotected, entries_gone;

static void look_at_entries(struct fake_source *f, const struct fake_call *call)
{
	unsigned long addr;

	if (call->op != FAKE_OP_PROTECT || call->arg)
		return;
	unprotected = true;
	for (addr = call->start; addr < call->end; addr += PAGE_SIZE)
		entries_gone |= !entry_at((addr - f->start) >> PAGE_SHIFT);
}

/* Without them another migration may protect the pages, for itself. */
static void unprotecting_comes_before_entries_go(void **state)
{
	(void)state;
	unprotected = entries_gone = false;
	fake_fill(window(FIRST), N, 1);
	begin(0);
	fake->hook = look_at_entries;
	gpusvm_migrate_out_abort(&m);
	assert_true(unprotected);
	assert_false(entries_gone);
	/* Also if it cannot begin. */
	unprotected = false;
	fake_sys_fail(FAKE_SYS_PROCESS_VM_READV, -EFAULT, 1);
	begin(-EBUSY);
	fake->hook = NULL;
	assert_true(unprotected);
	assert_false(entries_gone);
	assert_undone();
}

/* ---- Undoing on request ---- */

static void abort_gives_memory_back(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	begin(0);
	gpusvm_migrate_out_abort(&m);
	assert_undone();
}

/* Who waited for it and touches the page again has another fault. */
static void abort_ends_the_waiting_of_who_met_it(void **state)
{
	const pid_t tid =
		5000000; /* above the greatest that the kernel gives */
	unsigned int i;

	(void)state;
	mm->watchdog.limit_ns = 1000000;
	fake_fill(window(FIRST), N, 1);
	begin(0);
	assert_true(gpusvm_watchdog_waits(mm, tid, fake_addr(fake, FIRST + 3),
					  WAIT_MIGRATION, 0));
	assert_int_equal(mm->watchdog.watched[0].tid, tid);
	copy_to_device();
	gpusvm_migrate_out_abort(&m);
	for (i = 0; i < WATCHED; i++)
		assert_int_equal(mm->watchdog.watched[i].tid, 0);
	assert_undone();
}

static void abort_of_untouched_memory_leaves_it_untouched(void **state)
{
	(void)state;
	begin(0);
	gpusvm_migrate_out_abort(&m);
	assert_nothing_on_device();
	assert_false(fake_present(fake_addr(fake, FIRST)));
	assert_false(any_flag(FAKE_PROTECTED));
}

/* ---- Changes of the mapping in between ---- */

static void unmap_in_between_drops_pages(void **state)
{
	unsigned long i;

	(void)state;
	fake_fill(window(FIRST), N, 1);
	begin(0);
	fake_source_unmap(fake, FIRST + 4, 8);
	settle();
	copy_to_device();
	assert_int_equal(gpusvm_migrate_out_commit(&m), 0);
	for (i = 0; i < N; i++) {
		if (i >= 4 && i < 12)
			assert_int_equal(gpusvm_page_refs(device_page(i)), 0);
		else
			assert_on_device(FIRST + i, i);
	}
	assert_int_equal(mm->pt.npages, N - 8);
	assert_int_equal(owner.refs, 1 + N - 8);
}

static void unmap_before_abort_drops_data(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	begin(0);
	fake_source_unmap(fake, FIRST + 4, 8);
	gpusvm_migrate_out_abort(&m);
	assert_nothing_on_device();
	assert_true(fake_matches(window(FIRST), 4, 1));
	assert_false(fake_present(fake_addr(fake, FIRST + 4)));
	assert_true(fake_present(fake_addr(fake, FIRST + 12)));
}

static void remap_in_between_is_followed(void **state)
{
	unsigned long i;

	(void)state;
	fake_fill(window(FIRST), N, 1);
	begin(0);
	fake_source_remap(fake, FIRST, N, 40);
	settle();
	copy_to_device();
	assert_int_equal(gpusvm_migrate_out_commit(&m), 0);
	for (i = 0; i < N; i++) {
		assert_null(entry_at(FIRST + i));
		assert_on_device(40 + i, i);
	}
	assert_true(fake_matches(device_memory(0), N, 1));
}

/* What was copied may be the emptied place: it is given back. */
static void remap_before_dropping_is_undone(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	begin(0);
	copy_to_device();
	fake_source_remap(fake, FIRST, N, 40);
	settle();
	assert_int_equal(gpusvm_migrate_out_commit(&m), -EBUSY);
	gpusvm_migrate_out_abort(&m);
	assert_nothing_on_device();
	assert_true(fake_matches(window(40), N, 1));
}

/* Emptied by mremap() before the pages were taken: try again at most. */
static void remap_then_take(struct fake_source *f, const struct fake_call *call)
{
	if (call->op != FAKE_OP_TAKE)
		return;
	f->hook = NULL;
	fake_source_remap(f, FIRST, N, 40);
}

static void remap_before_taking_is_undone(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	fake->hook = remap_then_take;
	take_device_pages();
	gpusvm_migrate_out_begin(&m, fake_addr(fake, FIRST));
	fake->hook = NULL;
	/* Whatever it says, the data is where the program moved it. */
	assert_null(entry_at(40));
	assert_true(fake_matches(window(40), N, 1));
	if (m.pages[0] && gpusvm_page_refs(m.pages[0]))
		gpusvm_migrate_out_abort(&m);
	assert_nothing_on_device();
}

static void remap_before_abort_is_followed(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	begin(0);
	fake_source_remap(fake, FIRST, N, 40);
	gpusvm_migrate_out_abort(&m);
	assert_nothing_on_device();
	assert_true(fake_matches(window(40), N, 1));
	assert_false(fake_present(fake_addr(fake, FIRST)));
}

static void remove_in_between_drops_pages(void **state)
{
	(void)state;
	fake_fill(window(FIRST), N, 1);
	begin(0);
	fake_source_remove(fake, FIRST, 2);
	settle();
	copy_to_device();
	assert_int_equal(gpusvm_migrate_out_commit(&m), 0);
	assert_null(entry_at(FIRST));
	assert_on_device(FIRST + 2, 2);
	assert_int_equal(owner.refs, 1 + N - 2);
}

static void remove_one(struct fake_source *f, const struct fake_call *call)
{
	if (call->op != FAKE_OP_PROTECT || call->arg)
		return;
	f->hook = NULL;
	fake_source_remove(f, FIRST + 8, 1);
}

static void abort_honours_removal_by_the_program(void **state)
{
	(void)state;
	drop_half();
	fake->hook = remove_one;
	gpusvm_migrate_out_abort(&m);
	fake->hook = NULL;
	assert_true(fake_is_zero(window(FIRST + 8), 1));
}

static const struct CMUnitTest moving[] = {
	move_test(abort_gives_memory_back),
	move_test(abort_ends_the_waiting_of_who_met_it),
	move_test(abort_of_untouched_memory_leaves_it_untouched),
	move_test(unmap_in_between_drops_pages),
	move_test(unmap_before_abort_drops_data),
	move_test(remap_in_between_is_followed),
	move_test(remap_before_abort_is_followed),
	move_test(remap_before_taking_is_undone),
	move_test(remove_in_between_drops_pages),
};

static const struct CMUnitTest protecting[] = {
	protect_test(commit_that_cannot_drop_is_undone),
	protect_test(commit_that_drops_half_is_undone),
	protect_test(abort_honours_removal_by_the_program),
	protect_test(commit_of_locked_memory_uses_dontneed_locked),
	protect_test(commit_honours_removal_by_the_program),
	protect_test(abort_leaves_dropped_what_the_program_dropped),
	protect_test(abort_after_failed_madvise_leaves_dropped),
	protect_test(unprotecting_comes_before_entries_go),
	protect_test(abort_gives_memory_back),
	protect_test(abort_ends_the_waiting_of_who_met_it),
	protect_test(abort_of_untouched_memory_leaves_it_untouched),
	protect_test(unmap_in_between_drops_pages),
	protect_test(remap_before_dropping_is_undone),
	protect_test(remove_in_between_drops_pages),
};

int main(void)
{
	int failed;

	failed = cmocka_run_group_tests_name("migrate_out_commit by move",
					     moving, NULL, NULL);
	failed += cmocka_run_group_tests_name("migrate_out_commit by protect",
					      protecting, NULL, NULL);
	return failed;
}
