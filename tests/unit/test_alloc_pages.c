/* SPDX-License-Identifier: MIT */
/*
 * Pages of the private allocator: where they are, and that nothing of what was
 * done to them is left when they are given out again.
 */
#include "unit_alloc.h"

#include <gpusvm/gpusvm.h>
#include <string.h>
#include <sys/mman.h>

static void alloc_pages_with_alignment_is_aligned_and_zeroed(void **state)
{
	size_t live = gpusvm_alloc_live(), align;
	char *ptr[2];

	(void)state;
	for (align = PAGE_SIZE; align <= 64 * MIB; align *= 2) {
		ptr[0] = gpusvm_alloc_pages(3 * PAGE_SIZE, align);
		ptr[1] = gpusvm_alloc_pages(256 * KIB, align);
		assert_non_null(ptr[0]);
		assert_non_null(ptr[1]);
		assert_int_equal((uintptr_t)ptr[0] % align, 0);
		assert_int_equal((uintptr_t)ptr[1] % align, 0);
		assert_true(all_bytes(ptr[0], 0, 3 * PAGE_SIZE));
		assert_true(all_bytes(ptr[1], 0, 256 * KIB));
		memset(ptr[0], 1, 3 * PAGE_SIZE);
		memset(ptr[1], 1, 256 * KIB);
		gpusvm_free_pages(ptr[0], 3 * PAGE_SIZE);
		gpusvm_free_pages(ptr[1], 256 * KIB);
	}
	assert_int_equal(gpusvm_alloc_live(), live);
	assert_null(gpusvm_alloc_pages(0, PAGE_SIZE));
	assert_null(gpusvm_alloc_pages(SIZE_MAX & PAGE_MASK, PAGE_SIZE));
	assert_null(gpusvm_alloc_pages(PAGE_SIZE, 1ul << 63));
}

static void free_pages_with_guard_makes_them_accessible(void **state)
{
	size_t size = 256 * KIB;
	char *stack = gpusvm_alloc_pages(size, PAGE_SIZE), *again;

	(void)state;
	assert_int_equal(gpusvm_sys_mprotect((unsigned long)stack, PAGE_SIZE,
					     PROT_NONE),
			 0);
	gpusvm_free_pages(stack, size);
	again = gpusvm_alloc_pages(size, PAGE_SIZE);
	assert_ptr_equal(again, stack);
	memset(again, 1, size);
	gpusvm_free_pages(again, size);
}

/* Whether the mapping of @ptr has a flag, two letters as in proc(5). */
static bool has_vm_flag(const void *ptr, const char *flag)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	unsigned long start, end, address = (unsigned long)ptr;
	bool here = false, has = false;
	char line[512];

	assert_non_null(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = address >= start && address < end;
		else if (here && !strncmp(line, "VmFlags:", 8))
			has = strstr(line + 8, flag) != NULL;
	}
	fclose(smaps);
	return has;
}

/* The policy of memory: 0 is none, 2 is to be on some nodes only. */
static int memory_policy(const void *ptr)
{
	int mode = -1;

	if (gpusvm_sys_get_mempolicy(&mode, NULL, 0, (unsigned long)ptr, 2))
		return -1;
	return mode;
}

/* Whether a child finds all of it to be @value. */
static bool child_has(const void *ptr, unsigned char value, size_t size)
{
	pid_t child = fork();

	if (!child)
		_exit(!all_bytes(ptr, value, size));
	return exit_status(child) == 0;
}

static void free_pages_with_advice_starts_anew(void **state)
{
	const unsigned long node_0 = 1;
	size_t size = MIB, part = 256 * KIB;
	char *ptr = gpusvm_alloc_pages(size, PAGE_SIZE), *again;
	bool bound;

	(void)state;
	assert_non_null(ptr);
	memset(ptr, 1, size);
	assert_int_equal(gpusvm_sys_madvise((unsigned long)ptr + part,
					    size - part, MADV_DONTFORK),
			 0);
	bound = !gpusvm_sys_mbind((unsigned long)ptr + part, part, 2, &node_0,
				  2, 0);
	assert_true(has_vm_flag(ptr + part, " dc"));
	assert_true(!bound || memory_policy(ptr + part) == 2);
	gpusvm_free_pages(ptr, size);

	again = gpusvm_alloc_pages(size, PAGE_SIZE);
	assert_ptr_equal(again, ptr);
	assert_false(has_vm_flag(again, " dc"));
	assert_false(has_vm_flag(again + part, " dc"));
	assert_true(!bound || memory_policy(again + part) == 0);
	assert_true(all_bytes(again, 0, size));
	memset(again, 3, size);
	assert_true(child_has(again, 3, size));
	gpusvm_free_pages(again, size);
}

/* What was pages may be a block the next time. */
static void block_where_advised_pages_were_is_in_a_child(void **state)
{
	size_t size = 4 * MIB;
	char *ptr = gpusvm_alloc_pages(size, PAGE_SIZE), *block;
	bool good;

	(void)state;
	assert_non_null(ptr);
	assert_int_equal(
		gpusvm_sys_madvise((unsigned long)ptr, size, MADV_DONTFORK), 0);
	gpusvm_free_pages(ptr, size);
	block = gpusvm_alloc(size);
	assert_ptr_equal(block, ptr);
	memset(block, 5, size);
	good = child_has(block, 5, size);
	gpusvm_free(block);
	assert_true(good);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			alloc_pages_with_alignment_is_aligned_and_zeroed),
		cmocka_unit_test(free_pages_with_guard_makes_them_accessible),
		cmocka_unit_test(free_pages_with_advice_starts_anew),
		cmocka_unit_test(block_where_advised_pages_were_is_in_a_child),
	};

	return cmocka_run_group_tests_name("alloc_pages", tests, NULL, NULL);
}
