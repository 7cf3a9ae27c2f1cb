/* SPDX-License-Identifier: MIT */
/*
 * The calls about locking and placement: what comes home, who is told, and with
 * which result they return.
 */
#include "unit_change.h"

#include <linux/mempolicy.h>
#include <unistd.h>

static int setup(void **state)
{
	int err = hooks_setup(state);

	fake_sys_hook(FAKE_SYS_MLOCK, on_sys);
	fake_sys_hook(FAKE_SYS_MLOCK2, on_sys);
	fake_sys_hook(FAKE_SYS_MBIND, on_sys);
	fake_sys_hook(FAKE_SYS_MOVE_PAGES, on_sys);
	return err;
}

#define home_test(fn) \
	cmocka_unit_test_setup_teardown(fn, setup, change_teardown)

/* ---- What comes home ---- */

static enum vm_fault_result come_home(struct vm_fault *vmf)
{
	unsigned long first = (vmf->address - fake->start) >> PAGE_SHIFT;

	assert_true(!watch_locks || signals_blocked());
	return migrate_home(first, 1) == 1 ? VM_FAULT_DONE : VM_FAULT_SIGBUS;
}

static enum vm_fault_result stay_away(struct vm_fault *vmf)
{
	(void)vmf;
	return VM_FAULT_SIGBUS;
}

static enum vm_fault_result be_busy(struct vm_fault *vmf)
{
	(void)vmf;
	return VM_FAULT_RETRY;
}

static void populate_brings_home_what_is_asked_for(void **state)
{
	(void)state;
	owner.fault = come_home;
	watch_locks = true;
	assert_int_equal(
		gpusvm_populate((char *)window(FIRST + 1) + 9, PAGE_SIZE), 0);
	watch_locks = false;
	assert_int_equal(open_locks, 0);
	assert_int_equal(owner.faults, 2);
	assert_freed(1, 2);
	assert_on_device(FIRST, 0);
	assert_on_device(FIRST + 3, 3);
	assert_int_equal(gpusvm_populate(window(0), bytes(WINDOW)), 0);
	assert_nothing_on_device();
	assert_true(fake_matches(window(FIRST), N, 1));
}

static void populate_tells_what_stays(void **state)
{
	static unsigned long now_ns;

	(void)state;
	owner.fault = stay_away;
	assert_int_equal(gpusvm_populate(window(0), bytes(WINDOW)), -EFAULT);
	/* It tried all. */
	assert_int_equal(owner.faults, N);
	owner.fault = be_busy;
	fake_sys_clock(&now_ns, 100 * 1000 * 1000);
	assert_int_equal(gpusvm_populate(window(FIRST), PAGE_SIZE), -EBUSY);
	assert_freed(0, 0);
	assert_int_equal(gpusvm_populate(window(FIRST), 0), 0);
	assert_int_equal(gpusvm_populate(window(20), bytes(4)), 0);
	current = NULL;
	assert_int_equal(gpusvm_populate(window(0), bytes(WINDOW)), 0);
	current = mm;
	mm->users = 0;
	assert_int_equal(gpusvm_populate(window(0), bytes(WINDOW)), 0);
	mm->users = 1;
}

static void mlock_brings_home_first(void **state)
{
	(void)state;
	owner.fault = come_home;
	assert_int_equal(gpusvm_mlock(window(FIRST), bytes(2)), 0);
	assert_args(fake_addr(fake, FIRST), bytes(2), 0, 0, 0);
	assert_freed(0, 2);
	assert_int_equal(gpusvm_mlock2(window(FIRST + 2), bytes(2), 1), 0);
	assert_args(fake_addr(fake, FIRST + 2), bytes(2), 1, 0, 0);
	assert_freed(0, 4);
	assert_int_equal(times_told, 0);
	sys_returns(-EPERM);
	assert_int_equal(gpusvm_mlock(window(FIRST), bytes(2)), -1);
	assert_int_equal(gpusvm_mlock2(window(FIRST), bytes(2), 1), -1);
	assert_int_equal(errno, EPERM);
}

static void mlock_of_what_stays_returns_eagain(void **state)
{
	(void)state;
	owner.fault = stay_away;
	assert_int_equal(gpusvm_mlock(window(FIRST), bytes(2)), -1);
	assert_int_equal(gpusvm_mlock2(window(FIRST), bytes(2), 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_string_equal(trace, "");
}

/* ---- Placement ---- */

static void mbind_that_moves_is_told(void **state)
{
	unsigned long mask = 1;

	(void)state;
	assert_int_equal(gpusvm_mbind(window(FIRST), bytes(2), MPOL_BIND, &mask,
				      2, MPOL_MF_MOVE),
			 0);
	assert_int_equal(gpusvm_mbind(window(FIRST), bytes(2), MPOL_BIND, &mask,
				      2, MPOL_MF_MOVE_ALL),
			 0);
	assert_string_equal(trace, "Cs.Cs.");
	assert_told(0, MMU_NOTIFY_CLEAR, FIRST, 2);
	assert_args(fake_addr(fake, FIRST), bytes(2), MPOL_BIND,
		    (unsigned long)&mask, 2);
	assert_int_equal(sys_args[5], MPOL_MF_MOVE_ALL);
	sys_returns(-EIO);
	assert_int_equal(gpusvm_mbind(window(FIRST), bytes(2), MPOL_BIND, &mask,
				      2, MPOL_MF_STRICT),
			 -1);
	assert_int_equal(errno, EIO);
	assert_string_equal(trace, "Cs.Cs.s");
	assert_freed(0, 0);
}

static void move_pages_tells_from_first_to_last(void **state)
{
	void *pages[] = { window(FIRST + 3), window(FIRST),
			  (char *)window(FIRST + 4) + 9 };
	int nodes[3] = { 0 }, status[3];

	(void)state;
	sys_returns(2);
	assert_int_equal(
		gpusvm_move_pages(0, 3, pages, nodes, status, MPOL_MF_MOVE), 2);
	assert_told(0, MMU_NOTIFY_CLEAR, FIRST, 5);
	assert_args(0, 3, (unsigned long)pages, (unsigned long)nodes,
		    (unsigned long)status);
	assert_int_equal(sys_args[5], MPOL_MF_MOVE);
	assert_int_equal(gpusvm_move_pages(getpid(), 1, pages, nodes, status,
					   MPOL_MF_MOVE),
			 2);
	assert_told(1, MMU_NOTIFY_CLEAR, FIRST + 3, 1);
	assert_string_equal(trace, "Cs.Cs.");
	assert_freed(0, 0);
}

/* More than are read at a time, and the end of the list is not there. */
static void move_pages_reads_no_further_than_there_is_memory(void **state)
{
	const unsigned long n = PAGE_SIZE / sizeof(void *);
	int nodes[1] = { 0 }, status[1];
	unsigned long i;
	void **pages;

	(void)state;
	pages = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_int_equal(munmap((char *)pages + PAGE_SIZE, PAGE_SIZE), 0);
	for (i = 0; i < n; i++)
		pages[i] = window(FIRST + 1 + i % 2);
	pages[n - 70] = window(FIRST);
	pages[n - 1] = (char *)window(FIRST + 4) + 1;
	sys_returns(-EFAULT);
	assert_int_equal(gpusvm_move_pages(0, n + 1, pages, nodes, status, 0),
			 -1);
	assert_int_equal(errno, EFAULT);
	assert_told(0, MMU_NOTIFY_CLEAR, FIRST, 5);
	assert_int_equal(gpusvm_move_pages(0, 1, NULL, nodes, status, 0), -1);
	assert_int_equal(errno, EFAULT);
	assert_string_equal(trace, "Cs.s");
	assert_int_equal(munmap(pages, PAGE_SIZE), 0);
}

/* Where a filter forbids to look, it may be any page. */
static void move_pages_that_cannot_be_read_tells_of_all(void **state)
{
	void *pages[] = { window(40) };
	int nodes[1] = { 0 }, status[1];

	(void)state;
	fake_sys_fail(FAKE_SYS_PROCESS_VM_READV, -EPERM, 1);
	assert_int_equal(gpusvm_move_pages(0, 1, pages, nodes, status, 0), 0);
	assert_string_equal(trace, "Cs.");
	assert_int_equal(told[0].start, 0);
	assert_int_equal(told[0].end, PAGE_MASK);
	assert_freed(0, 0);
}

static void move_pages_elsewhere_is_bare(void **state)
{
	void *pages[] = { window(FIRST) };
	int nodes[1] = { 0 }, status[1];

	(void)state;
	assert_int_equal(gpusvm_move_pages(0, 1, pages, NULL, status, 0), 0);
	assert_int_equal(gpusvm_move_pages(1, 1, pages, nodes, status, 0), 0);
	assert_int_equal(gpusvm_move_pages(0, 0, pages, nodes, status, 0), 0);
	sys_returns(-ENODEV);
	assert_int_equal(gpusvm_move_pages(1, 1, pages, nodes, status, 0), -1);
	assert_int_equal(errno, ENODEV);
	assert_string_equal(trace, "ssss");
}

static void no_address_space_makes_all_bare(void **state)
{
	void *pages[] = { window(FIRST) };
	int nodes[1] = { 0 }, status[1];

	(void)state;
	current = NULL;
	assert_int_equal(gpusvm_mlock(window(FIRST), bytes(N)), 0);
	assert_int_equal(gpusvm_mbind(window(FIRST), bytes(N), 0, NULL, 0,
				      MPOL_MF_MOVE),
			 0);
	assert_int_equal(gpusvm_move_pages(0, 1, pages, nodes, status, 0), 0);
	assert_string_equal(trace, "sss");
	assert_int_equal(owner.faults, 0);
	assert_int_equal(fake_sys_calls(FAKE_SYS_BLOCK_SIGNALS), 0);
	assert_freed(0, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		home_test(populate_brings_home_what_is_asked_for),
		home_test(populate_tells_what_stays),
		home_test(mlock_brings_home_first),
		home_test(mlock_of_what_stays_returns_eagain),
		home_test(mbind_that_moves_is_told),
		home_test(move_pages_tells_from_first_to_last),
		home_test(move_pages_reads_no_further_than_there_is_memory),
		home_test(move_pages_that_cannot_be_read_tells_of_all),
		home_test(move_pages_elsewhere_is_bare),
		home_test(no_address_space_makes_all_bare),
	};

	return cmocka_run_group_tests_name("hooks_home", tests, NULL, NULL);
}
