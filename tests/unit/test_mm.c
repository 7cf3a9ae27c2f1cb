/* SPDX-License-Identifier: MIT */
/*
 * The life of the address space: options, what is chosen, every failure on the
 * way to an open one, references, closing with pages on a device, counters.
 */
#include "unit_thread.h"

#include <dirent.h>
#include <errno.h>
#include <gpusvm/gpusvm.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "compiler.h"
#include "fake_source.h"
#include "fake_sys.h"
#include "fence.h"
#include "migration.h"
#include "mm.h"
#include "page_size.h"

/* ---- The source and the allocator are the test's ---- */

int __wrap_gpusvm_source_open(enum gpusvm_source wanted,
			      struct source **source);
void *__real_gpusvm_alloc(size_t size);
void *__wrap_gpusvm_alloc(size_t size);
void *__real_gpusvm_alloc_pages(size_t size, size_t align);
void *__wrap_gpusvm_alloc_pages(size_t size, size_t align);

static struct fake_source *fake;
static int uffd_error;
static unsigned int fail_in;

int __wrap_gpusvm_source_open(enum gpusvm_source wanted, struct source **source)
{
	(void)wanted;
	*source = &fake->source;
	return uffd_error;
}

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

static unsigned int log_errors;

static void count_errors(enum gpusvm_log_level level, const char *message,
			 void *priv)
{
	(void)message;
	(void)priv;
	__atomic_fetch_add(&log_errors, level == GPUSVM_LOG_ERROR,
			   __ATOMIC_RELAXED);
}

static size_t blocks_before;
static unsigned int fds_before;

static unsigned int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int setup(void **state)
{
	(void)state;
	fake_sys_reset();
	fake = fake_source_create(16, GPUSVM_TECHNIQUE_MOVE);
	fake->source.features = GPUSVM_FEATURE_USERFAULTFD |
				GPUSVM_FEATURE_MOVE;
	uffd_error = 0;
	fail_in = 0;
	log_errors = 0;
	gpusvm_set_log(count_errors, NULL, GPUSVM_LOG_INFO);
	blocks_before = gpusvm_alloc_live();
	fds_before = count_entries("/proc/self/fd");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_sys_reset();
	gpusvm_set_log(NULL, NULL, GPUSVM_LOG_ERROR);
	assert_int_equal(gpusvm_alloc_live(), blocks_before);
	assert_int_equal(count_entries("/proc/self/fd"), fds_before);
	return fake_source_destroy(fake) ? 0 : -1;
}

static struct mm_struct *open_with(enum gpusvm_technique technique)
{
	struct gpusvm_mm_opts opts = {
		.size = sizeof(opts),
		.technique = technique,
	};
	struct mm_struct *mm = NULL;

	assert_int_equal(gpusvm_mm_open(&mm, &opts), 0);
	assert_non_null(mm);
	return mm;
}

static struct mm_struct *open_default(void)
{
	struct mm_struct *mm = NULL;

	assert_int_equal(gpusvm_mm_open(&mm, NULL), 0);
	assert_non_null(mm);
	return mm;
}

/* ---- Options ---- */

static void open_with_bad_arguments_returns_einval(void **state)
{
	struct gpusvm_mm_opts opts = { .size = sizeof(opts) };
	struct mm_struct *mm;

	(void)state;
	assert_int_equal(gpusvm_mm_open(NULL, NULL), -EINVAL);
	opts.size = sizeof(size_t) - 1;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EINVAL);
	opts.size = 0;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EINVAL);
	opts.size = sizeof(opts);
	opts.technique = GPUSVM_TECHNIQUE_WRITE_PROTECT + 1;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EINVAL);
	opts.technique = GPUSVM_TECHNIQUE_AUTO;
	opts.cpu_fault_bytes = PAGE_SIZE / 2;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EINVAL);
	opts.cpu_fault_bytes = 3 * PAGE_SIZE;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EINVAL);
	assert_int_equal(log_errors, 5);
}

/* Of an older version: what it does not have is the default. */
static void open_with_fewer_options_takes_those(void **state)
{
	struct gpusvm_mm_opts opts = {
		.size = offsetof(struct gpusvm_mm_opts, cpu_fault_bytes),
		.technique = GPUSVM_TECHNIQUE_WRITE_PROTECT,
		.cpu_fault_bytes = 3,
	};
	struct mm_struct *mm;

	(void)state;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), 0);
	assert_int_equal(mm->technique, GPUSVM_TECHNIQUE_WRITE_PROTECT);
	assert_int_equal(mm->cpu_fault_bytes, 0);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

/* Of a newer one: only if it does not ask for what is unknown here. */
static void open_with_more_options_refuses_those_that_are_set(void **state)
{
	struct {
		struct gpusvm_mm_opts known;
		unsigned long unknown;
	} opts = { .known.size = sizeof(opts), .unknown = 1 };
	struct mm_struct *mm;

	(void)state;
	assert_int_equal(gpusvm_mm_open(&mm, &opts.known), -EINVAL);
	opts.unknown = 0;
	assert_int_equal(gpusvm_mm_open(&mm, &opts.known), 0);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

static void open_takes_the_best_technique(void **state)
{
	struct mm_struct *mm = open_default();

	(void)state;
	assert_int_equal(mm->technique, GPUSVM_TECHNIQUE_MOVE);
	assert_true(gpusvm_mm_features(mm) & GPUSVM_FEATURE_MOVE);
	assert_true(gpusvm_mm_features(mm) & GPUSVM_FEATURE_USERFAULTFD);
	assert_int_equal(gpusvm_mm_close(mm), 0);

	fake->source.features = GPUSVM_FEATURE_USERFAULTFD;
	mm = open_default();
	assert_int_equal(mm->technique, GPUSVM_TECHNIQUE_WRITE_PROTECT);
	assert_false(gpusvm_mm_features(mm) & GPUSVM_FEATURE_MOVE);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

static void open_takes_the_technique_asked_for(void **state)
{
	struct gpusvm_mm_opts opts = {
		.size = sizeof(opts),
		.technique = GPUSVM_TECHNIQUE_MOVE,
		.staging_bytes = 12345,
	};
	struct mm_struct *mm = open_with(GPUSVM_TECHNIQUE_WRITE_PROTECT);

	(void)state;
	assert_int_equal(mm->technique, GPUSVM_TECHNIQUE_WRITE_PROTECT);
	assert_false(gpusvm_mm_features(mm) & GPUSVM_FEATURE_MOVE);
	assert_int_equal(gpusvm_mm_close(mm), 0);

	assert_int_equal(gpusvm_mm_open(&mm, &opts), 0);
	assert_int_equal(mm->staging.limit, 12345);
	assert_int_equal(gpusvm_mm_close(mm), 0);

	fake->source.features = 0;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EOPNOTSUPP);
	assert_null(mm);
	assert_int_equal(log_errors, 1);

	/* Pages that can be kept from everybody are not write-protected. */
	fake->source.features = GPUSVM_FEATURE_MOVE | GPUSVM_FEATURE_RWP;
	opts.technique = GPUSVM_TECHNIQUE_WRITE_PROTECT;
	assert_int_equal(gpusvm_mm_open(&mm, &opts), -EOPNOTSUPP);
	assert_int_equal(log_errors, 2);
	mm = open_default();
	assert_int_equal(mm->technique, GPUSVM_TECHNIQUE_MOVE);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

/* ---- Failures ---- */

static void open_fails(int expected)
{
	struct mm_struct *mm = (struct mm_struct *)1;

	assert_int_equal(gpusvm_mm_open(&mm, NULL), expected);
	assert_null(mm);
	assert_int_equal(gpusvm_alloc_live(), blocks_before);
	assert_int_equal(count_entries("/proc/self/fd"), fds_before);
}

static void open_that_fails_at_a_step_undoes_the_others(void **state)
{
	(void)state;
	/* The first is of a limit that has a default. */
	fake_sys_fail(FAKE_SYS_OPEN, -EACCES, 2);
	open_fails(-EACCES);
	fake_sys_fail(FAKE_SYS_OPEN, -EMFILE, 3);
	open_fails(-EMFILE);
	uffd_error = -EPERM;
	open_fails(-EPERM);
	uffd_error = 0;
	assert_int_equal(fake->count[FAKE_OP_CLOSE], 0);
	fake_sys_fail(FAKE_SYS_EVENTFD, -ENFILE, 1);
	open_fails(-ENFILE);
	assert_int_equal(fake->count[FAKE_OP_CLOSE], 1);
	fake_source_fail(fake, FAKE_OP_WAKE, -EINVAL);
	open_fails(-EINVAL);
	assert_int_equal(fake->count[FAKE_OP_CLOSE], 2);
	fake_source_forget_plans(fake);
	assert_int_equal(gpusvm_mm_close(open_default()), 0);
}

static void open_without_memory_returns_enomem(void **state)
{
	struct mm_struct *mm;
	unsigned int n;

	(void)state;
	for (n = 1; n < 20; n++) {
		fail_in = n;
		if (!gpusvm_mm_open(&mm, NULL))
			break;
		assert_int_equal(fail_in, 0);
		assert_null(mm);
		assert_int_equal(gpusvm_alloc_live(), blocks_before);
		assert_int_equal(count_entries("/proc/self/fd"), fds_before);
	}
	/* The structure, the buffer for forks, and two stacks at least. */
	assert_in_range(n, 5, 19);
	fail_in = 0;
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

/* It looks for the end of addresses from above. */
static void open_finds_the_highest_address(void **state)
{
	struct mm_struct *mm;

	(void)state;
	fake_source_plan(fake, (struct fake_plan){ .op = FAKE_OP_WAKE,
						   .times = 9,
						   .error = -EINVAL });
	mm = open_default();
	assert_int_equal(mm->wake_end, (1ul << 47) - PAGE_SIZE);
	pthread_mutex_lock(&fake->lock);
	fake->ncalls = 0;
	pthread_mutex_unlock(&fake->lock);
	gpusvm_mm_wake_all(mm);
	assert_true(fake_source_called(fake, FAKE_OP_WAKE,
				       (1ul << 47) - 2 * PAGE_SIZE));
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

/* ---- References ---- */

static void open_twice_gives_the_same_object(void **state)
{
	struct mm_struct *mm = open_default();

	(void)state;
	assert_ptr_equal(open_with(GPUSVM_TECHNIQUE_WRITE_PROTECT), mm);
	/* Only the first call decides. */
	assert_int_equal(mm->technique, GPUSVM_TECHNIQUE_MOVE);
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_true(gpusvm_mm_alive(mm));
	assert_int_equal(fake->count[FAKE_OP_CLOSE], 0);
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_int_equal(fake->count[FAKE_OP_CLOSE], 1);
}

static void close_too_often_returns_einval(void **state)
{
	struct mm_struct *mm = open_default();

	(void)state;
	gpusvm_mm_grab(mm);
	assert_int_equal(gpusvm_mm_close(NULL), -EINVAL);
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_int_equal(gpusvm_mm_close(mm), -EINVAL);
	gpusvm_mm_drop(mm);
}

static void closed_structure_stays_while_referred_to(void **state)
{
	struct gpusvm_stats stats = { .size = sizeof(stats) };
	struct mm_struct *mm = open_default();

	(void)state;
	gpusvm_mm_grab(mm);
	assert_int_equal(gpusvm_mm_close(mm), 0);
	assert_false(gpusvm_mm_alive(mm));
	assert_false(gpusvm_mm_pin(mm));
	gpusvm_mm_sync(mm);
	assert_int_equal(gpusvm_mm_get_stats(mm, &stats), 0);
	gpusvm_mm_read_lock(mm);
	gpusvm_mm_read_unlock(mm);
	/* Another one may be open beside it. */
	assert_ptr_not_equal(open_default(), mm);
	assert_int_equal(gpusvm_mm_close(gpusvm_mm_current()), 0);
	gpusvm_mm_drop(mm);
}

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

/* ---- Closing ---- */

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

static bool tell_time(const unsigned long *args, long *ret)
{
	(void)args;
	*ret = (long)__atomic_load_n(&now_ns, __ATOMIC_RELAXED);
	return true;
}

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
	fake_sys_hook(FAKE_SYS_NOW_NS, tell_time);
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
	return count_entries("/proc/self/fd") == fds_before ? 0 : 4;
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

/* ---- Counters ---- */

static void stats_with_bad_arguments_returns_einval(void **state)
{
	struct gpusvm_stats stats = { .size = sizeof(size_t) - 1 };
	struct mm_struct *mm = open_default();

	(void)state;
	assert_int_equal(gpusvm_mm_get_stats(mm, &stats), -EINVAL);
	assert_int_equal(gpusvm_mm_get_stats(mm, NULL), -EINVAL);
	assert_int_equal(gpusvm_mm_get_stats(NULL, &stats), -EINVAL);
	assert_int_equal(gpusvm_mm_features(NULL), 0);
	gpusvm_mm_sync(NULL);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

/* A program that was built with fewer counters gets those. */
static void stats_fill_as_far_as_the_size_says(void **state)
{
	struct gpusvm_stats stats;
	struct mm_struct *mm = open_default();

	(void)state;
	mm->stats.cpu_faults = 11;
	mm->stats.zero_faults = 22;
	mm->stats.events = 33;
	memset(&stats, 0xa5, sizeof(stats));
	stats.size = offsetof(struct gpusvm_stats, zero_faults);
	assert_int_equal(gpusvm_mm_get_stats(mm, &stats), 0);
	assert_int_equal(stats.cpu_faults, 11);
	assert_int_equal(stats.zero_faults, 0xa5a5a5a5a5a5a5a5);
	assert_int_equal(stats.size,
			 offsetof(struct gpusvm_stats, zero_faults));
	stats.size = sizeof(stats) + 100;
	assert_int_equal(gpusvm_mm_get_stats(mm, &stats), 0);
	assert_int_equal(stats.zero_faults, 22);
	assert_int_equal(stats.events, 33);
	assert_int_equal(stats.staging_bytes, 0);
	assert_int_equal(stats.size, sizeof(stats));
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

static void sync_reads_what_there_is(void **state)
{
	struct mm_struct *mm = open_default();

	(void)state;
	gpusvm_down_write(&mm->event_lock);
	fake_source_unmap(fake, 0, 4);
	gpusvm_up_write(&mm->event_lock);
	gpusvm_mm_sync(mm);
	gpusvm_down_read(&mm->event_lock);
	assert_int_equal(fake->nevents, 0);
	gpusvm_up_read(&mm->event_lock);
	assert_int_equal(gpusvm_mm_close(mm), 0);
}

#define mm_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		mm_test(open_with_bad_arguments_returns_einval),
		mm_test(open_with_fewer_options_takes_those),
		mm_test(open_with_more_options_refuses_those_that_are_set),
		mm_test(open_takes_the_best_technique),
		mm_test(open_takes_the_technique_asked_for),
		mm_test(open_that_fails_at_a_step_undoes_the_others),
		mm_test(open_without_memory_returns_enomem),
		mm_test(open_finds_the_highest_address),
		mm_test(open_twice_gives_the_same_object),
		mm_test(close_too_often_returns_einval),
		mm_test(closed_structure_stays_while_referred_to),
		mm_test(close_waits_for_who_pinned_it),
		mm_test(close_tells_release_then_unmap),
		mm_test(close_with_pages_that_cannot_come_stays_open),
		mm_test(close_while_pages_are_held_stays_open),
		mm_test(close_waits_for_pages_being_let_go_of),
		mm_test(fork_brings_all_home_and_closes_in_the_child),
		mm_test(fork_waits_for_what_goes_on),
		mm_test(close_waits_for_what_goes_on_a_second),
		mm_test(stats_with_bad_arguments_returns_einval),
		mm_test(stats_fill_as_far_as_the_size_says),
		mm_test(sync_reads_what_there_is),
	};

	return cmocka_run_group_tests_name("mm", tests, NULL, NULL);
}
