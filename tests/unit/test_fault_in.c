/* SPDX-License-Identifier: MIT */
/*
 * Looking at an interval as a device would: what is populated, which device
 * pages are taken and which come home, how long migrations are waited for.
 */
#include "unit_migration.h"
#include "unit_thread.h"

#include "fault_in.h"
#include "scan.h"
#include "sys.h"

#define N 8ul
#define FIRST 8ul

static unsigned long pfns[1024];

/* ---- The owner of the pages ---- */

static enum vm_fault_result come_home(struct vm_fault *vmf)
{
	struct page *page;

	if (fake->mm->forking) /* the test's sign that it cannot */
		return VM_FAULT_SIGBUS;
	page = gpusvm_devpt_clear(&mm->pt, vmf->address);
	memcpy((void *)vmf->address, gpusvm_page_address(page), PAGE_SIZE);
	gpusvm_page_put(page);
	return VM_FAULT_DONE;
}

static int setup(void **state)
{
	(void)state;
	migration_setup(GPUSVM_TECHNIQUE_MOVE, N);
	owner.fault = come_home;
	memset(pfns, 0, sizeof(pfns));
	fake_fill(window(FIRST), N, 1);
	return migrate_out(FIRST);
}

static int teardown(void **state)
{
	(void)state;
	mm->forking = false;
	unmap_all();
	migration_teardown();
	return 0;
}

static int fault_in_by(void *by, unsigned long first, unsigned long n,
		       bool write)
{
	struct fault_in fault = {
		.mm = mm,
		.start = fake_addr(fake, first),
		.npages = n,
		.write = write,
		.owner = by,
		.deadline_ns = gpusvm_sys_now_ns() + 50 * 1000 * 1000,
		.pfns = pfns,
	};

	return gpusvm_fault_in(&fault);
}

static int fault_in(unsigned long first, unsigned long n, bool write)
{
	return fault_in_by(pgmap->owner, first, n, write);
}

static void assert_system(unsigned long first, unsigned long n)
{
	unsigned long i;

	for (i = first; i < first + n; i++) {
		assert_int_equal(pfns[i], PFN_SYSTEM);
		assert_null(pfn_device_page(pfns[i]));
	}
}

/* ---- System memory ---- */

static void fault_in_for_writing_populates(void **state)
{
	unsigned long i;

	(void)state;
	assert_int_equal(fault_in(20, 10, true), 0);
	assert_system(0, 10);
	assert_int_equal(pfns[10], 0);
	for (i = 19; i < 31; i++)
		assert_int_equal(fake_present(fake_addr(fake, i)),
				 i >= 20 && i < 30);
	assert_true(fake->flags[20] & FAKE_WATCHED);
	assert_false(fake->flags[20] & FAKE_TRAPPED);
	assert_true(fake_is_zero(window(20), 10));
}

static void fault_in_for_reading_keeps_data(void **state)
{
	(void)state;
	fake_fill(window(20), 4, 3);
	assert_int_equal(fault_in(20, 10, false), 0);
	assert_system(0, 10);
	assert_true(fake_matches(window(20), 4, 3));
	assert_true(fake_present(fake_addr(fake, 29)));
}

static void fault_in_of_hole_returns_efault(void **state)
{
	(void)state;
	munmap(window(22), PAGE_SIZE);
	assert_int_equal(fault_in(20, 10, true), -EFAULT);
	assert_int_equal(fault_in(22, 1, false), -EFAULT);
	assert_ptr_equal(mmap(window(22), PAGE_SIZE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 window(22));
}

static void fault_in_checks_protection(void **state)
{
	(void)state;
	mprotect(window(24), PAGE_SIZE, PROT_READ);
	assert_int_equal(fault_in(20, 10, true), -EPERM);
	assert_int_equal(fault_in(20, 10, false), 0);
	mprotect(window(24), PAGE_SIZE, PROT_NONE);
	assert_int_equal(fault_in(20, 10, false), -EFAULT);
	mprotect(window(24), PAGE_SIZE, PROT_READ | PROT_WRITE);
}

static void fault_in_that_fails_returns_efault(void **state)
{
	(void)state;
	fake_sys_fail(FAKE_SYS_MADVISE, -EIO, 1);
	assert_int_equal(fault_in(20, 10, true), -EFAULT);
	fake_sys_fail(FAKE_SYS_PAGEMAP_SCAN, -EIO, 1);
	fake_sys_fail(FAKE_SYS_PREAD, -EIO, 1);
	mm->features &= ~GPUSVM_FEATURE_PAGEMAP_SCAN;
	assert_int_equal(fault_in(20, 10, true), -EFAULT);
	assert_int_equal(fault_in(20, 10, true), 0);
}

static void fault_in_interrupted_goes_on(void **state)
{
	(void)state;
	fake_sys_fail(FAKE_SYS_MADVISE, -EINTR, 1);
	assert_int_equal(fault_in(20, 10, true), 0);
	assert_system(0, 10);
}

/*
 * What madvise() does where faults of system calls are not served: it ends at
 * the first trapped page that is absent.
 */
static bool populate_without_faults(const unsigned long *args, long *ret)
{
	unsigned long i, first = (args[0] - fake->start) / PAGE_SIZE;

	for (i = first; i < first + args[1] / PAGE_SIZE; i++) {
		if ((fake->flags[i] & FAKE_TRAPPED) &&
		    !fake_present(fake_addr(fake, i))) {
			*ret = -EFAULT;
			return true;
		}
	}
	return false;
}

static void serve_no_kernel_faults(bool none)
{
	if (none)
		mm->features &= ~GPUSVM_FEATURE_KERNEL_FAULTS;
	else
		mm->features |= GPUSVM_FEATURE_KERNEL_FAULTS;
	fake_sys_hook(FAKE_SYS_MADVISE, none ? populate_without_faults : NULL);
}

static void trap(unsigned long first, unsigned long n)
{
	memset(&fake->flags[first], FAKE_WATCHED | FAKE_TRAPPED, n);
}

static void fault_in_without_kernel_faults_fills_trapped_pages(void **state)
{
	unsigned long i;

	(void)state;
	serve_no_kernel_faults(true);
	/* In two places, one of them with data. */
	trap(20, 4);
	trap(27, 2);
	fake_fill(window(21), 1, 3);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_ZERO,
						   .skip = 1,
						   .times = 2,
						   .error = -EAGAIN });
	assert_int_equal(fault_in(20, 10, true), 0);
	assert_system(0, 10);
	assert_true(fake_matches(window(21), 1, 3));
	for (i = 20; i < 30; i++)
		assert_true(fake_present(fake_addr(fake, i)));
	serve_no_kernel_faults(false);
}

/* What need not be filled is left to madvise(), huge pages and all. */
static void fault_in_without_kernel_faults_of_present_pages(void **state)
{
	(void)state;
	serve_no_kernel_faults(true);
	trap(20, 4);
	fake_fill(window(20), 4, 3);
	assert_int_equal(fault_in(20, 10, true), 0);
	assert_system(0, 10);
	assert_true(fake_matches(window(20), 4, 3));
	assert_int_equal(fake_source_count(fake, FAKE_OP_ZERO), 0);
	serve_no_kernel_faults(false);
}

/* The same at a page that is kept from everybody. */
static bool populate_what_is_let_go(const unsigned long *args, long *ret)
{
	unsigned long i, first = (args[0] - fake->start) / PAGE_SIZE;

	*ret = -EFAULT;
	for (i = first; i < first + args[1] / PAGE_SIZE; i++)
		if (fake->flags[i] & FAKE_PROTECTED)
			return true;
	return populate_without_faults(args, ret);
}

/* As a migration may leave them that ended while a change had begun. */
static void fault_in_without_kernel_faults_lets_pages_go(void **state)
{
	(void)state;
	serve_no_kernel_faults(true);
	fake_sys_hook(FAKE_SYS_MADVISE, populate_what_is_let_go);
	mm->features |= GPUSVM_FEATURE_RWP;
	trap(20, 4);
	fake_fill(window(20), 4, 3);
	fake->flags[21] |= FAKE_PROTECTED;
	fake->flags[22] |= FAKE_PROTECTED;
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_PROTECT,
						   .skip = 1,
						   .times = 1,
						   .error = -EAGAIN });
	assert_int_equal(fault_in(20, 4, true), 0);
	assert_system(0, 4);
	assert_true(fake_matches(window(20), 4, 3));
	assert_false(fake->flags[21] & FAKE_PROTECTED);
	assert_false(fake->flags[22] & FAKE_PROTECTED);
	mm->features &= ~GPUSVM_FEATURE_RWP;
	serve_no_kernel_faults(false);
}

static unsigned int drops;

/* The program drops the page again as soon as it is there. */
static bool drop_and_populate(const unsigned long *args, long *ret)
{
	if (drops) {
		drops--;
		madvise(window(22), PAGE_SIZE, MADV_DONTNEED);
	}
	return populate_without_faults(args, ret);
}

static void fault_in_without_kernel_faults_meets_a_dropped_page(void **state)
{
	(void)state;
	serve_no_kernel_faults(true);
	trap(20, 4);
	drops = 3;
	fake_sys_hook(FAKE_SYS_MADVISE, drop_and_populate);
	assert_int_equal(fault_in(20, 10, true), 0);
	assert_int_equal(drops, 0);
	assert_system(0, 10);
	/* For ever is too long. */
	drops = ~0u;
	assert_int_equal(fault_in(20, 10, true), -EBUSY);
	serve_no_kernel_faults(false);
}

static void fault_in_without_kernel_faults_tells_other_failures(void **state)
{
	(void)state;
	mm->features &= ~GPUSVM_FEATURE_KERNEL_FAULTS;
	/* Nothing is trapped. */
	fake_sys_fail(FAKE_SYS_MADVISE, -EFAULT, 1);
	assert_int_equal(fault_in(20, 10, true), -EFAULT);
	/* Something is, and no page is to be had for it. */
	trap(20, 4);
	fake_sys_fail(FAKE_SYS_MADVISE, -EFAULT, 1);
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_ZERO,
						   .skip = 1,
						   .times = 1,
						   .error = -ENOMEM });
	assert_int_equal(fault_in(20, 10, true), -EFAULT);
	mm->features |= GPUSVM_FEATURE_KERNEL_FAULTS;
}

static unsigned int yields;

/* Somebody waits for ever: end it. */
static bool end_waiting(const unsigned long *args, long *ret)
{
	(void)args;
	(void)ret;
	if (++yields == 500)
		fake_source_unmap(fake, 20, 3);
	return true;
}

/* A device page is moved to the address that was to be filled. */
static void fault_in_without_kernel_faults_meets_a_moved_page(void **state)
{
	(void)state;
	serve_no_kernel_faults(true);
	yields = 0;
	fake_sys_hook(FAKE_SYS_YIELD, end_waiting);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, end_waiting);
	trap(20, 2);
	fake_source_remap(fake, FIRST, 3, 20);
	fault_in(20, 10, true);
	assert_true(yields < 500);
	serve_no_kernel_faults(false);
}

/* Everything is part of huge pages. */
static bool all_huge(const unsigned long *args, long *ret)
{
	struct pm_scan_arg *arg = (struct pm_scan_arg *)args[1];
	struct page_region *region =
		(struct page_region *)(unsigned long)arg->vec;

	region->start = arg->start;
	region->end = arg->end;
	region->categories = PAGE_IS_PRESENT | PAGE_IS_HUGE;
	arg->walk_end = arg->end;
	*ret = 1;
	return true;
}

static void fault_in_of_huge_pages_tells_aligned_orders(void **state)
{
	unsigned long i, addr;
	unsigned int order;

	(void)state;
	fake_sys_hook(FAKE_SYS_PAGEMAP_SCAN, all_huge);
	mm->features |= GPUSVM_FEATURE_PAGEMAP_SCAN;
	assert_int_equal(fault_in(19, 38, true), 0);
	for (i = 0; i < 38; i++) {
		order = pfn_order(pfns[i]);
		addr = fake_addr(fake, 19 + i);
		assert_int_equal(addr & ((PAGE_SIZE << order) - 1), 0);
		assert_true(i + (1ul << order) <= 38);
	}
	/* The window is aligned: 20 to 23, 32 to 47, 48 to 55, 56. */
	assert_int_equal(pfn_order(pfns[0]), 0);
	assert_int_equal(pfn_order(pfns[1]), 2);
	assert_int_equal(pfn_order(pfns[13]), 4);
	assert_int_equal(pfn_order(pfns[29]), 3);
	assert_int_equal(pfn_order(pfns[37]), 0);
	fake_sys_hook(FAKE_SYS_PAGEMAP_SCAN, NULL);
}

/* ---- Device memory ---- */

static void fault_in_takes_pages_of_the_owner(void **state)
{
	unsigned long i;

	(void)state;
	assert_int_equal(fault_in(FIRST - 2, N + 4, true), 0);
	assert_system(0, 2);
	for (i = 0; i < N; i++) {
		assert_ptr_equal(pfn_device_page(pfns[2 + i]), device_page(i));
		assert_int_equal(pfn_order(pfns[2 + i]), 0);
		assert_on_device(FIRST + i, i);
	}
	assert_system(N + 2, 2);
	assert_int_equal(owner.faults, 0);
	assert_int_equal(owner.refs, 1 + N);
}

static void fault_in_brings_pages_of_others_home(void **state)
{
	(void)state;
	assert_int_equal(fault_in_by(&owner, FIRST, N, true), 0);
	assert_system(0, N);
	assert_int_equal(owner.faults, N);
	assert_true(fake_matches(window(FIRST), N, 1));
	assert_nothing_on_device();
}

static void fault_in_without_owner_brings_all_home(void **state)
{
	(void)state;
	assert_int_equal(fault_in_by(NULL, 0, WINDOW, false), 0);
	assert_system(0, WINDOW);
	assert_true(fake_matches(window(FIRST), N, 1));
	assert_nothing_on_device();
}

/* Whoever has them: the CPU does not fault on them either. */
static void fault_in_takes_coherent_pages_as_they_are(void **state)
{
	unsigned long i;

	(void)state;
	pgmap->type = MEMORY_DEVICE_COHERENT;
	assert_int_equal(fault_in_by(NULL, FIRST, N, true), 0);
	assert_int_equal(fault_in_by(&owner, FIRST, N, true), 0);
	for (i = 0; i < N; i++)
		assert_ptr_equal(pfn_device_page(pfns[i]), device_page(i));
	assert_int_equal(owner.faults, 0);
	pgmap->type = MEMORY_DEVICE_PRIVATE;
}

static void fault_in_of_page_that_cannot_come_returns_efault(void **state)
{
	(void)state;
	mm->forking = true;
	assert_int_equal(fault_in_by(NULL, FIRST, N, false), -EFAULT);
	assert_on_device(FIRST, 0);
	assert_int_equal(owner.refs, 1 + N);
}

/* ---- Migrations ---- */

static void begin_home(void)
{
	assert_int_equal(gpusvm_migrate_home_begin(&m, fake_addr(fake, 0),
						   fake_addr(fake, WINDOW)),
			 N);
}

static void fault_in_of_moving_page_waits_to_the_deadline(void **state)
{
	(void)state;
	begin_home();
	assert_int_equal(fault_in(FIRST, N, true), -EBUSY);
	gpusvm_migrate_home_abort(&m);
	assert_int_equal(fault_in(FIRST, N, true), 0);
}

static void fault_in_patiently(void *arg)
{
	struct fault_in fault = {
		.mm = mm,
		.start = fake_addr(fake, FIRST),
		.npages = N,
		.owner = pgmap->owner,
		.deadline_ns = gpusvm_sys_now_ns() + 60ul * 1000000000,
		.pfns = pfns,
	};

	*(int *)arg = gpusvm_fault_in(&fault);
}

static void fault_in_of_moving_page_waits_for_its_end(void **state)
{
	struct unit_thread t;
	int err = 1;

	(void)state;
	begin_home();
	unit_thread_start(&t, fault_in_patiently, &err);
	unit_thread_settle(&t);
	assert_false(unit_thread_done(&t));
	copy_to_ram();
	gpusvm_migrate_home_commit(&m);
	unit_thread_join(&t);
	assert_int_equal(err, 0);
	assert_system(0, N);
	assert_true(fake_matches(window(FIRST), N, 1));
}

/* ---- Only looking ---- */

static bool present(unsigned long first, unsigned long n, void *by)
{
	return gpusvm_pages_present(mm, fake_addr(fake, first),
				    fake_addr(fake, first + n), by);
}

static void pages_present_needs_every_page(void **state)
{
	(void)state;
	fake_fill(window(20), 10, 1);
	assert_true(present(20, 10, NULL));
	assert_false(present(20, 11, NULL));
	assert_false(present(19, 11, NULL));
	assert_false(fake_present(fake_addr(fake, 19)));
	assert_true(present(20, 0, NULL));
}

static void pages_present_counts_device_pages_of_the_owner(void **state)
{
	(void)state;
	fake_fill(window(FIRST + N), 2, 1);
	assert_true(present(FIRST, N + 2, pgmap->owner));
	assert_false(present(FIRST, N + 2, &owner));
	begin_home();
	assert_false(present(FIRST, N, pgmap->owner));
	gpusvm_migrate_home_abort(&m);
	assert_true(present(FIRST, N, pgmap->owner));
	assert_int_equal(owner.faults, 0);
}

/* No owner on either side is not the same owner. */
static void pages_present_without_owner_counts_no_device_page(void **state)
{
	void *by = pgmap->owner;

	(void)state;
	fake_fill(window(FIRST + N), 2, 1);
	pgmap->owner = NULL;
	assert_false(present(FIRST, N, NULL));
	assert_false(present(FIRST + N - 1, 2, NULL));
	assert_true(present(FIRST + N, 2, NULL));
	pgmap->owner = by;
	assert_true(present(FIRST, N + 2, by));
	assert_int_equal(owner.faults, 0);
	assert_on_device(FIRST, 0);
}

static void pages_present_that_cannot_be_found_out_is_false(void **state)
{
	(void)state;
	fake_fill(window(20), 10, 1);
	mm->features &= ~GPUSVM_FEATURE_PAGEMAP_SCAN;
	fake_sys_fail(FAKE_SYS_PREAD, -EIO, 1);
	assert_false(present(20, 10, NULL));
	assert_true(present(20, 10, NULL));
}

#define fault_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		fault_test(fault_in_for_writing_populates),
		fault_test(fault_in_for_reading_keeps_data),
		fault_test(fault_in_of_hole_returns_efault),
		fault_test(fault_in_checks_protection),
		fault_test(fault_in_that_fails_returns_efault),
		fault_test(fault_in_interrupted_goes_on),
		fault_test(fault_in_without_kernel_faults_fills_trapped_pages),
		fault_test(fault_in_without_kernel_faults_of_present_pages),
		fault_test(fault_in_without_kernel_faults_lets_pages_go),
		fault_test(fault_in_without_kernel_faults_meets_a_dropped_page),
		fault_test(fault_in_without_kernel_faults_tells_other_failures),
		fault_test(fault_in_without_kernel_faults_meets_a_moved_page),
		fault_test(fault_in_of_huge_pages_tells_aligned_orders),
		fault_test(fault_in_takes_pages_of_the_owner),
		fault_test(fault_in_brings_pages_of_others_home),
		fault_test(fault_in_without_owner_brings_all_home),
		fault_test(fault_in_takes_coherent_pages_as_they_are),
		fault_test(fault_in_of_page_that_cannot_come_returns_efault),
		fault_test(fault_in_of_moving_page_waits_to_the_deadline),
		fault_test(fault_in_of_moving_page_waits_for_its_end),
		fault_test(pages_present_needs_every_page),
		fault_test(pages_present_counts_device_pages_of_the_owner),
		fault_test(pages_present_without_owner_counts_no_device_page),
		fault_test(pages_present_that_cannot_be_found_out_is_false),
	};

	return cmocka_run_group_tests_name("fault_in", tests, NULL, NULL);
}
