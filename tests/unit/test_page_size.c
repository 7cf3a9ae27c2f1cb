/* SPDX-License-Identifier: MIT */
/*
 * The page size: the kernel's, there before other constructors run, and the
 * roundings that come from it.
 */
#include "unit.h"

#include <gpusvm/gpusvm.h>
#include <stdio.h>
#include <unistd.h>

#include "page_size.h"

static unsigned long early_size;

/* One later than the library's, and earlier than all that name no priority. */
__attribute__((constructor(102))) static void use_library_early(void)
{
	early_size = gpusvm_page_size();
}

static void page_size_is_that_of_sysconf(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_page_size(), sysconf(_SC_PAGESIZE));
}

static void page_size_is_there_for_constructors(void **state)
{
	(void)state;
	assert_int_equal(early_size, sysconf(_SC_PAGESIZE));
}

static void shift_and_mask_are_those_of_the_size(void **state)
{
	unsigned long size = (unsigned long)sysconf(_SC_PAGESIZE);

	(void)state;
	assert_int_equal(PAGE_SIZE, size);
	assert_int_equal(1ul << PAGE_SHIFT, size);
	assert_int_equal(PAGE_MASK, -size);
}

static void align_rounds_to_pages(void **state)
{
	unsigned long size = (unsigned long)sysconf(_SC_PAGESIZE);

	(void)state;
	assert_int_equal(PAGE_ALIGN_DOWN(0ul), 0);
	assert_int_equal(PAGE_ALIGN_DOWN(size - 1), 0);
	assert_int_equal(PAGE_ALIGN_DOWN(size), size);
	assert_int_equal(PAGE_ALIGN_DOWN(2 * size - 1), size);
	assert_int_equal(PAGE_ALIGN_DOWN(~0ul), -size);
	assert_int_equal(PAGE_ALIGN_UP(0ul), 0);
	assert_int_equal(PAGE_ALIGN_UP(1ul), size);
	assert_int_equal(PAGE_ALIGN_UP(size), size);
	assert_int_equal(PAGE_ALIGN_UP(size + 1), 2 * size);
	assert_int_equal(PAGE_ALIGN_UP(-size), -size);
}

/* As the kernel has it, if it has any. */
static void huge_page_is_the_kernels(void **state)
{
	FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
			   "r");
	unsigned long size = 0;

	(void)state;
	assert_int_equal(huge_alignment(HUGE_PAGE_SIZE), HUGE_PAGE_SIZE);
	assert_int_equal(huge_alignment(HUGE_PAGE_SIZE - 1), 2ul << 20);
	if (!file) {
		print_message("skipped: this kernel has no huge pages\n");
		skip();
	}
	assert_int_equal(fscanf(file, "%lu", &size), 1);
	fclose(file);
	assert_int_equal(HUGE_PAGE_SIZE, size);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(page_size_is_that_of_sysconf),
		cmocka_unit_test(page_size_is_there_for_constructors),
		cmocka_unit_test(shift_and_mask_are_those_of_the_size),
		cmocka_unit_test(align_rounds_to_pages),
		cmocka_unit_test(huge_page_is_the_kernels),
	};

	return cmocka_run_group_tests_name("page_size", tests, NULL, NULL);
}
