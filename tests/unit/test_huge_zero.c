/* SPDX-License-Identifier: MIT */
/* Which kernels cannot move the huge zero page, and how it is kept from them. */
#include "unit.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <string.h>

#include "fake_sys.h"
#include "huge_zero.h"
#include "mm.h"
#include "page_size.h"
#include "scan.h"

#define HUGE_SIZE (2ul << 20)
#define BASE (64 * HUGE_SIZE)

static struct mm_struct mm;
/* What is at the beginning of each of these huge pages. */
static unsigned char states[4];

static bool scan(const unsigned long *args, long *ret)
{
	struct pm_scan_arg *arg = (struct pm_scan_arg *)args[1];
	struct page_region *region =
		(struct page_region *)(unsigned long)arg->vec;

	region->start = arg->start;
	region->end = arg->end;
	region->categories = states[(arg->start - BASE) / HUGE_SIZE];
	arg->walk_end = arg->end;
	*ret = region->categories ? 1 : 0;
	return true;
}

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	fake_sys_hook(FAKE_SYS_PAGEMAP_SCAN, scan);
	mm = (struct mm_struct){ .features = GPUSVM_FEATURE_PAGEMAP_SCAN,
				 .splits_huge_zero = true };
	memset(states, PAGE_IS_PRESENT | PAGE_IS_HUGE, sizeof(states));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_sys_reset();
	return 0;
}

static unsigned long clip(unsigned long offset, unsigned long len)
{
	return gpusvm_huge_zero_clip(&mm, BASE + offset, len);
}

static void kernels_with_the_fault_are_known(void **state)
{
	(void)state;
	assert_true(gpusvm_huge_zero_is_spoiled("6.16.0"));
	assert_true(gpusvm_huge_zero_is_spoiled("6.16.12+deb13-cloud-amd64\n"));
	assert_true(gpusvm_huge_zero_is_spoiled("6.17.13"));
	assert_true(gpusvm_huge_zero_is_spoiled("6.18-rc3"));
	assert_true(gpusvm_huge_zero_is_spoiled("6.18.19"));
	assert_true(gpusvm_huge_zero_is_spoiled("6.19"));
	assert_true(gpusvm_huge_zero_is_spoiled("6.19.9"));
	assert_false(gpusvm_huge_zero_is_spoiled("6.18.20"));
	assert_false(gpusvm_huge_zero_is_spoiled("6.18.44-other"));
	assert_false(gpusvm_huge_zero_is_spoiled("6.19.10"));
	assert_false(gpusvm_huge_zero_is_spoiled("6.15.16"));
	assert_false(gpusvm_huge_zero_is_spoiled("6.1.0-56-cloud-amd64"));
	assert_false(gpusvm_huge_zero_is_spoiled("5.17.0"));
	assert_false(gpusvm_huge_zero_is_spoiled("7.16.0"));
	assert_false(gpusvm_huge_zero_is_spoiled(""));
}

static void other_kernels_move_everything_at_once(void **state)
{
	(void)state;
	states[0] = PAGE_IS_PRESENT | PAGE_IS_HUGE | PAGE_IS_PFNZERO;
	mm.splits_huge_zero = false;
	assert_int_equal(clip(0, 4 * HUGE_SIZE), 4 * HUGE_SIZE);
	assert_int_equal(fake_sys_calls(FAKE_SYS_PAGEMAP_SCAN), 0);
}

static void data_is_moved_at_once(void **state)
{
	(void)state;
	states[1] = PAGE_IS_PRESENT;
	states[2] = PAGE_IS_SWAPPED;
	/* A small one, so there is a page table. */
	states[3] = PAGE_IS_PRESENT | PAGE_IS_PFNZERO;
	assert_int_equal(clip(0, 4 * HUGE_SIZE), 4 * HUGE_SIZE);
}

static void huge_zero_page_is_moved_in_pieces(void **state)
{
	(void)state;
	states[1] = PAGE_IS_PRESENT | PAGE_IS_HUGE | PAGE_IS_PFNZERO;
	assert_int_equal(clip(0, 4 * HUGE_SIZE), HUGE_SIZE);
	assert_int_equal(clip(HUGE_SIZE, 3 * HUGE_SIZE), PAGE_SIZE);
	assert_int_equal(clip(HUGE_SIZE + PAGE_SIZE, 3 * HUGE_SIZE - PAGE_SIZE),
			 3 * HUGE_SIZE - PAGE_SIZE);
	/* Less than a huge page is small for the kernel, too. */
	assert_int_equal(clip(HUGE_SIZE, HUGE_SIZE - PAGE_SIZE),
			 HUGE_SIZE - PAGE_SIZE);
}

static void what_may_become_one_is_moved_in_pieces(void **state)
{
	(void)state;
	states[0] = 0;
	assert_int_equal(clip(0, HUGE_SIZE), PAGE_SIZE);
	states[0] = PAGE_IS_PRESENT;
	fake_sys_fail(FAKE_SYS_PAGEMAP_SCAN, -ENOMEM, 1);
	assert_int_equal(clip(0, HUGE_SIZE), PAGE_SIZE);
}

#define huge_zero_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		huge_zero_test(kernels_with_the_fault_are_known),
		huge_zero_test(other_kernels_move_everything_at_once),
		huge_zero_test(data_is_moved_at_once),
		huge_zero_test(huge_zero_page_is_moved_in_pieces),
		huge_zero_test(what_may_become_one_is_moved_in_pieces),
	};

	return cmocka_run_group_tests_name("huge_zero", tests, NULL, NULL);
}
