/* SPDX-License-Identifier: MIT */
/*
 * Migrations to a device that go on after the call that started them, and what
 * may happen to the memory, the allocation and the fences meanwhile.  Here the
 * copies end when a test says so, or never.
 */
#include "fake_later.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NPAGES (SZ_64K / PS)

/* A migration that was started. */
struct started {
	struct fake_driver *d;
	unsigned char *mem;
	struct drm_gpusvm_range *range;
	struct fake_alloc *alloc;
	struct gpusvm_fence *done;
};

static void end_all(void *arg)
{
	(void)arg;
	fake_later_complete_all();
}

static struct fake_driver *create(void)
{
	struct fake_driver *d = fake_driver_create(NULL);

	d->devmem_ops = &fake_later_ops;
	/* Also of a test that fails: its driver waits for them. */
	test_cleanup(end_all, NULL);
	return d;
}

/* Of memory that is filled. */
static struct started start_at(struct fake_driver *d, unsigned char *mem)
{
	struct started s = { .d = d, .mem = mem };
	unsigned int before = fake_later_count();

	s.range = fake_range_at(d, mem, SZ_64K);
	s.alloc = fake_alloc_create(d, SZ_64K);
	assert_non_null(s.alloc);
	assert_ret(fake_later_start(d, s.range, s.alloc, &s.done), 0);
	assert_int_equal(fake_later_count(), before + 1);
	assert_false(gpusvm_fence_done(s.done, NULL));
	return s;
}

static struct started start(void)
{
	struct fake_driver *d = create();
	unsigned char *mem = test_map(SZ_64K, SZ_64K);

	test_fill(mem, SZ_64K, 1);
	return start_at(d, mem);
}

/* The copy ends with @err, and then the migration with @expected. */
static void finish(struct started *s, int err, int expected)
{
	assert_true(fake_later_complete(0, err));
	assert_ret(fake_later_wait(s->alloc, s->done), expected);
}

static void assert_on_device(struct started *s)
{
	assert_ret(fake_get_pages(s->d, s->range), 0);
	assert_true(s->range->flags.has_devmem_pages);
	assert_dev_filled(s->d, s->range, 1);
}

static void assert_undone(struct started *s)
{
	assert_filled(s->mem, SZ_64K, 1);
	assert_int_equal(s->d->releases, 0);
	assert_false(gpusvm_completion_done(&s->alloc->base.detached));
	/* Into the same allocation, which is ours again. */
	assert_ret(fake_later_start(s->d, s->range, s->alloc, &s->done), 0);
	finish(s, 0, 0);
	assert_on_device(s);
	assert_filled(s->mem, SZ_64K, 1);
}

/* ---- Start and end ---- */

static void migration_goes_on_after_the_call(void **state)
{
	struct started s = start();

	(void)state;
	assert_int_equal(s.alloc->base.timeslice_expiration, 0);
	finish(&s, 0, 0);
	assert_true(s.alloc->base.timeslice_expiration > 0);
	assert_on_device(&s);
	assert_filled(s.mem, SZ_64K, 1);
	test_wait_until(s.alloc->released == 1);
}

static void copy_within_the_call_ends_within_it(void **state)
{
	struct fake_driver *d = fake_driver_create(NULL);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct started s = { .d = d, .mem = mem };
	int err = 1;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	s.range = fake_range_at(d, mem, SZ_64K);
	s.alloc = fake_alloc_create(d, SZ_64K);
	assert_ret(fake_later_start(d, s.range, s.alloc, &s.done), 0);
	assert_true(gpusvm_fence_done(s.done, &err));
	assert_ret(err, 0);
	gpusvm_fence_put(s.done);
	assert_on_device(&s);
}

static void start_that_fails_signals_nothing(void **state)
{
	const struct drm_gpusvm_ctx ctx = { .timeslice_ms = 0 };
	struct fake_driver *d = create();
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct drm_gpusvm_range *range = fake_range_at(d, mem, SZ_64K);
	struct fake_alloc *alloc = fake_alloc_create(d, SZ_64K);
	struct gpusvm_fence *done;

	(void)state;
	test_fill(mem, SZ_64K, 1);
	fake_fault_arm(&d->fail_populate, -EXFULL, 1, 1);
	assert_ret(fake_later_start(d, range, alloc, &done), -EXFULL);
	assert_false(gpusvm_fence_done(done, NULL));
	gpusvm_fence_put(done);
	assert_int_equal(fake_later_count(), 0);

	fake_driver_lock(d);
	gpusvm_mm_read_lock(test_mm);
	assert_ret(gpusvm_migrate_to_devmem_start(&d->gpusvm, range,
						  &alloc->base, &ctx, NULL),
		   -EINVAL);
	gpusvm_mm_read_unlock(test_mm);
	fake_driver_unlock(d);
	assert_filled(mem, SZ_64K, 1);
	fake_alloc_drop(alloc);
}

static void error_of_the_fence_undoes_it(void **state)
{
	struct started s = start();

	(void)state;
	finish(&s, -EREMOTEIO, -EREMOTEIO);
	assert_undone(&s);
}

static void fence_that_is_signalled_twice_counts_once(void **state)
{
	struct started s = start();
	struct gpusvm_fence *fence;
	struct fake_later later;

	(void)state;
	assert_true(fake_later_take(0, &later));
	fence = gpusvm_fence_get(later.fence);
	fake_later_end(&later, 0);
	assert_ret(gpusvm_fence_signal(fence, -EIO), -EALREADY);
	gpusvm_fence_put(fence);
	assert_ret(fake_later_wait(s.alloc, s.done), 0);
	assert_on_device(&s);
}

static void fence_that_nobody_can_signal_undoes_it(void **state)
{
	unsigned long errors = test_log_errors();
	struct started s = start();
	struct fake_later later;

	(void)state;
	assert_true(fake_later_take(0, &later));
	gpusvm_fence_put(later.fence);
	assert_ret(fake_later_wait(s.alloc, s.done), -EDEADLK);
	assert_int_equal(test_log_errors(), errors + 1);
	assert_undone(&s);
}

/* Who started it need not care. */
static void nobody_has_to_wait_for_the_end(void **state)
{
	struct started s = start();

	(void)state;
	gpusvm_fence_put(s.done);
	assert_true(fake_later_complete(0, 0));
	assert_filled(s.mem, SZ_64K, 1);
	/* Who only reads need not wait where pages are write-protected. */
	test_touch_write(s.mem, SZ_64K);
	test_wait_until(s.alloc->released == 1);
}

static struct gpusvm_fence *for_handler;

static void on_signal(int sig)
{
	(void)sig;
	gpusvm_fence_signal(for_handler, 0);
}

static void signal_handler_may_end_the_copy(void **state)
{
	const struct sigaction action = { .sa_handler = on_signal };
	struct started s = start();
	struct sigaction old;
	struct fake_later later;

	(void)state;
	assert_true(fake_later_take(0, &later));
	assert_ret(fake_devmem_ops.copy_to_devmem(later.pages, later.dma_addr,
						  later.npages),
		   0);
	for_handler = later.fence;
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	pthread_kill(pthread_self(), SIGUSR1);
	sigaction(SIGUSR1, &old, NULL);
	assert_true(gpusvm_fence_done(later.fence, NULL));
	gpusvm_fence_put(later.fence);
	assert_ret(fake_later_wait(s.alloc, s.done), 0);
	assert_on_device(&s);
}

static void dma_mappings_stay_until_the_end(void **state)
{
	const struct fake_driver_config config = { .dma = true };
	struct fake_driver *d = fake_driver_create(&config);
	unsigned char *mem = test_map(SZ_64K, SZ_64K);
	struct started s;

	(void)state;
	d->devmem_ops = &fake_later_ops;
	test_cleanup(end_all, NULL);
	test_fill(mem, SZ_64K, 1);
	s = start_at(d, mem);
	assert_int_equal(d->dma_maps, NPAGES);
	assert_int_equal(d->dma_unmaps, 0);
	finish(&s, 0, 0);
	assert_int_equal(d->dma_unmaps, NPAGES);
	assert_on_device(&s);
}

#define SEVERAL 24

static void several_end_in_any_order(void **state)
{
	struct fake_driver *d = create();
	unsigned char *mem = test_map(SEVERAL * SZ_64K, SZ_2M);
	struct started s[SEVERAL];
	unsigned int i;

	(void)state;
	for (i = 0; i < SEVERAL; i++) {
		test_fill(mem + i * SZ_64K, SZ_64K, 1);
		s[i] = start_at(d, mem + i * SZ_64K);
	}
	for (i = SEVERAL; i; i--)
		assert_true(fake_later_complete(
			(unsigned int)test_random_below(i), 0));
	for (i = 0; i < SEVERAL; i++) {
		assert_ret(fake_later_wait(s[i].alloc, s[i].done), 0);
		assert_on_device(&s[i]);
	}
	for (i = 0; i < SEVERAL; i++)
		assert_filled(s[i].mem, SZ_64K, 1);
}

/* ---- Others, meanwhile ---- */

struct other {
	struct started *s;
	pthread_t thread;
	size_t matched;
	int err;
	bool begun;
};

static void begin(struct other *other, void *(*fn)(void *arg),
		  struct started *s)
{
	*other = (struct other){ .s = s };
	test_thread_start(&other->thread, fn, other);
	test_wait_until(__atomic_load_n(&other->begun, __ATOMIC_ACQUIRE));
}

static void has_begun(struct other *other)
{
	__atomic_store_n(&other->begun, true, __ATOMIC_RELEASE);
}

static void *match(void *arg)
{
	struct other *other = arg;

	has_begun(other);
	other->matched = test_match(other->s->mem, SZ_64K, 1);
	return NULL;
}

static void *write_page(void *arg)
{
	struct other *other = arg;

	has_begun(other);
	test_fill(other->s->mem, PS, 2);
	return NULL;
}

static void cpu_waits_for_the_end(void **state)
{
	struct started s = start();
	struct other reader, writer;

	(void)state;
	begin(&reader, match, &s);
	begin(&writer, write_page, &s);
	finish(&s, 0, 0);
	test_thread_join(reader.thread);
	test_thread_join(writer.thread);
	assert_filled(s.mem, PS, 2);
	test_fill(s.mem, PS, 1);
	assert_filled(s.mem, SZ_64K, 1);
}

static void cpu_has_its_memory_after_an_error(void **state)
{
	struct started s = start();
	struct other writer;

	(void)state;
	begin(&writer, write_page, &s);
	finish(&s, -EIO, -EIO);
	test_thread_join(writer.thread);
	assert_filled(s.mem, PS, 2);
	test_fill(s.mem, PS, 1);
	assert_undone(&s);
}

static void *evict(void *arg)
{
	struct other *other = arg;

	has_begun(other);
	other->err = drm_gpusvm_evict_to_ram(&other->s->alloc->base);
	return NULL;
}

static void eviction_waits_for_the_end(void **state)
{
	struct started s = start();
	struct other evictor;

	(void)state;
	begin(&evictor, evict, &s);
	finish(&s, 0, 0);
	test_thread_join(evictor.thread);
	assert_ret(evictor.err, 0);
	assert_filled(s.mem, SZ_64K, 1);
	assert_int_equal(s.alloc->released, 1);
}

/* Each for a second, and then says so. */
static void nobody_waits_for_ever(void **state)
{
	struct started s = start();
	struct gpusvm_fence *again;
	struct fake_alloc *alloc = fake_alloc_create(s.d, SZ_64K);
	struct other evictor;

	(void)state;
	begin(&evictor, evict, &s);
	assert_ret(fake_get_pages(s.d, s.range), -EBUSY);
	assert_ret(fake_later_start(s.d, s.range, alloc, &again), -EBUSY);
	test_thread_join(evictor.thread);
	assert_ret(evictor.err, -EBUSY);
	gpusvm_fence_put(again);
	finish(&s, 0, 0);
	assert_on_device(&s);
	assert_ret(fake_later_start(s.d, s.range, alloc, &again), -EFAULT);
	gpusvm_fence_put(again);
	fake_alloc_drop(alloc);
}

static void range_and_gpusvm_may_go(void **state)
{
	struct started s = start();

	(void)state;
	fake_remove(s.d, s.range);
	fake_driver_fini(s.d);
	finish(&s, 0, 0);
	assert_filled(s.mem, SZ_64K, 1);
	test_wait_until(s.alloc->released == 1);
}

/* ---- Changes of the memory, meanwhile ---- */

static void what_is_unmapped_is_let_go_of(void **state)
{
	struct started s = start();

	(void)state;
	test_munmap_sync(s.mem, SZ_64K);
	assert_int_equal(s.alloc->released, 0);
	finish(&s, 0, 0);
	assert_int_equal(s.alloc->released, 1);
}

static void part_may_be_unmapped(int err)
{
	struct started s = start();
	size_t half = SZ_64K / 2;

	test_munmap_sync(s.mem + half, half);
	finish(&s, err, err);
	assert_filled(s.mem, half, 1);
	if (err)
		fake_alloc_drop(s.alloc);
	test_wait_until(fake_devmem_used(s.d) == 0);
}

static void what_stays_mapped_stays(void **state)
{
	(void)state;
	part_may_be_unmapped(0);
	/* A change that is announced waits for a second. */
	if (!test_announces())
		part_may_be_unmapped(-EIO);
}

static void part_may_be_dropped(int err)
{
	struct started s = start();

	test_madvise_sync(s.mem + PS, 2 * PS, MADV_DONTNEED);
	finish(&s, err, err);
	assert_filled(s.mem, PS, 1);
	assert_zeroed(s.mem + PS, 2 * PS);
	assert_int_equal(s.mem[3 * PS], test_pattern(3 * PS, 1));
	if (err)
		fake_alloc_drop(s.alloc);
	test_wait_until(fake_devmem_used(s.d) == 0);
}

static void what_is_dropped_is_zeros(void **state)
{
	(void)state;
	part_may_be_dropped(0);
	if (!test_announces())
		part_may_be_dropped(-EIO);
}

static void memory_may_move(int err)
{
	struct test_area *area = test_area_reserve(2 * SZ_2M, SZ_2M);
	unsigned char *mem = test_area_anon(area, 0, SZ_64K);
	struct fake_driver *d = create();
	struct started s;

	test_fill(mem, SZ_64K, 1);
	s = start_at(d, mem);
	test_mremap_sync(mem, SZ_64K, area->base + SZ_2M);
	/* By write-protection they would still have to be dropped there. */
	if (!err && !(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_MOVE)) {
		finish(&s, 0, -EBUSY);
		err = -EBUSY;
	} else {
		finish(&s, err, err);
	}
	assert_filled(area->base + SZ_2M, SZ_64K, 1);
	if (err)
		fake_alloc_drop(s.alloc);
	test_wait_until(fake_devmem_used(s.d) == 0);
}

static void pages_follow_their_memory(void **state)
{
	(void)state;
	test_needs_events("an announced change waits for a second first");
	memory_may_move(0);
	memory_may_move(-EIO);
}

/* A change that is announced waits for the copy, up to a second. */
static void *complete_soon(void *arg)
{
	has_begun(arg);
	fake_later_complete(0, 0);
	return NULL;
}

static void announced_changes_wait(void **state)
{
	struct started s = start();
	struct other completer;

	(void)state;
	begin(&completer, complete_soon, &s);
	assert_int_equal(gpusvm_mprotect(s.mem, SZ_64K, PROT_READ), 0);
	assert_ret(fake_later_wait(s.alloc, s.done), 0);
	test_thread_join(completer.thread);
	assert_filled(s.mem, SZ_64K, 1);
	assert_int_equal(gpusvm_mprotect(s.mem, SZ_64K, PROT_READ | PROT_WRITE),
			 0);
}

static void announced_changes_do_not_wait_for_ever(void **state)
{
	struct started s;

	(void)state;
	if (test_announces())
		test_skip("all the changes above were announced");
	s = start();
	assert_int_equal(gpusvm_madvise(s.mem, PS, MADV_DONTNEED), 0);
	finish(&s, 0, 0);
	assert_zeroed(s.mem, PS);
	assert_int_equal(s.mem[PS], test_pattern(PS, 1));
}

/* ---- fork(), clone(), close ---- */

static bool fork_begun;

static void note_fork(void)
{
	__atomic_store_n(&fork_begun, true, __ATOMIC_RELEASE);
}

static void *complete_when_forking(void *arg)
{
	struct other *other = arg;

	has_begun(other);
	if (test_wait_for(__atomic_load_n(&fork_begun, __ATOMIC_ACQUIRE),
			  TEST_WAIT_MS))
		fake_later_complete(0, other->err);
	return NULL;
}

/* Not by exit(), which takes locks that others may have. */
static void child(const unsigned char *mem)
{
	bool right = test_match(mem, SZ_64K, 1) == SZ_64K;

	syscall(SYS_exit_group, right ? 0 : 1);
}

static void reap(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void check_fork(int err)
{
	struct started s = start();
	struct other completer;
	pid_t pid;

	__atomic_store_n(&fork_begun, false, __ATOMIC_RELEASE);
	begin(&completer, complete_when_forking, &s);
	completer.err = err;
	pid = fork();
	if (pid == 0)
		child(s.mem);
	/* Before anything that may jump out. */
	test_thread_join(completer.thread);
	reap(pid);
	assert_ret(fake_later_wait(s.alloc, s.done), err);
	assert_filled(s.mem, SZ_64K, 1);
	if (err)
		fake_alloc_drop(s.alloc);
}

static void fork_waits_for_the_end(void **state)
{
	static bool registered;

	(void)state;
	if (!registered)
		assert_int_equal(pthread_atfork(note_fork, NULL, NULL), 0);
	registered = true;
	check_fork(0);
	check_fork(-EIO);
}

static void clone_does_not_wait(void **state)
{
	struct started s = start();
	pid_t pid;

	(void)state;
	if (!(gpusvm_mm_features(test_mm) & GPUSVM_FEATURE_FORK_EVENT)) {
		finish(&s, 0, 0);
		test_skip("there is no fork event");
	}
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		child(s.mem);
	reap(pid);
	assert_false(gpusvm_fence_done(s.done, NULL));
	finish(&s, 0, 0);
	assert_filled(s.mem, SZ_64K, 1);
}

static void close_fails_until_the_end(void **state)
{
	struct started s = start();
	unsigned int events = s.d->num_events;

	(void)state;
	assert_ret(gpusvm_mm_close(test_mm), -EBUSY);
	assert_int_equal(s.d->num_events, events);
	finish(&s, 0, 0);
	assert_on_device(&s);
	fake_driver_fini(s.d);
	test_mm_close();
	assert_filled(s.mem, SZ_64K, 1);
	assert_int_equal(s.alloc->released, 1);
	fake_driver_destroy(s.d);
	test_mm_reopen();
}

static void *complete_now(void *arg)
{
	fake_later_complete_all();
	return arg;
}

static void close_waits_for_the_end(void **state)
{
	struct started s = start();
	pthread_t thread;

	(void)state;
	fake_driver_fini(s.d);
	test_thread_start(&thread, complete_now, NULL);
	test_mm_close();
	test_thread_join(thread);
	assert_ret(fake_later_wait(s.alloc, s.done), 0);
	assert_filled(s.mem, SZ_64K, 1);
	assert_int_equal(s.alloc->released, 1);
	fake_driver_destroy(s.d);
	test_mm_reopen();
}

static const struct CMUnitTest tests[] = {
	conf_test(migration_goes_on_after_the_call),
	conf_test(copy_within_the_call_ends_within_it),
	conf_test(start_that_fails_signals_nothing),
	conf_test(error_of_the_fence_undoes_it),
	conf_test(fence_that_is_signalled_twice_counts_once),
	conf_test(fence_that_nobody_can_signal_undoes_it),
	conf_test(nobody_has_to_wait_for_the_end),
	conf_test(signal_handler_may_end_the_copy),
	conf_test(dma_mappings_stay_until_the_end),
	conf_test(several_end_in_any_order),
	conf_test(cpu_waits_for_the_end),
	conf_test(cpu_has_its_memory_after_an_error),
	conf_test(eviction_waits_for_the_end),
	conf_test(nobody_waits_for_ever),
	conf_test(range_and_gpusvm_may_go),
	conf_test(what_is_unmapped_is_let_go_of),
	conf_test(what_stays_mapped_stays),
	conf_test(what_is_dropped_is_zeros),
	conf_test(pages_follow_their_memory),
	conf_test(announced_changes_wait),
	conf_test(announced_changes_do_not_wait_for_ever),
	conf_test(fork_waits_for_the_end),
	conf_test(clone_does_not_wait),
	conf_test(close_fails_until_the_end),
	conf_test(close_waits_for_the_end),
};

CONF_MAIN(tests)
