/* SPDX-License-Identifier: MIT */
/*
 * The end of the address space: closing with pages on a device, pages that are
 * held and migrations that go on; and forks, whose child has none.
 */
#include "unit_mm.h"
#include "unit_thread.h"

#include <sys/wait.h>
#include <unistd.h>

#include "fence.h"
#include "migration.h"

/* ---- Closing ---- */

static void close_in_thread(void *arg)
{
	if (gpusvm_mm_close(arg))
		abort();
}

static void close_waits_for_who_pinned_it(void **state)
{
	struct mm_struct *mm = open_default();
	struct unit_thread t;

	(void)state;
	assert_true(gpusvm_mm_pin(mm));
	unit_thread_start(&t, close_in_thread, mm);
	unit_thread_settle(&t);
	assert_false(unit_thread_done(&t));
	assert_int_equal(fake_source_count(fake, FAKE_OP_CLOSE), 0);
	gpusvm_mm_unpin(mm);
	unit_thread_join(&t);
	assert_int_equal(fake->count[FAKE_OP_CLOSE], 1);
}

static enum mmu_notifier_event events[4];
static unsigned int nevents;

static bool note_event(struct mmu_interval_notifier *notifier,
		       const struct mmu_notifier_range *range,
		       unsigned long cur_seq)
{
	gpusvm_mmu_interval_set_seq(notifier, cur_seq);
	if (nevents < ARRAY_SIZE(events))
		events[nevents++] = range->event;
	return true;
}

static const struct mmu_interval_notifier_ops ops = {
	.invalidate = note_event,
};

static void close_tells_release_then_unmap(void **state)
{
	struct mmu_interval_notifier notifier;
	struct mm_struct *mm = open_default();

	(void)state;
	nevents = 0;
	gpusvm_mm_grab(mm);
	assert_int_equal(gpusvm_mmu_interval_notifier_insert(
				 &notifier, mm, fake->start, PAGE_SIZE, &ops),
			 0);
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_int_equal(nevents, 2);
	assert_int_equal(events[0], MMU_NOTIFY_RELEASE);
	assert_int_equal(events[1], MMU_NOTIFY_UNMAP);
	gpusvm_mmu_interval_notifier_remove(&notifier);
	gpusvm_mm_drop(mm);
}

static bool copy_fails;

static enum vm_fault_result come_home(struct vm_fault *vmf)
{
	struct page *page;

	if (copy_fails)
		return VM_FAULT_SIGBUS;
	pthread_mutex_lock(&vmf->mm->pt_lock);
	page = gpusvm_devpt_clear(&vmf->mm->pt, vmf->address);
	pthread_mutex_unlock(&vmf->mm->pt_lock);
	gpusvm_page_put(page);
	return VM_FAULT_DONE;
}

static void put_on_device(struct mm_struct *mm, struct dev_pagemap *pgmap,
			  struct fake_owner *owner)
{
	owner->refs = 1;
	owner->fault = come_home;
	assert_int_equal(gpusvm_page_init(pgmap->pages, owner), 0);
	pthread_mutex_lock(&mm->pt_lock);
	assert_int_equal(gpusvm_devpt_set(&mm->pt, fake->start, pgmap->pages),
			 0);
	pthread_mutex_unlock(&mm->pt_lock);
}

static void close_with_pages_that_cannot_come_stays_open(void **state)
{
	struct dev_pagemap *pgmap = fake_devmem_create(1);
	struct gpusvm_stats stats = { .size = sizeof(stats) };
	struct mm_struct *mm = open_default();
	struct fake_owner owner = { 0 };

	(void)state;
	put_on_device(mm, pgmap, &owner);
	copy_fails = true;
	assert_int_equal(gpusvm_mm_close(mm), -EFAULT);
	assert_true(gpusvm_mm_alive(mm));
	assert_int_equal(gpusvm_mm_get_stats(mm, &stats), 0);
	assert_int_equal(stats.device_pages, 1);
	assert_int_equal(log_errors, 1);
	copy_fails = false;
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_int_equal(owner.refs, 1);
	assert_true(fake_devmem_destroy(pgmap));
}

/* ---- Closing while pages are held; time is the test's ---- */

static unsigned long now_ns;
static unsigned int naps;
static struct migration *held; /* let go of at the third nap */
static unsigned long let_go_ns;

static bool nap(const unsigned long *args, long *ret)
{
	struct migration *m = NULL;

	(void)ret;
	__atomic_fetch_add(&now_ns, args[0], __ATOMIC_RELAXED);
	if (__atomic_add_fetch(&naps, 1, __ATOMIC_RELAXED) == 3)
		m = __atomic_exchange_n(&held, NULL, __ATOMIC_RELAXED);
	if (!m)
		return true;
	let_go_ns = __atomic_load_n(&now_ns, __ATOMIC_RELAXED);
	gpusvm_migration_fini(m);
	return true;
}

static struct mm_struct *open_with_allocation(struct migration *m)
{
	struct mm_struct *mm = open_default();

	assert_int_equal(gpusvm_migration_init(m, mm, 4), 0);
	fake_fill((void *)m->run->addr, 4, 1);
	now_ns = 1000000000;
	naps = 0;
	held = NULL;
	fake_sys_clock(&now_ns, 0);
	fake_sys_hook(FAKE_SYS_NANOSLEEP, nap);
	return mm;
}

/* Its staging memory would be somebody else's when the page is let go of. */
static void close_while_pages_are_held_stays_open(void **state)
{
	struct gpusvm_stats stats = { .size = sizeof(stats) };
	struct migration m;
	struct mm_struct *mm = open_with_allocation(&m);

	(void)state;
	assert_int_equal(gpusvm_mm_close(mm), -EBUSY);
	assert_in_range(now_ns, 2000000000, 3000000000);
	assert_int_equal(log_errors, 1);
	assert_true(gpusvm_mm_alive(mm));
	assert_int_equal(gpusvm_mm_get_stats(mm, &stats), 0);
	assert_true(fake_matches((void *)m.run->addr, 4, 1));
	assert_int_equal(fake_source_count(fake, FAKE_OP_CLOSE), 0);
	gpusvm_migration_fini(&m);
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_int_equal(fake->count[FAKE_OP_CLOSE], 1);
	assert_int_equal(log_errors, 1);
}

static void close_waits_for_pages_being_let_go_of(void **state)
{
	struct migration m;
	struct mm_struct *mm = open_with_allocation(&m);

	(void)state;
	__atomic_store_n(&held, &m, __ATOMIC_RELAXED);
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_null(held);
	/* Then the threads are waited for, which takes naps as well. */
	assert_true(let_go_ns < 2000000000);
	assert_int_equal(log_errors, 0);
}

/* ---- Forks ---- */

static int in_child(struct mm_struct *mm)
{
	if (gpusvm_mm_alive(mm))
		return 1;
	if (gpusvm_mm_close(mm) != -EINVAL)
		return 2;
	if (gpusvm_mm_pin(mm))
		return 3;
	if (mm->pid == getpid())
		return 5;
	/* The parent's descriptors are closed, or its mirror would live on. */
	return unit_count_fds() == fds_before ? 0 : 4;
}

static void fork_brings_all_home_and_closes_in_the_child(void **state)
{
	struct dev_pagemap *pgmap = fake_devmem_create(1);
	struct mm_struct *mm = open_default();
	struct fake_owner owner = { 0 };
	int status;
	pid_t pid;

	(void)state;
	copy_fails = false;
	put_on_device(mm, pgmap, &owner);
	pid = fork();
	if (!pid)
		_exit(in_child(mm));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(owner.refs, 1);
	assert_int_equal(mm->pt.npages, 0);
	assert_true(gpusvm_mm_alive(mm));
	assert_false(mm->forking);
	assert_int_equal(mm->pid, getpid());
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_true(fake_devmem_destroy(pgmap));
}

/* ---- Migrations that go on after their call ---- */

static struct migration going_on;

static void end_it(struct migration *m)
{
	gpusvm_migration_wait_copied(m, 0);
	gpusvm_under_way_remove(m);
}

static struct gpusvm_fence *let_it_go_on(struct mm_struct *mm)
{
	struct gpusvm_fence *fence;

	assert_int_equal(gpusvm_fence_create(&fence), 0);
	assert_int_equal(gpusvm_under_way_start(mm), 0);
	going_on = (struct migration){ .mm = mm };
	assert_int_equal(gpusvm_migration_set_fence(&going_on, fence), 0);
	gpusvm_under_way_add(&going_on, end_it);
	return fence;
}

static bool forked;

static void fork_and_reap(void *arg)
{
	pid_t pid = fork();

	(void)arg;
	if (pid == 0)
		_exit(0);
	__atomic_store_n(&forked, true, __ATOMIC_RELEASE);
	waitpid(pid, NULL, 0);
}

static void fork_waits_for_what_goes_on(void **state)
{
	struct mm_struct *mm = open_with(GPUSVM_TECHNIQUE_MOVE);
	struct gpusvm_fence *fence = let_it_go_on(mm);
	struct unit_thread thread;

	(void)state;
	unit_thread_start(&thread, fork_and_reap, NULL);
	unit_thread_settle(&thread);
	assert_false(__atomic_load_n(&forked, __ATOMIC_ACQUIRE));
	gpusvm_fence_signal(fence, 0);
	unit_thread_join(&thread);
	assert_true(forked);
	gpusvm_fence_put(fence);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

static void close_waits_for_what_goes_on_a_second(void **state)
{
	struct mm_struct *mm = open_with(GPUSVM_TECHNIQUE_MOVE);
	struct gpusvm_fence *fence = let_it_go_on(mm);

	(void)state;
	assert_int_equal(gpusvm_mm_close(mm), -EBUSY);
	assert_int_equal(log_errors, 1);
	gpusvm_fence_signal(fence, 0);
	gpusvm_fence_put(fence);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

#define mm_test(fn) cmocka_unit_test_setup_teardown(fn, mm_setup, mm_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		mm_test(close_waits_for_who_pinned_it),
		mm_test(close_tells_release_then_unmap),
		mm_test(close_with_pages_that_cannot_come_stays_open),
		mm_test(close_while_pages_are_held_stays_open),
		mm_test(close_waits_for_pages_being_let_go_of),
		mm_test(fork_brings_all_home_and_closes_in_the_child),
		mm_test(fork_waits_for_what_goes_on),
		mm_test(close_waits_for_what_goes_on_a_second),
	};

	return cmocka_run_group_tests_name("mm_close", tests, NULL, NULL);
}
