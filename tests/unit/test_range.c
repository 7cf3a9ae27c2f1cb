/* SPDX-License-Identifier: MIT */
/*
 * Ranges: each reason not to make one, and that nothing is left of it; look-up,
 * references, flags, removal.
 */
#include "unit_svm.h"

#include <gpusvm/hooks.h>

static unsigned int range_frees;
static bool no_memory;

static struct drm_gpusvm_range *range_alloc(struct drm_gpusvm *gpusvm)
{
	(void)gpusvm;
	return no_memory ? NULL : gpusvm_alloc(sizeof(struct drm_gpusvm_range));
}

static void range_free(struct drm_gpusvm_range *range)
{
	range_frees++;
	gpusvm_free(range);
}

static const struct drm_gpusvm_ops counting_ops = {
	.range_alloc = range_alloc,
	.range_free = range_free,
	.invalidate = invalidate,
};

static int setup(void **state)
{
	if (svm_setup(state))
		return -1;
	svm->ops = &counting_ops;
	range_frees = 0;
	no_memory = false;
	return 0;
}

/* A refusal that leaves no range, no notifier and no subscription. */
static void assert_refused(unsigned long addr, unsigned long gpuva_start,
			   unsigned long gpuva_end,
			   const struct drm_gpusvm_ctx *ctx, int expected)
{
	size_t blocks = gpusvm_alloc_live();
	struct drm_gpusvm_range *range;

	range = drm_gpusvm_range_find_or_insert(svm, addr, gpuva_start,
						gpuva_end, ctx);
	assert_true(IS_ERR(range));
	assert_int_equal(PTR_ERR(range), expected);
	assert_int_equal(gpusvm_alloc_live(), blocks);
	assert_true(list_empty(&svm->notifier_list));
	assert_null(mm->notifiers.tree.rb_root.rb_node);
}

static void insert_checks_what_it_is_given(void **state)
{
	const struct drm_gpusvm_ctx ctx = { .devmem_possible = 1 };
	unsigned long addr = fake_addr(fake, 0);

	(void)state;
	assert_refused(addr, 0, ~0ul, NULL, -EINVAL);
	svm->mm_start = addr + PAGE_SIZE;
	assert_refused(addr, 0, ~0ul, &ctx, -EINVAL);
	svm->mm_start = addr - PAGE_SIZE;
	svm->mm_range = PAGE_SIZE;
	assert_refused(addr, 0, ~0ul, &ctx, -EINVAL);
	svm->mm_start = 0;
	svm->mm_range = 1ul << 48;
	assert_refused(addr, addr + PAGE_SIZE, ~0ul, &ctx, -EINVAL);
	assert_refused(addr, 0, addr, &ctx, -EINVAL);
	/* The guard before the window is inaccessible, and there is no 0. */
	assert_refused(addr - PAGE_SIZE, 0, ~0ul, &ctx, -EPERM);
	assert_refused(0, 0, ~0ul, &ctx, -ENOENT);
	no_memory = true;
	assert_refused(addr, 0, ~0ul, &ctx, -ENOMEM);
	no_memory = false;
	mm->users = 0;
	assert_refused(addr, 0, ~0ul, &ctx, -EFAULT);
	mm->users = 1;
	assert_false(IS_ERR(fault_at(0)));
}

static void insert_for_writing_needs_the_right(void **state)
{
	const struct drm_gpusvm_ctx write = { 0 }, read = { .read_only = 1 };
	unsigned long addr = fake_addr(fake, 0);
	struct drm_gpusvm_range *range;

	(void)state;
	mprotect(window(0), WINDOW << PAGE_SHIFT, PROT_READ);
	assert_refused(addr, 0, ~0ul, &write, -EPERM);
	range = drm_gpusvm_range_find_or_insert(svm, addr, 0, ~0ul, &read);
	assert_false(IS_ERR(range));
	/* Also if the range is there already. */
	assert_int_equal(PTR_ERR(drm_gpusvm_range_find_or_insert(svm, addr, 0,
								 ~0ul, &write)),
			 -EPERM);
	assert_int_equal(range->flags.migrate_devmem, 0);
	mprotect(window(0), WINDOW << PAGE_SHIFT, PROT_READ | PROT_WRITE);
}

static void insert_watches_the_mapping(void **state)
{
	(void)state;
	assert_false(IS_ERR(fault_at(20)));
	assert_true(fake->flags[0] & FAKE_WATCHED);
	assert_true(fake->flags[WINDOW - 1] & FAKE_WATCHED);
}

/* ---- Changes that were announced ---- */

struct mm_struct *__wrap_gpusvm_mm_current(void);

struct mm_struct *__wrap_gpusvm_mm_current(void)
{
	return mm;
}

static struct gpusvm_change change;
static unsigned int naps;
static unsigned int end_at_nap;
static unsigned long clock_ns;

static bool nap(const unsigned long *args, long *ret)
{
	(void)ret;
	clock_ns += args[0];
	assert_true(list_empty(&svm->notifier_list));
	if (++naps == end_at_nap)
		gpusvm_change_end(&change, false);
	return true;
}

static bool ignore(struct mmu_interval_notifier *notifier,
		   const struct mmu_notifier_range *range,
		   unsigned long cur_seq)
{
	(void)range;
	gpusvm_mmu_interval_set_seq(notifier, cur_seq);
	return true;
}

/* Something must be subscribed there for a change to be announced. */
static void begin_change(struct mmu_interval_notifier *notifier)
{
	static const struct mmu_interval_notifier_ops nobody = {
		.invalidate = ignore,
	};

	naps = 0;
	fake_sys_hook(FAKE_SYS_NANOSLEEP, nap);
	fake_sys_clock(&clock_ns, 0);
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(
				 notifier, mm, fake_addr(fake, 0), PAGE_SIZE,
				 &nobody),
			 0);
	gpusvm_change_begin(&change, MMU_NOTIFY_CLEAR, window(0), PAGE_SIZE);
	assert_non_null(change.priv);
}

static void insert_waits_for_a_change_that_goes_on(void **state)
{
	struct mmu_interval_notifier notifier;
	struct drm_gpusvm_range *range;

	(void)state;
	begin_change(&notifier);
	end_at_nap = 5;
	range = fault_at(0);
	assert_false(IS_ERR(range));
	assert_int_equal(naps, 5);
	/* What was made in vain is gone. */
	assert_true(range_frees >= 1);
	gpusvm_mmu_interval_notifier_remove(&notifier);
}

static void insert_into_a_change_without_end_returns_ebusy(void **state)
{
	struct mmu_interval_notifier notifier;

	(void)state;
	begin_change(&notifier);
	end_at_nap = 0;
	assert_int_equal(PTR_ERR(fault_at(0)), -EBUSY);
	assert_true(naps > 1000);
	assert_true(list_empty(&svm->notifier_list));
	gpusvm_change_end(&change, false);
	/* Elsewhere in the same notifier nothing waits. */
	naps = 0;
	gpusvm_change_begin(&change, MMU_NOTIFY_CLEAR, window(0), PAGE_SIZE);
	assert_false(IS_ERR(fault_at(2 * N)));
	assert_int_equal(naps, 0);
	gpusvm_change_end(&change, false);
	gpusvm_mmu_interval_notifier_remove(&notifier);
}

static void find_returns_the_first_that_overlaps(void **state)
{
	struct drm_gpusvm_range *a = fault_at(0), *b = fault_at(2 * N);
	struct drm_gpusvm_notifier *notifier = a->notifier;
	unsigned long end_of_a = drm_gpusvm_range_end(a);

	(void)state;
	assert_ptr_equal(fault_at(N - 1), a);
	assert_ptr_equal(b->notifier, notifier);
	assert_ptr_equal(drm_gpusvm_range_find(notifier, 0, ~0ul), a);
	assert_ptr_equal(drm_gpusvm_range_find(notifier, end_of_a - 1, ~0ul),
			 a);
	assert_ptr_equal(drm_gpusvm_range_find(notifier, end_of_a, ~0ul), b);
	assert_null(drm_gpusvm_range_find(notifier, end_of_a,
					  drm_gpusvm_range_start(b)));
	assert_null(
		drm_gpusvm_range_find(notifier, end_of_a - 1, end_of_a - 1));
	assert_null(drm_gpusvm_range_find(notifier, ~0ul, 0));
}

static void remove_frees_when_nobody_refers_to_it(void **state)
{
	struct drm_gpusvm_range *a = fault_at(0), *b = fault_at(N);

	(void)state;
	assert_ptr_equal(drm_gpusvm_range_get(a), a);
	drm_gpusvm_range_remove(svm, a);
	assert_int_equal(range_frees, 0);
	assert_int_equal(drm_gpusvm_range_size(a), N * PAGE_SIZE);
	assert_false(list_empty(&svm->notifier_list));
	/* A second time is told, and does no harm. */
	drm_gpusvm_range_remove(svm, a);
	assert_int_equal(a->refcount.refcount, 1);
	drm_gpusvm_range_put(a);
	assert_int_equal(range_frees, 1);
	/* The notifier goes with the last one. */
	drm_gpusvm_range_remove(svm, b);
	assert_int_equal(range_frees, 2);
	assert_true(list_empty(&svm->notifier_list));
	assert_null(mm->notifiers.tree.rb_root.rb_node);
}

static void remove_of_mapped_range_unmaps_it(void **state)
{
	struct drm_gpusvm_range *range = filled_range();

	(void)state;
	assert_int_equal(get_pages(range), 0);
	assert_true(maps > unmaps);
	drm_gpusvm_range_remove(svm, range);
	assert_int_equal(maps, unmaps);
}

static void set_unmapped(struct drm_gpusvm_range *range, unsigned long first,
			 unsigned long end)
{
	struct mmu_notifier_range event = {
		.mm = mm,
		.start = fake_addr(fake, first),
		.end = fake_addr(fake, end),
		.event = MMU_NOTIFY_UNMAP,
	};

	gpusvm_down_write(&svm->notifier_lock);
	drm_gpusvm_range_set_unmapped(range, &event);
	gpusvm_up_write(&svm->notifier_lock);
}

static void set_unmapped_tells_all_from_a_part(void **state)
{
	struct drm_gpusvm_range *whole = fault_at(0), *more = fault_at(N);
	struct drm_gpusvm_range *head = fault_at(2 * N);
	struct drm_gpusvm_range *tail = fault_at(3 * N);

	(void)state;
	set_unmapped(whole, 0, N);
	set_unmapped(more, N - 1, 2 * N + 1);
	set_unmapped(head, 2 * N, 2 * N + 1);
	set_unmapped(tail, 4 * N - 1, 4 * N);
	assert_int_equal(whole->flags.unmapped, 1);
	assert_int_equal(whole->flags.partial_unmap, 0);
	assert_int_equal(more->flags.partial_unmap, 0);
	assert_int_equal(head->flags.unmapped, 1);
	assert_int_equal(head->flags.partial_unmap, 1);
	assert_int_equal(tail->flags.partial_unmap, 1);
	/* Once a part, always a part. */
	set_unmapped(head, 2 * N, 3 * N);
	assert_int_equal(head->flags.partial_unmap, 1);
	assert_int_equal(head->flags.migrate_devmem, 1);
}

#define range_test(fn) cmocka_unit_test_setup_teardown(fn, setup, svm_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		range_test(insert_checks_what_it_is_given),
		range_test(insert_for_writing_needs_the_right),
		range_test(insert_watches_the_mapping),
		range_test(insert_waits_for_a_change_that_goes_on),
		range_test(insert_into_a_change_without_end_returns_ebusy),
		range_test(find_returns_the_first_that_overlaps),
		range_test(remove_frees_when_nobody_refers_to_it),
		range_test(remove_of_mapped_range_unmaps_it),
		range_test(set_unmapped_tells_all_from_a_part),
	};

	return cmocka_run_group_tests_name("range", tests, NULL, NULL);
}
