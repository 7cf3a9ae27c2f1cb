/* SPDX-License-Identifier: MIT */
/*
 * The table of what is trapped by its protection: what is given back, what is
 * forgotten, how many intervals there may be, whose fault a fault is, and no
 * memory at any place.
 */
#include "unit.h"

#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <signal.h>
#include <sys/mman.h>

#include "alloc.h"
#include "fake_sys.h"
#include "page_size.h"
#include "trapped.h"

#define RW (PROT_READ | PROT_WRITE)
#define PAGE(i) (base + ((unsigned long)(i) << PAGE_SHIFT))
#define LIMIT 8

void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);

static unsigned int fail_in;
static size_t blocks_before;

/* What the kernel was told last, and for how many pages in all. */
static unsigned long base = 1ul << 30;
static int prot_of[64];
static unsigned int calls;
/* Calls that a signal may have interrupted, with the lock held. */
static unsigned int open_calls;

void *__wrap_gpusvm_alloc(size_t size)
{
	return fail_in && !--fail_in ? NULL : __real_gpusvm_alloc(size);
}

static bool note_protection(const unsigned long *args, long *ret)
{
	unsigned long i;
	sigset_t now;

	/* The allocator's own. */
	if (args[0] < base || args[0] >= PAGE(64))
		return false;
	calls++;
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	open_calls += !sigismember(&now, SIGUSR1) ||
		      !sigismember(&now, SIGSEGV);
	for (i = 0; i < args[1] >> PAGE_SHIFT; i++)
		prot_of[((args[0] - base) >> PAGE_SHIFT) + i] = (int)args[2];
	*ret = 0;
	return true;
}

static int setup(void **state)
{
	unsigned int i;

	(void)state;
	blocks_before = gpusvm_alloc_live();
	fake_sys_reset();
	fake_sys_hook(FAKE_SYS_MPROTECT, note_protection);
	for (i = 0; i < 64; i++)
		prot_of[i] = -1;
	calls = open_calls = 0;
	fail_in = 0;
	gpusvm_trapped_reset(LIMIT, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gpusvm_trapped_reset(0, false);
	fake_sys_reset();
	assert_int_equal(open_calls, 0);
	return gpusvm_alloc_live() == blocks_before ? 0 : -1;
}

static int find(unsigned long first, unsigned long *start, unsigned long *end)
{
	*start = PAGE(0);
	*end = PAGE(64);
	return gpusvm_trapped_find(PAGE(first), start, end);
}

static void added_is_inaccessible_and_found(void **state)
{
	unsigned long start, end;

	(void)state;
	assert_int_equal(gpusvm_trapped_add(PAGE(4), PAGE(8), RW), 0);
	assert_int_equal(prot_of[4], PROT_NONE);
	assert_int_equal(prot_of[7], PROT_NONE);
	assert_int_equal(prot_of[8], -1);
	assert_int_equal(find(5, &start, &end), RW);
	assert_int_equal(start, PAGE(4));
	assert_int_equal(end, PAGE(8));
	/* Around it the answer ends where it begins. */
	assert_int_equal(find(1, &start, &end), -ENOENT);
	assert_int_equal(start, PAGE(0));
	assert_int_equal(end, PAGE(4));
	assert_int_equal(find(8, &start, &end), -ENOENT);
	assert_int_equal(start, PAGE(8));
	assert_int_equal(end, PAGE(64));
}

static void released_has_its_protection_back(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_trapped_add(PAGE(0), PAGE(4), RW), 0);
	assert_int_equal(gpusvm_trapped_add(PAGE(4), PAGE(8), RW | PROT_EXEC),
			 0);
	assert_int_equal(gpusvm_trapped_add(PAGE(10), PAGE(12), PROT_READ), 0);
	assert_int_equal(gpusvm_trapped_release(PAGE(0), PAGE(64)),
			 10 * PAGE_SIZE);
	assert_int_equal(prot_of[3], RW);
	assert_int_equal(prot_of[4], RW | PROT_EXEC);
	assert_int_equal(prot_of[9], -1);
	assert_int_equal(prot_of[11], PROT_READ);
	assert_int_equal(gpusvm_trapped_count(), 0);
	assert_int_equal(gpusvm_trapped_release(PAGE(0), PAGE(64)), 0);
}

static void part_in_the_middle_leaves_both_ends(void **state)
{
	unsigned long start, end;

	(void)state;
	assert_int_equal(gpusvm_trapped_add(PAGE(0), PAGE(8), RW), 0);
	assert_int_equal(gpusvm_trapped_release(PAGE(2), PAGE(4)),
			 2 * PAGE_SIZE);
	assert_int_equal(gpusvm_trapped_count(), 2);
	assert_int_equal(prot_of[1], PROT_NONE);
	assert_int_equal(prot_of[2], RW);
	assert_int_equal(prot_of[4], PROT_NONE);
	assert_int_equal(find(1, &start, &end), RW);
	assert_int_equal(end, PAGE(2));
	assert_int_equal(find(2, &start, &end), -ENOENT);
	assert_int_equal(find(7, &start, &end), RW);
	assert_int_equal(start, PAGE(4));
	/* The head of one, the tail of the other. */
	assert_int_equal(gpusvm_trapped_release(PAGE(1), PAGE(5)),
			 2 * PAGE_SIZE);
	assert_int_equal(find(0, &start, &end), RW);
	assert_int_equal(find(1, &start, &end), -ENOENT);
	assert_int_equal(find(5, &start, &end), RW);
}

static void forgotten_is_not_given_back(void **state)
{
	unsigned long start, end;
	unsigned int before;

	(void)state;
	assert_int_equal(gpusvm_trapped_add(PAGE(0), PAGE(8), RW), 0);
	before = calls;
	gpusvm_trapped_forget(PAGE(2), PAGE(4));
	assert_int_equal(calls, before);
	assert_int_equal(find(3, &start, &end), -ENOENT);
	assert_int_equal(find(1, &start, &end), RW);
	assert_int_equal(find(4, &start, &end), RW);
	/* Another mapping in the place of a forgotten one. */
	assert_int_equal(gpusvm_trapped_add(PAGE(1), PAGE(6), PROT_READ), 0);
	assert_int_equal(find(4, &start, &end), PROT_READ);
	assert_int_equal(find(6, &start, &end), RW);
	assert_int_equal(gpusvm_trapped_count(), 3);
}

static void too_many_intervals_are_refused(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < LIMIT; i++)
		assert_int_equal(gpusvm_trapped_add(PAGE(2 * i),
						    PAGE(2 * i + 1), RW),
				 0);
	assert_int_equal(gpusvm_trapped_add(PAGE(40), PAGE(41), RW), -ENOMEM);
	assert_int_equal(prot_of[40], -1);
	assert_int_equal(gpusvm_trapped_release(PAGE(0), PAGE(1)), PAGE_SIZE);
	assert_int_equal(gpusvm_trapped_add(PAGE(40), PAGE(41), RW), 0);
}

static void kernel_refuses(void **state)
{
	unsigned long start, end;

	(void)state;
	fake_sys_fail(FAKE_SYS_MPROTECT, -ENOMEM, 1);
	assert_int_equal(gpusvm_trapped_add(PAGE(0), PAGE(4), RW), -ENOMEM);
	assert_int_equal(gpusvm_trapped_count(), 0);
	assert_int_equal(gpusvm_trapped_add(PAGE(0), PAGE(4), RW), 0);
	fake_sys_fail(FAKE_SYS_MPROTECT, -ENOMEM, 1);
	assert_int_equal(gpusvm_trapped_release(PAGE(0), PAGE(4)), -ENOMEM);
	assert_int_equal(find(0, &start, &end), RW);
}

static void no_memory_changes_nothing(void **state)
{
	unsigned long start, end;

	(void)state;
	for (fail_in = 1; fail_in <= 2;) {
		unsigned int n = fail_in;

		assert_int_equal(gpusvm_trapped_add(PAGE(0), PAGE(4), RW),
				 -ENOMEM);
		assert_int_equal(gpusvm_trapped_count(), 0);
		fail_in = n + 1;
	}
	fail_in = 0;
	assert_int_equal(calls, 0);
	assert_int_equal(gpusvm_trapped_add(PAGE(0), PAGE(4), RW), 0);
	fail_in = 1;
	assert_int_equal(gpusvm_trapped_release(PAGE(1), PAGE(2)), -ENOMEM);
	assert_int_equal(find(1, &start, &end), RW);
	/* What remains on both sides must be known to be trapped. */
	fail_in = 1;
	gpusvm_trapped_forget(PAGE(1), PAGE(2));
	assert_int_equal(find(0, &start, &end), RW);
	assert_int_equal(find(3, &start, &end), RW);
	/* What needs no memory is done without. */
	fail_in = 1;
	gpusvm_trapped_forget(PAGE(0), PAGE(1));
	assert_int_equal(find(0, &start, &end), -ENOENT);
	fail_in = 1;
	gpusvm_trapped_forget(PAGE(0), PAGE(4));
	assert_int_equal(gpusvm_trapped_count(), 0);
}

static void fault_is_ours_the_programs_or_late(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_trapped_add(PAGE(0), PAGE(4), RW), 0);
	assert_int_equal(gpusvm_trapped_judge(PAGE(1) + 5, 7), TRAPPED_OURS);
	/* Nothing ever was trapped there. */
	assert_int_equal(gpusvm_trapped_judge(PAGE(64), 7), TRAPPED_NOT_OURS);
	/* It came home between the access and the question. */
	assert_int_equal(gpusvm_trapped_release(PAGE(0), PAGE(4)),
			 4 * PAGE_SIZE);
	assert_int_equal(gpusvm_trapped_judge(PAGE(1), 7), TRAPPED_AGAIN);
	/* It faults all the same. */
	assert_int_equal(gpusvm_trapped_judge(PAGE(1), 7), TRAPPED_NOT_OURS);
	assert_int_equal(gpusvm_trapped_judge(PAGE(1), 7), TRAPPED_NOT_OURS);
	/* Others, and elsewhere, have not been asked. */
	assert_int_equal(gpusvm_trapped_judge(PAGE(1), 8), TRAPPED_AGAIN);
	assert_int_equal(gpusvm_trapped_judge(PAGE(2), 7), TRAPPED_AGAIN);
	/* Something was released since. */
	assert_int_equal(gpusvm_trapped_judge(PAGE(2), 7), TRAPPED_NOT_OURS);
	assert_int_equal(gpusvm_trapped_add(PAGE(2), PAGE(3), RW), 0);
	assert_int_equal(gpusvm_trapped_release(PAGE(2), PAGE(3)), PAGE_SIZE);
	assert_int_equal(gpusvm_trapped_judge(PAGE(2), 7), TRAPPED_AGAIN);
	assert_int_equal(gpusvm_trapped_judge(PAGE(2), 7), TRAPPED_NOT_OURS);
	/* As it is when all is home and the source closed. */
	gpusvm_trapped_reset(0, false);
	assert_int_equal(gpusvm_trapped_judge(PAGE(2), 7), TRAPPED_AGAIN);
	assert_int_equal(gpusvm_trapped_judge(PAGE(2), 7), TRAPPED_NOT_OURS);
}

#define trapped_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		trapped_test(added_is_inaccessible_and_found),
		trapped_test(released_has_its_protection_back),
		trapped_test(part_in_the_middle_leaves_both_ends),
		trapped_test(forgotten_is_not_given_back),
		trapped_test(too_many_intervals_are_refused),
		trapped_test(kernel_refuses),
		trapped_test(no_memory_changes_nothing),
		trapped_test(fault_is_ours_the_programs_or_late),
	};

	return cmocka_run_group_tests_name("trapped", tests, NULL, NULL);
}
