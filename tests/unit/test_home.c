/* SPDX-License-Identifier: MIT */
/*
 * Bringing pages home because of their address: how long it waits for whom,
 * and that everything else comes when one page cannot.  Time is the test's.
 */
#include "unit_migration.h"

#define N 8ul
#define FIRST 8ul
#define SECOND 1000000000ul

#define LOW 2ul /* where mremap() moves the last pages of the device */
#define MOVED 3ul

static unsigned long now_ns;
static unsigned int naps;

static bool nap(const unsigned long *args, long *ret)
{
	(void)ret;
	now_ns += args[0];
	naps++;
	return true;
}

/* ---- What the owner of the pages does ---- */

static enum vm_fault_result answer;
static unsigned int refuse; /* that many times before it comes */
static unsigned long retry_ns;
static unsigned int flags_seen;
static unsigned long bad_addr;
static unsigned long moves_at; /* mremap() of the last pages comes then */

static enum vm_fault_result serve(struct vm_fault *vmf)
{
	struct page *page;

	flags_seen = vmf->flags;
	assert_ptr_equal(vmf->mm, mm);
	if (vmf->address == bad_addr)
		return VM_FAULT_SIGBUS;
	if (refuse) {
		refuse--;
		vmf->retry_ns = retry_ns;
		return answer;
	}
	if (vmf->address == moves_at) {
		fake_source_remap(fake, FIRST + N - MOVED, MOVED, LOW);
		settle();
	}
	page = gpusvm_devpt_clear(&mm->pt, vmf->address);
	assert_non_null(page);
	memcpy((void *)vmf->address, gpusvm_page_address(page), PAGE_SIZE);
	gpusvm_page_put(page);
	return VM_FAULT_DONE;
}

static int setup(void **state)
{
	(void)state;
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	fake_sys_clock(&now_ns, 0);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, nap);
	owner.fault = serve;
	now_ns = 100 * SECOND;
	naps = 0;
	refuse = 0;
	retry_ns = 0;
	bad_addr = 0;
	moves_at = 0;
	return migrate_out(FIRST);
}

static int teardown(void **state)
{
	(void)state;
	unmap_all();
	migration_teardown();
	return 0;
}

static int bring(unsigned long i, unsigned int flags, unsigned long deadline)
{
	return gpusvm_mm_bring_home(mm, fake_addr(fake, i), flags, deadline);
}

static void bring_without_device_page_returns_0(void **state)
{
	(void)state;
	assert_int_equal(bring(FIRST + N, 0, now_ns), 0);
	assert_int_equal(owner.faults, 0);
}

static void bring_asks_the_owner_once(void **state)
{
	(void)state;
	assert_int_equal(bring(FIRST, GPUSVM_FAULT_NO_TIMESLICE, now_ns), 0);
	assert_int_equal(owner.faults, 1);
	assert_int_equal(flags_seen, GPUSVM_FAULT_NO_TIMESLICE);
	assert_null(entry_at(FIRST));
	assert_int_equal(owner.refs, 1 + N - 1);
}

static void bring_of_held_page_returns_ebusy_at_the_deadline(void **state)
{
	unsigned long deadline = now_ns + 1000 * 1000;

	(void)state;
	answer = VM_FAULT_RETRY;
	refuse = ~0u;
	assert_int_equal(bring(FIRST, 0, deadline), -EBUSY);
	assert_int_equal(now_ns, deadline);
	assert_in_range(naps, 2, 30);
	assert_int_equal(owner.refs, 1 + N);
	assert_on_device(FIRST, 0);
	/* Threads that met the owner at work may wait for us. */
	assert_int_equal(fake->count[FAKE_OP_WAKE], owner.faults);
}

static void bring_of_page_held_for_a_while_returns_0(void **state)
{
	(void)state;
	answer = VM_FAULT_RETRY;
	refuse = 5;
	assert_int_equal(bring(FIRST, 0, now_ns + SECOND), 0);
	assert_int_equal(owner.faults, 6);
	assert_int_equal(naps, 5);
}

static void bring_sleeps_until_it_may_retry(void **state)
{
	(void)state;
	answer = VM_FAULT_RETRY;
	refuse = 1;
	retry_ns = now_ns + SECOND / 2;
	assert_int_equal(bring(FIRST, 0, now_ns + SECOND), 0);
	assert_int_equal(naps, 1);
	assert_int_equal(now_ns, retry_ns);
}

static void bring_waits_for_timeslice_beyond_the_deadline(void **state)
{
	(void)state;
	answer = VM_FAULT_TIMESLICE;
	refuse = 1;
	retry_ns = now_ns + 10 * SECOND;
	assert_int_equal(bring(FIRST, 0, now_ns + SECOND), 0);
	assert_int_equal(now_ns, retry_ns);
	assert_null(entry_at(FIRST));
}

static void bring_that_cannot_copy_returns_efault(void **state)
{
	(void)state;
	bad_addr = fake_addr(fake, FIRST + 2);
	assert_int_equal(bring(FIRST + 2, 0, now_ns + SECOND), -EFAULT);
	assert_int_equal(owner.refs, 1 + N);
	assert_int_equal(fake->count[FAKE_OP_WAKE], 1);
	assert_on_device(FIRST + 2, 2);
}

static void bring_all_brings_all(void **state)
{
	(void)state;
	assert_int_equal(gpusvm_mm_bring_all_home(mm), 0);
	assert_nothing_on_device();
	assert_int_equal(flags_seen,
			 GPUSVM_FAULT_NO_TIMESLICE | GPUSVM_FAULT_LET_GO);
	assert_int_equal(gpusvm_mm_bring_all_home(mm), 0);
}

static void next_private_page_is_none_that_is_coherent(void **state)
{
	unsigned long addr = 0;

	(void)state;
	pgmap->type = MEMORY_DEVICE_COHERENT;
	assert_false(gpusvm_mm_next_device_page(mm, &addr, ~0ul, false));
	assert_true(gpusvm_mm_next_device_page(mm, &addr, ~0ul, true));
	assert_int_equal(addr, fake_addr(fake, FIRST));
	assert_false(gpusvm_mm_next_device_page(mm, &addr, addr, true));
	pgmap->type = MEMORY_DEVICE_PRIVATE;
	assert_true(gpusvm_mm_next_device_page(mm, &addr, ~0ul, false));
	assert_int_equal(addr, fake_addr(fake, FIRST));
}

/* Pages that mremap() moved behind the pass come with the next one. */
static void bring_all_finds_what_moved_behind_it(void **state)
{
	(void)state;
	fake_fill(device_memory(0), N - MOVED, 1);
	fake_fill(device_memory(N - MOVED), MOVED, 2);
	moves_at = fake_addr(fake, FIRST + 1);
	assert_int_equal(gpusvm_mm_bring_all_home(mm), 0);
	assert_nothing_on_device();
	assert_true(fake_matches(window(FIRST), N - MOVED, 1));
	assert_true(fake_matches(window(LOW), MOVED, 2));
	assert_int_equal(owner.faults, N);
}

static void bring_all_finds_what_moved_at_the_last_page(void **state)
{
	(void)state;
	fake_fill(device_memory(0), N - MOVED, 1);
	fake_fill(device_memory(N - MOVED), MOVED, 2);
	moves_at = fake_addr(fake, FIRST + N - MOVED - 1);
	assert_int_equal(gpusvm_mm_bring_all_home(mm), 0);
	assert_nothing_on_device();
	assert_true(fake_matches(window(FIRST), N - MOVED, 1));
	assert_true(fake_matches(window(LOW), MOVED, 2));
}

static void bring_all_goes_on_after_a_bad_page(void **state)
{
	(void)state;
	bad_addr = fake_addr(fake, FIRST + 2);
	assert_int_equal(gpusvm_mm_bring_all_home(mm), -EFAULT);
	assert_int_equal(mm->pt.npages, 1);
	assert_on_device(FIRST + 2, 2);
	bad_addr = 0;
	assert_int_equal(gpusvm_mm_bring_all_home(mm), 0);
}

static void bring_all_gives_up_on_a_held_page(void **state)
{
	(void)state;
	answer = VM_FAULT_RETRY;
	refuse = ~0u;
	retry_ns = 0;
	assert_int_equal(gpusvm_mm_bring_all_home(mm), -EBUSY);
	assert_int_equal(now_ns, 100 * SECOND + N * SECOND);
	assert_int_equal(mm->pt.npages, N);
}

#define home_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		home_test(bring_without_device_page_returns_0),
		home_test(bring_asks_the_owner_once),
		home_test(bring_of_held_page_returns_ebusy_at_the_deadline),
		home_test(bring_of_page_held_for_a_while_returns_0),
		home_test(bring_sleeps_until_it_may_retry),
		home_test(bring_waits_for_timeslice_beyond_the_deadline),
		home_test(bring_that_cannot_copy_returns_efault),
		home_test(bring_all_brings_all),
		home_test(next_private_page_is_none_that_is_coherent),
		home_test(bring_all_finds_what_moved_behind_it),
		home_test(bring_all_finds_what_moved_at_the_last_page),
		home_test(bring_all_goes_on_after_a_bad_page),
		home_test(bring_all_gives_up_on_a_held_page),
	};

	return cmocka_run_group_tests_name("home", tests, NULL, NULL);
}
