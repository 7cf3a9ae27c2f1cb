/* SPDX-License-Identifier: MIT */
/* Populated pages, on this kernel and on one without MADV_POPULATE_*. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "fake_sys.h"
#include "page_size.h"
#include "populate.h"
#include "uapi.h"

/* More than the library reads at once. */
#define NPAGES 150ul

static bool without_populate(const unsigned long *args, long *ret)
{
	if (args[2] != MADV_POPULATE_READ && args[2] != MADV_POPULATE_WRITE)
		return false;
	*ret = -EINVAL;
	return true;
}

static unsigned char *map(unsigned long npages)
{
	void *mem = mmap(NULL, npages << PAGE_SHIFT, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(mem, MAP_FAILED);
	return mem;
}

static void unmap(unsigned char *mem, unsigned long npages)
{
	assert_int_equal(munmap(mem, npages << PAGE_SHIFT), 0);
}

static int populate(const unsigned char *mem, unsigned long npages, bool write)
{
	return gpusvm_populate_pages((unsigned long)mem, npages << PAGE_SHIFT,
				     write);
}

/* Of the pages how many are there (bit 63), and no zero page (bit 56). */
static unsigned long pages_of_its_own(const unsigned char *mem)
{
	unsigned long i, n = 0;
	FILE *file = fopen("/proc/self/pagemap", "r");
	uint64_t entries[NPAGES];

	assert_non_null(file);
	/* Entries as a whole, whatever libc would read. */
	setvbuf(file, NULL, _IONBF, 0);
	assert_int_equal(fseek(file,
			       (long)(((unsigned long)mem >> PAGE_SHIFT) *
				      sizeof(entries[0])),
			       SEEK_SET),
			 0);
	assert_int_equal(fread(entries, sizeof(entries[0]), NPAGES, file),
			 NPAGES);
	fclose(file);
	for (i = 0; i < NPAGES; i++)
		n += (entries[i] >> 63 & 1) && (entries[i] >> 56 & 1);
	return n;
}

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	return 0;
}

static int setup_old(void **state)
{
	setup(state);
	fake_sys_hook(FAKE_SYS_MADVISE, without_populate);
	return 0;
}

static void pages_come_and_data_stays(void **state)
{
	unsigned char *mem = map(NPAGES), in_core[NPAGES];
	unsigned long i;
	unsigned int how;

	(void)state;
	mem[0] = 1;
	memset(mem + (70 << PAGE_SHIFT), 0x5a, PAGE_SIZE);
	for (how = 0; how < 2; how++) {
		assert_int_equal(populate(mem, NPAGES, how), 0);
		assert_int_equal(mincore(mem, NPAGES << PAGE_SHIFT, in_core),
				 0);
		for (i = 0; i < NPAGES; i++)
			assert_int_equal(in_core[i] & 1, 1);
		assert_int_equal(mem[0], 1);
		assert_int_equal(mem[70 << PAGE_SHIFT], 0x5a);
		assert_int_equal(mem[(71 << PAGE_SHIFT) - 1], 0x5a);
		assert_int_equal(mem[(NPAGES << PAGE_SHIFT) - 1], 0);
	}
	unmap(mem, NPAGES);
}

static void writing_takes_pages_of_its_own(void **state)
{
	unsigned char *mem = map(NPAGES);

	(void)state;
	madvise(mem, NPAGES << PAGE_SHIFT, MADV_NOHUGEPAGE);
	assert_int_equal(populate(mem, NPAGES, false), 0);
	assert_int_equal(pages_of_its_own(mem), 0);
	assert_int_equal(populate(mem, NPAGES, true), 0);
	assert_int_equal(pages_of_its_own(mem), NPAGES);
	unmap(mem, NPAGES);
}

static void what_cannot_be_had_is_an_error(void **state)
{
	unsigned char *mem = map(4);

	(void)state;
	assert_int_equal(munmap(mem + 3 * PAGE_SIZE, PAGE_SIZE), 0);
	assert_true(populate(mem, 4, false) < 0);
	assert_true(populate(mem, 4, true) < 0);
	assert_int_equal(populate(mem, 3, true), 0);
	assert_int_equal(mprotect(mem, PAGE_SIZE, PROT_NONE), 0);
	assert_true(populate(mem, 3, false) < 0);
	assert_int_equal(mprotect(mem, PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(populate(mem, 3, false), 0);
	assert_true(populate(mem, 3, true) < 0);
	unmap(mem, 3);
}

/* Of a kernel that has it -EINVAL is an answer. */
static void other_errors_are_passed_on(void **state)
{
	unsigned char *mem = map(1);

	(void)state;
	fake_sys_fail(FAKE_SYS_MADVISE, -EHWPOISON, 1);
	assert_int_equal(populate(mem, 1, true), -EHWPOISON);
	if (!madvise(NULL, 0, MADV_POPULATE_WRITE)) {
		fake_sys_fail(FAKE_SYS_MADVISE, -EINVAL, 1);
		assert_int_equal(populate(mem, 1, true), -EINVAL);
	}
	assert_int_equal(fake_sys_calls(FAKE_SYS_PROCESS_VM_READV), 0);
	unmap(mem, 1);
}

static void page_kept_from_writers_returns_eagain(void **state)
{
	unsigned char *mem = map(1);

	(void)state;
	fake_sys_fail(FAKE_SYS_FUTEX_OR_NOTHING, -EFAULT, 1);
	assert_int_equal(populate(mem, 1, true), -EAGAIN);
	fake_sys_fail(FAKE_SYS_PROCESS_VM_READV, -EPERM, 1);
	assert_int_equal(populate(mem, 1, true), -EPERM);
	unmap(mem, 1);
}

#define new_test(fn) cmocka_unit_test_setup(fn, setup)
#define old_test(fn) cmocka_unit_test_setup(fn, setup_old)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		new_test(pages_come_and_data_stays),
		new_test(writing_takes_pages_of_its_own),
		new_test(what_cannot_be_had_is_an_error),
		new_test(other_errors_are_passed_on),
	};
	static const struct CMUnitTest old[] = {
		old_test(pages_come_and_data_stays),
		old_test(writing_takes_pages_of_its_own),
		old_test(what_cannot_be_had_is_an_error),
		old_test(page_kept_from_writers_returns_eagain),
	};
	int failed;

	failed = cmocka_run_group_tests_name("populate", tests, NULL, NULL);
	failed += cmocka_run_group_tests_name("populate before Linux 5.14", old,
					      NULL, NULL);
	return failed;
}
