/* SPDX-License-Identifier: MIT */
/*
 * Which pages are there: by the ioctl and by reading /proc/self/pagemap, which
 * must agree as far as the latter can tell.
 */
#include "unit.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <string.h>
#include <sys/mman.h>

#include "compiler.h"
#include "fake_sys.h"
#include "mm.h"
#include "page_size.h"
#include "scan.h"

#define NPAGES 700ul

static uint64_t seed;
static struct mm_struct mm;
static bool have_ioctl;
static unsigned char *mem;

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	memset(&mm, 0, sizeof(mm));
	if (gpusvm_scan_open(&mm))
		return -1;
	have_ioctl = mm.features & GPUSVM_FEATURE_PAGEMAP_SCAN;
	mem = mmap(NULL, NPAGES << PAGE_SHIFT, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(mem, NPAGES << PAGE_SHIFT, MADV_NOHUGEPAGE);
	return mem == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(mem, NPAGES << PAGE_SHIFT);
	gpusvm_scan_close(&mm);
	fake_sys_reset();
	return 0;
}

static unsigned long page(unsigned long i)
{
	return (unsigned long)mem + (i << PAGE_SHIFT);
}

static int scan(bool ioctl, unsigned long first, unsigned long n,
		unsigned char *state)
{
	memset(state, 0xff, n);
	mm.features = ioctl ? GPUSVM_FEATURE_PAGEMAP_SCAN : 0;
	return gpusvm_scan_pages(&mm, page(first), n, state);
}

static void scan_of_touched_pages_finds_them_both_ways(void **state)
{
	unsigned char touched[NPAGES] = { 0 }, found[NPAGES];
	uint64_t random = seed;
	unsigned long i;
	int ioctl;

	(void)state;
	for (i = 0; i < 200; i++)
		touched[unit_random_below(&random, NPAGES)] = 1;
	for (i = 0; i < NPAGES; i++)
		if (touched[i])
			*(volatile unsigned char *)page(i) = 1;
	for (ioctl = 0; ioctl <= have_ioctl; ioctl++) {
		assert_int_equal(scan(ioctl, 0, NPAGES, found), 0);
		for (i = 0; i < NPAGES; i++)
			assert_int_equal(found[i],
					 touched[i] ? PAGE_IS_PRESENT : 0);
	}
}

/* More regions than one call returns. */
static void scan_of_every_second_page_finds_them_all(void **state)
{
	unsigned char found[NPAGES];
	unsigned long i;
	int ioctl;

	(void)state;
	for (i = 0; i < NPAGES; i += 2)
		*(volatile unsigned char *)page(i) = 1;
	for (ioctl = 0; ioctl <= have_ioctl; ioctl++) {
		assert_int_equal(scan(ioctl, 1, NPAGES - 1, found), 0);
		for (i = 1; i < NPAGES; i++)
			assert_int_equal(found[i - 1],
					 i % 2 ? 0 : PAGE_IS_PRESENT);
	}
}

static void scan_tells_zero_pages(void **state)
{
	unsigned char found[3];

	(void)state;
	if (!have_ioctl)
		skip();
	assert_int_equal(*(volatile unsigned char *)page(1), 0);
	*(volatile unsigned char *)page(2) = 1;
	assert_int_equal(scan(true, 0, 3, found), 0);
	assert_int_equal(found[0], 0);
	assert_int_equal(found[1], PAGE_IS_PRESENT | PAGE_IS_PFNZERO);
	assert_int_equal(found[2], PAGE_IS_PRESENT);
}

static void scan_faults_nothing_in(void **state)
{
	unsigned char found[NPAGES];
	unsigned long i;

	(void)state;
	assert_int_equal(scan(have_ioctl, 0, NPAGES, found), 0);
	assert_int_equal(scan(false, 0, NPAGES, found), 0);
	for (i = 0; i < NPAGES; i++)
		assert_int_equal(found[i], 0);
}

static void scan_of_unmapped_memory_finds_nothing(void **state)
{
	unsigned char found[4];
	int ioctl;

	(void)state;
	memset(mem, 1, 4 << PAGE_SHIFT);
	munmap((void *)page(1), 2 << PAGE_SHIFT);
	for (ioctl = 0; ioctl <= have_ioctl; ioctl++) {
		assert_int_equal(scan(ioctl, 0, 4, found), 0);
		assert_int_equal(found[0], PAGE_IS_PRESENT);
		assert_int_equal(found[1], 0);
		assert_int_equal(found[2], 0);
		assert_int_equal(found[3], PAGE_IS_PRESENT);
	}
}

/* What /proc/self/pagemap says of a swapped page. */
static bool one_swapped(const unsigned long *args, long *ret)
{
	uint64_t *entry = (uint64_t *)args[1];

	memset(entry, 0, args[2]);
	entry[1] = 1ull << 62;
	entry[2] = 1ull << 63 | 1ull << 61;
	*ret = (long)args[2];
	return true;
}

static void scan_by_read_tells_swapped_pages(void **state)
{
	unsigned char found[3];

	(void)state;
	fake_sys_hook(FAKE_SYS_PREAD, one_swapped);
	assert_int_equal(scan(false, 0, 3, found), 0);
	assert_int_equal(found[0], 0);
	assert_int_equal(found[1], PAGE_IS_SWAPPED);
	assert_int_equal(found[2], PAGE_IS_PRESENT);
}

static void scan_that_fails_returns_the_error(void **state)
{
	unsigned char found[NPAGES];

	(void)state;
	fake_sys_fail(FAKE_SYS_PAGEMAP_SCAN, -EFAULT, 1);
	assert_int_equal(scan(true, 0, 4, found), -EFAULT);
	fake_sys_fail(FAKE_SYS_PREAD, -EIO, 2);
	assert_int_equal(scan(false, 0, NPAGES, found), -EIO);
	/* Less than was asked for is no answer. */
	fake_sys_fail(FAKE_SYS_PREAD, 8, 1);
	assert_int_equal(scan(false, 0, 4, found), -EFAULT);
}

static void open_on_old_kernel_reads(void **state)
{
	struct mm_struct other = { 0 };

	(void)state;
	fake_sys_fail(FAKE_SYS_PAGEMAP_SCAN, -ENOTTY, 1);
	assert_int_equal(gpusvm_scan_open(&other), 0);
	assert_int_equal(other.features, 0);
	gpusvm_scan_close(&other);
	fake_sys_fail(FAKE_SYS_OPEN, -EACCES, 1);
	assert_int_equal(gpusvm_scan_open(&other), -EACCES);
}

#define scan_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		scan_test(scan_of_touched_pages_finds_them_both_ways),
		scan_test(scan_of_every_second_page_finds_them_all),
		scan_test(scan_tells_zero_pages),
		scan_test(scan_faults_nothing_in),
		scan_test(scan_of_unmapped_memory_finds_nothing),
		scan_test(scan_by_read_tells_swapped_pages),
		scan_test(scan_that_fails_returns_the_error),
		scan_test(open_on_old_kernel_reads),
	};

	seed = unit_seed();
	return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
