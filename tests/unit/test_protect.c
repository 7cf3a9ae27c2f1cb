/* SPDX-License-Identifier: MIT */
/*
 * The source by protection, on real memory: taking, giving back, and every
 * system call on the way failing.
 */
#include "unit_fds.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc.h"
#include "fake_sys.h"
#include "page_size.h"
#include "populate.h"
#include "source.h"
#include "trapped.h"

#define RW (PROT_READ | PROT_WRITE)
#define PAGES 4ul
#define SIZE (PAGES << PAGE_SHIFT)

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);
void *__real_gpusvm_alloc_pages(size_t size, size_t align);
void *__wrap_gpusvm_alloc_pages(size_t size, size_t align);

static unsigned int fail_in;
static size_t blocks_before;
static unsigned int fds_before;
static struct source *source;
static unsigned char *mem, *staging;

static bool fails_now(void)
{
	return fail_in && !--fail_in;
}

void *__wrap_gpusvm_alloc(size_t size)
{
	return fails_now() ? NULL : __real_gpusvm_alloc(size);
}

void *__wrap_gpusvm_alloc_pages(size_t size, size_t align)
{
	return fails_now() ? NULL : __real_gpusvm_alloc_pages(size, align);
}

static unsigned char *map(void)
{
	void *area = mmap(NULL, SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(area, MAP_FAILED);
	return area;
}

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	fail_in = 0;
	blocks_before = gpusvm_alloc_live();
	fds_before = unit_count_fds();
	mem = map();
	staging = map();
	source = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_sys_reset();
	if (source)
		source->ops->close(source);
	munmap(mem, SIZE);
	munmap(staging, SIZE);
	assert_int_equal(unit_count_fds(), fds_before);
	assert_int_equal(gpusvm_alloc_live(), blocks_before);
	return 0;
}

static void open_manual(void)
{
	assert_int_equal(gpusvm_protect_open(GPUSVM_SOURCE_MANUAL, &source), 0);
	assert_string_equal(source->ops->name, "manual");
	assert_int_equal(source->features, 0);
}

static unsigned long at(const unsigned char *area)
{
	return (unsigned long)area;
}

/* What the kernel may do for us it does for everybody: who may read it? */
static bool is_accessible(unsigned char *area)
{
	return !gpusvm_populate_pages(at(area), SIZE, true);
}

static void take_all(void)
{
	memset(mem, 5, SIZE);
	assert_int_equal(
		source->ops->guard(source, at(mem), at(mem) + SIZE, RW), 0);
	assert_false(is_accessible(mem));
	assert_int_equal(source->ops->take(source, at(staging), at(mem), SIZE),
			 SIZE);
}

static void taken_pages_are_in_staging_and_come_back(void **state)
{
	unsigned long start = at(mem), end = start + SIZE;

	(void)state;
	open_manual();
	take_all();
	assert_int_equal(staging[0], 5);
	assert_int_equal(staging[SIZE - 1], 5);
	assert_false(is_accessible(mem));
	assert_int_equal(source->ops->guarded(source, at(mem), &start, &end),
			 RW);
	memset(staging, 6, SIZE);
	/* The pages themselves stay where they are. */
	assert_int_equal(source->ops->move(source, at(mem), at(staging), SIZE),
			 -EINVAL);
	assert_int_equal(source->ops->copy(source, at(mem), at(staging), SIZE),
			 SIZE);
	assert_int_equal(mem[0], 6);
	assert_int_equal(mem[SIZE - 1], 6);
	assert_int_equal(gpusvm_trapped_count(), 0);
}

static void part_comes_back(void **state)
{
	(void)state;
	open_manual();
	take_all();
	assert_int_equal(source->ops->copy(source, at(mem) + PAGE_SIZE,
					   at(staging), PAGE_SIZE),
			 PAGE_SIZE);
	assert_int_equal(mem[PAGE_SIZE], 5);
	assert_false(is_accessible(mem));
	assert_int_equal(source->ops->zero(source, at(mem), true), 0);
	assert_int_equal(mem[0], 0);
	assert_int_equal(source->ops->zero(source, at(mem), true), -EEXIST);
	assert_int_equal(source->ops->release(source, at(mem), at(mem) + SIZE),
			 0);
	assert_int_equal(mem[SIZE - 1], 0);
}

/* What is in the way has gone by then. */
static bool fail_late(const unsigned long *args, long *ret)
{
	munmap((void *)args[4], args[1]);
	*ret = -ENOMEM;
	return true;
}

static void take_that_fails_late_leaves_staging(void **state)
{
	(void)state;
	open_manual();
	memset(mem, 7, SIZE);
	assert_int_equal(
		source->ops->guard(source, at(mem), at(mem) + SIZE, RW), 0);
	fake_sys_hook(FAKE_SYS_MREMAP, fail_late);
	assert_int_equal(source->ops->take(source, at(staging), at(mem), SIZE),
			 -ENOMEM);
	memset(staging, 8, SIZE);
	assert_int_equal(mem[0], 7);
	fake_sys_reset();
	take_all();
	assert_int_equal(staging[SIZE - 1], 5);
}

static void take_that_fails_gives_back(void **state)
{
	static const struct {
		enum fake_sys_fn fn;
		unsigned int nth;
		long error, expected;
	} cases[] = {
		{ FAKE_SYS_MREMAP, 1, -ENOMEM, -ENOMEM },
		{ FAKE_SYS_MREMAP, 1, -EFAULT, -EINVAL },
		{ FAKE_SYS_MPROTECT, 2, -ENOMEM, -ENOMEM },
	};
	unsigned int i;

	(void)state;
	open_manual();
	for (i = 0; i < 3; i++) {
		memset(mem, 7, SIZE);
		fake_sys_fail(cases[i].fn, cases[i].error, cases[i].nth);
		assert_int_equal(source->ops->guard(source, at(mem),
						    at(mem) + SIZE, RW),
				 0);
		assert_int_equal(source->ops->take(source, at(staging), at(mem),
						   SIZE),
				 cases[i].expected);
		assert_int_equal(mem[0], 7);
		assert_int_equal(mem[SIZE - 1], 7);
		assert_int_equal(gpusvm_trapped_count(), 0);
		/* It is there for the next. */
		memset(staging, 8, SIZE);
	}
}

static void unreadable_memory_is_refused(void **state)
{
	(void)state;
	open_manual();
	assert_int_equal(source->ops->guard(source, at(mem), at(mem) + SIZE,
					    PROT_WRITE),
			 -EINVAL);
	fake_sys_fail(FAKE_SYS_MADVISE, -EINVAL, 1);
	assert_int_equal(source->ops->guard(source, at(mem), at(mem) + SIZE,
					    RW),
			 -EINVAL);
	assert_true(is_accessible(mem));
}

static void short_writes_come_back_as_far_as_they_go(void **state)
{
	(void)state;
	open_manual();
	take_all();
	fake_sys_fail(FAKE_SYS_PWRITE, -EIO, 1);
	assert_int_equal(source->ops->copy(source, at(mem), at(staging), SIZE),
			 -ENOMEM);
	assert_false(is_accessible(mem));
	fake_sys_fail(FAKE_SYS_PWRITE, (long)PAGE_SIZE + 100, 1);
	fake_sys_fail(FAKE_SYS_PWRITE, -EINTR, 1);
	assert_int_equal(source->ops->copy(source, at(mem), at(staging), SIZE),
			 SIZE);
}

static void every_step_of_opening_may_fail(void **state)
{
	static const struct {
		enum fake_sys_fn fn;
		unsigned int nth;
		long error, expected;
	} cases[] = {
		{ FAKE_SYS_OPEN, 1, -EACCES, -EACCES },
		{ FAKE_SYS_MREMAP, 1, -EINVAL, -ENOSYS },
		{ FAKE_SYS_PWRITE, 1, -EIO, -EPERM },
		{ FAKE_SYS_EVENTFD, 1, -EMFILE, -EMFILE },
		{ FAKE_SYS_SIGACTION, 1, -EINVAL, -EINVAL },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fake_sys_reset();
		fake_sys_fail(cases[i].fn, cases[i].error, cases[i].nth);
		assert_int_equal(gpusvm_protect_open(GPUSVM_SOURCE_MPROTECT,
						     &source),
				 cases[i].expected);
		assert_int_equal(gpusvm_alloc_live(), blocks_before);
		assert_int_equal(unit_count_fds(), fds_before);
	}
	for (i = 1; i <= 2; i++) {
		fail_in = i;
		assert_int_equal(gpusvm_protect_open(GPUSVM_SOURCE_MPROTECT,
						     &source),
				 -ENOMEM);
	}
	source = NULL;
}

static void limit_is_a_share_of_what_the_kernel_allows(void **state)
{
	unsigned long i;

	(void)state;
	fake_sys_file("/proc/sys/vm/max_map_count", "16\n");
	open_manual();
	for (i = 0; i < 16 / TRAPPED_SHARE; i++)
		assert_int_equal(source->ops->guard(
					 source, at(mem) + (i << PAGE_SHIFT),
					 at(mem) + ((i + 1) << PAGE_SHIFT), RW),
				 0);
	assert_int_equal(source->ops->guard(source, at(mem) + (i << PAGE_SHIFT),
					    at(mem) + ((i + 1) << PAGE_SHIFT),
					    RW),
			 -ENOMEM);
}

static void nothing_else_is_told_or_done(void **state)
{
	struct source_event events[SOURCE_BATCH];

	(void)state;
	open_manual();
	assert_int_equal(source->ops->read(source, events, SOURCE_BATCH), 0);
	assert_int_equal(source->ops->settled(source), 0);
	assert_int_equal(source->ops->watch(source, at(mem), at(mem) + SIZE),
			 0);
	assert_int_equal(source->ops->protect(source, at(mem), at(mem) + SIZE,
					      true),
			 -EOPNOTSUPP);
	assert_int_equal(source->ops->child_copy(source, -1, at(mem),
						 at(staging), SIZE),
			 -EOPNOTSUPP);
	assert_int_equal(
		source->ops->stage(source, at(staging), at(staging) + SIZE), 0);
	assert_int_equal(source->ops->fill(source, at(staging), SIZE), SIZE);
}

#define protect_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		protect_test(taken_pages_are_in_staging_and_come_back),
		protect_test(part_comes_back),
		protect_test(take_that_fails_gives_back),
		protect_test(take_that_fails_late_leaves_staging),
		protect_test(unreadable_memory_is_refused),
		protect_test(short_writes_come_back_as_far_as_they_go),
		protect_test(every_step_of_opening_may_fail),
		protect_test(limit_is_a_share_of_what_the_kernel_allows),
		protect_test(nothing_else_is_told_or_done),
	};

	return cmocka_run_group_tests_name("protect", tests, NULL, NULL);
}
