/* SPDX-License-Identifier: MIT */
/*
 * Copies that complete by a fence within the call: the migration goes on when
 * the fence is signalled and not before, whoever signals it, when, and with
 * what.
 */
#include "fake_later.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct fake_driver *create(const struct drm_gpusvm_devmem_ops *ops)
{
	struct fake_driver *d = fake_driver_create(NULL);

	d->devmem_ops = ops;
	return d;
}

/* ---- A call on a thread of its own ---- */

struct call {
	struct fake_driver *d;
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
	const unsigned char *mem;
	size_t size;
	pthread_t thread;
	int err;
	size_t matched;
	/* How many fences had been signalled when it returned. */
	unsigned int signalled;
	bool done;
};

static void returned(struct call *call)
{
	call->signalled = fake_later_signalled();
	__atomic_store_n(&call->done, true, __ATOMIC_RELEASE);
}

static bool is_done(struct call *call)
{
	return __atomic_load_n(&call->done, __ATOMIC_ACQUIRE);
}

static void *run_migrate(void *arg)
{
	struct call *call = arg;

	call->err = fake_migrate(call->d, call->range, &call->alloc);
	returned(call);
	return NULL;
}

static void *run_evict(void *arg)
{
	struct call *call = arg;

	call->err = drm_gpusvm_evict_to_ram(&call->alloc->base);
	returned(call);
	return NULL;
}

static void *run_match(void *arg)
{
	struct call *call = arg;

	call->matched = test_match(call->mem, call->size, 1);
	returned(call);
	return NULL;
}

/* Until its copy is in the queue; how many fences were signalled by then. */
static unsigned int start(struct call *call, void *(*fn)(void *arg))
{
	unsigned int before = fake_later_signalled();

	test_thread_start(&call->thread, fn, call);
	test_wait_until(fake_later_count() == 1);
	return before;
}

/* Filled memory, and a range over it. */
static struct call *prepare(struct fake_driver *d)
{
	struct call *call = gpusvm_alloc(sizeof(*call));
	unsigned char *mem = test_map(SZ_64K, SZ_64K);

	assert_non_null(call);
	test_cleanup(gpusvm_free, call);
	test_fill(mem, SZ_64K, 1);
	call->d = d;
	call->mem = mem;
	call->size = SZ_64K;
	call->range = fake_range_at(d, mem, SZ_64K);
	return call;
}

static void migration_waits_for_its_fence(void **state)
{
	struct call *call = prepare(create(&fake_later_ops));
	struct call touch = { .mem = call->mem, .size = SZ_64K };
	unsigned int before;

	(void)state;
	before = start(call, run_migrate);
	test_thread_start(&touch.thread, run_match, &touch);
	assert_false(is_done(call));
	assert_true(fake_later_complete(0, 0));
	test_thread_join(call->thread);
	test_thread_join(touch.thread);
	assert_ret(call->err, 0);
	assert_int_equal(call->signalled, before + 1);
	assert_int_equal(touch.matched, SZ_64K);
}

static void data_is_on_the_device_then(void **state)
{
	struct call *call = prepare(create(&fake_later_ops));

	(void)state;
	start(call, run_migrate);
	assert_true(fake_later_complete(0, 0));
	test_thread_join(call->thread);
	assert_ret(call->err, 0);
	assert_ret(fake_get_pages(call->d, call->range), 0);
	assert_dev_filled(call->d, call->range, 1);
	assert_filled(call->mem, SZ_64K, 1);
}

static void assert_undone(struct call *call)
{
	assert_filled(call->mem, SZ_64K, 1);
	assert_int_equal(fake_devmem_used(call->d), 0);
	assert_int_equal(call->d->releases, 0);
	/* And it works the next time. */
	call->d->devmem_ops = &fake_devmem_ops;
	assert_ret(fake_migrate(call->d, call->range, &call->alloc), 0);
	assert_filled(call->mem, SZ_64K, 1);
}

static void error_of_the_fence_is_the_callbacks(void **state)
{
	struct call *call = prepare(create(&fake_later_ops));

	(void)state;
	start(call, run_migrate);
	assert_true(fake_later_complete(0, -EREMOTEIO));
	test_thread_join(call->thread);
	assert_ret(call->err, -EREMOTEIO);
	assert_undone(call);
}

/* ---- Callbacks that do it otherwise ---- */

static struct gpusvm_fence *given;
static int second, elsewhere;

static int copy_and_say(struct page **pages, dma_addr_t *dma_addr,
			unsigned long npages)
{
	int err = fake_devmem_ops.copy_to_devmem(pages, dma_addr, npages);

	assert_ret(gpusvm_copy_completes(pages, npages, given), 0);
	return err;
}

static int signal_before_returning(struct page **pages, dma_addr_t *dma_addr,
				   unsigned long npages)
{
	int err = copy_and_say(pages, dma_addr, npages);

	gpusvm_fence_signal(given, 0);
	return err;
}

static void *say_elsewhere(void *pages)
{
	elsewhere = gpusvm_copy_completes(pages, 1, given);
	return NULL;
}

static int say_twice(struct page **pages, dma_addr_t *dma_addr,
		     unsigned long npages)
{
	pthread_t thread;
	int err;

	if (pthread_create(&thread, NULL, say_elsewhere, pages))
		return -EAGAIN;
	pthread_join(thread, NULL);
	err = signal_before_returning(pages, dma_addr, npages);
	second = gpusvm_copy_completes(pages, npages, given);
	return err;
}

/* The engine is at it, and then something else goes wrong. */
static int fail_after_start(struct page **pages, dma_addr_t *dma_addr,
			    unsigned long npages)
{
	fake_later_ops.copy_to_devmem(pages, dma_addr, npages);
	return -ENXIO;
}

static int say_and_forget(struct page **pages, dma_addr_t *dma_addr,
			  unsigned long npages)
{
	int err = copy_and_say(pages, dma_addr, npages);

	gpusvm_fence_put(given);
	given = NULL;
	return err;
}

static struct call *prepare_with(int (*copy)(struct page **pages,
					     dma_addr_t *dma_addr,
					     unsigned long npages))
{
	static struct drm_gpusvm_devmem_ops ops;

	ops = fake_later_ops;
	ops.copy_to_devmem = copy;
	assert_ret(gpusvm_fence_create(&given), 0);
	return prepare(create(&ops));
}

static void migrate_now(struct call *call, int expected)
{
	assert_ret(fake_migrate(call->d, call->range, &call->alloc), expected);
}

static void fence_may_be_signalled_before_the_callback_returns(void **state)
{
	struct call *call = prepare_with(signal_before_returning);

	(void)state;
	migrate_now(call, 0);
	assert_ret(gpusvm_fence_signal(given, -EIO), -EALREADY);
	gpusvm_fence_put(given);
	assert_ret(fake_get_pages(call->d, call->range), 0);
	assert_dev_filled(call->d, call->range, 1);
}

static void fence_is_given_once_and_by_the_callback(void **state)
{
	struct call *call = prepare_with(say_twice);
	struct page *page;

	(void)state;
	migrate_now(call, 0);
	assert_ret(elsewhere, -EOPNOTSUPP);
	assert_ret(second, -EBUSY);
	page = fake_alloc_struct_page(call->alloc, 0);
	assert_ret(gpusvm_copy_completes(&page, 1, given), -EOPNOTSUPP);
	assert_ret(gpusvm_copy_completes(&page, 1, NULL), -EINVAL);
	assert_ret(gpusvm_copy_completes(NULL, 0, given), -EINVAL);
	page = NULL;
	assert_ret(gpusvm_copy_completes(&page, 1, given), -EINVAL);
	gpusvm_fence_put(given);
}

static void fence_of_a_callback_that_fails_is_waited_for(void **state)
{
	struct call *call = prepare_with(fail_after_start);
	unsigned int before;

	(void)state;
	gpusvm_fence_put(given);
	before = start(call, run_migrate);
	assert_true(fake_later_complete(0, 0));
	test_thread_join(call->thread);
	assert_ret(call->err, -ENXIO);
	assert_int_equal(call->signalled, before + 1);
	assert_undone(call);
}

static void fence_that_nobody_can_signal_fails(void **state)
{
	struct call *call = prepare_with(say_and_forget);
	unsigned long errors = test_log_errors();

	(void)state;
	migrate_now(call, -EDEADLK);
	assert_int_equal(test_log_errors(), errors + 1);
	assert_undone(call);
}

/* ---- Home ---- */

static struct call *prepare_home(void)
{
	struct call *call = prepare(create(&fake_later_both_ops));

	start(call, run_migrate);
	assert_true(fake_later_complete(0, 0));
	test_thread_join(call->thread);
	assert_ret(call->err, 0);
	call->done = false;
	return call;
}

static void cpu_waits_for_the_fence_of_its_page(void **state)
{
	struct call *call = prepare_home();
	unsigned int before;

	(void)state;
	before = start(call, run_match);
	assert_false(is_done(call));
	fake_later_complete_all();
	/* Where protection is by allocation, one is all there is. */
	test_wait_until((fake_later_complete_all(), is_done(call)));
	test_thread_join(call->thread);
	assert_int_equal(call->matched, SZ_64K);
	assert_true(call->signalled > before);
	/* The CPU goes on before the last page is let go of. */
	test_wait_until(fake_devmem_used(call->d) == 0);
}

static void eviction_waits_for_its_fence(void **state)
{
	struct call *call = prepare_home();
	unsigned int before;

	(void)state;
	before = start(call, run_evict);
	assert_true(fake_later_complete(0, 0));
	test_thread_join(call->thread);
	assert_ret(call->err, 0);
	assert_int_equal(call->signalled, before + 1);
	assert_filled(call->mem, SZ_64K, 1);
}

static void *fail_copies(void *arg)
{
	struct call *call = arg;

	while (!is_done(call))
		if (!fake_later_complete(0, -EREMOTEIO))
			test_relax();
	return NULL;
}

static void eviction_gets_the_error_of_its_fence(void **state)
{
	struct call *call = prepare_home();
	pthread_t thread;

	(void)state;
	start(call, run_evict);
	test_thread_start(&thread, fail_copies, call);
	test_thread_join(call->thread);
	test_thread_join(thread);
	assert_ret(call->err, -EREMOTEIO);
	assert_int_equal(fake_later_count(), 0);
	assert_int_equal(call->alloc->released, 0);
	assert_filled(fake_alloc_page(call->alloc, 0), SZ_64K, 1);
	call->done = false;
	start(call, run_match);
	test_wait_until((fake_later_complete_all(), is_done(call)));
	test_thread_join(call->thread);
	assert_int_equal(call->matched, SZ_64K);
}

/* In the child: not by exit(), which takes locks that others may have. */
static void child(const struct call *call)
{
	bool right = test_match(call->mem, SZ_64K, 1) == SZ_64K;

	syscall(SYS_exit_group, right ? 0 : 1);
}

static void pages_for_a_child_are_copied_at_once(void **state)
{
	struct call *call = prepare_home();
	int status = -1;
	pid_t pid;

	(void)state;
	if (!(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_FORK_EVENT))
		test_skip("there is no fork event");
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		child(call);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fake_later_count(), 0);
	start(call, run_match);
	test_wait_until((fake_later_complete_all(), is_done(call)));
	test_thread_join(call->thread);
	assert_int_equal(call->matched, SZ_64K);
}

static const struct CMUnitTest tests[] = {
	conf_test(migration_waits_for_its_fence),
	conf_test(data_is_on_the_device_then),
	conf_test(error_of_the_fence_is_the_callbacks),
	conf_test(fence_may_be_signalled_before_the_callback_returns),
	conf_test(fence_is_given_once_and_by_the_callback),
	conf_test(fence_of_a_callback_that_fails_is_waited_for),
	conf_test(fence_that_nobody_can_signal_fails),
	conf_test(cpu_waits_for_the_fence_of_its_page),
	conf_test(eviction_waits_for_its_fence),
	conf_test(eviction_gets_the_error_of_its_fence),
	conf_test(pages_for_a_child_are_copied_at_once),
};

CONF_MAIN(tests)
